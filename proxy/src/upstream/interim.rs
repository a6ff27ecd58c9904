//! Interim responses on their way from a fetch to the client it is made for.
//!
//! A queue for one reader that holds a few, and costs next to nothing while none comes: which is nearly always.

use http::{HeaderMap, StatusCode};
use larder_policy::strip_hop_by_hop;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// Those that may wait to be written to a client: hints that come faster than it reads are of no use to it.
const WAITING_MAX: usize = 16;

/// An interim response (RFC 9110 §15.2), without what concerns one connection alone.
#[derive(Debug)]
pub struct Interim {
    pub status: StatusCode,
    pub headers: HeaderMap,
}

impl Interim {
    pub(super) fn new(status: StatusCode, headers: &HeaderMap) -> Self {
        let mut headers = headers.clone();
        strip_hop_by_hop(&mut headers);
        Self { status, headers }
    }
}

/// The queue, for both its ends.
#[derive(Debug, Clone, Default)]
pub struct Interims(Arc<Mutex<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Interim>,
    reader: Option<Waker>,
}

impl Interims {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // No code here panics between two writes of it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one; what doesn't fit in is dropped.
    pub(super) fn push(&self, interim: Interim) {
        let mut queue = self.lock();
        if queue.waiting.len() >= WAITING_MAX {
            return;
        }
        queue.waiting.push_back(interim);
        let reader = queue.reader.take();
        drop(queue);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// One that has come.
    pub fn take(&self) -> Option<Interim> {
        self.lock().waiting.pop_front()
    }

    /// The next one: it may never come. For one reader at a time.
    pub async fn next(&self) -> Interim {
        poll_fn(|context| {
            let mut queue = self.lock();
            if let Some(interim) = queue.waiting.pop_front() {
                return Poll::Ready(interim);
            }
            match &mut queue.reader {
                Some(reader) => reader.clone_from(context.waker()),
                none => *none = Some(context.waker().clone()),
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    fn hint(status: u16) -> Interim {
        Interim::new(StatusCode::from_u16(status).unwrap(), &HeaderMap::new())
    }

    #[tokio::test]
    async fn a_reader_that_waits_is_told_and_gets_them_in_order() {
        let interims = Interims::default();
        let writer = interims.clone();
        let reader = tokio::spawn(async move {
            let first = interims.next().await.status;
            (first, interims.next().await.status)
        });
        writer.push(hint(102));
        tokio::task::yield_now().await;
        writer.push(hint(103));
        let both = timeout(Duration::from_secs(10), reader).await;
        let (first, second) = both.expect("the reader is woken").unwrap();
        assert_eq!((first.as_u16(), second.as_u16()), (102, 103));
        assert!(writer.take().is_none());
    }

    #[test]
    fn those_that_do_not_fit_in_are_dropped() {
        let interims = Interims::default();
        for _ in 0..WAITING_MAX + 5 {
            interims.push(hint(103));
        }
        assert_eq!(std::iter::from_fn(|| interims.take()).count(), WAITING_MAX);
    }
}
