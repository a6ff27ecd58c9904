//! `/messages`: a board where anybody may leave a note, under a name or none, and the signed-in under their account's name.
//!
//! Its pages may be kept for a minute, and belong to the group `messages`: every answer that changes the board names that group
//! (RFC 9875), so that the cache which passed the change on gives nobody what was there before.

use super::auth::{name, see_other};
use super::body::{Fields, Format};
use super::caching::Shared;
use super::caller::Caller;
use super::error::ApiError;
use super::exchange::{Asker, Now};
use super::params::ParameterFault;
use super::{App, back, identifier, params, private, private_json};
use crate::article::text;
use crate::board::{Message, NewMessage};
use crate::tag::Tag;
use crate::users::Deleted;
use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;
use std::sync::Arc;

const CACHE_GROUP_INVALIDATION: HeaderName = HeaderName::from_static("cache-group-invalidation");
/// How long a page of the board may be kept: nothing but a post changes it, and that voids it.
pub(super) const KEPT_SECS: u64 = 60;
/// Of a message.
pub(super) const TEXT_CHARS_MAX: usize = 1000;
/// Who gives no name.
const NOBODY: &str = "Anonymous";

#[derive(Serialize)]
struct List {
    messages: Vec<Message>,
    next: Option<String>,
}

/// A page of messages, newest first.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let asked = params::messages(query.as_deref()).map_err(ApiError::Parameters)?;
    let page = app.people.board.page(asked.after, asked.limit).await?;
    shared().json(&List {
        messages: page.messages,
        next: page.next.map(|id| id.to_string()),
    })
}

/// One message.
pub(super) async fn one(
    State(app): State<Arc<App>>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    params::none(query.as_deref()).map_err(ApiError::Parameters)?;
    let message = app.people.board.by_id(id(path)?).await?;
    shared().json(&message.ok_or(ApiError::MessageNotFound)?)
}

/// Puts a message up: from a form, on to the board; from a program, what was made of it.
pub(super) async fn post(
    State(app): State<Arc<App>>,
    Extension(Now(now)): Extension<Now>,
    Extension(asker): Extension<Asker>,
    RawQuery(query): RawQuery,
    caller: Option<Caller>,
    fields: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    params::none(query.as_deref()).map_err(ApiError::Parameters)?;
    let format = Format::of(&fields)?;
    let mut given = Fields::read(format, &body, &["text", "author", "back"])?;
    let words = given.required("text", text_of);
    let author = given.optional("author", name);
    // Older forms name another page of ours; but whoever names a page here has caches ask for it anew (RFC 9111 §4.4), and the
    // news are not for everybody who posts to void.
    given.optional("back", back);
    let words = given.finish(words)?;
    app.people.admit_message(&asker)?;
    let user = caller.map(|caller| caller.user);
    let new = NewMessage {
        user_id: user.as_ref().map(|user| user.id),
        // Nobody who is signed in writes under another name.
        author: user
            .as_ref()
            .map(|user| user.name.as_str())
            .or(author.as_deref())
            .unwrap_or(NOBODY),
        text: &words,
    };
    let message = app.people.board.post(&new, now).await?;
    Ok(voiding(match format {
        Format::Form => see_other("/board"),
        Format::Json => {
            let mut answer = (StatusCode::CREATED, private_json(&message)?).into_response();
            let location = HeaderValue::from_str(&format!("/messages/{}", message.id))
                .map_err(|error| ApiError::Internal(error.to_string()))?;
            answer.headers_mut().insert(LOCATION, location);
            answer
        }
    }))
}

/// Takes one's own message down.
pub(super) async fn remove(
    State(app): State<Arc<App>>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    params::none(query.as_deref()).map_err(ApiError::Parameters)?;
    match app.people.board.remove(id(path)?, caller.user.id).await? {
        true => Ok(voiding(private(StatusCode::NO_CONTENT))),
        false => Err(ApiError::MessageNotFound),
    }
}

/// What shows the board may be kept, until the board changes.
pub(super) fn shared() -> Shared {
    Shared::exactly_secs(KEPT_SECS).tagged([Tag::messages()])
}

/// The same, where an account was deleted, if that changed the board: its words stand nowhere any more, beside the news neither. One
/// has to sign up for each, so nobody empties a cache by this in passing.
pub(super) fn voiding_after(deleted: Deleted, answer: Response) -> Response {
    match deleted.messages {
        0 => answer,
        _ => voiding_all(answer, &[Tag::messages(), Tag::erasures()]),
    }
}

/// Tells caches that the board has changed.
pub(super) fn voiding(answer: Response) -> Response {
    voiding_all(answer, &[Tag::messages()])
}

fn voiding_all(mut answer: Response, tags: &[Tag]) -> Response {
    let groups: Vec<String> = tags.iter().map(|tag| format!("\"{tag}\"")).collect();
    // A tag is visible ASCII.
    if let Ok(groups) = HeaderValue::from_str(&groups.join(", ")) {
        answer
            .headers_mut()
            .insert(CACHE_GROUP_INVALIDATION, groups);
    }
    answer
}

/// Plain text of several lines.
fn text_of(given: &str) -> Result<String, String> {
    let fault = || format!("must have 1 to {TEXT_CHARS_MAX} characters");
    // As given, so that its sender can count too; but a form ends its lines with two characters.
    let given = given.replace("\r\n", "\n");
    match given.chars().count() <= TEXT_CHARS_MAX {
        true => text::plain_lines(&given).ok_or_else(fault),
        false => Err(fault()),
    }
}

fn id(path: Result<Path<String>, PathRejection>) -> Result<i64, ApiError> {
    path.ok()
        .and_then(|Path(text)| identifier(&text))
        .ok_or_else(|| {
            let detail = "must be a whole number, as a message's id is".to_owned();
            ApiError::Parameters(vec![ParameterFault {
                name: "id".to_owned(),
                detail,
            }])
        })
}
