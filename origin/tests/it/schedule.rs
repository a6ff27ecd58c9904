//! The sources are asked by schedule, by one replica at a time.

use crate::support::database::{TestDatabase, on_both_databases};
use crate::support::http::get;
use crate::support::news::{Act, Script, article};
use crate::support::origin::TestOrigin;
use crate::support::until;
use larder_origin::schedule::Tried;
use larder_origin::source::SourceError;
use larder_origin::turn::{Turn, Work};
use std::time::Duration;

on_both_databases!(
    news_arrives_though_nobody_asks,
    one_replica_at_a_time_asks,
    a_turn_ends_with_whoever_has_it,
    who_loses_the_turn_learns_of_it,
    a_source_that_failed_is_asked_again_by_itself,
);

const EVERY_SECOND: (&str, &str) = ("ORIGIN_REFRESH_INTERVAL", "1s");

fn one(path: &str) -> Act {
    Act::Give(vec![article(path, 0)])
}

async fn news_arrives_though_nobody_asks(database: TestDatabase) {
    let source = Script::new("a", one("x"));
    let origin = TestOrigin::with(database, std::slice::from_ref(&source), &[EVERY_SECOND]).await;
    let schedule = tokio::spawn(origin.schedule.run(chrono::Utc::now));
    let counts = || async { origin.articles.counts(&["a"]).await.expect("counts") };
    until("the first round is stored", || async {
        counts().await == [("a".to_owned(), 1)]
    })
    .await;
    source.now_does(one("y"));
    until("the next round is stored", || async {
        counts().await == [("a".to_owned(), 2)]
    })
    .await;
    let asked = source.asked();
    let reply = get(origin.address, "/articles").await.json();
    assert_eq!(reply["total"], 2);
    assert_eq!(reply["sources"][0]["state"], "fresh");
    assert!(
        source.asked() <= asked + 1,
        "a request reads what is stored"
    );
    schedule.abort();
}

async fn one_replica_at_a_time_asks(database: TestDatabase) {
    let url = database.url.clone();
    let sources = [Script::gated("a", one("x")), Script::gated("a", one("x"))];
    let first =
        TestOrigin::with(database, std::slice::from_ref(&sources[0]), &[EVERY_SECOND]).await;
    let second = TestOrigin::with(
        TestDatabase::at(url),
        std::slice::from_ref(&sources[1]),
        &[EVERY_SECOND],
    )
    .await;
    let running = tokio::spawn(first.schedule.run(chrono::Utc::now));
    let asked = || sources.iter().map(|source| source.asked()).sum::<usize>();
    until("one of them asks", || async { asked() > 0 }).await;
    let other = || async { second.schedule.round(&chrono::Utc::now).await };
    for _ in 0..3 {
        assert_eq!(other().await.expect("an answer"), Tried::Busy);
    }
    assert_eq!(asked(), 1);
    for source in &sources {
        source.release(1000);
    }
    until("the other has its turn", || async {
        other().await.expect("an answer") == Tried::Done
    })
    .await;
    until("another round comes", || async { asked() > 1 }).await;
    running.abort();
}

async fn a_turn_ends_with_whoever_has_it(database: TestDatabase) {
    let pool = database.migrated().await;
    let take = || async { Turn::take(&pool, Work::Round).await.expect("an answer") };
    let first = take().await.expect("nobody has it");
    assert!(take().await.is_none());
    drop(first);
    until("it is free again", || async { take().await.is_some() }).await;
    let second = take().await.expect("it is free");
    second.end().await;
    until("it is free again", || async { take().await.is_some() }).await;
}

async fn who_loses_the_turn_learns_of_it(database: TestDatabase) {
    let pool = database.migrated().await;
    let take = || async { Turn::take(&pool, Work::Round).await.expect("an answer") };
    let mut turn = take().await.expect("nobody has it");
    let held = tokio::time::timeout(Duration::from_millis(100), turn.lost()).await;
    assert!(held.is_err(), "{held:?}");
    // A file is locked as long as its process lives.
    if !database.url.starts_with("postgres") {
        return;
    }
    database
        .execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' \
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        )
        .await;
    let lost = tokio::time::timeout(Duration::from_secs(30), turn.lost()).await;
    lost.expect("it is told");
    assert!(take().await.is_some(), "another one has it");
}

async fn a_source_that_failed_is_asked_again_by_itself(database: TestDatabase) {
    let failing = || SourceError::RateLimited {
        retry_after: Some(Duration::ZERO),
    };
    let source = Script::new("a", Act::Fail(failing));
    let origin = TestOrigin::with(database, std::slice::from_ref(&source), &[EVERY_SECOND]).await;
    let schedule = tokio::spawn(origin.schedule.run(chrono::Utc::now));
    until("it failed", || async { source.asked() > 0 }).await;
    until("the failure is told", || async {
        get(origin.address, "/articles").await.json()["partial"] == true
    })
    .await;
    source.now_does(one("x"));
    until("it is well again", || async {
        let reply = get(origin.address, "/articles").await.json();
        reply["partial"] == false && reply["total"] == 1
    })
    .await;
    schedule.abort();
}
