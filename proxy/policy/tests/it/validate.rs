//! RFC 9111 §4.3, RFC 9110 §13.

use http::{HeaderMap, StatusCode};
use larder_policy::{
    Freshened, HeadSays, Profile, add_conditions, freshen, freshen_by_head, insert_date,
    not_modified, not_modified_fields,
};
use proptest::prelude::*;

use crate::support::{at, fields};

#[test]
fn stored_validators_replace_the_requests_conditions() {
    // stored, conditions
    let rows = [
        ("ETag: \"a\"", "If-None-Match: \"a\""),
        ("ETag: W/\"a\"", "If-None-Match: W/\"a\""),
        ("Last-Modified: {-5}", "If-Modified-Since: {-5}"),
        (
            "ETag: \"a\"\nLast-Modified: {-5}",
            "If-None-Match: \"a\"\nIf-Modified-Since: {-5}",
        ),
        ("Last-Modified: once", ""),
        ("ETag:", ""),
        ("", ""),
    ];
    for (stored, conditions) in rows {
        let mut upstream = fields(
            "Accept: */*\nIf-None-Match: \"z\"\nIf-Match: \"z\"\nIf-Modified-Since: {0}\nIf-Range: \"z\"",
        );
        let any = add_conditions(&mut upstream, &fields(stored));
        assert_eq!(any, !conditions.is_empty(), "{stored}");
        assert_eq!(
            upstream,
            fields(&format!("Accept: */*\n{conditions}")),
            "{stored}"
        );
    }
}

#[test]
fn a_client_that_has_it_already_is_told_so() {
    // request, stored, is it a 304
    let rows = [
        ("If-None-Match: \"a\"", "ETag: \"a\"", true),
        ("If-None-Match: \"b\"", "ETag: \"a\"", false),
        ("If-None-Match: W/\"a\"", "ETag: \"a\"", true),
        ("If-None-Match: \"a\"", "ETag: W/\"a\"", true),
        ("If-None-Match: W/\"a\"", "ETag: W/\"a\"", true),
        ("If-None-Match: \"x\", \"a\"", "ETag: \"a\"", true),
        ("If-None-Match: \"x,\\\", \"a\"", "ETag: \"b\"", false),
        (
            "If-None-Match: \"x\"\nIf-None-Match: \"a\"",
            "ETag: \"a\"",
            true,
        ),
        ("If-None-Match: \"a,b\"", "ETag: \"a,b\"", true),
        ("If-None-Match: \"a,b\"", "ETag: \"a\"", false),
        ("If-None-Match: *", "ETag: \"a\"", true),
        ("If-None-Match: *", "", true),
        ("If-None-Match:", "ETag:", false),
        ("If-None-Match: a", "ETag: \"a\"", false),
        ("If-None-Match: \"a\"", "", false),
        ("If-None-Match: \"A\"", "ETag: \"a\"", false),
        // precedence, both ways
        (
            "If-None-Match: \"a\"\nIf-Modified-Since: {-9}",
            "ETag: \"a\"\nLast-Modified: {-5}",
            true,
        ),
        (
            "If-None-Match: \"b\"\nIf-Modified-Since: {0}",
            "ETag: \"a\"\nLast-Modified: {-5}",
            false,
        ),
        (
            "If-None-Match:\nIf-Modified-Since: {0}",
            "Last-Modified: {-5}",
            false,
        ),
        // dates: one before, at, one after
        ("If-Modified-Since: {-6}", "Last-Modified: {-5}", false),
        ("If-Modified-Since: {-5}", "Last-Modified: {-5}", true),
        ("If-Modified-Since: {-4}", "Last-Modified: {-5}", true),
        ("If-Modified-Since: yesterday", "Last-Modified: {-5}", false),
        (
            "If-Modified-Since: {0}\nIf-Modified-Since: {0}",
            "Last-Modified: {-5}",
            false,
        ),
        ("If-Modified-Since: {-5}", "Date: {-5}", true),
        ("If-Modified-Since: {-6}", "Date: {-5}", false),
        ("If-Modified-Since: {0}", "", false),
        ("", "ETag: \"a\"\nLast-Modified: {-5}", false),
    ];
    for (request, stored, expected) in rows {
        let got = not_modified(&fields(request), StatusCode::OK, &fields(stored));
        assert_eq!(got, expected, "{request:?} {stored:?}");
    }
    let request = fields("If-None-Match: *");
    for status in [
        StatusCode::NOT_FOUND,
        StatusCode::MOVED_PERMANENTLY,
        StatusCode::NO_CONTENT,
    ] {
        assert!(
            !not_modified(&request, status, &HeaderMap::new()),
            "{status}"
        );
    }
}

#[test]
fn a_304_carries_what_caches_need_and_nothing_of_the_content() {
    let stored = "Cache-Control: max-age=60\nContent-Location: /x\nDate: {0}\nETag: \"a\"\nExpires: {9}\nVary: a\nVary: b\nCDN-Cache-Control: max-age=5";
    let content = "Content-Type: text/plain\nContent-Length: 5\nX-Other: 1\nLast-Modified: {-5}";
    let got = not_modified_fields(&fields(&format!("{stored}\n{content}")));
    assert_eq!(got, fields(stored));
    let dated = fields("Last-Modified: {-5}\nContent-Type: text/plain");
    assert_eq!(not_modified_fields(&dated), fields("Last-Modified: {-5}"));
}

#[test]
fn a_304_updates_only_what_it_is_about() {
    // stored, 304, is it about the same
    let rows = [
        ("ETag: \"a\"", "ETag: \"a\"", true),
        ("ETag: \"a\"", "ETag: \"b\"", false),
        ("ETag: \"a\"", "ETag: W/\"a\"", true),
        ("ETag: W/\"a\"", "ETag: W/\"a\"", true),
        ("ETag: W/\"a\"", "ETag: W/\"b\"", false),
        ("ETag: W/\"a\"", "ETag: \"a\"", false),
        ("Last-Modified: {-5}", "ETag: \"a\"", false),
        ("Last-Modified: {-5}", "ETag: W/\"a\"", false),
        (
            "ETag: \"a\"\nLast-Modified: {-5}",
            "ETag: \"a\"\nLast-Modified: {-4}",
            true,
        ),
        ("Last-Modified: {-5}", "Last-Modified: {-5}", true),
        ("Last-Modified: {-5}", "Last-Modified: {-4}", false),
        (
            "ETag: \"a\"\nLast-Modified: {-5}",
            "Last-Modified: {-5}",
            true,
        ),
        ("ETag: \"a\"", "Last-Modified: {-5}", false),
        ("ETag: \"a\"", "", true),
        ("Last-Modified: {-5}", "", true),
    ];
    for (stored, new, expected) in rows {
        let same = freshen(&fields(stored), &fields(new)) != Freshened::Mismatch;
        assert_eq!(same, expected, "{stored:?} {new:?}");
    }
}

fn updated(stored: &HeaderMap, new: &HeaderMap) -> HeaderMap {
    match freshen(stored, new) {
        Freshened::Updated(fields) => fields,
        Freshened::Mismatch => panic!("a mismatch"),
    }
}

#[test]
fn a_200_to_head_confirms_what_it_agrees_with_and_ends_what_it_does_not() {
    let stored = fields("ETag: \"a\"\nLast-Modified: {-5}\nCache-Control: max-age=5\nX-Old: 1");
    // HEAD's answer, does it agree; none when it says nothing. The stored body has nine bytes.
    let rows = [
        ("ETag: \"a\"", Some(true)),
        ("ETag: \"b\"", Some(false)),
        ("ETag: W/\"a\"", Some(false)),
        ("Last-Modified: {-5}", Some(true)),
        ("Last-Modified: {-4}", Some(false)),
        ("Content-Length: 8", Some(false)),
        ("Content-Length: 9", Some(true)),
        ("Content-Length: 10", Some(false)),
        ("Content-Length: 09", Some(false)),
        ("ETag: \"a\"\nLast-Modified: {-4}", Some(false)),
        ("ETag: \"a\"\nContent-Length: 8", Some(false)),
        ("X-New: 1", None),
    ];
    for (head, agrees) in rows {
        for profile in [Profile::Rfc, Profile::Safe] {
            let got = freshen_by_head(&stored, 9, &fields(head), profile);
            match (agrees, profile) {
                (Some(false), _) => assert_eq!(got, HeadSays::Changed, "{head}"),
                (None, Profile::Safe) => assert_eq!(got, HeadSays::Nothing, "{head}"),
                _ => assert!(matches!(got, HeadSays::Updated(_)), "{head}"),
            }
        }
    }
    let head = fields("ETag: \"a\"\nCache-Control: max-age=50\nContent-Length: 9\nX-New: 1");
    let updated =
        fields("ETag: \"a\"\nLast-Modified: {-5}\nCache-Control: max-age=50\nX-Old: 1\nX-New: 1");
    let got = freshen_by_head(&stored, 9, &head, Profile::Safe);
    assert_eq!(got, HeadSays::Updated(updated));
    let untagged = fields("X-Old: 1");
    let got = freshen_by_head(&untagged, 9, &fields("ETag: \"a\""), Profile::Rfc);
    assert_eq!(
        got,
        HeadSays::Changed,
        "a validator that is new is no match"
    );
}

#[test]
fn merging_replaces_adds_and_leaves_the_framing_alone() {
    let stored = fields(
        "ETag: \"a\"
        Date: {-60}
        Age: 30
        Cache-Control: max-age=5
        Content-Length: 9
        Content-Range: bytes 0-8/9
        Content-Type: text/plain
        X-Two: 1
        X-Two: 2
        X-Stays: 1",
    );
    let new = fields(
        "ETag: \"a\"
        Date: {0}
        Cache-Control: max-age=50, private=\"x-mine\"
        Content-Length: 0
        Content-Range: bytes 0-1/2
        Content-Type: text/html
        X-Two: 3
        X-New: 1
        X-Mine: 1
        Connection: x-hop
        X-Hop: 1",
    );
    let expected = fields(
        "ETag: \"a\"
        Date: {0}
        Cache-Control: max-age=50, private=\"x-mine\"
        Content-Length: 9
        Content-Range: bytes 0-8/9
        Content-Type: text/html
        X-Two: 3
        X-New: 1
        X-Stays: 1",
    );
    assert_eq!(updated(&stored, &new), expected);
}

#[test]
fn the_stored_age_and_date_end_with_a_304_that_has_none() {
    let merged = updated(&fields("ETag: \"a\"\nAge: 500\nDate: {-600}"), &fields(""));
    assert_eq!(merged, fields("ETag: \"a\""));
}

#[test]
fn the_stored_coding_stays_as_the_stored_content_does() {
    let gzip = "ETag: W/\"a\"\nContent-Encoding: gzip";
    let plain = "ETag: W/\"a\"";
    for (stored, new) in [(plain, gzip), (gzip, plain), (gzip, "Content-Encoding: br")] {
        assert_eq!(updated(&fields(stored), &fields(new)), fields(stored));
    }
}

#[test]
fn a_stored_connection_field_takes_nothing_from_the_304() {
    let merged = updated(&fields("Connection: x-b\nX-B: 0"), &fields("X-B: 1"));
    assert_eq!(merged, fields("X-B: 1"));
}

#[test]
fn a_missing_date_is_the_time_of_receipt() {
    let mut response = fields("ETag: \"a\"");
    insert_date(&mut response, at(5));
    assert_eq!(response, fields("ETag: \"a\"\nDate: {5}"));
    insert_date(&mut response, at(9));
    assert_eq!(response, fields("ETag: \"a\"\nDate: {5}"));
    let mut far = HeaderMap::new();
    insert_date(&mut far, at(999_999_999_999));
    assert_eq!(far, fields("Date: Fri, 31 Dec 9999 23:59:59 GMT"));
}

fn message() -> impl Strategy<Value = HeaderMap> {
    let line = prop_oneof![
        Just("ETag: \"a\""),
        Just("Age: 3"),
        Just("Date: {0}"),
        Just("X-A: 1"),
        Just("X-A: 2"),
        Just("X-B: 1"),
        Just("Content-Length: 5"),
        Just("Connection: x-b"),
        Just("Cache-Control: private=\"x-a\""),
        Just("Cache-Control: max-age=5"),
        Just("Vary: x"),
    ];
    prop::collection::vec(line, 0..6).prop_map(|lines| fields(&lines.join("\n")))
}

proptest! {
    #[test]
    fn merging_the_same_304_twice_changes_nothing_more(stored in message(), new in message()) {
        if let Freshened::Updated(once) = freshen(&stored, &new) {
            prop_assert_eq!(freshen(&once, &new), Freshened::Updated(once));
        }
    }
}
