//! Whether a source that keeps failing is asked at all: a circuit breaker as values; `now` is passed in, nothing is awaited.
//!
//! Closed, it lets everything through. After a row of failures it opens: nobody waits for what will fail. When it has been open
//! for a while one request may try (half open): its success closes it, its failure opens it for twice as long.

use chrono::{DateTime, TimeDelta, Utc};

/// So many failures in a row open it.
const FAILURES_MAX: u32 = 5;
const OPEN_FIRST: TimeDelta = TimeDelta::seconds(30);
const OPEN_MAX: TimeDelta = TimeDelta::minutes(10);
/// A trial whose end nobody told is forgotten after this.
const TRIAL_MAX: TimeDelta = TimeDelta::minutes(2);

/// The state of one source's breaker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Breaker {
    state: State,
    /// How long it opens the next time.
    open_for: TimeDelta,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until: DateTime<Utc> },
    Trial { until: DateTime<Utc> },
}

/// What others see of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Closed,
    /// Nothing is asked before then.
    Open(DateTime<Utc>),
    HalfOpen,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            state: State::Closed { failures: 0 },
            open_for: OPEN_FIRST,
        }
    }
}

impl Breaker {
    /// Lets a request through, or says until when there is no point in asking.
    pub(super) fn admit(&mut self, now: DateTime<Utc>) -> Result<(), DateTime<Utc>> {
        match self.state {
            State::Closed { .. } => Ok(()),
            State::Open { until } | State::Trial { until } if now < until => Err(until),
            State::Open { .. } | State::Trial { .. } => {
                self.state = State::Trial {
                    until: now + TRIAL_MAX,
                };
                Ok(())
            }
        }
    }

    /// The source answered as it should.
    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// The source failed.
    pub(super) fn failed(&mut self, now: DateTime<Utc>) {
        match self.state {
            State::Closed { failures } if failures + 1 < FAILURES_MAX => {
                self.state = State::Closed {
                    failures: failures + 1,
                };
            }
            // Requests that were under way when it opened tell nothing new.
            State::Open { .. } => {}
            State::Closed { .. } | State::Trial { .. } => self.open(now, self.open_for),
        }
    }

    /// Opens it at once, for as long as it ever does: where asking again is known to be in vain.
    pub(super) fn trip(&mut self, now: DateTime<Utc>) {
        self.open(now, OPEN_MAX);
    }

    fn open(&mut self, now: DateTime<Utc>, open_for: TimeDelta) {
        self.state = State::Open {
            until: now + open_for,
        };
        self.open_for = (open_for * 2).min(OPEN_MAX);
    }

    /// How it stands.
    pub(super) fn standing(&self, now: DateTime<Utc>) -> Standing {
        match self.state {
            State::Closed { .. } => Standing::Closed,
            State::Open { until } if now < until => Standing::Open(until),
            State::Open { .. } | State::Trial { .. } => Standing::HalfOpen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_780_000_000 + seconds, 0).expect("a time")
    }

    fn opened() -> Breaker {
        let mut breaker = Breaker::default();
        for _ in 0..FAILURES_MAX {
            assert_eq!(breaker.admit(at(0)), Ok(()));
            breaker.failed(at(0));
        }
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_starts_the_row_anew() {
        let mut breaker = Breaker::default();
        for _ in 0..3 {
            for _ in 0..FAILURES_MAX - 1 {
                breaker.failed(at(0));
            }
            assert_eq!(breaker.admit(at(0)), Ok(()));
            breaker.succeeded();
        }
        assert_eq!(opened().admit(at(0)), Err(at(30)));
    }

    #[test]
    fn one_request_tries_when_the_time_has_come_and_the_others_wait_for_it() {
        let mut breaker = opened();
        assert_eq!(breaker.admit(at(29)), Err(at(30)));
        assert_eq!(breaker.admit(at(30)), Ok(()));
        assert_eq!(breaker.standing(at(30)), Standing::HalfOpen);
        assert!(breaker.admit(at(30)).is_err());
        breaker.succeeded();
        assert_eq!(breaker.admit(at(30)), Ok(()));
        assert_eq!(breaker.standing(at(30)), Standing::Closed);
    }

    #[test]
    fn a_failed_try_opens_it_for_twice_as_long_up_to_a_limit() {
        let (mut breaker, mut now) = (opened(), 30);
        for open_for in [60, 120, 240, 480, 600, 600] {
            assert_eq!(breaker.admit(at(now)), Ok(()));
            breaker.failed(at(now));
            assert_eq!(
                breaker.standing(at(now)),
                Standing::Open(at(now + open_for))
            );
            now += open_for;
        }
    }

    #[test]
    fn a_try_that_nobody_ended_does_not_block_for_ever() {
        let mut breaker = opened();
        assert_eq!(breaker.admit(at(30)), Ok(()));
        assert_eq!(breaker.admit(at(149)), Err(at(150)));
        assert_eq!(breaker.admit(at(150)), Ok(()));
    }

    #[test]
    fn late_failures_do_not_prolong_it() {
        let mut breaker = opened();
        breaker.failed(at(20));
        assert_eq!(breaker.standing(at(20)), Standing::Open(at(30)));
    }
}
