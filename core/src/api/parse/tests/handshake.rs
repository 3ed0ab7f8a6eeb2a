use super::*;
use crate::ws::{BacklogChoice, HandshakeCredentials};

fn handshake(target: &str, more: RawHeaders<'_>) -> HandshakeRequest {
    let headers: Vec<_> = UPGRADE.iter().chain(more).copied().collect();
    match parse("GET", target, &headers, Body::Complete(b"")).1 {
        Action::Handshake(upgrade) => *upgrade.request,
        other @ (Action::Answer(_) | Action::Call(_)) => panic!("{target}: {other:?}"),
    }
}

#[test]
fn a_get_ws_that_is_no_upgrade_is_426_credentials_or_not() {
    let without = |name: &str| -> Vec<(&str, &[u8])> {
        let others = UPGRADE.iter().filter(|(known, _)| *known != name);
        others.copied().chain([("x-api-key", b"sk".as_slice())]).collect()
    };
    let with = |name: &'static str, value: &'static [u8]| {
        let mut headers = without(name);
        headers.push((name, value));
        headers
    };
    for (method, headers, version) in [
        ("GET", vec![], None),
        ("GET", without("connection"), None),
        ("GET", without("upgrade"), None),
        ("GET", with("connection", b"keep-alive, upgraded"), None),
        ("GET", with("upgrade", b"h2c"), None),
        ("HEAD", UPGRADE.to_vec(), None),
        ("GET", without("sec-websocket-version"), Some("13")),
        ("GET", with("sec-websocket-version", b"8"), Some("13")),
        ("GET", [&UPGRADE[..], &[("sec-websocket-version", b"13")]].concat(), Some("13")),
    ] {
        let response = answer(method, "/ws?sync=x", &headers);
        assert_eq!(response.status, 426, "{headers:?}");
        assert_eq!(header(&response, "Upgrade"), Some("websocket"));
        assert_eq!(header(&response, "Connection"), Some("Upgrade"));
        assert_eq!(header(&response, "Sec-WebSocket-Version"), version, "{headers:?}");
    }
}

#[test]
fn a_handshake_needs_one_key_of_16_bytes() {
    let keyless = &UPGRADE[..3];
    let keys: [&[&[u8]]; 5] = [
        &[],
        &[b""],
        &[b"dGhlIHNhbXBsZSBub25jZQ"],
        &[b"c2hvcnQ="],
        &[b"dGhlIHNhbXBsZSBub25jZQ==", b"dGhlIHNhbXBsZSBub25jZQ=="],
    ];
    for keys in keys {
        let given = keys.iter().map(|key| ("sec-websocket-key", *key));
        let headers: Vec<_> = keyless.iter().copied().chain(given).collect();
        assert_eq!(answer("GET", "/ws", &headers).status, 400, "{keys:?}");
    }
    let Action::Handshake(upgrade) = parse("GET", "/v1/ws", &UPGRADE, Body::Complete(b"")).1 else {
        panic!("not a handshake");
    };
    assert_eq!(upgrade.key, "dGhlIHNhbXBsZSBub25jZQ==");
}

#[test]
fn upgrade_headers_may_be_split_over_lines_and_mean_nothing_elsewhere() {
    let headers: [(&str, &[u8]); 6] = [
        ("connection", b"keep-alive"),
        ("connection", b" UPGRADE "),
        ("upgrade", b"h2c"),
        ("upgrade", b"websocket"),
        UPGRADE[2],
        UPGRADE[3],
    ];
    assert!(matches!(parse("GET", "/ws", &headers, Body::Complete(b"")).1, Action::Handshake(_)));
    let lone: RawHeaders<'_> = &[("connection", b"upgrade")];
    assert!(request("GET", "/rooms", lone, "").call.is_ok());
    assert!(request("GET", "/rooms", &UPGRADE, "").call.is_ok());
}

#[test]
fn a_handshake_is_of_a_token_or_else_of_a_key() {
    let key = |user| HandshakeCredentials::ApiKey { api_key: Digest::of(b"sk"), user };
    let token = |text: &str, user| HandshakeCredentials::Token { token: Digest::of(text.as_bytes()), user };
    let sk: (&str, &[u8]) = ("x-api-key", b"sk");
    let alice: (&str, &[u8]) = ("x-user-id", b"alice");
    for (target, headers, credentials) in [
        ("/ws", vec![], HandshakeCredentials::Missing),
        ("/ws?api_key=sk&user_id=alice", vec![], HandshakeCredentials::Missing),
        ("/ws", vec![alice], HandshakeCredentials::Missing),
        ("/ws", vec![sk], key(UserHeader::Absent)),
        ("/ws?user_id=bob", vec![sk, alice], key(user("alice"))),
        ("/ws?user_id=b%C3%B6b", vec![sk], key(user("böb"))),
        ("/ws?user_id=", vec![sk], key(UserHeader::Invalid)),
        ("/ws?user_id=%ff", vec![sk], key(UserHeader::Invalid)),
        ("/ws?user_id=bob", vec![sk, ("x-user-id", b"")], key(UserHeader::Invalid)),
        ("/ws?token=wst_1", vec![sk, alice], token("wst_1", UserHeader::Absent)),
        ("/ws?token=wst%5F1&user_id=bob", vec![], token("wst_1", user("bob"))),
        ("/ws?token=", vec![sk], token("", UserHeader::Absent)),
    ] {
        let read = handshake(target, &headers);
        assert_eq!((read.credentials, read.origin), (credentials, None), "{target} {headers:?}");
    }
}

#[test]
fn a_handshake_s_backlog_is_streamed_unless_sync_is_false() {
    for (target, backlog) in [
        ("/ws", Ok(BacklogChoice::Stream)),
        ("/ws?sync=true", Ok(BacklogChoice::Stream)),
        ("/ws?sync=false", Ok(BacklogChoice::Skip)),
        ("/ws?sync=", Err("sync")),
        ("/ws?sync=0", Err("sync")),
        ("/ws?sync=False", Err("sync")),
        ("/ws?sync=true&sync=true", Err("sync")),
        ("/ws?user_id=a&user_id=a", Err("user_id")),
    ] {
        let read = handshake(target, &[]).backlog;
        let read = read.as_ref().map_err(|error| error.field.as_deref().unwrap());
        assert_eq!(read, backlog.as_ref().map_err(|field| *field), "{target}");
    }
}

#[test]
fn repeated_credentials_and_origins_of_a_handshake_count_for_nothing() {
    let twice = handshake("/ws?token=a&token=b", &[("x-api-key", b"sk")]);
    assert_eq!(twice.credentials, HandshakeCredentials::Missing);
    assert_eq!(twice.backlog.unwrap_err().field.as_deref(), Some("token"));
    let keys = handshake("/ws", &[("x-api-key", b"sk"), ("x-api-key", b"sk")]);
    assert_eq!(keys.credentials, HandshakeCredentials::Missing);
    assert_eq!(keys.backlog.unwrap_err().field.as_deref(), Some("X-API-Key"));
    let origins = handshake("/ws", &[("origin", b"https://a"), ("origin", b"https://a")]);
    assert_eq!(origins.origin.as_deref(), Some("https://a, https://a"));
    assert_eq!(origins.backlog.unwrap_err().field.as_deref(), Some("Origin"));
    let unreadable = handshake("/ws", &[("origin", b"\xff")]);
    assert_eq!(unreadable.origin.as_deref(), Some("\u{fffd}"));
    assert_eq!(handshake("/ws", &[("origin", b"https://a")]).origin.as_deref(), Some("https://a"));
}
