//! When the sources are asked, and what is said of those that fail.

use crate::support::database::TestDatabase;
use crate::support::http::{Reply, get};
use crate::support::news::{Act, Script, article};
use crate::support::origin::{SHORT_TIMEOUT, TestOrigin};
use crate::support::until;
use larder_origin::article::{Category, NewArticle};
use larder_origin::discipline::Reason;
use larder_origin::source::SourceError;
use std::time::Duration;

fn one(path: &str) -> Act {
    Act::Give(vec![article(path, 0)])
}

/// The state of each source, by name, with its code.
fn states(reply: &Reply) -> Vec<String> {
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    let body = reply.json();
    let sources = body["sources"].as_array().expect("sources");
    let word = |source: &serde_json::Value, name: &str| {
        source[name].as_str().unwrap_or_default().to_owned()
    };
    sources
        .iter()
        .map(|source| {
            format!(
                "{} {} {}",
                word(source, "name"),
                word(source, "state"),
                word(source, "code")
            )
            .trim_end()
            .to_owned()
        })
        .collect()
}

#[tokio::test]
async fn a_question_is_asked_once_while_its_answer_is_fresh() {
    let source = Script::new("a", one("x"));
    let origin = TestOrigin::start(std::slice::from_ref(&source)).await;
    assert_eq!(states(&get(origin.address, "/articles").await), ["a ok"]);
    let second = get(origin.address, "/articles").await;
    assert_eq!(states(&second), ["a fresh"]);
    assert_eq!(second.json()["total"], 1);
    assert_eq!(source.asked(), 1);
    get(origin.address, "/articles?category=general").await;
    assert_eq!(source.asked(), 2, "another category is another question");
    get(
        origin.address,
        "/articles?category=general&limit=5&source=a",
    )
    .await;
    assert_eq!(source.asked(), 2);
}

#[tokio::test]
async fn live_asks_though_what_is_stored_is_fresh() {
    let source = Script::new("a", one("x"));
    let origin = TestOrigin::start(std::slice::from_ref(&source)).await;
    for asked in 1..=3 {
        assert_eq!(
            states(&get(origin.address, "/articles?live=true").await),
            ["a ok"]
        );
        assert_eq!(source.asked(), asked);
    }
    assert_eq!(
        states(&get(origin.address, "/articles?live=false").await),
        ["a fresh"]
    );
}

#[tokio::test]
async fn a_source_that_knows_no_categories_is_asked_once_for_all_of_them() {
    let science = NewArticle {
        categories: vec![Category::Science],
        ..article("x", 0)
    };
    let source = Script::without_categories("a", Act::Give(vec![science]));
    let origin = TestOrigin::start(std::slice::from_ref(&source)).await;
    assert_eq!(
        get(origin.address, "/articles?category=science")
            .await
            .json()["total"],
        1
    );
    assert_eq!(
        get(origin.address, "/articles?category=sports")
            .await
            .json()["total"],
        0
    );
    assert_eq!(source.asked(), 1);
}

#[tokio::test]
async fn without_a_schedule_nothing_stays_fresh_longer_than_the_setting_says() {
    let source = Script::new("a", one("x"));
    let origin = TestOrigin::with(
        TestDatabase::sqlite().await,
        std::slice::from_ref(&source),
        &[("CACHE_TTL", "0s"), ("ORIGIN_REFRESH_INTERVAL", "0s")],
    )
    .await;
    let reply = get(origin.address, "/articles").await;
    assert_eq!(
        reply.header("cdn-cache-control"),
        "max-age=0, stale-if-error=3600"
    );
    get(origin.address, "/articles").await;
    assert_eq!(source.asked(), 2);
}

#[tokio::test]
async fn with_a_schedule_a_request_asks_only_what_was_never_asked() {
    let source = Script::new("a", Act::Fail(|| SourceError::Timeout(Duration::ZERO)));
    let origin = TestOrigin::with(
        TestDatabase::sqlite().await,
        std::slice::from_ref(&source),
        &[("CACHE_TTL", "0s")],
    )
    .await;
    for _ in 0..3 {
        let reply = get(origin.address, "/articles").await;
        assert_eq!(states(&reply), ["a error timeout"]);
        assert_eq!(reply.json()["partial"], true);
    }
    assert_eq!(source.asked(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_question_at_the_same_time_is_asked_once() {
    let source = Script::gated("a", one("x"));
    let origin = TestOrigin::start(std::slice::from_ref(&source)).await;
    let address = origin.address;
    let targets = [
        "/articles",
        "/articles?live=true",
        "/articles?limit=1",
        "/articles?source=a",
    ];
    let clients: Vec<_> = (0..12)
        .map(|n| tokio::spawn(async move { get(address, targets[n % targets.len()]).await }))
        .collect();
    until("the source is asked", || async { source.asked() > 0 }).await;
    // Nobody else may come while the first asking hangs; when it ends, those who waited take its answer.
    source.release(1);
    for client in clients {
        let reply = tokio::time::timeout(Duration::from_secs(20), client)
            .await
            .expect("no client waits for ever")
            .expect("a reply");
        assert_eq!(reply.json()["total"], 1);
    }
    assert_eq!(source.asked(), 1);
}

#[tokio::test]
async fn sources_that_fail_hang_or_panic_make_a_partial_answer_that_says_so() {
    let sources = [
        Script::new("good", one("x")),
        Script::new("empty", Act::Give(vec![])),
        Script::new("hangs", Act::Hang),
        Script::new("panics", Act::Panic),
        Script::new(
            "down",
            Act::Fail(|| SourceError::Unreachable("no route to s3cret".to_owned())),
        ),
        Script::new(
            "key",
            Act::Fail(|| SourceError::Credentials("s3cret".to_owned())),
        ),
        Script::new(
            "slow-down",
            Act::Fail(|| SourceError::RateLimited { retry_after: None }),
        ),
        Script::new(
            "broken",
            Act::Fail(|| SourceError::Status {
                status: 500,
                message: "s3cret".to_owned(),
            }),
        ),
        Script::new(
            "garbled",
            Act::Fail(|| SourceError::Malformed("s3cret".to_owned())),
        ),
        Script::new("huge", Act::Fail(|| SourceError::TooLarge { bytes_max: 1 })),
    ];
    let origin = TestOrigin::with(TestDatabase::sqlite().await, &sources, &[SHORT_TIMEOUT]).await;
    let reply = get(origin.address, "/articles").await;
    let expected = [
        "good ok",
        "empty empty",
        "hangs error timeout",
        "panics error internal",
        "down error unreachable",
        "key error credentials",
        "slow-down error rate_limited",
        "broken error bad_status",
        "garbled error malformed",
        "huge error too_large",
    ];
    assert_eq!(states(&reply), expected);
    let body = reply.json();
    assert_eq!(
        (&body["partial"], &body["total"]),
        (&true.into(), &1.into())
    );
    assert!(
        !String::from_utf8_lossy(&reply.body).contains("s3cret"),
        "a cause is for the log, not for clients"
    );
    assert!(
        reply
            .header("cdn-cache-control")
            .starts_with("max-age=300, ")
    );
}

#[tokio::test]
async fn hanging_sources_hang_at_the_same_time() {
    let sources: Vec<_> = (0..10)
        .map(|n| Script::new(&format!("hangs{n}"), Act::Hang))
        .collect();
    let origin = TestOrigin::with(TestDatabase::sqlite().await, &sources, &[SHORT_TIMEOUT]).await;
    let begun = std::time::Instant::now();
    assert_eq!(
        get(origin.address, "/articles").await.json()["partial"],
        true
    );
    assert!(
        begun.elapsed() < Duration::from_millis(10 * 300),
        "one after the other they would take ten timeouts"
    );
}

#[tokio::test]
async fn a_failed_source_is_left_in_peace_but_live_insists_and_what_is_stored_stays() {
    let source = Script::new("a", one("x"));
    let origin = TestOrigin::start(std::slice::from_ref(&source)).await;
    get(origin.address, "/articles").await;
    source.now_does(Act::Fail(|| SourceError::Credentials("no".to_owned())));
    assert_eq!(
        states(&get(origin.address, "/articles?live=true").await),
        ["a error credentials"]
    );
    let again = get(origin.address, "/articles").await;
    assert_eq!(states(&again), ["a error credentials"]);
    assert_eq!(again.json()["total"], 1);
    assert_eq!(source.asked(), 2);
    source.now_does(one("y"));
    assert_eq!(
        states(&get(origin.address, "/articles?live=true").await),
        ["a ok"]
    );
}

#[tokio::test]
async fn nobody_has_a_question_asked_again_that_was_answered_a_moment_ago() {
    let source = Script::new("a", one("x"));
    let settings = [("ORIGIN_LIVE_INTERVAL_MIN", "1h")];
    let database = TestDatabase::sqlite().await;
    let origin = TestOrigin::with(database, std::slice::from_ref(&source), &settings).await;
    let live = async |query: &str| {
        let reply = get(origin.address, &format!("/articles?live=true{query}")).await;
        let states = states(&reply);
        let answered_at = reply.json()["sources"][0]["answered_at"].is_string();
        (states.concat(), answered_at)
    };
    assert_eq!(live("").await, ("a ok".to_owned(), false));
    for limit in 1..=5 {
        // Other pages of the same question are other keys of every cache.
        let page = live(&format!("&limit={limit}")).await;
        assert_eq!(page, ("a fresh".to_owned(), true));
    }
    assert_eq!(source.asked(), 1);
    let other = live("&category=general").await;
    assert_eq!(other, ("a ok".to_owned(), false), "another question");
    source.now_does(Act::Fail(|| SourceError::TooLarge { bytes_max: 1 }));
    let failed = live("&category=world").await;
    assert_eq!(failed, ("a error too_large".to_owned(), false));
    source.now_does(one("y"));
    assert_eq!(live("&category=world").await.0, "a empty", "no answer yet");
    assert_eq!(source.asked(), 4);
}

#[tokio::test]
async fn who_insists_in_vain_is_told_from_when_the_news_are() {
    let source = Script::new("a", one("x"));
    let origin = TestOrigin::start(std::slice::from_ref(&source)).await;
    get(origin.address, "/articles").await;
    source.now_does(Act::Fail(|| SourceError::Refused {
        reason: Reason::Paced,
        wait: Duration::from_secs(60),
    }));
    let answered_at = async |target: &str| {
        let reply = get(origin.address, target).await.json();
        assert_eq!(reply["total"], 1);
        reply["sources"][0]["answered_at"].clone()
    };
    let first = answered_at("/articles?live=true").await;
    assert!(first.is_string(), "{first}");
    assert_eq!(answered_at("/articles?live=true").await, first);
    assert!(answered_at("/articles").await.is_null());
}

#[tokio::test]
async fn samples_are_called_samples() {
    let origin = TestOrigin::start(&[Script::sample(one("x"))]).await;
    for _ in 0..2 {
        let reply = get(origin.address, "/articles").await;
        assert_eq!(states(&reply), ["sample sample"]);
        assert!(
            reply.json()["notice"]
                .as_str()
                .expect("a notice")
                .contains("samples")
        );
    }
    // They are given without a request, and were given nevertheless.
    let source = get(origin.address, "/sources").await.json()["sources"][0].clone();
    assert_eq!(source["last"]["outcome"], "ok");
    assert_eq!(source["last_success_at"], source["last"]["asked_at"]);
    let origin = TestOrigin::start(&[Script::new("a", one("x"))]).await;
    assert!(
        get(origin.address, "/articles")
            .await
            .json()
            .get("notice")
            .is_none()
    );
}

#[tokio::test]
async fn articles_of_a_source_that_is_no_longer_enabled_are_not_among_the_news() {
    let database = TestDatabase::sqlite().await;
    let url = database.url.clone();
    let before = TestOrigin::with(database, &[Script::sample(one("x"))], &[]).await;
    assert_eq!(get(before.address, "/articles").await.json()["total"], 1);
    let same = TestDatabase::at(url);
    let after = TestOrigin::with(same, &[Script::new("a", one("y"))], &[]).await;
    let body = get(after.address, "/articles").await.json();
    assert_eq!(
        (&body["total"], &body["articles"][0]["source"]),
        (&1.into(), &"a".into())
    );
    assert_eq!(
        get(after.address, "/articles?source=sample").await.status,
        400
    );
}

#[tokio::test]
async fn one_source_can_be_asked_alone() {
    let (a, b) = (Script::new("a", one("x")), Script::new("b", one("y")));
    let origin = TestOrigin::start(&[a.clone(), b.clone()]).await;
    let reply = get(origin.address, "/articles?source=b").await;
    assert_eq!(states(&reply), ["b ok"]);
    assert_eq!(
        (a.asked(), b.asked(), reply.json()["total"].as_i64()),
        (0, 1, Some(1))
    );
}

#[tokio::test]
async fn sources_are_listed_with_how_they_fared() {
    let sources = [
        Script::new("a", one("x")),
        Script::new("b", Act::Fail(|| SourceError::Credentials("no".to_owned()))),
    ];
    let origin = TestOrigin::start(&sources).await;
    let body = get(origin.address, "/sources").await.json();
    assert_eq!(
        (&body["sources"][0]["articles"], &body["sources"][0]["last"]),
        (&0.into(), &serde_json::Value::Null)
    );
    get(origin.address, "/articles").await;
    let body = get(origin.address, "/sources").await.json();
    let (a, b) = (&body["sources"][0], &body["sources"][1]);
    assert_eq!(
        (&a["name"], &a["articles"], &a["last"]["outcome"]),
        (&"a".into(), &1.into(), &"ok".into())
    );
    assert_eq!(
        (&b["articles"], &b["last"]["outcome"]),
        (&0.into(), &"credentials".into())
    );
}
