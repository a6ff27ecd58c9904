//! The clock: the one place that reads it. Everything that decides takes `now` as an argument.

use std::time::SystemTime;

/// Now, once per request or tick.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the clock"
)]
pub fn now() -> SystemTime {
    SystemTime::now()
}
