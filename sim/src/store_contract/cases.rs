//! The cases, each a promise of `chatapi_core::store`.

use chatapi_core::model::{Member, Role, RoomType, UNREAD_WINDOW};
use chatapi_core::store::{
    AccessRefusal, AcknowledgeRefusal, Acknowledged, Actor, AppendOutcome, AppendRefusal, Appended, BacklogRoom,
    CreatedRoom, HistoryRange, Idempotency, KeyOwner, NewMessage, PageBounds, StoreFailure, StoreReply, StoreRequest,
};
use chatapi_core::ws::message_frame;
use chatapi_core::{IdStamp, Seq, TenantKey, UnixMillis, UserId};

use super::Case;
use super::steps::*;

macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        /// Every case.
        pub const CASES: &[Case] = &[$(Case { name: stringify!($name), run: $name }),*];
    };
}

cases![
    an_empty_store_boots_without_an_id,
    boot_finds_the_newest_id_and_overlooks_imported_ones,
    a_tenant_is_found_by_its_key_alone,
    a_taken_tenant_id_or_key_fails_and_changes_nothing,
    a_room_without_a_tenant_fails,
    a_room_is_its_tenant_s_alone,
    a_dm_that_exists_is_returned_with_its_members,
    the_same_unique_key_in_two_tenants_is_two_rooms,
    a_failed_room_leaves_no_members_behind,
    rooms_are_listed_newest_first_in_pages,
    members_are_listed_by_id_in_pages,
    messages_are_numbered_from_one_without_gaps,
    only_members_append,
    a_failed_append_takes_no_number,
    a_repeated_key_returns_the_first_message,
    a_key_with_another_body_is_refused,
    an_expired_key_is_forgotten,
    a_clock_that_was_a_day_ahead_for_a_moment_forgets_no_key,
    a_key_belongs_to_a_sender_and_a_room,
    a_refused_append_uses_up_no_key,
    acks_move_forward_only,
    acks_need_a_member_and_a_message,
    history_pages_in_both_directions,
    a_page_ends_by_bytes_and_holds_at_least_one_message,
    frames_are_the_messages_as_members_get_them,
    a_backlog_names_every_room_in_order,
    unread_counts_what_others_wrote_past_the_ack,
    unread_is_counted_within_its_window,
    a_head_is_in_order_with_the_changes,
    text_is_kept_byte_for_byte,
    a_health_check_writes_again_and_again,
];

fn an_empty_store_boots_without_an_id(store: Store<'_>) {
    let (epoch, newest) = boot(store);
    assert!(!epoch.is_empty());
    assert_eq!(newest, None);
    assert_eq!(boot(store), (epoch, None));
}

fn boot_finds_the_newest_id_and_overlooks_imported_ones(store: Store<'_>) {
    world(store);
    send(store, "alice", "msg_00000000000000zz");
    send(store, "alice", "msg_zzimported");
    send(store, "alice", "msg_0000000000000001");
    assert_eq!(boot(store).1, IdStamp::read("msg_00000000000000zz"));
    group(store, FIRST, "room_0000000000000zzz", &["alice"]);
    assert_eq!(boot(store).1, IdStamp::read("room_0000000000000zzz"));
}

fn a_tenant_is_found_by_its_key_alone(store: Store<'_>) {
    let one = tenant(store, 1).unwrap_or_else(|failure| panic!("{failure:?}"));
    let other = tenant(store, 2).unwrap_or_else(|failure| panic!("{failure:?}"));
    assert_ne!(one.key, other.key);
    assert_eq!(find(store, 1), Some(KeyOwner { tenant: one, valid_until: None }));
    assert_eq!(find(store, 2), Some(KeyOwner { tenant: other, valid_until: None }));
    assert_eq!(find(store, 3), None);
}

fn a_taken_tenant_id_or_key_fails_and_changes_nothing(store: Store<'_>) {
    let one = tenant(store, 1);
    assert_eq!(tenant(store, 1), Err(StoreFailure::Failed));
    assert_eq!(find(store, 1).map(|owner| owner.tenant), one.ok());
    assert!(tenant(store, 2).is_ok_and(|other| other.key == SECOND));
}

fn a_room_without_a_tenant_fails(store: Store<'_>) {
    let request = new_room(FIRST, "room_1", RoomType::Group, None, &["alice"]);
    assert_eq!(store.execute(&request), Err(StoreFailure::Failed));
}

fn a_room_is_its_tenant_s_alone(store: Store<'_>) {
    world(store);
    let stranger = Actor::User(UserId::new("mallory"));
    for (tenant, actor, expected) in [
        (FIRST, user("alice"), None),
        (FIRST, Actor::Tenant, None),
        (FIRST, stranger.clone(), Some(AccessRefusal::NotMember)),
        (SECOND, user("alice"), Some(AccessRefusal::NoRoom)),
        (SECOND, Actor::Tenant, Some(AccessRefusal::NoRoom)),
        (TenantKey(99), Actor::Tenant, Some(AccessRefusal::NoRoom)),
    ] {
        let room = StoreRequest::ReadRoom { tenant, room_id: room_id("room_1"), actor: actor.clone() };
        let StoreReply::Room(room) = ask(store, &room) else { panic!("no room") };
        assert_eq!(room.err(), expected, "{tenant:?} {actor:?}");
        let messages = page(store, tenant, &actor, HistoryRange::After(Seq(0)), ALL);
        assert_eq!(messages.err(), expected);
        let StoreReply::Members(members) = ask(store, &list_members(tenant, &actor, None, 10)) else {
            panic!("no members")
        };
        assert_eq!(members.err(), expected);
    }
    send(store, "alice", "msg_1");
    assert_eq!(frames(store, SECOND), 0);
    assert_eq!(head(store, SECOND), None);
    assert_eq!(rooms(store, SECOND, &user("alice"), None, 10), (vec![], false));
}

fn a_dm_that_exists_is_returned_with_its_members(store: Store<'_>) {
    world(store);
    let key = Some("dm:alice:bob");
    let StoreReply::RoomCreated(CreatedRoom::New(first)) =
        ask(store, &new_room(FIRST, "room_7", RoomType::Dm, key, &["bob", "alice"]))
    else {
        panic!("not new")
    };
    let again = ask(store, &new_room(FIRST, "room_8", RoomType::Dm, key, &["alice", "bob"]));
    let expected = CreatedRoom::Existing { room: first, members: vec![UserId::new("alice"), UserId::new("bob")] };
    assert_eq!(again, StoreReply::RoomCreated(expected));
    assert_eq!(rooms(store, FIRST, &user("bob"), None, 10).0, ["room_7", "room_1"]);
}

fn the_same_unique_key_in_two_tenants_is_two_rooms(store: Store<'_>) {
    world(store);
    for (tenant, room) in [(FIRST, "room_7"), (SECOND, "room_8")] {
        let reply = ask(store, &new_room(tenant, room, RoomType::Dm, Some("dm:a:b"), &["a", "b"]));
        assert!(matches!(reply, StoreReply::RoomCreated(CreatedRoom::New(_))), "{reply:?}");
    }
}

fn a_failed_room_leaves_no_members_behind(store: Store<'_>) {
    world(store);
    let twice = new_room(FIRST, "room_7", RoomType::Group, None, &["carol", "dave", "carol"]);
    assert_eq!(store.execute(&twice), Err(StoreFailure::Failed));
    let taken = new_room(SECOND, "room_1", RoomType::Group, None, &["carol"]);
    assert_eq!(store.execute(&taken), Err(StoreFailure::Failed));
    assert_eq!(rooms(store, FIRST, &user("carol"), None, 10).0, [""; 0]);
    assert_eq!(rooms(store, SECOND, &Actor::Tenant, None, 10).0, [""; 0]);
    group(store, FIRST, "room_7", &["carol"]);
}

fn rooms_are_listed_newest_first_in_pages(store: Store<'_>) {
    world(store);
    group(store, FIRST, "room_3", &["alice"]);
    group(store, FIRST, "room_2", &["alice", "bob"]);
    group(store, FIRST, "room_4", &["bob"]);
    let alice = user("alice");
    assert_eq!(rooms(store, FIRST, &alice, None, 2), (strings(&["room_3", "room_2"]), true));
    assert_eq!(rooms(store, FIRST, &alice, Some("room_2"), 1), (strings(&["room_1"]), false));
    assert_eq!(rooms(store, FIRST, &alice, Some("room_3"), 1), (strings(&["room_2"]), true));
    let all = strings(&["room_4", "room_3", "room_2", "room_1"]);
    assert_eq!(rooms(store, FIRST, &Actor::Tenant, None, 4), (all, false));
}

fn members_are_listed_by_id_in_pages(store: Store<'_>) {
    world(store);
    group(store, FIRST, "room_0", &["mallory"]);
    let everyone = |store: Store<'_>, after: Option<&str>, limit| {
        let StoreReply::Members(Ok(page)) = ask(store, &list_members(FIRST, &user("bob"), after, limit)) else {
            panic!("no members")
        };
        let ids: Vec<String> = page.members.iter().map(|member| member.user_id.to_string()).collect();
        (ids, page.has_more, page.members)
    };
    let (ids, has_more, members) = everyone(store, None, 1);
    assert_eq!((ids, has_more), (strings(&["alice"]), true));
    let first = Member { user_id: UserId::new("alice"), role: Role::Admin, joined_at: NOW };
    assert_eq!(members, [first]);
    let (ids, has_more, _) = everyone(store, Some("alice"), 1);
    assert_eq!((ids, has_more), (strings(&["bob"]), false));
}

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

fn acks_move_forward_only(store: Store<'_>) {
    world(store);
    for id in ["msg_1", "msg_2", "msg_3"] {
        send(store, "alice", id);
    }
    for (seq, last_ack, moved) in [(0, 0, false), (2, 2, true), (2, 2, false), (1, 2, false), (3, 3, true)] {
        let expected = Acknowledged { last_ack: Seq(last_ack), moved };
        assert_eq!(acknowledge(store, FIRST, "bob", Seq(seq)), Ok(expected), "{seq}");
    }
    let untouched = BacklogRoom { room_id: room_id("room_1"), last_ack: Seq(0), last_seq: Seq(3), members: 2 };
    assert_eq!(backlog(store, FIRST, "alice"), [untouched]);
}

fn acks_need_a_member_and_a_message(store: Store<'_>) {
    world(store);
    send(store, "alice", "msg_1");
    let no_room = AcknowledgeRefusal::Access(AccessRefusal::NoRoom);
    let not_member = AcknowledgeRefusal::Access(AccessRefusal::NotMember);
    for (tenant, user_id, seq, expected) in [
        (SECOND, "bob", 1, no_room),
        (FIRST, "mallory", 1, not_member),
        (FIRST, "mallory", 2, not_member),
        (FIRST, "bob", 2, AcknowledgeRefusal::PastHead),
        (FIRST, "bob", u64::MAX, AcknowledgeRefusal::PastHead),
    ] {
        assert_eq!(acknowledge(store, tenant, user_id, Seq(seq)), Err(expected));
    }
}

fn history_pages_in_both_directions(store: Store<'_>) {
    world(store);
    assert_eq!(history(store, HistoryRange::Before(Seq(u64::MAX)), ALL), (vec![], false));
    for number in 1..=5 {
        send(store, "alice", &format!("msg_{number}"));
    }
    let two = PageBounds { messages: 2, ..ALL };
    for (range, expected) in [
        (HistoryRange::After(Seq(0)), (vec![1, 2], true)),
        (HistoryRange::After(Seq(2)), (vec![3, 4], true)),
        (HistoryRange::After(Seq(3)), (vec![4, 5], false)),
        (HistoryRange::After(Seq(5)), (vec![], false)),
        (HistoryRange::After(Seq(u64::MAX)), (vec![], false)),
        (HistoryRange::Before(Seq(u64::MAX)), (vec![4, 5], true)),
        (HistoryRange::Before(Seq(4)), (vec![2, 3], true)),
        (HistoryRange::Before(Seq(3)), (vec![1, 2], false)),
        (HistoryRange::Before(Seq(1)), (vec![], false)),
        (HistoryRange::Before(Seq(0)), (vec![], false)),
    ] {
        assert_eq!(history(store, range, two), expected, "{range:?}");
    }
}

fn a_page_ends_by_bytes_and_holds_at_least_one_message(store: Store<'_>) {
    world(store);
    for number in 1..=4 {
        let large = NewMessage {
            content: "é".repeat(40),
            meta: Some("\"01234567890123456\"".to_owned()),
            ..message("alice", &format!("msg_{number}"))
        };
        assert!(append(store, large).is_ok());
    }
    // Each is 80 + 19 bytes, and two for the quotes that JSON escapes.
    for (messages, size_bytes, expected) in [
        (100, 0, (vec![1], true)),
        (0, 1_000, (vec![1], true)),
        (100, 201, (vec![1], true)),
        (100, 202, (vec![1, 2], true)),
        (100, 403, (vec![1, 2, 3], true)),
        (100, 404, (vec![1, 2, 3, 4], false)),
    ] {
        let bounds = PageBounds { messages, size_bytes };
        assert_eq!(history(store, HistoryRange::After(Seq(0)), bounds), expected, "{bounds:?}");
    }
    let bounds = PageBounds { messages: 100, size_bytes: 202 };
    assert_eq!(history(store, HistoryRange::Before(Seq(4)), bounds), (vec![2, 3], true));
}

fn frames_are_the_messages_as_members_get_them(store: Store<'_>) {
    world(store);
    let sent: Vec<_> = ["msg_1", "msg_2", "msg_3"]
        .into_iter()
        .filter_map(|id| append(store, message("alice", id)).ok())
        .map(|stored| (stored.message.seq, message_frame(&stored.message)))
        .collect();
    let request = |after, bounds| StoreRequest::ReadFrames {
        tenant: FIRST,
        room_id: room_id("room_1"),
        after: Seq(after),
        bounds,
    };
    assert_eq!(ask(store, &request(0, ALL)), StoreReply::Frames(sent.clone()));
    let one = PageBounds { messages: 1, ..ALL };
    assert_eq!(ask(store, &request(1, one)), StoreReply::Frames(sent[1..2].to_vec()));
    assert_eq!(ask(store, &request(3, ALL)), StoreReply::Frames(vec![]));
}

fn a_backlog_names_every_room_in_order(store: Store<'_>) {
    world(store);
    group(store, FIRST, "room_9", &["bob"]);
    group(store, FIRST, "room_5", &["alice", "bob"]);
    group(store, FIRST, "room_6", &["alice"]);
    group(store, SECOND, "room_7", &["bob"]);
    send(store, "alice", "msg_1");
    send(store, "alice", "msg_2");
    assert!(acknowledge(store, FIRST, "bob", Seq(1)).is_ok());
    let at = |room: &str, last_ack, last_seq, members| BacklogRoom {
        room_id: room_id(room),
        last_ack: Seq(last_ack),
        last_seq: Seq(last_seq),
        members,
    };
    let expected = [at("room_1", 1, 2, 2), at("room_5", 0, 0, 2), at("room_9", 0, 0, 1)];
    assert_eq!(backlog(store, FIRST, "bob"), expected);
    assert_eq!(backlog(store, SECOND, "bob"), [at("room_7", 0, 0, 1)]);
    assert_eq!(backlog(store, FIRST, "nobody"), []);
}

fn unread_counts_what_others_wrote_past_the_ack(store: Store<'_>) {
    world(store);
    for (number, sender) in (1..).zip(["alice", "bob", "alice", "bob", "bob"]) {
        send(store, sender, &format!("msg_{number}"));
    }
    assert_eq!(position(store, "alice"), (0, 3));
    assert_eq!(position(store, "bob"), (0, 2));
    assert!(acknowledge(store, FIRST, "bob", Seq(2)).is_ok());
    assert_eq!(position(store, "bob"), (2, 1));
    assert!(acknowledge(store, FIRST, "bob", Seq(5)).is_ok());
    assert_eq!(position(store, "bob"), (5, 0));
}

fn unread_is_counted_within_its_window(store: Store<'_>) {
    world(store);
    for number in 1..=UNREAD_WINDOW + 20 {
        let sender = if number <= 10 { "bob" } else { "alice" };
        send(store, sender, &format!("msg_{number}"));
    }
    assert_eq!(position(store, "bob"), (0, UNREAD_WINDOW - 10));
    assert!(acknowledge(store, FIRST, "bob", Seq(10)).is_ok());
    assert_eq!(position(store, "bob"), (10, UNREAD_WINDOW));
}

fn a_head_is_in_order_with_the_changes(store: Store<'_>) {
    world(store);
    assert_eq!(head(store, FIRST), Some(Seq(0)));
    send(store, "alice", "msg_1");
    assert_eq!(head(store, FIRST), Some(Seq(1)));
    let missing = StoreRequest::ReadHead { tenant: FIRST, room_id: room_id("room_9") };
    assert_eq!(ask(store, &missing), StoreReply::Head(None));
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

fn a_health_check_writes_again_and_again(store: Store<'_>) {
    for now in [1, 1, 2] {
        let now = UnixMillis(now);
        assert_eq!(ask(store, &StoreRequest::CheckWritable { now }), StoreReply::Written);
    }
}
