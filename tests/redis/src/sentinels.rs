//! Sentinels: a primary with two replicas, and three sentinels that see to it that one of them is a primary.

use std::time::Duration;

use crate::server::{Builder, Server, wait_until};

/// A primary, its replicas, and who watches over them.
#[derive(Debug)]
pub struct Sentinels {
    servers: Vec<Server>,
    sentinels: Vec<Server>,
}

impl Sentinels {
    /// Servers and sentinels that ask for no password. A primary that has been away for a second is replaced.
    pub fn start() -> Self {
        Self::of(&Server::builder(), &Server::builder())
    }

    /// With settings of one's own for the servers and for the sentinels; the sentinels have to be let in by the servers.
    pub fn of(server: &Builder, sentinel: &Builder) -> Self {
        let servers: Vec<Server> = (0..3).map(|_| server.clone().start()).collect();
        for replica in &servers[1..] {
            replica.replica_of(&servers[0]);
        }
        let port = servers[0].port();
        let sentinels = (0..3).map(|_| sentinel.clone().sentinel_of(PRIMARY, port).start()).collect();
        let set = Self { servers, sentinels };
        wait_until("the sentinels know the replicas and each other", PATIENCE, || {
            set.sentinels.iter().all(|sentinel| {
                let told = sentinel.ask(&["SENTINEL", "MASTER", PRIMARY]);
                let told: Vec<&str> = told.list().iter().map(crate::Reply::text).collect();
                let field = |name| told.chunks(2).find(|pair| pair[0] == name).map(|pair| pair[1]);
                field("num-slaves") == Some("2") && field("num-other-sentinels") == Some("2")
            })
        });
        set
    }

    /// Where clients connect, without any password.
    pub fn url(&self) -> String {
        format!("redis+sentinel://{}/{PRIMARY}", self.places())
    }

    /// Hosts and ports of the sentinels, between commas.
    pub fn places(&self) -> String {
        let places: Vec<String> = self.sentinels.iter().map(|one| format!("127.0.0.1:{}", one.port())).collect();
        places.join(",")
    }

    /// The servers; the first began as the primary.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// The sentinels.
    pub fn sentinels(&self) -> &[Server] {
        &self.sentinels
    }

    /// The server that the sentinels name.
    pub fn primary(&self) -> &Server {
        let named = self.sentinels[0].ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", PRIMARY]);
        let port = named.list()[1].text().to_owned();
        self.servers.iter().find(|server| server.port().to_string() == port).expect("one of ours")
    }

    /// Waits until the sentinels all name another primary than `former`, which says of itself that it is one.
    pub fn wait_for_another(&self, former: &Server) {
        wait_until("another has taken over", PATIENCE, || {
            let named = |sentinel: &Server| {
                let named = sentinel.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", PRIMARY]);
                named.list()[1].text() != former.port().to_string()
            };
            self.sentinels.iter().all(named) && self.primary().ask(&["ROLE"]).list()[0].text() == "master"
        });
    }
}

/// What the sentinels call the primary.
pub const PRIMARY: &str = "mymaster";

const PATIENCE: Duration = Duration::from_secs(30);
