//! The fields of a stored response, as the text of an HTTP/1.1 head.
//!
//! So they are ready to be sent, and take a third of what a map of them takes. Whoever has to change them asks for a map.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use larder_policy::Fields;

use crate::wire;

const SEPARATOR: &[u8] = b": ";
const LINE_END: &[u8] = b"\r\n";

/// Field lines, each `Name: value` and CR LF, names spelt as people write them. All of it is one buffer of its own, so that it
/// keeps nothing else alive.
#[derive(Clone, PartialEq, Eq)]
pub struct FieldLines {
    text: Bytes,
    /// Before a body of which length they can be sent as they are; [`UNSENDABLE`] for none. No stored body is longer.
    body_bytes: u32,
    /// They hold lines that [`is_replaced`].
    replaced: bool,
}

/// No body is as long.
const UNSENDABLE: u32 = u32::MAX;

/// What has to be known of the lines before they are sent.
#[derive(Debug, Clone, Copy, Default)]
struct Kind {
    dates: u32,
    /// `Content-Length` lines, and the last one's number.
    lengths: u32,
    length: Option<u64>,
    /// Lines that say what only this hop can say, of which an answer has others.
    replaced: bool,
}

impl Kind {
    fn see(&mut self, name: &[u8], value: &[u8]) {
        if name.eq_ignore_ascii_case(b"date") {
            self.dates += 1;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            self.lengths += 1;
            self.length = std::str::from_utf8(value)
                .ok()
                .and_then(|text| text.parse().ok());
        } else {
            self.replaced |= is_replaced(name);
        }
    }
}

/// Does every answer have a line of this name of its own?
pub fn is_replaced(name: &[u8]) -> bool {
    [&b"age"[..], b"x-cache", b"transfer-encoding", b"connection"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(name))
}

/// No field has such a name or value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadField;

fn bounded(body_bytes: u64) -> u32 {
    u32::try_from(body_bytes).unwrap_or(UNSENDABLE)
}

/// Lines being written.
#[derive(Debug, Default)]
pub(super) struct Builder {
    text: Vec<u8>,
    kind: Kind,
}

impl Builder {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self {
            text: Vec::with_capacity(bytes),
            kind: Kind::default(),
        }
    }

    /// Adds a line. An error leaves it out.
    pub(super) fn push(&mut self, name: &[u8], value: &[u8]) -> Result<(), BadField> {
        let sound = !name.is_empty() && name.iter().all(|&byte| wire::is_token(byte));
        if !sound || !value.iter().all(|&byte| wire::is_value(byte)) {
            return Err(BadField);
        }
        self.kind.see(name, value);
        wire::spell(name, &mut self.text);
        for part in [SEPARATOR, value, LINE_END] {
            self.text.extend_from_slice(part);
        }
        Ok(())
    }

    pub(super) fn finish(self) -> FieldLines {
        let once = self.kind.dates == 1 && self.kind.lengths == 1;
        FieldLines {
            text: Bytes::from(self.text.into_boxed_slice()),
            body_bytes: self
                .kind
                .length
                .filter(|_| once)
                .map_or(UNSENDABLE, bounded),
            replaced: self.kind.replaced,
        }
    }
}

impl FieldLines {
    /// The lines as they are sent, with a CR LF after the last one, too.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Can they be sent as they are, before a body of this length: but for lines that [`is_replaced`] when that is true?
    pub fn sendable(&self, body_bytes: u64) -> Option<bool> {
        let sendable = self.body_bytes != UNSENDABLE && u64::from(self.body_bytes) == body_bytes;
        sendable.then_some(self.replaced)
    }

    /// Name and value of each line.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.spans()
            .map(|(name, value)| (self.slice(name), self.slice(value)))
    }

    /// The number of lines.
    pub fn len(&self) -> usize {
        self.spans().count()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The same as a map; its values lie where they are.
    pub fn to_map(&self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(16);
        for (name, value) in self.spans() {
            let name = HeaderName::from_bytes(self.slice(name));
            let value = HeaderValue::from_maybe_shared(self.text.slice(value));
            if let (Ok(name), Ok(value)) = (name, value) {
                map.append(name, value);
            }
        }
        map
    }

    fn slice(&self, span: Span) -> &[u8] {
        self.text.get(span).unwrap_or_default()
    }

    /// Where names and values lie.
    fn spans(&self) -> impl Iterator<Item = (Span, Span)> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let rest = self.text.get(at..).filter(|rest| !rest.is_empty())?;
            let line_bytes = rest.iter().position(|&byte| byte == b'\r')?;
            let colon = rest.iter().position(|&byte| byte == b':')?;
            let (name, value) = (
                at..at + colon,
                at + colon + SEPARATOR.len()..at + line_bytes,
            );
            at += line_bytes + LINE_END.len();
            Some((name, value))
        })
    }
}

type Span = std::ops::Range<usize>;

impl From<&HeaderMap> for FieldLines {
    /// A field without a name or value that can be sent is left out: the type of the map knows none.
    fn from(map: &HeaderMap) -> Self {
        let bytes = map
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 4)
            .sum();
        let mut lines = Builder::with_capacity(bytes);
        for (name, value) in map {
            let _ = lines.push(name.as_str().as_bytes(), value.as_bytes());
        }
        lines.finish()
    }
}

impl Default for FieldLines {
    fn default() -> Self {
        Builder::default().finish()
    }
}

impl Fields for FieldLines {
    fn lines<'a>(&'a self, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let name = name.clone();
        self.iter()
            .filter(move |(other, _)| other.eq_ignore_ascii_case(name.as_str().as_bytes()))
            .map(|(_, value)| value)
    }
}

impl fmt::Debug for FieldLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FieldLines({})", self.text.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header;

    fn map() -> HeaderMap {
        let mut map = HeaderMap::new();
        map.append(header::ETAG, HeaderValue::from_static("\"a: b\""));
        map.append("x-a", HeaderValue::from_static(""));
        map.append(header::VARY, HeaderValue::from_static("a"));
        map.append(header::VARY, HeaderValue::from_bytes(b"\xff\tb").unwrap());
        map
    }

    #[test]
    fn a_map_becomes_text_and_the_same_map_again() {
        let lines = FieldLines::from(&map());
        assert_eq!(lines.to_map(), map());
        assert_eq!(lines.len(), 4);
        assert!(lines.text().starts_with(b"ETag: \"a: b\"\r\nX-A: \r\n"));
        assert!(FieldLines::from(&HeaderMap::new()).is_empty());
    }

    #[test]
    fn lines_are_found_by_name_in_their_order() {
        let lines = FieldLines::from(&map());
        let vary: Vec<_> = lines.lines(&header::VARY).collect();
        assert_eq!(vary, [&b"a"[..], b"\xff\tb"]);
        assert!(lines.has(&header::ETAG) && !lines.has(&header::AGE));
    }

    #[test]
    fn what_would_begin_another_line_is_no_field() {
        let mut lines = Builder::default();
        for (name, value) in [
            ("a", "b\r\nc: d"),
            ("a\r\nb", "c"),
            ("", "a"),
            ("a:", "b"),
            ("a", "\0"),
        ] {
            assert_eq!(lines.push(name.as_bytes(), value.as_bytes()), Err(BadField));
        }
        assert!(lines.finish().is_empty());
    }
}
