//! Failovers: the log goes on where nothing was lost, and begins anew where the last purge was.

use super::*;
use crate::support::redis_sets::{ClusterSet, SentinelSet};

async fn replicas(api: &Api, url: &str) -> Vec<Proxy> {
    let settings = [
        ("redis", url),
        ("purge_lease", LEASE),
        ("redis_timeout", "1s"),
        ("namespace", "news"),
    ];
    let mut replicas = Vec::new();
    for _ in 0..3 {
        replicas.push(Proxy::start(api.upstream.address, &settings).await);
    }
    for replica in &replicas {
        until("a replica follows", async || replica.uses_redis().await).await;
    }
    replicas
}

async fn get(proxy: &Proxy, target: &str) -> Got {
    proxy.get_with(target, &[("host", "api.example")]).await
}

async fn fill(replicas: &[Proxy], target: &str) {
    for replica in replicas {
        until("a replica has it", async || {
            get(replica, target).await.result() == "HIT"
        })
        .await;
    }
}

async fn purge_at_last(proxy: &Proxy, query: &str) -> Value {
    let mut done = None;
    until("a purge is done", async || {
        let (status, answer) = purge(proxy, query).await;
        done = (status == 200).then_some(answer);
        done.is_some()
    })
    .await;
    done.unwrap()
}

/// Everything is to be as it was before: purges reach all three.
async fn is_whole_again(replicas: &[Proxy]) {
    until("a purge reaches all replicas", async || {
        purge(&replicas[2], "tag=unused").await.1["applied"] == 3
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_holds_when_the_master_is_handed_over_or_dies_right_after_it() {
    let mut set = SentinelSet::start().await;
    let api = Api::start().await;
    let replicas = replicas(&api, &set.url()).await;
    for dies in [false, true] {
        fill(&replicas, "/a/1").await;
        let new = api.change();
        purge_at_last(&replicas[0], "url=/a/1").await;
        if dies {
            let old = set.kill_master();
            for replica in &replicas {
                assert_eq!(version(&get(replica, "/a/1").await), new);
            }
            set.until_replaced(old).await;
        } else {
            set.hand_over().await;
        }
        is_whole_again(&replicas).await;
        for replica in &replicas {
            assert_eq!(version(&get(replica, "/a/1").await), new, "dies: {dies}");
        }
    }
}

/// The replicas of Redis are cut off from their master, so that the one that takes over has not heard of the purge.
#[tokio::test(flavor = "multi_thread")]
async fn a_failover_that_loses_the_last_purge_brings_nothing_back() {
    let mut set = SentinelSet::start().await;
    let api = Api::start().await;
    let replicas = replicas(&api, &set.url()).await;
    fill(&replicas, "/a/1").await;
    fill(&replicas, "/b/1").await;
    until("they have it in their copies", async || {
        let (first, rest) = set.servers.split_first().unwrap();
        let keys = first.stored_keys().len();
        rest.iter().all(|server| server.stored_keys().len() == keys)
    })
    .await;
    for server in &set.servers[1..] {
        // A word that their master doesn't know: they don't get back in.
        let mut cmd = redis::cmd("CONFIG");
        server.ask::<()>(cmd.arg("SET").arg("masterauth").arg("unknown"));
        let mut cmd = redis::cmd("CLIENT");
        server.ask::<()>(cmd.arg("KILL").arg("TYPE").arg("master"));
    }
    until("the copies have lost their master", async || {
        let info: String = set.master().ask(redis::cmd("INFO").arg("replication"));
        info.contains("connected_slaves:0")
    })
    .await;
    let new = api.change();
    let made = purge_at_last(&replicas[0], "url=/a/1").await;
    let master = set.kill_master();
    set.until_replaced(master).await;
    let purges = "news:{news}:log:purges";
    is_whole_again(&replicas).await;
    let kept: u64 = set.master().ask(
        redis::cmd("ZCOUNT")
            .arg(purges)
            .arg(made["sequence"].as_u64())
            .arg(made["sequence"].as_u64()),
    );
    assert_eq!(kept, 0, "the purge was to be lost");
    for replica in &replicas {
        assert_eq!(version(&get(replica, "/a/1").await), new);
        // Not purged, but nobody can know that: it is confirmed before it is used.
        assert_eq!(version(&get(replica, "/b/1").await), new);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_holds_when_the_node_of_a_cluster_that_has_the_log_dies_right_after_it() {
    let mut set = ClusterSet::start().await;
    let api = Api::start().await;
    let replicas = replicas(&api, &set.url()).await;
    fill(&replicas, "/a/1").await;
    let new = api.change();
    purge_at_last(&replicas[1], "url=/a/1").await;
    let state = "news:{news}:log:state";
    let owner = set.owner(state);
    set.nodes[owner].kill();
    for replica in &replicas {
        assert_eq!(version(&get(replica, "/a/1").await), new);
    }
    set.until_replaced(owner, state).await;
    is_whole_again(&replicas).await;
    for replica in &replicas {
        assert_eq!(version(&get(replica, "/a/1").await), new);
    }
    let newer = api.change();
    purge_at_last(&replicas[2], "all=true").await;
    for replica in &replicas {
        assert_eq!(version(&get(replica, "/a/1").await), newer);
    }
}
