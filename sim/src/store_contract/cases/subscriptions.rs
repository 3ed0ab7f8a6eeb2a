//! Subscriptions.

use super::prelude::*;

cases![
    a_subscription_is_counted_within_its_tenant,
    the_same_subscription_again_is_the_first,
    a_subscription_s_id_is_never_used_twice,
    a_user_has_a_thousand_subscriptions_at_the_most,
    subscriptions_are_a_user_s_own,
    a_topic_is_kept_byte_for_byte,
    a_subscription_without_a_tenant_fails,
];

fn a_subscription_is_counted_within_its_tenant(store: Store<'_>) {
    world(store);
    assert_eq!(subscribed(store, FIRST, "alice", "a"), 1);
    assert_eq!(subscribed(store, FIRST, "bob", "a"), 2);
    assert_eq!(subscribed(store, SECOND, "alice", "a"), 1);
    assert_eq!(subscribed(store, FIRST, "alice", "b"), 3);
    let ids = |store: Store<'_>, user_id| -> Vec<(u64, String)> {
        subscriptions(store, FIRST, user_id).into_iter().map(|known| (known.id, known.topic)).collect()
    };
    assert_eq!(ids(store, "alice"), [(1, "a".to_owned()), (3, "b".to_owned())]);
    assert_eq!(ids(store, "bob"), [(2, "a".to_owned())]);
    assert_eq!(ids(store, "Alice"), []);
}

fn the_same_subscription_again_is_the_first(store: Store<'_>) {
    world(store);
    let first = subscribe(store, FIRST, "alice", "a");
    assert!(first.as_ref().is_ok_and(|first| {
        first.outcome == SubscribeOutcome::New
            && first.subscription.subscriber_id.as_str() == "alice"
            && first.subscription.created_at == NOW
    }));
    let request =
        StoreRequest::Subscribe { tenant: FIRST, user_id: UserId::new("alice"), topic: "a".to_owned(), now: LATER };
    let expected = first.map(|first| Subscribed { outcome: SubscribeOutcome::Existing, ..first });
    assert_eq!(ask(store, &request), StoreReply::Subscribed(expected));
    assert_eq!(subscribed(store, FIRST, "alice", "b"), 2);
}

fn a_subscription_s_id_is_never_used_twice(store: Store<'_>) {
    world(store);
    assert_eq!(subscribed(store, FIRST, "alice", "a"), 1);
    assert_eq!(subscribed(store, FIRST, "alice", "b"), 2);
    assert!(unsubscribe(store, FIRST, "alice", 2));
    assert_eq!(subscribed(store, FIRST, "alice", "b"), 3);
    assert!(unsubscribe(store, FIRST, "alice", 1));
    assert!(unsubscribe(store, FIRST, "alice", 3));
    sweep(store);
    assert_eq!(subscribed(store, FIRST, "bob", "a"), 4);
}

fn a_user_has_a_thousand_subscriptions_at_the_most(store: Store<'_>) {
    world(store);
    for number in 1..=SUBSCRIPTIONS_MAX {
        assert_eq!(subscribed(store, FIRST, "alice", &format!("topic {number}")), u64::from(number));
    }
    assert_eq!(subscribe(store, FIRST, "alice", "one more"), Err(SubscribeRefusal::TooMany));
    let again = subscribe(store, FIRST, "alice", "topic 500");
    assert!(again.is_ok_and(|again| again.outcome == SubscribeOutcome::Existing && again.subscription.id == 500));
    let past = u64::from(SUBSCRIPTIONS_MAX);
    assert_eq!(subscribed(store, FIRST, "bob", "one more"), past + 1);
    assert!(unsubscribe(store, FIRST, "alice", 500));
    assert_eq!(subscribed(store, FIRST, "alice", "one more"), past + 2);
}

fn subscriptions_are_a_user_s_own(store: Store<'_>) {
    world(store);
    assert_eq!(subscribed(store, FIRST, "alice", "a"), 1);
    assert_eq!(subscribed(store, SECOND, "bob", "a"), 1);
    for (tenant, user_id, id) in [
        (FIRST, "bob", 1),
        (SECOND, "alice", 1),
        (FIRST, "alice", 2),
        (TenantKey(9), "alice", 1),
        (FIRST, "alice", u64::MAX),
    ] {
        assert!(!unsubscribe(store, tenant, user_id, id), "{tenant:?} {user_id} {id}");
    }
    assert!(unsubscribe(store, FIRST, "alice", 1));
    assert!(!unsubscribe(store, FIRST, "alice", 1));
    assert_eq!(subscriptions(store, FIRST, "alice"), []);
    assert_eq!(subscriptions(store, SECOND, "bob").len(), 1);
}

fn a_topic_is_kept_byte_for_byte(store: Store<'_>) {
    world(store);
    let topics = ["a", "A", "a ", "a\u{0}", "é", "e\u{301}"];
    for topic in topics {
        assert!(subscribe(store, FIRST, "alice", topic).is_ok_and(|stored| stored.outcome == SubscribeOutcome::New));
    }
    let read: Vec<String> = subscriptions(store, FIRST, "alice").into_iter().map(|known| known.topic).collect();
    assert_eq!(read, topics);
}

fn a_subscription_without_a_tenant_fails(store: Store<'_>) {
    let user_id = UserId::new("alice");
    let request = StoreRequest::Subscribe { tenant: FIRST, user_id, topic: "a".to_owned(), now: NOW };
    assert_eq!(store.execute(&request), Err(StoreFailure::Failed));
}
