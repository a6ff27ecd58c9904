//! The eight words that every source's own categories are mapped to.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What an article is about, in the words clients may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Category {
    Business,
    Entertainment,
    General,
    Health,
    Science,
    Sports,
    Technology,
    World,
}

impl Category {
    /// Every category, in the order of their names.
    pub const ALL: [Self; 8] = [
        Self::Business,
        Self::Entertainment,
        Self::General,
        Self::Health,
        Self::Science,
        Self::Sports,
        Self::Technology,
        Self::World,
    ];

    /// The word used in URLs, JSON and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Business => "business",
            Self::Entertainment => "entertainment",
            Self::General => "general",
            Self::Health => "health",
            Self::Science => "science",
            Self::Sports => "sports",
            Self::Technology => "technology",
            Self::World => "world",
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is none of the eight. Its text lists them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown category; the categories are business, entertainment, general, health, science, sports, technology, world"
)]
pub struct UnknownCategory;

impl FromStr for Category {
    type Err = UnknownCategory;

    /// Exact words only: two spellings of one question would be two entries in every cache in front of us.
    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|category| category.as_str() == word)
            .ok_or(UnknownCategory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_category_reads_back_from_its_own_word() {
        for category in Category::ALL {
            assert_eq!(category.to_string().parse(), Ok(category));
            let json = serde_json::to_string(&category).expect("serialises");
            assert_eq!(json, format!("\"{category}\""));
        }
    }

    #[test]
    fn the_error_lists_every_category() {
        let text = UnknownCategory.to_string();
        for category in Category::ALL {
            assert!(text.contains(category.as_str()), "{text} lacks {category}");
        }
    }

    #[test]
    fn other_words_and_other_spellings_are_refused() {
        for word in ["", "tech", "Technology", "technology ", "sport"] {
            assert_eq!(word.parse::<Category>(), Err(UnknownCategory), "{word:?}");
        }
    }
}
