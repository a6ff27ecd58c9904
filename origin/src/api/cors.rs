//! Which other sites' pages may read answers. They get no cookies along: who is signed in there shows a bearer token.
//!
//! Where all may, answers do not depend on who asks, and the cache keeps one of each; else they vary with `Origin`.

use crate::config::Cors;
use axum::http::header::{
    ACCEPT, AGE, AUTHORIZATION, CONTENT_TYPE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LAST_MODIFIED, LINK, LOCATION, ORIGIN, RETRY_AFTER,
};
use axum::http::{HeaderName, HeaderValue, Method};
use std::time::Duration;
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
