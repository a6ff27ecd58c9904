//! How the upstream is: whether it answered, whether it is worth asking, and where.
//!
//! One lock, held for a few instructions, once or twice per fetch. Hits never come here.

use super::breaker::{Breaker, Change, Kind, Leave, Luck};
use super::failover::Failover;
use crate::dice::chance;
use larder_policy::Failure;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Whether the upstream answered when last asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    NeverAsked,
    Yes,
    No,
}

/// The upstream has not answered lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// What a fetch gets instead of being made.
    pub failure: Failure,
    /// It is time to try one.
    pub trial_due: bool,
}

#[derive(Debug)]
pub(super) struct Standing {
    state: Mutex<(Breaker, Failover)>,
    /// The breaker is not closed: to be seen without the lock.
    away: AtomicBool,
    last: AtomicU8,
}

/// Leave for one request to the upstream. Dropped without a word, its client went away before there was an answer.
#[derive(Debug)]
pub(super) struct Ticket {
    standing: Arc<Standing>,
    leave: Option<Leave>,
    /// Where the upstream was to be asked first when it was given.
    places: Failover,
}

/// Why a request was not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoAnswer {
    pub(super) failure: Failure,
    /// It did not get so far that what was asked could be to blame.
    pub(super) unasked: bool,
}

impl NoAnswer {
    /// It saw nothing of the request.
    pub(super) fn unasked(failure: Failure) -> Self {
        Self {
            failure,
            unasked: true,
        }
    }
}

impl Standing {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new((Breaker::new(), Failover::default())),
            away: AtomicBool::new(false),
            last: AtomicU8::new(0),
        })
    }

    fn lock(&self) -> MutexGuard<'_, (Breaker, Failover)> {
        // No code here panics between two writes of it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It has not answered lately: most fetches are refused.
    pub(super) fn is_away(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    /// Whether it answered when last asked; while it is away, no.
    pub(super) fn answered(&self) -> Answered {
        match self.last.load(Ordering::Relaxed) {
            0 => Answered::NeverAsked,
            1 if !self.is_away() => Answered::Yes,
            _ => Answered::No,
        }
    }

    /// What most fetches of this target get now instead of being made, if anything.
    pub(super) fn outage(&self, target: &str) -> Option<Outage> {
        if !self.is_away() {
            return None;
        }
        let hindrance = self.lock().0.hindrance(path_of(target), Instant::now())?;
        Some(Outage {
            failure: away(hindrance.kind),
            trial_due: hindrance.trial_due,
        })
    }

    /// Leave for a fetch.
    pub(super) fn admit(self: &Arc<Self>, target: &str) -> Result<Ticket, Failure> {
        let mut state = self.lock();
        let leave = state.0.admit(path_of(target), Instant::now());
        let places = state.1;
        drop(state);
        let leave = Some(leave.map_err(away)?);
        Ok(Ticket {
            standing: self.clone(),
            leave,
            places,
        })
    }

    /// Leave for a pass, which is never refused.
    pub(super) fn admit_pass(self: &Arc<Self>, target: &str) -> Ticket {
        let state = self.lock();
        let leave = Some(state.0.admit_pass(path_of(target)));
        let places = state.1;
        drop(state);
        Ticket {
            standing: self.clone(),
            leave,
            places,
        }
    }

    fn record(&self, state: &mut Breaker, leave: Leave, luck: Luck) -> Option<Change> {
        let change = match luck {
            // Needs no clock, and comes most often.
            Luck::Answered => state.answered(),
            luck => state.record(leave, luck, Instant::now(), chance()),
        };
        self.away.store(!state.is_closed(), Ordering::Relaxed);
        change
    }
}

impl Ticket {
    /// The place to try at this attempt, the first being 0.
    pub(super) fn place(&self, attempt: usize, count: usize) -> usize {
        let place = self.places.first(count) + attempt;
        place.checked_rem(count).unwrap_or(0)
    }

    /// No connection to this address: the next one may be tried, and is tried first by those who come.
    pub(super) fn not_connected(&self, place: usize, count: usize) {
        self.standing.lock().1.failed(place, count);
    }

    /// A head came from this address.
    pub(super) fn answered(mut self, place: usize) {
        let Some(leave) = self.leave.take() else {
            return;
        };
        self.standing.last.store(1, Ordering::Relaxed);
        let mut state = self.standing.lock();
        state.1.answered(place);
        let change = self.standing.record(&mut state.0, leave, Luck::Answered);
        drop(state);
        if change == Some(Change::Closed) {
            tracing::info!("the upstream answers again");
        }
    }

    /// None came, from this address or, without one, from any.
    pub(super) fn failed(mut self, why: NoAnswer, place: Option<usize>, count: usize) {
        let Some(leave) = self.leave.take() else {
            return;
        };
        self.standing.last.store(2, Ordering::Relaxed);
        let mut state = self.standing.lock();
        let none_left = place.is_none_or(|place| state.1.failed(place, count));
        // While another address has not failed, the upstream is not away.
        let luck = match none_left {
            true => Luck::Failed {
                kind: kind(why.failure),
                certain: why.unasked,
            },
            false => Luck::Unknown,
        };
        let change = self.standing.record(&mut state.0, leave, luck);
        drop(state);
        if change == Some(Change::Opened) {
            let reason = larder_policy::Outcome::Error(why.failure).reason();
            tracing::warn!(
                reason = reason.as_str(),
                "the upstream does not answer: it is tried now and then, and fetches fail at once"
            );
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(leave) = self.leave.take() {
            let mut state = self.standing.lock();
            self.standing.record(&mut state.0, leave, Luck::Unknown);
        }
    }
}

fn kind(failure: Failure) -> Kind {
    match failure {
        Failure::UpstreamTimeout => Kind::Silent,
        _ => Kind::Broken,
    }
}

fn away(kind: Kind) -> Failure {
    Failure::UpstreamAway {
        silent: kind == Kind::Silent,
    }
}

/// What the breaker knows of a target: one endpoint is the same whatever its query.
fn path_of(target: &str) -> u64 {
    let path = target.split('?').next().unwrap_or(target);
    xxhash_rust::xxh3::xxh3_64(path.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::breaker::FAILURES_MAX;

    const SILENT: NoAnswer = NoAnswer {
        failure: Failure::UpstreamTimeout,
        unasked: false,
    };

    #[test]
    fn it_is_away_when_each_address_has_failed_often_enough_and_back_with_an_answer() {
        let standing = Standing::new();
        assert_eq!(standing.answered(), Answered::NeverAsked);
        for number in 0..100 {
            let ticket = standing.admit(&format!("/{number}")).unwrap();
            ticket.failed(SILENT, Some(0), 2);
            assert!(!standing.is_away(), "the other address was not tried");
        }
        for number in 0..FAILURES_MAX {
            assert_eq!(standing.outage("/"), None);
            let ticket = standing.admit(&format!("/{number}?a")).unwrap();
            let place = ticket.place(0, 2);
            assert_eq!(ticket.place(1, 2), 1 - place);
            ticket.failed(SILENT, Some(place), 2);
        }
        let refusal = Failure::UpstreamAway { silent: true };
        assert_eq!(standing.outage("/").unwrap().failure, refusal);
        assert_eq!(standing.admit("/").unwrap_err(), refusal);
        assert_eq!(standing.answered(), Answered::No);
        standing.admit_pass("/").answered(1);
        assert_eq!(standing.outage("/"), None);
        assert_eq!(standing.answered(), Answered::Yes);
        assert_eq!(standing.admit("/").unwrap().place(0, 2), 1);
    }
}
