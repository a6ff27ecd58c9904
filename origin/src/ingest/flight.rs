//! One asking per question: whoever comes first sets it off, whoever comes meanwhile waits for the same answer.
//!
//! A request also takes the answer of a flight that landed after the request began: it may have looked at the database just
//! before that answer was stored. Flights that landed long ago are forgotten: anybody may name feeds without end.

use super::outcome::{Failure, Outcome};
use crate::article::Category;
use crate::database::DatabaseError;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tracing::Instrument;

/// What is asked of a source; `None` is its news whatever their category.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Question {
    pub(super) source: String,
    pub(super) category: Option<Category>,
}

/// Longer than a request waits, so that whoever looked before the landing still finds it.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Flights below which nothing is swept out.
const SWEPT_MIN: usize = 256;

type Answered = Result<Outcome, DatabaseError>;

struct Flight {
    answer: Shared<BoxFuture<'static, Answered>>,
    landed_at: Option<Instant>,
}

/// The flights under way, and the last one of each question that landed of late.
#[derive(Clone, Default)]
pub(super) struct Flights(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    flights: HashMap<Question, Flight>,
    /// From how many on the next sweep comes; twice what the last one left, so that sweeping costs little for each flight.
    sweep_at: usize,
}

impl Known {
    fn insert(&mut self, question: Question, flight: Flight, now: Instant) {
        if self.flights.len() >= self.sweep_at.max(SWEPT_MIN) {
            self.flights.retain(|_, flight| {
                let landed_at = flight.landed_at;
                landed_at.is_none_or(|at| now.saturating_duration_since(at) < REMEMBERED)
            });
            self.sweep_at = self.flights.len().saturating_mul(2);
        }
        self.flights.insert(question, flight);
    }
}

impl Flights {
    /// The answer of the flight under way, of one that landed since `begun`, or of a new one that `ask` makes.
    pub(super) async fn join<F, A>(&self, question: Question, begun: Instant, ask: A) -> Answered
    where
        A: FnOnce() -> F,
        F: Future<Output = Answered> + Send + 'static,
    {
        let answer = self.board(question, begun, ask);
        answer.await
    }

    fn board<F, A>(
        &self,
        question: Question,
        begun: Instant,
        ask: A,
    ) -> Shared<BoxFuture<'static, Answered>>
    where
        A: FnOnce() -> F,
        F: Future<Output = Answered> + Send + 'static,
    {
        let mut known = self.lock();
        if let Some(flight) = known.flights.get(&question)
            && flight.landed_at.is_none_or(|landed_at| landed_at >= begun)
        {
            return flight.answer.clone();
        }
        let landing = Landing {
            flights: self.clone(),
            question: question.clone(),
        };
        let asking = ask();
        let asking = async move {
            let _landing = landing;
            asking.await
        };
        // Its log lines belong to whoever set it off.
        let task = tokio::spawn(asking.in_current_span());
        // The task ends without an answer only by a panic, which the panic hook has logged.
        let answer = task
            .map(|ended| ended.unwrap_or(Ok(Outcome::Failed(Failure::Internal))))
            .boxed()
            .shared();
        let flight = Flight {
            answer: answer.clone(),
            landed_at: None,
        };
        known.insert(question, flight, Instant::now());
        answer
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Flights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.lock().flights.keys()).finish()
    }
}

/// Marks the flight as landed when it is dropped: after an answer, and after a panic too.
struct Landing {
    flights: Flights,
    question: Question,
}

impl Drop for Landing {
    fn drop(&mut self) {
        if let Some(flight) = self.flights.lock().flights.get_mut(&self.question) {
            flight.landed_at = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(n: usize) -> Question {
        Question {
            source: n.to_string(),
            category: None,
        }
    }

    fn flight(landed_at: Option<Instant>) -> Flight {
        let answer = std::future::ready(Ok(Outcome::Ok)).boxed().shared();
        Flight { answer, landed_at }
    }

    #[test]
    fn what_landed_long_ago_is_forgotten_and_what_is_under_way_is_not() {
        let begun = Instant::now();
        let mut known = Known::default();
        known.insert(question(0), flight(None), begun);
        for n in 1..10_000 {
            let second = begun + Duration::from_secs(n as u64);
            known.insert(question(n), flight(Some(second)), second);
            assert!(known.flights.len() <= SWEPT_MIN + 1, "{n}");
        }
        assert!(known.flights.contains_key(&question(0)));
        assert!(known.flights.contains_key(&question(9_999 - 30)));
    }
}
