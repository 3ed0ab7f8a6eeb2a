//! What clients ask to be sent again: `subscribe` and `resume`, served one after another behind the backlog.

use std::collections::BTreeMap;

use chatapi_core::{ConnId, RoomId};

use super::Simulation;
use super::frames::Seen;
use super::link::{Link, Owed};
use crate::action::{Pick, Position, RoomPick, Who};
use crate::invariant::{Checked, ensure};
use crate::probe::Probe;

/// How many may wait for a connection beside the one that is served (protocol, section 7).
const WAITING_MAX: usize = 100;

/// A `subscribe` or `resume` that is not answered yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sync {
    pub(super) request_id: String,
    /// Of a `subscribe`, its room.
    pub(super) room: Option<RoomId>,
    rooms: BTreeMap<RoomId, SyncRoom>,
}

/// A room of one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SyncRoom {
    /// `None`: from the user's ack on.
    after: Option<u64>,
    acked_then: u64,
    head_then: u64,
    begun: Begun,
}

/// Whether the room is being sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begun {
    No,
    /// The first message came in its turn anyway: it may be the one, or be sent again.
    Perhaps,
    /// From past this one on.
    After(u64),
}

impl SyncRoom {
    fn may_begin_with(&self, seq: u64, acked: u64) -> bool {
        let starts = match self.after {
            Some(after) => after..=after,
            None => self.acked_then..=acked,
        };
        starts.contains(&(seq - 1))
    }
}

impl Link {
    /// Whether what the client asked for is being served, and not the backlog of the connect.
    fn serves_syncs(&self) -> bool {
        self.sent.synced || !self.wants_backlog
    }

    /// Whether a message begins a room anew, because it was asked for from there.
    pub(super) fn begins_anew(&mut self, room_id: &RoomId, seq: u64, acked: u64) -> bool {
        let last = self.sent.positions.get(room_id).copied();
        let is_next = last.is_some_and(|last| seq == last + 1);
        if !self.serves_syncs() {
            return false;
        }
        let room = self.sent.syncs.front_mut().and_then(|sync| sync.rooms.get_mut(room_id));
        let Some(room) = room.filter(|room| !matches!(room.begun, Begun::After(_))) else {
            return false;
        };
        if !room.may_begin_with(seq, acked) {
            return false;
        }
        room.begun = if is_next || last.is_none() { Begun::Perhaps } else { Begun::After(seq - 1) };
        !is_next
    }
}

impl Simulation {
    /// The text of a `subscribe`, and what it is to be answered with.
    pub(super) fn subscribe_frame(
        &mut self,
        (conn, who): (ConnId, Who),
        request_id: &str,
        room: RoomPick,
        position: Option<Position>,
    ) -> (String, Owed) {
        let room_id = self.pick_room(who, room);
        let after = position.map(|position| self.position(&room_id, position));
        let after_seq = after.map_or(String::new(), |after| format!(r#","after_seq":{after}"#));
        let text = format!(r#"{{"type":"subscribe","room_id":"{room_id}"{after_seq},"request_id":"{request_id}"}}"#);
        self.ask_again(conn, who, request_id, Some(room_id.clone()), BTreeMap::from([(room_id, after)]));
        (text, Owed::Sync)
    }

    /// The text of a `resume` of so many rooms, and what it is to be answered with.
    pub(super) fn resume_frame(
        &mut self,
        (conn, who): (ConnId, Who),
        request_id: &str,
        (room, others): (RoomPick, u8),
        position: Position,
    ) -> (String, Owed) {
        let mut rooms = BTreeMap::new();
        let picks = (0..u16::from(others)).map(|other| RoomPick::Own(other as Pick));
        for pick in std::iter::once(room).chain(picks) {
            let room_id = self.pick_room(who, pick);
            let after = self.position(&room_id, position);
            rooms.insert(room_id, Some(after));
        }
        let positions: BTreeMap<&str, Option<u64>> =
            rooms.iter().map(|(room_id, after)| (room_id.as_str(), *after)).collect();
        let text = serde_json::json!({"type": "resume", "request_id": request_id, "data": {"rooms": positions}});
        self.ask_again(conn, who, request_id, None, rooms);
        (text.to_string(), Owed::Sync)
    }

    fn ask_again(
        &mut self,
        conn: ConnId,
        who: Who,
        request_id: &str,
        room: Option<RoomId>,
        rooms: BTreeMap<RoomId, Option<u64>>,
    ) {
        let user = super::user_id(who);
        let rooms = rooms.into_iter().map(|(room_id, after)| {
            let known = self.model.room(&room_id);
            let acked_then = known.map_or(0, |room| room.last_ack(&user));
            let head_then = known.map_or(0, |room| room.head());
            (room_id, SyncRoom { after, acked_then, head_then, begun: Begun::No })
        });
        let sync = Sync { request_id: request_id.to_owned(), room, rooms: rooms.collect() };
        if let Some(link) = self.links.get_mut(&conn) {
            if link.wants_backlog && !link.sent.synced {
                self.probes.hit(Probe::SubscribeDuringBacklog);
            }
            link.sent.syncs.push_back(sync);
        }
    }

    /// Whether so many wait already that one more is refused.
    pub(super) fn has_many_syncs(&self, conn: ConnId, request_id: &str) -> bool {
        let syncs = self.links.get(&conn).map(|link| &link.sent.syncs);
        syncs.is_some_and(|syncs| syncs.iter().position(|sync| sync.request_id == request_id) >= Some(WAITING_MAX))
    }

    /// A sync of the client's own is over: all of it was sent.
    pub(super) fn check_sync_again(&mut self, conn: ConnId, request_id: &str, seen: &Seen<'_>) -> Checked {
        let (incarnation, heads_at_crash) = (self.incarnation, &self.heads_at_crash);
        let Some(link) = self.links.get_mut(&conn) else {
            return Ok(());
        };
        let is_turn = link.serves_syncs() && link.sent.syncs.front().is_some_and(|sync| sync.request_id == request_id);
        let Some(sync) = link.sent.syncs.pop_front().filter(|_| is_turn) else {
            ensure!(false, OrderOnConnection, "{conn:?} is told the end of {request_id} out of its turn");
            return Ok(());
        };
        let (mut least, mut most, mut begun) = (0, 0, 0);
        for (room_id, room) in &sync.rooms {
            let Some(known) = self.model.room(room_id).filter(|known| known.members.contains_key(&link.user)) else {
                continue;
            };
            let (head, acked) = (known.head(), known.last_ack(&link.user));
            let (last_least, last_most) = match seen.last_seq {
                Some(last) => (last, last),
                None => (room.head_then, head),
            };
            ensure!(
                room.head_then <= last_least && last_most <= head,
                DurableFirst,
                "{conn:?} is told that {room_id} had {:?}, it has {head} and had {}",
                seen.last_seq,
                room.head_then
            );
            let (after_least, after_most) = match (room.begun, room.after) {
                (Begun::After(after), _) | (Begun::No | Begun::Perhaps, Some(after)) => (after, after),
                (Begun::No | Begun::Perhaps, None) => (room.acked_then, acked),
            };
            // In a room whose creation was in doubt the connection may not be heard of yet.
            let is_known = self.hearing.users.get(&link.user).is_some_and(|user| user.rooms.contains(room_id));
            let owed = if is_known { last_least.saturating_sub(after_most) } else { 0 };
            least += owed;
            most += last_most.saturating_sub(after_least);
            begun += u64::from(room.begun != Begun::No);
            let position = link.sent.positions.get(room_id).copied().unwrap_or(0);
            ensure!(
                owed == 0 || (room.begun != Begun::No && position >= last_least),
                OrderOnConnection,
                "{conn:?} asked for {room_id} from {:?} on ({:?}), was sent up to {position}, and is told {seen:?}",
                room.after,
                room.begun
            );
            if owed > 0 && incarnation > 1 && heads_at_crash.get(room_id).is_some_and(|head| *head > after_most) {
                self.probes.hit(Probe::ResumedAcrossCrash);
            }
        }
        let (rooms, messages) = (seen.rooms.unwrap_or(u64::MAX), seen.messages.unwrap_or(u64::MAX));
        ensure!(
            (least..=most).contains(&messages)
                && rooms <= begun
                && (rooms > 0) == (messages > 0)
                && seen.truncated.as_ref().is_some_and(|truncated| truncated.is_empty()),
            OrderOnConnection,
            "{conn:?} is told of {messages} messages in {rooms} rooms for {sync:?}, it is {least} to {most} in {begun}"
        );
        ensure!(
            seen.room_id.as_deref() == sync.room.as_ref().map(RoomId::as_str)
                && seen.last_seq.is_some() == sync.room.is_some(),
            OneAnswer,
            "{conn:?} asked for {sync:?} and is told {seen:?}"
        );
        Ok(())
    }

    /// A sync is refused for a reason, in its turn unless too many wait.
    pub(super) fn check_sync_refusal(&mut self, conn: ConnId, request_id: &str, code: &str) -> Checked {
        let Some(link) = self.links.get_mut(&conn) else {
            return Ok(());
        };
        let place = link.sent.syncs.iter().position(|sync| sync.request_id == request_id);
        let serves = link.serves_syncs();
        let Some((place, sync)) = place.and_then(|place| Some((place, link.sent.syncs.remove(place)?))) else {
            return Ok(());
        };
        if code == "RATE_LIMIT_EXCEEDED" {
            return Ok(());
        }
        ensure!(
            place == 0 && serves,
            OrderOnConnection,
            "{conn:?} is refused {request_id} out of its turn, with {code}"
        );
        let own = |room_id: &RoomId| self.model.room(room_id).filter(|room| room.tenant == link.who.tenant);
        let mut rooms = sync.rooms.iter();
        let has_reason = match code {
            "NOT_FOUND" => rooms.any(|(room_id, _)| own(room_id).is_none()),
            "AUTHORIZATION_ERROR" => {
                rooms.any(|(room_id, _)| own(room_id).is_some_and(|room| !room.members.contains_key(&link.user)))
            }
            "VALIDATION_ERROR" => rooms.any(|(_, room)| room.after.is_some_and(|after| after > room.head_then)),
            "UNAVAILABLE" => true,
            _ => false,
        };
        ensure!(has_reason, OrderOnConnection, "{conn:?} is refused {sync:?} with {code}");
        Ok(())
    }
}
