//! Requests that a page of another site made a browser send. Pure.
//!
//! Browsers tell where an unsafe request comes from: by `Sec-Fetch-Site` where the connection is protected, else by `Origin`.
//! Neither means that no browser sent it, and then no cookie was added that its sender did not have. A request with
//! `Authorization` is nobody's forgery: browsers add none by themselves. This holds for the signed-out too, because signing
//! somebody in to another's account is a forgery as well.

use super::error::ApiError;
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, Method};
use url::Url;

const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// Refuses what a foreign page asked for. `public_url` is where people reach us, when that is known.
pub(super) fn check(
    method: &Method,
    fields: &HeaderMap,
    public_url: Option<&Url>,
) -> Result<(), ApiError> {
    if method.is_safe() || fields.contains_key(AUTHORIZATION) {
        return Ok(());
    }
    let site = fields.get(SEC_FETCH_SITE).map(|value| value.to_str());
    let is_own = match (site, fields.get(ORIGIN)) {
        // What the person typed or chose, not a page.
        (Some(Ok("same-origin" | "none")), _) | (None, None) => true,
        (Some(_), _) => false,
        (None, Some(origin)) => origin
            .to_str()
            .is_ok_and(|origin| is_own(origin, fields, public_url)),
    };
    is_own.then_some(()).ok_or(ApiError::CrossSite)
}

/// Our own origin: the public one, or the one that has the host which the request is for. The scheme is not compared then: what
/// stands before us may have ended TLS.
fn is_own(origin: &str, fields: &HeaderMap, public_url: Option<&Url>) -> bool {
    let Ok(origin) = Url::parse(origin) else {
        return false;
    };
    if public_url.is_some_and(|url| url.origin() == origin.origin()) {
        return true;
    }
    let Some(host) = fields.get(HOST).and_then(|host| host.to_str().ok()) else {
        return false;
    };
    let asked = Url::parse(&format!("{}://{host}", origin.scheme()));
    matches!(origin.scheme(), "http" | "https")
        && asked.is_ok_and(|asked| asked.origin() == origin.origin())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(method: &Method, fields: &[(&'static str, &'static str)]) -> bool {
        let mut map = HeaderMap::new();
        map.insert(HOST, "news.example:8000".parse().unwrap());
        for (name, value) in fields {
            map.insert(*name, value.parse().unwrap());
        }
        let public = Url::parse("https://public.example").unwrap();
        check(method, &map, Some(&public)).is_ok()
    }

    #[test]
    fn our_own_pages_and_programs_may_ask_for_anything() {
        for fields in [
            &[][..],
            &[("sec-fetch-site", "same-origin")],
            &[("sec-fetch-site", "none")],
            &[("origin", "http://news.example:8000")],
            &[("origin", "https://NEWS.example:8000")],
            &[("origin", "https://public.example")],
            // The stronger of the two counts: a proxy may have changed Host.
            &[
                ("sec-fetch-site", "same-origin"),
                ("origin", "https://outside.example"),
            ],
            &[
                ("authorization", "Bearer x"),
                ("sec-fetch-site", "cross-site"),
            ],
        ] {
            assert!(passes(&Method::POST, fields), "{fields:?}");
        }
    }

    #[test]
    fn foreign_pages_may_only_read() {
        for fields in [
            &[("sec-fetch-site", "cross-site")][..],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "SAME-ORIGIN")],
            &[
                ("sec-fetch-site", "cross-site"),
                ("origin", "http://news.example:8000"),
            ],
            &[("origin", "http://news.example")],
            &[("origin", "http://news.example:8001")],
            &[("origin", "http://evil.example")],
            &[("origin", "http://news.example:8000.evil.example")],
            &[("origin", "null")],
            &[("origin", "")],
            &[("origin", "file://news.example:8000")],
        ] {
            assert!(!passes(&Method::POST, fields), "{fields:?}");
            assert!(!passes(&Method::DELETE, fields), "{fields:?}");
            assert!(passes(&Method::GET, fields), "{fields:?}");
        }
    }
}
