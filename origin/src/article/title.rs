//! When two headlines are the same one: what is left of a title when everything is taken off that outlets change, and how much of
//! that two titles have in common.
//!
//! The measure is that of PostgreSQL's `pg_trgm` (shared trigrams over all trigrams), so that figures can be compared with its
//! documentation; it is computed here and not there, so that both databases link the same articles.

use std::collections::BTreeSet;
use unicode_normalization::UnicodeNormalization;

/// More of a title is not looked at.
const WORDS_MAX: usize = 64;

/// The words of a title in lower case: compatibility forms unified, entities decoded, the outlet's own name behind it and all
/// punctuation taken off.
pub fn normalised(title: &str, outlets: &[Option<&str>]) -> String {
    let decoded = html_escape::decode_html_entities(title);
    let folded: String = decoded.nfkc().flat_map(char::to_lowercase).collect();
    let outlets: Vec<String> = outlets
        .iter()
        .flatten()
        .map(|outlet| outlet.nfkc().flat_map(char::to_lowercase).collect())
        .collect();
    words(without_suffix(&folded, &outlets))
        .take(WORDS_MAX)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Takes ` - Outlet` or ` | Outlet` off, as often as it stands there.
fn without_suffix<'a>(mut title: &'a str, outlets: &[String]) -> &'a str {
    loop {
        let cut = [" - ", " | ", " – ", " — "]
            .iter()
            .filter_map(|separator| title.rsplit_once(separator))
            .find(|(head, tail)| {
                !head.trim().is_empty() && outlets.iter().any(|outlet| outlet == tail.trim())
            });
        match cut {
            Some((head, _)) => title = head,
            None => return title,
        }
    }
}

/// Letters and digits stay together; apostrophes vanish ("don't" is one word), everything else parts words.
fn words(text: &str) -> impl Iterator<Item = String> {
    let joined: String = text
        .chars()
        .filter(|c| !matches!(c, '\'' | '’' | '‘'))
        .collect();
    let words: Vec<String> = joined
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    words.into_iter()
}

/// The trigrams of a normalised title. Each word stands between two blanks before it and one behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigrams(BTreeSet<[char; 3]>);

impl Trigrams {
    pub fn of(normalised: &str) -> Self {
        let mut all = BTreeSet::new();
        for word in normalised.split(' ').filter(|word| !word.is_empty()) {
            let padded: Vec<char> = "  ".chars().chain(word.chars()).chain([' ']).collect();
            let trigrams = padded
                .windows(3)
                .filter_map(|three| <[char; 3]>::try_from(three).ok());
            all.extend(trigrams);
        }
        Self(all)
    }

    /// From 0, nothing in common, to 1, the same words.
    pub fn similarity(&self, other: &Self) -> f64 {
        let common = self.0.intersection(&other.0).count();
        let all = self.0.len() + other.0.len() - common;
        if all == 0 {
            return 0.0;
        }
        // Titles have hundreds of trigrams at most: both numbers are exact.
        common as f64 / all as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn similarity(one: &str, other: &str) -> f64 {
        Trigrams::of(&normalised(one, &[])).similarity(&Trigrams::of(&normalised(other, &[])))
    }

    #[test]
    fn what_outlets_change_is_taken_off() {
        let rows = [
            (
                "Talks stall &amp; markets slide - The Example",
                "talks stall markets slide",
            ),
            ("Talks stall | The Example", "talks stall"),
            ("Talks stall - The Example - The Example", "talks stall"),
            ("“Talks” — stall…", "talks stall"),
            ("Don’t look now", "dont look now"),
            ("ﬁrst Ｔａｌｋｓ", "first talks"),
            ("Mind the gap - a story", "mind the gap a story"),
            ("The Example", "the example"),
            (" - The Example", "the example"),
            ("ÉTÉ", "été"),
            ("!?", ""),
        ];
        for (title, expected) in rows {
            assert_eq!(
                normalised(title, &[Some("The Example"), None]),
                expected,
                "{title}"
            );
        }
    }

    #[test]
    fn the_measure_is_that_of_pg_trgm() {
        // Figures of `similarity()` in PostgreSQL 15 for the same texts.
        let rows = [
            ("word", "words", 0.571_428),
            ("two words", "two word", 0.727_272),
            ("cat", "dog", 0.0),
            ("the same", "same the", 1.0),
        ];
        for (one, other, expected) in rows {
            let measured = similarity(one, other);
            assert!((measured - expected).abs() < 1e-5, "{one}: {measured}");
        }
    }

    #[test]
    fn other_names_and_other_directions_are_far_apart() {
        let rows = [
            ("Trump says deal is close", "Biden says deal is close"),
            (
                "Bitcoin falls below key level",
                "Bitcoin rises above key level",
            ),
        ];
        for (one, other) in rows {
            let measured = similarity(one, other);
            assert!(measured < 0.8, "{one}: {measured}");
        }
    }

    proptest! {
        #[test]
        fn any_two_texts_have_a_similarity_between_none_and_all(one in ".{0,80}", other in ".{0,80}") {
            let there = similarity(&one, &other);
            prop_assert!((0.0..=1.0).contains(&there));
            prop_assert_eq!(there, similarity(&other, &one));
        }

        #[test]
        fn normalising_twice_changes_nothing(title in ".{0,80}") {
            let once = normalised(&title, &[]);
            prop_assert_eq!(normalised(&once, &[]), once);
        }
    }
}
