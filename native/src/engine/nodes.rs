//! Nodes: the servers that what is asked is dealt out to: a link to each, and the map that says who has what.
//!
//! Owns who is connected to, when the cluster is asked for its map, and that the outbox hears of all that could have undone what was
//! said: a new connection, another owner. Must not know what is asked. Invariants: before anybody can read by a new map, or over a new
//! connection, what may be missing there waits in the outbox; and memory believes nothing of who lost a slot from before it did.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use donjon_core::cluster::{Place, Redirect, Slot, SlotMap};
use donjon_core::fault::Fault;
use donjon_core::moment::Moment;
use donjon_core::near::Guard;
use donjon_core::outbox::Target;
use donjon_core::remote::name::Names;
use donjon_core::settings::RedisAddress;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use redis::Value;
use tokio::sync::watch;

use super::topology::Topology;
use super::tracker::Tracker;
use super::{Tier, replay, wire};
use crate::link::{Greet, Greeting, Line, Link, Options};
use crate::runtime::Runtime;

pub(super) struct Nodes<R: Runtime, E: Clone + Send + Sync + 'static> {
    tier: Arc<Tier<E>>,
    runtime: R,
    options: Options,
    myself: Weak<Self>,
    state: Mutex<State<R>>,
    /// Held while the cluster is asked for its map.
    asking: tokio::sync::Mutex<()>,
    changes: watch::Sender<Arc<Topology>>,
}

struct State<R: Runtime> {
    map: Option<Arc<SlotMap>>,
    links: BTreeMap<Place, Link<R>>,
    /// For each primary that was read from, where there is memory in front.
    trackers: BTreeMap<Place, Arc<Tracker<R>>>,
    /// How often the cluster was asked for its map, and when it was last.
    asked: u64,
    asked_at: Option<Moment>,
    is_closed: bool,
}

impl<R: Runtime, E: Clone + Send + Sync + 'static> Nodes<R, E> {
    pub(super) fn new(tier: Arc<Tier<E>>, runtime: R, options: Options) -> Arc<Self> {
        Arc::new_cyclic(|myself| {
            let (links, trackers) = (BTreeMap::new(), BTreeMap::new());
            let state = State { map: None, links, trackers, asked: 0, asked_at: None, is_closed: false };
            let (state, asking) = (Mutex::new(state), tokio::sync::Mutex::default());
            let changes = watch::Sender::new(Arc::new(Topology::of(&options.target, None, true)));
            Self { tier, runtime, options, myself: myself.clone(), state, asking, changes }
        })
    }

    fn names(&self) -> &Names {
        self.tier.remote.names()
    }

    /// The map, asked for now where there is none.
    pub(super) async fn map(&self) -> Result<Arc<SlotMap>, Fault> {
        let map = self.known_map();
        // Boxed: seldom needed, and on the way of every call.
        if let Some(map) = map { Ok(map) } else { Box::pin(self.ask_for_map()).await }
    }

    pub(super) fn known_map(&self) -> Option<Arc<SlotMap>> {
        self.state.lock().map.clone()
    }

    /// The map as it is now: asked for after this was called.
    pub(super) async fn ask_for_map(&self) -> Result<Arc<SlotMap>, Fault> {
        let before = self.state.lock().asked;
        let _alone = self.asking.lock().await;
        {
            let mut state = self.state.lock();
            if state.asked > before
                && let Some(map) = &state.map
            {
                return Ok(Arc::clone(map));
            }
            state.asked += 1;
            state.asked_at = Some(self.runtime.now());
        }
        let mut worst = Fault::Unreachable;
        for some in self.whom_to_ask() {
            match self.poll(&some).await {
                Ok(map) => return Ok(self.adopt(|_| map)),
                Err(fault) => worst = fault,
            }
        }
        Err(worst)
    }

    /// Some primaries; others only where none of these answers, as each of them would need a connection.
    fn whom_to_ask(&self) -> Vec<Vec<Place>> {
        let known = self.options.known.list();
        let others: Vec<Place> = known.into_iter().map(|(host, port)| Place::new(&host, port)).collect();
        let primaries = self.known_map().map(|map| map.primaries().to_vec()).unwrap_or_default();
        let others = others.into_iter().filter(|place| !primaries.contains(place)).collect::<Vec<_>>();
        [primaries, others].iter().flat_map(|places| places.chunks(AT_ONCE)).map(<[Place]>::to_vec).collect()
    }

    /// What most of some nodes say: of those that answer before half of them have.
    async fn poll(&self, places: &[Place]) -> Result<SlotMap, Fault> {
        let mut asked: FuturesUnordered<_> = places
            .iter()
            .map(|place| async move {
                let reply = self.link(place).ask(redis::cmd("CLUSTER").arg("SLOTS")).await?;
                SlotMap::read(wire::reply(reply), place)
            })
            .collect();
        let (mut answers, mut worst) = (Vec::new(), Fault::Unreachable);
        while let Some(answer) = asked.next().await {
            match answer {
                Ok(map) => answers.push(map),
                Err(fault) if matches!(fault, Fault::Server { .. }) => worst = fault,
                Err(_) => {}
            }
            if answers.len() * 2 > places.len() {
                break;
            }
        }
        SlotMap::agreed(&answers).ok_or(worst)
    }

    /// Asks for the map, unless that was done a moment ago. Whether it is another.
    pub(super) async fn look_around(&self) -> bool {
        let before = self.known_map();
        self.is_due() && Box::pin(self.ask_for_map()).await.is_ok_and(|map| before.is_none_or(|before| *before != *map))
    }

    fn is_due(&self) -> bool {
        self.state.lock().asked_at.is_none_or(|at| self.runtime.now() - at >= ASK_EVERY)
    }

    /// A slot is somewhere else, as a redirection says.
    pub(super) fn moved(&self, slot: Slot, to: &Place) {
        let is_news = |map: &Arc<SlotMap>| map.owner(slot) != Some(to);
        if !self.known_map().as_ref().is_some_and(is_news) {
            return;
        }
        self.adopt(|map| {
            let mut map = map.clone();
            map.moved(slot, to);
            map
        });
        // It is seldom one alone.
        if self.is_due()
            && let Some(nodes) = self.myself.upgrade()
        {
            self.runtime.spawn(async move {
                nodes.look_around().await;
            });
        }
    }

    /// Goes by another map from now on.
    fn adopt(&self, change: impl FnOnce(&SlotMap) -> SlotMap) -> Arc<SlotMap> {
        let mut state = self.state.lock();
        let before = state.map.clone();
        let map = Arc::new(change(before.as_deref().unwrap_or(&SlotMap::default())));
        let ears = self.ears_of(&state);
        match &before {
            // What the other engines of this process said, may have been said to others than those that are there now.
            None => self.tier.outbox.taken_over(|target| Some(ears.of(target))),
            Some(before) if before.has_lost(&map) => self.tier.outbox.taken_over(|target| {
                let slot = Slot::of_target(target, self.names());
                slot.is_none_or(|slot| before.differs(&map, slot)).then(|| ears.of(target))
            }),
            Some(before) if before != &map => self.tier.outbox.moved(|target| {
                let slot = Slot::of_target(target, self.names());
                slot.is_some_and(|slot| before.differs(&map, slot)).then(|| ears.of(target))
            }),
            Some(_) => {}
        }
        state.map = Some(Arc::clone(&map));
        let (kept, gone) = std::mem::take(&mut state.links)
            .into_iter()
            .partition::<BTreeMap<_, _>, _>(|(place, _)| map.primaries().contains(place));
        state.links = kept;
        let losers = before.as_ref().map(|before| before.losers(&map)).unwrap_or_default();
        for loser in losers {
            state.trackers.get(loser).iter().for_each(|tracker| tracker.forget());
        }
        let (kept, untold) = std::mem::take(&mut state.trackers)
            .into_iter()
            .partition::<BTreeMap<_, _>, _>(|(place, _)| self.has_some(&map, place));
        state.trackers = kept;
        drop(state);
        drop(untold);
        if before.as_ref() == Some(&map) && gone.is_empty() {
            return map;
        }
        // Who has asked on one of these still gets an answer.
        let (runtime, patience) = (self.runtime.clone(), self.options.command_budget);
        self.runtime.spawn(async move {
            runtime.sleep(patience).await;
            drop(gone);
        });
        let mut known: Vec<(String, u16)> = map.nodes().map(|place| (place.host.to_string(), place.port)).collect();
        if let RedisAddress::Cluster { seeds, .. } = self.options.target.address() {
            let others: Vec<(String, u16)> = seeds.iter().filter(|seed| !known.contains(seed)).cloned().collect();
            known.extend(others);
        }
        self.options.known.set(known);
        self.changes.send_replace(Arc::new(Topology::of(&self.options.target, Some(&map), true)));
        map
    }

    /// Tells of each new map.
    pub(super) fn changes(&self) -> watch::Receiver<Arc<Topology>> {
        self.changes.subscribe()
    }

    /// The link to a node.
    pub(super) fn link(&self, place: &Place) -> Link<R> {
        let mut state = self.state.lock();
        if let Some(link) = state.links.get(place) {
            return link.clone();
        }
        let mut options = self.options.clone();
        options.target = options.target.server(&place.host, place.port);
        let link = Link::new(self.runtime.clone(), options, self.greet(place));
        if state.is_closed {
            link.close();
        }
        state.links.insert(place.clone(), link.clone());
        link
    }

    /// The link to whoever has a name; none while that is not known.
    pub(super) fn link_of(&self, name: &[u8]) -> Option<Link<R>> {
        let place = self.known_map()?.owner(Slot::of(name))?.clone();
        Some(self.link(&place))
    }

    /// The clock of whoever has a name.
    pub(super) fn clock_of(&self, name: &[u8], now: Moment) -> Option<Moment> {
        let place = self.known_map()?.owner(Slot::of(name))?.clone();
        // That of the other connection is set right more often.
        let told = self.state.lock().trackers.get(&place).and_then(|tracker| tracker.redis_now(now));
        told.or_else(|| self.link(&place).redis_now(now))
    }

    /// Redis's clock, by any node that told it.
    pub(super) fn any_clock(&self, now: Moment) -> Option<Moment> {
        self.state.lock().links.values().find_map(|link| link.redis_now(now))
    }

    /// Whether one of them is left alone for now, since it failed.
    pub(super) fn is_left_alone(&self) -> bool {
        self.state.lock().links.values().any(Link::is_left_alone)
    }

    /// Where a primary can be read and tells of what changes, if it does by now; and under what that is asked.
    pub(super) fn told(&self, place: &Place) -> Option<(Line, Guard)> {
        let (front, link) = (self.tier.front.clone()?, self.link(place));
        let mut state = self.state.lock();
        let map = state.map.as_ref()?;
        if state.is_closed || !self.has_some(map, place) {
            return None;
        }
        let tracker = state.trackers.entry(place.clone()).or_insert_with(|| {
            let mut options = self.options.clone();
            options.target = link.target().clone();
            Arc::new(Tracker::new(link, options, self.names().clone(), front, self.vouch(place), self.tier.heed()))
        });
        let tracker = Arc::clone(tracker);
        drop(state);
        tracker.line()
    }

    /// Whether a node is a primary that has something of the namespace.
    fn has_some(&self, map: &SlotMap, place: &Place) -> bool {
        let names = self.names();
        map.primaries().contains(place) && (!names.namespace().is_in_braces() || map.sign_of(place, names).is_some())
    }

    /// Sees to it that each primary will tell of what changes, where there is memory in front.
    pub(super) fn track(&self, map: &SlotMap) {
        for place in map.primaries() {
            let _by_now_or_later = self.told(place);
        }
    }

    /// Asks a node for what only its primary answers: one that another took over from lives on, and would be told of nothing.
    fn vouch(&self, place: &Place) -> Greet {
        let (myself, place) = (self.myself.clone(), place.clone());
        let last = Mutex::new(Vec::new());
        let name = move |nodes: &Self, place: &Place| {
            let map = nodes.known_map()?;
            let mut last = last.lock();
            if last.is_empty() || map.owner(Slot::of(&last)) != Some(place) {
                *last = map.sign_of(place, nodes.names())?;
            }
            Some(last.clone())
        };
        Arc::new(move |line: Line| -> Greeting {
            let (nodes, place) = (myself.upgrade(), place.clone());
            let name = nodes.as_ref().and_then(|nodes| name(nodes, &place));
            Box::pin(async move {
                let (Some(nodes), Some(name)) = (nodes, name) else { return Err(Fault::Unreachable) };
                let Err(fault) = line.ask(redis::cmd("PTTL").arg(name)).await else { return Ok(()) };
                if let Some(Redirect::Moved(slot, to)) = Redirect::of(&fault, &place) {
                    nodes.moved(slot, &to);
                }
                Err(fault)
            })
        })
    }

    fn greet(&self, place: &Place) -> Greet {
        let (myself, place) = (self.myself.clone(), place.clone());
        Arc::new(move |line: Line| -> Greeting {
            let (nodes, place) = (myself.upgrade(), place.clone());
            if let Some(nodes) = &nodes {
                nodes.connected(&place, line.heard_before());
            }
            Box::pin(async move {
                match nodes {
                    Some(nodes) => replay::replay_at(&nodes.tier, &nodes, &place, &line, &nodes.runtime).await,
                    None => Err(Fault::Unreachable),
                }
            })
        })
    }

    /// There is a new connection: what was said over the one before may be lost.
    fn connected(&self, place: &Place, heard: Option<Moment>) {
        let ears = self.ears();
        // Nothing was said to who is no primary, and before there is a map.
        if !ears.heard.contains_key(place) {
            return;
        }
        let now = self.runtime.now();
        let heard = heard.or_else(|| self.tier.heard_at(place)).unwrap_or(now);
        self.tier.outbox.taken_over(|target| match Slot::of_target(target, self.names()) {
            Some(slot) => {
                ears.map.as_ref().and_then(|map| map.owner(slot)).filter(|owner| *owner == place).map(|_| heard)
            }
            None => Some(ears.of(target).min(heard)),
        });
    }

    /// Whether a key or a tag is for this node to be told of; a pattern is for all of them together.
    pub(super) fn is_at(map: &SlotMap, names: &Names, place: &Place, target: &Target) -> bool {
        Slot::of_target(target, names).is_some_and(|slot| map.owner(slot) == Some(place))
    }

    /// When each node was last heard from.
    pub(super) fn ears(&self) -> Ears<'_> {
        self.ears_of(&self.state.lock())
    }

    fn ears_of(&self, state: &State<R>) -> Ears<'_> {
        let now = self.runtime.now();
        let primaries = state.map.as_ref().map_or(&[][..], |map| map.primaries());
        let heard = primaries.iter().map(|place| {
            let own = state.links.get(place).and_then(Link::heard);
            let heard = self.tier.hear(place, own).unwrap_or(now);
            (place.clone(), heard)
        });
        let heard: BTreeMap<Place, Moment> = heard.collect();
        let earliest = heard.values().min().copied().unwrap_or(now);
        Ears { names: self.names(), map: state.map.clone(), heard, earliest }
    }

    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        let links: Vec<Link<R>> = state.links.values().cloned().collect();
        let trackers = std::mem::take(&mut state.trackers);
        drop(state);
        drop(trackers);
        for link in links {
            link.close();
        }
    }

    /// Asks each primary the same, of itself; the first fault where one does not answer.
    pub(super) async fn each(&self, map: &SlotMap, command: &redis::Cmd) -> Result<Vec<Value>, Fault> {
        let asked = map.primaries().iter().map(|place| async move { self.link(place).ask(command).await });
        futures_util::future::try_join_all(asked).await
    }
}

/// When each node was last heard from, for what it was told.
pub(super) struct Ears<'n> {
    names: &'n Names,
    map: Option<Arc<SlotMap>>,
    heard: BTreeMap<Place, Moment>,
    earliest: Moment,
}

impl Ears<'_> {
    pub(super) fn of(&self, target: &Target) -> Moment {
        let slot = Slot::of_target(target, self.names);
        let owner = slot.and_then(|slot| self.map.as_ref()?.owner(slot));
        owner.and_then(|place| self.heard.get(place)).copied().unwrap_or(self.earliest)
    }
}

/// As many nodes are asked for the map at a time.
const AT_ONCE: usize = 5;

/// The map is not asked for more often than that on account of trouble.
const ASK_EVERY: Duration = Duration::from_millis(100);
