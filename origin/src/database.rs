//! The database that all SQL of the origin runs on: one pool, the migrations, the deadline, and what went wrong.
//!
//! Modules with SQL of their own (`articles` and its neighbours) hold a `Database`, write each statement once for PostgreSQL and
//! SQLite, and run it by `on_pool!` within `within`. Where the dialects differ, a module keeps a table of its own for each and
//! picks one by `Database::dialect`. No statement on anybody's tables stands here.

mod connect;
mod connection;
mod value;

pub(crate) use connect::Pool;
#[cfg(test)]
pub(crate) use connect::SQLITE_MIGRATIONS;
pub use connect::{DatabaseUrl, DatabaseUrlFault};
pub(crate) use connection::{Connection, on_connection};
pub(crate) use value::{LAST_TIME, json, stored_time, without_nul};

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Longest wait for anything asked of the database. A server that fell silent, frozen or behind a cut line, enforces no limit of
/// its own, and its connections stay open for a quarter of an hour.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(8);

/// Runs the same code on the pool of either database: `on_pool!(self.database, pool => ...)`.
macro_rules! on_pool {
    ($database:expr, $pool:ident => $body:expr) => {
        match $database.pool() {
            $crate::database::Pool::Postgres($pool) => $body,
            $crate::database::Pool::Sqlite($pool) => $body,
        }
    };
}
pub(crate) use on_pool;

/// Why the database gave no answer. Not-found is no failure: look-ups give `Option`.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DatabaseError {
    /// Down, starting, out of connections or not migrated yet: another try later may help.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// A statement failed: our fault, or a schema that is not ours.
    #[error("the database refused a statement: {0}")]
    Failed(String),
    /// The migrations do not fit what stands in the database.
    #[error("the database cannot be migrated: {0}")]
    Migration(String),
}

/// Which of the two SQLs is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Postgres,
    Sqlite,
}

/// A pool of connections to either database. Clones share it.
#[derive(Debug, Clone)]
pub struct Database {
    pool: Pool,
    migrated: Arc<AtomicBool>,
}

impl Database {
    /// Prepares the pool; nothing is connected yet, so a database that is down is met by the first statement.
    pub fn open(url: &DatabaseUrl, connections_max: u32) -> Result<Self, DatabaseError> {
        Ok(Self {
            pool: connect::pool(url, connections_max)?,
            migrated: Arc::new(AtomicBool::new(false)),
        })
    }

    /// Brings the schema up to date. Processes that start at once take turns.
    pub async fn migrate(&self) -> Result<(), DatabaseError> {
        connect::migrate(&self.pool).await?;
        self.migrated.store(true, Ordering::Release);
        Ok(())
    }

    /// Whether the database answers and its schema is ready.
    pub async fn ping(&self) -> Result<(), DatabaseError> {
        if !self.migrated.load(Ordering::Acquire) {
            return Err(DatabaseError::Unavailable("not migrated yet".to_owned()));
        }
        within(async {
            on_pool!(self, pool => sqlx::query("SELECT 1").execute(pool).await.map(drop))?;
            Ok(())
        })
        .await
    }

    /// Closes the connections, so that the database is left tidy.
    pub async fn close(&self) {
        on_pool!(self, pool => pool.close().await);
    }

    /// Which table of statements to use, where the two differ.
    pub fn dialect(&self) -> Dialect {
        match self.pool {
            Pool::Postgres(_) => Dialect::Postgres,
            Pool::Sqlite(_) => Dialect::Sqlite,
        }
    }

    /// How a transaction that writes begins.
    pub(crate) fn begin_write(&self) -> &'static str {
        self.dialect().begin_write()
    }

    /// For `on_pool!`.
    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }
}

impl Dialect {
    const fn begin_write(self) -> &'static str {
        match self {
            Self::Postgres => "BEGIN",
            // A transaction that begins by reading could not wait for another writer when it comes to write.
            Self::Sqlite => "BEGIN IMMEDIATE",
        }
    }
}

/// What the database answers within the time there is.
pub(crate) async fn within<T>(
    work: impl Future<Output = Result<T, DatabaseError>>,
) -> Result<T, DatabaseError> {
    tokio::time::timeout(ANSWER_TIMEOUT, work)
        .await
        .unwrap_or_else(|_| {
            Err(DatabaseError::Unavailable(format!(
                "no answer within {ANSWER_TIMEOUT:?}"
            )))
        })
}
