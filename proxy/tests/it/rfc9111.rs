//! What RFC 9111 demands and no other story tells: what is stored of an answer, what validation changes, and what passes
//! through untouched. `docs/rfc9111.md` says which test holds which requirement.

use crate::flights::{chunk, written_by_hand};
use crate::support::proxy::{Got, Proxy, got};
use crate::support::redis::PrivateRedis;
use crate::support::upstream::{Upstream, counting, respond};
use crate::support::wait::until;
use reqwest::Method;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// An upstream that answers every request of every connection with these bytes.
async fn raw_upstream(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while let Ok(byte) = stream.read_u8().await {
                    head.push(byte);
                    if head.ends_with(b"\r\n\r\n") {
                        head.clear();
                        let _ = stream.write_all(answer).await;
                    }
                }
            });
        }
    });
    address
}

fn all<'a>(got: &'a Got, name: &str) -> Vec<&'a str> {
    let values = got.headers.get_all(name).iter();
    values.map(|value| value.to_str().unwrap()).collect()
}

async fn by_the_letter(upstream: &Upstream) -> Proxy {
    Proxy::start(upstream.address, &[("profile", "rfc")]).await
}

/// §3.1
#[tokio::test(flavor = "multi_thread")]
async fn every_field_of_an_answer_is_stored_unknown_ones_and_repeats_too() {
    let fields = [
        ("cache-control", "max-age=60"),
        ("x-never-heard-of", "a, \"b, c\";d=1"),
        ("x-twice", "2"),
        ("x-twice", "1"),
        ("x-empty", ""),
        ("content-language", "de"),
        ("link", "</a>; rel=next"),
        ("link", "</b>; rel=prev"),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("warning", "199 - \"odd\""),
    ];
    let upstream = Upstream::start(move |_| async move { respond(200, &fields, "x") }).await;
    let proxy = by_the_letter(&upstream).await;
    for result in ["MISS", "HIT"] {
        let got = proxy.get("/a").await;
        assert_eq!(got.result(), result);
        for (name, _) in fields {
            let sent: Vec<_> = fields.iter().filter(|field| field.0 == name).collect();
            let sent: Vec<_> = sent.into_iter().map(|field| field.1).collect();
            assert_eq!(all(&got, name), sent, "{result}: {name}");
        }
    }
}

/// §3.1
#[tokio::test(flavor = "multi_thread")]
async fn what_concerns_the_upstream_s_proxy_is_not_stored() {
    let upstream = Upstream::start(async |_| {
        let fields = [
            ("cache-control", "max-age=60"),
            ("proxy-authenticate", "Basic realm=\"x\""),
            ("proxy-authentication-info", "nextnonce=\"1\""),
            ("proxy-authorization", "Basic eDp5"),
        ];
        respond(200, &fields, "x")
    })
    .await;
    let proxy = by_the_letter(&upstream).await;
    proxy.get("/a").await;
    let hit = proxy.get("/a").await;
    assert_eq!(hit.result(), "HIT");
    for name in [
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
    ] {
        assert_eq!(all(&hit, name), Vec::<&str>::new(), "{name}");
    }
}

/// §3.1
#[tokio::test(flavor = "multi_thread")]
async fn a_trailer_never_becomes_a_field() {
    let address = raw_upstream(
        b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, Cache-Control\r\n\
          X-Field: 1\r\n\r\n4\r\nbody\r\n0\r\nX-Sum: 2\r\nX-Field: 3\r\nCache-Control: no-store\r\n\r\n",
    )
    .await;
    let proxy = Proxy::start(address, &[]).await;
    for result in ["MISS", "HIT"] {
        let got = proxy.get("/a").await;
        assert_eq!((got.result(), got.body.as_str()), (result, "body"));
        assert_eq!(all(&got, "x-sum"), Vec::<&str>::new(), "{result}");
        assert_eq!(all(&got, "x-field"), ["1"], "{result}");
        assert_eq!(all(&got, "cache-control"), ["max-age=60"], "{result}");
    }
}

/// §3.5
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_authorization_is_for_others_only_by_leave_and_on_its_terms() {
    let upstream = Upstream::start(async |asked| {
        let cache_control = match asked.target.as_str() {
            "/silent" => "max-age=60",
            "/fresh" => "max-age=60, must-revalidate",
            _ => "max-age=0, must-revalidate",
        };
        match asked.headers.contains_key("if-none-match") {
            true => respond(304, &[("cache-control", cache_control)], ""),
            false => respond(
                200,
                &[("cache-control", cache_control), ("etag", "\"e\"")],
                "x",
            ),
        }
    })
    .await;
    let proxy = by_the_letter(&upstream).await;
    for (target, second) in [
        ("/silent", "MISS"),
        ("/fresh", "HIT"),
        ("/stale", "REVALIDATED"),
    ] {
        let ann = proxy
            .get_with(target, &[("authorization", "Basic eDp5")])
            .await;
        assert_eq!(ann.result(), "MISS", "{target}");
        assert_eq!(proxy.get(target).await.result(), second, "{target}");
    }
}

/// §4, §5.1
#[tokio::test(flavor = "multi_thread")]
async fn a_stored_answer_has_one_age_and_that_is_ours() {
    let upstream = Upstream::start(async |_| {
        let fields = [("cache-control", "max-age=600"), ("age", "100")];
        respond(200, &fields, "x")
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    proxy.get("/a").await;
    for (status, condition) in [(200, ""), (304, "*")] {
        let hit = proxy.get_with("/a", &[("if-none-match", condition)]).await;
        assert_eq!((hit.status, hit.result()), (status, "HIT"));
        let ages = all(&hit, "age");
        let [age] = ages[..] else {
            panic!("not one age: {ages:?}");
        };
        let age: u64 = age.parse().unwrap();
        let ttl = format!("; ttl={}", 600 - age);
        assert!((100..160).contains(&age), "{age}");
        assert!(hit.field("cache-status").ends_with(&ttl), "{hit:?}");
    }
}

/// §4: what came for another request is as good as stored, and has its age; what only that one may have stays there.
#[tokio::test(flavor = "multi_thread")]
async fn who_joins_another_s_answer_gets_an_age_and_no_private_field() {
    let (to_test, mut from_upstream) = mpsc::unbounded_channel();
    let upstream = Upstream::start(move |_| {
        let fields = [
            ("cache-control", "max-age=600, private=x-mine"),
            ("age", "100, 7"),
            ("x-mine", "1"),
        ];
        let (chunks, response) = written_by_hand(&fields);
        to_test.send(chunks).unwrap();
        async { response }
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    let leader = tokio::spawn(proxy.http.get(proxy.url("/a")).send());
    let chunks = from_upstream.recv().await.unwrap();
    chunks.send(chunk("x")).unwrap();
    let leader = leader.await.unwrap().unwrap();
    let joined = proxy.http.get(proxy.url("/a")).send().await.unwrap();
    drop(chunks);
    let (leader, joined) = (got(leader).await, got(joined).await);
    assert_eq!((leader.body.as_str(), joined.body.as_str()), ("x", "x"));
    assert!(
        joined.field("cache-status").ends_with("; collapsed"),
        "{joined:?}"
    );
    assert_eq!(
        (all(&leader, "age"), leader.field("x-mine")),
        (vec!["100, 7"], "1")
    );
    let age: u64 = joined.field("age").parse().unwrap();
    assert!((100..160).contains(&age), "{age}");
    assert_eq!((all(&joined, "age").len(), joined.field("x-mine")), (1, ""));
    assert_eq!(upstream.count(), 1);
}

/// An upstream that knows only one representation, `"old"`, until it is asked for `/changed`, where it has `"new"`.
async fn validating() -> Upstream {
    Upstream::start(async |asked| {
        let named = asked
            .headers
            .get("if-none-match")
            .map(|tag| tag.to_str().unwrap().to_owned());
        match (asked.target.as_str(), named.as_deref()) {
            ("/changed", Some(_)) => respond(
                200,
                &[("cache-control", "max-age=60"), ("etag", "\"new\"")],
                "new",
            ),
            // About a representation that nobody asked for.
            ("/confused", Some(_)) => respond(
                304,
                &[
                    ("cache-control", "max-age=60"),
                    ("etag", "\"other\""),
                    ("x-of", "304"),
                ],
                "",
            ),
            (_, Some("\"old\"")) => respond(
                304,
                &[
                    ("cache-control", "max-age=60"),
                    ("etag", "\"old\""),
                    ("x-of", "304"),
                ],
                "",
            ),
            _ => respond(
                200,
                &[("cache-control", "max-age=0"), ("etag", "\"old\"")],
                "old",
            ),
        }
    })
    .await
}

/// §4.3.2
#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_another_tag_gets_the_validated_answer_whole() {
    let upstream = validating().await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    for (target, tag, status, body) in [
        ("/a", "\"mine\"", 200, "old"),
        ("/b", "\"old\"", 304, ""),
        ("/c", "\"mine\", \"old\"", 304, ""),
    ] {
        proxy.get(target).await;
        let got = proxy.get_with(target, &[("if-none-match", tag)]).await;
        assert_eq!(
            (got.status, got.result(), got.body.as_str()),
            (status, "REVALIDATED", body)
        );
        assert_eq!(got.field("etag"), "\"old\"");
        let asked = upstream.asked().pop().unwrap();
        assert_eq!(asked.headers["if-none-match"], "\"old\"", "ours alone");
    }
}

/// §4.3.2
#[tokio::test(flavor = "multi_thread")]
async fn a_condition_is_judged_only_by_what_is_stored() {
    let upstream = Upstream::start(async |asked| {
        let fields = |cache_control| [("cache-control", cache_control), ("etag", "\"e\"")];
        match asked.target.as_str() {
            // The origin's own answer, whatever it makes of conditions.
            "/unstored" => respond(200, &fields("no-store"), "x"),
            _ => respond(200, &fields("max-age=60"), "x"),
        }
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    let condition = [("if-none-match", "\"e\"")];
    for (method, target, status) in [
        (Method::GET, "/unstored", 200),
        (Method::GET, "/unstored", 200),
        (Method::HEAD, "/unstored", 200),
        (Method::POST, "/stored", 200),
        (Method::GET, "/stored", 304),
        (Method::HEAD, "/stored", 304),
        (Method::POST, "/stored", 200),
    ] {
        let got = proxy.send(method.clone(), target, &condition, "").await;
        assert_eq!(got.status, status, "{method} {target}");
        if (&method, target) == (&Method::GET, "/stored") {
            // The 304 is sent before the body has come in for others.
            until("it is stored", async || {
                proxy.get(target).await.result() == "HIT"
            })
            .await;
        }
    }
    proxy.get("/stored").await;
    let passed = proxy
        .get_with("/stored", &[("if-match", "\"other\"")])
        .await;
    assert_eq!((passed.status, passed.result()), (200, "BYPASS"));
    let asked = upstream.asked().pop().unwrap();
    assert_eq!(asked.headers["if-match"], "\"other\"");
}

/// §4.3.2
#[tokio::test(flavor = "multi_thread")]
async fn the_tag_of_a_stored_part_is_offered_to_nobody_who_wants_more() {
    let upstream = Upstream::start(async |asked| {
        let fields = |tag| {
            [
                ("cache-control", "max-age=60"),
                ("vary", "accept-language"),
                ("etag", tag),
                ("content-range", "bytes 0-3/8"),
            ]
        };
        match asked.headers.get("range").map(|range| range.as_bytes()) {
            Some(b"bytes=0-3") => respond(206, &fields("\"part\""), "part"),
            _ => respond(200, &fields("\"whole\"")[..3], "all of it"),
        }
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    for (language, range, status) in [
        ("de", "bytes=0-3", 206),
        ("en", "", 200),
        ("fr", "bytes=4-7", 200),
    ] {
        let mut fields = vec![("accept-language", language)];
        fields.extend((!range.is_empty()).then_some(("range", range)));
        let got = proxy.get_with("/a", &fields).await;
        // A range of what came whole may be cut out of it.
        assert!(
            got.status == status || got.status == 206 && status == 200 && !range.is_empty(),
            "{got:?}"
        );
    }
    for asked in upstream.asked() {
        let conditions = asked.headers.get_all("if-none-match").iter();
        let named = conditions.filter(|tags| tags.to_str().unwrap().contains("part"));
        assert_eq!(named.count(), 0, "{asked:?}");
    }
}

/// §4.3.3
#[tokio::test(flavor = "multi_thread")]
async fn a_new_answer_to_a_validation_takes_the_place_of_the_stored_one() {
    let upstream = validating().await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    for (result, body) in [("MISS", "old"), ("MISS", "new"), ("HIT", "new")] {
        let got = proxy.get("/changed").await;
        assert_eq!((got.result(), got.body.as_str()), (result, body));
    }
    assert_eq!(upstream.count(), 2);
}

/// §4.3.4
#[tokio::test(flavor = "multi_thread")]
async fn a_304_about_another_tag_updates_nothing_and_the_answer_is_fetched_anew() {
    let upstream = validating().await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    proxy.get("/confused").await;
    let got = proxy.get("/confused").await;
    assert_eq!(
        (got.status, got.body.as_str(), got.field("etag")),
        (200, "old", "\"old\"")
    );
    assert_eq!(all(&got, "x-of"), Vec::<&str>::new());
    let asked = upstream.asked();
    assert_eq!(asked.len(), 3);
    assert!(!asked[2].headers.contains_key("if-none-match"));
}

/// §5.2
#[tokio::test(flavor = "multi_thread")]
async fn directives_pass_in_both_directions_known_or_not() {
    const ASKED: &str = "max-stale=\"5\", x-mine=\"a, b\", no-transform";
    const ANSWERED: &str = "max-age=60, x-theirs=\"c, d\", no-transform, stale-if-error=1";
    const TARGETED: &str = "max-age=50, x=?0";
    let upstream = Upstream::start(async |_| {
        let fields = [
            ("cache-control", ANSWERED),
            ("cdn-cache-control", TARGETED),
            ("pragma", "x-odd"),
        ];
        respond(200, &fields, "x")
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    let fields = [("cache-control", ASKED), ("pragma", "x-own")];
    for (method, result) in [
        (Method::HEAD, "MISS"),
        (Method::GET, "MISS"),
        (Method::GET, "HIT"),
        (Method::POST, "BYPASS"),
    ] {
        let got = proxy.send(method, "/a", &fields, "").await;
        assert_eq!(got.result(), result);
        assert_eq!(all(&got, "cache-control"), [ANSWERED], "{result}");
        assert_eq!(all(&got, "cdn-cache-control"), [TARGETED], "{result}");
        assert_eq!(all(&got, "pragma"), ["x-odd"], "{result}");
    }
    assert_eq!(upstream.count(), 3);
    for asked in upstream.asked() {
        assert_eq!(asked.headers["cache-control"], ASKED);
        assert_eq!(asked.headers["pragma"], "x-own");
    }
}

/// Asks for `/secret` with a directive, and sees that afterwards the store holds the answer to `/open` alone.
async fn leaves_nothing(upstream: &Upstream, cache_control: &str, detail: &str) {
    let redis = PrivateRedis::start().await;
    let url = redis.url();
    let proxy = Proxy::start(upstream.address, &[("redis", url.as_str())]).await;
    until("the proxy has Redis", async || proxy.uses_redis().await).await;
    let keys = || redis.stored_keys().len();
    for _ in 0..2 {
        let got = proxy
            .get_with("/secret", &[("cache-control", cache_control)])
            .await;
        assert_eq!(got.result(), "MISS");
        let status = got.field("cache-status");
        assert!(status.ends_with(detail), "{got:?}");
    }
    // Writes to Redis are made in order: when this one is there, an earlier one would be.
    proxy.get("/open").await;
    until("the other answer is in Redis", async || keys() > 0).await;
    assert_eq!(keys(), 1);
    let stats = proxy.admin(Method::GET, "/cache/stats").await;
    assert!(stats.body.contains("\"total_keys\":1}"), "{}", stats.body);
}

/// §5.2.1.5
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_forbids_storing_leaves_nothing_in_memory_or_redis() {
    let upstream = counting("public, max-age=60").await;
    for cache_control in ["no-store", "max-age=5, No-Store"] {
        leaves_nothing(&upstream, cache_control, "detail=request-no-store").await;
    }
}

/// §5.2.2.5
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_forbids_storing_leaves_nothing_in_memory_or_redis() {
    let upstream = Upstream::start(async |asked| {
        let cache_control = match asked.target.as_str() {
            "/secret" => "public, max-age=60, no-store",
            _ => "max-age=60",
        };
        respond(200, &[("cache-control", cache_control)], "x")
    })
    .await;
    leaves_nothing(&upstream, "max-stale", "detail=no-store").await;
}

/// §5.2.2.4
#[tokio::test(flavor = "multi_thread")]
async fn what_says_no_cache_is_validated_before_every_use_and_never_stands_in() {
    let upstream = Upstream::start(async |asked| {
        let fields = [
            ("cache-control", "no-cache, max-age=60, stale-if-error=60"),
            ("etag", "\"e\""),
        ];
        match (asked.target.as_str(), asked.headers.get("if-none-match")) {
            ("/down", Some(_)) => respond(503, &[], "down"),
            (_, Some(_)) => respond(304, &fields, ""),
            _ => respond(200, &fields, "x"),
        }
    })
    .await;
    let proxy = by_the_letter(&upstream).await;
    for result in ["MISS", "REVALIDATED", "REVALIDATED"] {
        let got = proxy
            .get_with("/a", &[("cache-control", "max-stale")])
            .await;
        assert_eq!((got.result(), got.body.as_str()), (result, "x"));
    }
    assert_eq!(upstream.count(), 3);
    proxy.get("/down").await;
    let got = proxy.get("/down").await;
    assert_eq!((got.status, got.body.as_str()), (503, "down"));
}

/// §5.2.2.6
#[tokio::test(flavor = "multi_thread")]
async fn content_is_never_transformed() {
    // Begins as gzip does, and is none: whoever touched it would notice.
    const CONTENT: &str = "\u{1f}not gzip at all\r\n\0";
    let upstream = Upstream::start(async |asked| {
        let cache_control = match asked.target.as_str() {
            "/asked" => "max-age=60, no-transform",
            _ => "max-age=60",
        };
        let fields = [
            ("cache-control", cache_control),
            ("content-encoding", "gzip"),
            ("content-type", "text/html; charset=odd"),
        ];
        respond(200, &fields, CONTENT)
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    for target in ["/asked", "/plain"] {
        for (result, accepts) in [("MISS", "br"), ("HIT", "identity"), ("HIT", "*;q=0")] {
            let got = proxy
                .get_with(target, &[("accept-encoding", accepts)])
                .await;
            assert_eq!((got.result(), got.body.as_str()), (result, CONTENT));
            assert_eq!(got.field("content-encoding"), "gzip");
            assert_eq!(got.field("content-type"), "text/html; charset=odd");
        }
    }
}

/// §5.2.2.4, §5.2.2.7
#[tokio::test(flavor = "multi_thread")]
async fn fields_that_private_or_no_cache_name_reach_who_asked_and_nobody_else() {
    let upstream = Upstream::start(async |_| {
        let fields = [
            (
                "cache-control",
                "max-age=60, private=\"x-mine, X-Yours\", no-cache=\"x-fresh\"",
            ),
            ("x-mine", "1"),
            ("x-yours", "2"),
            ("x-fresh", "3"),
            ("x-shared", "4"),
        ];
        respond(200, &fields, "x")
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    for (result, fields) in [("MISS", ["1", "2", "3", "4"]), ("HIT", ["", "", "", "4"])] {
        let got = proxy.get("/a").await;
        assert_eq!(got.result(), result);
        let names = ["x-mine", "x-yours", "x-fresh", "x-shared"];
        assert_eq!(names.map(|name| got.field(name)), fields, "{result}");
    }
}
