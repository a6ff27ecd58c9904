//! What a failed connection to Reddit is to whoever waits for it: one code for each thing that person, or the operator, can do.

use crate::reddit::OauthFault;
use axum::http::StatusCode;

/// How a failure is told.
pub(super) struct Told {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) sentence: &'static str,
}

/// How that failure is told.
pub(super) fn told(fault: &OauthFault) -> Told {
    let (status, code) = match fault {
        OauthFault::AccessDenied => (StatusCode::FORBIDDEN, "reddit_access_denied"),
        OauthFault::SentBack(_) => (StatusCode::BAD_REQUEST, "reddit_sent_back"),
        OauthFault::UnknownState => (StatusCode::BAD_REQUEST, "reddit_unknown_state"),
        OauthFault::OtherBrowser => (StatusCode::FORBIDDEN, "reddit_other_browser"),
        OauthFault::InvalidGrant => (StatusCode::BAD_REQUEST, "reddit_invalid_code"),
        OauthFault::BadClient | OauthFault::UnauthorizedClient(_) => {
            (StatusCode::BAD_GATEWAY, "reddit_client_refused")
        }
        OauthFault::InvalidRequest(_) | OauthFault::UnsupportedGrant | OauthFault::Blocked => {
            (StatusCode::BAD_GATEWAY, "reddit_request_refused")
        }
        OauthFault::BadRefreshToken | OauthFault::BadToken | OauthFault::Vault(_) => {
            (StatusCode::CONFLICT, "reddit_login_needed")
        }
        OauthFault::InsufficientScope => (StatusCode::FORBIDDEN, "reddit_scope_missing"),
        OauthFault::Forbidden(_) => (StatusCode::FORBIDDEN, "reddit_forbidden"),
        OauthFault::RateLimited { .. } => (StatusCode::SERVICE_UNAVAILABLE, "reddit_rate_limited"),
        OauthFault::Unavailable(_) | OauthFault::Malformed(_) => {
            (StatusCode::BAD_GATEWAY, "reddit_unavailable")
        }
        OauthFault::NotConnected => (StatusCode::NOT_FOUND, "reddit_not_connected"),
        OauthFault::NotConfigured => (StatusCode::NOT_FOUND, "reddit_not_configured"),
    };
    let known = super::CODES.iter().find(|(known, _)| *known == code);
    Told {
        status,
        code,
        sentence: known.map_or("", |(_, sentence)| sentence),
    }
}
