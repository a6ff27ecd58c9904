//! Parts of responses, from the upstream: kept, joined and completed (RFC 9110 §15.3.7; RFC 9111 §3.3, §3.4).
//!
//! A part is stored in the place of the whole and never takes its place. A request for a part goes upstream as it came and
//! alone; one for the whole, of which a part is stored, asks for the rest on condition that it is still the same
//! representation, and whatever else comes back is taken as if nothing had been stored. Left out: keeping several parts with
//! gaps between them, validating a stale part, and parts of responses that broke off.

use super::fetch::{Coming, Job, Landed, Shared};
use super::plan::Plan;
use super::{Engine, Outcome, Request, stale};
use crate::fill::Fill;
use crate::flight::Published;
use crate::store::{Entry, FieldLines, Found, gather, unix_us};
use crate::upstream::{UpstreamBody, UpstreamResponse};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use larder_policy::{
    Exchange, Failure, Fields as _, Forward, Joined, NotStorable, Part, Reuse, Selection, Span,
    StaleWhy, Stored, ask_for_rest, brings_rest, combined_fields, insert_date, join, missing,
    reuse, select, wants_part,
};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::oneshot;

/// What a stored part is good for.
pub(super) enum PartJudged {
    /// The client's part of it.
    Answer(Arc<Entry>, Outcome),
    /// The upstream must be asked, perhaps for what is missing of this part.
    Ask(Option<Arc<Entry>>, Forward),
}

/// Does this request go upstream for a part? One with a whole stored response validates that.
pub(super) fn goes_for_part(request: &Request<'_>, entry: Option<&Entry>) -> bool {
    entry.is_none_or(Entry::is_part) && wants_part(request.method, request.headers)
}

/// A part that is all of its representation is the whole (RFC 9110 §15.3.7.3).
pub(super) fn settled(mut entry: Entry) -> Entry {
    let Some(part) = entry.part.as_deref().copied() else {
        return entry;
    };
    if entry.headers.has(&header::CONTENT_RANGE) {
        let mut headers = entry.headers.to_map();
        headers.remove(header::CONTENT_RANGE);
        entry.headers = FieldLines::from(&headers);
    }
    if part.span.length() == part.complete_length {
        entry.part = None;
        entry.status = StatusCode::OK;
    }
    entry
}

impl Engine {
    pub(super) fn judge_part(
        &self,
        request: &Request<'_>,
        plan: &Plan<'_>,
        entry: Arc<Entry>,
        now: SystemTime,
    ) -> PartJudged {
        let ttl_s = entry.policy.ttl_s(now);
        let (outcome, forward) = match reuse(&entry.policy, &plan.lookup, now) {
            Reuse::Fresh => (Some(Outcome::Hit { ttl_s }), Forward::Partial),
            Reuse::StaleAllowed => (Some(stale(&entry, StaleWhy::MaxStale, now)), Forward::Stale),
            Reuse::StaleWhileRevalidate => (None, Forward::Stale),
            Reuse::Validate(forward) => (None, forward),
            Reuse::NotForCaller => return PartJudged::Ask(None, Forward::CallerNamed),
        };
        // §3.3: only for a range that is wholly within it.
        if let Some(outcome) = outcome.filter(|_| covers(&entry, request)) {
            return PartJudged::Answer(entry, outcome);
        }
        // What HEAD or no-store bring can't be joined to anything.
        let joinable = !plan.lookup.head && !plan.lookup.directives.no_store;
        PartJudged::Ask(joinable.then_some(entry), forward)
    }

    /// Makes the upstream request one for a part: the one that the client wants, or the rest of the stored one. Gives back
    /// the whole response to validate, and the part that waits for its rest.
    pub(super) fn ask_for_part(
        &self,
        request: &Request<'_>,
        entry: Option<Arc<Entry>>,
        upstream: &mut HeaderMap,
    ) -> (Option<Arc<Entry>>, Option<Arc<Entry>>) {
        if goes_for_part(request, entry.as_deref()) {
            for name in [header::RANGE, header::IF_RANGE] {
                for value in request.headers.get_all(&name) {
                    upstream.append(&name, value.clone());
                }
            }
            return (None, None);
        }
        let part = match &entry {
            Some(stored) => stored.part.as_deref().copied(),
            None => None,
        };
        let (Some(stored), Some(part)) = (&entry, part) else {
            return (entry, None);
        };
        let asks = part.complete_length <= self.config.object_bytes_max as u64
            && ask_for_rest(upstream, &stored.headers.to_map(), part);
        (None, entry.filter(|_| asks))
    }

    /// Joins a part that came in with the one that is stored by now, if they surely belong together and what they make may be
    /// kept.
    pub(super) fn grown(&self, new: Entry, job: &Job, now: SystemTime) -> Entry {
        if !new.is_part() {
            return new;
        }
        let found = self.store.get_in_memory(&job.key, &job.client, now);
        let (Found::Part(old) | Found::WaivedPart(old)) = found else {
            return new;
        };
        self.both(&old, &new, job, now).unwrap_or(new)
    }

    /// Two parts in one, the newer one's fields and octets first.
    fn both(&self, old: &Entry, new: &Entry, job: &Job, now: SystemTime) -> Option<Entry> {
        let joined = join(*old.part.as_deref()?, *new.part.as_deref()?)?;
        let mut headers = combined_fields(&old.headers.to_map(), &new.headers.to_map())?;
        let times = Exchange {
            request_time: UNIX_EPOCH + Duration::from_micros(new.began_us),
            response_time: now,
        };
        // What holds for it is what the fields of both say together.
        let keep = self.keepable(job, StatusCode::OK, &headers, times).ok()?;
        let body = joined_body(old, new, &joined, self.config.object_bytes_max)?;
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        Some(settled(Entry {
            part: Some(Box::new(joined.part)),
            // A purge that covers either covers what they make.
            born: old.born,
            headers: FieldLines::from(&headers),
            body,
            policy: keep.policy,
            vary: keep.vary,
            selecting: keep.selecting,
            ..new.clone()
        }))
    }

    /// The answer to a request for what is missing of a part.
    pub(super) async fn received_rest(
        &self,
        job: Job,
        landed: oneshot::Sender<Landed>,
        stored: &Entry,
        response: UpstreamResponse,
        times: Exchange,
    ) {
        let fits = stored.part.as_deref().copied().filter(|part| {
            brings_rest(
                &stored.headers.to_map(),
                *part,
                response.status,
                &response.headers,
            )
        });
        if let Some((part, gap)) = fits.and_then(|part| Some((part, missing(part)?)))
            && let Some(coming) = self.completing(&job, stored, part, &response, times)
        {
            let coming = Arc::new(coming);
            if let Some(reader) = coming.fill.reader() {
                drop(landed.send(Landed::Coming(
                    coming.clone(),
                    reader,
                    coming.headers.clone(),
                )));
            }
            job.publish(Published::Shared(Shared::Coming(coming.clone())));
            return self
                .take_in_rest(
                    &job,
                    &coming,
                    stored,
                    gap,
                    response.body,
                    times.response_time,
                )
                .await;
        }
        // Another part than was asked for, or none, or a request that was not understood.
        if matches!(
            response.status,
            StatusCode::PARTIAL_CONTENT
                | StatusCode::RANGE_NOT_SATISFIABLE
                | StatusCode::BAD_REQUEST
        ) {
            drop(response);
            return self.ask_for_whole(job, landed).await;
        }
        if may_be_about_range(&job.upstream.headers, response.status) {
            let stored = Stored::No(NotStorable::Status);
            return self.to_its_client(&job, landed, response, stored);
        }
        self.without_range(job, landed, response, times).await;
    }

    async fn without_range(
        &self,
        mut job: Job,
        landed: oneshot::Sender<Landed>,
        response: UpstreamResponse,
        times: Exchange,
    ) {
        forget_range(&mut job);
        self.received(job, landed, response, times).await;
    }

    /// Asks anew, as if no part were stored.
    pub(super) async fn ask_for_whole(&self, mut job: Job, landed: oneshot::Sender<Landed>) {
        forget_range(&mut job);
        Box::pin(self.run(job, landed)).await;
    }

    /// The whole response that the stored part and the one that comes make together; none when it may not be kept.
    fn completing(
        &self,
        job: &Job,
        stored: &Entry,
        part: Part,
        response: &UpstreamResponse,
        times: Exchange,
    ) -> Option<Coming> {
        let mut headers = combined_fields(&stored.headers.to_map(), &response.headers)?;
        headers.insert(
            header::CONTENT_LENGTH,
            HeaderValue::from(part.complete_length),
        );
        insert_date(&mut headers, times.response_time);
        let keep = self.keepable(job, StatusCode::OK, &headers, times).ok()?;
        Some(Coming {
            status: StatusCode::OK,
            upstream_status: response.status,
            part: None,
            headers,
            policy: keep.policy,
            vary: keep.vary,
            selecting: keep.selecting,
            began_us: unix_us(times.request_time),
            born: stored.born,
            began: response.began,
            fill: Fill::new(self.config.object_bytes_max, self.fills.clone()),
        })
    }

    /// Reads what was missing, and puts what is stored before or after it. Stored only when it was as long as was said.
    async fn take_in_rest(
        &self,
        job: &Job,
        coming: &Coming,
        stored: &Entry,
        gap: Span,
        mut body: UpstreamBody,
        now: SystemTime,
    ) {
        let comes_last = gap.first > 0;
        if coming.fill.is_outgrown_by(stored.body.len()) {
            body.leave_turn();
        }
        if comes_last && coming.fill.push(stored.body.clone()).await.is_err() {
            return;
        }
        let mut left = gap.length();
        let (end, mut last) = loop {
            match body.next().await {
                Ok(Some(chunk)) => {
                    let Some(rest) = left.checked_sub(chunk.len() as u64) else {
                        break (Err(Failure::UpstreamBroken), Bytes::new());
                    };
                    left = rest;
                    if left == 0 {
                        break (ends(&mut body).await, chunk);
                    }
                    if coming.fill.is_outgrown_by(chunk.len()) {
                        body.leave_turn();
                    }
                    if coming.fill.push(chunk).await.is_err() {
                        return;
                    }
                }
                Ok(None) => break (Err(Failure::UpstreamBroken), Bytes::new()),
                Err(failure) => break (Err(failure), Bytes::new()),
            }
        };
        body.leave_turn();
        if !comes_last && end.is_ok() {
            if coming.fill.push(last).await.is_err() {
                return;
            }
            last = stored.body.clone();
        }
        if let (Some(whole), Ok(())) = (coming.fill.whole(&last), end)
            && let Some(entry) = coming.entry(&job.key, whole)
        {
            job.put(self, entry, now).await;
        }
        job.close();
        // Abandoned or not, this was the last of it.
        let _ = coming.fill.push(last).await;
        coming.fill.finish(end);
    }
}

/// May this be an error only because a part was asked for? `Range` is not keyed, so it is then no answer to anybody who asks
/// for the whole, or for another part. Errors that are about the target alone are everybody's.
pub(super) fn may_be_about_range(upstream: &HeaderMap, status: StatusCode) -> bool {
    let is_error = status.is_client_error() || status.is_server_error();
    let is_about_target = matches!(
        status,
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::GONE
    );
    is_error && !is_about_target && upstream.contains_key(header::RANGE)
}

/// Is the body at its end, as it should be?
async fn ends(body: &mut UpstreamBody) -> Result<(), Failure> {
    match body.next().await? {
        None => Ok(()),
        Some(_) => Err(Failure::UpstreamBroken),
    }
}

fn forget_range(job: &mut Job) {
    job.part = None;
    for name in [header::RANGE, header::IF_RANGE] {
        job.upstream.headers.remove(name);
    }
}

/// The octets of two parts in one buffer; none when they would be more than an object may have.
fn joined_body(old: &Entry, new: &Entry, joined: &Joined, bytes_max: usize) -> Option<Bytes> {
    let bytes = usize::try_from(joined.part.span.length()).ok()?;
    if bytes > bytes_max {
        return None;
    }
    let before = old.body.get(..usize::try_from(joined.before).ok()?)?;
    let after = usize::try_from(joined.after).ok()?;
    let after = old.body.get(old.body.len().checked_sub(after)?..)?;
    Some(gather([before, &new.body[..], after]))
}

/// Is all that the request asks for in the stored part?
fn covers(entry: &Entry, request: &Request<'_>) -> bool {
    let Some(part) = entry.part.as_deref() else {
        return true;
    };
    let selection = select(
        request.method,
        request.headers,
        entry.status,
        &entry.headers.to_map(),
        part.complete_length,
    );
    match selection {
        Selection::Whole | Selection::Unsatisfiable => false,
        Selection::Part(span) => part.span.contains(span),
        Selection::Parts(spans) => spans.iter().all(|span| part.span.contains(*span)),
    }
}
