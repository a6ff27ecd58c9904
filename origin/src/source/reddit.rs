//! Reddit: what the configured subreddits link to, asked with the program's own token. Each subreddit is a listing of its own, paged
//! by `after`; one that fails costs its own articles only.
//!
//! Left out: what is no news article (posts without a link, pictures and videos by themselves, pinned posts, what is not for
//! all ages), and comments.

use super::{Batch, ITEMS_MAX, Query, Source, SourceError, json, words};
use crate::article::{Category, Draft};
use crate::discipline::{Ask, Gate};
use crate::http::{Answer, failure};
use crate::reddit::Reddit;
use crate::secret::Secret;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use serde_json::Value;
use std::time::Duration;
use url::Url;

/// Most posts that a listing gives at once.
const PAGE_SIZE_MAX: u16 = 100;
/// Of one subreddit: what follows is old, and each page is a request.
const PAGES_MAX: usize = 3;
/// Longest stretch of a stranger's reason that an error repeats, in characters.
const REASON_CHARS_MAX: usize = 100;

/// Some subreddits.
#[derive(Debug)]
pub struct RedditSource {
    gate: Gate,
    reddit: Reddit,
    subreddits: Vec<String>,
}

/// One page of a listing.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub batch: Batch,
    /// What the next page begins after; `None` on the last.
    pub after: Option<String>,
}

/// What an answer to a listing is.
enum Read {
    Page(Page),
    /// The token is no good any more.
    Expired,
}

impl RedditSource {
    /// The names are those of [`is_subreddit`].
    pub fn new(gate: Gate, reddit: Reddit, subreddits: Vec<String>) -> Self {
        Self {
            gate,
            reddit,
            subreddits,
        }
    }

    async fn listing(&self, subreddit: &str, query: Query, ask: Ask) -> Result<Batch, SourceError> {
        let mut all = Batch::default();
        let mut after: Option<String> = None;
        let wanted = usize::from(query.articles_max);
        for _ in 0..PAGES_MAX {
            let page = match self.page(subreddit, after.as_deref(), ask).await {
                Ok(page) => page,
                // What the pages before it gave is good.
                Err(error) if after.is_some() => {
                    tracing::info!(subreddit, %error, "a further page failed");
                    break;
                }
                Err(error) => return Err(error),
            };
            all.articles.extend(page.batch.articles);
            all.skipped += page.batch.skipped;
            // The same page again would be the same for ever.
            if page.after.is_none() || page.after == after || all.articles.len() >= wanted {
                break;
            }
            after = page.after;
        }
        Ok(all)
    }

    /// One page; with a new token once, when the one at hand turns out to be spent.
    async fn page(
        &self,
        subreddit: &str,
        after: Option<&str>,
        ask: Ask,
    ) -> Result<Page, SourceError> {
        let token = self.reddit.app_token(None, &self.gate, ask).await?;
        match self.read(subreddit, after, ask, &token, false).await? {
            Read::Page(page) => return Ok(page),
            Read::Expired => tracing::info!("the token is no good any more: asking for another"),
        }
        let token = self.reddit.app_token(Some(&token), &self.gate, ask).await?;
        match self.read(subreddit, after, ask, &token, true).await? {
            Read::Page(page) => Ok(page),
            Read::Expired => Err(SourceError::Credentials(
                "a new token is refused".to_owned(),
            )),
        }
    }

    async fn read(
        &self,
        subreddit: &str,
        after: Option<&str>,
        ask: Ask,
        token: &Secret,
        is_last_try: bool,
    ) -> Result<Read, SourceError> {
        let limit = PAGE_SIZE_MAX.to_string();
        let mut query = vec![("limit", limit.as_str())];
        query.extend(after.map(|after| ("after", after)));
        let request = self
            .reddit
            .request(&format!("r/{subreddit}/hot"), &query, token);
        let judge = |answer: &Answer, now| match answer.status {
            401 if !is_last_try => Ok(Read::Expired),
            200..=299 => parse(&answer.body, now).map(Read::Page),
            _ => Err(refusal(answer, now)),
        };
        self.gate.ask(&request, ask, judge).await
    }
}

#[async_trait]
impl Source for RedditSource {
    fn name(&self) -> &str {
        "reddit"
    }

    fn answers_by_category(&self) -> bool {
        false
    }

    async fn fetch(&self, query: Query, now: DateTime<Utc>) -> Result<Batch, SourceError> {
        let ask = Ask {
            purpose: query.purpose,
            now,
        };
        let listings = self.subreddits.iter().map(|subreddit| async move {
            let listing = self.listing(subreddit, query, ask).await;
            if let Err(error) = &listing {
                tracing::warn!(subreddit, %error, "a subreddit failed");
            }
            listing
        });
        let (mut all, mut failed, mut is_any) = (Batch::default(), None, false);
        for listing in join_all(listings).await {
            match listing {
                Ok(batch) => {
                    is_any = true;
                    all.articles.extend(batch.articles);
                    all.skipped += batch.skipped;
                }
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) if !is_any => Err(error),
            // The subreddits share: the newest of all, not the first one's alone.
            _ => {
                all.articles
                    .sort_by_key(|article| std::cmp::Reverse(article.published_at));
                Ok(all.limited(query.articles_max))
            }
        }
    }

    fn gate(&self) -> Option<&Gate> {
        Some(&self.gate)
    }
}

/// What Reddit's names of subreddits are made of. Anything else would lead to another path.
pub fn is_subreddit(name: &str) -> bool {
    (2..=21).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// What an answer without a listing means. Reddit sends those who ask for a subreddit that isn't there to its search.
pub(crate) fn refusal(answer: &Answer, now: DateTime<Utc>) -> SourceError {
    let status = |message: &str| SourceError::Status {
        status: answer.status,
        message: message.to_owned(),
    };
    let challenge = answer.header(&reqwest::header::WWW_AUTHENTICATE);
    let body = json::read(&answer.body).ok();
    match answer.status {
        300..=399 => status("leads elsewhere: there is no such subreddit"),
        403 if challenge.is_some_and(|words| words.contains("insufficient_scope")) => {
            SourceError::Credentials("the token lacks the scope to read".to_owned())
        }
        403 => match &body {
            Some(body) => {
                let reason = json::text(body, "reason").or_else(|| json::text(body, "message"));
                let reason = reason.unwrap_or("no reason");
                let reason: String = reason.chars().take(REASON_CHARS_MAX).collect();
                status(&format!("refused: {reason}"))
            }
            None => status("refuses our network or User-Agent"),
        },
        429 => SourceError::RateLimited {
            retry_after: answer.retry_after(now).or_else(|| reset(answer)),
        },
        code => {
            let message = body.as_ref().and_then(|body| json::text(body, "message"));
            failure(code, answer.retry_after(now), message)
        }
    }
}

fn reset(answer: &Answer) -> Option<Duration> {
    let value = answer.headers.get("x-ratelimit-reset")?.to_str().ok()?;
    Duration::try_from_secs_f64(value.trim().parse::<f64>().ok()?.clamp(0.0, 86_400.0)).ok()
}

/// Reads a listing.
pub fn parse(body: &[u8], now: DateTime<Utc>) -> Result<Page, SourceError> {
    let body = json::read(body)?;
    let data = body
        .get("data")
        .filter(|data| data.get("children").is_some_and(Value::is_array));
    let Some(data) = data else {
        let code = json::id(&body, "error").and_then(|code| code.parse::<u16>().ok());
        return Err(match code {
            Some(code) => failure(code, None, json::text(&body, "message")),
            None => SourceError::Malformed("no listing".to_owned()),
        });
    };
    let mut batch = Batch::default();
    for child in json::list(data, "children").iter().take(ITEMS_MAX) {
        let post = child.get("data").unwrap_or(&Value::Null);
        let is_post = json::text(child, "kind").is_none_or(|kind| kind == "t3");
        match link(post).filter(|_| is_post && is_news(post)) {
            Some(link) => finish(&mut batch, post, link, now),
            None => batch.skipped += 1,
        }
    }
    Ok(Page {
        batch,
        after: json::text(data, "after").map(str::to_owned),
    })
}

fn finish(batch: &mut Batch, post: &Value, link: &str, now: DateTime<Utc>) {
    let subreddit = json::text(post, "subreddit");
    let outlet = subreddit.map(|name| format!("r/{name}"));
    let author = json::text(post, "author")
        .filter(|author| !matches!(*author, "[deleted]" | "[removed]"))
        .map(|author| format!("u/{author}"));
    let draft = Draft {
        outlet: outlet.as_deref(),
        external_id: json::text(post, "name").or_else(|| json::text(post, "id")),
        title: json::text(post, "title").filter(|title| !is_removed(title)),
        description: None,
        content: None,
        author: author.as_deref(),
        language: None,
        url: Some(link),
        image_url: image(post),
        published: json::seconds(post, "created_utc"),
        categories: subreddit.and_then(category).into_iter().collect(),
    };
    batch.finish(draft, None, now);
}

/// Where the post leads.
fn link(post: &Value) -> Option<&str> {
    json::text(post, "url_overridden_by_dest").or_else(|| json::text(post, "url"))
}

/// A picture or a video by itself, wherever it lies.
fn is_picture(post: &Value) -> bool {
    const ENDINGS: [&str; 8] = [
        ".jpg", ".jpeg", ".png", ".gif", ".gifv", ".webp", ".mp4", ".webm",
    ];
    let path = link(post)
        .and_then(|link| Url::parse(link.trim()).ok())
        .map(|url| url.path().to_ascii_lowercase());
    matches!(
        json::text(post, "post_hint"),
        Some("image" | "hosted:video")
    ) || path.is_some_and(|path| ENDINGS.iter().any(|ending| path.ends_with(ending)))
}

/// Whether a post is a link to something that is not Reddit's own.
fn is_news(post: &Value) -> bool {
    let is_dropped = [
        "over_18",
        "stickied",
        "is_self",
        "quarantine",
        "hidden",
        "is_gallery",
    ]
    .into_iter()
    .any(|key| json::is(post, key))
        || is_picture(post)
        || json::text(post, "removed_by_category").is_some();
    let host = link(post)
        .and_then(|link| Url::parse(link.trim()).ok())
        .and_then(|url| Some(url.host_str()?.trim_end_matches('.').to_ascii_lowercase()));
    let own = |host: &str| {
        ["reddit.com", "redd.it"]
            .iter()
            .any(|own| host == *own || host.ends_with(&format!(".{own}")))
    };
    !is_dropped && host.is_some_and(|host| !own(&host))
}

fn is_removed(title: &str) -> bool {
    let title = title.trim();
    title.starts_with("[removed") || title.starts_with("[deleted") || title.starts_with("[ Removed")
}

/// The preview, or a thumbnail that is one: in its place stand words such as "self", "nsfw" or nothing.
fn image(post: &Value) -> Option<&str> {
    let preview = post
        .pointer("/preview/images/0/source")
        .and_then(|source| json::text(source, "url"));
    let thumbnail = json::text(post, "thumbnail").filter(|text| text.starts_with("http"));
    preview.or(thumbnail)
}

/// What a subreddit is about, where its name says so.
fn category(subreddit: &str) -> Option<Category> {
    let name = subreddit.to_ascii_lowercase();
    let name = name
        .strip_suffix("news")
        .filter(|rest| !rest.is_empty())
        .unwrap_or(&name);
    words::of_terms([name]).into_iter().next()
}

#[cfg(test)]
mod tests;
