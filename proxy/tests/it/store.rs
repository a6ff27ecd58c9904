//! The store on a real Redis.

mod failures;
mod follow;
mod leases;
mod measure;
mod purge;
mod sealed;
mod servers;
mod shared;
mod variants;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use larder_policy::{CacheKey, Flags, StoredPolicy, VarySpec, selecting};
use larder_proxy::store::{
    Entry, FieldLines, Found, Kept, Lease, PurgeRules, Put, RedisError, RedisState, RedisTier,
    Stamp, Store,
};

use crate::support::redis::PrivateRedis;
use crate::support::wait::until;

const MEMORY_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// So long that only a server that is stopped fails to answer in time.
const PATIENT: Duration = Duration::from_secs(5);
/// So short that a test of a stopped server is over soon.
const IMPATIENT: Duration = Duration::from_millis(50);

/// The moment at which the tests' responses came; what Redis itself counts is real time.
fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_000_000)
}

fn later(s: u64) -> SystemTime {
    now() + Duration::from_secs(s)
}

fn key(name: &str) -> CacheKey {
    CacheKey::from_bytes(name.as_bytes().into())
}

fn request(fields: &[(&str, &str)]) -> HeaderMap {
    let name = |text: &str| text.parse::<HeaderName>().expect("a token");
    let value = |text: &str| HeaderValue::from_str(text).expect("field content");
    fields.iter().map(|(n, v)| (name(n), value(v))).collect()
}

fn lines(fields: &[(&str, &str)]) -> FieldLines {
    FieldLines::from(&request(fields))
}

/// Fresh for five minutes.
fn entry(name: &str, body: &str) -> Entry {
    Entry {
        key: key(name),
        vary: None,
        selecting: Box::default(),
        status: StatusCode::OK,
        part: None,
        headers: lines(&[("content-type", "text/plain"), ("etag", "\"1\"")]),
        body: Bytes::from(body.to_owned()),
        policy: StoredPolicy {
            response_time_unix_s: 1_000_000,
            initial_age_s: 0,
            lifetime_s: 300,
            stale_while_revalidate_s: 0,
            stale_if_error_s: 0,
            flags: Flags::from_bits(0).expect("no flag at all is valid"),
        },
        began_us: 7,
        born: Stamp::default(),
        fetch_ms: 20,
        kept: Kept::default(),
    }
}

/// One that varies by `names` and answered `request`.
fn variant(name: &str, names: &[&str], request: &HeaderMap, body: &str) -> Entry {
    let names = names.iter().map(|name| name.parse().expect("a token"));
    let spec = VarySpec::from_names(names);
    Entry {
        selecting: selecting(&spec, request).into(),
        vary: Some(spec),
        ..entry(name, body)
    }
}

/// A store that is connected.
async fn store(redis: &PrivateRedis, timeout: Duration) -> Store {
    let store = unconnected(redis, timeout);
    store.start();
    connected(&store).await;
    store
}

/// A busy machine holds a process up for longer than the two seconds that are usual.
fn patient_rules() -> PurgeRules {
    PurgeRules {
        lease: Lease::new(Duration::from_secs(20)),
        ..PurgeRules::default()
    }
}

fn unconnected(redis: &PrivateRedis, timeout: Duration) -> Store {
    let tier = RedisTier::new(&redis.url(), "test", timeout).expect("a Redis URL");
    Store::with_purge_rules(MEMORY_BYTES_MAX, Some(tier), patient_rules())
}

async fn connected(store: &Store) {
    until("the store is connected", async || {
        store.redis_state() == RedisState::Connected
    })
    .await;
    store.settled(PATIENT).await;
}

/// Stores, and waits until Redis has it.
async fn put(store: &Store, entry: Entry) {
    let before = store.counters().writes.count();
    assert_eq!(store.put(entry, store.mark(), now()), Put::Stored);
    until("the write is done", async || {
        store.counters().writes.count() > before
    })
    .await;
}

/// What a replica finds that has nothing in memory.
async fn get(redis: &PrivateRedis, name: &str, request: &HeaderMap) -> Found {
    let store = store(redis, PATIENT).await;
    store.get(&key(name), request, now()).await.0
}

fn body(found: &Found) -> Option<&str> {
    match found {
        Found::Hit(entry) => std::str::from_utf8(&entry.body).ok(),
        Found::Waived(_)
        | Found::Unverified(_)
        | Found::Part(_)
        | Found::WaivedPart(_)
        | Found::VaryMiss
        | Found::Miss => None,
    }
}

/// Of one that has to be confirmed first.
fn unverified(found: &Found) -> Option<&str> {
    match found {
        Found::Unverified(entry) => std::str::from_utf8(&entry.body).ok(),
        _ => None,
    }
}

fn errors(store: &Store, kind: RedisError) -> u64 {
    store.counters().errors(kind).count()
}

/// A part of the same response.
fn part(whole: Entry, first: u64, body: &'static str, complete_length: u64) -> Entry {
    let last = first + body.len() as u64 - 1;
    Entry {
        status: StatusCode::PARTIAL_CONTENT,
        part: Some(Box::new(larder_policy::Part {
            span: larder_policy::Span { first, last },
            complete_length,
        })),
        body: Bytes::from_static(body.as_bytes()),
        ..whole
    }
}

/// The only key of ours in Redis.
fn redis_key(redis: &PrivateRedis) -> String {
    let keys = redis.stored_keys();
    let [key] = keys.as_slice() else {
        panic!("one key, not {keys:?}");
    };
    key.clone()
}

fn entry_of(found: Found) -> Arc<Entry> {
    match found {
        Found::Hit(entry) => entry,
        other => panic!("a hit, not {other:?}"),
    }
}
