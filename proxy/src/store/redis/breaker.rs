//! Is it worth asking a server that has not answered lately?
//!
//! A state machine without a clock: `now` and the jitter are arguments. Closed, it lets everybody
//! through and counts failures in a row. Open, it lets nobody through for a while. Half open, it
//! lets one through, whose luck decides.

use std::time::{Duration, Instant};

/// Failures in a row that open it: one slow answer is no outage.
pub(crate) const FAILURES_MAX: u32 = 5;
/// How long it stays open at first.
const OPEN_MIN: Duration = Duration::from_millis(200);
/// And at most, after doubling each time the trial fails.
const OPEN_MAX: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant, times: u32 },
    HalfOpen { since: Instant, times: u32 },
}

/// May a request go through?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// As one of many.
    Yes,
    /// As the one whose luck decides.
    Trial,
    No,
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Luck {
    Answered,
    Failed,
    /// The one who asked went away before there was an answer.
    Unknown,
}

/// The breaker.
#[derive(Debug)]
pub(crate) struct Breaker(State);

impl Breaker {
    pub(crate) fn new() -> Self {
        Self(State::Closed { failures: 0 })
    }

    #[cfg(test)]
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.0, State::Closed { .. })
    }

    /// Nothing is known against it: it is closed, or its time is over and the next request will try.
    pub(crate) fn would_admit(&self, now: Instant) -> bool {
        match self.0 {
            State::Closed { .. } => true,
            State::Open { until, .. } => now >= until,
            State::HalfOpen { .. } => false,
        }
    }

    pub(crate) fn admit(&mut self, now: Instant) -> Admission {
        match self.0 {
            State::Closed { .. } => Admission::Yes,
            State::Open { until, times } if now >= until => {
                self.0 = State::HalfOpen { since: now, times };
                Admission::Trial
            }
            State::Open { .. } | State::HalfOpen { .. } => Admission::No,
        }
    }

    /// Takes notice of how an admitted request went; true when that opened the breaker. `jitter`
    /// lies between 0 and 1, so that many replicas don't come back at once.
    pub(crate) fn record(
        &mut self,
        admission: Admission,
        luck: Luck,
        now: Instant,
        jitter: f64,
    ) -> bool {
        match (self.0, admission, luck) {
            (State::Closed { .. }, _, Luck::Answered)
            | (State::HalfOpen { .. }, Admission::Trial, Luck::Answered) => {
                *self = Self::new();
                false
            }
            (State::Closed { failures }, _, Luck::Failed) => {
                let failures = failures + 1;
                self.0 = State::Closed { failures };
                failures >= FAILURES_MAX && self.open(0, now, jitter)
            }
            (State::HalfOpen { times, .. }, Admission::Trial, Luck::Failed) => {
                self.open(times.saturating_add(1), now, jitter)
            }
            (State::HalfOpen { since, times }, Admission::Trial, Luck::Unknown) => {
                self.0 = State::Open {
                    until: since,
                    times,
                };
                false
            }
            // Late answers to questions asked before it opened say nothing of now.
            _ => false,
        }
    }

    /// A new connection stands: the next request is a trial, without waiting for the time.
    pub(crate) fn try_now(&mut self, now: Instant) {
        if let State::Open { times, .. } = self.0 {
            self.0 = State::Open { until: now, times };
        }
    }

    fn open(&mut self, times: u32, now: Instant, jitter: f64) -> bool {
        let full = OPEN_MIN.saturating_mul(1 << times.min(16)).min(OPEN_MAX);
        let until = now + full.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0);
        self.0 = State::Open { until, times };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::new();
        for _ in 0..FAILURES_MAX {
            assert_eq!(breaker.admit(now), Admission::Yes);
            breaker.record(Admission::Yes, Luck::Failed, now, 1.0);
        }
        breaker
    }

    #[test]
    fn it_opens_at_exactly_the_last_failure_in_a_row() {
        let (mut breaker, now) = (Breaker::new(), Instant::now());
        for _ in 1..FAILURES_MAX {
            assert!(!breaker.record(Admission::Yes, Luck::Failed, now, 1.0));
        }
        breaker.record(Admission::Yes, Luck::Answered, now, 1.0);
        for _ in 1..FAILURES_MAX {
            assert!(!breaker.record(Admission::Yes, Luck::Failed, now, 1.0));
        }
        assert!(breaker.is_closed());
        assert!(breaker.record(Admission::Yes, Luck::Failed, now, 1.0));
        assert!(!breaker.would_admit(now));
        assert!(breaker.would_admit(now + OPEN_MIN));
        assert!(!breaker.is_closed());
        assert_eq!(breaker.admit(now), Admission::No);
    }

    #[test]
    fn one_trial_goes_through_at_exactly_the_end_of_its_time() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let end = now + OPEN_MIN;
        assert_eq!(breaker.admit(end - Duration::from_nanos(1)), Admission::No);
        assert_eq!(breaker.admit(end), Admission::Trial);
        assert_eq!(breaker.admit(end), Admission::No);
        breaker.record(Admission::Trial, Luck::Answered, end, 1.0);
        assert_eq!(breaker.admit(end), Admission::Yes);
    }

    #[test]
    fn failed_trials_double_the_time_up_to_a_limit() {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        let mut waits = Vec::new();
        for _ in 0..8 {
            let State::Open { until, .. } = breaker.0 else {
                panic!("open after a failed trial");
            };
            waits.push(until - now);
            now = until;
            assert_eq!(breaker.admit(now), Admission::Trial);
            assert!(breaker.record(Admission::Trial, Luck::Failed, now, 1.0));
        }
        let millis = [200, 400, 800, 1600, 3200, 5000, 5000, 5000];
        assert_eq!(waits, millis.map(Duration::from_millis));
    }

    #[test]
    fn jitter_shortens_the_time_by_half_at_most() {
        let (mut breaker, now) = (Breaker::new(), Instant::now());
        for _ in 0..FAILURES_MAX {
            breaker.record(Admission::Yes, Luck::Failed, now, 0.0);
        }
        assert_eq!(
            breaker.admit(now + OPEN_MIN / 2 - Duration::from_nanos(1)),
            Admission::No
        );
        assert_eq!(breaker.admit(now + OPEN_MIN / 2), Admission::Trial);
    }

    #[test]
    fn a_trial_that_went_away_lets_the_next_one_try() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let end = now + OPEN_MIN;
        assert_eq!(breaker.admit(end), Admission::Trial);
        breaker.record(Admission::Trial, Luck::Unknown, end, 1.0);
        assert_eq!(breaker.admit(end), Admission::Trial);
    }

    #[test]
    fn late_answers_neither_close_it_nor_keep_it_open_longer() {
        let now = Instant::now();
        let mut breaker = opened(now);
        breaker.record(Admission::Yes, Luck::Answered, now, 1.0);
        breaker.record(Admission::Yes, Luck::Failed, now, 1.0);
        assert_eq!(breaker.admit(now), Admission::No);
        let end = now + OPEN_MIN;
        assert_eq!(breaker.admit(end), Admission::Trial);
        breaker.record(Admission::Yes, Luck::Answered, end, 1.0);
        assert_eq!(breaker.admit(end), Admission::No);
    }

    #[test]
    fn a_new_connection_is_tried_at_once() {
        let now = Instant::now();
        let mut breaker = opened(now);
        breaker.try_now(now);
        assert_eq!(breaker.admit(now), Admission::Trial);
        let mut closed = Breaker::new();
        closed.try_now(now);
        assert_eq!(closed.admit(now), Admission::Yes);
    }
}
