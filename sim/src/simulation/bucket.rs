//! The rate limit as an oracle sees it: not a level that refills, but the moment at which all debt is paid.

use chatapi_core::MonoMicros;

/// Work that was admitted, as the time it takes at the rate. In any window it is at most burst + rate × window exactly
/// if the debt never passes the burst.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Debt {
    rate: u64,
    /// When everything is paid, in microseconds times the rate: so that no division rounds.
    paid_at: u128,
}

const TOKEN: u128 = 1_000_000;

impl Debt {
    pub(crate) const fn none(rate: u32) -> Self {
        Self { rate: rate as u64, paid_at: 0 }
    }

    /// The same limit, with nothing owed.
    pub(crate) const fn paid(self) -> Self {
        Self { rate: self.rate, paid_at: 0 }
    }

    pub(crate) fn add(&mut self, now: MonoMicros) {
        self.paid_at = self.paid_at.max(self.scaled(now)) + TOKEN;
    }

    /// Whether more was admitted than the limit allows.
    pub(crate) fn is_over(&self, now: MonoMicros) -> bool {
        self.owed(now) > u128::from(self.rate) * TOKEN
    }

    /// Whole tokens that are left.
    pub(crate) fn left(&self, now: MonoMicros) -> u64 {
        let burst = u128::from(self.rate) * TOKEN;
        u64::try_from(burst.saturating_sub(self.owed(now)) / TOKEN).unwrap_or(u64::MAX)
    }

    fn owed(&self, now: MonoMicros) -> u128 {
        self.paid_at.saturating_sub(self.scaled(now))
    }

    fn scaled(&self, now: MonoMicros) -> u128 {
        u128::from(now.0) * u128::from(self.rate)
    }
}
