//! Notifications: asked for, told, and confirmed by connections that were heard of after they were written to.

use std::collections::{BTreeMap, BTreeSet};

use chatapi_core::store::{NewNotification, NotificationTargets};
use chatapi_core::{ConnId, NotificationKey, RoomId, UserId};

use super::frames::{Seen, must_hear};
use super::link::Link;
use super::requests::Asked;
use super::{Simulation, user_id};
use crate::action::{Notify, Targets, Who};
use crate::invariant::{Checked, ensure};
use crate::probe::Probe;

/// What a connection was sent of notifications.
#[derive(Debug, Default)]
pub(crate) struct SentNotifications {
    /// Each, by its key.
    frames: BTreeMap<NotificationKey, SentNotification>,
    /// Those that the core knew to be expanded to its user.
    known: BTreeSet<NotificationKey>,
    /// What it must have got once nothing is under way.
    owed: BTreeSet<NotificationKey>,
}

/// A notification that was sent.
#[derive(Debug, Clone, Copy)]
struct SentNotification {
    /// Of its frame among all of the connection.
    number: u64,
    /// A page showed it before the core knew that it is expanded: it may come again.
    is_early: bool,
}

/// What is wanted of a `POST /notify`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Announcement {
    topic: String,
    payload: String,
    /// `None` for everyone who is online.
    targets: Option<NotificationTargets>,
}

impl Announcement {
    pub(super) fn room(&self) -> Option<&RoomId> {
        self.targets.as_ref().and_then(|targets| targets.room_id.as_ref())
    }
}

impl Simulation {
    pub(super) fn ask_notify(&mut self, who: Who, notify: &Notify) -> Checked {
        let users = |numbers: &[u8]| -> Vec<UserId> {
            let mut users: Vec<UserId> =
                numbers.iter().map(|user| user_id(self.existing(Who { user: *user, ..who }))).collect();
            users.sort();
            users.dedup();
            users
        };
        let targets = match &notify.targets {
            Targets::Online => None,
            Targets::Nobody => Some(NotificationTargets::default()),
            Targets::Users(numbers) => {
                Some(NotificationTargets { user_ids: users(numbers), ..NotificationTargets::default() })
            }
            Targets::Crowd(numbers) => {
                let crowd = ["a", "z"].into_iter().flat_map(|name| (0..150).map(move |number| (name, number)));
                let crowd = crowd.map(|(name, number)| UserId::new(&format!("<t{}>{name}{number:03}", who.tenant)));
                let mut user_ids: Vec<UserId> = crowd.chain(users(numbers)).collect();
                user_ids.sort();
                Some(NotificationTargets { user_ids, ..NotificationTargets::default() })
            }
            Targets::Room(room) => {
                let room_id = Some(self.pick_room(who, *room));
                Some(NotificationTargets { room_id, ..NotificationTargets::default() })
            }
            Targets::Subscribers => {
                Some(NotificationTargets { topic_subscribers: true, ..NotificationTargets::default() })
            }
            Targets::All(numbers, room) => {
                let (user_ids, room_id) = (users(numbers), Some(self.pick_room(who, *room)));
                Some(NotificationTargets { user_ids, room_id, topic_subscribers: true })
            }
        };
        self.messages_written += 1;
        let topic = format!("<t{}> topic {}", who.tenant, notify.topic);
        let payload = format!(r#"{{ "of": "<t{}>", "number": {} }}"#, who.tenant, self.messages_written);
        let wire = targets.as_ref().map(|targets| {
            serde_json::json!({
                "user_ids": targets.user_ids.iter().map(UserId::as_str).collect::<Vec<_>>(),
                "room_id": targets.room_id.as_ref().map(RoomId::as_str),
                "topic_subscribers": targets.topic_subscribers,
            })
        });
        let wire = serde_json::Value::from(wire);
        let body = format!(r#"{{"topic":"{topic}","payload":{payload},"targets":{wire}}}"#);
        let asked =
            Asked::Notify { announcement: Announcement { topic, payload, targets }, by_tenant: notify.by_tenant };
        self.ask_for(who, notify.by_tenant, asked, ("POST", "/notify"), body.as_bytes())
    }

    /// What is to be stored is what somebody asked for.
    pub(super) fn check_notify(&self, new: &NewNotification) -> Checked {
        let tenant = self.model.tenant_number(new.tenant);
        let of_tenant = self.requests.values().filter(|other| other.who.map(|who| who.tenant) == tenant);
        let mut announced = of_tenant.filter_map(|other| {
            if let Asked::Notify { announcement, .. } = &other.asked { Some(announcement) } else { None }
        });
        let asked = announced.find(|asked| asked.topic == new.topic && asked.payload == new.payload);
        let Some(asked) = asked else {
            ensure!(false, Notifications, "nobody asked for {new:?}");
            return Ok(());
        };
        let fits = match &asked.targets {
            Some(targets) => *targets == new.targets,
            None => self.is_everyone_online(tenant, &new.targets),
        };
        ensure!(fits, Notifications, "{new:?} is to be stored for {asked:?}");
        let is_durable = tenant.is_none_or(|tenant| self.setup.keeps_notifications(tenant));
        ensure!(
            new.durable == is_durable && new.created_at == self.now().wall,
            Notifications,
            "{new:?} is to be stored by a tenant whose notifications wait: {is_durable}"
        );
        Ok(())
    }

    /// Those who came in this very input may be in it or not.
    fn is_everyone_online(&self, tenant: Option<u8>, targets: &NotificationTargets) -> bool {
        let mark = format!("<t{}>", tenant.unwrap_or(u8::MAX));
        let online: BTreeSet<&UserId> =
            self.hearing.users.keys().filter(|user| user.as_str().starts_with(&mark)).collect();
        let coming = self.hearing.of_input.accepted.iter().filter_map(|conn| Some(&self.links.get(conn)?.user));
        let most: BTreeSet<&UserId> = coming.chain(online.iter().copied()).collect();
        let told: BTreeSet<&UserId> = targets.user_ids.iter().collect();
        targets.room_id.is_none()
            && !targets.topic_subscribers
            && online.is_subset(&told)
            && told.iter().all(|user| most.contains(user))
    }

    /// Who is named by a step of an expansion gets it.
    pub(super) fn expect_notification(&mut self, key: NotificationKey, users: &[UserId]) {
        for user in users {
            let conns = self.hearing.users.get(user).map(|known| known.conns.keys().copied().collect());
            let conns: Vec<ConnId> = conns.unwrap_or_default();
            for conn in conns {
                if let Some(link) = self.links.get_mut(&conn) {
                    link.sent.notifications.owed.insert(key);
                    link.sent.notifications.known.insert(key);
                }
            }
        }
    }

    /// A notification that is told is durable, is what it was, and is told to a target of it, once on a connection.
    pub(super) fn check_notification_frame(&mut self, conn: ConnId, seen: &Seen<'_>) -> Checked {
        let id = seen.notification_id.as_deref().unwrap_or_default();
        let Some((key, known)) = self.model.notification(id) else {
            ensure!(false, Notifications, "{conn:?} is told of {id}, which is not durable");
            return Ok(());
        };
        let is_same = seen.topic.as_deref() == Some(known.topic.as_str())
            && seen.payload.as_deref() == Some(known.payload.as_str())
            && seen.timestamp == Some(known.created_at_ms.div_euclid(1_000));
        ensure!(is_same, Notifications, "{conn:?} is told {seen:?}, it is {known:?}");
        let link = self.links.get(&conn);
        let is_target = link.is_some_and(|link| known.tenant == link.who.tenant && known.named.contains(&link.user));
        ensure!(is_target, Notifications, "{conn:?} of {:?} is told of {known:?}", link.map(|link| &link.user));
        if known.incarnation < self.incarnation {
            self.probes.hit(Probe::NotificationAcrossCrash);
        }
        let is_expanded = self.hearing.of_input.expanded == Some(key);
        let link = self.open_link_of(conn)?;
        let is_early = !is_expanded && !link.sent.notifications.known.contains(&key);
        let sent = SentNotification { number: link.frames_queued, is_early };
        let earlier = link.sent.notifications.frames.insert(key, sent);
        ensure!(
            earlier.is_none_or(|earlier| earlier.is_early),
            Notifications,
            "{conn:?} of {} is told of {id} again",
            link.user
        );
        Ok(())
    }

    /// A notification is given up for a user only after a connection that it was written to was heard of.
    pub(super) fn check_confirm(&self, user: &UserId, keys: &[NotificationKey]) -> Checked {
        let own: Vec<&Link> = self.links.values().filter(|link| link.user == *user).collect();
        for key in keys {
            let reached = own.iter().any(|link| {
                link.sent.notifications.frames.get(key).is_some_and(|sent| sent.number <= link.frames_heard_past)
            });
            ensure!(reached, Notifications, "{key:?} counts as heard by {user}, who was not heard of after it");
        }
        Ok(())
    }

    /// With nothing under way, whoever reads has got what it had to, and what waits for its user.
    pub(super) fn check_notifications_told(&self, link: &Link) -> Checked {
        let SentNotifications { frames, owed, .. } = &link.sent.notifications;
        let pending = self.model.pending_of(&link.user);
        // Where a connection was still to read what waits, another of the user's may have had it meanwhile.
        let owed = owed.iter().copied().filter(|key| !self.model.has_reached(*key, &link.user));
        let missing = pending.chain(owed).find(|key| !frames.contains_key(key));
        ensure!(
            missing.is_none(),
            Notifications,
            "{:?} of {} reads, and was not told of {missing:?}, with nothing under way",
            link.conn,
            link.user
        );
        Ok(())
    }

    /// Everyone came back and was heard of: nothing waits any more.
    pub(super) fn check_nothing_pending(&self) -> Checked {
        for link in self.links.values().filter(|link| must_hear(link)) {
            let pending: Vec<NotificationKey> = self.model.pending_of(&link.user).collect();
            ensure!(pending.is_empty(), Notifications, "in peace {pending:?} still wait for {}", link.user);
        }
        let unexpanded = self.model.unexpanded();
        ensure!(unexpanded.is_none(), Notifications, "in peace {unexpanded:?} is not expanded to its end");
        Ok(())
    }
}
