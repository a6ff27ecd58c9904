//! What is published reaches those who follow, and a gap is told.

use larder_proxy::store::Note;
use tokio::sync::mpsc::Receiver;

use super::*;

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
