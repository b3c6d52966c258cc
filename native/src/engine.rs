//! Engine: the shared tier at work: what the core decides is sent to Redis, waited for and told back.
//!
//! Owns the order in which things are said. An invalidation that could not be sent is kept and said before anything is read
//! again; what was said in the last ten seconds is said once more on every new connection, since a server that took over may have
//! lost it. Must not know what a value means, nor who asks.
//!
//! Bindings build on it; Rust programs use [`crate::Cache`].
//!
//! | to find out | look in |
//! |---|---|
//! | how a key is looked up, loaded and filled | `look`, `gather`, `sights`, [`Lease`] |
//! | how values are stored and changed by hand | `write` |
//! | how keys, patterns and tags are invalidated | `invalidate`, `replay`, `hold_down` |
//! | how locks are held and waited for, and messages sent | `lock`, [`Subscriber`] |
//! | what memory in front may have, and who hears of changes | [`Memory`], `via`, `tracker` |
//! | what is sent | `wire`, `watch` |
//! | how a cluster is asked, and who is in it | `spread`, `nodes`, [`Topology`] |

mod gather;
mod hold_down;
mod invalidate;
mod lease;
mod lock;
mod look;
mod memory;
mod nodes;
mod renewals;
mod replay;
mod sights;
mod spread;
mod topology;
mod tracker;
mod via;
mod watch;
mod wire;
mod write;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use donjon_core::cache::Config;
use donjon_core::chance::Seed;
use donjon_core::cluster::{Place, Slot};
use donjon_core::fault::Fault;
use donjon_core::key::{Key, Namespace};
use donjon_core::moment::Moment;
use donjon_core::outbox::{Outbox, Target};
use donjon_core::remote::Remote;
use donjon_core::remote::call::{Call, Reply};
use donjon_core::settings::RedisAddress;
use donjon_core::stats::Stats;
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::link::{Greet, Line, Link, Options};
use crate::pubsub::Subscriber;
use crate::runtime::Runtime;

pub use invalidate::Removed;
pub use lease::{Lease, Looked};
pub use lock::Held;
pub use memory::{Keep, Memory};
pub use topology::Topology;
pub use tracker::Watches;
pub use write::{Peeked, WriteError};

use gather::Gather;
use nodes::Nodes;
use renewals::{Renewal, Renewals};
use spread::Manner;
use tracker::{Heed, Tracker};

/// What the engines of one process share, whatever runtimes they run on: loads under way, counters, and the invalidations that are
/// still to be said.
#[derive(Debug)]
pub struct Tier<E: Clone> {
    remote: Remote<E>,
    outbox: Outbox,
    front: Option<Front>,
    /// Rings when nothing is owed any more.
    told: Notify,
    /// When each node of a cluster was last heard from by any of the engines.
    heard: Mutex<BTreeMap<Place, Moment>>,
}

/// Memory in front of the shared tier.
#[derive(Clone, Debug)]
pub struct Front {
    /// What is kept: a [`Near`](donjon_core::near::Near) of the same namespace, on the clock of [`now`](crate::runtime::now).
    pub memory: Arc<dyn Memory>,
    /// What Redis is to tell of.
    pub watches: Watches,
}

impl<E: Clone> Tier<E> {
    /// A tier under `namespace`; a value may have up to `max_value_bytes`. The seed comes from the operating system.
    pub fn new(namespace: Namespace, config: &Config, max_value_bytes: u64, seed: Seed) -> Arc<Self> {
        Self::behind(None, namespace, config, max_value_bytes, seed)
    }

    /// The same behind memory. Reads go on to Redis whatever that has: who asks looks there first, if what it has will do.
    pub fn behind(
        front: Option<Front>,
        namespace: Namespace,
        config: &Config,
        max_value_bytes: u64,
        seed: Seed,
    ) -> Arc<Self> {
        let remote = Remote::new(namespace, config, max_value_bytes, seed);
        Arc::new(Self { remote, outbox: Outbox::default(), front, told: Notify::new(), heard: Mutex::default() })
    }

    /// What is in front.
    pub fn front(&self) -> Option<&Front> {
        self.front.as_ref()
    }

    /// Switches the cache on or off, as [`Remote::switch`] does.
    pub fn switch(&self, enabled: bool) {
        self.remote.switch(enabled);
        if let Some(front) = &self.front {
            front.memory.switch(enabled);
        }
    }

    /// Sets the counters back to zero.
    pub fn reset_stats(&self) {
        self.remote.reset_stats();
        if let Some(front) = &self.front {
            front.memory.reset_stats();
        }
    }

    /// What is decided, and counted.
    pub fn remote(&self) -> &Remote<E> {
        &self.remote
    }

    /// A reading of the counters.
    pub fn stats(&self) -> Stats {
        let mut stats = self.remote.stats();
        stats.queued = self.outbox.batch().targets().len() as u64;
        if let Some(front) = &self.front {
            front.memory.add_to(&mut stats);
        }
        stats
    }

    /// Has memory forget what was found to be swept.
    fn forget_swept(&self, now: Moment) {
        let fresh = self.remote.fresh_sweeps();
        if let Some(front) = &self.front {
            for pattern in &fresh {
                front.memory.forget_matching(pattern, now);
            }
        }
    }

    /// Acts upon the list of what is being swept, where that is read.
    fn heed(self: &Arc<Self>) -> Option<Heed>
    where
        E: Send + Sync + 'static,
    {
        let tier = Arc::clone(self);
        let heed = move |list: &Reply, now| {
            tier.remote.told_of_sweeps(list, now);
            tier.forget_swept(now);
        };
        self.remote.reads_sweeps().then(|| Arc::new(heed) as Heed)
    }

    /// To be called when something owed was said.
    fn tell(&self) {
        if self.outbox.is_empty() {
            self.told.notify_waiters();
        }
    }

    /// When a node was last heard from, by any engine.
    fn heard_at(&self, place: &Place) -> Option<Moment> {
        self.heard.lock().get(place).copied()
    }

    /// The same, where one of them heard from it at a moment that it tells.
    fn hear(&self, place: &Place, own: Option<Moment>) -> Option<Moment> {
        let mut heard = self.heard.lock();
        let latest = heard.get(place).copied().max(own)?;
        heard.insert(place.clone(), latest);
        Some(latest)
    }
}

/// How Redis is reached.
enum Way<R: Runtime, E: Clone + Send + Sync + 'static> {
    /// By one server, which tells of changes where there is memory in front.
    One(Link<R>, Option<Tracker<R>>),
    /// By those that share the keys.
    Many(Arc<Nodes<R, E>>),
}

/// A shared tier over one connection, or over one to each node of a cluster, in one runtime. Clones are the same engine.
pub struct Engine<R: Runtime, E: Clone + Send + Sync + 'static> {
    inner: Arc<Inner<R, E>>,
}

impl<R: Runtime, E: Clone + Send + Sync + 'static> Clone for Engine<R, E> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

struct Inner<R: Runtime, E: Clone + Send + Sync + 'static> {
    tier: Arc<Tier<E>>,
    runtime: R,
    way: Way<R, E>,
    gather: Gather,
    subscriber: Subscriber<R>,
    /// How long a command may wait.
    patience: Duration,
    renewals: Arc<Renewals>,
    /// Held while what is owed is being said.
    replaying: Arc<tokio::sync::Mutex<()>>,
    /// Held while a key is watched.
    watching: tokio::sync::Mutex<()>,
    /// Whether a task waits for Redis to tell it what is owed.
    collects: AtomicBool,
    /// Whether it was said that loads stood still.
    stood_still: AtomicBool,
    /// Whether this user was found not to be allowed scripts.
    is_scriptless: AtomicBool,
}

impl<R: Runtime, E: Clone + Send + Sync + 'static> Engine<R, E> {
    /// An engine that has not connected yet. One a runtime; all of a process share the tier.
    pub fn new(tier: Arc<Tier<E>>, runtime: R, options: Options) -> Self {
        let patience = options.command_budget;
        let subscriber = Subscriber::new(runtime.clone(), options.clone(), tier.remote.names().clone());
        if options.target.address().has_together(tier.remote.names().namespace()) {
            tier.remote.read_sweeps();
        }
        let way = if matches!(options.target.address(), RedisAddress::Cluster { .. }) {
            Way::Many(Nodes::new(Arc::clone(&tier), runtime.clone(), options.clone()))
        } else {
            let (greeted, clock) = (Arc::clone(&tier), runtime.clone());
            let greet = move |line: Line| -> crate::link::Greeting {
                let (tier, runtime) = (Arc::clone(&greeted), clock.clone());
                tier.outbox.reconnected(line.heard_before().unwrap_or_else(|| runtime.now()));
                Box::pin(async move { replay::replay(&tier, &line, &runtime).await })
            };
            let link = Link::new(runtime.clone(), options.clone(), Arc::new(greet));
            let tracker = tier.front.clone().map(|front| {
                // Whoever answers where the one server is, is that server.
                let vouch: Greet = Arc::new(|_| Box::pin(async { Ok(()) }));
                Tracker::new(link.clone(), options, tier.remote.names().clone(), front, vouch, tier.heed())
            });
            Way::One(link, tracker)
        };
        Self {
            inner: Arc::new(Inner {
                tier,
                runtime,
                way,
                gather: Gather::default(),
                subscriber,
                patience,
                renewals: Arc::default(),
                replaying: Arc::default(),
                watching: tokio::sync::Mutex::default(),
                collects: AtomicBool::new(false),
                stood_still: AtomicBool::new(false),
                is_scriptless: AtomicBool::new(false),
            }),
        }
    }

    /// What the engines of this process share.
    pub fn tier(&self) -> &Arc<Tier<E>> {
        &self.inner.tier
    }

    /// Where it runs.
    pub fn runtime(&self) -> &R {
        &self.inner.runtime
    }

    /// The servers, and word of each change of them.
    pub fn topology(&self) -> tokio::sync::watch::Receiver<Arc<Topology>> {
        match &self.inner.way {
            Way::One(link, _) => {
                tokio::sync::watch::Sender::new(Arc::new(Topology::of(link.target(), None, false))).subscribe()
            }
            Way::Many(nodes) => nodes.changes(),
        }
    }

    /// Listens to messages, over a connection of its own.
    pub fn subscriber(&self) -> &Subscriber<R> {
        &self.inner.subscriber
    }

    /// Asks Redis whether it is there.
    ///
    /// # Errors
    ///
    /// [`Fault`] where it is not, or does not let us in.
    pub async fn ping(&self) -> Result<(), Fault> {
        match &self.inner.way {
            Way::One(link, tracker) => {
                tracker.iter().for_each(Tracker::start);
                link.ask(&redis::cmd("PING")).await.map(drop)
            }
            Way::Many(nodes) => {
                let map = nodes.map().await?;
                nodes.track(&map);
                nodes.each(&map, &redis::cmd("PING")).await.map(drop)
            }
        }
    }

    /// Whether Redis, or a node of it, is left alone for now, since it failed.
    pub fn is_left_alone(&self) -> bool {
        match &self.inner.way {
            Way::One(link, _) => link.is_left_alone(),
            Way::Many(nodes) => nodes.is_left_alone(),
        }
    }

    /// Ends the subscriptions, sends what is still owed and closes the connections; waits for neither longer than `within`.
    pub async fn close(&self, within: Duration) {
        self.inner.subscriber.close();
        if !self.inner.tier.outbox.is_empty() {
            let _said_or_not = self.within(within, self.collected()).await;
        }
        match &self.inner.way {
            Way::One(link, tracker) => {
                link.close();
                tracker.iter().for_each(Tracker::close);
            }
            Way::Many(nodes) => nodes.close(),
        }
    }

    fn remote(&self) -> &Remote<E> {
        &self.inner.tier.remote
    }

    fn now(&self) -> Moment {
        self.inner.runtime.now()
    }

    /// The clock of the Redis that has this key. Known from the first connection on; without one, nothing that it decides has arrived.
    fn clock(&self, key: Key<'_>) -> Moment {
        self.known_clock(key).unwrap_or(Moment::from_millis(0))
    }

    fn known_clock(&self, key: Key<'_>) -> Option<Moment> {
        let now = self.now();
        match &self.inner.way {
            Way::One(link, tracker) => {
                // That of the other connection is set right more often.
                let told = tracker.as_ref().and_then(|tracker| tracker.redis_now(now));
                told.or_else(|| link.redis_now(now))
            }
            Way::Many(nodes) => nodes.clock_of(&self.remote().names().key(key), now).or_else(|| nodes.any_clock(now)),
        }
    }

    /// Sees to it that there is a connection to whoever is told of these. Where there is none to be had, what follows finds out.
    async fn connect(&self, targets: &[Target]) {
        match &self.inner.way {
            Way::One(link, _) => drop(link.line().await),
            Way::Many(nodes) => {
                let Ok(map) = nodes.map().await else { return };
                let names = self.remote().names();
                let mut places: Vec<&Place> = targets
                    .iter()
                    .filter_map(|target| Slot::of_target(target, names))
                    .filter_map(|slot| map.owner(slot))
                    .collect();
                places.sort_unstable();
                places.dedup();
                let lines = places.into_iter().map(|place| async { drop(nodes.link(place).line().await) });
                join_all(lines).await;
            }
        }
    }

    /// The open connection, with nothing owed to Redis any more: for what reads.
    async fn settled_line(&self, link: &Link<R>) -> Result<Line, Fault> {
        let open = link.line().await?;
        // Boxed: seldom needed, and on the way of every read.
        if self.inner.tier.outbox.is_empty() { Ok(open) } else { Box::pin(self.settle(open)).await }
    }

    /// Has said what is owed, so far as that can be done now.
    async fn collected(&self) {
        match &self.inner.way {
            Way::One(link, _) => drop(self.settled_line(link).await),
            Way::Many(nodes) => self.say_what_is_owed(nodes).await,
        }
    }

    /// Has said what is owed, and waits for it, though no longer than for a command: a sweep may take its time, and is not begun
    /// anew for each who wants to read.
    #[cold]
    async fn settle(&self, line: Line) -> Result<Line, Fault> {
        if let Ok(begun) = Arc::clone(&self.inner.replaying).try_lock_owned() {
            let (tier, said_on) = (Arc::clone(&self.inner.tier), line.clone());
            let runtime = self.inner.runtime.clone();
            self.inner.runtime.spawn(async move {
                if let Err(fault) = replay::replay(&tier, &said_on, &runtime).await {
                    tier.remote.noticed(&fault);
                }
                drop(begun);
            });
        }
        let ended = self.within(self.inner.patience, self.inner.replaying.lock()).await;
        let is_settled = ended.is_some() && self.inner.tier.outbox.is_empty();
        if is_settled { Ok(line) } else { Err(Fault::Open) }
    }

    /// Waits until nothing is owed any more, by whichever engine it is said; false where that takes longer.
    pub async fn owes_nothing(&self, at_most: Duration) -> bool {
        let told = async {
            loop {
                let mut told = pin!(self.tier().told.notified());
                told.as_mut().enable();
                if self.tier().outbox.is_empty() {
                    return;
                }
                told.await;
            }
        };
        self.within(at_most, told).await.is_some()
    }

    /// Sees to it that what is owed is said as soon as Redis is there again, whether or not anybody reads.
    fn collect(&self) {
        if self.inner.collects.swap(true, Ordering::AcqRel) {
            return;
        }
        let (weak, runtime) = (Arc::downgrade(&self.inner), self.inner.runtime.clone());
        self.inner.runtime.spawn(async move {
            let mut pause = FIRST_TRY;
            loop {
                runtime.sleep(pause).await;
                let Some(inner) = weak.upgrade() else { return };
                Self { inner: Arc::clone(&inner) }.collected().await;
                if inner.tier.outbox.is_empty() {
                    inner.collects.store(false, Ordering::Release);
                    // What was queued in between has found somebody at it.
                    if inner.tier.outbox.is_empty() || inner.collects.swap(true, Ordering::AcqRel) {
                        return;
                    }
                }
                pause = (pause * 2).min(LONGEST_TRY);
            }
        });
    }

    /// Sends calls that may be said twice, and says them again, once, on a new connection, where the old one was lost.
    async fn ask(&self, calls: &[Call]) -> Result<Vec<Reply>, Fault> {
        match &self.inner.way {
            Way::One(..) => match self.ask_once(calls).await {
                Err(Fault::Lost) => self.ask_once(calls).await,
                asked => asked,
            },
            Way::Many(nodes) => self.spread(nodes, calls, Manner::Twice).await,
        }
    }

    /// As [`ask`](Self::ask), once nothing is owed any more.
    async fn read(&self, calls: &[Call]) -> Result<Vec<Reply>, Fault> {
        match &self.inner.way {
            Way::One(..) => match self.read_once(calls).await {
                Err(Fault::Lost) => self.read_once(calls).await,
                asked => asked,
            },
            Way::Many(nodes) => self.spread_settled(nodes, calls, Manner::Twice).await,
        }
    }

    /// As [`read`](Self::read), for what must not be said twice.
    async fn read_once(&self, calls: &[Call]) -> Result<Vec<Reply>, Fault> {
        match &self.inner.way {
            Way::One(link, _) => self.ask_on(self.settled_line(link).await?, calls).await,
            Way::Many(nodes) => self.spread_settled(nodes, calls, Manner::Once).await,
        }
    }

    async fn ask_once(&self, calls: &[Call]) -> Result<Vec<Reply>, Fault> {
        match &self.inner.way {
            Way::One(link, _) => self.ask_on(link.line().await?, calls).await,
            Way::Many(nodes) => self.spread(nodes, calls, Manner::Once).await,
        }
    }

    async fn ask_on(&self, line: Line, calls: &[Call]) -> Result<Vec<Reply>, Fault> {
        if self.inner.is_scriptless.load(Ordering::Relaxed) && calls.iter().any(watch::is_guarded) {
            return watch::ask(&line, calls, &self.inner.watching).await;
        }
        let replies = wire::ask(&line, calls).await?;
        if !watch::is_forbidden(calls, &replies) {
            return Ok(replies);
        }
        if !self.inner.is_scriptless.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "redis forbids EVALSHA to this user: counters, `touch` and locks need it, and loads and tags cost more"
            );
        }
        watch::ask(&line, calls, &self.inner.watching).await
    }

    /// What `future` gives, unless it takes longer.
    async fn within<F: Future>(&self, at_most: Duration, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        let mut late = pin!(self.inner.runtime.sleep(at_most));
        std::future::poll_fn(|context| match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => late.as_mut().poll(context).map(|()| None),
        })
        .await
    }

    /// Sends a call that may be said twice and is answered by a number.
    async fn one(&self, call: Call) -> Result<i64, Fault> {
        match self.ask(&[call]).await?.pop() {
            Some(Reply::Int(number)) => Ok(number),
            Some(Reply::Error(fault)) => Err(fault),
            _ => Err(Fault::Protocol),
        }
    }

    /// Sends calls whose answers nobody needs.
    fn ask_aside(&self, calls: Vec<Call>) {
        if !calls.is_empty() {
            let engine = self.clone();
            self.inner.runtime.spawn(async move { drop(engine.ask(&calls).await) });
        }
    }

    fn renew(&self, call: Call) -> Renewal {
        let (renewal, starts) = self.inner.renewals.add(call);
        if starts {
            let (weak, runtime) = (Arc::downgrade(&self.inner), self.inner.runtime.clone());
            self.inner.runtime.spawn(async move {
                loop {
                    let before = runtime.now();
                    runtime.sleep(RENEW_EVERY).await;
                    let Some(inner) = weak.upgrade() else { return };
                    let stood_still = (runtime.now() - before).saturating_sub(RENEW_EVERY);
                    if stood_still > STILL && !inner.stood_still.swap(true, Ordering::Relaxed) {
                        tracing::warn!(
                            "what runs the loads stood still for {stood_still:?}, too long to keep their leases: what they load is not stored"
                        );
                    }
                    let calls = inner.renewals.round();
                    if calls.is_empty() {
                        return;
                    }
                    // A lease that is not renewed in time is void, which its fill finds out.
                    drop(Self { inner }.ask(&calls).await);
                }
            });
        }
        renewal
    }
}

impl<R: Runtime, E: Clone + Send + Sync + 'static> std::fmt::Debug for Engine<R, E> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Engine").field("names", self.remote().names()).finish_non_exhaustive()
    }
}

/// How soon, and then how often at least, Redis is tried while something is owed.
const FIRST_TRY: Duration = Duration::from_millis(20);
const LONGEST_TRY: Duration = Duration::from_millis(500);

/// A third of a lease.
const RENEW_EVERY: Duration = Duration::from_millis(660);

/// A pause in which a lease runs out.
const STILL: Duration = Duration::from_millis(1_300);
