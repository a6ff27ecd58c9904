//! Which stored response of this process may answer? Held in memory, bounded by one number.
//!
//! One slot per key holds all variants of its URL, so a look-up is one access of the table with
//! `Vary` or without, a purge takes all variants by removing one slot, and nothing is left behind
//! that can't be reached any more. A slot never changes: storing a variant replaces it by a new
//! one. The price: variants are evicted together. Keys are compared in full, so none is taken for
//! another. Left out: the order of purges and fills, which is the caller's business; two calls of
//! `put` for one key must not overlap.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use larder_policy::{CacheKey, Fields, VarySpec, selecting};
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter};

use super::entry::Entry;
use super::worth::{Chances, Mean};

/// Longer spellings of selecting fields are not remembered.
const SPELLING_BYTES_MAX: usize = 256;
/// Variants of one URL. More means that a client chooses them, or that `Vary` is too wide.
pub(super) const VARIANTS_MAX: usize = 64;
/// A part of the table has a lock and a share of the bytes of its own. Smaller shares would let in
/// smaller objects only.
const SHARD_BYTES_MIN: u64 = 32 * 1024 * 1024;
/// Enough locks that cores seldom meet at one.
const SHARDS_MAX: u64 = 64;
/// A guess at the mean size of a response, to size the table with.
const ENTRY_BYTES_GUESS: u64 = 16 * 1024;
/// At most this many places are made ahead.
const ENTRIES_GUESS_MAX: u64 = 1 << 18;
/// What the table and the slot spend besides the entries: measured, rounded up.
const SLOT_OVERHEAD_BYTES: u64 = 256;

/// So much of the bytes the allocator takes for itself, by rounding sizes up and by pages that are half empty, after a flood of
/// responses of all sizes: measured by `scripts/soak`, rounded up.
const ALLOCATOR_PERCENT: u64 = 20;
/// So much more than they may be the stored bytes are while eviction passes over what was dear. Without a limit, large responses
/// that were dear would make it more than half as much again.
const CHANCES_PERCENT: u64 = 5;

/// One stored response in a slot.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) entry: Arc<Entry>,
    /// Whether the tier below was asked for a newer one since this one went stale.
    asked_below: AtomicBool,
    /// The version of the log of purges under which it was last found alive; 0 for none.
    pub(super) alive_under: AtomicU64,
    /// How the first request that got it spelt the selecting fields: most others spell them the same.
    spelling: OnceLock<Spelling>,
}

impl Held {
    /// True once, to be asked when it is no longer fresh: another replica may have a newer one by now. If it
    /// hasn't, this process will fetch one itself, so that asking again would be in vain.
    pub(super) fn asks_below(&self) -> bool {
        !self.asked_below.swap(true, Ordering::Relaxed)
    }
}

/// The lines of a request's selecting fields as they came.
#[derive(Debug)]
struct Spelling(Box<[u8]>);

impl Spelling {
    /// None when they are too long to be worth it.
    fn of(spec: &VarySpec, request: &impl Fields) -> Option<Self> {
        let mut bytes = Vec::new();
        for line in Self::pieces(spec, request) {
            bytes.extend_from_slice(line);
            bytes.push(b'\n');
        }
        (bytes.len() <= SPELLING_BYTES_MAX).then(|| Self(bytes.into()))
    }

    fn is_of(&self, spec: &VarySpec, request: &impl Fields) -> bool {
        let mut rest = &*self.0;
        for line in Self::pieces(spec, request) {
            let after = rest.strip_prefix(line);
            let Some(after) = after.and_then(|rest| rest.strip_prefix(b"\n")) else {
                return false;
            };
            rest = after;
        }
        rest.is_empty()
    }

    /// Each field's lines behind its name; neither can hold a line feed or begin with one.
    fn pieces<'a>(spec: &'a VarySpec, request: &'a impl Fields) -> impl Iterator<Item = &'a [u8]> {
        let names = spec.names().iter();
        names.flat_map(|name| std::iter::once(&b"\n"[..]).chain(request.lines(name)))
    }
}

/// What memory has for a request.
#[derive(Debug)]
pub(super) enum InMemory {
    Hit(Arc<Held>),
    /// Variants of the URL, but not this one.
    VaryMiss,
    Miss,
}

/// All variants of one URL; the one stored last stands last.
#[derive(Debug)]
struct Slot {
    spec: Option<VarySpec>,
    variants: Variants,
    bytes: u64,
    chances: Chances,
    totals: Arc<Totals>,
}

/// One or more; mostly one, which needs no list.
#[derive(Debug)]
enum Variants {
    One([Arc<Held>; 1]),
    Many(Box<[Arc<Held>]>),
}

impl std::ops::Deref for Variants {
    type Target = [Arc<Held>];

    fn deref(&self) -> &[Arc<Held>] {
        match self {
            Self::One(one) => one,
            Self::Many(many) => many,
        }
    }
}

impl From<Vec<Arc<Held>>> for Variants {
    fn from(variants: Vec<Arc<Held>>) -> Self {
        match <[Arc<Held>; 1]>::try_from(variants) {
            Ok(one) => Self::One(one),
            Err(variants) => Self::Many(variants.into()),
        }
    }
}

/// What the whole tier holds, and may hold.
#[derive(Debug)]
struct Totals {
    entries: AtomicU64,
    bytes: AtomicU64,
    bytes_max: AtomicU64,
}

impl Totals {
    fn allows_chances(&self) -> bool {
        let bytes_max = self.bytes_max.load(Ordering::Relaxed);
        self.bytes.load(Ordering::Relaxed) <= bytes_max + bytes_max / 100 * CHANCES_PERCENT
    }
}

impl Slot {
    fn selected(&self, spec: &VarySpec, request: &impl Fields) -> Option<&Arc<Held>> {
        let mut variants = self.variants.iter();
        let spelled_so = variants.find(|held| {
            let spelling = held.spelling.get();
            spelling.is_some_and(|spelling| spelling.is_of(spec, request))
        });
        spelled_so.or_else(|| {
            let wanted = selecting(spec, request);
            let mut variants = self.variants.iter();
            let found = variants.find(|held| *held.entry.selecting == *wanted)?;
            if let Some(spelling) = Spelling::of(spec, request) {
                drop(found.spelling.set(spelling));
            }
            Some(found)
        })
    }

    fn newest(&self) -> u64 {
        let times = self.variants.iter();
        let times = times.map(|held| held.entry.policy.response_time_unix_s);
        times.max().unwrap_or(0)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let count = self.variants.len() as u64;
        self.totals.entries.fetch_sub(count, Ordering::Relaxed);
        self.totals.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[derive(Debug, Clone)]
struct ByBytes;

impl Weighter<CacheKey, Arc<Slot>> for ByBytes {
    fn weight(&self, _: &CacheKey, slot: &Arc<Slot>) -> u64 {
        slot.bytes
    }
}

/// Evicts as the table sees fit, but for slots that still have chances, of which each attempt at eviction spends one. When all
/// have some, the table is over its bytes, and when it is too far over them chances don't count.
#[derive(Debug, Clone)]
struct ByWorth(DefaultLifecycle<CacheKey, Arc<Slot>>, Arc<Totals>);

impl Lifecycle<CacheKey, Arc<Slot>> for ByWorth {
    type RequestState =
        <DefaultLifecycle<CacheKey, Arc<Slot>> as Lifecycle<CacheKey, Arc<Slot>>>::RequestState;

    fn is_pinned(&self, _: &CacheKey, slot: &Arc<Slot>) -> bool {
        self.1.allows_chances() && slot.chances.take()
    }

    fn on_evict(&self, state: &mut Self::RequestState, key: CacheKey, slot: Arc<Slot>) {
        self.0.on_evict(state, key, slot);
    }
}

/// The memory tier.
#[derive(Debug)]
pub(super) struct Memory {
    slots: Cache<CacheKey, Arc<Slot>, ByBytes, DefaultHashBuilder, ByWorth>,
    mean: Mean,
    slot_bytes_max: u64,
    bytes_max: u64,
    /// What something else needs of the bytes.
    taken_bytes: AtomicU64,
    totals: Arc<Totals>,
}

impl Memory {
    pub(super) fn new(bytes_max: u64) -> Self {
        let shards = (bytes_max / SHARD_BYTES_MIN).clamp(1, SHARDS_MAX);
        let shards = 1 << shards.ilog2();
        // One object must neither fill a share nor push out most of what is held.
        let slot_bytes_max = (bytes_max / 4).min(bytes_max / shards / 2);
        let bytes_max = bytes_max - bytes_max / 100 * ALLOCATOR_PERCENT;
        // Never so few that the library makes fewer shards of it.
        let guess = (bytes_max / ENTRY_BYTES_GUESS).clamp(shards * 32, ENTRIES_GUESS_MAX);
        let mut options = OptionsBuilder::new();
        options
            .shards(usize::try_from(shards).unwrap_or(1))
            .estimated_items_capacity(usize::try_from(guess).unwrap_or(usize::MAX))
            .weight_capacity(bytes_max);
        let totals = Arc::new(Totals {
            entries: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            bytes_max: AtomicU64::new(bytes_max),
        });
        Self {
            slots: Cache::with_options(
                options.build().expect("all three sizes are set"),
                ByBytes,
                DefaultHashBuilder::default(),
                ByWorth(DefaultLifecycle::default(), Arc::clone(&totals)),
            ),
            mean: Mean::default(),
            slot_bytes_max,
            bytes_max,
            taken_bytes: AtomicU64::new(0),
            totals,
        }
    }

    /// Leaves room for something else that counts towards the same number.
    pub(super) fn leave_room(&self, bytes: u64) {
        if self.taken_bytes.swap(bytes, Ordering::Relaxed) != bytes {
            let bytes_max = self.bytes_max.saturating_sub(bytes);
            self.totals.bytes_max.store(bytes_max, Ordering::Relaxed);
            self.slots.set_capacity(bytes_max);
        }
    }

    /// Finds the response that this request selects, by the bytes of its key. Nothing is allocated without `Vary`, nor for
    /// requests that spell the selecting fields as the first one did that got the variant.
    pub(super) fn get(&self, key: &[u8], request: &impl Fields, now: SystemTime) -> InMemory {
        let Some(slot) = self.slots.get(key) else {
            return InMemory::Miss;
        };
        let found = match &slot.spec {
            None => slot.variants.first(),
            Some(spec) => slot.selected(spec, request),
        };
        match found {
            Some(held) if is_alive(held, now) => InMemory::Hit(Arc::clone(held)),
            _ if slot.variants.iter().any(|held| is_alive(held, now)) => InMemory::VaryMiss,
            _ => {
                self.slots.remove_if(key, |s| Arc::ptr_eq(s, &slot));
                InMemory::Miss
            }
        }
    }

    /// All whole variants of a URL, the one stored last first.
    pub(super) fn variants(&self, key: &CacheKey, now: SystemTime) -> Vec<Arc<Entry>> {
        let Some(slot) = self.slots.peek(key) else {
            return Vec::new();
        };
        let newest_first = slot.variants.iter().rev();
        let alive = newest_first.filter(|held| is_alive(held, now) && !held.entry.is_part());
        alive.map(|held| Arc::clone(&held.entry)).collect()
    }

    /// Stores a response in place of an older one that the same request selects; one with another
    /// `Vary` takes the place of all. False when it is too large, and then the older one is gone
    /// all the same: it is no longer what the upstream says. A part takes the place of nothing whole
    /// that may still be of use; that is false, too. `alive_under` is the version of the log of purges under which it is alive.
    pub(super) fn put(&self, entry: Arc<Entry>, alive_under: u64, now: SystemTime) -> bool {
        let old = self.slots.peek(&entry.key);
        if old
            .as_ref()
            .is_some_and(|old| self.would_displace_whole(old, &entry, now))
        {
            return false;
        }
        let mut variants = match old {
            Some(old) if old.spec == entry.vary => others(&old, &entry, now),
            _ => Vec::new(),
        };
        let (key, spec) = (entry.key.clone(), entry.vary.clone());
        let fits = entry.bytes_held() as u64 + SLOT_OVERHEAD_BYTES <= self.slot_bytes_max;
        if fits && is_current(&entry, now) {
            variants.push(Arc::new(Held {
                entry,
                asked_below: AtomicBool::new(false),
                alive_under: AtomicU64::new(alive_under),
                spelling: OnceLock::new(),
            }));
        }
        self.replace(key, spec, variants);
        fits
    }

    /// Stores what came from the tier below, unless something newer is held. False when that is
    /// under another `Vary`, so that `entry` must not be used at all.
    pub(super) fn put_if_newer(
        &self,
        entry: &Arc<Entry>,
        alive_under: u64,
        now: SystemTime,
    ) -> bool {
        let time = entry.policy.response_time_unix_s;
        let Some(old) = self.slots.peek(&entry.key) else {
            self.put(Arc::clone(entry), alive_under, now);
            return true;
        };
        if old.spec != entry.vary && old.newest() > time {
            return false;
        }
        let mut same = old.variants.iter();
        let same = same.find(|held| held.entry.selecting == entry.selecting);
        if same.is_none_or(|held| entry.is_better_than(&held.entry)) || old.spec != entry.vary {
            self.put(Arc::clone(entry), alive_under, now);
        }
        true
    }

    /// Removes a URL's slot if this very response is in it.
    pub(super) fn remove_with(&self, entry: &Arc<Entry>) {
        let holds = |slot: &Arc<Slot>| {
            let mut held = slot.variants.iter();
            held.any(|held| Arc::ptr_eq(&held.entry, entry))
        };
        self.slots.remove_if(&entry.key, holds);
    }

    /// Removes a URL's slot; says how many responses went with it.
    pub(super) fn remove(&self, key: &CacheKey) -> usize {
        let removed = self.slots.remove(key);
        removed.map_or(0, |(_, slot)| slot.variants.len())
    }

    /// Removes one response, if it is still held.
    pub(super) fn discard(&self, key: &CacheKey, held: &Arc<Held>) {
        let Some(slot) = self.slots.peek(key) else {
            return;
        };
        let stay = |other: &&Arc<Held>| !Arc::ptr_eq(other, held);
        let variants: Vec<_> = slot.variants.iter().filter(stay).cloned().collect();
        if variants.len() < slot.variants.len() {
            self.replace(key.clone(), slot.spec.clone(), variants);
        }
    }

    /// Number of stored responses.
    pub(super) fn entries(&self) -> u64 {
        self.totals.entries.load(Ordering::Relaxed)
    }

    /// Bytes they hold.
    pub(super) fn bytes(&self) -> u64 {
        self.slots.weight()
    }

    /// Would this part push out a whole response: one that the same requests select, or any under
    /// another `Vary`, or one for which there is no room beside it?
    fn would_displace_whole(&self, slot: &Slot, entry: &Entry, now: SystemTime) -> bool {
        let no_room = slot.variants.len() >= VARIANTS_MAX
            || slot.bytes + entry.bytes_held() as u64 > self.slot_bytes_max;
        let goes = |held: &&Arc<Held>| {
            no_room || slot.spec != entry.vary || held.entry.selecting == entry.selecting
        };
        let mut going = slot.variants.iter().filter(goes);
        entry.is_part() && going.any(|held| !held.entry.is_part() && is_alive(held, now))
    }

    fn replace(&self, key: CacheKey, spec: Option<VarySpec>, mut variants: Vec<Arc<Held>>) {
        let mut bytes = SLOT_OVERHEAD_BYTES + variants.iter().map(held_bytes).sum::<u64>();
        let surplus = variants.len().saturating_sub(VARIANTS_MAX);
        let mut oldest = 0;
        while oldest < surplus || (bytes > self.slot_bytes_max && oldest < variants.len()) {
            bytes -= variants.get(oldest).map_or(0, held_bytes);
            oldest += 1;
        }
        variants.drain(..oldest);
        if variants.is_empty() {
            self.slots.remove(&key);
            return;
        }
        let count = variants.len() as u64;
        self.totals.entries.fetch_add(count, Ordering::Relaxed);
        self.totals.bytes.fetch_add(bytes, Ordering::Relaxed);
        let cost_ms = variants.iter().map(|held| u64::from(held.entry.fetch_ms));
        let slot = Slot {
            chances: self.mean.chances(bytes, cost_ms.sum()),
            spec,
            variants: variants.into(),
            bytes,
            totals: Arc::clone(&self.totals),
        };
        self.slots.insert(key, Arc::new(slot));
    }
}

/// The variants that stay beside a new one.
fn others(slot: &Slot, entry: &Entry, now: SystemTime) -> Vec<Arc<Held>> {
    let stay = |held: &&Arc<Held>| held.entry.selecting != entry.selecting && is_alive(held, now);
    slot.variants.iter().filter(stay).cloned().collect()
}

fn held_bytes(held: &Arc<Held>) -> u64 {
    let spelling = match held.entry.vary {
        Some(_) => SPELLING_BYTES_MAX,
        None => 0,
    };
    (held.entry.bytes_held() + spelling + size_of::<Held>() + size_of::<Arc<Held>>()) as u64
}

fn is_alive(held: &Held, now: SystemTime) -> bool {
    is_current(&held.entry, now)
}

fn is_current(entry: &Entry, now: SystemTime) -> bool {
    !entry.policy.keep_for(now).is_zero()
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
