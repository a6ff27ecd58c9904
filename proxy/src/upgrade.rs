//! How does a new process take the listening sockets over from the one that runs, without a connection lost?
//!
//! They meet on a Unix socket of their own ([`Meeting`]). The running process, told by SIGQUIT, offers its sockets there; a process
//! started with `--upgrade` asks for them, whichever comes first:
//!
//! | the running one ([`offer`]) | | the new one ([`take`]) |
//! | --- | --- | --- |
//! | its sockets, beside a line that names the protocol | -> | makes its parts |
//! | | <- | `ready` |
//! | `yours`, then it stops accepting and drains | -> | accepts |
//!
//! At every moment one of them accepts, and what arrives in between waits in the sockets' queues. A new process that fails before
//! `ready` changes nothing. `never` tells one that comes too late to go away; no word at all, that the running one is gone.
//!
//! Nobody else may take part: the socket is its owner's alone, lies in a folder where nobody else can put another in its place,
//! and both sides ask the system whose process they talk to. What this leaves out: what is served, and how it drains.

mod meeting;
mod offer;
mod pass;
mod take;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use crate::config::Config;

pub use meeting::{Meeting, NotPrivate};
pub use offer::{NotTaken, offer};
pub use take::{NotOffered, Takeover, take};

/// The listening sockets of a process.
#[derive(Debug)]
pub struct Sockets {
    /// Where clients are served.
    pub clients: TcpListener,
    /// Where operators are served.
    pub operators: TcpListener,
}

/// Where and how long the two processes wait for each other.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UpgradeSettings {
    /// The Unix socket on which they meet.
    pub socket: PathBuf,
    /// How long an offer stands, and how long a new process waits for one.
    pub patience: Duration,
}

impl UpgradeSettings {
    /// What the configuration says; none when it names no place to meet.
    pub fn new(config: &Config) -> Option<Self> {
        Some(Self {
            socket: config.upgrade_sock.clone()?,
            patience: config.upgrade_timeout,
        })
    }
}

/// Can a socket that was taken over stand for the one that was configured? Port 0 is any port.
pub fn stands_for(taken: SocketAddr, configured: SocketAddr) -> bool {
    taken.ip() == configured.ip() && (configured.port() == 0 || taken.port() == configured.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_stands_for_its_own_address_and_for_any_port_of_it() {
        let stands = |taken: &str, configured: &str| {
            stands_for(taken.parse().unwrap(), configured.parse().unwrap())
        };
        assert!(stands("127.0.0.1:8000", "127.0.0.1:8000"));
        assert!(stands("127.0.0.1:41234", "127.0.0.1:0"));
        assert!(!stands("127.0.0.1:8000", "127.0.0.1:8001"));
        assert!(!stands("127.0.0.1:8000", "0.0.0.0:8000"));
        assert!(!stands("127.0.0.1:8000", "[::1]:0"));
    }
}
