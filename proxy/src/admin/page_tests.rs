//! `docs/REASONS.md` names every reason, metric and number that operators see, in the words of the code where it has any.

use std::collections::BTreeSet;
use std::fs;

use larder_policy::{Reason, XCache};

use super::Stats;
use crate::metrics::{FAMILIES, RedisState, Totals};
use crate::store::RedisError;

fn page() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/REASONS.md");
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The rows of all tables whose head begins so, cell by cell; without the quotes round the first.
fn rows<'a>(page: &'a str, head: &str) -> Vec<Vec<&'a str>> {
    let tables = page.split("\n\n");
    let tables = tables.filter(|paragraph| paragraph.starts_with(head));
    tables
        .flat_map(|table| table.lines().skip(2))
        .map(|row| {
            let row = row.trim_start_matches("| ").trim_end_matches(" |");
            let mut cells: Vec<_> = row.split(" | ").collect();
            cells[0] = cells[0].trim_matches('`');
            cells
        })
        .collect()
}

/// The first cells, each of which stands there once.
fn names<'a>(rows: &[Vec<&'a str>]) -> BTreeSet<&'a str> {
    let names: BTreeSet<_> = rows.iter().map(|row| row[0]).collect();
    assert_eq!(names.len(), rows.len(), "a row stands twice: {rows:?}");
    names
}

#[test]
fn the_page_says_of_every_reason_what_it_means_and_what_to_do() {
    let page = page();
    let rows = rows(&page, "| code |");
    let known: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(names(&rows), known);
    for reason in Reason::ALL {
        let row = rows.iter().find(|row| row[0] == reason.as_str()).unwrap();
        assert_eq!(row[1], reason.text(), "{row:?}");
        assert!(row.len() == 3 && row[2].len() > 5, "{row:?}");
    }
}

#[test]
fn the_page_has_a_heading_for_every_result() {
    let page = page();
    let headings: String = page.lines().filter(|l| l.starts_with("### ")).collect();
    for result in XCache::ALL {
        let name = format!("`{}`", result.as_str());
        assert!(headings.contains(&name), "{name} is in no heading");
    }
}

#[test]
fn the_page_has_every_metric_with_its_labels_and_words() {
    let page = page();
    let rows = rows(&page, "| name |");
    let known: BTreeSet<_> = FAMILIES.iter().map(|family| family.name).collect();
    assert_eq!(names(&rows), known);
    for family in FAMILIES {
        let row = rows.iter().find(|row| row[0] == family.name).unwrap();
        let labels: Vec<_> = row[1].split('`').skip(1).step_by(2).collect();
        assert_eq!(labels, family.labels, "{row:?}");
        assert_eq!(row[2], family.help, "{row:?}");
    }
}

#[test]
fn the_page_has_every_kind_of_redis_error() {
    let page = page();
    let known: BTreeSet<_> = RedisError::ALL.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(names(&rows(&page, "| kind |")), known);
}

#[test]
fn the_page_has_every_number_of_the_statistics() {
    let page = page();
    let stats = Stats {
        totals: Totals::default(),
        entries: 0,
        bytes: 0,
        bytes_max: 0,
        redis: RedisState::Off,
    };
    let json = stats.json();
    let known: BTreeSet<_> = json
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let rows = rows(&page, "| field |");
    assert_eq!(names(&rows), known);
    let redis = rows.iter().find(|row| row[0] == "redis").unwrap();
    for state in [RedisState::Off, RedisState::Up, RedisState::Down] {
        assert!(redis[1].contains(&format!("`{}`", state.as_str())));
    }
}
