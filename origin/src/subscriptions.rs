//! Feeds that users add for themselves: every SQL statement on them, and the sources that they are to the ingestion.
//!
//! Must stay true: what a user names is only ever fetched through a client that connects to public addresses (and to networks that
//! the operator permits), on every connect and every redirect. Two users' same feed is one source and one poll. Such a source has
//! a name of its own kind (`personal`), so that nothing a user adds mixes with what the operator has chosen for everybody. What no
//! user names any more goes, with all that is remembered of it (`clear`).

mod clear;

use crate::article::hex;
use crate::database::{Database, DatabaseError, Dialect, on_pool, stored_time, within};
use crate::discipline::{Gate, Ledger, Rules};
use crate::http::{ClientFault, Forbidden, Guard, HttpClient};
use crate::personal::{named_by, source_name};
use crate::source::Source;
use crate::source::feed::FeedSource;
use crate::users::{Deleted, Users};
use chrono::{DateTime, Utc};
use ipnet::IpNet;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use url::Url;

/// Longest address taken, in bytes.
const URL_BYTES_MAX: usize = 2_048;

/// A feed that a user added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct UserFeed {
    pub id: i64,
    pub url: String,
    /// The name under which its articles stand.
    pub source: String,
    pub added_at: DateTime<Utc>,
}

/// What came of adding one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Added {
    New(UserFeed),
    /// It was there already.
    Known(UserFeed),
    TooMany,
    /// All users together have as many as they may.
    Full,
}

/// How many feeds there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedsMax {
    pub of_one: u32,
    pub of_all: u32,
}

/// Why an address is no feed's, before anything is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressFault {
    #[error("must be a URL that begins with http:// or https://")]
    Url,
    #[error("must have at most {URL_BYTES_MAX} bytes")]
    Long,
    #[error("is not fetched: {0}")]
    Forbidden(#[from] Forbidden),
}

/// The users' feeds, in either database.
#[derive(Debug)]
pub struct Subscriptions {
    database: Database,
    http: HttpClient,
    guard: Guard,
    interval_min: Duration,
    feeds_max: FeedsMax,
    /// One source for each address, so that its breaker and bulkhead last from one round to the next.
    sources: Mutex<BTreeMap<String, Arc<dyn Source>>>,
}

const COLUMNS: &str = concat!("id, url, ", named_by!("url_hash"), " AS source, added_at");
/// Locks the user, so that two requests at once do not both find room for the last feed.
const LOCK: &str = "UPDATE users SET name = name WHERE id = $1";
const COUNT_ALL: &str = "SELECT count(*) FROM user_feeds";
const COUNT: &str = "SELECT count(*) FROM user_feeds WHERE user_id = $1";
const INSERT: &str = "INSERT INTO user_feeds (user_id, url, url_hash, source, added_at) VALUES ($1, $2, $3, $4, $5) \
    RETURNING id, url, source, added_at";
const ALL: &str = "SELECT min(url) FROM user_feeds GROUP BY url_hash";
const NAMES: &str = concat!(
    "SELECT ",
    named_by!("url_hash"),
    " FROM user_feeds WHERE user_id = $1 ORDER BY 1"
);
const REMOVE: &str = concat!(
    "DELETE FROM user_feeds WHERE id = $1 AND user_id = $2 RETURNING ",
    named_by!("url_hash")
);

impl Subscriptions {
    /// `permitted` are networks that may be asked though they are not public.
    pub fn new(
        database: &Database,
        permitted: &[IpNet],
        timeout: Duration,
        interval_min: Duration,
        feeds_max: FeedsMax,
    ) -> Result<Self, ClientFault> {
        let guard = Guard::new(permitted);
        Ok(Self {
            database: database.clone(),
            http: HttpClient::guarded(timeout, guard.clone())?,
            guard,
            interval_min,
            feeds_max,
            sources: Mutex::default(),
        })
    }

    /// How many one user may have.
    pub fn per_user_max(&self) -> u32 {
        self.feeds_max.of_one
    }

    /// Whether all users together have as many as they may. The same address counts for each who has it: else whoever is refused
    /// could tell what others read.
    pub async fn are_full(&self) -> Result<bool, DatabaseError> {
        let count: i64 = within(async {
            Ok(on_pool!(self.database, pool => sqlx::query_scalar(COUNT_ALL).fetch_one(pool).await)?)
        })
        .await?;
        Ok(count >= i64::from(self.feeds_max.of_all))
    }

    /// The address, if it may be asked as far as it tells itself. Where its name leads is seen when it is asked.
    pub fn address(&self, text: &str) -> Result<Url, AddressFault> {
        if text.len() > URL_BYTES_MAX {
            return Err(AddressFault::Long);
        }
        let mut url = Url::parse(text.trim()).map_err(|_| AddressFault::Url)?;
        self.guard.check(&url)?;
        url.set_fragment(None);
        Ok(url)
    }

    /// The source that an address is.
    pub fn source(&self, url: &Url) -> Arc<dyn Source> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let source = sources.entry(url.to_string()).or_insert_with(|| {
            let rules = Rules {
                windows: Vec::new(),
                concurrent_max: 1,
            };
            let ledger = Ledger::new(&self.database);
            let gate = Gate::new(&name(url), self.http.clone(), ledger, rules);
            Arc::new(FeedSource::new(gate, url.clone(), self.interval_min))
        });
        Arc::clone(source)
    }

    /// A feed that somebody is about to add. It knows nothing of what was asked for others: by nothing that comes of it can be told
    /// whether somebody has added it.
    pub fn trial(&self, url: &Url) -> FeedSource {
        let rules = Rules {
            windows: Vec::new(),
            concurrent_max: 1,
        };
        let gate = Gate::new(&name(url), self.http.clone(), Ledger::forgetful(), rules);
        FeedSource::new(gate, url.clone(), self.interval_min)
    }

    /// Adds a feed that has been seen to be one.
    pub async fn add(
        &self,
        user_id: i64,
        url: &Url,
        now: DateTime<Utc>,
    ) -> Result<Added, DatabaseError> {
        let hash = hash(url);
        let known =
            format!("SELECT {COLUMNS} FROM user_feeds WHERE user_id = $1 AND url_hash = $2");
        within(async { on_pool!(self.database, pool => {
            let mut tx = pool.begin_with(self.database.begin_write()).await?;
            sqlx::query(take_turns(self.database.dialect())).execute(&mut *tx).await?;
            sqlx::query(LOCK).bind(user_id).execute(&mut *tx).await?;
            let known: Option<UserFeed> = sqlx::query_as(sqlx::AssertSqlSafe(known)).bind(user_id).bind(&hash)
                .fetch_optional(&mut *tx).await?;
            if let Some(known) = known {
                return Ok(Added::Known(known));
            }
            let count: i64 = sqlx::query_scalar(COUNT).bind(user_id).fetch_one(&mut *tx).await?;
            if count >= i64::from(self.feeds_max.of_one) {
                return Ok(Added::TooMany);
            }
            let all: i64 = sqlx::query_scalar(COUNT_ALL).fetch_one(&mut *tx).await?;
            if all >= i64::from(self.feeds_max.of_all) {
                return Ok(Added::Full);
            }
            let feed: UserFeed = sqlx::query_as(INSERT).bind(user_id).bind(url.as_str()).bind(&hash).bind(name(url))
                .bind(stored_time(now)).fetch_one(&mut *tx).await?;
            tx.commit().await?;
            Ok(Added::New(feed))
        })})
        .await
    }

    /// A user's feeds, in the order in which they were added.
    pub async fn of_user(&self, user_id: i64) -> Result<Vec<UserFeed>, DatabaseError> {
        let sql = format!("SELECT {COLUMNS} FROM user_feeds WHERE user_id = $1 ORDER BY id");
        within(async {
            Ok(on_pool!(self.database, pool => sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(user_id).fetch_all(pool).await)?)
        })
        .await
    }

    /// The names of the sources that a user's feeds are.
    pub async fn names(&self, user_id: i64) -> Result<Vec<String>, DatabaseError> {
        within(async {
            Ok(on_pool!(self.database, pool => sqlx::query_scalar(NAMES).bind(user_id).fetch_all(pool).await)?)
        })
        .await
    }

    /// Takes a feed from a user; false when the user has none with this identifier. What nobody else has added goes with it.
    pub async fn remove(&self, user_id: i64, id: i64) -> Result<bool, DatabaseError> {
        let removed: Option<String> = within(async {
            Ok(on_pool!(self.database, pool => sqlx::query_scalar(REMOVE).bind(id).bind(user_id).fetch_optional(pool).await)?)
        })
        .await?;
        let Some(source) = removed else {
            return Ok(false);
        };
        self.forget(&[source]).await;
        Ok(true)
    }

    /// Deletes an account, and then what no other user has added.
    pub async fn delete_user(
        &self,
        users: &Users,
        user_id: i64,
        now: DateTime<Utc>,
    ) -> Result<Deleted, DatabaseError> {
        let sources = self.names(user_id).await?;
        let deleted = users.delete(user_id, now).await?;
        self.forget(&sources).await;
        Ok(deleted)
    }

    /// The sources that all users' feeds are, each once.
    pub async fn sources(&self) -> Result<Vec<Arc<dyn Source>>, DatabaseError> {
        let urls: Vec<String> = within(async {
            Ok(on_pool!(self.database, pool => sqlx::query_scalar(ALL).fetch_all(pool).await)?)
        })
        .await?;
        let wanted: HashSet<&str> = urls.iter().map(String::as_str).collect();
        self.sources
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|url, _| wanted.contains(url.as_str()));
        let urls = urls.iter().filter_map(|url| Url::parse(url).ok());
        Ok(urls.map(|url| self.source(&url)).collect())
    }
}

/// Has whoever adds a feed wait for those who do, to the end of the transaction: else all would find room for the last one.
fn take_turns(dialect: Dialect) -> &'static str {
    match dialect {
        // Any number that nobody else takes for a lock of a whole transaction.
        Dialect::Postgres => "SELECT pg_advisory_xact_lock(7310579612)",
        // A writing transaction is alone there from its beginning.
        Dialect::Sqlite => "SELECT 1",
    }
}

fn name(url: &Url) -> String {
    source_name(&hash(url))
}

fn hash(url: &Url) -> String {
    hex(&Sha256::digest(url.as_str().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::personal::is_personal;

    fn named(text: &str) -> String {
        name(&Url::parse(text).expect("a URL"))
    }

    #[test]
    fn names_tell_all_addresses_apart_and_show_nothing_of_them() {
        let one = named("https://feeds.example/s3cret/rss?token=s3cret");
        assert!(is_personal(&one), "{one}");
        for piece in ["feeds", "example", "s3cret", "rss", "/", "?"] {
            assert!(!one.replace("user-feed:", "").contains(piece), "{one}");
        }
        assert_ne!(one, named("https://feeds.example/s3cret/rss?token=other"));
        assert_ne!(
            named("https://feeds.example/rss"),
            named("http://feeds.example/rss")
        );
    }
}
