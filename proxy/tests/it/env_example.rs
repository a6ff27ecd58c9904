//! `.env.example` and the table of settings say the same.

use std::collections::BTreeSet;
use std::fs;

use larder_proxy::config::known_variables;
use larder_proxy::config::settings::SETTINGS;

fn repository_file(name: &str) -> String {
    let path = format!("{}/../{name}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The names of `NAME=value` and `# NAME=value` lines; prose has none.
fn names(text: &str) -> Vec<&str> {
    let name = |line: &'_ str| -> Option<(usize, usize)> {
        let bare = line.trim_start_matches(['#', ' ']);
        let end = bare.find('=')?;
        let fits = bare.starts_with(|c: char| c.is_ascii_uppercase())
            && bare[..end]
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
        fits.then_some((line.len() - bare.len(), line.len() - bare.len() + end))
    };
    text.lines()
        .filter_map(|line| name(line).map(|(start, end)| &line[start..end]))
        .collect()
}

#[test]
fn names_are_told_from_prose() {
    let text = "# Where clients are served.\n# LARDER_LISTEN=127.0.0.1:8000\nREDIS_URL=\n# If A=b then\n#  X_9=1\nlower=1\n=\n";
    assert_eq!(names(text), ["LARDER_LISTEN", "REDIS_URL", "X_9"]);
}

#[test]
fn every_setting_stands_in_env_example_once() {
    let example = repository_file(".env.example");
    let names = names(&example);
    for setting in SETTINGS {
        let times = names.iter().filter(|name| **name == setting.env).count();
        assert_eq!(times, 1, "{} in .env.example", setting.env);
    }
}

#[test]
fn env_example_names_nothing_that_nobody_reads() {
    let example = repository_file(".env.example");
    let compose = repository_file("docker-compose.yml");
    let known: BTreeSet<_> = known_variables().into_iter().collect();
    for name in names(&example) {
        if !name.starts_with("LARDER_") && !name.starts_with("REDIS_") {
            continue;
        }
        // Compose's own, such as the published port, stand in its file as ${NAME}.
        let for_compose = compose.contains(&format!("${{{name}"));
        assert!(
            known.contains(name) || for_compose,
            "{name} in .env.example is read by nobody"
        );
    }
}

#[test]
fn values_read_alike_in_compose_and_in_a_shell() {
    let example = repository_file(".env.example");
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b":/.,%_@+-*".contains(&byte);
    for line in example.lines().filter(|line| !names(line).is_empty()) {
        let (_, value) = line.split_once('=').unwrap_or_default();
        let quoted = value
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
            .is_some_and(|inner| !inner.contains(['"', '$', '\\', '`']));
        assert!(
            quoted || value.bytes().all(plain),
            "{line}: wants quotes, or others"
        );
    }
}

#[test]
fn env_example_lists_every_secret_of_the_proxy() {
    let example = repository_file(".env.example");
    let (_, list) = example.split_once("\n# Secrets (").unwrap_or_default();
    let (list, _) = list.split_once(')').unwrap_or_default();
    let listed: Vec<_> = list.split([',', ' ', '#', '\n']).collect();
    for setting in SETTINGS.iter().filter(|setting| setting.secret) {
        assert!(
            listed.contains(&setting.env),
            "{} is a secret, too",
            setting.env
        );
    }
}
