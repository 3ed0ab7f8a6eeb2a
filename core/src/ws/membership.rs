//! Who comes to hear of a room, and who hears no more of it, because its members change.

use super::server::{member_joined, member_left, member_updated, room_created, room_deleted, room_updated};
use crate::core::Core;
use crate::effect::CloseReason;
use crate::id::{ConnId, RoomId, Seq, TenantKey, UserId};
use crate::model::{Member, Role, Room};

impl Core {
    /// Adds those of `users` who are online, and not in it yet, to the audience of a room of so many members. They are
    /// told what lies past `told`.
    pub(crate) fn join_online(
        &mut self,
        tenant: TenantKey,
        room_id: &RoomId,
        users: &[UserId],
        told: Seq,
        members: u32,
    ) {
        for user in users {
            for conn in self.sessions.join_room(tenant, user, room_id) {
                let last_pushed = self.audiences.join(room_id, conn, told, members);
                if let Some(session) = self.sessions.get_mut(conn).filter(|_| last_pushed > told) {
                    session.catch_up_from(room_id, told);
                    self.read_on(conn);
                }
            }
        }
    }

    /// Tells a new room to its members.
    pub(crate) fn publish_room_created(&mut self, room: &Room) {
        self.send_all(self.audiences.conns(&room.room_id), room_created(room));
    }

    /// Tells a room's change to its members.
    pub(crate) fn publish_room_updated(&mut self, room: &Room) {
        self.send_all(self.audiences.conns(&room.room_id), room_updated(room));
    }

    /// Takes a user into a room's audience, from its newest message on, and tells everyone.
    pub(crate) fn publish_member_joined(
        &mut self,
        tenant: TenantKey,
        room_id: &RoomId,
        member: &Member,
        last_seq: Seq,
        members: u32,
    ) {
        self.room_advanced(room_id, last_seq);
        self.audiences.set_members(room_id, members);
        self.join_online(tenant, room_id, std::slice::from_ref(&member.user_id), last_seq, members);
        self.send_all(self.audiences.conns(room_id), member_joined(room_id, &member.user_id, member.role));
    }

    /// Tells everyone in a room of a member's new role.
    pub(crate) fn publish_member_updated(&mut self, room_id: &RoomId, member: &Member) {
        self.send_all(self.audiences.conns(room_id), member_updated(room_id, &member.user_id, member.role));
    }

    /// Takes a user out of a room's audience, and tells everyone, the user too.
    pub(crate) fn publish_member_left(
        &mut self,
        tenant: TenantKey,
        room_id: &RoomId,
        user_id: &UserId,
        role: Role,
        members: u32,
    ) {
        self.stop_typings_in(tenant, user_id, room_id);
        self.recovery.forget_member(tenant, room_id, user_id);
        self.audiences.set_members(room_id, members);
        let mut told = self.audiences.conns(room_id);
        for conn in self.sessions.leave_room(tenant, user_id, room_id) {
            self.audiences.leave(room_id, conn);
            self.hear_no_more(conn, room_id);
            if let Err(place) = told.binary_search(&conn) {
                told.insert(place, conn);
            }
        }
        self.send_all(told, member_left(room_id, user_id, role));
    }

    /// Whether somebody of a tenant is online for a room: whoever is makes it the tenant's own.
    pub(crate) fn hears_of(&self, tenant: TenantKey, room_id: &RoomId) -> bool {
        let mut sessions = self.audiences.iter(room_id).filter_map(|conn| self.sessions.get(conn));
        sessions.any(|session| session.tenant == tenant)
    }

    /// Takes everyone out of a room that is gone, and tells them.
    pub(crate) fn publish_room_deleted(&mut self, room_id: &RoomId) {
        let told: Vec<ConnId> = self.audiences.remove(room_id).into_iter().collect();
        for conn in &told {
            if let Some(session) = self.sessions.get(*conn) {
                let (tenant, user) = (session.tenant, session.user.clone());
                self.sessions.leave_room(tenant, &user, room_id);
            }
            self.hear_no_more(*conn, room_id);
        }
        self.send_all(told, room_deleted(room_id));
    }

    /// Ends the connections of a user whose membership is in doubt: the next one learns what is stored.
    pub(crate) fn reconnect_user(&mut self, tenant: TenantKey, user: &UserId) {
        for conn in self.sessions.conns_of(tenant, user) {
            self.close(conn, CloseReason::StoreUnavailable);
        }
    }

    fn hear_no_more(&mut self, conn: ConnId, room_id: &RoomId) {
        self.typing.forget(conn, room_id);
        if let Some(session) = self.sessions.get_mut(conn) {
            session.leave_room(room_id);
        }
        self.answer_unsent(conn);
        self.conclude_sync(conn);
        self.read_on(conn);
    }
}
