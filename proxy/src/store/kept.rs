//! What does memory remember of a response that it holds?
//!
//! It lies in the entry itself, not beside it: a hit then finds all it needs in one place. An entry that is nowhere in memory, a
//! copy of one that is above all, has nothing of it. What memory counts it counts here, as long as anybody holds the entry.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::worth::Chances;

/// What the whole tier holds, and may hold.
#[derive(Debug)]
pub(super) struct Totals {
    pub(super) entries: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) bytes_max: AtomicU64,
}

/// What memory remembers of an entry; nothing of one that it never held. A copy begins anew, and two entries are the same
/// whatever is remembered of either.
#[derive(Debug, Default)]
pub struct Kept(OnceLock<Place>);

#[derive(Debug)]
struct Place {
    totals: Arc<Totals>,
    /// The version of the log of purges under which it was last found alive; 0 for none.
    alive_under: AtomicU64,
    /// What it counts for. No stored body is too long for this number.
    bytes: u32,
    chances: Chances,
    /// Whether the tier below was asked for a newer one since this one went stale.
    asked_below: AtomicBool,
}

impl Kept {
    /// Counts it, unless it is already.
    pub(super) fn count(&self, totals: &Arc<Totals>, bytes: u64, chances: Chances) {
        self.0.get_or_init(|| {
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            totals.entries.fetch_add(1, Ordering::Relaxed);
            totals.bytes.fetch_add(bytes.into(), Ordering::Relaxed);
            Place {
                totals: Arc::clone(totals),
                alive_under: AtomicU64::new(0),
                bytes,
                chances,
                asked_below: AtomicBool::new(false),
            }
        });
    }

    /// The version of the log of purges under which it was last found alive; 0 for none.
    pub(super) fn alive_under(&self) -> u64 {
        let place = self.0.get();
        place.map_or(0, |place| place.alive_under.load(Ordering::Acquire))
    }

    pub(super) fn found_alive_under(&self, version: u64) {
        if let Some(place) = self.0.get() {
            place.alive_under.store(version, Ordering::Release);
        }
    }

    /// True once, to be asked when it is no longer fresh: another replica may have a newer one by now. If it
    /// hasn't, this process will fetch one itself, so that asking again would be in vain.
    pub(super) fn asks_below(&self) -> bool {
        let place = self.0.get();
        place.is_some_and(|place| !place.asked_below.swap(true, Ordering::Relaxed))
    }

    /// Takes one of its chances; false when there is none left.
    pub(super) fn takes_chance(&self) -> bool {
        self.0.get().is_some_and(|place| place.chances.take())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.totals.entries.fetch_sub(1, Ordering::Relaxed);
        let bytes = self.bytes.into();
        self.totals.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Clone for Kept {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Kept {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Kept {}
