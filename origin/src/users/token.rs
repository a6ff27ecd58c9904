//! Tokens that stand for a session: opaque, random, and kept nowhere but with whom they were given to.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use std::fmt;

/// 256 bits: nobody guesses one, so a plain digest is enough to keep.
const TOKEN_BYTES: usize = 32;
/// The same in base64 without padding.
const TOKEN_CHARS: usize = 43;

/// A token. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// What the database knows of a token: its SHA-256 in hex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenDigest(String);

impl Token {
    /// A new one, from the system's source of randomness, which can fail.
    pub fn random() -> Result<Self, String> {
        let mut bytes = [0; TOKEN_BYTES];
        getrandom::fill(&mut bytes).map_err(|error| format!("no randomness: {error}"))?;
        Ok(Self(URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// One that a client sent; `None` for what we never gave out.
    pub fn parse(text: &str) -> Option<Self> {
        let ours = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        (text.len() == TOKEN_CHARS && text.bytes().all(ours)).then(|| Self(text.to_owned()))
    }

    /// The token itself. Call this only where it is handed to its owner.
    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn digest(&self) -> TokenDigest {
        let digest = Sha256::digest(self.0.as_bytes());
        TokenDigest(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl TokenDigest {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token([secret])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_tokens_are_alike_and_each_is_read_back() {
        let (one, other) = (Token::random().unwrap(), Token::random().unwrap());
        assert_ne!(one, other);
        assert_ne!(one.digest(), other.digest());
        assert_eq!(Token::parse(one.expose()), Some(one.clone()));
        assert!(!format!("{one:?}").contains(one.expose()));
        assert_eq!(one.digest().as_str().len(), 64);
    }

    #[test]
    fn what_we_never_gave_out_is_no_token() {
        let token = Token::random().unwrap();
        let token = token.expose();
        for wrong in [
            "",
            "abc",
            &token[1..],
            &format!("{token}="),
            &token.replacen(&token[..1], "+", 1),
            &format!("{}ä", &token[2..]),
        ] {
            assert_eq!(Token::parse(wrong), None, "{wrong}");
        }
    }
}
