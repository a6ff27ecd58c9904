//! How is Redis asked, and when isn't it?
//!
//! One task keeps the connections: it makes them in the background, watches them, and makes them
//! anew with growing, jittered pauses. Who asks never waits for that: without a connection the
//! answer is a [`Fault`] at once. A question has a deadline and passes a breaker. There are two
//! connections, for a large value on its way in must not hold up the look-ups.
//! Neither the URL nor the server's words reach the log.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ErrorKind, Value};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::breaker::{Admission, Breaker, Luck};
use crate::store::counters::{RedisCounters, RedisError};

/// A connection that takes longer, handshake included, is no good for a cache.
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// How often an idle connection is tried, so that the state told to operators is true.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A connection that leaves a `PING` without answer for so long is replaced.
const PING_MAX: Duration = Duration::from_secs(1);
/// The first pause before connecting again,
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// and the longest, after doubling.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Questions under way on one connection before the next one waits, within its deadline.
const PIPELINE_MAX: usize = 512;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Fault {
    NotConnected,
    BreakerOpen,
    Timeout,
    Broken,
    /// The server answered with an error.
    Server(redis::RedisError),
}

impl Fault {
    pub(super) fn kind(&self) -> RedisError {
        match self {
            Self::NotConnected | Self::Broken => RedisError::Connection,
            Self::BreakerOpen => RedisError::BreakerOpen,
            Self::Timeout => RedisError::Timeout,
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
}

#[derive(Debug, Clone)]
struct Wires {
    reads: MultiplexedConnection,
    writes: MultiplexedConnection,
}

/// The way to one Redis.
#[derive(Debug)]
pub(super) struct Link {
    client: Client,
    /// What the task has made; nobody holds the lock across a wait.
    wires: RwLock<Option<Wires>>,
    breaker: Mutex<Breaker>,
    /// Somebody saw a sign that a connection is no good.
    doubt: Notify,
    keeper: Mutex<Option<AbortHandle>>,
    counters: Arc<RedisCounters>,
}

impl Link {
    pub(super) fn new(client: Client, counters: Arc<RedisCounters>) -> Arc<Self> {
        Arc::new(Self {
            client,
            wires: RwLock::new(None),
            breaker: Mutex::new(Breaker::new()),
            doubt: Notify::new(),
            keeper: Mutex::new(None),
            counters,
        })
    }

    /// Starts the task on the current runtime unless it runs.
    pub(super) fn start(self: &Arc<Self>) {
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        if keeper.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            *keeper = Some(runtime.spawn(Arc::clone(self).keep()).abort_handle());
        }
    }

    pub(super) fn stop(&self) {
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = keeper.take() {
            task.abort();
        }
    }

    /// Whether questions are being answered, as far as is known.
    pub(super) fn is_up(&self) -> bool {
        self.wires().is_some() && self.breaker().would_admit(Instant::now())
    }

    /// Asks, unless the breaker is open.
    pub(super) async fn ask(&self, lane: Lane, cmd: &Cmd, end: Instant) -> Result<Value, Fault> {
        let wires = self.wires().ok_or(Fault::NotConnected)?;
        let admission = self.breaker().admit(Instant::now());
        if admission == Admission::No {
            return Err(Fault::BreakerOpen);
        }
        let mut attempt = Attempt {
            link: self,
            admission,
            luck: Luck::Unknown,
        };
        let answer = self.send(wires, lane, cmd, end).await;
        attempt.luck = match answer {
            Err(Fault::Timeout | Fault::Broken) => Luck::Failed,
            _ => Luck::Answered,
        };
        answer
    }

    /// Asks whatever the breaker says: for what an operator is waiting for.
    pub(super) async fn insist(&self, lane: Lane, cmd: &Cmd, end: Instant) -> Result<Value, Fault> {
        let wires = self.wires().ok_or(Fault::NotConnected)?;
        self.send(wires, lane, cmd, end).await
    }

    async fn send(
        &self,
        wires: Wires,
        lane: Lane,
        cmd: &Cmd,
        end: Instant,
    ) -> Result<Value, Fault> {
        let mut wire = match lane {
            Lane::Reads => wires.reads,
            Lane::Writes => wires.writes,
        };
        let answer = tokio::time::timeout_at(end.into(), wire.send_packed_command(cmd)).await;
        match answer {
            Err(_) => Err(Fault::Timeout),
            Ok(Ok(Value::ServerError(error))) => Err(Fault::Server(error.into())),
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) if is_from_server(&error) => Err(Fault::Server(error)),
            Ok(Err(_)) => {
                self.doubt.notify_one();
                Err(Fault::Broken)
            }
        }
    }

    fn wires(&self) -> Option<Wires> {
        let wires = self.wires.read().unwrap_or_else(PoisonError::into_inner);
        wires.clone()
    }

    fn set_wires(&self, new: Option<Wires>) {
        *self.wires.write().unwrap_or_else(PoisonError::into_inner) = new;
    }

    fn breaker(&self) -> std::sync::MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn keep(self: Arc<Self>) {
        let mut failures = 0;
        loop {
            let connected = timeout(CONNECT_MAX, self.connect()).await;
            if let Ok(Ok(wires)) = connected {
                self.set_wires(Some(wires.clone()));
                self.breaker().try_now(Instant::now());
                tracing::info!("connected to Redis");
                failures = 0;
                self.watch(wires).await;
                self.set_wires(None);
                tracing::warn!("lost the connection to Redis; serving without it");
            } else {
                self.counters.errors(RedisError::Connection).add_one();
                if failures == 0 && matches!(&connected, Ok(Err(error)) if turns_us_away(error)) {
                    tracing::warn!("Redis wants another user or password; serving without it");
                } else if failures == 0 {
                    tracing::warn!("Redis can't be reached; serving without it");
                }
                failures += 1;
            }
            tokio::time::sleep(pause(failures, jitter())).await;
        }
    }

    async fn connect(&self) -> redis::RedisResult<Wires> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_MAX))
            // Each question brings its own deadline.
            .set_response_timeout(None)
            .set_pipeline_buffer_size(PIPELINE_MAX);
        let open = || {
            self.client
                .get_multiplexed_async_connection_with_config(&config)
        };
        let wires = Wires {
            reads: open().await?,
            writes: open().await?,
        };
        ping(&wires).await?;
        Ok(wires)
    }

    /// Returns when the connections are no good any more.
    async fn watch(&self, wires: Wires) {
        loop {
            // Either way it is time to try them.
            let _ = timeout(HEARTBEAT, self.doubt.notified()).await;
            if !matches!(timeout(PING_MAX, ping(&wires)).await, Ok(Ok(()))) {
                return;
            }
        }
    }
}

/// A question under way; tells the breaker how it went, also when it is dropped half-way.
struct Attempt<'a> {
    link: &'a Link,
    admission: Admission,
    luck: Luck,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut breaker = self.link.breaker();
        if breaker.record(self.admission, self.luck, now, jitter()) {
            drop(breaker);
            tracing::warn!("Redis does not answer in time; not asking it for a while");
            self.link.doubt.notify_one();
        }
    }
}

async fn ping(wires: &Wires) -> redis::RedisResult<()> {
    for mut wire in [wires.reads.clone(), wires.writes.clone()] {
        match redis::cmd("PING").query_async::<Value>(&mut wire).await {
            Err(error) if !is_from_server(&error) || turns_us_away(&error) => return Err(error),
            // An error is an answer too: a server that loads its data is there.
            _ => {}
        }
    }
    Ok(())
}

fn is_from_server(error: &redis::RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension)
}

/// It is there, but not for somebody with our user and password: every question would be answered so.
fn turns_us_away(error: &redis::RedisError) -> bool {
    error.kind() == ErrorKind::AuthenticationFailed
        || matches!(error.code(), Some("NOAUTH" | "WRONGPASS"))
}

/// A new number between 0 and 1: each `RandomState` has other keys.
fn jitter() -> f64 {
    let bits = RandomState::new().hash_one(0_u8);
    f64::from((bits >> 32) as u32) / f64::from(u32::MAX)
}

fn pause(failures: u32, jitter: f64) -> Duration {
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
}
