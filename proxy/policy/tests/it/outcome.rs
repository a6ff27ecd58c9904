//! One value, every reader: `X-Cache`, `Cache-Status`, the reason's code.

use std::collections::HashSet;

use larder_policy::{
    ErrorCause, Failure, Forward, NotStorable, Outcome, Pass, Reason, StaleWhy, Stored, Unkeyable,
    XCache,
};

fn miss(fwd: Forward, stored: Stored) -> Outcome {
    Outcome::Miss {
        fwd,
        status: 200,
        stored,
        collapsed: false,
    }
}

#[test]
fn every_outcome_says_the_same_to_everybody() {
    let private = Stored::No(NotStorable::Private);
    let collapsed = Outcome::Miss {
        fwd: Forward::UriMiss,
        status: 200,
        stored: Stored::Yes,
        collapsed: true,
    };
    let rows = [
        (
            Outcome::Hit { ttl_s: 287 },
            "HIT",
            "fresh",
            "larder; hit; ttl=287",
        ),
        (
            Outcome::Stale {
                ttl_s: -12,
                why: StaleWhy::WhileRevalidate,
            },
            "STALE",
            "stale-while-revalidate",
            "larder; hit; ttl=-12; detail=stale-while-revalidate",
        ),
        (
            Outcome::Stale {
                ttl_s: -1,
                why: StaleWhy::IfError(ErrorCause::Status(503)),
            },
            "STALE",
            "stale-if-error",
            "larder; hit; ttl=-1; detail=stale-if-error",
        ),
        (
            Outcome::Revalidated {
                fwd: Forward::Stale,
                status: 304,
                ttl_s: 300,
                stored: true,
            },
            "REVALIDATED",
            "validated",
            "larder; fwd=stale; fwd-status=304; stored; ttl=300",
        ),
        (
            Outcome::Revalidated {
                fwd: Forward::Request,
                status: 304,
                ttl_s: -1,
                stored: false,
            },
            "REVALIDATED",
            "validated",
            "larder; fwd=request; fwd-status=304; ttl=-1",
        ),
        (
            Outcome::Revalidated {
                fwd: Forward::Unverified,
                status: 304,
                ttl_s: 300,
                stored: true,
            },
            "REVALIDATED",
            "unverified",
            "larder; fwd=stale; fwd-status=304; stored; ttl=300; detail=unverified",
        ),
        (
            Outcome::HitUnverified { ttl_s: 287 },
            "HIT",
            "unverified",
            "larder; hit; ttl=287; detail=unverified",
        ),
        (
            miss(Forward::Unverified, Stored::Yes),
            "MISS",
            "unverified",
            "larder; fwd=stale; fwd-status=200; stored; detail=unverified",
        ),
        (
            miss(Forward::UriMiss, Stored::Yes),
            "MISS",
            "uri-miss",
            "larder; fwd=uri-miss; fwd-status=200; stored",
        ),
        (
            collapsed,
            "MISS",
            "uri-miss",
            "larder; fwd=uri-miss; fwd-status=200; collapsed",
        ),
        (
            miss(Forward::VaryMiss, Stored::Yes),
            "MISS",
            "vary-miss",
            "larder; fwd=vary-miss; fwd-status=200; stored",
        ),
        (
            miss(Forward::Stale, Stored::Yes),
            "MISS",
            "stale",
            "larder; fwd=stale; fwd-status=200; stored",
        ),
        (
            miss(Forward::Request, Stored::Yes),
            "MISS",
            "request",
            "larder; fwd=request; fwd-status=200; stored",
        ),
        (
            miss(Forward::UriMiss, private),
            "MISS",
            "private",
            "larder; fwd=uri-miss; fwd-status=200; detail=private",
        ),
        (
            miss(Forward::CallerNamed, Stored::Yes),
            "MISS",
            "caller-named",
            "larder; fwd=request; fwd-status=200; stored; detail=caller-named",
        ),
        (
            miss(Forward::HitForMiss, Stored::TooLarge),
            "MISS",
            "too-large",
            "larder; fwd=uri-miss; fwd-status=200; detail=too-large",
        ),
        (
            Outcome::OnlyIfCached,
            "MISS",
            "only-if-cached",
            "larder; detail=only-if-cached",
        ),
        (
            Outcome::Bypass {
                pass: Pass::Method,
                status: Some(201),
            },
            "BYPASS",
            "method",
            "larder; fwd=method; fwd-status=201",
        ),
        (
            Outcome::Bypass {
                pass: Pass::Target(Unkeyable::DotSegment),
                status: None,
            },
            "BYPASS",
            "dot-segment",
            "larder; fwd=bypass; detail=dot-segment",
        ),
        (
            Outcome::Error(Failure::UpstreamTimeout),
            "ERROR",
            "upstream-timeout",
            "larder; detail=upstream-timeout",
        ),
    ];
    for (outcome, x_cache, reason, cache_status) in rows {
        assert_eq!(outcome.x_cache().as_str(), x_cache, "{outcome:?}");
        assert_eq!(outcome.reason().as_str(), reason, "{outcome:?}");
        assert_eq!(outcome.cache_status("larder"), cache_status, "{outcome:?}");
    }
}

#[test]
fn a_member_is_always_a_structured_field() {
    let outcome = Outcome::Stale {
        ttl_s: i64::MIN,
        why: StaleWhy::MaxStale,
    };
    for name in [
        "larder",
        "edge-1.example",
        "my cache",
        "1st",
        "a\"b\\c",
        "é\n",
        "",
    ] {
        let member = Outcome::OnlyIfCached.cache_status(name);
        assert!(
            sfv::Parser::new(&member).parse::<sfv::List>().is_ok(),
            "{member}"
        );
    }
    assert_eq!(outcome.x_cache(), XCache::Stale);
    assert_eq!(
        Outcome::OnlyIfCached.cache_status("a \"b\""),
        "\"a \\\"b\\\"\"; detail=only-if-cached"
    );
}

#[test]
fn codes_are_stable_tokens_without_repeats_and_each_has_a_sentence() {
    let codes: HashSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(codes.len(), Reason::ALL.len());
    for reason in Reason::ALL {
        let code = reason.as_str();
        assert!(
            code.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'),
            "{code}"
        );
        assert!(reason.text().ends_with('.'), "{code}");
    }
}

#[test]
fn failures_have_the_status_they_mean() {
    let rows = [
        (Failure::BadRequest, 400),
        (Failure::Misdirected, 421),
        (Failure::Internal, 500),
        (Failure::ConnectFailed, 502),
        (Failure::UpstreamBroken, 502),
        (Failure::UpstreamTls, 502),
        (Failure::UpstreamAway { silent: false }, 502),
        (Failure::UpstreamAway { silent: true }, 504),
        (Failure::Overloaded, 503),
        (Failure::UpstreamTimeout, 504),
        (Failure::Loop, 508),
    ];
    for (failure, status) in rows {
        assert_eq!(failure.status(), status, "{failure:?}");
    }
}
