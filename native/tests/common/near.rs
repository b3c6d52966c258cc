//! Processes with memory in front of Redis.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use donjon::engine::{Engine, Front, Looked, Tier, Watches};
use donjon::link::Options;
use donjon::payload::Payload;
use donjon::runtime::{Tokio, now};
use donjon_core::cache::Config;
use donjon_core::chance::Seed;
use donjon_core::expiry::{Early, Grace, Ttl};
use donjon_core::key::{Key, Namespace};
use donjon_core::lease::Filled;
use donjon_core::near::{self, Near, State};
use donjon_core::remote::Storing;
use donjon_core::remote::look::Want;
use donjon_core::remote::name::Names;
use donjon_core::settings::RedisTarget;
use donjon_test_redis::Server;

use super::{PATIENCE, eventually};

/// An engine with memory and a tier of its own: it stands for a process of its own.
pub struct Process {
    pub engine: Engine<Tokio, Arc<str>>,
    pub memory: Near<Payload>,
}

pub fn process(url: &str) -> Process {
    process_with(url, &near::Config::default(), Watches::Reads)
}

pub fn process_with(url: &str, config: &near::Config, watches: Watches) -> Process {
    process_in("app", url, config, watches)
}

pub fn process_in(namespace: &str, url: &str, config: &near::Config, watches: Watches) -> Process {
    static COUNT: AtomicUsize = AtomicUsize::new(1);
    let seed = |part: u64| Seed((COUNT.fetch_add(1, Ordering::Relaxed) as u128) << 64 | u128::from(part));
    let namespace = Namespace::new(namespace).unwrap();
    let memory = Near::<Payload>::new(Names::new(namespace.clone()), config, seed(1));
    let front = Front { memory: Arc::new(memory.clone()), watches };
    let shared = Config { early: Early::OFF, ..Config::default() };
    let tier = Tier::behind(Some(front), namespace, &shared, 1 << 20, seed(2));
    let mut options = Options::new(RedisTarget::parse(url).unwrap());
    // Patient: what is slow here is the machine that the tests run on.
    (options.connect_budget, options.command_budget) = (PATIENCE, PATIENCE);
    Process { engine: Engine::new(tier, Tokio::new(tokio::runtime::Handle::current()), options), memory }
}

impl Process {
    pub async fn told(url: &str) -> Self {
        process(url).until(State::Tracking).await
    }

    pub async fn until(self, state: State) -> Self {
        let _there_or_not = self.engine.ping().await;
        eventually(state.word(), async || self.memory.state(now()) == state).await;
        self
    }

    /// What memory has.
    pub fn near(&self, name: &str) -> Option<Payload> {
        self.memory.hit(key(name), now())
    }

    /// What a local read gives.
    pub async fn read(&self, name: &str) -> Option<Payload> {
        match self.near(name) {
            None => self.engine.get(key(name)).await,
            found => found,
        }
    }

    /// Reads until memory has the value: what is just being told keeps an answer out.
    pub async fn keep(&self, name: &str) -> Payload {
        eventually("memory has it", async || {
            self.read(name).await;
            self.near(name).is_some()
        })
        .await;
        self.near(name).unwrap()
    }

    pub async fn set(&self, name: &str, text: &'static str) {
        assert!(self.engine.set(key(name), &Payload::json(text), &storing(&[])).await);
    }

    pub async fn load(&self, name: &str, text: &'static str, tags: &[&str]) -> Filled {
        let storing = storing(tags);
        match self.engine.look(key(name), Want { tags: Some(Arc::clone(&storing.tags)), ..Want::default() }).await {
            Looked::Load(lease) => lease.fill(Payload::json(text), &storing).await,
            other => panic!("{name} was to be loaded, not {other:?}"),
        }
    }

    pub async fn gone(&self, name: &str, how: &str) {
        eventually(how, async || self.near(name).is_none()).await;
    }
}

pub fn want() -> Want {
    Want { tags: Some(Arc::new([])), ..Want::default() }
}

pub fn key(text: &str) -> Key<'_> {
    Key::new(text).unwrap()
}

pub fn json(text: &'static str) -> Payload {
    Payload::json(text)
}

pub fn storing(tags: &[&str]) -> Storing {
    let tags = tags.iter().map(|tag| Box::from(*tag)).collect();
    Storing { ttl: Ttl::parse("1m").unwrap(), grace: Grace::NONE, tags }
}

/// How often a command was carried out.
pub fn calls(server: &Server, command: &str) -> u64 {
    let stat = server.info(&format!("cmdstat_{command}")).unwrap_or_default();
    stat.strip_prefix("calls=").and_then(|rest| rest.split(',').next()?.parse().ok()).unwrap_or_default()
}

/// How often somebody read.
pub fn reads(server: &Server) -> u64 {
    calls(server, "get") + calls(server, "mget")
}
