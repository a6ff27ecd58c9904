//! Conditional requests, upstream and from clients (RFC 9111 §4.3; RFC 9110 §13).
//!
//! Left out: `If-Match` and `If-Unmodified-Since`, which go to the origin. `If-Range` is `range`'s matter.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{
    AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_RANGE, DATE,
    ETAG, EXPIRES, HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, LAST_MODIFIED, VARY,
};
use http::{HeaderMap, StatusCode};

use crate::cache_control::members;
use crate::fields::Fields;
use crate::freshness::{date_s, unix_s};
use crate::rules::Profile;
use crate::storable::fields_to_store;

/// The last second of the year 9999, after which an HTTP-date has no form.
const DATE_MAX_S: u64 = 253_402_300_799;

/// Puts the stored validators into an upstream request in place of any conditions (§4.3.1); false
/// when there are none.
pub fn add_conditions(upstream: &mut HeaderMap, stored: &HeaderMap) -> bool {
    for name in [
        IF_MATCH,
        IF_NONE_MATCH,
        IF_MODIFIED_SINCE,
        IF_UNMODIFIED_SINCE,
        IF_RANGE,
    ] {
        upstream.remove(name);
    }
    let etag = stored.get(ETAG).filter(|etag| !etag.is_empty());
    let dated = date_s(stored, LAST_MODIFIED).is_some();
    let changed = stored.get(LAST_MODIFIED).filter(|_| dated);
    if let Some(etag) = etag {
        upstream.insert(IF_NONE_MATCH, etag.clone());
    }
    if let Some(changed) = changed {
        upstream.insert(IF_MODIFIED_SINCE, changed.clone());
    }
    etag.is_some() || changed.is_some()
}

/// Does the stored response answer the client's condition with 304 (§4.3.2)?
pub fn not_modified(request: &impl Fields, status: StatusCode, stored: &impl Fields) -> bool {
    // RFC 9110 §13.2.1: conditions are for what would otherwise succeed.
    if status != StatusCode::OK {
        return false;
    }
    // RFC 9110 §13.1.3: If-Modified-Since is ignored beside If-None-Match, even an unreadable one.
    if request.has(&IF_NONE_MATCH) {
        return any_matches(request, stored);
    }
    // RFC 9110 §13.1.3: a condition of several lines, or without a valid date, is ignored.
    if request.lines(&IF_MODIFIED_SINCE).count() != 1 {
        return false;
    }
    let changed = date_s(stored, LAST_MODIFIED).or_else(|| date_s(stored, DATE));
    match (date_s(request, IF_MODIFIED_SINCE), changed) {
        (Some(since), Some(changed)) => changed <= since,
        _ => false,
    }
}

/// RFC 9110 §13.1.2: `*` matches whatever there is; tags are compared weakly.
fn any_matches(request: &impl Fields, stored: &impl Fields) -> bool {
    let ours = stored.lines(&ETAG).next().map(opaque);
    request
        .lines(&IF_NONE_MATCH)
        .flat_map(members)
        .filter(|member| !member.is_empty())
        .any(|member| member == b"*" || ours == Some(opaque(member)))
}

/// The tag without its weakness (RFC 9110 §8.8.3.2: weak comparison).
pub(crate) fn opaque(etag: &[u8]) -> &[u8] {
    etag.strip_prefix(b"W/").unwrap_or(etag)
}

pub(crate) fn is_weak(etag: &HeaderValue) -> bool {
    etag.as_bytes().starts_with(b"W/")
}

/// The fields of a 304 made from a stored response (RFC 9110 §15.4.5): those it must have, those that
/// guide caches on the way, and no other metadata.
pub fn not_modified_fields(stored: &impl Fields) -> HeaderMap {
    let mut fields = HeaderMap::new();
    let tagged = stored.has(&ETAG);
    for name in NOT_MODIFIED
        .iter()
        .filter(|name| !tagged || *name != LAST_MODIFIED)
    {
        for value in stored.lines(name) {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                fields.append(name.clone(), value);
            }
        }
    }
    fields
}

/// Does a 304 bear this stored field? `tagged` says whether there is an `ETag`.
pub fn is_in_not_modified(name: &[u8], tagged: bool) -> bool {
    NOT_MODIFIED
        .iter()
        .filter(|known| !tagged || *known != LAST_MODIFIED)
        .any(|known| known.as_str().as_bytes().eq_ignore_ascii_case(name))
}

const NOT_MODIFIED: [HeaderName; 8] = [
    CACHE_CONTROL,
    HeaderName::from_static("cdn-cache-control"),
    CONTENT_LOCATION,
    DATE,
    ETAG,
    EXPIRES,
    VARY,
    // Only where there is no tag.
    LAST_MODIFIED,
];

/// What a 304 from upstream does to the stored response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Freshened {
    /// Its fields are now these. Whether it may still be kept is a new question: ask
    /// [`storable`](crate::storable()) with the stored status, these fields and the new times.
    Updated(HeaderMap),
    /// The 304 is about another representation: fetch anew, without conditions.
    Mismatch,
}

/// Merges a 304 into the stored fields (§3.2, §4.3.4).
///
/// `Age` and `Date` describe one message, so the stored ones go even when the 304 brings none: its
/// age counts from its own receipt. See [`insert_date`].
pub fn freshen(stored: &HeaderMap, not_modified: &HeaderMap) -> Freshened {
    match same_representation(stored, not_modified) {
        true => Freshened::Updated(merge(stored, not_modified)),
        false => Freshened::Mismatch,
    }
}

/// What a 200 to a `HEAD` does to the stored answer to a `GET` whose body has this length (§4.3.5).
///
/// The letter lets an answer that says nothing of the representation confirm it. That is a guess
/// about content nobody has seen, so profile `safe` takes no word from it: [`HeadSays::Nothing`].
pub fn freshen_by_head(
    stored: &HeaderMap,
    stored_length: usize,
    head: &HeaderMap,
    profile: Profile,
) -> HeadSays {
    let length = head.get(CONTENT_LENGTH).map(HeaderValue::as_bytes);
    let agrees = length.is_none_or(|length| length == stored_length.to_string().as_bytes())
        && [ETAG, LAST_MODIFIED].iter().all(|name| {
            let received = head.get(name);
            received.is_none() || received == stored.get(name)
        });
    let says_something = [CONTENT_LENGTH, ETAG, LAST_MODIFIED]
        .iter()
        .any(|name| head.contains_key(name));
    match agrees {
        true if profile == Profile::Safe && !says_something => HeadSays::Nothing,
        true => HeadSays::Updated(merge(stored, head)),
        false => HeadSays::Changed,
    }
}

/// What a 200 to a `HEAD` says of the stored answer to a `GET`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeadSays {
    /// It is still good, and its fields are now these: see [`Freshened::Updated`].
    Updated(HeaderMap),
    /// The representation is another one: what is stored is stale from now on.
    Changed,
    /// Neither.
    Nothing,
}

/// §3.2: the newer fields in place of the stored ones of the same name.
fn merge(stored: &HeaderMap, newer: &HeaderMap) -> HeaderMap {
    let update = fields_to_store(newer);
    let mut merged = fields_to_store(stored);
    merged.remove(AGE);
    merged.remove(DATE);
    for name in update.keys().filter(|name| may_update(name)) {
        merged.remove(name);
        for value in update.get_all(name) {
            merged.append(name.clone(), value.clone());
        }
    }
    fields_to_store(&merged)
}

/// §3.2: all but `Content-Length`; `Content-Range`, which is processed and removed wherever a part is
/// received; and `Content-Encoding`, which the stored content depends on: where the codings of a
/// representation share a weak tag, a 304 may be about another one than is stored, and its field
/// would make what is plain unreadable. Every other field is updated, those with `Content-` in their
/// names among them.
fn may_update(name: &HeaderName) -> bool {
    ![CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE].contains(name)
}

/// §4.3.4, for the one stored response whose validators were sent.
fn same_representation(stored: &HeaderMap, new: &HeaderMap) -> bool {
    match (new.get(ETAG), stored.get(ETAG)) {
        // A weak tag corresponds by weak comparison.
        (Some(new), Some(old)) if is_weak(new) => opaque(new.as_bytes()) == opaque(old.as_bytes()),
        // A strong one must be ours, or nothing may be updated.
        (Some(new), old) => Some(new) == old,
        (None, _) => same_date(stored, new),
    }
}

/// Without any validator the 304 is taken to be about what was asked. The letter of §4.3.4 would fetch
/// anew where the stored response has one. But the request named that one representation only, and
/// RFC 9110 §15.4.5 does not ask an origin to repeat `Last-Modified` in a 304: by the letter,
/// validation by date would be in vain with every origin that follows that section.
fn same_date(stored: &HeaderMap, new: &HeaderMap) -> bool {
    match date_s(new, LAST_MODIFIED) {
        Some(changed) => Some(changed) == date_s(stored, LAST_MODIFIED),
        None => true,
    }
}

/// Adds `Date` where a response has none (RFC 9110 §6.6.1: with the time of its receipt).
pub fn insert_date(response: &mut HeaderMap, received: SystemTime) {
    if response.contains_key(DATE) {
        return;
    }
    let received = UNIX_EPOCH + Duration::from_secs(unix_s(received).min(DATE_MAX_S));
    if let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(received)) {
        response.insert(DATE, date);
    }
}
