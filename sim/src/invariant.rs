//! What must hold, always: each promise under the number it has in the specification of the simulation.

use std::fmt;

/// A promise of the server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// 1. The durable numbers of a room are exactly 1..n, after crashes too.
    GaplessSequence,
    /// 2. A (room, number) never changes its body, except by its sender's edit or delete.
    StableBodies,
    /// 3. Nothing that bears a number leaves the core before the store has made it durable.
    DurableFirst,
    /// 4. A message acknowledged to its sender survives every crash.
    AnsweredSurvives,
    /// 5. In peace every member gets every message past their ack.
    EveryoneCatchesUp,
    /// 6. On one connection a room's messages come ascending, without a gap from the first one on, without a repeat.
    OrderOnConnection,
    /// 7. No byte of a tenant reaches another.
    TenantIsolation,
    /// 8. Nothing is delivered outside the recipient's membership.
    MembersOnly,
    /// 9. Another tenant's room and a missing room get the same answer.
    ForeignLooksMissing,
    /// 10. `last_ack` never goes back and never passes `last_seq`; unread counts equal the model's.
    AcksAndUnread,
    /// 11. One idempotency key: one message, one number, across retries, connections, crashes and twins in flight.
    Idempotency,
    /// 12. Each request gets exactly one answer, or its connection ends.
    OneAnswer,
    /// 13. Each operation completes at most once; a late answer changes nothing; pending steps never leak.
    OperationsOnce,
    /// 17. Presence and typing: told once to whoever shares a room, `offline` and `stop` after their time and no earlier.
    Presence,
    /// 18. Admitted work in any window is at most burst + rate × window, per tenant; a refusal has no other effect.
    RateLimit,
    /// 19. A WebSocket token admits at most once, whatever races; a stepped wall clock revives none.
    TokensOnce,
    /// 20. What waits for a connection stays within its bounds; a slow reader delays nobody.
    BoundedQueues,
    /// 21. A durable notification reaches each target at least once, and none that is not one.
    Notifications,
    /// 22. Shutdown: nothing new is accepted, what is under way is answered, all closed by the deadline, nothing sent
    ///     after `Stop`.
    CleanShutdown,
    /// 23. After a restart the core's state equals what the durable state implies.
    RestartEqualsStore,
    /// 24. Each time-out lies ahead; effects per input are bounded by what the input names.
    NoSpinning,
    /// 25. The same seed gives the same trace, to the byte.
    Determinism,
}

impl Invariant {
    /// Every one that the present features can meet.
    pub const ALL: [Self; 22] = [
        Self::GaplessSequence,
        Self::StableBodies,
        Self::DurableFirst,
        Self::AnsweredSurvives,
        Self::EveryoneCatchesUp,
        Self::OrderOnConnection,
        Self::TenantIsolation,
        Self::MembersOnly,
        Self::ForeignLooksMissing,
        Self::AcksAndUnread,
        Self::Idempotency,
        Self::OneAnswer,
        Self::OperationsOnce,
        Self::Presence,
        Self::RateLimit,
        Self::TokensOnce,
        Self::BoundedQueues,
        Self::Notifications,
        Self::CleanShutdown,
        Self::RestartEqualsStore,
        Self::NoSpinning,
        Self::Determinism,
    ];

    /// Its number in the specification.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::GaplessSequence => 1,
            Self::StableBodies => 2,
            Self::DurableFirst => 3,
            Self::AnsweredSurvives => 4,
            Self::EveryoneCatchesUp => 5,
            Self::OrderOnConnection => 6,
            Self::TenantIsolation => 7,
            Self::MembersOnly => 8,
            Self::ForeignLooksMissing => 9,
            Self::AcksAndUnread => 10,
            Self::Idempotency => 11,
            Self::OneAnswer => 12,
            Self::OperationsOnce => 13,
            Self::Presence => 17,
            Self::RateLimit => 18,
            Self::TokensOnce => 19,
            Self::BoundedQueues => 20,
            Self::Notifications => 21,
            Self::CleanShutdown => 22,
            Self::RestartEqualsStore => 23,
            Self::NoSpinning => 24,
            Self::Determinism => 25,
        }
    }

    /// What it says, in a few words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::GaplessSequence => "numbers are gapless",
            Self::StableBodies => "bodies are stable",
            Self::DurableFirst => "durable before anyone hears",
            Self::AnsweredSurvives => "what was answered survives",
            Self::EveryoneCatchesUp => "everyone catches up",
            Self::OrderOnConnection => "order on a connection",
            Self::TenantIsolation => "tenants are isolated",
            Self::MembersOnly => "members only",
            Self::ForeignLooksMissing => "foreign looks missing",
            Self::AcksAndUnread => "acks and unread counts",
            Self::Idempotency => "one key, one message",
            Self::OneAnswer => "one answer each",
            Self::OperationsOnce => "operations complete once",
            Self::Presence => "presence and typing",
            Self::RateLimit => "rate limit",
            Self::TokensOnce => "tokens admit once",
            Self::BoundedQueues => "queues are bounded",
            Self::Notifications => "notifications reach their targets",
            Self::CleanShutdown => "clean shutdown",
            Self::RestartEqualsStore => "restart equals store",
            Self::NoSpinning => "no spinning",
            Self::Determinism => "determinism",
        }
    }
}

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which; `None` where the core panicked.
    pub invariant: Option<Invariant>,
    /// What was seen, and what should have been.
    pub what: String,
}

impl Violation {
    /// A broken promise.
    #[must_use]
    pub const fn new(invariant: Invariant, what: String) -> Self {
        Self { invariant: Some(invariant), what }
    }
}

/// How many characters of what was seen are shown.
const WHAT_SHOWN: usize = 600;

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.invariant {
            Some(invariant) => write!(f, "invariant {} ({}): ", invariant.number(), invariant.name())?,
            None => f.write_str("the core panicked: ")?,
        }
        // Texts of messages may be long, and say nothing.
        let cut: String = self.what.chars().take(WHAT_SHOWN).collect();
        f.write_str(&cut)?;
        if cut.len() < self.what.len() { f.write_str("…") } else { Ok(()) }
    }
}

impl std::error::Error for Violation {}

/// What a check found.
pub type Checked<T = ()> = Result<T, Violation>;

/// Breaks off with a violation unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $invariant:ident, $($what:tt)+) => {
        $crate::invariant::ensure!($condition, ($crate::invariant::Invariant::$invariant), $($what)+)
    };
    ($condition:expr, ($invariant:expr), $($what:tt)+) => {
        if !$condition {
            return Err($crate::invariant::Violation::new($invariant, format!($($what)+)));
        }
    };
}
pub(crate) use ensure;
