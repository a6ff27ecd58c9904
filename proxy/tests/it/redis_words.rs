//! What the log says of Redis: enough to act upon, once, and no secret.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use crate::support::proxy::PATIENCE;
use crate::support::redis::PrivateRedis;

/// The binary with a Redis, and its log.
struct Speaking {
    process: Child,
    lines: Receiver<String>,
}

impl Speaking {
    fn start(url: &str) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_larder-proxy"))
            .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .args(["--upstream", "http://127.0.0.1:1", "--namespace", "test"])
            .env_clear()
            .env("REDIS_URL", url)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary");
        let log = BufReader::new(process.stderr.take().expect("its log"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { process, lines }
    }

    /// The lines up to the one that has these words.
    fn says(&self, words: &str) -> Vec<String> {
        let mut said = Vec::new();
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            said.push(line.unwrap_or_else(|_| panic!("{words:?} is not said: {said:?}")));
            if said.last().is_some_and(|line| line.contains(words)) {
                return said;
            }
        }
    }
}

impl Drop for Speaking {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn an_eviction_policy_that_spares_nothing_is_warned_of_once() {
    let policy = ["--maxmemory-policy", "allkeys-lru"];
    let mut redis = PrivateRedis::start_with(&policy).await;
    let speaking = Speaking::start(&redis.url());
    speaking.says("maxmemory-policy to volatile-lru");
    redis.kill();
    redis.run().await;
    let again = speaking.says("connected to Redis");
    redis.kill();
    let rest = speaking.says("can't be reached");
    let all = again.iter().chain(&rest);
    assert_eq!(all.filter(|line| line.contains("maxmemory")).count(), 0);
}

#[tokio::test]
async fn a_replica_in_place_of_a_master_is_named_as_such() {
    let master = PrivateRedis::start_on_tcp().await;
    let redis = PrivateRedis::start().await;
    let mut replicaof = redis::cmd("REPLICAOF");
    redis.ask::<()>(replicaof.arg("127.0.0.1").arg(master.port()));
    let speaking = Speaking::start(&redis.url());
    speaking.says("is a read-only replica");
}

#[tokio::test]
async fn a_server_that_is_no_cluster_is_named_as_such() {
    let redis = PrivateRedis::start_on_tcp().await;
    let url = format!("redis+cluster://127.0.0.1:{}", redis.port());
    Speaking::start(&url).says("is no Cluster");
}

#[tokio::test]
async fn a_wrong_password_is_named_as_such_and_not_told() {
    let redis = PrivateRedis::start_on_tcp().await;
    redis.ask::<()>(redis::cmd("CONFIG").arg("SET").arg("requirepass").arg("x"));
    for scheme in ["redis", "redis+cluster"] {
        let url = format!("{scheme}://:hunter2@127.0.0.1:{}", redis.port());
        let said = Speaking::start(&url).says("wants another user or password");
        assert!(
            said.iter().all(|line| !line.contains("hunter2")),
            "{said:?}"
        );
    }
    let url = format!("redis+sentinel://:hunter2@127.0.0.1:{}/m", redis.port());
    Speaking::start(&url).says("wants another user or password");
}

#[tokio::test]
async fn sentinels_that_are_away_are_named_as_such() {
    let absent = PrivateRedis::absent_on_tcp();
    let url = format!("redis+sentinel://127.0.0.1:{}/m", absent.port());
    Speaking::start(&url).says("no Sentinel of Redis answers");
}
