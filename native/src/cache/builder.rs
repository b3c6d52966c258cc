//! Builder: what a cache can be told when it is made.
//!
//! Everything is looked at in `build`, so that no option fails where it is named. An option that means nothing to a backend is
//! refused, not ignored.

use std::sync::Arc;
use std::time::Duration;

use donjon_core::cache::Config;
use donjon_core::expiry::{Early, Jitter, Ttl, TtlClasses};
use donjon_core::key::Namespace;
use donjon_core::near;
use donjon_core::settings::{self, InvalidRedisUrl, RedisTarget, Settings};
use tokio::runtime::Handle;

use super::backend::Backend;
use super::memory::Memory;
use super::redis::{InFront, Redis};
use super::shared::Shared;
use super::terms::Span;
use super::{Cache, Mode};
use crate::clock::{Clock, ManualClock};
use crate::engine::Watches;
use crate::error::Error;
use crate::link::{Authorities, Options};

/// A cache to be made: [`Cache::memory`] begins one, [`build`](Self::build) ends it.
#[must_use = "there is no cache before `build`"]
#[derive(Clone, Debug)]
pub struct Builder {
    place: Place,
    namespace: String,
    default_ttl: Option<Span>,
    classes: Vec<(String, Span)>,
    max_bytes: Option<u64>,
    max_entries: Option<u64>,
    max_value_bytes: usize,
    jitter: f64,
    early: f64,
    load_timeout: Duration,
    enabled: bool,
    mode: Mode,
    clock: Option<ManualClock>,
    /// An option that means nothing to the backend.
    misplaced: Option<&'static str>,
}

#[derive(Clone, Debug)]
enum Place {
    Memory,
    Redis(Box<Remote>),
}

#[derive(Clone, Debug)]
struct Remote {
    target: Result<RedisTarget, InvalidRedisUrl>,
    ca: Option<Vec<u8>>,
    connect_timeout: Option<Duration>,
    command_timeout: Option<Duration>,
    near: bool,
    near_broadcast: bool,
    near_max_stale: Duration,
}

impl Builder {
    pub(super) fn memory() -> Self {
        Self::new(Place::Memory)
    }

    pub(super) fn redis(url: &str) -> Self {
        let target = RedisTarget::parse(url);
        Self::new(Place::Redis(Box::new(Remote {
            target,
            ca: None,
            connect_timeout: None,
            command_timeout: None,
            near: false,
            near_broadcast: false,
            near_max_stale: Duration::ZERO,
        })))
    }

    fn new(place: Place) -> Self {
        Self {
            place,
            namespace: "app".to_owned(),
            default_ttl: None,
            classes: Vec::new(),
            max_bytes: None,
            max_entries: None,
            max_value_bytes: DEFAULT_MAX_VALUE_BYTES,
            jitter: 0.0,
            early: 1.0,
            load_timeout: Duration::from_secs(30),
            enabled: true,
            mode: Mode::default(),
            clock: None,
            misplaced: None,
        }
    }

    /// The name that keeps these keys apart from those of other applications: 1 to 64 of `A-Z a-z 0-9 . _ -`, alone or in
    /// braces, which keep it on one node of a cluster. Default: `app`.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// How long a value is fresh where nothing else is said. Default: 5 minutes.
    pub fn default_ttl(mut self, ttl: impl Into<Span>) -> Self {
        self.default_ttl = Some(ttl.into());
        self
    }

    /// A name for a time to live, used as `.ttl("stats")`. Default: those of
    /// [`TtlClasses`](donjon_core::expiry::TtlClasses).
    pub fn ttl_class(mut self, name: impl Into<String>, ttl: impl Into<Span>) -> Self {
        self.classes.push((name.into(), ttl.into()));
        self
    }

    /// Bound of keys, values and bookkeeping together; what is used least leaves first. Default: 256 MiB. Of memory,
    /// in front of Redis or alone.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// Bound of the number of values. Default: as many as fit into `max_bytes`. Of memory, in front of
    /// Redis or alone.
    pub fn max_entries(mut self, entries: u64) -> Self {
        self.max_entries = Some(entries);
        self
    }

    /// Bound of one value, in bytes; what is larger is not kept. Default: 16 MiB.
    pub fn max_value_bytes(mut self, bytes: usize) -> Self {
        self.max_value_bytes = bytes;
        self
    }

    /// Largest part cut at random from each time to live: `0.1` on 60 s gives 54 to 60 s. Default: nothing.
    pub fn jitter(mut self, share: f64) -> Self {
        self.jitter = share;
        self
    }

    /// How eagerly a value is refreshed before it expires, the earlier the longer its load takes; `0.0` never. Default: 1.
    pub fn early(mut self, beta: f64) -> Self {
        self.early = beta;
        self
    }

    /// How long others wait for a load; then one takes it over, and the rest load for themselves. Default: 30 s.
    pub fn load_timeout(mut self, timeout: Duration) -> Self {
        self.load_timeout = timeout;
        self
    }

    /// Whether it is switched on; see [`Cache::set_enabled`]. Default: yes.
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    /// Who may vouch for the server where TLS is spoken, in PEM. Default: those that the system trusts. Of Redis alone.
    pub fn ca(self, pem: impl Into<Vec<u8>>) -> Self {
        self.of_redis("ca", |remote| remote.ca = Some(pem.into()))
    }

    /// How long a connection may take until it can be used, socket, TLS and login together. Default: 250 ms. Of Redis alone.
    pub fn connect_timeout(self, timeout: Duration) -> Self {
        self.of_redis("connect_timeout", |remote| remote.connect_timeout = Some(timeout))
    }

    /// How long a command may wait while nothing moves on the connection, and a millisecond more for every 10 kB of it. Default:
    /// 100 ms. Of Redis alone.
    pub fn command_timeout(self, timeout: Duration) -> Self {
        self.of_redis("command_timeout", |remote| remote.command_timeout = Some(timeout))
    }

    /// Puts memory in front of Redis, bounded by [`max_bytes`](Self::max_bytes): what was read is answered from there, until Redis says
    /// that it changed. One connection more, in a cluster one more to each primary, and for each key that was read some bytes of Redis's
    /// memory. Default: none. Of Redis alone.
    ///
    /// An answer from memory may be behind what others changed: by as long as word of it takes, usually under a millisecond, and by two
    /// seconds at most, should the connection be dead without a sign. [`Mode::Strong`] is not. Where Redis tells nobody of changes, as a
    /// user's rights or a proxy may have it, there is no memory, which the log says once.
    pub fn near(self) -> Self {
        self.of_redis("near", |remote| remote.near = true)
    }

    /// Has Redis tell of every change in the namespace instead of remembering what was read: for many processes that read the same few
    /// keys, which change seldom. Each change is told to each of them. Default: it remembers. Of memory in front of Redis alone.
    pub fn near_broadcast(self) -> Self {
        self.of_redis("near_broadcast", |remote| remote.near_broadcast = true)
    }

    /// For how long memory answers, with values that count as stale, while there is no connection to Redis. Default: not at all. Of
    /// memory in front of Redis alone.
    pub fn near_max_stale(self, span: Duration) -> Self {
        self.of_redis("near_max_stale", |remote| remote.near_max_stale = span)
    }

    /// How fresh an answer has to be where nothing else is said; see [`Cache::in_mode`]. Default: [`Mode::Local`].
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Moves the time of memory by hand, in tests. Waiting for a load or a lock takes real time all the same. Default: the system's.
    pub fn clock(mut self, clock: &ManualClock) -> Self {
        self.clock = Some(clock.clone());
        self
    }

    /// Makes the cache. One over Redis belongs to the tokio runtime that it is made in, and connects when it is first used; one in
    /// memory needs tokio's timers where callers wait for one another.
    ///
    /// # Errors
    ///
    /// [`Error`], which names what is wrong.
    pub fn build(self) -> Result<Cache, Error> {
        let mut classes = TtlClasses::default();
        for (name, ttl) in &self.classes {
            classes.define(name, ttl.ttl(&TtlClasses::default())?)?;
        }
        if let Some(ttl) = &self.default_ttl {
            classes.define("default", ttl.ttl(&classes)?)?;
        }
        let at_least_one = |option, bound: Option<u64>| match bound {
            Some(0) => Err(refused(option, format!("`{option}` is at least 1; to keep nothing, use `enabled(false)`"))),
            bound => Ok(bound),
        };
        let namespace = Namespace::new(&self.namespace)?;
        if let Some(option) = self.misplaced {
            return Err(refused(option, format!("`{option}` means nothing to the {} backend", self.place.name())));
        }
        if self.clock.is_some() && matches!(self.place, Place::Redis(_)) {
            return Err(refused("clock", "`clock` moves the time of memory alone: Redis has its own".to_owned()));
        }
        if let Some(option) = self.homeless() {
            return Err(refused(option, format!("`{option}` means nothing to the redis backend without `near`")));
        }
        let config = Config {
            max_bytes: at_least_one("max_bytes", self.max_bytes)?.unwrap_or(Config::default().max_bytes),
            max_entries: at_least_one("max_entries", self.max_entries)?,
            jitter: Jitter::new(self.jitter).map_err(|why| refused("jitter", why.to_string()))?,
            early: Early::new(self.early).map_err(|why| refused("early", why.to_string()))?,
            load_timeout: Ttl::from_duration(self.load_timeout)?.as_duration().unwrap_or(Duration::MAX),
            ..Config::default()
        };
        let mut tiers = "memory";
        let backend = match self.place {
            Place::Memory => {
                let clock = self.clock.map_or(Clock::System, Clock::Manual);
                Backend::Memory(Arc::new(Memory::new(&config, self.max_value_bytes, clock)))
            }
            Place::Redis(remote) => {
                let runtime = Handle::try_current().map_err(|_| {
                    refused("redis", "a cache over Redis is made within a tokio runtime: call `build` in one")
                })?;
                let in_front = remote.near.then(|| InFront {
                    config: near::Config {
                        max_bytes: config.max_bytes,
                        max_entries: config.max_entries,
                        max_stale: remote.near_max_stale,
                        ..near::Config::default()
                    },
                    watches: if remote.near_broadcast { Watches::Everything } else { Watches::Reads },
                });
                tiers = if remote.near { "memory, redis" } else { "redis" };
                let options = remote.options(self.max_value_bytes)?;
                Backend::Redis(Redis::new(namespace.clone(), &config, self.max_value_bytes, options, in_front, runtime))
            }
        };
        backend.switch(self.enabled);
        tracing::info!(namespace = namespace.as_str(), tiers, "✓ Cache initialized ({} backend)", backend.name());
        Ok(Cache { shared: Shared::new(namespace, classes, backend), mode: self.mode })
    }

    /// As the `CACHE_` variables of the process say.
    pub(super) fn from_env() -> Result<Self, Error> {
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok().filter(|name| name.starts_with("CACHE_"))?;
            Some((name, value.to_string_lossy().into_owned()))
        });
        let settings = Settings::parse(variables)?;
        for warning in &settings.warnings {
            tracing::warn!("{warning}");
        }
        Ok(Self::of(&settings))
    }

    fn of(settings: &Settings) -> Self {
        let mut builder = match &settings.backend {
            settings::Backend::Memory => {
                let mut builder = Self::memory().max_bytes(settings.max_bytes);
                builder.max_entries = settings.max_entries;
                builder
            }
            settings::Backend::Redis(target) => {
                let mut builder = Self::redis(target.url().expose());
                if settings.near {
                    builder = builder.near().max_bytes(settings.max_bytes);
                    builder.max_entries = settings.max_entries;
                }
                builder
            }
        };
        builder = builder.namespace(settings.namespace.as_str()).enabled(settings.enabled);
        builder.classes = settings.ttl_classes.iter().map(|(name, ttl)| (name.to_owned(), ttl.into())).collect();
        builder
    }

    fn of_redis(mut self, option: &'static str, set: impl FnOnce(&mut Remote)) -> Self {
        match &mut self.place {
            Place::Redis(remote) => set(remote),
            Place::Memory => self.misplaced = Some(option),
        }
        self
    }

    /// An option that needs memory, or memory in front of Redis, where there is none.
    fn homeless(&self) -> Option<&'static str> {
        let Place::Redis(remote) = &self.place else { return None };
        let given = [
            ("max_bytes", self.max_bytes.is_some()),
            ("max_entries", self.max_entries.is_some()),
            ("near_broadcast", remote.near_broadcast),
            ("near_max_stale", !remote.near_max_stale.is_zero()),
        ];
        given.into_iter().find(|(_, given)| *given && !remote.near).map(|(option, _)| option)
    }
}

impl Place {
    fn name(&self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redis(_) => "redis",
        }
    }
}

impl Remote {
    fn options(self, max_value_bytes: usize) -> Result<Options, Error> {
        let mut options = Options::new(self.target.map_err(|why| refused("url", why.to_string()))?);
        let budget = |option, given: Option<Duration>, default| match given {
            Some(Duration::ZERO) => Err(refused(option, format!("`{option}` is more than nothing"))),
            given => Ok(given.unwrap_or(default)),
        };
        options.connect_budget = budget("connect_timeout", self.connect_timeout, options.connect_budget)?;
        options.command_budget = budget("command_timeout", self.command_timeout, options.command_budget)?;
        if let Some(pem) = self.ca {
            options.ca = Some(Authorities::from_pem(&pem).map_err(|why| refused("ca", format!("`ca`: {why}")))?);
        }
        // Many values may come in one reply.
        options.max_reply_bytes = options.max_reply_bytes.max(max_value_bytes.saturating_mul(4));
        Ok(options)
    }
}

fn refused(option: &'static str, why: impl Into<Box<str>>) -> Error {
    Error::InvalidOption { option, why: why.into() }
}

const DEFAULT_MAX_VALUE_BYTES: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn error(builder: Builder) -> String {
        builder.build().expect_err("it is refused").to_string()
    }

    #[test]
    fn what_an_option_cannot_be_is_refused_with_its_name() {
        for (builder, option) in [
            (Cache::memory().max_bytes(0), "max_bytes"),
            (Cache::memory().max_entries(0), "max_entries"),
            (Cache::memory().jitter(1.5), "jitter"),
            (Cache::memory().early(-1.0), "early"),
            (Cache::memory().ca(*b"---"), "ca"),
            (Cache::memory().connect_timeout(Duration::from_secs(1)), "connect_timeout"),
            (Cache::memory().command_timeout(Duration::from_secs(1)), "command_timeout"),
            (Cache::redis("redis://h").max_bytes(1), "max_bytes"),
            (Cache::redis("redis://h").max_entries(1), "max_entries"),
            (Cache::redis("redis://h").near_broadcast(), "near_broadcast"),
            (Cache::redis("redis://h").near_max_stale(Duration::from_secs(1)), "near_max_stale"),
            (Cache::redis("redis://h").near().max_bytes(0), "max_bytes"),
            (Cache::memory().near(), "near"),
        ] {
            assert!(error(builder).contains(&format!("`{option}`")), "{option}");
        }
        assert!(error(Cache::memory().namespace("a:b")).contains("a:b"));
        assert!(Cache::memory().load_timeout(Duration::ZERO).build().is_err());
        assert!(Cache::memory().default_ttl(Duration::ZERO).build().is_err());
        assert!(Cache::memory().ttl_class("Upper", "1m").build().is_err());
    }

    #[tokio::test]
    async fn no_error_and_no_debug_shows_a_password() {
        for url in ["redis://:hunter2@h/x", "http://:hunter2@h", "hunter2"] {
            let builder = Cache::redis(url);
            assert!(!format!("{builder:?} {}", error(builder.clone())).contains("hunter2"), "{url}");
        }
        let good = Cache::redis("redis://:hunter2@localhost:1");
        assert!(!format!("{good:?} {:?}", good.clone().build()).contains("hunter2"));
        assert!(error(good.clone().ca(*b"---")).contains("`ca`"));
        assert!(error(good.command_timeout(Duration::ZERO)).contains("`command_timeout`"));
    }

    #[test]
    fn a_cache_over_redis_says_that_it_needs_a_runtime() {
        assert!(error(Cache::redis("redis://localhost:1")).contains("runtime"));
    }

    #[tokio::test]
    async fn the_variables_reach_the_cache() {
        let parse = |pairs: &[(&str, &str)]| Settings::parse(pairs.iter().copied()).expect("they are good");
        let cache = Builder::of(&parse(&[
            ("CACHE_NAMESPACE", "shop"),
            ("CACHE_ENABLED", "no"),
            ("CACHE_MAX_ENTRIES", "10"),
            ("CACHE_TTL_SEARCH", "2m"),
        ]));
        let cache = cache.build().expect("they are good");
        assert_eq!((cache.namespace(), cache.backend(), cache.is_enabled()), ("shop", "memory", false));
        assert!(cache.set("k", &1).ttl("search").await.is_ok());
        let redis = Builder::of(&parse(&[("CACHE_BACKEND", "redis"), ("CACHE_REDIS_PORT", "1")]));
        let redis = redis.build().expect("they are good");
        assert_eq!((redis.backend(), redis.stats().coherence), ("redis", None));
        let near =
            [("CACHE_BACKEND", "redis"), ("CACHE_REDIS_PORT", "1"), ("CACHE_NEAR", "yes"), ("CACHE_MAX_ENTRIES", "9")];
        let near = Builder::of(&parse(&near)).build().expect("they are good");
        assert_eq!(near.stats().coherence, Some(near::State::Suspect), "nothing was connected yet");
    }
}
