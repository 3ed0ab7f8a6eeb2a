//! A world with one tenant, and its users as WebSocket clients.

use std::ops::{Deref, DerefMut};

use serde_json::{Value, json};

use crate::support::{MASTER_KEY, Response, Server, Socket, Tenant};

/// Where the fields of a client's frames stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    BesideType,
    InsideData,
}

/// How a client says who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Headers,
    Token,
}

/// All that may differ between two clients of the protocol.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    pub(crate) form: Form,
    pub(crate) way: Way,
}

pub(crate) const PLAIN: Manner = Manner { form: Form::BesideType, way: Way::Headers };

/// Enough that no test is limited by it.
pub(crate) const UNLIMITED: &str = r#"{"rate_limit":1000000}"#;

/// A server with a tenant.
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) tenant: Tenant,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(&[], UNLIMITED)
    }

    pub(crate) fn with(settings: &[(&str, &str)], config: &str) -> Self {
        let server = Server::start_with(settings);
        let tenant = server.create_tenant(config);
        Self { server, tenant }
    }

    /// kill -9, then a start on the same database.
    pub(crate) fn kill_and_restart(self) -> Self {
        Self { server: self.server.kill_and_restart(), tenant: self.tenant }
    }

    /// A group of these users, the first of whom is its admin.
    pub(crate) fn group(&self, members: &[&str]) -> String {
        self.server.create_room(&self.tenant, members[0], members)
    }

    /// A request of a user.
    pub(crate) fn rest(&self, user: &str, method: &str, path: &str, body: &Value) -> Response {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.server.as_user(&self.tenant, user, method, path, &body)
    }

    /// A request of the tenant itself.
    pub(crate) fn as_tenant(&self, method: &str, path: &str, body: &Value) -> Response {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.server.request(method, path, &[("X-API-Key", &self.tenant.api_key)], &body)
    }

    /// A request of the operator about the tenant.
    pub(crate) fn as_operator(&self, method: &str, path: &str, body: &Value) -> Response {
        let path = format!("/admin/tenants/{}{path}", self.tenant.tenant_id);
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.server.request(method, &path, &[("X-Master-Key", MASTER_KEY)], &body)
    }

    /// Sends a message by REST; hands back the message.
    pub(crate) fn send(&self, user: &str, room: &str, content: &str) -> Value {
        let sent = self.server.send(&self.tenant, user, room, content);
        assert_eq!(sent.status, 200, "{sent:?}");
        sent.body
    }

    /// Sends a notification; hands back its id.
    pub(crate) fn notify(&self, topic: &str, targets: &Value) -> String {
        let body = json!({"topic": topic, "payload": {"about": topic}, "targets": targets});
        let sent = self.as_tenant("POST", "/notify", &body);
        assert_eq!(sent.status, 202, "{sent:?}");
        sent.text("notification_id")
    }

    /// Connects a user; what comes up to `sync.complete` is passed over.
    pub(crate) fn client(&self, user: &str) -> Client {
        self.client_in(PLAIN, user)
    }

    pub(crate) fn client_in(&self, manner: Manner, user: &str) -> Client {
        let mut client = self.fresh_client_in(manner, user);
        client.until("sync.complete");
        client
    }

    /// Connects a user, of whose connection nothing was read.
    pub(crate) fn fresh_client(&self, user: &str) -> Client {
        self.fresh_client_in(PLAIN, user)
    }

    pub(crate) fn fresh_client_in(&self, manner: Manner, user: &str) -> Client {
        let socket = match manner.way {
            Way::Headers => self.server.connect(&self.tenant, user),
            Way::Token => self.server.connect_by_token(&self.tenant, user),
        };
        Client { socket, form: manner.form, pings: 0 }
    }

    /// Connects a user without a backlog.
    pub(crate) fn unsynced_client(&self, user: &str) -> Client {
        let headers = [("X-API-Key", self.tenant.api_key.as_str()), ("X-User-Id", user)];
        let socket = self.server.handshake("/ws?sync=false", &headers).unwrap();
        Client { socket, form: Form::BesideType, pings: 0 }
    }

    /// Connects users, and waits until all have heard of each other.
    pub(crate) fn clients<const N: usize>(&self, users: [&str; N]) -> [Client; N] {
        self.clients_in(PLAIN, users)
    }

    pub(crate) fn clients_in<const N: usize>(&self, manner: Manner, users: [&str; N]) -> [Client; N] {
        let mut clients = users.map(|user| self.client_in(manner, user));
        for client in &mut clients {
            client.hears();
        }
        clients
    }

    /// Shakes hands; a refusal is its status and error code.
    pub(crate) fn shake(&self, path: &str, headers: &[(&str, &str)]) -> Result<Client, (u16, String)> {
        let socket = self.server.handshake(path, headers)?;
        Ok(Client { socket, form: Form::BesideType, pings: 0 })
    }

    /// A token of a user.
    pub(crate) fn token(&self, user: &str) -> String {
        self.rest(user, "POST", "/ws/token", &Value::Null).text("token")
    }
}

/// A user's connection.
pub(crate) struct Client {
    socket: Socket,
    form: Form,
    pings: u32,
}

impl Client {
    /// Sends a frame of this type.
    pub(crate) fn say(&mut self, kind: &str, fields: Value) {
        let mut frame = match self.form {
            Form::BesideType => fields,
            Form::InsideData => json!({ "data": fields }),
        };
        frame["type"] = kind.into();
        self.socket.send(&frame);
    }

    /// Sends a frame and hands back what comes next.
    pub(crate) fn ask(&mut self, kind: &str, fields: Value) -> Value {
        self.say(kind, fields);
        self.socket.next()
    }

    /// Everything that was on its way. The server answers in order: what follows the pong was not there before.
    pub(crate) fn hears(&mut self) -> Vec<Value> {
        self.pings += 1;
        let request_id = format!("ping {}", self.pings);
        self.say("ping", json!({ "request_id": request_id }));
        let mut frames = Vec::new();
        loop {
            let frame = self.socket.next();
            if frame["type"] == "pong" && frame["request_id"] == request_id {
                return frames;
            }
            frames.push(frame);
        }
    }

    /// That nothing was on its way.
    #[track_caller]
    pub(crate) fn hears_nothing(&mut self) {
        assert_eq!(self.hears(), Vec::<Value>::new());
    }

    /// Says goodbye and waits for the answer.
    pub(crate) fn close(self) {
        self.socket.close();
    }

    /// Goes without a word.
    pub(crate) fn abandon(self) -> std::net::TcpStream {
        self.socket.abandon()
    }
}

impl Deref for Client {
    type Target = Socket;

    fn deref(&self) -> &Socket {
        &self.socket
    }
}

impl DerefMut for Client {
    fn deref_mut(&mut self) -> &mut Socket {
        &mut self.socket
    }
}

/// The types of frames.
pub(crate) fn kinds(frames: &[Value]) -> Vec<&str> {
    frames.iter().map(|frame| frame["type"].as_str().unwrap()).collect()
}

/// The numbers of the `message` frames among these.
pub(crate) fn seqs(frames: &[Value]) -> Vec<u64> {
    messages(frames).map(|frame| frame["seq"].as_u64().unwrap()).collect()
}

/// The `message` frames among these.
pub(crate) fn messages(frames: &[Value]) -> impl Iterator<Item = &Value> {
    frames.iter().filter(|frame| frame["type"] == "message")
}

/// The topics of the `notification` frames among these.
pub(crate) fn topics(frames: &[Value]) -> Vec<&str> {
    let notifications = frames.iter().filter(|frame| frame["type"] == "notification");
    notifications.map(|frame| frame["topic"].as_str().unwrap()).collect()
}
