//! The admin port over real sockets, in front of operations that answer from a list.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use larder_proxy::admin::{
    AdminSettings, Health, Limits, Operations, PurgeFailed, Stats, UpstreamState, serve,
};
use larder_proxy::cli::{Start, start};
use larder_proxy::config::Secret;
use larder_proxy::engine::{PurgeOrder, Purged};
use larder_proxy::metrics::{RedisState, Totals};
use larder_proxy::store::Applied;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

const TOKEN: &str = "a-token-of-some-length";

/// Longer than anything here takes; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Script {
    purged: Mutex<Vec<String>>,
    draining: bool,
    /// When set, a purge tells that it began and then waits to be released.
    held: Option<(Notify, Notify)>,
}

#[async_trait]
impl Operations for Script {
    async fn purge(&self, order: &PurgeOrder) -> Result<Purged, PurgeFailed> {
        if let Some((began, release)) = &self.held {
            began.notify_one();
            release.notified().await;
        }
        let names = [&order.urls[..], &order.tags, &order.prefixes].concat();
        self.purged.lock().unwrap().extend(names.iter().cloned());
        match names.first().map(String::as_str) {
            Some("/bad") => Err(PurgeFailed::Bad("it has a dot segment".to_owned())),
            Some("/later") => Err(PurgeFailed::Unavailable("Redis does not answer".to_owned())),
            _ => Ok(Purged {
                names,
                applied: Applied {
                    sequence: 7,
                    replicas: 3,
                    applied: 2,
                },
            }),
        }
    }

    fn metrics_text(&self) -> String {
        "larder_connections 1\n".to_owned()
    }

    fn stats(&self) -> Stats {
        let totals = Totals {
            hits: 5,
            misses: 2,
            stale: 1,
            revalidated: 1,
            bypassed: 3,
            errors: 4,
        };
        Stats {
            totals,
            entries: 6,
            bytes: 700,
            bytes_max: 8000,
            redis: RedisState::Down,
        }
    }

    fn health(&self) -> Health {
        Health {
            draining: self.draining,
            upstream: UpstreamState::Unknown,
            redis: RedisState::Down,
            purges_followed: false,
        }
    }
}

/// A running admin port. Its tasks end with the test's runtime.
struct Admin {
    address: SocketAddr,
    script: Arc<Script>,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<()>,
}

impl Admin {
    async fn start(token: Option<&str>, limits: Limits, script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let settings = AdminSettings {
            address,
            token: token.map(Secret::new),
            hosts: Vec::new(),
            limits,
        };
        let script = Arc::new(script);
        let (stop, stopped) = oneshot::channel::<()>();
        let operations: Arc<dyn Operations> = script.clone();
        let running = tokio::spawn(serve(listener, settings, operations, async {
            let _ = stopped.await;
        }));
        Self {
            address,
            script,
            stop: Some(stop),
            running,
        }
    }

    async fn open() -> Self {
        Self::start(None, Limits::default(), Script::default()).await
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends one request on a connection of its own.
    async fn ask(&self, line: &str, fields: &str) -> Answer {
        let mut stream = self.connect().await;
        let request = format!(
            "{line} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{fields}\r\n",
            self.address
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        Answer::read(&mut stream).await
    }
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    /// Reads to the end of the connection.
    async fn read(stream: &mut TcpStream) -> Self {
        let mut bytes = Vec::new();
        let read = stream.read_to_end(&mut bytes);
        // A reset after the answer (unread request bytes) is an end as well.
        let _ = tokio::time::timeout(PATIENCE, read)
            .await
            .expect("the connection stays open");
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or(0);
        Self {
            status,
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
        }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    #[track_caller]
    fn is_problem(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{}", self.body);
        assert!(
            self.head
                .contains("\r\ncontent-type: application/problem+json"),
            "{}",
            self.head
        );
        let problem = self.json();
        assert_eq!(
            (&problem["code"], &problem["status"]),
            (&json!(code), &json!(status))
        );
        assert!(
            problem["detail"]
                .as_str()
                .is_some_and(|detail| detail.len() > 10)
        );
    }
}

#[tokio::test]
async fn health_stats_and_metrics_are_answered() {
    let admin = Admin::open().await;
    let health = admin.ask("GET /health", "").await;
    assert_eq!(health.status, 200);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        health.json(),
        json!({"status": "ok", "version": version, "upstream": "unknown", "redis": "down", "purges": "lost"})
    );
    let stats = admin.ask("GET /cache/stats", "").await;
    assert_eq!(stats.status, 200);
    assert_eq!(
        stats.json(),
        json!({
            "hits": 5, "misses": 2, "stale": 1, "revalidated": 1, "bypassed": 3, "errors": 4,
            "hit_rate_percent": 66.67, "total_keys": 6, "bytes": 700, "bytes_max": 8000, "redis": "down",
        })
    );
    let metrics = admin.ask("GET /metrics", "").await;
    assert_eq!(
        (metrics.status, metrics.body.as_str()),
        (200, "larder_connections 1\n")
    );
    assert!(
        metrics
            .head
            .contains("\r\ncontent-type: text/plain; version=0.0.4"),
        "{}",
        metrics.head
    );
    for answer in [health, stats, metrics] {
        assert!(
            answer.head.contains("\r\ncache-control: no-store"),
            "{}",
            answer.head
        );
        assert!(
            answer.head.contains("\r\nx-content-type-options: nosniff"),
            "{}",
            answer.head
        );
    }
}

#[test]
fn a_hit_rate_of_nothing_is_zero_and_of_hits_alone_a_hundred() {
    let stats = |hits, misses| Stats {
        totals: Totals {
            hits,
            misses,
            ..Totals::default()
        },
        entries: 0,
        bytes: 0,
        bytes_max: 1,
        redis: RedisState::Off,
    };
    assert_eq!(stats(0, 0).hit_rate_percent(), 0.0);
    assert_eq!(stats(7, 0).hit_rate_percent(), 100.0);
    assert_eq!(stats(1, 2).hit_rate_percent(), 33.33);
    assert_eq!(stats(u64::MAX, u64::MAX).hit_rate_percent(), 100.0);
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let admin = Admin::open().await;
    let answer = admin.ask("HEAD /cache/stats", "").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
}

#[tokio::test]
async fn a_draining_proxy_is_not_healthy() {
    let script = Script {
        draining: true,
        ..Script::default()
    };
    let admin = Admin::start(None, Limits::default(), script).await;
    let answer = admin.ask("GET /health", "").await;
    assert_eq!(
        (answer.status, &answer.json()["status"]),
        (503, &json!("draining"))
    );
}

#[tokio::test]
async fn a_purge_names_what_went() {
    let admin = Admin::open().await;
    let answer = admin
        .ask(
            "POST /purge?url=%2Farticles%3Fcategory%3Da%26limit%3D5",
            "Content-Length: 0\r\n",
        )
        .await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(
        answer.json(),
        json!({
            "sequence": 7, "replicas": 3, "applied": 2, "soft": false,
            "purged": ["/articles?category=a&limit=5"],
        })
    );
    assert_eq!(
        *admin.script.purged.lock().unwrap(),
        ["/articles?category=a&limit=5"]
    );
}

#[tokio::test]
async fn one_purge_may_name_many_things() {
    let admin = Admin::open().await;
    let query = "tag=a&tag=b&prefix=/x/&soft=true";
    let answer = admin.ask(&format!("POST /purge?{query}"), "").await;
    assert_eq!(answer.json()["purged"], json!(["a", "b", "/x/"]));
    assert_eq!(answer.json()["soft"], json!(true));
}

#[tokio::test]
async fn a_purge_that_can_not_be_says_why() {
    let admin = Admin::open().await;
    for query in ["", "?url=", "?url=%20", "?all=1", "?url=/a&b=1"] {
        let answer = admin.ask(&format!("POST /purge{query}"), "").await;
        answer.is_problem(400, "bad-parameter");
    }
    assert!(admin.script.purged.lock().unwrap().is_empty());
    admin
        .ask("POST /purge?url=/bad", "")
        .await
        .is_problem(400, "bad-url");
    admin
        .ask("POST /purge?url=/later", "")
        .await
        .is_problem(503, "purge-unavailable");
}

#[tokio::test]
async fn wrong_methods_and_paths_are_told_what_is_right() {
    let admin = Admin::open().await;
    for (line, allow) in [
        ("GET /purge?url=/a", "post"),
        ("POST /health", "get, head"),
        ("DELETE /metrics", "get, head"),
        ("OPTIONS /cache/stats", "get, head"),
    ] {
        let answer = admin.ask(line, "").await;
        answer.is_problem(405, "method-not-allowed");
        assert!(
            answer.head.contains(&format!("\r\nallow: {allow}\r\n")),
            "{line}: {}",
            answer.head
        );
    }
    for path in ["/", "/purge/", "/Health", "/cache"] {
        admin
            .ask(&format!("GET {path}"), "")
            .await
            .is_problem(404, "not-found");
    }
    assert!(admin.script.purged.lock().unwrap().is_empty());
}

#[tokio::test]
async fn without_the_token_only_health_is_answered() {
    let admin = Admin::start(Some(TOKEN), Limits::default(), Script::default()).await;
    assert_eq!(admin.ask("GET /health", "").await.status, 200);
    for line in [
        "GET /metrics",
        "GET /cache/stats",
        "POST /purge?url=/a",
        "GET /nowhere",
    ] {
        for fields in ["", "Authorization: Bearer wrong\r\n"] {
            let answer = admin.ask(line, fields).await;
            answer.is_problem(401, "token-wanted");
            assert!(
                answer.head.contains("\r\nwww-authenticate: bearer realm="),
                "{}",
                answer.head
            );
            assert!(!answer.body.contains(TOKEN));
        }
    }
    assert!(admin.script.purged.lock().unwrap().is_empty());
    let fields = format!("Authorization: Bearer {TOKEN}\r\n");
    assert_eq!(admin.ask("GET /metrics", &fields).await.status, 200);
    assert_eq!(admin.ask("POST /purge?url=/a", &fields).await.status, 200);
}

#[tokio::test]
async fn what_a_web_page_could_forge_purges_nothing() {
    let admin = Admin::open().await;
    let purge = "POST /purge?url=/a";
    admin
        .ask(purge, "Origin: http://evil.example\r\n")
        .await
        .is_problem(403, "cross-site");
    admin
        .ask(purge, "Sec-Fetch-Site: cross-site\r\n")
        .await
        .is_problem(403, "cross-site");
    let mut rebound = admin.connect().await;
    let request =
        b"POST /purge?url=/a HTTP/1.1\r\nHost: evil.example:8002\r\nConnection: close\r\n\r\n";
    rebound.write_all(request).await.unwrap();
    Answer::read(&mut rebound)
        .await
        .is_problem(421, "foreign-host");
    assert!(admin.script.purged.lock().unwrap().is_empty());
    let own = format!(
        "Origin: http://{}\r\nSec-Fetch-Site: same-origin\r\n",
        admin.address
    );
    assert_eq!(admin.ask(purge, &own).await.status, 200);
}

#[tokio::test]
async fn a_connection_carries_several_requests() {
    let admin = Admin::open().await;
    let mut stream = admin.connect().await;
    let first = format!(
        "POST /purge?url=/1 HTTP/1.1\r\nHost: {}\r\nContent-Length: 3\r\n\r\nabc",
        admin.address
    );
    let second = format!(
        "POST /purge?url=/2 HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        admin.address
    );
    stream
        .write_all(format!("{first}{second}").as_bytes())
        .await
        .unwrap();
    Answer::read(&mut stream).await;
    assert_eq!(*admin.script.purged.lock().unwrap(), ["/1", "/2"]);
}

#[tokio::test]
async fn bodies_are_bounded_declared_or_not() {
    let limits = Limits {
        body_bytes_max: 10,
        ..Limits::default()
    };
    let admin = Admin::start(None, limits, Script::default()).await;
    let purge = "POST /purge?url=/a";
    assert_eq!(
        admin
            .ask(purge, "Content-Length: 10\r\n\r\n0123456789")
            .await
            .status,
        200
    );
    admin
        .ask(purge, "Content-Length: 11\r\n\r\n0123456789a")
        .await
        .is_problem(413, "body-too-large");
    let chunked = "Transfer-Encoding: chunked\r\n\r\nb\r\n0123456789a\r\n0\r\n";
    admin
        .ask(purge, chunked)
        .await
        .is_problem(413, "body-too-large");
    assert_eq!(admin.script.purged.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn heads_are_bounded() {
    let admin = Admin::open().await;
    let fits = admin
        .ask("GET /health", &format!("X-Long: {}\r\n", "a".repeat(8_000)))
        .await;
    assert_eq!(fits.status, 200);
    let long = admin
        .ask(
            "GET /health",
            &format!("X-Long: {}\r\n", "a".repeat(20_000)),
        )
        .await;
    assert_eq!(long.status, 431);
    let many = admin.ask("GET /health", &"X-A: b\r\n".repeat(150)).await;
    assert_eq!(many.status, 431);
}

#[tokio::test]
async fn slow_heads_and_idle_connections_are_ended() {
    let limits = Limits {
        head_timeout: Duration::from_millis(50),
        ..Limits::default()
    };
    let admin = Admin::start(None, limits, Script::default()).await;
    let mut slow = admin.connect().await;
    slow.write_all(b"GET /health HTTP/1.1\r\nHost: ")
        .await
        .unwrap();
    assert_ne!(Answer::read(&mut slow).await.status, 200);
    let mut silent = admin.connect().await;
    Answer::read(&mut silent).await;
    let mut idle = admin.connect().await;
    let request = format!("GET /health HTTP/1.1\r\nHost: {}\r\n\r\n", admin.address);
    idle.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(Answer::read(&mut idle).await.status, 200);
}

#[tokio::test]
async fn a_connection_gets_only_so_old() {
    let limits = Limits {
        connection_timeout: Duration::from_millis(50),
        head_timeout: Duration::from_secs(3600),
        ..Limits::default()
    };
    let admin = Admin::start(None, limits, Script::default()).await;
    let mut silent = admin.connect().await;
    Answer::read(&mut silent).await;
}

#[tokio::test]
async fn a_body_that_never_comes_ends_with_the_requests_time() {
    let limits = Limits {
        request_timeout: Duration::from_millis(50),
        ..Limits::default()
    };
    let admin = Admin::start(None, limits, Script::default()).await;
    let answer = admin
        .ask("POST /purge?url=/a", "Content-Length: 5\r\n")
        .await;
    answer.is_problem(503, "timeout");
    assert!(admin.script.purged.lock().unwrap().is_empty());
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let limits = Limits {
        connections_max: 1,
        ..Limits::default()
    };
    let admin = Admin::start(
        None,
        limits,
        Script {
            held: Some(Default::default()),
            ..Script::default()
        },
    )
    .await;
    let (began, release) = admin.script.held.as_ref().unwrap();
    let first = admin.ask("POST /purge?url=/1", "");
    let second = async {
        began.notified().await;
        // The first holds the only place, so this one is not read yet.
        let mut stream = admin.connect().await;
        let request = format!(
            "GET /health HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            admin.address
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let early = tokio::time::timeout(Duration::from_millis(100), stream.readable()).await;
        assert!(early.is_err(), "answered although the place was taken");
        release.notify_one();
        Answer::read(&mut stream).await
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!((first.status, second.status), (200, 200));
}

#[tokio::test]
async fn a_shutdown_lets_a_request_under_way_end_and_takes_no_more() {
    let script = Script {
        held: Some(Default::default()),
        ..Script::default()
    };
    let mut admin = Admin::start(None, Limits::default(), script).await;
    let stop = admin.stop.take().unwrap();
    let (began, release) = admin.script.held.as_ref().unwrap();
    let purge = async {
        let mut stream = admin.connect().await;
        let request = format!(
            "POST /purge?url=/1 HTTP/1.1\r\nHost: {}\r\n\r\n",
            admin.address
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        Answer::read(&mut stream).await
    };
    let shutdown = async {
        began.notified().await;
        stop.send(()).unwrap();
        // Refused once the listener is gone.
        let end = tokio::time::Instant::now() + PATIENCE;
        while TcpStream::connect(admin.address).await.is_ok() {
            assert!(tokio::time::Instant::now() < end, "still listening");
            tokio::task::yield_now().await;
        }
        release.notify_one();
    };
    let (answer, ()) = tokio::join!(purge, shutdown);
    assert_eq!(answer.status, 200);
    // The client didn't ask for it: it is told that this connection carries no more.
    assert!(
        answer.head.contains("\r\nconnection: close"),
        "{}",
        answer.head
    );
    tokio::time::timeout(PATIENCE, admin.running)
        .await
        .expect("serve goes on")
        .unwrap();
}

#[tokio::test]
async fn the_health_command_asks_a_running_port() {
    for (draining, code) in [(false, 0), (true, 1)] {
        let script = Script {
            draining,
            ..Script::default()
        };
        let admin = Admin::start(Some(TOKEN), Limits::default(), script).await;
        // As inside a container: bound to everything, asked on loopback, without the token.
        let port = admin.address.port();
        let health = tokio::task::spawn_blocking(move || {
            let line = [
                "larder-proxy",
                "health",
                "--admin",
                &format!("0.0.0.0:{port}"),
                "--admin-token",
                "x",
            ];
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let environment = std::collections::BTreeMap::new();
            let start = start(line.map(Into::into), &environment, &mut out, &mut err);
            (
                start,
                String::from_utf8(out).unwrap() + &String::from_utf8(err).unwrap(),
            )
        });
        let (start, said) = health.await.unwrap();
        assert!(
            matches!(start, Start::Exit(ended) if ended == code),
            "{said}"
        );
        assert!(
            said.contains(if draining { "503" } else { "\"status\":\"ok\"" }),
            "{said}"
        );
    }
}
