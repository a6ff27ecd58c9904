//! What a pass through Pingora asks of the upstream: an address, and what became of it.
//!
//! A pass is never refused, for it may change something and only its sender knows whether to try again; but its luck counts.

use super::standing::{NoAnswer, Ticket};
use super::{UPGRADED_IDLE_MAX, Upstream, classify};
use larder_policy::Failure;
use pingora::Error;
use pingora::upstreams::peer::HttpPeer;

/// One pass on its way.
#[derive(Debug)]
pub struct Passing {
    ticket: Option<Ticket>,
    /// Addresses that could not be reached.
    attempts: usize,
    count: usize,
}

impl Passing {
    fn place(&self) -> usize {
        self.ticket
            .as_ref()
            .map_or(0, |ticket| ticket.place(self.attempts, self.count))
    }

    /// The head of its answer came.
    pub fn answered(&mut self) {
        let place = self.place();
        if let Some(ticket) = self.ticket.take() {
            ticket.answered(place);
        }
    }

    /// There was no connection to an address. True when another one is left to try.
    pub fn not_connected(&mut self) -> bool {
        let place = self.place();
        if let Some(ticket) = &self.ticket {
            ticket.not_connected(place, self.count);
        }
        self.attempts += 1;
        self.attempts < self.count
    }

    /// No answer came.
    pub fn failed(&mut self, error: &Error) {
        let (failure, place) = (classify(error), self.place());
        let all_in_vain = self.attempts >= self.count;
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        if all_in_vain {
            ticket.failed(NoAnswer::unasked(failure), None, self.count);
        } else {
            let why = NoAnswer {
                failure,
                unasked: false,
            };
            ticket.failed(why, Some(place), self.count);
        }
    }
}

impl Upstream {
    /// A pass to this target.
    pub fn pass(&self, target: &str) -> Passing {
        Passing {
            ticket: Some(self.standing.admit_pass(target)),
            attempts: 0,
            count: 0,
        }
    }

    /// The address for a pass, the next one after those that it could not reach.
    pub async fn peer(&self, passing: &mut Passing, upgrade: bool) -> Result<HttpPeer, Failure> {
        let addresses = self.resolver.addresses().await?;
        passing.count = addresses.len();
        let address = addresses
            .get(passing.place())
            .ok_or(Failure::ConnectFailed)?;
        let mut peer = self.peer_at(*address);
        if upgrade {
            peer.options.read_timeout = Some(UPGRADED_IDLE_MAX);
        }
        Ok(peer)
    }
}
