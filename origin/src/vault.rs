//! Tokens at rest: sealed with a key from the environment, so that the database alone opens nothing.
//!
//! Must stay true: what is sealed for one row opens for no other (its place is the associated data), nonces are random and long
//! enough never to repeat, and no key or token is ever printed. While keys are changed, the old one still opens and never seals.

use crate::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use std::fmt;

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
/// Tells the form, should there ever be another.
const PREFIX: &str = "x1.";

/// A key. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct VaultKey([u8; KEY_BYTES]);

/// Seals and opens.
#[derive(Clone)]
pub struct Vault {
    sealing: XChaCha20Poly1305,
    opening: Vec<XChaCha20Poly1305>,
}

/// Nothing could be sealed or opened. Which of its causes it was is nobody's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VaultFault {
    #[error("the system gives no randomness")]
    Randomness,
    #[error("a token could not be sealed")]
    Seal,
    #[error(
        "a stored token does not open: it was sealed with another key, for another row, or is damaged"
    )]
    Open,
}

impl VaultKey {
    /// 32 bytes in base64, with either alphabet.
    pub fn parse(text: &str) -> Option<Self> {
        let engines = [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD];
        let bytes = engines
            .iter()
            .find_map(|engine| engine.decode(text.trim()).ok())?;
        bytes.try_into().ok().map(Self)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&Key::from(self.0))
    }
}

impl Vault {
    /// Seals with `key`; opens with it, and with `old` while keys are changed.
    pub fn new(key: &VaultKey, old: Option<&VaultKey>) -> Self {
        Self {
            sealing: key.cipher(),
            opening: std::iter::once(key)
                .chain(old)
                .map(VaultKey::cipher)
                .collect(),
        }
    }

    /// The text as it may be stored in that place, and in no other.
    pub fn seal(&self, text: &str, place: &str) -> Result<String, VaultFault> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|_| VaultFault::Randomness)?;
        let payload = Payload {
            msg: text.as_bytes(),
            aad: place.as_bytes(),
        };
        let sealed = self
            .sealing
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| VaultFault::Seal)?;
        let bytes = [&nonce[..], &sealed].concat();
        Ok(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// What was sealed for that place.
    pub fn open(&self, sealed: &str, place: &str) -> Result<Secret, VaultFault> {
        let bytes = sealed
            .strip_prefix(PREFIX)
            .and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
            .ok_or(VaultFault::Open)?;
        let (nonce, sealed) = bytes
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or(VaultFault::Open)?;
        let opened = self.opening.iter().find_map(|cipher| {
            let payload = Payload {
                msg: sealed,
                aad: place.as_bytes(),
            };
            cipher.decrypt(&XNonce::from(*nonce), payload).ok()
        });
        let text = String::from_utf8(opened.ok_or(VaultFault::Open)?);
        Secret::new(&text.map_err(|_| VaultFault::Open)?).ok_or(VaultFault::Open)
    }
}

impl fmt::Debug for VaultKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VaultKey([secret])")
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault([secret])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> VaultKey {
        VaultKey([byte; KEY_BYTES])
    }

    #[test]
    fn what_is_sealed_opens_in_its_place_alone() {
        let vault = Vault::new(&key(1), None);
        let sealed = vault.seal("a-token", "row 1").expect("sealed");
        assert!(!sealed.contains("a-token"));
        let opened = vault.open(&sealed, "row 1").expect("opened");
        assert_eq!(opened.expose(), "a-token");
        assert_eq!(vault.open(&sealed, "row 2"), Err(VaultFault::Open));
        assert_ne!(vault.seal("a-token", "row 1"), Ok(sealed));
    }

    #[test]
    fn damage_and_nonsense_do_not_open() {
        let vault = Vault::new(&key(1), None);
        let sealed = vault.seal("a-token", "row").expect("sealed");
        for end in 0..sealed.len() {
            assert!(vault.open(&sealed[..end], "row").is_err(), "{end}");
        }
        let mut bytes = URL_SAFE_NO_PAD
            .decode(&sealed[PREFIX.len()..])
            .expect("base64");
        for index in 0..bytes.len() {
            bytes[index] ^= 1;
            let damaged = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&bytes));
            assert!(vault.open(&damaged, "row").is_err(), "{index}");
            bytes[index] ^= 1;
        }
    }

    #[test]
    fn while_keys_are_changed_the_old_one_opens_and_never_seals() {
        let (before, during, after) = (
            Vault::new(&key(1), None),
            Vault::new(&key(2), Some(&key(1))),
            Vault::new(&key(2), None),
        );
        let old = before.seal("a-token", "row").expect("sealed");
        assert!(during.open(&old, "row").is_ok());
        assert!(after.open(&old, "row").is_err());
        let new = during.seal("a-token", "row").expect("sealed");
        assert!(after.open(&new, "row").is_ok());
        assert!(before.open(&new, "row").is_err());
    }

    #[test]
    fn a_key_is_32_bytes_in_base64() {
        let bytes = [0xfb; KEY_BYTES];
        for text in [
            STANDARD.encode(bytes),
            URL_SAFE_NO_PAD.encode(bytes),
            format!("{}\n", STANDARD.encode(bytes)),
        ] {
            assert_eq!(VaultKey::parse(&text), Some(VaultKey(bytes)));
        }
        for text in [
            "",
            "abc",
            &STANDARD.encode([0; 31]),
            &STANDARD.encode([0; 33]),
            "!".repeat(44).as_str(),
        ] {
            assert_eq!(VaultKey::parse(text), None, "{text}");
        }
        assert_eq!(format!("{:?}", key(7)), "VaultKey([secret])");
    }
}
