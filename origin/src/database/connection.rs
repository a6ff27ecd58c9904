//! A connection or transaction of either database, for work that several modules do in one transaction.

use sqlx::{PgConnection, SqliteConnection};

/// Borrowed from a transaction: `Connection::from(&mut *tx)` in the body of `on_pool!`.
#[derive(Debug)]
pub(crate) enum Connection<'c> {
    Postgres(&'c mut PgConnection),
    Sqlite(&'c mut SqliteConnection),
}

impl<'c> From<&'c mut PgConnection> for Connection<'c> {
    fn from(connection: &'c mut PgConnection) -> Self {
        Self::Postgres(connection)
    }
}

impl<'c> From<&'c mut SqliteConnection> for Connection<'c> {
    fn from(connection: &'c mut SqliteConnection) -> Self {
        Self::Sqlite(connection)
    }
}

/// Runs the same code on the connection of either database: `on_connection!(connection, c => ...)`.
macro_rules! on_connection {
    ($connection:expr, $inner:ident => $body:expr) => {
        match $connection {
            $crate::database::Connection::Postgres($inner) => $body,
            $crate::database::Connection::Sqlite($inner) => $body,
        }
    };
}
pub(crate) use on_connection;
