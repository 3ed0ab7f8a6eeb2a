//! Tenants, and the store as a whole.

use super::prelude::*;

cases![
    an_empty_store_boots_without_an_id,
    boot_finds_the_newest_id_and_overlooks_imported_ones,
    a_tenant_is_found_by_its_key_alone,
    a_taken_tenant_id_or_key_fails_and_changes_nothing,
    a_health_check_writes_again_and_again,
];

fn an_empty_store_boots_without_an_id(store: Store<'_>) {
    let (epoch, newest) = boot(store);
    assert!(!epoch.is_empty());
    assert_eq!(newest, None);
    assert_eq!(boot(store), (epoch, None));
}

fn boot_finds_the_newest_id_and_overlooks_imported_ones(store: Store<'_>) {
    world(store);
    send(store, "alice", "msg_00000000000000zz");
    send(store, "alice", "msg_zzimported");
    send(store, "alice", "msg_0000000000000001");
    assert_eq!(boot(store).1, IdStamp::read("msg_00000000000000zz"));
    group(store, FIRST, "room_0000000000000zzz", &["alice"]);
    assert_eq!(boot(store).1, IdStamp::read("room_0000000000000zzz"));
}

fn a_tenant_is_found_by_its_key_alone(store: Store<'_>) {
    let one = tenant(store, 1).unwrap_or_else(|failure| panic!("{failure:?}"));
    let other = tenant(store, 2).unwrap_or_else(|failure| panic!("{failure:?}"));
    assert_ne!(one.key, other.key);
    assert_eq!(find(store, 1), Some(KeyOwner { tenant: one, valid_until: None }));
    assert_eq!(find(store, 2), Some(KeyOwner { tenant: other, valid_until: None }));
    assert_eq!(find(store, 3), None);
}

fn a_taken_tenant_id_or_key_fails_and_changes_nothing(store: Store<'_>) {
    let one = tenant(store, 1);
    assert_eq!(tenant(store, 1), Err(StoreFailure::Failed));
    assert_eq!(find(store, 1).map(|owner| owner.tenant), one.ok());
    assert!(tenant(store, 2).is_ok_and(|other| other.key == SECOND));
}

fn a_health_check_writes_again_and_again(store: Store<'_>) {
    for now in [1, 1, 2] {
        let now = UnixMillis(now);
        assert_eq!(ask(store, &StoreRequest::CheckWritable { now }), StoreReply::Written);
    }
}
