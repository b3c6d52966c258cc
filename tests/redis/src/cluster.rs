//! Cluster: servers that share the keys, joined as `redis-cli --cluster create` joins them, with slots that a test can move.

use std::cell::Cell;
use std::fmt::Write;
use std::time::{Duration, Instant};

use crate::client::Reply;
use crate::server::{Builder, Server, wait_until};

/// Three primaries that share the slots, and as many replicas as were asked for.
#[derive(Debug)]
pub struct Cluster {
    servers: Vec<Server>,
}

impl Cluster {
    /// Three primaries and nobody to take over from them.
    pub fn start() -> Self {
        Self::of(&Server::builder().option("cluster-node-timeout", &["15000"]), 0)
    }

    /// Three primaries and a replica of each, which takes over from one that has been away for two seconds.
    pub fn start_with_replicas() -> Self {
        Self::of(&Server::builder().option("cluster-node-timeout", &["2000"]), 1)
    }

    /// Three primaries with settings of one's own, and so many replicas of each.
    pub fn of(settings: &Builder, replicas: usize) -> Self {
        let start = |_| settings.clone().option("cluster-enabled", &["yes"]).start();
        let cluster = Self { servers: (0..PRIMARIES * (replicas + 1)).map(start).collect() };
        for (number, server) in cluster.servers.iter().enumerate() {
            server.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]);
            if number < PRIMARIES {
                let share = |number: usize| number * SLOTS / PRIMARIES;
                let slots = (share(number)..share(number + 1)).map(|slot| slot.to_string());
                let words = ["CLUSTER".to_owned(), "ADDSLOTS".to_owned()].into_iter().chain(slots);
                server.ask(&words.collect::<Vec<_>>());
            }
        }
        for server in &cluster.servers[1..] {
            cluster.servers[0].ask(&["CLUSTER", "MEET", "127.0.0.1", &server.port().to_string()]);
        }
        let known = format!("cluster_known_nodes:{}", cluster.servers.len());
        cluster.wait("all nodes know each other", |server| server.ask(&["CLUSTER", "INFO"]).text().contains(&known));
        for (number, server) in cluster.servers.iter().enumerate().skip(PRIMARIES) {
            server.ask(&["CLUSTER", "REPLICATE", &cluster.servers[number % PRIMARIES].id()]);
        }
        let replicas = &cluster.servers[PRIMARIES..];
        wait_until("the replicas have caught up", PATIENCE, || {
            replicas.iter().all(|server| server.info("master_link_status").as_deref() == Some("up"))
        });
        cluster.settle();
        cluster
    }

    /// Waits until all nodes that run say that the cluster is whole, and the same of who has what and since which epoch. Who took a slot
    /// without having heard of the last epoch would take it by an older one, and the others would not let him have it.
    pub fn settle(&self) {
        self.wait("the cluster is whole", |server| {
            server.ask(&["CLUSTER", "INFO"]).text().contains("cluster_state:ok")
                && server.owners() == self.running().next().expect("one runs").owners()
        });
    }

    /// Where clients connect.
    pub fn url(&self) -> String {
        let mut url = "redis+cluster://".to_owned();
        for (number, server) in self.servers.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            write!(url, "{comma}127.0.0.1:{}", server.port()).expect("memory takes all of it");
        }
        url
    }

    /// All servers, those that began as primaries first.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// The slot of a key as it is called in Redis.
    pub fn slot(&self, name: &str) -> u16 {
        let slot = self.running().next().expect("one runs").ask(&["CLUSTER", "KEYSLOT", name]).number();
        u16::try_from(slot).expect("a slot")
    }

    /// The primary that has a slot, as it says itself.
    pub fn owner(&self, slot: u16) -> &Server {
        self.running().find(|server| server.has(slot)).unwrap_or_else(|| panic!("nobody has slot {slot}"))
    }

    /// A primary that does not have this slot.
    pub fn other(&self, slot: u16) -> &Server {
        self.running().find(|server| server.is_primary() && !server.has(slot)).expect("there are others")
    }

    /// One command about `name`, said to whoever has it. An error reply fails the test.
    pub fn ask<A: AsRef<[u8]>>(&self, name: &str, words: &[A]) -> Reply {
        self.owner(self.slot(name)).ask(words)
    }

    /// Opens a slot: its keys may go, one by one, from who has it to `to`.
    pub fn open(&self, slot: u16, to: &Server) {
        let from = self.owner(slot);
        to.ask(&["CLUSTER", "SETSLOT", &slot.to_string(), "IMPORTING", &from.id()]);
        from.ask(&["CLUSTER", "SETSLOT", &slot.to_string(), "MIGRATING", &to.id()]);
    }

    /// Carries keys of an open slot to where it goes.
    pub fn carry(&self, names: &[&str], to: &Server) {
        for name in names {
            let from = self.owner(self.slot(name));
            from.ask(&["MIGRATE", "127.0.0.1", &to.port().to_string(), name, "0", "5000"]);
        }
    }

    /// Carries what is left of an open slot, and gives the slot away with it.
    pub fn close(&self, slot: u16, to: &Server) {
        let from = self.owner(slot);
        loop {
            let keys = from.ask(&["CLUSTER", "GETKEYSINSLOT", &slot.to_string(), "100"]);
            if keys.list().is_empty() {
                break;
            }
            for key in keys.list() {
                from.ask(&["MIGRATE", "127.0.0.1", &to.port().to_string(), key.text(), "0", "5000"]);
            }
        }
        for server in [to, from] {
            server.ask(&["CLUSTER", "SETSLOT", &slot.to_string(), "NODE", &to.id()]);
        }
        self.settle();
    }

    /// Moves a slot with its keys.
    pub fn move_slot(&self, slot: u16, to: &Server) {
        self.open(slot, to);
        self.close(slot, to);
    }

    /// Has the replica of `primary` take over from it while it runs, and waits until it has.
    pub fn hand_over(&self, primary: &Server) -> &Server {
        let id = primary.id();
        let replica = self.replica_of(&id);
        let asked = Cell::new(None::<Instant>);
        wait_until("the replica has taken over", PATIENCE, || {
            // Where the others do not agree in time, as on a machine with other work, it is given up after five seconds.
            if asked.get().is_none_or(|at| at.elapsed() > Duration::from_secs(6)) {
                asked.set(Some(Instant::now()));
                let _agreed_or_not = replica.client().call(&["CLUSTER", "FAILOVER"]);
            }
            replica.is_primary() && !primary.is_primary()
        });
        replica
    }

    /// The replica of the primary with this id.
    pub fn replica_of(&self, id: &str) -> &Server {
        let follows = |server: &&Server| server.myself().split(' ').nth(3).is_some_and(|primary| primary == id);
        self.running().find(follows).expect("it has a replica")
    }

    fn running(&self) -> impl Iterator<Item = &Server> {
        self.servers.iter().filter(|server| server.is_running())
    }

    fn wait(&self, what: &str, holds: impl Fn(&Server) -> bool) {
        wait_until(what, PATIENCE, || self.running().all(&holds));
    }
}

impl Server {
    /// What a node of a cluster is called by the others.
    pub fn id(&self) -> String {
        self.ask(&["CLUSTER", "MYID"]).text().to_owned()
    }

    /// Whether it is a primary of its cluster by its own words.
    pub fn is_primary(&self) -> bool {
        self.myself().split(' ').nth(2).is_some_and(|flags| flags.contains("master"))
    }

    /// Whether it has this slot by its own words.
    pub fn has(&self, slot: u16) -> bool {
        self.myself().split(' ').skip(8).any(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            matches!((first.parse::<u16>(), last.parse::<u16>()), (Ok(first), Ok(last)) if (first..=last).contains(&slot))
        })
    }

    fn myself(&self) -> String {
        let nodes = self.ask(&["CLUSTER", "NODES"]);
        let line = nodes.text().lines().find(|line| line.contains("myself")).expect("it knows itself");
        line.to_owned()
    }

    /// Who has which slots, and since which epoch, as this one sees it.
    fn owners(&self) -> Vec<String> {
        let nodes = self.ask(&["CLUSTER", "NODES"]);
        let mut owners: Vec<String> = nodes
            .text()
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>())
            .filter(|parts| parts.len() > 8)
            .map(|parts| format!("{} {} {}", parts[0], parts[6], parts[8..].join(" ")))
            .collect();
        owners.sort();
        owners
    }
}

const PRIMARIES: usize = 3;
const SLOTS: usize = 16_384;
const PATIENCE: Duration = Duration::from_secs(30);
