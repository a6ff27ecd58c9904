//! How often signing in to an account may fail. Pure but for its own tables.
//!
//! Counted by account and client first, so that nobody who guesses keeps the account's owner out: whoever has used up what one
//! client has for an account is refused without being counted for all. The bound over all clients is for guesses from many places.

use super::limit::Pace;
use crate::users::Email;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

const HOUR: Duration = Duration::from_secs(3600);
/// Of one client to one account: all of these at once, then evenly over the hour.
const PER_CLIENT_MAX: NonZeroU32 = NonZeroU32::new(60).expect("not zero");
/// To one account, from wherever they come.
const PER_ACCOUNT_MAX: NonZeroU32 = NonZeroU32::new(2400).expect("not zero");
/// Whoever has one network of IPv6 often has a thousand times 64: what a site is given counts as one.
const CLIENT_PREFIX_V6: u8 = 48;
/// Neighbours in IPv4 are not each other's doing.
const CLIENT_PREFIX_V4: u8 = 32;

/// Counts failures.
#[derive(Debug)]
pub(super) struct Failures {
    by_client: Pace<(Email, IpNet)>,
    by_account: Pace<Email>,
}

impl Failures {
    pub(super) fn new() -> Self {
        Self {
            by_client: Pace::new(PER_CLIENT_MAX, HOUR),
            by_account: Pace::new(PER_ACCOUNT_MAX, HOUR),
        }
    }

    /// Counts one, or says how long to wait before the next try is welcome.
    pub(super) fn count(
        &mut self,
        email: &Email,
        client: IpAddr,
        now: Instant,
    ) -> Result<(), Duration> {
        let key = (email.clone(), network(client));
        self.by_client.admit(key.clone(), now)?;
        self.by_account
            .admit(email.clone(), now)
            .inspect_err(|_| self.by_client.give_back(key, now))
    }

    /// Takes that back: it was none.
    pub(super) fn forget(&mut self, email: &Email, client: IpAddr, now: Instant) {
        self.by_client
            .give_back((email.clone(), network(client)), now);
        self.by_account.give_back(email.clone(), now);
    }
}

fn network(address: IpAddr) -> IpNet {
    let network = match address {
        IpAddr::V4(v4) => Ipv4Net::new(v4, CLIENT_PREFIX_V4).map(IpNet::V4),
        IpAddr::V6(v6) => Ipv6Net::new(v6, CLIENT_PREFIX_V6).map(IpNet::V6),
    };
    network.map_or_else(|_| IpNet::from(address), |network| network.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn email(text: &str) -> Email {
        Email::parse(text).expect("an address")
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn one_client_that_guesses_keeps_nobody_else_out() {
        let (mut failures, now) = (Failures::new(), Instant::now());
        let ada = email("ada@example.org");
        let guesser = address("192.0.2.1");
        let admitted = (0..10_000).filter(|_| failures.count(&ada, guesser, now).is_ok());
        assert_eq!(admitted.count(), 60);
        assert!(failures.count(&ada, address("192.0.2.2"), now).is_ok());
        assert!(
            failures
                .count(&email("bob@example.org"), guesser, now)
                .is_ok()
        );
        let later = now + HOUR / 60;
        assert!(failures.count(&ada, guesser, later).is_ok());
    }

    #[test]
    fn guesses_from_many_places_are_bounded_together() {
        let (mut failures, now) = (Failures::new(), Instant::now());
        let ada = email("ada@example.org");
        let clients = (0..10_000_u32).map(|n| IpAddr::V4((0xC633_0000 + n).into()));
        let admitted = clients.filter(|client| failures.count(&ada, *client, now).is_ok());
        assert_eq!(admitted.count(), 2400);
    }

    #[test]
    fn a_site_of_ipv6_is_one_client() {
        let (mut failures, now) = (Failures::new(), Instant::now());
        let ada = email("ada@example.org");
        let admitted = (0..1000).filter(|n| {
            let client = address(&format!("2001:db8:0:{n:x}::1"));
            failures.count(&ada, client, now).is_ok()
        });
        assert_eq!(admitted.count(), 60);
        assert!(failures.count(&ada, address("2001:db8:1::1"), now).is_ok());
    }

    #[test]
    fn what_was_no_failure_leaves_all_there_was() {
        let (mut failures, now) = (Failures::new(), Instant::now());
        let (ada, client) = (email("ada@example.org"), address("192.0.2.1"));
        for _ in 0..5000 {
            assert!(failures.count(&ada, client, now).is_ok());
            failures.forget(&ada, client, now);
        }
    }
}
