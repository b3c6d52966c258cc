//! Look: from a key to its value or to the right to load it.

use donjon_core::fault::Fault;
use donjon_core::key::Key;
use donjon_core::payload::Payload;
use donjon_core::remote::call::{Call, Reply};
use donjon_core::remote::look::{Step, Want};
use donjon_core::remote::sight::Sight;
use donjon_core::remote::{Found, See};
use redis::{Cmd, Value};

use super::nodes::Nodes;
use super::via::Via;
use super::{Engine, Lease, Looked, Way, wire};
use crate::runtime::Runtime;

impl<R: Runtime, E: Clone + Send + Sync + 'static> Engine<R, E> {
    /// The value of a key, a stale one included; none where there is none, or where Redis cannot be asked. Never waits for a
    /// load. One round trip, two for a value with tags.
    pub async fn get(&self, key: Key<'_>) -> Option<Payload> {
        if !self.remote().is_enabled() {
            self.remote().count_read(&Sight::Absent, self.clock(key));
            return None;
        }
        let via = self.via();
        if via.is_told() {
            return Box::pin(self.get_via(key, via)).await;
        }
        let mut found = self.fetch(key).await.unwrap_or_else(|fault| {
            self.remote().noticed(&fault);
            Found::default()
        });
        let clock = self.clock(key);
        if let Some(payload) = self.remote().hit(&mut found, clock) {
            return Some(payload);
        }
        let sight = self.judge(key, found).await;
        self.remote().count_read(&sight, clock);
        match sight {
            Sight::Value(seen) => Some(seen.payload),
            _ => None,
        }
    }

    /// A value, or the right to load it: waits for another's load, of this process or another, as long as a load may take.
    /// Where Redis cannot be asked, the right to load without storing.
    pub async fn look(&self, key: Key<'_>, want: Want) -> Looked<R, E> {
        let plain = !want.counted && want.since.is_none() && want.tags.as_ref().is_some_and(|tags| tags.is_empty());
        if !plain || self.tier().front.is_some() || !self.remote().is_enabled() {
            return Box::pin(self.advance(key, self.remote().look(key, want, self.now()))).await;
        }
        let mut fetched = self.fetch(key).await;
        if let Ok(found) = &mut fetched
            && let Some(payload) = self.remote().hit(found, self.clock(key))
        {
            return Looked::Value(payload);
        }
        let step = match self.remote().look(key, want, self.now()) {
            Step::Send(pending, _) => pending.found(fetched, self.now(), self.clock(key)),
            step => step,
        };
        // Boxed, as in `fetch`: most looks find a value, and would carry the room for a load along.
        Box::pin(self.advance(key, step)).await
    }

    /// The right to load without storing, at once.
    pub async fn bypass(&self, key: Key<'_>) -> Looked<R, E> {
        self.advance(key, self.remote().bypass(key, self.now())).await
    }

    async fn advance(&self, key: Key<'_>, mut step: Step<E>) -> Looked<R, E> {
        let mut via = Via::Usual;
        loop {
            step = match step {
                Step::Done(payload) => return Looked::Value(payload),
                Step::Failed(error) => return Looked::Failed(error),
                Step::Later => return Looked::Later,
                Step::Load(right) => return Looked::Load(Lease::new(self, right, None)),
                Step::Stale(payload, right) => return Looked::Load(Lease::new(self, right, Some(payload))),
                Step::Send(pending, calls) if pending.reads() => {
                    if pending.begins() {
                        via = self.via();
                    }
                    let replies = self.read_via(&mut via, &calls).await;
                    let clock = self.clock(key);
                    let outline = replies.as_ref().ok().filter(|_| via.is_told());
                    let is_counter = outline.is_some_and(|replies| pending.is_counter(replies));
                    let outline = outline.and_then(|replies| pending.outline(replies, clock));
                    let step = pending.replied(replies, self.now(), clock);
                    self.heed();
                    match (&step, outline) {
                        (Step::Done(payload), Some(outline)) => self.admit(&via, key, &outline, payload),
                        (Step::Done(payload), None) if is_counter => {
                            let via = std::mem::replace(&mut via, Via::Usual);
                            Box::pin(self.admit_counters(via, &[(key, payload.clone())])).await;
                        }
                        _ => {}
                    }
                    step
                }
                Step::Send(pending, calls) => {
                    let mut claim = Claim { engine: self, given_up: pending.given_up() };
                    let replies =
                        if pending.may_be_repeated() { self.read(&calls).await } else { self.read_once(&calls).await };
                    claim.given_up = None;
                    drop(claim);
                    pending.replied(replies, self.now(), self.clock(key))
                }
                Step::Join(look, joined, at_most) => {
                    let ending = self.within(at_most, joined).await;
                    look.joined(ending, self.now())
                }
                Step::Sleep(look, pause) => {
                    self.inner.runtime.sleep(pause).await;
                    look.slept()
                }
            }
        }
    }

    /// What is under a key, its tags known.
    pub(super) async fn see(&self, key: Key<'_>) -> Result<Sight, Fault> {
        let found = self.fetch(key).await?;
        match self.remote().see(found, self.clock(key)) {
            See::Plain(sight) => Ok(sight),
            See::Tagged(tagged) => {
                let (asking, calls) = self.remote().ask_about([&tagged]);
                asking.replied(self.read(&calls).await?).judge(tagged)
            }
        }
    }

    pub(super) async fn judge(&self, key: Key<'_>, found: Found) -> Sight {
        let judged = match self.remote().see(found, self.clock(key)) {
            See::Plain(sight) => return sight,
            See::Tagged(tagged) => {
                let (asking, calls) = self.remote().ask_about([&tagged]);
                // Boxed, as in `fetch`.
                match Box::pin(self.read(&calls)).await {
                    Ok(replies) => asking.replied(replies).judge(tagged),
                    Err(fault) => Err(fault),
                }
            }
        };
        judged.unwrap_or_else(|fault| {
            self.remote().noticed(&fault);
            Sight::Absent
        })
    }

    /// The bytes under a key, and what is being swept: what is asked on every read.
    async fn fetch(&self, key: Key<'_>) -> Result<Found, Fault> {
        if let Way::Many(_) = self.inner.way {
            return self.fetch_alone(key).await;
        }
        let counted = self.inner.gather.count();
        if !counted.is_alone {
            match self.fetch_together(key).await {
                // Together they may have been more than a reply may have.
                Err(Fault::Protocol) => {}
                found => return found,
            }
        }
        let found = self.fetch_alone(key).await?;
        self.inner.gather.together.saw(found.bytes.iter().map(Vec::len));
        Ok(found)
    }

    /// The same by a command of its own.
    async fn fetch_alone(&self, key: Key<'_>) -> Result<Found, Fault> {
        let names = self.remote().names();
        let command = if self.remote().reads_sweeps() {
            wire::get_with(names.key_parts(key), names.sweeps_parts())
        } else {
            wire::get(names.key_parts(key))
        };
        let asked = match &self.inner.way {
            Way::One(link, _) => match self.settled_line(link).await?.into_ask(&command).await {
                // Boxed, as is all that seldom happens here: the room for it would be taken and moved on every read.
                Err(Fault::Lost) => Box::pin(async { self.settled_line(link).await?.into_ask(&command).await }).await?,
                asked => asked?,
            },
            Way::Many(nodes) => match self.fetch_from_owner(nodes, key, &command).await {
                Some(asked) => asked,
                None => return Box::pin(self.fetch_spread(key)).await,
            },
        };
        let [value, list] = match asked {
            Value::Array(both) => <[Value; 2]>::try_from(both).map_err(|_| Fault::Protocol)?,
            alone => [alone, Value::Nil],
        };
        let found = self.remote().found(key, bytes(value)?, bytes(list)?.as_deref(), self.now());
        self.heed();
        Ok(found)
    }

    /// What the node has that has the key by the map; none where that needs a second thought.
    async fn fetch_from_owner(&self, nodes: &Nodes<R, E>, key: Key<'_>, command: &Cmd) -> Option<Value> {
        let line = nodes.link_of(&self.remote().names().key(key))?.line().await.ok()?;
        if !self.inner.tier.outbox.is_empty() {
            return None;
        }
        line.into_ask(command).await.ok()
    }

    async fn fetch_spread(&self, key: Key<'_>) -> Result<Found, Fault> {
        let reply = self.read(&[self.remote().get_many(&[key])]).await?.pop().ok_or(Fault::Protocol)?;
        let found = self.remote().found_many(&[key], reply, self.now());
        self.heed();
        found?.pop().ok_or(Fault::Protocol)
    }
}

/// The bytes that were answered; none where there is nothing.
fn bytes(value: Value) -> Result<Option<Vec<u8>>, Fault> {
    match value {
        Value::BulkString(bytes) => Ok(Some(bytes)),
        Value::Nil => Ok(None),
        value => match wire::reply(value) {
            Reply::Bytes(bytes) => Ok(Some(bytes)),
            _ => Err(Fault::Protocol),
        },
    }
}

/// Commands that may take a lease: where their caller goes away amid them, the lease is given up.
struct Claim<'e, R: Runtime, E: Clone + Send + Sync + 'static> {
    engine: &'e Engine<R, E>,
    given_up: Option<Call>,
}

impl<R: Runtime, E: Clone + Send + Sync + 'static> Drop for Claim<'_, R, E> {
    fn drop(&mut self) {
        self.engine.ask_aside(self.given_up.take().into_iter().collect());
    }
}
