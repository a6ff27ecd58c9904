//! Which other sites' pages may read answers. They get no cookies along: who is signed in there shows a bearer token.
//!
//! Where all may, answers do not depend on who asks, and the cache keeps one of each; else they vary with `Origin`.

use crate::config::Cors;
use axum::body::Body;
use axum::http::header::{
    ACCEPT, AGE, AUTHORIZATION, CONTENT_TYPE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LAST_MODIFIED, LINK, LOCATION, ORIGIN, RETRY_AFTER,
};
use axum::http::{HeaderName, HeaderValue, Method, Request, request};
use axum::response::Response;
use std::convert::Infallible;
use std::time::Duration;
use tower::{Layer, ServiceExt, service_fn};
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

/// How long a browser need not ask again whether it may; the most that any of them believes.
const MAX_AGE: Duration = Duration::from_secs(2 * 3600);

pub(super) fn layer(cors: &Cors) -> CorsLayer {
    let named = HeaderName::from_static;
    let layer = CorsLayer::new()
        .allow_methods([
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::DELETE,
        ])
        .allow_headers([
            ACCEPT,
            AUTHORIZATION,
            CONTENT_TYPE,
            IF_MODIFIED_SINCE,
            IF_NONE_MATCH,
            named("idempotency-key"),
            named("traceparent"),
            named("x-request-id"),
        ])
        .expose_headers([
            AGE,
            ETAG,
            LAST_MODIFIED,
            LINK,
            LOCATION,
            RETRY_AFTER,
            named("cache-status"),
            named("server-timing"),
            named("x-cache"),
            named("x-process-time"),
            named("x-request-id"),
        ])
        .max_age(MAX_AGE);
    match cors {
        Cors::Anybody => layer.allow_origin(Any).vary([]),
        Cors::These(origins) => {
            // They were read as URLs: visible ASCII.
            let origins = origins
                .iter()
                .filter_map(|origin| HeaderValue::from_str(origin).ok());
            layer
                .allow_origin(AllowOrigin::list(origins))
                .vary([ORIGIN])
        }
    }
}

/// An answer that was given before the routes were asked, with the fields that those would have given it: a page must be able to read
/// why it was refused. What asks beforehand whether it may is told so: it is the request itself that is refused.
pub(super) async fn readable(
    layer: Option<&CorsLayer>,
    head: request::Parts,
    answer: Response,
) -> Response {
    let Some(layer) = layer else {
        return answer;
    };
    let mut answer = Some(answer);
    let refusing = service_fn(move |_: Request<Body>| {
        let answer = answer.take().unwrap_or_default();
        async move { Ok::<_, Infallible>(answer) }
    });
    let request = Request::from_parts(head, Body::empty());
    match layer.layer(refusing).oneshot(request).await {
        Ok(answer) => answer,
        Err(never) => match never {},
    }
}
