//! Every SQL statement of the origin: what is stored, what was asked when, and pages of articles.
//!
//! One form of each statement runs on PostgreSQL and on SQLite (`articles/statements.rs` holds the few words in which they
//! differ), and one contract suite proves it on both. Reads never wait for writes; a batch is stored whole or not at all.
//! What is asked of whom, and when, is decided in `ingest`.

mod connect;
mod input;
mod row;
mod statements;

pub use connect::{Database, DatabaseFault};
pub use row::{Article, Asked};

use crate::article::{Category, NewArticle};
use chrono::{DateTime, Utc};
use connect::Pool;
use row::{ArticleRow, AskedRow};
use statements::Statements;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Longest wait for anything asked of the database. A server that fell silent, frozen or behind a cut line, enforces no limit of
/// its own, and its connections stay open for a quarter of an hour.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(8);

/// Runs the same code on the pool of either database.
macro_rules! on_pool {
    ($self:expr, $pool:ident => $body:expr) => {
        match &$self.pool {
            Pool::Postgres($pool) => $body,
            Pool::Sqlite($pool) => $body,
        }
    };
}

/// Why the database gave no answer. Not-found is no failure: look-ups give `Option`.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ArticlesError {
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

/// What a source answered to a question, to be stored and remembered in one step.
#[derive(Debug)]
pub struct Answer<'a> {
    pub source: &'a str,
    pub category: Option<Category>,
    /// "ok", "empty" or the stable code of the failure.
    pub outcome: &'a str,
    pub articles: &'a [NewArticle],
    pub asked_at: DateTime<Utc>,
    pub ask_again_at: DateTime<Utc>,
}

/// Which articles, from which point on, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageQuery {
    /// Only articles of these sources.
    pub sources: Vec<String>,
    pub category: Option<Category>,
    /// Only articles that come after this one in the order of pages.
    pub after: Option<Position>,
    pub limit: u16,
}

/// Where an article stands in the order of pages: by time, then by identifier, both falling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub published_at: DateTime<Utc>,
    pub id: i64,
}

/// A page of articles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub articles: Vec<Article>,
    /// All articles that match, on whatever page.
    pub total: i64,
    /// The last article of this page, when others follow it.
    pub next: Option<Position>,
}

/// The articles and what is remembered of questions, in either database.
#[derive(Debug)]
pub struct Articles {
    pool: Pool,
    sql: &'static Statements,
    migrated: AtomicBool,
}

impl Articles {
    /// Prepares the pool; nothing is connected yet, so a database that is down is met by the first statement.
    pub fn open(database: &Database, connections_max: u32) -> Result<Self, ArticlesError> {
        let (pool, sql) = connect::pool(database, connections_max)?;
        Ok(Self {
            pool,
            sql,
            migrated: AtomicBool::new(false),
        })
    }

    /// Brings the schema up to date. Processes that start at once take turns.
    pub async fn migrate(&self) -> Result<(), ArticlesError> {
        connect::migrate(&self.pool).await?;
        self.migrated.store(true, Ordering::Release);
        Ok(())
    }

    /// Whether the database answers and its schema is ready.
    pub async fn ping(&self) -> Result<(), ArticlesError> {
        if !self.migrated.load(Ordering::Acquire) {
            return Err(ArticlesError::Unavailable("not migrated yet".to_owned()));
        }
        within(async {
            on_pool!(self, pool => sqlx::query("SELECT 1").execute(pool).await.map(drop))?;
            Ok(())
        })
        .await
    }

    /// Stores what a source answered and remembers that it was asked. Returns how many articles are new or changed.
    pub async fn store(&self, answer: &Answer<'_>) -> Result<u64, ArticlesError> {
        let batch = input::Batch::new(answer.articles);
        let category = category_column(answer.category);
        let count = i64::try_from(answer.articles.len()).unwrap_or(i64::MAX);
        within(async { on_pool!(self, pool => {
            let mut tx = pool.begin_with(self.sql.begin_write).await?;
            let mut changed = 0;
            if !answer.articles.is_empty() {
                changed = sqlx::query(self.sql.upsert).bind(batch.articles()?).bind(answer.source)
                    .bind(input::stored_time(answer.asked_at)).execute(&mut *tx).await?.rows_affected();
                sqlx::query(self.sql.add_categories).bind(batch.categories()?).bind(answer.source).execute(&mut *tx).await?;
                sqlx::query(self.sql.move_categories).bind(batch.categories()?).bind(answer.source).execute(&mut *tx).await?;
            }
            sqlx::query(self.sql.remember).bind(answer.source).bind(category).bind(input::stored_time(answer.asked_at))
                .bind(answer.outcome).bind(count).bind(input::stored_time(answer.ask_again_at)).execute(&mut *tx).await?;
            tx.commit().await?;
            Ok(changed)
        })}).await
    }

    /// What is remembered of every question ever asked, in no order.
    pub async fn asked(&self) -> Result<Vec<Asked>, ArticlesError> {
        let rows: Vec<AskedRow> = within(async {
            Ok(on_pool!(self, pool => sqlx::query_as(self.sql.asked).fetch_all(pool).await)?)
        })
        .await?;
        Ok(rows.into_iter().map(Asked::from).collect())
    }

    /// One page, newest first.
    pub async fn page(&self, query: &PageQuery) -> Result<Page, ArticlesError> {
        let sources = input::json(&query.sources)?;
        let category = category_column(query.category);
        let after = query.after.unwrap_or(Position {
            published_at: input::LAST_TIME,
            id: i64::MAX,
        });
        let (page_sql, total_sql) = match query.category {
            Some(_) => (self.sql.page_of_category, self.sql.total_of_category),
            None => (self.sql.page, self.sql.total),
        };
        // One more than asked for tells whether another page follows.
        let rows_max = i64::from(query.limit) + 1;
        let (mut rows, total): (Vec<ArticleRow>, i64) = within(async { on_pool!(self, pool => {
            let rows = sqlx::query_as(page_sql).bind(&sources).bind(category)
                .bind(input::stored_time(after.published_at)).bind(after.id).bind(rows_max).fetch_all(pool).await?;
            let total = sqlx::query_scalar(total_sql).bind(&sources).bind(category).fetch_one(pool).await?;
            Ok((rows, total))
        })}).await?;
        let more = rows.len() > usize::from(query.limit);
        rows.truncate(usize::from(query.limit));
        let articles: Vec<Article> = rows.into_iter().map(Article::from).collect();
        let next = articles.last().filter(|_| more).map(|last| Position {
            published_at: last.published_at,
            id: last.id,
        });
        Ok(Page {
            articles,
            total,
            next,
        })
    }

    /// One article by its identifier.
    pub async fn by_id(&self, id: i64) -> Result<Option<Article>, ArticlesError> {
        let row: Option<ArticleRow> = within(async {
            Ok(on_pool!(self, pool => sqlx::query_as(self.sql.by_id).bind(id).fetch_optional(pool).await)?)
        }).await?;
        Ok(row.map(Article::from))
    }

    /// How many articles each source has in store.
    pub async fn counts(&self) -> Result<Vec<(String, i64)>, ArticlesError> {
        within(async {
            Ok(on_pool!(self, pool => sqlx::query_as(self.sql.counts).fetch_all(pool).await)?)
        })
        .await
    }

    /// Closes the connections, so that the database is left tidy.
    pub async fn close(&self) {
        on_pool!(self, pool => pool.close().await);
    }
}

/// What the database answers within the time there is.
async fn within<T>(
    work: impl Future<Output = Result<T, ArticlesError>>,
) -> Result<T, ArticlesError> {
    tokio::time::timeout(ANSWER_TIMEOUT, work)
        .await
        .unwrap_or_else(|_| {
            Err(ArticlesError::Unavailable(format!(
                "no answer within {ANSWER_TIMEOUT:?}"
            )))
        })
}

/// The column's word for "whatever the category" is the empty text: NULL would not be unique in a key.
fn category_column(category: Option<Category>) -> &'static str {
    category.map_or("", Category::as_str)
}
