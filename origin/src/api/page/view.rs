//! What the pages show, in the form in which they show it. Pure.

use crate::board::{Message, MessagePage};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use url::form_urlencoded::{Serializer, parse};

/// As many articles as a page of the API has by default.
const CURSOR: &str = "cursor";

/// Those in which much is written; any other one can be asked for by its code.
const LANGUAGES: &[(&str, &str)] = &[
    ("ar", "Arabic"),
    ("zh", "Chinese"),
    ("nl", "Dutch"),
    ("en", "English"),
    ("fr", "French"),
    ("de", "German"),
    ("it", "Italian"),
    ("ja", "Japanese"),
    ("pl", "Polish"),
    ("pt", "Portuguese"),
    ("ru", "Russian"),
    ("es", "Spanish"),
];

/// What was asked of the front page. Fields that a form left empty were not asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) q: String,
    pub(super) category: String,
    pub(super) source: String,
    pub(super) language: String,
    pub(super) sentiment: String,
    /// All parameters but the cursor, and the cursor.
    others: Vec<(String, String)>,
    cursor: Option<String>,
}

impl Question {
    pub(super) fn read(query: Option<&str>) -> Self {
        let mut question = Self::default();
        for (name, value) in parse(query.unwrap_or_default().as_bytes()) {
            if value.trim().is_empty() {
                continue;
            }
            match name.as_ref() {
                "q" => question.q = value.clone().into_owned(),
                "category" => question.category = value.clone().into_owned(),
                "source" => question.source = value.clone().into_owned(),
                "language" => question.language = value.clone().into_owned(),
                "sentiment" => question.sentiment = value.clone().into_owned(),
                _ => {}
            }
            if name == CURSOR && question.cursor.is_none() {
                question.cursor = Some(value.into_owned());
            } else {
                question
                    .others
                    .push((name.into_owned(), value.into_owned()));
            }
        }
        question
    }

    pub(super) fn is_search(&self) -> bool {
        !self.q.is_empty()
    }

    pub(super) fn has_cursor(&self) -> bool {
        self.cursor.is_some()
    }

    /// The same question to the API.
    pub(super) fn query(&self) -> Option<String> {
        self.with(self.cursor.as_deref())
    }

    pub(super) fn first_page(&self) -> String {
        self.page(None)
    }

    pub(super) fn page_after(&self, cursor: &str) -> String {
        self.page(Some(cursor))
    }

    /// The languages to choose from: the usual ones, and the one that was asked for.
    pub(super) fn languages(&self) -> Vec<(String, String)> {
        let usual = LANGUAGES.iter();
        let mut all: Vec<_> = usual
            .map(|(code, name)| ((*code).to_owned(), (*name).to_owned()))
            .collect();
        if !self.language.is_empty() && all.iter().all(|(code, _)| *code != self.language) {
            all.push((self.language.clone(), self.language.clone()));
        }
        all
    }

    /// What the page is headed by.
    pub(super) fn heading(&self) -> String {
        let of = match (self.category.as_str(), self.source.as_str()) {
            ("", "") => String::new(),
            (category, "") => format!(" in {category}"),
            ("", source) => format!(" from {source}"),
            (category, source) => format!(" in {category} from {source}"),
        };
        match self.is_search() {
            true => format!("News about “{}”{of}", self.q),
            false => format!("News{of}"),
        }
    }

    fn page(&self, cursor: Option<&str>) -> String {
        self.with(cursor)
            .map_or_else(|| "/".to_owned(), |query| format!("/?{query}"))
    }

    fn with(&self, cursor: Option<&str>) -> Option<String> {
        let mut query = Serializer::new(String::new());
        query.extend_pairs(&self.others);
        if let Some(cursor) = cursor {
            query.append_pair(CURSOR, cursor);
        }
        Some(query.finish()).filter(|query| !query.is_empty())
    }
}

/// The API's answer, as far as the page shows it.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    pub(super) articles: Vec<Shown>,
    #[serde(default)]
    pub(super) partial: bool,
    #[serde(default)]
    pub(super) notice: Option<String>,
    #[serde(default)]
    pub(super) corrected: Option<String>,
    #[serde(default)]
    pub(super) next: Option<String>,
}

/// An article.
#[derive(Debug, Deserialize)]
pub(super) struct Shown {
    pub(super) title: String,
    pub(super) url: String,
    source: String,
    outlet: Option<String>,
    pub(super) description: Option<String>,
    pub(super) published_at: DateTime<Utc>,
    pub(super) published_at_estimated: bool,
    pub(super) categories: Vec<String>,
    #[serde(default)]
    pub(super) sentiment: Option<Tone>,
    #[serde(default)]
    pub(super) also_at: Vec<Elsewhere>,
}

/// How an article sounds.
#[derive(Debug, Deserialize)]
pub(super) struct Tone {
    pub(super) label: String,
}

/// The same story from another source.
#[derive(Debug, Deserialize)]
pub(super) struct Elsewhere {
    pub(super) url: String,
    source: String,
    #[serde(default)]
    outlet: Option<String>,
}

impl Shown {
    pub(super) fn from(&self) -> &str {
        self.outlet.as_deref().unwrap_or(&self.source)
    }

    /// The same for everybody: relative times would be out of date in a cache.
    pub(super) fn when(&self) -> String {
        self.published_at.format("%-d %b %Y, %H:%M UTC").to_string()
    }
}

impl Elsewhere {
    pub(super) fn from(&self) -> &str {
        self.outlet.as_deref().unwrap_or(&self.source)
    }
}

/// Messages, and where the older ones are.
#[derive(Debug)]
pub(super) struct Board {
    pub(super) messages: Vec<Message>,
    pub(super) more: Option<String>,
    /// Of its heading.
    pub(super) level: u8,
}

impl Board {
    pub(super) fn new(page: MessagePage, level: u8) -> Self {
        Self {
            more: page.next.map(|id| format!("/board?cursor={id}")),
            messages: page.messages,
            level,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_form_left_empty_was_not_asked() {
        assert_eq!(Question::read(Some("q=&category=&source=")).query(), None);
        assert_eq!(Question::read(None).first_page(), "/");
        let question = Question::read(Some("q=&category=sports&source=&cursor=abc"));
        assert_eq!(
            question.query().as_deref(),
            Some("category=sports&cursor=abc")
        );
        assert_eq!(question.first_page(), "/?category=sports");
        assert_eq!(question.page_after("x y"), "/?category=sports&cursor=x+y");
        assert_eq!(question.heading(), "News in sports");
    }

    #[test]
    fn a_language_that_is_asked_for_can_be_chosen() {
        let codes = |query: &str| -> Vec<String> {
            let languages = Question::read(Some(query)).languages();
            languages.into_iter().map(|(code, _)| code).collect()
        };
        let (usual, named) = (codes(""), codes("language=de"));
        assert_eq!(usual, named);
        assert_eq!(codes("language=is").last().map(String::as_str), Some("is"));
        assert_eq!(codes("language=is").len(), usual.len() + 1);
    }

    #[test]
    fn what_is_unknown_reaches_the_api_which_refuses_it() {
        let question = Question::read(Some("colour=red&q=a%26b"));
        assert_eq!(question.query().as_deref(), Some("colour=red&q=a%26b"));
        assert!(question.is_search());
    }
}
