//! RFC 9875.

use http::{Method, StatusCode};
use larder_policy::{Flags, cache_groups, invalidated_groups};

use crate::support::{fields, kept};

#[test]
fn groups_are_a_list_of_strings_or_nothing() {
    // value, groups
    let rows: [(&str, &[&str]); 19] = [
        ("\"a\"", &["a"]),
        ("\"a\", \"b\"", &["a", "b"]),
        ("\"A\", \"a\"", &["A", "a"]),
        ("\"a\";p=1;q", &["a"]),
        ("  \"a\"  ,\t\"b\" ", &["a", "b"]),
        ("\"a, b\"", &["a, b"]),
        ("\"a\\\"b\\\\\"", &["a\"b\\"]),
        ("\"\"", &[""]),
        ("", &[]),
        ("a", &[]),
        ("\"a\", b", &[]),
        ("\"a\", 1", &[]),
        ("\"a\", ?1", &[]),
        ("(\"a\" \"b\")", &[]),
        ("\"a\",", &[]),
        ("\"a", &[]),
        ("\"a\" \"b\"", &[]),
        ("'a'", &[]),
        (":YQ==:", &[]),
    ];
    for (value, expected) in rows {
        let response = fields(&format!("Cache-Groups: {value}"));
        assert_eq!(cache_groups(&response), expected, "{value}");
        let response = fields(&format!("Cache-Group-Invalidation: {value}"));
        let got = invalidated_groups(&Method::POST, StatusCode::OK, &response);
        assert_eq!(got, expected, "{value}");
    }
    let lines = fields("Cache-Groups: \"a\"\nCache-Groups: \"b\"");
    assert_eq!(cache_groups(&lines), ["a", "b"]);
    assert_eq!(cache_groups(&fields("")), [""; 0]);
}

#[test]
fn as_many_and_as_long_ones_as_the_standard_asks_for_count() {
    for (count, length, counted) in [
        (32, 32, 32),
        (127, 1, 127),
        (128, 1, 128),
        (129, 1, 128),
        (1, 5000, 1),
    ] {
        let group = format!("\"{}\"", "g".repeat(length));
        let response = fields(&format!("Cache-Groups: {}", vec![group; count].join(", ")));
        let groups = cache_groups(&response);
        assert_eq!((groups.len(), groups[0].len()), (counted, length));
    }
}

#[test]
fn only_an_unsafe_request_that_succeeded_invalidates() {
    let response = fields("Cache-Group-Invalidation: \"a\"");
    for (method, status, does) in [
        (Method::POST, 200, true),
        (Method::DELETE, 204, true),
        (Method::PUT, 303, true),
        (Method::PUT, 399, true),
        (Method::PUT, 400, false),
        (Method::POST, 500, false),
        (Method::GET, 200, false),
        (Method::HEAD, 200, false),
        (Method::OPTIONS, 200, false),
    ] {
        let status = StatusCode::from_u16(status).expect("a status");
        let groups = invalidated_groups(&method, status, &response);
        assert_eq!(!groups.is_empty(), does, "{method} {status}");
    }
}

#[test]
fn what_is_kept_remembers_whether_it_has_groups() {
    for (field, grouped) in [
        ("Cache-Groups: \"a\"", true),
        ("Cache-Groups: a", false),
        ("X: 1", false),
    ] {
        let flags = kept(&format!("Cache-Control: max-age=60\n{field}")).flags;
        assert_eq!(flags.contains(Flags::GROUPED), grouped, "{field}");
    }
}
