//! Rounds that somebody asked for, and the keys under which they did: the same key gets the same answer, on every replica and after a
//! restart, until it expires.
//!
//! Those that wait for a round share it: asking again before it begins gives the one that waits. Who runs it is `schedule`'s matter.

use crate::database::{Database, DatabaseError, on_pool, stored_time, within};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use std::sync::Arc;
use tokio::sync::Notify;

/// How long a key and its answer are remembered.
const KEPT: TimeDelta = TimeDelta::hours(24);
/// New rounds that may be asked for in a minute, by all together: each asks every source.
pub const PER_MINUTE_MAX: usize = 6;
const MINUTE: TimeDelta = TimeDelta::minutes(1);

const BY_KEY: &str = "SELECT r.id, r.state, r.requested_at, r.started_at, r.finished_at, r.report FROM refresh_keys k \
    JOIN refreshes r ON r.id = k.refresh_id WHERE k.key = $1 AND k.expires_at > $2";
const WAITING: &str = "SELECT id, state, requested_at, started_at, finished_at, report FROM refreshes WHERE state = 'queued' \
    ORDER BY requested_at, id LIMIT 1";
const BY_ID: &str = "SELECT id, state, requested_at, started_at, finished_at, report FROM refreshes \
    WHERE id = $1 AND expires_at > $2";
const RECENT: &str =
    "SELECT requested_at FROM refreshes WHERE requested_at > $1 ORDER BY requested_at";
const ADD: &str =
    "INSERT INTO refreshes (id, state, requested_at, expires_at) VALUES ($1, 'queued', $2, $3)";
// An expired key is free again.
const ADD_KEY: &str = "INSERT INTO refresh_keys (key, refresh_id, expires_at) VALUES ($1, $2, $3) ON CONFLICT (key) DO UPDATE SET \
    refresh_id = excluded.refresh_id, expires_at = excluded.expires_at WHERE refresh_keys.expires_at <= $4";
// Whoever has the turn finds none that runs, unless the process that ran it died.
const BEGIN: &str =
    "UPDATE refreshes SET state = 'running', started_at = $1 WHERE state <> 'done' RETURNING id";
const FINISH_POSTGRES: &str = "UPDATE refreshes SET state = 'done', finished_at = $2, report = $3 \
    WHERE id IN (SELECT jsonb_array_elements_text(CAST($1 AS jsonb)))";
const FINISH_SQLITE: &str = "UPDATE refreshes SET state = 'done', finished_at = $2, report = $3 \
    WHERE id IN (SELECT value FROM json_each($1))";
const FORGET: &str = "DELETE FROM refreshes WHERE expires_at <= $1";
const FORGET_KEYS: &str = "DELETE FROM refresh_keys WHERE expires_at <= $1";
const ANY_WAITS: &str = "SELECT count(*) FROM refreshes WHERE state = 'queued'";

/// One round that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Refresh {
    pub id: String,
    /// "queued", "running" or "done".
    pub state: String,
    pub requested_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    /// What came of it, as JSON.
    pub report: Option<String>,
}

/// What came of asking for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requested {
    Accepted(Refresh),
    /// Too many were asked for of late; the next is welcome then.
    TooMany {
        welcome_at: DateTime<Utc>,
    },
}

/// The rounds that were asked for. Clones share the wake-up.
#[derive(Debug, Clone)]
pub struct Refreshes {
    database: Database,
    requested: Arc<Notify>,
}

impl Refreshes {
    pub fn new(database: &Database) -> Self {
        Self {
            database: database.clone(),
            requested: Arc::default(),
        }
    }

    /// Asks for a round: the one that was asked for under this key, else the one that waits, else a new one, named `id`.
    pub async fn request(
        &self,
        key: Option<&str>,
        id: &str,
        now: DateTime<Utc>,
    ) -> Result<Requested, DatabaseError> {
        loop {
            if let Some(known) = self.by_key(key, now).await? {
                return Ok(Requested::Accepted(known));
            }
            if let Some(requested) = self.add(key, id, now).await? {
                self.requested.notify_one();
                return Ok(requested);
            }
            // Somebody else has just used the key.
        }
    }

    async fn by_key(
        &self,
        key: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Option<Refresh>, DatabaseError> {
        let Some(key) = key else { return Ok(None) };
        within(async {
            Ok(on_pool!(self.database, pool => sqlx::query_as(BY_KEY).bind(key).bind(stored_time(now)).fetch_optional(pool).await)?)
        })
        .await
    }

    /// `None` when the key was taken meanwhile.
    async fn add(
        &self,
        key: Option<&str>,
        id: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<Requested>, DatabaseError> {
        let expires_at = stored_time(now + KEPT);
        let now = stored_time(now);
        within(async { on_pool!(self.database, pool => {
            let mut tx = pool.begin_with(self.database.begin_write()).await?;
            let waiting: Option<Refresh> = sqlx::query_as(WAITING).fetch_optional(&mut *tx).await?;
            let refresh = match waiting {
                Some(waiting) => waiting,
                None => {
                    let recent: Vec<DateTime<Utc>> = sqlx::query_scalar(RECENT).bind(now - MINUTE).fetch_all(&mut *tx).await?;
                    if let Some(first) = recent.iter().rev().nth(PER_MINUTE_MAX - 1) {
                        return Ok(Some(Requested::TooMany { welcome_at: *first + MINUTE }));
                    }
                    sqlx::query(ADD).bind(id).bind(now).bind(expires_at).execute(&mut *tx).await?;
                    Refresh::queued(id, now)
                }
            };
            if let Some(key) = key {
                let added = sqlx::query(ADD_KEY).bind(key).bind(&refresh.id).bind(expires_at).bind(now).execute(&mut *tx).await?;
                if added.rows_affected() == 0 {
                    return Ok(None);
                }
            }
            tx.commit().await?;
            Ok(Some(Requested::Accepted(refresh)))
        })})
        .await
    }

    /// How one stands.
    pub async fn by_id(
        &self,
        id: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<Refresh>, DatabaseError> {
        within(async {
            Ok(on_pool!(self.database, pool => sqlx::query_as(BY_ID).bind(id).bind(stored_time(now)).fetch_optional(pool).await)?)
        })
        .await
    }

    /// Waits until one is asked for in this process.
    pub async fn requested(&self) {
        self.requested.notified().await;
    }

    /// Whether one waits for its round.
    pub async fn any_waits(&self) -> Result<bool, DatabaseError> {
        let waiting: i64 = within(async {
            Ok(on_pool!(self.database, pool => sqlx::query_scalar(ANY_WAITS).fetch_one(pool).await)?)
        })
        .await?;
        Ok(waiting > 0)
    }

    /// Begins all that wait, and those whose process died; only whoever has the turn may. What is old is forgotten.
    pub async fn begin(&self, now: DateTime<Utc>) -> Result<Vec<String>, DatabaseError> {
        let now = stored_time(now);
        within(async {
            on_pool!(self.database, pool => {
                sqlx::query(FORGET_KEYS).bind(now).execute(pool).await?;
                sqlx::query(FORGET).bind(now).execute(pool).await?;
                Ok(sqlx::query_scalar(BEGIN).bind(now).fetch_all(pool).await?)
            })
        })
        .await
    }

    /// Notes what came of them.
    pub async fn finish(
        &self,
        ids: &[String],
        report: &impl Serialize,
        now: DateTime<Utc>,
    ) -> Result<(), DatabaseError> {
        let ids = crate::database::json(&ids)?;
        let report = crate::database::json(report)?;
        let now = stored_time(now);
        within(async {
            match self.database.pool() {
                crate::database::Pool::Postgres(pool) => {
                    let finish = sqlx::query(FINISH_POSTGRES).bind(&ids).bind(now);
                    finish.bind(&report).execute(pool).await.map(drop)?;
                }
                crate::database::Pool::Sqlite(pool) => {
                    let finish = sqlx::query(FINISH_SQLITE).bind(&ids).bind(now);
                    finish.bind(&report).execute(pool).await.map(drop)?;
                }
            }
            Ok(())
        })
        .await
    }
}

impl Refresh {
    fn queued(id: &str, now: DateTime<Utc>) -> Self {
        Self {
            id: id.to_owned(),
            state: "queued".to_owned(),
            requested_at: now,
            started_at: None,
            finished_at: None,
            report: None,
        }
    }
}
