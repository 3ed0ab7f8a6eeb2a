//! Which origins may read answers (protocol, section 2), decided once for each request.

use super::parse::Single;
use crate::config::AllowedOrigins;

/// The headers that browsers show to a page only where they are told so.
const EXPOSED: &str = "X-Request-Id, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Retry-After";
/// The headers that a page may send.
const ALLOWED_HEADERS: &str = "Content-Type, X-API-Key, X-User-Id, X-Request-Id, Idempotency-Key";
/// For how long a browser may remember the answer to a preflight, in seconds.
const PREFLIGHT_LIFETIME_SECS: &str = "600";

/// What browsers are told about who may read the answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cors {
    /// Nothing: no origin is allowed at all, or the request names none that could be.
    Silent,
    /// Nothing to this caller, but a cache must know that a list of origins decides.
    Unlisted,
    /// Its origin stands on the list, and is echoed.
    Listed(String),
    /// `*`, to callers without an origin too, so that the answer is the same for all.
    Anyone,
}

/// A header of a response.
type Header = (&'static str, String);

impl Cors {
    /// `origin` is the request's `Origin`. One that stands repeatedly is nobody's: which of them asks cannot be told.
    pub(super) fn decide(allowed: &AllowedOrigins, origin: Single<'_>) -> Self {
        match (allowed, origin) {
            (AllowedOrigins::Any, Single::Absent) => Self::Anyone,
            (AllowedOrigins::Any, Single::Once(origin)) if is_origin(origin) => Self::Anyone,
            (AllowedOrigins::Any, Single::Once(_) | Single::Repeated) => Self::Silent,
            (AllowedOrigins::Listed(origins), _) if origins.is_empty() => Self::Silent,
            (AllowedOrigins::Listed(origins), Single::Once(origin)) => origins
                .iter()
                .find(|listed| listed.as_bytes() == origin)
                .map_or(Self::Unlisted, |listed| Self::Listed(listed.clone())),
            (AllowedOrigins::Listed(_), Single::Absent | Single::Repeated) => Self::Unlisted,
        }
    }

    /// Adds to the headers of a real answer, be it an error.
    pub(super) fn add_to_answer(&self, headers: &mut Vec<Header>) {
        self.add_origin(headers);
        match self {
            Self::Silent | Self::Unlisted => {}
            Self::Listed(_) | Self::Anyone => {
                headers.push(("Access-Control-Expose-Headers", EXPOSED.to_owned()));
            }
        }
    }

    /// Adds to the headers of the answer to a preflight from an origin that is allowed. `methods` are the route's.
    pub(super) fn add_to_preflight(&self, headers: &mut Vec<Header>, methods: &str) {
        self.add_origin(headers);
        headers.push(("Access-Control-Allow-Methods", methods.to_owned()));
        headers.push(("Access-Control-Allow-Headers", ALLOWED_HEADERS.to_owned()));
        headers.push(("Access-Control-Max-Age", PREFLIGHT_LIFETIME_SECS.to_owned()));
    }

    /// Whether the caller may read answers.
    pub(super) const fn allows(&self) -> bool {
        match self {
            Self::Silent | Self::Unlisted => false,
            Self::Listed(_) | Self::Anyone => true,
        }
    }

    fn add_origin(&self, headers: &mut Vec<Header>) {
        match self {
            Self::Silent => {}
            Self::Unlisted => headers.push(("Vary", "Origin".to_owned())),
            Self::Listed(origin) => {
                headers.push(("Access-Control-Allow-Origin", origin.clone()));
                headers.push(("Vary", "Origin".to_owned()));
            }
            Self::Anyone => headers.push(("Access-Control-Allow-Origin", "*".to_owned())),
        }
    }
}

/// Whether a value can be an origin: `null`, or a scheme, a host and a port. What browsers send is visible ASCII, and just
/// one (RFC 6454, section 7.1, would let a request list several).
fn is_origin(value: &[u8]) -> bool {
    !value.is_empty() && value.iter().all(|byte| byte.is_ascii_graphic() && *byte != b',')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_read_is_decided_by_the_list_and_the_one_origin() {
        let listed = |origins: &[&str]| AllowedOrigins::Listed(origins.iter().map(|&one| one.to_owned()).collect());
        let (none, list, any) = (listed(&[]), listed(&["https://a.example", "https://b.example"]), AllowedOrigins::Any);
        let b = || Cors::Listed("https://b.example".to_owned());
        for (allowed, origin, expected) in [
            (&none, Single::Absent, Cors::Silent),
            (&none, Single::Once(b"https://a.example"), Cors::Silent),
            (&none, Single::Repeated, Cors::Silent),
            (&list, Single::Absent, Cors::Unlisted),
            (&list, Single::Once(b"https://b.example"), b()),
            (&list, Single::Once(b"https://B.example"), Cors::Unlisted),
            (&list, Single::Once(b"https://b.example:443"), Cors::Unlisted),
            (&list, Single::Once(b"https://b.example, https://a.example"), Cors::Unlisted),
            (&list, Single::Once(b"null"), Cors::Unlisted),
            (&list, Single::Once(b""), Cors::Unlisted),
            (&list, Single::Once(b"*"), Cors::Unlisted),
            (&list, Single::Once(b"\xff"), Cors::Unlisted),
            (&list, Single::Repeated, Cors::Unlisted),
            (&any, Single::Absent, Cors::Anyone),
            (&any, Single::Once(b"https://c.example"), Cors::Anyone),
            (&any, Single::Once(b"null"), Cors::Anyone),
            (&any, Single::Once(b""), Cors::Silent),
            (&any, Single::Once(b"https://a.example, https://b.example"), Cors::Silent),
            (&any, Single::Once(b"https://\xc3\xa9.example"), Cors::Silent),
            (&any, Single::Repeated, Cors::Silent),
        ] {
            assert_eq!(Cors::decide(allowed, origin), expected, "{allowed:?} {origin:?}");
        }
    }

    #[test]
    fn what_browsers_are_told() {
        let answer = |cors: &Cors| {
            let mut headers = Vec::new();
            cors.add_to_answer(&mut headers);
            headers
        };
        let header = |name, value: &str| (name, value.to_owned());
        let exposed = header("Access-Control-Expose-Headers", EXPOSED);
        let origin = |value| header("Access-Control-Allow-Origin", value);
        let vary = header("Vary", "Origin");
        let listed = Cors::Listed("https://a".to_owned());
        for (cors, told) in [
            (&Cors::Silent, vec![]),
            (&Cors::Unlisted, vec![vary.clone()]),
            (&listed, vec![origin("https://a"), vary.clone(), exposed.clone()]),
            (&Cors::Anyone, vec![origin("*"), exposed]),
        ] {
            assert_eq!(answer(cors), told, "{cors:?}");
        }

        let mut preflight = Vec::new();
        listed.add_to_preflight(&mut preflight, "GET, OPTIONS");
        assert_eq!(
            preflight,
            [
                origin("https://a"),
                vary,
                header("Access-Control-Allow-Methods", "GET, OPTIONS"),
                header("Access-Control-Allow-Headers", ALLOWED_HEADERS),
                header("Access-Control-Max-Age", "600"),
            ]
        );
    }
}
