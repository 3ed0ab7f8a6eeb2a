//! From a path to what it serves.

use super::query::percent_decode;
use crate::api::call::Access;
use crate::id::RoomId;

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
    at(segments.get(..count)?)
}

/// Writes the paths down once, as the arms of the function that finds them and as the list that the document of the API
/// is held against. A path's methods are those of its resource.
macro_rules! paths {
    ($([$($segment:tt),+] => $resource:expr,)+) => {
        fn at(segments: &[&str]) -> Option<Resource> {
            Some(match segments {
                $([$($segment),+] => $resource,)+
                _ => return None,
            })
        }

        /// The segments of each path: `"rooms"` as a literal, an id by its name.
        #[cfg(test)]
        const PATHS: &[&[&str]] = &[$(&[$(stringify!($segment)),+]),+];
    };
}

paths! {
    ["health"] => Resource::reading(Route::Health),
    ["livez"] => Resource::reading(Route::Livez),
    ["readyz"] => Resource::reading(Route::Readyz),
    ["metrics"] => Resource::reading(Route::Metrics),
    ["openapi.json"] => Resource { get: Some(Endpoint::Document), post: None },
    ["admin", "tenants"] => Resource { get: None, post: api(Route::CreateTenant) },
    ["rooms"] => Resource { get: api(Route::ListRooms), post: api(Route::CreateRoom) },
    ["rooms", id] => Resource::reading(Route::ReadRoom(room_id(id)?)),
    ["rooms", id, "members"] => Resource::reading(Route::ListMembers(room_id(id)?)),
    ["rooms", id, "messages"] => {
        let room_id = room_id(id)?;
        Resource { get: api(Route::ReadMessages(room_id.clone())), post: api(Route::SendMessage(room_id)) }
    },
    ["acks"] => Resource { get: None, post: api(Route::Acknowledge) },
    ["ws"] => Resource { get: Some(Endpoint::Handshake), post: None },
    ["ws", "token"] => Resource { get: None, post: api(Route::IssueToken) },
}

#[expect(clippy::unnecessary_wraps, reason = "it stands where a method may be missing")]
fn api(route: Route) -> Option<Endpoint> {
    Some(Endpoint::Api(route))
}

/// Every path, as in `/rooms/{}/members`, with each method that it takes.
#[cfg(test)]
pub(in crate::api) fn served() -> std::collections::BTreeSet<(String, &'static str)> {
    let mut served = std::collections::BTreeSet::new();
    for segments in PATHS {
        let path = |id: &str| {
            segments.iter().fold(String::new(), |path, segment| {
                path + "/" + segment.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(id)
            })
        };
        let resource = find(&path("1")).unwrap_or_else(|| panic!("{segments:?} is not found"));
        served.extend(resource.allow().split(", ").map(|method| (path("{}"), method)));
    }
    served
}

/// No path has more segments.
const SEGMENTS_MAX: usize = 3;

/// What stands at a path, by method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resource {
    get: Option<Endpoint>,
    post: Option<Endpoint>,
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
    ListRooms,
    CreateRoom,
    ReadRoom(RoomId),
    ListMembers(RoomId),
    SendMessage(RoomId),
    ReadMessages(RoomId),
    Acknowledge,
    IssueToken,
}

impl Resource {
    fn reading(route: Route) -> Self {
        Self { get: Some(Endpoint::Api(route)), post: None }
    }

    /// What serves `method`; `HEAD` is served like `GET`.
    pub(super) fn endpoint(self, method: &str) -> Option<Endpoint> {
        match method {
            "GET" | "HEAD" => self.get,
            "POST" => self.post,
            _ => None,
        }
    }

    /// The value of `Allow`.
    pub(super) fn allow(&self) -> &'static str {
        match (self.get.is_some(), self.post.is_some()) {
            (true, true) => "GET, HEAD, POST, OPTIONS",
            (true, false) => "GET, HEAD, OPTIONS",
            (false, true) => "POST, OPTIONS",
            (false, false) => "OPTIONS",
        }
    }
}

impl Route {
    pub(super) fn access(&self) -> Access {
        match self {
            Self::Health | Self::Livez | Self::Readyz => Access::Public,
            Self::Metrics => Access::Metrics,
            Self::CreateTenant => Access::Master,
            Self::SendMessage(_) | Self::Acknowledge => Access::User,
            Self::IssueToken => Access::UserToConnect,
            Self::ListRooms | Self::CreateRoom | Self::ReadRoom(_) | Self::ListMembers(_) | Self::ReadMessages(_) => {
                Access::UserOrTenant
            }
        }
    }
}

/// A text that cannot be an id names nothing: such a path is unknown.
fn room_id(segment: &str) -> Option<RoomId> {
    let id = percent_decode(segment, false)?;
    (!id.is_empty()).then(|| RoomId::new(&id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_is_served_plain_and_under_v1_with_its_methods() {
        for (path, allow) in [
            ("/admin/tenants", "POST, OPTIONS"),
            ("/rooms", "GET, HEAD, POST, OPTIONS"),
            ("/rooms/room_1", "GET, HEAD, OPTIONS"),
            ("/rooms/room_1/members", "GET, HEAD, OPTIONS"),
            ("/rooms/room_1/messages", "GET, HEAD, POST, OPTIONS"),
            ("/acks", "POST, OPTIONS"),
            ("/ws", "GET, HEAD, OPTIONS"),
            ("/ws/token", "POST, OPTIONS"),
            ("/health", "GET, HEAD, OPTIONS"),
            ("/livez", "GET, HEAD, OPTIONS"),
            ("/readyz", "GET, HEAD, OPTIONS"),
            ("/metrics", "GET, HEAD, OPTIONS"),
            ("/openapi.json", "GET, HEAD, OPTIONS"),
        ] {
            let plain = find(path);
            assert_eq!(plain.as_ref().map(Resource::allow), Some(allow), "{path}");
            assert_eq!(find(&format!("/v1{path}")), plain, "/v1{path}");
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
