//! Query strings: every parameter is known, given once and sensible, or the answer names all that are not.
//!
//! Tracking parameters are the one exception: they are added to links by others and mean nothing to us.

use super::cursor::{self, CursorFault};
use super::filters::{self, FilterParams};
use crate::articles::Position;
use serde::Serialize;
use std::borrow::Cow;

/// The most articles on a page.
const LIMIT_MAX: u16 = 100;
pub(super) const LIMIT_DEFAULT: u16 = 20;
/// Parameters, or fields of a body, that are looked at; nothing here takes half as many.
pub(super) const PAIRS_MAX: usize = 32;
/// Faults that one answer names.
pub(super) const FAULTS_MAX: usize = 16;
/// What is repeated of a client's text in an answer.
const ECHO_CHARS_MAX: usize = 60;

const TRACKING_PREFIXES: &[&str] = &["utm_", "mtm_", "pk_", "hsa_", "itm_"];
const TRACKING_NAMES: &[&str] = &[
    "_ga",
    "_gl",
    "_hsenc",
    "_hsmi",
    "dclid",
    "fbclid",
    "gad_source",
    "gbraid",
    "gclid",
    "gclsrc",
    "igsh",
    "igshid",
    "mc_cid",
    "mc_eid",
    "mkt_tok",
    "msclkid",
    "oly_anon_id",
    "oly_enc_id",
    "srsltid",
    "ttclid",
    "twclid",
    "vero_id",
    "wbraid",
    "yclid",
    "ysclid",
];

/// What is wrong with a parameter, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ParameterFault {
    pub(super) name: String,
    pub(super) detail: String,
}

/// What a client asks of `/articles`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ListParams {
    pub(super) filters: FilterParams,
    pub(super) limit: u16,
    pub(super) after: Option<Position>,
    pub(super) live: bool,
}

/// Parameters in the order in which they stand, with tracking taken out.
pub(super) struct Given<'a> {
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    faults: Vec<ParameterFault>,
}

impl<'a> Given<'a> {
    /// Notes what is unknown or repeated.
    pub(super) fn new(query: Option<&'a str>, known: &[&str]) -> Self {
        let pairs = url::form_urlencoded::parse(query.unwrap_or("").as_bytes());
        let mut pairs = pairs.filter(|(name, _)| !is_tracking(name));
        let mut given = Self {
            pairs: pairs.by_ref().take(PAIRS_MAX).collect(),
            faults: Vec::new(),
        };
        if pairs.next().is_some() {
            given.note("query", format!("has more than {PAIRS_MAX} parameters"));
        }
        let names: Vec<String> = given
            .pairs
            .iter()
            .map(|(name, _)| name.clone().into_owned())
            .collect();
        for (position, name) in names.iter().enumerate() {
            let earlier = names
                .iter()
                .take(position)
                .filter(|other| *other == name)
                .count();
            match (known.contains(&name.as_str()), earlier) {
                (false, 0) => given.note(name, format!("is unknown; {}", allowed(known))),
                (true, 1) => given.note(name, "is given more than once".to_owned()),
                _ => {}
            }
        }
        given
    }

    /// Reads one parameter; a fault is noted.
    pub(super) fn read<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let (_, text) = self.pairs.iter().find(|(given, _)| given == name)?;
        match parse(text) {
            Ok(value) => Some(value),
            Err(detail) => {
                self.note(name, detail);
                None
            }
        }
    }

    pub(super) fn note(&mut self, name: &str, detail: String) {
        if self.faults.len() >= FAULTS_MAX {
            return;
        }
        self.faults.push(ParameterFault {
            name: echo(name),
            detail,
        });
    }

    pub(super) fn finish<T>(self, value: T) -> Result<T, Vec<ParameterFault>> {
        if self.faults.is_empty() {
            Ok(value)
        } else {
            Err(self.faults)
        }
    }
}

impl ListParams {
    /// What a cursor belongs to: the filters alone.
    pub(super) fn identity(&self) -> String {
        identity(&self.filters)
    }
}

fn identity(filters: &FilterParams) -> String {
    format!("/articles\n{}", filters.identity())
}

/// Reads the query of `/articles`. `sources` are the names of those that are enabled, `key` signs cursors.
pub(super) fn list(
    query: Option<&str>,
    sources: &[&str],
    key: &[u8],
) -> Result<ListParams, Vec<ParameterFault>> {
    let names = [filters::NAMES, &["limit", "cursor", "live"]].concat();
    let mut given = Given::new(query, &names);
    let filters = FilterParams::read(&mut given, sources);
    let limit = given.read("limit", limit).unwrap_or(LIMIT_DEFAULT);
    let live = given.read("live", live).unwrap_or(false);
    let identity = identity(&filters);
    let after = given.read("cursor", |text| {
        let fault = |fault: CursorFault| fault.detail("list", "limit and live");
        cursor::position(key, &identity, text).map_err(fault)
    });
    given.finish(ListParams {
        filters,
        limit,
        after,
        live,
    })
}

/// What a client asks of `/messages`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MessagesParams {
    pub(super) limit: u16,
    /// Only messages older than this one.
    pub(super) after: Option<i64>,
}

/// Reads the query of `/messages`.
pub(super) fn messages(query: Option<&str>) -> Result<MessagesParams, Vec<ParameterFault>> {
    let mut given = Given::new(query, &["limit", "cursor"]);
    let limit = given.read("limit", limit).unwrap_or(LIMIT_DEFAULT);
    let after = given.read("cursor", |text| {
        let fault = "must be what an earlier answer gave as next";
        super::identifier(text).ok_or_else(|| fault.to_owned())
    });
    given.finish(MessagesParams { limit, after })
}

/// What a client asks of `/me/feed`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FeedParams {
    pub(super) limit: u16,
    pub(super) after: Option<Position>,
}

/// What a cursor of a user's feed belongs to. What the user prefers may change from page to page.
pub(super) fn feed_identity(user_id: i64) -> String {
    format!("/me/feed\n{user_id}")
}

/// Reads the query of a user's `/me/feed`. `key` signs cursors.
pub(super) fn feed(
    query: Option<&str>,
    user_id: i64,
    key: &[u8],
) -> Result<FeedParams, Vec<ParameterFault>> {
    let mut given = Given::new(query, &["limit", "cursor"]);
    let limit = given.read("limit", limit).unwrap_or(LIMIT_DEFAULT);
    let after = given.read("cursor", |text| {
        let fault = |fault: CursorFault| fault.detail("feed", "limit");
        cursor::position(key, &feed_identity(user_id), text).map_err(fault)
    });
    given.finish(FeedParams { limit, after })
}

/// For what takes no parameters.
pub(super) fn none(query: Option<&str>) -> Result<(), Vec<ParameterFault>> {
    Given::new(query, &[]).finish(())
}

pub(super) fn limit(text: &str) -> Result<u16, String> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(limit @ 1..=LIMIT_MAX) if plain => Ok(limit),
        _ => Err(format!(
            "must be a whole number from 1 to {LIMIT_MAX}, not {:?}",
            echo(text)
        )),
    }
}

fn live(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("must be true or false, not {:?}", echo(text))),
    }
}

fn is_tracking(name: &str) -> bool {
    TRACKING_NAMES.contains(&name)
        || TRACKING_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

fn allowed(known: &[&str]) -> String {
    if known.is_empty() {
        "none is understood here".to_owned()
    } else {
        format!("the parameters are {}", known.join(", "))
    }
}

/// A client's text, cut, for an answer.
pub(super) fn echo(text: &str) -> String {
    match text.char_indices().nth(ECHO_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_of_faults(query: &str) -> Vec<String> {
        let faults = list(Some(query), &["guardian", "sample"], b"key")
            .map(drop)
            .unwrap_err();
        faults.into_iter().map(|fault| fault.name).collect()
    }

    #[test]
    fn nothing_given_means_the_defaults() {
        let expected = ListParams {
            filters: FilterParams::default(),
            limit: 20,
            after: None,
            live: false,
        };
        assert_eq!(list(None, &[], b"key"), Ok(expected.clone()));
        assert_eq!(list(Some(""), &[], b"key"), Ok(expected.clone()));
        assert_eq!(
            list(
                Some("utm_source=x&fbclid=1&gclid=2&utm_source=y"),
                &[],
                b"key"
            ),
            Ok(expected)
        );
    }

    #[test]
    fn all_faults_are_named_at_once() {
        let query = "category=cooking&source=bbc&language=EN&sentiment=good&from=x&to=2026-13-01&duplicates=1&limit=0&live=maybe&cursor=%00&colour=red";
        let mut names = names_of_faults(query);
        names.sort();
        assert_eq!(
            names,
            [
                "category",
                "colour",
                "cursor",
                "duplicates",
                "from",
                "language",
                "limit",
                "live",
                "sentiment",
                "source",
                "to"
            ]
        );
    }

    #[test]
    fn a_repeated_parameter_is_a_fault_even_with_the_same_value() {
        assert_eq!(names_of_faults("limit=5&limit=5&limit=5"), ["limit"]);
        assert_eq!(names_of_faults("x=1&x=2"), ["x"]);
    }

    #[test]
    fn a_query_of_thousands_costs_no_more_than_a_short_one() {
        let many: Vec<String> = (0..10_000).map(|n| format!("x{n}")).collect();
        let names = names_of_faults(&many.join("&"));
        assert_eq!((names.len(), names[0].as_str()), (FAULTS_MAX, "query"));
        let repeated = "limit=5&".repeat(10_000);
        assert_eq!(names_of_faults(&repeated), ["query", "limit"]);
        // What others add to links is passed over, however much it is.
        let tracked = "utm_source=x&".repeat(100);
        assert!(list(Some(&tracked), &[], b"key").is_ok());
    }

    #[test]
    fn limits_hold_at_their_ends() {
        for (text, fits) in [
            ("0", false),
            ("1", true),
            ("100", true),
            ("101", false),
            ("+5", false),
            ("", false),
            ("1e1", false),
        ] {
            assert_eq!(limit(text).is_ok(), fits, "{text}");
        }
    }

    #[test]
    fn names_are_matched_exactly() {
        assert_eq!(names_of_faults("Category=sports"), ["Category"]);
        assert_eq!(names_of_faults("category=Sports"), ["category"]);
        assert_eq!(names_of_faults("category="), ["category"]);
    }

    #[test]
    fn a_clients_text_is_cut_on_a_character() {
        assert_eq!(echo(&"é".repeat(100)).chars().count(), ECHO_CHARS_MAX + 1);
    }
}
