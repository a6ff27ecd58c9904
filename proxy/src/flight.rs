//! One fetch per key in this process: the first miss leads, the others wait for its answer.
//!
//! A leader holds a [`Permit`]; dropping it, in whatever way, releases everybody who waits. What is published is either an
//! answer that may be shared or the word that it may not, upon which each goes alone. Marks remember which keys could not be
//! shared lately, so that their next requests don't queue for nothing (hit-for-miss).

use larder_policy::CacheKey;
use quick_cache::sync::Cache;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::timeout;

/// How long a request waits for another's fetch before it begins its own, and takes what comes first.
const WAIT_MAX: Duration = Duration::from_secs(5);
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

/// The leader took longer than anybody should wait without doing something himself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

type Sender<T> = watch::Sender<Option<Published<T>>>;

/// The fetches under way.
#[derive(Debug)]
pub struct Flights<T> {
    /// Which keys are being fetched; held for a map operation only.
    under_way: Mutex<HashMap<FlightKey, Arc<Sender<T>>>>,
    /// By a keyed hash, for clients choose how long a key is. Two keys that share one cost each other's waiters a fetch.
    marks: Cache<u64, Instant>,
    hasher: RandomState,
}

/// The right, and the duty, to fetch for everybody who waits.
#[derive(Debug)]
pub struct Permit<T> {
    flights: Arc<Flights<T>>,
    key: FlightKey,
    sender: Arc<Sender<T>>,
}

/// A place among those who wait.
#[derive(Debug)]
pub struct Waiter<T>(watch::Receiver<Option<Published<T>>>);

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

    fn lock(&self) -> MutexGuard<'_, HashMap<FlightKey, Arc<Sender<T>>>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Leads a fetch for this key, or waits for the one that is under way.
    pub fn turn(self: &Arc<Self>, key: FlightKey) -> Turn<T> {
        let mut under_way = self.lock();
        if let Some(sender) = under_way.get(&key) {
            return Turn::Wait(Waiter(sender.subscribe()));
        }
        let sender = Arc::new(watch::Sender::new(None));
        under_way.insert(key.clone(), sender.clone());
        drop(under_way);
        Turn::Lead(Permit {
            flights: self.clone(),
            key,
            sender,
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
    /// Tells those who wait, and those who come until the permit is dropped.
    pub fn publish(&self, published: Published<T>) {
        self.sender.send_replace(Some(published));
    }
}

impl<T> Permit<T> {
    /// From now on nobody joins: what was fetched is over, and whoever comes finds it stored, or asks anew.
    pub fn close(&self) {
        let mut under_way = self
            .flights
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // After `forget` another flight may bear this key.
        if under_way
            .get(&self.key)
            .is_some_and(|sender| Arc::ptr_eq(sender, &self.sender))
        {
            under_way.remove(&self.key);
        }
    }
}

impl<T> Drop for Permit<T> {
    fn drop(&mut self) {
        self.close();
        self.sender.send_if_modified(|published| {
            let silent = published.is_none();
            if silent {
                *published = Some(Published::GoAlone);
            }
            silent
        });
    }
}

impl<T: Clone> Waiter<T> {
    /// What the leader publishes within the time that one waits.
    pub async fn published(&mut self) -> Result<Published<T>, TooLong> {
        timeout(WAIT_MAX, self.published_at_last())
            .await
            .map_err(|_| TooLong)
    }

    /// What the leader publishes, whenever that is.
    pub async fn published_at_last(&mut self) -> Published<T> {
        match self.0.wait_for(Option::is_some).await {
            Ok(published) => published.clone().unwrap_or(Published::GoAlone),
            Err(_) => Published::GoAlone,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> FlightKey {
        FlightKey {
            key: CacheKey::from_bytes(Arc::from(name.as_bytes())),
            names_caller: false,
        }
    }

    fn lead(flights: &Arc<Flights<u32>>, name: &str) -> Permit<u32> {
        match flights.turn(key(name)) {
            Turn::Lead(permit) => permit,
            Turn::Wait(_) => panic!("somebody else leads"),
        }
    }

    fn wait(flights: &Arc<Flights<u32>>, name: &str) -> Waiter<u32> {
        match flights.turn(key(name)) {
            Turn::Lead(_) => panic!("nobody leads"),
            Turn::Wait(waiter) => waiter,
        }
    }

    #[tokio::test]
    async fn those_who_wait_get_what_the_leader_publishes() {
        let flights = Flights::new();
        let permit = lead(&flights, "a");
        let mut waiter = wait(&flights, "a");
        permit.publish(Published::Shared(7));
        let mut late = wait(&flights, "a");
        assert!(matches!(waiter.published().await, Ok(Published::Shared(7))));
        assert!(matches!(late.published().await, Ok(Published::Shared(7))));
        drop(permit);
        drop(lead(&flights, "a"));
    }

    #[tokio::test]
    async fn a_leader_that_vanishes_releases_everybody() {
        let flights = Flights::new();
        let permit = lead(&flights, "a");
        let mut waiter = wait(&flights, "a");
        drop(permit);
        assert!(matches!(waiter.published().await, Ok(Published::GoAlone)));
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
        assert!(matches!(waiter.published().await, Ok(Published::Shared(2))));
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
        assert!(matches!(waiter.published().await, Ok(Published::Shared(1))));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever_without_asking_himself() {
        let flights = Flights::new();
        let permit = lead(&flights, "a");
        let mut waiter = wait(&flights, "a");
        assert!(waiter.published().await.is_err());
        permit.publish(Published::Shared(3));
        assert!(matches!(
            waiter.published_at_last().await,
            Published::Shared(3)
        ));
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
