//! Which stored response of any replica may answer? Held in Redis, one round trip away.
//!
//! Every failure is a miss and a number in a counter; only a purge reports it. What is read is
//! believed only as far as it can be checked: seal, full key, full selecting values, and how long it
//! says itself that it is of use, whatever Redis says. Something that fails this stays where it is until the fetch that follows overwrites it: a removal would
//! cost a round trip and could hit what was written in between.

mod breaker;
mod cluster;
mod dial;
mod finder;
mod follow;
mod lease;
mod link;
mod log;
mod node;
mod pending;
mod purges;
mod read;
mod script;
mod slots;
mod state;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use http::HeaderMap;
use larder_policy::{CacheKey, selecting};
use redis::{Cmd, ErrorKind, ServerErrorKind, Value};
use tokio::sync::mpsc::Receiver;
use tokio::task::AbortHandle;

pub use self::dial::BadAuthorities;
pub(super) use self::dial::Late;
pub use self::follow::Note;
use self::lease::LeaseScripts;
pub use self::lease::{FetchLease, Turn, Written};
use self::link::{Fault, Lane, Link};
pub use self::log::Applied;
use self::log::Follower;
use self::read::{Answer, Habits, Question};
use self::script::KnownScript;
use super::Removals;
use super::counters::{RedisCounters, RedisError};
use super::entry::{Damaged, Entry, TooLarge};
use super::log::{Lease, Log, NameTooLong, Record};
use super::seal::Seal;
use crate::config::{BadRedisUrl, RedisUrl};

/// A write may take this many times as long as a look-up: nobody waits for it, and it is larger.
const WRITE_TIMEOUT_FACTOR: u32 = 10;
/// An operator who purges rather waits than repeats it.
const PURGE_TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// A MAC over more than this takes longer than other requests should wait for: some 0.15 ms.
const MAC_HERE_BYTES_MAX: usize = 256 * 1024;
/// Longer than any response is worth keeping; also keeps the number within what Redis takes.
const TTL_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Redis can't even be tried.
#[derive(Debug, thiserror::Error)]
pub enum RedisFault {
    /// The URL is none.
    #[error("the Redis URL {0}")]
    Url(#[from] BadRedisUrl),
    /// There is nobody to trust.
    #[error(transparent)]
    Authorities(#[from] BadAuthorities),
}

/// Why a purge can't be said to be true everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PurgeError {
    /// The log in Redis can't be reached. The purge may have been made all the same.
    #[error("Redis did not take the purge ({})", .0.as_str())]
    Log(RedisError),
    /// It was made, but Redis fell silent, or lost it, before every replica had applied it.
    #[error("purge {sequence} was made, but not confirmed by every replica in time")]
    Unconfirmed {
        /// Its number.
        sequence: u64,
    },
    /// It names what nothing can be named.
    #[error(transparent)]
    TooLong(#[from] NameTooLong),
}

/// What Redis has for a request.
#[derive(Debug)]
pub(super) enum InRedis {
    Hit(Arc<Entry>),
    VaryMiss,
    Miss,
}

/// What became of a write.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It was made, or failed, or was none.
    Done,
    /// Somebody wrote under a later lease.
    Outrun,
    /// It was given up, but lies in the connection still.
    Late(Late),
}

/// Whether the log of purges is being followed.
#[derive(Debug, Default)]
enum Following {
    #[default]
    NotYet,
    Task(AbortHandle),
    /// It was, and is not any more.
    Left,
}

/// The Redis tier.
#[derive(Debug)]
pub struct RedisTier {
    namespace: String,
    seal: Seal,
    timeout: Duration,
    write: KnownScript,
    habits: Habits,
    leases: LeaseScripts,
    link: Arc<Link>,
    follower: Option<Arc<Follower>>,
    following: Mutex<Following>,
    counters: Arc<RedisCounters>,
}

impl RedisTier {
    /// Reads the URL; nothing is connected yet. `timeout` bounds a look-up.
    pub fn new(
        url: &str,
        namespace: impl Into<String>,
        timeout: Duration,
    ) -> Result<Self, RedisFault> {
        Ok(Self::at(&RedisUrl::parse(url)?, None, namespace, timeout)?)
    }

    /// The same for a URL that has been read, with a file of authorities to trust for TLS instead
    /// of the system's.
    pub fn at(
        url: &RedisUrl,
        authorities: Option<&Path>,
        namespace: impl Into<String>,
        timeout: Duration,
    ) -> Result<Self, BadAuthorities> {
        let counters = Arc::<RedisCounters>::default();
        Ok(Self {
            namespace: namespace.into(),
            seal: Seal::checksum(),
            timeout,
            write: KnownScript::new(script::WRITE),
            habits: Habits::default(),
            leases: LeaseScripts::new(),
            link: Link::new(url, authorities, Arc::clone(&counters))?,
            follower: None,
            following: Mutex::default(),
            counters,
        })
    }

    /// The same, with what it writes and believes sealed in this way. To be said before a store is made of it.
    #[must_use]
    pub fn sealed(mut self, seal: Seal) -> Self {
        self.seal = seal;
        self
    }

    /// Makes `log` one that follows the log in this Redis, from [`RedisTier::start`] on.
    pub(super) fn keep_log(&mut self, log: Arc<Log>, removals: Removals, lease: Lease) {
        let (link, counters) = (Arc::clone(&self.link), Arc::clone(&self.counters));
        let seal = self.seal.clone();
        let follower = Follower::new(&self.namespace, seal, link, counters, log, removals, lease);
        self.follower = Some(follower);
    }

    /// Connects in the background.
    pub(super) fn start(&self) {
        self.link.start();
        let mut following = self.following();
        let runs = match &*following {
            Following::NotYet => false,
            Following::Task(task) => !task.is_finished(),
            Following::Left => true,
        };
        if runs {
            return;
        }
        if let (Some(follower), Ok(runtime)) =
            (&self.follower, tokio::runtime::Handle::try_current())
        {
            let task = runtime.spawn(Arc::clone(follower).run()).abort_handle();
            *following = Following::Task(task);
        }
    }

    /// Returns when the log of purges has been read to its end, or after `patience`.
    pub(super) async fn settled(&self, patience: Duration) {
        if let Some(follower) = &self.follower {
            follower.settled(patience).await;
        }
    }

    /// Makes a purge, and waits until it is true on every replica.
    pub(super) async fn purge(&self, records: &[Record]) -> Result<Applied, PurgeError> {
        match &self.follower {
            Some(follower) => follower.purge(records).await,
            None => Err(PurgeError::Log(RedisError::Connection)),
        }
    }

    /// Makes a purge that nobody waits for.
    pub(super) async fn announce(&self, records: &[Record]) -> Result<(), PurgeError> {
        match &self.follower {
            Some(follower) => {
                follower
                    .announce(records, Instant::now() + self.timeout)
                    .await
            }
            None => Err(PurgeError::Log(RedisError::Connection)),
        }
    }

    /// Tells the other replicas not to wait for this one any more. What it holds is not trusted from then on.
    pub(super) async fn leave(&self) {
        let before = std::mem::replace(&mut *self.following(), Following::Left);
        if let (Following::Task(task), Some(follower)) = (before, &self.follower) {
            task.abort();
            follower.leave().await;
        }
    }

    fn following(&self) -> MutexGuard<'_, Following> {
        self.following
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens to a channel, from when Redis can be reached until the receiver is dropped. In a
    /// Cluster, what is published elsewhere than at the node that a key of this name belongs to may
    /// come late.
    pub fn follow(&self, channel: impl Into<String>) -> Receiver<Note> {
        self.link.start();
        self.link.follow(channel.into())
    }

    pub(super) fn is_up(&self) -> bool {
        self.link.is_up()
    }

    pub(super) fn counters(&self) -> &Arc<RedisCounters> {
        &self.counters
    }

    /// Finds the response that this request selects: in one round trip, or two where its URL varies by something that was not
    /// met lately.
    pub(super) async fn get(
        &self,
        key: &CacheKey,
        request: &HeaderMap,
        now: SystemTime,
    ) -> InRedis {
        let found = match self.asked(key, request).await {
            Ok(Answer::Found(form)) => {
                let read = self.read_form(form).await;
                self.checked(read, key, request, now)
            }
            Ok(Answer::VaryMiss) => InRedis::VaryMiss,
            // When it varies by something else each time it is asked, it is about to be replaced.
            Ok(Answer::Miss | Answer::By(_)) => InRedis::Miss,
            Ok(Answer::Damaged) => return self.failed(RedisError::Damaged),
            Err(fault) if is_wrong_type(&fault) => return self.failed(RedisError::Damaged),
            Err(fault) => return self.failed(fault.kind()),
        };
        match found {
            InRedis::Hit(_) => self.counters.hits.add_one(),
            InRedis::VaryMiss | InRedis::Miss => self.counters.misses.add_one(),
        }
        found
    }

    async fn asked(&self, key: &CacheKey, request: &HeaderMap) -> Result<Answer, Fault> {
        self.start();
        let name = script::redis_key(&self.namespace, key);
        let end = Instant::now() + self.timeout;
        let ask = async |question: Question| {
            let answer = self.link.ask(Lane::Reads, &question.cmd(&name), end).await;
            answer.map(|answer| question.read(answer))
        };
        match ask(Question::first(&self.habits, request)).await? {
            Answer::By(habit) => {
                self.habits.learn(habit.spec());
                ask(Question::by([habit].into(), request)).await
            }
            answer => Ok(answer),
        }
    }

    /// Writes a response, to be kept as long as it may be of use; under a lease, which that ends.
    pub(super) async fn put(
        &self,
        entry: &Arc<Entry>,
        lease: Option<&FetchLease>,
        now: SystemTime,
    ) -> Outcome {
        let ttl_ms = entry.policy.keep_for(now).min(TTL_MAX).as_millis();
        if ttl_ms == 0 {
            return Outcome::Done;
        }
        let ttl_ms = ttl_ms.to_string();
        let Some(by_name) = self.write_call(false, entry, lease, &ttl_ms).await else {
            self.counters.dropped.add_one();
            return Outcome::Done;
        };
        self.start();
        self.habits.learn(entry.vary.as_ref());
        let end = Instant::now() + self.timeout * WRITE_TIMEOUT_FACTOR;
        let mut answer = self.link.ask(Lane::Writes, &by_name, end).await;
        drop(by_name);
        if is_of_unknown_script(&answer)
            && let Some(by_text) = self.write_call(true, entry, lease, &ttl_ms).await
        {
            answer = self.link.ask(Lane::Writes, &by_text, end).await;
        }
        match answer {
            Ok(Value::Int(script::OUTRUN)) => {
                self.counters.outrun.add_one();
                return Outcome::Outrun;
            }
            Ok(answer) => {
                self.counters.writes.add_one();
                if let (Value::Int(script::WRITTEN), Some(lease)) = (answer, lease) {
                    lease.settle();
                }
            }
            Err(fault) => {
                self.counters.errors(fault.kind()).add_one();
                if let Fault::Timeout(late) = fault {
                    return Outcome::Late(late);
                }
            }
        }
        Outcome::Done
    }

    /// The call that writes a response. It is made anew for the rare second try: the form is no longer there while the first is
    /// under way, for it may be large. None for what can't be written.
    async fn write_call(
        &self,
        by_text: bool,
        entry: &Arc<Entry>,
        lease: Option<&FetchLease>,
        ttl_ms: &str,
    ) -> Option<Cmd> {
        let form = self.write_form(entry).await.ok()?;
        let vary_names = script::joined_names(entry.vary.as_ref());
        let variants_max = script::variants_max();
        let arguments = [
            vary_names.as_bytes(),
            &script::variant_field(&entry.selecting)?,
            &form,
            ttl_ms.as_bytes(),
            variants_max.as_bytes(),
            if entry.is_part() { b"1" } else { b"0" },
            lease.map_or(&[], |lease| lease.token()),
        ];
        let name = script::redis_key(&self.namespace, &entry.key);
        let leases = [false, true].map(|names_caller| script::lease_key(&name, names_caller));
        let [shared, named] = leases.each_ref().map(String::as_str);
        Some(
            self.write
                .call(by_text, &[&name, shared, named], &arguments),
        )
    }

    /// Removes all variants of a URL; says whether there were any. Nobody waits for those who are fetching it any more, and
    /// what the next one writes can't be replaced by what they bring.
    pub(super) async fn remove(&self, key: &CacheKey) -> Result<bool, PurgeError> {
        let name = script::redis_key(&self.namespace, key);
        // By its text, which is short: an operator's purge is not to meet a server that doesn't know it.
        let mut cmd = redis::cmd("EVAL");
        cmd.arg(script::REMOVE).arg(3).arg(&name);
        for names_caller in [false, true] {
            cmd.arg(script::lease_key(&name, names_caller));
        }
        let end = Instant::now() + (self.timeout * WRITE_TIMEOUT_FACTOR).max(PURGE_TIMEOUT_MIN);
        let removed = self.link.insist(Lane::Writes, &cmd, end).await;
        // After it, so that nobody takes it from here again.
        if let Some(follower) = &self.follower {
            follower.announce_removal(key, end).await;
        }
        match removed {
            Ok(value) => Ok(value == Value::Int(1)),
            Err(fault) => {
                self.counters.errors(fault.kind()).add_one();
                Err(PurgeError::Log(fault.kind()))
            }
        }
    }

    async fn run(
        &self,
        lane: Lane,
        script: &KnownScript,
        names: &[&str],
        arguments: &[&[u8]],
        end: Instant,
    ) -> Result<Value, Fault> {
        self.start();
        let by_name = script.call(false, names, arguments);
        let answer = self.link.ask(lane, &by_name, end).await;
        if !is_of_unknown_script(&answer) {
            return answer;
        }
        let by_text = script.call(true, names, arguments);
        self.link.ask(lane, &by_text, end).await
    }

    async fn read_form(&self, form: Vec<u8>) -> Result<Entry, Damaged> {
        let seal = self.seal.clone();
        let is_long = self.is_long_work(form.len());
        let read = aside(is_long, move || Entry::decode(&form, &seal)).await;
        read.unwrap_or(Err(Damaged::Unauthentic))
    }

    async fn write_form(&self, entry: &Arc<Entry>) -> Result<Vec<u8>, TooLarge> {
        let (seal, entry) = (self.seal.clone(), Arc::clone(entry));
        let is_long = self.is_long_work(entry.body.len());
        let form = aside(is_long, move || entry.encode(&seal)).await;
        form.unwrap_or(Err(TooLarge))
    }

    fn is_long_work(&self, bytes: usize) -> bool {
        self.seal.is_keyed() && bytes > MAC_HERE_BYTES_MAX
    }

    /// Is it an entry, for this key and request, and still of use?
    fn checked(
        &self,
        read: Result<Entry, Damaged>,
        key: &CacheKey,
        request: &HeaderMap,
        now: SystemTime,
    ) -> InRedis {
        let entry = match read {
            Ok(entry) => entry,
            Err(Damaged::Unauthentic) => return self.failed(RedisError::Unauthentic),
            Err(_) => return self.failed(RedisError::Damaged),
        };
        let spec = entry.vary.as_ref();
        let selecting = spec.map_or_else(Vec::new, |spec| selecting(spec, request));
        if entry.key != *key || *entry.selecting != *selecting {
            // Ours, but somebody has moved it.
            return self.failed(match self.seal.is_keyed() {
                true => RedisError::Unauthentic,
                false => RedisError::Damaged,
            });
        }
        if entry.policy.keep_for(now).is_zero() {
            return InRedis::Miss;
        }
        InRedis::Hit(Arc::new(entry))
    }

    fn failed(&self, kind: RedisError) -> InRedis {
        self.counters.errors(kind).add_one();
        InRedis::Miss
    }
}

impl Drop for RedisTier {
    fn drop(&mut self) {
        self.link.stop();
        if let Following::Task(task) = &*self.following() {
            task.abort();
        }
    }
}

/// Long work is done beside the threads that serve; none when the process ends before it does.
async fn aside<T: Send + 'static>(
    is_long: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    match is_long {
        false => Some(work()),
        true => tokio::task::spawn_blocking(work).await.ok(),
    }
}

/// Something else than a hash is under the key.
fn is_wrong_type(fault: &Fault) -> bool {
    matches!(fault, Fault::Server(error) if error.code() == Some("WRONGTYPE"))
}

/// Does the server not know the script by its name?
fn is_of_unknown_script(answer: &Result<Value, Fault>) -> bool {
    let unknown = ErrorKind::Server(ServerErrorKind::NoScript);
    matches!(answer, Err(Fault::Server(error)) if error.kind() == unknown)
}
