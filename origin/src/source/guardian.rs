//! The Guardian's Open Platform: search by section, newest first.
//!
//! Left out on purpose: asking for bodies. The terms allow headline, trail text and link to be kept; texts must be fetched
//! anew within a day. Left out too: paging, since one page is what one question may cost (one request a second).

use super::{Batch, ITEMS_MAX, Query, Source, SourceError, endpoint, json, words};
use crate::article::{CanonicalUrl, Category, Draft, NewArticle, parse_date, text};
use crate::discipline::{Ask, Gate, Request};
use crate::http::{Answer, Redirects, failure};
use crate::secret::Secret;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use reqwest::header::HeaderMap;
use serde_json::Value;
use std::borrow::Cow;
use url::Url;

/// Where the provider answers.
pub const BASE_URL: &str = "https://content.guardianapis.com";
/// The documents say 50; larger pages are known to work but are not promised.
const PAGE_SIZE_MAX: u16 = 50;
/// The beginning of a body stands in for a missing trail text; quotes of about a hundred words are licensed.
const EXCERPT_CHARS_MAX: usize = 500;

/// The provider with our key.
#[derive(Debug)]
pub struct GuardianSource {
    gate: Gate,
    key: Secret,
    base: Url,
}

impl GuardianSource {
    /// `base` of `None` is the provider itself.
    pub fn new(gate: Gate, key: Secret, base: Option<Url>) -> Self {
        Self {
            gate,
            key,
            base: base.unwrap_or_else(|| super::known_url(BASE_URL)),
        }
    }

    /// The key can only go in the query; errors are made without URLs, and what the provider echoes is blotted.
    fn question(&self, query: Query) -> Url {
        let page_size = query.articles_max.clamp(1, PAGE_SIZE_MAX).to_string();
        let mut url = endpoint(&self.base, "search");
        let mut pairs = url.query_pairs_mut();
        if let Some(category) = query.category {
            pairs.append_pair("section", sections(category));
        }
        pairs
            .append_pair("order-by", "newest")
            .append_pair("page-size", &page_size)
            .append_pair("show-fields", "headline,trailText,byline,thumbnail")
            .append_pair("format", "json")
            .append_pair("api-key", self.key.expose());
        drop(pairs);
        url
    }

    fn judge(&self, answer: &Answer, now: DateTime<Utc>) -> Result<Batch, SourceError> {
        if answer.is_success() {
            return parse(&answer.body, now);
        }
        let body = json::read(&answer.body).unwrap_or_default();
        match message(&body) {
            Some(message) if is_past_the_end(message) => Ok(Batch::default()),
            message => {
                Err(answer.failure(message.map(|words| self.key.blot(words)).as_deref(), now))
            }
        }
    }
}

#[async_trait]
impl Source for GuardianSource {
    fn name(&self) -> &str {
        "guardian"
    }

    fn answers_by_category(&self) -> bool {
        true
    }

    async fn fetch(&self, query: Query, now: DateTime<Utc>) -> Result<Batch, SourceError> {
        let request = Request {
            url: self.question(query),
            headers: HeaderMap::new(),
            redirects: Redirects::SameOrigin,
            form: None,
        };
        let ask = Ask {
            purpose: query.purpose,
            now,
        };
        let judge = |answer: &Answer, now| {
            self.judge(answer, now)
                .map(|batch| batch.limited(query.articles_max))
                .map_err(|error| error.without(&self.key))
        };
        self.gate.ask(&request, ask, judge).await
    }

    fn gate(&self) -> Option<&Gate> {
        Some(&self.gate)
    }
}

/// The sections that make up a category. There is none for health: society carries it.
fn sections(category: Category) -> &'static str {
    match category {
        Category::Business => "business|money",
        Category::Entertainment => "culture|film|music|tv-and-radio|stage|books|artanddesign|games",
        Category::General => "news|uk-news|us-news|australia-news|politics",
        Category::Health => "society",
        Category::Science => "science|environment",
        Category::Sports => "sport|football",
        Category::Technology => "technology",
        Category::World => "world",
    }
}

/// The category of an item: its section's, or else that of the pillar above it.
fn category(section: Option<&str>, pillar: Option<&str>) -> Category {
    let of_section = section.and_then(|section| {
        Category::ALL
            .into_iter()
            .find(|category| sections(*category).split('|').any(|known| known == section))
    });
    let of_pillar = || match pillar? {
        "pillar/sport" => Some(Category::Sports),
        "pillar/arts" => Some(Category::Entertainment),
        _ => None,
    };
    of_section.or_else(of_pillar).unwrap_or(Category::General)
}

/// Reads an answer, in its envelope or, as the gateway in front sends errors, without.
pub fn parse(body: &[u8], now: DateTime<Utc>) -> Result<Batch, SourceError> {
    let body = json::read(body)?;
    let response = body.get("response").unwrap_or(&body);
    let is_error = json::text(response, "status") == Some("error");
    let results = response
        .get("results")
        .filter(|results| results.is_array() && !is_error);
    if let Some(results) = results {
        let mut batch = Batch::default();
        for item in results.as_array().into_iter().flatten().take(ITEMS_MAX) {
            batch.push(article(item, now));
        }
        return Ok(batch);
    }
    match message(&body) {
        Some(message) if is_past_the_end(message) => Ok(Batch::default()),
        Some(message) => Err(failure(usual_status(message), None, Some(message))),
        None => Err(SourceError::Malformed("no list of results".to_owned())),
    }
}

fn message(body: &Value) -> Option<&str> {
    let response = body.get("response").unwrap_or(body);
    json::text(response, "message").or_else(|| json::text(body, "message"))
}

/// "Requested page is beyond the number of available pages": the end of a list, not a fault.
fn is_past_the_end(message: &str) -> bool {
    message
        .to_ascii_lowercase()
        .contains("beyond the number of available pages")
}

/// A body alone says what its status would have said.
fn usual_status(message: &str) -> u16 {
    let message = message.to_ascii_lowercase();
    let has = |word: &str| message.contains(word);
    if has("rate limit") {
        429
    } else if has("unauthorized")
        || has("forbidden")
        || has("authentication")
        || has("api key")
        || has("api-key")
    {
        401
    } else if has("could not be found") {
        404
    } else {
        400
    }
}

/// `webUrl`, or what its id says it must be: an item's id is the path of its page.
fn address(item: &Value) -> Option<Cow<'_, str>> {
    let given = json::text(item, "webUrl").filter(|url| CanonicalUrl::parse(url, None).is_ok());
    given.map(Cow::Borrowed).or_else(|| {
        json::text(item, "id").map(|id| Cow::Owned(format!("https://www.theguardian.com/{id}")))
    })
}

fn article(item: &Value, now: DateTime<Utc>) -> Option<NewArticle> {
    let field = |key: &str| {
        item.get("fields")
            .and_then(|fields| json::text(fields, key))
    };
    let byline = field("byline");
    let title = json::text(item, "webTitle").or_else(|| field("headline"))?;
    let url = address(item)?;
    let category = category(json::text(item, "sectionId"), json::text(item, "pillarId"));
    let draft = Draft {
        outlet: Some("The Guardian"),
        external_id: json::text(item, "id"),
        title: Some(words::without_outlet(title, &[byline])),
        description: field("trailText").or_else(|| field("standfirst")),
        content: None,
        author: byline,
        url: Some(&url),
        image_url: field("thumbnail"),
        // It writes English, and says so only when asked.
        language: field("lang").or(Some("en")),
        published: json::text(item, "webPublicationDate").and_then(parse_date),
        categories: vec![category],
    };
    let mut article = draft.finish(None, now)?;
    if article.description.is_none() {
        let body = field("bodyText").or_else(|| field("body"));
        article.description = body.and_then(|body| text::clean(body, EXCERPT_CHARS_MAX));
    }
    Some(article)
}

#[cfg(test)]
mod tests;
