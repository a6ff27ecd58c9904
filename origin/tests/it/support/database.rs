//! An empty database of either kind, and the macro that runs a test on both.

use super::postgres::Postgres;
use larder_origin::articles::Articles;
use larder_origin::database::{Database, DatabaseUrl};
use tempfile::TempDir;

/// A database of the test's own.
pub(crate) struct TestDatabase {
    pub(crate) url: String,
    _folder: Option<TempDir>,
}

impl TestDatabase {
    pub(crate) async fn postgres() -> Self {
        Self {
            url: Postgres::shared().database().await,
            _folder: None,
        }
    }

    pub(crate) async fn sqlite() -> Self {
        let folder = TempDir::new().expect("a folder");
        // In a folder that is not there yet: it is made.
        let url = format!("sqlite://{}/deeper/origin.db", folder.path().display());
        Self {
            url,
            _folder: Some(folder),
        }
    }

    /// One that another test database made, and outlives this one.
    pub(crate) fn at(url: String) -> Self {
        Self { url, _folder: None }
    }

    /// Runs a statement, as somebody else would.
    pub(crate) async fn execute(&self, statement: &'static str) {
        use sqlx::{Connection, Executor};
        if self.url.starts_with("postgres") {
            let mut own = sqlx::PgConnection::connect(&self.url)
                .await
                .expect("a connection");
            own.execute(statement).await.expect("the statement");
        } else {
            let mut own = sqlx::SqliteConnection::connect(&self.url)
                .await
                .expect("a connection");
            own.execute(statement).await.expect("the statement");
        }
    }

    /// The one number that a query gives, as somebody else would ask.
    pub(crate) async fn count(&self, query: &str) -> i64 {
        use sqlx::Connection;
        let query = sqlx::AssertSqlSafe(query.to_owned());
        if self.url.starts_with("postgres") {
            let own = sqlx::PgConnection::connect(&self.url).await;
            let mut own = own.expect("a connection");
            let count = sqlx::query_scalar(query).fetch_one(&mut own).await;
            count.expect("a number")
        } else {
            let own = sqlx::SqliteConnection::connect(&self.url).await;
            let mut own = own.expect("a connection");
            let count = sqlx::query_scalar(query).fetch_one(&mut own).await;
            count.expect("a number")
        }
    }

    /// Opened, not migrated.
    pub(crate) fn open(&self) -> Database {
        let url: DatabaseUrl = self.url.parse().expect("a database URL");
        Database::open(&url, 10).expect("a pool")
    }

    /// Opened and migrated.
    pub(crate) async fn migrated(&self) -> Database {
        let database = self.open();
        database.migrate().await.expect("migrations");
        database
    }

    /// The articles of one that is opened and migrated.
    pub(crate) async fn articles(&self) -> Articles {
        Articles::new(&self.migrated().await)
    }
}

/// Makes each named test run on PostgreSQL and on SQLite.
macro_rules! on_both_databases {
    ($($name:ident),+ $(,)?) => {
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name($crate::support::database::TestDatabase::postgres().await).await;
            })+
        }
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name($crate::support::database::TestDatabase::sqlite().await).await;
            })+
        }
    };
}
pub(crate) use on_both_databases;
