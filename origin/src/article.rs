//! What an article is: parsed once, valid for ever. No SQL and no HTTP in sight.
//!
//! `text` cleans what strangers wrote, `date` reads when, `canonical` says which articles are the same one, and
//! `draft` is the one door through which raw fields become a [`NewArticle`].

mod canonical;
mod category;
mod date;
mod draft;
mod language;
pub mod text;
pub mod title;

pub(crate) use canonical::hex;
pub use canonical::{CanonicalUrl, UrlFault};
pub use category::{Category, UnknownCategory};
pub use date::{parse_date, plausible_date};
pub use draft::Draft;
pub(crate) use language::named as language_named;

use chrono::{DateTime, Utc};

/// The language of a text, when it can be told.
pub(crate) fn language_of(title: &str, description: Option<&str>) -> Option<String> {
    language::detected(title, description).map(str::to_owned)
}

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
    /// Two letters of ISO 639-1: the provider's word, else what the text itself says.
    pub language: Option<String>,
    pub published_at: DateTime<Utc>,
    /// No usable date was given: `published_at` is the time of the fetch.
    pub published_at_estimated: bool,
    /// Sorted, without repeats, never empty (`General` when nothing better is known).
    pub categories: Vec<Category>,
}
