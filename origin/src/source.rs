//! Where articles come from. Each source absorbs its provider's shape: `parse` is pure, `fetch` is thin.

mod build;
pub mod feed;
pub mod guardian;
pub mod hackernews;
pub(crate) mod json;
pub mod newsapi;
pub mod reddit;
pub mod sample;
mod words;

pub use build::{SourceSettings, build};

use crate::article::{Category, Draft, NewArticle};
use crate::discipline::{Gate, Purpose, Reason};
use crate::http::Forbidden;
use crate::ingest::Failure;
use crate::secret::Secret;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use std::time::Duration;
use url::Url;

/// Most items of one answer that are read: archives of thousands exist, news are at the top.
const ITEMS_MAX: usize = 1_000;

/// What is asked of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query {
    /// `None` asks for whatever the source holds to be the news.
    pub category: Option<Category>,
    /// At most this many articles.
    pub articles_max: u16,
    /// Who waits for the answer: it decides which share of the quota may be used.
    pub purpose: Purpose,
}

/// What a source answered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    pub articles: Vec<NewArticle>,
    /// Items that could not become articles (no link, no title, removed by the provider).
    pub skipped: usize,
    /// Nothing has come since the last time (304): there are no articles here, and those stored are fresh.
    pub unchanged: bool,
    /// Nobody was asked: it is not due for that long, or another's turn. If anything is stored, it stands.
    pub not_due: Option<Duration>,
}

impl Batch {
    /// Takes an item in, or counts it as skipped.
    fn push(&mut self, article: Option<NewArticle>) {
        match article {
            Some(article) => self.articles.push(article),
            None => self.skipped += 1,
        }
    }

    /// Nothing new.
    pub fn unchanged() -> Self {
        Self {
            unchanged: true,
            ..Self::default()
        }
    }

    /// Nothing was asked.
    pub fn not_due(wait: Duration) -> Self {
        Self {
            not_due: Some(wait),
            ..Self::default()
        }
    }

    /// Makes an article of a draft, or counts it as skipped.
    fn finish(&mut self, draft: Draft<'_>, base: Option<&Url>, now: DateTime<Utc>) {
        self.push(draft.finish(base, now));
    }

    /// At most that many articles, the first ones.
    fn limited(mut self, articles_max: u16) -> Self {
        self.articles.truncate(usize::from(articles_max));
        self
    }
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
    /// Not asked: it would lead somewhere it must not.
    #[error("not asked: {0}")]
    Forbidden(Forbidden),
    /// Not asked: its quota or the provider's own word forbids it for that long.
    #[error("not asked for another {}: {reason}", rounded(.wait))]
    Refused { reason: Reason, wait: Duration },
    /// Not asked: it has failed too often of late.
    #[error("not asked for another {}: it has failed too often of late", rounded(.wait))]
    Open { wait: Duration },
    /// Not asked: the request could not be counted.
    #[error("not asked, because the request could not be counted: {0}")]
    Uncounted(String),
}

/// Waits are told in whole seconds.
fn rounded(wait: &Duration) -> String {
    format!("{} s", wait.as_secs_f64().ceil())
}

impl SourceError {
    /// False when no request was made, so that nothing is known of the source that was not known before.
    pub fn was_asked(&self) -> bool {
        !matches!(
            self,
            Self::Refused { .. } | Self::Open { .. } | Self::Uncounted(_)
        )
    }

    /// What may be told of it in logs and tables: of a source that somebody added only the code, since the words of those who fail to
    /// connect name the place.
    pub fn told_of(&self, source: &str) -> String {
        match crate::personal::is_personal(source) {
            true => Failure::from(self).as_str().to_owned(),
            false => self.to_string(),
        }
    }

    /// The same without the key: providers repeat it in their messages, whatever the status.
    fn without(self, key: &Secret) -> Self {
        match self {
            Self::Credentials(words) => Self::Credentials(key.blot(&words)),
            Self::Malformed(words) => Self::Malformed(key.blot(&words)),
            Self::Unreachable(words) => Self::Unreachable(key.blot(&words)),
            Self::Status { status, message } => Self::Status {
                status,
                message: key.blot(&message),
            },
            other => other,
        }
    }
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
    /// Called when all that the last `fetch` gave is stored: only then may a source ask for what has changed since.
    async fn stored(&self, _now: DateTime<Utc>) {}
    /// Called when it could not be stored: a source that has set a time for asking again puts it back.
    async fn unstored(&self, _now: DateTime<Utc>) {}
    /// What holds its requests back, for those that have a gate.
    fn gate(&self) -> Option<&Gate> {
        None
    }
}

/// An endpoint below a base URL that may carry a path of its own (a mirror's prefix) and may or may not end in a slash.
pub(crate) fn endpoint(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_query(None);
    url.set_fragment(None);
    let joined = format!("{}/{path}", base.path().trim_end_matches('/'));
    url.set_path(&joined);
    url
}

/// A base URL written in this code; `build`'s tests parse every one.
pub(crate) fn known_url(text: &'static str) -> Url {
    Url::parse(text).expect("a constant that tests parse")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_somebody_added_no_word_tells_the_place() {
        let words = "connecting failed: certificate not valid for name \"private.example\"";
        let error = SourceError::Unreachable(words.to_owned());
        assert_eq!(error.told_of("user-feed:0f0f"), "unreachable");
        let told = error.told_of("feed:news.example/rss");
        assert!(told.contains("private.example"), "{told}");
    }

    #[test]
    fn an_endpoint_keeps_the_prefix_of_its_base() {
        let rows = [
            ("https://example.com", "https://example.com/v2/everything"),
            ("https://example.com/", "https://example.com/v2/everything"),
            (
                "http://127.0.0.1:9/mirror",
                "http://127.0.0.1:9/mirror/v2/everything",
            ),
            (
                "http://127.0.0.1:9/mirror/?x=1#y",
                "http://127.0.0.1:9/mirror/v2/everything",
            ),
        ];
        for (base, expected) in rows {
            let base = Url::parse(base).expect("a URL");
            assert_eq!(endpoint(&base, "v2/everything").as_str(), expected);
        }
    }
}
