//! What happened to a request: one value for `X-Cache`, `Cache-Status` (RFC 9211), log, metric
//! label and explanation, so that they cannot disagree.

use crate::reason::{Reason, failed, forwarded, not_kept, passed, stale};
use crate::request::Pass;
use crate::storable::NotStorable;

/// Why a request went upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Forward {
    /// Nothing is stored for the target.
    UriMiss,
    /// Something is, but for other selecting fields.
    VaryMiss,
    /// What is stored needs validation.
    Stale,
    /// A part is stored, but not all that is asked for.
    Partial,
    /// The request's directives ask for it.
    Request,
    /// The request names its caller, and what is stored is not marked as shared.
    CallerNamed,
    /// The last answers of this target could not be stored, so nobody waits for this one.
    HitForMiss,
    /// No store could be asked.
    NoStorage,
    /// What is stored may have been purged: the log of purges was lost, or can't be followed.
    Unverified,
}

impl Forward {
    /// The `fwd` token (RFC 9211 §2.2).
    pub fn fwd(self) -> &'static str {
        match self {
            Self::UriMiss | Self::HitForMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Stale | Self::Unverified => "stale",
            Self::Partial => "partial",
            Self::Request | Self::CallerNamed => "request",
            // A fresh response may be there; it is this request that may not have it.
            Self::NoStorage => "bypass",
        }
    }
}

/// What became of the upstream's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stored {
    /// It is kept.
    Yes,
    /// The policy says no.
    No(NotStorable),
    /// Larger than an object may be.
    TooLarge,
    /// It ended before it was complete.
    Aborted,
    /// It was invalidated or purged while it came in.
    Invalidated,
    /// The store had no room or no connection.
    Capacity,
}

/// An answer that the proxy made itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The request cannot be understood.
    BadRequest,
    /// A host that is not served here.
    Misdirected,
    /// The request came back to its sender.
    Loop,
    /// No connection to the upstream.
    ConnectFailed,
    /// The upstream did not answer in time.
    UpstreamTimeout,
    /// The upstream's answer cannot be understood, or broke off.
    UpstreamBroken,
    /// No secure connection to the upstream.
    UpstreamTls,
    /// The upstream was not asked, because it has not answered lately.
    UpstreamAway {
        /// It was silent, not unreachable or incomprehensible.
        silent: bool,
    },
    /// Too many requests at once.
    Overloaded,
    /// A fault of the proxy.
    Internal,
}

impl Failure {
    /// The status of the answer.
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Misdirected => 421,
            Self::Internal => 500,
            Self::ConnectFailed
            | Self::UpstreamBroken
            | Self::UpstreamTls
            | Self::UpstreamAway { silent: false } => 502,
            Self::Overloaded => 503,
            Self::UpstreamTimeout | Self::UpstreamAway { silent: true } => 504,
            Self::Loop => 508,
        }
    }
}

/// What went wrong upstream when a stale response stood in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCause {
    /// No answer.
    Failure(Failure),
    /// An answer with this status.
    Status(u16),
}

/// Why a stale response was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StaleWhy {
    /// It is validated meanwhile.
    WhileRevalidate,
    /// The upstream failed.
    IfError(ErrorCause),
    /// The client said `max-stale`.
    MaxStale,
    /// Another request validates it.
    Collapsed,
}

/// What happened to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// A fresh stored response.
    Hit {
        /// Freshness left.
        ttl_s: i64,
    },
    /// A stored response that may have been purged: the log of purges can't be followed, and the operator wants it served all
    /// the same.
    HitUnverified {
        /// Freshness left; none when it is stale.
        ttl_s: i64,
    },
    /// A stale stored response.
    Stale {
        /// Freshness left, so not positive.
        ttl_s: i64,
        /// What permits it.
        why: StaleWhy,
    },
    /// Upstream confirmed the stored response; it was sent.
    Revalidated {
        /// Why upstream was asked.
        fwd: Forward,
        /// By which status: 304, or 200 to a `HEAD`.
        status: u16,
        /// Freshness left after the update.
        ttl_s: i64,
        /// It is kept, updated. A 304 may also forbid that.
        stored: bool,
    },
    /// The upstream's answer.
    Miss {
        /// Why upstream was asked.
        fwd: Forward,
        /// What it answered.
        status: u16,
        /// What became of the answer.
        stored: Stored,
        /// It was fetched for another request.
        collapsed: bool,
    },
    /// `only-if-cached` and nothing to serve: 504.
    OnlyIfCached,
    /// Handed through.
    Bypass {
        /// Why.
        pass: Pass,
        /// What the upstream answered, if it did.
        status: Option<u16>,
    },
    /// The proxy answered.
    Error(Failure),
}

/// The value of `X-Cache`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum XCache {
    /// From the store, fresh.
    Hit,
    /// From upstream.
    Miss,
    /// From the store, stale.
    Stale,
    /// From the store, validated just now.
    Revalidated,
    /// From upstream, untouched.
    Bypass,
    /// From the proxy itself.
    Error,
}

impl XCache {
    /// Every value once.
    pub const ALL: [Self; 6] = [
        Self::Hit,
        Self::Miss,
        Self::Stale,
        Self::Revalidated,
        Self::Bypass,
        Self::Error,
    ];

    /// As it stands in the field.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "HIT",
            Self::Miss => "MISS",
            Self::Stale => "STALE",
            Self::Revalidated => "REVALIDATED",
            Self::Bypass => "BYPASS",
            Self::Error => "ERROR",
        }
    }
}

impl Outcome {
    /// The value of `X-Cache`.
    pub fn x_cache(&self) -> XCache {
        match self {
            Self::HitUnverified { ttl_s } if *ttl_s <= 0 => XCache::Stale,
            Self::Hit { .. } | Self::HitUnverified { .. } => XCache::Hit,
            Self::Stale { .. } => XCache::Stale,
            Self::Revalidated { .. } => XCache::Revalidated,
            Self::Miss { .. } | Self::OnlyIfCached => XCache::Miss,
            Self::Bypass { .. } => XCache::Bypass,
            Self::Error(_) => XCache::Error,
        }
    }

    /// The same of a stored response that may have been purged.
    #[must_use]
    pub fn unverified(self) -> Self {
        match self {
            Self::Hit { ttl_s } | Self::Stale { ttl_s, .. } => Self::HitUnverified { ttl_s },
            other => other,
        }
    }

    /// The stable code of what happened.
    pub fn reason(&self) -> Reason {
        match *self {
            Self::Hit { .. } => Reason::Fresh,
            Self::HitUnverified { .. }
            | Self::Revalidated {
                fwd: Forward::Unverified,
                ..
            } => Reason::Unverified,
            Self::Stale { why, .. } => stale(why),
            Self::Revalidated { .. } => Reason::Validated,
            Self::Miss { fwd, stored, .. } => not_kept(stored).unwrap_or_else(|| forwarded(fwd)),
            Self::OnlyIfCached => Reason::OnlyIfCached,
            Self::Bypass { pass, .. } => passed(pass),
            Self::Error(failure) => failed(failure),
        }
    }
}
