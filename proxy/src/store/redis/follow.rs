//! What do others publish on a channel?
//!
//! A connection of its own, apart from the questions: no large answer holds up a message. Messages
//! can be lost whenever that connection changes, and when the follower doesn't keep up; each time it
//! is told by [`Note::Connected`], and is to look for itself what it has missed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use redis::aio::PubSubSink;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::timeout;

use super::dial::Place;
use super::link::Link;
use super::node::{CONNECT_MAX, HEARTBEAT, PING_MAX, jitter, pause};

/// Notes that wait for a follower before further ones are summed up in one.
const NOTES_MAX: usize = 256;
/// How often to look whether it is known where the channel is at home.
const HOMELESS: Duration = Duration::from_millis(20);

/// What a follower gets to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// From now on messages come; some may have been missed.
    Connected,
    /// What somebody published.
    Message(Bytes),
}

impl Link {
    /// Listens to a channel until the receiver is dropped or the link is stopped. In a Cluster the
    /// channel belongs where a key of its name would lie: publish it there, through [`Link::ask`].
    pub(super) fn follow(self: &Arc<Self>, name: String) -> Receiver<Note> {
        let (notes, receiver) = channel(NOTES_MAX);
        let outbox = Outbox {
            notes,
            missed: false,
        };
        let link = Arc::clone(self);
        self.spawn(follow(link, name, outbox));
        receiver
    }
}

/// Notes on their way to a follower who may be slow.
struct Outbox {
    notes: Sender<Note>,
    /// Something was left out; the follower is told when it has room again.
    missed: bool,
}

impl Outbox {
    fn put(&mut self, note: Note) {
        if self.missed {
            return;
        }
        self.missed = matches!(self.notes.try_send(note), Err(TrySendError::Full(_)));
    }

    /// Waits until what was missed can be told, and tells it. For ever when there is nothing.
    async fn make_up(&mut self) {
        if !self.missed {
            std::future::pending().await
        }
        if let Ok(place) = self.notes.reserve().await {
            place.send(Note::Connected);
            self.missed = false;
        }
    }
}

async fn follow(link: Arc<Link>, name: String, mut outbox: Outbox) {
    let gone = outbox.notes.clone();
    let listen = async {
        let mut failures = 0;
        loop {
            let Some(place) = link.place_of(&name) else {
                // Those who look for the server take care not to look too often.
                tokio::time::sleep(HOMELESS).await;
                continue;
            };
            let served = listen(&link, &place, &name, &mut outbox).await;
            failures = if served { 0 } else { failures + 1 };
            tokio::time::sleep(pause(failures, jitter())).await;
        }
    };
    tokio::select! {
        () = listen => {}
        () = gone.closed() => {}
    }
}

/// Passes messages on until the connection is of no use any more; says whether it ever was.
async fn listen(link: &Link, place: &Place, name: &str, outbox: &mut Outbox) -> bool {
    let connect = async {
        let mut connection = link.dialer().pubsub(place).await?;
        connection.subscribe(name).await?;
        redis::RedisResult::Ok(connection)
    };
    let Ok(Ok(connection)) = timeout(CONNECT_MAX, connect).await else {
        return false;
    };
    let (sink, mut messages) = connection.split();
    outbox.put(Note::Connected);
    let stands = stands(link, place, name, sink);
    tokio::pin!(stands);
    loop {
        tokio::select! {
            () = &mut stands => return true,
            () = outbox.make_up() => {}
            message = messages.next() => match message {
                // A copy, so that a small message doesn't keep a large buffer.
                Some(message) => {
                    let payload = Bytes::copy_from_slice(message.get_payload_bytes());
                    outbox.put(Note::Message(payload));
                }
                None => return true,
            },
        }
    }
}

/// Returns when the server has fallen silent or the channel is at home elsewhere.
async fn stands(link: &Link, place: &Place, name: &str, mut sink: PubSubSink) {
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        let pong = timeout(PING_MAX, sink.ping::<redis::Value>()).await;
        let moved = link.place_of(name).is_some_and(|home| home != *place);
        if !matches!(pong, Ok(Ok(_))) || moved {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &'static str) -> Note {
        Note::Message(Bytes::from_static(text.as_bytes()))
    }

    #[tokio::test]
    async fn a_follower_that_does_not_keep_up_is_told_that_it_missed_something() {
        let (notes, mut receiver) = channel(2);
        let mut outbox = Outbox {
            notes,
            missed: false,
        };
        for text in ["a", "b", "c", "d"] {
            outbox.put(message(text));
        }
        assert_eq!(receiver.recv().await, Some(message("a")));
        assert_eq!(receiver.recv().await, Some(message("b")));
        outbox.make_up().await;
        outbox.put(message("e"));
        assert_eq!(receiver.recv().await, Some(Note::Connected));
        assert_eq!(receiver.recv().await, Some(message("e")));
    }
}
