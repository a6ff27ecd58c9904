//! RFC 9111 §4.2: lifetimes and ages.

use std::time::Duration;

use larder_policy::{Flags, Route};

use crate::support::{Case, at, kept, rfc};

#[test]
fn lifetime_follows_the_order_of_the_standard() {
    let rows = [
        // s-maxage, max-age, Expires, in that order
        (
            "Cache-Control: max-age=1, s-maxage=2\nExpires: {+3}\nDate: {0}",
            2,
        ),
        ("Cache-Control: max-age=1\nExpires: {+3}\nDate: {0}", 1),
        ("Expires: {+3}\nDate: {0}", 3),
        // against the origin's own clock, however wrong
        ("Expires: {+7203}\nDate: {+7200}", 3),
        ("Expires: {-3597}\nDate: {-3600}\nETag: \"a\"", 3),
        // the time of receipt without Date, or with an unreadable one
        ("Expires: {+3}", 3),
        ("Expires: {+3}\nDate: yesterday", 3),
        // at and before Date, and what is no date (§5.3)
        ("Expires: {+1}\nDate: {0}", 1),
        ("Expires: {0}\nDate: {0}\nETag: \"a\"", 0),
        ("Expires: {-1}\nDate: {0}\nETag: \"a\"", 0),
        ("Expires: 0\nETag: \"a\"", 0),
        ("Expires: -1\nETag: \"a\"", 0),
        ("Expires:\nETag: \"a\"", 0),
        ("Expires: Thu, 01 Dec 1994 16:00:00 PST\nETag: \"a\"", 0),
        // of two lines the first
        ("Expires: {+3}\nExpires: {+9}\nDate: {0}", 3),
        ("Expires: 0\nExpires: {+9}\nETag: \"a\"", 0),
        // more than the arithmetic holds (§1.2.2)
        (
            "Expires: Fri, 31 Dec 9999 23:59:59 GMT\nDate: {0}",
            2_147_483_648,
        ),
        // an explicit lifetime leaves no room for a guess (§4.2.2)
        ("Cache-Control: max-age=0\nLast-Modified: {-864000}", 0),
        ("Expires: 0\nLast-Modified: {-864000}", 0),
        // nothing said
        ("ETag: \"a\"", 0),
    ];
    for (row, expected) in rows {
        assert_eq!(kept(row).lifetime_s, expected, "{row}");
    }
}

#[test]
fn every_form_of_a_date_is_read_in_any_case() {
    for expires in [
        "Tue, 14 Nov 2023 22:13:30 GMT",
        "Tuesday, 14-Nov-23 22:13:30 GMT",
        "Tue Nov 14 22:13:30 2023",
        "tue, 14 nov 2023 22:13:30 gmt",
        "TUE, 14 NOV 2023 22:13:30 GMT",
    ] {
        let response = format!("Date: {{0}}\nExpires: {expires}");
        assert_eq!(kept(&response).lifetime_s, 10, "{expires}");
    }
}

#[test]
fn a_local_time_zone_changes_nothing() {
    // The zone is read once in a process, so these tests are run in others.
    let tests = [
        "freshness::every_form_of_a_date_is_read_in_any_case",
        "freshness::lifetime_follows_the_order_of_the_standard",
        "freshness::initial_age_is_the_greater_of_what_clocks_and_caches_say",
    ];
    for zone in ["Pacific/Auckland", "XXX+11:30", "XXX-13:45YYY"] {
        let run = std::process::Command::new(std::env::current_exe().expect("this program"))
            .env("TZ", zone)
            .arg("--exact")
            .args(tests)
            .output()
            .expect("it runs again");
        let said = String::from_utf8_lossy(&run.stdout);
        assert!(
            run.status.success() && said.contains("3 passed"),
            "{zone}: {said}"
        );
    }
}

#[test]
fn a_guess_is_a_tenth_of_the_time_since_the_last_change_up_to_a_day() {
    let rows = [
        (9, 0),
        (10, 1),
        (19, 1),
        (20, 2),
        (863_999, 86_399),
        (864_000, 86_400),
        (864_010, 86_400),
        (0, 0),
        (-10, 0),
    ];
    for (ago, expected) in rows {
        let policy = kept(&format!("Date: {{0}}\nLast-Modified: {{{}}}", -ago));
        assert_eq!(policy.lifetime_s, expected, "{ago}");
        assert!(policy.flags.contains(Flags::HEURISTIC));
    }
}

#[test]
fn only_some_statuses_are_guessed_at_unless_public() {
    let lifetime = |status, extra| {
        let case = Case {
            status,
            rules: rfc(),
            ..Case::default()
        };
        match case.storable(&format!("Date: {{0}}\nLast-Modified: {{-100}}\n{extra}")) {
            larder_policy::Storable::Yes(policy) => Some(policy.lifetime_s),
            larder_policy::Storable::No(_) => None,
        }
    };
    for status in [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501] {
        assert_eq!(lifetime(status, ""), Some(10), "{status}");
    }
    for status in [
        201, 202, 302, 303, 307, 400, 401, 403, 429, 500, 502, 503, 504, 599,
    ] {
        assert_eq!(lifetime(status, ""), None, "{status}");
        assert_eq!(
            lifetime(status, "Cache-Control: public"),
            Some(10),
            "{status}"
        );
    }
}

#[test]
fn a_routes_ttl_fills_in_and_overrides_only_when_told() {
    let route = |override_origin| Route {
        ttl: Some(Duration::from_secs(30)),
        override_origin,
        ..Route::default()
    };
    // response, status, filled in, overridden
    let rows = [
        ("ETag: \"a\"", 200, Some(30), Some(30)),
        ("", 200, Some(30), Some(30)),
        ("Last-Modified: {-1000}", 200, Some(30), Some(30)),
        ("Cache-Control: max-age=5", 200, Some(5), Some(30)),
        ("Cache-Control: s-maxage=5", 200, Some(5), Some(30)),
        ("Expires: {+5}\nDate: {0}", 200, Some(5), Some(30)),
        ("CDN-Cache-Control: max-age=5", 200, Some(5), Some(30)),
        ("", 404, Some(30), Some(30)),
        ("", 500, None, None),
        ("Cache-Control: max-age=5", 500, Some(5), Some(5)),
        ("Cache-Control: no-store", 200, None, None),
        ("Cache-Control: private", 200, None, None),
    ];
    for (response, status, filled, overridden) in rows {
        for (override_origin, expected) in [(false, filled), (true, overridden)] {
            let case = Case {
                status,
                route: route(override_origin),
                ..Case::default()
            };
            let lifetime = match case.storable(response) {
                larder_policy::Storable::Yes(policy) => Some(policy.lifetime_s),
                larder_policy::Storable::No(_) => None,
            };
            assert_eq!(lifetime, expected, "{response} {status} {override_origin}");
        }
    }
}

#[test]
fn no_route_overrides_no_cache() {
    let case = Case {
        route: Route {
            ttl: Some(Duration::from_secs(30)),
            override_origin: true,
            ..Route::default()
        },
        ..Case::default()
    };
    let policy = case.kept("Cache-Control: no-cache\nETag: \"a\"");
    assert!(policy.flags.contains(Flags::NO_CACHE));
}

#[test]
fn initial_age_is_the_greater_of_what_clocks_and_caches_say() {
    // response, seconds the exchange took, expected
    let rows = [
        ("Date: {0}", 0, 0),
        ("Date: {-5}", 0, 5),
        ("Date: {+5}", 0, 0),
        ("", 0, 0),
        ("Date: never", 0, 0),
        ("Age: 7", 0, 7),
        ("Age: 7\nDate: {-5}", 0, 7),
        ("Age: 3\nDate: {-5}", 0, 5),
        // §4.2.3: an age counts from when the request was sent
        ("Age: 7", 2, 9),
        ("", 2, 2),
        ("Age: 3\nDate: {-5}", 2, 5),
        ("Age: 4\nDate: {-5}", 2, 6),
        // a clock set back meanwhile
        ("Age: 7", -2, 7),
        // §5.1: the first of several, an unreadable one ignored
        ("Age: 7, 0", 0, 7),
        ("Age: 0, 7", 0, 0),
        ("Age: 7\nAge: 0", 0, 7),
        ("Age: 0\nAge: 7", 0, 0),
        ("Age: -7", 0, 0),
        ("Age: 7.5", 0, 0),
        ("Age: old", 0, 0),
        ("Age:", 0, 0),
        ("Age: 007", 0, 7),
        // §1.2.2
        ("Age: 2147483647", 0, 2_147_483_647),
        ("Age: 2147483648", 0, 2_147_483_648),
        ("Age: 2147483649", 0, 2_147_483_648),
        ("Age: 99999999999999999999999", 5, 2_147_483_648),
    ];
    for (row, delay_s, expected) in rows {
        let case = Case {
            delay_s,
            ..Case::default()
        };
        let policy = case.kept(&format!("ETag: \"a\"\nCache-Control: max-age=60\n{row}"));
        assert_eq!(policy.initial_age_s, expected, "{row} after {delay_s}");
    }
}

#[test]
fn age_grows_with_residence_and_never_shrinks_below_its_beginning() {
    let policy = kept("Cache-Control: max-age=60\nAge: 10");
    for (later, age, ttl) in [
        (0, 10, 50),
        (1, 11, 49),
        (49, 59, 1),
        (50, 60, 0),
        (51, 61, -1),
    ] {
        assert_eq!(
            (policy.age_s(at(later)), policy.ttl_s(at(later))),
            (age, ttl),
            "{later}"
        );
    }
    assert_eq!(policy.age_s(at(-1000)), 10, "a clock that was set back");
    assert_eq!(policy.age_s(at(10_000_000_000)), 2_147_483_648);
}

#[test]
fn a_store_keeps_a_response_to_the_end_of_its_longest_use() {
    // response, seconds later, seconds to keep it
    let rows = [
        ("Cache-Control: max-age=60, must-revalidate", 0, 60),
        ("Cache-Control: max-age=60, must-revalidate", 59, 1),
        ("Cache-Control: max-age=60, must-revalidate", 60, 0),
        ("Cache-Control: max-age=60, must-revalidate", 61, 0),
        ("Cache-Control: max-age=60, stale-if-error=5", 0, 65),
        (
            "Cache-Control: max-age=60, stale-while-revalidate=9, stale-if-error=5",
            0,
            69,
        ),
        // the safe default
        ("Cache-Control: max-age=60", 0, 660),
        // slack for a conditional request
        (
            "Cache-Control: max-age=60, must-revalidate\nETag: \"a\"",
            0,
            3660,
        ),
    ];
    for (row, later, expected) in rows {
        assert_eq!(
            kept(row).keep_for(at(later)).as_secs(),
            expected,
            "{row} {later}"
        );
    }
}

#[test]
fn flags_survive_their_bits_and_unknown_bits_are_refused() {
    let flags =
        kept("Cache-Control: public, max-age=60, must-revalidate, immutable\nETag: \"a\"").flags;
    assert_eq!(Flags::from_bits(flags.bits()), Some(flags));
    for fact in [
        Flags::MUST_REVALIDATE,
        Flags::EXPLICITLY_SHARED,
        Flags::IMMUTABLE,
        Flags::HAS_VALIDATOR,
    ] {
        assert!(flags.contains(fact));
    }
    assert!(!flags.contains(Flags::NO_CACHE) && !flags.contains(Flags::HEURISTIC));
    assert_eq!(Flags::from_bits(1 << 7), None);
    assert_eq!(Flags::from_bits(u16::MAX), None);
}

#[test]
fn an_exchange_took_whole_milliseconds_rounded_up() {
    let begun = std::time::UNIX_EPOCH + Duration::from_secs(1000);
    let took = |us: u64| {
        let response_time = begun + Duration::from_micros(us);
        larder_policy::Exchange {
            request_time: begun,
            response_time,
        }
        .took_ms()
    };
    let rows = [
        (0, 0),
        (1, 1),
        (999, 1),
        (1000, 1),
        (1001, 2),
        (u64::MAX / 1024, u32::MAX),
    ];
    for (us, ms) in rows {
        assert_eq!(took(us), ms, "{us} us");
    }
    let clock_set_back = larder_policy::Exchange {
        request_time: begun,
        response_time: begun - Duration::from_secs(1),
    };
    assert_eq!(clock_set_back.took_ms(), 0);
}
