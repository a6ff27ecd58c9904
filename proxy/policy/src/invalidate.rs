//! What an unsafe request makes stale (RFC 9111 §4.4).

use http::header::{CONTENT_LOCATION, LOCATION};
use http::{HeaderMap, Method, StatusCode};

use crate::key::canonical_authority;

/// Methods that are registered as safe; all others may change something, unknown ones included.
const SAFE_METHODS: [&str; 8] = [
    "GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "QUERY", "REPORT", "SEARCH",
];

/// Does an answer with this status invalidate what is stored for the target?
pub fn invalidates(method: &Method, status: StatusCode) -> bool {
    !SAFE_METHODS.contains(&method.as_str()) && (status.is_success() || status.is_redirection())
}

/// Further targets of the same origin, as `path?query`.
pub fn invalidation_targets(
    own_target: &str,
    scheme: &str,
    authority: &str,
    response: &HeaderMap,
) -> Vec<String> {
    let mut targets = Vec::new();
    for name in [LOCATION, CONTENT_LOCATION] {
        let reference = response.get(name).and_then(|value| value.to_str().ok());
        let target = reference
            .and_then(|reference| same_origin(reference.trim(), own_target, scheme, authority));
        targets.extend(target.filter(|target| target != own_target && !targets.contains(target)));
    }
    targets
}

fn same_origin(reference: &str, own_target: &str, scheme: &str, authority: &str) -> Option<String> {
    let reference = reference.split('#').next().unwrap_or_default();
    let rest = match reference.split_once("://") {
        Some((theirs, rest)) if theirs.eq_ignore_ascii_case(scheme) => rest,
        Some(_) => return None,
        None if reference.starts_with("//") => reference.trim_start_matches('/'),
        None => return relative(reference, own_target),
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (theirs, target) = rest.split_at_checked(end)?;
    let same =
        canonical_authority(scheme, theirs).ok()? == canonical_authority(scheme, authority).ok()?;
    let slash = if target.starts_with('/') { "" } else { "/" };
    same.then(|| format!("{slash}{target}"))
}

fn relative(reference: &str, own_target: &str) -> Option<String> {
    if reference.starts_with('/') {
        return Some(reference.to_owned());
    }
    let path = own_target.split('?').next().unwrap_or_default();
    if reference.starts_with('?') {
        return Some(format!("{path}{reference}"));
    }
    let (folder, _) = path.rsplit_once('/')?;
    (!reference.is_empty()).then(|| format!("{folder}/{reference}"))
}
