//! Every failure that a client can see, as `application/problem+json` (RFC 9457) with a stable `code`: the only place with status
//! codes for failures. The cause stays in the log.

use super::params::ParameterFault;
use crate::database::DatabaseError;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// When a client may try again after an outage of the database, in seconds.
const OUTAGE_RETRY_SECS: u64 = 5;

/// Why a request was not answered with what it asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ApiError {
    /// Every parameter that is wrong, and what would be right.
    Parameters(Vec<ParameterFault>),
    NotFound,
    ArticleNotFound,
    RefreshNotFound,
    MethodNotAllowed,
    /// An HTTP/1.1 request without a Host field, or with several.
    Host,
    RateLimited {
        retry_after_secs: u64,
    },
    /// The cause, for the log.
    DatabaseUnavailable(String),
    /// The cause, for the log.
    NotReady(String),
    /// The cause, for the log.
    Internal(String),
}

/// The codes with their meanings, for the documentation.
pub(super) const CODES: &[(&str, &str)] = &[
    (
        "invalid_parameter",
        "A parameter is unknown, repeated or not what it should be; `parameters` names each.",
    ),
    ("not_found", "There is nothing at this path."),
    (
        "article_not_found",
        "There is no article with this identifier.",
    ),
    (
        "refresh_not_found",
        "There is no round with this identifier, or no longer: they are kept for a day.",
    ),
    ("method_not_allowed", "Only GET and HEAD are understood."),
    (
        "invalid_host",
        "An HTTP/1.1 request carries exactly one Host field.",
    ),
    (
        "rate_limited",
        "This client made too many requests; Retry-After says when the next one is welcome.",
    ),
    (
        "database_unavailable",
        "The database cannot be reached at the moment.",
    ),
    (
        "not_ready",
        "The service cannot answer yet or at the moment.",
    ),
    (
        "internal_error",
        "Something failed on our side; the log knows what.",
    ),
];

#[derive(Serialize)]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    code: &'a str,
    detail: String,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    parameters: &'a [ParameterFault],
}

impl ApiError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Parameters(_) | Self::Host => StatusCode::BAD_REQUEST,
            Self::NotFound | Self::ArticleNotFound | Self::RefreshNotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::DatabaseUnavailable(_) | Self::NotReady(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Stable: clients may compare it.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Parameters(_) => "invalid_parameter",
            Self::NotFound => "not_found",
            Self::ArticleNotFound => "article_not_found",
            Self::RefreshNotFound => "refresh_not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Host => "invalid_host",
            Self::RateLimited { .. } => "rate_limited",
            Self::DatabaseUnavailable(_) => "database_unavailable",
            Self::NotReady(_) => "not_ready",
            Self::Internal(_) => "internal_error",
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::Parameters(faults) => {
                let faults: Vec<String> = faults
                    .iter()
                    .map(|fault| format!("{} {}", fault.name, fault.detail))
                    .collect();
                format!("{}.", faults.join("; "))
            }
            Self::NotFound => "There is nothing here; /docs lists what there is.".to_owned(),
            Self::ArticleNotFound => "There is no article with this identifier.".to_owned(),
            Self::RefreshNotFound => {
                "There is no round with this identifier, or no longer.".to_owned()
            }
            Self::MethodNotAllowed => "Only GET and HEAD are understood here.".to_owned(),
            Self::Host => "An HTTP/1.1 request carries exactly one Host field.".to_owned(),
            Self::RateLimited { retry_after_secs } => {
                format!("Too many requests; try again in {retry_after_secs} s.")
            }
            Self::DatabaseUnavailable(_) => {
                "The database cannot be reached at the moment.".to_owned()
            }
            Self::NotReady(_) => "The service cannot answer at the moment.".to_owned(),
            Self::Internal(_) => "Something failed on our side.".to_owned(),
        }
    }

    fn retry_after_secs(&self) -> Option<u64> {
        match self {
            Self::RateLimited { retry_after_secs } => Some(*retry_after_secs),
            Self::DatabaseUnavailable(_) | Self::NotReady(_) => Some(OUTAGE_RETRY_SECS),
            _ => None,
        }
    }

    fn log(&self) {
        match self {
            Self::DatabaseUnavailable(cause) | Self::NotReady(cause) => {
                tracing::warn!(cause, code = self.code(), "unavailable")
            }
            Self::Internal(cause) => tracing::error!(cause, code = self.code(), "request failed"),
            _ => {}
        }
    }
}

impl From<DatabaseError> for ApiError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Unavailable(cause) => Self::DatabaseUnavailable(cause),
            DatabaseError::Failed(cause) | DatabaseError::Migration(cause) => Self::Internal(cause),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.log();
        let status = self.status();
        let problem = Problem {
            kind: format!("/docs#{}", self.code()),
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            code: self.code(),
            detail: self.detail(),
            parameters: if let Self::Parameters(faults) = &self {
                faults
            } else {
                &[]
            },
        };
        // A struct of texts and numbers always has a JSON form.
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = (status, body).into_response();
        let fields = response.headers_mut();
        fields.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_secs() {
            fields.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
