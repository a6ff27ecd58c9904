//! `/search`.

mod cursor;
mod params;

use super::App;
use super::error::ApiError;
use crate::search::{Found, Hit, Order, Question, Total};
use crate::tag::Tag;
use axum::extract::{RawQuery, State};
use axum::http::HeaderValue;
use axum::http::header::LINK;
use axum::response::Response;
use params::Asked;
use serde::Serialize;
use std::sync::Arc;

#[derive(Serialize)]
struct Results {
    articles: Vec<Hit>,
    total: TotalBody,
    /// What was searched for instead, when nobody wrote the words that were asked for.
    corrected: Option<String>,
    next: Option<String>,
}

#[derive(Serialize)]
struct TotalBody {
    value: usize,
    /// `exact`, or `at_least` when counting stopped there.
    relation: &'static str,
}

impl From<Total> for TotalBody {
    fn from(total: Total) -> Self {
        Self {
            value: total.value,
            relation: if total.exact { "exact" } else { "at_least" },
        }
    }
}

/// A page of what is stored and matches. No source is asked.
pub(super) async fn find(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let key = app.cursor_key.get().await?;
    let names: Vec<&str> = app
        .ingest
        .sources()
        .iter()
        .map(|source| source.name())
        .collect();
    let asked = params::read(query.as_deref(), &names, key).map_err(ApiError::Parameters)?;
    let question = question(&asked, &names);
    let (found, corrected) = find_or_correct(&app, question).await?;
    let next = found.next.map(|place| {
        let rest = cursor::Rest {
            place,
            total: asked.rest.map_or(found.total, |rest| rest.total),
            corrected: corrected.is_some(),
        };
        cursor::encode(key, &asked.identity(), rest)
    });
    let link = next.as_ref().map(|cursor| asked.link(cursor));
    let results = Results {
        total: asked.rest.map_or(found.total, |rest| rest.total).into(),
        articles: found.hits,
        corrected,
        next,
    };
    let articles = results.articles.iter();
    let shared = app
        .articles_shared()
        .tagged([Tag::list(), Tag::search()])
        .showing(articles.map(|hit| Tag::article(hit.article.id)));
    let mut answer = shared.json(&results)?;
    if let Some(link) = link.and_then(|link| HeaderValue::try_from(link).ok()) {
        answer.headers_mut().insert(LINK, link);
    }
    Ok(answer)
}

/// Looks, and once more with other words when the first page is empty. Later pages go on with the words of the first.
async fn find_or_correct(
    app: &App,
    mut question: Question,
) -> Result<(Found, Option<String>), ApiError> {
    let corrected_before = question.place.is_some() && question.is_corrected;
    if !corrected_before {
        let found = app.search.find(&question).await?;
        let is_first = question.place.is_none();
        if !is_first || !found.hits.is_empty() || found.next.is_some() {
            return Ok((found, None));
        }
    }
    let Some(terms) = app.search.corrected(&question.terms).await? else {
        let nothing = Found {
            hits: Vec::new(),
            total: Total {
                value: 0,
                exact: true,
            },
            next: None,
        };
        return Ok((nothing, None));
    };
    let words = terms.to_string();
    question.terms = terms;
    let found = app.search.find(&question).await?;
    let helps = corrected_before || !found.hits.is_empty();
    Ok((found, helps.then_some(words)))
}

fn question(asked: &Asked, names: &[&str]) -> Question {
    let sources = match &asked.filters.source {
        Some(source) => vec![source.clone()],
        // Only what is enabled, as in lists.
        None => names.iter().map(|name| (*name).to_owned()).collect(),
    };
    Question {
        terms: asked.terms.clone(),
        filters: asked.filters.of(sources),
        order: asked.order,
        place: asked.rest.map(|rest| rest.place),
        is_corrected: asked.rest.is_some_and(|rest| rest.corrected),
        limit: asked.limit,
    }
}

/// The words of the parameters.
fn order_word(order: Order) -> &'static str {
    match order {
        Order::Relevance => "relevance",
        Order::Newest => "newest",
    }
}
