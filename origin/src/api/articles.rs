//! `/articles` and `/articles/{id}`.

use super::error::ApiError;
use super::exchange::{Now, SourcesTook};
use super::params::ParameterFault;
use super::{App, cursor, identifier, params};
use crate::articles::{Article, PageQuery};
use crate::ingest::{SourceReport, State as SourceState, Wanted};
use crate::personal::is_personal;
use crate::tag::Tag;
use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::sync::Arc;
use std::time::Instant;

const SAMPLE_NOTICE: &str = "These articles are samples that come with the program: no source is configured. \
    Set NEWSAPI_KEY, GUARDIAN_API_KEY, FEED_URLS or HACKERNEWS=on to read real news.";

#[derive(Serialize)]
struct List {
    articles: Vec<Article>,
    total: i64,
    /// `exact`, or `at_least` when counting stopped there.
    total_relation: &'static str,
    /// True when a source failed: there may be more than what is shown.
    partial: bool,
    sources: Vec<SourceReport>,
    next: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notice: Option<&'static str>,
}

/// A page of articles. The sources are asked first when the question was never asked before, or when `live` insists.
/// `live=true` may be kept by caches like any other: behind one, the sources are asked once in `max-age`.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Extension(Now(now)): Extension<Now>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let names: Vec<&str> = app
        .ingest
        .sources()
        .iter()
        .map(|source| source.name())
        .collect();
    let key = app.cursor_key.get().await?;
    let asked = params::list(query.as_deref(), &names, key).map_err(ApiError::Parameters)?;
    let category = asked.filters.category;
    let begun = Instant::now();
    let wanted = Wanted {
        source: asked.filters.source.as_deref(),
        category,
        live: asked.live,
    };
    let sources = app.ingest.refresh(wanted, now).await?;
    let took = SourcesTook(begun.elapsed());
    // Only what is enabled: else samples would stay among the news once a source is configured.
    let enabled = sources.iter().map(|report| report.name.clone()).collect();
    let page = PageQuery {
        filters: asked.filters.of(enabled),
        after: asked.after,
        limit: asked.limit,
    };
    let page = app.articles.page(&page).await?;
    let list = List {
        articles: page.articles,
        total: page.total,
        total_relation: if page.total_is_exact {
            "exact"
        } else {
            "at_least"
        },
        partial: sources
            .iter()
            .any(|report| report.state == SourceState::Error),
        next: page
            .next
            .map(|position| cursor::after(key, &asked.identity(), position)),
        notice: sources
            .iter()
            .any(|report| report.state == SourceState::Sample)
            .then_some(SAMPLE_NOTICE),
        sources,
    };
    let shared = app
        .articles_shared()
        .tagged([Tag::list(), Tag::category(category)])
        .tagged(list.sources.iter().map(|report| Tag::source(&report.name)))
        .showing(list.articles.iter().map(|article| Tag::article(article.id)))
        .modified(app.ingest.changed_at(&list.sources));
    Ok((Extension(took), shared.json(&list)?).into_response())
}

/// One article.
pub(super) async fn one(
    State(app): State<Arc<App>>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    params::none(query.as_deref()).map_err(ApiError::Parameters)?;
    let id = path
        .ok()
        .and_then(|Path(text)| identifier(&text))
        .ok_or_else(|| {
            let detail = "must be a whole number, as an article's id is".to_owned();
            ApiError::Parameters(vec![ParameterFault {
                name: "id".to_owned(),
                detail,
            }])
        })?;
    let article = app
        .articles
        .by_id(id)
        .await?
        // What a user added is that user's, and stands in `/me/feed`.
        .filter(|article| !is_personal(&article.source))
        .ok_or(ApiError::ArticleNotFound)?;
    app.articles_shared()
        .tagged([Tag::article(id), Tag::source(&article.source)])
        .showing([Tag::page(id)])
        .modified(Some(article.updated_at))
        .json(&article)
}
