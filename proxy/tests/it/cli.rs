//! The command line: what it understands, prints and ends with.

use std::collections::BTreeMap;
use std::ffi::OsString;

use larder_proxy::cli::{Command, Start, parse, start};
use larder_proxy::config::settings::SETTINGS;

fn words(line: &str) -> Vec<OsString> {
    std::iter::once("larder-proxy")
        .chain(line.split(' ').filter(|word| !word.is_empty()))
        .map(OsString::from)
        .collect()
}

/// Exit code (none when it would serve), standard output, standard error.
fn run(line: &str) -> (Option<u8>, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let start = start(words(line), &BTreeMap::new(), &mut out, &mut err);
    let code = match start {
        Start::Exit(code) => Some(code),
        Start::Serve { .. } => None,
    };
    (
        code,
        String::from_utf8(out).unwrap(),
        String::from_utf8(err).unwrap(),
    )
}

#[test]
fn flags_stand_before_or_after_the_command_or_without_one() {
    for (line, command) in [
        ("--namespace n", Command::Serve),
        ("serve --namespace n", Command::Serve),
        ("--namespace n serve", Command::Serve),
        ("check --namespace=n", Command::Check),
        ("--namespace=n health", Command::Health),
    ] {
        let invocation = parse(words(line)).unwrap();
        assert_eq!(invocation.command, command, "{line}");
        assert_eq!(
            invocation.flags.get("namespace").map(String::as_str),
            Some("n"),
            "{line}"
        );
        assert_eq!(invocation.flags.len(), 1, "{line}");
    }
}

#[test]
fn without_a_command_it_serves() {
    assert_eq!(run("").0, None);
    assert_eq!(run("serve --memory 1GiB").0, None);
}

#[test]
fn check_says_ok_and_sums_up() {
    let (code, out, err) =
        run("check --redis redis://:hunter2@cache:6379 --upstream https://api.example");
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.starts_with("configuration ok\n"), "{out}");
    assert!(
        out.contains("https://api.example (Host: the upstream's)"),
        "{out}"
    );
    assert!(out.contains("256MiB, objects up to 8MiB"), "{out}");
    assert!(!out.contains("hunter2"), "{out}");
    let (_, out, _) = run("check --memory 3GiB --object-max 1000kB");
    assert!(out.contains("3GiB, objects up to 1000000B"), "{out}");
}

#[test]
fn faults_end_with_64_and_are_all_named() {
    for command in ["check", "serve", "health", ""] {
        let (code, out, err) = run(&format!("{command} --memory 5 --profile x"));
        assert_eq!((code, out.as_str()), (Some(64), ""));
        assert!(
            err.contains("2 faults")
                && err.contains("memory (from --memory)")
                && err.contains("profile (from --profile)"),
            "{err}"
        );
    }
}

#[test]
fn a_flag_that_nobody_knows_ends_with_64() {
    let (code, _, err) = run("--memroy 5MiB");
    assert_eq!(code, Some(64));
    assert!(err.contains("--memroy"), "{err}");
    assert_eq!(run("fetch").0, Some(64));
}

#[test]
fn help_and_version_come_from_the_table() {
    let (code, help, _) = run("--help");
    assert_eq!(code, Some(0));
    for setting in SETTINGS {
        let flag = format!("--{} <{}>", setting.flag, setting.placeholder);
        assert!(help.contains(&flag), "{flag}");
        assert!(help.contains(setting.env), "{}", setting.env);
    }
    let (code, version, _) = run("--version");
    assert_eq!(code, Some(0));
    assert_eq!(
        version.trim(),
        format!("larder-proxy {}", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn health_of_nobody_ends_with_1() {
    // A port that was free a moment ago: bound, asked for its number, and given back.
    let address = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (code, out, err) = run(&format!("health --admin {address}"));
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains(&address.to_string()), "{err}");
}
