//! What is deleted, and swept.

use super::prelude::*;

cases![
    no_step_sees_a_deleted_room,
    a_deleted_room_frees_its_unique_key,
    no_step_sees_a_deleted_tenant,
    no_step_sees_the_rooms_of_a_deleted_tenant,
    a_deleted_tenant_gets_nothing_new,
    notifications_of_a_deleted_tenant_end,
    what_is_deleted_keeps_its_ids_until_it_is_swept,
    a_sweep_frees_what_was_deleted,
    a_sweep_leaves_the_others_alone,
    the_newest_id_outlives_what_bore_it,
    the_key_of_a_swept_tenant_names_no_other,
    a_sweep_ends_old_notifications,
    a_sweep_that_came_to_its_end_finds_nothing_more,
    an_empty_store_has_nothing_to_sweep,
];

/// Everything that is asked of `room_1`, by its members and by the tenant, finds none.
fn assert_no_room(store: Store<'_>, tenant: TenantKey) {
    let no_room = AccessRefusal::NoRoom;
    for actor in [user("alice"), Actor::Tenant] {
        let room_id = room_id("room_1");
        let read = StoreRequest::ReadRoom { tenant, room_id, actor: actor.clone() };
        assert_eq!(ask(store, &read), StoreReply::Room(Err(no_room)));
        let members = list_members(tenant, &actor, None, 10);
        assert_eq!(ask(store, &members), StoreReply::Members(Err(no_room)));
        assert_eq!(receipts(store, tenant, &actor, None, 10), Err(no_room));
        assert_eq!(page(store, tenant, &actor, HistoryRange::After(Seq(0)), ALL), Err(no_room));
        let message = read_message(store, tenant, &actor, "msg_1");
        assert_eq!(message, Err(ReadMessageRefusal::Access(no_room)));
        let changed = change_room(store, tenant, "room_1", &actor, (Edit::Clear, Edit::Clear));
        assert_eq!(changed, Err(ChangeRoomRefusal::Access(no_room)));
        assert_eq!(delete_room(store, tenant, "room_1", &actor), Err(DeleteRoomRefusal::Access(no_room)));
        for user_id in ["alice", "carol"] {
            let new = NewMember { tenant, ..new_member("room_1", &actor, user_id, None) };
            assert_eq!(add(store, new), Err(AddMemberRefusal::Access(no_room)));
            let removed = remove_in(store, tenant, "room_1", &actor, user_id);
            assert_eq!(removed, Err(RemoveMemberRefusal::Access(no_room)));
        }
        let deleted = delete_at(store, tenant, &actor, "msg_1", LATER);
        assert_eq!(deleted, Err(DeleteMessageRefusal::Access(no_room)));
        assert_eq!(rooms(store, tenant, &actor, None, 10), (vec![], false));
    }
    let appended = append(store, NewMessage { tenant, ..message("alice", "msg_9") });
    assert_eq!(appended, Err(AppendRefusal::Access(no_room)));
    let repeated = append(store, NewMessage { tenant, ..keyed("alice", "msg_9", "k", 1) });
    assert_eq!(repeated, Err(AppendRefusal::Access(no_room)));
    let edited = edit(store, MessageEdit { tenant, ..new_text("alice", "msg_1") });
    assert_eq!(edited, Err(EditMessageRefusal::Access(no_room)));
    let acknowledged = acknowledge(store, tenant, "alice", Seq(1));
    assert_eq!(acknowledged, Err(AcknowledgeRefusal::Access(no_room)));
    assert_eq!(positions(store, tenant, "alice", &["room_1"]), [Err(no_room)]);
    assert_eq!(backlog(store, tenant, "alice"), []);
    assert_eq!(frames(store, tenant), 0);
    assert_eq!(head(store, tenant), None);
}

/// `room_1` with messages, an ack and an idempotency key.
fn busy_world(store: Store<'_>) {
    world(store);
    assert!(append(store, keyed("alice", "msg_1", "k", 1)).is_ok());
    send(store, "bob", "msg_2");
    assert!(acknowledge(store, FIRST, "alice", Seq(1)).is_ok());
}

fn no_step_sees_a_deleted_room(store: Store<'_>) {
    busy_world(store);
    assert_eq!(delete_room(store, FIRST, "room_1", &user("alice")), Ok(()));
    assert_no_room(store, FIRST);
    let targets = NotificationTargets { room_id: Some(room_id("room_1")), ..NotificationTargets::default() };
    assert_eq!(notify(store, notification(1, targets)), Err(NotifyRefusal::NoRoom));
    sweep(store);
    assert_no_room(store, FIRST);
}

fn a_deleted_room_frees_its_unique_key(store: Store<'_>) {
    world(store);
    let key = Some("dm:alice:bob");
    for room in ["room_7", "room_8"] {
        let created = ask(store, &new_room(FIRST, room, RoomType::Dm, key, &["alice", "bob"]));
        assert!(matches!(created, StoreReply::RoomCreated(CreatedRoom::New(_))), "{created:?}");
        let again = ask(store, &new_room(FIRST, "room_9", RoomType::Dm, key, &["alice", "bob"]));
        let StoreReply::RoomCreated(CreatedRoom::Existing { room: existing, .. }) = again else { panic!("{again:?}") };
        assert_eq!(existing.room_id, room_id(room));
        assert_eq!(delete_room(store, FIRST, room, &Actor::Tenant), Ok(()));
    }
    sweep(store);
    let created = ask(store, &new_room(FIRST, "room_9", RoomType::Dm, key, &["alice", "bob"]));
    assert!(matches!(created, StoreReply::RoomCreated(CreatedRoom::New(_))), "{created:?}");
}

fn no_step_sees_a_deleted_tenant(store: Store<'_>) {
    world(store);
    assert_eq!(rotate(store, 1, 11, 1_000), Ok(Some(FIRST)));
    assert_eq!(delete_tenant(store, 1), Some(FIRST));
    for swept in [false, true] {
        assert_eq!([1, 11].map(|key| find(store, key)), [None, None], "swept: {swept}");
        assert_eq!(read_tenant(store, 1), None);
        assert_eq!(list_tenants(store, None, 10), (strings(&["tenant_2"]), false));
        assert_eq!(change_tenant(store, change(ConfigChange::default())), None);
        assert_eq!(rotate(store, 1, 12, 1_000), Ok(None));
        assert_eq!(delete_tenant(store, 1), None);
        sweep(store);
    }
}

fn no_step_sees_the_rooms_of_a_deleted_tenant(store: Store<'_>) {
    busy_world(store);
    assert_eq!(delete_tenant(store, 1), Some(FIRST));
    assert_no_room(store, FIRST);
    sweep(store);
    assert_no_room(store, FIRST);
}

fn a_deleted_tenant_gets_nothing_new(store: Store<'_>) {
    world(store);
    let key = Some("dm:alice:bob");
    let created = ask(store, &new_room(FIRST, "room_7", RoomType::Dm, key, &["alice", "bob"]));
    assert!(matches!(created, StoreReply::RoomCreated(CreatedRoom::New(_))), "{created:?}");
    assert_eq!(delete_tenant(store, 1), Some(FIRST));
    for swept in [false, true] {
        for request in [
            new_room(FIRST, "room_8", RoomType::Group, None, &["alice"]),
            new_room(FIRST, "room_8", RoomType::Dm, key, &["alice", "bob"]),
            new_room(FIRST, "room_1", RoomType::Group, None, &["alice", "alice"]),
        ] {
            let expected = StoreReply::RoomCreated(CreatedRoom::NoTenant);
            assert_eq!(ask(store, &request), expected, "swept: {swept} {request:?}");
        }
        assert_eq!(notify(store, notification(1, users(&["alice"]))), Err(NotifyRefusal::NoTenant));
        let of_room = NotificationTargets { room_id: Some(room_id("room_1")), ..users(&[]) };
        assert_eq!(notify(store, notification(1, of_room)), Err(NotifyRefusal::NoTenant));
        assert_eq!(subscribe(store, FIRST, "alice", "news"), Err(SubscribeRefusal::NoTenant));
        sweep(store);
    }
}

fn notifications_of_a_deleted_tenant_end(store: Store<'_>) {
    world(store);
    let waiting = notify_all(store, 1, &["alice"]);
    let open = notified(store, notification(2, users(&["alice", "bob"])));
    assert!(expand(store, open, 1).is_some());
    let id = subscribed(store, FIRST, "alice", "news");
    assert!(subscribe(store, FIRST, "bob", "news").is_ok());
    assert_eq!(delete_tenant(store, 1), Some(FIRST));
    for swept in [false, true] {
        assert_eq!(pending(store, "alice"), [], "swept: {swept}");
        assert_eq!(expansions(store), []);
        assert_eq!(expand(store, open, 1), None);
        confirm(store, FIRST, "alice", &[waiting, open]);
        assert_eq!(subscriptions(store, FIRST, "alice"), []);
        assert!(!unsubscribe(store, FIRST, "alice", id));
        sweep(store);
    }
}

fn what_is_deleted_keeps_its_ids_until_it_is_swept(store: Store<'_>) {
    busy_world(store);
    group(store, FIRST, "room_2", &["alice"]);
    assert_eq!(delete_room(store, FIRST, "room_1", &Actor::Tenant), Ok(()));
    let taken = NewMessage { room_id: room_id("room_2"), ..message("alice", "msg_1") };
    let taken = StoreRequest::AppendMessage(Box::new(taken));
    assert_eq!(store.execute(&taken), Err(StoreFailure::Failed));
    let taken = new_room(SECOND, "room_1", RoomType::Group, None, &["alice"]);
    assert_eq!(store.execute(&taken), Err(StoreFailure::Failed));
    assert!(notify(store, notification(1, users(&["alice"]))).is_ok());
    assert_eq!(delete_tenant(store, 1), Some(FIRST));
    assert_eq!(tenant(store, 1), Err(StoreFailure::Failed));
    assert_eq!(rotate(store, 2, 1, 1_000), Err(StoreFailure::Failed));
    let taken = NewNotification { tenant: SECOND, ..notification(1, users(&["alice"])) };
    assert_eq!(store.execute(&StoreRequest::Notify(Box::new(taken))), Err(StoreFailure::Failed));
}

fn a_sweep_frees_what_was_deleted(store: Store<'_>) {
    busy_world(store);
    assert!(notify(store, notification(1, users(&["alice"]))).is_ok());
    assert_eq!(rotate(store, 1, 11, 1_000), Ok(Some(FIRST)));
    assert_eq!(delete_tenant(store, 1), Some(FIRST));
    sweep(store);
    assert!(tenant(store, 1).is_ok());
    assert_eq!(rotate(store, 2, 11, 0), Ok(Some(SECOND)));
    group(store, SECOND, "room_1", &["alice", "bob"]);
    let sent = append(store, NewMessage { tenant: SECOND, ..keyed("alice", "msg_1", "k", 2) });
    assert!(sent.is_ok_and(|sent| sent.outcome == AppendOutcome::Stored && sent.message.seq == Seq(1)));
    assert_eq!(acknowledge(store, SECOND, "alice", Seq(0)), Ok(Acknowledged { last_ack: Seq(0), moved: false }));
    let again = NewNotification { tenant: SECOND, ..notification(1, users(&["alice"])) };
    assert!(notify(store, again).is_ok());
}

fn a_sweep_leaves_the_others_alone(store: Store<'_>) {
    busy_world(store);
    group(store, FIRST, "room_2", &["alice", "bob"]);
    for number in 3..40 {
        let elsewhere = NewMessage {
            room_id: room_id("room_2"),
            ..keyed("alice", &format!("msg_{number}"), &number.to_string(), 1)
        };
        assert!(append(store, elsewhere).is_ok());
    }
    let waiting = notify_all(store, 1, &["alice"]);
    let id = subscribed(store, FIRST, "alice", "news");
    group(store, SECOND, "room_3", &["alice"]);
    assert_eq!(delete_room(store, FIRST, "room_2", &Actor::Tenant), Ok(()));
    assert_eq!(delete_tenant(store, 2), Some(SECOND));
    sweep(store);
    assert_eq!(history(store, HistoryRange::After(Seq(0)), ALL), (vec![1, 2], false));
    assert_eq!(roles(store, "room_1").len(), 2);
    assert_eq!(position(store, "alice"), (1, 1));
    let again = append(store, keyed("alice", "msg_90", "k", 1));
    assert!(again.is_ok_and(|again| again.outcome == AppendOutcome::Replayed));
    assert_eq!(pending(store, "alice"), [waiting]);
    assert_eq!(subscriptions(store, FIRST, "alice").first().map(|known| known.id), Some(id));
    assert_eq!(list_tenants(store, None, 10), (strings(&["tenant_1"]), false));
    assert!(find(store, 1).is_some());
}

fn the_newest_id_outlives_what_bore_it(store: Store<'_>) {
    world(store);
    group(store, FIRST, "room_2", &["alice"]);
    let newest = |store: Store<'_>, id: &str| {
        sweep_before(store, UnixMillis(NOW.0 + 1), UnixMillis(0));
        assert_eq!(boot(store).1, IdStamp::read(id), "{id}");
    };
    let elsewhere = NewMessage { room_id: room_id("room_2"), ..message("alice", "msg_0000000000000010") };
    assert!(append(store, elsewhere).is_ok());
    assert_eq!(delete_room(store, FIRST, "room_2", &Actor::Tenant), Ok(()));
    newest(store, "msg_0000000000000010");
    group(store, FIRST, "room_0000000000000020", &["alice"]);
    assert!(remove(store, "room_0000000000000020", &user("alice"), "alice").is_ok());
    newest(store, "room_0000000000000020");
    for (id, confirmed) in [("notif_0000000000000030", false), ("notif_0000000000000040", true)] {
        let new = NewNotification { notification_id: NotificationId::new(id), ..notification(1, users(&["alice"])) };
        let key = notified(store, new);
        if confirmed {
            assert!(expand(store, key, 10).is_some());
            confirm(store, FIRST, "alice", &[key]);
        }
        newest(store, id);
    }
}

fn the_key_of_a_swept_tenant_names_no_other(store: Store<'_>) {
    world(store);
    assert_eq!(delete_tenant(store, 2), Some(SECOND));
    sweep(store);
    assert!(tenant(store, 3).is_ok_and(|third| third.key > SECOND));
}

fn a_sweep_ends_old_notifications(store: Store<'_>) {
    world(store);
    let at = |number, created_at: i64| NewNotification {
        created_at: UnixMillis(created_at),
        ..notification(number, users(&["alice", "bob"]))
    };
    let old = notified(store, at(1, NOW.0 - 1));
    assert!(expand(store, old, 10).is_some());
    let open = notified(store, at(2, NOW.0 - 1));
    assert!(expand(store, open, 1).is_some());
    let young = notified(store, at(3, NOW.0));
    assert!(expand(store, young, 1).is_some());
    sweep_before(store, NOW, UnixMillis(0));
    assert_eq!(pending(store, "alice"), [young]);
    assert_eq!(pending(store, "bob"), []);
    assert_eq!(expansions(store), [young]);
    assert_eq!(expand(store, open, 10), None);
    assert_eq!(chunk(store, young, 10), Some((strings(&["bob"]), false)));
    assert!(notify(store, at(1, NOW.0)).is_ok());
}

fn a_sweep_that_came_to_its_end_finds_nothing_more(store: Store<'_>) {
    busy_world(store);
    assert_eq!(delete_tenant(store, 1), Some(FIRST));
    // Whatever a step leaves for the next, the last one says that nothing is left.
    sweep(store);
    let request = StoreRequest::Sweep { notifications_before: UnixMillis(0), keys_before: UnixMillis(0), rows: 1 };
    assert_eq!(ask(store, &request), StoreReply::Swept { has_more: false });
}

fn an_empty_store_has_nothing_to_sweep(store: Store<'_>) {
    let request = StoreRequest::Sweep { notifications_before: NOW, keys_before: NOW, rows: 128 };
    assert_eq!(ask(store, &request), StoreReply::Swept { has_more: false });
}
