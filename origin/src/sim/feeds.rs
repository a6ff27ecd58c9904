//! Feeds: one of each kind with validators, and two that no reader should swallow.

use super::reply::Reply;
use crate::article::hex;
use crate::source::sample::documents::{ATOM, JSON_FEED, RSS};
use axum::http::{HeaderMap, header};
use sha2::{Digest, Sha256};

/// More than any reader takes.
const ENDLESS_BYTES: usize = 8 * 1024 * 1024;

/// `/feeds/rss.xml`, `atom.xml`, `feed.json`; `endless.xml` is too large and `loop.xml` leads to itself.
pub(super) fn feed(path: &str, headers: &HeaderMap) -> Reply {
    match path {
        "/feeds/rss.xml" => document(RSS, "application/rss+xml; charset=utf-8", headers),
        "/feeds/atom.xml" => document(ATOM, "application/atom+xml; charset=utf-8", headers),
        "/feeds/feed.json" => document(JSON_FEED, "application/feed+json", headers),
        "/feeds/endless.xml" => Reply::new(200, "application/rss+xml", vec![b' '; ENDLESS_BYTES]),
        "/feeds/loop.xml" => {
            Reply::new(302, "text/html", "").with(header::LOCATION, "/feeds/loop.xml")
        }
        _ => Reply::new(
            404,
            "text/html",
            "<html><body><h1>404 Not Found</h1></body></html>",
        ),
    }
}

fn document(body: &'static [u8], content_type: &'static str, headers: &HeaderMap) -> Reply {
    let digest = hex(&Sha256::digest(body));
    let etag = format!("\"{}\"", digest.get(..16).unwrap_or_default());
    let known = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok());
    let reply = match known {
        Some(known) if known == etag => Reply::new(304, content_type, ""),
        _ => Reply::new(200, content_type, body),
    };
    reply
        .with(header::ETAG, &etag)
        .with(header::CACHE_CONTROL, "max-age=60")
}
