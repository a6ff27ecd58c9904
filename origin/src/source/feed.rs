//! Feeds: RSS 0.9x, 1.0 and 2.0, Atom and JSON Feed. Each address is a source of its own.
//!
//! Must stay true: an item is keyed by its link alone, since ids of feeds repeat, change with edits or are made up;
//! and the same bytes give the same articles. Left out: `<ttl>` and other wishes about how often to ask.

mod document;
mod entry;
mod jsonfeed;
mod transcode;
mod xml;

pub use document::Document;

use super::{Batch, Query, Source, SourceError};
use crate::article::text::{NAME_CHARS_MAX, clean};
use crate::http::{Answer, HttpClient, Redirects};
use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::header::{
    ACCEPT, ETAG, HeaderMap, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
};
use std::sync::{Mutex, PoisonError};
use url::Url;

/// Most items of one feed that are read: archives of thousands exist, news are at the top.
const ITEMS_MAX: usize = 1_000;
const ACCEPTED: HeaderValue = HeaderValue::from_static(
    "application/rss+xml, application/atom+xml, application/feed+json, application/xml;q=0.9, */*;q=0.5",
);

/// One feed, with what its last full answer was.
#[derive(Debug)]
pub struct FeedSource {
    http: HttpClient,
    url: Url,
    name: String,
    /// Guards the validators together with the batch they validate: a 304 must never meet another answer's batch.
    last: Mutex<Option<Last>>,
}

#[derive(Debug, Clone)]
struct Last {
    etag: Option<HeaderValue>,
    last_modified: Option<HeaderValue>,
    batch: Batch,
}

impl FeedSource {
    /// The feed at that address; user info in it becomes basic authentication.
    pub fn new(http: HttpClient, url: Url) -> Self {
        let name = name_of(&url);
        Self {
            http,
            url,
            name,
            last: Mutex::new(None),
        }
    }

    fn remembered(&self) -> Option<Last> {
        self.last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn remember(&self, answer: &Answer, batch: &Batch) {
        let header = |name| answer.headers.get(name).cloned();
        let (etag, last_modified) = (header(ETAG), header(LAST_MODIFIED));
        // Without a validator there is nothing to ask with, and nothing worth holding.
        let last = (etag.is_some() || last_modified.is_some()).then(|| Last {
            etag,
            last_modified,
            batch: batch.clone(),
        });
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = last;
    }
}

#[async_trait]
impl Source for FeedSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn answers_by_category(&self) -> bool {
        false
    }

    async fn fetch(&self, query: Query, now: DateTime<Utc>) -> Result<Batch, SourceError> {
        let last = self.remembered();
        let answer = self
            .http
            .get(
                self.url.clone(),
                conditions(last.as_ref()),
                Redirects::Anywhere,
            )
            .await?;
        if answer.status == 304 {
            let last = last.ok_or_else(|| {
                SourceError::Malformed("304 without being asked conditionally".to_owned())
            })?;
            return Ok(last.batch.limited(query.articles_max));
        }
        if !answer.is_success() {
            return Err(answer.failure(None, now));
        }
        let batch = parse(
            &answer.body,
            Document {
                url: &answer.url,
                charset: answer.charset(),
            },
            now,
        )?;
        self.remember(&answer, &batch);
        Ok(batch.limited(query.articles_max))
    }
}

/// Validators go back byte for byte, quotes included.
fn conditions(last: Option<&Last>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, ACCEPTED);
    let Some(last) = last else { return headers };
    if let Some(etag) = &last.etag {
        headers.insert(IF_NONE_MATCH, etag.clone());
    }
    if let Some(date) = &last.last_modified {
        headers.insert(IF_MODIFIED_SINCE, date.clone());
    }
    headers
}

/// Names are shown to clients, and queries of feeds may hold tokens: they are told apart by a piece of their hash.
fn name_of(url: &Url) -> String {
    use sha2::{Digest, Sha256};
    let host = url.host_str().unwrap_or_default();
    let port = url
        .port()
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    let path = url.path().trim_end_matches('/');
    let mut name = format!("feed:{host}{port}{path}");
    let lower = name.to_lowercase();
    if url.query().is_some() || lower != name {
        let digest = crate::article::hex(&Sha256::digest(
            url[url::Position::BeforePath..url::Position::AfterQuery].as_bytes(),
        ));
        name = format!("{lower}~{}", digest.get(..8).unwrap_or_default());
    }
    name
}

/// Reads a feed of any kind.
pub fn parse(
    body: &[u8],
    document: Document<'_>,
    now: DateTime<Utc>,
) -> Result<Batch, SourceError> {
    let text = transcode::to_text(body, document.charset);
    let text = text.trim_start();
    if text.is_empty() {
        return Err(SourceError::Malformed("an empty document".to_owned()));
    }
    if text.starts_with(['{', '[']) {
        return jsonfeed::parse(text.as_bytes(), document.url, now);
    }
    let feed = xml::read(text, document.url)?;
    let outlet = feed
        .title
        .as_ref()
        .and_then(|title| clean(&title.content, NAME_CHARS_MAX));
    let subject = super::words::of_address(document.url);
    let mut batch = Batch::default();
    for (index, item) in feed.entries.iter().take(ITEMS_MAX).enumerate() {
        batch.push(entry::article(
            item,
            outlet.as_deref(),
            subject,
            document.url,
            in_turn(now, index),
        ));
    }
    Ok(batch)
}

/// What dates an item that has no date: each a moment older than the one above it, so that an undated feed keeps its order.
fn in_turn(now: DateTime<Utc>, index: usize) -> DateTime<Utc> {
    let before = i64::try_from(index).unwrap_or(i64::MAX);
    now.checked_sub_signed(TimeDelta::microseconds(before))
        .unwrap_or(now)
}

#[cfg(test)]
mod tests;
