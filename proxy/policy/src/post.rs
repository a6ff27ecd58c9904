//! May the answer to a `POST` be kept for later `GET`s of its target (RFC 9110 §9.3.3)?
//!
//! Only when the answer says itself, by `Content-Location`, that it is what a `GET` would bring, and how long it stays
//! fresh. Beyond that the request must be one that a `GET` could stand for: a `POST` goes upstream as it came, so nothing
//! of it may have shaped the answer that a keyed request would not carry. Left out: statuses other than 200, for which
//! RFC 9110 §8.7 does not say that the content is the target's representation in the way that a `GET` means it.

use http::header::{
    CONTENT_LOCATION, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
    RANGE,
};
use http::{HeaderMap, Method, StatusCode};

use crate::cache_control::RequestDirectives;
use crate::freshness::{Exchange, explicit_lifetime_s};
use crate::invalidate::same_origin;
use crate::request::{Lookup, lists_end_to_end_fields, names_caller};
use crate::rules::{Profile, Route, Rules};
use crate::storable::{NotStorable, Storable, storable};

/// A `POST` and its target URI.
#[derive(Debug, Clone, Copy)]
pub struct Post<'a> {
    /// The request-target in origin form: as it came, which must be as it is keyed.
    pub target: &'a str,
    /// The scheme of the target URI.
    pub scheme: &'a str,
    /// The host and port of the target URI.
    pub authority: &'a str,
    /// The request's fields.
    pub headers: &'a HeaderMap,
}

/// Decides whether the answer to a `POST` may be kept under the key of a `GET` of the same target.
pub fn storable_post(
    post: &Post<'_>,
    status: StatusCode,
    response: &HeaderMap,
    times: Exchange,
    rules: &Rules,
    route: &Route,
) -> Storable {
    // RFC 9110 §8.7: other 2xx answers are about the action as much as about the target.
    if status != StatusCode::OK {
        return Storable::No(NotStorable::Status);
    }
    if !locates_itself(post, response) || is_shaped_by_more(post.headers, rules, route) {
        return Storable::No(NotStorable::Method);
    }
    // §9.3.3: never by a guess, the operator's included.
    if explicit_lifetime_s(response, times, rules).is_none() {
        return Storable::No(NotStorable::NoFreshness);
    }
    // No route strips a POST, so whoever it names may have shaped the answer.
    let lookup = Lookup {
        head: false,
        directives: RequestDirectives::parse(post.headers),
        names_caller: rules.profile == Profile::Safe && names_caller(post.headers, rules),
        authorization: post.headers.contains_key(http::header::AUTHORIZATION),
    };
    let get = &Method::GET;
    storable(
        get,
        post.headers,
        &lookup,
        status,
        response,
        times,
        rules,
        route,
    )
}

/// §9.3.3, §8.7: one `Content-Location` with the target's own URI.
fn locates_itself(post: &Post<'_>, response: &HeaderMap) -> bool {
    let mut locations = response.get_all(CONTENT_LOCATION).iter();
    let (Some(location), None) = (locations.next(), locations.next()) else {
        return false;
    };
    let location = location.to_str().ok().and_then(|reference| {
        same_origin(reference.trim(), post.target, post.scheme, post.authority)
    });
    location.as_deref() == Some(post.target)
}

/// Does the request carry what a `GET` with the same key would not, or would mean differently?
fn is_shaped_by_more(request: &HeaderMap, rules: &Rules, route: &Route) -> bool {
    const CONDITIONS: [http::HeaderName; 6] = [
        IF_MATCH,
        IF_MODIFIED_SINCE,
        IF_NONE_MATCH,
        IF_RANGE,
        IF_UNMODIFIED_SINCE,
        RANGE,
    ];
    let mut unkeyed = rules.unkeyed_fields.iter();
    unkeyed.any(|name| request.contains_key(name) && !route.keyed_fields.contains(name))
        || CONDITIONS.iter().any(|name| request.contains_key(name))
        || lists_end_to_end_fields(request)
}
