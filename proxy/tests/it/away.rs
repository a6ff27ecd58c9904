//! An upstream that does not answer for a while: how fast clients are told, how seldom it is tried, how soon it is back.

use crate::support::proxy::{Got, PATIENCE, Proxy};
use crate::support::upstream::{Upstream, respond};
use crate::support::wait::until;
use futures_util::future::join_all;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// What opens the breaker: as many failures in a row.
const FAILURES: usize = 5;

fn code(answer: &Got) -> String {
    let problem: serde_json::Value = serde_json::from_str(&answer.body).unwrap_or_default();
    problem["code"].as_str().unwrap_or_default().to_owned()
}

async fn metric(proxy: &Proxy, name: &str) -> f64 {
    let metrics = proxy.admin(reqwest::Method::GET, "/metrics").await.body;
    let line = metrics
        .lines()
        .find(|line| line.split(' ').next() == Some(name));
    line.expect("the metric is there")
        .rsplit(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

/// An upstream that is frozen while the switch is on: it accepts, reads and is silent.
struct Freezing {
    upstream: Upstream,
    frozen: Arc<AtomicBool>,
    thawed: Arc<Semaphore>,
    under_way: Arc<AtomicUsize>,
    under_way_max: Arc<AtomicUsize>,
}

struct UnderWay(Arc<AtomicUsize>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Freezing {
    async fn start(cache_control: &'static str) -> Self {
        let (frozen, thawed) = (Arc::<AtomicBool>::default(), Arc::new(Semaphore::new(0)));
        let (under_way, under_way_max) = (Arc::<AtomicUsize>::default(), Arc::default());
        let (is_frozen, gate) = (frozen.clone(), thawed.clone());
        let (now, max): (_, Arc<AtomicUsize>) = (under_way.clone(), Arc::clone(&under_way_max));
        let upstream = Upstream::start(move |_| {
            let (is_frozen, gate) = (is_frozen.clone(), gate.clone());
            let (now, max) = (now.clone(), max.clone());
            async move {
                max.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let _under_way = UnderWay(now);
                if is_frozen.load(Ordering::SeqCst) {
                    drop(gate.acquire().await);
                }
                let fields = [("cache-control", cache_control), ("etag", "\"e\"")];
                respond(200, &fields, "whole")
            }
        })
        .await;
        Self {
            upstream,
            frozen,
            thawed,
            under_way,
            under_way_max,
        }
    }

    fn freeze(&self) {
        self.frozen.store(true, Ordering::SeqCst);
    }

    fn thaw(&self) {
        self.frozen.store(false, Ordering::SeqCst);
        self.thawed.add_permits(10_000);
    }
}

/// Asks for as many targets as open the breaker, all at once.
async fn run_into(proxy: &Proxy) {
    let targets: Vec<_> = (0..FAILURES).map(|n| format!("/run/{n}")).collect();
    join_all(targets.iter().map(|target| proxy.get(target))).await;
    assert!(metric(proxy, "larder_upstream_up").await < 0.5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_upstream_is_given_up_quickly_and_is_back_soon_after_its_restart() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = nobody.local_addr().unwrap();
    drop(nobody);
    let proxy = Proxy::start(address, &[]).await;
    for number in 0..FAILURES {
        let answer = proxy.get(&format!("/{number}")).await;
        assert_eq!(
            (answer.status, code(&answer)),
            (502, "connect-failed".into())
        );
    }
    let refused = proxy.get("/a").await;
    assert_eq!(
        (refused.status, refused.result(), code(&refused).as_str()),
        (502, "ERROR", "upstream-away")
    );
    assert!(
        refused
            .field("cache-status")
            .contains("detail=upstream-away")
    );
    assert!(metric(&proxy, "larder_upstream_refused_total").await > 0.5);
    let health = proxy.admin(reqwest::Method::GET, "/health").await;
    assert!(health.body.contains("\"upstream\":\"down\""), "{health:?}");
    // A pass is tried in any case, and told what really happened.
    let pass = proxy.send(reqwest::Method::POST, "/a", &[], "").await;
    assert_eq!((pass.status, code(&pass)), (502, "connect-failed".into()));
    let upstream = Upstream::start_on(address, async |_| respond(200, &[], "back")).await;
    until("the upstream is tried again", async || {
        proxy.get("/a").await.status == 200
    })
    .await;
    assert!(upstream.count() > 0);
    assert!(metric(&proxy, "larder_upstream_up").await > 0.5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_that_is_answered_ends_the_outage_at_once() {
    let freezing = Freezing::start("no-store").await;
    let proxy = Proxy::start(
        freezing.upstream.address,
        &[("upstream_read_timeout", "200ms")],
    )
    .await;
    freezing.freeze();
    run_into(&proxy).await;
    freezing.thaw();
    let pass = proxy.send(reqwest::Method::POST, "/a", &[], "").await;
    assert_eq!(pass.status, 200);
    assert_eq!(proxy.get("/a").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_upstream_is_tried_by_one_at_a_time_and_the_others_are_told_at_once() {
    let freezing = Freezing::start("no-store").await;
    let proxy = Proxy::start(
        freezing.upstream.address,
        &[("upstream_read_timeout", "500ms")],
    )
    .await;
    freezing.freeze();
    run_into(&proxy).await;
    until("the upstream has lost them all", async || {
        freezing.under_way.load(Ordering::SeqCst) == 0
    })
    .await;
    freezing.under_way_max.store(0, Ordering::SeqCst);
    let asked_before = freezing.upstream.count();
    let began = Instant::now();
    let (mut refused, mut tried) = (0, 0);
    while tried < 2 && began.elapsed() < PATIENCE {
        let targets: Vec<_> = (0..20).map(|n| format!("/{n}")).collect();
        for answer in join_all(targets.iter().map(|target| proxy.get(target))).await {
            assert_eq!(answer.status, 504, "{answer:?}");
            match code(&answer).as_str() {
                "upstream-away" => refused += 1,
                "upstream-timeout" => tried += 1,
                other => panic!("{other}"),
            }
        }
    }
    assert_eq!(freezing.under_way_max.load(Ordering::SeqCst), 1);
    assert_eq!(freezing.upstream.count() - asked_before, tried);
    assert!(refused > 10 * tried, "{refused} refused, {tried} tried");
    freezing.thaw();
    until("it is back", async || proxy.get("/a").await.status == 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_upstream_is_away_what_may_be_served_stale_is_served_without_waiting() {
    let freezing = Freezing::start("max-age=0, stale-if-error=600").await;
    let proxy = Proxy::start(
        freezing.upstream.address,
        &[("upstream_read_timeout", "3s")],
    )
    .await;
    assert_eq!(proxy.get("/kept").await.result(), "MISS");
    freezing.freeze();
    run_into(&proxy).await;
    let began = Instant::now();
    // Long enough for a trial, which happens behind their backs.
    while freezing.upstream.count() < FAILURES + 2 {
        let stale = proxy.get("/kept").await;
        assert_eq!(
            (stale.status, stale.result(), stale.body.as_str()),
            (200, "STALE", "whole")
        );
        assert!(
            stale
                .field("cache-status")
                .contains("detail=stale-if-error"),
            "{stale:?}"
        );
        assert!(began.elapsed() < Duration::from_secs(2), "somebody waited");
    }
    freezing.thaw();
    until("the upstream is asked again", async || {
        proxy.get("/kept").await.result() != "STALE"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_that_the_upstream_answers_are_its_answers() {
    let upstream = Upstream::start(async |_| respond(503, &[("retry-after", "7")], "busy")).await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    for number in 1..=3 * FAILURES {
        let answer = proxy.get(&format!("/{number}")).await;
        assert_eq!((answer.status, answer.field("retry-after")), (503, "7"));
        assert_eq!(upstream.count(), number);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_hangs_takes_no_other_with_it() {
    let upstream = Upstream::start(async |asked| match asked.target.starts_with("/hangs") {
        true => std::future::pending().await,
        false => respond(200, &[], "ok"),
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[("upstream_read_timeout", "100ms")]).await;
    for number in 0..2 * FAILURES {
        assert_eq!(proxy.get(&format!("/hangs?{number}")).await.status, 504);
    }
    assert_eq!(proxy.get("/works").await.body, "ok");
}
