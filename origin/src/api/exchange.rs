//! What every request and answer share: who asks, the rate limit, `HEAD`, validators and 304, the time taken, the access line.

use super::App;
use super::caching::Modified;
use super::client::{self, Client};
use super::conditions::{Conditions, Validators};
use super::error::ApiError;
use super::trace::{self, Trace};
use super::{cors, forgery, page};
use axum::Router;
use axum::body::Body;
use axum::http::header::{
    ALLOW, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, TRANSFER_ENCODING,
};
use axum::http::{
    HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version, request, response,
};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::PoisonError;
use std::time::{Duration, Instant};
use tower::ServiceExt;
use tracing::Instrument;

/// The time of the request: the clock is read once for each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now(pub(super) DateTime<Utc>);

/// Who sent the request, over what, and when it came by the clock that only goes forward.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker {
    pub(super) client: Client,
    /// Whether the client's own connection is protected, by what a trusted proxy says.
    pub(super) https: bool,
    pub(super) begun: Instant,
}

/// How long the sources took, put into an answer's extensions by the handler that asked them.
#[derive(Debug, Clone, Copy)]
pub(super) struct SourcesTook(pub(super) Duration);

const PROCESS_TIME: HeaderName = HeaderName::from_static("x-process-time");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
/// Of what a client may send: the longest message and the longest list of preferences take a fraction of it.
const BODY_BYTES_MAX: usize = 64 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(15);
/// What comes back from a provider bears a code in its query: a key for whoever reads the log in time.
const SECRETIVE_PATHS: &str = "/auth/";
/// Targets are cut to this in the log.
const LOGGED_TARGET_CHARS_MAX: usize = 512;

/// Answers one request; what is logged meanwhile bears its identifiers.
pub async fn exchange<B: http_body::Body>(
    app: &App,
    router: Router,
    peer: SocketAddr,
    request: Request<B>,
) -> Response<Full<Bytes>>
where
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let trace = Trace::of(request.headers());
    // At any level of the log: a warning without them could not be told from another request's.
    let span = tracing::error_span!(
        "request",
        request_id = trace.request_id,
        trace_id = trace.trace_id,
        parent_id = trace.parent_id
    );
    let mut answer = told(app, router, peer, request).instrument(span).await;
    if let Ok(id) = HeaderValue::from_str(&trace.request_id) {
        answer.headers_mut().insert(trace::REQUEST_ID, id);
    }
    answer
}

/// The body of a safe request is not read: it means nothing.
async fn told<B: http_body::Body>(
    app: &App,
    router: Router,
    peer: SocketAddr,
    request: Request<B>,
) -> Response<Full<Bytes>>
where
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (begun, now) = (Instant::now(), Utc::now());
    let (mut head, body) = request.into_parts();
    let client = client::client(peer.ip(), &head.headers, &app.trusted_proxies);
    let asked = (
        head.method.clone(),
        head.uri.clone(),
        Conditions::of(&head.headers),
    );
    let is_for_people = page::is_for_people(&head.method, head.uri.path(), &head.headers);
    let admitted = match admit(app, client, &head, begun) {
        Ok(()) if head.method.is_safe() => Ok(Bytes::new()),
        Ok(()) => read(body).await,
        Err(refusal) => Err(refusal),
    };
    let answer = match admitted {
        Ok(body) => {
            // The body's length and ETag are those of GET.
            if head.method == Method::HEAD {
                head.method = Method::GET;
            }
            let https = client::is_https(peer.ip(), &head.headers, &app.trusted_proxies);
            head.extensions.insert(Now(now));
            head.extensions.insert(Asker {
                client,
                https,
                begun,
            });
            answer(router, Request::from_parts(head, Body::from(body))).await
        }
        Err(refusal) => cors::readable(app.cors.as_ref(), head, refusal.into_response()).await,
    };
    let answer = match is_for_people {
        true => page::for_people(answer),
        false => answer,
    };
    let (method, uri, conditions) = asked;
    let mut answer = finish(answer, &method, &conditions, now).await;
    let took = begun.elapsed();
    let sources = sources_took(&answer);
    stamp(answer.headers_mut(), took, sources);
    log(&method, &loggable(&uri), &answer, client.address(), took);
    answer
}

/// Health checks are never refused for their number: a prober that is refused ends the process.
fn admit(app: &App, client: Client, head: &request::Parts, now: Instant) -> Result<(), ApiError> {
    let path = head.uri.path();
    // RFC 9112 §3.2: who could read another host than we do, on the way here, keyed an answer by it.
    if head.version == Version::HTTP_11 && head.headers.get_all(HOST).iter().count() != 1 {
        return Err(ApiError::Host);
    }
    forgery::check(&head.method, &head.headers, app.people.public_url())?;
    let (Some(limiter), Client::At(address)) = (&app.limiter, client) else {
        return Ok(());
    };
    if is_probe(path) {
        return Ok(());
    }
    let mut limiter = limiter.lock().unwrap_or_else(PoisonError::into_inner);
    limiter
        .admit(address, now)
        .map_err(|wait| ApiError::RateLimited {
            retry_after_secs: wait.as_secs_f64().ceil() as u64,
        })
}

/// The whole body, bounded in size and time.
async fn read<B: http_body::Body>(body: B) -> Result<Bytes, ApiError>
where
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let too_large = ApiError::BodyTooLarge {
        bytes_max: BODY_BYTES_MAX,
    };
    if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        return Err(too_large);
    }
    let body = Limited::new(body, BODY_BYTES_MAX).collect();
    match tokio::time::timeout(BODY_TIMEOUT, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large),
        Ok(Err(_)) => Err(ApiError::Body("broke off".to_owned())),
        Err(_) => Err(ApiError::BodyTimeout),
    }
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

/// Gives the answer its validators and its length, and takes the body where none is to be sent.
async fn finish(
    answer: Response,
    method: &Method,
    conditions: &Conditions,
    now: DateTime<Utc>,
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
        let modified = head.extensions.get::<Modified>().map(|modified| modified.0);
        let validators = Validators::new(&body, modified, now);
        validators.put(&mut head.headers);
        if conditions.hold(&validators) {
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

/// A target as it may be logged: cut, and below `/auth/` without its query.
fn loggable(uri: &Uri) -> String {
    let target = match uri.path().starts_with(SECRETIVE_PATHS) {
        true => uri.path().to_owned(),
        false => uri.to_string(),
    };
    match target.char_indices().nth(LOGGED_TARGET_CHARS_MAX) {
        Some((end, _)) => target.get(..end).unwrap_or_default().to_owned(),
        None => target,
    }
}

fn is_probe(path: &str) -> bool {
    path == "/health" || path.starts_with("/health/")
}

fn log(method: &Method, url: &str, answer: &Response<Full<Bytes>>, client: IpAddr, took: Duration) {
    let bytes = http_body::Body::size_hint(answer.body())
        .exact()
        .unwrap_or(0);
    let ms = (took.as_secs_f64() * 100_000.0).round() / 100.0;
    let status = answer.status();
    // Probes come every few seconds; what goes wrong with one is news.
    if is_probe(url) && status.is_success() {
        tracing::debug!(target: "access", %method, url, status = status.as_u16(), bytes, ms, %client, "answered");
    } else {
        tracing::info!(target: "access", %method, url, status = status.as_u16(), bytes, ms, %client, "answered");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_provider_sends_back_is_logged_without_its_query() {
        for (target, logged) in [
            (
                "/auth/reddit/callback?state=abc&code=s3cret",
                "/auth/reddit/callback",
            ),
            (
                "http://news.example/auth/reddit/callback?code=s3cret",
                "/auth/reddit/callback",
            ),
            ("/search?q=code", "/search?q=code"),
        ] {
            let uri: Uri = target.parse().expect("a target");
            assert_eq!(loggable(&uri), logged);
        }
        let long: Uri = format!("/{}", "a".repeat(600)).parse().expect("a target");
        assert_eq!(loggable(&long).len(), LOGGED_TARGET_CHARS_MAX);
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
