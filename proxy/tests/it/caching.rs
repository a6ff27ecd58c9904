//! What a client sees of the cache: hits, keys, lifetimes, conditions, identity.

use crate::support::proxy::Proxy;
use crate::support::upstream::{Upstream, counting, respond};
use crate::support::wait::until;
use reqwest::Method;

#[tokio::test(flavor = "multi_thread")]
async fn the_second_request_is_a_hit_with_an_age_and_the_same_bytes() {
    let upstream = counting("max-age=60").await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    let first = proxy.get("/articles?category=technology").await;
    assert_eq!(
        (first.status, first.result(), first.body.as_str()),
        (200, "MISS", "1")
    );
    assert_eq!(
        first.field("cache-status"),
        "larder; fwd=uri-miss; fwd-status=200; stored"
    );
    assert_eq!(first.field("age"), "");
    let second = proxy.get("/articles?category=technology").await;
    assert_eq!(
        (second.status, second.result(), second.body.as_str()),
        (200, "HIT", "1")
    );
    assert!(
        second
            .field("cache-status")
            .starts_with("larder; hit; ttl="),
        "{second:?}"
    );
    assert!(second.field("age").parse::<u32>().unwrap() <= 60);
    assert_eq!(upstream.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_order_of_parameters_and_tracking_ones_are_the_same_url_and_other_values_another() {
    let upstream = counting("max-age=60").await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    proxy.get("/a?b=2&a=1").await;
    assert_eq!(
        proxy
            .get("/a?a=1&b=2&utm_source=mail&gclid=x")
            .await
            .result(),
        "HIT"
    );
    assert_eq!(proxy.get("/%61?a=1&b=2").await.result(), "HIT");
    assert_eq!(proxy.get("/a?a=1&b=3").await.result(), "MISS");
    assert_eq!(proxy.get("/A?a=1&b=2").await.result(), "MISS");
    assert_eq!(
        upstream.asked()[0].target,
        "/a?a=1&b=2",
        "what is keyed is what is forwarded"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn head_is_answered_from_what_get_stored() {
    let upstream = counting("max-age=60").await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    let cold = proxy.send(Method::HEAD, "/a", &[], "").await;
    assert_eq!(
        (cold.status, cold.result(), cold.body.as_str()),
        (200, "MISS", "")
    );
    assert_eq!(upstream.asked()[0].method, Method::HEAD);
    assert_eq!(proxy.get("/a").await.body, "2");
    let warm = proxy.send(Method::HEAD, "/a", &[], "").await;
    assert_eq!(
        (
            warm.result(),
            warm.field("content-length"),
            warm.body.as_str()
        ),
        ("HIT", "1", "")
    );
    assert_eq!(upstream.count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_origin_forbids_is_not_stored_and_the_answer_says_why() {
    for (cache_control, code) in [("no-store", "no-store"), ("private", "private")] {
        let upstream = counting(cache_control).await;
        let proxy = Proxy::start(upstream.address, &[]).await;
        let first = proxy.get("/a").await;
        assert_eq!((first.result(), first.field("age")), ("MISS", ""));
        assert!(
            first
                .field("cache-status")
                .ends_with(&format!("detail={code}")),
            "{first:?}"
        );
        assert_eq!(proxy.get("/a").await.body, "2");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_copy_is_good_gets_304_from_hit_and_miss_alike() {
    let upstream = Upstream::start(async |_| {
        respond(
            200,
            &[("cache-control", "max-age=60"), ("etag", "\"e\"")],
            "body",
        )
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    let conditional = async || proxy.get_with("/a", &[("if-none-match", "W/\"e\"")]).await;
    let miss = conditional().await;
    assert_eq!((miss.status, miss.result()), (304, "MISS"));
    // The client has its answer before the body has come in for others.
    until("the response is stored", async || {
        conditional().await.result() == "HIT"
    })
    .await;
    let hit = conditional().await;
    assert_eq!(
        (hit.status, hit.field("etag"), hit.body.as_str()),
        (304, "\"e\"", "")
    );
    assert_eq!(
        proxy
            .get_with("/a", &[("if-none-match", "\"other\"")])
            .await
            .body,
        "body"
    );
    assert_eq!(upstream.count(), 1);
    assert!(
        !upstream.asked()[0].headers.contains_key("if-none-match"),
        "a stored answer must be whole"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_response_is_validated_and_served_when_it_still_holds() {
    let upstream = Upstream::start(async |asked| match asked.headers.get("if-none-match") {
        Some(_) => respond(
            304,
            &[
                ("etag", "\"e\""),
                ("cache-control", "max-age=60"),
                ("x-new", "yes"),
            ],
            "",
        ),
        None => respond(
            200,
            &[("etag", "\"e\""), ("cache-control", "max-age=0")],
            "body",
        ),
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    assert_eq!(proxy.get("/a").await.result(), "MISS");
    let again = proxy.get("/a").await;
    assert_eq!(
        (
            again.status,
            again.result(),
            again.body.as_str(),
            again.field("x-new")
        ),
        (200, "REVALIDATED", "body", "yes")
    );
    let fresh = proxy.get("/a").await;
    assert_eq!((fresh.result(), fresh.field("x-new")), ("HIT", "yes"));
    assert_eq!(upstream.count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_304_about_something_else_gives_its_turn_to_the_fetch_that_follows() {
    let upstream = Upstream::start(async |asked| match asked.headers.get("if-none-match") {
        Some(_) => respond(304, &[("etag", "\"other\"")], ""),
        None => respond(
            200,
            &[("etag", "\"e\""), ("cache-control", "max-age=0")],
            "body",
        ),
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[("origin_concurrency", "1")]).await;
    proxy.get("/a").await;
    let again = proxy.get("/a").await;
    assert_eq!((again.status, again.body.as_str()), (200, "body"));
    assert_eq!(upstream.count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_304_that_forbids_keeping_ends_what_is_stored_and_the_answer_doesn_t_claim_otherwise() {
    let upstream =
        Upstream::start(
            async |asked| match asked.headers.contains_key("if-none-match") {
                true => respond(304, &[("cache-control", "no-store")], ""),
                false => respond(
                    200,
                    &[("cache-control", "max-age=0"), ("etag", "\"a\"")],
                    "content",
                ),
            },
        )
        .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    assert!(
        proxy
            .get("/a")
            .await
            .field("cache-status")
            .contains("stored")
    );
    let validated = proxy.get("/a").await;
    assert_eq!(
        (validated.result(), validated.body.as_str()),
        ("REVALIDATED", "content")
    );
    assert!(
        !validated.field("cache-status").contains("stored"),
        "{validated:?}"
    );
    assert_eq!(proxy.get("/a").await.result(), "MISS");
}

#[tokio::test(flavor = "multi_thread")]
async fn vary_keeps_variants_apart_and_one_url_s_purge_takes_them_all() {
    let upstream = Upstream::start(async |asked| {
        let language = asked
            .headers
            .get("accept-language")
            .map_or("none", |value| value.to_str().unwrap())
            .to_owned();
        respond(
            200,
            &[("cache-control", "max-age=60"), ("vary", "Accept-Language")],
            language,
        )
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    for language in ["de", "en"] {
        assert_eq!(
            proxy
                .get_with("/a", &[("accept-language", language)])
                .await
                .result(),
            "MISS"
        );
    }
    for language in ["de", "en"] {
        let got = proxy.get_with("/a", &[("accept-language", language)]).await;
        assert_eq!((got.result(), got.body.as_str()), ("HIT", language));
    }
    assert!(
        proxy
            .get("/a")
            .await
            .field("cache-status")
            .contains("fwd=vary-miss")
    );
    assert_eq!(proxy.purge(&proxy.url("/a?utm_source=x")).await.status, 200);
    for language in ["de", "en"] {
        assert_eq!(
            proxy
                .get_with("/a", &[("accept-language", language)])
                .await
                .result(),
            "MISS"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_route_keys_makes_variants_and_one_url_s_purge_takes_them_all() {
    let upstream = Upstream::start(async |asked| {
        let proto = asked.headers.get("x-forwarded-proto");
        let proto = proto.map_or("none", |value| value.to_str().unwrap());
        respond(200, &[("cache-control", "max-age=60")], proto.to_owned())
    })
    .await;
    let toml = "[[route]]\npath = \"/*\"\nkeyed_fields = [\"X-Forwarded-Proto\"]";
    let proxy = Proxy::start_with_file(upstream.address, toml).await;
    for result in ["MISS", "HIT"] {
        for proto in ["http", "https"] {
            let answer = proxy.get_with("/a", &[("x-forwarded-proto", proto)]).await;
            assert_eq!((answer.result(), answer.body.as_str()), (result, proto));
        }
        assert_eq!(proxy.get("/a").await.body, "none");
    }
    assert_eq!(proxy.purge(&proxy.url("/a")).await.status, 200);
    for proto in ["http", "https"] {
        let answer = proxy.get_with("/a", &[("x-forwarded-proto", proto)]).await;
        assert_eq!(answer.result(), "MISS", "{proto}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_by_path_takes_the_path_on_every_host() {
    let upstream = counting("max-age=60").await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    for host in ["one.example", "two.example"] {
        proxy.get_with("/a", &[("host", host)]).await;
    }
    let purged = proxy.purge("/a").await;
    assert_eq!(purged.status, 200, "{purged:?}");
    for host in ["one.example", "two.example"] {
        assert_eq!(
            proxy.get_with("/a", &[("host", host)]).await.result(),
            "MISS"
        );
    }
    assert_eq!(proxy.purge("not a url").await.status, 400);
    assert_eq!(proxy.purge("http://bad host/").await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsafe_method_passes_and_makes_its_url_and_what_it_names_stale() {
    let upstream = Upstream::start(async |asked| match asked.method {
        Method::GET => respond(200, &[("cache-control", "max-age=60")], "get"),
        _ => respond(201, &[("location", "/b?x=1")], asked.body),
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    for target in ["/a?q=1&p=2", "/b?x=1", "/c"] {
        proxy.get(target).await;
    }
    let posted = proxy.send(Method::POST, "/a?q=1&p=2", &[], "content").await;
    assert_eq!(
        (posted.status, posted.result(), posted.body.as_str()),
        (201, "BYPASS", "content")
    );
    assert_eq!(
        posted.field("cache-status"),
        "larder; fwd=method; fwd-status=201"
    );
    assert_eq!(proxy.get("/a?p=2&q=1").await.result(), "MISS");
    assert_eq!(proxy.get("/b?x=1").await.result(), "MISS");
    assert_eq!(proxy.get("/c").await.result(), "HIT");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsafe_method_that_fails_changes_nothing() {
    let upstream = Upstream::start(async |asked| match asked.method {
        Method::GET => respond(200, &[("cache-control", "max-age=60")], "get"),
        _ => respond(403, &[], ""),
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    proxy.get("/a").await;
    assert_eq!(proxy.send(Method::DELETE, "/a", &[], "").await.status, 403);
    assert_eq!(proxy.get("/a").await.result(), "HIT");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_an_answer_that_was_made_for_a_named_caller() {
    let upstream = Upstream::start(async |asked| {
        let who = asked
            .headers
            .get("cookie")
            .map_or("nobody", |value| value.to_str().unwrap())
            .to_owned();
        respond(200, &[("cache-control", "max-age=60")], who)
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    assert_eq!(proxy.get_with("/a", &[("cookie", "ann")]).await.body, "ann");
    assert_eq!(proxy.get_with("/a", &[("cookie", "bob")]).await.body, "bob");
    assert_eq!(proxy.get("/a").await.body, "nobody");
    assert_eq!(
        proxy.get_with("/a", &[("cookie", "ann")]).await.body,
        "ann",
        "nor does a caller get the anonymous one"
    );
    assert_eq!(proxy.get("/a").await.result(), "HIT");
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_share_what_is_marked_as_shared() {
    let upstream = counting("public, max-age=60").await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    assert_eq!(
        proxy
            .get_with("/a", &[("authorization", "Bearer ann")])
            .await
            .result(),
        "MISS"
    );
    assert_eq!(
        proxy
            .get_with("/a", &[("authorization", "Bearer bob")])
            .await
            .result(),
        "HIT"
    );
    assert_eq!(proxy.get("/a").await.result(), "HIT");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_sets_a_cookie_is_stored_in_neither_order() {
    let upstream = Upstream::start(async |_| {
        respond(
            200,
            &[
                ("cache-control", "public, max-age=60"),
                ("set-cookie", "id=1"),
            ],
            "x",
        )
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    for _ in 0..2 {
        let got = proxy.get("/a").await;
        assert_eq!((got.result(), got.field("set-cookie")), ("MISS", "id=1"));
    }
    assert_eq!(upstream.count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_s_ttl_holds_where_the_origin_says_nothing() {
    let upstream = Upstream::start(async |_| respond(200, &[], "x")).await;
    let proxy = Proxy::start_with_file(
        upstream.address,
        "[[route]]\npath = \"/articles*\"\nttl = \"5m\"\n",
    )
    .await;
    proxy.get("/articles?x=1").await;
    assert_eq!(proxy.get("/articles?x=1").await.result(), "HIT");
    proxy.get("/other").await;
    assert_eq!(proxy.get("/other").await.result(), "MISS");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_if_cached_is_never_forwarded() {
    let upstream = counting("max-age=60").await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    let cold = proxy
        .get_with("/a", &[("cache-control", "only-if-cached")])
        .await;
    assert_eq!(
        (cold.status, cold.result(), upstream.count()),
        (504, "MISS", 0)
    );
    assert_eq!(cold.field("content-type"), "application/problem+json");
    proxy.get("/a").await;
    assert_eq!(
        proxy
            .get_with("/a", &[("cache-control", "only-if-cached")])
            .await
            .result(),
        "HIT"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_cache_and_no_store_in_a_request_ask_the_origin() {
    let upstream = counting("max-age=60").await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    proxy.get("/a").await;
    assert_eq!(
        proxy
            .get_with("/a", &[("cache-control", "no-cache")])
            .await
            .body,
        "2"
    );
    assert_eq!(proxy.get("/a").await.body, "2", "its answer is stored");
    assert_eq!(
        proxy
            .get_with("/b", &[("cache-control", "no-store")])
            .await
            .body,
        "3"
    );
    assert_eq!(proxy.get("/b").await.result(), "MISS", "that one's is not");
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_are_not_keyed_do_not_reach_a_cacheable_answer() {
    let upstream = Upstream::start(async |asked| {
        let seen = format!("{:?}", asked.headers);
        respond(200, &[("cache-control", "max-age=60")], seen)
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    let poison = [
        ("x-forwarded-host", "evil.example"),
        ("x-original-url", "/admin"),
        ("x-http-method-override", "DELETE"),
    ];
    let got = proxy.get_with("/a", &poison).await;
    assert!(
        !got.body.contains("evil") && !got.body.contains("admin") && !got.body.contains("DELETE"),
        "{}",
        got.body
    );
    assert!(got.body.contains("\"via\": \"1.1 larder-"), "{}", got.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn hop_by_hop_fields_are_neither_stored_nor_sent() {
    let upstream = Upstream::start(async |_| {
        let fields = [
            ("cache-control", "max-age=60"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("x-end", "2"),
        ];
        respond(200, &fields, "x")
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    for result in ["MISS", "HIT"] {
        let got = proxy.get("/a").await;
        assert_eq!(
            (
                got.result(),
                got.field("x-hop"),
                got.field("keep-alive"),
                got.field("x-end")
            ),
            (result, "", "", "2")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_api_could_understand_differently_passes_unkeyed_and_unchanged() {
    let upstream = counting("max-age=60").await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    for target in ["/a/../b", "/a/%2e%2e/b", "/a/%2E/b"] {
        for _ in 0..2 {
            let answer = proxy
                .raw(
                    format!(
                        "GET {target}?b=1&a=2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
                    )
                    .as_bytes(),
                )
                .await;
            assert!(answer.contains("X-Cache: BYPASS"), "{answer}");
        }
        assert_eq!(
            upstream.asked().last().unwrap().target,
            format!("{target}?b=1&a=2")
        );
    }
    assert_eq!(upstream.count(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_with_content_passes_and_is_never_stored() {
    let upstream = counting("max-age=60").await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    for number in ["1", "2"] {
        let got = proxy.send(Method::GET, "/a", &[], "content").await;
        assert_eq!((got.result(), got.body.as_str()), ("BYPASS", number));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_not_served_is_refused_and_each_served_one_is_keyed_apart() {
    let upstream = counting("max-age=60").await;
    let proxy =
        Proxy::start_with_file(upstream.address, "hosts = [\"a.example\", \"b.example\"]\n").await;
    assert_eq!(
        proxy.get_with("/x", &[("host", "a.example")]).await.body,
        "1"
    );
    assert_eq!(
        proxy.get_with("/x", &[("host", "b.example")]).await.body,
        "2"
    );
    assert_eq!(
        proxy
            .get_with("/x", &[("host", "A.example:80")])
            .await
            .result(),
        "HIT"
    );
    let other = proxy.get_with("/x", &[("host", "evil.example")]).await;
    assert_eq!((other.status, other.result()), (421, "ERROR"));
    let posted = proxy
        .send(Method::POST, "/x", &[("host", "evil.example")], "y")
        .await;
    assert_eq!(posted.status, 421);
    assert_eq!(upstream.count(), 2);
}
