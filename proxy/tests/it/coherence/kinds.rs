//! Each kind of purge, on answers in memory, in Redis and on their way.

use super::*;
use crate::flights::{chunk, written_by_hand};
use crate::support::raw::RawClient;
use tokio::sync::mpsc;

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_purge_holds_on_every_replica_and_for_what_it_covers_alone() {
    let three = Three::start().await;
    let mut last = 0;
    // query, what it covers
    for (turn, (query, covered)) in [
        ("url=http://api.example/a/1", &["/a/1"][..]),
        ("url=/a/2%3Fx%3D1", &["/a/2?x=1"]),
        ("url=http://api.example/vary/1", &["/vary/1"]),
        ("url=http://other.example/a/1", &[]),
        ("prefix=/a/", &["/a/1", "/a/2?x=1"]),
        ("prefix=http://api.example/b", &["/b/1"]),
        ("prefix=http://other.example/", &[]),
        ("tag=one", &["/tagged/1"]),
        ("tag=four&tag=unused", &["/tagged/1"]),
        ("tag=h", &["/tagged/1"]),
        ("tag=One", &[]),
        ("url=/b/1&tag=two", &["/b/1", "/tagged/1"]),
        ("all=true", &TARGETS),
    ]
    .into_iter()
    .enumerate()
    {
        three.fill(&TARGETS).await;
        let new = three.api.change();
        let (status, answer) = three.purge(turn % 3, query).await;
        assert_eq!(status, 200, "{query}: {answer}");
        let sequence = answer["sequence"].as_u64().unwrap();
        assert!(sequence > last, "{query}: {answer} after {last}");
        last = sequence;
        for replica in 0..3 {
            for target in TARGETS {
                let got = three.get(replica, target).await;
                let is_new = version(&got) == new;
                let told = format!("{query}: replica {replica}, {target}: {got:?}");
                assert_eq!(is_new, covered.contains(&target), "{told}");
            }
        }
        // Those that were not covered are old: the next turn begins with all of one version.
        three.purge(0, "all=true").await;
    }
    let (_, answer) = three.purge(0, "all=true").await;
    assert_eq!(
        (&answer["replicas"], &answer["applied"]),
        (&3.into(), &3.into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_soft_purge_what_may_be_stale_is_served_while_the_rest_is_confirmed() {
    let three = Three::start().await;
    three.fill(&TARGETS).await;
    let (status, _) = three.purge(0, "prefix=/&soft=true").await;
    assert_eq!(status, 200);
    assert_eq!(three.get(0, "/a/1").await.result(), "REVALIDATED");
    let new = three.api.change();
    three.purge(0, "prefix=/&soft=true").await;
    let stale = three.get(2, "/later/1").await;
    assert_eq!((stale.result(), version(&stale)), ("STALE", new - 1));
    three
        .show(&["/a/1", "/a/2?x=1", "/b/1", "/vary/1", "/tagged/1"], new)
        .await;
    until("the stale one is fetched anew", async || {
        version(&three.get(2, "/later/1").await) == new
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_takes_all_variants_and_what_head_and_ranges_show() {
    let three = Three::start().await;
    let ask = async |replica: usize, language: &str| {
        let fields = [("host", "api.example"), ("accept-language", language)];
        three.replicas[replica].get_with("/vary/1", &fields).await
    };
    three.fill(&["/a/1"]).await;
    for replica in 0..3 {
        for language in ["de", "en"] {
            until("it is stored", async || {
                ask(replica, language).await.result() == "HIT"
            })
            .await;
        }
    }
    let new = three.api.change();
    three.purge(1, "prefix=/").await;
    for replica in 0..3 {
        for language in ["de", "en"] {
            assert_eq!(version(&ask(replica, language).await), new);
        }
        let proxy = &three.replicas[replica];
        let range = [("host", "api.example"), ("range", "bytes=0-3")];
        let part = proxy.get_with("/a/1", &range).await;
        assert!(part.body.starts_with(&new.to_string()), "{part:?}");
        let host = [("host", "api.example")];
        let head = proxy.send(reqwest::Method::HEAD, "/a/1", &host, "").await;
        assert_eq!(head.field("etag"), format!("\"{new}\""));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fill_that_began_before_a_purge_elsewhere_serves_nobody_who_comes_after_it() {
    let (to_test, mut from_upstream) = mpsc::unbounded_channel();
    let upstream = Upstream::start(move |_| {
        let (chunks, response) = written_by_hand(&[("cache-control", "max-age=600")]);
        to_test.send(chunks).unwrap();
        async { response }
    })
    .await;
    let redis = PrivateRedis::start().await;
    let url = redis.url();
    let settings = [("redis", url.as_str()), ("purge_lease", LEASE)];
    let (here, there) = (
        Proxy::start(upstream.address, &settings).await,
        Proxy::start(upstream.address, &settings).await,
    );
    for proxy in [&here, &there] {
        until("a replica follows", async || proxy.uses_redis().await).await;
    }
    let request = "GET /a HTTP/1.1\r\nHost: api.example\r\n\r\n";
    let mut before = RawClient::connect(here.clients).await;
    before.send(request).await;
    let old = from_upstream.recv().await.unwrap();
    old.send(chunk("old")).unwrap();
    let (status, _) = purge(&there, "url=http://api.example/a").await;
    assert_eq!(status, 200);
    let mut after = RawClient::connect(here.clients).await;
    after.send(request).await;
    let new = from_upstream.recv().await.expect("it is asked for again");
    drop(old);
    let got = before.response(false).await.unwrap().unwrap();
    assert_eq!(got.content, b"old");
    new.send(chunk("new")).unwrap();
    drop(new);
    let got = after.response(false).await.unwrap().unwrap();
    assert_eq!(got.content, b"new");
    for proxy in [&here, &there] {
        let got = proxy.get_with("/a", &[("host", "api.example")]).await;
        assert_eq!((got.body.as_str(), got.result()), ("new", "HIT"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_namespaces_in_one_redis_do_not_touch_each_other() {
    let three = Three::start().await;
    let url = three.redis.url();
    let other = [
        ("redis", url.as_str()),
        ("namespace", "other"),
        ("purge_lease", LEASE),
    ];
    let other = Proxy::start(three.api.upstream.address, &other).await;
    until("it follows", async || other.uses_redis().await).await;
    three.fill(&["/a/1"]).await;
    other.get("/a/1").await;
    let new = three.api.change();
    let (status, answer) = purge(&other, "all=true").await;
    assert_eq!((status, &answer["replicas"]), (200, &1.into()));
    for replica in 0..3 {
        assert_eq!(version(&three.get(replica, "/a/1").await), new - 1);
    }
    let (_, answer) = three.purge(0, "all=true").await;
    assert_eq!(answer["replicas"], 3);
    three.show(&["/a/1"], new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_that_an_answer_made_void_are_void_everywhere_also_when_redis_was_away() {
    use crate::support::fault::Mode;
    let three = Three::start().await;
    for away in [false, true] {
        three.fill(&["/tagged/1", "/a/1"]).await;
        let new = three.api.change();
        if away {
            three.links[0].set(Mode::Cut);
        }
        let host = [("host", "api.example")];
        let posted = three.replicas[0]
            .send(Method::POST, "/post", &host, "x")
            .await;
        assert_eq!(posted.status, 200);
        assert_eq!(
            version(&three.get(0, "/tagged/1").await),
            new,
            "at once here"
        );
        three.links[0].set(Mode::Pass);
        for replica in 1..3 {
            until("the others heed it", async || {
                version(&three.get(replica, "/tagged/1").await) == new
            })
            .await;
            assert_eq!(version(&three.get(replica, "/a/1").await), new - 1);
        }
        three.follow().await;
        three.purge_at_last(0, "all=true").await;
    }
}
