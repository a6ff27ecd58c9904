//! Is there a stored response for this request, and where are new ones kept?
//!
//! Two tiers: memory answers first, Redis when there is one is asked after it and shared by all
//! replicas. Whatever fails in Redis is a miss; nobody waits for it when it is away. A store is not
//! an index: it knows no list of what it holds. Left out: whether a response may be kept or reused,
//! which is `larder_policy`'s matter, and purges by anything else than the key.

mod counters;
mod entry;
mod groups;
mod memory;
mod purges;
mod redis;
mod worth;

use std::sync::Arc;
use std::time::SystemTime;

use http::HeaderMap;
use larder_policy::{CacheKey, StoredPolicy};
use tokio::sync::Semaphore;

pub use self::counters::{Counter, RedisCounters, RedisError};
pub use self::entry::{Damaged, Entry, TooLarge, gather, own_fields};
pub use self::groups::unix_us;
pub use self::purges::Mark;
pub use self::redis::{BadAuthorities, Note, PurgeError, RedisFault, RedisTier};

use self::groups::Groups;
use self::memory::{InMemory, Memory};
use self::purges::Purges;
use self::redis::InRedis;

/// What may wait to be written to Redis, in KiB: 64 MiB.
const WRITES_KIB_MAX: u32 = 64 * 1024;
/// What a write counts at least, in KiB, so that at most 1024 are under way.
const WRITE_KIB_MIN: u32 = 64;

/// The answer to a look-up.
#[derive(Debug, Clone)]
pub enum Found {
    /// This one, whole.
    Hit(Arc<Entry>),
    /// This one, of which only a part is stored: no answer to anybody who asks for more than is in it.
    Part(Arc<Entry>),
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

/// What a purge removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purged {
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
    /// Bytes they hold.
    pub bytes: u64,
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

/// Memory over Redis.
#[derive(Debug)]
pub struct Store {
    memory: Memory,
    memory_bytes_max: u64,
    purges: Arc<Purges>,
    groups: Groups,
    redis: Option<Arc<RedisTier>>,
    counters: Arc<RedisCounters>,
    writes_kib: Arc<Semaphore>,
}

impl Store {
    /// Makes an empty memory. Redis is connected by [`Store::start`], or by what first needs it.
    pub fn new(memory_bytes_max: u64, redis: Option<RedisTier>) -> Self {
        let counters = redis.as_ref().map(|tier| Arc::clone(tier.counters()));
        Self {
            memory: Memory::new(memory_bytes_max),
            memory_bytes_max,
            purges: Arc::new(Purges::new()),
            groups: Groups::default(),
            redis: redis.map(Arc::new),
            counters: counters.unwrap_or_default(),
            writes_kib: Arc::new(Semaphore::new(WRITES_KIB_MAX as usize)),
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
        self.purges.mark()
    }

    /// Looks into memory alone: no wait, and without `Vary` no allocation. It never says that a
    /// response is missing in Redis, nor asks there for one newer than a stale one.
    pub fn get_in_memory(&self, key: &CacheKey, request: &HeaderMap, now: SystemTime) -> Found {
        self.in_memory(key, request, now).into()
    }

    /// Every whole response of a URL that memory has, whatever request selects it, the one stored last first. Redis is not asked:
    /// all that this can spare is a body.
    pub fn variants_in_memory(&self, key: &CacheKey, now: SystemTime) -> Vec<Arc<Entry>> {
        self.memory.variants(key, now)
    }

    /// Finds the response that this request selects. One that is past all its stale windows is
    /// never found. A stale one in memory is looked up in Redis once, where another replica may
    /// have put a newer one; where memory has only a part, Redis may have the whole.
    pub async fn get(&self, key: &CacheKey, request: &HeaderMap, now: SystemTime) -> (Found, Tier) {
        let local = self.in_memory(key, request, now);
        let Some(redis) = &self.redis else {
            return (local.into(), Tier::Memory);
        };
        if matches!(&local, InMemory::Hit(held) if !held.entry.is_part() && !held.asks_below(now)) {
            return (local.into(), Tier::Memory);
        }
        let mark = self.mark();
        let below = match redis.get(key, request, now).await {
            InRedis::Hit(entry) if self.is_void(&entry) => None,
            InRedis::Hit(entry) => self.promoted(entry, &local, mark, now),
            InRedis::VaryMiss => Some(Found::VaryMiss),
            InRedis::Miss => None,
        };
        match (local, below) {
            (_, Some(found @ (Found::Hit(_) | Found::Part(_)))) => (found, Tier::Redis),
            (local @ InMemory::Hit(_), _) => (local.into(), Tier::Memory),
            (_, Some(found)) => (found, Tier::Redis),
            (local, None) => (local.into(), Tier::Redis),
        }
    }

    /// Stores a response: in memory at once, in Redis in the background. Refused when its key was
    /// purged after `mark`, and not done when it is of no use any more.
    pub fn put(&self, mut entry: Entry, mark: Mark, now: SystemTime) -> Put {
        entry.headers = own_fields(&entry.headers);
        let entry = Arc::new(entry);
        let stored = self.purges.unless_purged(&entry.key, mark, || {
            self.memory.put(Arc::clone(&entry), now)
        });
        match (stored, &self.redis) {
            (None, _) => Put::Invalidated,
            (Some(true), None) => Put::Stored,
            (Some(false), None) => Put::TooLarge,
            (Some(in_memory), Some(redis)) => {
                if self.write_behind(redis, entry, mark, now) || in_memory {
                    Put::Stored
                } else {
                    Put::Capacity
                }
            }
        }
    }

    /// Waits until what was to be written to Redis is written, or given up, but not longer than until `end`. For the time when
    /// nothing new is stored any more.
    pub async fn flush(&self, end: tokio::time::Instant) {
        let all = self.writes_kib.acquire_many(WRITES_KIB_MAX);
        if tokio::time::timeout_at(end, all).await.is_err() {
            tracing::warn!("some responses did not reach Redis before the end");
        }
    }

    /// Removes all variants of a URL: from memory always, from Redis when it can be reached.
    pub async fn purge(&self, key: &CacheKey) -> Result<Purged, PurgeError> {
        let mut memory = self.purges.purge(key, || self.memory.remove(key));
        let Some(redis) = &self.redis else {
            return Ok(Purged {
                memory,
                redis: None,
            });
        };
        let _no_writes = self.purges.gate(key).write().await;
        let removed = redis.purge(key).await;
        // A look-up that began after the first removal may have read Redis before the second.
        memory += self.purges.purge(key, || self.memory.remove(key));
        Ok(Purged {
            memory,
            redis: Some(removed?),
        })
    }

    /// From now on nothing of these groups of an origin is found whose fetch began until now (RFC 9875). `origin` is
    /// [`CacheKey::origin`] of its keys.
    pub fn invalidate_groups(&self, origin: &[u8], groups: &[String], now: SystemTime) {
        self.groups.invalidate(origin, groups, now);
    }

    /// Was one of a response's groups invalidated since `began_us`?
    pub fn is_of_void_group(
        &self,
        key: &CacheKey,
        policy: &StoredPolicy,
        headers: &HeaderMap,
        began_us: u64,
    ) -> bool {
        self.groups.is_void(key, policy, headers, began_us)
    }

    /// How full memory is.
    pub fn stats(&self) -> Stats {
        Stats {
            entries: self.memory.entries(),
            bytes: self.memory.bytes(),
            bytes_max: self.memory_bytes_max,
        }
    }

    /// What has happened with Redis.
    pub fn counters(&self) -> &RedisCounters {
        &self.counters
    }

    /// How it stands with Redis.
    pub fn redis_state(&self) -> RedisState {
        match &self.redis {
            None => RedisState::Off,
            Some(redis) if redis.is_up() => RedisState::Connected,
            Some(_) => RedisState::Down,
        }
    }

    fn in_memory(&self, key: &CacheKey, request: &HeaderMap, now: SystemTime) -> InMemory {
        match self.memory.get(key, request, now) {
            InMemory::Hit(held) if self.is_void(&held.entry) => InMemory::Miss,
            found => found,
        }
    }

    fn is_void(&self, entry: &Entry) -> bool {
        let Entry {
            key,
            policy,
            headers,
            ..
        } = entry;
        self.groups.is_void(key, policy, headers, entry.began_us)
    }

    /// Takes what Redis had into memory; none when what memory has, or a purge, forbids its use.
    fn promoted(
        &self,
        entry: Arc<Entry>,
        local: &InMemory,
        mark: Mark,
        now: SystemTime,
    ) -> Option<Found> {
        if let InMemory::Hit(held) = local
            && !entry.is_better_than(&held.entry)
        {
            return None;
        }
        let usable = self
            .purges
            .unless_purged(&entry.key, mark, || self.memory.put_if_newer(&entry, now));
        match usable {
            Some(true) => Some(entry.into()),
            Some(false) => Some(Found::VaryMiss),
            None => None,
        }
    }

    /// Writes to Redis without anybody waiting; false when too much is on its way already.
    fn write_behind(
        &self,
        redis: &Arc<RedisTier>,
        entry: Arc<Entry>,
        mark: Mark,
        now: SystemTime,
    ) -> bool {
        let kib = u32::try_from(entry.bytes_held() / 1024).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.writes_kib).try_acquire_many_owned(kib.max(WRITE_KIB_MIN));
        let (Ok(room), Ok(runtime)) = (room, tokio::runtime::Handle::try_current()) else {
            self.counters.dropped.add_one();
            return false;
        };
        let (redis, purges) = (Arc::clone(redis), Arc::clone(&self.purges));
        runtime.spawn(async move {
            let _no_purge = purges.gate(&entry.key).read().await;
            if purges.unless_purged(&entry.key, mark, || ()).is_some() {
                redis.put(&entry, now).await;
            }
            drop(room);
        });
        true
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

impl From<InMemory> for Found {
    fn from(found: InMemory) -> Self {
        match found {
            InMemory::Hit(held) => Arc::clone(&held.entry).into(),
            InMemory::VaryMiss => Self::VaryMiss,
            InMemory::Miss => Self::Miss,
        }
    }
}
