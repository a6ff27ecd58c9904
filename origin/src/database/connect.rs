//! Which database, its pool, its migrations, and which of its errors another try may cure.

use super::{DatabaseError, Dialect};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Connection, PgConnection};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

static POSTGRES_MIGRATIONS: Migrator = sqlx::migrate!("../migrations/postgres");
pub(crate) static SQLITE_MIGRATIONS: Migrator = sqlx::migrate!("../migrations/sqlite");

/// How long a request waits for a connection. Short, so that an outage is told and not waited for.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// A statement that takes longer is given up: every one of ours is a matter of milliseconds.
const STATEMENT_TIMEOUT_MS: &str = "5000";
/// Who disappears without a word, with a host or behind a cut line, gives back what it holds within half a minute: turns and rows
/// are locked by connections.
const SIGNS_OF_LIFE: [(&str, &str); 4] = [
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "20000"),
];
/// How long a writer waits for another one on SQLite.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Where everything is kept. Its `Debug` shows no password.
#[derive(Clone)]
pub enum DatabaseUrl {
    Postgres(Box<PgConnectOptions>),
    Sqlite(Box<SqliteConnectOptions>),
}

/// Why a URL names no database. The text repeats nothing of the URL: it may hold a password.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseUrlFault {
    #[error("must begin with postgres:// or sqlite://")]
    Scheme,
    #[error("is not a usable PostgreSQL URL, as in postgres://user:password@host:5432/name")]
    Postgres,
    #[error("is not a usable SQLite URL, as in sqlite:///var/lib/larder/origin.db")]
    Sqlite,
    #[error("must name a file: a database in memory would be another one for each connection")]
    Memory,
}

impl FromStr for DatabaseUrl {
    type Err = DatabaseUrlFault;

    fn from_str(url: &str) -> Result<Self, DatabaseUrlFault> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let options =
                PgConnectOptions::from_str(url).map_err(|_| DatabaseUrlFault::Postgres)?;
            return Ok(Self::Postgres(Box::new(options)));
        }
        let Some(path) = url.strip_prefix("sqlite:") else {
            return Err(DatabaseUrlFault::Scheme);
        };
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.starts_with(":memory:") || path.contains("mode=memory") {
            return Err(DatabaseUrlFault::Memory);
        }
        if path.is_empty() || path.starts_with('?') {
            return Err(DatabaseUrlFault::Sqlite);
        }
        SqliteConnectOptions::from_str(url)
            .map(|options| Self::Sqlite(Box::new(options)))
            .map_err(|_| DatabaseUrlFault::Sqlite)
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postgres(options) => {
                write!(
                    f,
                    "postgres://{}:{}/{}",
                    options.get_host(),
                    options.get_port(),
                    options.get_database().unwrap_or("")
                )
            }
            Self::Sqlite(options) => write!(f, "sqlite://{}", options.get_filename().display()),
        }
    }
}

/// Clones share the connections.
#[derive(Debug, Clone)]
pub(crate) enum Pool {
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

pub(super) fn pool(url: &DatabaseUrl, connections_max: u32) -> Result<Pool, DatabaseError> {
    match url {
        DatabaseUrl::Postgres(options) => {
            let options = options
                .as_ref()
                .clone()
                // Compiling a plan takes longer than any of our statements.
                .options([("statement_timeout", STATEMENT_TIMEOUT_MS), ("jit", "off")])
                .options(SIGNS_OF_LIFE);
            let pool = PgPoolOptions::new()
                .max_connections(connections_max)
                .acquire_timeout(ACQUIRE_TIMEOUT);
            Ok(Pool::Postgres(pool.connect_lazy_with(
                options.application_name("larder-origin"),
            )))
        }
        DatabaseUrl::Sqlite(options) => {
            make_folder(options)?;
            // In WAL mode, NORMAL loses at most the last transactions on a power cut, never the file.
            let options = options
                .as_ref()
                .clone()
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal);
            let options = options
                .synchronous(SqliteSynchronous::Normal)
                .busy_timeout(BUSY_TIMEOUT)
                .foreign_keys(true);
            let pool = SqlitePoolOptions::new()
                .max_connections(connections_max)
                .acquire_timeout(ACQUIRE_TIMEOUT + BUSY_TIMEOUT);
            Ok(Pool::Sqlite(pool.connect_lazy_with(options)))
        }
    }
}

fn make_folder(options: &SqliteConnectOptions) -> Result<(), DatabaseError> {
    let Some(folder) = options
        .get_filename()
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    else {
        return Ok(());
    };
    std::fs::create_dir_all(folder).map_err(|error| {
        DatabaseError::Unavailable(format!(
            "its folder {} cannot be made: {error}",
            folder.display()
        ))
    })
}

/// PostgreSQL's migrator takes an advisory lock, and keeps it when a migration fails: the lock goes with the connection, which is
/// of its own for that reason. SQLite's takes none, so the whole run stands in one writing transaction there.
pub(super) async fn migrate(pool: &Pool) -> Result<(), DatabaseError> {
    match pool {
        Pool::Postgres(pool) => {
            let mut connection = connect(pool).await?;
            let migrated = POSTGRES_MIGRATIONS.run(&mut connection).await;
            // What breaks off has given the lock back as well.
            let _ = tokio::time::timeout(ACQUIRE_TIMEOUT, connection.close()).await;
            Ok(migrated?)
        }
        Pool::Sqlite(pool) => {
            let mut tx = pool.begin_with(Dialect::Sqlite.begin_write()).await?;
            SQLITE_MIGRATIONS.run(&mut *tx).await?;
            Ok(tx.commit().await?)
        }
    }
}

/// A connection beside those of the pool, with the same settings.
async fn connect(pool: &PgPool) -> Result<PgConnection, DatabaseError> {
    let options = pool.connect_options();
    let connecting = PgConnection::connect_with(&options);
    match tokio::time::timeout(ACQUIRE_TIMEOUT, connecting).await {
        Ok(connected) => Ok(connected?),
        Err(_) => Err(DatabaseError::Unavailable(format!(
            "no connection within {ACQUIRE_TIMEOUT:?}"
        ))),
    }
}

impl From<sqlx::Error> for DatabaseError {
    fn from(error: sqlx::Error) -> Self {
        if is_passing(&error) {
            Self::Unavailable(error.to_string())
        } else {
            Self::Failed(error.to_string())
        }
    }
}

impl From<MigrateError> for DatabaseError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)
                if is_passing(&error) =>
            {
                Self::Unavailable(error.to_string())
            }
            error => Self::Migration(match remedy(&error) {
                Some(remedy) => format!("{error}: {remedy}"),
                None => error.to_string(),
            }),
        }
    }
}

/// What to do about a schema that is not ours.
fn remedy(error: &MigrateError) -> Option<&'static str> {
    match error {
        MigrateError::VersionMissing(_) => Some(
            "a newer version of this program has used the database; run that version, or name another database in DATABASE_URL",
        ),
        MigrateError::VersionMismatch(_) => Some(
            "another build of this program made the database; run that build, or name another database in DATABASE_URL \
             (what is stored is fetched again from the sources)",
        ),
        _ => None,
    }
}

/// Whether the cause lies in the connection or the load, and not in what was asked.
fn is_passing(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| is_passing_code(&code)),
        _ => false,
    }
}

/// SQLSTATE classes 08 (connection), 40 (rollback), 53 (resources) and 57 (operator), a password or a database that is not
/// there yet; on SQLite, the primary codes BUSY, LOCKED, IOERR, FULL and CANTOPEN.
fn is_passing_code(code: &str) -> bool {
    match code.parse::<u32>() {
        Ok(extended) if code.len() < 5 => matches!(extended & 0xff, 5 | 6 | 10 | 13 | 14),
        _ => ["08", "28", "3D", "40", "53", "57"]
            .iter()
            .any(|class| code.starts_with(class)),
    }
}

#[cfg(test)]
mod tests {
    use super::{DatabaseError, MigrateError};

    #[test]
    fn what_passes_passes_in_the_midst_of_a_migration_too() {
        for error in [
            MigrateError::Execute(sqlx::Error::PoolTimedOut),
            MigrateError::ExecuteMigration(sqlx::Error::BeginFailed, 9),
        ] {
            let error = DatabaseError::from(error);
            assert!(matches!(error, DatabaseError::Unavailable(_)), "{error}");
        }
    }

    #[test]
    fn a_schema_that_is_not_ours_is_told_with_what_to_do() {
        for (error, hint) in [
            (MigrateError::VersionMissing(2), "newer version"),
            (MigrateError::VersionMismatch(1), "another build"),
        ] {
            let text = DatabaseError::from(error).to_string();
            assert!(
                text.contains(hint) && text.contains("DATABASE_URL"),
                "{text}"
            );
        }
    }
}
