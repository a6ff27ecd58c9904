//! Reading feeds apart from the threads that answer requests: it takes the time of a whole request, and no deadline interrupts it.
//!
//! Must stay true: few are read at once, so that what all of them take together is bounded; and those that users name wait for one
//! another, but keep none waiting that the operator has chosen. Left out: how long somebody waits, which is the gate's deadline.

use super::SourceError;
use tokio::sync::Semaphore;

/// Feeds of one kind that are read at the same time. More would only share the processors, and multiply the memory.
const AT_ONCE_MAX: usize = 2;

static OPERATORS: Semaphore = Semaphore::const_new(AT_ONCE_MAX);
static USERS: Semaphore = Semaphore::const_new(AT_ONCE_MAX);

/// Reads when its turn comes. Who leaves meanwhile gives up the place in the queue, but not that of a reading under way.
pub(super) async fn in_turn<T: Send + 'static>(
    is_users: bool,
    read: impl FnOnce() -> Result<T, SourceError> + Send + 'static,
) -> Result<T, SourceError> {
    let places = if is_users { &USERS } else { &OPERATORS };
    // It is never closed.
    let place = places.acquire().await;
    let reading = tokio::task::spawn_blocking(move || {
        let _place = place;
        read()
    });
    reading
        .await
        .unwrap_or_else(|_| Err(SourceError::Malformed("reading it failed".to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    /// Begins as many readings as may be, which go on until the sender is dropped.
    async fn occupy(is_users: bool) -> Vec<mpsc::Sender<()>> {
        let mut ends = Vec::new();
        for _ in 0..AT_ONCE_MAX {
            let (end, ended) = mpsc::channel::<()>();
            let (begin, begun) = tokio::sync::oneshot::channel();
            let reading = in_turn(is_users, move || {
                let _ = begin.send(());
                let _ = ended.recv();
                Ok(())
            });
            let reading = tokio::spawn(reading);
            begun.await.expect("it begins");
            // Whoever waited for it leaves.
            reading.abort();
            ends.push(end);
        }
        ends
    }

    #[tokio::test]
    async fn few_are_read_at_once_though_nobody_waits_for_them_and_users_hold_up_only_users() {
        let ends = occupy(true).await;
        let short = Duration::from_millis(20);
        let waiting = tokio::time::timeout(short, in_turn(true, || Ok(1)));
        assert!(waiting.await.is_err(), "a third one was read");
        assert_eq!(in_turn(false, || Ok(2)).await.ok(), Some(2));
        drop(ends);
        assert_eq!(in_turn(true, || Ok(3)).await.ok(), Some(3));
    }

    #[tokio::test]
    async fn a_reading_that_panics_is_a_failure_and_gives_its_place_back() {
        for _ in 0..=AT_ONCE_MAX {
            let read: Result<(), _> = in_turn(false, || panic!("on purpose")).await;
            assert!(matches!(read, Err(SourceError::Malformed(_))));
        }
    }
}
