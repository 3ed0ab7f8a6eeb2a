//! A request as it was framed.

use std::ops::Range;

use chatapi_core::api::{Body, RequestParts};
use http_types::{Method, Version};

/// A framed request. It owns the bytes it came in; everything else points into them.
#[derive(Debug)]
pub struct Request {
    pub(super) line: RequestLine,
    pub(super) fields: Vec<Field>,
    /// The head, then the decoded body.
    pub(super) bytes: Vec<u8>,
    /// Where the body stands in `bytes`; `None` for one that was too large.
    pub(super) body: Option<Range<usize>>,
    pub(super) keep_alive: bool,
}

/// What becomes of a connection after an answer (RFC 9112, section 9.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    /// It ends, and the answer says so.
    Close,
    /// It stands, as is usual in HTTP/1.1.
    KeepAlive,
    /// It stands, and the answer must say so, as the client speaks HTTP/1.0.
    KeepAliveNamed,
}

/// The first line of a request.
#[derive(Debug, Clone)]
pub(super) struct RequestLine {
    pub(super) method: Method,
    pub(super) version: Version,
    /// Where the target stands in the head.
    pub(super) target: Range<usize>,
}

/// Where a header field stands in the head. Offsets of 16 bits do, as a head is at most 16 KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: (u16, u16),
    pub(super) value: (u16, u16),
}

impl Request {
    /// The method.
    #[must_use]
    pub fn method(&self) -> Method {
        self.line.method
    }

    /// The version: 1.0 or 1.1.
    #[must_use]
    pub fn version(&self) -> Version {
        self.line.version
    }

    /// The target in origin form, as it stood on the wire: visible ASCII, no fragment.
    #[must_use]
    pub fn target(&self) -> &str {
        text(&self.bytes[self.line.target.clone()])
    }

    /// The header fields in their order: names in lower case, values raw.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields.iter().map(|field| (text(slice(&self.bytes, field.name)), slice(&self.bytes, field.value)))
    }

    /// The first header field of that name, which is given in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers().find(|(given, _)| *given == name).map(|(_, value)| value)
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> Body<'_> {
        match &self.body {
            Some(range) => Body::Complete(&self.bytes[range.clone()]),
            None => Body::TooLarge,
        }
    }

    /// What becomes of the connection after the answer. It outlives the request, which may be dropped before.
    #[must_use]
    pub fn persistence(&self) -> Persistence {
        match (self.keep_alive, self.line.version) {
            (false, _) => Persistence::Close,
            (true, Version::Http1_0) => Persistence::KeepAliveNamed,
            (true, _) => Persistence::KeepAlive,
        }
    }

    /// Lends the request to the core's parser.
    pub fn with_parts<R>(&self, parse: impl FnOnce(&RequestParts<'_>) -> R) -> R {
        let headers: Vec<_> = self.headers().collect();
        parse(&RequestParts {
            method: self.line.method.as_ref(),
            target: self.target(),
            headers: &headers,
            body: self.body(),
        })
    }
}

pub(super) fn slice(bytes: &[u8], (start, end): (u16, u16)) -> &[u8] {
    &bytes[usize::from(start)..usize::from(end)]
}

/// Targets and names were found to be ASCII when the head was parsed.
fn text(ascii: &[u8]) -> &str {
    std::str::from_utf8(ascii).unwrap_or_default()
}
