use super::*;
use proptest::prelude::*;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_780_000_000 + seconds, 0).expect("a time")
}

fn window(requests_max: u32, seconds: i64) -> Window {
    Window {
        requests_max,
        length: TimeDelta::seconds(seconds),
    }
}

const NEWSAPI: [(u32, i64); 2] = [(100, 86_400), (50, 43_200)];

fn newsapi() -> Vec<Window> {
    NEWSAPI
        .map(|(requests_max, seconds)| window(requests_max, seconds))
        .into()
}

fn live(seconds: impl IntoIterator<Item = i64>) -> Vec<Counted> {
    seconds
        .into_iter()
        .map(|seconds| Counted {
            at: at(seconds),
            purpose: Purpose::Live,
        })
        .collect()
}

/// Asks whenever it may, once every `step` seconds, and returns what was granted.
fn greedy(windows: &[Window], purpose: Purpose, step: usize, until: i64) -> Vec<Counted> {
    let mut counted = Vec::new();
    for second in (0..until).step_by(step) {
        if decide(windows, &counted, purpose, at(second)).is_ok() {
            counted.push(Counted {
                at: at(second),
                purpose,
            });
        }
    }
    counted
}

fn busiest(counted: &[Counted], length: TimeDelta) -> usize {
    let from_each = counted.iter().map(|first| {
        counted
            .iter()
            .filter(|other| other.at >= first.at && other.at - first.at <= length)
            .count()
    });
    from_each.max().unwrap_or(0)
}

#[test]
fn the_last_request_of_a_window_is_granted_and_the_next_waits_for_the_oldest() {
    let windows = [window(3, 100)];
    let slack = TimeDelta::seconds(1);
    assert_eq!(
        decide(&windows, &live([0, 10]), Purpose::Live, at(20)),
        Ok(())
    );
    let counted = live([0, 10, 20]);
    let refused = decide(&windows, &counted, Purpose::Live, at(99)).expect_err("spent");
    assert_eq!(
        (refused.reason, refused.until),
        (Reason::Spent, at(100) + slack)
    );
    let just_before = at(101) - TimeDelta::microseconds(1);
    assert!(decide(&windows, &counted, Purpose::Live, just_before).is_err());
    assert!(decide(&windows, &counted, Purpose::Live, at(101)).is_ok());
}

#[test]
fn more_counted_than_allowed_waits_until_enough_of_them_are_past() {
    // The number was lowered between two starts.
    let refused = decide(
        &[window(2, 100)],
        &live([0, 10, 20, 30]),
        Purpose::Live,
        at(40),
    )
    .expect_err("spent");
    assert_eq!(refused.until, at(121));
    assert!(decide(&[window(0, 100)], &[], Purpose::Live, at(0)).is_err());
}

#[test]
fn of_several_windows_the_narrowest_decides() {
    let counted = live((0..50).map(|n| n * 2));
    let refused = decide(&newsapi(), &counted, Purpose::Live, at(200)).expect_err("50 in 12 h");
    assert_eq!(refused.until, at(43_200 + 60));
}

#[test]
fn without_windows_everything_is_granted() {
    assert_eq!(
        decide(&[], &live(0..500), Purpose::Scheduled, at(0)),
        Ok(())
    );
}

#[test]
fn the_schedule_spends_a_day_evenly_and_leaves_the_reserve() {
    let counted = greedy(&newsapi(), Purpose::Scheduled, 60, 86_400);
    assert!((70..=80).contains(&counted.len()), "{}", counted.len());
    for (hours, most) in [(1, 5), (6, 24), (12, 40)] {
        let busiest = busiest(&counted, TimeDelta::hours(hours));
        assert!(busiest <= most, "{busiest} in {hours} h");
    }
    let quietest_gap = counted.windows(2).map(|two| two[1].at - two[0].at).max();
    assert!(
        quietest_gap <= Some(TimeDelta::hours(2)),
        "{quietest_gap:?}"
    );
}

#[test]
fn somebody_who_waits_may_use_what_the_schedule_may_not() {
    let windows = newsapi();
    let counted: Vec<Counted> = (0..40)
        .map(|n| Counted {
            at: at(n * 60),
            purpose: Purpose::Scheduled,
        })
        .collect();
    let refused = decide(&windows, &counted, Purpose::Scheduled, at(30_000))
        .expect_err("the reserve is kept");
    assert_eq!(refused.reason, Reason::Paced);
    assert_eq!(
        decide(&windows, &counted, Purpose::Live, at(30_000)),
        Ok(())
    );
}

#[test]
fn whoever_asks_without_end_gets_the_reserve_at_once_and_the_rest_evenly() {
    let rush = greedy(&newsapi(), Purpose::Live, 1, 60);
    assert_eq!(rush.len(), 10, "a fifth of 50 in 12 h");
    let refused = decide(&newsapi(), &rush, Purpose::Live, at(60)).expect_err("had its share");
    assert_eq!(refused.reason, Reason::Paced);
    let guardian = [window(500, 86_400), window(1, 1)];
    let rush = greedy(&guardian, Purpose::Live, 1, 2 * 3_600);
    assert_eq!(rush.len(), 100, "a fifth of 500 a day");
    let rush = greedy(&guardian, Purpose::Live, 1, 3 * 3_600).len();
    assert!(
        (133..=137).contains(&rush),
        "{rush}: and some of the rest after two hours"
    );
}

#[test]
fn the_schedule_goes_on_while_somebody_asks_without_end() {
    let (mut counted, minute) = (Vec::new(), 60);
    for second in (0..2 * 86_400).step_by(minute) {
        // Whoever asks without end is always first.
        for purpose in [Purpose::Live, Purpose::Scheduled] {
            while decide(&newsapi(), &counted, purpose, at(second)).is_ok() {
                let at = at(second);
                counted.push(Counted { at, purpose });
            }
        }
    }
    counted.retain(|counted| counted.purpose == Purpose::Scheduled);
    assert!(counted.len() >= 40, "{} in two days", counted.len());
    let gaps = counted.windows(2).map(|two| two[1].at - two[0].at);
    let longest = gaps.max().expect("several");
    assert!(longest <= TimeDelta::hours(4), "{longest}");
}

#[test]
fn without_a_schedule_nearly_all_of_a_day_is_given_to_those_who_wait() {
    let counted = greedy(&newsapi(), Purpose::Live, 60, 86_400);
    assert!((90..=100).contains(&counted.len()), "{}", counted.len());
}

#[test]
fn after_a_rush_of_live_requests_the_schedule_slows_down() {
    let hour = |counted: &[Counted]| {
        let mut counted = counted.to_vec();
        let before = counted.len();
        for second in 600..4_200 {
            if decide(&newsapi(), &counted, Purpose::Scheduled, at(second)).is_ok() {
                counted.push(Counted {
                    at: at(second),
                    purpose: Purpose::Scheduled,
                });
            }
        }
        counted.len() - before
    };
    let (calm, rush) = (hour(&[]), hour(&live(0..40)));
    assert!(rush < calm && rush >= 1, "{rush} after a rush, {calm} else");
}

#[test]
fn one_a_second_is_kept_apart_by_more_than_a_second() {
    let guardian = [window(500, 86_400), window(1, 1)];
    let refused = decide(&guardian, &live([0]), Purpose::Live, at(1)).expect_err("too soon");
    assert_eq!(refused.until, at(0) + TimeDelta::milliseconds(1_250));
}

#[test]
fn what_is_left_and_when_it_comes_back_is_told() {
    let counted = live([0, 10]);
    let left = left(&[window(3, 100)], &counted, at(20));
    assert_eq!(left[0].left, 1);
    assert_eq!(
        (left[0].regains_at, left[0].resets_at),
        (Some(at(101)), Some(at(111)))
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_stretch_of_a_windows_length_holds_more_than_it_allows(
        max in 1u32..8, length in 10i64..4_000, tries in prop::collection::vec((0i64..60, any::<bool>()), 1..200),
    ) {
        let windows = [window(max, length), window(max * 2, length * 3)];
        let (mut now, mut counted) = (0, Vec::new());
        for (pause, is_live) in tries {
            now += pause;
            let purpose = if is_live { Purpose::Live } else { Purpose::Scheduled };
            match decide(&windows, &counted, purpose, at(now)) {
                Ok(()) => counted.push(Counted { at: at(now), purpose }),
                Err(refusal) => prop_assert!(refusal.until > at(now)),
            }
        }
        for window in windows {
            prop_assert!(busiest(&counted, window.length) <= window.requests_max as usize);
        }
    }
}
