//! Early refreshes and the jitter of lifetimes.

use larder_policy::{Eagerness, Flags, StoredPolicy, never_refreshed_early, refresh_early};
use std::time::{Duration, SystemTime};

use crate::support::{NOW_S, at};

fn fresh_for(lifetime_s: u64, initial_age_s: u64) -> StoredPolicy {
    StoredPolicy {
        response_time_unix_s: NOW_S,
        initial_age_s,
        lifetime_s,
        stale_while_revalidate_s: 0,
        stale_if_error_s: 0,
        flags: Flags::default(),
    }
}

fn beta(thousandths: u32) -> Eagerness {
    Eagerness {
        beta_thousandths: thousandths,
    }
}

/// Evenly distributed in (0, 1], the same for the same seed (SplitMix64).
struct Chances(u64);

impl Chances {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((z ^ (z >> 31)) >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }
}

#[test]
fn what_is_never_refreshed_early_is_not_at_the_smallest_chance() {
    let smallest = 1.0 / (1_u64 << 53) as f64;
    for left_s in 1..200 {
        let (stored, now) = (fresh_for(300, 0), at(300 - left_s));
        for (fetch_ms, thousandths) in [(1, 1000), (1000, 1000), (2000, 1500), (60_000, 1000)] {
            let never = never_refreshed_early(&stored, fetch_ms, beta(thousandths), now);
            let refreshes = refresh_early(&stored, fetch_ms, beta(thousandths), now, smallest);
            assert!(!(never && refreshes), "{fetch_ms} {left_s}");
        }
        assert!(never_refreshed_early(&stored, 10, beta(1000), now));
        assert!(never_refreshed_early(&stored, u32::MAX, beta(0), now));
    }
}

#[test]
fn the_chance_at_which_it_refreshes_is_the_exponential_of_what_is_left() {
    // (fetch ms, beta in thousandths, seconds left) and the threshold: exp(-left / (beta * fetch)).
    let rows = [
        (1000, 1000, 1, (-1.0_f64).exp()),
        (1000, 1000, 3, (-3.0_f64).exp()),
        (2000, 1000, 3, (-1.5_f64).exp()),
        (500, 2000, 3, (-3.0_f64).exp()),
        (1000, 500, 1, (-2.0_f64).exp()),
        (4_294_967_295, 1000, 1, 1.0 - 1e-6),
    ];
    for (fetch_ms, thousandths, left_s, threshold) in rows {
        let stored = fresh_for(60, 0);
        let now = at(60 - left_s);
        let refreshes =
            |chance: f64| refresh_early(&stored, fetch_ms, beta(thousandths), now, chance);
        assert!(refreshes(threshold * 0.999), "{fetch_ms} {left_s}");
        assert!(refreshes(f64::MIN_POSITIVE), "{fetch_ms} {left_s}");
        if threshold < 0.999 {
            assert!(!refreshes(threshold * 1.001), "{fetch_ms} {left_s}");
            assert!(!refreshes(1.0), "{fetch_ms} {left_s}");
        }
    }
}

#[test]
fn the_end_of_freshness_is_a_whole_second_of_the_clock_less_the_age_it_came_with() {
    let stored = fresh_for(60, 20);
    let left = |now: SystemTime| {
        // The smallest multiple of 10 ms at which a chance of 1/e still refreshes is what is left.
        (0..6000).find(|tens| {
            let chance = (-1.0_f64).exp();
            refresh_early(&stored, tens * 10, beta(1000), now, chance)
        })
    };
    assert_eq!(left(at(0)), Some(4000));
    assert_eq!(left(at(39)), Some(100));
    assert_eq!(left(at(39) + Duration::from_millis(750)), Some(25));
    assert_eq!(left(at(40)), Some(0));
}

#[test]
fn nothing_is_refreshed_early_when_told_so_or_when_fresh_for_less_than_a_second() {
    let almost_zero = f64::MIN_POSITIVE;
    for (stored, thousandths, expected) in [
        (fresh_for(60, 0), 0, false),
        (fresh_for(60, 0), 2, true),
        (fresh_for(0, 0), 1000, false),
        (fresh_for(60, 60), 1000, false),
        (fresh_for(60, 59), 1000, true),
        (fresh_for(1, 0), 1000, true),
        (fresh_for(0, u64::MAX), 1000, false),
    ] {
        let refreshes = refresh_early(&stored, 60_000, beta(thousandths), at(0), almost_zero);
        assert_eq!(refreshes, expected, "{stored:?} {thousandths}");
    }
}

/// A key asked for at an even rate, fetched one at a time. Gives how often it was fetched, how often found expired, and how long
/// before its end, in the mean, each fetch began.
struct Told {
    fetches: u32,
    expired: u32,
    mean_left_s: f64,
}

fn simulate(every_ms: u64, lifetime_s: u64, fetch_ms: u32, beta: Eagerness, hours: u64) -> Told {
    let mut chances = Chances(7);
    let mut stored = fresh_for(lifetime_s, 0);
    let mut lands_ms = None;
    let (mut fetches, mut expired, mut left_sum_s) = (0_u32, 0_u32, 0.0);
    for now_ms in (0..hours * 3_600_000).step_by(usize::try_from(every_ms).unwrap()) {
        let now = at(0) + Duration::from_millis(now_ms);
        if lands_ms.is_some_and(|lands| lands <= now_ms) {
            stored.response_time_unix_s = NOW_S + now_ms / 1000;
            lands_ms = None;
        }
        let left_s =
            (stored.response_time_unix_s + lifetime_s - NOW_S) as f64 - now_ms as f64 / 1e3;
        let is_expired = stored.ttl_s(now) <= 0;
        expired += u32::from(is_expired);
        let wanted = is_expired || refresh_early(&stored, fetch_ms, beta, now, chances.next());
        if wanted && lands_ms.is_none() {
            lands_ms = Some(now_ms + u64::from(fetch_ms));
            fetches += 1;
            left_sum_s += left_s;
        }
    }
    Told {
        fetches,
        expired,
        mean_left_s: left_sum_s / f64::from(fetches),
    }
}

#[test]
fn a_hot_key_never_expires_and_one_that_is_not_refreshed_early_does_each_time() {
    let told = simulate(1, 60, 100, Eagerness::default(), 1);
    assert_eq!(told.expired, 0);
    let told = simulate(1, 60, 100, beta(0), 1);
    // As many requests as fit into a fetch find it expired, once a lifetime.
    assert!(told.expired >= 99 * told.fetches, "{}", told.expired);
}

#[test]
fn extra_fetches_stay_near_the_theory() {
    // With r requests a second the first of them to refresh comes beta * delta * (ln(r * beta * delta) + gamma) before the end:
    // the mean of a Gumbel distribution.
    const GAMMA: f64 = 0.577_215_664_9;
    for (every_ms, fetch_ms, thousandths) in [(1, 100, 1000), (2, 250, 1000), (5, 500, 2000)] {
        let told = simulate(every_ms, 60, fetch_ms, beta(thousandths), 2);
        let scale_s = f64::from(fetch_ms) / 1e3 * f64::from(thousandths) / 1e3;
        let rate = 1e3 / every_ms as f64;
        let early_s = scale_s * ((rate * scale_s).ln() + GAMMA);
        let off = (told.mean_left_s - early_s).abs() / early_s;
        assert!(
            off < 0.1,
            "{} s early, {early_s} in theory",
            told.mean_left_s
        );
        // A cycle is a lifetime less that, and up to a second less again, for lifetimes count in whole seconds.
        let cycle_s = 2.0 * 3600.0 / f64::from(told.fetches);
        let most_s = 60.0 - early_s + f64::from(fetch_ms) / 1e3;
        assert!(
            cycle_s < most_s * 1.01 && cycle_s > (most_s - 1.0) * 0.99,
            "{cycle_s} s, at most {most_s}"
        );
    }
}

#[test]
fn jitter_shortens_what_is_left_by_its_share_at_most_and_never_lengthens() {
    let rows = [
        // (lifetime, initial age, percent, hash) -> lifetime
        ((300, 0, 10, 0), 300),
        ((300, 0, 10, u64::MAX), 271),
        ((300, 0, 10, u64::MAX / 2), 286),
        ((300, 200, 10, u64::MAX), 291),
        ((300, 300, 10, u64::MAX), 300),
        ((300, 400, 10, u64::MAX), 300),
        ((300, 0, 0, u64::MAX), 300),
        ((300, 0, 100, u64::MAX), 1),
        ((300, 0, 255, u64::MAX), 1),
        ((9, 0, 10, u64::MAX), 9),
        ((0, 0, 50, u64::MAX), 0),
        ((u64::MAX, 0, 100, u64::MAX), u64::MAX - (1 << 31) + 1),
    ];
    for ((lifetime_s, age_s, percent, hash), expected) in rows {
        let shortened = fresh_for(lifetime_s, age_s).shortened(percent, hash);
        assert_eq!(
            shortened.lifetime_s, expected,
            "{lifetime_s} {age_s} {percent} {hash}"
        );
    }
}
