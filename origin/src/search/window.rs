//! Which of the found articles are on a page: decisions about values.
//!
//! Relevance is compared among the newest matches only, a window of them at a time: ranking all articles that have a common word
//! would cost as much as reading them all. When a window has been shown, the next one begins with the next older match. So every
//! match comes once, and a page costs the same however deep it lies.
//!
//! A cursor pins its window by the times at its ends, so that articles that are stored meanwhile move nothing.

use crate::articles::Position;
use chrono::{DateTime, Utc};

/// Matches of a window.
pub(super) const CANDIDATES_MAX: usize = 500;
/// Articles of a window that have all the words of a phrase: whether side by side is known only by looking at each.
pub(super) const PHRASE_CANDIDATES_MAX: usize = 2_000;
/// Windows that a request may look through for its first match.
pub(super) const WINDOWS_MAX: usize = 3;

/// In which order the matches of a window come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Relevance,
    Newest,
}

/// An article that has all the words.
#[derive(Debug, Clone, Copy, PartialEq, sqlx::FromRow)]
pub(super) struct Candidate {
    pub(super) id: i64,
    pub(super) published_at: DateTime<Utc>,
    /// `None` when it isn't a match after all.
    pub(super) rank: Option<f64>,
}

/// From where on matches are wanted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// The window begins with what is older than this.
    pub before: Position,
    /// And ends here, when it has been looked through before.
    pub end: Option<End>,
    /// The match after which to go on in it, and its rank.
    pub shown: Option<Shown>,
}

/// The end of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// The last article of the window.
    pub last: Position,
    /// Whether older articles have the words too.
    pub more_behind: bool,
}

/// A match that has been shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shown {
    pub id: i64,
    pub published_at: DateTime<Utc>,
    pub rank: f64,
}

/// What of a window goes on the page, and where the next page begins.
#[derive(Debug, PartialEq)]
pub(super) struct Cut {
    pub(super) ids: Vec<i64>,
    pub(super) next: Option<Place>,
}

/// Cuts a page out of a window. `candidates` are newest first, and one more than `candidates_max` when older ones follow.
pub(super) fn cut(
    mut candidates: &[Candidate],
    candidates_max: usize,
    order: Order,
    place: Place,
    limit: usize,
) -> Cut {
    // A window that is pinned keeps what came into it meanwhile.
    let more_behind = candidates.len() > candidates_max;
    if place.end.is_none() {
        candidates = candidates.get(..candidates_max).unwrap_or(candidates);
    }
    let end = place.end.or_else(|| {
        let last = candidates.last()?;
        let last = Position {
            published_at: last.published_at,
            id: last.id,
        };
        Some(End { last, more_behind })
    });
    let mut matches: Vec<Shown> = candidates.iter().filter_map(matched).collect();
    matches.sort_by(|one, other| before(order, one, other));
    let skipped = match place.shown {
        None => 0,
        Some(shown) => match matches.iter().position(|other| other.id == shown.id) {
            Some(position) => position + 1,
            // It was deleted, or doesn't match any more: go on where it would stand.
            None => matches.partition_point(|other| before(order, other, &shown).is_lt()),
        },
    };
    let page: Vec<Shown> = matches.iter().skip(skipped).take(limit).copied().collect();
    let more_here = matches.len() > skipped + page.len();
    let next = match (page.last(), end) {
        (Some(shown), Some(_)) if more_here => Some(Place {
            // Just before the newest of the window: what is newer than that came in meanwhile.
            before: match (place.end, candidates.first()) {
                (None, Some(newest)) => Position {
                    published_at: newest.published_at,
                    id: newest.id.saturating_add(1),
                },
                _ => place.before,
            },
            end,
            shown: Some(*shown),
        }),
        (_, Some(end)) if end.more_behind => Some(Place {
            before: end.last,
            end: None,
            shown: None,
        }),
        _ => None,
    };
    Cut {
        ids: page.iter().map(|shown| shown.id).collect(),
        next,
    }
}

fn matched(candidate: &Candidate) -> Option<Shown> {
    Some(Shown {
        id: candidate.id,
        published_at: candidate.published_at,
        rank: candidate.rank?,
    })
}

/// The better match first; of equal ones the newer.
fn before(order: Order, one: &Shown, other: &Shown) -> std::cmp::Ordering {
    let newest = (other.published_at, other.id).cmp(&(one.published_at, one.id));
    match order {
        Order::Relevance => other.rank.total_cmp(&one.rank).then(newest),
        Order::Newest => newest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;
    use proptest::prelude::*;

    fn candidate(id: i64, rank: Option<f64>) -> Candidate {
        Candidate {
            id,
            published_at: DateTime::from_timestamp(1_750_000_000, 0).expect("a time")
                + TimeDelta::seconds(id / 3),
            rank,
        }
    }

    fn first() -> Place {
        Place {
            before: Position {
                published_at: DateTime::<Utc>::MAX_UTC,
                id: i64::MAX,
            },
            end: None,
            shown: None,
        }
    }

    fn position(candidate: &Candidate) -> (DateTime<Utc>, i64) {
        (candidate.published_at, candidate.id)
    }

    /// As the database does: newest first, one more than the window holds.
    fn window(stored: &[Candidate], place: Place, max: usize) -> Vec<Candidate> {
        let mut found: Vec<Candidate> = stored
            .iter()
            .filter(|c| position(c) < (place.before.published_at, place.before.id))
            .filter(|c| {
                place
                    .end
                    .is_none_or(|end| position(c) >= (end.last.published_at, end.last.id))
            })
            .copied()
            .collect();
        found.sort_by_key(|c| std::cmp::Reverse(position(c)));
        found.truncate(if place.end.is_some() {
            usize::MAX
        } else {
            max + 1
        });
        found
    }

    fn read_all(
        stored: &mut Vec<Candidate>,
        (order, max, limit): (Order, usize, usize),
        mut between: impl FnMut(&mut Vec<Candidate>),
    ) -> Vec<i64> {
        let (mut place, mut ids) = (first(), Vec::new());
        for _ in 0..1000 {
            let cut = cut(&window(stored, place, max), max, order, place, limit);
            ids.extend(cut.ids);
            match cut.next {
                Some(next) => place = next,
                None => return ids,
            }
            between(stored);
        }
        panic!("pages without end");
    }

    #[test]
    fn the_best_of_a_window_comes_first_and_of_equals_the_newest() {
        let mut stored = vec![
            candidate(30, Some(0.1)),
            candidate(60, Some(0.9)),
            candidate(90, Some(0.1)),
            candidate(120, None),
        ];
        let relevant = read_all(&mut stored, (Order::Relevance, 10, 2), |_| {});
        assert_eq!(relevant, [60, 90, 30]);
        let newest = read_all(&mut stored, (Order::Newest, 10, 2), |_| {});
        assert_eq!(newest, [90, 60, 30]);
    }

    #[test]
    fn a_page_that_ends_with_the_last_match_has_no_next() {
        for (stored, max, limit) in [(4, 10, 4), (4, 4, 4), (4, 4, 2), (4, 2, 2), (0, 4, 2)] {
            let stored: Vec<Candidate> = (0..stored).map(|id| candidate(id, Some(0.5))).collect();
            let mut place = first();
            loop {
                let cut = cut(
                    &window(&stored, place, max),
                    max,
                    Order::Relevance,
                    place,
                    limit,
                );
                assert!(stored.is_empty() || !cut.ids.is_empty(), "{max} {limit}");
                match cut.next {
                    Some(next) => place = next,
                    None => break,
                }
            }
        }
    }

    proptest! {
        #[test]
        fn every_match_comes_once_while_others_come_in(
            ranks in prop::collection::vec(prop::option::of(0_u8..4), 0..60),
            max in 1_usize..9,
            limit in 1_usize..9,
        ) {
            let mut stored: Vec<Candidate> = ranks.iter().enumerate()
                .map(|(n, rank)| candidate(i64::try_from(n).unwrap() * 2, rank.map(f64::from))).collect();
            let expected: std::collections::BTreeSet<i64> =
                stored.iter().filter(|c| c.rank.is_some()).map(|c| c.id).collect();
            let mut newest = 1_001;
            let ids = read_all(&mut stored, (Order::Relevance, max, limit), |stored| {
                newest += 2;
                stored.push(candidate(newest, Some(2.0)));
            });
            prop_assert_eq!(ids.len(), expected.len(), "{:?}", ids);
            prop_assert_eq!(ids.into_iter().collect::<std::collections::BTreeSet<_>>(), expected);
        }
    }
}
