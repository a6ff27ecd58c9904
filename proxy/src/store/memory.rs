//! Which stored response of this process may answer? Held in memory, bounded by one number.
//!
//! One slot per key holds all variants of its URL, so a look-up is one access of the table with
//! `Vary` or without, a purge takes all variants by removing one slot, and nothing is left behind
//! that can't be reached any more. A slot never changes: storing a variant replaces it by a new
//! one. The price: variants are evicted together. Keys are compared in full, so none is taken for
//! another. Left out: the order of purges and fills, which is the caller's business; two calls of
//! `put` for one key must not overlap.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use larder_policy::{CacheKey, Fields, VarySpec, selecting};
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter};

use super::entry::Entry;
use super::kept::Totals;
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
const SLOT_OVERHEAD_BYTES: u64 = 192;

/// So much of the bytes the allocator takes for itself, by rounding sizes up and by pages that are half empty, after a flood of
/// responses of all sizes: measured by `scripts/soak`, rounded up.
const ALLOCATOR_PERCENT: u64 = 20;
/// So much more than they may be the stored bytes are while eviction passes over what was dear. Without a limit, large responses
/// that were dear would make it more than half as much again.
const CHANCES_PERCENT: u64 = 5;

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
    Hit(Arc<Entry>),
    /// Variants of the URL, but not this one.
    VaryMiss,
    Miss,
}

/// All variants of one URL. Mostly it is one without `Vary`, and then the table holds the response itself: each step from one
/// place to another may wait for memory that no cache of the processor has.
#[derive(Debug, Clone)]
enum Slot {
    Plain(Arc<Entry>),
    Varying(Arc<Varying>),
}

/// One or more under the same `Vary`; the one stored last stands last.
#[derive(Debug)]
struct Varying {
    spec: VarySpec,
    variants: Box<[Arc<Entry>]>,
    /// Of each, how the first request that got it spelt the selecting fields: most others spell them the same.
    spellings: Box<[OnceLock<Spelling>]>,
    bytes: u64,
    chances: Chances,
}

impl Varying {
    fn selected(&self, request: &impl Fields) -> Option<&Arc<Entry>> {
        let mut spellings = self.spellings.iter();
        let spelled_so = spellings.position(|spelling| {
            let spelling = spelling.get();
            spelling.is_some_and(|spelling| spelling.is_of(&self.spec, request))
        });
        let place = spelled_so.or_else(|| self.selected_slowly(request))?;
        self.variants.get(place)
    }

    fn selected_slowly(&self, request: &impl Fields) -> Option<usize> {
        let wanted = selecting(&self.spec, request);
        let mut variants = self.variants.iter();
        let place = variants.position(|entry| *entry.selecting == *wanted)?;
        let spelling = Spelling::of(&self.spec, request);
        if let (Some(spelling), Some(first)) = (spelling, self.spellings.get(place)) {
            drop(first.set(spelling));
        }
        Some(place)
    }
}

impl Slot {
    fn variants(&self) -> &[Arc<Entry>] {
        match self {
            Self::Plain(entry) => std::slice::from_ref(entry),
            Self::Varying(varying) => &varying.variants,
        }
    }

    fn spec(&self) -> Option<&VarySpec> {
        match self {
            Self::Plain(_) => None,
            Self::Varying(varying) => Some(&varying.spec),
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::Plain(entry) => SLOT_OVERHEAD_BYTES + entry_bytes(entry),
            Self::Varying(varying) => varying.bytes,
        }
    }

    fn takes_chance(&self) -> bool {
        match self {
            Self::Plain(entry) => entry.kept.takes_chance(),
            Self::Varying(varying) => varying.chances.take(),
        }
    }

    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Plain(one), Self::Plain(other)) => Arc::ptr_eq(one, other),
            (Self::Varying(one), Self::Varying(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }

    fn newest(&self) -> u64 {
        let times = self.variants().iter();
        let times = times.map(|entry| entry.policy.response_time_unix_s);
        times.max().unwrap_or(0)
    }
}

impl Totals {
    fn allows_chances(&self) -> bool {
        let bytes_max = self.bytes_max.load(Ordering::Relaxed);
        self.bytes.load(Ordering::Relaxed) <= bytes_max + bytes_max / 100 * CHANCES_PERCENT
    }
}

#[derive(Debug, Clone)]
struct ByBytes;

impl Weighter<CacheKey, Slot> for ByBytes {
    fn weight(&self, _: &CacheKey, slot: &Slot) -> u64 {
        slot.bytes()
    }
}

/// Evicts as the table sees fit, but for slots that still have chances, of which each attempt at eviction spends one. When all
/// have some, the table is over its bytes, and when it is too far over them chances don't count.
#[derive(Debug, Clone)]
struct ByWorth(DefaultLifecycle<CacheKey, Slot>, Arc<Totals>);

impl Lifecycle<CacheKey, Slot> for ByWorth {
    type RequestState =
        <DefaultLifecycle<CacheKey, Slot> as Lifecycle<CacheKey, Slot>>::RequestState;

    fn is_pinned(&self, _: &CacheKey, slot: &Slot) -> bool {
        self.1.allows_chances() && slot.takes_chance()
    }

    fn on_evict(&self, state: &mut Self::RequestState, key: CacheKey, slot: Slot) {
        self.0.on_evict(state, key, slot);
    }
}

/// The memory tier.
#[derive(Debug)]
pub(super) struct Memory {
    slots: Cache<CacheKey, Slot, ByBytes, DefaultHashBuilder, ByWorth>,
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
        let found = match &slot {
            Slot::Plain(entry) => Some(entry),
            Slot::Varying(varying) => varying.selected(request),
        };
        match found {
            Some(entry) if is_alive(entry, now) => InMemory::Hit(Arc::clone(entry)),
            _ if slot.variants().iter().any(|entry| is_alive(entry, now)) => InMemory::VaryMiss,
            _ => {
                self.slots.remove_if(key, |other| other.is(&slot));
                InMemory::Miss
            }
        }
    }

    /// All whole variants of a URL, the one stored last first.
    pub(super) fn variants(&self, key: &CacheKey, now: SystemTime) -> Vec<Arc<Entry>> {
        let Some(slot) = self.slots.peek(key) else {
            return Vec::new();
        };
        let newest_first = slot.variants().iter().rev();
        let alive = newest_first.filter(|entry| is_alive(entry, now) && !entry.is_part());
        alive.cloned().collect()
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
            Some(old) if old.spec() == entry.vary.as_ref() => others(&old, &entry, now),
            _ => Vec::new(),
        };
        let (key, spec) = (entry.key.clone(), entry.vary.clone());
        let fits = entry.bytes_held() as u64 + SLOT_OVERHEAD_BYTES <= self.slot_bytes_max;
        if fits && is_alive(&entry, now) {
            let alone = if spec.is_none() {
                SLOT_OVERHEAD_BYTES
            } else {
                0
            };
            let bytes = alone + entry_bytes(&entry);
            let chances = match spec {
                None => self.mean.chances(bytes, entry.fetch_ms.into()),
                Some(_) => Chances::default(),
            };
            entry.kept.count(&self.totals, bytes, chances);
            entry.kept.found_alive_under(alive_under);
            variants.push(entry);
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
        let same_vary = old.spec() == entry.vary.as_ref();
        if !same_vary && old.newest() > time {
            return false;
        }
        let mut same = old.variants().iter();
        let same = same.find(|held| held.selecting == entry.selecting);
        if same.is_none_or(|held| entry.is_better_than(held)) || !same_vary {
            self.put(Arc::clone(entry), alive_under, now);
        }
        true
    }

    /// Removes a URL's slot if this very response is in it.
    pub(super) fn remove_with(&self, entry: &Arc<Entry>) {
        let holds = |slot: &Slot| {
            let mut held = slot.variants().iter();
            held.any(|held| Arc::ptr_eq(held, entry))
        };
        self.slots.remove_if(&entry.key, holds);
    }

    /// Removes a URL's slot; says how many responses went with it.
    pub(super) fn remove(&self, key: &CacheKey) -> usize {
        let removed = self.slots.remove(key);
        removed.map_or(0, |(_, slot)| slot.variants().len())
    }

    /// Removes one response, if it is still held.
    pub(super) fn discard(&self, key: &CacheKey, entry: &Arc<Entry>) {
        let Some(slot) = self.slots.peek(key) else {
            return;
        };
        let stay = |other: &&Arc<Entry>| !Arc::ptr_eq(other, entry);
        let variants: Vec<_> = slot.variants().iter().filter(stay).cloned().collect();
        if variants.len() < slot.variants().len() {
            self.replace(key.clone(), slot.spec().cloned(), variants);
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
        let no_room = slot.variants().len() >= VARIANTS_MAX
            || slot.bytes() + entry.bytes_held() as u64 > self.slot_bytes_max;
        let other_vary = slot.spec() != entry.vary.as_ref();
        let goes = |held: &&Arc<Entry>| no_room || other_vary || held.selecting == entry.selecting;
        let mut going = slot.variants().iter().filter(goes);
        entry.is_part() && going.any(|held| !held.is_part() && is_alive(held, now))
    }

    /// Puts these in the place of all; none when there are none, or not enough room for any.
    fn replace(&self, key: CacheKey, spec: Option<VarySpec>, variants: Vec<Arc<Entry>>) {
        let slot = match spec {
            None => variants.into_iter().next_back().map(Slot::Plain),
            Some(spec) => self.varying(spec, variants),
        };
        match slot.filter(|slot| slot.bytes() <= self.slot_bytes_max) {
            None => drop(self.slots.remove(&key)),
            Some(slot) => self.slots.insert(key, slot),
        }
    }

    /// As many as there is room for, the ones stored last.
    fn varying(&self, spec: VarySpec, mut variants: Vec<Arc<Entry>>) -> Option<Slot> {
        let mut bytes = SLOT_OVERHEAD_BYTES + variants.iter().map(entry_bytes).sum::<u64>();
        let surplus = variants.len().saturating_sub(VARIANTS_MAX);
        let mut oldest = 0;
        while oldest < surplus || (bytes > self.slot_bytes_max && oldest < variants.len()) {
            bytes -= variants.get(oldest).map_or(0, entry_bytes);
            oldest += 1;
        }
        variants.drain(..oldest);
        if variants.is_empty() {
            return None;
        }
        let cost_ms = variants.iter().map(|entry| u64::from(entry.fetch_ms));
        Some(Slot::Varying(Arc::new(Varying {
            chances: self.mean.chances(bytes, cost_ms.sum()),
            spec,
            spellings: variants.iter().map(|_| OnceLock::new()).collect(),
            variants: variants.into(),
            bytes,
        })))
    }
}

/// The variants that stay beside a new one.
fn others(slot: &Slot, entry: &Entry, now: SystemTime) -> Vec<Arc<Entry>> {
    let stay = |held: &&Arc<Entry>| held.selecting != entry.selecting && is_alive(held, now);
    slot.variants().iter().filter(stay).cloned().collect()
}

/// What a response counts for, but for the place in the table.
fn entry_bytes(entry: &Arc<Entry>) -> u64 {
    let varying = match entry.vary {
        Some(_) => size_of::<(Arc<Entry>, OnceLock<Spelling>)>() + SPELLING_BYTES_MAX,
        None => 0,
    };
    (entry.bytes_held() + varying) as u64
}

fn is_alive(entry: &Entry, now: SystemTime) -> bool {
    !entry.policy.keep_for(now).is_zero()
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
