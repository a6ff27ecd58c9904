//! When is what was written sent? Once everybody else who is ready has had a turn.
//!
//! The answers of one HTTP/2 connection come from many tasks, each of which would have it sent at once: a system call for every
//! head and another for every body, which costs more than all the rest. Between the first wish to send and the sending, the
//! others that are ready may add what is theirs. Nobody waits for anything that is not ready: where nothing else is to be done,
//! it is sent at once.

use futures_util::task::AtomicWaker;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Of one connection.
#[derive(Debug, Default)]
pub(super) struct Deferral {
    has_begun: bool,
    turn: Arc<Turn>,
}

/// Whether the others have had theirs.
#[derive(Debug, Default)]
struct Turn {
    is_over: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Turn {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_over.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl Deferral {
    /// Ready once the others have had a turn since it was polled first; then it begins again.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.turn.task.register(cx.waker());
        if !self.has_begun {
            self.has_begun = true;
            self.turn.is_over.store(false, Ordering::Release);
            let turn = Waker::from(Arc::clone(&self.turn));
            // The runtime keeps the waker until nobody else is ready. Polled again for another reason, the future would
            // take that for its turn, so it is not kept.
            let _ = pin!(tokio::task::yield_now()).poll(&mut Context::from_waker(&turn));
        }
        if !self.turn.is_over.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        self.has_begun = false;
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::sync::Mutex;

    #[tokio::test]
    async fn it_is_over_when_all_who_were_ready_have_had_a_turn_each_time() {
        let mut deferral = Deferral::default();
        for _ in 0..3 {
            let order = Arc::<Mutex<Vec<&str>>>::default();
            for _ in 0..8 {
                let order = Arc::clone(&order);
                tokio::spawn(async move { order.lock().unwrap().push("answer") });
            }
            poll_fn(|cx| {
                // Whoever adds something wakes the connection, which asks again.
                let first = deferral.poll(cx);
                let again = deferral.poll(cx);
                if first.is_ready() { first } else { again }
            })
            .await;
            order.lock().unwrap().push("sent");
            assert_eq!(
                *order.lock().unwrap(),
                [["answer"; 8].as_slice(), &["sent"]].concat()
            );
        }
    }

    #[tokio::test]
    async fn it_is_over_where_nobody_else_is_ready() {
        let mut deferral = Deferral::default();
        poll_fn(|cx| deferral.poll(cx)).await;
    }
}
