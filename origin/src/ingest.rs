//! Asks the sources, stores what they say, and tells how each of them fared.
//!
//! A schedule does the asking (`tick`), so that requests read the database: one asks by itself only what was never asked before,
//! or when it insists, and what was answered a moment ago it does not ask again whoever insists. Without a schedule, a request asks whatever the database cannot answer freshly.
//!
//! All sources of a question are asked at the same time, each with its own timeout, each in a task of its own: a client that
//! leaves cancels nothing, and identical questions that come meanwhile wait for the one that is under way. A source that fails is
//! a state in the report; only the database's failure is an error. After a failure a source is left in peace for a while.

mod added;
mod flight;
mod outcome;
mod round;

pub use added::AddedRound;
pub use outcome::{Failure, SourceReport, State};
pub use round::{Asking, Round, Scope};

use crate::article::Category;
use crate::articles::{Answer, Articles, Asked};
use crate::database::DatabaseError;
use crate::discipline::Purpose;
use crate::source::feed::FeedSource;
use crate::source::{Batch, Query, Source, SourceError};
use crate::subscriptions::Subscriptions;
use chrono::{DateTime, TimeDelta, Utc};
use flight::{Flights, Question};
use futures_util::future::join_all;
use outcome::Outcome;
use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// One page of the largest providers; more would be several requests.
const ARTICLES_PER_QUESTION_MAX: u16 = 100;
/// What another process's clock may be ahead of ours before we stop believing what it remembered.
const CLOCK_SKEW_MAX: TimeDelta = TimeDelta::minutes(1);
/// A turn that somebody else has is over by then; what is not due for longer was asked, and what came of it is stored.
const TURN_MAX: Duration = Duration::from_secs(60);

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
    /// How often the schedule asks each question; without one, requests do.
    interval: Option<Duration>,
    /// For how long an answer is new enough for those who insist.
    live_interval_min: Duration,
    /// When the set of enabled sources was last another one.
    enabled_at: OnceLock<DateTime<Utc>>,
    flights: Flights,
    /// Feeds that users added, asked by rounds of their own.
    subscriptions: OnceLock<Arc<Subscriptions>>,
}

impl Ingest {
    pub fn new(
        sources: Vec<Arc<dyn Source>>,
        articles: Arc<Articles>,
        fresh_for: Duration,
        source_timeout: Duration,
        interval: Option<Duration>,
        live_interval_min: Duration,
    ) -> Arc<Self> {
        Arc::new(Self {
            interval,
            live_interval_min,
            enabled_at: OnceLock::new(),
            sources,
            articles,
            fresh_for,
            source_timeout,
            flights: Flights::default(),
            subscriptions: OnceLock::new(),
        })
    }

    /// The enabled sources.
    pub fn sources(&self) -> &[Arc<dyn Source>] {
        &self.sources
    }

    /// Their names.
    pub fn names(&self) -> Vec<&str> {
        self.sources.iter().map(|source| source.name()).collect()
    }

    /// Has `tick_added` ask what users added.
    pub fn subscribe(&self, subscriptions: Arc<Subscriptions>) {
        let _ = self.subscriptions.set(subscriptions);
    }

    /// Asks a feed that somebody is about to add, and stores what it gives; else tells why it gives nothing, which nobody remembers.
    pub async fn introduce(
        &self,
        feed: &FeedSource,
        now: DateTime<Utc>,
    ) -> Result<Result<(), Failure>, DatabaseError> {
        let begun = Instant::now();
        let query = Query {
            category: None,
            articles_max: ARTICLES_PER_QUESTION_MAX,
            purpose: Purpose::Live,
        };
        let fetched = tokio::time::timeout(self.source_timeout, feed.fetch_whole(query, now)).await;
        let fetched = fetched.unwrap_or(Err(SourceError::Timeout(self.source_timeout)));
        let (outcome, batch, peace) = self.judge(feed.name(), fetched);
        if let Outcome::Failed(failure) = outcome {
            return Ok(Err(failure));
        }
        let answer = Answer {
            source: feed.name(),
            category: None,
            by_category: feed.answers_by_category(),
            outcome: outcome.as_str(),
            articles: &batch.articles,
            asked_at: now,
            stored_at: now + begun.elapsed(),
            ask_again_at: now + peace,
        };
        self.articles.store(&answer).await?;
        Ok(Ok(()))
    }

    /// Remembers which sources are enabled: answers that were made with others are out of date.
    pub async fn enable(&self, now: DateTime<Utc>) -> Result<(), DatabaseError> {
        let names: BTreeSet<&str> = self.sources.iter().map(|source| source.name()).collect();
        let since = self.articles.enable(&names, now).await?;
        let _ = self.enabled_at.set(since);
        Ok(())
    }

    /// When the sources of these reports, or which of them there are, last changed what is shown.
    pub fn changed_at(&self, reports: &[SourceReport]) -> Option<DateTime<Utc>> {
        let changes = reports.iter().filter_map(|report| report.changed_at);
        changes.chain(self.enabled_at.get().copied()).max()
    }

    /// Sees to it that something is stored for the question, and asks in any case when it is to be live.
    pub async fn refresh(
        self: &Arc<Self>,
        wanted: Wanted<'_>,
        now: DateTime<Utc>,
    ) -> Result<Vec<SourceReport>, DatabaseError> {
        let begun = Instant::now();
        // Of all enabled ones: each may have changed what is shown beside another's.
        let remembered = self.articles.asked(&self.names()).await?;
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
            let asked = find(&remembered, &question);
            let standing = asked.and_then(|asked| match wanted.live {
                true => self.just_answered(asked, now),
                false => self.standing(asked, now),
            });
            let answered_at = asked.filter(|_| wanted.live).and_then(answered_at);
            let known = changed_at(&remembered);
            async move {
                let (outcome, changed_at) = match standing {
                    Some(outcome) => (outcome, known),
                    None => {
                        let live = Purpose::Live;
                        let outcome = self.ask_once(source, question, live, begun, now).await?;
                        // Perhaps nothing has changed; it was not looked up again.
                        (outcome, Some(now + begun.elapsed()))
                    }
                };
                let is_asked_anew = standing.is_none() && !matches!(outcome, Outcome::Failed(_));
                let report =
                    SourceReport::new(source.as_ref(), outcome, standing.is_some(), changed_at);
                Ok(report.answered(answered_at.filter(|_| !is_asked_anew)))
            }
        });
        join_all(reports).await.into_iter().collect()
    }

    /// What is remembered of the question, while that still holds.
    fn standing(&self, asked: &Asked, now: DateTime<Utc>) -> Option<Outcome> {
        let outcome = Outcome::parse(&asked.outcome);
        if self.interval.is_some() {
            return Some(outcome);
        }
        let until = match outcome {
            Outcome::Failed(_) => asked.ask_again_at,
            // By today's setting, which may differ from the one that held when the source was asked.
            Outcome::Ok | Outcome::Empty => asked.asked_at + self.fresh_for,
        };
        is_within(asked, until, now).then_some(outcome)
    }

    /// The answer that came so short a time ago that nobody needs a newer one. A failure is none.
    fn just_answered(&self, asked: &Asked, now: DateTime<Utc>) -> Option<Outcome> {
        let until = answered_at(asked)? + self.live_interval_min;
        is_within(asked, until, now).then(|| Outcome::parse(&asked.outcome))
    }

    /// Asks, unless the same question is being asked, or was answered since this request began. Whoever joined the schedule, which
    /// was refused a request because it spreads them over the day, asks on their own account.
    async fn ask_once(
        self: &Arc<Self>,
        source: &Arc<dyn Source>,
        question: Question,
        purpose: Purpose,
        begun: Instant,
        now: DateTime<Utc>,
    ) -> Result<Outcome, DatabaseError> {
        let category = question.category;
        let ask = |now| {
            let (ingest, source) = (Arc::clone(self), Arc::clone(source));
            move || async move { ingest.ask(source.as_ref(), category, purpose, now).await }
        };
        let outcome = self.flights.join(question.clone(), begun, ask(now)).await?;
        if purpose == Purpose::Live && outcome == Outcome::Failed(Failure::QuotaSpent) {
            let now = now + begun.elapsed();
            return self.flights.join(question, Instant::now(), ask(now)).await;
        }
        Ok(outcome)
    }

    /// Asks one source and stores what came of it.
    async fn ask(
        &self,
        source: &dyn Source,
        category: Option<Category>,
        purpose: Purpose,
        now: DateTime<Utc>,
    ) -> Result<Outcome, DatabaseError> {
        let begun = Instant::now();
        let query = Query {
            category,
            articles_max: ARTICLES_PER_QUESTION_MAX,
            purpose,
        };
        let fetched =
            match tokio::time::timeout(self.source_timeout, source.fetch(query, now)).await {
                Ok(fetched) => fetched,
                Err(_) => Err(SourceError::Timeout(self.source_timeout)),
            };
        if let Some(wait) = fetched.as_ref().ok().and_then(|batch| batch.not_due) {
            return self.stand(source, category, wait, now).await;
        }
        let was_asked = fetched.as_ref().err().is_none_or(SourceError::was_asked);
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
        if !was_asked {
            // What an earlier answer said still holds.
            self.articles.remember_first(&answer).await?;
            return Ok(outcome);
        }
        let stored = self.articles.store(&answer).await;
        if stored.is_err() {
            source.unstored(now).await;
        }
        let changed = stored?;
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

    /// A source that was not asked, because it is not due or another's turn: what an earlier answer said stands. Where there was none,
    /// there is nothing that could.
    async fn stand(
        &self,
        source: &dyn Source,
        category: Option<Category>,
        wait: Duration,
        now: DateTime<Utc>,
    ) -> Result<Outcome, DatabaseError> {
        let remembered = self.articles.asked(&[source.name()]).await?;
        let remembered = remembered.iter().find(|asked| asked.category == category);
        let outcome = remembered.map(|asked| Outcome::parse(&asked.outcome));
        let outcome = outcome.filter(|outcome| !matches!(outcome, Outcome::Failed(_)));
        let peace = wait.min(TURN_MAX);
        let answer = |outcome: Outcome, peace| Answer {
            source: source.name(),
            category,
            by_category: source.answers_by_category(),
            outcome: outcome.as_str(),
            articles: &[],
            asked_at: now,
            stored_at: now,
            ask_again_at: now + peace,
        };
        let Some(outcome) = outcome else {
            let outcome = Outcome::Failed(Failure::QuotaSpent);
            let answer = answer(outcome, peace);
            self.articles.remember_first(&answer).await?;
            return Ok(outcome);
        };
        if wait > TURN_MAX {
            self.articles
                .store(&answer(outcome, self.fresh_for))
                .await?;
        }
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
                match error.was_asked() {
                    true => {
                        tracing::warn!(source = name, error = error.told_of(name), "source failed")
                    }
                    false => tracing::debug!(
                        source = name,
                        error = error.told_of(name),
                        "source not asked"
                    ),
                }
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

/// What is remembered of a question.
fn find<'a>(remembered: &'a [Asked], question: &Question) -> Option<&'a Asked> {
    remembered
        .iter()
        .find(|asked| asked.source == question.source && asked.category == question.category)
}

/// When the source answered, if it did.
fn answered_at(asked: &Asked) -> Option<DateTime<Utc>> {
    let outcome = Outcome::parse(&asked.outcome);
    matches!(outcome, Outcome::Ok | Outcome::Empty).then_some(asked.asked_at)
}

/// A time that lies far ahead is that of a clock that went wrong.
fn is_within(asked: &Asked, until: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    asked.asked_at <= now + CLOCK_SKEW_MAX && now < until
}

/// When an answer last changed what is shown: of any source, for a story may be shown with those of others that tell it too.
fn changed_at(remembered: &[Asked]) -> Option<DateTime<Utc>> {
    remembered.iter().map(|asked| asked.changed_at).max()
}
