//! The REST side (protocol, sections 1 to 5): requests are parsed and answers encoded by pure functions that run
//! outside the core's lock; what stands between is [`ApiRequest`] and [`Answer`].

mod answer;
mod call;
mod encode;
mod error;
pub(crate) mod fields;
mod health;
mod messages;
mod openapi;
mod parse;
mod rooms;
mod serve;
mod tenants;

pub use answer::{Answer, Health, Success, TenantCreated};
pub use call::{Access, ApiRequest, Call, CreateRoom, CreateTenant, Credentials, SendMessage, UserHeader};
pub use encode::{HttpResponse, REQUEST_BODY_MAX_BYTES, Rejection, ResponseMeta, encode, encode_upgrade, reject};
pub use error::{ApiError, ErrorCode};
pub(crate) use health::HealthCheck;
pub use parse::{Action, Body, ParseHost, RequestParts, Upgrade, parse_request};
pub(crate) use serve::invalid_user;
pub(crate) use tenants::CreatedSecrets;
