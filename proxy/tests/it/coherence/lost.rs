//! A log that was lost, in whole or in part, or that somebody else wrote into.

use super::*;
use crate::support::fault::Mode;

impl Three {
    /// The four keys of the log.
    fn log_keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.redis.ask(redis::cmd("KEYS").arg("*:log:*"));
        keys.sort();
        assert_eq!(keys.len(), 4, "{keys:?}");
        keys
    }

    fn log_key(&self, end: &str) -> String {
        let keys = self.log_keys();
        keys.into_iter().find(|key| key.ends_with(end)).unwrap()
    }

    fn epoch(&self) -> Option<String> {
        let state = self.log_key(":state");
        self.redis.ask(redis::cmd("HGET").arg(state).arg("epoch"))
    }

    /// Waits until the log has another name than this.
    async fn begun_anew(&self, epoch: &Option<String>) {
        until("the log begins anew", async || {
            let mut keys: Vec<String> = self.redis.ask(redis::cmd("KEYS").arg("*:log:state"));
            let Some(state) = keys.pop() else {
                return false;
            };
            let named: Option<String> = self.redis.ask(redis::cmd("HGET").arg(state).arg("epoch"));
            named.is_some() && named != *epoch
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_under_a_lost_log_is_confirmed_before_it_is_used() {
    let mut three = Three::start().await;
    for command in ["flush", "restart", "backwards", "foreign", "uncounted"] {
        three.purge_at_last(0, "url=/a/1").await;
        three.fill(&["/b/1"]).await;
        let new = three.api.change();
        let epoch = three.epoch();
        let (state, purges) = (three.log_key(":state"), three.log_key(":purges"));
        let seen = three.log_key(":seen");
        if command == "restart" {
            three.redis.kill();
            three.redis.run().await;
        }
        let redis = &three.redis;
        match command {
            "restart" => {}
            "flush" => redis.ask::<()>(&redis::cmd("FLUSHALL")),
            // As a server does that comes up with an old copy.
            "backwards" => {
                redis.ask::<()>(redis::cmd("ZPOPMAX").arg(seen));
            }
            "foreign" => {
                let mut cmd = redis::cmd("ZADD");
                redis.ask::<()>(cmd.arg(purges).arg(1).arg("foreign"));
            }
            _ => redis.ask::<()>(redis::cmd("HSET").arg(state).arg("sequence").arg("garbage")),
        }
        three.begun_anew(&epoch).await;
        for replica in 0..3 {
            until("nothing is used unconfirmed", async || {
                version(&three.get(replica, "/b/1").await) == new
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_lost_a_key_or_has_another_thing_in_its_place_begins_anew() {
    let three = Three::start().await;
    three.purge_at_last(0, "url=/a/1").await;
    for key in three.log_keys() {
        for deed in ["DEL", "SET"] {
            three.fill(&["/a/1"]).await;
            let new = three.api.change();
            match deed {
                "DEL" => three.redis.ask::<()>(redis::cmd("DEL").arg(&key)),
                _ => three.redis.ask::<()>(redis::cmd("SET").arg(&key).arg("x")),
            }
            three.purge_at_last(1, "url=/a/1").await;
            three.show(&["/a/1"], new).await;
            until("all follow again", async || {
                let (_, answer) = three.purge(2, "tag=unused").await;
                answer["applied"] == 3
            })
            .await;
        }
    }
}

/// Nobody knows of the third replica then, and it still trusts what it holds.
#[tokio::test(flavor = "multi_thread")]
async fn a_purge_waits_for_those_whom_a_lost_list_of_replicas_named() {
    for command in ["FLUSHALL", "DEL"] {
        let three = Three::start().await;
        three.fill(&["/a/1"]).await;
        three.purge_at_last(0, "tag=unused").await;
        three.links[2].set(Mode::BlackHole);
        let mut cmd = redis::cmd(command);
        if command == "DEL" {
            cmd.arg(three.log_key(":replicas"));
        }
        three.redis.ask::<()>(&cmd);
        let new = three.api.change();
        three.purge_at_last(0, "url=/a/1").await;
        three.show(&["/a/1"], new).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_that_the_server_forgot_are_told_again() {
    let three = Three::start().await;
    three.fill(&["/a/1"]).await;
    let new = three.api.change();
    three.redis.ask::<()>(redis::cmd("SCRIPT").arg("FLUSH"));
    let (status, answer) = three.purge(0, "url=/a/1").await;
    assert_eq!((status, &answer["applied"]), (200, &3.into()));
    three.show(&["/a/1"], new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_with_more_purges_than_it_keeps_forgets_none() {
    let three = Three::start().await;
    three.fill(&["/tagged/1"]).await;
    let (_, first) = three.purge(0, "tag=one").await;
    let new = three.api.change();
    three.purge(0, "tag=two").await;
    for turn in 0..101 {
        let tags: Vec<_> = (0..1000)
            .map(|number| format!("tag=n{turn}-{number}"))
            .collect();
        let (status, answer) = three.purge(turn % 3, &tags.join("&")).await;
        assert_eq!(status, 200, "{first} {answer}");
    }
    let count: u64 = three
        .redis
        .ask(redis::cmd("ZCARD").arg(three.log_key(":purges")));
    assert_eq!(count, 100_000);
    let state = three.log_key(":state");
    let floor: u64 = three.redis.ask(redis::cmd("HGET").arg(state).arg("floor"));
    assert!(floor > first["sequence"].as_u64().unwrap());
    three.show(&["/tagged/1"], new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_evicts_the_log_makes_nothing_old_useful() {
    let three = Three::start().await;
    let set = |name: &str, value: &str| {
        let mut cmd = redis::cmd("CONFIG");
        three.redis.ask::<()>(cmd.arg("SET").arg(name).arg(value));
    };
    set("maxmemory-policy", "allkeys-random");
    for _ in 0..3 {
        three.fill(&TARGETS).await;
        let new = three.api.change();
        // Everything goes, the log too.
        set("maxmemory", "1");
        until("a key of the log is evicted", async || {
            // Evicts, whatever it answers.
            let _ = three
                .redis
                .try_ask::<()>(redis::cmd("SET").arg("x").arg("y"));
            let keys: Vec<String> = three.redis.ask(redis::cmd("KEYS").arg("*:log:*"));
            keys.len() < 4
        })
        .await;
        set("maxmemory", "0");
        three.purge_at_last(0, "all=true").await;
        three.show(&TARGETS, new).await;
    }
}
