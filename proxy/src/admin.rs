//! The admin port: what operators ask and order. HTTP/1.1 by hyper, apart from the port that clients use.
//!
//! | route | answers |
//! | --- | --- |
//! | `GET /health` | 200 and how the proxy is; 503 while it drains. Redis being down is no failure: memory and the API serve. Needs no token |
//! | `GET /metrics` | the metrics in the text format of Prometheus |
//! | `GET /cache/stats` | requests by result, and what is held |
//! | `POST /purge?url=URL` | purges a URL (as a client sends it) with all its variants; without an authority: that path on every host |
//! | `POST /purge?tag=TAG` | what bears the tag, in `Cache-Tag`, `Surrogate-Key` or `Cache-Groups` |
//! | `POST /purge?prefix=URL` | every URL that begins so; `all=true`: everything; `soft=true` with any of these: makes stale only |
//!
//! `HEAD` is answered wherever `GET` is. Errors are `application/problem+json` (RFC 9457) with a stable `code`.
//!
//! Whoever may connect is not yet trusted: [`guard`] refuses what a web page could make an operator's browser send, and asks for the token when
//! one is set. Heads, bodies, connections and their lifetimes are bounded ([`Limits`]). What this leaves out: what a purge does and where the
//! numbers come from ([`Operations`] says so).

mod answer;
mod connection;
mod guard;
#[cfg(test)]
mod page_tests;
mod purge;
mod routes;
mod stats;

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;

use crate::config::{Config, Secret};
use crate::engine::{PurgeOrder, Purged};
use crate::metrics::RedisState;

pub use connection::serve;
pub use stats::Stats;

/// What the admin port needs of the rest of the proxy.
#[async_trait]
pub trait Operations: Send + Sync + 'static {
    /// Makes a purge, and returns when it is true on every replica.
    async fn purge(&self, order: &PurgeOrder) -> Result<Purged, PurgeFailed>;
    /// The metrics as Prometheus reads them.
    fn metrics_text(&self) -> String;
    /// Requests by result, and what is held.
    fn stats(&self) -> Stats;
    /// How the proxy is.
    fn health(&self) -> Health;
}

/// Why a purge did not happen.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PurgeFailed {
    /// It names what can't be stored, for this reason. The caller's fault.
    #[error("{0}")]
    Bad(String),
    /// Not everywhere, for this reason; another try may help.
    #[error("{0}")]
    Unavailable(String),
}

/// How the proxy is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Health {
    /// It takes no more requests and ends when those under way are done.
    pub draining: bool,
    /// Does the API answer?
    pub upstream: UpstreamState,
    /// Does Redis?
    pub redis: RedisState,
    /// Has every confirmed purge been applied here?
    pub purges_followed: bool,
}

/// Whether the API answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UpstreamState {
    /// Nobody asked yet.
    Unknown,
    /// The last request was answered.
    Up,
    /// The last request failed.
    Down,
}

impl UpstreamState {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// Who may ask the admin port, and how much.
#[derive(Clone, Debug)]
pub struct AdminSettings {
    /// Where it listens.
    pub address: SocketAddr,
    /// What operators must show, if anything.
    pub token: Option<Secret>,
    /// Names under which it may be asked, in lower case, besides loopback's and its own address.
    pub hosts: Vec<String>,
    /// How much at once, and how long.
    pub limits: Limits,
}

impl AdminSettings {
    /// What the configuration says, for a listener that got `address` (which tells the port when any free one was asked for).
    pub fn new(config: &Config, address: SocketAddr) -> Self {
        Self {
            address,
            token: config.admin_token.clone(),
            hosts: config.admin_hosts.clone(),
            limits: Limits::default(),
        }
    }
}

/// How much the admin port takes on.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; further ones wait to be accepted.
    pub connections_max: usize,
    /// How long a head may take, and how long a connection may wait for its next.
    pub head_timeout: Duration,
    /// How long one request may take, its body and a purge included.
    pub request_timeout: Duration,
    /// How old a connection gets: one that takes no bytes must not hold its place for ever.
    pub connection_timeout: Duration,
    /// Bytes of a request's head.
    pub head_bytes_max: usize,
    /// Bytes of a request's body. No route wants one, so this is what is read and dropped.
    pub body_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A scraper, a health check and a few people, many times over.
            connections_max: 64,
            head_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            connection_timeout: Duration::from_secs(600),
            head_bytes_max: 16 * 1024,
            body_bytes_max: 64 * 1024,
        }
    }
}
