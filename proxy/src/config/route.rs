//! `[[route]]`: which paths, and what holds for them.

use std::time::Duration;

use http::HeaderName;
use larder_policy::{Identity, QueryRules, Route, TrackingParameters};
use toml::{Table, Value};

use super::fault::Fault;
use super::file::{File, no_such_key, number, strings, wanted};
use super::layers::nearest;
use super::value::{Parsed, choice, duration, eagerness, percent};

/// The paths that a route is for: text in which each `*` stands for any run of characters, slashes included.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PathPattern(String);

impl PathPattern {
    /// Reads a pattern, which begins with `/` or `*` and has no query.
    pub fn new(text: &str) -> Result<Self, String> {
        let fits = text.starts_with(['/', '*'])
            && text.bytes().all(|byte| byte.is_ascii_graphic())
            && !text.contains(['?', '#']);
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "{text:?} is not a path pattern; write one such as /articles* (without a query; other characters percent-encoded)"
            ))
        }
    }

    /// Does the pattern cover this path? The path is compared as it stands, so callers give the canonical one.
    pub fn covers(&self, path: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(mut rest) = parts.next().and_then(|head| path.strip_prefix(head)) else {
            return false;
        };
        let Some(tail) = parts.next_back() else {
            return rest.is_empty();
        };
        // Leftmost matches of the middle parts leave the most for the tail, so this needs no backtracking.
        for part in parts {
            match rest.find(part).and_then(|at| rest.get(at + part.len()..)) {
                Some(after) => rest = after,
                None => return false,
            }
        }
        rest.ends_with(tail)
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A route of the configuration.
#[derive(Clone, Debug)]
pub struct RouteConfig {
    /// The paths it is for.
    pub path: PathPattern,
    /// What holds for them.
    pub route: Route,
}

/// Keys of a route.
pub(super) const ROUTE_KEYS: &[&str] = &[
    "path",
    "ttl",
    "override",
    "stale_while_revalidate",
    "stale_if_error",
    "identity",
    "query",
    "keyed_fields",
    "early_refresh",
    "ttl_jitter",
];
/// Keys of its `query`.
pub(super) const QUERY_KEYS: &[&str] = &["sort", "only", "ignore"];

/// Reads every `[[route]]` of the file.
pub(super) fn routes(
    file: &File,
    tracking: &TrackingParameters,
    faults: &mut Vec<Fault>,
) -> Vec<RouteConfig> {
    let Some(value) = file.table.get("route") else {
        return Vec::new();
    };
    let Some(tables) = value.as_array() else {
        faults.push(file.fault("route", "write each route as a [[route]] table".to_owned()));
        return Vec::new();
    };
    let mut routes = Vec::new();
    for (index, value) in tables.iter().enumerate() {
        let place = format!("route {}", index + 1);
        let Some(table) = value.as_table() else {
            faults.push(file.fault(&place, wanted("a [[route]] table", value)));
            continue;
        };
        let mut reader = TableReader {
            file,
            place,
            table,
            faults,
        };
        routes.extend(route(&mut reader, tracking));
    }
    routes
}

fn route(reader: &mut TableReader<'_>, tracking: &TrackingParameters) -> Option<RouteConfig> {
    reader.refuse_unknown(ROUTE_KEYS);
    let path = reader.read("path", |value| PathPattern::new(string(value)?));
    if !reader.table.contains_key("path") {
        reader.fault(
            "path",
            "is missing; write a pattern such as /articles*".to_owned(),
        );
    }
    let ttl = reader.read("ttl", length);
    let override_origin = reader.read("override", boolean).unwrap_or_default();
    if override_origin && !reader.table.contains_key("ttl") {
        reader.fault(
            "override",
            "has nothing to override with; add a ttl".to_owned(),
        );
    }
    let route = Route {
        ttl,
        override_origin,
        stale_while_revalidate: reader.read("stale_while_revalidate", length),
        stale_if_error: reader.read("stale_if_error", length),
        identity: reader.read("identity", identity).unwrap_or_default(),
        query: query(reader, tracking),
        keyed_fields: reader.read("keyed_fields", field_names).unwrap_or_default(),
        early_refresh: reader.read("early_refresh", |value| eagerness(&number(value)?)),
        ttl_jitter_percent: reader.read("ttl_jitter", |value| percent(string(value)?)),
    };
    Some(RouteConfig { path: path?, route })
}

fn query(reader: &mut TableReader<'_>, tracking: &TrackingParameters) -> QueryRules {
    let mut rules = QueryRules {
        tracking: tracking.clone(),
        ..QueryRules::default()
    };
    let Some(value) = reader.table.get("query") else {
        return rules;
    };
    let Some(table) = value.as_table() else {
        reader.fault(
            "query",
            wanted("a table, such as { ignore = [\"session\"] }", value),
        );
        return rules;
    };
    let mut reader = TableReader {
        file: reader.file,
        place: format!("{}.query", reader.place),
        table,
        faults: reader.faults,
    };
    reader.refuse_unknown(QUERY_KEYS);
    rules.sort = reader.read("sort", boolean).unwrap_or(rules.sort);
    rules.only = reader.read("only", strings);
    rules.ignore = reader.read("ignore", strings).unwrap_or_default();
    rules
}

/// Reads the keys of one table; what is wrong goes to `faults` with the table's place.
struct TableReader<'a> {
    file: &'a File,
    place: String,
    table: &'a Table,
    faults: &'a mut Vec<Fault>,
}

impl TableReader<'_> {
    fn read<T>(&mut self, key: &str, parse: impl Fn(&Value) -> Parsed<T>) -> Option<T> {
        match parse(self.table.get(key)?) {
            Ok(value) => Some(value),
            Err(message) => {
                self.fault(key, message);
                None
            }
        }
    }

    fn refuse_unknown(&mut self, known: &[&str]) {
        let table = self.table;
        for key in table.keys().filter(|key| !known.contains(&key.as_str())) {
            let hint = nearest(&key.replace('-', "_"), known.iter().copied());
            self.fault(key, no_such_key(hint));
        }
    }

    fn fault(&mut self, key: &str, message: String) {
        let key = format!("{}.{key}", self.place);
        self.faults.push(self.file.fault(&key, message));
    }
}

fn string(value: &Value) -> Parsed<&str> {
    value
        .as_str()
        .ok_or_else(|| wanted("a string in quotes", value))
}

fn boolean(value: &Value) -> Parsed<bool> {
    value
        .as_bool()
        .ok_or_else(|| wanted("true or false", value))
}

/// A duration of the file.
pub(super) fn length(value: &Value) -> Parsed<Duration> {
    duration(string(value)?)
}

fn identity(value: &Value) -> Parsed<Identity> {
    const CHOICES: &[(&str, Identity)] =
        &[("default", Identity::Default), ("strip", Identity::Strip)];
    // A response kept per caller must go with its URL's purge; until purges can do that, there is none to keep.
    choice(string(value)?, CHOICES)
}

/// An array of header field names.
pub(super) fn field_names(value: &Value) -> Parsed<Vec<HeaderName>> {
    let name = |text: &String| {
        HeaderName::try_from(text.as_str())
            .map_err(|_| format!("{text:?} is not the name of a header field"))
    };
    strings(value)?.iter().map(name).collect()
}
