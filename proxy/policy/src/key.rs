//! Target URI to its canonical form, and that to the cache key.

use std::borrow::Borrow;
use std::fmt;
use std::net::Ipv6Addr;
use std::sync::Arc;

/// RFC 9110 §4.1 asks for at least 8000 octets; longer targets are passed, not stored.
const TARGET_BYTES_MAX: usize = 8192;

/// Which query parameters count on a route, and whether their order does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryRules {
    /// Parameters are sorted by name; order among equal names is kept.
    pub sort: bool,
    /// Only these reach the upstream.
    pub only: Option<Vec<String>>,
    /// These do not reach the upstream.
    pub ignore: Vec<String>,
    /// Parameters for trackers, which do not reach the upstream.
    pub tracking: TrackingParameters,
}

impl Default for QueryRules {
    fn default() -> Self {
        Self {
            sort: true,
            only: None,
            ignore: Vec::new(),
            tracking: TrackingParameters::default(),
        }
    }
}

/// Names and prefixes of parameters that say where a visitor came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackingParameters {
    names: Vec<String>,
    prefixes: Vec<String>,
}

const TRACKING: [&str; 20] = [
    "utm_*",
    "gclid",
    "gclsrc",
    "gbraid",
    "wbraid",
    "dclid",
    "fbclid",
    "msclkid",
    "yclid",
    "twclid",
    "ttclid",
    "igshid",
    "li_fat_id",
    "mc_cid",
    "mc_eid",
    "_ga",
    "_gl",
    "_hsenc",
    "_hsmi",
    "mkt_tok",
];

impl Default for TrackingParameters {
    fn default() -> Self {
        Self::new(TRACKING)
    }
}

impl TrackingParameters {
    /// None at all.
    pub fn none() -> Self {
        Self {
            names: Vec::new(),
            prefixes: Vec::new(),
        }
    }

    /// Names as they are; a trailing `*` makes a prefix.
    pub fn new<S: AsRef<str>>(list: impl IntoIterator<Item = S>) -> Self {
        let mut parameters = Self::none();
        for entry in list {
            match entry.as_ref().strip_suffix('*') {
                Some(prefix) => parameters.prefixes.push(prefix.to_owned()),
                None => parameters.names.push(entry.as_ref().to_owned()),
            }
        }
        parameters
    }

    fn contains(&self, name: &[u8]) -> bool {
        self.names.iter().any(|n| n.as_bytes() == name)
            || self.prefixes.iter().any(|p| name.starts_with(p.as_bytes()))
    }
}

/// An origin-form target in its one spelling: exactly what is sent upstream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CanonicalTarget(String);

impl CanonicalTarget {
    /// `path` or `path?query`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CanonicalTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a target has no canonical form, so that its request is passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unkeyable {
    /// A `.` or `..` segment, encoded or not: upstreams disagree on what it means.
    DotSegment,
    /// Not a path: absolute, authority or asterisk form, or a fragment.
    NotOriginForm,
    /// A broken escape, a control character or a byte outside ASCII.
    BadEncoding,
    /// Longer than is kept.
    TooLong,
}

/// The canonical form of an origin-form target under a route's query rules.
pub fn canonical_target(
    path_and_query: &str,
    query: &QueryRules,
) -> Result<CanonicalTarget, Unkeyable> {
    if path_and_query.len() > TARGET_BYTES_MAX {
        return Err(Unkeyable::TooLong);
    }
    if !path_and_query.starts_with('/') || path_and_query.contains('#') {
        return Err(Unkeyable::NotOriginForm);
    }
    let (path, raw_query) = match path_and_query.split_once('?') {
        Some((path, raw_query)) => (path, Some(raw_query)),
        None => (path_and_query, None),
    };
    let mut canonical = canonical_escapes(path)?;
    if has_dot_segment(&canonical) {
        return Err(Unkeyable::DotSegment);
    }
    let parameters = canonical_query(raw_query.unwrap_or_default(), query)?;
    if !parameters.is_empty() {
        canonical.push('?');
        canonical.push_str(&parameters.join("&"));
    }
    Ok(CanonicalTarget(canonical))
}

/// Escapes upper-cased, unreserved characters decoded except `%2E`.
fn canonical_escapes(text: &str) -> Result<String, Unkeyable> {
    let mut out = String::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            if !byte.is_ascii_graphic() {
                return Err(Unkeyable::BadEncoding);
            }
            out.push(char::from(byte));
            continue;
        }
        let decoded = escape(bytes.next(), bytes.next()).ok_or(Unkeyable::BadEncoding)?;
        if is_unreserved(decoded) && decoded != b'.' {
            out.push(char::from(decoded));
        } else {
            out.push_str(&format!("%{decoded:02X}"));
        }
    }
    Ok(out)
}

fn escape(high: Option<u8>, low: Option<u8>) -> Option<u8> {
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// All escapes decoded; `text` is canonical, so its escapes are whole.
fn decode(text: &str, plus_is_space: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => out.extend(escape(bytes.next(), bytes.next())),
            b'+' if plus_is_space => out.push(b' '),
            _ => out.push(byte),
        }
    }
    out
}

/// Also behind an escaped slash, a backslash, or before path parameters (`..;x`), because some
/// servers resolve those too.
fn has_dot_segment(path: &str) -> bool {
    decode(path, false)
        .split(|b| matches!(b, b'/' | b'\\'))
        .map(|segment| segment.split(|&b| b == b';').next().unwrap_or_default())
        .any(|segment| matches!(segment, b"." | b".."))
}

fn canonical_query(raw: &str, rules: &QueryRules) -> Result<Vec<String>, Unkeyable> {
    let mut parameters = Vec::new();
    for piece in raw.split('&').filter(|piece| !piece.is_empty()) {
        let piece = canonical_escapes(piece)?;
        let name = decode(piece.split('=').next().unwrap_or_default(), true);
        if counts(&name, rules) {
            parameters.push((name, piece));
        }
    }
    if rules.sort {
        parameters.sort_by(|(a, _), (b, _)| a.cmp(b));
    }
    Ok(parameters.into_iter().map(|(_, piece)| piece).collect())
}

fn counts(name: &[u8], rules: &QueryRules) -> bool {
    let listed = |list: &[String]| list.iter().any(|n| n.as_bytes() == name);
    rules.only.as_ref().is_none_or(|only| listed(only))
        && !listed(&rules.ignore)
        && !rules.tracking.contains(name)
}

/// An authority that names no host, or names it ambiguously.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BadAuthority;

impl fmt::Display for BadAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a host name or address with an optional port")
    }
}

impl std::error::Error for BadAuthority {}

/// Lower-cased, without the scheme's default port.
pub fn canonical_authority(scheme: &str, authority: &str) -> Result<String, BadAuthority> {
    let (host, port) = split_port(authority)?;
    let host = host.to_ascii_lowercase();
    let Some(port) = port else { return Ok(host) };
    let default = match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    };
    Ok(if Some(port) == default {
        host
    } else {
        format!("{host}:{port}")
    })
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), BadAuthority> {
    let end = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']').ok_or(BadAuthority)? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, rest) = authority.split_at_checked(end).ok_or(BadAuthority)?;
    if !is_host(host) {
        return Err(BadAuthority);
    }
    match rest.strip_prefix(':') {
        None if rest.is_empty() => Ok((host, None)),
        None => Err(BadAuthority),
        Some("") => Ok((host, None)),
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => {
            Ok((host, Some(port.parse().map_err(|_| BadAuthority)?)))
        }
        Some(_) => Err(BadAuthority),
    }
}

fn is_host(host: &str) -> bool {
    if let Some(inner) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().is_ok();
    }
    (1..=255).contains(&host.len()) && host.bytes().all(is_unreserved)
}

/// What a stored response is found by. The encoding is injective, so equal keys mean equal parts.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CacheKey(Arc<[u8]>);

impl CacheKey {
    /// Builds the key of one target; every part stands behind its length.
    pub fn new(
        namespace: &str,
        scheme: &str,
        authority: &str,
        target: &CanonicalTarget,
        identity: Option<&[u8]>,
        keyed: &[(&str, Option<&[u8]>)],
    ) -> Self {
        let mut bytes = Vec::with_capacity(64 + target.0.len());
        for part in [namespace, scheme, authority, target.as_str()] {
            push(&mut bytes, Some(part.as_bytes()));
        }
        push(&mut bytes, identity);
        for (name, value) in keyed {
            push(&mut bytes, Some(name.as_bytes()));
            push(&mut bytes, *value);
        }
        Self(bytes.into())
    }

    /// The encoded key.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// A key that was encoded before.
    pub fn from_bytes(bytes: Arc<[u8]>) -> Self {
        Self(bytes)
    }
}

/// Length and bytes; an absent part has a length that no present part can have.
pub(crate) fn push(bytes: &mut Vec<u8>, part: Option<&[u8]>) {
    let Some(part) = part else {
        bytes.extend(u32::MAX.to_be_bytes());
        return;
    };
    let length = u32::try_from(part.len()).unwrap_or(u32::MAX - 1);
    bytes.extend(length.to_be_bytes());
    bytes.extend(part);
}

impl Borrow<[u8]> for CacheKey {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CacheKey({})", self.0.escape_ascii())
    }
}
