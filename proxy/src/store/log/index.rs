//! Was this stored response purged since its fetch began?
//!
//! The purges of one epoch, as values: no clock, no lock, no Redis. Of each thing that was purged the latest number is
//! kept, so the cost of a purge does not depend on what is stored, and the size of this only on how many different things
//! were purged. When those are too many the oldest give way, and a floor remembers that everything older than they is dead.

use std::collections::{BTreeMap, HashMap};

use larder_policy::{CacheKey, Fields, is_tagged};

use super::record::{Record, marks_of, prefix_marks_of};

/// Different things that may have been purged. The log in Redis keeps as many.
pub(in crate::store) const RECORDS_MAX: usize = 100_000;
/// What the table spends on a place, taken or not: 25 bytes, and as much again while it grows.
const PLACE_BYTES: usize = 64;

/// When a fetch began, as far as purges are concerned: which log was followed, and how far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp {
    /// The log's own name, made at random; 0 before any log was followed.
    pub epoch: u64,
    /// The number of the latest purge that had been applied.
    pub sequence: u64,
}

/// What the purges say of a stored response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Verdict {
    /// Nothing.
    Alive,
    /// It is stale since this purge.
    Stale {
        /// The purge's number: microseconds since 1970 when it was made.
        sequence: u64,
    },
    /// It was fetched under another log: nobody knows.
    Unknown,
    /// It must not be used.
    Dead,
}

#[derive(Debug, Clone, Copy, Default)]
struct Latest {
    hard: u64,
    soft: u64,
}

impl Latest {
    fn last(self) -> u64 {
        self.hard.max(self.soft)
    }
}

/// The latest purge of each thing.
#[derive(Debug, Default)]
struct Purged {
    latest: HashMap<u64, Latest>,
    /// The lengths of the prefixes that were purged, and the last purge of each: a look-up tries every one.
    prefix_lengths: BTreeMap<usize, u64>,
}

/// The purges of one log, as far as they are known here.
#[derive(Debug)]
pub(in crate::store) struct Index {
    pub(super) stamp: Stamp,
    /// What began before this number is dead.
    floor: u64,
    purged: Purged,
    /// Those that are in no log yet.
    held: Purged,
    records_max: usize,
}

impl Index {
    pub(in crate::store) fn new(stamp: Stamp) -> Self {
        Self {
            stamp,
            floor: 0,
            purged: Purged::default(),
            held: Purged::default(),
            records_max: RECORDS_MAX,
        }
    }

    /// Takes a purge in. In whatever order and however often they come, the latest number of each thing stays.
    pub(in crate::store) fn apply(&mut self, record: &Record, sequence: u64) {
        self.purged.apply(record, sequence);
        if self.purged.latest.len() > self.records_max {
            self.drop_older_half();
        }
    }

    /// These are in no log yet, and no others.
    pub(in crate::store) fn hold<'a>(&mut self, records: impl Iterator<Item = &'a Record>) {
        self.held = Purged::default();
        // As numbers they are later than all that is known.
        records.for_each(|record| self.held.apply(record, self.stamp.sequence + 1));
    }

    /// The log has another name from now on. Its numbers are greater than those of before, since they are times; so what was
    /// purged before stays purged, whatever log a stored response was fetched under, and nothing that is fetched from now on is.
    pub(in crate::store) fn begin_anew(&mut self, epoch: u64) {
        self.stamp = Stamp { epoch, sequence: 0 };
    }

    /// Everything up to this number has been applied.
    pub(in crate::store) fn applied(&mut self, sequence: u64) {
        self.stamp.sequence = sequence.max(self.stamp.sequence);
    }

    /// What began before this number is dead.
    pub(in crate::store) fn floor(&self) -> u64 {
        self.floor
    }

    /// What began before this number is dead from now on.
    pub(in crate::store) fn raise_floor(&mut self, sequence: u64) {
        self.floor = sequence.max(self.floor);
    }

    pub(in crate::store) fn judge(
        &self,
        key: &CacheKey,
        headers: &impl Fields,
        born: Stamp,
    ) -> Verdict {
        let same_log = born.epoch == self.stamp.epoch;
        if same_log && born.sequence < self.floor {
            return Verdict::Dead;
        }
        let (latest, held) = (
            self.purged.latest_of(key, headers),
            self.held.latest_of(key, headers),
        );
        if held.hard > 0 || latest.hard > if same_log { born.sequence } else { 0 } {
            Verdict::Dead
        } else if !same_log {
            Verdict::Unknown
        } else if held.soft > 0 {
            let sequence = held.soft;
            Verdict::Stale { sequence }
        } else if latest.soft > born.sequence {
            let sequence = latest.soft;
            Verdict::Stale { sequence }
        } else {
            Verdict::Alive
        }
    }

    /// Different things that were purged.
    pub(in crate::store) fn len(&self) -> usize {
        self.purged.latest.len() + self.held.latest.len()
    }

    /// Bytes that all this holds.
    pub(in crate::store) fn bytes(&self) -> usize {
        (self.purged.latest.capacity() + self.held.latest.capacity()) * PLACE_BYTES
    }

    fn drop_older_half(&mut self) {
        let last_dropped = self.purged.drop_older_half();
        self.raise_floor(last_dropped);
    }
}

impl Purged {
    fn apply(&mut self, record: &Record, sequence: u64) {
        let latest = self.latest.entry(record.mark()).or_default();
        let number = match record.is_soft() {
            true => &mut latest.soft,
            false => &mut latest.hard,
        };
        *number = sequence.max(*number);
        if let Some(length) = record.prefix_bytes() {
            let last = self.prefix_lengths.entry(length).or_default();
            *last = sequence.max(*last);
        }
    }

    fn latest_of(&self, key: &CacheKey, headers: &impl Fields) -> Latest {
        if self.latest.is_empty() {
            return Latest::default();
        }
        let marks = marks_of(key, headers, is_tagged(headers));
        let lengths = self.prefix_lengths.range(..=key.target().len());
        let prefixes = lengths.filter_map(|(length, _)| prefix_marks_of(key, *length));
        let covering = marks.into_iter().chain(prefixes.flatten());
        let found = covering.filter_map(|mark| self.latest.get(&mark));
        found.fold(Latest::default(), |all, one| Latest {
            hard: all.hard.max(one.hard),
            soft: all.soft.max(one.soft),
        })
    }

    /// Gives the number of the latest that was dropped.
    fn drop_older_half(&mut self) -> u64 {
        let mut numbers: Vec<u64> = self.latest.values().map(|latest| latest.last()).collect();
        let middle = numbers.len() / 2;
        let (_, &mut last_dropped, _) = numbers.select_nth_unstable(middle);
        self.latest.retain(|_, latest| latest.last() > last_dropped);
        self.prefix_lengths.retain(|_, last| *last > last_dropped);
        last_dropped
    }
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
