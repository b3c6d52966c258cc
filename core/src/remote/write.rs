//! Write: what stores, changes, counts and removes.

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use crate::entry::Life;
use crate::envelope::{Content, Decoded, Entry, decode};
use crate::expiry::{Grace, Ttl};
use crate::fault::Fault;
use crate::key::Key;
use crate::moment::Moment;
use crate::payload::Payload;
use crate::remote::call::{Call, Replies, Reply};
use crate::remote::script::{INCREMENT, LIFT, TOUCH};
use crate::remote::sight::{Header, Seen};
use crate::remote::tables::{self, Notes, ToNote};
use crate::remote::{Remote, lasting, script};

/// Tables of tags that are being noted.
#[derive(Debug)]
pub struct Noting(ToNote);

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

impl<E: Clone> Remote<E> {
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

    /// Removes a key; the first call tells, by [`values_removed`](crate::remote::sight::values_removed), whether a value was there.
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
