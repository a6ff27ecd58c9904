//! Leases: one at a time, numbered, and ended by what was fetched under them.

use std::time::Instant;

use larder_proxy::store::{FetchLease, Turn, Written};

use super::*;
use crate::support::redis_sets::ClusterSet;

async fn claim(store: &Store, name: &str, names_caller: bool, seen: &Written) -> Claim {
    let end = Instant::now() + PATIENT;
    let request = HeaderMap::new();
    let claimed = store
        .claim(&key(name), names_caller, &request, seen, now(), end)
        .await;
    Claim {
        turn: claimed.turn,
        found: claimed.found,
        written: claimed.written,
    }
}

struct Claim {
    turn: Turn,
    found: Option<Found>,
    written: Written,
}

impl Claim {
    fn lease(self) -> Arc<FetchLease> {
        match self.turn {
            Turn::Mine(lease) => lease,
            turn => panic!("no lease: {turn:?}"),
        }
    }
}

async fn first_claim(store: &Store, name: &str) -> Claim {
    claim(store, name, false, &Written::default()).await
}

/// Claims until the lease is free.
async fn freed(store: &Store, name: &str) -> Arc<FetchLease> {
    let mut lease = None;
    until("the lease is free", async || {
        if let Turn::Mine(mine) = first_claim(store, name).await.turn {
            lease = Some(mine);
        }
        lease.is_some()
    })
    .await;
    lease.expect("it is free")
}

/// Stores under a lease, and waits until Redis has it, or has refused it.
async fn put_under(store: &Store, lease: Arc<FetchLease>, entry: Entry) {
    let counters = store.counters();
    let done = || counters.writes.count() + counters.outrun.count();
    let before = done();
    let (stored, _) = store.put_leased(entry, store.mark(), Some(lease), now());
    assert_eq!(stored, Put::Stored);
    until("the write is done", async || done() > before).await;
}

#[tokio::test]
async fn one_holds_the_lease_until_it_has_stored_what_it_fetched() {
    let redis = PrivateRedis::start().await;
    let (one, other) = (store(&redis, PATIENT).await, store(&redis, PATIENT).await);
    let lease = first_claim(&one, "b").await.lease();
    let waits = first_claim(&other, "b").await;
    assert!(matches!(waits.turn, Turn::Elsewhere), "{:?}", waits.turn);
    put_under(&one, lease, entry("b", "fetched")).await;
    let over = claim(&other, "b", false, &waits.written).await;
    assert_eq!(
        body(&over.found.clone().expect("it is there")),
        Some("fetched")
    );
    let (seen, _lease) = (over.written.clone(), over.lease());
    let again = claim(&one, "b", false, &seen).await;
    assert!(again.found.is_none(), "{:?} was seen", again.found);
}

#[tokio::test]
async fn a_lease_that_is_dropped_is_free_at_once_and_those_with_names_have_their_own() {
    let redis = PrivateRedis::start().await;
    let (one, other) = (store(&redis, PATIENT).await, store(&redis, PATIENT).await);
    let lease = first_claim(&one, "a").await.lease();
    let named = claim(&other, "a", true, &Written::default()).await.lease();
    let begin = Instant::now();
    drop(lease);
    drop(freed(&other, "a").await);
    assert!(begin.elapsed() < Duration::from_secs(2), "it ran out");
    drop(named);
}

#[tokio::test]
async fn a_lease_that_is_held_is_renewed() {
    let redis = PrivateRedis::start().await;
    let store = store(&redis, PATIENT).await;
    let lease = first_claim(&store, "a").await.lease();
    let keys: Vec<String> = redis.ask(redis::cmd("KEYS").arg("*:l"));
    let left_ms = || redis.ask::<i64>(redis::cmd("PTTL").arg(&keys));
    let mut before = left_ms();
    until("it has longer to live than before", async || {
        let now = left_ms();
        assert!(now > 0, "it ran out");
        std::mem::replace(&mut before, now) < now
    })
    .await;
    drop(lease);
}

#[tokio::test]
async fn nobody_queues_after_an_answer_for_one_alone_until_one_is_stored() {
    let redis = PrivateRedis::start().await;
    let (one, other) = (store(&redis, PATIENT).await, store(&redis, PATIENT).await);
    first_claim(&one, "a").await.lease().mark_alone();
    until("others know", async || {
        matches!(first_claim(&other, "a").await.turn, Turn::Everybody)
    })
    .await;
    put(&other, entry("a", "for all")).await;
    let lease = freed(&one, "a").await;
    let waits = first_claim(&other, "a").await;
    assert!(matches!(waits.turn, Turn::Elsewhere), "{:?}", waits.turn);
    drop(lease);
}

#[tokio::test]
async fn a_write_under_an_earlier_lease_than_the_last_is_refused_and_forgotten() {
    let redis = PrivateRedis::start().await;
    let (slow, quick) = (store(&redis, PATIENT).await, store(&redis, PATIENT).await);
    let early = first_claim(&slow, "a").await.lease();
    // As if it had run out.
    let leases: Vec<String> = redis.ask(redis::cmd("KEYS").arg("*:l"));
    redis.ask::<()>(redis::cmd("DEL").arg(leases));
    let late = first_claim(&quick, "a").await.lease();
    put_under(&quick, late, entry("a", "new")).await;
    put_under(&slow, early, entry("a", "old")).await;
    assert_eq!(slow.counters().outrun.count(), 1);
    until("its own copy is gone", async || {
        body(&slow.get(&key("a"), &HeaderMap::new(), now()).await.0) == Some("new")
    })
    .await;
    // What needs no lease is not refused.
    put(&slow, entry("a", "newest")).await;
    let (found, _) = store(&redis, PATIENT)
        .await
        .get(&key("a"), &HeaderMap::new(), now())
        .await;
    assert_eq!(body(&found), Some("newest"));
}

#[tokio::test]
async fn the_numbers_of_leases_grow_although_the_server_s_clock_goes_back() {
    let redis = PrivateRedis::start().await;
    let store = store(&redis, PATIENT).await;
    put(&store, entry("a", "x")).await;
    // Written under a lease by a server whose clock is ahead.
    let ahead = "9000000000000000";
    let mut tell = redis::cmd("HSET");
    tell.arg(redis_key(&redis))
        .arg("t")
        .arg(format!("{ahead} {ahead}"));
    redis.ask::<()>(&tell);
    let lease = first_claim(&store, "a").await.lease();
    put_under(&store, lease, entry("a", "y")).await;
    assert_eq!(store.counters().outrun.count(), 0);
}

#[tokio::test]
async fn a_removal_ends_the_leases_of_its_url() {
    let redis = PrivateRedis::start().await;
    let (one, other) = (store(&redis, PATIENT).await, store(&redis, PATIENT).await);
    let lost = first_claim(&one, "a").await.lease();
    let removed = other.remove(&key("a")).await.expect("Redis is there");
    assert_eq!(removed.redis, Some(false), "a lease is no response");
    let next = first_claim(&other, "a").await.lease();
    put_under(&other, next, entry("a", "after")).await;
    put_under(&one, lost, entry("a", "before")).await;
    assert_eq!(one.counters().outrun.count(), 1);
}

#[tokio::test]
async fn something_foreign_in_the_place_of_a_lease_keeps_nobody_waiting() {
    let redis = PrivateRedis::start().await;
    let store = store(&redis, PATIENT).await;
    put(&store, entry("a", "x")).await;
    let lease = format!("{}:l", redis_key(&redis));
    redis.ask::<()>(redis::cmd("LPUSH").arg(lease).arg("foreign"));
    let claimed = first_claim(&store, "a").await;
    assert!(
        matches!(claimed.turn, Turn::Everybody),
        "{:?}",
        claimed.turn
    );
    put(&store, entry("a", "y")).await;
}

#[tokio::test]
async fn without_an_answer_in_time_or_a_followed_log_there_is_no_lease_and_no_wait() {
    let redis = PrivateRedis::start().await;
    let lost = unconnected(&redis, PATIENT);
    let claimed = first_claim(&lost, "a").await;
    assert!(matches!(claimed.turn, Turn::Unknown), "{:?}", claimed.turn);
    let store = store(&redis, PATIENT).await;
    redis.freeze();
    let request = HeaderMap::new();
    let (seen, end) = (Written::default(), Instant::now() + IMPATIENT);
    let frozen = store
        .claim(&key("a"), false, &request, &seen, now(), end)
        .await;
    redis.thaw();
    assert!(matches!(frozen.turn, Turn::Unknown), "{:?}", frozen.turn);
}

#[tokio::test]
async fn leases_in_a_cluster_lie_beside_their_urls() {
    let set = ClusterSet::start().await;
    let stores = [0, 1].map(|_| {
        let tier = RedisTier::new(&set.url(), "test", PATIENT).expect("a Redis URL");
        Store::new(MEMORY_BYTES_MAX, Some(tier))
    });
    for store in &stores {
        store.start();
        connected(store).await;
    }
    let [one, other] = &stores;
    for name in ["a", "b", "c", "d", "e"] {
        let lease = first_claim(one, name).await.lease();
        let waits = first_claim(other, name).await;
        assert!(matches!(waits.turn, Turn::Elsewhere), "{:?}", waits.turn);
        put_under(one, lease, entry(name, "fetched")).await;
        let found = first_claim(other, name).await.found;
        assert_eq!(body(&found.expect("it is there")), Some("fetched"));
        other
            .remove(&key(name))
            .await
            .expect("the Cluster is there");
    }
    for store in &stores {
        assert_eq!(errors(store, RedisError::Refused), 0);
    }
}
