//! The proxy with Redis: shared by replicas, bounded by a TTL, never in the way.

use crate::support::proxy::Proxy;
use crate::support::redis::PrivateRedis;
use crate::support::upstream::{Upstream, counting, respond};
use crate::support::wait::until;
use reqwest::Method;

async fn proxies(upstream: &Upstream, redis: &PrivateRedis, count: usize) -> Vec<Proxy> {
    let mut proxies = Vec::new();
    for _ in 0..count {
        let url = redis.url();
        proxies.push(Proxy::start(upstream.address, &[("redis", url.as_str())]).await);
    }
    for proxy in &proxies {
        until("the proxy has Redis", async || proxy.uses_redis().await).await;
    }
    proxies
}

fn keys(redis: &PrivateRedis) -> Vec<String> {
    redis.stored_keys()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_proxy_stored_another_hits_and_the_key_has_a_ttl() {
    let upstream = counting("max-age=60").await;
    let redis = PrivateRedis::start().await;
    let proxies = proxies(&upstream, &redis, 2).await;
    let host = [("host", "api.example")];
    assert_eq!(proxies[0].get_with("/a?b=1", &host).await.result(), "MISS");
    until("the response is in Redis", async || {
        !keys(&redis).is_empty()
    })
    .await;
    let keys = keys(&redis);
    let ttl_s: i64 = redis.ask(redis::cmd("TTL").arg(&keys[0]));
    assert!(ttl_s >= 50, "{keys:?} lives for {ttl_s} s");
    let hit = proxies[1].get_with("/a?b=1", &host).await;
    assert_eq!((hit.result(), hit.body.as_str()), ("HIT", "1"));
    assert_eq!(upstream.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_takes_the_copy_in_redis_too() {
    let upstream = counting("max-age=60").await;
    let redis = PrivateRedis::start().await;
    let url = redis.url();
    // Nobody knows who used a Redis that has just begun: a purge waits for a lease.
    let settings = [("redis", url.as_str()), ("purge_lease", "3s")];
    let proxy = Proxy::start(upstream.address, &settings).await;
    until("the proxy has Redis", async || proxy.uses_redis().await).await;
    proxy.get("/a").await;
    until("the response is in Redis", async || {
        !keys(&redis).is_empty()
    })
    .await;
    assert_eq!(proxy.purge(&proxy.url("/a")).await.status, 200);
    assert_eq!(keys(&redis), Vec::<String>::new());
    assert_eq!(proxy.get("/a").await.result(), "MISS");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_without_its_redis_starts_and_serves_and_takes_it_up_when_it_comes() {
    let upstream = counting("max-age=60").await;
    let mut redis = PrivateRedis::absent_on_unix();
    let url = redis.url();
    let proxy = Proxy::start(upstream.address, &[("redis", url.as_str())]).await;
    assert_eq!(proxy.get("/a").await.result(), "MISS");
    let again = proxy.get("/a").await;
    assert_eq!(again.result(), "MISS");
    let status = again.field("cache-status");
    assert!(
        status.contains("fwd=stale") && status.contains("detail=unverified"),
        "{status}"
    );
    assert_eq!(
        proxy.purge(&proxy.url("/a")).await.status,
        503,
        "a purge that did not reach Redis says so"
    );
    redis.run().await;
    let mut number = 0;
    until("responses go to Redis again", async || {
        number += 1;
        proxy.get(&format!("/new/{number}")).await;
        !keys(&redis).is_empty()
    })
    .await;
    until("what memory holds is trusted again", async || {
        proxy.get("/b").await.result() == "HIT"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_may_want_what_is_stored_served_although_purges_are_unknown() {
    let upstream = counting("max-age=60").await;
    let redis = PrivateRedis::absent_on_unix();
    let url = redis.url();
    let settings = [("redis", url.as_str()), ("on_partition", "serve")];
    let proxy = Proxy::start(upstream.address, &settings).await;
    assert_eq!(proxy.get("/a").await.result(), "MISS");
    let hit = proxy.get("/a").await;
    assert_eq!(hit.result(), "HIT");
    let status = hit.field("cache-status");
    assert!(
        status.contains("hit") && status.contains("detail=unverified"),
        "{status}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_served_stale_although_purges_are_unknown_says_so_too() {
    let upstream = counting("max-age=0, stale-while-revalidate=60").await;
    let redis = PrivateRedis::absent_on_unix();
    let url = redis.url();
    let settings = [("redis", url.as_str()), ("on_partition", "serve")];
    let proxy = Proxy::start(upstream.address, &settings).await;
    assert_eq!(proxy.get("/a").await.result(), "MISS");
    let stale = proxy.get("/a").await;
    assert_eq!(stale.result(), "STALE");
    let status = stale.field("cache-status");
    assert!(status.contains("detail=unverified"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_unsafe_request_makes_stale_goes_from_other_replicas_too() {
    let upstream = counting("max-age=60").await;
    let redis = PrivateRedis::start().await;
    let proxies = proxies(&upstream, &redis, 2).await;
    let host = [("host", "api.example")];
    for (proxy, target) in proxies.iter().flat_map(|p| [(p, "/a"), (p, "/b")]) {
        until("it is in the replica's memory", async || {
            proxy.get_with(target, &host).await.result() == "HIT"
        })
        .await;
    }
    let before = proxies[1].get_with("/a", &host).await.body;
    proxies[0].send(Method::POST, "/a", &host, "x").await;
    until("the other replica has heard of it", async || {
        proxies[1].get_with("/a", &host).await.body != before
    })
    .await;
    assert_eq!(proxies[1].get_with("/b", &host).await.result(), "HIT");
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_or_freezing_redis_under_way_costs_no_request() {
    let upstream = Upstream::start(async |asked| {
        respond(200, &[("cache-control", "max-age=60")], asked.target)
    })
    .await;
    let mut redis = PrivateRedis::start().await;
    let proxies = proxies(&upstream, &redis, 1).await;
    let proxy = &proxies[0];
    let mut number = 0;
    let mut ask = async |count: usize| {
        for _ in 0..count {
            number += 1;
            let target = format!("/{number}");
            let got = proxy.get(&target).await;
            assert_eq!((got.status, got.body), (200, target));
        }
    };
    ask(60).await;
    redis.freeze();
    ask(60).await;
    redis.thaw();
    ask(60).await;
    redis.kill();
    ask(60).await;
    redis.run().await;
    until("Redis is used again", async || proxy.uses_redis().await).await;
    ask(60).await;
    let metrics = proxy.admin(reqwest::Method::GET, "/metrics").await.body;
    let errors: f64 = metrics
        .lines()
        .filter(|line| line.starts_with("larder_redis_errors_total"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum();
    assert!(
        errors > 0.0,
        "the operator can see what happened: {metrics}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_wants_a_password_is_down_for_a_proxy_without_one() {
    let upstream = counting("max-age=60").await;
    let redis = PrivateRedis::start().await;
    let mut demand = redis::cmd("CONFIG");
    demand.arg("SET").arg("requirepass").arg("another");
    redis.ask::<()>(&demand);
    let url = redis.url();
    let settings = [("redis", url.as_str()), ("on_partition", "serve")];
    let proxy = Proxy::start(upstream.address, &settings).await;
    until("it has tried", async || {
        let metrics = proxy.admin(reqwest::Method::GET, "/metrics").await.body;
        let tried =
            |line: &str| line.starts_with("larder_redis_errors_total") && !line.ends_with(" 0");
        proxy.get("/a").await;
        metrics.lines().any(tried)
    })
    .await;
    let health = proxy.admin(reqwest::Method::GET, "/health").await.body;
    assert!(health.contains("\"redis\":\"down\""), "{health}");
    assert_eq!(proxy.get("/a").await.result(), "HIT");
}
