//! An origin that reads as strictly as RFC 9112 allows, and complains of every byte that is not a whole, plain request.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A request that arrived whole.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) line: String,
    /// What nobody tells of is `None`.
    pub(super) body: Option<Vec<u8>>,
    pub(super) names: Vec<String>,
}

/// What came in.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) seen: Vec<Seen>,
    /// Bytes that no strict reader would take.
    pub(super) faults: Vec<String>,
}

/// When the origin answers a request with content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answers {
    AfterTheBody,
    /// As nginx does when it needs no content: the rest is read later.
    BeforeTheBody,
}

/// Runs until it is dropped.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) address: SocketAddr,
    record: Arc<Mutex<Record>>,
    task: JoinHandle<()>,
}

impl Origin {
    pub(super) async fn start(answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let record = Arc::<Mutex<Record>>::default();
        let task = tokio::spawn(serve(listener, record.clone(), answers));
        Self {
            address,
            record,
            task,
        }
    }

    pub(super) fn record(&self) -> std::sync::MutexGuard<'_, Record> {
        self.record.lock().unwrap()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, record: Arc<Mutex<Record>>, answers: Answers) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let record = record.clone();
        connections.spawn(async move {
            if let Err(fault) = connection(stream, &record, answers).await {
                record.lock().unwrap().faults.push(fault);
            }
        });
    }
}

/// Reads requests to the end of the connection. A request that breaks off is none, and no fault.
async fn connection(
    mut stream: TcpStream,
    record: &Mutex<Record>,
    answers: Answers,
) -> Result<(), String> {
    let mut bytes = Vec::new();
    loop {
        let Some(head_bytes) = head_end(&mut stream, &mut bytes).await? else {
            return Ok(());
        };
        let head = Head::read(&bytes[..head_bytes])?;
        bytes.drain(..head_bytes);
        let answer = answer(&head);
        if answers == Answers::BeforeTheBody && stream.write_all(&answer).await.is_err() {
            return Ok(());
        }
        let Some(body) = body(&head, &mut stream, &mut bytes).await? else {
            return Ok(());
        };
        record.lock().unwrap().seen.push(Seen {
            line: head.line,
            body: Some(body),
            names: head.names,
        });
        if answers == Answers::AfterTheBody && stream.write_all(&answer).await.is_err() {
            return Ok(());
        }
    }
}

async fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> bool {
    matches!(stream.read_buf(bytes).await, Ok(read) if read > 0)
}

async fn head_end(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Result<Option<usize>, String> {
    loop {
        if let Some(at) = find(bytes, b"\r\n\r\n") {
            return Ok(Some(at + 4));
        }
        if !more(stream, bytes).await {
            return Ok(None);
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

struct Head {
    line: String,
    is_head: bool,
    names: Vec<String>,
    length: usize,
    chunked: bool,
}

impl Head {
    fn read(bytes: &[u8]) -> Result<Self, String> {
        let text: String = bytes.iter().copied().map(char::from).collect();
        let fault = |why: &str| format!("{why}: {text:?}");
        let mut lines = text.trim_end_matches("\r\n").split("\r\n");
        let request: Vec<_> = lines.next().unwrap_or_default().split(' ').collect();
        let [method, target, "HTTP/1.1"] = request.as_slice() else {
            return Err(fault("no request line"));
        };
        let fields: Option<Vec<_>> = lines.map(|line| line.split_once(':')).collect();
        let fields = fields.ok_or_else(|| fault("no field line"))?;
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        let odd = |(name, value): &(&str, &str)| {
            name.is_empty() || !name.chars().all(token) || value.contains(['\r', '\n', '\0'])
        };
        if fields.iter().any(odd) {
            return Err(fault("an odd field"));
        }
        let named = |wanted: &str| -> Vec<&str> {
            let of_it = fields
                .iter()
                .filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
            of_it.map(|(_, value)| value.trim()).collect()
        };
        if named("host").len() > 1 {
            return Err(fault("more than one Host"));
        }
        let (length, chunked) = match (
            named("content-length").as_slice(),
            named("transfer-encoding").as_slice(),
        ) {
            ([], []) => (0, false),
            ([length], []) => {
                let length = length.parse().map_err(|_| fault("an odd Content-Length"))?;
                (length, false)
            }
            ([], ["chunked"]) => (0, true),
            _ => return Err(fault("odd framing")),
        };
        Ok(Self {
            line: format!("{method} {target}"),
            is_head: *method == "HEAD",
            names: fields
                .iter()
                .map(|(name, _)| name.to_ascii_lowercase())
                .collect(),
            length,
            chunked,
        })
    }
}

/// The content; `None` when the connection ends in it.
async fn body(
    head: &Head,
    stream: &mut TcpStream,
    bytes: &mut Vec<u8>,
) -> Result<Option<Vec<u8>>, String> {
    if !head.chunked {
        return Ok(take(head.length, stream, bytes).await);
    }
    let mut body = Vec::new();
    loop {
        let Some(size) = line(stream, bytes).await else {
            return Ok(None);
        };
        let size = usize::from_str_radix(&size, 16)
            .ok()
            .filter(|_| size.chars().all(|c| c.is_ascii_hexdigit()))
            .ok_or_else(|| format!("{}: an odd chunk size {size:?}", head.line))?;
        if size == 0 {
            return match line(stream, bytes).await.as_deref() {
                None => Ok(None),
                Some("") => Ok(Some(body)),
                Some(trailer) => Err(format!("{}: a trailer {trailer:?}", head.line)),
            };
        }
        let Some(chunk) = take(size.saturating_add(2), stream, bytes).await else {
            return Ok(None);
        };
        let Some(data) = chunk.strip_suffix(b"\r\n") else {
            return Err(format!("{}: a chunk without an end", head.line));
        };
        body.extend_from_slice(data);
    }
}

async fn take(count: usize, stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    while bytes.len() < count {
        if !more(stream, bytes).await {
            return None;
        }
    }
    Some(bytes.drain(..count).collect())
}

async fn line(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(at) = find(bytes, b"\r\n") {
            let line: Vec<u8> = bytes.drain(..at + 2).collect();
            return Some(line[..at].iter().copied().map(char::from).collect());
        }
        if !more(stream, bytes).await {
            return None;
        }
    }
}

/// Says which request it answers, in one of the two framings.
fn answer(head: &Head) -> Vec<u8> {
    let start = format!(
        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nX-Echo: {}\r\n",
        head.line
    );
    let text = &head.line;
    let chunked = text.len() % 2 == 1;
    let framing = if chunked {
        "Transfer-Encoding: chunked".to_owned()
    } else {
        format!("Content-Length: {}", text.len())
    };
    let body = match (head.is_head, chunked) {
        (true, _) => String::new(),
        (false, true) => format!("{:x}\r\n{text}\r\n0\r\n\r\n", text.len()),
        (false, false) => text.clone(),
    };
    format!("{start}{framing}\r\n\r\n{body}").into_bytes()
}
