//! Hot responses are fetched anew before they expire, and lifetimes are spread out.

use crate::support::proxy::Proxy;
use crate::support::upstream::{Upstream, counting, respond};
use crate::support::wait::until;
use std::time::Duration;

/// Takes a while, as an API does, and counts: fetch times of nothing would never be worth an early refresh.
async fn slow(cache_control: &'static str, takes: Duration) -> Upstream {
    let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    Upstream::start(move |_| {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
        async move {
            tokio::time::sleep(takes).await;
            let fields = [("cache-control", cache_control)];
            respond(200, &fields, number.to_string())
        }
    })
    .await
}

/// So eager that it refreshes at once: 100 times 30 ms of fetching is longer than the ten seconds of freshness, mostly.
const EAGER: (&str, &str) = ("early_refresh", "100");

#[tokio::test(flavor = "multi_thread")]
async fn a_hit_may_fetch_a_new_response_behind_its_client_s_back() {
    let upstream = slow("max-age=10", Duration::from_millis(30)).await;
    let proxy = Proxy::start(upstream.address, &[EAGER]).await;
    assert_eq!(proxy.get("/a").await.result(), "MISS");
    let mut last = 1;
    until("a new response is served", async || {
        let answer = proxy.get("/a").await;
        assert_eq!(answer.result(), "HIT", "nobody waits for it");
        last = answer.body.parse().unwrap();
        last > 1
    })
    .await;
    assert!(upstream.count() <= last + 1, "one fetch at a time");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_refreshed_early_for_requests_that_bring_nothing_to_keep_or_when_told_so() {
    let upstream = slow("public, max-age=10", Duration::from_millis(30)).await;
    let proxy = Proxy::start(upstream.address, &[EAGER]).await;
    let off = Proxy::start(upstream.address, &[("early_refresh", "0")]).await;
    let route = "early_refresh = 100\n[[route]]\npath = \"/*\"\nearly_refresh = 0.0";
    let off_by_route = Proxy::start_with_file(upstream.address, route).await;
    for proxy in [&proxy, &off, &off_by_route] {
        proxy.get("/a").await;
    }
    let asked = upstream.count();
    for _ in 0..50 {
        assert_eq!(off.get("/a").await.result(), "HIT");
        assert_eq!(off_by_route.get("/a").await.result(), "HIT");
        for field in [
            ("authorization", "Bearer a"),
            ("range", "bytes=0-0"),
            ("cache-control", "only-if-cached"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(proxy.get_with("/a", &[field]).await.result(), "HIT");
        }
        let head = proxy.send(reqwest::Method::HEAD, "/a", &[], "").await;
        assert_eq!(head.result(), "HIT");
    }
    assert_eq!(upstream.count(), asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_comes_of_an_early_refresh_takes_nothing_fresh_away() {
    let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let upstream = Upstream::start(move |_| {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
        async move {
            tokio::time::sleep(Duration::from_millis(30)).await;
            let fields = [("cache-control", "max-age=10, must-revalidate")];
            match number {
                1 => respond(200, &fields, "good"),
                _ => respond(503, &fields, "bad"),
            }
        }
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[EAGER]).await;
    proxy.get("/a").await;
    while upstream.count() < 4 {
        let answer = proxy.get("/a").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "good"));
    }
}

fn ttl_s(answer: &crate::support::proxy::Got) -> i64 {
    let status = answer.field("cache-status");
    let ttl = status.split("ttl=").nth(1).expect("a hit has one");
    ttl.split(';').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn lifetimes_are_shortened_by_different_shares_and_the_header_tells_the_real_one() {
    let upstream = counting("max-age=10000").await;
    let file = "ttl_jitter = \"10%\"\n[[route]]\npath = \"/exact*\"\nttl_jitter = \"0%\"";
    let proxy = Proxy::start_with_file(upstream.address, file).await;
    let mut lifetimes = Vec::new();
    for number in 0..20 {
        let target = format!("/{number}");
        proxy.get(&target).await;
        lifetimes.push(ttl_s(&proxy.get(&target).await));
    }
    assert!(
        lifetimes.iter().all(|ttl| (8990..=10_000).contains(ttl)),
        "{lifetimes:?}"
    );
    let (least, most) = (lifetimes.iter().min(), lifetimes.iter().max());
    assert!(most.unwrap() - least.unwrap() > 200, "{lifetimes:?}");
    proxy.get("/exact").await;
    assert!(ttl_s(&proxy.get("/exact").await) >= 9990);
}
