//! Steps on rooms and their members.

use chatapi_core::model::{Edit, Member, Role, Room, RoomType};
use chatapi_core::store::{
    AccessRefusal, Actor, AddMemberRefusal, AddedMember, ChangeRoomRefusal, CreatedRoom, DeleteRoomRefusal, NewMember,
    ReceiptPage, RemoveMemberRefusal, RemovedMember, RoomChange, RoomPosition, StoreReply, StoreRequest,
};
use chatapi_core::{RoomId, TenantKey, UnixMillis, UserId};

use super::{FIRST, NOW, Store, ask, new_room, room_id};

/// A room of the first tenant; the first of its members is an admin, unless it is a dm.
pub(in crate::store_contract) fn room(store: Store<'_>, room: &str, kind: RoomType, members: &[&str]) {
    let mut request = new_room(FIRST, room, kind, None, members);
    if let (StoreRequest::CreateRoom(new), RoomType::Dm) = (&mut request, kind) {
        new.members.iter_mut().for_each(|(_, role)| *role = Role::Member);
    }
    let reply = ask(store, &request);
    assert!(matches!(reply, StoreReply::RoomCreated(CreatedRoom::New(_))), "{reply:?}");
}

pub(in crate::store_contract) fn read_room(store: Store<'_>, room: &str, actor: &Actor) -> Result<Room, AccessRefusal> {
    answer!(store, StoreRequest::ReadRoom { tenant: FIRST, room_id: room_id(room), actor: actor.clone() }, Room)
}

pub(in crate::store_contract) fn change_room(
    store: Store<'_>,
    tenant: TenantKey,
    room: &str,
    actor: &Actor,
    (name, metadata): (Edit<String>, Edit<String>),
) -> Result<Room, ChangeRoomRefusal> {
    let change = RoomChange { tenant, room_id: room_id(room), actor: actor.clone(), name, metadata };
    answer!(store, StoreRequest::ChangeRoom(Box::new(change)), RoomChanged)
}

pub(in crate::store_contract) fn delete_room(
    store: Store<'_>,
    tenant: TenantKey,
    room: &str,
    actor: &Actor,
) -> Result<(), DeleteRoomRefusal> {
    let request = StoreRequest::DeleteRoom { tenant, room_id: room_id(room), actor: actor.clone(), now: NOW };
    answer!(store, request, RoomDeleted)
}

/// Somebody who is to be in a room of the first tenant, as of [`NOW`].
pub(in crate::store_contract) fn new_member(room: &str, actor: &Actor, user_id: &str, role: Option<Role>) -> NewMember {
    NewMember {
        tenant: FIRST,
        room_id: room_id(room),
        actor: actor.clone(),
        user_id: UserId::new(user_id),
        role,
        now: NOW,
    }
}

pub(in crate::store_contract) fn add(store: Store<'_>, new: NewMember) -> Result<AddedMember, AddMemberRefusal> {
    answer!(store, StoreRequest::AddMember(Box::new(new)), MemberAdded)
}

/// Has the tenant put a user into a room, at that moment.
pub(in crate::store_contract) fn join(store: Store<'_>, room: &str, user_id: &str, now: UnixMillis) {
    let new = NewMember { now, ..new_member(room, &Actor::Tenant, user_id, None) };
    if let Err(refusal) = add(store, new) {
        panic!("{refusal:?}");
    }
}

pub(in crate::store_contract) fn remove(
    store: Store<'_>,
    room: &str,
    actor: &Actor,
    user_id: &str,
) -> Result<RemovedMember, RemoveMemberRefusal> {
    remove_in(store, FIRST, room, actor, user_id)
}

pub(in crate::store_contract) fn remove_in(
    store: Store<'_>,
    tenant: TenantKey,
    room: &str,
    actor: &Actor,
    user_id: &str,
) -> Result<RemovedMember, RemoveMemberRefusal> {
    let request = StoreRequest::RemoveMember {
        tenant,
        room_id: room_id(room),
        actor: actor.clone(),
        user_id: UserId::new(user_id),
        now: NOW,
    };
    answer!(store, request, MemberRemoved)
}

/// The members of a room of the first tenant, and what each is.
pub(in crate::store_contract) fn roles(store: Store<'_>, room: &str) -> Vec<(String, Role)> {
    let request = StoreRequest::ListMembers {
        tenant: FIRST,
        room_id: room_id(room),
        actor: Actor::Tenant,
        after: None,
        limit: 100,
    };
    match answer!(store, request, Members) {
        Ok(page) => page.members.iter().map(|member| (member.user_id.to_string(), member.role)).collect(),
        Err(refusal) => panic!("{refusal:?}"),
    }
}

pub(in crate::store_contract) fn receipts(
    store: Store<'_>,
    tenant: TenantKey,
    actor: &Actor,
    after: Option<&str>,
    limit: u32,
) -> Result<ReceiptPage, AccessRefusal> {
    let request = StoreRequest::ListReceipts {
        tenant,
        room_id: room_id("room_1"),
        actor: actor.clone(),
        after: after.map(UserId::new),
        limit,
    };
    answer!(store, request, Receipts)
}

pub(in crate::store_contract) fn positions(
    store: Store<'_>,
    tenant: TenantKey,
    user_id: &str,
    rooms: &[&str],
) -> Vec<Result<RoomPosition, AccessRefusal>> {
    let rooms: Vec<RoomId> = rooms.iter().map(|room| room_id(room)).collect();
    answer!(store, StoreRequest::LoadPositions { tenant, user_id: UserId::new(user_id), rooms }, Positions)
}

pub(in crate::store_contract) fn member(user_id: &str, role: Role, joined_at: UnixMillis) -> Member {
    Member { user_id: UserId::new(user_id), role, joined_at }
}
