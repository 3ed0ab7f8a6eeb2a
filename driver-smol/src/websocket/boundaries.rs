//! Where frames and messages end (RFC 6455, section 5.2): how much of an unfinished one is held is what tungstenite does
//! not tell.

/// Follows the bytes of a peer. What breaks the protocol it need not notice: tungstenite does.
#[derive(Debug, Default)]
pub(crate) struct Boundaries {
    header: [u8; HEADER_MAX_BYTES],
    header_bytes: u8,
    payload_left: u64,
    /// Of the frame that is under way.
    frame_bytes: u32,
    /// Of the frames before it, where they are fragments of the same message.
    fragments_bytes: u32,
}

/// Two bytes, a length of eight, a mask of four.
const HEADER_MAX_BYTES: usize = 14;
const FINAL: u8 = 0x80;
const CONTROL: u8 = 0x08;
const MASKED: u8 = 0x80;

impl Boundaries {
    pub(crate) fn advance(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = if self.payload_left > 0 {
                let taken = bytes.len().min(usize::try_from(self.payload_left).unwrap_or(usize::MAX));
                self.payload_left -= taken as u64;
                taken
            } else {
                self.header[usize::from(self.header_bytes)] = bytes[0];
                self.header_bytes += 1;
                if self.is_header_complete() {
                    self.payload_left = self.payload_length();
                }
                1
            };
            bytes = &bytes[taken..];
            self.frame_bytes = self.frame_bytes.saturating_add(u32::try_from(taken).unwrap_or(u32::MAX));
            if self.payload_left == 0 && self.is_header_complete() {
                self.end_frame();
            }
        }
    }

    /// How many bytes of a message came that is not complete; 0 between two messages.
    pub(crate) fn unfinished_bytes(&self) -> usize {
        self.unfinished() as usize
    }

    fn unfinished(&self) -> u32 {
        self.fragments_bytes.saturating_add(self.frame_bytes)
    }

    fn end_frame(&mut self) {
        let first = self.header[0];
        if first & CONTROL == 0 {
            let is_final = first & FINAL != 0;
            self.fragments_bytes = if is_final { 0 } else { self.unfinished() };
        }
        self.frame_bytes = 0;
        self.header_bytes = 0;
    }

    fn is_header_complete(&self) -> bool {
        let mask_bytes = if self.header[1] & MASKED == 0 { 0 } else { 4 };
        self.header_bytes >= 2 && usize::from(self.header_bytes) == 2 + self.length_bytes() + mask_bytes
    }

    /// How long the length is, past its first seven bits.
    fn length_bytes(&self) -> usize {
        match self.header[1] & !MASKED {
            126 => 2,
            127 => 8,
            _ => 0,
        }
    }

    fn payload_length(&self) -> u64 {
        match self.length_bytes() {
            0 => u64::from(self.header[1] & !MASKED),
            count => self.header[2..2 + count].iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, length_code: u8, length: &[u8], payload: usize) -> Vec<u8> {
        [&[first, MASKED | length_code], length, &[0; 4], &vec![b'x'; payload]].concat()
    }

    #[test]
    fn unfinished_bytes_are_counted_however_they_are_split_and_none_are_left_at_the_end_of_a_message() {
        let text = frame(0x81, 5, &[], 5);
        let medium = frame(0x81, 126, &[0x01, 0x00], 256);
        let large = frame(0x81, 127, &[0, 0, 0, 0, 0, 1, 0, 0], 65_536);
        let empty = frame(0x81, 0, &[], 0);
        let (begin, ping, end) = (frame(0x01, 5, &[], 5), frame(0x89, 3, &[], 3), frame(0x80, 2, &[], 2));
        let bytes = [&text[..], &medium, &large, &empty, &begin, &ping, &end].concat();
        let mut expected = Vec::new();
        for message in [&text, &medium, &large, &empty] {
            expected.extend((1..message.len()).chain([0]));
        }
        expected.extend(1..=begin.len());
        expected.extend((1..ping.len()).chain([0]).map(|count| begin.len() + count));
        expected.extend((1..end.len()).map(|count| begin.len() + count).chain([0]));
        for size in [1, 2, 3, 7, 1_000, bytes.len()] {
            let mut boundaries = Boundaries::default();
            let mut at = 0;
            for chunk in bytes.chunks(size) {
                boundaries.advance(chunk);
                at += chunk.len();
                assert_eq!(boundaries.unfinished_bytes(), expected[at - 1], "{at} in pieces of {size}");
            }
        }
    }
}
