//! A WebSocket connection: what waits in the driver's queue, what the peer does, and what it was sent so far.

use std::collections::{BTreeMap, VecDeque};

use chatapi_core::ws::Frame;
use chatapi_core::{
    CloseReason, ConnId, FLUSH_REPORT_BYTES, FLUSH_REPORT_FRAMES, Input, Micros, MonoMicros, RoomId, UserId,
};

use super::bucket::Debt;
use super::notifications::SentNotifications;
use super::presence::Heard;
use super::syncing::Sync;
use crate::action::{Peer, Who};

/// A flush is reported with the first write that is so much later than the last report.
const REPORT_INTERVAL: Micros = Micros::from_secs(5);
/// Before what a peer says it is reported too, so that the core knows what the peer may have read: once in so long.
const REPORT_INTERVAL_OF_A_PEER_THAT_SPEAKS: Micros = Micros::from_millis(20);
/// What `ping`, `ack` and `typing` frames may come to in a second on a connection (protocol, section 2).
const CONTROL_FRAMES_PER_SECOND: u32 = 50;
/// What waits for a connection at the most (protocol, section 7).
pub(crate) const WAITING_BYTES_MAX: u64 = 1024 * 1024;
pub(crate) const WAITING_FRAMES_MAX: usize = 1_024;

/// A connection, from its accept on.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) conn: ConnId,
    pub(crate) who: Who,
    pub(crate) user: UserId,
    pub(crate) wants_backlog: bool,
    pub(crate) peer: Peer,
    /// It took nothing for a while.
    pub(crate) was_stalled: bool,
    pub(crate) closed: Option<CloseReason>,
    /// What was sent, as far as the order on a connection goes.
    pub(crate) sent: Sent,
    /// Answers that are owed, by `request_id`.
    pub(crate) owed: BTreeMap<String, Owed>,
    pub(crate) control: Debt,
    pub(crate) last_heard: MonoMicros,
    /// The first ping since it was heard of.
    pub(crate) pinged: Option<MonoMicros>,
    pub(crate) invalid_in_a_row: u32,
    /// How many frames were ever queued.
    pub(crate) frames_queued: u64,
    /// How many had left for the wire when it was last heard of.
    pub(crate) frames_heard_past: u64,
    /// The most bytes and frames that the core can have counted as waiting.
    pub(crate) most_counted: (u64, usize),
    queue: VecDeque<Waiting>,
    queued_bytes: u64,
    queued_frames: usize,
    unreported_frames: u32,
    unreported_bytes: u64,
    was_full: bool,
    peer_reads: bool,
    last_report: MonoMicros,
    last_report_to_a_speaker: Option<MonoMicros>,
}

/// What a connection was sent.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    pub(crate) connected: bool,
    pub(crate) synced: bool,
    pub(crate) shutdown: bool,
    /// The first message of each room.
    pub(crate) first: BTreeMap<RoomId, u64>,
    /// The version of each message that was shown in another than its first.
    pub(crate) versions: BTreeMap<(RoomId, u64), usize>,
    /// The newest message of each room.
    pub(crate) positions: BTreeMap<RoomId, u64>,
    /// The newest ack of each room and user.
    pub(crate) acks: BTreeMap<(RoomId, UserId), u64>,
    /// How far the user had acknowledged, and the newest number, when the connection was accepted.
    pub(crate) stood_at: BTreeMap<RoomId, (u64, u64)>,
    /// What its client asked to be sent again, in this order.
    pub(crate) syncs: VecDeque<Sync>,
    /// What it heard of who is online.
    pub(crate) presence: BTreeMap<UserId, Heard>,
    pub(crate) notifications: SentNotifications,
    /// `message` frames before `sync.complete`.
    pub(crate) before_sync: u64,
    /// What `sync.complete` said.
    pub(crate) told: Told,
    /// How far everyone had acknowledged by then, and how often the store had failed.
    pub(crate) acks_by_then: BTreeMap<(RoomId, UserId), u64>,
    pub(crate) failures_by_then: u64,
    /// How often it had when the connection was accepted.
    pub(crate) failures_at_start: u64,
}

/// What a `sync.complete` says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) rooms: u64,
    pub(crate) messages: u64,
    pub(crate) truncated: BTreeMap<RoomId, u64>,
}

/// What a frame of the client's is to be answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Owed {
    /// A `message` with this text, in this room.
    Message { room_id: RoomId, content: String },
    /// `ack.received` for at least this number.
    Ack { room_id: RoomId, seq: u64, head_then: u64 },
    /// Nothing, unless it is refused.
    Typing { room_id: RoomId },
    /// `sync.complete`, which is looked at elsewhere.
    Sync,
    /// `pong`.
    Pong,
}

#[derive(Debug)]
enum Waiting {
    Frame(u64),
    Ping,
}

impl Link {
    pub(crate) fn new(conn: ConnId, who: Who, user: UserId, wants_backlog: bool, now: MonoMicros) -> Self {
        Self {
            conn,
            who,
            user,
            wants_backlog,
            peer: Peer::Reads,
            was_stalled: false,
            closed: None,
            sent: Sent::default(),
            owed: BTreeMap::new(),
            control: Debt::none(CONTROL_FRAMES_PER_SECOND),
            last_heard: now,
            pinged: None,
            invalid_in_a_row: 0,
            frames_queued: 0,
            frames_heard_past: 0,
            most_counted: (0, 0),
            queue: VecDeque::new(),
            queued_bytes: 0,
            queued_frames: 0,
            unreported_frames: 0,
            unreported_bytes: 0,
            was_full: false,
            peer_reads: false,
            last_report: now,
            last_report_to_a_speaker: None,
        }
    }

    pub(crate) fn queue_frame(&mut self, frame: &Frame) {
        let size_bytes = frame.size_bytes() as u64;
        self.queue.push_back(Waiting::Frame(size_bytes));
        self.queued_bytes += size_bytes;
        self.queued_frames += 1;
        self.frames_queued += 1;
        let (most_bytes, most_frames) = self.most_counted;
        let counted_frames = self.queued_frames + self.unreported_frames as usize;
        self.most_counted =
            (most_bytes.max(self.queued_bytes + self.unreported_bytes), most_frames.max(counted_frames));
    }

    pub(crate) fn queue_ping(&mut self, now: MonoMicros) {
        self.pinged.get_or_insert(now);
        self.queue.push_back(Waiting::Ping);
    }

    /// The server has heard of its peer.
    pub(crate) const fn heard(&mut self, now: MonoMicros) {
        self.last_heard = now;
        self.pinged = None;
        self.frames_heard_past = self.frames_queued - self.queued_frames as u64;
    }

    /// What the core is to be told of before it hears of a frame or sign of life.
    pub(crate) fn report_before_hearing(&mut self, now: MonoMicros) -> Option<Input> {
        let is_due = |at: MonoMicros| now - at >= REPORT_INTERVAL_OF_A_PEER_THAT_SPEAKS;
        if self.unreported_frames == 0 || self.closed.is_some() || !self.last_report_to_a_speaker.is_none_or(is_due) {
            return None;
        }
        self.last_report_to_a_speaker = Some(now);
        Some(self.report(now))
    }

    fn report(&mut self, now: MonoMicros) -> Input {
        self.last_report = now;
        Input::Flushed {
            conn: self.conn,
            frames: std::mem::take(&mut self.unreported_frames),
            size_bytes: std::mem::take(&mut self.unreported_bytes),
            peer_reads: std::mem::take(&mut self.peer_reads),
        }
    }

    /// Whether it was sent a message.
    pub(crate) fn was_shown(&self, room_id: &RoomId, seq: u64) -> bool {
        let first = self.sent.first.get(room_id);
        let last = self.sent.positions.get(room_id);
        first.is_some_and(|first| *first <= seq) && last.is_some_and(|last| seq <= *last)
    }

    /// Bytes and frames that wait.
    pub(crate) const fn queued(&self) -> (u64, usize) {
        (self.queued_bytes, self.queued_frames)
    }

    pub(crate) fn has_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The socket takes up to `count` frames. Hands back what the core is to be told.
    pub(crate) fn flush(&mut self, count: usize, now: MonoMicros) -> Vec<Input> {
        let mut inputs = Vec::new();
        let takes = match self.peer {
            // A kernel's buffer takes something for a peer that is gone, for a while.
            Peer::Vanishes => count.min(16),
            Peer::Reads => count,
            Peer::Stalls => 0,
        };
        if takes < count && self.has_queued() {
            self.was_full = true;
        }
        let mut wrote = false;
        let mut pinged = false;
        for _ in 0..takes {
            match self.queue.pop_front() {
                None => break,
                Some(Waiting::Ping) => pinged = true,
                Some(Waiting::Frame(size_bytes)) => {
                    self.queued_bytes -= size_bytes;
                    self.queued_frames -= 1;
                    self.unreported_frames += 1;
                    self.unreported_bytes += size_bytes;
                }
            }
            wrote = true;
        }
        if !wrote {
            return inputs;
        }
        self.peer_reads |= self.peer == Peer::Reads && std::mem::take(&mut self.was_full);
        let is_much = self.unreported_bytes >= FLUSH_REPORT_BYTES || self.unreported_frames >= FLUSH_REPORT_FRAMES;
        if self.closed.is_none() && (is_much || self.peer_reads || now - self.last_report >= REPORT_INTERVAL) {
            if self.peer_reads {
                self.heard(now);
            }
            inputs.push(self.report(now));
        }
        if pinged && self.peer == Peer::Reads && self.closed.is_none() {
            self.heard(now);
            inputs.extend(self.report_before_hearing(now));
            inputs.push(Input::Heard { conn: self.conn });
        }
        inputs
    }
}
