//! Whether a client's copy still holds (RFC 9110 §13): validators of an answer, and the conditions that a request puts to them. Pure.
//!
//! `ETag` is exact. `Last-Modified` knows whole seconds, and a change becomes visible a little later than the time it bears; so a
//! change of the last seconds is not told yet: the field then names an earlier time, with which nobody will get a wrong 304.

use axum::http::header::{ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use axum::http::{HeaderMap, HeaderValue};
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use sha2::{Digest, Sha256};
use std::time::SystemTime;

/// Longer than a transaction may take, and than replicas' clocks differ.
const SETTLED: TimeDelta = TimeDelta::seconds(10);

/// What a request says of the copy it has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Conditions {
    if_none_match: Vec<HeaderValue>,
    if_modified_since: Option<DateTime<Utc>>,
}

/// What tells one version of an answer from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Validators {
    etag: HeaderValue,
    /// When it was changed, as far as that is known.
    changed: Option<DateTime<Utc>>,
    last_modified: Option<DateTime<Utc>>,
}

impl Conditions {
    pub(super) fn of(fields: &HeaderMap) -> Self {
        let mut since = fields.get_all(IF_MODIFIED_SINCE).iter();
        let since = match (since.next(), since.next()) {
            (Some(one), None) => one.to_str().ok().and_then(date),
            _ => None,
        };
        Self {
            if_none_match: fields.get_all(IF_NONE_MATCH).iter().cloned().collect(),
            if_modified_since: since,
        }
    }

    /// Whether the client's copy still holds. A tag counts more than a time: with one, the time is not looked at.
    pub(super) fn hold(&self, validators: &Validators) -> bool {
        if !self.if_none_match.is_empty() {
            return matches_any(&self.if_none_match, &validators.etag);
        }
        match (self.if_modified_since, validators.changed) {
            (Some(since), Some(changed)) => changed <= since,
            _ => false,
        }
    }
}

impl Validators {
    pub(super) fn new(body: &[u8], changed: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Self {
        let changed = changed.map(|changed| changed.trunc_subsecs(0));
        Self {
            etag: etag(body),
            changed,
            last_modified: changed
                .map(|changed| changed.min(now.trunc_subsecs(0) - SETTLED))
                .filter(|time| *time > DateTime::UNIX_EPOCH),
        }
    }

    /// Puts them on an answer.
    pub(super) fn put(&self, fields: &mut HeaderMap) {
        fields.insert(ETAG, self.etag.clone());
        let time = self
            .last_modified
            .map(|time| httpdate::fmt_http_date(SystemTime::from(time)));
        if let Some(time) = time.and_then(|time| HeaderValue::from_str(&time).ok()) {
            fields.insert(LAST_MODIFIED, time);
        }
    }
}

/// In any of the three forms (RFC 9110 §5.6.7).
fn date(text: &str) -> Option<DateTime<Utc>> {
    httpdate::parse_http_date(text.trim())
        .ok()
        .map(DateTime::from)
}

/// Strong: equal tags mean equal bytes.
fn etag(body: &[u8]) -> HeaderValue {
    let digest = Sha256::digest(body);
    let hex: String = digest
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    HeaderValue::from_str(&format!("\"{hex}\""))
        .unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

/// RFC 9110 §13.1.2: by weak comparison, over all lines of the field. Our tags hold no comma, so splitting at commas is exact
/// for them.
fn matches_any(if_none_match: &[HeaderValue], etag: &HeaderValue) -> bool {
    let tags = if_none_match
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    let own = etag.to_str().unwrap_or_default();
    tags.map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == own)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(lines: &[&str]) -> bool {
        let lines: Vec<HeaderValue> = lines.iter().map(|line| line.parse().unwrap()).collect();
        matches_any(&lines, &HeaderValue::from_static("\"abc\""))
    }

    #[test]
    fn a_known_tag_is_found_in_any_list_weak_or_strong() {
        for lines in [
            &["\"abc\""][..],
            &["W/\"abc\""],
            &["\"x\", \"abc\""],
            &["\"x\"", "\"abc\""],
            &["*"],
        ] {
            assert!(matches(lines), "{lines:?}");
        }
        for lines in [&[][..], &["\"abcd\""], &["abc"], &["\"x\""], &["w/\"abc\""]] {
            assert!(!matches(lines), "{lines:?}");
        }
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        // Sun, 06 Nov 1994 08:49:37 GMT, and a fraction.
        DateTime::from_timestamp_millis(784_111_777_900).unwrap() + TimeDelta::seconds(seconds)
    }

    fn conditions(fields: &[(&'static str, &str)]) -> Conditions {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, value.parse().unwrap());
        }
        Conditions::of(&map)
    }

    #[test]
    fn a_time_is_compared_in_whole_seconds_and_in_all_three_forms() {
        let validators = Validators::new(b"x", Some(at(0)), at(100));
        for (since, holds) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", true),
            ("Sunday, 06-Nov-94 08:49:37 GMT", true),
            ("Sun Nov  6 08:49:37 1994", true),
            ("Sun, 06 Nov 1994 08:49:38 GMT", true),
            ("Sun, 06 Nov 1994 08:49:36 GMT", false),
            ("yesterday", false),
        ] {
            let conditions = conditions(&[("if-modified-since", since)]);
            assert_eq!(conditions.hold(&validators), holds, "{since}");
        }
        let mut fields = HeaderMap::new();
        validators.put(&mut fields);
        assert_eq!(fields[LAST_MODIFIED], "Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[test]
    fn a_tag_counts_more_than_a_time() {
        let validators = Validators::new(b"x", Some(at(0)), at(100));
        let since = ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT");
        let other = conditions(&[since, ("if-none-match", "\"other\"")]);
        assert!(!other.hold(&validators));
        let unknown = Validators::new(b"x", None, at(100));
        assert!(!conditions(&[since]).hold(&unknown));
        assert!(!conditions(&[since, since]).hold(&validators));
    }

    #[test]
    fn whoever_came_just_after_a_change_learns_of_one_in_the_same_second() {
        for seconds in 0..20 {
            let first = Validators::new(b"first", Some(at(0)), at(seconds));
            let told = first.last_modified.unwrap();
            let copy = Conditions {
                if_none_match: Vec::new(),
                if_modified_since: Some(told),
            };
            // What was changed in that second may become visible while the first version is not yet settled.
            let second = Validators::new(b"second", Some(at(0)), at(seconds + 1));
            assert_eq!(copy.hold(&second), seconds >= 10, "{seconds}");
        }
    }
}
