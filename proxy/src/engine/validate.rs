//! What the upstream says of stored responses: a 304, a 304 that names one of several, a 200 to a `HEAD` (RFC 9111 §4.3).
//!
//! What must stay true: only a response that the upstream's word is about is updated; whoever waits for a body never gets a
//! `HEAD`'s answer, for a `HEAD` asks alone.

use super::fetch::{Ended, How, Job, Landed, ms_since, share};
use super::plan::{CLIENT_CONDITIONS, Plan};
use super::{Engine, Request};
use crate::clock;
use crate::flight::Published;
use crate::store::{Entry, FieldLines, Put, unix_us};
use crate::upstream::UpstreamResponse;
use http::{HeaderMap, header};
use larder_policy::{
    Exchange, Freshened, HeadSays, NotStorable, Reuse, Stored, accepts_coding_of, freshen,
    freshen_by_head, insert_date, named_by, reuse,
};
use std::sync::Arc;
use tokio::sync::oneshot;

impl Job {
    /// Does it ask on condition of what is stored here?
    pub(super) fn is_conditional(&self) -> bool {
        self.entry.is_some() || !self.others.is_empty()
    }
}

impl Engine {
    /// What other requests for the same URL selected, and this one may have if the upstream says so.
    pub(super) fn others(&self, request: &Request<'_>, plan: &Plan<'_>) -> Vec<Arc<Entry>> {
        if plan.lookup.head || request.headers.contains_key(header::RANGE) {
            return Vec::new();
        }
        let now = clock::now();
        let mut others = self.store.variants_in_memory(&plan.key, now);
        others.retain(|other| {
            !other.is_part()
                && accepts_coding_of(request.headers, &other.headers)
                && reuse(&other.policy, &plan.lookup, now) != Reuse::NotForCaller
        });
        others
    }

    /// A stored response is still good (§4.3.4), or the 304 belongs to another and the fetch is made anew.
    pub(super) async fn validated(
        &self,
        mut job: Job,
        landed: oneshot::Sender<Landed>,
        mut response: UpstreamResponse,
        times: Exchange,
    ) {
        response.body.release().await;
        let said = &response.headers;
        let named = match &job.entry {
            Some(entry) => Some(entry),
            None => named_by(said, &job.others, |other| &other.headers),
        };
        let updated = named.map(|entry| (entry.clone(), freshen(&entry.headers.to_map(), said)));
        let Some((entry, Freshened::Updated(headers))) = updated else {
            for name in CLIENT_CONDITIONS {
                job.upstream.headers.remove(name);
            }
            job.entry = None;
            job.others.clear();
            // With its turn, which the fetch that follows may be waiting for.
            drop(response);
            return Box::pin(self.run(job, landed)).await;
        };
        self.updated(job, landed, &entry, headers, response, times)
            .await;
    }

    /// A 200 to a HEAD that was asked because the stored answer to a GET needed validation (§4.3.5).
    pub(super) async fn head_received(
        &self,
        job: Job,
        landed: oneshot::Sender<Landed>,
        entry: &Arc<Entry>,
        mut response: UpstreamResponse,
        times: Exchange,
    ) {
        let profile = self.config.rules.profile;
        let length = entry.body.len();
        match freshen_by_head(&entry.headers.to_map(), length, &response.headers, profile) {
            HeadSays::Updated(headers) => {
                response.body.release().await;
                return self
                    .updated(job, landed, entry, headers, response, times)
                    .await;
            }
            HeadSays::Changed => self.forget(&job.key).await,
            HeadSays::Nothing => {}
        }
        self.to_its_client(&job, landed, response, Stored::No(NotStorable::Method));
    }

    /// Stores a response with its new fields under what this request selects, and gives it to all who wait.
    async fn updated(
        &self,
        job: Job,
        landed: oneshot::Sender<Landed>,
        entry: &Entry,
        mut headers: HeaderMap,
        response: UpstreamResponse,
        times: Exchange,
    ) {
        let status = response.status;
        insert_date(&mut headers, times.response_time);
        let keep = self.keepable(&job, entry.status, &headers, times);
        let mut entry = Entry {
            headers: FieldLines::from(&headers),
            began_us: unix_us(times.request_time),
            born: job.mark.stamp(),
            fetch_ms: ms_since(response.began),
            ..entry.clone()
        };
        match keep {
            Ok(keep) => {
                entry.policy = keep.policy;
                entry.vary = keep.vary;
                entry.selecting = keep.selecting;
                let put = job.put(self, entry.clone(), times.response_time).await;
                let (entry, kept) = (Arc::new(entry), put == Put::Stored);
                let how = How::Validated { status, kept };
                share(&job, landed, Ended::Stored { entry, how });
            }
            // What is no longer to be kept is for the client that validated it, and for nobody else.
            Err(why) => {
                if !is_about_the_request(why) {
                    self.forget(&job.key).await;
                }
                job.publish(Published::GoAlone);
                let kept = false;
                let how = How::Validated { status, kept };
                let entry = Arc::new(entry);
                drop(landed.send(Landed::Ended(Ended::Stored { entry, how })));
            }
        }
    }
}

/// Is it this request alone whose answers are not kept? Then what is stored stays as it is (§5.2.1.5: a request's `no-store`
/// does not apply to it).
fn is_about_the_request(why: NotStorable) -> bool {
    matches!(
        why,
        NotStorable::RequestNoStore | NotStorable::Authorization | NotStorable::IdentityNotShared
    )
}
