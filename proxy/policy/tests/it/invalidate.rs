//! RFC 9111 §4.4.

use http::{Method, StatusCode};
use larder_policy::{invalidates, invalidation_targets};

use crate::support::fields;

#[test]
fn what_may_have_changed_something_invalidates_unless_it_failed() {
    let rows = [
        ("POST", 200, true),
        ("PUT", 204, true),
        ("DELETE", 299, true),
        ("PATCH", 300, true),
        ("POST", 303, true),
        ("POST", 399, true),
        ("POST", 400, false),
        ("POST", 500, false),
        ("POST", 199, false),
        ("M-SEARCH", 200, true),
        ("UNHEARDOF", 200, true),
        ("post", 200, true),
        ("get", 200, true),
        ("GET", 200, false),
        ("HEAD", 200, false),
        ("OPTIONS", 200, false),
        ("TRACE", 200, false),
        ("QUERY", 200, false),
        ("PROPFIND", 207, false),
    ];
    for (method, status, expected) in rows {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let status = StatusCode::from_u16(status).expect("a status");
        assert_eq!(invalidates(&method, status), expected, "{method} {status}");
    }
}

#[test]
fn references_on_the_same_origin_are_resolved_and_others_left_alone() {
    // reference, as seen from http://host:8000/a/b?c
    let rows = [
        ("/x", Some("/x")),
        ("/x?y=1", Some("/x?y=1")),
        ("/x?y#z", Some("/x?y")),
        ("/", Some("/")),
        ("x", Some("/a/x")),
        ("./x", Some("/a/x")),
        ("../x", Some("/x")),
        ("../../../x", Some("/x")),
        (".", Some("/a/")),
        ("..", Some("/")),
        ("x/", Some("/a/x/")),
        ("/x//y", Some("/x//y")),
        ("/x/./y/../z", Some("/x/z")),
        ("/x//.", Some("/x//")),
        ("?z", Some("/a/b?z")),
        ("x?u=../..", Some("/a/x?u=../..")),
        ("x:1/y", None),
        ("", Some("/a/b")),
        ("#z", Some("/a/b")),
        ("/a/b?c", None), // the own target
        ("http://host:8000/x", Some("/x")),
        ("HTTP://HOST:8000/x", Some("/x")),
        ("http://host:8000", Some("/")),
        ("http://host:8000?q", Some("/?q")),
        ("//host:8000/x", Some("/x")),
        ("///x", None),
        ("http:///x", None),
        ("http:x", None),
        ("http://host/x", None),
        ("http://host:80/x", None),
        ("https://host:8000/x", None),
        ("http://other:8000/x", None),
        ("http://tsoh:8000/x", None),
        ("//other/x", None),
        ("http://user@host:8000/x", None),
        ("http://host:8000@other/x", None),
        ("http://other\\@host:8000/x", None),
        ("mailto:a@b", None),
    ];
    for (reference, expected) in rows {
        for name in ["Location", "Content-Location"] {
            let response = fields(&format!("{name}: {reference}"));
            let got = invalidation_targets("/a/b?c", "http", "Host:8000", &response);
            let expected: Vec<_> = expected.into_iter().collect();
            assert_eq!(got, expected, "{name}: {reference}");
        }
    }
}

#[test]
fn both_fields_count_and_repeats_do_not() {
    let two = fields("Location: /x\nContent-Location: /y");
    assert_eq!(invalidation_targets("/", "http", "h", &two), ["/x", "/y"]);
    let one = fields("Location: /x\nContent-Location: http://h/x");
    assert_eq!(invalidation_targets("/", "http", "h", &one), ["/x"]);
}
