//! Writes responses as HTTP/1.x frames them (RFC 9112 §4, §6, §7).
//!
//! What is ready goes out together; what is still to come never holds back what is there. A client that takes nothing for a
//! while is given up.

use crate::engine::Body;
use crate::wire::{has_no_content, spell};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, Version, header};
use larder_policy::Failure;
use std::future::{Future, poll_fn};
use std::io;
use std::io::Write as _;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

/// Pieces up to this size are gathered and written together; larger ones are written from where they lie.
const GATHERED_BYTES_MAX: usize = 16 * 1024;

/// Room for a head and a small body: what most responses are.
const GATHERED_BYTES_FIRST: usize = 2 * 1024;

/// How the end of the content is told (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none.
    None,
    /// By its length.
    Sized(u64),
    Chunked,
    /// By the end of the connection.
    UntilClose,
}

/// The framing of a response. A `Content-Length` that the upstream sent is the length: its connection holds it to that.
pub(super) fn framing(
    head_only: bool,
    version: Version,
    status: StatusCode,
    headers: &HeaderMap,
    body: &Body,
) -> Framing {
    if head_only || has_no_content(status) {
        return Framing::None;
    }
    let said = || {
        let length = headers.get(header::CONTENT_LENGTH)?;
        length.to_str().ok()?.parse().ok()
    };
    match body {
        Body::Empty => Framing::Sized(0),
        Body::Whole(bytes) => Framing::Sized(bytes.len() as u64),
        Body::Shared(_) | Body::Own(_) => match said() {
            Some(length) => Framing::Sized(length),
            None if version == Version::HTTP_11 => Framing::Chunked,
            None => Framing::UntilClose,
        },
    }
}

/// Why a response did not come to its end.
#[derive(Debug)]
pub(super) enum BrokenOff {
    /// The client takes no more.
    Client,
    /// There is no more, or not what was promised.
    Upstream(Failure),
}

impl From<io::Error> for BrokenOff {
    fn from(_: io::Error) -> Self {
        Self::Client
    }
}

/// Puts the head down; `connection` is the option to name there.
pub(super) fn head<S: AsyncWrite + Unpin>(
    out: &mut Out<'_, S>,
    version: Version,
    status: StatusCode,
    headers: &HeaderMap,
    framing: Framing,
    connection: Option<&str>,
) {
    // RFC 9110 §2.5: our own version, but for those who would not understand it.
    let version = if version == Version::HTTP_11 {
        "1.1"
    } else {
        "1.0"
    };
    let reason = status.canonical_reason().unwrap_or_default();
    for part in ["HTTP/", version, " ", status.as_str(), " ", reason, "\r\n"] {
        out.put(part.as_bytes());
    }
    for (name, value) in headers {
        // RFC 9110 §8.6: never where there can be no content, but the answer to a HEAD says what a GET would bring.
        let barred = status.is_informational() || status == StatusCode::NO_CONTENT;
        let framed = (framing != Framing::None || barred) && name == header::CONTENT_LENGTH;
        if !framed && name != header::TRANSFER_ENCODING {
            out.field(name.as_str(), value.as_bytes());
        }
    }
    match framing {
        Framing::Sized(bytes) => out.line(format_args!("Content-Length: {bytes}")),
        Framing::Chunked => out.line(format_args!("Transfer-Encoding: chunked")),
        Framing::None | Framing::UntilClose => {}
    }
    if let Some(option) = connection {
        out.line(format_args!("Connection: {option}"));
    }
    out.put(b"\r\n");
}

/// Writes the body to its end.
pub(super) async fn body<S: AsyncWrite + Unpin>(
    out: &mut Out<'_, S>,
    body: &mut Body,
    framing: Framing,
) -> Result<(), BrokenOff> {
    const BROKEN: BrokenOff = BrokenOff::Upstream(Failure::UpstreamBroken);
    let mut left = match framing {
        Framing::Sized(bytes) => bytes,
        _ => u64::MAX,
    };
    while let Some(chunk) = next(out, body).await? {
        left = left.checked_sub(chunk.len() as u64).ok_or(BROKEN)?;
        if framing == Framing::Chunked {
            out.put(format!("{:x}\r\n", chunk.len()).as_bytes());
        }
        out.content(chunk).await?;
        if framing == Framing::Chunked {
            out.put(b"\r\n");
        }
    }
    match framing {
        Framing::Sized(_) if left > 0 => Err(BROKEN),
        Framing::Chunked => {
            out.put(b"0\r\n\r\n");
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The next chunk. What has been gathered is sent before waiting for it.
async fn next<S: AsyncWrite + Unpin>(
    out: &mut Out<'_, S>,
    body: &mut Body,
) -> Result<Option<Bytes>, BrokenOff> {
    loop {
        let chunk = {
            let mut next = pin!(body.next());
            match ready(next.as_mut()).await {
                Some(chunk) => chunk,
                None => {
                    out.flush().await?;
                    next.await
                }
            }
        };
        match chunk {
            // An empty chunk would end a chunked body.
            Ok(Some(chunk)) if chunk.is_empty() => {}
            Ok(chunk) => return Ok(chunk),
            Err(failure) => return Err(BrokenOff::Upstream(failure)),
        }
    }
}

/// What comes of the future in time. Without a clock where it has that at once.
pub(super) async fn within<F: Future>(patience: Duration, future: F) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    match ready(future.as_mut()).await {
        Some(value) => Ok(value),
        None => timeout(patience, future).await,
    }
}

/// What the future has at once; none when it must be waited for.
async fn ready<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|context| {
        Poll::Ready(match future.as_mut().poll(context) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        })
    })
    .await
}

/// A client's connection, written to in gathered pieces.
#[derive(Debug)]
pub(super) struct Out<'a, S> {
    stream: &'a mut S,
    gathered: Vec<u8>,
    patience: Duration,
    content_bytes: u64,
    /// Something of this response is on its way.
    is_begun: bool,
}

impl<'a, S: AsyncWrite + Unpin> Out<'a, S> {
    /// `patience` is how long the client may take nothing.
    pub(super) fn new(stream: &'a mut S, patience: Duration) -> Self {
        Self {
            stream,
            gathered: Vec::with_capacity(GATHERED_BYTES_FIRST),
            patience,
            content_bytes: 0,
            is_begun: false,
        }
    }

    /// Begins the final response: what was sent before was interim.
    pub(super) fn begin(&mut self) {
        self.is_begun = false;
    }

    /// Takes back what is gathered, if nothing of the response has been sent yet.
    pub(super) fn take_back(&mut self) -> bool {
        if !self.is_begun {
            self.gathered.clear();
            self.content_bytes = 0;
        }
        !self.is_begun
    }

    /// Content handed to the connection so far.
    pub(super) fn content_bytes(&self) -> u64 {
        self.content_bytes
    }

    fn put(&mut self, bytes: &[u8]) {
        self.gathered.extend_from_slice(bytes);
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        // Into memory: it cannot fail.
        let _ = self.gathered.write_fmt(text);
        self.put(b"\r\n");
    }

    fn field(&mut self, name: &str, value: &[u8]) {
        spell(name.as_bytes(), &mut self.gathered);
        self.put(b": ");
        self.put(value);
        self.put(b"\r\n");
    }

    async fn content(&mut self, chunk: Bytes) -> io::Result<()> {
        if self.gathered.len() + chunk.len() <= GATHERED_BYTES_MAX {
            self.put(&chunk);
        } else {
            self.send_gathered().await?;
            write_all(self.stream, &chunk, self.patience).await?;
        }
        self.content_bytes += chunk.len() as u64;
        Ok(())
    }

    /// Sends what is gathered, and makes sure that it is on its way.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        self.send_gathered().await?;
        within(self.patience, self.stream.flush()).await?
    }

    async fn send_gathered(&mut self) -> io::Result<()> {
        self.is_begun |= !self.gathered.is_empty();
        write_all(self.stream, &self.gathered, self.patience).await?;
        self.gathered.clear();
        Ok(())
    }
}

/// Writes both to the end.
pub(super) async fn all<S: AsyncWrite + Unpin>(
    stream: &mut S,
    pieces: [&[u8]; 2],
    patience: Duration,
) -> io::Result<()> {
    for piece in pieces {
        write_all(stream, piece, patience).await?;
    }
    Ok(())
}

/// Every step forward begins the time anew.
async fn write_all<S: AsyncWrite + Unpin>(
    stream: &mut S,
    mut bytes: &[u8],
    patience: Duration,
) -> io::Result<()> {
    while !bytes.is_empty() {
        match within(patience, stream.write(bytes)).await? {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
