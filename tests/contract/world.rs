//! What the tests here share: one server, tenants on it, and the table of all routes.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde_json::{Value, json};

use crate::support::{MASTER_KEY, Response, Server, Tenant};

/// The server that all tests use at once. Nobody drops a static: whoever is the last to use it ends the process.
static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());

pub(crate) fn shared() -> Arc<Server> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let server = Arc::new(Server::start());
        *shared = Arc::downgrade(&server);
        server
    })
}

/// A tenant on the shared server.
pub(crate) struct World {
    pub(crate) server: Arc<Server>,
    pub(crate) tenant: Tenant,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with_config(r#"{"rate_limit":1000000}"#)
    }

    pub(crate) fn with_config(config: &str) -> Self {
        let server = shared();
        let tenant = server.create_tenant(config);
        Self { server, tenant }
    }

    /// Another tenant of the same server.
    pub(crate) fn neighbour(&self) -> Self {
        let tenant = self.server.create_tenant(r#"{"rate_limit":1000000}"#);
        Self { server: Arc::clone(&self.server), tenant }
    }

    /// A user acts.
    pub(crate) fn user(&self, user: &str, method: &str, path: &str, body: &str) -> Response {
        self.server.as_user(&self.tenant, user, method, path, body)
    }

    /// The tenant itself acts.
    pub(crate) fn itself(&self, method: &str, path: &str, body: &str) -> Response {
        self.server.request(method, path, &[("X-API-Key", &self.tenant.api_key)], body)
    }

    /// The operator acts.
    pub(crate) fn operator(&self, method: &str, path: &str, body: &str) -> Response {
        operator(&self.server, method, path, body)
    }

    /// `/admin/tenants/{tenant_id}` and what follows.
    pub(crate) fn tenant_path(&self, tail: &str) -> String {
        format!("/admin/tenants/{}{tail}", self.tenant.tenant_id)
    }

    /// A group with alice as its admin and bob as a member; its path.
    pub(crate) fn group(&self) -> String {
        self.create("alice", &json!({"type": "group", "members": ["bob"]}))
    }

    pub(crate) fn channel(&self) -> String {
        self.create("alice", &json!({"type": "channel", "members": ["bob"]}))
    }

    /// A dm of alice and bob.
    pub(crate) fn dm(&self) -> String {
        self.create("alice", &json!({"type": "dm", "members": ["alice", "bob"]}))
    }

    /// Creates a room; its path.
    pub(crate) fn create(&self, creator: &str, room: &Value) -> String {
        let created = self.user(creator, "POST", "/rooms", &room.to_string());
        assert_eq!(created.status, 201, "{created:?}");
        format!("/rooms/{}", created.text("room_id"))
    }

    /// Sends a message; its path.
    pub(crate) fn message(&self, sender: &str, room: &str, content: &str) -> String {
        let body = json!({"content": content}).to_string();
        let sent = self.user(sender, "POST", &format!("{room}/messages"), &body);
        assert_eq!(sent.status, 200, "{sent:?}");
        format!("{room}/messages/{}", sent.text("message_id"))
    }

    pub(crate) fn acknowledge(&self, user: &str, room: &str, seq: u64) -> Response {
        let body = json!({"room_id": room_id(room), "seq": seq}).to_string();
        self.user(user, "POST", "/acks", &body)
    }

    /// `user_id:role` of each member, as the tenant sees them.
    pub(crate) fn members(&self, room: &str) -> Vec<String> {
        let page = self.itself("GET", &format!("{room}/members"), "");
        let members = page.body["members"].as_array().unwrap_or_else(|| panic!("{page:?}")).iter();
        members
            .map(|member| format!("{}:{}", member["user_id"].as_str().unwrap(), member["role"].as_str().unwrap()))
            .collect()
    }
}

pub(crate) fn operator(server: &Server, method: &str, path: &str, body: &str) -> Response {
    server.request(method, path, &[("X-Master-Key", MASTER_KEY)], body)
}

/// The id in a room's path.
pub(crate) fn room_id(room: &str) -> &str {
    room.strip_prefix("/rooms/").unwrap()
}

/// Whether an answer is this refusal, in the envelope of errors and nothing more.
pub(crate) fn assert_refused(response: &Response, status: u16, code: &str, context: &str) {
    assert_eq!((response.status, response.code()), (status, code), "{context}: {response:?}");
    let body = response.body.as_object().unwrap();
    assert_eq!(body.keys().collect::<Vec<_>>(), ["error", "success"], "{context}: {response:?}");
    assert_eq!(body["success"], false, "{context}");
    let error = body["error"].as_object().unwrap();
    assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{context}: {response:?}");
    assert!(error.keys().all(|key| ["code", "message", "field"].contains(&key.as_str())), "{context}: {response:?}");
    assert!(error.get("field").is_none_or(Value::is_string), "{context}: {response:?}");
}

/// A 400 that blames a field.
pub(crate) fn assert_blames(response: &Response, field: &str, context: &str) {
    assert_refused(response, 400, "VALIDATION_ERROR", context);
    assert_eq!(response.body["error"]["field"], field, "{context}: {response:?}");
}

/// The texts under a key, one of each object in a list.
pub(crate) fn texts<'a>(list: &'a Value, key: &str) -> Vec<&'a str> {
    list.as_array().unwrap().iter().map(|item| item[key].as_str().unwrap()).collect()
}

/// RFC 3339 in UTC with milliseconds, `2025-12-13T12:10:00.123Z`.
pub(crate) fn is_timestamp(value: &Value) -> bool {
    let shape = "dddd-dd-ddTdd:dd:dd.dddZ";
    value.as_str().is_some_and(|text| {
        text.len() == shape.len()
            && text.chars().zip(shape.chars()).all(|(given, shape)| match shape {
                'd' => given.is_ascii_digit(),
                other => given == other,
            })
    })
}

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Anyone.
    Public,
    /// Who knows the master key.
    Master,
    /// A user of a tenant, or the tenant itself.
    Tenant,
    /// A user of a tenant.
    User,
}

/// A route with a body that it takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route {
    pub(crate) method: &'static str,
    /// With `ROOM` and the like where an id stands.
    pub(crate) path: &'static str,
    pub(crate) body: &'static str,
    pub(crate) caller: Caller,
}

const fn route(caller: Caller, method: &'static str, path: &'static str, body: &'static str) -> Route {
    Route { method, path, body, caller }
}

/// Every route of REST that there is.
pub(crate) const ROUTES: &[Route] = &[
    route(Caller::Public, "GET", "/health", ""),
    route(Caller::Public, "GET", "/livez", ""),
    route(Caller::Public, "GET", "/readyz", ""),
    route(Caller::Public, "GET", "/metrics", ""),
    route(Caller::Public, "GET", "/openapi.json", ""),
    route(Caller::Master, "GET", "/admin/tenants", ""),
    route(Caller::Master, "POST", "/admin/tenants", r#"{"name":"x"}"#),
    route(Caller::Master, "GET", "/admin/tenants/TENANT", ""),
    route(Caller::Master, "PATCH", "/admin/tenants/TENANT", r#"{"name":"y"}"#),
    route(Caller::Master, "POST", "/admin/tenants/TENANT/rotate-key", "{}"),
    route(Caller::Master, "DELETE", "/admin/tenants/TENANT", ""),
    route(Caller::Tenant, "GET", "/rooms", ""),
    route(Caller::Tenant, "POST", "/rooms", r#"{"type":"group","members":["bob"]}"#),
    route(Caller::Tenant, "GET", "/rooms/ROOM", ""),
    route(Caller::Tenant, "PATCH", "/rooms/ROOM", r#"{"name":"x"}"#),
    route(Caller::Tenant, "DELETE", "/rooms/ROOM", ""),
    route(Caller::Tenant, "GET", "/rooms/ROOM/members", ""),
    route(Caller::Tenant, "POST", "/rooms/ROOM/members", r#"{"user_id":"dave"}"#),
    route(Caller::Tenant, "DELETE", "/rooms/ROOM/members/bob", ""),
    route(Caller::Tenant, "GET", "/rooms/ROOM/presence", ""),
    route(Caller::Tenant, "GET", "/rooms/ROOM/receipts", ""),
    route(Caller::User, "POST", "/rooms/ROOM/messages", r#"{"content":"x"}"#),
    route(Caller::Tenant, "GET", "/rooms/ROOM/messages", ""),
    route(Caller::Tenant, "GET", "/rooms/ROOM/messages/MESSAGE", ""),
    route(Caller::User, "PATCH", "/rooms/ROOM/messages/MESSAGE", r#"{"content":"y"}"#),
    route(Caller::Tenant, "DELETE", "/rooms/ROOM/messages/MESSAGE", ""),
    route(Caller::User, "POST", "/acks", r#"{"room_id":"ROOM","seq":0}"#),
    route(Caller::Tenant, "POST", "/notify", r#"{"topic":"t","payload":1,"targets":{"room_id":"ROOM"}}"#),
    route(Caller::User, "POST", "/subscriptions", r#"{"topic":"t"}"#),
    route(Caller::User, "GET", "/subscriptions", ""),
    route(Caller::User, "DELETE", "/subscriptions/1", ""),
    route(Caller::User, "POST", "/ws/token", ""),
];

impl Route {
    /// Whether it is about a room that must be there.
    pub(crate) fn names_room(&self) -> bool {
        self.path.contains("ROOM") || self.body.contains("ROOM")
    }

    /// Path and body for a room and a message of it, given by their paths.
    pub(crate) fn about(&self, room: &str, message: &str) -> (String, String) {
        let message_id = message.rsplit('/').next().unwrap();
        let path = self.path.replace("ROOM", room_id(room)).replace("MESSAGE", message_id);
        (path, self.body.replace("ROOM", room_id(room)))
    }
}
