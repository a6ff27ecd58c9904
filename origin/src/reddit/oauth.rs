//! What Reddit's OAuth answers mean. Pure. Reddit tells many failures with a 200 and a word in the body, and some with a number.

use crate::http::Answer;
use crate::secret::Secret;
use crate::source::{SourceError, json};
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use serde_json::Value;
use std::time::Duration;
use url::Url;

/// What we ask a person for.
const SCOPE: &str = "identity read";
/// When an answer does not say how long its token lives.
const LIFETIME_UNSAID: TimeDelta = TimeDelta::hours(1);
const LIFETIME_MAX: TimeDelta = TimeDelta::days(400);
/// Longest description of a failure that is repeated, in characters.
const WORDS_CHARS_MAX: usize = 200;

/// Tokens, as Reddit gave them out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub access_token: Secret,
    /// Without one in the answer to a refresh, the old one stays good.
    pub refresh_token: Option<Secret>,
    pub scope: String,
    pub expires_at: DateTime<Utc>,
}

/// How a person came back from Reddit (step 2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    pub state: String,
    pub code: String,
}

/// Everything that can go wrong, one for each thing that somebody would do differently.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OauthFault {
    #[error("the person said no")]
    AccessDenied,
    #[error("Reddit sent the person back with the error {0:?}")]
    SentBack(String),
    #[error("the state is unknown, was used before, or has expired")]
    UnknownState,
    #[error("the state belongs to another browser or another user")]
    OtherBrowser,
    #[error(
        "invalid_grant: the code is wrong, used or expired, or the redirect URI is not the registered one"
    )]
    InvalidGrant,
    #[error("unauthorized_client: {0}")]
    UnauthorizedClient(String),
    #[error("invalid_request: {0}")]
    InvalidRequest(String),
    #[error("unsupported_grant_type")]
    UnsupportedGrant,
    #[error("the refresh token is unknown or was revoked")]
    BadRefreshToken,
    #[error("Reddit does not know our client id and secret")]
    BadClient,
    #[error("the token is expired, revoked or invalid")]
    BadToken,
    #[error("the token lacks the scope that this needs")]
    InsufficientScope,
    #[error("Reddit refuses: {0}")]
    Forbidden(String),
    #[error("Reddit refuses our network or User-Agent")]
    Blocked,
    #[error("too many requests")]
    RateLimited { retry_after: Option<Duration> },
    #[error("Reddit could not be asked: {0}")]
    Unavailable(String),
    #[error("Reddit answered with something else: {0}")]
    Malformed(String),
    #[error("nobody is connected")]
    NotConnected,
    #[error("Reddit is not configured")]
    NotConfigured,
    #[error("{0}")]
    Vault(#[from] crate::vault::VaultFault),
}

/// Where a browser is sent (step 1). A permanent grant brings a refresh token.
pub fn authorize_url(mut base: Url, client_id: &str, redirect_uri: &Url, state: &str) -> Url {
    base.query_pairs_mut()
        .append_pair("client_id", client_id)
        .append_pair("response_type", "code")
        .append_pair("state", state)
        .append_pair("redirect_uri", redirect_uri.as_str())
        .append_pair("duration", "permanent")
        .append_pair("scope", SCOPE);
    base
}

impl Permission {
    /// Reads the query with which a browser comes back. The state comes even with a refusal, and is to be used up by it.
    pub fn read(query: &str) -> Result<(String, Result<String, OauthFault>), OauthFault> {
        let (mut state, mut code, mut error) = (None, None, None);
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let place = match &*name {
                "state" => &mut state,
                "code" => &mut code,
                "error" => &mut error,
                _ => continue,
            };
            if place.replace(value.into_owned()).is_some() {
                return Err(OauthFault::UnknownState);
            }
        }
        let state = state.filter(|state| !state.is_empty());
        let state = state.ok_or(OauthFault::UnknownState)?;
        let code = match (error, code.filter(|code| !code.is_empty())) {
            (Some(error), _) if error == "access_denied" => Err(OauthFault::AccessDenied),
            (Some(error), _) => Err(OauthFault::SentBack(cut(&error))),
            (None, None) => Err(OauthFault::SentBack("no code".to_owned())),
            // Reddit ends its redirects in `#_`, which a careless client sends along.
            (None, Some(code)) => Ok(code.trim_end_matches("#_").to_owned()),
        };
        Ok((state, code))
    }
}

/// Reads the answer of the token endpoint (step 3).
pub(super) fn grant(answer: &Answer, now: DateTime<Utc>) -> Result<Grant, OauthFault> {
    if !answer.is_success() {
        return Err(refusal(answer, now));
    }
    let body = json::read(&answer.body).map_err(|_| not_json(answer))?;
    if let Some(error) = body.get("error") {
        return Err(told(error, &body));
    }
    let token = |name| json::text(&body, name).and_then(Secret::new);
    let access_token = token("access_token")
        .filter(|token| token.expose().bytes().all(|byte| byte.is_ascii_graphic()))
        .ok_or_else(|| OauthFault::Malformed("no access token".to_owned()))?;
    let kind = json::text(&body, "token_type").unwrap_or("bearer");
    if !kind.eq_ignore_ascii_case("bearer") {
        return Err(OauthFault::Malformed(format!(
            "a token of type {}",
            cut(kind)
        )));
    }
    Ok(Grant {
        access_token,
        refresh_token: token("refresh_token"),
        scope: json::text(&body, "scope").unwrap_or_default().to_owned(),
        expires_at: now + lifetime(&body),
    })
}

fn lifetime(body: &Value) -> TimeDelta {
    let seconds = body.get("expires_in").and_then(Value::as_f64);
    seconds
        .filter(|seconds| seconds.is_finite() && *seconds >= 0.0)
        .map_or(LIFETIME_UNSAID, |seconds| {
            let seconds = seconds.min(LIFETIME_MAX.num_seconds() as f64);
            TimeDelta::seconds(seconds as i64)
        })
}

/// What an answer that is no success means, of the token endpoint or of what a token opens.
pub(super) fn refusal(answer: &Answer, now: DateTime<Utc>) -> OauthFault {
    let challenge = answer.header(&WWW_AUTHENTICATE).unwrap_or_default();
    let challenge = challenge.to_ascii_lowercase();
    let body = json::read(&answer.body).ok();
    match answer.status {
        429 => OauthFault::RateLimited {
            retry_after: answer.retry_after(now).or_else(|| reset(answer)),
        },
        401 if challenge.starts_with("basic") => OauthFault::BadClient,
        401 if challenge.starts_with("bearer") => OauthFault::BadToken,
        // Without a challenge the endpoint tells: only ours ends in that.
        401 if answer.url.path().ends_with("/access_token") => OauthFault::BadClient,
        401 => OauthFault::BadToken,
        403 if challenge.contains("insufficient_scope") => OauthFault::InsufficientScope,
        403 => match body {
            Some(body) => OauthFault::Forbidden(cut(reason(&body))),
            None => OauthFault::Blocked,
        },
        400 => match &body {
            Some(body) => told(body.get("error").unwrap_or(&Value::Null), body),
            None => OauthFault::Malformed("a 400 without words".to_owned()),
        },
        status @ 300..=399 => {
            OauthFault::Forbidden(format!("a redirect ({status}) to somewhere else"))
        }
        status => OauthFault::Unavailable(format!("it answered {status}")),
    }
}

fn reset(answer: &Answer) -> Option<Duration> {
    let value = answer.headers.get("x-ratelimit-reset")?.to_str().ok()?;
    let seconds = value.trim().parse::<f64>().ok()?;
    Duration::try_from_secs_f64(seconds.clamp(0.0, 86_400.0)).ok()
}

/// The word of a failure; a number stands where an unknown refresh token is meant.
fn told(error: &Value, body: &Value) -> OauthFault {
    let words = json::text(body, "error_description")
        .or_else(|| json::text(body, "message"))
        .unwrap_or("no description");
    match error {
        Value::String(error) => match error.as_str() {
            "invalid_grant" => OauthFault::InvalidGrant,
            "unauthorized_client" => OauthFault::UnauthorizedClient(cut(words)),
            "invalid_request" => OauthFault::InvalidRequest(cut(words)),
            "unsupported_grant_type" => OauthFault::UnsupportedGrant,
            "invalid_client" => OauthFault::BadClient,
            "access_denied" => OauthFault::AccessDenied,
            error => OauthFault::Malformed(format!("the error {}", cut(error))),
        },
        Value::Number(number) if number.as_f64() == Some(400.0) => OauthFault::InvalidGrant,
        Value::Number(number) if number.as_f64() == Some(401.0) => OauthFault::BadClient,
        error => OauthFault::Malformed(format!("the error {}", cut(&error.to_string()))),
    }
}

fn reason(body: &Value) -> &str {
    json::text(body, "reason")
        .or_else(|| json::text(body, "message"))
        .unwrap_or("forbidden")
}

fn not_json(answer: &Answer) -> OauthFault {
    let kind = answer.header(&CONTENT_TYPE).unwrap_or("something");
    OauthFault::Malformed(format!("{} where JSON was due", cut(kind)))
}

fn cut(words: &str) -> String {
    crate::article::text::clean(words, WORDS_CHARS_MAX).unwrap_or_default()
}

impl OauthFault {
    /// What an answer that is no success means.
    pub fn of(answer: &Answer, now: DateTime<Utc>) -> Self {
        refusal(answer, now)
    }
}

impl From<SourceError> for OauthFault {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::RateLimited { retry_after } => Self::RateLimited { retry_after },
            SourceError::Malformed(words) => Self::Malformed(words),
            error => Self::Unavailable(error.to_string()),
        }
    }
}

/// For the source: what of it the gate should remember.
impl From<OauthFault> for SourceError {
    fn from(fault: OauthFault) -> Self {
        match fault {
            OauthFault::RateLimited { retry_after } => Self::RateLimited { retry_after },
            OauthFault::Unavailable(words) => Self::Unreachable(words),
            OauthFault::Malformed(words) => Self::Malformed(words),
            OauthFault::Forbidden(_) => Self::Status {
                status: 403,
                message: fault.to_string(),
            },
            fault => Self::Credentials(fault.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
