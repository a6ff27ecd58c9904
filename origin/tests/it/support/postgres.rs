//! A private PostgreSQL: initdb'd into a temporary folder, reached by a socket in it, ended and removed with the test process.
//!
//! A small shell stands between: it owns the server, takes commands on its standard input, and cleans up when that closes,
//! which happens however the test process ends.

use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

const KEEPER: &str = r#"
start() { $AS "$BIN/postgres" -D "$DIR/data" -k "$DIR" -c listen_addresses= -c fsync=off -c max_connections=300 >>"$DIR/log" 2>&1 & pid=$!; }
stop() { kill -CONT $pid; kill -QUIT $pid; wait $pid; }
all() { echo $pid $(cat /proc/$pid/task/$pid/children); }
trap '' INT TERM HUP
start
while read -r word; do
  case $word in stop) stop ;; start) start ;; freeze) kill -STOP $(all) ;; thaw) kill -CONT $(all) ;; esac
done
case $KEEP in '') stop; rm -rf "$DIR" ;; *) kill -INT $pid; wait $pid ;; esac
"#;
/// Whom the server runs as when the tests run as root, which PostgreSQL refuses.
const NOBODY: u32 = 65534;

/// A running server.
pub(crate) struct Postgres {
    folder: PathBuf,
    commands: Mutex<ChildStdin>,
    _keeper: Child,
    databases: AtomicU32,
}

impl Postgres {
    /// The one that most tests share.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// One of the caller's own, to be stopped and started at will.
    pub(crate) fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("larder-pg-")
            .tempdir_in("/tmp")
            .expect("a folder");
        Self::run(folder.keep(), false)
    }

    /// In this folder, which goes with the server, or is kept with all databases in it for the next one.
    pub(crate) fn run(folder: PathBuf, kept: bool) -> Self {
        let bin = binaries();
        std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o700)).expect("permissions");
        let is_root = std::fs::metadata("/proc/self").expect("/proc").uid() == 0;
        if is_root {
            chown(&folder, Some(NOBODY), Some(NOBODY)).expect("chown");
        }
        let user = format!("setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups");
        let runs_as = if is_root { user.as_str() } else { "" };
        let initdb = r#"cd "$DIR" && $AS "$BIN/initdb" -D "$DIR/data" -U larder -A trust -N -E UTF8 --locale=C >"$DIR/log" 2>&1"#;
        let shell = |script: &str| {
            let mut command = Command::new("sh");
            command
                .args(["-c", script])
                .env("DIR", &folder)
                .env("BIN", &bin)
                .env("AS", runs_as)
                .env("KEEP", if kept { "yes" } else { "" })
                .current_dir(&folder);
            command
        };
        if !folder.join("data").exists() {
            let made = shell(initdb).status().expect("sh");
            assert!(made.success(), "initdb failed: {}", log(&folder));
        }
        // A group of its own: an interrupt at the keyboard reaches the tests, and the shell then cleans up.
        let mut keeper = shell(KEEPER)
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("sh");
        let commands = Mutex::new(keeper.stdin.take().expect("a pipe"));
        Self {
            folder,
            commands,
            _keeper: keeper,
            databases: AtomicU32::new(0),
        }
    }

    /// A new, empty database.
    pub(crate) async fn database(&self) -> String {
        let name = format!("t{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.execute(&format!("CREATE DATABASE {name}")).await;
        self.url(&name)
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join(".s.PGSQL.5432")
    }

    /// Ends the server at once, as a crash would.
    pub(crate) fn stop(&self) {
        self.say("stop");
    }

    /// Starts it again.
    pub(crate) fn start_again(&self) {
        self.say("start");
    }

    /// Stops the server and all its processes in their tracks: connections stay open, nothing answers.
    pub(crate) fn freeze(&self) {
        self.say("freeze");
    }

    /// Lets them run on.
    pub(crate) fn thaw(&self) {
        self.say("thaw");
    }

    fn say(&self, word: &str) {
        writeln!(
            self.commands.lock().expect("no panic while locked"),
            "{word}"
        )
        .expect("the keeper lives");
    }

    /// As the server's owner, who waits until it is there.
    pub(crate) async fn execute(&self, statement: &str) {
        use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
        let options: sqlx::postgres::PgConnectOptions =
            self.url("postgres").parse().expect("a URL");
        let begun = std::time::Instant::now();
        let mut connection = loop {
            match options.connect().await {
                Ok(connection) => break connection,
                Err(error) => assert!(
                    begun.elapsed() < super::PATIENCE,
                    "{error}: {}",
                    log(&self.folder)
                ),
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        };
        sqlx::query(AssertSqlSafe(statement.to_owned()))
            .execute(&mut connection)
            .await
            .expect("the statement");
        connection.close().await.expect("a clean end");
    }

    pub(crate) fn url(&self, database: &str) -> String {
        format!(
            "postgres://larder@localhost/{database}?host={}",
            self.folder.display()
        )
    }
}

fn log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("log")).unwrap_or_default()
}

/// Where `initdb` and `postgres` lie: on the path, else where Debian puts them. Missing ones fail the tests: they are not skipped.
fn binaries() -> PathBuf {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test looks for a program as a shell does"
    )]
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    folders.extend(versions.map(|version| version.path().join("bin")));
    let complete =
        |folder: &PathBuf| folder.join("initdb").is_file() && folder.join("postgres").is_file();
    folders
        .into_iter()
        .find(complete)
        .expect("initdb and postgres are needed: apt-get install postgresql")
}
