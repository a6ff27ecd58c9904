//! Waiting for something to become true, with an end.

use std::time::{Duration, Instant};

/// Long enough for a machine that is busy with other tests.
const WAIT_MAX: Duration = Duration::from_secs(30);
const BETWEEN: Duration = Duration::from_millis(5);

/// Waits until `condition` holds; a panic names `what` when it never does.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + WAIT_MAX;
    while !condition().await {
        assert!(Instant::now() < end, "waited in vain until {what}");
        tokio::time::sleep(BETWEEN).await;
    }
}
