//! What one replica stores, another finds.

use larder_proxy::store::Tier;

use super::*;

#[tokio::test]
async fn a_second_store_finds_the_first_one_s_response_whole_and_then_in_memory() {
    let redis = PrivateRedis::start_on_tcp().await;
    let first = store(&redis, PATIENT).await;
    put(&first, entry("a", "body")).await;

    let second = store(&redis, PATIENT).await;
    let none = HeaderMap::new();
    let (found, tier) = second.get(&key("a"), &none, now()).await;
    assert_eq!(tier, Tier::Redis);
    let found = entry_of(found);
    let born = found.born;
    assert_eq!(
        *found,
        Entry {
            born,
            ..entry("a", "body")
        }
    );
    let (found, tier) = second.get(&key("a"), &none, now()).await;
    assert_eq!((body(&found), tier), (Some("body"), Tier::Memory));
    assert_eq!(second.counters().hits.count(), 1);
    assert_eq!(second.stats().entries, 1);
}

#[tokio::test]
async fn a_miss_is_a_miss_in_both_tiers_and_no_error() {
    let redis = PrivateRedis::start().await;
    let store = store(&redis, PATIENT).await;
    let (found, tier) = store.get(&key("a"), &HeaderMap::new(), now()).await;
    assert!(matches!(found, Found::Miss));
    assert_eq!(tier, Tier::Redis);
    assert_eq!(store.counters().misses.count(), 1);
    assert!(
        RedisError::ALL
            .iter()
            .all(|&kind| errors(&store, kind) == 0)
    );
}

#[tokio::test]
async fn a_response_is_kept_in_redis_just_as_long_as_it_is_of_use() {
    let redis = PrivateRedis::start().await;
    let store = store(&redis, PATIENT).await;
    let mut response = entry("a", "body");
    response.policy.stale_while_revalidate_s = 30;
    response.policy.initial_age_s = 100;
    put(&store, response).await;
    let pttl_ms: i64 = redis.ask(redis::cmd("PTTL").arg(redis_key(&redis)));
    assert!((150_000..=230_000).contains(&pttl_ms), "{pttl_ms} ms");
}

#[tokio::test]
async fn a_newer_response_brings_its_own_shorter_time() {
    let redis = PrivateRedis::start().await;
    let store = store(&redis, PATIENT).await;
    put(&store, entry("a", "long")).await;
    let mut short = entry("a", "short");
    short.policy.lifetime_s = 100;
    put(&store, short).await;
    let pttl_ms: i64 = redis.ask(redis::cmd("PTTL").arg(redis_key(&redis)));
    assert!((1..=100_000).contains(&pttl_ms), "{pttl_ms} ms");
    assert_eq!(
        body(&get(&redis, "a", &HeaderMap::new()).await),
        Some("short")
    );
}

#[tokio::test]
async fn what_is_of_no_use_any_more_is_neither_written_nor_found() {
    let redis = PrivateRedis::start().await;
    let store_a = store(&redis, PATIENT).await;
    put(&store_a, entry("a", "body")).await;
    let reader = store(&redis, PATIENT).await;
    let none = HeaderMap::new();
    assert!(matches!(
        reader.get(&key("a"), &none, later(300)).await.0,
        Found::Miss
    ));
    assert!(matches!(
        reader.get(&key("a"), &none, later(299)).await.0,
        Found::Hit(_)
    ));

    store_a.put(entry("dead", "body"), store_a.mark(), later(300));
    // A write after it, on the same connection, shows that its turn has passed.
    put(&store_a, entry("a", "again")).await;
    redis_key(&redis);
}

#[tokio::test]
async fn a_look_up_is_one_round_trip_with_vary_and_without_once_that_vary_was_met() {
    let redis = PrivateRedis::start().await;
    let writer = store(&redis, PATIENT).await;
    let german = request(&[("accept-language", "de"), ("accept", "*/*")]);
    put(&writer, entry("plain", "body")).await;
    put(
        &writer,
        variant("varied", &["accept-language"], &german, "gut"),
    )
    .await;

    put(
        &writer,
        variant("like it", &["accept-language"], &german, "auch gut"),
    )
    .await;

    let reader = store(&redis, PATIENT).await;
    // They would ask for purges in between.
    writer.leave().await;
    reader.leave().await;
    let others = || redis.calls("evalsha") + redis.calls("eval") + redis.calls("hget");
    for (name, expected, questions) in [
        ("plain", "body", 1),
        ("varied", "gut", 2),
        ("like it", "auch gut", 1),
    ] {
        let before = (redis.calls("hmget"), others());
        let (found, _) = reader.get(&key(name), &german, now()).await;
        assert_eq!(body(&found), Some(expected));
        assert_eq!(
            (redis.calls("hmget") - questions, others()),
            before,
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_hit_in_memory_asks_nothing_of_redis() {
    let redis = PrivateRedis::start().await;
    let store = store(&redis, PATIENT).await;
    put(&store, entry("a", "body")).await;
    let questions = || redis.calls("hmget") + redis.calls("evalsha") + redis.calls("eval");
    let before = questions();
    for _ in 0..10 {
        let (found, tier) = store.get(&key("a"), &HeaderMap::new(), now()).await;
        assert_eq!((body(&found), tier), (Some("body"), Tier::Memory));
    }
    assert_eq!(questions(), before);
}

#[tokio::test]
async fn a_stale_response_in_memory_gives_way_to_a_newer_one_of_another_replica() {
    let redis = PrivateRedis::start().await;
    let first = store(&redis, PATIENT).await;
    let second = store(&redis, PATIENT).await;
    let none = HeaderMap::new();
    let mut old = entry("a", "old");
    old.policy.stale_if_error_s = 3600;
    put(&first, old).await;
    let mut new = entry("a", "new");
    new.policy.response_time_unix_s += 301;
    put(&second, new).await;

    let (found, tier) = first.get(&key("a"), &none, later(299)).await;
    assert_eq!((body(&found), tier), (Some("old"), Tier::Memory));
    let (found, tier) = first.get(&key("a"), &none, later(302)).await;
    assert_eq!((body(&found), tier), (Some("new"), Tier::Redis));
    let (found, tier) = first.get(&key("a"), &none, later(302)).await;
    assert_eq!((body(&found), tier), (Some("new"), Tier::Memory));
}

#[tokio::test]
async fn a_stale_response_stays_in_use_when_redis_has_no_newer_one_and_asks_once() {
    let redis = PrivateRedis::start().await;
    let store = store(&redis, PATIENT).await;
    let mut stale = entry("a", "stale");
    stale.policy.stale_if_error_s = 3600;
    put(&store, stale).await;
    for _ in 0..3 {
        let (found, tier) = store.get(&key("a"), &HeaderMap::new(), later(400)).await;
        assert_eq!((body(&found), tier), (Some("stale"), Tier::Memory));
    }
    assert_eq!(store.counters().hits.count(), 1);
}

#[tokio::test]
async fn namespaces_do_not_see_each_other() {
    let redis = PrivateRedis::start().await;
    let ours = store(&redis, PATIENT).await;
    put(&ours, entry("a", "body")).await;
    let tier = RedisTier::new(&redis.url(), "other", PATIENT).expect("a Redis URL");
    let theirs = Store::new(MEMORY_BYTES_MAX, Some(tier));
    theirs.start();
    connected(&theirs).await;
    let (found, _) = theirs.get(&key("a"), &HeaderMap::new(), now()).await;
    assert!(matches!(found, Found::Miss));
    assert_eq!(theirs.counters().misses.count(), 1);
}

#[tokio::test]
async fn a_large_binary_body_survives_the_way() {
    let redis = PrivateRedis::start().await;
    let store = store(&redis, PATIENT).await;
    let bytes: Vec<u8> = (0..6 * 1024 * 1024_u32).map(|n| (n % 251) as u8).collect();
    let large = Entry {
        body: bytes.into(),
        ..entry("a", "")
    };
    // Too large for this memory, not for Redis.
    put(&store, large.clone()).await;
    assert_eq!(store.stats().entries, 0);
    let (found, tier) = store.get(&key("a"), &HeaderMap::new(), now()).await;
    assert_eq!(tier, Tier::Redis);
    assert_eq!(entry_of(found).body, large.body);
}

#[tokio::test]
async fn user_and_password_are_used_and_never_told() {
    let redis = PrivateRedis::start().await;
    let mut acl = redis::cmd("ACL");
    acl.arg("SETUSER")
        .arg("larder")
        .arg("on")
        .arg(">s3cret")
        .arg("~test:*");
    acl.arg("+@all").arg("-@admin");
    redis.ask::<()>(&acl);
    let url = format!("{}?user=larder&pass=s3cret", redis.url());
    let tier = RedisTier::new(&url, "test", PATIENT).expect("a Redis URL");
    assert!(!format!("{tier:?}").contains("s3cret"), "{tier:?}");
    let with_password = Store::new(MEMORY_BYTES_MAX, Some(tier));
    with_password.start();
    connected(&with_password).await;
    put(&with_password, entry("a", "body")).await;
    assert_eq!(
        body(&get(&redis, "a", &HeaderMap::new()).await),
        Some("body")
    );

    let bad = RedisTier::new("http://u:s3cret@h/", "test", PATIENT).expect_err("no Redis URL");
    assert!(!format!("{bad} {bad:?}").contains("s3cret"));
}
