//! What an article is: parsed once, valid for ever. No SQL and no HTTP in sight.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The eight words that every source's own categories are mapped to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Category {
    Business,
    Entertainment,
    General,
    Health,
    Science,
    Sports,
    Technology,
    World,
}

/// The identity of an article within its source: see `CanonicalUrl::parse` for what is folded.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CanonicalUrl(String);

/// An article as a source gave it, normalised, not yet stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewArticle {
    /// The outlet's name for people ("BBC News"); the source's own name is that of the batch.
    pub outlet: Option<String>,
    /// The source's own identifier. Informative: feeds' ids are not trusted as keys.
    pub external_id: Option<String>,
    /// Plain text, never empty.
    pub title: String,
    pub description: Option<String>,
    pub content: Option<String>,
    pub author: Option<String>,
    /// The address to send a reader to, http or https, as the source gave it.
    pub url: String,
    pub canonical_url: CanonicalUrl,
    pub image_url: Option<String>,
    pub published_at: DateTime<Utc>,
    /// No usable date was given: `published_at` is the time of the fetch.
    pub published_at_estimated: bool,
    /// Sorted, without repeats, never empty (`General` when nothing better is known).
    pub categories: Vec<Category>,
}
