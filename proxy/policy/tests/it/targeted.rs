//! RFC 9213.

use http::header::HeaderName;
use larder_policy::{Flags, NotStorable, Rules};

use crate::support::{Case, kept};

#[test]
fn a_valid_targeted_field_decides_alone() {
    // response (with a validator), lifetime
    let rows = [
        (
            "CDN-Cache-Control: max-age=10\nCache-Control: max-age=60",
            10,
        ),
        ("CDN-Cache-Control: max-age=10\nCache-Control: no-store", 10),
        ("CDN-Cache-Control: max-age=10\nCache-Control: private", 10),
        ("CDN-Cache-Control: max-age=10\nExpires: 0", 10),
        (
            "CDN-Cache-Control: must-revalidate\nExpires: {+60}\nDate: {0}",
            0,
        ),
        ("CDN-Cache-Control: foo\nCache-Control: max-age=60", 0),
        ("CDN-Cache-Control: max-age=10;p=1, x=?0", 10),
        ("CDN-Cache-Control: foo\nCDN-Cache-Control: max-age=10", 10),
        ("CDN-Cache-Control: s-maxage=5, max-age=10", 5),
        // a dictionary: the last of several counts (RFC 9651 §4.2.2)
        ("CDN-Cache-Control: max-age=10, max-age=20", 20),
        ("CDN-Cache-Control: max-age=9999999999999", 2_147_483_648),
        // not coerced, so stale (§2.1)
        (
            "CDN-Cache-Control: max-age=\"10\"\nCache-Control: max-age=60",
            0,
        ),
        (
            "CDN-Cache-Control: max-age=10.0\nCache-Control: max-age=60",
            0,
        ),
        (
            "CDN-Cache-Control: max-age=-1\nCache-Control: max-age=60",
            0,
        ),
        ("CDN-Cache-Control: max-age\nCache-Control: max-age=60", 0),
        (
            "CDN-Cache-Control: max-age=(1 2)\nCache-Control: max-age=60",
            0,
        ),
        // there and said not to be
        ("CDN-Cache-Control: no-store=?0, max-age=10", 10),
    ];
    for (row, expected) in rows {
        let policy = kept(&format!("ETag: \"a\"\n{row}"));
        assert_eq!(policy.lifetime_s, expected, "{row}");
        assert!(policy.flags.contains(Flags::EXPLICITLY_SHARED), "{row}");
    }
}

#[test]
fn an_invalid_or_empty_one_counts_as_absent() {
    for invalid in [
        "",
        "&",
        "max-age=",
        "Max-Age=10",
        "max-age=10,",
        "max-age=10, &",
        "max-age = 10",
        "max-age=\"10",
        "é",
    ] {
        let policy = kept(&format!(
            "CDN-Cache-Control: {invalid}\nCache-Control: max-age=60"
        ));
        assert_eq!(policy.lifetime_s, 60, "{invalid}");
        assert!(
            !policy.flags.contains(Flags::EXPLICITLY_SHARED),
            "{invalid}"
        );
    }
}

#[test]
fn its_restrictions_hold() {
    let rows = [
        ("no-store", NotStorable::NoStore),
        ("no-store, max-age=60", NotStorable::NoStore),
        ("private, max-age=60", NotStorable::Private),
        ("private=\"x-a\", max-age=60", NotStorable::Private),
        ("no-cache, max-age=60", NotStorable::NoFreshness),
    ];
    for (row, expected) in rows {
        let response = format!("CDN-Cache-Control: {row}\nCache-Control: max-age=60");
        assert_eq!(Case::default().refused(&response), Some(expected), "{row}");
    }
}

#[test]
fn the_first_valid_field_of_the_list_wins() {
    let rules = Rules {
        targeted_fields: vec![
            HeaderName::from_static("larder-cache-control"),
            HeaderName::from_static("cdn-cache-control"),
        ],
        ..Rules::default()
    };
    let case = Case {
        rules,
        ..Case::default()
    };
    let rows = [
        (
            "Larder-Cache-Control: max-age=1\nCDN-Cache-Control: max-age=2",
            1,
        ),
        ("Larder-Cache-Control: &\nCDN-Cache-Control: max-age=2", 2),
        (
            "Larder-Cache-Control: &\nCDN-Cache-Control: &\nCache-Control: max-age=3",
            3,
        ),
        (
            "Other-Cache-Control: max-age=4\nCache-Control: max-age=3",
            3,
        ),
    ];
    for (row, expected) in rows {
        assert_eq!(case.kept(row).lifetime_s, expected, "{row}");
    }
}
