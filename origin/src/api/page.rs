//! The pages for people: the news and the board, the board alone, and an account. They work without scripts.
//!
//! The news and the board are the same for everybody and kept as the API's own answers are: what they show is what `/articles`, `/search` and
//! `/messages` answer, with the same tags, so that what voids those voids the pages. The messages beside the news are the exception: anybody may
//! post, and nobody shall empty the cache of the news by that, so they may be a minute old; but those of a deleted account go at once. Nothing in them depends on who asks: no cookie
//! is looked at. The account is one person's, never kept; a script puts its menu into the shared pages.

mod account;
mod assets;
mod view;

pub(super) use account::{delete, menu, page as account, save_feed};
pub(super) use assets::asset;

use super::body::Format;
use super::caching::{NO_STORE, Shared};
use super::error::{ApiError, Told};
use super::exchange::Now;
use super::{App, articles, messages, params, search};
use crate::article::Category;
use crate::sentiment::Label;
use crate::tag::Tag;
use askama::Template;
use assets::{ASSETS, Assets};
use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use std::sync::Arc;
use view::{Answer, Board, Question, Shown};

/// Nothing from elsewhere, nothing inline, in no frame.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// Messages beside the news, and on a page of the board.
const MESSAGES_BESIDE: u16 = 5;
const MESSAGES_PER_PAGE: u16 = 30;

#[derive(Template)]
#[template(path = "front.html")]
struct Front<'a> {
    assets: &'a Assets,
    heading: String,
    question: Question,
    categories: [&'static str; Category::ALL.len()],
    sources: Vec<&'a str>,
    tones: [&'static str; Label::ALL.len()],
    articles: Vec<Shown>,
    partial: bool,
    notice: Option<String>,
    /// What was searched for instead.
    corrected: Option<String>,
    older: Option<String>,
    board: Board,
}

#[derive(Template)]
#[template(path = "board.html")]
struct BoardPage<'a> {
    assets: &'a Assets,
    board: Board,
}

#[derive(Template)]
#[template(path = "failure.html")]
struct Failure<'a> {
    assets: &'a Assets,
    title: &'a str,
    detail: &'a str,
}

/// The news, searched and filtered, with the newest messages beside them.
pub(super) async fn front(
    State(app): State<Arc<App>>,
    now: Extension<Now>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let question = Question::read(query.as_deref());
    let (api, query) = (State(Arc::clone(&app)), RawQuery(question.query()));
    let answer = match question.is_search() {
        true => search::find(api, query).await?,
        false => articles::list(api, now, query).await?,
    };
    let (mut head, body) = answer.into_parts();
    // Our own bodies are in memory: they cannot fail.
    let body = body
        .collect()
        .await
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    let answer: Answer = serde_json::from_slice(&body)
        .map_err(|error| ApiError::Internal(format!("the page cannot read the answer: {error}")))?;
    let older = answer.next.as_deref().map(|next| question.page_after(next));
    let board = app.people.board.page(None, MESSAGES_BESIDE).await?;
    let page = Front {
        assets: &ASSETS,
        heading: question.heading(),
        categories: Category::ALL.map(Category::as_str),
        tones: Label::ALL.map(Label::as_str),
        sources: app
            .ingest
            .sources()
            .iter()
            .map(|source| source.name())
            .collect(),
        articles: answer.articles,
        partial: answer.partial,
        notice: answer.notice,
        corrected: answer.corrected,
        older,
        board: Board::new(board, 2),
        question,
    };
    let page = html(StatusCode::OK, &page)?;
    Ok(match head.extensions.remove::<Shared>() {
        // The board beside the news is as old as it may be on a page of its own, and no older; a post voids only those.
        // When the page changed is not when its articles did.
        Some(shared) => shared
            .at_most_secs(messages::KEPT_SECS)
            .tagged([Tag::erasures()])
            .modified(None)
            .dress(page),
        None => {
            let mut page = page;
            let kept = HeaderValue::from_static(NO_STORE);
            page.headers_mut().insert(CACHE_CONTROL, kept);
            page
        }
    })
}

/// The board alone, page by page.
pub(super) async fn board(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let asked = params::messages(query.as_deref()).map_err(ApiError::Parameters)?;
    let page = app
        .people
        .board
        .page(asked.after, MESSAGES_PER_PAGE)
        .await?;
    let page = BoardPage {
        assets: &ASSETS,
        board: Board::new(page, 1),
    };
    Ok(messages::shared().dress(html(StatusCode::OK, &page)?))
}

/// Whether a failure is to be told as a page: to a browser that sent a form, and where pages are.
pub(super) fn is_for_people(method: &Method, path: &str, fields: &HeaderMap) -> bool {
    if *method == Method::POST {
        let accepted = fields.get(ACCEPT).and_then(|value| value.to_str().ok());
        return accepted.is_some_and(|accepted| accepted.contains("text/html"))
            && matches!(Format::of(fields), Ok(Format::Form));
    }
    method.is_safe() && matches!(path, "/" | "/board" | "/account")
}

/// The same failure as a page; anything else as it is.
pub(super) fn for_people(answer: Response) -> Response {
    let (head, body) = answer.into_parts();
    let Some(told) = head.extensions.get::<Told>() else {
        return Response::from_parts(head, body);
    };
    let page = Failure {
        assets: &ASSETS,
        title: told.title,
        detail: &told.detail,
    };
    let Ok(page) = html(head.status, &page) else {
        return Response::from_parts(head, body);
    };
    let (dressed, page) = page.into_parts();
    let mut answer = Response::from_parts(head, page);
    answer.headers_mut().extend(dressed.headers);
    answer
}

/// A rendered page with the fields that keep it safe.
fn html(status: StatusCode, template: &impl Template) -> Result<Response, ApiError> {
    let body = template
        .render()
        .map_err(|error| ApiError::Internal(format!("a page cannot be rendered: {error}")))?;
    let fields = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "same-origin"),
    ];
    let fields = fields.map(|(name, value)| (name, HeaderValue::from_static(value)));
    Ok((status, fields, body).into_response())
}
