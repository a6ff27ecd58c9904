//! Connections: accepts them up to a limit, speaks HTTP/1.1 and h2c on each, and drains them when it is told to stop.

use crate::api::{App, exchange};
use axum::Router;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a connection may take for a request's head, and how long it may stand idle between two requests.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a connection may take until its first request has come whole. It also covers what the protocols' own timeouts
/// leave out: a connection on which nothing comes at all, or half of HTTP/2's preface.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// How often a silent HTTP/2 connection is asked whether it still stands.
const H2_KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const H2_STREAMS_MAX: u32 = 128;
/// What is left of the 8 s that a stop may take, after the database has been closed too.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(7);
/// After a failed accept (out of file descriptors, mostly) a pause instead of a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until `stop` is ready, then lets the requests under way finish. Idle connections are closed at once.
pub async fn serve(
    listener: TcpListener,
    app: Arc<App>,
    router: Router,
    connections_max: u32,
    stop: impl Future<Output = ()>,
) {
    let graceful = GracefulShutdown::new();
    let permits = Arc::new(Semaphore::new(
        usize::try_from(connections_max).unwrap_or(Semaphore::MAX_PERMITS),
    ));
    let mut stop = std::pin::pin!(stop);
    loop {
        // A permit first: connections beyond the limit wait in the kernel's queue.
        let accepted = async {
            let permit = Arc::clone(&permits).acquire_owned().await.ok()?;
            Some((permit, listener.accept().await))
        };
        tokio::select! {
            () = &mut stop => break,
            accepted = accepted => match accepted {
                Some((permit, Ok((stream, peer)))) => {
                    let connection = Connection { app: Arc::clone(&app), router: router.clone(), peer, _permit: permit };
                    tokio::spawn(connection.run(stream, graceful.watcher()));
                }
                Some((_, Err(error))) => {
                    tracing::warn!(%error, "cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                None => break,
            },
        }
    }
    drop(listener);
    match tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await {
        Ok(()) => tracing::info!("drained"),
        Err(_) => tracing::warn!("connections were still busy when the time to drain ran out"),
    }
}

struct Connection {
    app: Arc<App>,
    router: Router,
    peer: SocketAddr,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    async fn run(self, stream: TcpStream, watcher: Watcher) {
        // Answers are small and written whole: nothing is gained by waiting for more.
        let _ = stream.set_nodelay(true);
        let begun = AtomicBool::new(false);
        let service = service_fn(|request: hyper::Request<Incoming>| {
            begun.store(true, Ordering::Relaxed);
            let (app, router, peer) = (Arc::clone(&self.app), self.router.clone(), self.peer);
            async move { Ok::<_, Infallible>(exchange(&app, router, peer, request).await) }
        });
        let builder = builder();
        let served = watcher.watch(builder.serve_connection(TokioIo::new(stream), service));
        let mut served = std::pin::pin!(served);
        let ended = tokio::select! {
            ended = &mut served => ended,
            () = tokio::time::sleep(FIRST_REQUEST_TIMEOUT) => {
                if !begun.load(Ordering::Relaxed) {
                    return;
                }
                served.await
            }
        };
        if let Err(error) = ended {
            // A client that speaks badly or leaves early is its own affair.
            tracing::debug!(peer = %self.peer, %error, "connection ended");
        }
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(H2_KEEP_ALIVE_INTERVAL)
        .max_concurrent_streams(H2_STREAMS_MAX);
    builder
}
