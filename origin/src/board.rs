//! The message board: every SQL statement on messages. Newest first, in pages by identifier; the oldest go when there are too many,
//! of the signed-in and of all others each for themselves.

use crate::database::{Database, DatabaseError, on_pool, stored_time, within};
use chrono::{DateTime, Utc};
use serde::Serialize;

/// Messages kept of those who were signed in.
const MESSAGES_MAX: i64 = 10_000;
/// Messages kept of all others. Counted apart: whoever floods the board without a name wipes out no named ones.
const NAMELESS_MAX: i64 = 2_000;

/// A message as everybody sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Message {
    pub id: i64,
    pub author: String,
    /// Whether the author was signed in: only then is the name an account's.
    pub signed_in: bool,
    pub text: String,
    pub posted_at: DateTime<Utc>,
}

/// A message to be.
#[derive(Debug)]
pub struct NewMessage<'a> {
    pub user_id: Option<i64>,
    pub author: &'a str,
    pub text: &'a str,
}

/// A page of messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessagePage {
    pub messages: Vec<Message>,
    /// The last message of this page, when others follow it.
    pub next: Option<i64>,
}

/// The messages, in either database.
#[derive(Debug)]
pub struct Board {
    database: Database,
}

impl Board {
    pub fn new(database: &Database) -> Self {
        Self {
            database: database.clone(),
        }
    }

    /// Puts a message up.
    pub async fn post(
        &self,
        new: &NewMessage<'_>,
        now: DateTime<Utc>,
    ) -> Result<Message, DatabaseError> {
        const POST: &str = "INSERT INTO messages (user_id, author, text, posted_at) VALUES ($1, $2, $3, $4) \
            RETURNING id, author, user_id IS NOT NULL AS signed_in, text, posted_at";
        const BOUND: &str = "DELETE FROM messages WHERE user_id IS NOT NULL AND id <= (SELECT id FROM messages \
            WHERE user_id IS NOT NULL ORDER BY id DESC LIMIT 1 OFFSET $1)";
        const BOUND_NAMELESS: &str = "DELETE FROM messages WHERE user_id IS NULL AND id <= (SELECT id FROM messages \
            WHERE user_id IS NULL ORDER BY id DESC LIMIT 1 OFFSET $1)";
        let (bound, kept_max) = match new.user_id {
            Some(_) => (BOUND, MESSAGES_MAX),
            None => (BOUND_NAMELESS, NAMELESS_MAX),
        };
        within(async { on_pool!(self.database, pool => {
            let mut tx = pool.begin_with(self.database.begin_write()).await?;
            let message = sqlx::query_as(POST).bind(new.user_id).bind(new.author).bind(new.text).bind(stored_time(now))
                .fetch_one(&mut *tx).await?;
            sqlx::query(bound).bind(kept_max).execute(&mut *tx).await?;
            tx.commit().await?;
            Ok(message)
        })}).await
    }

    /// One page, newest first, of what comes after this message.
    pub async fn page(&self, after: Option<i64>, limit: u16) -> Result<MessagePage, DatabaseError> {
        const SQL: &str = "SELECT id, author, user_id IS NOT NULL AS signed_in, text, posted_at FROM messages \
            WHERE id < $1 ORDER BY id DESC LIMIT $2";
        // One more than asked for tells whether another page follows.
        let rows_max = i64::from(limit) + 1;
        let mut messages: Vec<Message> = within(async {
            Ok(on_pool!(self.database, pool => sqlx::query_as(SQL).bind(after.unwrap_or(i64::MAX)).bind(rows_max)
                .fetch_all(pool).await)?)
        })
        .await?;
        let more = messages.len() > usize::from(limit);
        messages.truncate(usize::from(limit));
        let next = messages.last().filter(|_| more).map(|last| last.id);
        Ok(MessagePage { messages, next })
    }

    /// One message.
    pub async fn by_id(&self, id: i64) -> Result<Option<Message>, DatabaseError> {
        const SQL: &str = "SELECT id, author, user_id IS NOT NULL AS signed_in, text, posted_at FROM messages WHERE id = $1";
        within(async {
            Ok(on_pool!(self.database, pool => sqlx::query_as(SQL).bind(id).fetch_optional(pool).await)?)
        })
        .await
    }

    /// Takes a user's own message down; false when there is none of that user's with this identifier.
    pub async fn remove(&self, id: i64, user_id: i64) -> Result<bool, DatabaseError> {
        const SQL: &str = "DELETE FROM messages WHERE id = $1 AND user_id = $2";
        within(async {
            let done = on_pool!(self.database, pool => sqlx::query(SQL).bind(id).bind(user_id).execute(pool).await
                .map(|done| done.rows_affected()))?;
            Ok(done > 0)
        })
        .await
    }
}
