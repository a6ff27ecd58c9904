//! Numbers by chance for spreading things out in time: cheap enough for every hit, and good for nothing that must not be guessed.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

thread_local! {
    /// SplitMix64's counter; threads begin at different places.
    static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0));
}

/// A number above 0 and at most 1, each as likely as the other. No system call and no lock.
pub(crate) fn chance() -> f64 {
    let bits = STATE.with(|state| {
        state.set(state.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        mixed(state.get())
    });
    above_zero(bits)
}

/// SplitMix64's output function (Steele, Lea, Flood 2014).
fn mixed(counter: u64) -> u64 {
    let z = (counter ^ (counter >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// As many bits as a float has room for, shifted by one so that zero, whose logarithm is infinite, never comes.
fn above_zero(bits: u64) -> f64 {
    ((bits >> 11) + 1) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_lie_above_zero_and_at_most_at_one() {
        assert!(above_zero(0) > 0.0);
        assert!((above_zero(u64::MAX) - 1.0).abs() < f64::EPSILON);
        assert!((0..10_000).map(|_| chance()).all(|c| c > 0.0 && c <= 1.0));
    }

    #[test]
    fn chances_are_spread_evenly() {
        let (count, mut tenths) = (100_000, [0_u32; 10]);
        for counter in 0..count {
            let tenth = (above_zero(mixed(counter)) * 10.0).ceil() as usize;
            tenths[tenth - 1] += 1;
        }
        // A tenth of them each, give or take five standard deviations.
        assert!(
            tenths.iter().all(|n| (9_526..=10_474).contains(n)),
            "{tenths:?}"
        );
    }
}
