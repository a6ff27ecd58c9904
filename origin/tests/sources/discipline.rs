//! How sources are asked: against servers that answer by a script and tell what they were asked.

use super::support::{Built, database, script};
use chrono::{DateTime, TimeDelta, Utc};
use larder_origin::discipline::{Ledger, Purpose, Reason, Window};
use larder_origin::secret::Secret;
use larder_origin::source::{Query, Source, SourceError, SourceSettings, build};
use std::time::Duration;
use url::Url;

const OK: &str = "200 OK\r\n\r\n{\"status\":\"ok\",\"articles\":[]}";
const DOWN: &str = "503 Service Unavailable\r\n\r\nno";

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_780_000_000, 0).expect("a date")
}

fn query(purpose: Purpose) -> Query {
    Query {
        category: None,
        articles_max: 50,
        purpose,
    }
}

fn settings(url: &Url, quota: u32) -> SourceSettings {
    SourceSettings {
        newsapi_key: Secret::new("k"),
        newsapi_url: Some(url.clone()),
        newsapi_quota: vec![Window {
            requests_max: quota,
            length: TimeDelta::minutes(30),
        }],
        timeout: Duration::from_secs(20),
        ..SourceSettings::default()
    }
}

async fn ask(source: &dyn Source, seconds: i64) -> Result<(), SourceError> {
    let asked = source.fetch(query(Purpose::Live), now() + TimeDelta::seconds(seconds));
    asked.await.map(drop)
}

#[tokio::test]
async fn what_may_pass_is_asked_again_and_each_try_takes_quota() {
    let server = script([DOWN, DOWN, OK]).await;
    let built = Built::new(&settings(&server.url, 100)).await;
    ask(built[0].as_ref(), 0).await.expect("the third try");
    assert_eq!(server.asked(), 3);
    let counted = built.ledger.counted("newsapi").await.expect("counted");
    assert_eq!(counted.len(), 3);
    let record = built.ledger.records().await.expect("records").remove(0);
    assert!(record.last_success_at.is_some() && record.last_failure_at.is_none());
}

#[tokio::test]
async fn a_quota_is_not_exceeded_by_retries() {
    let server = script([DOWN; 10]).await;
    let built = Built::new(&settings(&server.url, 2)).await;
    let fault = ask(built[0].as_ref(), 0).await.expect_err("down");
    let down = matches!(fault, SourceError::Status { status: 503, .. });
    assert!(down, "{fault:?}");
    assert_eq!(server.asked(), 2);
    let fault = ask(built[0].as_ref(), 60).await.expect_err("spent");
    let reason = Reason::Spent;
    let spent = matches!(fault, SourceError::Refused { reason: told, .. } if told == reason);
    assert!(spent, "{fault:?}");
    assert_eq!(server.asked(), 2, "no request without quota");
}

#[tokio::test]
async fn what_will_not_pass_is_asked_once() {
    let refusals = [
        "400 Bad Request\r\n\r\n{\"status\":\"error\",\"code\":\"parametersMissing\"}",
        "401 Unauthorized\r\n\r\n{\"status\":\"error\",\"code\":\"apiKeyInvalid\"}",
        "426 Upgrade Required\r\n\r\n{\"status\":\"error\",\"code\":\"maximumResultsReached\"}",
        "200 OK\r\n\r\nnonsense",
    ];
    for refusal in refusals {
        let server = script([refusal; 4]).await;
        let built = Built::new(&settings(&server.url, 100)).await;
        ask(built[0].as_ref(), 0).await.expect_err("a refusal");
        assert_eq!(server.asked(), 1, "{refusal}");
    }
}

#[tokio::test]
async fn patience_that_was_asked_for_holds_for_other_processes_too() {
    let limited = "429 Too Many Requests\r\nRetry-After: 90\r\n\r\n{}";
    let server = script([limited, OK, OK]).await;
    let (database, _folder) = database().await;
    let replicas: Vec<_> = (0..2)
        .map(|_| build(&settings(&server.url, 100), &Ledger::new(&database)).expect("sources"))
        .collect();
    let fault = ask(replicas[0][0].as_ref(), 0).await.expect_err("limited");
    assert!(
        matches!(fault, SourceError::RateLimited { .. }),
        "{fault:?}"
    );
    let fault = ask(replicas[1][0].as_ref(), 60)
        .await
        .expect_err("patience");
    let paused = matches!(
        fault,
        SourceError::Refused {
            reason: Reason::Paused,
            ..
        }
    );
    assert!(paused, "{fault:?}");
    assert_eq!(server.asked(), 1);
    ask(replicas[1][0].as_ref(), 120)
        .await
        .expect("the time is over");
}

#[tokio::test]
async fn a_short_patience_is_waited_for_on_the_spot() {
    let limited = "429 Too Many Requests\r\nRetry-After: 1\r\n\r\n{}";
    let server = script([limited, OK]).await;
    let built = Built::new(&settings(&server.url, 100)).await;
    let begun = std::time::Instant::now();
    ask(built[0].as_ref(), 0).await.expect("the second try");
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(server.asked(), 2);
}

#[tokio::test]
async fn a_source_that_keeps_failing_is_left_alone_and_tried_again_by_one() {
    let server = script(["500 Oops\r\n\r\nno"; 100]).await;
    let feed = SourceSettings {
        feed_urls: vec![server.url.clone()],
        feed_interval_min: Duration::ZERO,
        timeout: Duration::from_secs(20),
        ..SourceSettings::default()
    };
    let built = Built::new(&feed).await;
    for second in 0..5 {
        let fault = ask(built[0].as_ref(), second * 10)
            .await
            .expect_err("a failure");
        assert!(
            matches!(fault, SourceError::Status { status: 500, .. }),
            "{fault:?}"
        );
    }
    let asked = server.asked();
    assert_eq!(asked, 15, "two retries each");
    let fault = ask(built[0].as_ref(), 45).await.expect_err("open");
    assert!(matches!(fault, SourceError::Open { .. }), "{fault:?}");
    assert_eq!(server.asked(), asked);
    ask(built[0].as_ref(), 120).await.expect_err("half open");
    assert!(server.asked() > asked);
    let fault = ask(built[0].as_ref(), 130).await.expect_err("open again");
    assert!(matches!(fault, SourceError::Open { .. }), "{fault:?}");
}

#[tokio::test]
async fn without_a_database_nothing_is_asked() {
    let server = script([OK]).await;
    let sources = build(&settings(&server.url, 100), &Ledger::closed()).expect("sources");
    let fault = ask(sources[0].as_ref(), 0).await.expect_err("uncounted");
    assert!(matches!(fault, SourceError::Uncounted(_)), "{fault:?}");
    assert_eq!(server.asked(), 0);
}

#[tokio::test]
async fn what_the_provider_says_is_left_is_obeyed() {
    let last = "200 OK\r\nX-RateLimit-Remaining-day: 1\r\n\r\n{\"response\":{\"results\":[]}}";
    let none = "200 OK\r\nX-RateLimit-Remaining-day: 0\r\n\r\n{\"response\":{\"results\":[]}}";
    let server = script([last, none, last]).await;
    let guardian = SourceSettings {
        guardian_key: Secret::new("k"),
        guardian_url: Some(server.url.clone()),
        ..SourceSettings::default()
    };
    let built = Built::new(&guardian).await;
    ask(built[0].as_ref(), 0).await.expect("one left");
    ask(built[0].as_ref(), 1).await.expect("none left");
    let fault = ask(built[0].as_ref(), 2).await.expect_err("nothing left");
    assert!(matches!(fault, SourceError::Refused { .. }), "{fault:?}");
    assert_eq!(server.asked(), 2);
}

#[tokio::test]
async fn a_feed_is_polled_no_more_often_than_it_wishes() {
    let body = "<rss version=\"2.0\"><channel><title>t</title><ttl>60</ttl><item><title>a</title><link>https://a.example/1</link></item></channel></rss>";
    let fresh = format!(
        "200 OK\r\nCache-Control: max-age=120\r\nETag: W/\"x,y\"\r\nLast-Modified: yesterday\r\n\r\n{body}"
    );
    let server = script([fresh.as_str(), "304 Not Modified\r\n\r\n"]).await;
    let feed = SourceSettings {
        feed_urls: vec![server.url.clone()],
        timeout: Duration::from_secs(20),
        ..SourceSettings::default()
    };
    let built = Built::new(&feed).await;
    let fetch = async |seconds| {
        let now = now() + TimeDelta::seconds(seconds);
        let batch = built[0]
            .fetch(query(Purpose::Live), now)
            .await
            .expect("a batch");
        built[0].stored(now).await;
        batch.unchanged || batch.not_due.is_some()
    };
    assert!(!fetch(0).await);
    assert!(fetch(3_599).await);
    assert_eq!(server.asked(), 1, "its ttl is an hour");
    assert!(fetch(3_600).await);
    assert_eq!(server.asked(), 2);
    let asked = server.request(1);
    assert!(asked.contains("if-none-match: W/\"x,y\"\r\n"), "{asked}");
    assert!(
        asked.contains("if-modified-since: yesterday\r\n"),
        "{asked}"
    );
}
