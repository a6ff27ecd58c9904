//! The Unix socket on which two processes of one owner meet, and whether it is private.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixSocket, UnixStream};

/// Processes that may wait for their turn at an offer: there should be one.
const BACKLOG: u32 = 8;
/// Bits of a folder's mode that let others put files into it.
const WRITABLE_BY_OTHERS: u32 = 0o022;
const OWNER_ONLY: u32 = 0o600;

/// Why a path is no private place to meet.
#[derive(Debug, thiserror::Error)]
pub enum NotPrivate {
    /// The folder can't be looked at.
    #[error("upgrade_sock: the folder {0} can't be read: {1}")]
    Folder(PathBuf, io::Error),
    /// Somebody else could put another socket in its place.
    #[error(
        "upgrade_sock: the folder {0} must belong to this user, or root, and be writable by its owner alone (chmod 700)"
    )]
    Others(PathBuf),
}

/// A socket file that is bound, listened on, and removed with this.
#[derive(Debug)]
pub struct Meeting {
    listener: UnixListener,
    path: PathBuf,
    inode: Option<u64>,
}

impl Meeting {
    /// Is the folder one where only its owner can place a socket? To be asked early: an upgrade is a bad moment to find out.
    pub fn check(path: &Path) -> Result<(), NotPrivate> {
        let folder = path.parent().unwrap_or_else(|| Path::new("/"));
        let about = std::fs::metadata(folder)
            .map_err(|error| NotPrivate::Folder(folder.to_owned(), error))?;
        match is_private(about.uid(), about.mode(), own_uid()) {
            true => Ok(()),
            false => Err(NotPrivate::Others(folder.to_owned())),
        }
    }

    /// Makes the socket. One that a process left behind when it died is replaced; one on which somebody listens is not, nor is any
    /// other kind of file.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::check(path).map_err(io::Error::other)?;
        let socket = UnixSocket::new_stream()?;
        match socket.bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_left_behind(path)? => {
                std::fs::remove_file(path)?;
                socket.bind(path)?;
            }
            bound => bound?,
        }
        let inode = std::fs::symlink_metadata(path)
            .ok()
            .map(|about| about.ino());
        // Before it is listened on, so that nobody else gets a connection in between.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(OWNER_ONLY))?;
        Ok(Self {
            listener: socket.listen(BACKLOG)?,
            path: path.to_owned(),
            inode,
        })
    }

    /// The next process of our own user; others are turned away.
    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            match stranger(&stream)? {
                None => return Ok(stream),
                Some(uid) => {
                    tracing::warn!(uid, "turned another user away from the upgrade socket")
                }
            }
        }
    }
}

impl Drop for Meeting {
    fn drop(&mut self) {
        // Somebody may have replaced it; then it is theirs.
        let now = std::fs::symlink_metadata(&self.path).ok();
        if self.inode.is_some() && now.map(|about| about.ino()) == self.inode {
            drop(std::fs::remove_file(&self.path));
        }
    }
}

/// The user at the other end, when that is another than ours.
pub(super) fn stranger(stream: &UnixStream) -> io::Result<Option<u32>> {
    let uid = stream.peer_cred()?.uid();
    Ok((uid != own_uid()).then_some(uid))
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn is_private(owner: u32, mode: u32, own: u32) -> bool {
    (owner == own || owner == 0) && mode & WRITABLE_BY_OTHERS == 0
}

/// A socket on which nobody listens any more?
fn is_left_behind(path: &Path) -> io::Result<bool> {
    let about = std::fs::symlink_metadata(path)?;
    if !about.file_type().is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "a file that is no socket is in its place",
        ));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(true),
        Err(error) => Err(error),
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another process offers its sockets there already",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_private_when_nobody_else_can_write_to_it() {
        assert!(is_private(1000, 0o40_700, 1000));
        assert!(is_private(1000, 0o40_755, 1000));
        assert!(is_private(0, 0o40_755, 1000), "root could do anything");
        assert!(!is_private(1001, 0o40_700, 1000));
        assert!(!is_private(1000, 0o40_770, 1000));
        assert!(!is_private(0, 0o41_777, 1000), "as /tmp is");
    }

    fn mode(path: &Path) -> u32 {
        std::fs::symlink_metadata(path).unwrap().mode() & 0o777
    }

    #[tokio::test]
    async fn the_socket_is_its_owners_alone_and_goes_with_the_meeting() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("upgrade.sock");
        let meeting = Meeting::open(&path).unwrap();
        assert_eq!(mode(&path), 0o600);
        let (client, accepted) = tokio::join!(UnixStream::connect(&path), meeting.accept());
        assert_eq!(stranger(&client.unwrap()).unwrap(), None);
        drop((accepted.unwrap(), meeting));
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_socket_left_behind_is_replaced_and_no_other_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("upgrade.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "as a killed process leaves it");
        let meeting = Meeting::open(&path).unwrap();
        let second = Meeting::open(&path).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        drop(meeting);
        std::fs::write(&path, "mine").unwrap();
        assert!(Meeting::open(&path).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    }

    #[tokio::test]
    async fn a_meeting_leaves_the_socket_of_its_successor_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("upgrade.sock");
        let first = Meeting::open(&path).unwrap();
        std::fs::rename(&path, folder.path().join("old")).unwrap();
        let second = Meeting::open(&path).unwrap();
        drop(first);
        assert!(path.exists());
        drop(second);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_folder_that_others_can_write_to_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("upgrade.sock");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(Meeting::check(&path), Err(NotPrivate::Others(_))));
        assert!(Meeting::open(&path).is_err() && !path.exists());
        let nowhere = folder.path().join("no/upgrade.sock");
        assert!(matches!(
            Meeting::check(&nowhere),
            Err(NotPrivate::Folder(..))
        ));
    }
}
