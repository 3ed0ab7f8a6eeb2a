//! Rooms: creation, change, deletion.

use super::answer::Success;
use super::call::{ChangeRoom, CreateRoom};
use super::error::{ApiError, ErrorCode};
use super::serve::wrong_reply;
use crate::auth::unknown_key;
use crate::core::Core;
use crate::id::{RoomId, Seq, TenantKey, UserId};
use crate::model::{Role, RoomType, dm_unique_key};
use crate::operations::{Origin, Step};
use crate::store::{
    Actor, ChangeRoomRefusal, CreatedRoom, DeleteRoomRefusal, NewRoom, RoomChange, StoreFailure, StoreReply,
    StoreRequest, StoreResult,
};

/// Most members of a room at its creation, its creator included.
pub(crate) const ROOM_MEMBERS_MAX: usize = 10_000;
/// A dm has as many members from its creation to its end.
const DM_MEMBERS: u32 = 2;

impl Core {
    pub(crate) fn create_room(&mut self, origin: Origin, tenant: TenantKey, actor: Actor, room: CreateRoom) {
        let CreateRoom { kind, members, name, metadata } = room;
        let members = match first_members(kind, members, &actor) {
            Ok(members) => members,
            Err(error) => return self.answer(origin, Err(error)),
        };
        let room_id = self.ids.room(self.now.wall);
        let new = NewRoom {
            tenant,
            room_id: room_id.clone(),
            kind,
            unique_key: unique_key(kind, &members),
            name,
            metadata,
            members,
            created_at: self.now.wall,
        };
        let members = new.members.iter().map(|(user, _)| user.clone()).collect();
        let request = StoreRequest::CreateRoom(Box::new(new));
        self.submit_for(tenant, origin, request, |origin| Step::CreateRoom { origin, actor, room_id, members });
    }

    pub(crate) fn on_room_created(
        &mut self,
        origin: Origin,
        actor: Actor,
        room_id: RoomId,
        members: Vec<UserId>,
        tenant: Option<TenantKey>,
        result: StoreResult,
    ) {
        let Some(tenant) = tenant else {
            return;
        };
        let answer = match result {
            Ok(StoreReply::RoomCreated(CreatedRoom::New(room))) => {
                let count = u32::try_from(members.len()).unwrap_or(u32::MAX);
                self.join_online(tenant, &room.room_id, &members, Seq(0), count);
                self.publish_room_created(&room);
                Ok(Success::RoomCreated(Box::new(room)))
            }
            Ok(StoreReply::RoomCreated(CreatedRoom::Existing { room, members })) => {
                // An earlier creation whose outcome was unknown may have made it.
                self.join_online(tenant, &room.room_id, &members, Seq(0), DM_MEMBERS);
                self.room_advanced(&room.room_id, room.last_seq);
                match actor {
                    Actor::User(user) if !members.contains(&user) => Err(ApiError::not_member()),
                    Actor::User(_) | Actor::Tenant => Ok(Success::Room(Box::new(room))),
                }
            }
            Ok(StoreReply::RoomCreated(CreatedRoom::NoTenant)) => Err(unknown_key()),
            Ok(_) => Err(wrong_reply()),
            Err(failure) => {
                if failure == StoreFailure::OutcomeUnknown {
                    self.recover_room(tenant, room_id, members);
                }
                return self.refuse(origin, failure);
            }
        };
        self.answer(origin, answer);
    }

    pub(crate) fn change_room(&mut self, origin: Origin, tenant: TenantKey, actor: Actor, change: ChangeRoom) {
        let ChangeRoom { room_id, name, metadata } = change;
        let request = StoreRequest::ChangeRoom(Box::new(RoomChange { tenant, room_id, actor, name, metadata }));
        self.submit_for(tenant, origin, request, |origin| Step::ChangeRoom { origin });
    }

    pub(crate) fn on_room_changed(&mut self, origin: Origin, result: StoreResult) {
        let answer = match result {
            Ok(StoreReply::RoomChanged(Ok(room))) => {
                self.publish_room_updated(&room);
                Ok(Success::Room(Box::new(room)))
            }
            Ok(StoreReply::RoomChanged(Err(refusal))) => Err(refusal.into()),
            Ok(_) => Err(wrong_reply()),
            Err(failure) => return self.refuse(origin, failure),
        };
        self.answer(origin, answer);
    }

    pub(crate) fn delete_room(&mut self, origin: Origin, tenant: TenantKey, actor: Actor, room_id: RoomId) {
        let request = StoreRequest::DeleteRoom { tenant, room_id: room_id.clone(), actor, now: self.now.wall };
        self.submit_for(tenant, origin, request, |origin| Step::DeleteRoom { origin, room_id });
    }

    pub(crate) fn on_room_deleted(
        &mut self,
        origin: Origin,
        room_id: RoomId,
        tenant: Option<TenantKey>,
        result: StoreResult,
    ) {
        let answer = match result {
            Ok(StoreReply::RoomDeleted(Ok(()))) => {
                self.publish_room_deleted(&room_id);
                self.sweep_now();
                Ok(Success::Done)
            }
            Ok(StoreReply::RoomDeleted(Err(refusal))) => Err(refusal.into()),
            Ok(_) => Err(wrong_reply()),
            Err(failure) => {
                if let Some(tenant) = tenant.filter(|_| failure == StoreFailure::OutcomeUnknown) {
                    self.recover_room(tenant, room_id, Vec::new());
                }
                return self.refuse(origin, failure);
            }
        };
        self.answer(origin, answer);
    }
}

impl From<ChangeRoomRefusal> for ApiError {
    fn from(refusal: ChangeRoomRefusal) -> Self {
        match refusal {
            ChangeRoomRefusal::Access(access) => access.into(),
            ChangeRoomRefusal::NotAdmin => not_admin(),
        }
    }
}

impl From<DeleteRoomRefusal> for ApiError {
    fn from(refusal: DeleteRoomRefusal) -> Self {
        match refusal {
            DeleteRoomRefusal::Access(access) => access.into(),
            DeleteRoomRefusal::NotAdmin => not_admin(),
            DeleteRoomRefusal::IsDm => {
                Self::new(ErrorCode::Authorization, "a dm is deleted by the tenant itself: leave X-User-Id out")
            }
        }
    }
}

/// 403 for what an admin of the room may do.
pub(super) fn not_admin() -> ApiError {
    ApiError::new(ErrorCode::Authorization, "the user is not an admin of this room")
}

/// Who is in a new room, with their roles (protocol, section 4). Nobody is named twice.
fn first_members(kind: RoomType, named: Vec<UserId>, actor: &Actor) -> Result<Vec<(UserId, Role)>, ApiError> {
    let mut users = named;
    let caller = match actor {
        Actor::User(user) => Some(user),
        Actor::Tenant => None,
    };
    let caller_joins = match kind {
        RoomType::Dm => users.len() == 1,
        RoomType::Group | RoomType::Channel => true,
    };
    if let Some(caller) = caller.filter(|caller| caller_joins && !users.contains(caller)) {
        users.push(caller.clone());
    }
    match kind {
        RoomType::Dm if users.len() != 2 => {
            return Err(ApiError::invalid("members", "a dm has exactly two distinct members"));
        }
        RoomType::Group | RoomType::Channel if !(1..=ROOM_MEMBERS_MAX).contains(&users.len()) => {
            return Err(ApiError::invalid("members", "a room is created with 1 to 10,000 members"));
        }
        RoomType::Dm | RoomType::Group | RoomType::Channel => {}
    }
    let role_of = |user: &UserId| {
        if kind != RoomType::Dm && caller == Some(user) { Role::Admin } else { Role::Member }
    };
    Ok(users.into_iter().map(|user| (user.clone(), role_of(&user))).collect())
}

fn unique_key(kind: RoomType, members: &[(UserId, Role)]) -> Option<String> {
    match (kind, members) {
        (RoomType::Dm, [(one, _), (other, _)]) => Some(dm_unique_key(one, other)),
        (RoomType::Dm | RoomType::Group | RoomType::Channel, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: &str) -> UserId {
        UserId::new(id)
    }

    fn members(kind: RoomType, named: &[&str], caller: Option<&str>) -> Option<String> {
        let actor = caller.map_or(Actor::Tenant, |caller| Actor::User(user(caller)));
        let named = named.iter().map(|id| user(id)).collect();
        let members = first_members(kind, named, &actor).ok()?;
        let shown: Vec<String> = members.iter().map(|(user, role)| format!("{user}:{}", role.as_str())).collect();
        Some(shown.join(" "))
    }

    #[test]
    fn who_is_in_a_new_room() {
        use RoomType::{Channel, Dm, Group};
        for (kind, named, caller, expected) in [
            (Dm, &["alice", "bob"][..], Some("alice"), Some("alice:member bob:member")),
            (Dm, &["bob"], Some("alice"), Some("bob:member alice:member")),
            (Dm, &["bob", "carol"], Some("alice"), Some("bob:member carol:member")),
            (Dm, &["bob", "carol"], None, Some("bob:member carol:member")),
            (Dm, &["bob"], None, None),
            (Dm, &["alice"], Some("alice"), None),
            (Dm, &[], Some("alice"), None),
            (Dm, &["alice", "bob", "carol"], Some("alice"), None),
            (Group, &["bob", "carol"], Some("alice"), Some("bob:member carol:member alice:admin")),
            (Group, &["alice", "bob"], Some("alice"), Some("alice:admin bob:member")),
            (Group, &[], Some("alice"), Some("alice:admin")),
            (Group, &[], None, None),
            (Channel, &["bob"], None, Some("bob:member")),
        ] {
            assert_eq!(members(kind, named, caller).as_deref(), expected, "{kind:?} {named:?} {caller:?}");
        }
    }

    #[test]
    fn a_room_is_created_with_10_000_members_at_the_most() {
        let named = |count: usize| (0..count).map(|n| user(&format!("u{n}"))).collect::<Vec<_>>();
        let alice = Actor::User(user("alice"));
        assert_eq!(first_members(RoomType::Group, named(9_999), &alice).unwrap().len(), 10_000);
        assert!(first_members(RoomType::Group, named(10_000), &alice).is_err());
        assert_eq!(first_members(RoomType::Group, named(10_000), &Actor::Tenant).unwrap().len(), 10_000);
    }
}
