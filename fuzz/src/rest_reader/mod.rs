//! The driver's strict request reader, [`RequestReader`].
//!
//! An input is one line that says how the stream is cut, and the stream. Each byte of that line is the size of a packet
//! (`3` is three bytes, what is no digit many more), over and over. In the stream `{{x*200}}` stands for 200 times `x`,
//! so that a short input reaches the limits.

mod reference;

use chatapi::http1::{Method, Persistence, Phase, Request, RequestReader, Version};
use chatapi_core::api::{Body, REQUEST_BODY_MAX_BYTES, Rejection};

/// Limits of the protocol (section 1).
const HEAD_MAX_BYTES: usize = 16 * 1024;
const FIELDS_MAX: usize = 128;
/// What the driver reads from a socket at once.
const PACKET_MAX_BYTES: usize = 32 * 1024;
/// Longest stream: a little more than the largest request.
const STREAM_MAX_BYTES: usize = REQUEST_BODY_MAX_BYTES + 64 * 1024;
/// Up to here a stream is also read byte by byte, and compared with the reference.
const BYTEWISE_MAX_BYTES: usize = 20 * 1024;
/// So many requests of a stream are also written anew and read again.
const RENDERED_MAX: usize = 8;
/// `GET / HTTP/1.0` and an empty line.
const REQUEST_MIN_BYTES: usize = 18;

/// Reads one stream in several ways.
pub fn run(input: &[u8]) {
    let line_end = input.iter().position(|&byte| byte == b'\n');
    let (plan, stream) = match line_end {
        Some(end) => (&input[..end], &input[end + 1..]),
        None => (&[][..], input),
    };
    let stream = expand(stream);
    let large_packets = read(stream.chunks(PACKET_MAX_BYTES));
    let as_planned = read(cut(&stream, plan).into_iter());
    same(&as_planned, &large_packets, "the packets make a difference");
    for (count, seen) in large_packets.seen.iter().enumerate() {
        let Seen::Request(request) = seen else { break };
        check_limits(request);
        check_persistence(request);
        if count < RENDERED_MAX {
            reads_as_rendered(request);
        }
    }
    if stream.len() <= BYTEWISE_MAX_BYTES {
        let bytewise = read(stream.chunks(1));
        same(&bytewise, &large_packets, "byte by byte makes a difference");
        reference::compare(&stream, &bytewise);
        check_rest(&stream, &bytewise);
    }
}

/// A request as it came out of the reader.
#[derive(Debug, Clone, PartialEq)]
struct Framed {
    method: String,
    target: String,
    is_1_1: bool,
    headers: Vec<(String, Vec<u8>)>,
    /// `None`: too large.
    body: Option<Vec<u8>>,
    persistence: Persistence,
}

#[derive(Debug, PartialEq)]
enum Seen {
    Request(Framed),
    Refused(Rejection),
}

/// What a stream came to.
struct Reading {
    seen: Vec<Seen>,
    /// How many bytes were pushed when each of `seen` came.
    at: Vec<usize>,
    /// The phase before the packet that brought the last of `seen`.
    before_last: Phase,
    end: Phase,
}

impl Framed {
    fn of(request: &Request) -> Self {
        let framed = request.with_parts(|parts| Self {
            method: parts.method.to_owned(),
            target: parts.target.to_owned(),
            is_1_1: request.version() == Version::Http1_1,
            headers: parts.headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect(),
            body: match parts.body {
                Body::Complete(bytes) => Some(bytes.to_vec()),
                Body::TooLarge => None,
            },
            persistence: request.persistence(),
        });
        assert_eq!(request.method().as_ref(), framed.method);
        assert!(matches!(request.version(), Version::Http1_0 | Version::Http1_1), "{:?}", request.version());
        for (name, _) in &framed.headers {
            assert_eq!(request.header(name), framed.values(name).next(), "{name} is found under its name");
        }
        framed
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.headers.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_slice())
    }
}

/// Drives a reader as a connection does: a packet is pushed when nothing is left to be answered.
fn read<'s>(packets: impl Iterator<Item = &'s [u8]>) -> Reading {
    let mut reader = RequestReader::new();
    let mut reading = Reading { seen: Vec::new(), at: Vec::new(), before_last: Phase::Idle, end: Phase::Idle };
    let mut pushed = 0;
    let mut continued = false;
    for packet in packets {
        let before = reader.phase();
        reader.push(packet);
        pushed += packet.len();
        loop {
            let held = reader.buffer_bytes();
            assert!(held <= 2 * pushed, "{held} bytes are held of {pushed}");
            let most = HEAD_MAX_BYTES + REQUEST_BODY_MAX_BYTES + 2 * PACKET_MAX_BYTES;
            assert!(held <= most, "{held} bytes are held");
            let seen = match reader.next_request() {
                Ok(Some(request)) => {
                    continued = false;
                    Seen::Request(Framed::of(&request))
                }
                Ok(None) => break,
                Err(rejection) => {
                    assert_eq!(reader.next_request().err(), Some(rejection), "a refusal stays");
                    assert_eq!((reader.phase(), reader.buffer_bytes()), (Phase::Ended, 0));
                    assert!(!reader.take_continue());
                    Seen::Refused(rejection)
                }
            };
            let is_refused = matches!(seen, Seen::Refused(_));
            reading.seen.push(seen);
            reading.at.push(pushed);
            reading.before_last = before;
            if is_refused {
                reading.end = Phase::Ended;
                return reading;
            }
            assert!(reading.seen.len() * REQUEST_MIN_BYTES <= pushed, "more requests than their bytes");
        }
        if reader.take_continue() {
            assert_eq!(reader.phase(), Phase::Body, "a body is asked for that does not come");
            assert!(!continued, "a body is asked for twice");
            continued = true;
        }
        let is_idle = reader.phase() == Phase::Idle;
        assert_eq!(is_idle, reader.buffer_bytes() == 0 && reader.phase() != Phase::Ended, "idle, and nothing held");
    }
    reading.end = reader.phase();
    reading
}

/// Tells the first difference alone, and its beginning: bodies may be large.
fn same(one: &Reading, other: &Reading, what: &str) {
    for (index, (one, other)) in one.seen.iter().zip(&other.seen).enumerate() {
        assert!(one == other, "{what}, at {index}: {:.1000} and {:.1000}", format!("{one:?}"), format!("{other:?}"));
    }
    assert_eq!((one.seen.len(), one.end), (other.seen.len(), other.end), "{what}, to where it ends");
}

/// What no accepted request may break.
fn check_limits(request: &Framed) {
    let Framed { method, target, is_1_1, headers, body, persistence } = request;
    let known = method.parse::<Method>().expect("the method is known");
    assert_eq!(known.as_ref(), method, "methods are case-sensitive");
    assert!(target.starts_with('/') && target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'), "{target}");
    assert!(headers.len() <= FIELDS_MAX, "{} headers", headers.len());
    let fields: usize = headers.iter().map(|(name, value)| name.len() + value.len() + ":\r\n".len()).sum();
    let head = method.len() + target.len() + "  HTTP/1.1\r\n\r\n".len() + fields;
    assert!(head <= HEAD_MAX_BYTES, "a head of {head} bytes");
    for (name, value) in headers {
        assert!(!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase()));
        assert!(!name.contains([':', '(', ')', ',', '/', ';', '"', '@', '[', ']', '{', '}', '\\']), "{name}");
        assert!(value.iter().all(|&byte| byte == b'\t' || byte >= b' ' && byte != 0x7F), "{name}: {value:?}");
        let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
        assert!(!is_blank(value.first()) && !is_blank(value.last()), "{name}: {value:?} is trimmed");
    }
    let count = |name| request.values(name).count();
    assert!(count("host") == 1 || !is_1_1 && count("host") == 0, "{} hosts", count("host"));
    assert!(count("content-length") + count("transfer-encoding") <= 1, "the framing is unambiguous");
    if let Some(coding) = request.values("transfer-encoding").next() {
        assert!(*is_1_1 && coding.eq_ignore_ascii_case(b"chunked"));
    }
    let announced = request.values("content-length").next().map(|digits| {
        assert!(!digits.is_empty() && digits.iter().all(u8::is_ascii_digit), "{digits:?}");
        digits.iter().fold(0_u128, |length, digit| (length * 10 + u128::from(digit - b'0')).min(1 << 100))
    });
    match (body, announced) {
        (Some(body), Some(announced)) => assert_eq!(body.len() as u128, announced),
        (Some(body), None) => assert!(count("transfer-encoding") == 1 || body.is_empty(), "a body from nowhere"),
        (None, Some(announced)) => assert!(announced > REQUEST_BODY_MAX_BYTES as u128),
        (None, None) => assert_eq!(count("transfer-encoding"), 1),
    }
    assert!(body.as_ref().is_none_or(|body| body.len() <= REQUEST_BODY_MAX_BYTES));
    assert!(body.is_some() || *persistence == Persistence::Close, "nothing is read past a body that was not");
}

/// RFC 9112, section 9.3.
fn check_persistence(request: &Framed) {
    let options: Vec<_> = request
        .values("connection")
        .flat_map(|value| value.split(|&byte| byte == b','))
        .map(|option| option.trim_ascii().to_ascii_lowercase())
        .collect();
    let names = |option: &[u8]| options.iter().any(|given| given == option);
    let expected = match (request.is_1_1, names(b"close") || request.body.is_none(), names(b"keep-alive")) {
        (_, true, _) | (false, _, false) => Persistence::Close,
        (true, false, _) => Persistence::KeepAlive,
        (false, false, true) => Persistence::KeepAliveNamed,
    };
    assert_eq!(request.persistence, expected);
}

/// A request that was read, written in the plainest way, with its length or in chunks, is read as the same.
fn reads_as_rendered(request: &Framed) {
    const BODY_MAX_BYTES: usize = 4 * 1024;
    let Some(body) = request.body.as_ref().filter(|body| body.len() <= BODY_MAX_BYTES) else { return };
    let is_framing = |name: &str| matches!(name, "content-length" | "transfer-encoding");
    let others: Vec<_> = request.headers.iter().filter(|(name, _)| !is_framing(name)).cloned().collect();
    let in_chunks: Vec<u8> = body
        .chunks(7)
        .flat_map(|chunk| [format!("{:x};last=\"no\"\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat())
        .chain(*b"0\r\nx-trailer: 1\r\n\r\n")
        .collect();
    let length = ("content-length".to_owned(), body.len().to_string().into_bytes());
    let coding = ("transfer-encoding".to_owned(), b"Chunked".to_vec());
    for (framing, payload) in [(length, body), (coding, &in_chunks)] {
        if framing.0 == "transfer-encoding" && (!request.is_1_1 || body.len() > 1_000) {
            continue;
        }
        let mut headers = others.clone();
        headers.push(framing);
        let version = if request.is_1_1 { "1.1" } else { "1.0" };
        let mut bytes = format!("{} {} HTTP/{version}\r\n", request.method, request.target).into_bytes();
        for (name, value) in &headers {
            bytes.extend([name.as_bytes(), b":", value, b"\r\n"].concat());
        }
        bytes.extend(b"\r\n");
        if bytes.len() > HEAD_MAX_BYTES || headers.len() > FIELDS_MAX {
            continue;
        }
        bytes.extend(payload);
        let expected = Framed { headers, ..request.clone() };
        assert_eq!(read(std::iter::once(&bytes[..])).seen, [Seen::Request(expected)], "as it was rendered");
    }
}

/// What follows a request is neither lost nor cut: after an upgrade it belongs to the new protocol.
fn check_rest(stream: &[u8], bytewise: &Reading) {
    for (count, (seen, at)) in bytewise.seen.iter().zip(&bytewise.at).enumerate() {
        let Seen::Request(Framed { body: Some(_), .. }) = seen else { return };
        let mut reader = RequestReader::new();
        reader.push(stream);
        for _ in 0..=count {
            drop(reader.next_request());
        }
        assert!(reader.into_rest() == stream[*at..], "what follows request {count} is not all there");
        if count == 3 {
            return;
        }
    }
}

/// The stream in packets of the sizes that `plan` names, over and over.
fn cut<'s>(stream: &'s [u8], plan: &[u8]) -> Vec<&'s [u8]> {
    const PACKETS_MAX: usize = 4_096;
    let least = stream.len() / PACKETS_MAX + 1;
    let mut sizes = plan.iter().map(|&byte| packet_size(byte)).cycle();
    let mut rest = stream;
    let mut packets = Vec::new();
    while !rest.is_empty() {
        let size = sizes.next().unwrap_or(PACKET_MAX_BYTES).max(least).min(rest.len());
        let (packet, after) = rest.split_at(size);
        packets.push(packet);
        rest = after;
    }
    packets
}

/// `1` to `9` are as many bytes; other characters stand for larger packets, up to the driver's.
fn packet_size(byte: u8) -> usize {
    match byte {
        b'1'..=b'9' => usize::from(byte - b'0'),
        other => (usize::from(other) * usize::from(other) / 2).clamp(1, PACKET_MAX_BYTES),
    }
}

/// Replaces each `{{x*200}}`.
fn expand(text: &[u8]) -> Vec<u8> {
    let mut expanded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = find(rest, b"{{") {
        let Some(length) = find(&rest[start..], b"}}") else { break };
        let inside = &rest[start + 2..start + length.max(2)];
        let after = &rest[start + length + 2..];
        let repeated = inside.iter().rposition(|&byte| byte == b'*').and_then(|star| {
            let count: usize = std::str::from_utf8(&inside[star + 1..]).ok()?.parse().ok()?;
            Some((&inside[..star], count))
        });
        expanded.extend(&rest[..start]);
        match repeated {
            Some((pattern, count)) => {
                let room = STREAM_MAX_BYTES.saturating_sub(expanded.len());
                expanded.extend(pattern.repeat(count.min(room / pattern.len().max(1))));
            }
            None => expanded.extend(&rest[start..start + length + 2]),
        }
        rest = after;
    }
    expanded.extend(rest);
    expanded
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repetition_is_written_out_and_anything_else_left_alone() {
        for (text, expanded) in [
            ("a{{bc*3}}d", "abcbcbcd"),
            ("{{x*0}}{{*9}}{{**2}}", "**"),
            ("{{a*b}}", "{{a*b}}"),
            ("{{a", "{{a"),
            ("}}{{}}", "}}{{}}"),
            ("{}{{{}}", "{}{{{}}"),
        ] {
            assert_eq!(String::from_utf8(expand(text.as_bytes())).unwrap(), expanded, "{text}");
        }
        assert!(expand(b"{{abc*99999999}}").len() <= STREAM_MAX_BYTES);
    }

    #[test]
    fn the_packets_are_the_stream() {
        let stream = b"0123456789abcdef";
        for plan in [&b""[..], b"1", b"3", b"19", b"\0a"] {
            assert_eq!(cut(stream, plan).concat(), stream);
        }
        assert_eq!(cut(b"abcdef", b"12"), [&b"a"[..], b"bc", b"d", b"ef"]);
    }
}
