//! Feeds: RSS 0.9x, 1.0 and 2.0, Atom and JSON Feed. Each address is a source of its own.
//!
//! Must stay true: an item is keyed by its link alone, since ids of feeds repeat, change with edits or are made up;
//! and the same bytes give the same articles. A feed is not polled more often than it wishes (`max-age`, `<ttl>`) nor than is
//! polite, whoever asks; validators are kept only when what they validate is stored. Left out: `<skipHours>` and `<skipDays>`.

mod base;
mod document;
mod entry;
mod jsonfeed;
mod mend;
mod reading;
mod scan;
mod transcode;
mod wishes;
mod xml;

pub use document::Document;
pub(super) use transcode::to_text;

use super::{Batch, ITEMS_MAX, Query, Source, SourceError};
use crate::article::text::{NAME_CHARS_MAX, clean};
use crate::discipline::{Ask, Claim, Gate, Request, Validators};
use crate::http::{Answer, Redirects};
use crate::personal::{is_personal, poll_key};
use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::header::{
    ACCEPT, ETAG, HeaderMap, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
};
use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use url::Url;

/// Longest stretch of an item's text that stands in for its title, in characters.
const HEADLINE_CHARS_MAX: usize = 120;
const ACCEPTED: HeaderValue = HeaderValue::from_static(
    "application/rss+xml, application/atom+xml, application/feed+json, application/xml;q=0.9, */*;q=0.5",
);

/// However long a feed asks not to be polled, it is asked once a day.
const POLL_INTERVAL_MAX: Duration = Duration::from_secs(24 * 3600);
/// Who takes a turn and then dies gives it up after this.
const TURN: TimeDelta = TimeDelta::minutes(1);

/// One feed.
#[derive(Debug)]
pub struct FeedSource {
    gate: Gate,
    url: Url,
    /// What its polls are known by in the database, where no address is kept that could let a subscriber in.
    url_hash: String,
    poll_interval_min: Duration,
    /// What the last fetch leaves to be remembered when its articles are stored; of an earlier one nothing.
    pending: Mutex<Option<Pending>>,
    /// Whether what came last could not be stored.
    was_unstored: AtomicBool,
}

#[derive(Debug)]
struct Pending {
    validators: Validators,
    interval: TimeDelta,
}

/// What a poll brought.
enum Polled {
    Unchanged { interval: TimeDelta },
    Changed(Batch, Pending),
}

impl FeedSource {
    /// The feed at that address; user info in it becomes basic authentication. The gate bears its name.
    pub fn new(gate: Gate, url: Url, poll_interval_min: Duration) -> Self {
        use sha2::{Digest, Sha256};
        let url_hash = match is_personal(gate.source()) {
            true => poll_key(gate.source()),
            false => crate::article::hex(&Sha256::digest(url.as_str().as_bytes())),
        };
        Self {
            gate,
            url_hash,
            url,
            poll_interval_min,
            pending: Mutex::default(),
            was_unstored: AtomicBool::new(false),
        }
    }

    async fn judge(
        &self,
        answer: Answer,
        is_conditional: bool,
        now: DateTime<Utc>,
    ) -> Result<Polled, SourceError> {
        if answer.status == 304 && is_conditional {
            let interval = self.interval(wishes::max_age(&answer.headers), None);
            return Ok(Polled::Unchanged { interval });
        }
        if answer.status == 304 {
            let unasked = "304 without being asked conditionally".to_owned();
            return Err(SourceError::Malformed(unasked));
        }
        if !answer.is_success() {
            return Err(answer.failure(None, now));
        }
        let bytes = |name| {
            let value: Option<&HeaderValue> = answer.headers.get(name);
            value.map(|value| value.as_bytes().to_vec())
        };
        let validators = Validators {
            etag: bytes(ETAG),
            last_modified: bytes(LAST_MODIFIED),
        };
        let max_age = wishes::max_age(&answer.headers);
        let reading = move || {
            let document = Document {
                url: &answer.url,
                charset: answer.charset(),
            };
            read(&answer.body, document, now)
        };
        let (batch, ttl) = reading::in_turn(is_personal(self.name()), reading).await?;
        let pending = Pending {
            validators,
            interval: self.interval(max_age, ttl),
        };
        Ok(Polled::Changed(batch, pending))
    }

    fn interval(&self, max_age: Option<Duration>, ttl: Option<Duration>) -> TimeDelta {
        let wished = max_age.max(ttl).unwrap_or_default().min(POLL_INTERVAL_MAX);
        TimeDelta::from_std(wished.max(self.poll_interval_min)).unwrap_or(TimeDelta::days(1))
    }

    async fn poll(
        &self,
        query: Query,
        validators: &Validators,
        now: DateTime<Utc>,
    ) -> Result<Polled, SourceError> {
        let request = Request {
            url: self.url.clone(),
            headers: conditions(validators),
            redirects: Redirects::Anywhere,
            form: None,
        };
        let ask = Ask {
            purpose: query.purpose,
            now,
        };
        let is_conditional = *validators != Validators::default();
        let judge = |answer: Answer, now| self.judge(answer, is_conditional, now);
        self.gate.ask_at_length(&request, ask, judge).await
    }

    /// All that the feed says now, whoever's turn it is and whatever was asked before.
    pub async fn fetch_whole(
        &self,
        query: Query,
        now: DateTime<Utc>,
    ) -> Result<Batch, SourceError> {
        match self.poll(query, &Validators::default(), now).await? {
            Polled::Changed(batch, _) => Ok(batch.limited(query.articles_max)),
            Polled::Unchanged { .. } => Ok(Batch::unchanged()),
        }
    }

    /// Until what is remembered, the feed counts as just polled: what is lost here costs one needless poll.
    async fn again_at(&self, again_at: DateTime<Utc>) {
        let put = self.gate.ledger().poll_again_at(&self.url_hash, again_at);
        if let Err(error) = put.await {
            tracing::warn!(source = self.name(), %error, "the next poll was not put down");
        }
    }

    fn pending(&self) -> MutexGuard<'_, Option<Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Source for FeedSource {
    fn name(&self) -> &str {
        self.gate.source()
    }

    fn answers_by_category(&self) -> bool {
        false
    }

    async fn fetch(&self, query: Query, now: DateTime<Utc>) -> Result<Batch, SourceError> {
        // What is left over from a fetch whose articles were not stored must not be kept with the next batch, which may be empty.
        self.pending().take();
        let turn = self
            .gate
            .ledger()
            .claim_poll(&self.url_hash, now, now + TURN);
        let turn = turn
            .await
            .map_err(|error| SourceError::Uncounted(error.to_string()))?;
        let validators = match turn {
            Claim::Taken(validators) => validators,
            Claim::Refused(until) => {
                return Ok(Batch::not_due((until - now).to_std().unwrap_or_default()));
            }
        };
        match self.poll(query, &validators, now).await {
            Ok(Polled::Unchanged { interval }) => {
                self.again_at(now + interval).await;
                Ok(Batch::unchanged())
            }
            Ok(Polled::Changed(batch, pending)) => {
                *self.pending() = Some(pending);
                Ok(batch.limited(query.articles_max))
            }
            Err(error) => {
                // Whether it may be tried again is the gate's affair.
                self.again_at(now).await;
                Err(error)
            }
        }
    }

    async fn stored(&self, now: DateTime<Utc>) {
        self.was_unstored.store(false, Ordering::Relaxed);
        let Some(pending) = self.pending().take() else {
            return;
        };
        let (validators, again_at) = (&pending.validators, now + pending.interval);
        let kept = self
            .gate
            .ledger()
            .polled(&self.url_hash, validators, again_at);
        if let Err(error) = kept.await {
            tracing::warn!(source = self.name(), %error, "a feed's validators were not kept");
        }
    }

    /// The turn is given back, so that the next asking brings it again. Not twice in a row: who can't store what a feed gives
    /// would fetch it all the time.
    async fn unstored(&self, now: DateTime<Utc>) {
        if self.pending().take().is_some() && !self.was_unstored.swap(true, Ordering::Relaxed) {
            self.again_at(now).await;
        }
    }

    fn gate(&self) -> Option<&Gate> {
        Some(&self.gate)
    }
}

/// Validators go back byte for byte, quotes included.
fn conditions(validators: &Validators) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, ACCEPTED);
    let fields = [
        (IF_NONE_MATCH, &validators.etag),
        (IF_MODIFIED_SINCE, &validators.last_modified),
    ];
    for (name, bytes) in fields {
        if let Some(Ok(value)) = bytes.as_deref().map(HeaderValue::from_bytes) {
            headers.insert(name, value);
        }
    }
    headers
}

/// Names are shown to clients, and queries of feeds may hold tokens: they are told apart by a piece of their hash.
pub fn name_of(kind: &str, url: &Url) -> String {
    use sha2::{Digest, Sha256};
    let host = url.host_str().unwrap_or_default();
    let port = url
        .port()
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    let path = url.path().trim_end_matches('/');
    let mut name = format!("{kind}:{host}{port}{path}");
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
    read(body, document, now).map(|(batch, _)| batch)
}

/// The articles, and how long the feed wishes not to be asked again.
fn read(
    body: &[u8],
    document: Document<'_>,
    now: DateTime<Utc>,
) -> Result<(Batch, Option<Duration>), SourceError> {
    let text = to_text(body, document.charset);
    let text = text.trim_start();
    if text.is_empty() {
        return Err(SourceError::Malformed("an empty document".to_owned()));
    }
    if text.starts_with(['{', '[']) {
        return jsonfeed::parse(text.as_bytes(), document.url, now).map(|batch| (batch, None));
    }
    let (feed, broken) = xml::read(text, document.url)?;
    let outlet = feed
        .title
        .as_ref()
        .and_then(|title| clean(&title.content, NAME_CHARS_MAX));
    let subject = super::words::of_address(document.url);
    let mut batch = Batch {
        skipped: broken,
        ..Batch::default()
    };
    for (index, item) in feed.entries.iter().take(ITEMS_MAX).enumerate() {
        batch.push(entry::article(
            item,
            (outlet.as_deref(), feed.language.as_deref()),
            subject,
            document.url,
            in_turn(now, index),
        ));
    }
    let ttl = feed
        .ttl
        .map(|minutes| Duration::from_secs(u64::from(minutes) * 60));
    Ok((batch, ttl))
}

/// An item's title, or what its text begins with: short notes have none of their own. Markup either way.
fn headline<'a>(title: Option<&'a str>, text: Option<&str>) -> Option<Cow<'a, str>> {
    if let Some(title) = title.filter(|title| clean(title, 1).is_some()) {
        return Some(title.into());
    }
    let text = clean(text?, HEADLINE_CHARS_MAX)?;
    let text = match text.strip_suffix('…').and_then(|cut| cut.rsplit_once(' ')) {
        Some((words, _)) => format!("{words}…"),
        None => text,
    };
    Some(html_escape::encode_text(&text).into_owned().into())
}

/// What dates an item that has no date: each a moment older than the one above it, so that an undated feed keeps its order.
fn in_turn(now: DateTime<Utc>, index: usize) -> DateTime<Utc> {
    let before = i64::try_from(index).unwrap_or(i64::MAX);
    now.checked_sub_signed(TimeDelta::microseconds(before))
        .unwrap_or(now)
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
