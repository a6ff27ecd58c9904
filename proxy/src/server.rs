//! Puts the parts together: binds both ports, serves until told to stop, drains.

use crate::admin::{self, AdminSettings, Health, Operations, PurgeFailed, Stats, UpstreamState};
use crate::clock;
use crate::config::{Config, Secret};
use crate::engine::{Engine, PurgeFault, PurgeOrder, Purged};
use crate::front::Front;
use crate::metrics::{Held, Metrics, RedisState};
use crate::service::Service;
use crate::store::{self, KeyTooShort, RedisError, RedisTier, Seal, Store};
use crate::upgrade::{self, Sockets};
use crate::upstream::{Answered, Upstream};
use anyhow::Context;
use async_trait::async_trait;
use pingora::apps::HttpServerOptions;
use pingora::proxy::{HttpProxy, http_proxy};
use pingora::server::configuration::ServerConf;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;

/// Redis takes a few milliseconds to connect to; a process that serves before that asks the API for what Redis has.
const REDIS_WAIT_MAX: Duration = Duration::from_millis(300);

/// How often the process's size is looked at.
const SIZE_INTERVAL: Duration = Duration::from_secs(1);
/// What a client's connection may take while it is answered.
const CONNECTION_BYTES: u64 = 128 * 1024;

/// Why serving ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stop {
    /// Somebody said so.
    Told,
    /// A new process has the listening sockets.
    HandedOver,
}

/// A proxy whose ports are bound and which serves when run.
#[derive(Debug)]
pub struct Server {
    clients: TcpListener,
    operators: TcpListener,
    admin: AdminSettings,
    desk: Arc<Desk>,
}

impl Server {
    /// Binds the ports and builds the parts. Redis need not be there.
    pub async fn bind(config: Config) -> anyhow::Result<Self> {
        let clients = bind(config.listen, "listen").await?;
        let operators = bind(config.admin, "admin").await?;
        Self::new(config, clients, operators)
    }

    /// Builds the parts for sockets that listen already, which must be those that are configured.
    pub fn take_over(config: Config, sockets: Sockets) -> anyhow::Result<Self> {
        let clients = taken(sockets.clients, config.listen, "listen")?;
        let operators = taken(sockets.operators, config.admin, "admin")?;
        Self::new(config, clients, operators)
    }

    fn new(config: Config, clients: TcpListener, operators: TcpListener) -> anyhow::Result<Self> {
        let admin = AdminSettings::new(&config, operators.local_addr()?);
        let desk = Arc::new(Desk::new(config)?);
        Ok(Self {
            clients,
            operators,
            admin,
            desk,
        })
    }

    /// Where clients are served; tells the port when 0 was asked for.
    pub fn client_address(&self) -> std::io::Result<SocketAddr> {
        self.clients.local_addr()
    }

    /// Where operators are served.
    pub fn admin_address(&self) -> std::io::Result<SocketAddr> {
        self.operators.local_addr()
    }

    /// The listening sockets once more, to be offered to another process.
    pub fn sockets(&self) -> std::io::Result<Sockets> {
        Ok(Sockets {
            clients: self.clients.as_fd().try_clone_to_owned()?.into(),
            operators: self.operators.as_fd().try_clone_to_owned()?.into(),
        })
    }

    /// Gives Redis a moment to be connected and its log of purges to be read: what it holds spares the API the first requests.
    pub async fn warm_up(&self) {
        // Without it we serve all the same.
        self.desk.store.settled(REDIS_WAIT_MAX).await;
    }

    /// From now on stores less when the process is larger than its budget allows. For a process that serves nothing else.
    pub fn heed_own_size(&self) {
        let desk = self.desk.clone();
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(SIZE_INTERVAL);
            let mut bodies = 0;
            loop {
                ticks.tick().await;
                let connections = desk.front.connections() * CONNECTION_BYTES;
                // A body is there twice, as it comes and in one piece; and its pages stay for a while.
                bodies = (bodies - bodies / 64).max(2 * desk.engine.bodies_peak_bytes());
                match resident_bytes() {
                    Some(bytes) => {
                        let own = bytes.saturating_sub(connections).saturating_sub(bodies);
                        desk.store.heed_process(own);
                    }
                    // Only Linux says.
                    None => return,
                }
            }
        });
    }

    /// Serves until `stop` resolves, then drains.
    pub async fn run(self, stop: impl Future<Output = Stop> + Send) -> anyhow::Result<()> {
        let (drain, draining) = watch::channel(false);
        let (close, mut closing) = watch::channel(false);
        let operators = tokio::spawn(admin::serve(
            self.operators,
            self.admin,
            self.desk.clone(),
            async move {
                let _ = closing.wait_for(|closing| *closing).await;
            },
        ));
        let clients = tokio::spawn(self.desk.front.clone().serve(self.clients, draining));
        let stop = stop.await;
        let end = Instant::now() + self.desk.engine.config.timeouts.drain;
        tracing::info!(handed_over = stop == Stop::HandedOver, "draining");
        if stop == Stop::HandedOver {
            // Operators find the new process from now on.
            close.send_replace(true);
        }
        self.desk.draining.store(true, Ordering::Relaxed);
        drain.send_replace(true);
        clients.await.context("the client port failed")?;
        self.desk.store.flush(end).await;
        // Operators may watch the drain to its end.
        close.send_replace(true);
        operators.await.context("the admin port failed")?;
        self.desk.store.leave().await;
        Ok(())
    }
}

/// What the kernel counts of this process.
fn resident_bytes() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    let resident: u64 = pages.split(' ').nth(1)?.parse().ok()?;
    Some(resident.saturating_mul(rustix::param::page_size() as u64))
}

async fn bind(address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("{key}: {address} can't be bound; is it in use?"))
}

fn taken(
    listener: std::net::TcpListener,
    configured: SocketAddr,
    key: &str,
) -> anyhow::Result<TcpListener> {
    let address = listener.local_addr()?;
    anyhow::ensure!(
        upgrade::stands_for(address, configured),
        "{key}: {configured} is configured, but the running process listens on {address}; an upgrade can't move it, a restart can"
    );
    Ok(TcpListener::from_std(listener)?)
}

/// What operators reach: the parts, and how they are.
#[derive(Debug)]
struct Desk {
    engine: Arc<Engine>,
    store: Arc<Store>,
    upstream: Arc<Upstream>,
    front: Arc<Front>,
    metrics: Arc<Metrics>,
    draining: AtomicBool,
}

impl Desk {
    fn new(config: Config) -> anyhow::Result<Self> {
        let metrics = Arc::new(Metrics::new(clock::now()));
        let redis = match &config.redis {
            Some(url) => {
                let (ca, namespace) = (config.redis_ca.as_deref(), config.namespace.clone());
                let tier = RedisTier::at(url, ca, namespace, config.redis_timeout)?;
                Some(tier.sealed(seal(&config)?))
            }
            None => None,
        };
        let memory = config.memory_bytes_max as u64;
        let store = Store::with_purge_rules(memory, redis, config.purges);
        let store = Arc::new(store);
        store.start();
        let upstream = Upstream::new(&config);
        let pingora = pingora_settings(&config);
        let client_idle = config.timeouts.client_idle;
        let engine = Engine::new(config, store.clone(), upstream.clone(), metrics.clone());
        let service = Service::new(engine.clone(), upstream.clone(), metrics.clone());
        let front = Front::new(
            pingora_proxy(&pingora, service, client_idle),
            engine.clone(),
            metrics.clone(),
        );
        Ok(Self {
            engine,
            store,
            upstream,
            front,
            metrics,
            draining: AtomicBool::new(false),
        })
    }

    fn redis_state(&self) -> RedisState {
        match self.store.redis_state() {
            store::RedisState::Off => RedisState::Off,
            store::RedisState::Connected => RedisState::Up,
            store::RedisState::Down => RedisState::Down,
        }
    }

    fn held(&self) -> Held {
        let stats = self.store.stats();
        Held {
            entries: stats.entries,
            bytes: stats.bytes,
            bytes_max: stats.bytes_max,
            purges: stats.purges,
            purges_followed: self.store.follows_purges(),
            redis_errors: RedisError::ALL
                .map(|kind| (kind.as_str(), self.store.counters().errors(kind).count()))
                .into(),
            redis_state: self.redis_state(),
            connections: self.front.connections(),
            waiting: self.engine.waiting() as u64,
            upstream_up: !self.upstream.is_away(),
        }
    }
}

/// How what is written to Redis is sealed.
fn seal(config: &Config) -> Result<Seal, KeyTooShort> {
    let bytes = |key: &Option<Secret>| key.as_ref().map(|key| key.expose().as_bytes().to_vec());
    let before = bytes(&config.redis_mac_key_old);
    match bytes(&config.redis_mac_key) {
        None => Ok(Seal::checksum()),
        Some(key) => Seal::keyed(&config.namespace, &key, before.as_deref()),
    }
}

fn pingora_settings(config: &Config) -> Arc<ServerConf> {
    Arc::new(ServerConf {
        ca_file: config
            .upstream_ca
            .as_ref()
            .map(|path| path.display().to_string()),
        ..ServerConf::default()
    })
}

/// Pingora's proxy with HTTP/2 over cleartext: the front has read the preface before Pingora looks for it.
fn pingora_proxy(
    settings: &Arc<ServerConf>,
    service: Service,
    client_idle: Duration,
) -> HttpProxy<Service> {
    let mut options = HttpServerOptions::default();
    options.h2c = true;
    options.h2_idle_timeout = Some(client_idle);
    let mut proxy = http_proxy(settings, service);
    proxy.server_options = Some(options);
    proxy
}

#[async_trait]
impl Operations for Desk {
    async fn purge(&self, order: &PurgeOrder) -> Result<Purged, PurgeFailed> {
        self.engine.purge(order).await.map_err(|fault| match fault {
            PurgeFault::Bad(why) => PurgeFailed::Bad(why),
            fault @ PurgeFault::Unavailable(_) => PurgeFailed::Unavailable(fault.to_string()),
        })
    }

    fn metrics_text(&self) -> String {
        self.metrics.render(&self.held())
    }

    fn stats(&self) -> Stats {
        Stats::new(self.metrics.totals(), &self.held())
    }

    fn health(&self) -> Health {
        Health {
            draining: self.draining.load(Ordering::Relaxed),
            upstream: match self.upstream.answered() {
                Answered::NeverAsked => UpstreamState::Unknown,
                Answered::Yes => UpstreamState::Up,
                Answered::No => UpstreamState::Down,
            },
            redis: self.redis_state(),
            purges_followed: self.store.follows_purges(),
        }
    }
}
