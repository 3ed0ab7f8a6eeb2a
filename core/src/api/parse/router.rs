//! From a path to what it serves.

use super::query::{natural, percent_decode};
use crate::api::call::Access;
use crate::id::{MessageId, RoomId, TenantId, UserId};
use crate::json::MAX_INTEGER;

/// What stands at `path`, under `/v1` or without; `None` where nothing does. Paths are matched as they stand on the
/// wire; only ids are percent-decoded.
pub(super) fn find(path: &str) -> Option<Resource> {
    let path = path.strip_prefix("/v1").filter(|rest| rest.starts_with('/')).unwrap_or(path);
    let mut segments = [""; SEGMENTS_MAX];
    let mut count = 0;
    for segment in path.strip_prefix('/')?.split('/') {
        *segments.get_mut(count)? = segment;
        count += 1;
    }
    resource(segments.get(..count)?)
}

/// Every path, with each method that it takes.
#[cfg(test)]
pub(in crate::api) fn served() -> std::collections::BTreeSet<(&'static str, &'static str)> {
    let methods = |path: &'static str| {
        let sample = path.replace(['{', '}'], "").replace("subscriptions/id", "subscriptions/1");
        let resource = find(&sample).unwrap_or_else(|| panic!("{path} is not found"));
        resource.allow().split(", ").map(move |method| (path, method))
    };
    PATHS.iter().copied().flat_map(methods).collect()
}

/// No path has more segments.
const SEGMENTS_MAX: usize = 4;

/// One table of all paths, as the documentation writes them and as they are matched.
macro_rules! paths {
    ($($path:literal $segments:pat => $resource:expr;)*) => {
        /// Every path.
        #[cfg(test)]
        const PATHS: &[&str] = &[$($path),*];

        fn resource(segments: &[&str]) -> Option<Resource> {
            match segments {
                $($segments => Some($resource),)*
                _ => None,
            }
        }
    };
}

paths! {
    "/health" ["health"] => Resource::get(Route::Health);
    "/livez" ["livez"] => Resource::get(Route::Livez);
    "/readyz" ["readyz"] => Resource::get(Route::Readyz);
    "/metrics" ["metrics"] => Resource::get(Route::Metrics);
    "/openapi.json" ["openapi.json"] => Resource { get: Some(Endpoint::Document), ..Resource::default() };
    "/admin/tenants" ["admin", "tenants"] => Resource::get(Route::ListTenants).and_post(Route::CreateTenant);
    "/admin/tenants/{tenant_id}" ["admin", "tenants", tenant] => {
        let tenant_id = tenant_id(tenant)?;
        Resource::get(Route::ReadTenant(tenant_id.clone()))
            .and_patch(Route::ChangeTenant(tenant_id.clone()))
            .and_delete(Route::DeleteTenant(tenant_id))
    };
    "/admin/tenants/{tenant_id}/rotate-key" ["admin", "tenants", tenant, "rotate-key"] =>
        Resource::post(Route::RotateKey(tenant_id(tenant)?));
    "/rooms" ["rooms"] => Resource::get(Route::ListRooms).and_post(Route::CreateRoom);
    "/rooms/{room_id}" ["rooms", room] => {
        let room_id = room_id(room)?;
        Resource::get(Route::ReadRoom(room_id.clone()))
            .and_patch(Route::ChangeRoom(room_id.clone()))
            .and_delete(Route::DeleteRoom(room_id))
    };
    "/rooms/{room_id}/members" ["rooms", room, "members"] => {
        let room_id = room_id(room)?;
        Resource::get(Route::ListMembers(room_id.clone())).and_post(Route::AddMember(room_id))
    };
    "/rooms/{room_id}/members/{user_id}" ["rooms", room, "members", user] =>
        Resource::default().and_delete(Route::RemoveMember(room_id(room)?, user_id(user)?));
    "/rooms/{room_id}/presence" ["rooms", room, "presence"] => Resource::get(Route::ListPresence(room_id(room)?));
    "/rooms/{room_id}/receipts" ["rooms", room, "receipts"] => Resource::get(Route::ListReceipts(room_id(room)?));
    "/rooms/{room_id}/messages" ["rooms", room, "messages"] => {
        let room_id = room_id(room)?;
        Resource::get(Route::ReadMessages(room_id.clone())).and_post(Route::SendMessage(room_id))
    };
    "/rooms/{room_id}/messages/{message_id}" ["rooms", room, "messages", message] => {
        let (room_id, message_id) = (room_id(room)?, message_id(message)?);
        Resource::get(Route::ReadMessage(room_id.clone(), message_id.clone()))
            .and_patch(Route::EditMessage(room_id.clone(), message_id.clone()))
            .and_delete(Route::DeleteMessage(room_id, message_id))
    };
    "/acks" ["acks"] => Resource::post(Route::Acknowledge);
    "/notify" ["notify"] => Resource::post(Route::Notify);
    "/subscriptions" ["subscriptions"] => Resource::get(Route::ListSubscriptions).and_post(Route::Subscribe);
    "/subscriptions/{id}" ["subscriptions", id] =>
        Resource::default().and_delete(Route::Unsubscribe(subscription_id(id)?));
    "/ws" ["ws"] => Resource { get: Some(Endpoint::Handshake), ..Resource::default() };
    "/ws/token" ["ws", "token"] => Resource::post(Route::IssueToken);
}

/// What stands at a path, by method.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Resource {
    get: Option<Endpoint>,
    post: Option<Endpoint>,
    patch: Option<Endpoint>,
    delete: Option<Endpoint>,
}

/// What a method at a path does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// A WebSocket handshake.
    Handshake,
    /// The document of the API.
    Document,
    /// A call of the API.
    Api(Route),
}

/// The calls of the API, with the ids in their paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    Health,
    Livez,
    Readyz,
    Metrics,
    CreateTenant,
    ListTenants,
    ReadTenant(TenantId),
    ChangeTenant(TenantId),
    RotateKey(TenantId),
    DeleteTenant(TenantId),
    ListRooms,
    CreateRoom,
    ReadRoom(RoomId),
    ChangeRoom(RoomId),
    DeleteRoom(RoomId),
    ListMembers(RoomId),
    ListPresence(RoomId),
    ListReceipts(RoomId),
    AddMember(RoomId),
    RemoveMember(RoomId, UserId),
    SendMessage(RoomId),
    ReadMessages(RoomId),
    ReadMessage(RoomId, MessageId),
    EditMessage(RoomId, MessageId),
    DeleteMessage(RoomId, MessageId),
    Acknowledge,
    Notify,
    Subscribe,
    ListSubscriptions,
    Unsubscribe(u64),
    IssueToken,
}

impl Resource {
    fn get(route: Route) -> Self {
        Self { get: Some(Endpoint::Api(route)), ..Self::default() }
    }

    fn post(route: Route) -> Self {
        Self::default().and_post(route)
    }

    fn and_post(self, route: Route) -> Self {
        Self { post: Some(Endpoint::Api(route)), ..self }
    }

    fn and_patch(self, route: Route) -> Self {
        Self { patch: Some(Endpoint::Api(route)), ..self }
    }

    fn and_delete(self, route: Route) -> Self {
        Self { delete: Some(Endpoint::Api(route)), ..self }
    }

    /// What serves `method`; `HEAD` is served like `GET`.
    pub(super) fn endpoint(self, method: &str) -> Option<Endpoint> {
        match method {
            "GET" | "HEAD" => self.get,
            "POST" => self.post,
            "PATCH" => self.patch,
            "DELETE" => self.delete,
            _ => None,
        }
    }

    /// The value of `Allow`.
    pub(super) fn allow(&self) -> &'static str {
        match (self.get.is_some(), self.post.is_some(), self.patch.is_some(), self.delete.is_some()) {
            (true, true, true, true) => "GET, HEAD, POST, PATCH, DELETE, OPTIONS",
            (true, true, true, false) => "GET, HEAD, POST, PATCH, OPTIONS",
            (true, true, false, true) => "GET, HEAD, POST, DELETE, OPTIONS",
            (true, true, false, false) => "GET, HEAD, POST, OPTIONS",
            (true, false, true, true) => "GET, HEAD, PATCH, DELETE, OPTIONS",
            (true, false, true, false) => "GET, HEAD, PATCH, OPTIONS",
            (true, false, false, true) => "GET, HEAD, DELETE, OPTIONS",
            (true, false, false, false) => "GET, HEAD, OPTIONS",
            (false, true, true, true) => "POST, PATCH, DELETE, OPTIONS",
            (false, true, true, false) => "POST, PATCH, OPTIONS",
            (false, true, false, true) => "POST, DELETE, OPTIONS",
            (false, true, false, false) => "POST, OPTIONS",
            (false, false, true, true) => "PATCH, DELETE, OPTIONS",
            (false, false, true, false) => "PATCH, OPTIONS",
            (false, false, false, true) => "DELETE, OPTIONS",
            (false, false, false, false) => "OPTIONS",
        }
    }
}

impl Route {
    pub(super) fn access(&self) -> Access {
        match self {
            Self::Health | Self::Livez | Self::Readyz => Access::Public,
            Self::Metrics => Access::Metrics,
            Self::CreateTenant
            | Self::ListTenants
            | Self::ReadTenant(_)
            | Self::ChangeTenant(_)
            | Self::RotateKey(_)
            | Self::DeleteTenant(_) => Access::Master,
            Self::SendMessage(_)
            | Self::EditMessage(..)
            | Self::Acknowledge
            | Self::Subscribe
            | Self::ListSubscriptions
            | Self::Unsubscribe(_) => Access::User,
            Self::IssueToken => Access::UserToConnect,
            Self::ListRooms
            | Self::CreateRoom
            | Self::ReadRoom(_)
            | Self::ChangeRoom(_)
            | Self::DeleteRoom(_)
            | Self::ListMembers(_)
            | Self::ListPresence(_)
            | Self::ListReceipts(_)
            | Self::AddMember(_)
            | Self::RemoveMember(..)
            | Self::ReadMessages(_)
            | Self::ReadMessage(..)
            | Self::DeleteMessage(..)
            | Self::Notify => Access::UserOrTenant,
        }
    }
}

/// A text that cannot be an id names nothing: such a path is unknown.
fn room_id(segment: &str) -> Option<RoomId> {
    server_id(segment, RoomId::new)
}

fn tenant_id(segment: &str) -> Option<TenantId> {
    server_id(segment, TenantId::new)
}

fn message_id(segment: &str) -> Option<MessageId> {
    server_id(segment, MessageId::new)
}

fn server_id<Id>(segment: &str, read: impl FnOnce(&str) -> Id) -> Option<Id> {
    let id = percent_decode(segment, false)?;
    (!id.is_empty()).then(|| read(&id))
}

fn user_id(segment: &str) -> Option<UserId> {
    UserId::parse(percent_decode(segment, false)?.as_bytes())
}

/// A number that fits no answer was never given out.
fn subscription_id(segment: &str) -> Option<u64> {
    natural(&percent_decode(segment, false)?).filter(|id| *id <= MAX_INTEGER.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_is_served_plain_and_under_v1_with_its_methods() {
        let paths = [
            ("/health", "GET, HEAD, OPTIONS"),
            ("/livez", "GET, HEAD, OPTIONS"),
            ("/readyz", "GET, HEAD, OPTIONS"),
            ("/metrics", "GET, HEAD, OPTIONS"),
            ("/openapi.json", "GET, HEAD, OPTIONS"),
            ("/admin/tenants", "GET, HEAD, POST, OPTIONS"),
            ("/admin/tenants/{tenant_id}", "GET, HEAD, PATCH, DELETE, OPTIONS"),
            ("/admin/tenants/{tenant_id}/rotate-key", "POST, OPTIONS"),
            ("/rooms", "GET, HEAD, POST, OPTIONS"),
            ("/rooms/{room_id}", "GET, HEAD, PATCH, DELETE, OPTIONS"),
            ("/rooms/{room_id}/members", "GET, HEAD, POST, OPTIONS"),
            ("/rooms/{room_id}/members/{user_id}", "DELETE, OPTIONS"),
            ("/rooms/{room_id}/presence", "GET, HEAD, OPTIONS"),
            ("/rooms/{room_id}/receipts", "GET, HEAD, OPTIONS"),
            ("/rooms/{room_id}/messages", "GET, HEAD, POST, OPTIONS"),
            ("/rooms/{room_id}/messages/{message_id}", "GET, HEAD, PATCH, DELETE, OPTIONS"),
            ("/acks", "POST, OPTIONS"),
            ("/notify", "POST, OPTIONS"),
            ("/subscriptions", "GET, HEAD, POST, OPTIONS"),
            ("/subscriptions/{id}", "DELETE, OPTIONS"),
            ("/ws", "GET, HEAD, OPTIONS"),
            ("/ws/token", "POST, OPTIONS"),
        ];
        assert_eq!(paths.map(|(path, _)| path), PATHS);
        for (path, allow) in paths {
            let concrete = path.replace("{id}", "7").replace(['{', '}'], "");
            let plain = find(&concrete);
            assert_eq!(plain.as_ref().map(Resource::allow), Some(allow), "{path}");
            assert_eq!(find(&format!("/v1{concrete}")), plain, "/v1{path}");
        }
    }

    #[test]
    fn allow_names_the_methods_that_are_served_whatever_their_combination() {
        const METHODS: [&str; 4] = ["GET", "POST", "PATCH", "DELETE"];
        for combination in 0..16_u8 {
            let at = |place: u8| (combination >> place & 1 == 1).then_some(Endpoint::Handshake);
            let resource = Resource { get: at(0), post: at(1), patch: at(2), delete: at(3) };
            let served = METHODS.into_iter().filter(|method| resource.clone().endpoint(method).is_some());
            let mut allow: Vec<_> = served.collect();
            if allow.first() == Some(&"GET") {
                allow.insert(1, "HEAD");
            }
            allow.push("OPTIONS");
            assert_eq!(resource.allow(), allow.join(", "));
        }
    }

    #[test]
    fn any_other_path_is_unknown() {
        for path in [
            "",
            "/",
            "*",
            "rooms",
            "/v1",
            "/v1/",
            "/v2/rooms",
            "/v1/v1/rooms",
            "/v1rooms",
            "/Rooms",
            "/rooms/",
            "//rooms",
            "/rooms//messages",
            "/rooms/r/messages/",
            "/rooms/r/messages/m/x",
            "/rooms/r/members/",
            "/rooms/r/members/%20bob",
            "/rooms/r/members/a%0Ab",
            "/rooms/r/members/%ff",
            &format!("/rooms/r/members/{}", "x".repeat(129)),
            "/rooms//members/bob",
            "/rooms/r/members/bob/x",
            "/rooms/r/presence/bob",
            "/admin/tenants/",
            "/admin/tenants/%zz",
            "/admin/tenants/t/rotate",
            "/admin/tenants/t/rotate-key/x",
            "/subscriptions/",
            "/subscriptions/x",
            "/subscriptions/-1",
            "/subscriptions/+1",
            "/subscriptions/1.0",
            "/subscriptions/9007199254740992",
            "/subscriptions/99999999999999999999",
            "/notify/x",
            "/rooms/r/nothing",
            "/%72ooms",
            "/rooms/%ff",
            "/rooms/%zz",
            "/rooms/%4",
            "/admin",
            "/health/",
            "http://host/rooms",
        ] {
            assert_eq!(find(path), None, "{path:?}");
        }
    }

    #[test]
    fn an_id_in_a_path_is_percent_decoded_once_and_a_plus_is_a_plus() {
        for (path, id) in [
            ("/rooms/a%2Fb%20c", "a/b c"),
            ("/rooms/%2525", "%25"),
            ("/rooms/a+b", "a+b"),
            ("/rooms/%c3%a9", "é"),
            ("/rooms/messages", "messages"),
        ] {
            let read = Some(Endpoint::Api(Route::ReadRoom(RoomId::new(id))));
            assert_eq!(find(path).and_then(|at| at.endpoint("GET")), read, "{path}");
        }
    }

    #[test]
    fn every_id_of_a_path_is_read_into_its_type() {
        let at = |path: &str, method| match find(path).and_then(|at| at.endpoint(method)) {
            Some(Endpoint::Api(route)) => route,
            other @ (Some(Endpoint::Handshake | Endpoint::Document) | None) => panic!("{method} {path}: {other:?}"),
        };
        let (room, user) = (RoomId::new("r/1"), UserId::new("a b%é"));
        assert_eq!(at("/rooms/r%2f1/members/a%20b%25%C3%A9", "DELETE"), Route::RemoveMember(room.clone(), user));
        assert_eq!(at("/rooms/r%2F1/messages/m%31", "PATCH"), Route::EditMessage(room, MessageId::new("m1")));
        assert_eq!(at("/admin/tenants/t%2B+/rotate-key", "POST"), Route::RotateKey(TenantId::new("t++")));
        assert_eq!(at("/subscriptions/%3112", "DELETE"), Route::Unsubscribe(112));
        assert_eq!(at("/subscriptions/9007199254740991", "DELETE"), Route::Unsubscribe(9_007_199_254_740_991));
    }

    #[test]
    fn head_is_served_like_get_and_methods_are_case_sensitive() {
        let at = |method| find("/rooms").unwrap().endpoint(method);
        assert_eq!(at("GET"), Some(Endpoint::Api(Route::ListRooms)));
        assert_eq!(at("HEAD"), at("GET"));
        assert_eq!(at("POST"), Some(Endpoint::Api(Route::CreateRoom)));
        for other in ["PUT", "PATCH", "DELETE", "OPTIONS", "get", ""] {
            assert_eq!(at(other), None, "{other}");
        }
    }
}
