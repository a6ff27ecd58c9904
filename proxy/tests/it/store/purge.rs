//! What was purged doesn't come back.

use super::*;
use larder_proxy::store::{PurgeError, Removed};

#[tokio::test]
async fn a_purge_takes_all_variants_from_both_tiers() {
    let redis = PrivateRedis::start().await;
    let store = store(&redis, PATIENT).await;
    for language in ["de", "en"] {
        let asks = request(&[("accept-language", language)]);
        put(&store, variant("a", &["accept-language"], &asks, "x")).await;
    }
    put(&store, entry("b", "stays")).await;
    let purged = Removed {
        memory: 2,
        redis: Some(true),
    };
    assert_eq!(store.remove(&key("a")).await, Ok(purged));
    for language in ["de", "en"] {
        let asks = request(&[("accept-language", language)]);
        assert!(matches!(
            store.get(&key("a"), &asks, now()).await.0,
            Found::Miss
        ));
        assert!(matches!(get(&redis, "a", &asks).await, Found::Miss));
    }
    assert_eq!(
        body(&get(&redis, "b", &HeaderMap::new()).await),
        Some("stays")
    );
    let nothing = Removed {
        memory: 0,
        redis: Some(false),
    };
    assert_eq!(store.remove(&key("a")).await, Ok(nothing));
}

#[tokio::test]
async fn a_fill_that_began_before_a_purge_stores_nothing() {
    let redis = PrivateRedis::start().await;
    let store = store(&redis, PATIENT).await;
    let before = store.mark();
    store.remove(&key("a")).await.expect("Redis is there");
    let late = store.put(entry("a", "old"), before, now());
    assert_eq!(late, Put::Invalidated);
    put(
        &store,
        entry("b", "shows that the turn of writes has passed"),
    )
    .await;
    let found = store.get(&key("a"), &HeaderMap::new(), now()).await.0;
    assert!(matches!(found, Found::Miss), "{found:?}");
    redis_key(&redis);
    put(&store, entry("a", "new")).await;
}

#[tokio::test]
async fn a_write_that_waits_its_turn_is_not_done_after_a_purge() {
    let redis = PrivateRedis::start().await;
    let store = store(&redis, PATIENT).await;
    // On one thread the write in the background begins only while the purge waits for Redis.
    assert_eq!(
        store.put(entry("a", "old"), store.mark(), now()),
        Put::Stored
    );
    store.remove(&key("a")).await.expect("Redis is there");
    put(
        &store,
        entry("b", "shows that the turn of writes has passed"),
    )
    .await;
    let found = get(&redis, "a", &HeaderMap::new()).await;
    assert!(matches!(found, Found::Miss), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writes_under_way_never_outlive_a_purge() {
    let redis = PrivateRedis::start().await;
    let store = Arc::new(store(&redis, PATIENT).await);
    for round in 0..200 {
        let filler = Arc::clone(&store);
        let fills = tokio::spawn(async move {
            let mark = filler.mark();
            for _ in 0..4 {
                filler.put(entry("a", "old"), mark, now());
                tokio::task::yield_now().await;
            }
        });
        let reader = Arc::clone(&store);
        let reads = tokio::spawn(async move {
            reader.get(&key("a"), &HeaderMap::new(), now()).await;
        });
        if round % 2 == 0 {
            tokio::task::yield_now().await;
        }
        // Whatever of it came before the purge is gone, and none of it may come after. The mark
        // of fills that begin later is newer, so the purge awaits them before it counts.
        fills.await.expect("no panic");
        store.remove(&key("a")).await.expect("Redis is there");
        reads.await.expect("no panic");
        let found = store.get(&key("a"), &HeaderMap::new(), now()).await.0;
        assert!(matches!(found, Found::Miss), "round {round}: {found:?}");
    }
}

#[tokio::test]
async fn without_redis_a_purge_is_memory_s_alone() {
    let store = Store::new(MEMORY_BYTES_MAX, None);
    assert_eq!(store.put(entry("a", "x"), store.mark(), now()), Put::Stored);
    let purged = Removed {
        memory: 1,
        redis: None,
    };
    assert_eq!(store.remove(&key("a")).await, Ok(purged));
    assert_eq!(store.redis_state(), RedisState::Off);
}

#[tokio::test]
async fn a_purge_that_redis_does_not_confirm_is_an_error_and_memory_is_purged() {
    let mut redis = PrivateRedis::start().await;
    let store = store(&redis, PATIENT).await;
    put(&store, entry("a", "x")).await;
    redis.kill();
    let error = PurgeError::Log(RedisError::Connection);
    assert_eq!(store.remove(&key("a")).await, Err(error));
    assert_eq!(store.stats().entries, 0);
}
