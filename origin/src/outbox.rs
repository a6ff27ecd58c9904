//! The transactional outbox: what the cache before us has to forget, written by the transaction that makes it out of date, so that
//! neither is ever without the other. `dispatch` delivers it.
//!
//! A row is one transaction's tags. Nothing is queued when there is no cache to tell.

mod dispatch;

pub use dispatch::{Cache, Dispatcher, Purge, PurgeFault};

use crate::database::{Database, DatabaseError, json, on_pool, stored_time, within};
use crate::tag::Tag;
use chrono::{DateTime, Utc};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::Notify;

/// Writes what `Outbox::row` gave, within the caller's transaction: `$1` the row, `$2` the time.
pub(crate) const QUEUE: &str = "INSERT INTO outbox (tags, queued_at) VALUES ($1, $2)";
const WAITING: &str = "SELECT count(*) FROM outbox";
/// The tag that no answer bears and that stands for all of them.
const EVERYTHING: &str = "*";

/// What is to be told to the cache. Clones share the wake-up.
#[derive(Debug, Clone)]
pub struct Outbox {
    database: Database,
    is_read: bool,
    queued: Arc<Notify>,
}

impl Outbox {
    /// One that a dispatcher reads.
    pub fn new(database: &Database) -> Self {
        Self {
            database: database.clone(),
            is_read: true,
            queued: Arc::default(),
        }
    }

    /// One that takes nothing: there is no cache to tell.
    pub fn without_cache(database: &Database) -> Self {
        Self {
            is_read: false,
            ..Self::new(database)
        }
    }

    /// The row for these tags, to be written by `QUEUE` in the transaction that changes what bears them; `None` when nobody has
    /// to be told. Call `wake` after the commit.
    pub(crate) fn row(&self, tags: &BTreeSet<Tag>) -> Result<Option<String>, DatabaseError> {
        match self.is_read && !tags.is_empty() {
            true => json(tags).map(Some),
            false => Ok(None),
        }
    }

    /// Tells the dispatcher of this process that something was committed. Those of others look by themselves.
    pub(crate) fn wake(&self) {
        self.queued.notify_one();
    }

    /// How many rows wait to be delivered.
    pub async fn waiting(&self) -> Result<i64, DatabaseError> {
        within(async {
            Ok(on_pool!(self.database, pool => sqlx::query_scalar(WAITING).fetch_one(pool).await)?)
        })
        .await
    }

    /// Queues tags in a transaction of their own: for changes that are made nowhere else.
    pub async fn queue(
        &self,
        tags: &BTreeSet<Tag>,
        now: DateTime<Utc>,
    ) -> Result<(), DatabaseError> {
        let Some(row) = self.row(tags)? else {
            return Ok(());
        };
        within(async {
            on_pool!(self.database, pool => sqlx::query(QUEUE).bind(&row).bind(stored_time(now)).execute(pool).await.map(drop))?;
            Ok(())
        })
        .await?;
        self.wake();
        Ok(())
    }
}
