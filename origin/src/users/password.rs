//! Passwords: how long they may be, and hashing them without letting a crowd at the door take all cores.
//!
//! Argon2id with 19 MiB and two passes, which OWASP gives as its first choice. It costs tens of milliseconds of one core on purpose: it
//! runs on the threads for blocking work, at most `at_once` at a time, and who waits too long is told to come back.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash as Phc;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Shorter ones are guessed.
const PASSWORD_CHARS_MIN: usize = 8;
/// Longer ones are somebody's way to keep us busy.
const PASSWORD_BYTES_MAX: usize = 1024;
/// How long one waits for others' passwords to be hashed.
const WAIT_MAX: Duration = Duration::from_secs(3);
/// Matches no password. One is compared with this where there is no user, so that an unknown address costs what a known one does.
const NOBODYS: &str = "$argon2id$v=19$m=19456,t=2,p=1$bGFyZGVyLW5vYm9keXMtc2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A hash as a PHC string. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

/// Why a text may be no password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordFault {
    #[error("must have at least {PASSWORD_CHARS_MIN} characters")]
    Short,
    #[error("must be at most {PASSWORD_BYTES_MAX} bytes long")]
    Long,
}

/// Why a password was not looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Busy {
    #[error("too many passwords are being checked")]
    Crowded,
    #[error("a password could not be hashed: {0}")]
    Failed(String),
}

/// Hashes and compares, a few at a time.
#[derive(Debug)]
pub struct Passwords {
    permits: Arc<Semaphore>,
}

impl PasswordHash {
    /// One that was stored.
    pub(super) fn stored(text: String) -> Self {
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash([secret])")
    }
}

/// Whether a text may become a password.
pub fn check(password: &str) -> Result<(), PasswordFault> {
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(PasswordFault::Long);
    }
    match password.chars().count() >= PASSWORD_CHARS_MIN {
        true => Ok(()),
        false => Err(PasswordFault::Short),
    }
}

impl Passwords {
    pub fn new(at_once: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(at_once.max(1))),
        }
    }

    /// Half of the machine's cores at most are spent on passwords.
    pub fn for_this_machine() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self::new(cores / 2)
    }

    /// The hash of a new password.
    pub async fn hash(&self, password: String) -> Result<PasswordHash, Busy> {
        self.run(move || {
            let hash: Phc = Argon2::default()
                .hash_password(password.as_bytes())
                .map_err(|error| Busy::Failed(error.to_string()))?;
            Ok(PasswordHash(hash.to_string()))
        })
        .await
    }

    /// Whether this is the password. Without a hash it never is, at the same cost.
    pub async fn matches(
        &self,
        password: String,
        hash: Option<PasswordHash>,
    ) -> Result<bool, Busy> {
        self.run(move || {
            let text = hash.as_ref().map_or(NOBODYS, PasswordHash::as_str);
            let expected = Phc::new(text).map_err(|error| Busy::Failed(error.to_string()))?;
            let verified = Argon2::default().verify_password(password.as_bytes(), &expected);
            Ok(hash.is_some() && verified.is_ok())
        })
        .await
    }

    /// The permit goes with the work: a client that leaves frees no core.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Busy> + Send + 'static,
    ) -> Result<T, Busy> {
        let permit = Arc::clone(&self.permits).acquire_owned();
        let permit = tokio::time::timeout(WAIT_MAX, permit)
            .await
            .map_err(|_| Busy::Crowded)?
            .map_err(|error| Busy::Failed(error.to_string()))?;
        let work = move || {
            let done = work();
            drop(permit);
            done
        };
        tokio::task::spawn_blocking(work)
            .await
            .unwrap_or_else(|error| Err(Busy::Failed(error.to_string())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_matches_its_own_hash_alone() {
        let passwords = Passwords::new(1);
        let hash = passwords.hash("correct horse".to_owned()).await.unwrap();
        assert!(hash.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        let matches = async |password: &str, hash: Option<PasswordHash>| {
            passwords.matches(password.to_owned(), hash).await.unwrap()
        };
        assert!(matches("correct horse", Some(hash.clone())).await);
        assert!(!matches("correct horsf", Some(hash)).await);
        assert!(!matches("correct horse", None).await);
    }

    #[test]
    fn nobodys_hash_costs_what_a_users_costs() {
        let (nobodys, own) = (
            Phc::new(NOBODYS).unwrap(),
            Argon2::default().hash_password(b"12345678").unwrap(),
        );
        let own: Phc = own;
        assert_eq!(nobodys.algorithm, own.algorithm);
        assert_eq!(nobodys.params, own.params);
        assert_eq!(nobodys.version, own.version);
        assert_eq!(
            nobodys.hash.map(|hash| hash.len()),
            own.hash.map(|hash| hash.len())
        );
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_is_told_to_come_back() {
        let passwords = Passwords::new(1);
        let _held = Arc::clone(&passwords.permits)
            .acquire_owned()
            .await
            .unwrap();
        assert_eq!(
            passwords.hash("12345678".to_owned()).await,
            Err(Busy::Crowded)
        );
    }

    #[test]
    fn lengths_hold_at_their_ends() {
        assert_eq!(check("1234567"), Err(PasswordFault::Short));
        assert_eq!(check("12345678"), Ok(()));
        assert_eq!(check("äöüßäöü"), Err(PasswordFault::Short));
        assert_eq!(check(&"a".repeat(1024)), Ok(()));
        assert_eq!(check(&"a".repeat(1025)), Err(PasswordFault::Long));
    }
}
