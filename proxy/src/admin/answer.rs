//! The answers of the admin port: JSON, text, and problems. None may be stored or taken for another type.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

pub(super) type Answer = Response<Full<Bytes>>;

/// 200 with JSON.
pub(super) fn json_ok(value: &Value) -> Answer {
    json_status(StatusCode::OK, value)
}

/// Any status with JSON.
pub(super) fn json_status(status: StatusCode, value: &Value) -> Answer {
    answer(status, "application/json", format!("{value}\n"))
}

/// 200 with text of this type.
pub(super) fn text_ok(content_type: &'static str, text: String) -> Answer {
    answer(StatusCode::OK, content_type, text)
}

/// What went wrong, as RFC 9457 says it. `code` is for programs and stays; `detail` is for people.
pub(super) fn problem(status: StatusCode, code: &str, detail: &str) -> Answer {
    let title = status.canonical_reason().unwrap_or("Error");
    let body = json!({"title": title, "status": status.as_u16(), "code": code, "detail": detail});
    answer(status, "application/problem+json", format!("{body}\n"))
}

/// 405 with the methods that are right (RFC 9110 §15.5.6).
pub(super) fn wrong_method(allow: &'static str) -> Answer {
    let detail = format!("this answers {allow}");
    let problem = problem(
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        &detail,
    );
    with(problem, ALLOW, allow)
}

/// 401 with the scheme that is right (RFC 6750 §3).
pub(super) fn token_wanted(challenge: &'static str, detail: &str) -> Answer {
    with(
        problem(StatusCode::UNAUTHORIZED, "token-wanted", detail),
        WWW_AUTHENTICATE,
        challenge,
    )
}

/// The same answer, after which the connection ends: what is left of the request's body is not read.
pub(super) fn closing(answer: Answer) -> Answer {
    with(answer, CONNECTION, "close")
}

fn with(mut answer: Answer, name: HeaderName, value: &'static str) -> Answer {
    answer
        .headers_mut()
        .insert(name, HeaderValue::from_static(value));
    answer
}

fn answer(status: StatusCode, content_type: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::from(body));
    *answer.status_mut() = status;
    let nosniff = HeaderName::from_static("x-content-type-options");
    let answer = with(answer, CONTENT_TYPE, content_type);
    with(with(answer, CACHE_CONTROL, "no-store"), nosniff, "nosniff")
}
