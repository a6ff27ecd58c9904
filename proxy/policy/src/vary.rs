//! Which request fields selected a response (RFC 9111 §4.1).

use std::sync::Arc;

use http::HeaderMap;
use http::header::{HeaderName, VARY};

use crate::cache_control::list_members;
use crate::key::push;

/// What a response says of its selection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Vary {
    /// By the target alone.
    None,
    /// By these request fields too.
    Fields(VarySpec),
    /// By something unknown: no request matches.
    Any,
}

/// The names of selecting fields, sorted, without repeats.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VarySpec(Arc<[HeaderName]>);

impl VarySpec {
    /// In order.
    pub fn names(&self) -> &[HeaderName] {
        &self.0
    }

    /// Sorts and removes repeats.
    pub fn from_names(names: impl IntoIterator<Item = HeaderName>) -> Self {
        let mut names: Vec<_> = names.into_iter().collect();
        names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        Self(names.into())
    }
}

/// Reads every `Vary` line.
pub fn vary(response: &HeaderMap) -> Vary {
    let mut names = Vec::new();
    let members = response
        .get_all(VARY)
        .iter()
        .flat_map(|line| list_members(line.as_bytes()));
    for member in members.filter(|member| !member.is_empty()) {
        match HeaderName::from_bytes(member) {
            Ok(name) if name.as_str() != "*" => names.push(name),
            // What cannot be read might be anything.
            _ => return Vary::Any,
        }
    }
    if names.is_empty() {
        Vary::None
    } else {
        Vary::Fields(VarySpec::from_names(names))
    }
}

/// The request's values of the selecting fields, encoded injectively.
pub fn selecting(spec: &VarySpec, request: &HeaderMap) -> Vec<u8> {
    let mut bytes = Vec::new();
    for name in spec.names() {
        let text = name.as_str().as_bytes();
        bytes.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
        bytes.extend(text);
        push(&mut bytes, selecting_value(name, request).as_deref());
    }
    bytes
}

/// One field's normalised value.
pub fn selecting_value(name: &HeaderName, request: &HeaderMap) -> Option<Vec<u8>> {
    let mut members = request
        .get_all(name)
        .iter()
        .flat_map(|line| list_members(line.as_bytes()))
        .peekable();
    members.peek()?;
    Some(members.collect::<Vec<_>>().join(&b","[..]))
}
