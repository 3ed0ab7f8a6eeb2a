//! Single messages: read, edited, deleted.

use super::prelude::*;

cases![
    a_message_is_read_by_its_id_in_its_room,
    a_sender_edits_a_message,
    an_edit_of_the_meta_keeps_sets_or_clears,
    an_edit_is_kept_byte_for_byte,
    the_refusals_of_an_edit_have_their_order,
    a_deleted_message_is_empty_and_keeps_its_place,
    a_message_is_deleted_once,
    the_refusals_of_a_deletion_have_their_order,
    the_tenant_deletes_what_anyone_wrote,
    a_sender_who_left_changes_nothing_more,
    a_repeat_answers_with_the_message_as_it_now_is,
    whoever_reads_sees_the_message_as_it_now_is,
];

fn a_message_is_read_by_its_id_in_its_room(store: Store<'_>) {
    world(store);
    group(store, FIRST, "room_2", &["alice", "bob"]);
    let sent = append(store, message("alice", "msg_1")).map(|stored| stored.message);
    let elsewhere = NewMessage { room_id: room_id("room_2"), ..message("alice", "msg_2") };
    assert!(append(store, elsewhere).is_ok());
    let no_room = Err(ReadMessageRefusal::Access(AccessRefusal::NoRoom));
    let not_member = Err(ReadMessageRefusal::Access(AccessRefusal::NotMember));
    let sent = sent.map_err(|_| ReadMessageRefusal::NoMessage);
    for (tenant, actor, id, expected) in [
        (FIRST, user("bob"), "msg_1", sent.clone()),
        (FIRST, Actor::Tenant, "msg_1", sent),
        (FIRST, user("bob"), "msg_2", Err(ReadMessageRefusal::NoMessage)),
        (FIRST, user("bob"), "msg_9", Err(ReadMessageRefusal::NoMessage)),
        (FIRST, user("mallory"), "msg_1", not_member.clone()),
        (FIRST, user("mallory"), "msg_9", not_member),
        (SECOND, user("bob"), "msg_1", no_room.clone()),
        (SECOND, Actor::Tenant, "msg_1", no_room),
    ] {
        assert_eq!(read_message(store, tenant, &actor, id), expected, "{tenant:?} {actor:?} {id}");
    }
}

fn a_sender_edits_a_message(store: Store<'_>) {
    world(store);
    let sent = append(store, message("alice", "msg_1")).map(|stored| stored.message);
    send(store, "alice", "msg_2");
    let edited = edit(store, new_text("alice", "msg_1"));
    let expected = sent.ok().map(|sent| Message { content: "Another text".to_owned(), edited_at: Some(LATER), ..sent });
    assert_eq!(edited.ok(), expected);
    assert_eq!(read_message(store, FIRST, &user("bob"), "msg_1").ok(), expected);
    assert_eq!(head(store, FIRST), Some(Seq(2)));
    let again = edit(store, MessageEdit { now: UnixMillis(LATER.0 + 1), ..new_text("alice", "msg_1") });
    assert!(again.is_ok_and(|again| again.edited_at == Some(UnixMillis(LATER.0 + 1))));
}

fn an_edit_of_the_meta_keeps_sets_or_clears(store: Store<'_>) {
    world(store);
    let sent = NewMessage { meta: Some("1".to_owned()), ..message("alice", "msg_1") };
    assert!(append(store, sent).is_ok());
    for (meta, expected) in [
        (Edit::Keep, Some("1")),
        (Edit::Set(" {} ".to_owned()), Some(" {} ")),
        (Edit::Keep, Some(" {} ")),
        (Edit::Clear, None),
        (Edit::Keep, None),
    ] {
        let edited = edit(store, MessageEdit { meta, ..new_text("alice", "msg_1") });
        assert!(edited.is_ok_and(|edited| edited.meta.as_deref() == expected), "{expected:?}");
    }
}

fn an_edit_is_kept_byte_for_byte(store: Store<'_>) {
    world(store);
    send(store, "alice", "msg_1");
    let content = "a\u{0}b \u{1F600} e\u{301} '\";--".to_owned();
    assert!(edit(store, MessageEdit { content: content.clone(), ..new_text("alice", "msg_1") }).is_ok());
    let read = read_message(store, FIRST, &user("bob"), "msg_1");
    assert!(read.is_ok_and(|read| read.content == content));
}

fn the_refusals_of_an_edit_have_their_order(store: Store<'_>) {
    world(store);
    send(store, "alice", "msg_1");
    send(store, "alice", "msg_2");
    assert!(delete(store, &user("alice"), "msg_2").is_ok());
    let no_room = EditMessageRefusal::Access(AccessRefusal::NoRoom);
    let not_member = EditMessageRefusal::Access(AccessRefusal::NotMember);
    let elsewhere = MessageEdit { tenant: SECOND, ..new_text("alice", "msg_1") };
    for (asked, expected) in [
        (elsewhere, no_room),
        (new_text("mallory", "msg_1"), not_member),
        (new_text("mallory", "msg_9"), not_member),
        (new_text("bob", "msg_9"), EditMessageRefusal::NoMessage),
        (new_text("bob", "msg_1"), EditMessageRefusal::NotSender),
        (new_text("bob", "msg_2"), EditMessageRefusal::NotSender),
        (new_text("alice", "msg_2"), EditMessageRefusal::Deleted),
    ] {
        assert_eq!(edit(store, asked.clone()), Err(expected), "{asked:?}");
    }
    let untouched = read_message(store, FIRST, &user("bob"), "msg_1");
    assert!(untouched.is_ok_and(|message| message.edited_at.is_none()));
}

fn a_deleted_message_is_empty_and_keeps_its_place(store: Store<'_>) {
    world(store);
    let sent = NewMessage { meta: Some("1".to_owned()), ..message("alice", "msg_1") };
    let sent = append(store, sent).map(|stored| stored.message).ok();
    send(store, "alice", "msg_2");
    let edited = edit(store, new_text("alice", "msg_1")).ok().and_then(|edited| edited.edited_at);
    let deleted = delete(store, &user("alice"), "msg_1").ok();
    let expected = sent.map(|sent| DeletedMessage {
        message: Message { content: String::new(), meta: None, edited_at: edited, deleted_at: Some(LATER), ..sent },
        outcome: DeleteOutcome::Deleted,
    });
    assert_eq!(deleted, expected);
    assert_eq!(history(store, HistoryRange::After(Seq(0)), ALL), (vec![1, 2], false));
    assert_eq!(head(store, FIRST), Some(Seq(2)));
    assert_eq!(send(store, "alice", "msg_3"), Seq(3));
}

fn a_message_is_deleted_once(store: Store<'_>) {
    world(store);
    send(store, "alice", "msg_1");
    let first = delete(store, &user("alice"), "msg_1").map(|deleted| deleted.message);
    for actor in [user("alice"), Actor::Tenant] {
        let again = delete_at(store, FIRST, &actor, "msg_1", UnixMillis(LATER.0 + 1));
        let expected = first.clone().map(|message| DeletedMessage { message, outcome: DeleteOutcome::Before });
        assert_eq!(again, expected);
    }
}

fn the_refusals_of_a_deletion_have_their_order(store: Store<'_>) {
    world(store);
    send(store, "alice", "msg_1");
    send(store, "alice", "msg_2");
    assert!(delete(store, &user("alice"), "msg_2").is_ok());
    let no_room = DeleteMessageRefusal::Access(AccessRefusal::NoRoom);
    let not_member = DeleteMessageRefusal::Access(AccessRefusal::NotMember);
    for (tenant, actor, id, expected) in [
        (SECOND, user("alice"), "msg_1", no_room),
        (SECOND, Actor::Tenant, "msg_1", no_room),
        (FIRST, user("mallory"), "msg_1", not_member),
        (FIRST, user("mallory"), "msg_9", not_member),
        (FIRST, user("bob"), "msg_9", DeleteMessageRefusal::NoMessage),
        (FIRST, Actor::Tenant, "msg_9", DeleteMessageRefusal::NoMessage),
        (FIRST, user("bob"), "msg_1", DeleteMessageRefusal::NotSender),
        (FIRST, user("bob"), "msg_2", DeleteMessageRefusal::NotSender),
    ] {
        assert_eq!(delete_at(store, tenant, &actor, id, LATER), Err(expected), "{actor:?} {id}");
    }
    let untouched = read_message(store, FIRST, &user("bob"), "msg_1");
    assert!(untouched.is_ok_and(|message| message.deleted_at.is_none()));
}

fn the_tenant_deletes_what_anyone_wrote(store: Store<'_>) {
    world(store);
    send(store, "bob", "msg_1");
    let deleted = delete(store, &Actor::Tenant, "msg_1");
    assert!(deleted.is_ok_and(|deleted| deleted.outcome == DeleteOutcome::Deleted));
}

fn a_sender_who_left_changes_nothing_more(store: Store<'_>) {
    world(store);
    send(store, "bob", "msg_1");
    assert!(remove(store, "room_1", &user("bob"), "bob").is_ok());
    let not_member = AccessRefusal::NotMember;
    assert_eq!(edit(store, new_text("bob", "msg_1")), Err(EditMessageRefusal::Access(not_member)));
    assert_eq!(delete(store, &user("bob"), "msg_1"), Err(DeleteMessageRefusal::Access(not_member)));
    join(store, "room_1", "bob", LATER);
    assert!(edit(store, new_text("bob", "msg_1")).is_ok());
}

fn a_repeat_answers_with_the_message_as_it_now_is(store: Store<'_>) {
    world(store);
    assert!(append(store, keyed("alice", "msg_1", "k", 1)).is_ok());
    let edited = edit(store, new_text("alice", "msg_1"));
    let again = append(store, keyed("alice", "msg_2", "k", 1)).map(|again| again.message);
    assert_eq!(again.ok(), edited.ok());
    let deleted = delete(store, &user("alice"), "msg_1").map(|deleted| deleted.message);
    let again = append(store, keyed("alice", "msg_3", "k", 1));
    assert!(again.as_ref().is_ok_and(|again| again.outcome == AppendOutcome::Replayed));
    assert_eq!(again.ok().map(|again| again.message), deleted.ok());
}

fn whoever_reads_sees_the_message_as_it_now_is(store: Store<'_>) {
    world(store);
    send(store, "alice", "msg_1");
    send(store, "alice", "msg_2");
    let edited = edit(store, new_text("alice", "msg_1")).ok();
    let deleted = delete(store, &user("alice"), "msg_2").map(|deleted| deleted.message).ok();
    let expected: Vec<Message> = edited.into_iter().chain(deleted).collect();
    let read = page(store, FIRST, &user("bob"), HistoryRange::After(Seq(0)), ALL).map(|page| page.messages);
    assert_eq!(read.as_ref(), Ok(&expected));
    let request = StoreRequest::ReadFrames { tenant: FIRST, rooms: vec![(room_id("room_1"), Seq(0))], bounds: ALL };
    let frames = expected.iter().map(|message| (message.seq, message_frame(message))).collect();
    assert_eq!(ask(store, &request), StoreReply::Frames(vec![frames]));
}
