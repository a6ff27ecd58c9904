//! A new binary takes over from the running one, and nobody outside notices.

mod load;

use crate::support::binary::Binary;
use crate::support::redis::PrivateRedis;
use crate::support::upstream::{Upstream, counting, respond};
use crate::support::wait::until;
use load::Load;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;

/// What the processes of one upgrade have in common.
struct Site {
    folder: TempDir,
    upstream: String,
}

impl Site {
    fn new(upstream: SocketAddr) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            upstream: format!("http://{upstream}"),
        }
    }

    fn socket(&self) -> String {
        let path = self.folder.path().join("upgrade.sock");
        path.to_str().unwrap().to_owned()
    }

    fn start(&self, more: &[&str]) -> Binary {
        self.start_on("127.0.0.1:0", more)
    }

    fn start_on(&self, listen: &str, more: &[&str]) -> Binary {
        let socket = self.socket();
        let mut args = vec!["--listen", listen, "--admin", "127.0.0.1:0"];
        args.extend(["--upstream", &self.upstream, "--upgrade-sock", &socket]);
        args.extend(more);
        Binary::start(&args)
    }
}

async fn get(address: SocketAddr, target: &str) -> reqwest::Response {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{address}{target}");
    client.get(url).send().await.unwrap()
}

fn cache_status(response: &reqwest::Response) -> &str {
    response.headers()["cache-status"].to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_upgrades_and_an_end_under_load_cost_no_request() {
    let upstream = load::upstream().await;
    let site = Site::new(upstream.address);
    let mut running = site.start(&[]);
    let ports = running.serving().await;
    let load = Load::start(ports.0);
    load.everybody_was_served().await;
    for _ in 0..3 {
        let new = site.start(&["--upgrade"]);
        running.signal("QUIT").await;
        assert_eq!(new.serving().await, ports);
        load.everybody_was_served().await;
        assert_eq!(running.ended().await, 0);
        assert!(!running.log().contains("still open"), "it drained in time");
        running = new;
    }
    load.no_new_connections().await;
    running.signal("TERM").await;
    let count = load.end().await;
    assert_eq!(running.ended().await, 0);
    assert!(!running.log().contains("still open"), "it drained in time");
    println!("{count}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_running_process_may_be_told_first_or_the_new_one_started_first() {
    let upstream = counting("max-age=60").await;
    let site = Site::new(upstream.address);
    let mut first = site.start(&[]);
    let ports = first.serving().await;
    first.signal("QUIT").await;
    first.said("offering the listening sockets").await;
    let mut second = site.start(&["--upgrade"]);
    assert_eq!(second.serving().await, ports);
    assert_eq!(first.ended().await, 0);
    let third = site.start(&["--upgrade"]);
    third.said("process ").await;
    second.signal("QUIT").await;
    assert_eq!(third.serving().await, ports);
    assert_eq!(second.ended().await, 0);
    assert_eq!(get(ports.0, "/").await.status(), 200);
    assert_eq!(get(ports.1, "/health").await.status(), 200);
    assert!(!std::path::Path::new(&site.socket()).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_find_the_new_process_while_the_old_one_drains() {
    let (gate, upstream) = load::gated().await;
    let site = Site::new(upstream.address);
    let mut first = site.start(&[]);
    let ports = first.serving().await;
    let under_way = tokio::spawn(async move { get(ports.0, "/slow").await.status() });
    until("it is asked", async || upstream.count() == 1).await;
    first.signal("QUIT").await;
    let second = site.start(&["serve", "--upgrade"]);
    second.serving().await;
    first.said("draining").await;
    until("the new process answers operators", async || {
        get(ports.1, "/health").await.status() == 200
    })
    .await;
    assert!(first.runs(), "somebody still waits for an answer");
    gate.add_permits(1);
    assert_eq!(under_way.await.unwrap(), 200);
    assert_eq!(first.ended().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_process_that_fails_changes_nothing() {
    let upstream = counting("max-age=60").await;
    let site = Site::new(upstream.address);
    let mut first = site.start(&[]);
    let ports = first.serving().await;
    first.signal("QUIT").await;
    first.said("offering").await;
    let mut wrong = site.start(&["--upgrade", "--memory", "much"]);
    assert_eq!(wrong.ended().await, 64);
    // One that gets the sockets, and only then finds out that it can't serve on them.
    let mut elsewhere = site.start_on("127.0.0.1:1", &["--upgrade"]);
    assert_eq!(elsewhere.ended().await, 1);
    elsewhere.said("listen: 127.0.0.1:1 is configured").await;
    first.said("went away before it was ready").await;
    assert_eq!(get(ports.0, "/").await.status(), 200);
    // The offer stands: a right one can still take over.
    let second = site.start(&["--upgrade"]);
    assert_eq!(second.serving().await, ports);
    assert_eq!(first.ended().await, 0);
    assert_eq!(get(ports.0, "/").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_nobody_takes_the_sockets_the_process_serves_on_and_can_be_told_again() {
    let upstream = counting("max-age=60").await;
    let site = Site::new(upstream.address);
    let mut first = site.start(&["--upgrade-timeout", "50ms"]);
    let ports = first.serving().await;
    first.signal("QUIT").await;
    let said = first.said("the upgrade did not happen").await;
    assert!(said.contains("no new process took the sockets"), "{said}");
    assert!(!std::path::Path::new(&site.socket()).exists());
    assert_eq!(get(ports.0, "/").await.status(), 200);
    assert!(first.runs());
    // One that a killed process left is no obstacle.
    drop(std::os::unix::net::UnixListener::bind(site.socket()).unwrap());
    let second = site.start(&["--upgrade"]);
    until("the sockets are taken", async || {
        first.signal("QUIT").await;
        second.log().contains("serving listen=")
    })
    .await;
    assert_eq!(second.serving().await, ports);
    assert_eq!(first.ended().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_process_that_nobody_offers_anything_says_so_and_binds_nothing() {
    let upstream = counting("max-age=60").await;
    let site = Site::new(upstream.address);
    let mut alone = site.start(&["--upgrade", "--upgrade-timeout", "50ms"]);
    assert_eq!(alone.ended().await, 75);
    let said = alone.said("nobody offered its sockets").await;
    assert!(said.contains("SIGQUIT"), "{said}");
    assert!(!alone.log().contains("serving listen="));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_told_to_end_while_it_offers_ends() {
    let upstream = counting("max-age=60").await;
    let site = Site::new(upstream.address);
    let mut first = site.start(&[]);
    first.serving().await;
    first.signal("QUIT").await;
    first.said("offering").await;
    first.signal("TERM").await;
    assert_eq!(first.ended().await, 0);
    assert!(!std::path::Path::new(&site.socket()).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_place_to_meet_sigquit_changes_nothing_and_upgrade_is_refused() {
    let upstream = counting("max-age=60").await;
    let url = format!("http://{}", upstream.address);
    let ports = [
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
        "--upstream",
        &url,
    ];
    let mut running = Binary::start(&ports);
    let (clients, _) = running.serving().await;
    running.signal("QUIT").await;
    running.said("no upgrade_sock is set").await;
    assert_eq!(get(clients, "/").await.status(), 200);
    assert!(running.runs());
    let mut refused = Binary::start(&[&ports[..], &["--upgrade"]].concat());
    assert_eq!(refused.ended().await, 64);
    refused.said("upgrade_sock").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_others_can_write_to_is_refused_at_the_start() {
    let upstream = counting("max-age=60").await;
    let site = Site::new(upstream.address);
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(site.folder.path(), open).unwrap();
    let mut refused = site.start(&[]);
    assert_eq!(refused.ended().await, 1);
    refused.said("writable by its owner alone").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_process_is_warm_from_redis_with_what_was_answered_last() {
    let upstream = Upstream::start(async |asked| {
        respond(200, &[("cache-control", "max-age=600")], asked.target)
    })
    .await;
    let redis = PrivateRedis::start().await;
    let site = Site::new(upstream.address);
    let url = redis.url();
    let settings = ["--redis", url.as_str(), "--redis-timeout", "5s"];
    let mut first = site.start(&settings);
    let ports = first.serving().await;
    first.said("connected to Redis").await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    // The host is part of the key, and the port changes.
    let ask = async |port: SocketAddr, number: usize| {
        let url = format!("http://{port}/{number}");
        let asked = client.get(url).header("host", "api.example").send().await;
        let answer = asked.unwrap();
        let status = cache_status(&answer).to_owned();
        assert_eq!(answer.text().await.unwrap(), format!("/{number}"));
        status
    };
    let fills = futures_util::future::join_all((0..100).map(|number| ask(ports.0, number))).await;
    // No pause: what was answered just now is still on its way.
    first.signal("TERM").await;
    assert!(
        fills.iter().all(|status| status.contains("stored")),
        "{fills:?}"
    );
    assert_eq!(first.ended().await, 0);
    assert_eq!(upstream.count(), 100);
    let second = site.start(&settings);
    let ports = second.serving().await;
    for number in 0..100 {
        let status = ask(ports.0, number).await;
        assert!(status.contains("; hit"), "/{number}: {status}");
    }
    assert_eq!(upstream.count(), 100, "the API was not asked again");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_still_on_its_way_to_redis_when_the_process_ends_arrives() {
    // More than the connection to Redis takes at once.
    let content = "x".repeat(6 << 20);
    let upstream = Upstream::start(move |_| {
        let content = content.clone();
        async move { respond(200, &[("cache-control", "max-age=600")], content) }
    })
    .await;
    let redis = PrivateRedis::start().await;
    let site = Site::new(upstream.address);
    let url = redis.url();
    let settings = ["--redis", url.as_str(), "--redis-timeout", "500ms"];
    let mut first = site.start(&settings);
    let (clients, _) = first.serving().await;
    first.said("connected to Redis").await;
    redis.freeze();
    let ask = async |port: SocketAddr| {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let asked = client.get(format!("http://{port}/"));
        let asked = asked
            .header("host", "api.example")
            .header("connection", "close");
        let answer = asked.send().await.unwrap();
        let status = cache_status(&answer).to_owned();
        assert_eq!(answer.bytes().await.unwrap().len(), 6 << 20);
        status
    };
    let filled = ask(clients).await;
    first.signal("TERM").await;
    until("the client port is closed", async || {
        tokio::net::TcpStream::connect(clients).await.is_err()
    })
    .await;
    redis.thaw();
    assert!(filled.contains("stored"), "{filled}");
    assert_eq!(first.ended().await, 0);
    let second = site.start(&settings);
    let found = ask(second.serving().await.0).await;
    assert!(found.contains("; hit"), "{found}");
    assert_eq!(upstream.count(), 1);
}
