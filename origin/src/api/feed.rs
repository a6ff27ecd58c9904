//! `/me/feed`: the news as the signed-in user's preferences ask for it.
//!
//! Sources and categories are chosen by the database; languages and muted words are looked at here, in as many articles as one request
//! may look at. A page may so be shorter than asked for, or empty, and still have a next one.

use super::caller::Caller;
use super::error::ApiError;
use super::{App, cursor, params, private_json};
use crate::articles::{Article, Position, Selection};
use crate::preferences::{Wishes, is_muted};
use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde::Serialize;
use std::sync::Arc;

/// Articles looked at for one page.
const LOOKED_AT_MAX: usize = 1000;
/// Articles that are read at once, however few are shown: else a short page of much that is muted costs a statement for each.
const BATCH_MIN: u16 = 100;

#[derive(Serialize)]
struct Feed {
    articles: Vec<Article>,
    next: Option<String>,
}

/// A page of the caller's own selection.
pub(super) async fn feed(
    State(app): State<Arc<App>>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let (key, id) = (app.cursor_key.get().await?, caller.user.id);
    let asked = params::feed(query.as_deref(), id, key).map_err(ApiError::Parameters)?;
    let preferences = app.people.preferences.all(id).await?;
    let wishes = Wishes::new(&preferences);
    let (articles, next) = page(&app, id, &wishes, asked.after, asked.limit).await?;
    private_json(&Feed {
        articles,
        next: next.map(|position| cursor::after(key, &params::feed_identity(id), position)),
    })
}

/// The sources that a reader added.
async fn own(app: &App, user_id: i64) -> Result<Vec<String>, ApiError> {
    match &app.subscriptions {
        Some(subscriptions) => Ok(subscriptions.names(user_id).await?),
        None => Ok(Vec::new()),
    }
}

/// The articles of a page, of the enabled sources and those that the reader added, and where the next one begins.
pub(super) async fn page(
    app: &App,
    user_id: i64,
    wishes: &Wishes,
    mut after: Option<Position>,
    limit: u16,
) -> Result<(Vec<Article>, Option<Position>), ApiError> {
    let enabled = app
        .ingest
        .sources()
        .iter()
        .map(|source| source.name().to_owned());
    let own = own(app, user_id).await?;
    let is_wished = |name: &String| wishes.sources.is_empty() || wishes.sources.contains(name);
    let sources: Vec<String> = enabled.chain(own).filter(is_wished).collect();
    let mut articles: Vec<Article> = Vec::new();
    let mut looked_at = 0;
    let batch_max = batch_max(limit);
    loop {
        let batch = app
            .articles
            .selected(&Selection {
                sources: &sources,
                reader: Some(user_id),
                categories: &wishes.categories,
                after,
                limit: batch_max,
            })
            .await?;
        let is_last = batch.len() < usize::from(batch_max);
        for article in batch {
            looked_at += 1;
            after = Some(Position {
                published_at: article.published_at,
                id: article.id,
            });
            let texts = [Some(article.title.as_str()), article.description.as_deref()];
            let is_foreign = article.language.as_ref().is_some_and(|code| {
                !wishes.languages.is_empty() && !wishes.languages.contains(code)
            });
            if is_foreign || is_muted(&wishes.muted_words, &texts) {
                continue;
            }
            articles.push(article);
            if articles.len() == usize::from(limit) {
                return Ok((articles, after));
            }
        }
        if is_last {
            return Ok((articles, None));
        }
        if looked_at >= LOOKED_AT_MAX {
            return Ok((articles, after));
        }
    }
}

/// How many articles are read at once for a page of so many.
fn batch_max(limit: u16) -> u16 {
    limit.max(BATCH_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_costs_ten_statements_at_most_however_short_it_is() {
        for limit in [1, 2, 20, 99, 100] {
            let statements = LOOKED_AT_MAX.div_ceil(usize::from(batch_max(limit)));
            assert!(statements <= 10, "{limit}: {statements}");
        }
    }
}
