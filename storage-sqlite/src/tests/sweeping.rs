//! Sweeps remove all there is to remove and nothing else, a few rows at a time.

use chatapi_core::model::TenantConfig;
use chatapi_core::store::{
    CreatedRoom, Idempotency, KeyRotation, NewTenant, NotificationTargets, StoreReply, StoreRequest,
};
use chatapi_core::{Digest, NotificationKey, RoomId, Seq, TenantId, TenantKey, UnixMillis, UserId};
use rusqlite::Connection;

use super::lifecycle::{delete_room, delete_tenant, notify, subscribe};
use super::writing::{Bench, append, numbers, room};

const TABLES: [&str; 10] = [
    "tenants",
    "retired_keys",
    "rooms",
    "room_members",
    "delivery_state",
    "messages",
    "idempotency_keys",
    "notifications",
    "notification_targets",
    "subscriptions",
];

#[test]
fn of_a_deleted_room_nothing_is_left_and_of_another_all() {
    let mut bench = Bench::new();
    bench.run(vec![other_room(), append_to("room_2", 900)]);
    bench.run((1..=300).map(append).collect());
    bench.run(vec![keyed(301), acknowledge("alice", 300), acknowledge("bob", 5), delete_room()]);
    let steps = sweep_all(&mut bench, 0, 128);
    // 301 messages, a key, two acks, two members, the room.
    assert_eq!(steps, vec![128, 128, 51]);
    assert_eq!(rows(&bench), [1, 0, 1, 2, 0, 1, 0, 0, 0, 0]);
    assert_eq!(numbers(&bench.run(vec![append_to("room_2", 901)])), [Ok(2)]);
}

#[test]
fn of_a_deleted_tenant_nothing_is_left_and_its_key_is_known_as_one_that_is_gone() {
    let mut bench = Bench::new();
    bench.run(vec![tenant_2(), rotate(), subscribe("alice"), subscribe("bob"), other_room()]);
    bench.run((1..=20).map(append).collect());
    bench.run(vec![keyed(21), acknowledge("alice", 20), notify(1, members()), notify(2, members())]);
    bench.run(vec![expand(1), delete_tenant()]);
    let before: i64 = rows(&bench).iter().sum();
    let steps = sweep_all(&mut bench, 0, 7);
    // All but the other tenant; the expansion of the second notification beside what is counted here.
    assert_eq!(steps.iter().sum::<i64>(), before - 1);
    assert!(steps.iter().all(|step| *step <= 7), "{steps:?}");
    assert_eq!(rows(&bench), [1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(count(&bench, "notification_expansions"), 0);
    let late = bench.run(vec![other_room(), subscribe("alice"), notify(3, members())]);
    assert_eq!(late[0], Ok(StoreReply::RoomCreated(CreatedRoom::NoTenant)));
    assert!(late.iter().all(Result::is_ok), "a step may wait longer than the sweeps take: {late:?}");
}

#[test]
fn old_notifications_go_with_their_targets_and_their_expansions() {
    let mut bench = Bench::new();
    bench.run(vec![notify(10, members()), notify(20, members()), notify(30, members())]);
    bench.run(vec![expand(1), expand(3)]);
    sweep_all(&mut bench, 21, 2);
    assert_eq!(rows(&bench), [1, 0, 1, 2, 0, 0, 0, 1, 2, 0]);
    assert_eq!(bench.run(vec![expand(2)]), [Ok(StoreReply::Expanded(None))]);
}

#[test]
fn retired_keys_go_when_their_time_is_over() {
    let mut bench = Bench::new();
    bench.run(vec![rotate()]);
    assert_eq!(rows(&bench)[1], 1);
    sweep_all(&mut bench, 0, 128);
    assert_eq!(rows(&bench)[1], 1, "it ends at 50, and keys before 50 go");
    bench.run(vec![sweep(0, 51, 128)]);
    assert_eq!(rows(&bench)[1], 0);
}

#[test]
fn long_messages_count_for_more_than_one() {
    let mut bench = Bench::new();
    let long = |number| {
        let StoreRequest::AppendMessage(mut message) = append(number) else { panic!("no message") };
        message.content = "x".repeat(160 * 1024);
        StoreRequest::AppendMessage(message)
    };
    bench.run((1..=20).map(long).collect());
    bench.run(vec![delete_room()]);
    assert_eq!(sweep_all(&mut bench, 0, 44), vec![4, 4, 4, 4, 4, 3]);
}

#[test]
fn a_sweep_among_other_steps_disturbs_none() {
    let mut bench = Bench::new();
    bench.run(vec![other_room()]);
    bench.run((1..=50).map(append).collect());
    bench.run(vec![delete_room()]);
    let mut number = 100;
    loop {
        let batch = vec![append_to("room_2", number), sweep(0, 0, 5), append_to("room_2", number + 1)];
        number += 2;
        let results = bench.run(batch);
        let first = number - 101;
        assert_eq!(numbers(&[results[0].clone(), results[2].clone()]), [Ok(first), Ok(first + 1)]);
        if results[1] == Ok(StoreReply::Swept { has_more: false }) {
            break;
        }
    }
    assert_eq!(rows(&bench)[..4], [1, 0, 1, 2]);
}

/// Sweeps to the end; the number of rows that each step removed.
fn sweep_all(bench: &mut Bench, notifications_before: i64, rows_max: u32) -> Vec<i64> {
    let mut steps = Vec::new();
    loop {
        let before: i64 = rows(bench).iter().sum();
        let [reply] = &bench.run(vec![sweep(notifications_before, 50, rows_max)])[..] else { panic!("one reply") };
        let removed = before - rows(bench).iter().sum::<i64>();
        match reply {
            Ok(StoreReply::Swept { has_more: true }) => steps.push(removed),
            Ok(StoreReply::Swept { has_more: false }) => {
                steps.push(removed);
                return steps;
            }
            other => panic!("{other:?}"),
        }
    }
}

fn rows(bench: &Bench) -> [i64; 10] {
    TABLES.map(|table| count(bench, table))
}

fn count(bench: &Bench, table: &str) -> i64 {
    let connection = Connection::open(&bench.path).unwrap();
    connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

fn sweep(notifications_before: i64, keys_before: i64, rows: u32) -> StoreRequest {
    StoreRequest::Sweep {
        notifications_before: UnixMillis(notifications_before),
        keys_before: UnixMillis(keys_before),
        rows,
    }
}

fn other_room() -> StoreRequest {
    room("room_2")
}

fn append_to(room_id: &str, number: u64) -> StoreRequest {
    let StoreRequest::AppendMessage(mut message) = append(number) else { panic!("no message") };
    message.room_id = RoomId::new(room_id);
    StoreRequest::AppendMessage(message)
}

fn keyed(number: u64) -> StoreRequest {
    let StoreRequest::AppendMessage(mut message) = append(number) else { panic!("no message") };
    message.idempotency =
        Some(Idempotency { key: "key".to_owned(), body: Digest([0; 32]), valid_since: UnixMillis(0) });
    StoreRequest::AppendMessage(message)
}

fn acknowledge(user: &str, seq: u64) -> StoreRequest {
    StoreRequest::Acknowledge {
        tenant: TenantKey(1),
        room_id: RoomId::new("room_1"),
        user_id: UserId::new(user),
        seq: Seq(seq),
        now: UnixMillis(9),
    }
}

fn members() -> NotificationTargets {
    NotificationTargets { room_id: Some(RoomId::new("room_1")), ..Default::default() }
}

fn expand(key: i64) -> StoreRequest {
    StoreRequest::ExpandNotification { notification: NotificationKey(key), limit: 10 }
}

fn rotate() -> StoreRequest {
    StoreRequest::RotateKey(KeyRotation {
        tenant_id: TenantId::new("tenant_1"),
        api_key: Digest([3; 32]),
        retired_until: UnixMillis(50),
        now: UnixMillis(9),
    })
}

fn tenant_2() -> StoreRequest {
    StoreRequest::CreateTenant(Box::new(NewTenant {
        tenant_id: TenantId::new("tenant_2"),
        name: "Two".to_owned(),
        api_key: Digest([2; 32]),
        config: TenantConfig::default(),
        webhook_secret: None,
        created_at: UnixMillis(1),
    }))
}
