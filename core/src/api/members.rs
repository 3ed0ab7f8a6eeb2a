//! Members of rooms: joining, leaving, roles, presence.

use super::answer::Success;
use super::error::{ApiError, ErrorCode};
use super::rooms::not_admin;
use super::serve::wrong_reply;
use crate::core::Core;
use crate::id::{RoomId, TenantKey, UserId};
use crate::model::{Member, Role};
use crate::operations::{Origin, Step};
use crate::store::{
    Actor, AddMemberRefusal, AddOutcome, AddedMember, MemberPage, NewMember, RemoveMemberRefusal, RemovedMember,
    StoreFailure, StoreReply, StoreRequest, StoreResult,
};

impl Core {
    pub(crate) fn add_member(
        &mut self,
        origin: Origin,
        tenant: TenantKey,
        actor: Actor,
        room_id: RoomId,
        user_id: UserId,
        role: Option<Role>,
    ) {
        let request = StoreRequest::AddMember(Box::new(NewMember {
            tenant,
            room_id: room_id.clone(),
            actor,
            user_id: user_id.clone(),
            role,
            now: self.now.wall,
        }));
        self.submit_for(tenant, origin, request, |origin| Step::AddMember { origin, room_id, user_id });
    }

    pub(crate) fn on_member_added(
        &mut self,
        origin: Origin,
        room_id: RoomId,
        user_id: UserId,
        tenant: Option<TenantKey>,
        result: StoreResult,
    ) {
        let Some(tenant) = tenant else {
            return;
        };
        let answer = match result {
            Ok(StoreReply::MemberAdded(Ok(added))) => Ok(self.publish_added_member(tenant, &room_id, added)),
            Ok(StoreReply::MemberAdded(Err(refusal))) => Err(refusal.into()),
            Ok(_) => Err(wrong_reply()),
            Err(failure) => {
                self.doubt_membership(tenant, room_id, &user_id, failure);
                return self.refuse(origin, failure);
            }
        };
        self.answer(origin, answer);
    }

    fn publish_added_member(&mut self, tenant: TenantKey, room_id: &RoomId, added: AddedMember) -> Success {
        let AddedMember { member, outcome, last_seq, members, successor } = added;
        let success = match outcome {
            AddOutcome::Joined => {
                self.publish_member_joined(tenant, room_id, &member, last_seq, members);
                Success::MemberAdded(member)
            }
            AddOutcome::RoleChanged => {
                self.publish_member_updated(room_id, &member);
                Success::Member(member)
            }
            AddOutcome::Unchanged => Success::Member(member),
        };
        self.publish_successor(room_id, successor);
        success
    }

    pub(crate) fn remove_member(
        &mut self,
        origin: Origin,
        tenant: TenantKey,
        actor: Actor,
        room_id: RoomId,
        user_id: UserId,
    ) {
        let request = StoreRequest::RemoveMember {
            tenant,
            room_id: room_id.clone(),
            actor,
            user_id: user_id.clone(),
            now: self.now.wall,
        };
        self.submit_for(tenant, origin, request, |origin| Step::RemoveMember { origin, room_id, user_id });
    }

    pub(crate) fn on_member_removed(
        &mut self,
        origin: Origin,
        room_id: RoomId,
        user_id: UserId,
        tenant: Option<TenantKey>,
        result: StoreResult,
    ) {
        let Some(tenant) = tenant else {
            return;
        };
        let answer = match result {
            Ok(StoreReply::MemberRemoved(Ok(RemovedMember { role, members, successor }))) => {
                self.publish_member_left(tenant, &room_id, &user_id, role, members);
                self.publish_successor(&room_id, successor);
                if members == 0 {
                    self.sweep_now();
                }
                Ok(Success::Done)
            }
            Ok(StoreReply::MemberRemoved(Err(refusal))) => Err(refusal.into()),
            Ok(_) => Err(wrong_reply()),
            Err(failure) => {
                self.doubt_membership(tenant, room_id, &user_id, failure);
                return self.refuse(origin, failure);
            }
        };
        self.answer(origin, answer);
    }

    /// Where nobody knows whether a user is in a room, the user's connections end, lest they hear of a room that the
    /// user has left: the next connect learns what is stored.
    fn doubt_membership(&mut self, tenant: TenantKey, room_id: RoomId, user_id: &UserId, failure: StoreFailure) {
        if failure == StoreFailure::OutcomeUnknown {
            self.reconnect_user(tenant, user_id);
            self.recover_room(tenant, room_id, Vec::new());
        }
    }

    fn publish_successor(&mut self, room_id: &RoomId, successor: Option<Member>) {
        if let Some(successor) = successor {
            self.publish_member_updated(room_id, &successor);
        }
    }

    /// Tells which of the members that were read are online.
    pub(crate) fn on_presence_read(&mut self, origin: Origin, tenant: Option<TenantKey>, result: StoreResult) {
        let (Some(tenant), Ok(StoreReply::Members(Ok(page)))) = (tenant, &result) else {
            return self.on_read(origin, result);
        };
        let MemberPage { members, has_more } = page;
        let with_status = |member: &Member| (member.user_id.clone(), self.sessions.status(tenant, &member.user_id));
        let members = members.iter().map(with_status).collect();
        self.answer(origin, Ok(Success::Presence { members, has_more: *has_more }));
    }
}

impl From<AddMemberRefusal> for ApiError {
    fn from(refusal: AddMemberRefusal) -> Self {
        match refusal {
            AddMemberRefusal::Access(access) => access.into(),
            AddMemberRefusal::NotAdmin => not_admin(),
            AddMemberRefusal::IsDm => dm_is_fixed(),
        }
    }
}

impl From<RemoveMemberRefusal> for ApiError {
    fn from(refusal: RemoveMemberRefusal) -> Self {
        match refusal {
            RemoveMemberRefusal::Access(access) => access.into(),
            RemoveMemberRefusal::NotAdmin => not_admin(),
            RemoveMemberRefusal::IsDm => dm_is_fixed(),
            RemoveMemberRefusal::NoMember => Self::new(ErrorCode::NotFound, "this user is not in the room"),
        }
    }
}

fn dm_is_fixed() -> ApiError {
    ApiError::new(ErrorCode::Conflict, "a dm keeps the two members it was created with: create a group instead")
}
