//! Whose a source is: the one rule by which what a user added is kept apart from what is for everybody.
//!
//! A personal source bears a name of its own kind, made of a hash of its address: an address may hold what lets a subscriber in, and
//! names stand in logs, reports and tables. Whoever decides what others see asks here, in Rust by `is_personal`, in SQL by
//! `not_personal!`: such articles tell no story together with others', bring no words to the search, and void no shared answer.

use sha2::{Digest, Sha256};

/// What names of personal sources begin with, for `concat!`.
macro_rules! prefix {
    () => {
        "user-feed:"
    };
}

/// A condition of SQL: the column with a source's name, given as a literal, names none that is personal.
macro_rules! not_personal {
    ($column:literal) => {
        concat!($column, " NOT LIKE '", $crate::personal::prefix!(), "%'")
    };
}

/// A condition of SQL: the column with a source's name, given as a literal, names a personal one.
macro_rules! personal {
    ($column:literal) => {
        concat!($column, " LIKE '", $crate::personal::prefix!(), "%'")
    };
}

/// An expression of SQL: the name of the personal source whose address has the SHA-256 of this column. The column `source` beside it
/// says so too, but a replica of an older version may have written another name there.
macro_rules! named_by {
    ($hash:literal) => {
        concat!(
            "('",
            $crate::personal::prefix!(),
            "' || substr(",
            $hash,
            ", 1, 32))"
        )
    };
}

pub(crate) use {named_by, not_personal, personal, prefix};

/// Hexadecimal digits of the hash that tell personal sources apart: 128 bits.
const HASH_DIGITS: usize = 32;

/// Whether a source of that name is some user's, and so nothing for everybody.
pub fn is_personal(source: &str) -> bool {
    source.starts_with(prefix!())
}

/// The name of the personal source whose address has this SHA-256, in hex.
pub(crate) fn source_name(url_hash: &str) -> String {
    let digits = url_hash.get(..HASH_DIGITS).unwrap_or(url_hash);
    format!("{}{digits}", prefix!())
}

/// What the polls of a personal source are known by in the database: other than those of the same address when the operator has
/// chosen it too, else each would take the other's turns, and what they bring.
pub(crate) fn poll_key(source: &str) -> String {
    crate::article::hex(&Sha256::digest(source.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_operator_has_chosen_is_nobodys_own() {
        for name in [
            "newsapi",
            "feed:feeds.example/rss",
            "sample",
            "user-feedback",
            "",
        ] {
            assert!(!is_personal(name), "{name}");
        }
        assert!(is_personal(&source_name(&"0f".repeat(32))));
    }

    #[test]
    fn a_name_tells_a_piece_of_the_hash_and_nothing_else() {
        let name = source_name(&"0f".repeat(32));
        assert_eq!(name, format!("user-feed:{}", "0f".repeat(16)));
        assert_ne!(poll_key(&name), poll_key(&source_name(&"f0".repeat(32))));
    }

    #[test]
    fn the_database_is_asked_by_the_same_rule() {
        assert_eq!(not_personal!("a.source"), "a.source NOT LIKE 'user-feed:%'");
        assert_eq!(personal!("source"), "source LIKE 'user-feed:%'");
        let named = format!("('{}' || substr(url_hash, 1, {HASH_DIGITS}))", prefix!());
        assert_eq!(named_by!("url_hash"), named);
    }

    /// Both databases take a partial index only for statements that have its condition in the same words.
    #[test]
    fn the_indexes_of_words_and_lists_leave_them_out_by_the_same_rule() {
        let postgres = include_str!("../../migrations/postgres/0010_search_filters.sql");
        let sqlite = include_str!("../../migrations/sqlite/0012_shared_search.sql");
        let lists = [
            include_str!("../../migrations/postgres/0015_shared_lists.sql"),
            include_str!("../../migrations/sqlite/0015_shared_lists.sql"),
        ];
        for (migration, condition, times) in [
            (postgres, not_personal!("source"), 1),
            (lists[0], concat!("WHERE ", not_personal!("source")), 5),
            (lists[1], concat!("WHERE ", not_personal!("source")), 5),
            (
                sqlite,
                concat!("FROM articles WHERE ", not_personal!("source")),
                1,
            ),
            (sqlite, concat!("WHEN ", not_personal!("NEW.source")), 2),
            (sqlite, concat!("WHEN ", not_personal!("OLD.source")), 1),
        ] {
            assert_eq!(migration.matches(condition).count(), times, "{condition}");
        }
    }
}
