//! Messages as they are stored.

use super::prelude::*;

cases![
    messages_are_numbered_from_one_without_gaps,
    only_members_append,
    a_failed_append_takes_no_number,
    a_repeated_key_returns_the_first_message,
    a_key_with_another_body_is_refused,
    an_expired_key_is_forgotten,
    a_clock_that_was_a_day_ahead_for_a_moment_forgets_no_key,
    a_key_belongs_to_a_sender_and_a_room,
    a_refused_append_uses_up_no_key,
    text_is_kept_byte_for_byte,
];

fn messages_are_numbered_from_one_without_gaps(store: Store<'_>) {
    world(store);
    group(store, FIRST, "room_2", &["alice"]);
    assert_eq!(send(store, "alice", "msg_1"), Seq(1));
    let elsewhere = NewMessage { room_id: room_id("room_2"), ..message("alice", "msg_2") };
    assert_eq!(append(store, elsewhere).map(|stored| stored.message.seq), Ok(Seq(1)));
    assert_eq!(send(store, "bob", "msg_3"), Seq(2));
    assert_eq!(send(store, "alice", "msg_4"), Seq(3));
    assert_eq!(head(store, FIRST), Some(Seq(3)));
    assert_eq!(history(store, HistoryRange::After(Seq(0)), ALL), (vec![1, 2, 3], false));
}

fn only_members_append(store: Store<'_>) {
    world(store);
    send(store, "alice", "msg_0");
    let refused = |store: Store<'_>, message| append(store, message).err();
    let no_room = Some(AppendRefusal::Access(AccessRefusal::NoRoom));
    let elsewhere = NewMessage { tenant: SECOND, ..message("alice", "msg_1") };
    assert_eq!(refused(store, elsewhere), no_room);
    let nowhere = NewMessage { room_id: room_id("room_9"), ..message("alice", "msg_1") };
    assert_eq!(refused(store, nowhere), no_room);
    let not_member = Some(AppendRefusal::Access(AccessRefusal::NotMember));
    assert_eq!(refused(store, message("mallory", "msg_1")), not_member);
    assert_eq!(refused(store, message("Alice", "msg_1")), not_member);
    assert_eq!(head(store, FIRST), Some(Seq(1)));
}

fn a_failed_append_takes_no_number(store: Store<'_>) {
    world(store);
    send(store, "alice", "msg_1");
    let request = StoreRequest::AppendMessage(Box::new(message("bob", "msg_1")));
    assert_eq!(store.execute(&request), Err(StoreFailure::Failed));
    assert_eq!(send(store, "bob", "msg_2"), Seq(2));
}

fn a_repeated_key_returns_the_first_message(store: Store<'_>) {
    world(store);
    let first = append(store, keyed("alice", "msg_1", "k", 1)).map(|stored| stored.message);
    send(store, "alice", "msg_2");
    let again = append(store, keyed("alice", "msg_3", "k", 1));
    let outcome = AppendOutcome::Replayed;
    assert_eq!(again, first.map(|message| Appended { message, outcome }));
    assert_eq!(head(store, FIRST), Some(Seq(2)));
}

fn a_key_with_another_body_is_refused(store: Store<'_>) {
    world(store);
    assert!(append(store, keyed("alice", "msg_1", "k", 1)).is_ok());
    assert_eq!(append(store, keyed("alice", "msg_2", "k", 2)), Err(AppendRefusal::KeyReused));
    assert_eq!(head(store, FIRST), Some(Seq(1)));
}

fn an_expired_key_is_forgotten(store: Store<'_>) {
    world(store);
    assert!(append(store, keyed("alice", "msg_1", "k", 1)).is_ok());
    let later = |id, body, valid_since| {
        let mut message = keyed("alice", id, "k", body);
        message.created_at = UnixMillis(NOW.0 + 10);
        message.idempotency = message.idempotency.map(|key| Idempotency { valid_since, ..key });
        message
    };
    let at_the_edge = append(store, later("msg_2", 1, NOW));
    assert!(at_the_edge.is_ok_and(|stored| stored.outcome == AppendOutcome::Replayed));
    let past = UnixMillis(NOW.0 + 1);
    let fresh = append(store, later("msg_3", 2, past));
    assert!(fresh.is_ok_and(|stored| stored.outcome == AppendOutcome::Stored && stored.message.seq == Seq(2)));
    let again = append(store, later("msg_4", 2, past));
    assert!(again.is_ok_and(|stored| stored.outcome == AppendOutcome::Replayed && stored.message.seq == Seq(2)));
}

fn a_clock_that_was_a_day_ahead_for_a_moment_forgets_no_key(store: Store<'_>) {
    const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
    world(store);
    let at = |id: &str, key: &str, now_ms| {
        let mut message = keyed("alice", id, key, 1);
        message.created_at = UnixMillis(now_ms);
        let valid_since = UnixMillis(now_ms - DAY_MS);
        message.idempotency = message.idempotency.map(|key| Idempotency { valid_since, ..key });
        message
    };
    assert!(append(store, at("msg_1", "k", NOW.0)).is_ok());
    // Others' keys clear away what is old, as of a clock that is ahead.
    for number in 2..10 {
        let (id, key) = (format!("msg_{number}"), format!("other_{number}"));
        let ahead = at(&id, &key, NOW.0 + 2 * DAY_MS);
        assert!(append(store, ahead).is_ok());
    }
    let again = append(store, at("msg_10", "k", NOW.0 + 1));
    assert!(again.is_ok_and(|stored| stored.outcome == AppendOutcome::Replayed && stored.message.seq == Seq(1)));
}

fn a_key_belongs_to_a_sender_and_a_room(store: Store<'_>) {
    world(store);
    group(store, FIRST, "room_2", &["alice"]);
    let elsewhere = NewMessage { room_id: room_id("room_2"), ..keyed("alice", "msg_3", "k", 3) };
    for message in [keyed("alice", "msg_1", "k", 1), keyed("bob", "msg_2", "k", 2), elsewhere] {
        assert!(append(store, message).is_ok_and(|stored| stored.outcome == AppendOutcome::Stored));
    }
}

fn a_refused_append_uses_up_no_key(store: Store<'_>) {
    world(store);
    assert!(append(store, keyed("carol", "msg_1", "k", 1)).is_err());
    let failing = StoreRequest::AppendMessage(Box::new(keyed("alice", "msg_2", "k", 1)));
    send(store, "alice", "msg_2");
    assert_eq!(store.execute(&failing), Err(StoreFailure::Failed));
    let other_body = append(store, keyed("alice", "msg_3", "k", 2));
    assert!(other_body.is_ok_and(|stored| stored.outcome == AppendOutcome::Stored));
}

fn text_is_kept_byte_for_byte(store: Store<'_>) {
    world(store);
    let sent = NewMessage {
        content: "a\u{0}b \u{1F600} é e\u{301} '\";--".to_owned(),
        meta: Some(" {\"b\" : 1,\"a\":\t2 } ".to_owned()),
        ..message("alice", "msg_1")
    };
    let stored = append(store, sent.clone()).map(|stored| stored.message);
    let read = page(store, FIRST, &user("bob"), HistoryRange::After(Seq(0)), ALL);
    let read = read.map(|page| page.messages[0].clone());
    assert_eq!(read.as_ref().ok(), stored.as_ref().ok());
    assert!(read.is_ok_and(|read| read.content == sent.content && read.meta == sent.meta && read.created_at == NOW));
}
