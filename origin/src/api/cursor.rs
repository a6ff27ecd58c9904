//! The opaque text that stands for where an answer goes on. It is signed: what the database is asked for by a cursor is only what an
//! earlier answer gave, to the same question.
//!
//! What a cursor holds is the business of who gives it; the first byte says whose it is. Lists hold a position.

use crate::articles::Position;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Half of the digest is more than anybody can guess.
const TAG_BYTES: usize = 16;
/// What the cursors of lists begin with; those of searches begin otherwise.
const LIST: u8 = 2;

/// Why a text is no cursor for this question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CursorFault {
    Malformed,
    OtherQuestion,
}

impl CursorFault {
    /// What is wrong, and what would be right. `question` is what the cursor belongs to, `may_differ` what doesn't count.
    pub(super) fn detail(self, question: &str, may_differ: &str) -> String {
        match self {
            Self::Malformed => {
                "must be what an earlier answer gave as next, and is not, or no longer: begin without it".to_owned()
            }
            Self::OtherQuestion => format!(
                "belongs to another {question}: only {may_differ} may differ from the request that gave it"
            ),
        }
    }
}

/// The cursor of a list, for what comes after the position.
pub(super) fn after(key: &[u8], identity: &str, position: Position) -> String {
    let mut body = vec![LIST];
    put(&mut body, position);
    seal(key, identity, body)
}

/// The position that the cursor of a list stands for.
pub(super) fn position(key: &[u8], identity: &str, text: &str) -> Result<Position, CursorFault> {
    let body = open(key, identity, text)?;
    let position = match body.split_first() {
        Some((&LIST, mut rest)) => take_position(&mut rest).filter(|_| rest.is_empty()),
        _ => None,
    };
    position.ok_or(CursorFault::Malformed)
}

/// Signs what a cursor holds, for the question of this identity.
pub(super) fn seal(key: &[u8], identity: &str, mut bytes: Vec<u8>) -> String {
    // Signed for anybody first: so a cursor of another question can be told from one that was never ours.
    let own = tag(key, "", &bytes);
    let question = tag(key, identity, &bytes);
    bytes.extend(own);
    bytes.extend(question);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What a cursor of this question holds.
pub(super) fn open(key: &[u8], identity: &str, text: &str) -> Result<Vec<u8>, CursorFault> {
    let bytes = URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| CursorFault::Malformed)?;
    let (signed, question) = bytes
        .split_last_chunk::<TAG_BYTES>()
        .ok_or(CursorFault::Malformed)?;
    let (body, own) = signed
        .split_last_chunk::<TAG_BYTES>()
        .ok_or(CursorFault::Malformed)?;
    if !is_signed(key, "", body, own) {
        return Err(CursorFault::Malformed);
    }
    if !is_signed(key, identity, body, question) {
        return Err(CursorFault::OtherQuestion);
    }
    Ok(body.to_owned())
}

pub(super) fn put(bytes: &mut Vec<u8>, position: Position) {
    bytes.extend(position.published_at.timestamp_micros().to_be_bytes());
    bytes.extend(position.id.to_be_bytes());
}

pub(super) fn take_position(rest: &mut &[u8]) -> Option<Position> {
    let micros = i64::from_be_bytes(*take(rest)?);
    let published_at: DateTime<Utc> = DateTime::from_timestamp_micros(micros)?;
    Some(Position {
        published_at,
        id: i64::from_be_bytes(*take(rest)?),
    })
}

pub(super) fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (taken, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(taken)
}

fn mac(key: &[u8], identity: &str, body: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(&body.len().to_be_bytes());
    mac.update(body);
    mac.update(identity.as_bytes());
    Some(mac)
}

fn tag(key: &[u8], identity: &str, body: &[u8]) -> Vec<u8> {
    let digest = mac(key, identity, body).map(Mac::finalize);
    let digest = digest.map(|digest| digest.into_bytes().to_vec());
    digest
        .unwrap_or_default()
        .into_iter()
        .take(TAG_BYTES)
        .collect()
}

/// In constant time.
fn is_signed(key: &[u8], identity: &str, body: &[u8], tag: &[u8; TAG_BYTES]) -> bool {
    mac(key, identity, body).is_some_and(|mac| mac.verify_truncated_left(tag).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: &[u8] = b"a key of the tests' own";

    fn at() -> Position {
        Position {
            published_at: DateTime::from_timestamp_micros(1_700_000_000_123_456).expect("a time"),
            id: 42,
        }
    }

    #[test]
    fn a_cursor_leads_back_to_its_position() {
        let text = after(KEY, "question", at());
        assert_eq!(position(KEY, "question", &text), Ok(at()));
    }

    #[test]
    fn a_cursor_of_another_question_or_key_is_refused() {
        let text = after(KEY, "question", at());
        for other in ["", "questio", "question\n"] {
            let refused = position(KEY, other, &text);
            // The empty identity is nobody's: it is what every cursor is signed for.
            assert_eq!(refused, Err(CursorFault::OtherQuestion), "{other:?}");
        }
        let refused = position(b"another key", "question", &text);
        assert_eq!(refused, Err(CursorFault::Malformed));
    }

    #[test]
    fn what_something_else_holds_is_no_position_though_it_is_signed() {
        let mut body = vec![LIST + 1];
        put(&mut body, at());
        let (mut longer, mut shorter) = (body.clone(), vec![LIST]);
        longer[0] = LIST;
        longer.push(0);
        put(&mut shorter, at());
        shorter.pop();
        let mut timeless = vec![LIST];
        timeless.extend(i64::MAX.to_be_bytes());
        timeless.extend(1_i64.to_be_bytes());
        for body in [body, longer, shorter, timeless, Vec::new()] {
            let text = seal(KEY, "question", body.clone());
            let refused = position(KEY, "question", &text);
            assert_eq!(refused, Err(CursorFault::Malformed), "{body:?}");
        }
    }

    #[test]
    fn a_cursor_that_was_tampered_with_is_refused_wherever_it_was() {
        let text = after(KEY, "question", at());
        let bytes = URL_SAFE_NO_PAD.decode(&text).expect("base64");
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            let changed = URL_SAFE_NO_PAD.encode(changed);
            assert!(position(KEY, "question", &changed).is_err(), "byte {place}");
        }
    }

    #[test]
    fn a_cursor_from_before_they_were_signed_is_refused() {
        let mut bytes = vec![1];
        put(&mut bytes, at());
        bytes.extend([0; 4]);
        let refused = position(KEY, "question", &URL_SAFE_NO_PAD.encode(bytes));
        assert_eq!(refused, Err(CursorFault::Malformed));
    }

    proptest! {
        #[test]
        fn no_text_is_taken_for_a_cursor(text in ".{0,200}") {
            prop_assert!(position(KEY, "question", &text).is_err());
        }
    }
}
