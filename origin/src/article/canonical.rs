//! Which addresses are the same article: the spellings that differ only in scheme, host prefix, AMP wrapping, trailing
//! slash, order of the query or tracking keys fold into one.
//!
//! Must stay true: folding is idempotent, and keys that name the article (`id`, `v`, `p`, ...) are never dropped.
//! Left out: what only a request could tell (redirects, `<link rel=canonical>`, opaque news.google.com links).

mod amp;
mod query;

use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::fmt;
use url::Url;

/// Longer addresses are refused: browsers and proxies stop at 2 to 8 KiB, and only attacks and accidents are longer.
const URL_BYTES_MAX: usize = 4_096;
/// A wrapper inside a wrapper inside a wrapper is no accident.
const UNWRAPS_MAX: usize = 4;

/// The identity of an article within its source: see the module for what is folded.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CanonicalUrl(String);

/// Why an address can't be that of an article.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlFault {
    #[error("empty")]
    Empty,
    #[error("longer than {URL_BYTES_MAX} bytes")]
    TooLong,
    #[error("not a URL")]
    NotAUrl,
    #[error("neither http nor https")]
    NotWeb,
}

impl CanonicalUrl {
    /// Folds an address, resolved against `base` (its document's address) when it is relative.
    pub fn parse(raw: &str, base: Option<&Url>) -> Result<Self, UrlFault> {
        Self::resolve(raw, base).map(|(_, canonical)| canonical)
    }

    /// The absolute address to send a reader to, as given, together with its folded form.
    pub fn resolve(raw: &str, base: Option<&Url>) -> Result<(Url, Self), UrlFault> {
        let raw = raw.trim();
        if raw.is_empty() {
            return Err(UrlFault::Empty);
        }
        if raw.len() > URL_BYTES_MAX {
            return Err(UrlFault::TooLong);
        }
        let mut url = Url::options()
            .base_url(base)
            .parse(&with_scheme(raw, base))
            .map_err(|_| UrlFault::NotAUrl)?;
        if !is_web(&url) {
            return Err(UrlFault::NotWeb);
        }
        // Relative links inherit what opens their document to us, and `bank.example@a.example` deceives. Neither can fail here.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        // Escaping can triple the length, and the base adds its own.
        if url.as_str().len() > URL_BYTES_MAX {
            return Err(UrlFault::TooLong);
        }
        let canonical = Self(fold(&unwrap(url.clone()), base));
        Ok((url, canonical))
    }

    /// The folded address.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A fixed-length key for indexes, 64 hex digits, the same on every machine and in every version. SHA-256 rather
    /// than a shorter or weaker hash, because strangers choose the addresses: nobody shall make two that meet.
    pub fn url_hash(&self) -> String {
        hex(&Sha256::digest(self.0.as_bytes()))
    }
}

impl fmt::Display for CanonicalUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
            // Writing to a String can't fail.
            let _ = write!(out, "{byte:02x}");
            out
        })
}

/// Some leave the scheme out, and mean the web.
fn with_scheme<'a>(raw: &'a str, base: Option<&Url>) -> Cow<'a, str> {
    if raw
        .get(..4)
        .is_some_and(|head| head.eq_ignore_ascii_case("www."))
    {
        format!("https://{raw}").into()
    } else if base.is_none() && raw.starts_with("//") {
        format!("https:{raw}").into()
    } else {
        raw.into()
    }
}

fn is_web(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(|host| !host.is_empty())
}

/// Takes the address out of redirectors and AMP caches that carry it openly.
fn unwrap(mut url: Url) -> Url {
    for _ in 0..UNWRAPS_MAX {
        match amp::wrapped(&url).filter(is_web) {
            Some(inner) => url = inner,
            None => break,
        }
    }
    url
}

/// http and https are one; user info, default port and fragment are nobody's identity, but for fragments that are paths: what some
/// pages show is all behind the `#`.
fn fold(url: &Url, site: Option<&Url>) -> String {
    let host = bare_host(url.host_str().unwrap_or_default());
    let port = match url.port() {
        // The other scheme's default, written out: http://x:443 is https in all but name.
        Some(80 | 443) | None => String::new(),
        Some(port) => format!(":{port}"),
    };
    let path = unescape_unreserved(&amp::without_marks(url.path()));
    let path = path.trim_end_matches('/');
    let query = query::fold(url, site.and_then(Url::host_str).map(bare_host));
    // The root keeps its slash, so that the folded form is a URL in its own normal form.
    let path = if path.is_empty() { "/" } else { path };
    let mark = if query.is_empty() { "" } else { "?" };
    let fragment = url.fragment().filter(|part| part.starts_with(['/', '!']));
    let (hash, fragment) = fragment.map_or(("", ""), |part| ("#", part));
    format!("https://{host}{port}{path}{mark}{query}{hash}{fragment}")
}

/// The host without the prefixes that name a way of serving it, as long as a domain is left.
fn bare_host(host: &str) -> &str {
    let mut host = host.trim_end_matches('.');
    while let Some(rest) = ["www.", "m.", "amp."]
        .into_iter()
        .find_map(|prefix| host.strip_prefix(prefix))
    {
        if !rest.contains('.') {
            break;
        }
        host = rest;
    }
    host
}

/// RFC 3986 §6.2.2.2: `%7E` and `~` are one; other escapes keep their meaning and get upper-case digits.
fn unescape_unreserved(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        match after
            .get(..2)
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
        {
            Some(digits) => {
                match u8::from_str_radix(digits, 16).map(char::from) {
                    Ok(c) if c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~') => {
                        out.push(c)
                    }
                    _ => {
                        out.push('%');
                        out.push_str(&digits.to_ascii_uppercase());
                    }
                }
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                // A lone percent sign: written as what it stands for, so that what follows can't join it later.
                out.push_str("%25");
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests;
