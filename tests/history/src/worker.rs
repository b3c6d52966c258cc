//! Worker: the tasks of this process, on donjon's API for Rust.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use donjon::{Cache, Found, LoadError, Mode, Removed};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::chance::Chance;
use crate::log::{Log, Outcome, now};
use crate::plan::Plan;
use crate::source::Source;

/// What all tasks share.
#[derive(Debug)]
pub struct Worker {
    plan: Plan,
    cache: Cache,
    log: Log,
    source: Source,
    chance: Chance,
    keys: Vec<String>,
    /// Whether memory may answer some of the reads.
    near: bool,
}

/// What a loader returns: the version that it saw.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Row {
    version: u64,
}

/// The source could not be read, as the plan has it now and then.
#[derive(Debug, thiserror::Error)]
#[error("the source could not be read")]
struct LoadFailed;

#[derive(Clone, Copy, Debug)]
enum Way {
    GetOrSet,
    GetOrSetMany,
    ForceRefresh,
    Lookup,
    Get,
    GetMany,
}

#[derive(Clone, Copy, Debug)]
enum Target {
    Key,
    Keys,
    Pattern,
    Tag,
    Clear,
}

impl Worker {
    /// Prepares the tasks; `seed` repeats their choices.
    pub fn new(plan: Plan, cache: Cache, log: Log, seed: &str, near: bool) -> io::Result<Self> {
        let source = Source::open(&plan.source, plan.keys.keys())?;
        let keys = plan.keys.keys().cloned().collect();
        Ok(Self { plan, cache, log, source, chance: Chance::of(seed), keys, near })
    }

    /// Works until the input ends.
    pub async fn run(self) -> Result<(), Box<dyn Error>> {
        let (end, over) = watch::channel(false);
        tokio::spawn(async move {
            // Whatever comes, only its end matters.
            let _ = tokio::io::stdin().read_to_end(&mut Vec::new()).await;
            end.send_replace(true);
        });
        let worker = Arc::new(self);
        let mut tasks = JoinSet::new();
        for _ in 0..worker.plan.tasks {
            tasks.spawn(Arc::clone(&worker).work(over.clone()));
        }
        while !*over.borrow() {
            tokio::time::sleep(COUNT_EVERY).await;
            worker.count()?;
        }
        tokio::time::timeout(END_WITHIN, async {
            while let Some(ended) = tasks.join_next().await {
                ended??;
            }
            Ok::<_, Box<dyn Error>>(())
        })
        .await??;
        worker.count()?;
        worker.cache.close().await;
        Ok(())
    }

    async fn work(self: Arc<Self>, over: watch::Receiver<bool>) -> io::Result<()> {
        while !*over.borrow() {
            let draw = self.chance.share();
            if draw < self.plan.writes {
                self.write().await?;
            } else if draw < self.plan.writes + self.plan.passing {
                self.pass().await?;
            } else {
                self.read().await?;
            }
            tokio::time::sleep(self.chance.up_to(self.plan.rest)).await;
        }
        Ok(())
    }

    async fn read(&self) -> io::Result<()> {
        let way = self.chance.weighed(WAYS);
        let keys = self.chance.some(&self.keys, 3);
        let is_local = self.near && !matches!(way, Way::ForceRefresh) && self.chance.happens(LOCAL);
        let cache = self.cache.in_mode(if is_local { Mode::Local } else { Mode::Strong });
        let name = if is_local { format!("near {}", way.name()) } else { way.name().to_owned() };
        let begun = now();
        let found = self.unless_left(self.found(&cache, way, &keys)).await;
        let ended = now();
        match found {
            None | Some(Err(LoadError::Loader(_))) => Ok(()),
            Some(Err(LoadError::Cache(error))) => self.log.fault(&name, &error),
            Some(Ok(rows)) => {
                for (key, row) in rows {
                    self.log.read(begun, ended, &key, row.version, &name)?;
                }
                Ok(())
            }
        }
    }

    /// A read of a key that nobody reads again: what is held for it has to leave without being asked for.
    async fn pass(&self) -> io::Result<()> {
        let key = format!("passing:{}", self.chance.share());
        let load = async || Ok::<_, LoadFailed>(String::new());
        match self.cache.get_or_set(&key, load).ttl(PASSING).tags(["passing"]).await {
            Err(LoadError::Cache(error)) => self.log.fault("passing", &error),
            Ok(_) | Err(LoadError::Loader(_)) => Ok(()),
        }
    }

    /// What the cache has, or loads, for the keys. A way that takes one key reads the first.
    async fn found(
        &self,
        cache: &Cache,
        way: Way,
        keys: &[&str],
    ) -> Result<HashMap<String, Row>, LoadError<LoadFailed>> {
        let key = keys[0];
        let stored = &self.plan.keys[key];
        let row = match way {
            Way::Get => cache.get(key).await?,
            Way::GetMany => return Ok(cache.get_many(keys.iter().copied()).await?),
            Way::GetOrSet | Way::ForceRefresh => {
                let call = cache.get_or_set(key, || self.load(key)).ttl(stored.ttl()).grace(stored.grace());
                let call = call.tags(stored.tags.clone());
                Some(if matches!(way, Way::ForceRefresh) { call.force_refresh() } else { call }.await?)
            }
            Way::GetOrSetMany => {
                let alike = keys.iter().copied().filter(|key| self.plan.keys[*key] == *stored);
                return cache
                    .get_or_set_many(alike, |missing: Vec<String>| async move {
                        let mut rows = HashMap::new();
                        for key in missing {
                            let row = self.load(&key).await?;
                            rows.insert(key, row);
                        }
                        Ok(rows)
                    })
                    .ttl(stored.ttl())
                    .grace(stored.grace())
                    .tags(stored.tags.clone())
                    .await;
            }
            Way::Lookup => Some(match cache.lookup(key).await? {
                Found::Hit(row) => row,
                Found::Miss(miss) => {
                    let row = self.load(key).await.map_err(|failed| LoadError::Loader(Arc::new(failed)))?;
                    miss.fill(&row).ttl(stored.ttl()).grace(stored.grace()).tags(stored.tags.clone()).await?;
                    row
                }
            }),
        };
        Ok(row.map(|row| (key.to_owned(), row)).into_iter().collect())
    }

    /// A query that sees the row at some moment, and whose answer arrives later.
    async fn load(&self, key: &str) -> Result<Row, LoadFailed> {
        tokio::time::sleep(self.chance.delay()).await;
        if self.chance.happens(self.plan.failing) {
            return Err(LoadFailed);
        }
        let version = self.source.version(key).map_err(|_| LoadFailed)?;
        tokio::time::sleep(self.chance.delay()).await;
        Ok(Row { version })
    }

    async fn write(&self) -> io::Result<()> {
        let target = self.chance.weighed(TARGETS);
        let (names, covered) = self.target(target);
        for key in self.chance.some(&covered, self.chance.one_to(covered.len().min(3))) {
            self.source.write(key)?;
        }
        let mut versions = BTreeMap::new();
        for key in &covered {
            versions.insert(key.as_str(), self.source.version(key)?);
        }
        let begun = now();
        let outcome = match self.unless_left(self.invalidate(target, &names)).await {
            None => Outcome::Failed,
            Some(Ok(removed)) if removed.queued => Outcome::Queued,
            Some(Ok(_)) => Outcome::Ok,
            Some(Err(error)) => {
                self.log.fault(target.name(), &error)?;
                Outcome::Failed
            }
        };
        let said = [&[target.name().to_owned()], names.as_slice()].concat().join(" ");
        self.log.invalidation((begun, now()), &said, outcome, &versions)
    }

    /// What a call gives, unless its caller goes away before.
    async fn unless_left<O>(&self, call: impl Future<Output = O>) -> Option<O> {
        if !self.chance.happens(self.plan.leaving) {
            return Some(call.await);
        }
        tokio::time::timeout(self.chance.up_to(LEAVE_WITHIN), call).await.ok()
    }

    /// What to name, and the keys which that covers.
    fn target(&self, target: Target) -> (Vec<String>, Vec<String>) {
        let picked =
            |many| -> Vec<String> { self.chance.some(&self.keys, many).into_iter().map(String::from).collect() };
        let covers = match target {
            Target::Key => {
                let names = picked(1);
                return (names.clone(), names);
            }
            Target::Keys => {
                let names = picked(3);
                return (names.clone(), names);
            }
            Target::Clear => return (Vec::new(), self.keys.clone()),
            Target::Pattern => &self.plan.patterns,
            Target::Tag => &self.plan.tags,
        };
        let all: Vec<String> = covers.keys().cloned().collect();
        let name = self.chance.one(&all).to_owned();
        let covered = covers[&name].clone();
        (vec![name], covered)
    }

    async fn invalidate(&self, target: Target, names: &[String]) -> Result<Removed, donjon::Error> {
        match target {
            Target::Key => self.cache.delete(&names[0]).await,
            Target::Keys => self.cache.delete_many(names).await,
            Target::Pattern => self.cache.invalidate_pattern(&names[0]).await,
            Target::Tag => self.cache.invalidate_tags(names).await,
            Target::Clear => self.cache.clear().await,
        }
    }

    fn count(&self) -> io::Result<()> {
        let stats = self.cache.stats();
        self.log.counters(&BTreeMap::from([
            ("hits", stats.hits),
            ("memory_hits", stats.memory_hits),
            ("misses", stats.misses),
            ("stale", stats.stale),
            ("loads", stats.loads),
            ("load_failures", stats.load_failures),
            ("loads_refused", stats.loads_refused),
            ("stores", stats.stores),
            ("takeovers", stats.takeovers),
            ("undecodable", stats.undecodable),
        ]))
    }
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::GetOrSet => "get_or_set",
            Self::GetOrSetMany => "get_or_set_many",
            Self::ForceRefresh => "force_refresh",
            Self::Lookup => "lookup",
            Self::Get => "get",
            Self::GetMany => "get_many",
        }
    }
}

impl Target {
    fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Keys => "keys",
            Self::Pattern => "pattern",
            Self::Tag => "tag",
            Self::Clear => "clear",
        }
    }
}

const PASSING: Duration = Duration::from_secs(1);
const COUNT_EVERY: Duration = Duration::from_millis(250);
const LEAVE_WITHIN: f64 = 0.03;
const END_WITHIN: Duration = Duration::from_secs(15);

/// The share of reads that memory may answer, where there is some.
const LOCAL: f64 = 0.7;
const WAYS: &[(Way, u32)] = &[
    (Way::GetOrSet, 12),
    (Way::Lookup, 3),
    (Way::GetOrSetMany, 2),
    (Way::Get, 2),
    (Way::GetMany, 1),
    (Way::ForceRefresh, 1),
];
const TARGETS: &[(Target, u32)] =
    &[(Target::Key, 12), (Target::Keys, 3), (Target::Pattern, 3), (Target::Tag, 4), (Target::Clear, 1)];
