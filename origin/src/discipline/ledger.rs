//! What is remembered of requests to sources: how many were counted, who asked for patience, how each source fared, and what the
//! last answer of a feed was. In the database, so that it outlives restarts and holds for all replicas together.
//!
//! Must stay true: a request is counted, and the count committed, before it is made; who dies in between has spent one for
//! nothing, and nobody ever makes one too many. The source's row is locked while its requests are counted.

use super::quota::{self, Counted, Purpose, Reason, Refusal, Window};
use crate::database::{Database, DatabaseError, on_pool, stored_time, within};
use crate::personal::not_personal;
use chrono::{DateTime, TimeDelta, Utc};

/// Requests are remembered at least this long, so that a window that is lengthened finds them.
const MEMORY_MIN: TimeDelta = TimeDelta::hours(25);
/// Two answers whose limits end this close together speak of the same stretch.
const SAME_RESET: TimeDelta = TimeDelta::seconds(2);

/// Where requests are counted.
#[derive(Debug, Clone)]
pub struct Ledger {
    /// `None` counts nothing, and so lets nothing through.
    database: Option<Database>,
    /// Whether what is asked is counted and remembered.
    remembers: bool,
}

/// What a provider says is left, and until when that holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Allowance {
    pub remaining: f64,
    pub resets_at: DateTime<Utc>,
}

/// How a source fared, as far as anybody remembers.
#[derive(Debug, Clone, PartialEq, Default, sqlx::FromRow)]
pub struct Record {
    pub source: String,
    pub last_success_at: Option<DateTime<Utc>>,
    pub last_failure_at: Option<DateTime<Utc>>,
    pub last_failure_code: Option<String>,
    pub last_failure: Option<String>,
    pub paused_until: Option<DateTime<Utc>>,
    pub remaining: Option<f64>,
    pub resets_at: Option<DateTime<Utc>>,
}

impl Record {
    /// Until when the source is paused by its own word.
    pub fn paused(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let pause = Pause {
            paused_until: self.paused_until,
            remaining: self.remaining,
            resets_at: self.resets_at,
        };
        paused(&pause, now).map(|refusal| refusal.until)
    }
}

/// The validators of a feed's last answer, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Default, sqlx::FromRow)]
pub struct Validators {
    pub etag: Option<Vec<u8>>,
    pub last_modified: Option<Vec<u8>>,
}

/// What came of wanting to poll a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// It is the asker's turn.
    Taken(Validators),
    /// It is not due, or another's turn, until then.
    Refused(DateTime<Utc>),
}

#[derive(sqlx::FromRow)]
struct Pause {
    paused_until: Option<DateTime<Utc>>,
    remaining: Option<f64>,
    resets_at: Option<DateTime<Utc>>,
}

/// Takes the row's lock on PostgreSQL; on SQLite the transaction holds the one there is.
const LOCK: &str = "INSERT INTO source_records (source) VALUES ($1) ON CONFLICT (source) DO UPDATE SET source = excluded.source \
    RETURNING paused_until, remaining, resets_at";
const COUNTED: &str =
    "SELECT asked_at, is_live FROM source_requests WHERE source = $1 ORDER BY asked_at";
const COUNT: &str = "INSERT INTO source_requests (source, asked_at, is_live) VALUES ($1, $2, $3)";
const FORGET: &str = "DELETE FROM source_requests WHERE source = $1 AND asked_at < $2";
const SPEND: &str = "UPDATE source_records SET remaining = remaining - 1 WHERE source = $1";
const PAUSE: &str = "INSERT INTO source_records (source, paused_until) VALUES ($1, $2) \
    ON CONFLICT (source) DO UPDATE SET paused_until = excluded.paused_until \
    WHERE source_records.paused_until IS NULL OR source_records.paused_until < excluded.paused_until";
const ALLOW: &str = "INSERT INTO source_records (source, remaining, resets_at) VALUES ($1, $2, $3) \
    ON CONFLICT (source) DO UPDATE SET remaining = excluded.remaining, resets_at = excluded.resets_at";
const SUCCEEDED: &str = "INSERT INTO source_records (source, last_success_at) VALUES ($1, $2) \
    ON CONFLICT (source) DO UPDATE SET last_success_at = excluded.last_success_at";
const FAILED: &str = "INSERT INTO source_records (source, last_failure_at, last_failure_code, last_failure) VALUES ($1, $2, $3, $4) \
    ON CONFLICT (source) DO UPDATE SET last_failure_at = excluded.last_failure_at, \
    last_failure_code = excluded.last_failure_code, last_failure = excluded.last_failure";
const RECORDS: &str = concat!(
    "SELECT source, last_success_at, last_failure_at, last_failure_code, last_failure, paused_until, remaining, resets_at ",
    "FROM source_records WHERE ",
    not_personal!("source")
);
/// Gives the validators to whoever comes first after the time, and nothing to the others.
const CLAIM: &str = "INSERT INTO feed_polls (url_hash, polled_at, poll_again_at) VALUES ($1, $2, $3) \
    ON CONFLICT (url_hash) DO UPDATE SET polled_at = excluded.polled_at, poll_again_at = excluded.poll_again_at \
    WHERE feed_polls.poll_again_at <= excluded.polled_at RETURNING etag, last_modified";
const NEXT_POLL: &str = "SELECT poll_again_at FROM feed_polls WHERE url_hash = $1";
const POLLED: &str =
    "UPDATE feed_polls SET etag = $2, last_modified = $3, poll_again_at = $4 WHERE url_hash = $1";
const POLL_AGAIN: &str = "UPDATE feed_polls SET poll_again_at = $2 WHERE url_hash = $1";

impl Ledger {
    pub fn new(database: &Database) -> Self {
        Self {
            database: Some(database.clone()),
            remembers: true,
        }
    }

    /// One that lets nothing through: for naming sources without asking them.
    pub fn closed() -> Self {
        Self {
            database: None,
            remembers: true,
        }
    }

    /// One that lets everything through and remembers nothing, nor knows what others remember: for trying what has no quota.
    pub fn forgetful() -> Self {
        Self {
            database: None,
            remembers: false,
        }
    }

    fn database(&self) -> Result<&Database, DatabaseError> {
        self.database
            .as_ref()
            .ok_or_else(|| DatabaseError::Unavailable("there is none to count in".to_owned()))
    }

    /// Counts a request that is about to be made, or says why it must not be.
    pub async fn take(
        &self,
        source: &str,
        windows: &[Window],
        purpose: Purpose,
        now: DateTime<Utc>,
    ) -> Result<Result<(), Refusal>, DatabaseError> {
        if !self.remembers {
            return Ok(Ok(()));
        }
        let database = self.database()?;
        let memory = quota::memory(windows);
        let forgotten = now - memory.unwrap_or_default().max(MEMORY_MIN);
        within(async { on_pool!(database, pool => {
            let mut tx = pool.begin_with(database.begin_write()).await?;
            let pause: Pause = sqlx::query_as(LOCK).bind(source).fetch_one(&mut *tx).await?;
            if let Some(refusal) = paused(&pause, now) {
                return Ok(Err(refusal));
            }
            if memory.is_some() {
                let rows: Vec<(DateTime<Utc>, bool)> = sqlx::query_as(COUNTED).bind(source).fetch_all(&mut *tx).await?;
                let counted: Vec<Counted> = rows.into_iter().map(counted).collect();
                if let Err(refusal) = quota::decide(windows, &counted, purpose, now) {
                    return Ok(Err(refusal));
                }
                sqlx::query(COUNT).bind(source).bind(stored_time(now)).bind(purpose == Purpose::Live).execute(&mut *tx).await?;
                sqlx::query(FORGET).bind(source).bind(stored_time(forgotten)).execute(&mut *tx).await?;
            }
            if pause.resets_at.is_some_and(|resets_at| now < resets_at) {
                sqlx::query(SPEND).bind(source).execute(&mut *tx).await?;
            }
            tx.commit().await?;
            Ok(Ok(()))
        })})
        .await
    }

    /// Remembers that a source is not to be asked before then. An earlier time never shortens a later one.
    pub async fn pause(&self, source: &str, until: DateTime<Utc>) -> Result<(), DatabaseError> {
        if !self.remembers {
            return Ok(());
        }
        let database = self.database()?;
        within(async {
            on_pool!(database, pool => sqlx::query(PAUSE).bind(source).bind(stored_time(until)).execute(pool).await.map(drop))?;
            Ok(())
        })
        .await
    }

    /// Remembers what a provider says is left. Of two answers about the same stretch the one that leaves less holds: answers
    /// overtake one another, and requests under way are counted here already.
    pub async fn allow(&self, source: &str, allowance: Allowance) -> Result<(), DatabaseError> {
        if !self.remembers {
            return Ok(());
        }
        let database = self.database()?;
        within(async { on_pool!(database, pool => {
            let mut tx = pool.begin_with(database.begin_write()).await?;
            let known: Pause = sqlx::query_as(LOCK).bind(source).fetch_one(&mut *tx).await?;
            let remaining = merged(&known, allowance);
            sqlx::query(ALLOW).bind(source).bind(remaining).bind(stored_time(allowance.resets_at)).execute(&mut *tx).await?;
            tx.commit().await?;
            Ok(())
        })})
        .await
    }

    pub async fn succeeded(&self, source: &str, now: DateTime<Utc>) -> Result<(), DatabaseError> {
        if !self.remembers {
            return Ok(());
        }
        let database = self.database()?;
        within(async {
            on_pool!(database, pool => sqlx::query(SUCCEEDED).bind(source).bind(stored_time(now)).execute(pool).await.map(drop))?;
            Ok(())
        })
        .await
    }

    /// `text` is for operators and holds no secret.
    pub async fn failed(
        &self,
        source: &str,
        code: &str,
        text: &str,
        now: DateTime<Utc>,
    ) -> Result<(), DatabaseError> {
        if !self.remembers {
            return Ok(());
        }
        let database = self.database()?;
        let text = crate::database::without_nul(text);
        within(async {
            on_pool!(database, pool => sqlx::query(FAILED).bind(source).bind(stored_time(now)).bind(code).bind(&*text)
                .execute(pool).await.map(drop))?;
            Ok(())
        })
        .await
    }

    /// How all sources fared that are for everybody.
    pub async fn records(&self) -> Result<Vec<Record>, DatabaseError> {
        let database = self.database()?;
        within(async {
            Ok(on_pool!(database, pool => sqlx::query_as(RECORDS).fetch_all(pool).await)?)
        })
        .await
    }

    /// The counted requests of a source, in the order of their times.
    pub async fn counted(&self, source: &str) -> Result<Vec<Counted>, DatabaseError> {
        let database = self.database()?;
        let rows: Vec<(DateTime<Utc>, bool)> = within(async {
            Ok(
                on_pool!(database, pool => sqlx::query_as(COUNTED).bind(source).fetch_all(pool).await)?,
            )
        })
        .await?;
        Ok(rows.into_iter().map(counted).collect())
    }

    /// Takes the turn to poll a feed, with the validators of its last answer, unless it is not due. Whoever takes the turn and says
    /// nothing more loses it at `until`.
    pub async fn claim_poll(
        &self,
        url_hash: &str,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Claim, DatabaseError> {
        let database = self.database()?;
        within(async { on_pool!(database, pool => {
            let taken: Option<Validators> = sqlx::query_as(CLAIM).bind(url_hash).bind(stored_time(now)).bind(stored_time(until))
                .fetch_optional(pool).await?;
            if let Some(validators) = taken {
                return Ok(Claim::Taken(validators));
            }
            let next: Option<DateTime<Utc>> = sqlx::query_scalar(NEXT_POLL).bind(url_hash).fetch_optional(pool).await?;
            // Given back, or forgotten, just now.
            Ok(Claim::Refused(next.unwrap_or(now)))
        })})
        .await
    }

    /// Remembers what the next poll asks with, once everything that came is stored.
    pub async fn polled(
        &self,
        url_hash: &str,
        validators: &Validators,
        again_at: DateTime<Utc>,
    ) -> Result<(), DatabaseError> {
        let database = self.database()?;
        within(async {
            on_pool!(database, pool => sqlx::query(POLLED).bind(url_hash).bind(&validators.etag).bind(&validators.last_modified)
                .bind(stored_time(again_at)).execute(pool).await.map(drop))?;
            Ok(())
        })
        .await
    }

    /// Puts the next poll to that time; the validators stay.
    pub async fn poll_again_at(
        &self,
        url_hash: &str,
        again_at: DateTime<Utc>,
    ) -> Result<(), DatabaseError> {
        let database = self.database()?;
        within(async {
            on_pool!(database, pool => sqlx::query(POLL_AGAIN).bind(url_hash).bind(stored_time(again_at)).execute(pool).await.map(drop))?;
            Ok(())
        })
        .await
    }
}

fn counted((at, is_live): (DateTime<Utc>, bool)) -> Counted {
    let purpose = if is_live {
        Purpose::Live
    } else {
        Purpose::Scheduled
    };
    Counted { at, purpose }
}

fn paused(pause: &Pause, now: DateTime<Utc>) -> Option<Refusal> {
    let asked = pause.paused_until.filter(|until| now < *until);
    let used_up = pause
        .resets_at
        .filter(|resets_at| now < *resets_at && pause.remaining.is_some_and(|left| left < 1.0));
    asked.max(used_up).map(|until| Refusal {
        reason: Reason::Paused,
        until,
    })
}

fn merged(known: &Pause, allowance: Allowance) -> f64 {
    let same_stretch = known
        .resets_at
        .is_some_and(|resets_at| (resets_at - allowance.resets_at).abs() <= SAME_RESET);
    match known.remaining.filter(|_| same_stretch) {
        Some(remaining) => remaining.min(allowance.remaining),
        None => allowance.remaining,
    }
}
