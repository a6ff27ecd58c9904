//! RFC 9110 §9.3.3: answers to `POST` that a later `GET` may have.

use std::time::Duration;

use http::StatusCode;
use larder_policy::{Exchange, Identity, NotStorable, Post, Route, Rules, Storable, storable_post};

use crate::support::{at, fields, rfc, safe};

use NotStorable as No;

const ITSELF: &str = "Content-Location: /a?b\nCache-Control: max-age=60";

fn decided(
    request: &str,
    status: u16,
    response: &str,
    rules: &Rules,
    route: &Route,
) -> Option<NotStorable> {
    let headers = fields(request);
    let post = Post {
        target: "/a?b",
        scheme: "http",
        authority: "host:8000",
        headers: &headers,
    };
    let times = Exchange {
        request_time: at(0),
        response_time: at(0),
    };
    let status = StatusCode::from_u16(status).expect("a status");
    match storable_post(&post, status, &fields(response), times, rules, route) {
        Storable::Yes(_) => None,
        Storable::No(why) => Some(why),
    }
}

#[test]
fn an_answer_that_is_the_target_s_own_and_says_how_long_it_is_fresh_is_kept() {
    // status, response, why not
    let rows = [
        (200, ITSELF, None),
        (200, "Content-Location: /a?b\nExpires: {+60}", None),
        (
            200,
            "Content-Location: /a?b\nCache-Control: s-maxage=60",
            None,
        ),
        (
            200,
            "Content-Location: /a?b\nCDN-Cache-Control: max-age=60",
            None,
        ),
        (200, "Content-Location: ?b\nCache-Control: max-age=60", None),
        (
            200,
            "Content-Location: //HOST:8000/a?b\nCache-Control: max-age=60",
            None,
        ),
        (
            200,
            "Content-Location: http://host:8000/a?b\nCache-Control: max-age=60",
            None,
        ),
        // elsewhere, or nowhere
        (200, "Cache-Control: max-age=60", Some(No::Method)),
        (
            200,
            "Content-Location: /a\nCache-Control: max-age=60",
            Some(No::Method),
        ),
        (
            200,
            "Content-Location: /a?B\nCache-Control: max-age=60",
            Some(No::Method),
        ),
        (
            200,
            "Content-Location: http://other:8000/a?b\nCache-Control: max-age=60",
            Some(No::Method),
        ),
        (
            200,
            "Content-Location: https://host:8000/a?b\nCache-Control: max-age=60",
            Some(No::Method),
        ),
        (
            200,
            "Content-Location: /a?b\nContent-Location: /c\nCache-Control: max-age=60",
            Some(No::Method),
        ),
        // no word, or a guess, on freshness
        (200, "Content-Location: /a?b", Some(No::NoFreshness)),
        (
            200,
            "Content-Location: /a?b\nCache-Control: public\nETag: \"a\"",
            Some(No::NoFreshness),
        ),
        (
            200,
            "Content-Location: /a?b\nLast-Modified: {-9999}",
            Some(No::NoFreshness),
        ),
        (
            200,
            "Content-Location: /a?b\nExpires: {0}",
            Some(No::NoFreshness),
        ),
        (
            200,
            "Content-Location: /a?b\nCache-Control: max-age=60, no-store",
            Some(No::NoStore),
        ),
        (
            200,
            "Content-Location: /a?b\nCache-Control: max-age=60, private",
            Some(No::Private),
        ),
        (
            200,
            "Content-Location: /a?b\nCache-Control: max-age=60\nVary: *",
            Some(No::VaryAny),
        ),
        // another status
        (201, ITSELF, Some(No::Status)),
        (204, ITSELF, Some(No::Status)),
        (206, ITSELF, Some(No::Status)),
        (303, ITSELF, Some(No::Status)),
        (404, ITSELF, Some(No::Status)),
    ];
    for (status, response, expected) in rows {
        for rules in [rfc(), safe()] {
            let got = decided("", status, response, &rules, &Route::default());
            assert_eq!(got, expected, "{status} {response:?}");
        }
    }
}

#[test]
fn what_a_get_would_not_carry_may_have_shaped_the_answer() {
    // request, why not in profile rfc, why not in profile safe
    let rows = [
        ("Content-Type: text/plain", None, None),
        (
            "X-Forwarded-Host: evil.example",
            Some(No::Method),
            Some(No::Method),
        ),
        (
            "X-HTTP-Method-Override: DELETE",
            Some(No::Method),
            Some(No::Method),
        ),
        ("If-Match: \"a\"", Some(No::Method), Some(No::Method)),
        ("Range: bytes=0-1", Some(No::Method), Some(No::Method)),
        (
            "Connection: accept\nAccept: a",
            Some(No::Method),
            Some(No::Method),
        ),
        ("Connection: close", None, None),
        (
            "Cache-Control: no-store",
            Some(No::RequestNoStore),
            Some(No::RequestNoStore),
        ),
        (
            "Authorization: me",
            Some(No::Authorization),
            Some(No::Authorization),
        ),
        ("Cookie: me", None, Some(No::IdentityNotShared)),
    ];
    for (request, in_rfc, in_safe) in rows {
        for (rules, expected) in [(rfc(), in_rfc), (safe(), in_safe)] {
            let got = decided(request, 200, ITSELF, &rules, &Route::default());
            assert_eq!(got, expected, "{request}");
        }
    }
    let shared = "Content-Location: /a?b\nCache-Control: s-maxage=60";
    let route = Route::default();
    assert_eq!(
        decided("Authorization: me", 200, shared, &safe(), &route),
        None
    );
}

#[test]
fn a_route_neither_guesses_for_a_post_nor_hides_whom_it_names() {
    let ttl = Route {
        ttl: Some(Duration::from_secs(60)),
        ..Route::default()
    };
    let silent = "Content-Location: /a?b\nETag: \"a\"";
    assert_eq!(
        decided("", 200, silent, &safe(), &ttl),
        Some(No::NoFreshness)
    );
    // A GET's fields are stripped on the way; a POST's are not.
    let strip = Route {
        identity: Identity::Strip,
        ..Route::default()
    };
    assert_eq!(
        decided("Cookie: me", 200, ITSELF, &safe(), &strip),
        Some(No::IdentityNotShared)
    );
    let keyed = Route {
        keyed_fields: vec!["x-forwarded-host".parse().expect("a name")],
        ..Route::default()
    };
    assert_eq!(
        decided("X-Forwarded-Host: a", 200, ITSELF, &safe(), &keyed),
        None
    );
}

#[test]
fn a_cookie_is_stored_as_for_a_get() {
    let cookie = "Content-Location: /a?b\nCache-Control: max-age=60\nSet-Cookie: a=1";
    let route = Route::default();
    assert_eq!(decided("", 200, cookie, &rfc(), &route), None);
    assert_eq!(
        decided("", 200, cookie, &safe(), &route),
        Some(No::SetCookie)
    );
}
