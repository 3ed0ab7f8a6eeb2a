//! Splitting a section (a head, a chunk's size, a trailer) into lines, byte by byte or at once with the same result.

use std::ops::Range;

/// How far a section was searched for line ends, so that no byte is looked at twice. Offsets count from the section's
/// start, which may move in the buffer meanwhile.
#[derive(Debug, Default)]
pub(super) struct Lines {
    line_start: usize,
    searched: usize,
}

/// Why a section is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineError {
    /// A bare CR or LF, or another control character but TAB.
    Control,
    /// The limit was reached first.
    TooLong,
}

impl Lines {
    /// The next line of `section`, without its CRLF, or `None` until more of it is there.
    ///
    /// Lines that would end past `limit` are refused, and nothing past it is looked at: the result depends on the
    /// bytes alone, never on the packets they came in.
    pub(super) fn next_line(&mut self, section: &[u8], limit: usize) -> Result<Option<Range<usize>>, LineError> {
        let end = section.len().min(limit);
        let Some(offset) = find_control(&section[self.searched..end]) else {
            self.searched = end;
            return if section.len() >= limit { Err(LineError::TooLong) } else { Ok(None) };
        };
        let at = self.searched + offset;
        // RFC 9112, section 2.2, lets a recipient take a bare LF for a line end. Where two parties on the way differ in
        // that, a request can be smuggled between them.
        if section[at] != b'\r' {
            return Err(LineError::Control);
        }
        if at + 1 >= limit {
            return Err(LineError::TooLong);
        }
        match section.get(at + 1) {
            None => {
                self.searched = at;
                Ok(None)
            }
            Some(b'\n') => {
                let line = self.line_start..at;
                self.searched = at + 2;
                self.line_start = at + 2;
                Ok(Some(line))
            }
            Some(_) => Err(LineError::Control),
        }
    }

    /// Where the next line begins.
    pub(super) fn position(&self) -> usize {
        self.line_start
    }
}

fn find_control(bytes: &[u8]) -> Option<usize> {
    const STRIDE: usize = 32;
    let mut chunks = bytes.chunks_exact(STRIDE);
    let mut offset = 0;
    for chunk in &mut chunks {
        // Without an early exit the compiler tests all of them at once.
        if chunk.iter().fold(false, |found, &byte| found | is_control(byte)) {
            break;
        }
        offset += STRIDE;
    }
    bytes[offset..].iter().position(|&byte| is_control(byte)).map(|found| offset + found)
}

fn is_control(byte: u8) -> bool {
    (byte < b' ') & (byte != b'\t') | (byte == 0x7F)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_wherever_the_bytes_are_cut() {
        let text = b"first\r\n\r\nand a third one that is longer than one stride of the search\r\n";
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for length in 0..=text.len() {
            while let Some(line) = lines.next_line(&text[..length], 1000).unwrap() {
                found.push(line);
            }
        }
        assert_eq!(found, [0..5, 7..7, 9..text.len() - 2]);
    }

    #[test]
    fn what_is_no_line_is_refused() {
        for (text, limit, expected) in [
            (&b"a\nb"[..], 100, LineError::Control),
            (b"a\rb", 100, LineError::Control),
            (b"a\r\r\n", 100, LineError::Control),
            (b"a\0", 100, LineError::Control),
            (b"a\x7F", 100, LineError::Control),
            (b"abcd", 4, LineError::TooLong),
            (b"abc\r\n", 4, LineError::TooLong),
            (b"abcd\n", 4, LineError::TooLong),
        ] {
            assert_eq!(Lines::default().next_line(text, limit), Err(expected), "{text:?}");
        }
        assert_eq!(Lines::default().next_line(b"ab\r\n", 4), Ok(Some(0..2)));
    }
}
