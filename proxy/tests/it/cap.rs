//! An outage of the store must not move to the API: fetches are capped, and what is not worth queueing for is not queued for.

use crate::support::proxy::Proxy;
use crate::support::redis::PrivateRedis;
use crate::support::upstream::{Upstream, respond};
use crate::support::wait::until;
use futures_util::future::join_all;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;

const FETCHES_MAX: usize = 8;
const REQUESTS: usize = 300;

struct UnderWay(Arc<AtomicUsize>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_away_the_api_is_asked_by_so_many_at_once_and_nobody_fails() {
    let (now, most) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let (count, max) = (now.clone(), most.clone());
    let upstream = Upstream::start(move |asked| {
        let (now, max) = (count.clone(), max.clone());
        async move {
            max.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let _under_way = UnderWay(now);
            // What the API takes: without it, no two would be there at once.
            tokio::time::sleep(Duration::from_millis(10)).await;
            respond(200, &[("cache-control", "max-age=600")], asked.target)
        }
    })
    .await;
    let mut redis = PrivateRedis::start().await;
    let url = redis.url();
    let concurrency = FETCHES_MAX.to_string();
    let settings = [
        ("redis", url.as_str()),
        ("memory", "1KiB"),
        ("origin_concurrency", concurrency.as_str()),
    ];
    let proxy = Proxy::start(upstream.address, &settings).await;
    until("Redis answers instead of the API", async || {
        proxy.get("/warm").await.result() == "HIT"
    })
    .await;
    redis.kill();
    let targets: Vec<_> = (0..REQUESTS).map(|number| format!("/{number}")).collect();
    for answer in join_all(targets.iter().map(|target| proxy.get(target))).await {
        assert_eq!((answer.status, answer.result()), (200, "MISS"));
    }
    assert_eq!(most.load(Ordering::SeqCst), FETCHES_MAX);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_could_not_be_shared_anyhow_say_nothing_of_those_that_can() {
    let gate = Arc::new(Semaphore::new(0));
    let opened = gate.clone();
    let upstream = Upstream::start(move |asked| {
        let gate = gate.clone();
        async move {
            let fields: &[_] = match asked.headers.contains_key("x-own") {
                true => &[("cache-control", "private")],
                false => {
                    drop(gate.acquire().await);
                    &[("cache-control", "max-age=60")]
                }
            };
            respond(200, fields, "body")
        }
    })
    .await;
    let proxy = Arc::new(Proxy::start(upstream.address, &[]).await);
    for field in [
        ("cache-control", "no-store"),
        ("authorization", "Bearer a"),
        ("range", "bytes=0-1"),
    ] {
        proxy.get_with("/a", &[field, ("x-own", "1")]).await;
    }
    let head = [("x-own", "1")];
    proxy.send(reqwest::Method::HEAD, "/a", &head, "").await;
    let own = upstream.count();
    let clients: Vec<_> = (0..10)
        .map(|_| {
            let proxy = proxy.clone();
            tokio::spawn(async move { proxy.get("/a").await })
        })
        .collect();
    until("ten clients are connected", async || {
        let metrics = proxy.admin(reqwest::Method::GET, "/metrics").await.body;
        let line = metrics
            .lines()
            .find(|line| line.starts_with("larder_connections "));
        let count = line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        count.is_some_and(|count| count >= 10.0)
    })
    .await;
    opened.add_permits(1000);
    for client in clients {
        assert_eq!(client.await.unwrap().body, "body");
    }
    assert_eq!(upstream.count(), own + 1);
}
