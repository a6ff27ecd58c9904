//! Somebody who can write to Redis, while replicas serve.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64;

use crate::support::proxy::Proxy;
use crate::support::redis::PrivateRedis;
use crate::support::upstream::{Upstream, respond};
use crate::support::wait::until;

const KEY: &str = "0123456789abcdefghijklmnopqrstuvwxyz";
const NEW: &str = "zyxwvutsrqponmlkjihgfedcba9876543210";
const HOST: [(&str, &str); 1] = [("host", "api.example")];
/// The stored form's first byte under a checksum, and what it ends in under either seal.
const CHECKED_FORM: u8 = 3;
const CHECKSUM_BYTES: usize = 8;
const MAC_BYTES: usize = 32;

/// Says of itself what was asked for.
async fn honest() -> Upstream {
    Upstream::start(async |asked| {
        let fields = [("cache-control", "max-age=600"), ("cache-tag", "all")];
        respond(200, &fields, format!("truth of {}", asked.target))
    })
    .await
}

async fn replica(
    upstream: &Upstream,
    redis: &PrivateRedis,
    keys: &[(&'static str, &str)],
) -> Proxy {
    let url = redis.url();
    let mut settings = vec![("redis", url.as_str()), ("namespace", "test")];
    settings.extend(keys);
    let proxy = Proxy::start(upstream.address, &settings).await;
    until("the proxy has Redis", async || {
        let health = proxy.admin(reqwest::Method::GET, "/health").await;
        health.body.contains("\"redis\":\"up\"")
    })
    .await;
    proxy
}

async fn unauthentic(proxy: &Proxy) -> f64 {
    let metrics = proxy.admin(reqwest::Method::GET, "/metrics").await.body;
    let start = "larder_redis_errors_total{kind=\"unauthentic\"} ";
    let count = metrics.lines().find_map(|line| line.strip_prefix(start));
    count.expect("it is counted").parse().expect("a number")
}

/// All stored responses: the keys' names, and the forms under them.
fn stored(redis: &PrivateRedis) -> BTreeMap<String, Vec<u8>> {
    let form = |name: &String| redis.ask(redis::cmd("HGET").arg(name).arg("e"));
    let names = redis.stored_keys();
    names
        .into_iter()
        .map(|name| (name.clone(), form(&name)))
        .collect()
}

/// The same response with lies in it, under a checksum that anybody can make.
fn lies(form: &[u8], seal_bytes: usize) -> Vec<u8> {
    let mut form = form[..form.len() - seal_bytes].to_vec();
    form[0] = CHECKED_FORM;
    let at = form.windows(5).rposition(|bytes| bytes == b"truth");
    let at = at.expect("the body");
    form[at..at + 5].copy_from_slice(b"lying");
    form.extend(xxh3_64(&form).to_be_bytes());
    form
}

/// Does one of several evils to each stored response.
fn tamper(redis: &PrivateRedis, all: &BTreeMap<String, Vec<u8>>) {
    let forms: Vec<_> = all.values().collect();
    for (number, (name, form)) in all.iter().enumerate() {
        let mut flipped = form.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 1;
        let mut lying = lies(form, MAC_BYTES);
        let evil = match number % 6 {
            0 => lying,
            1 => forms[(number + 1) % forms.len()].clone(),
            2 => form[..form.len() - 1].to_vec(),
            3 => flipped,
            4 => {
                // Lies in place of the truth, under the MAC of the truth.
                lying.truncate(lying.len() - CHECKSUM_BYTES);
                lying[0] = form[0];
                lying.extend(&form[form.len() - MAC_BYTES..]);
                lying
            }
            _ => form.clone(),
        };
        let mut write = redis::cmd("HSET");
        write.arg(name).arg("e").arg(evil);
        redis.ask::<()>(&write);
    }
}

/// Everything that can be done to the log's state and records.
fn tamper_with_log(redis: &PrivateRedis, round: usize) {
    let of = |what: &str| format!("test:{{test}}:log:{what}");
    let mut cmd = match round % 6 {
        0 => redis::Cmd::zadd(of("purges"), b"ha", 1),
        1 => redis::Cmd::zadd(of("purges"), b"mha0123456789abcdef", "inf"),
        2 => redis::Cmd::hset(of("state"), "epoch", 7),
        3 => redis::Cmd::hset(of("state"), "floor", "9007199254740991"),
        4 => redis::Cmd::del(of("purges")),
        _ => redis::Cmd::hset(of("state"), "count", 0),
    };
    redis.ask::<redis::Value>(cmd.arg(&[] as &[&str]));
}

async fn fill(proxy: &Proxy, redis: &PrivateRedis, targets: &[String]) {
    for target in targets {
        assert_eq!(proxy.get_with(target, &HOST).await.result(), "MISS");
    }
    until("all is in Redis", async || {
        redis.stored_keys().len() == targets.len()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_client_of_replicas_with_a_key_gets_anything_but_the_truth() {
    let upstream = honest().await;
    let redis = PrivateRedis::start().await;
    let keys = [("redis_mac_key", KEY)];
    let one = replica(&upstream, &redis, &keys).await;
    let targets: Vec<_> = (0..60).map(|number| format!("/{number}")).collect();
    fill(&one, &redis, &targets).await;
    let all = stored(&redis);
    tamper(&redis, &all);
    let two = replica(&upstream, &redis, &keys).await;
    let mut hits = 0;
    for target in &targets {
        let got = two.get_with(target, &HOST).await;
        assert_eq!((got.status, got.body), (200, format!("truth of {target}")));
        let again = two.get_with(target, &HOST).await;
        hits += usize::from(again.result() == "HIT");
    }
    // A replica on a busy machine may lose sight of the log for a moment, and then asks more often.
    assert!(
        hits > targets.len() / 2,
        "what was refused is fetched and kept"
    );
    assert!(
        unauthentic(&two).await >= 50.0,
        "five in six were tampered with"
    );
    assert!(upstream.count() >= 60 + 50);
    for round in 0..12 {
        tamper(&redis, &all);
        tamper_with_log(&redis, round);
        for target in targets.iter().skip(round).step_by(6) {
            for proxy in [&one, &two] {
                let got = proxy.get_with(target, &HOST).await;
                assert_eq!((got.status, got.body), (200, format!("truth of {target}")));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checksum_alone_is_believed_whoever_made_it() {
    let upstream = honest().await;
    let redis = PrivateRedis::start().await;
    let one = replica(&upstream, &redis, &[]).await;
    fill(&one, &redis, &["/1".to_owned()]).await;
    let (name, form) = stored(&redis).pop_first().expect("it is there");
    let mut write = redis::cmd("HSET");
    write.arg(name).arg("e").arg(lies(&form, CHECKSUM_BYTES));
    redis.ask::<()>(&write);
    let two = replica(&upstream, &redis, &[]).await;
    assert_eq!(two.get_with("/1", &HOST).await.body, "lying of /1");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_is_changed_in_three_rounds_without_a_miss() {
    let upstream = honest().await;
    let redis = PrivateRedis::start().await;
    let rounds = [
        vec![("redis_mac_key", KEY)],
        vec![("redis_mac_key", KEY), ("redis_mac_key_old", NEW)],
        vec![("redis_mac_key", NEW), ("redis_mac_key_old", KEY)],
    ];
    let mut replicas = Vec::new();
    for keys in &rounds {
        replicas.push(replica(&upstream, &redis, keys).await);
    }
    let mut asked = 0;
    // Who stores, and who is there to read it in the same or the next round.
    for (writer, reader) in [(0, 1), (1, 0), (1, 2), (2, 1)] {
        let target = format!("/from/{writer}/to/{reader}");
        let before = redis.stored_keys().len();
        assert_eq!(
            replicas[writer].get_with(&target, &HOST).await.result(),
            "MISS"
        );
        asked += 1;
        until("it is in Redis", async || {
            redis.stored_keys().len() > before
        })
        .await;
        let got = replicas[reader].get_with(&target, &HOST).await;
        assert_eq!(got.result(), "HIT", "{target}");
    }
    assert_eq!(upstream.count(), asked);
    let last = replica(&upstream, &redis, &[("redis_mac_key", NEW)]).await;
    let got = last.get_with("/from/2/to/1", &HOST).await;
    assert_eq!(got.result(), "HIT");
    assert_eq!(last.get_with("/from/0/to/1", &HOST).await.result(), "MISS");
}
