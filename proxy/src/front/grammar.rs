//! The front's grammar for those who put it to the test: no part of what this crate offers.

use super::chunks::Chunks;
use super::head::{self, Body};
use super::lines::{Head, Places};
use super::parse::Parsed;
use http::{HeaderMap, Method};

/// Where a request's content ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    None,
    Sized(u64),
    Chunked,
}

/// What the front makes of a `GET` or `HEAD` without content.
#[derive(Debug)]
pub struct Fields {
    pub method: Method,
    pub target: String,
    pub headers: HeaderMap,
}

/// Chunked content is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// Where the head ends, if it does.
pub fn head_end(bytes: &[u8]) -> Option<usize> {
    head::end(bytes)
}

/// These bytes can't become a head.
pub fn hopeless(bytes: &[u8]) -> bool {
    head::hopeless(bytes).is_some()
}

/// None for a head that is refused.
pub fn framing(head: &[u8]) -> Option<Framing> {
    Some(match head::check(head).ok()? {
        Body::None => Framing::None,
        Body::Sized(bytes) => Framing::Sized(bytes),
        Body::Chunked => Framing::Chunked,
    })
}

/// Of a head that is let through.
pub fn fields(head: &[u8]) -> Option<Fields> {
    let parsed = Parsed::new(head)?;
    Some(Fields {
        method: parsed.method,
        target: parsed.target,
        headers: parsed.headers,
    })
}

/// Sees a head that the short grammar takes, where it lies.
pub trait Reader {
    fn read<F: larder_policy::Fields>(self, head: &Short<'_, F>);
}

/// What the front makes of a head that may be a hit's, without a map of its fields.
#[derive(Debug)]
pub struct Short<'a, F> {
    pub method: &'a Method,
    pub target: &'a str,
    pub host: &'a str,
    pub fields: &'a F,
    pub head_bytes: usize,
}

/// Where the fields of heads lie that are read one after the other.
#[derive(Debug, Default)]
pub struct Room(Places);

/// Shows the head at the beginning of these bytes; false when it is not for the short grammar.
pub fn short(bytes: &[u8], room: &mut Room, reader: impl Reader) -> bool {
    let Some(head) = Head::read(bytes, &mut room.0) else {
        return false;
    };
    reader.read(&Short {
        method: &head.method,
        target: head.target,
        host: head.host,
        fields: &head.lines,
        head_bytes: head.bytes,
    });
    true
}

/// Where chunked content ends that comes in these pieces, if it does.
pub fn chunks_end(pieces: &[&[u8]]) -> Result<Option<usize>, Malformed> {
    let mut chunks = Chunks::default();
    let mut bytes = 0;
    for piece in pieces {
        bytes += chunks.take(piece).map_err(|_| Malformed)?;
    }
    Ok(chunks.ended().then_some(bytes))
}
