//! Whom of Redis does a question go to?
//!
//! To the one server there is, to the master that Sentinels name, or to the node of a Cluster that
//! holds the key. Those who ask don't see the difference. How a single server is kept and asked is
//! the business of [`Node`].

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use redis::{Cmd, Value};
use tokio::task::AbortHandle;

use super::cluster::Cluster;
use super::dial::{self, BadAuthorities, Dialer, Place};
use super::finder::{Finder, Sentinels};
use super::node::{Common, Manner, Node};
pub(super) use super::node::{Fault, Lane};
use crate::config::{RedisUrl, Topology};
use crate::store::counters::RedisCounters;

/// The way to Redis.
#[derive(Debug)]
pub(super) struct Link {
    shape: Shape,
    dialer: Dialer,
    keeper: Mutex<Option<AbortHandle>>,
    others: Mutex<Vec<AbortHandle>>,
    cluster_told: AtomicBool,
}

#[derive(Debug)]
enum Shape {
    /// Also the one that is master at the time.
    One(Arc<Node>),
    Many(Arc<Cluster>),
}

impl Link {
    /// Nothing is resolved or connected yet.
    pub(super) fn new(
        url: &RedisUrl,
        authorities: Option<&Path>,
        counters: Arc<RedisCounters>,
    ) -> Result<Arc<Self>, BadAuthorities> {
        let tls = url.tls.then(|| dial::tls(authorities)).transpose()?;
        let dialer = Dialer::new(tls.clone(), &url.login, url.db);
        let common = Common::new(counters);
        let one = |finder| Shape::One(Node::new(finder, dialer.clone(), Arc::clone(&common)));
        let shape = match &url.topology {
            Topology::Single(host) => one(Finder::Fixed(Place::Tcp(host.clone()))),
            Topology::Unix(path) => one(Finder::Fixed(Place::Unix(path.clone()))),
            Topology::Sentinel {
                sentinels,
                master,
                login,
            } => {
                let dialer = Dialer::new(tls, login, 0);
                one(Finder::Sentinels(Sentinels::new(
                    dialer,
                    sentinels,
                    master.clone(),
                )))
            }
            Topology::Cluster(seeds) => {
                let seeds = seeds.iter().cloned().map(Place::Tcp).collect();
                Shape::Many(Cluster::new(seeds, dialer.clone(), Arc::clone(&common)))
            }
        };
        Ok(Arc::new(Self {
            shape,
            dialer,
            keeper: Mutex::new(None),
            others: Mutex::new(Vec::new()),
            cluster_told: AtomicBool::new(false),
        }))
    }

    /// Starts the task that connects on the current runtime, unless it runs.
    pub(super) fn start(&self) {
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        if keeper.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let task = match &self.shape {
            Shape::One(node) => runtime.spawn(Arc::clone(node).keep()),
            Shape::Many(cluster) => runtime.spawn(Arc::clone(cluster).keep()),
        };
        *keeper = Some(task.abort_handle());
    }

    /// Ends all tasks.
    pub(super) fn stop(&self) {
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        for task in keeper.take().into_iter().chain(others.drain(..)) {
            task.abort();
        }
    }

    /// Runs a task until it ends or the link is stopped.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        others.retain(|task| !task.is_finished());
        others.push(runtime.spawn(task).abort_handle());
    }

    /// Connected, and nothing is known against it.
    pub(super) fn is_up(&self) -> bool {
        match &self.shape {
            Shape::One(node) => node.is_up(),
            Shape::Many(cluster) => cluster.is_up(),
        }
    }

    pub(super) fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// Where a key, or a channel, of this name is at home; none when that is not known at present.
    pub(super) fn place_of(&self, name: &str) -> Option<Place> {
        match &self.shape {
            Shape::One(node) => node.place(),
            Shape::Many(cluster) => cluster.place_of(name),
        }
    }

    /// Asks, unless the breaker is open. In a Cluster all keys of the command must lie in the slot
    /// of the first one.
    pub(super) async fn ask(&self, lane: Lane, cmd: &Cmd, end: Instant) -> Result<Value, Fault> {
        self.put(lane, cmd, end, false).await
    }

    /// Asks whatever the breaker says: for what an operator is waiting for.
    pub(super) async fn insist(&self, lane: Lane, cmd: &Cmd, end: Instant) -> Result<Value, Fault> {
        self.put(lane, cmd, end, true).await
    }

    async fn put(
        &self,
        lane: Lane,
        cmd: &Cmd,
        end: Instant,
        insists: bool,
    ) -> Result<Value, Fault> {
        let manner = Manner {
            lane,
            end,
            insists,
            asking: false,
        };
        match &self.shape {
            Shape::Many(cluster) => cluster.ask(cmd, manner).await,
            Shape::One(node) => {
                let answer = node.ask(cmd, manner).await;
                if let Err(Fault::Server(error)) = &answer {
                    self.tell_of_cluster(error);
                }
                answer
            }
        }
    }

    fn tell_of_cluster(&self, error: &redis::RedisError) {
        if error.code() == Some("MOVED") && !self.cluster_told.swap(true, Ordering::Relaxed) {
            tracing::warn!("this Redis is a node of a Cluster; write redis+cluster:// in its URL");
        }
    }
}
