//! The words of the protocol on the wire, and sockets beside them (SCM_RIGHTS).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;

use super::Sockets;

/// Names the protocol; the sockets come with its first byte.
const HELLO: &[u8] = b"larder sockets 1\n";
const SOCKETS: usize = 2;
const WORD_BYTES: usize = 6;

/// What is said after the sockets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Word {
    /// The new process could serve now.
    Ready,
    /// It shall.
    Yours,
    /// It shall not: the running one goes on.
    Never,
}

impl Word {
    const ALL: [Self; 3] = [Self::Ready, Self::Yours, Self::Never];

    fn bytes(self) -> &'static [u8; WORD_BYTES] {
        match self {
            Self::Ready => b"ready\n",
            Self::Yours => b"yours\n",
            Self::Never => b"never\n",
        }
    }
}

pub(super) async fn say(stream: &mut UnixStream, word: Word) -> io::Result<()> {
    stream.write_all(word.bytes()).await
}

/// The next word. `UnexpectedEof` when the other side is gone.
pub(super) async fn hear(stream: &mut UnixStream) -> io::Result<Word> {
    let mut bytes = [0; WORD_BYTES];
    stream.read_exact(&mut bytes).await?;
    let word = Word::ALL.into_iter().find(|word| *word.bytes() == bytes);
    word.ok_or_else(|| invalid("the other process says what this one doesn't understand"))
}

/// Sends the listening sockets; ours stay open.
pub(super) async fn send_sockets(stream: &UnixStream, sockets: &Sockets) -> io::Result<()> {
    let fds = [sockets.clients.as_fd(), sockets.operators.as_fd()];
    let sent = stream.async_io(Interest::WRITABLE, || {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&fds));
        let bytes = [IoSlice::new(HELLO)];
        Ok(sendmsg(stream, &bytes, &mut control, SendFlags::empty())?)
    });
    match sent.await? {
        bytes if bytes == HELLO.len() => Ok(()),
        // The buffer of a new connection holds far more.
        _ => Err(invalid("the connection took only a part of a line")),
    }
}

/// Receives what [`send_sockets`] sent. What isn't just that is refused, and closed.
pub(super) async fn receive_sockets(stream: &UnixStream) -> io::Result<Sockets> {
    let (hello, fds) = stream
        .async_io(Interest::READABLE, || receive(stream))
        .await?;
    if hello.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if hello != HELLO {
        return Err(invalid("the running process speaks another version"));
    }
    let [clients, operators] = <[OwnedFd; SOCKETS]>::try_from(fds)
        .map_err(|_| invalid("the running process did not send two sockets"))?;
    Ok(Sockets {
        clients: listening(clients)?,
        operators: listening(operators)?,
    })
}

fn receive(stream: &UnixStream) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut hello = vec![0; HELLO.len()];
    let mut bytes = [IoSliceMut::new(&mut hello)];
    let received = recvmsg(stream, &mut bytes, &mut control, RECEIVE)?.bytes;
    hello.truncate(received);
    let fds = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        })
        .flatten()
        .collect();
    Ok((hello, fds))
}

#[cfg(target_os = "linux")]
const RECEIVE: RecvFlags = RecvFlags::CMSG_CLOEXEC;
/// Elsewhere they would be passed on to programs that this process starts; it starts none.
#[cfg(not(target_os = "linux"))]
const RECEIVE: RecvFlags = RecvFlags::empty();

fn listening(fd: OwnedFd) -> io::Result<TcpListener> {
    if !rustix::net::sockopt::socket_acceptconn(&fd)? {
        return Err(invalid(
            "the running process sent a socket that doesn't listen",
        ));
    }
    let listener = TcpListener::from(fd);
    // Fails unless it is of the Internet's kind.
    listener.local_addr()?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpStream};

    fn listener() -> TcpListener {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
    }

    #[tokio::test]
    async fn sockets_arrive_in_their_order_and_listen_on() {
        let (here, there) = UnixStream::pair().unwrap();
        let sent = Sockets {
            clients: listener(),
            operators: listener(),
        };
        let addresses = [&sent.clients, &sent.operators].map(|l| l.local_addr().unwrap());
        send_sockets(&here, &sent).await.unwrap();
        let got = receive_sockets(&there).await.unwrap();
        assert_eq!(got.clients.local_addr().unwrap(), addresses[0]);
        assert_eq!(got.operators.local_addr().unwrap(), addresses[1]);
        // Whoever waits in the queue is still there when the sender has closed its own.
        let waiting = TcpStream::connect(addresses[0]).unwrap();
        drop(sent);
        let (_, client) = got.clients.accept().unwrap();
        assert_eq!(client, waiting.local_addr().unwrap());
    }

    #[tokio::test]
    async fn words_arrive_as_they_were_said_and_others_are_refused() {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        for word in Word::ALL {
            say(&mut here, word).await.unwrap();
            assert_eq!(hear(&mut there).await.unwrap(), word);
        }
        here.write_all(b"maybe\n").await.unwrap();
        let error = hear(&mut there).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        drop(here);
        let error = hear(&mut there).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn what_is_not_two_listening_sockets_is_refused() {
        let refused = async |bytes: &[u8], fds: &[OwnedFd]| {
            let (here, there) = UnixStream::pair().unwrap();
            let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !fds.is_empty() {
                assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
            }
            sendmsg(
                &here,
                &[IoSlice::new(bytes)],
                &mut control,
                SendFlags::empty(),
            )
            .unwrap();
            receive_sockets(&there).await.unwrap_err().to_string()
        };
        let one = || OwnedFd::from(listener());
        let open = OwnedFd::from(TcpStream::connect(listener().local_addr().unwrap()).unwrap());
        assert!(refused(HELLO, &[]).await.contains("two sockets"));
        assert!(refused(HELLO, &[one()]).await.contains("two sockets"));
        assert!(
            refused(HELLO, &[one(), open])
                .await
                .contains("doesn't listen")
        );
        assert!(
            refused(b"larder sockets 2\n", &[one(), one()])
                .await
                .contains("version")
        );
    }
}
