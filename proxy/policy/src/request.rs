//! May this request be looked up, and what of it goes upstream?

use http::header::{
    AUTHORIZATION, CONNECTION, EXPECT, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_RANGE, IF_UNMODIFIED_SINCE, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, RANGE, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Method};

use crate::cache_control::{RequestDirectives, list_members};
use crate::key::Unkeyable;
use crate::rules::{Identity, Profile, Route, Rules};

/// What the look-up and the decisions after it need to know of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Lookup {
    /// The method is `HEAD`.
    pub head: bool,
    /// The request's directives.
    pub directives: RequestDirectives,
    /// It carries a field that names the caller, and the profile heeds that.
    pub names_caller: bool,
    /// It carries `Authorization`, and that reaches the upstream.
    pub authorization: bool,
}

/// Whether the cache takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Consideration {
    /// Look it up.
    Lookup(Lookup),
    /// Hand it through untouched.
    Pass(Pass),
}

/// Why a request is handed through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pass {
    /// Neither `GET` nor `HEAD`.
    Method,
    /// `GET` or `HEAD` with content: its meaning is not in the target alone.
    Body,
    /// The target has no canonical form.
    Target(Unkeyable),
    /// It asks to change protocol.
    Upgrade,
    /// It asks for a part.
    Range,
    /// A precondition that only the origin can judge.
    Precondition,
    /// It expects something of the origin first.
    Expect,
}

/// Decides whether a request is looked up.
pub fn consider(
    method: &Method,
    headers: &HeaderMap,
    has_body: bool,
    rules: &Rules,
    route: &Route,
) -> Consideration {
    if let Some(pass) = reason_to_pass(method, headers, has_body) {
        return Consideration::Pass(pass);
    }
    let reaches_upstream = route.identity == Identity::Default;
    let named = rules
        .identity_fields
        .iter()
        .any(|name| headers.contains_key(name));
    Consideration::Lookup(Lookup {
        head: method == Method::HEAD,
        directives: RequestDirectives::parse(headers),
        names_caller: reaches_upstream && rules.profile == Profile::Safe && named,
        authorization: reaches_upstream && headers.contains_key(AUTHORIZATION),
    })
}

fn reason_to_pass(method: &Method, headers: &HeaderMap, has_body: bool) -> Option<Pass> {
    let any = |names: &[HeaderName]| names.iter().any(|name| headers.contains_key(name));
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Some(Pass::Method);
    }
    if has_body {
        return Some(Pass::Body);
    }
    if any(&[UPGRADE]) {
        return Some(Pass::Upgrade);
    }
    if any(&[EXPECT]) {
        return Some(Pass::Expect);
    }
    if any(&[IF_MATCH, IF_UNMODIFIED_SINCE]) {
        return Some(Pass::Precondition);
    }
    // RFC 9110 §14.2: Range means something on GET alone.
    (method == Method::GET && any(&[RANGE])).then_some(Pass::Range)
}

/// The fields of a cacheable request that go upstream.
pub fn forwarded_fields(headers: &HeaderMap, rules: &Rules, route: &Route) -> HeaderMap {
    let mut forwarded = headers.clone();
    strip_hop_by_hop(&mut forwarded);
    for name in [
        IF_NONE_MATCH,
        IF_MODIFIED_SINCE,
        IF_MATCH,
        IF_UNMODIFIED_SINCE,
        IF_RANGE,
        RANGE,
    ] {
        forwarded.remove(name);
    }
    for name in rules
        .unkeyed_fields
        .iter()
        .filter(|name| !route.keyed_fields.contains(name))
    {
        forwarded.remove(name);
    }
    if route.identity == Identity::Strip {
        for name in &rules.identity_fields {
            forwarded.remove(name);
        }
    }
    forwarded
}

/// Removes what concerns one connection alone (RFC 9110 §7.6.1).
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let listed: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|line| list_members(line.as_bytes()))
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .collect();
    for name in &listed {
        headers.remove(name);
    }
    for name in [
        CONNECTION,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ] {
        headers.remove(name);
    }
    for name in [
        "keep-alive",
        "proxy-connection",
        "proxy-authentication-info",
    ] {
        headers.remove(name);
    }
}
