//! What a connection has yet to get: the rooms in which it is not live, what it asked to be sent again, notifications.
//!
//! One after another it serves *syncs*: the first is that of its connect, then what `subscribe` and `resume` ask for.
//! A sync puts cursors into rooms and is over when each has reached what was the newest message then. A room that falls
//! behind for another reason (a slow reader, a gap) has a cursor too, but belongs to no sync.

use std::collections::{BTreeMap, VecDeque};

use super::server::{Frame, SyncSummary};
use crate::id::{NotificationKey, OpId, RoomId, Seq};
use crate::store::BacklogRoom;

/// Of a room with more missed messages only so many of the newest come on connect (protocol, section 7).
const BACKLOG_MESSAGES_MAX: u64 = 1_000;
/// How many request ids are kept for a connection: more than it may have waiting.
const REQUEST_IDS_MAX: usize = 1_024;
/// How many rooms are read at once.
const ROOMS_PER_READ: usize = 64;
/// How many pages of a room in a row are dropped because a message changed while they were read. After that changes are
/// held and told after the page, so that a room whose messages always change is read all the same.
const REREADS_MAX: u8 = 3;
/// How many changes of messages are held for a room in a page under way.
const HELD_CHANGES_MAX: usize = 1_024;
/// How many notifications are noted that are expanded while a page is under way; past that the page is read again.
const EXPANDED_MAX: usize = 1_024;
/// How many `subscribe` and `resume` frames wait for their turn (protocol, section 7).
const SYNCS_WAITING_MAX: usize = 100;

/// What a client asked to be sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SyncRequest {
    pub(crate) kind: SyncKind,
    pub(crate) request_id: Option<String>,
}

/// The two ways to ask for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SyncKind {
    /// `subscribe`: one room, from the user's `last_ack` where no position is given.
    Subscribe { room_id: RoomId, after: Option<Seq> },
    /// `resume`: several rooms.
    Resume { rooms: BTreeMap<RoomId, Seq> },
}

impl SyncKind {
    /// The rooms, in the order in which their positions are asked for.
    pub(crate) fn room_ids(&self) -> Vec<RoomId> {
        match self {
            Self::Subscribe { room_id, .. } => vec![room_id.clone()],
            Self::Resume { rooms } => rooms.keys().cloned().collect(),
        }
    }
}

/// The rooms in which a connection is not live, and the syncs it waits for.
#[derive(Debug, Default)]
pub(crate) struct CatchUp {
    rooms: BTreeMap<RoomId, RoomCatchUp>,
    /// The same rooms, in the order they are served.
    turns: VecDeque<RoomId>,
    reading: Option<Reading>,
    sync: Option<Sync>,
    waiting: VecDeque<SyncRequest>,
    /// Of the connection's own messages that will not be sent any more.
    unanswered: Vec<String>,
}

#[derive(Debug)]
struct RoomCatchUp {
    cursor: Seq,
    /// What the cursor must reach for the sync's part of it to be over.
    sync_until: Option<Seq>,
    /// Of the connection's own messages that are yet to be sent.
    request_ids: BTreeMap<Seq, String>,
    /// How many pages in a row were dropped because a message changed meanwhile.
    rereads: u8,
}

/// A page under way.
#[derive(Debug)]
struct Reading {
    op: OpId,
    of: ReadingOf,
}

#[derive(Debug)]
enum ReadingOf {
    Rooms(Vec<RoomReading>),
    Notifications {
        /// Those that were expanded meanwhile: the page may show them or not.
        expanded: Vec<NotificationKey>,
    },
    /// What it was read for is gone: the page is dropped.
    Nothing,
}

/// A room in a page under way.
#[derive(Debug)]
pub(crate) struct RoomReading {
    pub(crate) room_id: RoomId,
    pub(crate) cursor: CursorOfReading,
    /// Changes of messages that the page may show as they were before: they are sent after it.
    pub(crate) held: Vec<(Seq, Frame)>,
}

/// Whether what a page shows of a room is still wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CursorOfReading {
    /// It follows the room's cursor.
    Stands,
    /// The cursor it was read for is gone.
    Gone,
}

/// What is served now.
#[derive(Debug)]
struct Sync {
    stage: SyncStage,
    summary: SyncSummary,
    rooms_left: usize,
    notifications: Notifications,
    end: SyncEnd,
}

/// Whether a sync has notifications to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Notifications {
    /// It is of a connect, and some are pending.
    Pending,
    /// It is of a connect, and none is pending so far.
    None,
    /// It is none of a connect: they are told as they come.
    Live,
}

#[derive(Debug)]
enum SyncStage {
    /// The rooms of the connecting user are being read.
    Backlog,
    /// Where the user stands is being read.
    Positions(OpId, SyncKind),
    /// Rooms are.
    Rooms,
    /// Pending notifications are.
    Notifications { cursor: NotificationKey },
    /// All of it was sent; its end is yet to be told.
    Sent,
}

/// What tells the client that a sync is over.
#[derive(Debug)]
pub(crate) enum SyncEnd {
    /// Nothing: the client wanted no backlog.
    Silent,
    /// `sync.complete` of a connect.
    Connect,
    /// `sync.complete` of a `resume`.
    Resume { request_id: Option<String> },
    /// `sync.complete` of a `subscribe`.
    Subscribe { request_id: Option<String>, room_id: RoomId, last_seq: Seq },
}

/// What a connection is to read next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NextRead {
    /// Each with its cursor.
    Rooms(Vec<(RoomId, Seq)>),
    Notifications {
        after: NotificationKey,
    },
}

/// How far a page was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PageEnd {
    /// All of it that was pushed.
    Taken,
    /// Up to what the queue takes.
    QueueFull,
}

/// What becomes of a message's change for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChangeRoute {
    /// It was sent the message: it is told now.
    Tell,
    /// It will be sent the message as it now is.
    Skip,
    /// It is told after the page under way.
    Held,
    /// Too much is held.
    Overflow,
}

impl CatchUp {
    pub(crate) fn contains(&self, room_id: &RoomId) -> bool {
        self.rooms.contains_key(room_id)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.rooms.is_empty() && self.sync.is_none() && self.waiting.is_empty() && self.reading.is_none()
    }

    /// Puts a room that was live behind the others.
    pub(crate) fn add(&mut self, room_id: &RoomId, cursor: Seq) {
        if !self.contains(room_id) {
            let room = RoomCatchUp { cursor, sync_until: None, request_ids: BTreeMap::new(), rereads: 0 };
            self.rooms.insert(room_id.clone(), room);
            self.turns.push_back(room_id.clone());
        }
    }

    /// Forgets a room that the connection is to hear no more of.
    pub(crate) fn remove(&mut self, room_id: &RoomId) {
        self.void_page_of(room_id);
        if let Some(sync) = &mut self.sync {
            // The rest of what was missed is in no history that opens.
            sync.summary.truncated.remove(room_id);
        }
        if let Some(mut room) = self.rooms.remove(room_id) {
            room.end_sync(self.sync.as_mut());
            self.unanswered.extend(std::mem::take(&mut room.request_ids).into_values());
            self.turns.retain(|turn| turn != room_id);
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

    /// Decides who tells of a change of message `seq` in a room whose newest pushed message is `last_pushed`.
    pub(crate) fn route_change(&mut self, room_id: &RoomId, seq: Seq, frame: &Frame, last_pushed: Seq) -> ChangeRoute {
        let sent_until = self.rooms.get(room_id).map_or(last_pushed, |room| room.cursor);
        if seq <= sent_until {
            return ChangeRoute::Tell;
        }
        let rereads = self.rooms.get(room_id).map_or(0, |room| room.rereads);
        let Some(reading) = self.reading_of(room_id) else {
            return ChangeRoute::Skip;
        };
        if rereads < REREADS_MAX {
            // The page may show the message as it was before, or as it is after changes that are still to be reported: a
            // page that is asked for from here on shows this one at least.
            reading.cursor = CursorOfReading::Gone;
            if let Some(room) = self.rooms.get_mut(room_id) {
                room.rereads += 1;
            }
            return ChangeRoute::Skip;
        }
        if reading.held.len() >= HELD_CHANGES_MAX {
            return ChangeRoute::Overflow;
        }
        reading.held.push((seq, frame.clone()));
        ChangeRoute::Held
    }

    /// Waits for the rooms of the connecting user: what the client asks for meanwhile is served behind the backlog.
    pub(crate) fn await_backlog(&mut self) {
        let summary = SyncSummary::default();
        let (stage, notifications) = (SyncStage::Backlog, Notifications::None);
        self.sync = Some(Sync { stage, summary, rooms_left: 0, notifications, end: SyncEnd::Silent });
    }

    /// Begins with the sync of a connect.
    pub(crate) fn begin_with_backlog(&mut self, rooms: &[BacklogRoom], has_notifications: bool) {
        let mut summary = SyncSummary::default();
        let mut rooms_left = 0;
        for BacklogRoom { room_id, last_ack, last_seq, members: _ } in rooms {
            if last_ack >= last_seq {
                continue;
            }
            let cursor = Seq(last_ack.0.max(last_seq.0.saturating_sub(BACKLOG_MESSAGES_MAX)));
            self.set_cursor(room_id, cursor, *last_seq);
            rooms_left += 1;
            summary.rooms += 1;
            if cursor > *last_ack {
                summary.truncated.insert(room_id.clone(), cursor.next());
            }
        }
        let notifications = Notifications::of_connect(has_notifications);
        self.sync = Some(Sync { stage: SyncStage::Rooms, summary, rooms_left, notifications, end: SyncEnd::Connect });
    }

    /// Begins with the pending notifications of a connection that wanted no backlog.
    pub(crate) fn begin_without_backlog(&mut self, has_notifications: bool) {
        let (stage, summary) = (SyncStage::Rooms, SyncSummary::default());
        let notifications = Notifications::of_connect(has_notifications);
        self.sync = Some(Sync { stage, summary, rooms_left: 0, notifications, end: SyncEnd::Silent });
    }

    /// Queues what a client asked for; says whether it could.
    pub(crate) fn ask(&mut self, request: SyncRequest) -> bool {
        if self.waiting.len() >= SYNCS_WAITING_MAX {
            return false;
        }
        self.waiting.push_back(request);
        true
    }

    /// The next request to serve, if none is being served.
    pub(crate) fn next_request(&mut self) -> Option<SyncRequest> {
        if self.sync.is_some() { None } else { self.waiting.pop_front() }
    }

    /// Notes that the positions of a request are being read.
    pub(crate) fn reads_positions(&mut self, op: OpId, request: SyncRequest) {
        let SyncRequest { kind, request_id } = request;
        let end = SyncEnd::Resume { request_id };
        let (stage, summary) = (SyncStage::Positions(op, kind), SyncSummary::default());
        self.sync = Some(Sync { stage, summary, rooms_left: 0, notifications: Notifications::Live, end });
    }

    /// Takes the request back whose positions were read by `op`: it is to be begun or refused.
    pub(crate) fn take_positions_read(&mut self, op: OpId) -> Option<SyncRequest> {
        let is_it =
            self.sync.as_ref().is_some_and(|sync| matches!(sync.stage, SyncStage::Positions(read, _) if read == op));
        match self.sync.take_if(|_| is_it)? {
            Sync { stage: SyncStage::Positions(_, kind), end: SyncEnd::Resume { request_id }, .. } => {
                Some(SyncRequest { kind, request_id })
            }
            Sync { .. } => None,
        }
    }

    /// Begins to send rooms again: each from its cursor up to its newest message.
    pub(crate) fn begin_again(&mut self, rooms: Vec<(RoomId, Seq, Seq)>, end: SyncEnd) {
        let mut summary = SyncSummary::default();
        let mut rooms_left = 0;
        for (room_id, after, last_seq) in rooms {
            // Where a client has everything there is nothing to send again; a room that lags behind goes on as it was.
            if after >= last_seq {
                continue;
            }
            self.void_page_of(&room_id);
            self.set_cursor(&room_id, after, last_seq);
            rooms_left += 1;
            summary.rooms += 1;
        }
        let (stage, notifications) = (SyncStage::Rooms, Notifications::Live);
        self.sync = Some(Sync { stage, summary, rooms_left, notifications, end });
    }

    fn set_cursor(&mut self, room_id: &RoomId, cursor: Seq, until: Seq) {
        self.add(room_id, cursor);
        if let Some(room) = self.rooms.get_mut(room_id) {
            room.cursor = cursor;
            room.sync_until = Some(until);
            // A client that has more than it was sent, its own messages among it, is not sent those.
            let later = room.request_ids.split_off(&cursor.next());
            let skipped = std::mem::replace(&mut room.request_ids, later);
            self.unanswered.extend(skipped.into_values());
        }
    }

    /// What to read next, unless a page is under way.
    pub(crate) fn next_read(&self) -> Option<NextRead> {
        if self.reading.is_some() {
            return None;
        }
        if let Some(Sync { stage: SyncStage::Notifications { cursor }, .. }) = &self.sync {
            return Some(NextRead::Notifications { after: *cursor });
        }
        let next = self.turns.iter().take(ROOMS_PER_READ);
        let rooms: Vec<_> =
            next.filter_map(|room_id| Some((room_id.clone(), self.rooms.get(room_id)?.cursor))).collect();
        (!rooms.is_empty()).then_some(NextRead::Rooms(rooms))
    }

    /// Notes that a page is under way.
    pub(crate) fn reads(&mut self, op: OpId, next: NextRead) {
        let of = match next {
            NextRead::Rooms(rooms) => {
                let reading = |(room_id, _)| RoomReading { room_id, cursor: CursorOfReading::Stands, held: Vec::new() };
                ReadingOf::Rooms(rooms.into_iter().map(reading).collect())
            }
            NextRead::Notifications { .. } => ReadingOf::Notifications { expanded: Vec::new() },
        };
        self.reading = Some(Reading { op, of });
    }

    /// Notes that the page of rooms read by `op` has come. Hands back the rooms it was read for, or `None` where the page
    /// is to be dropped.
    pub(crate) fn take_reading(&mut self, op: OpId) -> Option<Vec<RoomReading>> {
        match self.reading.take_if(|reading| reading.op == op)?.of {
            ReadingOf::Rooms(rooms) => Some(rooms),
            ReadingOf::Notifications { .. } | ReadingOf::Nothing => None,
        }
    }

    /// Notes that the page of notifications read by `op` has come. Hands back those that were expanded meanwhile, or
    /// `None` where the page is to be dropped.
    pub(crate) fn take_notifications(&mut self, op: OpId) -> Option<Vec<NotificationKey>> {
        match self.reading.take_if(|reading| reading.op == op)?.of {
            ReadingOf::Notifications { expanded } => Some(expanded),
            ReadingOf::Rooms(_) | ReadingOf::Nothing => None,
        }
    }

    /// Takes a page of a room: what of it is to be sent, the sender's frames with their request ids. `takes` says
    /// whether there is room for one more frame; what does not fit is read again later.
    pub(crate) fn take_page(
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
        room.rereads = 0;
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
            if let Some(sync) = self.sync.as_mut().filter(|_| room.sync_until.is_some()) {
                sync.summary.messages += 1;
            }
            if room.sync_until == Some(seq) {
                room.end_sync(self.sync.as_mut());
            }
            frames.push(frame);
        }
        // A room that shows nothing past the cursor is gone: there is nothing to wait for.
        if frames.is_empty() || room.cursor >= last_pushed {
            room.end_sync(self.sync.as_mut());
            self.unanswered.extend(std::mem::take(&mut room.request_ids).into_values());
            self.rooms.remove(room_id);
            // Pages are read of the first in turn.
            if self.turns.front() == Some(room_id) {
                self.turns.pop_front();
            } else {
                self.turns.retain(|turn| turn != room_id);
            }
        }
        self.yield_turn(room_id);
        (frames, PageEnd::Taken)
    }

    /// Puts a room that was read and is not live yet behind the others, lest they wait for one that grows as fast as its
    /// reader reads. While a sync is under way its rooms come one after another.
    fn yield_turn(&mut self, room_id: &RoomId) {
        let is_beyond_sync = self.rooms.get(room_id).is_some_and(|room| room.sync_until.is_none());
        if is_beyond_sync && self.turns.front() == Some(room_id) {
            self.turns.rotate_left(1);
        }
    }

    /// The request ids of those of the connection's own messages that will not be sent any more, once.
    pub(crate) fn take_unanswered(&mut self) -> Vec<String> {
        std::mem::take(&mut self.unanswered)
    }

    /// How far a room was sent; `None` where it is live.
    pub(crate) fn cursor(&self, room_id: &RoomId) -> Option<Seq> {
        self.rooms.get(room_id).map(|room| room.cursor)
    }

    /// Goes on to the next stage, once all rooms of the sync were sent.
    pub(crate) fn advance(&mut self) {
        if let Some(sync) = &mut self.sync
            && matches!(sync.stage, SyncStage::Rooms)
            && sync.rooms_left == 0
        {
            sync.stage = match sync.notifications {
                Notifications::Pending => SyncStage::Notifications { cursor: NotificationKey(0) },
                Notifications::None | Notifications::Live => SyncStage::Sent,
            };
        }
    }

    /// Moves the cursor of the notifications.
    pub(crate) fn sent_notification(&mut self, notification: NotificationKey) {
        if let Some(Sync { stage: SyncStage::Notifications { cursor }, .. }) = &mut self.sync {
            *cursor = notification;
        }
    }

    /// Whether a notification is yet to be read among the pending ones, so that it must not be pushed; notes that it came.
    pub(crate) fn defers_notification(&mut self, notification: NotificationKey) -> bool {
        let Some(Sync { stage, notifications, .. }) = &mut self.sync else {
            return false;
        };
        match (stage, notifications) {
            // The store tells with the rooms whether any is pending by then.
            (SyncStage::Backlog, _) => true,
            (SyncStage::Rooms, notifications @ (Notifications::Pending | Notifications::None)) => {
                *notifications = Notifications::Pending;
                true
            }
            // No further page shows what lies behind the cursor: it was stored earlier, and expanded later.
            (SyncStage::Notifications { cursor }, _) if notification <= *cursor => false,
            (SyncStage::Notifications { .. }, _) => {
                if let Some(Reading { of, .. }) = &mut self.reading
                    && let ReadingOf::Notifications { expanded } = of
                {
                    expanded.push(notification);
                    if expanded.len() > EXPANDED_MAX {
                        *of = ReadingOf::Nothing;
                    }
                }
                true
            }
            (SyncStage::Rooms | SyncStage::Positions(..) | SyncStage::Sent, _) => false,
        }
    }

    /// Notes that the last page of notifications was sent.
    pub(crate) fn end_notifications(&mut self) {
        if let Some(sync) = &mut self.sync
            && matches!(sync.stage, SyncStage::Notifications { .. })
        {
            sync.stage = SyncStage::Sent;
        }
    }

    /// What to tell, once all of the sync was sent.
    pub(crate) fn sent(&self) -> Option<(&SyncSummary, &SyncEnd)> {
        let sync = self.sync.as_ref()?;
        matches!(sync.stage, SyncStage::Sent).then_some((&sync.summary, &sync.end))
    }

    /// The sync is over, and its client was told.
    pub(crate) fn end_sync(&mut self) {
        self.sync = None;
    }

    /// A room in the page under way, if what it shows is still wanted.
    fn reading_of(&mut self, room_id: &RoomId) -> Option<&mut RoomReading> {
        match self.reading.as_mut().map(|reading| &mut reading.of) {
            Some(ReadingOf::Rooms(rooms)) => rooms
                .iter_mut()
                .find(|reading| reading.room_id == *room_id && reading.cursor == CursorOfReading::Stands),
            Some(ReadingOf::Notifications { .. } | ReadingOf::Nothing) | None => None,
        }
    }

    fn void_page_of(&mut self, room_id: &RoomId) {
        if let Some(reading) = self.reading_of(room_id) {
            reading.cursor = CursorOfReading::Gone;
        }
    }
}

impl Notifications {
    const fn of_connect(are_pending: bool) -> Self {
        if are_pending { Self::Pending } else { Self::None }
    }
}

/// Leaves out the changes that a page shows already, or what came of them later: a reader may see a change before the core
/// is told of it.
pub(crate) fn without_outdated(held: Vec<(Seq, Frame)>, page: &[(Seq, Frame)]) -> Vec<(Seq, Frame)> {
    let shown = |seq: Seq| page.iter().find(|(of, _)| *of == seq).map(|(_, frame)| frame.changed_at());
    let is_news = |(seq, change): &(Seq, Frame)| match (shown(*seq), change.changed_at()) {
        (Some(shown), Some(at)) => shown.is_none_or(|shown| shown < at),
        // Nothing comes of a message after its deletion, which bears no stamp.
        (None, _) | (_, None) => true,
    };
    held.into_iter().filter(is_news).collect()
}

impl RoomCatchUp {
    fn end_sync(&mut self, sync: Option<&mut Sync>) {
        if let (Some(_), Some(sync)) = (self.sync_until.take(), sync) {
            sync.rooms_left -= 1;
        }
    }
}
