//! Where members stand.

use super::prelude::*;

cases![
    acks_move_forward_only,
    acks_need_a_member_and_a_message,
    a_backlog_names_every_room_in_order,
    unread_counts_what_others_wrote_past_the_ack,
    unread_is_counted_within_its_window,
    unread_leaves_out_what_is_deleted,
    a_head_is_in_order_with_the_changes,
    positions_are_answered_room_by_room,
];

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

fn unread_leaves_out_what_is_deleted(store: Store<'_>) {
    world(store);
    for id in ["msg_1", "msg_2", "msg_3"] {
        send(store, "alice", id);
    }
    assert!(delete(store, &user("alice"), "msg_2").is_ok());
    assert_eq!(position(store, "bob"), (0, 2));
}

fn positions_are_answered_room_by_room(store: Store<'_>) {
    world(store);
    group(store, FIRST, "room_2", &["alice"]);
    group(store, FIRST, "room_3", &["bob"]);
    group(store, SECOND, "room_4", &["bob"]);
    send(store, "alice", "msg_1");
    send(store, "alice", "msg_2");
    assert!(acknowledge(store, FIRST, "bob", Seq(1)).is_ok());
    let at = |last_ack, last_seq| Ok(RoomPosition { last_ack: Seq(last_ack), last_seq: Seq(last_seq) });
    let asked = ["room_3", "room_9", "room_1", "room_4", "room_2"];
    let (no_room, not_member) = (Err(AccessRefusal::NoRoom), Err(AccessRefusal::NotMember));
    assert_eq!(positions(store, FIRST, "bob", &asked), [at(0, 0), no_room, at(1, 2), no_room, not_member]);
    assert_eq!(positions(store, FIRST, "bob", &[]), []);
}
