//! May this response be kept (RFC 9111 §3), and which of its fields?

use http::header::{CACHE_CONTROL, ETAG, LAST_MODIFIED, SET_COOKIE};
use http::{HeaderMap, Method, StatusCode};

use crate::cache_control::{Qualified, ResponseDirectives};
use crate::freshness::{
    Exchange, Flags, Lifetime, StoredPolicy, date_s, heuristically_cacheable, initial_age_s,
    lifetime, unix_s,
};
use crate::request::{Lookup, strip_hop_by_hop};
use crate::rules::{Profile, Route, Rules};
use crate::vary::{Vary, vary};

/// The answer, with what to remember or the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storable {
    /// Keep it.
    Yes(StoredPolicy),
    /// Do not.
    No(NotStorable),
}

/// Why a response is not kept: one variant per clause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NotStorable {
    /// The method's answers are not kept.
    Method,
    /// Part of a representation.
    Partial,
    /// A status that is not kept without more being said, or never.
    Status,
    /// `must-understand` with a status that is not understood.
    NotUnderstood,
    /// The response says `no-store`.
    NoStore,
    /// The request says `no-store`.
    RequestNoStore,
    /// The response says `private`.
    Private,
    /// An answer to `Authorization` that is not marked as shared (§3.5).
    Authorization,
    /// An answer to a named caller that is not marked as shared.
    IdentityNotShared,
    /// It sets a cookie.
    SetCookie,
    /// `Vary: *` matches no request.
    VaryAny,
    /// Neither fresh nor validatable.
    NoFreshness,
}

/// Decides whether a response to a looked-up request may be kept.
#[expect(
    clippy::too_many_arguments,
    reason = "each is one fact about the exchange"
)]
pub fn storable(
    method: &Method,
    request: &HeaderMap,
    lookup: &Lookup,
    status: StatusCode,
    response: &HeaderMap,
    times: Exchange,
    rules: &Rules,
    route: &Route,
) -> Storable {
    let _ = request;
    let directives = ResponseDirectives::parse(response);
    if let Some(reason) = forbidden(method, lookup, status, response, &directives, rules) {
        return Storable::No(reason);
    }
    let lifetime = lifetime(
        status,
        response,
        &directives,
        false,
        unix_s(times.response_time),
        route,
    );
    if lifetime == Lifetime::None && !heuristically_cacheable(status) && !directives.public {
        return Storable::No(NotStorable::Status);
    }
    let policy = policy(response, &directives, lifetime, times, rules, route);
    let said_stale = directives.stale_if_error_s.is_some()
        || directives.stale_while_revalidate_s.is_some()
        || route.stale_if_error.is_some()
        || route.stale_while_revalidate.is_some();
    let useful = policy.flags.contains(Flags::HAS_VALIDATOR)
        || !policy.flags.contains(Flags::NO_CACHE)
            && (policy.lifetime_s > policy.initial_age_s
                || said_stale && policy.keep_for(times.response_time).as_secs() > 0);
    if useful {
        Storable::Yes(policy)
    } else {
        Storable::No(NotStorable::NoFreshness)
    }
}

fn forbidden(
    method: &Method,
    lookup: &Lookup,
    status: StatusCode,
    response: &HeaderMap,
    directives: &ResponseDirectives,
    rules: &Rules,
) -> Option<NotStorable> {
    let safe = rules.profile == Profile::Safe;
    let shared = directives.public || directives.s_maxage_s.is_some();
    if method != Method::GET {
        return Some(NotStorable::Method);
    }
    if status == StatusCode::PARTIAL_CONTENT {
        return Some(NotStorable::Partial);
    }
    if status.is_informational()
        || status == StatusCode::NOT_MODIFIED
        || safe && matches!(status.as_u16(), 400 | 413 | 414 | 431 | 501)
    {
        return Some(NotStorable::Status);
    }
    if directives.no_store {
        return Some(NotStorable::NoStore);
    }
    if lookup.directives.no_store {
        return Some(NotStorable::RequestNoStore);
    }
    if directives.private == Qualified::Whole {
        return Some(NotStorable::Private);
    }
    // §3.5
    if lookup.authorization && !shared && !directives.must_revalidate {
        return Some(NotStorable::Authorization);
    }
    if safe && lookup.names_caller && !shared {
        return Some(NotStorable::IdentityNotShared);
    }
    if safe && response.contains_key(SET_COOKIE) {
        return Some(NotStorable::SetCookie);
    }
    (vary(response) == Vary::Any).then_some(NotStorable::VaryAny)
}

fn policy(
    response: &HeaderMap,
    directives: &ResponseDirectives,
    lifetime: Lifetime,
    times: Exchange,
    rules: &Rules,
    route: &Route,
) -> StoredPolicy {
    let default = (rules.profile == Profile::Safe).then_some(rules.stale_if_error_default);
    let window = |said: Option<u64>, otherwise: Option<std::time::Duration>| {
        if directives.forbids_stale() {
            0
        } else {
            said.or(otherwise.map(|d| d.as_secs())).unwrap_or(0)
        }
    };
    StoredPolicy {
        response_time_unix_s: unix_s(times.response_time),
        initial_age_s: initial_age_s(response, times),
        lifetime_s: lifetime.seconds(),
        stale_while_revalidate_s: window(
            directives.stale_while_revalidate_s,
            route.stale_while_revalidate,
        ),
        stale_if_error_s: window(
            directives.stale_if_error_s,
            route.stale_if_error.or(default),
        ),
        flags: Flags::default()
            .with(Flags::NO_CACHE, directives.no_cache == Qualified::Whole)
            .with(Flags::MUST_REVALIDATE, directives.forbids_stale())
            .with(
                Flags::EXPLICITLY_SHARED,
                directives.public || directives.s_maxage_s.is_some(),
            )
            .with(
                Flags::HAS_VALIDATOR,
                response.contains_key(ETAG) || date_s(response, LAST_MODIFIED).is_some(),
            )
            .with(Flags::IMMUTABLE, directives.immutable)
            .with(Flags::HEURISTIC, matches!(lifetime, Lifetime::Heuristic(_))),
    }
}

/// The fields of a response that are kept (§3.1).
pub fn fields_to_store(response: &HeaderMap) -> HeaderMap {
    let mut kept = response.clone();
    strip_hop_by_hop(&mut kept);
    if !response.contains_key(CACHE_CONTROL) {
        return kept;
    }
    let directives = ResponseDirectives::parse(response);
    for qualified in [directives.private, directives.no_cache] {
        if let Qualified::Fields(names) = qualified {
            for name in names {
                kept.remove(name);
            }
        }
    }
    kept
}
