//! Which sources are on: those with a key or an address; the samples when nothing else is.

use super::Source;
use super::feed::FeedSource;
use super::guardian::GuardianSource;
use super::hackernews::HackerNewsSource;
use super::newsapi::NewsApiSource;
use super::sample::SampleSource;
use crate::http::{ClientFault, HttpClient};
use crate::secret::Secret;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// What the sources need to know. A base URL of `None` means the provider's own.
#[derive(Debug, Clone)]
pub struct SourceSettings {
    /// Switches NewsAPI on.
    pub newsapi_key: Option<Secret>,
    pub newsapi_url: Option<Url>,
    /// Switches the Guardian on.
    pub guardian_key: Option<Secret>,
    pub guardian_url: Option<Url>,
    /// One source each.
    pub feed_urls: Vec<Url>,
    pub hackernews: bool,
    pub hackernews_url: Option<Url>,
    /// Bounds one fetch as a whole.
    pub timeout: Duration,
}

impl Default for SourceSettings {
    /// Nothing configured: the samples.
    fn default() -> Self {
        Self {
            newsapi_key: None,
            newsapi_url: None,
            guardian_key: None,
            guardian_url: None,
            feed_urls: Vec::new(),
            hackernews: false,
            hackernews_url: None,
            timeout: Duration::from_secs(10),
        }
    }
}

/// The sources that are on, each with a name of its own.
pub fn build(settings: &SourceSettings) -> Result<Vec<Arc<dyn Source>>, ClientFault> {
    let http = HttpClient::new(settings.timeout)?;
    let mut sources: Vec<Arc<dyn Source>> = Vec::new();
    if let Some(key) = &settings.newsapi_key {
        sources.push(Arc::new(NewsApiSource::new(
            http.clone(),
            key.clone(),
            settings.newsapi_url.clone(),
        )));
    }
    if let Some(key) = &settings.guardian_key {
        sources.push(Arc::new(GuardianSource::new(
            http.clone(),
            key.clone(),
            settings.guardian_url.clone(),
        )));
    }
    if settings.hackernews {
        sources.push(Arc::new(HackerNewsSource::new(
            http.clone(),
            settings.hackernews_url.clone(),
        )));
    }
    let mut named = BTreeSet::new();
    for url in &settings.feed_urls {
        let feed = FeedSource::new(http.clone(), url.clone());
        // The same feed listed twice is asked once.
        if named.insert(feed.name().to_owned()) {
            sources.push(Arc::new(feed));
        }
    }
    if sources.is_empty() {
        sources.push(Arc::new(SampleSource));
    }
    Ok(sources)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(settings: &SourceSettings) -> Vec<String> {
        let sources = build(settings).expect("sources");
        sources
            .iter()
            .map(|source| source.name().to_owned())
            .collect()
    }

    #[test]
    fn samples_stand_in_only_when_nothing_else_is_on() {
        assert_eq!(names(&SourceSettings::default()), ["sample"]);
        let on = SourceSettings {
            hackernews: true,
            newsapi_key: Secret::new("k"),
            guardian_key: Secret::new("k"),
            ..Default::default()
        };
        assert_eq!(names(&on), ["newsapi", "guardian", "hackernews"]);
    }

    #[test]
    fn each_feed_is_a_source_and_a_repeated_one_is_one() {
        let urls = [
            "https://a.example/rss",
            "https://b.example/rss",
            "https://a.example/rss",
        ];
        let feed_urls = urls
            .iter()
            .map(|url| Url::parse(url).expect("a URL"))
            .collect();
        let settings = SourceSettings {
            feed_urls,
            ..Default::default()
        };
        assert_eq!(
            names(&settings),
            ["feed:a.example/rss", "feed:b.example/rss"]
        );
    }
}
