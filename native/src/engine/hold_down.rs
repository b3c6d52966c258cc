//! Hold down: marks keys that are about to change at the source. Until a mark is lifted or its time is over, nobody stores what they
//! load for its key, so a process that dies between the change and its invalidation leaves nothing stale behind.
//!
//! Invariant: nobody lifts a mark that another may still need: neither another's, nor one's own that took the place of another's.

use std::time::Duration;

use donjon_core::fault::{Class, Fault};
use donjon_core::key::Key;
use donjon_core::remote::Remote;
use donjon_core::remote::call::Reply;
use donjon_core::remote::sight::Header;

use super::invalidate::Removed;
use super::{Engine, replay};
use crate::runtime::Runtime;

impl<R: Runtime, E: Clone + Send + Sync + 'static> Engine<R, E> {
    /// Marks these keys for so long; their values are gone. Gives what [`lift`](Self::lift) takes. One round trip.
    ///
    /// # Errors
    ///
    /// [`Fault`] where Redis could not be asked, or refused to mark one: others may be marked all the same.
    pub async fn hold_down(&self, keys: &[Key<'_>], span: Duration) -> Result<Vec<Option<Header>>, Fault> {
        let (mut headers, mut calls) = (Vec::with_capacity(keys.len()), Vec::with_capacity(keys.len()));
        for key in keys {
            let (header, call) = self.remote().hold_down(*key, span, self.connected_clock(*key).await?);
            headers.push(header);
            calls.push(call);
        }
        self.detach(keys);
        let replies = self.ask(&calls).await;
        self.detach(keys);
        let own = |(header, reply)| match reply {
            Reply::Error(fault) => Err(fault),
            reply => Ok(Remote::<E>::held_alone(&header, &reply).then_some(header)),
        };
        headers.into_iter().zip(replies?).map(own).collect()
    }

    /// Invalidates keys that were marked, each with what `hold_down` gave for it. One round trip.
    pub async fn lift(&self, held: &[(Key<'_>, Option<Header>)]) -> Removed {
        let keys: Vec<Key<'_>> = held.iter().map(|(key, _)| *key).collect();
        let owed = self.owe_keys(&keys).await;
        let calls: Vec<_> = held.iter().map(|(key, header)| self.remote().lift(*key, header.as_ref())).collect();
        match self.ask(&calls).await.and_then(replay::confirmed) {
            Ok(count) => {
                owed.paid(self.now());
                self.detach(&keys);
                Removed { count, queued: false }
            }
            // Without scripts it is not known whose a mark is; without the invalidation what is stale would stay.
            Err(fault) if fault.class() == Some(Class::Config) => {
                owed.settled();
                self.delete_many(&keys).await
            }
            Err(fault) => {
                self.remote().noticed(&fault);
                drop(owed);
                Removed { count: 0, queued: true }
            }
        }
    }
}
