//! The corpus before real servers. `scripts/smuggling` starts them, with a proxy before each, and names them in a file.

use super::corpus::{self, Ending, Template};
use super::origin::{Record, Seen};
use super::{Ledger, Stance, run};
use crate::support::proxy::Proxy;
use crate::support::upstream::{Upstream, respond};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const SETTLE_MAX: Duration = Duration::from_secs(5);

/// A server behind a proxy.
struct Target {
    name: String,
    proxy: SocketAddr,
    admin: SocketAddr,
    log: Log,
}

/// Where the server tells what it has seen.
enum Log {
    /// A line `METHOD target` a request.
    File(PathBuf),
    Hyper(
        Upstream,
        #[expect(dead_code, reason = "held so that it runs")] Proxy,
    ),
}

impl Log {
    fn record(&self) -> Record {
        let seen = |line: &str| Seen {
            line: line.to_owned(),
            body: None,
            names: Vec::new(),
        };
        let seen = match self {
            Self::File(path) => {
                let bytes = std::fs::read(path).unwrap_or_default();
                let text: String = bytes.into_iter().map(char::from).collect();
                let lines = text.lines().map(|line| line.trim_end_matches(" HTTP/1.1"));
                // What a connection without a request leaves.
                let lines = lines.filter(|line| !matches!(*line, "" | "-"));
                lines.map(seen).collect()
            }
            Self::Hyper(upstream, _) => {
                let asked = upstream.asked().into_iter();
                asked
                    .map(|asked| seen(&format!("{} {}", asked.method, asked.target)))
                    .collect()
            }
        };
        Record {
            seen,
            faults: Vec::new(),
        }
    }
}

/// `name proxy admin log` a line.
fn targets(path: &Path) -> Vec<Target> {
    let text = std::fs::read_to_string(path).unwrap();
    let target = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let [name, proxy, admin, log] = words.as_slice() else {
            panic!("not a target: {line}")
        };
        Target {
            name: (*name).to_owned(),
            proxy: proxy.parse().unwrap(),
            admin: admin.parse().unwrap(),
            log: Log::File(log.into()),
        }
    };
    text.lines().map(target).collect()
}

async fn hyper() -> Target {
    let upstream = Upstream::start(async |asked| {
        let line = format!("{} {}", asked.method, asked.target);
        respond(
            200,
            &[("x-echo", &line), ("cache-control", "max-age=60")],
            line.clone(),
        )
    })
    .await;
    let proxy = Proxy::start(upstream.address, &[("profile", "rfc")]).await;
    Target {
        name: "hyper".to_owned(),
        proxy: proxy.clients,
        admin: proxy.admin,
        log: Log::Hyper(upstream, proxy),
    }
}

/// Requests whose answers the proxy says it got from upstream.
async fn forwarded(admin: SocketAddr) -> usize {
    let text = reqwest::get(format!("http://{admin}/metrics"))
        .await
        .unwrap();
    let text = text.text().await.unwrap();
    let of_upstream = |line: &&str| {
        line.starts_with("larder_requests_total{")
            && (line.contains("result=\"miss\"") || line.contains("result=\"bypass\""))
    };
    let counts = text.lines().filter(of_upstream);
    let counts = counts.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok());
    counts.sum()
}

/// Waits a while for what should come at once: logs and counters are written a moment after the answer.
async fn settle(mut settled: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + SETTLE_MAX;
    while !settled().await && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

struct Counts {
    /// What the proxy says it forwarded.
    said: usize,
    /// What the origin saw, or refused before it logged it.
    seen: usize,
    /// What the client got of that.
    answered: usize,
}

async fn counts(target: &Target, ledger: &Ledger) -> Counts {
    let answered = ledger.answered.len() + ledger.refused;
    let (mut said, mut seen) = (0, 0);
    settle(async || {
        said = forwarded(target.admin).await;
        seen = target.log.record().seen.len() + ledger.refused;
        said == seen
    })
    .await;
    Counts {
        said,
        seen,
        answered,
    }
}

/// Prints a row; returns what is wrong.
async fn try_on(target: &Target, whole: &[Template], partial: &[Template]) -> Vec<String> {
    let stance = Stance {
        early: true,
        real: true,
    };
    let mut ledger = Ledger::default();
    let mut wrong = run(target.proxy, whole, "w", stance, &mut ledger).await;
    let Counts {
        said,
        seen,
        answered,
    } = counts(target, &ledger).await;
    // Requests may be seen and yet be refused afterwards: where the client speaks before an upgrade it asked for is decided.
    if !(answered..=seen).contains(&said) {
        wrong.push(format!(
            "{answered} answers came through, the proxy says it forwarded {said} requests, the origin saw {seen}"
        ));
    }
    wrong.extend(run(target.proxy, partial, "x", stance, &mut ledger).await);
    settle(async || ledger.compare(&target.log.record()).is_empty()).await;
    wrong.extend(ledger.compare(&target.log.record()));
    let payloads = whole.len() + partial.len();
    println!(
        "smuggling: {:<9} {payloads:>8} {answered:>8} {said:>9} {seen:>8} {:>8}",
        target.name,
        wrong.len()
    );
    let named = |why: String| format!("{}: {why}", target.name);
    wrong.into_iter().map(named).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real servers: scripts/smuggling starts them"]
async fn no_payload_desynchronises_real_servers() {
    #[expect(clippy::disallowed_methods, reason = "a test has no configuration")]
    let path = std::env::var("LARDER_SMUGGLING_TARGETS").expect("run scripts/smuggling");
    let is_partial =
        |template: &Template| matches!(template.payload("p").ending, Ending::Partial(_));
    let (partial, whole): (Vec<_>, Vec<_>) = corpus::load().into_iter().partition(is_partial);
    println!("smuggling: origin    payloads answered forwarded     seen findings");
    let mut targets = targets(Path::new(&path));
    targets.push(hyper().await);
    let mut wrong = Vec::new();
    for target in &targets {
        wrong.extend(try_on(target, &whole, &partial).await);
    }
    assert!(targets.len() > 5, "five origins at least, and hyper");
    assert!(
        wrong.is_empty(),
        "{} findings:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
