//! What users prefer: a JSON value under each key, and every SQL statement on them.
//!
//! Any key may be kept; those that begin with `feed.` mean something to `/me/feed` (see `Wishes`). Sizes and numbers are bounded here,
//! because they are promises about the table.

mod wishes;

pub use wishes::{Wishes, is_muted};

use crate::database::{Database, DatabaseError, on_pool, stored_time, within};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

/// Keys that one user may have.
pub const KEYS_MAX: i64 = 100;
/// Of a value's JSON text.
pub const VALUE_BYTES_MAX: usize = 4096;
/// Of a key, its first letter included.
const KEY_BYTES_MAX: usize = 64;

/// What came of setting a preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Set {
    Created,
    Replaced,
    /// The user has as many keys as one may have.
    Full,
    /// The user was deleted meanwhile.
    NoUser,
}

/// `^[a-z][a-z0-9_.]{0,63}$`
pub fn is_key(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && text.len() <= KEY_BYTES_MAX
        && bytes.all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'.')
        })
}

/// The preferences of all users, in either database.
#[derive(Debug)]
pub struct Preferences {
    database: Database,
}

impl Preferences {
    pub fn new(database: &Database) -> Self {
        Self {
            database: database.clone(),
        }
    }

    /// All of a user's, by key.
    pub async fn all(&self, user_id: i64) -> Result<Map<String, Value>, DatabaseError> {
        const SQL: &str = "SELECT key, value FROM preferences WHERE user_id = $1 ORDER BY key";
        let rows: Vec<(String, String)> = within(async {
            Ok(on_pool!(self.database, pool => sqlx::query_as(SQL).bind(user_id).fetch_all(pool).await)?)
        })
        .await?;
        rows.into_iter()
            .map(|(key, text)| Ok((key, parsed(&text)?)))
            .collect()
    }

    /// One of them.
    pub async fn one(&self, user_id: i64, key: &str) -> Result<Option<Value>, DatabaseError> {
        const SQL: &str = "SELECT value FROM preferences WHERE user_id = $1 AND key = $2";
        let text: Option<String> = within(async {
            Ok(on_pool!(self.database, pool => sqlx::query_scalar(SQL).bind(user_id).bind(key).fetch_optional(pool).await)?)
        })
        .await?;
        text.map(|text| parsed(&text)).transpose()
    }

    /// Sets one. Two requests of one user take turns, so that the number of keys holds exactly.
    pub async fn set(
        &self,
        user_id: i64,
        key: &str,
        value: &Value,
        now: DateTime<Utc>,
    ) -> Result<Set, DatabaseError> {
        // A write that changes nothing locks the row in both dialects.
        const LOCK: &str = "UPDATE users SET name = name WHERE id = $1";
        const REPLACE: &str =
            "UPDATE preferences SET value = $3, updated_at = $4 WHERE user_id = $1 AND key = $2";
        const CREATE: &str = "INSERT INTO preferences (user_id, key, value, updated_at) SELECT $1, $2, $3, $4 \
            WHERE (SELECT count(*) FROM preferences WHERE user_id = $1) < $5";
        let (text, now) = (value.to_string(), stored_time(now));
        within(async { on_pool!(self.database, pool => {
            let mut tx = pool.begin_with(self.database.begin_write()).await?;
            if sqlx::query(LOCK).bind(user_id).execute(&mut *tx).await?.rows_affected() == 0 {
                return Ok(Set::NoUser);
            }
            let replaced = sqlx::query(REPLACE).bind(user_id).bind(key).bind(&text).bind(now).execute(&mut *tx).await?;
            let set = if replaced.rows_affected() > 0 {
                Set::Replaced
            } else {
                let created = sqlx::query(CREATE).bind(user_id).bind(key).bind(&text).bind(now).bind(KEYS_MAX).execute(&mut *tx).await?;
                if created.rows_affected() > 0 { Set::Created } else { Set::Full }
            };
            tx.commit().await?;
            Ok(set)
        })}).await
    }

    /// Removes one; false when there was none.
    pub async fn remove(&self, user_id: i64, key: &str) -> Result<bool, DatabaseError> {
        const SQL: &str = "DELETE FROM preferences WHERE user_id = $1 AND key = $2";
        within(async {
            let done = on_pool!(self.database, pool => sqlx::query(SQL).bind(user_id).bind(key).execute(pool).await
                .map(|done| done.rows_affected()))?;
            Ok(done > 0)
        })
        .await
    }
}

fn parsed(text: &str) -> Result<Value, DatabaseError> {
    serde_json::from_str(text)
        .map_err(|error| DatabaseError::Failed(format!("a preference is no JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use super::is_key;

    #[test]
    fn keys_have_one_pattern() {
        for key in ["a", "theme", "feed.muted_words", "a1._", &"a".repeat(64)] {
            assert!(is_key(key), "{key}");
        }
        for key in [
            "",
            "A",
            "1a",
            "_a",
            ".a",
            "a-b",
            "a b",
            "ä",
            "a\n",
            &"a".repeat(65),
        ] {
            assert!(!is_key(key), "{key}");
        }
    }
}
