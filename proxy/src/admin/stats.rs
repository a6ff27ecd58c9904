//! `GET /cache/stats`: requests by result, and what is held, as JSON.

use serde_json::{Value, json};

use crate::metrics::{Held, RedisState, Totals};

/// The numbers of `/cache/stats`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stats {
    /// Requests since the start.
    pub totals: Totals,
    /// Responses in memory.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The most that they may take.
    pub bytes_max: u64,
    /// Is Redis there?
    pub redis: RedisState,
}

impl Stats {
    /// From what the metrics count and the store holds.
    pub fn new(totals: Totals, held: &Held) -> Self {
        Self {
            totals,
            entries: held.entries,
            bytes: held.bytes,
            bytes_max: held.bytes_max,
            redis: held.redis_state,
        }
    }

    /// Of a hundred requests that were looked up, how many were answered from the store without waiting for the API (fresh or stale). To two
    /// digits; 0 when none was looked up.
    pub fn hit_rate_percent(&self) -> f64 {
        let Totals {
            hits,
            misses,
            stale,
            revalidated,
            bypassed: _,
            errors: _,
        } = self.totals;
        let served = hits.saturating_add(stale);
        let looked_up = served.saturating_add(misses).saturating_add(revalidated);
        if looked_up == 0 {
            return 0.0;
        }
        (served as f64 / looked_up as f64 * 10_000.0).round() / 100.0
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "hits": self.totals.hits,
            "misses": self.totals.misses,
            "stale": self.totals.stale,
            "revalidated": self.totals.revalidated,
            "bypassed": self.totals.bypassed,
            "errors": self.totals.errors,
            "hit_rate_percent": self.hit_rate_percent(),
            "total_keys": self.entries,
            "bytes": self.bytes,
            "bytes_max": self.bytes_max,
            "redis": self.redis.as_str(),
        })
    }
}
