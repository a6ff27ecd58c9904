//! A round: every question that is due is put to its source, so that requests find the answers stored.
//!
//! Known questions are those that somebody has asked before, and each source's news whatever their category. Sources are asked side
//! by side, the questions to one of them one after the other, the longest unasked first; a source that has no request left is asked
//! no further. What is due is decided by `due`, a function of values. What users added is not asked here, but in `added`: their feeds,
//! however many and slow, must not keep the operator's news waiting, nor stand in a report that anybody may read.

use super::Ingest;
use super::flight::Question;
use super::outcome::{Failure, Outcome};
use crate::articles::Asked;
use crate::database::DatabaseError;
use crate::discipline::Purpose;
use crate::source::Source;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use serde::Serialize;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Which questions a round puts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Those whose time has come.
    Due,
    /// All that are known.
    All,
}

/// How one question of a round went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Asking {
    pub source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<crate::article::Category>,
    /// "ok", "empty" or the stable code of the failure.
    pub outcome: &'static str,
}

/// What a round did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Round {
    pub asked: Vec<Asking>,
}

impl Round {
    /// How many questions failed.
    pub fn failed(&self) -> usize {
        self.asked
            .iter()
            .filter(|asking| asking.is_failure())
            .count()
    }
}

impl Asking {
    pub(super) fn is_failure(&self) -> bool {
        !matches!(self.outcome, "ok" | "empty")
    }
}

impl Ingest {
    /// One round of the enabled sources. A source that fails, or whose answer can't be stored, is a line of the result. Only when
    /// what is known can't be read there is none.
    pub async fn tick(
        self: &Arc<Self>,
        scope: Scope,
        now: DateTime<Utc>,
    ) -> Result<Round, DatabaseError> {
        let begun = Instant::now();
        let remembered = self.articles.asked(&self.names()).await?;
        let rounds = self
            .sources
            .iter()
            .map(|source| self.round_of(source, &remembered, scope, begun, now));
        let rounds = join_all(rounds).await;
        Ok(Round {
            asked: rounds.into_iter().flatten().collect(),
        })
    }

    async fn round_of(
        self: &Arc<Self>,
        source: &Arc<dyn Source>,
        remembered: &[Asked],
        scope: Scope,
        begun: Instant,
        now: DateTime<Utc>,
    ) -> Vec<Asking> {
        let questions = match (scope, self.interval) {
            (Scope::Due, Some(interval)) => due(source.as_ref(), remembered, interval, now),
            (Scope::Due, None) => Vec::new(),
            (Scope::All, _) => known(source.as_ref(), remembered)
                .into_iter()
                .map(|(question, _)| question)
                .collect(),
        };
        self.ask_in_turn(source, questions, scope, begun, now).await
    }

    pub(super) async fn ask_in_turn(
        self: &Arc<Self>,
        source: &Arc<dyn Source>,
        questions: Vec<Question>,
        scope: Scope,
        begun: Instant,
        now: DateTime<Utc>,
    ) -> Vec<Asking> {
        // Anybody may ask for a round: it is paced like any other, else it could spend what the day's readers need.
        let purpose = Purpose::Scheduled;
        let mut asked = Vec::new();
        for question in questions {
            let category = question.category;
            let answered = self
                .ask_once(source, question, purpose, begun, now + begun.elapsed())
                .await;
            // Were the whole round to fail, it would begin anew at once and ask all others again.
            let outcome = answered.as_ref().copied().unwrap_or_else(|error| {
                tracing::warn!(source = source.name(), %error, "an answer was not stored");
                Outcome::Failed(Failure::Internal)
            });
            let has_none_left = outcome == Outcome::Failed(Failure::QuotaSpent);
            if !has_none_left || scope == Scope::All {
                asked.push(Asking {
                    source: source.name().to_owned(),
                    category,
                    outcome: outcome.as_str(),
                });
            }
            if has_none_left || answered.is_err() {
                break;
            }
        }
        asked
    }
}

/// What is known of a question to this source: all that were ever asked, and its news whatever their category.
fn known<'a>(source: &dyn Source, remembered: &'a [Asked]) -> Vec<(Question, Option<&'a Asked>)> {
    let question = |category| Question {
        source: source.name().to_owned(),
        category,
    };
    let of_source = remembered
        .iter()
        .filter(|asked| asked.source == source.name())
        .filter(|asked| asked.category.is_none() || source.answers_by_category());
    let mut known: Vec<(Question, Option<&Asked>)> = of_source
        .map(|asked| (question(asked.category), Some(asked)))
        .collect();
    if known
        .iter()
        .all(|(question, _)| question.category.is_some())
    {
        known.push((question(None), None));
    }
    known.sort_by_key(|(_, asked)| asked.map(|asked| asked.asked_at));
    known
}

/// The questions whose time has come, the longest unasked first.
pub(super) fn due(
    source: &dyn Source,
    remembered: &[Asked],
    interval: Duration,
    now: DateTime<Utc>,
) -> Vec<Question> {
    let interval = TimeDelta::from_std(interval).unwrap_or(TimeDelta::MAX);
    let is_due = |asked: &Asked| match Outcome::parse(&asked.outcome) {
        Outcome::Failed(_) => now >= asked.ask_again_at,
        // A clock that went back must not silence a source.
        Outcome::Ok | Outcome::Empty => {
            now - asked.asked_at >= interval || asked.asked_at - now > interval
        }
    };
    known(source, remembered)
        .into_iter()
        .filter(|(_, asked)| asked.is_none_or(is_due))
        .map(|(question, _)| question)
        .collect()
}
