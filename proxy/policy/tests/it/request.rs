//! What is looked up, and what the upstream sees of it.

use http::header::HeaderName;
use http::{HeaderMap, Method};
use larder_policy::{
    Consideration, Identity, Pass, Route, consider, forwarded_fields, strip_hop_by_hop,
};

use crate::support::{fields, rfc, safe};

fn passed(method: &Method, request: &str, has_body: bool) -> Option<Pass> {
    match consider(
        method,
        &fields(request),
        has_body,
        &safe(),
        &Route::default(),
    ) {
        Consideration::Lookup(_) => None,
        Consideration::Pass(why) => Some(why),
    }
}

#[test]
fn get_and_head_are_looked_up_unless_they_ask_for_more() {
    let rows = [
        ("GET", "", false, None),
        ("HEAD", "", false, None),
        ("POST", "", false, Some(Pass::Method)),
        ("get", "", false, Some(Pass::Method)),
        ("QUERY", "", false, Some(Pass::Method)),
        ("OPTIONS", "", false, Some(Pass::Method)),
        ("GET", "", true, Some(Pass::Body)),
        (
            "GET",
            "Upgrade: websocket\nConnection: upgrade",
            false,
            Some(Pass::Upgrade),
        ),
        (
            "GET",
            "Connection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAMAAABk",
            false,
            None,
        ),
        (
            "GET",
            "Upgrade: h2c, websocket\nConnection: upgrade",
            false,
            Some(Pass::Upgrade),
        ),
        ("GET", "Expect: 100-continue", false, Some(Pass::Expect)),
        ("GET", "Range: bytes=0-1", false, None),
        ("HEAD", "Range: bytes=0-1", false, None),
        ("GET", "If-Range: \"a\"", false, None),
        ("GET", "If-Match: \"a\"", false, Some(Pass::Precondition)),
        (
            "GET",
            "If-Unmodified-Since: {0}",
            false,
            Some(Pass::Precondition),
        ),
        (
            "GET",
            "If-None-Match: \"a\"\nIf-Modified-Since: {0}",
            false,
            None,
        ),
        (
            "GET",
            "Connection: keep-alive, close, te\nTE: trailers",
            false,
            None,
        ),
        (
            "GET",
            "Connection: accept-language\nAccept-Language: de",
            false,
            Some(Pass::ConnectionListed),
        ),
        (
            "GET",
            "Connection: Cookie\nCookie: a=b",
            false,
            Some(Pass::ConnectionListed),
        ),
        ("GET", "Connection: x-absent", false, None),
    ];
    for (method, request, has_body, expected) in rows {
        let name = method;
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        assert_eq!(
            passed(&method, request, has_body),
            expected,
            "{name} {request}"
        );
    }
}

#[test]
fn the_caller_is_named_by_the_listed_fields_where_that_matters() {
    // request, identity, (names the caller, authorization) in safe, in rfc
    let rows = [
        ("", Identity::Default, (false, false), (false, false)),
        (
            "Authorization: x",
            Identity::Default,
            (true, true),
            (false, true),
        ),
        (
            "Cookie: a",
            Identity::Default,
            (true, false),
            (false, false),
        ),
        (
            "X-API-Key: a",
            Identity::Default,
            (true, false),
            (false, false),
        ),
        (
            "Authorization: x",
            Identity::Strip,
            (false, false),
            (false, false),
        ),
        (
            "Authorization: x",
            Identity::Key,
            (false, false),
            (false, false),
        ),
    ];
    for (request, identity, in_safe, in_rfc) in rows {
        for (rules, expected) in [(safe(), in_safe), (rfc(), in_rfc)] {
            let route = Route {
                identity,
                ..Route::default()
            };
            let Consideration::Lookup(lookup) =
                consider(&Method::GET, &fields(request), false, &rules, &route)
            else {
                panic!("passed");
            };
            assert_eq!(
                (lookup.names_caller, lookup.authorization),
                expected,
                "{request} {identity:?} {}",
                rules.profile
            );
        }
    }
}

/// RFC 9111 §3.5 stands whatever the rules call an identity: the field goes to the API, and its answer is for that caller.
#[test]
fn authorization_that_is_no_identity_is_not_taken_away_with_it() {
    for identity in [Identity::Strip, Identity::Key] {
        let route = Route {
            identity,
            ..Route::default()
        };
        let rules = larder_policy::Rules {
            identity_fields: vec![http::HeaderName::from_static("x-session")],
            ..safe()
        };
        let request = fields("Authorization: x");
        let Consideration::Lookup(lookup) = consider(&Method::GET, &request, false, &rules, &route)
        else {
            panic!("passed");
        };
        assert!(lookup.authorization, "{identity:?}");
        let forwarded = forwarded_fields(&request, &rules, &route);
        assert!(forwarded.contains_key("authorization"), "{identity:?}");
    }
}

const REQUEST: &str = "Accept: */*
    Authorization: x
    Cookie: a=b
    Connection: close, te
    TE: trailers
    Keep-Alive: 5
    Proxy-Authorization: x
    X-Forwarded-Host: evil
    X-HTTP-Method-Override: POST
    X-Original-URL: /admin
    Forwarded: host=evil
    If-None-Match: \"a\"
    If-Modified-Since: {0}
    If-Range: \"a\"
    Range: bytes=0-1
    X-Other: 1
    X-Other: 2";

#[test]
fn the_upstream_sees_neither_hops_nor_conditions_nor_poison() {
    let forwarded = forwarded_fields(&fields(REQUEST), &safe(), &Route::default());
    assert_eq!(
        forwarded,
        fields("Accept: */*\nAuthorization: x\nCookie: a=b\nX-Other: 1\nX-Other: 2")
    );
}

#[test]
fn a_route_keeps_what_it_keys_and_strips_who_asks() {
    let route = Route {
        identity: Identity::Strip,
        keyed_fields: vec![HeaderName::from_static("x-forwarded-host")],
        ..Route::default()
    };
    let forwarded = forwarded_fields(&fields(REQUEST), &safe(), &route);
    assert_eq!(
        forwarded,
        fields("Accept: */*\nX-Forwarded-Host: evil\nX-Other: 1\nX-Other: 2")
    );
}

#[test]
fn fields_of_one_connection_are_stripped_with_those_it_lists() {
    let mut headers = fields(
        "Connection: X-A, \"bad\nConnection: x-b\nX-A: 1\nX-B: 1\nX-C: 1\nTransfer-Encoding: chunked\nTrailer: x\nUpgrade: h2c\nProxy-Connection: x\nHTTP2-Settings: x",
    );
    strip_hop_by_hop(&mut headers);
    assert_eq!(headers, fields("X-C: 1"));
    let mut none = HeaderMap::new();
    strip_hop_by_hop(&mut none);
    assert!(none.is_empty());
}
