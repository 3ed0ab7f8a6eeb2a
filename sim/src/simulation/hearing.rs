//! Who can hear of what, as far as the core can know by the inputs it was given: connections whose rooms were reported,
//! rooms that were reported as created, what was asked of the store for whom. Presence and typing are decided on this.

use std::collections::{BTreeMap, BTreeSet};

use chatapi_core::store::{CreatedRoom, StoreReply, StoreRequest, StoreResult};
use chatapi_core::ws::{Command, TypingAction};
use chatapi_core::{ConnId, Input, MonoMicros, NotificationKey, OpId, RoomId, UserId};

use super::Simulation;
use super::link::{Link, WAITING_BYTES_MAX, WAITING_FRAMES_MAX};
use super::presence::Presence;
use super::typing::Typings;
use crate::action::Peer;
use crate::invariant::Checked;

/// Everything that a process was told of who is there. It dies with the process.
#[derive(Debug, Default)]
pub(crate) struct Hearing {
    pub(super) users: BTreeMap<UserId, Known>,
    pub(super) typings: Typings,
    /// How many are in a room, as was reported last.
    sizes: BTreeMap<RoomId, usize>,
    asked: BTreeMap<OpId, AskedFor>,
    pub(super) of_input: OfInput,
}

/// What the effects of the input that is being handled tell.
#[derive(Debug, Default)]
pub(crate) struct OfInput {
    pub(super) accepted: Vec<ConnId>,
    pub(super) closed: Vec<ConnId>,
    /// The connection, the user, whether the user is online.
    pub(super) presence: Vec<(ConnId, UserId, bool)>,
    pub(super) typing: Vec<Typed>,
    /// The notification of which a step of its expansion is reported.
    pub(super) expanded: Option<NotificationKey>,
    /// Where a typing frame came from that the store must be asked about.
    pub(super) typed: Option<(ConnId, RoomId, TypingAction)>,
}

/// A typing told to a connection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Typed {
    pub(super) conn: ConnId,
    pub(super) room_id: RoomId,
    pub(super) user: UserId,
    pub(super) starts: bool,
}

/// A user who has a connection, or had one until a moment ago.
#[derive(Debug)]
pub(crate) struct Known {
    /// Each connection, and whether its rooms were reported.
    pub(super) conns: BTreeMap<ConnId, bool>,
    pub(super) rooms: BTreeSet<RoomId>,
    pub(super) presence: Presence,
}

/// For whom a step was asked of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
enum AskedFor {
    Backlog(ConnId),
    NewRoom,
    Typing(ConnId, RoomId, TypingAction),
    Expansion(NotificationKey),
}

/// What an input means for who hears of what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Happening {
    Typed(ConnId, RoomId, TypingAction),
    /// The rooms of a connection's user are known.
    Joined(ConnId, Vec<(RoomId, usize)>),
    Created(RoomId, Vec<UserId>),
    /// Somebody typed in a room that the store knows to open.
    TypedLater(ConnId, RoomId, TypingAction),
    Expanded(NotificationKey, Vec<UserId>),
    Ended(ConnId),
    Tick,
    Other,
}

/// How sure it is that something is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    /// It must not be.
    Never,
    /// The core may know by a way that is not followed here: something whose outcome was unknown.
    Perhaps,
    /// It must be.
    Surely,
}

impl Hearing {
    pub(super) fn has_joined(&self, user: &UserId) -> bool {
        self.users.get(user).is_some_and(|known| known.conns.values().any(|joined| *joined))
    }

    pub(super) fn knows_room(&self, user: &UserId, room_id: &RoomId) -> bool {
        self.users.get(user).is_some_and(|known| known.rooms.contains(room_id))
    }

    /// A step that was given up is asked for nobody any more; a room that it creates is told all the same.
    pub(super) fn give_up(&mut self, op: OpId) {
        self.asked.retain(|known, asked_for| *known != op || *asked_for == AskedFor::NewRoom);
    }
}

impl Simulation {
    /// Notes for whom a step is asked of the store.
    pub(super) fn note_asked(&mut self, op: OpId, request: &StoreRequest) {
        let of_input = &mut self.hearing.of_input;
        let asked_for = if matches!(request, StoreRequest::LoadBacklog { .. }) {
            of_input.accepted.last().map(|conn| AskedFor::Backlog(*conn))
        } else if matches!(request, StoreRequest::CreateRoom(_)) {
            Some(AskedFor::NewRoom)
        } else if matches!(request, StoreRequest::ReadRoom { .. }) {
            of_input.typed.take().map(|(conn, room_id, action)| AskedFor::Typing(conn, room_id, action))
        } else if let StoreRequest::ExpandNotification { notification, .. } = request {
            Some(AskedFor::Expansion(*notification))
        } else {
            None
        };
        if let Some(asked_for) = asked_for {
            self.hearing.asked.insert(op, asked_for);
        }
    }

    /// What an input means that the core is about to handle.
    pub(super) fn happening(&mut self, input: &Input) -> Happening {
        self.hearing.of_input = OfInput::default();
        match input {
            Input::Frame { conn, frame } => match &frame.command {
                Ok(Command::Typing { room_id, action }) if self.is_open(*conn) => {
                    self.hearing.of_input.typed = Some((*conn, room_id.clone(), *action));
                    Happening::Typed(*conn, room_id.clone(), *action)
                }
                Ok(_) | Err(_) => Happening::Other,
            },
            Input::Stored { op, result } => {
                let asked_for = self.hearing.asked.remove(op);
                self.reported(asked_for, result)
            }
            Input::Closed { conn, .. } => Happening::Ended(*conn),
            Input::Tick => Happening::Tick,
            Input::Request { .. }
            | Input::Handshake { .. }
            | Input::Heard { .. }
            | Input::Flushed { .. }
            | Input::Shutdown => Happening::Other,
        }
    }

    fn reported(&mut self, asked_for: Option<AskedFor>, result: &StoreResult) -> Happening {
        match (asked_for, result) {
            (Some(AskedFor::Backlog(conn)), Ok(StoreReply::Backlog(backlog))) if self.is_open(conn) => {
                let rooms = backlog.rooms.iter().map(|room| (room.room_id.clone(), room.members as usize));
                Happening::Joined(conn, rooms.collect())
            }
            (Some(AskedFor::NewRoom), Ok(StoreReply::RoomCreated(CreatedRoom::New(room)))) => {
                let members = self.model.room(&room.room_id).map(|room| room.members.keys().cloned().collect());
                Happening::Created(room.room_id.clone(), members.unwrap_or_default())
            }
            (Some(AskedFor::Typing(conn, room_id, action)), Ok(StoreReply::Room(Ok(_)))) if self.is_open(conn) => {
                Happening::TypedLater(conn, room_id, action)
            }
            (Some(AskedFor::Expansion(key)), Ok(StoreReply::Expanded(Some(expansion)))) => {
                self.hearing.of_input.expanded = Some(key);
                Happening::Expanded(key, expansion.users.clone())
            }
            _ => Happening::Other,
        }
    }

    pub(super) fn is_open(&self, conn: ConnId) -> bool {
        self.links.get(&conn).is_some_and(|link| link.closed.is_none())
    }

    /// Compares what the core told by an input with what it had to tell.
    pub(super) fn check_told(&mut self, happening: Happening) -> Checked {
        let now = self.now().mono;
        let of_input = std::mem::take(&mut self.hearing.of_input);
        let mut typings = Vec::new();
        let mut announced = Vec::new();
        match happening {
            Happening::Typed(conn, room_id, action) => {
                let is_refused = self.frame_refused || of_input.closed.contains(&conn);
                if !is_refused {
                    self.type_in(conn, &room_id, action, now, &mut typings);
                }
            }
            Happening::TypedLater(conn, room_id, action) => self.type_in(conn, &room_id, action, now, &mut typings),
            Happening::Joined(conn, rooms) => self.join(conn, rooms, &mut announced),
            Happening::Created(room_id, members) => self.learn_room(&room_id, &members),
            Happening::Expanded(key, users) => self.expect_notification(key, &users),
            Happening::Ended(conn) => self.leave(conn, now, &mut typings),
            Happening::Tick => {
                self.stop_long_typings(now, &mut typings);
                self.end_graces(now, &mut announced);
            }
            Happening::Other => {}
        }
        for conn in &of_input.closed {
            self.leave(*conn, now, &mut typings);
        }
        for conn in of_input.accepted {
            self.arrive(conn);
        }
        self.check_typings(of_input.typing, typings, &of_input.closed)?;
        self.check_announced(of_input.presence, &announced, &of_input.closed)
    }

    /// A connection is admitted.
    fn arrive(&mut self, conn: ConnId) {
        let Some(link) = self.links.get(&conn).filter(|link| link.closed.is_none()) else {
            return;
        };
        let known = self.hearing.users.entry(link.user.clone()).or_insert_with(|| Known {
            conns: BTreeMap::new(),
            rooms: BTreeSet::new(),
            presence: Presence::Unannounced,
        });
        known.conns.insert(conn, false);
        self.come_back(link.user.clone());
    }

    /// The rooms of a connection's user are known.
    fn join(&mut self, conn: ConnId, rooms: Vec<(RoomId, usize)>, announced: &mut Vec<(ConnId, UserId)>) {
        let Some(user) = self.links.get(&conn).map(|link| link.user.clone()) else {
            return;
        };
        let Some(known) = self.hearing.users.get_mut(&user) else {
            return;
        };
        known.conns.insert(conn, true);
        known.rooms = rooms.iter().map(|(room_id, _)| room_id.clone()).collect();
        self.hearing.sizes.extend(rooms);
        self.announce_online(&user, announced);
    }

    fn learn_room(&mut self, room_id: &RoomId, members: &[UserId]) {
        self.hearing.sizes.insert(room_id.clone(), members.len());
        for member in members {
            if let Some(known) = self.hearing.users.get_mut(member)
                && known.presence != Presence::Unannounced
            {
                known.rooms.insert(room_id.clone());
            }
        }
    }

    /// A connection has ended.
    fn leave(&mut self, conn: ConnId, now: MonoMicros, typings: &mut Vec<(Typed, Reach)>) {
        let found = self.hearing.users.iter_mut().find(|(_, known)| known.conns.contains_key(&conn));
        let Some((user, known)) = found else {
            return;
        };
        known.conns.remove(&conn);
        let (user, is_last) = (user.clone(), known.conns.is_empty());
        self.stop_typings_of(conn, &user, typings);
        if is_last {
            self.begin_grace(&user, now);
        }
    }

    /// How surely a room is not a large one.
    fn smallness(&self, room_id: &RoomId) -> Reach {
        let bound = self.setup.large_room_members as usize;
        let durable = self.model.room(room_id).map(|room| room.members.len() <= bound);
        let reported = self.hearing.sizes.get(room_id).map(|size| *size <= bound);
        match (durable, reported) {
            (Some(true), Some(true)) => Reach::Surely,
            (Some(false) | None, Some(false) | None) => Reach::Never,
            _ => Reach::Perhaps,
        }
    }

    /// Whether a room counts as a large one, however one looks at it.
    pub(super) fn is_surely_large(&self, room_id: &RoomId) -> bool {
        self.smallness(room_id) == Reach::Never
    }

    /// How surely what a user does in a room is told to another.
    fn reach_in(&self, user: &UserId, other: &UserId, room_id: &RoomId) -> Reach {
        let members = self.model.room(room_id).map(|room| &room.members);
        let may_know = |user: &UserId| {
            self.hearing.knows_room(user, room_id) || members.is_some_and(|members| members.contains_key(user))
        };
        if self.hearing.knows_room(user, room_id) && self.hearing.knows_room(other, room_id) {
            return self.smallness(room_id);
        }
        if may_know(user) && may_know(other) { self.smallness(room_id).min(Reach::Perhaps) } else { Reach::Never }
    }

    /// The connections of others that what a user does in a room is told to.
    pub(super) fn hearers_in(&self, user: &UserId, room_id: &RoomId) -> Vec<(ConnId, Reach)> {
        let others = self.hearing.users.iter().filter(|(other, _)| *other != user);
        others
            .flat_map(|(other, known)| {
                let reach = self.reach_in(user, other, room_id);
                let joined = known.conns.iter().filter(move |(_, joined)| **joined && reach > Reach::Never);
                joined.map(move |(conn, _)| (*conn, reach))
            })
            .collect()
    }

    /// The connections of others that whether a user is online is told to.
    pub(super) fn hearers_of(&self, user: &UserId) -> BTreeMap<ConnId, Reach> {
        let mut rooms: BTreeSet<&RoomId> = self.model.rooms_of(user).map(|(room_id, _)| room_id).collect();
        rooms.extend(self.hearing.users.get(user).into_iter().flat_map(|known| &known.rooms));
        let mut hearers: BTreeMap<ConnId, Reach> = BTreeMap::new();
        for room_id in rooms {
            for (conn, reach) in self.hearers_in(user, room_id) {
                let known = hearers.entry(conn).or_insert(reach);
                *known = reach.max(*known);
            }
        }
        hearers
    }

    /// Whether a connection takes everything at once, so that nothing is kept or dropped for it.
    pub(super) fn is_quick(&self, conn: ConnId) -> bool {
        self.links.get(&conn).is_some_and(is_quick)
    }
}

fn is_quick(link: &Link) -> bool {
    let (size_bytes, frames) = link.most_counted;
    link.peer == Peer::Reads
        && !link.was_stalled
        && link.closed.is_none()
        && size_bytes < WAITING_BYTES_MAX / 2
        && frames < WAITING_FRAMES_MAX / 2
}
