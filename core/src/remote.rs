//! Remote: a tier that processes share, which is one Redis: what to ask it, what its answers mean, and what to do about them.
//!
//! Owns the protocol that `docs/coherence.md` describes: leases across processes, tags, and what is a hit, stale or dead. Must not
//! know how a connection works: it gives [`call::Call`]s and is told [`call::Reply`]s. Nothing is kept here but the loads under way.
//!
//! | to find out | look in |
//! |---|---|
//! | who is served, who loads, who waits | [`look`] |
//! | how a loaded value gets there | [`lease`] |
//! | what bytes under a key mean | [`sight`] |
//! | how tags are kept | `tables` |
//! | what is dead since a pattern is being swept that covers it | [`sweeps`] |
//! | what things are called in Redis | [`name`] |
//! | commands, answers and scripts | [`call`], [`script`] |

pub mod call;
pub mod lease;
pub mod look;
pub mod name;
pub mod script;
pub mod sight;
pub mod sweeps;
mod tables;

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::{Buf, Bytes};

use crate::cache::Config;
use crate::chance::{Chance, Seed};
use crate::entry::{Freshness, Life};
use crate::envelope::{Codec, Content, Decoded, Entry, Token, decode, decode_start};
use crate::expiry::{Early, Grace, Jitter, Ttl};
use crate::fault::Fault;
use crate::flights::Flights;
use crate::key::{Key, Namespace};
use crate::moment::Moment;
use crate::pattern::Pattern;
use crate::payload::Payload;
use crate::stats::{Counter, Stats};
use crate::version::Ticket;

use call::{Call, Replies, Reply};
use look::{Look, Step, Want};
use name::Names;
use script::{ACQUIRE, EXTEND, INCREMENT, LIFT, TOUCH, UNLOCK};
use sight::{Header, Seen, Sight};
use sweeps::{Id, List, Sweeps};
use tables::{Standing, ToNote, ToRead};

pub use tables::Notes;

/// The shared tier as one process sees it. Clones share everything.
#[derive(Debug)]
pub struct Remote<E: Clone> {
    shared: Arc<Shared<E>>,
}

impl<E: Clone> Clone for Remote<E> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

#[derive(Debug)]
struct Shared<E> {
    names: Names,
    /// Where loads of this process meet, and what is counted of them.
    flights: Flights<Payload, E>,
    sweeps: Sweeps,
    jitter: Jitter,
    early: Early,
    load_timeout: Duration,
    max_value_bytes: u64,
    chance: Chance,
    /// Of this process alone: half of each of its tokens.
    prefix: u64,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Counters {
    takeovers: Counter,
    closed: Counter,
    faults: Counter,
}

/// How a value is to be stored.
#[derive(Clone, Debug)]
pub struct Storing {
    /// How long it stays fresh.
    pub ttl: Ttl,
    /// How long it may be served after that.
    pub grace: Grace,
    /// What it can be invalidated by besides its key: checked by [`crate::tag::check_tags`], each once.
    pub tags: Arc<[Box<str>]>,
}

/// What is under a key, or what has to be known first.
#[derive(Debug)]
pub enum See {
    /// It is known.
    Plain(Sight),
    /// It has tags: see [`Remote::ask_about`].
    Tagged(Tagged),
}

/// What was read of a key.
#[derive(Debug, Default)]
pub struct Found {
    /// None where there is nothing, or no string.
    pub bytes: Option<Vec<u8>>,
    /// Whether it is dead, as it is older than something that is being swept.
    pub is_swept: bool,
}

/// Values whose tags are asked about together, at most: a table of theirs is then one short command.
pub const ASKED_TOGETHER: usize = 1_000;

/// A value whose tags are to be asked about.
#[derive(Debug)]
pub struct Tagged(Seen);

/// Tags that are being asked about.
#[derive(Debug)]
pub struct Asking(ToRead);

/// How the tags stand that were asked about, as far as it was answered.
#[derive(Debug, Default)]
pub struct Told(Standing, Option<Fault>);

/// Tables of tags that are being noted.
#[derive(Debug)]
pub struct Noting(ToNote);

impl<E: Clone> Remote<E> {
    /// A view of the tier. `config` says how loads are shared and how time is treated; its bounds are for what is kept in memory,
    /// which is nothing. The seed comes from the operating system, and a child of `fork` needs another.
    pub fn new(namespace: Namespace, config: &Config, max_value_bytes: u64, seed: Seed) -> Self {
        let chance = Chance::new(seed);
        let hasher = chance.hasher(seed);
        Self {
            shared: Arc::new(Shared {
                names: Names::new(namespace),
                flights: Flights::new(config.limits(), hasher),
                sweeps: Sweeps::default(),
                jitter: config.jitter,
                early: config.early,
                load_timeout: config.load_timeout,
                max_value_bytes,
                prefix: (seed.0 >> 64) as u64,
                chance,
                counters: Counters::default(),
            }),
        }
    }

    /// What things are called.
    pub fn names(&self) -> &Names {
        &self.shared.names
    }

    /// A ticket later than every load begun so far in this process.
    pub fn ticket(&self) -> Ticket {
        self.shared.flights.ticket()
    }

    /// Looks up for a caller that can load. Counts a hit, a stale hit or a miss.
    pub fn look(&self, key: Key<'_>, want: Want, now: Moment) -> Step<E> {
        let look = Look::new(self, key.as_str(), self.shared.names.key(key), want);
        if self.is_enabled() {
            return look.ask();
        }
        look.pass(now)
    }

    /// Loads without storing, and without asking.
    pub fn bypass(&self, key: Key<'_>, now: Moment) -> Step<E> {
        Look::new(self, key.as_str(), self.shared.names.key(key), Want::default()).bypass(now)
    }

    /// What reads keys; [`Remote::found_many`] reads what it answers.
    pub fn get_many(&self, keys: &[Key<'_>]) -> Call {
        let names = keys.iter().map(|key| self.shared.names.key(*key));
        let list = self.reads_sweeps().then(|| self.shared.names.sweeps());
        Call::Plain(core::iter::once(b"MGET"[..].into()).chain(names.chain(list).map(Into::into)).collect())
    }

    /// What was answered to [`Remote::get_many`] of these keys.
    ///
    /// # Errors
    ///
    /// [`Fault`] where they could not be read.
    pub fn found_many(&self, keys: &[Key<'_>], reply: Reply, now: Moment) -> Result<Vec<Found>, Fault> {
        let mut found = reply.into_list()?;
        let list = if self.reads_sweeps() { found.pop() } else { None };
        if found.len() != keys.len() {
            return Err(Fault::Protocol);
        }
        let sweeps = self.sweeps_in(list.as_ref().and_then(Reply::as_bytes), now);
        let found = found.into_iter().zip(keys).map(|(reply, key)| {
            let bytes = reply.into_bytes().unwrap_or_default();
            Found::under(sweeps.as_deref(), key.as_str(), bytes)
        });
        Ok(found.collect())
    }

    /// What was read of one key, and in the list of what is being swept.
    pub fn found(&self, key: Key<'_>, bytes: Option<Vec<u8>>, list: Option<&[u8]>, now: Moment) -> Found {
        Found::under(self.sweeps_in(list, now).as_deref(), key.as_str(), bytes)
    }

    /// What was read of a key by a command of its own, to be judged by what this process knows.
    pub fn found_before(&self, key: Key<'_>, bytes: Vec<u8>) -> Found {
        let is_swept = self.shared.sweeps.covers(key.as_str(), &Header::of(&bytes));
        Found { bytes: Some(bytes), is_swept }
    }

    /// What reads one key, alone or with what is being swept.
    fn get(&self, name: &[u8]) -> Call {
        let call = Call::plain(if self.reads_sweeps() { "MGET" } else { "GET" }, name);
        if self.reads_sweeps() { call.with(self.shared.names.sweeps()) } else { call }
    }

    /// What was answered to that.
    fn got(&self, key: &str, reply: Reply, now: Moment) -> Result<Found, Fault> {
        if !self.reads_sweeps() {
            return Ok(Found::from(reply.into_bytes()?));
        }
        let [value, list] = <[Reply; 2]>::try_from(reply.into_list()?).map_err(|_| Fault::Protocol)?;
        Ok(Found::under(self.sweeps_in(list.as_bytes(), now).as_deref(), key, value.into_bytes()?))
    }

    /// The hot path of a call that would load: takes the value out of what was found, where it is fresh, has no tags, need
    /// not be refreshed early, and is not being swept. Counts a hit, or nothing: on `None` go on with [`Remote::look`].
    pub fn hit(&self, found: &mut Found, clock: Moment) -> Option<Payload> {
        if found.is_swept {
            return None;
        }
        let (codec, from, fingerprint) = self.plain(found.bytes.as_deref()?, 0, clock)?;
        self.count(Freshness::Fresh);
        let mut bytes = Bytes::from(found.bytes.take()?);
        bytes.advance(from);
        Some(Payload { codec, bytes, fingerprint, is_failure: false })
    }

    /// As [`Remote::hit`], for a host that keeps what it was answered: how to read the payload, and where it begins. `start` is of the
    /// first bytes under a key, all the header among them, and `beyond` how many follow.
    pub fn hit_start(&self, start: &[u8], beyond: usize, clock: Moment) -> Option<(Codec, usize)> {
        let (codec, from, _) = self.plain(start, beyond, clock)?;
        self.count(Freshness::Fresh);
        Some((codec, from))
    }

    /// Of a value that can be served without another question: how to read it, from where on, and its type's fingerprint.
    fn plain(&self, bytes: &[u8], beyond: usize, clock: Moment) -> Option<(Codec, usize, Option<u64>)> {
        let entry = match decode_start(bytes, beyond) {
            Decoded::Entry(entry) => entry,
            Decoded::Counter(_) => return Some((Codec::Json, 0, None)),
            _ => return None,
        };
        let Content::Value { codec, payload } = entry.content else { return None };
        let early = self.shared.early.possible(clock, entry.life.fresh_until(), entry.load_time);
        (entry.tags.is_empty() && !early && entry.at(clock) == Freshness::Fresh)
            .then(|| (codec, bytes.len() - payload.len(), entry.fingerprint))
    }

    /// Says what is under a key. Counts nothing.
    pub fn see(&self, found: Found, clock: Moment) -> See {
        match Sight::of(found.bytes, clock).unless(found.is_swept) {
            Sight::Value(seen) if !seen.marks.is_empty() => See::Tagged(Tagged(seen)),
            sight => See::Plain(sight),
        }
    }

    /// Asks how the tags of all these values stand, each table once. Send the calls in one go and say by [`Asking::replied`] what was
    /// answered. Takes time by the square of how many different tags they have: ask about no more than [`ASKED_TOGETHER`] at once.
    pub fn ask_about<'t>(&self, tagged: impl IntoIterator<Item = &'t Tagged>) -> (Asking, Vec<Call>) {
        let tags = ToRead::of(tagged.into_iter().flat_map(|Tagged(seen)| seen.tags()));
        let mut calls = Vec::new();
        self.ask_tags(&tags, &mut calls);
        (Asking(tags), calls)
    }

    /// Counts a plain read by what it found.
    pub fn count_read(&self, sight: &Sight, clock: Moment) {
        self.count(if let Sight::Value(seen) = sight { seen.life.at(clock) } else { Freshness::Over });
    }

    /// Asks for how long a counter lives, right behind its value: see [`Outline::of_counter`](sight::Outline::of_counter).
    pub fn lasts(&self, key: Key<'_>) -> Call {
        Call::plain("PTTL", &self.shared.names.key(key))
    }

    /// Whether a value is within the limit for one.
    pub fn fits(&self, payload: &Payload) -> bool {
        payload.bytes.len() as u64 <= self.shared.max_value_bytes
    }

    /// The limit for one value, in bytes.
    pub fn max_value_bytes(&self) -> u64 {
        self.shared.max_value_bytes
    }

    // -- writes: each is one call, after the tables of its tags were noted

    /// What to ask before a value with these tags is stored by hand; no calls where it has none.
    pub fn note(&self, tags: &[Box<str>]) -> (Noting, Vec<Call>) {
        let noting = ToNote::of(tags);
        let mut calls = Vec::new();
        self.ask_notes(noting, &mut calls);
        (Noting(noting), calls)
    }

    /// Stores a value whatever is there. `None` where it is too large or switched off: then the key is to be invalidated.
    pub fn set(
        &self,
        key: Key<'_>,
        payload: &Payload,
        storing: &Storing,
        notes: &Notes,
        clock: Moment,
    ) -> Option<Call> {
        let (entry, span) = self.written(key, payload, storing, notes, clock)?;
        let call = Call::plain("SET", &self.shared.names.key(key)).with(entry);
        self.shared.flights.counters().stores.one();
        Some(if span == 0 { call } else { call.word("PX").number(span) })
    }

    /// Stores a value where nothing is; the second call tells what is there.
    pub fn add(&self, key: Key<'_>, payload: &Payload, storing: &Storing, clock: Moment) -> Option<[Call; 2]> {
        let (entry, span) = self.written(key, payload, storing, &Notes::default(), clock)?;
        let name = self.shared.names.key(key);
        let call = Call::plain("SET", &name).with(entry).word("NX");
        let call = if span == 0 { call } else { call.word("PX").number(span) };
        Some([call, Call::plain("GET", &name)])
    }

    /// Counts a value that [`add`](Self::add) or [`swap`](Self::swap) has stored.
    pub fn added(&self) {
        self.shared.flights.counters().stores.one();
    }

    /// Stores a value in the place of what has this header; answers with a number, 0 where it is there no longer.
    pub fn swap(
        &self,
        key: Key<'_>,
        header: &Header,
        payload: &Payload,
        storing: &Storing,
        clock: Moment,
    ) -> Option<Call> {
        let (entry, span) = self.written(key, payload, storing, &Notes::default(), clock)?;
        let name = self.shared.names.key(key);
        Some(Call::run(&script::FILL, &name).with(header.as_bytes().to_vec()).with(entry).number(span))
    }

    /// Gives a value another time to live; its grace stays as long as it was. Answers with a number, 0 where it is gone.
    pub fn touch(&self, key: Key<'_>, seen: &Seen, ttl: Ttl, clock: Moment) -> Call {
        let fresh_until = self.life(ttl, Grace::NONE, clock).fresh_until();
        let call = Call::run(&TOUCH, &self.shared.names.key(key)).with(seen.header.as_bytes().to_vec());
        if seen.counter {
            return call.with(&b""[..]).with(&b""[..]).number(lasting(Life::new(fresh_until, fresh_until), clock));
        }
        let life = seen.life.retimed(fresh_until);
        let [soft, hard] = Entry::times(life);
        call.with(soft.to_vec()).with(hard.to_vec()).number(lasting(life, clock))
    }

    /// Adds to a counter. Answers with the sum as text, or with a list of one: a value with tags, to be judged, and the call made
    /// again saying whether what has its header is dead or alive.
    pub fn increment(&self, key: Key<'_>, by: i64, ttl: Ttl, judged: Option<(&Header, bool)>, clock: Moment) -> Call {
        let life = self.life(ttl, Grace::NONE, clock);
        let header = |wanted: bool| {
            let header = judged.filter(|(_, alive)| *alive == wanted).map(|(header, _)| header.as_bytes().to_vec());
            header.unwrap_or_default()
        };
        Call::run(&INCREMENT, &self.shared.names.key(key))
            .with(by.to_string().into_bytes())
            .number(lasting(life, clock))
            .with(header(false))
            .with(header(true))
    }

    /// Removes a key; the first call tells, by [`sight::values_removed`], whether a value was there.
    pub fn delete(&self, key: Key<'_>) -> [Call; 2] {
        let name = self.shared.names.key(key);
        [Call::plain("GETRANGE", &name).number(0).number(3), Call::plain("UNLINK", &name)]
    }

    /// Puts a hold-down in the place of what is there: for so long, what is loaded is not stored. The call answers with what was
    /// there, for [`Remote::held_alone`].
    pub fn hold_down(&self, key: Key<'_>, span: Duration, clock: Moment) -> (Header, Call) {
        let until = clock.after(span);
        let entry = self.placeholder(None, Content::HoldDown, Life::new(until, until));
        let header = Header::of(&entry);
        let call = Call::plain("SET", &self.shared.names.key(key)).with(entry).word("PX").millis(span).word("GET");
        (header, call)
    }

    /// Whether a hold-down took no other's place, by what its call answered: then it is its maker's to lift. One that did is
    /// nobody's, as nobody can know who needs it last, and lasts its time.
    pub fn held_alone(header: &Header, reply: &Reply) -> bool {
        let was_held = |there: &[u8]| {
            let is_hold_down = matches!(decode(there), Decoded::Entry(Entry { content: Content::HoldDown, .. }));
            is_hold_down && Header::of(there) != *header
        };
        match reply {
            Reply::Bytes(there) => !was_held(there),
            Reply::Nil => true,
            _ => false,
        }
    }

    /// Removes what is there, a hold-down with this header too, but no other's; answers with a number, 0 where it removed nothing.
    pub fn lift(&self, key: Key<'_>, header: Option<&Header>) -> Call {
        let header = header.map_or(Vec::new(), |header| header.as_bytes().to_vec());
        Call::run(&LIFT, &self.shared.names.key(key)).with(header)
    }

    /// Makes dead whatever carries one of these tags: a call for each table.
    pub fn move_tags<N: AsRef<str>>(&self, tags: &[N]) -> Vec<Call> {
        tables::moves(tags, &self.shared.names, self.bits())
    }

    // -- locks and messages

    /// Takes a lock that is free; answers with a fence, or 0. The token is drawn anew.
    pub fn acquire(&self, lock: &str, millis: u64) -> ([u8; 16], Call) {
        let token = self.token(None).0;
        let names = &self.shared.names;
        let call = Call::run(&ACQUIRE, &names.lock(lock)).with(names.fence(lock)).with(token.to_vec()).number(millis);
        (token, call)
    }

    /// Lets a lock last so much longer; answers with a number, 0 where it is lost.
    pub fn extend(&self, lock: &str, token: &[u8; 16], millis: u64) -> Call {
        Call::run(&EXTEND, &self.shared.names.lock(lock)).with(token.to_vec()).number(millis)
    }

    /// Gives a lock back and says so on its channel; answers with a number, 0 where it was lost.
    pub fn unlock(&self, lock: &str, token: &[u8; 16]) -> Call {
        let names = &self.shared.names;
        Call::run(&UNLOCK, &names.lock(lock)).with(token.to_vec()).with(names.lock_channel(lock))
    }

    /// Sends a message to all who listen to a channel; answers with their number.
    pub fn publish(&self, channel: &str, message: Vec<u8>) -> Call {
        Call::plain("PUBLISH", &self.shared.names.channel(channel)).with(message)
    }

    // -- this process

    /// Sends away the load of a key that is under way in this process.
    pub fn detach(&self, key: Key<'_>) {
        self.shared.flights.detach(key.as_str());
    }

    /// Sends away the loads of the keys that match.
    pub fn detach_matching(&self, pattern: &Pattern) {
        self.shared.flights.detach_matching(|key| pattern.is_everything() || pattern.matches(key.as_bytes()));
    }

    /// Sends away all loads.
    pub fn detach_all(&self) {
        self.shared.flights.detach_matching(|_| true);
    }

    /// Switches the cache on or off, as [`Cache::switch`](crate::cache::Cache::switch) does.
    pub fn switch(&self, enabled: bool) {
        self.shared.flights.switch(enabled);
    }

    /// Whether the cache is switched on.
    pub fn is_enabled(&self) -> bool {
        self.shared.flights.is_enabled()
    }

    /// Notes that Redis could not be asked, or answered with an error.
    pub fn noticed(&self, _fault: &Fault) {
        self.shared.counters.faults.one();
    }

    /// A reading of the counters of this process. Entries and bytes are not known: others store, too.
    pub fn stats(&self) -> Stats {
        let counters = &self.shared.counters;
        let mut stats = self.shared.flights.stats();
        stats.takeovers = counters.takeovers.read();
        stats.foreign = counters.closed.read();
        stats.faults = counters.faults.read();
        stats
    }

    /// Sets the counters back to zero.
    pub fn reset_stats(&self) {
        let Counters { takeovers, closed, faults } = &self.shared.counters;
        for counter in [takeovers, closed, faults] {
            counter.reset();
        }
        self.shared.flights.counters().reset();
    }

    /// Asks how the tables of tags stand, before a value with them is loaded or stored.
    fn ask_notes(&self, notes: ToNote, calls: &mut Vec<Call>) {
        notes.ask(&self.shared.names, self.bits(), calls);
    }

    /// Asks how tags stand.
    fn ask_tags(&self, tags: &ToRead, calls: &mut Vec<Call>) {
        tags.ask(&self.shared.names, calls);
    }

    fn written(
        &self,
        key: Key<'_>,
        payload: &Payload,
        storing: &Storing,
        notes: &Notes,
        clock: Moment,
    ) -> Option<(Vec<u8>, u64)> {
        if !self.fits(payload) {
            self.shared.flights.counters().too_large.one();
            return None;
        }
        let life = self.life(storing.ttl, storing.grace, clock);
        let after = self.shared.sweeps.last_of(key.as_str());
        let (entry, _) = self.entry(after, payload, life, Duration::ZERO, &storing.tags, notes)?;
        self.is_enabled().then(|| (entry, lasting(life, clock)))
    }

    /// What stands in the place of a value.
    fn placeholder(&self, after: Option<Id>, content: Content<'_>, life: Life) -> Vec<u8> {
        let (token, load_time) = (self.token(after), Duration::ZERO);
        let entry = Entry { token, life, load_time, fingerprint: None, tags: Vec::new(), content };
        entry.encode().expect("it has neither tags nor a payload")
    }

    fn lease(&self, key: &str) -> Vec<u8> {
        let after = self.shared.sweeps.last_of(key);
        self.placeholder(after, Content::Lease, Life::new(Moment::from_millis(0), Moment::from_millis(0)))
    }

    /// One that was never used; the record that a load noted when it began stands in the place of what is this process's own.
    fn token(&self, after: Option<Id>) -> Token {
        let mut token = [0; 16];
        token[..8].copy_from_slice(&after.unwrap_or(self.shared.prefix.to_be_bytes()));
        token[8..].copy_from_slice(&self.bits().to_be_bytes());
        Token(token)
    }

    fn bits(&self) -> u64 {
        self.shared.chance.bits()
    }

    fn share(&self) -> f64 {
        self.shared.chance.share()
    }

    fn refreshes_early(&self, seen: &Seen, clock: Moment) -> bool {
        let (end, took) = (seen.life.fresh_until(), seen.load_time);
        took > Duration::ZERO
            && self.shared.early.possible(clock, end, took)
            && self.shared.early.due(clock, end, took, self.share())
    }

    fn life(&self, ttl: Ttl, grace: Grace, clock: Moment) -> Life {
        self.shared.jitter.apply(ttl, 1.0 - self.share()).life(grace, clock)
    }

    /// Counts a look-up by how the value stands that it found.
    fn count(&self, freshness: Freshness) {
        let counters = self.shared.flights.counters();
        match freshness {
            Freshness::Fresh => counters.hits.one(),
            Freshness::Stale => counters.stale.one(),
            Freshness::Over => counters.misses.one(),
        }
    }
}

impl Found {
    fn under(sweeps: Option<&List>, key: &str, bytes: Option<Vec<u8>>) -> Self {
        let is_swept = sweeps.zip(bytes.as_deref()).is_some_and(|(list, bytes)| list.covers(key, &Header::of(bytes)));
        Self { bytes, is_swept }
    }
}

/// Of where nobody knows what is being swept.
impl From<Option<Vec<u8>>> for Found {
    fn from(bytes: Option<Vec<u8>>) -> Self {
        Self { bytes, is_swept: false }
    }
}

impl Asking {
    /// How they stand.
    pub fn replied(self, replies: Vec<Reply>) -> Told {
        let (standing, fault) = self.0.read_each(&mut Replies::new(replies));
        Told(standing, fault)
    }
}

impl Told {
    /// Why not all of it is known; `None` where it is.
    pub fn fault(&self) -> Option<&Fault> {
        self.1.as_ref()
    }

    /// What is under the key of a value that was asked about.
    ///
    /// # Errors
    ///
    /// [`Fault`] where a table of its tags could not be read: then the value may be dead.
    pub fn judge(&self, Tagged(seen): Tagged) -> Result<Sight, Fault> {
        match self.0.keeps(&seen.marks) {
            Some(true) => Ok(Sight::Value(seen)),
            Some(false) => Ok(Sight::Dead(seen.header)),
            None => Err(self.1.clone().unwrap_or(Fault::Protocol)),
        }
    }
}

impl Noting {
    /// How the tables stand.
    ///
    /// # Errors
    ///
    /// [`Fault`] where one could not be read.
    pub fn replied(self, replies: Vec<Reply>) -> Result<Notes, Fault> {
        self.0.read(&mut Replies::new(replies))
    }
}

/// Milliseconds from `clock` until nothing may be served any more; 0 for ever.
fn lasting(life: Life, clock: Moment) -> u64 {
    match life.usable_until() {
        Moment::NEVER => 0,
        until => ((until - clock).as_millis() as u64).max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::name::table_of;
    use super::tables::Mark;
    use super::*;

    fn tagged(tags: &[&str]) -> Tagged {
        let mark = |tag: &&str| Mark { name: (*tag).into(), epoch: 1, version: 5 };
        Tagged(Seen {
            payload: Payload::json(b"1".to_vec()),
            header: Header::of(&[]),
            life: Life::FOREVER,
            load_time: Duration::ZERO,
            marks: tags.iter().map(mark).collect(),
            counter: false,
        })
    }

    fn digits(number: u64) -> Reply {
        Reply::Bytes(number.to_string().into_bytes())
    }

    #[test]
    fn the_tags_of_many_values_are_asked_about_by_one_call_a_table_and_one_that_fails_tells_nothing_of_its_own() {
        let remote = Remote::<()>::new(Namespace::new("app").unwrap(), &Config::default(), 1_000, Seed(1));
        let own: Vec<_> =
            (0..).map(|n| format!("own:{n}")).filter(|own| table_of(own) != table_of("all")).take(200).collect();
        let values: Vec<_> = own.iter().map(|own| tagged(&["all", own])).collect();
        let (asking, calls) = remote.ask_about(&values);
        assert!(calls.len() <= usize::from(name::TABLES), "{} calls", calls.len());
        let arguments = |call: &Call| if let Call::Plain(args) = call { args.len() - 4 } else { 0 };
        assert_eq!(
            calls.iter().map(arguments).sum::<usize>(),
            201,
            "each tag once, behind command, table, epoch and floor"
        );

        // The table of the first value's own tag cannot be read; all versions of the last one's have moved.
        let (lost, moved) = (table_of(&own[0]), table_of(&own[199]));
        assert_ne!(lost, moved);
        let reply = |call: &Call| {
            if call.name() == Some(&remote.names().table(lost)[..]) {
                return Reply::Error(Fault::TimedOut);
            }
            let version = if call.name() == Some(&remote.names().table(moved)[..]) { 6 } else { 5 };
            Reply::List([1, 0].into_iter().chain((0..arguments(call)).map(|_| version)).map(digits).collect())
        };
        let told = asking.replied(calls.iter().map(reply).collect());
        assert_eq!(told.fault(), Some(&Fault::TimedOut));
        for (own, value) in own.iter().zip(values) {
            let sight = told.judge(value);
            match table_of(own) {
                table if table == lost => assert!(matches!(sight, Err(Fault::TimedOut))),
                table if table == moved => assert!(matches!(sight, Ok(Sight::Dead(_)))),
                _ => assert!(matches!(sight, Ok(Sight::Value(_)))),
            }
        }
    }
}
