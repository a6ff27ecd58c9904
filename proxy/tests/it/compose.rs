//! `docker-compose.yml` keeps its promise that `.env` replaces the proxy's settings, but for those that it names.

use larder_proxy::config::settings::SETTINGS;

/// What Compose decides by itself.
const FIXED: &[&str] = &["LARDER_LISTEN", "LARDER_ADMIN"];

/// What it doesn't pass: files, which have to be mounted, and what containers have no use for.
const NOT_PASSED: &[&str] = &[
    "LARDER_CONFIG",
    "LARDER_UPSTREAM_CA",
    "LARDER_REDIS_CA",
    "LARDER_UPGRADE_SOCK",
    "LARDER_UPGRADE_TIMEOUT",
];

fn compose() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docker-compose.yml");
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The names and values of a service's `environment`, in the layout that the file has.
fn environment<'a>(compose: &'a str, service: &str) -> Vec<(&'a str, &'a str)> {
    let start = format!("  {service}:");
    compose
        .lines()
        .skip_while(|line| *line != start)
        .skip_while(|line| *line != "    environment:")
        .skip(1)
        .take_while(|line| line.starts_with("      "))
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name, value.trim()))
        .collect()
}

#[test]
fn every_setting_is_passed_or_said_not_to_be() {
    let compose = compose();
    let (head, _) = compose.split_once("\nname:").expect("a head");
    let passed = environment(&compose, "proxy");
    for setting in SETTINGS {
        let name = setting.env;
        let times = passed.iter().filter(|(passed, _)| *passed == name).count();
        let wanted = usize::from(!NOT_PASSED.contains(&name));
        assert_eq!(times, wanted, "{name} in docker-compose.yml");
        let is_excepted = NOT_PASSED.contains(&name) || FIXED.contains(&name);
        let named = head.contains(&format!(" {name},")) || head.contains(&format!(" {name}\n"));
        assert!(!is_excepted || named, "the head lacks {name}");
    }
}

#[test]
fn what_is_passed_is_a_setting_that_env_replaces() {
    let compose = compose();
    for (name, value) in environment(&compose, "proxy") {
        assert!(
            SETTINGS.iter().any(|setting| setting.env == name),
            "{name} is no setting"
        );
        let replaced = value.is_empty() || value.starts_with(&format!("${{{name}:-"));
        assert_eq!(replaced, !FIXED.contains(&name), "{name}: {value}");
    }
}
