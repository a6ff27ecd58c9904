//! A round of the feeds that users added: each whose time has come is asked, a few at a time.
//!
//! What comes of each is the users' own affair: the round tells only how many were asked, and how many of them failed.

use super::Ingest;
use super::round::{Scope, due};
use crate::articles::Asked;
use crate::database::DatabaseError;
use crate::source::Source;
use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

/// Feeds that are asked at the same time.
const AT_ONCE_MAX: usize = 8;

/// What such a round did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AddedRound {
    pub asked: usize,
    pub failed: usize,
}

impl Ingest {
    /// One round of what users added. Without a schedule for everybody's news, a feed is asked when its answer is no longer fresh:
    /// no request asks it.
    pub async fn tick_added(
        self: &Arc<Self>,
        now: DateTime<Utc>,
    ) -> Result<AddedRound, DatabaseError> {
        let begun = Instant::now();
        let Some(subscriptions) = self.subscriptions.get() else {
            return Ok(AddedRound::default());
        };
        let mut sources = subscriptions.sources().await?;
        let names: Vec<&str> = sources.iter().map(|source| source.name()).collect();
        let mut remembered: HashMap<String, Vec<Asked>> = HashMap::new();
        for asked in self.articles.asked(&names).await? {
            let of_source = remembered.entry(asked.source.clone()).or_default();
            of_source.push(asked);
        }
        // The longest unasked first: a round that is cut short leaves out nobody for ever.
        sources.sort_by_cached_key(|source| {
            let asked = remembered.get(source.name()).map(Vec::as_slice);
            asked
                .unwrap_or_default()
                .iter()
                .map(|asked| asked.asked_at)
                .max()
        });
        let rounds = sources.iter().map(|source| {
            let remembered = remembered.get(source.name()).map(Vec::as_slice);
            self.added(source, remembered.unwrap_or_default(), begun, now)
        });
        let mut rounds = stream::iter(rounds.collect::<Vec<_>>()).buffer_unordered(AT_ONCE_MAX);
        let mut sum = AddedRound::default();
        while let Some(one) = rounds.next().await {
            sum.asked += one.asked;
            sum.failed += one.failed;
        }
        Ok(sum)
    }

    async fn added(
        self: &Arc<Self>,
        source: &Arc<dyn Source>,
        remembered: &[Asked],
        begun: Instant,
        now: DateTime<Utc>,
    ) -> AddedRound {
        let interval = self.interval.unwrap_or(self.fresh_for);
        let questions = due(source.as_ref(), remembered, interval, now);
        let asked = self
            .ask_in_turn(source, questions, Scope::Due, begun, now)
            .await;
        let failed = asked.iter().filter(|asking| asking.is_failure()).count();
        AddedRound {
            asked: asked.len(),
            failed,
        }
    }
}
