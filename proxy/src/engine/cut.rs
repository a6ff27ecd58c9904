//! The part that a client asked for, cut out of a response that is stored or coming in (RFC 9110 §14, §15.3.7).

use super::fetch::content_length;
use super::{Body, Request};
use crate::fill::Reader;
use crate::store::Entry;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use larder_policy::{
    Selection, Span, content_range, multipart, not_modified, select, unsatisfied_range,
};

/// Several parts are copied for each client, and a slow one holds its copy: those that make more are answered by the whole,
/// of which all clients share one (RFC 9110 §17.15).
const COPIED_BYTES_MAX: u64 = 128 * 1024;

/// What goes to a client of a stored or coming response.
pub(super) struct Cut {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
}

impl Cut {
    fn partial(mut headers: HeaderMap, body: Body, length: u64) -> Self {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        Self {
            status: StatusCode::PARTIAL_CONTENT,
            headers,
            body,
        }
    }

    /// RFC 9110 §15.5.17. `Content-Range` says all there is to say.
    fn unsatisfiable(complete_length: u64) -> Self {
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(header::CONTENT_RANGE, unsatisfied_range(complete_length));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(0));
        Self {
            status: StatusCode::RANGE_NOT_SATISFIABLE,
            headers,
            body: Body::Empty,
        }
    }
}

/// What the request asks for of a stored response.
pub(super) fn cut(request: &Request<'_>, entry: &Entry) -> Cut {
    let length = entry.body.len() as u64;
    let complete_length = entry
        .part
        .as_deref()
        .map_or(length, |part| part.complete_length);
    let (method, fields) = (request.method, request.headers);
    let headers = entry.headers.to_map();
    let cut = match select(method, fields, entry.status, &headers, complete_length) {
        Selection::Whole => None,
        Selection::Part(span) => one_part(entry, span, complete_length),
        Selection::Parts(spans) => several_parts(entry, &spans, complete_length),
        Selection::Unsatisfiable => Some(Cut::unsatisfiable(complete_length)),
    };
    // §3.3: what is stored of a part goes out as a part, if at all.
    let own_span = entry.part.as_deref().map(|part| part.span);
    cut.or_else(|| one_part(entry, own_span?, complete_length))
        .unwrap_or_else(|| Cut {
            status: entry.status,
            headers,
            body: Body::Whole(entry.body.clone()),
        })
}

/// These octets of the representation, if they are stored.
fn octets(entry: &Entry, span: Span) -> Option<Bytes> {
    let offset = entry.part.as_deref().map_or(0, |part| part.span.first);
    let start = usize::try_from(span.first.checked_sub(offset)?).ok()?;
    let end = start.checked_add(usize::try_from(span.length()).ok()?)?;
    (end <= entry.body.len()).then(|| entry.body.slice(start..end))
}

fn one_part(entry: &Entry, span: Span, complete_length: u64) -> Option<Cut> {
    let body = octets(entry, span)?;
    let mut headers = entry.headers.to_map();
    headers.insert(header::CONTENT_RANGE, content_range(span, complete_length));
    Some(Cut::partial(headers, Body::Whole(body), span.length()))
}

fn several_parts(entry: &Entry, spans: &[Span], complete_length: u64) -> Option<Cut> {
    let copied = spans.iter().map(|span| span.length());
    if copied.fold(0, u64::saturating_add) > COPIED_BYTES_MAX {
        return None;
    }
    let octets = spans.iter().map(|span| octets(entry, *span));
    let octets = octets.collect::<Option<Vec<_>>>()?;
    let pieces = spans.iter().copied().zip(octets.iter().map(|o| &o[..]));
    let pieces: Vec<_> = pieces.collect();
    let mut headers = entry.headers.to_map();
    let content_type = headers.get(header::CONTENT_TYPE);
    let multipart = multipart(&pieces, complete_length, content_type)?;
    headers.insert(header::CONTENT_TYPE, multipart.content_type);
    let length = multipart.body.len() as u64;
    let body = Body::Whole(Bytes::from(multipart.body));
    Some(Cut::partial(headers, body, length))
}

/// What the request asks for of a response that is coming in. Several parts would have to be held back until all are
/// there: the whole is the answer then, as it is when the length is not known yet.
pub(super) fn cut_coming(
    request: &Request<'_>,
    status: StatusCode,
    headers: &HeaderMap,
    reader: Reader,
) -> Cut {
    let whole = |reader| Cut {
        status,
        headers: headers.clone(),
        body: Body::Shared(reader),
    };
    let (method, fields) = (request.method, request.headers);
    let length = content_length(headers)
        // RFC 9110 §13.2.2: who has it already gets 304, whatever the range.
        .filter(|_| status == StatusCode::OK && !not_modified(fields, status, headers));
    let Some(length) = length else {
        return whole(reader);
    };
    match select(method, fields, status, headers, length) {
        Selection::Whole | Selection::Parts(_) => whole(reader),
        Selection::Unsatisfiable => Cut::unsatisfiable(length),
        Selection::Part(span) => {
            let mut headers = headers.clone();
            headers.insert(header::CONTENT_RANGE, content_range(span, length));
            let body = Body::Shared(reader.limited(span.first, span.length()));
            Cut::partial(headers, body, span.length())
        }
    }
}

/// A part is an incomplete 200 (RFC 9111 §3.3), so a condition that the whole would answer with 304 is judged on it, too.
pub(super) fn status_of_whole(status: StatusCode) -> StatusCode {
    match status {
        StatusCode::PARTIAL_CONTENT => StatusCode::OK,
        other => other,
    }
}
