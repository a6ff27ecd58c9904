//! From rows to values. What the schema cannot promise (a category that this version does not know) degrades, it does not fail.

use crate::article::Category;
use crate::sentiment::Label;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// A stored article, as clients see it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Article {
    pub id: i64,
    pub source: String,
    pub outlet: Option<String>,
    pub external_id: Option<String>,
    pub title: String,
    pub description: Option<String>,
    pub content: Option<String>,
    pub author: Option<String>,
    pub url: String,
    pub image_url: Option<String>,
    pub published_at: DateTime<Utc>,
    pub published_at_estimated: bool,
    pub categories: Vec<Category>,
    /// Two letters; `None` when nobody knows.
    pub language: Option<String>,
    /// How its words sound, where a model could tell.
    pub sentiment: Option<Sentiment>,
    /// The article that lists show in the place of this one.
    pub duplicate_of: Option<i64>,
    /// Where else the same story stands, when this is the article that lists show.
    pub also_at: Vec<Sighting>,
    /// When it was last changed here.
    #[serde(skip)]
    pub updated_at: DateTime<Utc>,
}

/// The tone of an article's words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sentiment {
    /// From -1 to 1.
    pub score: f64,
    pub label: Label,
    pub model: String,
}

/// The same story somewhere else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    pub id: i64,
    pub source: String,
    pub outlet: Option<String>,
    pub url: String,
}

/// When a question was last put to a source, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub source: String,
    pub category: Option<Category>,
    pub asked_at: DateTime<Utc>,
    pub outcome: String,
    pub articles: i64,
    pub ask_again_at: DateTime<Utc>,
    /// When its answer last changed what is shown of the source.
    pub changed_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
pub(crate) struct ArticleRow {
    id: i64,
    source: String,
    outlet: Option<String>,
    external_id: Option<String>,
    title: String,
    description: Option<String>,
    content: Option<String>,
    author: Option<String>,
    url: String,
    image_url: Option<String>,
    published_at: DateTime<Utc>,
    published_at_estimated: bool,
    updated_at: DateTime<Utc>,
    categories: Option<String>,
    language: Option<String>,
    sentiment: Option<String>,
    duplicate_of: Option<i64>,
    also_at: Option<String>,
}

#[derive(sqlx::FromRow)]
pub(super) struct AskedRow {
    source: String,
    category: String,
    asked_at: DateTime<Utc>,
    outcome: String,
    articles: i64,
    ask_again_at: DateTime<Utc>,
    changed_at: DateTime<Utc>,
}

impl From<ArticleRow> for Article {
    fn from(row: ArticleRow) -> Self {
        let mut categories: Vec<Category> = row
            .categories
            .unwrap_or_default()
            .split(',')
            .filter_map(|word| word.parse().ok())
            .collect();
        categories.sort_unstable();
        Self {
            id: row.id,
            source: row.source,
            outlet: row.outlet,
            external_id: row.external_id,
            title: row.title,
            description: row.description,
            content: row.content,
            author: row.author,
            url: row.url,
            image_url: row.image_url,
            published_at: row.published_at,
            published_at_estimated: row.published_at_estimated,
            categories,
            language: row.language,
            sentiment: from_json(row.sentiment),
            duplicate_of: row.duplicate_of,
            also_at: from_json(row.also_at).unwrap_or_default(),
            updated_at: row.updated_at,
        }
    }
}

fn from_json<T: for<'de> Deserialize<'de>>(text: Option<String>) -> Option<T> {
    serde_json::from_str(&text?).ok()
}

impl From<AskedRow> for Asked {
    fn from(row: AskedRow) -> Self {
        Self {
            source: row.source,
            category: row.category.parse().ok(),
            asked_at: row.asked_at,
            outcome: row.outcome,
            articles: row.articles,
            ask_again_at: row.ask_again_at,
            changed_at: row.changed_at,
        }
    }
}
