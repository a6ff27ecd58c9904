//! Is it worth asking an upstream that has not answered lately?
//!
//! A state machine without a clock: `now` and the jitter are arguments. Closed, it lets everybody through and counts
//! failures in a row. Open, it refuses, but for one trial at growing pauses, whose luck decides. What must stay true:
//!
//! - Any answer closes it, also to a request that was never its trial (a pass, or one that had been under way for long):
//!   whoever answers is there.
//! - Failures of requests that began before it last opened or closed say nothing of now: a thousand requests that time out
//!   one after the other neither lengthen the pause nor open it again.
//! - An upstream that can't be connected to is away for everybody. Silence or nonsense may be the fault of what was asked, so
//!   it refuses only that path until another path has the same luck: one endpoint that hangs takes no other with it.
//!
//! The store's breaker is simpler, for the questions to Redis are all alike: see `store::redis`.

use std::time::{Duration, Instant};

/// Failures in a row that open it: one slow answer is no outage.
pub(super) const FAILURES_MAX: u32 = 5;
/// The first pause.
const PAUSE_MIN: Duration = Duration::from_millis(200);
/// The longest pause, after doubling each time the trial fails.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A trial that has been silent for this long makes room for the next: its connection may lead to a host that is no more, while
/// its successor answers.
const TRIAL_MAX: Duration = PAUSE_MAX;

/// Which paths had no luck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    One(u64),
    All,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed { failures: u32, scope: Option<Scope> },
    Open { until: Instant, outage: Outage },
    Trial { since: Instant, outage: Outage },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Outage {
    scope: Scope,
    /// Trials that failed.
    times: u32,
    kind: Kind,
}

/// What clients are told of an outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Silent,
    Broken,
}

/// Why a request is not made, or only as a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hindrance {
    pub(super) kind: Kind,
    /// The next one would be made, to see.
    pub(super) trial_due: bool,
}

/// Leave to ask, to be given back with the luck that it brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Leave {
    /// How often the breaker had changed when it was given.
    changes: u64,
    trial: bool,
    path: u64,
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Luck {
    /// A head came, whatever its status.
    Answered,
    /// None came; `certain` when that can't have been the fault of what was asked.
    Failed { kind: Kind, certain: bool },
    /// The one who asked went away before there was an answer.
    Unknown,
}

/// What a word on somebody's luck changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Opened,
    Closed,
}

/// The breaker.
#[derive(Debug)]
pub(super) struct Breaker {
    state: State,
    changes: u64,
}

impl Breaker {
    pub(super) fn new() -> Self {
        Self {
            state: State::Closed {
                failures: 0,
                scope: None,
            },
            changes: 0,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// What keeps requests for this path from being made, if anything does. Nobody is promised the trial by this.
    pub(super) fn hindrance(&self, path: u64, now: Instant) -> Option<Hindrance> {
        let (outage, trial_due) = match self.state {
            State::Closed { .. } => return None,
            State::Open { until, outage } => (outage, now >= until),
            State::Trial { since, outage } => (outage, now >= since + TRIAL_MAX),
        };
        outage.concerns(path).then_some(Hindrance {
            kind: outage.kind,
            trial_due,
        })
    }

    /// Leave to ask for this path, perhaps as the one whose luck decides.
    pub(super) fn admit(&mut self, path: u64, now: Instant) -> Result<Leave, Kind> {
        let Some(hindrance) = self.hindrance(path, now) else {
            return Ok(self.leave(path, false));
        };
        if !hindrance.trial_due {
            return Err(hindrance.kind);
        }
        if let State::Open { outage, .. } | State::Trial { outage, .. } = self.state {
            self.change(State::Trial { since: now, outage });
        }
        Ok(self.leave(path, true))
    }

    /// Leave for a request that is made in any case: it may change something, and only its sender knows whether to try again.
    pub(super) fn admit_pass(&self, path: u64) -> Leave {
        self.leave(path, false)
    }

    fn leave(&self, path: u64, trial: bool) -> Leave {
        Leave {
            changes: self.changes,
            trial,
            path,
        }
    }

    fn change(&mut self, state: State) {
        self.state = state;
        self.changes += 1;
    }

    /// Takes notice of how a request went. `jitter` lies between 0 and 1, so that many replicas don't come back at once.
    pub(super) fn record(
        &mut self,
        leave: Leave,
        luck: Luck,
        now: Instant,
        jitter: f64,
    ) -> Option<Change> {
        match luck {
            Luck::Answered => self.answered(),
            Luck::Failed { kind, certain } => self.failed(leave, kind, certain, now, jitter),
            Luck::Unknown => {
                if let State::Trial { since, outage } = self.state
                    && leave.trial
                    && leave.changes == self.changes
                {
                    self.change(State::Open {
                        until: since,
                        outage,
                    });
                }
                None
            }
        }
    }

    pub(super) fn answered(&mut self) -> Option<Change> {
        let was_closed = self.is_closed();
        let state = Self::new().state;
        if was_closed {
            self.state = state;
            return None;
        }
        self.change(state);
        Some(Change::Closed)
    }

    fn failed(
        &mut self,
        leave: Leave,
        kind: Kind,
        certain: bool,
        now: Instant,
        jitter: f64,
    ) -> Option<Change> {
        let began_since = leave.changes == self.changes;
        match &mut self.state {
            State::Closed { failures, scope } if began_since => {
                *failures += 1;
                let widened = widened(*scope, leave.path, certain);
                *scope = Some(widened);
                if *failures < FAILURES_MAX {
                    return None;
                }
                self.open(widened, 0, kind, now, jitter);
                Some(Change::Opened)
            }
            State::Closed { .. } => None,
            State::Trial { outage, .. } if began_since && leave.trial => {
                let scope = widened(Some(outage.scope), leave.path, certain);
                let times = outage.times.saturating_add(1);
                self.open(scope, times, kind, now, jitter);
                None
            }
            State::Open { outage, .. } | State::Trial { outage, .. } => {
                outage.scope = widened(Some(outage.scope), leave.path, certain);
                None
            }
        }
    }

    fn open(&mut self, scope: Scope, times: u32, kind: Kind, now: Instant, jitter: f64) {
        let full = PAUSE_MIN.saturating_mul(1 << times.min(16)).min(PAUSE_MAX);
        let until = now + full.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0);
        let outage = Outage { scope, times, kind };
        self.change(State::Open { until, outage });
    }
}

impl Outage {
    fn concerns(&self, path: u64) -> bool {
        match self.scope {
            Scope::One(one) => one == path,
            Scope::All => true,
        }
    }
}

fn widened(scope: Option<Scope>, path: u64, certain: bool) -> Scope {
    match scope {
        _ if certain => Scope::All,
        None => Scope::One(path),
        Some(Scope::One(one)) if one == path => Scope::One(path),
        Some(_) => Scope::All,
    }
}

#[cfg(test)]
#[path = "breaker_tests.rs"]
mod tests;
