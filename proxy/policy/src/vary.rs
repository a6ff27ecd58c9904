//! Which request fields selected a response, and do two requests agree in them (RFC 9111 §4.1)?
//!
//! Values are compared after the changes that §4.1 permits: lines combined, white space around list
//! members removed, and for fields whose meaning is known, what means the same spelt the same.

use std::cmp::Reverse;
use std::sync::Arc;

use http::HeaderMap;
use http::header::{ACCEPT_ENCODING, ACCEPT_LANGUAGE, HeaderName, VARY};

use crate::cache_control::members;
use crate::fields::Fields;
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
    let members = response.lines(&VARY).flat_map(members);
    for member in members.filter(|member| !member.is_empty()) {
        match HeaderName::from_bytes(member) {
            // `*` is a valid name to this parser, but not to RFC 9110 §12.5.5.
            Ok(name) if name.as_str() != "*" => names.push(name),
            // What cannot be read might be anything.
            _ => return Vary::Any,
        }
    }
    match names.is_empty() {
        true => Vary::None,
        false => Vary::Fields(VarySpec::from_names(names)),
    }
}

/// The request's values of the selecting fields, encoded injectively: for each name in order, its
/// length in two bytes and itself, then the value's length in four bytes and itself, or four bytes
/// of ones when the field is absent.
///
/// `request` must be what goes upstream in these fields, or the answer is kept under a value that
/// the upstream never saw.
pub fn selecting(spec: &VarySpec, request: &impl Fields) -> Vec<u8> {
    let mut bytes = Vec::new();
    for name in spec.names() {
        let text = name.as_str().as_bytes();
        let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
        bytes.extend(length.to_be_bytes());
        bytes.extend(text);
        push(&mut bytes, selecting_value(name, request).as_deref());
    }
    bytes
}

/// One field's normalised value; none when the field is absent, which is not the same as empty.
pub fn selecting_value(name: &HeaderName, request: &impl Fields) -> Option<Vec<u8>> {
    let members: Vec<&[u8]> = request.lines(name).flat_map(members).collect();
    if members.is_empty() {
        return None;
    }
    if *name == ACCEPT_ENCODING || *name == ACCEPT_LANGUAGE {
        return Some(weighted(&members));
    }
    Some(members.join(&b","[..]))
}

/// RFC 9110 §12.5.3, §12.5.4: case and order mean nothing, weights do. (§12.5.4 warns that the order
/// of languages cannot be relied upon.)
///
/// A stored response whose `Content-Language` is what another request likes best is still not that
/// request's: §4.1 lets two requests match only where their fields mean the same, and the origin may
/// have something that suits the other one better, or another text in that language for it.
fn weighted(members: &[&[u8]]) -> Vec<u8> {
    let mut ranges: Vec<(Reverse<u16>, Vec<u8>)> = members
        .iter()
        .filter(|member| !member.is_empty())
        .map(|member| weight(member))
        .collect();
    ranges.sort();
    ranges.dedup();
    let spelt = ranges
        .into_iter()
        .map(|(Reverse(weight), range)| match weight {
            1000 => range,
            _ => [range, format!(";q={weight}").into_bytes()].concat(),
        });
    spelt.collect::<Vec<_>>().join(&b","[..])
}

/// A range and its weight in thousandths; with a weight that is none, the member as it is.
pub(crate) fn weight(member: &[u8]) -> (Reverse<u16>, Vec<u8>) {
    let lower = member.to_ascii_lowercase();
    let mut halves = lower.splitn(2, |&b| b == b';');
    let range = halves.next().unwrap_or_default().trim_ascii().to_vec();
    let Some(parameter) = halves.next().map(<[u8]>::trim_ascii) else {
        return (Reverse(1000), range);
    };
    match parameter.strip_prefix(b"q=").and_then(thousandths) {
        Some(weight) => (Reverse(weight), range),
        None => (Reverse(1000), lower),
    }
}

/// RFC 9110 §12.4.2: `0` or `1` with at most three decimals, and no more than one.
fn thousandths(text: &[u8]) -> Option<u16> {
    let (whole, decimals) = match text {
        [whole] => (whole, &[][..]),
        [whole, b'.', decimals @ ..] => (whole, decimals),
        _ => return None,
    };
    if !matches!(whole, b'0' | b'1') || decimals.len() > 3 {
        return None;
    }
    let mut weight = u16::from(whole - b'0') * 1000;
    for (digit, place) in decimals.iter().zip([100, 10, 1]) {
        if !digit.is_ascii_digit() {
            return None;
        }
        weight += u16::from(digit - b'0') * place;
    }
    (weight <= 1000).then_some(weight)
}
