//! Being told to stop: whoever has asked, or has just been let in to ask, is answered.

use crate::support::proxy::PATIENCE;
use crate::support::proxy::Proxy;
use crate::support::raw::RawClient;
use crate::support::upstream::{Upstream, respond};
use crate::support::wait::until;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_on_its_way_when_draining_begins_is_answered() {
    let upstream = Upstream::start(async |_| respond(200, &[], "ok")).await;
    let mut proxy = Proxy::start(upstream.address, &[]).await;
    let mut clients = Vec::new();
    for number in 0..40 {
        let mut client = RawClient::connect(proxy.clients).await;
        if number % 2 == 0 {
            client.send(get("/first")).await;
            assert_eq!(client.response(false).await.unwrap().unwrap().status(), 200);
        }
        clients.push(client);
    }
    proxy.stop();
    for client in &mut clients {
        client.send(get("/last")).await;
    }
    for client in &mut clients {
        let response = client.response(false).await.unwrap();
        assert_eq!(response.expect("an answer").status(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_all_answered_when_draining_begins_among_them() {
    let gate = Arc::new(Semaphore::new(0));
    let opened = gate.clone();
    let upstream = Upstream::start(move |_| {
        let gate = gate.clone();
        async move {
            drop(gate.acquire().await);
            respond(200, &[("cache-control", "no-store")], "ok")
        }
    })
    .await;
    let mut proxy = Proxy::start(upstream.address, &[]).await;
    let mut client = RawClient::connect(proxy.clients).await;
    client
        .send([get("/a"), get("/b"), get("/c")].concat())
        .await;
    crate::support::wait::until("the first is under way", async || upstream.count() == 1).await;
    proxy.stop();
    crate::support::wait::until("nobody else is let in", async || {
        tokio::net::TcpStream::connect(proxy.clients).await.is_err()
    })
    .await;
    opened.add_permits(1);
    let mut closing = Vec::new();
    for _ in 0..3 {
        let response = client.response(false).await.unwrap().expect("an answer");
        assert_eq!(response.status(), 200);
        closing.push(response.field("connection") == Some("close"));
    }
    assert!(closing[2], "the last one says that it is the last");
    assert_eq!(client.response(false).await, Ok(None));
}

/// An upstream that answers once for each permit, with what it was sent.
async fn gated() -> (Arc<Semaphore>, Upstream) {
    let gate = Arc::new(Semaphore::new(0));
    let opened = gate.clone();
    let upstream = Upstream::start(move |asked| {
        let gate = gate.clone();
        async move {
            gate.acquire().await.unwrap().forget();
            respond(200, &[("cache-control", "no-store")], asked.body)
        }
    })
    .await;
    (opened, upstream)
}

fn post(content: &str) -> String {
    let length = content.len();
    format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{content}")
}

async fn nobody_is_let_in(proxy: &Proxy) {
    until("nobody else is let in", async || {
        TcpStream::connect(proxy.clients).await.is_err()
    })
    .await;
}

/// Draining ends long before its time is over.
async fn has_drained(proxy: &mut Proxy) {
    let ended = timeout(PATIENCE, &mut proxy.running).await;
    ended.expect("an end in time").unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_that_were_sent_at_once_are_all_answered_when_draining_begins_among_them() {
    let (gate, upstream) = gated().await;
    let mut proxy = Proxy::start(upstream.address, &[("drain_timeout", "10m")]).await;
    let mut client = RawClient::connect(proxy.clients).await;
    client
        .send([post("one"), post("two"), get("/three"), post("four")].concat())
        .await;
    until("the first is under way", async || upstream.count() == 1).await;
    proxy.stop();
    nobody_is_let_in(&proxy).await;
    gate.add_permits(4);
    let mut closing = Vec::new();
    for content in ["one", "two", "", "four"] {
        let response = client.response(false).await.unwrap().expect("an answer");
        assert_eq!(response.content, content.as_bytes());
        closing.push(response.field("connection") == Some("close"));
    }
    assert!(closing[3], "the last one says that it is the last");
    assert_eq!(client.response(false).await, Ok(None));
    has_drained(&mut proxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_has_come_in_part_when_draining_begins_is_taken_whole() {
    let (gate, upstream) = gated().await;
    gate.add_permits(1);
    let mut proxy = Proxy::start(upstream.address, &[("drain_timeout", "10m")]).await;
    let mut client = RawClient::connect(proxy.clients).await;
    let request = post("first and second");
    let (first, second) = request.split_at(request.len() - 6);
    client.send(first).await;
    proxy.stop();
    nobody_is_let_in(&proxy).await;
    client.send(second).await;
    let response = client.response(false).await.unwrap().expect("an answer");
    assert_eq!(response.content, b"first and second");
    assert_eq!(client.response(false).await, Ok(None));
    has_drained(&mut proxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_while_draining_says_that_it_is_the_last() {
    let (gate, upstream) = gated().await;
    let mut proxy = Proxy::start(upstream.address, &[("drain_timeout", "10m")]).await;
    let mut client = RawClient::connect(proxy.clients).await;
    client.send(get("/")).await;
    until("it is under way", async || upstream.count() == 1).await;
    proxy.stop();
    nobody_is_let_in(&proxy).await;
    gate.add_permits(1);
    let response = client.response(false).await.unwrap().expect("an answer");
    assert_eq!(response.field("connection"), Some("close"));
    has_drained(&mut proxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_crosses_the_end_of_an_idle_connection_gets_a_clean_end() {
    let upstream = Upstream::start(async |_| respond(200, &[], "ok")).await;
    let mut proxy = Proxy::start(upstream.address, &[("drain_timeout", "10m")]).await;
    let mut stream = TcpStream::connect(proxy.clients).await.unwrap();
    stream.write_all(get("/").as_bytes()).await.unwrap();
    let mut answer = [0; 4096];
    assert!(stream.read(&mut answer).await.unwrap() > 0);
    proxy.stop();
    let end = timeout(PATIENCE, stream.read(&mut answer)).await;
    assert_eq!(end.expect("the idle connection ends").unwrap(), 0);
    // As if it had been on its way when the end came: nobody answers, but no reset says that something broke.
    stream.write_all(get("/").as_bytes()).await.unwrap();
    stream.write_all(get("/").as_bytes()).await.unwrap();
    assert_eq!(stream.read(&mut answer).await.unwrap(), 0);
    drop(stream);
    has_drained(&mut proxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_a_pass_arrives_whole_though_its_client_goes_on_sending() {
    let large = "x".repeat(64 << 10);
    let content = large.clone();
    let (gate, asked) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (opened, noted) = (gate.clone(), asked.clone());
    let upstream = Upstream::start(move |_| {
        let (gate, asked, content) = (gate.clone(), asked.clone(), content.clone());
        async move {
            asked.add_permits(1);
            drop(gate.acquire().await);
            respond(200, &[("connection", "close")], content)
        }
    })
    .await;
    let mut proxy = Proxy::start(upstream.address, &[("drain_timeout", "10m")]).await;
    let mut client = RawClient::connect_slow(proxy.clients).await;
    let last = post("one").replace("Host: a", "Host: a\r\nConnection: close");
    client.send(last).await;
    noted.acquire().await.unwrap().forget();
    proxy.stop();
    nobody_is_let_in(&proxy).await;
    opened.add_permits(1);
    // Requests behind it, which nobody is going to answer, and more of them than are read ahead: unread, they reset the connection.
    let never = get(&format!("/{}", "n".repeat(8000)));
    client.send(never.repeat(8)).await;
    // Nothing is read until the proxy is done with the connection: from here on the answer is the system's to deliver.
    has_drained(&mut proxy).await;
    let response = client.response(false).await.unwrap().expect("an answer");
    assert_eq!(response.content.len(), large.len());
}

/// A frame of HTTP/2 (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    let head = [0, 0, length, kind, flags, 0, 0, 0, stream];
    [&head, payload].concat()
}

/// The next frame's kind, flags, stream and payload; none at the end of the connection.
async fn next_frame(stream: &mut TcpStream) -> Option<(u8, u8, u8, Vec<u8>)> {
    let mut head = [0; 9];
    if stream.read_exact(&mut head).await.is_err() {
        return None;
    }
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload).await.unwrap();
    Some((head[3], head[4], head[8], payload))
}

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

#[tokio::test(flavor = "multi_thread")]
async fn http2_that_begins_after_draining_has_begun_is_answered_and_ended() {
    let upstream = Upstream::start(async |_| respond(200, &[], "ok")).await;
    let mut proxy = Proxy::start(upstream.address, &[("drain_timeout", "10m")]).await;
    let mut stream = TcpStream::connect(proxy.clients).await.unwrap();
    until("it is let in", async || {
        let metrics = proxy.admin(reqwest::Method::GET, "/metrics").await.body;
        metrics.contains("connections 1")
    })
    .await;
    proxy.stop();
    nobody_is_let_in(&proxy).await;
    // GET http://a/ by indices of HPACK's static table.
    let fields = [0x82, 0x86, 0x84, 0x41, 1, b'a'];
    let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    sent.extend(frame(SETTINGS, 0, 0, &[]));
    sent.extend(frame(HEADERS, 5, 1, &fields));
    stream.write_all(&sent).await.unwrap();
    let (mut answered, mut told) = (false, false);
    let conversation = async {
        while let Some((kind, flags, number, payload)) = next_frame(&mut stream).await {
            match kind {
                // :status 200 is number 8 of the table.
                HEADERS => answered |= number == 1 && payload.first() == Some(&0x88),
                GOAWAY => told = true,
                PING if flags == 0 => {
                    let pong = frame(PING, 1, 0, &payload);
                    stream.write_all(&pong).await.unwrap();
                }
                _ => {}
            }
        }
    };
    timeout(PATIENCE, conversation).await.expect("an end");
    assert!(answered && told, "answered: {answered}, told: {told}");
    has_drained(&mut proxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_over_http2_that_are_under_way_when_draining_begins_are_answered() {
    let (gate, upstream) = gated().await;
    let mut proxy = Proxy::start(upstream.address, &[("drain_timeout", "10m")]).await;
    let client = reqwest::Client::builder()
        .no_proxy()
        .http2_prior_knowledge();
    let client = client.build().unwrap();
    let asking: Vec<_> = (0..10)
        .map(|number| {
            let request = match number % 2 {
                0 => client.get(proxy.url(&format!("/{number}"))),
                _ => client.post(proxy.url("/")).body("content"),
            };
            tokio::spawn(request.send())
        })
        .collect();
    until("they are under way", async || upstream.count() == 10).await;
    proxy.stop();
    nobody_is_let_in(&proxy).await;
    gate.add_permits(10);
    for asked in asking {
        let answer = asked.await.unwrap().unwrap();
        assert_eq!(answer.status(), 200);
        answer.text().await.unwrap();
    }
    has_drained(&mut proxy).await;
}
