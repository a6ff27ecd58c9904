//! Which octets answer a `Range` request, and how parts of a representation grow together
//! (RFC 9110 §14, §13.1.5, §15.3.7; RFC 9111 §3.3, §3.4).
//!
//! A `Range` that cannot be read is as good as none (§14.2), as is one that asks for more pieces than
//! anybody needs: the answer is then the whole. A part is only ever joined to another on a validator
//! that is strong in both. Left out: range units other than `bytes`, storing several separate parts of
//! one representation, and `multipart/byteranges` from upstream, which is handed through.

use std::hash::{DefaultHasher, Hash, Hasher};

use http::header::{
    CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG, HeaderValue, IF_RANGE, LAST_MODIFIED,
    RANGE,
};
use http::{HeaderMap, Method, StatusCode};

use crate::freshness::date_s;
use crate::validate::{Freshened, freshen};

/// More pieces than this in one request are a broken client's or an attacker's (§14.2, §17.15).
const RANGES_MAX: usize = 16;
/// §8.8.2.2: so far behind `Date`, no difference between two clocks makes a `Last-Modified` that two
/// versions share.
const DATE_IS_STRONG_AFTER_S: u64 = 60;
/// How often another boundary is tried when the content holds one; a second time is no chance.
const BOUNDARIES_MAX: u32 = 8;

/// Octets of a representation, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    /// Offset of the first octet.
    pub first: u64,
    /// Offset of the last octet, never before the first.
    pub last: u64,
}

impl Span {
    /// The number of octets; the longest one counts one less.
    pub fn length(self) -> u64 {
        self.last.saturating_sub(self.first).saturating_add(1)
    }

    /// Whether all of `other` is in it.
    pub fn contains(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }

    fn touches(self, other: Self) -> bool {
        self.first <= other.last.saturating_add(1) && other.first <= self.last.saturating_add(1)
    }

    fn hull(self, other: Self) -> Self {
        Self {
            first: self.first.min(other.first),
            last: self.last.max(other.last),
        }
    }
}

/// A part of a representation whose whole length is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Part {
    /// Which octets it is.
    pub span: Span,
    /// How many the representation has.
    pub complete_length: u64,
}

/// What of a representation answers a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// All of it, with 200.
    Whole,
    /// This, with 206.
    Part(Span),
    /// These, with 206 and `multipart/byteranges`: at least two, apart from each other.
    Parts(Vec<Span>),
    /// There are no such octets: 416.
    Unsatisfiable,
}

/// One range-spec (§14.1.1).
#[derive(Debug, Clone, Copy)]
enum Spec {
    From { first: u64, last: Option<u64> },
    Suffix(u64),
}

impl Spec {
    fn parse(spec: &[u8]) -> Option<Self> {
        let at = spec.iter().position(|&byte| byte == b'-')?;
        let (first, last) = (spec.get(..at)?, spec.get(at + 1..)?);
        if first.is_empty() {
            return number(last).map(Self::Suffix);
        }
        let first = number(first)?;
        let last = match last {
            b"" => None,
            last => Some(number(last)?),
        };
        // §14.1.1: with the last before the first it is invalid.
        let sound = last.is_none_or(|last| first <= last);
        sound.then_some(Self::From { first, last })
    }

    /// §14.1.2; none when it is not satisfiable. `length` is not zero.
    fn within(self, length: u64) -> Option<Span> {
        let end = length.checked_sub(1)?;
        let (first, last) = match self {
            Self::From { first, last } => (first, last.map_or(end, |last| last.min(end))),
            Self::Suffix(0) => return None,
            Self::Suffix(count) => (length.saturating_sub(count), end),
        };
        (first <= last).then_some(Span { first, last })
    }
}

/// §14.1.2: recipients must be ready for any number; a larger one means the same as the largest.
fn number(digits: &[u8]) -> Option<u64> {
    let value = |sum: u64, digit: &u8| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        Some(sum.saturating_mul(10).saturating_add(digit))
    };
    let sum = digits.iter().try_fold(0, value)?;
    (!digits.is_empty()).then_some(sum)
}

/// A number that says what is there: one that can't be held is no other one.
fn exact(digits: &str) -> Option<u64> {
    let only_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    only_digits.then(|| digits.parse().ok())?
}

/// The ranges that a request asks for; none when it asks for none that anybody could heed.
fn specs(method: &Method, request: &HeaderMap) -> Option<Vec<Spec>> {
    // §14.2: Range means something on GET alone.
    if method != Method::GET {
        return None;
    }
    let mut lines = request.get_all(RANGE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return None;
    };
    let (unit, set) = line.as_bytes().split_at_checked(6)?;
    if !unit.eq_ignore_ascii_case(b"bytes=") {
        return None;
    }
    let mut specs = Vec::new();
    for spec in set.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
        // RFC 9110 §5.6.1.2: empty elements don't count.
        if spec.is_empty() {
            continue;
        }
        if specs.len() == RANGES_MAX {
            return None;
        }
        specs.push(Spec::parse(spec)?);
    }
    (!specs.is_empty()).then_some(specs)
}

/// Does the request ask for a part in a way that would be heeded?
pub fn wants_part(method: &Method, request: &HeaderMap) -> bool {
    request.contains_key(RANGE) && specs(method, request).is_some()
}

/// What of a response that would answer the request, were it not for `Range`, is to be sent.
/// `response` are its fields, `complete_length` the length of the whole representation.
pub fn select(
    method: &Method,
    request: &HeaderMap,
    status: StatusCode,
    response: &HeaderMap,
    complete_length: u64,
) -> Selection {
    // §14.2: only if the result without Range would be 200. A stored 206 is an incomplete 200.
    let rangeable = matches!(status, StatusCode::OK | StatusCode::PARTIAL_CONTENT);
    if !request.contains_key(RANGE) || !rangeable {
        return Selection::Whole;
    }
    let Some(specs) = specs(method, request) else {
        return Selection::Whole;
    };
    // §13.2.2: the conditions on 304 have been judged before.
    if !if_range_holds(request, response) {
        return Selection::Whole;
    }
    if complete_length == 0 {
        return of_nothing(&specs);
    }
    match coalesced(&specs, complete_length).as_slice() {
        [] => Selection::Unsatisfiable,
        [one] => Selection::Part(*one),
        several => Selection::Parts(several.to_vec()),
    }
}

/// §14.1.2: of nothing only a suffix can be had, and no `Content-Range` can say so.
fn of_nothing(specs: &[Spec]) -> Selection {
    let suffix = |spec: &Spec| matches!(spec, Spec::Suffix(1..));
    match specs.iter().any(suffix) {
        true => Selection::Whole,
        false => Selection::Unsatisfiable,
    }
}

/// The satisfiable ranges in the order they are asked for, those that touch joined (§15.3.7.2).
fn coalesced(specs: &[Spec], length: u64) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for spec in specs {
        let Some(mut span) = spec.within(length) else {
            continue;
        };
        let mut place = spans.len();
        // A grown span may touch one that it was apart from before.
        while let Some(at) = spans.iter().position(|other| other.touches(span)) {
            span = span.hull(spans.remove(at));
            place = place.min(at);
        }
        spans.insert(place.min(spans.len()), span);
    }
    spans
}

/// §13.1.5; without the field there is nothing to hold.
fn if_range_holds(request: &HeaderMap, response: &HeaderMap) -> bool {
    let mut lines = request.get_all(IF_RANGE).iter();
    let condition = match (lines.next(), lines.next()) {
        (None, _) => return true,
        (Some(condition), None) => condition,
        (Some(_), Some(_)) => return false,
    };
    let first_three = condition.as_bytes().iter().take(3);
    if first_three.into_iter().any(|&byte| byte == b'"') {
        return strong_tag(response) == Some(condition);
    }
    let dated = date_s(request, IF_RANGE);
    dated.is_some() && dated == date_s(response, LAST_MODIFIED) && is_date_strong(response)
}

/// An entity tag that is not weak (§8.8.3).
fn strong_tag(response: &HeaderMap) -> Option<&HeaderValue> {
    let tag = response.get(ETAG)?;
    let bytes = tag.as_bytes();
    (bytes.len() >= 2 && bytes.starts_with(b"\"") && bytes.ends_with(b"\"")).then_some(tag)
}

/// §8.8.2.2.
fn is_date_strong(response: &HeaderMap) -> bool {
    match (date_s(response, LAST_MODIFIED), date_s(response, DATE)) {
        (Some(changed), Some(sent)) => changed.saturating_add(DATE_IS_STRONG_AFTER_S) <= sent,
        _ => false,
    }
}

/// What may stand in `If-Range` for a stored response: §13.1.5 allows a date only without a tag.
fn strong_validator(response: &HeaderMap) -> Option<&HeaderValue> {
    if response.contains_key(ETAG) {
        return strong_tag(response);
    }
    response
        .get(LAST_MODIFIED)
        .filter(|_| is_date_strong(response))
}

/// Are these two of one representation beyond doubt (§15.3.7.3)?
fn share_strong_validator(stored: &HeaderMap, new: &HeaderMap) -> bool {
    match (stored.contains_key(ETAG), new.contains_key(ETAG)) {
        (true, true) => strong_tag(stored).is_some() && strong_tag(stored) == strong_tag(new),
        (false, false) => {
            let dated = date_s(stored, LAST_MODIFIED);
            dated == date_s(new, LAST_MODIFIED) && is_date_strong(stored) && is_date_strong(new)
        }
        _ => false,
    }
}

/// The fields of two parts in one (§3.4, §3.2); none when they don't surely belong together.
pub fn combined_fields(stored: &HeaderMap, new: &HeaderMap) -> Option<HeaderMap> {
    if !share_strong_validator(stored, new) {
        return None;
    }
    match freshen(stored, new) {
        Freshened::Updated(mut fields) => {
            fields.remove(CONTENT_RANGE);
            Some(fields)
        }
        Freshened::Mismatch => None,
    }
}

/// The part that a 206 brings, if it is one that can be kept as an incomplete response: in one piece,
/// of a known whole, asked for, and with the fields of the whole.
pub fn part_received(request: &HeaderMap, response: &HeaderMap) -> Option<Part> {
    // §15.3.7: after If-Range the fields that the client has already may be left out.
    if !request.contains_key(RANGE) || request.contains_key(IF_RANGE) {
        return None;
    }
    part_described(response)
}

/// Does this 206 bring just what was missing of the stored part, and surely of the same
/// representation?
pub fn brings_rest(
    stored: &HeaderMap,
    part: Part,
    status: StatusCode,
    response: &HeaderMap,
) -> bool {
    let expected = missing(part).map(|span| Part { span, ..part });
    status == StatusCode::PARTIAL_CONTENT
        && expected.is_some()
        && part_described(response) == expected
        && share_strong_validator(stored, response)
}

/// Whether a 206 says in one piece what it is a part of.
pub(crate) fn describes_part(response: &HeaderMap) -> bool {
    part_described(response).is_some()
}

fn part_described(response: &HeaderMap) -> Option<Part> {
    let part = content_range_of(response)?;
    if is_multipart(response) {
        return None;
    }
    let Some(length) = response.get(CONTENT_LENGTH) else {
        return Some(part);
    };
    (exact(length.to_str().ok()?) == Some(part.span.length())).then_some(part)
}

/// §15.3.7.2: with several parts the outer `Content-Range` is an error.
fn is_multipart(response: &HeaderMap) -> bool {
    let kind = response
        .get(CONTENT_TYPE)
        .map_or(&b""[..], |kind| kind.as_bytes());
    let start = kind.split_at_checked(20).map_or(kind, |(start, _)| start);
    start.eq_ignore_ascii_case(b"multipart/byteranges")
}

/// §14.4: `bytes first-last/complete`, and nothing else.
fn content_range_of(response: &HeaderMap) -> Option<Part> {
    let mut lines = response.get_all(CONTENT_RANGE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return None;
    };
    let (unit, rest) = line.to_str().ok()?.split_once(' ')?;
    let (range, complete) = rest.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (exact(first)?, exact(last)?);
    let complete_length = exact(complete)?;
    let span = Span { first, last };
    let valid = unit.eq_ignore_ascii_case("bytes") && first <= last && last < complete_length;
    valid.then_some(Part {
        span,
        complete_length,
    })
}

/// What is missing of a part, if it is one piece.
pub fn missing(part: Part) -> Option<Span> {
    let (span, end) = (part.span, part.complete_length.checked_sub(1)?);
    match (span.first, span.last) {
        (0, last) if last < end => Some(Span {
            first: last + 1,
            last: end,
        }),
        (first, last) if first > 0 && last == end => Some(Span {
            first: 0,
            last: first - 1,
        }),
        _ => None,
    }
}

/// Makes an upstream request ask for what is missing of a stored part, or else for the whole of what
/// is there now (§3.3; RFC 9110 §13.1.5); false when it can't be asked for in this way.
///
/// Of a part without any validator the rest is asked for without a condition: an upstream that answers
/// with the whole, as most without validators do, costs nothing by it. What it sends of the rest can't be
/// used (§3.4, see [`brings_rest`]), so the whole must then be asked for after all.
pub fn ask_for_rest(upstream: &mut HeaderMap, stored: &HeaderMap, part: Part) -> bool {
    let validator = strong_validator(stored);
    let has_weak_one = stored.contains_key(ETAG) || stored.contains_key(LAST_MODIFIED);
    let Some(rest) = missing(part).filter(|_| validator.is_some() || !has_weak_one) else {
        return false;
    };
    let range = match rest.first {
        0 => format!("bytes=0-{}", rest.last),
        first => format!("bytes={first}-"),
    };
    let Ok(range) = HeaderValue::try_from(range) else {
        return false;
    };
    upstream.insert(RANGE, range);
    if let Some(validator) = validator {
        upstream.insert(IF_RANGE, validator.clone());
    }
    true
}

/// How two parts make one: octets of the old one, all of the new, octets of the old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Joined {
    /// What they make together.
    pub part: Part,
    /// So many octets from the beginning of the old part come before the new one.
    pub before: u64,
    /// So many octets from the end of the old part come after it.
    pub after: u64,
}

impl Joined {
    /// Whether nothing is missing any more.
    pub fn is_complete(&self) -> bool {
        self.part.span.length() == self.part.complete_length
    }
}

/// Joins two parts that overlap or adjoin; where both have an octet the new one's counts.
pub fn join(old: Part, new: Part) -> Option<Joined> {
    let alike = old.complete_length == new.complete_length;
    (alike && old.span.touches(new.span)).then(|| Joined {
        part: Part {
            span: old.span.hull(new.span),
            ..new
        },
        before: new.span.first.saturating_sub(old.span.first),
        after: old.span.last.saturating_sub(new.span.last),
    })
}

/// `Content-Range` for a part (§14.4).
pub fn content_range(span: Span, complete_length: u64) -> HeaderValue {
    digits_only(format!(
        "bytes {}-{}/{complete_length}",
        span.first, span.last
    ))
}

/// `Content-Range` for a 416 (§14.4).
pub fn unsatisfied_range(complete_length: u64) -> HeaderValue {
    digits_only(format!("bytes */{complete_length}"))
}

/// Letters, digits and punctuation are always a value; the alternative is there for the type.
fn digits_only(value: String) -> HeaderValue {
    HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static("bytes */*"))
}

/// Content of several parts (§14.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Multipart {
    /// The `Content-Type`, with the boundary.
    pub content_type: HeaderValue,
    /// The content.
    pub body: Vec<u8>,
}

/// Puts pieces of a representation into one content. `content_type` is the representation's own. None
/// when every boundary tried occurs in it, which is not by chance: the whole is then the answer.
pub fn multipart(
    pieces: &[(Span, &[u8])],
    complete_length: u64,
    content_type: Option<&HeaderValue>,
) -> Option<Multipart> {
    let boundary = boundary(pieces)?;
    let mut body = Vec::with_capacity(pieces.iter().map(|(_, piece)| piece.len() + 256).sum());
    for (span, piece) in pieces {
        body.extend_from_slice(format!("\r\n--{boundary}\r\n").as_bytes());
        if let Some(content_type) = content_type {
            body.extend_from_slice(b"Content-Type: ");
            body.extend_from_slice(content_type.as_bytes());
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"Content-Range: ");
        body.extend_from_slice(content_range(*span, complete_length).as_bytes());
        body.extend_from_slice(b"\r\n\r\n");
        body.extend_from_slice(piece);
    }
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    let content_type = format!("multipart/byteranges; boundary={boundary}");
    let content_type = HeaderValue::try_from(content_type).ok()?;
    Some(Multipart { content_type, body })
}

/// Made of what is sent, so that the same answer has the same bytes, and seen not to occur in it.
fn boundary(pieces: &[(Span, &[u8])]) -> Option<String> {
    let mut hasher = DefaultHasher::new();
    pieces.hash(&mut hasher);
    (0..BOUNDARIES_MAX)
        .map(|attempt| {
            let mut hasher = hasher.clone();
            attempt.hash(&mut hasher);
            let low = hasher.finish();
            low.hash(&mut hasher);
            format!("larder-{low:016x}{:016x}", hasher.finish())
        })
        .find(|boundary| !pieces.iter().any(|(_, piece)| occurs(boundary, piece)))
}

/// RFC 2046 §5.1.1: a boundary counts at the beginning of a line, and a piece begins with one.
fn occurs(boundary: &str, piece: &[u8]) -> bool {
    let is_delimiter = |line: &[u8]| {
        let rest = line.strip_prefix(b"--");
        rest.is_some_and(|rest| rest.starts_with(boundary.as_bytes()))
    };
    let after_returns = piece.split(|&byte| byte == b'\r').skip(1);
    is_delimiter(piece)
        || after_returns
            .filter_map(|rest| rest.strip_prefix(b"\n"))
            .any(is_delimiter)
}
