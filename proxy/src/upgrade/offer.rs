//! The running process's side: offers its sockets, and goes on as before unless somebody takes them.

use std::io;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::meeting::Meeting;
use super::pass::{self, Word};
use super::{Sockets, UpgradeSettings};

/// How long a new process that has the sockets may take to be ready to serve on them: a few hundred milliseconds are usual.
const READY_MAX: Duration = Duration::from_secs(10);

/// Why the sockets are still ours.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// The socket to meet on could not be made.
    #[error("can't offer the sockets: {0}")]
    Socket(io::Error),
    /// No new process came, or none that got ready.
    #[error("no new process took the sockets in time")]
    Nobody,
}

/// Offers the sockets until a new process has said that it is ready and was told that they are its own. From then on the caller
/// must not accept any more. An error means that nothing has changed.
pub async fn offer(sockets: &Sockets, settings: &UpgradeSettings) -> Result<(), NotTaken> {
    let end = Instant::now() + settings.patience;
    let meeting = Meeting::open(&settings.socket).map_err(NotTaken::Socket)?;
    loop {
        let mut stream = match timeout_at(end, meeting.accept()).await {
            Ok(accepted) => accepted.map_err(NotTaken::Socket)?,
            Err(_) => return Err(NotTaken::Nobody),
        };
        match timeout(READY_MAX, wait_until_ready(&mut stream, sockets)).await {
            Ok(Ok(())) => {}
            // Another may do better, or the same once it is started again.
            Ok(Err(error)) => {
                tracing::warn!(%error, "a new process went away before it was ready");
                continue;
            }
            Err(_) => {
                drop(pass::say(&mut stream, Word::Never).await);
                return Err(NotTaken::Nobody);
            }
        }
        // The new process may offer them itself from now on, on this very path.
        drop(meeting);
        return pass::say(&mut stream, Word::Yours)
            .await
            .map_err(|_| NotTaken::Nobody);
    }
}

async fn wait_until_ready(stream: &mut UnixStream, sockets: &Sockets) -> io::Result<()> {
    pass::send_sockets(stream, sockets).await?;
    match pass::hear(stream).await? {
        Word::Ready => Ok(()),
        Word::Yours | Word::Never => Err(io::ErrorKind::InvalidData.into()),
    }
}
