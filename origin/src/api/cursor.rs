//! The opaque text that stands for "what comes after this article": position and question in one. A cursor is believed as far as
//! it can do no harm: a forged one shows nothing that a client could not see anyway.

use crate::article::Category;
use crate::articles::Position;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::DateTime;
use sha2::{Digest, Sha256};

const VERSION: u8 = 1;
/// Version, microseconds, identifier, question.
const BYTES: usize = 1 + 8 + 8 + QUESTION_BYTES;
/// Enough to notice a mix-up; there is nobody to defend against.
const QUESTION_BYTES: usize = 4;

/// Why a text is no cursor for this question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CursorFault {
    Malformed,
    OtherQuestion,
}

/// The cursor for what comes after the position.
pub(super) fn encode(
    position: Position,
    category: Option<Category>,
    source: Option<&str>,
) -> String {
    let mut bytes = Vec::with_capacity(BYTES);
    bytes.push(VERSION);
    bytes.extend(position.published_at.timestamp_micros().to_be_bytes());
    bytes.extend(position.id.to_be_bytes());
    bytes.extend(question(category, source));
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The position that the cursor stands for.
pub(super) fn decode(
    text: &str,
    category: Option<Category>,
    source: Option<&str>,
) -> Result<Position, CursorFault> {
    let bytes = URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| CursorFault::Malformed)?;
    let (version, rest) = bytes.split_first().ok_or(CursorFault::Malformed)?;
    let (micros, rest) = rest.split_first_chunk().ok_or(CursorFault::Malformed)?;
    let (id, asked) = rest.split_first_chunk().ok_or(CursorFault::Malformed)?;
    if *version != VERSION || asked.len() != QUESTION_BYTES {
        return Err(CursorFault::Malformed);
    }
    if asked != question(category, source) {
        return Err(CursorFault::OtherQuestion);
    }
    let published_at = DateTime::from_timestamp_micros(i64::from_be_bytes(*micros))
        .ok_or(CursorFault::Malformed)?;
    Ok(Position {
        published_at,
        id: i64::from_be_bytes(*id),
    })
}

fn question(category: Option<Category>, source: Option<&str>) -> [u8; QUESTION_BYTES] {
    let category = category.map_or("", Category::as_str);
    let digest = Sha256::digest(format!("{category}\n{}", source.unwrap_or("")));
    let mut question = [0; QUESTION_BYTES];
    question
        .iter_mut()
        .zip(digest.iter())
        .for_each(|(to, from)| *to = *from);
    question
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position() -> Position {
        Position {
            published_at: DateTime::from_timestamp_micros(1_700_000_000_123_456).unwrap(),
            id: 42,
        }
    }

    #[test]
    fn a_cursor_leads_back_to_its_position() {
        let text = encode(position(), Some(Category::Science), Some("guardian"));
        assert_eq!(
            decode(&text, Some(Category::Science), Some("guardian")),
            Ok(position())
        );
    }

    #[test]
    fn a_cursor_of_another_question_is_refused() {
        let text = encode(position(), Some(Category::Science), None);
        assert_eq!(
            decode(&text, Some(Category::Sports), None),
            Err(CursorFault::OtherQuestion)
        );
        assert_eq!(
            decode(&text, Some(Category::Science), Some("guardian")),
            Err(CursorFault::OtherQuestion)
        );
    }

    #[test]
    fn anything_else_is_malformed() {
        let text = encode(position(), None, None);
        for wrong in [
            "",
            "!",
            "AQ",
            &text[1..],
            &format!("{text}AA"),
            &format!("{text}="),
            &text.replacen('A', "B", 1),
        ] {
            assert_eq!(
                decode(wrong, None, None),
                Err(CursorFault::Malformed),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_time_out_of_range_is_malformed() {
        let mut bytes = vec![VERSION];
        bytes.extend(i64::MAX.to_be_bytes());
        bytes.extend(1_i64.to_be_bytes());
        bytes.extend(question(None, None));
        assert_eq!(
            decode(&URL_SAFE_NO_PAD.encode(bytes), None, None),
            Err(CursorFault::Malformed)
        );
    }
}
