//! The cache as a function: a request in, an answer out. Knows no socket and no Pingora.
//!
//! The life of a request: [`plan`] turns it into a key and what goes upstream, or says why it is none of the cache's
//! business; the store is asked; the policy says what the found response is good for; [`fetch`] asks the upstream once for
//! all who want the same; [`respond`] dresses what is sent. What must stay true: whatever the store does, the request is
//! answered; an answer is stored whole, or as the part that it is ([`partial`]); what is keyed is what is forwarded.

mod at_once;
mod cut;
mod fetch;
mod lease;
mod partial;
mod plan;
mod post;
mod purge;
mod respond;
mod validate;

use crate::clock;
use crate::config::Config;
use crate::dice::chance;
use crate::fill;
use crate::flight::{Flights, Next, Published, Turn, Waiter};
use crate::metrics::Metrics;
use crate::problem;
use crate::store::{Entry, Found, Store};
use crate::trace::Trace;
pub use crate::upstream::Interims;
use crate::upstream::{Upstream, UpstreamBody};
use crate::usual::Usual;
pub(crate) use at_once::{Asked, AtOnce, KeyBuffer};
use bytes::Bytes;
use fetch::{Ended, How, Job, Landed, Shared};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use larder_policy::{
    ErrorCause, Failure, Forward, Outcome, Pass, Reuse, Route, StaleWhy, refresh_early, reuse,
    stale_on_error,
};
use partial::PartJudged;
use plan::Plan;
pub(crate) use plan::add_via;
pub use plan::via_pseudonym;
pub use post::PostAnswer;
pub use purge::{PurgeFault, PurgeOrder, Purged};
pub(crate) use respond::{NAME, X_CACHE, label, own};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::Semaphore;

/// Removals from Redis that may go on behind the answers that caused them.
const REMOVALS_MAX: usize = 1024;

/// Bodies on their way may hold this much, also where memory stores next to nothing and Redis holds what is stored.
const FILLS_BYTES_MIN: usize = 1 << 20;

/// A request as the engine sees it.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub method: &'a Method,
    /// The request-target as it came.
    pub target: &'a str,
    /// `Host`, or `:authority`.
    pub authority: Option<&'a str>,
    pub headers: &'a HeaderMap,
    /// The request has, or may have, content.
    pub has_body: bool,
    /// Where interim responses go, if the client can take them.
    pub interims: Option<&'a Interims>,
    /// Its identifiers, for what goes upstream.
    pub trace: &'a Trace,
}

/// What the engine says to a request.
#[derive(Debug)]
pub enum Answer {
    /// Send this.
    Respond(Box<Response>),
    /// None of the cache's business: hand the request through as it came.
    Pass(Pass),
}

/// A response ready to be written: its fields are all there, but for the framing.
#[derive(Debug)]
pub struct Response {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Body,
    pub outcome: Outcome,
}

/// Where a response's body comes from. A `HEAD` response has `Empty`.
#[derive(Debug)]
pub enum Body {
    Empty,
    Whole(Bytes),
    /// Being fetched, for several clients perhaps.
    Shared(fill::Reader),
    /// Being fetched, for this client alone.
    Own(UpstreamBody),
}

impl Body {
    /// The next chunk; `None` at the end; a failure when the body broke off.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        match self {
            Self::Empty => Ok(None),
            Self::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Ok((!bytes.is_empty()).then_some(bytes))
            }
            Self::Shared(reader) => reader.next().await,
            Self::Own(body) => body.next().await,
        }
    }
}

/// The cache.
#[derive(Debug)]
pub struct Engine {
    pub(crate) config: Config,
    store: Arc<Store>,
    upstream: Arc<Upstream>,
    flights: Arc<Flights<Shared>>,
    metrics: Arc<Metrics>,
    /// Bodies on their way may hold as much as those that are stored.
    fills: Arc<fill::Budget>,
    /// How this proxy names itself in `Via`.
    via: String,
    /// Removals from Redis that nobody waits for any more.
    removals: Arc<Semaphore>,
    /// How long fetches usually take, by route, and on no route.
    usual: Vec<Arc<Mutex<Usual>>>,
    usual_elsewhere: Arc<Mutex<Usual>>,
}

impl Engine {
    pub fn new(
        config: Config,
        store: Arc<Store>,
        upstream: Arc<Upstream>,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let via = via_pseudonym(&config);
        let fills = fill::Budget::new(config.memory_bytes_max.max(FILLS_BYTES_MIN));
        let usual = config.routes.iter().map(|_| Arc::default()).collect();
        Arc::new(Self {
            config,
            store,
            upstream,
            flights: Flights::new(),
            metrics,
            fills,
            via,
            removals: Arc::new(Semaphore::new(REMOVALS_MAX)),
            usual,
            usual_elsewhere: Arc::default(),
        })
    }

    /// The most that bodies on their way held at once since this was last asked, in bytes.
    pub fn bodies_peak_bytes(&self) -> u64 {
        self.fills.peak_bytes() as u64
    }

    /// Requests that wait for what another one's fetch brings.
    pub fn waiting(&self) -> usize {
        self.flights.waiting()
    }

    /// Answers a request, or says that it passes. `now` is the time of the request.
    pub async fn answer(self: &Arc<Self>, request: &Request<'_>, now: SystemTime) -> Answer {
        let plan = match self.plan(request) {
            Ok(plan) => plan,
            Err(plan::Refused::Pass(pass)) => return Answer::Pass(pass),
            Err(plan::Refused::Fault(failure, detail)) => return fault(failure, &detail),
        };
        let (found, _) = self.store.get(&plan.key, request.headers, now).await;
        let waived = matches!(found, Found::Waived(_) | Found::WaivedPart(_));
        let told = |outcome: Outcome| match waived {
            true => outcome.unverified(),
            false => outcome,
        };
        let (entry, forward) = match found {
            Found::Hit(entry) | Found::Waived(entry) => {
                match reuse(&entry.policy, &plan.lookup, now) {
                    Reuse::Fresh => {
                        if self.is_refreshed_early(request, &plan, &entry, now) {
                            self.refresh(request, &plan, entry.clone());
                        }
                        let ttl_s = entry.policy.ttl_s(now);
                        return self.stored(request, &entry, told(Outcome::Hit { ttl_s }), now);
                    }
                    Reuse::StaleWhileRevalidate => {
                        self.refresh(request, &plan, entry.clone());
                        return self.stored(
                            request,
                            &entry,
                            told(stale(&entry, StaleWhy::WhileRevalidate, now)),
                            now,
                        );
                    }
                    Reuse::StaleAllowed => {
                        return self.stored(
                            request,
                            &entry,
                            told(stale(&entry, StaleWhy::MaxStale, now)),
                            now,
                        );
                    }
                    Reuse::Validate(forward) => {
                        if let Some(why) = self.stale_while_away(request, &plan, &entry, now) {
                            let outcome = told(stale(&entry, why, now));
                            return self.stored(request, &entry, outcome, now);
                        }
                        (Some(entry), forward)
                    }
                    Reuse::NotForCaller => (None, Forward::CallerNamed),
                }
            }
            Found::Part(part) | Found::WaivedPart(part) => {
                match self.judge_part(request, &plan, part, now) {
                    PartJudged::Answer(entry, outcome) => {
                        return self.stored(request, &entry, told(outcome), now);
                    }
                    PartJudged::Ask(part, forward) => (part, forward),
                }
            }
            Found::Unverified(entry) => match reuse(&entry.policy, &plan.lookup, now) {
                Reuse::NotForCaller => (None, Forward::CallerNamed),
                _ => (Some(entry), Forward::Unverified),
            },
            Found::VaryMiss => (None, Forward::VaryMiss),
            Found::Miss => (None, Forward::UriMiss),
        };
        if plan.lookup.directives.only_if_cached {
            return Answer::Respond(Box::new(only_if_cached()));
        }
        self.forward(request, plan, entry, forward).await
    }

    /// Why a stale response may stand in for an upstream that is away: at once, for waiting would only cost time. When the
    /// upstream is to be tried, that happens behind the client's back.
    fn stale_while_away(
        self: &Arc<Self>,
        request: &Request<'_>,
        plan: &Plan<'_>,
        entry: &Arc<Entry>,
        now: SystemTime,
    ) -> Option<StaleWhy> {
        let outage = self.upstream.outage(plan.target.as_str())?;
        if plan.lookup.directives.only_if_cached
            || !stale_on_error(&entry.policy, &plan.lookup, now)
        {
            return None;
        }
        if outage.trial_due {
            self.refresh(request, plan, entry.clone());
        }
        Some(StaleWhy::IfError(ErrorCause::Failure(outage.failure)))
    }

    /// Asks the upstream, alone or with others.
    async fn forward(
        self: &Arc<Self>,
        request: &Request<'_>,
        plan: Plan<'_>,
        entry: Option<Arc<Entry>>,
        forward: Forward,
    ) -> Answer {
        let flight = plan.flight();
        // A request that wants a new answer must not get one that was asked for before it came; one that forbids storing
        // has nothing to share; a HEAD has no body to share.
        // And a part is of no use to those who wait for the whole.
        let alone = plan.lookup.head
            || plan.lookup.directives.no_store
            || forward == Forward::Request
            || partial::goes_for_part(request, entry.as_deref());
        if alone {
            return self.fetch_alone(request, &plan, entry, forward).await;
        }
        if self.flights.is_marked(&flight, Instant::now()) {
            return self
                .fetch_alone(request, &plan, entry, Forward::HitForMiss)
                .await;
        }
        let generation = self.store.generation(Instant::now());
        match self
            .flights
            .turn(flight, self.patience(&plan), generation.number)
        {
            Turn::Lead(permit) => {
                if let Some(begins) = generation.begins {
                    tokio::time::sleep_until(begins.into()).await;
                }
                // Between the look-up and the turn another's fetch may have ended.
                if let Some(answer) = self.stored_meanwhile(request, &plan) {
                    return answer;
                }
                let mut job = Job::new(self, request, &plan, entry, forward, Some(permit));
                job.wish = self.wish(&plan, false);
                let landed = self.launch(job).await;
                self.landed(request, landed, forward)
            }
            // What was asked for before it came is never new enough for it, so there is nothing to wait for.
            Turn::Wait(_) if plan.lookup.directives.no_cache => {
                self.fetch_alone(request, &plan, entry, forward).await
            }
            Turn::Wait(waiter) => self.wait(request, &plan, entry, forward, waiter).await,
        }
    }

    /// A fresh response that was not there, or not fresh, when this request was looked up.
    fn stored_meanwhile(&self, request: &Request<'_>, plan: &Plan<'_>) -> Option<Answer> {
        let now = clock::now();
        match self.store.get_in_memory(&plan.key, request.headers, now) {
            Found::Hit(entry) if reuse(&entry.policy, &plan.lookup, now) == Reuse::Fresh => {
                let ttl_s = entry.policy.ttl_s(now);
                Some(self.stored(request, &entry, Outcome::Hit { ttl_s }, now))
            }
            _ => None,
        }
    }

    /// How long requests of this route usually take.
    fn usual(&self, route: &Route) -> Arc<Mutex<Usual>> {
        let routes = &self.config.routes;
        let place = routes.iter().position(|r| std::ptr::eq(&r.route, route));
        let usual = place.and_then(|place| self.usual.get(place));
        usual.unwrap_or(&self.usual_elsewhere).clone()
    }

    fn patience(&self, plan: &Plan<'_>) -> Duration {
        let usual = self.usual(plan.route);
        let usual = usual.lock().unwrap_or_else(PoisonError::into_inner);
        usual.patience()
    }

    /// Waits for the answer to another's request; when that takes longer than usual, asks perhaps, too, and takes what comes
    /// first.
    async fn wait(
        self: &Arc<Self>,
        request: &Request<'_>,
        plan: &Plan<'_>,
        entry: Option<Arc<Entry>>,
        forward: Forward,
        mut waiter: Waiter<Shared>,
    ) -> Answer {
        let permit = match waiter.next().await {
            Next::Published(published) => {
                let joined = self.joined(request, plan, published, forward);
                return match joined.or_else(|| self.stored_meanwhile(request, plan)) {
                    Some(answer) => answer,
                    None => self.fetch_alone(request, plan, entry, forward).await,
                };
            }
            Next::Fetch(permit) => permit,
        };
        let job = Job::new(self, request, plan, entry, forward, Some(permit));
        let landing = self.launch(job);
        tokio::pin!(landing);
        let landed = tokio::select! {
            biased;
            landed = &mut landing => landed,
            published = waiter.published() => {
                match self.joined(request, plan, published, forward) {
                    Some(answer) => return answer,
                    None => landing.await,
                }
            }
        };
        if matches!(landed, Landed::Ended(Ended::Failed(_))) {
            // Another's fetch may still be under way, and have more luck.
            let published = waiter.published().await;
            if let Some(answer) = self.joined(request, plan, published, forward) {
                return answer;
            }
        }
        self.landed(request, landed, forward)
    }

    async fn fetch_alone(
        self: &Arc<Self>,
        request: &Request<'_>,
        plan: &Plan<'_>,
        entry: Option<Arc<Entry>>,
        forward: Forward,
    ) -> Answer {
        // Boxed, so that it stays where it is while it is handed on.
        let job = Box::new(Job::new(self, request, plan, entry, forward, None));
        let landed = self.launch_alone(job).await;
        self.landed(request, landed, forward)
    }

    /// Shall this hit also fetch a new response, so that the key never expires while it is hot?
    fn is_refreshed_early(
        &self,
        request: &Request<'_>,
        plan: &Plan<'_>,
        entry: &Entry,
        now: SystemTime,
    ) -> bool {
        let eagerness = plan.route.early_refresh;
        let eagerness = eagerness.unwrap_or(self.config.rules.early_refresh);
        let wishes = &plan.lookup.directives;
        refresh_early(&entry.policy, entry.fetch_ms, eagerness, now, chance())
            // Its answer would be for one caller, or a part, or not be kept; and nobody asked for it.
            && !plan.lookup.head
            && !plan.lookup.names_caller
            && !wishes.no_store
            && !wishes.only_if_cached
            && !request.headers.contains_key(header::RANGE)
            && !self.upstream.is_away()
    }

    /// Validates a stored response behind the back of the client that was served it.
    fn refresh(self: &Arc<Self>, request: &Request<'_>, plan: &Plan<'_>, entry: Arc<Entry>) {
        let flight = plan.flight();
        let generation = self.store.generation(Instant::now()).number;
        if let Turn::Lead(permit) = self.flights.turn(flight, self.patience(plan), generation) {
            // The client has its final answer.
            let request = &Request {
                interims: None,
                ..*request
            };
            let is_early = reuse(&entry.policy, &plan.lookup, clock::now()) == Reuse::Fresh;
            let mut job = Job::new(
                self,
                request,
                plan,
                Some(entry),
                Forward::Stale,
                Some(permit),
            );
            job.is_early = is_early;
            job.wish = self.wish(plan, true);
            drop(self.launch(job));
        }
    }

    /// May the answer to another's request go to this one, too? No purge forbids it: the fetch began after all those that this
    /// request must heed, else it would not have waited for it, and one that was made since may come after both.
    fn fits(&self, shared: &Shared, request: &Request<'_>, plan: &Plan<'_>) -> bool {
        let (vary, selecting, policy) = match shared {
            Shared::Ended(Ended::Failed(_)) => return true,
            // Whether the leader may have it stale says nothing of this request (RFC 9111 §4.2.4).
            Shared::Ended(Ended::Stored {
                entry,
                how: How::StaleIfError(_),
            }) if !stale_on_error(&entry.policy, &plan.lookup, clock::now()) => return false,
            // It was there when the leader came: whether it is fresh enough is each one's own question.
            Shared::Ended(Ended::Stored {
                entry,
                how: How::Elsewhere { waited: false },
            }) if reuse(&entry.policy, &plan.lookup, clock::now()) != Reuse::Fresh => return false,
            Shared::Ended(Ended::Stored { entry, .. }) => {
                (&entry.vary, &entry.selecting, &entry.policy)
            }
            Shared::Coming(coming) => (&coming.vary, &coming.selecting, &coming.policy),
        };
        same_selection(vary.as_ref(), selecting, request.headers)
            && larder_policy::shareable_with_waiters(policy, &plan.lookup)
    }

    /// The answer to another's request for this one; `None` when it does not fit, or its beginning is no longer held.
    fn joined(
        &self,
        request: &Request<'_>,
        plan: &Plan<'_>,
        published: Published<Shared>,
        forward: Forward,
    ) -> Option<Answer> {
        let Published::Shared(shared) = published else {
            return None;
        };
        if !self.fits(&shared, request, plan) {
            return None;
        }
        match shared {
            Shared::Coming(coming) => {
                let reader = coming.fill.reader()?;
                // It was made for another request, and may have been coming for a while (RFC 9111 §4).
                let mut headers = coming.headers.clone();
                let age = coming.policy.age_s(clock::now());
                headers.insert(header::AGE, HeaderValue::from(age));
                Some(self.coming(request, &coming, &headers, reader, forward, true))
            }
            Shared::Ended(ended) => Some(self.ended(request, &ended, forward)),
        }
    }

    fn landed(&self, request: &Request<'_>, landed: Landed, forward: Forward) -> Answer {
        match landed {
            Landed::Ended(ended) => self.ended(request, &ended, forward),
            Landed::Coming(coming, reader, headers) => {
                self.coming(request, &coming, &headers, reader, forward, false)
            }
            Landed::Own {
                status,
                headers,
                body,
                stored,
            } => {
                let outcome = Outcome::Miss {
                    fwd: forward,
                    status: status.as_u16(),
                    stored,
                    collapsed: false,
                };
                respond::unstored(request, status, headers, Body::Own(body), outcome)
            }
        }
    }
}

/// Would this request have selected the response that was selected for another?
fn same_selection(
    vary: Option<&larder_policy::VarySpec>,
    selecting: &[u8],
    headers: &HeaderMap,
) -> bool {
    vary.is_none_or(|spec| larder_policy::selecting(spec, headers) == selecting)
}

fn stale(entry: &Entry, why: StaleWhy, now: SystemTime) -> Outcome {
    Outcome::Stale {
        ttl_s: entry.policy.ttl_s(now),
        why,
    }
}

fn fault(failure: Failure, detail: &str) -> Answer {
    Answer::Respond(Box::new(respond::own(
        problem::failure(failure, detail),
        Outcome::Error(failure),
    )))
}

fn only_if_cached() -> Response {
    let outcome = Outcome::OnlyIfCached;
    let detail = "Nothing fresh is stored, and the request says only-if-cached.";
    respond::own(
        problem::problem(StatusCode::GATEWAY_TIMEOUT, &outcome, detail),
        outcome,
    )
}
