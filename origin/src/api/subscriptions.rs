//! `/me/feeds`: the feeds that the signed-in user added. A feed is asked once before it is taken, and then by the schedule; its
//! articles stand in that user's `/me/feed`, and in nobody else's.

use super::body::{Fields, Format};
use super::caller::Caller;
use super::error::ApiError;
use super::exchange::Now;
use super::params::{self, ParameterFault};
use super::{App, private, private_json};
use crate::ingest::Failure;
use crate::subscriptions::{Added, Subscriptions, UserFeed};
use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;
use std::sync::Arc;

#[derive(Serialize)]
struct List {
    feeds: Vec<UserFeed>,
    /// How many there may be.
    feeds_max: u32,
}

/// The caller's feeds.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    params::none(query.as_deref()).map_err(ApiError::Parameters)?;
    let subscriptions = subscriptions(&app)?;
    private_json(&List {
        feeds: subscriptions.of_user(caller.user.id).await?,
        feeds_max: subscriptions.per_user_max(),
    })
}

/// Adds a feed: 201 when it is new, 200 when it was there.
pub(super) async fn add(
    State(app): State<Arc<App>>,
    Extension(Now(now)): Extension<Now>,
    caller: Caller,
    RawQuery(query): RawQuery,
    fields: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    params::none(query.as_deref()).map_err(ApiError::Parameters)?;
    let subscriptions = subscriptions(&app)?;
    let mut given = Fields::read(Format::of(&fields)?, &body, &["url"])?;
    let url = given.required("url", |text| {
        subscriptions
            .address(text)
            .map_err(|fault| fault.to_string())
    });
    let url = given.finish(url)?;
    let user_id = caller.user.id;
    let feeds = subscriptions.of_user(user_id).await?;
    if let Some(known) = feeds.iter().find(|feed| feed.url == url.as_str()) {
        return answer(StatusCode::OK, known);
    }
    // Before anything is asked in the user's name.
    if feeds.len() >= usize::try_from(subscriptions.per_user_max()).unwrap_or(usize::MAX) {
        return Err(ApiError::TooManyFeeds);
    }
    if subscriptions.are_full().await? {
        return Err(ApiError::NoRoomForFeeds);
    }
    app.people.admit_feed(user_id)?;
    let feed = subscriptions.trial(&url);
    let seat = app.people.introduction().await?;
    let ingest = Arc::clone(&app.ingest);
    // It keeps its seat when whoever waits for it leaves.
    let introduced = tokio::spawn(async move {
        let _seat = seat;
        ingest.introduce(&feed, now).await
    });
    let introduced = introduced
        .await
        .map_err(|error| ApiError::Internal(error.to_string()))?;
    if let Err(failure) = introduced? {
        return Err(unusable(failure));
    }
    match subscriptions.add(user_id, &url, now).await? {
        Added::New(feed) => answer(StatusCode::CREATED, &feed),
        Added::Known(feed) => answer(StatusCode::OK, &feed),
        Added::TooMany => Err(ApiError::TooManyFeeds),
        Added::Full => Err(ApiError::NoRoomForFeeds),
    }
}

/// Takes a feed off the caller's list.
pub(super) async fn remove(
    State(app): State<Arc<App>>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    params::none(query.as_deref()).map_err(ApiError::Parameters)?;
    let id: Option<i64> = path.ok().and_then(|Path(text)| {
        let id = text.parse().ok()?;
        (id > 0 && text == format!("{id}")).then_some(id)
    });
    let id = id.ok_or_else(|| fault("id", "must be a whole number, as a feed's id is"))?;
    match subscriptions(&app)?.remove(caller.user.id, id).await? {
        true => Ok(private(StatusCode::NO_CONTENT)),
        false => Err(ApiError::FeedNotFound),
    }
}

fn answer(status: StatusCode, feed: &UserFeed) -> Result<Response, ApiError> {
    let mut answer = (status, private_json(feed)?).into_response();
    if let Ok(location) = HeaderValue::from_str(&format!("/me/feeds/{}", feed.id)) {
        answer.headers_mut().insert(LOCATION, location);
    }
    Ok(answer)
}

/// One sentence for all that can be wrong with what stands there: how exactly an address inside fails is nobody's business.
fn unusable(failure: Failure) -> ApiError {
    let detail = match failure {
        Failure::Forbidden | Failure::Unreachable => {
            "leads to an address that cannot be reached from here, or must not be"
        }
        Failure::Timeout => "did not answer in time",
        Failure::TooLarge => "answers with more than a feed may be",
        Failure::Malformed => "is not a feed in RSS, Atom or JSON",
        Failure::RateLimited | Failure::CircuitOpen | Failure::QuotaSpent => {
            "is not to be asked again so soon"
        }
        Failure::BadStatus | Failure::Credentials => "answers with an error",
        Failure::Internal => return ApiError::Internal("a feed could not be asked".to_owned()),
    };
    ApiError::Fields(vec![ParameterFault {
        name: "url".to_owned(),
        detail: detail.to_owned(),
    }])
}

fn fault(name: &str, detail: &str) -> ApiError {
    ApiError::Parameters(vec![ParameterFault {
        name: name.to_owned(),
        detail: detail.to_owned(),
    }])
}

fn subscriptions(app: &App) -> Result<&Subscriptions, ApiError> {
    let missing = || ApiError::Internal("there is no client for users' feeds".to_owned());
    app.subscriptions.as_deref().ok_or_else(missing)
}
