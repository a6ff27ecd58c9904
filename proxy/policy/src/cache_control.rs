//! `Cache-Control` to typed directives (RFC 9111 §5.2).
//!
//! Total: bad input degrades, never fails. Of a response, an unreadable argument is read in the most
//! restrictive way: no number means stale, no field name means the whole response. Of a request,
//! whose directives are wishes (§5.2.1), it is dropped.

use http::HeaderMap;
use http::header::{CACHE_CONTROL, HeaderName, PRAGMA};

use crate::fields::Fields;

/// The largest delta-seconds: §1.2.2 lets greater values count as 2^31.
pub(crate) const SECONDS_MAX: u64 = 1 << 31;

/// How stale an answer the client accepts (§5.2.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MaxStale {
    /// Nothing said.
    #[default]
    No,
    /// Any staleness.
    Any,
    /// Up to so many seconds past freshness.
    Seconds(u64),
}

/// The request's directives (§5.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct RequestDirectives {
    /// §5.2.1.4; also `Pragma: no-cache` without `Cache-Control` (§5.4).
    pub no_cache: bool,
    /// §5.2.1.5.
    pub no_store: bool,
    /// §5.2.1.7.
    pub only_if_cached: bool,
    /// §5.2.1.1.
    pub max_age_s: Option<u64>,
    /// §5.2.1.3.
    pub min_fresh_s: Option<u64>,
    /// §5.2.1.2.
    pub max_stale: MaxStale,
}

/// A directive that may be limited to named fields (§5.2.2.4, §5.2.2.7).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Qualified {
    #[default]
    Absent,
    Whole,
    Fields(Vec<HeaderName>),
}

/// The response's directives (§5.2.2; RFC 5861; RFC 8246).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ResponseDirectives {
    pub(crate) no_store: bool,
    pub(crate) no_cache: Qualified,
    pub(crate) private: Qualified,
    pub(crate) public: bool,
    pub(crate) must_revalidate: bool,
    pub(crate) proxy_revalidate: bool,
    pub(crate) must_understand: bool,
    pub(crate) immutable: bool,
    pub(crate) max_age_s: Option<u64>,
    pub(crate) s_maxage_s: Option<u64>,
    pub(crate) stale_while_revalidate_s: Option<u64>,
    pub(crate) stale_if_error_s: Option<u64>,
}

/// One directive: its name lower-cased, and its argument without quotes.
struct Directive {
    name: String,
    value: Option<Vec<u8>>,
}

/// Splits a field line at the commas outside its quoted strings, without the white space around.
///
/// A quote that is never closed begins no quoted string (RFC 9110 §5.6.4), so from there on every
/// comma counts: nothing restrictive hides behind it, and no line is read more than twice.
pub(crate) fn list_members(line: &[u8]) -> Vec<&[u8]> {
    members(line).collect()
}

/// The same, one by one.
pub(crate) fn members(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    Members {
        rest: Some(line),
        quotes_count: true,
    }
}

struct Members<'a> {
    rest: Option<&'a [u8]>,
    quotes_count: bool,
}

impl<'a> Iterator for Members<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        let end = match self.quotes_count.then(|| member_end(rest)) {
            Some(Ok(end)) => end,
            Some(Err(Unclosed)) | None => {
                self.quotes_count = false;
                rest.iter().position(|&byte| byte == b',')
            }
        };
        let (member, tail) = rest
            .split_at_checked(end.unwrap_or(rest.len()))
            .unwrap_or((rest, &[]));
        self.rest = tail.split_first().map(|(_, after)| after);
        Some(member.trim_ascii())
    }
}

/// A quote without its partner.
struct Unclosed;

/// Where the first member ends with a comma, if it does not end with the line.
fn member_end(line: &[u8]) -> Result<Option<usize>, Unclosed> {
    let (mut quoted, mut escaped) = (false, false);
    for (i, &byte) in line.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return Ok(Some(i)),
            _ => {}
        }
    }
    if quoted { Err(Unclosed) } else { Ok(None) }
}

fn directives(headers: &impl Fields, name: &HeaderName) -> impl Iterator<Item = Directive> {
    let lines = headers.lines(name);
    lines.flat_map(members).filter_map(directive)
}

fn directive(member: &[u8]) -> Option<Directive> {
    let mut halves = member.splitn(2, |&b| b == b'=');
    let name = halves.next().unwrap_or_default();
    if name.is_empty() {
        return None;
    }
    Some(Directive {
        name: String::from_utf8_lossy(name).to_ascii_lowercase(),
        value: halves.next().map(unquote),
    })
}

/// The content of a quoted string; anything else as it is (§5.2: both forms are accepted).
fn unquote(value: &[u8]) -> Vec<u8> {
    let inner = value
        .strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""));
    let Some(inner) = inner else {
        return value.to_vec();
    };
    let mut out = Vec::with_capacity(inner.len());
    let mut escaped = false;
    for &byte in inner {
        if byte == b'\\' && !escaped {
            escaped = true;
        } else {
            escaped = false;
            out.push(byte);
        }
    }
    out
}

/// Digits only; §1.2.2: saturates instead of overflowing.
pub(crate) fn delta_seconds(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(value.iter().fold(0, |sum: u64, digit| {
        (sum * 10 + u64::from(digit - b'0')).min(SECONDS_MAX)
    }))
}

/// §4.2.1: with several values the first one counts; an invalid one means stale.
fn first_seconds(slot: &mut Option<u64>, value: Option<&[u8]>) {
    slot.get_or_insert_with(|| value.and_then(delta_seconds).unwrap_or(0));
}

fn qualify(slot: &mut Qualified, value: Option<&[u8]>) {
    let names = value.map(|v| {
        v.split(|&b| b == b',')
            .map(|name| HeaderName::from_bytes(name.trim_ascii()))
            .collect::<Result<Vec<_>, _>>()
    });
    match (&mut *slot, names) {
        (Qualified::Whole, _) => {}
        (Qualified::Fields(old), Some(Ok(new))) => old.extend(new),
        (Qualified::Absent, Some(Ok(new))) => *slot = Qualified::Fields(new),
        // Unqualified, or an argument that names no fields: the most restrictive reading.
        _ => *slot = Qualified::Whole,
    }
}

impl ResponseDirectives {
    /// The directives of every `Cache-Control` line together.
    pub(crate) fn parse(headers: &HeaderMap) -> Self {
        let mut parsed = Self::default();
        for Directive { name, value } in directives(headers, &CACHE_CONTROL) {
            parsed.add(&name, value.as_deref());
        }
        parsed
    }

    pub(crate) fn add(&mut self, name: &str, value: Option<&[u8]>) {
        match name {
            "no-store" => self.no_store = true,
            "no-cache" => qualify(&mut self.no_cache, value),
            "private" => qualify(&mut self.private, value),
            "public" => self.public = true,
            "must-revalidate" => self.must_revalidate = true,
            "proxy-revalidate" => self.proxy_revalidate = true,
            "must-understand" => self.must_understand = true,
            "immutable" => self.immutable = true,
            "max-age" => first_seconds(&mut self.max_age_s, value),
            "s-maxage" => first_seconds(&mut self.s_maxage_s, value),
            "stale-while-revalidate" => first_seconds(&mut self.stale_while_revalidate_s, value),
            "stale-if-error" => first_seconds(&mut self.stale_if_error_s, value),
            _ => {} // §5.2.3: unknown directives are ignored
        }
    }

    /// §4.2.4: directives that forbid a shared cache to serve this response stale.
    pub(crate) fn forbids_stale(&self) -> bool {
        self.must_revalidate
            || self.proxy_revalidate
            || self.s_maxage_s.is_some()
            || self.no_cache == Qualified::Whole
    }
}

impl RequestDirectives {
    /// The directives of a request. All are wishes (§5.2.1), so an invalid argument is dropped.
    pub fn parse(headers: &impl Fields) -> Self {
        let mut parsed = Self::default();
        for Directive { name, value } in directives(headers, &CACHE_CONTROL) {
            parsed.add(&name, value.as_deref());
        }
        // §5.4: Pragma counts only where Cache-Control is absent.
        if !headers.has(&CACHE_CONTROL) {
            parsed.no_cache = directives(headers, &PRAGMA).any(|d| d.name == "no-cache");
        }
        parsed
    }

    fn add(&mut self, name: &str, value: Option<&[u8]>) {
        let seconds = value.and_then(delta_seconds);
        match name {
            "no-cache" => self.no_cache = true,
            "no-store" => self.no_store = true,
            "only-if-cached" => self.only_if_cached = true,
            "max-age" => self.max_age_s = self.max_age_s.or(seconds),
            "min-fresh" => self.min_fresh_s = self.min_fresh_s.or(seconds),
            "max-stale" if self.max_stale == MaxStale::No => {
                self.max_stale = match (value, seconds) {
                    (None, _) => MaxStale::Any,
                    (Some(_), Some(s)) => MaxStale::Seconds(s),
                    (Some(_), None) => MaxStale::No,
                };
            }
            _ => {}
        }
    }
}
