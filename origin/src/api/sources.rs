//! `/sources`: which are enabled, what is stored of each, and how the last asking went.

use super::caching::Shared;
use super::error::ApiError;
use super::{App, params};
use crate::articles::Asked;
use crate::tag::Tag;
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
    last: Option<Last>,
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
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    params::none(query.as_deref()).map_err(ApiError::Parameters)?;
    let counts = app.articles.counts().await?;
    let asked = app.articles.asked().await?;
    let sources = app.ingest.sources().iter().map(|source| Source {
        name: source.name().to_owned(),
        answers_by_category: source.answers_by_category(),
        sample: source.is_sample(),
        articles: counts
            .iter()
            .find(|(name, _)| name == source.name())
            .map_or(0, |(_, count)| *count),
        last: last(&asked, source.name()),
    });
    let list = List {
        sources: sources.collect(),
    };
    Shared::for_secs(30)
        .tagged([Tag::sources()])
        .modified(asked.iter().map(|asked| asked.asked_at).max())
        .json(&list)
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
