//! Keeping expiries from coming all at once: refreshing a response before it expires, and letting responses expire a little
//! before their time, each by another share of it.
//!
//! Both are always permitted: a cache may ask for a new response whenever it likes (RFC 9111 §4), and treat one as stale
//! before its origin does. Chance comes in as a number, so that a test can say what happens.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::cache_control::SECONDS_MAX;
use crate::freshness::StoredPolicy;

/// How eager early refreshes are: the β of XFetch, in thousandths. Zero is never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Eagerness {
    /// A thousand is what the proof of optimality is about.
    pub beta_thousandths: u32,
}

impl Default for Eagerness {
    fn default() -> Self {
        Self {
            beta_thousandths: 1000,
        }
    }
}

/// Responses that are fresh for less are not worth it: half of their time would be spent on refreshing them.
const FRESH_S_MIN: u64 = 1;

/// Should a request that is answered by this fresh response have it refreshed as well?
///
/// XFetch (Vattani, Chierichetti, Lowenstein 2015): yes with a probability of exp(-left / (β · fetch time)), so rarely while much
/// freshness is left, and all but surely some fetch times before its end; how early grows with the logarithm of the rate of
/// requests. `chance` lies above 0 and is at most 1, evenly distributed.
pub fn refresh_early(
    stored: &StoredPolicy,
    fetch_ms: u32,
    eagerness: Eagerness,
    now: SystemTime,
    chance: f64,
) -> bool {
    if stored.fresh_at_first_s() < FRESH_S_MIN || eagerness.beta_thousandths == 0 {
        return false;
    }
    let scale_s = f64::from(eagerness.beta_thousandths) / 1e3 * f64::from(fetch_ms) / 1e3;
    stored.fresh_left(now).as_secs_f64() <= -chance.ln() * scale_s
}

/// Is it out of the question that [`refresh_early`] says yes, whatever the chance? It may be false where it is, too.
pub fn never_refreshed_early(
    stored: &StoredPolicy,
    fetch_ms: u32,
    eagerness: Eagerness,
    now: SystemTime,
) -> bool {
    /// No chance is below 2^-64, whose logarithm is -44.4.
    const LOGARITHM_MAX: u64 = 45;
    let scale_us = u64::from(eagerness.beta_thousandths).saturating_mul(u64::from(fetch_ms));
    let reach = Duration::from_micros(scale_us.saturating_mul(LOGARITHM_MAX));
    eagerness.beta_thousandths == 0 || stored.fresh_left(now) > reach
}

impl StoredPolicy {
    fn fresh_at_first_s(&self) -> u64 {
        self.lifetime_s.saturating_sub(self.initial_age_s)
    }

    /// Until the very moment at which it stops being fresh. Ages are counted in whole seconds of the clock, so that moment is one.
    fn fresh_left(&self, now: SystemTime) -> Duration {
        let end_s = self
            .response_time_unix_s
            .saturating_add(self.fresh_at_first_s());
        let since_1970 = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        Duration::from_secs(end_s).saturating_sub(since_1970)
    }

    /// With its freshness shortened by up to so many hundredths of what it had when it was received. How much is `hash`'s to
    /// say, so that all who know the response agree.
    #[must_use]
    pub fn shortened(mut self, percent_max: u8, hash: u64) -> Self {
        let percent = u128::from(percent_max.min(100));
        let most = u128::from(self.fresh_at_first_s().min(SECONDS_MAX)) * percent;
        let cut = ((most * u128::from(hash)) >> 64) / 100;
        self.lifetime_s -= u64::try_from(cut).unwrap_or(0).min(self.lifetime_s);
        self
    }
}
