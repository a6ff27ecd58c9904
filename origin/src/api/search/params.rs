//! What a client asks of `/search`. The question itself may be any text; everything else is known, given once and sensible, or
//! the answer names all that is not.

use super::cursor::{self, CursorFault, Rest};
use super::{category_word, order_word};
use crate::api::params::{Given, LIMIT_DEFAULT, ParameterFault, category, echo, limit, source};
use crate::article::Category;
use crate::search::{Order, Terms};
use crate::sentiment::Label;
use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use url::form_urlencoded::Serializer;

const NAMES: &[&str] = &[
    "q",
    "source",
    "category",
    "language",
    "sentiment",
    "from",
    "to",
    "sort",
    "duplicates",
    "limit",
    "cursor",
];

/// The parameters of a search.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Asked {
    /// As it was typed, for links.
    pub(super) q: String,
    pub(super) terms: Terms,
    pub(super) source: Option<String>,
    pub(super) category: Option<Category>,
    pub(super) language: Option<String>,
    pub(super) sentiment: Option<Label>,
    pub(super) since: Option<DateTime<Utc>>,
    pub(super) until: Option<DateTime<Utc>>,
    pub(super) order: Order,
    pub(super) duplicates: bool,
    pub(super) limit: u16,
    pub(super) rest: Option<Rest>,
}

/// Reads the query string. `sources` are the names of those that are enabled, `key` signs cursors.
pub(super) fn read(
    query: Option<&str>,
    sources: &[&str],
    key: &[u8],
) -> Result<Asked, Vec<ParameterFault>> {
    let mut given = Given::new(query, NAMES);
    let q = given.read("q", |text| Ok(text.to_owned()));
    if q.is_none() {
        given.note("q", "must be given: what to search for".to_owned());
    }
    let q = q.unwrap_or_default();
    let mut asked = Asked {
        terms: Terms::parse(&q),
        q,
        source: given.read("source", |text| source(text, sources)),
        category: given.read("category", category),
        language: given.read("language", language),
        sentiment: given.read("sentiment", sentiment),
        since: given.read("from", since),
        until: given.read("to", until),
        order: given.read("sort", order).unwrap_or(Order::Relevance),
        duplicates: given.read("duplicates", duplicates).unwrap_or(false),
        limit: given.read("limit", limit).unwrap_or(LIMIT_DEFAULT),
        rest: None,
    };
    let identity = asked.identity();
    asked.rest = given.read("cursor", |text| {
        cursor::decode(key, &identity, text).map_err(|fault| match fault {
            CursorFault::Malformed => "must be what an earlier answer gave as next".to_owned(),
            CursorFault::OtherQuestion => {
                "belongs to another search: only limit may differ from the request that gave it"
                    .to_owned()
            }
        })
    });
    given.finish(asked)
}

impl Asked {
    /// What a cursor belongs to: everything but the size of pages.
    pub(super) fn identity(&self) -> String {
        let time =
            |time: Option<DateTime<Utc>>| time.map_or(i64::MIN, |time| time.timestamp_micros());
        format!(
            "{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}",
            self.terms,
            self.source.as_deref().unwrap_or(""),
            category_word(self.category),
            self.language.as_deref().unwrap_or(""),
            self.sentiment.map_or("", Label::as_str),
            time(self.since),
            time(self.until),
            order_word(self.order),
            self.duplicates,
        )
    }

    /// The `Link` to the next page (RFC 8288), relative to the request's own address.
    pub(super) fn link(&self, cursor: &str) -> String {
        let mut query = Serializer::new(String::new());
        query.append_pair("q", &self.q);
        let time = |time: DateTime<Utc>| time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true);
        let optional = [
            ("source", self.source.clone()),
            (
                "category",
                self.category.map(|category| category.as_str().to_owned()),
            ),
            ("language", self.language.clone()),
            (
                "sentiment",
                self.sentiment.map(|label| label.as_str().to_owned()),
            ),
            ("from", self.since.map(time)),
            ("to", self.until.map(time)),
            (
                "sort",
                (self.order != Order::Relevance).then(|| order_word(self.order).to_owned()),
            ),
            ("duplicates", self.duplicates.then(|| "show".to_owned())),
            (
                "limit",
                (self.limit != LIMIT_DEFAULT).then(|| self.limit.to_string()),
            ),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                query.append_pair(name, &value);
            }
        }
        query.append_pair("cursor", cursor);
        format!("</search?{}>; rel=\"next\"", query.finish())
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

fn order(text: &str) -> Result<Order, String> {
    [Order::Relevance, Order::Newest]
        .into_iter()
        .find(|order| order_word(*order) == text)
        .ok_or_else(|| format!("must be relevance or newest, not {:?}", echo(text)))
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

    fn names_of_faults(query: &str) -> Vec<String> {
        let faults = read(Some(query), &["guardian"], b"key")
            .map(drop)
            .unwrap_err();
        faults.into_iter().map(|fault| fault.name).collect()
    }

    #[test]
    fn all_faults_are_named_at_once() {
        let query = "source=x&category=x&language=EN&sentiment=good&from=x&to=2026-13-01&sort=x&duplicates=1&limit=0&cursor=x&z=1";
        let mut names = names_of_faults(query);
        names.sort();
        assert_eq!(
            names,
            [
                "category",
                "cursor",
                "duplicates",
                "from",
                "language",
                "limit",
                "q",
                "sentiment",
                "sort",
                "source",
                "to",
                "z"
            ]
        );
    }

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
    fn the_link_asks_the_same_question() {
        let query = "q=%22a+b%22%26c&source=guardian&category=world&language=en&sentiment=neutral&from=2026-01-01&to=2026-01-31&sort=newest&duplicates=show&limit=7";
        let asked = read(Some(query), &["guardian"], b"key").expect("parameters");
        let link = asked.link("");
        let again = link
            .strip_prefix("</search?")
            .and_then(|rest| rest.strip_suffix("&cursor=>; rel=\"next\""));
        let again = read(again, &["guardian"], b"key").expect("parameters");
        assert_eq!(again, asked);
    }
}
