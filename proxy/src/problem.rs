//! What Larder says itself when it has no answer of the upstream's: RFC 9457 problem details, small enough for any client.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use larder_policy::{Failure, Outcome};

/// Head fields and body of a problem that the proxy itself reports.
#[derive(Debug)]
pub struct Problem {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// The problem for an outcome; `detail` says what is wrong and what would be right.
pub fn problem(status: StatusCode, outcome: &Outcome, detail: &str) -> Problem {
    let body = serde_json::json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or("Error"),
        "status": status.as_u16(),
        "code": outcome.reason().as_str(),
        "detail": detail,
    });
    let body = Bytes::from(body.to_string());
    let mut headers = HeaderMap::with_capacity(4);
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Problem {
        status,
        headers,
        body,
    }
}

/// The problem for a failure of ours or of the upstream's.
pub fn failure(failure: Failure, detail: &str) -> Problem {
    let status = StatusCode::from_u16(failure.status()).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut problem = problem(status, &Outcome::Error(failure), detail);
    if failure == Failure::Overloaded {
        // A turn comes free as soon as one of many fetches ends.
        let at_once = HeaderValue::from_static("1");
        problem.headers.insert(header::RETRY_AFTER, at_once);
    }
    problem
}

/// A sentence for people per failure, for when nothing better is known.
pub fn sentence(failure: Failure) -> &'static str {
    match failure {
        Failure::BadRequest => "The request is not valid HTTP.",
        Failure::Misdirected => "This proxy does not serve the host that the request names.",
        Failure::Loop => {
            "The request has already passed through this proxy: its upstream leads back to itself."
        }
        Failure::ConnectFailed => "The upstream could not be reached.",
        Failure::UpstreamTimeout => "The upstream did not answer in time.",
        Failure::UpstreamBroken => "The upstream's answer broke off or was not valid HTTP.",
        Failure::UpstreamTls => "No trusted TLS connection to the upstream could be made.",
        Failure::UpstreamAway { .. } => {
            "The upstream has not answered lately, so it was not asked; try again shortly."
        }
        Failure::Overloaded => {
            "Too many requests to the upstream are under way; try again shortly."
        }
        Failure::Internal => "The proxy met a fault of its own.",
    }
}
