//! Notifications as they are expanded, chunk by chunk.

use super::prelude::*;

cases![
    users_are_told_in_chunks_ascending,
    a_notification_is_for_all_its_targets_each_once,
    a_chunk_looks_one_user_ahead,
    only_a_durable_notification_waits,
    a_user_waits_from_the_chunk_that_named_them,
    a_notification_without_targets_is_expanded_by_one_empty_step,
    an_expanded_notification_is_not_expanded_again,
    an_expanded_notification_that_waits_for_nobody_is_gone,
    targets_are_who_they_are_at_each_step,
    who_changes_from_one_kind_of_target_to_another_is_told_once,
    subscribers_of_the_topic_alone_are_told,
    without_its_room_a_notification_has_no_members,
    expansions_are_listed_oldest_first,
];

fn of_room(room: &str) -> NotificationTargets {
    NotificationTargets { room_id: Some(room_id(room)), ..NotificationTargets::default() }
}

fn of_topic() -> NotificationTargets {
    NotificationTargets { topic_subscribers: true, ..NotificationTargets::default() }
}

fn users_are_told_in_chunks_ascending(store: Store<'_>) {
    world(store);
    let key = notified(store, notification(1, users(&["a", "b", "c", "d", "e"])));
    assert_eq!(chunk(store, key, 2), Some((strings(&["a", "b"]), true)));
    assert_eq!(expansions(store), [key]);
    assert_eq!(chunk(store, key, 1), Some((strings(&["c"]), true)));
    assert_eq!(chunk(store, key, 10), Some((strings(&["d", "e"]), false)));
    assert_eq!(expansions(store), []);
    let other = notified(store, notification(2, users(&["a"])));
    let Some(first) = expand(store, other, 10) else { panic!("not expanded") };
    assert!(first.durable && first.tenant == FIRST);
}

fn a_notification_is_for_all_its_targets_each_once(store: Store<'_>) {
    world(store);
    group(store, FIRST, "room_2", &["mona", "bob", "zoe"]);
    for user_id in ["zoe", "carol", "alice", "mona"] {
        subscribed(store, FIRST, user_id, "news");
    }
    let targets =
        NotificationTargets { room_id: Some(room_id("room_2")), topic_subscribers: true, ..users(&["alice", "bob"]) };
    let key = notified(store, notification(1, targets));
    let mut told = Vec::new();
    while let Some((users, has_more)) = chunk(store, key, 2) {
        told.extend(users);
        assert_eq!(has_more, told.len() < 5);
    }
    assert_eq!(told, ["alice", "bob", "carol", "mona", "zoe"]);
}

fn a_chunk_looks_one_user_ahead(store: Store<'_>) {
    world(store);
    let key = notified(store, notification(1, users(&["a", "b"])));
    assert_eq!(chunk(store, key, 2), Some((strings(&["a", "b"]), false)));
    subscribed(store, FIRST, "a", "news");
    // What is ahead is no more than what was told.
    let both = NotificationTargets { topic_subscribers: true, ..users(&["a"]) };
    let key = notified(store, notification(2, both));
    assert_eq!(chunk(store, key, 1), Some((strings(&["a"]), false)));
}

fn only_a_durable_notification_waits(store: Store<'_>) {
    world(store);
    let passing = NewNotification { durable: false, ..notification(1, users(&["alice"])) };
    let key = notified(store, passing);
    assert!(expand(store, key, 10).is_some_and(|chunk| !chunk.durable && chunk.users.len() == 1));
    assert_eq!(pending(store, "alice"), []);
    assert_eq!(expand(store, key, 10), None);
    // It is gone at its end.
    assert!(notify(store, notification(1, users(&["alice"]))).is_ok());
}

fn a_user_waits_from_the_chunk_that_named_them(store: Store<'_>) {
    world(store);
    let key = notified(store, notification(1, users(&["alice", "bob"])));
    assert_eq!(pending(store, "alice"), []);
    assert_eq!(chunk(store, key, 1), Some((strings(&["alice"]), true)));
    assert_eq!((pending(store, "alice"), pending(store, "bob")), (vec![key], vec![]));
    confirm(store, FIRST, "alice", &[key]);
    assert_eq!(chunk(store, key, 1), Some((strings(&["bob"]), false)));
    assert_eq!((pending(store, "alice"), pending(store, "bob")), (vec![], vec![key]));
}

fn a_notification_without_targets_is_expanded_by_one_empty_step(store: Store<'_>) {
    world(store);
    room(store, "room_2", RoomType::Group, &["alice"]);
    for (number, targets) in [(1, users(&[])), (2, of_topic()), (3, of_room("room_2"))] {
        let key = notified(store, notification(number, targets));
        if number == 3 {
            assert_eq!(delete_room(store, FIRST, "room_2", &Actor::Tenant), Ok(()));
        }
        assert_eq!(expansions(store), [key]);
        assert_eq!(chunk(store, key, 10), Some((vec![], false)), "{number}");
        assert_eq!(chunk(store, key, 10), None);
        assert_eq!(expansions(store), []);
    }
}

fn an_expanded_notification_is_not_expanded_again(store: Store<'_>) {
    world(store);
    let key = notify_all(store, 1, &["alice"]);
    assert_eq!(expand(store, key, 10), None);
    assert_eq!(expand(store, NotificationKey(0), 10), None);
    assert_eq!(expand(store, NotificationKey(i64::MAX), 10), None);
    assert_eq!(pending(store, "alice"), [key]);
}

fn an_expanded_notification_that_waits_for_nobody_is_gone(store: Store<'_>) {
    world(store);
    let key = notified(store, notification(1, users(&["alice", "bob"])));
    assert!(expand(store, key, 1).is_some());
    confirm(store, FIRST, "alice", &[key]);
    // It waits for nobody, and is not at its end.
    let taken = StoreRequest::Notify(Box::new(notification(1, users(&["carol"]))));
    assert_eq!(store.execute(&taken), Err(StoreFailure::Failed));
    assert_eq!(chunk(store, key, 1), Some((strings(&["bob"]), false)));
    assert_eq!(store.execute(&taken), Err(StoreFailure::Failed));
    confirm(store, FIRST, "bob", &[key]);
    assert!(notify(store, notification(1, users(&["carol"]))).is_ok());
}

fn targets_are_who_they_are_at_each_step(store: Store<'_>) {
    world(store);
    group(store, FIRST, "room_2", &["b", "d", "f"]);
    let targets = NotificationTargets { topic_subscribers: true, ..of_room("room_2") };
    let key = notified(store, notification(1, targets));
    assert_eq!(chunk(store, key, 1), Some((strings(&["b"]), true)));
    // Who comes behind what was told is too late, who goes before is spared.
    join(store, "room_2", "a", NOW);
    subscribed(store, FIRST, "e", "news");
    assert!(remove(store, "room_2", &Actor::Tenant, "d").is_ok());
    assert_eq!(chunk(store, key, 10), Some((strings(&["e", "f"]), false)));
}

fn who_changes_from_one_kind_of_target_to_another_is_told_once(store: Store<'_>) {
    world(store);
    group(store, FIRST, "room_2", &["b", "c", "x"]);
    let a = subscribed(store, FIRST, "m", "news");
    let targets = NotificationTargets { topic_subscribers: true, ..of_room("room_2") };
    let key = notified(store, notification(1, targets));
    assert_eq!(chunk(store, key, 2), Some((strings(&["b", "c"]), true)));
    // A member who was told becomes a subscriber, a subscriber who was not told becomes a member.
    subscribed(store, FIRST, "b", "news");
    assert!(remove(store, "room_2", &Actor::Tenant, "b").is_ok());
    join(store, "room_2", "m", NOW);
    assert!(unsubscribe(store, FIRST, "m", a));
    assert_eq!(chunk(store, key, 10), Some((strings(&["m", "x"]), false)));
}

fn subscribers_of_the_topic_alone_are_told(store: Store<'_>) {
    world(store);
    for (tenant, user_id, topic) in [
        (FIRST, "a", "news"),
        (FIRST, "b", "News"),
        (FIRST, "c", "news\u{0}"),
        (SECOND, "d", "news"),
        (FIRST, "e", "news"),
    ] {
        subscribed(store, tenant, user_id, topic);
    }
    let key = notified(store, notification(1, of_topic()));
    assert_eq!(chunk(store, key, 10), Some((strings(&["a", "e"]), false)));
    // Nobody else is asked where subscribers are no targets.
    let key = notified(store, notification(2, of_room("room_1")));
    assert_eq!(chunk(store, key, 10), Some((strings(&["alice", "bob"]), false)));
}

fn without_its_room_a_notification_has_no_members(store: Store<'_>) {
    world(store);
    let targets = NotificationTargets { room_id: Some(room_id("room_1")), ..users(&["Alfred", "zoe"]) };
    let key = notified(store, notification(1, targets));
    assert_eq!(chunk(store, key, 1), Some((strings(&["Alfred"]), true)));
    assert_eq!(delete_room(store, FIRST, "room_1", &Actor::Tenant), Ok(()));
    assert_eq!(chunk(store, key, 10), Some((strings(&["zoe"]), false)));
}

fn expansions_are_listed_oldest_first(store: Store<'_>) {
    world(store);
    let keys: Vec<NotificationKey> =
        (1..=4).map(|number| notified(store, notification(number, users(&["a", "b"])))).collect();
    assert!(expand(store, keys[1], 10).is_some());
    assert!(expand(store, keys[2], 1).is_some());
    let elsewhere = NewNotification { tenant: SECOND, ..notification(9, users(&["a"])) };
    let other = notified(store, elsewhere);
    assert_eq!(expansions(store), [keys[0], keys[2], keys[3], other]);
}
