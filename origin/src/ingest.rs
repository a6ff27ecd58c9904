//! Asks the sources what the database cannot answer freshly, stores what they say, and tells how each of them fared.
//!
//! All sources of a question are asked at the same time, each with its own timeout, each in a task of its own: a client that
//! leaves cancels nothing, and identical questions that come meanwhile wait for the one that is under way. A source that fails is
//! a state in the report; only the database's failure is an error. After a failure a source is left in peace for a while.

mod flight;
mod outcome;

pub use outcome::{Failure, SourceReport, State};

use crate::article::Category;
use crate::articles::{Answer, Articles, Asked};
use crate::database::DatabaseError;
use crate::discipline::Purpose;
use crate::source::{Batch, Query, Source, SourceError};
use chrono::{DateTime, TimeDelta, Utc};
use flight::{Flights, Question};
use futures_util::future::join_all;
use outcome::Outcome;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One page of the largest providers; more would be several requests.
const ARTICLES_PER_QUESTION_MAX: u16 = 100;
/// What another process's clock may be ahead of ours before we stop believing what it remembered.
const CLOCK_SKEW_MAX: TimeDelta = TimeDelta::minutes(1);

/// Which sources a request is about, and whether it insists on asking them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// One source by name, or all enabled ones.
    pub source: Option<&'a str>,
    pub category: Option<Category>,
    pub live: bool,
}

/// The enabled sources, and where their articles go.
#[derive(Debug)]
pub struct Ingest {
    sources: Vec<Arc<dyn Source>>,
    articles: Arc<Articles>,
    fresh_for: Duration,
    source_timeout: Duration,
    flights: Flights,
}

impl Ingest {
    pub fn new(
        sources: Vec<Arc<dyn Source>>,
        articles: Arc<Articles>,
        fresh_for: Duration,
        source_timeout: Duration,
    ) -> Arc<Self> {
        Arc::new(Self {
            sources,
            articles,
            fresh_for,
            source_timeout,
            flights: Flights::default(),
        })
    }

    /// The enabled sources.
    pub fn sources(&self) -> &[Arc<dyn Source>] {
        &self.sources
    }

    /// Sees to it that what is stored for the question is fresh, as far as the sources let us.
    pub async fn refresh(
        self: &Arc<Self>,
        wanted: Wanted<'_>,
        now: DateTime<Utc>,
    ) -> Result<Vec<SourceReport>, DatabaseError> {
        let begun = Instant::now();
        let remembered = self.articles.asked().await?;
        let chosen = self
            .sources
            .iter()
            .filter(|source| wanted.source.is_none_or(|name| name == source.name()));
        let reports = chosen.map(|source| {
            let category = wanted.category.filter(|_| source.answers_by_category());
            let question = Question {
                source: source.name().to_owned(),
                category,
            };
            let standing = if wanted.live {
                None
            } else {
                self.standing(&remembered, &question, now)
            };
            async move {
                let outcome = match standing {
                    Some(outcome) => outcome,
                    None => self.ask_once(source, question, begun, now).await?,
                };
                Ok(SourceReport::new(
                    source.as_ref(),
                    outcome,
                    standing.is_some(),
                ))
            }
        });
        join_all(reports).await.into_iter().collect()
    }

    /// What is remembered of the question, while that still holds.
    fn standing(
        &self,
        remembered: &[Asked],
        question: &Question,
        now: DateTime<Utc>,
    ) -> Option<Outcome> {
        let matches =
            |asked: &&Asked| asked.source == question.source && asked.category == question.category;
        let asked = remembered.iter().find(matches)?;
        let outcome = Outcome::parse(&asked.outcome);
        let until = match outcome {
            Outcome::Failed(_) => asked.ask_again_at,
            // By today's setting, which may differ from the one that held when the source was asked.
            Outcome::Ok | Outcome::Empty => asked.asked_at + self.fresh_for,
        };
        (asked.asked_at <= now + CLOCK_SKEW_MAX && now < until).then_some(outcome)
    }

    /// Asks, unless the same question is being asked, or was answered since this request began.
    async fn ask_once(
        self: &Arc<Self>,
        source: &Arc<dyn Source>,
        question: Question,
        begun: Instant,
        now: DateTime<Utc>,
    ) -> Result<Outcome, DatabaseError> {
        let category = question.category;
        let (ingest, source) = (Arc::clone(self), Arc::clone(source));
        let ask = move || async move { ingest.ask(source.as_ref(), category, now).await };
        self.flights.join(question, begun, ask).await
    }

    /// Asks one source and stores what came of it.
    async fn ask(
        &self,
        source: &dyn Source,
        category: Option<Category>,
        now: DateTime<Utc>,
    ) -> Result<Outcome, DatabaseError> {
        let begun = Instant::now();
        let query = Query {
            category,
            articles_max: ARTICLES_PER_QUESTION_MAX,
            purpose: Purpose::Live,
        };
        let fetched =
            match tokio::time::timeout(self.source_timeout, source.fetch(query, now)).await {
                Ok(fetched) => fetched,
                Err(_) => Err(SourceError::Timeout(self.source_timeout)),
            };
        let (outcome, batch, peace) = self.judge(source.name(), fetched);
        let answer = Answer {
            source: source.name(),
            category,
            by_category: source.answers_by_category(),
            outcome: outcome.as_str(),
            articles: &batch.articles,
            asked_at: now,
            stored_at: now + begun.elapsed(),
            ask_again_at: now + peace,
        };
        let changed = self.articles.store(&answer).await?;
        if !matches!(outcome, Outcome::Failed(_)) {
            source.stored(now).await;
        }
        tracing::info!(
            source = source.name(),
            category = category.map_or("", Category::as_str),
            outcome = outcome.as_str(),
            articles = batch.articles.len(),
            skipped = batch.skipped,
            changed,
            ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            "source asked"
        );
        Ok(outcome)
    }

    /// What came of it, what is to be stored, and for how long the source is not to be asked again.
    fn judge(&self, name: &str, fetched: Result<Batch, SourceError>) -> (Outcome, Batch, Duration) {
        match fetched {
            Ok(batch) if batch.articles.is_empty() && !batch.unchanged => {
                (Outcome::Empty, batch, self.fresh_for)
            }
            Ok(batch) => (Outcome::Ok, batch, self.fresh_for),
            Err(error) => {
                tracing::warn!(source = name, %error, "source failed");
                let failure = Failure::from(&error);
                (
                    Outcome::Failed(failure),
                    Batch::default(),
                    failure.peace(&error),
                )
            }
        }
    }
}
