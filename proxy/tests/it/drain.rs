//! Being told to stop: whoever has asked, or has just been let in to ask, is answered.

use crate::support::proxy::Proxy;
use crate::support::raw::RawClient;
use crate::support::upstream::{Upstream, respond};
use std::sync::Arc;
use tokio::sync::Semaphore;

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
