//! An address that stays while what stands behind it goes, comes and changes, or grows slow on the way.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;

/// Where a gate leads.
#[derive(Debug, Clone)]
pub(crate) enum To {
    Tcp(SocketAddr),
    Unix(PathBuf),
    /// Connections are closed at once.
    Nowhere,
}

/// How what comes through gets on. It holds for connections that stand already too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    Free,
    /// So many bytes at most, and each time after such a wait.
    Slow {
        wait: Duration,
        bytes_max: usize,
    },
    /// Nothing gets on, and nobody is told.
    Stalled,
}

/// Ends with the test's runtime.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) address: SocketAddr,
    to: Arc<Mutex<To>>,
    pace: watch::Sender<Pace>,
}

impl Gate {
    pub(crate) async fn leading(to: To) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let to = Arc::new(Mutex::new(to));
        let target = Arc::clone(&to);
        let (pace, given) = watch::channel(Pace::Free);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let to = target
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone();
                let pace = given.clone();
                tokio::spawn(async move {
                    match to {
                        To::Tcp(address) => {
                            join(client, TcpStream::connect(address).await, pace).await;
                        }
                        To::Unix(path) => join(client, UnixStream::connect(path).await, pace).await,
                        To::Nowhere => {}
                    }
                });
            }
        });
        Self { address, to, pace }
    }

    /// New connections go there.
    pub(crate) fn lead(&self, to: To) {
        *self.to.lock().unwrap_or_else(PoisonError::into_inner) = to;
    }

    /// From now on, all that comes through gets on like this.
    pub(crate) fn pace(&self, pace: Pace) {
        self.pace.send_replace(pace);
    }
}

/// When one side ends, the other is let go at once.
async fn join(
    client: TcpStream,
    server: std::io::Result<impl AsyncRead + AsyncWrite + Unpin>,
    pace: watch::Receiver<Pace>,
) {
    let Ok(server) = server else {
        return;
    };
    let ((from_client, to_client), (from_server, to_server)) = (split(client), split(server));
    tokio::select! {
        _ = carry(from_client, to_server, pace.clone()) => {}
        _ = carry(from_server, to_client, pace) => {}
    }
}

async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut pace: watch::Receiver<Pace>,
) -> std::io::Result<()> {
    let mut bytes = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut bytes).await?;
        let mut rest = bytes.get(..read).unwrap_or_default();
        if rest.is_empty() {
            return Ok(());
        }
        while !rest.is_empty() {
            let now = *pace.borrow_and_update();
            let length = match now {
                Pace::Free => rest.len(),
                Pace::Slow { wait, bytes_max } => {
                    // The gate is gone: so is its pace.
                    let _ = tokio::time::timeout(wait, pace.changed()).await;
                    rest.len().min(bytes_max)
                }
                Pace::Stalled => {
                    if pace.changed().await.is_err() {
                        return Ok(());
                    }
                    continue;
                }
            };
            let (head, tail) = rest.split_at(length);
            to.write_all(head).await?;
            rest = tail;
        }
    }
}
