//! The REST side (protocol, sections 1 to 5): requests are parsed and answers encoded by pure functions that run
//! outside the core's lock; what stands between is [`ApiRequest`] and [`Answer`].

mod answer;
mod call;
mod cors;
mod encode;
mod error;
pub(crate) mod fields;
mod health;
mod members;
mod messages;
mod openapi;
mod parse;
mod rooms;
mod serve;
mod tenants;

pub use answer::{Answer, Health, PresenceStatus, Success, TenantCreated, TenantShown};
pub use call::{
    Access, AdminCall, ApiRequest, Call, ChangeRoom, CreateRoom, CreateTenant, Credentials, EditMessage, MembersQuery,
    Notify, PublicCall, RotateKey, SendMessage, TenantCall, UserCall, UserHeader,
};
pub use cors::Cors;
pub(crate) use encode::RoomBody;
pub use encode::{
    HttpResponse, MetricsFormat, REQUEST_BODY_MAX_BYTES, Rejection, ResponseMeta, encode, encode_upgrade, reject,
};
pub use error::{ApiError, ErrorCode};
pub(crate) use health::HealthCheck;
pub use parse::{Action, Body, ParseHost, RequestParts, Upgrade, parse_request};
pub(crate) use serve::{invalid_user, wrong_reply};
pub(crate) use tenants::CreatedSecrets;
