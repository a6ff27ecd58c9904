//! Groups of responses that an unsafe request makes void (RFC 9875).

use crate::flights::{chunk, written_by_hand};
use crate::support::proxy::Proxy;
use crate::support::redis::PrivateRedis;
use crate::support::upstream::{Upstream, respond};
use crate::support::wait::until;
use reqwest::Method;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::mpsc;

/// GET: a numbered answer in the groups that the path names, `/a/b` in `a` and `b`. Others: `status`, and void is the group
/// in the query.
async fn grouped(status: u16) -> Upstream {
    let count = AtomicUsize::new(0);
    Upstream::start(move |asked| {
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            let (path, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
            let groups: Vec<_> = path
                .split('/')
                .skip(1)
                .map(|group| format!("\"{group}\""))
                .collect();
            let (groups, void) = (groups.join(", "), format!("\"{query}\", \"unused\""));
            match asked.method {
                Method::GET => respond(
                    200,
                    &[
                        ("cache-control", "max-age=60"),
                        ("cache-groups", groups.as_str()),
                        ("cache-group-invalidation", "\"b\""),
                    ],
                    number.to_string(),
                ),
                _ => respond(status, &[("cache-group-invalidation", void.as_str())], ""),
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsafe_request_makes_its_answer_s_groups_void_and_no_others() {
    let upstream = grouped(200).await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    let targets = ["/a", "/a/b", "/c/b/a", "/b", "/A"];
    for target in targets {
        proxy.get(target).await;
    }
    for target in targets {
        assert_eq!(
            proxy.get(target).await.result(),
            "HIT",
            "a GET makes nothing void"
        );
    }
    proxy.send(Method::POST, "/x?a", &[], "1").await;
    for (target, result) in targets
        .into_iter()
        .zip(["MISS", "MISS", "MISS", "HIT", "HIT"])
    {
        assert_eq!(proxy.get(target).await.result(), result, "{target}");
    }
    for target in targets {
        assert_eq!(
            proxy.get(target).await.result(),
            "HIT",
            "what came later is good"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_void_on_its_own_host_only_and_not_by_a_request_that_failed() {
    let upstream = grouped(200).await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    let (one, other) = ([("host", "one.example")], [("host", "other.example")]);
    for host in [&one, &other] {
        proxy.get_with("/a", host).await;
    }
    proxy.send(Method::DELETE, "/x?a", &one, "").await;
    assert_eq!(proxy.get_with("/a", &other).await.result(), "HIT");
    assert_eq!(proxy.get_with("/a", &one).await.result(), "MISS");

    let failing = grouped(500).await;
    let proxy = Proxy::start(failing.address, &[]).await;
    proxy.get("/a").await;
    proxy.send(Method::DELETE, "/x?a", &[], "").await;
    assert_eq!(proxy.get("/a").await.result(), "HIT");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_under_way_when_its_group_is_made_void_goes_to_nobody_who_comes_later() {
    let (to_test, mut from_upstream) = mpsc::unbounded_channel();
    let upstream = Upstream::start(move |asked| {
        let response = match asked.method {
            Method::GET => {
                let fields = [("cache-control", "max-age=60"), ("cache-groups", "\"a\"")];
                let (chunks, response) = written_by_hand(&fields);
                to_test.send(chunks).unwrap();
                response
            }
            _ => respond(200, &[("cache-group-invalidation", "\"a\"")], ""),
        };
        async { response }
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    let ask = || tokio::spawn(proxy.http.get(proxy.url("/a")).send());
    let before = ask();
    let old = from_upstream.recv().await.unwrap();
    old.send(chunk("old")).unwrap();
    let before = before.await.unwrap().unwrap();
    proxy.send(Method::POST, "/x", &[], "1").await;
    let after = ask();
    let new = from_upstream.recv().await.unwrap();
    drop(old);
    assert_eq!(before.text().await.unwrap(), "old");
    new.send(chunk("new")).unwrap();
    drop(new);
    assert_eq!(after.await.unwrap().unwrap().text().await.unwrap(), "new");
    assert_eq!(proxy.get("/a").await.body, "new");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_redis_holds_of_a_void_group_is_not_used() {
    let upstream = grouped(200).await;
    let redis = PrivateRedis::start().await;
    let url = redis.url();
    let settings = [("redis", url.as_str()), ("memory", "512B")];
    let proxy = Proxy::start(upstream.address, &settings).await;
    until("the response is in Redis", async || {
        proxy.get("/a").await.result() == "HIT"
    })
    .await;
    proxy.send(Method::POST, "/x?a", &[], "1").await;
    assert_eq!(proxy.get("/a").await.result(), "MISS");
    until("the new one is in Redis", async || {
        proxy.get("/a").await.result() == "HIT"
    })
    .await;
}
