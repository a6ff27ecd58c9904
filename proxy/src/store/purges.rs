//! Was this key purged since a fetch began?
//!
//! A fill that began before a purge must not bring back what was purged. A fetch takes a [`Moment`]
//! when it begins; storing is refused when a purge of its key came later. Keys share a fixed number
//! of places by hash, each with room for a few purges, so the memory is bounded. When many purges meet
//! in one place while a fetch is under way, they may refuse the store of another key: that costs one
//! fetch and never freshness. Left out: purges that other processes make.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use larder_policy::CacheKey;
use tokio::sync::RwLock;
use xxhash_rust::xxh3::xxh3_64;

/// Two keys meet in one place by a chance of one in this many: a power of two.
const PLACES: usize = 1024;
/// So many purges a place tells apart by their keys.
const REMEMBERED: usize = 8;

/// The moment at which a fetch began, as a number of removals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(u64);

/// The latest purges of one place.
#[derive(Debug, Default)]
struct Latest {
    /// Hashes of keys, and the numbers of their latest purges.
    keys: [(u64, u64); REMEMBERED],
    /// The greatest number that had to give way: whose it was is no longer known.
    forgotten: u64,
}

impl Latest {
    fn note(&mut self, hash: u64, number: u64) {
        let rank = |&&mut (key, at): &&mut (u64, u64)| if key == hash { 0 } else { at + 1 };
        let Some(slot) = self.keys.iter_mut().min_by_key(rank) else {
            return;
        };
        if slot.0 != hash {
            self.forgotten = self.forgotten.max(slot.1);
        }
        *slot = (hash, number);
    }

    fn is_purged(&self, hash: u64, moment: Moment) -> bool {
        let since = |&(key, number): &(u64, u64)| key == hash && number > moment.0;
        self.forgotten > moment.0 || self.keys.iter().any(since)
    }
}

#[derive(Debug, Default)]
struct Place {
    /// Held while memory is changed, so that a store can't come between a purge's number and its
    /// removal.
    latest: Mutex<Latest>,
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

    pub(super) fn moment(&self) -> Moment {
        Moment(self.count.load(Ordering::SeqCst))
    }

    /// Does `change` unless the key was purged after `moment`; no purge comes in between.
    pub(super) fn unless_purged<T>(
        &self,
        key: &CacheKey,
        moment: Moment,
        change: impl FnOnce() -> T,
    ) -> Option<T> {
        let hash = hash(key);
        let place = self.place(hash);
        let latest = place.latest.lock().unwrap_or_else(PoisonError::into_inner);
        (!latest.is_purged(hash, moment)).then(change)
    }

    /// Takes the next number for the key and does `removal` with it.
    pub(super) fn purge<T>(&self, key: &CacheKey, removal: impl FnOnce() -> T) -> T {
        let hash = hash(key);
        let place = self.place(hash);
        let mut latest = place.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.note(hash, self.count.fetch_add(1, Ordering::SeqCst) + 1);
        removal()
    }

    pub(super) fn gate(&self, key: &CacheKey) -> &RwLock<()> {
        &self.place(hash(key)).gate
    }

    fn place(&self, hash: u64) -> &Place {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the remainder is what is wanted"
        )]
        let at = hash as usize % PLACES;
        &self.places[at]
    }
}

fn hash(key: &CacheKey) -> u64 {
    xxh3_64(key.as_bytes())
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
        let before = purges.moment();
        assert_eq!(purges.unless_purged(&key("a"), before, || 1), Some(1));
        assert_eq!(purges.purge(&key("a"), || 2), 2);
        assert_eq!(purges.unless_purged(&key("a"), before, || 1), None);
        assert_eq!(
            purges.unless_purged(&key("a"), purges.moment(), || 1),
            Some(1)
        );
    }

    /// How many of a thousand keys are refused that began before `purges` and were not purged.
    fn refused(purges: &Purges, before: Moment) -> usize {
        let others = (0..1000).map(|n| key(&format!("other {n}")));
        others
            .filter(|key| purges.unless_purged(key, before, || ()).is_none())
            .count()
    }

    #[test]
    fn a_purge_concerns_no_other_key() {
        let purges = Purges::new();
        let before = purges.moment();
        (0..1000).for_each(|n| purges.purge(&key(&n.to_string()), || ()));
        assert_eq!(refused(&purges, before), 0);
    }

    #[test]
    fn a_key_that_is_purged_again_and_again_takes_no_room_from_others() {
        let purges = Purges::new();
        let before = purges.moment();
        (0..100_000).for_each(|_| purges.purge(&key("a"), || ()));
        assert_eq!(refused(&purges, before), 0);
        assert_eq!(purges.unless_purged(&key("a"), before, || ()), None);
    }

    #[test]
    fn a_purge_is_never_forgotten_however_many_follow() {
        let purges = Purges::new();
        let before = purges.moment();
        purges.purge(&key("a"), || ());
        (0..100_000).for_each(|n| purges.purge(&key(&n.to_string()), || ()));
        assert_eq!(purges.unless_purged(&key("a"), before, || ()), None);
        assert_eq!(refused(&purges, purges.moment()), 0);
    }
}
