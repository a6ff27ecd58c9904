//! The command line: `serve` (also without a word), `check`, `health` and `purge`.
//!
//! Flags come from [`SETTINGS`]; this file adds only the commands. Answers go to writers that the caller gives, so tests read them.
//! What it leaves out: serving. [`start`] hands a checked configuration back for that.

mod ask;
mod purge;

use std::ffi::OsString;
use std::io::Write;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches};

use self::ask::{Asked, ask};
use crate::config::settings::{SETTINGS, Setting};
use crate::config::{Config, EXIT_USAGE, Environment, Flags};

/// How long `health` waits for the running proxy: less than container engines' usual timeout for a check, so that they see our words.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(3);

/// What is asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Command {
    /// Run the proxy.
    Serve,
    /// Say whether the configuration is right.
    Check,
    /// Ask the running proxy how it is.
    Health,
    /// Purge through the running proxy; the query of the request.
    Purge(String),
}

/// A command line, understood.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Invocation {
    /// What is asked for.
    pub command: Command,
    /// The settings among the flags.
    pub flags: Flags,
    /// Take the listening sockets over from the running process.
    pub upgrade: bool,
}

/// What `main` has left to do.
#[derive(Debug)]
pub enum Start {
    /// Run the proxy.
    Serve {
        /// With this.
        config: Box<Config>,
        /// On the listening sockets of the running process.
        upgrade: bool,
    },
    /// All is said and done; end with this code.
    Exit(u8),
}

/// Understands a command line, the program's name first.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Invocation, clap::Error> {
    let matches = grammar().try_get_matches_from(args)?;
    let mut flags = Flags::new();
    take_flags(&matches, &mut flags);
    let upgrade = wants_upgrade(&matches);
    let command = match matches.subcommand() {
        Some(("check", matches)) => take_command(Command::Check, matches, &mut flags),
        Some(("health", matches)) => take_command(Command::Health, matches, &mut flags),
        Some(("purge", matches)) => {
            let command = Command::Purge(purge::query(matches));
            take_command(command, matches, &mut flags)
        }
        Some((_, matches)) => take_command(Command::Serve, matches, &mut flags),
        None => Command::Serve,
    };
    Ok(Invocation {
        command,
        flags,
        upgrade,
    })
}

/// Does what the command line asks, up to serving.
pub fn start(
    args: impl IntoIterator<Item = OsString>,
    environment: &dyn Environment,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Start {
    let invocation = match parse(args) {
        Ok(invocation) => invocation,
        Err(error) => return Start::Exit(usage(&error, out, err)),
    };
    let config = match Config::load(&invocation.flags, environment) {
        Ok(config) => config,
        Err(faults) => {
            say(err, &faults.to_string());
            return Start::Exit(EXIT_USAGE);
        }
    };
    match invocation.command {
        Command::Serve if invocation.upgrade && config.upgrade_sock.is_none() => {
            say(err, NO_UPGRADE_SOCK);
            Start::Exit(EXIT_USAGE)
        }
        Command::Serve => Start::Serve {
            config: Box::new(config),
            upgrade: invocation.upgrade,
        },
        Command::Check => {
            say(
                out,
                &format!("configuration ok\n{}", config.summary().trim_end()),
            );
            for warning in &config.warnings {
                say(err, &format!("warning: {warning}"));
            }
            Start::Exit(0)
        }
        Command::Health => answered(ask(&health(&config)), out, err),
        Command::Purge(query) => answered(purge::purge(&config, &query), out, err),
    }
}

fn health(config: &Config) -> Asked<'static> {
    Asked {
        admin: config.admin,
        method: "GET",
        target: "/health",
        token: None,
        timeout: HEALTH_TIMEOUT,
    }
}

/// An answer goes to `out` with code 0, what was wrong to `err` with code 1.
fn answered(answer: Result<String, String>, out: &mut dyn Write, err: &mut dyn Write) -> Start {
    match answer {
        Ok(answer) => {
            say(out, &answer);
            Start::Exit(0)
        }
        Err(why) => {
            say(err, &why);
            Start::Exit(1)
        }
    }
}

/// Help and version go to `out` with code 0, faults to `err` with the code for usage.
fn usage(error: &clap::Error, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let text = error.render().to_string();
    if error.use_stderr() {
        say(err, text.trim_end());
        EXIT_USAGE
    } else {
        say(out, text.trim_end());
        0
    }
}

/// A closed pipe is no reason to fail: whoever closed it has read enough.
fn say(to: &mut dyn Write, text: &str) {
    let _ = writeln!(to, "{text}");
}

fn grammar() -> clap::Command {
    let command = clap::Command::new("larder-proxy")
        .version(env!("CARGO_PKG_VERSION"))
        .about("An HTTP cache that stands in front of any API as a sidecar")
        .after_help(AFTER_HELP)
        .bin_name("larder-proxy")
        .arg(upgrade_flag())
        .subcommand(
            clap::Command::new("serve")
                .about("Run the proxy (also without a command)")
                .arg(upgrade_flag()),
        )
        .subcommand(
            clap::Command::new("check")
                .about("Check the configuration: exit code 0, or 64 with every fault named"),
        )
        .subcommand(
            clap::Command::new("health")
                .about("Ask the running proxy's admin port for its health: exit code 0 or 1"),
        )
        .subcommand(purge::grammar());
    // Global, so that flags may stand before and after the command.
    command.args(SETTINGS.iter().map(|setting| flag(setting).global(true)))
}

const AFTER_HELP: &str = "A flag wins over an environment variable, which wins over the file. \
An empty variable counts as unset. Sizes and durations carry their unit: 256MiB, 50ms, 5m.";

const UPGRADE: &str = "upgrade";
const NO_UPGRADE_SOCK: &str = "larder-proxy: --upgrade needs upgrade_sock, the socket on which the running process offers its ports";

fn upgrade_flag() -> Arg {
    Arg::new(UPGRADE)
        .long(UPGRADE)
        .help("Take the listening sockets over from the running process, which SIGQUIT tells to offer them on upgrade_sock")
        .action(ArgAction::SetTrue)
}

fn wants_upgrade(matches: &ArgMatches) -> bool {
    let serve = matches.subcommand_matches("serve");
    matches.get_flag(UPGRADE) || serve.is_some_and(|serve| serve.get_flag(UPGRADE))
}

fn flag(setting: &'static Setting) -> Arg {
    let mut names = setting.env.to_owned();
    if let Some(file_env) = setting.file_env() {
        names = format!("{names} or {file_env}");
    }
    let default = setting
        .default
        .map(|default| format!(" [default: {default}]"))
        .unwrap_or_default();
    Arg::new(setting.key)
        .long(setting.flag)
        .value_name(setting.placeholder)
        .help(format!("{}\n[env: {names}]{default}", setting.help))
        .action(ArgAction::Set)
}

fn take_command(command: Command, matches: &ArgMatches, flags: &mut Flags) -> Command {
    take_flags(matches, flags);
    command
}

fn take_flags(matches: &ArgMatches, flags: &mut Flags) {
    for setting in SETTINGS {
        if let Some(value) = matches.get_one::<String>(setting.key) {
            flags.insert(setting.key, value.clone());
        }
    }
}
