//! What is remembered of requests to sources, on both databases: never one too many, whoever counts.

use crate::support::database::{TestDatabase, on_both_databases};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use larder_origin::discipline::{Allowance, Claim, Ledger, Purpose, Reason, Validators, Window};

on_both_databases!(
    replicas_that_race_for_a_quota_never_take_more_than_it_has,
    what_was_counted_outlives_a_restart,
    requests_that_no_longer_count_are_forgotten,
    a_source_that_asked_for_patience_is_left_alone_until_then,
    what_the_provider_says_is_left_is_spent_and_never_raised_by_a_late_answer,
    how_a_source_fared_is_remembered,
    one_of_many_gets_the_turn_to_poll_and_validators_come_back_byte_for_byte,
    a_turn_that_nobody_ended_passes_on,
);

const HASH: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_780_000_000 + seconds, 0).expect("a time")
}

fn window(requests_max: u32, seconds: i64) -> Window {
    Window {
        requests_max,
        length: TimeDelta::seconds(seconds),
    }
}

async fn granted(ledger: &Ledger, windows: &[Window], now: DateTime<Utc>) -> bool {
    let taken = ledger.take("a", windows, Purpose::Live, now).await;
    taken.expect("counted").is_ok()
}

async fn replicas_that_race_for_a_quota_never_take_more_than_it_has(database: TestDatabase) {
    let first = Ledger::new(&database.migrated().await);
    let second = Ledger::new(&database.migrated().await);
    let windows = [window(10, 3_000), window(7, 1_500)];
    let tries = (0..40).map(|n| {
        let ledger = if n % 2 == 0 { &first } else { &second };
        granted(ledger, &windows, at(n % 3))
    });
    let granted = join_all(tries).await.into_iter().filter(|granted| *granted);
    assert_eq!(granted.count(), 7);
    assert_eq!(first.counted("a").await.expect("counted").len(), 7);
    assert!(second.counted("b").await.expect("counted").is_empty());
}

async fn what_was_counted_outlives_a_restart(database: TestDatabase) {
    let windows = [window(1, 3_600)];
    let before = database.migrated().await;
    assert!(granted(&Ledger::new(&before), &windows, at(0)).await);
    before.close().await;
    let after = Ledger::new(&database.migrated().await);
    assert!(!granted(&after, &windows, at(3_599)).await);
    assert!(granted(&after, &windows, at(3_700)).await);
}

async fn requests_that_no_longer_count_are_forgotten(database: TestDatabase) {
    let ledger = Ledger::new(&database.migrated().await);
    let day = 86_400;
    for now in [0, 10, 2 * day] {
        assert!(granted(&ledger, &[window(10, day)], at(now)).await);
    }
    let counted = ledger.counted("a").await.expect("counted");
    assert_eq!(
        counted.iter().map(|one| one.at).collect::<Vec<_>>(),
        [at(2 * day)]
    );
}

async fn a_source_that_asked_for_patience_is_left_alone_until_then(database: TestDatabase) {
    let ledger = Ledger::new(&database.migrated().await);
    ledger.pause("a", at(60)).await.expect("paused");
    ledger.pause("a", at(30)).await.expect("not shortened");
    let refused = ledger
        .take("a", &[], Purpose::Live, at(59))
        .await
        .expect("an answer");
    let refusal = refused.expect_err("patience");
    assert_eq!((refusal.reason, refusal.until), (Reason::Paused, at(60)));
    assert!(granted(&ledger, &[], at(60)).await);
    let other = ledger
        .take("b", &[], Purpose::Live, at(0))
        .await
        .expect("an answer");
    assert_eq!(other, Ok(()));
}

async fn what_the_provider_says_is_left_is_spent_and_never_raised_by_a_late_answer(
    database: TestDatabase,
) {
    let ledger = Ledger::new(&database.migrated().await);
    let allow = async |remaining, seconds| {
        let allowance = Allowance {
            remaining,
            resets_at: at(seconds),
        };
        ledger.allow("a", allowance).await.expect("remembered");
    };
    allow(2.5, 60).await;
    for _ in 0..2 {
        assert!(granted(&ledger, &[], at(1)).await);
    }
    // Half a request is none.
    let refused = ledger
        .take("a", &[], Purpose::Live, at(1))
        .await
        .expect("an answer");
    assert_eq!(refused.expect_err("nothing left").until, at(60));
    allow(2.0, 61).await;
    assert!(
        !granted(&ledger, &[], at(2)).await,
        "an answer that was overtaken"
    );
    allow(996.0, 660).await;
    assert!(granted(&ledger, &[], at(3)).await, "the next stretch");
    allow(0.0, 660).await;
    assert!(!granted(&ledger, &[], at(4)).await);
    assert!(granted(&ledger, &[], at(660)).await, "it is over");
}

async fn how_a_source_fared_is_remembered(database: TestDatabase) {
    let ledger = Ledger::new(&database.migrated().await);
    ledger.succeeded("a", at(1)).await.expect("remembered");
    ledger
        .failed("a", "timeout", "no\0 answer", at(2))
        .await
        .expect("remembered");
    let record = ledger.records().await.expect("records").remove(0);
    assert_eq!(
        (record.last_success_at, record.last_failure_at),
        (Some(at(1)), Some(at(2)))
    );
    assert_eq!(
        (
            record.last_failure_code.as_deref(),
            record.last_failure.as_deref()
        ),
        (Some("timeout"), Some("no answer"))
    );
}

async fn one_of_many_gets_the_turn_to_poll_and_validators_come_back_byte_for_byte(
    database: TestDatabase,
) {
    let first = Ledger::new(&database.migrated().await);
    let second = Ledger::new(&database.migrated().await);
    let turns = async |now: DateTime<Utc>| {
        let tries = (0..10).map(|n| {
            let ledger = if n % 2 == 0 { &first } else { &second };
            ledger.claim_poll(HASH, now, now + TimeDelta::minutes(1))
        });
        let tries = join_all(tries).await.into_iter();
        tries
            .filter_map(|turn| match turn.expect("an answer") {
                Claim::Taken(validators) => Some(validators),
                Claim::Refused(until) => {
                    assert!(until > now);
                    None
                }
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(turns(at(0)).await, [Validators::default()]);
    let validators = Validators {
        etag: Some(b"W/\"caf\xe9\"".to_vec()),
        last_modified: Some(b"Sun, 06 Nov 1994 08:49:37 GMT ".to_vec()),
    };
    first
        .polled(HASH, &validators, at(900))
        .await
        .expect("remembered");
    assert_eq!(turns(at(899)).await, []);
    assert_eq!(turns(at(900)).await, [validators]);
}

async fn a_turn_that_nobody_ended_passes_on(database: TestDatabase) {
    let ledger = Ledger::new(&database.migrated().await);
    let claim = async |now, until| {
        ledger
            .claim_poll(HASH, at(now), at(until))
            .await
            .expect("an answer")
    };
    let taken = Claim::Taken(Validators::default());
    assert_eq!(claim(0, 60).await, taken);
    assert_eq!(claim(59, 120).await, Claim::Refused(at(60)));
    assert_eq!(claim(60, 120).await, taken);
    ledger.poll_again_at(HASH, at(61)).await.expect("put off");
    assert_eq!(claim(61, 120).await, taken);
}
