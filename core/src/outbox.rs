//! Outbox: which invalidations must still reach Redis, and which are to be said again after a new connection.
//!
//! Owns what was not said, and what was said of late. Must not know how anything is said, nor what a key means.
//! Invariants: what was queued stays until a batch that was taken after it was said in full over the connection of that
//! time; a batch that is given up costs nothing. What was said within [`REPEAT_WITHIN`] before a connection was last heard
//! from is queued again at the next one, as a server that took its place may never have got it. Both are bounded: too many
//! become [`Target::Everything`]. All of it may be said twice and in any order, as an invalidation does no harm twice.
//! Where there are several servers, each has its part of the keys and tags and a connection of its own: it is told its part alone
//! ([`Outbox::batch_of`]), and what was said is judged by when its own server was last heard from.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use crate::moment::Moment;
use crate::sync::{AtomicBool, Mutex, Ordering};
use targets::{Room, Targets};

/// What was said this long before a connection broke is said again over the next.
pub const REPEAT_WITHIN: Duration = Duration::from_secs(10);

/// As many keys are kept one by one; beyond, they become [`Target::Everything`]. As many tags as well.
pub const MAX_NAMES: usize = 10_000;

/// As many patterns are kept one by one; each of them is a sweep.
pub const MAX_PATTERNS: usize = 1_000;

/// The invalidations of one process that Redis has not confirmed, and those it may have forgotten.
///
/// Whoever reads from Redis, first looks at [`is_empty`](Self::is_empty), with the connection for the read at hand; unless
/// it is, [`batch`](Self::batch) has to be said and reported by [`replayed`](Self::replayed) before. Who makes a connection
/// calls [`reconnected`](Self::reconnected) before anybody may use it.
///
/// To queue or to report finds each target in O(log n), and one that is new moves those behind it along, a microsecond for each
/// thousand; a batch is O(n). Nothing waits but for a short lock.
///
/// # Examples
///
/// ```
/// use donjon_core::moment::Moment;
/// use donjon_core::outbox::{Outbox, Target};
///
/// let outbox = Outbox::default();
/// let at = Moment::from_millis;
/// let epoch = outbox.epoch();
/// // UNLINK of one key was answered, that of another one was not.
/// outbox.sent(&[Target::Key("user:5".into())], epoch, at(1_000));
/// assert!(outbox.is_empty());
/// outbox.queue(&[Target::Key("user:6".into())]);
///
/// // A new connection: both are to be said before anything is read.
/// outbox.reconnected(at(1_500));
/// let batch = outbox.batch();
/// assert_eq!(batch.targets(), [Target::Key("user:5".into()), Target::Key("user:6".into())]);
/// outbox.replayed(&batch, at(1_600));
/// assert!(outbox.is_empty());
/// ```
#[derive(Debug, Default)]
pub struct Outbox {
    kept: Mutex<Kept>,
    /// Written under the lock only, so that it never lags behind.
    is_waiting: AtomicBool,
}

/// What an invalidation covers. The texts are as the caller gave them, without the namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// One key.
    Key(Arc<str>),
    /// The keys that match.
    Pattern(Arc<str>),
    /// The entries that carry this tag.
    Tag(Arc<str>),
    /// The whole namespace, what carries tags included.
    Everything,
}

/// Names the connections of a time. To be read before the connection for an invalidation is taken, and given back when it
/// was done: the other way round, a connection made in between would be thought to know of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Epoch(u64);

/// A connection counts this much, a key that went to another server 1.
const CONNECTION: u64 = 1 << 32;

impl Epoch {
    /// Whether nothing has happened since `self` that could have undone what was sent for `target`. What is said to all servers is
    /// said again by whoever said it, where keys moved meanwhile.
    fn holds_for(self, target: &Target, now: Self) -> bool {
        match target {
            Target::Key(_) | Target::Tag(_) => self == now,
            Target::Pattern(_) | Target::Everything => self.0 / CONNECTION == now.0 / CONNECTION,
        }
    }

    /// The epoch that [`number`](Self::number) was taken from: for a host that keeps it as a number.
    pub const fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// The epoch as a number.
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// What has to be said now. To give it up, drop it.
#[derive(Debug)]
pub struct Batch {
    targets: Vec<Target>,
    /// All that was queued up to here is covered.
    cut: u64,
    epoch: Epoch,
}

#[derive(Debug, Default)]
struct Kept {
    /// Each marked by the number it was queued under.
    waiting: Targets<u64>,
    queued: u64,
    /// The highest cut of any batch.
    taken: u64,
    /// Each marked by when it was last said.
    said: Targets<Moment>,
    swept: Moment,
    epoch: Epoch,
}

impl Outbox {
    /// Whether nothing waits to be said. One atomic read.
    pub fn is_empty(&self) -> bool {
        !self.is_waiting.load(Ordering::Acquire)
    }

    /// Which connection the next invalidation will be said over, or a later one.
    pub fn epoch(&self) -> Epoch {
        self.kept.lock().epoch
    }

    /// Keeps what did not reach Redis for certain, until it is replayed.
    pub fn queue(&self, targets: &[Target]) {
        self.change(|kept| targets.iter().for_each(|target| kept.queue(target)));
    }

    /// Reports that Redis did what was sent after `epoch` was read.
    ///
    /// Where there has been a new connection since, nobody knows which one did it, so that it has to be said again: then
    /// the outbox [is not empty](Self::is_empty) afterwards.
    pub fn sent(&self, targets: &[Target], epoch: Epoch, now: Moment) {
        self.sent_to(targets, epoch, now, |_| now);
    }

    /// As [`sent`](Self::sent), where each target has a server of its own, which was last heard from when `heard` says.
    pub fn sent_to(&self, targets: &[Target], epoch: Epoch, now: Moment, heard: impl Fn(&Target) -> Moment) {
        self.change(|kept| {
            for target in targets {
                if epoch.holds_for(target, kept.epoch) {
                    kept.note_said(target, now, &heard);
                } else {
                    kept.queue(target);
                }
            }
        });
    }

    /// Tells of a new connection, before anybody uses it. `heard` is when the old one last answered, or `now` where that is
    /// not known: then what an outage of ten seconds has made older than that is not said again.
    pub fn reconnected(&self, heard: Moment) {
        self.taken_over(|_| Some(heard));
    }

    /// Tells of a new connection to one of several servers, or of a server in the place of another: `heard` says when the one that a
    /// target was said to last answered; none where it is still the same.
    pub fn taken_over(&self, heard: impl Fn(&Target) -> Option<Moment>) {
        self.change(|kept| {
            kept.epoch.0 += CONNECTION;
            kept.repeat(heard);
        });
    }

    /// Tells that keys and tags went from one server to another that was connected before, which may be because it took over.
    /// `heard` is as in [`taken_over`](Self::taken_over).
    pub fn moved(&self, heard: impl Fn(&Target) -> Option<Moment>) {
        self.change(|kept| {
            kept.epoch.0 += 1;
            kept.repeat(heard);
        });
    }

    /// What has to be said now: everything alone, or keys, patterns and tags, each once. It stays queued meanwhile.
    pub fn batch(&self) -> Batch {
        self.batch_of(|_| true)
    }

    /// What of it one server has to be told.
    pub fn batch_of(&self, is_its: impl Fn(&Target) -> bool) -> Batch {
        let mut kept = self.kept.lock();
        kept.taken = kept.queued;
        let mut targets = kept.waiting.list();
        targets.retain(is_its);
        Batch { targets, cut: kept.queued, epoch: kept.epoch }
    }

    /// Whether something waits that has to be said before this key is read, or a tag that `is_meant`.
    pub fn owes(&self, key: Option<&str>, is_meant: impl Fn(&str) -> bool) -> bool {
        if self.is_empty() {
            return false;
        }
        let kept = self.kept.lock();
        kept.waiting.means_many()
            || key.is_some_and(|key| kept.waiting.has_key(key))
            || kept.waiting.tags().any(is_meant)
    }

    /// Reports that Redis did all of `batch`. What was queued after it was taken stays, be it the same.
    pub fn replayed(&self, batch: &Batch, now: Moment) {
        self.replayed_to(batch, now, |_| now);
    }

    /// As [`replayed`](Self::replayed), where each target has a server of its own, which was last heard from when `heard` says.
    pub fn replayed_to(&self, batch: &Batch, now: Moment, heard: impl Fn(&Target) -> Moment) {
        self.change(|kept| {
            let holds = |target: &Target| batch.epoch.holds_for(target, kept.epoch);
            let done: Vec<&Target> = batch.targets.iter().filter(|target| holds(target)).collect();
            // Said over an old connection it may be lost; it still waits.
            kept.waiting.keep(|target, number| *number > batch.cut || !covers(&done, target));
            for target in done {
                kept.note_said(target, now, &heard);
            }
        });
    }

    fn change(&self, how: impl FnOnce(&mut Kept)) {
        let mut kept = self.kept.lock();
        how(&mut kept);
        self.is_waiting.store(!kept.waiting.is_empty(), Ordering::Release);
    }
}

/// Whether what was said is, or includes, `target`. What was said is in order.
fn covers(said: &[&Target], target: &Target) -> bool {
    matches!(said, [Target::Everything]) || said.binary_search(&target).is_ok()
}

impl Batch {
    /// What to say.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }
}

impl Kept {
    fn queue(&mut self, target: &Target) {
        // Everything that nobody has begun to say covers this too.
        if self.waiting.everything.is_some_and(|number| number > self.taken) {
            return;
        }
        self.queued += 1;
        if self.waiting.put(target, self.queued) == Room::None {
            self.waiting.put(&Target::Everything, self.queued);
        }
    }

    /// Queues what was said of late to a server that is not there any more.
    fn repeat(&mut self, heard: impl Fn(&Target) -> Option<Moment>) {
        self.said.keep(|target, at| heard(target).is_none_or(|heard| heard - *at <= REPEAT_WITHIN));
        let everything = self.said.everything.is_some().then_some(Target::Everything);
        let said: Vec<Target> = everything.into_iter().chain(self.said.others.keys().cloned()).collect();
        for target in said.iter().filter(|target| heard(target).is_some()) {
            self.queue(target);
        }
    }

    fn note_said(&mut self, target: &Target, now: Moment, heard: impl Fn(&Target) -> Moment) {
        if now - self.swept >= SWEEP_EVERY {
            self.swept = now;
            self.said.keep(|target, at| heard(target) - *at <= REPEAT_WITHIN);
        }
        if self.said.put(target, now) == Room::None {
            self.said.put(&Target::Everything, now);
        }
    }
}

/// How often what was said too long ago is dropped. In between it takes room.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod model;
mod targets;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }

    fn key(name: &str) -> Target {
        Target::Key(name.into())
    }

    /// What a batch taken now says.
    fn waiting(outbox: &Outbox) -> Vec<Target> {
        let waits = outbox.batch().targets().to_vec();
        assert_eq!(outbox.is_empty(), waits.is_empty());
        waits
    }

    #[test]
    fn what_is_queued_while_a_batch_is_said_has_to_be_said_too_be_it_the_same() {
        let outbox = Outbox::default();
        outbox.queue(&[key("a"), key("b"), key("a")]);
        let batch = outbox.batch();
        assert_eq!(batch.targets(), [key("a"), key("b")], "each once");
        outbox.queue(&[key("a"), Target::Tag("t".into())]);
        outbox.replayed(&batch, at(0));
        assert_eq!(waiting(&outbox), [key("a"), Target::Tag("t".into())]);
    }

    #[test]
    fn a_batch_that_is_given_up_loses_nothing() {
        let outbox = Outbox::default();
        outbox.queue(&[key("a"), Target::Pattern("b*".into())]);
        drop(outbox.batch());
        assert_eq!(waiting(&outbox), [key("a"), Target::Pattern("b*".into())]);
    }

    #[test]
    fn what_was_said_of_late_is_said_again_over_a_new_connection_and_what_is_older_is_not() {
        let outbox = Outbox::default();
        outbox.sent(&[key("old"), key("anew")], outbox.epoch(), at(0));
        outbox.sent(&[key("anew"), key("young")], outbox.epoch(), at(1));
        assert!(outbox.is_empty());
        outbox.reconnected(at(10_001));
        let batch = outbox.batch();
        assert_eq!(batch.targets(), [key("anew"), key("young")]);
        outbox.replayed(&batch, at(10_002));
        assert!(outbox.is_empty());
        outbox.reconnected(at(20_002));
        assert_eq!(waiting(&outbox), [key("anew"), key("young")], "it was said to yet another server ten seconds ago");
    }

    #[test]
    fn an_outage_however_long_does_not_make_what_was_said_before_it_old() {
        let outbox = Outbox::default();
        outbox.sent(&[key("a")], outbox.epoch(), at(0));
        outbox.reconnected(at(500));
        assert_eq!(waiting(&outbox), [key("a")], "by now it may be minutes later");
    }

    #[test]
    fn what_an_old_connection_did_is_said_again_when_that_is_known_only_after_the_new_one() {
        let outbox = Outbox::default();
        let epoch = outbox.epoch();
        outbox.queue(&[key("b")]);
        let batch = outbox.batch();
        outbox.reconnected(at(0));
        outbox.sent(&[key("a")], epoch, at(1));
        outbox.replayed(&batch, at(1));
        assert_eq!(waiting(&outbox), [key("a"), key("b")]);
    }

    /// Two servers: the keys with an `x` are the second one's.
    fn is_second(target: &Target) -> bool {
        matches!(target, Target::Key(key) if key.starts_with('x'))
    }

    #[test]
    fn each_server_is_told_its_part_and_what_is_left_waits_for_the_other() {
        let outbox = Outbox::default();
        outbox.queue(&[key("a"), key("x"), Target::Pattern("p*".into())]);
        let batch = outbox.batch_of(is_second);
        assert_eq!(batch.targets(), [key("x")]);
        outbox.queue(&[key("x")]);
        outbox.replayed(&batch, at(0));
        assert_eq!(waiting(&outbox), [key("a"), key("x"), Target::Pattern("p*".into())], "it was queued anew");
        outbox.replayed(&outbox.batch_of(is_second), at(0));
        outbox.replayed(&outbox.batch_of(|target| matches!(target, Target::Pattern(_))), at(0));
        assert_eq!(waiting(&outbox), [key("a")]);
        assert!(outbox.owes(Some("a"), |_| false) && !outbox.owes(Some("b"), |_| true));
    }

    #[test]
    fn what_was_said_to_a_server_that_is_away_does_not_grow_old_while_others_are_told_more() {
        let outbox = Outbox::default();
        let heard = |first: u64, second: u64| move |target: &Target| at(if is_second(target) { second } else { first });
        outbox.sent_to(&[key("a"), key("x")], outbox.epoch(), at(0), heard(0, 0));
        outbox.sent_to(&[key("b")], outbox.epoch(), at(60_000), heard(60_000, 100));
        outbox.taken_over(|target| is_second(target).then_some(at(100)));
        assert_eq!(waiting(&outbox), [key("x")], "and nothing that the other server was told");
        outbox.taken_over(|_| Some(at(61_000)));
        assert_eq!(waiting(&outbox), [key("b"), key("x")]);
    }

    #[test]
    fn keys_that_went_to_another_server_are_said_again_there_and_so_is_what_is_confirmed_too_late() {
        let outbox = Outbox::default();
        let all = Target::Everything;
        let epoch = outbox.epoch();
        outbox.sent(&[all.clone(), key("a"), key("x")], epoch, at(0));
        outbox.moved(|target| is_second(target).then_some(at(1)));
        assert_eq!(waiting(&outbox), [key("x")]);
        outbox.replayed(&outbox.batch(), at(1));
        outbox.sent(&[Target::Pattern("p*".into())], epoch, at(2));
        assert_eq!(waiting(&outbox), [], "a sweep sees to it by itself that keys are on the move");
        outbox.sent(&[key("y")], epoch, at(2));
        assert_eq!(waiting(&outbox), [key("y")]);
        outbox.taken_over(|_| None);
        outbox.sent(&[Target::Pattern("p*".into())], epoch, at(2));
        assert_eq!(waiting(&outbox), [key("y"), Target::Pattern("p*".into())]);
    }

    #[test]
    fn too_many_become_everything_and_what_comes_after_is_kept_beside_it() {
        let keys: Vec<Target> = (0..=MAX_NAMES).map(|number| key(&number.to_string())).collect();
        let patterns: Vec<Target> =
            (0..=MAX_PATTERNS).map(|number| Target::Pattern(number.to_string().into())).collect();
        for many in [keys, patterns] {
            let outbox = Outbox::default();
            outbox.queue(&many[1..]);
            outbox.queue(&many[1..]);
            assert_eq!(waiting(&outbox).len(), many.len() - 1);
            outbox.queue(&many);
            outbox.queue(&[key("covered")]);
            let batch = outbox.batch();
            assert_eq!(batch.targets(), [Target::Everything]);
            outbox.queue(&[key("later")]);
            outbox.replayed(&batch, at(0));
            assert_eq!(waiting(&outbox), [key("later")]);
        }
    }

    #[test]
    fn too_many_said_of_late_become_everything_which_fades_while_others_come() {
        let keys: Vec<Target> = (0..=MAX_NAMES).map(|number| key(&number.to_string())).collect();
        for (heard, again) in [(10_000, Target::Everything), (10_001, key("later"))] {
            let outbox = Outbox::default();
            outbox.sent(&keys, outbox.epoch(), at(0));
            outbox.sent(&[key("later")], outbox.epoch(), at(9_000));
            outbox.reconnected(at(heard));
            assert_eq!(waiting(&outbox), [again]);
        }
        let outbox = Outbox::default();
        for (second, some) in keys.chunks(900).enumerate() {
            outbox.sent(some, outbox.epoch(), at(second as u64 * 1_000));
        }
        outbox.reconnected(at(11_000));
        assert!(waiting(&outbox).len() > 9_000, "the first of them left in time");
    }
}
