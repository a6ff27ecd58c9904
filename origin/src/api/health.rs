//! `/status` and the health checks. Live: the process runs. Ready: it can answer. Checks take no notice of parameters:
//! a prober that adds one must not end the process.

use super::caching::{NO_STORE, Shared};
use super::error::ApiError;
use super::exchange::Now;
use super::{App, json, params};
use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use chrono::SecondsFormat;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// Longest wait for the count of views: the time is told without it, too.
const VIEWS_TIMEOUT: Duration = Duration::from_millis(500);

/// The time, and who tells it: shows at a glance whether an answer came from a cache. And how often pages were looked at, while
/// the database knows.
pub(super) async fn status(
    State(app): State<Arc<App>>,
    Extension(Now(now)): Extension<Now>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    params::none(query.as_deref()).map_err(ApiError::Parameters)?;
    let views = tokio::time::timeout(VIEWS_TIMEOUT, app.people.views.total()).await;
    let views = views.ok().and_then(Result::ok);
    let time = now.to_rfc3339_opts(SecondsFormat::Millis, true);
    Shared::exactly_secs(10)
        .modified(Some(now))
        .json(&json!({ "status": "ok", "time": time, "version": env!("CARGO_PKG_VERSION"), "page_views": views }))
}

pub(super) async fn live() -> Result<Response, ApiError> {
    json(NO_STORE, &json!({ "status": "live" }))
}

pub(super) async fn ready(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    app.database
        .ping()
        .await
        .map_err(|error| ApiError::NotReady(error.to_string()))?;
    json(NO_STORE, &json!({ "status": "ready" }))
}
