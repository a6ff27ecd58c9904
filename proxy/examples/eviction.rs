//! Which response should give way when memory is full? How much of the API's time each way of choosing saves, on synthetic
//! traces: `scripts/bench eviction` runs it. Everything counted is decided by seeds but for the hashes of `quick_cache`, so
//! the last digit may differ between runs.
//!
//! - `plain`: `quick_cache` as Larder uses it, weighted by bytes.
//! - `chances`: the same, and what cost so many times the mean of the API's time per byte is passed over so often, at most 16
//!   times.
//! - `admission`: the same as plain, but what cost less than a sixteenth of the mean per byte is not let in.
//! - `GDSF`: Greedy-Dual-Size-Frequency with an exact priority queue, no lock and no second look: what could be had.

use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

const OBJECTS: usize = 100_000;
const REQUESTS: usize = 400_000;
/// Requests before counting begins.
const WARM_UP: usize = 100_000;

/// A sequence that its seed decides (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Between 0 and 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Of a normal distribution, near enough.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.share()).sum::<f64>() - 6.0
    }
}

#[derive(Clone, Copy)]
struct Object {
    bytes: u64,
    cost_us: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum Costs {
    Equal,
    /// Nothing to do with the size.
    Free,
    /// Large ones take longer.
    WithSize,
    /// Small ones take longer: answers that are worked out beside files that are read.
    AgainstSize,
}

#[derive(Clone, Copy, PartialEq)]
enum Popularity {
    Steady,
    /// A quarter of the requests is for something that never comes back.
    Scans,
    /// What is popular changes all the time.
    Shifting,
}

struct Trace {
    name: &'static str,
    objects: Vec<Object>,
    requests: Vec<usize>,
}

fn objects(costs: Costs, count: usize, random: &mut Random) -> Vec<Object> {
    let mut object = || {
        let size = random.normal();
        let cost = match costs {
            Costs::Equal => 0.0,
            Costs::Free => random.normal(),
            Costs::WithSize => 0.7 * size + 0.5 * random.normal(),
            Costs::AgainstSize => -0.7 * size + 0.5 * random.normal(),
        };
        Object {
            bytes: (4_000.0 * (1.5 * size).exp()).clamp(200.0, 4e6) as u64,
            cost_us: (50_000.0 * cost.exp()).clamp(1e3, 5e6) as u64,
        }
    };
    (0..count).map(|_| object()).collect()
}

/// Zipf's law with exponent 0.9, as measured on many caches.
fn trace(name: &'static str, costs: Costs, popularity: Popularity) -> Trace {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut sum = 0.0;
    let weights = (1..=OBJECTS).map(|rank| {
        sum += (rank as f64).powf(-0.9);
        sum
    });
    let weights: Vec<f64> = weights.collect();
    let mut objects = objects(costs, OBJECTS + REQUESTS / 4 + REQUESTS / 100, &mut random);
    let mut once = OBJECTS;
    let mut requests = Vec::with_capacity(REQUESTS);
    for number in 0..REQUESTS {
        if popularity == Popularity::Scans && random.share() < 0.25 && once < objects.len() {
            requests.push(once);
            once += 1;
            continue;
        }
        let drawn = random.share() * sum;
        let rank = weights.partition_point(|weight| *weight < drawn);
        let shift = match popularity {
            Popularity::Shifting => number / 50,
            _ => 0,
        };
        requests.push((rank + shift) % OBJECTS);
    }
    objects.truncate(once.max(OBJECTS));
    Trace {
        name,
        objects,
        requests,
    }
}

/// A cache that is asked, and told what was fetched.
trait Policy {
    fn get(&mut self, key: usize) -> bool;
    fn put(&mut self, key: usize, object: Object);
}

/// Of the time that the API would take without a cache, the percentage that this one saves.
fn saved_percent(trace: &Trace, policy: &mut dyn Policy) -> f64 {
    let (mut all, mut saved) = (0, 0);
    for (number, &key) in trace.requests.iter().enumerate() {
        let object = trace.objects[key];
        let hit = policy.get(key);
        if !hit {
            policy.put(key, object);
        }
        if number >= WARM_UP {
            all += object.cost_us;
            saved += if hit { object.cost_us } else { 0 };
        }
    }
    saved as f64 * 100.0 / all as f64
}

/// The mean cost of a byte, of what was fetched.
#[derive(Default)]
struct Mean {
    bytes: u64,
    cost_us: u64,
}

impl Mean {
    fn add(&mut self, object: Object) {
        self.bytes += object.bytes;
        self.cost_us += object.cost_us;
    }

    /// How many times the mean a byte of this one costs.
    fn times(&self, object: Object) -> f64 {
        let mean = self.cost_us as f64 / self.bytes.max(1) as f64;
        object.cost_us as f64 / object.bytes as f64 / mean.max(f64::MIN_POSITIVE)
    }
}

#[derive(Clone)]
struct Held {
    bytes: u64,
    chances: Arc<AtomicU8>,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<usize, Held> for ByBytes {
    fn weight(&self, _: &usize, held: &Held) -> u64 {
        held.bytes
    }
}

/// Passes over what has chances left.
#[derive(Clone)]
struct Chances;

impl Lifecycle<usize, Held> for Chances {
    type RequestState = ();

    fn is_pinned(&self, _: &usize, held: &Held) -> bool {
        let left = held.chances.load(Ordering::Relaxed);
        held.chances
            .store(left.saturating_sub(1), Ordering::Relaxed);
        left > 0
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Plain,
    Chances,
    Admission,
}

struct Quick {
    cache: Cache<usize, Held, ByBytes, DefaultHashBuilder, Chances>,
    manner: Manner,
    mean: Mean,
}

impl Quick {
    fn new(bytes_max: u64, manner: Manner) -> Self {
        let mut options = OptionsBuilder::new();
        options
            .shards(1)
            .estimated_items_capacity(usize::try_from(bytes_max / 12_000).unwrap_or(1))
            .weight_capacity(bytes_max);
        let options = options.build().expect("all sizes are set");
        Self {
            cache: Cache::with_options(options, ByBytes, DefaultHashBuilder::default(), Chances),
            manner,
            mean: Mean::default(),
        }
    }
}

impl Policy for Quick {
    fn get(&mut self, key: usize) -> bool {
        self.cache.get(&key).is_some()
    }

    fn put(&mut self, key: usize, object: Object) {
        self.mean.add(object);
        let times = self.mean.times(object);
        if self.manner == Manner::Admission && times < 1.0 / 16.0 {
            return;
        }
        let chances = match self.manner {
            Manner::Chances => times.clamp(0.0, 16.0) as u8,
            Manner::Plain | Manner::Admission => 0,
        };
        let held = Held {
            bytes: object.bytes,
            chances: Arc::new(AtomicU8::new(chances)),
        };
        self.cache.insert(key, held);
    }
}

/// Priority, as bits that order as the number does, and what is held with it.
#[derive(Default)]
struct Gdsf {
    bytes_max: u64,
    bytes: u64,
    clock: f64,
    queue: BTreeSet<(u64, usize)>,
    held: HashMap<usize, (u64, u32, Object)>,
}

impl Gdsf {
    fn priority(&self, times: u32, object: Object) -> u64 {
        let value = f64::from(times) * object.cost_us as f64 / object.bytes as f64;
        (self.clock + value).to_bits()
    }
}

impl Policy for Gdsf {
    fn get(&mut self, key: usize) -> bool {
        let Some(&(old, times, object)) = self.held.get(&key) else {
            return false;
        };
        let new = self.priority(times + 1, object);
        self.queue.remove(&(old, key));
        self.queue.insert((new, key));
        self.held.insert(key, (new, times + 1, object));
        true
    }

    fn put(&mut self, key: usize, object: Object) {
        let priority = self.priority(1, object);
        self.queue.insert((priority, key));
        self.held.insert(key, (priority, 1, object));
        self.bytes += object.bytes;
        while self.bytes > self.bytes_max {
            let Some((priority, key)) = self.queue.pop_first() else {
                return;
            };
            self.clock = f64::from_bits(priority);
            let gone = self.held.remove(&key);
            self.bytes -= gone.map_or(0, |(_, _, object)| object.bytes);
        }
    }
}

fn main() {
    println!(
        "Of the API's time, the percentage that a cache saves that holds a share of all bytes:"
    );
    println!("| trace | memory | plain | chances | admission | GDSF |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    for (name, costs, popularity) in [
        ("equal costs", Costs::Equal, Popularity::Steady),
        ("costs of their own", Costs::Free, Popularity::Steady),
        ("large ones cost more", Costs::WithSize, Popularity::Steady),
        (
            "small ones cost more",
            Costs::AgainstSize,
            Popularity::Steady,
        ),
        ("costs of their own, scans", Costs::Free, Popularity::Scans),
        (
            "costs of their own, shifting",
            Costs::Free,
            Popularity::Shifting,
        ),
        (
            "large ones cost more, scans",
            Costs::WithSize,
            Popularity::Scans,
        ),
        (
            "large ones cost more, shifting",
            Costs::WithSize,
            Popularity::Shifting,
        ),
    ] {
        let trace = trace(name, costs, popularity);
        let all: u64 = trace.objects[..OBJECTS]
            .iter()
            .map(|object| object.bytes)
            .sum();
        for percent in [1, 10, 30] {
            row(&trace, percent, all * percent / 100);
        }
    }
}

fn row(trace: &Trace, percent: u64, bytes_max: u64) {
    let quick = [Manner::Plain, Manner::Chances, Manner::Admission]
        .map(|manner| saved_percent(trace, &mut Quick::new(bytes_max, manner)));
    let mut gdsf = Gdsf {
        bytes_max,
        ..Gdsf::default()
    };
    let [plain, chances, admission] = quick;
    println!(
        "| {} | {percent} % | {plain:.1} | {chances:.1} | {admission:.1} | {:.1} |",
        trace.name,
        saved_percent(trace, &mut gdsf)
    );
}
