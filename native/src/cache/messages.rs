//! Messages: what is published on a channel reaches those who subscribe to it at that moment, and nobody later.

use std::any::type_name;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::SystemTime;

use donjon_core::key::Key;

use super::backend::Listener;
use super::call::awaited;
use super::shared::Shared;
use super::write::keys;
use crate::error::Error;
use crate::payload::Payload;
use crate::pubsub::Naming;
use crate::value::Decode;

/// What a subscriber gets.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Message {
    /// The channel it was published on.
    pub channel: Arc<str>,
    /// What was published, as bytes.
    pub payload: Payload,
    /// When it reached this process; in memory, when it was taken.
    pub received_at: SystemTime,
}

impl Message {
    /// What was published.
    ///
    /// # Errors
    ///
    /// [`Error::UndecodableMessage`] where it is no `T`.
    pub fn decode<T: Decode>(&self) -> Result<T, Error> {
        T::decode(&self.payload).map_err(|why| Error::UndecodableMessage {
            channel: Arc::clone(&self.channel),
            wanted: type_name::<T>(),
            why: why.to_string().into(),
        })
    }
}

/// A message to be sent. Await it; see [`Cache::publish`](crate::Cache::publish).
#[must_use = "nothing is sent before it is awaited"]
#[derive(Debug)]
pub struct Publish<'a> {
    shared: &'a Arc<Shared>,
    channel: &'a str,
    payload: Result<Payload, Error>,
    naming: Naming,
}

impl<'a> Publish<'a> {
    pub(super) fn new(shared: &'a Arc<Shared>, channel: &'a str, payload: Result<Payload, Error>) -> Self {
        Self { shared, channel, payload, naming: Naming::Own }
    }

    /// Takes the channel by the name that Redis has for it, where others than this cache listen too.
    pub fn raw(mut self) -> Self {
        self.naming = Naming::Literal;
        self
    }

    async fn run(self) -> Result<u64, Error> {
        self.shared.open()?.publish(Key::new(self.channel)?, self.naming, self.payload?).await
    }
}

awaited!(Publish => Result<u64, Error>);

/// Channels to be listened to. Await it; see [`Cache::subscribe`](crate::Cache::subscribe).
#[must_use = "nothing is heard before it is awaited"]
#[derive(Debug)]
pub struct Subscribe<'a> {
    shared: &'a Arc<Shared>,
    channels: Vec<String>,
    naming: Naming,
    limit: NonZeroUsize,
}

impl<'a> Subscribe<'a> {
    pub(super) fn new<N: Into<String>>(shared: &'a Arc<Shared>, channels: impl IntoIterator<Item = N>) -> Self {
        let channels = channels.into_iter().map(Into::into).collect();
        Self { shared, channels, naming: Naming::Own, limit: DEFAULT_LIMIT }
    }

    /// Takes the channels by the names that Redis has for them, where others than this cache publish too.
    pub fn raw(mut self) -> Self {
        self.naming = Naming::Literal;
        self
    }

    /// How many messages may wait for a slow subscriber; beyond it the oldest are dropped and counted. Default: 1,000.
    pub fn limit(mut self, limit: NonZeroUsize) -> Self {
        self.limit = limit;
        self
    }

    async fn run(self) -> Result<Subscription, Error> {
        let backend = self.shared.open()?;
        if self.channels.is_empty() {
            return Err(Error::InvalidOption { option: "channels", why: "subscribe to at least one channel".into() });
        }
        let listener = backend.subscribe(&keys(&self.channels)?, self.naming, self.limit).await?;
        Ok(Subscription { shared: Arc::clone(self.shared), listener })
    }
}

awaited!(Subscribe => Result<Subscription, Error>);

/// The messages of some channels, from the moment it was made. Dropping it ends it.
#[derive(Debug)]
pub struct Subscription {
    shared: Arc<Shared>,
    listener: Listener,
}

impl Subscription {
    /// The next message, as soon as there is one; none once the cache is closed.
    ///
    /// Loses nothing when it is dropped while it waits, as in `select!`.
    pub async fn next(&mut self) -> Option<Message> {
        tokio::select! {
            biased;
            () = self.shared.closing() => None,
            next = self.listener.next() => {
                next.map(|(channel, payload, received_at)| Message { channel, payload, received_at })
            }
        }
    }

    /// Messages lost because as many as the limit were waiting already: the oldest go first.
    pub fn dropped(&self) -> u64 {
        self.listener.dropped()
    }

    /// How often the connection to Redis was lost since this began; messages that were published before it was back are lost.
    pub fn gaps(&self) -> u64 {
        self.listener.gaps()
    }
}

const DEFAULT_LIMIT: NonZeroUsize = NonZeroUsize::new(1_000).expect("it is not zero");
