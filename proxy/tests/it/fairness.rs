//! What one request, one client or one answer may not do to the others.

use crate::support::proxy::{PATIENCE, Proxy, got};
use crate::support::upstream::{Upstream, respond};
use crate::support::wait::until;
use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// A response that never ends: one chunk of this many bytes after another, or one alone.
fn endless(
    cache_control: &'static str,
    chunk_bytes: usize,
    again: bool,
) -> Response<crate::support::upstream::Body> {
    let chunk = Bytes::from(vec![b'x'; chunk_bytes]);
    let chunks = futures_util::stream::unfold(0, move |count| {
        let chunk = chunk.clone();
        async move {
            if count > 0 && !again {
                std::future::pending::<()>().await;
            }
            Some((Ok(Frame::data(chunk)), count + 1))
        }
    });
    let chunks: std::pin::Pin<
        Box<dyn futures_util::Stream<Item = Result<Frame<Bytes>, std::io::Error>> + Send + Sync>,
    > = Box::pin(chunks);
    Response::builder()
        .header("cache-control", cache_control)
        .body(BodyExt::boxed(StreamBody::new(chunks)))
        .unwrap()
}

/// Asks on a connection of its own and reads the first bytes of the answer, no more.
async fn begin(proxy: &Proxy, target: &str) -> TcpStream {
    let mut stream = TcpStream::connect(proxy.clients).await.unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut first = [0; 12];
    timeout(PATIENCE, stream.read_exact(&mut first))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn event_streams_and_slow_readers_take_no_fetch_s_turn() {
    let upstream = Upstream::start(async |asked| match asked.target.as_str() {
        "/events" => endless("no-cache", 10, false),
        "/large" => endless("no-store", 1 << 16, true),
        "/outgrown" => endless("max-age=60", 1 << 16, true),
        _ => respond(200, &[], "ok"),
    })
    .await;
    // More than the system takes off a writer's hands.
    for object_max in ["1MiB", "32MiB"] {
        let settings = [("origin_concurrency", "1"), ("object_max", object_max)];
        let proxy = Proxy::start(upstream.address, &settings).await;
        for target in ["/events", "/large", "/outgrown"] {
            let reading = begin(&proxy, target).await;
            let other = proxy.get("/other").await;
            assert_eq!((other.status, other.body.as_str()), (200, "ok"), "{target}");
            drop(reading);
        }
    }
}

/// Breaks the connection on requests with `X-Evil`, after `gate`; answers the others.
async fn fragile(gate: Arc<Semaphore>, asked: Arc<AtomicUsize>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (gate, asked) = (gate.clone(), asked.clone());
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                asked.fetch_add(1, Ordering::SeqCst);
                let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
                if head.contains("x-evil") {
                    drop(gate.acquire().await);
                    return;
                }
                let answer = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 4\r\n\r\nfine";
                stream.write_all(answer).await.unwrap();
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_read_an_answer_and_asks_again_finds_it_stored() {
    let upstream = Upstream::start(async |asked| match asked.target.starts_with("/sized") {
        true => respond(200, &[("cache-control", "max-age=60")], vec![b'x'; 100_000]),
        false => {
            let chunks = (0..20).map(|_| Ok(Frame::data(Bytes::from(vec![b'x'; 5000]))));
            Response::builder()
                .header("cache-control", "max-age=60")
                .body(BodyExt::boxed(StreamBody::new(futures_util::stream::iter(
                    chunks,
                ))))
                .unwrap()
        }
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    for number in 0..200 {
        for kind in ["sized", "chunked"] {
            let target = format!("/{kind}/{number}");
            assert_eq!(proxy.get(&target).await.body.len(), 100_000);
            assert_eq!(proxy.get(&target).await.result(), "HIT", "{target}");
        }
    }
}

async fn connected(proxy: &Proxy, count: usize) {
    until("the clients are connected", async || {
        let metrics = proxy.admin(reqwest::Method::GET, "/metrics").await.body;
        metrics.contains(&format!("larder_connections {count}\n"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_breaks_the_upstream_breaks_no_other() {
    let (gate, asked) = (Arc::new(Semaphore::new(0)), Arc::<AtomicUsize>::default());
    let proxy = Arc::new(Proxy::start(fragile(gate.clone(), asked.clone()).await, &[]).await);
    let get = |evil: bool| {
        let proxy = proxy.clone();
        let fields: &[_] = if evil { &[("x-evil", "1")] } else { &[] };
        tokio::spawn(async move { proxy.get_with("/a", fields).await })
    };
    let evil = get(true);
    until("the first request leads", async || {
        asked.load(Ordering::SeqCst) == 1
    })
    .await;
    let good = get(false);
    connected(&proxy, 2).await;
    gate.add_permits(1);
    assert_eq!(evil.await.unwrap().status, 502);
    let good = good.await.unwrap();
    assert_eq!((good.status, good.body.as_str()), (200, "fine"));
}

/// Answers the first request when told to, later ones as `later` says.
async fn first_is_gated(gate: Arc<Semaphore>, later_hang: bool) -> Upstream {
    let count = Arc::new(AtomicUsize::new(0));
    Upstream::start(move |_| {
        let (gate, number) = (gate.clone(), count.fetch_add(1, Ordering::SeqCst) + 1);
        async move {
            match number {
                1 => drop(gate.acquire().await),
                _ if later_hang => std::future::pending().await,
                _ => {}
            }
            respond(200, &[("cache-control", "max-age=60")], number.to_string())
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_wants_a_new_answer_does_not_wait_for_an_older_one() {
    let gate = Arc::new(Semaphore::new(0));
    let upstream = first_is_gated(gate.clone(), false).await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    let first = tokio::spawn(proxy.http.get(proxy.url("/a")).send());
    until("the first fetch is under way", async || {
        upstream.count() == 1
    })
    .await;
    let began = std::time::Instant::now();
    let fresh = proxy.get_with("/a", &[("cache-control", "no-cache")]).await;
    assert_eq!(fresh.body, "2");
    assert!(began.elapsed().as_secs() < 4, "it queued for nothing");
    gate.add_permits(1);
    assert_eq!(got(first.await.unwrap().unwrap()).await.body, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_waited_too_long_takes_what_comes_first() {
    let gate = Arc::new(Semaphore::new(0));
    let upstream = first_is_gated(gate.clone(), true).await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    let first = tokio::spawn(proxy.http.get(proxy.url("/a")).send());
    until("the first fetch is under way", async || {
        upstream.count() == 1
    })
    .await;
    let second = tokio::spawn(proxy.http.get(proxy.url("/a")).send());
    until("the second has lost its patience", async || {
        upstream.count() == 2
    })
    .await;
    gate.add_permits(1);
    for request in [first, second] {
        assert_eq!(got(request.await.unwrap().unwrap()).await.body, "1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storable_answer_ends_the_word_that_a_url_can_not_be_shared() {
    let (gate, count) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let opened = gate.clone();
    let upstream = Upstream::start(move |_| {
        let (gate, number) = (gate.clone(), count.fetch_add(1, Ordering::SeqCst) + 1);
        async move {
            if number > 2 {
                drop(gate.acquire().await);
            }
            let control = if number == 1 {
                "no-store"
            } else {
                "max-age=60"
            };
            respond(200, &[("cache-control", control)], number.to_string())
        }
    })
    .await;
    let proxy = Arc::new(Proxy::start(upstream.address, &[]).await);
    assert_eq!(proxy.get("/a").await.body, "1");
    assert_eq!(proxy.get("/a").await.body, "2");
    assert_eq!(proxy.purge("/a").await.status, 200);
    let get = || {
        let proxy = proxy.clone();
        tokio::spawn(async move { proxy.get("/a").await })
    };
    let clients = [get(), get()];
    connected(&proxy, 2).await;
    until("one leads", async || upstream.count() >= 3).await;
    opened.add_permits(9);
    for client in clients {
        assert_eq!(client.await.unwrap().body, "3");
    }
}
