//! From the pieces of an HTTP request to a typed call: routes, queries, bodies.

mod accept;
mod handshake;
mod headers;
mod notifications;
mod query;
mod rooms;
mod router;
mod tenants;
#[cfg(test)]
mod tests;

use super::call::{Access, AdminCall, ApiRequest, Call, EditMessage, MembersQuery, PublicCall, TenantCall, UserCall};
use super::cors::Cors;
use super::encode::{
    HttpResponse, MetricsFormat, REQUEST_BODY_MAX_BYTES, ResponseMeta, allow_preflight, refuse, tell_document,
    tell_methods,
};
use super::error::{ApiError, ErrorCode};
use super::fields;
use crate::config::AllowedOrigins;
use crate::id::{RoomId, TenantId, UserId};
use crate::json::{self, Object};
use crate::secret::{Entropy, Secret};
use crate::ws::HandshakeRequest;
use headers::Headers;
use query::Query;
use router::{Endpoint, Route};

pub(super) use headers::Single;
#[cfg(test)]
pub(super) use router::served;

/// An HTTP request as the driver's reader framed it.
#[derive(Debug, Clone, Copy)]
pub struct RequestParts<'a> {
    /// As it stood on the wire: `GET`.
    pub method: &'a str,
    /// Origin form, as it stood on the wire: `/rooms?limit=2`.
    pub target: &'a str,
    /// In order; names in lower case, values raw.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// The body.
    pub body: Body<'a>,
}

/// The body of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body<'a> {
    /// All of it; empty where there is none.
    Complete(&'a [u8]),
    /// Larger than [`crate::api::REQUEST_BODY_MAX_BYTES`], and not read.
    TooLarge,
}

/// What the driver lends to the parser: randomness for fresh secrets, comparisons in constant time, and the origins that
/// are allowed.
pub trait ParseHost: Entropy {
    /// Whether `given` is the master key.
    fn is_master_key(&self, given: &[u8]) -> bool;
    /// Whether `given` is `METRICS_TOKEN`; false where none is set.
    fn is_metrics_token(&self, given: &[u8]) -> bool;
    /// [`crate::Config::allowed_origins`].
    fn allowed_origins(&self) -> &AllowedOrigins;
}

/// What is to be done with a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// The answer depends on nothing but the request: no such path, another method, `OPTIONS`, a `GET /ws` that is no
    /// handshake, the document of the API.
    Answer(HttpResponse),
    /// For [`crate::Input::Request`].
    Call(Box<ApiRequest>),
    /// For [`crate::Input::Handshake`].
    Handshake(Upgrade),
}

/// A proper WebSocket handshake (RFC 6455, section 4.2.1).
#[derive(Debug, Clone, PartialEq)]
pub struct Upgrade {
    /// What the core decides on.
    pub request: Box<HandshakeRequest>,
    /// The client's `Sec-WebSocket-Key`, from which the driver derives the accept key.
    pub key: String,
}

/// Parses a request. The [`ResponseMeta`] goes with it to [`super::encode`].
pub fn parse_request(parts: &RequestParts<'_>, host: &mut dyn ParseHost) -> (ResponseMeta, Action) {
    let headers = Headers::read(parts.headers);
    let mut meta = ResponseMeta { is_head: parts.method == "HEAD", ..meta(&headers, host) };
    let action = action(parts, &headers, &meta, host);
    if matches!(&action, Action::Call(request) if request.access == Access::Metrics) {
        meta.metrics_format = accept::metrics_format(headers.values("accept"));
    }
    (meta, action)
}

/// Of a request that is not framed, as far as its headers tell.
pub(super) fn meta_of_refused(headers: &[(&str, &[u8])], host: &mut dyn ParseHost) -> ResponseMeta {
    meta(&Headers::read(headers), host)
}

fn meta(headers: &Headers<'_>, host: &mut dyn ParseHost) -> ResponseMeta {
    ResponseMeta {
        cors: Cors::decide(host.allowed_origins(), headers.origin),
        request_id: headers::request_id(headers.request_id.once(), host),
        is_head: false,
        metrics_format: MetricsFormat::default(),
    }
}

/// Most tenants of a page.
const TENANTS_PAGE_MAX: u32 = 1_000;
const TENANTS_PAGE_DEFAULT: u32 = 100;
/// Most rooms of a page, which is also the default.
const ROOMS_PAGE_MAX: u32 = 1_000;
/// Most members of a page, which is also the default.
const MEMBERS_PAGE_MAX: u32 = 10_000;
/// Most messages of a page.
const MESSAGES_PAGE_MAX: u32 = 100;
const MESSAGES_PAGE_DEFAULT: u32 = 50;

fn action(parts: &RequestParts<'_>, headers: &Headers<'_>, meta: &ResponseMeta, host: &mut dyn ParseHost) -> Action {
    let (path, query) = parts.target.split_once('?').unwrap_or((parts.target, ""));
    let query = Query(query);
    let Some(resource) = router::find(path) else {
        let error = ApiError::new(ErrorCode::NotFound, "there is nothing at this path");
        return Action::Answer(refuse(meta, &error, &[]));
    };
    let allow = resource.allow();
    if parts.method == "OPTIONS" {
        return Action::Answer(options(headers, meta, allow));
    }
    match resource.endpoint(parts.method) {
        None => {
            let error = ApiError::new(ErrorCode::MethodNotAllowed, format!("this path takes {allow}"));
            Action::Answer(refuse(meta, &error, &[("Allow", allow)]))
        }
        Some(Endpoint::Handshake) => match handshake::read(parts.method, headers, query, parts.body) {
            Ok(upgrade) => Action::Handshake(upgrade),
            Err((error, told)) => Action::Answer(refuse(meta, &error, &told)),
        },
        Some(Endpoint::Document) => Action::Answer(match parts.body {
            Body::Complete(_) => tell_document(meta),
            Body::TooLarge => refuse(meta, &too_large(), &[]),
        }),
        Some(Endpoint::Api(route)) => {
            let access = route.access();
            let credentials = headers.credentials(host);
            let call = headers.check_repeats(access).and_then(|()| call(route, query, headers, parts.body, host));
            Action::Call(Box::new(ApiRequest { access, credentials, call }))
        }
    }
}

/// The answer to `OPTIONS` at a path that takes `allow`. A preflight is what says from where and for which method it asks
/// (Fetch, section 3.3.5).
fn options(headers: &Headers<'_>, meta: &ResponseMeta, allow: &'static str) -> HttpResponse {
    let is_preflight =
        headers.origin != Single::Absent && headers.single("access-control-request-method") != Single::Absent;
    if !is_preflight {
        return tell_methods(meta, allow);
    }
    if meta.cors.allows() {
        return allow_preflight(meta, allow);
    }
    let message = "this Origin is not allowed: add it to WS_ALLOWED_ORIGINS";
    refuse(meta, &ApiError::new(ErrorCode::Authorization, message), &[])
}

fn call(
    route: Route,
    query: Query<'_>,
    headers: &Headers<'_>,
    body: Body<'_>,
    entropy: &mut dyn Entropy,
) -> Result<Call, ApiError> {
    let bytes = match body {
        Body::Complete(bytes) => bytes,
        Body::TooLarge => return Err(too_large()),
    };
    Ok(match route {
        Route::Health => Call::Public(PublicCall::Health),
        Route::Livez => Call::Public(PublicCall::Livez),
        Route::Readyz => Call::Public(PublicCall::Readyz),
        Route::Metrics => Call::Public(PublicCall::Metrics),
        Route::CreateTenant => {
            Call::Admin(AdminCall::CreateTenant(Box::new(tenants::create(object(bytes)?, entropy)?)))
        }
        Route::ListTenants => Call::Admin(AdminCall::ListTenants {
            after: after(query, |id| Some(TenantId::new(id)))?,
            limit: query.limit(TENANTS_PAGE_DEFAULT, TENANTS_PAGE_MAX)?,
        }),
        Route::ReadTenant(tenant_id) => Call::Admin(AdminCall::ReadTenant { tenant_id }),
        Route::ChangeTenant(tenant_id) => {
            Call::Admin(AdminCall::ChangeTenant(Box::new(tenants::change(tenant_id, object(bytes)?, entropy)?)))
        }
        Route::RotateKey(tenant_id) => {
            let body = if bytes.is_empty() { Object::default() } else { object(bytes)? };
            Call::Admin(AdminCall::RotateKey(Box::new(tenants::rotate_key(tenant_id, body, entropy)?)))
        }
        Route::DeleteTenant(tenant_id) => Call::Admin(AdminCall::DeleteTenant { tenant_id }),
        Route::ListRooms => Call::Tenant(TenantCall::ListRooms {
            after: after(query, |id| Some(RoomId::new(id)))?,
            limit: query.limit(ROOMS_PAGE_MAX, ROOMS_PAGE_MAX)?,
        }),
        Route::CreateRoom => Call::Tenant(TenantCall::CreateRoom(Box::new(rooms::create(object(bytes)?)?))),
        Route::ReadRoom(room_id) => Call::Tenant(TenantCall::ReadRoom { room_id }),
        Route::ChangeRoom(room_id) => {
            Call::Tenant(TenantCall::ChangeRoom(Box::new(rooms::change(room_id, object(bytes)?)?)))
        }
        Route::DeleteRoom(room_id) => Call::Tenant(TenantCall::DeleteRoom { room_id }),
        Route::ListMembers(room_id) => Call::Tenant(TenantCall::ListMembers(members(room_id, query)?)),
        Route::ListPresence(room_id) => Call::Tenant(TenantCall::ListPresence(members(room_id, query)?)),
        Route::ListReceipts(room_id) => Call::Tenant(TenantCall::ListReceipts(members(room_id, query)?)),
        Route::AddMember(room_id) => Call::Tenant(rooms::add_member(room_id, object(bytes)?)?),
        Route::RemoveMember(room_id, user_id) => Call::Tenant(TenantCall::RemoveMember { room_id, user_id }),
        Route::SendMessage(room_id) => {
            let key = idempotency_key(headers)?;
            Call::User(UserCall::SendMessage(Box::new(fields::message(&mut object(bytes)?, room_id, key)?)))
        }
        Route::ReadMessages(room_id) => Call::Tenant(TenantCall::ReadMessages {
            room_id,
            range: query.range()?,
            limit: query.limit(MESSAGES_PAGE_DEFAULT, MESSAGES_PAGE_MAX)?,
        }),
        Route::ReadMessage(room_id, message_id) => Call::Tenant(TenantCall::ReadMessage { room_id, message_id }),
        Route::EditMessage(room_id, message_id) => {
            let mut body = object(bytes)?;
            let content = fields::content(&mut body)?;
            let meta = body.edit("meta", fields::json_text)?;
            Call::User(UserCall::EditMessage(Box::new(EditMessage { room_id, message_id, content, meta })))
        }
        Route::DeleteMessage(room_id, message_id) => Call::Tenant(TenantCall::DeleteMessage { room_id, message_id }),
        Route::Acknowledge => {
            let mut body = object(bytes)?;
            let (room_id, seq) = (fields::room_id(&mut body)?, body.required("seq", fields::seq)?);
            Call::User(UserCall::Acknowledge { room_id, seq })
        }
        Route::Notify => Call::Tenant(TenantCall::Notify(Box::new(notifications::notify(bytes, object(bytes)?)?))),
        Route::Subscribe => Call::User(UserCall::Subscribe { topic: object(bytes)?.required("topic", fields::label)? }),
        Route::ListSubscriptions => Call::User(UserCall::ListSubscriptions),
        Route::Unsubscribe(subscription_id) => Call::User(UserCall::Unsubscribe { subscription_id }),
        Route::IssueToken => {
            if !bytes.is_empty() {
                json::parse(bytes)?;
            }
            Call::User(UserCall::IssueToken { token: Secret::token(entropy) })
        }
    })
}

/// Which members of a room.
fn members(room_id: RoomId, query: Query<'_>) -> Result<MembersQuery, ApiError> {
    Ok(MembersQuery {
        room_id,
        after: after(query, |id| UserId::parse(id.as_bytes()))?,
        limit: query.limit(MEMBERS_PAGE_MAX, MEMBERS_PAGE_MAX)?,
    })
}

/// The body of a route that needs one.
fn object(body: &[u8]) -> Result<Object<'_>, ApiError> {
    if body.is_empty() {
        return Err(ApiError::new(ErrorCode::Validation, "the body is empty: send a JSON object"));
    }
    json::parse_object(body)
}

/// `after`, the `next` of an earlier page.
fn after<Id>(query: Query<'_>, read: impl FnOnce(&str) -> Option<Id>) -> Result<Option<Id>, ApiError> {
    query
        .get("after")?
        .map(|id| {
            Some(&*id).filter(|id| !id.is_empty()).and_then(read).ok_or_else(|| {
                query::invalid("after", "must be the `next` of an earlier page; leave it out for the first")
            })
        })
        .transpose()
}

fn idempotency_key(headers: &Headers<'_>) -> Result<Option<String>, ApiError> {
    const NAME: &str = "Idempotency-Key";
    match headers.idempotency_key {
        Single::Absent => Ok(None),
        Single::Once(raw) => fields::idempotency_key(raw, NAME).map(Some),
        repeated @ Single::Repeated => repeated.refuse_repeats(NAME).map(|()| None),
    }
}

/// 413 of a whole body.
fn too_large() -> ApiError {
    let message = format!("the body may hold {REQUEST_BODY_MAX_BYTES} bytes at most");
    ApiError::new(ErrorCode::PayloadTooLarge, message)
}
