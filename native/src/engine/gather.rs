//! Gather: reads that meet, asked for by one command.
//!
//! A command costs its sender, the server and whoever takes its answer as much as several names within one. So who reads while others
//! wait for their answers is asked for together with all who come in the same turn; who reads alone is asked for at once.
//!
//! Must not know what is read. Invariant: nobody is answered by a command that was sent before they came. Who goes away, or is no longer
//! polled, holds nobody up: what was gathered is sent by a task of its own.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use donjon_core::fault::Fault;
use donjon_core::key::Key;
use parking_lot::Mutex;
use redis::{Cmd, Value};
use tokio::sync::oneshot;

use super::Engine;
use super::wire::{self, Read};
use crate::link::Link;
use crate::runtime::Runtime;

/// Who reads from one server now, and what they will be asked for together.
#[derive(Debug)]
pub(super) struct Gather {
    readers: AtomicUsize,
    /// The largest value that was read of late; [`UNKNOWN`] at first.
    largest: AtomicUsize,
    gathered: Mutex<Vec<Reader>>,
}

#[derive(Debug)]
struct Reader {
    name: Vec<u8>,
    told: oneshot::Sender<Result<Read, Fault>>,
}

/// Who sends what a reader joined.
enum Sends {
    /// Somebody who was there before.
    Other,
    /// This one, once others had their turn.
    Soon,
    /// This one, now: no more may come.
    Now(Vec<Reader>),
}

impl Default for Gather {
    fn default() -> Self {
        Self { readers: AtomicUsize::new(0), largest: AtomicUsize::new(UNKNOWN), gathered: Mutex::default() }
    }
}

impl Gather {
    /// How many may be asked for together. One answer to all is whole only with the last of them: large values are better asked for one
    /// by one.
    fn most(&self) -> usize {
        (BYTES_TOGETHER / self.largest.load(Ordering::Relaxed).max(1)).clamp(1, MOST_TOGETHER)
    }

    fn join(&self, reader: Reader) -> Sends {
        let mut gathered = self.gathered.lock();
        gathered.push(reader);
        match gathered.len() {
            len if len >= self.most() => Sends::Now(std::mem::take(&mut *gathered)),
            1 => Sends::Soon,
            _ => Sends::Other,
        }
    }

    /// Notes how large values are.
    fn saw(&self, sizes: impl Iterator<Item = usize>) {
        let largest = sizes.max().unwrap_or(0);
        // What was large of late may come again.
        let before = match self.largest.load(Ordering::Relaxed) {
            UNKNOWN => 0,
            before => before - before.div_ceil(10),
        };
        self.largest.store(largest.max(before), Ordering::Relaxed);
    }
}

/// Counts a reader as long as it lives.
struct Counted<'g>(&'g Gather);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.readers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<R: Runtime, E: Clone + Send + Sync + 'static> Engine<R, E> {
    /// Reads what is under a key of the one server.
    pub(super) async fn read_key(&self, link: &Link<R>, key: Key<'_>) -> Result<Read, Fault> {
        let gather = &self.inner.gather;
        let others = gather.readers.fetch_add(1, Ordering::Relaxed);
        let _counted = Counted(gather);
        if others == 0 || gather.most() == 1 {
            return self.read_alone(link, key).await;
        }
        let (told, answer) = oneshot::channel();
        match gather.join(Reader { name: self.remote().names().key(key), told }) {
            Sends::Other => {}
            Sends::Soon => self.send_gathered(link, None),
            Sends::Now(readers) => self.send_gathered(link, Some(readers)),
        }
        match answer.await {
            // Together they may have been more than a reply may have.
            Ok(Err(Fault::Protocol)) => Box::pin(self.read_alone(link, key)).await,
            Ok(read) => read,
            // Of a runtime that is no more nobody hears.
            Err(_) => Err(Fault::Lost),
        }
    }

    async fn read_alone(&self, link: &Link<R>, key: Key<'_>) -> Result<Read, Fault> {
        let read = wire::read(self.ask_settled(link, &self.reading(key)).await?)?;
        self.inner.gather.saw(read.0.iter().map(Vec::len));
        Ok(read)
    }

    /// Asks for these, or for those who have come once all who can had their turn.
    fn send_gathered(&self, link: &Link<R>, readers: Option<Vec<Reader>>) {
        let (engine, link) = (self.clone(), link.clone());
        self.inner.runtime.spawn(async move {
            let readers = if let Some(readers) = readers {
                readers
            } else {
                one_turn().await;
                std::mem::take(&mut *engine.inner.gather.gathered.lock())
            };
            if readers.is_empty() {
                return;
            }
            match engine.read_all(&link, &readers).await {
                Ok((values, list)) => {
                    for (reader, value) in readers.into_iter().zip(values) {
                        // Who went away is told nothing.
                        let _gone = reader.told.send(Ok((value, list.clone())));
                    }
                }
                Err(fault) => {
                    engine.inner.gather.largest.store(UNKNOWN, Ordering::Relaxed);
                    for reader in readers {
                        let _gone = reader.told.send(Err(fault.clone()));
                    }
                }
            }
        });
    }

    async fn read_all(
        &self,
        link: &Link<R>,
        readers: &[Reader],
    ) -> Result<(Vec<Option<Vec<u8>>>, Option<Arc<[u8]>>), Fault> {
        let list = self.remote().reads_sweeps().then(|| self.remote().names().sweeps_parts().concat());
        let names = readers.iter().map(|reader| &reader.name).chain(&list);
        let Value::Array(values) = self.ask_settled(link, &wire::get_many(names)).await? else {
            return Err(Fault::Protocol);
        };
        let mut values = values.into_iter().map(wire::bytes).collect::<Result<Vec<_>, _>>()?;
        let list = list.and_then(|_| values.pop()).flatten();
        if values.len() != readers.len() {
            return Err(Fault::Protocol);
        }
        self.inner.gather.saw(values.iter().flatten().map(Vec::len));
        Ok((values, list.map(Into::into)))
    }

    /// What reads a key.
    pub(super) fn reading(&self, key: Key<'_>) -> Cmd {
        let names = self.remote().names();
        wire::get(names.key_parts(key), self.remote().reads_sweeps().then(|| names.sweeps_parts()))
    }

    /// Asks on a connection with nothing owed, once more where one ended before it answered.
    async fn ask_settled(&self, link: &Link<R>, command: &Cmd) -> Result<Value, Fault> {
        match self.settled_line(link).await?.into_ask(command).await {
            // Boxed, as is all that seldom happens here: the room for it would be taken and moved on every read.
            Err(Fault::Lost) => Box::pin(async { self.settled_line(link).await?.into_ask(command).await }).await,
            asked => asked,
        }
    }
}

/// Lets all others have their turn who can go on.
async fn one_turn() {
    let mut had = false;
    poll_fn(|context| {
        if std::mem::replace(&mut had, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// As many names stand in one command, as long as the answer is not likely to be larger than this.
const MOST_TOGETHER: usize = 128;
const BYTES_TOGETHER: usize = 64 << 10;

/// Larger than anything: so one is asked for alone.
const UNKNOWN: usize = usize::MAX;
