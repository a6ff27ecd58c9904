//! How much longer do clients wait while Redis is broken? Measured and printed, never asserted: times are a machine's, not
//! the program's. `scripts/faults` runs it.

use super::*;
use crate::support::binary::Binary;
use crate::support::load::{Report, Sample};
use std::net::SocketAddr;
use std::time::Instant;

/// Requests at once.
const CLIENTS: usize = 8;
const API_LATENCY: Duration = Duration::from_millis(2);
const HEALTHY: Duration = Duration::from_secs(2);
/// By then a breaker has opened.
const FIRST: Duration = Duration::from_secs(1);
const LATER: Duration = Duration::from_secs(4);

/// The real program twice, Redis, and what is between them.
struct Stand {
    library: Library,
    redis: PrivateRedis,
    link: FaultProxy,
    _programs: Vec<Binary>,
    replicas: Vec<SocketAddr>,
    http: reqwest::Client,
    names: u32,
}

impl Stand {
    async fn start() -> Self {
        let options = ["--maxmemory-policy", "noeviction"];
        let redis = PrivateRedis::start_with(&options).await;
        let library = Library::start(API_LATENCY).await;
        let link = FaultProxy::before_socket(redis.socket()).await;
        let url = format!("redis://{}", link.address);
        let (mut programs, mut replicas) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            let (program, clients, _) = Binary::before(library.address(), &["--redis", &url]).await;
            programs.push(program);
            replicas.push(clients);
        }
        Self {
            _programs: programs,
            replicas,
            library,
            redis,
            link,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            names: 0,
        }
    }

    /// How long it takes until one replica finds in Redis what the other one stored.
    async fn back(&mut self) -> Duration {
        let begin = Instant::now();
        until("the replicas share what they store", async || {
            self.names += 1;
            let target = format!("/cold/shared-{}", self.names);
            let mut result = String::new();
            for replica in &self.replicas {
                let url = format!("http://{}{target}", replica);
                let request = self.http.get(url).header("host", "api.example");
                let response = request.send().await.unwrap();
                result = response.headers()["cache-status"]
                    .to_str()
                    .unwrap()
                    .to_owned();
            }
            // It may still be on its way, and is waited for then.
            result.contains("; hit") || result.contains("collapsed")
        })
        .await;
        begin.elapsed()
    }

    fn command(&self, words: &[&str]) {
        let mut cmd = redis::cmd(words[0]);
        words[1..].iter().for_each(|word| {
            cmd.arg(word);
        });
        self.redis.ask::<()>(&cmd);
    }

    async fn begin(&mut self, fault: &str) {
        let pause = Duration::from_millis(20);
        match fault {
            "killed" => self.redis.kill(),
            "frozen (SIGSTOP)" => self.redis.freeze(),
            "200 ms each way" => self.link.set(Mode::Delay(Duration::from_millis(200))),
            "black hole" => self.link.set(Mode::BlackHole),
            "connections cut" => self.link.set(Mode::Cut),
            "replies damaged" => self.link.set(Mode::Corrupt { one_in: 5 }),
            "replies in drips" => self.link.set(Mode::Drip { bytes: 64, pause }),
            "flushed" => self.command(&["FLUSHALL"]),
            "read-only replica" => self.command(&["REPLICAOF", "127.0.0.1", "1"]),
            "out of memory" => self.command(&["CONFIG", "SET", "maxmemory", "1"]),
            other => assert_eq!(other, "none"),
        }
    }

    async fn end(&mut self, fault: &str) {
        match fault {
            "killed" => self.redis.run().await,
            "frozen (SIGSTOP)" => self.redis.thaw(),
            "read-only replica" => self.command(&["REPLICAOF", "NO", "ONE"]),
            "out of memory" => self.command(&["CONFIG", "SET", "maxmemory", "0"]),
            _ => self.link.set(Mode::Pass),
        }
    }
}

const FAULTS: [&str; 11] = [
    "none",
    "killed",
    "frozen (SIGSTOP)",
    "200 ms each way",
    "black hole",
    "connections cut",
    "replies damaged",
    "replies in drips",
    "flushed",
    "read-only replica",
    "out of memory",
];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes and prints times: see scripts/faults"]
async fn what_clients_wait_while_redis_is_broken() {
    println!(
        "{CLIENTS} clients, each asking for what no cache has; the API takes {} ms; p50 / p99 in ms",
        API_LATENCY.as_millis()
    );
    println!(
        "| Redis | answers | wrong | at once at the API | healthy | first second | after it | shared again after |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for fault in FAULTS {
        row(fault).await;
    }
}

async fn row(fault: &str) {
    let mut stand = Stand::start().await;
    stand.back().await;
    let load = Load::start(&stand.replicas, CLIENTS, Mix::Cold);
    let begin = Instant::now();
    tokio::time::sleep(HEALTHY).await;
    let broken = Instant::now();
    stand.begin(fault).await;
    tokio::time::sleep(FIRST + LATER).await;
    let mended = Instant::now();
    stand.end(fault).await;
    let back = stand.back().await;
    let report = load.end().await;
    println!(
        "| {fault} | {} | {} | {} | {} | {} | {} | {:.1} s |",
        report.answers,
        report.wrong_count,
        stand.library.most_at_once(),
        quantiles(&report, begin, broken),
        quantiles(&report, broken, broken + FIRST),
        quantiles(&report, broken + FIRST, mended),
        back.as_secs_f64(),
    );
    assert_eq!(report.wrong_count, 0, "{:#?}", report.wrong);
}

/// The median and the 99th percentile of the answers to what was asked in this time.
fn quantiles(report: &Report, from: Instant, to: Instant) -> String {
    let within = |sample: &&Sample| (from..to).contains(&sample.at);
    let mut took: Vec<_> = report.samples.iter().filter(within).collect();
    took.sort_by_key(|sample| sample.took);
    let at = |share: usize| {
        let sample = took.get(took.len() * share / 100);
        sample.map_or(f64::NAN, |sample| sample.took.as_secs_f64() * 1000.0)
    };
    format!("{:.1} / {:.1}", at(50), at(99))
}
