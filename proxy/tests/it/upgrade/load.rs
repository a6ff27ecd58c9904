//! Clients of every kind that ask without a pause and count; whatever isn't a whole, right answer is a panic of theirs.

use crate::support::proxy::PATIENCE;
use crate::support::upstream::{Upstream, respond};
use crate::support::wait::until;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// Answers with what it was asked and sent; `/hit` may be kept. Large answers take many writes.
pub(super) async fn upstream() -> Upstream {
    Upstream::start(async |asked| {
        let keep = match asked.target.starts_with("/hit") {
            true => "max-age=600",
            false => "no-store",
        };
        let content = match asked.body.is_empty() {
            true => asked.target.into(),
            false => asked.body,
        };
        respond(200, &[("cache-control", keep)], content)
    })
    .await
}

/// An upstream that answers once for each permit.
pub(super) async fn gated() -> (Arc<Semaphore>, Upstream) {
    let gate = Arc::new(Semaphore::new(0));
    let opened = gate.clone();
    let upstream = Upstream::start(move |_| {
        let gate = gate.clone();
        async move {
            gate.acquire().await.unwrap().forget();
            respond(200, &[("cache-control", "no-store")], "ok")
        }
    })
    .await;
    (opened, upstream)
}

/// What a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Hits, on one connection as long as it lasts.
    Hits,
    /// Answers that are not stored, likewise.
    Misses,
    /// POSTs of a little, likewise.
    Posts,
    /// POSTs whose content comes in two pieces, likewise.
    Uploads,
    /// Three requests at once, likewise.
    Pipelined,
    /// A connection for each hit.
    NewForHit,
    /// A connection for each POST.
    NewForPost,
    /// HTTP/2.
    Http2,
}

const KINDS: [Kind; 8] = [
    Kind::Hits,
    Kind::Misses,
    Kind::Posts,
    Kind::Uploads,
    Kind::Pipelined,
    Kind::NewForHit,
    Kind::NewForPost,
    Kind::Http2,
];
const CLIENTS_OF_A_KIND: usize = 2;
/// Answers that each client must get before the test goes on.
const ANSWERS: usize = 20;

#[derive(Debug)]
pub(super) struct Load {
    clients: Vec<(Arc<Client>, JoinHandle<()>)>,
}

#[derive(Debug)]
struct Client {
    kind: Kind,
    number: usize,
    address: SocketAddr,
    answers: AtomicUsize,
    connections: AtomicUsize,
    ending: AtomicBool,
}

impl Load {
    pub(super) fn start(address: SocketAddr) -> Self {
        let kinds = KINDS.iter().cycle().take(KINDS.len() * CLIENTS_OF_A_KIND);
        let clients = kinds.enumerate().map(|(number, kind)| {
            let client = Arc::new(Client {
                kind: *kind,
                number,
                address,
                answers: AtomicUsize::new(0),
                connections: AtomicUsize::new(0),
                ending: AtomicBool::new(false),
            });
            let running = client.clone();
            let task = tokio::spawn(async move { running.run().await });
            (client, task)
        });
        Self {
            clients: clients.collect(),
        }
    }

    /// Waits until each client got a number of answers more than now.
    pub(super) async fn everybody_was_served(&self) {
        let answers = |(client, _): &(Arc<Client>, _)| client.answers.load(Ordering::SeqCst);
        let before: Vec<_> = self.clients.iter().map(answers).collect();
        for ((client, task), before) in self.clients.iter().zip(before) {
            until(&format!("{:?} is served", client.kind), async || {
                assert!(!task.is_finished(), "{:?} has failed", client.kind);
                client.answers.load(Ordering::SeqCst) >= before + ANSWERS
            })
            .await;
        }
    }

    /// From now on the clients ask on the connections that they have; the others are done.
    pub(super) async fn no_new_connections(&self) {
        for (client, _) in &self.clients {
            client.ending.store(true, Ordering::SeqCst);
        }
        for (client, task) in &self.clients {
            if matches!(
                client.kind,
                Kind::NewForHit | Kind::NewForPost | Kind::Http2
            ) {
                until("the client ends", async || task.is_finished()).await;
            }
        }
    }

    /// Waits until all connections have ended; gives the counts.
    pub(super) async fn end(self) -> String {
        let mut counts = Vec::new();
        for (client, task) in self.clients {
            let ended = tokio::time::timeout(PATIENCE, task).await;
            ended
                .expect("the connection ends")
                .expect("no request fails");
            let [answers, connections] =
                [&client.answers, &client.connections].map(|count| count.load(Ordering::SeqCst));
            counts.push(format!("{:?}: {answers} on {connections}", client.kind));
        }
        counts.join(", ")
    }
}

impl Client {
    async fn run(&self) {
        match self.kind {
            Kind::Http2 => self.ask_over_http2().await,
            _ => {
                while !self.ending.load(Ordering::SeqCst) {
                    self.connections.fetch_add(1, Ordering::SeqCst);
                    self.use_connection().await;
                }
            }
        }
    }

    async fn ask_over_http2(&self) {
        let client = reqwest::Client::builder()
            .no_proxy()
            .http2_prior_knowledge()
            .build()
            .unwrap();
        while !self.ending.load(Ordering::SeqCst) {
            let answered = self.answers.fetch_add(1, Ordering::SeqCst);
            let target = format!("/hit/{}", answered % 7);
            let url = format!("http://{}{target}", self.address);
            let answer = client.get(url).send().await.expect("an answer");
            assert_eq!(answer.text().await.expect("a whole one"), target);
        }
    }

    /// Asks until the connection ends, as both sides know.
    async fn use_connection(&self) {
        let stream = TcpStream::connect(self.address).await;
        let stream = stream.unwrap_or_else(|error| panic!("{:?}: {error}", self.kind));
        stream.set_nodelay(true).unwrap();
        let mut connection = Connection {
            stream,
            read: Vec::new(),
        };
        let once = matches!(self.kind, Kind::NewForHit | Kind::NewForPost);
        while !connection.has_ended() {
            let expected = self.send(&mut connection).await;
            for content in expected {
                let closes = connection.answer(&content, self.kind).await;
                self.answers.fetch_add(1, Ordering::SeqCst);
                if closes {
                    connection.must_end().await;
                    return;
                }
            }
            if once {
                return;
            }
        }
    }

    /// Sends what this kind sends; gives the contents that must come back.
    async fn send(&self, connection: &mut Connection) -> Vec<String> {
        let number = self.answers.load(Ordering::SeqCst);
        let hit = format!("/hit/{}", number % 7);
        match self.kind {
            Kind::Hits | Kind::NewForHit | Kind::Http2 => {
                connection.send(&get(&hit)).await;
                vec![hit]
            }
            Kind::Misses => {
                let target = format!("/miss/{}/{number}", self.number);
                connection.send(&get(&target)).await;
                vec![target]
            }
            Kind::Pipelined => {
                let targets = [hit.clone(), format!("/miss/{}/{number}", self.number), hit];
                let all: String = targets.iter().map(|target| get(target)).collect();
                connection.send(&all).await;
                targets.into()
            }
            Kind::Posts | Kind::NewForPost => {
                let content = format!("{}-{number}", self.number);
                connection.send(&post(&content)).await;
                vec![content]
            }
            Kind::Uploads => {
                let content = format!("{}-{number}-", self.number).repeat(5000);
                let request = post(&content);
                let (first, second) = request.split_at(request.len() / 2);
                connection.send(first).await;
                tokio::task::yield_now().await;
                connection.send(second).await;
                vec![content]
            }
        }
    }
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: api.example\r\n\r\n")
}

fn post(content: &str) -> String {
    let length = content.len();
    format!("POST /post HTTP/1.1\r\nHost: api.example\r\nContent-Length: {length}\r\n\r\n{content}")
}

struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    async fn send(&mut self, bytes: &str) {
        let sent = self.stream.write_all(bytes.as_bytes()).await;
        sent.expect("the connection takes a request");
    }

    /// Has the other side ended it before we asked again? A reset is a failure.
    fn has_ended(&self) -> bool {
        match self.stream.try_read(&mut [0]) {
            Ok(0) => true,
            Ok(_) => panic!("more than was asked for"),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => false,
            Err(error) => panic!("an idle connection broke: {error}"),
        }
    }

    /// Reads one answer; says whether it is the connection's last.
    async fn answer(&mut self, content: &str, kind: Kind) -> bool {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            self.more(kind).await;
        };
        let head = String::from_utf8(self.read.drain(..end).collect()).unwrap();
        let head = head.to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 200"), "{kind:?}: {head}");
        let field = |name: &str| {
            let mut lines = head.lines();
            lines.find_map(|line| line.strip_prefix(name).map(str::trim))
        };
        let length: usize = field("content-length:").expect("a length").parse().unwrap();
        while self.read.len() < length {
            self.more(kind).await;
        }
        let got: Vec<u8> = self.read.drain(..length).collect();
        assert_eq!(String::from_utf8(got).unwrap(), content, "{kind:?}");
        field("connection:") == Some("close")
    }

    async fn more(&mut self, kind: Kind) {
        let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.read)).await;
        match read.expect("an answer in time") {
            Ok(0) => panic!(
                "{kind:?}: ended instead of an answer, after {:?}",
                self.read
            ),
            Ok(_) => {}
            Err(error) => panic!("{kind:?}: {error} instead of an answer"),
        }
    }

    async fn must_end(mut self) {
        let mut rest = Vec::new();
        let end = tokio::time::timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await;
        end.expect("an end in time").expect("a clean end");
        assert!(rest.is_empty() && self.read.is_empty());
    }
}
