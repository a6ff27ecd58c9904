//! A private `redis-server` for one test.
//!
//! It runs under a shell that waits for the end of its standard input. That comes when the test
//! ends, and also when the test's process is killed: then the shell ends the server and removes
//! its folder. Nothing is shared, so tests run beside each other.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use redis::{Client, Cmd, Connection, FromRedisValue};

use super::wait::until;

/// Where it listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listen {
    Unix,
    Tcp {
        port: u16,
    },
    /// TLS for the proxy, a Unix socket for the test itself.
    Tls {
        port: u16,
    },
}

/// For `localhost` and 127.0.0.1, vouched for by itself; in PEM.
#[derive(Debug)]
pub(super) struct Certificate {
    own: String,
    key: String,
}

impl Certificate {
    pub(super) fn new() -> Self {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let (own, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        Self { own, key }
    }
}

/// Ports that nobody listens on, all different.
pub(super) fn free_ports<const N: usize>() -> [u16; N] {
    // All are held until each is known.
    let held = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    held.map(|listener| listener.local_addr().expect("its address").port())
}

/// Runs until it is dropped.
#[derive(Debug)]
pub(crate) struct PrivateRedis {
    folder: PathBuf,
    listen: Listen,
    options: Vec<String>,
    /// What the default user must say.
    password: Option<String>,
    shell: Option<Child>,
}

impl PrivateRedis {
    /// One on a Unix socket, answering.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with further options of `redis-server`.
    pub(crate) async fn start_with(options: &[&str]) -> Self {
        let mut redis = Self::absent(Listen::Unix);
        redis.options = options.iter().map(|&option| option.to_owned()).collect();
        redis.run().await;
        redis
    }

    /// One on a TCP port.
    pub(crate) async fn start_on_tcp() -> Self {
        let mut redis = Self::absent_on_tcp();
        redis.run().await;
        redis
    }

    /// One that speaks TLS, with a certificate for `localhost` and 127.0.0.1.
    pub(crate) async fn start_with_tls() -> Self {
        let [port] = free_ports();
        let mut redis = Self::absent_with_tls(port, &Certificate::new(), Vec::new());
        redis.run().await;
        redis
    }

    /// The same, not started yet.
    pub(super) fn absent_with_tls(
        port: u16,
        certificate: &Certificate,
        options: Vec<String>,
    ) -> Self {
        let mut redis = Self::absent(Listen::Tls { port });
        redis.options = options;
        let key = redis.folder.join("key.pem");
        for (path, text) in [
            (redis.ca(), &certificate.own),
            (key.clone(), &certificate.key),
        ] {
            std::fs::write(path, text).expect("a file");
        }
        for (option, path) in [("cert", redis.ca()), ("key", key), ("ca-cert", redis.ca())] {
            let path = path.display().to_string();
            redis.options.extend([format!("--tls-{option}-file"), path]);
        }
        let lenient = ["--tls-auth-clients", "no"].map(str::to_owned);
        redis.options.extend(lenient);
        redis
    }

    /// The authority that vouches for it when it speaks TLS.
    pub(crate) fn ca(&self) -> PathBuf {
        self.folder.join("cert.pem")
    }

    /// One on this TCP port, not started yet; a Sentinel when it gets a configuration, which it
    /// rewrites as it learns.
    pub(super) fn absent_at(port: u16, options: &[String], config: Option<&str>) -> Self {
        let mut redis = Self::absent(Listen::Tcp { port });
        redis.options = options.to_vec();
        if let Some(config) = config {
            std::fs::write(redis.config_file(), config).expect("a file");
        }
        redis
    }

    /// Says this password when the test asks it.
    pub(super) fn with_password(mut self, password: Option<&str>) -> Self {
        self.password = password.map(str::to_owned);
        self
    }

    /// Whether the server was started and not killed since.
    pub(crate) fn is_running(&self) -> bool {
        self.shell.is_some()
    }

    /// Its TCP port.
    pub(crate) fn port(&self) -> u16 {
        match self.listen {
            Listen::Unix => panic!("it has no port"),
            Listen::Tcp { port } | Listen::Tls { port } => port,
        }
    }

    /// A Unix socket where nobody listens yet: see [`Self::run`].
    pub(crate) fn absent_on_unix() -> Self {
        Self::absent(Listen::Unix)
    }

    /// The same on a TCP port.
    pub(crate) fn absent_on_tcp() -> Self {
        let [port] = free_ports();
        Self::absent(Listen::Tcp { port })
    }

    fn absent(listen: Listen) -> Self {
        let folder = tempfile::Builder::new().prefix("larder-redis-").tempdir();
        Self {
            folder: folder.expect("a temporary folder").keep(),
            listen,
            options: Vec::new(),
            password: None,
            shell: None,
        }
    }

    /// Starts the server, and waits until it answers.
    pub(crate) async fn run(&mut self) {
        self.begin();
        self.until_answering().await;
    }

    /// Starts the server.
    pub(crate) fn begin(&mut self) {
        assert!(self.shell.is_none(), "it runs already");
        self.shell = Some(self.spawn());
    }

    /// Waits until it answers, and not with an error.
    pub(crate) async fn until_answering(&self) {
        until("redis-server answers", async || {
            let pong = self.try_ask::<String>(&redis::cmd("PING"));
            pong.is_ok_and(|pong| pong == "PONG")
        })
        .await;
    }

    /// Kills the server as a crash would.
    pub(crate) fn kill(&mut self) {
        self.signal("KILL");
        self.end_shell();
    }

    /// Stops the process without ending it: connections stay, answers don't come.
    pub(crate) fn freeze(&self) {
        self.signal("STOP");
    }

    /// Ends [`Self::freeze`].
    pub(crate) fn thaw(&self) {
        self.signal("CONT");
    }

    /// URL for the proxy.
    pub(crate) fn url(&self) -> String {
        match self.listen {
            Listen::Unix => format!("redis+unix://{}", self.socket().display()),
            Listen::Tcp { port } => format!("redis://127.0.0.1:{port}"),
            Listen::Tls { port } => format!("rediss://localhost:{port}"),
        }
    }

    /// The keys that hold responses: those of the log of purges are there always, and leases come and go.
    pub(crate) fn stored_keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.ask(redis::cmd("KEYS").arg("*"));
        keys.retain(|key| key.ends_with('}'));
        keys
    }

    /// Asks it something, past the code under test.
    pub(crate) fn ask<T: FromRedisValue>(&self, cmd: &Cmd) -> T {
        self.try_ask(cmd).expect("an answer")
    }

    /// The same, where an error is an answer too.
    pub(crate) fn try_ask<T: FromRedisValue>(&self, cmd: &Cmd) -> redis::RedisResult<T> {
        cmd.query(&mut self.connection()?)
    }

    /// How often a command was called by clients or scripts.
    pub(crate) fn calls(&self, command: &str) -> u64 {
        let stats: String = self.ask(redis::cmd("INFO").arg("commandstats"));
        let start = format!("cmdstat_{command}:calls=");
        let mut counts = stats.lines().filter_map(|line| line.strip_prefix(&start));
        let count = counts.next().and_then(|rest| rest.split(',').next());
        count.map_or(0, |count| count.parse().expect("a number"))
    }

    fn connection(&self) -> redis::RedisResult<Connection> {
        let url = match self.listen {
            Listen::Unix | Listen::Tls { .. } => {
                format!("redis+unix://{}", self.socket().display())
            }
            Listen::Tcp { .. } => self.url(),
        };
        let client = Client::open(url)?;
        let mut connection =
            client.get_connection_with_timeout(std::time::Duration::from_secs(5))?;
        if let Some(password) = &self.password {
            redis::cmd("AUTH")
                .arg(password)
                .query::<()>(&mut connection)?;
        }
        Ok(connection)
    }

    /// Where one on a Unix socket listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("redis.sock")
    }

    fn config_file(&self) -> PathBuf {
        self.folder.join("redis.conf")
    }

    fn pid_file(&self) -> PathBuf {
        self.folder.join("redis.pid")
    }

    fn spawn(&self) -> Child {
        // The folder goes when the test's process has gone without tidying up. A test that ends
        // as it should writes a byte first, for it may start the server once more.
        const SCRIPT: &str = r#"
            trap "" INT HUP
            folder=$1; shift
            redis-server "$@" >"$folder/log" 2>&1 </dev/null &
            server=$!
            echo "$server" >"$folder/redis.pid"
            if read -r word; then :; else word=gone; fi
            kill -KILL "$server" 2>/dev/null
            wait "$server" 2>/dev/null
            if [ "$word" = gone ]; then rm -rf "$folder"; fi
        "#;
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, "sh"]).arg(&self.folder);
        if self.config_file().exists() {
            command.arg(self.config_file()).arg("--sentinel");
        } else {
            command.args(["--save", "", "--appendonly", "no"]);
        }
        command.arg("--dir").arg(&self.folder);
        match self.listen {
            Listen::Unix => command
                .args(["--port", "0", "--unixsocket"])
                .arg(self.socket()),
            Listen::Tcp { port } => command
                .args(["--bind", "127.0.0.1", "--port"])
                .arg(port.to_string()),
            Listen::Tls { port } => command
                .args(["--bind", "127.0.0.1", "--port", "0", "--unixsocket"])
                .arg(self.socket())
                .arg("--tls-port")
                .arg(port.to_string()),
        };
        command
            .args(&self.options)
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        command.spawn().expect("sh can be started")
    }

    fn signal(&self, name: &str) {
        let pid = std::fs::read_to_string(self.pid_file()).expect("the server's id");
        let sent = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(pid.trim())
            .status();
        assert!(sent.expect("kill can be started").success());
    }

    fn end_shell(&mut self) {
        use std::io::Write;
        let Some(mut shell) = self.shell.take() else {
            return;
        };
        if let Some(mut input) = shell.stdin.take() {
            // It may have gone; then there is nobody to tell.
            let _ = input.write_all(b"end\n");
        }
        let _ = shell.wait();
    }
}

impl Drop for PrivateRedis {
    fn drop(&mut self) {
        self.end_shell();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Whether a process with this id is there.
fn is_running(pid: &str) -> bool {
    Path::new("/proc").join(pid).join("exe").exists()
}

/// What becomes of the server when nobody tidies up.
#[tokio::test]
async fn a_server_and_its_folder_go_when_their_owner_is_killed() {
    let mut redis = PrivateRedis::start().await;
    let pid = std::fs::read_to_string(redis.pid_file()).expect("the server's id");
    let folder = redis.folder.clone();
    assert!(is_running(pid.trim()));
    // The end of a killed process: its end of the pipe is closed without a word.
    let mut shell = redis.shell.take().expect("it runs");
    drop(shell.stdin.take());
    shell.wait().expect("the shell ends");
    assert!(!is_running(pid.trim()));
    assert!(!folder.exists());
}
