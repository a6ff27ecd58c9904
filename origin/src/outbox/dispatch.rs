//! Delivers what is queued: oldest first, at least once, until the cache has confirmed it. A row goes only after that.
//!
//! Replicas share the work. On PostgreSQL a row that is being delivered is locked, and others skip it; the lock ends with the
//! connection, so a replica that dies in the middle leaves its rows to the others at once. On SQLite nobody waits for a lock while
//! the cache is asked: two processes may purge the same thing, which does no harm.
//!
//! Each replica is woken by its own commits and looks for what others left now and then. The table stays bounded: when the cache
//! is away for long, single tags give way to one purge of everything.

use super::{EVERYTHING, Outbox};
use crate::database::{Database, DatabaseError, Pool, json, stored_time, within};
use crate::tag::Tag;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::{Connection, PgConnection};
use std::collections::BTreeSet;
use std::time::Duration;

/// How often others' rows are looked for.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Between two tries: doubled from the first to the last, so that the cache learns all within a second of its return.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LAST: Duration = Duration::from_millis(800);
/// Rows of one delivery. When as many can't be delivered, they become one.
const ROWS_MAX: usize = 500;
/// More tags than these are said shorter: everything.
const TAGS_MAX: usize = 2000;
/// After this long a replica that was stopped in the middle loses its lock.
const IDLE_IN_TRANSACTION_MS: &str = "30000";

const TAKE: &str = "SELECT id, tags, queued_at FROM outbox ORDER BY id LIMIT $1";
const TAKE_LOCKED: &str =
    "SELECT id, tags, queued_at FROM outbox ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED";
const DROP_POSTGRES: &str = "DELETE FROM outbox WHERE id IN (SELECT CAST(jsonb_array_elements_text(CAST($1 AS jsonb)) AS bigint))";
const DROP_SQLITE: &str = "DELETE FROM outbox WHERE id IN (SELECT value FROM json_each($1))";

/// What a cache is told to forget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purge {
    Tags(BTreeSet<Tag>),
    Everything,
}

/// Why a cache did not confirm. The text is for the log, and holds no token.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct PurgeFault(pub String);

/// A cache that can be told.
#[async_trait]
pub trait Cache: Send + Sync {
    /// Returns when nothing of what is named will be served any more.
    async fn purge(&self, purge: &Purge) -> Result<(), PurgeFault>;
}

/// Takes rows to the cache.
#[derive(Debug)]
pub struct Dispatcher<C> {
    outbox: Outbox,
    cache: C,
    /// Of its own, so that a cache that is slow to answer holds none of those that requests need.
    connection: Option<PgConnection>,
}

/// What was delivered.
#[derive(Debug, PartialEq, Eq)]
struct Delivered {
    rows: usize,
    purge: Purge,
    oldest: DateTime<Utc>,
}

#[derive(Debug, thiserror::Error)]
enum Undelivered {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("the cache did not confirm {rows} purges: {fault}")]
    Cache { rows: usize, fault: PurgeFault },
}

#[derive(Debug, sqlx::FromRow)]
struct Row {
    id: i64,
    tags: String,
    queued_at: DateTime<Utc>,
}

impl<C: Cache> Dispatcher<C> {
    pub fn new(outbox: &Outbox, cache: C) -> Self {
        Self {
            outbox: outbox.clone(),
            cache,
            connection: None,
        }
    }

    /// Delivers for ever. `now` tells the time, for the log alone.
    pub async fn run(mut self, now: impl Fn() -> DateTime<Utc>) {
        let mut failures: u32 = 0;
        loop {
            let wait = match self.deliver().await {
                Ok(Some(delivered)) => {
                    delivered.log(now(), failures);
                    failures = 0;
                    continue;
                }
                Ok(None) => {
                    failures = 0;
                    LOOK_INTERVAL
                }
                Err(fault) => {
                    failures = failures.saturating_add(1);
                    // Once at first, then about once a minute.
                    if failures == 1 || failures.is_multiple_of(75) {
                        tracing::warn!(%fault, failures, "purges wait");
                    }
                    self.connection = None;
                    retry_after(failures)
                }
            };
            if failures > 0 {
                tokio::time::sleep(wait).await;
                continue;
            }
            tokio::select! {
                () = self.outbox.queued.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Takes the oldest rows to the cache; `None` when there are none.
    async fn deliver(&mut self) -> Result<Option<Delivered>, Undelivered> {
        match self.outbox.database.pool().clone() {
            Pool::Postgres(pool) => {
                let connection = match self.connection.take() {
                    Some(connection) => connection,
                    None => {
                        let options = pool.connect_options().as_ref().clone().options([(
                            "idle_in_transaction_session_timeout",
                            IDLE_IN_TRANSACTION_MS,
                        )]);
                        within(async { Ok(PgConnection::connect_with(&options).await?) }).await?
                    }
                };
                // A connection on which something failed is not used again.
                let connection = self.connection.insert(connection);
                deliver_locked(connection, &self.cache).await
            }
            Pool::Sqlite(_) => deliver_unlocked(&self.outbox.database, &self.cache).await,
        }
    }
}

/// On PostgreSQL: the rows are locked while the cache is told.
async fn deliver_locked(
    connection: &mut PgConnection,
    cache: &impl Cache,
) -> Result<Option<Delivered>, Undelivered> {
    let (mut tx, rows) = within(async {
        let mut tx = connection.begin().await?;
        let rows: Vec<Row> = sqlx::query_as(TAKE_LOCKED)
            .bind(rows_max())
            .fetch_all(&mut *tx)
            .await?;
        Ok((tx, rows))
    })
    .await?;
    let Some(delivered) = merged(&rows) else {
        within(async { Ok(tx.rollback().await?) }).await?;
        return Ok(None);
    };
    let told = cache.purge(&delivered.purge).await;
    let done = settle(&rows, &told)?;
    if done.is_empty() {
        within(async { Ok(tx.rollback().await?) }).await?;
    } else {
        within(async {
            sqlx::query(DROP_POSTGRES)
                .bind(json(&done)?)
                .execute(&mut *tx)
                .await?;
            if told.is_err() {
                sqlx::query(super::QUEUE)
                    .bind(json(&[EVERYTHING])?)
                    .bind(stored_time(delivered.oldest))
                    .execute(&mut *tx)
                    .await?;
            }
            Ok(tx.commit().await?)
        })
        .await?;
    }
    outcome(told, delivered)
}

/// On SQLite: no transaction spans the telling.
async fn deliver_unlocked(
    database: &Database,
    cache: &impl Cache,
) -> Result<Option<Delivered>, Undelivered> {
    let Pool::Sqlite(pool) = database.pool() else {
        return Ok(None);
    };
    let rows: Vec<Row> = within(async {
        Ok(sqlx::query_as(TAKE)
            .bind(rows_max())
            .fetch_all(pool)
            .await?)
    })
    .await?;
    let Some(delivered) = merged(&rows) else {
        return Ok(None);
    };
    let told = cache.purge(&delivered.purge).await;
    let done = settle(&rows, &told)?;
    if !done.is_empty() {
        within(async {
            let mut tx = pool.begin_with(database.begin_write()).await?;
            sqlx::query(DROP_SQLITE)
                .bind(json(&done)?)
                .execute(&mut *tx)
                .await?;
            if told.is_err() {
                sqlx::query(super::QUEUE)
                    .bind(json(&[EVERYTHING])?)
                    .bind(stored_time(delivered.oldest))
                    .execute(&mut *tx)
                    .await?;
            }
            Ok(tx.commit().await?)
        })
        .await?;
    }
    outcome(told, delivered)
}

fn outcome(
    told: Result<(), PurgeFault>,
    delivered: Delivered,
) -> Result<Option<Delivered>, Undelivered> {
    match told {
        Ok(()) => Ok(Some(delivered)),
        Err(fault) => Err(Undelivered::Cache {
            rows: delivered.rows,
            fault,
        }),
    }
}

/// Which rows go: all that were confirmed, and after a failure those that are so many that one for everything takes their place.
fn settle(rows: &[Row], told: &Result<(), PurgeFault>) -> Result<Vec<i64>, DatabaseError> {
    let all = || rows.iter().map(|row| row.id).collect();
    Ok(match told {
        Ok(()) => all(),
        Err(_) if rows.len() >= ROWS_MAX => all(),
        Err(_) => Vec::new(),
    })
}

/// One purge of many rows.
fn merged(rows: &[Row]) -> Option<Delivered> {
    let oldest = rows.iter().map(|row| row.queued_at).min()?;
    let mut tags = BTreeSet::new();
    let mut everything = false;
    for row in rows {
        match serde_json::from_str::<BTreeSet<Tag>>(&row.tags) {
            Ok(row) => tags.extend(row),
            // From a version that writes rows otherwise: rather too much than too little.
            Err(_) => everything = true,
        }
    }
    everything |= tags.len() > TAGS_MAX || tags.iter().any(|tag| tag.as_str() == EVERYTHING);
    Some(Delivered {
        rows: rows.len(),
        purge: match everything {
            true => Purge::Everything,
            false => Purge::Tags(tags),
        },
        oldest,
    })
}

impl Delivered {
    fn log(&self, now: DateTime<Utc>, failures: u32) {
        let tags = match &self.purge {
            Purge::Tags(tags) => tags.len(),
            Purge::Everything => 0,
        };
        tracing::info!(
            rows = self.rows,
            tags,
            everything = self.purge == Purge::Everything,
            failures,
            lag_ms = (now - self.oldest).num_milliseconds(),
            "cache told"
        );
    }
}

fn rows_max() -> i64 {
    i64::try_from(ROWS_MAX).unwrap_or(i64::MAX)
}

fn retry_after(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    RETRY_FIRST
        .saturating_mul(2u32.saturating_pow(doublings))
        .min(RETRY_LAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: i64, tags: &str) -> Row {
        Row {
            id,
            tags: tags.to_owned(),
            queued_at: DateTime::from_timestamp(id, 0).unwrap(),
        }
    }

    fn purge(rows: &[Row]) -> Purge {
        merged(rows).unwrap().purge
    }

    #[test]
    fn rows_become_one_purge_of_each_tag_once() {
        let rows = [
            row(3, r#"["list","article:1"]"#),
            row(2, r#"["list","article:2"]"#),
        ];
        let tags = [Tag::list(), Tag::article(1), Tag::article(2)];
        assert_eq!(purge(&rows), Purge::Tags(tags.into()));
        assert_eq!(merged(&rows).unwrap().oldest.timestamp(), 2);
        assert_eq!(merged(&[]), None);
    }

    #[test]
    fn what_is_not_understood_or_too_much_becomes_everything() {
        let many: Vec<String> = (0..=TAGS_MAX).map(|n| format!("\"article:{n}\"")).collect();
        for tags in [r#"["*"]"#, "{", &format!("[{}]", many.join(","))] {
            let rows = [row(1, r#"["list"]"#), row(2, tags)];
            assert_eq!(purge(&rows), Purge::Everything);
        }
    }

    #[test]
    fn rows_go_when_confirmed_or_when_they_are_too_many() {
        let few: Vec<Row> = (0..3).map(|id| row(id, "[]")).collect();
        let many: Vec<Row> = (0..500).map(|id| row(id, "[]")).collect();
        let refused = || Err(PurgeFault("no".to_owned()));
        assert_eq!(settle(&few, &Ok(())).unwrap(), [0, 1, 2]);
        assert!(settle(&few, &refused()).unwrap().is_empty());
        assert_eq!(settle(&many, &refused()).unwrap().len(), 500);
    }

    #[test]
    fn a_cache_that_comes_back_is_told_within_a_second() {
        assert_eq!(retry_after(1), RETRY_FIRST);
        assert_eq!(retry_after(2), RETRY_FIRST * 2);
        assert_eq!(retry_after(u32::MAX), RETRY_LAST);
    }
}
