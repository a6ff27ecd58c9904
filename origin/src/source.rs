//! Where articles come from. Each source absorbs its provider's shape: `parse` is pure, `fetch` is thin.

use crate::article::{Category, NewArticle};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use std::time::Duration;

/// What is asked of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query {
    /// `None` asks for whatever the source holds to be the news.
    pub category: Option<Category>,
    /// At most this many articles.
    pub articles_max: u16,
}

/// What a source answered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    pub articles: Vec<NewArticle>,
    /// Items that could not become articles (no link, no title, removed by the provider).
    pub skipped: usize,
}

/// Why a source gave nothing. The text is for the log: no key, no URL with a key in it.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("could not be reached: {0}")]
    Unreachable(String),
    #[error("refused our credentials: {0}")]
    Credentials(String),
    #[error("asked us to slow down")]
    RateLimited { retry_after: Option<Duration> },
    #[error("answered {status}: {message}")]
    Status { status: u16, message: String },
    #[error("answered with something that is not what it should be: {0}")]
    Malformed(String),
    #[error("answered with more than {bytes_max} bytes")]
    TooLarge { bytes_max: usize },
}

/// A provider of articles, ready to be asked.
#[async_trait]
pub trait Source: Send + Sync + std::fmt::Debug {
    /// Stable, lower case, unique among the enabled ones: "newsapi", "guardian", "feed:feeds.bbci.co.uk/news/rss.xml".
    fn name(&self) -> &str;
    /// Whether asking for a category narrows the answer; a source that can't gives everything it has.
    fn answers_by_category(&self) -> bool;
    /// True for the embedded documents that stand in when nothing is configured.
    fn is_sample(&self) -> bool {
        false
    }
    /// `now` dates articles without a usable date and clamps those from the future.
    async fn fetch(&self, query: Query, now: DateTime<Utc>) -> Result<Batch, SourceError>;
}
