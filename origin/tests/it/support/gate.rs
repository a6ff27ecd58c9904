//! An address that stays while what stands behind it goes, comes and changes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixStream};

/// Where a gate leads.
#[derive(Debug, Clone)]
pub(crate) enum To {
    Tcp(SocketAddr),
    Unix(PathBuf),
    /// Connections are closed at once.
    Nowhere,
}

/// Ends with the test's runtime.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) address: SocketAddr,
    to: Arc<Mutex<To>>,
}

impl Gate {
    pub(crate) async fn leading(to: To) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let to = Arc::new(Mutex::new(to));
        let target = Arc::clone(&to);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let to = target
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone();
                tokio::spawn(async move {
                    match to {
                        To::Tcp(address) => join(client, TcpStream::connect(address).await).await,
                        To::Unix(path) => join(client, UnixStream::connect(path).await).await,
                        To::Nowhere => {}
                    }
                });
            }
        });
        Self { address, to }
    }

    /// New connections go there.
    pub(crate) fn lead(&self, to: To) {
        *self.to.lock().unwrap_or_else(PoisonError::into_inner) = to;
    }
}

async fn join(mut client: TcpStream, server: std::io::Result<impl AsyncRead + AsyncWrite + Unpin>) {
    if let Ok(mut server) = server {
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}
