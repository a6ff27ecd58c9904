//! The log of purges: may this stored response still be used, and may this process know?
//!
//! A purge takes the next number; a stored response bears the number up to which purges were known when its fetch began; so
//! one that is older than a purge which covers it is dead, in every tier and on every replica, be it stored already or still
//! on its way. Without Redis the log is this process's own. With Redis, [`super::redis`] follows the log there and tells this
//! one what it reads; a process that can't follow trusts what it holds for the length of its lease and no longer. Left out:
//! how Redis is asked.

mod index;
mod record;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant, SystemTime};

use larder_policy::{CacheKey, Fields};

pub use self::index::Stamp;
pub(super) use self::index::{Index, RECORDS_MAX, Verdict};
pub(super) use self::record::Record;
pub use self::record::{NameTooLong, PREFIX_BYTES_MAX, Purge, Scope};

/// How long a replica that falls silent is waited for by a purge, and may trust what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease(Duration);

impl Lease {
    /// As long as this.
    pub const fn new(whole: Duration) -> Self {
        Self(whole)
    }

    pub(super) fn whole(self) -> Duration {
        self.0
    }

    /// As this process counts it, from before it asked: clocks run apart, and what was found must still be sent.
    pub(super) fn trusted(self) -> Duration {
        self.0 * 9 / 10
    }

    /// How often it is renewed: several attempts may fail.
    pub(super) fn renewal(self) -> Duration {
        self.0 / 5
    }

    /// How long a purge waits for the replicas: their leases, what was under way, and a margin.
    pub(super) fn purge_max(self) -> Duration {
        self.0 * 2 + Duration::from_secs(1)
    }
}

impl Default for Lease {
    fn default() -> Self {
        Self(Duration::from_secs(2))
    }
}

/// How a process keeps to the log of purges in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PurgeRules {
    /// While the log can't be followed.
    pub on_partition: OnPartition,
    /// For how long it is trusted not to have changed.
    pub lease: Lease,
}

/// What to do with what is held while the log can't be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnPartition {
    /// Ask the upstream whether it is still good.
    #[default]
    Origin,
    /// Serve it, and say so: a purge may have been missed.
    Serve,
}

/// How far what is held may be trusted now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// Every purge that anybody was told of has been applied.
    Sure,
    /// Some may be missing: ask the upstream.
    Unsure,
    /// Some may be missing, and that is all right.
    Waived,
}

/// Always sure: the log is this process's own.
const FOR_EVER_MS: u64 = u64::MAX;

/// The log, as this process knows it.
#[derive(Debug)]
pub(super) struct Log {
    /// Held for map operations only.
    index: RwLock<Index>,
    /// The index's stamp, read without the lock. While the number is of another log than before, the epoch is 0: that of no log,
    /// so that no number is ever seen with the name of another log.
    epoch: AtomicU64,
    sequence: AtomicU64,
    /// Grows whenever the index says something new.
    version: AtomicU64,
    started: Instant,
    /// Until when, in milliseconds since the start.
    sure_until_ms: AtomicU64,
    on_partition: OnPartition,
}

impl Log {
    /// A log of this process's own, which begins `now`.
    pub(super) fn own(now: SystemTime) -> Self {
        let epoch = random_epoch();
        let sequence = unix_us(now);
        let stamp = Stamp { epoch, sequence };
        Self::new(stamp, FOR_EVER_MS, OnPartition::Origin)
    }

    /// A log that is kept elsewhere; nothing is known of it yet.
    pub(super) fn followed(on_partition: OnPartition) -> Self {
        Self::new(Stamp::default(), 0, on_partition)
    }

    fn new(stamp: Stamp, sure_until_ms: u64, on_partition: OnPartition) -> Self {
        Self {
            index: RwLock::new(Index::new(stamp)),
            epoch: AtomicU64::new(stamp.epoch),
            sequence: AtomicU64::new(stamp.sequence),
            version: AtomicU64::new(1),
            started: Instant::now(),
            sure_until_ms: AtomicU64::new(sure_until_ms),
            on_partition,
        }
    }

    /// To be taken before the store is asked, and kept with what is then fetched.
    pub(super) fn stamp(&self) -> Stamp {
        let before = self.epoch.load(Ordering::SeqCst);
        let sequence = self.sequence.load(Ordering::SeqCst);
        let epoch = self.epoch.load(Ordering::SeqCst);
        match before == epoch {
            true => Stamp { epoch, sequence },
            false => Stamp::default(),
        }
    }

    /// Grows with every purge; what was found alive under a version is alive as long as it stays.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub(super) fn judge(&self, key: &CacheKey, headers: &impl Fields, born: Stamp) -> Verdict {
        self.read().judge(key, headers, born)
    }

    pub(super) fn trust(&self) -> Trust {
        let until_ms = self.sure_until_ms.load(Ordering::Acquire);
        if until_ms == FOR_EVER_MS || self.elapsed_ms(Instant::now()) < until_ms {
            return Trust::Sure;
        }
        match self.on_partition {
            OnPartition::Origin => Trust::Unsure,
            OnPartition::Serve => Trust::Waived,
        }
    }

    /// Makes purges in this process's own log; gives the number of the last.
    pub(super) fn purge_own(&self, records: &[Record], now: SystemTime) -> u64 {
        let mut index = self.write();
        let sequence = unix_us(now).max(index.stamp.sequence + 1);
        for record in records {
            index.apply(record, sequence);
        }
        index.applied(sequence);
        self.tell(&index);
        sequence
    }

    /// Takes in a purge that is in the followed log before all that was made before it is known.
    pub(super) fn apply_early(&self, records: &[Record], sequence: u64) {
        let mut index = self.write();
        for record in records {
            index.apply(record, sequence);
        }
        self.tell(&index);
    }

    /// These purges, and no others, are in no log yet. They cover whatever is found, whenever it was fetched: other replicas
    /// don't know them, and the numbers of what those fetch may be greater than any that this process has heard of.
    pub(super) fn hold<'a>(&self, records: impl Iterator<Item = &'a Record>) {
        let mut index = self.write();
        index.hold(records);
        self.tell(&index);
    }

    /// Takes in what was read from the log that is followed: `records` with their numbers, after which everything up to
    /// `stamp.sequence` is known. Another epoch than before means that nobody knows all purges of what was fetched under the
    /// old one; those that are known hold.
    pub(super) fn take_in(&self, stamp: Stamp, floor: u64, records: &[(Record, u64)]) {
        let mut index = self.write();
        if index.stamp.epoch == stamp.epoch
            && index.stamp.sequence >= stamp.sequence
            && index.floor() >= floor
            && records.is_empty()
        {
            return;
        }
        if index.stamp.epoch != stamp.epoch {
            index.begin_anew(stamp.epoch);
        }
        for (record, sequence) in records {
            index.apply(record, *sequence);
        }
        index.raise_floor(floor);
        index.applied(stamp.sequence);
        self.tell(&index);
    }

    /// All that was to be applied has been, as of `since`: for so long it may be trusted.
    pub(super) fn trust_for(&self, since: Instant, lease: Duration) {
        let until_ms = self.elapsed_ms(since + lease);
        self.sure_until_ms.fetch_max(until_ms, Ordering::AcqRel);
    }

    /// Different things that were purged, and the bytes that remembering them takes.
    pub(super) fn size(&self) -> (usize, usize) {
        let index = self.read();
        (index.len(), index.bytes())
    }

    /// In this order: see `epoch`. The version last, for whoever sees it must see what it stands for.
    fn tell(&self, index: &Index) {
        if self.epoch.load(Ordering::SeqCst) != index.stamp.epoch {
            self.epoch.store(0, Ordering::SeqCst);
        }
        self.sequence.store(index.stamp.sequence, Ordering::SeqCst);
        self.epoch.store(index.stamp.epoch, Ordering::SeqCst);
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    fn elapsed_ms(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.started).as_millis())
            .unwrap_or(u64::MAX - 1)
    }

    fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Microseconds since 1970: the numbers of purges, so that no server that takes over from another gives one twice.
pub fn unix_us(time: SystemTime) -> u64 {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// A name that no other log has; never 0.
pub(super) fn random_epoch() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0_u8) | 1
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
