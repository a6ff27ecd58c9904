//! Sends one payload with a request behind it, reads every answer, and judges them against what one strict reading allows.

use super::corpus::{Due, Ending, Payload};
use crate::support::proxy::PATIENCE;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How the bytes leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    /// The next request in the same write.
    Pipelined,
    /// The next request once the payload has been answered.
    Apart,
    /// Each byte in a write of its own.
    Drip,
}

pub(super) const DELIVERIES: [Delivery; 3] = [Delivery::Pipelined, Delivery::Apart, Delivery::Drip];

/// What came of an attack that came to nothing.
#[derive(Debug, Default)]
pub(super) struct Attacked {
    /// Requests that the origin answered.
    pub(super) answered: Vec<String>,
    /// Requests that it does not take, and says so in words of its own.
    pub(super) refused: usize,
}

/// One final answer.
#[derive(Debug)]
struct Answer {
    status: u16,
    /// The request that it answers, as the origin saw it.
    echo: Option<String>,
    /// Made by the proxy itself.
    own: bool,
}

/// The request that follows each payload.
pub(super) fn probe(payload: &Payload) -> (Due, Vec<u8>) {
    let target = format!("/{}/probe", payload.id);
    let bytes = format!("GET {target} HTTP/1.1\r\nHost: larder.test\r\n\r\n");
    let due = Due {
        method: "GET".to_owned(),
        target,
        body: None,
        optional: payload.probe_optional,
    };
    (due, bytes.into_bytes())
}

/// What somebody else asks meanwhile, on a connection of its own: one request for the store, one for the origin.
pub(super) fn innocent(id: &str) -> Payload {
    let due = |method: &str, body: Option<&str>| Due {
        method: method.to_owned(),
        target: format!("/{id}/innocent"),
        body: body.map(|body| body.as_bytes().to_vec()),
        optional: false,
    };
    let host = "Host: larder.test\r\n";
    let bytes = format!(
        "GET /{id}/innocent HTTP/1.1\r\n{host}\r\nPOST /{id}/innocent HTTP/1.1\r\n{host}Content-Length: 2\r\n\r\nok"
    );
    Payload {
        id: format!("{id}-innocent"),
        bytes: bytes.into_bytes(),
        due: vec![due("GET", None), due("POST", Some("ok"))],
        ending: Ending::Open,
        probe_optional: false,
        gone: Vec::new(),
    }
}

/// Whether the requests of the payload, in order, were answered each once and nothing else was. The error says what is wrong.
pub(super) async fn attack(
    proxy: SocketAddr,
    payload: &Payload,
    delivery: Delivery,
) -> Result<Attacked, String> {
    let mut client = Client::connect(proxy).await;
    let (probe_due, probe_bytes) = probe(payload);
    let mut due: Vec<_> = payload.due.clone();
    let before_probe = due.len() + usize::from(payload.ending == Ending::Refuse);
    let in_all = before_probe + usize::from(payload.ending == Ending::Open);
    due.push(match &payload.ending {
        Ending::Partial(request) => request.clone(),
        _ => probe_due,
    });
    match delivery {
        Delivery::Pipelined => {
            client
                .write(&[&payload.bytes[..], &probe_bytes].concat())
                .await
        }
        Delivery::Drip => {
            for byte in payload.bytes.iter().chain(&probe_bytes) {
                client.write(&[*byte]).await;
                tokio::task::yield_now().await;
            }
        }
        Delivery::Apart => {
            client.write(&payload.bytes).await;
            if payload.ending != Ending::Http2 {
                client.read_answers(before_probe, &due).await?;
            }
            client.write(&probe_bytes).await;
        }
    }
    if payload.ending == Ending::Http2 {
        client.speaks_no_http1().await?;
        return Ok(Attacked::default());
    }
    client.read_answers(in_all, &due).await?;
    client.finish(&due).await?;
    judge(&client, payload, &due)
}

fn judge(client: &Client, payload: &Payload, due: &[Due]) -> Result<Attacked, String> {
    let told = || format!("answers {:?}", client.answers);
    for (number, answer) in client.answers.iter().enumerate() {
        let expected = due.get(number);
        let is_due = number < payload.due.len() || payload.ending == Ending::Open;
        match (expected, &answer.echo) {
            // Some servers fold the case of methods.
            (Some(expected), Some(echo)) if !echo.eq_ignore_ascii_case(&expected.line()) => {
                return Err(format!("{:?} got the answer of {echo:?}", expected.line()));
            }
            (Some(_), Some(_)) if is_due => {}
            // Whatever the origin says to the beginning of a request.
            (Some(_), echo)
                if matches!(payload.ending, Ending::Partial(_))
                    && (echo.is_some() || !answer.own && answer.status >= 400) => {}
            (Some(expected), None) if is_due && (expected.optional || !answer.own) => {
                // Refused by the proxy, or by an origin that does not take such a request.
                if answer.status < 400 {
                    return Err(format!("no trace of the origin: {}", told()));
                }
            }
            (_, None) if !is_due && answer.own && answer.status >= 400 => {}
            _ => return Err(format!("an answer too many: {}", told())),
        }
    }
    let may_be_missing = due.iter().position(|due| due.optional);
    let no_echo = |answer: &Answer| answer.echo.is_none() && !answer.own;
    let refused = client
        .answers
        .iter()
        .filter(|answer| no_echo(answer))
        .count();
    let least = match (may_be_missing, &payload.ending) {
        (Some(number), _) => number,
        (None, Ending::Refuse) => payload.due.len() + 1,
        // An origin that refuses may also close; the proxy then closes in turn.
        (None, Ending::Open) if refused == 0 => payload.due.len() + 1,
        (None, _) => payload.due.len(),
    };
    let most = payload.due.len() + usize::from(payload.ending != Ending::Close);
    let count = client.answers.len();
    if count < least || count > most {
        return Err(format!(
            "{count} answers instead of {least} to {most}: {}",
            told()
        ));
    }
    let echoes = client
        .answers
        .iter()
        .filter_map(|answer| answer.echo.clone());
    Ok(Attacked {
        answered: echoes.collect(),
        refused,
    })
}

struct Client {
    stream: TcpStream,
    bytes: Vec<u8>,
    answers: Vec<Answer>,
    closed: bool,
}

impl Client {
    async fn connect(proxy: SocketAddr) -> Self {
        let stream = TcpStream::connect(proxy).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            bytes: Vec::new(),
            answers: Vec::new(),
            closed: false,
        }
    }

    /// What a proxy that has refused does not take any more is no fault.
    async fn write(&mut self, bytes: &[u8]) {
        drop(self.stream.write_all(bytes).await);
    }

    /// Reads until there are so many answers, or the proxy closes.
    async fn read_answers(&mut self, count: usize, due: &[Due]) -> Result<(), String> {
        while self.answers.len() < count && !self.closed {
            self.read().await?;
            self.take_answers(due)?;
        }
        Ok(())
    }

    /// Says that nothing more comes, and reads to the end: no answer may be left over.
    async fn finish(&mut self, due: &[Due]) -> Result<(), String> {
        drop(self.stream.shutdown().await);
        while !self.closed {
            self.read().await?;
        }
        self.take_answers(due)?;
        if self.bytes.is_empty() {
            return Ok(());
        }
        // An answer that broke off is what a request deserves that did.
        let whole = answer(&self.bytes, false, true)?.is_some();
        let text = String::from_utf8_lossy(&self.bytes);
        if whole || !text.starts_with("HTTP/1.1 ") {
            return Err(format!("bytes left over: {text:?}"));
        }
        Ok(())
    }

    async fn read(&mut self) -> Result<(), String> {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.bytes)).await;
        match read {
            Err(_) => Err(format!(
                "the connection hangs after {} answers",
                self.answers.len()
            )),
            Ok(read) => {
                self.closed = !matches!(read, Ok(bytes) if bytes > 0);
                Ok(())
            }
        }
    }

    fn take_answers(&mut self, due: &[Due]) -> Result<(), String> {
        loop {
            let to_head = due
                .get(self.answers.len())
                .is_some_and(|due| due.method == "HEAD");
            let Some((answer, bytes)) = answer(&self.bytes, to_head, self.closed)? else {
                return Ok(());
            };
            self.bytes.drain(..bytes);
            self.answers.extend(answer);
        }
    }

    async fn speaks_no_http1(&mut self) -> Result<(), String> {
        drop(self.stream.shutdown().await);
        while !self.closed {
            self.read().await?;
        }
        let http1 = self.bytes.windows(7).any(|window| window == b"HTTP/1.");
        if http1 {
            return Err("an HTTP/1.x answer after HTTP/2's preface".to_owned());
        }
        Ok(())
    }
}

/// The first answer of these bytes and where it ends; no answer when it is an interim one, `None` when more must come.
fn answer(
    bytes: &[u8],
    to_head: bool,
    closed: bool,
) -> Result<Option<(Option<Answer>, usize)>, String> {
    let Some(head_bytes) = find(bytes, b"\r\n\r\n").map(|at| at + 4) else {
        return Ok(None);
    };
    let head: String = bytes[..head_bytes]
        .iter()
        .copied()
        .map(char::from)
        .collect();
    let mut lines = head.trim_end().split("\r\n");
    let status = lines
        .next()
        .and_then(|line| {
            line.strip_prefix("HTTP/1.1 ")
                .or_else(|| line.strip_prefix("HTTP/1.0 "))
        })
        .and_then(|rest| rest.get(..3))
        .and_then(|code| code.parse::<u16>().ok())
        .ok_or_else(|| format!("no status line: {head:?}"))?;
    if (100..200).contains(&status) && status != 101 {
        return Ok(Some((None, head_bytes)));
    }
    let fields: Vec<_> = lines.filter_map(|line| line.split_once(": ")).collect();
    let field = |wanted: &str| {
        let of_it = |(name, _): &&(&str, &str)| name.eq_ignore_ascii_case(wanted);
        fields.iter().find(of_it).map(|(_, value)| *value)
    };
    let echo = field("x-echo").map(|line| line.trim_end_matches(" HTTP/1.1").to_owned());
    let rest = &bytes[head_bytes..];
    let bodiless =
        status == 204 || status == 304 || (to_head && field("connection") != Some("close"));
    let length = match (field("content-length"), field("transfer-encoding")) {
        _ if bodiless || (to_head && echo.is_some()) => Some(0),
        (Some(length), None) => Some(length.parse().map_err(|_| format!("odd: {head:?}"))?),
        (None, Some(_)) => chunked_bytes(rest)?,
        (Some(_), Some(_)) => return Err(format!("two framings: {head:?}")),
        (None, None) => closed.then_some(rest.len()),
    };
    // What the origin says is labelled, whatever its status.
    let own = field("x-cache").is_none_or(|result| result == "ERROR");
    let whole = length.filter(|length| *length <= rest.len());
    Ok(whole.map(|length| (Some(Answer { status, echo, own }), head_bytes + length)))
}

/// How many bytes a chunked body takes, if it is whole.
fn chunked_bytes(bytes: &[u8]) -> Result<Option<usize>, String> {
    let mut at = 0;
    loop {
        let rest = &bytes[at.min(bytes.len())..];
        let Some(line) = find(rest, b"\r\n") else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(&rest[..line]);
        let size = usize::from_str_radix(&text, 16).map_err(|_| format!("odd chunk {text:?}"))?;
        at += line + 2 + size + 2;
        if at > bytes.len() {
            return Ok(None);
        }
        if size == 0 {
            return Ok(Some(at));
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
