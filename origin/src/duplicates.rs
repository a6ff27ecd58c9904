//! Which articles tell the same story, so that a list shows it once: decisions about values, without SQL (that is in `links`).
//!
//! Two tiers. The same canonical URL from another source is the same article. Failing that, headlines that are the same but for
//! what outlets change, published within days of each other. A group is a star: the earliest article is shown, all others point
//! at it, none at one that points on. Nothing is deleted or overwritten.
//!
//! Left out: the same event in other words. Trigrams can't tell "talks stall" from "talks resume"; that needs embeddings.

mod links;

pub(crate) use links::{Changed, link, touch_shown};

use crate::article::title::Trigrams;
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::{BTreeMap, BTreeSet};

/// From here on two headlines may be one. Measured on real pairs: other wording of one event stays below 0.4, another name in
/// the same sentence reaches 0.8 in long ones (see `is_swapped`), an outlet's small changes stay above 0.84.
const SIMILARITY_MIN: f64 = 0.8;
/// Shorter headlines ("Morning briefing") come again with other news.
const WORDS_MIN: usize = 5;
/// Between publishers: agencies' stories are printed over some days.
const WINDOW: TimeDelta = TimeDelta::hours(72);
/// Within one publisher only the very same headline counts, and not the day after: columns keep their names.
const OWN_WINDOW: TimeDelta = TimeDelta::hours(12);

/// How far apart two articles may be published that headlines link.
pub(crate) const WINDOW_MAX: TimeDelta = WINDOW;

/// What headlines are compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Headline<'a> {
    pub(crate) source: &'a str,
    pub(crate) outlet: Option<&'a str>,
    /// As `article::title::normalised` leaves it.
    pub(crate) words: &'a str,
    pub(crate) published_at: DateTime<Utc>,
}

/// Whether there is enough of a headline to be compared at all.
pub(crate) fn is_comparable(words: &str) -> bool {
    words.split(' ').count() >= WORDS_MIN
}

/// Whether two headlines stand above the same story.
pub(crate) fn is_same_story(one: Headline<'_>, other: Headline<'_>) -> bool {
    let apart = (one.published_at - other.published_at).abs();
    if one.source == other.source && one.outlet == other.outlet {
        return apart <= OWN_WINDOW && one.words == other.words && is_comparable(one.words);
    }
    apart <= WINDOW && is_same_headline(one.words, other.words)
}

fn is_same_headline(one: &str, other: &str) -> bool {
    is_comparable(one)
        && is_comparable(other)
        && !is_swapped(one, other)
        && Trigrams::of(one).similarity(&Trigrams::of(other)) >= SIMILARITY_MIN
}

/// Whether a word of the one stands where the other has another word: another name, number or direction makes another story,
/// however long the rest is. Words that were only added or left out, small ones, and other forms of the same word don't count;
/// a denial always does.
fn is_swapped(one: &str, other: &str) -> bool {
    let (ones, others): (BTreeSet<&str>, BTreeSet<&str>) =
        (one.split(' ').collect(), other.split(' ').collect());
    let own = |words: &BTreeSet<&str>, foreign: &BTreeSet<&str>| {
        let foreign: BTreeSet<String> = foreign.iter().map(|word| base(word)).collect();
        words
            .iter()
            .filter(|word| !SMALL.contains(word) && !foreign.contains(&base(word)))
            .map(|word| (*word).to_owned())
            .collect::<Vec<String>>()
    };
    let (ones_own, others_own) = (own(&ones, &others), own(&others, &ones));
    let denies = |words: &[String]| words.iter().any(|word| DENIALS.contains(&word.as_str()));
    denies(&ones_own) || denies(&others_own) || (!ones_own.is_empty() && !others_own.is_empty())
}

/// Words that headlines change without saying anything else.
const SMALL: &[&str] = &[
    "a", "an", "and", "as", "at", "by", "for", "from", "has", "have", "in", "into", "is", "it",
    "its", "of", "on", "over", "the", "their", "to", "was", "were", "with",
];
/// Words that turn a headline into its opposite.
const DENIALS: &[&str] = &[
    "no", "not", "never", "without", "denies", "denied", "false", "fake", "hoax", "isnt", "wasnt",
    "arent", "cant", "cannot", "wont", "doesnt", "didnt", "dont",
];

/// A word without the endings in which forms and spellings differ: enough to know "talks" for "talk" and "organise" for
/// "organize", too little to take one name for another.
fn base(word: &str) -> String {
    if word.chars().any(|c| c.is_ascii_digit()) {
        return word.to_owned();
    }
    let word = word.replace("isation", "ization").replace("ise", "ize");
    let word = word.replace("our", "or");
    for ending in ["ing", "ed", "es", "s", "e"] {
        if let Some(base) = word.strip_suffix(ending)
            && base.chars().count() >= 3
        {
            return base.to_owned();
        }
    }
    word
}

/// An article in a group, or about to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Member {
    pub(crate) published_at: DateTime<Utc>,
    pub(crate) id: i64,
}

/// Who stands for whom, after these articles were found to be the same. `groups` are stored groups and found pairs, in any order;
/// those that share an article are one. Gives every member its `duplicate_of`: the earliest none, all others the earliest.
pub(crate) fn elect(groups: &[Vec<Member>]) -> BTreeMap<i64, Option<i64>> {
    let mut merged: Vec<BTreeSet<Member>> = Vec::new();
    for group in groups {
        let mut whole: BTreeSet<Member> = group.iter().copied().collect();
        let shares = |other: &BTreeSet<Member>, whole: &BTreeSet<Member>| {
            other
                .iter()
                .any(|member| whole.iter().any(|own| own.id == member.id))
        };
        merged.retain(|other| {
            let joins = shares(other, &whole);
            if joins {
                whole.extend(other.iter().copied());
            }
            !joins
        });
        merged.push(whole);
    }
    merged
        .iter()
        .flat_map(|group| {
            let shown = group.first().map(|first| first.id);
            group
                .iter()
                .map(move |member| (member.id, shown.filter(|shown| *shown != member.id)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::article::title::normalised;
    use proptest::prelude::*;

    fn at(hours: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_750_000_000, 0).expect("a time") + TimeDelta::hours(hours)
    }

    fn linked(one: &str, other: &str) -> bool {
        is_same_headline(&normalised(one, &[]), &normalised(other, &[]))
    }

    #[test]
    fn what_outlets_change_keeps_a_headline_the_same() {
        let rows = [
            (
                "Harbour plan to be drawn up for the northern district",
                "Harbour plan to be drawn up for northern district",
            ),
            (
                "PHOTOS: How nine families cope when they can't afford three meals a day",
                "How nine families cope when they can’t afford three meals a day",
            ),
            (
                "Quake of magnitude 7.1 hits southern islands, tsunami warning issued",
                "Tsunami warning issued: quake of magnitude 7.1 hits southern islands",
            ),
            (
                "Ministers organise another round of talks in the capital this coming weekend",
                "Ministers organize another round of talks in the capital this coming weekend",
            ),
        ];
        for (one, other) in rows {
            assert!(linked(one, other), "{one} / {other}");
        }
    }

    #[test]
    fn another_name_number_or_direction_is_another_story() {
        let rows = [
            ("Trump says deal is close", "Biden says deal is close"),
            // Long enough that the measure alone would take them for one.
            (
                "Trump says he will meet the Chinese president next week in South Korea for talks on trade and tariffs",
                "Biden says he will meet the Chinese president next week in South Korea for talks on trade and tariffs",
            ),
            (
                "Bitcoin falls below one hundred thousand dollars as traders wait for the central bank",
                "Bitcoin rises below one hundred thousand dollars as traders wait for the central bank",
            ),
            (
                "Austria beats the favourites in the last minute of the opening match of the tournament",
                "Australia beats the favourites in the last minute of the opening match of the tournament",
            ),
            (
                "Death toll in the northern floods rises to 12 as rescuers reach the last villages",
                "Death toll in the northern floods rises to 14 as rescuers reach the last villages",
            ),
            (
                "Minister resigns after report on the purchase of masks, office says on Monday",
                "Minister not resigns after report on the purchase of masks, office says on Monday",
            ),
            (
                "Earthquake of magnitude 7.8 hits Turkey",
                "Turkey struck by a 7.8 magnitude quake",
            ),
        ];
        for (one, other) in rows {
            assert!(!linked(one, other), "{one} / {other}");
        }
    }

    #[test]
    fn short_headlines_are_never_linked() {
        assert!(!linked("Live updates", "Live updates"));
        assert!(!linked(
            "Markets close four percent",
            "Markets close four percent"
        ));
        assert!(linked(
            "Markets close four percent down",
            "Markets close four percent down"
        ));
    }

    #[test]
    fn windows_hold_at_their_ends() {
        let words = "harbour plan drawn up for northern district";
        let headline = |source, outlet, hours| Headline {
            source,
            outlet,
            words,
            published_at: at(hours),
        };
        let first = headline("a", Some("One"), 0);
        for (other, same) in [
            (headline("b", Some("One"), 72), true),
            (headline("b", Some("One"), -72), true),
            (headline("b", Some("One"), 73), false),
            (headline("a", Some("Two"), 72), true),
            // The same publisher under two addresses, and its column of the next day.
            (headline("a", Some("One"), 12), true),
            (headline("a", Some("One"), 13), false),
        ] {
            assert_eq!(is_same_story(first, other), same, "{other:?}");
        }
    }

    fn member(id: i64, hours: i64) -> Member {
        Member {
            published_at: at(hours),
            id,
        }
    }

    #[test]
    fn the_earliest_is_shown_and_nothing_points_at_what_points_on() {
        let groups = [
            vec![member(1, 5), member(2, 6)],
            vec![member(3, 1), member(4, 2)],
            vec![member(2, 6), member(4, 2)],
            vec![member(9, 0)],
        ];
        let expected = BTreeMap::from([
            (1, Some(3)),
            (2, Some(3)),
            (3, None),
            (4, Some(3)),
            (9, None),
        ]);
        assert_eq!(elect(&groups), expected);
    }

    #[test]
    fn of_the_same_moment_the_smaller_identifier_is_the_earlier() {
        let elected = elect(&[vec![member(7, 0), member(5, 0)]]);
        assert_eq!(elected, BTreeMap::from([(5, None), (7, Some(5))]));
    }

    proptest! {
        #[test]
        fn there_are_no_chains_whatever_is_found(pairs in prop::collection::vec((1_i64..20, 1_i64..20), 0..30)) {
            let groups: Vec<Vec<Member>> = pairs
                .iter()
                .map(|(one, other)| vec![member(*one, one % 4), member(*other, other % 4)])
                .collect();
            let elected = elect(&groups);
            for (id, of) in &elected {
                prop_assert_ne!(Some(*id), *of);
                if let Some(shown) = of {
                    prop_assert_eq!(elected.get(shown), Some(&None));
                    prop_assert!(member(*shown, shown % 4) < member(*id, id % 4));
                }
            }
            for (one, other) in pairs {
                let of = |id: i64| elected[&id].unwrap_or(id);
                prop_assert_eq!(of(one), of(other));
            }
        }
    }
}
