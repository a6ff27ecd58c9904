//! Bad weather: real sources over real sockets that are down, slow or lying, all at once. What the good one brings is shown, and each
//! of the others is named with what is wrong with it.

use crate::support::http::get;
use crate::support::process::Process;
use crate::support::until;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const GOOD: &str = "<rss version='2.0'><channel><title>The Good</title><item><title>A bridge opens</title><link>https://good.example/bridge</link></item></channel></rss>";
/// Ends none of its answers in the time that the origin gives.
const DRIP: Duration = Duration::from_millis(200);
/// More than is read; packed it is a few dozen KiB.
const BOMB_BYTES: usize = 8 << 20;

/// A path, what its server does, and the code that names it.
const LIARS: [(&str, &str); 15] = [
    ("drips", "timeout"),
    ("silent", "timeout"),
    ("closes", "unreachable"),
    ("short", "unreachable"),
    ("endless", "too_large"),
    ("announces", "too_large"),
    ("bomb", "too_large"),
    ("ring", "malformed"),
    ("leads-nowhere", "malformed"),
    ("elsewhere", "malformed"),
    ("html", "malformed"),
    ("empty", "malformed"),
    ("no-gzip", "malformed"),
    ("not-http", "unreachable"),
    ("teapot", "bad_status"),
];

/// Serves every path of `LIARS`, and `good`; ends with the test's runtime.
async fn liars() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(lie(stream));
        }
    });
    address
}

/// What cannot be written any more is nobody's loss: the other side has given up.
async fn lie(mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await?);
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let path = request.split(' ').nth(1).unwrap_or_default();
    let name = path.trim_start_matches('/').split(['/', '?']).next();
    match name.unwrap_or_default() {
        "good" => whole(&mut stream, "200 OK", GOOD.as_bytes()).await,
        "drips" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
            for byte in GOOD.bytes() {
                tokio::time::sleep(DRIP).await;
                stream.write_all(&[byte]).await?;
            }
            Ok(())
        }
        "silent" => stream.read_u8().await.map(drop),
        "short" => {
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n";
            stream.write_all(head).await?;
            stream.write_all(GOOD.as_bytes()).await
        }
        "endless" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
            loop {
                stream.write_all(&[b' '; 64 * 1024]).await?;
            }
        }
        "announces" => {
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n";
            stream.write_all(head).await?;
            stream.read_u8().await.map(drop)
        }
        "bomb" => whole(&mut stream, "200 OK\r\nContent-Encoding: gzip", &bomb()).await,
        "ring" => whole(&mut stream, "302 Found\r\nLocation: /ring/again", b"").await,
        "leads-nowhere" => {
            whole(
                &mut stream,
                "302 Found\r\nLocation: file:///etc/passwd",
                b"",
            )
            .await
        }
        "elsewhere" => {
            // Another host, which shows its front page to everybody.
            let host = request
                .lines()
                .find_map(|line| line.strip_prefix("host: 127.0.0.1:"))
                .unwrap_or_default();
            let to = format!("301 Moved\r\nLocation: http://localhost:{host}/html");
            whole(&mut stream, &to, b"").await
        }
        "html" => {
            whole(
                &mut stream,
                "200 OK",
                b"<!doctype html><html><title>Welcome</title></html>",
            )
            .await
        }
        "empty" => whole(&mut stream, "200 OK", b"").await,
        "no-gzip" => {
            whole(
                &mut stream,
                "200 OK\r\nContent-Encoding: gzip",
                GOOD.as_bytes(),
            )
            .await
        }
        "not-http" => stream.write_all(b"SSH-2.0-Example\r\n").await,
        "teapot" => whole(&mut stream, "418 I am a teapot", GOOD.as_bytes()).await,
        _ => Ok(()),
    }
}

async fn whole(stream: &mut TcpStream, head: &str, body: &[u8]) -> std::io::Result<()> {
    let length = body.len();
    let head = format!("HTTP/1.1 {head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await
}

/// RFC 1951 with fixed codes: a `<`, and then again and again the same 258 bytes more, which takes thirteen bits each time.
fn bomb() -> Vec<u8> {
    const ONE_BLOCK: &str = "110";
    const LESS_THAN: &str = "01101100";
    const AGAIN_258: &str = "1100010100000";
    let bits = format!(
        "{ONE_BLOCK}{LESS_THAN}{}",
        AGAIN_258.repeat(BOMB_BYTES / 258)
    );
    let byte = |bits: &[u8]| {
        let set = bits.iter().enumerate().filter(|(_, bit)| **bit == b'1');
        set.fold(0_u8, |byte, (at, _)| byte | 1 << at)
    };
    let head = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF];
    head.into_iter()
        .chain(bits.as_bytes().chunks(8).map(byte))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_source_does_costs_no_other_and_is_told() {
    let address = liars().await;
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let refuses = gone.local_addr().expect("an address");
    drop(gone);
    let mut feeds = vec![
        format!("http://{address}/good"),
        format!("http://{refuses}/refuses"),
    ];
    feeds.extend(LIARS.map(|(path, _)| format!("http://{address}/{path}")));
    let base = |path: &str| format!("http://{address}/{path}/");
    let process = Process::start(&[
        ("FEED_URLS", &feeds.join(" ")),
        ("NEWSAPI_KEY", "s3cret-key"),
        ("NEWSAPI_URL", &base("html")),
        ("GUARDIAN_API_KEY", "s3cret-key"),
        ("GUARDIAN_URL", &base("elsewhere")),
        ("HACKERNEWS", "on"),
        ("HACKERNEWS_URL", &base("short")),
        ("ORIGIN_SOURCE_TIMEOUT", "2s"),
        ("ORIGIN_REFRESH_INTERVAL", "0s"),
    ]);
    until("it is ready", || async {
        get(process.address, "/health/ready").await.status == 200
    })
    .await;

    let reply = get(process.address, "/articles").await;
    let body = reply.json();
    assert_eq!(
        (reply.status.as_u16(), &body["partial"]),
        (200, &true.into())
    );
    assert_eq!(body["articles"].as_array().map(Vec::len), Some(1), "{body}");
    assert_eq!(body["articles"][0]["title"], "A bridge opens");
    let word =
        |source: &serde_json::Value, key: &str| source[key].as_str().unwrap_or_default().to_owned();
    let told: BTreeMap<String, String> = body["sources"]
        .as_array()
        .expect("sources")
        .iter()
        .map(|source| (word(source, "name"), word(source, "code")))
        .collect();
    let mut expected: BTreeMap<String, String> = LIARS
        .iter()
        .map(|(path, code)| (format!("feed:{address}/{path}"), (*code).to_owned()))
        .collect();
    expected.extend([
        (format!("feed:{address}/good"), String::new()),
        (format!("feed:{refuses}/refuses"), "unreachable".to_owned()),
        ("newsapi".to_owned(), "malformed".to_owned()),
        ("guardian".to_owned(), "malformed".to_owned()),
        ("hackernews".to_owned(), "unreachable".to_owned()),
    ]);
    assert_eq!(told, expected);

    let page = get(process.address, "/").await;
    let page = String::from_utf8_lossy(&page.body).into_owned();
    assert!(page.contains("A bridge opens"), "{page}");
    assert!(page.contains("A source could not be reached"), "{page}");
    let sources = get(process.address, "/sources").await.json();
    for source in sources["sources"].as_array().expect("sources") {
        let name = word(source, "name");
        let code = word(&source["last_error"], "code");
        assert_eq!(Some(&code), expected.get(&name), "{source}");
        assert!(!source.to_string().contains("s3cret"), "{source}");
    }
}
