//! What somebody who can write to Redis can't do to replicas that have a key.

use larder_proxy::store::{Purge, Scope, Seal};

use super::*;

const KEY: &[u8] = b"a key that only the tests can know";
const NEW: &[u8] = b"another key, which came after that";
const STATE: &str = "test:{test}:log:state";
const PURGES: &str = "test:{test}:log:purges";
const SEEN: &str = "test:{test}:log:seen";

/// A store that is connected and has these keys, in the namespace `test` or another.
async fn sealed_in(redis: &PrivateRedis, namespace: &str, key: &[u8], old: Option<&[u8]>) -> Store {
    let store = sealed_at(redis, namespace, key, old);
    store.start();
    connected(&store).await;
    store
}

fn sealed_at(redis: &PrivateRedis, namespace: &str, key: &[u8], old: Option<&[u8]>) -> Store {
    let seal = Seal::keyed(namespace, key, old).expect("long enough");
    let tier = RedisTier::new(&redis.url(), namespace, PATIENT).expect("a Redis URL");
    Store::new(MEMORY_BYTES_MAX, Some(tier.sealed(seal)))
}

async fn sealed(redis: &PrivateRedis, key: &[u8], old: Option<&[u8]>) -> Store {
    sealed_in(redis, "test", key, old).await
}

async fn found(store: &Store, name: &str) -> Found {
    store.get(&key(name), &HeaderMap::new(), now()).await.0
}

fn tag(name: &str) -> [Purge; 1] {
    let scope = Scope::Tag(name.into());
    [Purge { scope, soft: false }]
}

/// With a tag that purges can name.
fn tagged(name: &str, body: &str) -> Entry {
    let mut entry = entry(name, body);
    entry.headers = lines(&[("etag", "\"1\""), ("cache-tag", "news")]);
    entry
}

fn form(redis: &PrivateRedis, name: &str) -> Vec<u8> {
    redis.ask(redis::cmd("HGET").arg(name).arg("e"))
}

fn write(redis: &PrivateRedis, name: &str, form: &[u8]) {
    redis.ask::<()>(redis::cmd("HSET").arg(name).arg("e").arg(form));
}

/// Everything that lies under a key.
fn dump(redis: &PrivateRedis, name: &str) -> Vec<u8> {
    redis.ask(redis::cmd("DUMP").arg(name))
}

fn restore(redis: &PrivateRedis, name: &str, dump: &[u8]) {
    let mut cmd = redis::cmd("RESTORE");
    cmd.arg(name).arg(0).arg(dump).arg("REPLACE");
    redis.ask::<()>(&cmd);
}

#[tokio::test]
async fn what_one_holder_of_the_key_stored_another_finds() {
    let redis = PrivateRedis::start().await;
    put(&sealed(&redis, KEY, None).await, entry("a", "body")).await;
    let other = sealed(&redis, KEY, None).await;
    assert_eq!(body(&found(&other, "a").await), Some("body"));
    assert_eq!(errors(&other, RedisError::Unauthentic), 0);
}

#[tokio::test]
async fn a_large_body_is_sealed_and_proven_whole() {
    let redis = PrivateRedis::start().await;
    let writer = sealed(&redis, KEY, None).await;
    let large = "0123456789abcdef".repeat(64 * 1024);
    put(&writer, entry("a", &large)).await;
    let reader = sealed(&redis, KEY, None).await;
    assert_eq!(body(&found(&reader, "a").await), Some(large.as_str()));
    let name = redis_key(&redis);
    let mut changed = form(&redis, &name);
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    write(&redis, &name, &changed);
    let reader = sealed(&redis, KEY, None).await;
    assert!(matches!(found(&reader, "a").await, Found::Miss));
    assert_eq!(errors(&reader, RedisError::Unauthentic), 1);
}

#[tokio::test]
async fn what_was_written_without_the_key_or_changed_is_a_miss_that_operators_see() {
    let redis = PrivateRedis::start().await;
    let writer = sealed(&redis, KEY, None).await;
    put(&writer, entry("a", "ours")).await;
    let name = redis_key(&redis);
    let ours = form(&redis, &name);
    let theirs = entry("a", "theirs");
    let other = Seal::keyed("test", NEW, None).expect("long enough");
    let elsewhere = Seal::keyed("elsewhere", KEY, None).expect("long enough");
    let mut flipped = ours.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let forgeries = [
        theirs.encode(&Seal::checksum()).expect("small enough"),
        theirs.encode(&other).expect("small enough"),
        theirs.encode(&elsewhere).expect("small enough"),
        flipped,
        ours[..ours.len() - 1].to_vec(),
        Vec::new(),
    ];
    for forged in forgeries {
        write(&redis, &name, &forged);
        let reader = sealed(&redis, KEY, None).await;
        let found = found(&reader, "a").await;
        assert!(matches!(found, Found::Miss), "{found:?}");
        assert_eq!(errors(&reader, RedisError::Unauthentic), 1);
    }
    put(&writer, entry("a", "again")).await;
    let reader = sealed(&redis, KEY, None).await;
    assert_eq!(body(&found(&reader, "a").await), Some("again"));
}

#[tokio::test]
async fn a_proxy_without_a_key_takes_nothing_that_is_under_one() {
    let redis = PrivateRedis::start().await;
    put(&sealed(&redis, KEY, None).await, entry("a", "sealed")).await;
    let reader = store(&redis, PATIENT).await;
    let found = found(&reader, "a").await;
    assert!(matches!(found, Found::Miss), "{found:?}");
    assert_eq!(errors(&reader, RedisError::Damaged), 1);
}

#[tokio::test]
async fn a_variant_in_another_one_s_place_is_refused() {
    let redis = PrivateRedis::start().await;
    let writer = sealed(&redis, KEY, None).await;
    let [de, en] = ["de", "en"].map(|language| request(&[("accept-language", language)]));
    for (asks, body) in [(&de, "gut"), (&en, "good")] {
        put(&writer, variant("a", &["accept-language"], asks, body)).await;
    }
    let name = redis_key(&redis);
    let pairs: Vec<(Vec<u8>, Vec<u8>)> = redis.ask(redis::cmd("HGETALL").arg(&name));
    let pairs: Vec<_> = pairs
        .into_iter()
        .filter(|(field, _)| field.starts_with(b"e"))
        .collect();
    let [(one, of_one), (two, of_two)] = pairs.as_slice() else {
        panic!("two variants, not {pairs:?}");
    };
    let mut swap = redis::cmd("HSET");
    swap.arg(&name).arg(one).arg(of_two).arg(two).arg(of_one);
    redis.ask::<()>(&swap);
    let reader = sealed(&redis, KEY, None).await;
    for asks in [&de, &en] {
        let found = reader.get(&key("a"), asks, now()).await.0;
        assert!(matches!(found, Found::Miss), "{found:?}");
    }
    assert_eq!(errors(&reader, RedisError::Unauthentic), 2);
}

#[tokio::test]
async fn a_response_in_another_url_s_or_namespace_s_place_is_refused() {
    let redis = PrivateRedis::start().await;
    let writer = sealed(&redis, KEY, None).await;
    put(&writer, entry("a", "of a")).await;
    let a = redis_key(&redis);
    let of_a = dump(&redis, &a);
    redis.ask::<()>(redis::cmd("DEL").arg(&a));
    put(&writer, entry("b", "of b")).await;
    restore(&redis, &redis_key(&redis), &of_a);
    let reader = sealed(&redis, KEY, None).await;
    let found_b = found(&reader, "b").await;
    assert!(matches!(found_b, Found::Miss), "{found_b:?}");
    assert_eq!(errors(&reader, RedisError::Unauthentic), 1);

    restore(&redis, &a.replacen("test:", "elsewhere:", 1), &of_a);
    let elsewhere = sealed_in(&redis, "elsewhere", KEY, None).await;
    let found_a = found(&elsewhere, "a").await;
    assert!(matches!(found_a, Found::Miss), "{found_a:?}");
    assert_eq!(errors(&elsewhere, RedisError::Unauthentic), 1);
}

#[tokio::test]
async fn a_response_that_is_put_back_after_its_end_is_a_miss() {
    let redis = PrivateRedis::start().await;
    put(&sealed(&redis, KEY, None).await, entry("a", "old")).await;
    let name = redis_key(&redis);
    let old = dump(&redis, &name);
    redis.ask::<()>(redis::cmd("DEL").arg(&name));
    restore(&redis, &name, &old);
    let ttl: i64 = redis.ask(redis::cmd("TTL").arg(&name));
    assert_eq!(ttl, -1, "Redis would keep it for ever");
    let reader = sealed(&redis, KEY, None).await;
    let at = async |s| reader.get(&key("a"), &HeaderMap::new(), later(s)).await.0;
    assert!(matches!(at(300).await, Found::Miss));
    assert_eq!(body(&at(299).await), Some("old"));
}

#[tokio::test]
async fn keys_are_changed_without_a_miss_and_purges_hold_on_the_way() {
    let redis = PrivateRedis::start().await;
    let first = sealed(&redis, KEY, None).await;
    put(&first, tagged("a", "by the old key")).await;
    // Every replica believes the new key before any writes with it.
    let second = sealed(&redis, KEY, Some(NEW)).await;
    let third = sealed(&redis, NEW, Some(KEY)).await;
    assert_eq!(body(&found(&third, "a").await), Some("by the old key"));
    put(&third, tagged("b", "by the new key")).await;
    assert_eq!(body(&found(&second, "b").await), Some("by the new key"));
    drop(first);
    third.purge(&tag("news")).await.expect("it is made");
    for name in ["a", "b"] {
        let found = found(&second, name).await;
        assert!(matches!(found, Found::Miss), "{found:?}");
    }
    put(&second, tagged("a", "later")).await;
    second.purge(&tag("news")).await.expect("it is made");
    let last = sealed(&redis, NEW, Some(KEY)).await;
    for name in ["a", "b"] {
        let found = found(&last, name).await;
        assert!(matches!(found, Found::Miss), "{found:?}");
    }
    for store in [&second, &third, &last] {
        assert_eq!(errors(store, RedisError::Unauthentic), 0);
    }
}

#[tokio::test]
async fn a_purge_by_a_key_that_was_given_up_still_holds() {
    let redis = PrivateRedis::start().await;
    let old = sealed(&redis, KEY, Some(NEW)).await;
    put(&sealed(&redis, NEW, Some(KEY)).await, tagged("a", "x")).await;
    old.purge(&tag("news")).await.expect("it is made");
    put(
        &sealed(&redis, NEW, Some(KEY)).await,
        tagged("b", "younger"),
    )
    .await;
    let new = sealed(&redis, NEW, None).await;
    let found_a = found(&new, "a").await;
    assert!(matches!(found_a, Found::Miss), "{found_a:?}");
    assert_eq!(body(&found(&new, "b").await), Some("younger"));
    assert!(errors(&new, RedisError::Unauthentic) > 0);
}

#[tokio::test]
async fn a_purged_response_that_is_put_back_is_dead_for_old_and_new_replicas() {
    let redis = PrivateRedis::start().await;
    let writer = sealed(&redis, KEY, None).await;
    put(&writer, tagged("a", "purged")).await;
    let name = redis_key(&redis);
    let before = dump(&redis, &name);
    writer.purge(&tag("news")).await.expect("it is made");
    put(&writer, tagged("a", "new")).await;
    restore(&redis, &name, &before);
    let reader = sealed(&redis, KEY, None).await;
    let found_a = found(&reader, "a").await;
    assert!(matches!(found_a, Found::Miss), "{found_a:?}");
    assert_eq!(body(&found(&writer, "a").await), Some("new"));
}

#[tokio::test]
async fn a_purge_s_record_says_nothing_in_another_log_and_costs_only_what_is_older() {
    let redis = PrivateRedis::start().await;
    let elsewhere = sealed_in(&redis, "elsewhere", KEY, None).await;
    elsewhere.purge(&tag("news")).await.expect("it is made");
    let theirs = PURGES.replace("test", "elsewhere");
    let members: Vec<Vec<u8>> = redis.ask(redis::cmd("ZRANGE").arg(theirs).arg(0).arg(-1));
    let reader = sealed(&redis, KEY, None).await;
    put(&reader, entry("a", "older")).await;
    let number: u64 = redis.ask(redis::cmd("HGET").arg(STATE).arg("sequence"));
    let number = number + 1;
    redis.ask::<()>(redis::cmd("ZADD").arg(PURGES).arg(number).arg(&members));
    let mut state = redis::cmd("HSET");
    state
        .arg(STATE)
        .arg("sequence")
        .arg(number)
        .arg("count")
        .arg(1);
    redis.ask::<()>(&state);
    redis.ask::<()>(redis::cmd("ZADD").arg(SEEN).arg(number).arg(number));
    until("the record is known as nobody's", async || {
        errors(&reader, RedisError::Unauthentic) > 0
    })
    .await;
    let found_a = found(&reader, "a").await;
    assert!(matches!(found_a, Found::Miss), "{found_a:?}");
    put(&reader, tagged("b", "younger")).await;
    assert_eq!(body(&found(&reader, "b").await), Some("younger"));
}

#[tokio::test]
async fn a_record_that_is_taken_out_of_the_log_makes_what_is_stored_to_be_confirmed() {
    let redis = PrivateRedis::start().await;
    let writer = sealed(&redis, KEY, None).await;
    put(&writer, tagged("a", "purged")).await;
    let name = redis_key(&redis);
    let before = dump(&redis, &name);
    writer.purge(&tag("news")).await.expect("it is made");
    redis.ask::<()>(redis::cmd("DEL").arg(PURGES));
    restore(&redis, &name, &before);
    let reader = sealed(&redis, KEY, None).await;
    let found_a = found(&reader, "a").await;
    assert_eq!(unverified(&found_a), Some("purged"), "{found_a:?}");
    let found_a = found(&writer, "a").await;
    assert!(body(&found_a).is_none(), "{found_a:?}");
}

#[tokio::test]
async fn a_log_that_is_put_back_whole_begins_anew_while_anybody_knows_better() {
    let redis = PrivateRedis::start().await;
    let writer = sealed(&redis, KEY, None).await;
    put(&writer, tagged("a", "purged")).await;
    let name = redis_key(&redis);
    let names = [name.as_str(), STATE, SEEN];
    let before = names.map(|name| dump(&redis, name));
    let epoch = || -> u64 { redis.ask(redis::cmd("HGET").arg(STATE).arg("epoch")) };
    let first = epoch();
    let sequence = writer
        .purge(&tag("news"))
        .await
        .expect("it is made")
        .sequence;
    redis.ask::<()>(redis::cmd("DEL").arg(PURGES));
    for (name, before) in names.iter().zip(&before) {
        restore(&redis, name, before);
    }
    // Whoever puts it back can also claim that the last number was given here.
    redis.ask::<()>(redis::cmd("ZADD").arg(SEEN).arg(sequence).arg(sequence));
    until("the log has begun anew", async || epoch() != first).await;
    let reader = sealed(&redis, KEY, None).await;
    let found_a = found(&reader, "a").await;
    assert_eq!(unverified(&found_a), Some("purged"), "{found_a:?}");
}

#[tokio::test]
async fn a_log_that_has_given_way_to_another_does_not_come_back_without_its_purges() {
    let redis = PrivateRedis::start().await;
    let writer = sealed(&redis, KEY, None).await;
    put(&writer, tagged("a", "purged")).await;
    let name = redis_key(&redis);
    let before = [name.as_str(), STATE, SEEN].map(|name| (name, dump(&redis, name)));
    let first = writer.mark().stamp().epoch;
    writer.purge(&tag("news")).await.expect("it is made");
    redis.ask::<()>(redis::cmd("DEL").arg(STATE));
    until("another log is followed", async || {
        writer.mark().stamp().epoch != first
    })
    .await;
    redis.ask::<()>(redis::cmd("DEL").arg(PURGES));
    for (name, dump) in &before {
        restore(&redis, name, dump);
    }
    let epoch = || -> u64 { redis.ask(redis::cmd("HGET").arg(STATE).arg("epoch")) };
    until("the log has begun anew", async || epoch() != first).await;
    let found_a = found(&writer, "a").await;
    assert!(matches!(found_a, Found::Miss), "{found_a:?}");
    assert!(errors(&writer, RedisError::Damaged) > 0);
}

#[tokio::test]
async fn a_purge_that_was_applied_holds_whatever_name_the_log_is_given() {
    let redis = PrivateRedis::start().await;
    let first = sealed_at(&redis, "test", KEY, None);
    let before_any_log = first.mark();
    assert_eq!(before_any_log.stamp().epoch, 0);
    first.start();
    connected(&first).await;
    put(&first, tagged("old", "of an old log")).await;
    first.put(tagged("none", "of no log"), before_any_log, now());
    until("both are in Redis", async || redis.stored_keys().len() == 2).await;
    let old = first.mark().stamp().epoch;
    drop(first);
    redis.ask::<()>(redis::cmd("DEL").arg(STATE).arg(PURGES).arg(SEEN));
    let store = sealed(&redis, KEY, None).await;
    assert_ne!(store.mark().stamp().epoch, old);
    store.purge(&tag("news")).await.expect("it is made");
    for epoch in [old, 0] {
        redis.ask::<()>(redis::cmd("HSET").arg(STATE).arg("epoch").arg(epoch));
        redis.ask::<()>(redis::cmd("HSET").arg(STATE).arg("count").arg(0));
        redis.ask::<()>(redis::cmd("DEL").arg(PURGES));
        let before = redis.calls("evalsha");
        until("the log was looked at", async || {
            redis.calls("evalsha") > before + 2
        })
        .await;
        for name in ["none", "old"] {
            let found = found(&store, name).await;
            assert!(body(&found).is_none(), "{epoch}, {name}: {found:?}");
        }
    }
}

#[tokio::test]
async fn a_log_whose_numbers_are_from_the_future_is_not_followed() {
    let redis = PrivateRedis::start().await;
    let store = sealed(&redis, KEY, None).await;
    put(&store, entry("a", "x")).await;
    let far = 8_000_000_000_000_000_u64;
    redis.ask::<()>(redis::cmd("HSET").arg(STATE).arg("sequence").arg(far));
    redis.ask::<()>(redis::cmd("ZADD").arg(SEEN).arg(far).arg(far));
    until("what is stored has to be confirmed", async || {
        unverified(&found(&store, "a").await) == Some("x")
    })
    .await;
    assert!(store.mark().stamp().sequence < far);
    assert!(errors(&store, RedisError::Unauthentic) > 0);
    for name in [STATE, PURGES, SEEN] {
        redis.ask::<()>(redis::cmd("DEL").arg(name));
    }
    until("the log is followed again", async || {
        store.put(entry("b", "y"), store.mark(), now());
        body(&found(&store, "b").await) == Some("y")
    })
    .await;
}
