//! Lays the settings over each other: default < file < environment < flags. Text only; [`super::value`] gives it meaning.

use std::collections::BTreeMap;
use std::path::Path;

use super::environment::Environment;
use super::fault::Fault;
use super::settings::{SETTINGS, Setting, setting};

/// Settings by key, as somebody wrote them.
pub type Flags = BTreeMap<&'static str, String>;

/// Where a text stood, in words for a fault.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) text: String,
    pub(super) source: String,
}

/// What was said about each setting; later layers have replaced earlier ones.
#[derive(Debug, Default)]
pub(super) struct Layers {
    given: BTreeMap<&'static str, Given>,
}

impl Layers {
    /// The text that counts for a setting, unless nobody said anything.
    pub(super) fn get(&self, key: &str) -> Option<&Given> {
        self.given.get(key)
    }

    /// Adds one setting of the file.
    pub(super) fn put_file(&mut self, setting: &'static Setting, text: String, file: &Path) {
        self.put(setting.key, text, file.display().to_string());
    }

    /// Adds what the environment says. An empty variable says nothing: that is how Compose passes on what is unset.
    pub(super) fn put_environment(
        &mut self,
        environment: &dyn Environment,
        faults: &mut Vec<Fault>,
    ) {
        for setting in SETTINGS {
            let value = variable(environment, setting, setting.env, faults);
            let file = setting.file_env().and_then(|name| {
                variable(environment, setting, &name, faults).map(|path| (name, path))
            });
            match (value, file) {
                (Some(_), Some((name, _))) => faults.push(Fault {
                    key: setting.key.to_owned(),
                    source: None,
                    message: format!("both {} and {name} are set; set one of them", setting.env),
                }),
                (Some(value), None) => self.put(setting.key, value, setting.env.to_owned()),
                (None, Some((name, path))) => match secret_file(&path) {
                    Ok(secret) => self.put(setting.key, secret, name),
                    Err(message) => faults.push(Fault {
                        key: setting.key.to_owned(),
                        source: Some(name),
                        message,
                    }),
                },
                (None, None) => {}
            }
        }
    }

    /// Adds the flags.
    pub(super) fn put_flags(&mut self, flags: &Flags) {
        for (key, text) in flags {
            if let Some(setting) = setting(key) {
                self.put(setting.key, text.clone(), format!("--{}", setting.flag));
            }
        }
    }

    /// Lays `above` over these.
    pub(super) fn put_over(&mut self, above: Self) {
        self.given.extend(above.given);
    }

    fn put(&mut self, key: &'static str, text: String, source: String) {
        self.given.insert(key, Given { text, source });
    }
}

fn variable(
    environment: &dyn Environment,
    setting: &Setting,
    name: &str,
    faults: &mut Vec<Fault>,
) -> Option<String> {
    match environment.value(name)?.into_string() {
        Ok(value) if value.trim().is_empty() => None,
        Ok(value) => Some(value),
        Err(_) => {
            faults.push(Fault {
                key: setting.key.to_owned(),
                source: Some(name.to_owned()),
                message: "is not UTF-8 text".to_owned(),
            });
            None
        }
    }
}

/// The content of a secret's file, without the line end that editors and `echo` add.
fn secret_file(path: &str) -> Result<String, String> {
    let content = std::fs::read_to_string(path)
        .map_err(|error| format!("the file {path:?} can't be read: {error}"))?;
    let secret = content.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(format!("the file {path:?} is empty"));
    }
    Ok(secret.to_owned())
}

/// Variables that look like misspelt settings: within two edits of a setting's name, yet not one.
pub(super) fn suspicious_variables(environment: &dyn Environment) -> Vec<String> {
    let known = known_variables();
    let is_known = |name: &String| known.iter().any(|known| known == name);
    environment
        .names()
        .into_iter()
        .filter(|name| name.starts_with("LARDER_") && !is_known(name))
        .filter_map(|name| {
            let hint = nearest(&name, known.iter().map(String::as_str))?;
            Some(format!(
                "the environment variable {name} is no setting of the proxy; did you mean {hint}?"
            ))
        })
        .collect()
}

/// Every environment variable that the proxy reads, those that name a secret's file included.
pub fn known_variables() -> Vec<String> {
    SETTINGS
        .iter()
        .flat_map(|setting| std::iter::once(setting.env.to_owned()).chain(setting.file_env()))
        .collect()
}

/// The known name that a misspelt one most likely meant.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Two slips, or one in three letters of a short name: more and the hint is a guess that misleads.
    let slips_max = (name.chars().count() / 3).clamp(1, 2);
    known
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(slips, _)| *slips <= slips_max)
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, candidate)| candidate)
}
