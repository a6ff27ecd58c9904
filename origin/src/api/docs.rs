//! `/openapi.json`, and `/docs`, which is the same made readable: one page without scripts and without anything from elsewhere.

use super::caching::Shared;
use super::error::{ApiError, CODES};
use super::params;
use axum::extract::RawQuery;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::Response;
use serde_json::Value;
use std::fmt::Write;
use std::sync::LazyLock;

const KEPT_SECS: u64 = 3600;
const DOCUMENT: &str = include_str!("openapi.json");

static OPENAPI: LazyLock<Value> = LazyLock::new(|| {
    let mut document: Value = serde_json::from_str(DOCUMENT).unwrap_or_default();
    if let Some(version) = document.pointer_mut("/info/version") {
        *version = env!("CARGO_PKG_VERSION").into();
    }
    document
});
static PAGE: LazyLock<String> = LazyLock::new(|| html(&OPENAPI));

pub(super) async fn openapi(RawQuery(query): RawQuery) -> Result<Response, ApiError> {
    params::none(query.as_deref()).map_err(ApiError::Parameters)?;
    Shared::for_secs(KEPT_SECS).json(&*OPENAPI)
}

pub(super) async fn page(RawQuery(query): RawQuery) -> Result<Response, ApiError> {
    params::none(query.as_deref()).map_err(ApiError::Parameters)?;
    let policy = "default-src 'none'; style-src 'unsafe-inline'";
    let fields = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, policy),
    ];
    Ok(Shared::for_secs(KEPT_SECS).dress((fields, PAGE.as_str())))
}

const HEAD: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
<meta name=\"viewport\" content=\"width=device-width\"><title>Larder origin</title><style>\
body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#222}\
h2{margin-top:2.5rem;border-top:1px solid #ddd;padding-top:1rem}code{background:#f3f3f3;padding:.1em .3em}\
td,th{text-align:left;vertical-align:top;padding:.3rem 1rem .3rem 0}:target{background:#fff4c2}\
@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}code{background:#333}:target{background:#443a00}}\
</style>";

fn html(document: &Value) -> String {
    let text = |value: &Value, pointer: &str| {
        escape(value.pointer(pointer).and_then(Value::as_str).unwrap_or(""))
    };
    let mut page = String::from(HEAD);
    // Writing to a String cannot fail.
    let _ = write!(
        page,
        "<h1>{}</h1><p>{}</p>",
        text(document, "/info/title"),
        text(document, "/info/description")
    );
    page.push_str("<p>For programs: <a href=\"/openapi.json\"><code>/openapi.json</code></a></p>");
    for (path, item) in document
        .get("paths")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        for (method, operation) in item.as_object().into_iter().flatten() {
            let _ = write!(
                page,
                "<h2><code>{} {}</code></h2><p>{}</p>",
                escape(&method.to_uppercase()),
                escape(path),
                text(operation, "/description")
            );
            parameters(&mut page, operation);
        }
    }
    page.push_str("<h2>Failures</h2><p>All are <code>application/problem+json</code> with a stable <code>code</code>:</p><table>");
    for (code, meaning) in CODES {
        let _ = write!(
            page,
            "<tr id=\"{code}\"><td><code>{code}</code><td>{}",
            escape(meaning)
        );
    }
    page.push_str("</table></html>");
    page
}

fn parameters(page: &mut String, operation: &Value) {
    let Some(parameters) = operation.get("parameters").and_then(Value::as_array) else {
        return;
    };
    page.push_str("<table><tr><th>Parameter<th>Meaning");
    for parameter in parameters {
        let text = |name: &str| escape(parameter.get(name).and_then(Value::as_str).unwrap_or(""));
        let _ = write!(
            page,
            "<tr><td><code>{}</code><td>{}",
            text("name"),
            text("description")
        );
    }
    page.push_str("</table>");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::article::Category;
    use crate::ingest::Failure;

    fn words(pointer: &str) -> Vec<String> {
        serde_json::from_value(
            OPENAPI
                .pointer(pointer)
                .unwrap_or_else(|| panic!("no {pointer}"))
                .clone(),
        )
        .unwrap()
    }

    #[test]
    fn the_documented_words_are_the_real_ones() {
        assert_eq!(
            words("/components/schemas/Category/enum"),
            Category::ALL.map(Category::as_str)
        );
        assert_eq!(
            words("/components/schemas/SourceReport/properties/code/enum"),
            Failure::ALL.map(Failure::as_str)
        );
        let codes: Vec<&str> = CODES.iter().map(|(code, _)| *code).collect();
        assert_eq!(
            words("/components/schemas/Problem/properties/code/enum"),
            codes
        );
    }

    #[test]
    fn the_page_shows_every_path_and_code_and_loads_nothing() {
        let page = html(&OPENAPI);
        for (path, item) in OPENAPI["paths"].as_object().unwrap() {
            for method in item.as_object().unwrap().keys() {
                let heading = format!(">{} {path}<", method.to_uppercase());
                assert!(page.contains(&heading), "{heading}");
            }
        }
        for (code, _) in CODES {
            assert!(page.contains(&format!("id=\"{code}\"")), "{code}");
        }
        assert!(!page.contains("src=") && !page.contains("<script") && !page.contains("://"));
    }
}
