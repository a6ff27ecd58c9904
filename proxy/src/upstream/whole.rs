//! Reads the answers that most upstreams give where they lie: a head that nobody could misunderstand, and all of its content in
//! the same read.
//!
//! What it takes is a part of what Pingora takes, read the same way; whatever is rare, long, slow or doubtful is left to that with
//! its bytes untouched ([`super::replay`]). So a mistake here can only be to take too much, which a test looks for.

use crate::wire::{has_no_content, is_token, is_value};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

/// More are left to Pingora.
const FIELDS_MAX: usize = 64;
/// Room for as many as most have.
const FIELDS_EXPECTED: usize = 16;
/// Digits of a length: anything longer is none of a small answer's.
const LENGTH_DIGITS_MAX: usize = 9;
const VERSION: &[u8] = b"HTTP/1.1 ";

/// A final response with all of its content.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) content: Bytes,
}

/// What tells where the content ends.
#[derive(Debug, Default)]
struct Framing {
    length: Option<usize>,
    connection: bool,
}

impl Whole {
    /// None when these bytes are not exactly one such response to a request with this method. What it gives shares them.
    pub(super) fn read(bytes: &Bytes, method: &Method) -> Option<Self> {
        let (status, lines) = status_line(bytes)?;
        let lines_at = bytes.len() - lines.len();
        let (headers, framing, head_bytes) = fields(bytes, lines_at)?;
        let content = bytes.slice(head_bytes..);
        let length = match *method == Method::HEAD || has_no_content(status) {
            true => 0,
            false => framing.length?,
        };
        (content.len() == length).then_some(Self {
            status,
            headers,
            content,
        })
    }
}

/// The status of a final response, and what follows its line.
fn status_line(bytes: &[u8]) -> Option<(StatusCode, &[u8])> {
    let rest = bytes.strip_prefix(VERSION)?;
    let (code, rest) = rest.split_at_checked(3)?;
    let status = StatusCode::from_bytes(code).ok()?;
    let reason = rest.strip_prefix(b" ")?;
    let (_, lines) = line(reason)?;
    (200..=599)
        .contains(&status.as_u16())
        .then_some((status, lines))
}

/// Up to the first byte that no value may hold, which must begin the end of the line; and what follows.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|&byte| !is_value(byte))?;
    let (line, rest) = bytes.split_at_checked(end)?;
    Some((line, rest.strip_prefix(b"\r\n")?))
}

/// The fields of a head, whose first line begins at `at`; what they say of the content, and where that begins.
fn fields(bytes: &Bytes, mut at: usize) -> Option<(HeaderMap, Framing, usize)> {
    let mut headers = HeaderMap::with_capacity(FIELDS_EXPECTED);
    let mut framing = Framing::default();
    loop {
        let rest = bytes.get(at..)?;
        if rest.starts_with(b"\r\n") {
            return Some((headers, framing, at + 2));
        }
        let colon = rest.iter().position(|&byte| !is_token(byte))?;
        let (name, after) = rest.split_at_checked(colon)?;
        let (raw, _) = line(after.strip_prefix(b":")?)?;
        if name.is_empty() || headers.len() >= FIELDS_MAX {
            return None;
        }
        let value = raw.trim_ascii_start();
        let value_at = at + colon + 1 + raw.len() - value.len();
        let value = value.trim_ascii_end();
        let name = HeaderName::from_bytes(name).ok()?;
        judge(&name, value, &mut framing)?;
        let value = bytes.slice(value_at..value_at + value.len());
        headers.append(name, HeaderValue::from_maybe_shared(value).ok()?);
        at += colon + 1 + raw.len() + 2;
    }
}

/// None for a field that makes the end of the content another one's business.
fn judge(name: &HeaderName, value: &[u8], framing: &mut Framing) -> Option<()> {
    if *name == header::CONTENT_LENGTH {
        return match framing.length.replace(number(value)?) {
            Some(_) => None,
            None => Some(()),
        };
    }
    if *name == header::CONNECTION {
        let again = std::mem::replace(&mut framing.connection, true);
        return (!again && value.eq_ignore_ascii_case(b"keep-alive")).then_some(());
    }
    let others = [header::TRANSFER_ENCODING, header::UPGRADE, header::TRAILER];
    (!others.contains(name)).then_some(())
}

fn number(digits: &[u8]) -> Option<usize> {
    let is_number = !digits.is_empty()
        && digits.len() <= LENGTH_DIGITS_MAX
        && digits.iter().all(u8::is_ascii_digit);
    let digits = std::str::from_utf8(digits).ok()?;
    is_number.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
#[path = "whole_tests.rs"]
mod tests;
