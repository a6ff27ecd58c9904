//! What a client asks of `/search`. The question itself may be any text; everything else is known, given once and sensible, or
//! the answer names all that is not.

use super::cursor::{self, Rest};
use super::order_word;
use crate::api::filters::{self, FilterParams};
use crate::api::params::{Given, LIMIT_DEFAULT, ParameterFault, echo, limit};
use crate::search::{Order, Terms};
use url::form_urlencoded::Serializer;

/// The parameters of a search.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Asked {
    /// As it was typed, for links.
    pub(super) q: String,
    pub(super) terms: Terms,
    pub(super) filters: FilterParams,
    pub(super) order: Order,
    pub(super) limit: u16,
    pub(super) rest: Option<Rest>,
}

/// Reads the query string. `sources` are the names of those that are enabled, `key` signs cursors.
pub(super) fn read(
    query: Option<&str>,
    sources: &[&str],
    key: &[u8],
) -> Result<Asked, Vec<ParameterFault>> {
    let names = [&["q"], filters::NAMES, &["sort", "limit", "cursor"]].concat();
    let mut given = Given::new(query, &names);
    let q = given.read("q", |text| Ok(text.to_owned()));
    if q.is_none() {
        given.note("q", "must be given: what to search for".to_owned());
    }
    let q = q.unwrap_or_default();
    let mut asked = Asked {
        terms: Terms::parse(&q),
        q,
        filters: FilterParams::read(&mut given, sources),
        order: given.read("sort", order).unwrap_or(Order::Relevance),
        limit: given.read("limit", limit).unwrap_or(LIMIT_DEFAULT),
        rest: None,
    };
    let identity = asked.identity();
    asked.rest = given.read("cursor", |text| {
        cursor::decode(key, &identity, text).map_err(|fault| fault.detail("search", "limit"))
    });
    given.finish(asked)
}

impl Asked {
    /// What a cursor belongs to: everything but the size of pages.
    pub(super) fn identity(&self) -> String {
        let (filters, order) = (self.filters.identity(), order_word(self.order));
        format!("{}\n{filters}\n{order}", self.terms)
    }

    /// The `Link` to the next page (RFC 8288), relative to the request's own address.
    pub(super) fn link(&self, cursor: &str) -> String {
        let mut query = Serializer::new(String::new());
        query.append_pair("q", &self.q);
        let mut pairs = self.filters.pairs();
        let optional = [
            (
                "sort",
                (self.order != Order::Relevance).then(|| order_word(self.order).to_owned()),
            ),
            (
                "limit",
                (self.limit != LIMIT_DEFAULT).then(|| self.limit.to_string()),
            ),
        ];
        pairs.extend(
            optional
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        query.extend_pairs(pairs);
        query.append_pair("cursor", cursor);
        format!("</search?{}>; rel=\"next\"", query.finish())
    }
}

fn order(text: &str) -> Result<Order, String> {
    [Order::Relevance, Order::Newest]
        .into_iter()
        .find(|order| order_word(*order) == text)
        .ok_or_else(|| format!("must be relevance or newest, not {:?}", echo(text)))
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
