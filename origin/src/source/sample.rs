//! Invented stories in the exact shapes of the other sources, embedded: what a clone without keys or network shows.
//!
//! Each document goes through the very parser of its source, so the samples exercise what real answers do.
//! Dates: the documents are written as of midnight of one day (`WRITTEN_FOR`), and all their stories are of the two days
//! before it. They are moved so that this midnight is the last one: recent whenever one looks, and the same all day long, so
//! that repeated fetches change nothing.

pub(crate) mod documents;

use super::feed::Document;
use super::{Batch, Query, Source, SourceError, feed, guardian, hackernews, newsapi};
use async_trait::async_trait;
use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use documents::{FEEDS, WRITTEN_FOR};
use url::Url;

/// The embedded documents. Needs no network and never fails.
#[derive(Debug, Clone, Copy, Default)]
pub struct SampleSource;

#[async_trait]
impl Source for SampleSource {
    fn name(&self) -> &str {
        "sample"
    }

    fn answers_by_category(&self) -> bool {
        true
    }

    fn is_sample(&self) -> bool {
        true
    }

    async fn fetch(&self, query: Query, now: DateTime<Utc>) -> Result<Batch, SourceError> {
        let mut batch = articles(now)?;
        if let Some(category) = query.category {
            batch
                .articles
                .retain(|article| article.categories.contains(&category));
        }
        Ok(batch.limited(query.articles_max))
    }
}

/// Every sample, newest first.
pub fn articles(now: DateTime<Utc>) -> Result<Batch, SourceError> {
    let written = written_for();
    let mut whole = Batch::default();
    for part in parts(written) {
        let part = part?;
        whole.articles.extend(part.articles);
        whole.skipped += part.skipped;
    }
    let shift = last_midnight(now) - written;
    for article in &mut whole.articles {
        article.published_at += shift;
    }
    whole
        .articles
        .sort_by_key(|article| std::cmp::Reverse(article.published_at));
    Ok(whole)
}

fn parts(now: DateTime<Utc>) -> impl Iterator<Item = Result<Batch, SourceError>> {
    let headlines = documents::NEWSAPI
        .iter()
        .map(move |(category, body)| newsapi::parse(body, Some(*category), now));
    let feeds = FEEDS.iter().map(move |(url, body)| {
        let url = Url::parse(url)
            .map_err(|_| SourceError::Malformed("a sample feed's address".to_owned()))?;
        feed::parse(
            body,
            Document {
                url: &url,
                charset: None,
            },
            now,
        )
    });
    // These two sources know their only outlet's name; invented stories must not go under it.
    let others = [
        guardian::parse(documents::GUARDIAN, now).map(|batch| signed(batch, "Example Watch")),
        hackernews::parse(documents::ALGOLIA, now).map(|batch| signed(batch, "Example Board")),
    ];
    headlines.chain(feeds).chain(others)
}

fn signed(mut batch: Batch, outlet: &str) -> Batch {
    for article in &mut batch.articles {
        article.outlet = Some(outlet.to_owned());
    }
    batch
}

fn written_for() -> DateTime<Utc> {
    DateTime::from_timestamp(WRITTEN_FOR, 0).unwrap_or_default()
}

fn last_midnight(now: DateTime<Utc>) -> DateTime<Utc> {
    now - (now.time() - NaiveTime::MIN).max(TimeDelta::zero())
}

#[cfg(test)]
mod tests;
