//! What is computed after the fact: for articles that were stored before this was computed at all, and with a model that came
//! later. In batches, each in a transaction of its own; what is left after an interruption is found again by what is missing. So the
//! last batch also voids, in its transaction, the lists in which articles stand otherwise now: after it nothing is missing.

use super::Articles;
use super::derived::{self, SCORING_TIME, Words, statements};
use super::scoring::OwnedText;
use crate::article::{language_of, title};
use crate::database::{Connection, DatabaseError, json, on_pool, stored_time, within};
use crate::duplicates::{Changed, link};
use crate::outbox;
use crate::personal::is_personal;
use crate::sentiment::Score;
use crate::tag::Tag;
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Articles of a batch: a matter of milliseconds for the lexicon, of a second or two for a small neural network.
const BATCH: i64 = 100;
/// Articles among which missed scores are looked for, the newest: what was missed was stored of late.
const MISSED_AMONG: i64 = 5_000;

#[derive(sqlx::FromRow)]
struct Underived {
    id: i64,
    source: String,
    outlet: Option<String>,
    title: String,
    description: Option<String>,
    language: Option<String>,
    published_at: DateTime<Utc>,
}

#[derive(Serialize)]
struct DerivedInput {
    id: i64,
    headline: String,
    language: Option<String>,
}

#[derive(PartialEq, sqlx::FromRow)]
struct Unscored {
    id: i64,
    source: String,
    title: String,
    description: Option<String>,
    language: Option<String>,
}

/// A batch of articles that have been scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rescored {
    /// Where to go on.
    pub last: i64,
    /// Articles that were looked at.
    pub articles: usize,
    /// Those of them that the model could score.
    pub scored: usize,
}

impl Articles {
    /// Computes for a batch of stored articles what has never been computed for them: language, headline, sentiment, words and
    /// duplicates. Returns how many there were; none when all is done.
    pub async fn catch_up(&self, now: DateTime<Utc>) -> Result<usize, DatabaseError> {
        let (dialect, now) = (self.database.dialect(), stored_time(now));
        let sql = statements(dialect);
        let mut rows: Vec<Underived> = within(async {
            Ok(on_pool!(self.database, pool => {
                sqlx::query_as(sql.underived).bind(BATCH + 1).fetch_all(pool).await?
            }))
        })
        .await?;
        let is_last = is_last(&mut rows);
        if rows.is_empty() {
            return Ok(0);
        }
        let (derived, changed): (Vec<DerivedInput>, Vec<Changed>) = rows.iter().map(derive).unzip();
        let texts = rows.iter().zip(&derived).map(|(row, derived)| {
            let text = OwnedText {
                title: row.title.clone(),
                description: row.description.clone(),
                language: derived.language.clone(),
            };
            (row.id, text)
        });
        let scores = self.scoring.score(texts.collect()).await;
        let derived = json(&derived)?;
        within(async {
            on_pool!(self.database, pool => {
                let mut tx = pool.begin_with(self.database.begin_write()).await?;
                sqlx::query(self.sql.take_turns).execute(&mut *tx).await?;
                let missing: Vec<i64> = sqlx::query_scalar(sql.set_derived).bind(&derived).fetch_all(&mut *tx).await?;
                let missing: BTreeSet<i64> = missing.into_iter().collect();
                let scores: Vec<_> = of(&missing, scores.into_iter(), |(id, _)| *id);
                let changed = of(&missing, changed.into_iter(), |article| article.id);
                let connection = &mut Connection::from(&mut *tx);
                derived::write_scores(connection, dialect, self.scoring.scorer(), &scores, now).await?;
                let texts = rows.iter().map(|row| Words {
                    source: &row.source,
                    title: &row.title,
                    description: row.description.as_deref(),
                });
                derived::write_words(connection, dialect, texts).await?;
                let linked = link(connection, dialect, &changed, now).await?;
                let shared = rows.iter().filter(|row| missing.contains(&row.id) && !is_personal(&row.source));
                let tags: BTreeSet<Tag> = shared.map(|row| row.id).chain(linked).map(Tag::article).collect();
                if let Some(row) = self.outbox.row(&with_lists(&tags, is_last))? {
                    sqlx::query(outbox::QUEUE).bind(row).bind(now).execute(&mut *tx).await?;
                }
                if is_last {
                    sqlx::query(self.sql.all_changed).bind(now).execute(&mut *tx).await?;
                }
                tx.commit().await?;
                Ok(())
            })
        })
        .await?;
        self.outbox.wake();
        Ok(rows.len())
    }

    /// Writes what searches are narrowed by into a batch of articles that were stored before that was done. Nothing that is shown
    /// changes. Returns how many there were.
    pub async fn catch_up_filters(&self) -> Result<u64, DatabaseError> {
        let Some(set) = statements(self.database.dialect()).set_filters else {
            return Ok(0);
        };
        within(async {
            on_pool!(self.database, pool => {
                let mut tx = pool.begin_with(self.database.begin_write()).await?;
                sqlx::query(self.sql.take_turns).execute(&mut *tx).await?;
                let done = sqlx::query(set).bind(BATCH).execute(&mut *tx).await?.rows_affected();
                tx.commit().await?;
                Ok(done)
            })
        })
        .await
    }

    /// Voids the lists and searches in which articles may stand otherwise after batches of these, and marks them as changed, before the
    /// last one does: not with each of them, else a cache would keep nothing for as long as it takes.
    pub async fn void_lists(&self, now: DateTime<Utc>) -> Result<(), DatabaseError> {
        let now = stored_time(now);
        let row = self.outbox.row(&with_lists(&BTreeSet::new(), true))?;
        within(async {
            on_pool!(self.database, pool => {
                let mut tx = pool.begin_with(self.database.begin_write()).await?;
                sqlx::query(self.sql.all_changed).bind(now).execute(&mut *tx).await?;
                if let Some(row) = row {
                    sqlx::query(outbox::QUEUE).bind(row).bind(now).execute(&mut *tx).await?;
                }
                tx.commit().await?;
                Ok(())
            })
        })
        .await?;
        self.outbox.wake();
        Ok(())
    }

    /// Scores a batch of articles after this identifier that this version of the model hasn't scored; `None` when there is none.
    pub async fn rescore(
        &self,
        after: i64,
        now: DateTime<Utc>,
    ) -> Result<Option<Rescored>, DatabaseError> {
        let (dialect, now) = (self.database.dialect(), stored_time(now));
        let (sql, model) = (statements(dialect), self.scoring.scorer().model());
        let mut rows: Vec<Unscored> = within(async {
            Ok(on_pool!(self.database, pool => {
                sqlx::query_as(sql.unscored).bind(after).bind(&model.name).bind(&model.version).bind(BATCH + 1).fetch_all(pool).await?
            }))
        })
        .await?;
        let is_last = is_last(&mut rows);
        let Some(last) = rows.last().map(|row| row.id) else {
            return Ok(None);
        };
        let articles = rows.len();
        let scores = self.scoring.score(texts(&rows)).await;
        let scored = scores.values().filter(|score| score.is_some()).count();
        self.write_rescored(&rows, scores, is_last, now).await?;
        Ok(Some(Rescored {
            last,
            articles,
            scored,
        }))
    }

    /// Scores those of the newest articles that have no score at all: they weren't reached in time when they were stored, or can't be
    /// scored. Gives how many were.
    pub async fn score_missed(&self, now: DateTime<Utc>) -> Result<usize, DatabaseError> {
        let missed = statements(self.database.dialect()).missed;
        let (mut after, mut scored, now) = (0_i64, 0, stored_time(now));
        loop {
            let rows: Vec<Unscored> = within(async {
                Ok(on_pool!(self.database, pool => {
                    sqlx::query_as(missed).bind(after).bind(BATCH).bind(MISSED_AMONG).fetch_all(pool).await?
                }))
            })
            .await?;
            let Some(last) = rows.last() else {
                return Ok(scored);
            };
            after = last.id;
            let reached = self.scoring.score_reached(texts(&rows), SCORING_TIME).await;
            let is_reached = reached.len() == rows.len();
            let found: BTreeMap<i64, Option<Score>> = reached
                .into_iter()
                .filter(|(_, score)| score.is_some())
                .collect();
            if !found.is_empty() {
                scored += found.len();
                let mut given = rows.iter().filter(|row| found.contains_key(&row.id));
                let is_shared = given.any(|row| !is_personal(&row.source));
                self.write_rescored(&rows, found, is_shared, now).await?;
            }
            if !is_reached {
                // The model is busy, or hangs: the others wait for the next round.
                return Ok(scored);
            }
        }
    }

    /// Writes these scores of these texts, where they are still the same.
    async fn write_rescored(
        &self,
        rows: &[Unscored],
        scores: BTreeMap<i64, Option<Score>>,
        is_last: bool,
        now: DateTime<Utc>,
    ) -> Result<(), DatabaseError> {
        let dialect = self.database.dialect();
        let sql = statements(dialect);
        let all = json(&scores.keys().collect::<Vec<_>>())?;
        within(async {
            on_pool!(self.database, pool => {
                let mut tx = pool.begin_with(self.database.begin_write()).await?;
                sqlx::query(self.sql.take_turns).execute(&mut *tx).await?;
                // What was stored anew meanwhile was scored with it.
                let texts: Vec<Unscored> = sqlx::query_as(sql.texts_of).bind(&all).fetch_all(&mut *tx).await?;
                let same: BTreeSet<i64> = texts.iter().filter(|text| rows.contains(text)).map(|text| text.id).collect();
                let scores: Vec<_> = of(&same, scores.into_iter(), |(id, _)| *id);
                let ids = json(&same)?;
                let connection = &mut Connection::from(&mut *tx);
                derived::write_scores(connection, dialect, self.scoring.scorer(), &scores, now).await?;
                sqlx::query(sql.touch).bind(&ids).bind(now).execute(&mut *tx).await?;
                let shared = rows.iter().filter(|row| same.contains(&row.id) && !is_personal(&row.source));
                let tags: BTreeSet<Tag> = shared.map(|row| Tag::article(row.id)).collect();
                if let Some(row) = self.outbox.row(&with_lists(&tags, is_last))? {
                    sqlx::query(outbox::QUEUE).bind(row).bind(now).execute(&mut *tx).await?;
                }
                if is_last {
                    sqlx::query(self.sql.all_changed).bind(now).execute(&mut *tx).await?;
                }
                tx.commit().await?;
                Ok(())
            })
        })
        .await?;
        self.outbox.wake();
        Ok(())
    }
}

fn texts(rows: &[Unscored]) -> Vec<(i64, OwnedText)> {
    let texts = rows.iter().map(|row| {
        let text = OwnedText {
            title: row.title.clone(),
            description: row.description.clone(),
            language: row.language.clone(),
        };
        (row.id, text)
    });
    texts.collect()
}

/// Whether no further batch follows this one, which was read with one more than it may hold.
fn is_last<T>(rows: &mut Vec<T>) -> bool {
    let batch = usize::try_from(BATCH).unwrap_or(usize::MAX);
    let is_last = rows.len() <= batch;
    rows.truncate(batch);
    is_last
}

/// These tags, with those of all lists and searches after the last batch.
fn with_lists(tags: &BTreeSet<Tag>, is_last: bool) -> BTreeSet<Tag> {
    let lists = is_last.then(|| [Tag::list(), Tag::search()]);
    lists
        .into_iter()
        .flatten()
        .chain(tags.iter().cloned())
        .collect()
}

fn derive(row: &Underived) -> (DerivedInput, Changed) {
    let headline = title::normalised(&row.title, &[row.outlet.as_deref()]);
    let language = row
        .language
        .clone()
        .or_else(|| language_of(&row.title, row.description.as_deref()));
    let derived = DerivedInput {
        id: row.id,
        headline: headline.clone(),
        language,
    };
    let changed = Changed {
        id: row.id,
        source: row.source.clone(),
        outlet: row.outlet.clone(),
        headline,
        published_at: row.published_at,
    };
    (derived, changed)
}

/// Those of these articles.
fn of<T>(ids: &BTreeSet<i64>, all: impl Iterator<Item = T>, id: impl Fn(&T) -> i64) -> Vec<T> {
    all.filter(|one| ids.contains(&id(one))).collect()
}
