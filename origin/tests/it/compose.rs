//! `docker-compose.yml` passes every setting of the origin from `.env`, but for those that it names.

use larder_origin::config::SETTINGS;
use std::collections::BTreeMap;

/// What Compose decides by itself.
const FIXED: &[&str] = &["ORIGIN_LISTEN", "DATABASE_URL"];

/// A file, which has to be mounted.
const NOT_PASSED: &[&str] = &["ORIGIN_SENTIMENT_MODEL"];

fn compose() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docker-compose.yml");
    std::fs::read_to_string(path).expect("docker-compose.yml")
}

/// What stands in the origin's `environment`, which its `tmpfs` follows.
fn passed(compose: &str) -> BTreeMap<&str, &str> {
    let (_, origin) = compose.split_once("\n  origin:\n").expect("the origin");
    let (_, rest) = origin.split_once("\n    environment:\n").expect("its own");
    let (environment, _) = rest.split_once("\n    tmpfs:").expect("an end");
    let lines = environment.lines().map(str::trim);
    let lines = lines.filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once(':'));
    pairs.map(|(name, value)| (name, value.trim())).collect()
}

#[test]
fn compose_passes_every_setting_or_names_it_in_its_head() {
    let compose = compose();
    let (head, _) = compose.split_once("\nname:").expect("a head");
    let mut passed = passed(&compose);
    for setting in SETTINGS {
        let value = passed.remove(setting.name);
        let is_fixed = FIXED.contains(&setting.name);
        let is_passed = !NOT_PASSED.contains(&setting.name);
        assert_eq!(value.is_some(), is_passed, "{} is passed", setting.name);
        let Some(value) = value.filter(|_| !is_fixed) else {
            assert!(head.contains(setting.name), "head lacks {}", setting.name);
            continue;
        };
        let replaced = value.is_empty() || value.starts_with(&format!("${{{}:-", setting.name));
        assert!(replaced, "{}: {value}", setting.name);
    }
    assert!(passed.is_empty(), "nobody reads {passed:?}");
}
