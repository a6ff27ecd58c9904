//! After the 200 of a purge no replica uses what it covers: three replicas, one Redis, and an API whose version only grows.

mod command;
mod kinds;
mod lost;
mod partitions;
mod sets;

use crate::support::fault::FaultProxy;
use crate::support::proxy::{Got, Proxy, got};
use crate::support::redis::PrivateRedis;
use crate::support::upstream::{Asked, Body, Upstream, respond};
use crate::support::wait::until;
use http::{Method, Response};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Short, so that losing one is soon seen; long enough for a machine that is busy with other tests.
const LEASE: &str = "3s";
/// What all replicas hold by this time has been stored by them all.
const TARGETS: [&str; 6] = [
    "/a/1",
    "/a/2?x=1",
    "/b/1",
    "/later/1",
    "/vary/1",
    "/tagged/1",
];

/// The API: its version is in every answer's body and validator.
#[derive(Debug)]
pub(crate) struct Api {
    upstream: Upstream,
    version: Arc<AtomicU64>,
}

impl Api {
    pub(crate) async fn start() -> Self {
        let version = Arc::new(AtomicU64::new(1));
        let shared = Arc::clone(&version);
        let upstream = Upstream::start(move |asked| {
            let version = shared.load(Ordering::SeqCst);
            async move { answer(&asked, version) }
        })
        .await;
        Self { upstream, version }
    }

    /// From now on everything is new.
    pub(crate) fn change(&self) -> u64 {
        self.version.fetch_add(1, Ordering::SeqCst) + 1
    }
}

fn answer(asked: &Asked, version: u64) -> Response<Body> {
    let path = asked.target.as_str();
    let etag = format!("\"{version}\"");
    if asked.method == Method::POST {
        return respond(200, &[("cache-group-invalidation", "\"g\"")], "");
    }
    let mut fields = vec![("etag", etag.as_str())];
    fields.push(match path.starts_with("/later") {
        true => ("cache-control", "max-age=600, stale-while-revalidate=600"),
        false => ("cache-control", "max-age=600"),
    });
    if path.starts_with("/tagged") {
        let tags = [("cache-tag", "one, two"), ("surrogate-key", "three four")];
        fields.extend(tags);
        fields.push(("cache-groups", "\"g\", \"h\""));
    }
    if path.starts_with("/vary") {
        fields.push(("vary", "accept-language"));
    }
    if path.starts_with("/part") {
        fields.push(("content-range", "bytes 0-3/10"));
        return respond(206, &fields, format!("{version:<4}"));
    }
    match asked.headers.get("if-none-match") {
        Some(known) if known == etag.as_str() => respond(304, &fields, ""),
        _ => respond(200, &fields, format!("{version} {path}")),
    }
}

/// The version that an answer shows.
pub(crate) fn version(got: &Got) -> u64 {
    let shown = got
        .body
        .split(' ')
        .next()
        .and_then(|word| word.parse().ok());
    shown.unwrap_or_else(|| panic!("no version: {got:?}"))
}

/// Three replicas, each with a link of its own to Redis.
pub(crate) struct Three {
    pub(crate) api: Api,
    pub(crate) redis: PrivateRedis,
    pub(crate) links: Vec<FaultProxy>,
    pub(crate) replicas: Vec<Proxy>,
}

impl Three {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// All of them with further settings; the second has next to no memory, so that it lives on Redis.
    pub(crate) async fn start_with(settings: &[(&'static str, &str)]) -> Self {
        let redis = PrivateRedis::start().await;
        let api = Api::start().await;
        let (mut links, mut replicas) = (Vec::new(), Vec::new());
        for number in 0..3 {
            let link = FaultProxy::before_socket(redis.socket()).await;
            let url = format!("redis://{}", link.address);
            let memory = if number == 1 { "1KiB" } else { "4MiB" };
            let mut all = vec![
                ("redis", url.as_str()),
                ("memory", memory),
                ("purge_lease", LEASE),
                ("redis_timeout", "1s"),
            ];
            all.extend(settings);
            replicas.push(Proxy::start(api.upstream.address, &all).await);
            links.push(link);
        }
        let three = Self {
            api,
            redis,
            links,
            replicas,
        };
        three.follow().await;
        three
    }

    /// Waits until all follow the log.
    pub(crate) async fn follow(&self) {
        for replica in &self.replicas {
            until("a replica follows", async || replica.uses_redis().await).await;
        }
    }

    /// One host for all, whatever their ports.
    pub(crate) async fn get(&self, replica: usize, target: &str) -> Got {
        self.replicas[replica]
            .get_with(target, &[("host", "api.example")])
            .await
    }

    /// Waits until every replica has these, as they are now, in memory or in Redis.
    pub(crate) async fn fill(&self, targets: &[&str]) {
        for replica in 0..self.replicas.len() {
            for target in targets {
                until("a replica has it", async || {
                    self.get(replica, target).await.result() == "HIT"
                })
                .await;
            }
        }
    }

    /// What a purge answers.
    pub(crate) async fn purge(&self, replica: usize, query: &str) -> (u16, Value) {
        purge(&self.replicas[replica], query).await
    }

    /// Makes a purge that is done, by a replica that may have to find its way back to Redis first.
    pub(crate) async fn purge_at_last(&self, replica: usize, query: &str) -> Value {
        let mut done = None;
        until("a purge is done", async || {
            let (status, answer) = self.purge(replica, query).await;
            done = (status == 200).then_some(answer);
            done.is_some()
        })
        .await;
        done.unwrap()
    }

    /// Whoever asks now gets this version or a later one, everywhere.
    pub(crate) async fn show(&self, targets: &[&str], least: u64) {
        for replica in 0..self.replicas.len() {
            for target in targets {
                let got = self.get(replica, target).await;
                assert!(
                    version(&got) >= least,
                    "replica {replica}, {target}: {got:?}"
                );
            }
        }
    }
}

pub(crate) async fn purge(proxy: &Proxy, query: &str) -> (u16, Value) {
    let url = format!("http://{}/purge?{query}", proxy.admin);
    let got = got(proxy.http.post(url).send().await.unwrap()).await;
    let answer = serde_json::from_str(&got.body).unwrap();
    (got.status, answer)
}
