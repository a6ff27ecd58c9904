//! RFC 9111 §5.2: the grammar of directives, and what becomes of what breaks it.

use larder_policy::{MaxStale, NotStorable, RequestDirectives};

use crate::support::{Case, fields, kept};

/// A validator keeps rows with a lifetime of zero storable.
fn lifetime_s(cache_control: &str) -> u64 {
    kept(&format!("ETag: \"a\"\n{cache_control}")).lifetime_s
}

#[test]
fn max_age_is_read_in_every_spelling_and_is_zero_when_it_is_no_number() {
    let rows = [
        ("Cache-Control: max-age=60", 60),
        ("cache-control: MAX-AGE=60", 60),
        ("Cache-Control:    max-age=60   ,foo", 60),
        ("Cache-Control: max-age=\"60\"", 60),
        ("Cache-Control: max-age=\"6\\0\"", 60),
        ("Cache-Control: max-age=0060", 60),
        ("Cache-Control: max-age=0", 0),
        ("Cache-Control: max-age=1", 1),
        ("Cache-Control: max-age=2147483647", 2_147_483_647),
        ("Cache-Control: max-age=2147483648", 2_147_483_648),
        ("Cache-Control: max-age=2147483649", 2_147_483_648),
        ("Cache-Control: max-age=18446744073709551616", 2_147_483_648),
        (
            "Cache-Control: max-age=99999999999999999999999999",
            2_147_483_648,
        ),
        ("Cache-Control: max-age=-1", 0),
        ("Cache-Control: max-age=60.0", 0),
        ("Cache-Control: max-age=60a", 0),
        ("Cache-Control: max-age=a60", 0),
        ("Cache-Control: max-age='60'", 0),
        ("Cache-Control: max-age= 60", 0),
        ("Cache-Control: max-age=", 0),
        ("Cache-Control: max-age", 0),
        ("Cache-Control: max-age=\"60", 0),
        // Another directive, and an unknown one.
        ("Cache-Control: max-age =60", 0),
        ("Cache-Control: x-max-age=60", 0),
        ("Cache-Control:", 0),
        ("Cache-Control: ,,=,=5,\"\",", 0),
    ];
    for (row, expected) in rows {
        assert_eq!(lifetime_s(row), expected, "{row}");
    }
}

#[test]
fn the_first_of_several_values_counts() {
    let rows = [
        ("Cache-Control: max-age=10, max-age=20", 10),
        ("Cache-Control: max-age=20, max-age=10", 20),
        ("Cache-Control: max-age=20\nCache-Control: max-age=10", 20),
        ("Cache-Control: max-age=x, max-age=10", 0),
        ("Cache-Control: s-maxage=5, max-age=10, s-maxage=6", 5),
    ];
    for (row, expected) in rows {
        assert_eq!(lifetime_s(row), expected, "{row}");
    }
}

#[test]
fn a_quoted_string_hides_what_it_holds() {
    let rows = [
        ("Cache-Control: x=\"max-age=60\", max-age=1", 1),
        ("Cache-Control: max-age=1, x=\"max-age=60\"", 1),
        ("Cache-Control: x=\"a, max-age=60, b\", max-age=1", 1),
        ("Cache-Control: x=\"a\\\", max-age=60\", max-age=1", 1),
    ];
    for (row, expected) in rows {
        assert_eq!(lifetime_s(row), expected, "{row}");
    }
}

#[test]
fn a_quote_that_is_never_closed_hides_nothing() {
    let refused = Case::default().refused("Cache-Control: max-age=60, x=\"a, no-store");
    assert_eq!(refused, Some(NotStorable::NoStore));
    assert_eq!(lifetime_s("Cache-Control: x=\"a, max-age=60"), 60);
}

/// Read anew from every comma, this line would take some ten billion steps.
#[test]
fn a_line_of_quotes_without_partners_is_read_in_one_go() {
    let line = format!("Cache-Control: \"{}max-age=60", "\\\",".repeat(100_000));
    assert_eq!(lifetime_s(&line), 60);
}

#[test]
fn restrictive_directives_count_in_any_case_place_and_with_any_argument() {
    for row in [
        "Cache-Control: max-age=60, no-store",
        "Cache-Control: No-Store, max-age=60",
        "Cache-Control: max-age=60\nCache-Control: NO-STORE",
        "Cache-Control: max-age=60, no-store=anything",
        "Cache-Control: max-age=60, no-store=\"\"",
    ] {
        let refused = Case::default().refused(row);
        assert_eq!(refused, Some(NotStorable::NoStore), "{row}");
    }
    for row in [
        "Cache-Control: max-age=60, private",
        "Cache-Control: max-age=60, Private",
        "Cache-Control: max-age=60, private=\"\"",
        "Cache-Control: max-age=60, private=\"bad name\"",
        "Cache-Control: max-age=60, private=\"a\", private",
    ] {
        let refused = Case::default().refused(row);
        assert_eq!(refused, Some(NotStorable::Private), "{row}");
    }
}

#[test]
fn unknown_directives_change_nothing() {
    let plain = crate::support::kept("Cache-Control: max-age=60, stale-if-error=5");
    for odd in [
        "x-odd",
        "X-Odd=1",
        "x-odd=\"no-store, private\"",
        "max-age-x=1",
        "xmax-age=1",
        "s-max-age=1",
        "nostore",
        "no_cache",
        "=5",
        "\"no-store\"",
        "max-stale=1",
        "only-if-cached",
        "min-fresh=100",
    ] {
        for row in [
            format!("Cache-Control: {odd}, max-age=60, stale-if-error=5"),
            format!("Cache-Control: max-age=60, stale-if-error=5\nCache-Control: {odd}"),
        ] {
            assert_eq!(crate::support::kept(&row), plain, "{row}");
        }
    }
}

#[test]
fn request_directives_are_read_and_unreadable_ones_dropped() {
    let none = RequestDirectives::default();
    let rows = [
        ("", none),
        ("Cache-Control: nonsense", none),
        (
            "Cache-Control: No-Cache",
            RequestDirectives {
                no_cache: true,
                ..none
            },
        ),
        (
            "Pragma: no-cache",
            RequestDirectives {
                no_cache: true,
                ..none
            },
        ),
        // §5.4: Pragma is for those who don't know Cache-Control.
        ("Pragma: no-cache\nCache-Control: x", none),
        (
            "Cache-Control: no-store",
            RequestDirectives {
                no_store: true,
                ..none
            },
        ),
        (
            "Cache-Control: only-if-cached",
            RequestDirectives {
                only_if_cached: true,
                ..none
            },
        ),
        (
            "Cache-Control: max-age=0",
            RequestDirectives {
                max_age_s: Some(0),
                ..none
            },
        ),
        (
            "Cache-Control: max-age=5",
            RequestDirectives {
                max_age_s: Some(5),
                ..none
            },
        ),
        ("Cache-Control: max-age=x", none),
        (
            "Cache-Control: min-fresh=\"5\"",
            RequestDirectives {
                min_fresh_s: Some(5),
                ..none
            },
        ),
        (
            "Cache-Control: max-stale",
            RequestDirectives {
                max_stale: MaxStale::Any,
                ..none
            },
        ),
        (
            "Cache-Control: max-stale=5",
            RequestDirectives {
                max_stale: MaxStale::Seconds(5),
                ..none
            },
        ),
        // An unreadable limit is no leave to be unlimited.
        ("Cache-Control: max-stale=x", none),
    ];
    for (row, expected) in rows {
        assert_eq!(RequestDirectives::parse(&fields(row)), expected, "{row}");
    }
}
