//! Asks the upstream, and decides what its answer is good for: storing, sharing with those who wait, updating what is
//! stored, or this one client alone.
//!
//! A fetch runs in a task of its own, so that a client that goes away does not take the answer from the others. It ends with
//! its client only when nobody else can be waiting for it, or its answer can't be stored; one that nobody can join is
//! its client's own work until its answer proves to be worth storing.

use super::lease::Wish;
use super::plan::CLIENT_CONDITIONS;
use super::{Engine, Plan, Request, partial};
use crate::clock;
use crate::fill::{self, Fill};
use crate::flight::{FlightKey, Permit, Published};
use crate::store::{Entry, FetchLease, FieldLines, Kept, Mark, Put, Stamp, unix_us};
use crate::upstream::{Interims, UpstreamBody, UpstreamRequest, UpstreamResponse};
use crate::usual::Usual;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use larder_policy::{
    CacheKey, ErrorCause, Exchange, Failure, Forward, Lookup, NotStorable, Part, Route, Storable,
    Stored, StoredPolicy, Vary, VarySpec, add_conditions, add_tags, fields_to_store, insert_date,
    part_received, selecting, stale_on_error, storable, strip_hop_by_hop, vary,
};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};
use tokio::sync::oneshot;
use xxhash_rust::xxh3::Xxh3;

/// An answer that everybody who wants the same may have.
#[derive(Debug, Clone)]
pub(super) enum Shared {
    Ended(Ended),
    /// A response that is on its way into the store.
    Coming(Arc<Coming>),
}

/// How a fetch ended that brought no new response.
#[derive(Debug, Clone)]
pub(super) enum Ended {
    /// A whole stored response, and what it took to serve it.
    Stored {
        entry: Arc<Entry>,
        how: How,
    },
    Failed(Failure),
}

/// Why a stored response answers a request that went upstream.
#[derive(Debug, Clone, Copy)]
pub(super) enum How {
    Validated {
        /// What the upstream said: 304, or 200 to a HEAD.
        status: StatusCode,
        /// The store took it, updated.
        kept: bool,
    },
    StaleIfError(ErrorCause),
    /// Another replica fetched it: while this one waited for that, or before.
    Elsewhere {
        waited: bool,
    },
}

/// The head of a response whose body is still coming.
#[derive(Debug)]
pub(super) struct Coming {
    pub(super) status: StatusCode,
    /// What the upstream said: 206 when it brought what was missing of a stored part.
    pub(super) upstream_status: StatusCode,
    /// Which part it is, if it isn't all.
    pub(super) part: Option<Part>,
    pub(super) headers: HeaderMap,
    pub(super) policy: StoredPolicy,
    pub(super) vary: Option<VarySpec>,
    pub(super) selecting: Box<[u8]>,
    /// When the fetch began: see [`Entry::began_us`].
    pub(super) began_us: u64,
    /// And as far as purges are concerned.
    pub(super) born: Stamp,
    /// When its request had its turn: see [`Entry::fetch_ms`].
    pub(super) began: Instant,
    pub(super) fill: Arc<Fill>,
}

/// What a fetch brought to the client that made it.
#[derive(Debug)]
pub(super) enum Landed {
    Ended(Ended),
    /// With this client's own place in the body, taken before the body moved, and all the fields of the answer: those that
    /// a qualified `private` or `no-cache` lists are for this client, and for no other (RFC 9111 §5.2.2.4, §5.2.2.7).
    Coming(Arc<Coming>, fill::Reader, HeaderMap),
    Own {
        status: StatusCode,
        headers: HeaderMap,
        body: UpstreamBody,
        stored: Stored,
    },
}

/// What the upstream said, and when.
pub(super) struct Received {
    pub(super) result: Result<UpstreamResponse, Failure>,
    pub(super) times: Exchange,
}

/// A fetch to be made.
pub(super) struct Job {
    pub(super) key: CacheKey,
    pub(super) lookup: Lookup,
    /// Every field of the client's: `Vary` may name any of them.
    pub(super) client: HeaderMap,
    pub(super) upstream: UpstreamRequest,
    /// Where interim responses go: to the client that this fetch is made for, and to nobody who joins it.
    interims: Option<Interims>,
    /// The whole stored response that the request selects, to be validated.
    pub(super) entry: Option<Arc<Entry>>,
    /// When it selects none: what other requests selected, of which a 304 may name one.
    pub(super) others: Vec<Arc<Entry>>,
    /// The stored part whose rest is asked for.
    pub(super) part: Option<Arc<Entry>>,
    permit: Option<Permit<Shared>>,
    flight: FlightKey,
    route: Route,
    usual: Arc<Mutex<Usual>>,
    /// Nobody asked for it: what is stored is fresh for every request, so an error is no reason to give it up.
    pub(super) is_early: bool,
    pub(super) mark: Mark,
    /// Whether to ask if another replica fetches already.
    pub(super) wish: Option<Wish>,
    /// The right to fetch for all replicas.
    pub(super) lease: Option<Arc<FetchLease>>,
}

impl Job {
    pub(super) fn new(
        engine: &Engine,
        request: &Request<'_>,
        plan: &Plan<'_>,
        entry: Option<Arc<Entry>>,
        forward: Forward,
        permit: Option<Permit<Shared>>,
    ) -> Self {
        let mut upstream = engine.upstream_request(request, plan);
        let (entry, part) = engine.ask_for_part(request, entry, &mut upstream.headers);
        if permit.is_some() {
            // Others take part in the answer, and a HEAD's would have no body for them.
            upstream.method = Method::GET;
        }
        let others = match (&entry, forward) {
            (None, Forward::VaryMiss) => engine.others(request, plan),
            _ => Vec::new(),
        };
        let likely_uncacheable =
            plan.lookup.names_caller || plan.lookup.head || forward == Forward::HitForMiss;
        if let Some(entry) = &entry {
            add_conditions(&mut upstream.headers, &entry.headers.to_map());
        } else if add_tags(
            &mut upstream.headers,
            others.iter().map(|other| &other.headers),
        ) {
            // The client's own conditions are judged on what the upstream selects.
        } else if permit.is_none() && likely_uncacheable && part.is_none() {
            // Nobody else gets this answer, so the client's own copy may spare the upstream the body.
            for name in CLIENT_CONDITIONS {
                request.headers.get_all(&name).iter().for_each(|value| {
                    upstream.headers.append(&name, value.clone());
                });
            }
        }
        Self {
            key: plan.key.clone(),
            lookup: plan.lookup,
            client: request.headers.clone(),
            upstream,
            interims: request.interims.cloned(),
            entry,
            others,
            part,
            permit,
            flight: plan.flight(),
            route: plan.route.clone(),
            usual: engine.usual(plan.route),
            is_early: false,
            mark: plan.mark,
            wish: None,
            lease: None,
        }
    }

    pub(super) fn publish(&self, published: Published<Shared>) {
        if let Some(permit) = &self.permit {
            permit.publish(published);
        }
    }
}

impl Job {
    /// Those who wait do so for another replica, until this moment at most.
    pub(super) fn waits_elsewhere(&self, until: Instant) {
        if let Some(permit) = &self.permit {
            permit.begins_at(until.into());
        }
    }

    /// The fetch begins now, after all.
    pub(super) fn begins(&self) {
        if let Some(permit) = &self.permit {
            permit.begins_at(tokio::time::Instant::now());
        }
    }

    /// Ends the flight when nobody in the process waits for it.
    pub(super) fn closes_unless_awaited(&self) -> bool {
        self.permit
            .as_ref()
            .is_none_or(Permit::close_unless_awaited)
    }

    /// Nobody in other replicas shall wait for this, or for the next one.
    fn mark_alone(&self) {
        if let Some(lease) = &self.lease {
            lease.mark_alone();
        }
    }

    /// Stores what it fetched. Whoever comes when the flight is closed must find it: where memory has no room for it, that is
    /// when Redis has it, which is waited for as long as for a look-up.
    pub(super) async fn put(&self, engine: &Engine, entry: Entry, now: SystemTime) -> Put {
        let lease = self.lease.clone();
        let (put, write) = engine.store.put_leased(entry, self.mark, lease, now);
        if let Some(write) = write {
            write.ended(engine.config.redis_timeout).await;
        }
        put
    }

    /// To be called before the last of the answer goes out: who has read that and asks again asks for something newer.
    pub(super) fn close(&self) {
        if let Some(permit) = &self.permit {
            permit.close();
        }
    }
}

/// An answer that the policy would keep.
pub(super) struct Keep {
    pub(super) policy: StoredPolicy,
    pub(super) vary: Option<VarySpec>,
    pub(super) selecting: Box<[u8]>,
}

impl Engine {
    /// Makes the fetch in a task of its own. The future gives what the fetch brought; dropping it leaves the fetch running.
    pub(super) fn launch(self: &Arc<Self>, job: Job) -> impl Future<Output = Landed> + use<> {
        let (landed, landing) = oneshot::channel();
        let engine = self.clone();
        tokio::spawn(async move { engine.lead(job, landed).await });
        given(landing)
    }

    /// Makes a fetch that nobody can join, which ends with its client. Only what is to be stored outlives that.
    pub(super) async fn launch_alone(self: &Arc<Self>, mut job: Box<Job>) -> Landed {
        let received = self.ask(&mut job).await;
        let engine = self.clone();
        let (landed, landing) = oneshot::channel();
        match received {
            Received {
                result: Ok(response),
                times,
            } if !job.is_conditional() && job.part.is_none() => {
                match self.new_keepable(&job, &response, times) {
                    Err(stored) => return self.own(&job, response, stored),
                    Ok(keep) => tokio::spawn(async move {
                        engine.keep(*job, landed, response, keep, times).await;
                    }),
                }
            }
            received => tokio::spawn(async move { engine.make_use(*job, landed, received).await }),
        };
        given(landing).await
    }

    pub(super) async fn run(&self, mut job: Job, mut landed: oneshot::Sender<Landed>) {
        let received = if job.permit.is_some() {
            self.ask(&mut job).await
        } else {
            // Nobody can join it: when its client goes, it would only keep others from their turn.
            tokio::select! {
                received = self.ask(&mut job) => received,
                () = landed.closed() => return,
            }
        };
        self.make_use(job, landed, received).await;
    }

    /// Asks the upstream, and takes down how it went.
    pub(super) async fn ask(&self, job: &mut Job) -> Received {
        let request_time = clock::now();
        let started = Instant::now();
        let interims = job.interims.take();
        let result = self.upstream.fetch(&job.upstream, interims.as_ref()).await;
        let took = started.elapsed();
        // What timed out took at least as long.
        if matches!(result, Ok(_) | Err(Failure::UpstreamTimeout)) {
            let mut usual = job.usual.lock().unwrap_or_else(PoisonError::into_inner);
            usual.observe(took);
        }
        match &result {
            Err(Failure::UpstreamAway { .. }) => self.metrics.count_refused(),
            result => self.metrics.observe_upstream(took, result.is_ok()),
        }
        let times = Exchange {
            request_time,
            response_time: clock::now(),
        };
        Received { result, times }
    }

    /// Whatever came: an answer for its client, and perhaps for others.
    pub(super) async fn make_use(
        &self,
        mut job: Job,
        landed: oneshot::Sender<Landed>,
        Received { result, times }: Received,
    ) {
        let response = match result {
            Ok(response) => response,
            Err(Failure::UpstreamBroken) if job.part.is_some() => {
                return self.ask_for_whole(job, landed).await;
            }
            Err(failure) => return self.failed(&job, landed, failure),
        };
        if response.status == StatusCode::NOT_MODIFIED && job.is_conditional() {
            return self.validated(job, landed, response, times).await;
        }
        if let Some(entry) = job.entry.clone() {
            // Of a stored response with another status a 200 says nothing (RFC 9111 §4.3.5).
            if response.status == StatusCode::OK
                && entry.status == StatusCode::OK
                && job.upstream.method == Method::HEAD
            {
                return self
                    .head_received(job, landed, &entry, response, times)
                    .await;
            }
            if is_server_error(response.status)
                && !self.store.is_purged(&entry)
                && (job.is_early || stale_on_error(&entry.policy, &job.lookup, times.response_time))
            {
                let how = How::StaleIfError(ErrorCause::Status(response.status.as_u16()));
                return share(&job, landed, Ended::Stored { entry, how });
            }
        }
        job.entry = None;
        job.others.clear();
        match job.part.take() {
            Some(part) => {
                self.received_rest(job, landed, &part, response, times)
                    .await
            }
            None => self.received(job, landed, response, times).await,
        }
    }

    /// The upstream gave no answer: what is stored may stand in (RFC 9111 §4.2.4), else everybody gets the failure.
    fn failed(&self, job: &Job, landed: oneshot::Sender<Landed>, failure: Failure) {
        let stored = job
            .entry
            .clone()
            .filter(|entry| !self.store.is_purged(entry))
            .filter(|entry| stale_on_error(&entry.policy, &job.lookup, clock::now()));
        let ended = match stored {
            Some(entry) => Ended::Stored {
                entry,
                how: How::StaleIfError(ErrorCause::Failure(failure)),
            },
            None => Ended::Failed(failure),
        };
        if matches!(ended, Ended::Failed(Failure::UpstreamBroken)) {
            // It may have been this very request that the upstream choked on: that must not be the others' answer.
            if let Some(permit) = &job.permit {
                permit.publish_failure(Published::GoAlone);
            }
            drop(landed.send(Landed::Ended(ended)));
            return;
        }
        share(job, landed, ended);
    }

    /// A new response: into the store and to all who wait, or to its client alone.
    pub(super) async fn received(
        &self,
        job: Job,
        landed: oneshot::Sender<Landed>,
        response: UpstreamResponse,
        times: Exchange,
    ) {
        match self.new_keepable(&job, &response, times) {
            Ok(keep) => self.keep(job, landed, response, keep, times).await,
            Err(stored) => self.to_its_client(&job, landed, response, stored),
        }
    }

    /// May a new response be kept? Else the reason why it isn't stored.
    pub(super) fn new_keepable(
        &self,
        job: &Job,
        response: &UpstreamResponse,
        times: Exchange,
    ) -> Result<Keep, Stored> {
        if job.upstream.method != Method::GET {
            // Its answer has no content to keep.
            return Err(Stored::No(NotStorable::Method));
        }
        let keep = self.keepable(job, response.status, &response.headers, times);
        match keep {
            Ok(_) if self.is_too_large(&response.headers) => Err(Stored::TooLarge),
            keep => keep.map_err(Stored::No),
        }
    }

    /// A new response that may be kept: into the store and to all who wait.
    pub(super) async fn keep(
        &self,
        job: Job,
        landed: oneshot::Sender<Landed>,
        response: UpstreamResponse,
        keep: Keep,
        times: Exchange,
    ) {
        self.flights.unmark(&job.flight);
        let mut headers = fields_to_store(&response.headers);
        insert_date(&mut headers, times.response_time);
        let part = part_received(&job.upstream.headers, &response.headers)
            .filter(|_| response.status == StatusCode::PARTIAL_CONTENT);
        let mut own = response.headers;
        strip_hop_by_hop(&mut own);
        insert_date(&mut own, times.response_time);
        let coming = Arc::new(Coming {
            status: response.status,
            upstream_status: response.status,
            part,
            headers,
            policy: keep.policy,
            vary: keep.vary,
            selecting: keep.selecting,
            began_us: unix_us(times.request_time),
            born: job.mark.stamp(),
            began: response.began,
            fill: Fill::new(self.config.object_bytes_max, self.fills.clone()),
        });
        let reader = coming.fill.reader();
        let coming_in = self.take_in(&job, &coming, response.body, times.response_time);
        let shared = Published::Shared(Shared::Coming(coming.clone()));
        let give = || {
            if let Some(reader) = reader {
                drop(landed.send(Landed::Coming(coming.clone(), reader, own)));
            }
            job.publish(shared);
        };
        // The client of an answer without content has all of it with its head.
        if coming.is_empty() {
            coming_in.await;
            give();
        } else {
            give();
            coming_in.await;
        }
    }

    /// Reads the body to its end and stores the response whole. Its readers get the end only then: who has read an answer
    /// and asks again finds it stored.
    async fn take_in(&self, job: &Job, coming: &Coming, mut body: UpstreamBody, now: SystemTime) {
        let mut left = content_length(&coming.headers);
        let (end, last) = loop {
            match body.next().await {
                Ok(Some(chunk)) => {
                    left = left.map(|left| left.saturating_sub(chunk.len() as u64));
                    if left == Some(0) {
                        break (body.next().await.map(drop), chunk);
                    }
                    // Before it waits for a slow reader.
                    if coming.fill.is_outgrown_by(chunk.len()) {
                        body.leave_turn();
                        // Other replicas wait for it in vain.
                        job.mark_alone();
                    }
                    if coming.fill.push(chunk).await.is_err() {
                        return;
                    }
                }
                Ok(None) => break (Ok(()), Bytes::new()),
                Err(failure) => break (Err(failure), Bytes::new()),
            }
        };
        body.leave_turn();
        match coming.fill.whole(&last) {
            Some(whole) if end.is_ok() => {
                // None: not the part that it was said to be.
                if let Some(entry) = coming.entry(&job.key, whole) {
                    let entry = self.grown(entry, job, now);
                    job.put(self, entry, now).await;
                }
            }
            // Broken off: never stored, and no word on the next answer.
            Some(_) => {}
            None => self.remember_unshareable(job),
        }
        job.close();
        // Abandoned or not, this was the last of it.
        let _ = coming.fill.push(last).await;
        coming.fill.finish(end);
    }

    pub(super) fn to_its_client(
        &self,
        job: &Job,
        landed: oneshot::Sender<Landed>,
        response: UpstreamResponse,
        stored: Stored,
    ) {
        // When the client has gone, the response is dropped here and its connection closed.
        drop(landed.send(self.own(job, response, stored)));
    }

    /// A response for one client alone.
    pub(super) fn own(&self, job: &Job, response: UpstreamResponse, stored: Stored) -> Landed {
        // A failing upstream says nothing of the next answer, and a caller's own answer nothing of other callers'.
        let says_nothing_of_others = response.status.is_server_error()
            || matches!(stored, Stored::No(NotStorable::RequestNoStore));
        if !says_nothing_of_others {
            self.remember_unshareable(job);
        }
        job.publish(Published::GoAlone);
        let (mut headers, mut body) = (response.headers, response.body);
        strip_hop_by_hop(&mut headers);
        body.leave_turn();
        Landed::Own {
            status: response.status,
            headers,
            body,
            stored,
        }
    }

    fn remember_unshareable(&self, job: &Job) {
        if job.permit.is_some() {
            self.flights.mark(&job.flight, Instant::now());
        }
        job.mark_alone();
    }

    /// May this be kept as the answer to a GET?
    pub(super) fn keepable(
        &self,
        job: &Job,
        status: StatusCode,
        headers: &HeaderMap,
        times: Exchange,
    ) -> Result<Keep, NotStorable> {
        if status == StatusCode::PARTIAL_CONTENT
            && part_received(&job.upstream.headers, headers).is_none()
        {
            return Err(NotStorable::Partial);
        }
        if partial::may_be_about_range(&job.upstream.headers, status) {
            return Err(NotStorable::Status);
        }
        let rules = &self.config.rules;
        match storable(
            &Method::GET,
            &job.client,
            &job.lookup,
            status,
            headers,
            times,
            rules,
            &job.route,
        ) {
            Storable::No(why) => Err(why),
            Storable::Yes(policy) => {
                let policy = self.jittered(policy, &job.key, &job.route, headers);
                let vary = selected_by(&job.route, headers)?;
                let selecting = vary.as_ref().map(|spec| selecting(spec, &job.client));
                Ok(Keep {
                    policy,
                    vary,
                    selecting: selecting.unwrap_or_default().into(),
                })
            }
        }
    }

    /// What is stored together shall not expire together. By what the response says of itself, so that all replicas agree.
    pub(super) fn jittered(
        &self,
        policy: StoredPolicy,
        key: &CacheKey,
        route: &Route,
        headers: &HeaderMap,
    ) -> StoredPolicy {
        let percent = route.ttl_jitter_percent;
        let percent = percent.unwrap_or(self.config.rules.ttl_jitter_percent);
        if percent == 0 {
            return policy;
        }
        let mut hash = Xxh3::new();
        hash.update(key.as_bytes());
        for name in [header::DATE, header::ETAG, header::LAST_MODIFIED] {
            if let Some(value) = headers.get(name) {
                hash.update(value.as_bytes());
            }
        }
        policy.shortened(percent, hash.digest())
    }

    fn is_too_large(&self, headers: &HeaderMap) -> bool {
        content_length(headers).is_some_and(|length| length > self.config.object_bytes_max as u64)
    }
}

impl Coming {
    fn is_empty(&self) -> bool {
        self.status == StatusCode::NO_CONTENT || content_length(&self.headers) == Some(0)
    }

    /// What to store, now that it is whole; none when the body is another part than was said.
    pub(super) fn entry(&self, key: &CacheKey, body: Bytes) -> Option<Entry> {
        if self
            .part
            .is_some_and(|part| part.span.length() != body.len() as u64)
        {
            return None;
        }
        let mut headers = self.headers.clone();
        let bodiless = matches!(
            self.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
        if !bodiless {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        let entry = Entry {
            key: key.clone(),
            vary: self.vary.clone(),
            selecting: self.selecting.clone(),
            status: self.status,
            part: self.part.map(Box::new),
            headers: FieldLines::from(&headers),
            body,
            policy: self.policy,
            began_us: self.began_us,
            born: self.born,
            fetch_ms: ms_since(self.began),
            kept: Kept::default(),
        };
        Some(partial::settled(entry))
    }
}

/// What the task of a fetch gives its client.
async fn given(landing: oneshot::Receiver<Landed>) -> Landed {
    let landed = landing.await;
    landed.unwrap_or(Landed::Ended(Ended::Failed(Failure::Internal)))
}

/// How long ago, in whole milliseconds, rounded up: nothing takes no time at all.
pub(super) fn ms_since(began: Instant) -> u32 {
    u32::try_from(began.elapsed().as_micros().div_ceil(1000)).unwrap_or(u32::MAX)
}

/// Gives the answer to those who wait and to the client that leads.
pub(super) fn share(job: &Job, landed: oneshot::Sender<Landed>, ended: Ended) {
    let shared = Published::Shared(Shared::Ended(ended.clone()));
    match &job.permit {
        Some(permit) if matches!(ended, Ended::Failed(_)) => permit.publish_failure(shared),
        Some(permit) => {
            permit.publish(shared);
            permit.close();
        }
        None => {}
    }
    drop(landed.send(Landed::Ended(ended)));
}

/// The fields that select it: those that it names, and those that its route keys.
pub(super) fn selected_by(
    route: &Route,
    headers: &HeaderMap,
) -> Result<Option<VarySpec>, NotStorable> {
    let named = match vary(headers) {
        Vary::Any => return Err(NotStorable::VaryAny),
        Vary::None => Vec::new(),
        Vary::Fields(spec) => spec.names().to_vec(),
    };
    let all = VarySpec::from_names(named.into_iter().chain(route.keyed_fields.iter().cloned()));
    Ok((!all.names().is_empty()).then_some(all))
}

pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// The answers for which `stale-if-error` was made (RFC 5861 §4).
fn is_server_error(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}
