//! The simulation itself, asked as its providers are asked.

use larder_origin::sim::{Behaviour, Simulation};
use serde_json::Value;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn simulation() -> Simulation {
    Simulation::start(SocketAddr::from(([127, 0, 0, 1], 0)), Behaviour::default())
        .await
        .expect("a free port")
}

/// Status, head and body of one exchange.
async fn ask(
    simulation: &Simulation,
    method: &str,
    path: &str,
    body: &str,
) -> (u16, String, String) {
    let mut stream = tokio::net::TcpStream::connect(simulation.address())
        .await
        .expect("a connection");
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .expect("a status");
    (status, head.to_lowercase(), body.to_owned())
}

async fn json(simulation: &Simulation, path: &str) -> (u16, Value) {
    let (status, _, body) = ask(simulation, "GET", path, "").await;
    (status, serde_json::from_str(&body).expect("JSON"))
}

#[tokio::test]
async fn only_loopback_is_served() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let started =
            Simulation::start(address.parse().expect("an address"), Behaviour::default()).await;
        assert!(started.is_err(), "{address}");
    }
}

#[tokio::test]
async fn missing_keys_are_refused_in_each_providers_words() {
    let simulation = simulation().await;
    let (status, body) = json(&simulation, "/v2/top-headlines?country=us").await;
    assert_eq!(
        (status, &body["status"], &body["code"]),
        (401, &"error".into(), &"apiKeyMissing".into())
    );
    let (status, body) = json(&simulation, "/search").await;
    assert_eq!((status, &body["message"]), (401, &"Unauthorized".into()));
    let (status, body) = json(&simulation, "/v2/everything?apiKey=k").await;
    assert_eq!((status, &body["code"]), (400, &"parametersMissing".into()));
}

#[tokio::test]
async fn lists_are_paged_to_their_end() {
    let simulation = simulation().await;
    let (_, first) = json(
        &simulation,
        "/v2/everything?apiKey=k&q=a&pageSize=10&page=1",
    )
    .await;
    let (_, third) = json(
        &simulation,
        "/v2/everything?apiKey=k&q=a&pageSize=10&page=3",
    )
    .await;
    assert_eq!(
        (
            first["totalResults"].as_u64(),
            first["articles"].as_array().map(Vec::len)
        ),
        (Some(25), Some(10))
    );
    assert_eq!(third["articles"].as_array().map(Vec::len), Some(5));
    let (status, body) = json(
        &simulation,
        "/v2/everything?apiKey=k&q=a&pageSize=100&page=2",
    )
    .await;
    assert_eq!(
        (status, &body["code"]),
        (426, &"maximumResultsReached".into())
    );
    let (status, body) = json(&simulation, "/search?api-key=k&page-size=5&page=3").await;
    assert_eq!(
        (status, &body["response"]["status"]),
        (400, &"error".into())
    );
    let (_, hits) = json(
        &simulation,
        "/api/v1/search?tags=story&hitsPerPage=2&page=2",
    )
    .await;
    assert_eq!(
        (
            hits["nbPages"].as_u64(),
            hits["hits"].as_array().map(Vec::len)
        ),
        (Some(3), Some(1))
    );
    let (_, hits) = json(
        &simulation,
        "/api/v1/search_by_date?tags=story,front_page&numericFilters=points%3E200",
    )
    .await;
    assert_eq!(hits["nbHits"].as_u64(), Some(2));
}

#[tokio::test]
async fn fields_come_only_when_asked_for() {
    let simulation = simulation().await;
    let (_, bare) = json(&simulation, "/search?api-key=k&section=technology").await;
    assert_eq!(bare["response"]["results"][0].get("fields"), None);
    let (_, some) = json(
        &simulation,
        "/search?api-key=k&section=technology&show-fields=byline",
    )
    .await;
    let fields = some["response"]["results"][0]["fields"]
        .as_object()
        .expect("fields");
    assert_eq!(fields.keys().collect::<Vec<_>>(), ["byline"]);
}

#[tokio::test]
async fn behaviour_changes_while_it_runs_and_requests_are_counted() {
    let simulation = simulation().await;
    assert_eq!(ask(&simulation, "GET", "/feeds/rss.xml", "").await.0, 200);
    let (status, _, _) = ask(
        &simulation,
        "POST",
        "/_control",
        r#"{"fail": ["feeds"], "limit": ["guardian"]}"#,
    )
    .await;
    assert_eq!(status, 200);
    assert_eq!(ask(&simulation, "GET", "/feeds/rss.xml", "").await.0, 502);
    let (status, head, _) = ask(&simulation, "GET", "/search?api-key=k", "").await;
    assert_eq!((status, head.contains("retry-after: 7")), (429, true));
    assert_eq!(
        ask(&simulation, "POST", "/_control", r#"{"fail_rate": 2}"#)
            .await
            .0,
        400
    );
    let (_, counts) = json(&simulation, "/_counts").await;
    assert_eq!(
        counts,
        serde_json::json!({"/feeds/rss.xml": 2, "/search": 1})
    );
}
