//! When the sources are asked: by schedule with jitter, and at once when somebody asks for a round; one replica at a time.
//!
//! Which questions are due is `ingest`'s matter, and read from the database: a replica that takes its turn after another finds
//! nothing left to do. So rounds may come often; each question is asked about once in the interval.
//!
//! What users added has a schedule of its own (`added`), which keeps nobody waiting.

mod added;

pub use added::AddedSchedule;

use crate::database::{Database, DatabaseError};
use crate::ingest::{Ingest, Scope};
use crate::refreshes::Refreshes;
use crate::turn::{Turn, Work};
use chrono::{DateTime, Utc};
use std::sync::Arc;
use std::time::Duration;

/// Rounds in an interval: a source that failed, or whose turn had not quite come, does not wait for a whole one.
const ROUNDS_PER_INTERVAL: u32 = 10;
/// Longest time between two rounds, also without a schedule: another replica may have died with a round that was asked for.
const BETWEEN_ROUNDS_MAX: Duration = Duration::from_secs(30);
/// How much sooner or later than on average a round may come.
const JITTER: f64 = 0.2;
/// While another replica has the turn and somebody waits for a round.
const TURN_RETRY: Duration = Duration::from_millis(200);
/// After the database's failure.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// Asks when it is time.
#[derive(Debug)]
pub struct Schedule {
    database: Database,
    ingest: Arc<Ingest>,
    refreshes: Refreshes,
    interval: Option<Duration>,
}

/// What came of trying a round.
#[derive(Debug, PartialEq, Eq)]
pub enum Tried {
    /// What was due has been asked.
    Done,
    /// Another replica has the turn.
    Busy,
}

impl Schedule {
    pub fn new(
        database: &Database,
        ingest: &Arc<Ingest>,
        refreshes: &Refreshes,
        interval: Option<Duration>,
    ) -> Self {
        Self {
            database: database.clone(),
            ingest: Arc::clone(ingest),
            refreshes: refreshes.clone(),
            interval,
        }
    }

    /// Runs rounds for ever, the first one at once.
    pub async fn run(self, now: impl Fn() -> DateTime<Utc>) {
        let mut failing = false;
        let mut enabled = false;
        loop {
            let tried = async {
                if !enabled {
                    self.ingest.enable(now()).await?;
                    enabled = true;
                }
                match self.round(&now).await? {
                    Tried::Busy if self.refreshes.any_waits().await? => Ok(TURN_RETRY),
                    Tried::Busy | Tried::Done => Ok(jittered(between_rounds(self.interval))),
                }
            };
            let tried: Result<Duration, DatabaseError> = tried.await;
            let pause = match tried {
                Ok(pause) => {
                    failing = false;
                    pause
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "rounds wait for the database");
                    }
                    FAILURE_PAUSE
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.refreshes.requested(), if !failing => {}
            }
        }
    }

    /// Asks what is due and what somebody asked for, if no other replica is at it.
    pub async fn round(&self, now: &impl Fn() -> DateTime<Utc>) -> Result<Tried, DatabaseError> {
        let Some(mut turn) = Turn::take(&self.database, Work::Round).await? else {
            return Ok(Tried::Busy);
        };
        let begun = now();
        let requested = self.refreshes.begin(begun).await?;
        let scope = match requested.is_empty() {
            true => Scope::Due,
            false => Scope::All,
        };
        let round = tokio::select! {
            round = self.ingest.tick(scope, begun) => round?,
            // What is under way is stored; the rest is for whoever has the turn now.
            error = turn.lost() => return Err(error),
        };
        if !requested.is_empty() {
            self.refreshes.finish(&requested, &round, now()).await?;
        }
        if !round.asked.is_empty() {
            tracing::info!(
                asked = round.asked.len(),
                failed = round.failed(),
                requested = requested.len(),
                ms = (now() - begun).num_milliseconds(),
                "round"
            );
        }
        turn.end().await;
        Ok(Tried::Done)
    }
}

fn between_rounds(interval: Option<Duration>) -> Duration {
    let share = interval.map(|interval| interval / ROUNDS_PER_INTERVAL);
    share.unwrap_or(BETWEEN_ROUNDS_MAX).min(BETWEEN_ROUNDS_MAX)
}

/// Replicas that were started together need not come together.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(1.0 - JITTER + 2.0 * JITTER * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_its_bounds() {
        let pauses: Vec<Duration> = (0..1000)
            .map(|_| jittered(Duration::from_secs(10)))
            .collect();
        let (least, most) = (pauses.iter().min().unwrap(), pauses.iter().max().unwrap());
        assert!(*least >= Duration::from_secs(8) && *most <= Duration::from_secs(12));
        assert!(
            *most - *least > Duration::from_secs(3),
            "{least:?} {most:?}"
        );
    }
}
