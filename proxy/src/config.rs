//! What the operator wants: flags over environment variables over a TOML file over defaults.
//!
//! [`settings::SETTINGS`] is the one table from which flags, variables, keys and help come. Everything that is wrong is reported at once, each
//! fault with the setting's key, the place of the value and what would be right. Secrets live in [`Secret`], which doesn't print.
//!
//! Nothing else in the proxy reads the environment. What this leaves out: whether an address can be bound, a host resolved or Redis reached;
//! the parts that do so report it.

mod build;
mod environment;
mod fault;
mod file;
mod layers;
#[cfg(test)]
mod page_tests;
mod redis;
mod route;
mod secret;
pub mod settings;
mod summary;
mod upstream;
mod value;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::store::PurgeRules;
use crate::trace::TraceMode;
use larder_policy::{Route, Rules, TrackingParameters};

pub use environment::{Environment, ProcessEnvironment};
pub use fault::{Fault, Faults};
pub use layers::{Flags, known_variables};
pub use redis::{BadRedisUrl, Host, Login, RedisUrl, Topology};
pub use route::{PathPattern, RouteConfig};
pub use secret::Secret;
pub use upstream::{Upstream, UpstreamHost};

/// The exit code for a configuration that can't be used: `EX_USAGE` of sysexits.h.
pub const EXIT_USAGE: u8 = 64;

/// A whole, checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where clients are served.
    pub listen: SocketAddr,
    /// Where operators are served.
    pub admin: SocketAddr,
    /// What operators must show. Always there when `admin` is not on loopback.
    pub admin_token: Option<Secret>,
    /// Further names for the admin port, in lower case.
    pub admin_hosts: Vec<String>,
    /// The API.
    pub upstream: Upstream,
    /// The `Host` that the API sees.
    pub upstream_host: UpstreamHost,
    /// Further certificate authorities for an https upstream.
    pub upstream_ca: Option<PathBuf>,
    /// The first part of every key.
    pub namespace: String,
    /// The hosts that are answered, in lower case, each with or without a port. Empty: any.
    pub hosts: Vec<String>,
    /// Bytes that stored responses may take in memory.
    pub memory_bytes_max: usize,
    /// The largest body that is stored.
    pub object_bytes_max: usize,
    /// Fetches under way at once.
    pub origin_concurrency: usize,
    /// Client connections at once.
    pub connections_max: usize,
    /// Where Redis is.
    pub redis: Option<RedisUrl>,
    /// Authorities to trust for Redis over TLS, in PEM, instead of the system's.
    pub redis_ca: Option<PathBuf>,
    /// What is written to Redis is sealed with it.
    pub redis_mac_key: Option<Secret>,
    /// What was sealed with this one is believed, too.
    pub redis_mac_key_old: Option<Secret>,
    /// How long one operation of Redis may take.
    pub redis_timeout: Duration,
    /// Where a new process takes over from this one.
    pub upgrade_sock: Option<PathBuf>,
    /// How long they wait for each other.
    pub upgrade_timeout: Duration,
    /// How to keep to the log of purges in Redis.
    pub purges: PurgeRules,
    /// The form of the log.
    pub log_format: LogFormat,
    /// What is logged.
    pub log_level: LogLevel,
    /// Whether requests get identifiers, and whose.
    pub trace: TraceMode,
    /// How long each phase may take.
    pub timeouts: Timeouts,
    /// What the policy is told.
    pub rules: Rules,
    /// Query parameters that don't matter; every route's query rules hold them too.
    pub tracking_parameters: TrackingParameters,
    /// The routes, in the order of the file.
    pub routes: Vec<RouteConfig>,
    /// What holds for a path that no route covers.
    pub default_route: Route,
    /// What is odd but no fault; for the log at the start.
    pub warnings: Vec<String>,
}

impl Config {
    /// Puts the layers together and checks them.
    pub fn load(flags: &Flags, environment: &dyn Environment) -> Result<Self, Faults> {
        build::load(flags, environment)
    }

    /// What holds for a canonical path (without its query): the first route that covers it, else the default.
    pub fn route_for(&self, path: &str) -> &Route {
        self.routes
            .iter()
            .find(|route| route.path.covers(path))
            .map_or(&self.default_route, |route| &route.route)
    }

    /// Is this host answered? `authority` is canonical: lower case, without the scheme's usual port.
    pub fn answers_host(&self, authority: &str) -> bool {
        let name = without_port(authority);
        self.hosts.is_empty()
            || self
                .hosts
                .iter()
                .any(|host| host == authority || host == name)
    }

    /// The configuration in a few lines, without secrets.
    pub fn summary(&self) -> String {
        summary::summary(self)
    }
}

/// An authority without its port: `[::1]:80` is `[::1]`.
pub(crate) fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => authority,
    }
}

/// The form of the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogFormat {
    /// Lines for people.
    Human,
    /// An object a line.
    Json,
}

/// From which level on something is logged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogLevel {
    /// What failed and needs somebody.
    Error,
    /// What is odd.
    Warn,
    /// The usual, the access log included.
    Info,
    /// What helps to find a fault.
    Debug,
    /// Everything.
    Trace,
}

/// How long each phase may take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Timeouts {
    /// A client sends a whole head.
    pub client_header: Duration,
    /// A client connection without a request.
    pub client_idle: Duration,
    /// A client takes none of the bytes sent to it.
    pub client_write: Duration,
    /// Connecting to the API, TLS included.
    pub upstream_connect: Duration,
    /// The API's first byte, and between two reads.
    pub upstream_read: Duration,
    /// A connection to the API without a request.
    pub upstream_idle: Duration,
    /// Requests under way end after SIGTERM.
    pub drain: Duration,
}
