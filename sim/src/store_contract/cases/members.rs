//! Members.

use super::prelude::*;

cases![
    members_are_listed_by_id_in_pages,
    receipts_are_listed_by_id_in_pages,
    an_admin_and_the_tenant_add_anyone,
    a_member_adds_nobody,
    anyone_joins_a_channel_as_a_member,
    nobody_joins_a_group_uninvited,
    a_dm_takes_no_other_members,
    who_is_in_a_room_may_ask_to_be,
    an_admin_changes_roles,
    the_last_admin_who_steps_down_is_succeeded_by_who_joined_first,
    nobody_succeeds_where_nobody_else_is,
    a_new_member_has_missed_nothing,
    an_ack_of_an_earlier_membership_is_forgotten,
    an_idempotency_key_outlives_a_membership,
    a_member_leaves_and_an_admin_removes,
    the_refusals_of_a_removal_have_their_order,
    a_dm_loses_no_members,
    the_last_admin_who_goes_is_succeeded_by_who_joined_first,
    an_admin_who_was_not_the_last_is_not_succeeded,
    a_room_without_admins_gets_none_when_a_member_goes,
    with_its_last_member_a_room_goes,
    a_removed_member_is_in_no_list,
];

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

fn receipts_are_listed_by_id_in_pages(store: Store<'_>) {
    world(store);
    join(store, "room_1", "carol", NOW);
    send(store, "alice", "msg_1");
    send(store, "alice", "msg_2");
    assert!(acknowledge(store, FIRST, "carol", Seq(2)).is_ok());
    let receipt = |id: &str, last_ack| Receipt { user_id: UserId::new(id), last_ack: Seq(last_ack) };
    let all = [receipt("alice", 0), receipt("bob", 0), receipt("carol", 2)];
    let page = |receipts: &[Receipt], has_more| Ok(ReceiptPage { receipts: receipts.to_vec(), has_more });
    assert_eq!(receipts(store, FIRST, &user("bob"), None, 3), page(&all, false));
    assert_eq!(receipts(store, FIRST, &Actor::Tenant, None, 2), page(&all[..2], true));
    assert_eq!(receipts(store, FIRST, &user("bob"), Some("bob"), 2), page(&all[2..], false));
    assert_eq!(receipts(store, FIRST, &user("mallory"), None, 2), Err(AccessRefusal::NotMember));
    assert_eq!(receipts(store, SECOND, &user("bob"), None, 2), Err(AccessRefusal::NoRoom));
    assert_eq!(receipts(store, SECOND, &Actor::Tenant, None, 2), Err(AccessRefusal::NoRoom));
}

const LATER_STILL: UnixMillis = UnixMillis(NOW.0 + 60_000);

fn joined(user_id: &str, role: Role, last_seq: u64, members: u32) -> AddedMember {
    AddedMember {
        member: member(user_id, role, NOW),
        outcome: AddOutcome::Joined,
        last_seq: Seq(last_seq),
        members,
        successor: None,
    }
}

fn an_admin_and_the_tenant_add_anyone(store: Store<'_>) {
    world(store);
    send(store, "alice", "msg_1");
    for (actor, user_id, role, expected) in [
        (user("alice"), "carol", None, joined("carol", Role::Member, 1, 3)),
        (user("alice"), "dave", Some(Role::Admin), joined("dave", Role::Admin, 1, 4)),
        (user("dave"), "erin", Some(Role::Member), joined("erin", Role::Member, 1, 5)),
        (Actor::Tenant, "frank", Some(Role::Admin), joined("frank", Role::Admin, 1, 6)),
        (Actor::Tenant, "grace", None, joined("grace", Role::Member, 1, 7)),
    ] {
        assert_eq!(add(store, new_member("room_1", &actor, user_id, role)), Ok(expected));
    }
    let ids: Vec<String> = roles(store, "room_1").into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, ["alice", "bob", "carol", "dave", "erin", "frank", "grace"]);
    assert_eq!(rooms(store, FIRST, &user("carol"), None, 10).0, ["room_1"]);
    assert_eq!(backlog(store, FIRST, "alice")[0].members, 7);
    let elsewhere = NewMember { tenant: SECOND, ..new_member("room_1", &Actor::Tenant, "carol", None) };
    assert_eq!(add(store, elsewhere), Err(AddMemberRefusal::Access(AccessRefusal::NoRoom)));
}

fn a_member_adds_nobody(store: Store<'_>) {
    world(store);
    room(store, "room_2", RoomType::Channel, &["alice", "bob"]);
    for room in ["room_1", "room_2"] {
        for (actor, user_id, refusal) in [
            ("bob", "carol", AddMemberRefusal::NotAdmin),
            ("bob", "alice", AddMemberRefusal::NotAdmin),
            ("mallory", "carol", AddMemberRefusal::Access(AccessRefusal::NotMember)),
            ("mallory", "alice", AddMemberRefusal::Access(AccessRefusal::NotMember)),
        ] {
            let refused = add(store, new_member(room, &user(actor), user_id, None));
            assert_eq!(refused, Err(refusal), "{actor} adds {user_id}");
        }
        assert_eq!(roles(store, room).len(), 2);
    }
}

fn anyone_joins_a_channel_as_a_member(store: Store<'_>) {
    world(store);
    room(store, "room_2", RoomType::Channel, &["alice"]);
    let asked = |id: &str, role| new_member("room_2", &user(id), id, role);
    assert_eq!(add(store, asked("carol", Some(Role::Admin))), Err(AddMemberRefusal::NotAdmin));
    assert_eq!(add(store, asked("carol", None)), Ok(joined("carol", Role::Member, 0, 2)));
    assert_eq!(add(store, asked("dave", Some(Role::Member))), Ok(joined("dave", Role::Member, 0, 3)));
    let elsewhere = NewMember { tenant: SECOND, ..asked("erin", None) };
    assert_eq!(add(store, elsewhere), Err(AddMemberRefusal::Access(AccessRefusal::NoRoom)));
}

fn nobody_joins_a_group_uninvited(store: Store<'_>) {
    world(store);
    for role in [None, Some(Role::Member), Some(Role::Admin)] {
        let asked = new_member("room_1", &user("carol"), "carol", role);
        assert_eq!(add(store, asked), Err(AddMemberRefusal::Access(AccessRefusal::NotMember)));
    }
}

fn a_dm_takes_no_other_members(store: Store<'_>) {
    world(store);
    room(store, "room_2", RoomType::Dm, &["alice", "bob"]);
    let not_member = AddMemberRefusal::Access(AccessRefusal::NotMember);
    for (actor, user_id, refusal) in [
        (user("alice"), "carol", AddMemberRefusal::IsDm),
        (user("alice"), "alice", AddMemberRefusal::IsDm),
        (user("alice"), "bob", AddMemberRefusal::IsDm),
        (Actor::Tenant, "carol", AddMemberRefusal::IsDm),
        (Actor::Tenant, "bob", AddMemberRefusal::IsDm),
        (user("carol"), "carol", not_member),
        (user("carol"), "bob", not_member),
    ] {
        assert_eq!(add(store, new_member("room_2", &actor, user_id, None)), Err(refusal), "{actor:?} {user_id}");
    }
}

fn who_is_in_a_room_may_ask_to_be(store: Store<'_>) {
    world(store);
    send(store, "alice", "msg_1");
    assert!(acknowledge(store, FIRST, "bob", Seq(1)).is_ok());
    send(store, "alice", "msg_2");
    let unchanged = |id: &str, role| Ok(AddedMember { outcome: AddOutcome::Unchanged, ..joined(id, role, 2, 2) });
    for (actor, user_id, role, expected) in [
        (user("bob"), "bob", None, unchanged("bob", Role::Member)),
        (user("bob"), "bob", Some(Role::Member), unchanged("bob", Role::Member)),
        (user("bob"), "bob", Some(Role::Admin), unchanged("bob", Role::Member)),
        (user("alice"), "alice", None, unchanged("alice", Role::Admin)),
        (user("alice"), "alice", Some(Role::Admin), unchanged("alice", Role::Admin)),
        (user("alice"), "bob", None, unchanged("bob", Role::Member)),
        (Actor::Tenant, "alice", None, unchanged("alice", Role::Admin)),
        (Actor::Tenant, "bob", Some(Role::Member), unchanged("bob", Role::Member)),
    ] {
        let again = NewMember { now: LATER_STILL, ..new_member("room_1", &actor, user_id, role) };
        assert_eq!(add(store, again), expected, "{actor:?} {user_id} {role:?}");
    }
    assert_eq!(position(store, "bob"), (1, 1));
}

fn an_admin_changes_roles(store: Store<'_>) {
    world(store);
    let changed = |id: &str, role, successor| {
        Ok(AddedMember { outcome: AddOutcome::RoleChanged, successor, ..joined(id, role, 0, 2) })
    };
    let asked = |actor: Actor, id: &str, role| NewMember { now: LATER_STILL, ..new_member("room_1", &actor, id, role) };
    let admin = changed("bob", Role::Admin, None);
    assert_eq!(add(store, asked(user("alice"), "bob", Some(Role::Admin))), admin);
    let no_more = changed("bob", Role::Member, None);
    assert_eq!(add(store, asked(user("alice"), "bob", Some(Role::Member))), no_more);
    assert_eq!(add(store, asked(Actor::Tenant, "bob", Some(Role::Admin))), admin);
    let stepped_down = changed("alice", Role::Member, None);
    assert_eq!(add(store, asked(user("alice"), "alice", Some(Role::Member))), stepped_down);
    let again = asked(user("alice"), "alice", Some(Role::Admin));
    let unchanged = AddedMember { outcome: AddOutcome::Unchanged, ..joined("alice", Role::Member, 0, 2) };
    assert_eq!(add(store, again), Ok(unchanged));
    assert_eq!(roles(store, "room_1"), [("alice".to_owned(), Role::Member), ("bob".to_owned(), Role::Admin)]);
}

fn the_last_admin_who_steps_down_is_succeeded_by_who_joined_first(store: Store<'_>) {
    assert!(tenant(store, 1).is_ok());
    room(store, "room_1", RoomType::Group, &["mona"]);
    join(store, "room_1", "zoe", UnixMillis(NOW.0 - 10));
    join(store, "room_1", "bob", UnixMillis(NOW.0 + 10));
    join(store, "room_1", "amy", UnixMillis(NOW.0 + 20));
    let step_down = |id: &str| new_member("room_1", &user(id), id, Some(Role::Member));
    let zoe = member("zoe", Role::Admin, UnixMillis(NOW.0 - 10));
    let expected =
        AddedMember { outcome: AddOutcome::RoleChanged, successor: Some(zoe), ..joined("mona", Role::Member, 0, 4) };
    assert_eq!(add(store, step_down("mona")), Ok(expected));
    // The first of the others: who stepped down before is one of them. Here the tenant does it.
    let by_tenant = add(store, new_member("room_1", &Actor::Tenant, "zoe", Some(Role::Member)));
    let successor = by_tenant.ok().and_then(|added| added.successor);
    assert_eq!(successor, Some(member("mona", Role::Admin, NOW)));
    let admins = roles(store, "room_1").into_iter().filter(|(_, role)| *role == Role::Admin);
    assert_eq!(admins.map(|(id, _)| id).collect::<Vec<_>>(), ["mona"]);
}

fn nobody_succeeds_where_nobody_else_is(store: Store<'_>) {
    assert!(tenant(store, 1).is_ok());
    room(store, "room_1", RoomType::Group, &["alice"]);
    let added = add(store, new_member("room_1", &user("alice"), "alice", Some(Role::Member)));
    let expected = AddedMember { outcome: AddOutcome::RoleChanged, ..joined("alice", Role::Member, 0, 1) };
    assert_eq!(added, Ok(expected));
    assert_eq!(roles(store, "room_1"), [("alice".to_owned(), Role::Member)]);
}

fn a_new_member_has_missed_nothing(store: Store<'_>) {
    world(store);
    send(store, "alice", "msg_1");
    send(store, "alice", "msg_2");
    join(store, "room_1", "carol", NOW);
    send(store, "alice", "msg_3");
    assert_eq!(position(store, "carol"), (2, 1));
    let at = BacklogRoom { room_id: room_id("room_1"), last_ack: Seq(2), last_seq: Seq(3), members: 3 };
    assert_eq!(backlog(store, FIRST, "carol"), [at]);
    assert_eq!(
        positions(store, FIRST, "carol", &["room_1"]),
        [Ok(RoomPosition { last_ack: Seq(2), last_seq: Seq(3) })]
    );
    let unmoved = Acknowledged { last_ack: Seq(2), moved: false };
    assert_eq!(acknowledge(store, FIRST, "carol", Seq(1)), Ok(unmoved));
    // All the same the history is open.
    let page = page(store, FIRST, &user("carol"), HistoryRange::After(Seq(0)), ALL);
    assert_eq!(page.map(|page| page.messages.len()), Ok(3));
}

fn an_ack_of_an_earlier_membership_is_forgotten(store: Store<'_>) {
    world(store);
    for id in ["msg_1", "msg_2", "msg_3"] {
        send(store, "alice", id);
    }
    assert!(acknowledge(store, FIRST, "bob", Seq(1)).is_ok());
    assert!(remove(store, "room_1", &user("bob"), "bob").is_ok());
    let refused = acknowledge(store, FIRST, "bob", Seq(2));
    assert_eq!(refused, Err(AcknowledgeRefusal::Access(AccessRefusal::NotMember)));
    join(store, "room_1", "bob", LATER_STILL);
    assert_eq!(position(store, "bob"), (3, 0));
    let bob = Receipt { user_id: UserId::new("bob"), last_ack: Seq(3) };
    assert_eq!(receipts(store, FIRST, &Actor::Tenant, Some("alice"), 10).map(|page| page.receipts), Ok(vec![bob]));
}

fn an_idempotency_key_outlives_a_membership(store: Store<'_>) {
    world(store);
    assert!(append(store, keyed("bob", "msg_1", "k", 1)).is_ok());
    assert!(remove(store, "room_1", &user("bob"), "bob").is_ok());
    let refused = append(store, keyed("bob", "msg_2", "k", 1));
    assert_eq!(refused, Err(AppendRefusal::Access(AccessRefusal::NotMember)));
    join(store, "room_1", "bob", LATER_STILL);
    let again = append(store, keyed("bob", "msg_3", "k", 1));
    assert!(again.is_ok_and(|again| again.outcome == AppendOutcome::Replayed && again.message.seq == Seq(1)));
    assert_eq!(append(store, keyed("bob", "msg_4", "k", 2)), Err(AppendRefusal::KeyReused));
}

fn a_member_leaves_and_an_admin_removes(store: Store<'_>) {
    world(store);
    room(store, "room_2", RoomType::Channel, &["alice", "bob"]);
    for room in ["room_1", "room_2"] {
        for (user_id, now) in [("carol", 1), ("dave", 2)] {
            join(store, room, user_id, UnixMillis(NOW.0 + now));
        }
        for (actor, user_id, members) in
            [(user("bob"), "bob", 3), (user("alice"), "carol", 2), (Actor::Tenant, "dave", 1)]
        {
            let expected = RemovedMember { role: Role::Member, members, successor: None };
            assert_eq!(remove(store, room, &actor, user_id), Ok(expected), "{actor:?} {user_id}");
        }
        assert_eq!(roles(store, room), [("alice".to_owned(), Role::Admin)]);
    }
}

fn the_refusals_of_a_removal_have_their_order(store: Store<'_>) {
    world(store);
    let no_room = RemoveMemberRefusal::Access(AccessRefusal::NoRoom);
    let not_member = RemoveMemberRefusal::Access(AccessRefusal::NotMember);
    for (tenant, room, actor, user_id, expected) in [
        (SECOND, "room_1", Actor::Tenant, "bob", no_room),
        (SECOND, "room_1", user("alice"), "bob", no_room),
        (FIRST, "room_9", Actor::Tenant, "bob", no_room),
        (FIRST, "room_1", user("mallory"), "bob", not_member),
        (FIRST, "room_1", user("mallory"), "mallory", not_member),
        (FIRST, "room_1", user("bob"), "alice", RemoveMemberRefusal::NotAdmin),
        (FIRST, "room_1", user("bob"), "mallory", RemoveMemberRefusal::NotAdmin),
        (FIRST, "room_1", user("alice"), "mallory", RemoveMemberRefusal::NoMember),
        (FIRST, "room_1", Actor::Tenant, "mallory", RemoveMemberRefusal::NoMember),
    ] {
        assert_eq!(remove_in(store, tenant, room, &actor, user_id), Err(expected), "{actor:?} {user_id}");
    }
    assert_eq!(roles(store, "room_1").len(), 2);
}

fn a_dm_loses_no_members(store: Store<'_>) {
    world(store);
    room(store, "room_2", RoomType::Dm, &["alice", "bob"]);
    for (actor, user_id) in
        [(user("alice"), "alice"), (user("alice"), "bob"), (Actor::Tenant, "bob"), (Actor::Tenant, "x")]
    {
        assert_eq!(remove(store, "room_2", &actor, user_id), Err(RemoveMemberRefusal::IsDm), "{actor:?} {user_id}");
    }
    let stranger = remove(store, "room_2", &user("carol"), "carol");
    assert_eq!(stranger, Err(RemoveMemberRefusal::Access(AccessRefusal::NotMember)));
}

fn the_last_admin_who_goes_is_succeeded_by_who_joined_first(store: Store<'_>) {
    assert!(tenant(store, 1).is_ok());
    room(store, "room_1", RoomType::Group, &["mona"]);
    for (user_id, joined_ms) in [("zoe", 10), ("bob", 10), ("amy", 20)] {
        join(store, "room_1", user_id, UnixMillis(NOW.0 + joined_ms));
    }
    let went = |role, members, successor| Ok(RemovedMember { role, members, successor });
    // By id where several joined at once.
    let bob = member("bob", Role::Admin, UnixMillis(NOW.0 + 10));
    assert_eq!(remove(store, "room_1", &user("mona"), "mona"), went(Role::Admin, 3, Some(bob)));
    let zoe = member("zoe", Role::Admin, UnixMillis(NOW.0 + 10));
    assert_eq!(remove(store, "room_1", &Actor::Tenant, "bob"), went(Role::Admin, 2, Some(zoe)));
    assert_eq!(remove(store, "room_1", &user("zoe"), "amy"), went(Role::Member, 1, None));
    assert_eq!(roles(store, "room_1"), [("zoe".to_owned(), Role::Admin)]);
}

fn an_admin_who_was_not_the_last_is_not_succeeded(store: Store<'_>) {
    world(store);
    assert!(add(store, new_member("room_1", &user("alice"), "carol", Some(Role::Admin))).is_ok());
    let expected = RemovedMember { role: Role::Admin, members: 2, successor: None };
    assert_eq!(remove(store, "room_1", &user("carol"), "alice"), Ok(expected));
    assert_eq!(roles(store, "room_1"), [("bob".to_owned(), Role::Member), ("carol".to_owned(), Role::Admin)]);
}

fn a_room_without_admins_gets_none_when_a_member_goes(store: Store<'_>) {
    assert!(tenant(store, 1).is_ok());
    let mut request = new_room(FIRST, "room_1", RoomType::Group, None, &["alice", "bob", "carol"]);
    if let StoreRequest::CreateRoom(new) = &mut request {
        new.members.iter_mut().for_each(|(_, role)| *role = Role::Member);
    }
    assert!(matches!(ask(store, &request), StoreReply::RoomCreated(CreatedRoom::New(_))));
    let expected = RemovedMember { role: Role::Member, members: 2, successor: None };
    assert_eq!(remove(store, "room_1", &user("alice"), "alice"), Ok(expected));
    assert_eq!(roles(store, "room_1"), [("bob".to_owned(), Role::Member), ("carol".to_owned(), Role::Member)]);
}

fn with_its_last_member_a_room_goes(store: Store<'_>) {
    assert!(tenant(store, 1).is_ok());
    room(store, "room_1", RoomType::Group, &["alice"]);
    let expected = RemovedMember { role: Role::Admin, members: 0, successor: None };
    assert_eq!(remove(store, "room_1", &user("alice"), "alice"), Ok(expected));
    assert_eq!(read_room(store, "room_1", &Actor::Tenant), Err(AccessRefusal::NoRoom));
    assert_eq!(rooms(store, FIRST, &Actor::Tenant, None, 10), (vec![], false));
    let back = new_member("room_1", &Actor::Tenant, "alice", None);
    assert_eq!(add(store, back), Err(AddMemberRefusal::Access(AccessRefusal::NoRoom)));
}

fn a_removed_member_is_in_no_list(store: Store<'_>) {
    world(store);
    send(store, "bob", "msg_1");
    assert!(remove(store, "room_1", &user("alice"), "bob").is_ok());
    assert_eq!(rooms(store, FIRST, &user("bob"), None, 10).0, [""; 0]);
    assert_eq!(backlog(store, FIRST, "bob"), []);
    assert_eq!(backlog(store, FIRST, "alice")[0].members, 1);
    assert_eq!(positions(store, FIRST, "bob", &["room_1"]), [Err(AccessRefusal::NotMember)]);
    assert_eq!(receipts(store, FIRST, &Actor::Tenant, None, 10).map(|page| page.receipts.len()), Ok(1));
    assert_eq!(read_room(store, "room_1", &user("bob")), Err(AccessRefusal::NotMember));
    assert_eq!(append(store, message("bob", "msg_2")), Err(AppendRefusal::Access(AccessRefusal::NotMember)));
    // What a member wrote stays.
    assert_eq!(
        page(store, FIRST, &user("alice"), HistoryRange::After(Seq(0)), ALL).map(|page| page.messages.len()),
        Ok(1)
    );
    assert_eq!(position(store, "alice"), (0, 1));
}
