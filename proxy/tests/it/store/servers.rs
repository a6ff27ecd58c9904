//! The store on sets of servers, and on servers in states of their own.

use std::time::Instant;

use larder_proxy::store::Note;

use super::*;
use crate::support::redis_sets::{ClusterSet, SentinelSet};

/// Beside the deadline itself: what a busy machine may add to it.
const SLACK: Duration = Duration::from_secs(1);

async fn store_at(url: &str, timeout: Duration) -> Store {
    let tier = RedisTier::new(url, "test", timeout).expect("a Redis URL");
    let store = Store::with_purge_rules(MEMORY_BYTES_MAX, Some(tier), patient_rules());
    store.start();
    connected(&store).await;
    store
}

/// What a replica finds that has nothing in memory.
async fn get_at(url: &str, name: &str) -> Found {
    let store = store_at(url, PATIENT).await;
    store.get(&key(name), &HeaderMap::new(), now()).await.0
}

fn keys(redis: &PrivateRedis) -> Vec<String> {
    redis.stored_keys()
}

/// Look-ups of what isn't in memory, each within its deadline, until `done`.
async fn look_ups_in_time(store: &Store, done: impl Fn(&Store) -> bool) {
    let mut number = 0;
    until("it is enough", async || {
        number += 1;
        let begin = Instant::now();
        let name = format!("other {number}");
        store.get(&key(&name), &HeaderMap::new(), now()).await;
        let took = begin.elapsed();
        assert!(took < IMPATIENT + SLACK, "{took:?}");
        done(store)
    })
    .await;
}

#[tokio::test]
async fn a_server_without_the_newer_protocol_is_spoken_to_in_the_older() {
    let redis = PrivateRedis::start_with(&["--rename-command", "HELLO", ""]).await;
    let store = store_at(&redis.url(), PATIENT).await;
    put(&store, entry("a", "x")).await;
    assert_eq!(body(&get_at(&redis.url(), "a").await), Some("x"));
    assert_eq!(redis.calls("hello"), 0);
}

#[tokio::test]
async fn the_newer_protocol_is_spoken_where_it_is_known() {
    let redis = PrivateRedis::start().await;
    let _store = store_at(&redis.url(), PATIENT).await;
    let clients: String = redis.ask(redis::cmd("CLIENT").arg("LIST"));
    assert_eq!(redis.calls("hello"), 2, "{clients}");
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_look_ups_go_on() {
    let redis = PrivateRedis::start_with(&["--enable-protected-configs", "yes"]).await;
    let store = store_at(&redis.url(), PATIENT).await;
    put(&store, entry("a", "x")).await;
    for (name, value) in [("save", "3600 1"), ("dir", "/proc")] {
        redis.ask::<()>(redis::cmd("CONFIG").arg("SET").arg(name).arg(value));
    }
    redis.ask::<()>(&redis::cmd("BGSAVE"));
    until("the dump has failed", async || {
        let info: String = redis.ask(redis::cmd("INFO").arg("persistence"));
        info.contains("rdb_last_bgsave_status:err")
    })
    .await;
    assert_eq!(store.put(entry("b", "y"), store.mark(), now()), Put::Stored);
    until("the write is refused", async || {
        errors(&store, RedisError::Refused) >= 1
    })
    .await;
    // Who can't say that he follows the purges has what he finds confirmed.
    let reader = store_at(&redis.url(), IMPATIENT).await;
    let (found, _) = reader.get(&key("a"), &HeaderMap::new(), now()).await;
    assert_eq!(unverified(&found), Some("x"));
    assert_eq!(store.redis_state(), RedisState::Connected);
    redis.ask::<()>(redis::cmd("CONFIG").arg("SET").arg("save").arg(""));
    put(&store, entry("c", "z")).await;
}

#[tokio::test]
async fn a_master_that_becomes_a_replica_and_back_is_noticed_by_its_refusals() {
    let (redis, other) = (
        PrivateRedis::start().await,
        PrivateRedis::start_on_tcp().await,
    );
    let store = store_at(&redis.url(), PATIENT).await;
    put(&store, entry("a", "x")).await;
    let connections = |redis: &PrivateRedis| redis.calls("hello");
    let before = connections(&redis);
    let mut replicaof = redis::cmd("REPLICAOF");
    redis.ask::<()>(replicaof.arg("127.0.0.1").arg(other.port()));
    assert_eq!(store.put(entry("b", "y"), store.mark(), now()), Put::Stored);
    until("it connects anew, perhaps to another", async || {
        connections(&redis) >= before + 2
    })
    .await;
    assert!(errors(&store, RedisError::Refused) >= 1);
    assert_eq!(store.redis_state(), RedisState::Connected);
    redis.ask::<()>(redis::cmd("REPLICAOF").arg("NO").arg("ONE"));
    put(&store, entry("c", "z")).await;
    assert_eq!(body(&get_at(&redis.url(), "c").await), Some("z"));
}

#[tokio::test]
async fn a_server_that_loads_its_data_refuses_and_is_used_when_it_has_them() {
    // It looks up from loading after each KiB, so a few times a second.
    let slow = [
        "--key-load-delay",
        "1000",
        "--loading-process-events-interval-bytes",
        "1024",
        "--rdbcompression",
        "no",
    ];
    let mut redis = PrivateRedis::start_with(&slow).await;
    let mut fill = redis::cmd("EVAL");
    fill.arg("for i = 1, 3000 do redis.call('SET', 'filler' .. i, string.rep('x', 200)) end");
    redis.ask::<()>(fill.arg(0));
    redis.ask::<()>(&redis::cmd("SAVE"));
    redis.kill();
    redis.begin();
    let tier = RedisTier::new(&redis.url(), "test", PATIENT).expect("a Redis URL");
    let store = Store::new(MEMORY_BYTES_MAX, Some(tier));
    store.start();
    until("it is refused", async || {
        store.get(&key("a"), &HeaderMap::new(), now()).await;
        errors(&store, RedisError::Refused) > 0
    })
    .await;
    redis.until_answering().await;
    connected(&store).await;
    put(&store, entry("b", "y")).await;
}

#[tokio::test]
async fn the_keys_of_a_moving_slot_are_found_at_both_of_its_homes() {
    let set = ClusterSet::start().await;
    let store = store_at(&set.url(), PATIENT).await;
    put(&store, entry("a", "x")).await;
    let key_of_a = set.primaries().find_map(|node| keys(node).pop());
    let key_of_a = key_of_a.expect("it is in one of them");
    let source = set.owner(&key_of_a);
    let target = (source + 1) % 3;
    let slot = set.begin_move(&key_of_a, source, target);
    // The map is learned at connecting; the slot moves on after that.
    let early = store_at(&set.url(), PATIENT).await;
    let found = early.get(&key("a"), &HeaderMap::new(), now()).await.0;
    assert_eq!(body(&found), Some("x"), "at the old home");
    let during = store_at(&set.url(), PATIENT).await;
    set.move_key(&key_of_a, source, target);
    let found = during.get(&key("a"), &HeaderMap::new(), now()).await.0;
    assert_eq!(body(&found), Some("x"), "by ASK");
    let after = store_at(&set.url(), PATIENT).await;
    set.end_move(slot, source, target);
    let found = after.get(&key("a"), &HeaderMap::new(), now()).await.0;
    assert_eq!(body(&found), Some("x"), "by MOVED");
    for store in [&early, &during, &after] {
        assert_eq!(errors(store, RedisError::Refused), 0);
    }
    assert!(set.nodes[target].calls("asking") > 0);
}

#[tokio::test]
async fn a_frozen_master_behind_sentinels_costs_its_deadline_and_no_more() {
    let set = SentinelSet::start().await;
    let store = store_at(&set.url(), IMPATIENT).await;
    let old = set.place_of_master();
    set.servers[old].freeze();
    look_ups_in_time(&store, |store| store.redis_state() == RedisState::Down).await;
    assert!(errors(&store, RedisError::Timeout) > 0);
    look_ups_in_time(&store, |store| store.redis_state() == RedisState::Connected).await;
    assert_ne!(set.place_of_master(), old);
    set.servers[old].thaw();
}

#[tokio::test]
async fn a_frozen_node_of_a_cluster_costs_its_deadline_and_no_more() {
    let set = ClusterSet::start().await;
    let store = store_at(&set.url(), IMPATIENT).await;
    set.nodes[1].freeze();
    look_ups_in_time(&store, |store| store.redis_state() == RedisState::Down).await;
    assert!(errors(&store, RedisError::Timeout) > 0);
    look_ups_in_time(&store, |store| store.redis_state() == RedisState::Connected).await;
    set.nodes[1].thaw();
}

#[tokio::test]
async fn one_sentinel_that_is_left_suffices() {
    let mut set = SentinelSet::start().await;
    let before = store_at(&set.url(), PATIENT).await;
    put(&before, entry("a", "x")).await;
    for sentinel in &mut set.sentinels[..2] {
        sentinel.kill();
    }
    let after = store_at(&set.url(), PATIENT).await;
    let found = after.get(&key("a"), &HeaderMap::new(), now()).await.0;
    assert_eq!(body(&found), Some("x"));
    set.sentinels[2].freeze();
    put(&before, entry("b", "y")).await;
    assert_eq!(before.redis_state(), RedisState::Connected);
    set.sentinels[2].thaw();
}

#[tokio::test]
async fn sentinels_and_servers_may_want_passwords_of_their_own() {
    let set = SentinelSet::start_with_passwords("of servers", "of sentinels").await;
    let store = store_at(&set.url(), PATIENT).await;
    put(&store, entry("a", "x")).await;
    let tier = RedisTier::new(&set.url().replace("of%20sentinels", "no"), "test", PATIENT);
    let turned_away = Store::new(MEMORY_BYTES_MAX, Some(tier.expect("a Redis URL")));
    turned_away.start();
    until("it has tried", async || {
        errors(&turned_away, RedisError::Connection) > 0
    })
    .await;
    assert_eq!(turned_away.redis_state(), RedisState::Down);
}

#[tokio::test]
async fn a_follower_hears_of_a_failover_and_listens_to_the_new_master() {
    const CHANNEL: &str = "test:news";
    let mut set = ClusterSet::start().await;
    let tier = RedisTier::new(&set.url(), "test", PATIENT).expect("a Redis URL");
    let mut notes = tier.follow(CHANNEL);
    let mut next = async || {
        let note = tokio::time::timeout(crate::support::proxy::PATIENCE, notes.recv()).await;
        note.expect("a note in time").expect("the link stands")
    };
    assert_eq!(next().await, Note::Connected);
    let home = set.owner(CHANNEL);
    let heard: u64 = set.nodes[home].ask(redis::cmd("PUBLISH").arg(CHANNEL).arg("a"));
    assert_eq!(heard, 1, "who listens does so where the channel is at home");
    assert_eq!(next().await, Note::Message(Bytes::from_static(b"a")));
    set.nodes[home].kill();
    set.until_replaced(home, CHANNEL).await;
    assert_eq!(next().await, Note::Connected);
    let home = set.owner(CHANNEL);
    until("somebody listens at the new home", async || {
        set.nodes[home].ask::<u64>(redis::cmd("PUBLISH").arg(CHANNEL).arg("b")) == 1
    })
    .await;
    let mut note = next().await;
    while note == Note::Connected {
        note = next().await;
    }
    assert_eq!(note, Note::Message(Bytes::from_static(b"b")));
}
