//! Questions and answers of the simulated upstreams, and the failures each words in its own way.

use super::Upstream;
use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use url::form_urlencoded;

/// A request's query and headers.
#[derive(Debug)]
pub(super) struct Question {
    query: BTreeMap<String, String>,
    pub(super) headers: HeaderMap,
}

impl<S: Sync> FromRequestParts<S> for Question {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let query = parts.uri.query().unwrap_or_default();
        let query = form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        Ok(Self {
            query,
            headers: parts.headers.clone(),
        })
    }
}

impl Question {
    /// A parameter that is there and not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.query
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// A parameter that is a number, or its default.
    pub(super) fn number(&self, name: &str, default: usize) -> usize {
        self.get(name)
            .and_then(|value| value.parse().ok())
            .unwrap_or(default)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .get(name)?
            .to_str()
            .ok()
            .filter(|value| !value.is_empty())
    }
}

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Reply {
    pub(super) fn new(status: u16, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        let headers = [(header::CONTENT_TYPE, HeaderValue::from_static(content_type))]
            .into_iter()
            .collect();
        Self {
            status,
            headers,
            body: body.into(),
        }
    }

    pub(super) fn json(status: u16, body: &Value) -> Self {
        Self::new(status, "application/json; charset=utf-8", body.to_string())
    }

    pub(super) fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }
}

impl From<Reply> for Response {
    fn from(reply: Reply) -> Self {
        let mut response = Self::new(Body::from(reply.body));
        *response.status_mut() =
            StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        *response.headers_mut() = reply.headers;
        response
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        self.into()
    }
}

/// A 5xx as that provider words it.
pub(super) fn failure(upstream: Upstream) -> Reply {
    match upstream {
        Upstream::Newsapi => newsapi_error(
            500,
            "unexpectedError",
            "Something went wrong on the server's side.",
        ),
        Upstream::Guardian => guardian_error(500, "Something went wrong."),
        Upstream::Hackernews => {
            Reply::json(503, &json!({"message": "Unreachable hosts", "status": 503}))
        }
        Upstream::Feeds | Upstream::Reddit => Reply::new(
            502,
            "text/html",
            "<html><body><h1>502 Bad Gateway</h1></body></html>",
        ),
    }
}

/// A 429 as that provider words it.
pub(super) fn limit(upstream: Upstream, retry_after_secs: u64) -> Reply {
    let reply = match upstream {
        Upstream::Newsapi => newsapi_error(
            429,
            "rateLimited",
            "Too many requests in the last 24 hours.",
        ),
        Upstream::Guardian => Reply::json(429, &json!({"message": "API rate limit exceeded"})),
        Upstream::Hackernews => {
            Reply::json(429, &json!({"message": "Too many requests", "status": 429}))
        }
        Upstream::Feeds => Reply::new(429, "text/plain", "Too many requests"),
        Upstream::Reddit => Reply::new(
            429,
            "text/html",
            "<html><h1>whoa there, pardner!</h1></html>",
        ),
    };
    reply.with(header::RETRY_AFTER, &retry_after_secs.to_string())
}

pub(super) fn newsapi_error(status: u16, code: &str, message: &str) -> Reply {
    Reply::json(
        status,
        &json!({"status": "error", "code": code, "message": message}),
    )
}

pub(super) fn guardian_error(status: u16, message: &str) -> Reply {
    Reply::json(
        status,
        &json!({"response": {"status": "error", "message": message}}),
    )
}

/// One page of a list, pages counted from 0.
pub(super) fn page(items: &[Value], page: usize, size: usize) -> Vec<Value> {
    items
        .iter()
        .skip(page.saturating_mul(size))
        .take(size)
        .cloned()
        .collect()
}

/// Whether any of the members holds any of the words; `"two words" OR third` is the one operator needed.
pub(super) fn matches(item: &Value, members: &[&str], query: &str) -> bool {
    let texts: Vec<String> = members
        .iter()
        .filter_map(|member| item[*member].as_str())
        .map(str::to_lowercase)
        .collect();
    query
        .split(" OR ")
        .map(|word| word.trim_matches([' ', '"', '(', ')']).to_lowercase())
        .any(|word| texts.iter().any(|text| text.contains(&word)))
}

/// A list in one of the embedded documents.
pub(super) fn list(document: &[u8], pointer: &str) -> Vec<Value> {
    let document: Value = serde_json::from_slice(document).unwrap_or_default();
    document
        .pointer(pointer)
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default()
}
