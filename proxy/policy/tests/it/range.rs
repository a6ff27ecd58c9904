//! `Range`, `If-Range`, `Content-Range`, and parts that grow together.

use http::{HeaderMap, Method, StatusCode};
use larder_policy::{
    Joined, Part, Selection, Span, ask_for_rest, brings_rest, combined_fields, content_range, join,
    missing, multipart, part_received, select, unsatisfied_range, wants_part,
};
use proptest::prelude::*;

use crate::support::{Case, fields};
use larder_policy::NotStorable as No;

fn span(first: u64, last: u64) -> Span {
    Span { first, last }
}

fn part(first: u64, last: u64, complete_length: u64) -> Part {
    Part {
        span: span(first, last),
        complete_length,
    }
}

fn selected(request: &str, complete_length: u64) -> Selection {
    let (request, ok) = (fields(request), StatusCode::OK);
    select(
        &Method::GET,
        &request,
        ok,
        &HeaderMap::new(),
        complete_length,
    )
}

fn one(first: u64, last: u64) -> Selection {
    Selection::Part(span(first, last))
}

#[test]
fn a_range_is_cut_to_what_is_there() {
    let rows = [
        // first and last: below, at and above the last octet
        ("bytes=0-0", 10, one(0, 0)),
        ("bytes=0-8", 10, one(0, 8)),
        ("bytes=0-9", 10, one(0, 9)),
        ("bytes=0-10", 10, one(0, 9)),
        ("bytes=8-8", 10, one(8, 8)),
        ("bytes=9-9", 10, one(9, 9)),
        ("bytes=10-10", 10, Selection::Unsatisfiable),
        ("bytes=11-12", 10, Selection::Unsatisfiable),
        // open
        ("bytes=0-", 10, one(0, 9)),
        ("bytes=9-", 10, one(9, 9)),
        ("bytes=10-", 10, Selection::Unsatisfiable),
        // suffix
        ("bytes=-0", 10, Selection::Unsatisfiable),
        ("bytes=-1", 10, one(9, 9)),
        ("bytes=-9", 10, one(1, 9)),
        ("bytes=-10", 10, one(0, 9)),
        ("bytes=-11", 10, one(0, 9)),
        // numbers that no integer holds
        ("bytes=0-18446744073709551615", 10, one(0, 9)),
        ("bytes=0-18446744073709551616", 10, one(0, 9)),
        ("bytes=0-99999999999999999999999999", 10, one(0, 9)),
        ("bytes=-99999999999999999999999999", 10, one(0, 9)),
        (
            "bytes=99999999999999999999999999-",
            10,
            Selection::Unsatisfiable,
        ),
        (
            "bytes=18446744073709551616-18446744073709551615",
            u64::MAX,
            Selection::Unsatisfiable,
        ),
        ("bytes=00000000000000000000000000001-2", 10, one(1, 2)),
        ("bytes=-1", u64::MAX, one(u64::MAX - 1, u64::MAX - 1)),
        // of one octet
        ("bytes=0-", 1, one(0, 0)),
        ("bytes=1-", 1, Selection::Unsatisfiable),
        // of none: only a suffix, and that is all of it
        ("bytes=0-", 0, Selection::Unsatisfiable),
        ("bytes=0-0,5-", 0, Selection::Unsatisfiable),
        ("bytes=-0", 0, Selection::Unsatisfiable),
        ("bytes=-1", 0, Selection::Whole),
        ("bytes=0-0,-1", 0, Selection::Whole),
    ];
    for (range, length, expected) in rows {
        assert_eq!(
            selected(&format!("Range: {range}"), length),
            expected,
            "{range} of {length}"
        );
    }
}

#[test]
fn a_field_that_is_no_set_of_byte_ranges_is_ignored() {
    let invalid = [
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=--1",
        "bytes=1",
        "bytes=a-b",
        "bytes=0x1-2",
        "bytes=+1-2",
        "bytes=1-+2",
        "bytes=1 - 2",
        "bytes=1-2-3",
        "bytes=2-1",
        "bytes=0-1,2-1",
        "bytes=0-1,x",
        "bytes=0-1;2-3",
        "bytes =0-1",
        "bytes: 0-1",
        "byte=0-1",
        "items=0-1",
        "bytes=٣-٤",
    ];
    for range in invalid {
        let request = format!("Range: {range}");
        assert_eq!(selected(&request, 10), Selection::Whole, "{range}");
        assert!(!wants_part(&Method::GET, &fields(&request)), "{range}");
    }
    let twice = "Range: bytes=0-1\nRange: bytes=3-4";
    assert_eq!(selected(twice, 10), Selection::Whole);
    assert!(!wants_part(&Method::GET, &fields(twice)));
    assert!(!wants_part(&Method::GET, &HeaderMap::new()));
    assert!(wants_part(&Method::GET, &fields("Range: bytes=0-1")));
    for valid in ["BYTES=0-1", "bytes= 0-1", "bytes=,0-1,,", "bytes=0-1\t,"] {
        assert_eq!(selected(&format!("Range: {valid}"), 10), one(0, 1));
    }
}

#[test]
fn only_get_and_only_what_would_be_200_has_ranges() {
    let request = fields("Range: bytes=0-1");
    let of = |method, status| {
        let status = StatusCode::from_u16(status).expect("a status");
        select(&method, &request, status, &HeaderMap::new(), 10)
    };
    assert_eq!(of(Method::GET, 200), one(0, 1));
    assert_eq!(of(Method::GET, 206), one(0, 1));
    assert_eq!(of(Method::HEAD, 200), Selection::Whole);
    assert!(!wants_part(&Method::HEAD, &request));
    for status in [203, 204, 301, 404, 416, 500] {
        assert_eq!(of(Method::GET, status), Selection::Whole, "{status}");
    }
}

#[test]
fn several_ranges_are_joined_where_they_touch_and_keep_their_order() {
    let rows: [(&str, &[(u64, u64)]); 10] = [
        ("bytes=0-0,-1", &[(0, 0), (9, 9)]),
        ("bytes=8-9,0-1", &[(8, 9), (0, 1)]),
        ("bytes=0-1,2-3", &[(0, 3)]),
        ("bytes=0-1,3-4", &[(0, 1), (3, 4)]),
        ("bytes=2-3,0-1", &[(0, 3)]),
        ("bytes=0-5,3-8", &[(0, 8)]),
        ("bytes=0-1,8-9,2-7", &[(0, 9)]),
        ("bytes=4-4,0-0,8-8,3-5", &[(3, 5), (0, 0), (8, 8)]),
        ("bytes=0-1,50-", &[(0, 1)]),
        ("bytes=50-,60-70", &[]),
    ];
    for (range, spans) in rows {
        let spans: Vec<_> = spans.iter().map(|&(a, b)| span(a, b)).collect();
        let expected = match spans.as_slice() {
            [] => Selection::Unsatisfiable,
            [only] => Selection::Part(*only),
            _ => Selection::Parts(spans),
        };
        assert_eq!(selected(&format!("Range: {range}"), 10), expected);
    }
}

#[test]
fn more_than_sixteen_ranges_are_answered_with_the_whole() {
    let ranges = |count: u64| {
        let ranges = (0..count).map(|n| format!("{}-{}", n * 10, n * 10));
        let ranges = ranges.collect::<Vec<_>>().join(",");
        selected(&format!("Range: bytes={ranges}"), 1000)
    };
    let count = |selection| match selection {
        Selection::Parts(spans) => spans.len(),
        _ => 0,
    };
    assert_eq!(count(ranges(15)), 15);
    assert_eq!(count(ranges(16)), 16);
    assert_eq!(ranges(17), Selection::Whole);
}

#[test]
fn if_range_lets_the_range_count_only_on_a_strong_match() {
    let strong = "ETag: \"a\"\nLast-Modified: {-90}\nDate: {0}";
    let weak = "ETag: W/\"a\"\nLast-Modified: {-90}\nDate: {0}";
    let dated = "Last-Modified: {-60}\nDate: {0}";
    let young = "Last-Modified: {-59}\nDate: {0}";
    let undated = "Last-Modified: {-60}";
    let rows = [
        ("If-Range: \"a\"", strong, true),
        ("If-Range: \"b\"", strong, false),
        ("If-Range: \"A\"", strong, false),
        ("If-Range: \"a", strong, false),
        ("If-Range: a", strong, false),
        ("If-Range:", strong, false),
        ("If-Range: \"\"", "ETag: \"\"", true),
        ("If-Range: \"", "ETag: \"", false),
        ("If-Range: \"a\", \"b\"", strong, false),
        ("If-Range: \"a\"\nIf-Range: \"a\"", strong, false),
        ("If-Range: W/\"a\"", strong, false),
        ("If-Range: W/\"a\"", weak, false),
        ("If-Range: \"a\"", weak, false),
        ("If-Range: \"a\"", dated, false),
        ("If-Range: {-90}", strong, true),
        ("If-Range: {-60}", dated, true),
        ("If-Range: {-61}", dated, false),
        ("If-Range: {-59}", dated, false),
        ("If-Range: {-59}", young, false),
        ("If-Range: {-60}", undated, false),
        ("If-Range: {-60}", "Date: {0}", false),
        ("If-Range: yesterday", "Last-Modified: yesterday", false),
    ];
    for (condition, stored, holds) in rows {
        let request = fields(&format!("Range: bytes=0-1\n{condition}"));
        let got = select(&Method::GET, &request, StatusCode::OK, &fields(stored), 10);
        let expected = if holds { one(0, 1) } else { Selection::Whole };
        assert_eq!(got, expected, "{condition} for {stored}");
    }
    let unsatisfiable = fields("Range: bytes=10-\nIf-Range: \"b\"");
    let got = select(
        &Method::GET,
        &unsatisfiable,
        StatusCode::OK,
        &fields(strong),
        10,
    );
    assert_eq!(got, Selection::Whole);
}

#[test]
fn a_206_is_kept_only_when_it_says_exactly_what_it_is_a_part_of() {
    let asked = "Range: bytes=0-4";
    let rows = [
        ("Content-Range: bytes 0-4/10", Some(part(0, 4, 10))),
        ("Content-Range: BYTES 5-9/10", Some(part(5, 9, 10))),
        ("Content-Range: bytes 0-9/10", Some(part(0, 9, 10))),
        (
            "Content-Range: bytes 0-4/10\nContent-Length: 5",
            Some(part(0, 4, 10)),
        ),
        ("Content-Range: bytes 0-4/10\nContent-Length: 4", None),
        ("Content-Range: bytes 0-4/10\nContent-Length: 6", None),
        ("Content-Range: bytes 0-4/10\nContent-Length: x", None),
        ("Content-Range: bytes 0-4/5\nContent-Length: +5", None),
        ("", None),
        ("Content-Range: bytes 0-4/*", None),
        ("Content-Range: bytes */10", None),
        ("Content-Range: bytes 0-10/10", None),
        ("Content-Range: bytes 4-3/10", None),
        ("Content-Range: bytes 0-/10", None),
        ("Content-Range: bytes -4/10", None),
        ("Content-Range: bytes 0-4", None),
        ("Content-Range: bytes=0-4/10", None),
        ("Content-Range: items 0-4/10", None),
        ("Content-Range: bytes 0-4/10/10", None),
        ("Content-Range: bytes 0-4/18446744073709551616", None),
        (
            "Content-Range: bytes 0-4/18446744073709551615",
            Some(part(0, 4, u64::MAX)),
        ),
        (
            "Content-Range: bytes 0-4/10\nContent-Range: bytes 0-4/10",
            None,
        ),
        (
            "Content-Range: bytes 0-4/10\nContent-Type: Multipart/Byteranges; boundary=b",
            None,
        ),
        (
            "Content-Range: bytes 0-4/10\nContent-Type: multipart/form-data",
            Some(part(0, 4, 10)),
        ),
    ];
    for (response, expected) in rows {
        let got = part_received(&fields(asked), &fields(response));
        assert_eq!(got, expected, "{response}");
        let response = format!("{response}\nCache-Control: max-age=60");
        let case = Case {
            status: 206,
            request: asked,
            ..Case::default()
        };
        let refused = expected.is_none().then_some(No::Partial);
        assert_eq!(case.refused(&response), refused, "{response}");
    }
    let response = fields("Content-Range: bytes 0-4/10");
    // Not asked for, or by a client that has the rest of the fields already.
    assert_eq!(part_received(&HeaderMap::new(), &response), None);
    let resumed = fields("Range: bytes=0-4\nIf-Range: \"a\"");
    assert_eq!(part_received(&resumed, &response), None);
}

#[test]
fn must_understand_is_content_with_a_part() {
    let case = Case {
        status: 206,
        ..Case::default()
    };
    let said = "Content-Range: bytes 0-4/10\nCache-Control: max-age=60, must-understand, no-store";
    assert_eq!(case.refused(said), None);
}

#[test]
fn only_parts_with_the_same_strong_validator_are_combined() {
    let rows = [
        ("ETag: \"a\"", "ETag: \"a\"", true),
        ("ETag: \"a\"", "ETag: \"b\"", false),
        ("ETag: W/\"a\"", "ETag: W/\"a\"", false),
        ("ETag: \"a\"", "ETag: W/\"a\"", false),
        ("ETag: a", "ETag: a", false),
        ("", "", false),
        ("ETag: \"a\"", "", false),
        ("", "ETag: \"a\"", false),
        ("Last-Modified: {-60}", "Last-Modified: {-60}", true),
        ("Last-Modified: {-60}", "Last-Modified: {-61}", false),
        ("Last-Modified: {-59}", "Last-Modified: {-59}", false),
        (
            "ETag: \"a\"\nLast-Modified: {-90}",
            "Last-Modified: {-90}",
            false,
        ),
        (
            "ETag: W/\"a\"\nLast-Modified: {-90}",
            "ETag: W/\"a\"\nLast-Modified: {-90}",
            false,
        ),
    ];
    for (old, new, combine) in rows {
        let old = fields(&format!("{old}\nDate: {{0}}"));
        let new = fields(&format!("{new}\nDate: {{0}}"));
        assert_eq!(combined_fields(&old, &new).is_some(), combine);
    }
}

#[test]
fn the_newer_part_s_fields_replace_the_older_one_s() {
    let old = fields("ETag: \"a\"\nDate: {-9}\nAge: 5\nX-A: old\nX-B: old\nContent-Type: text/a");
    let new = fields("ETag: \"a\"\nDate: {0}\nX-A: new\nContent-Range: bytes 5-9/10");
    let expected = fields("ETag: \"a\"\nDate: {0}\nX-A: new\nX-B: old\nContent-Type: text/a");
    assert_eq!(combined_fields(&old, &new), Some(expected));
}

#[test]
fn the_rest_is_asked_for_on_condition_and_only_if_it_is_one_piece() {
    let rows = [
        (part(0, 4, 10), Some(("bytes=5-", span(5, 9)))),
        (part(5, 9, 10), Some(("bytes=0-4", span(0, 4)))),
        (part(9, 9, 10), Some(("bytes=0-8", span(0, 8)))),
        (part(0, 0, 10), Some(("bytes=1-", span(1, 9)))),
        (part(1, 8, 10), None),
        (part(0, 9, 10), None),
    ];
    for (part, rest) in rows {
        let mut upstream = HeaderMap::new();
        let asks = ask_for_rest(&mut upstream, &fields("ETag: \"a\""), part);
        assert_eq!(asks, rest.is_some(), "{part:?}");
        assert_eq!(missing(part), rest.map(|(_, span)| span));
        if let Some((range, _)) = rest {
            let expected = fields(&format!("Range: {range}\nIf-Range: \"a\""));
            assert_eq!(upstream, expected);
        }
    }
    for stored in [
        "ETag: W/\"a\"",
        "Last-Modified: {-59}\nDate: {0}",
        "ETag: W/\"a\"\nLast-Modified: {-90}\nDate: {0}",
    ] {
        let mut upstream = HeaderMap::new();
        assert!(!ask_for_rest(
            &mut upstream,
            &fields(stored),
            part(0, 4, 10)
        ));
        assert!(upstream.is_empty(), "{stored}");
    }
    let mut upstream = HeaderMap::new();
    assert!(ask_for_rest(&mut upstream, &fields(""), part(0, 4, 10)));
    assert_eq!(upstream, fields("Range: bytes=5-"));
    let mut upstream = HeaderMap::new();
    let dated = fields("Last-Modified: {-60}\nDate: {0}");
    assert!(ask_for_rest(&mut upstream, &dated, part(0, 4, 10)));
    assert_eq!(upstream["if-range"], dated["last-modified"]);
}

#[test]
fn the_rest_is_what_was_asked_for_and_nothing_else() {
    let stored = fields("ETag: \"a\"\nDate: {0}");
    let right = "ETag: \"a\"\nContent-Range: bytes 5-9/10";
    let rows = [
        (206, right, true),
        (200, right, false),
        (206, "ETag: \"b\"\nContent-Range: bytes 5-9/10", false),
        (206, "Content-Range: bytes 5-9/10", false),
        (206, "ETag: \"a\"\nContent-Range: bytes 5-8/10", false),
        (206, "ETag: \"a\"\nContent-Range: bytes 4-9/10", false),
        (206, "ETag: \"a\"\nContent-Range: bytes 5-10/11", false),
        (206, "ETag: \"a\"", false),
    ];
    for (status, response, expected) in rows {
        let status = StatusCode::from_u16(status).expect("a status");
        let got = brings_rest(&stored, part(0, 4, 10), status, &fields(response));
        assert_eq!(got, expected, "{response}");
    }
}

#[test]
fn parts_join_where_they_overlap_or_adjoin() {
    let old = part(10, 19, 100);
    let rows = [
        ((0, 8), None),
        ((0, 9), Some((0, 19, 0, 10))),
        ((0, 10), Some((0, 19, 0, 9))),
        ((12, 14), Some((10, 19, 2, 5))),
        ((10, 19), Some((10, 19, 0, 0))),
        ((0, 99), Some((0, 99, 0, 0))),
        ((19, 30), Some((10, 30, 9, 0))),
        ((20, 30), Some((10, 30, 10, 0))),
        ((21, 30), None),
    ];
    for ((first, last), expected) in rows {
        let expected = expected.map(|(first, last, before, after)| Joined {
            part: part(first, last, 100),
            before,
            after,
        });
        assert_eq!(join(old, part(first, last, 100)), expected);
        assert_eq!(join(old, part(first, last, 101)), None);
    }
}

#[test]
fn content_range_says_what_there_is() {
    assert_eq!(content_range(span(2, 4), 10), "bytes 2-4/10");
    assert_eq!(unsatisfied_range(10), "bytes */10");
}

#[test]
fn several_parts_stand_between_boundaries_each_with_its_place() {
    let kind = "text/plain".parse().expect("a value");
    let pieces = [(span(0, 1), &b"01"[..]), (span(8, 9), &b"89"[..])];
    let both = multipart(&pieces, 10, Some(&kind)).expect("parts");
    let kind = both.content_type.to_str().expect("text");
    let boundary = kind
        .strip_prefix("multipart/byteranges; boundary=")
        .expect("a boundary");
    let expected = format!(
        "\r\n--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\n01\
         \r\n--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes 8-9/10\r\n\r\n89\
         \r\n--{boundary}--\r\n"
    );
    assert_eq!(String::from_utf8(both.body), Ok(expected));
    assert_eq!(
        multipart(&pieces, 10, None).map(|parts| parts.content_type),
        Some(both.content_type)
    );
}

fn spec() -> impl Strategy<Value = String> {
    prop_oneof![
        (0..40_u64, 0..40_u64).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
        (0..40_u64).prop_map(|first| format!("{first}-")),
        (0..40_u64).prop_map(|count| format!("-{count}")),
    ]
}

/// What one range-spec means, said in another way.
fn octets_of(spec: &str, length: u64) -> Vec<u64> {
    let (first, last) = spec.split_once('-').expect("a dash");
    let all = 0..length;
    match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) => all.filter(|at| (first..=last).contains(at)).collect(),
        (Ok(first), Err(_)) => all.filter(|at| *at >= first).collect(),
        (Err(_), Ok(count)) => all.filter(|at| at + count >= length).collect(),
        (Err(_), Err(_)) => Vec::new(),
    }
}

proptest! {
    #[test]
    fn the_octets_selected_are_those_asked_for(
        specs in prop::collection::vec(spec(), 1..6), length in 1..30_u64
    ) {
        let mut asked: Vec<_> = specs.iter().flat_map(|spec| octets_of(spec, length)).collect();
        asked.sort_unstable();
        asked.dedup();
        let spans = match selected(&format!("Range: bytes={}", specs.join(",")), length) {
            Selection::Whole => vec![span(0, length - 1)],
            Selection::Part(only) => vec![only],
            Selection::Parts(spans) => {
                prop_assert!(spans.len() > 1);
                spans
            }
            Selection::Unsatisfiable => Vec::new(),
        };
        let mut got: Vec<_> = spans.iter().flat_map(|span| span.first..=span.last).collect();
        got.sort_unstable();
        prop_assert_eq!(got, asked);
    }

    #[test]
    fn joined_parts_are_the_octets_of_the_whole(
        (a, b) in (0..20_u64, 0..20_u64), (c, d) in (0..20_u64, 0..20_u64)
    ) {
        let body: Vec<u8> = (0..20).collect();
        let (old, new) = (part(a.min(b), a.max(b), 20), part(c.min(d), c.max(d), 20));
        let octets = |span: Span| &body[span.first as usize..=span.last as usize];
        if let Some(joined) = join(old, new) {
            let held = octets(old.span);
            let mut all = held[..joined.before as usize].to_vec();
            all.extend_from_slice(octets(new.span));
            all.extend_from_slice(&held[held.len() - joined.after as usize..]);
            prop_assert_eq!(&all[..], octets(joined.part.span));
            prop_assert_eq!(joined.is_complete(), all.len() == 20);
        }
    }

    #[test]
    fn no_field_of_a_stranger_panics(
        range in "(bytes=)?[0-9,\\- \"/*W]{0,30}", condition in "(W/)?\"?[a-z0-9]{0,3}\"?",
        content in "(bytes )?[0-9\\-/*]{0,24}", length in any::<u64>()
    ) {
        let request = fields(&format!("Range: {range}\nIf-Range: {condition}"));
        let response = fields(&format!("Content-Range: {content}\nETag: {condition}"));
        let _ = select(&Method::GET, &request, StatusCode::OK, &response, length);
        if let Some(part) = part_received(&fields("Range: x"), &response) {
            prop_assert!(part.span.first <= part.span.last && part.span.last < part.complete_length);
            let _ = (missing(part), join(part, part), combined_fields(&response, &response));
        }
    }

    #[test]
    fn the_boundary_never_occurs_in_what_it_parts(piece in prop::collection::vec(any::<u8>(), 1..40)) {
        let pieces = [(span(0, 0), &piece[..]), (span(2, 2), &piece[..])];
        let parts = multipart(&pieces, 9, None).expect("parts");
        let kind = parts.content_type.to_str().expect("text");
        let boundary = kind.split_once("boundary=").expect("one").1.as_bytes();
        let count = parts.body.windows(boundary.len()).filter(|w| *w == boundary).count();
        prop_assert_eq!(count, 3);
    }
}
