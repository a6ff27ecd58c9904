//! Every SQL statement on articles: what is stored, what was asked when, and pages of articles (`articles/lists.rs`).
//!
//! One form of each statement runs on PostgreSQL and on SQLite (`articles/statements.rs` holds the few words in which they
//! differ), and one contract suite proves it on both. Reads never wait for writes; a batch is stored whole or not at all.
//! What is asked of whom, and when, is decided in `ingest`.

mod backfill;
#[cfg(test)]
mod crowds;
mod derived;
mod feed;
mod filters;
mod input;
mod lists;
mod outdated;
mod row;
mod scoring;
mod statements;

pub use backfill::Rescored;
pub use feed::Selection;
pub use filters::Filters;
pub use lists::{Page, PageQuery, TOTAL_MAX};
pub(crate) use row::ArticleRow;
pub use row::{Article, Asked, Sentiment, Sighting};

use crate::article::{Category, NewArticle};
use crate::database::{
    Connection, Database, DatabaseError, Dialect, json, on_pool, stored_time, within,
};
use crate::outbox::{self, Outbox};
use crate::personal::is_personal;
use crate::sentiment::{Lexicon, Scorer};
use crate::tag::Tag;
use chrono::{DateTime, Utc};
use outdated::Change;
use row::AskedRow;
use scoring::Scoring;
#[cfg(test)]
pub(crate) use statements::plan_on_sqlite;
use statements::{POSTGRES, SQLITE, Statements};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Articles of one personal source that are kept, the newest: several times what one answer brings, so that nothing that a feed
/// still lists goes and comes again.
const PERSONAL_ARTICLES_MAX: i64 = 500;

/// What a source answered to a question, to be stored and remembered in one step.
#[derive(Debug)]
pub struct Answer<'a> {
    pub source: &'a str,
    pub category: Option<Category>,
    /// Whether the source narrows its answers by category.
    pub by_category: bool,
    /// "ok", "empty" or the stable code of the failure.
    pub outcome: &'a str,
    pub articles: &'a [NewArticle],
    pub asked_at: DateTime<Utc>,
    pub stored_at: DateTime<Utc>,
    pub ask_again_at: DateTime<Utc>,
}

/// Where an article stands in the order of pages: by time, then by identifier, both falling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub published_at: DateTime<Utc>,
    pub id: i64,
}

/// The articles and what is remembered of questions, in either database.
#[derive(Debug)]
pub struct Articles {
    database: Database,
    outbox: Outbox,
    sql: &'static Statements,
    scoring: Scoring,
}

impl Articles {
    /// Without a cache that has to be told of changes.
    pub fn new(database: &Database) -> Self {
        Self::with_outbox(database, Outbox::without_cache(database))
    }

    /// Changes are queued there.
    pub fn with_outbox(database: &Database, outbox: Outbox) -> Self {
        Self {
            outbox,
            scoring: Scoring::new(Arc::new(Lexicon::new())),
            sql: match database.dialect() {
                Dialect::Postgres => &POSTGRES,
                Dialect::Sqlite => &SQLITE,
            },
            database: database.clone(),
        }
    }

    /// Where changes are queued.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Scored by this model from now on, in place of the lexicon.
    #[must_use]
    pub fn scored_by(mut self, scorer: Arc<dyn Scorer>) -> Self {
        self.scoring = Scoring::new(scorer);
        self
    }

    /// Stores what a source answered, remembers that it was asked, and queues what this makes out of date. Returns how many
    /// articles are new or changed.
    pub async fn store(&self, answer: &Answer<'_>) -> Result<u64, DatabaseError> {
        let batch = input::Batch::new(answer.articles);
        let category = category_column(answer.category);
        let count = i64::try_from(answer.articles.len()).unwrap_or(i64::MAX);
        let (asked_at, stored_at) = (stored_time(answer.asked_at), stored_time(answer.stored_at));
        let ask_again_at = stored_time(answer.ask_again_at);
        // Before anything of the database is held: a model may take its time.
        let tones = derived::tones(&self.database, &self.scoring, answer.source, &batch).await?;
        let rows = batch.articles(|hash| tones.label(hash))?;
        let changed = within(async { on_pool!(self.database, pool => {
            let mut tx = pool.begin_with(self.database.begin_write()).await?;
            sqlx::query(self.sql.take_turns).execute(&mut *tx).await?;
            let first = sqlx::query(self.sql.first).bind(answer.source).bind(category).bind(asked_at)
                .bind(answer.outcome).bind(ask_again_at).execute(&mut *tx).await?.rows_affected() > 0;
            let before: Option<String> = sqlx::query_scalar(self.sql.outcome).bind(answer.source).bind(category)
                .fetch_optional(&mut *tx).await?;
            let mut written: Vec<i64> = Vec::new();
            let (mut moved, mut relinked): (Vec<i64>, Vec<i64>) = Default::default();
            if !answer.articles.is_empty() {
                let dialect = self.database.dialect();
                let known = derived::known(&mut Connection::from(&mut *tx), dialect, answer.source, &batch).await?;
                written = sqlx::query_scalar(self.sql.upsert).bind(&rows).bind(answer.source)
                    .bind(asked_at).bind(stored_at).fetch_all(&mut *tx).await?;
                moved = sqlx::query_scalar(self.sql.add_categories).bind(batch.categories()?).bind(answer.source)
                    .fetch_all(&mut *tx).await?;
                // Where it stands is part of what is shown of it.
                let touch = derived::statements(dialect).touch;
                sqlx::query(touch).bind(json(&moved)?).bind(stored_at).execute(&mut *tx).await?;
                let connection = &mut Connection::from(&mut *tx);
                let of_batch = (answer.source, &*written, &batch, stored_at);
                relinked = derived::write(connection, dialect, self.scoring.scorer(), of_batch, &known, &tones).await?;
            }
            if is_personal(answer.source) && !answer.articles.is_empty() {
                sqlx::query(self.sql.list).bind(answer.source).bind(batch.hashes()?).bind(stored_at).execute(&mut *tx).await?;
            }
            if is_personal(answer.source) && !written.is_empty() {
                sqlx::query(self.sql.trim).bind(answer.source).bind(PERSONAL_ARTICLES_MAX).execute(&mut *tx).await?;
            }
            let change = Change { answer, first, before: before.as_deref(), written: &written, moved: &moved, relinked: &relinked };
            if let Some(row) = self.outbox.row(&change.outdated())? {
                sqlx::query(outbox::QUEUE).bind(row).bind(stored_at).execute(&mut *tx).await?;
            }
            sqlx::query(self.sql.remember).bind(answer.source).bind(category).bind(asked_at).bind(answer.outcome)
                .bind(count).bind(ask_again_at).bind(change.is_shown().then_some(stored_at)).execute(&mut *tx).await?;
            tx.commit().await?;
            Ok(written.len())
        })}).await?;
        self.outbox.wake();
        Ok(u64::try_from(changed).unwrap_or(u64::MAX))
    }

    /// Remembers an answer that holds only as long as there is no other one.
    pub async fn remember_first(&self, answer: &Answer<'_>) -> Result<(), DatabaseError> {
        let category = category_column(answer.category);
        let (asked_at, ask_again_at) = (
            stored_time(answer.asked_at),
            stored_time(answer.ask_again_at),
        );
        within(async {
            on_pool!(self.database, pool => sqlx::query(self.sql.first).bind(answer.source).bind(category).bind(asked_at)
                .bind(answer.outcome).bind(ask_again_at).execute(pool).await.map(drop))?;
            Ok(())
        })
        .await
    }

    /// What is remembered of every question that these sources were ever asked, in no order.
    pub async fn asked(&self, sources: &[&str]) -> Result<Vec<Asked>, DatabaseError> {
        let sources = json(&sources)?;
        let rows: Vec<AskedRow> = within(async {
            Ok(on_pool!(self.database, pool => sqlx::query_as(self.sql.asked).bind(&sources).fetch_all(pool).await)?)
        })
        .await?;
        Ok(rows.into_iter().map(Asked::from).collect())
    }

    /// Remembers which sources are enabled, and returns since when. When these are others than before, every list is out of date.
    pub async fn enable(
        &self,
        names: &BTreeSet<&str>,
        now: DateTime<Utc>,
    ) -> Result<DateTime<Utc>, DatabaseError> {
        let (names, now) = (json(names)?, stored_time(now));
        let since = within(async { on_pool!(self.database, pool => {
            let mut tx = pool.begin_with(self.database.begin_write()).await?;
            let before: Option<(String, DateTime<Utc>)> = sqlx::query_as(self.sql.enabled).fetch_optional(&mut *tx).await?;
            if let Some((_, since)) = before.as_ref().filter(|(before, _)| *before == names) {
                return Ok(*since);
            }
            let since: DateTime<Utc> = sqlx::query_scalar(self.sql.enable).bind(&names).bind(now).fetch_one(&mut *tx).await?;
            let lists = [Tag::list(), Tag::search(), Tag::sources()].into();
            // The first ones of all replace no others.
            if let Some(row) = self.outbox.row(&lists)?.filter(|_| before.is_some()) {
                sqlx::query(outbox::QUEUE).bind(row).bind(now).execute(&mut *tx).await?;
            }
            tx.commit().await?;
            Ok(since)
        })})
        .await?;
        self.outbox.wake();
        Ok(since)
    }

    /// One article by its identifier.
    pub async fn by_id(&self, id: i64) -> Result<Option<Article>, DatabaseError> {
        let row: Option<ArticleRow> = within(async {
            Ok(on_pool!(self.database, pool => sqlx::query_as(self.sql.by_id).bind(id).fetch_optional(pool).await)?)
        }).await?;
        Ok(row.map(Article::from))
    }

    /// How many articles each of these sources has in store, in no order.
    pub async fn counts(&self, sources: &[&str]) -> Result<Vec<(String, i64)>, DatabaseError> {
        let sources = json(&sources)?;
        within(async {
            Ok(on_pool!(self.database, pool => sqlx::query_as(self.sql.counts).bind(&sources).fetch_all(pool).await)?)
        })
        .await
    }
}

/// The columns that `ArticleRow` reads, of an article `a`.
pub(crate) fn article_columns(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Postgres => POSTGRES.columns,
        Dialect::Sqlite => SQLITE.columns,
    }
}

/// Has whoever writes or deletes articles wait for those who do, to the end of the transaction.
pub(crate) fn take_turns(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Postgres => POSTGRES.take_turns,
        Dialect::Sqlite => SQLITE.take_turns,
    }
}

/// The column's word for "whatever the category" is the empty text: NULL would not be unique in a key.
fn category_column(category: Option<Category>) -> &'static str {
    category.map_or("", Category::as_str)
}
