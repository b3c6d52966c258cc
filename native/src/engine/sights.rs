//! Sights: what many keys are found to have: asked for in one go, and those with tags judged in another.

use donjon_core::fault::Fault;
use donjon_core::key::Key;
use donjon_core::payload::Payload;
use donjon_core::remote::call::{Call, Reply};
use donjon_core::remote::sight::Sight;
use donjon_core::remote::{ASKED_TOGETHER, Found, See};

use super::Engine;
use super::via::Via;
use crate::runtime::Runtime;

impl<R: Runtime, E: Clone + Send + Sync + 'static> Engine<R, E> {
    /// The values of keys, in their order. One round trip, two where some have tags.
    pub async fn get_many(&self, keys: &[Key<'_>]) -> Vec<Option<Payload>> {
        self.get_many_via(keys, self.via()).await
    }

    /// As [`get`](Self::get), of what memory may have then.
    pub(super) async fn get_via(&self, key: Key<'_>, via: Via) -> Option<Payload> {
        self.get_many_via(&[key], via).await.pop().flatten()
    }

    async fn get_many_via(&self, keys: &[Key<'_>], mut via: Via) -> Vec<Option<Payload>> {
        let sights = self.see_many(keys, &mut via).await.unwrap_or_else(|fault| {
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
            if via.is_told() {
                if let Some(outline) = seen.outline(clock) {
                    self.admit(&via, *key, &outline, &seen.payload);
                } else if seen.counter {
                    counters.push((*key, seen.payload.clone()));
                }
            }
            found.push(Some(seen.payload));
        }
        // Boxed: seldom needed, and on the way of every such read.
        if !counters.is_empty() {
            Box::pin(self.admit_counters(via, &counters)).await;
        }
        found
    }

    async fn see_many(&self, keys: &[Key<'_>], via: &mut Via) -> Result<Vec<Sight>, Fault> {
        if keys.is_empty() || !self.remote().is_enabled() {
            return Ok(keys.iter().map(|_| Sight::Absent).collect());
        }
        let found = self.fetch_many(keys, via).await?;
        let (mut sights, mut places, mut tagged) = (Vec::with_capacity(found.len()), Vec::new(), Vec::new());
        for (place, found) in found.into_iter().enumerate() {
            match self.remote().see(found, self.clock(keys[place])) {
                See::Plain(sight) => sights.push(sight),
                See::Tagged(asked) => {
                    sights.push(Sight::Absent);
                    places.push(place);
                    tagged.push(asked);
                }
            }
        }
        if tagged.is_empty() {
            return Ok(sights);
        }
        let (mut asking, mut calls) = (Vec::new(), Vec::new());
        for part in tagged.chunks(ASKED_TOGETHER) {
            let (asked, own) = self.remote().ask_about(part);
            asking.push((asked, own.len()));
            calls.extend(own);
        }
        match self.read_via(via, &calls).await {
            Ok(replies) => {
                let (mut replies, mut tagged) = (replies.into_iter(), places.into_iter().zip(tagged));
                for (asked, count) in asking {
                    let told = asked.replied(replies.by_ref().take(count).collect());
                    for (place, asked) in tagged.by_ref().take(ASKED_TOGETHER) {
                        if let Ok(sight) = told.judge(asked) {
                            sights[place] = sight;
                        }
                    }
                }
            }
            // Those without tags are known all the same.
            Err(fault) => self.remote().noticed(&fault),
        }
        Ok(sights)
    }

    /// What is under each of these keys.
    pub(super) async fn fetch_many(&self, keys: &[Key<'_>], via: &mut Via) -> Result<Vec<Found>, Fault> {
        if !self.remote().reads_sweeps() {
            // They need not be on one node.
            let names = keys.iter().map(|key| self.remote().names().key(*key));
            let calls: Vec<Call> = names.map(|name| Call::Plain(vec![b"GET"[..].into(), name.into()])).collect();
            let found = self.read_via(via, &calls).await?;
            let fault = found.iter().find_map(|reply| if let Reply::Error(fault) = reply { Some(fault) } else { None });
            // Those of the nodes that answer are served all the same.
            if let Some(fault) = fault {
                self.remote().noticed(fault);
            }
            let bytes = |reply| if let Reply::Bytes(bytes) = reply { Some(bytes) } else { None };
            return Ok(found.into_iter().map(|reply| Found::from(bytes(reply))).collect());
        }
        let reply = self.read_via(via, &[self.remote().get_many(keys)]).await?.pop().ok_or(Fault::Protocol)?;
        let found = self.remote().found_many(keys, reply, self.now());
        self.heed();
        found
    }
}
