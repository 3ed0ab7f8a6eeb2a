//! What an operator does with tenants: lists, changes, new keys.

use super::prelude::*;

cases![
    tenants_are_listed_oldest_first_in_pages,
    a_tenant_is_read_by_its_id,
    a_change_of_a_tenant_touches_what_it_names,
    a_cleared_setting_is_its_default,
    a_webhook_without_a_secret_gets_the_fresh_one,
    a_given_webhook_secret_is_kept,
    a_webhook_secret_outlives_its_url,
    a_change_or_a_new_key_of_a_tenant_that_is_not_there_does_nothing,
    a_new_key_names_the_tenant_and_the_old_one_until_its_end,
    a_retired_key_is_handed_out_past_its_end,
    a_key_retired_without_grace_is_gone_at_once,
    older_keys_work_no_longer_than_the_one_retired_last,
    a_new_key_forgets_those_whose_end_has_come,
    a_key_that_is_taken_fails_and_changes_nothing,
    a_sweep_forgets_keys_that_ended_before,
];

const HOUR_MS: i64 = 3_600_000;

fn tenants_are_listed_oldest_first_in_pages(store: Store<'_>) {
    for number in [3, 1, 4, 2] {
        assert!(tenant(store, number).is_ok());
    }
    let all = ["tenant_1", "tenant_2", "tenant_3", "tenant_4"];
    assert_eq!(list_tenants(store, None, 4), (strings(&all), false));
    assert_eq!(list_tenants(store, None, 3), (strings(&all[..3]), true));
    assert_eq!(list_tenants(store, Some(3), 1), (strings(&all[3..]), false));
    assert_eq!(list_tenants(store, Some(4), 1), (vec![], false));
}

fn a_tenant_is_read_by_its_id(store: Store<'_>) {
    let one = tenant(store, 1).ok();
    assert_eq!(read_tenant(store, 1), one);
    assert_eq!(read_tenant(store, 2), None);
}

fn a_change_of_a_tenant_touches_what_it_names(store: Store<'_>) {
    world(store);
    let before = read_tenant(store, 1);
    let other = read_tenant(store, 2);
    let name = "New\u{0} näme".to_owned();
    let config = ConfigChange {
        rate_limit: Edit::Set(7),
        max_message_size: Edit::Set(100),
        retry_limit: Edit::Set(3),
        ..ConfigChange::default()
    };
    let changed = change_tenant(store, TenantChange { name: Some(name.clone()), ..change(config) });
    let expected = before.map(|before| Tenant {
        name,
        config: TenantConfig {
            rate_limit: Some(7),
            max_message_size: Some(100),
            retry_limit: Some(3),
            ..before.config.clone()
        },
        ..before
    });
    assert_eq!(changed.map(|changed| changed.tenant), expected);
    assert_eq!(read_tenant(store, 1), expected);
    assert_eq!(find(store, 1).map(|owner| owner.tenant), expected);
    assert_eq!(list_tenants(store, None, 1), (strings(&["tenant_1"]), true));
    assert_eq!(read_tenant(store, 2), other);
    // And what a change does not name it keeps.
    let again = change_tenant(store, change(ConfigChange::default()));
    assert_eq!(again.map(|changed| changed.tenant), expected);
}

fn a_cleared_setting_is_its_default(store: Store<'_>) {
    world(store);
    let all = ConfigChange {
        webhook_url: Edit::Set("https://example.com/other".to_owned()),
        webhook_secret: Edit::Keep,
        rate_limit: Edit::Set(7),
        max_message_size: Edit::Set(100),
        retry_limit: Edit::Set(3),
        durable_notifications: Edit::Set(true),
    };
    let changed = change_tenant(store, change(all)).map(|changed| changed.tenant.config);
    let expected = TenantConfig {
        webhook_url: Some("https://example.com/other".to_owned()),
        rate_limit: Some(7),
        max_message_size: Some(100),
        retry_limit: Some(3),
        durable_notifications: Some(true),
    };
    assert_eq!(changed, Some(expected));
    let none = ConfigChange {
        webhook_url: Edit::Clear,
        webhook_secret: Edit::Clear,
        rate_limit: Edit::Clear,
        max_message_size: Edit::Clear,
        retry_limit: Edit::Clear,
        durable_notifications: Edit::Clear,
    };
    let cleared = change_tenant(store, change(none)).map(|changed| changed.tenant.config);
    assert_eq!(cleared, Some(TenantConfig::default()));
    assert_eq!(find(store, 1).map(|owner| owner.tenant.config), Some(TenantConfig::default()));
}

fn secret_after(store: Store<'_>, webhook_url: Edit<&str>, webhook_secret: Edit<&str>) -> Option<SecretOutcome> {
    let config = ConfigChange {
        webhook_url: match webhook_url {
            Edit::Keep => Edit::Keep,
            Edit::Clear => Edit::Clear,
            Edit::Set(url) => Edit::Set(url.to_owned()),
        },
        webhook_secret: match webhook_secret {
            Edit::Keep => Edit::Keep,
            Edit::Clear => Edit::Clear,
            Edit::Set(secret) => Edit::Set(Secret::new(secret.to_owned())),
        },
        ..ConfigChange::default()
    };
    change_tenant(store, change(config)).map(|changed| changed.secret)
}

fn a_webhook_without_a_secret_gets_the_fresh_one(store: Store<'_>) {
    world(store);
    // The tenant began with a URL and no secret.
    assert_eq!(secret_after(store, Edit::Keep, Edit::Keep), Some(SecretOutcome::Fresh));
    assert_eq!(secret_after(store, Edit::Keep, Edit::Keep), Some(SecretOutcome::Kept));
    assert_eq!(secret_after(store, Edit::Keep, Edit::Clear), Some(SecretOutcome::Fresh));
    assert_eq!(secret_after(store, Edit::Clear, Edit::Clear), Some(SecretOutcome::Kept));
    assert_eq!(secret_after(store, Edit::Keep, Edit::Keep), Some(SecretOutcome::Kept));
    assert_eq!(secret_after(store, Edit::Set("https://example.com"), Edit::Keep), Some(SecretOutcome::Fresh));
}

fn a_given_webhook_secret_is_kept(store: Store<'_>) {
    world(store);
    assert_eq!(secret_after(store, Edit::Keep, Edit::Set("whsec_one")), Some(SecretOutcome::Given));
    assert_eq!(secret_after(store, Edit::Set("https://example.com"), Edit::Keep), Some(SecretOutcome::Kept));
    assert_eq!(secret_after(store, Edit::Keep, Edit::Set("whsec_other")), Some(SecretOutcome::Given));
    assert_eq!(secret_after(store, Edit::Clear, Edit::Set("whsec_third")), Some(SecretOutcome::Given));
}

fn a_webhook_secret_outlives_its_url(store: Store<'_>) {
    world(store);
    assert_eq!(secret_after(store, Edit::Clear, Edit::Set("whsec_one")), Some(SecretOutcome::Given));
    assert_eq!(secret_after(store, Edit::Clear, Edit::Keep), Some(SecretOutcome::Kept));
    assert_eq!(secret_after(store, Edit::Set("https://example.com"), Edit::Keep), Some(SecretOutcome::Kept));
}

fn a_change_or_a_new_key_of_a_tenant_that_is_not_there_does_nothing(store: Store<'_>) {
    world(store);
    let missing = TenantChange { tenant_id: tenant_id(9), ..change(ConfigChange::default()) };
    assert_eq!(change_tenant(store, missing), None);
    assert_eq!(rotate(store, 9, 7, HOUR_MS), Ok(None));
    // That there is no such tenant comes first.
    assert_eq!(rotate(store, 9, 1, HOUR_MS), Ok(None));
    assert_eq!(delete_tenant(store, 9), None);
    assert_eq!(find(store, 7), None);
}

fn end_of(store: Store<'_>, api_key: u8) -> Option<Option<UnixMillis>> {
    find(store, api_key).map(|owner| owner.valid_until)
}

fn a_new_key_names_the_tenant_and_the_old_one_until_its_end(store: Store<'_>) {
    world(store);
    assert_eq!(rotate(store, 1, 11, HOUR_MS), Ok(Some(FIRST)));
    assert_eq!(end_of(store, 11), Some(None));
    assert_eq!(end_of(store, 1), Some(Some(UnixMillis(NOW.0 + HOUR_MS))));
    assert_eq!(find(store, 1).map(|owner| owner.tenant.key), Some(FIRST));
    assert_eq!(end_of(store, 2), Some(None));
}

fn a_retired_key_is_handed_out_past_its_end(store: Store<'_>) {
    world(store);
    let long_ago = UnixMillis(NOW.0 - 10 * HOUR_MS);
    let end = UnixMillis(long_ago.0 + 1);
    assert_eq!(rotate_at(store, 1, 11, long_ago, end), Ok(Some(FIRST)));
    assert_eq!(end_of(store, 1), Some(Some(end)));
}

fn a_key_retired_without_grace_is_gone_at_once(store: Store<'_>) {
    world(store);
    assert_eq!(rotate(store, 1, 11, 0), Ok(Some(FIRST)));
    assert_eq!(end_of(store, 1), None);
    assert_eq!(rotate(store, 1, 12, -HOUR_MS), Ok(Some(FIRST)));
    assert_eq!(end_of(store, 11), None);
    assert_eq!(rotate(store, 1, 13, 1), Ok(Some(FIRST)));
    assert_eq!(end_of(store, 12), Some(Some(UnixMillis(NOW.0 + 1))));
}

fn older_keys_work_no_longer_than_the_one_retired_last(store: Store<'_>) {
    world(store);
    assert_eq!(rotate(store, 2, 21, 9 * HOUR_MS), Ok(Some(SECOND)));
    for (key, grace_ms) in [(11, 5 * HOUR_MS), (12, HOUR_MS), (13, 3 * HOUR_MS)] {
        assert_eq!(rotate(store, 1, key, grace_ms), Ok(Some(FIRST)));
    }
    let after = |grace_ms| Some(Some(UnixMillis(NOW.0 + grace_ms)));
    assert_eq!(
        [1, 11, 12, 13].map(|key| end_of(store, key)),
        [after(HOUR_MS), after(HOUR_MS), after(3 * HOUR_MS), Some(None)]
    );
    assert_eq!(end_of(store, 2), after(9 * HOUR_MS));
    assert_eq!(rotate(store, 1, 14, 0), Ok(Some(FIRST)));
    assert_eq!([1, 11, 12, 13].map(|key| end_of(store, key)), [None; 4]);
    assert_eq!(end_of(store, 2), after(9 * HOUR_MS));
}

fn a_new_key_forgets_those_whose_end_has_come(store: Store<'_>) {
    world(store);
    assert_eq!(rotate(store, 1, 11, 100), Ok(Some(FIRST)));
    assert_eq!(rotate(store, 2, 21, 100), Ok(Some(SECOND)));
    let later = UnixMillis(NOW.0 + 100);
    assert_eq!(rotate_at(store, 1, 12, later, UnixMillis(later.0 + 100)), Ok(Some(FIRST)));
    assert_eq!(end_of(store, 1), None);
    assert_eq!(end_of(store, 11), Some(Some(UnixMillis(later.0 + 100))));
    // Another tenant's are not looked at.
    assert_eq!(end_of(store, 2), Some(Some(later)));
    // A key that is forgotten may come again.
    assert_eq!(rotate(store, 1, 1, HOUR_MS), Ok(Some(FIRST)));
    assert_eq!(end_of(store, 1), Some(None));
}

fn a_key_that_is_taken_fails_and_changes_nothing(store: Store<'_>) {
    world(store);
    assert_eq!(rotate(store, 1, 11, HOUR_MS), Ok(Some(FIRST)));
    // Another's present one, its own present one, its own earlier one.
    for taken in [2, 11, 1] {
        assert_eq!(rotate(store, 1, taken, HOUR_MS), Err(StoreFailure::Failed), "{taken}");
    }
    // One whose end has come is taken until it is forgotten.
    let later = UnixMillis(NOW.0 + 2 * HOUR_MS);
    assert_eq!(rotate_at(store, 1, 1, later, later), Err(StoreFailure::Failed));
    assert_eq!(rotate(store, 2, 1, HOUR_MS), Err(StoreFailure::Failed));
    let created = StoreRequest::CreateTenant(Box::new(NewTenant {
        tenant_id: tenant_id(3),
        name: "Third".to_owned(),
        api_key: Digest([1; 32]),
        config: TenantConfig::default(),
        webhook_secret: None,
        created_at: NOW,
    }));
    assert_eq!(store.execute(&created), Err(StoreFailure::Failed));
    assert_eq!(end_of(store, 11), Some(None));
    assert_eq!(end_of(store, 1), Some(Some(UnixMillis(NOW.0 + HOUR_MS))));
    assert_eq!(end_of(store, 2), Some(None));
    assert_eq!(read_tenant(store, 3), None);
}

fn a_sweep_forgets_keys_that_ended_before(store: Store<'_>) {
    world(store);
    assert_eq!(rotate(store, 1, 11, HOUR_MS), Ok(Some(FIRST)));
    assert_eq!(rotate(store, 2, 21, HOUR_MS + 1), Ok(Some(SECOND)));
    sweep_before(store, UnixMillis(0), UnixMillis(NOW.0 + HOUR_MS));
    assert_eq!([1, 2].map(|key| end_of(store, key).is_some()), [true, true]);
    sweep_before(store, UnixMillis(0), UnixMillis(NOW.0 + HOUR_MS + 1));
    assert_eq!([1, 2, 11, 21].map(|key| end_of(store, key).is_some()), [false, true, true, true]);
}
