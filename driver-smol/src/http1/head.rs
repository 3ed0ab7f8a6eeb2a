//! The rules of a request's head: its first line, its fields, and what they say about the body and the connection.

use std::net::Ipv6Addr;
use std::ops::Range;

use chatapi_core::api::{REQUEST_BODY_MAX_BYTES, Rejection};
use http_types::{Method, Version};
use httparse::{EMPTY_HEADER, Status};

use super::request::{Field, RequestLine, slice};

/// Longest head, from the request line to the empty line at its end.
pub(super) const HEAD_MAX_BYTES: usize = 16 * 1024;
/// Most header fields of a request.
pub(super) const FIELDS_MAX: usize = 128;

const _: () = assert!(HEAD_MAX_BYTES <= u16::MAX as usize, "offsets of fields are 16 bits wide");

/// What the header fields come to.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) framing: Framing,
    pub(super) keep_alive: bool,
    pub(super) expects_continue: bool,
}

/// How the end of the body is found (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// By its length, which is zero where nothing is said; at most the limit.
    Length(usize),
    /// By its last chunk.
    Chunked,
    /// The announced length is over the limit.
    TooLarge,
}

/// The method, the target and the version of a request line (RFC 9112, section 3). What has not even these is another
/// protocol.
pub(super) fn split_request_line(line: &[u8]) -> Result<[&[u8]; 3], Rejection> {
    let mut words = line.split(|&byte| byte == b' ');
    match [words.next(), words.next(), words.next(), words.next()] {
        [Some(method), Some(target), Some(version), None]
            if is_token(method) && !target.is_empty() && is_version(version) =>
        {
            Ok([method, target, version])
        }
        _ => Err(Rejection::Malformed("the request line must be a method, a target and HTTP/1.1")),
    }
}

/// Parses a request line, which stands at the start of the head.
pub(super) fn parse_request_line(line: &[u8]) -> Result<RequestLine, Rejection> {
    let [method, target, version] = split_request_line(line)?;
    // The version first, as it says how the rest is to be read: `PRI * HTTP/2.0` opens HTTP/2.
    let version = match version {
        b"HTTP/1.1" => Version::Http1_1,
        b"HTTP/1.0" => Version::Http1_0,
        _ => return Err(Rejection::UnsupportedVersion),
    };
    let start = method.len() + 1;
    // http-types takes any case; RFC 9110, section 9.1: methods are case-sensitive.
    let known = std::str::from_utf8(method).ok().and_then(|name| name.parse::<Method>().ok());
    let method = known.filter(|known| known.as_ref().as_bytes() == method).ok_or(Rejection::UnknownMethod)?;
    check_target(target)?;
    Ok(RequestLine { method, version, target: start..start + target.len() })
}

/// Finds the fields that stand in `range` of `bytes`, their empty line included, and lower-cases their names in place.
/// `count` is the number of lines.
pub(super) fn find_fields(bytes: &mut [u8], range: Range<usize>, count: usize) -> Result<Vec<Field>, Rejection> {
    // Clearing all 128 places would cost as much as parsing a usual head.
    let fields =
        if count <= 24 { locate::<24>(bytes, range, count)? } else { locate::<FIELDS_MAX>(bytes, range, count)? };
    for field in &fields {
        bytes[usize::from(field.name.0)..usize::from(field.name.1)].make_ascii_lowercase();
    }
    Ok(fields)
}

/// The lower-case name of a field that the answer to a refused request depends on; `None` of any other.
pub(super) fn told_name(name: &[u8]) -> Option<&'static str> {
    ["origin", "x-request-id"].into_iter().find(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// Such fields among the complete lines of a head that goes on, or goes wrong, after them; what follows a line that is no
/// field is not looked at.
pub(super) fn told_by_lines(lines: &[u8]) -> Vec<(&'static str, &[u8])> {
    let mut told = Vec::new();
    for line in lines.split(|&byte| byte == b'\n').take(FIELDS_MAX) {
        // A folded line would be a part of the one before it: what that says is then not known.
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            return Vec::new();
        }
        let Some(colon) = line.iter().position(|&byte| byte == b':') else {
            break;
        };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if !is_token(name) {
            break;
        }
        if let Some(name) = told_name(name) {
            told.push((name, value.trim_ascii()));
        }
    }
    told
}

/// What the fields come to.
pub(super) fn read_fields(bytes: &[u8], fields: &[Field], version: Version) -> Result<Head, Rejection> {
    let (mut host, mut length, mut encoding) = (None, None, None);
    let mut connection = Connection::default();
    let mut expects_continue = false;
    for field in fields {
        let value = slice(bytes, field.value);
        match slice(bytes, field.name) {
            b"host" => once(&mut host, value, "there must be one Host header")?,
            b"content-length" => once(&mut length, value, "there must be no second Content-Length")?,
            b"transfer-encoding" => once(&mut encoding, value, "there must be no second Transfer-Encoding")?,
            b"connection" => connection.read(value),
            b"expect" => expects_continue |= value.eq_ignore_ascii_case(b"100-continue"),
            _ => {}
        }
    }

    let is_1_0 = version == Version::Http1_0;
    match host {
        Some(host) if !is_host(host) => return Err(Rejection::Malformed("the Host header must be a host and a port")),
        // RFC 9112, section 3.2.
        None if !is_1_0 => return Err(Rejection::Malformed("there must be one Host header")),
        Some(_) | None => {}
    }
    Ok(Head {
        framing: framing(length, encoding, is_1_0)?,
        keep_alive: if is_1_0 { connection.keep_alive && !connection.close } else { !connection.close },
        // RFC 9110, section 10.1.1: a server ignores it in HTTP/1.0.
        expects_continue: expects_continue && !is_1_0,
    })
}

/// Whether the fields of a trailer section are well formed; they are not looked at otherwise.
pub(super) fn check_trailers(section: &[u8]) -> Result<(), Rejection> {
    locate::<TRAILERS_MAX>(section, 0..section.len(), 0).map(|_| ())
}

/// Most fields of a trailer section.
const TRAILERS_MAX: usize = 16;

#[derive(Debug, Default)]
struct Connection {
    close: bool,
    keep_alive: bool,
}

impl Connection {
    fn read(&mut self, value: &[u8]) {
        for option in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }
}

/// httparse checks names and values, and refuses folded lines and spaces before the colon.
fn locate<const MAX: usize>(bytes: &[u8], range: Range<usize>, count: usize) -> Result<Vec<Field>, Rejection> {
    let mut headers = [EMPTY_HEADER; MAX];
    let section = &bytes[range.clone()];
    let parsed = match httparse::parse_headers(section, &mut headers) {
        // Both looked for the same empty line; if they disagreed on it, nothing that follows could be trusted.
        Ok(Status::Complete((length, parsed))) if length == section.len() => parsed,
        Ok(Status::Complete(_) | Status::Partial) => return Err(Rejection::Malformed("a header has no name or value")),
        Err(httparse::Error::TooManyHeaders) => return Err(Rejection::HeadTooLarge),
        Err(_) => return Err(Rejection::Malformed("a header is not well formed")),
    };
    let place = |part: &[u8]| {
        let start = part.as_ptr().addr() - bytes.as_ptr().addr();
        (start as u16, (start + part.len()) as u16)
    };
    let mut fields = Vec::with_capacity(count);
    fields.extend(parsed.iter().map(|field| Field { name: place(field.name.as_bytes()), value: place(field.value) }));
    Ok(fields)
}

fn once<'a>(seen: &mut Option<&'a [u8]>, value: &'a [u8], complaint: &'static str) -> Result<(), Rejection> {
    match seen.replace(value) {
        None => Ok(()),
        Some(_) => Err(Rejection::Malformed(complaint)),
    }
}

/// RFC 9112, sections 6.1 to 6.3, without their leniency: what two parties could frame differently is refused.
fn framing(length: Option<&[u8]>, encoding: Option<&[u8]>, is_1_0: bool) -> Result<Framing, Rejection> {
    const LENGTH: Rejection = Rejection::Malformed("Content-Length must be a number");
    match (length, encoding) {
        (None, None) => Ok(Framing::Length(0)),
        (Some(_), Some(_)) => Err(Rejection::Malformed("Content-Length and Transfer-Encoding exclude each other")),
        (None, Some(_)) if is_1_0 => Err(Rejection::Malformed("HTTP/1.0 has no Transfer-Encoding")),
        (None, Some(coding)) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
        (None, Some(_)) => Err(Rejection::Malformed("Transfer-Encoding must be chunked")),
        (Some(digits), None) => {
            // `parse` alone would take a sign.
            if !digits.iter().all(u8::is_ascii_digit) {
                return Err(LENGTH);
            }
            let digits = std::str::from_utf8(digits).map_err(|_| LENGTH)?;
            let length: u64 = digits.parse().map_err(|_| LENGTH)?;
            Ok(match usize::try_from(length) {
                Ok(length) if length <= REQUEST_BODY_MAX_BYTES => Framing::Length(length),
                Ok(_) | Err(_) => Framing::TooLarge,
            })
        }
    }
}

/// RFC 9112, section 3.2: of the four forms the origin form alone, as there is neither a proxy nor a tunnel here.
fn check_target(target: &[u8]) -> Result<(), Rejection> {
    if target[0] != b'/' {
        return Err(Rejection::Malformed("the target must begin with a slash"));
    }
    if !target.iter().all(|&byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err(Rejection::Malformed("the target must be visible ASCII without a fragment"));
    }
    Ok(())
}

/// RFC 9110, section 7.2: `uri-host [ ":" port ]`, and the host of an http URI is never empty (section 4.2.1).
fn is_host(value: &[u8]) -> bool {
    let Ok(value) = std::str::from_utf8(value) else {
        return false;
    };
    let (is_name, port) = if let Some(literal) = value.strip_prefix('[') {
        let Some((address, port)) = literal.split_once(']') else {
            return false;
        };
        (address.parse::<Ipv6Addr>().is_ok(), port)
    } else {
        let colon = value.find(':').unwrap_or(value.len());
        (is_reg_name(&value.as_bytes()[..colon]), &value[colon..])
    };
    let is_port = match port.strip_prefix(':') {
        Some(digits) => {
            digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits.is_empty() || digits.parse::<u16>().is_ok())
        }
        None => port.is_empty(),
    };
    is_name && is_port
}

/// RFC 3986, section 3.2.2, and not empty.
fn is_reg_name(name: &[u8]) -> bool {
    let mut bytes = name.iter();
    while let Some(&byte) = bytes.next() {
        let is_part = match byte {
            b'%' => [bytes.next(), bytes.next()].iter().all(|digit| digit.is_some_and(u8::is_ascii_hexdigit)),
            _ => byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte),
        };
        if !is_part {
            return false;
        }
    }
    !name.is_empty()
}

/// RFC 9110, section 5.6.2.
pub(super) fn is_token(word: &[u8]) -> bool {
    !word.is_empty() && word.iter().all(|&byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn is_version(word: &[u8]) -> bool {
    word.strip_prefix(b"HTTP/").is_some_and(|number| {
        number.first().is_some_and(u8::is_ascii_digit)
            && number.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_that_goes_wrong_tells_its_request_and_origin_by_the_lines_before_the_fault() {
        let many = "A: b\r\n".repeat(FIELDS_MAX);
        let id = |value: &'static str| ("x-request-id", value.as_bytes());
        let origin = |value: &'static str| ("origin", value.as_bytes());
        for (lines, told) in [
            ("X-Request-Id: mine\r\n", vec![id("mine")]),
            ("Host: x\r\nx-request-id:\tmine \r\nA: b\r\n", vec![id("mine")]),
            ("ORIGIN: https://a\r\nX-Request-Id: mine\r\n", vec![origin("https://a"), id("mine")]),
            ("X-Request-Id: mine\r\nBad Name: x\r\nOrigin: https://a\r\n", vec![id("mine")]),
            ("X-Request-Id: mine\r\nno field\r\n", vec![id("mine")]),
            (&format!("X-Request-Id: mine\r\n{many}"), vec![id("mine")]),
            ("", vec![]),
            ("Host: x\r\n", vec![]),
            ("Bad Name: x\r\nX-Request-Id: mine\r\n", vec![]),
            ("X-Request-Id: mine\r\n folded\r\n", vec![]),
            ("Origin: https://a\r\nOrigin: https://b\r\n", vec![origin("https://a"), origin("https://b")]),
            (&format!("{many}X-Request-Id: mine\r\n"), vec![]),
        ] {
            assert_eq!(told_by_lines(lines.as_bytes()), told, "{lines:?}");
        }
    }

    #[test]
    fn hosts() {
        for good in ["a", "a:", "a:80", "x_y.example", "127.0.0.1:65535", "[::1]", "[2001:db8::1]:8080", "a%2Fb"] {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in [
            "", ":80", "a:b", "a:80:80", "a:65536", "a:+8", "a b", "a/b", "x/admin#", "a@b", "a?b", "[::1", "[::g]",
            "[::1]x", "[]", "a%2", "a%zz", "a,b c", "\u{e4}",
        ] {
            assert!(!is_host(bad.as_bytes()), "{bad}");
        }
    }
}
