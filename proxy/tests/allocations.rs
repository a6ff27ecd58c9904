//! What a hit from memory allocates: nothing.
//!
//! The real proxy answers over real sockets, in a process that counts every allocation on every thread. The client is a plain
//! socket with buffers made beforehand, so that all that is counted is the proxy's. A test program of its own, with one test:
//! whatever ran beside it would be counted, too.

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use larder_proxy::config::{Config, Flags, LogFormat, LogLevel};
use larder_proxy::log::subscriber;
use larder_proxy::server::{Server, Stop};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tokio::net::TcpListener;

#[global_allocator]
static COUNTING: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Requests that are counted together.
const COUNTED: usize = 300;
/// Something else in the process may allocate now and then, but not in all of these.
const ROUNDS_MAX: usize = 8;
const PATIENCE: Duration = Duration::from_secs(10);
const CHANGED: &str = "Tue, 15 Nov 1994 12:45:26 GMT";

/// A hit, and how it is asked for.
struct Case {
    name: &'static str,
    request: &'static str,
    begins: &'static str,
    /// Requests in one write.
    batch: usize,
}

const CASES: [Case; 10] = [
    plain("1 KiB", "GET /1024 HTTP/1.1\r\nHost: a\r\n\r\n"),
    plain(
        "like a browser",
        "GET /1024?a=1&b=%2F HTTP/1.1\r\nHost: a:8000\r\nUser-Agent: x/1 (y; z)\r\nAccept: */*\r\nAccept-Language: de\r\nAccept-Encoding: gzip, br\r\nConnection: keep-alive\r\n\r\n",
    ),
    plain(
        "with identifiers",
        "GET /1024 HTTP/1.1\r\nHost: a\r\nTraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\nX-Request-Id: 7f3c\r\n\r\n",
    ),
    plain("without body", "GET /0 HTTP/1.1\r\nHost: a\r\n\r\n"),
    plain("HEAD", "HEAD /1024 HTTP/1.1\r\nHost: a\r\n\r\n"),
    plain(
        "Vary",
        "GET /1024/vary HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip, br\r\n\r\n",
    ),
    plain("64 KiB", "GET /65536 HTTP/1.1\r\nHost: a\r\n\r\n"),
    Case {
        name: "304 by tag",
        request: "GET /1024 HTTP/1.1\r\nHost: a\r\nIf-None-Match: \"x\", W/\"a\"\r\n\r\n",
        begins: "HTTP/1.1 304 ",
        batch: 1,
    },
    Case {
        name: "304 by date",
        request: "GET /1024 HTTP/1.1\r\nHost: a\r\nIf-Modified-Since: Tue, 15 Nov 1994 12:45:26 GMT\r\n\r\n",
        begins: "HTTP/1.1 304 ",
        batch: 1,
    },
    Case {
        name: "pipelined",
        request: "GET /1024 HTTP/1.1\r\nHost: a\r\n\r\n",
        begins: "HTTP/1.1 200 ",
        batch: 16,
    },
];

const fn plain(name: &'static str, request: &'static str) -> Case {
    Case {
        name,
        request,
        begins: "HTTP/1.1 200 ",
        batch: 1,
    }
}

/// The path begins with the number of bytes, and says whether there is a `Vary`.
async fn answer(
    request: Request<hyper::body::Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path();
    let bytes = path.split('/').nth(1).and_then(|bytes| bytes.parse().ok());
    let mut response = Response::builder()
        .header("cache-control", "max-age=86400")
        .header("etag", "\"a\"")
        .header("content-type", "application/json")
        .header("last-modified", CHANGED);
    if path.ends_with("/vary") {
        response = response.header("vary", "Accept-Encoding");
    }
    let body = Full::new(Bytes::from(vec![b'x'; bytes.unwrap_or_default()]));
    Ok(response.body(body).unwrap())
}

async fn serve_upstream(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        let served = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service_fn(answer));
        tokio::spawn(served);
    }
}

/// The proxy before an upstream, both on a thread of their own until the process ends.
fn start(log: Option<LogFormat>) -> SocketAddr {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .on_thread_start(move || {
                if let Some(format) = log {
                    log_to_nowhere(format);
                }
            })
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let upstream = listener.local_addr().unwrap();
            tokio::spawn(serve_upstream(listener));
            let flags = Flags::from([
                ("listen", "127.0.0.1:0".to_owned()),
                ("admin", "127.0.0.1:0".to_owned()),
                ("upstream", format!("http://{upstream}")),
            ]);
            let config = Config::load(&flags, &BTreeMap::new());
            let config = config.unwrap_or_else(|faults| panic!("{faults}"));
            let server = Server::bind(config).await.unwrap();
            tell.send(server.client_address().unwrap()).unwrap();
            let never = async {
                std::future::pending::<()>().await;
                Stop::Told
            };
            server.run(never).await.unwrap();
        });
    });
    told.recv_timeout(PATIENCE).unwrap()
}

/// A client that allocates when it is made and never again.
struct Client {
    stream: TcpStream,
    room: Vec<u8>,
}

impl Client {
    fn connect(proxy: SocketAddr) -> Self {
        let stream = TcpStream::connect(proxy).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let room = vec![0; 256 * 1024];
        Self { stream, room }
    }

    /// Sends these and reads so many bytes of answers.
    fn exchange(&mut self, requests: &[u8], answer_bytes: usize) -> &[u8] {
        self.stream.write_all(requests).unwrap();
        let room = &mut self.room[..answer_bytes];
        self.stream.read_exact(room).unwrap();
        room
    }

    /// The bytes of one answer to it.
    fn measure(&mut self, request: &str) -> usize {
        self.stream.write_all(request.as_bytes()).unwrap();
        let mut read = 0;
        loop {
            let more = self.stream.read(&mut self.room[read..]);
            let so_far = || String::from_utf8_lossy(&self.room[..read.min(400)]);
            read += more.unwrap_or_else(|error| panic!("{request}: {error} after {}", so_far()));
            let bytes = answer_bytes(&self.room[..read], request.starts_with("HEAD"));
            if bytes == Some(read) {
                return read;
            }
        }
    }
}

/// The bytes of the answer that begins so, by its head.
fn answer_bytes(begins: &[u8], head_only: bool) -> Option<usize> {
    let head_bytes = begins.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&begins[..head_bytes]).unwrap();
    let mut lines = head.lines();
    let length = lines.find_map(|line| line.strip_prefix("Content-Length: "));
    Some(match head_only || head.starts_with("HTTP/1.1 304") {
        true => head_bytes,
        false => head_bytes + length?.parse::<usize>().unwrap(),
    })
}

/// Has the proxy fetch what is asked for.
fn fetch(proxy: SocketAddr, request: &str) {
    let mut stream = TcpStream::connect(proxy).unwrap();
    let request = request
        .replace("keep-alive", "close")
        .replace("HEAD", "GET");
    let request = request.replacen("Host:", "Connection: close\r\nHost:", 1);
    stream.write_all(request.as_bytes()).unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
}

/// Allocations of as many hits as are counted together, in the round that had the fewest.
fn fewest(client: &mut Client, case: &Case) -> usize {
    let requests = case.request.repeat(case.batch);
    let mut fewest = usize::MAX;
    for _ in 0..ROUNDS_MAX {
        // Ages and lifetimes may become longer or shorter by a digit: so it is measured anew.
        let answer_bytes = client.measure(case.request) * case.batch;
        let region = Region::new(COUNTING);
        for _ in 0..COUNTED / case.batch {
            let answers = client.exchange(requests.as_bytes(), answer_bytes);
            assert!(answers.starts_with(case.begins.as_bytes()), "{}", case.name);
        }
        let change = region.change();
        fewest = fewest.min(change.allocations + change.reallocations);
        if fewest == 0 {
            break;
        }
    }
    let answer_bytes = client.measure(case.request);
    let hit = String::from_utf8_lossy(&client.room[..answer_bytes]);
    assert!(hit.contains("\r\nX-Cache: HIT\r\n"), "{}: {hit}", case.name);
    fewest
}

/// Writes what this thread logs, to its end.
fn log_to_nowhere(format: LogFormat) {
    let mut options = std::fs::OpenOptions::new();
    let nowhere = options.write(true).open("/dev/null").unwrap();
    let subscriber = subscriber(format, LogLevel::Info, false, Arc::new(nowhere));
    std::mem::forget(tracing::subscriber::set_default(subscriber));
}

#[test]
fn a_hit_from_memory_allocates_nothing_with_and_without_its_access_line() {
    let mut allocating = Vec::new();
    for log in [None, Some(LogFormat::Human), Some(LogFormat::Json)] {
        let proxy = start(log);
        let mut client = Client::connect(proxy);
        for case in &CASES {
            fetch(proxy, case.request);
            let fewest = fewest(&mut client, case);
            if fewest > 0 {
                allocating.push(format!(
                    "{}, log {log:?}: {fewest} for {COUNTED}",
                    case.name
                ));
            }
        }
    }
    assert!(allocating.is_empty(), "{allocating:#?}");
}
