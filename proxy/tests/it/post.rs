//! A `POST` whose answer says that it is what a `GET` would bring.

use crate::flights::{chunk, written_by_hand};
use crate::support::proxy::Proxy;
use crate::support::upstream::{Upstream, respond};
use crate::support::wait::until;
use reqwest::Method;
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};

const ITSELF: [(&str, &str); 2] = [("content-location", "/a"), ("cache-control", "max-age=60")];

/// Says which method made the answer.
async fn answering(post: &'static [(&'static str, &'static str)]) -> Upstream {
    Upstream::start(move |asked| async move {
        match asked.method {
            Method::POST => respond(200, post, format!("POST {}", asked.body.len())),
            _ => respond(200, &[("cache-control", "max-age=60")], "GET"),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_has_what_a_post_brought_and_another_post_still_goes_upstream() {
    let upstream = answering(&ITSELF).await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    assert_eq!(proxy.get("/a").await.body, "GET");
    let posted = proxy.send(Method::POST, "/a", &[], "12345").await;
    assert_eq!(
        (posted.result(), posted.body.as_str()),
        ("BYPASS", "POST 5")
    );
    let got = proxy.get("/a").await;
    assert_eq!((got.result(), got.body.as_str()), ("HIT", "POST 5"));
    assert_eq!(got.field("content-location"), "/a");
    let head = proxy.send(Method::HEAD, "/a", &[], "").await;
    assert_eq!((head.result(), head.field("content-length")), ("HIT", "6"));
    let again = proxy.send(Method::POST, "/a", &[], "1").await;
    assert_eq!((again.result(), again.body.as_str()), ("BYPASS", "POST 1"));
    assert_eq!(proxy.get("/a").await.body, "POST 1");
    assert_eq!(upstream.count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_about_something_else_only_makes_what_is_stored_void() {
    let upstream = answering(&[("content-location", "/b"), ("cache-control", "max-age=60")]).await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    proxy.send(Method::POST, "/a", &[], "1").await;
    for target in ["/a", "/b"] {
        let got = proxy.get(target).await;
        assert_eq!(
            (got.result(), got.body.as_str()),
            ("MISS", "GET"),
            "{target}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_a_get_would_send_in_another_form_is_not_kept() {
    let upstream = answering(&[
        ("content-location", "/a?b=2&a=1"),
        ("cache-control", "max-age=60"),
    ])
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    proxy.send(Method::POST, "/a?b=2&a=1", &[], "1").await;
    assert_eq!(proxy.get("/a?b=2&a=1").await.body, "GET");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_post_s_own_fields_select_its_answer() {
    let upstream = answering(&[
        ("content-location", "/a"),
        ("cache-control", "max-age=60"),
        ("vary", "accept-language"),
    ])
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    let german = [("accept-language", "de")];
    proxy.send(Method::POST, "/a", &german, "1").await;
    assert_eq!(proxy.get_with("/a", &german).await.body, "POST 1");
    assert_eq!(proxy.get("/a").await.body, "GET");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunked_answer_is_kept_when_it_came_whole_and_not_when_it_broke_off() {
    let (to_test, mut from_upstream) = mpsc::unbounded_channel();
    let upstream = Upstream::start(move |asked| {
        let response = match asked.method {
            Method::POST => {
                let (chunks, response) = written_by_hand(&ITSELF);
                to_test.send(chunks).unwrap();
                response
            }
            _ => respond(200, &[], "GET"),
        };
        async { response }
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    for (breaks, body) in [(true, "GET"), (false, "one two")] {
        let client = tokio::spawn(proxy.http.post(proxy.url("/a")).body("1").send());
        let chunks = from_upstream.recv().await.unwrap();
        chunks.send(chunk("one ")).unwrap();
        let response = client.await.unwrap().unwrap();
        chunks.send(chunk("two")).unwrap();
        if breaks {
            let reset = std::io::ErrorKind::ConnectionReset;
            chunks.send(Err(reset.into())).unwrap();
        }
        drop(chunks);
        assert_eq!(response.bytes().await.is_err(), breaks);
        assert_eq!(proxy.get("/a").await.body, body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_answer_is_kept_and_one_that_is_too_large_is_not() {
    let upstream = Upstream::start(async |asked| match asked.method {
        Method::POST => {
            let fields = [
                ("content-location", asked.target.as_str()),
                ("cache-control", "max-age=60"),
            ];
            let length = if asked.target == "/empty" { 0 } else { 1001 };
            respond(200, &fields, vec![b'x'; length])
        }
        _ => respond(200, &[], "GET"),
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[("object_max", "1000B")]).await;
    for (target, length, kept) in [("/empty", 0, ""), ("/large", 1001, "GET")] {
        let posted = proxy.send(Method::POST, target, &[], "1").await;
        assert_eq!(posted.body.len(), length);
        assert_eq!(proxy.get(target).await.body, kept);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_later_request_stored_or_changed_is_not_overwritten() {
    let (to_test, mut from_upstream) = mpsc::unbounded_channel();
    let upstream = Upstream::start(move |asked| {
        let response = match asked.method {
            Method::POST => {
                let (chunks, response) = written_by_hand(&ITSELF);
                to_test.send(chunks).unwrap();
                response
            }
            Method::PUT => respond(204, &[], ""),
            _ => respond(200, &[("cache-control", "max-age=60")], "GET"),
        };
        async { response }
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    for meanwhile in [Method::GET, Method::PUT] {
        let client = tokio::spawn(proxy.http.post(proxy.url("/a")).body("1").send());
        let chunks = from_upstream.recv().await.unwrap();
        chunks.send(chunk("POST")).unwrap();
        let response = client.await.unwrap().unwrap();
        proxy.send(meanwhile, "/a", &[], "").await;
        drop(chunks);
        assert_eq!(response.text().await.unwrap(), "POST");
        assert_eq!(proxy.get("/a").await.body, "GET");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_for_before_a_purge_or_an_unsafe_request_is_not_kept_after_it() {
    let gate = Arc::new(Semaphore::new(0));
    let opened = gate.clone();
    let upstream = Upstream::start(move |asked| {
        let gate = gate.clone();
        async move {
            match asked.method {
                Method::POST => {
                    gate.acquire().await.unwrap().forget();
                    respond(200, &ITSELF, "POST")
                }
                Method::PUT => respond(204, &[], ""),
                _ => respond(200, &[("cache-control", "max-age=60")], "GET"),
            }
        }
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    for how in ["nothing", "purge", "PUT"] {
        let before = upstream.count();
        let client = tokio::spawn(proxy.http.post(proxy.url("/a")).body("1").send());
        until("the POST is upstream", async || upstream.count() > before).await;
        match how {
            "purge" => drop(proxy.purge("/a").await),
            "PUT" => drop(proxy.send(Method::PUT, "/a", &[], "1").await),
            _ => {}
        }
        opened.add_permits(1);
        let response = client.await.unwrap().unwrap();
        assert_eq!(response.text().await.unwrap(), "POST");
        let expected = if how == "nothing" { "POST" } else { "GET" };
        assert_eq!(proxy.get("/a").await.body, expected, "{how}");
    }
}
