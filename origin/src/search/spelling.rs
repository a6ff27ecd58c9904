//! What a mistyped word may have meant: the most similar word that stands in some title or description.
//!
//! The database names candidates by common trigrams; which of them is meant is decided here, alike for both databases.

use super::terms::words;
use super::{Search, Terms, is_stop_word};
use crate::article::title::Trigrams;
use crate::database::{DatabaseError, Dialect, json, on_pool, within};
use std::collections::{BTreeMap, BTreeSet};

/// Shorter words have too many neighbours.
const WORD_CHARS_MIN: usize = 4;
/// Longer ones are addresses and accidents.
const WORD_CHARS_MAX: usize = 24;
/// Words that are compared with a mistyped one.
const CANDIDATES_MAX: i64 = 50;
/// Up to this length one slip is believed, from there on two.
const ONE_SLIP_CHARS_MAX: usize = 5;

/// The words of a text that others may want to have meant.
pub(crate) fn worth_remembering(text: &str) -> BTreeSet<String> {
    words(text)
        .into_iter()
        .filter(|word| is_correctable(word) && !is_stop_word(word))
        .collect()
}

fn is_correctable(word: &str) -> bool {
    let chars = word.chars().count();
    (WORD_CHARS_MIN..=WORD_CHARS_MAX).contains(&chars) && word.chars().all(char::is_alphabetic)
}

impl Search {
    /// The question with words that nobody wrote replaced; `None` when there is nothing to replace or nothing similar.
    pub async fn corrected(&self, terms: &Terms) -> Result<Option<Terms>, DatabaseError> {
        let typed: BTreeSet<&str> = terms
            .single_words()
            .into_iter()
            .filter(|word| is_correctable(word))
            .collect();
        if typed.is_empty() {
            return Ok(None);
        }
        let sql = statements(self.database.dialect());
        let asked = json(&typed)?;
        let mut better: BTreeMap<&str, String> = BTreeMap::new();
        within(async {
            let known: Vec<String> = on_pool!(self.database, pool => {
                sqlx::query_scalar(sql.known).bind(&asked).fetch_all(pool).await?
            });
            for word in typed.iter().filter(|word| !known.iter().any(|known| known == *word)) {
                let query = match self.database.dialect() {
                    Dialect::Postgres => (*word).to_owned(),
                    Dialect::Sqlite => any_trigram(word),
                };
                let candidates: Vec<String> = on_pool!(self.database, pool => {
                    sqlx::query_scalar(sql.similar).bind(query).bind(CANDIDATES_MAX).fetch_all(pool).await?
                });
                if let Some(meant) = meant(word, candidates) {
                    better.insert(word, meant);
                }
            }
            Ok(())
        })
        .await?;
        let corrected = terms.with_words(|word| better.get(word).cloned());
        Ok((corrected != *terms).then_some(corrected))
    }
}

/// The candidate with the fewest slips, of those the most similar.
fn meant(word: &str, candidates: Vec<String>) -> Option<String> {
    let slips_max = if word.chars().count() <= ONE_SLIP_CHARS_MAX {
        1
    } else {
        2
    };
    let trigrams = Trigrams::of(word);
    let near = candidates.into_iter().filter_map(|candidate| {
        let slips = strsim::osa_distance(word, &candidate);
        let similarity = trigrams.similarity(&Trigrams::of(&candidate));
        (slips <= slips_max && slips > 0).then_some((slips, similarity, candidate))
    });
    near.min_by(|one, other| {
        let fewer = one.0.cmp(&other.0);
        fewer
            .then(other.1.total_cmp(&one.1))
            .then_with(|| one.2.cmp(&other.2))
    })
    .map(|(_, _, candidate)| candidate)
}

/// The trigrams of a word, with the blanks around it, as alternatives for FTS5. A word is of letters only.
fn any_trigram(word: &str) -> String {
    let padded: Vec<char> = "  ".chars().chain(word.chars()).chain([' ']).collect();
    let trigrams: BTreeSet<String> = padded
        .windows(3)
        .map(|three| format!("\"{}\"", three.iter().collect::<String>()))
        .collect();
    trigrams.into_iter().collect::<Vec<_>>().join(" OR ")
}

struct Statements {
    known: &'static str,
    similar: &'static str,
}

fn statements(dialect: Dialect) -> &'static Statements {
    match dialect {
        Dialect::Postgres => &Statements {
            known: "SELECT word FROM search_words WHERE word IN (SELECT jsonb_array_elements_text(CAST($1 AS jsonb)))",
            similar: "SELECT word FROM search_words WHERE word % $1 ORDER BY similarity(word, $1) DESC, word LIMIT $2",
        },
        Dialect::Sqlite => &Statements {
            known: "SELECT word FROM search_words WHERE word IN (SELECT value FROM json_each($1))",
            similar: "SELECT w.word FROM search_words_trigrams t JOIN search_words w ON w.id = t.rowid \
                WHERE t.search_words_trigrams MATCH $1 ORDER BY bm25(search_words_trigrams), w.word LIMIT $2",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_with_the_fewest_slips_is_meant() {
        let all = ["earthquake", "earthquakes", "earthenware", "quake"];
        let rows = [
            ("erthquake", Some("earthquake")),
            ("eartquakes", Some("earthquakes")),
            ("earhtquake", Some("earthquake")),
            ("quaek", Some("quake")),
            ("qwuk", None),
            ("parliament", None),
        ];
        for (word, expected) in rows {
            let candidates = all.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(meant(word, candidates).as_deref(), expected, "{word}");
        }
    }

    #[test]
    fn words_of_some_length_are_remembered() {
        let words = worth_remembering(
            "The Quake of 2026 hit it: covid19, quake's end—FRÜHSTÜCK yourselves",
        );
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        assert_eq!(words, ["frühstück", "quake"]);
    }
}
