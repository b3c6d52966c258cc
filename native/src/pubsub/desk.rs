//! Desk: who listens to what in this process, and what of that Redis has confirmed.
//!
//! Owns the table of channels and what became of each on the connection of now. Must not know how a connection is made: a keeper asks
//! what there is to do and tells how it went. Invariants: a channel is in the table while somebody listens or Redis still sends it;
//! there is one keeper at most; nobody is woken, and nothing foreign dropped, under the lock.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use donjon_core::fault::Fault;
use donjon_core::key::Key;
use donjon_core::payload::Payload;
use donjon_core::pubsub::{Hub, Subscription as Inbox};
use donjon_core::remote::name::Names;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Naming, unpack};

/// A message, and when it came.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) payload: Payload,
    pub(super) received_at: SystemTime,
}

pub(super) struct Desk {
    names: Names,
    own_prefix: Vec<u8>,
    lock_prefix: Vec<u8>,
    own: Hub<Arrived>,
    literal: Hub<Arrived>,
    locks: Hub<()>,
    state: Mutex<State>,
    /// Rings where the keeper has something to do.
    errand: Notify,
    /// Rings where something changed that others wait for.
    news: Notify,
}

#[derive(Default)]
struct State {
    channels: BTreeMap<Box<[u8]>, Entry>,
    /// Why there is no connection, once it was tried.
    trouble: Option<Fault>,
    gaps: u64,
    is_kept: bool,
    is_closed: bool,
}

#[derive(Default)]
struct Entry {
    listeners: usize,
    standing: Standing,
}

/// What became of a channel on the connection of now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Standing {
    /// Not asked for yet.
    #[default]
    Wanted,
    Confirmed,
    Refused(Fault),
}

/// What the keeper is to tell Redis.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Errands {
    pub(super) subscribe: Vec<Box<[u8]>>,
    pub(super) unsubscribe: Vec<Box<[u8]>>,
}

impl Desk {
    pub(super) fn new(names: Names) -> Self {
        Self {
            own_prefix: names.channel(""),
            lock_prefix: names.lock_channel(""),
            names,
            own: Hub::default(),
            literal: Hub::default(),
            locks: Hub::default(),
            state: Mutex::default(),
            errand: Notify::new(),
            news: Notify::new(),
        }
    }

    // -- for those who listen

    pub(super) fn listen(
        self: &Arc<Self>,
        channels: &[Key<'_>],
        naming: Naming,
        limit: NonZeroUsize,
    ) -> (Inbox<Arrived>, Place) {
        let hub = match naming {
            Naming::Own => &self.own,
            Naming::Literal => &self.literal,
        };
        // Before Redis is asked, or a message could come that nobody hears.
        let inbox = hub.subscribe(channels, limit);
        (inbox, self.place(channels.iter().map(|channel| self.name(*channel, naming)).collect()))
    }

    fn name(&self, channel: Key<'_>, naming: Naming) -> Box<[u8]> {
        let prefix = if naming == Naming::Own { &self.own_prefix[..] } else { b"" };
        [prefix, channel.as_str().as_bytes()].concat().into()
    }

    /// Waits until `channel`, where somebody listens to it, was asked for, or cannot be.
    pub(super) async fn settled(&self, channel: Key<'_>, naming: Naming) {
        let name = self.name(channel, naming);
        let is_coming = |entry: &Entry| entry.listeners > 0 && entry.standing == Standing::Wanted;
        self.find(|state| {
            let waits = state.trouble.is_none() && !state.is_closed && state.channels.get(&name).is_some_and(is_coming);
            (!waits).then_some(())
        })
        .await;
    }

    pub(super) fn listen_to_lock(self: &Arc<Self>, lock: Key<'_>) -> (Inbox<()>, Place) {
        let inbox = self.locks.subscribe(&[lock], NonZeroUsize::MIN);
        (inbox, self.place(vec![self.names.lock_channel(lock.as_str()).into()]))
    }

    fn place(self: &Arc<Self>, names: Vec<Box<[u8]>>) -> Place {
        let mut state = self.state.lock();
        for name in &names {
            let entry = state.channels.entry(name.clone()).or_default();
            entry.listeners += 1;
            if matches!(entry.standing, Standing::Refused(_)) {
                entry.standing = Standing::Wanted;
            }
        }
        let starts = !state.is_kept && !state.is_closed;
        state.is_kept |= starts;
        let place =
            Place { desk: Arc::clone(self), names, gaps_before: state.gaps, starts, is_left: AtomicBool::new(false) };
        drop(state);
        self.errand.notify_one();
        place
    }

    fn leave(&self, names: &[Box<[u8]>]) {
        let mut state = self.state.lock();
        for name in names {
            if let Some(entry) = state.channels.get_mut(name) {
                entry.listeners -= 1;
            }
        }
        drop(state);
        self.errand.notify_one();
    }

    pub(super) fn gaps(&self) -> u64 {
        self.state.lock().gaps
    }

    pub(super) fn close(&self) {
        self.state.lock().is_closed = true;
        self.errand.notify_one();
        self.news.notify_waiters();
    }

    /// Waits until `is` finds what it looks for.
    async fn find<T>(&self, is: impl Fn(&State) -> Option<T>) -> T {
        loop {
            let mut news = pin!(self.news.notified());
            news.as_mut().enable();
            let found = is(&self.state.lock());
            if let Some(found) = found {
                return found;
            }
            news.await;
        }
    }

    // -- for the keeper

    /// Hands a message to those who listen.
    pub(super) fn deliver(&self, channel: &[u8], message: Vec<u8>) {
        let Ok(name) = std::str::from_utf8(channel) else { return };
        let within = |prefix: &[u8]| Key::new(name.get(prefix.len()..).filter(|_| channel.starts_with(prefix))?).ok();
        if let Some(lock) = within(&self.lock_prefix) {
            self.locks.publish(lock, ());
        }
        let (payload, received_at) = (unpack(message), SystemTime::now());
        if let Some(own) = within(&self.own_prefix) {
            self.own.publish(own, Arrived { payload: payload.clone(), received_at });
        }
        if let Ok(literal) = Key::new(name) {
            self.literal.publish(literal, Arrived { payload, received_at });
        }
    }

    /// Waits until there may be something to do.
    pub(super) async fn errand(&self) {
        self.errand.notified().await;
    }

    /// What Redis is to be told on the connection of now.
    pub(super) fn errands(&self) -> Errands {
        let mut errands = Errands::default();
        let mut state = self.state.lock();
        state.channels.retain(|name, entry| {
            match (entry.listeners, &entry.standing) {
                (0, Standing::Confirmed) => errands.unsubscribe.push(name.clone()),
                (0, _) => return false,
                (_, Standing::Wanted) => errands.subscribe.push(name.clone()),
                (_, _) => {}
            }
            true
        });
        errands
    }

    /// Redis said yes or no to `name`.
    pub(super) fn subscribed(&self, name: &[u8], outcome: Result<(), Fault>) {
        if let Some(entry) = self.state.lock().channels.get_mut(name) {
            entry.standing = outcome.map_or_else(Standing::Refused, |()| Standing::Confirmed);
        }
        self.news.notify_waiters();
    }

    /// Redis sends `name` no more.
    pub(super) fn unsubscribed(&self, name: &[u8]) {
        if let Some(entry) = self.state.lock().channels.get_mut(name) {
            entry.standing = Standing::Wanted;
        }
        // Who came meanwhile is to be seen to.
        self.errand.notify_one();
    }

    /// A channel that is listened to, for a sign of life.
    pub(super) fn any(&self) -> Option<Box<[u8]>> {
        let state = self.state.lock();
        state.channels.iter().find(|(_, entry)| entry.standing == Standing::Confirmed).map(|(name, _)| name.clone())
    }

    pub(super) fn connected(&self) {
        self.state.lock().trouble = None;
    }

    /// The connection is no more, and all that was confirmed on it.
    pub(super) fn disconnected(&self) {
        let mut state = self.state.lock();
        let mut was_heard = false;
        for entry in state.channels.values_mut() {
            was_heard |= entry.listeners > 0 && entry.standing == Standing::Confirmed;
            entry.standing = Standing::Wanted;
        }
        state.gaps += u64::from(was_heard);
    }

    /// There is no connection to be had.
    pub(super) fn failed(&self, fault: Fault) {
        self.state.lock().trouble = Some(fault);
        self.news.notify_waiters();
    }

    /// Whether the keeper is to go: nobody listens any more. If so, the next who listens needs another.
    pub(super) fn dismiss(&self) -> bool {
        let mut state = self.state.lock();
        if !state.is_closed && state.channels.values().any(|entry| entry.listeners > 0) {
            return false;
        }
        state.channels.retain(|_, entry| entry.listeners > 0);
        state.trouble = None;
        state.is_kept = false;
        true
    }

    /// The keeper went without having been dismissed: its runtime is no more.
    pub(super) fn abandoned(&self) {
        self.disconnected();
        let mut state = self.state.lock();
        state.trouble = Some(Fault::Unreachable);
        state.is_kept = false;
        drop(state);
        self.news.notify_waiters();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.lock().is_closed
    }
}

/// A place in the table, given up when it is dropped.
pub(super) struct Place {
    desk: Arc<Desk>,
    names: Vec<Box<[u8]>>,
    gaps_before: u64,
    starts: bool,
    is_left: AtomicBool,
}

impl Place {
    /// Whether this one is to see that the table is kept.
    pub(super) fn needs_keeper(&self) -> bool {
        self.starts
    }

    pub(super) async fn ready(&self) -> Result<(), Fault> {
        self.desk
            .find(|state| {
                if state.is_closed || self.is_left() {
                    return Some(Err(Fault::Unreachable));
                }
                let mut all_confirmed = true;
                for name in &self.names {
                    match state.channels.get(name).map(|entry| &entry.standing) {
                        Some(Standing::Confirmed) => {}
                        Some(Standing::Refused(fault)) => return Some(Err(fault.clone())),
                        _ => all_confirmed = false,
                    }
                }
                if all_confirmed { Some(Ok(())) } else { state.trouble.clone().map(Err) }
            })
            .await
    }

    /// Waits until no message will come.
    pub(super) async fn over(&self) {
        self.desk.find(|state| (state.is_closed || self.is_left()).then_some(())).await;
    }

    pub(super) fn is_over(&self) -> bool {
        self.desk.is_closed() || self.is_left()
    }

    pub(super) fn gaps(&self) -> u64 {
        self.desk.gaps() - self.gaps_before
    }

    pub(super) fn leave(&self) {
        if !self.is_left.swap(true, Ordering::SeqCst) {
            self.desk.leave(&self.names);
            self.desk.news.notify_waiters();
        }
    }

    fn is_left(&self) -> bool {
        self.is_left.load(Ordering::SeqCst)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.names.iter().map(|name| String::from_utf8_lossy(name));
        out.debug_list().entries(names).finish()
    }
}

#[cfg(test)]
mod tests {
    use donjon_core::key::Namespace;

    use super::*;

    fn desk() -> Arc<Desk> {
        Arc::new(Desk::new(Names::new(Namespace::new("app").unwrap())))
    }

    fn listen(desk: &Arc<Desk>, channel: &str) -> (Inbox<Arrived>, Place) {
        desk.listen(&[Key::new(channel).unwrap()], Naming::Own, NonZeroUsize::new(9).unwrap())
    }

    fn told(subscribe: &[&str], unsubscribe: &[&str]) -> Errands {
        let names = |channels: &[&str]| channels.iter().map(|name| name.as_bytes().into()).collect();
        Errands { subscribe: names(subscribe), unsubscribe: names(unsubscribe) }
    }

    #[test]
    fn a_channel_is_asked_for_once_and_let_go_when_the_last_who_listens_has_gone() {
        let desk = desk();
        let (one, other) = (listen(&desk, "a"), listen(&desk, "a"));
        assert!(one.1.needs_keeper() && !other.1.needs_keeper());
        assert_eq!(desk.errands(), told(&["app!ch:a"], &[]));
        desk.subscribed(b"app!ch:a", Ok(()));
        drop(one);
        assert_eq!(desk.errands(), Errands::default());
        assert!(!desk.dismiss());
        drop(other);
        assert_eq!(desk.errands(), told(&[], &["app!ch:a"]));
        let back = listen(&desk, "a");
        assert_eq!(desk.errands(), Errands::default(), "it was not let go yet");
        drop(back);
        desk.unsubscribed(b"app!ch:a");
        assert_eq!(desk.errands(), Errands::default());
        assert!(desk.dismiss() && desk.state.lock().channels.is_empty());
    }

    #[test]
    fn who_comes_while_a_channel_is_let_go_has_it_asked_for_anew() {
        let desk = desk();
        drop(listen(&desk, "a"));
        assert_eq!(desk.errands(), Errands::default(), "it was never asked for");
        let first = listen(&desk, "a");
        desk.subscribed(b"app!ch:a", Ok(()));
        drop(first);
        assert_eq!(desk.errands(), told(&[], &["app!ch:a"]));
        let _second = listen(&desk, "a");
        desk.unsubscribed(b"app!ch:a");
        assert_eq!(desk.errands(), told(&["app!ch:a"], &[]));
    }

    #[test]
    fn a_lost_connection_is_a_gap_for_those_who_were_heard_and_all_is_asked_for_anew() {
        let desk = desk();
        let (_a, b) = (listen(&desk, "a"), listen(&desk, "b"));
        desk.disconnected();
        assert_eq!(desk.gaps(), 0);
        desk.subscribed(b"app!ch:a", Ok(()));
        desk.subscribed(b"app!ch:b", Err(Fault::Unreachable));
        desk.disconnected();
        assert_eq!((desk.gaps(), b.1.gaps()), (1, 1));
        assert_eq!(listen(&desk, "c").1.gaps(), 0);
        assert_eq!(desk.errands(), told(&["app!ch:a", "app!ch:b"], &[]));
    }

    #[test]
    fn a_message_goes_to_those_who_named_its_channel_and_a_lock_is_no_channel() {
        let desk = desk();
        let literal = desk.listen(&[Key::new("app!ch:a").unwrap()], Naming::Literal, NonZeroUsize::MIN);
        let ((own, _place), (lock, _)) = (listen(&desk, "a"), desk.listen_to_lock(Key::new("a").unwrap()));
        desk.deliver(b"app!ch:a", b"1".to_vec());
        assert_eq!(own.take().map(|heard| heard.message.payload.clone()), Some(Payload::json("1")));
        assert_eq!(literal.0.take().map(|heard| heard.channel), Some("app!ch:a".into()));
        assert!(lock.take().is_none());
        desk.deliver(b"app!ch!lock:a", Vec::new());
        assert!(lock.take().is_some() && own.take().is_none());
        desk.deliver(b"\xff", Vec::new());
    }
}
