//! A connection's state: whose it is, what waits for it, when it was heard of.

use std::collections::VecDeque;

use super::catch_up::{CatchUp, ChangeRoute};
use super::kept::{Kept, Replaceable};
use super::server::Frame;
use crate::id::{NotificationKey, RoomId, Seq, TenantKey, UserId};
use crate::limits::TokenBucket;
use crate::time::{Micros, MonoMicros};
use crate::{FLUSH_REPORT_BYTES, FLUSH_REPORT_FRAMES};

/// What waits for a connection at the most (protocol, section 7).
const WAITING_BYTES_MAX: u64 = 1024 * 1024;
const WAITING_FRAMES_MAX: u32 = 1_024;
/// Below this much, a connection that catches up reads on.
const LOW_WATER_BYTES: u64 = 256 * 1024;
const LOW_WATER_FRAMES: u32 = 256;
/// `ping`, `ack` and `typing` frames a second, together.
const CONTROL_FRAMES_PER_SECOND: u32 = 50;
const PING_INTERVAL: Micros = Micros::from_secs(30);
/// A connection that was silent, or took nothing of what waits for it, for so long is closed.
const SILENCE_MAX: Micros = Micros::from_secs(60);
/// A connection that has not answered its ping for so long makes room for another of its user.
const PING_ANSWER_MAX: Micros = Micros::from_secs(10);
/// How many notifications are noted as sent to a connection, at 16 bytes each.
const UNCONFIRMED_MAX: usize = 4_096;
/// How many of them a step of the store forgets.
const CONFIRMED_AT_ONCE: usize = 32;

/// A connection.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) tenant: TenantKey,
    pub(crate) user: UserId,
    pub(crate) control: TokenBucket,
    pub(crate) invalid_in_a_row: u8,
    pub(crate) queue: QueueLoad,
    last_heard: MonoMicros,
    next_ping: MonoMicros,
    unanswered_ping: Option<MonoMicros>,
    /// The backlog of its connect was read: what its client asks to be sent again comes behind that.
    pub(crate) knows_rooms: bool,
    pub(crate) catch_up: Option<Box<CatchUp>>,
    kept: Option<Box<Kept>>,
    unconfirmed: Option<Box<Unconfirmed>>,
    pub(super) waits_for_reader: bool,
}

/// A notification that was sent, but whose reader was not heard of since.
#[derive(Debug, Clone, Copy)]
struct SentNotification {
    notification: NotificationKey,
    /// How many frames were sent to the connection, this one included.
    frames_sent: u64,
}

/// Those of a connection, in the order they were sent.
#[derive(Debug, Default)]
struct Unconfirmed {
    sent: VecDeque<SentNotification>,
    /// How many frames had left for the wire when the connection was last heard of.
    frames_heard: u64,
}

/// What waits for a connection, as far as the driver has reported.
#[derive(Debug)]
pub(crate) struct QueueLoad {
    frames: u32,
    size_bytes: u64,
    /// How many frames were ever counted.
    frames_sent: u64,
    /// When the connection last took something, or something began to wait.
    last_taken: MonoMicros,
    /// The first ping that was sent since: the driver reports what left before it when it leaves.
    pinged: Option<MonoMicros>,
}

impl Unconfirmed {
    fn confirmed(&self) -> impl Iterator<Item = &SentNotification> {
        self.sent.iter().take_while(|sent| sent.frames_sent <= self.frames_heard)
    }
}

impl QueueLoad {
    const fn empty(now: MonoMicros) -> Self {
        Self { frames: 0, size_bytes: 0, frames_sent: 0, last_taken: now, pinged: None }
    }

    /// Counts a frame as waiting if it fits; a single one always fits an empty queue.
    pub(crate) fn takes(&mut self, size_bytes: usize, now: MonoMicros) -> bool {
        let size_bytes = size_bytes as u64;
        let counts_as_empty = self.size_bytes <= FLUSH_REPORT_BYTES && self.frames <= FLUSH_REPORT_FRAMES;
        let fits = self.size_bytes + size_bytes <= WAITING_BYTES_MAX && self.frames < WAITING_FRAMES_MAX;
        if !(counts_as_empty || fits) {
            return false;
        }
        if self.frames == 0 {
            self.last_taken = now;
            self.pinged = None;
        }
        self.frames += 1;
        self.frames_sent += 1;
        self.size_bytes += size_bytes;
        true
    }

    /// How many frames have left for the wire, as far as the driver has reported.
    fn frames_flushed(&self) -> u64 {
        self.frames_sent - u64::from(self.frames)
    }

    const fn flushed(&mut self, frames: u32, size_bytes: u64, now: MonoMicros) {
        self.frames = self.frames.saturating_sub(frames);
        self.size_bytes = self.size_bytes.saturating_sub(size_bytes);
        self.last_taken = now;
        self.pinged = None;
    }

    /// When it will have been stuck for too long, unless it takes something: a ping must have had its time, lest a
    /// process that slept takes its own silence for the peer's.
    fn stuck_at(&self) -> Option<MonoMicros> {
        let pinged = self.pinged.filter(|_| self.frames > 0)?;
        Some((self.last_taken + SILENCE_MAX).max(pinged + PING_ANSWER_MAX))
    }

    const fn is_below_low_water(&self) -> bool {
        self.size_bytes < LOW_WATER_BYTES && self.frames < LOW_WATER_FRAMES
    }
}

/// What is due for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    Ping,
    Silent,
    Stuck,
}

impl Session {
    pub(super) fn new(tenant: TenantKey, user: UserId, now: MonoMicros) -> Self {
        Self {
            tenant,
            user,
            control: TokenBucket::full(CONTROL_FRAMES_PER_SECOND, now),
            invalid_in_a_row: 0,
            queue: QueueLoad::empty(now),
            last_heard: now,
            next_ping: now + PING_INTERVAL,
            unanswered_ping: None,
            knows_rooms: false,
            catch_up: None,
            kept: None,
            unconfirmed: None,
            waits_for_reader: false,
        }
    }

    /// The peer said something: it is there, and has what left before.
    pub(crate) fn said_something(&mut self, now: MonoMicros) {
        self.heard(now);
        let flushed = self.queue.frames_flushed();
        if let Some(unconfirmed) = &mut self.unconfirmed {
            unconfirmed.frames_heard = flushed;
        }
    }

    const fn heard(&mut self, now: MonoMicros) {
        self.last_heard = now;
        self.unanswered_ping = None;
    }

    pub(crate) fn flushed(&mut self, frames: u32, size_bytes: u64, peer_reads: bool, now: MonoMicros) {
        self.queue.flushed(frames, size_bytes, now);
        if peer_reads {
            self.heard(now);
        }
    }

    pub(crate) const fn is_below_low_water(&self) -> bool {
        self.queue.is_below_low_water()
    }

    pub(crate) fn is_catching_up(&self, room_id: &RoomId) -> bool {
        self.catch_up.as_ref().is_some_and(|catch_up| catch_up.contains(room_id))
    }

    /// What it catches up in; made where it is live.
    pub(crate) fn catch_up_mut(&mut self) -> &mut CatchUp {
        self.catch_up.get_or_insert_default()
    }

    pub(crate) fn catch_up_from(&mut self, room_id: &RoomId, cursor: Seq) {
        self.catch_up_mut().add(room_id, cursor);
    }

    pub(crate) fn drop_finished_catch_up(&mut self) {
        self.catch_up.take_if(|catch_up| catch_up.is_over());
    }

    /// Keeps the `request_id` of a message of the connection's own until that is sent. Says whether it could.
    pub(crate) fn keep_request_id(&mut self, room_id: &RoomId, seq: Seq, request_id: Option<&str>) -> bool {
        match (&mut self.catch_up, request_id) {
            (Some(catch_up), Some(request_id)) => catch_up.keep_request_id(room_id, seq, request_id),
            (None, _) | (_, None) => true,
        }
    }

    /// Decides who tells of a change of a message in a room whose newest pushed message is `last_pushed`.
    pub(crate) fn route_change(&mut self, room_id: &RoomId, seq: Seq, frame: &Frame, last_pushed: Seq) -> ChangeRoute {
        match &mut self.catch_up {
            Some(catch_up) => catch_up.route_change(room_id, seq, frame, last_pushed),
            None if seq <= last_pushed => ChangeRoute::Tell,
            None => ChangeRoute::Skip,
        }
    }

    /// Forgets a room that the connection is to hear no more of.
    pub(crate) fn leave_room(&mut self, room_id: &RoomId) {
        if let Some(catch_up) = &mut self.catch_up {
            catch_up.remove(room_id);
        }
        if let Some(kept) = &mut self.kept {
            kept.drop_room(room_id);
        }
        self.kept.take_if(|kept| kept.is_empty());
    }

    /// Whether a notification is yet to be read among the pending ones, or was, so that it must not be pushed.
    pub(crate) fn defers_notification(&mut self, notification: NotificationKey) -> bool {
        let sent = self.unconfirmed.iter().flat_map(|unconfirmed| &unconfirmed.sent);
        sent.into_iter().any(|sent| sent.notification == notification)
            || self.catch_up.as_mut().is_some_and(|catch_up| catch_up.defers_notification(notification))
    }

    /// Notes that a notification was just sent, which waits until the connection is heard of.
    pub(crate) fn await_confirmation(&mut self, notification: NotificationKey) {
        let unconfirmed = self.unconfirmed.get_or_insert_default();
        // One that is not noted comes again with the next connect.
        if unconfirmed.sent.len() < UNCONFIRMED_MAX {
            unconfirmed.sent.push_back(SentNotification { notification, frames_sent: self.queue.frames_sent });
        }
    }

    /// Whether a notification reached the connection.
    pub(crate) fn has_confirmed(&self) -> bool {
        let unconfirmed = self.unconfirmed.as_ref();
        unconfirmed.is_some_and(|unconfirmed| unconfirmed.confirmed().next().is_some())
    }

    /// Some of the notifications that reached the connection.
    pub(crate) fn take_confirmed(&mut self) -> Vec<NotificationKey> {
        let Some(unconfirmed) = &mut self.unconfirmed else {
            return Vec::new();
        };
        let count = unconfirmed.confirmed().take(CONFIRMED_AT_ONCE).count();
        let confirmed = unconfirmed.sent.drain(..count).map(|sent| sent.notification).collect();
        self.unconfirmed.take_if(|unconfirmed| unconfirmed.sent.is_empty());
        confirmed
    }

    /// Whether an earlier one about the same is kept, which must not be overtaken.
    pub(crate) fn keeps_earlier(&self, broadcast: &Replaceable) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.holds_earlier(broadcast))
    }

    /// Keeps a broadcast until the queue has room; says whether it was kept.
    pub(crate) fn keep(&mut self, broadcast: Replaceable) -> bool {
        self.kept.get_or_insert_default().keep(broadcast)
    }

    /// Forgets a kept ack, because a later one is told at once.
    pub(crate) fn drop_kept_ack(&mut self, room_id: &RoomId, user_id: &UserId) {
        if let Some(kept) = &mut self.kept {
            kept.drop_ack(room_id, user_id);
        }
        self.kept.take_if(|kept| kept.is_empty());
    }

    /// The next kept broadcast, if the queue has room again.
    pub(crate) fn take_kept(&mut self) -> Option<Replaceable> {
        if !self.is_below_low_water() {
            return None;
        }
        let next = self.kept.as_mut()?.take_first();
        self.kept.take_if(|kept| kept.is_empty());
        next
    }

    /// What is due; a ping counts as sent.
    pub(super) fn take_due(&mut self, now: MonoMicros) -> Due {
        if self.silent_at().is_some_and(|at| at <= now) {
            return Due::Silent;
        }
        if self.queue.stuck_at().is_some_and(|at| at <= now) {
            return Due::Stuck;
        }
        if now < self.next_ping {
            return Due::Nothing;
        }
        self.next_ping = now + PING_INTERVAL;
        self.unanswered_ping.get_or_insert(now);
        self.queue.pinged.get_or_insert(now);
        Due::Ping
    }

    /// When it will have been silent for too long, a ping included that it had time to answer.
    fn silent_at(&self) -> Option<MonoMicros> {
        let pinged = self.unanswered_ping?;
        Some((self.last_heard + SILENCE_MAX).max(pinged + PING_ANSWER_MAX))
    }

    pub(super) fn wake_at(&self) -> MonoMicros {
        let ends = [self.silent_at(), self.queue.stuck_at()];
        ends.into_iter().flatten().fold(self.next_ping, MonoMicros::min)
    }

    pub(super) fn ignores_its_ping(&self, now: MonoMicros) -> bool {
        self.unanswered_ping.is_some_and(|since| now - since >= PING_ANSWER_MAX)
    }
}
