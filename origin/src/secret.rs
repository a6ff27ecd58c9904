//! A value that never prints: keys and tokens travel in it from the settings to the one request that needs them.

use std::fmt;

/// A key or token. Neither `Debug` nor `Display` nor serde can show it; `expose` is the one way out.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the value, without the blanks and line ends that files and shells add; `None` when nothing is left.
    pub fn new(value: &str) -> Option<Self> {
        let value = value.trim();
        (!value.is_empty()).then(|| Self(value.to_owned()))
    }

    /// The value itself. Call this only where it goes on the wire.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The text with every occurrence of the value blotted out: for messages that strangers wrote.
    pub fn blot(&self, text: &str) -> String {
        text.replace(&self.0, "[secret]")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret([secret])")
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn debug_never_shows_the_value() {
        let secret = Secret::new(" abc123\n").expect("not empty");
        assert_eq!(format!("{secret:?}"), "Secret([secret])");
        assert_eq!(secret.expose(), "abc123");
    }

    #[test]
    fn blotting_removes_every_occurrence() {
        let secret = Secret::new("abc123").expect("not empty");
        assert_eq!(
            secret.blot("key abc123, again abc123"),
            "key [secret], again [secret]"
        );
    }

    #[test]
    fn blanks_alone_are_no_secret() {
        assert_eq!(Secret::new(" \n"), None);
    }
}
