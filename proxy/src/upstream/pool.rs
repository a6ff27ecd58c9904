//! Connections to the upstream that wait for their next request.
//!
//! The one that was used last is taken first, so that those that are not needed grow old and end. One task looks after all of
//! them, once in a while; whether the upstream has ended one in between is asked when it is taken. Left out: connecting, and
//! what is said on a connection.

use pingora::protocols::Stream;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::task::AbortHandle;
use tokio::task::coop::unconstrained;

/// Connections that wait, over all addresses and worker threads.
const CONNECTIONS_MAX: usize = 256;
/// The longest pause between two looks at those that wait, and the shortest.
const SWEEP_PAUSE_MAX: Duration = Duration::from_secs(1);
const SWEEP_PAUSE_MIN: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(super) struct Pool {
    /// How long one may wait.
    idle_max: Duration,
    idle: Mutex<Idle>,
}

#[derive(Debug, Default)]
struct Idle {
    /// The one that was used last at the end.
    connections: VecDeque<Connection>,
    sweeper: Option<AbortHandle>,
}

#[derive(Debug)]
struct Connection {
    address: SocketAddr,
    since: Instant,
    stream: Stream,
}

impl Connection {
    /// Can it still be used?
    fn is_good(&mut self, idle_max: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < idle_max && is_quiet(&mut self.stream)
    }
}

impl Pool {
    pub(super) fn new(idle_max: Duration) -> Arc<Self> {
        Arc::new(Self {
            idle_max,
            idle: Mutex::default(),
        })
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection to this address on which the upstream waits for a request.
    pub(super) fn take(&self, address: SocketAddr, now: Instant) -> Option<Stream> {
        loop {
            let mut connection = {
                let connections = &mut self.idle().connections;
                let place = connections.iter().rposition(|c| c.address == address)?;
                connections.remove(place)?
            };
            if connection.is_good(self.idle_max, now) {
                return Some(connection.stream);
            }
        }
    }

    /// Keeps a connection whose last answer has been read to its end.
    pub(super) fn put(self: &Arc<Self>, address: SocketAddr, stream: Stream, now: Instant) {
        let mut idle = self.idle();
        idle.connections.push_back(Connection {
            address,
            since: now,
            stream,
        });
        let too_many = idle.connections.len() > CONNECTIONS_MAX;
        let oldest = too_many.then(|| idle.connections.pop_front());
        if idle.sweeper.as_ref().is_none_or(AbortHandle::is_finished) {
            let pause = self.idle_max.clamp(SWEEP_PAUSE_MIN, SWEEP_PAUSE_MAX);
            let sweeper = tokio::spawn(sweep(Arc::downgrade(self), pause));
            idle.sweeper = Some(sweeper.abort_handle());
        }
        // Closed without the lock.
        drop(idle);
        drop(oldest);
    }

    /// Ends those that can't be used any more.
    fn sweep(&self, now: Instant) {
        let mut bad = Vec::new();
        let mut idle = self.idle();
        for mut connection in std::mem::take(&mut idle.connections) {
            match connection.is_good(self.idle_max, now) {
                true => idle.connections.push_back(connection),
                false => bad.push(connection),
            }
        }
        // Closed without the lock.
        drop(idle);
    }
}

/// Looks after a pool until it is gone.
async fn sweep(pool: Weak<Pool>, pause: Duration) {
    loop {
        tokio::time::sleep(pause).await;
        let Some(pool) = pool.upgrade() else {
            return;
        };
        pool.sweep(Instant::now());
    }
}

/// Has the upstream said nothing since its last answer, not even farewell? What it says unasked must not be taken for the
/// answer to the next request.
fn is_quiet(stream: &mut Stream) -> bool {
    let mut byte = [0; 1];
    let mut read = ReadBuf::new(&mut byte);
    let look = unconstrained(poll_fn(|context| {
        Pin::new(&mut *stream).poll_read(context, &mut read)
    }));
    pin!(look)
        .poll(&mut Context::from_waker(Waker::noop()))
        .is_pending()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::timeout;

    const IDLE_MAX: Duration = Duration::from_secs(60);

    /// An upstream's address, and both ends of some connections to it.
    async fn connected(count: usize) -> (SocketAddr, Vec<(Stream, TcpStream)>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut both = Vec::new();
        for _ in 0..count {
            let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
            let ours: Stream =
                Box::new(pingora::protocols::l4::stream::Stream::from(ours.unwrap()));
            both.push((ours, theirs.unwrap().0));
        }
        (address, both)
    }

    fn waiting(pool: &Pool) -> usize {
        pool.idle().connections.len()
    }

    #[tokio::test]
    async fn the_connection_used_last_is_taken_first_and_only_for_its_address() {
        let (pool, now) = (Pool::new(IDLE_MAX), Instant::now());
        let (address, both) = connected(3).await;
        let mut ids = Vec::new();
        let mut theirs = Vec::new();
        for (stream, their) in both {
            ids.push(stream.id());
            theirs.push(their);
            pool.put(address, stream, now);
        }
        assert!(pool.take("127.0.0.1:1".parse().unwrap(), now).is_none());
        let taken: Vec<_> = std::iter::from_fn(|| Some(pool.take(address, now)?.id())).collect();
        ids.reverse();
        assert_eq!(taken, ids);
    }

    #[tokio::test]
    async fn one_that_has_waited_too_long_is_ended() {
        let (pool, now) = (Pool::new(IDLE_MAX), Instant::now());
        let (address, mut both) = connected(2).await;
        let (old, _their_old) = both.pop().unwrap();
        let (young, _their_young) = both.pop().unwrap();
        let id = young.id();
        pool.put(address, old, now);
        pool.put(address, young, now + IDLE_MAX / 2);
        pool.sweep(now + IDLE_MAX);
        assert_eq!(waiting(&pool), 1);
        assert_eq!(pool.take(address, now + IDLE_MAX).unwrap().id(), id);
    }

    #[tokio::test]
    async fn one_that_the_upstream_has_ended_or_spoken_on_unasked_is_never_taken() {
        for says in [&b""[..], b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"] {
            let (pool, now) = (Pool::new(IDLE_MAX), Instant::now());
            let (address, mut both) = connected(1).await;
            let (ours, mut their) = both.pop().unwrap();
            pool.put(address, ours, now);
            assert_eq!(waiting(&pool), 1);
            let kept = match says.is_empty() {
                true => {
                    drop(their);
                    None
                }
                false => {
                    their.write_all(says).await.unwrap();
                    Some(their)
                }
            };
            let noticed = async {
                while waiting(&pool) > 0 {
                    pool.sweep(now);
                    tokio::task::yield_now().await;
                }
            };
            timeout(Duration::from_secs(10), noticed).await.unwrap();
            assert!(pool.take(address, now).is_none());
            drop(kept);
        }
    }

    #[tokio::test]
    async fn beyond_their_number_the_one_that_has_waited_longest_is_ended() {
        let (pool, now) = (Pool::new(IDLE_MAX), Instant::now());
        let (address, both) = connected(CONNECTIONS_MAX + 1).await;
        let oldest = both.first().unwrap().0.id();
        let mut theirs = Vec::new();
        for (ours, their) in both {
            theirs.push(their);
            pool.put(address, ours, now);
        }
        assert_eq!(waiting(&pool), CONNECTIONS_MAX);
        assert!(
            pool.idle()
                .connections
                .iter()
                .all(|c| c.stream.id() != oldest)
        );
    }

    #[tokio::test]
    async fn somebody_looks_after_those_that_wait_without_being_asked() {
        let pool = Pool::new(SWEEP_PAUSE_MIN);
        let (address, mut both) = connected(1).await;
        let (ours, mut their) = both.pop().unwrap();
        pool.put(address, ours, Instant::now());
        // It ends at their side when it is closed here.
        let end = timeout(Duration::from_secs(10), their.read(&mut [0; 1])).await;
        assert_eq!(end.expect("somebody closes it").unwrap(), 0);
        assert_eq!(waiting(&pool), 0);
    }
}
