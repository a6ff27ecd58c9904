//! From a request to its answer: guard, body, route. The table stands in [`super`].

use std::sync::Arc;

use http::request::Parts;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::answer::{Answer, closing, json_ok, json_status, problem, text_ok, wrong_method};
use super::{AdminSettings, Health, Operations, PurgeFailed, Purged, guard};
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
        "/purge" if head.method == Method::POST => purge(head, operations).await,
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
        }),
    )
}

async fn purge(head: &Parts, operations: &dyn Operations) -> Answer {
    let url = match purge_url(head.uri.query().unwrap_or_default()) {
        Ok(url) => url,
        Err(detail) => return problem(StatusCode::BAD_REQUEST, "bad-parameter", &detail),
    };
    match operations.purge_url(&url).await {
        Ok(purged) => json_ok(&purged_json(&purged)),
        Err(PurgeFailed::BadUrl(why)) => {
            let detail = format!("the parameter url is not a URL that can be stored: {why}");
            problem(StatusCode::BAD_REQUEST, "bad-url", &detail)
        }
        Err(PurgeFailed::Unavailable(why)) => {
            problem(StatusCode::SERVICE_UNAVAILABLE, "purge-unavailable", &why)
        }
    }
}

fn purged_json(purged: &Purged) -> Value {
    let mut json = json!({"purged": purged.urls});
    // Left out rather than guessed at.
    if let Some(entries) = purged.entries {
        json["entries"] = entries.into();
    }
    json
}

/// The one `url` parameter. Another parameter is refused rather than ignored: a URL whose `&` was not escaped looks like one, and half a URL
/// would be purged.
fn purge_url(query: &str) -> Result<String, String> {
    let mut url = None;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if name != "url" {
            return Err(format!(
                "there is no parameter {name:?}; if it belongs to the URL to purge, percent-encode that URL's & and ="
            ));
        }
        if url.replace(value.into_owned()).is_some() {
            return Err("the parameter url stands twice; purge one URL at a time".to_owned());
        }
    }
    match url {
        None => Err("the parameter url is missing".to_owned()),
        Some(url) if url.trim().is_empty() => Err("the parameter url is blank".to_owned()),
        Some(url) => Ok(url),
    }
}

#[cfg(test)]
mod tests {
    use super::purge_url;

    #[test]
    fn the_url_is_decoded_once() {
        let url = purge_url("url=http%3A%2F%2Fapi.example%2Fa%3Fb%3D1%26c%3D%2525").unwrap();
        assert_eq!(url, "http://api.example/a?b=1&c=%25");
        assert_eq!(purge_url("url=/a?b=1").unwrap(), "/a?b=1");
    }

    #[test]
    fn what_is_not_exactly_one_url_is_named() {
        for (query, named) in [
            ("", "url is missing"),
            ("url=", "url is blank"),
            ("url=%20", "url is blank"),
            ("url=/a&url=/b", "url stands twice"),
            ("url=/a?b=1&c=2", "no parameter \"c\""),
        ] {
            let detail = purge_url(query).unwrap_err();
            assert!(detail.contains(named), "{query}: {detail}");
        }
    }
}
