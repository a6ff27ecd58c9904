//! An upstream that answers with bytes as they stand, sound HTTP or not.

use crate::support::proxy::PATIENCE;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What it does after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    KeepsOpen,
    Closes,
}

/// Dropping it stops it.
#[derive(Debug)]
pub(crate) struct RawUpstream {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    heads: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl RawUpstream {
    /// Answers each request's head with what `script` makes of it, given also the number of the request.
    pub(crate) async fn start(
        script: impl Fn(usize, &str) -> (Vec<u8>, Then) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, heads) = (
            Arc::<AtomicUsize>::default(),
            Arc::<Mutex<Vec<_>>>::default(),
        );
        let (counted, noted, script) = (connections.clone(), heads.clone(), Arc::new(script));
        let task = tokio::spawn(async move {
            let mut tasks = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let (noted, script) = (noted.clone(), script.clone());
                tasks.spawn(async move { serve(stream, &noted, &*script).await });
            }
        });
        Self {
            address,
            connections,
            heads,
            task,
        }
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The heads of the requests so far.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

impl Drop for RawUpstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    heads: &Mutex<Vec<String>>,
    script: &(impl Fn(usize, &str) -> (Vec<u8>, Then) + ?Sized),
) {
    let mut read = Vec::new();
    loop {
        let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") else {
            match stream.read_buf(&mut read).await {
                Ok(bytes) if bytes > 0 => continue,
                _ => return,
            }
        };
        let head = String::from_utf8_lossy(&read[..end + 4]).into_owned();
        read.drain(..end + 4);
        let number = {
            let mut heads = heads.lock().unwrap();
            heads.push(head.clone());
            heads.len()
        };
        let (answer, then) = script(number, &head);
        if stream.write_all(&answer).await.is_err() || then == Then::Closes {
            return;
        }
    }
}

/// A client's connection, spoken to in bytes.
#[derive(Debug)]
pub(crate) struct RawClient {
    stream: TcpStream,
    read: Vec<u8>,
}

/// One response as it came: its head, with the final newline, and its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawResponse {
    pub(crate) head: String,
    pub(crate) content: Vec<u8>,
}

impl RawResponse {
    pub(crate) fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// The first value of a field, by its name in lower case.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

impl RawClient {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self {
            stream: TcpStream::connect(address).await.unwrap(),
            read: Vec::new(),
        }
    }

    /// One that lets little wait in its own system: the rest of an answer waits in that of the proxy.
    pub(crate) async fn connect_slow(address: SocketAddr) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        Self {
            stream: socket.connect(address).await.unwrap(),
            read: Vec::new(),
        }
    }

    /// One over a connection that stands.
    pub(crate) fn over(stream: TcpStream) -> Self {
        let read = Vec::new();
        Self { stream, read }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.unwrap();
    }

    /// The same where the other side may be gone.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await
    }

    /// The next response, interim ones too; `head_only` when it answers a HEAD. None at the end of the connection; a response that
    /// breaks off is an error.
    pub(crate) async fn response(
        &mut self,
        head_only: bool,
    ) -> Result<Option<RawResponse>, String> {
        tokio::time::timeout(PATIENCE, self.read_response(head_only))
            .await
            .expect("a response comes")
    }

    async fn read_response(&mut self, head_only: bool) -> Result<Option<RawResponse>, String> {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.more().await {
                return if self.read.is_empty() {
                    Ok(None)
                } else {
                    Err("cut in its head".into())
                };
            }
        };
        let head: Vec<u8> = self.read.drain(..end).collect();
        let mut response = RawResponse {
            head: String::from_utf8(head).unwrap(),
            content: Vec::new(),
        };
        if head_only || matches!(response.status(), 100..=199 | 204 | 304) {
            return Ok(Some(response));
        }
        let length = response
            .field("content-length")
            .map(|length| length.parse().unwrap());
        response.content = match (length, response.field("transfer-encoding")) {
            (Some(length), None) => self.exactly(length).await?,
            (None, Some("chunked")) => self.chunks().await?,
            (None, None) => self.rest().await,
            both => return Err(format!("framed twice: {both:?}")),
        };
        Ok(Some(response))
    }

    async fn more(&mut self) -> bool {
        self.stream
            .read_buf(&mut self.read)
            .await
            .is_ok_and(|bytes| bytes > 0)
    }

    async fn exactly(&mut self, length: usize) -> Result<Vec<u8>, String> {
        while self.read.len() < length {
            if !self.more().await {
                return Err("cut in its content".into());
            }
        }
        Ok(self.read.drain(..length).collect())
    }

    async fn chunks(&mut self) -> Result<Vec<u8>, String> {
        let mut content = Vec::new();
        loop {
            let end = loop {
                if let Some(at) = self.read.windows(2).position(|two| two == b"\r\n") {
                    break at;
                }
                if !self.more().await {
                    return Err("cut in its chunks".into());
                }
            };
            let line = self.exactly(end + 2).await?;
            let size =
                usize::from_str_radix(std::str::from_utf8(&line[..end]).unwrap(), 16).unwrap();
            let chunk = self.exactly(size + 2).await?;
            if size == 0 {
                return Ok(content);
            }
            content.extend_from_slice(&chunk[..size]);
        }
    }

    async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.read)
    }
}
