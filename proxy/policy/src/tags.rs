//! Which tags does a response bear, so that a purge may name it by one of them?
//!
//! `Cache-Tag` separates them by commas, `Surrogate-Key` by white space; the groups of RFC 9875 are tags, too. A tag is
//! its octets: letter case counts. A tag that no purge could name is no tag. Left out: [`crate::invalidated_groups`],
//! by which an origin reaches groups of its own only.

use std::borrow::Cow;

use http::header::HeaderName;

use crate::fields::Fields;
use crate::groups::cache_groups;

const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");
/// The longest tag, in bytes; CDNs stop at 1024.
pub const TAG_BYTES_MAX: usize = 1024;

/// Whether a response may be tagged at all: the cheap question before [`cache_tags`].
pub fn is_tagged(response: &impl Fields) -> bool {
    let cache_groups = HeaderName::from_static("cache-groups");
    [CACHE_TAG, SURROGATE_KEY, cache_groups]
        .iter()
        .any(|name| response.has(name))
}

/// Every tag that a response bears, some perhaps more than once.
pub fn cache_tags(response: &impl Fields) -> impl Iterator<Item = Cow<'_, [u8]>> {
    let commas = response
        .lines(&CACHE_TAG)
        .flat_map(|line| line.split(|byte| *byte == b','));
    let spaces = response
        .lines(&SURROGATE_KEY)
        .flat_map(|line| line.split(u8::is_ascii_whitespace));
    let named = commas.map(<[u8]>::trim_ascii).chain(spaces);
    let named = named.map(Cow::Borrowed);
    let groups = cache_groups(response).into_iter().map(String::into_bytes);
    named
        .chain(groups.map(Cow::Owned))
        .filter(|tag| (1..=TAG_BYTES_MAX).contains(&tag.len()))
}
