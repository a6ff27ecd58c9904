//! Was this key purged since a fetch began?
//!
//! A fill that began before a purge must not bring back what was purged. A fetch takes a [`Mark`]
//! when it begins; storing is refused when a purge of its key came later. Keys share a fixed number
//! of places by hash, so the memory is bounded, and a purge of another key may refuse a store: that
//! costs one fetch and never freshness. Left out: purges that other processes make.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use larder_policy::CacheKey;
use tokio::sync::RwLock;
use xxhash_rust::xxh3::xxh3_64;

/// Two keys meet in one place by a chance of one in this many: a power of two.
const PLACES: usize = 1024;

/// The moment at which a fetch began, as a number of purges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(u64);

#[derive(Debug, Default)]
struct Place {
    /// Number of its latest purge. Held while memory is changed, so that a store can't come
    /// between a purge's number and its removal.
    latest: Mutex<u64>,
    /// Read by those who write to Redis, written by a purge: it waits for the writes under way.
    gate: RwLock<()>,
}

/// The purges of this process.
#[derive(Debug)]
pub(super) struct Purges {
    count: AtomicU64,
    places: Box<[Place]>,
}

impl Purges {
    pub(super) fn new() -> Self {
        Self {
            count: AtomicU64::new(0),
            places: std::iter::repeat_with(Place::default)
                .take(PLACES)
                .collect(),
        }
    }

    pub(super) fn mark(&self) -> Mark {
        Mark(self.count.load(Ordering::SeqCst))
    }

    /// Does `change` unless the key was purged after `mark`; no purge comes in between.
    pub(super) fn unless_purged<T>(
        &self,
        key: &CacheKey,
        mark: Mark,
        change: impl FnOnce() -> T,
    ) -> Option<T> {
        let place = self.place(key);
        let latest = place.latest.lock().unwrap_or_else(PoisonError::into_inner);
        (*latest <= mark.0).then(change)
    }

    /// Takes the next number for the key and does `removal` with it.
    pub(super) fn purge<T>(&self, key: &CacheKey, removal: impl FnOnce() -> T) -> T {
        let place = self.place(key);
        let mut latest = place.latest.lock().unwrap_or_else(PoisonError::into_inner);
        *latest = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        removal()
    }

    pub(super) fn gate(&self, key: &CacheKey) -> &RwLock<()> {
        &self.place(key).gate
    }

    fn place(&self, key: &CacheKey) -> &Place {
        let hash = xxh3_64(key.as_bytes());
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the remainder is what is wanted"
        )]
        let at = hash as usize % PLACES;
        &self.places[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> CacheKey {
        CacheKey::from_bytes(name.as_bytes().into())
    }

    #[test]
    fn a_purge_refuses_what_began_before_it_and_nothing_later() {
        let purges = Purges::new();
        let before = purges.mark();
        assert_eq!(purges.unless_purged(&key("a"), before, || 1), Some(1));
        assert_eq!(purges.purge(&key("a"), || 2), 2);
        assert_eq!(purges.unless_purged(&key("a"), before, || 1), None);
        assert_eq!(
            purges.unless_purged(&key("a"), purges.mark(), || 1),
            Some(1)
        );
    }

    #[test]
    fn a_purge_concerns_few_other_keys() {
        let purges = Purges::new();
        let before = purges.mark();
        purges.purge(&key("a"), || ());
        let refused = (0..1000).filter(|n| {
            purges
                .unless_purged(&key(&n.to_string()), before, || ())
                .is_none()
        });
        assert!(refused.count() < 10);
    }
}
