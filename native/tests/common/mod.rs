//! What the suites share: places to keep values in, and waiting for what is to happen.

#![allow(dead_code, reason = "each suite uses a part")]

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use donjon::{Builder, Cache};
use donjon_test_redis::{Cluster, Server};

pub mod log;
pub mod near;

/// A backend, with a namespace of this test's own.
pub struct Place {
    kind: Kind,
}

enum Kind {
    Memory,
    Redis(Box<Server>),
    Cluster(Arc<Cluster>, String),
}

impl Place {
    pub fn memory() -> Self {
        Self { kind: Kind::Memory }
    }

    pub fn redis() -> Self {
        Self { kind: Kind::Redis(Box::new(Server::start())) }
    }

    /// One of several in a cluster.
    pub fn cluster(cluster: &Arc<Cluster>, namespace: &str) -> Self {
        Self { kind: Kind::Cluster(Arc::clone(cluster), namespace.to_owned()) }
    }

    /// Whether who publishes hears of all who listen: each node of a cluster knows its own.
    pub fn knows_all_who_listen(&self) -> bool {
        !matches!(self.kind, Kind::Cluster(..))
    }

    /// A cache to be made here.
    pub fn builder(&self) -> Builder {
        match &self.kind {
            Kind::Memory => Cache::memory(),
            // Patient: what is slow here is the machine that the tests run on.
            Kind::Redis(server) => Cache::redis(&server.url()).connect_timeout(PATIENCE).command_timeout(PATIENCE),
            Kind::Cluster(cluster, namespace) => {
                Cache::redis(&cluster.url()).namespace(namespace).connect_timeout(PATIENCE).command_timeout(PATIENCE)
            }
        }
    }

    pub fn cache(&self) -> Cache {
        self.builder().build().expect("the options are good")
    }
}

pub const PATIENCE: Duration = Duration::from_secs(5);

/// Makes tests of functions that take a [`Place`], one for every backend.
#[macro_export]
macro_rules! on_every_backend {
    ($($test:ident)*) => {
        $crate::on_backend! { on_memory memory $($test)* }
        $crate::on_backend! { on_redis redis $($test)* }
        /// One cluster for all of them, as it takes its time to come together.
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn all_of_it_holds_on_a_cluster() {
            let cluster = std::sync::Arc::new(donjon_test_redis::Cluster::start());
            let mut number = 0;
            $(
                number += 1;
                println!("{}", stringify!($test));
                $test($crate::common::Place::cluster(&cluster, &format!("app{number}"))).await;
            )*
        }
    };
}

/// The same for one backend.
#[macro_export]
macro_rules! on_backend {
    ($name:ident $backend:ident $($test:ident)*) => {
        mod $name {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test($crate::common::Place::$backend()).await;
            })*
        }
    };
}

/// Waits until something is as it is to be, and no longer than a test may take.
pub async fn eventually(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !is().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

/// An error of the application's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken(pub &'static str);

impl fmt::Display for Broken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "broken: {}", self.0)
    }
}

impl std::error::Error for Broken {}
