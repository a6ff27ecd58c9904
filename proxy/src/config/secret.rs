//! A value that must not be printed: tokens, and URLs that carry passwords.
//!
//! What must stay true: no `Debug`, `Display` or `Serialize` ever shows it. Whoever needs it says `expose`, which is easy to search for.

use std::fmt;

/// A secret. `Debug` prints a placeholder.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The secret itself. Keep it out of logs, errors and answers.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}
