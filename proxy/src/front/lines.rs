//! Reads the heads that most clients send, where they lie: one pass, no allocation.
//!
//! What it takes is a part of what [`super::head::check`] takes, read the same way; whatever is rare, long or doubtful is left to
//! that. So a mistake here can only be to take too much, which a test and a fuzz target look for.

use crate::wire::{is_token, is_value};
use http::{HeaderName, Method};
use larder_policy::Fields;

/// More are left to the general path.
const FIELDS_MAX: usize = 64;
/// So is a longer head: places in it are two bytes.
const HEAD_BYTES_MAX: usize = u16::MAX as usize;

/// Where names and values lie, for one head after the other.
#[derive(Debug, Default)]
pub(super) struct Places(Vec<Place>);

#[derive(Debug, Clone, Copy)]
struct Place {
    name: u16,
    name_end: u16,
    value: u16,
    value_end: u16,
}

/// A whole head of HTTP/1.1 without content behind it, on a connection that is to persist.
#[derive(Debug)]
pub(super) struct Head<'a> {
    pub(super) method: Method,
    /// As it came: visible ASCII.
    pub(super) target: &'a str,
    pub(super) host: &'a str,
    pub(super) lines: Lines<'a>,
    pub(super) bytes: usize,
}

/// Its field lines.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    head: &'a [u8],
    places: &'a [Place],
    /// One bit for each name that may be there.
    names: u64,
}

impl<'a> Head<'a> {
    /// None when there is none at the beginning of these bytes, or it is not for here.
    pub(super) fn read(bytes: &'a [u8], places: &'a mut Places) -> Option<Self> {
        let (method, target_at) = match bytes {
            [b'G', b'E', b'T', b' ', ..] => (Method::GET, 4),
            [b'H', b'E', b'A', b'D', b' ', ..] => (Method::HEAD, 5),
            _ => return None,
        };
        let target = bytes.get(target_at..)?;
        let target_bytes = target.iter().position(|&byte| !byte.is_ascii_graphic())?;
        let (target, rest) = target.split_at_checked(target_bytes)?;
        if target.first() != Some(&b'/') || !rest.starts_with(REST_OF_LINE) {
            return None;
        }
        let at = target_at + target_bytes + REST_OF_LINE.len();
        let found = fields(bytes, at, &mut places.0)?;
        let lines = Lines {
            head: bytes,
            places: &places.0,
            names: found.names,
        };
        let place = places.0.get(found.host?)?;
        Some(Self {
            method,
            target: std::str::from_utf8(target).ok()?,
            host: std::str::from_utf8(lines.value(place)).ok()?,
            bytes: found.end,
            lines,
        })
    }
}

const REST_OF_LINE: &[u8] = b" HTTP/1.1\r\n";

/// What a pass over the field lines finds.
#[derive(Debug, Default)]
struct Found {
    names: u64,
    host: Option<usize>,
    end: usize,
}

/// From the first field line to the empty one.
fn fields(bytes: &[u8], mut at: usize, places: &mut Vec<Place>) -> Option<Found> {
    places.clear();
    let mut found = Found::default();
    loop {
        let line = bytes.get(at..)?;
        if line.starts_with(b"\r\n") {
            found.end = at + 2;
            return (found.end <= HEAD_BYTES_MAX).then_some(found);
        }
        let colon = line.iter().position(|&byte| !is_token(byte))?;
        if colon == 0 || *line.get(colon)? != b':' || places.len() >= FIELDS_MAX {
            return None;
        }
        let (name, after) = line.split_at_checked(colon)?;
        let after = after.get(1..)?;
        let value_bytes = value_end(after)?;
        if !after.get(value_bytes..)?.starts_with(b"\r\n") {
            return None;
        }
        let raw = after.get(..value_bytes)?;
        let value = raw.trim_ascii_start();
        let value_at = at + colon + 1 + raw.len() - value.len();
        let value = value.trim_ascii_end();
        judge(name, value, places.len(), &mut found)?;
        places.push(Place {
            name: u16::try_from(at).ok()?,
            name_end: u16::try_from(at + colon).ok()?,
            value: u16::try_from(value_at).ok()?,
            value_end: u16::try_from(value_at + value.len()).ok()?,
        });
        found.names |= bit(name);
        at += colon + 1 + value_bytes + 2;
    }
}

/// None for a field that makes the request another one's business: content, another host, a connection that ends.
fn judge(name: &[u8], value: &[u8], number: usize, found: &mut Found) -> Option<()> {
    let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
    match name.len() {
        4 if is(b"host") => match found.host.replace(number) {
            Some(_) => None,
            None => Some(()),
        },
        10 if is(b"connection") => value.eq_ignore_ascii_case(b"keep-alive").then_some(()),
        14 if is(b"content-length") => None,
        17 if is(b"transfer-encoding") => None,
        _ => Some(()),
    }
}

/// Where the value ends: at the first byte that none may hold.
fn value_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(eight) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        if has_control(u64::from_le_bytes(*eight)) {
            break;
        }
        at += 8;
    }
    let rest = bytes.get(at..)?;
    rest.iter()
        .position(|&byte| !is_value(byte))
        .map(|end| at + end)
}

/// Is any of eight bytes below a blank, or DEL? All eight at once: a byte below n borrows from its highest bit when n is taken
/// away, unless that was set. May be true when a byte above ASCII stands beside such a one only.
fn has_control(eight: u64) -> bool {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES * 128;
    let below_blank = eight.wrapping_sub(ONES * 32) & !eight;
    let del = eight ^ (ONES * 127);
    let is_del = del.wrapping_sub(ONES) & !del;
    (below_blank | is_del) & HIGHS != 0
}

/// A name's bit, by its length and first letter: most names that are asked for are not there, and this says so at once.
fn bit(name: &[u8]) -> u64 {
    let first = name.first().map_or(0, |first| first | 0x20);
    1 << ((name.len() * 5 + usize::from(first)) % 64)
}

impl<'a> Lines<'a> {
    fn name(&self, place: &Place) -> &'a [u8] {
        let span = usize::from(place.name)..usize::from(place.name_end);
        self.head.get(span).unwrap_or_default()
    }

    fn value(&self, place: &Place) -> &'a [u8] {
        let span = usize::from(place.value)..usize::from(place.value_end);
        self.head.get(span).unwrap_or_default()
    }
}

impl<'h> Fields for Lines<'h> {
    fn lines<'a>(&'a self, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> + use<'a, 'h> {
        let places = match self.has(name) {
            true => self.places,
            false => &[],
        };
        let name = name.clone();
        places
            .iter()
            .filter(move |place| {
                let here = self.name(place);
                here.eq_ignore_ascii_case(name.as_str().as_bytes())
            })
            .map(|place| self.value(place))
    }

    fn has(&self, name: &HeaderName) -> bool {
        let name = name.as_str().as_bytes();
        self.names & bit(name) != 0
            && self
                .places
                .iter()
                .any(|place| self.name(place).eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
#[path = "lines_tests.rs"]
mod tests;
