//! Clearing away what no user names any more: articles, and whatever is remembered of having asked.
//!
//! At once when a feed or an account goes, as far as that succeeds; and now and then for all that was left over: tries that came to
//! nothing, and what an interruption kept from going. Somebody who is just adding a feed has no row yet: what was asked a short while
//! ago stays.

use super::Subscriptions;
use crate::articles::take_turns;
use crate::database::{DatabaseError, Dialect, json, on_pool, stored_time, within};
use crate::personal::{named_by, personal, poll_key, source_name};
use chrono::{DateTime, TimeDelta, Utc};

/// From when on what nobody names counts as left over.
const LEFT_OVER_AFTER: TimeDelta = TimeDelta::minutes(10);
/// Sources that one transaction clears: each may have hundreds of articles, and others wait to write.
const AT_ONCE_MAX: usize = 10;
/// Sources that one call clears away; the next one goes on, from wherever it happens to begin: were some of them never to go, they
/// would keep none of the others.
const LOOKED_FOR_MAX: i64 = 20;

const LEFT_OVER: &str = concat!(
    "SELECT s.source FROM (SELECT source FROM questions UNION SELECT source FROM source_records) s WHERE ",
    personal!("s.source"),
    " AND NOT EXISTS (SELECT 1 FROM user_feeds f WHERE ",
    named_by!("f.url_hash"),
    " = s.source) ",
    "AND NOT EXISTS (SELECT 1 FROM questions q WHERE q.source = s.source AND q.asked_at > $1) ORDER BY s.source < $3, s.source LIMIT $2"
);

impl Subscriptions {
    /// Clears away what was left over by now. Returns how many sources that were.
    pub async fn clear(&self, now: DateTime<Utc>) -> Result<usize, DatabaseError> {
        let before = stored_time(now - LEFT_OVER_AFTER);
        let from = source_name(&format!("{:08x}", fastrand::u32(..)));
        let sources: Vec<String> = within(async {
            Ok(on_pool!(self.database, pool => sqlx::query_scalar(LEFT_OVER).bind(before).bind(LOOKED_FOR_MAX).bind(&from).fetch_all(pool).await)?)
        })
        .await?;
        self.delete_unnamed(&sources).await?;
        Ok(sources.len())
    }

    /// Clears away what users who are gone, or have removed it, were the last to name. What fails is left over for `clear`.
    pub async fn forget(&self, sources: &[String]) {
        if let Err(error) = self.delete_unnamed(sources).await {
            tracing::warn!(%error, "what nobody reads any more is cleared away later");
        }
    }

    /// Deletes what is stored of those sources that no user names.
    async fn delete_unnamed(&self, sources: &[String]) -> Result<(), DatabaseError> {
        let dialect = self.database.dialect();
        let sql = statements(dialect);
        for some in sources.chunks(AT_ONCE_MAX) {
            let some = json(&some)?;
            within(async {
                on_pool!(self.database, pool => {
                    let mut tx = pool.begin_with(self.database.begin_write()).await?;
                    sqlx::query(take_turns(dialect)).execute(&mut *tx).await?;
                    let unnamed: Vec<String> = sqlx::query_scalar(sql.unnamed).bind(&some).fetch_all(&mut *tx).await?;
                    let keys: Vec<String> = unnamed.iter().map(|source| poll_key(source)).collect();
                    let (unnamed, keys) = (json(&unnamed)?, json(&keys)?);
                    for delete in sql.of_sources {
                        sqlx::query(*delete).bind(&unnamed).execute(&mut *tx).await?;
                    }
                    sqlx::query(sql.polls).bind(&keys).execute(&mut *tx).await?;
                    tx.commit().await?;
                    Ok(())
                })
            })
            .await?;
        }
        Ok(())
    }
}

/// The statements in one dialect.
struct Statements {
    /// Which of these personal sources no user names.
    unnamed: &'static str,
    of_sources: &'static [&'static str],
    polls: &'static str,
}

macro_rules! statements {
    ($texts:literal, $value:literal) => {
        Statements {
            unnamed: concat!(
                "SELECT s.source FROM (SELECT ",
                $value,
                " AS source FROM ",
                $texts,
                " AS i) s WHERE ",
                personal!("s.source"),
                " AND NOT EXISTS (SELECT 1 FROM user_feeds f WHERE ",
                named_by!("f.url_hash"),
                " = s.source)"
            ),
            of_sources: &[
                concat!(
                    "DELETE FROM articles WHERE source IN (SELECT ",
                    $value,
                    " FROM ",
                    $texts,
                    " AS i)"
                ),
                concat!(
                    "DELETE FROM questions WHERE source IN (SELECT ",
                    $value,
                    " FROM ",
                    $texts,
                    " AS i)"
                ),
                concat!(
                    "DELETE FROM source_requests WHERE source IN (SELECT ",
                    $value,
                    " FROM ",
                    $texts,
                    " AS i)"
                ),
                concat!(
                    "DELETE FROM source_records WHERE source IN (SELECT ",
                    $value,
                    " FROM ",
                    $texts,
                    " AS i)"
                ),
            ],
            polls: concat!(
                "DELETE FROM feed_polls WHERE url_hash IN (SELECT ",
                $value,
                " FROM ",
                $texts,
                " AS i)"
            ),
        }
    };
}

fn statements(dialect: Dialect) -> &'static Statements {
    static POSTGRES: Statements = statements!("jsonb_array_elements_text(CAST($1 AS jsonb))", "i");
    static SQLITE: Statements = statements!("json_each($1)", "i.value");
    match dialect {
        Dialect::Postgres => &POSTGRES,
        Dialect::Sqlite => &SQLITE,
    }
}
