//! Is the table of requirements in `docs/rfc9111.md` whole, and do the tests exist that it names?

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const DOCUMENT: &str = include_str!("../../../../docs/rfc9111.md");

/// A requirement: its section, its keyword, and what stands in the column of tests.
struct Row<'a> {
    section: &'a str,
    keyword: &'a str,
    held_by: &'a str,
}

/// The cells of every table row whose first cell is a section's number.
fn cells() -> Vec<Vec<&'static str>> {
    let rows = DOCUMENT.lines().filter_map(|line| {
        let inside = line.strip_prefix('|')?.strip_suffix('|')?;
        Some(inside.split('|').map(str::trim).collect::<Vec<_>>())
    });
    rows.filter(|cells| cells[0].starts_with(|c: char| c.is_ascii_digit()))
        .collect()
}

fn rows() -> Vec<Row<'static>> {
    let requirements = cells().into_iter().filter(|cells| cells.len() == 4);
    requirements
        .map(|cells| Row {
            section: cells[0],
            keyword: cells[1],
            held_by: cells[3],
        })
        .collect()
}

fn named(held_by: &str) -> Vec<&str> {
    held_by.split('`').skip(1).step_by(2).collect()
}

/// The source file and the function that a test's name means.
fn source(name: &str) -> Option<(PathBuf, &str)> {
    let (module, function) = name.rsplit_once("::")?;
    let (package, module) = module.split_once("::")?;
    let policy = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = match package {
        "policy" => policy.join("tests/it"),
        "proxy" => policy.join("../tests/it"),
        _ => return None,
    };
    Some((
        folder.join(format!("{}.rs", module.replace("::", "/"))),
        function,
    ))
}

/// Is there a function of that name with a test's attribute among the lines right above it?
fn has_test(text: &str, function: &str) -> bool {
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let head = format!("fn {function}(");
    lines.iter().enumerate().any(|(at, line)| {
        let above = lines[..at].iter().rev();
        let mut attributes = above.take_while(|line| line.starts_with('#'));
        (line.starts_with(&head) || line.starts_with(&format!("async {head}")))
            && attributes
                .any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
    })
}

#[test]
fn a_test_is_told_from_what_is_none() {
    let text = "#[test]\nfn one() {}\nfn two() {}\n#[tokio::test(x)]\nasync fn three() {}\n// fn four()\n#[test]\n#[ignore]\nfn five() {}";
    let found = ["one", "two", "three", "four", "five", "on"].map(|name| has_test(text, name));
    assert_eq!(found, [true, false, true, false, true, false]);
}

#[test]
fn every_test_that_the_table_names_exists() {
    let mut texts = BTreeMap::<PathBuf, String>::new();
    let mut missing = Vec::new();
    for name in rows().iter().flat_map(|row| named(row.held_by)) {
        let found = source(name).is_some_and(|(path, function)| {
            let text = texts
                .entry(path)
                .or_insert_with_key(|path| fs::read_to_string(path).unwrap_or_default());
            has_test(text, function)
        });
        if !found {
            missing.push(name);
        }
    }
    assert_eq!(missing, Vec::<&str>::new());
}

#[test]
fn every_requirement_has_a_test_or_says_whose_it_is() {
    for row in rows() {
        let elsewhere = row.held_by.starts_with("Not ours: ");
        assert!(
            elsewhere == named(row.held_by).is_empty(),
            "§{}: {:?}",
            row.section,
            row.held_by
        );
        assert!(
            matches!(row.keyword, "MUST" | "MUST NOT"),
            "{:?}",
            row.keyword
        );
    }
}

#[test]
fn every_section_has_as_many_rows_as_the_text_has_keywords() {
    let mut stated = Vec::new();
    for row in cells().iter().filter(|cells| cells.len() == 2) {
        stated.push((row[0], row[1].parse::<usize>().expect("a number")));
    }
    let mut counted = Vec::<(&str, usize)>::new();
    for row in rows() {
        match counted.last_mut() {
            Some((section, count)) if *section == row.section => *count += 1,
            _ => counted.push((row.section, 1)),
        }
    }
    assert_eq!(counted, stated);
    // Without the five words of §1.1's definition.
    assert_eq!(stated.iter().map(|(_, count)| count).sum::<usize>(), 64);
}
