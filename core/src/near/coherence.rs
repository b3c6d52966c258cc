//! Coherence: which answers came too late to be kept, and for how long what is kept may be believed.
//!
//! An answer is sent for under a [`Guard`], which is a number. Every change that is told takes the next number and writes it on its
//! mark: that of the keys with a like hash, that of a table of tags, or that of everything. An answer is kept only where none of
//! its marks has a later number than its guard. Keys that share a mark cost one another an answer that is not kept, and no more.
//!
//! Belief is a *spell*: from when a connection began to be told, to its end, or to when the server forgot what it was to tell.
//! What entered within a spell is believed until a moment that each sign of life puts off, and never again once it is over. Where the
//! shared tier is many servers, each tells of its own: what was answered by one and tagged in a table of another rests on the spells
//! of both. Where nobody tells of anything a spell has no end: what this process changes is marked all the same, and all else is
//! served for as long as memory has a value.
//!
//! Must not know what is kept, nor where.

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use crate::moment::Moment;
use crate::near::TRUST;
use crate::remote::name::TABLES;
use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering};

/// Everything that was told, and who is told.
#[derive(Debug)]
pub(super) struct Coherence {
    count: AtomicU64,
    keys: Box<[AtomicU64]>,
    tables: Box<[AtomicU64]>,
    everything: AtomicU64,
    /// In nanoseconds; zero for never.
    last_push: AtomicU64,
    tracks: Mutex<Vec<Weak<Inner>>>,
    has_given_up: AtomicBool,
}

/// How far what was told had got when something was sent for, and on what connections.
#[derive(Clone, Debug)]
pub struct Guard {
    since: u64,
    spells: Spells,
}

impl Guard {
    /// The number by which [`Track::guard_of`] finds it again.
    pub fn number(&self) -> u64 {
        self.since
    }

    /// Of what was asked of two servers: all that either told since keeps it out, and it rests on both.
    pub fn and(self, other: &Self) -> Self {
        Self { since: self.since.min(other.since), spells: self.spells.and(&other.spells) }
    }

    pub(super) fn spells(&self) -> &Spells {
        &self.spells
    }
}

/// What is believed as long as all of some spells are.
#[derive(Clone, Debug)]
pub(super) struct Spells {
    first: Arc<Spell>,
    /// Few are of more than one.
    others: Option<Arc<Vec<Arc<Spell>>>>,
}

impl Spells {
    fn of(first: Arc<Spell>) -> Self {
        Self { first, others: None }
    }

    fn and(mut self, more: &Self) -> Self {
        for spell in more.all() {
            if !self.all().any(|known| Arc::ptr_eq(known, spell)) {
                Arc::make_mut(self.others.get_or_insert_default()).push(Arc::clone(spell));
            }
        }
        self
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Spell>> {
        core::iter::once(&self.first).chain(self.others.iter().flat_map(|others| others.iter()))
    }

    #[inline]
    pub(super) fn is_trusted(&self, now: Moment) -> bool {
        self.first.is_trusted(now)
            && self.others.as_ref().is_none_or(|others| others.iter().all(|spell| spell.is_trusted(now)))
    }

    /// Until when they are or were all believed.
    pub(super) fn believed_until(&self) -> Moment {
        self.all().map(|spell| spell.believed_until()).min().unwrap_or(Moment::from_nanos(OVER))
    }

    fn is_over(&self) -> bool {
        self.all().any(|spell| spell.is_over())
    }
}

/// For how long what entered within it is believed.
#[derive(Debug)]
struct Spell {
    /// In nanoseconds; [`OVER`] once it has ended.
    trusted_until: AtomicU64,
    /// Until when it was believed when it ended; zero where what entered is known to be changed.
    lapsed: AtomicU64,
}

impl Spell {
    fn new(told: Told) -> Arc<Self> {
        let until = if told == Told::Nobody { Moment::NEVER.as_nanos() } else { UNHEARD };
        Arc::new(Self { trusted_until: AtomicU64::new(until), lapsed: AtomicU64::new(0) })
    }

    #[inline]
    fn is_trusted(&self, now: Moment) -> bool {
        now.as_nanos() < self.trusted_until.load(Ordering::Acquire)
    }

    /// Until when it is or was believed.
    fn believed_until(&self) -> Moment {
        let until = self.trusted_until.load(Ordering::Acquire);
        Moment::from_nanos(if until == OVER { self.lapsed.load(Ordering::Acquire) } else { until })
    }

    fn is_over(&self) -> bool {
        self.trusted_until.load(Ordering::Acquire) == OVER
    }

    /// Believed until then, if it is not believed for longer.
    fn believe(&self, until: u64) {
        let later = |known: u64| (known != OVER && known < until).then_some(until);
        // A sign of life that comes after the end brings nothing back.
        let _over_or_later = self.trusted_until.fetch_update(Ordering::AcqRel, Ordering::Acquire, later);
    }

    /// Not believed until further notice; gives until when it would have been.
    fn doubt(&self) -> u64 {
        let there = |known: u64| (known != OVER).then_some(UNHEARD);
        self.trusted_until.fetch_update(Ordering::AcqRel, Ordering::Acquire, there).unwrap_or(UNHEARD)
    }

    /// Nobody believes it any more. Where the connection was lost, what it was believed until is kept.
    fn end(&self, why: End) {
        let until = self.trusted_until.swap(OVER, Ordering::AcqRel);
        if until != OVER && why == End::Lost {
            self.lapsed.store(until, Ordering::Release);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Lost,
    Forgotten,
}

/// How a connection is told of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Among its answers, in their order.
    Itself,
    /// By way of another connection, so that word of a change may come before or behind an answer. As there is a guard, only a
    /// belief that is not warranted for as long is different.
    Aside,
    /// There is nobody who could: what others change is served until its time in memory is over.
    Nobody,
}

/// One connection that is told of changes of what was read on it. Dropping it ends the belief in all of that.
#[derive(Debug)]
pub struct Track {
    coherence: Arc<Coherence>,
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    told: Told,
    current: Mutex<Current>,
}

/// The spell of a connection, and the number under which it began: guards with lesser ones are of another.
#[derive(Debug)]
struct Current {
    spell: Arc<Spell>,
    began: u64,
    doubt: Option<Doubt>,
}

/// That it is not known what else to believe: as of which change, and until when all would be believed otherwise.
#[derive(Debug)]
struct Doubt {
    number: u64,
    until: u64,
}

impl Track {
    pub(super) fn new(coherence: &Arc<Coherence>, told: Told) -> Self {
        let current = Mutex::new(Current { spell: Spell::new(told), began: coherence.next(), doubt: None });
        let inner = Arc::new(Inner { told, current });
        let mut tracks = coherence.tracks.lock();
        tracks.retain(|track| track.strong_count() > 0);
        tracks.push(Arc::downgrade(&inner));
        drop(tracks);
        coherence.has_given_up.store(false, Ordering::Release);
        Self { coherence: Arc::clone(coherence), inner }
    }

    /// To be taken before anything is sent whose answer may enter.
    pub fn guard(&self) -> Guard {
        let spell = self.inner.spell();
        Guard { since: self.coherence.count.load(Ordering::Acquire), spells: Spells::of(spell) }
    }

    /// The guard that was taken on this connection under that number; `None` where all is over that it could be of.
    pub fn guard_of(&self, number: u64) -> Option<Guard> {
        let current = self.inner.current.lock();
        (number >= current.began).then(|| Guard { since: number, spells: Spells::of(Arc::clone(&current.spell)) })
    }

    /// The connection gave a sign of life, asked for at `sent`; all that it was told before was said first.
    pub fn answered(&self, sent: Moment) {
        let until = sent.after(TRUST).as_nanos();
        let mut current = self.inner.current.lock();
        match &mut current.doubt {
            Some(doubt) => doubt.until = doubt.until.max(until),
            None => current.spell.believe(until),
        }
    }

    /// The server said that something changed which any of what entered may depend on: none of it is believed until that was read.
    pub fn doubt(&self) {
        let mut current = self.inner.current.lock();
        let until = current.doubt.as_ref().map_or_else(|| current.spell.doubt(), |doubt| doubt.until);
        current.doubt = Some(Doubt { number: self.coherence.next(), until });
    }

    /// The number of the doubt there is: what is asked for from here on ends it, by [`Track::settled`].
    pub fn doubted(&self) -> Option<u64> {
        self.inner.current.lock().doubt.as_ref().map(|doubt| doubt.number)
    }

    /// What was asked for under the doubt of this number is known, and what was to go has gone: what is left is believed again, unless
    /// there is a later doubt.
    pub fn settled(&self, number: u64) {
        let mut current = self.inner.current.lock();
        if let Some(doubt) = current.doubt.take_if(|doubt| doubt.number <= number) {
            current.spell.believe(doubt.until);
        }
    }

    /// The server said that everything changed, and has forgotten what it was to tell: what entered is believed no more.
    pub fn flushed(&self, now: Moment) {
        self.coherence.pushed(now);
        self.begin_anew();
    }

    /// What entered is believed no more, such as where another server has some of it now; what is asked for from here on is.
    pub fn begin_anew(&self) {
        let next = Spell::new(self.inner.told);
        let mut current = self.inner.current.lock();
        let trusted_until = current.spell.trusted_until.load(Ordering::Acquire);
        next.trusted_until.store(trusted_until.max(UNHEARD), Ordering::Release);
        current.began = self.coherence.next();
        let before = core::mem::replace(&mut current.spell, next);
        drop(current);
        before.end(End::Forgotten);
    }
}

impl Inner {
    fn spell(&self) -> Arc<Spell> {
        Arc::clone(&self.current.lock().spell)
    }
}

impl Drop for Track {
    fn drop(&mut self) {
        self.inner.spell().end(End::Lost);
    }
}

/// What memory is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// A connection is told of changes, and lives.
    Tracking,
    /// The same, by way of another connection: for servers that do not speak the newer protocol.
    Fallback,
    /// Nobody tells of changes: a value is served until its time in memory is over.
    Ttl,
    /// There is no connection, or no sign of life of it: nothing is served.
    Suspect,
    /// No connection is told of changes here: nothing is kept.
    Off,
}

impl State {
    /// It in a word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Tracking => "tracking",
            Self::Fallback => "fallback",
            Self::Ttl => "ttl",
            Self::Suspect => "suspect",
            Self::Off => "off",
        }
    }
}

impl Coherence {
    pub(super) fn new() -> Self {
        let marks = |count: usize| (0..count).map(|_| AtomicU64::new(0)).collect();
        Self {
            count: AtomicU64::new(0),
            keys: marks(KEY_MARKS),
            tables: marks(usize::from(TABLES)),
            everything: AtomicU64::new(0),
            last_push: AtomicU64::new(0),
            tracks: Mutex::default(),
            has_given_up: AtomicBool::new(false),
        }
    }

    /// What has this hash changes, or did. To be said before what is kept of it is removed.
    pub(super) fn changed(&self, hash: u64) {
        self.mark(self.key(hash));
    }

    pub(super) fn table_changed(&self, table: u8) {
        self.mark(&self.tables[usize::from(table)]);
    }

    pub(super) fn all_changed(&self) {
        self.mark(&self.everything);
    }

    /// Whether nothing of the kind was said since the guard was taken. To be asked under the lock that keeps the answer.
    pub(super) fn holds(&self, guard: &Guard, hash: u64, tables: &[u8]) -> bool {
        let stands = |mark: &AtomicU64| mark.load(Ordering::Acquire) <= guard.since;
        !guard.spells.is_over()
            && stands(self.key(hash))
            && stands(&self.everything)
            && tables.iter().all(|table| self.tables.get(usize::from(*table)).is_some_and(stands))
    }

    pub(super) fn pushed(&self, now: Moment) {
        self.last_push.store(now.as_nanos().max(1), Ordering::Relaxed);
    }

    pub(super) fn last_push(&self) -> Option<Moment> {
        Some(self.last_push.load(Ordering::Relaxed)).filter(|&nanos| nanos != 0).map(Moment::from_nanos)
    }

    pub(super) fn give_up(&self) {
        self.has_given_up.store(true, Ordering::Release);
    }

    /// Whether there is a connection that is told.
    pub(super) fn is_told(&self) -> bool {
        self.tracks.lock().iter().any(|track| track.strong_count() > 0)
    }

    pub(super) fn state(&self, now: Moment) -> State {
        let tracks: Vec<_> = self.tracks.lock().iter().filter_map(Weak::upgrade).collect();
        let mut trusted = tracks.iter().filter(|track| track.spell().is_trusted(now)).map(|track| track.told);
        match trusted.next() {
            Some(Told::Itself) => State::Tracking,
            Some(Told::Aside) => State::Fallback,
            Some(Told::Nobody) => State::Ttl,
            None if tracks.is_empty() && self.has_given_up.load(Ordering::Acquire) => State::Off,
            None => State::Suspect,
        }
    }

    fn key(&self, hash: u64) -> &AtomicU64 {
        &self.keys[(hash >> 16) as usize % KEY_MARKS]
    }

    fn mark(&self, mark: &AtomicU64) {
        mark.fetch_max(self.next(), Ordering::AcqRel);
    }

    fn next(&self) -> u64 {
        self.count.fetch_add(1, Ordering::AcqRel) + 1
    }
}

/// Before the first sign of life.
const UNHEARD: u64 = 1;

/// No moment lies before it.
const OVER: u64 = 0;

/// Enough that keys seldom share one: at 10,000 changes a second, one answer in 500 of those that take 200 µs is not kept.
const KEY_MARKS: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_of_life_that_comes_after_the_end_brings_nothing_back() {
        let (spell, now) = (Spell::new(Told::Itself), Moment::from_millis(1_000));
        spell.believe(now.after(TRUST).as_nanos());
        assert!(spell.is_trusted(now));
        spell.end(End::Forgotten);
        spell.believe(now.after(TRUST).as_nanos());
        assert!(!spell.is_trusted(now) && spell.is_over());
    }
}
