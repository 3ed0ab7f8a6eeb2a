//! A thousand requests of nonsense of each kind: no answer is the server's fault, nothing panics, and what can be seen
//! afterwards is what could be seen before.

mod bodies;
mod frames;
mod heads;
mod random;
mod wire;

use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{MASTER_KEY, Server, Tenant};
use crate::world::{assert_refused, operator};
use random::Random;
use wire::{Reply, Request, Wire};

/// How many requests a kind of nonsense gets.
const REQUESTS: usize = 1_000;
const USERS: [&str; 4] = ["alice", "bob", "carol", "dave"];

/// A server of its own with two tenants, on which something is.
struct Site {
    server: Server,
    stderr: tempfile::NamedTempFile,
    tenant: Tenant,
    other: Tenant,
    /// A group of the tenant's, in which alice is an admin and bob a member.
    room: String,
    /// Alice's, in that room.
    message: String,
    /// A group of the other tenant's, with the same users.
    foreign_room: String,
    foreign_message: String,
}

impl Site {
    fn new() -> Self {
        let stderr = tempfile::NamedTempFile::new().unwrap();
        let server = Server::start_with_stderr(Stdio::from(stderr.reopen().unwrap()));
        let config = r#"{"rate_limit":1000000000}"#;
        let (tenant, other) = (server.create_tenant(config), server.create_tenant(config));
        let (room, message) = furnish(&server, &tenant);
        let (foreign_room, foreign_message) = furnish(&server, &other);
        // Ids of subscriptions are counted: there, they go further.
        for topic in 0..50 {
            let body = json!({"topic": format!("t{topic}")}).to_string();
            assert_eq!(server.as_user(&other, "alice", "POST", "/subscriptions", &body).status, 201);
        }
        Self { server, stderr, tenant, other, room, message, foreign_room, foreign_message }
    }

    /// A request of alice's with every credential there is, so that only the nonsense is wrong.
    fn request(&self, method: &str, path: &str, body: impl Into<Vec<u8>>) -> Request {
        self.credentials(Request::new(method, path, body))
    }

    fn credentials(&self, request: Request) -> Request {
        request.with("X-API-Key", &self.tenant.api_key).with("X-User-Id", "alice").with("X-Master-Key", MASTER_KEY)
    }

    /// `path` with the ids of what is there.
    fn path(&self, path: &str) -> String {
        path.replace("ROOM", &self.room).replace("MESSAGE", &self.message).replace("TENANT", &self.tenant.tenant_id)
    }

    /// Everything that can be seen through the API, but who is online.
    fn dump(&self) -> Vec<(String, Value)> {
        let mut seen =
            vec![("tenants".to_owned(), operator(&self.server, "GET", "/admin/tenants?limit=1000", "").body)];
        for tenant in [&self.tenant, &self.other] {
            let mut see = |user: Option<&str>, path: String| {
                let headers: Vec<(&str, &str)> = [("X-API-Key", tenant.api_key.as_str())]
                    .into_iter()
                    .chain(user.map(|user| ("X-User-Id", user)))
                    .collect();
                let answer = self.server.request("GET", &path, &headers, "");
                assert_eq!(answer.status, 200, "{path} {answer:?}");
                seen.push((format!("{path} of {user:?}"), answer.body.clone()));
                answer.body
            };
            let rooms = see(None, "/rooms".to_owned());
            for room in rooms["rooms"].as_array().unwrap() {
                let room = room["room_id"].as_str().unwrap();
                for tail in ["", "/members", "/receipts", "/messages?limit=100"] {
                    see(None, format!("/rooms/{room}{tail}"));
                }
            }
            for user in USERS {
                see(Some(user), "/rooms".to_owned());
                see(Some(user), "/subscriptions".to_owned());
            }
        }
        let metrics = self.server.request("GET", "/metrics", &[], "");
        seen.push(("messages_sent".to_owned(), metrics.body["messages_sent"].clone()));
        seen
    }

    /// Looks once more, then ends the server.
    fn end_as_before(self, before: &[(String, Value)]) {
        let after = self.dump();
        for (was, is) in before.iter().zip(&after) {
            assert_eq!(was, is);
        }
        assert_eq!(before.len(), after.len());
        for tenant in [&self.tenant, &self.other] {
            for user in USERS {
                let frames = self.server.connect(tenant, user).until("sync.complete");
                assert!(frames.iter().all(|frame| frame["type"] != "notification"), "{frames:?}");
            }
        }
        let (code, log) = self.server.terminate();
        assert_eq!(code, Some(0));
        let log = Value::from(log).to_string();
        assert!(!log.contains("panic") && !log.contains("\"ERROR\""), "{log}");
        let stderr = std::fs::read_to_string(self.stderr.path()).unwrap();
        assert!(stderr.is_empty(), "{stderr}");
    }
}

/// A group with messages, one of them edited and one deleted, a channel, a dm, acks and a subscription; the ids of the
/// group and of a message in it.
fn furnish(server: &Server, tenant: &Tenant) -> (String, String) {
    let room = server.create_room(tenant, "alice", &["bob"]);
    let sent = ["one", "two", "three"].map(|content| server.send(tenant, "alice", &room, content).text("message_id"));
    for (user, method, path, body) in [
        ("alice", "PATCH", format!("/rooms/{room}/messages/{}", sent[1]), json!({"content": "TWO", "meta": "2"})),
        ("alice", "DELETE", format!("/rooms/{room}/messages/{}", sent[2]), json!({})),
        ("bob", "POST", "/acks".to_owned(), json!({"room_id": room, "seq": 1})),
        (
            "bob",
            "POST",
            "/rooms".to_owned(),
            json!({"type": "channel", "members": ["carol"], "name": "c", "metadata": "1"}),
        ),
        ("bob", "POST", "/rooms".to_owned(), json!({"type": "dm", "members": ["alice"]})),
        ("alice", "POST", "/subscriptions".to_owned(), json!({"topic": "t"})),
    ] {
        assert!(server.as_user(tenant, user, method, &path, &body.to_string()).status < 300, "{path}");
    }
    (room, sent[0].clone())
}

/// What an answer to nonsense may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    /// The caller's fault.
    Refusal,
    /// Or good luck, where nothing is written.
    Anything,
}

/// Puts a thousand requests to a server.
fn nonsense(kind: &str, expect: Expect, mut draw: impl FnMut(&Site, &mut Random) -> Request) {
    let site = Site::new();
    let before = site.dump();
    let mut random = Random::of(kind);
    let mut wire = Wire::new(&site.server);
    for number in 0..REQUESTS {
        let request = draw(&site, &mut random);
        let reply = wire.ask(&request);
        check(&reply, request.method == "HEAD", expect, || {
            format!("{kind} {number}: {reply:?} to {}", request.shown())
        });
    }
    drop(wire);
    site.end_as_before(&before);
}

/// Unknown methods and versions are 501 and 505; all else of that hundred would be the server's fault.
fn check(reply: &Reply, is_head: bool, expect: Expect, context: impl Fn() -> String) {
    assert!(reply.status < 500 || matches!(reply.status, 501 | 505), "{}", context());
    assert!(expect == Expect::Anything || reply.status >= 400, "{}", context());
    assert!(reply.has_request_id, "{}", context());
    assert!(!reply.retry_after || reply.status == 429, "{}", context());
    if reply.status >= 400 && !is_head {
        let code = reply.body["error"]["code"].as_str().unwrap_or_else(|| panic!("{}", context()));
        let response = crate::support::Response { status: reply.status, headers: Vec::new(), body: reply.body.clone() };
        assert_refused(&response, reply.status, code, &context());
    }
}
