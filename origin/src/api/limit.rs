//! How many requests a client may make: a minute's worth at once (or an hour's), then at an even pace (GCRA). Pure but for its own table.
//!
//! The table is bounded. When it is full of clients that are all within their minute, newcomers share one entry: they may be
//! refused for each other's requests, but nobody who was counted before escapes.

use ipnet::{IpNet, Ipv6Net};
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// About 6 MB when full.
const KEYS_MAX: usize = 65_536;
const MINUTE: Duration = Duration::from_secs(60);
pub(super) const HOUR: Duration = Duration::from_secs(3600);
/// One subscriber commonly holds a whole /64 of IPv6.
const CLIENT_PREFIX_V6: u8 = 64;

/// Counts clients, by their networks.
#[derive(Debug)]
pub struct Limiter {
    pace: Pace<IpNet>,
}

/// Counts whatever is to keep to a pace.
#[derive(Debug)]
pub(super) struct Pace<K> {
    between: Duration,
    window: Duration,
    keys_max: usize,
    /// When each key's allowance will be full again.
    full_at: HashMap<Counted<K>, Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Counted<K> {
    One(K),
    Newcomers,
}

impl Limiter {
    pub fn new(requests_per_minute: NonZeroU32) -> Self {
        Self::with_clients_max(requests_per_minute, KEYS_MAX)
    }

    pub(super) fn hourly(requests_per_hour: NonZeroU32) -> Self {
        Self {
            pace: Pace::new(requests_per_hour, HOUR),
        }
    }

    fn with_clients_max(requests_per_minute: NonZeroU32, clients_max: usize) -> Self {
        Self {
            pace: Pace::with_keys_max(requests_per_minute, MINUTE, clients_max),
        }
    }

    /// Counts a request, or says how long to wait before the next one is welcome.
    pub fn admit(&mut self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        self.pace.admit(network(address), now)
    }
}

impl<K: Eq + Hash + Clone> Pace<K> {
    /// So many in a window: all of them at once, then evenly.
    pub(super) fn new(times: NonZeroU32, window: Duration) -> Self {
        Self::with_keys_max(times, window, KEYS_MAX)
    }

    fn with_keys_max(times: NonZeroU32, window: Duration, keys_max: usize) -> Self {
        Self {
            between: window / times.get(),
            window,
            keys_max,
            full_at: HashMap::new(),
        }
    }

    /// Counts one, or says how long to wait before the next one is welcome.
    pub(super) fn admit(&mut self, key: K, now: Instant) -> Result<(), Duration> {
        let key = self.counted(key, now);
        let full_at = self
            .full_at
            .get(&key)
            .copied()
            .filter(|full_at| *full_at > now)
            .unwrap_or(now);
        let then = full_at + self.between;
        match then.duration_since(now).checked_sub(self.window) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => {
                self.full_at.insert(key, then);
                Ok(())
            }
        }
    }

    /// Takes the counting of one back.
    pub(super) fn give_back(&mut self, key: K, now: Instant) {
        let key = self.counted(key, now);
        if let Some(full_at) = self.full_at.get_mut(&key) {
            *full_at = full_at.checked_sub(self.between).unwrap_or(now);
        }
    }

    fn counted(&mut self, key: K, now: Instant) -> Counted<K> {
        let key = Counted::One(key);
        if self.full_at.len() < self.keys_max || self.full_at.contains_key(&key) {
            return key;
        }
        self.full_at.retain(|_, full_at| *full_at > now);
        if self.full_at.len() < self.keys_max {
            key
        } else {
            Counted::Newcomers
        }
    }
}

fn network(address: IpAddr) -> IpNet {
    match address {
        IpAddr::V6(v6) => Ipv6Net::new(v6, CLIENT_PREFIX_V6)
            .map_or_else(|_| IpNet::from(address), |net| IpNet::V6(net.trunc())),
        IpAddr::V4(_) => IpNet::from(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter(requests_per_minute: u32, clients_max: usize) -> Limiter {
        Limiter::with_clients_max(NonZeroU32::new(requests_per_minute).unwrap(), clients_max)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_minutes_worth_at_once_then_an_even_pace() {
        let (mut limiter, now) = (limiter(3, 10), Instant::now());
        let client = address("192.0.2.1");
        for _ in 0..3 {
            assert_eq!(limiter.admit(client, now), Ok(()));
        }
        assert_eq!(limiter.admit(client, now), Err(Duration::from_secs(20)));
        let just_before = now + Duration::from_millis(19_999);
        assert_eq!(
            limiter.admit(client, just_before),
            Err(Duration::from_millis(1))
        );
        let exactly = now + Duration::from_secs(20);
        assert_eq!(limiter.admit(client, exactly), Ok(()));
        assert_eq!(limiter.admit(client, exactly), Err(Duration::from_secs(20)));
    }

    #[test]
    fn refused_requests_do_not_count() {
        let (mut limiter, now) = (limiter(1, 10), Instant::now());
        assert_eq!(limiter.admit(address("192.0.2.1"), now), Ok(()));
        for _ in 0..100 {
            assert!(limiter.admit(address("192.0.2.1"), now).is_err());
        }
        assert_eq!(limiter.admit(address("192.0.2.1"), now + MINUTE), Ok(()));
    }

    #[test]
    fn clients_are_counted_apart_but_a_v6_subscriber_as_one() {
        let (mut limiter, now) = (limiter(1, 10), Instant::now());
        assert!(limiter.admit(address("192.0.2.1"), now).is_ok());
        assert!(limiter.admit(address("192.0.2.2"), now).is_ok());
        assert!(limiter.admit(address("2001:db8::1"), now).is_ok());
        assert!(limiter.admit(address("2001:db8::2"), now).is_err());
        assert!(limiter.admit(address("2001:db8:0:1::1"), now).is_ok());
    }

    #[test]
    fn the_table_stays_bounded_and_newcomers_share() {
        let (mut limiter, now) = (limiter(1, 2), Instant::now());
        assert!(limiter.admit(address("192.0.2.1"), now).is_ok());
        assert!(limiter.admit(address("192.0.2.2"), now).is_ok());
        assert!(limiter.admit(address("192.0.2.3"), now).is_ok());
        assert!(limiter.admit(address("192.0.2.4"), now).is_err());
        assert!(limiter.admit(address("192.0.2.1"), now).is_err());
        assert_eq!(limiter.pace.full_at.len(), 3);
        assert!(limiter.admit(address("192.0.2.4"), now + MINUTE).is_ok());
        assert_eq!(limiter.pace.full_at.len(), 1);
    }

    #[test]
    fn what_is_given_back_was_never_counted() {
        let (mut pace, now) = (Pace::new(NonZeroU32::MIN, MINUTE), Instant::now());
        for _ in 0..3 {
            assert!(pace.admit("a", now).is_ok());
            pace.give_back("a", now);
        }
        assert!(pace.admit("a", now).is_ok());
        assert_eq!(pace.admit("a", now), Err(MINUTE));
        assert!(pace.admit("b", now).is_ok());
    }
}
