//! Redis breaks in every way it can while two replicas are under load: no client may see it.
//!
//! Every answer is looked at, before, during and after the fault: its status, and all of its body. The API must never get
//! more requests at once than it was promised. When the fault is over, what one replica stores the other must find.

mod measure;

use crate::support::fault::{FaultProxy, Mode};
use crate::support::library::Library;
use crate::support::load::{Load, Mix};
use crate::support::proxy::Proxy;
use crate::support::redis::PrivateRedis;
use crate::support::wait::until;
use std::time::Duration;

/// How often to look for something that is being written.
const LOOKS: usize = 20;
/// Less than what a slow Redis takes here, and more than a busy machine does to answer at all.
const REDIS_TIMEOUT: &str = "250ms";
/// What each replica may ask of the API at once: fewer than there are clients.
const ORIGIN_CONCURRENCY: usize = 4;
const REPLICAS: usize = 2;
const CLIENTS: usize = 24;
/// Answers that make a phase.
const PHASE: usize = 400;

struct World {
    library: Library,
    redis: PrivateRedis,
    link: FaultProxy,
    replicas: Vec<Proxy>,
    names: u32,
}

impl World {
    async fn start(redis: PrivateRedis) -> Self {
        let library = Library::start(Duration::from_millis(2)).await;
        let link = FaultProxy::before_socket(redis.socket()).await;
        let mut replicas = Vec::new();
        for _ in 0..REPLICAS {
            let (url, most) = (
                format!("redis://{}", link.address),
                ORIGIN_CONCURRENCY.to_string(),
            );
            let settings = [
                ("redis", url.as_str()),
                ("origin_concurrency", &most),
                ("redis_timeout", REDIS_TIMEOUT),
            ];
            replicas.push(Proxy::start(library.address(), &settings).await);
        }
        let mut world = Self {
            library,
            redis,
            link,
            replicas,
            names: 0,
        };
        world.shares().await;
        world
    }

    /// Waits until one replica finds in Redis what the other one stored, both ways.
    async fn shares(&mut self) {
        for (from, to) in [(0, 1), (1, 0)] {
            until("the replicas share what they store", async || {
                self.names += 1;
                let target = format!("/cold/shared-{}", self.names);
                self.finds(from, to, &target).await
            })
            .await;
        }
    }

    /// Does one replica get from Redis what the other one fetches? It is written behind the answer, and takes its time.
    async fn finds(&self, from: usize, to: usize, target: &str) -> bool {
        let host = ("host", "api.example");
        let stored = self.replicas[from].get_with(target, &[host]).await;
        for _ in 0..LOOKS {
            let stored_only = [host, ("cache-control", "only-if-cached")];
            let found = self.replicas[to].get_with(target, &stored_only).await;
            if found.result() == "HIT" {
                return found.body == stored.body;
            }
        }
        false
    }

    fn load(&self, mix: Mix) -> Load {
        let addresses: Vec<_> = self.replicas.iter().map(|proxy| proxy.clients).collect();
        Load::start(&addresses, CLIENTS, mix)
    }

    /// Failed operations of Redis of one kind, over both replicas.
    async fn errors(&self, kind: &str) -> u64 {
        let start = format!("larder_redis_errors_total{{kind=\"{kind}\"}} ");
        let mut sum = 0;
        for replica in &self.replicas {
            let metrics = replica.admin(reqwest::Method::GET, "/metrics").await.body;
            let line = metrics.lines().find_map(|line| line.strip_prefix(&start));
            sum += line.map_or(0, |count| count.parse().unwrap());
        }
        sum
    }

    async fn breakers_are_open(&self) {
        let mut before = self.errors("breaker-open").await;
        until("the breakers are open", async || {
            let now = self.errors("breaker-open").await;
            std::mem::replace(&mut before, now) + 5 < now
        })
        .await;
    }

    fn assert_cap(&self) {
        let most = self.library.most_at_once();
        assert!(
            most <= ORIGIN_CONCURRENCY * REPLICAS,
            "{most} at once at the API"
        );
    }
}

/// Load before, during and after a fault; `during` begins it, sees to what must hold while it lasts, and ends it.
async fn survives(redis: PrivateRedis, during: impl AsyncFnOnce(&mut World, &Load)) {
    let mut world = World::start(redis).await;
    let load = world.load(Mix::All);
    load.answers(PHASE).await;
    during(&mut world, &load).await;
    world.shares().await;
    load.answers(PHASE).await;
    let report = load.end().await;
    assert_eq!(
        report.wrong_count, 0,
        "of {}: {:#?}",
        report.answers, report.wrong
    );
    world.assert_cap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_redis_is_missed_by_no_client() {
    survives(PrivateRedis::start().await, async |world, load| {
        world.redis.kill();
        load.answers(PHASE).await;
        assert!(world.errors("connection").await > 0);
        world.redis.run().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_redis_is_missed_by_no_client() {
    survives(PrivateRedis::start().await, async |world, load| {
        world.redis.freeze();
        world.breakers_are_open().await;
        load.answers(PHASE).await;
        world.redis.thaw();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_takes_200_ms_each_way_is_missed_by_no_client() {
    survives(PrivateRedis::start().await, async |world, load| {
        world.link.set(Mode::Delay(Duration::from_millis(200)));
        world.breakers_are_open().await;
        load.answers(PHASE).await;
        world.link.set(Mode::Pass);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_behind_a_black_hole_is_missed_by_no_client_and_seldom_asked() {
    survives(PrivateRedis::start().await, async |world, load| {
        let begin = world.link.requested_bytes();
        load.answers(PHASE).await;
        let asked_bytes = world.link.requested_bytes() - begin;
        world.link.set(Mode::BlackHole);
        world.breakers_are_open().await;
        let begin = world.link.requested_bytes();
        load.answers(PHASE).await;
        let probed_bytes = world.link.requested_bytes() - begin;
        assert!(
            probed_bytes < asked_bytes / 5,
            "{probed_bytes} bytes of probes, {asked_bytes} of requests"
        );
        world.link.set(Mode::Pass);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_redis_that_are_cut_again_and_again_are_missed_by_no_client() {
    survives(PrivateRedis::start().await, async |world, load| {
        for reply_bytes in [0, 1, 5, 100, 5_000, 50_000] {
            world.link.set(Mode::CutAfter { reply_bytes });
            load.answers(PHASE / 4).await;
            world.link.set(Mode::Cut);
            load.answers(PHASE / 4).await;
        }
        world.link.set(Mode::Pass);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_answers_in_drips_is_missed_by_no_client() {
    survives(PrivateRedis::start().await, async |world, load| {
        let pause = Duration::from_millis(20);
        world.link.set(Mode::Drip { bytes: 64, pause });
        load.answers(PHASE).await;
        world.link.set(Mode::Pass);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_on_its_way_from_redis_reaches_no_client() {
    survives(PrivateRedis::start().await, async |world, load| {
        for one_in in [50, 5, 1] {
            world.link.set(Mode::Corrupt { one_in });
            load.answers(PHASE).await;
        }
        world.link.set(Mode::Pass);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_flushed_again_and_again_is_missed_by_no_client() {
    survives(PrivateRedis::start().await, async |world, load| {
        for _ in 0..5 {
            world.redis.ask::<()>(&redis::cmd("FLUSHALL"));
            load.answers(PHASE / 4).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_became_a_read_only_replica_is_missed_by_no_client() {
    survives(PrivateRedis::start().await, async |world, load| {
        let replica_of = |host: &str, port: &str| {
            let mut cmd = redis::cmd("REPLICAOF");
            world.redis.ask::<()>(cmd.arg(host).arg(port));
        };
        // Nobody is there; what it has stays readable.
        replica_of("127.0.0.1", "1");
        load.answers(PHASE).await;
        assert!(world.errors("refused").await > 0);
        replica_of("NO", "ONE");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_out_of_memory_is_missed_by_no_client() {
    let redis = PrivateRedis::start_with(&["--maxmemory-policy", "noeviction"]).await;
    survives(redis, async |world, load| {
        let set = |bytes: &str| {
            let mut cmd = redis::cmd("CONFIG");
            world
                .redis
                .ask::<()>(cmd.arg("SET").arg("maxmemory").arg(bytes));
        };
        set("1");
        load.answers(PHASE).await;
        assert!(world.errors("refused").await > 0);
        set("0");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_evicts_what_it_just_got_is_missed_by_no_client() {
    let redis = PrivateRedis::start_with(&["--maxmemory-policy", "volatile-lru"]).await;
    survives(redis, async |world, load| {
        let used: String = world.redis.ask(redis::cmd("INFO").arg("memory"));
        let used = used
            .lines()
            .find_map(|line| line.strip_prefix("used_memory:"));
        let mut cmd = redis::cmd("CONFIG");
        world
            .redis
            .ask::<()>(cmd.arg("SET").arg("maxmemory").arg(used.unwrap()));
        load.answers(PHASE).await;
        let mut cmd = redis::cmd("CONFIG");
        world
            .redis
            .ask::<()>(cmd.arg("SET").arg("maxmemory").arg("0"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_an_unsafe_request_does_not_wait_for_a_slow_redis() {
    let world = World::start(PrivateRedis::start().await).await;
    let (delay, count) = (Duration::from_millis(300), 40);
    world.link.set(Mode::Delay(delay));
    let begin = std::time::Instant::now();
    for _ in 0..count {
        let post = world.replicas[0].send(reqwest::Method::POST, "/post/1", &[], "x");
        assert_eq!(post.await.status, 200);
    }
    // There and back for each would take twice as long as this.
    assert!(begin.elapsed() < delay * count, "{:?}", begin.elapsed());
}
