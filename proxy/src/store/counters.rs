//! What has happened between this process and Redis, as plain numbers.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why Redis was of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedisError {
    /// No answer in time.
    Timeout,
    /// There is no connection, or it broke.
    Connection,
    /// Not asked, because it has not answered lately.
    BreakerOpen,
    /// It answered with an error: read-only, out of memory, no permission, still loading.
    Refused,
    /// What it holds is no entry of ours, or one for something else.
    Damaged,
    /// The same where a key tells what is ours: somebody else writes there, or with another key.
    Unauthentic,
}

impl RedisError {
    /// Every kind once, in the order of the counters.
    pub const ALL: [Self; 6] = [
        Self::Timeout,
        Self::Connection,
        Self::BreakerOpen,
        Self::Refused,
        Self::Damaged,
        Self::Unauthentic,
    ];

    /// Name for a metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Connection => "connection",
            Self::BreakerOpen => "breaker-open",
            Self::Refused => "refused",
            Self::Damaged => "damaged",
            Self::Unauthentic => "unauthentic",
        }
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Its value.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Everything counted of Redis. All zero when there is none.
#[derive(Debug, Default)]
pub struct RedisCounters {
    /// Look-ups that gave a stored response.
    pub hits: Counter,
    /// Look-ups that were answered with nothing of use.
    pub misses: Counter,
    /// Responses written.
    pub writes: Counter,
    /// Responses not written because another replica wrote under a later lease.
    pub outrun: Counter,
    /// Responses not written because too many were waiting.
    pub dropped: Counter,
    errors: [Counter; RedisError::ALL.len()],
}

impl RedisCounters {
    /// Failures of one kind.
    pub fn errors(&self, kind: RedisError) -> &Counter {
        let [
            timeout,
            connection,
            breaker_open,
            refused,
            damaged,
            unauthentic,
        ] = &self.errors;
        match kind {
            RedisError::Timeout => timeout,
            RedisError::Connection => connection,
            RedisError::BreakerOpen => breaker_open,
            RedisError::Refused => refused,
            RedisError::Damaged => damaged,
            RedisError::Unauthentic => unauthentic,
        }
    }
}
