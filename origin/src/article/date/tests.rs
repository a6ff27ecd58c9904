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
fn the_dialects_of_iso_8601_are_read() {
    let rows = [
        ("2026-11-20T10:00Z", "2026-11-20T10:00:00Z"),
        ("2026-11-20T10:00+01:00", "2026-11-20T09:00:00Z"),
        ("2026-11-20t10:00:00z", "2026-11-20T10:00:00Z"),
        ("2026-11-20 10:00:00 UTC", "2026-11-20T10:00:00Z"),
        ("2026-11-20 10:00:00 +0100", "2026-11-20T09:00:00Z"),
        ("2026-11-20 10:00:00 CET", "2026-11-20T09:00:00Z"),
        ("2026-11-20T10:00:00+01", "2026-11-20T09:00:00Z"),
        ("2026-11-20T10:00:00-00:00", "2026-11-20T10:00:00Z"),
        ("2026-11-20T10:00:00,5Z", "2026-11-20T10:00:00.5Z"),
        ("2026-11-20T24:00:00Z", "2026-11-21T00:00:00Z"),
        (
            "2026-11-20T10:00:00Z[Europe/Berlin]",
            "2026-11-20T10:00:00Z",
        ),
        ("2026/11/20 10:00:00", "2026-11-20T10:00:00Z"),
        ("20261120T100000Z", "2026-11-20T10:00:00Z"),
        ("20261120T1000+0530", "2026-11-20T04:30:00Z"),
        ("1795168800", "2026-11-20T10:00:00Z"),
        ("1795168800250", "2026-11-20T10:00:00.25Z"),
    ];
    for (text, expected) in rows {
        assert_eq!(parse_date(text), Some(at(expected)), "{text:?}");
    }
}

#[test]
fn dates_with_the_month_in_letters_are_read() {
    let ten = "2026-11-20T10:00:00Z";
    let rows = [
        ("Fri, 20 Nov 2026 10:00:00 GMT", ten),
        ("Fri, 20 Nov 2026 10:00:00 UTC", ten),
        ("Fri, 20 Nov 2026 10:00:00 Z", ten),
        ("Fri, 20 Nov 2026 10:00:00", ten),
        ("Fri, 20 Nov 2026 10:00 GMT", ten),
        ("Fri, 20 Nov 2026 11:00:00 CET", ten),
        ("Fri, 20 Nov 2026 11:00:00 +01:00", ten),
        ("Fri, 20 Nov 2026 05:00:00 EST", ten),
        (
            "Fri, 20 Nov 2026 10:00:00 GMT (Coordinated Universal Time)",
            ten,
        ),
        ("Fri Nov 20 2026 11:00:00 GMT+0100 (CET)", ten),
        // The weekday is wrong.
        ("Thu, 20 Nov 2026 10:00:00 GMT", ten),
        ("20 Nov 26 10:00:00 +0000", ten),
        ("Friday, 20-Nov-26 10:00:00 GMT", ten),
        ("20-Nov-2026 10:00:00", ten),
        ("Fri Nov 20 10:00:00 2026", ten),
        ("Fri Nov 20 10:00:00 +0000 2026", ten),
        ("Fri, 20 November 2026 10:00:00 GMT", ten),
        ("November 20th, 2026 at 10:00 AM", ten),
        ("Nov. 20, 2026 10:00am", ten),
        ("Nov 20, 2026 10:00 pm", "2026-11-20T22:00:00Z"),
        ("Nov 20, 2026 12:05 AM", "2026-11-20T00:05:00Z"),
        ("Fri, 20 Nov 2026 24:10:00 GMT", "2026-11-20T00:10:00Z"),
        ("November 20, 2026", "2026-11-20T00:00:00Z"),
        ("mar, 17 nov 2026 00:38:15 +0100", "2026-11-16T23:38:15Z"),
        ("Di, 3. März 2026 10:00:00 +0100", "2026-03-03T09:00:00Z"),
        ("mardi 3 août 2026", "2026-08-03T00:00:00Z"),
        ("Mon, 04 May 98 10:00:00 GMT", "1998-05-04T10:00:00Z"),
    ];
    for (text, expected) in rows {
        assert_eq!(parse_date(text), Some(at(expected)), "{text:?}");
    }
}

#[test]
fn what_could_be_read_two_ways_is_none() {
    for text in [
        "03/04/2026",
        "Fri, 20 Nov 2026 10:00:00 IST",
        "2026-11-20T10:00:00 IST",
        "2026-11-20T10:00:00+99:99",
        "2026-W47-5",
        "20 2026 10:00",
        "Nov 2026",
        "10:00",
        "31 Feb 2026",
        "20 Nov 2026 25:00",
        "1e9",
    ] {
        assert_eq!(parse_date(text), None, "{text:?}");
    }
    assert_eq!(parse_date(&"1 ".repeat(100_000)), None);
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

proptest::proptest! {
    #[test]
    fn any_text_is_a_date_or_none(text in "[ -~é年]{0,40}|[0-9:., TZ+/-]{0,30}|[a-z0-9]{1,4}(, | |-)[a-z0-9]{1,4}( |-)[0-9]{1,5} [0-9:]{1,9} ?[a-z+-]{0,4}[0-9]{0,4}") {
        let _ = parse_date(&text);
    }
}
