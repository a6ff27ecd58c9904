//! The real proxy before an origin, as a child that ends with its test.

use super::process::{wait_for, with_keeper};
use std::io::BufRead;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, OnceLock};
use tempfile::TempDir;

/// A running proxy, with memory alone unless its arguments say otherwise. To drop it is to kill it.
pub(crate) struct Proxy {
    /// Where clients are served.
    pub(crate) address: SocketAddr,
    /// Where operators are served.
    pub(crate) admin: SocketAddr,
    log: Arc<Mutex<String>>,
    _child: Child,
    _folder: TempDir,
}

impl Proxy {
    /// On ports of its own choice; with further arguments.
    pub(crate) async fn before(origin: SocketAddr, more: &[&str]) -> Self {
        let more: Vec<String> = more.iter().map(|text| (*text).to_owned()).collect();
        let start = move || Self::start(origin, &more);
        tokio::task::spawn_blocking(start).await.expect("started")
    }

    fn start(origin: SocketAddr, more: &[String]) -> Self {
        let folder = TempDir::new().expect("a folder");
        let mut program = Command::new(binary());
        program.env("LARDER_LISTEN", "127.0.0.1:0");
        program.env("LARDER_ADMIN", "127.0.0.1:0");
        program.env("LARDER_UPSTREAM", format!("http://{origin}"));
        let mut command = with_keeper(&program, folder.path());
        let mut child = command.args(more).spawn().expect("sh runs");
        let log = Arc::new(Mutex::new(String::new()));
        let (stderr, sink) = (child.stderr.take().expect("a pipe"), Arc::clone(&log));
        std::thread::spawn(move || {
            for line in std::io::BufReader::new(stderr)
                .lines()
                .map_while(Result::ok)
            {
                let mut log = sink.lock().expect("no panic while locked");
                log.push_str(&line);
                log.push('\n');
            }
        });
        let (address, admin) = wait_for(
            || serving(&log.lock().expect("no panic while locked")),
            &log,
        );
        Self {
            address,
            admin,
            log,
            _child: child,
            _folder: folder,
        }
    }

    /// Everything it said so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("no panic while locked").clone()
    }
}

/// What it says when it serves, to people or to machines.
fn serving(log: &str) -> Option<(SocketAddr, SocketAddr)> {
    let told = log.lines().find_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        let address = |name: &str| line[name].as_str()?.parse().ok();
        (line["message"] == "serving").then_some((address("listen")?, address("admin")?))
    });
    if told.is_some() {
        return told;
    }
    let (_, rest) = log.split_once("serving listen=")?;
    let (listen, rest) = rest.split_once(" admin=")?;
    let admin = rest.split_whitespace().next()?;
    Some((listen.trim().parse().ok()?, admin.parse().ok()?))
}

/// The proxy's program stands beside the origin's. `cargo test --workspace` has built it; for a run of this package alone it is
/// built here.
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let binary = Path::new(env!("CARGO_BIN_EXE_larder-origin")).with_file_name("larder-proxy");
        if !binary.is_file() {
            let mut build = Command::new(env!("CARGO"));
            build.args(["build", "--quiet", "--locked", "-p", "larder-proxy"]);
            assert!(
                build.status().expect("cargo runs").success(),
                "larder-proxy cannot be built"
            );
        }
        binary
    })
}
