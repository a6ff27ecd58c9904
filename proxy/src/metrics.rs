//! What Prometheus is told: every name, label and unit stands in [`FAMILIES`], and nowhere else.
//!
//! What is counted while serving costs atomic additions only: the handle of each label combination is looked up once and then kept. What the
//! store and Redis hold is asked for when somebody scrapes ([`Held`]). Result and reason come from [`Outcome`], so a counter can't disagree
//! with `X-Cache`, `Cache-Status` or the log.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use larder_policy::{Outcome, Reason, XCache};
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder, core::Collector,
};

/// The media type of what [`Metrics::render`] answers.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// One family of metrics.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Its name, unit last.
    pub name: &'static str,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it counts.
    pub help: &'static str,
}

const fn family(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family { name, labels, help }
}

const REQUESTS: Family = family(
    "larder_requests_total",
    &["result", "reason"],
    "Requests answered, by result (as in X-Cache) and reason (as in Cache-Status and the log)",
);
const HIT_DURATION: Family = family(
    "larder_hit_duration_seconds",
    &[],
    "From a request's head to the last byte of its answer, for hits",
);
const HITS_AT_ONCE: Family = family(
    "larder_hits_at_once_total",
    &[],
    "Hits answered from memory where the request was read, without the engine's general path; the rest of larder_requests_total{result=\"hit\"} took that",
);
const REQUEST_DURATION: Family = family(
    "larder_request_duration_seconds",
    &["result"],
    "From a request's head to the last byte of its answer, for all results but hits, which have finer steps in larder_hit_duration_seconds",
);
const UPSTREAM_DURATION: Family = family(
    "larder_upstream_duration_seconds",
    &[],
    "From asking the API to the head of its answer or the failure",
);
const UPSTREAM_REQUESTS: Family = family(
    "larder_upstream_requests_total",
    &["outcome"],
    "Requests sent to the API: answered (whatever the status) or failed",
);
const UPSTREAM_REFUSED: Family = family(
    "larder_upstream_refused_total",
    &[],
    "Requests not sent to the API, because it had not answered lately",
);
const LEASE_SPARED: Family = family(
    "larder_lease_spared_total",
    &[],
    "Fetches that were not made, because another replica's was waited for",
);
const LEASE_TAKEN_OVER: Family = family(
    "larder_lease_taken_over_total",
    &[],
    "Fetches made after another replica's had come to nothing",
);
const UPSTREAM_UP: Family = family(
    "larder_upstream_up",
    &[],
    "Whether the API is asked as usual (1) or only tried now and then, because it does not answer (0)",
);
const STORE_ENTRIES: Family = family("larder_store_entries", &[], "Responses stored in memory");
const STORE_BYTES: Family = family(
    "larder_store_bytes",
    &[],
    "Bytes that stored responses take in memory",
);
const STORE_BYTES_MAX: Family = family(
    "larder_store_bytes_max",
    &[],
    "Bytes that stored responses may take in memory",
);
const PURGES_KNOWN: Family = family(
    "larder_purges_known",
    &[],
    "Different things of which a purge is remembered",
);
const PURGES_FOLLOWED: Family = family(
    "larder_purges_followed",
    &[],
    "Whether every purge that was confirmed has been applied here (1), or the log of purges can't be followed (0)",
);
const REDIS_UP: Family = family(
    "larder_redis_up",
    &[],
    "Whether Redis is in use and answers (1) or not (0); absent when none is configured",
);
const REDIS_ERRORS: Family = family(
    "larder_redis_errors_total",
    &["kind"],
    "Operations of Redis that failed and that requests did without",
);
const CONNECTIONS: Family = family(
    "larder_connections",
    &[],
    "Client connections that are open",
);
const WAITING: Family = family(
    "larder_requests_waiting",
    &[],
    "Requests that wait for what another one's fetch brings",
);
const BUILD_INFO: Family = family(
    "larder_build_info",
    &["version"],
    "Always 1; its label says which version runs",
);
const START_TIME: Family = family(
    "process_start_time_seconds",
    &[],
    "When the process started, in seconds since 1970",
);

/// Every family there is.
pub const FAMILIES: &[Family] = &[
    REQUESTS,
    HIT_DURATION,
    HITS_AT_ONCE,
    REQUEST_DURATION,
    UPSTREAM_DURATION,
    UPSTREAM_REQUESTS,
    UPSTREAM_REFUSED,
    LEASE_SPARED,
    LEASE_TAKEN_OVER,
    UPSTREAM_UP,
    STORE_ENTRIES,
    STORE_BYTES,
    STORE_BYTES_MAX,
    PURGES_KNOWN,
    PURGES_FOLLOWED,
    REDIS_UP,
    REDIS_ERRORS,
    CONNECTIONS,
    WAITING,
    BUILD_INFO,
    START_TIME,
];

/// Hits take microseconds from memory and a millisecond from Redis; a slow client's last byte can take seconds.
const HIT_BUCKETS_S: &[f64] = &[
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025,
    0.1, 1.0,
];

/// An API takes milliseconds to seconds; beyond lie timeouts.
const UPSTREAM_BUCKETS_S: &[f64] = &[
    0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// Whether Redis is used and answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RedisState {
    /// None is configured.
    Off,
    /// It answers.
    Up,
    /// It doesn't; memory and the API serve.
    Down,
}

impl RedisState {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// What the store, Redis and the listener hold at this moment.
#[derive(Clone, Debug)]
pub struct Held {
    /// Responses in memory.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The most that they may take.
    pub bytes_max: u64,
    /// Different things of which a purge is remembered.
    pub purges: u64,
    /// Every confirmed purge has been applied here.
    pub purges_followed: bool,
    /// Failed operations of Redis since the start, by kind.
    pub redis_errors: Vec<(&'static str, u64)>,
    /// Is Redis there?
    pub redis_state: RedisState,
    /// Open client connections.
    pub connections: u64,
    /// Requests that wait for another one's fetch.
    pub waiting: u64,
    /// The API is asked as usual.
    pub upstream_up: bool,
}

/// Requests since the start, by result.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Totals {
    /// Answered from the store, fresh.
    pub hits: u64,
    /// Answered by the API.
    pub misses: u64,
    /// Answered from the store, stale.
    pub stale: u64,
    /// Answered from the store after the API said it still holds.
    pub revalidated: u64,
    /// Passed without a look at the store.
    pub bypassed: u64,
    /// Answered by the proxy itself.
    pub errors: u64,
}

/// All counters of the process. Shared by reference; observing takes no lock.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    /// `requests` by result and reason. Filled on first use, so combinations that never happen aren't shown.
    request_handles: Vec<Vec<OnceLock<IntCounter>>>,
    hit_duration: Histogram,
    hits_at_once: IntCounter,
    /// By result; none for hits.
    request_durations: Vec<Option<Histogram>>,
    upstream_duration: Histogram,
    upstream_answered: IntCounter,
    upstream_failed: IntCounter,
    upstream_refused: IntCounter,
    lease_spared: IntCounter,
    lease_taken_over: IntCounter,
}

impl Metrics {
    /// Counters at zero, for a process that started at `started`.
    pub fn new(started: SystemTime) -> Self {
        let registry = Registry::new();
        let requests = counters(&registry, REQUESTS);
        let upstream = counters(&registry, UPSTREAM_REQUESTS);
        let durations = histograms(&registry, REQUEST_DURATION, UPSTREAM_BUCKETS_S);
        let build_info = gauges(&registry, BUILD_INFO);
        build_info
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        let start_time = own(Gauge::with_opts(options(START_TIME)));
        let since_1970 = started.duration_since(UNIX_EPOCH).unwrap_or_default();
        start_time.set(since_1970.as_secs_f64());
        register(&registry, start_time);
        Self {
            requests,
            request_handles: XCache::ALL
                .iter()
                .map(|_| Reason::ALL.iter().map(|_| OnceLock::new()).collect())
                .collect(),
            hit_duration: histograms(&registry, HIT_DURATION, HIT_BUCKETS_S)
                .with_label_values::<&str>(&[]),
            hits_at_once: counters(&registry, HITS_AT_ONCE).with_label_values::<&str>(&[]),
            request_durations: XCache::ALL
                .map(|result| {
                    (result != XCache::Hit).then(|| durations.with_label_values(&[label(result)]))
                })
                .into(),
            upstream_duration: histograms(&registry, UPSTREAM_DURATION, UPSTREAM_BUCKETS_S)
                .with_label_values::<&str>(&[]),
            upstream_answered: upstream.with_label_values(&["answered"]),
            upstream_failed: upstream.with_label_values(&["failed"]),
            upstream_refused: counters(&registry, UPSTREAM_REFUSED).with_label_values::<&str>(&[]),
            lease_spared: counters(&registry, LEASE_SPARED).with_label_values::<&str>(&[]),
            lease_taken_over: counters(&registry, LEASE_TAKEN_OVER).with_label_values::<&str>(&[]),
            registry,
        }
    }
}

impl Metrics {
    /// Counts one request that has been answered.
    pub fn observe_request(&self, outcome: &Outcome, duration: Duration) {
        let result = outcome.x_cache();
        if let Some(counter) = self.request_counter(result, outcome.reason()) {
            counter.inc();
        }
        let histogram = match result {
            XCache::Hit => Some(&self.hit_duration),
            other => self
                .request_durations
                .get(other as usize)
                .and_then(Option::as_ref),
        };
        if let Some(histogram) = histogram {
            histogram.observe(duration.as_secs_f64());
        }
    }

    /// Counts so many fresh hits that were answered at once, together.
    pub fn observe_hits(&self, hits: u64, duration: Duration) {
        self.hits_at_once.inc_by(hits);
        if let Some(counter) = self.request_counter(XCache::Hit, Reason::Fresh) {
            counter.inc_by(hits);
        }
        for _ in 0..hits {
            self.hit_duration.observe(duration.as_secs_f64());
        }
    }

    /// Counts one request to the API: `ok` when it answered, with whatever status.
    pub fn observe_upstream(&self, duration: Duration, ok: bool) {
        self.upstream_duration.observe(duration.as_secs_f64());
        let counter = if ok {
            &self.upstream_answered
        } else {
            &self.upstream_failed
        };
        counter.inc();
    }

    /// Counts one request that the API was not sent, because it is away.
    pub fn count_refused(&self) {
        self.upstream_refused.inc();
    }

    /// Counts one fetch that another replica made instead.
    pub fn count_spared(&self) {
        self.lease_spared.inc();
    }

    /// Counts one fetch that another replica should have made.
    pub fn count_taken_over(&self) {
        self.lease_taken_over.inc();
    }

    /// Requests since the start.
    pub fn totals(&self) -> Totals {
        let total = |result: XCache| {
            let handles = self
                .request_handles
                .get(result as usize)
                .into_iter()
                .flatten();
            handles.filter_map(OnceLock::get).map(IntCounter::get).sum()
        };
        Totals {
            hits: total(XCache::Hit),
            misses: total(XCache::Miss),
            stale: total(XCache::Stale),
            revalidated: total(XCache::Revalidated),
            bypassed: total(XCache::Bypass),
            errors: total(XCache::Error),
        }
    }

    /// Everything in the text format of Prometheus.
    pub fn render(&self, held: &Held) -> String {
        let mut families = self.registry.gather();
        families.extend(held_registry(held).gather());
        own(TextEncoder::new().encode_to_string(&families))
    }

    fn request_counter(&self, result: XCache, reason: Reason) -> Option<&IntCounter> {
        let handle = self
            .request_handles
            .get(result as usize)?
            .get(reason as usize)?;
        Some(handle.get_or_init(|| {
            self.requests
                .with_label_values(&[label(result), reason.as_str()])
        }))
    }
}

/// A result as a label: `X-Cache` in lower case.
fn label(result: XCache) -> &'static str {
    match result {
        XCache::Hit => "hit",
        XCache::Miss => "miss",
        XCache::Stale => "stale",
        XCache::Revalidated => "revalidated",
        XCache::Bypass => "bypass",
        XCache::Error => "error",
    }
}

/// What is held, in a registry of its own: made for one scrape, so two scrapes at once can't mix their values.
fn held_registry(held: &Held) -> Registry {
    let registry = Registry::new();
    let mut rows = vec![
        (STORE_ENTRIES, held.entries),
        (STORE_BYTES, held.bytes),
        (STORE_BYTES_MAX, held.bytes_max),
        (PURGES_KNOWN, held.purges),
        (PURGES_FOLLOWED, u64::from(held.purges_followed)),
        (CONNECTIONS, held.connections),
        (WAITING, held.waiting),
        (UPSTREAM_UP, u64::from(held.upstream_up)),
    ];
    match held.redis_state {
        RedisState::Off => {}
        RedisState::Up => rows.push((REDIS_UP, 1)),
        RedisState::Down => rows.push((REDIS_UP, 0)),
    }
    for (family, value) in rows {
        let gauge = own(IntGauge::with_opts(options(family)));
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        register(&registry, gauge);
    }
    let errors = counters(&registry, REDIS_ERRORS);
    for (kind, count) in &held.redis_errors {
        errors.with_label_values(&[*kind]).inc_by(*count);
    }
    registry
}

fn options(family: Family) -> Opts {
    Opts::new(family.name, family.help)
}

fn counters(registry: &Registry, family: Family) -> IntCounterVec {
    let counters = own(IntCounterVec::new(options(family), family.labels));
    register(registry, counters.clone());
    counters
}

fn gauges(registry: &Registry, family: Family) -> IntGaugeVec {
    let gauges = own(IntGaugeVec::new(options(family), family.labels));
    register(registry, gauges.clone());
    gauges
}

fn histograms(registry: &Registry, family: Family, buckets_s: &[f64]) -> HistogramVec {
    let options = HistogramOpts::from(options(family)).buckets(buckets_s.to_vec());
    let histograms = own(HistogramVec::new(options, family.labels));
    register(registry, histograms.clone());
    histograms
}

fn register(registry: &Registry, collector: impl Collector + 'static) {
    own(registry.register(Box::new(collector)));
}

/// The library refuses malformed or repeated names only, and ours are constants of this file: the tests here would fail.
fn own<T>(made: prometheus::Result<T>) -> T {
    made.unwrap_or_else(|error| unreachable!("a metric of the table is malformed: {error}"))
}

#[cfg(test)]
mod tests;
