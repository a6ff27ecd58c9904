//! The same requests over HTTP/1.1, which the front answers, and over HTTP/2, which Pingora carries, get the same answers.

use crate::support::proxy::{PATIENCE, Proxy, got};
use crate::support::upstream::{Asked, Upstream, respond};
use http::{HeaderMap, Response};
use reqwest::Method;

/// What one version of HTTP has and the other has not, and the `Date` that Pingora makes anew.
const OF_THE_VERSION: [&str; 3] = ["connection", "transfer-encoding", "date"];

fn answer(asked: &Asked) -> Response<crate::support::upstream::Body> {
    let body = format!(
        "{} {} {:?}",
        asked.method,
        asked.target,
        asked.headers.get("accept-language")
    );
    match asked.target.split('?').next().unwrap_or_default() {
        "/private" => respond(200, &[("cache-control", "private")], body),
        "/gone" => respond(
            410,
            &[("cache-control", "max-age=60"), ("x", "1"), ("x", "2")],
            body,
        ),
        "/none" => respond(204, &[("cache-control", "max-age=60")], ""),
        "/vary" => respond(
            200,
            &[("cache-control", "max-age=60"), ("vary", "Accept-Language")],
            body,
        ),
        _ => respond(
            200,
            &[("cache-control", "max-age=60"), ("etag", "\"e\"")],
            body,
        ),
    }
}

fn comparable(headers: &HeaderMap) -> Vec<(String, String)> {
    let mut fields: Vec<_> = headers
        .iter()
        .filter(|(name, _)| !OF_THE_VERSION.contains(&name.as_str()))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    fields.sort();
    fields
}

#[tokio::test(flavor = "multi_thread")]
async fn http_1_and_http_2_say_the_same() {
    let upstream = Upstream::start(async |asked| answer(&asked)).await;
    let proxy = Proxy::start(upstream.address, &[]).await;
    let http2 = reqwest::Client::builder()
        .no_proxy()
        .http2_prior_knowledge()
        .timeout(PATIENCE)
        .build()
        .unwrap();
    let conditions: [&[(&str, &str)]; 9] = [
        &[],
        &[("if-none-match", "W/\"e\"")],
        &[("if-none-match", "\"other\"")],
        &[("range", "bytes=2-5")],
        &[("range", "bytes=0-0,-2")],
        &[("range", "bytes=1000-")],
        &[("accept-language", "de")],
        &[("cache-control", "only-if-cached")],
        &[("if-match", "\"x\"")],
    ];
    for target in ["/a?b=1&a=2", "/private", "/gone", "/none", "/vary"] {
        for method in [Method::GET, Method::HEAD] {
            for fields in conditions {
                // The first time stores what can be stored, so that both versions meet the same store.
                let mut seen = Vec::new();
                for client in [&proxy.http, &proxy.http, &http2] {
                    let mut request = client.request(method.clone(), proxy.url(target));
                    for (name, value) in fields {
                        request = request.header(*name, *value);
                    }
                    let got = got(request.send().await.unwrap()).await;
                    seen.push((got.status, comparable(&got.headers), got.body));
                }
                // A second may pass between the two.
                let [_, first, second] = &seen[..] else {
                    unreachable!()
                };
                let seconds =
                    |(name, _): &&(String, String)| name != "age" && name != "cache-status";
                assert_eq!(
                    (first.0, &first.2),
                    (second.0, &second.2),
                    "{method} {target} {fields:?}"
                );
                assert!(
                    first
                        .1
                        .iter()
                        .filter(seconds)
                        .eq(second.1.iter().filter(seconds)),
                    "{method} {target} {fields:?}: {first:?} {second:?}"
                );
            }
        }
    }
}
