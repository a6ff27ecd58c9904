//! The proxy before Redis as people run it: with Sentinels, as a Cluster, with TLS and users.

use std::time::{Duration, Instant};

use crate::support::proxy::{PATIENCE, Proxy};
use crate::support::redis::PrivateRedis;
use crate::support::redis_sets::{ClusterSet, SentinelSet};
use crate::support::upstream::{Upstream, respond};
use crate::support::wait::until;

/// Memory so small that, with a body of this length, each answer comes from Redis or the API.
const BODY_BYTES: usize = 900;
const NO_MEMORY: [(&str, &str); 2] = [("memory", "1KiB"), ("object_max", "1KiB")];

async fn echo() -> Upstream {
    Upstream::start(async |asked| {
        let body = format!("{:BODY_BYTES$}", asked.target);
        respond(200, &[("cache-control", "max-age=600")], body)
    })
    .await
}

async fn is_up(proxy: &Proxy) -> bool {
    proxy.uses_redis().await
}

async fn proxy(upstream: &Upstream, url: &str, settings: &[(&'static str, &str)]) -> Proxy {
    let mut all = vec![("redis", url)];
    all.extend(NO_MEMORY);
    all.extend(settings);
    let proxy = Proxy::start(upstream.address, &all).await;
    until("the proxy has Redis", async || is_up(&proxy).await).await;
    proxy
}

/// Asks once; whatever happens in Redis, the answer is right.
async fn result(proxy: &Proxy, target: &str) -> String {
    let asked = Instant::now();
    let got = proxy.get_with(target, &[("host", "api.example")]).await;
    assert_eq!((got.status, got.body.trim_end()), (200, target));
    assert!(asked.elapsed() < Duration::from_secs(5), "{target} waited");
    got.result().to_owned()
}

/// Asks until the answer comes from Redis.
async fn hits(proxy: &Proxy, target: &str) {
    until("Redis has the answer", async || {
        result(proxy, target).await == "HIT"
    })
    .await;
}

/// Asks for all of them until `done`, and says how often.
async fn under_way(proxy: &Proxy, targets: &[String], done: impl AsyncFnMut() -> bool) -> usize {
    let (mut done, mut count, end) = (done, 0, Instant::now() + PATIENCE * 2);
    while !done().await {
        assert!(Instant::now() < end, "it takes too long");
        for target in targets {
            result(proxy, target).await;
            count += 1;
        }
    }
    count
}

fn keys(redis: &PrivateRedis) -> Vec<String> {
    redis.ask(redis::cmd("KEYS").arg("*"))
}

fn targets(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("/{number}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sentinel_failover_costs_no_request_and_hits_come_again() {
    let upstream = echo().await;
    let mut set = SentinelSet::start().await;
    let proxies = [
        proxy(&upstream, &set.url(), &[]).await,
        proxy(&upstream, &set.url(), &[]).await,
    ];
    hits(&proxies[0], "/a").await;
    assert_eq!(result(&proxies[1], "/a").await, "HIT");
    let old = set.kill_master();
    let asked = under_way(&proxies[0], &targets(10), async || {
        set.sentinels
            .iter()
            .all(|sentinel| set.named_by(sentinel) != set.servers[old].port())
    })
    .await;
    assert!(asked > 0);
    set.until_replaced(old).await;
    for proxy in &proxies {
        until("the proxy has Redis", async || is_up(proxy).await).await;
    }
    hits(&proxies[0], "/new").await;
    hits(&proxies[1], "/new").await;
    set.revive(old).await;
    set.until_whole().await;
    // The old master is a replica now; a planned change leaves it alive, and is noticed too.
    set.hand_over().await;
    hits(&proxies[0], "/newer").await;
    hits(&proxies[1], "/newer").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_failover_costs_no_request_and_the_other_nodes_keys_stay_hits() {
    let upstream = echo().await;
    let mut set = ClusterSet::start().await;
    let proxy = proxy(&upstream, &set.url(), &[]).await;
    let targets = targets(30);
    for target in &targets {
        hits(&proxy, target).await;
    }
    let shares: Vec<_> = set.primaries().map(keys).collect();
    assert_eq!(shares.len(), 3);
    assert!(shares.iter().all(|keys| !keys.is_empty()), "{shares:?}");
    let key = shares[0][0].clone();
    let old = set.owner(&key);
    set.nodes[old].kill();
    let mut hits_meanwhile = 0;
    for target in &targets {
        hits_meanwhile += usize::from(result(&proxy, target).await == "HIT");
    }
    let elsewhere = shares[1].len() + shares[2].len();
    assert!(
        hits_meanwhile >= elsewhere / 2,
        "{hits_meanwhile} of {elsewhere}"
    );
    under_way(&proxy, &targets, async || set.owner(&key) != old).await;
    set.until_replaced(old, &key).await;
    until("the proxy has Redis", async || is_up(&proxy).await).await;
    for target in &targets {
        hits(&proxy, target).await;
    }
    set.nodes[old].run().await;
    set.until_whole().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_node_of_a_cluster_holds_nobody_up() {
    let upstream = echo().await;
    let set = ClusterSet::start().await;
    let proxy = proxy(&upstream, &set.url(), &[]).await;
    let targets = targets(12);
    for target in &targets {
        hits(&proxy, target).await;
    }
    let key = keys(&set.nodes[1]);
    set.nodes[1].freeze();
    let mut worst = Duration::ZERO;
    for target in &targets {
        let asked = Instant::now();
        result(&proxy, target).await;
        worst = worst.max(asked.elapsed());
    }
    assert!(worst < Duration::from_secs(2), "{worst:?}");
    under_way(&proxy, &targets, async || set.owner(&key[0]) != 1).await;
    set.nodes[1].thaw();
    until("the proxy has Redis", async || is_up(&proxy).await).await;
    for target in &targets {
        hits(&proxy, target).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_verified_by_the_authority_named_and_by_no_other() {
    let upstream = echo().await;
    let redis = PrivateRedis::start_with_tls().await;
    let (url, ca) = (redis.url(), redis.ca());
    let trusting = proxy(&upstream, &url, &[("redis_ca", ca.to_str().unwrap())]).await;
    hits(&trusting, "/a").await;
    assert!(!keys(&redis).is_empty());
    let by_system = Proxy::start(upstream.address, &[("redis", url.as_str())]).await;
    until("it has tried", async || {
        errors(&by_system, "connection").await > 0.0
    })
    .await;
    assert!(!is_up(&by_system).await);
    assert_eq!(result(&by_system, "/b").await, "MISS");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_behind_tls_and_a_user_is_used_whole() {
    let upstream = echo().await;
    let set = ClusterSet::start_with_tls().await;
    for node in &set.nodes {
        node.ask::<()>(&documented_grant());
    }
    let (url, ca) = (set.url(), set.nodes[0].ca());
    let url = url.replace("://", "://larder:p%40ss%2Fword@");
    let settings = [("redis_ca", ca.to_str().unwrap()), ("namespace", "news")];
    let proxy = proxy(&upstream, &url, &settings).await;
    for target in targets(30) {
        hits(&proxy, &target).await;
    }
    assert!(set.primaries().all(|node| !keys(node).is_empty()));
    assert_eq!(errors(&proxy, "refused").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_just_the_documented_rights_suffices() {
    let upstream = echo().await;
    let redis = PrivateRedis::start_on_tcp().await;
    redis.ask::<()>(&documented_grant());
    redis.ask::<()>(redis::cmd("ACL").arg("SETUSER").arg("default").arg("off"));
    let url = format!("redis://larder:p%40ss%2Fword@127.0.0.1:{}", redis.port());
    let settings = [("namespace", "news"), ("purge_lease", "3s")];
    let proxy = proxy(&upstream, &url, &settings).await;
    hits(&proxy, "/a").await;
    assert_eq!(proxy.purge("http://api.example/a").await.status, 200);
    assert_eq!(result(&proxy, "/a").await, "MISS");
    assert_eq!(errors(&proxy, "refused").await, 0.0);
}

/// The line in the documentation, for this namespace and password.
fn documented_grant() -> redis::Cmd {
    let documentation = include_str!("../../../docs/REDIS.md");
    let mut lines = documentation.lines();
    let rule = lines.find(|line| line.starts_with("ACL SETUSER"));
    let mut grant = redis::Cmd::new();
    for word in rule.expect("the documented line").split(' ') {
        let word = word.replace("NAMESPACE", "news");
        grant.arg(word.replace("PASSWORD", "p@ss/word"));
    }
    grant
}

/// What the proxy has counted of one kind of trouble with Redis.
async fn errors(proxy: &Proxy, kind: &str) -> f64 {
    let metrics = proxy.admin(reqwest::Method::GET, "/metrics").await.body;
    let mut lines = metrics.lines();
    let line = lines.find(|line| {
        line.starts_with("larder_redis_errors_total") && line.contains(&format!("\"{kind}\""))
    });
    let number = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    number.expect("it is counted")
}
