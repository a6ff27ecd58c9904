//! RFC 9111 §4.3.1, §4.3.4: several stored responses.

use http::HeaderMap;
use larder_policy::{accepts_coding_of, add_tags, named_by};

use crate::support::fields;

fn sent(stored: &[&str]) -> String {
    let stored: Vec<HeaderMap> = stored.iter().map(|one| fields(one)).collect();
    let mut upstream = fields("Accept: */*");
    let any = add_tags(&mut upstream, &stored);
    assert_eq!(any, upstream.contains_key("if-none-match"));
    let value = upstream.get("if-none-match");
    value
        .map_or("", |value| value.to_str().expect("text"))
        .to_owned()
}

#[test]
fn every_tag_is_sent_once_in_order_and_nothing_else() {
    // stored, sent
    let rows: [(&[&str], &str); 7] = [
        (&["ETag: \"a\"", "ETag: \"b\""], "\"a\", \"b\""),
        (
            &["ETag: \"a\"", "ETag: W/\"a\"", "ETag: \"a\""],
            "\"a\", W/\"a\"",
        ),
        (&["ETag: \"a\"", "Last-Modified: {-5}"], "\"a\""),
        (
            &["ETag: a", "ETag: \"a", "ETag: \"", "ETag:", "ETag: w/\"a\""],
            "",
        ),
        (&["ETag: \"a\" \"b\"", "ETag: \"a\"b\""], ""),
        (&["ETag: \"a,b\""], "\"a,b\""),
        (&[], ""),
    ];
    for (stored, expected) in rows {
        assert_eq!(sent(stored), expected, "{stored:?}");
    }
}

#[test]
fn a_list_of_tags_has_an_end() {
    let many: Vec<_> = (0..17).map(|n| format!("ETag: \"{n}\"")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    assert_eq!(sent(&many[..16]).split(", ").count(), 16);
    assert_eq!(sent(&many).split(", ").count(), 16);
    for (length, is_sent) in [(253, true), (254, true), (255, false)] {
        let long = format!("ETag: \"{}\"", "x".repeat(length));
        assert_eq!(!sent(&[&long]).is_empty(), is_sent, "{length}");
    }
}

#[test]
fn a_304_names_one_by_its_tag_or_none() {
    // stored, 304, which
    let rows: [(&[&str], &str, Option<usize>); 11] = [
        (&["ETag: \"a\"", "ETag: \"b\""], "ETag: \"b\"", Some(1)),
        (&["ETag: \"a\"", "ETag: \"b\""], "ETag: \"c\"", None),
        (&["ETag: \"a\"", "ETag: \"b\""], "", None),
        (&["ETag: \"a\""], "", None),
        (
            &["ETag: \"a\"\nLast-Modified: {-5}"],
            "Last-Modified: {-5}",
            None,
        ),
        (&["Last-Modified: {-5}"], "ETag: \"a\"", None),
        // a strong tag by strong comparison, a weak one by weak
        (&["ETag: W/\"a\""], "ETag: \"a\"", None),
        (&["ETag: \"b\"", "ETag: \"a\""], "ETag: W/\"a\"", Some(1)),
        // of several the most recent
        (
            &["ETag: \"a\"\nDate: {-9}", "ETag: \"a\"\nDate: {-8}"],
            "ETag: \"a\"",
            Some(1),
        ),
        (
            &["ETag: \"a\"\nDate: {-8}", "ETag: \"a\"\nDate: {-9}"],
            "ETag: \"a\"",
            Some(0),
        ),
        (
            &["ETag: W/\"a\"\nDate: {-8}", "ETag: \"a\"\nDate: {-9}"],
            "ETag: W/\"a\"",
            Some(0),
        ),
    ];
    for (stored, new, expected) in rows {
        let stored: Vec<HeaderMap> = stored.iter().map(|one| fields(one)).collect();
        let named = named_by(&fields(new), &stored, |one| one);
        let expected = expected.map(|at| &stored[at]);
        assert!(
            named.map(std::ptr::from_ref) == expected.map(std::ptr::from_ref),
            "{stored:?} {new:?}"
        );
    }
}

#[test]
fn a_stored_coding_suits_only_who_accepts_it() {
    let suits = |accepted: Option<&str>, coding: Option<&str>| {
        let mut request = HeaderMap::new();
        let mut stored = HeaderMap::new();
        if let Some(accepted) = accepted {
            request.insert("accept-encoding", accepted.parse().unwrap());
        }
        if let Some(coding) = coding {
            stored.insert("content-encoding", coding.parse().unwrap());
        }
        accepts_coding_of(&request, &stored)
    };
    assert!(suits(None, None) && suits(Some("gzip"), None));
    for accepted in ["gzip", "br, GZIP", "gzip;q=0.001, br", "br,gzip ; q=1"] {
        assert!(suits(Some(accepted), Some("gzip")), "{accepted}");
        assert!(suits(Some(accepted), Some("GZip")), "{accepted}");
    }
    for accepted in [
        "",
        "br",
        "gzip;q=0",
        "gzip;q=0.000",
        "gzip;x=1",
        "xgzip",
        "*",
    ] {
        assert!(!suits(Some(accepted), Some("gzip")), "{accepted}");
    }
    assert!(!suits(None, Some("gzip")));
    assert!(!suits(Some("gzip"), Some("gzip, br")) && suits(Some("br, gzip"), Some("gzip, br")));
}
