//! The new process's side: waits for an offer, takes the sockets, and says when it could serve.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::meeting::{self, Meeting, NotPrivate};
use super::pass::{self, Word};
use super::{Sockets, UpgradeSettings};

/// Between two looks whether somebody offers. Whoever upgrades doesn't feel it, and it costs nothing.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long the running process may take to answer `ready`: it has nothing to do for that.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Why there are no sockets to serve on.
#[derive(Debug, thiserror::Error)]
pub enum NotOffered {
    /// Nobody was told, or nobody runs.
    #[error(
        "nobody offered its sockets on {} within {} s; send SIGQUIT to the running process, or start without --upgrade", .0.display(), .1.as_secs_f64()
    )]
    Nobody(PathBuf, Duration),
    /// The place is not safe.
    #[error(transparent)]
    NotPrivate(#[from] NotPrivate),
    /// Somebody else offers there.
    #[error("the sockets on {} are offered by another user ({}): refused", .0.display(), .1)]
    Stranger(PathBuf, u32),
    /// The running process went back on it.
    #[error("the running process goes on serving: it waited too long for this one")]
    TooLate,
    /// Something else.
    #[error("can't take the sockets over on {}: {}", .0.display(), .1)]
    Broken(PathBuf, io::Error),
}

/// The running process, waiting to hear that this one could serve. Dropping it leaves everything as it was.
#[derive(Debug)]
pub struct Takeover {
    stream: UnixStream,
    path: PathBuf,
}

/// Waits for an offer and takes it.
pub async fn take(settings: &UpgradeSettings) -> Result<(Sockets, Takeover), NotOffered> {
    let path = &settings.socket;
    Meeting::check(path)?;
    let end = Instant::now() + settings.patience;
    let nobody = || NotOffered::Nobody(path.clone(), settings.patience);
    loop {
        if let Some(stream) = connect(path).await? {
            match timeout_at(end, pass::receive_sockets(&stream)).await {
                Ok(Ok(sockets)) => {
                    let path = path.clone();
                    return Ok((sockets, Takeover { stream, path }));
                }
                // It gave up before it was our turn; it may be told again.
                Ok(Err(error)) if is_gone(&error) => {}
                Ok(Err(error)) => return Err(NotOffered::Broken(path.clone(), error)),
                Err(_) => return Err(nobody()),
            }
        }
        let next = Instant::now() + LOOK_EVERY;
        if next >= end {
            return Err(nobody());
        }
        sleep_until(next).await;
    }
}

impl Takeover {
    /// To be called when everything is there to serve; on success the sockets are this process's, and it must accept.
    pub async fn confirm(mut self) -> Result<(), NotOffered> {
        let answer = async {
            // Also when it fails: the other side may have said `never` before it closed.
            let _ = pass::say(&mut self.stream, Word::Ready).await;
            pass::hear(&mut self.stream).await
        };
        match timeout(ANSWER_MAX, answer).await {
            Ok(Ok(Word::Yours)) => Ok(()),
            Ok(Err(error)) if is_gone(&error) => {
                tracing::warn!(
                    "the former process ended before it handed over; serving in its place"
                );
                Ok(())
            }
            Ok(Ok(Word::Never | Word::Ready)) | Err(_) => Err(NotOffered::TooLate),
            Ok(Err(error)) => Err(NotOffered::Broken(self.path, error)),
        }
    }
}

/// None while nobody offers.
async fn connect(path: &Path) -> Result<Option<UnixStream>, NotOffered> {
    let broken = |error| NotOffered::Broken(path.to_owned(), error);
    let stream = match UnixStream::connect(path).await {
        Ok(stream) => stream,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(broken(error)),
    };
    match meeting::stranger(&stream).map_err(broken)? {
        None => Ok(Some(stream)),
        Some(uid) => Err(NotOffered::Stranger(path.to_owned(), uid)),
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (UnixStream, Takeover) {
        let (running, stream) = UnixStream::pair().unwrap();
        let path = PathBuf::from("/tmp/upgrade.sock");
        (running, Takeover { stream, path })
    }

    #[tokio::test]
    async fn the_sockets_are_ours_when_the_running_process_says_so_or_is_gone() {
        let (mut running, takeover) = pair();
        let confirmed = tokio::spawn(takeover.confirm());
        assert_eq!(pass::hear(&mut running).await.unwrap(), Word::Ready);
        pass::say(&mut running, Word::Yours).await.unwrap();
        confirmed.await.unwrap().unwrap();
        let (running, takeover) = pair();
        drop(running);
        takeover.confirm().await.unwrap();
    }

    #[tokio::test]
    async fn a_never_counts_also_when_its_sender_has_hung_up() {
        let (mut running, takeover) = pair();
        pass::say(&mut running, Word::Never).await.unwrap();
        drop(running);
        assert!(matches!(takeover.confirm().await, Err(NotOffered::TooLate)));
        // Both spoke at the same time.
        let (mut running, mut takeover) = pair();
        pass::say(&mut takeover.stream, Word::Ready).await.unwrap();
        pass::say(&mut running, Word::Never).await.unwrap();
        drop(running);
        assert!(matches!(takeover.confirm().await, Err(NotOffered::TooLate)));
    }
}
