//! One fetch per key in this process: the first miss leads, the others wait for its answer.
//!
//! A leader holds a [`Permit`]; dropping it, in whatever way, releases everybody who waits. What is published is either an
//! answer that may be shared or the word that it may not, upon which each goes alone. Marks remember which keys could not be
//! shared lately, so that their next requests don't queue for nothing (hit-for-miss).
//!
//! Nobody is slower than the API for having waited, and nobody's impatience makes a herd: when a fetch takes longer than usual,
//! one of those who wait fetches as well, for all of them; when twice that time has passed again, another one, and so on. What
//! comes first is everybody's; a failure only when no other fetch is left.

use larder_policy::CacheKey;
use quick_cache::sync::Cache;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::Instant as Timer;

/// How long a key that could not be shared is remembered. A storable answer ends the mark at once.
const MARK_AGE_MAX: Duration = Duration::from_secs(60);
/// Marks held at most: each some dozens of bytes, however long its key is.
const MARKS_MAX: usize = 10_000;

/// What one fetch serves. Requests that name their caller fly apart from those that don't: an answer to one is rarely fit
/// for the other, and neither shall make the other wait.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FlightKey {
    pub key: CacheKey,
    pub names_caller: bool,
}

/// What became of a fetch, for those who wait for it.
#[derive(Debug, Clone)]
pub enum Published<T> {
    Shared(T),
    GoAlone,
}

/// One key's fetches under way, mostly one.
#[derive(Debug)]
struct Flight<T> {
    generation: u64,
    sender: watch::Sender<Option<Published<T>>>,
    /// Who asks, and when the next one may. Held for an instant only.
    asking: Mutex<Asking<T>>,
}

#[derive(Debug)]
struct Asking<T> {
    /// How long a fetch usually takes.
    usual: Duration,
    /// Fetches that were begun, and when the last one was.
    begun: u32,
    last: Timer,
    /// Permits that are held.
    held: usize,
    /// What came of a fetch that failed while another one was under way.
    withheld: Option<Published<T>>,
}

impl<T> Asking<T> {
    /// When the next fetch may begin: each waits twice as long as the one before.
    fn due(&self) -> Timer {
        let times = 1_u32 << self.begun.saturating_sub(1).min(16);
        self.last + self.usual.saturating_mul(times)
    }

    /// The right to begin it, for one alone.
    fn claim(&mut self, now: Timer) -> bool {
        let is_due = now >= self.due();
        if is_due {
            self.begun += 1;
            self.last = now;
            self.held += 1;
        }
        is_due
    }
}

impl<T> Flight<T> {
    fn asking(&self) -> MutexGuard<'_, Asking<T>> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first word counts.
    fn publish(&self, word: Published<T>) {
        self.sender.send_if_modified(|published| {
            let silent = published.is_none();
            if silent {
                *published = Some(word);
            }
            silent
        });
    }
}

/// The fetches under way.
#[derive(Debug)]
pub struct Flights<T> {
    /// Which keys are being fetched; held for a map operation only.
    under_way: Mutex<HashMap<FlightKey, Arc<Flight<T>>>>,
    /// By a keyed hash, for clients choose how long a key is. Two keys that share one cost each other's waiters a fetch.
    marks: Cache<u64, Instant>,
    hasher: RandomState,
}

/// The right, and the duty, to fetch for everybody who waits.
#[derive(Debug)]
pub struct Permit<T> {
    flights: Arc<Flights<T>>,
    key: FlightKey,
    flight: Arc<Flight<T>>,
}

/// A place among those who wait.
#[derive(Debug)]
pub struct Waiter<T> {
    flights: Arc<Flights<T>>,
    key: FlightKey,
    flight: Arc<Flight<T>>,
    receiver: watch::Receiver<Option<Published<T>>>,
}

/// What comes next for somebody who waits.
#[derive(Debug)]
pub enum Next<T> {
    Published(Published<T>),
    /// It takes longer than usual: this one shall fetch, too, for all who wait.
    Fetch(Permit<T>),
}

/// Whether a request fetches or waits.
#[derive(Debug)]
pub enum Turn<T> {
    Lead(Permit<T>),
    Wait(Waiter<T>),
}

impl<T: Clone> Flights<T> {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            under_way: Mutex::default(),
            marks: Cache::new(MARKS_MAX),
            hasher: RandomState::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<FlightKey, Arc<Flight<T>>>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        let under_way = self.lock();
        let flights = under_way.values();
        flights.map(|flight| flight.sender.receiver_count()).sum()
    }

    /// Leads a fetch for this key, which usually takes so long, or waits for the one that is under way. One of another
    /// generation is none to wait for: it began before something that makes what it brings too old.
    pub fn turn(self: &Arc<Self>, key: FlightKey, usual: Duration, generation: u64) -> Turn<T> {
        let mut under_way = self.lock();
        let flight = under_way.get(&key);
        if let Some(flight) = flight.filter(|flight| flight.generation == generation) {
            return Turn::Wait(Waiter {
                flights: self.clone(),
                receiver: flight.sender.subscribe(),
                flight: flight.clone(),
                key,
            });
        }
        let flight = Arc::new(Flight {
            generation,
            sender: watch::Sender::new(None),
            asking: Mutex::new(Asking {
                usual,
                begun: 1,
                last: Timer::now(),
                held: 1,
                withheld: None,
            }),
        });
        under_way.insert(key.clone(), flight.clone());
        drop(under_way);
        Turn::Lead(Permit {
            flights: self.clone(),
            key,
            flight,
        })
    }

    /// From now on nobody joins the fetches of this key: what they bring may be older than what was just changed.
    pub fn forget(&self, key: &CacheKey) {
        let mut under_way = self.lock();
        for names_caller in [false, true] {
            under_way.remove(&FlightKey {
                key: key.clone(),
                names_caller,
            });
        }
    }

    /// Was an answer for this key lately of no use to others?
    pub fn is_marked(&self, key: &FlightKey, now: Instant) -> bool {
        self.marks
            .get(&self.hasher.hash_one(key))
            .is_some_and(|at| now.duration_since(at) < MARK_AGE_MAX)
    }

    pub fn mark(&self, key: &FlightKey, now: Instant) {
        self.marks.insert(self.hasher.hash_one(key), now);
    }

    pub fn unmark(&self, key: &FlightKey) {
        self.marks.remove(&self.hasher.hash_one(key));
    }
}

impl<T: Clone> Permit<T> {
    /// Tells those who wait, and those who come until the flight is closed.
    pub fn publish(&self, published: Published<T>) {
        self.flight.publish(published);
    }

    /// Tells those who wait, when no other fetch for them is under way; else only if that one comes to nothing, too.
    pub fn publish_failure(&self, published: Published<T>) {
        let mut asking = self.flight.asking();
        if asking.held > 1 {
            asking.withheld = Some(published);
            return;
        }
        drop(asking);
        self.flight.publish(published);
        // Who has read the failure and asks again asks for something newer.
        self.close();
    }
}

impl<T> Permit<T> {
    /// Its fetch begins then, or has begun: those who wait become impatient as long after that as ever.
    pub fn begins_at(&self, time: Timer) {
        self.flight.asking().last = time;
    }

    /// From now on nobody joins, unless somebody has: then nothing changes, and this is false.
    pub fn close_unless_awaited(&self) -> bool {
        let mut under_way = self
            .flights
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if self.flight.sender.receiver_count() > 0 {
            return false;
        }
        self.close_in(&mut under_way);
        true
    }

    /// From now on nobody joins: what was fetched is over, and whoever comes finds it stored, or asks anew.
    pub fn close(&self) {
        let mut under_way = self
            .flights
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.close_in(&mut under_way);
    }

    fn close_in(&self, under_way: &mut HashMap<FlightKey, Arc<Flight<T>>>) {
        // After `forget`, or of another generation, another flight may bear this key.
        if under_way
            .get(&self.key)
            .is_some_and(|flight| Arc::ptr_eq(flight, &self.flight))
        {
            under_way.remove(&self.key);
        }
    }
}

impl<T> Drop for Permit<T> {
    fn drop(&mut self) {
        let mut asking = self.flight.asking();
        asking.held -= 1;
        let is_last = asking.held == 0;
        let withheld = asking.withheld.take_if(|_| is_last);
        drop(asking);
        if is_last {
            self.close();
            self.flight.publish(withheld.unwrap_or(Published::GoAlone));
        }
    }
}

impl<T: Clone> Waiter<T> {
    /// What is published, or the turn to fetch as well.
    pub async fn next(&mut self) -> Next<T> {
        loop {
            let due = self.flight.asking().due();
            tokio::select! {
                biased;
                published = self.published() => return Next::Published(published),
                () = tokio::time::sleep_until(due) => {}
            }
            if let Some(permit) = self.claim() {
                return Next::Fetch(permit);
            }
        }
    }

    /// What is published, whenever that is.
    pub async fn published(&mut self) -> Published<T> {
        match self.receiver.wait_for(Option::is_some).await {
            Ok(published) => published.clone().unwrap_or(Published::GoAlone),
            Err(_) => Published::GoAlone,
        }
    }

    fn claim(&self) -> Option<Permit<T>> {
        let claimed = self.flight.asking().claim(Timer::now());
        claimed.then(|| Permit {
            flights: self.flights.clone(),
            key: self.key.clone(),
            flight: self.flight.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Duration = Duration::from_millis(100);

    fn key(name: &str) -> FlightKey {
        FlightKey {
            key: CacheKey::from_bytes(Arc::from(name.as_bytes())),
            names_caller: false,
        }
    }

    fn lead(flights: &Arc<Flights<u32>>, name: &str) -> Permit<u32> {
        match flights.turn(key(name), USUAL, 1) {
            Turn::Lead(permit) => permit,
            Turn::Wait(_) => panic!("somebody else leads"),
        }
    }

    fn wait(flights: &Arc<Flights<u32>>, name: &str) -> Waiter<u32> {
        match flights.turn(key(name), USUAL, 1) {
            Turn::Lead(_) => panic!("nobody leads"),
            Turn::Wait(waiter) => waiter,
        }
    }

    #[tokio::test]
    async fn nobody_waits_for_a_fetch_of_another_generation() {
        let flights = Flights::new();
        let old = lead(&flights, "a");
        let Turn::Lead(new) = flights.turn(key("a"), USUAL, 2) else {
            panic!("it began too early");
        };
        old.publish(Published::Shared(1));
        drop(old);
        let Turn::Wait(mut waiter) = flights.turn(key("a"), USUAL, 2) else {
            panic!("the end of the old one leaves the new one alone");
        };
        new.publish(Published::Shared(2));
        assert!(matches!(waiter.published().await, Published::Shared(2)));
    }

    #[tokio::test]
    async fn those_who_wait_get_what_the_leader_publishes() {
        let flights = Flights::new();
        let permit = lead(&flights, "a");
        let mut waiter = wait(&flights, "a");
        permit.publish(Published::Shared(7));
        let mut late = wait(&flights, "a");
        assert!(matches!(waiter.published().await, Published::Shared(7)));
        assert!(matches!(late.published().await, Published::Shared(7)));
        drop(permit);
        drop(lead(&flights, "a"));
    }

    #[tokio::test]
    async fn a_leader_that_vanishes_releases_everybody() {
        let flights = Flights::new();
        let permit = lead(&flights, "a");
        let mut waiter = wait(&flights, "a");
        drop(permit);
        assert!(matches!(waiter.published().await, Published::GoAlone));
    }

    #[tokio::test]
    async fn nobody_joins_a_forgotten_flight_and_its_end_leaves_the_next_one_alone() {
        let flights = Flights::new();
        let old = lead(&flights, "a");
        flights.forget(&key("a").key);
        let new = lead(&flights, "a");
        drop(old);
        let mut waiter = wait(&flights, "a");
        new.publish(Published::Shared(2));
        assert!(matches!(waiter.published().await, Published::Shared(2)));
    }

    #[tokio::test]
    async fn who_comes_after_the_end_leads_although_the_permit_is_still_held() {
        let flights = Flights::new();
        let old = lead(&flights, "a");
        let mut waiter = wait(&flights, "a");
        old.publish(Published::Shared(1));
        old.close();
        let new = lead(&flights, "a");
        drop(old);
        drop(wait(&flights, "a"));
        drop(new);
        assert!(matches!(waiter.published().await, Published::Shared(1)));
    }

    /// When each of those who wait is to fetch as well, in milliseconds after the first began.
    async fn impatience(waiters: Vec<Waiter<u32>>) -> Vec<u128> {
        let began = Timer::now();
        let tasks = waiters.into_iter().map(|mut waiter| {
            tokio::spawn(async move {
                match waiter.next().await {
                    Next::Fetch(permit) => Some((began.elapsed().as_millis(), permit)),
                    Next::Published(_) => None,
                }
            })
        });
        let tasks: Vec<_> = tasks.collect();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let mut times = Vec::new();
        for task in tasks
            .into_iter()
            .filter(tokio::task::JoinHandle::is_finished)
        {
            if let Ok(Some((at, permit))) = task.await {
                times.push(at);
                // Its fetch goes on.
                std::mem::forget(permit);
            }
        }
        times.sort_unstable();
        times
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_too_long_fetch_one_at_a_time_at_doubling_pauses() {
        let flights = Flights::new();
        let _permit = lead(&flights, "a");
        let waiters = (0..1000).map(|_| wait(&flights, "a")).collect();
        let times = impatience(waiters).await;
        // The timer wakes a millisecond late at most.
        let pauses: Vec<_> = times.iter().map(|at| at / 100).collect();
        assert_eq!(pauses, [1, 3, 7, 15], "{times:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_first_is_everybody_s_and_the_rest_is_silent() {
        let flights = Flights::new();
        let slow = lead(&flights, "a");
        let (mut first, mut second) = (wait(&flights, "a"), wait(&flights, "a"));
        let Next::Fetch(permit) = first.next().await else {
            panic!("nothing was published");
        };
        permit.publish(Published::Shared(2));
        permit.close();
        drop(permit);
        slow.publish(Published::Shared(1));
        drop(slow);
        for waiter in [&mut first, &mut second] {
            assert!(matches!(waiter.published().await, Published::Shared(2)));
        }
        drop(lead(&flights, "a"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_everybody_s_only_when_nobody_else_is_fetching() {
        for leader_answers in [true, false] {
            let flights = Flights::new();
            let leader = lead(&flights, "a");
            let mut waiter = wait(&flights, "a");
            let Next::Fetch(permit) = waiter.next().await else {
                panic!("nothing was published");
            };
            permit.publish_failure(Published::Shared(500));
            drop(permit);
            let mut late = wait(&flights, "a");
            let expected = if leader_answers { 200 } else { 500 };
            if leader_answers {
                leader.publish(Published::Shared(200));
            }
            drop(leader);
            for waiter in [&mut waiter, &mut late] {
                let Published::Shared(word) = waiter.published().await else {
                    panic!("somebody answered or failed");
                };
                assert_eq!(word, expected);
            }
        }
    }

    #[test]
    fn a_mark_ends_after_its_time_or_at_once() {
        let flights: Arc<Flights<u32>> = Flights::new();
        let now = Instant::now();
        flights.mark(&key("a"), now);
        assert!(flights.is_marked(&key("a"), now + MARK_AGE_MAX - Duration::from_nanos(1)));
        assert!(!flights.is_marked(&key("a"), now + MARK_AGE_MAX));
        flights.unmark(&key("a"));
        assert!(!flights.is_marked(&key("a"), now));
    }
}
