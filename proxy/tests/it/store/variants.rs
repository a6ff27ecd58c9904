//! All variants of a URL under one key.

use super::*;

const LANGUAGE: &[&str] = &["accept-language"];

fn asks(language: &str) -> HeaderMap {
    request(&[("accept-language", language)])
}

#[tokio::test]
async fn each_request_finds_its_own_variant() {
    let redis = PrivateRedis::start().await;
    let writer = store(&redis, PATIENT).await;
    put(&writer, variant("a", LANGUAGE, &asks("de"), "gut")).await;
    put(&writer, variant("a", LANGUAGE, &asks("en"), "good")).await;
    put(&writer, variant("a", LANGUAGE, &HeaderMap::new(), "none")).await;

    for (request, expected) in [
        (asks("de"), Some("gut")),
        (asks("en"), Some("good")),
        (HeaderMap::new(), Some("none")),
    ] {
        assert_eq!(body(&get(&redis, "a", &request).await), expected);
    }
    let found = get(&redis, "a", &asks("fr")).await;
    assert!(matches!(found, Found::VaryMiss), "{found:?}");
    redis_key(&redis);
}

#[tokio::test]
async fn fields_that_do_not_select_make_no_difference() {
    let redis = PrivateRedis::start().await;
    let writer = store(&redis, PATIENT).await;
    let names = ["accept", "accept-language"];
    let stored = request(&[("accept", "text/html"), ("accept-language", "de")]);
    put(&writer, variant("a", &names, &stored, "gut")).await;
    let mut other = stored.clone();
    other.insert("user-agent", HeaderValue::from_static("some"));
    other.insert("cookie", HeaderValue::from_static("id=1"));
    assert_eq!(body(&get(&redis, "a", &other).await), Some("gut"));
    other.remove("accept");
    assert!(matches!(get(&redis, "a", &other).await, Found::VaryMiss));
}

#[tokio::test]
async fn values_of_a_request_do_not_reach_redis_in_the_clear() {
    let redis = PrivateRedis::start().await;
    let writer = store(&redis, PATIENT).await;
    redis.ask::<()>(
        redis::cmd("CONFIG")
            .arg("SET")
            .arg("slowlog-log-slower-than")
            .arg(0),
    );
    let asks = request(&[("authorization", "Bearer s3cret"), ("cookie", "id=s3cret")]);
    put(&writer, variant("a", &["cookie"], &asks, "its")).await;
    redis.ask::<()>(redis::cmd("SLOWLOG").arg("RESET"));
    assert_eq!(body(&get(&redis, "a", &asks).await), Some("its"));
    let log: redis::Value = redis.ask(redis::cmd("SLOWLOG").arg("GET").arg(128));
    let log = format!("{log:?}");
    assert!(log.contains("HMGET"), "the look-up is in the log");
    assert!(!log.contains("s3cret"));
}

#[tokio::test]
async fn another_vary_takes_the_place_of_all_variants() {
    let redis = PrivateRedis::start().await;
    let writer = store(&redis, PATIENT).await;
    put(&writer, variant("a", LANGUAGE, &asks("de"), "gut")).await;
    let html = request(&[("accept", "text/html")]);
    put(&writer, variant("a", &["accept"], &html, "html")).await;
    assert!(matches!(
        get(&redis, "a", &asks("de")).await,
        Found::VaryMiss
    ));
    assert_eq!(body(&get(&redis, "a", &html).await), Some("html"));
    put(&writer, entry("a", "plain")).await;
    assert_eq!(body(&get(&redis, "a", &html).await), Some("plain"));
    let fields: u64 = redis.ask(redis::cmd("HLEN").arg(redis_key(&redis)));
    assert_eq!(fields, 3, "the response, the names and the time");
}

#[tokio::test]
async fn an_older_response_under_another_vary_is_not_used() {
    let redis = PrivateRedis::start().await;
    let (writer, reader) = (store(&redis, PATIENT).await, store(&redis, PATIENT).await);
    // The reader knows a newer response, whose write did not reach Redis.
    let mut newer = variant("a", &["accept"], &request(&[("accept", "x")]), "new");
    newer.policy.response_time_unix_s += 10;
    put(&reader, newer).await;
    put(&writer, variant("a", LANGUAGE, &asks("de"), "alt")).await;
    let (found, _) = reader.get(&key("a"), &asks("de"), now()).await;
    assert!(matches!(found, Found::VaryMiss), "{found:?}");
}

#[tokio::test]
async fn variants_of_a_url_are_bounded_in_redis() {
    let redis = PrivateRedis::start().await;
    let writer = store(&redis, PATIENT).await;
    for n in 0..70 {
        let asks = asks(&format!("x-{n}"));
        put(&writer, variant("a", LANGUAGE, &asks, "body")).await;
    }
    let fields: u64 = redis.ask(redis::cmd("HLEN").arg(redis_key(&redis)));
    assert_eq!(fields, 66, "64 variants, the names and the time");
    let last = get(&redis, "a", &asks("x-69")).await;
    assert_eq!(body(&last), Some("body"));
}

#[tokio::test]
async fn the_time_of_a_url_only_grows_with_its_variants() {
    let redis = PrivateRedis::start().await;
    let writer = store(&redis, PATIENT).await;
    let pttl_ms = || redis.ask::<i64>(redis::cmd("PTTL").arg(redis_key(&redis)));
    put(&writer, variant("a", LANGUAGE, &asks("de"), "gut")).await;
    let mut short = variant("a", LANGUAGE, &asks("en"), "good");
    short.policy.lifetime_s = 10;
    put(&writer, short).await;
    assert!(pttl_ms() > 200_000, "{} ms", pttl_ms());
    let mut long = variant("a", LANGUAGE, &asks("fr"), "bon");
    long.policy.lifetime_s = 900;
    put(&writer, long).await;
    assert!(pttl_ms() > 800_000, "{} ms", pttl_ms());
}

#[tokio::test]
async fn a_part_is_found_as_a_part_and_never_takes_the_place_of_a_whole() {
    let redis = PrivateRedis::start().await;
    let writer = store(&redis, PATIENT).await;
    let de = || variant("a", LANGUAGE, &asks("de"), "ganz");
    put(&writer, part(de(), 2, "nz", 4)).await;
    match get(&redis, "a", &asks("de")).await {
        Found::Part(entry) => assert_eq!(
            (&entry.body[..], entry.part.clone()),
            (&b"nz"[..], part(de(), 2, "nz", 4).part)
        ),
        other => panic!("{other:?}"),
    }
    // Parts make way for parts, and for the whole ...
    put(&writer, part(de(), 0, "gan", 4)).await;
    assert!(matches!(get(&redis, "a", &asks("de")).await, Found::Part(p) if p.body == "gan"));
    put(&writer, de()).await;
    assert_eq!(body(&get(&redis, "a", &asks("de")).await), Some("ganz"));
    // ... which stays, also against a part under another `Vary`, and one from a process that doesn't hold it in memory.
    let other = store(&redis, PATIENT).await;
    put(&other, part(de(), 0, "g", 4)).await;
    let third = store(&redis, PATIENT).await;
    put(&third, part(entry("a", ""), 0, "g", 4)).await;
    assert_eq!(body(&get(&redis, "a", &asks("de")).await), Some("ganz"));
    put(
        &third,
        part(variant("a", LANGUAGE, &asks("en"), ""), 0, "wh", 5),
    )
    .await;
    assert!(matches!(get(&redis, "a", &asks("en")).await, Found::Part(p) if p.body == "wh"));
    assert_eq!(body(&get(&redis, "a", &asks("de")).await), Some("ganz"));
}

#[tokio::test]
async fn who_holds_a_part_gets_the_whole_that_another_process_stored() {
    let redis = PrivateRedis::start().await;
    let (one, two) = (store(&redis, PATIENT).await, store(&redis, PATIENT).await);
    put(&one, part(entry("a", ""), 0, "wh", 5)).await;
    put(&two, entry("a", "whole")).await;
    let (found, _) = one.get(&key("a"), &HeaderMap::new(), now()).await;
    assert_eq!(body(&found), Some("whole"));
    let (found, tier) = one.get(&key("a"), &HeaderMap::new(), now()).await;
    assert_eq!(
        (body(&found), tier),
        (Some("whole"), larder_proxy::store::Tier::Memory)
    );
}
