//! What caches are told of an answer. Browsers keep it and ask each time whether it still holds (`Cache-Control: no-cache` and
//! validators), so that they never show what is out of date; the cache before us keeps it (`CDN-Cache-Control`, RFC 9213), because
//! we void it there by its tags as soon as it changes.
//!
//! `Cache-Tag` names all that an answer is made of; `Cache-Groups` (RFC 9875) repeats what an unsafe request may void.

use super::error::ApiError;
use crate::tag::Tag;
use axum::Extension;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt::Write;

const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");
const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
const CACHE_GROUPS: HeaderName = HeaderName::from_static("cache-groups");
/// While the cache asks for a newer answer, it may give the old one for so long.
const STALE_WHILE_REVALIDATE_SECS: u64 = 30;
/// When we fail, the cache may give what it has for so long.
const STALE_IF_ERROR_SECS: u64 = 3600;

/// For answers that nobody keeps.
pub(super) const NO_STORE: &str = "no-store";

/// When what an answer shows was last changed, put into its extensions for `exchange`, which makes `Last-Modified` of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Modified(pub(super) DateTime<Utc>);

/// An answer that is the same for everybody.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    max_age_secs: u64,
    while_revalidate: bool,
    tags: BTreeSet<Tag>,
    groups: BTreeSet<Tag>,
    modified: Option<DateTime<Utc>>,
}

impl Shared {
    /// Kept by the cache for so long, and a little longer while it asks again.
    pub(super) fn for_secs(max_age_secs: u64) -> Self {
        Self {
            max_age_secs,
            // Who says "not at all" does not mean "for half a minute".
            while_revalidate: max_age_secs > 0,
            tags: BTreeSet::new(),
            groups: BTreeSet::new(),
            modified: None,
        }
    }

    /// Kept for that long and no longer, unless we fail.
    pub(super) fn exactly_secs(max_age_secs: u64) -> Self {
        Self {
            while_revalidate: false,
            ..Self::for_secs(max_age_secs)
        }
    }

    /// Kept no longer than that, whatever was said before.
    pub(super) fn at_most_secs(mut self, max_age_secs: u64) -> Self {
        self.max_age_secs = self.max_age_secs.min(max_age_secs);
        self
    }

    /// With these tags, which are groups too.
    pub(super) fn tagged(mut self, tags: impl IntoIterator<Item = Tag>) -> Self {
        self.groups.extend(tags);
        self
    }

    /// With tags by which only we and operators void it: there may be many.
    pub(super) fn showing(mut self, tags: impl IntoIterator<Item = Tag>) -> Self {
        self.tags.extend(tags);
        self
    }

    /// Last changed then.
    pub(super) fn modified(mut self, at: Option<DateTime<Utc>>) -> Self {
        self.modified = at;
        self
    }

    /// Puts the fields on an answer.
    pub(super) fn dress(&self, answer: impl IntoResponse) -> Response {
        let mut answer = match self.modified {
            Some(at) => (Extension(Modified(at)), answer).into_response(),
            None => answer.into_response(),
        };
        // For what is made of this answer.
        answer.extensions_mut().insert(self.clone());
        let fields = answer.headers_mut();
        fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        let tags = self.groups.union(&self.tags).map(Tag::as_str);
        let values = [
            (CDN_CACHE_CONTROL, self.cdn_cache_control()),
            (CACHE_TAG, tags.collect::<Vec<_>>().join(", ")),
            (CACHE_GROUPS, strings(&self.groups)),
        ];
        for (name, value) in values {
            // Tags are visible ASCII, so every value is one.
            if let Some(value) = HeaderValue::from_str(&value)
                .ok()
                .filter(|_| !value.is_empty())
            {
                fields.insert(name, value);
            }
        }
        answer
    }

    /// A JSON answer.
    pub(super) fn json(&self, value: &impl Serialize) -> Result<Response, ApiError> {
        let body =
            serde_json::to_vec(value).map_err(|error| ApiError::Internal(error.to_string()))?;
        let kind = HeaderValue::from_static("application/json");
        Ok(self.dress(([(CONTENT_TYPE, kind)], body)))
    }

    fn cdn_cache_control(&self) -> String {
        let mut value = format!("max-age={}", self.max_age_secs);
        // Writing to a String cannot fail.
        if self.while_revalidate {
            let _ = write!(
                value,
                ", stale-while-revalidate={STALE_WHILE_REVALIDATE_SECS}"
            );
        }
        let _ = write!(value, ", stale-if-error={STALE_IF_ERROR_SECS}");
        value
    }
}

/// A list of strings (RFC 9651). Tags hold nothing that would have to be escaped.
fn strings(tags: &BTreeSet<Tag>) -> String {
    let quoted: Vec<String> = tags.iter().map(|tag| format!("\"{tag}\"")).collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(shared: &Shared) -> Vec<(String, String)> {
        let answer = shared.dress("body");
        let names = [
            "cache-control",
            "cdn-cache-control",
            "cache-tag",
            "cache-groups",
        ];
        let value = |name: &str| Some(answer.headers().get(name)?.to_str().unwrap().to_owned());
        names
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), value(name)?)))
            .collect()
    }

    fn owned(fields: &[(&str, &str)]) -> Vec<(String, String)> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        fields.iter().map(own).collect()
    }

    #[test]
    fn browsers_ask_each_time_and_the_cache_keeps_by_tag() {
        let shared = Shared::for_secs(300)
            .tagged([Tag::list(), Tag::source("a")])
            .showing([Tag::article(7), Tag::article(8)]);
        let expected = owned(&[
            ("cache-control", "no-cache"),
            (
                "cdn-cache-control",
                "max-age=300, stale-while-revalidate=30, stale-if-error=3600",
            ),
            ("cache-tag", "article:7, article:8, list, source:a"),
            ("cache-groups", "\"list\", \"source:a\""),
        ]);
        assert_eq!(fields(&shared), expected);
    }

    #[test]
    fn what_must_not_be_older_is_not_given_while_it_is_asked_for_again() {
        for (shared, value) in [
            (Shared::exactly_secs(10), "max-age=10, stale-if-error=3600"),
            (Shared::for_secs(0), "max-age=0, stale-if-error=3600"),
            (
                Shared::exactly_secs(90).at_most_secs(60),
                "max-age=60, stale-if-error=3600",
            ),
            (
                Shared::exactly_secs(30).at_most_secs(60),
                "max-age=30, stale-if-error=3600",
            ),
        ] {
            let expected = owned(&[("cache-control", "no-cache"), ("cdn-cache-control", value)]);
            assert_eq!(fields(&shared), expected);
        }
    }
}
