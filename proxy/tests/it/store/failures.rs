//! Redis in every bad state, and back.

use super::*;
use crate::support::fault::{FaultProxy, Mode};

async fn misses(store: &Store, name: &str) {
    let (found, _) = store.get(&key(name), &HeaderMap::new(), now()).await;
    assert!(matches!(found, Found::Miss), "{found:?}");
}

/// Writes until one succeeds.
async fn writes(store: &Store, name: &str, body: &str) {
    let before = store.counters().writes.count();
    until("a write succeeds", async || {
        store.put(entry(name, body), store.mark(), now());
        tokio::task::yield_now().await;
        store.counters().writes.count() > before
    })
    .await;
}

/// A replica finds in Redis what this store puts there, at once or after some tries.
async fn shares_again(store: &Store, redis: &PrivateRedis, name: &str) {
    writes(store, name, "again").await;
    // What was fetched under a log that is lost has to be confirmed.
    until("what is written is trusted", async || {
        store.put(entry(name, "again"), store.mark(), now());
        body(&get(redis, name, &HeaderMap::new()).await) == Some("again")
    })
    .await;
}

#[tokio::test]
async fn a_flushed_redis_is_empty_and_fills_again() {
    let redis = PrivateRedis::start().await;
    let store = store(&redis, PATIENT).await;
    put(&store, entry("a", "x")).await;
    redis.ask::<()>(&redis::cmd("FLUSHALL"));
    assert!(matches!(
        get(&redis, "a", &HeaderMap::new()).await,
        Found::Miss
    ));
    shares_again(&store, &redis, "a").await;
}

#[tokio::test]
async fn forgotten_scripts_are_sent_again() {
    let redis = PrivateRedis::start().await;
    let store = store(&redis, PATIENT).await;
    put(&store, entry("a", "x")).await;
    redis.ask::<()>(redis::cmd("SCRIPT").arg("FLUSH"));
    assert_eq!(body(&get(&redis, "a", &HeaderMap::new()).await), Some("x"));
    put(&store, entry("a", "again")).await;
    assert!(
        RedisError::ALL
            .iter()
            .all(|&kind| errors(&store, kind) == 0)
    );
}

#[tokio::test]
async fn a_foreign_value_under_our_key_is_a_miss_and_gives_way() {
    let redis = PrivateRedis::start().await;
    let writer = store(&redis, PATIENT).await;
    put(&writer, entry("a", "x")).await;
    let name = redis_key(&redis);
    redis.ask::<()>(redis::cmd("SET").arg(&name).arg("foreign"));
    let reader = store(&redis, PATIENT).await;
    misses(&reader, "a").await;
    assert_eq!(errors(&reader, RedisError::Damaged), 1);
    put(&reader, entry("a", "ours")).await;
    assert_eq!(
        body(&get(&redis, "a", &HeaderMap::new()).await),
        Some("ours")
    );
    let ttl: i64 = redis.ask(redis::cmd("TTL").arg(&name));
    assert!(ttl > 0);
}

#[tokio::test]
async fn garbage_and_truncated_values_are_misses_and_give_way() {
    let redis = PrivateRedis::start().await;
    let writer = store(&redis, PATIENT).await;
    put(&writer, entry("a", "x")).await;
    let name = redis_key(&redis);
    let whole: Vec<u8> = redis.ask(redis::cmd("HGET").arg(&name).arg("e"));
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for bad in [&b""[..], b"garbage", &whole[..whole.len() - 1], &flipped] {
        redis.ask::<()>(redis::cmd("HSET").arg(&name).arg("e").arg(bad));
        let reader = store(&redis, PATIENT).await;
        misses(&reader, "a").await;
        assert_eq!(errors(&reader, RedisError::Damaged), 1);
    }
    put(&writer, entry("a", "again")).await;
    assert_eq!(
        body(&get(&redis, "a", &HeaderMap::new()).await),
        Some("again")
    );
}

#[tokio::test]
async fn garbage_in_place_of_the_names_gives_way() {
    let redis = PrivateRedis::start().await;
    let writer = store(&redis, PATIENT).await;
    put(&writer, entry("a", "x")).await;
    let name = redis_key(&redis);
    for garbage in [",,\0,%s".to_owned(), "n,".repeat(100_000)] {
        redis.ask::<()>(redis::cmd("HSET").arg(&name).arg("v").arg(garbage));
        let found = get(&redis, "a", &HeaderMap::new()).await;
        assert!(body(&found).is_none(), "{found:?}");
    }
    put(&writer, entry("a", "again")).await;
    assert_eq!(
        body(&get(&redis, "a", &HeaderMap::new()).await),
        Some("again")
    );
}

#[tokio::test]
async fn an_entry_of_another_key_or_variant_is_not_believed() {
    let redis = PrivateRedis::start().await;
    let writer = store(&redis, PATIENT).await;
    put(&writer, entry("a", "for a")).await;
    let form: Vec<u8> = redis.ask(redis::cmd("HGET").arg(redis_key(&redis)).arg("e"));
    redis.ask::<()>(&redis::cmd("FLUSHALL"));
    put(&writer, entry("b", "for b")).await;
    redis.ask::<()>(redis::cmd("HSET").arg(redis_key(&redis)).arg("e").arg(form));
    let reader = store(&redis, PATIENT).await;
    misses(&reader, "b").await;
    assert_eq!(errors(&reader, RedisError::Damaged), 1);
}

#[tokio::test]
async fn a_frozen_redis_costs_one_deadline_then_nothing_and_recovers() {
    let redis = PrivateRedis::start().await;
    let store = store(&redis, IMPATIENT).await;
    store.put(entry("mem", "memory"), store.mark(), now());
    redis.freeze();
    until("the breaker opens", async || {
        misses(&store, "a").await;
        errors(&store, RedisError::BreakerOpen) > 0
    })
    .await;
    assert!(errors(&store, RedisError::Timeout) >= 5);
    assert_eq!(store.redis_state(), RedisState::Down);
    let (found, _) = store.get(&key("mem"), &HeaderMap::new(), now()).await;
    assert_eq!(body(&found), Some("memory"));
    // While it is open nobody waits: a thousand look-ups take no thousand deadlines.
    let begin = std::time::Instant::now();
    for _ in 0..1000 {
        misses(&store, "a").await;
    }
    assert!(begin.elapsed() < IMPATIENT * 500, "{:?}", begin.elapsed());

    redis.thaw();
    until("it is used again", async || {
        misses(&store, "a").await;
        store.redis_state() == RedisState::Connected
    })
    .await;
    shares_again(&store, &redis, "back").await;
}

#[tokio::test]
async fn a_redis_frozen_for_long_gets_a_new_connection() {
    let redis = PrivateRedis::start().await;
    let store = store(&redis, IMPATIENT).await;
    redis.freeze();
    until("the connection is given up", async || {
        misses(&store, "a").await;
        errors(&store, RedisError::Connection) > 0
    })
    .await;
    redis.thaw();
    until("it is used again", async || {
        misses(&store, "a").await;
        store.redis_state() == RedisState::Connected
    })
    .await;
    shares_again(&store, &redis, "back").await;
}

#[tokio::test]
async fn a_redis_that_is_in_time_for_writes_alone_is_not_asked_by_look_ups() {
    let redis = PrivateRedis::start().await;
    let link = FaultProxy::before_socket(redis.socket()).await;
    let url = format!("redis://{}", link.address);
    let tier = RedisTier::new(&url, "test", IMPATIENT).expect("a Redis URL");
    let store = Store::new(MEMORY_BYTES_MAX, Some(tier));
    store.start();
    connected(&store).await;
    // There and back in six deadlines: too late for a look-up, not for a write.
    link.set(Mode::Delay(IMPATIENT * 3));
    until("the breaker opens", async || {
        misses(&store, "a").await;
        errors(&store, RedisError::BreakerOpen) > 0
    })
    .await;
    // A name of its own, so that memory does not answer the look-ups.
    writes(&store, "other", "written").await;
    let late = errors(&store, RedisError::Timeout);
    for _ in 0..20 {
        misses(&store, "a").await;
    }
    let late = errors(&store, RedisError::Timeout) - late;
    assert!(late <= 2, "{late} of 20 look-ups waited in vain");
}

#[tokio::test]
async fn a_killed_and_restarted_redis_is_used_again() {
    let mut redis = PrivateRedis::start_on_tcp().await;
    let store = store(&redis, PATIENT).await;
    put(&store, entry("a", "x")).await;
    redis.kill();
    until("the loss is noticed", async || {
        store.redis_state() == RedisState::Down
    })
    .await;
    misses(&store, "other").await;
    let (found, _) = store.get(&key("a"), &HeaderMap::new(), now()).await;
    assert_eq!(body(&found), Some("x"));
    redis.run().await;
    connected(&store).await;
    shares_again(&store, &redis, "back").await;
}

#[tokio::test]
async fn a_redis_that_comes_later_is_used_from_then_on() {
    for mut redis in [
        PrivateRedis::absent_on_unix(),
        PrivateRedis::absent_on_tcp(),
    ] {
        let store = unconnected(&redis, PATIENT);
        misses(&store, "a").await;
        assert_eq!(store.redis_state(), RedisState::Down);
        assert_eq!(store.put(entry("a", "x"), store.mark(), now()), Put::Stored);
        let (found, _) = store.get(&key("a"), &HeaderMap::new(), now()).await;
        assert_eq!(unverified(&found), Some("x"));
        redis.run().await;
        connected(&store).await;
        shares_again(&store, &redis, "back").await;
    }
}

#[tokio::test]
async fn a_read_only_replica_serves_look_ups_and_refuses_the_rest() {
    let redis = PrivateRedis::start().await;
    let writer = store(&redis, PATIENT).await;
    put(&writer, entry("a", "x")).await;
    let mut replica_of = redis::cmd("REPLICAOF");
    // Nobody is there; what it has stays readable.
    redis.ask::<()>(replica_of.arg("127.0.0.1").arg("1"));
    assert_eq!(
        writer.put(entry("b", "y"), writer.mark(), now()),
        Put::Stored
    );
    until("the write is refused", async || {
        errors(&writer, RedisError::Refused) == 1
    })
    .await;
    // Nobody can say that he follows the purges of a server that takes no word.
    let reader = unconnected(&redis, PATIENT);
    let (found, _) = reader.get(&key("a"), &HeaderMap::new(), now()).await;
    assert!(matches!(found, Found::Miss), "not connected yet: {found:?}");
    until("the reader finds it", async || {
        let (found, _) = reader.get(&key("a"), &HeaderMap::new(), now()).await;
        unverified(&found) == Some("x")
    })
    .await;
    let purged = writer.remove(&key("a")).await;
    assert_eq!(
        purged.expect_err("not purged"),
        larder_proxy::store::PurgeError::Log(RedisError::Refused)
    );
    redis.ask::<()>(redis::cmd("REPLICAOF").arg("NO").arg("ONE"));
    put(&writer, entry("b", "y")).await;
}

#[tokio::test]
async fn a_full_redis_serves_look_ups_and_refuses_writes() {
    let redis = PrivateRedis::start_with(&["--maxmemory-policy", "noeviction"]).await;
    let writer = store(&redis, PATIENT).await;
    put(&writer, entry("a", "x")).await;
    let set = |bytes: &str| {
        let mut cmd = redis::cmd("CONFIG");
        redis.ask::<()>(cmd.arg("SET").arg("maxmemory").arg(bytes));
    };
    set("1");
    assert_eq!(
        writer.put(entry("b", "y"), writer.mark(), now()),
        Put::Stored
    );
    until("the write is refused", async || {
        errors(&writer, RedisError::Refused) == 1
    })
    .await;
    assert_eq!(body(&get(&redis, "a", &HeaderMap::new()).await), Some("x"));
    assert_eq!(writer.redis_state(), RedisState::Connected);
    set("0");
    put(&writer, entry("b", "y")).await;
}

#[tokio::test]
async fn look_ups_given_up_half_way_leave_the_connection_in_order() {
    let redis = PrivateRedis::start().await;
    let store = Arc::new(store(&redis, PATIENT).await);
    for n in 0..20 {
        put(&store, entry(&n.to_string(), &format!("body {n}"))).await;
    }
    let reader = Arc::new(super::store(&redis, PATIENT).await);
    for n in 0..200_u32 {
        let reader = Arc::clone(&reader);
        let task = tokio::spawn(async move {
            let none = HeaderMap::new();
            reader.get(&key(&(n % 20).to_string()), &none, now()).await
        });
        if n % 3 == 0 {
            tokio::task::yield_now().await;
        }
        task.abort();
    }
    let fresh = super::store(&redis, PATIENT).await;
    for n in 0..20 {
        for store in [&*reader, &fresh] {
            let (found, _) = store
                .get(&key(&n.to_string()), &HeaderMap::new(), now())
                .await;
            assert_eq!(body(&found), Some(format!("body {n}").as_str()));
        }
    }
}

#[tokio::test]
async fn writes_beyond_what_may_wait_are_dropped_and_counted() {
    let redis = PrivateRedis::start().await;
    let store = store(&redis, PATIENT).await;
    redis.freeze();
    for n in 0..1025 {
        store.put(entry(&n.to_string(), "x"), store.mark(), now());
    }
    assert_eq!(store.counters().dropped.count(), 1);
    redis.thaw();
    until("all others are written", async || {
        store.counters().writes.count() == 1024
    })
    .await;
}

#[tokio::test]
async fn a_write_that_was_given_up_takes_its_room_until_the_connection_lets_it_go() {
    let redis = PrivateRedis::start().await;
    let store = store(&redis, IMPATIENT).await;
    let large = "x".repeat(1024 * 1024);
    let put = |name: &str| store.put(entry(name, &large), store.mark(), now());
    redis.freeze();
    put("a");
    put("b");
    until("both are given up", async || {
        errors(&store, RedisError::Timeout) == 2
    })
    .await;
    put("c");
    assert_eq!(store.counters().dropped.count(), 1);
    until("the connection is given up", async || {
        put("d");
        errors(&store, RedisError::Connection) > 0
    })
    .await;
    redis.thaw();
    shares_again(&store, &redis, "back").await;
}
