//! Via: over which connection a read goes, and what memory in front may have of its answers.
//!
//! Invariant: what was asked under a guard and answered on another connection than the guard's enters nowhere.

use donjon_core::fault::Fault;
use donjon_core::key::Key;
use donjon_core::near::Guard;
use donjon_core::outbox::Target;
use donjon_core::pattern::Pattern;
use donjon_core::payload::Payload;
use donjon_core::remote::See;
use donjon_core::remote::call::{Call, Reply};
use donjon_core::remote::sight::{Outline, Sight};

use super::{Engine, watch, wire};
use crate::link::Line;
use crate::runtime::Runtime;

/// The connection that is told of changes, where there is one to read on; the usual one otherwise.
pub(super) struct Via(Option<(Line, Guard)>);

impl Via {
    /// The usual connection.
    pub(super) const USUAL: Self = Self(None);

    /// Whether memory may have what is answered.
    pub(super) fn is_told(&self) -> bool {
        self.0.is_some()
    }
}

impl<R: Runtime, E: Clone + Send + Sync + 'static> Engine<R, E> {
    /// Where to read from now on. While something is owed, where that is said first.
    pub(super) fn via(&self) -> Via {
        let tracker = self.inner.tracker.as_ref().filter(|_| self.tier().outbox.is_empty());
        Via(tracker.and_then(super::tracker::Tracker::line))
    }

    /// Sends what only reads.
    pub(super) async fn read_via(&self, via: &mut Via, calls: &[Call]) -> Result<Vec<Reply>, Fault> {
        if let Some((line, _)) = &via.0
            && let Ok(replies) = wire::ask(line, calls).await
        {
            return Ok(replies);
        }
        *via = Via::USUAL;
        self.read(calls).await
    }

    /// Sends what stores a value, and may be said twice.
    pub(super) async fn store_via(&self, via: &mut Via, calls: &[Call]) -> Result<Vec<Reply>, Fault> {
        if let Some((line, _)) = &via.0
            && let Ok(replies) = wire::ask(line, calls).await
            && !watch::is_forbidden(calls, &replies)
        {
            return Ok(replies);
        }
        *via = Via::USUAL;
        self.ask(calls).await
    }

    /// Lets memory have what came that way. A user who may not ask Redis for its time has nothing in memory, as nobody would know
    /// when it is over.
    pub(super) fn admit(&self, via: &Via, key: Key<'_>, outline: &Outline, payload: &Payload) {
        if let (Some((_, guard)), Some(front), Some(clock)) = (&via.0, &self.tier().front, self.known_clock(key)) {
            front.memory.admit(guard, key, (outline, payload), self.now(), clock);
        }
    }

    /// As [`get`](Self::get), of what memory may have then.
    pub(super) async fn get_via(&self, key: Key<'_>, via: Via) -> Option<Payload> {
        self.get_many_via(&[key], via).await.pop().flatten()
    }

    /// As [`get_many`](Self::get_many), of what memory may have then.
    pub(super) async fn get_many_via(&self, keys: &[Key<'_>], mut via: Via) -> Vec<Option<Payload>> {
        let sights = self.see_via(keys, &mut via).await.unwrap_or_else(|fault| {
            self.remote().noticed(&fault);
            keys.iter().map(|_| Sight::Absent).collect()
        });
        let (mut found, mut counters) = (Vec::with_capacity(keys.len()), Vec::new());
        for (key, sight) in keys.iter().zip(sights) {
            let clock = self.clock(*key);
            self.remote().count_read(&sight, clock);
            let Sight::Value(seen) = sight else {
                found.push(None);
                continue;
            };
            if let Some(outline) = seen.outline(clock) {
                self.admit(&via, *key, &outline, &seen.payload);
            } else if seen.counter {
                counters.push((*key, seen.payload.clone()));
            }
            found.push(Some(seen.payload));
        }
        self.admit_counters(via, &counters).await;
        found
    }

    /// As `admit`, of counters: how long each lives is asked first, and their changes since they were read keep them out.
    pub(super) async fn admit_counters(&self, mut via: Via, counters: &[(Key<'_>, Payload)]) {
        if counters.is_empty() || !via.is_told() {
            return;
        }
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

    async fn see_via(&self, keys: &[Key<'_>], via: &mut Via) -> Result<Vec<Sight>, Fault> {
        let names = keys.iter().map(|key| self.remote().names().key(*key).into());
        let call = Call::Plain(std::iter::once(b"MGET"[..].into()).chain(names).collect());
        let found = match self.read_via(via, &[call]).await?.pop() {
            Some(Reply::List(found)) if found.len() == keys.len() => found,
            Some(Reply::Error(fault)) => return Err(fault),
            _ => return Err(Fault::Protocol),
        };
        let (mut sights, mut tagged) = (Vec::with_capacity(found.len()), Vec::new());
        for (place, reply) in found.into_iter().enumerate() {
            let bytes = if let Reply::Bytes(bytes) = reply { Some(bytes) } else { None };
            match self.remote().see(bytes, self.clock(keys[place])) {
                See::Plain(sight) => sights.push(sight),
                See::Tagged(asked, calls) => {
                    sights.push(Sight::Absent);
                    tagged.push((place, asked, calls));
                }
            }
        }
        let calls: Vec<Call> = tagged.iter().flat_map(|(_, _, calls)| calls.iter().cloned()).collect();
        if calls.is_empty() {
            return Ok(sights);
        }
        let mut replies = self.read_via(via, &calls).await?.into_iter();
        for (place, asked, calls) in tagged {
            let own = replies.by_ref().take(calls.len()).collect();
            if let Ok(sight) = asked.replied(own) {
                sights[place] = sight;
            }
        }
        Ok(sights)
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
