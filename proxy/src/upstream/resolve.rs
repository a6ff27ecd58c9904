//! Where the upstream's name leads: resolved when needed, remembered shortly, and kept when the name service fails.

use larder_policy::Failure;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// How long an answer of the name service is used without asking again. The system's resolver doesn't tell the record's own
/// TTL; orchestrators move services within seconds.
const ANSWER_AGE_MAX: Duration = Duration::from_secs(5);
/// How long the name service may take.
const LOOKUP_MAX: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(super) struct Resolver {
    host: String,
    port: u16,
    /// When the name is none, but an address.
    address: Option<Arc<[SocketAddr]>>,
    /// The last answer and when it came. Held for an instant only.
    answer: Mutex<Option<(Instant, Arc<[SocketAddr]>)>>,
}

impl Resolver {
    pub(super) fn new(host: &str, port: u16) -> Self {
        Self {
            host: host.to_owned(),
            port,
            address: host
                .parse::<IpAddr>()
                .ok()
                .map(|address| Arc::new([SocketAddr::new(address, port)]) as Arc<[_]>),
            answer: Mutex::new(None),
        }
    }

    /// Every address of the upstream, in the order to try them.
    pub(super) async fn addresses(&self) -> Result<Arc<[SocketAddr]>, Failure> {
        if let Some(address) = &self.address {
            return Ok(address.clone());
        }
        let last = self.last();
        if let Some((at, addresses)) = &last
            && at.elapsed() < ANSWER_AGE_MAX
        {
            return Ok(addresses.clone());
        }
        let looked_up = timeout(
            LOOKUP_MAX,
            tokio::net::lookup_host((self.host.as_str(), self.port)),
        )
        .await;
        match looked_up {
            Ok(Ok(found)) => {
                let found: Arc<[SocketAddr]> = found.collect();
                self.remember(found.clone());
                if found.is_empty() {
                    Err(Failure::ConnectFailed)
                } else {
                    Ok(found)
                }
            }
            // A name service that fails doesn't move a service: its last answer is the best we know.
            Ok(Err(_)) | Err(_) => last
                .map(|(_, addresses)| addresses)
                .ok_or(Failure::ConnectFailed),
        }
    }

    /// The next request asks anew: none of the addresses could be reached.
    pub(super) fn forget(&self) {
        if let Some((at, _)) = self.lock().as_mut() {
            *at = at.checked_sub(ANSWER_AGE_MAX).unwrap_or(*at);
        }
    }

    fn last(&self) -> Option<(Instant, Arc<[SocketAddr]>)> {
        self.lock().clone()
    }

    fn remember(&self, addresses: Arc<[SocketAddr]>) {
        if !addresses.is_empty() {
            *self.lock() = Some((Instant::now(), addresses));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(Instant, Arc<[SocketAddr]>)>> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_is_not_looked_up() {
        let resolver = Resolver::new("::1", 8001);
        assert_eq!(
            resolver.addresses().await.unwrap().to_vec(),
            ["[::1]:8001".parse().unwrap()]
        );
    }

    #[tokio::test]
    async fn a_name_service_that_fails_leaves_the_last_answer_in_force() {
        let resolver = Resolver::new("no-such-name.invalid", 80);
        assert_eq!(resolver.addresses().await, Err(Failure::ConnectFailed));
        resolver.remember(Arc::new(["127.0.0.1:80".parse().unwrap()]));
        resolver.forget();
        assert_eq!(resolver.addresses().await.unwrap().len(), 1);
    }
}
