//! Conditional requests, upstream and from clients (RFC 9111 §4.3; RFC 9110 §13).

use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_RANGE, CONTENT_TYPE,
    DATE, ETAG, EXPIRES, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, LAST_MODIFIED, VARY,
};
use http::{HeaderMap, StatusCode};

use crate::cache_control::list_members;
use crate::freshness::date_s;
use crate::storable::fields_to_store;

/// Puts the stored validators into an upstream request; false when there are none.
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
    let changed = stored
        .get(LAST_MODIFIED)
        .filter(|_| date_s(stored, LAST_MODIFIED).is_some());
    if let Some(etag) = etag {
        upstream.insert(IF_NONE_MATCH, etag.clone());
    }
    if let Some(changed) = changed {
        upstream.insert(IF_MODIFIED_SINCE, changed.clone());
    }
    etag.is_some() || changed.is_some()
}

/// Does the stored response answer the client's condition with 304?
pub fn not_modified(request: &HeaderMap, status: StatusCode, stored: &HeaderMap) -> bool {
    if status != StatusCode::OK {
        return false;
    }
    // RFC 9110 §13.2.2: If-None-Match takes precedence.
    if request.contains_key(IF_NONE_MATCH) {
        let ours = stored.get(ETAG).map(|etag| opaque(etag.as_bytes()));
        return request
            .get_all(IF_NONE_MATCH)
            .iter()
            .flat_map(|line| list_members(line.as_bytes()))
            .any(|member| member == b"*" || ours == Some(opaque(member)));
    }
    let changed = date_s(stored, LAST_MODIFIED).or_else(|| date_s(stored, DATE));
    match (date_s(request, IF_MODIFIED_SINCE), changed) {
        (Some(since), Some(changed)) => changed <= since,
        _ => false,
    }
}

/// The tag without its weakness (RFC 9110 §8.8.3.2: weak comparison).
fn opaque(etag: &[u8]) -> &[u8] {
    etag.strip_prefix(b"W/").unwrap_or(etag)
}

/// The fields of a 304 made from a stored response (RFC 9110 §15.4.5).
pub fn not_modified_fields(stored: &HeaderMap) -> HeaderMap {
    let mut names = vec![
        CACHE_CONTROL,
        CONTENT_LOCATION,
        DATE,
        ETAG,
        EXPIRES,
        VARY,
        HeaderName::from_static("cdn-cache-control"),
    ];
    if !stored.contains_key(ETAG) {
        names.push(LAST_MODIFIED);
    }
    let mut fields = HeaderMap::new();
    for name in names {
        for value in stored.get_all(&name) {
            fields.append(name.clone(), value.clone());
        }
    }
    fields
}

/// What a 304 from upstream does to the stored response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Freshened {
    /// Its fields are now these.
    Updated(HeaderMap),
    /// The 304 is about another representation: fetch anew.
    Mismatch,
}

/// Merges a 304 into the stored fields (§3.2, §4.3.4).
pub fn freshen(stored: &HeaderMap, not_modified: &HeaderMap) -> Freshened {
    if !same_representation(stored, not_modified) {
        return Freshened::Mismatch;
    }
    let update = fields_to_store(not_modified);
    let mut merged = stored.clone();
    for name in update.keys().filter(|name| may_update(name)) {
        merged.remove(name);
        for value in update.get_all(name) {
            merged.append(name.clone(), value.clone());
        }
    }
    Freshened::Updated(fields_to_store(&merged))
}

/// §3.2: not what describes the stored bytes.
fn may_update(name: &HeaderName) -> bool {
    ![
        CONTENT_LENGTH,
        CONTENT_ENCODING,
        CONTENT_TYPE,
        CONTENT_RANGE,
    ]
    .contains(name)
}

fn same_representation(stored: &HeaderMap, new: &HeaderMap) -> bool {
    match (new.get(ETAG), stored.get(ETAG)) {
        (Some(new), Some(old)) if new.as_bytes().starts_with(b"W/") => {
            opaque(new.as_bytes()) == opaque(old.as_bytes())
        }
        (Some(new), old) => Some(new) == old,
        (None, _) => match (date_s(new, LAST_MODIFIED), date_s(stored, LAST_MODIFIED)) {
            (Some(new), old) => Some(new) == old,
            (None, _) => true,
        },
    }
}
