//! What the answer to a `HEAD` does to the stored answer to a `GET`.

use crate::support::proxy::Proxy;
use crate::support::upstream::{Asked, Upstream, respond};
use reqwest::Method;

type Fields = &'static [(&'static str, &'static str)];

/// A GET brings a response that is stale at once; a HEAD what is given.
async fn upstream(get: Fields, head_status: u16, head: Fields) -> Upstream {
    Upstream::start(move |asked| async move {
        match asked.method {
            Method::HEAD => respond(head_status, head, ""),
            _ => respond(200, get, "stored"),
        }
    })
    .await
}

const STALE: Fields = &[
    ("etag", "\"e\""),
    ("cache-control", "max-age=0"),
    ("x-kept", "1"),
    ("x-updated", "1"),
];

fn methods(upstream: &Upstream) -> Vec<Method> {
    let asked = upstream.asked();
    asked.into_iter().map(|asked: Asked| asked.method).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_is_sent_on_as_head_with_the_stored_conditions_and_a_304_freshens() {
    let new: Fields = &[
        ("etag", "\"e\""),
        ("cache-control", "max-age=60"),
        ("x-updated", "2"),
    ];
    let upstream = upstream(STALE, 304, new).await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    proxy.get("/a").await;
    let head = proxy.send(Method::HEAD, "/a", &[], "").await;
    assert_eq!((head.status, head.result()), (200, "REVALIDATED"));
    assert_eq!(head.field("content-length"), "6");
    assert_eq!(upstream.asked()[1].headers["if-none-match"], "\"e\"");
    let hit = proxy.get("/a").await;
    assert_eq!((hit.result(), hit.body.as_str()), ("HIT", "stored"));
    assert_eq!((hit.field("x-kept"), hit.field("x-updated")), ("1", "2"));
    assert_eq!(methods(&upstream), [Method::GET, Method::HEAD]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_200_that_agrees_updates_fields_and_freshness() {
    let new: Fields = &[
        ("etag", "\"e\""),
        ("content-length", "6"),
        ("cache-control", "max-age=60"),
        ("x-updated", "2"),
    ];
    let upstream = upstream(STALE, 200, new).await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    proxy.get("/a").await;
    let head = proxy.send(Method::HEAD, "/a", &[], "").await;
    assert_eq!((head.status, head.result()), (200, "REVALIDATED"));
    assert_eq!((head.field("x-kept"), head.field("x-updated")), ("1", "2"));
    let status = head.field("cache-status");
    assert!(
        status.starts_with("larder; fwd=stale; fwd-status=200; stored; ttl="),
        "{status}"
    );
    let hit = proxy.get("/a").await;
    assert_eq!((hit.result(), hit.body.as_str()), ("HIT", "stored"));
    assert_eq!(
        (hit.field("x-updated"), hit.field("content-length")),
        ("2", "6")
    );
    assert_eq!(methods(&upstream), [Method::GET, Method::HEAD]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_200_that_differs_ends_what_is_stored() {
    let disagreeing: [Fields; 2] = [
        &[("etag", "\"f\""), ("cache-control", "max-age=60")],
        &[
            ("etag", "\"e\""),
            ("content-length", "7"),
            ("cache-control", "max-age=60"),
        ],
    ];
    for new in disagreeing {
        // Fresh, so that only this client wants to know.
        let get: Fields = &[("etag", "\"e\""), ("cache-control", "max-age=60")];
        let upstream = upstream(get, 200, new).await;
        let proxy = Proxy::start(upstream.address, &[]).await;
        proxy.get("/a").await;
        let head = proxy
            .send(Method::HEAD, "/a", &[("cache-control", "no-cache")], "")
            .await;
        assert_eq!((head.status, head.result()), (200, "MISS"));
        assert_eq!(head.field("etag"), new[0].1);
        assert_eq!(proxy.get("/a").await.result(), "MISS");
        assert_eq!(methods(&upstream), [Method::GET, Method::HEAD, Method::GET]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_200_that_says_nothing_of_the_representation_confirms_it_by_the_letter_only() {
    for (profile, result) in [("rfc", "REVALIDATED"), ("safe", "MISS")] {
        let upstream = Upstream::start(async |asked| {
            let mut response = respond(200, &[("cache-control", "max-age=60")], "stored");
            if asked.method == Method::HEAD {
                // The upstream's library would add the length of a body that it knows.
                let unknown = futures_util::stream::pending();
                *response.body_mut() =
                    http_body_util::BodyExt::boxed(http_body_util::StreamBody::new(unknown));
            }
            response
        })
        .await;
        let proxy = Proxy::start(upstream.address, &[("profile", profile)]).await;
        proxy.get("/a").await;
        let no_cache = [("cache-control", "no-cache")];
        let head = proxy.send(Method::HEAD, "/a", &no_cache, "").await;
        assert_eq!((head.status, head.result()), (200, result));
        assert_eq!(proxy.get("/a").await.result(), "HIT");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_answers_pass_and_a_failing_upstream_may_be_stood_in_for() {
    for (status, shown, result) in [(410, 410, "MISS"), (503, 200, "STALE"), (501, 501, "MISS")] {
        let get: Fields = &[
            ("etag", "\"e\""),
            ("cache-control", "max-age=0, stale-if-error=60"),
        ];
        let upstream = upstream(get, status, &[("cache-control", "max-age=60")]).await;
        let proxy = Proxy::start(upstream.address, &[]).await;
        proxy.get("/a").await;
        let head = proxy.send(Method::HEAD, "/a", &[], "").await;
        assert_eq!((head.status, head.result()), (shown, result));
        let asked = upstream.asked();
        proxy.get("/a").await;
        assert_eq!(
            upstream.count(),
            asked.len() + 1,
            "it is as stale as before"
        );
        assert_eq!(upstream.asked()[2].headers["if-none-match"], "\"e\"");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_200_says_nothing_of_a_stored_error() {
    let upstream = Upstream::start(async |asked| match asked.method {
        Method::HEAD => respond(
            200,
            &[("cache-control", "max-age=60"), ("content-length", "9")],
            "",
        ),
        _ => respond(
            404,
            &[(
                "cache-control",
                "max-age=0, stale-while-revalidate=0, stale-if-error=60",
            )],
            "not there",
        ),
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    assert_eq!(proxy.get("/a").await.status, 404);
    let head = proxy.send(Method::HEAD, "/a", &[], "").await;
    assert_eq!((head.status, head.result()), (200, "MISS"));
    assert_eq!(proxy.get("/a").await.result(), "MISS");
}
