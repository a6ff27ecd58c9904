//! A request target in its one spelling.
//!
//! What is keyed is what is forwarded: the canonical form is both part of the key and the target
//! sent upstream. So folding two spellings can only merge what the upstream can't tell apart any
//! more, and whatever isn't folded merely costs a second entry. Two things follow. The form must be
//! a fixed point, or the upstream's idea of it could drift from ours. And parameters that a server
//! decodes to one name keep their order, since lists are sent that way.
//!
//! Left out: resolving dot segments, folding slashes, splitting at `;`, decoding `%2F`. Servers
//! disagree on each of them, and such a disagreement is how one page gets stored as another.

use std::fmt;
use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

/// RFC 9110 §4.1 asks for at least 8000 octets; longer targets are passed, not stored.
const TARGET_BYTES_MAX: usize = 8192;

/// Which query parameters count on a route, and whether their order does. Names are compared as
/// servers decode them.
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

impl QueryRules {
    fn counts(&self, name: &[u8]) -> bool {
        let listed = |list: &[String]| list.iter().any(|n| n.as_bytes() == name);
        self.only.as_ref().is_none_or(|only| listed(only))
            && !listed(&self.ignore)
            && !self.tracking.contains(name)
    }
}

/// Names and prefixes of parameters that say where a visitor came from. Cheap to clone: every fetch holds its route's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackingParameters {
    names: Arc<[String]>,
    prefixes: Arc<[String]>,
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
        static DEFAULT: LazyLock<TrackingParameters> =
            LazyLock::new(|| TrackingParameters::new(TRACKING));
        DEFAULT.clone()
    }
}

impl TrackingParameters {
    /// None at all.
    pub fn none() -> Self {
        Self::new::<&str>([])
    }

    /// Names as they are; a trailing `*` makes a prefix.
    pub fn new<S: AsRef<str>>(list: impl IntoIterator<Item = S>) -> Self {
        let (mut names, mut prefixes) = (Vec::new(), Vec::new());
        for entry in list {
            match entry.as_ref().strip_suffix('*') {
                Some(prefix) => prefixes.push(prefix.to_owned()),
                None => names.push(entry.as_ref().to_owned()),
            }
        }
        Self {
            names: names.into(),
            prefixes: prefixes.into(),
        }
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
    // RFC 9112 §3.2.1: origin form is a path and a query; a fragment is never sent.
    if !path_and_query.starts_with('/') || path_and_query.contains('#') {
        return Err(Unkeyable::NotOriginForm);
    }
    let (path, raw_query) = path_and_query
        .split_once('?')
        .unwrap_or((path_and_query, ""));
    let mut canonical = String::with_capacity(path_and_query.len());
    push_escaped(&mut canonical, path)?;
    if has_dot_segment(&canonical) {
        return Err(Unkeyable::DotSegment);
    }
    push_query(&mut canonical, raw_query, query)?;
    Ok(CanonicalTarget(canonical))
}

/// Is this target, at a glance, its own canonical form? So are most; it may be false for one that is, too. Nothing is allocated.
pub fn is_canonical_target(path_and_query: &str, rules: &QueryRules) -> bool {
    if path_and_query.len() > TARGET_BYTES_MAX || !path_and_query.starts_with('/') {
        return false;
    }
    let bytes = path_and_query.as_bytes();
    match bytes.iter().position(|&byte| byte == b'?') {
        None => is_canonical_path(bytes),
        Some(at) => {
            let (path, query) = bytes.split_at_checked(at).unwrap_or_default();
            is_canonical_path(path) && is_canonical_query(query.get(1..).unwrap_or_default(), rules)
        }
    }
}

/// Without escapes, and without anything that looks like a dot segment.
fn is_canonical_path(path: &[u8]) -> bool {
    let mut segment_begins = false;
    path.iter().all(|&byte| {
        let dot_first = segment_begins && byte == b'.';
        segment_begins = byte == b'/';
        is_plain(byte) && !dot_first
    })
}

/// Every parameter counts, and they are in order. Names have no escapes, and values only those that must be.
fn is_canonical_query(query: &[u8], rules: &QueryRules) -> bool {
    let mut before: &[u8] = b"";
    query.split(|&byte| byte == b'&').all(|parameter| {
        let at = parameter.iter().position(|&byte| byte == b'=');
        let (name, value) = parameter
            .split_at_checked(at.unwrap_or(parameter.len()))
            .unwrap_or_default();
        let in_order = !rules.sort || before <= name;
        before = name;
        !parameter.is_empty()
            && in_order
            // A plus is a space there, which another spelling may be, too.
            && name.iter().all(|&byte| is_plain(byte) && byte != b'+')
            && is_canonical_value(value)
            && rules.counts(name)
    })
}

fn is_canonical_value(value: &[u8]) -> bool {
    let mut bytes = value.iter();
    while let Some(&byte) = bytes.next() {
        let sound = match byte {
            b'%' => match (bytes.next(), bytes.next()) {
                (Some(&high), Some(&low)) => {
                    let digits = [high, low];
                    !digits.iter().any(u8::is_ascii_lowercase)
                        && escape(Some(high), Some(low))
                            .is_some_and(|decoded| !is_unreserved(decoded))
                }
                _ => false,
            },
            byte => is_plain(byte),
        };
        if !sound {
            return false;
        }
    }
    true
}

/// RFC 3986 §3.3, §3.4: what a path or a query may hold as it is.
fn is_plain(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(
            byte,
            b'/' | b'?'
                | b':'
                | b'@'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
        )
}

/// Escapes upper-cased and unreserved characters decoded (RFC 3986 §6.2.2), except `%2E`, which
/// would make a dot segment of what wasn't one.
fn push_escaped(out: &mut String, text: &str) -> Result<(), Unkeyable> {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            if !byte.is_ascii_graphic() {
                return Err(Unkeyable::BadEncoding);
            }
            out.push(char::from(byte));
            continue;
        }
        // Kept byte for byte, `%%34%31` would become `%41` and then `A`: no fixed point.
        let decoded = escape(bytes.next(), bytes.next()).ok_or(Unkeyable::BadEncoding)?;
        if is_unreserved(decoded) && decoded != b'.' {
            out.push(char::from(decoded));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{decoded:02X}");
        }
    }
    Ok(())
}

fn escape(high: Option<u8>, low: Option<u8>) -> Option<u8> {
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// RFC 3986 §2.3.
pub(crate) fn is_unreserved(byte: u8) -> bool {
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

/// Also behind an escaped slash or a backslash, and before path parameters (`..;x`): some servers
/// resolve those too.
fn has_dot_segment(path: &str) -> bool {
    if !path.contains('.') && !path.contains("%2E") {
        return false;
    }
    decode(path, false)
        .split(|b| matches!(b, b'/' | b'\\'))
        .map(|segment| segment.split(|&b| b == b';').next().unwrap_or_default())
        .any(|segment| matches!(segment, b"." | b".."))
}

/// Nothing for a query without parameters. Empty pieces (`a&&b`) are dropped like it: they name
/// nothing.
fn push_query(out: &mut String, raw: &str, rules: &QueryRules) -> Result<(), Unkeyable> {
    let mut parameters = Vec::new();
    for piece in raw.split('&').filter(|piece| !piece.is_empty()) {
        let mut canonical = String::with_capacity(piece.len());
        push_escaped(&mut canonical, piece)?;
        let name = decode(canonical.split('=').next().unwrap_or_default(), true);
        if rules.counts(&name) {
            parameters.push((name, canonical));
        }
    }
    if rules.sort {
        // By the name as servers decode it: `q[]=1&q%5B%5D=2` is one list, in that order.
        parameters.sort_by(|(a, _), (b, _)| a.cmp(b));
    }
    for (i, (_, parameter)) in parameters.iter().enumerate() {
        out.push(if i == 0 { '?' } else { '&' });
        out.push_str(parameter);
    }
    Ok(())
}
