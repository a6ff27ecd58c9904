//! The binary itself: what it says of its configuration, its health, and how it ends.

use crate::support::upstream::{Upstream, respond};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

const BINARY: &str = env!("CARGO_BIN_EXE_larder-proxy");

fn binary(args: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(args).env_clear().stdin(Stdio::null());
    command
}

/// A running proxy that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts it on ports of its choice; gives them as its log names them.
fn start(upstream: &str) -> (Running, String, String) {
    let args = [
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
        "--upstream",
        upstream,
    ];
    let mut child = binary(&args).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let running = Running(child);
    let mut line = String::new();
    while !line.contains("serving") {
        line.clear();
        assert!(
            log.read_line(&mut line).unwrap() > 0,
            "it ended before it served"
        );
    }
    let field = |name: &str| {
        let (_, rest) = line.split_once(&format!("{name}=")).unwrap();
        rest.split_whitespace().next().unwrap().to_owned()
    };
    let (listen, admin) = (field("listen"), field("admin"));
    // Whatever it says later must not block it.
    std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
    (running, listen, admin)
}

#[test]
fn check_names_every_fault_and_exits_64() {
    let output = binary(&[
        "check",
        "--listen",
        "nowhere",
        "--upstream",
        "ftp://a",
        "--memory",
        "12",
    ])
    .output()
    .unwrap();
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        ["listen", "upstream", "memory"]
            .iter()
            .all(|key| said.contains(key)),
        "{said}"
    );
    let sound = binary(&["check", "--upstream", "http://127.0.0.1:1"])
        .output()
        .unwrap();
    assert_eq!(sound.status.code(), Some(0));
}

#[test]
fn a_port_that_is_taken_is_named_and_ends_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = binary(&[
        "--listen",
        &address,
        "--admin",
        "127.0.0.1:0",
        "--upstream",
        "http://127.0.0.1:1",
    ])
    .output()
    .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains(&address));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_tells_its_health_and_ends_cleanly_on_sigterm() {
    let upstream =
        Upstream::start(async |_| respond(200, &[("cache-control", "max-age=60")], "ok")).await;
    let (mut running, listen, admin) = start(&format!("http://{}", upstream.address));
    let health = binary(&["health", "--admin", &admin]).output().unwrap();
    assert_eq!(health.status.code(), Some(0), "{health:?}");
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client
        .get(format!("http://{listen}/a"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.headers()["x-cache"], "MISS");
    let pid = running.0.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
    let health = binary(&["health", "--admin", &admin]).output().unwrap();
    assert_eq!(health.status.code(), Some(1));
}
