//! Numbers by chance: for spreading things out in time, cheap enough for every hit; and for names that no two requests have.
//! Neither asks the system. For keys there are better sources.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

thread_local! {
    /// SplitMix64's counter; threads begin at different places.
    static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0));
    /// A keyed hash, and what it hashes next. Its key, of 128 bits, is this thread's own, and the system chose it.
    static KEYED: (RandomState, Cell<u64>) = (RandomState::new(), Cell::new(0));
}

/// Bits that nobody foresees who has seen others of them, as far as the standard library's keyed hash keeps its key.
pub(crate) fn unguessed() -> u64 {
    KEYED.with(|(hash, next)| {
        next.set(next.get().wrapping_add(1));
        hash.hash_one(next.get())
    })
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
    fn unguessed_numbers_are_different_on_all_threads_and_use_all_bits() {
        let numbers = || (0..10_000).map(|_| unguessed()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(numbers)).collect();
        let all: Vec<u64> = threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect();
        let different: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
        for bit in 0..64 {
            let ones = all.iter().filter(|number| *number >> bit & 1 == 1).count();
            // A half of them, give or take six standard deviations.
            assert!((19_400..=20_600).contains(&ones), "bit {bit}: {ones}");
        }
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
