//! One asking per question: whoever comes first sets it off, whoever comes meanwhile waits for the same answer.
//!
//! A request also takes the answer of a flight that landed after the request began: it may have looked at the database just
//! before that answer was stored. The map holds one small entry for each question there is.

use super::outcome::{Failure, Outcome};
use crate::article::Category;
use crate::database::DatabaseError;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tracing::Instrument;

/// What is asked of a source; `None` is its news whatever their category.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Question {
    pub(super) source: String,
    pub(super) category: Option<Category>,
}

type Answered = Result<Outcome, DatabaseError>;

struct Flight {
    answer: Shared<BoxFuture<'static, Answered>>,
    landed_at: Option<Instant>,
}

/// The flights under way and the last one of each question.
#[derive(Clone, Default)]
pub(super) struct Flights(Arc<Mutex<HashMap<Question, Flight>>>);

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
        let mut flights = self.lock();
        if let Some(flight) = flights.get(&question)
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
        flights.insert(
            question,
            Flight {
                answer: answer.clone(),
                landed_at: None,
            },
        );
        answer
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Question, Flight>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Flights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.lock().keys()).finish()
    }
}

/// Marks the flight as landed when it is dropped: after an answer, and after a panic too.
struct Landing {
    flights: Flights,
    question: Question,
}

impl Drop for Landing {
    fn drop(&mut self) {
        if let Some(flight) = self.flights.lock().get_mut(&self.question) {
            flight.landed_at = Some(Instant::now());
        }
    }
}
