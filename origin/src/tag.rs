//! The names by which stored answers are made void: what an answer bears, and what a change names.
//!
//! Every list of articles bears `list`. It also bears `category:C`, or `category:any` when it is of no category, so that a
//! question's first answer can void the other lists without the one that is being made of it. Tags are visible ASCII without
//! blanks, commas or quotes, whatever a source is called: they stand in `Cache-Tag`, in `Cache-Groups` and in queries.

use crate::article::Category;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// Longer names of sources are hashed: caches bound tags, and an answer bears many.
const NAME_BYTES_MAX: usize = 128;

/// One such name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tag(String);

impl Tag {
    /// Every list of articles, search results among them.
    pub fn list() -> Self {
        Self("list".to_owned())
    }

    /// Answers to searches: no question to a source stands behind them.
    pub fn search() -> Self {
        Self("search".to_owned())
    }

    /// The list of sources, and how they fared.
    pub fn sources() -> Self {
        Self("sources".to_owned())
    }

    /// What shows the message board.
    pub fn messages() -> Self {
        Self("messages".to_owned())
    }

    /// What shows some of the board and isn't fresh after every message, but is when a person's words are erased.
    pub fn erasures() -> Self {
        Self("erasures".to_owned())
    }

    /// What shows this article.
    pub fn article(id: i64) -> Self {
        Self(format!("article:{id}"))
    }

    /// The one answer that is all about this article. Lists that show it do not bear this tag.
    pub fn page(id: i64) -> Self {
        Self(format!("page:{id}"))
    }

    /// What is of this source.
    pub fn source(name: &str) -> Self {
        Self(format!("source:{}", safe(name)))
    }

    /// Lists of this category, or of none.
    pub fn category(category: Option<Category>) -> Self {
        Self(format!(
            "category:{}",
            category.map_or("any", Category::as_str)
        ))
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn safe(name: &str) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~:/".contains(byte);
    let escaped: String = name
        .bytes()
        .map(|byte| match is_plain(&byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect();
    if escaped.len() <= NAME_BYTES_MAX {
        return escaped;
    }
    let digest = Sha256::digest(name.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_names_stand_as_they_are() {
        assert_eq!(
            Tag::source("feed:feeds.bbci.co.uk/news/rss.xml").as_str(),
            "source:feed:feeds.bbci.co.uk/news/rss.xml"
        );
        assert_eq!(
            Tag::category(Some(Category::World)).as_str(),
            "category:world"
        );
        assert_eq!(Tag::category(None).as_str(), "category:any");
    }

    #[test]
    fn no_name_breaks_out_of_a_field_or_is_taken_for_another() {
        let names = ["a,list", "a\"b", "a b", "ä", "a%2Cb", "a,b", "a\r\nb", ""];
        let long: Vec<String> = (0..3).map(|n| format!("{n}{}", "ä,".repeat(500))).collect();
        let all: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let tags: std::collections::BTreeSet<Tag> = all
            .iter()
            .chain(&long)
            .map(|name| Tag::source(name))
            .collect();
        assert_eq!(tags.len(), names.len() + long.len());
        for tag in tags {
            let fits = |byte: u8| byte.is_ascii_graphic() && !b",\"\\".contains(&byte);
            assert!(tag.as_str().bytes().all(fits), "{tag}");
            assert!(tag.as_str().len() <= "source:".len() + NAME_BYTES_MAX);
        }
    }
}
