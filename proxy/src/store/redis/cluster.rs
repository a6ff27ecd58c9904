//! Which node of a Cluster is to be asked?
//!
//! One task learns from the nodes who holds which slots, at once when something is odd and every few
//! seconds otherwise, and keeps a [`Node`] for each primary; who asks takes what is known. A node
//! that fails takes with it the keys it holds and no others. A redirection is followed within the
//! question's own deadline, to nodes that are connected already. Replicas are not read: they may lag
//! behind a purge.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::join_all;
use redis::{Cmd, Value};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use super::dial::{Dialer, Place, Wire};
use super::finder::Finder;
use super::node::{
    CONNECT_MAX, Common, Fault, Manner, Node, Why, is_from_server, jitter, pause, turns_us_away,
};
use super::slots::{self, Range, Redirect, SLOTS};
use crate::store::counters::RedisError;

/// How often the nodes are asked who holds what, when nothing is odd.
const REFRESH: Duration = Duration::from_secs(5);
/// How often at most, while something is.
const REFRESH_IN_TROUBLE: Duration = Duration::from_millis(500);
/// A slot on its way can send a question twice: to its new owner, and from there on.
const REDIRECTIONS_MAX: usize = 2;

/// The way to the nodes of one Cluster.
#[derive(Debug)]
pub(super) struct Cluster {
    seeds: Vec<Place>,
    dialer: Dialer,
    map: RwLock<Arc<Map>>,
    common: Arc<Common>,
}

/// Who holds what, as far as is known.
#[derive(Debug, Default)]
struct Map {
    ranges: Vec<Range>,
    nodes: HashMap<Place, Arc<Node>>,
}

impl Map {
    fn owner(&self, slot: u16) -> Option<&Place> {
        let after = self.ranges.partition_point(|range| range.first <= slot);
        let range = self.ranges.get(after.checked_sub(1)?)?;
        (slot <= range.last).then_some(&range.primary)
    }

    /// Is there somebody for every slot?
    fn is_whole(&self) -> bool {
        let end = self.ranges.iter().try_fold(0, |next, range| {
            (range.first == next).then(|| range.last + 1)
        });
        end == Some(SLOTS)
    }
}

impl Cluster {
    pub(super) fn new(seeds: Vec<Place>, dialer: Dialer, common: Arc<Common>) -> Arc<Self> {
        Arc::new(Self {
            seeds,
            dialer,
            map: RwLock::default(),
            common,
        })
    }

    /// Whether all keys can be asked for.
    pub(super) fn is_up(&self) -> bool {
        let map = self.map();
        map.is_whole() && map.nodes.values().all(|node| node.is_up())
    }

    /// Where a key, or a channel, of this name is at home.
    pub(super) fn place_of(&self, name: &str) -> Option<Place> {
        self.map().owner(slots::slot(name.as_bytes())).cloned()
    }

    pub(super) async fn ask(&self, cmd: &Cmd, mut manner: Manner) -> Result<Value, Fault> {
        let map = self.map();
        let owner = match slots::slot_of(cmd) {
            Some(slot) => map.owner(slot),
            None => map
                .nodes
                .iter()
                .find_map(|(place, node)| node.is_up().then_some(place)),
        };
        let mut place = owner.ok_or(Fault::NotConnected)?.clone();
        let mut redirections = 0;
        loop {
            let node = map.nodes.get(&place).ok_or(Fault::NotConnected)?;
            let error = match node.ask(cmd, manner).await {
                Err(Fault::Server(error)) => error,
                answer => return answer,
            };
            let Some(redirect) = slots::redirect(&error, &place) else {
                return Err(Fault::Server(error));
            };
            self.common.trouble.notify_one();
            redirections += 1;
            if redirections > REDIRECTIONS_MAX {
                return Err(Fault::Server(error));
            }
            (place, manner.asking) = match redirect {
                Redirect::Moved(place) => (place, false),
                Redirect::Ask(place) => (place, true),
            };
        }
    }

    fn map(&self) -> Arc<Map> {
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&map)
    }

    /// Never ends by itself; the nodes' own tasks end with it.
    pub(super) async fn keep(self: Arc<Self>) {
        let mut tasks = JoinSet::new();
        let mut handles = HashMap::new();
        let mut failures = 0;
        loop {
            match self.learn().await {
                Ok(ranges) => {
                    failures = 0;
                    self.install(ranges, &mut tasks, &mut handles);
                }
                Err(why) => {
                    let errors = self.common.counters.errors(RedisError::Connection);
                    errors.add_one();
                    if failures == 0 {
                        tracing::warn!("{}; serving without it", why.as_str());
                    }
                    failures += 1;
                }
            }
            let calm = if failures == 0 && self.is_up() {
                REFRESH
            } else {
                REFRESH_IN_TROUBLE
            };
            let _ = timeout(calm, self.common.trouble.notified()).await;
            // Many signs of one trouble are worth one look.
            tokio::time::sleep(pause(failures, jitter())).await;
        }
    }

    /// What most of the connected nodes say, so that one which is cut off and behind its time isn't
    /// believed. Without a connection, what the first of the known places says that answers.
    async fn learn(&self) -> Result<Vec<Range>, Why> {
        let map = self.map();
        let connected = map.nodes.iter().filter(|(_, node)| node.is_up());
        let words = connected.map(|(place, node)| self.ranges_by(node.wire(), place));
        let words = join_all(words).await.into_iter().flatten().collect();
        if let Some(ranges) = most_frequent(words) {
            return Ok(ranges);
        }
        let mut why = Why::Unreachable;
        for place in self.seeds.iter().chain(map.nodes.keys()) {
            match self.ranges_by(None, place).await {
                // What a node that answers has against us tells more than that another is away.
                Err(Why::Unreachable) => {}
                Err(reason) => why = reason,
                learned => return learned,
            }
        }
        Err(why)
    }

    async fn ranges_by(&self, known: Option<Wire>, place: &Place) -> Result<Vec<Range>, Why> {
        let mut cmd = redis::cmd("CLUSTER");
        cmd.arg("SLOTS");
        let ask = async {
            let wire = match known {
                Some(wire) => wire,
                None => self.dialer.wire(place).await?,
            };
            wire.ask(&cmd).await
        };
        match timeout(CONNECT_MAX, ask).await {
            Ok(Ok(answer)) => slots::ranges(&answer, place).ok_or(Why::NoCluster),
            Ok(Err(error)) if turns_us_away(&error) => Err(Why::TurnedAway),
            Ok(Err(error)) if is_from_server(&error) => Err(Why::NoCluster),
            Ok(Err(_)) | Err(_) => Err(Why::Unreachable),
        }
    }

    /// Keeps the nodes that are still primaries, with their connections; begins to connect to others.
    fn install(
        &self,
        ranges: Vec<Range>,
        tasks: &mut JoinSet<()>,
        handles: &mut HashMap<Place, AbortHandle>,
    ) {
        let old = self.map();
        if old.ranges == ranges {
            return;
        }
        let mut nodes = HashMap::new();
        for place in ranges.iter().map(|range| &range.primary) {
            if nodes.contains_key(place) {
                continue;
            }
            let node = old.nodes.get(place).cloned().unwrap_or_else(|| {
                let finder = Finder::Fixed(place.clone());
                let (dialer, common) = (self.dialer.clone(), Arc::clone(&self.common));
                let node = Node::new(finder, dialer, common);
                handles.insert(place.clone(), tasks.spawn(Arc::clone(&node).keep()));
                node
            });
            nodes.insert(place.clone(), node);
        }
        handles.retain(|place, handle| {
            let stays = nodes.contains_key(place);
            if !stays {
                handle.abort();
            }
            stays
        });
        while tasks.try_join_next().is_some() {}
        tracing::info!(
            nodes = nodes.len(),
            "learned how a Redis Cluster shares its slots"
        );
        let new = Arc::new(Map { ranges, nodes });
        *self.map.write().unwrap_or_else(PoisonError::into_inner) = new;
    }
}

/// The first of those that are said most often.
fn most_frequent(words: Vec<Vec<Range>>) -> Option<Vec<Range>> {
    let count = |word: &Vec<Range>| words.iter().filter(|other| *other == word).count();
    let counts: Vec<_> = words.iter().map(count).collect();
    let most = counts.iter().max()?;
    let first = counts.iter().position(|count| count == most)?;
    words.into_iter().nth(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Host;

    fn range(first: u16, last: u16) -> Range {
        let name = "10.0.0.1".to_owned();
        let primary = Place::Tcp(Host { name, port: first });
        Range {
            first,
            last,
            primary,
        }
    }

    fn map(ranges: Vec<Range>) -> Map {
        let nodes = HashMap::new();
        Map { ranges, nodes }
    }

    #[test]
    fn a_slot_s_owner_is_found_at_the_edges_and_not_in_holes() {
        let map = map(vec![range(10, 20), range(21, 30), range(40, 40)]);
        for (slot, first) in [(10, 10), (20, 10), (21, 21), (30, 21), (40, 40)] {
            assert_eq!(map.owner(slot), Some(&range(first, 0).primary), "{slot}");
        }
        for slot in [0, 9, 31, 39, 41, 16383] {
            assert_eq!(map.owner(slot), None, "{slot}");
        }
    }

    #[test]
    fn a_node_behind_its_time_is_outvoted() {
        let (old, new) = (vec![range(0, 9)], vec![range(1, 9)]);
        let words = vec![old.clone(), new.clone(), new.clone()];
        assert_eq!(most_frequent(words), Some(new));
        assert_eq!(most_frequent(vec![old.clone()]), Some(old));
        assert_eq!(most_frequent(vec![]), None);
    }

    #[test]
    fn a_map_is_whole_when_every_slot_has_an_owner() {
        assert!(map(vec![range(0, 5000), range(5001, 16383)]).is_whole());
        assert!(!map(vec![range(0, 5000), range(5002, 16383)]).is_whole());
        assert!(!map(vec![range(0, 5000)]).is_whole());
        assert!(!map(vec![]).is_whole());
    }
}
