//! `/me` and what hangs on it. Each answer belongs to one person: no cache may keep it.

use super::body::{self, Format};
use super::caller::Caller;
use super::error::ApiError;
use super::exchange::Now;
use super::params::ParameterFault;
use super::{App, messages, params, private, private_json};
use crate::preferences::{Set, VALUE_BYTES_MAX, Wishes, is_key};
use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::json;
use std::sync::Arc;

/// Who is signed in.
pub(super) async fn me(caller: Caller, RawQuery(query): RawQuery) -> Result<Response, ApiError> {
    params::none(query.as_deref()).map_err(ApiError::Parameters)?;
    private_json(&caller.user)
}

/// Deletes the account with all that hangs on it: sessions, preferences, messages, feeds and what only those brought.
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    Extension(Now(now)): Extension<Now>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    params::none(query.as_deref()).map_err(ApiError::Parameters)?;
    let deleted = app.delete_user(caller.user.id, now).await?;
    Ok(messages::voiding_after(
        deleted,
        private(StatusCode::NO_CONTENT),
    ))
}

/// All preferences.
pub(super) async fn preferences(
    State(app): State<Arc<App>>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    params::none(query.as_deref()).map_err(ApiError::Parameters)?;
    let all = app.people.preferences.all(caller.user.id).await?;
    private_json(&json!({ "preferences": all }))
}

/// One preference: its value alone.
pub(super) async fn preference(
    State(app): State<Arc<App>>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    params::none(query.as_deref()).map_err(ApiError::Parameters)?;
    let key = key(path)?;
    let value = app.people.preferences.one(caller.user.id, &key).await?;
    private_json(&value.ok_or(ApiError::PreferenceNotFound)?)
}

/// Sets a preference to the JSON value that is the body.
pub(super) async fn set_preference(
    State(app): State<Arc<App>>,
    Extension(Now(now)): Extension<Now>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    fields: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    params::none(query.as_deref()).map_err(ApiError::Parameters)?;
    let key = key(path)?;
    if Format::of(&fields)? != Format::Json {
        return Err(ApiError::MediaType);
    }
    let too_large = ApiError::BodyTooLarge {
        bytes_max: VALUE_BYTES_MAX,
    };
    if body.len() > VALUE_BYTES_MAX {
        return Err(too_large);
    }
    let value = body::json(&body)?;
    if value.to_string().len() > VALUE_BYTES_MAX {
        return Err(too_large);
    }
    Wishes::check(&key, &value).map_err(|detail| {
        ApiError::Fields(vec![ParameterFault {
            name: key.clone(),
            detail,
        }])
    })?;
    let status = match app
        .people
        .preferences
        .set(caller.user.id, &key, &value, now)
        .await?
    {
        Set::Created => StatusCode::CREATED,
        Set::Replaced => StatusCode::OK,
        Set::Full => return Err(ApiError::TooManyPreferences),
        Set::NoUser => return Err(ApiError::Unauthorized),
    };
    Ok((status, private_json(&value)?).into_response())
}

/// Removes a preference.
pub(super) async fn remove_preference(
    State(app): State<Arc<App>>,
    caller: Caller,
    path: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    params::none(query.as_deref()).map_err(ApiError::Parameters)?;
    let key = key(path)?;
    match app.people.preferences.remove(caller.user.id, &key).await? {
        true => Ok(private(StatusCode::NO_CONTENT)),
        false => Err(ApiError::PreferenceNotFound),
    }
}

fn key(path: Result<Path<String>, PathRejection>) -> Result<String, ApiError> {
    let key = path.ok().map(|Path(text)| text).filter(|text| is_key(text));
    key.ok_or_else(|| {
        let detail = "must be 1 to 64 of a-z, 0-9, _ and ., the first of them a letter".to_owned();
        ApiError::Parameters(vec![ParameterFault {
            name: "key".to_owned(),
            detail,
        }])
    })
}
