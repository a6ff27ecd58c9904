//! The port for clients: accepts, reads each request's head whole and under a deadline, and has it answered.
//!
//! HTTP/1.x heads pass a strict grammar first ([`head`]), so that nothing which two readers could understand differently
//! goes any further; connections that open with the HTTP/2 preface go to Pingora as they are. A slow head costs a deadline,
//! an idle connection its idle time, and all connections together are capped. Body-less `GET` and `HEAD` are
//! answered here ([`lane`]), in order, pipelined or not; everything else goes to Pingora with its bytes untouched.

mod chunks;
mod deferral;
mod gate;
#[doc(hidden)]
pub mod grammar;
mod head;
mod hits;
mod lane;
mod lines;
mod parse;
mod refuse;
mod write;

use crate::config::Timeouts;
use crate::engine::Engine;
use crate::metrics::Metrics;
use crate::service::Service;
use bytes::{Buf, Bytes, BytesMut};
use chunks::{Broken, Chunks};
use gate::{Gate, Rest};
use head::{Body, Fault};
use hits::{Hits, Left, Waiting};
use lane::{Lane, Served};
use parse::Parsed;
use pingora::apps::{HttpPersistentSettings, HttpServerApp, ServerApp};
use pingora::protocols::http::ServerSession;
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Sleep, sleep, timeout};
use tokio_util::task::TaskTracker;

/// How an HTTP/2 connection with prior knowledge begins (RFC 9113 §3.4).
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of a request's head, target included. As much as common servers take; more is 431.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Room for one read: most requests come whole in it, with a small body and the next request if they are pipelined.
const READ_BYTES: usize = 4096;
/// How long to wait after a failed accept: usually no file descriptors are left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a silent connection is kept once draining has begun: its client's next request may be on its way already.
const LAST_WORD_WAIT: Duration = Duration::from_millis(500);

/// The client port.
pub struct Front {
    proxy: Arc<HttpProxy<Service>>,
    lane: Lane,
    timeouts: Timeouts,
    metrics: Arc<Metrics>,
    places: Arc<Semaphore>,
    open: Arc<AtomicU64>,
    /// For Pingora, when it shall not know that we are draining.
    never: ShutdownWatch,
}

impl std::fmt::Debug for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Front")
            .field("open", &self.open)
            .finish_non_exhaustive()
    }
}

/// What came of waiting for a head.
enum Read {
    Head {
        head_bytes: usize,
        body: Body,
    },
    Http2,
    Fault(Fault),
    /// The client went away.
    Closed,
}

/// What ends a stretch of hits.
enum Idle {
    Left(Left),
    /// Not a byte for too long, or for a moment while we are draining: the connection is ours to end.
    Silent,
}

/// What ends a connection on which nothing is to be done.
struct Ends<'a, D> {
    /// Goes off when nobody has spoken for too long, or before.
    alarm: Pin<&'a mut Sleep>,
    /// See [`drained`].
    drained: Pin<&'a mut D>,
    /// Draining had begun before the connection.
    has_begun: bool,
    draining: ShutdownWatch,
}

impl<D> Ends<'_, D> {
    fn is_draining(&self) -> bool {
        // When nobody is left who could say so, it is ending anyway.
        self.has_begun || self.draining.has_changed().unwrap_or(true)
    }
}

impl Front {
    pub fn new(proxy: HttpProxy<Service>, engine: Arc<Engine>, metrics: Arc<Metrics>) -> Arc<Self> {
        let timeouts = engine.config.timeouts;
        let places = Arc::new(Semaphore::new(engine.config.connections_max));
        let lane = Lane {
            engine,
            metrics: metrics.clone(),
            client_write: timeouts.client_write,
        };
        Arc::new(Self {
            proxy: Arc::new(proxy),
            lane,
            timeouts,
            metrics,
            places,
            open: Arc::default(),
            never: watch::channel(false).1,
        })
    }

    /// Connections that are open now.
    pub fn connections(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Accepts until `draining` turns true; then lets the connections end, for at most the drain time.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, mut draining: ShutdownWatch) {
        let connections = TaskTracker::new();
        while !*draining.borrow() {
            tokio::select! {
                _ = draining.changed() => {}
                accepted = self.accept(&listener) => self.clone().start(accepted, &connections, &draining),
            }
        }
        for accepted in self.accepted_already(listener) {
            self.clone().start(accepted, &connections, &draining);
        }
        // Not Pingora's own clean-up: it makes it drop requests that it has not begun to read, and it never waits for one here.
        connections.close();
        if timeout(self.timeouts.drain, connections.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                connections = self.connections(),
                "connections were still open when the drain time was over"
            );
        }
    }

    async fn accept(&self, listener: &TcpListener) -> Accepted {
        loop {
            let Ok(place) = self.places.clone().acquire_owned().await else {
                std::future::pending().await
            };
            match listener.accept().await {
                Ok((stream, client)) => {
                    return Accepted {
                        stream,
                        client,
                        place,
                    };
                }
                Err(error) => {
                    tracing::error!(%error, "could not accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Whoever the kernel has accepted is served, too. Asks it itself: the runtime hears of new connections a little later.
    fn accepted_already(&self, listener: TcpListener) -> impl Iterator<Item = Accepted> {
        let listener = listener.into_std();
        std::iter::from_fn(move || {
            let place = self.places.clone().try_acquire_owned().ok()?;
            let (stream, client) = listener.as_ref().ok()?.accept().ok()?;
            stream.set_nonblocking(true).ok()?;
            let stream = TcpStream::from_std(stream).ok()?;
            Some(Accepted {
                stream,
                client,
                place,
            })
        })
    }

    fn start(
        self: Arc<Self>,
        accepted: Accepted,
        connections: &TaskTracker,
        draining: &ShutdownWatch,
    ) {
        let draining = draining.clone();
        connections.spawn(async move {
            let _place = accepted.place;
            self.open.fetch_add(1, Ordering::Relaxed);
            let _open = Open(self.open.clone());
            drop(accepted.stream.set_nodelay(true));
            self.connection(accepted.stream, accepted.client, draining)
                .await;
        });
    }

    async fn connection(&self, mut socket: TcpStream, client: SocketAddr, draining: ShutdownWatch) {
        let mut waiting = Waiting::new(client.ip());
        let mut first = true;
        // They last as long as the connection: to make them anew for each request costs more than most of it.
        let mut ends = Ends {
            has_begun: *draining.borrow(),
            alarm: pin!(sleep(self.timeouts.client_header)),
            drained: pin!(drained(draining.clone())),
            draining: draining.clone(),
        };
        loop {
            match self.hits(&mut socket, &mut waiting, first, &mut ends).await {
                Idle::Left(Left::Unread) => {
                    let unread = std::mem::take(&mut waiting.unread);
                    first &= !waiting.has_asked;
                    // Boxed, so that a connection that waits is as small as one that only waits.
                    let general = self.general(socket, unread, client, first, &draining);
                    match Box::pin(general).await {
                        Some((kept, rest)) => (socket, waiting.unread) = (kept, rest.into()),
                        None => return,
                    }
                }
                Idle::Left(Left::Unwritten(head, body)) => {
                    let patience = self.timeouts.client_write;
                    let rest = write::all(&mut socket, [&head, &body], patience);
                    if Box::pin(rest).await.is_err() {
                        return;
                    }
                }
                Idle::Left(Left::Closed) => return,
                Idle::Silent => return refuse::close(socket).await,
            }
            first = false;
        }
    }

    /// Answers hits as they come, until something else is to be done.
    async fn hits<D: Future<Output = ()>>(
        &self,
        socket: &mut TcpStream,
        waiting: &mut Waiting,
        first: bool,
        ends: &mut Ends<'_, D>,
    ) -> Idle {
        let hits = Hits {
            engine: &self.lane.engine,
            metrics: &self.metrics,
        };
        // A new connection is expected to speak, a kept one may be silent for a while.
        let patience = match first {
            true => self.timeouts.client_header,
            false => self.timeouts.client_idle,
        };
        (waiting.spoke, waiting.has_spoken) = (Instant::now(), false);
        let end = waiting.spoke + patience;
        // One that goes off too early is set again then.
        if ends.alarm.deadline() > end.into() {
            ends.alarm.as_mut().reset(end.into());
        }
        // Whether both ends have been asked to wake this task.
        let mut is_armed = false;
        poll_fn(|context| {
            let has_read = match hits.poll(socket, waiting, context, !ends.is_draining()) {
                Ok(has_read) => has_read,
                Err(left) => return Poll::Ready(Idle::Left(left)),
            };
            if has_read && is_armed && !ends.alarm.is_elapsed() && !ends.is_draining() {
                return Poll::Pending;
            }
            is_armed = true;
            if ends.drained.as_mut().poll(context).is_ready() {
                return Poll::Ready(Idle::Silent);
            }
            while ends.alarm.as_mut().poll(context).is_ready() {
                // Since the alarm was set something may have come.
                let patience = match waiting.has_spoken {
                    true => self.timeouts.client_idle,
                    false => patience,
                };
                let end = waiting.spoke + patience;
                if Instant::now() >= end {
                    return Poll::Ready(Idle::Silent);
                }
                ends.alarm.as_mut().reset(end.into());
            }
            Poll::Pending
        })
        .await
    }

    /// One request that is no hit; gives the connection back, and what came behind it, when another may follow.
    async fn general(
        &self,
        mut socket: TcpStream,
        unread: Vec<u8>,
        client: SocketAddr,
        first: bool,
        draining: &ShutdownWatch,
    ) -> Option<(TcpStream, BytesMut)> {
        let mut buffer = BytesMut::from(Bytes::from(unread));
        let head = self.finish_head(&mut socket, &mut buffer, first);
        let read = write::within(self.timeouts.client_header, head)
            .await
            .unwrap_or(Read::Fault(Fault::TooSlow));
        let (head_bytes, body) = match read {
            Read::Head { head_bytes, body } => (head_bytes, body),
            Read::Http2 => {
                Box::pin(self.http2(socket, client, buffer, draining.clone())).await;
                return None;
            }
            Read::Fault(fault) => {
                refuse::refuse(socket, fault, &self.metrics).await;
                return None;
            }
            Read::Closed => return None,
        };
        let head = buffer.get(..head_bytes).unwrap_or_default();
        let parsed = (body == Body::None).then(|| Parsed::new(head)).flatten();
        let served = match parsed {
            Some(parsed) => {
                // Whoever has sent several requests at once gets all the answers.
                let more = buffer.len() > head_bytes;
                let last = || !more && *draining.borrow();
                self.lane
                    .serve(&mut socket, &parsed, client.ip(), last)
                    .await
            }
            None => Served::Passes,
        };
        match served {
            Served::Persists => {
                buffer.advance(head_bytes);
                Some((socket, buffer))
            }
            Served::Closes => {
                refuse::close(socket).await;
                None
            }
            Served::Passes => {
                let exchange =
                    self.exchange(socket, client, &mut buffer, head_bytes, body, draining);
                let socket = Box::pin(exchange).await?;
                Some((socket, buffer))
            }
        }
    }

    /// A connection that speaks HTTP/2: Pingora's until its end, which comes soon once draining has begun.
    async fn http2(
        &self,
        socket: TcpStream,
        client: SocketAddr,
        read: BytesMut,
        mut draining: ShutdownWatch,
    ) {
        if *draining.borrow() {
            // Pingora waits for a change, and this one was seen while we waited for the preface.
            draining.mark_changed();
        }
        let (gate, mut returned) = Gate::http2(socket, client, read);
        self.proxy.process_new(Box::new(gate), &draining).await;
        if let Ok((socket, _)) = returned.try_recv() {
            refuse::close(socket).await;
        }
    }

    /// One request through Pingora; gives the connection back when another may follow.
    async fn exchange(
        &self,
        socket: TcpStream,
        client: SocketAddr,
        buffer: &mut BytesMut,
        head_bytes: usize,
        body: Body,
        draining: &ShutdownWatch,
    ) -> Option<TcpStream> {
        let upgrade = head::asks_for_upgrade(buffer.get(..head_bytes).unwrap_or_default());
        let (own, rest) = match own_bytes(buffer, head_bytes, body) {
            Ok(own) => own,
            Err(Broken) => {
                let fault = Fault::Malformed("The request's chunks are malformed.");
                refuse::refuse(socket, fault, &self.metrics).await;
                return None;
            }
        };
        // Pingora says at its beginning whether an answer is the last, which one with another request behind it is not.
        let draining = match buffer.is_empty() {
            true => draining,
            false => &self.never,
        };
        let (gate, mut returned) = Gate::new(socket, client, rest, upgrade, buffer.split());
        let mut session = ServerSession::new_http1(Box::new(gate));
        session.set_keepalive(Some(self.timeouts.client_idle.as_secs().max(1)));
        let mut settings = HttpPersistentSettings::for_session(&session);
        settings.set_pipelined_prefix(own);
        settings.apply_to_session(&mut session);
        let persists = self
            .proxy
            .process_new_http(session, draining)
            .await
            .map(drop)
            .is_some();
        let (mut socket, next) = returned.try_recv().ok()?;
        if persists {
            *buffer = next;
            // Of what Pingora wrote, something may still be here.
            let flushed = timeout(self.timeouts.client_write, socket.flush()).await;
            return flushed
                .is_ok_and(|f| f.is_ok())
                .then(|| socket.into_inner());
        }
        refuse::close(socket).await;
        None
    }

    /// Reads until the buffer holds a whole head, or the beginning of HTTP/2.
    async fn finish_head<S: AsyncReadExt + Unpin>(
        &self,
        stream: &mut S,
        buffer: &mut BytesMut,
        mut first: bool,
    ) -> Read {
        loop {
            if first && buffer.starts_with(H2_PREFACE) {
                return Read::Http2;
            }
            // HTTP/2's preface looks like a request until its last line.
            let may_be_http2 = first && H2_PREFACE.starts_with(buffer);
            // Whoever begins with an empty line speaks HTTP/1.x, in however many pieces it comes.
            first &= !head::skip_blank_lines(buffer);
            match head::end(buffer) {
                _ if may_be_http2 => {}
                Some(head_bytes) if head_bytes <= HEAD_BYTES_MAX => {
                    return match head::check(buffer.get(..head_bytes).unwrap_or_default()) {
                        Ok(body) => Read::Head { head_bytes, body },
                        Err(fault) => Read::Fault(fault),
                    };
                }
                None if buffer.len() <= HEAD_BYTES_MAX => {
                    if let Some(fault) = head::hopeless(buffer) {
                        return Read::Fault(fault);
                    }
                }
                _ => return Read::Fault(Fault::TooLarge),
            }
            buffer.reserve(READ_BYTES);
            match stream.read_buf(buffer).await {
                Ok(bytes) if bytes > 0 => {}
                _ => return Read::Closed,
            }
        }
    }
}

/// Takes the request's own bytes, and tells what has yet to come. What follows them is the next request's and stays with us.
fn own_bytes(
    buffer: &mut BytesMut,
    head_bytes: usize,
    body: Body,
) -> Result<(BytesMut, Rest), Broken> {
    let read = buffer.len().saturating_sub(head_bytes);
    let (body_bytes, rest) = match body {
        Body::None => (0, Rest::None),
        Body::Sized(bytes) => {
            let own = usize::try_from(bytes).map_or(read, |bytes| bytes.min(read));
            (own, Rest::Sized(bytes.saturating_sub(own as u64)))
        }
        Body::Chunked => {
            let mut chunks = Chunks::default();
            let own = chunks.take(buffer.get(head_bytes..).unwrap_or_default())?;
            (own, Rest::Chunked(chunks))
        }
    };
    let end = head_bytes.saturating_add(body_bytes).min(buffer.len());
    Ok((buffer.split_to(end), rest))
}

/// Resolves when draining has begun and a request that was under way by then would have come.
async fn drained(mut draining: ShutdownWatch) {
    if draining.wait_for(|draining| *draining).await.is_err() {
        // Whoever could say so is gone: nobody will.
        std::future::pending::<()>().await;
    }
    sleep(LAST_WORD_WAIT).await;
}

struct Accepted {
    stream: TcpStream,
    client: SocketAddr,
    place: tokio::sync::OwnedSemaphorePermit,
}

/// Counts a connection for as long as it lives.
struct Open(Arc<AtomicU64>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
