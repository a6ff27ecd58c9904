//! Which groups does a response belong to, and which does it make void (RFC 9875)?
//!
//! Both fields are Lists of Strings (RFC 9651 §3.1, §3.3.3); one that is anything else is ignored whole. Parameters are
//! ignored. Left out: invalidating the groups of whatever an unsafe request invalidates by its URL (§2.2.1), which is
//! optional and would make one request's reach depend on what happens to be stored.

use http::header::HeaderName;
use http::{HeaderMap, Method, StatusCode};
use sfv::{BareItem, List, ListEntry, Parser};

use crate::fields::Fields;
use crate::invalidate::invalidates;

const CACHE_GROUPS: HeaderName = HeaderName::from_static("cache-groups");
const CACHE_GROUP_INVALIDATION: HeaderName = HeaderName::from_static("cache-group-invalidation");
/// Members that count, of any length that a field may have: §2 and §3 ask for 32 of 32 characters. Those behind are
/// ignored, so that one response can't fill what remembers invalidations.
const GROUPS_MAX: usize = 128;

/// The groups of a stored response (§2).
pub fn cache_groups(response: &impl Fields) -> Vec<String> {
    strings(response, &CACHE_GROUPS)
}

/// The groups that the answer to this request invalidates (§3): none unless the request is unsafe and succeeded.
pub fn invalidated_groups(
    method: &Method,
    status: StatusCode,
    response: &HeaderMap,
) -> Vec<String> {
    match invalidates(method, status) {
        true => strings(response, &CACHE_GROUP_INVALIDATION),
        false => Vec::new(),
    }
}

fn strings(response: &impl Fields, name: &HeaderName) -> Vec<String> {
    let lines: Vec<&[u8]> = response.lines(name).collect();
    if lines.is_empty() {
        return Vec::new();
    }
    let list = Parser::new(&lines.join(&b", "[..])).parse::<List>();
    let members = list
        .unwrap_or_default()
        .into_iter()
        .map(|member| match member {
            ListEntry::Item(item) => match item.bare_item {
                BareItem::String(group) => Some(String::from(group)),
                _ => None,
            },
            ListEntry::InnerList(_) => None,
        });
    let mut groups = members.collect::<Option<Vec<_>>>().unwrap_or_default();
    groups.truncate(GROUPS_MAX);
    groups
}
