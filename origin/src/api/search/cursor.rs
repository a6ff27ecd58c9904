//! The opaque text that stands for where a search goes on. It is signed: what the database is asked for by a cursor is only what
//! an earlier answer gave.

use crate::articles::Position;
use crate::search::{End, Place, Shown, Total};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

const VERSION: u8 = 1;
/// Half of the digest is more than anybody can guess.
const TAG_BYTES: usize = 16;

/// Where a search goes on, and what its first page found out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rest {
    pub(super) place: Place,
    pub(super) total: Total,
    /// The first page searched for other words.
    pub(super) corrected: bool,
}

/// Why a text is no cursor for this question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CursorFault {
    Malformed,
    OtherQuestion,
}

/// The cursor for going on there with the question of this identity.
pub(super) fn encode(key: &[u8], identity: &str, rest: Rest) -> String {
    let Rest {
        place,
        total,
        corrected,
    } = rest;
    let (end, shown) = (place.end, place.shown);
    let mut bytes = vec![VERSION];
    bytes.push(
        u8::from(end.is_some())
            | u8::from(end.is_some_and(|end| end.more_behind)) << 1
            | u8::from(shown.is_some()) << 2
            | u8::from(total.exact) << 3
            | u8::from(corrected) << 4,
    );
    bytes.extend(u32::try_from(total.value).unwrap_or(u32::MAX).to_be_bytes());
    put(&mut bytes, place.before);
    if let Some(end) = end {
        put(&mut bytes, end.last);
    }
    if let Some(shown) = shown {
        put(
            &mut bytes,
            Position {
                published_at: shown.published_at,
                id: shown.id,
            },
        );
        bytes.extend(shown.rank.to_be_bytes());
    }
    // Signed for anybody first: so a cursor of another question can be told from one that was never ours.
    let own = tag(key, "", &bytes);
    let question = tag(key, identity, &bytes);
    bytes.extend(own);
    bytes.extend(question);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What the cursor stands for.
pub(super) fn decode(key: &[u8], identity: &str, text: &str) -> Result<Rest, CursorFault> {
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
    read(body).ok_or(CursorFault::Malformed)
}

fn read(body: &[u8]) -> Option<Rest> {
    let (&[version, flags], mut rest) = body.split_first_chunk()?;
    let flag = |bit: u8| flags >> bit & 1 == 1;
    let value = u32::from_be_bytes(*take(&mut rest)?);
    let before = position(&mut rest)?;
    let mut place = Place {
        before,
        end: None,
        shown: None,
    };
    if flag(0) {
        place.end = Some(End {
            last: position(&mut rest)?,
            more_behind: flag(1),
        });
    }
    if flag(2) {
        let position = position(&mut rest)?;
        place.shown = Some(Shown {
            id: position.id,
            published_at: position.published_at,
            rank: f64::from_be_bytes(*take(&mut rest)?),
        });
    }
    (version == VERSION && rest.is_empty()).then_some(Rest {
        place,
        total: Total {
            value: usize::try_from(value).ok()?,
            exact: flag(3),
        },
        corrected: flag(4),
    })
}

fn put(bytes: &mut Vec<u8>, position: Position) {
    bytes.extend(position.published_at.timestamp_micros().to_be_bytes());
    bytes.extend(position.id.to_be_bytes());
}

fn position(rest: &mut &[u8]) -> Option<Position> {
    let micros = i64::from_be_bytes(*take(rest)?);
    let published_at: DateTime<Utc> = DateTime::from_timestamp_micros(micros)?;
    Some(Position {
        published_at,
        id: i64::from_be_bytes(*take(rest)?),
    })
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
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

    fn rest() -> Rest {
        let at = |id| Position {
            published_at: DateTime::from_timestamp_micros(1_700_000_000_123_456).expect("a time"),
            id,
        };
        Rest {
            place: Place {
                before: at(9),
                end: Some(End {
                    last: at(3),
                    more_behind: true,
                }),
                shown: Some(Shown {
                    id: 5,
                    published_at: at(5).published_at,
                    rank: 0.25,
                }),
            },
            total: Total {
                value: 500,
                exact: false,
            },
            corrected: true,
        }
    }

    #[test]
    fn a_cursor_leads_back_to_its_place() {
        let mut next_window = rest();
        (next_window.place.end, next_window.place.shown) = (None, None);
        next_window.corrected = false;
        for rest in [rest(), next_window] {
            let text = encode(KEY, "question", rest);
            assert_eq!(decode(KEY, "question", &text), Ok(rest));
        }
    }

    #[test]
    fn a_cursor_of_another_question_or_key_is_refused() {
        let text = encode(KEY, "question", rest());
        assert_eq!(decode(KEY, "other", &text), Err(CursorFault::OtherQuestion));
        assert_eq!(
            decode(b"another key", "question", &text),
            Err(CursorFault::Malformed)
        );
    }

    #[test]
    fn a_cursor_that_was_tampered_with_is_refused_wherever_it_was() {
        let text = encode(KEY, "question", rest());
        let bytes = URL_SAFE_NO_PAD.decode(&text).expect("base64");
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            let changed = URL_SAFE_NO_PAD.encode(changed);
            assert!(decode(KEY, "question", &changed).is_err(), "byte {place}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_taken_for_a_cursor(text in ".{0,200}") {
            prop_assert!(decode(KEY, "question", &text).is_err());
        }
    }
}
