//! RFC 9111 §3: one row per clause and per side of it.

use std::time::Duration;

use http::Method;
use larder_policy::{Flags, Identity, NotStorable, Route, fields_to_store};

use crate::support::{Case, fields, rfc, safe};

use NotStorable as No;

/// (request, status, response, why not in profile rfc, why not in profile safe)
type Row = (&'static str, u16, &'static str, Option<No>, Option<No>);

fn check(rows: &[Row]) {
    for &(request, status, response, in_rfc, in_safe) in rows {
        for (rules, expected) in [(rfc(), in_rfc), (safe(), in_safe)] {
            let profile = rules.profile;
            let case = Case {
                request,
                status,
                rules,
                ..Case::default()
            };
            assert_eq!(
                case.refused(response),
                expected,
                "{profile}: {request:?} {status} {response:?}"
            );
        }
    }
}

#[test]
fn the_status_decides_first() {
    check(&[
        ("", 200, "Cache-Control: max-age=60", None, None),
        (
            "",
            100,
            "Cache-Control: max-age=60",
            Some(No::Status),
            Some(No::Status),
        ),
        (
            "",
            103,
            "Cache-Control: max-age=60",
            Some(No::Status),
            Some(No::Status),
        ),
        (
            "",
            206,
            "Cache-Control: max-age=60",
            Some(No::Partial),
            Some(No::Partial),
        ),
        (
            "",
            304,
            "Cache-Control: max-age=60",
            Some(No::Status),
            Some(No::Status),
        ),
        // any final status with explicit freshness
        ("", 201, "Cache-Control: max-age=60", None, None),
        ("", 302, "Expires: {+60}", None, None),
        ("", 403, "Cache-Control: s-maxage=60", None, None),
        ("", 503, "Cache-Control: max-age=60", None, None),
        ("", 599, "Cache-Control: max-age=60", None, None),
        ("", 302, "ETag: \"a\"", Some(No::Status), Some(No::Status)),
        ("", 302, "Cache-Control: public\nETag: \"a\"", None, None),
        // those that poison
        ("", 400, "Cache-Control: max-age=60", None, Some(No::Status)),
        ("", 413, "Cache-Control: max-age=60", None, Some(No::Status)),
        ("", 414, "Cache-Control: max-age=60", None, Some(No::Status)),
        ("", 431, "Cache-Control: max-age=60", None, Some(No::Status)),
        ("", 501, "Cache-Control: max-age=60", None, Some(No::Status)),
        ("", 404, "Cache-Control: max-age=60", None, None),
    ]);
}

#[test]
fn directives_of_either_side_forbid() {
    check(&[
        (
            "",
            200,
            "Cache-Control: max-age=60, no-store",
            Some(No::NoStore),
            Some(No::NoStore),
        ),
        (
            "",
            200,
            "Cache-Control: public, max-age=60, private",
            Some(No::Private),
            Some(No::Private),
        ),
        (
            "",
            200,
            "Cache-Control: max-age=60, private=\"x-a\"",
            None,
            None,
        ),
        (
            "Cache-Control: no-store",
            200,
            "Cache-Control: max-age=60",
            Some(No::RequestNoStore),
            Some(No::RequestNoStore),
        ),
        (
            "Cache-Control: no-cache",
            200,
            "Cache-Control: max-age=60",
            None,
            None,
        ),
        // must-understand
        (
            "",
            200,
            "Cache-Control: max-age=60, must-understand, no-store",
            None,
            None,
        ),
        (
            "",
            200,
            "Cache-Control: max-age=60, must-understand",
            None,
            None,
        ),
        (
            "",
            599,
            "Cache-Control: max-age=60, must-understand, no-store",
            Some(No::NotUnderstood),
            Some(No::NotUnderstood),
        ),
        (
            "",
            599,
            "Cache-Control: max-age=60, must-understand",
            Some(No::NotUnderstood),
            Some(No::NotUnderstood),
        ),
        (
            "",
            200,
            "Cache-Control: max-age=60\nVary: *",
            Some(No::VaryAny),
            Some(No::VaryAny),
        ),
        (
            "",
            200,
            "Cache-Control: max-age=60\nVary: accept, *",
            Some(No::VaryAny),
            Some(No::VaryAny),
        ),
    ]);
}

#[test]
fn an_answer_to_a_named_caller_must_be_marked_as_shared() {
    let named = Some(No::IdentityNotShared);
    let auth = Some(No::Authorization);
    check(&[
        (
            "Authorization: x",
            200,
            "Cache-Control: max-age=60",
            auth,
            auth,
        ),
        (
            "Authorization: x",
            200,
            "Cache-Control: max-age=60, public",
            None,
            None,
        ),
        (
            "Authorization: x",
            200,
            "Cache-Control: s-maxage=60",
            None,
            None,
        ),
        // §3.5 takes must-revalidate for leave; safe wants to hear that it is for everybody.
        (
            "Authorization: x",
            200,
            "Cache-Control: max-age=60, must-revalidate",
            None,
            named,
        ),
        (
            "Authorization: x",
            200,
            "Cache-Control: max-age=60, proxy-revalidate",
            auth,
            auth,
        ),
        // RFC 9213 widens nothing in §3.5.
        (
            "Authorization: x",
            200,
            "CDN-Cache-Control: max-age=60",
            auth,
            auth,
        ),
        (
            "Authorization: x",
            200,
            "CDN-Cache-Control: max-age=60, public",
            None,
            None,
        ),
        ("Cookie: a=b", 200, "Cache-Control: max-age=60", None, named),
        (
            "X-Api-Key: k",
            200,
            "Cache-Control: max-age=60",
            None,
            named,
        ),
        ("Cookie: a=b", 200, "Expires: {+60}", None, named),
        (
            "Cookie: a=b",
            200,
            "Cache-Control: max-age=60, must-revalidate",
            None,
            named,
        ),
        (
            "Cookie: a=b",
            200,
            "Cache-Control: max-age=60, public",
            None,
            None,
        ),
        ("Cookie: a=b", 200, "Cache-Control: s-maxage=60", None, None),
        (
            "Cookie: a=b",
            200,
            "CDN-Cache-Control: max-age=60",
            None,
            None,
        ),
        ("Accept: */*", 200, "Cache-Control: max-age=60", None, None),
    ]);
}

#[test]
fn a_caller_whose_name_is_stripped_or_keyed_is_not_named() {
    for identity in [Identity::Strip, Identity::Key] {
        for request in ["Authorization: x", "Cookie: a=b"] {
            let route = Route {
                identity,
                ..Route::default()
            };
            let case = Case {
                request,
                route,
                ..Case::default()
            };
            assert_eq!(
                case.refused("Cache-Control: max-age=60"),
                None,
                "{identity:?} {request}"
            );
        }
    }
}

#[test]
fn a_lookup_that_forgot_the_caller_is_not_believed() {
    let case = Case {
        request: "Cookie: a=b",
        ..Case::default()
    };
    let storable = larder_policy::storable(
        &Method::GET,
        &fields(case.request),
        &larder_policy::Lookup::default(),
        http::StatusCode::OK,
        &fields("Cache-Control: max-age=60"),
        larder_policy::Exchange {
            request_time: crate::support::at(0),
            response_time: crate::support::at(0),
        },
        &case.rules,
        &case.route,
    );
    assert_eq!(storable, larder_policy::Storable::No(No::IdentityNotShared));
}

#[test]
fn cookies_are_kept_by_the_letter_only() {
    let cookie = Some(No::SetCookie);
    check(&[
        (
            "",
            200,
            "Cache-Control: max-age=60\nSet-Cookie: a=b",
            None,
            cookie,
        ),
        (
            "",
            200,
            "Cache-Control: public, s-maxage=60\nSet-Cookie: a=b",
            None,
            cookie,
        ),
        (
            "",
            200,
            "Cache-Control: max-age=60, private=\"set-cookie\"\nSet-Cookie: a=b",
            None,
            cookie,
        ),
    ]);
}

#[test]
fn what_could_never_be_used_is_not_kept() {
    let useless = Some(No::NoFreshness);
    check(&[
        ("", 200, "", useless, useless),
        ("", 200, "Cache-Control: max-age=0", useless, useless),
        ("", 200, "Cache-Control: max-age=1", None, None),
        ("", 200, "Cache-Control: max-age=5\nAge: 4", None, None),
        (
            "",
            200,
            "Cache-Control: max-age=5\nAge: 5",
            useless,
            useless,
        ),
        (
            "",
            200,
            "Cache-Control: max-age=5\nAge: 6",
            useless,
            useless,
        ),
        (
            "",
            200,
            "Cache-Control: max-age=5, stale-if-error=1\nAge: 5",
            None,
            None,
        ),
        (
            "",
            200,
            "Cache-Control: max-age=0, stale-while-revalidate=5",
            None,
            None,
        ),
        (
            "",
            200,
            "Cache-Control: max-age=0, must-revalidate, stale-if-error=5",
            useless,
            useless,
        ),
        (
            "",
            200,
            "Cache-Control: max-age=60, no-cache",
            useless,
            useless,
        ),
        ("", 200, "Cache-Control: no-cache\nETag: \"a\"", None, None),
        (
            "",
            200,
            "Cache-Control: no-cache\nLast-Modified: {-5}",
            None,
            None,
        ),
        (
            "",
            200,
            "Cache-Control: no-cache\nLast-Modified: once",
            useless,
            useless,
        ),
        ("", 200, "Cache-Control: no-cache\nETag:", useless, useless),
        ("", 200, "ETag: \"a\"", None, None),
    ]);
}

#[test]
fn only_answers_to_get_are_kept() {
    for method in [
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::OPTIONS,
    ] {
        let case = Case {
            method,
            ..Case::default()
        };
        assert_eq!(case.refused("Cache-Control: max-age=60"), Some(No::Method));
    }
}

#[test]
fn stale_windows_come_from_the_response_then_the_route_then_the_profile_unless_forbidden() {
    let route = Route {
        stale_while_revalidate: Some(Duration::from_secs(7)),
        stale_if_error: Some(Duration::from_secs(8)),
        ..Route::default()
    };
    // response, (while revalidate, if error): without a route in rfc, in safe, with the route in safe
    let rows = [
        ("max-age=60", (0, 0), (0, 600), (7, 8)),
        (
            "max-age=60, stale-while-revalidate=3",
            (3, 0),
            (3, 600),
            (3, 8),
        ),
        ("max-age=60, stale-if-error=4", (0, 4), (0, 4), (7, 4)),
        ("max-age=60, stale-if-error=0", (0, 0), (0, 0), (7, 0)),
        ("max-age=60, stale-if-error=x", (0, 0), (0, 0), (7, 0)),
        (
            "max-age=60, stale-if-error=4, must-revalidate",
            (0, 0),
            (0, 0),
            (0, 0),
        ),
        (
            "max-age=60, stale-if-error=4, proxy-revalidate",
            (0, 0),
            (0, 0),
            (0, 0),
        ),
        (
            "s-maxage=60, stale-while-revalidate=3",
            (0, 0),
            (0, 0),
            (0, 0),
        ),
        (
            "max-age=60, no-cache, stale-if-error=4",
            (0, 0),
            (0, 0),
            (0, 0),
        ),
        (
            "max-age=60, no-cache=\"x-a\", stale-if-error=4",
            (0, 4),
            (0, 4),
            (7, 4),
        ),
    ];
    for (response, plain_rfc, plain_safe, routed) in rows {
        for (rules, route, expected) in [
            (rfc(), Route::default(), plain_rfc),
            (safe(), Route::default(), plain_safe),
            (safe(), route.clone(), routed),
        ] {
            let profile = rules.profile;
            let case = Case {
                rules,
                route,
                ..Case::default()
            };
            let policy = case.kept(&format!("ETag: \"a\"\nCache-Control: {response}"));
            let windows = (policy.stale_while_revalidate_s, policy.stale_if_error_s);
            assert_eq!(windows, expected, "{profile}: {response}");
        }
    }
}

#[test]
fn revalidation_is_remembered_for_every_directive_that_demands_it() {
    for directive in [
        "must-revalidate",
        "proxy-revalidate",
        "s-maxage=5",
        "no-cache",
    ] {
        let policy = crate::support::kept(&format!(
            "ETag: \"a\"\nCache-Control: max-age=9, {directive}"
        ));
        assert!(policy.flags.contains(Flags::MUST_REVALIDATE), "{directive}");
    }
}

#[test]
fn fields_of_one_connection_and_listed_ones_are_not_kept() {
    let response = fields(
        "Connection: x-once, close
        X-Once: 1
        Keep-Alive: 5
        Proxy-Authenticate: basic
        Proxy-Authentication-Info: x
        Transfer-Encoding: chunked
        Trailer: x-t
        Upgrade: h2c
        Cache-Control: private=\"x-mine, x-yours\", no-cache=x-fresh
        X-Mine: 1
        X-Yours: 1
        X-Fresh: 1
        X-Kept: 1
        X-Kept: 2
        Set-Cookie: a=b",
    );
    let expected = fields(
        "Cache-Control: private=\"x-mine, x-yours\", no-cache=x-fresh
        X-Kept: 1
        X-Kept: 2
        Set-Cookie: a=b",
    );
    assert_eq!(fields_to_store(&response), expected);
}
