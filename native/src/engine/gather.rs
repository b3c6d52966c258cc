//! Gather: reads that meet, asked for by one command.
//!
//! A command costs its sender, the server and whoever takes its answer as much as several names within one. So who reads while others
//! wait for their answers is asked for together with all who come in the same turn; who reads alone is asked for at once.
//!
//! How many the core decides. Must not know what is read. Invariant: nobody is answered by a command that was sent before they came. Who
//! goes away, or is no longer polled, holds nobody up: what was gathered is sent by a task of its own.

use std::future::poll_fn;
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use donjon_core::fault::Fault;
use donjon_core::key::Key;
use donjon_core::remote::Found;
use donjon_core::remote::together::Together;
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::Engine;
use super::via::Via;
use crate::runtime::Runtime;

/// Who reads from one server now, and who of them is to be asked for together.
#[derive(Debug, Default)]
pub(super) struct Gather {
    readers: AtomicUsize,
    pub(super) together: Together,
    gathered: Mutex<Vec<Reader>>,
}

#[derive(Debug)]
struct Reader {
    key: Box<str>,
    told: oneshot::Sender<Result<Found, Fault>>,
}

/// Counts a reader as long as it lives.
pub(super) struct Counted<'g> {
    gather: &'g Gather,
    /// Whether it is better asked for by itself.
    pub(super) is_alone: bool,
}

impl Gather {
    /// Somebody reads.
    pub(super) fn count(&self) -> Counted<'_> {
        let others = self.readers.fetch_add(1, Ordering::Relaxed);
        Counted { gather: self, is_alone: others == 0 || self.together.most() == 1 }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.gather.readers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<R: Runtime, E: Clone + Send + Sync + 'static> Engine<R, E> {
    /// What is under a key, asked for together with whoever else reads.
    pub(super) async fn fetch_together(&self, key: Key<'_>) -> Result<Found, Fault> {
        let (told, answer) = oneshot::channel();
        let is_first = {
            let mut gathered = self.inner.gather.gathered.lock();
            gathered.push(Reader { key: key.as_str().into(), told });
            gathered.len() == 1
        };
        if is_first {
            let engine = self.clone();
            self.inner.runtime.spawn(async move {
                one_turn().await;
                let mut readers = mem::take(&mut *engine.inner.gather.gathered.lock());
                let mut parts = Vec::new();
                while !readers.is_empty() {
                    let rest = readers.split_off(readers.len().min(engine.inner.gather.together.most()));
                    parts.push(engine.answer(mem::replace(&mut readers, rest)));
                }
                join_all(parts).await;
            });
        }
        // Of a runtime that is no more nobody hears.
        answer.await.unwrap_or(Err(Fault::Lost))
    }

    /// Asks for these, and tells each; who went away by then is told nothing.
    async fn answer(&self, readers: Vec<Reader>) {
        let keys: Vec<_> = readers.iter().map(|reader| Key::new(&reader.key).expect("it was one")).collect();
        let together = &self.inner.gather.together;
        match self.fetch_many(&keys, &mut Via::Usual).await {
            Ok(found) => {
                together.saw(found.iter().filter_map(|found| found.bytes.as_ref().map(Vec::len)));
                for (reader, found) in readers.into_iter().zip(found) {
                    let _gone = reader.told.send(Ok(found));
                }
            }
            Err(fault) => {
                together.failed();
                for reader in readers {
                    let _gone = reader.told.send(Err(fault.clone()));
                }
            }
        }
    }
}

/// Lets all others have their turn who can go on.
async fn one_turn() {
    let mut had = false;
    poll_fn(|context| {
        if mem::replace(&mut had, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
