//! Dresses responses: `Age`, `X-Cache`, `Cache-Status`, and the 304 for a client whose copy is good.

use super::cut::{Cut, cut, cut_coming, status_of_whole};
use super::fetch::{Coming, Ended, How};
use super::{Answer, Body, Engine, Request, Response, fault};
use crate::clock;
use crate::fill::Reader;
use crate::problem::{self, Problem};
use crate::store::Entry;
use crate::trace::{REQUEST_ID, Trace};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use larder_policy::{Forward, Outcome, StaleWhy, Stored, not_modified, not_modified_fields};
use std::time::SystemTime;

pub(crate) const X_CACHE: HeaderName = HeaderName::from_static("x-cache");
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// What this cache is called in `Cache-Status` (RFC 9211 §2).
pub(crate) const NAME: &str = "larder";

/// Says in the fields what happened. A `Cache-Status` of caches behind us stays: ours comes after it (RFC 9211 §2).
pub(crate) fn label(headers: &mut HeaderMap, outcome: &Outcome) {
    headers.insert(
        X_CACHE,
        HeaderValue::from_static(outcome.x_cache().as_str()),
    );
    if let Ok(status) = HeaderValue::try_from(outcome.cache_status(NAME)) {
        headers.append(CACHE_STATUS, status);
    }
}

/// A response that the proxy makes itself.
pub(crate) fn own(problem: Problem, outcome: Outcome) -> Response {
    let Problem {
        status,
        mut headers,
        body,
    } = problem;
    label(&mut headers, &outcome);
    Response {
        status,
        headers,
        body: Body::Whole(body),
        outcome,
    }
}

impl Response {
    /// Lets whoever is told of an error of ours name the request by it: nobody else has answered.
    pub(crate) fn name_failed(&mut self, trace: &Trace, client: &HeaderMap) {
        let id = match self.outcome {
            Outcome::Error(_) => trace.told(client).request_id,
            _ => None,
        };
        if let Some(id) = id.and_then(|id| HeaderValue::from_str(id).ok()) {
            self.headers.insert(REQUEST_ID, id);
        }
    }
}

impl Engine {
    /// A stored response. Its `Age` is computed anew (RFC 9111 §5.1).
    pub(super) fn stored(
        &self,
        request: &Request<'_>,
        entry: &Entry,
        outcome: Outcome,
        now: SystemTime,
    ) -> Answer {
        let status = status_of_whole(entry.status);
        let Cut {
            status,
            mut headers,
            body,
        } = match not_modified(request.headers, status, &entry.headers) {
            true => Cut {
                status: StatusCode::NOT_MODIFIED,
                headers: not_modified_fields(&entry.headers),
                body: Body::Empty,
            },
            false => cut(request, entry),
        };
        headers.insert(header::AGE, HeaderValue::from(entry.policy.age_s(now)));
        label(&mut headers, &outcome);
        respond(request, status, headers, body, outcome)
    }

    /// A response as it came from the upstream just now, and is being stored.
    pub(super) fn fetched(
        &self,
        request: &Request<'_>,
        status: StatusCode,
        headers: &HeaderMap,
        body: Body,
        outcome: Outcome,
    ) -> Answer {
        let unchanged = not_modified(request.headers, status_of_whole(status), headers);
        let (status, mut headers, body) = match unchanged {
            true => (
                StatusCode::NOT_MODIFIED,
                not_modified_fields(headers),
                Body::Empty,
            ),
            false => (status, headers.clone(), body),
        };
        label(&mut headers, &outcome);
        respond(request, status, headers, body, outcome)
    }

    /// The answer of a fetch that brought no new response.
    pub(super) fn ended(&self, request: &Request<'_>, ended: &Ended, forward: Forward) -> Answer {
        match ended {
            Ended::Failed(failure) => fault(*failure, problem::sentence(*failure)),
            Ended::Stored { entry, how } => {
                let now = clock::now();
                let ttl_s = entry.policy.ttl_s(now);
                let outcome = match how {
                    How::Validated { status, kept } => Outcome::Revalidated {
                        fwd: forward,
                        status: status.as_u16(),
                        ttl_s,
                        stored: *kept,
                    },
                    How::StaleIfError(cause) => Outcome::Stale {
                        ttl_s,
                        why: StaleWhy::IfError(*cause),
                    },
                    // It went upstream through another replica, together with that one's request (RFC 9211 §2.7).
                    How::Elsewhere { waited: true } => Outcome::Miss {
                        fwd: forward,
                        status: status_of_whole(entry.status).as_u16(),
                        stored: Stored::Yes,
                        collapsed: true,
                    },
                    How::Elsewhere { waited: false } => Outcome::Hit { ttl_s },
                };
                self.stored(request, entry, outcome, now)
            }
        }
    }

    /// A response on its way into the store, from the first byte on, with the fields that this client may have.
    pub(super) fn coming(
        &self,
        request: &Request<'_>,
        coming: &Coming,
        headers: &HeaderMap,
        reader: Reader,
        forward: Forward,
        collapsed: bool,
    ) -> Answer {
        let outcome = Outcome::Miss {
            fwd: forward,
            status: coming.upstream_status.as_u16(),
            stored: Stored::Yes,
            collapsed,
        };
        let cut = cut_coming(request, coming.status, headers, reader);
        self.fetched(request, cut.status, &cut.headers, cut.body, outcome)
    }
}

/// A response that is not stored: what the request asks on condition is not for a cache to judge by it (RFC 9111 §4.3.2).
pub(super) fn unstored(
    request: &Request<'_>,
    status: StatusCode,
    mut headers: HeaderMap,
    body: Body,
    outcome: Outcome,
) -> Answer {
    label(&mut headers, &outcome);
    respond(request, status, headers, body, outcome)
}

fn respond(
    request: &Request<'_>,
    status: StatusCode,
    headers: HeaderMap,
    body: Body,
    outcome: Outcome,
) -> Answer {
    let body = if request.method == Method::HEAD {
        Body::Empty
    } else {
        body
    };
    Answer::Respond(Box::new(Response {
        status,
        headers,
        body,
        outcome,
    }))
}
