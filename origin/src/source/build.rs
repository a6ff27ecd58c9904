//! Which sources are on: those with a key or an address; the samples when nothing else is.

use super::Source;
use super::feed::{FeedSource, name_of};
use super::guardian::GuardianSource;
use super::hackernews::HackerNewsSource;
use super::newsapi::NewsApiSource;
use super::reddit::RedditSource;
use super::sample::SampleSource;
use crate::discipline::{Gate, Ledger, Rules, Window};
use crate::http::{ClientFault, HttpClient};
use crate::reddit::{Reddit, RedditSettings};
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
    /// Switches Reddit on, when there are subreddits.
    pub reddit: Option<RedditSettings>,
    pub subreddits: Vec<String>,
    pub hackernews: bool,
    pub hackernews_url: Option<Url>,
    /// Bounds one fetch as a whole.
    pub timeout: Duration,
    pub newsapi_quota: Vec<Window>,
    pub guardian_quota: Vec<Window>,
    pub reddit_quota: Vec<Window>,
    /// Between two polls of a feed.
    pub feed_interval_min: Duration,
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
            reddit: None,
            subreddits: Vec::new(),
            hackernews: false,
            hackernews_url: None,
            timeout: Duration::from_secs(10),
            newsapi_quota: Vec::new(),
            guardian_quota: Vec::new(),
            reddit_quota: Vec::new(),
            feed_interval_min: Duration::from_secs(15 * 60),
        }
    }
}

/// Requests that one source may have under way at once.
const CONCURRENT_MAX: usize = 4;

/// The sources that are on, each with a name of its own and a gate of its own.
pub fn build(
    settings: &SourceSettings,
    ledger: &Ledger,
) -> Result<Vec<Arc<dyn Source>>, ClientFault> {
    let http = HttpClient::new(settings.timeout)?;
    let gate = |name: &str, windows: &[Window], concurrent_max: usize| {
        let rules = Rules {
            windows: windows.to_vec(),
            concurrent_max,
        };
        Gate::new(name, http.clone(), ledger.clone(), rules)
    };
    let mut sources: Vec<Arc<dyn Source>> = Vec::new();
    if let Some(key) = &settings.newsapi_key {
        let gate = gate("newsapi", &settings.newsapi_quota, CONCURRENT_MAX);
        let (key, base) = (key.clone(), settings.newsapi_url.clone());
        sources.push(Arc::new(NewsApiSource::new(gate, key, base)));
    }
    if let Some(key) = &settings.guardian_key {
        // One at a time: two at once could arrive within the same second, however they were counted.
        let gate = gate("guardian", &settings.guardian_quota, 1);
        let (key, base) = (key.clone(), settings.guardian_url.clone());
        sources.push(Arc::new(GuardianSource::new(gate, key, base)));
    }
    if let Some(reddit) = settings
        .reddit
        .as_ref()
        .filter(|_| !settings.subreddits.is_empty())
    {
        let gate = gate("reddit", &settings.reddit_quota, CONCURRENT_MAX);
        let reddit = Reddit::new(reddit.clone(), http.clone());
        let subreddits = settings.subreddits.clone();
        sources.push(Arc::new(RedditSource::new(gate, reddit, subreddits)));
    }
    if settings.hackernews {
        let gate = gate("hackernews", &[], CONCURRENT_MAX);
        let base = settings.hackernews_url.clone();
        sources.push(Arc::new(HackerNewsSource::new(gate, base)));
    }
    let mut named = BTreeSet::new();
    for url in &settings.feed_urls {
        let name = name_of("feed", url);
        // The same feed listed twice is asked once.
        if named.insert(name.clone()) {
            let gate = gate(&name, &[], 1);
            let interval = settings.feed_interval_min;
            sources.push(Arc::new(FeedSource::new(gate, url.clone(), interval)));
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
        let sources = build(settings, &Ledger::closed()).expect("sources");
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
