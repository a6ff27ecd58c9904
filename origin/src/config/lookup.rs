//! From arguments and environment to one text for each setting: which place wins, and what is said when something is wrong.

use super::{SETTINGS, Setting};
use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Command};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

/// Larger files hold no key.
const SECRET_FILE_BYTES_MAX: u64 = 64 * 1024;

/// What the program was asked to do, and the text of each setting that was given.
#[derive(Clone)]
pub struct Given {
    /// "serve" when no subcommand was named.
    pub command: String,
    texts: BTreeMap<&'static str, String>,
    faults: Vec<String>,
}

/// Why the program ends before it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// Help or version was asked for.
    Asked(String),
    /// Something is wrong: every fault, each with the setting's name.
    Faults(Vec<String>),
}

/// Names only: a text may be a secret.
impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Given")
            .field("command", &self.command)
            .field("given", &self.texts.keys())
            .finish_non_exhaustive()
    }
}

impl Stop {
    /// 64 is EX_USAGE: "the command was used incorrectly".
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Asked(_) => 0,
            Self::Faults(_) => 64,
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked(text) => f.write_str(text.trim_end()),
            Self::Faults(faults) => f.write_str(&faults.join("\n")),
        }
    }
}

/// Reads arguments, environment and secret files; nothing is judged yet but what cannot be read at all.
pub fn given(
    arguments: impl IntoIterator<Item = OsString>,
    environment: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Given, Stop> {
    let matches = command().try_get_matches_from(arguments).map_err(stop)?;
    let (command, flags) = match matches.subcommand() {
        Some((name, flags)) => (name.to_owned(), flags.clone()),
        None => ("serve".to_owned(), matches),
    };
    let mut given = Given {
        command,
        texts: BTreeMap::new(),
        faults: Vec::new(),
    };
    for setting in SETTINGS {
        match text(setting, &flags, environment) {
            Ok(Some(text)) => drop(given.texts.insert(setting.name, text)),
            Ok(None) => {}
            Err(fault) => given.faults.push(fault),
        }
    }
    Ok(given)
}

/// The command line, built from the table. Settings are understood before and after the subcommand.
fn command() -> Command {
    let flags = SETTINGS.iter().flat_map(|setting| {
        let file = format!(
            "Read {} from this file [env: {}_FILE]",
            setting.name, setting.name
        );
        let file = setting
            .is_secret
            .then(|| argument(format!("{}-file", setting.flag), file));
        std::iter::once(argument(setting.flag.to_owned(), described(setting))).chain(file)
    });
    Command::new("larder-origin")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A news aggregator: the example API that stands behind Larder. Without a subcommand it serves.")
        .args(flags)
        .subcommand(Command::new("migrate").about("Bring the database's schema up to date, then end"))
        .subcommand(Command::new("backfill-sentiment").about("Score stored articles that today's sentiment model has not scored, then end; it can be interrupted"))
        .subcommand(Command::new("health").about("Ask the running origin whether it is ready; ends with 0 if so, else with 1"))
        .subcommand(Command::new("check").about("Validate the settings and print them without secrets; ends with 64 on a fault"))
}

fn argument(flag: String, help: String) -> Arg {
    Arg::new(flag.clone())
        .long(flag)
        .value_name("VALUE")
        .help(help)
        .global(true)
        .allow_hyphen_values(true)
}

fn described(setting: &Setting) -> String {
    let default = setting
        .default
        .map(|default| format!(" [default: {default}]"))
        .unwrap_or_default();
    let caution = if setting.is_secret {
        "; others can read flags in the list of processes"
    } else {
        ""
    };
    format!("{}{caution} [env: {}]{default}", setting.help, setting.name)
}

fn stop(error: clap::Error) -> Stop {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Stop::Asked(error.to_string()),
        _ => Stop::Faults(vec![error.to_string().trim_end().to_owned()]),
    }
}

/// The text of one setting: flag, then environment, then for secrets the file that the flag or the environment names.
fn text(
    setting: &Setting,
    flags: &ArgMatches,
    environment: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Option<String>, String> {
    let flag = |name: &str| {
        flags
            .get_one::<String>(name)
            .filter(|text| !text.is_empty())
            .cloned()
    };
    let variable = |name: &str| match environment(name)
        .filter(|text| !text.is_empty())
        .map(OsString::into_string)
    {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text)),
        Some(Err(_)) => Err(format!("{name}: must be UTF-8")),
    };
    if let Some(text) = flag(setting.flag) {
        return Ok(Some(text));
    }
    if let Some(text) = variable(setting.name)? {
        return Ok(Some(text));
    }
    if !setting.is_secret {
        return Ok(None);
    }
    let name = format!("{}_FILE", setting.name);
    let path = match flag(&format!("{}-file", setting.flag)) {
        Some(path) => Some(path),
        None => variable(&name)?,
    };
    path.map(|path| file(&name, &path)).transpose()
}

fn file(name: &str, path: &str) -> Result<String, String> {
    let length = std::fs::metadata(path)
        .map_err(|error| format!("{name}: {path} cannot be read: {error}"))?
        .len();
    if length > SECRET_FILE_BYTES_MAX {
        return Err(format!(
            "{name}: {path} is larger than {SECRET_FILE_BYTES_MAX} bytes"
        ));
    }
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("{name}: {path} cannot be read: {error}"))?;
    match text.trim() {
        "" => Err(format!("{name}: {path} is empty")),
        text => Ok(text.to_owned()),
    }
}

/// Hands out the settings one by one and gathers what is wrong with them.
pub(super) struct Reader<'a> {
    given: &'a Given,
    pub(super) faults: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(given: &'a Given) -> Self {
        Self {
            given,
            faults: given.faults.clone(),
        }
    }

    /// A setting that has a value in any case; `None` is a fault, already noted.
    pub(super) fn required<T>(
        &mut self,
        name: &'static str,
        parse: fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.given.texts.get(name).map(String::as_str);
        let default = SETTINGS
            .iter()
            .find(|setting| setting.name == name)
            .and_then(|setting| setting.default);
        let parsed = text.or(default).map(|text| parse(text.trim()));
        match parsed.unwrap_or_else(|| Err("must be set".to_owned())) {
            Ok(value) => Some(value),
            Err(fault) => self.note(name, &fault),
        }
    }

    /// A setting that may be left out: `Some(None)` then.
    pub(super) fn optional<T>(
        &mut self,
        name: &'static str,
        parse: fn(&str) -> Result<T, String>,
    ) -> Option<Option<T>> {
        match self.given.texts.get(name).map(|text| parse(text.trim())) {
            None => Some(None),
            Some(Ok(value)) => Some(Some(value)),
            Some(Err(fault)) => self.note(name, &fault),
        }
    }

    fn note<T>(&mut self, name: &str, fault: &str) -> Option<T> {
        let flag = SETTINGS
            .iter()
            .find(|setting| setting.name == name)
            .map_or("", |setting| setting.flag);
        self.faults.push(format!("{name} (--{flag}): {fault}"));
        None
    }
}
