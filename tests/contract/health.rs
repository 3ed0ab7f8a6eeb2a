//! How the process is (protocol, section 9). Metrics: `tests/metrics.rs`.

use std::collections::BTreeSet;

use crate::support::{Server, eventually};
use crate::world::{ROUTES, assert_refused, shared};

#[test]
fn health_has_these_fields() {
    let health = shared().request("GET", "/health", &[], "");
    assert_eq!(health.status, 200);
    let keys: BTreeSet<&str> = health.body.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, BTreeSet::from(["status", "service", "version", "uptime", "db_writable"]));
    assert_eq!(health.text("version"), env!("CARGO_PKG_VERSION"));
    let uptime = health.text("uptime");
    assert!(uptime.ends_with('s') && uptime.chars().all(|c| c.is_ascii_digit() || "hms".contains(c)), "{uptime}");
}

#[test]
fn health_is_503_with_error_when_a_real_write_fails_and_200_again_afterwards() {
    let server = Server::start();
    let other = rusqlite::Connection::open(server.data_dir().join("chatapi.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    eventually("a write was tried", || server.request("GET", "/health", &[], "").status == 503);
    let sick = server.request("GET", "/health", &[], "");
    assert_eq!((sick.status, sick.text("status").as_str()), (503, "error"));
    assert_eq!((&sick.body["db_writable"], sick.text("service").as_str()), (&false.into(), "chatapi"));
    assert_eq!(server.request("GET", "/livez", &[], "").status, 200, "the process answers");
    other.execute_batch("ROLLBACK").unwrap();
    eventually("it is well again", || server.request("GET", "/health", &[], "").status == 200);
}

#[test]
fn probes_take_no_credentials_and_are_not_limited() {
    let server = shared();
    for path in ["/health", "/livez", "/readyz"] {
        for headers in [&[][..], &[("X-API-Key", "sk_wrong"), ("X-User-Id", ""), ("Authorization", "Bearer x")]] {
            let answer = server.request("GET", path, headers, "");
            assert!(answer.status == 200 || headers.len() > 1, "{path} {answer:?}");
            assert_ne!(answer.status, 401, "{path}");
        }
    }
}

#[test]
fn the_document_is_openapi_3_1_and_describes_every_route() {
    let document = shared().request("GET", "/openapi.json", &[], "");
    assert_eq!((document.status, document.header("Content-Type")), (200, Some("application/json")));
    assert!(document.text("openapi").starts_with("3.1."));
    let names = [
        ("TENANT", "{tenant_id}"),
        ("ROOM", "{room_id}"),
        ("MESSAGE", "{message_id}"),
        ("bob", "{user_id}"),
        ("/1", "/{id}"),
    ];
    for route in ROUTES {
        let path = names.iter().fold(route.path.to_owned(), |path, (sample, name)| path.replace(sample, name));
        let operation = &document.body["paths"][&path][route.method.to_lowercase()];
        assert!(operation.is_object(), "{} {path}", route.method);
    }
    assert!(document.body["paths"]["/ws"]["get"].is_object());
}

#[test]
fn the_metrics_token_is_taken_in_no_other_place() {
    let server = Server::start_with(&[("METRICS_TOKEN", "the-token")]);
    for (path, headers) in [
        ("/metrics?token=the-token", &[][..]),
        ("/metrics", &[("X-Master-Key", crate::support::MASTER_KEY)]),
        ("/metrics", &[("Authorization", "Basic the-token")]),
        ("/metrics", &[("Authorization", "the-token")]),
        ("/metrics", &[("Authorization", "Bearer the-token-and-more")]),
    ] {
        assert_refused(&server.request("GET", path, headers, ""), 401, "AUTHENTICATION_ERROR", path);
    }
    for path in ["/health", "/livez", "/readyz"] {
        assert_eq!(server.request("GET", path, &[], "").status, 200, "{path}");
    }
}

#[test]
fn all_who_ask_for_the_health_share_one_write_a_second() {
    let server = Server::start();
    let writes = || {
        let metrics = server.request("GET", "/metrics", &[], "");
        metrics.body["store_latency_seconds"]["count"].as_u64().unwrap()
    };
    let (before, started) = (writes(), std::time::Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..100 {
                    assert_eq!(server.request("GET", "/health", &[], "").status, 200);
                }
            });
        }
    });
    let most = started.elapsed().as_secs() + 2;
    let made = writes() - before;
    assert!((1..=most).contains(&made), "{made} writes in {most} s");
}
