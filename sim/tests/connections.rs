//! Connections: who may, how many, for how long.

use chatapi_core::{AllowedOrigins, CloseReason, ClosedBy, Config, Micros};
use chatapi_sim::world::{TenantHandle, World};

fn world() -> (World, TenantHandle) {
    let mut world = World::new(Config::default());
    let tenant = world.create_tenant(r#"{"rate_limit":1000000}"#);
    (world, tenant)
}

fn token(world: &mut World, tenant: &TenantHandle, user: &str) -> String {
    let issued = world.as_user(tenant, user, "POST", "/ws/token", "");
    assert_eq!((issued.status, &issued.body["expires_in"]), (200, &60.into()));
    issued.text("token")
}

#[test]
fn a_token_admits_its_user_once() {
    let (mut world, tenant) = world();
    let token = token(&mut world, &tenant, "bob");
    let bob = world.handshake(&format!("/ws?token={token}"), &[]).unwrap();
    world.run();
    assert_eq!(world.frames(bob)[0]["user_id"], "bob");
    let again = world.handshake(&format!("/ws?token={token}"), &[]).unwrap_err();
    assert_eq!((again.status, again.code()), (401, "AUTHENTICATION_ERROR"));
}

#[test]
fn a_token_lives_for_60_s_of_the_monotonic_clock() {
    let (mut world, tenant) = world();
    let [first, second] = [(); 2].map(|()| token(&mut world, &tenant, "bob"));
    world.advance(Micros::from_millis(59_999));
    assert!(world.handshake(&format!("/ws?token={first}"), &[]).is_ok());
    world.advance(Micros::from_millis(1));
    world.step_wall_clock(-3_600_000);
    assert_eq!(world.handshake(&format!("/ws?token={second}"), &[]).unwrap_err().status, 401);
}

#[test]
fn a_token_of_one_user_does_not_admit_another_and_dies_of_it() {
    let (mut world, tenant) = world();
    let token = token(&mut world, &tenant, "bob");
    assert_eq!(world.handshake(&format!("/ws?token={token}&user_id=carol"), &[]).unwrap_err().status, 401);
    assert_eq!(world.handshake(&format!("/ws?token={token}&user_id=bob"), &[]).unwrap_err().status, 401);
}

#[test]
fn an_origin_that_is_not_allowed_is_refused_and_uses_up_no_token() {
    let allowed_origins = AllowedOrigins::Listed(vec!["https://app.example".to_owned()]);
    let mut world = World::new(Config { allowed_origins, ..Config::default() });
    let tenant = world.create_tenant("{}");
    let token = token(&mut world, &tenant, "bob");
    let target = format!("/ws?token={token}");
    let refused = world.handshake(&target, &[("Origin", "https://evil.example")]).unwrap_err();
    assert_eq!((refused.status, refused.code()), (403, "AUTHORIZATION_ERROR"));
    assert!(world.handshake(&target, &[("Origin", "https://app.example")]).is_ok());
}

#[test]
fn a_handshake_without_credentials_or_user_is_refused() {
    let (mut world, tenant) = world();
    let key = tenant.api_key.as_str();
    for (target, headers, status) in [
        ("/ws", &[][..], 401),
        ("/ws", &[("X-API-Key", "sk_nobody"), ("X-User-Id", "bob")], 401),
        ("/ws", &[("X-API-Key", key)], 401),
        ("/ws?api_key=sk_x&user_id=bob", &[], 401),
        ("/ws?token=wst_unknown", &[], 401),
        ("/ws", &[("X-API-Key", key), ("X-User-Id", " bob")], 400),
        ("/ws?sync=maybe", &[("X-API-Key", key), ("X-User-Id", "bob")], 400),
    ] {
        assert_eq!(world.handshake(target, headers).unwrap_err().status, status, "{target} {headers:?}");
    }
    assert!(world.handshake("/ws?user_id=bob", &[("X-API-Key", key)]).is_ok());
}

#[test]
fn a_user_has_five_connections_and_the_sixth_is_closed_without_a_word() {
    let (mut world, tenant) = world();
    let five: Vec<_> = (0..5).map(|_| world.connect(&tenant, "bob")).collect();
    let sixth = world.connect(&tenant, "bob");
    assert_eq!(world.closed(sixth), Some(CloseReason::TooManyConnections));
    assert!(world.frames(sixth).is_empty());
    assert!(five.iter().all(|conn| world.closed(*conn).is_none()));
    world.disconnect(five[0], ClosedBy::Client);
    let next = world.connect(&tenant, "bob");
    assert_eq!(world.closed(next), None);
}

#[test]
fn a_connection_that_does_not_answer_its_ping_makes_room_for_the_next() {
    let (mut world, tenant) = world();
    let five: Vec<_> = (0..5).map(|_| world.connect(&tenant, "bob")).collect();
    world.advance(Micros::from_secs(30));
    for conn in &five {
        assert_eq!(world.pings(*conn), 1);
    }
    for conn in &five[1..] {
        world.heard(*conn);
    }
    world.advance(Micros::from_secs(10));
    let next = world.connect(&tenant, "bob");
    assert_eq!(world.closed(next), None);
    assert_eq!(world.closed(five[0]), Some(CloseReason::Unresponsive));
}

#[test]
fn a_connection_is_pinged_every_30_s_and_closed_after_60_s_of_silence() {
    let (mut world, tenant) = world();
    let bob = world.connect(&tenant, "bob");
    world.advance(Micros::from_secs(31));
    assert_eq!(world.pings(bob), 1);
    world.heard(bob);
    world.advance(Micros::from_millis(59_999));
    assert_eq!(world.closed(bob), None);
    assert_eq!(world.pings(bob), 3);
    world.advance(Micros::from_millis(1));
    assert_eq!(world.closed(bob), Some(CloseReason::Unresponsive));
}

#[test]
fn any_frame_is_a_sign_of_life() {
    let (mut world, tenant) = world();
    let bob = world.connect(&tenant, "bob");
    for _ in 0..5 {
        world.advance(Micros::from_secs(50));
        world.frame(bob, r#"{"type":"ping"}"#);
    }
    assert_eq!(world.closed(bob), None);
}

#[test]
fn a_connection_that_takes_nothing_for_60_s_is_closed_though_it_still_talks() {
    let (mut world, tenant) = world();
    let room = world.create_room(&tenant, "alice", &["bob"]);
    let bob = world.connect(&tenant, "bob");
    world.stall(bob);
    world.send(&tenant, "alice", &room, "hello");
    for _ in 0..5 {
        world.advance(Micros::from_secs(11));
        world.heard(bob);
    }
    assert_eq!(world.closed(bob), None);
    world.advance(Micros::from_secs(5));
    assert_eq!(world.closed(bob), Some(CloseReason::SlowReader));
}

#[test]
fn what_is_no_frame_is_answered_and_the_twentieth_in_a_row_ends_the_connection() {
    let (mut world, tenant) = world();
    let bob = world.connect(&tenant, "bob");
    world.frames(bob);
    for _ in 0..19 {
        world.frame(bob, "nonsense");
    }
    world.frame(bob, r#"{"type":"ping"}"#);
    let frames = world.frames(bob);
    assert_eq!(frames.len(), 20);
    assert!(frames[..19].iter().all(|frame| frame["type"] == "error" && frame["code"] == "VALIDATION_ERROR"));
    for _ in 0..20 {
        world.frame(bob, "nonsense");
    }
    assert_eq!(world.closed(bob), Some(CloseReason::TooManyInvalidFrames));
}

#[test]
fn refused_frames_are_answered_with_their_code_and_request_id() {
    let (mut world, tenant) = world();
    let room = world.create_room(&tenant, "alice", &["carol"]);
    let other = world.create_tenant("{}");
    let foreign = world.create_room(&other, "zoe", &["bob"]);
    let bob = world.connect(&tenant, "bob");
    world.frames(bob);
    for (room_id, code) in [(room.as_str(), "AUTHORIZATION_ERROR"), (&foreign, "NOT_FOUND"), ("room_x", "NOT_FOUND")] {
        for frame in [
            format!(r#"{{"type":"send_message","room_id":"{room_id}","content":"x","request_id":"r"}}"#),
            format!(r#"{{"type":"ack","data":{{"room_id":"{room_id}","seq":0}},"request_id":"r"}}"#),
        ] {
            world.frame(bob, &frame);
            let answer = world.frames(bob).remove(0);
            assert_eq!((&answer["code"], &answer["request_id"]), (&code.into(), &"r".into()), "{frame}");
        }
    }
}

#[test]
fn an_ack_that_moves_is_told_to_every_member_and_one_that_does_not_to_the_asker_alone() {
    let (mut world, tenant) = world();
    let room = world.create_room(&tenant, "alice", &["bob"]);
    world.send(&tenant, "alice", &room, "one");
    let [alice, bob] = ["alice", "bob"].map(|user| world.connect(&tenant, user));
    world.frames(alice);
    world.frames(bob);
    let ack = format!(r#"{{"type":"ack","room_id":"{room}","seq":1,"request_id":"a"}}"#);
    world.frame(bob, &ack);
    let told = &world.frames(alice)[0];
    assert_eq!((&told["type"], &told["seq"], &told["user_id"]), (&"ack.received".into(), &1.into(), &"bob".into()));
    assert!(told.get("request_id").is_none());
    assert_eq!(world.frames(bob)[0]["request_id"], "a");
    world.frame(bob, &ack);
    assert!(world.frames(alice).is_empty());
    assert_eq!(world.frames(bob).len(), 1);
}

#[test]
fn a_repeat_by_idempotency_key_is_answered_to_its_connection_alone() {
    let (mut world, tenant) = world();
    let room = world.create_room(&tenant, "alice", &["bob"]);
    let [alice, bob] = ["alice", "bob"].map(|user| world.connect(&tenant, user));
    let frame = |content: &str| {
        format!(
            r#"{{"type":"send_message","room_id":"{room}","content":"{content}","idempotency_key":"k","request_id":"r"}}"#
        )
    };
    world.frame(alice, &frame("hello"));
    world.frames(alice);
    assert_eq!(world.seqs(bob), [1]);
    world.frame(alice, &frame("hello"));
    let replay = &world.frames(alice)[0];
    assert_eq!((&replay["replayed"], &replay["seq"], &replay["request_id"]), (&true.into(), &1.into(), &"r".into()));
    assert!(world.frames(bob).is_empty());
    world.frame(alice, &frame("other"));
    assert_eq!(world.frames(alice)[0]["code"], "IDEMPOTENCY_KEY_REUSED");
}

#[test]
fn a_shutdown_says_goodbye_answers_what_is_under_way_and_accepts_nothing_new() {
    let (mut world, tenant) = world();
    let room = world.create_room(&tenant, "alice", &["bob"]);
    let bob = world.connect(&tenant, "bob");
    world.frames(bob);
    world.hold_store();
    let headers = [("X-API-Key", tenant.api_key.as_str()), ("X-User-Id", "alice")];
    let under_way = world.rest_later("POST", &format!("/rooms/{room}/messages"), &headers, r#"{"content":"x"}"#);
    world.shut_down();
    let frames = world.frames(bob);
    assert_eq!(frames[0]["type"], "server.shutdown");
    let wait_ms = frames[0]["reconnect_after_ms"].as_u64().unwrap();
    assert!((2_500..=7_500).contains(&wait_ms), "{wait_ms}");
    assert_eq!(world.closed(bob), Some(CloseReason::Shutdown));
    for target in ["/rooms", "/readyz"] {
        let refused = world.rest_later("GET", target, &headers, "");
        assert_eq!(world.answer(refused).unwrap().status, 503, "{target}");
    }
    assert_eq!(world.handshake("/ws", &headers).unwrap_err().status, 503);
    let alive = world.rest_later("GET", "/livez", &[], "");
    assert_eq!(world.answer(alive).unwrap().status, 200);
    assert!(!world.is_stopped());
    world.release_store();
    assert_eq!(world.answer(under_way).unwrap().status, 200);
    assert!(world.is_stopped());
}

#[test]
fn a_shutdown_ends_in_time_though_the_store_hangs() {
    let (mut world, tenant) = world();
    let room = world.create_room(&tenant, "alice", &["bob"]);
    world.hold_store();
    let headers = [("X-API-Key", tenant.api_key.as_str()), ("X-User-Id", "alice")];
    let under_way = world.rest_later("POST", &format!("/rooms/{room}/messages"), &headers, r#"{"content":"x"}"#);
    world.shut_down();
    world.advance(Micros::from_secs(10));
    assert_eq!(world.answer(under_way).unwrap().status, 503);
    assert!(world.is_stopped());
}
