//! Who signed up and who is signed in: every SQL statement on users and sessions.
//!
//! What comes in is already sound: an `Email` is normalised, a password is a hash, a token is known by its digest alone. Deleting
//! a user takes all that hangs on the user along, by the schema. Who may do what is decided in `api`.

mod email;
mod password;
mod token;

pub use email::{Email, EmailFault};
pub use password::{Busy, PasswordFault, PasswordHash, Passwords, check as check_password};
pub use token::{Token, TokenDigest};

use crate::database::{Connection, Database, DatabaseError, Dialect, on_pool, stored_time, within};
use crate::outbox::{self, Outbox};
use crate::reddit::end_of_user;
use crate::tag::Tag;
use chrono::{DateTime, Utc};
use serde::Serialize;

/// Of one user's sessions the oldest go when there are more.
const SESSIONS_MAX: i64 = 50;
/// Expired sessions that a sign-in clears away, whoever's they were.
const CLEARED_MAX: i64 = 100;

/// Somebody who signed up, as that person may see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct User {
    pub id: i64,
    pub email: String,
    /// What others see.
    pub name: String,
    pub created_at: DateTime<Utc>,
}

/// Somebody about to sign up.
#[derive(Debug)]
pub struct NewUser<'a> {
    pub email: &'a Email,
    pub name: &'a str,
    pub password: &'a PasswordHash,
}

/// What deleting a user took away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deleted {
    /// False when there is no such user (any more).
    pub was_there: bool,
    /// Of the board.
    pub messages: u64,
}

#[derive(sqlx::FromRow)]
struct Credentials {
    id: i64,
    email: String,
    name: String,
    created_at: DateTime<Utc>,
    password_hash: String,
}

/// The users and their sessions, in either database.
#[derive(Debug)]
pub struct Users {
    database: Database,
    outbox: Outbox,
}

impl Users {
    pub fn new(database: &Database) -> Self {
        Self::with_outbox(database, Outbox::without_cache(database))
    }

    /// What readers must not be shown any more is queued there.
    pub fn with_outbox(database: &Database, outbox: Outbox) -> Self {
        Self {
            database: database.clone(),
            outbox,
        }
    }

    /// Signs somebody up; `None` when the address is taken.
    pub async fn create(
        &self,
        new: &NewUser<'_>,
        now: DateTime<Utc>,
    ) -> Result<Option<User>, DatabaseError> {
        const SQL: &str = "INSERT INTO users (email, name, password_hash, created_at) VALUES ($1, $2, $3, $4) \
            ON CONFLICT (email) DO NOTHING RETURNING id, email, name, created_at";
        within(async {
            Ok(on_pool!(self.database, pool => sqlx::query_as(SQL).bind(new.email.as_str()).bind(new.name)
                .bind(new.password.as_str()).bind(stored_time(now)).fetch_optional(pool).await)?)
        })
        .await
    }

    /// The user with this address, and what the password has to match.
    pub async fn by_email(
        &self,
        email: &Email,
    ) -> Result<Option<(User, PasswordHash)>, DatabaseError> {
        const SQL: &str =
            "SELECT id, email, name, created_at, password_hash FROM users WHERE email = $1";
        let found: Option<Credentials> = within(async {
            Ok(on_pool!(self.database, pool => sqlx::query_as(SQL).bind(email.as_str()).fetch_optional(pool).await)?)
        })
        .await?;
        Ok(found.map(|row| {
            let user = User {
                id: row.id,
                email: row.email,
                name: row.name,
                created_at: row.created_at,
            };
            (user, PasswordHash::stored(row.password_hash))
        }))
    }

    /// Signs a user in. Clears away what has expired, and the oldest sessions of one who has too many.
    pub async fn open_session(
        &self,
        user_id: i64,
        token: &TokenDigest,
        now: DateTime<Utc>,
        expires_at: DateTime<Utc>,
    ) -> Result<(), DatabaseError> {
        const CLEAR: &str = "DELETE FROM sessions WHERE token_hash IN \
            (SELECT token_hash FROM sessions WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)";
        const OPEN: &str = "INSERT INTO sessions (token_hash, user_id, created_at, expires_at) VALUES ($1, $2, $3, $4)";
        const BOUND: &str = "DELETE FROM sessions WHERE user_id = $1 AND token_hash NOT IN \
            (SELECT token_hash FROM sessions WHERE user_id = $1 ORDER BY created_at DESC, token_hash LIMIT $2)";
        let (now, expires_at) = (stored_time(now), stored_time(expires_at));
        within(async { on_pool!(self.database, pool => {
            let mut tx = pool.begin_with(self.database.begin_write()).await?;
            // First: it locks the user's row, and so does who deletes an account before its sessions go.
            sqlx::query(OPEN).bind(token.as_str()).bind(user_id).bind(now).bind(expires_at).execute(&mut *tx).await?;
            sqlx::query(CLEAR).bind(now).bind(CLEARED_MAX).execute(&mut *tx).await?;
            sqlx::query(BOUND).bind(user_id).bind(SESSIONS_MAX).execute(&mut *tx).await?;
            Ok(tx.commit().await?)
        })}).await
    }

    /// Whose session this is, while it lasts.
    pub async fn by_token(
        &self,
        token: &TokenDigest,
        now: DateTime<Utc>,
    ) -> Result<Option<User>, DatabaseError> {
        const SQL: &str = "SELECT u.id, u.email, u.name, u.created_at FROM sessions s JOIN users u ON u.id = s.user_id \
            WHERE s.token_hash = $1 AND s.expires_at > $2";
        within(async {
            Ok(on_pool!(self.database, pool => sqlx::query_as(SQL).bind(token.as_str()).bind(stored_time(now))
                .fetch_optional(pool).await)?)
        })
        .await
    }

    /// Ends a session: its token opens nothing from here on.
    pub async fn close_session(&self, token: &TokenDigest) -> Result<(), DatabaseError> {
        const SQL: &str = "DELETE FROM sessions WHERE token_hash = $1";
        within(async {
            on_pool!(self.database, pool => sqlx::query(SQL).bind(token.as_str()).execute(pool).await.map(drop))?;
            Ok(())
        })
        .await
    }

    /// Removes a user with sessions, preferences and messages. Whatever is added in the name of a user has that user's row first, and so
    /// has this: nobody's message comes in between uncounted, and nobody waits for the other in a circle. What the user
    /// had connected elsewhere is to be taken back there.
    pub async fn delete(&self, user_id: i64, now: DateTime<Utc>) -> Result<Deleted, DatabaseError> {
        let lock = match self.database.dialect() {
            Dialect::Postgres => "SELECT id FROM users WHERE id = $1 FOR UPDATE",
            // The transaction has the lock there is.
            Dialect::Sqlite => "SELECT id FROM users WHERE id = $1",
        };
        const MESSAGES: &str = "DELETE FROM messages WHERE user_id = $1";
        const USER: &str = "DELETE FROM users WHERE id = $1";
        // Whoever asked may be gone before the answer, which names them too, gets through the cache.
        let voided = self
            .outbox
            .row(&[Tag::messages(), Tag::erasures()].into())?;
        let deleted = within(async { on_pool!(self.database, pool => {
            let mut tx = pool.begin_with(self.database.begin_write()).await?;
            sqlx::query(lock).bind(user_id).execute(&mut *tx).await?;
            let messages = sqlx::query(MESSAGES).bind(user_id).execute(&mut *tx).await?.rows_affected();
            end_of_user(&mut Connection::from(&mut *tx), user_id, now).await?;
            let users = sqlx::query(USER).bind(user_id).execute(&mut *tx).await?.rows_affected();
            if let Some(row) = voided.filter(|_| messages > 0) {
                sqlx::query(outbox::QUEUE).bind(row).bind(stored_time(now)).execute(&mut *tx).await?;
            }
            tx.commit().await?;
            Ok(Deleted { was_there: users > 0, messages })
        })}).await?;
        self.outbox.wake();
        Ok(deleted)
    }
}
