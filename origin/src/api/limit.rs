//! How many requests a client may make: a minute's worth at once, then at an even pace (GCRA). Pure but for its own table.
//!
//! The table is bounded. When it is full of clients that are all within their minute, newcomers share one entry: they may be
//! refused for each other's requests, but nobody who was counted before escapes.

use ipnet::{IpNet, Ipv6Net};
use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// About 6 MB when full.
const CLIENTS_MAX: usize = 65_536;
const MINUTE: Duration = Duration::from_secs(60);
/// One subscriber commonly holds a whole /64 of IPv6.
const CLIENT_PREFIX_V6: u8 = 64;

/// Counts clients.
#[derive(Debug)]
pub struct Limiter {
    between_requests: Duration,
    clients_max: usize,
    /// When each client's allowance will be full again.
    full_at: HashMap<Client, Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Client {
    One(IpNet),
    Newcomers,
}

impl Limiter {
    pub fn new(requests_per_minute: NonZeroU32) -> Self {
        Self::with_clients_max(requests_per_minute, CLIENTS_MAX)
    }

    fn with_clients_max(requests_per_minute: NonZeroU32, clients_max: usize) -> Self {
        Self {
            between_requests: MINUTE / requests_per_minute.get(),
            clients_max,
            full_at: HashMap::new(),
        }
    }

    /// Counts a request, or says how long to wait before the next one is welcome.
    pub fn admit(&mut self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let client = self.client(address, now);
        let full_at = self
            .full_at
            .get(&client)
            .copied()
            .filter(|full_at| *full_at > now)
            .unwrap_or(now);
        let then = full_at + self.between_requests;
        match then.duration_since(now).checked_sub(MINUTE) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => {
                self.full_at.insert(client, then);
                Ok(())
            }
        }
    }

    fn client(&mut self, address: IpAddr, now: Instant) -> Client {
        let client = Client::One(network(address));
        if self.full_at.len() < self.clients_max || self.full_at.contains_key(&client) {
            return client;
        }
        self.full_at.retain(|_, full_at| *full_at > now);
        if self.full_at.len() < self.clients_max {
            client
        } else {
            Client::Newcomers
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
        assert_eq!(limiter.full_at.len(), 3);
        assert!(limiter.admit(address("192.0.2.4"), now + MINUTE).is_ok());
        assert_eq!(limiter.full_at.len(), 1);
    }
}
