//! Is there a stored response for this request, and where are new ones kept?
//!
//! Two tiers: memory answers first, Redis when there is one is asked after it and shared by all
//! replicas. Whatever fails in Redis is a miss; nobody waits for it when it is away. A store is not
//! an index: it knows no list of what it holds, and a purge is an entry in a log that every look-up
//! heeds. Left out: whether a response may be kept or reused, which is `larder_policy`'s matter.

mod counters;
mod entry;
mod fields;
mod kept;
mod log;
mod memory;
mod purges;
mod redis;
mod screen;
mod seal;
mod squeeze;
mod worth;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use http::HeaderMap;
use larder_policy::{CacheKey, Fields};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use self::counters::{Counter, RedisCounters, RedisError};
pub use self::entry::{Damaged, Entry, TooLarge, gather};
pub use self::fields::{BadField, FieldLines, is_replaced};
pub use self::kept::Kept;
pub use self::log::{
    Lease, NameTooLong, OnPartition, PREFIX_BYTES_MAX, Purge, PurgeRules, Scope, Stamp, unix_us,
};
pub use self::redis::{
    Applied, BadAuthorities, FetchLease, Note, PurgeError, RedisFault, RedisTier, Turn, Written,
};
pub use self::seal::{KeyTooShort, MAC_KEY_BYTES_MIN, Seal};

use self::log::{Log, Record, Trust, Verdict};
use self::memory::{InMemory, Memory};
use self::purges::{Moment, Purges};
use self::redis::{InRedis, Late, Outcome};
use self::screen::{Screened, screen};
use crate::clock;

/// What may wait to be written to Redis: this part of the budget, for it comes on top of it,
const WRITES_SHARE: u64 = 4;
/// but room for a large response and for a burst of small ones,
const WRITES_KIB_MIN: u32 = 8 * 1024;
/// and no more than Redis can be expected to take in time.
const WRITES_KIB_MAX: u32 = 64 * 1024;
/// So many copies there are of a response on its way: itself, though memory may have evicted it, the command, and what is being
/// sent.
const WRITE_COPIES: usize = 3;
/// What a write counts at least, in KiB: its task and its place in the queue.
const WRITE_KIB_MIN: u32 = 8;

/// The answer to a look-up.
#[derive(Debug, Clone)]
pub enum Found {
    /// This one, whole.
    Hit(Arc<Entry>),
    /// This one, whole; but a purge of it may have been missed, which is all right here ([`OnPartition::Serve`]).
    Waived(Arc<Entry>),
    /// This one, whole; but a purge of it may have been missed: good for nothing until the upstream confirms it.
    Unverified(Arc<Entry>),
    /// This one, of which only a part is stored: no answer to anybody who asks for more than is in it.
    Part(Arc<Entry>),
    /// The same, as [`Found::Waived`].
    WaivedPart(Arc<Entry>),
    /// Responses of this URL, but none that this request selects.
    VaryMiss,
    /// Nothing.
    Miss,
}

/// Which tier an answer is from; of a miss, the last one asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// This process.
    Memory,
    /// Shared by the replicas.
    Redis,
}

/// What became of a response that was to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// Memory has it, or it is on its way to Redis, or both.
    Stored,
    /// Its key was purged while it was fetched.
    Invalidated,
    /// Too large for memory, and there is no Redis; or a part of what is there whole.
    TooLarge,
    /// Too large for memory, and too much is on its way to Redis already.
    Capacity,
}

/// When a fetch began: to be taken before the store is asked, and handed to [`Store::put`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    moment: Moment,
    stamp: Stamp,
}

impl Mark {
    /// As far as purges are concerned.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// The same as far as purges are concerned; but removals up to `later` don't count.
    pub fn despite_removals(self, later: Self) -> Self {
        Self {
            moment: later.moment,
            stamp: self.stamp,
        }
    }
}

/// A write to Redis under way. Dropping it leaves it so.
#[derive(Debug)]
pub struct Write(tokio::task::JoinHandle<()>);

impl Write {
    /// Waits until Redis has it, or has refused it, but not longer than this.
    pub async fn ended(self, within: Duration) {
        // Too late, or given up: either way there is nothing more to wait for.
        drop(tokio::time::timeout(within, self.0).await);
    }
}

/// The answer to a claim.
#[derive(Debug)]
pub struct Claimed {
    pub turn: Turn,
    /// What is of use that memory doesn't have; none also when nothing was written since the last claim.
    pub found: Option<Found>,
    /// To be shown by the next claim.
    pub written: Written,
}

impl Claimed {
    fn unknown() -> Self {
        Self {
            turn: Turn::Unknown,
            found: None,
            written: Written::default(),
        }
    }
}

/// What a removal took away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removed {
    /// Responses in this process's memory.
    pub memory: usize,
    /// Whether Redis had the URL; none when there is no Redis.
    pub redis: Option<bool>,
}

/// How full memory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Stored responses, variants counted each.
    pub entries: u64,
    /// Bytes they hold, and what is remembered of purges.
    pub bytes: u64,
    /// Different things of which a purge is remembered.
    pub purges: u64,
    /// Bytes they may hold.
    pub bytes_max: u64,
}

/// How it stands with Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedisState {
    /// There is none.
    Off,
    /// It answers.
    Connected,
    /// It doesn't, and is tried again and again.
    Down,
}

/// Requests gathered for this long share a fetch that begins after them.
const GATHERED: Duration = Duration::from_millis(5);

/// Fetches that may be shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generation {
    /// Its name.
    pub number: u64,
    /// When its fetches begin, if not at once.
    pub begins: Option<Instant>,
}

impl Generation {
    /// That of the stretch of time that `since_start` falls into, which ends with its fetches' beginning.
    fn gathering(since_start: Duration, now: Instant) -> Self {
        /// Apart from the versions of a log, which are counted from one.
        const GATHERING: u64 = 1 << 63;
        let stretch = u64::try_from(since_start.as_micros() / GATHERED.as_micros());
        let stretch = stretch.unwrap_or(u64::MAX >> 1);
        let into = Duration::from_micros((since_start.as_micros() % GATHERED.as_micros()) as u64);
        Self {
            number: GATHERING | stretch,
            begins: Some(now + (GATHERED - into)),
        }
    }
}

/// What takes a URL out of memory, and keeps fetches that began before from bringing it back.
#[derive(Debug)]
struct Removals {
    memory: Arc<Memory>,
    purges: Arc<Purges>,
}

impl Removals {
    /// How many responses went.
    fn remove(&self, key: &CacheKey) -> usize {
        self.purges.purge(key, || self.memory.remove(key))
    }
}

/// Memory over Redis.
#[derive(Debug)]
pub struct Store {
    memory: Arc<Memory>,
    memory_bytes_max: u64,
    /// What the process is too large by.
    squeeze_bytes: AtomicU64,
    /// Removals by this process, for the order of stores and removals.
    purges: Arc<Purges>,
    log: Arc<Log>,
    redis: Option<Arc<RedisTier>>,
    counters: Arc<RedisCounters>,
    started: Instant,
    writes_kib: Arc<Semaphore>,
    writes_kib_max: u32,
}

impl Store {
    /// Makes an empty memory. Redis is connected by [`Store::start`], or by what first needs it.
    pub fn new(memory_bytes_max: u64, redis: Option<RedisTier>) -> Self {
        Self::with_purge_rules(memory_bytes_max, redis, PurgeRules::default())
    }

    /// The same, and says how to keep to the log of purges in Redis.
    pub fn with_purge_rules(
        memory_bytes_max: u64,
        mut redis: Option<RedisTier>,
        rules: PurgeRules,
    ) -> Self {
        let log = Arc::new(match &mut redis {
            None => Log::own(clock::now()),
            Some(_) => Log::followed(rules.on_partition),
        });
        let memory = Arc::new(Memory::new(memory_bytes_max));
        let purges = Arc::new(Purges::new());
        if let Some(redis) = &mut redis {
            let removals = Removals {
                memory: Arc::clone(&memory),
                purges: Arc::clone(&purges),
            };
            redis.keep_log(Arc::clone(&log), removals, rules.lease);
        }
        let counters = redis.as_ref().map(|tier| Arc::clone(tier.counters()));
        let writes_kib_max = writes_kib_max(memory_bytes_max);
        Self {
            memory,
            memory_bytes_max,
            squeeze_bytes: AtomicU64::new(0),
            purges,
            log,
            redis: redis.map(Arc::new),
            counters: counters.unwrap_or_default(),
            started: Instant::now(),
            writes_kib: Arc::new(Semaphore::new(writes_kib_max as usize)),
            writes_kib_max,
        }
    }

    /// Begins to connect to Redis on the current Tokio runtime, and doesn't wait for it.
    pub fn start(&self) {
        if let Some(redis) = &self.redis {
            redis.start();
        }
    }

    /// To be taken when a fetch begins and handed to [`Store::put`].
    pub fn mark(&self) -> Mark {
        Mark {
            moment: self.purges.moment(),
            stamp: self.log.stamp(),
        }
    }

    /// Whose fetches a request may share now: those of the same generation, all of which began after every purge that it must
    /// heed. While the log can't be followed purges may be made that nobody tells this process of, so that only a fetch which
    /// begins later than the request is new enough; requests are then gathered for some milliseconds, and share one.
    pub fn generation(&self, now: Instant) -> Generation {
        match self.log.trust() {
            Trust::Sure | Trust::Waived => Generation {
                number: self.log.version(),
                begins: None,
            },
            Trust::Unsure => {
                Generation::gathering(now.saturating_duration_since(self.started), now)
            }
        }
    }

    /// To be called when nothing more is served, so that purges don't wait for this process's lease.
    pub async fn leave(&self) {
        if let Some(redis) = &self.redis {
            redis.leave().await;
        }
    }

    /// Returns when all that the log of purges says is known, or after `patience`.
    pub async fn settled(&self, patience: Duration) {
        if let Some(redis) = &self.redis {
            redis.settled(patience).await;
        }
    }

    /// Looks into memory alone: no wait, and without `Vary` no allocation. It never says that a
    /// response is missing in Redis, nor asks there for one newer than a stale one.
    pub fn get_in_memory(&self, key: &CacheKey, request: &HeaderMap, now: SystemTime) -> Found {
        self.in_memory(key, request, now).0
    }

    /// The whole response that memory has for this request, when nothing has to be found out about purges first. `key` is
    /// what [`CacheKey::as_bytes`] gives. Says nothing of what else may be there. No wait and no allocation.
    pub fn get_at_once(
        &self,
        key: &[u8],
        request: &impl Fields,
        now: SystemTime,
    ) -> Option<Arc<Entry>> {
        let InMemory::Hit(entry) = self.memory.get(key, request, now) else {
            return None;
        };
        let version = self.log.version();
        let sure = self.log.trust() == Trust::Sure && entry.kept.alive_under() == version;
        (sure && !entry.is_part()).then_some(entry)
    }

    /// Every whole response of a URL that memory has, whatever request selects it, the one stored last first. Redis is not asked:
    /// all that this can spare is a body.
    pub fn variants_in_memory(&self, key: &CacheKey, now: SystemTime) -> Vec<Arc<Entry>> {
        let mut variants = self.memory.variants(key, now);
        variants.retain(|entry| self.verdict(entry) != Verdict::Dead);
        variants
    }

    /// Finds the response that this request selects. One that is past all its stale windows is
    /// never found. A stale one in memory is looked up in Redis once, where another replica may
    /// have put a newer one; where memory has only a part, Redis may have the whole.
    pub async fn get(&self, key: &CacheKey, request: &HeaderMap, now: SystemTime) -> (Found, Tier) {
        let (local, held) = self.in_memory(key, request, now);
        let Some(redis) = &self.redis else {
            return (local, Tier::Memory);
        };
        if !asks_below(&local, held.as_deref(), now) {
            return (local, Tier::Memory);
        }
        let moment = self.purges.moment();
        let below = match redis.get(key, request, now).await {
            InRedis::Hit(entry) => self.promoted(entry, held.as_deref(), moment, now),
            InRedis::VaryMiss => Some(Found::VaryMiss),
            InRedis::Miss => None,
        };
        match (local, below) {
            (local, Some(found)) if found.is_better_than(&local) => (found, Tier::Redis),
            (local @ (Found::Miss | Found::VaryMiss), _) => (local, Tier::Redis),
            (local, _) => (local, Tier::Memory),
        }
    }

    /// Asks for the right to fetch for all replicas; brings what is stored for this request, if anything was written since it
    /// was `seen`. Answers by `end`.
    pub async fn claim(
        &self,
        key: &CacheKey,
        names_caller: bool,
        request: &HeaderMap,
        seen: &Written,
        now: SystemTime,
        end: Instant,
    ) -> Claimed {
        let Some(redis) = &self.redis else {
            return Claimed::unknown();
        };
        // Whatever another replica brings would have to be confirmed first.
        if self.log.trust() == Trust::Unsure {
            return Claimed::unknown();
        }
        let (_, held) = self.in_memory(key, request, now);
        let moment = self.purges.moment();
        let claimed = redis
            .claim(key, names_caller, request, seen, now, end)
            .await;
        let found = claimed.found.and_then(|found| match found {
            InRedis::Hit(entry) => self.promoted(entry, held.as_deref(), moment, now),
            InRedis::VaryMiss => Some(Found::VaryMiss),
            InRedis::Miss => Some(Found::Miss),
        });
        Claimed {
            turn: claimed.turn,
            found,
            written: claimed.written,
        }
    }

    /// Stores a response: in memory at once, in Redis in the background, born at `mark`. Refused when it was purged or removed
    /// after that, and not done when it is of no use any more.
    pub fn put(&self, entry: Entry, mark: Mark, now: SystemTime) -> Put {
        self.put_leased(entry, mark, None, now).0
    }

    /// The same for what was fetched under a lease: it ends when Redis has the response. When another replica wrote under a
    /// later one, that is what is kept. Where memory has no room for it, the write to Redis comes with the answer, to be waited
    /// for by whoever must find it again.
    pub fn put_leased(
        &self,
        mut entry: Entry,
        mark: Mark,
        lease: Option<Arc<FetchLease>>,
        now: SystemTime,
    ) -> (Put, Option<Write>) {
        if entry.born.epoch != mark.stamp.epoch || entry.born.sequence > mark.stamp.sequence {
            entry.born = mark.stamp;
        }
        let (verdict, version) = self.judged(&entry);
        if verdict == Verdict::Dead {
            return (Put::Invalidated, None);
        }
        self.leave_room();
        let entry = Arc::new(entry);
        let stored = self.purges.unless_purged(&entry.key, mark.moment, || {
            self.memory.put(Arc::clone(&entry), version, now)
        });
        match (stored, &self.redis) {
            (None, _) => (Put::Invalidated, None),
            (Some(true), None) => (Put::Stored, None),
            (Some(false), None) => (Put::TooLarge, None),
            (Some(in_memory), Some(redis)) => {
                match self.write_behind(redis, entry, mark.moment, lease, now) {
                    Some(write) => (Put::Stored, (!in_memory).then_some(write)),
                    None if in_memory => (Put::Stored, None),
                    None => (Put::Capacity, None),
                }
            }
        }
    }

    /// Waits until what was to be written to Redis is written, or given up, but not longer than until `end`. For the time when
    /// nothing new is stored any more.
    pub async fn flush(&self, end: tokio::time::Instant) {
        let all = self.writes_kib.acquire_many(self.writes_kib_max);
        if tokio::time::timeout_at(end, all).await.is_err() {
            tracing::warn!("some responses did not reach Redis before the end");
        }
    }

    /// From now on nothing that these cover and whose fetch began until now is found as it was: not here, and when Redis keeps
    /// the log not on any replica. The cost does not depend on how much is stored. After an error the purge may have been
    /// made or not, and is to be repeated.
    pub async fn purge(&self, purges: &[Purge]) -> Result<Applied, PurgeError> {
        let records = purges.iter().map(Record::new);
        let records = records.collect::<Result<Vec<_>, _>>()?;
        if let Some(redis) = &self.redis {
            return redis.purge(&records).await;
        }
        Ok(Applied {
            sequence: self.log.purge_own(&records, clock::now()),
            replicas: 1,
            applied: 1,
        })
    }

    /// The same for what nobody waits for: true here when it returns, and on other replicas soon after; when Redis can't be
    /// reached, as soon as it can.
    pub async fn announce(&self, purges: &[Purge]) -> Result<(), PurgeError> {
        let records = purges.iter().map(Record::new);
        let records = records.collect::<Result<Vec<_>, _>>()?;
        if let Some(redis) = &self.redis {
            return redis.announce(&records).await;
        }
        self.log.purge_own(&records, clock::now());
        Ok(())
    }

    /// Was this purged, so that it may not even stand in for a failed upstream?
    pub fn is_purged(&self, entry: &Entry) -> bool {
        self.verdict(entry) == Verdict::Dead
    }

    /// Was this URL removed by this process since then?
    pub fn is_removed_since(&self, key: &CacheKey, mark: Mark) -> bool {
        self.purges.unless_purged(key, mark.moment, || ()).is_none()
    }

    /// Removes all variants of a URL: from memory always, from Redis when it can be reached, from the memory of other replicas
    /// when they hear of it. For what an unsafe request makes stale: clients choose those, so they have no place in the log.
    pub async fn remove(&self, key: &CacheKey) -> Result<Removed, PurgeError> {
        let mut memory = self.purges.purge(key, || self.memory.remove(key));
        let Some(redis) = &self.redis else {
            return Ok(Removed {
                memory,
                redis: None,
            });
        };
        let _no_writes = self.purges.gate(key).write().await;
        let removed = redis.remove(key).await;
        // A look-up that began after the first removal may have read Redis before the second.
        memory += self.purges.purge(key, || self.memory.remove(key));
        Ok(Removed {
            memory,
            redis: Some(removed?),
        })
    }

    /// Makes less or more room for stored responses by the process's size, in bytes and without what clients' connections
    /// and bodies on their way take. To be told every second or so.
    pub fn heed_process(&self, process_bytes: u64) {
        let squeeze = self.squeeze_bytes.load(Ordering::Relaxed);
        let squeeze = squeeze::next(squeeze, process_bytes, self.memory_bytes_max);
        self.squeeze_bytes.store(squeeze, Ordering::Relaxed);
        self.leave_room();
    }

    fn leave_room(&self) {
        let purges = self.log.size().1 as u64;
        let squeeze = self.squeeze_bytes.load(Ordering::Relaxed);
        self.memory.leave_room(purges.saturating_add(squeeze));
    }

    /// How full memory is.
    pub fn stats(&self) -> Stats {
        Stats {
            entries: self.memory.entries(),
            bytes: self.memory.bytes() + self.log.size().1 as u64,
            purges: self.log.size().0 as u64,
            bytes_max: self.memory_bytes_max,
        }
    }

    /// What has happened with Redis.
    pub fn counters(&self) -> &RedisCounters {
        &self.counters
    }

    /// Has every confirmed purge been applied here? Else what is held is not trusted, or its use is waived.
    pub fn follows_purges(&self) -> bool {
        self.log.trust() == Trust::Sure
    }

    /// How it stands with Redis.
    pub fn redis_state(&self) -> RedisState {
        match &self.redis {
            None => RedisState::Off,
            Some(redis) if redis.is_up() => RedisState::Connected,
            Some(_) => RedisState::Down,
        }
    }

    /// What memory has for this request, and the place that holds it.
    fn in_memory(
        &self,
        key: &CacheKey,
        request: &HeaderMap,
        now: SystemTime,
    ) -> (Found, Option<Arc<Entry>>) {
        let held = match self.memory.get(key.as_bytes(), request, now) {
            InMemory::Hit(held) => held,
            InMemory::VaryMiss => return (Found::VaryMiss, None),
            InMemory::Miss => return (Found::Miss, None),
        };
        let trust = self.log.trust();
        if trust == Trust::Sure && held.kept.alive_under() == self.log.version() {
            return (Arc::clone(&held).into(), Some(held));
        }
        let (verdict, version) = self.judged(&held);
        held.kept.found_alive_under(version);
        if verdict == Verdict::Dead {
            self.discard(key, &held);
        }
        match Found::from(screen(&held, verdict, trust, now)) {
            Found::Miss => (Found::Miss, None),
            found => (found, Some(held)),
        }
    }

    /// What is dead goes when it is met: it would keep its room, and parts of a new response out.
    fn discard(&self, key: &CacheKey, held: &Arc<Entry>) {
        let discard = || self.memory.discard(key, held);
        self.purges
            .unless_purged(key, self.purges.moment(), discard);
    }

    /// The verdict, and the version of the log under which it is alive; 0 for none.
    fn judged(&self, entry: &Entry) -> (Verdict, u64) {
        // Before the judgement: what comes after it has a greater one.
        let version = self.log.version();
        match self.verdict(entry) {
            Verdict::Alive => (Verdict::Alive, version),
            other => (other, 0),
        }
    }

    fn verdict(&self, entry: &Entry) -> Verdict {
        self.log.judge(&entry.key, &entry.headers, entry.born)
    }

    /// Takes what Redis had into memory; none when what memory has, or a purge, forbids its use.
    fn promoted(
        &self,
        entry: Arc<Entry>,
        local: Option<&Entry>,
        moment: Moment,
        now: SystemTime,
    ) -> Option<Found> {
        if local.is_some_and(|held| !entry.is_better_than(held)) {
            return None;
        }
        let ((verdict, version), trust) = (self.judged(&entry), self.log.trust());
        if verdict == Verdict::Dead {
            return None;
        }
        let usable = self.purges.unless_purged(&entry.key, moment, || {
            self.memory.put_if_newer(&entry, version, now)
        });
        match usable {
            Some(true) => Some(screen(&entry, verdict, trust, now).into()),
            Some(false) => Some(Found::VaryMiss),
            None => None,
        }
    }

    /// Writes to Redis without anybody waiting; none when too much is on its way already.
    fn write_behind(
        &self,
        redis: &Arc<RedisTier>,
        entry: Arc<Entry>,
        moment: Moment,
        lease: Option<Arc<FetchLease>>,
        now: SystemTime,
    ) -> Option<Write> {
        let kib = write_kib(entry.bytes_held(), self.writes_kib_max);
        let room = Arc::clone(&self.writes_kib).try_acquire_many_owned(kib);
        let (Ok(room), Ok(runtime)) = (room, tokio::runtime::Handle::try_current()) else {
            self.counters.dropped.add_one();
            return None;
        };
        let (redis, purges) = (Arc::clone(redis), Arc::clone(&self.purges));
        let memory = Arc::clone(&self.memory);
        let write = runtime.spawn(async move {
            let _no_purge = purges.gate(&entry.key).read().await;
            if purges.unless_purged(&entry.key, moment, || ()).is_none() {
                return;
            }
            match redis.put(&entry, lease.as_deref(), now).await {
                Outcome::Done => {}
                Outcome::Outrun => memory.remove_with(&entry),
                Outcome::Late(late) => hold_until_let_go(room, late),
            }
        });
        Some(Write(write))
    }
}

impl From<Arc<Entry>> for Found {
    fn from(entry: Arc<Entry>) -> Self {
        match entry.is_part() {
            true => Self::Part(entry),
            false => Self::Hit(entry),
        }
    }
}

impl From<Screened> for Found {
    fn from(screened: Screened) -> Self {
        match screened {
            Screened::Usable(entry) => entry.into(),
            Screened::Waived(entry) if entry.is_part() => Self::WaivedPart(entry),
            Screened::Waived(entry) => Self::Waived(entry),
            // A part can't be confirmed as it is.
            Screened::Unverified(entry) if entry.is_part() => Self::Miss,
            Screened::Unverified(entry) => Self::Unverified(entry),
            Screened::Gone => Self::Miss,
        }
    }
}

impl Found {
    /// Is it of more use for the same request?
    fn is_better_than(&self, other: &Self) -> bool {
        let rank = |found: &Self| match found {
            Self::Hit(_) | Self::Waived(_) => 4,
            Self::Part(_) | Self::WaivedPart(_) => 3,
            Self::Unverified(_) => 2,
            Self::VaryMiss => 1,
            Self::Miss => 0,
        };
        // What Redis has was already found to be newer than what memory has.
        rank(self) >= rank(other) && rank(self) > 1 || rank(self) > rank(other)
    }
}

/// Nobody waits for a write that was given up, but its bytes take their room until the connection lets them go.
fn hold_until_let_go(room: OwnedSemaphorePermit, late: Late) {
    tokio::spawn(async move {
        late.is_let_go().await;
        drop(room);
    });
}

/// What may be on its way to Redis beside a memory of so many bytes, in KiB.
fn writes_kib_max(memory_bytes_max: u64) -> u32 {
    let share = u32::try_from(memory_bytes_max / WRITES_SHARE / 1024).unwrap_or(u32::MAX);
    share.clamp(WRITES_KIB_MIN, WRITES_KIB_MAX)
}

/// What a response of so many bytes takes of that. One that is larger than all of it goes alone.
fn write_kib(entry_bytes: usize, writes_kib_max: u32) -> u32 {
    let kib = u32::try_from(entry_bytes.saturating_mul(WRITE_COPIES) / 1024).unwrap_or(u32::MAX);
    kib.clamp(WRITE_KIB_MIN, writes_kib_max)
}

/// May the tier below have something better than what memory has?
fn asks_below(local: &Found, held: Option<&Entry>, now: SystemTime) -> bool {
    match local {
        Found::Hit(entry) | Found::Waived(entry) => {
            entry.policy.ttl_s(now) <= 0 && held.is_some_and(|held| held.kept.asks_below())
        }
        Found::Unverified(_) => held.is_some_and(|held| held.kept.asks_below()),
        Found::Part(_) | Found::WaivedPart(_) | Found::VaryMiss | Found::Miss => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_redis_is_a_part_of_the_budget_with_room_for_any_response() {
        const MIB: u64 = 1024 * 1024;
        for (memory_bytes, kib) in [
            (0, WRITES_KIB_MIN),
            (16 * MIB, 8 * 1024),
            (100 * MIB, 25 * 1024),
            (u64::MAX, WRITES_KIB_MAX),
        ] {
            assert_eq!(writes_kib_max(memory_bytes), kib);
            assert_eq!(write_kib(usize::MAX, kib), kib);
        }
        assert_eq!(write_kib(0, 8 * 1024), WRITE_KIB_MIN);
        assert_eq!(write_kib(1024 * 1024, 8 * 1024), 3 * 1024);
    }

    #[test]
    fn requests_of_one_stretch_share_a_fetch_that_begins_at_its_end() {
        let now = Instant::now();
        let at = |us: u64| Generation::gathering(Duration::from_micros(us), now);
        let begins = |us: u64| at(us).begins.map(|begins| begins - now);
        assert_eq!(at(0).number, at(4_999).number);
        assert_ne!(at(4_999).number, at(5_000).number);
        assert_eq!(begins(0), Some(GATHERED));
        assert_eq!(begins(4_999), Some(Duration::from_micros(1)));
        assert_eq!(begins(5_000), Some(GATHERED));
    }
}
