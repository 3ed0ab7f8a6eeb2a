//! The rate limit, and bounds on what may wait.

use chatapi_core::{Config, Micros};
use chatapi_sim::world::World;

#[test]
fn a_tenant_has_a_second_s_worth_of_requests_at_once_and_then_its_rate() {
    let mut world = World::new(Config::default());
    let tenant = world.create_tenant(r#"{"rate_limit":10}"#);
    for left in (0..10).rev() {
        let served = world.as_user(&tenant, "alice", "GET", "/rooms", "");
        assert_eq!(served.status, 200);
        assert_eq!(served.headers["RateLimit-Limit"], "10");
        assert_eq!(served.headers["RateLimit-Remaining"], left.to_string());
    }
    let refused = world.as_user(&tenant, "alice", "GET", "/rooms", "");
    assert_eq!((refused.status, refused.code()), (429, "RATE_LIMIT_EXCEEDED"));
    assert_eq!((refused.headers["Retry-After"].as_str(), refused.headers["RateLimit-Reset"].as_str()), ("1", "1"));
    world.advance(Micros::from_millis(100));
    assert_eq!(world.as_user(&tenant, "alice", "GET", "/rooms", "").status, 200);
}

#[test]
fn one_tenant_s_limit_is_not_another_s() {
    let mut world = World::new(Config::default());
    let [one, other] = [(); 2].map(|()| world.create_tenant(r#"{"rate_limit":1}"#));
    assert_eq!(world.as_user(&one, "alice", "GET", "/rooms", "").status, 200);
    assert_eq!(world.as_user(&one, "alice", "GET", "/rooms", "").status, 429);
    assert_eq!(world.as_user(&other, "alice", "GET", "/rooms", "").status, 200);
}

#[test]
fn tokens_and_connects_share_a_bucket_ten_times_as_large() {
    let mut world = World::new(Config { max_connections_per_user: 100, ..Config::default() });
    let tenant = world.create_tenant(r#"{"rate_limit":1}"#);
    for _ in 0..5 {
        assert_eq!(world.as_user(&tenant, "alice", "POST", "/ws/token", "").status, 200);
        world.connect(&tenant, "alice");
    }
    assert_eq!(world.as_user(&tenant, "alice", "POST", "/ws/token", "").status, 429);
    let headers = [("X-API-Key", tenant.api_key.as_str()), ("X-User-Id", "alice")];
    assert_eq!(world.handshake("/ws", &headers).unwrap_err().status, 429);
    assert_eq!(world.as_user(&tenant, "alice", "GET", "/rooms", "").status, 200, "requests have their own");
}

#[test]
fn frames_take_from_the_tenant_s_bucket_and_pings_and_acks_from_the_connection_s() {
    let mut world = World::new(Config::default());
    let tenant = world.create_tenant(r#"{"rate_limit":2}"#);
    let alice = world.connect(&tenant, "alice");
    world.frames(alice);
    for _ in 0..3 {
        world.frame(alice, r#"{"type":"send_message","room_id":"room_x","content":"x"}"#);
    }
    let frames = world.frames(alice);
    assert_eq!(frames[1]["code"], "NOT_FOUND");
    assert_eq!((&frames[2]["code"], frames[2]["retry_after_ms"].is_u64()), (&"RATE_LIMIT_EXCEEDED".into(), true));
    for _ in 0..51 {
        world.frame(alice, r#"{"type":"ping"}"#);
    }
    let frames = world.frames(alice);
    assert!(frames[..50].iter().all(|frame| frame["type"] == "pong"));
    assert_eq!(frames[50]["code"], "RATE_LIMIT_EXCEEDED");
}

#[test]
fn a_refused_caller_is_told_in_the_protocol_s_order() {
    let mut world = World::new(Config::default());
    // A valid key takes a token, whatever comes of it.
    let tenant = world.create_tenant(r#"{"rate_limit":2}"#);
    let key = ("X-API-Key", tenant.api_key.as_str());
    let path = "/rooms/room_x/messages";
    for (headers, body, status) in [
        (&[][..], "nonsense", 401),
        (&[key], "nonsense", 401),
        (&[key, ("X-User-Id", "alice")], "nonsense", 400),
        (&[key, ("X-User-Id", "alice")], "nonsense", 429),
        (&[key, ("X-User-Id", " ")], "nonsense", 429),
    ] {
        assert_eq!(world.rest("POST", path, headers, body).status, status, "{headers:?}");
    }
    world.advance(Micros::from_secs(1));
    assert_eq!(world.rest("POST", path, &[key, ("X-User-Id", " a")], r#"{"content":"x"}"#).status, 400);
    world.advance(Micros::from_secs(1));
    assert_eq!(world.rest("POST", path, &[key, ("X-User-Id", "a")], r#"{"content":"x"}"#).status, 404);
    assert_eq!(world.rest("PUT", path, &[], "").status, 405, "the path comes first");
}

#[test]
fn a_thousand_reads_may_wait_and_no_tenant_holds_more_than_half_beside_others() {
    let mut world = World::new(Config::default());
    let [greedy, modest] = [(); 2].map(|()| world.create_tenant(r#"{"rate_limit":1000000}"#));
    for tenant in [&greedy, &modest] {
        assert_eq!(world.as_user(tenant, "alice", "GET", "/rooms", "").status, 200);
    }
    world.hold_store();
    let ask = |world: &mut World, tenant: &chatapi_sim::world::TenantHandle| {
        let headers = [("X-API-Key", tenant.api_key.as_str()), ("X-User-Id", "alice")];
        let request = world.rest_later("GET", "/rooms", &headers, "");
        world.answer(request).map(|answer| (answer.status, answer.headers.contains_key("Retry-After")))
    };
    assert_eq!(ask(&mut world, &modest), None);
    for _ in 0..500 {
        assert_eq!(ask(&mut world, &greedy), None);
    }
    assert_eq!(ask(&mut world, &greedy), Some((503, true)));
    for _ in 0..499 {
        assert_eq!(ask(&mut world, &modest), None);
    }
    assert_eq!(ask(&mut world, &modest), Some((503, true)), "a thousand wait");
}

#[test]
fn a_key_is_looked_up_once_for_all_who_come_with_it_and_a_wrong_one_not_again_for_a_second() {
    let mut world = World::new(Config::default());
    let headers = [("X-API-Key", "sk_nobody"), ("X-User-Id", "alice")];
    world.hold_store();
    let requests = [(); 3].map(|()| world.rest_later("GET", "/rooms", &headers, ""));
    assert_eq!(world.waiting().len(), 1);
    world.release_store();
    assert!(requests.into_iter().all(|request| world.answer(request).unwrap().status == 401));
    world.hold_store();
    let again = world.rest_later("GET", "/rooms", &headers, "");
    assert_eq!(world.answer(again).unwrap().status, 401);
    world.advance(Micros::from_secs(1));
    world.rest_later("GET", "/rooms", &headers, "");
    assert_eq!(world.waiting().len(), 1);
}
