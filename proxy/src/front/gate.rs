//! Gives Pingora the bytes of one request and not one more.
//!
//! Pingora finds the end of chunked content by rules laxer than ours, and takes whatever comes behind a request while that is
//! being answered for an offence. Behind the gate it sees content that passed [`Chunks`], and then silence: the next request's
//! bytes wait here. When the answer switches protocols (101) the gate opens: what waits, and what follows, is no HTTP any more.
//!
//! Pingora drops a connection that it is done with, and bytes that have come by then would make that a reset, which can destroy the
//! answer on its way (RFC 9112 §9.6). So a gate that is dropped gives its connection back.

use super::chunks::{Broken, Chunks};
use super::deferral::Deferral;
use async_trait::async_trait;
use bytes::BytesMut;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufWriter, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// Bytes of following requests that wait here; more wait in the socket.
const HELD_BYTES_MAX: usize = 4096;
/// What is written waits here until it is as much, or flushed.
const WRITE_BYTES: usize = 4096;
/// The same of HTTP/2, where several answers may wait.
const HTTP2_WRITE_BYTES: usize = 16 * 1024;

/// What of the request has not yet come.
#[derive(Debug)]
pub(super) enum Rest {
    Sized(u64),
    Chunked(Chunks),
    /// Nothing, and then another request.
    None,
    /// Whatever comes.
    Open,
}

/// Where the connection, and what has come of the next request, is found once the gate was dropped.
pub(super) type Returned = oneshot::Receiver<(BufWriter<TcpStream>, BytesMut)>;

/// A connection for the length of one request.
#[derive(Debug)]
pub(super) struct Gate {
    /// None only while it is dropped. Pingora writes in small pieces.
    stream: Option<BufWriter<TcpStream>>,
    client: SocketAddr,
    rest: Rest,
    /// An upgrade was asked for and not yet answered.
    may_open: bool,
    held: BytesMut,
    back: Option<oneshot::Sender<(BufWriter<TcpStream>, BytesMut)>>,
    /// Several tasks write, and what they write goes together.
    deferral: Option<Deferral>,
}

impl Gate {
    /// `may_open` when the request asks for an upgrade; `held` is what has come behind it.
    pub(super) fn new(
        socket: TcpStream,
        client: SocketAddr,
        rest: Rest,
        may_open: bool,
        held: BytesMut,
    ) -> (Self, Returned) {
        let (back, returned) = oneshot::channel();
        let mut gate = Self {
            stream: Some(BufWriter::with_capacity(WRITE_BYTES, socket)),
            client,
            rest,
            may_open,
            held,
            back: Some(back),
            deferral: None,
        };
        gate.settle();
        (gate, returned)
    }

    /// For all of a connection that speaks HTTP/2, of which this was read.
    pub(super) fn http2(socket: TcpStream, client: SocketAddr, read: BytesMut) -> (Self, Returned) {
        let (back, returned) = oneshot::channel();
        let gate = Self {
            stream: Some(BufWriter::with_capacity(HTTP2_WRITE_BYTES, socket)),
            client,
            rest: Rest::Open,
            may_open: false,
            held: read,
            back: Some(back),
            deferral: Some(Deferral::default()),
        };
        (gate, returned)
    }

    fn stream(&mut self) -> io::Result<Pin<&mut BufWriter<TcpStream>>> {
        let stream = self.stream.as_mut().map(Pin::new);
        stream.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Shuts once the request is complete.
    fn settle(&mut self) {
        let ended = match &self.rest {
            Rest::Sized(bytes) => *bytes == 0,
            Rest::Chunked(chunks) => chunks.ended(),
            Rest::None => true,
            Rest::Open => false,
        };
        if ended {
            self.rest = Rest::None;
        }
    }

    /// Opens when this is the head that switches protocols; any other final head means that HTTP goes on.
    fn note_written(&mut self, bytes: &[u8]) {
        if !self.may_open || bytes.is_empty() {
            return;
        }
        if bytes.starts_with(b"HTTP/1.1 101") {
            self.rest = Rest::Open;
        }
        self.may_open = bytes.starts_with(b"HTTP/1.1 1") && !matches!(self.rest, Rest::Open);
    }

    /// How many of the bytes just read are the request's.
    fn own(&mut self, read: &[u8]) -> Result<usize, Broken> {
        let own = match &mut self.rest {
            Rest::Sized(rest) => {
                let own = usize::try_from(*rest).map_or(read.len(), |rest| rest.min(read.len()));
                *rest -= own as u64;
                own
            }
            Rest::Chunked(chunks) => chunks.take(read)?,
            Rest::None => 0,
            Rest::Open => read.len(),
        };
        self.settle();
        Ok(own)
    }

    /// The request is complete: keeps what comes, and tells of the connection's end when nothing did.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut scrap = [0; 1024];
        while self.held.len() < HELD_BYTES_MAX {
            let mut buffer = ReadBuf::new(&mut scrap);
            ready!(self.stream()?.poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                return if self.held.is_empty() {
                    Poll::Ready(Ok(()))
                } else {
                    Poll::Pending
                };
            }
            self.held.extend_from_slice(buffer.filled());
        }
        Poll::Pending
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if let (Some(back), Some(stream)) = (self.back.take(), self.stream.take()) {
            // Whoever wants neither has gone.
            drop(back.send((stream, self.held.split())));
        }
    }
}

impl AsyncRead for Gate {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if matches!(self.rest, Rest::None) {
            return self.poll_idle(cx);
        }
        if matches!(self.rest, Rest::Open) {
            if self.held.is_empty() {
                return self.stream()?.poll_read(cx, buf);
            }
            let bytes = self.held.len().min(buf.remaining());
            buf.put_slice(&self.held.split_to(bytes));
            return Poll::Ready(Ok(()));
        }
        let mut part = ReadBuf::new(buf.initialize_unfilled());
        ready!(self.stream()?.poll_read(cx, &mut part))?;
        let broken = |Broken| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "the request's chunks are malformed",
            )
        };
        let own = self.own(part.filled()).map_err(broken)?;
        let next = part.filled().get(own..).unwrap_or_default();
        self.held.extend_from_slice(next);
        buf.advance(own);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Gate {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(self.stream()?.poll_write(cx, buf))?;
        self.note_written(buf.get(..written).unwrap_or_default());
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let is_sent = self.stream()?.buffer().is_empty();
        if let Some(deferral) = self.deferral.as_mut().filter(|_| !is_sent) {
            ready!(deferral.poll(cx));
        }
        self.stream()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(self.stream()?.poll_write_vectored(cx, bufs))?;
        self.note_written(bufs.first().map(|first| &**first).unwrap_or_default());
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream
            .as_ref()
            .is_some_and(AsyncWrite::is_write_vectored)
    }
}

#[async_trait]
impl Shutdown for Gate {
    async fn shutdown(&mut self) {
        if let Some(stream) = &mut self.stream {
            drop(AsyncWriteExt::shutdown(stream).await);
        }
    }
}

impl UniqueID for Gate {
    fn id(&self) -> UniqueIDType {
        let stream = self.stream.as_ref();
        stream.map_or(-1, |stream| stream.get_ref().as_raw_fd())
    }
}

impl Ssl for Gate {}

impl GetTimingDigest for Gate {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Gate {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Gate {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        let digest = SocketDigest::from_raw_fd(self.id());
        // Asked later, the system would not know it any more of a client that has gone.
        let client = pingora::protocols::l4::socket::SocketAddr::Inet(self.client);
        drop(digest.peer_addr.set(Some(client)));
        Some(Arc::new(digest))
    }
}

/// What may be peeked at could be the next request's.
impl Peek for Gate {}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    /// A gate behind a whole request for an upgrade, behind which "early" has come; what is returned of it, and its client.
    async fn gate() -> (Gate, Returned, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        let (socket, address) = accepted.unwrap();
        let (gate, returned) = Gate::new(socket, address, Rest::None, true, "early".into());
        (gate, returned, client.unwrap())
    }

    #[tokio::test]
    async fn the_gate_opens_for_another_protocol_with_all_that_came_early() {
        let (mut gate, _returned, mut client) = gate().await;
        gate.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n")
            .await
            .unwrap();
        assert!(matches!(gate.rest, Rest::None));
        gate.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
            .await
            .unwrap();
        client.write_all(b"late").await.unwrap();
        let mut read = [0; 9];
        gate.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"earlylate");
    }

    #[tokio::test]
    async fn the_gate_stays_shut_when_the_upgrade_is_declined() {
        let (mut gate, mut returned, mut client) = gate().await;
        // What looks like a head in the content is none.
        for written in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 101 "] {
            gate.write_all(written.as_bytes()).await.unwrap();
            assert!(matches!(gate.rest, Rest::None), "{written}");
        }
        drop(gate);
        let (mut stream, held) = returned.try_recv().unwrap();
        assert_eq!(held, "early");
        stream.write_all(b"still open").await.unwrap();
        stream.flush().await.unwrap();
        drop(stream);
        let mut read = String::new();
        client.read_to_string(&mut read).await.unwrap();
        assert!(read.ends_with("still open"), "{read}");
    }
}
