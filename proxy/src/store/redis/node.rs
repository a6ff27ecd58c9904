//! How is one server of Redis asked, and when isn't it?
//!
//! One task keeps the connections: it finds the server, makes them in the background, watches them,
//! and makes them anew with growing, jittered pauses. Who asks never waits for that: without a
//! connection the answer is a [`Fault`] at once. A question has a deadline and passes a breaker.
//! There are two connections, for a large value on its way in must not hold up the look-ups.
//! A server that turns out to be no master any more is asked on until a better one stands.
//! Neither the URL nor the server's words reach the log; where the server is does.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use redis::{Cmd, ErrorKind, RedisError as ServerError, RedisResult, Value};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::breaker::{Admission, Breaker, Luck};
use super::dial::{Dialer, Late, Place, Wire};
use super::finder::Finder;
use super::state::{Role, eviction_is_unsound, role};
use crate::store::counters::{RedisCounters, RedisError};

/// A connection that takes longer, handshake included, is no good for a cache.
pub(super) const CONNECT_MAX: Duration = Duration::from_secs(1);
/// How often an idle connection is tried, so that the state told to operators is true.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(1);
/// A connection that leaves a `PING` without answer for so long is replaced.
pub(super) const PING_MAX: Duration = Duration::from_secs(1);
/// How often a replica's name is resolved anew: it may lead to the master by now.
const REPLICA_RETRY: Duration = Duration::from_secs(5);
/// The first pause before connecting again,
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// and the longest, after doubling.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Fault {
    NotConnected,
    BreakerOpen,
    Timeout(Late),
    Broken,
    /// The server answered with an error.
    Server(ServerError),
}

impl Fault {
    pub(super) fn kind(&self) -> RedisError {
        match self {
            Self::NotConnected | Self::Broken => RedisError::Connection,
            Self::BreakerOpen => RedisError::BreakerOpen,
            Self::Timeout(_) => RedisError::Timeout,
            Self::Server(_) => RedisError::Refused,
        }
    }
}

/// Which connection a question takes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lane {
    Reads,
    /// Writes and removals: on one connection they keep their order.
    Writes,
    /// The connection of look-ups, by what gets less time than those: that it is late says nothing for them.
    Leases,
}

/// How a question is put.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    pub(super) lane: Lane,
    pub(super) end: Instant,
    /// Whatever the breaker says: for what an operator is waiting for.
    pub(super) insists: bool,
    /// At a Cluster's node that is only about to get the key.
    pub(super) asking: bool,
}

#[derive(Debug)]
struct Wires {
    reads: Wire,
    writes: Wire,
    place: Place,
    role: Role,
}

/// What the nodes of one link share.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) counters: Arc<RedisCounters>,
    /// A node lost its connection or can't get one.
    pub(super) trouble: Notify,
    eviction_told: AtomicBool,
}

impl Common {
    pub(super) fn new(counters: Arc<RedisCounters>) -> Arc<Self> {
        Arc::new(Self {
            counters,
            trouble: Notify::new(),
            eviction_told: AtomicBool::new(false),
        })
    }
}

/// The way to one server.
#[derive(Debug)]
pub(super) struct Node {
    finder: Finder,
    dialer: Dialer,
    /// What the task has made; nobody holds the lock across a wait.
    wires: RwLock<Option<Arc<Wires>>>,
    breaker: Mutex<Breaker>,
    /// Somebody saw a sign that a connection is no good,
    doubt: Notify,
    /// or that the server is no master any more.
    is_demoted: AtomicBool,
    common: Arc<Common>,
}

/// Why connections are not watched any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Broken,
    /// They work, but another server may be the right one.
    Outdated,
    /// They work, but most Sentinels name another server. What this one is told from now on, purges
    /// among it, may be lost.
    Replaced,
}

impl Node {
    pub(super) fn new(finder: Finder, dialer: Dialer, common: Arc<Common>) -> Arc<Self> {
        Arc::new(Self {
            finder,
            dialer,
            wires: RwLock::new(None),
            breaker: Mutex::new(Breaker::new()),
            doubt: Notify::new(),
            is_demoted: AtomicBool::new(false),
            common,
        })
    }

    pub(super) fn is_up(&self) -> bool {
        self.wires().is_some() && self.breaker().would_admit(Instant::now())
    }

    /// Where it is asked at present.
    pub(super) fn place(&self) -> Option<Place> {
        self.wires().map(|wires| wires.place.clone())
    }

    /// A connection for asking the server about itself.
    pub(super) fn wire(&self) -> Option<Wire> {
        self.wires().map(|wires| wires.writes.clone())
    }

    /// Asks, unless the breaker is open.
    pub(super) async fn ask(&self, cmd: &Cmd, manner: Manner) -> Result<Value, Fault> {
        let wires = self.wires().ok_or(Fault::NotConnected)?;
        if manner.insists {
            return self.send(&wires, cmd, manner).await;
        }
        let admission = self.breaker().admit(Instant::now());
        if admission == Admission::No {
            return Err(Fault::BreakerOpen);
        }
        let mut attempt = Attempt {
            node: self,
            admission,
            luck: Luck::Unknown,
        };
        let answer = self.send(&wires, cmd, manner).await;
        attempt.luck = match (&answer, manner.lane) {
            (Err(Fault::Timeout(_)), Lane::Leases) => Luck::Unknown,
            (Err(Fault::Timeout(_) | Fault::Broken), _) => Luck::Failed,
            // It may take much longer than a look-up, so that its luck says nothing for those.
            (_, Lane::Writes) => Luck::Unknown,
            (_, Lane::Reads | Lane::Leases) => Luck::Answered,
        };
        answer
    }

    async fn send(&self, wires: &Wires, cmd: &Cmd, manner: Manner) -> Result<Value, Fault> {
        let wire = match manner.lane {
            Lane::Reads | Lane::Leases => &wires.reads,
            Lane::Writes => &wires.writes,
        };
        let ask = async {
            if manner.asking {
                wire.ask_asking(cmd).await
            } else {
                wire.ask(cmd).await
            }
        };
        match tokio::time::timeout_at(manner.end.into(), ask).await {
            Err(_) => Err(Fault::Timeout(wire.late())),
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) if is_from_server(&error) => {
                if is_read_only(&error) && wires.role != Role::Replica {
                    self.is_demoted.store(true, Ordering::Relaxed);
                    self.doubt.notify_one();
                }
                Err(Fault::Server(error))
            }
            Ok(Err(_)) => {
                self.doubt.notify_one();
                Err(Fault::Broken)
            }
        }
    }

    fn wires(&self) -> Option<Arc<Wires>> {
        let wires = self.wires.read().unwrap_or_else(PoisonError::into_inner);
        wires.clone()
    }

    fn set_wires(&self, new: Option<Arc<Wires>>) {
        *self.wires.write().unwrap_or_else(PoisonError::into_inner) = new;
    }

    fn breaker(&self) -> std::sync::MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Never ends by itself.
    pub(super) async fn keep(self: Arc<Self>) {
        let (mut failures, mut changes) = (0, 0);
        let mut role_told = Role::Master;
        loop {
            match self.connect().await {
                Ok(wires) => {
                    failures = 0;
                    let since = tokio::time::Instant::now();
                    self.take_up(&wires, &mut role_told).await;
                    let end = self.watch(&wires).await;
                    drop(wires);
                    if end != End::Outdated {
                        self.lose();
                    }
                    // A server that is left and found again and again is not to be worn out.
                    let in_haste = end != End::Broken && since.elapsed() < REPLICA_RETRY;
                    changes = if in_haste { changes + 1 } else { 0 };
                }
                Err(why) => {
                    self.common
                        .counters
                        .errors(RedisError::Connection)
                        .add_one();
                    self.common.trouble.notify_one();
                    if failures == 0 {
                        tracing::warn!("{}; serving without it", why.as_str());
                    }
                    failures += 1;
                    // What stood in until a better one is found may be gone by now, too.
                    if let Some(old) = self.wires()
                        && !is_alive(&old).await
                    {
                        self.lose();
                    }
                }
            }
            tokio::time::sleep(pause(failures.max(changes), jitter())).await;
        }
    }

    async fn take_up(&self, wires: &Arc<Wires>, role_told: &mut Role) {
        let is_new = self.place().as_ref() != Some(&wires.place);
        self.is_demoted.store(false, Ordering::Relaxed);
        self.set_wires(Some(Arc::clone(wires)));
        self.breaker().try_now(Instant::now());
        if is_new {
            tracing::info!(server = %wires.place, "connected to Redis");
        }
        if wires.role == Role::Replica && *role_told != Role::Replica {
            tracing::warn!(
                "this Redis is a read-only replica: what it holds is served, nothing is stored there; name its master"
            );
        }
        *role_told = wires.role;
        let told = &self.common.eviction_told;
        if !told.load(Ordering::Relaxed) && eviction_is_unsound(&wires.reads).await {
            told.store(true, Ordering::Relaxed);
            tracing::warn!(
                "this Redis evicts keys without a TTL, purges among them; set its maxmemory-policy to volatile-lru or another of volatile-*"
            );
        }
    }

    fn lose(&self) {
        let server = self.place().map(tracing::field::display);
        tracing::warn!(server, "lost the connection to Redis; serving without it");
        self.set_wires(None);
        self.common.trouble.notify_one();
    }

    async fn connect(&self) -> Result<Arc<Wires>, Why> {
        let mut why = Why::Unreachable;
        let found = self.finder.places().await?;
        for place in found {
            match timeout(CONNECT_MAX, self.open(place)).await {
                Ok(Ok(wires)) if wires.role == Role::Replica && self.finder.wants_master() => {
                    why = Why::NoMaster;
                }
                Ok(Ok(wires)) => return Ok(Arc::new(wires)),
                Ok(Err(error)) if turns_us_away(&error) => why = Why::TurnedAway,
                Ok(Err(_)) | Err(_) => {}
            }
        }
        Err(why)
    }

    async fn open(&self, place: Place) -> RedisResult<Wires> {
        let (reads, writes) = tokio::try_join!(self.dialer.wire(&place), self.dialer.wire(&place))?;
        ping(&reads).await?;
        ping(&writes).await?;
        Ok(Wires {
            role: role(&reads).await?,
            reads,
            writes,
            place,
        })
    }

    /// Returns when the connections are no good any more.
    async fn watch(&self, wires: &Wires) -> End {
        let since = tokio::time::Instant::now();
        loop {
            // Either way it is time to try them.
            let _ = timeout(HEARTBEAT, self.doubt.notified()).await;
            if self.is_demoted.load(Ordering::Relaxed) {
                return End::Outdated;
            }
            if !is_alive(wires).await {
                return End::Broken;
            }
            if wires.role == Role::Replica && since.elapsed() > REPLICA_RETRY {
                return End::Outdated;
            }
            if self.finder.is_elsewhere(&wires.place).await {
                return End::Replaced;
            }
        }
    }
}

/// Why there is no connection, in an operator's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Unreachable,
    TurnedAway,
    NoMaster,
    NoSentinel,
    UnknownMaster,
    NoCluster,
}

impl Why {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "Redis can't be reached",
            Self::TurnedAway => "Redis wants another user or password",
            Self::NoMaster => "the Redis that the Sentinels name is no master (yet)",
            Self::NoSentinel => "no Sentinel of Redis answers",
            Self::NoCluster => {
                "this Redis is no Cluster with slots, or its user may not ask CLUSTER SLOTS"
            }
            Self::UnknownMaster => "the Sentinels know no master of Redis by the URL's name",
        }
    }
}

/// A question under way; tells the breaker how it went, also when it is dropped half-way.
struct Attempt<'a> {
    node: &'a Node,
    admission: Admission,
    luck: Luck,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut breaker = self.node.breaker();
        if breaker.record(self.admission, self.luck, now, jitter()) {
            drop(breaker);
            tracing::warn!("Redis does not answer in time; not asking it for a while");
            self.node.doubt.notify_one();
        }
    }
}

async fn is_alive(wires: &Wires) -> bool {
    let both = async { tokio::try_join!(ping(&wires.reads), ping(&wires.writes)) };
    matches!(timeout(PING_MAX, both).await, Ok(Ok(_)))
}

async fn ping(wire: &Wire) -> RedisResult<()> {
    match wire.ask(&redis::cmd("PING")).await {
        Err(error) if !is_from_server(&error) || turns_us_away(&error) => Err(error),
        // An error is an answer too: a server that loads its data is there.
        _ => Ok(()),
    }
}

pub(super) fn is_from_server(error: &ServerError) -> bool {
    matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension)
}

/// It is there, but not for somebody with our user and password: every question would be answered so.
pub(super) fn turns_us_away(error: &ServerError) -> bool {
    error.kind() == ErrorKind::AuthenticationFailed
        || matches!(error.code(), Some("NOAUTH" | "WRONGPASS"))
}

/// A write came to a replica. Before Redis 7 a script's error wraps the one of its command.
fn is_read_only(error: &ServerError) -> bool {
    let wrapped = |detail: &str| detail.contains("-READONLY ");
    error.code() == Some("READONLY") || error.detail().is_some_and(wrapped)
}

/// A new number between 0 and 1: each `RandomState` has other keys.
pub(super) fn jitter() -> f64 {
    let bits = RandomState::new().hash_one(0_u8);
    f64::from((bits >> 32) as u32) / f64::from(u32::MAX)
}

pub(super) fn pause(failures: u32, jitter: f64) -> Duration {
    let full = PAUSE_MIN
        .saturating_mul(1 << failures.min(16))
        .min(PAUSE_MAX);
    full.mul_f64(0.5 + jitter / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_never_vanish() {
        assert_eq!(pause(0, 1.0), PAUSE_MIN);
        assert_eq!(pause(0, 0.0), PAUSE_MIN / 2);
        assert_eq!(pause(2, 1.0), PAUSE_MIN * 4);
        assert_eq!(pause(u32::MAX, 1.0), PAUSE_MAX);
        assert_eq!(pause(u32::MAX, 0.0), PAUSE_MAX / 2);
    }

    #[test]
    fn jitter_differs_and_stays_in_its_range() {
        let all: Vec<f64> = (0..100).map(|_| jitter()).collect();
        assert!(all.iter().all(|j| (0.0..=1.0).contains(j)));
        assert!(all.iter().any(|j| (j - all[0]).abs() > f64::EPSILON));
    }

    #[test]
    fn a_replica_s_refusal_is_known_bare_and_wrapped_by_a_script() {
        let error = |code: &str, detail: &str| {
            redis::make_extension_error(code.to_owned(), Some(detail.to_owned()))
        };
        assert!(is_read_only(&error("READONLY", "You can't write")));
        let wrapped = "Error running script: @user_script: 8: -READONLY You can't write";
        assert!(is_read_only(&error("ERR", wrapped)));
        assert!(!is_read_only(&error("OOM", "command not allowed")));
    }
}
