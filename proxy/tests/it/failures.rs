//! What clients see when the upstream is away, slow or lying, and what garbage gets.

use crate::support::proxy::{PATIENCE, Proxy};
use crate::support::upstream::{Upstream, respond};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// An address that nobody listens at.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
}

/// An upstream that answers every connection's first request with these bytes and closes.
async fn raw_upstream(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = stream.read_u8().await else {
                        return;
                    };
                    head.push(byte);
                }
                let _ = stream.write_all(answer).await;
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_away_is_a_502_with_a_reason() {
    let proxy = Proxy::start(nobody().await, &[]).await;
    for method in [reqwest::Method::GET, reqwest::Method::POST] {
        let answer = proxy.send(method, "/a", &[], "").await;
        assert_eq!(
            (answer.status, answer.result(), answer.field("content-type")),
            (502, "ERROR", "application/problem+json")
        );
        assert!(
            answer.body.contains("\"code\":\"connect-failed\""),
            "{answer:?}"
        );
        assert_eq!(answer.field("cache-control"), "no-store");
    }
    let health = proxy.admin(reqwest::Method::GET, "/health").await;
    assert!(
        health.status == 200 && health.body.contains("\"upstream\":\"down\""),
        "{health:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_hangs_is_a_504_within_its_deadline() {
    let upstream = Upstream::start(async |_| std::future::pending().await).await;
    let proxy = Proxy::start(upstream.address, &[("upstream_read_timeout", "100ms")]).await;
    for method in [reqwest::Method::GET, reqwest::Method::POST] {
        let answer = proxy.send(method, "/a", &[], "").await;
        assert_eq!(
            (answer.status, answer.result()),
            (504, "ERROR"),
            "{answer:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_response_stands_in_for_an_upstream_that_fails() {
    let failing = Arc::new(AtomicBool::new(false));
    let fails = failing.clone();
    let upstream = Upstream::start(move |asked| {
        let failing = fails.load(Ordering::SeqCst);
        async move {
            match (failing, asked.target.as_str()) {
                (true, _) => respond(503, &[], "down"),
                (false, "/strict") => respond(
                    200,
                    &[
                        ("cache-control", "max-age=0, must-revalidate"),
                        ("etag", "\"e\""),
                    ],
                    "kept",
                ),
                (false, _) => respond(
                    200,
                    &[("cache-control", "max-age=0"), ("etag", "\"e\"")],
                    "kept",
                ),
            }
        }
    })
    .await;
    let address = upstream.address;
    let proxy = Proxy::start(address, &[]).await;
    proxy.get("/a").await;
    proxy.get("/strict").await;
    failing.store(true, Ordering::SeqCst);
    let stale = proxy.get("/a").await;
    assert_eq!(
        (stale.status, stale.result(), stale.body.as_str()),
        (200, "STALE", "kept")
    );
    assert!(
        stale
            .field("cache-status")
            .contains("detail=stale-if-error"),
        "{stale:?}"
    );
    assert_eq!(
        proxy.get("/strict").await.status,
        503,
        "must-revalidate forbids it"
    );
    drop(upstream);
    assert_eq!(
        proxy.get("/a").await.result(),
        "STALE",
        "no connection at all"
    );
    assert_eq!(proxy.get("/strict").await.status, 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_was_restarted_is_reached_over_new_connections() {
    let script = async |_| respond(200, &[("cache-control", "no-store")], "ok");
    let upstream = Upstream::start(script).await;
    let address = upstream.address;
    let proxy = Proxy::start(address, &[]).await;
    let warm = futures_util::future::join_all((0..8).map(|_| proxy.get("/a"))).await;
    assert!(warm.iter().all(|answer| answer.status == 200));
    drop(upstream);
    let _restarted = Upstream::start_on(address, script).await;
    for _ in 0..8 {
        assert_eq!(
            proxy.get("/a").await.status,
            200,
            "pooled connections of the dead process must not show"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_lie_about_their_framing_are_never_stored() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 10\r\n\r\nshort"[..],
        b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 5, 6\r\n\r\nhello",
        b"nonsense\r\n\r\n",
        b"",
    ] {
        let proxy = Proxy::start(raw_upstream(answer).await, &[]).await;
        for _ in 0..2 {
            let response = proxy.http.get(proxy.url("/a")).send().await;
            let bad = match response {
                Err(_) => true,
                Ok(response) if response.status() == 502 => true,
                Ok(response) => {
                    assert_ne!(response.headers()["x-cache"], "HIT", "{answer:?}");
                    response.bytes().await.is_err()
                }
            };
            assert!(bad, "{:?} looked like a whole answer", String::from_utf8_lossy(answer));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_gets_a_clear_400_and_never_reaches_the_upstream() {
    let upstream = Upstream::start(async |_| respond(200, &[], "")).await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    for garbage in [
        &b"garbage\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: user@a\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /?q=\"quoted\" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        let answer = proxy.raw(garbage).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{:?}: {answer}", String::from_utf8_lossy(garbage));
        assert!(answer.contains("application/problem+json") && answer.contains("\"detail\":\""), "{answer}");
    }
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(20_000));
    assert!(
        proxy
            .raw(long.as_bytes())
            .await
            .starts_with("HTTP/1.1 414 ")
    );
    let large = format!(
        "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
        format!("X: {}\r\n", "a".repeat(9_000)).repeat(8)
    );
    assert!(
        proxy
            .raw(large.as_bytes())
            .await
            .starts_with("HTTP/1.1 431 ")
    );
    assert!(
        proxy
            .raw(b"GET / HTTP/3.0\r\nHost: a\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 505 ")
    );
    let tunnel = proxy
        .raw(b"CONNECT b:1 HTTP/1.1\r\nHost: b:1\r\n\r\n")
        .await;
    assert!(
        tunnel.starts_with("HTTP/1.1 405 ") && tunnel.contains("\r\nAllow: GET"),
        "{tunnel}"
    );
    assert_eq!(upstream.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_head_costs_a_deadline_and_not_a_place() {
    let upstream = Upstream::start(async |_| respond(200, &[], "")).await;
    let proxy = Proxy::start(upstream.address, &[("client_header_timeout", "100ms")]).await;
    let answer = proxy.raw(b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ").await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(
        proxy.raw(b"").await,
        "",
        "a client that says nothing is let go without a word"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_ended_in_every_version_of_http() {
    let upstream = Upstream::start(async |_| respond(200, &[], "ok")).await;
    let proxy = Proxy::start(upstream.address, &[("client_idle_timeout", "200ms")]).await;
    let openings: [&[u8]; 2] = [
        b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    ];
    for opening in openings {
        drop(proxy.raw(opening).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_cap_wait_for_their_turn() {
    let upstream = Upstream::start(async |_| respond(200, &[], "ok")).await;
    let proxy = Proxy::start(upstream.address, &[("connections_max", "1")]).await;
    let mut first = TcpStream::connect(proxy.clients).await.unwrap();
    first
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(first.read_u8().await.unwrap(), b'H');
    let mut second = TcpStream::connect(proxy.clients).await.unwrap();
    second
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    drop(first);
    assert_eq!(
        timeout(PATIENCE, second.read_u8()).await.unwrap().unwrap(),
        b'H'
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn fetches_are_capped_and_what_waits_too_long_is_told_so() {
    let upstream = Upstream::start(async |asked| match asked.target.as_str() {
        "/hang" => std::future::pending().await,
        _ => respond(200, &[], "ok"),
    })
    .await;
    let proxy = Arc::new(Proxy::start(upstream.address, &[("origin_concurrency", "1")]).await);
    let hanging = tokio::spawn({
        let proxy = proxy.clone();
        async move { proxy.http.get(proxy.url("/hang")).send().await }
    });
    crate::support::wait::until("the hanging request is under way", async || {
        upstream.count() == 1
    })
    .await;
    let refused = proxy.get("/a").await;
    assert_eq!(
        (
            refused.status,
            refused.result(),
            refused.field("retry-after")
        ),
        (503, "ERROR", "1"),
        "{refused:?}"
    );
    hanging.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_under_way_is_finished_when_the_proxy_is_told_to_stop() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let opened = gate.clone();
    let upstream = Upstream::start(move |_| {
        let gate = gate.clone();
        async move {
            drop(gate.acquire().await);
            respond(200, &[("cache-control", "max-age=60")], "late")
        }
    })
    .await;
    let mut proxy = Proxy::start(upstream.address, &[]).await;
    let mut idle = TcpStream::connect(proxy.clients).await.unwrap();
    let request = tokio::spawn(proxy.http.get(proxy.url("/a")).send());
    crate::support::wait::until("the request is under way", async || upstream.count() == 1).await;
    proxy.stop();
    assert_eq!(
        timeout(PATIENCE, idle.read(&mut [0; 1]))
            .await
            .unwrap()
            .unwrap(),
        0,
        "idle connections are closed"
    );
    opened.add_permits(1);
    assert_eq!(
        request.await.unwrap().unwrap().text().await.unwrap(),
        "late"
    );
    timeout(PATIENCE, &mut proxy.running)
        .await
        .expect("it ends when it has drained")
        .unwrap()
        .unwrap();
    assert!(TcpStream::connect(proxy.clients).await.is_err());
}
