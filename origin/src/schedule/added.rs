//! When users' feeds are asked, and what nobody wants any more is cleared away: by a loop and a turn of their own, so that feeds that
//! are many, slow or silent keep nobody's news waiting but their own users'. Nobody can ask for such a round.

use super::{FAILURE_PAUSE, between_rounds, jittered};
use crate::database::{Database, DatabaseError};
use crate::ingest::Ingest;
use crate::subscriptions::Subscriptions;
use crate::turn::{Turn, Work};
use chrono::{DateTime, Utc};
use std::sync::Arc;
use std::time::Duration;

/// Asks what users added when it is time.
#[derive(Debug)]
pub struct AddedSchedule {
    database: Database,
    ingest: Arc<Ingest>,
    subscriptions: Arc<Subscriptions>,
    interval: Option<Duration>,
}

impl AddedSchedule {
    pub fn new(
        database: &Database,
        ingest: &Arc<Ingest>,
        subscriptions: &Arc<Subscriptions>,
        interval: Option<Duration>,
    ) -> Self {
        Self {
            database: database.clone(),
            ingest: Arc::clone(ingest),
            subscriptions: Arc::clone(subscriptions),
            interval,
        }
    }

    /// Runs rounds for ever, the first one at once.
    pub async fn run(self, now: impl Fn() -> DateTime<Utc>) {
        let mut failing = false;
        loop {
            let pause = match self.round(&now).await {
                Ok(()) => {
                    failing = false;
                    jittered(between_rounds(self.interval))
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "rounds of users' feeds wait for the database");
                    }
                    FAILURE_PAUSE
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn round(&self, now: &impl Fn() -> DateTime<Utc>) -> Result<(), DatabaseError> {
        let Some(turn) = Turn::take(&self.database, Work::Added).await? else {
            return Ok(());
        };
        let begun = now();
        let round = self.ingest.tick_added(begun).await?;
        // Behind the feeds, which must not wait for it; what can't be cleared away now is left over for the next round.
        let cleared = self
            .subscriptions
            .clear(begun)
            .await
            .unwrap_or_else(|error| {
                tracing::warn!(%error, "what nobody reads any more is cleared away later");
                0
            });
        if cleared > 0 || round.asked > 0 {
            tracing::info!(
                asked = round.asked,
                failed = round.failed,
                cleared,
                ms = (now() - begun).num_milliseconds(),
                "round of users' feeds"
            );
        }
        turn.end().await;
        Ok(())
    }
}
