//! Does a purge take longer when more bears its tag? Measured and printed, never asserted: times are a machine's, not the
//! program's. `scripts/bench purge` runs it.

use super::*;
use crate::support::proxy::Proxy;
use crate::support::upstream::counting;
use std::time::Instant;

const SIZES: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];
const PURGES: usize = 50;
/// Written between two waits for Redis: fewer than may be on their way.
const BATCH: usize = 800;
const HELD_BYTES_MAX: u64 = 4 << 30;

/// Two whole proxies, and a store with all the objects in its memory and in Redis: three replicas.
struct Stand {
    redis: PrivateRedis,
    store: Store,
    proxies: Vec<Proxy>,
    _upstream: crate::support::upstream::Upstream,
    objects: usize,
}

impl Stand {
    async fn start() -> Self {
        let redis = PrivateRedis::start().await;
        let upstream = counting("max-age=60").await;
        let url = redis.url();
        let mut proxies = Vec::new();
        for _ in 0..2 {
            let settings = [("redis", url.as_str()), ("namespace", "test")];
            proxies.push(Proxy::start(upstream.address, &settings).await);
        }
        let tier = RedisTier::new(&url, "test", PATIENT).expect("a Redis URL");
        let store = Store::with_purge_rules(HELD_BYTES_MAX, Some(tier), patient_rules());
        store.start();
        connected(&store).await;
        Self {
            redis,
            store,
            proxies,
            _upstream: upstream,
            objects: 0,
        }
    }

    /// Until so many are in memory and in Redis.
    async fn fill(&mut self, objects: usize) {
        while self.objects < objects {
            for _ in 0..BATCH.min(objects - self.objects) {
                let mut entry = entry(&format!("object {}", self.objects), "some hundred bytes");
                entry.headers = lines(&[("cache-tag", "all-of-them")]);
                entry.policy.lifetime_s = 1_000_000;
                assert_eq!(self.store.put(entry, self.store.mark(), now()), Put::Stored);
                self.objects += 1;
            }
            let end = tokio::time::Instant::now() + PATIENT;
            self.store.flush(end).await;
        }
    }

    /// From the call to its 200, over the admin port, soft so that all stays as it is.
    async fn purge(&self, query: &str) -> Duration {
        let admin = self.proxies[0].admin;
        let url = format!("http://{admin}/purge?{query}");
        let begin = Instant::now();
        let answer = self.proxies[0].http.post(url).send().await.unwrap();
        let (status, body) = (answer.status(), answer.text().await.unwrap());
        let took = begin.elapsed();
        assert_eq!(status, 200, "{body}");
        assert!(body.contains("\"applied\":3"), "{body}");
        took
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes and gigabytes: scripts/bench purge runs it"]
async fn what_a_purge_takes_by_the_number_of_objects_under_its_tag() {
    let mut stand = Stand::start().await;
    // The list of replicas is new: the first purge waits for a lease.
    stand.purge("tag=unused").await;
    println!(
        "| objects under the tag | in memory | in Redis | median | fastest | 9 of 10 within | slowest |"
    );
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for size in SIZES {
        stand.fill(size).await;
        let mut times = Vec::new();
        for _ in 0..PURGES {
            times.push(stand.purge("tag=all-of-them&soft=true").await);
        }
        times.sort_unstable();
        let ms = |at: usize| format!("{:.1} ms", times[at].as_secs_f64() * 1e3);
        let keys: usize = stand.redis.ask(&redis::cmd("DBSIZE"));
        println!(
            "| {size} | {} | {} | {} | {} | {} | {} |",
            stand.store.stats().entries,
            keys - 4,
            ms(PURGES / 2),
            ms(0),
            ms(PURGES * 9 / 10),
            ms(PURGES - 1),
        );
    }
    stand.purge("tag=all-of-them").await;
    for name in ["object 0", "object 999999"] {
        let found = stand
            .store
            .get(&key(name), &HeaderMap::new(), now())
            .await
            .0;
        assert!(matches!(found, Found::Miss), "{name}: {found:?}");
    }
}
