//! Each source fetches from the simulation: what it brings, and how each failure is told.

use super::support::Built;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, Utc};
use larder_origin::article::Category;
use larder_origin::discipline::Purpose;
use larder_origin::secret::Secret;
use larder_origin::sim::{Behaviour, Simulation, Upstream};
use larder_origin::source::{Batch, Query, Source, SourceError, SourceSettings};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// Long enough for a busy machine, short enough to wait for where a timeout is due.
const PATIENT: Duration = Duration::from_secs(20);
const HASTY: Duration = Duration::from_millis(300);
const KEY: &str = "s3cr3t-k3y";
const ALL: [Upstream; 4] = [
    Upstream::Newsapi,
    Upstream::Guardian,
    Upstream::Hackernews,
    Upstream::Feeds,
];

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_780_000_000, 0).expect("a date")
}

fn query(category: Option<Category>) -> Query {
    Query {
        category,
        articles_max: 50,
        purpose: Purpose::Live,
    }
}

async fn simulation(behaviour: Behaviour) -> Simulation {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    Simulation::start(listen, behaviour)
        .await
        .expect("a free port")
}

async fn sources(simulation: &Simulation, key: &str, timeout: Duration) -> Built {
    let base = simulation.url("/");
    let settings = SourceSettings {
        newsapi_key: Secret::new(key),
        newsapi_url: Some(base.clone()),
        guardian_key: Secret::new(key),
        guardian_url: Some(base.clone()),
        hackernews: true,
        hackernews_url: Some(base),
        feed_urls: vec![
            simulation.url("/feeds/rss.xml"),
            simulation.url("/feeds/atom.xml"),
            simulation.url("/feeds/feed.json"),
        ],
        timeout,
        feed_interval_min: Duration::ZERO,
        ..SourceSettings::default()
    };
    Built::new(&settings).await
}

async fn feed(url: Url) -> Built {
    let settings = SourceSettings {
        feed_urls: vec![url],
        timeout: PATIENT,
        ..SourceSettings::default()
    };
    Built::new(&settings).await
}

#[tokio::test]
async fn every_source_brings_articles() {
    let simulation = simulation(Behaviour::default()).await;
    let mut brought = Vec::new();
    for source in sources(&simulation, KEY, PATIENT).await.iter() {
        let batch = source.fetch(query(None), now()).await.expect("a batch");
        assert_eq!(batch.skipped, 0, "{}", source.name());
        brought.push((source.name().to_owned(), batch.articles.len()));
    }
    let counts: Vec<usize> = brought.iter().map(|(_, count)| *count).collect();
    assert_eq!(counts, [22, 8, 5, 5, 4, 3], "{brought:?}");
}

#[tokio::test]
async fn a_category_narrows_what_keyed_sources_bring() {
    let simulation = simulation(Behaviour::default()).await;
    for source in sources(&simulation, KEY, PATIENT)
        .await
        .iter()
        .filter(|source| source.answers_by_category())
    {
        for category in Category::ALL {
            let batch = source
                .fetch(query(Some(category)), now())
                .await
                .expect("a batch");
            assert!(
                !batch.articles.is_empty(),
                "{} has no {category}",
                source.name()
            );
            assert!(
                batch
                    .articles
                    .iter()
                    .all(|article| article.categories == [category]),
                "{} {category}",
                source.name()
            );
        }
    }
    assert_eq!(simulation.counts()["/v2/everything"], 1);
    assert_eq!(simulation.counts()["/v2/top-headlines"], 7);
}

#[tokio::test]
async fn no_more_articles_come_than_were_asked_for() {
    let simulation = simulation(Behaviour::default()).await;
    for source in sources(&simulation, KEY, PATIENT).await.iter() {
        let batch = source
            .fetch(
                Query {
                    category: None,
                    articles_max: 2,
                    purpose: Purpose::Live,
                },
                now(),
            )
            .await
            .expect("a batch");
        assert_eq!(batch.articles.len(), 2, "{}", source.name());
    }
}

#[tokio::test]
async fn a_refused_key_is_a_matter_of_credentials_and_never_shown() {
    let simulation = simulation(Behaviour::default()).await;
    for source in sources(&simulation, "invalid", PATIENT)
        .await
        .iter()
        .take(2)
    {
        let fault = source
            .fetch(query(None), now())
            .await
            .expect_err("a refusal");
        assert!(
            matches!(fault, SourceError::Credentials(_)),
            "{}: {fault}",
            source.name()
        );
    }
}

#[tokio::test]
async fn a_limit_tells_how_long_to_wait() {
    let simulation = simulation(Behaviour {
        limit: ALL.into(),
        ..Behaviour::default()
    })
    .await;
    for source in sources(&simulation, KEY, PATIENT).await.iter() {
        let fault = source.fetch(query(None), now()).await.expect_err("a limit");
        let told = matches!(fault, SourceError::RateLimited { retry_after } if retry_after == Some(Duration::from_secs(7)));
        assert!(told, "{}: {fault:?}", source.name());
    }
}

#[tokio::test]
async fn a_failing_source_is_told_by_its_status_and_recovers() {
    let simulation = simulation(Behaviour {
        fail: ALL.into(),
        ..Behaviour::default()
    })
    .await;
    let sources = sources(&simulation, KEY, PATIENT).await;
    for source in sources.iter() {
        let fault = source
            .fetch(query(None), now())
            .await
            .expect_err("a failure");
        assert!(
            matches!(
                fault,
                SourceError::Status {
                    status: 500..=599,
                    ..
                }
            ),
            "{}: {fault:?}",
            source.name()
        );
    }
    simulation.behave(Behaviour::default());
    for source in sources.iter() {
        source.fetch(query(None), now()).await.expect("recovered");
    }
}

#[tokio::test]
async fn a_silent_source_times_out() {
    let simulation = simulation(Behaviour {
        hang: ALL.into(),
        ..Behaviour::default()
    })
    .await;
    for source in sources(&simulation, KEY, HASTY).await.iter() {
        let fault = source
            .fetch(query(None), now())
            .await
            .expect_err("a timeout");
        assert!(
            matches!(fault, SourceError::Timeout(HASTY)),
            "{}: {fault:?}",
            source.name()
        );
    }
}

#[tokio::test]
async fn no_failure_shows_the_key() {
    let simulation = simulation(Behaviour::default()).await;
    let patient = sources(&simulation, KEY, PATIENT).await;
    let hasty = sources(&simulation, KEY, HASTY).await;
    let faulty = [
        Behaviour {
            fail: ALL.into(),
            ..Behaviour::default()
        },
        Behaviour {
            limit: ALL.into(),
            ..Behaviour::default()
        },
    ];
    let mut told = Vec::new();
    for behaviour in faulty {
        simulation.behave(behaviour);
        told.extend(faults(&patient).await);
    }
    simulation.behave(Behaviour {
        hang: ALL.into(),
        ..Behaviour::default()
    });
    told.extend(faults(&hasty).await);
    drop(simulation);
    told.extend(faults(&patient).await);
    assert_eq!(told.len(), 4 * patient.len());
    for text in told {
        assert!(!text.contains(KEY), "{text}");
        assert!(
            !text.contains("127.0.0.1"),
            "an address in an error: {text}"
        );
    }
    assert!(
        patient
            .iter()
            .all(|source| !format!("{source:?}").contains(KEY))
    );
}

async fn faults(sources: &[Arc<dyn Source>]) -> Vec<String> {
    let mut told = Vec::new();
    for source in sources.iter() {
        let fault = source.fetch(query(None), now()).await.expect_err("a fault");
        told.push(format!("{fault} {fault:?}"));
    }
    told
}

#[tokio::test]
async fn a_refused_connection_is_unreachable() {
    let simulation = simulation(Behaviour::default()).await;
    let sources = sources(&simulation, KEY, PATIENT).await;
    let address = simulation.address();
    drop(simulation);
    // The listener is gone once the aborted server is: wait for that, not for a time.
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    for source in sources.iter() {
        let fault = source
            .fetch(query(None), now())
            .await
            .expect_err("nobody there");
        assert!(
            matches!(&fault, SourceError::Unreachable(cause) if cause.contains("refused")),
            "{}: {fault:?}",
            source.name()
        );
    }
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let simulation = simulation(Behaviour::default()).await;
    let fault = feed(simulation.url("/feeds/endless.xml")).await[0]
        .fetch(query(None), now())
        .await
        .expect_err("too large");
    assert!(
        matches!(
            fault,
            SourceError::TooLarge {
                bytes_max: larder_origin::http::BODY_BYTES_MAX
            }
        ),
        "{fault:?}"
    );
}

/// 180 kB of Atom: a base of 100 kB, and 5,000 links that would each repeat it.
const COMPRESSED_BOMB: &str = "\
    H4sIAAAAAAACA+3KUWrCUBBA0a3IW0CetPRHYsClxDpRMYkSHyTuvi1S1+DHOT8zd5i6izislqEf79t0KuW2yXme52r+rK7TMX+s1195V65D+v\
    vZ7Nt7vN7aKpZ2uPWR9wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\
    AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAMDbyqmpy7n00ZQ6P5c6xjI9/s/L69yfx8vqNEW3Td8pa6211lprrbXWWmuttdZaa6211lprrb\
    XWWmuttdZaa6211lprrbXWWmuttdZaa6211lprrbXWWmuttdZaa6211lprrbXWWmuttdZaa6211lprrbXWWmuttdZaa6211lprrbXWWmuttdZa\
    a6211lprrbXWWmuttdZaa6211lprrbXWWmuttdZaa6211lprrbXWWmuttdZaa6211lprrbXWWmuttdZaa6211lprrbXWWmuttdZaa6211lprrb\
    XWWmuttdbPzjGW6fE7u4hD8wMkZG0Znr8CAA==";

#[tokio::test]
async fn a_feed_of_a_few_compressed_bytes_is_refused_for_what_they_would_become() {
    let body = BASE64.decode(COMPRESSED_BOMB).expect("bytes");
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let (url, _asked) = scripted([head.into_bytes(), body].concat()).await;
    let fault = feed(url).await[0]
        .fetch(query(None), now())
        .await
        .expect_err("too much");
    let told = fault.to_string();
    assert!(
        matches!(fault, SourceError::Malformed(_)) && told.contains("xml:base"),
        "{told}"
    );
}

#[tokio::test]
async fn a_redirect_loop_ends() {
    let simulation = simulation(Behaviour::default()).await;
    let fault = feed(simulation.url("/feeds/loop.xml")).await[0]
        .fetch(query(None), now())
        .await
        .expect_err("a loop");
    assert!(matches!(fault, SourceError::Malformed(_)), "{fault:?}");
    assert_eq!(
        simulation.counts()["/feeds/loop.xml"],
        6,
        "the first request and five redirects"
    );
}

#[tokio::test]
async fn a_missing_feed_is_told_by_its_status() {
    let simulation = simulation(Behaviour::default()).await;
    let fault = feed(simulation.url("/feeds/none.xml")).await[0]
        .fetch(query(None), now())
        .await
        .expect_err("nothing there");
    assert!(
        matches!(fault, SourceError::Status { status: 404, .. }),
        "{fault:?}"
    );
}

#[tokio::test]
async fn an_unchanged_feed_is_asked_for_but_not_sent_again() {
    let simulation = simulation(Behaviour::default()).await;
    let feed = feed(simulation.url("/feeds/rss.xml")).await;
    let first = feed[0].fetch(query(None), now()).await.expect("a batch");
    assert!(!first.articles.is_empty() && !first.unchanged);
    feed[0].stored(now()).await;
    let later = now() + Duration::from_secs(900);
    let again = feed[0].fetch(query(None), later).await.expect("an answer");
    assert_eq!(again, Batch::unchanged());
    assert_eq!(simulation.counts()["/feeds/rss.xml"], 2);
}

#[tokio::test]
async fn articles_that_could_not_be_stored_come_again_after_an_empty_batch_was_stored() {
    let simulation = simulation(Behaviour::default()).await;
    let feed = feed(simulation.url("/feeds/rss.xml")).await;
    let first = feed[0].fetch(query(None), now()).await.expect("a batch");
    assert!(!first.articles.is_empty());
    // Storing them failed. The next try is too early to poll, and what it gives, nothing, is stored.
    let soon = now() + Duration::from_secs(1);
    let early = feed[0].fetch(query(None), soon).await.expect("an answer");
    assert_eq!(early.not_due, Some(Duration::from_secs(59)));
    feed[0].stored(soon).await;
    let later = now() + Duration::from_secs(900);
    let again = feed[0].fetch(query(None), later).await.expect("a batch");
    assert_eq!(again.articles.len(), first.articles.len());
}

#[tokio::test]
async fn what_was_never_stored_is_sent_again() {
    let simulation = simulation(Behaviour::default()).await;
    let feed = feed(simulation.url("/feeds/rss.xml")).await;
    let first = feed[0].fetch(query(None), now()).await.expect("a batch");
    let later = now() + Duration::from_secs(900);
    let again = feed[0].fetch(query(None), later).await.expect("a batch");
    assert_eq!(first.articles.len(), again.articles.len());
}

/// Answers one connection after another with the same bytes, and tells what each request was.
async fn scripted(
    answer: impl Into<Vec<u8>>,
) -> (Url, tokio::sync::mpsc::UnboundedReceiver<String>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a free port");
    let url = Url::parse(&format!(
        "http://{}",
        listener.local_addr().expect("an address")
    ))
    .expect("a URL");
    let (tell, told) = tokio::sync::mpsc::unbounded_channel();
    let answer = answer.into();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else {
                    break;
                };
                request.push(byte);
            }
            let _ = tell.send(String::from_utf8_lossy(&request).into_owned());
            let _ = stream.write_all(&answer).await;
        }
    });
    (url, told)
}

fn answer(head: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

async fn keyed(url: &Url) -> Built {
    let settings = SourceSettings {
        newsapi_key: Secret::new(KEY),
        newsapi_url: Some(url.clone()),
        guardian_key: Secret::new(KEY),
        guardian_url: Some(url.clone()),
        timeout: PATIENT,
        ..SourceSettings::default()
    };
    Built::new(&settings).await
}

#[tokio::test]
async fn a_key_follows_no_redirect_to_another_site() {
    let (elsewhere, mut seen) = scripted(answer("200 OK", "{}")).await;
    let (url, _asked) = scripted(answer(&format!("302 Found\r\nLocation: {elsewhere}"), "")).await;
    for source in keyed(&url).await.iter() {
        let fault = source
            .fetch(query(None), now())
            .await
            .expect_err("a refusal");
        assert!(
            matches!(fault, SourceError::Malformed(_)),
            "{}: {fault:?}",
            source.name()
        );
    }
    assert!(seen.try_recv().is_err(), "the other site was asked");
}

#[tokio::test]
async fn what_a_provider_echoes_of_the_key_is_blotted() {
    let body = format!(
        r#"{{"status":"error","code":"apiKeyInvalid","message":"Your key {KEY} is wrong"}}"#
    );
    // Mirrors lose the status.
    for status in ["401 Unauthorized", "400 Bad Request", "200 OK"] {
        let body = body.replace(
            "apiKeyInvalid",
            if status.starts_with('4') {
                "apiKeyInvalid"
            } else {
                "odd"
            },
        );
        let (url, _asked) = scripted(answer(status, &body)).await;
        for source in keyed(&url).await.iter() {
            let text = source
                .fetch(query(None), now())
                .await
                .expect_err("a refusal")
                .to_string();
            assert!(
                !text.contains(KEY) && text.contains("[secret]"),
                "{status}: {text}"
            );
        }
    }
}

#[tokio::test]
async fn an_upgrade_required_is_an_answer_like_any_other() {
    let body = r#"{"status":"error","code":"maximumResultsReached","message":"Too many results."}"#;
    let (url, _asked) = scripted(answer("426 Upgrade Required\r\nUpgrade: h2c", body)).await;
    let fault = keyed(&url).await[0]
        .fetch(query(None), now())
        .await
        .expect_err("a refusal");
    assert!(
        matches!(fault, SourceError::Status { status: 426, .. }),
        "{fault:?}"
    );
}

#[tokio::test]
async fn requests_say_who_asks_and_carry_the_key_where_it_belongs() {
    let (url, mut asked) = scripted(answer("200 OK", "{}")).await;
    for source in keyed(&url).await.iter() {
        let _ = source.fetch(query(None), now()).await;
    }
    let newsapi = asked.recv().await.expect("a request").to_lowercase();
    assert!(newsapi.contains(&format!("x-api-key: {KEY}")), "{newsapi}");
    assert!(
        newsapi.contains("user-agent: larder/") && newsapi.contains("accept-encoding: "),
        "{newsapi}"
    );
    assert!(
        !newsapi.lines().next().unwrap_or_default().contains(KEY),
        "a key in the request line"
    );
    let guardian = asked.recv().await.expect("a request").to_lowercase();
    assert!(guardian.contains(&format!("api-key={KEY}")), "{guardian}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_no_batch() {
    let (url, _asked) =
        scripted("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"status\":\"ok\",".to_owned())
            .await;
    let fault = keyed(&url).await[0]
        .fetch(query(None), now())
        .await
        .expect_err("half an answer");
    assert!(matches!(fault, SourceError::Unreachable(_)), "{fault:?}");
}
