//! The program itself, as a child that ends with its test.

use super::PATIENCE;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tempfile::TempDir;

/// A running origin.
pub(crate) struct Process {
    pub(crate) address: SocketAddr,
    child: Child,
    log: Arc<Mutex<String>>,
    _folder: TempDir,
}

/// The program with an environment of its own, in a folder of its own.
pub(crate) fn command(folder: &Path, settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder-origin"));
    command
        .env_clear()
        .current_dir(folder)
        .env("ORIGIN_LISTEN", "127.0.0.1:0")
        .env("ORIGIN_LOG_FORMAT", "json");
    command.envs(settings.iter().copied()).stdin(Stdio::null());
    command
}

/// Runs a subcommand to its end.
pub(crate) fn run(arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    let folder = TempDir::new().expect("a folder");
    command(folder.path(), settings)
        .args(arguments)
        .output()
        .expect("the program runs")
}

impl Process {
    /// Starts it and waits until it listens.
    pub(crate) fn start(settings: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().expect("a folder");
        // `sh` ends the program when this process ends, in whatever way: its own standard input closes then.
        let program = command(folder.path(), settings);
        let mut child = with_keeper(&program, folder.path())
            .spawn()
            .expect("sh runs");
        let log = Arc::new(Mutex::new(String::new()));
        let (stderr, sink) = (child.stderr.take().expect("a pipe"), Arc::clone(&log));
        std::thread::spawn(move || {
            use std::io::BufRead;
            for line in std::io::BufReader::new(stderr)
                .lines()
                .map_while(Result::ok)
            {
                let mut log = sink.lock().expect("no panic while locked");
                log.push_str(&line);
                log.push('\n');
            }
        });
        let address = wait_for(
            || listening_address(&log.lock().expect("no panic while locked")),
            &log,
        );
        Self {
            address,
            child,
            log,
            _folder: folder,
        }
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("no panic while locked").clone()
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&mut self) {
        use std::io::Write;
        writeln!(self.child.stdin.as_mut().expect("a pipe"), "term").expect("the keeper lives");
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        wait_for(|| child.try_wait().expect("a child"), &self.log)
    }
}

/// `sh` ends the program when this process ends, in whatever way: its own standard input closes then. Arguments are the program's.
pub(crate) fn with_keeper(program: &Command, folder: &Path) -> Command {
    const KEEPER: &str = r#"
"$0" "$@" </dev/null & pid=$!
{ while read -r word; do kill -TERM $pid; done; kill -KILL $pid 2>/dev/null; } <&3 & reader=$!
exec 3<&-
wait $pid; code=$?
kill -KILL $reader 2>/dev/null
exit $code"#;
    let script = format!("exec 3<&0; {KEEPER}");
    let mut keeper = Command::new("/bin/sh");
    keeper
        .arg("-c")
        .arg(script)
        .arg(program.get_program())
        .current_dir(folder)
        .env_clear();
    let settings = program
        .get_envs()
        .filter_map(|(name, value)| Some((name, value?)));
    keeper.envs(settings).env("PATH", "/usr/bin:/bin");
    keeper
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    keeper
}

fn listening_address(log: &str) -> Option<SocketAddr> {
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let line = lines
        .into_iter()
        .find(|line| line["message"] == "listening")?;
    line["address"].as_str()?.parse().ok()
}

pub(crate) fn wait_for<T>(mut ready: impl FnMut() -> Option<T>, log: &Mutex<String>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "waited in vain; the log: {}",
            log.lock().expect("no panic while locked")
        );
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}
