//! `docs/CONFIGURATION.md` names every key that stands in the file alone, and its examples are right.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;

use http::HeaderName;
use larder_policy::{Rules, TrackingParameters};
use tempfile::TempDir;
use toml::Table;

use super::file::FILE_KEYS;
use super::route::{QUERY_KEYS, ROUTE_KEYS, field_names};
use crate::cli::{Start, start};

fn page() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/CONFIGURATION.md");
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The cells of each table of keys, row by row.
fn tables(page: &str) -> Vec<Vec<Vec<&str>>> {
    let tables = page.split("| key | type |").skip(1);
    tables
        .map(|table| {
            let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
            rows.map(|row| row.split(" | ").collect()).collect()
        })
        .collect()
}

fn key<'a>(row: &[&'a str]) -> &'a str {
    row[0].trim_matches(['[', ']', '`'])
}

/// The names between backquotes in the default's cell of a key.
fn default_names<'a>(tables: &[Vec<Vec<&'a str>>], name: &str) -> Vec<&'a str> {
    let row = tables.iter().flatten().find(|row| key(row) == name);
    row.unwrap()[2].split('`').skip(1).step_by(2).collect()
}

/// What stands between the fences.
fn examples(page: &str) -> Vec<&str> {
    let blocks = page.split("\n```toml\n").skip(1);
    blocks
        .map(|block| block.split("\n```").next().unwrap())
        .collect()
}

fn keys(table: &Table) -> impl Iterator<Item = String> {
    table.keys().cloned()
}

fn set(keys: &[&'static str]) -> BTreeSet<&'static str> {
    keys.iter().copied().collect()
}

#[test]
fn the_page_names_every_key_that_the_file_knows_and_no_other() {
    let page = page();
    let known = [set(FILE_KEYS), set(ROUTE_KEYS), set(QUERY_KEYS)];
    let told = tables(&page);
    let told: Vec<BTreeSet<_>> = told
        .iter()
        .map(|rows| rows.iter().map(|row| key(row)).collect())
        .collect();
    assert_eq!(told, known);
}

#[test]
fn the_pages_examples_use_every_key() {
    let page = page();
    let (mut file, mut route, mut query) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for example in examples(&page) {
        let table: Table = example.parse().unwrap();
        file.extend(keys(&table));
        let routes = table.get("route").and_then(|routes| routes.as_array());
        for table in routes.into_iter().flatten().filter_map(|r| r.as_table()) {
            route.extend(keys(table));
            query.extend(
                table
                    .get("query")
                    .and_then(|q| q.as_table())
                    .into_iter()
                    .flat_map(keys),
            );
        }
    }
    for (used, known) in [(file, FILE_KEYS), (route, ROUTE_KEYS), (query, QUERY_KEYS)] {
        for key in known {
            assert!(used.contains(*key), "{key} is in no example");
        }
    }
}

#[test]
fn the_check_finds_no_fault_in_the_pages_examples() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("larder.toml");
    let page = page();
    assert!(examples(&page).len() > 1);
    for example in examples(&page) {
        fs::write(&path, example).unwrap();
        let words = ["larder-proxy", "check", "--config"].map(OsString::from);
        let words = words.into_iter().chain([path.clone().into_os_string()]);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let start = start(words, &BTreeMap::new(), &mut out, &mut err);
        let err = String::from_utf8(err).unwrap();
        assert!(matches!(start, Start::Exit(0)), "{err}\nin:\n{example}");
        assert_eq!(err, "", "in:\n{example}");
    }
}

#[test]
fn the_page_tells_the_default_lists() {
    let page = page();
    let tables = tables(&page);
    let rules = Rules::default();
    let fields = |names: Vec<&str>| -> Vec<HeaderName> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    };
    let identity = default_names(&tables, "identity_fields");
    assert_eq!(fields(identity), rules.identity_fields);
    let targeted = default_names(&tables, "targeted_fields");
    assert_eq!(fields(targeted), rules.targeted_fields);
    let tracking = default_names(&tables, "tracking_parameters");
    assert_eq!(
        TrackingParameters::new(tracking),
        TrackingParameters::default()
    );
    // This one stands in the example, where one more is added to it.
    let example: Table = examples(&page)[0].parse().unwrap();
    let unkeyed = field_names(&example["unkeyed_fields"]).unwrap();
    assert_eq!(unkeyed.split_last().unwrap().1, rules.unkeyed_fields);
}
