//! The form of every answer: caching headers by name, validators, HEAD, failures.

use crate::support::http::{Reply, get, get_h2c, get_with, send, send_body};
use crate::support::news::{Act, Script, article};
use crate::support::origin::TestOrigin;
use hyper::Method;

const JSON: &str = "application/json";
const PROBLEM: &str = "application/problem+json";

async fn origin() -> TestOrigin {
    let origin = TestOrigin::start(&[Script::new(
        "a",
        Act::Give((0..3).map(|n| article(&n.to_string(), n)).collect()),
    )])
    .await;
    get(origin.address, "/articles").await;
    origin
}

const HTML: &str = "text/html; charset=utf-8";
const FIVE_MINUTES: &str = "max-age=300, stale-while-revalidate=30, stale-if-error=3600";
const AN_HOUR: &str = "max-age=3600, stale-while-revalidate=30, stale-if-error=3600";

/// Every endpoint with its type, how long the cache before us keeps it ("" for not at all), and its tags.
const ENDPOINTS: &[(&str, &str, &str, &str)] = &[
    (
        "/articles",
        JSON,
        FIVE_MINUTES,
        "article:1, article:2, article:3, category:any, list, source:a",
    ),
    (
        "/articles?category=general&live=true&limit=1",
        JSON,
        FIVE_MINUTES,
        "article:1, category:general, list, source:a",
    ),
    (
        "/articles/1",
        JSON,
        FIVE_MINUTES,
        "article:1, page:1, source:a",
    ),
    (
        "/sources",
        JSON,
        "max-age=30, stale-while-revalidate=30, stale-if-error=3600",
        "sources",
    ),
    ("/status", JSON, "max-age=10, stale-if-error=3600", ""),
    ("/health", JSON, "", ""),
    ("/health/live", JSON, "", ""),
    ("/health/ready?probe=1", JSON, "", ""),
    ("/openapi.json", JSON, AN_HOUR, ""),
    ("/docs", HTML, AN_HOUR, ""),
];

/// What browsers are told: to ask each time, or not to keep it.
fn cache_control(kept: &str) -> &'static str {
    if kept.is_empty() {
        "no-store"
    } else {
        "no-cache"
    }
}

fn has_times(reply: &Reply) -> bool {
    let took = reply
        .header("x-process-time")
        .strip_suffix("ms")
        .unwrap_or_default();
    let two_decimals = took
        .split_once('.')
        .is_some_and(|(_, decimals)| decimals.len() == 2);
    two_decimals
        && took.parse::<f64>().is_ok()
        && reply
            .header("server-timing")
            .starts_with(&format!("total;dur={took}"))
}

#[tokio::test]
async fn every_endpoint_says_how_long_it_may_be_kept() {
    let origin = origin().await;
    for (target, kind, kept, tags) in ENDPOINTS {
        let reply = get(origin.address, target).await;
        assert_eq!(reply.status, 200, "{target}: {:?}", reply.body);
        assert_eq!(reply.header("content-type"), *kind, "{target}");
        assert_eq!(
            (
                reply.header("cache-control"),
                reply.header("cdn-cache-control"),
                reply.header("cache-tag")
            ),
            (cache_control(kept), *kept, *tags),
            "{target}"
        );
        let etag = reply.header("etag");
        assert!(
            etag.starts_with('"') && etag.ends_with('"') && etag.len() > 10,
            "{target}: {etag}"
        );
        assert!(has_times(&reply), "{target}: {:?}", reply.headers);
        assert!(!reply.header("date").is_empty(), "{target}");
    }
}

#[tokio::test]
async fn a_client_that_has_the_body_is_not_sent_it_again() {
    let origin = origin().await;
    for (target, _, kept, tags) in ENDPOINTS.iter().filter(|(target, ..)| *target != "/status") {
        let first = get(origin.address, target).await;
        let tag = first.header("etag");
        for method in [Method::GET, Method::HEAD] {
            let fields = [("if-none-match", tag)];
            let reply = send(origin.address, method, target, &fields)
                .await
                .expect("an answer");
            assert_eq!(
                (reply.status.as_u16(), reply.body.len()),
                (304, 0),
                "{target}"
            );
            assert_eq!(
                (
                    reply.header("etag"),
                    reply.header("cache-control"),
                    reply.header("cdn-cache-control"),
                    reply.header("cache-tag")
                ),
                (tag, cache_control(kept), *kept, *tags),
                "{target}"
            );
            assert!(
                has_times(&reply) && !reply.headers.contains_key("content-type"),
                "{target}: {:?}",
                reply.headers
            );
        }
        let other = get_with(origin.address, target, &[("if-none-match", "\"other\"")]).await;
        assert_eq!(
            (other.status.as_u16(), &other.body),
            (200, &first.body),
            "{target}"
        );
    }
}

#[tokio::test]
async fn an_unsafe_request_can_void_an_answer_by_its_groups() {
    let origin = origin().await;
    for (target, groups) in [
        (
            "/articles?category=general",
            "\"category:general\", \"list\", \"source:a\"",
        ),
        ("/articles/2", "\"article:2\", \"source:a\""),
    ] {
        let reply = get(origin.address, target).await;
        assert_eq!(reply.header("cache-groups"), groups, "{target}");
    }
}

#[tokio::test]
async fn a_client_that_knows_only_the_time_is_not_sent_it_again_either() {
    let origin = origin().await;
    let in_a_second = chrono::Utc::now() + chrono::TimeDelta::seconds(1);
    let form = "%a, %d %b %Y %H:%M:%S GMT";
    for target in ["/articles", "/articles/1"] {
        let first = get(origin.address, target).await;
        let told = first.header("last-modified");
        let told = chrono::NaiveDateTime::parse_from_str(told, form).expect("a time");
        let age = chrono::Utc::now() - told.and_utc();
        assert!(
            age >= chrono::TimeDelta::seconds(10),
            "what was changed just now may not be all that was: {age}"
        );
        for (since, status) in [
            (in_a_second, 304),
            (in_a_second - chrono::TimeDelta::hours(1), 200),
        ] {
            let since = since.format(form).to_string();
            let reply = get_with(
                origin.address,
                target,
                &[("if-modified-since", since.as_str())],
            )
            .await;
            assert_eq!(reply.status, status, "{target} {since}");
        }
    }
}

async fn open_to(origins: &str) -> TestOrigin {
    let database = crate::support::database::TestDatabase::sqlite().await;
    let source = Script::new("a", Act::Give(vec![article("x", 0)]));
    TestOrigin::with(database, &[source], &[("ORIGIN_CORS_ORIGINS", origins)]).await
}

#[tokio::test]
async fn pages_of_other_sites_may_read_answers_when_the_settings_let_them() {
    const APP: &str = "https://app.example";
    let asked = |origin| [("origin", origin)];
    let allowed = "access-control-allow-origin";
    let closed = origin().await;
    let reply = get_with(closed.address, "/articles", &asked(APP)).await;
    assert_eq!((reply.header(allowed), reply.header("vary")), ("", ""));

    let all = open_to("*").await;
    let reply = get_with(all.address, "/articles", &asked(APP)).await;
    assert_eq!((reply.header(allowed), reply.header("vary")), ("*", ""));

    let some = open_to(APP).await;
    for (asks, is_let) in [(APP, APP), ("https://evil.example", "")] {
        let reply = get_with(some.address, "/articles", &asked(asks)).await;
        assert_eq!(
            (reply.header(allowed), reply.header("vary")),
            (is_let, "origin")
        );
        assert!(
            !reply
                .headers
                .contains_key("access-control-allow-credentials")
        );
    }
    let preflight = [
        ("origin", APP),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "idempotency-key"),
    ];
    let reply = send(some.address, Method::OPTIONS, "/refresh", &preflight).await;
    let reply = reply.expect("an answer");
    assert_eq!((reply.status.as_u16(), reply.header(allowed)), (200, APP));
    assert!(
        reply
            .header("access-control-allow-headers")
            .contains("idempotency-key")
    );
}

#[tokio::test]
async fn pages_of_other_sites_may_read_why_they_were_refused() {
    const APP: (&str, &str) = ("origin", "https://app.example");
    let database = crate::support::database::TestDatabase::sqlite().await;
    let settings = [("ORIGIN_CORS_ORIGINS", APP.1), ("ORIGIN_RATE_LIMIT", "2")];
    let origin = TestOrigin::with(database, &[], &settings).await;
    let json = ("content-type", "application/json");
    let post = async |fields: &[(&str, &str)], body: &str| {
        let sent = send_body(origin.address, Method::POST, "/messages", fields, body).await;
        sent.expect("an answer")
    };
    let token = ("authorization", "Bearer x");
    let long = "x".repeat(70_000);
    let replies = [
        (413, post(&[APP, json, token], &long).await),
        (
            400,
            get_with(origin.address, "/status", &[APP, ("host", "other.example")]).await,
        ),
        (403, post(&[APP, json], "{}").await),
        (404, get_with(origin.address, "/nothing", &[APP]).await),
        (429, get_with(origin.address, "/status", &[APP]).await),
    ];
    for (status, reply) in replies {
        assert_eq!(reply.status.as_u16(), status, "{}", reply.code());
        assert_eq!(
            reply.header("access-control-allow-origin"),
            APP.1,
            "{status}"
        );
        assert_eq!(reply.header("vary"), "origin", "{status}");
        let exposed = reply.header("access-control-expose-headers");
        assert!(exposed.contains("retry-after"), "{status}: {exposed}");
    }
    // What is asked beforehand is answered, so that the refusal itself can be read.
    let fields = [APP, ("access-control-request-method", "POST")];
    let reply = send(origin.address, Method::OPTIONS, "/messages", &fields).await;
    assert_eq!(reply.expect("an answer").status, 200);
    let stranger = [("origin", "https://evil.example")];
    let reply = get_with(origin.address, "/status", &stranger).await;
    let allowed = reply.header("access-control-allow-origin");
    assert_eq!((reply.status.as_u16(), allowed), (429, ""));
}

#[tokio::test]
async fn head_answers_as_get_does_without_the_body() {
    let origin = origin().await;
    for (target, ..) in ENDPOINTS.iter().chain(&[
        ("/nope", PROBLEM, "", ""),
        ("/articles?x=1", PROBLEM, "", ""),
    ]) {
        let got = get(origin.address, target).await;
        let head = send(origin.address, Method::HEAD, target, &[])
            .await
            .expect("an answer");
        assert_eq!((head.status, head.body.len()), (got.status, 0), "{target}");
        let names: &[&str] = if *target == "/status" {
            &["content-type", "content-length"]
        } else {
            &["etag", "content-type", "content-length"]
        };
        for name in names {
            assert_eq!(head.header(name), got.header(name), "{target} {name}");
        }
    }
}

#[tokio::test]
async fn nothing_in_the_body_changes_from_one_request_to_the_next() {
    let origin = origin().await;
    for target in [
        "/articles",
        "/articles?live=true",
        "/articles/1",
        "/openapi.json",
        "/docs",
    ] {
        let first = get(origin.address, target).await;
        assert_eq!(
            get(origin.address, target).await.body,
            first.body,
            "{target}"
        );
    }
}

#[tokio::test]
async fn failures_are_problems_with_stable_codes_and_are_not_kept() {
    let origin = origin().await;
    let cases = [
        ("/nope", 404, "not_found"),
        ("/articles/", 404, "not_found"),
        ("/articles/4711", 404, "article_not_found"),
        ("/articles/abc", 400, "invalid_parameter"),
        ("/articles/%FF", 400, "invalid_parameter"),
        ("/articles/01", 400, "invalid_parameter"),
        ("/articles/99999999999999999999", 400, "invalid_parameter"),
        ("/articles?colour=red", 400, "invalid_parameter"),
        ("/articles?limit=5&limit=6", 400, "invalid_parameter"),
        ("/articles/1?limit=5", 400, "invalid_parameter"),
        ("/sources?x", 400, "invalid_parameter"),
    ];
    for (target, status, code) in cases {
        let reply = get(origin.address, target).await;
        assert_eq!(
            (reply.status.as_u16(), reply.code().as_str()),
            (status, code),
            "{target}"
        );
        assert_eq!(
            (reply.header("content-type"), reply.header("cache-control")),
            (PROBLEM, "no-store"),
            "{target}"
        );
        assert!(
            has_times(&reply) && !reply.headers.contains_key("etag"),
            "{target}: {:?}",
            reply.headers
        );
        let body = reply.json();
        assert_eq!(
            (&body["status"], &body["type"]),
            (&status.into(), &format!("/docs#{code}").into()),
            "{target}"
        );
        assert!(
            body["title"].is_string() && body["detail"].is_string(),
            "{target}"
        );
    }
}

#[tokio::test]
async fn other_methods_are_told_which_are_understood() {
    let origin = origin().await;
    for (method, target) in [
        ("POST", "/articles"),
        ("DELETE", "/articles/1"),
        ("PUT", "/health"),
        ("OPTIONS", "/status"),
        ("BREW", "/docs"),
    ] {
        let reply = send(
            origin.address,
            method.parse().expect("a method"),
            target,
            &[],
        )
        .await
        .expect("an answer");
        assert_eq!(
            (reply.status.as_u16(), reply.code().as_str()),
            (405, "method_not_allowed"),
            "{method} {target}"
        );
        assert!(reply.header("allow").contains("GET"), "{:?}", reply.headers);
        assert_eq!(
            (reply.header("content-type"), reply.header("cache-control")),
            (PROBLEM, "no-store")
        );
    }
}

#[tokio::test]
async fn an_unknown_category_is_answered_with_the_known_ones() {
    let origin = origin().await;
    let reply = get(origin.address, "/articles?category=cooking&live=perhaps").await;
    let body = reply.json();
    let names: Vec<&str> = body["parameters"]
        .as_array()
        .expect("parameters")
        .iter()
        .filter_map(|fault| fault["name"].as_str())
        .collect();
    assert_eq!(names, ["category", "live"]);
    let detail = body["parameters"][0]["detail"].as_str().expect("a detail");
    for category in [
        "business",
        "entertainment",
        "general",
        "health",
        "science",
        "sports",
        "technology",
        "world",
    ] {
        assert!(detail.contains(category), "{detail}");
    }
}

#[tokio::test]
async fn tracking_parameters_change_nothing() {
    let origin = origin().await;
    let plain = get(origin.address, "/articles?category=general&live=true").await;
    let tracked = get(
        origin.address,
        "/articles?utm_source=x&live=true&fbclid=1&category=general&gclid=2",
    )
    .await;
    assert_eq!(
        (tracked.status.as_u16(), tracked.header("etag")),
        (200, plain.header("etag"))
    );
}

#[tokio::test]
async fn http2_without_tls_gets_the_same_answers() {
    let origin = origin().await;
    let (one, two) = (
        get(origin.address, "/articles").await,
        get_h2c(origin.address, "/articles").await,
    );
    assert_eq!(
        (two.status, two.header("etag"), &two.body),
        (one.status, one.header("etag"), &one.body)
    );
}

#[tokio::test]
async fn the_interface_describes_itself() {
    let origin = origin().await;
    let document = get(origin.address, "/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let queued = send(origin.address, Method::POST, "/refresh", &[]).await;
    let round = queued.expect("an answer").json()["id"].clone();
    for (path, item) in document["paths"].as_object().expect("paths") {
        let id = match path.as_str() {
            "/refresh/{id}" => round.as_str().expect("an id"),
            _ => "1",
        };
        for (method, operation) in item.as_object().expect("operations") {
            let target = path
                .replace("{id}", id)
                .replace("{key}", "theme")
                .replace("{name}", "page-0.css");
            let method: Method = method.to_uppercase().parse().expect("a method");
            let reply = send(origin.address, method.clone(), &target, &[]).await;
            let status = reply.expect("an answer").status.as_u16();
            let documented = &operation["responses"][status.to_string()];
            assert!(documented.is_object(), "{method} {path} gives {status}");
            assert_ne!(status, 405, "{method} {path} is documented");
        }
    }
    let keys = |value: &serde_json::Value| {
        value
            .as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    let article = get(origin.address, "/articles/1").await.json();
    assert_eq!(
        keys(&article),
        keys(&document["components"]["schemas"]["Article"]["properties"])
    );
}

#[tokio::test]
async fn a_request_names_exactly_one_host() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let origin = origin().await;
    for (version, hosts, status) in [
        ("1.1", "Host: a\r\n", "200"),
        ("1.1", "", "400"),
        ("1.1", "Host: a\r\nHost: b\r\n", "400"),
        ("1.0", "", "200"),
    ] {
        let mut stream = tokio::net::TcpStream::connect(origin.address)
            .await
            .expect("a connection");
        let request = format!("GET /status HTTP/{version}\r\n{hosts}Connection: close\r\n\r\n");
        stream
            .write_all(request.as_bytes())
            .await
            .expect("a request");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.expect("an answer");
        assert_eq!(reply.split(' ').nth(1), Some(status), "{version} {hosts:?}");
        assert_eq!(
            reply.contains("\"invalid_host\""),
            status == "400",
            "{reply}"
        );
    }
}
