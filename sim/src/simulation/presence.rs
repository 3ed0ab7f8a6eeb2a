//! Who is online: told once to whoever shares a room with the user, when the user's first connection has learned its
//! rooms, and five seconds after the last one closed.

use chatapi_core::{ConnId, Micros, MonoMicros, UserId};

use super::Simulation;
use super::frames::must_hear;
use super::hearing::Reach;
use crate::invariant::{Checked, ensure};
use crate::probe::Probe;

/// A user is offline so long after the last connection closed (protocol, section 7).
const GRACE: Micros = Micros::from_secs(5);

/// What others were to be told of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    Unannounced,
    Online,
    /// Nobody is connected; it ends then.
    Leaving(MonoMicros),
}

/// What a connection was told, and is to be told, of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Heard {
    told: Option<bool>,
    due: Option<(bool, Reach)>,
}

impl Simulation {
    pub(super) fn come_back(&mut self, user: UserId) {
        if let Some(known) = self.hearing.users.get_mut(&user)
            && matches!(known.presence, Presence::Leaving(_))
        {
            known.presence = Presence::Online;
            self.probes.hit(Probe::GraceCancelled);
        }
    }

    pub(super) fn begin_grace(&mut self, user: &UserId, now: MonoMicros) {
        let Some(known) = self.hearing.users.get_mut(user) else {
            return;
        };
        match known.presence {
            Presence::Unannounced => {
                self.hearing.users.remove(user);
            }
            Presence::Online | Presence::Leaving(_) => known.presence = Presence::Leaving(now + GRACE),
        }
    }

    pub(super) fn announce_online(&mut self, user: &UserId, announced: &mut Vec<(ConnId, UserId)>) {
        let Some(known) = self.hearing.users.get_mut(user) else {
            return;
        };
        if known.presence == Presence::Unannounced {
            known.presence = Presence::Online;
            self.announce(user, true, announced);
        }
    }

    pub(super) fn end_graces(&mut self, now: MonoMicros, announced: &mut Vec<(ConnId, UserId)>) {
        let over = self.hearing.users.iter().filter(|(_, known)| match known.presence {
            Presence::Leaving(until) => until <= now,
            Presence::Unannounced | Presence::Online => false,
        });
        let over: Vec<UserId> = over.map(|(user, _)| user.clone()).collect();
        for user in over {
            self.announce(&user, false, announced);
            self.hearing.users.remove(&user);
        }
    }

    fn announce(&mut self, user: &UserId, is_online: bool, announced: &mut Vec<(ConnId, UserId)>) {
        for (conn, reach) in self.hearers_of(user) {
            if let Some(link) = self.links.get_mut(&conn) {
                link.sent.presence.entry(user.clone()).or_default().due = Some((is_online, reach));
                announced.push((conn, user.clone()));
            }
        }
    }

    /// Whoever was told had to be, once; whoever reads was told.
    pub(super) fn check_announced(
        &mut self,
        told: Vec<(ConnId, UserId, bool)>,
        announced: &[(ConnId, UserId)],
        closed: &[ConnId],
    ) -> Checked {
        for (conn, user, is_online) in told {
            let Some(link) = self.links.get_mut(&conn) else {
                continue;
            };
            let heard = link.sent.presence.entry(user.clone()).or_default();
            let is_due = heard.due.is_some_and(|(due, _)| due == is_online);
            ensure!(
                is_due,
                Presence,
                "{conn:?} of {} is told that {user} is online: {is_online}, it is to be told {heard:?}",
                link.user
            );
            *heard = Heard { told: Some(is_online), due: None };
            if link.was_stalled && !announced.contains(&(conn, user)) {
                self.probes.hit(Probe::PresenceKept);
            }
        }
        for (conn, user) in announced.iter().filter(|(conn, _)| self.is_quick(*conn) && !closed.contains(conn)) {
            let heard = self.links.get(conn).and_then(|link| link.sent.presence.get(user));
            ensure!(
                !matches!(heard, Some(Heard { due: Some((_, Reach::Surely)), .. })),
                Presence,
                "{conn:?} was not told of {user} at once: {heard:?}"
            );
        }
        Ok(())
    }

    /// At peace what each reader was told last is what is.
    pub(super) fn check_presence_at_peace(&self) -> Checked {
        for link in self.links.values().filter(|link| must_hear(link)) {
            for (user, heard) in &link.sent.presence {
                ensure!(
                    !matches!(heard.due, Some((_, Reach::Surely))),
                    Presence,
                    "{:?} of {} was never told of {user}: {heard:?}",
                    link.conn,
                    link.user
                );
                let is_online = self.hearing.users.contains_key(user);
                let (is_sure, told) = (self.hearers_of(user).get(&link.conn) == Some(&Reach::Surely), heard.told);
                ensure!(
                    !is_sure || told.is_none_or(|told| told == is_online),
                    Presence,
                    "{:?} of {} was told last of {user}: {told:?}, online: {is_online}",
                    link.conn,
                    link.user
                );
            }
        }
        Ok(())
    }

    /// Whether a user is online, as whoever asks is told.
    pub(super) fn is_online(&self, user: &UserId) -> bool {
        self.hearing.users.contains_key(user)
    }
}
