//! From a request to its answer: guard, body, route. The table stands in [`super`].

use std::sync::Arc;

use http::request::Parts;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde_json::json;

use super::answer::{Answer, closing, json_ok, json_status, problem, text_ok, wrong_method};
use super::{AdminSettings, Health, Operations, guard, purge};
use crate::metrics;

/// Answers one request within its time.
pub(super) async fn answer(
    request: Request<Incoming>,
    settings: Arc<AdminSettings>,
    operations: Arc<dyn Operations>,
) -> Answer {
    let work = guarded(request, &settings, operations.as_ref());
    match tokio::time::timeout(settings.limits.request_timeout, work).await {
        Ok(answer) => answer,
        Err(_) => closing(problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "timeout",
            "this took too long; it may still have been done",
        )),
    }
}

async fn guarded(
    request: Request<Incoming>,
    settings: &AdminSettings,
    operations: &dyn Operations,
) -> Answer {
    let (head, body) = request.into_parts();
    let open = head.uri.path() == "/health";
    if let Err(refusal) = guard::check(&head, settings, open) {
        return closing(*refusal);
    }
    // Read to its end, so that the connection can carry the next request.
    let body = Limited::new(body, settings.limits.body_bytes_max);
    if body.collect().await.is_err() {
        return closing(problem(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body-too-large",
            "no body is wanted here, and this one is too long or broke off",
        ));
    }
    route(&head, operations).await
}

async fn route(head: &Parts, operations: &dyn Operations) -> Answer {
    let reading = matches!(head.method, Method::GET | Method::HEAD);
    match head.uri.path() {
        "/health" if reading => health(operations.health()),
        "/metrics" if reading => text_ok(metrics::CONTENT_TYPE, operations.metrics_text()),
        "/cache/stats" if reading => json_ok(&operations.stats().json()),
        "/health" | "/metrics" | "/cache/stats" => wrong_method("GET, HEAD"),
        "/purge" if head.method == Method::POST => purge::purge(head, operations).await,
        "/purge" => wrong_method("POST"),
        _ => problem(
            StatusCode::NOT_FOUND,
            "not-found",
            "the admin port has /health, /metrics, /cache/stats and /purge",
        ),
    }
}

fn health(health: Health) -> Answer {
    let (status, word) = if health.draining {
        (StatusCode::SERVICE_UNAVAILABLE, "draining")
    } else {
        (StatusCode::OK, "ok")
    };
    json_status(
        status,
        &json!({
            "status": word,
            "version": env!("CARGO_PKG_VERSION"),
            "upstream": health.upstream.as_str(),
            "redis": health.redis.as_str(),
            "purges": if health.purges_followed { "followed" } else { "lost" },
        }),
    )
}
