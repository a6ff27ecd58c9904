//! One fetch per key, streamed to all who wait, and the limits of that.

use crate::support::proxy::{Got, PATIENCE, Proxy, got};
use crate::support::upstream::{Body, Upstream, respond};
use crate::support::wait::until;
use bytes::Bytes;
use futures_util::future::join_all;
use http::Response;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::timeout;

pub(super) type Chunks = mpsc::UnboundedSender<Result<Frame<Bytes>, std::io::Error>>;

/// A response whose body the test writes.
pub(super) fn written_by_hand(fields: &[(&str, &str)]) -> (Chunks, Response<Body>) {
    let (chunks, receiver) = mpsc::unbounded_channel();
    let stream = futures_util::stream::unfold(receiver, async |mut receiver| {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    });
    let mut response = Response::builder();
    for (name, value) in fields {
        response = response.header(*name, *value);
    }
    (
        chunks,
        response
            .body(BodyExt::boxed(StreamBody::new(SyncStream(
                std::sync::Mutex::new(Box::pin(stream)),
            ))))
            .unwrap(),
    )
}

/// `BoxBody` wants `Sync`; only one task ever polls it.
struct SyncStream<S>(std::sync::Mutex<std::pin::Pin<Box<S>>>);

impl<S: futures_util::Stream> futures_util::Stream for SyncStream<S> {
    type Item = S::Item;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<S::Item>> {
        self.0.lock().unwrap().as_mut().poll_next(cx)
    }
}

pub(super) fn chunk(text: &'static str) -> Result<Frame<Bytes>, std::io::Error> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_misses_of_one_key_make_one_request() {
    let gate = Arc::new(Semaphore::new(0));
    let opened = gate.clone();
    let upstream = Upstream::start(move |_| {
        let gate = gate.clone();
        async move {
            drop(gate.acquire().await);
            respond(200, &[("cache-control", "max-age=60")], "shared")
        }
    })
    .await;
    let proxy = Arc::new(Proxy::start(upstream.address, &[]).await);
    let clients: Vec<_> = (0..50)
        .map(|number| {
            let proxy = proxy.clone();
            tokio::spawn(async move { proxy.get(&format!("/a?utm_campaign={number}")).await })
        })
        .collect();
    until("all but one wait", async || waiting(&proxy).await == 49).await;
    opened.add_permits(1000);
    let answers = join_all(clients).await;
    assert!(
        answers
            .iter()
            .all(|answer| answer.as_ref().unwrap().body == "shared")
    );
    assert_eq!(upstream.count(), 1);
}

/// How many requests wait for another one's fetch.
async fn waiting(proxy: &Proxy) -> usize {
    let metrics = proxy.admin(reqwest::Method::GET, "/metrics").await.body;
    let mut lines = metrics.lines();
    let count = lines.find_map(|line| line.strip_prefix("larder_requests_waiting "));
    count.expect("the metric is there").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_reaches_all_who_wait_as_it_arrives() {
    let (to_test, mut from_upstream) = mpsc::unbounded_channel();
    let upstream = Upstream::start(move |_| {
        let (chunks, response) = written_by_hand(&[("cache-control", "max-age=60")]);
        to_test.send(chunks).unwrap();
        async { response }
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    let leader = proxy.http.get(proxy.url("/a")).send();
    let leader = tokio::spawn(leader);
    let chunks = from_upstream.recv().await.unwrap();
    chunks.send(chunk("first ")).unwrap();
    let mut leader = leader.await.unwrap().unwrap();
    let mut waiter = proxy.http.get(proxy.url("/a")).send().await.unwrap();
    assert_eq!(
        waiter.headers()["cache-status"],
        "larder; fwd=uri-miss; fwd-status=200; collapsed"
    );
    for client in [&mut leader, &mut waiter] {
        assert_eq!(
            timeout(PATIENCE, client.chunk())
                .await
                .unwrap()
                .unwrap()
                .unwrap(),
            "first "
        );
    }
    chunks.send(chunk("second")).unwrap();
    drop(chunks);
    for client in [leader, waiter] {
        assert_eq!(got(client).await.body, "second");
    }
    assert_eq!(proxy.get("/a").await.body, "first second");
    assert_eq!(upstream.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fill_outlives_the_client_that_began_it() {
    let (to_test, mut from_upstream) = mpsc::unbounded_channel();
    let upstream = Upstream::start(move |_| {
        let (chunks, response) = written_by_hand(&[("cache-control", "max-age=60")]);
        to_test.send(chunks).unwrap();
        async { response }
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    let client = tokio::spawn(proxy.http.get(proxy.url("/a")).send());
    let chunks = from_upstream.recv().await.unwrap();
    chunks.send(chunk("whole")).unwrap();
    drop(client.await.unwrap().unwrap());
    drop(chunks);
    until("the answer is stored", async || {
        proxy
            .get_with("/a", &[("cache-control", "only-if-cached")])
            .await
            .status
            == 200
    })
    .await;
    assert_eq!(proxy.get("/a").await.body, "whole");
    assert_eq!(upstream.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_is_never_stored_and_its_clients_see_it_break() {
    let (to_test, mut from_upstream) = mpsc::unbounded_channel();
    let upstream = Upstream::start(move |_| {
        let (chunks, response) =
            written_by_hand(&[("cache-control", "max-age=60"), ("content-length", "100")]);
        to_test.send(chunks).unwrap();
        async { response }
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    for _ in 0..2 {
        let client = tokio::spawn(proxy.http.get(proxy.url("/a")).send());
        let chunks = from_upstream.recv().await.unwrap();
        chunks.send(chunk("half")).unwrap();
        let response = client.await.unwrap().unwrap();
        assert_eq!(response.headers()["x-cache"], "MISS");
        chunks
            .send(Err(std::io::ErrorKind::ConnectionReset.into()))
            .unwrap();
        assert!(
            response.bytes().await.is_err(),
            "an incomplete body must not look complete"
        );
    }
    assert_eq!(upstream.count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unshareable_answer_releases_those_who_wait_and_the_next_ones_don_t_queue() {
    let under_way = Arc::new(AtomicUsize::new(0));
    let (all_in, count) = (Arc::new(Notify::new()), under_way.clone());
    let notify = all_in.clone();
    // Answers only when two requests are under way at once: were they queued, nobody would be answered.
    let upstream = Upstream::start(move |asked| {
        let (count, notify) = (count.clone(), notify.clone());
        async move {
            if asked.target == "/mark" {
                return respond(200, &[("cache-control", "private")], "");
            }
            let both_in = notify.notified();
            if count.fetch_add(1, Ordering::SeqCst) == 1 {
                notify.notify_waiters();
            } else {
                both_in.await;
            }
            respond(200, &[("cache-control", "private")], "own")
        }
    })
    .await;
    let proxy = Proxy::start_with_file(upstream.address, "").await;
    proxy.get("/mark").await;
    let marked = proxy.get("/mark").await;
    assert!(
        marked.field("cache-status").contains("detail="),
        "{marked:?}"
    );
    // Not marked yet: the first leads, the second waits until it is released by the first one's head, which must not
    // wait for the second. So one request is let through first.
    under_way.store(1, Ordering::SeqCst);
    assert_eq!(proxy.get("/a").await.body, "own");
    under_way.store(0, Ordering::SeqCst);
    let answers = timeout(PATIENCE, join_all([proxy.get("/a"), proxy.get("/a")]))
        .await
        .expect("nobody queues");
    assert!(answers.iter().all(|answer| answer.body == "own"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_during_a_fetch_keeps_its_answer_out_of_the_store() {
    let (to_test, mut from_upstream) = mpsc::unbounded_channel();
    let upstream = Upstream::start(move |_| {
        let (chunks, response) = written_by_hand(&[("cache-control", "max-age=60")]);
        to_test.send(chunks).unwrap();
        async { response }
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    let client = tokio::spawn(proxy.http.get(proxy.url("/a")).send());
    let old = from_upstream.recv().await.unwrap();
    old.send(chunk("old")).unwrap();
    let client = client.await.unwrap().unwrap();
    assert_eq!(proxy.purge(&proxy.url("/a")).await.status, 200);
    // Whoever comes after the purge must not join the fetch that began before it.
    let after = tokio::spawn(proxy.http.get(proxy.url("/a")).send());
    let new = from_upstream.recv().await.unwrap();
    new.send(chunk("new")).unwrap();
    drop(new);
    assert_eq!(got(after.await.unwrap().unwrap()).await.body, "new");
    drop(old);
    assert_eq!(got(client).await.body, "old");
    assert_eq!(proxy.get("/a").await.body, "new");
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_wait_when_a_purge_is_made_are_no_herd_after_it() {
    let gate = Arc::new(Semaphore::new(0));
    let opened = gate.clone();
    let upstream = Upstream::start(move |_| {
        let gate = gate.clone();
        async move {
            drop(gate.acquire().await);
            respond(200, &[("cache-control", "max-age=60")], "shared")
        }
    })
    .await;
    let proxy = Arc::new(Proxy::start(upstream.address, &[]).await);
    let ask = || {
        let proxy = proxy.clone();
        tokio::spawn(async move { proxy.get("/a").await })
    };
    let before: Vec<_> = (0..30).map(|_| ask()).collect();
    until("all but one wait", async || waiting(&proxy).await == 29).await;
    assert_eq!(proxy.purge("/a").await.status, 200);
    opened.add_permits(1000);
    for client in before {
        assert_eq!(client.await.unwrap().body, "shared");
    }
    assert_eq!(upstream.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_larger_than_an_object_may_be_streams_through_unstored() {
    for with_length in [true, false] {
        let upstream = Upstream::start(move |_| async move {
            if with_length {
                return respond(200, &[("cache-control", "max-age=60")], vec![b'x'; 3 << 20]);
            }
            let (chunks, response) = written_by_hand(&[("cache-control", "max-age=60")]);
            for _ in 0..3 {
                chunks
                    .send(Ok(Frame::data(Bytes::from(vec![b'x'; 1 << 20]))))
                    .unwrap();
            }
            response
        })
        .await;
        let proxy = Proxy::start(upstream.address, &[("object_max", "1MiB")]).await;
        for count in 1..=2 {
            assert_eq!(proxy.get("/a").await.body.len(), 3 << 20);
            assert_eq!(upstream.count(), count);
        }
    }
}

/// Two clients for one stale response: the first one's validation is held at the upstream, the second one waits for it.
/// What the upstream says to a condition, in turn, is `says`.
async fn one_validates_and_one_waits(
    field: &'static str,
    says: impl Fn(usize) -> Response<Body> + Clone + Send + Sync + 'static,
    purges: bool,
) -> (Got, String, Proxy, Upstream) {
    let gate = Arc::new(Semaphore::new(0));
    let (opened, conditions) = (gate.clone(), Arc::new(AtomicUsize::new(0)));
    let upstream = Upstream::start(move |asked| {
        let (gate, conditions, says) = (gate.clone(), conditions.clone(), says.clone());
        async move {
            if !asked.headers.contains_key("if-none-match") {
                let stale = [("etag", "\"a\""), ("cache-control", "max-age=0")];
                return respond(200, &stale, "stored");
            }
            let number = conditions.fetch_add(1, Ordering::SeqCst);
            drop(gate.acquire().await);
            says(number)
        }
    })
    .await;
    let proxy = Arc::new(Proxy::start(upstream.address, &[]).await);
    proxy.get("/a").await;
    let first = tokio::spawn({
        let proxy = proxy.clone();
        async move { proxy.get("/a").await }
    });
    until("the first one validates", async || upstream.count() == 2).await;
    let second = tokio::spawn({
        let proxy = proxy.clone();
        let host = proxy.url("").replace("http://", "");
        let head = format!("GET /a HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{field}\r\n");
        async move { proxy.raw(head.as_bytes()).await }
    });
    until("the second one waits", async || waiting(&proxy).await == 1).await;
    if purges {
        assert_eq!(proxy.purge(&proxy.url("/a")).await.status, 200);
    }
    opened.add_permits(1000);
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    (first, second, Arc::into_inner(proxy).unwrap(), upstream)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_purged_while_its_validation_waited_for_another_does_not_come_back() {
    let says = |number| match number {
        0 => respond(200, &[("cache-control", "no-store")], "new"),
        _ => respond(304, &[("cache-control", "max-age=60")], ""),
    };
    let (first, _, proxy, _upstream) = one_validates_and_one_waits("", says, true).await;
    assert_eq!(first.body, "new");
    assert_eq!(proxy.get("/a").await.result(), "MISS");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_gets_nothing_stale_that_it_would_not_get_alone() {
    let says = |_| respond(503, &[], "away");
    for (field, status) in [("Cache-Control: min-fresh=0\r\n", "503"), ("", "200")] {
        let (first, second, ..) = one_validates_and_one_waits(field, says, false).await;
        assert_eq!((first.status, first.result()), (200, "STALE"));
        assert_eq!(&second[9..12], status, "{second}");
    }
}
