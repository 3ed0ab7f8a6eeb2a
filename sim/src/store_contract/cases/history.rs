//! Messages as they are read.

use super::prelude::*;

cases![
    history_pages_in_both_directions,
    a_page_ends_by_bytes_and_holds_at_least_one_message,
    frames_are_the_messages_as_members_get_them,
    frames_of_several_rooms_share_the_bounds,
];

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
        rooms: vec![(room_id("room_1"), Seq(after))],
        bounds,
    };
    assert_eq!(ask(store, &request(0, ALL)), StoreReply::Frames(vec![sent.clone()]));
    let one = PageBounds { messages: 1, ..ALL };
    assert_eq!(ask(store, &request(1, one)), StoreReply::Frames(vec![sent[1..2].to_vec()]));
    assert_eq!(ask(store, &request(3, ALL)), StoreReply::Frames(vec![vec![]]));
}

fn frames_of_several_rooms_share_the_bounds(store: Store<'_>) {
    world(store);
    group(store, FIRST, "room_2", &["alice"]);
    group(store, SECOND, "room_3", &["alice"]);
    for (room, id) in [("room_1", "msg_1"), ("room_1", "msg_2"), ("room_2", "msg_3"), ("room_2", "msg_4")] {
        let sent = NewMessage { room_id: room_id(room), ..message("alice", id) };
        append(store, sent).expect("sent");
    }
    let mut read = |rooms: &[(&str, u64)], messages| {
        let rooms = rooms.iter().map(|(room, after)| (room_id(room), Seq(*after))).collect();
        let request = StoreRequest::ReadFrames { tenant: FIRST, rooms, bounds: PageBounds { messages, ..ALL } };
        let StoreReply::Frames(pages) = ask(store, &request) else { panic!("not answered as asked") };
        pages.iter().map(|page| page.iter().map(|(seq, _)| seq.0).collect()).collect::<Vec<Vec<u64>>>()
    };
    assert_eq!(read(&[("room_1", 0), ("room_2", 1)], 100), [vec![1, 2], vec![2]]);
    // What is missing, or another tenant's, shows nothing, and takes nothing from the others.
    assert_eq!(read(&[("room_9", 0), ("room_3", 0), ("room_1", 1)], 1), [vec![], vec![], vec![2]]);
    // A room that does not fit whole is the last, and where nothing is left there is no further one.
    assert_eq!(read(&[("room_1", 0), ("room_2", 0)], 3), [vec![1, 2], vec![1]]);
    assert_eq!(read(&[("room_2", 0), ("room_1", 0)], 1), [vec![1]]);
    assert_eq!(read(&[("room_2", 0), ("room_1", 0)], 2), [vec![1, 2]]);
}
