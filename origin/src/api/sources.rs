//! `/sources`: which are enabled, what is stored of each, how the last asking went, and what is left of its quota.

use super::caching::Shared;
use super::error::ApiError;
use super::exchange::Now;
use super::{App, params};
use crate::articles::Asked;
use crate::discipline::quota::{self, Left};
use crate::discipline::{Counted, Ledger, Record, Standing};
use crate::tag::Tag;
use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::sync::Arc;

#[derive(Serialize)]
struct List {
    sources: Vec<Source>,
}

#[derive(Serialize)]
struct Source {
    name: String,
    /// Whether asking for a category narrows what it is asked for.
    answers_by_category: bool,
    sample: bool,
    articles: i64,
    state: Condition,
    /// While it is paused or open: when it is asked again.
    ask_again_at: Option<DateTime<Utc>>,
    quota: Vec<Quota>,
    /// What the provider itself says is left.
    provider_quota: Option<ProviderQuota>,
    last_success_at: Option<DateTime<Utc>>,
    last_error: Option<LastError>,
    last: Option<Last>,
}

/// Whether a source is asked, and how that goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Condition {
    /// Nobody has asked it yet.
    Idle,
    Ok,
    /// The last request failed.
    Failing,
    /// Not asked for a while: its quota is used up, or it asked for patience.
    Paused,
    /// Not asked for a while: it failed too often.
    Open,
}

#[derive(Serialize)]
struct Quota {
    requests_max: u32,
    seconds: i64,
    left: u32,
    /// When the next request is regained; requests count for the whole length of the window.
    regains_at: Option<DateTime<Utc>>,
    /// When all of it is there again.
    resets_at: Option<DateTime<Utc>>,
}

#[derive(Serialize)]
struct ProviderQuota {
    left: f64,
    resets_at: DateTime<Utc>,
}

#[derive(Serialize)]
struct LastError {
    at: DateTime<Utc>,
    code: String,
    text: String,
}

#[derive(Serialize)]
struct Last {
    asked_at: DateTime<Utc>,
    /// "ok", "empty" or the stable code of the failure.
    outcome: String,
    articles: i64,
}

pub(super) async fn list(
    State(app): State<Arc<App>>,
    Extension(Now(now)): Extension<Now>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    params::none(query.as_deref()).map_err(ApiError::Parameters)?;
    let names = app.ingest.names();
    let counts = app.articles.counts(&names).await?;
    let asked = app.articles.asked(&names).await?;
    let ledger = Ledger::new(&app.database);
    let records = ledger.records().await?;
    let mut sources = Vec::new();
    for source in app.ingest.sources() {
        let record = records.iter().find(|record| record.source == source.name());
        let counted = match source.gate().map(|gate| gate.status(now)) {
            Some(status) if !status.windows.is_empty() => ledger.counted(source.name()).await?,
            _ => Vec::new(),
        };
        let articles = counts
            .iter()
            .find(|(name, _)| name == source.name())
            .map_or(0, |(_, count)| *count);
        sources.push(shown(
            source.as_ref(),
            record,
            &counted,
            now,
            articles,
            &asked,
        ));
    }
    // Without Last-Modified: a pause ends and a quota comes back by themselves.
    Shared::for_secs(30)
        .tagged([Tag::sources()])
        .json(&List { sources })
}

fn shown(
    source: &dyn crate::source::Source,
    record: Option<&Record>,
    counted: &[Counted],
    now: DateTime<Utc>,
    articles: i64,
    asked: &[Asked],
) -> Source {
    let status = source.gate().map(|gate| gate.status(now));
    let windows = status.as_ref().map(|status| status.windows.as_slice());
    let left = quota::left(windows.unwrap_or_default(), counted, now);
    let breaker = status.map_or(Standing::Closed, |status| status.breaker);
    let (state, ask_again_at) = if source.is_sample() {
        (Condition::Ok, None)
    } else {
        state(breaker, record, &left, now)
    };
    let record = record.cloned().unwrap_or_default();
    Source {
        name: source.name().to_owned(),
        answers_by_category: source.answers_by_category(),
        sample: source.is_sample(),
        articles,
        state,
        ask_again_at,
        quota: left.iter().map(quota_shown).collect(),
        provider_quota: provider_quota(&record, now),
        // Requests are recorded by a source's gate; one that needs no requests has none.
        last_success_at: record
            .last_success_at
            .or_else(|| last_success(asked, source.name())),
        last_error: record.last_failure_at.map(|at| LastError {
            at,
            code: record.last_failure_code.unwrap_or_default(),
            text: record.last_failure.unwrap_or_default(),
        }),
        last: last(asked, source.name()),
    }
}

/// What stands in the way goes before how the last request went.
fn state(
    breaker: Standing,
    record: Option<&Record>,
    left: &[Left],
    now: DateTime<Utc>,
) -> (Condition, Option<DateTime<Utc>>) {
    if let Standing::Open(until) = breaker {
        return (Condition::Open, Some(until));
    }
    let spent = left
        .iter()
        .filter(|window| window.left == 0)
        .filter_map(|window| window.regains_at)
        .max();
    let paused = record.and_then(|record| record.paused(now)).max(spent);
    if paused.is_some() {
        return (Condition::Paused, paused);
    }
    let state = match record.map(|record| (record.last_success_at, record.last_failure_at)) {
        Some((success, Some(failure))) if success.is_none_or(|success| success <= failure) => {
            Condition::Failing
        }
        Some((Some(_), _)) => Condition::Ok,
        _ => Condition::Idle,
    };
    (state, None)
}

fn quota_shown(left: &Left) -> Quota {
    Quota {
        requests_max: left.window.requests_max,
        seconds: left.window.length.num_seconds(),
        left: left.left,
        regains_at: left.regains_at,
        resets_at: left.resets_at,
    }
}

fn provider_quota(record: &Record, now: DateTime<Utc>) -> Option<ProviderQuota> {
    let resets_at = record.resets_at.filter(|resets_at| now < *resets_at)?;
    Some(ProviderQuota {
        left: record.remaining?.max(0.0),
        resets_at,
    })
}

/// When it last gave what it had, be it nothing.
fn last_success(asked: &[Asked], name: &str) -> Option<DateTime<Utc>> {
    let successes = asked
        .iter()
        .filter(|asked| asked.source == name && matches!(asked.outcome.as_str(), "ok" | "empty"));
    successes.map(|asked| asked.asked_at).max()
}

fn last(asked: &[Asked], name: &str) -> Option<Last> {
    let latest = asked
        .iter()
        .filter(|asked| asked.source == name)
        .max_by_key(|asked| asked.asked_at)?;
    Some(Last {
        asked_at: latest.asked_at,
        outcome: latest.outcome.clone(),
        articles: latest.articles,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discipline::Window;
    use chrono::TimeDelta;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_780_000_000 + seconds, 0).unwrap()
    }

    fn record(success: Option<i64>, failure: Option<i64>, paused: Option<i64>) -> Record {
        Record {
            last_success_at: success.map(at),
            last_failure_at: failure.map(at),
            paused_until: paused.map(at),
            ..Record::default()
        }
    }

    #[test]
    fn what_stands_in_the_way_goes_before_how_the_last_request_went() {
        let closed = Standing::Closed;
        let rows = [
            (closed, record(None, None, None), (Condition::Idle, None)),
            (closed, record(Some(1), None, None), (Condition::Ok, None)),
            (
                closed,
                record(Some(2), Some(1), None),
                (Condition::Ok, None),
            ),
            (
                closed,
                record(Some(1), Some(2), None),
                (Condition::Failing, None),
            ),
            (
                closed,
                record(None, Some(2), None),
                (Condition::Failing, None),
            ),
            (
                closed,
                record(Some(1), None, Some(11)),
                (Condition::Paused, Some(at(11))),
            ),
            (
                closed,
                record(Some(1), None, Some(10)),
                (Condition::Ok, None),
            ),
            (
                Standing::HalfOpen,
                record(Some(1), Some(2), None),
                (Condition::Failing, None),
            ),
            (
                Standing::Open(at(30)),
                record(Some(1), None, Some(11)),
                (Condition::Open, Some(at(30))),
            ),
        ];
        for (breaker, record, expected) in rows {
            assert_eq!(
                state(breaker, Some(&record), &[], at(10)),
                expected,
                "{record:?}"
            );
        }
        assert_eq!(state(closed, None, &[], at(10)), (Condition::Idle, None));
    }

    #[test]
    fn a_quota_that_is_used_up_pauses_until_a_request_is_regained() {
        let left = Left {
            window: Window {
                requests_max: 1,
                length: TimeDelta::hours(1),
            },
            left: 0,
            regains_at: Some(at(60)),
            resets_at: Some(at(60)),
        };
        let record = record(Some(1), None, None);
        let shown = state(Standing::Closed, Some(&record), &[left], at(10));
        assert_eq!(shown, (Condition::Paused, Some(at(60))));
    }
}
