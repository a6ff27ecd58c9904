//! Random histories of fills, purges and faults, in which nothing may be used after it was purged.
//!
//! `LARDER_HISTORY_EVENTS` and `LARDER_HISTORY_SEED` make them longer, and begin them alike; see `scripts/history`. What
//! several tasks and processes do at once is decided by more than the seed, so the same seed makes a like history, not the
//! same one.

mod checker;
mod clients;
mod faults;
mod world;

use self::checker::{Event, Judged, judge};
use self::clients::{purged, purger, reader};
use self::faults::breaker;
use self::world::{Notes, REPLICAS, World};
use crate::support::redis::PrivateRedis;
use crate::support::wait::until;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;

/// Noted things: a request is two, its beginning and its answer.
const EVENTS: usize = 100_000;
const READERS: u64 = 96;
const PURGERS: u64 = 10;
/// Of the faults that were going on before a wrong answer, so many are told.
const FAULTS_TOLD: usize = 8;

#[expect(
    clippy::disallowed_methods,
    reason = "the script hands its arguments over like this"
)]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

fn random_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0_u8) >> 32
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_used_after_it_was_purged_whatever_breaks() {
    let events = number("LARDER_HISTORY_EVENTS").map_or(EVENTS, |n| usize::try_from(n).unwrap());
    let seed = number("LARDER_HISTORY_SEED").unwrap_or_else(random_seed);
    println!("LARDER_HISTORY_SEED={seed}");
    let redis = PrivateRedis::start().await;
    let (world, proxies) = World::start(&redis).await;
    let stop = Arc::<AtomicBool>::default();
    let mut tasks = JoinSet::new();
    for number in 0..READERS {
        tasks.spawn(reader(world.clone(), seed + number, stop.clone()));
    }
    for number in READERS..READERS + PURGERS {
        tasks.spawn(purger(world.clone(), seed + number, stop.clone()));
    }
    let lasts = async {
        last(&world, events).await;
        stop.store(true, Ordering::SeqCst);
    };
    let breaks = breaker(world.clone(), redis, proxies, seed, stop.clone());
    let (_whole_again, ()) = tokio::join!(breaks, lasts);
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    until("a purge reaches all replicas again", async || {
        let answer = purged(world.place(0), "all=true").await;
        answer.is_some_and(|answer| answer["applied"] == REPLICAS)
    })
    .await;
    let notes = world.take_notes();
    let judged = judge(&world.api.resources, &notes.events);
    println!("{}", summary(&notes, &judged));
    assert!(judged.violations.is_empty(), "{}", told(&notes, &judged));
    assert!(judged.done > events / 1000, "too few purges: {judged:?}");
    assert!(judged.bound > events / 10, "too few answers: {judged:?}");
}

/// Returns when so much has been noted.
async fn last(world: &World, events: usize) {
    let mut before = 0;
    while world.count() < events {
        until("something happens", async || world.count() > before).await;
        before = world.count();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn summary(notes: &Notes, judged: &Judged) -> String {
    let unanswered = notes.events.iter();
    let unanswered = unanswered.filter(|event| matches!(event, Event::Unanswered { .. }));
    format!(
        "{} events, {} faults; purges: {} done, {} failed; answers that a purge bound: {}, excused {}, none {}",
        notes.events.len(),
        notes.faults.len(),
        judged.done,
        judged.failed,
        judged.bound,
        judged.excused,
        unanswered.count(),
    )
}

/// The first wrong answers, each with its purge, its request and what went wrong before it.
fn told(notes: &Notes, judged: &Judged) -> String {
    let mut told = format!("{} wrong answers", judged.violations.len());
    for violation in judged.violations.iter().take(3) {
        let Event::Answered { request: wrong, .. } = notes.events[violation.at] else {
            unreachable!("answers are judged");
        };
        told += &format!("\n{}\n", violation.told);
        for (at, event) in notes.events.iter().enumerate().take(violation.at + 1) {
            let concerns = match event {
                Event::PurgeBegun { purge, .. }
                | Event::PurgeDone { purge, .. }
                | Event::PurgeFailed { purge } => *purge == violation.purge,
                Event::RequestBegun { request, .. } | Event::Answered { request, .. } => {
                    *request == wrong
                }
                Event::Unanswered { .. } => false,
            };
            if concerns {
                told += &format!("  {at}: {event:?}\n");
            }
        }
        let before = notes
            .faults
            .iter()
            .rev()
            .filter(|(at, _)| *at <= violation.at);
        for (at, fault) in before.take(FAULTS_TOLD) {
            told += &format!("  {at}: {fault}\n");
        }
    }
    told
}
