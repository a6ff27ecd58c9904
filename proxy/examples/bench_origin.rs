//! The API that `scripts/bench http` puts every cache in front of: how fast is a cache whose origin costs next to nothing?
//!
//! `/size/N` answers N bytes that may be stored for an hour, `/vary/N` the same for each `Accept-Encoding`, `/private/N`
//! the same not to be stored, each with any query. `/count` tells how many others were asked for: while answers come
//! from a cache the count stands still. Left out: request bodies, conditions, ranges and every error but 404.
//!
//!     bench_origin ADDRESS [THREADS]

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The head of a request may be this long; what is longer ends the connection.
const REQUEST_BYTES_MAX: usize = 16 * 1024;
/// Fields of a request; a client that sends more is none of the benchmark's.
const FIELDS_MAX: usize = 64;
/// The largest body that can be asked for.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments
        .next()
        .context("usage: bench_origin ADDRESS [THREADS]")?;
    let threads = arguments.next().map_or(Ok(1), |count| count.parse())?;
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_io()
        .build()?
        .block_on(async move { tokio::spawn(accept(address)).await? })
}

async fn accept(address: String) -> anyhow::Result<()> {
    let listener = TcpListener::bind(&address).await?;
    let asked = Arc::new(AtomicU64::new(0));
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        tokio::spawn(converse(socket, Arc::clone(&asked)));
    }
}

/// Answers one connection's requests until it ends or says what can't be understood.
async fn converse(mut socket: TcpStream, asked: Arc<AtomicU64>) -> std::io::Result<()> {
    let mut input = Vec::with_capacity(2048);
    let mut answer = Vec::with_capacity(4096);
    loop {
        if socket.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
        answer.clear();
        while let Some(request) = parse(&input)? {
            respond(&request, &asked, &mut answer);
            input.drain(..request.bytes);
        }
        socket.write_all(&answer).await?;
    }
}

struct Request {
    kind: Kind,
    bytes: usize,
}

/// What is asked for, with the length of the body.
#[derive(Clone, Copy)]
enum Kind {
    Size(usize),
    Vary(usize),
    Private(usize),
    Count,
    Unknown,
}

/// The first request of the input, when it is complete.
fn parse(input: &[u8]) -> std::io::Result<Option<Request>> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(input) {
        Ok(httparse::Status::Complete(bytes)) => Ok(Some(Request {
            kind: Kind::of(request.path.unwrap_or_default()),
            bytes,
        })),
        Ok(httparse::Status::Partial) if input.len() < REQUEST_BYTES_MAX => Ok(None),
        Ok(httparse::Status::Partial) => Err(std::io::ErrorKind::InvalidData.into()),
        Err(error) => Err(std::io::Error::new(std::io::ErrorKind::InvalidData, error)),
    }
}

impl Kind {
    fn of(target: &str) -> Self {
        let path = target.split_once('?').map_or(target, |(path, _)| path);
        let mut segments = path.split('/').skip(1);
        let name = segments.next().unwrap_or_default();
        let size = segments.next().and_then(|size| size.parse().ok());
        match (name, size.filter(|&size: &usize| size <= BODY_BYTES_MAX)) {
            ("size", Some(size)) => Self::Size(size),
            ("vary", Some(size)) => Self::Vary(size),
            ("private", Some(size)) => Self::Private(size),
            ("count", None) => Self::Count,
            _ => Self::Unknown,
        }
    }
}

fn respond(request: &Request, asked: &AtomicU64, answer: &mut Vec<u8>) {
    if !matches!(request.kind, Kind::Count) {
        asked.fetch_add(1, Ordering::Relaxed);
    }
    match request.kind {
        Kind::Size(size) => write(answer, size, "max-age=3600", ""),
        Kind::Vary(size) => write(answer, size, "max-age=3600", "Vary: Accept-Encoding\r\n"),
        Kind::Private(size) => write(answer, size, "no-store", ""),
        Kind::Count => {
            let count = asked.load(Ordering::Relaxed).to_string();
            write_head(answer, "200 OK", count.len(), "no-store", "");
            answer.extend_from_slice(count.as_bytes());
        }
        Kind::Unknown => write_head(answer, "404 Not Found", 0, "no-store", ""),
    }
}

fn write(answer: &mut Vec<u8>, size: usize, cache_control: &str, more: &str) {
    write_head(answer, "200 OK", size, cache_control, more);
    write_body(answer, size);
}

fn write_head(answer: &mut Vec<u8>, status: &str, size: usize, cache_control: &str, more: &str) {
    let date = httpdate::fmt_http_date(now());
    let mut head = String::with_capacity(320);
    // Writing to a String can't fail.
    let _ = write!(
        head,
        "HTTP/1.1 {status}\r\nDate: {date}\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\
         Cache-Control: {cache_control}\r\nETag: \"larder-{size}\"\r\nLast-Modified: Mon, 06 Jan 2025 08:00:00 GMT\r\n{more}\r\n"
    );
    answer.extend_from_slice(head.as_bytes());
}

#[expect(
    clippy::disallowed_methods,
    reason = "the origin's only clock, for its Date field"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

/// As many bytes of text as asked for: a JSON array of records, cut or padded to the length.
fn write_body(answer: &mut Vec<u8>, size: usize) {
    const RECORD: &[u8] = br#"{"id":1042,"title":"Bread, salt and a shelf","tags":["pantry","larder"],"words":317,"live":true},"#;
    if size == 0 {
        return;
    }
    let end = answer.len() + size;
    answer.reserve(size);
    answer.push(b'[');
    while answer.len() + RECORD.len() < end {
        answer.extend_from_slice(RECORD);
    }
    answer.resize(end - 1, b' ');
    answer.push(b']');
}
