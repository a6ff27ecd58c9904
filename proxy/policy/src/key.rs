//! The cache key: whose response it is, as bytes.
//!
//! Injective: every part stands behind its length, so two keys are equal only when all their parts
//! are. Whoever finds an entry by a hash of the key compares the whole key before using it.

use std::borrow::Borrow;
use std::fmt;
use std::net::Ipv6Addr;
use std::sync::Arc;

use http::header::HeaderName;

use crate::target::{CanonicalTarget, is_unreserved};

/// An authority that names no host, or names it ambiguously.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BadAuthority;

impl fmt::Display for BadAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a host name or address with an optional port")
    }
}

impl std::error::Error for BadAuthority {}

/// Lower-cased, without the scheme's default port (RFC 9110 §4.2.3).
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
    let port = match rest.strip_prefix(':') {
        Some(port) => port,
        None if rest.is_empty() => "",
        None => return Err(BadAuthority),
    };
    // RFC 3986 §3.2.3: an empty port is the default one.
    match port.bytes().all(|b| b.is_ascii_digit()) {
        true if port.is_empty() => Ok((host, None)),
        true => port
            .parse()
            .map_or(Err(BadAuthority), |port| Ok((host, Some(port)))),
        false => Err(BadAuthority),
    }
}

/// Names of registered characters only: no user information, escapes or delimiters (RFC 9110 §4.2.4
/// and RFC 3986 §3.2.2 allow more than any host is called by).
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
        let mut bytes = Vec::with_capacity(64 + target.as_str().len());
        push_origin(&mut bytes, namespace, scheme, authority);
        push(&mut bytes, Some(target.as_str().as_bytes()));
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

    /// What all keys of one origin begin with, and no other.
    pub fn origin(&self) -> &[u8] {
        let mut rest = self.as_bytes();
        for _ in 0..ORIGIN_PARTS {
            let Some((length, after)) = rest.split_first_chunk() else {
                break;
            };
            let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
            rest = after.get(length..).unwrap_or_default();
        }
        let length = self.0.len() - rest.len();
        self.0.get(..length).unwrap_or_default()
    }

    /// The authority that it is keyed by: empty when all clients see one.
    pub fn authority(&self) -> &[u8] {
        self.part(ORIGIN_PARTS - 1)
    }

    /// The canonical target, as [`CanonicalTarget::as_str`] gives it.
    pub fn target(&self) -> &[u8] {
        self.part(ORIGIN_PARTS)
    }

    fn part(&self, number: usize) -> &[u8] {
        let mut rest = self.as_bytes();
        for left in (0..=number).rev() {
            let Some((length, after)) = rest.split_first_chunk() else {
                break;
            };
            let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
            if left == 0 {
                return after.get(..length).unwrap_or_default();
            }
            rest = after.get(length..).unwrap_or_default();
        }
        &[]
    }

    /// Writes a key behind what [`CacheKey::origin_of`] gave, as [`CacheKey::new`] would encode it. `target` is canonical.
    pub fn extend(origin: &mut Vec<u8>, target: &str, keyed: &[HeaderName]) {
        push(origin, Some(target.as_bytes()));
        push(origin, None);
        for name in keyed {
            push(origin, Some(name.as_str().as_bytes()));
            push(origin, None);
        }
    }

    /// What [`CacheKey::origin`] is of an origin's keys.
    pub fn origin_of(namespace: &str, scheme: &str, authority: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        push_origin(&mut bytes, namespace, scheme, authority);
        bytes
    }

    /// A key that was encoded before.
    pub fn from_bytes(bytes: Arc<[u8]>) -> Self {
        Self(bytes)
    }
}

/// Parts of a key that make up its origin.
const ORIGIN_PARTS: usize = 3;

fn push_origin(bytes: &mut Vec<u8>, namespace: &str, scheme: &str, authority: &str) {
    let parts: [&str; ORIGIN_PARTS] = [namespace, scheme, authority];
    for part in parts {
        push(bytes, Some(part.as_bytes()));
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
