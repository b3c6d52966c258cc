//! Write: values stored and changed by hand.
//!
//! Invariant: a value that does not arrive for certain becomes an invalidation of its key, since what is there is older.

use std::sync::Arc;
use std::time::Duration;

use donjon_core::entry::Freshness;
use donjon_core::expiry::Ttl;
use donjon_core::fault::Fault;
use donjon_core::key::Key;
use donjon_core::moment::Moment;
use donjon_core::payload::Payload;
use donjon_core::remote::call::{Call, Reply};
use donjon_core::remote::sight::{Header, Seen, Sight};
use donjon_core::remote::{Notes, See, Storing};

use super::{Engine, Way, replay};
use crate::runtime::Runtime;

/// Why a value was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// Redis could not be asked, or refused.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// What is under the key is no integer.
    #[error("{key} holds no 64-bit integer: delete it, or count elsewhere")]
    NotACounter {
        /// The key.
        key: Box<str>,
    },
    /// The sum is none that a counter can hold.
    #[error("{key} would leave 64 bits")]
    Overflow {
        /// The key.
        key: Box<str>,
    },
}

/// What is known of a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Peeked {
    /// Whether it is past its time to live, within its grace.
    pub stale: bool,
    /// How long it is still fresh; `None` for ever.
    pub fresh_for: Option<Duration>,
    /// How long it may still be served; `None` for ever.
    pub usable_for: Option<Duration>,
    /// How long its load took.
    pub load_time: Duration,
    /// Bytes of the value.
    pub bytes: usize,
    /// The tags it carries.
    pub tags: Vec<Box<str>>,
}

impl<R: Runtime, E: Clone + Send + Sync + 'static> Engine<R, E> {
    /// Stores a value, whatever is there or is being loaded. False where it did not arrive: then the key is invalidated, at once or
    /// as soon as Redis can be reached. One round trip, two with tags.
    ///
    /// # Errors
    ///
    /// None: what went wrong is counted, and returned as false.
    pub async fn set(&self, key: Key<'_>, payload: &Payload, storing: &Storing) -> bool {
        self.set_many(&[(key, payload.clone())], storing).await
    }

    /// As [`set`](Self::set) for each of these, in one go; false where one did not arrive.
    pub async fn set_many(&self, items: &[(Key<'_>, Payload)], storing: &Storing) -> bool {
        let keys: Vec<Key<'_>> = items.iter().map(|(key, _)| *key).collect();
        let owed = self.owe_keys(&keys).await;
        let stored = self.store(items, storing).await;
        match stored {
            Ok(true) => {
                owed.settled();
                self.forget(&keys);
                true
            }
            stored => {
                if let Err(fault) = stored {
                    self.remote().noticed(&fault);
                }
                owed.settled();
                self.delete_many(&keys).await;
                false
            }
        }
    }

    /// Stores a value where there is none; says whether it did.
    ///
    /// # Errors
    ///
    /// [`Fault`] where Redis could not be asked.
    pub async fn add(&self, key: Key<'_>, payload: &Payload, storing: &Storing) -> Result<bool, Fault> {
        for _ in 0..MOST_RACES {
            let clock = self.connected_clock(key).await?;
            let Some(calls) = self.remote().add(key, payload, storing, clock) else { return Ok(false) };
            let mut asked = calls.to_vec();
            asked.extend(self.remote().ask_sweeps());
            let mut replies = self.ask_once(&asked).await?.into_iter();
            match (replies.next(), replies.next()) {
                (Some(Reply::Error(fault)), _) | (_, Some(Reply::Error(fault))) => return Err(fault),
                (Some(Reply::Nil), Some(Reply::Nil)) => {}
                (Some(Reply::Nil), Some(Reply::Bytes(there))) => {
                    self.told_of_sweeps(replies.next());
                    match self.judge(key, self.remote().found_before(key, there)).await {
                        Sight::Value(_) | Sight::Closed => return Ok(false),
                        Sight::Absent => {}
                        Sight::Held(header) | Sight::Dead(header) => {
                            let Some(call) = self.remote().swap(key, &header, payload, storing, clock) else {
                                return Ok(false);
                            };
                            if self.one(call).await? != 0 {
                                return Ok(self.added(key));
                            }
                        }
                    }
                }
                _ => {
                    self.told_of_sweeps(replies.next());
                    self.store_anew(&[key], &calls).await?;
                    return Ok(self.added(key));
                }
            }
        }
        Ok(false)
    }

    /// What is being swept, if that was asked.
    fn told_of_sweeps(&self, reply: Option<Reply>) {
        if let Some(reply) = reply {
            self.remote().told_of_sweeps(&reply, self.now());
            self.heed();
        }
    }

    fn added(&self, key: Key<'_>) -> bool {
        self.forget(&[key]);
        self.remote().added();
        true
    }

    /// Adds to an integer, which counts as 0 where there is none, and gives the sum. The time to live is set when it is made.
    ///
    /// # Errors
    ///
    /// [`WriteError`]; where it is not known whether it was added, the key is invalidated.
    pub async fn increment(&self, key: Key<'_>, by: i64, ttl: Ttl) -> Result<i64, WriteError> {
        let mut judged: Option<(Header, bool)> = None;
        for _ in 0..MOST_RACES {
            let clock = self.connected_clock(key).await?;
            let header = judged.as_ref().map(|(header, alive)| (header, *alive));
            let call = self.remote().increment(key, by, ttl, header, clock);
            let owed = self.owe_keys(&[key]).await;
            let reply =
                self.ask_once(&[call]).await.and_then(|replies| replies.into_iter().next().ok_or(Fault::Protocol));
            match reply {
                Ok(Reply::Bytes(sum)) => {
                    owed.settled();
                    self.forget(&[key]);
                    let sum = std::str::from_utf8(&sum).ok().and_then(|sum| sum.parse().ok());
                    return sum.ok_or(WriteError::Fault(Fault::Protocol));
                }
                Ok(Reply::List(there)) => {
                    owed.settled();
                    let Some(Reply::Bytes(there)) = there.into_iter().next() else {
                        return Err(Fault::Protocol.into());
                    };
                    judged = Some(match self.judge_for_write(key, there).await? {
                        Sight::Value(seen) => (seen.header, true),
                        Sight::Dead(header) => (header, false),
                        _ => return Err(WriteError::NotACounter { key: key.as_str().into() }),
                    });
                }
                Ok(Reply::Error(Fault::Server { code, detail, .. }))
                    if &*code == "NOTACOUNTER" || detail.contains("NOTACOUNTER") =>
                {
                    owed.settled();
                    return Err(WriteError::NotACounter { key: key.as_str().into() });
                }
                Ok(Reply::Error(Fault::Server { detail, .. })) if detail.contains("overflow") => {
                    owed.settled();
                    return Err(WriteError::Overflow { key: key.as_str().into() });
                }
                Ok(Reply::Error(fault)) | Err(fault) => {
                    if !fault.may_have_been_done() {
                        owed.settled();
                    }
                    return Err(fault.into());
                }
                Ok(_) => return Err(Fault::Protocol.into()),
            }
        }
        Err(Fault::Protocol.into())
    }

    /// Gives a value another time to live from now; its grace stays as long as it was. False where there is none.
    ///
    /// # Errors
    ///
    /// [`Fault`] where Redis could not be asked.
    pub async fn touch(&self, key: Key<'_>, ttl: Ttl) -> Result<bool, Fault> {
        for _ in 0..MOST_RACES {
            let Some(seen) = self.seen(key).await? else { return Ok(false) };
            let call = self.remote().touch(key, &seen, ttl, self.clock(key));
            if self.one(call).await? != 0 {
                self.forget(&[key]);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What is known of a value; `None` where there is none that may be served.
    ///
    /// # Errors
    ///
    /// [`Fault`] where Redis could not be asked.
    pub async fn peek(&self, key: Key<'_>) -> Result<Option<Peeked>, Fault> {
        let Some(seen) = self.seen(key).await? else { return Ok(None) };
        let clock = self.clock(key);
        let left = |until: Moment| (until != Moment::NEVER).then(|| until - clock);
        let mut peeked = Peeked {
            stale: seen.life.at(clock) == Freshness::Stale,
            fresh_for: left(seen.life.fresh_until()),
            usable_for: left(seen.life.usable_until()),
            load_time: seen.load_time,
            bytes: seen.payload.bytes.len(),
            tags: seen.tags().map(Box::from).collect(),
        };
        if seen.counter {
            let call = Call::Plain(vec![b"PTTL"[..].into(), self.remote().names().key(key).into()]);
            let millis = self.one(call).await?;
            peeked.fresh_for = u64::try_from(millis).ok().map(Duration::from_millis);
            peeked.usable_for = peeked.fresh_for;
        }
        Ok(Some(peeked))
    }

    async fn seen(&self, key: Key<'_>) -> Result<Option<Seen>, Fault> {
        if !self.remote().is_enabled() {
            return Ok(None);
        }
        Ok(if let Sight::Value(seen) = self.see(key).await? { Some(seen) } else { None })
    }

    async fn judge_for_write(&self, key: Key<'_>, bytes: Vec<u8>) -> Result<Sight, Fault> {
        match self.remote().see(self.remote().found_before(key, bytes), self.clock(key)) {
            See::Plain(sight) => Ok(sight),
            See::Tagged(tagged) => {
                let (asking, calls) = self.remote().ask_about([&tagged]);
                asking.replied(self.ask(&calls).await?).judge(tagged)
            }
        }
    }

    async fn store(&self, items: &[(Key<'_>, Payload)], storing: &Storing) -> Result<bool, Fault> {
        let notes = self.note(&storing.tags).await?;
        let mut calls = Vec::with_capacity(items.len());
        for (key, payload) in items {
            let clock = self.connected_clock(*key).await?;
            let Some(call) = self.remote().set(*key, payload, storing, &notes, clock) else { return Ok(false) };
            calls.push(call);
        }
        calls.extend(self.remote().ask_sweeps());
        // Not said twice: the first may have arrived, and somebody else's after it.
        let mut replies = self.ask_once(&calls).await?;
        let told = replies.split_off(items.len().min(replies.len()));
        self.told_of_sweeps(told.into_iter().next());
        let failed =
            replies.into_iter().find_map(|reply| if let Reply::Error(fault) = reply { Some(fault) } else { None });
        if let Some(fault) = failed {
            return Err(fault);
        }
        let keys: Vec<Key<'_>> = items.iter().map(|(key, _)| *key).collect();
        self.store_anew(&keys, &calls).await?;
        Ok(true)
    }

    /// Stores what is dead already, as it was not known here what is being swept; whatever took its place meanwhile stays.
    async fn store_anew(&self, keys: &[Key<'_>], calls: &[Call]) -> Result<(), Fault> {
        let anew: Vec<Call> =
            keys.iter().zip(calls).filter_map(|(key, call)| self.remote().store_anew(*key, call)).collect();
        // Boxed: hardly ever needed.
        if anew.is_empty() {
            Ok(())
        } else {
            Box::pin(self.ask_once(&anew)).await.and_then(replay::confirmed).map(drop)
        }
    }

    async fn note(&self, tags: &Arc<[Box<str>]>) -> Result<Notes, Fault> {
        let (noting, calls) = self.remote().note(tags);
        if calls.is_empty() { Ok(Notes::default()) } else { noting.replied(self.ask(&calls).await?) }
    }

    /// Redis's clock, with a connection made first where there was none yet: an entry ends by it.
    pub(super) async fn connected_clock(&self, key: Key<'_>) -> Result<Moment, Fault> {
        if let Some(clock) = self.known_clock(key) {
            return Ok(clock);
        }
        match &self.inner.way {
            Way::One(link, _) => drop(link.line().await?),
            Way::Many(nodes) => {
                nodes.map().await?;
                let link = nodes.link_of(&self.remote().names().key(key)).ok_or(Fault::Unreachable)?;
                drop(link.line().await?);
            }
        }
        self.known_clock(key).ok_or_else(|| Fault::server("NOPERM", "TIME is not allowed"))
    }
}

/// How often to begin anew where others change the same key.
const MOST_RACES: u32 = 16;
