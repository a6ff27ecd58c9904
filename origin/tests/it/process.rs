//! The program as it is run: arguments, start, signals, strangers, secrets.

use crate::support::database::{TestDatabase, on_both_databases};
use crate::support::http::{get, get_with};
use crate::support::process::{Process, run};
use crate::support::{PATIENCE, until};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

on_both_databases!(
    two_that_start_at_once_on_an_empty_database_both_serve,
    tokens_that_nobody_took_back_go_though_reddit_is_turned_off,
);

async fn two_that_start_at_once_on_an_empty_database_both_serve(database: TestDatabase) {
    let starting: Vec<_> = (0..3)
        .map(|_| {
            let url = database.url.clone();
            tokio::task::spawn_blocking(move || Process::start(&[("DATABASE_URL", &url)]))
        })
        .collect();
    for process in starting {
        let process = process.await.expect("started");
        until("it is ready", || async {
            get(process.address, "/health/ready").await.status == 200
        })
        .await;
        let body = get(process.address, "/articles?category=technology")
            .await
            .json();
        assert_eq!(body["sources"][0]["state"], "sample");
        assert!(
            body["total"].as_i64() > Some(0),
            "a fresh database shows samples: {body}"
        );
    }
}

async fn tokens_that_nobody_took_back_go_though_reddit_is_turned_off(database: TestDatabase) {
    database.migrated().await.close().await;
    for queue in [
        "INSERT INTO oauth_revocations (place, token, queued_at, try_at, tries) VALUES ('old', 'x1.a', '2020-01-01T00:00:00+00:00', '2999-01-01T00:00:00+00:00', 9)",
        "INSERT INTO oauth_revocations (place, token, queued_at, try_at, tries) VALUES ('new', 'x1.b', '2999-01-01T00:00:00+00:00', '2999-01-01T00:00:00+00:00', 9)",
    ] {
        database.execute(queue).await;
    }
    let url = database.url.clone();
    let process = Process::start(&[("DATABASE_URL", &url)]);
    let count =
        |place: &str| format!("SELECT count(*) FROM oauth_revocations WHERE place = '{place}'");
    until("the old one is forgotten", || async {
        database.count(&count("old")).await == 0
    })
    .await;
    assert_eq!(database.count(&count("new")).await, 1);
    drop(process);
}

#[test]
fn migrate_ends_well_and_does_no_harm_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite://{}/a/b.db", folder.path().display());
    for _ in 0..2 {
        let ended = run(&["migrate"], &[("DATABASE_URL", &url)]);
        assert!(
            ended.status.success(),
            "{}",
            String::from_utf8_lossy(&ended.stderr)
        );
    }
    assert!(folder.path().join("a/b.db").exists());
}

#[test]
fn all_faults_are_told_at_once_with_the_settings_name() {
    let settings = [
        ("ORIGIN_LISTEN", "nowhere"),
        ("CACHE_TTL", "soon"),
        ("FEED_URLS", "ftp://x"),
        ("DATABASE_URL", "mysql://u:hunter2@h/d"),
        ("NEWSAPI_KEY_FILE", "/nonexistent"),
    ];
    for arguments in [&[][..], &["check"], &["migrate"], &["health"]] {
        let ended = run(arguments, &settings);
        assert_eq!(ended.status.code(), Some(64), "{arguments:?}");
        let told = String::from_utf8_lossy(&ended.stderr);
        for (name, _) in settings {
            assert!(told.contains(name), "{name} is missing in {told}");
        }
        assert!(!told.contains("hunter2"), "{told}");
    }
    assert_eq!(run(&["--colour", "red"], &[]).status.code(), Some(64));
    assert_eq!(run(&["dance"], &[]).status.code(), Some(64));
}

#[test]
fn flags_win_over_the_environment_and_empty_values_count_as_unset() {
    let shown = |arguments: &[&str], settings: &[(&str, &str)]| {
        let ended = run(arguments, settings);
        assert!(
            ended.status.success(),
            "{}",
            String::from_utf8_lossy(&ended.stderr)
        );
        let text = String::from_utf8_lossy(&ended.stdout).into_owned();
        let words: Vec<&str> = text.split_whitespace().collect();
        words.join(" ")
    };
    assert!(
        shown(&["check", "--cache-ttl", "7m"], &[("CACHE_TTL", "9m")]).contains("CACHE_TTL 7m")
    );
    assert!(shown(&["--cache-ttl", "7m", "check"], &[]).contains("CACHE_TTL 7m"));
    assert!(shown(&["check"], &[("CACHE_TTL", "90")]).contains("CACHE_TTL 90s"));
    assert!(shown(&["check"], &[("CACHE_TTL", ""), ("NEWSAPI_KEY", "")]).contains("CACHE_TTL 5m"));
    let text = shown(
        &["check"],
        &[
            ("NEWSAPI_KEY", "hunter2"),
            ("DATABASE_URL", "postgres://u:hunter2@h/d"),
            ("FEED_URLS", "https://u:hunter2@f.example/rss?k=hunter2"),
        ],
    );
    assert!(
        text.contains("sources: newsapi feed:f.example/rss") && !text.contains("hunter2"),
        "{text}"
    );
}

#[test]
fn a_secret_can_come_from_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("key");
    std::fs::write(&path, "hunter2\n").expect("written");
    let ended = run(
        &["check"],
        &[("NEWSAPI_KEY_FILE", path.to_str().expect("text"))],
    );
    assert!(String::from_utf8_lossy(&ended.stdout).contains("sources: newsapi"));
}

#[tokio::test]
async fn health_asks_the_running_one() {
    let process = Process::start(&[]);
    until("it is ready", || async {
        get(process.address, "/health/ready").await.status == 200
    })
    .await;
    let listen = format!("0.0.0.0:{}", process.address.port());
    assert!(
        run(&["health"], &[("ORIGIN_LISTEN", &listen)])
            .status
            .success()
    );
    drop(process);
    let vacant = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port")
        .local_addr()
        .expect("an address");
    assert_eq!(
        run(&["health"], &[("ORIGIN_LISTEN", &vacant.to_string())])
            .status
            .code(),
        Some(1)
    );
}

/// A feed whose answer is held back until the test lets it go.
async fn held_feed() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/feed", listener.local_addr().expect("an address"));
    (listener, url)
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_the_request_under_way_finish_and_then_ends_at_once() {
    let (feed, url) = held_feed().await;
    let mut process = Process::start(&[("FEED_URLS", &url), ("ORIGIN_SOURCE_TIMEOUT", "30s")]);
    let address = process.address;
    until("it is ready", || async {
        get(address, "/health/ready").await.status == 200
    })
    .await;
    let idle = TcpStream::connect(address).await.expect("a connection");
    let under_way = tokio::spawn(get(address, "/articles"));
    let (mut asked, _) = feed.accept().await.expect("the feed is asked");

    process.terminate();
    until("no new connection is accepted", || async {
        TcpStream::connect(address).await.is_err()
    })
    .await;
    assert!(!under_way.is_finished());
    let begun = Instant::now();
    asked
        .write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        .await
        .expect("written");
    let reply = under_way.await.expect("no panic");
    assert_eq!(
        (
            reply.status.as_u16(),
            reply.json()["sources"][0]["state"].as_str()
        ),
        (200, Some("error"))
    );
    assert!(process.ended().success(), "{}", process.log());
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "it ends when it has drained, not when the time is up"
    );
    drop(idle);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_never_ends_does_not_hold_up_the_stop_for_longer_than_eight_seconds() {
    let (feed, url) = held_feed().await;
    let mut process = Process::start(&[("FEED_URLS", &url), ("ORIGIN_SOURCE_TIMEOUT", "1h")]);
    let address = process.address;
    until("it is ready", || async {
        get(address, "/health/ready").await.status == 200
    })
    .await;
    let _under_way = tokio::spawn(async move {
        crate::support::http::send(address, hyper::Method::GET, "/articles", &[]).await
    });
    let _asked = feed.accept().await.expect("the feed is asked");
    let begun = Instant::now();
    process.terminate();
    assert!(process.ended().success(), "{}", process.log());
    assert!(
        begun.elapsed() < Duration::from_secs(9),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn garbage_is_refused_and_does_no_harm() {
    let process = Process::start(&[]);
    let long_line = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(1_000_000));
    let many_fields = format!(
        "GET / HTTP/1.1\r\nhost: x\r\n{}\r\n",
        "a: b\r\n".repeat(5_000)
    );
    let garbage: [&[u8]; 9] = [
        b"GARBAGE\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        long_line.as_bytes(),
        many_fields.as_bytes(),
    ];
    for bytes in garbage {
        let mut stream = TcpStream::connect(process.address)
            .await
            .expect("a connection");
        // Whoever is refused early may find the door closed while still talking.
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer))
            .await
            .expect("the connection is closed");
        let answer = String::from_utf8_lossy(&answer);
        let shown: String = String::from_utf8_lossy(bytes).chars().take(40).collect();
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{shown:?} was answered with {answer}"
        );
    }
    let mut stream = TcpStream::connect(process.address)
        .await
        .expect("a connection");
    stream.write_all(b"GARBAGE\r\n\r\n").await.expect("written");
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(answer, b"HTTP/1.1 400");
    assert_eq!(get(process.address, "/health/live").await.status, 200);
}

#[tokio::test]
async fn secrets_stay_out_of_logs_and_answers() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("guardian");
    std::fs::write(&key, "hunter2-guardian").expect("written");
    // A port on which nobody listens: the errors of connecting name the URL in many clients.
    let vacant = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port")
        .local_addr()
        .expect("an address");
    let base = format!("http://{vacant}");
    let process = Process::start(&[
        ("NEWSAPI_KEY", "hunter2-newsapi"),
        ("GUARDIAN_API_KEY_FILE", key.to_str().expect("text")),
        ("NEWSAPI_URL", &base),
        ("GUARDIAN_URL", &base),
        ("ORIGIN_LOG", "debug"),
    ]);
    until("it is ready", || async {
        get(process.address, "/health/ready").await.status == 200
    })
    .await;
    let reply = get(process.address, "/articles").await;
    let states: Vec<_> = (0..2)
        .map(|n| reply.json()["sources"][n]["code"].clone())
        .collect();
    assert_eq!(states, ["unreachable", "unreachable"]);
    let everything = format!("{} {:?}", process.log(), reply);
    assert!(
        everything.contains("source failed") && !everything.contains("hunter2"),
        "{everything}"
    );
}

#[tokio::test]
async fn a_database_that_is_down_at_start_is_waited_for_without_naming_its_password() {
    let vacant = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port")
        .local_addr()
        .expect("an address");
    let url = format!("postgres://larder:hunter2@{vacant}/news");
    let process = Process::start(&[("DATABASE_URL", &url)]);
    assert_eq!(get(process.address, "/health/live").await.status, 200);
    assert_eq!(get(process.address, "/health/ready").await.status, 503);
    assert_eq!(
        get(process.address, "/articles").await.code(),
        "database_unavailable"
    );
    until("it says that it waits", || async {
        process.log().contains("waiting for the database")
    })
    .await;
    assert!(!process.log().contains("hunter2"));
}

#[tokio::test]
async fn log_lines_bear_the_identifiers_of_their_request() {
    let process = Process::start(&[]);
    until("it is ready", || async {
        get(process.address, "/health/ready").await.status == 200
    })
    .await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let fields = [
        ("x-request-id", "from-the-proxy-1"),
        ("traceparent", &format!("00-{trace}-00f067aa0ba902b7-01")),
    ];
    let target = "/articles?category=health&live=true";
    let reply = get_with(process.address, target, &fields).await;
    assert_eq!(reply.header("x-request-id"), "from-the-proxy-1");
    let own = get(process.address, "/status").await;
    assert_eq!(own.header("x-request-id").len(), 16);
    let of_request = |message: &str| {
        process.log().lines().any(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
            line["message"] == message
                && line["span"]["request_id"] == "from-the-proxy-1"
                && line["span"]["trace_id"] == trace
        })
    };
    until("both lines are written", || async {
        of_request("answered") && of_request("source asked")
    })
    .await;
}
