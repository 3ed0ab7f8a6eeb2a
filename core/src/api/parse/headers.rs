//! The headers that decide anything.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::ParseHost;
use crate::api::call::{Access, Credentials, UserHeader};
use crate::api::error::ApiError;
use crate::api::fields::visible_ascii;
use crate::id::UserId;
use crate::secret::{Digest, Entropy};

/// A header that holds one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Single<'a> {
    #[default]
    Absent,
    Once(&'a [u8]),
    /// Which of them counts cannot be told, so that none does.
    Repeated,
}

/// The headers of a request, read in one pass. The list-valued ones of a handshake are looked up when they are needed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Headers<'a> {
    all: &'a [(&'a str, &'a [u8])],
    pub(super) api_key: Single<'a>,
    pub(super) user_id: Single<'a>,
    pub(super) master_key: Single<'a>,
    pub(super) authorization: Single<'a>,
    pub(super) idempotency_key: Single<'a>,
    pub(super) origin: Single<'a>,
    pub(super) request_id: Single<'a>,
}

impl<'a> Headers<'a> {
    pub(super) fn read(all: &'a [(&'a str, &'a [u8])]) -> Self {
        let mut headers = Self { all, ..Self::default() };
        for (name, value) in all {
            let header = match *name {
                "x-api-key" => &mut headers.api_key,
                "x-user-id" => &mut headers.user_id,
                "x-master-key" => &mut headers.master_key,
                "authorization" => &mut headers.authorization,
                "idempotency-key" => &mut headers.idempotency_key,
                "origin" => &mut headers.origin,
                "x-request-id" => &mut headers.request_id,
                _ => continue,
            };
            header.add(value);
        }
        headers
    }

    /// What the request says of its caller.
    pub(super) fn credentials(&self, host: &dyn ParseHost) -> Credentials {
        Credentials {
            is_master: self.master_key.once().is_some_and(|given| host.is_master_key(given)),
            is_metrics_reader: self
                .authorization
                .once()
                .and_then(bearer)
                .is_some_and(|given| host.is_metrics_token(given)),
            api_key: self.api_key.once().map(Digest::of),
            user: self.user_id.user(),
        }
    }

    /// Refuses headers that stand repeatedly where a route with this access looks at them.
    pub(super) fn check_repeats(&self, access: Access) -> Result<(), ApiError> {
        match access {
            Access::Public => Ok(()),
            Access::Metrics => self.authorization.refuse_repeats("Authorization"),
            Access::Master => self.master_key.refuse_repeats("X-Master-Key"),
            Access::User | Access::UserToConnect | Access::UserOrTenant => self.api_key.refuse_repeats("X-API-Key"),
        }?;
        self.user_id.refuse_repeats("X-User-Id")?;
        self.origin.refuse_repeats("Origin")
    }

    /// The values of every header of this name, in order.
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.all.iter().filter(move |(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// A header that was not worth a field of its own.
    pub(super) fn single(&self, name: &str) -> Single<'a> {
        let mut header = Single::Absent;
        for value in self.values(name) {
            header.add(value);
        }
        header
    }

    /// Whether a list-valued header holds `token`, in any case and on any of its lines.
    pub(super) fn lists(&self, name: &str, token: &str) -> bool {
        self.values(name)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    }
}

impl<'a> Single<'a> {
    fn add(&mut self, value: &'a [u8]) {
        *self = match self {
            Self::Absent => Self::Once(value),
            Self::Once(_) | Self::Repeated => Self::Repeated,
        };
    }

    /// The value, if there is exactly one.
    pub(super) fn once(self) -> Option<&'a [u8]> {
        match self {
            Self::Once(value) => Some(value),
            Self::Absent | Self::Repeated => None,
        }
    }

    /// The value as a user id.
    pub(super) fn user(self) -> UserHeader {
        match self {
            Self::Absent => UserHeader::Absent,
            Self::Once(raw) => UserId::parse(raw).map_or(UserHeader::Invalid, UserHeader::User),
            Self::Repeated => UserHeader::Invalid,
        }
    }

    /// 400 where the header stands more than once.
    pub(super) fn refuse_repeats(self, name: &'static str) -> Result<(), ApiError> {
        match self {
            Self::Absent | Self::Once(_) => Ok(()),
            Self::Repeated => {
                let message = format!("{name} stands more than once: send it once");
                Err(ApiError::invalid(name, message))
            }
        }
    }
}

/// `X-Request-Id` of the answer: the caller's if it is fit to be echoed, else drawn.
pub(super) fn request_id(given: Option<&[u8]>, entropy: &mut dyn Entropy) -> String {
    match given.and_then(visible_ascii) {
        Some(given) => given.to_owned(),
        None => draw_request_id(entropy),
    }
}

/// `req_` and 96 random bits.
fn draw_request_id(entropy: &mut dyn Entropy) -> String {
    let mut bytes = [0; 12];
    entropy.fill(&mut bytes);
    format!("req_{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// The token of `Authorization: Bearer TOKEN`.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}
