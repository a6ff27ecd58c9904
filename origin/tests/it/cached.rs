//! The origin behind the real proxy: what is stored reaches readers, and outages do not.

use crate::support::database::TestDatabase;
use crate::support::gate::{Gate, To};
use crate::support::http::{Reply, get, send};
use crate::support::news::{Act, Script, article};
use crate::support::origin::TestOrigin;
use crate::support::postgres::Postgres;
use crate::support::proxy::Proxy;
use crate::support::redis::Redis;
use crate::support::until;
use hyper::Method;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn source() -> Arc<Script> {
    Script::new("a", Act::Give(vec![article("old", 0)]))
}

/// An origin that purges through the gate, and whose first round is over.
async fn origin(database: TestDatabase, source: &Arc<Script>, gate: &Gate) -> TestOrigin {
    let url = format!("http://{}/purge", gate.address);
    let settings = [("LARDER_PURGE_URL", url.as_str())];
    let origin = TestOrigin::with(database, std::slice::from_ref(source), &settings).await;
    get(origin.address, "/articles").await;
    origin
}

/// Has the source asked; what is new is stored when this returns.
async fn store(origin: &TestOrigin, source: &Script, path: &str) {
    source.now_does(Act::Give(vec![article(path, 1)]));
    let reply = get(origin.address, "/articles?live=true").await;
    assert_eq!(reply.json()["sources"][0]["state"], "ok");
}

/// Waits until the cache has confirmed all that was queued.
async fn told(origin: &TestOrigin) {
    until("nothing is left to tell", || async {
        origin.outbox.waiting().await.expect("a count") == 0
    })
    .await;
}

fn total(reply: &Reply) -> i64 {
    reply.json()["total"].as_i64().unwrap_or(-1)
}

async fn list(proxy: SocketAddr) -> Reply {
    let reply = get(proxy, "/articles").await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    reply
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_article_is_stored_no_reader_sees_an_older_list_for_more_than_a_second() {
    let (source, gate) = (source(), Gate::leading(To::Nowhere).await);
    let origin = origin(TestDatabase::sqlite().await, &source, &gate).await;
    let proxy = Proxy::before(origin.address, &[]).await;
    gate.lead(To::Tcp(proxy.admin));
    for turn in 1..=5 {
        until("the list is in the cache", || async {
            list(proxy.address).await.header("x-cache") == "HIT"
        })
        .await;
        assert_eq!(total(&list(proxy.address).await), turn);
        store(&origin, &source, &format!("new{turn}")).await;
        let stored = Instant::now();
        until("the new list is there", || async {
            total(&list(proxy.address).await) == turn + 1
        })
        .await;
        assert!(
            stored.elapsed() < Duration::from_secs(1),
            "{:?}",
            stored.elapsed()
        );
        for _ in 0..20 {
            assert_eq!(total(&list(proxy.address).await), turn + 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_answer_to_a_question_is_kept_and_its_neighbours_are_not() {
    let (source, gate) = (source(), Gate::leading(To::Nowhere).await);
    let origin = origin(TestDatabase::sqlite().await, &source, &gate).await;
    let proxy = Proxy::before(origin.address, &[]).await;
    gate.lead(To::Tcp(proxy.admin));
    told(&origin).await;
    until("the list is in the cache", || async {
        list(proxy.address).await.header("x-cache") == "HIT"
    })
    .await;
    let sports = larder_origin::article::NewArticle {
        categories: vec![larder_origin::article::Category::Sports],
        ..article("sports", 1)
    };
    source.now_does(Act::Give(vec![sports]));
    let first = get(proxy.address, "/articles?category=sports").await;
    assert_eq!((first.header("x-cache"), total(&first)), ("MISS", 1));
    until("the list of all shows it too", || async {
        total(&list(proxy.address).await) == 2
    })
    .await;
    let second = get(proxy.address, "/articles?category=sports").await;
    assert_eq!((second.header("x-cache"), total(&second)), ("HIT", 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_killed_between_storing_and_purging_learns_of_it_when_it_is_back() {
    let (source, gate) = (source(), Gate::leading(To::Nowhere).await);
    let redis = Redis::start().await;
    let origin = origin(TestDatabase::sqlite().await, &source, &gate).await;
    let url = format!("redis://{}", redis.address);
    let arguments = ["--redis", &url, "--upstream-host", "news.example"];
    let proxy = Proxy::before(origin.address, &arguments).await;
    gate.lead(To::Tcp(proxy.admin));
    told(&origin).await;
    until("the list is in the cache", || async {
        list(proxy.address).await.header("x-cache") == "HIT"
    })
    .await;
    gate.lead(To::Nowhere);
    drop(proxy);
    store(&origin, &source, "new").await;

    let proxy = Proxy::before(origin.address, &arguments).await;
    let old = list(proxy.address).await;
    assert_eq!(
        (old.header("x-cache"), total(&old)),
        ("HIT", 1),
        "what Redis kept is out of date, and nobody has said so yet"
    );
    gate.lead(To::Tcp(proxy.admin));
    let back = Instant::now();
    until("the new list is there", || async {
        total(&list(proxy.address).await) == 2
    })
    .await;
    assert!(
        back.elapsed() < Duration::from_secs(2),
        "{:?}",
        back.elapsed()
    );
    told(&origin).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_away_the_proxy_serves_what_it_has() {
    let postgres = Postgres::start();
    let database = TestDatabase::at(postgres.database().await);
    let source = source();
    // Out of date at once: nothing but the outage lets it be served.
    let settings = [("CACHE_TTL", "0s")];
    let origin = TestOrigin::with(database, std::slice::from_ref(&source), &settings).await;
    let running = Proxy::before(origin.address, &[]).await;
    let proxy = running.address;
    assert_eq!(total(&list(proxy).await), 1);

    postgres.stop();
    until("the outage is noticed", || async {
        get(origin.address, "/articles").await.status == 503
    })
    .await;
    let stale = list(proxy).await;
    assert_eq!((stale.header("x-cache"), total(&stale)), ("STALE", 1));
    let unknown = get(proxy, "/articles?limit=3").await;
    assert_eq!(
        (unknown.status.as_u16(), unknown.code().as_str()),
        (503, "database_unavailable")
    );
    assert!(!unknown.header("retry-after").is_empty());
    let write = send(proxy, Method::POST, "/refresh", &[]).await;
    let write = write.expect("an answer");
    assert_eq!(write.status, 503);
    assert!(!write.header("retry-after").is_empty());

    postgres.start_again();
    until("the database is used again", || async {
        list(proxy).await.header("x-cache") != "STALE"
    })
    .await;

    postgres.freeze();
    until("it is frozen, and the proxy serves what it has", || async {
        let begun = Instant::now();
        let reply = list(proxy).await;
        assert!(begun.elapsed() < Duration::from_secs(20));
        (reply.header("x-cache"), total(&reply)) == ("STALE", 1)
    })
    .await;
    postgres.thaw();
    until("the database is used again", || async {
        list(proxy).await.header("x-cache") != "STALE"
    })
    .await;
}
