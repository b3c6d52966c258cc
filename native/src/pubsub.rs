//! Pubsub: messages between processes, over one connection of its own for all who listen in this one.
//!
//! Owns that connection: it is made for the first who listens, made anew when it is lost, and closed once the last has gone. Who hears
//! what within the process is the core's [`Hub`](donjon_core::pubsub::Hub) to say. Must not know what a message means.
//!
//! What is published reaches those who listen at that moment, and nobody later: while the connection is away, messages are lost, as
//! they are where a listener takes them too slowly. Both are counted, per listener: [`Subscription::gaps`] and
//! [`Subscription::dropped`].
//!
//! | to find out | look in |
//! |---|---|
//! | who listens to what, and what of that Redis confirmed | `desk` |
//! | how the connection is kept | `keeper` |
//! | how a value travels | [`pack`], [`unpack`] |

mod desk;
mod keeper;
mod packed;

use std::fmt;
use std::future::{Future, poll_fn};
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use donjon_core::breaker::BreakerConfig;
use donjon_core::fault::Fault;
use donjon_core::key::Key;
use donjon_core::payload::Payload;
use donjon_core::pubsub::{Heard, Subscription as Inbox};
use donjon_core::remote::name::Names;
use donjon_core::waiters::WaiterId;

pub use self::packed::{pack, unpack};

use self::desk::{Arrived, Desk, Place};
use crate::link::Options;
use crate::runtime::Runtime;

/// Listens to Redis, in one runtime. Clones share the connection; nothing is connected before somebody listens.
#[derive(Clone)]
pub struct Subscriber<R: Runtime> {
    runtime: R,
    options: Options,
    desk: Arc<Desk>,
}

/// How channels are named. Either way a name stands for itself: nothing in it is a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// Within the cache's namespace.
    Own,
    /// As they are called in Redis, whoever publishes there.
    Literal,
}

/// What a listener gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The channel as it was asked for.
    pub channel: Arc<str>,
    /// What was published; see [`unpack`].
    pub payload: Payload,
    /// When it reached this process.
    pub received_at: SystemTime,
}

impl<R: Runtime> Subscriber<R> {
    /// A subscriber that has not connected yet.
    pub fn new(runtime: R, mut options: Options, names: Names) -> Self {
        // It asks alone, and waits between its tries by itself.
        options.breaker = BreakerConfig { longest_wait: options.breaker.first_wait, ..options.breaker };
        Self { runtime, options, desk: Arc::new(Desk::new(names)) }
    }

    /// Listens to `channels`, keeping up to `limit` messages that were not taken yet; the oldest are dropped first.
    ///
    /// Does not wait: [`Subscription::ready`] does. Where Redis is away, listening begins once it is back.
    pub fn listen(&self, channels: &[Key<'_>], naming: Naming, limit: NonZeroUsize) -> Subscription {
        let (inbox, place) = self.desk.listen(channels, naming, limit);
        self.keep(&place);
        Subscription(Listener { inbox, place })
    }

    /// Listens to whoever gives `lock` back.
    pub(crate) fn listen_to_lock(&self, lock: Key<'_>) -> Listener<()> {
        let (inbox, place) = self.desk.listen_to_lock(lock);
        self.keep(&place);
        Listener { inbox, place }
    }

    /// Waits until a channel that somebody in here has begun to listen to is listened to, or cannot be for now.
    pub(crate) async fn settled(&self, channel: Key<'_>, naming: Naming) {
        self.desk.settled(channel, naming).await;
    }

    /// How often the connection was lost while somebody listened.
    pub fn gaps(&self) -> u64 {
        self.desk.gaps()
    }

    /// Ends all subscriptions, and the connection. What is listened to from now on ends at once.
    pub fn close(&self) {
        self.desk.close();
    }

    fn keep(&self, place: &Place) {
        if place.needs_keeper() {
            self.runtime.spawn(keeper::keep(keeper::Duty::new(&self.desk), self.runtime.clone(), self.options.clone()));
        }
    }
}

impl<R: Runtime> fmt::Debug for Subscriber<R> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Subscriber").field("options", &self.options).finish_non_exhaustive()
    }
}

/// The messages of some channels. Dropping it ends it.
pub struct Subscription(Listener<Arrived>);

impl Subscription {
    /// The oldest message not taken yet.
    pub fn take(&self) -> Option<Message> {
        self.0.inbox.take().map(message)
    }

    /// The next message, as soon as there is one; `None` once it is over. Dropping the future loses nothing.
    pub async fn next(&self) -> Option<Message> {
        self.0.next().await.map(message)
    }

    /// Waits until there is a message to take, or it is over.
    pub async fn arrived(&self) {
        self.0.arrived().await;
    }

    /// Waits until Redis has confirmed all of the channels: what is published from then on is heard.
    ///
    /// # Errors
    ///
    /// [`Fault`] where Redis refuses one of them, or cannot be reached. It goes on trying either way.
    pub async fn ready(&self) -> Result<(), Fault> {
        self.0.place.ready().await
    }

    /// Messages lost because as many as the limit were waiting already.
    pub fn dropped(&self) -> u64 {
        self.0.inbox.dropped()
    }

    /// How often the connection was lost since this began; what was published before it was back is lost.
    pub fn gaps(&self) -> u64 {
        self.0.place.gaps()
    }

    /// Listens no more: who waits for the next message gets `None`.
    pub fn close(&self) {
        self.0.inbox.close();
        self.0.place.leave();
    }

    /// Whether no message will come.
    pub fn is_closed(&self) -> bool {
        self.0.inbox.is_closed() || self.0.place.is_over()
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Subscription").field("place", &self.0.place).finish_non_exhaustive()
    }
}

fn message(heard: Heard<Arrived>) -> Message {
    let Arrived { payload, received_at } = &*heard.message;
    Message { channel: heard.channel, payload: payload.clone(), received_at: *received_at }
}

/// One who listens to some channels.
pub(crate) struct Listener<M> {
    inbox: Inbox<M>,
    place: Place,
}

impl<M> Listener<M> {
    pub(crate) async fn next(&self) -> Option<Heard<M>> {
        loop {
            if let Some(heard) = self.inbox.take() {
                return Some(heard);
            }
            if self.inbox.is_closed() || self.place.is_over() {
                return None;
            }
            self.arrived().await;
        }
    }

    async fn arrived(&self) {
        let mut turn = Turn { inbox: &self.inbox, id: None };
        let arrived = poll_fn(|context| {
            turn.leave();
            turn.id = self.inbox.wait(context.waker().clone());
            if turn.id.is_some() { Poll::Pending } else { Poll::Ready(()) }
        });
        let (Either::First(()) | Either::Second(())) = race(arrived, self.place.over()).await;
    }

    /// As [`Subscription::ready`].
    pub(crate) async fn ready(&self) -> Result<(), Fault> {
        self.place.ready().await
    }
}

/// A turn among those who wait for a message, given back however the wait ends.
struct Turn<'a, M> {
    inbox: &'a Inbox<M>,
    id: Option<WaiterId>,
}

impl<M> Turn<'_, M> {
    fn leave(&mut self) {
        if let Some(id) = self.id.take() {
            self.inbox.leave(id);
        }
    }
}

impl<M> Drop for Turn<'_, M> {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Which of two futures was done first.
pub(crate) enum Either<A, B> {
    First(A),
    Second(B),
}

/// Waits for one of two futures; the first is asked first.
pub(crate) async fn race<A, B>(first: impl Future<Output = A>, second: impl Future<Output = B>) -> Either<A, B> {
    let (mut first, mut second) = (pin!(first), pin!(second));
    poll_fn(|context| match first.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Either::First(done)),
        Poll::Pending => second.as_mut().poll(context).map(Either::Second),
    })
    .await
}

/// A random part of `span`, at least half of it, so that many processes do not act at once.
pub(crate) fn jittered(span: Duration) -> Duration {
    use std::hash::{BuildHasher, RandomState};
    let share = (RandomState::new().hash_one(0_u8) >> 11) as f64 / (1_u64 << 53) as f64;
    span.mul_f64(0.5 + share / 2.0)
}
