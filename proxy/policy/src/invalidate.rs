//! What an unsafe request makes stale (RFC 9111 §4.4).

use http::header::{CONTENT_LOCATION, LOCATION};
use http::{HeaderMap, Method, StatusCode};

use crate::key::canonical_authority;

/// Methods that are registered as safe; all others may change something, unknown ones included.
const SAFE_METHODS: [&str; 8] = [
    "GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "QUERY", "REPORT", "SEARCH",
];

/// Does an answer with this status invalidate what is stored for the target? Only one that is no
/// error (2xx, 3xx) does.
pub fn invalidates(method: &Method, status: StatusCode) -> bool {
    let done = status.is_success() || status.is_redirection();
    done && !SAFE_METHODS.contains(&method.as_str())
}

/// Further targets to invalidate, as `path?query`: those of `Location` and `Content-Location` that
/// have the same origin. The own target is not repeated.
pub fn invalidation_targets(
    own_target: &str,
    scheme: &str,
    authority: &str,
    response: &HeaderMap,
) -> Vec<String> {
    let mut targets = Vec::new();
    for name in [LOCATION, CONTENT_LOCATION] {
        let reference = response.get(name).and_then(|value| value.to_str().ok());
        let target = reference.and_then(|r| same_origin(r.trim(), own_target, scheme, authority));
        targets.extend(target.filter(|t| t != own_target && !targets.contains(t)));
    }
    targets
}

/// Resolves a reference (RFC 3986 §5.2) as far as it stays on the origin.
pub(crate) fn same_origin(
    reference: &str,
    own_target: &str,
    scheme: &str,
    authority: &str,
) -> Option<String> {
    let reference = reference.split('#').next().unwrap_or_default();
    let rest = match split_scheme(reference) {
        Some((theirs, rest)) if theirs.eq_ignore_ascii_case(scheme) => rest,
        Some(_) => return None,
        None => reference,
    };
    let Some(hierarchy) = rest.strip_prefix("//") else {
        // `http:path` is resolved by nobody in the same way.
        return (rest == reference).then(|| relative(reference, own_target))?;
    };
    let end = hierarchy.find(['/', '?']).unwrap_or(hierarchy.len());
    let (theirs, target) = hierarchy.split_at_checked(end)?;
    let theirs = canonical_authority(scheme, theirs).ok()?;
    // §4.4: never what belongs to another origin.
    (theirs == canonical_authority(scheme, authority).ok()?).then(|| resolved(target))
}

/// RFC 3986 §3.1: a colon before any slash ends a scheme.
fn split_scheme(reference: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = reference.split_once(':')?;
    let tail = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    (scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.bytes().all(tail))
        .then_some((scheme, rest))
}

fn relative(reference: &str, own_target: &str) -> Option<String> {
    if reference.starts_with('/') {
        return Some(resolved(reference));
    }
    let path = own_target.split('?').next().unwrap_or_default();
    if reference.is_empty() || reference.starts_with('?') {
        return Some(format!("{path}{reference}"));
    }
    let (folder, _) = path.rsplit_once('/')?;
    Some(resolved(&format!("{folder}/{reference}")))
}

/// Without dot segments (RFC 3986 §5.2.4), and with a path.
fn resolved(target: &str) -> String {
    let (path, query) = match target.find('?') {
        Some(start) => target.split_at_checked(start).unwrap_or((target, "")),
        None => (target, ""),
    };
    let mut kept: Vec<&str> = Vec::new();
    let mut open = true;
    for segment in path.split('/').skip(1) {
        open = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            _ => kept.push(segment),
        }
    }
    // A path that ends in a dot segment names a folder.
    if open {
        kept.push("");
    }
    format!("/{}{query}", kept.join("/"))
}
