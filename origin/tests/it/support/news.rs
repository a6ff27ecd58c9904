//! Articles to order, and sources that do as they are told.

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use larder_origin::article::{CanonicalUrl, Category, NewArticle};
use larder_origin::articles::{Answer, Articles};
use larder_origin::discipline::Purpose;
use larder_origin::source::{Batch, Query, Source, SourceError};
use serde_json::Value;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// The time around which the tests' articles are published.
pub(crate) fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_750_000_000, 0).expect("a time")
}

/// Stores what a source is said to have answered at noon, whatever was asked.
pub(crate) async fn store(articles: &Articles, source: &str, batch: &[NewArticle]) {
    store_at(articles, source, batch, noon()).await;
}

/// The same at another time.
pub(crate) async fn store_at(
    articles: &Articles,
    source: &str,
    batch: &[NewArticle],
    at: DateTime<Utc>,
) {
    let answer = Answer {
        source,
        category: None,
        by_category: false,
        outcome: "ok",
        articles: batch,
        asked_at: at,
        stored_at: at,
        ask_again_at: at,
    };
    articles.store(&answer).await.expect("stored");
}

/// An article at this path, published so many seconds after noon.
pub(crate) fn article(path: &str, seconds: i64) -> NewArticle {
    let url = format!("https://news.example/{path}");
    NewArticle {
        outlet: Some("The Example".to_owned()),
        external_id: None,
        title: format!("About {path}"),
        description: Some("A description".to_owned()),
        content: None,
        author: None,
        canonical_url: CanonicalUrl::parse(&url, None).expect("a URL"),
        url,
        image_url: None,
        language: None,
        published_at: noon() + TimeDelta::seconds(seconds),
        published_at_estimated: false,
        categories: vec![Category::General],
    }
}

/// The titles of a page of articles, as it was answered.
pub(crate) fn titles(page: &Value) -> Vec<String> {
    let articles = page["articles"].as_array().expect("articles");
    articles
        .iter()
        .map(|article| article["title"].as_str().expect("a title").to_owned())
        .collect()
}

/// What a scripted source does when it is asked.
pub(crate) enum Act {
    Give(Vec<NewArticle>),
    Fail(fn() -> SourceError),
    Hang,
    Panic,
}

/// A source that does as it is told and counts how often it was asked.
pub(crate) struct Script {
    name: String,
    by_category: bool,
    sample: bool,
    act: Mutex<Act>,
    asked: AtomicUsize,
    asked_live: AtomicUsize,
    /// Each asking takes one permit before it acts.
    gate: Semaphore,
}

impl Script {
    pub(crate) fn new(name: &str, act: Act) -> Arc<Self> {
        Self::build(name, act, true, false, Semaphore::MAX_PERMITS)
    }

    /// One that gives all it has, whatever the category.
    pub(crate) fn without_categories(name: &str, act: Act) -> Arc<Self> {
        Self::build(name, act, false, false, Semaphore::MAX_PERMITS)
    }

    pub(crate) fn sample(act: Act) -> Arc<Self> {
        Self::build("sample", act, false, true, Semaphore::MAX_PERMITS)
    }

    /// One that acts only after `release`.
    pub(crate) fn gated(name: &str, act: Act) -> Arc<Self> {
        Self::build(name, act, true, false, 0)
    }

    fn build(name: &str, act: Act, by_category: bool, sample: bool, permits: usize) -> Arc<Self> {
        let gate = Semaphore::new(permits);
        let (name, act) = (name.to_owned(), Mutex::new(act));
        Arc::new(Self {
            name,
            by_category,
            sample,
            act,
            asked: AtomicUsize::new(0),
            asked_live: AtomicUsize::new(0),
            gate,
        })
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// How often with somebody waiting, who may use the reserve of the quota.
    pub(crate) fn asked_live(&self) -> usize {
        self.asked_live.load(Ordering::SeqCst)
    }

    pub(crate) fn release(&self, askings: usize) {
        self.gate.add_permits(askings);
    }

    pub(crate) fn now_does(&self, act: Act) {
        *self.act.lock().unwrap_or_else(PoisonError::into_inner) = act;
    }
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

#[async_trait]
impl Source for Script {
    fn name(&self) -> &str {
        &self.name
    }

    fn answers_by_category(&self) -> bool {
        self.by_category
    }

    fn is_sample(&self) -> bool {
        self.sample
    }

    async fn fetch(&self, query: Query, _now: DateTime<Utc>) -> Result<Batch, SourceError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if query.purpose == Purpose::Live {
            self.asked_live.fetch_add(1, Ordering::SeqCst);
        }
        self.gate.acquire().await.expect("never closed").forget();
        let given = match &*self.act.lock().unwrap_or_else(PoisonError::into_inner) {
            Act::Give(articles) => Some(Ok(articles.clone())),
            Act::Fail(error) => Some(Err(error())),
            Act::Hang => None,
            Act::Panic => std::panic::resume_unwind(Box::new("the script says so")),
        };
        let Some(given) = given else {
            return std::future::pending().await;
        };
        let fits = |article: &NewArticle| {
            query
                .category
                .is_none_or(|category| article.categories.contains(&category))
        };
        let articles = given?
            .into_iter()
            .filter(|article| !self.by_category || fits(article))
            .collect();
        Ok(Batch {
            articles,
            ..Batch::default()
        })
    }
}
