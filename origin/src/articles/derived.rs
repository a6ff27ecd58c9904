//! What is computed from articles when they are stored: how they sound, which words they bring, which story they tell.
//!
//! Scoring happens before the transaction begins, for texts that are new or differ from what is stored; what can't be scored is
//! logged and has no sentiment. The rest happens in the transaction: who reads the list right after it sees all or nothing.

use super::input::Batch;
use super::scoring::{OwnedText, Scoring};
use crate::article::NewArticle;
use crate::database::{
    Connection, Database, DatabaseError, Dialect, json, on_connection, on_pool, within,
};
use crate::duplicates::{Changed, link, touch_shown};
use crate::personal::is_personal;
use crate::search::worth_remembering;
use crate::sentiment::{Label, Score, Scorer};
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What readers of a live question wait for a model at most.
pub(super) const SCORING_TIME: Duration = Duration::from_secs(10);

/// How the new and changed texts of a batch sound, by the hash of their URL; `None` for those that have no sentiment.
#[derive(Debug, Default)]
pub(super) struct Tones(BTreeMap<String, Option<Score>>);

impl Tones {
    pub(super) fn label(&self, url_hash: &str) -> Option<Label> {
        let score = self.0.get(url_hash).copied().flatten();
        score.map(|score| score.label)
    }
}

#[derive(sqlx::FromRow)]
struct Stored {
    url_hash: String,
    title: String,
    description: Option<String>,
}

#[derive(sqlx::FromRow)]
struct ChangedRow {
    url_hash: String,
    url: String,
    #[sqlx(flatten)]
    article: Changed,
}

/// What an article was linked by, and shown with beside others, before its batch was written.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Known {
    id: i64,
    url: String,
    outlet: Option<String>,
    headline: Option<String>,
    published_at: DateTime<Utc>,
}

impl Known {
    /// Whether it may tell another story now.
    fn is_outdated_by(&self, article: &Changed) -> bool {
        self.headline.as_ref() != Some(&article.headline)
            || self.outlet != article.outlet
            || self.published_at != article.published_at
    }
}

impl ChangedRow {
    /// Whether an article that tells the same story shows this one otherwise now.
    fn is_shown_otherwise(&self, known: &Known) -> bool {
        self.url != known.url
            || self.article.outlet != known.outlet
            || self.article.published_at != known.published_at
    }
}

/// What is stored of a batch that is about to be written.
pub(super) async fn known(
    connection: &mut Connection<'_>,
    dialect: Dialect,
    source: &str,
    batch: &Batch<'_>,
) -> Result<BTreeMap<i64, Known>, DatabaseError> {
    let hashes = batch.hashes()?;
    let known: Vec<Known> = on_connection!(connection, c => {
        sqlx::query_as(statements(dialect).known).bind(&hashes).bind(source).fetch_all(&mut **c).await?
    });
    Ok(known.into_iter().map(|known| (known.id, known)).collect())
}

#[derive(Serialize)]
struct SentimentInput {
    article_id: i64,
    score: f64,
    label: &'static str,
}

/// Scores what of a batch is new or will change.
pub(super) async fn tones(
    database: &Database,
    scoring: &Scoring,
    source: &str,
    batch: &Batch<'_>,
) -> Result<Tones, DatabaseError> {
    let hashes = batch.hashes()?;
    let stored: Vec<Stored> = within(async {
        Ok(on_pool!(database, pool => {
            sqlx::query_as(statements(database.dialect()).texts).bind(&hashes).bind(source).fetch_all(pool).await?
        }))
    })
    .await?;
    let stored: BTreeMap<&str, &Stored> = stored
        .iter()
        .map(|row| (row.url_hash.as_str(), row))
        .collect();
    let changed = batch.latest().filter_map(|(hash, article)| {
        let text = changed_text(article, stored.get(hash).copied())?;
        Some((hash.to_owned(), text))
    });
    let scores = scoring.score_within(changed.collect(), SCORING_TIME).await;
    Ok(Tones(scores))
}

/// What the article's text will be, when it won't be what is stored. A description that is left out stays.
fn changed_text(article: &NewArticle, stored: Option<&Stored>) -> Option<OwnedText> {
    let kept = stored.and_then(|stored| stored.description.as_ref());
    let description = article.description.as_ref().or(kept);
    let same = stored.is_some_and(|stored| {
        stored.title == article.title && stored.description.as_ref() == description
    });
    (!same).then(|| OwnedText {
        title: article.title.clone(),
        description: description.cloned(),
        language: article.language.clone(),
    })
}

/// Writes what follows from a batch of which these articles were just written. Gives those that are shown otherwise now.
pub(super) async fn write(
    connection: &mut Connection<'_>,
    dialect: Dialect,
    scorer: &dyn Scorer,
    (source, written, batch, at): (&str, &[i64], &Batch<'_>, DateTime<Utc>),
    known: &BTreeMap<i64, Known>,
    tones: &Tones,
) -> Result<Vec<i64>, DatabaseError> {
    let written = json(&written)?;
    let changed: Vec<ChangedRow> = on_connection!(connection, c => {
        sqlx::query_as(statements(dialect).changed).bind(&written).fetch_all(&mut **c).await?
    });
    let scores = changed.iter().filter_map(|row| {
        let score = tones.0.get(&row.url_hash)?;
        Some((row.article.id, *score))
    });
    let scores: Vec<(i64, Option<Score>)> = scores.collect();
    write_scores(connection, dialect, scorer, &scores, at).await?;
    let texts = batch.latest().map(|(_, article)| Words {
        source,
        title: &article.title,
        description: article.description.as_deref(),
    });
    write_words(connection, dialect, texts).await?;
    let known = |row: &ChangedRow| known.get(&row.article.id);
    let shown_otherwise: Vec<i64> = changed
        .iter()
        .filter(|row| known(row).is_some_and(|known| row.is_shown_otherwise(known)))
        .map(|row| row.article.id)
        .collect();
    let told_otherwise: Vec<Changed> = changed
        .iter()
        .filter(|row| known(row).is_none_or(|known| known.is_outdated_by(&row.article)))
        .map(|row| row.article.clone())
        .collect();
    let mut linked = link(connection, dialect, &told_otherwise, at).await?;
    linked.extend(touch_shown(connection, dialect, &shown_otherwise, at).await?);
    Ok(linked)
}

/// Takes old scores of these articles away, whichever model they are of, and writes the new ones: what is shown is of one model.
pub(super) async fn write_scores(
    connection: &mut Connection<'_>,
    dialect: Dialect,
    scorer: &dyn Scorer,
    scores: &[(i64, Option<Score>)],
    at: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    if scores.is_empty() {
        return Ok(());
    }
    let ids = json(&scores.iter().map(|(id, _)| *id).collect::<Vec<_>>())?;
    let rows = scores.iter().filter_map(|(id, score)| {
        score.map(|score| SentimentInput {
            article_id: *id,
            score: score.value,
            label: score.label.as_str(),
        })
    });
    let rows = json(&rows.collect::<Vec<_>>())?;
    let (sql, model) = (statements(dialect), scorer.model());
    on_connection!(connection, c => {
        sqlx::query(sql.forget_scores).bind(&ids).execute(&mut **c).await?;
        sqlx::query(sql.add_scores).bind(&rows).bind(&model.name).bind(&model.version).bind(at).execute(&mut **c).await?;
    });
    Ok(())
}

/// Whose words may be new.
pub(super) struct Words<'a> {
    pub(super) source: &'a str,
    pub(super) title: &'a str,
    pub(super) description: Option<&'a str>,
}

/// Adds the words that nobody has written before. Those of personal sources are nobody else's to be told.
pub(super) async fn write_words<'a>(
    connection: &mut Connection<'_>,
    dialect: Dialect,
    texts: impl Iterator<Item = Words<'a>>,
) -> Result<(), DatabaseError> {
    let words: BTreeSet<String> = texts
        .filter(|text| !is_personal(text.source))
        .flat_map(|text| [Some(text.title), text.description])
        .flatten()
        .flat_map(worth_remembering)
        .collect();
    let words = json(&words)?;
    on_connection!(connection, c => {
        sqlx::query(statements(dialect).add_words).bind(&words).execute(&mut **c).await?;
    });
    Ok(())
}

/// The statements in one dialect.
pub(super) struct Statements {
    texts: &'static str,
    known: &'static str,
    changed: &'static str,
    forget_scores: &'static str,
    add_scores: &'static str,
    add_words: &'static str,
    /// Articles of which nothing has been computed yet.
    pub(super) underived: &'static str,
    /// Gives those for which it was missing.
    pub(super) set_derived: &'static str,
    pub(super) texts_of: &'static str,
    pub(super) touch: &'static str,
    /// Articles that this version of the model hasn't scored, after this identifier.
    pub(super) unscored: &'static str,
    /// The same, scored by no model at all, among the newest $3 articles.
    pub(super) missed: &'static str,
    /// Writes what searches are narrowed by into $1 articles that were there before it was written. SQLite looks it up.
    pub(super) set_filters: Option<&'static str>,
}

macro_rules! statements {
    (texts: $texts:literal, ids: $ids:literal, scores: $scores:literal, derived: $derived:literal, set_filters: $set_filters:expr $(,)?) => {
        Statements {
            texts: concat!(
                "SELECT a.url_hash, a.title, a.description FROM articles a WHERE a.source = $2 AND a.url_hash IN (", $texts, ")"
            ),
            known: concat!(
                "SELECT a.id, a.url, a.outlet, a.headline, a.published_at FROM articles a WHERE a.source = $2 AND a.url_hash IN (", $texts, ")"
            ),
            changed: concat!(
                "SELECT a.url_hash, a.url, a.id, a.source, a.outlet, a.headline, a.published_at FROM articles a ",
                "WHERE a.headline IS NOT NULL AND a.id IN (", $ids, ")"
            ),
            forget_scores: concat!("DELETE FROM article_sentiments WHERE article_id IN (", $ids, ")"),
            add_scores: concat!(
                "INSERT INTO article_sentiments (article_id, model, version, score, label, scored_at) ",
                "SELECT i.article_id, $2, $3, i.score, i.label, $4 FROM ", $scores,
                " WHERE EXISTS (SELECT 1 FROM articles a WHERE a.id = i.article_id) ",
                "ON CONFLICT (article_id, model) DO UPDATE SET version = excluded.version, score = excluded.score, ",
                "label = excluded.label, scored_at = excluded.scored_at"
            ),
            add_words: concat!(
                "INSERT INTO search_words (word) ", $texts, " WHERE true ORDER BY 1 ON CONFLICT DO NOTHING"
            ),
            underived: "SELECT id, source, outlet, title, description, language, published_at FROM articles \
                WHERE headline IS NULL ORDER BY id LIMIT $1",
            set_derived: concat!(
                "UPDATE articles SET headline = i.headline, language = i.language FROM ", $derived, " WHERE articles.id = i.id ",
                // Else somebody has stored it anew meanwhile, and computed it.
                "AND articles.headline IS NULL RETURNING articles.id"
            ),
            texts_of: concat!("SELECT id, source, title, description, language FROM articles WHERE id IN (", $ids, ")"),
            touch: concat!("UPDATE articles SET updated_at = $2 WHERE updated_at < $2 AND id IN (", $ids, ")"),
            unscored: "SELECT a.id, a.source, a.title, a.description, a.language FROM articles a WHERE a.id > $1 AND NOT EXISTS \
                (SELECT 1 FROM article_sentiments s WHERE s.article_id = a.id AND s.model = $2 AND s.version = $3) \
                ORDER BY a.id LIMIT $4",
            // What has no headline is yet to be caught up with.
            missed: "SELECT a.id, a.source, a.title, a.description, a.language FROM articles a \
                WHERE a.id > $1 AND a.id > (SELECT coalesce(max(id), 0) FROM articles) - $3 AND a.headline IS NOT NULL \
                AND NOT EXISTS (SELECT 1 FROM article_sentiments s WHERE s.article_id = a.id) ORDER BY a.id LIMIT $2",
            set_filters: $set_filters,
        }
    };
}

pub(super) fn statements(dialect: Dialect) -> &'static Statements {
    static POSTGRES: Statements = statements! {
        texts: "SELECT jsonb_array_elements_text(CAST($1 AS jsonb))",
        ids: "SELECT CAST(jsonb_array_elements_text(CAST($1 AS jsonb)) AS bigint)",
        scores: "jsonb_to_recordset(CAST($1 AS jsonb)) AS i (article_id bigint, score double precision, label text)",
        derived: "jsonb_to_recordset(CAST($1 AS jsonb)) AS i (id bigint, headline text, language text)",
        // The newest first: that is where searches begin.
        set_filters: Some(
            "UPDATE articles SET filters = article_filters(id) WHERE id IN \
            (SELECT id FROM articles WHERE filters[1] = '?' ORDER BY id DESC LIMIT $1)"
        ),
    };
    static SQLITE: Statements = statements! {
        texts: "SELECT value FROM json_each($1)",
        ids: "SELECT value FROM json_each($1)",
        scores: "(SELECT value ->> 'article_id' AS article_id, CAST(value ->> 'score' AS real) AS score, \
            value ->> 'label' AS label FROM json_each($1)) AS i",
        derived: "(SELECT value ->> 'id' AS id, value ->> 'headline' AS headline, value ->> 'language' AS language \
            FROM json_each($1)) AS i",
        set_filters: None,
    };
    match dialect {
        Dialect::Postgres => &POSTGRES,
        Dialect::Sqlite => &SQLITE,
    }
}
