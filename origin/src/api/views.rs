//! `/views`: counts a look at a page. Pages come from caches, so we do not see them looked at: the page itself tells, by a beacon.

use super::App;
use super::body::{Fields, Format};
use super::error::ApiError;
use super::exchange::Now;
use super::{params, private};
use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use std::sync::Arc;

/// The pages that are told apart.
const PAGES: &[&str] = &["/", "/search", "/board", "/account"];

/// Counts one. Which page it was may be told as the field `page`; a beacon without a body means the front page.
pub(super) async fn count(
    State(app): State<Arc<App>>,
    Extension(Now(now)): Extension<Now>,
    RawQuery(query): RawQuery,
    fields: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    params::none(query.as_deref()).map_err(ApiError::Parameters)?;
    let mut page = None;
    if !body.is_empty() {
        let mut given = Fields::read(Format::of(&fields)?, &body, &["page"])?;
        page = given.optional("page", known);
        given.finish(Some(()))?;
    }
    app.people.views.count(page.unwrap_or("/"), now).await?;
    Ok(private(StatusCode::NO_CONTENT))
}

fn known(text: &str) -> Result<&'static str, String> {
    let page = PAGES.iter().find(|page| **page == text);
    page.copied()
        .ok_or_else(|| format!("must be one of {}", PAGES.join(", ")))
}
