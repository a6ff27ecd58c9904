//! A TCP proxy that breaks what it carries, as it is told at run time: between the proxy and Redis, or before an API.
//!
//! What chance decides comes from a seed. What was swallowed or damaged is never made up for: a connection that met such a
//! fault is closed when the fault ends, as one is that a firewall has forgotten. Left out: faults below TCP.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

/// How much is read at once.
const CHUNK_BYTES: usize = 16 * 1024;
/// Chunks under way in one direction of a delayed connection.
const CHUNKS_MAX: usize = 1024;

/// What becomes of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Pass,
    /// Every connection is closed, and new ones are at once.
    Cut,
    /// A connection is closed once it has carried so many bytes of replies.
    CutAfter {
        reply_bytes: usize,
    },
    /// Each direction takes so long.
    Delay(Duration),
    /// Connections stand, new ones are accepted, nothing comes through.
    BlackHole,
    /// In one of so many chunks of replies one bit is wrong.
    Corrupt {
        one_in: u32,
    },
    /// Replies come in pieces of so many bytes, with pauses.
    Drip {
        bytes: usize,
        pause: Duration,
    },
}

#[derive(Debug, Clone)]
enum Target {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Requests,
    Replies,
}

#[derive(Debug, Default)]
struct Counts {
    connections: AtomicUsize,
    requested: AtomicUsize,
    replied: AtomicUsize,
}

/// Runs until it is dropped.
#[derive(Debug)]
pub(crate) struct FaultProxy {
    pub(crate) address: SocketAddr,
    mode: watch::Sender<Mode>,
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

impl FaultProxy {
    /// Before a TCP server.
    pub(crate) async fn before(target: SocketAddr) -> Self {
        Self::start(Target::Tcp(target)).await
    }

    /// Before a server on a Unix socket.
    pub(crate) async fn before_socket(path: impl Into<PathBuf>) -> Self {
        Self::start(Target::Unix(path.into())).await
    }

    async fn start(target: Target) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mode, watched) = watch::channel(Mode::Pass);
        let counts = Arc::<Counts>::default();
        let task = tokio::spawn(accept(listener, target, watched, Arc::clone(&counts)));
        Self {
            address,
            mode,
            counts,
            task,
        }
    }

    /// From now on.
    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.counts.connections.load(Ordering::SeqCst)
    }

    /// Bytes that clients sent so far, whatever became of them.
    pub(crate) fn requested_bytes(&self) -> usize {
        self.counts.requested.load(Ordering::SeqCst)
    }

    /// Bytes of replies that clients got so far.
    pub(crate) fn replied_bytes(&self) -> usize {
        self.counts.replied.load(Ordering::SeqCst)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(
    listener: TcpListener,
    target: Target,
    mode: watch::Receiver<Mode>,
    counts: Arc<Counts>,
) {
    // Connections end with the set, and so with the proxy.
    let mut connections = JoinSet::new();
    let mut number = 0;
    while let Ok((client, _)) = listener.accept().await {
        number += 1;
        counts.connections.fetch_add(1, Ordering::SeqCst);
        let (target, mode, counts) = (target.clone(), mode.clone(), Arc::clone(&counts));
        connections.spawn(carry(client, target, mode, counts, number));
    }
}

/// One connection, until either end, or the fault, closes it.
async fn carry(
    client: TcpStream,
    target: Target,
    mut mode: watch::Receiver<Mode>,
    counts: Arc<Counts>,
    number: u64,
) {
    if *mode.borrow_and_update() == Mode::Cut {
        return;
    }
    let (from_client, to_client) = client.into_split();
    let hole = *mode.borrow() == Mode::BlackHole;
    if hole {
        // It is a connection to nowhere, and stays one.
        let swallow = pump(
            from_client,
            tokio::io::sink(),
            Way::Requests,
            mode.clone(),
            counts,
            number,
        );
        tokio::select! { () = swallow => {}, () = no_hole(mode) => {} }
        drop(to_client);
        return;
    }
    macro_rules! both_ways {
        ($server:expr) => {{
            let Ok(server) = $server.await else { return };
            let (from_server, to_server) = server.into_split();
            let cut = cut(mode.clone());
            let up = pump(
                from_client,
                to_server,
                Way::Requests,
                mode.clone(),
                Arc::clone(&counts),
                number,
            );
            let down = pump(from_server, to_client, Way::Replies, mode, counts, number);
            tokio::select! { () = up => {}, () = down => {}, () = cut => {} }
        }};
    }
    match target {
        Target::Tcp(address) => both_ways!(TcpStream::connect(address)),
        Target::Unix(path) => both_ways!(UnixStream::connect(path)),
    }
}

async fn cut(mut mode: watch::Receiver<Mode>) {
    // Without a sender there is no proxy any more.
    let _ = mode.wait_for(|mode| *mode == Mode::Cut).await;
}

async fn no_hole(mut mode: watch::Receiver<Mode>) {
    let _ = mode.wait_for(|mode| *mode != Mode::BlackHole).await;
}

/// Carries one direction until it ends or the connection must.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    to: impl AsyncWrite + Unpin,
    way: Way,
    mode: watch::Receiver<Mode>,
    counts: Arc<Counts>,
    number: u64,
) {
    let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
    let read = async {
        let mut buffer = vec![0; CHUNK_BYTES];
        // A delay begins with the arrival: what is behind doesn't wait twice.
        while let Ok(bytes @ 1..) = from.read(&mut buffer).await {
            if way == Way::Requests {
                counts.requested.fetch_add(bytes, Ordering::SeqCst);
            }
            let chunk = buffer[..bytes].to_vec();
            if sender.send((Instant::now(), chunk)).await.is_err() {
                break;
            }
        }
        drop(sender);
    };
    let writer = Writer {
        to,
        way,
        mode,
        counts: &counts,
        random: Random::new(number),
        carried: 0,
    };
    tokio::join!(read, writer.run(receiver));
}

struct Writer<'a, W> {
    to: W,
    way: Way,
    mode: watch::Receiver<Mode>,
    counts: &'a Counts,
    random: Random,
    carried: usize,
}

impl<W: AsyncWrite + Unpin> Writer<'_, W> {
    async fn run(mut self, mut chunks: mpsc::Receiver<(Instant, Vec<u8>)>) {
        while let Some((arrived, mut chunk)) = chunks.recv().await {
            let mode = *self.mode.borrow_and_update();
            let goes_on = match mode {
                Mode::Pass => self.write(&chunk).await,
                Mode::Cut => false,
                Mode::Delay(delay) => {
                    tokio::time::sleep_until(arrived + delay).await;
                    self.write(&chunk).await
                }
                Mode::BlackHole => {
                    // What came is lost, and so is the connection's meaning.
                    no_hole(self.mode.clone()).await;
                    false
                }
                _ if self.way == Way::Requests => self.write(&chunk).await,
                Mode::CutAfter { reply_bytes } => {
                    chunk.truncate(reply_bytes.saturating_sub(self.carried));
                    self.write(&chunk).await && self.carried < reply_bytes
                }
                Mode::Corrupt { one_in } => {
                    self.random.damage(&mut chunk, one_in);
                    self.write(&chunk).await
                }
                Mode::Drip { bytes, pause } => self.drip(&chunk, bytes, pause).await,
            };
            if !goes_on {
                break;
            }
        }
        // The other end learns of it by the end of both directions.
        let _ = self.to.shutdown().await;
    }

    async fn write(&mut self, bytes: &[u8]) -> bool {
        if self.way == Way::Replies {
            self.carried += bytes.len();
            self.counts.replied.fetch_add(bytes.len(), Ordering::SeqCst);
        }
        self.to.write_all(bytes).await.is_ok()
    }

    /// Piece by piece while that is the mode, then the rest.
    async fn drip(&mut self, chunk: &[u8], bytes: usize, pause: Duration) -> bool {
        for piece in chunk.chunks(bytes) {
            if matches!(*self.mode.borrow(), Mode::Drip { .. }) {
                tokio::time::sleep(pause).await;
            }
            if !self.write(piece).await {
                return false;
            }
        }
        true
    }
}

/// A sequence that its seed decides (xorshift).
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        // Neighbouring seeds shall not begin alike, and none may be zero.
        Self(
            (seed + 1)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .rotate_left(17)
                | 1,
        )
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// One of the numbers below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn damage(&mut self, chunk: &mut [u8], one_in: u32) {
        if chunk.is_empty() || self.below(u64::from(one_in)) != 0 {
            return;
        }
        let at = usize::try_from(self.below(chunk.len() as u64)).unwrap();
        chunk[at] ^= 1 << self.below(8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that sends back what it gets, and the proxy before it.
    async fn echo() -> (FaultProxy, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                connections.spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        (FaultProxy::before(address).await, server)
    }

    async fn said_back(stream: &mut TcpStream, words: &[u8]) -> Vec<u8> {
        stream.write_all(words).await.unwrap();
        let mut back = vec![0; words.len()];
        match stream.read_exact(&mut back).await {
            Ok(_) => back,
            Err(_) => Vec::new(),
        }
    }

    async fn rest(stream: &mut TcpStream) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        rest
    }

    #[tokio::test]
    async fn it_passes_counts_and_cuts() {
        let (proxy, _server) = echo().await;
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        assert_eq!(said_back(&mut stream, b"hello").await, b"hello");
        let counted = (
            proxy.connections(),
            proxy.requested_bytes(),
            proxy.replied_bytes(),
        );
        assert_eq!(counted, (1, 5, 5));
        proxy.set(Mode::Cut);
        assert_eq!(rest(&mut stream).await, b"");
        let mut refused = TcpStream::connect(proxy.address).await.unwrap();
        assert_eq!(rest(&mut refused).await, b"");
        proxy.set(Mode::Pass);
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        assert_eq!(said_back(&mut stream, b"again").await, b"again");
    }

    #[tokio::test]
    async fn it_cuts_in_the_middle_of_a_reply() {
        let (proxy, _server) = echo().await;
        proxy.set(Mode::CutAfter { reply_bytes: 7 });
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        assert_eq!(said_back(&mut stream, b"hello").await, b"hello");
        stream.write_all(b"hello").await.unwrap();
        assert_eq!(rest(&mut stream).await, b"he");
    }

    #[tokio::test(start_paused = true)]
    async fn it_delays_each_direction_and_drips() {
        let (proxy, _server) = echo().await;
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        proxy.set(Mode::Delay(Duration::from_secs(100)));
        let begin = Instant::now();
        assert_eq!(said_back(&mut stream, b"hello").await, b"hello");
        assert!(begin.elapsed() >= Duration::from_secs(200));
        let pause = Duration::from_secs(10);
        proxy.set(Mode::Drip { bytes: 2, pause });
        let begin = Instant::now();
        assert_eq!(said_back(&mut stream, b"hello").await, b"hello");
        assert!(begin.elapsed() >= 3 * pause);
    }

    #[tokio::test]
    async fn a_black_hole_swallows_and_what_it_swallowed_is_lost() {
        let (proxy, _server) = echo().await;
        let mut untouched = TcpStream::connect(proxy.address).await.unwrap();
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        assert_eq!(said_back(&mut stream, b"hello").await, b"hello");
        assert_eq!(said_back(&mut untouched, b"hello").await, b"hello");
        proxy.set(Mode::BlackHole);
        stream.write_all(b"lost").await.unwrap();
        let mut new = TcpStream::connect(proxy.address).await.unwrap();
        new.write_all(b"lost, too").await.unwrap();
        super::super::wait::until("all is swallowed", async || {
            proxy.requested_bytes() == 10 + 4 + 9
        })
        .await;
        proxy.set(Mode::Pass);
        assert_eq!(rest(&mut stream).await, b"");
        assert_eq!(rest(&mut new).await, b"");
        assert_eq!(said_back(&mut untouched, b"hello").await, b"hello");
        assert_eq!(proxy.replied_bytes(), 15);
    }

    #[tokio::test]
    async fn it_damages_one_bit_of_a_reply() {
        let (proxy, _server) = echo().await;
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        proxy.set(Mode::Corrupt { one_in: 1 });
        let back = said_back(&mut stream, b"hello").await;
        let wrong = back.iter().zip(b"hello").map(|(a, b)| (a ^ b).count_ones());
        assert_eq!(wrong.sum::<u32>(), 1);
    }
}
