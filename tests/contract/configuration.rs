//! Settings take effect, and what does not parse is told (protocol, section 10). More: `tests/operations.rs`.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{Server, command, eventually};
use crate::world::operator;

/// The rate that a tenant has which sets none.
fn default_rate(server: &Server) -> String {
    let tenant = server.create_tenant("{}");
    server.as_user(&tenant, "alice", "GET", "/rooms", "").header("RateLimit-Limit").unwrap().to_owned()
}

fn owned(settings: &[(&str, &str)]) -> Vec<(String, String)> {
    settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// What a start says that must fail.
fn refused(settings: &[(&str, &str)], flags: &[&str]) -> String {
    let data_dir = tempfile::tempdir().unwrap();
    let output = command(data_dir.path(), &owned(settings)).args(flags).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{settings:?} {flags:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// The whole log of a server that starts and ends.
fn log_of(settings: &[(&str, &str)]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let output = || Stdio::from(std::fs::File::options().create(true).append(true).open(&path).unwrap());
    let mut server = Server::start_unseen(settings, output);
    server.signal("TERM");
    assert_eq!(server.await_exit(), Some(0));
    std::fs::read_to_string(&path).unwrap()
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    for (environment, flags, expected) in [
        (&[][..], &[][..], "11"),
        (&[("DEFAULT_RATE_LIMIT", "22")], &[], "22"),
        (&[("DEFAULT_RATE_LIMIT", "22")], &["--default-rate-limit", "33"], "33"),
        (&[], &["--default-rate-limit=33"], "33"),
    ] {
        let data_dir = tempfile::tempdir().unwrap();
        std::fs::write(data_dir.path().join(".env"), "DEFAULT_RATE_LIMIT=11\n").unwrap();
        let server = Server::start_in(data_dir, owned(environment), flags);
        assert_eq!(default_rate(&server), expected, "{environment:?} {flags:?}");
    }
}

#[test]
fn a_port_alone_means_every_interface_and_the_bound_address_is_logged() {
    let server = Server::start_with(&[("LISTEN_ADDR", ":0")]);
    let port = server.address().port();
    assert_ne!(port, 0);
    for address in ["127.0.0.1", "127.0.0.2"] {
        let address: SocketAddr = format!("{address}:{port}").parse().unwrap();
        let answer = crate::support::request(&crate::support::agent(), address, "GET", "/livez", &[], "");
        assert_eq!(answer.unwrap().status, 200, "{address}");
    }
}

#[test]
fn a_relative_database_is_in_the_data_dir_which_is_made_if_missing() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("a/b");
    let settings = [("DATA_DIR", data.to_str().unwrap()), ("DATABASE_DSN", "file:own.db")];
    let server = Server::start_with(&settings);
    assert!(data.join("own.db").is_file());
    assert!(!server.data_dir().join("own.db").exists());
}

#[test]
fn without_a_data_dir_the_database_is_chatapi_db_in_the_working_directory() {
    let data_dir = tempfile::tempdir().unwrap();
    let mut process = command(data_dir.path(), &[]).env_remove("DATA_DIR").stdout(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(process.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("\"listening\"") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "the server did not start");
    }
    let exists = data_dir.path().join("chatapi.db").is_file();
    process.kill().unwrap();
    process.wait().unwrap();
    assert!(exists);
}

#[test]
fn an_absolute_database_is_where_it_says() {
    let elsewhere = tempfile::tempdir().unwrap();
    let path = elsewhere.path().join("far.db");
    let server = Server::start_with(&[("DATABASE_DSN", path.to_str().unwrap())]);
    assert!(path.is_file() && !server.data_dir().join("chatapi.db").exists());
}

#[test]
fn the_original_s_parameters_of_a_database_are_ignored_with_a_warning() {
    let log = log_of(&[("DATABASE_DSN", "file:x.db?_journal_mode=WAL&_busy_timeout=5000")]);
    assert!(log.contains("_journal_mode") && log.contains("WARN"), "{log}");
}

#[test]
fn log_dir_is_ignored_with_a_warning() {
    let log = log_of(&[("LOG_DIR", "/nowhere/logs")]);
    assert!(log.contains("LOG_DIR") && log.contains("WARN"), "{log}");
}

#[test]
fn a_database_in_memory_is_refused() {
    for dsn in [":memory:", "file::memory:", "file:x?mode=memory", "file::memory:?cache=shared"] {
        assert!(refused(&[("DATABASE_DSN", dsn)], &[]).contains("DATABASE_DSN"), "{dsn}");
    }
}

#[test]
fn a_master_key_has_at_least_16_characters() {
    let shortest = "0123456789abcdef";
    let server = Server::start_with(&[("MASTER_API_KEY", shortest)]);
    let listed = server.request("GET", "/admin/tenants", &[("X-Master-Key", shortest)], "");
    assert_eq!(listed.status, 200);
    let said = refused(&[("MASTER_API_KEY", &shortest[1..])], &[]);
    assert!(said.contains("MASTER_API_KEY") && said.contains("16") && !said.contains(&shortest[1..]), "{said}");
}

#[test]
fn the_secrets_are_no_flags() {
    let data_dir = tempfile::tempdir().unwrap();
    for flag in ["--master-api-key", "--metrics-token"] {
        let output = command(data_dir.path(), &[]).args([flag, "0123456789abcdef"]).output().unwrap();
        assert_ne!(output.status.code(), Some(0), "{flag}");
        assert!(String::from_utf8(output.stderr).unwrap().contains(flag), "{flag}");
    }
}

#[test]
fn a_user_has_ws_max_connections_per_user_connections_at_most() {
    let server = Server::start_with(&[("WS_MAX_CONNECTIONS_PER_USER", "1")]);
    let tenant = server.create_tenant("{}");
    let mut first = server.connect(&tenant, "alice");
    first.next_of("sync.complete");
    assert_eq!(server.connect(&tenant, "alice").close_code().0, 1008);
    server.connect(&tenant, "bob").next_of("sync.complete");
}

#[test]
fn default_rate_limit_holds_for_tenants_that_set_none() {
    let server = Server::start_with(&[("DEFAULT_RATE_LIMIT", "7")]);
    assert_eq!(default_rate(&server), "7");
    let created = operator(&server, "POST", "/admin/tenants", r#"{"name":"x","config":{"rate_limit":9}}"#);
    assert_eq!(created.body["config"]["rate_limit"], 9);
    let path = format!("/admin/tenants/{}", created.text("tenant_id"));
    let reset = operator(&server, "PATCH", &path, r#"{"config":{"rate_limit":null}}"#);
    assert_eq!(reset.body["config"]["rate_limit"], 7);
}

#[test]
fn retry_max_attempts_is_the_default_of_retry_limit() {
    let server = Server::start_with(&[("RETRY_MAX_ATTEMPTS", "9")]);
    let created = operator(&server, "POST", "/admin/tenants", r#"{"name":"x"}"#);
    assert_eq!(created.body["config"]["retry_limit"], 9);
}

#[test]
fn a_default_that_is_changed_holds_for_tenants_that_are_there() {
    let server = Server::start_with(&[("DEFAULT_RATE_LIMIT", "7")]);
    let tenant = server.create_tenant("{}");
    let (data_dir, path) = (server.data_dir().to_owned(), format!("/admin/tenants/{}", tenant.tenant_id));
    let copy = tempfile::tempdir().unwrap();
    let database = rusqlite::Connection::open(data_dir.join("chatapi.db")).unwrap();
    database.execute("VACUUM INTO ?1", [copy.path().join("chatapi.db").to_str().unwrap()]).unwrap();
    let other = Server::start_in(copy, owned(&[("DEFAULT_RATE_LIMIT", "8")]), &[]);
    assert_eq!(operator(&other, "GET", &path, "").body["config"]["rate_limit"], 8);
    assert_eq!(other.as_user(&tenant, "alice", "GET", "/rooms", "").header("RateLimit-Limit"), Some("8"));
}

#[test]
fn durations_are_go_style() {
    for duration in ["500ms", "30s", "5m", "1h", "1h30m", "1.5s"] {
        let server = Server::start_with(&[
            ("WORKER_INTERVAL", duration),
            ("RETRY_INTERVAL", duration),
            ("WEBHOOK_BREAKER_OPEN", duration),
            ("SHUTDOWN_DRAIN_TIMEOUT", duration),
        ]);
        assert_eq!(server.request("GET", "/readyz", &[], "").status, 200, "{duration}");
    }
}

#[test]
fn a_value_that_does_not_parse_stops_the_start_and_says_what_the_variable_takes() {
    for (variable, values) in [
        ("LISTEN_ADDR", &["8080", "localhost", "host:port", ":99999", ":-1"][..]),
        ("WS_MAX_CONNECTIONS_PER_USER", &["0", "-1", "many", "5.5"]),
        ("DEFAULT_RATE_LIMIT", &["0", "-1", "1e3", "100/s"]),
        ("WORKER_INTERVAL", &["30", "30 s", "1d", "-1s", "soon"]),
        ("RETRY_INTERVAL", &["30", "", "s"]),
        ("RETRY_MAX_ATTEMPTS", &["0", "-1", "x"]),
        ("WEBHOOK_CONCURRENCY", &["0", "x"]),
        ("WEBHOOK_BREAKER_OPEN", &["30"]),
        ("WEBHOOK_BLOCK_PRIVATE", &["yes", "1", "TRUE!"]),
        ("LARGE_ROOM_MEMBERS", &["0", "x"]),
        ("SHUTDOWN_DRAIN_TIMEOUT", &["10", "10x"]),
        ("DATABASE_SYNCHRONOUS", &["off", "FULL!"]),
        ("LOG_LEVEL", &["loud", "trace"]),
        ("LOG_FORMAT", &["xml"]),
    ] {
        for value in values.iter().filter(|value| !value.is_empty()) {
            let said = refused(&[(variable, value)], &[]);
            assert!(said.contains(&format!("{variable} takes ")), "{variable}={value}: {said}");
        }
    }
}

#[test]
fn an_unknown_flag_stops_the_start() {
    let data_dir = tempfile::tempdir().unwrap();
    let output = command(data_dir.path(), &[]).arg("--listen-adr=:0").output().unwrap();
    assert!(output.status.code().is_some_and(|code| code != 0));
}

#[test]
fn a_database_that_is_less_synchronous_serves() {
    let server = Server::start_with(&[("DATABASE_SYNCHRONOUS", "normal")]);
    let tenant = server.create_tenant("{}");
    let room = server.create_room(&tenant, "alice", &[]);
    assert_eq!(server.send(&tenant, "alice", &room, "x").body["seq"], 1);
    let server = server.kill_and_restart();
    assert_eq!(server.history(&tenant, "alice", &room).len(), 1);
}

#[test]
fn a_log_is_json_lines_or_text_as_it_is_set() {
    let data_dir = tempfile::tempdir().unwrap();
    for (format, is_json) in [("json", true), ("text", false)] {
        let settings = owned(&[("LOG_FORMAT", format)]);
        let mut process = command(data_dir.path(), &settings).stdout(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "the server did not start");
            assert_eq!(serde_json::from_str::<Value>(&line).is_ok(), is_json, "{line}");
        }
        process.kill().unwrap();
        process.wait().unwrap();
    }
}

#[test]
fn a_log_of_a_higher_level_leaves_out_what_is_below_it() {
    let at = |level: &str| log_of(&[("LOG_LEVEL", level), ("LOG_DIR", "/x")]);
    assert_eq!(at("error"), "");
    let warnings = at("warn");
    assert!(warnings.contains("WARN") && !warnings.contains("INFO"), "{warnings}");
    assert!(at("info").contains("INFO"));
}

#[test]
fn readyz_is_503_from_the_start_of_a_shutdown_while_livez_answers() {
    let mut server = Server::start();
    let tenant = server.create_tenant("{}");
    // A socket that does not say goodbye keeps the shutdown under way.
    let mut bob = server.connect(&tenant, "bob");
    bob.next_of("sync.complete");
    let (address, agent) = (server.address(), crate::support::agent());
    let ask = |path: &str| crate::support::request(&agent, address, "GET", path, &[], "");
    assert_eq!(ask("/readyz").unwrap().status, 200);
    server.signal("TERM");
    eventually("it is not ready any more, or gone", || ask("/readyz").map_or(true, |answer| answer.status == 503));
    assert!(ask("/livez").map_or(true, |answer| answer.status == 200));
    drop(bob);
    assert_eq!(server.await_exit(), Some(0));
}

#[test]
fn settings_of_a_room_s_size_decide_who_hears_of_acks() {
    let server = Server::start_with(&[("LARGE_ROOM_MEMBERS", "2")]);
    let tenant = server.create_tenant("{}");
    let room = server.create_room(&tenant, "alice", &["bob", "carol"]);
    let mut alice = server.connect(&tenant, "alice");
    alice.next_of("sync.complete");
    server.send(&tenant, "alice", &room, "x");
    alice.next_of("message");
    let ack = json!({"room_id": room, "seq": 1}).to_string();
    assert_eq!(server.as_user(&tenant, "bob", "POST", "/acks", &ack).status, 200);
    server.send(&tenant, "alice", &room, "y");
    let frames = alice.until("message");
    assert!(frames.iter().all(|frame| frame["type"] != "ack.received"), "{frames:?}");
}

#[test]
fn the_file_is_read_in_the_working_directory_not_in_the_data_dir() {
    let (working, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(working.path().join(".env"), "DEFAULT_RATE_LIMIT=11\n").unwrap();
    std::fs::write(data.path().join(".env"), "DEFAULT_RATE_LIMIT=22\n").unwrap();
    let settings = owned(&[("DATA_DIR", data.path().to_str().unwrap())]);
    assert_eq!(default_rate(&Server::start_in(working, settings, &[])), "11");
}

#[test]
fn sigint_ends_the_process_gently_as_sigterm_does() {
    let mut server = Server::start();
    let tenant = server.create_tenant("{}");
    let mut bob = server.connect(&tenant, "bob");
    bob.next_of("sync.complete");
    server.signal("INT");
    assert_eq!(bob.next()["type"], "server.shutdown");
    assert_eq!(bob.close_code().0, 1001);
    assert_eq!(server.await_exit(), Some(0));
}
