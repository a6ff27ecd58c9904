//! AMP pages and redirectors: the article's own address stands openly inside theirs.

use url::Url;

/// The address inside this one, when it is a wrapper: Google's redirector and AMP viewer, and the AMP cache.
pub(super) fn wrapped(url: &Url) -> Option<Url> {
    let host = url.host_str()?;
    if host.ends_with(".cdn.ampproject.org") {
        return cached(url.path());
    }
    if !is_google(host) {
        return None;
    }
    if url.path() == "/url" {
        return ["url", "q"]
            .into_iter()
            .find_map(|key| url.query_pairs().find(|(name, _)| name == key))
            .and_then(|(_, target)| Url::parse(&target).ok());
    }
    let inner = url.path().strip_prefix("/amp/")?;
    behind_scheme_mark(inner, url.query())
}

/// `google.com` and its national forms, with or without `www.`; not every host that ends in these letters.
fn is_google(host: &str) -> bool {
    let host = host.strip_prefix("www.").unwrap_or(host);
    host.strip_prefix("google.")
        .is_some_and(|rest| rest.len() <= 6)
}

/// `/c/s/HOST/PATH`: a content type (c, v, i, wp/...), then `s` for https.
fn cached(path: &str) -> Option<Url> {
    let inner = ["/c/", "/v/", "/wp/c/"]
        .into_iter()
        .find_map(|kind| path.strip_prefix(kind))?;
    behind_scheme_mark(inner, None)
}

fn behind_scheme_mark(inner: &str, query: Option<&str>) -> Option<Url> {
    let (scheme, rest) = match inner.strip_prefix("s/") {
        Some(rest) => ("https", rest),
        None => ("http", inner),
    };
    // Something that is not a host is not a wrapped address.
    let host = rest.split('/').next()?;
    if !host.contains('.') {
        return None;
    }
    let mark = if query.is_some() { "?" } else { "" };
    Url::parse(&format!(
        "{scheme}://{rest}{mark}{}",
        query.unwrap_or_default()
    ))
    .ok()
}

/// The path of the plain page: without a trailing `/amp`, and `.html` for `.amp.html`.
pub(super) fn without_marks(path: &str) -> String {
    let mut path = path.trim_end_matches('/');
    while let Some(rest) = path.strip_suffix("/amp").filter(|rest| !rest.is_empty()) {
        path = rest.trim_end_matches('/');
    }
    let mut path = path.to_owned();
    while let Some(rest) = path
        .strip_suffix(".amp.html")
        .or_else(|| path.strip_suffix(".amp"))
        .filter(|rest| !rest.ends_with('/'))
    {
        let html = if path.ends_with(".html") { ".html" } else { "" };
        path = format!("{rest}{html}");
    }
    path
}
