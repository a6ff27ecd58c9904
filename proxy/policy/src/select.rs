//! Validating several stored responses at once (RFC 9111 §4.3.1, §4.3.3, §4.3.4).
//!
//! A request that selects none of a target's stored responses may still be answered by one of them: the upstream is told
//! all their tags, and a 304 names the one that it would send. Left out: responses without a strong or weak tag, which a 304
//! can't name.

use http::HeaderMap;
use http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH,
};

use crate::cache_control::members;
use crate::fields::Fields;
use crate::freshness::date_s;
use crate::validate::{is_weak, opaque};
use crate::vary::weight;

/// As many tags as are worth their bytes in a request.
const TAGS_MAX: usize = 16;
/// No tag that is longer is sent beside others: sixteen of this length make a field of 4 KiB.
const TAG_BYTES_MAX: usize = 256;

/// Puts the tags of stored responses into an upstream request that has no conditions; false when there are none. Those that
/// come first are preferred.
pub fn add_tags<'a>(
    upstream: &mut HeaderMap,
    stored: impl IntoIterator<Item = &'a (impl Fields + 'a)>,
) -> bool {
    let mut tags: Vec<&[u8]> = Vec::new();
    for tag in stored.into_iter().filter_map(listable_tag) {
        if tags.len() < TAGS_MAX && !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    let list = HeaderValue::from_bytes(&tags.join(&b", "[..]));
    match list {
        Ok(list) if !tags.is_empty() => upstream.insert(IF_NONE_MATCH, list).is_none(),
        _ => false,
    }
}

/// Which of the stored responses does this 304 name (§4.3.4)? Of several the most recent, by its `Date`.
///
/// A strong tag names those with the very same one; a weak one those that correspond to it by weak comparison. A 304
/// without a tag names none of several.
pub fn named_by<'a, S, F: Fields>(
    not_modified: &HeaderMap,
    stored: impl IntoIterator<Item = &'a S>,
    fields: impl Fn(&S) -> &F,
) -> Option<&'a S> {
    let tag = not_modified.get(ETAG)?;
    let names = |ours: &[u8]| match is_weak(tag) {
        true => opaque(ours) == opaque(tag.as_bytes()),
        false => ours == tag.as_bytes(),
    };
    let named = stored
        .into_iter()
        .filter(|stored| fields(stored).lines(&ETAG).next().is_some_and(names));
    named.max_by_key(|stored| date_s(fields(stored), http::header::DATE))
}

/// Can whoever asks so read what is stored under another request's fields?
///
/// A tag that two content codings of a representation share is within the rules when it is weak (RFC 9110 §8.8.1), and
/// usual where a framework makes it before it compresses. So a 304 with it does not say in which coding.
pub fn accepts_coding_of(request: &impl Fields, stored: &impl Fields) -> bool {
    let accepted = codings(request, &ACCEPT_ENCODING);
    let is_accepted = |coding: &Vec<u8>| {
        let mut ranges = accepted.iter().map(|member| weight(member));
        ranges.any(|(weight, range)| weight.0 > 0 && range == *coding)
    };
    codings(stored, &CONTENT_ENCODING).iter().all(is_accepted)
}

fn codings(fields: &impl Fields, name: &HeaderName) -> Vec<Vec<u8>> {
    let members = fields.lines(name).flat_map(members);
    members.map(<[u8]>::to_ascii_lowercase).collect()
}

/// The tag, when it is one (RFC 9110 §8.8.3) that can stand in a list.
fn listable_tag(stored: &impl Fields) -> Option<&[u8]> {
    let tag = stored.lines(&ETAG).next()?;
    let inner = opaque(tag).strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let is_etagc = |byte: &u8| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..);
    (tag.len() <= TAG_BYTES_MAX && inner.iter().all(is_etagc)).then_some(tag)
}
