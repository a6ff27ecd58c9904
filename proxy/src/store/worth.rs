//! How often shall eviction pass this one over?
//!
//! What took the upstream long for its size is worth more than what it gave away: as many times as a byte of it cost more
//! than the mean does, eviction lets it go by once. Kept apart from the table, whose own judgement of what is used often
//! stays as it is. `scripts/bench eviction` counts what this saves.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

/// However dear it was: something that nobody asks for any more must go at some time.
const CHANCES_MAX: u128 = 16;
/// After so many bytes the mean begins to forget: what the upstream took yesterday says little of today.
const BYTES_REMEMBERED: u64 = 1 << 32;

/// The mean cost of a byte, of what was stored lately.
#[derive(Debug, Default)]
pub(super) struct Mean(Mutex<Sums>);

#[derive(Debug, Default)]
struct Sums {
    bytes: u64,
    cost_ms: u64,
}

impl Mean {
    /// Takes notice of something stored; gives the chances that it deserves.
    pub(super) fn chances(&self, bytes: u64, cost_ms: u64) -> Chances {
        // Milliseconds are rounded: nothing comes for nothing.
        let (bytes, cost_ms) = (bytes.max(1), cost_ms.saturating_add(1));
        let mut sums = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sums.bytes = sums.bytes.saturating_add(bytes);
        sums.cost_ms = sums.cost_ms.saturating_add(cost_ms);
        while sums.bytes > BYTES_REMEMBERED {
            sums.bytes /= 2;
            sums.cost_ms /= 2;
        }
        let own = u128::from(cost_ms) * u128::from(sums.bytes);
        let mean = u128::from(sums.cost_ms) * u128::from(bytes);
        let times = (own / mean.max(1)).min(CHANCES_MAX);
        Chances(AtomicU8::new(u8::try_from(times).unwrap_or(u8::MAX)))
    }
}

/// How often eviction still passes over something.
#[derive(Debug, Default)]
pub(super) struct Chances(AtomicU8);

impl Chances {
    /// Takes one; false when there is none left.
    pub(super) fn take(&self) -> bool {
        let take = |left: u8| left.checked_sub(1);
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        self.0.fetch_update(set, fetch, take).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(chances: &Chances) -> usize {
        std::iter::from_fn(|| chances.take().then_some(())).count()
    }

    /// A mean over much that cost ten milliseconds a kilobyte.
    fn usual() -> Mean {
        let mean = Mean::default();
        for _ in 0..10_000 {
            mean.chances(1000, 9);
        }
        mean
    }

    #[test]
    fn what_cost_more_per_byte_gets_more_chances_up_to_a_limit() {
        let mean = usual();
        for (bytes, cost_ms, expected) in [
            (1000, 9, 1),
            (1000, 39, 3),
            (250, 9, 3),
            (4000, 9, 0),
            (1000, 100_000, 16),
            (1_000_000_000, 0, 0),
            (0, 0, 16),
        ] {
            let chances = count(&usual().chances(bytes, cost_ms));
            assert_eq!(chances, expected, "{bytes} bytes, {cost_ms} ms");
        }
        assert_eq!(count(&mean.chances(1000, 9)), 1);
    }

    #[test]
    fn a_mean_forgets_what_was_long_ago() {
        let mean = usual();
        for _ in 0..40 {
            mean.chances(BYTES_REMEMBERED / 4, 0);
        }
        let bytes = mean.0.lock().unwrap().bytes;
        assert!(bytes <= BYTES_REMEMBERED, "{bytes}");
        // What was usual is dear now.
        assert_eq!(count(&mean.chances(1000, 9)), 16);
    }
}
