//! Which request of which trace something belongs to: W3C Trace Context (`traceparent`, `tracestate`) and `X-Request-Id`.
//!
//! A request has identifiers when its client sent some, or when something goes upstream for its sake: a refresh behind its back
//! as well. Only what goes upstream gets new ones, made when [`Trace`] is first asked for them, so that an answer from the store costs
//! none. Pure but for chance. Left out: spans are told in the log and sent nowhere.

use crate::dice::unguessed;
use http::{HeaderName, HeaderValue};
use larder_policy::Fields;
use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};
use std::sync::OnceLock;

pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest `X-Request-Id` of a client's that goes on, in bytes.
const REQUEST_ID_BYTES_MAX: usize = 128;
/// Bytes of a `traceparent` of version 00, and of what a later one begins with.
const TRACEPARENT_BYTES: usize = 55;
const SAMPLED: u8 = 1;
const RANDOM: u8 = 2;

/// Whether requests get identifiers, and whose.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TraceMode {
    /// The client's, where they are well-formed, else new ones.
    Continue,
    /// New ones: clients are not believed.
    Restart,
    /// The client's fields pass as they came, and nothing is told of them.
    Off,
}

/// A span of a trace, as `traceparent` names it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Span {
    trace_id: NonZeroU128,
    span_id: NonZeroU64,
    flags: u8,
}

impl Span {
    /// None of a field that is to be ignored (W3C Trace Context §3.2.2, §4.3).
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (known, more) = value.trim_ascii().split_at_checked(TRACEPARENT_BYTES)?;
        let mut parts = known.split(|&byte| byte == b'-');
        let version = hex(parts.next()?, 2)?;
        let trace_id = hex(parts.next()?, 32).and_then(NonZeroU128::new)?;
        let span_id = hex(parts.next()?, 16)?;
        let flags = hex(parts.next()?, 2)?;
        // Of later versions only the beginning and one flag are known.
        let flags_known = match (version, more) {
            (0, []) => SAMPLED | RANDOM,
            (0 | 0xff, _) => return None,
            (_, [] | [b'-', ..]) => SAMPLED,
            _ => return None,
        };
        Some(Self {
            trace_id,
            span_id: u64::try_from(span_id).ok().and_then(NonZeroU64::new)?,
            flags: u8::try_from(flags).ok()? & flags_known,
        })
    }

    /// The first of a trace. Sampled, for its line in the log is a record of it, and most APIs record nothing of a trace whose
    /// beginning is not. That its identifier is random is not said: some readers of version 00 refuse a flag that they don't know.
    fn first(random: &mut impl FnMut() -> u64) -> Self {
        let (high, low) = (u128::from(random()), u128::from(random()));
        Self {
            trace_id: NonZeroU128::new(high << 64 | low).unwrap_or(NonZeroU128::MIN),
            span_id: span_id(random),
            flags: SAMPLED,
        }
    }

    /// One that this one is the parent of.
    fn child(self, random: &mut impl FnMut() -> u64) -> Self {
        Self {
            span_id: span_id(random),
            ..self
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            trace_id,
            span_id,
            flags,
        } = self;
        write!(f, "00-{trace_id:032x}-{span_id:016x}-{flags:02x}")
    }
}

fn span_id(random: &mut impl FnMut() -> u64) -> NonZeroU64 {
    NonZeroU64::new(random()).unwrap_or(NonZeroU64::MIN)
}

/// So many digits, none of them a capital (§3.2.1).
fn hex(text: &[u8], digits: usize) -> Option<u128> {
    let value = |number: u128, byte: &u8| match byte {
        b'0'..=b'9' => Some(number << 4 | u128::from(byte - b'0')),
        b'a'..=b'f' => Some(number << 4 | u128::from(byte - b'a' + 10)),
        _ => None,
    };
    match text.len() == digits {
        true => text.iter().try_fold(0, value),
        false => None,
    }
}

/// The one value of a field. Several are as good as none: whoever reads them may choose another than we would.
fn one<'a>(fields: &'a impl Fields, name: &HeaderName) -> Option<&'a [u8]> {
    let mut lines = fields.lines(name);
    match (lines.next(), lines.next()) {
        (Some(value), None) => Some(value),
        _ => None,
    }
}

/// A client's own name for its request, if it can stand in everybody's log.
fn request_id(fields: &impl Fields) -> Option<&str> {
    let value = one(fields, &REQUEST_ID)?;
    let fits =
        (1..=REQUEST_ID_BYTES_MAX).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic);
    std::str::from_utf8(value).ok().filter(|_| fits)
}

/// What the log says of a request. Displayed as their fields have them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Told<'a> {
    /// The client's, or what went upstream instead.
    pub request_id: Option<&'a str>,
    pub trace_id: Option<Hex<NonZeroU128>>,
    /// This proxy's own part of the trace: the parent of all that went upstream.
    pub span_id: Option<Hex<NonZeroU64>>,
    /// The client's.
    pub parent_id: Option<Hex<NonZeroU64>>,
}

impl<'a> Told<'a> {
    /// Of a request for which nothing goes upstream: what its client says.
    pub fn by_client(mode: TraceMode, client: &'a impl Fields) -> Self {
        if mode != TraceMode::Continue {
            return Self::default();
        }
        let parent = one(client, &TRACEPARENT).and_then(Span::parse);
        Self {
            request_id: request_id(client),
            trace_id: parent.map(|span| Hex(span.trace_id)),
            span_id: None,
            parent_id: parent.map(|span| Hex(span.span_id)),
        }
    }
}

/// An identifier, in as many digits as it has at most.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Hex<T>(T);

impl fmt::Display for Hex<NonZeroU128> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for Hex<NonZeroU64> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What goes upstream for a request's sake.
#[derive(Clone, Debug)]
pub struct Sent {
    pub traceparent: HeaderValue,
    pub request_id: HeaderValue,
    /// It is the client's trace: what `tracestate` says belongs to it, else to nothing (§4.3).
    pub keeps_state: bool,
    span: Span,
    parent: Option<Span>,
}

impl Sent {
    fn new(mode: TraceMode, client: &impl Fields, mut random: impl FnMut() -> u64) -> Option<Self> {
        let (parent, named) = match mode {
            TraceMode::Continue => (
                one(client, &TRACEPARENT).and_then(Span::parse),
                request_id(client),
            ),
            TraceMode::Restart => (None, None),
            TraceMode::Off => return None,
        };
        let span = match parent {
            Some(parent) => parent.child(&mut random),
            None => Span::first(&mut random),
        };
        let request_id = match named {
            Some(named) => HeaderValue::from_str(named),
            None => HeaderValue::try_from(Hex(span.span_id).to_string()),
        };
        Some(Self {
            traceparent: HeaderValue::try_from(span.to_string()).ok()?,
            request_id: request_id.ok()?,
            keeps_state: parent.is_some(),
            span,
            parent,
        })
    }

    fn told(&self) -> Told<'_> {
        Told {
            request_id: self.request_id.to_str().ok(),
            trace_id: Some(Hex(self.span.trace_id)),
            span_id: Some(Hex(self.span.span_id)),
            parent_id: self.parent.map(|parent| Hex(parent.span_id)),
        }
    }
}

/// A request's identifiers, made when something goes upstream for its sake.
#[derive(Debug)]
pub struct Trace {
    mode: TraceMode,
    /// None inside: the mode wants none.
    sent: OnceLock<Option<Sent>>,
}

impl Trace {
    pub fn new(mode: TraceMode) -> Self {
        Self {
            mode,
            sent: OnceLock::new(),
        }
    }

    /// What goes upstream, the same each time; none when the client's fields go as they came.
    pub fn sent(&self, client: &impl Fields) -> Option<&Sent> {
        let sent = || Sent::new(self.mode, client, unguessed);
        self.sent.get_or_init(sent).as_ref()
    }

    /// What the log says.
    pub fn told<'a>(&'a self, client: &'a impl Fields) -> Told<'a> {
        match self.sent.get() {
            Some(sent) => sent.as_ref().map(Sent::told).unwrap_or_default(),
            None => Told::by_client(self.mode, client),
        }
    }
}

#[cfg(test)]
#[path = "trace_tests.rs"]
mod tests;
