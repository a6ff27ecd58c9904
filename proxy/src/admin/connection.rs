//! Accepts connections of the admin port and serves them, within [`Limits`](super::Limits).

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::{AdminSettings, Operations, routes};

/// How long requests under way may take to end after the shutdown. Short: clients have been served by then, and the process is about to end.
const DRAIN: Duration = Duration::from_secs(1);

/// After a failed accept (mostly: no file descriptor left) it would fail again at once, and spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `shutdown` completes, then lets requests under way end.
pub async fn serve(
    listener: TcpListener,
    settings: AdminSettings,
    operations: Arc<dyn Operations>,
    shutdown: impl Future<Output = ()>,
) {
    let settings = Arc::new(settings);
    let places = Arc::new(Semaphore::new(settings.limits.connections_max));
    let connections = TaskTracker::new();
    let ending = CancellationToken::new();
    let accepting = async {
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return; // Nobody closes the semaphore.
            };
            let stream = accept(&listener).await;
            let connection = connection(
                stream,
                Arc::clone(&settings),
                Arc::clone(&operations),
                ending.clone(),
            );
            connections.spawn(async move {
                connection.await;
                drop(place);
            });
        }
    };
    tokio::select! {
        () = accepting => {}
        () = shutdown => {}
    }
    drop(listener);
    ending.cancel();
    connections.close();
    if tokio::time::timeout(DRAIN, connections.wait())
        .await
        .is_err()
    {
        warn!("admin connections were cut off after {DRAIN:?}");
    }
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                warn!(%error, "the admin port can't accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    settings: Arc<AdminSettings>,
    operations: Arc<dyn Operations>,
    ending: CancellationToken,
) {
    let limits = settings.limits;
    let service = service_fn(move |request| {
        let answer = routes::answer(request, Arc::clone(&settings), Arc::clone(&operations));
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(limits.head_bytes_max)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = ending.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let end = tokio::time::timeout(DRAIN, connection.as_mut()).await;
            end.unwrap_or(Ok(()))
        }
        // Old and perhaps stuck: dropped. Clients open another.
        () = tokio::time::sleep(limits.connection_timeout) => Ok(()),
    };
    if let Err(error) = ended {
        debug!(%error, "an admin connection broke off");
    }
}
