//! Catching up: how a connection gets what was not pushed to it.
//!
//! The backlog on connect, what a client asks to be sent again, a slow reader and a gap in a room's numbers are one
//! mechanism. A room that a connection is catching up in has a cursor: all up to it was sent. Pages past the cursor are
//! read from the store and sent as the connection's queue empties, one page under way at a time. A page is cut at the
//! room's newest *pushed* message, which a reader may have seen earlier than the core: when the cursor reaches that, the
//! room is live, and everything past it is yet to be pushed. So on any connection a room's messages come in order,
//! without a gap and without a repeat.

use super::catch_up::{
    CursorOfReading, NextRead, PageEnd, RoomReading, SyncEnd, SyncKind, SyncRequest, without_outdated,
};
use super::server::{Frame, resume_complete, subscribe_complete, sync_complete};
use crate::api::ApiError;
use crate::auth::overloaded;
use crate::core::Core;
use crate::effect::CloseReason;
use crate::id::{ConnId, NotificationKey, OpId, RoomId, Seq, TenantKey, UserId};
use crate::operations::Step;
use crate::store::{
    Backlog, BacklogRoom, Lane, NotificationPage, PageBounds, PendingNotifications, RoomPosition, StoreReply,
    StoreRequest, StoreResult,
};
use crate::time::UnixMillis;
use crate::ws::BacklogChoice;

const PAGE: PageBounds = PageBounds { messages: 100, size_bytes: 256 * 1024 };
/// For how long a notification waits: 30 days (protocol, section 6).
const NOTIFICATION_LIFETIME_MS: i64 = 30 * 24 * 60 * 60 * 1_000;

impl Core {
    /// The rooms of a connecting user are known: the connection joins their audiences and catches up.
    pub(crate) fn on_backlog(&mut self, conn: ConnId, choice: BacklogChoice, result: StoreResult) {
        let Some(session) = self.sessions.get(conn) else {
            return;
        };
        let (tenant, user) = (session.tenant, session.user.clone());
        let Ok(StoreReply::Backlog(Backlog { rooms, has_notifications })) = result else {
            return self.close(conn, CloseReason::StoreUnavailable);
        };
        for BacklogRoom { room_id, last_seq, members, .. } in &rooms {
            self.room_advanced(room_id, *last_seq);
            self.audiences.join(room_id, conn, *last_seq, *members);
            self.audiences.set_members(room_id, *members);
        }
        if self.sessions.has_joined(tenant, &user) {
            // A room whose creation was in doubt may be new to the user's other connections.
            for BacklogRoom { room_id, last_ack, members, .. } in &rooms {
                self.join_online(tenant, room_id, std::slice::from_ref(&user), *last_ack, *members);
            }
        }
        let room_ids = rooms.iter().map(|room| room.room_id.clone()).collect();
        self.sessions.enter_rooms(conn, room_ids);
        self.announce_online(tenant, &user);
        let Some(session) = self.sessions.get_mut(conn) else {
            return;
        };
        session.knows_rooms = true;
        match choice {
            BacklogChoice::Stream => session.catch_up_mut().begin_with_backlog(&rooms, has_notifications),
            BacklogChoice::Skip => session.catch_up_mut().begin_without_backlog(has_notifications),
        }
        self.conclude_sync(conn);
        self.read_on(conn);
    }

    /// Serves `subscribe` and `resume`: one after another, behind the backlog of the connect.
    pub(crate) fn sync_again(&mut self, conn: ConnId, request: SyncRequest) {
        let Some(session) = self.sessions.get_mut(conn) else {
            return;
        };
        let request_id = request.request_id.clone();
        if session.catch_up_mut().ask(request) {
            self.conclude_sync(conn);
        } else {
            let error = ApiError::rate_limited(SYNC_RETRY_AFTER_MS);
            self.answer_error(conn, &error, request_id.as_deref());
        }
    }

    /// Where the user stands is known: the rooms asked for are sent again.
    pub(crate) fn on_positions(&mut self, conn: ConnId, op: OpId, result: StoreResult) {
        let session = self.sessions.get_mut(conn);
        let catch_up = session.and_then(|session| session.catch_up.as_mut());
        let Some(SyncRequest { kind, request_id }) = catch_up.and_then(|catch_up| catch_up.take_positions_read(op))
        else {
            return;
        };
        let Ok(StoreReply::Positions(positions)) = result else {
            return self.close(conn, CloseReason::StoreUnavailable);
        };
        let rooms: Result<Vec<_>, ApiError> = match &kind {
            SyncKind::Subscribe { room_id, after } => {
                let asked = [(room_id.clone(), *after)];
                asked.into_iter().zip(positions).map(|(asked, found)| start_at(asked, found?, "after_seq")).collect()
            }
            SyncKind::Resume { rooms } => {
                let asked = rooms.iter().map(|(room_id, after)| (room_id.clone(), Some(*after)));
                asked.zip(positions).map(|(asked, found)| start_at(asked, found?, "rooms")).collect()
            }
        };
        match rooms {
            Ok(rooms) => self.begin_again(conn, kind, request_id, rooms),
            Err(error) => {
                self.answer_error(conn, &error, request_id.as_deref());
                self.conclude_sync(conn);
            }
        }
    }

    fn begin_again(
        &mut self,
        conn: ConnId,
        kind: SyncKind,
        request_id: Option<String>,
        rooms: Vec<(RoomId, Seq, Seq)>,
    ) {
        for (room_id, _, last_seq) in &rooms {
            self.room_advanced(room_id, *last_seq);
        }
        let end = match (kind, rooms.first()) {
            (SyncKind::Subscribe { room_id, .. }, Some((_, _, last_seq))) => {
                SyncEnd::Subscribe { request_id, room_id, last_seq: *last_seq }
            }
            (SyncKind::Subscribe { .. } | SyncKind::Resume { .. }, _) => SyncEnd::Resume { request_id },
        };
        // What the connection does not hear of it cannot catch up in.
        let heard = rooms.into_iter().filter(|(room_id, ..)| self.audiences.contains(room_id, conn)).collect();
        if let Some(session) = self.sessions.get_mut(conn) {
            session.catch_up_mut().begin_again(heard, end);
        }
        self.answer_unsent(conn);
        self.conclude_sync(conn);
        self.read_on(conn);
    }

    /// Reads the next page for a connection, if it catches up and its queue has room.
    pub(crate) fn read_on(&mut self, conn: ConnId) {
        let Some(session) = self.sessions.get(conn).filter(|session| session.is_below_low_water()) else {
            return;
        };
        let (tenant, user_id) = (session.tenant, session.user.clone());
        let Some(next) = session.catch_up.as_ref().and_then(|catch_up| catch_up.next_read()) else {
            return;
        };
        if !self.operations.has_room(Lane::Read, Some(tenant)) {
            return self.sessions.wait_for_reader(conn);
        }
        let op = match &next {
            NextRead::Rooms(rooms) => {
                let request = StoreRequest::ReadFrames { tenant, rooms: rooms.clone(), bounds: PAGE };
                self.submit(Some(tenant), Step::ReadFrames { conn }, request)
            }
            NextRead::Notifications { after } => {
                let request = StoreRequest::ReadNotifications(PendingNotifications {
                    tenant,
                    user_id,
                    after: *after,
                    since: UnixMillis(self.now.wall.0.saturating_sub(NOTIFICATION_LIFETIME_MS)),
                    limit: PAGE.messages,
                    size_bytes: PAGE.size_bytes,
                });
                self.submit(Some(tenant), Step::ReadNotifications { conn }, request)
            }
        };
        if let Some(session) = self.sessions.get_mut(conn) {
            session.catch_up_mut().reads(op, next);
        }
    }

    pub(crate) fn on_frames_read(&mut self, conn: ConnId, op: OpId, result: StoreResult) {
        let Some(catch_up) = self.sessions.get_mut(conn).and_then(|session| session.catch_up.as_mut()) else {
            return;
        };
        let Some(rooms) = catch_up.take_reading(op) else {
            return self.read_further(conn, PageEnd::Taken);
        };
        let Ok(StoreReply::Frames(pages)) = result else {
            return self.close(conn, CloseReason::StoreUnavailable);
        };
        let mut end = PageEnd::Taken;
        // What a page shows of a room is sent, or read again; so are the changes that were held for it.
        for (RoomReading { room_id, cursor, held }, page) in rooms.into_iter().zip(pages) {
            if end == PageEnd::Taken && cursor == CursorOfReading::Stands {
                end = self.send_page(conn, &room_id, page, held);
            }
        }
        self.read_further(conn, end);
    }

    fn send_page(
        &mut self,
        conn: ConnId,
        room_id: &RoomId,
        page: Vec<(Seq, Frame)>,
        held: Vec<(Seq, Frame)>,
    ) -> PageEnd {
        let last_pushed = self.audiences.last_pushed(room_id).unwrap_or_default();
        let now = self.now.mono;
        let Some(session) = self.sessions.get_mut(conn) else {
            return PageEnd::QueueFull;
        };
        let Some(catch_up) = &mut session.catch_up else {
            return PageEnd::Taken;
        };
        let queue = &mut session.queue;
        let takes = |frame: &Frame| queue.takes(frame.size_bytes(), now);
        let held = without_outdated(held, &page);
        let (frames, end) = catch_up.take_page(room_id, page, last_pushed, takes);
        let sent_until = catch_up.cursor(room_id).unwrap_or(last_pushed);
        for frame in frames {
            self.send_to_one(conn, frame);
        }
        for (_, change) in held.into_iter().filter(|(seq, _)| *seq <= sent_until) {
            self.send_own(conn, change);
        }
        self.answer_unsent(conn);
        end
    }

    pub(crate) fn on_notifications_read(&mut self, conn: ConnId, op: OpId, result: StoreResult) {
        let Some(session) = self.sessions.get_mut(conn) else {
            return;
        };
        let Some(catch_up) = &mut session.catch_up else {
            return;
        };
        let Some(expanded) = catch_up.take_notifications(op) else {
            return self.read_further(conn, PageEnd::Taken);
        };
        let Ok(StoreReply::Notifications(NotificationPage { notifications, has_more })) = result else {
            return self.close(conn, CloseReason::StoreUnavailable);
        };
        let mut frames = Vec::with_capacity(notifications.len());
        let mut end = PageEnd::Taken;
        // An older one than some of the page may have been expanded after the page was read: the page is sent up to there,
        // and the next one shows it.
        let is_shown = |expanded: &&NotificationKey| notifications.iter().any(|(shown, _)| shown == *expanded);
        let cut = expanded.iter().filter(|expanded| !is_shown(expanded)).min().copied();
        for (notification, frame) in
            notifications.into_iter().take_while(|(shown, _)| cut.is_none_or(|cut| *shown < cut))
        {
            if !session.queue.takes(frame.size_bytes(), self.now.mono) {
                end = PageEnd::QueueFull;
                break;
            }
            session.await_confirmation(notification);
            session.catch_up_mut().sent_notification(notification);
            frames.push(frame);
        }
        if end == PageEnd::Taken && !has_more && expanded.is_empty() {
            session.catch_up_mut().end_notifications();
        }
        for frame in frames {
            self.send_to_one(conn, frame);
        }
        self.read_further(conn, end);
    }

    /// Answers the connection's own messages of a room that it hears no more of: it would wait for them for good.
    pub(crate) fn answer_unsent(&mut self, conn: ConnId) {
        let catch_up = self.sessions.get_mut(conn).and_then(|session| session.catch_up.as_mut());
        for request_id in catch_up.map(|catch_up| catch_up.take_unanswered()).unwrap_or_default() {
            let message = "the message is stored, but is not sent to this connection";
            self.answer_error(conn, &ApiError::unavailable(message, 1_000), Some(&request_id));
        }
    }

    fn read_further(&mut self, conn: ConnId, end: PageEnd) {
        self.conclude_sync(conn);
        match end {
            PageEnd::Taken => self.read_on(conn),
            // Too much waits for the rest to be read again at once: a flush is still to be reported.
            PageEnd::QueueFull => {}
        }
    }

    /// Lets connections read on that found the read lane full.
    pub(crate) fn resume_reading(&mut self) {
        while self.operations.has_room(Lane::Read, None) {
            let Some(conn) = self.sessions.next_waiting_for_reader() else {
                return;
            };
            self.read_on(conn);
            if self.sessions.is_waiting_for_reader(conn) {
                return;
            }
        }
    }

    /// Goes on to what a connection's sync needs next: its next stage, its end once the queue has room to tell it, the
    /// next sync that the client asked for.
    pub(crate) fn conclude_sync(&mut self, conn: ConnId) {
        let now = self.now.mono;
        let Some(session) = self.sessions.get_mut(conn) else {
            return;
        };
        let Some(catch_up) = &mut session.catch_up else {
            return;
        };
        catch_up.advance();
        let mut told = None;
        if let Some((summary, end)) = catch_up.sent() {
            let frame = match end {
                SyncEnd::Silent => None,
                SyncEnd::Connect => Some(sync_complete(summary)),
                SyncEnd::Resume { request_id } => Some(resume_complete(summary, request_id.as_deref())),
                SyncEnd::Subscribe { request_id, room_id, last_seq } => {
                    Some(subscribe_complete(summary, room_id, *last_seq, request_id.as_deref()))
                }
            };
            if frame.as_ref().is_none_or(|frame| session.queue.takes(frame.size_bytes(), now)) {
                catch_up.end_sync();
                told = frame;
            }
        }
        let next = if session.knows_rooms { catch_up.next_request() } else { None };
        let (tenant, user_id) = (session.tenant, session.user.clone());
        session.drop_finished_catch_up();
        if let Some(frame) = told {
            self.send_to_one(conn, frame);
        }
        if let Some(request) = next {
            self.load_positions(conn, tenant, user_id, request);
        }
    }

    fn load_positions(&mut self, conn: ConnId, tenant: TenantKey, user_id: UserId, request: SyncRequest) {
        if !self.operations.has_room(Lane::Write, Some(tenant)) {
            self.answer_error(conn, &overloaded(), request.request_id.as_deref());
            return self.conclude_sync(conn);
        }
        let rooms = request.kind.room_ids();
        let step = Step::LoadPositions { conn };
        let op = self.submit(Some(tenant), step, StoreRequest::LoadPositions { tenant, user_id, rooms });
        if let Some(session) = self.sessions.get_mut(conn) {
            session.catch_up_mut().reads_positions(op, request);
        }
    }
}

/// When to ask again where too many syncs wait for a connection.
const SYNC_RETRY_AFTER_MS: u64 = 1_000;

/// Where a room is to be sent from, and up to where.
fn start_at(
    (room_id, after): (RoomId, Option<Seq>),
    position: RoomPosition,
    field: &'static str,
) -> Result<(RoomId, Seq, Seq), ApiError> {
    let RoomPosition { last_ack, last_seq } = position;
    let after = after.unwrap_or(last_ack);
    if after > last_seq {
        let message = format!("{field} names a position past the newest message, {last_seq}, of {room_id}");
        return Err(ApiError::invalid(field, message));
    }
    Ok((room_id, after, last_seq))
}
