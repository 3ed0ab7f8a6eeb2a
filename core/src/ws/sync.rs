//! Catching up: how a connection gets what was not pushed to it.
//!
//! The backlog on connect, a slow reader and a gap in a room's numbers are one mechanism. A room that a connection is
//! catching up in has a cursor: all up to it was sent. Pages past the cursor are read from the store and sent as the
//! connection's queue empties, one page under way at a time. A page is cut at the room's newest *pushed* message, which
//! a reader may have seen earlier than the core: when the cursor reaches that, the room is live, and everything past it
//! is yet to be pushed. So on any connection a room's messages come in order, without a gap and without a repeat.

use std::collections::{BTreeMap, VecDeque};

use super::server::{Frame, SyncSummary, sync_complete};
use crate::core::Core;
use crate::effect::CloseReason;
use crate::id::{ConnId, OpId, RoomId, Seq, UserId};
use crate::operations::Step;
use crate::store::{BacklogRoom, Lane, PageBounds, StoreReply, StoreRequest, StoreResult};
use crate::ws::BacklogChoice;

/// Of a room with more missed messages only so many of the newest come on connect (protocol, section 7).
const BACKLOG_MESSAGES_MAX: u64 = 1_000;
const PAGE: PageBounds = PageBounds { messages: 100, size_bytes: 256 * 1024 };

/// How many request ids are kept for a connection: more than it may have waiting.
const REQUEST_IDS_MAX: usize = 1_024;

/// How far a page was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PageEnd {
    /// All of it that was pushed.
    Taken,
    /// Up to what the queue takes.
    QueueFull,
}

/// The rooms in which a connection is not live.
#[derive(Debug, Default)]
pub(crate) struct CatchUp {
    rooms: BTreeMap<RoomId, RoomCatchUp>,
    /// The same rooms, in the order they are served.
    turns: VecDeque<RoomId>,
    reading: Option<OpId>,
    /// Until `sync.complete` was sent.
    backlog: Option<Backlog>,
}

#[derive(Debug)]
struct RoomCatchUp {
    cursor: Seq,
    /// The newest message at the connect, while the cursor is short of it.
    backlog_until: Option<Seq>,
    /// Of the connection's own messages that are yet to be sent.
    request_ids: BTreeMap<Seq, String>,
}

#[derive(Debug, Default)]
struct Backlog {
    summary: SyncSummary,
    rooms_left: usize,
}

impl CatchUp {
    pub(crate) fn contains(&self, room_id: &RoomId) -> bool {
        self.rooms.contains_key(room_id)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.rooms.is_empty() && self.backlog.is_none()
    }

    /// Puts a room that was live behind the others.
    pub(crate) fn add(&mut self, room_id: &RoomId, cursor: Seq) {
        if !self.contains(room_id) {
            let room = RoomCatchUp { cursor, backlog_until: None, request_ids: BTreeMap::new() };
            self.rooms.insert(room_id.clone(), room);
            self.turns.push_back(room_id.clone());
        }
    }

    /// Keeps the `request_id` of a message of the connection's own until that is sent. Says whether it could.
    pub(crate) fn keep_request_id(&mut self, room_id: &RoomId, seq: Seq, request_id: &str) -> bool {
        let kept: usize = self.rooms.values().map(|room| room.request_ids.len()).sum();
        if kept >= REQUEST_IDS_MAX {
            return false;
        }
        if let Some(room) = self.rooms.get_mut(room_id).filter(|room| room.cursor < seq) {
            room.request_ids.insert(seq, request_id.to_owned());
        }
        true
    }

    fn of_backlog(rooms: &[BacklogRoom]) -> Self {
        let mut catch_up = Self { backlog: Some(Backlog::default()), ..Self::default() };
        for BacklogRoom { room_id, last_ack, last_seq, members: _ } in rooms {
            if last_ack >= last_seq {
                continue;
            }
            let cursor = Seq(last_ack.0.max(last_seq.0.saturating_sub(BACKLOG_MESSAGES_MAX)));
            catch_up.add(room_id, cursor);
            if let Some(room) = catch_up.rooms.get_mut(room_id) {
                room.backlog_until = Some(*last_seq);
            }
            if let Some(backlog) = &mut catch_up.backlog {
                backlog.rooms_left += 1;
                backlog.summary.rooms += 1;
                if cursor > *last_ack {
                    backlog.summary.truncated.insert(room_id.clone(), cursor.next());
                }
            }
        }
        catch_up
    }

    /// Takes a page of a room: what of it is to be sent, the sender's frames with their request ids. `takes` says
    /// whether there is room for one more frame; what does not fit is read again later.
    fn take_page(
        &mut self,
        room_id: &RoomId,
        page: Vec<(Seq, Frame)>,
        last_pushed: Seq,
        mut takes: impl FnMut(&Frame) -> bool,
    ) -> (Vec<Frame>, PageEnd) {
        let mut frames = Vec::with_capacity(page.len());
        let Some(room) = self.rooms.get_mut(room_id) else {
            return (frames, PageEnd::Taken);
        };
        for (seq, frame) in page.into_iter().take_while(|(seq, _)| *seq <= last_pushed) {
            assert_eq!(seq, room.cursor.next(), "the store's page of {room_id} has a gap");
            let frame = match room.request_ids.get(&seq) {
                Some(request_id) => frame.with_request_id(request_id),
                None => frame,
            };
            if !takes(&frame) {
                return (frames, PageEnd::QueueFull);
            }
            room.request_ids.remove(&seq);
            room.cursor = seq;
            if let Some(backlog) = self.backlog.as_mut().filter(|_| room.backlog_until.is_some()) {
                backlog.summary.messages += 1;
            }
            if room.backlog_until == Some(seq) {
                room.end_backlog(self.backlog.as_mut());
            }
            frames.push(frame);
        }
        // A room that shows nothing past the cursor is gone: there is nothing to wait for.
        if frames.is_empty() || room.cursor >= last_pushed {
            room.end_backlog(self.backlog.as_mut());
            self.rooms.remove(room_id);
            // Pages are read of the first in turn alone.
            if self.turns.front() == Some(room_id) {
                self.turns.pop_front();
            } else {
                self.turns.retain(|turn| turn != room_id);
            }
        }
        (frames, PageEnd::Taken)
    }

    /// The summary, once the backlog as it stood at the connect was sent.
    fn summary(&self) -> Option<&SyncSummary> {
        self.backlog.as_ref().filter(|backlog| backlog.rooms_left == 0).map(|backlog| &backlog.summary)
    }
}

impl RoomCatchUp {
    fn end_backlog(&mut self, backlog: Option<&mut Backlog>) {
        if let (Some(_), Some(backlog)) = (self.backlog_until.take(), backlog) {
            backlog.rooms_left -= 1;
        }
    }
}

impl Core {
    /// The rooms of a connecting user are known: the connection joins their audiences and catches up.
    pub(crate) fn on_backlog(&mut self, conn: ConnId, choice: BacklogChoice, result: StoreResult) {
        let Some(session) = self.sessions.get(conn) else {
            return;
        };
        let (tenant, user) = (session.tenant, session.user.clone());
        let Ok(StoreReply::Backlog(rooms)) = result else {
            return self.close(conn, CloseReason::StoreUnavailable);
        };
        for BacklogRoom { room_id, last_seq, .. } in &rooms {
            self.room_advanced(room_id, *last_seq);
            self.audiences.join(room_id, conn, *last_seq);
        }
        if self.sessions.has_joined(tenant, &user) {
            // A room whose creation was in doubt may be new to the user's other connections.
            for BacklogRoom { room_id, last_ack, .. } in &rooms {
                self.join_online(tenant, room_id, std::slice::from_ref(&user), *last_ack);
            }
        }
        let room_ids = rooms.iter().map(|room| room.room_id.clone()).collect();
        self.sessions.enter_rooms(conn, room_ids);
        if choice == BacklogChoice::Stream {
            if let Some(session) = self.sessions.get_mut(conn) {
                session.set_catch_up(CatchUp::of_backlog(&rooms));
            }
            self.conclude_backlog(conn);
            self.read_on(conn);
        }
    }

    /// Reads the next page for a connection, if it catches up and its queue has room.
    pub(crate) fn read_on(&mut self, conn: ConnId) {
        let Some(session) = self.sessions.get(conn).filter(|session| session.is_below_low_water()) else {
            return;
        };
        let tenant = session.tenant;
        let next = session.catch_up().filter(|catch_up| catch_up.reading.is_none()).and_then(|catch_up| {
            let room_id = catch_up.turns.front()?;
            Some((room_id.clone(), catch_up.rooms.get(room_id)?.cursor))
        });
        let Some((room_id, after)) = next else {
            return;
        };
        if !self.operations.has_room(Lane::Read, Some(tenant)) {
            return self.sessions.wait_for_reader(conn);
        }
        let request = StoreRequest::ReadFrames { tenant, room_id: room_id.clone(), after, bounds: PAGE };
        let op = self.submit(Some(tenant), Step::ReadFrames { conn, room_id }, request);
        if let Some(catch_up) = self.sessions.get_mut(conn).and_then(|session| session.catch_up_mut()) {
            catch_up.reading = Some(op);
        }
    }

    pub(crate) fn on_frames_read(&mut self, conn: ConnId, room_id: RoomId, op: OpId, result: StoreResult) {
        let last_pushed = self.audiences.last_pushed(&room_id);
        let Some(session) = self.sessions.get_mut(conn) else {
            return;
        };
        let Some(catch_up) = session.catch_up.as_deref_mut().filter(|catch_up| catch_up.reading == Some(op)) else {
            return;
        };
        catch_up.reading = None;
        let Ok(StoreReply::Frames(page)) = result else {
            return self.close(conn, CloseReason::StoreUnavailable);
        };
        let now = self.now.mono;
        let queue = &mut session.queue;
        let takes = |frame: &Frame| queue.takes(frame.size_bytes(), now);
        let (frames, end) = catch_up.take_page(&room_id, page, last_pushed.unwrap_or_default(), takes);
        for frame in frames {
            self.send_to_one(conn, frame);
        }
        self.conclude_backlog(conn);
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

    /// Says that the backlog was sent, once it was and the queue has room for it.
    pub(crate) fn conclude_backlog(&mut self, conn: ConnId) {
        let now = self.now.mono;
        let Some(session) = self.sessions.get_mut(conn) else {
            return;
        };
        let frame = session.catch_up().and_then(CatchUp::summary).map(sync_complete);
        if let Some(frame) = frame.filter(|frame| session.queue.takes(frame.size_bytes(), now)) {
            if let Some(catch_up) = session.catch_up_mut() {
                catch_up.backlog = None;
            }
            session.drop_finished_catch_up();
            return self.send_to_one(conn, frame);
        }
        session.drop_finished_catch_up();
    }
}

/// What of a connection's acks of others waits until its queue has room: the latest for each room and user.
#[derive(Debug, Default)]
pub(crate) struct KeptAcks(BTreeMap<(RoomId, UserId), Seq>);

impl KeptAcks {
    pub(crate) fn contains(&self, room_id: &RoomId, user_id: &UserId) -> bool {
        self.0.contains_key(&(room_id.clone(), user_id.clone()))
    }

    pub(crate) fn remove(&mut self, room_id: &RoomId, user_id: &UserId) {
        self.0.remove(&(room_id.clone(), user_id.clone()));
    }

    /// How many are kept for a connection.
    const MAX: usize = 1_024;

    /// Says whether it was kept.
    pub(crate) fn keep(&mut self, room_id: &RoomId, user_id: &UserId, seq: Seq) -> bool {
        let key = (room_id.clone(), user_id.clone());
        if self.0.len() >= Self::MAX && !self.0.contains_key(&key) {
            return false;
        }
        self.0.insert(key, seq);
        true
    }

    pub(crate) fn take_first(&mut self) -> Option<(RoomId, UserId, Seq)> {
        self.0.pop_first().map(|((room_id, user_id), seq)| (room_id, user_id, seq))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
