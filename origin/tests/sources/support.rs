//! Sources with a database of their own to count in.

use larder_origin::database::{Database, DatabaseUrl};
use larder_origin::discipline::Ledger;
use larder_origin::source::{Source, SourceSettings, build};
use std::ops::Deref;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::Url;

/// An empty SQLite file.
pub(crate) async fn database() -> (Database, TempDir) {
    let folder = TempDir::new().expect("a folder");
    let url = format!("sqlite://{}/origin.db", folder.path().display());
    let url: DatabaseUrl = url.parse().expect("a database URL");
    let database = Database::open(&url, 5).expect("a pool");
    database.migrate().await.expect("migrations");
    (database, folder)
}

/// The sources of some settings.
pub(crate) struct Built {
    sources: Vec<Arc<dyn Source>>,
    pub(crate) ledger: Ledger,
    _folder: TempDir,
}

impl Built {
    pub(crate) async fn new(settings: &SourceSettings) -> Self {
        let (database, folder) = database().await;
        let ledger = Ledger::new(&database);
        Self {
            sources: build(settings, &ledger).expect("sources"),
            ledger,
            _folder: folder,
        }
    }
}

impl Deref for Built {
    type Target = [Arc<dyn Source>];

    fn deref(&self) -> &Self::Target {
        &self.sources
    }
}

/// A server that gives one answer after another, each on a connection of its own, and keeps what it was asked.
pub(crate) struct Scripted {
    pub(crate) url: Url,
    requests: Arc<Mutex<Vec<String>>>,
    server: JoinHandle<()>,
}

impl Scripted {
    /// How often it was asked.
    pub(crate) fn asked(&self) -> usize {
        self.requests.lock().expect("no panic while locked").len()
    }

    /// One of the requests, without its body.
    pub(crate) fn request(&self, index: usize) -> String {
        self.requests.lock().expect("no panic while locked")[index].clone()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Answers are written without protocol version and length.
pub(crate) async fn script<'a>(answers: impl IntoIterator<Item = &'a str>) -> Scripted {
    let answers: Vec<String> = answers.into_iter().map(whole).collect();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&requests);
    let server = tokio::spawn(async move {
        for answer in answers {
            let Ok((mut stream, _)) = listener.accept().await else {
                return;
            };
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else {
                    break;
                };
                request.push(byte);
            }
            let request = String::from_utf8_lossy(&request).into_owned();
            seen.lock().expect("no panic while locked").push(request);
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    Scripted {
        url: Url::parse(&format!("http://{address}/")).expect("a URL"),
        requests,
        server,
    }
}

fn whole(answer: &str) -> String {
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let length = body.len();
    format!("HTTP/1.1 {head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}
