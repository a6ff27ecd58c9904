//! What happened to a request: one value for `X-Cache`, `Cache-Status` (RFC 9211), log, metric
//! label and explanation, so that they cannot disagree.

use std::fmt::{self, Write};

use crate::key::Unkeyable;
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
    /// The request's directives ask for it.
    Request,
    /// The request names its caller, and what is stored is not marked as shared.
    CallerNamed,
    /// The last answers of this target could not be stored, so nobody waits for this one.
    HitForMiss,
    /// No store could be asked.
    NoStorage,
}

impl Forward {
    /// The `fwd` token (RFC 9211 §2.2).
    pub fn fwd(self) -> &'static str {
        match self {
            Self::UriMiss | Self::HitForMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Stale => "stale",
            Self::Request => "request",
            Self::CallerNamed => "miss",
            Self::NoStorage => "bypass",
        }
    }

    fn reason(self) -> Reason {
        match self {
            Self::UriMiss => Reason::UriMiss,
            Self::VaryMiss => Reason::VaryMiss,
            Self::Stale => Reason::Expired,
            Self::Request => Reason::RequestDirective,
            Self::CallerNamed => Reason::CallerNamed,
            Self::HitForMiss => Reason::HitForMiss,
            Self::NoStorage => Reason::NoStorage,
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
            Self::ConnectFailed | Self::UpstreamBroken | Self::UpstreamTls => 502,
            Self::Overloaded => 503,
            Self::UpstreamTimeout => 504,
            Self::Loop => 508,
        }
    }

    fn reason(self) -> Reason {
        match self {
            Self::BadRequest => Reason::BadRequest,
            Self::Misdirected => Reason::Misdirected,
            Self::Loop => Reason::Loop,
            Self::ConnectFailed => Reason::ConnectFailed,
            Self::UpstreamTimeout => Reason::UpstreamTimeout,
            Self::UpstreamBroken => Reason::UpstreamBroken,
            Self::UpstreamTls => Reason::UpstreamTls,
            Self::Overloaded => Reason::Overloaded,
            Self::Internal => Reason::Internal,
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

impl StaleWhy {
    fn reason(self) -> Reason {
        match self {
            Self::WhileRevalidate => Reason::StaleWhileRevalidate,
            Self::IfError(_) => Reason::StaleIfError,
            Self::MaxStale => Reason::MaxStale,
            Self::Collapsed => Reason::StaleCollapsed,
        }
    }
}

/// What happened to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// A fresh stored response.
    Hit {
        /// Freshness left.
        ttl_s: i64,
    },
    /// A stale stored response.
    Stale {
        /// Freshness left, so not positive.
        ttl_s: i64,
        /// What permits it.
        why: StaleWhy,
    },
    /// Upstream said 304; the stored response was sent.
    Revalidated {
        /// Why upstream was asked.
        fwd: Forward,
        /// Freshness left after the update.
        ttl_s: i64,
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
            Self::Hit { .. } => XCache::Hit,
            Self::Stale { .. } => XCache::Stale,
            Self::Revalidated { .. } => XCache::Revalidated,
            Self::Miss { .. } | Self::OnlyIfCached => XCache::Miss,
            Self::Bypass { .. } => XCache::Bypass,
            Self::Error(_) => XCache::Error,
        }
    }

    /// The stable code of what happened.
    pub fn reason(&self) -> Reason {
        match *self {
            Self::Hit { .. } => Reason::Fresh,
            Self::Stale { why, .. } => why.reason(),
            Self::Revalidated { .. } => Reason::Validated,
            Self::Miss { fwd, stored, .. } => unkept(stored).unwrap_or(fwd.reason()),
            Self::OnlyIfCached => Reason::OnlyIfCached,
            Self::Bypass { pass, .. } => passed(pass),
            Self::Error(failure) => failure.reason(),
        }
    }

    /// The member of `Cache-Status` for a cache of this name (RFC 9211 §2).
    pub fn cache_status(&self, name: &str) -> String {
        let mut member = name.to_owned();
        match *self {
            Self::Hit { ttl_s } => add(&mut member, format_args!("; hit; ttl={ttl_s}")),
            Self::Stale { ttl_s, .. } => add(&mut member, format_args!("; hit; ttl={ttl_s}")),
            Self::Revalidated { fwd, ttl_s } => {
                add(
                    &mut member,
                    format_args!("; fwd={}; fwd-status=304; stored; ttl={ttl_s}", fwd.fwd()),
                );
            }
            Self::Miss {
                fwd,
                status,
                stored,
                collapsed,
            } => {
                add(
                    &mut member,
                    format_args!("; fwd={}; fwd-status={status}", fwd.fwd()),
                );
                if stored == Stored::Yes && !collapsed {
                    member.push_str("; stored");
                }
                if collapsed {
                    member.push_str("; collapsed");
                }
            }
            Self::Bypass { status, .. } => {
                member.push_str("; fwd=bypass");
                if let Some(status) = status {
                    add(&mut member, format_args!("; fwd-status={status}"));
                }
            }
            Self::OnlyIfCached | Self::Error(_) => {}
        }
        if let Some(detail) = self.detail() {
            add(&mut member, format_args!("; detail={}", detail.as_str()));
        }
        member
    }

    /// The code, where the other parameters don't say it.
    fn detail(&self) -> Option<Reason> {
        let said = match *self {
            Self::Hit { .. } | Self::Revalidated { .. } => true,
            Self::Miss { fwd, .. } => {
                self.reason() == fwd.reason()
                    && !matches!(
                        fwd,
                        Forward::HitForMiss | Forward::CallerNamed | Forward::NoStorage
                    )
            }
            _ => false,
        };
        (!said).then(|| self.reason())
    }
}

fn add(member: &mut String, text: fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = member.write_fmt(text);
}

fn unkept(stored: Stored) -> Option<Reason> {
    Some(match stored {
        Stored::Yes => return None,
        Stored::No(reason) => not_storable(reason),
        Stored::TooLarge => Reason::TooLarge,
        Stored::Aborted => Reason::Aborted,
        Stored::Invalidated => Reason::Invalidated,
        Stored::Capacity => Reason::Capacity,
    })
}

fn not_storable(reason: NotStorable) -> Reason {
    match reason {
        NotStorable::Method => Reason::AnswerMethod,
        NotStorable::Partial => Reason::Partial,
        NotStorable::Status => Reason::Status,
        NotStorable::NotUnderstood => Reason::NotUnderstood,
        NotStorable::NoStore => Reason::NoStore,
        NotStorable::RequestNoStore => Reason::RequestNoStore,
        NotStorable::Private => Reason::Private,
        NotStorable::Authorization => Reason::Authorization,
        NotStorable::IdentityNotShared => Reason::IdentityNotShared,
        NotStorable::SetCookie => Reason::SetCookie,
        NotStorable::VaryAny => Reason::VaryAny,
        NotStorable::NoFreshness => Reason::NoFreshness,
    }
}

fn passed(pass: Pass) -> Reason {
    match pass {
        Pass::Method => Reason::Method,
        Pass::Body => Reason::Body,
        Pass::Target(Unkeyable::DotSegment) => Reason::DotSegment,
        Pass::Target(Unkeyable::NotOriginForm) => Reason::TargetForm,
        Pass::Target(Unkeyable::BadEncoding) => Reason::TargetEncoding,
        Pass::Target(Unkeyable::TooLong) => Reason::TargetTooLong,
        Pass::Upgrade => Reason::Upgrade,
        Pass::Range => Reason::Range,
        Pass::Precondition => Reason::Precondition,
        Pass::Expect => Reason::Expect,
    }
}

macro_rules! reasons {
    ($($variant:ident $code:literal $text:literal;)*) => {
        /// A stable code for everything that can happen to a request.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason {
            $(#[doc = $text] $variant,)*
        }

        impl Reason {
            /// Every code once.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The code.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// What it means.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

reasons! {
    Fresh "fresh" "A fresh response was stored.";
    StaleWhileRevalidate "stale-while-revalidate" "A stale response was served while it is being validated.";
    StaleIfError "stale-if-error" "The upstream failed, and a stale response stood in.";
    MaxStale "max-stale" "The request accepts a response this stale.";
    StaleCollapsed "stale-collapsed" "A stale response was served while another request validates it.";
    Validated "validated" "The upstream confirmed the stored response.";
    UriMiss "uri-miss" "Nothing was stored for this URL.";
    VaryMiss "vary-miss" "Nothing was stored for this URL with these selecting fields.";
    Expired "stale" "The stored response needed validation, and the upstream sent another.";
    RequestDirective "request" "The request's own directives asked for the upstream's answer.";
    CallerNamed "caller-named" "The request names its caller, and the stored response is not marked as shared.";
    HitForMiss "hit-for-miss" "Recent answers of this URL could not be stored, so this request did not wait for one.";
    NoStorage "no-storage" "No store could be asked.";
    AnswerMethod "answer-method" "Answers to this method are not stored.";
    Partial "partial" "The answer is a part of the whole.";
    Status "status" "The answer's status is not stored unless the origin says more, or never.";
    NotUnderstood "not-understood" "The answer says must-understand, and its status is not understood.";
    NoStore "no-store" "The answer says no-store.";
    RequestNoStore "request-no-store" "The request says no-store.";
    Private "private" "The answer says private.";
    Authorization "authorization" "The request has Authorization, and the answer says neither public nor s-maxage nor must-revalidate.";
    IdentityNotShared "identity-not-shared" "The request names its caller, and the answer is not marked as shared.";
    SetCookie "set-cookie" "The answer sets a cookie.";
    VaryAny "vary-any" "The answer varies by something unknown.";
    NoFreshness "no-freshness" "The answer is neither fresh for any time nor can it be validated.";
    TooLarge "too-large" "The answer is larger than what is stored.";
    Aborted "aborted" "The answer broke off before its end.";
    Invalidated "invalidated" "The URL was purged or changed while the answer came in.";
    Capacity "capacity" "The store had no room or could not be reached.";
    OnlyIfCached "only-if-cached" "The request says only-if-cached, and nothing could be served.";
    Method "method" "Only GET and HEAD are looked up.";
    Body "body" "The request has a body.";
    DotSegment "dot-segment" "The path has a dot segment.";
    TargetForm "target-form" "The target is not a path.";
    TargetEncoding "target-encoding" "The target has a broken escape or a forbidden character.";
    TargetTooLong "target-too-long" "The target is longer than what is keyed.";
    Upgrade "upgrade" "The request asks for another protocol.";
    Range "range" "The request asks for a part.";
    Precondition "precondition" "The request has a condition that only the origin can judge.";
    Expect "expect" "The request expects something of the origin first.";
    BadRequest "bad-request" "The request could not be understood.";
    Misdirected "misdirected" "The host is not served here.";
    Loop "loop" "The request came back to this proxy.";
    ConnectFailed "connect-failed" "The upstream could not be reached.";
    UpstreamTimeout "upstream-timeout" "The upstream did not answer in time.";
    UpstreamBroken "upstream-broken" "The upstream's answer could not be understood or broke off.";
    UpstreamTls "upstream-tls" "No secure connection to the upstream could be made.";
    Overloaded "overloaded" "Too many requests are in progress.";
    Internal "internal" "The proxy is at fault.";
}
