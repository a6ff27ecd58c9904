//! Private sets of `redis-server`s for one test: with Sentinels, and as a Cluster.
//!
//! Each server is a [`PrivateRedis`]; killing one of them makes a real failover, within seconds.

use super::redis::{Certificate, PrivateRedis, free_ports};
use super::wait::until;

/// The name under which the Sentinels know the master.
const MASTER: &str = "larder-master";
const REPLICATION: [&str; 4] = [
    "--repl-diskless-sync-delay",
    "0",
    "--repl-ping-replica-period",
    "1",
];

fn options(own: &[&str]) -> Vec<String> {
    let all = REPLICATION.iter().chain(own);
    all.map(|&option| option.to_owned()).collect()
}

fn sentinel_config(master: u16, of_servers: Option<&str>, own: Option<&str>) -> String {
    let mut config = format!(
        "sentinel monitor {MASTER} 127.0.0.1 {master} 2\n\
         sentinel down-after-milliseconds {MASTER} 700\n\
         sentinel failover-timeout {MASTER} 5000\n"
    );
    if let Some(password) = of_servers {
        config += &format!("sentinel auth-pass {MASTER} \"{password}\"\n");
    }
    if let Some(password) = own {
        config += &format!("requirepass \"{password}\"\n");
    }
    config
}

/// A master, two replicas and three Sentinels.
#[derive(Debug)]
pub(crate) struct SentinelSet {
    pub(crate) servers: Vec<PrivateRedis>,
    pub(crate) sentinels: Vec<PrivateRedis>,
    /// What the servers want to hear, and what the Sentinels want.
    passwords: Option<(String, String)>,
}

impl SentinelSet {
    /// All answering and in agreement, so that a failover can begin.
    pub(crate) async fn start() -> Self {
        Self::start_as(None).await
    }

    /// The same with passwords for the servers and for the Sentinels.
    pub(crate) async fn start_with_passwords(servers: &str, sentinels: &str) -> Self {
        Self::start_as(Some((servers.to_owned(), sentinels.to_owned()))).await
    }

    async fn start_as(passwords: Option<(String, String)>) -> Self {
        let ports = free_ports::<6>();
        let (servers, sentinels) = ports.split_at(3);
        let master = servers[0];
        let (of_servers, of_sentinels) = match &passwords {
            Some((servers, sentinels)) => (Some(servers.as_str()), Some(sentinels.as_str())),
            None => (None, None),
        };
        let config = sentinel_config(master, of_servers, of_sentinels);
        let server = |&port: &u16| {
            let source = format!("127.0.0.1 {master}");
            let mut own: Vec<&str> = Vec::new();
            if port != master {
                own.extend(["--replicaof", &source]);
            }
            if let Some(password) = of_servers {
                own.extend(["--requirepass", password, "--masterauth", password]);
            }
            PrivateRedis::absent_at(port, &options(&own), None).with_password(of_servers)
        };
        let sentinel = |&port: &u16| {
            PrivateRedis::absent_at(port, &[], Some(&config)).with_password(of_sentinels)
        };
        let mut set = Self {
            servers: servers.iter().map(server).collect(),
            sentinels: sentinels.iter().map(sentinel).collect(),
            passwords,
        };
        for redis in set.servers.iter_mut().chain(&mut set.sentinels) {
            redis.run().await;
        }
        set.until_whole().await;
        set
    }

    /// Waits until each Sentinel knows the others and two replicas, which are in step.
    pub(crate) async fn until_whole(&self) {
        until("the Sentinels know everybody", async || {
            self.sentinels.iter().all(|sentinel| {
                let info: String = sentinel.ask(redis::cmd("INFO").arg("sentinel"));
                info.contains("status=ok") && info.contains("slaves=2,sentinels=3")
            })
        })
        .await;
        until("the replicas are in step", async || {
            let replication: String = self.master().ask(redis::cmd("INFO").arg("replication"));
            replication.matches("state=online").count() == 2
        })
        .await;
    }

    /// URL for the proxy.
    pub(crate) fn url(&self) -> String {
        let hosts: Vec<_> = self
            .sentinels
            .iter()
            .map(|s| format!("127.0.0.1:{}", s.port()))
            .collect();
        let hosts = hosts.join(",");
        let Some((servers, sentinels)) = &self.passwords else {
            return format!("redis+sentinel://{hosts}/{MASTER}");
        };
        let encoded = |password: &str| password.replace(' ', "%20");
        let (servers, sentinels) = (encoded(servers), encoded(sentinels));
        format!("redis+sentinel://:{servers}@{hosts}/{MASTER}?sentinel_password={sentinels}")
    }

    /// The port of whom this Sentinel takes for the master.
    pub(crate) fn named_by(&self, sentinel: &PrivateRedis) -> u16 {
        let mut cmd = redis::cmd("SENTINEL");
        let (_, port): (String, u16) = sentinel.ask(cmd.arg("GET-MASTER-ADDR-BY-NAME").arg(MASTER));
        port
    }

    /// Which of the servers is master by the first Sentinel's word.
    pub(crate) fn place_of_master(&self) -> usize {
        let port = self.named_by(&self.sentinels[0]);
        let place = self.servers.iter().position(|server| server.port() == port);
        place.expect("one of ours")
    }

    /// The server that is master by the first Sentinel's word.
    pub(crate) fn master(&self) -> &PrivateRedis {
        &self.servers[self.place_of_master()]
    }

    /// Kills the master, as a crash would, and says which it was; [`Self::revive`] starts it again.
    pub(crate) fn kill_master(&mut self) -> usize {
        let place = self.place_of_master();
        self.servers[place].kill();
        place
    }

    /// Waits until all Sentinels name another master than this one, and it is one.
    pub(crate) async fn until_replaced(&self, old: usize) {
        let old = self.servers[old].port();
        until("another master is named", async || {
            let mut named = self
                .sentinels
                .iter()
                .map(|sentinel| self.named_by(sentinel));
            let agreed = named.all(|port| port != old);
            agreed && {
                let info: String = self.master().ask(redis::cmd("INFO").arg("replication"));
                info.contains("role:master")
            }
        })
        .await;
    }

    /// Asks the Sentinels to replace the master though nothing is wrong with it.
    pub(crate) async fn hand_over(&self) {
        let old = self.place_of_master();
        let mut cmd = redis::cmd("SENTINEL");
        cmd.arg("FAILOVER").arg(MASTER);
        until("the Sentinel agrees", async || {
            self.sentinels[0].try_ask::<()>(&cmd).is_ok()
        })
        .await;
        self.until_replaced(old).await;
    }

    pub(crate) async fn revive(&mut self, place: usize) {
        self.servers[place].run().await;
    }
}

/// Three primaries with a replica each.
#[derive(Debug)]
pub(crate) struct ClusterSet {
    pub(crate) nodes: Vec<PrivateRedis>,
    scheme: &'static str,
}

const PRIMARIES: usize = 3;
const NODES: usize = 2 * PRIMARIES;
/// A primary that is silent for a second counts as gone; its replica is good, however late it is.
const CLUSTER_OPTIONS: [&str; 8] = [
    "--cluster-enabled",
    "yes",
    "--cluster-node-timeout",
    "1000",
    "--cluster-require-full-coverage",
    "no",
    "--cluster-replica-validity-factor",
    "0",
];

impl ClusterSet {
    /// All slots held, all replicas in step.
    pub(crate) async fn start() -> Self {
        Self::start_as(None).await
    }

    /// The same over TLS, also among each other, with a certificate for 127.0.0.1.
    pub(crate) async fn start_with_tls() -> Self {
        Self::start_as(Some(Certificate::new())).await
    }

    async fn start_as(certificate: Option<Certificate>) -> Self {
        let all = free_ports::<{ 2 * NODES }>();
        let (ports, bus_ports) = all.split_at(NODES);
        let node = |(port, bus): (&u16, &u16)| {
            let bus = bus.to_string();
            let mut own = CLUSTER_OPTIONS.to_vec();
            own.extend(["--cluster-port", &bus]);
            match &certificate {
                None => PrivateRedis::absent_at(*port, &options(&own), None),
                Some(certificate) => {
                    own.extend(["--tls-cluster", "yes", "--tls-replication", "yes"]);
                    PrivateRedis::absent_with_tls(*port, certificate, options(&own))
                }
            }
        };
        let nodes = ports.iter().zip(bus_ports).map(node).collect();
        let scheme = if certificate.is_some() {
            "rediss"
        } else {
            "redis"
        };
        let mut set = Self { nodes, scheme };
        for node in &mut set.nodes {
            node.run().await;
        }
        set.introduce(bus_ports).await;
        set.share_slots().await;
        set.until_whole().await;
        set
    }

    async fn introduce(&self, bus_ports: &[u16]) {
        for (epoch, node) in (1..).zip(&self.nodes) {
            node.ask::<()>(cluster("SET-CONFIG-EPOCH").arg(epoch));
        }
        for node in &self.nodes {
            for (other, bus) in self.nodes.iter().zip(bus_ports) {
                let mut meet = cluster("MEET");
                node.ask::<()>(meet.arg("127.0.0.1").arg(other.port()).arg(*bus));
            }
        }
        until("the nodes know each other", async || {
            self.nodes
                .iter()
                .all(|node| node_info(node).contains("cluster_known_nodes:6\r\n"))
        })
        .await;
    }

    async fn share_slots(&self) {
        let (primaries, replicas) = self.nodes.split_at(PRIMARIES);
        let edges = [0, 5461, 10923, 16384];
        for (node, edge) in primaries.iter().zip(edges.windows(2)) {
            let mut add = cluster("ADDSLOTSRANGE");
            node.ask::<()>(add.arg(edge[0]).arg(edge[1] - 1));
        }
        for (replica, primary) in replicas.iter().zip(primaries) {
            let id: String = primary.ask(&cluster("MYID"));
            let mut replicate = cluster("REPLICATE");
            replicate.arg(id);
            until("a replica knows its primary", async || {
                replica.try_ask::<()>(&replicate).is_ok()
            })
            .await;
        }
    }

    /// Waits until those that run hold all slots and agree, and each replica is in step.
    pub(crate) async fn until_whole(&self) {
        until("the Cluster is whole", async || {
            self.running().all(|node| {
                let info = node_info(node);
                let role: String = node.ask(redis::cmd("INFO").arg("replication"));
                info.contains("cluster_state:ok")
                    && info.contains("cluster_slots_ok:16384")
                    && (role.contains("role:master") || role.contains("master_link_status:up"))
            })
        })
        .await;
    }

    /// URL for the proxy: two of the nodes.
    pub(crate) fn url(&self) -> String {
        let ports = [&self.nodes[0], &self.nodes[4]].map(PrivateRedis::port);
        format!(
            "{}+cluster://127.0.0.1:{},127.0.0.1:{}",
            self.scheme, ports[0], ports[1]
        )
    }

    /// Those that were not killed.
    pub(crate) fn running(&self) -> impl Iterator<Item = &PrivateRedis> {
        self.nodes.iter().filter(|node| node.is_running())
    }

    /// Those of them that hold slots.
    pub(crate) fn primaries(&self) -> impl Iterator<Item = &PrivateRedis> {
        self.running().filter(|node| {
            let role: String = node.ask(redis::cmd("INFO").arg("replication"));
            role.contains("role:master")
        })
    }

    /// Which of the nodes holds this key.
    pub(crate) fn owner(&self, key: &str) -> usize {
        let node = self.running().next().expect("one runs");
        let slot: i64 = node.ask(cluster("KEYSLOT").arg(key));
        let nodes: String = node.ask(&cluster("NODES"));
        let port = nodes.lines().find_map(|line| {
            let mut words = line.split(' ');
            let address = words.nth(1)?;
            let holds = words.skip(6).any(|range| {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                let within = |first: i64, last: i64| (first..=last).contains(&slot);
                first
                    .parse()
                    .ok()
                    .zip(last.parse().ok())
                    .is_some_and(|(f, l)| within(f, l))
            });
            let port = address.split('@').next()?.rsplit(':').next()?;
            (holds && line.contains("master")).then(|| port.parse::<u16>().ok())?
        });
        let port = port.expect("somebody holds it");
        let place = self.nodes.iter().position(|node| node.port() == port);
        place.expect("one of ours")
    }

    /// Begins to move a key's slot, with which requests for keys that are not there go on to the
    /// target; says which slot it is.
    pub(crate) fn begin_move(&self, key: &str, source: usize, target: usize) -> u16 {
        let slot: u16 = self.nodes[source].ask(cluster("KEYSLOT").arg(key));
        for (node, state, other) in [(target, "IMPORTING", source), (source, "MIGRATING", target)] {
            let id: String = self.nodes[other].ask(&cluster("MYID"));
            let mut set = cluster("SETSLOT");
            self.nodes[node].ask::<()>(set.arg(slot).arg(state).arg(id));
        }
        slot
    }

    /// Moves one key of it.
    pub(crate) fn move_key(&self, key: &str, source: usize, target: usize) {
        let mut migrate = redis::cmd("MIGRATE");
        migrate.arg("127.0.0.1").arg(self.nodes[target].port());
        self.nodes[source].ask::<()>(migrate.arg(key).arg(0).arg(5000));
    }

    /// Ends the move.
    pub(crate) fn end_move(&self, slot: u16, source: usize, target: usize) {
        let id: String = self.nodes[target].ask(&cluster("MYID"));
        for node in [target, source] {
            let mut set = cluster("SETSLOT");
            self.nodes[node].ask::<()>(set.arg(slot).arg("NODE").arg(&id));
        }
    }

    /// Waits until another node holds what this one, which was killed or frozen, held.
    pub(crate) async fn until_replaced(&self, old: usize, key: &str) {
        until("another primary holds the key", async || {
            let owner = self.owner(key);
            owner != old
                && self
                    .running()
                    .all(|node| node_info(node).contains("cluster_state:ok"))
        })
        .await;
    }
}

fn cluster(subcommand: &str) -> redis::Cmd {
    let mut cmd = redis::cmd("CLUSTER");
    cmd.arg(subcommand);
    cmd
}

fn node_info(node: &PrivateRedis) -> String {
    node.ask(&cluster("INFO"))
}
