//! When an article was published, in the many ways sources write it.
//!
//! Left out: time zone names other than those of RFC 2822, and dates in words; feeds' own odd forms are read by their parser.

use chrono::{DateTime, NaiveDate, NaiveDateTime, SubsecRound, Utc};

/// No news site is older than the web; earlier dates (1970 above all) mean "unknown".
const YEAR_MIN: i32 = 1990;

/// Reads RFC 3339 with any fraction and offset, the same without an offset (taken as UTC), a bare day, or RFC 2822.
pub fn parse_date(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    if let Ok(date) = DateTime::parse_from_rfc3339(text) {
        return Some(date.to_utc());
    }
    for form in [
        "%Y-%m-%dT%H:%M:%S%.f",
        "%Y-%m-%d %H:%M:%S%.f",
        "%Y-%m-%dT%H:%M",
    ] {
        if let Ok(date) = NaiveDateTime::parse_from_str(text, form) {
            return Some(date.and_utc());
        }
    }
    // "+0100" without the colon is ISO 8601 but not RFC 3339.
    for form in ["%Y-%m-%dT%H:%M:%S%.f%z", "%Y-%m-%d %H:%M:%S%.f%z"] {
        if let Ok(date) = DateTime::parse_from_str(text, form) {
            return Some(date.to_utc());
        }
    }
    if let Ok(day) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return day.and_hms_opt(0, 0, 0).map(|date| date.and_utc());
    }
    DateTime::parse_from_rfc2822(text)
        .ok()
        .map(|date| date.to_utc())
}

/// The date to store and whether it is only our estimate. A missing or prehistoric date, and one from the future,
/// becomes `now`: a wrong clock elsewhere must not pin an article to the top of the list.
pub fn plausible_date(given: Option<DateTime<Utc>>, now: DateTime<Utc>) -> (DateTime<Utc>, bool) {
    use chrono::Datelike;
    match given {
        // Microseconds are what the databases keep: what is written is what is read back. A leap second is rounded
        // away first, for the same reason.
        Some(date) if date.year() >= YEAR_MIN && date <= now => {
            (without_leap_second(date).trunc_subsecs(6), false)
        }
        _ => (now.trunc_subsecs(6), true),
    }
}

/// chrono keeps second 60 as a fraction above one second; databases refuse it.
fn without_leap_second(date: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(date.timestamp_micros()).unwrap_or(date)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text)
            .expect("a test's own date")
            .to_utc()
    }

    #[test]
    fn the_forms_seen_in_the_wild_are_read() {
        let rows = [
            ("2025-06-18T03:09:10Z", "2025-06-18T03:09:10Z"),
            ("2023-10-17T16:50:00+00:00", "2023-10-17T16:50:00Z"),
            (
                "2023-10-12T15:37:18.5821493Z",
                "2023-10-12T15:37:18.5821493Z",
            ),
            (
                "2023-10-12T15:37:18.123456789123Z",
                "2023-10-12T15:37:18.123456789Z",
            ),
            ("2024-01-01T01:00:00+05:30", "2023-12-31T19:30:00Z"),
            ("2024-01-01T01:00:00+0530", "2023-12-31T19:30:00Z"),
            ("2024-11-22T01:51:34", "2024-11-22T01:51:34Z"),
            ("2024-11-22 01:51:34", "2024-11-22T01:51:34Z"),
            ("2024-11-22T01:51", "2024-11-22T01:51:00Z"),
            ("2024-11-22", "2024-11-22T00:00:00Z"),
            (" Fri, 31 May 2019 12:17:58 -0700 ", "2019-05-31T19:17:58Z"),
        ];
        for (text, expected) in rows {
            assert_eq!(parse_date(text), Some(at(expected)), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "yesterday",
            "0000-00-00T00:00:00Z",
            "2024-13-01",
            "20241122",
            "null",
        ] {
            assert_eq!(parse_date(text), None, "{text:?}");
        }
    }

    #[test]
    fn future_and_prehistoric_dates_become_now_and_say_so() {
        let now = at("2026-01-01T12:00:00Z");
        let rows = [
            (Some(at("2026-01-01T12:00:00Z")), now, false),
            (Some(at("2026-01-01T12:00:01Z")), now, true),
            (
                Some(at("1990-01-01T00:00:00Z")),
                at("1990-01-01T00:00:00Z"),
                false,
            ),
            (Some(at("1989-12-31T23:59:59Z")), now, true),
            (Some(at("1970-01-01T00:00:00Z")), now, true),
            (None, now, true),
        ];
        for (given, expected, estimated) in rows {
            assert_eq!(
                plausible_date(given, now),
                (expected, estimated),
                "{given:?}"
            );
        }
    }

    #[test]
    fn fractions_are_cut_to_what_databases_keep() {
        let now = at("2026-01-01T12:00:00Z");
        let given = parse_date("2023-10-12T15:37:18.5821493Z");
        assert_eq!(
            plausible_date(given, now).0,
            at("2023-10-12T15:37:18.582149Z")
        );
    }
}
