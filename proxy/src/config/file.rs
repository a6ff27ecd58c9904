//! The TOML file: settings of the table, the lists that only a file can say well, and `[[route]]` (read by [`super::route`]).
//!
//! A key that nobody knows is a fault: a misspelt setting that is silently ignored is worse than one that stops the start.

use std::path::Path;

use toml::{Table, Value};

use super::fault::Fault;
use super::layers::{Layers, nearest};
use super::settings::{Kind, SETTINGS, setting};

/// Keys that stand in the file alone.
pub(super) const FILE_KEYS: &[&str] = &[
    "identity_fields",
    "targeted_fields",
    "unkeyed_fields",
    "stale_if_error",
    "tracking_parameters",
    "route",
];

/// A file's keys, or none when there is no file.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) table: Table,
    /// Its path, in words for a fault.
    pub(super) source: String,
}

impl File {
    /// Reads and parses the file. Faults of reading and syntax are told here, those of keys by `settings_into`.
    pub(super) fn read(path: &Path) -> Result<Self, Fault> {
        let source = path.display().to_string();
        let fault = |message: String| Fault {
            key: "config".to_owned(),
            source: Some(source.clone()),
            message,
        };
        let text = std::fs::read_to_string(path)
            .map_err(|error| fault(format!("the file can't be read: {error}")))?;
        let table = text.parse::<Table>().map_err(|error| {
            // Without the excerpt of the source that `Display` prints: the line may hold a secret.
            let line = error
                .span()
                .and_then(|span| text.get(..span.start))
                .map_or(1, |before| before.matches('\n').count() + 1);
            fault(format!("line {line} is not TOML: {}", error.message()))
        })?;
        Ok(Self { table, source })
    }

    /// Puts the settings of the table into `layers`; names the keys that nobody knows.
    pub(super) fn settings_into(&self, layers: &mut Layers, path: &Path, faults: &mut Vec<Fault>) {
        for (key, value) in &self.table {
            match setting(key) {
                Some(setting) if setting.key == "config" => {
                    faults.push(self.fault(key, "a file can't name another file".to_owned()));
                }
                Some(setting) => match text(value, setting.kind) {
                    Ok(text) => layers.put_file(setting, text, path),
                    Err(message) => faults.push(self.fault(key, message)),
                },
                None if FILE_KEYS.contains(&key.as_str()) => {}
                None => faults.push(self.fault(key, unknown_key(key))),
            }
        }
    }

    /// A fault of this file.
    pub(super) fn fault(&self, key: &str, message: String) -> Fault {
        Fault {
            key: key.to_owned(),
            source: Some(self.source.clone()),
            message,
        }
    }
}

fn unknown_key(key: &str) -> String {
    let known = SETTINGS
        .iter()
        .map(|setting| setting.key)
        .chain(FILE_KEYS.iter().copied());
    // Dashes for underscores is the slip that flags invite.
    let hint = nearest(&key.replace('-', "_"), known);
    no_such_key(hint)
}

/// The words for an unknown key.
pub(super) fn no_such_key(hint: Option<&str>) -> String {
    match hint {
        Some(hint) => format!("there is no such key; did you mean {hint}?"),
        None => "there is no such key".to_owned(),
    }
}

fn text(value: &Value, kind: Kind) -> Result<String, String> {
    match (value, kind) {
        (Value::String(text), _) => Ok(text.clone()),
        (Value::Integer(number), Kind::Count) => Ok(number.to_string()),
        (_, Kind::Number) => number(value),
        (Value::Array(_), Kind::List) => Ok(strings(value)?.join(",")),
        (_, Kind::Text) => Err(wanted("a string in quotes", value)),
        (_, Kind::Count) => Err(wanted("a whole number", value)),
        (_, Kind::List) => Err(wanted("an array of strings", value)),
    }
}

/// A number, in the words one would write.
pub(super) fn number(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        _ => Err(wanted("a number", value)),
    }
}

/// The strings of an array.
pub(super) fn strings(value: &Value) -> Result<Vec<String>, String> {
    let strings = value.as_array().and_then(|values| {
        let strings = values.iter().map(|value| value.as_str().map(str::to_owned));
        strings.collect::<Option<Vec<_>>>()
    });
    strings.ok_or_else(|| wanted("an array of strings", value))
}

/// The words for a value of the wrong type.
pub(super) fn wanted(right: &str, value: &Value) -> String {
    format!("write {right}, not a value of type {}", value.type_str())
}
