//! What clients on HTTP/1.x see byte by byte: order, framing, interim responses, and upstreams that frame badly.

use crate::support::proxy::Proxy;
use crate::support::raw::{RawClient, RawUpstream, Then};
use crate::support::upstream::{Upstream, counting, respond};
use crate::support::wait::until;

const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
}

fn plain(body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into()
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_in_their_order() {
    let upstream = Upstream::start(async |asked| {
        // The earlier a request, the later its answer is ready.
        let turns = 200 - 20 * asked.target.len();
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        respond(200, &[("cache-control", "max-age=60")], asked.target)
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    for _ in 0..2 {
        let mut client = RawClient::connect(proxy.clients).await;
        client
            .send([get("/a"), get("/bb"), get("/a"), get("/ccc")].concat())
            .await;
        for target in ["/a", "/bb", "/a", "/ccc"] {
            let response = client.response(false).await.unwrap().unwrap();
            assert_eq!(
                (response.status(), &*response.content),
                (200, target.as_bytes())
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_all_kinds_take_turns_on_one_connection() {
    let upstream = Upstream::start(async |asked| {
        respond(
            200,
            &[("cache-control", "max-age=60")],
            format!("{} {}", asked.method, String::from_utf8_lossy(&asked.body)),
        )
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    let mut client = RawClient::connect(proxy.clients).await;
    for round in 0..3 {
        client.send(get("/a")).await;
        let response = client.response(false).await.unwrap().unwrap();
        assert_eq!(
            response.field("x-cache"),
            Some(if round == 0 { "MISS" } else { "HIT" })
        );
        client.send("HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let response = client.response(true).await.unwrap().unwrap();
        assert_eq!(
            (response.field("x-cache"), response.field("content-length")),
            (Some("HIT"), Some("4"))
        );
        client
            .send("POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
            .await;
        let response = client.response(false).await.unwrap().unwrap();
        assert_eq!(
            (response.field("x-cache"), &*response.content),
            (Some("BYPASS"), &b"POST hi"[..])
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_date_of_the_origin_is_untouched_on_miss_and_hit() {
    let upstream = Upstream::start(async |_| {
        respond(
            200,
            &[("date", DATE), ("cache-control", "max-age=2000000000")],
            "body",
        )
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    for result in ["MISS", "HIT"] {
        let mut client = RawClient::connect(proxy.clients).await;
        client.send(get("/a")).await;
        let response = client.response(false).await.unwrap().unwrap();
        assert_eq!(
            (response.field("x-cache"), response.field("date")),
            (Some(result), Some(DATE))
        );
        assert_eq!(response.head.matches("Date:").count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn interim_responses_reach_the_client_and_are_not_stored() {
    let upstream = RawUpstream::start(|_, _| {
        let interim = "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </s.css>; rel=preload\r\nConnection: x\r\nX: 1\r\n\r\n";
        ([interim.as_bytes(), &plain("body")].concat(), Then::KeepsOpen)
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    let mut client = RawClient::connect(proxy.clients).await;
    client.send(get("/a")).await;
    let processing = client.response(false).await.unwrap().unwrap();
    assert_eq!(processing.status(), 102);
    let hints = client.response(false).await.unwrap().unwrap();
    assert_eq!(
        (hints.status(), hints.field("link"), hints.field("x")),
        (103, Some("</s.css>; rel=preload"), None)
    );
    let last = client.response(false).await.unwrap().unwrap();
    assert_eq!(
        (last.status(), last.field("x-cache"), last.field("link")),
        (200, Some("MISS"), None)
    );
    client.send(get("/a")).await;
    let hit = client.response(false).await.unwrap().unwrap();
    assert_eq!(
        (hit.status(), hit.field("x-cache"), hit.field("link")),
        (200, Some("HIT"), None)
    );
    // HTTP/1.0 knows none.
    client.send("GET /b HTTP/1.0\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.response(false).await.unwrap().unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_sends_no_end_of_interim_responses_is_given_up() {
    let upstream = RawUpstream::start(|_, head| {
        let count = if head.contains("/few") { 100 } else { 101 };
        let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(count);
        (
            [hints.into_bytes(), plain("late")].concat(),
            Then::KeepsOpen,
        )
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    for (target, status) in [("/few", 200), ("/many", 502), ("/few?again", 200)] {
        assert_eq!(proxy.get(target).await.status, status, "{target}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_not_sent_again_after_an_interim_response() {
    let upstream = RawUpstream::start(|_, head| match head.starts_with("GET /broken ") {
        false => (plain("whole"), Then::KeepsOpen),
        true => (b"HTTP/1.1 102 Processing\r\n\r\n".to_vec(), Then::Closes),
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    let mut asked = 0;
    until("a connection is used again", async || {
        let connections = upstream.connections();
        asked += 1;
        assert_eq!(proxy.get(&format!("/{asked}")).await.body, "whole");
        upstream.connections() == connections
    })
    .await;
    let connections = upstream.connections();
    assert_eq!(proxy.get("/broken").await.status, 502);
    assert_eq!(upstream.heads().len(), asked + 1);
    assert!(upstream.connections() <= connections + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn content_of_unknown_length_is_framed_for_each_version() {
    let upstream = RawUpstream::start(|_, _| {
        let answer = "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n";
        (answer.into(), Then::KeepsOpen)
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    let mut client = RawClient::connect(proxy.clients).await;
    client.send(get("/a")).await;
    let response = client.response(false).await.unwrap().unwrap();
    assert_eq!(
        (response.field("transfer-encoding"), &*response.content),
        (Some("chunked"), &b"body"[..])
    );
    client
        .send("GET /a HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
        .await;
    let response = client.response(false).await.unwrap().unwrap();
    assert!(response.head.starts_with("HTTP/1.0 200 "), "{response:?}");
    assert_eq!(
        (response.field("connection"), &*response.content),
        (Some("close"), &b"body"[..])
    );
    assert_eq!(
        client.response(false).await,
        Ok(None),
        "the end of the content is the end of the connection"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_ends_when_the_client_says_so() {
    let upstream = counting("max-age=60").await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    for (version, field, closes) in [
        ("1.1", "Connection: close\r\n", true),
        ("1.1", "", false),
        ("1.0", "", true),
        ("1.0", "Connection: keep-alive\r\n", false),
    ] {
        let mut client = RawClient::connect(proxy.clients).await;
        client
            .send(format!("GET /a HTTP/{version}\r\nHost: a\r\n{field}\r\n"))
            .await;
        let response = client.response(false).await.unwrap().unwrap();
        assert_eq!(
            response.field("connection") == Some("close"),
            closes,
            "{version} {field}"
        );
        if closes {
            assert_eq!(client.response(false).await, Ok(None));
        } else {
            client.send(get("/a")).await;
            assert_eq!(client.response(false).await.unwrap().unwrap().status(), 200);
        }
    }
}

/// Answers of an upstream that frames badly, each with whether anything of it may be stored.
const BROKEN: [(&str, &str, Then); 9] = [
    (
        "shorter than its length",
        "Content-Length: 10\r\n\r\nbody",
        Then::Closes,
    ),
    (
        "cut in a chunk",
        "Transfer-Encoding: chunked\r\n\r\nff\r\nbody",
        Then::Closes,
    ),
    (
        "without a last chunk",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n",
        Then::Closes,
    ),
    (
        "with a chunk size that is none",
        "Transfer-Encoding: chunked\r\n\r\nxyz\r\nbody\r\n0\r\n\r\n",
        Then::KeepsOpen,
    ),
    (
        "with two lengths",
        "Content-Length: 4\r\nContent-Length: 5\r\n\r\nbody!",
        Then::KeepsOpen,
    ),
    (
        "with a length that is none",
        "Content-Length: -4\r\n\r\nbody",
        Then::KeepsOpen,
    ),
    (
        "gzipped in transfer",
        "Transfer-Encoding: gzip, chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        Then::KeepsOpen,
    ),
    (
        "chunked and then more",
        "Transfer-Encoding: chunked, gzip\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        Then::Closes,
    ),
    (
        "chunked twice",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        Then::KeepsOpen,
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_badly_framed_answer_is_never_stored_and_never_ends_cleanly() {
    for (name, rest, then) in BROKEN {
        let upstream = RawUpstream::start(move |number, _| match number {
            1 => (
                format!("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n{rest}").into(),
                then,
            ),
            _ => (plain("good"), Then::KeepsOpen),
        })
        .await;
        let proxy = Proxy::start(upstream.address, &[]).await;
        let mut client = RawClient::connect(proxy.clients).await;
        client.send(get("/a")).await;
        match client.response(false).await {
            Ok(Some(response)) => assert_eq!(response.status(), 502, "{name}: {response:?}"),
            Ok(None) => panic!("{name}: no answer"),
            Err(_) => {}
        }
        let next = proxy.get("/a").await;
        assert_eq!(
            (next.body.as_str(), next.result()),
            ("good", "MISS"),
            "{name}"
        );
        let after = proxy.get("/a").await;
        assert_eq!(
            (after.body.as_str(), after.result()),
            ("good", "HIT"),
            "{name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_an_answer_is_not_the_next_one() {
    let upstream = RawUpstream::start(|number, _| match number {
        1 => {
            let more = [plain("body"), plain("smuggled")].concat();
            (more, Then::KeepsOpen)
        }
        _ => (plain("good"), Then::KeepsOpen),
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    assert_eq!(proxy.get("/a").await.body, "body");
    for target in ["/b", "/c", "/d"] {
        assert_eq!(proxy.get(target).await.body, "good", "{target}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_ends_with_the_connection_is_whole() {
    let upstream = RawUpstream::start(|_, _| {
        (
            b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n\r\nbody".to_vec(),
            Then::Closes,
        )
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    let miss = proxy.get("/a").await;
    assert_eq!((miss.result(), miss.body.as_str()), ("MISS", "body"));
    let hit = proxy.get("/a").await;
    assert_eq!(
        (hit.result(), hit.body.as_str(), hit.field("content-length")),
        ("HIT", "body", "4")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_behind_the_last_request_does_not_cut_its_answer() {
    let upstream = Upstream::start(async |_| {
        respond(200, &[("cache-control", "max-age=60")], vec![b'x'; 8 << 20])
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    let mut client = RawClient::connect(proxy.clients).await;
    client
        .send("GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await;
    until("the request is read", async || upstream.count() == 1).await;
    client.send(get("/b")).await;
    let response = client.response(false).await.unwrap().unwrap();
    assert_eq!(response.content.len(), 8 << 20);
    assert_eq!(client.response(false).await, Ok(None));
}

// On one thread: each has connections of its own in the pool.
#[tokio::test]
async fn an_answer_without_content_leaves_its_connection_to_the_next_request() {
    let upstream = RawUpstream::start(|_, head| {
        let status = match (head.starts_with("HEAD"), head.contains("/gone")) {
            (true, _) => "200 OK\r\nContent-Length: 4",
            (_, true) => "204 No Content",
            _ => "304 Not Modified\r\nETag: \"a\"",
        };
        let answer = format!("HTTP/1.1 {status}\r\nCache-Control: no-store\r\n\r\n");
        (answer.into(), Then::KeepsOpen)
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    let mut client = RawClient::connect(proxy.clients).await;
    for (request, status) in [
        ("HEAD /head HTTP/1.1", 200),
        ("GET /gone HTTP/1.1", 204),
        ("GET /same HTTP/1.1\r\nIf-None-Match: \"a\"", 304),
        ("HEAD /head HTTP/1.1", 200),
    ] {
        client
            .send(format!("{request}\r\nHost: a\r\nCookie: a\r\n\r\n"))
            .await;
        let response = client.response(true).await.unwrap().unwrap();
        assert_eq!(response.status(), status);
    }
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_nothing_holds_its_connection_for_a_while_only() {
    let upstream = Upstream::start(async |_| {
        respond(200, &[("cache-control", "max-age=60")], vec![b'x'; 8 << 20])
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[("client_write_timeout", "100ms")]).await;
    let mut client = RawClient::connect(proxy.clients).await;
    client.send(get("/a")).await;
    until("it has asked", async || upstream.count() == 1).await;
    until("the proxy gives the client up", async || {
        let metrics = proxy.admin(reqwest::Method::GET, "/metrics").await.body;
        metrics.contains("larder_connections 0")
    })
    .await;
    assert!(
        client.response(false).await.is_err(),
        "what was cut must not look whole"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_begins_with_a_connection_and_never_behind_a_request() {
    let upstream = counting("max-age=60").await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    proxy.get("/a").await;
    for before in [get("/a"), get("/b")] {
        let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        let sent = format!(
            "{}{preface}",
            before.replace("Host: a", &format!("Host: {}", proxy.clients))
        );
        let answer = proxy.raw(sent.as_bytes()).await;
        let (first, second) = answer
            .split_once("HTTP/1.1 505 ")
            .expect("HTTP/1.1 goes on");
        assert!(first.starts_with("HTTP/1.1 200 OK\r\n"), "{first}");
        assert!(second.contains("\r\nConnection: close\r\n"), "{second}");
    }
}
