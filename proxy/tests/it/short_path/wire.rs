//! Clients that see whole answers, byte for byte, and how two answers differ.

use super::ask::Ask;
use crate::support::proxy::PATIENCE;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use httparse::Status;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// An answer to compare. The values of one name are in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) fields: BTreeMap<String, Vec<Vec<u8>>>,
    pub(super) body: Vec<u8>,
    /// Pingora has written it, which puts its own date on everything.
    is_stamped: bool,
}

impl Answer {
    fn new<'a>(status: u16, fields: impl Iterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut map = BTreeMap::<_, Vec<_>>::new();
        for (name, value) in fields {
            map.entry(name.to_ascii_lowercase())
                .or_default()
                .push(value.to_vec());
        }
        Self {
            status,
            fields: map,
            body: Vec::new(),
            is_stamped: false,
        }
        .stamped_if_passed()
    }

    fn stamped_if_passed(mut self) -> Self {
        self.is_stamped = self.field("x-cache") == Some("BYPASS");
        self
    }

    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let value = self.fields.get(name)?.first()?;
        std::str::from_utf8(value).ok()
    }

    /// Was this the last one on its connection?
    pub(super) fn closes(&self) -> bool {
        self.field("connection") == Some("close")
    }

    /// How two answers differ that mean to be the same, given within this time; none when they don't.
    pub(super) fn difference(&self, other: &Self, within: Duration) -> Option<String> {
        let is_stamped = self.is_stamped || other.is_stamped;
        if self.status != other.status {
            return Some(format!("{} and {}", self.status, other.status));
        }
        if self.body != other.body {
            return Some(format!(
                "bodies of {} and {} bytes: {:.60?} and {:.60?}",
                self.body.len(),
                other.body.len(),
                self.body.escape_ascii().to_string(),
                other.body.escape_ascii().to_string()
            ));
        }
        let names = self.fields.keys().chain(other.fields.keys());
        names
            .filter(|name| {
                !["connection", "keep-alive", "transfer-encoding"].contains(&name.as_str())
            })
            .filter(|name| *name != "date" || !is_stamped)
            .find(|name| !self.is_like(other, name, within))
            .map(|name| {
                let shown = |answer: &Self| match answer.fields.get(name) {
                    Some(values) => values
                        .iter()
                        .map(|v| v.escape_ascii().to_string())
                        .collect(),
                    None => Vec::new(),
                };
                format!("{name}: {:?} and {:?}", shown(self), shown(other))
            })
    }

    fn is_like(&self, other: &Self, name: &str, within: Duration) -> bool {
        let values = (self.fields.get(name), other.fields.get(name));
        let (Some(ours), Some(theirs)) = values else {
            return false;
        };
        let near = |ours: i64, theirs: i64| ours.abs_diff(theirs) <= within.as_secs() + 1;
        ours.len() == theirs.len()
            && ours.iter().zip(theirs).all(|(ours, theirs)| {
                ours == theirs
                    || match (moment(name, ours), moment(name, theirs)) {
                        (Some(ours), Some(theirs)) => ours.0 == theirs.0 && near(ours.1, theirs.1),
                        _ => false,
                    }
            })
    }
}

/// What goes by the clock in a value, and the rest of it.
fn moment(name: &str, value: &[u8]) -> Option<(String, i64)> {
    let value = std::str::from_utf8(value).ok()?;
    match name {
        "age" => Some((String::new(), value.parse().ok()?)),
        "date" => {
            let date = httpdate::parse_http_date(value).ok()?;
            let since = date.duration_since(std::time::UNIX_EPOCH).ok()?;
            Some((String::new(), i64::try_from(since.as_secs()).ok()?))
        }
        "cache-status" => {
            let Some((before, after)) = value.split_once("ttl=") else {
                // The fetch for the request before it may not have ended yet.
                return Some((value.replace("; collapsed", "; stored"), 0));
            };
            let end = after.find(';').unwrap_or(after.len());
            Some((
                format!("{before}{}", &after[end..]),
                after[..end].parse().ok()?,
            ))
        }
        _ => None,
    }
}

/// Reads answers off a connection.
#[derive(Debug)]
pub(super) struct Reading<S> {
    stream: S,
    read: Vec<u8>,
    /// At most so many bytes at once.
    bite: usize,
}

impl<S: AsyncRead + Unpin> Reading<S> {
    pub(super) fn new(stream: S, bite: usize) -> Self {
        let read = Vec::new();
        Self { stream, read, bite }
    }

    /// The next answer; none when the connection ends instead.
    pub(super) async fn answer(&mut self, head_only: bool) -> Option<Answer> {
        timeout(PATIENCE, self.next(head_only))
            .await
            .expect("an answer comes")
    }

    async fn next(&mut self, head_only: bool) -> Option<Answer> {
        let mut answer = loop {
            if let Some((bytes, answer)) = parse(&self.read) {
                self.read.drain(..bytes);
                match answer.status {
                    100..=199 => continue,
                    _ => break answer,
                }
            }
            if !self.more().await {
                assert!(self.read.is_empty(), "cut in its head");
                return None;
            }
        };
        if !head_only && !matches!(answer.status, 204 | 304) {
            answer.body = match answer.field("content-length") {
                Some(length) => self.exactly(length.parse().unwrap()).await,
                None => self.chunks().await,
            };
        }
        Some(answer)
    }

    async fn more(&mut self) -> bool {
        let mut bite = vec![0; self.bite];
        let bytes = self.stream.read(&mut bite).await.unwrap_or(0);
        self.read.extend_from_slice(&bite[..bytes]);
        bytes > 0
    }

    async fn exactly(&mut self, bytes: usize) -> Vec<u8> {
        while self.read.len() < bytes {
            assert!(self.more().await, "cut in its body");
        }
        self.read.drain(..bytes).collect()
    }

    async fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            match httparse::parse_chunk_size(&self.read).unwrap() {
                Status::Complete((line, size)) => {
                    self.exactly(line).await;
                    let size = usize::try_from(size).unwrap();
                    let chunk = self.exactly(size + 2).await;
                    if size == 0 {
                        return body;
                    }
                    body.extend_from_slice(&chunk[..size]);
                }
                Status::Partial => assert!(self.more().await, "cut in its chunks"),
            }
        }
    }
}

fn parse(bytes: &[u8]) -> Option<(usize, Answer)> {
    let mut room = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut room);
    let Status::Complete(head_bytes) = response.parse(bytes).unwrap() else {
        return None;
    };
    let fields = response
        .headers
        .iter()
        .map(|field| (field.name, field.value));
    Some((head_bytes, Answer::new(response.code.unwrap(), fields)))
}

/// A connection that is made anew whenever it was ended.
#[derive(Debug)]
pub(super) struct Wire {
    address: SocketAddr,
    open: Option<Reading<TcpStream>>,
}

impl Wire {
    pub(super) fn new(address: SocketAddr) -> Self {
        let open = None;
        Self { address, open }
    }

    pub(super) async fn ask(&mut self, head: &[u8], head_only: bool) -> Answer {
        let mut reading = match self.open.take() {
            Some(reading) => reading,
            None => Reading::new(TcpStream::connect(self.address).await.unwrap(), 16 * 1024),
        };
        reading.stream.set_nodelay(true).unwrap();
        reading.stream.write_all(head).await.unwrap();
        let answer = reading.answer(head_only).await.expect("an answer comes");
        if !answer.closes() {
            assert!(reading.read.is_empty(), "more than an answer came");
            self.open = Some(reading);
        }
        answer
    }
}

/// A connection of HTTP/2.
#[derive(Debug)]
pub(super) struct Wire2(http2::SendRequest<Empty<Bytes>>);

impl Wire2 {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let made = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (sender, connection) = made.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    /// None for what cannot be asked in HTTP/2.
    pub(super) async fn ask(&mut self, ask: &Ask) -> Option<Answer> {
        let request = ask.http2()?;
        let answer = async {
            self.0.ready().await.unwrap();
            let response = self.0.send_request(request).await.unwrap();
            let (head, body) = response.into_parts();
            let fields = head.headers.iter();
            let fields = fields.map(|(name, value)| (name.as_str(), value.as_bytes()));
            let mut answer = Answer::new(head.status.as_u16(), fields);
            answer.is_stamped = true;
            answer.body = body.collect().await.unwrap().to_bytes().to_vec();
            answer
        };
        Some(timeout(PATIENCE, answer).await.expect("an answer comes"))
    }
}
