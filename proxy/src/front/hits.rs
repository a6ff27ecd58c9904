//! Hits from memory, answered where they are read: one parse, one look-up, one write.
//!
//! A connection that waits owns no buffer: what comes is read into one that the thread's connections share, and what is
//! answered is gathered in another. Only what the client has not sent whole, or not taken, is copied for later. Pipelined
//! requests are answered together, in their order. Anything that is no plain hit from memory is left, bytes untouched, to the
//! general path.

use super::lines::{Head, Lines, Places};
use crate::clock;
use crate::engine::{Asked, AtOnce, Engine, KeyBuffer, NAME};
use crate::log::{Access, access, logs_access};
use crate::metrics::Metrics;
use crate::store::is_replaced;
use crate::trace::Told;
use bytes::Bytes;
use http::{Method, StatusCode, Version};
use larder_policy::{Fields as _, is_in_not_modified};
use std::fmt::Write as _;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Room for one read.
const READ_BYTES: usize = 16 * 1024;
/// Answers are written when they are as large as this together.
const GATHERED_BYTES_MAX: usize = 32 * 1024;
/// A larger body is written from where it lies.
const COPIED_BYTES_MAX: usize = 4 * 1024;

/// What the connections of a thread share. No connection keeps anything in it.
#[derive(Debug)]
pub(super) struct Buffers {
    input: Box<[u8]>,
    work: Work,
}

/// What answering is done in.
#[derive(Debug)]
struct Work {
    places: Places,
    out: Out,
}

impl Default for Buffers {
    fn default() -> Self {
        Self {
            input: vec![0; READ_BYTES].into(),
            work: Work {
                places: Places::default(),
                out: Out(Vec::with_capacity(GATHERED_BYTES_MAX + COPIED_BYTES_MAX)),
            },
        }
    }
}

thread_local! {
    static BUFFERS: std::cell::RefCell<Buffers> = std::cell::RefCell::default();
}

/// What remains of a connection between its requests.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) client: IpAddr,
    /// What came and has not been answered.
    pub(super) unread: Vec<u8>,
    keys: KeyBuffer,
    /// When it last sent anything, or began to be waited for.
    pub(super) spoke: Instant,
    pub(super) has_spoken: bool,
    /// A request has been answered: what comes is no beginning of HTTP/2 any more.
    pub(super) has_asked: bool,
}

impl Waiting {
    pub(super) fn new(client: IpAddr) -> Self {
        Self {
            client,
            unread: Vec::new(),
            keys: KeyBuffer::default(),
            spoke: Instant::now(),
            has_spoken: false,
            has_asked: false,
        }
    }
}

/// Why the general path has to go on.
#[derive(Debug)]
pub(super) enum Left {
    /// With what came and is no hit.
    Unread,
    /// With what the client hasn't taken yet; then as before.
    Unwritten(Vec<u8>, Bytes),
    /// With nothing: the connection is over.
    Closed,
}

/// What answering needs of the rest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hits<'a> {
    pub(super) engine: &'a Engine,
    pub(super) metrics: &'a Metrics,
}

/// Answers gathered in one write.
#[derive(Debug, Default)]
struct Batch {
    hits: u64,
    /// Bytes of requests that are answered.
    read: usize,
    /// The last answer's, when it is written from where it lies.
    body: Bytes,
}

impl Hits<'_> {
    /// Answers what has come, and what comes, unless `answers` is false, until something else is to be done or there is nothing
    /// to read; tells whether anything was read, then.
    pub(super) fn poll(
        self,
        socket: &mut TcpStream,
        waiting: &mut Waiting,
        context: &mut Context<'_>,
        answers: bool,
    ) -> Result<bool, Left> {
        BUFFERS.with_borrow_mut(|buffers| {
            if answers {
                return self.poll_with(buffers, socket, waiting, context);
            }
            read_only(&mut buffers.input, socket, waiting, context)
        })
    }

    fn poll_with(
        self,
        buffers: &mut Buffers,
        socket: &mut TcpStream,
        waiting: &mut Waiting,
        context: &mut Context<'_>,
    ) -> Result<bool, Left> {
        // The buffers stay where they are: this thread's next connections need them, even if this one's task should panic.
        let Buffers { input, work } = buffers;
        if !waiting.unread.is_empty() {
            let unread = std::mem::take(&mut waiting.unread);
            self.answer_all(&unread, work, socket, waiting, context)?;
        }
        let mut has_read = false;
        loop {
            let mut room = ReadBuf::new(input);
            match Pin::new(&mut *socket).poll_read(context, &mut room) {
                Poll::Pending => return Ok(has_read),
                Poll::Ready(Ok(())) if !room.filled().is_empty() => {
                    self.answer_all(room.filled(), work, socket, waiting, context)?;
                    has_read = true;
                }
                Poll::Ready(_) => return Err(Left::Closed),
            }
        }
    }

    /// Answers these bytes, and keeps what is none of a hit's.
    fn answer_all(
        self,
        mut bytes: &[u8],
        work: &mut Work,
        socket: &mut TcpStream,
        waiting: &mut Waiting,
        context: &mut Context<'_>,
    ) -> Result<(), Left> {
        let started = Instant::now();
        (waiting.spoke, waiting.has_spoken) = (started, true);
        let now = clock::now();
        while !bytes.is_empty() {
            let batch = self.gather(bytes, work, waiting, now, started);
            bytes = bytes.get(batch.read..).unwrap_or_default();
            let written = write(socket, &work.out.0, &batch.body, context);
            if batch.hits > 0 {
                waiting.has_asked = true;
                self.metrics.observe_hits(batch.hits, started.elapsed());
            }
            match written {
                Ok(written) if written < work.out.0.len() + batch.body.len() => {
                    waiting.unread.extend_from_slice(bytes);
                    let head = work.out.0.get(written..).unwrap_or_default().to_vec();
                    let body_from = written.saturating_sub(work.out.0.len());
                    return Err(Left::Unwritten(head, batch.body.slice(body_from..)));
                }
                Ok(_) if batch.read == 0 => {
                    waiting.unread.extend_from_slice(bytes);
                    return Err(Left::Unread);
                }
                Ok(_) => {}
                Err(_) => return Err(Left::Closed),
            }
        }
        Ok(())
    }

    /// Gathers answers until there is no hit more, or enough for a write.
    fn gather(
        self,
        bytes: &[u8],
        work: &mut Work,
        waiting: &mut Waiting,
        now: SystemTime,
        started: Instant,
    ) -> Batch {
        let mut batch = Batch::default();
        let out = &mut work.out;
        out.0.clear();
        while batch.body.is_empty() && out.0.len() < GATHERED_BYTES_MAX {
            let rest = bytes.get(batch.read..).unwrap_or_default();
            let Some(head) = Head::read(rest, &mut work.places) else {
                break;
            };
            let asked = Asked::<Lines<'_>> {
                method: &head.method,
                target: head.target,
                host: head.host,
                fields: &head.lines,
            };
            let Some(hit) = self.engine.at_once(&asked, &mut waiting.keys, now) else {
                break;
            };
            out.head(&hit);
            let has_body = head.method == Method::GET && !hit.not_modified;
            let body = has_body.then_some(&hit.entry.body);
            match body {
                Some(body) if body.len() > COPIED_BYTES_MAX => batch.body = body.clone(),
                Some(body) => out.0.extend_from_slice(body),
                None => {}
            }
            if logs_access() {
                access(&Access {
                    method: &head.method,
                    target: head.target,
                    status: hit.status().as_u16(),
                    outcome: &hit.outcome,
                    bytes: body.map_or(0, |body| body.len() as u64),
                    duration: started.elapsed(),
                    client: Some(waiting.client),
                    protocol: Version::HTTP_11,
                    trace: Told::by_client(self.engine.config.trace, &head.lines),
                });
            }
            batch.read += head.bytes;
            batch.hits += 1;
        }
        batch
    }
}

/// Leaves whatever comes to the general path.
fn read_only(
    input: &mut [u8],
    socket: &mut TcpStream,
    waiting: &mut Waiting,
    context: &mut Context<'_>,
) -> Result<bool, Left> {
    if !waiting.unread.is_empty() {
        return Err(Left::Unread);
    }
    let mut room = ReadBuf::new(input);
    match Pin::new(socket).poll_read(context, &mut room) {
        Poll::Pending => Ok(false),
        Poll::Ready(Ok(())) if !room.filled().is_empty() => {
            waiting.unread.extend_from_slice(room.filled());
            Err(Left::Unread)
        }
        Poll::Ready(_) => Err(Left::Closed),
    }
}

/// Writes as much as the client takes now; the socket tells when it takes more.
fn write(
    socket: &mut TcpStream,
    head: &[u8],
    body: &[u8],
    context: &mut Context<'_>,
) -> io::Result<usize> {
    let mut written = 0;
    let whole = head.len() + body.len();
    while written < whole {
        let rest = head.get(written..).unwrap_or_default();
        let body = body
            .get(written.saturating_sub(head.len())..)
            .unwrap_or_default();
        let socket = Pin::new(&mut *socket);
        let poll = match (rest.is_empty(), body.is_empty()) {
            (_, true) => socket.poll_write(context, rest),
            (true, false) => socket.poll_write(context, body),
            (false, false) => {
                let both = [IoSlice::new(rest), IoSlice::new(body)];
                socket.poll_write_vectored(context, &both)
            }
        };
        match poll {
            Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(Ok(bytes)) => written += bytes,
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => break,
        }
    }
    Ok(written)
}

/// Answers, one behind the other.
#[derive(Debug)]
struct Out(Vec<u8>);

impl Out {
    /// What [`super::write::head`] would write of it.
    fn head(&mut self, hit: &AtOnce) {
        let fields = &hit.entry.headers;
        match hit.status() {
            StatusCode::OK => self.put(b"HTTP/1.1 200 OK\r\n"),
            StatusCode::NOT_MODIFIED => self.put(b"HTTP/1.1 304 Not Modified\r\n"),
            other => {
                let reason = other.canonical_reason().unwrap_or_default();
                let _ = write!(self, "HTTP/1.1 {} {reason}\r\n", other.as_u16());
            }
        }
        if hit.not_modified {
            let tagged = fields.has(&http::header::ETAG);
            self.lines(fields.iter(), |name| is_in_not_modified(name, tagged));
        } else if hit.has_replaced {
            self.lines(fields.iter(), |name| !is_replaced(name));
        } else {
            self.put(fields.text());
        }
        self.put(b"Age: ");
        self.number(hit.age_s);
        self.put(b"\r\nX-Cache: ");
        self.put(hit.outcome.x_cache().as_str().as_bytes());
        self.put(b"\r\nCache-Status: ");
        self.put(NAME.as_bytes());
        // Into memory: it cannot fail.
        let _ = hit.outcome.write_parameters(self);
        self.put(b"\r\n\r\n");
    }

    fn lines<'a>(
        &mut self,
        lines: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        goes: impl Fn(&[u8]) -> bool,
    ) {
        for (name, value) in lines.filter(|(name, _)| goes(name)) {
            for part in [name, b": ", value, b"\r\n"] {
                self.put(part);
            }
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn number(&mut self, number: u64) {
        let _ = write!(self, "{number}");
    }
}

impl std::fmt::Write for Out {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.put(text.as_bytes());
        Ok(())
    }
}
