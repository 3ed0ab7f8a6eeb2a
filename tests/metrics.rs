//! `GET /metrics` as monitoring sees it (protocol, section 9).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on is a test that failed")]

mod support;

use std::collections::BTreeMap;

use serde_json::Value;
use support::{Server, Tenant};

const PROMETHEUS: &str = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

/// Asks over a connection of its own; the head in lower case, and the body.
fn scrape(server: &Server, lines: &str) -> (String, String) {
    let request = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n");
    let answer = server.raw(request.as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_ascii_lowercase(), body.to_owned())
}

/// Samples of JSON, under the names that the other formats have for them.
fn json_samples(body: &str) -> BTreeMap<String, f64> {
    let json: Value = serde_json::from_str(body).unwrap();
    let mut samples = BTreeMap::new();
    for (name, value) in json.as_object().unwrap() {
        let Some(buckets) = value["buckets"].as_object() else {
            samples.insert(format!("chatapi_{name}"), value.as_f64().unwrap());
            continue;
        };
        samples.insert(format!("chatapi_{name}_count"), value["count"].as_f64().unwrap());
        samples.insert(format!("chatapi_{name}_sum"), value["sum_seconds"].as_f64().unwrap());
        for (bound, count) in buckets {
            samples.insert(format!("chatapi_{name}_bucket{{le=\"{bound}\"}}"), count.as_f64().unwrap());
        }
    }
    samples
}

fn text_samples(body: &str) -> BTreeMap<String, f64> {
    let lines = body.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.strip_suffix("_total").unwrap_or(name).to_owned(), value.parse().unwrap())
        })
        .collect()
}

/// A server with something to tell: three messages, a connection.
fn busy() -> (Server, Tenant, support::Socket) {
    let server = Server::start();
    let tenant = server.create_tenant("{}");
    let room = server.create_room(&tenant, "alice", &["bob"]);
    let mut bob = server.connect(&tenant, "bob");
    bob.next_of("sync.complete");
    for _ in 0..3 {
        assert_eq!(server.send(&tenant, "alice", &room, "x").status, 200);
    }
    (server, tenant, bob)
}

#[test]
fn the_original_s_fields_stand_in_json_beside_gauges_and_latencies() {
    let (server, _tenant, _bob) = busy();
    let metrics = server.request("GET", "/metrics", &[], "").body;
    for (name, value) in [
        ("active_connections", 1),
        ("messages_sent", 3),
        ("dropped_broadcasts", 0),
        ("delivery_attempts", 0),
        ("delivery_failures", 0),
        ("pending_store_operations", 0),
        ("queued_writes", 0),
        ("queued_reads", 0),
        ("incoming_bytes", 0),
    ] {
        assert_eq!(metrics[name], value, "{name} in {metrics}");
    }
    assert!(metrics["uptime_seconds"].is_u64());
    assert!(metrics["wal_bytes"].as_u64().is_some_and(|bytes| bytes >= 4_096), "{metrics}");
    // A tenant, a room, three messages; not the handshake, nor this one.
    let rest = &metrics["rest_latency_seconds"];
    assert_eq!((&rest["count"], &rest["buckets"]["+Inf"]), (&5.into(), &5.into()), "{metrics}");
    assert!(rest["sum_seconds"].as_f64().is_some_and(|secs| secs > 0.0), "each of them waited for a commit");
    assert!(metrics["store_latency_seconds"]["count"].as_u64().is_some_and(|count| count >= 7), "{metrics}");
    assert_eq!(metrics["delivery_latency_seconds"]["count"], 0);
}

#[test]
fn every_format_counts_the_same_under_the_same_names() {
    let (server, tenant, _bob) = busy();
    // Time passes between the first and the last, and each counts those before it.
    let moves =
        |name: &str| ["uptime_seconds", "requests_answered", "rest_latency"].iter().any(|prefix| name.contains(prefix));
    let (head, json) = scrape(&server, "");
    assert!(head.contains("content-type: application/json"), "{head}");
    let json = json_samples(&json);
    for (accept, content_type) in [
        ("text/plain", "text/plain; version=0.0.4; charset=utf-8"),
        (PROMETHEUS, "application/openmetrics-text; version=1.0.0; charset=utf-8"),
    ] {
        let (head, body) = scrape(&server, &format!("Accept: {accept}\r\n"));
        assert!(head.contains(&format!("content-type: {content_type}")), "{head}");
        assert!(!body.contains("tenant") && !body.contains(&tenant.tenant_id), "{body}");
        assert_eq!(body.ends_with("# EOF\n"), accept == PROMETHEUS, "{body}");
        let samples = text_samples(&body);
        assert_eq!(samples.keys().collect::<Vec<_>>(), json.keys().collect::<Vec<_>>());
        for (name, value) in &samples {
            if moves(name) {
                assert!(*value >= json[name], "{name}: {value} after {}", json[name]);
            } else {
                assert_eq!(*value, json[name], "{name}");
            }
        }
        assert!(samples["chatapi_requests_answered"] > json["chatapi_requests_answered"]);
    }
}

#[test]
fn json_is_the_answer_to_whoever_asks_for_nothing_else() {
    let server = Server::start();
    for accept in ["", "Accept: */*\r\n", "Accept: application/json, text/plain, */*\r\n", "Accept: image/png\r\n"] {
        let (head, body) = scrape(&server, accept);
        assert!(head.contains("content-type: application/json"), "{accept} {head}");
        assert!(serde_json::from_str::<Value>(&body).unwrap().is_object());
    }
    let (head, _) = scrape(&server, &format!("Accept: {BROWSER}\r\n"));
    assert!(head.contains("content-type: application/json"), "{head}");
    let (head, _) = scrape(&server, "Accept: application/json;q=0.1\r\nAccept: text/plain;q=0.2\r\n");
    assert!(head.contains("content-type: text/plain"), "several lines are one list: {head}");
}

#[test]
fn a_metrics_token_is_asked_for_in_every_format_and_refusals_are_json() {
    let server = Server::start_with(&[("METRICS_TOKEN", "the-token-of-the-tests")]);
    for (accept, content_type) in [
        ("*/*", "application/json"),
        ("text/plain", "text/plain; version=0.0.4"),
        (PROMETHEUS, "application/openmetrics-text; version=1.0.0"),
    ] {
        let ask = |authorization: &str| scrape(&server, &format!("Accept: {accept}\r\n{authorization}"));
        let (head, _) = ask("Authorization: Bearer the-token-of-the-tests\r\n");
        assert!(head.starts_with("http/1.1 200 ") && head.contains(content_type), "{accept}: {head}");
        for wrong in ["", "Authorization: Bearer another\r\n", "X-API-Key: the-token-of-the-tests\r\n"] {
            let (head, body) = ask(wrong);
            assert!(head.starts_with("http/1.1 401 ") && head.contains("application/json"), "{accept}: {head}");
            assert!(body.contains("AUTHENTICATION_ERROR"), "{body}");
        }
    }
}
