//! What a user's preferences ask of the feed, and whether an article is muted. Pure.
//!
//! | key | value | meaning |
//! | --- | --- | --- |
//! | `feed.sources` | list of sources' names | only these; none or empty: all |
//! | `feed.categories` | list of categories | only articles in one of these; none or empty: all |
//! | `feed.languages` | list of language codes (`de`, `DE-at` and `deu` are one) | only these, and articles of which the language is not known; none or empty: all |
//! | `feed.muted_words` | list of words or phrases | no article with one of them in its title or description |
//!
//! A value of another shape is refused when it is set; where one is stored nevertheless, it asks nothing.

use crate::article::{Category, language_named};
use serde_json::{Map, Value};

const SOURCES: &str = "feed.sources";
const CATEGORIES: &str = "feed.categories";
const LANGUAGES: &str = "feed.languages";
const MUTED_WORDS: &str = "feed.muted_words";

/// Entries of one list.
const ENTRIES_MAX: usize = 50;
/// Of one entry.
const ENTRY_CHARS_MAX: usize = 100;

/// What the feed is to hold. An empty list asks nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wishes {
    pub sources: Vec<String>,
    pub categories: Vec<Category>,
    /// As articles have them: two letters, whatever region or script was named with them.
    pub languages: Vec<String>,
    /// Folded as texts are before they are compared.
    pub muted_words: Vec<String>,
}

impl Wishes {
    pub fn new(preferences: &Map<String, Value>) -> Self {
        let list = |key: &str| -> Vec<String> {
            preferences
                .get(key)
                .and_then(|value| entries(value).ok())
                .unwrap_or_default()
        };
        let categories = list(CATEGORIES);
        Self {
            sources: list(SOURCES),
            categories: categories
                .iter()
                .filter_map(|word| word.parse().ok())
                .collect(),
            languages: list(LANGUAGES)
                .iter()
                .filter_map(|word| language_named(word))
                .collect(),
            muted_words: list(MUTED_WORDS).iter().map(|word| folded(word)).collect(),
        }
    }

    /// Whether the value may stand under the key; where it may not, what would be right.
    pub fn check(key: &str, value: &Value) -> Result<(), String> {
        if !key.starts_with("feed.") {
            return Ok(());
        }
        if ![SOURCES, CATEGORIES, LANGUAGES, MUTED_WORDS].contains(&key) {
            return Err(format!(
                "is not a preference of the feed; there are {SOURCES}, {CATEGORIES}, {LANGUAGES} and {MUTED_WORDS}"
            ));
        }
        let entries = entries(value)?;
        let fits: fn(&str) -> bool = match key {
            CATEGORIES => |word| word.parse::<Category>().is_ok(),
            LANGUAGES => |word| language_named(word).is_some(),
            MUTED_WORDS => |word| !folded(word).is_empty(),
            _ => |_| true,
        };
        match entries.iter().find(|word| !fits(word)) {
            None => Ok(()),
            Some(_) => Err(match key {
                CATEGORIES => "must hold categories only".to_owned(),
                LANGUAGES => "must hold language codes only, as in en or pt-br".to_owned(),
                _ => "must hold words with letters or digits".to_owned(),
            }),
        }
    }
}

fn entries(value: &Value) -> Result<Vec<String>, String> {
    let fault = || {
        format!(
            "must be a list of at most {ENTRIES_MAX} texts, each of 1 to {ENTRY_CHARS_MAX} characters"
        )
    };
    let list = value
        .as_array()
        .filter(|list| list.len() <= ENTRIES_MAX)
        .ok_or_else(fault)?;
    let texts = list.iter().map(|entry| {
        let text = entry.as_str().map(str::trim)?;
        (1..=ENTRY_CHARS_MAX)
            .contains(&text.chars().count())
            .then(|| text.to_owned())
    });
    texts.collect::<Option<Vec<_>>>().ok_or_else(fault)
}

/// Whether one of the words, as `Wishes` holds them, stands in one of the texts: as whole words, whatever their case.
pub fn is_muted(muted_words: &[String], texts: &[Option<&str>]) -> bool {
    !muted_words.is_empty()
        && texts.iter().flatten().any(|text| {
            let text = format!(" {} ", folded(text));
            muted_words
                .iter()
                .any(|word| text.contains(&format!(" {word} ")))
        })
}

/// Lower case, and one blank where anything but letters and digits stands.
fn folded(text: &str) -> String {
    let lower = text.to_lowercase();
    let words = lower
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn muted(words: Value, text: &str) -> bool {
        let mut preferences = Map::new();
        preferences.insert(MUTED_WORDS.to_owned(), words);
        is_muted(&Wishes::new(&preferences).muted_words, &[None, Some(text)])
    }

    #[test]
    fn whole_words_are_muted_whatever_their_case_and_marks() {
        for (word, text) in [
            ("art", "Modern ART, explained"),
            ("art", "art"),
            ("World Cup", "The world-cup's final"),
            ("ÖL", "Das öl."),
            ("c", "Why C is old"),
        ] {
            assert!(muted(json!([word]), text), "{word} in {text}");
        }
        for (word, text) in [
            ("art", "A new start"),
            ("cup final", "final cup"),
            ("art", ""),
        ] {
            assert!(!muted(json!([word]), text), "{word} in {text}");
        }
        assert!(!muted(json!([]), "anything"));
    }

    #[test]
    fn the_feeds_preferences_have_a_shape_and_others_have_none() {
        for (key, value) in [
            ("theme", json!({"any": ["thing", null]})),
            ("feed.sources", json!([])),
            ("feed.sources", json!(["guardian"])),
            ("feed.categories", json!(["sports", "world"])),
            ("feed.languages", json!(["en", "pt-BR"])),
            ("feed.muted_words", json!(["a b"])),
        ] {
            assert_eq!(Wishes::check(key, &value), Ok(()), "{key}");
        }
        for (key, value) in [
            ("feed.sauces", json!([])),
            ("feed.sources", json!("guardian")),
            ("feed.sources", json!([""])),
            ("feed.sources", json!([1])),
            ("feed.categories", json!(["cooking"])),
            ("feed.languages", json!(["english please"])),
            ("feed.muted_words", json!(["--"])),
            ("feed.sources", json!(vec!["a"; 51])),
            ("feed.sources", json!(["a".repeat(101)])),
        ] {
            assert!(Wishes::check(key, &value).is_err(), "{key} {value}");
        }
    }

    #[test]
    fn what_does_not_fit_asks_nothing() {
        let mut preferences = Map::new();
        preferences.insert(SOURCES.to_owned(), json!(7));
        preferences.insert(CATEGORIES.to_owned(), json!(["sports", "gone"]));
        let wishes = Wishes::new(&preferences);
        assert_eq!(
            wishes,
            Wishes {
                categories: vec![Category::Sports],
                ..Wishes::default()
            }
        );
    }
}
