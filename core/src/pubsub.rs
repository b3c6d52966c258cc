//! Pubsub: channels of one process: who publishes, who listens.
//!
//! Owns who listens to what, and what each has not taken yet. Must not know what a message means. Messages and wakers are
//! foreign code: they are cloned, dropped and woken with nothing locked, so a message is kept as an `Arc`.
//! Invariants: a listener keeps as many messages as its limit at most, the newest ones, in the order they were published
//! one after the other. A channel that nobody listens to takes no memory.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::num::NonZeroUsize;
use core::task::Waker;

use crate::key::Key;
use crate::sync::Mutex;
use crate::waiters::{WaiterId, Waiters};

/// The channels of one process. A channel's name is limited as a key is, and is literal: there are no patterns here.
///
/// # Examples
///
/// ```
/// use std::num::NonZeroUsize;
/// use donjon_core::key::Key;
/// use donjon_core::pubsub::Hub;
///
/// let hub = Hub::default();
/// let channel = Key::new("notifications:user:123")?;
/// assert_eq!(hub.publish(channel, "nobody hears"), 0);
/// let listener = hub.subscribe(&[channel], NonZeroUsize::new(1_000).expect("it is not zero"));
/// assert_eq!(hub.publish(channel, "hello"), 1);
/// let heard = listener.take().expect("it was published");
/// assert_eq!((&*heard.channel, *heard.message), ("notifications:user:123", "hello"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Hub<M> {
    channels: Arc<Mutex<Channels<M>>>,
}

type Channels<M> = BTreeMap<Arc<str>, Vec<Arc<Inbox<M>>>>;

/// A message as one listener gets it.
#[derive(Debug)]
pub struct Heard<M> {
    /// The channel it was published on.
    pub channel: Arc<str>,
    /// The message, which others may have heard too.
    pub message: Arc<M>,
}

impl<M> Default for Hub<M> {
    fn default() -> Self {
        Self { channels: Arc::default() }
    }
}

impl<M> Hub<M> {
    /// Gives `message` to all who listen to `channel` now, and says how many they are.
    ///
    /// Never waits: a listener whose inbox is full loses its oldest message. Costs one push for each listener.
    pub fn publish(&self, channel: Key<'_>, message: M) -> usize {
        // The lock is let go before any inbox is locked, and each inbox before its listener is woken.
        let found = self
            .channels
            .lock()
            .get_key_value(channel.as_str())
            .map(|(name, inboxes)| (Arc::clone(name), inboxes.clone()));
        let Some((channel, inboxes)) = found else { return 0 };
        let message = Arc::new(message);
        let put =
            |inbox: &&Arc<Inbox<M>>| inbox.put(Heard { channel: Arc::clone(&channel), message: Arc::clone(&message) });
        inboxes.iter().filter(put).count()
    }

    /// Listens to `channels` from now on, keeping up to `limit` messages that were not taken yet.
    ///
    /// A channel named twice is listened to once. Ends when what is returned is dropped or closed.
    pub fn subscribe(&self, channels: &[Key<'_>], limit: NonZeroUsize) -> Subscription<M> {
        let inbox = Arc::new(Inbox { limit, state: Mutex::new(State::new()) });
        let names: BTreeSet<_> = channels.iter().map(|channel| channel.as_str()).collect();
        let mut table = self.channels.lock();
        for name in &names {
            match table.get_mut(*name) {
                Some(inboxes) => inboxes.push(Arc::clone(&inbox)),
                None => drop(table.insert((*name).into(), vec![Arc::clone(&inbox)])),
            }
        }
        drop(table);
        let names = names.into_iter().map(Into::into).collect();
        Subscription { channels: Arc::clone(&self.channels), names, inbox }
    }
}

/// One listener, to any number of channels. Dropping it ends it, and frees what was not taken.
#[derive(Debug)]
pub struct Subscription<M> {
    channels: Arc<Mutex<Channels<M>>>,
    names: Vec<Box<str>>,
    inbox: Arc<Inbox<M>>,
}

impl<M> Subscription<M> {
    /// The oldest message not taken yet.
    pub fn take(&self) -> Option<Heard<M>> {
        self.inbox.state.lock().heard.pop_front()
    }

    /// How many messages were lost because the inbox was full.
    pub fn dropped(&self) -> u64 {
        self.inbox.state.lock().dropped
    }

    /// Has `waker` woken at the next message, or at the end. None, and nothing is woken, where a message is to be taken
    /// already, or the subscription is closed.
    pub fn wait(&self, waker: Waker) -> Option<WaiterId> {
        // Where nothing is to be waited for, the inbox is unlocked first, then the waker dropped: locals go first.
        let mut state = self.inbox.state.lock();
        if state.closed || !state.heard.is_empty() { None } else { Some(state.waiters.add(waker)) }
    }

    /// Gives the place up: its waker is not woken any more. Harmless where it was woken already.
    pub fn leave(&self, id: WaiterId) {
        let left = self.inbox.state.lock().waiters.remove(id);
        drop(left);
    }

    /// Listens no more: wakes who waits, and drops what was not taken. Closing twice is closing once.
    pub fn close(&self) {
        let mut table = self.channels.lock();
        for name in &self.names {
            if let Some(inboxes) = table.get_mut(&**name) {
                inboxes.retain(|inbox| !Arc::ptr_eq(inbox, &self.inbox));
                if inboxes.is_empty() {
                    table.remove(&**name);
                }
            }
        }
        drop(table);
        let mut state = self.inbox.state.lock();
        state.closed = true;
        let (untaken, wakers) = (core::mem::take(&mut state.heard), state.waiters.take());
        drop(state);
        drop(untaken);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Whether it was closed: no message will come.
    pub fn is_closed(&self) -> bool {
        self.inbox.state.lock().closed
    }
}

impl<M> Drop for Subscription<M> {
    fn drop(&mut self) {
        self.close();
    }
}

#[derive(Debug)]
struct Inbox<M> {
    limit: NonZeroUsize,
    state: Mutex<State<M>>,
}

#[derive(Debug)]
struct State<M> {
    heard: VecDeque<Heard<M>>,
    dropped: u64,
    waiters: Waiters,
    closed: bool,
}

impl<M> State<M> {
    fn new() -> Self {
        Self { heard: VecDeque::new(), dropped: 0, waiters: Waiters::default(), closed: false }
    }
}

impl<M> Inbox<M> {
    /// False where nobody listens any more.
    fn put(&self, heard: Heard<M>) -> bool {
        let mut state = self.state.lock();
        if state.closed {
            return false;
        }
        let lost = if state.heard.len() == self.limit.get() { state.heard.pop_front() } else { None };
        state.dropped += u64::from(lost.is_some());
        state.heard.push_back(heard);
        let wakers = state.waiters.take();
        drop(state);
        drop(lost);
        wakers.into_iter().for_each(Waker::wake);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use proptest::prelude::*;

    use super::*;

    fn key(name: &str) -> Key<'_> {
        Key::new(name).expect("it is short")
    }

    fn limit(limit: usize) -> NonZeroUsize {
        NonZeroUsize::new(limit).expect("it is not zero")
    }

    fn all<M: Clone>(listener: &Subscription<M>) -> Vec<(String, M)> {
        std::iter::from_fn(|| listener.take())
            .map(|heard| (heard.channel.to_string(), (*heard.message).clone()))
            .collect()
    }

    /// Counts, and looks into everything each time it is woken or dropped: which hangs under a lock.
    struct Probe {
        rung: AtomicUsize,
        hub: Weak<Hub<Option<Arc<Probe>>>>,
        listener: Mutex<Weak<Subscription<Option<Arc<Probe>>>>>,
    }

    impl Probe {
        fn new(hub: &Arc<Hub<Option<Arc<Self>>>>, listener: &Arc<Subscription<Option<Arc<Self>>>>) -> Arc<Self> {
            let (hub, listener) = (Arc::downgrade(hub), Mutex::new(Arc::downgrade(listener)));
            Arc::new(Self { rung: AtomicUsize::new(0), hub, listener })
        }

        fn look(&self) {
            if let Some(hub) = self.hub.upgrade() {
                hub.publish(key("elsewhere"), None);
                assert!(hub.channels.try_lock().is_some(), "no foreign code under the lock of the channels");
            }
            if let Some(listener) = self.listener.lock().upgrade() {
                assert!(listener.inbox.state.try_lock().is_some(), "no foreign code under the lock of an inbox");
            }
        }
    }

    impl Wake for Probe {
        fn wake(self: Arc<Self>) {
            self.look();
            self.rung.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Drop for Probe {
        fn drop(&mut self) {
            self.look();
        }
    }

    #[test]
    fn each_listener_of_a_channel_hears_what_is_published_there_in_order() {
        let hub = Hub::default();
        let (one, both) =
            (hub.subscribe(&[key("a")], limit(9)), hub.subscribe(&[key("a"), key("b"), key("a")], limit(9)));
        assert_eq!(
            [("a", 1), ("b", 2), ("a", 3), ("c", 4)].map(|(name, message)| hub.publish(key(name), message)),
            [2, 1, 2, 0]
        );
        assert_eq!(all(&one), [("a".into(), 1), ("a".into(), 3)]);
        assert_eq!(all(&both), [("a".into(), 1), ("b".into(), 2), ("a".into(), 3)]);
        assert!(one.take().is_none());
    }

    #[test]
    fn a_slow_listener_loses_its_oldest_messages_and_knows_how_many() {
        let hub = Hub::default();
        let (slow, fast) = (hub.subscribe(&[key("a")], limit(2)), hub.subscribe(&[key("a")], limit(9)));
        (0..5).for_each(|message| assert_eq!(hub.publish(key("a"), message), 2));
        assert_eq!(all(&slow), [("a".into(), 3), ("a".into(), 4)]);
        assert_eq!((slow.dropped(), fast.dropped()), (3, 0));
        assert_eq!(all(&fast).len(), 5);
    }

    #[test]
    fn a_listener_hears_nothing_from_before_it_came_or_after_it_went() {
        let hub = Hub::default();
        hub.publish(key("a"), 1);
        let listener = hub.subscribe(&[key("a"), key("b")], limit(9));
        hub.publish(key("a"), 2);
        listener.close();
        listener.close();
        assert!(listener.is_closed() && listener.take().is_none());
        assert_eq!(hub.publish(key("a"), 3), 0);
        assert!(listener.take().is_none());
    }

    #[test]
    fn a_message_that_was_on_its_way_when_the_listener_went_is_not_kept() {
        let hub = Hub::default();
        let listener = hub.subscribe(&[key("a")], limit(9));
        let found = hub.channels.lock()["a"].clone();
        listener.close();
        assert!(!found[0].put(Heard { channel: "a".into(), message: Arc::new(1) }));
        assert!(listener.take().is_none());
    }

    #[test]
    fn a_channel_that_nobody_listens_to_is_forgotten() {
        let hub = Hub::<u8>::default();
        let kept = hub.subscribe(&[key("kept")], limit(1));
        for number in 0..100 {
            let name = format!("channel {number}");
            drop(hub.subscribe(&[key(&name), key("kept")], limit(1)));
        }
        assert_eq!(hub.channels.lock().len(), 1);
        assert_eq!(hub.publish(key("kept"), 1), 1, "those who stay still hear");
        drop(kept);
        assert!(hub.channels.lock().is_empty());
    }

    #[test]
    fn who_waits_is_woken_by_a_message_or_the_end_and_by_nothing_else() {
        let hub = Arc::new(Hub::default());
        let listener = Arc::new(hub.subscribe(&[key("a")], limit(1)));
        let [first, second, gone] = [(); 3].map(|()| Probe::new(&hub, &listener));
        let rung = |probe: &Probe| probe.rung.load(Ordering::Relaxed);
        assert!(listener.wait(Arc::clone(&first).into()).is_some());
        let place = listener.wait(Arc::clone(&gone).into()).expect("there is no message");
        listener.leave(place);
        hub.publish(key("b"), None);
        assert_eq!(rung(&first), 0);
        hub.publish(key("a"), None);
        assert_eq!(rung(&first), 1);
        assert!(listener.wait(Arc::clone(&second).into()).is_none(), "a message is waiting");
        assert!(listener.take().is_some());
        assert!(listener.wait(Arc::clone(&second).into()).is_some());
        listener.close();
        assert!(listener.wait(Arc::clone(&first).into()).is_none(), "it is closed");
        assert_eq!([&first, &second, &gone].map(|probe| rung(probe)), [1, 1, 0]);
    }

    #[test]
    fn messages_and_wakers_are_dropped_with_nothing_locked() {
        let hub = Arc::new(Hub::default());
        let listener = Arc::new(hub.subscribe(&[key("a")], limit(1)));
        let probe = || Probe::new(&hub, &listener);
        hub.publish(key("nobody"), Some(probe()));
        hub.publish(key("a"), Some(probe()));
        hub.publish(key("a"), Some(probe()));
        assert!(listener.wait(probe().into()).is_none());
        assert_eq!(listener.dropped(), 1);
        drop(listener.take());
        let place = listener.wait(probe().into()).expect("there is no message");
        listener.leave(place);
        hub.publish(key("a"), Some(probe()));
        listener.close();
    }

    #[test]
    fn threads_that_publish_and_come_and_go_lose_nothing_but_what_is_counted() {
        let hub = Hub::default();
        let stays = hub.subscribe(&[key("a")], limit(100));
        std::thread::scope(|threads| {
            for thread in 0..4u64 {
                let hub = &hub;
                threads
                    .spawn(move || (0..500).for_each(|number| assert!(hub.publish(key("a"), (thread, number)) >= 1)));
                threads.spawn(move || {
                    for _ in 0..200 {
                        let guest = hub.subscribe(&[key("a")], limit(3));
                        guest.take();
                    }
                });
            }
        });
        let dropped = stays.dropped();
        let heard = all(&stays);
        assert_eq!(heard.len() as u64 + dropped, 2_000);
        for thread in 0..4 {
            let numbers: Vec<_> = heard.iter().filter(|heard| heard.1.0 == thread).map(|heard| heard.1.1).collect();
            assert!(numbers.is_sorted(), "what one thread published is heard in its order");
        }
        assert_eq!(hub.channels.lock().values().map(Vec::len).sum::<usize>(), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn an_inbox_is_the_end_of_what_was_published(
            steps in prop::collection::vec((0usize..4, 0usize..3), 0..60), room in 1usize..5
        ) {
            let names = ["a", "b", "c"];
            let hub = Hub::default();
            let listener = hub.subscribe(&[key("a"), key("b")], limit(room));
            let (mut kept, mut dropped) = (VecDeque::new(), 0);
            for (message, (what, channel)) in steps.into_iter().enumerate() {
                if what == 0 {
                    let heard = listener.take().map(|heard| (heard.channel.to_string(), *heard.message));
                    prop_assert_eq!(heard, kept.pop_front());
                } else {
                    let heard = usize::from(channel < 2);
                    prop_assert_eq!(hub.publish(key(names[channel]), message), heard);
                    if heard == 1 {
                        kept.push_back((names[channel].to_owned(), message));
                        if kept.len() > room {
                            kept.pop_front();
                            dropped += 1;
                        }
                    }
                }
                prop_assert_eq!(listener.dropped(), dropped);
            }
        }
    }
}
