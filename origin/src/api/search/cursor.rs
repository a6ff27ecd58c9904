//! Where a search goes on, and what its first page found out, as its cursors hold it.

use crate::api::cursor::{CursorFault, open, put, seal, take, take_position};
use crate::articles::Position;
use crate::search::{End, Place, Shown, Total};

/// Lists begin theirs otherwise.
const VERSION: u8 = 1;

/// Where a search goes on, and what its first page found out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rest {
    pub(super) place: Place,
    pub(super) total: Total,
    /// The first page searched for other words.
    pub(super) corrected: bool,
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
    seal(key, identity, bytes)
}

/// What the cursor stands for.
pub(super) fn decode(key: &[u8], identity: &str, text: &str) -> Result<Rest, CursorFault> {
    let body = open(key, identity, text)?;
    read(&body).ok_or(CursorFault::Malformed)
}

fn read(body: &[u8]) -> Option<Rest> {
    let (&[version, flags], mut rest) = body.split_first_chunk()?;
    let flag = |bit: u8| flags >> bit & 1 == 1;
    let value = u32::from_be_bytes(*take(&mut rest)?);
    let before = take_position(&mut rest)?;
    let mut place = Place {
        before,
        end: None,
        shown: None,
    };
    if flag(0) {
        place.end = Some(End {
            last: take_position(&mut rest)?,
            more_behind: flag(1),
        });
    }
    if flag(2) {
        let position = take_position(&mut rest)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

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
    fn a_cursor_of_a_list_is_no_search_though_it_is_signed() {
        let mut body = vec![VERSION + 1];
        put(&mut body, rest().place.before);
        let text = seal(KEY, "question", body);
        assert_eq!(decode(KEY, "question", &text), Err(CursorFault::Malformed));
    }
}
