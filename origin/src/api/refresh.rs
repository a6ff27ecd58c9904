//! `POST /refresh` asks for a round of all sources, `GET /refresh/{id}` tells how it went.

use super::error::ApiError;
use super::exchange::Now;
use super::params::ParameterFault;
use super::{App, caching, json, params};
use crate::refreshes::{Refresh, Requested};
use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use std::sync::Arc;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Longest key, in bytes.
const KEY_BYTES_MAX: usize = 255;
/// 128 bits in hex.
const ID_DIGITS: usize = 32;

/// The answer to asking. It holds nothing that changes later: the same key gets the same bytes.
#[derive(Serialize)]
struct Accepted<'a> {
    id: &'a str,
    /// Where to look how it goes.
    status: String,
    requested_at: DateTime<Utc>,
}

#[derive(Serialize)]
struct Status<'a> {
    id: &'a str,
    /// "queued", "running" or "done".
    state: &'a str,
    requested_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    /// Each question that was put, with what came of it.
    report: Option<&'a RawValue>,
}

pub(super) async fn request(
    State(app): State<Arc<App>>,
    Extension(Now(now)): Extension<Now>,
    RawQuery(query): RawQuery,
    fields: HeaderMap,
) -> Result<Response, ApiError> {
    params::none(query.as_deref()).map_err(ApiError::Parameters)?;
    let key = key(&fields).map_err(ApiError::Parameters)?;
    let id = format!("{:032x}", fastrand::u128(..));
    match app.refreshes.request(key, &id, now).await? {
        Requested::Accepted(refresh) => accepted(&refresh),
        Requested::TooMany { welcome_at } => Err(ApiError::RateLimited {
            retry_after_secs: (welcome_at - now).num_seconds().max(0).unsigned_abs() + 1,
        }),
    }
}

fn accepted(refresh: &Refresh) -> Result<Response, ApiError> {
    let status = format!("/refresh/{}", refresh.id);
    let location =
        HeaderValue::from_str(&status).map_err(|error| ApiError::Internal(error.to_string()))?;
    let body = Accepted {
        id: &refresh.id,
        status,
        requested_at: refresh.requested_at,
    };
    let mut answer = json(caching::NO_STORE, &body)?;
    *answer.status_mut() = StatusCode::ACCEPTED;
    answer.headers_mut().insert(header::LOCATION, location);
    Ok(answer)
}

pub(super) async fn status(
    State(app): State<Arc<App>>,
    Extension(Now(now)): Extension<Now>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    params::none(query.as_deref()).map_err(ApiError::Parameters)?;
    if id.len() != ID_DIGITS || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(ApiError::RefreshNotFound);
    }
    let refresh = app.refreshes.by_id(&id, now).await?;
    let refresh = refresh.ok_or(ApiError::RefreshNotFound)?;
    let report = refresh.report.as_deref().map(serde_json::from_str);
    let status = Status {
        id: &refresh.id,
        state: &refresh.state,
        requested_at: refresh.requested_at,
        started_at: refresh.started_at,
        finished_at: refresh.finished_at,
        report: report
            .transpose()
            .map_err(|error| ApiError::Internal(error.to_string()))?,
    };
    json(caching::NO_STORE, &status)
}

/// The key, as a string (RFC 9651) or as it is.
fn key(fields: &HeaderMap) -> Result<Option<&str>, Vec<ParameterFault>> {
    let fault = |detail: &str| {
        vec![ParameterFault {
            name: "Idempotency-Key".to_owned(),
            detail: detail.to_owned(),
        }]
    };
    let mut values = fields.get_all(IDEMPOTENCY_KEY).iter();
    let (Some(value), further) = (values.next(), values.next()) else {
        return Ok(None);
    };
    if further.is_some() {
        return Err(fault("is given more than once"));
    }
    let text = value.to_str().unwrap_or_default().trim();
    let bare = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or(text);
    let fits = (1..=KEY_BYTES_MAX).contains(&bare.len())
        && bare
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b','));
    match fits {
        true => Ok(Some(bare)),
        false => Err(fault(
            "must be 1 to 255 visible ASCII characters other than quotation mark, backslash and comma, as in a UUID",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_with_or_without_quotes() {
        for (value, expected) in [
            (
                "\"8e03978e-40d5-43dd-bc93-6894a57f9324\"",
                Some("8e03978e-40d5-43dd-bc93-6894a57f9324"),
            ),
            ("abc", Some("abc")),
            ("", None),
            ("\"\"", None),
            ("a b", None),
            ("\"a\", \"b\"", None),
            (&"x".repeat(256), None),
        ] {
            let mut fields = HeaderMap::new();
            fields.insert(IDEMPOTENCY_KEY, value.parse().unwrap());
            assert_eq!(key(&fields).ok().flatten(), expected, "{value}");
        }
        assert_eq!(key(&HeaderMap::new()), Ok(None));
    }
}
