//! The REST side (protocol, sections 1 to 5): requests are parsed and answers encoded by pure functions that run
//! outside the core's lock; what stands between is [`ApiRequest`] and [`Answer`].

mod answer;
mod call;
mod encode;
mod error;
pub(crate) mod fields;
mod parse;

pub use answer::{Answer, Health, Success, TenantCreated};
pub use call::{Access, ApiRequest, Call, CreateRoom, CreateTenant, Credentials, SendMessage, UserHeader};
pub use encode::{HttpResponse, REQUEST_BODY_MAX_BYTES, Rejection, ResponseMeta, encode, rate_limit_headers, reject};
pub use error::{ApiError, ErrorCode};
pub use parse::{Action, Body, ParseHost, RequestParts, Upgrade, parse_request};
