//! One of several stored responses, named by the upstream.

use crate::support::proxy::Proxy;
use crate::support::upstream::{Upstream, respond};

/// Answers in the language that is asked for, with its tag; `de` and `at` have the same. Honours `If-None-Match`.
async fn languages() -> Upstream {
    Upstream::start(async |asked| {
        let language = asked.headers.get("accept-language");
        let language = language.map_or("en", |language| language.to_str().unwrap());
        let tag = match language {
            "de" | "at" => "\"german\"",
            _ => "\"english\"",
        };
        let fields = [
            ("etag", tag),
            ("vary", "accept-language"),
            ("cache-control", "max-age=60"),
            ("x-asked-in", language),
        ];
        let conditions = asked.headers.get("if-none-match");
        match conditions.is_some_and(|tags| tags.to_str().unwrap().contains(tag)) {
            true => respond(304, &fields, ""),
            false => respond(200, &fields, tag),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_upstream_is_told_all_tags_and_the_one_it_names_is_served_and_stored() {
    let upstream = languages().await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    proxy.get_with("/a", &[("accept-language", "en")]).await;
    proxy.get_with("/a", &[("accept-language", "de")]).await;
    let asked = upstream.asked();
    assert_eq!(asked[1].headers["if-none-match"], "\"english\"");
    let at = [("accept-language", "at")];
    let named = proxy.get_with("/a", &at).await;
    assert_eq!((named.status, named.body.as_str()), (200, "\"german\""));
    assert_eq!(named.result(), "REVALIDATED");
    assert!(
        named
            .field("cache-status")
            .starts_with("larder; fwd=vary-miss; fwd-status=304; stored; ttl=")
    );
    assert_eq!(named.field("x-asked-in"), "at");
    let sent = upstream.asked()[2].headers["if-none-match"].clone();
    assert_eq!(sent, "\"german\", \"english\"");
    for (language, tag) in [
        ("at", "\"german\""),
        ("de", "\"german\""),
        ("en", "\"english\""),
    ] {
        let hit = proxy.get_with("/a", &[("accept-language", language)]).await;
        assert_eq!((hit.result(), hit.body.as_str()), ("HIT", tag));
        assert_eq!(hit.field("x-asked-in"), language, "each is its own");
    }
    assert_eq!(upstream.count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_a_copy_of_its_own_is_answered_by_the_one_that_was_named() {
    let upstream = languages().await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    proxy.get_with("/a", &[("accept-language", "de")]).await;
    for (tag, status) in [("\"german\"", 304), ("\"other\"", 200)] {
        let fields = [("accept-language", "at"), ("if-none-match", tag)];
        assert_eq!(proxy.get_with("/a", &fields).await.status, status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_304_that_names_none_of_them_is_asked_again_without_conditions() {
    for new in [&[("etag", "\"unknown\"")][..], &[]] {
        let upstream = Upstream::start(move |asked| async move {
            let fields = [
                ("etag", "\"a\""),
                ("vary", "x"),
                ("cache-control", "max-age=60"),
            ];
            match asked.headers.contains_key("if-none-match") {
                true => respond(304, new, ""),
                false => respond(200, &fields, "whole"),
            }
        })
        .await;
        let proxy = Proxy::start(upstream.address, &[]).await;
        proxy.get_with("/a", &[("x", "1")]).await;
        let got = proxy.get_with("/a", &[("x", "2")]).await;
        assert_eq!((got.status, got.body.as_str()), (200, "whole"));
        assert_eq!(upstream.count(), 3);
        assert!(!upstream.asked()[2].headers.contains_key("if-none-match"));
        assert_eq!(proxy.get_with("/a", &[("x", "2")]).await.result(), "HIT");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_caller_is_offered_nothing_that_is_not_marked_as_shared() {
    let upstream = Upstream::start(async |asked| {
        let fields = [
            ("etag", "\"a\""),
            ("vary", "x"),
            ("cache-control", "max-age=60"),
        ];
        assert!(!asked.headers.contains_key("if-none-match"));
        respond(200, &fields, "whole")
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    proxy.get_with("/a", &[("x", "1")]).await;
    let got = proxy.get_with("/a", &[("x", "2"), ("cookie", "me")]).await;
    assert_eq!((got.status, got.body.as_str()), (200, "whole"));
    assert_eq!(upstream.count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_304_that_changes_what_selects_is_found_by_that() {
    let upstream = Upstream::start(async |asked| {
        let vary = |name| {
            [
                ("etag", "\"a\""),
                ("vary", name),
                ("cache-control", "max-age=60"),
            ]
        };
        match asked.headers.contains_key("if-none-match") {
            true => respond(304, &vary("y"), ""),
            false => respond(200, &vary("x"), "whole"),
        }
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    proxy.get_with("/a", &[("x", "1"), ("y", "1")]).await;
    let no_cache = [("x", "1"), ("y", "2"), ("cache-control", "no-cache")];
    assert_eq!(
        proxy.get_with("/a", &no_cache).await.result(),
        "REVALIDATED"
    );
    assert_eq!(
        proxy
            .get_with("/a", &[("x", "9"), ("y", "2")])
            .await
            .result(),
        "HIT"
    );
    assert_eq!(
        proxy
            .get_with("/a", &[("x", "1"), ("y", "1")])
            .await
            .result(),
        "REVALIDATED"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validation_by_a_client_that_forbids_storing_leaves_what_is_stored() {
    let upstream = Upstream::start(async |asked| {
        let fields = [("etag", "\"a\""), ("cache-control", "max-age=0")];
        match asked.headers.contains_key("if-none-match") {
            true => respond(304, &fields, ""),
            false => respond(200, &fields, "whole"),
        }
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    proxy.get("/a").await;
    for fields in [&[("cache-control", "no-store")][..], &[]] {
        assert_eq!(proxy.get_with("/a", fields).await.result(), "REVALIDATED");
    }
}

/// As frameworks do that make a weak tag of the content and compress afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn a_weak_tag_that_two_codings_share_brings_nobody_a_coding_that_was_not_accepted() {
    let upstream = Upstream::start(async |asked| {
        let mut fields = vec![
            ("etag", "W/\"a\""),
            ("vary", "accept-encoding"),
            ("cache-control", "max-age=60"),
        ];
        let accepted = asked.headers.get("accept-encoding");
        let zips = accepted.is_some_and(|accepted| accepted.to_str().unwrap().contains("gzip"));
        if zips {
            fields.push(("content-encoding", "gzip"));
        }
        if asked.headers.contains_key("if-none-match") {
            return respond(304, &fields, "");
        }
        respond(200, &fields, if zips { "compressed" } else { "plain" })
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    let gzip = [("accept-encoding", "gzip")];
    assert_eq!(proxy.get_with("/a", &gzip).await.body, "compressed");
    let plain = proxy
        .get_with("/a", &[("accept-encoding", "identity")])
        .await;
    assert_eq!(plain.field("content-encoding"), "");
    assert_eq!(plain.body, "plain");
    // What is not encoded suits everybody, and stays what it is.
    for accepted in ["br", "x, gzip"] {
        let third = proxy.get_with("/a", &[("accept-encoding", accepted)]).await;
        let coding = third.field("content-encoding");
        let expected = if third.body == "plain" { "" } else { "gzip" };
        assert_eq!((third.result(), coding), ("REVALIDATED", expected));
    }
}
