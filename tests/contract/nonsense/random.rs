//! Choices out of a seed, so that a run that fails is had again.

/// SplitMix64.
pub(super) struct Random(u64);

impl Random {
    /// Seeded by a name.
    pub(super) fn of(name: &str) -> Self {
        Self(
            name.bytes()
                .fold(0x9e37_79b9_7f4a_7c15, |seed, byte| (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)),
        )
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Less than `bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }

    pub(super) fn between(&mut self, least: usize, most: usize) -> usize {
        least + self.below(most - least + 1)
    }

    pub(super) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(super) fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }

    /// Text of an alphabet.
    pub(super) fn text(&mut self, alphabet: &str, length: usize) -> String {
        let letters: Vec<char> = alphabet.chars().collect();
        (0..length).map(|_| letters[self.below(letters.len())]).collect()
    }

    /// Letters and digits as they stand in ids.
    pub(super) fn id(&mut self, length: usize) -> String {
        self.text("0123456789abcdefghjkmnpqrstvwxyz", length)
    }

    /// A number beyond what JSON's integers hold here.
    pub(super) fn huge_number(&mut self) -> String {
        let sign = if self.chance(40) { "-" } else { "" };
        match self.below(4) {
            0 => format!("{sign}90071992547{}", 40_992 + self.below(50_000)),
            1 => format!("{sign}{}", u64::MAX - self.next() % 1_000),
            2 => {
                let length = self.between(20, 400);
                format!("{sign}1{}", self.text("0123456789", length))
            }
            _ => format!("{sign}{}", (1_u128 << self.between(64, 127)) + u128::from(self.next())),
        }
    }

    /// Bytes that are no UTF-8, wherever they stand between characters of ASCII.
    pub(super) fn bad_utf_8(&mut self) -> &'static [u8] {
        self.pick(&[
            &b"\xff"[..],
            b"\xfe\xff",
            b"\x80",
            b"\xc3",
            b"\xc0\xaf",
            b"\xed\xa0\x80",
            b"\xf5\x80\x80\x80",
            b"\xe2\x82",
            b"\xf0\x9f\x98",
        ])
    }

    /// Half a character, as JSON escapes it.
    pub(super) fn lone_surrogate(&mut self) -> String {
        match self.below(4) {
            0 => format!("\\ud8{:02x}", self.below(256)),
            1 => format!("\\udc{:02x}", self.below(256)),
            2 => r"\ud83d\ud83d".to_owned(),
            _ => r"\ud800x\udc00".to_owned(),
        }
    }

    /// JSON of any kind but null, small.
    pub(super) fn json(&mut self, depth: usize) -> String {
        match self.below(if depth == 0 { 5 } else { 7 }) {
            0 => self.pick(&["true", "false"]).to_owned(),
            1 => format!("{}", self.below(1_000_000)),
            2 => format!("-{}.{}e{}", self.below(10), self.below(10), self.below(20)),
            3 => format!("\"{}\"", self.text("ab :/{}[],é😀", 6)),
            4 => r#""\u0000\n\"\\""#.to_owned(),
            5 => format!("[{},{}]", self.json(depth - 1), self.json(depth - 1)),
            _ => format!("{{\"a\":{},\"b\":{}}}", self.json(depth - 1), self.json(depth - 1)),
        }
    }
}
