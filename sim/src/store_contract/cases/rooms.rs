//! Rooms.

use super::prelude::*;

cases![
    a_room_without_a_tenant_fails,
    a_room_is_its_tenant_s_alone,
    a_dm_that_exists_is_returned_with_its_members,
    the_same_unique_key_in_two_tenants_is_two_rooms,
    a_failed_room_leaves_no_members_behind,
    rooms_are_listed_newest_first_in_pages,
    a_change_of_a_room_touches_what_it_names,
    a_room_is_changed_by_its_admins_and_the_tenant,
    a_dm_is_changed_by_either_of_its_two,
    a_group_is_deleted_by_its_admins_and_the_tenant,
    a_dm_is_deleted_by_the_tenant_alone,
];

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

fn a_change_of_a_room_touches_what_it_names(store: Store<'_>) {
    world(store);
    send(store, "bob", "msg_1");
    let metadata = " {\"a\" :\t1}".to_owned();
    let changed = change_room(
        store,
        FIRST,
        "room_1",
        &Actor::Tenant,
        (Edit::Set("Né\u{0}w".to_owned()), Edit::Set(metadata.clone())),
    );
    let room = read_room(store, "room_1", &Actor::Tenant);
    assert_eq!(changed.as_ref().ok(), room.as_ref().ok());
    assert!(changed.is_ok_and(|room| room.name.as_deref() == Some("Né\u{0}w")
        && room.metadata.as_ref() == Some(&metadata)
        && room.last_seq == Seq(1)
        && room.created_at == NOW));
    for (name, metadata, expected) in [
        (Edit::Keep, Edit::Keep, (Some("Né\u{0}w"), Some(metadata.as_str()))),
        (Edit::Keep, Edit::Clear, (Some("Né\u{0}w"), None)),
        (Edit::Clear, Edit::Set("1".to_owned()), (None, Some("1"))),
        (Edit::Clear, Edit::Keep, (None, Some("1"))),
    ] {
        let changed = change_room(store, FIRST, "room_1", &Actor::Tenant, (name, metadata));
        assert!(changed.is_ok_and(|room| (room.name.as_deref(), room.metadata.as_deref()) == expected), "{expected:?}");
    }
}

fn a_room_is_changed_by_its_admins_and_the_tenant(store: Store<'_>) {
    world(store);
    room(store, "room_2", RoomType::Channel, &["carol"]);
    let no_room = ChangeRoomRefusal::Access(AccessRefusal::NoRoom);
    let not_member = ChangeRoomRefusal::Access(AccessRefusal::NotMember);
    for (tenant, room, actor, expected) in [
        (FIRST, "room_1", user("alice"), None),
        (FIRST, "room_1", Actor::Tenant, None),
        (FIRST, "room_1", user("bob"), Some(ChangeRoomRefusal::NotAdmin)),
        (FIRST, "room_1", user("mallory"), Some(not_member)),
        (FIRST, "room_2", user("carol"), None),
        (FIRST, "room_2", user("alice"), Some(not_member)),
        (FIRST, "room_9", Actor::Tenant, Some(no_room)),
        (SECOND, "room_1", user("alice"), Some(no_room)),
        (SECOND, "room_1", Actor::Tenant, Some(no_room)),
    ] {
        let changed = change_room(store, tenant, room, &actor, (Edit::Clear, Edit::Keep));
        assert_eq!(changed.err(), expected, "{tenant:?} {room} {actor:?}");
    }
}

fn a_dm_is_changed_by_either_of_its_two(store: Store<'_>) {
    world(store);
    room(store, "room_2", RoomType::Dm, &["alice", "bob"]);
    for actor in [user("alice"), user("bob"), Actor::Tenant] {
        assert!(change_room(store, FIRST, "room_2", &actor, (Edit::Clear, Edit::Keep)).is_ok(), "{actor:?}");
    }
    let refused = change_room(store, FIRST, "room_2", &user("carol"), (Edit::Clear, Edit::Keep));
    assert_eq!(refused.err(), Some(ChangeRoomRefusal::Access(AccessRefusal::NotMember)));
}

fn a_group_is_deleted_by_its_admins_and_the_tenant(store: Store<'_>) {
    world(store);
    room(store, "room_2", RoomType::Channel, &["alice", "bob"]);
    let no_room = Err(DeleteRoomRefusal::Access(AccessRefusal::NoRoom));
    let not_member = Err(DeleteRoomRefusal::Access(AccessRefusal::NotMember));
    for (tenant, room, actor, expected) in [
        (SECOND, "room_1", user("alice"), no_room),
        (SECOND, "room_1", Actor::Tenant, no_room),
        (FIRST, "room_1", user("mallory"), not_member),
        (FIRST, "room_1", user("bob"), Err(DeleteRoomRefusal::NotAdmin)),
        (FIRST, "room_1", user("alice"), Ok(())),
        (FIRST, "room_1", user("alice"), no_room),
        (FIRST, "room_2", user("bob"), Err(DeleteRoomRefusal::NotAdmin)),
        (FIRST, "room_2", Actor::Tenant, Ok(())),
        (FIRST, "room_2", Actor::Tenant, no_room),
    ] {
        assert_eq!(delete_room(store, tenant, room, &actor), expected, "{tenant:?} {room} {actor:?}");
    }
}

fn a_dm_is_deleted_by_the_tenant_alone(store: Store<'_>) {
    world(store);
    room(store, "room_2", RoomType::Dm, &["alice", "bob"]);
    let not_member = Err(DeleteRoomRefusal::Access(AccessRefusal::NotMember));
    assert_eq!(delete_room(store, FIRST, "room_2", &user("carol")), not_member);
    assert_eq!(delete_room(store, FIRST, "room_2", &user("alice")), Err(DeleteRoomRefusal::IsDm));
    assert_eq!(delete_room(store, FIRST, "room_2", &Actor::Tenant), Ok(()));
}
