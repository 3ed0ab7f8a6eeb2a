//! What comes and goes while the writer remembers rooms and members, across rollbacks and restarts.

use chatapi_core::model::Role;
use chatapi_core::store::{
    AccessRefusal, Actor, AppendRefusal, Expansion, NewMember, NewNotification, NotificationTargets,
    PENDING_NOTIFICATIONS_MAX, PendingNotifications, StoreFailure, StoreReply, StoreRequest, StoreResult,
};
use chatapi_core::{NotificationId, NotificationKey, RoomId, TenantId, TenantKey, UnixMillis, UserId};
use rusqlite::Connection;

use super::writing::{Bench, append, append_from, numbers, read_head, room};
use crate::Readers;

const NO_ROOM: AppendRefusal = AppendRefusal::Access(AccessRefusal::NoRoom);
const NOT_MEMBER: AppendRefusal = AppendRefusal::Access(AccessRefusal::NotMember);

#[test]
fn whoever_is_removed_sends_nothing_any_more_and_whoever_joins_does_at_once() {
    let mut bench = Bench::new();
    let replies =
        bench.run(vec![append_from("bob", 1), remove("bob"), append_from("bob", 2), add("bob"), append_from("bob", 3)]);
    let seqs: Vec<_> = replies.iter().filter_map(appended).collect();
    assert_eq!(seqs, [Ok(1), Err(NOT_MEMBER), Ok(2)]);
    let StoreReply::MemberAdded(Ok(joined)) = replies[3].clone().unwrap() else { panic!("{replies:?}") };
    assert_eq!((joined.last_seq.0, joined.members), (1, 2));
    assert_eq!(bench.stored(), 2);
}

#[test]
fn a_deleted_room_or_tenant_takes_nothing_from_that_very_step_on() {
    let mut bench = Bench::new();
    let replies = bench.run(vec![append(1), delete_room(), append(2), read_head()]);
    assert_eq!(replies.iter().filter_map(appended).collect::<Vec<_>>(), [Ok(1), Err(NO_ROOM)]);
    assert_eq!(replies[3], Ok(StoreReply::Head(None)));

    let mut bench = Bench::new();
    let replies = bench.run(vec![append(1), delete_tenant(), append(2), room("room_2")]);
    assert_eq!(replies.iter().filter_map(appended).collect::<Vec<_>>(), [Ok(1), Err(NO_ROOM)]);
    assert_eq!(replies[3], Ok(StoreReply::RoomCreated(chatapi_core::store::CreatedRoom::NoTenant)));
}

#[test]
fn heads_that_are_owed_to_the_table_are_paid_before_a_room_is_forgotten() {
    let mut bench = Bench::new();
    let replies = bench.run(vec![append(1), append(2), remove("bob"), append(3), read_head()]);
    assert_eq!(replies.iter().filter_map(appended).collect::<Vec<_>>(), [Ok(1), Ok(2), Ok(3)]);
    assert_eq!(numbers(&replies[4..]), [Ok(3)]);
    assert_eq!(bench.reopen().stored(), 3);
}

#[test]
fn steps_beside_one_that_fails_are_kept_as_if_it_had_never_been() {
    let mut bench = Bench::new();
    let replies = bench.run(vec![
        append(1),
        remove("bob"),
        notify(1, users(&["alice"])),
        // The id exists: all is rolled back and run again, each step in a savepoint.
        notify(1, users(&["carol"])),
        append_from("bob", 2),
        notify(2, users(&["bob"])),
        subscribe("alice"),
        append(3),
    ]);
    assert_eq!(replies.iter().filter_map(appended).collect::<Vec<_>>(), [Ok(1), Err(NOT_MEMBER), Ok(2)]);
    assert_eq!(replies[3], Err(StoreFailure::Failed));
    let keys: Vec<_> = replies.iter().filter_map(notified).collect();
    assert_eq!(keys, [NotificationKey(1), NotificationKey(2)]);
    assert_eq!(count(&bench, "notification_expansions"), 2);
    assert_eq!(bench.stored(), 2);
}

#[test]
fn an_expansion_goes_on_where_it_stopped_after_a_restart() {
    let mut bench = Bench::new();
    let targets = NotificationTargets {
        user_ids: vec![UserId::new("aaron"), UserId::new("bob"), UserId::new("zoe")],
        room_id: Some(RoomId::new("room_1")),
        topic_subscribers: true,
    };
    bench.run(vec![subscribe("alice"), subscribe("mallory"), subscribe("yves"), notify(1, targets)]);
    let first = expand(&mut bench, 1, 2).unwrap();
    assert_eq!((names(&first), first.has_more), (vec!["aaron", "alice"], true));
    let mut bench = bench.reopen();
    assert_eq!(expansions(&mut bench), [NotificationKey(1)]);
    let second = expand(&mut bench, 1, 3).unwrap();
    assert_eq!((names(&second), second.has_more), (vec!["bob", "mallory", "yves"], true));
    let last = expand(&mut bench, 1, 3).unwrap();
    assert_eq!((names(&last), last.has_more), (vec!["zoe"], false));
    assert_eq!(last.frame, first.frame);
    assert_eq!(expand(&mut bench, 1, 3), None);
    assert_eq!(expansions(&mut bench), []);
    let targets: Option<String> = Connection::open(&bench.path)
        .unwrap()
        .query_row("SELECT targets FROM notifications", [], |row| row.get(0))
        .unwrap();
    assert_eq!(targets, None, "whom it was for is kept no longer than needed");
}

#[test]
fn a_notification_goes_with_the_last_one_who_confirms_it() {
    let mut bench = Bench::new();
    bench.run(vec![notify(1, users(&["alice", "bob"]))]);
    expand(&mut bench, 1, 10).unwrap();
    for (user, left) in [("alice", 1), ("mallory", 1), ("bob", 0)] {
        bench.run(vec![confirm(user, &[1, 77])]);
        assert_eq!(count(&bench, "notifications"), left, "{user}");
    }
}

#[test]
fn the_newest_id_stays_known_when_its_row_is_gone() {
    let mut bench = Bench::new();
    bench.run(vec![notify(500, users(&["alice"]))]);
    let newest = |bench: &mut Bench| match bench.run(vec![StoreRequest::Boot]).remove(0) {
        Ok(StoreReply::Booted { newest_id, .. }) => newest_id,
        other => panic!("{other:?}"),
    };
    let before = newest(&mut bench);
    expand(&mut bench, 1, 10).unwrap();
    bench.run(vec![confirm("alice", &[1])]);
    assert_eq!(count(&bench, "notifications"), 0);
    let mut bench = bench.reopen();
    assert_eq!(newest(&mut bench), before);
}

#[test]
fn beyond_the_most_that_wait_for_a_user_the_oldest_go_with_what_nobody_else_waits_for() {
    let mut bench = Bench::new();
    let most = u64::from(PENDING_NOTIFICATIONS_MAX);
    let requests = (1..=most + 3).flat_map(|number| {
        // The second waits for somebody else too.
        let targets = if number == 2 { users(&["alice", "bob"]) } else { users(&["alice"]) };
        [notify(number, targets), expansion(number as i64, 10)]
    });
    bench.run(requests.collect());
    assert_eq!(count(&bench, "notification_targets"), most as i64 + 1);
    assert_eq!(count(&bench, "notifications"), most as i64 + 1);
    let readers = Readers::open(&bench.store, 1).unwrap();
    let StoreReply::Notifications(page) = readers
        .read(&StoreRequest::ReadNotifications(PendingNotifications {
            tenant: TenantKey(1),
            user_id: UserId::new("alice"),
            after: NotificationKey(0),
            since: UnixMillis(0),
            limit: 1,
            size_bytes: 1_000,
        }))
        .unwrap()
    else {
        panic!("no page")
    };
    assert_eq!((page.notifications[0].0, page.has_more), (NotificationKey(4), true));
}

fn appended(result: &StoreResult) -> Option<Result<u64, AppendRefusal>> {
    match result {
        Ok(StoreReply::Appended(outcome)) => Some(outcome.as_ref().map(|stored| stored.message.seq.0).map_err(|e| *e)),
        _ => None,
    }
}

fn notified(result: &StoreResult) -> Option<NotificationKey> {
    match result {
        Ok(StoreReply::Notified(key)) => key.ok(),
        _ => None,
    }
}

fn count(bench: &Bench, table: &str) -> i64 {
    let connection = Connection::open(&bench.path).unwrap();
    connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

fn expansions(bench: &mut Bench) -> Vec<NotificationKey> {
    match bench.run(vec![StoreRequest::ListExpansions]).remove(0) {
        Ok(StoreReply::Expansions(keys)) => keys,
        other => panic!("{other:?}"),
    }
}

fn expand(bench: &mut Bench, key: i64, limit: u32) -> Option<Expansion> {
    match bench.run(vec![expansion(key, limit)]).remove(0) {
        Ok(StoreReply::Expanded(expansion)) => expansion,
        other => panic!("{other:?}"),
    }
}

fn expansion(key: i64, limit: u32) -> StoreRequest {
    StoreRequest::ExpandNotification { notification: NotificationKey(key), limit }
}

fn names(expansion: &Expansion) -> Vec<&str> {
    expansion.users.iter().map(UserId::as_str).collect()
}

fn users(names: &[&str]) -> NotificationTargets {
    NotificationTargets { user_ids: names.iter().map(|name| UserId::new(name)).collect(), ..Default::default() }
}

pub(super) fn notify(number: u64, targets: NotificationTargets) -> StoreRequest {
    StoreRequest::Notify(Box::new(NewNotification {
        tenant: TenantKey(1),
        notification_id: NotificationId::new(&format!("notif_{number:016}")),
        topic: "topic".to_owned(),
        payload: "{}".to_owned(),
        targets,
        durable: true,
        created_at: UnixMillis(number as i64),
    }))
}

pub(super) fn subscribe(user: &str) -> StoreRequest {
    StoreRequest::Subscribe {
        tenant: TenantKey(1),
        user_id: UserId::new(user),
        topic: "topic".to_owned(),
        now: UnixMillis(1),
    }
}

fn confirm(user: &str, keys: &[i64]) -> StoreRequest {
    StoreRequest::ConfirmNotifications {
        tenant: TenantKey(1),
        user_id: UserId::new(user),
        notifications: keys.iter().copied().map(NotificationKey).collect(),
    }
}

fn add(user: &str) -> StoreRequest {
    StoreRequest::AddMember(Box::new(NewMember {
        tenant: TenantKey(1),
        room_id: RoomId::new("room_1"),
        actor: Actor::Tenant,
        user_id: UserId::new(user),
        role: Some(Role::Member),
        now: UnixMillis(9),
    }))
}

fn remove(user: &str) -> StoreRequest {
    StoreRequest::RemoveMember {
        tenant: TenantKey(1),
        room_id: RoomId::new("room_1"),
        actor: Actor::Tenant,
        user_id: UserId::new(user),
        now: UnixMillis(9),
    }
}

pub(super) fn delete_room() -> StoreRequest {
    StoreRequest::DeleteRoom {
        tenant: TenantKey(1),
        room_id: RoomId::new("room_1"),
        actor: Actor::Tenant,
        now: UnixMillis(9),
    }
}

pub(super) fn delete_tenant() -> StoreRequest {
    StoreRequest::DeleteTenant { tenant_id: TenantId::new("tenant_1"), now: UnixMillis(9) }
}
