//! A database of an earlier schema, with data in it.

use std::path::Path;

use chatapi_core::model::{Role, RoomType};
use chatapi_core::store::{Actor, Backlog, BacklogRoom, KeyOwner, StoreReply, StoreRequest};
use chatapi_core::{Digest, RoomId, Seq, TenantKey, UserId};
use rusqlite::Connection;

use crate::migrations::{APPLICATION_ID, NEWEST};
use crate::{Options, Readers, Store};

#[test]
fn a_database_of_the_first_schema_keeps_everything_and_its_members_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.db");
    write_first_schema(&path);
    let store = Store::open(Options::new(&path)).unwrap();
    let readers = Readers::open(&store, 1).unwrap();
    let ask = |request: StoreRequest| readers.read(&request).unwrap();

    let StoreReply::KeyOwner(Some(KeyOwner { tenant, valid_until: None })) =
        ask(StoreRequest::FindTenant { api_key: Digest([1; 32]) })
    else {
        panic!("the key names nobody")
    };
    assert_eq!((tenant.key, tenant.config.rate_limit), (TenantKey(1), Some(7)));

    let user_id = UserId::new("alice");
    let position = |room_id: &str, last_ack, last_seq, members| BacklogRoom {
        room_id: RoomId::new(room_id),
        last_ack: Seq(last_ack),
        last_seq: Seq(last_seq),
        members,
    };
    assert_eq!(
        ask(StoreRequest::LoadBacklog { tenant: TenantKey(1), user_id: user_id.clone() }),
        StoreReply::Backlog(Backlog {
            rooms: vec![position("room_a", 2, 3, 3), position("room_b", 0, 0, 2)],
            has_notifications: false
        })
    );

    let StoreReply::Room(Ok(room)) = ask(StoreRequest::ReadRoom {
        tenant: TenantKey(1),
        room_id: RoomId::new("room_a"),
        actor: Actor::User(user_id),
    }) else {
        panic!("the room does not open")
    };
    assert_eq!((room.kind, room.name.as_deref()), (RoomType::Group, Some("A")));
    assert_eq!(room.metadata, Some("m".repeat(10_000)));

    let StoreReply::Members(Ok(page)) = ask(StoreRequest::ListMembers {
        tenant: TenantKey(1),
        room_id: RoomId::new("room_a"),
        actor: Actor::Tenant,
        after: None,
        limit: 10,
    }) else {
        panic!("the room does not open")
    };
    let members: Vec<_> = page.members.iter().map(|member| (member.user_id.as_str(), member.role)).collect();
    assert_eq!(members, [("alice", Role::Admin), ("bob", Role::Member), ("carol", Role::Member)]);
}

#[test]
fn a_migrated_database_has_the_schema_of_a_new_one() {
    let directory = tempfile::tempdir().unwrap();
    let [old, new] = ["old.db", "new.db"].map(|name| directory.path().join(name));
    write_first_schema(&old);
    let schemas = [&old, &new].map(|path| {
        drop(Store::open(Options::new(path)).unwrap());
        let connection = Connection::open(path).unwrap();
        let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!(version, NEWEST);
        let violations = connection.prepare("PRAGMA foreign_key_check").unwrap().exists([]).unwrap();
        assert!(!violations);
        let sound: String = connection.pragma_query_value(None, "integrity_check", |row| row.get(0)).unwrap();
        assert_eq!(sound, "ok");
        let mut statement = connection.prepare("SELECT name, sql FROM sqlite_schema ORDER BY name").unwrap();
        let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?)));
        rows.unwrap().collect::<Result<Vec<_>, _>>().unwrap()
    });
    assert_eq!(schemas[0], schemas[1]);
}

#[test]
fn a_migration_that_fails_keeps_nothing_of_itself() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.db");
    write_first_schema(&path);
    // The last table that the migration makes is there already.
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch("CREATE TABLE subscriptions (note TEXT)").unwrap();
    drop(connection);
    let refused = Store::open(Options::new(&path)).unwrap_err();
    assert!(matches!(refused, crate::OpenError::Migration { number: 2, .. }), "{refused:?}");
    let connection = Connection::open(&path).unwrap();
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, 1);
    assert!(connection.prepare("SELECT deleted_at FROM rooms").is_err());
    connection.execute_batch("DROP TABLE subscriptions").unwrap();
    drop(connection);
    Store::open(Options::new(&path)).unwrap();
}

/// What the first version of the server left behind.
fn write_first_schema(path: &Path) {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch(include_str!("../migrations/0001_initial.sql")).unwrap();
    connection.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
    connection
        .execute_batch(
            r#"INSERT INTO tenants (tenant_id, api_key_hash, name, config, created_at)
                 VALUES ('tenant_1', unhex('0101010101010101010101010101010101010101010101010101010101010101'), 'One',
                         '{"rate_limit":7}', 1);
               INSERT INTO rooms (room_id, tenant_id, type, last_seq, created_at, unique_key, name, metadata) VALUES
                 ('room_a', 1, 'group', 3, 5, NULL, 'A', replace(hex(zeroblob(5000)), '0', 'm')),
                 ('room_b', 1, 'dm', 0, 6, 'dm:alice:bob', NULL, NULL);
               INSERT INTO room_members (chatroom_id, user_id, tenant_id, role, joined_at) VALUES
                 (1, 'alice', 1, 'admin', 5), (1, 'bob', 1, 'member', 5), (1, 'carol', 1, 'member', 5),
                 (2, 'alice', 1, 'member', 6), (2, 'bob', 1, 'member', 6);
               INSERT INTO messages (message_id, tenant_id, chatroom_id, sender_id, seq, created_at, content) VALUES
                 ('msg_1', 1, 1, 'alice', 1, 10, 'one'), ('msg_2', 1, 1, 'bob', 2, 11, 'two'),
                 ('msg_3', 1, 1, 'bob', 3, 12, 'three');
               INSERT INTO delivery_state (tenant_id, user_id, chatroom_id, last_ack, updated_at)
                 VALUES (1, 'alice', 1, 2, 20);"#,
        )
        .unwrap();
}
