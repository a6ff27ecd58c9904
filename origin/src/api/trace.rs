//! Which request of which trace a log line belongs to: W3C trace context (`traceparent`) and `X-Request-Id`, as the proxy or a
//! client gave them, or new ones. Pure but for chance.

use axum::http::{HeaderMap, HeaderName};

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Longest identifier of a stranger's that stands in our log, in bytes. What Larder lets through is taken over: both logs then have it.
const REQUEST_ID_BYTES_MAX: usize = 128;
const TRACE_ID_DIGITS: usize = 32;
const PARENT_ID_DIGITS: usize = 16;

/// What stands in the span of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trace {
    pub(super) request_id: String,
    pub(super) trace_id: String,
    /// The span of whoever asked us.
    pub(super) parent_id: Option<String>,
}

impl Trace {
    pub(super) fn of(fields: &HeaderMap) -> Self {
        let (trace_id, parent_id) = match one(fields, &TRACEPARENT).and_then(parse) {
            Some((trace_id, parent_id)) => (trace_id.to_owned(), Some(parent_id.to_owned())),
            None => (format!("{:032x}", fastrand::u128(1..)), None),
        };
        let request_id = one(fields, &REQUEST_ID).filter(|text| is_plain(text));
        Self {
            request_id: match request_id {
                Some(text) => text.to_owned(),
                None => format!("{:016x}", fastrand::u64(1..)),
            },
            trace_id,
            parent_id,
        }
    }
}

fn one<'a>(fields: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = fields.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

fn is_plain(text: &str) -> bool {
    (1..=REQUEST_ID_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Trace and parent, from any version but the forbidden one; what later versions append is not read.
fn parse(text: &str) -> Option<(&str, &str)> {
    let mut parts = text.trim().split('-');
    let (version, trace_id) = (parts.next()?, parts.next()?);
    let (parent_id, flags) = (parts.next()?, parts.next()?);
    let whole = version != "00" || parts.next().is_none();
    let fits = is_hex(version, 2)
        && version != "ff"
        && is_hex(trace_id, TRACE_ID_DIGITS)
        && is_hex(parent_id, PARENT_ID_DIGITS)
        && is_hex(flags, 2);
    let none = |id: &str| id.bytes().all(|byte| byte == b'0');
    (whole && fits && !none(trace_id) && !none(parent_id)).then_some((trace_id, parent_id))
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT: &str = "00f067aa0ba902b7";

    #[test]
    fn a_trace_goes_on_when_it_is_well_formed_and_begins_anew_when_not() {
        let rows = [
            (format!("00-{TRACE}-{PARENT}-01"), true),
            (
                format!("cc-{TRACE}-{PARENT}-01-what-the-future-brings"),
                true,
            ),
            (format!("00-{TRACE}-{PARENT}-01-more"), false),
            (format!("ff-{TRACE}-{PARENT}-01"), false),
            (format!("00-{}-{PARENT}-01", TRACE.to_uppercase()), false),
            (format!("00-{}-{PARENT}-01", "0".repeat(32)), false),
            (format!("00-{TRACE}-{}-01", "0".repeat(16)), false),
            (format!("00-{TRACE}-{PARENT}"), false),
            ("nonsense".to_owned(), false),
        ];
        for (text, is_read) in rows {
            let mut fields = HeaderMap::new();
            fields.insert(TRACEPARENT, text.parse().unwrap());
            let trace = Trace::of(&fields);
            assert_eq!(trace.trace_id == TRACE, is_read, "{text}");
            assert_eq!(
                trace.parent_id.as_deref() == Some(PARENT),
                is_read,
                "{text}"
            );
            assert!(is_hex(&trace.trace_id, TRACE_ID_DIGITS));
        }
    }

    #[test]
    fn an_identifier_is_taken_over_unless_it_could_do_harm_in_a_log() {
        let (longest, long) = ("a".repeat(128), "a".repeat(129));
        for (given, is_taken) in [
            ("7f3c-11.a_b:c/+=@", true),
            // Each format of the log escapes it.
            ("a\"b\\c", true),
            (longest.as_str(), true),
            ("", false),
            ("a b", false),
            ("a\tb", false),
            (long.as_str(), false),
        ] {
            let mut fields = HeaderMap::new();
            fields.insert(REQUEST_ID, given.parse().unwrap());
            assert_eq!(Trace::of(&fields).request_id == given, is_taken, "{given}");
        }
    }
}
