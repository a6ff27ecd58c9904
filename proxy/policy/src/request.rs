//! May this request be looked up, and what of it goes upstream?

use http::header::{
    AUTHORIZATION, CONNECTION, EXPECT, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_RANGE, IF_UNMODIFIED_SINCE, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, RANGE, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Method};

use crate::cache_control::{RequestDirectives, members};
use crate::fields::Fields;
use crate::rules::{Identity, Profile, Route, Rules};
use crate::target::Unkeyable;

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
    /// A precondition that only the origin can judge.
    Precondition,
    /// It expects something of the origin first.
    Expect,
    /// `Connection` lists a field that is meant for the origin: the answer would be to another
    /// request than the one that is keyed.
    ConnectionListed,
}

/// Decides whether a request is looked up.
pub fn consider(
    method: &Method,
    headers: &impl Fields,
    has_body: bool,
    rules: &Rules,
    route: &Route,
) -> Consideration {
    if let Some(pass) = reason_to_pass(method, headers, has_body) {
        return Consideration::Pass(pass);
    }
    let reaches_upstream = route.identity == Identity::Default;
    let named = names_caller(headers, rules);
    Consideration::Lookup(Lookup {
        head: method == Method::HEAD,
        directives: RequestDirectives::parse(headers),
        names_caller: reaches_upstream && rules.profile == Profile::Safe && named,
        // A route takes away, or keys by, no more than what the rules name: the field may be left out there.
        authorization: (reaches_upstream || !rules.identity_fields.contains(&AUTHORIZATION))
            && headers.has(&AUTHORIZATION),
    })
}

pub(crate) fn names_caller(headers: &impl Fields, rules: &Rules) -> bool {
    rules.identity_fields.iter().any(|name| headers.has(name))
}

fn reason_to_pass(method: &Method, headers: &impl Fields, has_body: bool) -> Option<Pass> {
    let any = |names: &[HeaderName]| names.iter().any(|name| headers.has(name));
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Some(Pass::Method);
    }
    if has_body {
        return Some(Pass::Body);
    }
    if wants_upgrade(headers) {
        return Some(Pass::Upgrade);
    }
    if lists_end_to_end_fields(headers) {
        return Some(Pass::ConnectionListed);
    }
    if any(&[EXPECT]) {
        return Some(Pass::Expect);
    }
    if any(&[IF_MATCH, IF_UNMODIFIED_SINCE]) {
        return Some(Pass::Precondition);
    }
    None
}

/// Does the client want another protocol? An offer of `h2c` alone may be declined without a word (RFC 9110 §7.8; RFC 9113
/// §3.1 made it obsolete) and some clients make it with every request.
fn wants_upgrade(headers: &impl Fields) -> bool {
    let offers_only_h2c = |value: &[u8]| {
        value
            .split(|&byte| byte == b',')
            .all(|protocol| protocol.trim_ascii().eq_ignore_ascii_case(b"h2c"))
    };
    !headers.lines(&UPGRADE).all(offers_only_h2c)
}

/// The fields of a cacheable request that go upstream.
pub fn forwarded_fields(headers: &HeaderMap, rules: &Rules, route: &Route) -> HeaderMap {
    let mut forwarded = headers.clone();
    strip_hop_by_hop(&mut forwarded);
    remove(&mut forwarded, |name| {
        let unkeyed = rules.unkeyed_fields.contains(name) && !route.keyed_fields.contains(name);
        let identity = route.identity == Identity::Strip && rules.identity_fields.contains(name);
        CONDITIONS.contains(name) || unkeyed || identity
    });
    forwarded
}

/// Fields that ask for a part, or on condition.
static CONDITIONS: [HeaderName; 6] = [
    IF_NONE_MATCH,
    IF_MODIFIED_SINCE,
    IF_MATCH,
    IF_UNMODIFIED_SINCE,
    IF_RANGE,
    RANGE,
];

/// Removes these fields. Mostly there is none of them, which costs less to see than to look for each.
fn remove(headers: &mut HeaderMap, goes: impl Fn(&HeaderName) -> bool) {
    let names: Vec<_> = headers.keys().filter(|name| goes(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// Removes what concerns one connection alone (RFC 9110 §7.6.1; RFC 9111 §3.1).
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let listed: Vec<_> = connection_listed(headers).collect();
    remove(headers, |name| {
        HOP_BY_HOP.contains(name) || listed.contains(name)
    });
}

/// Fields of one connection, whether or not `Connection` lists them.
static HOP_BY_HOP: [HeaderName; 11] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-authentication-info"),
    PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("http2-settings"),
];

fn connection_listed(headers: &impl Fields) -> impl Iterator<Item = HeaderName> {
    headers
        .lines(&CONNECTION)
        .flat_map(members)
        .filter_map(|name| HeaderName::from_bytes(name).ok())
}

/// A client that strips, say, its own `Accept-Language` on the way would have the default answer
/// stored under that language.
pub(crate) fn lists_end_to_end_fields(headers: &impl Fields) -> bool {
    let is_of_one_hop = |member: &[u8]| {
        let mut known = HOP_BY_HOP.iter();
        known.any(|name| name.as_str().as_bytes().eq_ignore_ascii_case(member))
    };
    headers
        .lines(&CONNECTION)
        .flat_map(members)
        // Before a name is made of it, for which memory is needed: most requests that list anything list `keep-alive`.
        .filter(|member| !is_of_one_hop(member))
        .filter_map(|member| HeaderName::from_bytes(member).ok())
        .any(|name| headers.has(&name))
}
