//! Via: over which connection a read goes, and what memory in front may have of its answers.
//!
//! Invariants: what was asked under a guard and answered on another connection than the guard's enters nowhere; in a cluster, what
//! rests on many nodes enters only where each of them answered on such a connection.

use std::collections::BTreeMap;
use std::sync::Arc;

use donjon_core::cluster::{Place, Redirect, Slot, SlotMap, is_held_back};
use donjon_core::fault::Fault;
use donjon_core::key::Key;
use donjon_core::near::Guard;
use donjon_core::outbox::Target;
use donjon_core::pattern::Pattern;
use donjon_core::payload::Payload;
use donjon_core::remote::call::{Call, Reply};
use donjon_core::remote::sight::Outline;
use futures_util::future::join_all;

use super::nodes::Nodes;
use super::{Engine, Way, watch, wire};
use crate::link::Line;
use crate::runtime::Runtime;

/// The connections that are told of changes, where there are some to read on; the usual ones otherwise.
pub(super) enum Via {
    /// The usual ones.
    Usual,
    /// That of the one server.
    One(Line, Guard),
    /// Those of the nodes, each found when it is first asked.
    Many(Told),
}

/// Which nodes of a cluster were asked where memory may have what they answer.
pub(super) struct Told {
    map: Arc<SlotMap>,
    /// None for a node that answered, or had to be asked, in another way.
    nodes: BTreeMap<Place, Option<(Line, Guard)>>,
}

impl Told {
    /// Under what a name was asked for.
    fn guard(&self, name: &[u8]) -> Option<&Guard> {
        let (_, guard) = self.nodes.get(self.map.owner(Slot::of(name))?)?.as_ref()?;
        Some(guard)
    }
}

impl Via {
    /// Whether memory may have what is answered.
    pub(super) fn is_told(&self) -> bool {
        !matches!(self, Self::Usual)
    }
}

/// Whether calls change anything.
#[derive(Clone, Copy)]
enum Kind {
    Reads,
    Stores,
}

impl<R: Runtime, E: Clone + Send + Sync + 'static> Engine<R, E> {
    /// Where to read from now on. While something is owed, where that is said first.
    pub(super) fn via(&self) -> Via {
        match &self.inner.way {
            Way::One(_, Some(tracker)) if self.tier().outbox.is_empty() => {
                tracker.line().map_or(Via::Usual, |(line, guard)| Via::One(line, guard))
            }
            Way::Many(nodes) if self.tier().front.is_some() => match nodes.known_map() {
                Some(map) => Via::Many(Told { map, nodes: BTreeMap::new() }),
                None => Via::Usual,
            },
            Way::One(..) | Way::Many(_) => Via::Usual,
        }
    }

    /// Sends what only reads.
    pub(super) async fn read_via(&self, via: &mut Via, calls: &[Call]) -> Result<Vec<Reply>, Fault> {
        self.ask_via(via, calls, Kind::Reads).await
    }

    /// Sends what stores a value, and may be said twice.
    pub(super) async fn store_via(&self, via: &mut Via, calls: &[Call]) -> Result<Vec<Reply>, Fault> {
        self.ask_via(via, calls, Kind::Stores).await
    }

    async fn ask_via(&self, via: &mut Via, calls: &[Call], kind: Kind) -> Result<Vec<Reply>, Fault> {
        match (&mut *via, &self.inner.way) {
            (Via::One(line, _), _) => {
                if let Ok(replies) = wire::ask(line, calls).await
                    && !watch::is_forbidden(calls, &replies)
                {
                    return Ok(replies);
                }
            }
            // Boxed: the room for it would be taken and moved on every read.
            (Via::Many(told), Way::Many(nodes)) => return Box::pin(self.ask_told(nodes, told, calls, kind)).await,
            _ => {}
        }
        *via = Via::Usual;
        self.ask_usual(calls, kind).await
    }

    async fn ask_usual(&self, calls: &[Call], kind: Kind) -> Result<Vec<Reply>, Fault> {
        match kind {
            Kind::Reads => self.read(calls).await,
            Kind::Stores => self.ask(calls).await,
        }
    }

    /// Asks each node where it is told of changes, and in the usual way what cannot be asked there.
    async fn ask_told(
        &self,
        nodes: &Nodes<R, E>,
        told: &mut Told,
        calls: &[Call],
        kind: Kind,
    ) -> Result<Vec<Reply>, Fault> {
        let mut groups: BTreeMap<Place, Vec<usize>> = BTreeMap::new();
        let mut left = Vec::new();
        for (at, call) in calls.iter().enumerate() {
            match Slot::of_call(call).and_then(|slot| told.map.owner(slot)) {
                Some(place) => groups.entry(place.clone()).or_default().push(at),
                None => left.push(at),
            }
        }
        let asked: Vec<_> = groups
            .into_iter()
            .map(|(place, group)| {
                let found = told.nodes.entry(place.clone()).or_insert_with(|| nodes.told(&place));
                let line = found.as_ref().map(|(line, _)| line.clone());
                async move {
                    let own: Vec<Call> = group.iter().map(|at| calls[*at].clone()).collect();
                    let replies = match line {
                        Some(line) => self.ask_node(&place, &line, &own).await,
                        None => None,
                    };
                    (place, group, replies)
                }
            })
            .collect();
        let mut replies: Vec<Reply> = calls.iter().map(|_| Reply::Nil).collect();
        for (place, group, own) in join_all(asked).await {
            if let Some(own) = own {
                group.into_iter().zip(own).for_each(|(at, reply)| replies[at] = reply);
            } else {
                told.nodes.insert(place, None);
                left.extend(group);
            }
        }
        if left.is_empty() {
            return Ok(replies);
        }
        // In the order of the calls, as what is asked of one key may build on one another.
        left.sort_unstable();
        let again: Vec<Call> = left.iter().map(|at| calls[*at].clone()).collect();
        match self.ask_usual(&again, kind).await {
            Ok(own) => left.into_iter().zip(own).for_each(|(at, reply)| replies[at] = reply),
            Err(fault) if left.len() == calls.len() => return Err(fault),
            Err(fault) => left.into_iter().for_each(|at| replies[at] = Reply::Error(fault.clone())),
        }
        Ok(replies)
    }

    /// What a node answers of what is its own to answer, and of which nothing is owed; none where it has to be asked in another way.
    async fn ask_node(&self, place: &Place, line: &Line, calls: &[Call]) -> Option<Vec<Reply>> {
        if calls.iter().any(|call| is_held_back(call, &self.tier().outbox, self.remote().names())) {
            return None;
        }
        let replies = wire::ask(line, calls).await.ok()?;
        let is_elsewhere = |reply: &Reply| matches!(reply, Reply::Error(fault) if Redirect::of(fault, place).is_some());
        let is_whole = !replies.iter().any(is_elsewhere) && !watch::is_forbidden(calls, &replies);
        is_whole.then_some(replies)
    }

    /// Lets memory have what came that way. A user who may not ask Redis for its time has nothing in memory, as nobody would know
    /// when it is over.
    pub(super) fn admit(&self, via: &Via, key: Key<'_>, outline: &Outline, payload: &Payload) {
        let Some(front) = &self.tier().front else { return };
        if let (Some(guard), Some(clock)) = (self.guard_of(via, key, outline), self.known_clock(key)) {
            front.memory.admit(&guard, key, (outline, payload), self.now(), clock);
        }
    }

    /// Under what all was asked for that a value rests on.
    fn guard_of(&self, via: &Via, key: Key<'_>, outline: &Outline) -> Option<Guard> {
        match via {
            Via::Usual => None,
            Via::One(_, guard) => Some(guard.clone()),
            Via::Many(told) => {
                let names = self.remote().names();
                let own = told.guard(&names.key(key))?.clone();
                outline.names_of_tables(names).try_fold(own, |guard, table| Some(guard.and(told.guard(&table)?)))
            }
        }
    }

    /// As `admit`, of counters: how long each lives is asked first, and their changes since they were read keep them out.
    pub(super) async fn admit_counters(&self, mut via: Via, counters: &[(Key<'_>, Payload)]) {
        let calls: Vec<Call> = counters.iter().map(|(key, _)| self.remote().lasts(*key)).collect();
        let Ok(replies) = self.read_via(&mut via, &calls).await else { return };
        for ((key, payload), reply) in counters.iter().zip(replies) {
            if let Reply::Int(millis) = reply
                && let Some(outline) = Outline::of_counter(millis, self.clock(*key))
            {
                self.admit(&via, *key, &outline, payload);
            }
        }
    }

    /// This process is about to change keys, or just has.
    pub(super) fn forget(&self, keys: &[Key<'_>]) {
        if let Some(front) = &self.tier().front {
            let now = self.now();
            for key in keys {
                front.memory.forget(*key, now);
            }
        }
    }

    /// As `forget`, of the keys that match.
    pub(super) fn forget_matching(&self, pattern: &Pattern) {
        if let Some(front) = &self.tier().front {
            front.memory.forget_matching(pattern, self.now());
        }
    }

    /// As `forget`, of what an invalidation covers.
    pub(super) fn forget_targets(&self, targets: &[Target]) {
        for target in targets {
            match target {
                Target::Key(key) => {
                    if let Ok(key) = Key::new(key) {
                        self.forget(&[key]);
                    }
                }
                Target::Pattern(glob) => {
                    if let Ok(pattern) = Pattern::new(glob) {
                        self.forget_matching(&pattern);
                    }
                }
                Target::Tag(tag) => self.forget_tags(&[tag]),
                Target::Everything => self.forget_matching(&super::replay::everything()),
            }
        }
    }

    /// As `forget`, of what carries one of these tags.
    pub(super) fn forget_tags<N: AsRef<str>>(&self, tags: &[N]) {
        if let Some(front) = &self.tier().front {
            front.memory.forget_tags(&tags.iter().map(AsRef::as_ref).collect::<Vec<_>>());
        }
    }
}
