//! Style and script of the pages, within the program. Their addresses hold a digest of what they are, so that they are kept for ever.

use super::super::error::ApiError;
use axum::extract::Path;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

const STYLE: &str = include_str!("../../../assets/page.css");
const SCRIPT: &str = include_str!("../../../assets/page.js");

/// Where they are.
#[derive(Debug)]
pub(super) struct Assets {
    pub(super) style: String,
    pub(super) script: String,
}

pub(super) static ASSETS: LazyLock<Assets> = LazyLock::new(|| Assets {
    style: address(STYLE, "css"),
    script: address(SCRIPT, "js"),
});

fn address(text: &str, kind: &str) -> String {
    let digest: String = Sha256::digest(text.as_bytes())
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("/assets/page-{digest}.{kind}")
}

/// One of them. A page that a cache kept over a change of ours still finds today's, kept for a moment only.
pub(in crate::api) async fn asset(Path(name): Path<String>) -> Result<Response, ApiError> {
    let (text, kind, own) = match name.rsplit_once('.') {
        Some((_, "css")) => (STYLE, "text/css; charset=utf-8", &ASSETS.style),
        Some((_, "js")) => (SCRIPT, "text/javascript; charset=utf-8", &ASSETS.script),
        _ => return Err(ApiError::NotFound),
    };
    if !name.starts_with("page-") {
        return Err(ApiError::NotFound);
    }
    let kept = match own.ends_with(&name) {
        true => "public, max-age=31536000, immutable",
        false => "public, max-age=60",
    };
    let fields = [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, kept),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    let fields = fields.map(|(name, value)| (name, HeaderValue::from_static(value)));
    Ok((fields, text).into_response())
}
