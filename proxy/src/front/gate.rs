//! Gives Pingora the bytes of one request and not one more.
//!
//! Pingora finds the end of chunked content by rules laxer than ours, and takes whatever comes behind a request while that is
//! being answered for an offence. Behind the gate it sees content that passed [`Chunks`], and then silence: the next request's
//! bytes wait here. After a request for an upgrade the gate stays open, for what follows may be another protocol.

use super::chunks::{Broken, Chunks};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    Stream, TimingDigest, UniqueID, UniqueIDType,
};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of following requests that wait here; more wait in the socket.
const HELD_BYTES_MAX: usize = 4096;

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

/// A connection for the length of one request.
#[derive(Debug)]
pub(super) struct Gate {
    stream: Stream,
    rest: Rest,
    opens: bool,
    held: BytesMut,
}

impl Gate {
    /// `opens` after the request, for an upgrade.
    pub(super) fn new(stream: Stream, rest: Rest, opens: bool) -> Self {
        let mut gate = Self {
            stream,
            rest,
            opens,
            held: BytesMut::new(),
        };
        gate.settle();
        gate
    }

    /// The connection again, and what has come of the next request.
    pub(super) fn open(self) -> (Stream, Bytes) {
        (self.stream, self.held.freeze())
    }

    /// Shuts, or opens, once the request is complete.
    fn settle(&mut self) {
        let ended = match &self.rest {
            Rest::Sized(bytes) => *bytes == 0,
            Rest::Chunked(chunks) => chunks.ended(),
            Rest::None => true,
            Rest::Open => false,
        };
        if ended {
            self.rest = if self.opens { Rest::Open } else { Rest::None };
        }
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
        Ok(if matches!(self.rest, Rest::Open) {
            read.len()
        } else {
            own
        })
    }

    /// The request is complete: keeps what comes, and tells of the connection's end when nothing did.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut scrap = [0; 1024];
        while self.held.len() < HELD_BYTES_MAX {
            let mut buffer = ReadBuf::new(&mut scrap);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
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

impl AsyncRead for Gate {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if matches!(self.rest, Rest::None) {
            return self.poll_idle(cx);
        }
        let mut part = ReadBuf::new(buf.initialize_unfilled());
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut part))?;
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
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[async_trait]
impl Shutdown for Gate {
    async fn shutdown(&mut self) {
        self.stream.shutdown().await;
    }
}

impl UniqueID for Gate {
    fn id(&self) -> UniqueIDType {
        self.stream.id()
    }
}

impl Ssl for Gate {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.stream.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.stream.selected_alpn_proto()
    }
}

impl GetTimingDigest for Gate {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.stream.get_timing_digest()
    }
}

impl GetProxyDigest for Gate {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.stream.get_proxy_digest()
    }
}

impl GetSocketDigest for Gate {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.get_socket_digest()
    }
}

/// What may be peeked at could be the next request's.
impl Peek for Gate {}
