//! Frames as bytes (RFC 6455, section 5.2): framed once, shared by all connections they go to.

use bytes::{BufMut as _, Bytes, BytesMut};
use chatapi_core::ws::Frame;

const FINAL: u8 = 0x80;
const TEXT: u8 = 0x1;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
/// The longest payload of a control frame, of which a close code takes two.
const CONTROL_PAYLOAD_MAX_BYTES: usize = 125;

/// Bytes for the wire.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) bytes: Bytes,
    /// The size that the core counts as waiting; `None` for what it does not count.
    pub(crate) counted_bytes: Option<u64>,
    /// A pong or the answer to a close.
    pub(crate) is_answer: bool,
}

impl Outgoing {
    pub(crate) fn text(frame: &Frame) -> Self {
        let payload = frame.as_bytes();
        let counted_bytes = Some(payload.len() as u64);
        Self { bytes: frame_bytes(TEXT, payload), counted_bytes, is_answer: false }
    }

    pub(crate) fn ping() -> Self {
        Self { bytes: Bytes::from_static(&[FINAL | PING, 0]), counted_bytes: None, is_answer: false }
    }

    pub(crate) fn close(code: u16, reason: &str) -> Self {
        let mut payload = Vec::with_capacity(CONTROL_PAYLOAD_MAX_BYTES);
        payload.extend_from_slice(&code.to_be_bytes());
        payload.extend(reason.bytes().take(CONTROL_PAYLOAD_MAX_BYTES - 2));
        Self { bytes: frame_bytes(CLOSE, &payload), counted_bytes: None, is_answer: false }
    }

    /// A frame that is encoded already: a pong or the answer to a close.
    pub(crate) fn answer(bytes: Vec<u8>) -> Self {
        Self { bytes: Bytes::from(bytes), counted_bytes: None, is_answer: true }
    }
}

/// A final frame of a server's, which is not masked.
fn frame_bytes(opcode: u8, payload: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(payload.len() + 10);
    bytes.put_u8(FINAL | opcode);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ 0..=125), _) => bytes.put_u8(length),
        (_, Ok(length)) => {
            bytes.put_u8(126);
            bytes.put_u16(length);
        }
        (_, Err(_)) => {
            bytes.put_u8(127);
            bytes.put_u64(payload.len() as u64);
        }
    }
    bytes.put_slice(payload);
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_lengths_of_a_frame_are_coded_as_rfc_6455_has_them() {
        for (length, header) in [
            (0, &[0x81, 0][..]),
            (125, &[0x81, 125]),
            (126, &[0x81, 126, 0, 126]),
            (65_535, &[0x81, 126, 0xff, 0xff]),
            (65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let payload = vec![b'x'; length];
            let bytes = frame_bytes(TEXT, &payload);
            assert_eq!(&bytes[..header.len()], header, "{length}");
            assert_eq!(&bytes[header.len()..], payload, "{length}");
        }
    }

    #[test]
    fn a_close_frame_carries_its_code_and_reason() {
        let close = Outgoing::close(1008, "no");
        assert_eq!(&close.bytes[..], &[0x88, 4, 0x03, 0xf0, b'n', b'o']);
    }
}
