//! Every failure that a client can see, as `application/problem+json` (RFC 9457) with a stable `code`: the only place with status
//! codes for failures. The cause stays in the log.

mod oauth;

use super::params::ParameterFault;
use crate::database::DatabaseError;
use crate::reddit::{AccountFault, OauthFault};
use crate::users::Busy;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
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
    MessageNotFound,
    PreferenceNotFound,
    MethodNotAllowed,
    /// A body that is not of the type that it says, and why.
    Body(String),
    /// Every field of a body that is wrong, and what would be right.
    Fields(Vec<ParameterFault>),
    MediaType,
    BodyTooLarge {
        bytes_max: usize,
    },
    /// A body that took too long to come.
    BodyTimeout,
    /// Nobody is signed in, or not any more.
    Unauthorized,
    /// Address and password do not belong together; which of them is wrong is not told.
    Credentials,
    /// A page of another site made a browser send this.
    CrossSite,
    EmailTaken,
    TooManyPreferences,
    FeedNotFound,
    TooManyFeeds,
    /// All users together have as many feeds as they may.
    NoRoomForFeeds,
    /// Connecting a Reddit account, or using one.
    Oauth(OauthFault),
    /// Too much costly work at once.
    Busy,
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
    (
        "message_not_found",
        "There is no message with this identifier, or it is not yours.",
    ),
    (
        "preference_not_found",
        "There is no preference with this key.",
    ),
    (
        "method_not_allowed",
        "The Allow field names the methods that are understood.",
    ),
    (
        "invalid_body",
        "The body is not what its Content-Type says.",
    ),
    (
        "invalid_field",
        "A field of the body is missing, unknown or not what it should be; `parameters` names each.",
    ),
    ("unsupported_media_type", "The body must be JSON or a form."),
    ("body_too_large", "The body is larger than what is read."),
    ("body_timeout", "The body took too long to arrive."),
    (
        "unauthorized",
        "Nobody is signed in by this token or cookie, or not any more.",
    ),
    (
        "invalid_credentials",
        "This address and this password do not belong together.",
    ),
    (
        "cross_site",
        "A page of another site made a browser send this.",
    ),
    (
        "email_taken",
        "Somebody signed up with this address already.",
    ),
    (
        "too_many_preferences",
        "A user has as many preferences as one may have.",
    ),
    (
        "busy",
        "Too many passwords are being checked; Retry-After says when to come back.",
    ),
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
    ("feed_not_found", "You have no feed with this identifier."),
    (
        "too_many_feeds",
        "You have as many feeds as there may be; remove one first.",
    ),
    (
        "no_room_for_feeds",
        "This service reads as many feeds of its users as it may; its operator can allow more.",
    ),
    (
        "reddit_access_denied",
        "Permission was not given at Reddit. Nothing was connected.",
    ),
    (
        "reddit_sent_back",
        "Reddit sent you back with an error instead of a permission. Try again.",
    ),
    (
        "reddit_unknown_state",
        "This sign-in is unknown, was used already, or took longer than ten minutes. Begin again.",
    ),
    (
        "reddit_other_browser",
        "This sign-in was begun in another browser or by another user. Begin again here.",
    ),
    (
        "reddit_invalid_code",
        "Reddit did not accept its own code: it was used already or is too old. Begin again.",
    ),
    (
        "reddit_client_refused",
        "Reddit refuses this service's registration; its operator has to look at it.",
    ),
    (
        "reddit_request_refused",
        "Reddit refuses the way this service asks; its operator has to look at it.",
    ),
    (
        "reddit_login_needed",
        "Reddit has taken the permission back. Connect the account again.",
    ),
    (
        "reddit_scope_missing",
        "The permission that was given does not cover this. Connect the account again.",
    ),
    (
        "reddit_forbidden",
        "Reddit does not show this to your account.",
    ),
    (
        "reddit_rate_limited",
        "Reddit asks for patience; Retry-After says how long.",
    ),
    (
        "reddit_unavailable",
        "Reddit could not be asked, or answered with something else. Try again later.",
    ),
    (
        "reddit_not_connected",
        "No Reddit account is connected; /auth/reddit/login connects one.",
    ),
    (
        "reddit_not_configured",
        "This service is not set up to connect Reddit accounts.",
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
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Parameters(_) | Self::Host | Self::Body(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized | Self::Credentials => StatusCode::UNAUTHORIZED,
            Self::CrossSite => StatusCode::FORBIDDEN,
            Self::NotFound
            | Self::ArticleNotFound
            | Self::RefreshNotFound
            | Self::MessageNotFound
            | Self::FeedNotFound
            | Self::PreferenceNotFound => StatusCode::NOT_FOUND,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::EmailTaken
            | Self::TooManyPreferences
            | Self::TooManyFeeds
            | Self::NoRoomForFeeds => StatusCode::CONFLICT,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Fields(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::DatabaseUnavailable(_) | Self::NotReady(_) | Self::Busy => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Oauth(fault) => oauth::told(fault).status,
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
            Self::MessageNotFound => "message_not_found",
            Self::PreferenceNotFound => "preference_not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Body(_) => "invalid_body",
            Self::Fields(_) => "invalid_field",
            Self::MediaType => "unsupported_media_type",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::BodyTimeout => "body_timeout",
            Self::Unauthorized => "unauthorized",
            Self::Credentials => "invalid_credentials",
            Self::CrossSite => "cross_site",
            Self::EmailTaken => "email_taken",
            Self::TooManyPreferences => "too_many_preferences",
            Self::Busy => "busy",
            Self::Host => "invalid_host",
            Self::RateLimited { .. } => "rate_limited",
            Self::DatabaseUnavailable(_) => "database_unavailable",
            Self::NotReady(_) => "not_ready",
            Self::FeedNotFound => "feed_not_found",
            Self::TooManyFeeds => "too_many_feeds",
            Self::NoRoomForFeeds => "no_room_for_feeds",
            Self::Oauth(fault) => oauth::told(fault).code,
            Self::Internal(_) => "internal_error",
        }
    }

    pub(super) fn detail(&self) -> String {
        match self {
            Self::Parameters(faults) | Self::Fields(faults) => {
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
            Self::MessageNotFound => {
                "There is no message with this identifier, or it is not yours.".to_owned()
            }
            Self::PreferenceNotFound => "There is no preference with this key.".to_owned(),
            Self::MethodNotAllowed => {
                "This method is not understood here; the Allow field names those that are."
                    .to_owned()
            }
            Self::Body(detail) => format!("The body {detail}."),
            Self::MediaType => {
                "The body must be application/json or application/x-www-form-urlencoded.".to_owned()
            }
            Self::BodyTooLarge { bytes_max } => {
                format!("The body must be at most {bytes_max} bytes long.")
            }
            Self::BodyTimeout => "The body took too long to arrive.".to_owned(),
            Self::Unauthorized => "Nobody is signed in here, or not any more.".to_owned(),
            Self::Credentials => {
                "This address and this password do not belong together.".to_owned()
            }
            Self::CrossSite => "A page of another site asked for this.".to_owned(),
            Self::EmailTaken => "Somebody signed up with this address already.".to_owned(),
            Self::TooManyPreferences => format!(
                "There are {} preferences already, as many as one may have.",
                crate::preferences::KEYS_MAX
            ),
            Self::Busy => "Too many passwords are being checked at the moment.".to_owned(),
            Self::Host => "An HTTP/1.1 request carries exactly one Host field.".to_owned(),
            Self::RateLimited { retry_after_secs } => {
                format!("Too many requests; try again in {retry_after_secs} s.")
            }
            Self::DatabaseUnavailable(_) => {
                "The database cannot be reached at the moment.".to_owned()
            }
            Self::NotReady(_) => "The service cannot answer at the moment.".to_owned(),
            Self::FeedNotFound => "You have no feed with this identifier.".to_owned(),
            Self::TooManyFeeds => {
                "You have as many feeds as there may be; remove one first.".to_owned()
            }
            Self::NoRoomForFeeds => {
                "This service reads as many feeds of its users as it may; its operator can allow more.".to_owned()
            }
            Self::Oauth(fault) => oauth::told(fault).sentence.to_owned(),
            Self::Internal(_) => "Something failed on our side.".to_owned(),
        }
    }

    fn retry_after_secs(&self) -> Option<u64> {
        match self {
            Self::RateLimited { retry_after_secs } => Some(*retry_after_secs),
            Self::Oauth(OauthFault::RateLimited { retry_after }) => {
                let wait = retry_after.map_or(OUTAGE_RETRY_SECS, |wait| wait.as_secs());
                Some(wait.max(1))
            }
            Self::DatabaseUnavailable(_) | Self::NotReady(_) | Self::Busy => {
                Some(OUTAGE_RETRY_SECS)
            }
            _ => None,
        }
    }

    pub(super) fn log(&self) {
        match self {
            Self::DatabaseUnavailable(cause) | Self::NotReady(cause) => {
                tracing::warn!(cause, code = self.code(), "unavailable")
            }
            Self::Oauth(fault) => {
                tracing::warn!(code = self.code(), %fault, "a Reddit account could not be used");
            }
            Self::Internal(cause) => tracing::error!(cause, code = self.code(), "request failed"),
            _ => {}
        }
    }
}

impl From<Busy> for ApiError {
    fn from(busy: Busy) -> Self {
        match busy {
            Busy::Crowded => Self::Busy,
            Busy::Failed(cause) => Self::Internal(cause),
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

impl From<OauthFault> for ApiError {
    fn from(fault: OauthFault) -> Self {
        Self::Oauth(fault)
    }
}

impl From<AccountFault> for ApiError {
    fn from(fault: AccountFault) -> Self {
        match fault {
            AccountFault::Database(error) => error.into(),
            AccountFault::Oauth(fault) => Self::Oauth(fault),
        }
    }
}

/// What a person is told of a failure, put into the answer's extensions for pages.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) title: &'static str,
    pub(super) detail: String,
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
            parameters: match &self {
                Self::Parameters(faults) | Self::Fields(faults) => faults,
                _ => &[],
            },
        };
        // A struct of texts and numbers always has a JSON form.
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = (status, body).into_response();
        let title = status.canonical_reason().unwrap_or("Error");
        response.extensions_mut().insert(Told {
            title,
            detail: self.detail(),
        });
        let fields = response.headers_mut();
        fields.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if matches!(self, Self::Unauthorized | Self::Credentials) {
            fields.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after_secs() {
            fields.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
