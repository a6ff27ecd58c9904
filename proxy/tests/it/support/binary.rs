//! The real binary as a process of its own.
//!
//! It runs under a shell that ends it when the test ends, also when the test's process is killed: then the shell's standard input
//! ends. What it logs is kept, and tests wait for it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::wait::until;

const BINARY: &str = env!("CARGO_BIN_EXE_larder-proxy");

/// Ends with the process that it starts, and with its code.
const SCRIPT: &str = r#"
    exec 3<&0 </dev/null
    "$@" 3<&- &
    process=$!
    echo "process $process" >&2
    # Without our standard error: whoever reads that wants to see its end.
    { read -r word <&3; kill -KILL "$process"; } 2>/dev/null &
    watch=$!
    wait "$process"
    code=$?
    kill -KILL "$watch" 2>/dev/null
    exit "$code"
"#;

/// Runs until it is dropped, or ends by itself.
#[derive(Debug)]
pub(crate) struct Binary {
    shell: Child,
    log: Arc<Mutex<Vec<String>>>,
    keeps_log: Arc<AtomicBool>,
}

impl Binary {
    /// On ports of its choice, before this upstream, with further arguments; serving.
    pub(crate) async fn before(
        upstream: SocketAddr,
        more: &[&str],
    ) -> (Self, SocketAddr, SocketAddr) {
        let upstream = format!("http://{upstream}");
        let mut args = vec!["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        args.extend(["--upstream", &upstream]);
        args.extend(more);
        let binary = Self::start(&args);
        let (clients, admin) = binary.serving().await;
        (binary, clients, admin)
    }

    /// Starts it with these arguments and an empty environment; see [`Self::serving`].
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "sh", BINARY])
            .args(args)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("sh can be started");
        let log = Arc::<Mutex<Vec<String>>>::default();
        let (lines, kept) = (BufReader::new(shell.stderr.take().unwrap()), log.clone());
        let keeps_log = Arc::new(AtomicBool::new(true));
        let keeps = keeps_log.clone();
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                if keeps.load(Ordering::Relaxed) {
                    kept.lock().unwrap().push(line);
                }
            }
        });
        Self {
            shell,
            log,
            keeps_log,
        }
    }

    /// From now on nothing that it says is kept: for loads without end.
    pub(crate) fn stop_keeping_log(&self) {
        self.keeps_log.store(false, Ordering::Relaxed);
    }

    /// What it has in memory at this moment, as the kernel counts it.
    #[cfg(target_os = "linux")]
    pub(crate) async fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id().await)).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.unwrap().trim().trim_end_matches(" kB");
        kib.parse::<u64>().unwrap() * 1024
    }

    async fn id(&self) -> String {
        let line = self.said("process ").await;
        line.rsplit(' ').next().unwrap().to_owned()
    }

    /// Everything it said so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// Waits until it has said a line with this in it; gives the line.
    pub(crate) async fn said(&self, text: &str) -> String {
        self.said_one_of(&[text]).await
    }

    async fn said_one_of(&self, texts: &[&str]) -> String {
        let find = || {
            let log = self.log.lock().unwrap();
            let is_it = |line: &&String| texts.iter().any(|text| line.contains(text));
            log.iter().find(is_it).cloned()
        };
        let what = format!("one of {texts:?} is said");
        until(&what, async || find().is_some()).await;
        find().unwrap()
    }

    /// Waits until it serves; gives where clients and operators are served.
    pub(crate) async fn serving(&self) -> (SocketAddr, SocketAddr) {
        // For people, or for machines.
        let texts = ["serving listen=", "\"message\":\"serving\""];
        let line = self.said_one_of(&texts).await;
        let line = line.replace("\":\"", "=").replace(['"', ','], " ");
        let field = |name: &str| {
            let (_, rest) = line.split_once(&format!("{name}=")).unwrap();
            rest.split_whitespace().next().unwrap().parse().unwrap()
        };
        (field("listen"), field("admin"))
    }

    /// Sends it a signal, such as `TERM`; says whether it was still there to get it.
    pub(crate) async fn signal(&self, name: &str) -> bool {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.id().await])
            .stderr(Stdio::null())
            .status();
        sent.expect("kill can be started").success()
    }

    /// Waits until it has ended; gives its exit code.
    pub(crate) async fn ended(&mut self) -> i32 {
        let mut status = None;
        until("the process ends", async || {
            status = self.shell.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap().code().expect("the shell is not killed")
    }

    /// Whether it runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.shell.try_wait().unwrap().is_none()
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
        if std::thread::panicking() {
            eprintln!("--- a process said:\n{}", self.log());
        }
    }
}
