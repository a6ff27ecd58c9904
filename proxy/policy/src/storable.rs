//! May this response be kept (RFC 9111 §3), and which of its fields?
//!
//! Left out, and so answered by "no": answers to anything but `GET`. Whether a 206 is a part that can
//! be kept (§3.3) is [`part_received`](crate::part_received)'s question: here it has been answered.

use std::time::Duration;

use http::header::{ETAG, LAST_MODIFIED, SET_COOKIE};
use http::{HeaderMap, Method, StatusCode};

use crate::cache_control::{Qualified, ResponseDirectives, SECONDS_MAX};
use crate::freshness::{
    Exchange, Flags, Lifetime, StoredPolicy, date_s, heuristically_cacheable, initial_age_s,
    lifetime, unix_s,
};
use crate::groups::cache_groups;
use crate::range::describes_part;
use crate::request::{Lookup, names_caller, strip_hop_by_hop};
use crate::rules::{Identity, Profile, Route, Rules};
use crate::targeted::{Effective, effective};
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
    /// Part of a representation, and not one that can be kept.
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

/// Statuses that profile `safe` never keeps: answers to a request that was malformed or too big,
/// which others may repeat in good order (denial of service by a poisoned error).
const NEVER_KEPT: [u16; 5] = [400, 413, 414, 431, 501];

/// What the clauses ask of a response.
struct Candidate<'a> {
    method: &'a Method,
    lookup: &'a Lookup,
    /// The request names its caller, by the look-up or by its own fields.
    names_caller: bool,
    status: StatusCode,
    response: &'a HeaderMap,
    said: Effective,
    rules: &'a Rules,
    route: &'a Route,
}

/// Decides whether a response to a looked-up request may be kept.
///
/// `request` may be the client's fields or those that went upstream. Called again with the merged
/// fields of a validated response, it gives that response's new facts.
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
    // A look-up made for a refresh in the background may forget whose request it repeats.
    let named = route.identity == Identity::Default
        && rules.profile == Profile::Safe
        && names_caller(request, rules);
    let candidate = Candidate {
        method,
        lookup,
        names_caller: lookup.names_caller || named,
        status,
        response,
        said: effective(response, &rules.targeted_fields),
        rules,
        route,
    };
    match candidate.forbidden() {
        Some(reason) => Storable::No(reason),
        None => candidate.kept(times),
    }
}

impl Candidate<'_> {
    fn forbidden(&self) -> Option<NotStorable> {
        self.by_kind()
            .or_else(|| self.by_directive())
            .or_else(|| self.by_caller())
            .or_else(|| self.by_field())
    }

    /// §3: the method and the status.
    fn by_kind(&self) -> Option<NotStorable> {
        // The answer to HEAD has no content to keep.
        if self.method != Method::GET {
            return Some(NotStorable::Method);
        }
        // §3.3: one that doesn't say what it is a part of.
        if self.status == StatusCode::PARTIAL_CONTENT && !describes_part(self.response) {
            return Some(NotStorable::Partial);
        }
        // §3: only final statuses; a 304 updates another response.
        let never = self.status.is_informational()
            || self.status == StatusCode::NOT_MODIFIED
            || self.safe() && NEVER_KEPT.contains(&self.status.as_u16());
        never.then_some(NotStorable::Status)
    }

    /// §3: what either side's directives forbid.
    fn by_directive(&self) -> Option<NotStorable> {
        let said = &self.said.directives;
        // §5.2.2.3: with must-understand the status decides, and no-store does not.
        if said.must_understand && !understood(self.status) {
            return Some(NotStorable::NotUnderstood);
        }
        // §5.2.2.5
        if said.no_store && !said.must_understand {
            return Some(NotStorable::NoStore);
        }
        // §5.2.1.5
        if self.lookup.directives.no_store {
            return Some(NotStorable::RequestNoStore);
        }
        // §5.2.2.7
        (said.private == Qualified::Whole).then_some(NotStorable::Private)
    }

    /// §3.5, and profile `safe`'s wider notion of who is a named caller.
    fn by_caller(&self) -> Option<NotStorable> {
        let said = &self.said.directives;
        let permits = said.public || said.s_maxage_s.is_some() || said.must_revalidate;
        if self.lookup.authorization && !permits {
            return Some(NotStorable::Authorization);
        }
        // must-revalidate alone says how long, not for whom: it does not suffice here.
        (self.safe() && self.names_caller && !self.explicitly_shared())
            .then_some(NotStorable::IdentityNotShared)
    }

    fn by_field(&self) -> Option<NotStorable> {
        // One visitor's session must not become everybody's.
        if self.safe() && self.response.contains_key(SET_COOKIE) {
            return Some(NotStorable::SetCookie);
        }
        // §4.1: it would never be selected.
        (vary(self.response) == Vary::Any).then_some(NotStorable::VaryAny)
    }

    /// The last clause of §3: something must make the response cacheable; and keeping it must be
    /// of use.
    fn kept(&self, times: Exchange) -> Storable {
        let said = &self.said.directives;
        let received_s = unix_s(times.response_time);
        let lifetime = lifetime(
            self.status,
            self.response,
            &self.said,
            received_s,
            self.route,
        );
        let cacheable = lifetime != Lifetime::None || heuristically_cacheable(self.status);
        if !cacheable && !said.public {
            return Storable::No(NotStorable::Status);
        }
        let policy = self.policy(lifetime, times);
        match self.is_useful(&policy) {
            true => Storable::Yes(policy),
            false => Storable::No(NotStorable::NoFreshness),
        }
    }

    /// Could it ever answer a request, fresh, stale or validated? A default stale window alone is
    /// no reason: it would fill the store with everything that an origin says nothing of.
    fn is_useful(&self, policy: &StoredPolicy) -> bool {
        if policy.flags.contains(Flags::HAS_VALIDATOR) {
            return true;
        }
        if policy.flags.contains(Flags::NO_CACHE) {
            return false;
        }
        let window = self.while_revalidate_s().max(self.if_error_s());
        policy.lifetime_s.saturating_add(window.unwrap_or(0)) > policy.initial_age_s
    }

    fn policy(&self, lifetime: Lifetime, times: Exchange) -> StoredPolicy {
        let said = &self.said.directives;
        let default = self
            .safe()
            .then(|| seconds(self.rules.stale_if_error_default));
        let default = default.filter(|_| !said.forbids_stale());
        StoredPolicy {
            response_time_unix_s: unix_s(times.response_time),
            initial_age_s: initial_age_s(self.response, times),
            lifetime_s: lifetime.seconds(),
            stale_while_revalidate_s: self.while_revalidate_s().unwrap_or(0),
            stale_if_error_s: self.if_error_s().or(default).unwrap_or(0),
            flags: self.flags(lifetime),
        }
    }

    fn flags(&self, lifetime: Lifetime) -> Flags {
        let said = &self.said.directives;
        let dated = date_s(self.response, LAST_MODIFIED).is_some();
        let tagged = self.response.get(ETAG).is_some_and(|tag| !tag.is_empty());
        Flags::default()
            .with(Flags::NO_CACHE, said.no_cache == Qualified::Whole)
            .with(Flags::MUST_REVALIDATE, said.forbids_stale())
            .with(Flags::EXPLICITLY_SHARED, self.explicitly_shared())
            .with(Flags::HAS_VALIDATOR, dated || tagged)
            .with(Flags::IMMUTABLE, said.immutable)
            .with(Flags::HEURISTIC, matches!(lifetime, Lifetime::Heuristic(_)))
            .with(Flags::GROUPED, !cache_groups(self.response).is_empty())
    }

    /// RFC 5861 §3, else what the route says.
    fn while_revalidate_s(&self) -> Option<u64> {
        let said = &self.said.directives;
        let otherwise = self.route.stale_while_revalidate.map(seconds);
        said.stale_while_revalidate_s
            .or(otherwise)
            .filter(|_| !said.forbids_stale())
    }

    /// RFC 5861 §4, else what the route says.
    fn if_error_s(&self) -> Option<u64> {
        let said = &self.said.directives;
        let otherwise = self.route.stale_if_error.map(seconds);
        said.stale_if_error_s
            .or(otherwise)
            .filter(|_| !said.forbids_stale())
    }

    fn explicitly_shared(&self) -> bool {
        let said = &self.said.directives;
        said.public || said.s_maxage_s.is_some() || self.said.targeted
    }

    fn safe(&self) -> bool {
        self.rules.profile == Profile::Safe
    }
}

fn seconds(duration: Duration) -> u64 {
    duration.as_secs().min(SECONDS_MAX)
}

/// §3: a status is understood when all it demands of a cache is implemented. None of the registered
/// ones demands more than §3 does, but for 206, whose ranges are understood, and 304.
fn understood(status: StatusCode) -> bool {
    status.canonical_reason().is_some() && status != StatusCode::NOT_MODIFIED
}

/// The fields of a response that are kept (§3.1): all, but those of one connection, and those that
/// a qualified `private` or `no-cache` lists.
pub fn fields_to_store(response: &HeaderMap) -> HeaderMap {
    let mut kept = response.clone();
    strip_hop_by_hop(&mut kept);
    let said = ResponseDirectives::parse(response);
    for qualified in [said.private, said.no_cache] {
        if let Qualified::Fields(names) = qualified {
            for name in names {
                kept.remove(name);
            }
        }
    }
    kept
}
