//! What every request and answer share: who asks, the rate limit, `HEAD`, `ETag` and 304, the time taken, the access line.

use super::App;
use super::client::{self, Client};
use super::error::ApiError;
use axum::Router;
use axum::body::Body;
use axum::http::header::{
    ALLOW, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HOST, HeaderName, IF_NONE_MATCH, TRANSFER_ENCODING,
};
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version, request, response};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use http_body_util::{BodyExt, Full};
use sha2::{Digest, Sha256};
use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::PoisonError;
use std::time::{Duration, Instant};
use tower::ServiceExt;

/// The time of the request: the clock is read once for each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now(pub(super) DateTime<Utc>);

/// How long the sources took, put into an answer's extensions by the handler that asked them.
#[derive(Debug, Clone, Copy)]
pub(super) struct SourcesTook(pub(super) Duration);

const PROCESS_TIME: HeaderName = HeaderName::from_static("x-process-time");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
/// Targets are cut to this in the log.
const LOGGED_TARGET_CHARS_MAX: usize = 512;

/// Answers one request. Its body is not read: nothing here takes one.
pub async fn exchange<B>(
    app: &App,
    router: Router,
    peer: SocketAddr,
    request: Request<B>,
) -> Response<Full<Bytes>> {
    let (begun, now) = (Instant::now(), Utc::now());
    let (mut head, _body) = request.into_parts();
    let client = client::client(peer.ip(), &head.headers, &app.trusted_proxies);
    let asked = (
        head.method.clone(),
        head.uri.clone(),
        head.headers
            .get_all(IF_NONE_MATCH)
            .iter()
            .cloned()
            .collect(),
    );
    let answer = match admit(app, client, &head, begun) {
        Ok(()) => {
            // The body's length and ETag are those of GET.
            if head.method == Method::HEAD {
                head.method = Method::GET;
            }
            head.extensions.insert(Now(now));
            answer(router, Request::from_parts(head, Body::empty())).await
        }
        Err(refusal) => refusal.into_response(),
    };
    let (method, uri, if_none_match): (Method, _, Vec<HeaderValue>) = asked;
    let mut answer = finish(answer, &method, &if_none_match).await;
    let took = begun.elapsed();
    let sources = sources_took(&answer);
    stamp(answer.headers_mut(), took, sources);
    log(&method, &uri.to_string(), &answer, client.address(), took);
    answer
}

/// Health checks are never refused for their number: a prober that is refused ends the process.
fn admit(app: &App, client: Client, head: &request::Parts, now: Instant) -> Result<(), ApiError> {
    let path = head.uri.path();
    // RFC 9112 §3.2: who could read another host than we do, on the way here, keyed an answer by it.
    if head.version == Version::HTTP_11 && head.headers.get_all(HOST).iter().count() != 1 {
        return Err(ApiError::Host);
    }
    let (Some(limiter), Client::At(address)) = (&app.limiter, client) else {
        return Ok(());
    };
    if path == "/health" || path.starts_with("/health/") {
        return Ok(());
    }
    let mut limiter = limiter.lock().unwrap_or_else(PoisonError::into_inner);
    limiter
        .admit(address, now)
        .map_err(|wait| ApiError::RateLimited {
            retry_after_secs: wait.as_secs_f64().ceil() as u64,
        })
}

/// A handler that panics costs its own request only. The panic hook has logged where.
async fn answer(router: Router, request: Request<Body>) -> Response {
    match AssertUnwindSafe(router.oneshot(request))
        .catch_unwind()
        .await
    {
        Ok(Ok(response)) => response,
        Ok(Err(never)) => match never {},
        Err(_) => ApiError::Internal("a handler panicked".to_owned()).into_response(),
    }
}

/// Gives the answer its validator and its length, and takes the body where none is to be sent.
async fn finish(
    answer: Response,
    method: &Method,
    if_none_match: &[HeaderValue],
) -> Response<Full<Bytes>> {
    let (mut head, body) = answer.into_parts();
    // Our own bodies are in memory: they cannot fail.
    let body = body
        .collect()
        .await
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    head.headers.remove(TRANSFER_ENCODING);
    if head.status == StatusCode::METHOD_NOT_ALLOWED && !head.headers.contains_key(ALLOW) {
        head.headers
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    if is_read && head.status == StatusCode::OK {
        let etag = etag(&body);
        let unchanged = matches_any(if_none_match, &etag);
        head.headers.insert(ETAG, etag);
        if unchanged {
            return not_modified(head);
        }
    }
    head.headers
        .insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    let body = if *method == Method::HEAD {
        Bytes::new()
    } else {
        body
    };
    Response::from_parts(head, Full::new(body))
}

fn not_modified(mut head: response::Parts) -> Response<Full<Bytes>> {
    head.status = StatusCode::NOT_MODIFIED;
    head.headers.remove(CONTENT_TYPE);
    head.headers.remove(CONTENT_LENGTH);
    Response::from_parts(head, Full::default())
}

/// Strong: equal tags mean equal bytes.
fn etag(body: &[u8]) -> HeaderValue {
    let digest = Sha256::digest(body);
    let hex: String = digest
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    HeaderValue::from_str(&format!("\"{hex}\""))
        .unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

/// RFC 9110 §13.1.2: by weak comparison, over all lines of the field. Our tags hold no comma, so splitting at commas is exact
/// for them.
fn matches_any(if_none_match: &[HeaderValue], etag: &HeaderValue) -> bool {
    let tags = if_none_match
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    let own = etag.to_str().unwrap_or_default();
    tags.map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == own)
}

fn sources_took(answer: &Response<Full<Bytes>>) -> Option<Duration> {
    answer.extensions().get::<SourcesTook>().map(|took| took.0)
}

fn stamp(fields: &mut HeaderMap, took: Duration, sources: Option<Duration>) {
    let ms = |duration: Duration| format!("{:.2}", duration.as_secs_f64() * 1000.0);
    let sources = sources
        .map(|sources| format!(", sources;dur={}", ms(sources)))
        .unwrap_or_default();
    let values = [
        (PROCESS_TIME, format!("{}ms", ms(took))),
        (SERVER_TIMING, format!("total;dur={}{sources}", ms(took))),
    ];
    for (name, value) in values {
        if let Ok(value) = HeaderValue::from_str(&value) {
            fields.insert(name, value);
        }
    }
}

fn log(
    method: &Method,
    target: &str,
    answer: &Response<Full<Bytes>>,
    client: IpAddr,
    took: Duration,
) {
    let url: String = target.chars().take(LOGGED_TARGET_CHARS_MAX).collect();
    let bytes = http_body::Body::size_hint(answer.body())
        .exact()
        .unwrap_or(0);
    let ms = (took.as_secs_f64() * 100_000.0).round() / 100.0;
    tracing::info!(target: "access", %method, url, status = answer.status().as_u16(), bytes, ms, %client, "answered");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(lines: &[&str]) -> bool {
        let lines: Vec<HeaderValue> = lines.iter().map(|line| line.parse().unwrap()).collect();
        matches_any(&lines, &HeaderValue::from_static("\"abc\""))
    }

    #[test]
    fn a_known_tag_is_found_in_any_list_weak_or_strong() {
        for lines in [
            &["\"abc\""][..],
            &["W/\"abc\""],
            &["\"x\", \"abc\""],
            &["\"x\"", "\"abc\""],
            &["*"],
        ] {
            assert!(matches(lines), "{lines:?}");
        }
        for lines in [&[][..], &["\"abcd\""], &["abc"], &["\"x\""], &["w/\"abc\""]] {
            assert!(!matches(lines), "{lines:?}");
        }
    }

    #[test]
    fn the_time_taken_has_two_decimals_and_a_unit() {
        let mut fields = HeaderMap::new();
        stamp(
            &mut fields,
            Duration::from_micros(12_340),
            Some(Duration::from_millis(10)),
        );
        assert_eq!(fields["x-process-time"], "12.34ms");
        assert_eq!(
            fields["server-timing"],
            "total;dur=12.34, sources;dur=10.00"
        );
    }
}
