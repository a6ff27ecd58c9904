//! The parameters that say which articles an answer is about: the same words, by the same rules, for lists and searches.

use super::params::{Given, echo};
use crate::article::Category;
use crate::articles::Filters;
use crate::sentiment::Label;
use chrono::{DateTime, Days, NaiveDate, NaiveTime, SecondsFormat, Utc};

/// What they are called.
pub(super) const NAMES: &[&str] = &[
    "source",
    "category",
    "language",
    "sentiment",
    "from",
    "to",
    "duplicates",
];

/// The filters that a client asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FilterParams {
    pub(super) source: Option<String>,
    pub(super) category: Option<Category>,
    pub(super) language: Option<String>,
    pub(super) sentiment: Option<Label>,
    pub(super) since: Option<DateTime<Utc>>,
    pub(super) until: Option<DateTime<Utc>>,
    pub(super) duplicates: bool,
}

impl FilterParams {
    /// Reads them; faults are noted. `sources` are the names of those that are enabled.
    pub(super) fn read(given: &mut Given<'_>, sources: &[&str]) -> Self {
        Self {
            source: given.read("source", |text| source(text, sources)),
            category: given.read("category", category),
            language: given.read("language", language),
            sentiment: given.read("sentiment", sentiment),
            since: given.read("from", since),
            until: given.read("to", until),
            duplicates: given.read("duplicates", duplicates).unwrap_or(false),
        }
    }

    /// The same of articles, of these sources.
    pub(super) fn of(&self, sources: Vec<String>) -> Filters {
        Filters {
            sources,
            category: self.category,
            language: self.language.clone(),
            sentiment: self.sentiment,
            since: self.since,
            until: self.until,
            duplicates: self.duplicates,
        }
    }

    /// One text for each set of them, to bind a cursor to.
    pub(super) fn identity(&self) -> String {
        let time =
            |time: Option<DateTime<Utc>>| time.map_or(i64::MIN, |time| time.timestamp_micros());
        format!(
            "{}\n{}\n{}\n{}\n{}\n{}\n{}",
            self.source.as_deref().unwrap_or(""),
            self.category.map_or("", Category::as_str),
            self.language.as_deref().unwrap_or(""),
            self.sentiment.map_or("", Label::as_str),
            time(self.since),
            time(self.until),
            self.duplicates,
        )
    }

    /// The parameters that ask for them.
    pub(super) fn pairs(&self) -> Vec<(&'static str, String)> {
        let time = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        let word = |word: &str| word.to_owned();
        let pairs = [
            ("source", self.source.clone()),
            ("category", self.category.map(Category::as_str).map(word)),
            ("language", self.language.clone()),
            ("sentiment", self.sentiment.map(Label::as_str).map(word)),
            ("from", self.since.map(time)),
            ("to", self.until.map(time)),
            ("duplicates", self.duplicates.then(|| word("show"))),
        ];
        let given = pairs.into_iter();
        given
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }
}

fn category(text: &str) -> Result<Category, String> {
    text.parse().map_err(|_| {
        let all: Vec<&str> = Category::ALL.into_iter().map(Category::as_str).collect();
        format!("must be one of {}, not {:?}", all.join(", "), echo(text))
    })
}

fn source(text: &str, sources: &[&str]) -> Result<String, String> {
    match sources.contains(&text) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "must be one of {}, not {:?}",
            sources.join(", "),
            echo(text)
        )),
    }
}

fn language(text: &str) -> Result<String, String> {
    let plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_lowercase());
    if plain {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "must be two small letters, as in en or de, not {:?}",
            echo(text)
        ))
    }
}

fn sentiment(text: &str) -> Result<Label, String> {
    Label::ALL
        .into_iter()
        .find(|label| label.as_str() == text)
        .ok_or_else(|| {
            format!(
                "must be one of positive, neutral, negative, not {:?}",
                echo(text)
            )
        })
}

fn duplicates(text: &str) -> Result<bool, String> {
    match text {
        "show" => Ok(true),
        "hide" => Ok(false),
        _ => Err(format!("must be hide or show, not {:?}", echo(text))),
    }
}

fn since(text: &str) -> Result<DateTime<Utc>, String> {
    match day(text) {
        Some(day) => Ok(day.and_time(NaiveTime::MIN).and_utc()),
        None => instant(text),
    }
}

/// A day means the whole of it; an instant is the first that doesn't count.
fn until(text: &str) -> Result<DateTime<Utc>, String> {
    match day(text).map(|day| day.checked_add_days(Days::new(1)).unwrap_or(day)) {
        Some(day) => Ok(day.and_time(NaiveTime::MIN).and_utc()),
        None => instant(text),
    }
}

fn day(text: &str) -> Option<NaiveDate> {
    (text.len() == 10)
        .then(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok())
        .flatten()
}

fn instant(text: &str) -> Result<DateTime<Utc>, String> {
    // In a query a plus stands for a blank, and is often forgotten to be escaped.
    DateTime::parse_from_rfc3339(&text.replace(' ', "+"))
        .map(|time| time.to_utc())
        .map_err(|_| {
            format!(
                "must be a day or a time in UTC, as in 2026-01-31 or 2026-01-31T12:00:00Z, not {:?}",
                echo(text)
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_whole_and_an_instant_is_exact() {
        let time = |text: &str| text.parse::<DateTime<Utc>>().expect("a time");
        assert_eq!(since("2026-01-31"), Ok(time("2026-01-31T00:00:00Z")));
        assert_eq!(until("2026-01-31"), Ok(time("2026-02-01T00:00:00Z")));
        assert_eq!(
            until("2026-01-31T10:00:00 01:00"),
            Ok(time("2026-01-31T09:00:00Z"))
        );
        for text in ["", "today", "2026-1-1", "2026-02-30", "99999999999"] {
            assert!(since(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_filter_makes_a_question_of_its_own_and_can_be_asked_for_again() {
        let all = "source=guardian&category=world&language=en&sentiment=neutral&from=2026-01-01&to=2026-01-31&duplicates=show";
        let read = |query: &str| {
            let mut given = Given::new(Some(query), NAMES);
            let filters = FilterParams::read(&mut given, &["guardian"]);
            given.finish(filters).expect("parameters")
        };
        let mut identities: Vec<String> = all.split('&').map(|one| read(one).identity()).collect();
        identities.extend([read("").identity(), read(all).identity()]);
        let count = identities.len();
        identities.sort();
        identities.dedup();
        assert_eq!(identities.len(), count, "{identities:?}");
        let again = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(read(all).pairs())
            .finish();
        assert_eq!(read(&again), read(all));
        assert_eq!(read(&again).pairs().len(), NAMES.len());
    }
}
