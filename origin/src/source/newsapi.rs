//! NewsAPI.org, version 2: headlines by category, one page a question.
//!
//! Left out: paging, since the free plan ends at the 100 results of one page.

use super::{Batch, ITEMS_MAX, Query, Source, SourceError, endpoint, json};
use crate::article::{Category, Draft, parse_date};
use crate::discipline::{Ask, Gate, Request};
use crate::http::{Answer, Redirects, failure, header, sensitive};
use crate::secret::Secret;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use reqwest::header::HeaderName;
use serde_json::Value;
use std::time::Duration;
use url::Url;

/// Where the provider answers.
pub const BASE_URL: &str = "https://newsapi.org";
const PAGE_SIZE_MAX: u16 = 100;
/// How long it is left in peace when it says that its quota is used up: it gives 50 requests in 12 hours.
const SPENT_WAIT: Duration = Duration::from_secs(3600);
/// What stands in every text of an article that was withdrawn.
const REMOVED: &str = "[Removed]";
/// There is no "world" among its categories, and headlines are those of one country. So the whole index is searched,
/// for what stories between countries speak of: the bare word "world" finds cups, records and theme parks.
const WORLD_QUERY: &str = r#""world news" OR "United Nations" OR "foreign minister" OR "prime minister" OR ceasefire OR treaty"#;

/// The provider with our key.
#[derive(Debug)]
pub struct NewsApiSource {
    gate: Gate,
    key: Secret,
    base: Url,
}

impl NewsApiSource {
    /// `base` of `None` is the provider itself.
    pub fn new(gate: Gate, key: Secret, base: Option<Url>) -> Self {
        Self {
            gate,
            key,
            base: base.unwrap_or_else(|| super::known_url(BASE_URL)),
        }
    }

    fn judge(
        &self,
        answer: &Answer,
        query: Query,
        now: DateTime<Utc>,
    ) -> Result<Batch, SourceError> {
        let batch = if answer.is_success() {
            parse(&answer.body, query.category, now)
        } else {
            Err(self.fault(answer, now))
        };
        batch
            .map(|batch| batch.limited(query.articles_max))
            .map_err(|error| patient(error).without(&self.key))
    }

    fn fault(&self, answer: &Answer, now: DateTime<Utc>) -> SourceError {
        let Ok(body) = json::read(&answer.body) else {
            return answer.failure(None, now);
        };
        let message = self
            .key
            .blot(json::text(&body, "message").unwrap_or_default());
        match json::text(&body, "code") {
            Some(code) => refusal(code, &message, Some(answer.status), answer.retry_after(now)),
            None => answer.failure(Some(&message), now),
        }
    }
}

#[async_trait]
impl Source for NewsApiSource {
    fn name(&self) -> &str {
        "newsapi"
    }

    fn answers_by_category(&self) -> bool {
        true
    }

    async fn fetch(&self, query: Query, now: DateTime<Utc>) -> Result<Batch, SourceError> {
        // In a header: a key in the query would stand in every log on the way.
        let key = header(
            HeaderName::from_static("x-api-key"),
            sensitive(self.key.expose()),
        );
        let request = Request {
            url: question(&self.base, query),
            headers: key,
            redirects: Redirects::SameOrigin,
            form: None,
        };
        let ask = Ask {
            purpose: query.purpose,
            now,
        };
        self.gate
            .ask(&request, ask, |answer, now| self.judge(answer, query, now))
            .await
    }

    fn gate(&self) -> Option<&Gate> {
        Some(&self.gate)
    }
}

/// It names no time when its quota is used up, by our count or by that of another program with the same key.
fn patient(error: SourceError) -> SourceError {
    match error {
        SourceError::RateLimited { retry_after } => SourceError::RateLimited {
            retry_after: retry_after.or(Some(SPENT_WAIT)),
        },
        error => error,
    }
}

fn question(base: &Url, query: Query) -> Url {
    let page_size = query.articles_max.clamp(1, PAGE_SIZE_MAX).to_string();
    let path = if query.category == Some(Category::World) {
        "v2/everything"
    } else {
        "v2/top-headlines"
    };
    let mut url = endpoint(base, path);
    let mut pairs = url.query_pairs_mut();
    match query.category {
        Some(Category::World) => {
            pairs
                .append_pair("q", WORLD_QUERY)
                .append_pair("language", "en")
                .append_pair("sortBy", "publishedAt");
        }
        // The only country that still has headlines.
        category => {
            pairs.append_pair("country", "us");
            if let Some(category) = category {
                pairs.append_pair("category", category.as_str());
            }
        }
    }
    pairs.append_pair("pageSize", &page_size);
    drop(pairs);
    url
}

/// Reads an answer. Articles don't say their category: they have the one that was `asked` for.
pub fn parse(
    body: &[u8],
    asked: Option<Category>,
    now: DateTime<Utc>,
) -> Result<Batch, SourceError> {
    let body = json::read(body)?;
    if json::text(&body, "status") == Some("error") {
        let code = json::text(&body, "code").unwrap_or_default();
        let message = json::text(&body, "message").unwrap_or_default();
        return Err(refusal(code, message, None, None));
    }
    if !body.get("articles").is_some_and(Value::is_array) {
        return Err(SourceError::Malformed("no list of articles".to_owned()));
    }
    let mut batch = Batch::default();
    for item in json::list(&body, "articles").iter().take(ITEMS_MAX) {
        batch.push(draft(item, asked).and_then(|draft| draft.finish(None, now)));
    }
    Ok(batch)
}

fn draft(item: &Value, asked: Option<Category>) -> Option<Draft<'_>> {
    let outlet = item
        .get("source")
        .and_then(|source| json::text(source, "name"))
        .filter(|name| *name != REMOVED);
    let title = json::text(item, "title").filter(|title| title.trim() != REMOVED)?;
    let author = json::text(item, "author");
    let url = json::text(item, "url").filter(|url| !is_removed(url))?;
    Some(Draft {
        outlet,
        external_id: None,
        title: Some(super::words::without_outlet(title, &[outlet, author])),
        description: json::text(item, "description").filter(|text| *text != REMOVED),
        content: json::text(item, "content")
            .filter(|text| *text != REMOVED)
            .map(without_count),
        author,
        url: Some(url),
        image_url: json::text(item, "urlToImage"),
        language: None,
        published: json::text(item, "publishedAt").and_then(parse_date),
        categories: vec![asked.unwrap_or(Category::General)],
    })
}

/// All withdrawn articles share this address, and would meet as one.
fn is_removed(url: &str) -> bool {
    Url::parse(url.trim()).is_ok_and(|url| url.host_str() == Some("removed.com"))
}

/// `… [+1234 chars]` says how much was cut off; readers want the text.
fn without_count(content: &str) -> &str {
    let trimmed = content.trim_end();
    let cut = trimmed.strip_suffix(" chars]").and_then(|rest| {
        let digits = rest.bytes().rev().take_while(u8::is_ascii_digit).count();
        rest.get(..rest.len() - digits)?
            .strip_suffix("[+")
            .filter(|_| digits > 0)
    });
    cut.map_or(content, str::trim_end)
}

/// What an error code asks of us. The body's word goes before the HTTP status, which a mirror may have lost.
fn refusal(
    code: &str,
    message: &str,
    status: Option<u16>,
    retry_after: Option<Duration>,
) -> SourceError {
    let usual = match code {
        "apiKeyMissing" | "apiKeyInvalid" | "apiKeyDisabled" => 401,
        "apiKeyExhausted" | "rateLimited" => 429,
        "maximumResultsReached" | "corsNotAllowed" => 426,
        "unexpectedError" => 500,
        _ => status.filter(|status| *status >= 400).unwrap_or(400),
    };
    let words = format!("{code}: {message}");
    failure(usual, retry_after, Some(words.trim_matches([':', ' '])))
}

#[cfg(test)]
mod tests;
