//! What goes to the API says which request of which trace it is, and the proxy's log says the same.

use crate::support::binary::Binary;
use crate::support::proxy::Proxy;
use crate::support::upstream::{Asked, Upstream, counting, respond};
use crate::support::wait::until;
use larder_proxy::trace::Span;
use reqwest::Method;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn traceparent() -> String {
    format!("00-{TRACE}-{PARENT}-00")
}

/// The parts of the one that reached the API: trace, span, flags.
fn reached(asked: &Asked) -> (String, String, String) {
    let all: Vec<_> = asked.headers.get_all("traceparent").iter().collect();
    let [one] = all[..] else {
        panic!("{all:?}");
    };
    assert!(Span::parse(one.as_bytes()).is_some(), "{one:?}");
    let mut parts = one.to_str().unwrap().split('-').map(str::to_owned);
    parts.next();
    let mut part = || parts.next().unwrap();
    (part(), part(), part())
}

fn field<'a>(asked: &'a Asked, name: &str) -> &'a str {
    let value = asked.headers.get(name);
    value.map_or("", |value| value.to_str().unwrap())
}

/// Ways to the API: by a fetch, and through Pingora; each over both versions of HTTP.
async fn on_all_ways(proxy: &Proxy, fields: &[(&str, &str)]) {
    proxy.get_with("/a", fields).await;
    proxy.send(Method::POST, "/a", fields, "x").await;
    let http2 = reqwest::Client::builder()
        .no_proxy()
        .http2_prior_knowledge();
    let http2 = http2.build().unwrap();
    for method in [Method::GET, Method::POST] {
        let mut request = http2.request(method, proxy.url("/b"));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        assert!(request.send().await.unwrap().status().is_success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_s_trace_goes_on_to_the_api_and_so_does_its_name_for_the_request() {
    let upstream = counting("no-store").await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    let fields = [
        ("traceparent", &*traceparent()),
        ("tracestate", "vendor=1,other=2"),
        ("x-request-id", "the-client-s"),
    ];
    on_all_ways(&proxy, &fields).await;
    let asked = upstream.asked();
    assert_eq!(asked.len(), 4);
    let mut spans = Vec::new();
    for asked in &asked {
        let (trace, span, flags) = reached(asked);
        assert_eq!((trace.as_str(), flags.as_str()), (TRACE, "00"));
        assert_eq!(field(asked, "tracestate"), "vendor=1,other=2");
        assert_eq!(field(asked, "x-request-id"), "the-client-s");
        spans.push(span);
    }
    spans.push(PARENT.to_owned());
    spans.sort();
    spans.dedup();
    assert_eq!(spans.len(), 5, "each request is a span of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_trace_of_the_client_s_or_with_a_bad_one_a_new_one_begins() {
    let upstream = counting("no-store").await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    let (good, long) = (traceparent(), "a".repeat(129));
    let forbidden = good.replacen("00", "ff", 1);
    let rows: [&[(&str, &str)]; 4] = [
        &[],
        &[("tracestate", "vendor=1")],
        &[
            ("traceparent", &forbidden),
            ("tracestate", "vendor=1"),
            ("x-request-id", &long),
        ],
        &[
            ("traceparent", &good),
            ("traceparent", &good),
            ("x-request-id", "a"),
            ("x-request-id", "b"),
        ],
    ];
    for fields in rows {
        on_all_ways(&proxy, fields).await;
    }
    let asked = upstream.asked();
    let mut traces: Vec<_> = asked.iter().map(|asked| reached(asked).0).collect();
    for asked in &asked {
        let (_, span, flags) = reached(asked);
        assert_eq!(flags, "01");
        assert_eq!(field(asked, "tracestate"), "");
        assert_eq!(field(asked, "x-request-id"), span);
        assert_eq!(asked.headers.get_all("x-request-id").iter().count(), 1);
    }
    traces.push(TRACE.to_owned());
    traces.sort();
    traces.dedup();
    assert_eq!(
        traces.len(),
        17,
        "sixteen of them, and none is the client's"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_may_be_disbelieved_or_left_to_themselves() {
    let upstream = counting("no-store").await;
    let fields = [
        ("traceparent", &*traceparent()),
        ("tracestate", "vendor=1"),
        ("x-request-id", "the-client-s"),
    ];
    let restart = Proxy::start(upstream.address, &[("trace", "restart")]).await;
    on_all_ways(&restart, &fields).await;
    for asked in upstream.asked() {
        let (trace, span, _) = reached(&asked);
        assert_ne!(trace, TRACE);
        assert_eq!(field(&asked, "tracestate"), "");
        assert_eq!(field(&asked, "x-request-id"), span);
    }
    let off = Proxy::start(upstream.address, &[("trace", "off")]).await;
    on_all_ways(&off, &fields).await;
    for asked in &upstream.asked()[4..] {
        for (name, value) in fields {
            assert_eq!(field(asked, name), value);
        }
    }
    on_all_ways(&off, &[("traceparent", "nonsense")]).await;
    for asked in &upstream.asked()[8..] {
        assert_eq!(field(asked, "traceparent"), "nonsense");
        assert_eq!(field(asked, "x-request-id"), "");
    }
}

/// The access lines of a target.
fn lines(binary: &Binary, target: &str) -> Vec<Value> {
    let log = binary.log();
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    lines
        .filter(|line: &Value| line["message"] == "request" && line["url"] == target)
        .collect()
}

/// The proxy with its log for machines, before an API whose answers are fresh for long, or at `/stale` never.
struct Logged {
    binary: Binary,
    clients: SocketAddr,
    upstream: Upstream,
}

impl Logged {
    async fn start() -> Self {
        let upstream = Upstream::start(async |asked: Asked| {
            let lifetime = match asked.target.as_str() {
                "/stale" => "max-age=0, stale-while-revalidate=600",
                _ => "max-age=600",
            };
            respond(200, &[("cache-control", lifetime)], "a")
        })
        .await;
        let more = ["--log-format", "json"];
        let (binary, clients, _) = Binary::before(upstream.address, &more).await;
        Self {
            binary,
            clients,
            upstream,
        }
    }

    /// What happened to a request, and its line.
    async fn get(&self, target: &str, fields: &[(&str, &str)]) -> (String, Value) {
        let before = lines(&self.binary, target).len();
        let request = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut request = request.get(format!("http://{}{target}", self.clients));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.unwrap();
        let result = answer.headers()["x-cache"].to_str().unwrap().to_owned();
        let find = || lines(&self.binary, target).into_iter().nth(before);
        until("it is logged", async || find().is_some()).await;
        (result, find().unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_tells_what_the_api_was_told_and_of_hits_what_clients_told() {
    let place = Logged::start().await;
    let (result, missed) = place.get("/a", &[]).await;
    assert_eq!(result, "MISS");
    let (trace, span, _) = reached(&place.upstream.asked()[0]);
    assert_eq!(missed["trace_id"], trace);
    assert_eq!(missed["span_id"], span);
    assert_eq!(missed["request_id"], span);
    assert_eq!(missed.get("parent_id"), None);

    let (result, hit) = place.get("/a", &[]).await;
    assert_eq!(result, "HIT");
    for name in ["request_id", "trace_id", "span_id", "parent_id"] {
        assert_eq!(hit.get(name), None, "nothing else would bear one");
    }
    let own = [("traceparent", &*traceparent()), ("x-request-id", "mine")];
    let (result, hit) = place.get("/a", &own).await;
    assert_eq!(result, "HIT");
    assert_eq!(hit["trace_id"], TRACE);
    assert_eq!(hit["parent_id"], PARENT);
    assert_eq!(hit["request_id"], "mine");
    assert_eq!(hit.get("span_id"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_belongs_to_the_trace_of_the_request_that_set_it_off() {
    let place = Logged::start().await;
    place.get("/stale", &[]).await;
    let own = [("traceparent", &*traceparent()), ("x-request-id", "mine")];
    let (result, stale) = place.get("/stale", &own).await;
    assert_eq!(result, "STALE");
    until("it is made", async || place.upstream.count() == 2).await;
    let asked = place.upstream.asked().remove(1);
    let (trace, span, flags) = reached(&asked);
    assert_eq!((trace.as_str(), flags.as_str()), (TRACE, "00"));
    assert_eq!(field(&asked, "x-request-id"), "mine");
    assert_eq!(stale["trace_id"], TRACE);
    assert_eq!(stale["span_id"], span);
    assert_eq!(stale["parent_id"], PARENT);

    // Of a client that names nothing, too, there is a line to find the API's by.
    until("another is set off", async || {
        let (_, line) = place.get("/stale", &[]).await;
        let Some(span) = line.get("span_id") else {
            return false;
        };
        let bears = |asked: &Asked| reached(asked).1 == *span;
        until("it is made", async || {
            place.upstream.asked().iter().any(bears)
        })
        .await;
        true
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_fetch_for_many_bears_the_identifiers_of_whoever_asked_first() {
    let upstream = Upstream::start(async |_| {
        tokio::time::sleep(Duration::from_millis(50)).await;
        respond(200, &[("cache-control", "max-age=60")], "a")
    })
    .await;
    let (binary, clients, _) = Binary::before(upstream.address, &["--log-format", "json"]).await;
    let ask = |number: usize| async move {
        let request = reqwest::Client::new().get(format!("http://{clients}/a"));
        let request = request.header("x-request-id", format!("n{number}"));
        request.send().await.unwrap().status()
    };
    futures_util::future::join_all((0..10).map(ask)).await;
    assert_eq!(upstream.count(), 1);
    until("all are logged", async || lines(&binary, "/a").len() == 10).await;
    let lines = lines(&binary, "/a");
    let asked = upstream.asked().remove(0);
    let (leader, others): (Vec<_>, Vec<_>) =
        lines.iter().partition(|line| line.get("span_id").is_some());
    assert_eq!((leader.len(), others.len()), (1, 9));
    assert_eq!(leader[0]["request_id"], field(&asked, "x-request-id"));
    for other in others {
        assert_ne!(other["request_id"], leader[0]["request_id"]);
        assert_eq!(other.get("trace_id"), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_told_of_an_error_of_ours_can_name_the_request() {
    let gone = Upstream::start(async |_| respond(200, &[], "")).await;
    let address = gone.address;
    drop(gone);
    let proxy = Proxy::start(address, &[]).await;
    for method in [Method::GET, Method::POST] {
        let named = [("x-request-id", "mine")];
        let failed = proxy.send(method.clone(), "/a", &named, "").await;
        assert_eq!(
            (failed.result(), failed.field("x-request-id")),
            ("ERROR", "mine")
        );
        let failed = proxy.send(method, "/b", &[], "").await;
        assert_eq!(
            (failed.result(), failed.field("x-request-id").len()),
            ("ERROR", 16)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_that_hold_fields_back_hold_them_back_still() {
    let upstream = counting("max-age=60").await;
    let file = "unkeyed_fields = [\"tracestate\", \"x-request-id\"]";
    let proxy = Proxy::start_with_file(upstream.address, file).await;
    let fields = [("traceparent", &*traceparent()), ("tracestate", "vendor=1")];
    proxy.get_with("/a", &fields).await;
    let asked = upstream.asked().remove(0);
    assert_eq!(reached(&asked).0, TRACE);
    assert_eq!(field(&asked, "tracestate"), "");
}
