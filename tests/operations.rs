//! What operators meet: starts, settings, logs, shutdowns.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on is a test that failed")]

mod support;

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::ffi::OsStrExt as _;
use std::process::{ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use support::{MASTER_KEY, Server, Tenant, command};

fn start_fails(settings: &[(&str, &str)], prepare: impl FnOnce(&std::path::Path)) -> String {
    let data_dir = tempfile::tempdir().unwrap();
    prepare(data_dir.path());
    let settings: Vec<(String, String)> =
        settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let output = command(data_dir.path(), &settings).stdout(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_value_that_does_not_parse_stops_the_start_and_names_its_variable() {
    for (variable, value) in [
        ("LISTEN_ADDR", "nowhere"),
        ("MASTER_API_KEY", "short"),
        ("SHUTDOWN_DRAIN_TIMEOUT", "10"),
        ("DATABASE_DSN", ":memory:"),
        ("LOG_LEVEL", "loud"),
    ] {
        let said = start_fails(&[(variable, value)], |_| ());
        assert!(said.contains(variable), "{said}");
    }
}

#[test]
fn a_value_that_is_no_text_stops_the_start_and_is_not_repeated() {
    let data_dir = tempfile::tempdir().unwrap();
    for variable in ["MASTER_API_KEY", "METRICS_TOKEN", "DATA_DIR", "LOG_LEVEL"] {
        let value = OsStr::from_bytes(b"not-only-letters\xFF");
        let output = command(data_dir.path(), &[]).env(variable, value).stdout(Stdio::null()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("{variable} takes ")) && !said.contains("letters"), "{said}");
    }
}

#[test]
fn every_variable_but_the_secrets_is_also_a_flag_that_is_checked_and_helped_with() {
    let data_dir = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| command(data_dir.path(), &[]).args(arguments).output().unwrap();
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    for (flag, value) in [
        ("--listen-addr", "nowhere"),
        ("--database-dsn", ":memory:"),
        ("--ws-max-connections-per-user", "0"),
        ("--default-rate-limit", "0"),
        ("--worker-interval", "30"),
        ("--retry-interval", "30"),
        ("--retry-max-attempts", "0"),
        ("--webhook-concurrency", "0"),
        ("--webhook-breaker-open", "30"),
        ("--webhook-block-private", "maybe"),
        ("--large-room-members", "0"),
        ("--shutdown-drain-timeout", "10"),
        ("--database-synchronous", "off"),
        ("--log-level", "loud"),
        ("--log-format", "xml"),
    ] {
        let output = run(&[flag, value]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{flag}: {said}");
        assert!(said.contains(&flag[2..].to_uppercase().replace('-', "_")), "{flag}: {said}");
        assert!(help.contains(flag), "{flag}");
    }
}

#[test]
fn the_parameters_of_a_data_source_are_no_part_of_its_file_s_name() {
    let server = Server::start_with(&[("DATABASE_DSN", "plain.db?_journal_mode=WAL&_busy_timeout=5000")]);
    assert!(server.data_dir().join("plain.db").exists());
    let names = std::fs::read_dir(server.data_dir()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(names.into_iter().all(|name| !name.to_str().unwrap().contains('?')));
}

#[test]
fn a_second_server_on_the_same_database_is_refused() {
    let server = Server::start();
    let output = command(server.data_dir(), &[]).stdout(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("chatapi.db"), "{said}");
    assert_eq!(server.request("GET", "/health", &[], "").status, 200);
}

#[test]
fn a_second_server_on_another_name_of_the_same_file_is_refused() {
    let server = Server::start();
    std::fs::hard_link(server.data_dir().join("chatapi.db"), server.data_dir().join("link.db")).unwrap();
    let settings = [("DATABASE_DSN".to_owned(), "link.db".to_owned())];
    let output = command(server.data_dir(), &settings).stdout(Stdio::null()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("link.db") && said.contains("hard links"), "{said}");
}

#[test]
fn a_directory_in_place_of_the_database_is_refused_as_one() {
    for dsn in [".", "/"] {
        let said = start_fails(&[("DATABASE_DSN", dsn)], |_| ());
        assert!(said.contains("is a directory") && !said.contains("hard links"), "{said}");
    }
}

#[test]
fn a_file_that_is_no_database_of_ours_is_refused_and_left_as_it_is() {
    let said = start_fails(&[], |dir| {
        std::fs::write(dir.join("chatapi.db"), "not a database, but long enough ".repeat(64)).unwrap()
    });
    assert!(said.contains("chatapi.db"), "{said}");
    let said = start_fails(&[], |dir| {
        let original = rusqlite::Connection::open(dir.join("chatapi.db")).unwrap();
        original
            .execute_batch("CREATE TABLE tenants (tenant_id TEXT PRIMARY KEY); CREATE TABLE rooms (room_id TEXT); CREATE TABLE messages (message_id TEXT)")
            .unwrap();
    });
    assert!(said.contains("chatapi import"), "{said}");
}

#[test]
fn without_a_master_key_a_random_one_is_told_once_on_stderr_and_not_in_the_log() {
    let data_dir = tempfile::tempdir().unwrap();
    let mut process = command(data_dir.path(), &[])
        .env_remove("MASTER_API_KEY")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(process.stdout.take().unwrap());
    let mut start = String::new();
    while !start.contains("listening") {
        assert!(log.read_line(&mut start).unwrap() > 0, "{start}");
    }
    let listening: serde_json::Value = serde_json::from_str(start.lines().last().unwrap()).unwrap();
    let address: SocketAddr = listening["address"].as_str().unwrap().parse().unwrap();
    process.kill().unwrap();
    let output = process.wait_with_output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    let key = told.split_once("MASTER_API_KEY=").unwrap().1.split_whitespace().next().unwrap();
    assert!(key.len() >= 32, "{told}");
    assert_eq!(told.matches(key).count(), 1, "{told}");
    assert!(told.contains(&format!("localhost:{}/rooms", address.port())), "{told}");
    assert!(told.lines().count() <= 24, "it fits a screen: {told}");
    let mut rest = String::new();
    log.read_to_string(&mut rest).unwrap();
    assert!(!start.contains(key) && !rest.contains(key));
}

/// Where every write fails as on a full disk.
fn full() -> Stdio {
    std::fs::File::options().write(true).open("/dev/full").unwrap().into()
}

/// Where every write fails, for whoever read it went away.
fn broken_pipe() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

#[test]
fn a_server_that_can_neither_log_nor_complain_starts_serves_and_ends_with_0() {
    for output in [full, broken_pipe] {
        let settings = [("LOG_LEVEL", "debug"), ("LOG_DIR", "/var/log")];
        let mut server = Server::start_unseen(&settings, output);
        let tenant = server.create_tenant("{}");
        let room = server.create_room(&tenant, "alice", &["bob"]);
        assert_eq!(server.send(&tenant, "alice", &room, "x").status, 200);
        server.signal("TERM");
        assert_eq!(server.await_exit(), Some(0));
        // Without a master key it has more to say.
        let mut server = Server::start_unseen(&[("MASTER_API_KEY", "")], output);
        assert_eq!(server.request("GET", "/health", &[], "").status, 200);
        server.signal("TERM");
        assert_eq!(server.await_exit(), Some(0));
    }
}

#[test]
fn a_start_that_fails_and_cannot_say_why_fails_with_its_own_code() {
    let data_dir = tempfile::tempdir().unwrap();
    let settings = [("LOG_LEVEL".to_owned(), "loud".to_owned())];
    for output in [full, broken_pipe] {
        let status = command(data_dir.path(), &settings).stdout(output()).stderr(output()).status().unwrap();
        assert_eq!(status.code(), Some(1));
    }
}

#[test]
fn settings_come_from_a_file_too() {
    let data_dir = tempfile::tempdir().unwrap();
    std::fs::write(data_dir.path().join(".env"), "LOG_LEVEL=loud\n").unwrap();
    let output = command(data_dir.path(), &[]).stdout(Stdio::null()).output().unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().contains("LOG_LEVEL"));
}

#[test]
fn a_line_of_the_file_that_is_no_setting_stops_the_start_and_is_not_repeated() {
    for (line, variable) in
        [("MASTER_API_KEY='hunter2hunter2hunter2", "MASTER_API_KEY"), ("MASTER_API_KEY hunter2hunter2", "line 2")]
    {
        let said = start_fails(&[], |dir| std::fs::write(dir.join(".env"), format!("# mine\n{line}\n")).unwrap());
        assert!(said.contains(".env, line 2") && said.contains(variable) && !said.contains("hunter"), "{said}");
    }
}

#[test]
fn a_token_from_the_file_is_taken_as_it_stands() {
    let data_dir = tempfile::tempdir().unwrap();
    std::fs::write(data_dir.path().join(".env"), "\u{feff}METRICS_TOKEN=pre$fix-${HOME}-$\nLOG_LEVEL=info\n").unwrap();
    let server = Server::start_in(data_dir, Vec::new(), &[]);
    let with = |token| server.request("GET", "/metrics", &[("Authorization", token)], "").status;
    assert_eq!([with("Bearer pre$fix-${HOME}-$"), with("Bearer pre--$")], [200, 401]);
}

#[test]
fn secrets_and_contents_reach_neither_the_log_nor_in_the_clear_the_database() {
    let server = Server::start_with(&[("LOG_LEVEL", "debug")]);
    let tenant = server.create_tenant("{}");
    let room = server.create_room(&tenant, "alice", &["bob"]);
    let token = server.as_user(&tenant, "bob", "POST", "/ws/token", "").text("token");
    let mut bob = server.handshake(&format!("/ws?token={token}"), &[]).unwrap();
    bob.next_of("sync.complete");
    server.send(&tenant, "alice", &room, "the-content-of-a-message");
    server.request("GET", &format!("/rooms?api_key={}", tenant.api_key), &[("X-API-Key", "sk_wrong_key")], "");
    let database = server.data_dir().join("chatapi.db");
    let wal = std::fs::read(database.with_extension("db-wal")).unwrap();
    let bytes = [std::fs::read(&database).unwrap(), wal].concat();
    for secret in [tenant.api_key.as_str(), &token, MASTER_KEY] {
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret}");
    }
    let (_, log) = server.terminate();
    let log = json!(log).to_string();
    for secret in [tenant.api_key.as_str(), &token, MASTER_KEY, "the-content-of-a-message", "sk_wrong_key"] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

#[test]
fn a_shutdown_says_goodbye_and_ends_with_0() {
    let server = Server::start();
    let tenant = server.create_tenant("{}");
    let room = server.create_room(&tenant, "alice", &["bob"]);
    server.send(&tenant, "alice", &room, "x");
    let mut bob = server.connect(&tenant, "bob");
    bob.next_of("sync.complete");
    let data_dir = server.data_dir().to_owned();
    server.signal("TERM");
    let goodbye = bob.next();
    assert_eq!(goodbye["type"], "server.shutdown");
    assert!((2_500..=7_500).contains(&goodbye["reconnect_after_ms"].as_u64().unwrap()));
    assert_eq!(bob.close_code().0, 1001);
    let mut server = server;
    assert_eq!(server.await_exit(), Some(0));
    let wal = data_dir.join("chatapi.db-wal");
    assert!(!wal.exists() || std::fs::metadata(&wal).unwrap().len() == 0, "the log was checkpointed");
}

#[test]
fn a_shutdown_waits_for_nobody_who_does_not_read() {
    let server = Server::start_with(&[("SHUTDOWN_DRAIN_TIMEOUT", "3s")]);
    let tenant = server.create_tenant(r#"{"rate_limit":1000000,"max_message_size":262144}"#);
    let room = server.create_room(&tenant, "alice", &["bob"]);
    let mut slow = server.connect(&tenant, "bob");
    slow.next_of("sync.complete");
    for _ in 0..100 {
        server.send(&tenant, "alice", &room, &"x".repeat(200_000));
    }
    let started = Instant::now();
    let (code, _) = server.terminate();
    assert_eq!(code, Some(0));
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
}

#[test]
fn a_shutdown_under_load_does_not_wait_for_those_who_keep_asking_and_loses_nothing_answered() {
    let server = Server::start();
    let tenant = server.create_tenant(r#"{"rate_limit":1000000}"#);
    let room = server.create_room(&tenant, "alice", &["bob"]);
    let answered = AtomicU64::new(0);
    let server = std::thread::scope(|scope| {
        for _ in 0..8 {
            let (answered, tenant, room, address) = (&answered, &tenant, &room, server.address());
            scope.spawn(move || {
                let agent = support::agent();
                let path = format!("/rooms/{room}/messages");
                let headers = [("X-API-Key", tenant.api_key.as_str()), ("X-User-Id", "alice")];
                // Refusals do not stop it, only the end of the server does.
                while let Ok(sent) = support::request(&agent, address, "POST", &path, &headers, r#"{"content":"x"}"#) {
                    assert!(matches!(sent.status, 200 | 503), "{sent:?}");
                    answered.fetch_add(u64::from(sent.status == 200), Ordering::Relaxed);
                }
            });
        }
        support::eventually("messages flow", || answered.load(Ordering::Relaxed) > 500);
        let started = Instant::now();
        server.signal("TERM");
        let mut server = server;
        assert_eq!(server.await_exit(), Some(0));
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        server.kill_and_restart()
    });
    assert_eq!(server.history(&tenant, "bob", &room).len() as u64, answered.load(Ordering::Relaxed));
}

#[test]
fn connections_past_the_limit_are_turned_away_and_leave_the_server_files_enough() {
    let server = Server::start_with_files(164);
    let tenant = server.create_tenant("{}");
    let room = server.create_room(&tenant, "alice", &["bob"]);
    // 64 of the files are kept for the server. A few more than it takes, whoever of those before has gone by then.
    let open: Vec<TcpStream> = (0..110).map(|_| server.open()).collect();
    let mut more: Vec<TcpStream> = (0..400).map(|_| server.open()).collect();
    let turned_away =
        more.iter_mut().map(support::read_to_end).filter(|said| said.starts_with("HTTP/1.1 503 ")).count();
    assert!((1..=200).contains(&turned_away), "{turned_away}");
    assert!(server.open_files() < 140, "{}", server.open_files());
    drop(open);
    support::eventually("there is room again", || {
        server
            .try_request(
                "POST",
                &format!("/rooms/{room}/messages"),
                &[("X-API-Key", &tenant.api_key), ("X-User-Id", "alice")],
                r#"{"content":"x"}"#,
            )
            .is_ok_and(|sent| sent.status == 200)
    });
    let (_, log) = server.terminate();
    assert!(!json!(log).to_string().contains("could not be accepted"), "{log:?}");
}

/// Locks the database, so that a shutdown has to wait for the answer of a write: 2 s, then the store gives up.
fn hold_up_a_write(server: &Server, tenant: &Tenant, room: &str) -> (rusqlite::Connection, TcpStream) {
    let other = rusqlite::Connection::open(server.data_dir().join("chatapi.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut stream = server.open();
    let request = format!(
        "POST /rooms/{room}/messages HTTP/1.1\r\nHost: x\r\nX-API-Key: {}\r\nX-User-Id: alice\r\nContent-Length: 15\r\n\r\n{{\"content\":\"x\"}}",
        tenant.api_key
    );
    stream.write_all(request.as_bytes()).unwrap();
    support::eventually("the write waits", || {
        server.request("GET", "/metrics", &[], "").body["pending_store_operations"] == 1
    });
    (other, stream)
}

#[test]
fn a_shutdown_keeps_its_time_and_still_answers_what_hangs() {
    let mut server = Server::start_with(&[("SHUTDOWN_DRAIN_TIMEOUT", "500ms")]);
    let tenant = server.create_tenant("{}");
    let room = server.create_room(&tenant, "alice", &["bob"]);
    let (_other, mut stream) = hold_up_a_write(&server, &tenant, &room);
    let started = Instant::now();
    server.signal("TERM");
    assert_eq!(server.await_exit(), Some(0));
    let took = started.elapsed();
    // The store alone would wait for 2 s.
    assert!(took < Duration::from_millis(1_300), "{took:?}");
    let answer = support::read_to_end(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer:?}");
}

#[test]
fn a_second_signal_ends_the_process_at_once_while_the_database_is_being_closed() {
    let mut server = Server::start_with(&[("SHUTDOWN_DRAIN_TIMEOUT", "2s")]);
    let tenant = server.create_tenant("{}");
    let room = server.create_room(&tenant, "alice", &["bob"]);
    let _locked = hold_up_a_write(&server, &tenant, &room);
    server.signal("TERM");
    server.await_log("drained: the database is being closed");
    server.signal("TERM");
    assert_eq!(server.await_exit(), Some(1));
}

#[test]
fn a_shutdown_that_takes_its_time_answers_probes_or_is_gone_for_them() {
    let mut server = Server::start();
    let tenant = server.create_tenant("{}");
    let mut bob = server.connect(&tenant, "bob");
    bob.next_of("sync.complete");
    let mut idle = server.open();
    let probe = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";
    idle.write_all(probe).unwrap();
    let mut answer = [0; 12];
    idle.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    server.signal("TERM");
    server.await_log("shutting down: a second signal ends the process at once");
    // The socket does not say goodbye, and is waited for.
    let (agent, address) = (support::agent(), server.address());
    let mut is_gone = false;
    while !is_gone {
        for path in ["/livez", "/health", "/metrics"] {
            match support::request(&agent, address, "GET", path, &[], "") {
                Ok(answer) => assert_eq!(answer.status, 200, "{path}"),
                Err(_) => is_gone = true,
            }
        }
    }
    let rest = support::read_to_end(&mut idle);
    assert!(!rest.contains("HTTP/1.1"), "{rest}");
    assert!(TcpStream::connect(address).is_err());
    drop(bob);
    assert_eq!(server.await_exit(), Some(0));
}

#[test]
fn a_signal_ends_a_server_whose_store_does_not_boot() {
    let data_dir = tempfile::tempdir().unwrap();
    let start = || command(data_dir.path(), &[]).stdout(Stdio::piped()).spawn().unwrap();
    let read_until = |log: &mut BufReader<ChildStdout>, message: &str| {
        let mut line = String::new();
        while !line.contains(message) {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "no {message:?} in the log");
        }
    };
    let mut first = start();
    read_until(&mut BufReader::new(first.stdout.take().unwrap()), "listening");
    first.kill().unwrap();
    first.wait().unwrap();
    let database = rusqlite::Connection::open(data_dir.path().join("chatapi.db")).unwrap();
    database.execute_batch("DELETE FROM server_state").unwrap();
    drop(database);
    let mut broken = start();
    let mut log = BufReader::new(broken.stdout.take().unwrap());
    read_until(&mut log, "the store could not serve");
    assert!(Command::new("kill").arg("-TERM").arg(broken.id().to_string()).status().unwrap().success());
    read_until(&mut log, "stopped");
    assert_eq!(broken.wait().unwrap().code(), Some(0));
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    let mut server = Server::start_with(&[("SHUTDOWN_DRAIN_TIMEOUT", "60s")]);
    let tenant = server.create_tenant("{}");
    let room = server.create_room(&tenant, "alice", &["bob"]);
    let _locked = hold_up_a_write(&server, &tenant, &room);
    server.signal("TERM");
    server.await_log("shutting down: a second signal ends the process at once");
    server.signal("TERM");
    assert_eq!(server.await_exit(), Some(1));
}
