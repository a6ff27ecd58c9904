//! Whose turn it is: work that only one process may do at a time, whichever of the replicas comes first.
//!
//! A turn ends with its process, however that ends; a process whose turn ended without it stops what it does. On PostgreSQL it is an advisory lock on a connection of its own; on SQLite, whose
//! processes share a machine, a lock on a file beside the database.

use crate::database::{Database, DatabaseError, Pool, within};
use sqlx::{Connection, PgConnection};
use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::time::Duration;

/// Between two looks whether a turn is still held.
const HELD_CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// What is taken in turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Asking the sources by schedule.
    Round,
    /// Asking what users added, and clearing away what nobody wants any more.
    Added,
    /// Scoring what an earlier model or none has scored.
    Backfill,
}

/// A turn; it ends when this is dropped.
#[derive(Debug)]
pub enum Turn {
    Postgres(Box<PgConnection>),
    Sqlite(File),
}

impl Work {
    /// Any number that nobody else uses in this database: sqlx takes one of its own for migrations.
    fn key(self) -> i64 {
        match self {
            Self::Round => 0x6c61_7264_6572_0001,
            Self::Backfill => 0x6c61_7264_6572_0002,
            Self::Added => 0x6c61_7264_6572_0003,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Round => "round",
            Self::Backfill => "backfill",
            Self::Added => "added",
        }
    }
}

impl Turn {
    /// Takes the turn, unless another process has it.
    pub async fn take(database: &Database, work: Work) -> Result<Option<Self>, DatabaseError> {
        match database.pool() {
            Pool::Postgres(pool) => {
                let options = pool.connect_options();
                within(async {
                    let mut connection = PgConnection::connect_with(&options).await?;
                    let is_ours: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
                        .bind(work.key())
                        .fetch_one(&mut connection)
                        .await?;
                    Ok(is_ours.then(|| Self::Postgres(Box::new(connection))))
                })
                .await
            }
            Pool::Sqlite(pool) => {
                let mut path = pool.connect_options().get_filename().as_os_str().to_owned();
                path.push(format!("-{}", work.word()));
                take_file(PathBuf::from(path))
            }
        }
    }

    /// Waits until the turn is lost, and tells why: with its connection, after which another process may have it.
    pub async fn lost(&mut self) -> DatabaseError {
        let Self::Postgres(connection) = self else {
            // A file stays locked as long as its process lives.
            return std::future::pending().await;
        };
        loop {
            tokio::time::sleep(HELD_CHECK_INTERVAL).await;
            let held =
                within(async { Ok(sqlx::query("SELECT 1").execute(&mut **connection).await?) });
            if let Err(error) = held.await {
                return error;
            }
        }
    }

    /// Gives it back, tidily.
    pub async fn end(self) {
        if let Self::Postgres(connection) = self {
            // One that breaks off has given it back as well.
            let _ = within(async { Ok(connection.close().await?) }).await;
        }
    }
}

fn take_file(path: PathBuf) -> Result<Option<Turn>, DatabaseError> {
    let failed = |error: std::io::Error| {
        DatabaseError::Unavailable(format!("{} cannot be locked: {error}", path.display()))
    };
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Turn::Sqlite(file))),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}
