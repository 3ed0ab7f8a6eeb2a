//! Identifiers: opaque text on the wire, types of their own inside.

use std::fmt;
use std::sync::Arc;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::RngCore;
use serde::{Deserialize, Serialize};

use crate::time::UnixMillis;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes `text` as it is: an id that nobody drew simply names nothing.
            #[must_use]
            pub fn new(text: &str) -> Self {
                Self(Arc::from(text))
            }

            /// The id as it stands on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// A tenant's id, `tenant_…`.
    TenantId
);
text_id!(
    /// A room's id, `room_…`.
    RoomId
);
text_id!(
    /// A message's id, `msg_…`.
    MessageId
);
text_id!(
    /// A notification's id, `notif_…`.
    NotificationId
);
text_id!(
    /// A user's id: the tenant's own, 1 to 128 bytes of UTF-8 without control characters or white space at its ends,
    /// compared byte by byte (protocol, section 2). [`UserId::parse`] checks; [`UserId::new`] trusts.
    UserId
);

/// Longest user id, in bytes.
pub(crate) const USER_ID_MAX_BYTES: usize = 128;

impl UserId {
    /// Reads a user id from raw bytes; `None` if it breaks the rules of the type.
    #[must_use]
    pub fn parse(raw: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(raw).ok()?;
        let fits = (1..=USER_ID_MAX_BYTES).contains(&text.len());
        let clean = !text.chars().any(char::is_control);
        let trimmed = text.trim().len() == text.len();
        (fits && clean && trimmed).then(|| Self::new(text))
    }
}

/// A message's number in its room: 1, 2, 3 … without a gap or a repeat. 0 stands before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);
    };
}

number_id!(
    /// A tenant inside the store and the core; never on the wire.
    TenantKey(i64)
);
number_id!(
    /// A notification inside the store and the core; ascending in the order in which they were stored.
    NotificationKey(i64)
);
number_id!(
    /// A connection, named by the driver; never used twice in a process.
    ConnId(u64)
);
number_id!(
    /// A REST request or a handshake, named by the driver; never used twice in a process.
    RequestId(u64)
);
number_id!(
    /// A step that waits for the store, named by the core; ascending in the order of submission.
    OpId(u64)
);

const STAMP_RANDOM_BITS: u32 = 38;

/// 80 bits that sort by the time they were drawn: 42 of milliseconds, 38 random. The drawn stamps of a process ascend
/// strictly, so that keys in the store grow at their right edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct IdStamp(pub u128);

impl IdStamp {
    const ALPHABET: &'static [u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

    fn write(self, prefix: &str) -> String {
        let mut text = String::with_capacity(prefix.len() + 16);
        text.push_str(prefix);
        for place in (0..16).rev() {
            let digit = (self.0 >> (place * 5)) & 31;
            text.push(char::from(Self::ALPHABET[digit as usize]));
        }
        text
    }

    /// Reads the stamp out of an id that was drawn by this server; `None` for any other text.
    #[must_use]
    pub fn read(id: &str) -> Option<Self> {
        let (_, digits) = id.split_once('_')?;
        if digits.len() != 16 {
            return None;
        }
        digits
            .bytes()
            .try_fold(0u128, |stamp, byte| {
                let digit = Self::ALPHABET.iter().position(|&known| known == byte)?;
                Some(stamp << 5 | digit as u128)
            })
            .map(Self)
    }
}

/// Draws ids that ascend.
#[derive(Debug)]
pub(crate) struct IdSource {
    random: ChaCha20Rng,
    last: IdStamp,
}

impl IdSource {
    pub(crate) fn new(random: ChaCha20Rng) -> Self {
        Self { random, last: IdStamp::default() }
    }

    /// Everything drawn from here on sorts after `stamp`, whatever the wall clock says.
    pub(crate) fn continue_after(&mut self, stamp: IdStamp) {
        self.last = self.last.max(stamp);
    }

    pub(crate) fn tenant(&mut self, wall: UnixMillis) -> TenantId {
        TenantId::new(&self.draw(wall).write("tenant_"))
    }

    pub(crate) fn room(&mut self, wall: UnixMillis) -> RoomId {
        RoomId::new(&self.draw(wall).write("room_"))
    }

    pub(crate) fn message(&mut self, wall: UnixMillis) -> MessageId {
        MessageId::new(&self.draw(wall).write("msg_"))
    }

    pub(crate) fn notification(&mut self, wall: UnixMillis) -> NotificationId {
        NotificationId::new(&self.draw(wall).write("notif_"))
    }

    pub(crate) fn connection(&mut self, wall: UnixMillis) -> String {
        self.draw(wall).write("conn_")
    }

    /// Within one millisecond, or when the clock stepped back, the next stamp is a random step past the last: how many
    /// ids others drew meanwhile cannot be read off.
    fn draw(&mut self, wall: UnixMillis) -> IdStamp {
        let millis = u128::from(wall.0.max(0).unsigned_abs()) & ((1 << 42) - 1);
        let random = self.random.next_u64();
        let fresh = IdStamp(millis << STAMP_RANDOM_BITS | u128::from(random >> (64 - STAMP_RANDOM_BITS)));
        let step = 1 + u128::from(random & 0xff_ffff);
        self.last = if fresh > self.last { fresh } else { IdStamp(self.last.0 + step) };
        self.last
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    #[test]
    fn drawn_ids_ascend_even_when_the_wall_clock_steps_back() {
        let mut ids = IdSource::new(ChaCha20Rng::from_seed([7; 32]));
        let mut last = String::new();
        for wall in [5_000, 5_000, 5_001, 10, 0, -3, 6_000] {
            let id = ids.message(UnixMillis(wall)).to_string();
            assert!(id > last, "{id} after {last}");
            last = id;
        }
    }

    #[test]
    fn ids_continue_after_the_newest_that_the_store_holds() {
        let newest = IdStamp::read("msg_zzzz000000000000").unwrap();
        let mut ids = IdSource::new(ChaCha20Rng::from_seed([7; 32]));
        ids.continue_after(newest);
        let id = ids.message(UnixMillis(5_000));
        assert!(id.as_str() > "msg_zzzz000000000000");
        assert_eq!(IdStamp::read(id.as_str()), Some(ids.last));
    }

    #[test]
    fn a_foreign_id_has_no_stamp() {
        for foreign in ["", "msg_", "msg_short", "msg_zzzz00000000000u", "zzzz000000000000"] {
            assert_eq!(IdStamp::read(foreign), None, "{foreign:?}");
        }
    }

    #[test]
    fn user_ids_are_one_to_128_bytes_without_control_characters_or_outer_white_space() {
        for good in ["a", "Ünï:%/ code", "a b", &"x".repeat(128)] {
            assert!(UserId::parse(good.as_bytes()).is_some(), "{good:?}");
        }
        for bad in ["", " a", "a\u{a0}", "a\nb", "a\u{85}b", "\u{7f}", &"x".repeat(129), "\t"] {
            assert!(UserId::parse(bad.as_bytes()).is_none(), "{bad:?}");
        }
        assert!(UserId::parse(b"\xff").is_none());
    }
}
