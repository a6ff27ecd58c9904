//! How long a response stays fresh, and how old it is (RFC 9111 §4.2).
//!
//! All arithmetic is in whole seconds and saturates at 2^31 (§1.2.2): no clock, however wrong, makes
//! a negative age or a lifetime that overflows.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{AGE, DATE, EXPIRES, HeaderName, LAST_MODIFIED};
use http::{HeaderMap, StatusCode};

use crate::cache_control::{SECONDS_MAX, delta_seconds, list_members};
use crate::fields::Fields;
use crate::rules::{Route, Rules};
use crate::targeted::{Effective, effective};

/// §4.2.2: a typical fraction of the time since the last change ...
const HEURISTIC_DIVISOR: u64 = 10;
/// ... but no guess lasts longer than a day.
const HEURISTIC_MAX_S: u64 = 86_400;

/// How long a stale response with a validator is worth keeping for a conditional request.
const VALIDATOR_SLACK_S: u64 = 3600;

/// When a request was sent upstream and when its answer's head came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchange {
    /// The request was sent.
    pub request_time: SystemTime,
    /// The response was received.
    pub response_time: SystemTime,
}

impl Exchange {
    /// How long the head took, in whole milliseconds, rounded up; nothing when the clock was set back meanwhile.
    pub fn took_ms(&self) -> u32 {
        let took = self.response_time.duration_since(self.request_time);
        took.map_or(0, |took| {
            u32::try_from(took.as_micros().div_ceil(1000)).unwrap_or(u32::MAX)
        })
    }
}

/// Facts about a stored response, as bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(u16);

impl Flags {
    /// Never reused without validation.
    pub const NO_CACHE: Self = Self(1);
    /// Never reused stale.
    pub const MUST_REVALIDATE: Self = Self(1 << 1);
    /// Marked by its origin as meant for everybody.
    pub const EXPLICITLY_SHARED: Self = Self(1 << 2);
    /// Has an `ETag` or a `Last-Modified`.
    pub const HAS_VALIDATOR: Self = Self(1 << 3);
    /// Will not change while fresh (RFC 8246).
    pub const IMMUTABLE: Self = Self(1 << 4);
    /// Its lifetime is a guess.
    pub const HEURISTIC: Self = Self(1 << 5);
    /// Belongs to groups (RFC 9875).
    pub const GROUPED: Self = Self(1 << 6);

    const ALL: u16 = (1 << 7) - 1;

    /// The bits, for storing.
    pub fn bits(self) -> u16 {
        self.0
    }

    /// From stored bits; none when a bit is unknown.
    pub fn from_bits(bits: u16) -> Option<Self> {
        (bits & !Self::ALL == 0).then_some(Self(bits))
    }

    /// Whether all of `other`'s facts hold.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// With `other`'s facts added when `condition` holds.
    #[must_use]
    pub fn with(self, other: Self, condition: bool) -> Self {
        if condition {
            Self(self.0 | other.0)
        } else {
            self
        }
    }
}

/// What must be remembered of a stored response to decide on its reuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoredPolicy {
    /// When its head came back, in seconds since 1970.
    pub response_time_unix_s: u64,
    /// Its `corrected_initial_age` (§4.2.3).
    pub initial_age_s: u64,
    /// Its freshness lifetime (§4.2.1).
    pub lifetime_s: u64,
    /// How long past freshness it may be served while it is validated (RFC 5861 §3).
    pub stale_while_revalidate_s: u64,
    /// How long past freshness it may stand in for a failed upstream (RFC 5861 §4).
    pub stale_if_error_s: u64,
    /// The rest.
    pub flags: Flags,
}

impl StoredPolicy {
    /// `current_age` (§4.2.3).
    pub fn age_s(&self, now: SystemTime) -> u64 {
        let resident = unix_s(now).saturating_sub(self.response_time_unix_s);
        self.initial_age_s.saturating_add(resident).min(SECONDS_MAX)
    }

    /// Freshness left; negative when stale.
    pub fn ttl_s(&self, now: SystemTime) -> i64 {
        let signed = |s: u64| i64::try_from(s).unwrap_or(i64::MAX);
        signed(self.lifetime_s).saturating_sub(signed(self.age_s(now)))
    }

    /// The same, but stale since `unix_s` at the latest: what a soft purge makes of it.
    #[must_use]
    pub fn stale_since(self, unix_s: u64, now: SystemTime) -> Self {
        let resident = unix_s.saturating_sub(self.response_time_unix_s);
        let age_then = self.initial_age_s.saturating_add(resident);
        Self {
            lifetime_s: self.lifetime_s.min(age_then).min(self.age_s(now)),
            ..self
        }
    }

    /// The same, but never to be served before the upstream has confirmed it.
    #[must_use]
    pub fn unverified(self) -> Self {
        Self {
            lifetime_s: 0,
            stale_while_revalidate_s: 0,
            stale_if_error_s: 0,
            flags: self.flags.with(Flags::MUST_REVALIDATE, true),
            ..self
        }
    }

    /// How long a store should keep it: freshness left, the longest stale window, and slack when
    /// it can be validated.
    pub fn keep_for(&self, now: SystemTime) -> Duration {
        let window = self.stale_while_revalidate_s.max(self.stale_if_error_s);
        let slack = if self.flags.contains(Flags::HAS_VALIDATOR) {
            VALIDATOR_SLACK_S
        } else {
            0
        };
        let end = self.lifetime_s.saturating_add(window).saturating_add(slack);
        Duration::from_secs(end.saturating_sub(self.age_s(now)))
    }
}

/// Whole seconds since 1970; earlier times count as 1970.
pub(crate) fn unix_s(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// A field's date, in seconds since 1970; of several lines the first counts (§4.2.1).
pub(crate) fn date_s(headers: &impl Fields, name: HeaderName) -> Option<u64> {
    let text = std::str::from_utf8(headers.lines(&name).next()?).ok()?;
    let text = text.trim_ascii();
    // All but a few write it as it is meant to be written.
    httpdate::parse_http_date(text)
        .or_else(|_| httpdate::parse_http_date(&usual_case(text)))
        .ok()
        .map(unix_s)
}

/// §4.2: a cache should match dates case-insensitively. Every word of a date is capitalised, but
/// for the zone.
fn usual_case(date: &str) -> String {
    let mut out = String::with_capacity(date.len());
    let mut in_word = false;
    for letter in date.chars() {
        out.push(match in_word {
            true => letter.to_ascii_lowercase(),
            false => letter.to_ascii_uppercase(),
        });
        in_word = letter.is_ascii_alphabetic();
    }
    match out.strip_suffix("Gmt") {
        Some(rest) => format!("{rest}GMT"),
        None => out,
    }
}

/// `corrected_initial_age` (§4.2.3).
pub(crate) fn initial_age_s(response: &HeaderMap, times: Exchange) -> u64 {
    let received = unix_s(times.response_time);
    let apparent = date_s(response, DATE).map_or(0, |date| received.saturating_sub(date));
    let delay = times
        .response_time
        .duration_since(times.request_time)
        .map_or(0, |d| d.as_secs());
    apparent
        .max(age_value_s(response).saturating_add(delay))
        .min(SECONDS_MAX)
}

/// §5.1: of several values the first counts; an invalid one is ignored.
fn age_value_s(response: &HeaderMap) -> u64 {
    response
        .get(AGE)
        .and_then(|line| {
            list_members(line.as_bytes())
                .first()
                .and_then(|age| delta_seconds(age))
        })
        .unwrap_or(0)
}

/// Where a lifetime comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lifetime {
    Explicit(u64),
    Route(u64),
    Heuristic(u64),
    None,
}

impl Lifetime {
    pub(crate) fn seconds(self) -> u64 {
        match self {
            Self::Explicit(s) | Self::Route(s) | Self::Heuristic(s) => s,
            Self::None => 0,
        }
    }
}

/// `freshness_lifetime` (§4.2.1) with the route's word in it.
///
/// A route's `ttl` stands where a heuristic would, so it needs what §4.2.2 asks of one: a status
/// that is heuristically cacheable, or `public`.
pub(crate) fn lifetime(
    status: StatusCode,
    response: &HeaderMap,
    said: &Effective,
    received_s: u64,
    route: &Route,
) -> Lifetime {
    let may_guess = heuristically_cacheable(status) || said.directives.public;
    let ttl = route.ttl.filter(|_| may_guess);
    let ttl = ttl.map(|ttl| Lifetime::Route(ttl.as_secs().min(SECONDS_MAX)));
    let explicit = explicit(response, said, received_s).map(Lifetime::Explicit);
    let chosen = if route.override_origin {
        ttl.or(explicit)
    } else {
        explicit.or(ttl)
    };
    chosen.unwrap_or_else(|| match may_guess {
        true => heuristic(response, received_s),
        false => Lifetime::None,
    })
}

/// What the response itself says of its lifetime, if anything.
pub(crate) fn explicit_lifetime_s(
    response: &HeaderMap,
    times: Exchange,
    rules: &Rules,
) -> Option<u64> {
    let said = effective(response, &rules.targeted_fields);
    explicit(response, &said, unix_s(times.response_time))
}

fn explicit(response: &HeaderMap, said: &Effective, received_s: u64) -> Option<u64> {
    // §4.2.1: s-maxage, then max-age, then Expires.
    if let Some(seconds) = said.directives.s_maxage_s.or(said.directives.max_age_s) {
        return Some(seconds);
    }
    // RFC 9213 §2.2: beside a targeted field, Expires is ignored.
    if said.targeted || !response.contains_key(EXPIRES) {
        return None;
    }
    // §5.3: an invalid date is a time in the past.
    let expires = date_s(response, EXPIRES).unwrap_or(0);
    // RFC 9110 §6.6.1: without Date, the time of receipt.
    let date = date_s(response, DATE).unwrap_or(received_s);
    Some(expires.saturating_sub(date).min(SECONDS_MAX))
}

/// §4.2.2.
fn heuristic(response: &HeaderMap, received_s: u64) -> Lifetime {
    let date = date_s(response, DATE).unwrap_or(received_s);
    let Some(changed) = date_s(response, LAST_MODIFIED) else {
        return Lifetime::None;
    };
    let guess = date.saturating_sub(changed) / HEURISTIC_DIVISOR;
    Lifetime::Heuristic(guess.min(HEURISTIC_MAX_S))
}

/// RFC 9110 §15.1.
pub(crate) fn heuristically_cacheable(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    )
}
