//! May a stored response answer this request (RFC 9111 §4, §5.2.1; RFC 5861)?
//!
//! The response has been selected by key and `Vary` already. `only-if-cached` is the caller's: it
//! turns every answer but a served one into 504 (§5.2.1.7).

use std::time::SystemTime;

use crate::cache_control::MaxStale;
use crate::freshness::{Flags, StoredPolicy};
use crate::outcome::Forward;
use crate::request::Lookup;

/// What to do with a stored response that the key and `Vary` selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reuse {
    /// Serve it.
    Fresh,
    /// Serve it, and validate it meanwhile.
    StaleWhileRevalidate,
    /// Serve it stale: the client said `max-stale`.
    StaleAllowed,
    /// Ask upstream first.
    Validate(Forward),
    /// The request names its caller, and the response is not marked as shared.
    NotForCaller,
}

/// Decides on the reuse of a stored response.
pub fn reuse(stored: &StoredPolicy, lookup: &Lookup, now: SystemTime) -> Reuse {
    let wishes = &lookup.directives;
    if !for_caller(stored, lookup) {
        return Reuse::NotForCaller;
    }
    // §5.2.2.4
    if stored.flags.contains(Flags::NO_CACHE) {
        return Reuse::Validate(Forward::Stale);
    }
    let age = stored.age_s(now);
    // §5.2.1.4, §5.2.1.1, §5.2.1.3
    let too_old = wishes.max_age_s.is_some_and(|max| age > max);
    let too_stale_soon = wishes
        .min_fresh_s
        .is_some_and(|min| stored.lifetime_s < age.saturating_add(min));
    // §4.2: fresh while the lifetime exceeds the age.
    let fresh = stored.lifetime_s > age;
    let unwanted = wishes.no_cache || too_old || too_stale_soon;
    if fresh {
        return match unwanted {
            true => Reuse::Validate(Forward::Request),
            false => Reuse::Fresh,
        };
    }
    if unwanted {
        return Reuse::Validate(Forward::Stale);
    }
    let staleness = age.saturating_sub(stored.lifetime_s);
    let may_be_stale = !stored.flags.contains(Flags::MUST_REVALIDATE);
    if may_be_stale && accepts_stale(wishes.max_stale, staleness) {
        return Reuse::StaleAllowed;
    }
    // RFC 5861 §3. Who limits age or staleness gets no more than was asked for.
    if may_be_stale && says_nothing_of_age(lookup) && staleness < stored.stale_while_revalidate_s {
        return Reuse::StaleWhileRevalidate;
    }
    Reuse::Validate(Forward::Stale)
}

fn for_caller(stored: &StoredPolicy, lookup: &Lookup) -> bool {
    !lookup.names_caller || stored.flags.contains(Flags::EXPLICITLY_SHARED)
}

/// §5.2.1.2
fn accepts_stale(max_stale: MaxStale, staleness: u64) -> bool {
    match max_stale {
        MaxStale::No => false,
        MaxStale::Any => true,
        MaxStale::Seconds(max) => staleness <= max,
    }
}

fn says_nothing_of_age(lookup: &Lookup) -> bool {
    let wishes = &lookup.directives;
    wishes.max_age_s.is_none() && wishes.min_fresh_s.is_none() && wishes.max_stale == MaxStale::No
}

/// May it stand in for an upstream that cannot be reached or answers 500, 502, 503 or 504
/// (RFC 5861 §4)?
pub fn stale_on_error(stored: &StoredPolicy, lookup: &Lookup, now: SystemTime) -> bool {
    let wishes = &lookup.directives;
    // §4.2.4: neither directives of the response nor of the request may forbid it.
    let forbidden = stored.flags.contains(Flags::NO_CACHE)
        || stored.flags.contains(Flags::MUST_REVALIDATE)
        || wishes.no_cache
        || !for_caller(stored, lookup);
    let age = stored.age_s(now);
    if forbidden || wishes.max_age_s.is_some_and(|max| age > max) {
        return false;
    }
    let staleness = age.saturating_sub(stored.lifetime_s);
    accepts_stale(wishes.max_stale, staleness)
        || says_nothing_of_age(lookup) && staleness < stored.stale_if_error_s
}

/// May the answer of one fetch go to another request that waited for it (§4, collapsed requests)?
///
/// `no-cache` and a lifetime of zero don't stand in the way: the answer was made while this request
/// waited, so it is as good as validated for it.
pub fn shareable_with_waiters(policy: &StoredPolicy, lookup: &Lookup) -> bool {
    let wishes = &lookup.directives;
    let age = policy.initial_age_s;
    let too_old = wishes.max_age_s.is_some_and(|max| age > max);
    let too_stale_soon = wishes
        .min_fresh_s
        .is_some_and(|min| policy.lifetime_s < age.saturating_add(min));
    // §5.2.1.4: the fetch began before this request came, so it is no validation of its own.
    for_caller(policy, lookup) && !wishes.no_cache && !too_old && !too_stale_soon
}
