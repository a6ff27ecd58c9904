//! One fetch per key across replicas, and that nobody is worse off for it.

use crate::support::binary::Binary;
use crate::support::proxy::{Got, PATIENCE, Proxy, got};
use crate::support::redis::PrivateRedis;
use crate::support::upstream::{Upstream, counting, respond};
use crate::support::wait::until;
use futures_util::future::join_all;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Enough that no question is given up on a busy machine.
const REDIS_TIMEOUT: &str = "5s";

/// Replicas that follow the log of purges, so that they trust what they find in Redis.
async fn replicas<const N: usize>(
    upstream: &Upstream,
    redis: &PrivateRedis,
    more: &[(&'static str, &str)],
) -> [Proxy; N] {
    let url = redis.url();
    let mut settings = vec![("redis", url.as_str()), ("redis_timeout", REDIS_TIMEOUT)];
    // What another replica fetched is of use as long as purges are known: on a busy machine, too.
    settings.push(("purge_lease", "20s"));
    settings.extend(more);
    let mut replicas = Vec::new();
    for _ in 0..N {
        let replica = Proxy::start(upstream.address, &settings).await;
        until("the replica has Redis", async || {
            let health = replica.admin(reqwest::Method::GET, "/health").await;
            health.body.contains("\"redis\":\"up\"")
        })
        .await;
        replicas.push(replica);
    }
    replicas.try_into().unwrap()
}

/// The same as a process of its own.
async fn replica_apart(
    upstream: &Upstream,
    redis: &PrivateRedis,
) -> (Binary, SocketAddr, SocketAddr) {
    let url = redis.url();
    let more = ["--redis", &url, "--redis-timeout", REDIS_TIMEOUT];
    Binary::before(upstream.address, &more).await
}

/// Answers when it is let.
fn gate() -> (Arc<Semaphore>, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    (gate.clone(), gate)
}

async fn asked(upstream: &Upstream, count: usize) {
    until("the API is asked", async || upstream.count() >= count).await;
}

/// A request that is answered some time later.
fn begun(proxy: &Proxy, target: &str, fields: &[(&str, &str)]) -> JoinHandle<Got> {
    let mut request = proxy.http.get(proxy.url(target));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    tokio::spawn(async move { got(request.send().await.unwrap()).await })
}

async fn metric(proxy: &Proxy, name: &str) -> f64 {
    let metrics = proxy.admin(reqwest::Method::GET, "/metrics").await.body;
    let mut lines = metrics.lines().filter_map(|line| line.strip_prefix(name));
    lines
        .find_map(|rest| rest.strip_prefix(' ')?.parse().ok())
        .unwrap_or_else(|| panic!("{name} is not in:\n{metrics}"))
}

/// The leases and marks there are.
fn leases(redis: &PrivateRedis) -> Vec<String> {
    let mut keys: Vec<String> = redis.ask(redis::cmd("KEYS").arg("*"));
    keys.retain(|key| key.ends_with(":l") || key.ends_with(":lc"));
    keys
}

/// Waits until somebody has asked for the lease several times: each time Redis looks who has it, as at renewals, which are few.
async fn others_wait(redis: &PrivateRedis) {
    until("others wait", async || redis.calls("get") > 10).await;
}

/// Connects, and asks when all are connected.
async fn ask_at_once(clients: &[SocketAddr], count: usize) -> Vec<JoinHandle<String>> {
    let mut streams = Vec::new();
    for (_, address) in (0..count).zip(clients.iter().cycle()) {
        streams.push(TcpStream::connect(*address).await.unwrap());
    }
    for stream in &mut streams {
        let request = b"GET /a HTTP/1.1\r\nhost: api.example\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
    }
    let read = async |mut stream: TcpStream| {
        let mut answer = String::new();
        let whole = timeout(2 * PATIENCE, stream.read_to_string(&mut answer)).await;
        whole.expect("an answer").unwrap();
        answer
    };
    streams
        .into_iter()
        .map(|stream| tokio::spawn(read(stream)))
        .collect()
}

/// All are this body, whole.
async fn all_are(answers: Vec<JoinHandle<String>>, body: &str) {
    for answer in join_all(answers).await {
        let answer = answer.unwrap();
        let (head, got) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(got == body, "{} bytes with {head}", got.len());
    }
}

async fn a_thousand_cold_misses(memory: &'static str, body_bytes: usize) {
    let body = "0123456789abcdef".repeat(body_bytes / 16);
    let (gate, opened) = gate();
    let whole = body.clone();
    let upstream = Upstream::start(move |_| {
        let (gate, whole) = (gate.clone(), whole.clone());
        async move {
            drop(gate.acquire().await);
            respond(200, &[("cache-control", "max-age=60")], whole)
        }
    })
    .await;
    let redis = PrivateRedis::start().await;
    let replicas = replicas::<3>(&upstream, &redis, &[("memory", memory)]).await;
    let clients = replicas.each_ref().map(|replica| replica.clients);
    let answers = ask_at_once(&clients, 1000).await;
    others_wait(&redis).await;
    opened.add_permits(1000);
    all_are(answers, &body).await;
    assert_eq!(upstream.count(), 1);
    let mut spared = 0.0;
    for replica in &replicas {
        spared += metric(replica, "larder_lease_spared_total").await;
        assert_eq!(metric(replica, "larder_lease_taken_over_total").await, 0.0);
    }
    assert!(spared >= 1.0, "{spared}");
    until("no lease is left", async || leases(&redis).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_cold_misses_on_three_replicas_make_one_request() {
    a_thousand_cold_misses("64MiB", 64_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_they_do_where_memory_holds_next_to_nothing() {
    a_thousand_cold_misses("64KiB", 32_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_memory_has_no_room_for_is_found_by_whoever_asks_after_its_end() {
    let body = "0123456789abcdef".repeat(2000);
    let whole = body.clone();
    let upstream = Upstream::start(move |_| {
        let whole = whole.clone();
        async move { respond(200, &[("cache-control", "max-age=60")], whole) }
    })
    .await;
    let redis = PrivateRedis::start().await;
    let settings = [("memory", "64KiB"), ("redis_timeout", "5s")];
    let [replica] = replicas::<1>(&upstream, &redis, &settings).await;
    for number in 0..100 {
        let path = format!("/{number}");
        for expected in ["MISS", "HIT"] {
            let answer = replica.get(&path).await;
            assert_eq!(
                (answer.result(), answer.body.len()),
                (expected, body.len()),
                "{path}"
            );
        }
    }
    assert_eq!(upstream.count(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_killed_costs_one_more_request() {
    let count = Arc::new(AtomicUsize::new(0));
    let upstream = Upstream::start(move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            if number == 1 {
                std::future::pending::<()>().await;
            }
            respond(200, &[("cache-control", "max-age=60")], number.to_string())
        }
    })
    .await;
    let redis = PrivateRedis::start().await;
    let (leader, clients, _) = replica_apart(&upstream, &redis).await;
    let others = replicas::<2>(&upstream, &redis, &[]).await;
    let lost = ask_at_once(&[clients], 1).await;
    asked(&upstream, 1).await;
    assert_eq!(leases(&redis).len(), 1);
    let answers = ask_at_once(&[others[0].clients, others[1].clients], 600).await;
    others_wait(&redis).await;
    assert!(leader.signal("KILL").await);
    all_are(answers, "2").await;
    assert_eq!(upstream.count(), 2);
    let mut taken_over = 0.0;
    for replica in &others {
        taken_over += metric(replica, "larder_lease_taken_over_total").await;
    }
    assert_eq!(taken_over, 1.0);
    drop(lost);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_another_replica_for_longer_than_fetches_usually_take() {
    let first_slow = Arc::new(AtomicUsize::new(0));
    let upstream = Upstream::start(move |asked| {
        let slow = asked.target == "/slow" && first_slow.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if slow {
                std::future::pending::<()>().await;
            }
            respond(200, &[("cache-control", "max-age=60")], asked.target)
        }
    })
    .await;
    let redis = PrivateRedis::start().await;
    let [leader, other] = replicas::<2>(&upstream, &redis, &[]).await;
    for number in 0..20 {
        other.get(&format!("/quick/{number}")).await;
    }
    let stuck = begun(&leader, "/slow", &[]);
    asked(&upstream, 21).await;
    let answer = other.get("/slow").await;
    assert_eq!((answer.result(), answer.body.as_str()), ("MISS", "/slow"));
    assert_eq!(upstream.count(), 22);
    assert!(!stuck.is_finished());
    stuck.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_replica_fetched_meanwhile_says_so() {
    let (gate, opened) = gate();
    let upstream = Upstream::start(move |_| {
        let gate = gate.clone();
        async move {
            drop(gate.acquire().await);
            respond(200, &[("cache-control", "max-age=60")], "shared")
        }
    })
    .await;
    let redis = PrivateRedis::start().await;
    let [leader, other] = replicas::<2>(&upstream, &redis, &[]).await;
    let first = begun(&leader, "/a", &[("host", "api.example")]);
    asked(&upstream, 1).await;
    let second = begun(&other, "/a", &[("host", "api.example")]);
    others_wait(&redis).await;
    opened.add_permits(100);
    assert_eq!(first.await.unwrap().body, "shared");
    let second = second.await.unwrap();
    assert_eq!(second.body, "shared");
    let status = second.field("cache-status");
    let waited = "larder; fwd=uri-miss; fwd-status=200; collapsed";
    assert_eq!(status, waited);
    assert_eq!(upstream.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_may_share_are_not_queued_for_on_other_replicas() {
    let (gate, opened) = gate();
    let upstream = Upstream::start(move |_| {
        let gate = gate.clone();
        async move {
            gate.acquire().await.unwrap().forget();
            respond(200, &[("cache-control", "no-store")], "mine")
        }
    })
    .await;
    let redis = PrivateRedis::start().await;
    let [first, second, third] = replicas::<3>(&upstream, &redis, &[]).await;
    opened.add_permits(1);
    first.get("/a").await;
    until("others know", async || {
        let word = |key: &String| redis.ask::<String>(redis::cmd("GET").arg(key));
        leases(&redis).iter().map(word).eq(["alone"])
    })
    .await;
    let answers: Vec<_> = [&second, &third, &second, &third]
        .map(|replica| begun(replica, "/a", &[]))
        .into();
    // None is answered before all are asked.
    asked(&upstream, 5).await;
    opened.add_permits(4);
    for answer in join_all(answers).await {
        assert_eq!(answer.unwrap().body, "mine");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_for_another_language_is_no_answer() {
    let (gate, opened) = gate();
    let upstream = Upstream::start(move |asked| {
        let gate = gate.clone();
        async move {
            drop(gate.acquire().await);
            let language = asked.headers["accept-language"].to_str().unwrap();
            let fields = [("cache-control", "max-age=60"), ("vary", "accept-language")];
            respond(200, &fields, language.to_owned())
        }
    })
    .await;
    let redis = PrivateRedis::start().await;
    let [first, second, third] = replicas::<3>(&upstream, &redis, &[]).await;
    let host = ("host", "api.example");
    let german = begun(&first, "/a", &[host, ("accept-language", "de")]);
    asked(&upstream, 1).await;
    let others = [(&second, "fr"), (&third, "de")].map(|(replica, language)| {
        let answer = begun(replica, "/a", &[host, ("accept-language", language)]);
        (language, answer)
    });
    for replica in [&second, &third] {
        until("it is asked", async || {
            metric(replica, "larder_connections").await >= 1.0
        })
        .await;
    }
    opened.add_permits(100);
    assert_eq!(german.await.unwrap().body, "de");
    for (language, answer) in others {
        assert_eq!(answer.await.unwrap().body, language);
    }
    assert_eq!(upstream.count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_when_redis_dies_asks_the_api() {
    let count = Arc::new(AtomicUsize::new(0));
    let upstream = Upstream::start(move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            if number == 1 {
                std::future::pending::<()>().await;
            }
            respond(200, &[("cache-control", "max-age=60")], "answer")
        }
    })
    .await;
    let mut redis = PrivateRedis::start().await;
    let [leader, other] = replicas::<2>(&upstream, &redis, &[]).await;
    let stuck = begun(&leader, "/a", &[("host", "api.example")]);
    asked(&upstream, 1).await;
    let answers = ask_at_once(&[other.clients], 50).await;
    others_wait(&redis).await;
    redis.kill();
    all_are(answers, "answer").await;
    assert_eq!(upstream.count(), 2);
    stuck.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_paused_does_not_bring_back_what_is_older() {
    let (gate, opened) = gate();
    let count = Arc::new(AtomicUsize::new(0));
    let upstream = Upstream::start(move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        let gate = gate.clone();
        async move {
            if number == 1 {
                drop(gate.acquire().await);
            }
            respond(200, &[("cache-control", "max-age=60")], number.to_string())
        }
    })
    .await;
    let redis = PrivateRedis::start().await;
    let (leader, clients, _) = replica_apart(&upstream, &redis).await;
    let [other, later] = replicas::<2>(&upstream, &redis, &[]).await;
    let old = ask_at_once(&[clients], 1).await;
    asked(&upstream, 1).await;
    assert!(leader.signal("STOP").await);
    let new = ask_at_once(&[other.clients], 1).await;
    all_are(new, "2").await;
    until("it is in Redis", async || !redis.stored_keys().is_empty()).await;
    assert!(leader.signal("CONT").await);
    opened.add_permits(1);
    all_are(old, "1").await;
    let ask = async || {
        let answer = other
            .http
            .get(format!("http://{clients}/a"))
            .header("host", "api.example");
        got(answer.send().await.unwrap()).await.body
    };
    until("it has learned better", async || ask().await == "2").await;
    let answer = later.get_with("/a", &[("host", "api.example")]).await;
    assert_eq!((answer.result(), answer.body.as_str()), ("HIT", "2"));
    assert_eq!(upstream.count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_behind_a_client_s_back_is_left_to_the_replica_that_makes_it() {
    let (gate, opened) = gate();
    let count = Arc::new(AtomicUsize::new(0));
    let upstream = Upstream::start(move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        let gate = gate.clone();
        async move {
            if number > 1 {
                drop(gate.acquire().await);
            }
            let fields = [("cache-control", "max-age=0, stale-while-revalidate=60")];
            respond(200, &fields, number.to_string())
        }
    })
    .await;
    let redis = PrivateRedis::start().await;
    let [first, second] = replicas::<2>(&upstream, &redis, &[]).await;
    let host = [("host", "api.example")];
    assert_eq!(first.get_with("/a", &host).await.body, "1");
    until("it is in Redis", async || !redis.stored_keys().is_empty()).await;
    until("no lease is left", async || leases(&redis).is_empty()).await;
    assert_eq!(first.get_with("/a", &host).await.result(), "STALE");
    asked(&upstream, 2).await;
    for _ in 0..20 {
        let answer = second.get_with("/a", &host).await;
        assert_eq!((answer.result(), answer.body.as_str()), ("STALE", "1"));
    }
    assert_eq!(upstream.count(), 2);
    opened.add_permits(100);
    until("the other one has it", async || {
        second.get_with("/a", &host).await.body != "1"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_fetch_keeps_nobody_waiting() {
    let upstream = Upstream::start(|_| async { respond(503, &[], "no") }).await;
    let redis = PrivateRedis::start().await;
    let [first, second] = replicas::<2>(&upstream, &redis, &[]).await;
    for replica in [&first, &second, &first] {
        assert_eq!(replica.get("/a").await.status, 503);
        until("no lease is left", async || leases(&redis).is_empty()).await;
    }
    assert_eq!(upstream.count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_ends_the_wait_for_what_is_older() {
    let (gate, opened) = gate();
    let count = Arc::new(AtomicUsize::new(0));
    let upstream = Upstream::start(move |asked| {
        let gets = asked.method == http::Method::GET;
        let number = count.fetch_add(usize::from(gets), Ordering::SeqCst) + 1;
        let gate = gate.clone();
        async move {
            if gets && number == 1 {
                drop(gate.acquire().await);
            }
            respond(200, &[("cache-control", "max-age=60")], number.to_string())
        }
    })
    .await;
    let redis = PrivateRedis::start().await;
    let [first, second] = replicas::<2>(&upstream, &redis, &[]).await;
    let host = [("host", "api.example")];
    let old = begun(&first, "/a", &host);
    asked(&upstream, 1).await;
    second.send(reqwest::Method::PUT, "/a", &host, "new").await;
    // The first replica's fetch still waits for the API.
    assert_eq!(second.get_with("/a", &host).await.body, "2");
    until("it is in Redis", async || !redis.stored_keys().is_empty()).await;
    opened.add_permits(1);
    assert_eq!(old.await.unwrap().body, "1");
    until("the first one has learned better", async || {
        first.get_with("/a", &host).await.body == "2"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_a_miss_is_as_ever() {
    let upstream = counting("max-age=60").await;
    let redis = PrivateRedis::absent_on_unix();
    let url = redis.url();
    let settings = [("redis", url.as_str()), ("redis_timeout", REDIS_TIMEOUT)];
    let proxy = Proxy::start(upstream.address, &settings).await;
    let answer = proxy.get("/a").await;
    assert_eq!((answer.result(), answer.body.as_str()), ("MISS", "1"));
}
