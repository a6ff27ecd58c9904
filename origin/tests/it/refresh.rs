//! A round is asked for: once for each key, shared by all who wait for it, and bounded.

use crate::support::database::{TestDatabase, on_both_databases};
use crate::support::http::{Reply, get, send};
use crate::support::news::{Act, Script, article};
use crate::support::origin::TestOrigin;
use crate::support::until;
use hyper::Method;
use larder_origin::article::NewArticle;
use std::net::SocketAddr;
use std::sync::Arc;

on_both_databases!(
    a_round_that_is_asked_for_comes_at_once_and_can_be_followed,
    the_same_key_gets_the_same_answer,
    those_who_ask_before_it_begins_share_a_round,
    more_rounds_than_sources_should_bear_are_refused,
    a_round_ends_though_an_answer_cannot_be_stored_and_keeps_to_the_schedules_share,
);

async fn origin(database: TestDatabase, source: &Arc<Script>) -> TestOrigin {
    TestOrigin::with(database, std::slice::from_ref(source), &[]).await
}

async fn refresh(address: SocketAddr, key: &str) -> Reply {
    let fields = [("idempotency-key", key)];
    let fields = if key.is_empty() { &[][..] } else { &fields[..] };
    send(address, Method::POST, "/refresh", fields)
        .await
        .expect("an answer")
}

fn source() -> Arc<Script> {
    Script::new("a", Act::Give(vec![article("x", 0)]))
}

async fn a_round_that_is_asked_for_comes_at_once_and_can_be_followed(database: TestDatabase) {
    let source = source();
    let origin = origin(database, &source).await;
    let address = origin.address;
    let schedule = tokio::spawn(origin.schedule.run(chrono::Utc::now));
    until("the first round is over", || async {
        get(address, "/articles").await.json()["total"] == 1
    })
    .await;
    source.now_does(Act::Give(vec![article("y", 1)]));
    let asked = source.asked();
    let reply = refresh(address, "").await;
    assert_eq!(reply.status, 202, "{:?}", reply.body);
    assert_eq!(reply.header("cache-control"), "no-store");
    let place = reply.header("location").to_owned();
    assert_eq!(reply.json()["status"], place.as_str());
    until("the round is over", || async {
        get(address, &place).await.json()["state"] == "done"
    })
    .await;
    let status = get(address, &place).await;
    let body = status.json();
    assert_eq!(
        body["report"]["asked"],
        serde_json::json!([{ "source": "a", "outcome": "ok" }])
    );
    assert!(body["started_at"].is_string() && body["finished_at"].is_string());
    assert_eq!(status.header("cache-control"), "no-store");
    assert_eq!(source.asked(), asked + 1);
    assert_eq!(get(address, "/articles").await.json()["total"], 2);
    schedule.abort();
}

async fn the_same_key_gets_the_same_answer(database: TestDatabase) {
    let source = source();
    let url = database.url.clone();
    let origin = origin(database, &source).await;
    let first = refresh(origin.address, "\"8e03978e\"").await;
    assert_eq!(first.status, 202);
    // Also on another replica, at the same time, and when the round is over.
    let other = TestOrigin::with(TestDatabase::at(url), &[self::source()], &[]).await;
    let twins = (0..8).map(|n| {
        let address = [origin.address, other.address][n % 2];
        async move { refresh(address, "twin").await.json() }
    });
    let twins = futures_util::future::join_all(twins).await;
    assert!(twins.iter().all(|twin| *twin == twins[0]), "{twins:?}");
    let place = first.header("location").to_owned();
    let schedule = tokio::spawn(origin.schedule.run(chrono::Utc::now));
    until("the round is over", || async {
        get(other.address, &place).await.json()["state"] == "done"
    })
    .await;
    let again = refresh(other.address, "8e03978e").await;
    assert_eq!(
        (again.status, &again.body, again.header("location")),
        (first.status, &first.body, place.as_str())
    );
    let new = refresh(other.address, "another").await;
    assert_ne!(new.body, first.body);
    schedule.abort();
}

async fn those_who_ask_before_it_begins_share_a_round(database: TestDatabase) {
    let source = source();
    let origin = origin(database, &source).await;
    let mut replies = Vec::new();
    for n in 0..20 {
        let key = format!("key{n}");
        let reply = refresh(origin.address, if n % 2 == 0 { &key } else { "" }).await;
        assert_eq!(reply.status, 202);
        replies.push(reply.body);
    }
    assert!(replies.iter().all(|body| *body == replies[0]));
}

async fn more_rounds_than_sources_should_bear_are_refused(database: TestDatabase) {
    let source = source();
    let origin = origin(database, &source).await;
    let address = origin.address;
    let schedule = tokio::spawn(origin.schedule.run(chrono::Utc::now));
    let mut refused = None;
    for n in 0..10 {
        let reply = refresh(address, &n.to_string()).await;
        if reply.status == 429 {
            refused = Some((n, reply));
            break;
        }
        let place = reply.header("location").to_owned();
        until("the round is over", || async {
            get(address, &place).await.json()["state"] == "done"
        })
        .await;
    }
    let (rounds, refused) = refused.expect("a limit");
    assert_eq!(rounds, larder_origin::refreshes::PER_MINUTE_MAX);
    assert_eq!(refused.code(), "rate_limited");
    let wait: u64 = refused.header("retry-after").parse().expect("seconds");
    assert!((1..=61).contains(&wait), "{wait}");
    assert_eq!(
        refresh(address, "0").await.status,
        202,
        "what was answered before is no new round"
    );
    schedule.abort();
}

async fn a_round_ends_though_an_answer_cannot_be_stored_and_keeps_to_the_schedules_share(
    database: TestDatabase,
) {
    let untitled = NewArticle {
        title: String::new(),
        ..article("untitled", 0)
    };
    let sources = [
        Script::new("bad", Act::Give(vec![untitled])),
        Script::new("good", Act::Give(vec![article("x", 0)])),
    ];
    let origin = TestOrigin::with(database, &sources, &[]).await;
    let place = refresh(origin.address, "")
        .await
        .header("location")
        .to_owned();
    let schedule = tokio::spawn(origin.schedule.run(chrono::Utc::now));
    until("the round is over", || async {
        get(origin.address, &place).await.json()["state"] == "done"
    })
    .await;
    let report = get(origin.address, &place).await.json()["report"]["asked"].clone();
    let expected = serde_json::json!([
        { "source": "bad", "outcome": "internal" },
        { "source": "good", "outcome": "ok" },
    ]);
    assert_eq!(report, expected);
    assert_eq!(sources[1].asked(), 1, "it is not asked again");
    assert!(sources.iter().all(|source| source.asked_live() == 0));
    schedule.abort();
}

#[tokio::test]
async fn what_is_no_key_or_no_round_is_told() {
    let source = source();
    let origin = TestOrigin::start(std::slice::from_ref(&source)).await;
    let reply = refresh(origin.address, "a b").await;
    assert_eq!(
        (reply.status.as_u16(), reply.code().as_str()),
        (400, "invalid_parameter")
    );
    for id in ["x", "00000000000000000000000000000000", "%00"] {
        let reply = get(origin.address, &format!("/refresh/{id}")).await;
        assert_eq!(
            (reply.status.as_u16(), reply.code().as_str()),
            (404, "refresh_not_found")
        );
    }
    assert_eq!(get(origin.address, "/refresh").await.status, 405);
}
