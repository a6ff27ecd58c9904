//! What is wrong with a configuration, and what would be right.

use std::fmt;

/// One fault: which setting, where its value came from, what would be right. Never holds a secret's value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// The setting's key, or the key of the file that nobody knows.
    pub key: String,
    /// Where the value stood: the variable, the flag, or the file.
    pub source: Option<String>,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(source) => write!(f, "{} (from {source}): {}", self.key, self.message),
            None => write!(f, "{}: {}", self.key, self.message),
        }
    }
}

/// Everything that is wrong, at once: nobody should have to start a process five times to learn of five faults.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        let noun = if count == 1 { "fault" } else { "faults" };
        write!(f, "the configuration has {count} {noun}:")?;
        for fault in &self.0 {
            write!(f, "\n  {fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}
