//! Notifications as they are stored, wait and are confirmed.

use super::prelude::*;

cases![
    notifications_get_ascending_keys,
    a_key_of_a_notification_is_never_used_twice,
    the_room_of_a_notification_is_the_tenant_s_own,
    a_taken_notification_id_fails,
    a_notification_without_a_tenant_fails,
    boot_finds_the_newest_notification,
    pending_notifications_come_as_frames,
    pending_notifications_are_read_in_pages,
    a_page_of_notifications_ends_by_bytes_and_holds_at_least_one,
    notifications_past_their_time_are_not_read,
    pending_notifications_are_a_user_s_own,
    what_is_confirmed_waits_no_more,
    confirming_what_does_not_wait_changes_nothing,
    of_a_user_s_pending_notifications_the_newest_thousand_stay,
    a_notification_that_comes_late_is_as_old_as_its_key,
    a_backlog_tells_whether_any_notification_is_pending,
];

fn notifications_get_ascending_keys(store: Store<'_>) {
    world(store);
    let keys: Vec<NotificationKey> =
        (1..=3).map(|number| notified(store, notification(number, users(&["alice"])))).collect();
    assert!(keys.is_sorted_by(|one, other| one < other) && keys[0] > NotificationKey(0));
    assert_eq!(expansions(store), keys);
}

fn a_key_of_a_notification_is_never_used_twice(store: Store<'_>) {
    world(store);
    let first = notify_all(store, 1, &["alice"]);
    confirm(store, FIRST, "alice", &[first]);
    let second = notify_all(store, 2, &[]);
    let third = notify_all(store, 3, &["alice"]);
    sweep_before(store, UnixMillis(NOW.0 + 1), UnixMillis(0));
    let fourth = notify_all(store, 4, &["alice"]);
    assert!([first, second, third, fourth].is_sorted_by(|one, other| one < other));
}

fn the_room_of_a_notification_is_the_tenant_s_own(store: Store<'_>) {
    world(store);
    group(store, SECOND, "room_2", &["alice"]);
    for (room, expected) in [("room_1", true), ("room_2", false), ("room_9", false)] {
        let targets = NotificationTargets { room_id: Some(room_id(room)), ..users(&["alice"]) };
        let outcome = notify(store, notification(1, targets));
        assert_eq!(outcome.is_ok(), expected, "{room}");
        assert!(expected || outcome == Err(NotifyRefusal::NoRoom));
    }
    assert_eq!(expansions(store).len(), 1);
}

fn a_taken_notification_id_fails(store: Store<'_>) {
    world(store);
    assert!(notify(store, notification(1, users(&["alice"]))).is_ok());
    let again = StoreRequest::Notify(Box::new(notification(1, users(&["bob"]))));
    assert_eq!(store.execute(&again), Err(StoreFailure::Failed));
    let elsewhere = NewNotification { tenant: SECOND, ..notification(1, users(&["bob"])) };
    assert_eq!(store.execute(&StoreRequest::Notify(Box::new(elsewhere))), Err(StoreFailure::Failed));
    assert_eq!(expansions(store).len(), 1);
}

fn a_notification_without_a_tenant_fails(store: Store<'_>) {
    let request = StoreRequest::Notify(Box::new(notification(1, users(&["alice"]))));
    assert_eq!(store.execute(&request), Err(StoreFailure::Failed));
}

fn boot_finds_the_newest_notification(store: Store<'_>) {
    world(store);
    let named =
        |id: &str| NewNotification { notification_id: NotificationId::new(id), ..notification(1, users(&["alice"])) };
    assert!(notify(store, named("notif_00000000000000zz")).is_ok());
    assert!(notify(store, named("notif_imported")).is_ok());
    assert!(notify(store, named("notif_0000000000000001")).is_ok());
    assert_eq!(boot(store).1, IdStamp::read("notif_00000000000000zz"));
}

fn pending_notifications_come_as_frames(store: Store<'_>) {
    world(store);
    let new = NewNotification {
        topic: "tôpic\u{0}".to_owned(),
        payload: " {\"a\": [1,\"\\u0000\"]} ".to_owned(),
        ..notification(1, users(&["alice"]))
    };
    let key = notified(store, new.clone());
    let told = expand(store, key, 10).map(|chunk| chunk.frame);
    let StoreReply::Notifications(page) = ask(store, &StoreRequest::ReadNotifications(all_pending("alice"))) else {
        panic!("not answered as asked")
    };
    assert_eq!(page.notifications.first().map(|(_, frame)| frame.clone()), told);
    let frame: serde_json::Value =
        told.and_then(|frame| serde_json::from_slice(frame.as_bytes()).ok()).unwrap_or_default();
    let expected = serde_json::json!({
        "type": "notification",
        "notification_id": "notif_1",
        "topic": new.topic,
        "payload": new.payload,
        "timestamp": NOW.0 / 1_000,
    });
    assert_eq!(frame, expected);
}

fn pending_notifications_are_read_in_pages(store: Store<'_>) {
    world(store);
    let keys: Vec<NotificationKey> = (1..=5).map(|number| notify_all(store, number, &["alice"])).collect();
    let page = |store: Store<'_>, after, limit| {
        read_pending(store, PendingNotifications { after, limit, ..all_pending("alice") })
    };
    assert_eq!(page(store, NotificationKey(0), 2), (keys[..2].to_vec(), true));
    assert_eq!(page(store, keys[1], 2), (keys[2..4].to_vec(), true));
    assert_eq!(page(store, keys[2], 2), (keys[3..].to_vec(), false));
    assert_eq!(page(store, keys[4], 2), (vec![], false));
    assert_eq!(page(store, NotificationKey(i64::MAX), 2), (vec![], false));
    assert_eq!(page(store, NotificationKey(0), 0), (keys[..1].to_vec(), true));
}

fn a_page_of_notifications_ends_by_bytes_and_holds_at_least_one(store: Store<'_>) {
    world(store);
    let keys: Vec<NotificationKey> = (1..=3)
        .map(|number| {
            // 42 bytes each; what JSON makes of them does not count.
            let payload = format!("\"{}\"", "é".repeat(20));
            let key = notified(store, NewNotification { payload, ..notification(number, users(&["alice"])) });
            assert!(expand(store, key, 10).is_some());
            key
        })
        .collect();
    for (size_bytes, count) in [(0, 1), (41, 1), (83, 1), (84, 2), (125, 2), (126, 3)] {
        let page = read_pending(store, PendingNotifications { size_bytes, ..all_pending("alice") });
        assert_eq!(page, (keys[..count].to_vec(), count < 3), "{size_bytes}");
    }
}

fn notifications_past_their_time_are_not_read(store: Store<'_>) {
    world(store);
    let keys: Vec<NotificationKey> = [20, 10, 30]
        .into_iter()
        .map(|age| {
            let created_at = UnixMillis(NOW.0 - i64::from(age));
            let key = notified(store, NewNotification { created_at, ..notification(age, users(&["alice"])) });
            assert!(expand(store, key, 10).is_some());
            key
        })
        .collect();
    let since = |store: Store<'_>, age: i64, limit| {
        read_pending(store, PendingNotifications { since: UnixMillis(NOW.0 - age), limit, ..all_pending("alice") })
    };
    assert_eq!(since(store, 30, 10), (keys.clone(), false));
    assert_eq!(since(store, 20, 10), (keys[..2].to_vec(), false));
    assert_eq!(since(store, 20, 1), (keys[..1].to_vec(), true));
    assert_eq!(since(store, 19, 1), (keys[1..2].to_vec(), false));
    assert_eq!(since(store, 9, 10), (vec![], false));
}

fn pending_notifications_are_a_user_s_own(store: Store<'_>) {
    world(store);
    let key = notify_all(store, 1, &["alice", "bob"]);
    assert_eq!(pending(store, "alice"), [key]);
    assert_eq!(pending(store, "bob"), [key]);
    assert_eq!(pending(store, "Alice"), []);
    let elsewhere = PendingNotifications { tenant: SECOND, ..all_pending("alice") };
    assert_eq!(read_pending(store, elsewhere), (vec![], false));
    confirm(store, FIRST, "alice", &[key]);
    assert_eq!(pending(store, "alice"), []);
    assert_eq!(pending(store, "bob"), [key]);
}

fn what_is_confirmed_waits_no_more(store: Store<'_>) {
    world(store);
    let keys: Vec<NotificationKey> = (1..=4).map(|number| notify_all(store, number, &["alice"])).collect();
    confirm(store, FIRST, "alice", &[keys[2], keys[0]]);
    assert_eq!(pending(store, "alice"), [keys[1], keys[3]]);
    confirm(store, FIRST, "alice", &[keys[1], keys[2], keys[3]]);
    assert_eq!(pending(store, "alice"), []);
    // The last one it waited for took it along: its id is free.
    assert!(notify(store, notification(4, users(&["alice"]))).is_ok());
}

fn confirming_what_does_not_wait_changes_nothing(store: Store<'_>) {
    world(store);
    let key = notify_all(store, 1, &["alice"]);
    let open = notified(store, notification(2, users(&["alice", "bob"])));
    confirm(store, FIRST, "bob", &[key]);
    confirm(store, SECOND, "alice", &[key]);
    confirm(store, TenantKey(9), "alice", &[key]);
    confirm(store, FIRST, "alice", &[NotificationKey(0), NotificationKey(i64::MAX), open]);
    confirm(store, FIRST, "alice", &[]);
    assert_eq!(pending(store, "alice"), [key]);
    // One that was confirmed before it came is not held back.
    assert_eq!(chunk(store, open, 10), Some((strings(&["alice", "bob"]), false)));
    assert_eq!(pending(store, "alice"), [key, open]);
}

fn of_a_user_s_pending_notifications_the_newest_thousand_stay(store: Store<'_>) {
    world(store);
    let other = notify_all(store, 0, &["alice", "bob"]);
    let keys: Vec<NotificationKey> =
        (1..=PENDING_NOTIFICATIONS_MAX + 2).map(|number| notify_all(store, number, &["alice"])).collect();
    assert_eq!(pending(store, "alice"), keys[2..]);
    assert_eq!(pending(store, "bob"), [other]);
    // What lost its last user that way is gone, the one of bob is not.
    assert!(notify(store, notification(1, users(&[]))).is_ok());
    let taken = StoreRequest::Notify(Box::new(notification(0, users(&[]))));
    assert_eq!(store.execute(&taken), Err(StoreFailure::Failed));
}

fn a_notification_that_comes_late_is_as_old_as_its_key(store: Store<'_>) {
    world(store);
    let late = notified(store, notification(0, users(&["alice", "bob"])));
    let keys: Vec<NotificationKey> =
        (1..=PENDING_NOTIFICATIONS_MAX).map(|number| notify_all(store, number, &["alice"])).collect();
    // Whoever is online hears of it all the same.
    assert_eq!(chunk(store, late, 10), Some((strings(&["alice", "bob"]), false)));
    assert_eq!(pending(store, "alice"), keys);
    assert_eq!(pending(store, "bob"), [late]);
}

fn a_backlog_tells_whether_any_notification_is_pending(store: Store<'_>) {
    world(store);
    let key = notified(store, notification(1, users(&["alice", "carol"])));
    assert!(!has_pending(store, "alice"));
    assert!(expand(store, key, 1).is_some());
    // Who is in no room has some too, and whoever's turn has not come has none.
    assert_eq!(["alice", "carol", "bob"].map(|user_id| has_pending(store, user_id)), [true, false, false]);
    assert!(expand(store, key, 1).is_some());
    assert_eq!(["alice", "carol", "bob"].map(|user_id| has_pending(store, user_id)), [true, true, false]);
    confirm(store, FIRST, "alice", &[key]);
    assert_eq!(["alice", "carol", "bob"].map(|user_id| has_pending(store, user_id)), [false, true, false]);
    assert_eq!(delete_tenant(store, 1), Some(FIRST));
    assert!(!has_pending(store, "carol"));
}
