//! Who is in a room.

use chatapi_core::model::{Member, Role, RoomType};
use chatapi_core::store::{
    AccessRefusal, Actor, AddMemberRefusal, AddOutcome, AddedMember, MemberPage, NewMember, Receipt, ReceiptPage,
    RemoveMemberRefusal, RemovedMember,
};
use chatapi_core::{RoomId, TenantKey, UserId};

use super::rooms::{StoredMember, StoredRoom};
use super::{MemoryStore, page};

impl MemoryStore {
    pub(super) fn add_member(&mut self, new: &NewMember) -> Result<AddedMember, AddMemberRefusal> {
        let stored = self.enter_mut_to_join(new).map_err(AddMemberRefusal::Access)?;
        if stored.room.kind == RoomType::Dm {
            return Err(AddMemberRefusal::IsDm);
        }
        let is_themselves = new.actor == Actor::User(new.user_id.clone());
        let leads = stored.is_led_by(&new.actor);
        let present = stored.members.get(&new.user_id).map(|member| member.role);
        if !leads && !is_themselves {
            return Err(AddMemberRefusal::NotAdmin);
        }
        let (role, outcome) = match present {
            None if !leads && new.role == Some(Role::Admin) => return Err(AddMemberRefusal::NotAdmin),
            None => (new.role.unwrap_or(Role::Member), AddOutcome::Joined),
            Some(role) => match new.role {
                Some(asked) if leads && asked != role => (asked, AddOutcome::RoleChanged),
                Some(_) | None => (role, AddOutcome::Unchanged),
            },
        };
        let last_seq = stored.room.last_seq;
        let joining = StoredMember { role, joined_at: new.now, last_ack: last_seq };
        stored.members.entry(new.user_id.clone()).or_insert(joining).role = role;
        let stepped_down = present == Some(Role::Admin) && role == Role::Member;
        let successor = if stepped_down { stored.appoint_successor(Some(&new.user_id)) } else { None };
        let member = stored.members_after(None).into_iter().find(|member| member.user_id == new.user_id);
        Ok(AddedMember {
            member: member.ok_or(AddMemberRefusal::Access(AccessRefusal::NotMember))?,
            outcome,
            last_seq,
            members: stored.count(),
            successor,
        })
    }

    /// A room as somebody enters it who adds a member: a channel opens to whoever is to be that member.
    fn enter_mut_to_join(&mut self, new: &NewMember) -> Result<&mut StoredRoom, AccessRefusal> {
        let is_channel =
            self.room(new.tenant, &new.room_id).is_some_and(|stored| stored.room.kind == RoomType::Channel);
        let joins = is_channel && new.actor == Actor::User(new.user_id.clone());
        let entering = if joins { &Actor::Tenant } else { &new.actor };
        self.enter_mut(new.tenant, &new.room_id, entering)
    }

    pub(super) fn remove_member(
        &mut self,
        tenant: TenantKey,
        room_id: &RoomId,
        actor: &Actor,
        user_id: &UserId,
    ) -> Result<RemovedMember, RemoveMemberRefusal> {
        let stored = self.enter_mut(tenant, room_id, actor).map_err(RemoveMemberRefusal::Access)?;
        if stored.room.kind == RoomType::Dm {
            return Err(RemoveMemberRefusal::IsDm);
        }
        if !stored.is_led_by(actor) && *actor != Actor::User(user_id.clone()) {
            return Err(RemoveMemberRefusal::NotAdmin);
        }
        let removed = stored.members.remove(user_id).ok_or(RemoveMemberRefusal::NoMember)?;
        let successor = if removed.role == Role::Admin { stored.appoint_successor(None) } else { None };
        stored.is_deleted = stored.members.is_empty();
        Ok(RemovedMember { role: removed.role, members: stored.count(), successor })
    }

    pub(super) fn list_members(
        &self,
        tenant: TenantKey,
        room_id: &RoomId,
        actor: &Actor,
        after: Option<&UserId>,
        limit: u32,
    ) -> Result<MemberPage, AccessRefusal> {
        let (members, has_more) = page(self.enter(tenant, room_id, actor)?.members_after(after), limit);
        Ok(MemberPage { members, has_more })
    }

    pub(super) fn list_receipts(
        &self,
        tenant: TenantKey,
        room_id: &RoomId,
        actor: &Actor,
        after: Option<&UserId>,
        limit: u32,
    ) -> Result<ReceiptPage, AccessRefusal> {
        let members = self.enter(tenant, room_id, actor)?.members.iter();
        let all = members
            .filter(|(user_id, _)| after.is_none_or(|after| *user_id > after))
            .map(|(user_id, stored)| Receipt { user_id: user_id.clone(), last_ack: stored.last_ack })
            .collect();
        let (receipts, has_more) = page(all, limit);
        Ok(ReceiptPage { receipts, has_more })
    }
}

impl StoredRoom {
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.members.len()).unwrap_or(u32::MAX)
    }

    /// Where the last admin is one no more, the other member who joined first becomes one.
    fn appoint_successor(&mut self, except: Option<&UserId>) -> Option<Member> {
        if self.members.values().any(|member| member.role == Role::Admin) {
            return None;
        }
        let others = self.members.iter_mut().filter(|(user_id, _)| Some(*user_id) != except);
        let (user_id, first) = others.min_by_key(|(user_id, member)| (member.joined_at, (*user_id).clone()))?;
        first.role = Role::Admin;
        Some(Member { user_id: user_id.clone(), role: first.role, joined_at: first.joined_at })
    }

    pub(super) fn members_after(&self, after: Option<&UserId>) -> Vec<Member> {
        let members = self.members.iter();
        members
            .filter(|(user_id, _)| after.is_none_or(|after| *user_id > after))
            .map(|(user_id, stored)| Member {
                user_id: user_id.clone(),
                role: stored.role,
                joined_at: stored.joined_at,
            })
            .collect()
    }
}
