//! `.env.example` and the table of settings name the same things.

use larder_origin::config::SETTINGS;
use std::collections::BTreeSet;

/// What a name begins with if it is the origin's: the file also holds the proxy's and Compose's.
const PREFIXES: &[&str] = &[
    "ORIGIN_",
    "NEWSAPI_",
    "GUARDIAN_",
    "HACKERNEWS",
    "REDDIT_",
    "FEED_",
    "DATABASE_",
    "CACHE_TTL",
    "LARDER_PURGE_URL",
    "LARDER_PURGE_TOKEN",
];

/// Names on lines of the form `NAME=value` or `# NAME=value`.
fn documented() -> BTreeSet<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../.env.example");
    let text = std::fs::read_to_string(path).expect(".env.example");
    let lines = text
        .lines()
        .map(|line| line.trim_start_matches('#').trim_start());
    let names = lines
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name.to_owned());
    names.filter(|name| is_name(name)).collect()
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

#[test]
fn every_setting_is_in_the_example() {
    let documented = documented();
    let missing: Vec<&str> = SETTINGS
        .iter()
        .map(|setting| setting.name)
        .filter(|name| !documented.contains(*name))
        .collect();
    assert!(missing.is_empty(), ".env.example lacks {missing:?}");
}

#[test]
fn every_name_in_the_example_that_looks_like_the_origins_is_a_setting() {
    let file_of = |name: &str| name.strip_suffix("_FILE").map(str::to_owned);
    let is_known = |name: &str| {
        SETTINGS.iter().any(|setting| {
            setting.name == name
                || (setting.is_secret && file_of(name).as_deref() == Some(setting.name))
        })
    };
    let ours = documented()
        .into_iter()
        .filter(|name| PREFIXES.iter().any(|prefix| name.starts_with(prefix)));
    let unknown: Vec<String> = ours.filter(|name| !is_known(name)).collect();
    assert!(
        unknown.is_empty(),
        ".env.example names {unknown:?}, which the origin does not read"
    );
    let strays: Vec<&str> = SETTINGS
        .iter()
        .map(|setting| setting.name)
        .filter(|name| !PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
        .collect();
    assert!(strays.is_empty(), "{strays:?} need a prefix in this test");
}
