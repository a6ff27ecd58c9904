//! How much less may be stored, because the process is larger than it should be?
//!
//! What is stored is counted to the byte, what the allocator makes of it is not: after days of responses of all sizes its pages
//! are half empty in ways that nobody can foretell. So the kernel is asked for the process's size now and then, and the room
//! for stored responses gives way until it fits. Left out: asking the kernel.

/// For the program itself.
const PROGRAM_BYTES: u64 = 56 * 1024 * 1024;
/// So much of the budget may be taken on top of it.
const OVER_PERCENT: u64 = 8;
/// More would be for something else than the allocator: it is not for what is stored to make up for everything.
const SQUEEZE_PERCENT_MAX: u64 = 9;
/// Steps, so that one does not overshoot before the last one shows: what is evicted is given back some time later.
const STEPS_DOWN: u64 = 8;
const STEPS_UP: u64 = 64;

/// What the budget is short of from now on, when it was short of `squeeze_bytes` until now.
pub(super) fn next(squeeze_bytes: u64, process_bytes: u64, budget_bytes: u64) -> u64 {
    let hundredth = budget_bytes / 100;
    let target = budget_bytes + hundredth * OVER_PERCENT + PROGRAM_BYTES;
    match process_bytes.checked_sub(target) {
        Some(over) => {
            let step = over.div_ceil(STEPS_DOWN);
            (squeeze_bytes.saturating_add(step)).min(hundredth * SQUEEZE_PERCENT_MAX)
        }
        None => squeeze_bytes - squeeze_bytes.div_ceil(STEPS_UP),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;
    const BUDGET: u64 = 256 * MIB;

    #[test]
    fn a_process_that_fits_is_left_alone_and_gets_back_what_was_taken() {
        assert_eq!(next(0, 0, BUDGET), 0);
        assert_eq!(next(0, 300 * MIB, BUDGET), 0);
        assert_eq!(next(64, 300 * MIB, BUDGET), 63);
        assert_eq!(next(1, 300 * MIB, BUDGET), 0);
    }

    #[test]
    fn one_that_is_too_large_has_less_room_up_to_a_limit() {
        let first = next(0, 400 * MIB, BUDGET);
        assert!((1..20 * MIB).contains(&first), "{first}");
        assert!(next(first, 400 * MIB, BUDGET) > first);
        assert_eq!(next(u64::MAX, u64::MAX, BUDGET), BUDGET / 100 * 9);
        assert_eq!(next(0, u64::MAX, 0), 0);
    }

    #[test]
    fn it_settles_where_the_allocator_takes_more_than_half_as_much_again() {
        let (mut squeeze, mut process) = (0, 0);
        for _ in 0..1000 {
            squeeze = next(squeeze, process, BUDGET);
            process = 40 * MIB + (BUDGET * 8 / 10 - squeeze) * 155 / 100;
        }
        let target = BUDGET + BUDGET / 100 * OVER_PERCENT + PROGRAM_BYTES;
        assert!(process.abs_diff(target) < 4 * MIB, "{process}");
    }
}
