//! A stable code and a sentence for everything that can happen to a request.
//!
//! The codes are names in other people's dashboards: add, don't rename.

use crate::outcome::{Failure, Forward, StaleWhy, Stored};
use crate::request::Pass;
use crate::storable::NotStorable;
use crate::target::Unkeyable;

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
    StaleIfError "stale-if-error" "The upstream failed, or had failed lately and was not asked, and a stale response stood in.";
    MaxStale "max-stale" "The request accepts a response this stale.";
    StaleCollapsed "stale-collapsed" "A stale response was served while another request validates it.";
    Validated "validated" "The upstream confirmed the stored response.";
    UriMiss "uri-miss" "Nothing was stored for this URL.";
    VaryMiss "vary-miss" "Nothing was stored for this URL with these selecting fields.";
    Expired "stale" "The stored response needed validation, and the upstream sent another.";
    PartStored "part-stored" "Only a part of what is asked for was stored.";
    RequestDirective "request" "The request's own directives asked for the upstream's answer.";
    CallerNamed "caller-named" "The request names its caller, and the stored response is not marked as shared.";
    HitForMiss "hit-for-miss" "Recent answers of this URL could not be stored, so this request did not wait for one.";
    NoStorage "no-storage" "No store could be asked.";
    Unverified "unverified" "The stored response may have been purged: the log of purges was lost, or can't be followed.";
    AnswerMethod "answer-method" "Answers to this method are not stored.";
    Partial "partial" "The answer is a part of the whole, and not one that can be kept.";
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
    Precondition "precondition" "The request has a condition that only the origin can judge.";
    Expect "expect" "The request expects something of the origin first.";
    ConnectionListed "connection-listed" "The Connection field lists a field that is meant for the origin.";
    BadRequest "bad-request" "The request could not be understood.";
    Misdirected "misdirected" "The host is not served here.";
    Loop "loop" "The request came back to this proxy.";
    ConnectFailed "connect-failed" "The upstream could not be reached.";
    UpstreamTimeout "upstream-timeout" "The upstream did not answer in time.";
    UpstreamBroken "upstream-broken" "The upstream's answer could not be understood or broke off.";
    UpstreamTls "upstream-tls" "No secure connection to the upstream could be made.";
    UpstreamAway "upstream-away" "The upstream has not answered lately, so it was not asked.";
    Overloaded "overloaded" "Too many requests are in progress.";
    Internal "internal" "The proxy is at fault.";
}

pub(crate) fn forwarded(why: Forward) -> Reason {
    match why {
        Forward::UriMiss => Reason::UriMiss,
        Forward::VaryMiss => Reason::VaryMiss,
        Forward::Stale => Reason::Expired,
        Forward::Partial => Reason::PartStored,
        Forward::Request => Reason::RequestDirective,
        Forward::CallerNamed => Reason::CallerNamed,
        Forward::HitForMiss => Reason::HitForMiss,
        Forward::NoStorage => Reason::NoStorage,
        Forward::Unverified => Reason::Unverified,
    }
}

pub(crate) fn stale(why: StaleWhy) -> Reason {
    match why {
        StaleWhy::WhileRevalidate => Reason::StaleWhileRevalidate,
        StaleWhy::IfError(_) => Reason::StaleIfError,
        StaleWhy::MaxStale => Reason::MaxStale,
        StaleWhy::Collapsed => Reason::StaleCollapsed,
    }
}

/// None for an answer that was kept.
pub(crate) fn not_kept(stored: Stored) -> Option<Reason> {
    Some(match stored {
        Stored::Yes => return None,
        Stored::No(why) => not_storable(why),
        Stored::TooLarge => Reason::TooLarge,
        Stored::Aborted => Reason::Aborted,
        Stored::Invalidated => Reason::Invalidated,
        Stored::Capacity => Reason::Capacity,
    })
}

fn not_storable(why: NotStorable) -> Reason {
    match why {
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

pub(crate) fn passed(why: Pass) -> Reason {
    match why {
        Pass::Method => Reason::Method,
        Pass::Body => Reason::Body,
        Pass::Target(Unkeyable::DotSegment) => Reason::DotSegment,
        Pass::Target(Unkeyable::NotOriginForm) => Reason::TargetForm,
        Pass::Target(Unkeyable::BadEncoding) => Reason::TargetEncoding,
        Pass::Target(Unkeyable::TooLong) => Reason::TargetTooLong,
        Pass::Upgrade => Reason::Upgrade,
        Pass::Precondition => Reason::Precondition,
        Pass::Expect => Reason::Expect,
        Pass::ConnectionListed => Reason::ConnectionListed,
    }
}

pub(crate) fn failed(why: Failure) -> Reason {
    match why {
        Failure::BadRequest => Reason::BadRequest,
        Failure::Misdirected => Reason::Misdirected,
        Failure::Loop => Reason::Loop,
        Failure::ConnectFailed => Reason::ConnectFailed,
        Failure::UpstreamTimeout => Reason::UpstreamTimeout,
        Failure::UpstreamBroken => Reason::UpstreamBroken,
        Failure::UpstreamTls => Reason::UpstreamTls,
        Failure::UpstreamAway { .. } => Reason::UpstreamAway,
        Failure::Overloaded => Reason::Overloaded,
        Failure::Internal => Reason::Internal,
    }
}
