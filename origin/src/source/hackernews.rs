//! Hacker News through Algolia's search: one request gives the whole front page. Everything there is technology.
//!
//! Left out: comments and polls' options, which are no articles, and the Firebase API with its one request per item.

use super::{Batch, ITEMS_MAX, Query, Source, SourceError, endpoint, json};
use crate::article::{CanonicalUrl, Category, Draft, parse_date};
use crate::discipline::{Ask, Gate, Request};
use crate::http::{Answer, Redirects, failure};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use reqwest::header::HeaderMap;
use serde_json::Value;
use url::Url;

/// Where the provider answers.
pub const BASE_URL: &str = "https://hn.algolia.com";
const PAGE_SIZE_MAX: u16 = 100;

/// The provider; no key is needed.
#[derive(Debug)]
pub struct HackerNewsSource {
    gate: Gate,
    base: Url,
}

impl HackerNewsSource {
    /// `base` of `None` is the provider itself.
    pub fn new(gate: Gate, base: Option<Url>) -> Self {
        Self {
            gate,
            base: base.unwrap_or_else(|| super::known_url(BASE_URL)),
        }
    }
}

#[async_trait]
impl Source for HackerNewsSource {
    fn name(&self) -> &str {
        "hackernews"
    }

    fn answers_by_category(&self) -> bool {
        false
    }

    async fn fetch(&self, query: Query, now: DateTime<Utc>) -> Result<Batch, SourceError> {
        let request = Request {
            url: question(&self.base, query.articles_max),
            headers: HeaderMap::new(),
            redirects: Redirects::Anywhere,
            form: None,
        };
        let ask = Ask {
            purpose: query.purpose,
            now,
        };
        let judge = |answer: &Answer, now| {
            if !answer.is_success() {
                let body = json::read(&answer.body).unwrap_or_default();
                return Err(answer.failure(json::text(&body, "message"), now));
            }
            parse(&answer.body, now).map(|batch| batch.limited(query.articles_max))
        };
        self.gate.ask(&request, ask, judge).await
    }

    fn gate(&self) -> Option<&Gate> {
        Some(&self.gate)
    }
}

/// The front page, newest first: readers have chosen it already, where "new" is mostly unread.
fn question(base: &Url, articles_max: u16) -> Url {
    let hits = articles_max.clamp(1, PAGE_SIZE_MAX).to_string();
    let mut url = endpoint(base, "api/v1/search_by_date");
    url.query_pairs_mut()
        .append_pair("tags", "front_page")
        .append_pair("hitsPerPage", &hits);
    url
}

/// Reads an answer of either search.
pub fn parse(body: &[u8], now: DateTime<Utc>) -> Result<Batch, SourceError> {
    let body = json::read(body)?;
    if !body.get("hits").is_some_and(Value::is_array) {
        return Err(match json::text(&body, "message") {
            Some(message) => failure(status(&body), None, Some(message)),
            None => SourceError::Malformed("no list of hits".to_owned()),
        });
    }
    let mut batch = Batch::default();
    for hit in json::list(&body, "hits").iter().take(ITEMS_MAX) {
        let id = json::id(hit, "objectID");
        let discussion = id
            .as_deref()
            .map(|id| format!("https://news.ycombinator.com/item?id={id}"));
        match draft(hit, id.as_deref(), discussion.as_deref()) {
            Some(draft) => batch.finish(draft, None, now),
            None => batch.skipped += 1,
        }
    }
    Ok(batch)
}

fn status(body: &Value) -> u16 {
    let status = body
        .get("status")
        .and_then(Value::as_u64)
        .and_then(|status| u16::try_from(status).ok());
    status.filter(|status| *status >= 400).unwrap_or(400)
}

/// Keys may be null or left out; a story without an address of its own (Ask HN) is its discussion.
fn draft<'a>(
    hit: &'a Value,
    id: Option<&'a str>,
    discussion: Option<&'a str>,
) -> Option<Draft<'a>> {
    if json::list(hit, "_tags")
        .iter()
        .any(|tag| matches!(tag.as_str(), Some("comment" | "pollopt")))
    {
        return None;
    }
    Some(Draft {
        outlet: Some("Hacker News"),
        external_id: id,
        title: json::text(hit, "title"),
        description: json::text(hit, "story_text").or_else(|| json::text(hit, "text")),
        content: None,
        author: json::text(hit, "author"),
        url: json::text(hit, "url")
            .filter(|url| CanonicalUrl::parse(url, None).is_ok())
            .or(discussion),
        image_url: None,
        language: None,
        published: json::text(hit, "created_at")
            .and_then(parse_date)
            .or_else(|| json::seconds(hit, "created_at_i")),
        categories: vec![Category::Technology],
    })
}

#[cfg(test)]
mod tests;
