//! RFC 9111 §4 and §5.2.1, RFC 5861: may a stored response answer?

use larder_policy::{Forward, Reuse, reuse, shareable_with_waiters, stale_on_error};

use crate::support::{Case, at, kept, lookup, rfc};

use Reuse::{Fresh, NotForCaller, StaleAllowed, StaleWhileRevalidate, Validate};

const STALE: Reuse = Validate(Forward::Stale);
const ASKED: Reuse = Validate(Forward::Request);

/// (request, response, seconds later, expected)
type Row = (&'static str, &'static str, i64, Reuse);

fn check(rows: &[Row]) {
    for &(request, response, later, expected) in rows {
        let got = reuse(&kept(response), &lookup(request), at(later));
        assert_eq!(got, expected, "{request:?} {response:?} {later} s later");
    }
}

#[test]
fn fresh_ends_at_the_exact_second() {
    check(&[
        ("", "Cache-Control: max-age=60", 0, Fresh),
        ("", "Cache-Control: max-age=60", 59, Fresh),
        ("", "Cache-Control: max-age=60", 60, STALE),
        ("", "Cache-Control: max-age=60", 61, STALE),
        ("", "Cache-Control: max-age=60\nAge: 59", 0, Fresh),
        (
            "",
            "Cache-Control: max-age=60\nAge: 60\nETag: \"a\"",
            0,
            STALE,
        ),
        ("", "Cache-Control: max-age=60\nDate: {-30}", 29, Fresh),
        ("", "Cache-Control: max-age=60\nDate: {-30}", 30, STALE),
        ("", "Cache-Control: max-age=60", -1000, Fresh),
        (
            "",
            "Cache-Control: max-age=99999999999",
            2_147_483_647,
            Fresh,
        ),
        (
            "",
            "Cache-Control: max-age=99999999999",
            2_147_483_648,
            STALE,
        ),
        ("", "ETag: \"a\"", 0, STALE),
    ]);
}

#[test]
fn no_cache_is_always_validated() {
    check(&[
        (
            "",
            "Cache-Control: max-age=60, no-cache\nETag: \"a\"",
            0,
            STALE,
        ),
        (
            "Cache-Control: max-stale",
            "Cache-Control: max-age=60, no-cache\nETag: \"a\"",
            0,
            STALE,
        ),
        ("", "Cache-Control: max-age=60, no-cache=\"x-a\"", 0, Fresh),
    ]);
}

#[test]
fn a_request_limits_age_and_asks_for_freshness_to_come() {
    check(&[
        (
            "Cache-Control: no-cache",
            "Cache-Control: max-age=60",
            0,
            ASKED,
        ),
        ("Pragma: no-cache", "Cache-Control: max-age=60", 0, ASKED),
        (
            "Cache-Control: no-store",
            "Cache-Control: max-age=60",
            0,
            Fresh,
        ),
        (
            "Cache-Control: max-age=10",
            "Cache-Control: max-age=60",
            9,
            Fresh,
        ),
        (
            "Cache-Control: max-age=10",
            "Cache-Control: max-age=60",
            10,
            Fresh,
        ),
        (
            "Cache-Control: max-age=10",
            "Cache-Control: max-age=60",
            11,
            ASKED,
        ),
        (
            "Cache-Control: max-age=0",
            "Cache-Control: max-age=60",
            0,
            Fresh,
        ),
        (
            "Cache-Control: max-age=0",
            "Cache-Control: max-age=60",
            1,
            ASKED,
        ),
        (
            "Cache-Control: max-age=x",
            "Cache-Control: max-age=60",
            1,
            Fresh,
        ),
        (
            "Cache-Control: max-age=999999999999",
            "Cache-Control: max-age=60",
            59,
            Fresh,
        ),
        (
            "Cache-Control: min-fresh=10",
            "Cache-Control: max-age=60",
            49,
            Fresh,
        ),
        (
            "Cache-Control: min-fresh=10",
            "Cache-Control: max-age=60",
            50,
            Fresh,
        ),
        (
            "Cache-Control: min-fresh=10",
            "Cache-Control: max-age=60",
            51,
            ASKED,
        ),
        (
            "Cache-Control: min-fresh=999999999999",
            "Cache-Control: max-age=60",
            0,
            ASKED,
        ),
        // what is stale anyway goes upstream for that
        (
            "Cache-Control: no-cache",
            "Cache-Control: max-age=60",
            60,
            STALE,
        ),
        (
            "Cache-Control: max-age=10",
            "Cache-Control: max-age=60",
            60,
            STALE,
        ),
    ]);
}

#[test]
fn max_stale_accepts_so_much_and_never_what_the_response_forbids() {
    check(&[
        (
            "Cache-Control: max-stale=10",
            "Cache-Control: max-age=60",
            69,
            StaleAllowed,
        ),
        (
            "Cache-Control: max-stale=10",
            "Cache-Control: max-age=60",
            70,
            StaleAllowed,
        ),
        (
            "Cache-Control: max-stale=10",
            "Cache-Control: max-age=60",
            71,
            STALE,
        ),
        (
            "Cache-Control: max-stale=0",
            "Cache-Control: max-age=60",
            60,
            StaleAllowed,
        ),
        (
            "Cache-Control: max-stale",
            "Cache-Control: max-age=60",
            1_000_000,
            StaleAllowed,
        ),
        (
            "Cache-Control: max-stale=x",
            "Cache-Control: max-age=60",
            60,
            STALE,
        ),
        (
            "Cache-Control: max-stale",
            "Cache-Control: max-age=60, must-revalidate",
            60,
            STALE,
        ),
        (
            "Cache-Control: max-stale",
            "Cache-Control: max-age=60, proxy-revalidate",
            60,
            STALE,
        ),
        (
            "Cache-Control: max-stale",
            "Cache-Control: s-maxage=60",
            60,
            STALE,
        ),
        (
            "Cache-Control: max-stale, max-age=70",
            "Cache-Control: max-age=60",
            70,
            StaleAllowed,
        ),
        (
            "Cache-Control: max-stale, max-age=70",
            "Cache-Control: max-age=60",
            71,
            STALE,
        ),
        (
            "Cache-Control: max-stale, min-fresh=1",
            "Cache-Control: max-age=60",
            60,
            STALE,
        ),
    ]);
}

#[test]
fn stale_while_revalidate_lasts_its_window_for_those_who_limit_nothing() {
    const RESPONSE: &str = "Cache-Control: max-age=60, stale-while-revalidate=10";
    check(&[
        ("", RESPONSE, 59, Fresh),
        ("", RESPONSE, 60, StaleWhileRevalidate),
        ("", RESPONSE, 69, StaleWhileRevalidate),
        ("", RESPONSE, 70, STALE),
        ("", RESPONSE, 71, STALE),
        ("Cache-Control: max-age=100", RESPONSE, 60, STALE),
        ("Cache-Control: min-fresh=0", RESPONSE, 60, STALE),
        ("Cache-Control: max-stale=2", RESPONSE, 63, STALE),
        ("Cache-Control: no-cache", RESPONSE, 60, STALE),
        (
            "",
            "Cache-Control: max-age=60, stale-while-revalidate=0",
            60,
            STALE,
        ),
        (
            "",
            "Cache-Control: max-age=60, stale-while-revalidate=x",
            60,
            STALE,
        ),
        (
            "",
            "Cache-Control: max-age=60, stale-while-revalidate=10, must-revalidate",
            60,
            STALE,
        ),
        (
            "",
            "Cache-Control: s-maxage=60, stale-while-revalidate=10",
            60,
            STALE,
        ),
    ]);
}

#[test]
fn a_named_caller_gets_only_what_is_marked_as_shared() {
    check(&[
        ("Cookie: a=b", "Cache-Control: max-age=60", 0, NotForCaller),
        (
            "Authorization: x",
            "Cache-Control: max-age=60",
            0,
            NotForCaller,
        ),
        (
            "Authorization: x",
            "Cache-Control: max-age=60, must-revalidate",
            0,
            NotForCaller,
        ),
        ("Cookie: a=b", "Cache-Control: max-age=60, public", 0, Fresh),
        ("Cookie: a=b", "Cache-Control: s-maxage=60", 0, Fresh),
        ("Cookie: a=b", "CDN-Cache-Control: max-age=60", 0, Fresh),
        (
            "Cookie: a=b",
            "Cache-Control: max-age=60, public",
            60,
            STALE,
        ),
    ]);
    let case = Case {
        request: "Cookie: a=b\nAuthorization: x",
        rules: rfc(),
        ..Case::default()
    };
    let stored = kept("Cache-Control: max-age=60");
    assert_eq!(
        reuse(&stored, &case.lookup(), at(0)),
        Fresh,
        "the standard does not ask who asks"
    );
}

#[test]
fn a_failed_upstream_is_stood_in_for_within_the_window_unless_forbidden() {
    // (request, response, seconds later, expected)
    let rows = [
        ("", "Cache-Control: max-age=60, stale-if-error=10", 0, true),
        ("", "Cache-Control: max-age=60, stale-if-error=10", 69, true),
        (
            "",
            "Cache-Control: max-age=60, stale-if-error=10",
            70,
            false,
        ),
        (
            "",
            "Cache-Control: max-age=60, stale-if-error=10",
            71,
            false,
        ),
        ("", "Cache-Control: max-age=60", 659, true),
        ("", "Cache-Control: max-age=60", 660, false),
        ("", "Cache-Control: max-age=60, stale-if-error=0", 60, false),
        ("", "Cache-Control: max-age=60, must-revalidate", 60, false),
        ("", "Cache-Control: max-age=60, proxy-revalidate", 60, false),
        ("", "Cache-Control: s-maxage=60", 60, false),
        ("", "Cache-Control: no-cache\nETag: \"a\"", 0, false),
        (
            "Cache-Control: no-cache",
            "Cache-Control: max-age=60",
            60,
            false,
        ),
        (
            "Cache-Control: max-age=100",
            "Cache-Control: max-age=60",
            60,
            false,
        ),
        (
            "Cache-Control: max-stale=5",
            "Cache-Control: max-age=60",
            65,
            true,
        ),
        (
            "Cache-Control: max-stale=5",
            "Cache-Control: max-age=60",
            66,
            false,
        ),
        ("Cookie: a=b", "Cache-Control: max-age=60", 60, false),
        ("Cookie: a=b", "Cache-Control: max-age=60, public", 60, true),
    ];
    for (request, response, later, expected) in rows {
        let got = stale_on_error(&kept(response), &lookup(request), at(later));
        assert_eq!(got, expected, "{request:?} {response:?} {later} s later");
    }
}

#[test]
fn those_who_waited_share_what_they_could_have_asked_for() {
    let rows = [
        ("", "Cache-Control: max-age=60", true),
        ("", "Cache-Control: no-cache\nETag: \"a\"", true),
        ("", "Cache-Control: max-age=0\nETag: \"a\"", true),
        ("Cookie: a=b", "Cache-Control: max-age=60", false),
        ("Cookie: a=b", "Cache-Control: max-age=60, public", true),
        (
            "Cache-Control: no-cache",
            "Cache-Control: max-age=60",
            false,
        ),
        (
            "Cache-Control: max-age=5",
            "Cache-Control: max-age=60\nAge: 5",
            true,
        ),
        (
            "Cache-Control: max-age=5",
            "Cache-Control: max-age=60\nAge: 6",
            false,
        ),
        (
            "Cache-Control: min-fresh=60",
            "Cache-Control: max-age=60",
            true,
        ),
        (
            "Cache-Control: min-fresh=61",
            "Cache-Control: max-age=60",
            false,
        ),
    ];
    for (request, response, expected) in rows {
        let got = shareable_with_waiters(&kept(response), &lookup(request));
        assert_eq!(got, expected, "{request:?} {response:?}");
    }
}
