//! What is published reaches those who follow, and a gap is told.

use larder_proxy::store::Note;
use tokio::sync::mpsc::Receiver;

use super::*;
use crate::support::fault::{FaultProxy, Mode};

const CHANNEL: &str = "larder:news";

async fn next(notes: &mut Receiver<Note>) -> Note {
    let note = tokio::time::timeout(crate::support::proxy::PATIENCE, notes.recv()).await;
    note.expect("a note in time").expect("the link stands")
}

fn publish(redis: &PrivateRedis, text: &str) -> i64 {
    redis.ask(redis::cmd("PUBLISH").arg(CHANNEL).arg(text))
}

fn message(text: &'static str) -> Note {
    Note::Message(Bytes::from_static(text.as_bytes()))
}

#[tokio::test]
async fn a_follower_gets_each_message_in_order() {
    let redis = PrivateRedis::start().await;
    let tier = RedisTier::new(&redis.url(), "larder", PATIENT).expect("a URL");
    let mut notes = tier.follow(CHANNEL);
    assert_eq!(next(&mut notes).await, Note::Connected);
    for text in ["a", "b"] {
        assert_eq!(publish(&redis, text), 1);
    }
    assert_eq!(next(&mut notes).await, message("a"));
    assert_eq!(next(&mut notes).await, message("b"));
    drop(notes);
    until("nobody listens any more", async || {
        publish(&redis, "c") == 0
    })
    .await;
}

#[tokio::test]
async fn a_follower_is_told_when_it_may_have_missed_something() {
    let mut redis = PrivateRedis::start().await;
    let tier = RedisTier::new(&redis.url(), "larder", PATIENT).expect("a URL");
    let mut notes = tier.follow(CHANNEL);
    assert_eq!(next(&mut notes).await, Note::Connected);
    redis.kill();
    redis.run().await;
    assert_eq!(next(&mut notes).await, Note::Connected, "after a restart");
    assert_eq!(publish(&redis, "a"), 1);
    assert_eq!(next(&mut notes).await, message("a"));
    redis.ask::<()>(redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub"));
    assert_eq!(next(&mut notes).await, Note::Connected, "after a cut");
}

#[tokio::test]
async fn a_follower_notices_silence_and_comes_back() {
    let redis = PrivateRedis::start_on_tcp().await;
    let way = FaultProxy::before(([127, 0, 0, 1], redis.port()).into()).await;
    let url = format!("redis://{}", way.address);
    let tier = RedisTier::new(&url, "larder", PATIENT).expect("a URL");
    let mut notes = tier.follow(CHANNEL);
    assert_eq!(next(&mut notes).await, Note::Connected);
    let before = way.connections();
    way.set(Mode::BlackHole);
    // Two attempts in vain to ask take longer than to notice that nobody is to be heard.
    until("it has tried to connect twice", async || {
        way.connections() >= before + 4
    })
    .await;
    way.set(Mode::Pass);
    assert_eq!(next(&mut notes).await, Note::Connected);
    until("somebody listens", async || publish(&redis, "a") > 0).await;
    let mut note = next(&mut notes).await;
    while note == Note::Connected {
        note = next(&mut notes).await;
    }
    assert_eq!(note, message("a"));
}
