//! Is the process as small as its budget promises, whatever it is asked?
//!
//! The real program before an API that answers any path with as much as the path says, flooded with requests that have
//! nothing in common: sizes, variants, tags, long URLs, hosts, HEAD, ranges, what may not be stored and what passes. What
//! the kernel counts of the process must stay under 1.1 times the budget, 64 MiB for the program itself, what its connections
//! take, and what waits to be written to Redis.

use crate::support::binary::Binary;
use crate::support::fault::Random;
use crate::support::proxy::PATIENCE;
use crate::support::raw::RawClient;
use crate::support::redis::PrivateRedis;
use crate::support::upstream::{Asked, Body, Upstream, respond};
use http::Response;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const MIB: u64 = 1 << 20;
/// What the program takes with nothing stored.
const PROGRAM_BYTES_MAX: u64 = 64 * MIB;
/// Read and write buffers of a client's connection, and of the one to the API that serves it.
const CONNECTION_BYTES_MAX: u64 = 128 * 1024;
/// The largest body of a flood: a connection may wait for it, and it is there twice, as it comes and in one piece.
const BODY_BYTES_MAX: u64 = MIB;
/// What may wait to be written to Redis beside a budget as small as those here.
const WRITES_BYTES_MAX: u64 = 8 * MIB;
const CLIENTS: u64 = 16;
/// Requests sent before the first answer is read.
const PIPELINED: usize = 16;

/// What the flood consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flood {
    /// All kinds, with bodies of 100 bytes to a megabyte.
    Mixed,
    /// All kinds with hardly any body: what is stored is mostly what storing costs.
    Tiny,
    /// Nothing that may be stored, under URLs as long as they may be.
    Unstorable,
}

fn bound(memory_bytes: u64, flood: Flood, has_redis: bool) -> u64 {
    let writes = if has_redis { WRITES_BYTES_MAX } else { 0 };
    let under_way = if flood == Flood::Mixed {
        2 * BODY_BYTES_MAX
    } else {
        0
    };
    let connections = CLIENTS * (CONNECTION_BYTES_MAX + under_way);
    memory_bytes * 11 / 10 + PROGRAM_BYTES_MAX + connections + writes
}

/// An API of `/KIND/BYTES/...`.
async fn api() -> Upstream {
    let page = bytes::Bytes::from(vec![b'x'; 2 * MIB as usize]);
    Upstream::start_forgetful(move |asked| {
        let answer = answer(&asked, &page);
        async move { answer }
    })
    .await
}

fn answer(asked: &Asked, page: &bytes::Bytes) -> Response<Body> {
    let mut words = asked.target.split(['/', '?']).skip(1);
    let (kind, bytes) = (words.next().unwrap(), words.next().unwrap());
    let body = page.slice(..bytes.parse::<usize>().unwrap());
    let tags = (0..40).fold(String::new(), |mut tags, tag| {
        let _ = write!(tags, "{}{tag},", asked.target.len());
        tags
    });
    let (name, value) = match kind {
        "vary" => ("vary", "accept-language"),
        "tags" => ("cache-tag", tags.as_str()),
        _ => ("x-kind", kind),
    };
    let cache_control = match kind {
        "never" => "no-store",
        _ => "public, max-age=3600",
    };
    respond(
        200,
        &[("cache-control", cache_control), (name, value)],
        body,
    )
}

/// A request as it is sent, and whether its answer has no body.
fn request(random: &mut Random, flood: Flood, number: u64) -> (String, bool) {
    let bytes = match (flood, random.below(100)) {
        (Flood::Tiny | Flood::Unstorable, _) => 10 + random.below(100),
        (_, 0..60) => 100 + random.below(2_000),
        (_, 60..90) => 2_000 + random.below(18_000),
        (_, 90..99) => 20_000 + random.below(180_000),
        _ => BODY_BYTES_MAX,
    };
    let kind = match flood {
        Flood::Unstorable => 99,
        _ => random.below(100),
    };
    let (method, path, long, more) = match kind {
        0..45 => ("GET", "plain", 0, ""),
        45..58 => ("GET", "vary", 0, ""),
        58..66 => ("GET", "plain", 1 + random.below(7_900), ""),
        66..76 => ("GET", "tags", 0, ""),
        76..82 => ("HEAD", "plain", 0, ""),
        82..88 => ("GET", "plain", 0, "Range: bytes=0-9\r\n"),
        88..92 => ("GET", "plain", 0, "Cache-Control: no-cache\r\n"),
        92..96 => ("GET", "never", 0, ""),
        _ => ("GET", "never", 8_000, ""),
    };
    // Variants of one URL come one after the other.
    let name = if path == "vary" { number / 8 } else { number };
    let host = if kind < 5 { number } else { 0 };
    let query = "q".repeat(usize::try_from(long).unwrap());
    let request = format!(
        "{method} /{path}/{bytes}/{name}?{query} HTTP/1.1\r\nHost: h{host}.example\r\nAccept-Language: l{number}\r\n{more}\r\n"
    );
    (request, method == "HEAD")
}

/// Asks until told to stop, or for so many requests together.
async fn client(proxy: SocketAddr, flood: Flood, seed: u64, asked: &AtomicU64, stop: &Stop) {
    let mut random = Random::new(seed);
    let mut client = RawClient::connect(proxy).await;
    while !stop.is_reached(asked) {
        let begin = asked.fetch_add(PIPELINED as u64, Ordering::SeqCst);
        let mut sent = String::new();
        let mut heads_only = Vec::new();
        for number in begin..begin + PIPELINED as u64 {
            let (text, head_only) = request(&mut random, flood, number);
            sent.push_str(&text);
            heads_only.push(head_only);
        }
        client.send(sent).await;
        for head_only in heads_only {
            let answer = client.response(head_only).await.unwrap().unwrap();
            assert!(
                matches!(answer.status(), 200 | 206 | 416),
                "{}",
                answer.head
            );
        }
        if random.below(8) == 0 {
            pass(proxy, begin).await;
            client = RawClient::connect(proxy).await;
        }
    }
}

/// A request with a body, on a connection of its own.
async fn pass(proxy: SocketAddr, number: u64) {
    let mut client = RawClient::connect(proxy).await;
    let post = format!(
        "POST /plain/100/{number} HTTP/1.1\r\nHost: h0.example\r\nContent-Length: 4\r\n\r\nbody"
    );
    client.send(post).await;
    let answer = client.response(false).await.unwrap().unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.head);
}

/// When a flood ends.
#[derive(Debug)]
struct Stop {
    requests: u64,
    now: AtomicBool,
}

impl Stop {
    fn is_reached(&self, asked: &AtomicU64) -> bool {
        self.now.load(Ordering::SeqCst) || asked.load(Ordering::SeqCst) >= self.requests
    }
}

struct Flooding {
    asked: Arc<AtomicU64>,
    stop: Arc<Stop>,
    clients: JoinSet<()>,
}

fn flood(proxy: SocketAddr, flood: Flood, requests: u64) -> Flooding {
    let asked = Arc::<AtomicU64>::default();
    let stop = Arc::new(Stop {
        requests,
        now: AtomicBool::new(false),
    });
    let mut clients = JoinSet::new();
    for seed in 0..CLIENTS {
        let (asked, stop) = (Arc::clone(&asked), Arc::clone(&stop));
        clients.spawn(async move { client(proxy, flood, seed, &asked, &stop).await });
    }
    Flooding {
        asked,
        stop,
        clients,
    }
}

/// What `/cache/stats` says of one of its numbers.
async fn stat(admin: SocketAddr, name: &str) -> u64 {
    let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
    let url = format!("http://{admin}/cache/stats");
    let stats = http.build().unwrap().get(url).send().await.unwrap();
    let stats = stats.text().await.unwrap();
    let stats: serde_json::Value = serde_json::from_str(&stats).unwrap();
    stats[name].as_u64().unwrap()
}

/// The Redis behind a process.
#[derive(Debug, Clone, Copy)]
enum Redis<'a> {
    None,
    Works(&'a PrivateRedis),
    Hangs(&'a PrivateRedis),
}

/// Floods a process of this budget and fails when it is ever too large; gives the most that it took.
async fn stays_small(memory_mib: u64, kind: Flood, requests: u64, redis: Redis<'_>) {
    let api = api().await;
    let memory = format!("{memory_mib}MiB");
    let url = match redis {
        Redis::None => None,
        Redis::Works(redis) | Redis::Hangs(redis) => Some(redis.url()),
    };
    let mut flags = vec!["--memory", memory.as_str()];
    flags.extend(url.iter().flat_map(|url| ["--redis", url.as_str()]));
    let (binary, clients, admin) = Binary::before(api.address, &flags).await;
    binary.stop_keeping_log();
    if let Redis::Hangs(redis) = redis {
        redis.freeze();
    }
    let mut flooding = flood(clients, kind, requests);
    let mut most = 0;
    while let Some(client) = tokio::select! {
        client = flooding.clients.join_next() => client,
        () = tokio::time::sleep(Duration::from_millis(50)) => Some(Ok(())),
    } {
        client.unwrap();
        most = most.max(binary.resident_bytes().await);
    }
    let (entries, bytes) = (stat(admin, "total_keys").await, stat(admin, "bytes").await);
    let bound = bound(memory_mib * MIB, kind, url.is_some());
    println!(
        "{kind:?}: {entries} entries of {} KiB; at most {} KiB resident, bound {} KiB",
        bytes / 1024,
        most / 1024,
        bound / 1024
    );
    assert!(most <= bound, "{most} bytes resident, {bound} allowed");
    // Two tenths are the allocator's, and up to one is given up when the process is too large all the same.
    let full = memory_mib * MIB * 6 / 10;
    assert!(kind == Flood::Unstorable || bytes >= full, "{bytes} stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_all_kinds_of_responses_stays_within_the_budget() {
    stays_small(16, Flood::Mixed, 4_000, Redis::None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_tiny_responses_stays_within_the_budget() {
    stays_small(16, Flood::Tiny, 30_000, Redis::None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_what_may_not_be_stored_stays_within_the_budget() {
    stays_small(16, Flood::Unstorable, 12_000, Redis::None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_that_goes_to_redis_too_stays_within_the_budget() {
    let redis = PrivateRedis::start().await;
    stays_small(16, Flood::Mixed, 4_000, Redis::Works(&redis)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_while_redis_is_frozen_stays_within_the_budget() {
    let redis = PrivateRedis::start().await;
    stays_small(16, Flood::Mixed, 4_000, Redis::Hangs(&redis)).await;
    redis.thaw();
}

/// A setting of the soak.
#[expect(
    clippy::disallowed_methods,
    reason = "a test takes no arguments, and this one is run by a script"
)]
fn setting(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes as long as it is told: see scripts/soak"]
async fn a_flood_for_as_long_as_wanted_stays_within_the_budget() {
    let minutes: f64 = setting("LARDER_SOAK_MINUTES", "5").parse().unwrap();
    let memory_mib: u64 = setting("LARDER_SOAK_MEMORY_MIB", "64").parse().unwrap();
    let kind = match setting("LARDER_SOAK_FLOOD", "mixed").as_str() {
        "tiny" => Flood::Tiny,
        "unstorable" => Flood::Unstorable,
        _ => Flood::Mixed,
    };
    let api = api().await;
    let memory = format!("{memory_mib}MiB");
    let (binary, clients, admin) = Binary::before(api.address, &["--memory", &memory]).await;
    binary.stop_keeping_log();
    let bound = bound(memory_mib * MIB, kind, false);
    println!(
        "budget {memory_mib} MiB, bound {} MiB, flood {kind:?}",
        bound / MIB
    );
    println!("   minutes   requests    entries  stored MiB  resident MiB");
    let mut flooding = flood(clients, kind, u64::MAX);
    let length = Duration::from_secs_f64(minutes * 60.0);
    let (begin, lines) = (Instant::now(), 20);
    let mut most = 0;
    for line in 0..=lines {
        let until = begin + length * line / lines;
        while Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(100)).await;
            most = most.max(binary.resident_bytes().await);
        }
        println!(
            "{:10.1} {:10} {:10} {:11.1} {:13.1}",
            begin.elapsed().as_secs_f64() / 60.0,
            flooding.asked.load(Ordering::SeqCst),
            stat(admin, "total_keys").await,
            mib(stat(admin, "bytes").await),
            mib(binary.resident_bytes().await)
        );
    }
    flooding.stop.now.store(true, Ordering::SeqCst);
    while let Some(client) = flooding.clients.join_next().await {
        client.unwrap();
    }
    println!(
        "at most {:.1} MiB resident, {:.1} MiB allowed",
        mib(most),
        mib(bound)
    );
    assert!(most <= bound, "{most} bytes resident, {bound} allowed");
}

#[expect(clippy::cast_precision_loss, reason = "it is printed")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB as f64
}
