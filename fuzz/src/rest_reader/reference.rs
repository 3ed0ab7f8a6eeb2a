//! The rules of the reader once more, as plainly as they can be told: on a stream that is all there, with httparse for
//! the head, and nothing remembered.

use std::net::Ipv6Addr;

use chatapi::http1::{Method, Phase};
use chatapi_core::api::{REQUEST_BODY_MAX_BYTES, Rejection};
use httparse::{EMPTY_HEADER, Status};

use super::{FIELDS_MAX, Framed, HEAD_MAX_BYTES, Reading, Seen, find};

/// Checks each request, and how the stream ended, against what was read byte by byte.
pub(super) fn compare(stream: &[u8], bytewise: &Reading) {
    let mut start = 0;
    for (seen, at) in bytewise.seen.iter().zip(&bytewise.at) {
        let rest = skip_blank_lines(&stream[start..]);
        match seen {
            Seen::Request(request) => {
                let length = check_request(rest, request);
                if request.body.is_some() {
                    assert_eq!(stream.len() - rest.len() + length, *at, "the request ends where the next begins");
                }
                start = *at;
            }
            Seen::Refused(rejection) => return check_refusal(rest, *rejection, bytewise.before_last),
        }
    }
    let rest = skip_blank_lines(&stream[start..]);
    match bytewise.end {
        Phase::Idle => assert!(rest.is_empty(), "{rest:?} was dropped"),
        Phase::Head => assert!(find(rest, b"\r\n\r\n").is_none(), "a complete head is waited for: {rest:?}"),
        Phase::Body => {
            let head = Head::read(rest).expect("a body is waited for, so the head was good");
            assert!(matches!(head.body(rest), Payload::Incomplete), "a complete body is waited for: {rest:?}");
        }
        Phase::Ended => {}
    }
}

/// Whether the head that stands at the start of `rest` is the request that was read; returns where the request ends.
fn check_request(rest: &[u8], request: &Framed) -> usize {
    let head = Head::read(rest).unwrap_or_else(|| panic!("{request:?} was read from {rest:?}"));
    assert_eq!((head.method, head.target), (&*request.method, &*request.target));
    assert_eq!(head.is_1_1, request.is_1_1);
    let headers: Vec<_> =
        head.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec())).collect();
    assert_eq!(headers, request.headers);
    match head.body(rest) {
        Payload::Complete { body, end } => {
            assert_eq!(request.body.as_ref(), Some(&body));
            end
        }
        Payload::TooLarge => {
            assert_eq!(request.body, None);
            head.length
        }
        Payload::Incomplete | Payload::Malformed => panic!("{request:?} has a body that was read from {rest:?}"),
    }
}

/// A refusal needs a reason.
fn check_refusal(rest: &[u8], rejection: Rejection, before: Phase) {
    if before == Phase::Body {
        let head = Head::read(rest).expect("the head was good");
        assert!(matches!(head.body(rest), Payload::Malformed), "{rejection:?} of a good body: {rest:?}");
        return;
    }
    if let Some(head) = Head::read(rest) {
        // Head and the first wrong byte of a body can come with one and the same byte only where there is no body.
        panic!("{rejection:?} of a good head: {:?} {:?}", head.method, head.target);
    }
    match rejection {
        Rejection::HeadTooLarge => {
            let limit = &rest[..rest.len().min(HEAD_MAX_BYTES)];
            let is_long = rest.len() >= HEAD_MAX_BYTES && find(limit, b"\r\n\r\n").is_none();
            let lines = limit.windows(2).filter(|window| window == b"\r\n").count();
            assert!(is_long || lines > FIELDS_MAX, "{} bytes in {lines} lines are no large head", rest.len());
        }
        Rejection::UnknownMethod | Rejection::UnsupportedVersion => {
            let line = &rest[..find(rest, b"\r\n").expect("the request line is complete")];
            let words: Vec<_> = line.split(|&byte| byte == b' ').collect();
            let is_version = words.get(2).is_some_and(|version| version.starts_with(b"HTTP/"));
            assert!(words.len() == 3 && is_version, "{rejection:?} of {line:?}");
            let is_spoken = matches!(words.get(2), Some(&(b"HTTP/1.0" | b"HTTP/1.1")));
            assert_eq!(is_spoken, rejection == Rejection::UnknownMethod, "{rejection:?} of {line:?}");
        }
        Rejection::Malformed(reason) => assert!(!reason.is_empty()),
        Rejection::Timeout | Rejection::Overloaded | Rejection::Stopped => panic!("{rejection:?} is not the reader's"),
    }
}

/// Up to two are skipped (RFC 9112, section 2.2).
fn skip_blank_lines(bytes: &[u8]) -> &[u8] {
    let rest = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
    rest.strip_prefix(b"\r\n").unwrap_or(rest)
}

/// A head that must be accepted.
struct Head<'s> {
    method: &'s str,
    target: &'s str,
    is_1_1: bool,
    headers: Vec<(&'s str, &'s [u8])>,
    length: usize,
}

enum Payload {
    Incomplete,
    Complete { body: Vec<u8>, end: usize },
    TooLarge,
    Malformed,
}

impl<'s> Head<'s> {
    fn read(bytes: &'s [u8]) -> Option<Self> {
        let mut fields = [EMPTY_HEADER; FIELDS_MAX];
        let mut parsed = httparse::Request::new(&mut fields);
        let length = match parsed.parse(bytes) {
            Ok(Status::Complete(length)) => length,
            Ok(Status::Partial) | Err(_) => return None,
        };
        let (method, target, minor) = (parsed.method?, parsed.path?, parsed.version?);
        let headers: Vec<_> = parsed.headers.iter().map(|field| (field.name, field.value)).collect();
        let head = Self { method, target, is_1_1: minor == 1, headers, length };
        let raw = &bytes[..length];
        let is_plain = Self::has_plain_lines(raw) && raw.starts_with(format!("{method} {target} HTTP/1.").as_bytes());
        let is_known = method.parse::<Method>().is_ok_and(|known| known.as_ref() == method);
        let is_origin_form = target.starts_with('/') && target.is_ascii() && !target.contains('#');
        (length <= HEAD_MAX_BYTES && is_plain && is_known && is_origin_form && head.has_good_host() && head.is_framed())
            .then_some(head)
    }

    /// CRLF ends each line, and no other control character stands anywhere.
    fn has_plain_lines(raw: &[u8]) -> bool {
        let lines = raw.split(|&byte| byte == b'\n').count() - 1;
        let ends = raw.windows(2).filter(|window| window == b"\r\n").count();
        let controls = raw.iter().filter(|&&byte| byte < b' ' && byte != b'\t' || byte == 0x7F).count();
        lines == ends && controls == 2 * ends
    }

    fn values(&self, name: &str) -> Vec<&'s [u8]> {
        self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| *value).collect()
    }

    fn has_good_host(&self) -> bool {
        match self.values("host")[..] {
            [] => !self.is_1_1,
            [host] => std::str::from_utf8(host).is_ok_and(is_host),
            _ => false,
        }
    }

    fn is_framed(&self) -> bool {
        match (&self.values("content-length")[..], &self.values("transfer-encoding")[..]) {
            ([], []) => true,
            ([digits], []) => std::str::from_utf8(digits).is_ok_and(|digits| {
                digits.bytes().all(|digit| digit.is_ascii_digit()) && digits.parse::<u64>().is_ok()
            }),
            ([], [coding]) => self.is_1_1 && coding.eq_ignore_ascii_case(b"chunked"),
            _ => false,
        }
    }

    fn body(&self, bytes: &[u8]) -> Payload {
        if !self.values("transfer-encoding").is_empty() {
            return chunks(bytes, self.length);
        }
        let announced = self.values("content-length").first().map_or(0, |digits| {
            digits.iter().fold(0_u64, |length, digit| length.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
        });
        let Some(length) = usize::try_from(announced).ok().filter(|length| *length <= REQUEST_BODY_MAX_BYTES) else {
            return Payload::TooLarge;
        };
        let end = self.length + length;
        match bytes.get(self.length..end) {
            Some(body) => Payload::Complete { body: body.to_vec(), end },
            None => Payload::Incomplete,
        }
    }
}

fn is_host(value: &str) -> bool {
    let (name, port) = match value.rfind(']') {
        Some(end) => value.split_at(end + 1),
        None => value.split_at(value.find(':').unwrap_or(value.len())),
    };
    let is_name = match name.strip_prefix('[').and_then(|literal| literal.strip_suffix(']')) {
        Some(literal) => literal.parse::<Ipv6Addr>().is_ok(),
        None => {
            let mut pieces = name.split('%');
            let is_plain =
                |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=".contains(c));
            let first = pieces.next().unwrap_or_default();
            !name.is_empty()
                && is_plain(first)
                && pieces.all(|piece| {
                    piece.len() >= 2
                        && piece.bytes().take(2).all(|digit| digit.is_ascii_hexdigit())
                        && is_plain(piece.get(2..).unwrap_or("%"))
                })
        }
    };
    let is_port = match port.strip_prefix(':') {
        None => port.is_empty(),
        Some(digits) => {
            digits.bytes().all(|digit| digit.is_ascii_digit()) && (digits.is_empty() || digits.parse::<u16>().is_ok())
        }
    };
    is_name && is_port
}

/// RFC 9112, section 7.1, within the reader's limits on what stands between the data.
fn chunks(bytes: &[u8], start: usize) -> Payload {
    const SIZE_LINE_MAX_BYTES: usize = 256;
    const EXTENSIONS_MAX_BYTES: usize = 4 * 1024;
    let mut body = Vec::new();
    let mut extensions = 0;
    let mut at = start;
    loop {
        let line = match line(&bytes[at..], SIZE_LINE_MAX_BYTES) {
            Line::Incomplete => return Payload::Incomplete,
            Line::Malformed => return Payload::Malformed,
            Line::Complete(line) => line,
        };
        at += line.len() + 2;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let is_size = (1..=16).contains(&digits) && line.get(digits).is_none_or(|&byte| byte == b';');
        extensions += line.len() - digits;
        if !is_size || extensions > EXTENSIONS_MAX_BYTES {
            return Payload::Malformed;
        }
        let size = line[..digits]
            .iter()
            .fold(0_u64, |size, digit| size << 4 | u64::from(char::from(*digit).to_digit(16).unwrap_or_default()));
        if size == 0 {
            return trailer(bytes, at, body);
        }
        if size > (REQUEST_BODY_MAX_BYTES - body.len()) as u64 {
            return Payload::TooLarge;
        }
        let end = at + size as usize;
        let Some(data) = bytes.get(at..end) else { return Payload::Incomplete };
        body.extend(data);
        match bytes[end..] {
            [b'\r', b'\n', ..] => at = end + 2,
            [] | [b'\r'] => return Payload::Incomplete,
            _ => return Payload::Malformed,
        }
    }
}

fn trailer(bytes: &[u8], start: usize, body: Vec<u8>) -> Payload {
    const TRAILER_MAX_BYTES: usize = 4 * 1024;
    const TRAILERS_MAX: usize = 16;
    let mut at = start;
    loop {
        match line(&bytes[at..], TRAILER_MAX_BYTES - (at - start)) {
            Line::Incomplete => return Payload::Incomplete,
            Line::Malformed => return Payload::Malformed,
            Line::Complete(line) => {
                at += line.len() + 2;
                if line.is_empty() {
                    break;
                }
            }
        }
    }
    match httparse::parse_headers(&bytes[start..at], &mut [EMPTY_HEADER; TRAILERS_MAX]) {
        Ok(Status::Complete((length, _))) if length == at - start => Payload::Complete { body, end: at },
        Ok(_) | Err(_) => Payload::Malformed,
    }
}

enum Line<'s> {
    Incomplete,
    Complete(&'s [u8]),
    Malformed,
}

/// A line that ends within `limit` bytes, its CRLF included.
fn line(bytes: &[u8], limit: usize) -> Line<'_> {
    let within = &bytes[..bytes.len().min(limit)];
    let Some(end) = within.iter().position(|&byte| byte < b' ' && byte != b'\t' || byte == 0x7F) else {
        return if bytes.len() >= limit { Line::Malformed } else { Line::Incomplete };
    };
    match within[end..] {
        [b'\r', b'\n', ..] => Line::Complete(&within[..end]),
        [b'\r'] if bytes.len() < limit => Line::Incomplete,
        _ => Line::Malformed,
    }
}
