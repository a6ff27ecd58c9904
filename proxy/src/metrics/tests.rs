//! What a scrape shows.

use std::collections::BTreeSet;

use larder_policy::{Failure, Forward, NotStorable, Pass, StaleWhy, Stored};

use super::*;

const TOOK: Duration = Duration::from_micros(300);

fn held() -> Held {
    Held {
        entries: 7,
        bytes: 4096,
        bytes_max: 1 << 20,
        purges: 5,
        purges_followed: true,
        redis_errors: vec![("timeout", 3), ("connection", 0)],
        redis_state: RedisState::Up,
        connections: 2,
        waiting: 4,
        upstream_up: true,
    }
}

fn miss(stored: Stored) -> Outcome {
    Outcome::Miss {
        fwd: Forward::UriMiss,
        status: 200,
        stored,
        collapsed: false,
    }
}

fn one_of_each() -> [Outcome; 6] {
    [
        Outcome::Hit { ttl_s: 3 },
        miss(Stored::Yes),
        Outcome::Stale {
            ttl_s: -1,
            why: StaleWhy::MaxStale,
        },
        Outcome::Revalidated {
            fwd: Forward::Stale,
            status: 304,
            ttl_s: 9,
            stored: true,
        },
        Outcome::Bypass {
            pass: Pass::Method,
            status: Some(201),
        },
        Outcome::Error(Failure::UpstreamTimeout),
    ]
}

fn names(text: &str) -> BTreeSet<&str> {
    text.lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect()
}

#[test]
fn a_scrape_shows_exactly_the_families_of_the_table() {
    let metrics = Metrics::new(UNIX_EPOCH);
    metrics.observe_request(&miss(Stored::Yes), TOOK);
    let text = metrics.render(&held());
    let table: BTreeSet<_> = FAMILIES.iter().map(|family| family.name).collect();
    assert_eq!(names(&text), table);
    assert_eq!(
        table.len(),
        FAMILIES.len(),
        "a name stands twice in the table"
    );
}

#[test]
fn names_once_published_do_not_change() {
    let published = [
        "larder_build_info",
        "larder_connections",
        "larder_hit_duration_seconds",
        "larder_hits_at_once_total",
        "larder_lease_spared_total",
        "larder_lease_taken_over_total",
        "larder_purges_followed",
        "larder_purges_known",
        "larder_redis_errors_total",
        "larder_redis_up",
        "larder_request_duration_seconds",
        "larder_requests_total",
        "larder_requests_waiting",
        "larder_store_bytes",
        "larder_store_bytes_max",
        "larder_store_entries",
        "larder_upstream_duration_seconds",
        "larder_upstream_refused_total",
        "larder_upstream_requests_total",
        "larder_upstream_up",
        "process_start_time_seconds",
    ];
    let table: BTreeSet<_> = FAMILIES.iter().map(|family| family.name).collect();
    assert_eq!(table, BTreeSet::from(published));
}

#[test]
fn handles_stand_where_their_enum_value_points() {
    // The arrays are indexed by `as usize`: that is sound only while ALL follows the declaration.
    for (index, result) in XCache::ALL.iter().enumerate() {
        assert_eq!(*result as usize, index);
    }
    for (index, reason) in Reason::ALL.iter().enumerate() {
        assert_eq!(*reason as usize, index);
    }
}

#[test]
fn each_outcome_counts_under_its_own_result_and_reason() {
    let metrics = Metrics::new(UNIX_EPOCH);
    for outcome in one_of_each() {
        metrics.observe_request(&outcome, TOOK);
    }
    metrics.observe_request(&miss(Stored::No(NotStorable::Private)), TOOK);
    let text = metrics.render(&held());
    for row in [
        r#"larder_requests_total{reason="fresh",result="hit"} 1"#,
        r#"larder_requests_total{reason="uri-miss",result="miss"} 1"#,
        r#"larder_requests_total{reason="private",result="miss"} 1"#,
        r#"larder_requests_total{reason="max-stale",result="stale"} 1"#,
        r#"larder_requests_total{reason="validated",result="revalidated"} 1"#,
        r#"larder_requests_total{reason="method",result="bypass"} 1"#,
        r#"larder_requests_total{reason="upstream-timeout",result="error"} 1"#,
    ] {
        assert!(
            text.lines().any(|line| line == row),
            "{row} is not in:\n{text}"
        );
    }
    let rows = text
        .lines()
        .filter(|line| line.starts_with("larder_requests_total{"))
        .count();
    assert_eq!(rows, 7, "combinations that never happened are not shown");
}

#[test]
fn totals_are_the_sums_of_the_counters() {
    let metrics = Metrics::new(UNIX_EPOCH);
    for outcome in one_of_each() {
        metrics.observe_request(&outcome, TOOK);
    }
    metrics.observe_request(&miss(Stored::TooLarge), TOOK);
    metrics.observe_request(&Outcome::OnlyIfCached, TOOK);
    let totals = Totals {
        hits: 1,
        misses: 3,
        stale: 1,
        revalidated: 1,
        bypassed: 1,
        errors: 1,
    };
    assert_eq!(metrics.totals(), totals);
}

#[test]
fn hits_and_other_results_have_durations_of_their_own() {
    let metrics = Metrics::new(UNIX_EPOCH);
    metrics.observe_request(&Outcome::Hit { ttl_s: 3 }, TOOK);
    metrics.observe_request(&miss(Stored::Yes), TOOK);
    metrics.observe_upstream(Duration::from_millis(200), true);
    metrics.observe_upstream(Duration::from_secs(3), false);
    let text = metrics.render(&held());
    for row in [
        r#"larder_hit_duration_seconds_bucket{le="0.00025"} 0"#,
        r#"larder_hit_duration_seconds_bucket{le="0.0005"} 1"#,
        "larder_hit_duration_seconds_count 1",
        r#"larder_request_duration_seconds_count{result="miss"} 1"#,
        "larder_upstream_duration_seconds_count 2",
        r#"larder_upstream_requests_total{outcome="answered"} 1"#,
        r#"larder_upstream_requests_total{outcome="failed"} 1"#,
    ] {
        assert!(
            text.lines().any(|line| line == row),
            "{row} is not in:\n{text}"
        );
    }
    assert!(!text.contains(r#"larder_request_duration_seconds_count{result="hit"}"#));
}

#[test]
fn what_is_held_is_told_as_it_is_at_the_scrape() {
    let metrics = Metrics::new(UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    let mut held = held();
    for _ in 0..2 {
        let text = metrics.render(&held);
        for row in [
            "larder_store_entries 7",
            "larder_store_bytes 4096",
            "larder_store_bytes_max 1048576",
            "larder_connections 2",
            "larder_redis_up 1",
            r#"larder_redis_errors_total{kind="timeout"} 3"#,
            "process_start_time_seconds 1700000000",
        ] {
            assert!(
                text.lines().any(|line| line == row),
                "{row} is not in:\n{text}"
            );
        }
    }
    held.purges_followed = false;
    assert!(
        metrics
            .render(&held)
            .contains("\nlarder_purges_followed 0\n")
    );
    held.redis_state = RedisState::Down;
    assert!(metrics.render(&held).contains("\nlarder_redis_up 0\n"));
    held.redis_state = RedisState::Off;
    assert!(!metrics.render(&held).contains("larder_redis_up"));
}
