//! The grammar of an HTTP/1.x request head, as strict as RFC 9112 allows: what two readers could understand differently is
//! refused before anybody acts on it. Pure; total over any bytes.
//!
//! Refused where RFC 9112 only permits it: bare LF (§2.2), obsolete folding (§5.2), blanks before the colon (§5.1, a MUST),
//! `Content-Length` beside `Transfer-Encoding` (§6.3), a transfer coding other than chunked (§6.1), repeated framing fields.

use crate::wire::{is_token, is_value};
use bytes::{Buf, BytesMut};

/// Fields of one head. Pingora's own limit is 256.
const FIELDS_MAX: usize = 200;
/// Bytes of a method: the longest registered one has 17.
const METHOD_BYTES_MAX: usize = 32;
/// Bytes of a request-target.
const TARGET_BYTES_MAX: usize = 16 * 1024;

/// Does content follow the head?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    None,
    /// So many bytes.
    Sized(u64),
    /// Up to the last chunk.
    Chunked,
}

/// Why a head goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Not HTTP; the text says what would be right.
    Malformed(&'static str),
    Version,
    /// CONNECT.
    Tunnel,
    TargetTooLong,
    TooLarge,
    TooSlow,
}

/// §2.2: a server should ignore an empty line before the request line. Tells whether there was one.
pub(super) fn skip_blank_lines(buffer: &mut BytesMut) -> bool {
    let before = buffer.len();
    while buffer.starts_with(b"\r\n") {
        buffer.advance(2);
    }
    buffer.len() < before
}

/// Where the head ends: just behind its empty line.
pub(super) fn end(buffer: &[u8]) -> Option<usize> {
    buffer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .map(|at| at + 4)
}

/// Bytes that can't become a head whatever follows: their sender need not wait for the deadline.
pub(super) fn hopeless(buffer: &[u8]) -> Option<Fault> {
    let line = buffer
        .split(|&byte| byte == b'\n')
        .next()
        .unwrap_or_default();
    if line.len() == buffer.len() {
        let method = line.split(|&byte| byte == b' ').next().unwrap_or_default();
        let sound = method.iter().all(|&byte| is_token(byte)) || buffer == b"\r";
        return match (sound, method.len() > METHOD_BYTES_MAX) {
            (false, _) | (true, true) => Some(Fault::Malformed(REQUEST_LINE)),
            (true, false) => {
                (line.len() > TARGET_BYTES_MAX + METHOD_BYTES_MAX).then_some(Fault::TargetTooLong)
            }
        };
    }
    let bare = buffer
        .windows(2)
        .any(|two| matches!(two, [before, b'\n'] if *before != b'\r'));
    bare.then_some(Fault::Malformed(LINE_ENDS))
}

const REQUEST_LINE: &str = "The request line is not METHOD SP TARGET SP HTTP/1.1.";
const LINE_ENDS: &str =
    "A line of the request's head ends in a bare LF or CR; each must end in CR LF.";
const FIELD_LINE: &str = "A field line is not NAME: VALUE.";

/// Checks a whole head, empty line included.
pub(super) fn check(head: &[u8]) -> Result<Body, Fault> {
    let mut lines = lines(head).ok_or(Fault::Malformed(LINE_ENDS))?;
    let request = request_line(lines.next().unwrap_or_default())?;
    let mut framing = Framing::default();
    let (http_1_0, method, target) = (request.http_1_0, request.method, request.target);
    for (count, line) in lines.enumerate() {
        if count >= FIELDS_MAX {
            return Err(Fault::TooLarge);
        }
        field_line(line, &mut framing)?;
    }
    target_form(method, target, framing.host)?;
    framing.body(http_1_0)
}

/// Does a checked head ask to go on in another protocol (RFC 9110 §7.8)?
pub(super) fn asks_for_upgrade(head: &[u8]) -> bool {
    let named = |line: &[u8]| {
        line.get(..8)
            .is_some_and(|name| name.eq_ignore_ascii_case(b"upgrade:"))
    };
    head.split(|&byte| byte == b'\n').skip(1).any(named)
}

/// The lines of a whole head, the request line first; none when it doesn't end in an empty line.
pub(super) fn lines(head: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    head.strip_suffix(b"\r\n\r\n").map(|text| Lines(Some(text)))
}

struct RequestLine<'a> {
    method: &'a [u8],
    target: &'a [u8],
    http_1_0: bool,
}

/// Lines that end in CR LF.
struct Lines<'a>(Option<&'a [u8]>);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.0?;
        let at = rest.windows(2).position(|two| two == b"\r\n");
        let (line, rest) = match at {
            Some(at) => (rest.get(..at)?, rest.get(at + 2..)),
            None => (rest, None),
        };
        self.0 = rest;
        Some(line)
    }
}

/// §3.
fn request_line(line: &[u8]) -> Result<RequestLine<'_>, Fault> {
    if line.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
        return Err(Fault::Malformed(LINE_ENDS));
    }
    let mut parts = line.split(|&byte| byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Fault::Malformed(REQUEST_LINE));
    };
    let method_is_token = !method.is_empty()
        && method.len() <= METHOD_BYTES_MAX
        && method.iter().all(|&byte| is_token(byte));
    if !method_is_token || target.is_empty() || !target.iter().all(|&byte| is_target(byte)) {
        return Err(Fault::Malformed(REQUEST_LINE));
    }
    if target.len() > TARGET_BYTES_MAX {
        return Err(Fault::TargetTooLong);
    }
    match version {
        b"HTTP/1.1" => Ok(RequestLine {
            method,
            target,
            http_1_0: false,
        }),
        b"HTTP/1.0" => Ok(RequestLine {
            method,
            target,
            http_1_0: true,
        }),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(Fault::Version)
        }
        _ => Err(Fault::Malformed(REQUEST_LINE)),
    }
}

/// §3.2: a path, an absolute URI that names the same host as `Host`, or `*` for OPTIONS.
fn target_form(method: &[u8], target: &[u8], host: &[u8]) -> Result<(), Fault> {
    match (target, method) {
        (_, b"CONNECT") => return Err(Fault::Tunnel),
        (b"*", b"OPTIONS") => return Ok(()),
        _ => {}
    }
    // Whoever reads it next must be able to; else the client would get a worse answer, and the log no line.
    if http::Uri::try_from(target).is_err() {
        return Err(Fault::Malformed(
            "The target holds characters that a URI may only hold percent-encoded.",
        ));
    }
    if target.starts_with(b"/") {
        return Ok(());
    }
    let scheme = [&b"http://"[..], b"https://"].into_iter().find(|scheme| {
        target
            .get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    });
    let rest = scheme.and_then(|scheme| target.get(scheme.len()..));
    let authority =
        rest.and_then(|rest| rest.split(|byte| matches!(byte, b'/' | b'?' | b'#')).next());
    match authority {
        None => Err(Fault::Malformed(
            "The target is neither a path nor an http or https URI.",
        )),
        Some(authority) if !authority.eq_ignore_ascii_case(host) => Err(Fault::Malformed(
            "The target names another host than the Host field.",
        )),
        Some(_) => Ok(()),
    }
}

/// What the fields say of the body and of the host.
#[derive(Debug, Default)]
struct Framing<'a> {
    hosts: usize,
    host: &'a [u8],
    content_length: Option<u64>,
    chunked: bool,
}

fn field_line<'a>(line: &'a [u8], framing: &mut Framing<'a>) -> Result<(), Fault> {
    let colon = line
        .iter()
        .position(|&byte| byte == b':')
        .ok_or(Fault::Malformed(FIELD_LINE))?;
    let (name, value) = (
        line.get(..colon).unwrap_or_default(),
        line.get(colon + 1..).unwrap_or_default(),
    );
    // A name that begins with a blank is obsolete folding, one that ends in a blank is smuggling: neither is a token.
    if name.is_empty()
        || !name.iter().all(|&byte| is_token(byte))
        || !value.iter().all(|&byte| is_value(byte))
    {
        return Err(Fault::Malformed(FIELD_LINE));
    }
    let value = value.trim_ascii();
    if name.eq_ignore_ascii_case(b"host") {
        // §3.2: a value that is no host with an optional port is a 400; userinfo is none (RFC 9110 §4.2.4).
        if !value
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(byte))
        {
            return Err(Fault::Malformed(
                "The Host field is not a host with an optional port.",
            ));
        }
        framing.hosts += 1;
        framing.host = value;
    } else if name.eq_ignore_ascii_case(b"content-length") {
        let again = framing
            .content_length
            .replace(content_length(value)?)
            .is_some();
        if again {
            return Err(Fault::Malformed("Content-Length is given more than once."));
        }
    } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
        if framing.chunked || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Fault::Malformed(
                "The only Transfer-Encoding taken is one 'chunked'.",
            ));
        }
        framing.chunked = true;
    }
    Ok(())
}

fn content_length(value: &[u8]) -> Result<u64, Fault> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(value)
        .ok()
        .filter(|_| digits)
        .and_then(|digits| digits.parse().ok());
    number.ok_or(Fault::Malformed("Content-Length is not a number of bytes."))
}

impl Framing<'_> {
    fn body(&self, http_1_0: bool) -> Result<Body, Fault> {
        // §3.2: exactly one Host, which HTTP/1.0 may leave out.
        if self.hosts > 1 || (self.hosts == 0 && !http_1_0) {
            return Err(Fault::Malformed("There must be exactly one Host field."));
        }
        match (self.content_length, self.chunked) {
            (Some(_), true) => Err(Fault::Malformed(
                "Content-Length and Transfer-Encoding exclude each other.",
            )),
            (None, true) if http_1_0 => {
                Err(Fault::Malformed("HTTP/1.0 knows no Transfer-Encoding."))
            }
            (None | Some(0), false) => Ok(Body::None),
            (Some(bytes), false) => Ok(Body::Sized(bytes)),
            (None, true) => Ok(Body::Chunked),
        }
    }
}

/// Visible ASCII. Other bytes must be percent-encoded in a URI (RFC 3986 §2), and readers differ on them.
fn is_target(byte: u8) -> bool {
    byte.is_ascii_graphic()
}

#[cfg(test)]
mod tests;
