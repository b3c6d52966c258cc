//! Look: from a key to its value, or to the right to load it, step by step.
//!
//! Each reader sends a GET of its own; only loads are shared. In a process one caller at a time leads for a key and the others
//! join it; between processes a lease does the same: a placeholder under the key itself, so that whatever removes the key voids
//! the load, in whatever way it is done. Who finds another's lease waits for it, and no longer than a load may take.
//!
//! Where Redis cannot be asked, the loader still runs, once at a time for a key, and gives its value to those alone who asked
//! before it began: what others may have invalidated meanwhile cannot be known here.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use crate::entry::Freshness;
use crate::fault::Fault;
use crate::flight::{Ending, Joined};
use crate::flights::{Lead, Part};
use crate::moment::Moment;
use crate::payload::Payload;
use crate::remote::call::{Call, Replies, Reply};
use crate::remote::lease::{Hold, Lease};
use crate::remote::script::{FILL, RELEASE};
use crate::remote::sight::{Header, Outline, Seen, Sight, is_counter};
use crate::remote::tables::{Notes, Standing, ToNote, ToRead};
use crate::remote::{Found, Remote};
use crate::version::Ticket;

/// How a look-up is meant.
#[derive(Clone, Debug, Default)]
pub struct Want {
    /// Only what was loaded under a later ticket will do.
    pub since: Option<Ticket>,
    /// The loads that the caller is in the middle of: waiting for one of them would be waiting for itself.
    pub own: Vec<Ticket>,
    /// The tags that the value will have; `None` where they are known only once it is loaded.
    pub tags: Option<Arc<[Box<str>]>>,
    /// Whether to give [`Step::Later`] instead of waiting for another's load.
    pub impatient: bool,
    /// Whether this look-up was counted before, as one is that did not want to wait and now does.
    pub counted: bool,
    /// Whether the caller takes a remembered failure for an answer; to all others there is nothing in its place.
    pub failures: bool,
}

/// What to do next.
#[derive(Debug)]
pub enum Step<E: Clone> {
    /// Serve this.
    Done(Payload),
    /// Serve this, or load under the lease first: should that fail, this is served instead.
    Stale(Payload, Lease<E>),
    /// Load under the lease.
    Load(Lease<E>),
    /// Another's load failed.
    Failed(E),
    /// Another loads, and the caller did not want to wait.
    Later,
    /// Send these in one go and say by [`Pending::replied`] what was answered.
    Send(Box<Pending<E>>, Vec<Call>),
    /// Another of this process loads: wait for it, but no longer than this, and go on by [`Look::joined`].
    Join(Box<Look<E>>, Joined<Payload, E>, Duration),
    /// Another process loads: let so much time pass, and go on by [`Look::slept`].
    Sleep(Box<Look<E>>, Duration),
}

/// A look-up under way.
#[derive(Debug)]
pub struct Look<E: Clone> {
    remote: Remote<E>,
    key: Box<str>,
    name: Vec<u8>,
    want: Want,
    /// Held while a lease is asked for or waited for, so that others of this process join.
    lead: Option<Lead<Payload, E>>,
    waiting: Option<Waiting>,
    counted: bool,
    /// Set once Redis could not be asked: what others of this process loaded since will do.
    alone_since: Option<Ticket>,
    /// How often something changed between two of its own commands.
    raced: u32,
}

#[derive(Debug)]
struct Waiting {
    from: Moment,
    polls: u32,
}

/// A look-up whose commands are under way.
#[derive(Debug)]
pub struct Pending<E: Clone> {
    look: Look<E>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// The value, how the tags that were named stand, and perhaps how long it lasts.
    Got { tags: ToRead, lasts: bool },
    /// How the tags of the value stand.
    Tagged(Seen, ToRead),
    /// A lease on nothing.
    Claimed(Vec<u8>, ToNote),
    /// A lease in the place of what is dead.
    Taken(Vec<u8>, ToNote),
    /// The right to refresh a value.
    Elected(Seen, ToNote),
    /// How the tags stand, before a value is loaded that replaces this one.
    Noted(Seen, ToNote),
}

impl<E: Clone> Look<E> {
    pub(crate) fn new(remote: &Remote<E>, key: &str, name: Vec<u8>, want: Want) -> Self {
        Self {
            remote: remote.clone(),
            key: key.into(),
            name,
            counted: want.counted,
            want,
            lead: None,
            waiting: None,
            alone_since: None,
            raced: 0,
        }
    }

    /// Asks for the value.
    pub(crate) fn ask(self) -> Step<E> {
        let tags = ToRead::of(self.want.tags.iter().flat_map(|tags| tags.iter().map(|tag| &**tag)));
        // Once in a while: a placeholder without an end, which none of ours is, would be waited for by everyone for ever.
        let lasts = self.waiting.as_ref().is_some_and(|waiting| waiting.polls % LASTS_EVERY == 0);
        let mut calls = vec![self.remote.get(&self.name)];
        calls.extend(lasts.then(|| Call::plain("PTTL", &self.name)));
        self.remote.ask_tags(&tags, &mut calls);
        self.send(Stage::Got { tags, lasts }, calls)
    }

    /// Goes on after waiting for another of this process; `None` where it took too long.
    pub fn joined(self, ending: Option<Ending<Payload, E>>, now: Moment) -> Step<E> {
        match ending {
            Some(Ending::Value(payload)) if payload.is_failure && !self.want.failures => self.ask(),
            Some(Ending::Value(payload)) => Step::Done(payload),
            Some(Ending::Failed(error)) => Step::Failed(error),
            Some(Ending::Again) => self.ask(),
            None => self.bypass(now),
        }
    }

    /// Goes on after a pause.
    pub fn slept(self) -> Step<E> {
        self.ask()
    }

    fn sight(&self, bytes: Option<Vec<u8>>, clock: Moment) -> Sight {
        if self.want.failures { Sight::with_failures(bytes, clock) } else { Sight::of(bytes, clock) }
    }

    fn got(mut self, sight: Sight, standing: &Standing, lasts: Option<i64>, now: Moment, clock: Moment) -> Step<E> {
        match sight {
            Sight::Value(seen) => match standing.keeps(&seen.marks) {
                Some(true) => self.value(seen, now, clock),
                Some(false) => self.dead(seen.header, now),
                None => {
                    let tags = ToRead::of(seen.marks.iter().map(|mark| &*mark.name));
                    let mut calls = Vec::new();
                    self.remote.ask_tags(&tags, &mut calls);
                    self.send(Stage::Tagged(seen, tags), calls)
                }
            },
            Sight::Absent => self.absent(now),
            Sight::Dead(header) => self.dead(header, now),
            Sight::Held(header) if lasts == Some(WITHOUT_END) => self.dead(header, now),
            Sight::Held(_) => self.held(now),
            Sight::Closed => {
                self.miss();
                self.remote.shared.counters.closed.one();
                self.bypass(now)
            }
        }
    }

    fn value(mut self, seen: Seen, now: Moment, clock: Moment) -> Step<E> {
        if self.want.since.is_some() {
            return self.forced(seen, now);
        }
        // Whoever joined meanwhile sends a GET of its own: this value was asked for before they came.
        self.lead = None;
        let freshness = seen.life.at(clock);
        if !self.counted {
            self.counted = true;
            self.remote.count(freshness);
        }
        // Nobody waits for a failure to be refreshed: once it is over, whoever asks loads.
        if freshness == Freshness::Fresh && (seen.payload.is_failure || !self.remote.refreshes_early(&seen, clock)) {
            return Step::Done(seen.payload);
        }
        match self.remote.shared.flights.begin(&self.key, None, now) {
            Part::Lead(lead) => {
                let remote = &self.remote;
                let notes = self.to_note();
                let span = (seen.load_time * 3).clamp(LEASE, LONGEST_REFRESH);
                let token = remote.token(None);
                let election = Call::plain("SET", &remote.shared.names.refresh(&self.key))
                    .with(token.0.to_vec())
                    .word("NX")
                    .word("PX")
                    .millis(span);
                let mut calls = vec![election];
                remote.ask_notes(notes, &mut calls);
                self.lead = Some(lead);
                self.send(Stage::Elected(seen, notes), calls)
            }
            Part::Join(..) | Part::Alone => Step::Done(seen.payload),
        }
    }

    /// There is a value, and it will not do.
    fn forced(self, seen: Seen, now: Moment) -> Step<E> {
        let look = match self.lead(now) {
            Ok(look) => look,
            Err(step) => return *step,
        };
        let notes = look.to_note();
        if notes.is_empty() {
            return look.begin(Hold::Seen { header: seen.header, elected: false }, Notes::default(), now);
        }
        let mut calls = Vec::new();
        look.remote.ask_notes(notes, &mut calls);
        look.send(Stage::Noted(seen, notes), calls)
    }

    fn absent(self, now: Moment) -> Step<E> {
        let look = match self.lead(now) {
            Ok(look) => look,
            Err(step) => return *step,
        };
        let placeholder = look.remote.lease(&look.key);
        let notes = look.to_note();
        let claim = Call::plain("SET", &look.name).with(placeholder.clone()).word("NX").word("PX").millis(LEASE);
        let mut calls = vec![claim, Call::plain("GET", &look.name)];
        look.remote.ask_notes(notes, &mut calls);
        look.send(Stage::Claimed(placeholder, notes), calls)
    }

    fn dead(self, header: Header, now: Moment) -> Step<E> {
        let look = match self.lead(now) {
            Ok(look) => look,
            Err(step) => return *step,
        };
        let placeholder = look.remote.lease(&look.key);
        let notes = look.to_note();
        let taking =
            Call::run(&FILL, &look.name).with(header.as_bytes().to_vec()).with(placeholder.clone()).millis(LEASE);
        let mut calls = vec![taking];
        look.remote.ask_notes(notes, &mut calls);
        look.send(Stage::Taken(placeholder, notes), calls)
    }

    /// Another process holds the lease.
    fn held(self, now: Moment) -> Step<E> {
        let mut look = match self.lead(now) {
            Ok(look) => look,
            Err(step) => return *step,
        };
        if look.want.impatient {
            return Step::Later;
        }
        let chance = look.remote.share();
        let waiting = look.waiting.get_or_insert(Waiting { from: now, polls: 0 });
        if now - waiting.from >= look.remote.shared.load_timeout {
            return look.bypass(now);
        }
        waiting.polls += 1;
        let pause = FIRST_POLL.saturating_mul(1 << (waiting.polls - 1).min(5)).min(LONGEST_POLL);
        Step::Sleep(Box::new(look), pause.mul_f64(0.5 + chance / 2.0))
    }

    /// Redis cannot be asked.
    fn down(mut self, fault: &Fault, now: Moment) -> Step<E> {
        self.remote.noticed(fault);
        self.lead = None;
        self.waiting = None;
        if self.alone_since.is_none() {
            self.alone_since = Some(self.remote.shared.flights.ticket());
        }
        match self.lead(now) {
            Ok(look) => {
                look.lead.iter().for_each(Lead::close);
                look.begin(Hold::Alone, Notes::default(), now)
            }
            Err(step) => *step,
        }
    }

    /// Counts a miss, and becomes the one of this process who leads for the key, or what is to be done as another does. Whoever is counted
    /// waits already for who leads.
    fn lead(mut self, now: Moment) -> Result<Self, Box<Step<E>>> {
        if self.lead.is_some() {
            self.miss();
            return Ok(self);
        }
        let since = self.want.since.or(self.alone_since);
        let part = self.remote.shared.flights.begin(&self.key, since, now);
        self.miss();
        match part {
            Part::Lead(lead) => {
                self.lead = Some(lead);
                Ok(self)
            }
            Part::Join(joined, _) if self.want.own.contains(&joined.ticket()) => Err(Box::new(self.bypass(now))),
            Part::Join(..) if self.want.impatient => Err(Box::new(Step::Later)),
            Part::Join(joined, at_most) => Err(Box::new(Step::Join(Box::new(self), joined, at_most))),
            Part::Alone => Err(Box::new(self.bypass(now))),
        }
    }

    /// Loads without storing what was looked up in a cache that is switched off.
    pub(crate) fn pass(mut self, now: Moment) -> Step<E> {
        self.miss();
        self.bypass(now)
    }

    /// Loads without storing.
    pub(crate) fn bypass(mut self, now: Moment) -> Step<E> {
        self.lead = None;
        let lead = self.remote.shared.flights.alone(&self.key, now);
        self.load(lead, Hold::Alone, Notes::default())
    }

    fn load(self, lead: Lead<Payload, E>, hold: Hold, notes: Notes) -> Step<E> {
        Step::Load(Lease::new(self.remote, lead, self.name, hold, notes))
    }

    fn to_note(&self) -> ToNote {
        self.want.tags.as_ref().map_or_else(ToNote::all, |tags| ToNote::of(tags))
    }

    fn miss(&mut self) {
        if !self.counted {
            self.counted = true;
            self.remote.count(Freshness::Over);
        }
    }

    fn send(self, stage: Stage, calls: Vec<Call>) -> Step<E> {
        Step::Send(Box::new(Pending { look: self, stage }), calls)
    }

    /// Something changed between two commands: from the start, unless that goes on and on.
    fn again(mut self, now: Moment) -> Step<E> {
        self.raced += 1;
        if self.raced > MOST_RACES { self.bypass(now) } else { self.ask() }
    }
}

impl<E: Clone> Pending<E> {
    /// Whether the commands may be sent twice. Asking for a lease on nothing may not: should the first copy arrive late, it would
    /// bring back a lease that was voided meanwhile.
    pub fn may_be_repeated(&self) -> bool {
        !matches!(self.stage, Stage::Claimed(..))
    }

    /// Whether the commands read and change nothing.
    pub fn reads(&self) -> bool {
        matches!(self.stage, Stage::Got { .. } | Stage::Tagged(..))
    }

    /// Whether the commands read the value: what was read before them is not looked at any more.
    pub fn begins(&self) -> bool {
        matches!(self.stage, Stage::Got { .. })
    }

    /// Of answers that read a value: what memory has to know of it, should these answers be all that it takes to serve it.
    pub fn outline(&self, replies: &[Reply], clock: Moment) -> Option<Outline> {
        match (&self.stage, replies) {
            (Stage::Got { .. }, [reply, ..]) => Outline::of(value_in(reply)?, clock),
            (Stage::Tagged(seen, _), _) => seen.outline(clock),
            _ => None,
        }
    }

    /// Of answers that read a value: whether it is a counter, of which Redis alone knows how long it lives.
    pub fn is_counter(&self, replies: &[Reply]) -> bool {
        let (Stage::Got { .. }, [reply, ..]) = (&self.stage, replies) else { return false };
        value_in(reply).is_some_and(is_counter)
    }

    /// What to send after the commands where nobody is left who waits for their answers: the lease that they may have taken is
    /// given up. A right to refresh is not, as it may be another's: it runs out.
    pub fn given_up(&self) -> Option<Call> {
        let (Stage::Claimed(placeholder, _) | Stage::Taken(placeholder, _)) = &self.stage else { return None };
        Some(Call::run(&RELEASE, &self.look.name).with(Header::of(placeholder).as_bytes().to_vec()))
    }

    /// Goes on with what was read of the key, where that is all that was to be asked.
    pub fn found(self, found: Result<Found, Fault>, now: Moment, clock: Moment) -> Step<E> {
        let look = self.look;
        match found {
            Ok(found) => look.found(found, &Standing::default(), None, now, clock),
            Err(fault) => look.down(&fault, now),
        }
    }

    /// Goes on with what Redis answered, an answer for each command, at `now` and at `clock` of Redis's own.
    pub fn replied(self, replies: Result<Vec<Reply>, Fault>, now: Moment, clock: Moment) -> Step<E> {
        let Self { look, stage } = self;
        let mut replies = match replies {
            Ok(replies) => Replies::new(replies),
            Err(fault) => return look.failed(stage, &fault, now),
        };
        match stage {
            Stage::Got { tags, lasts } => look.replied_got(&mut replies, tags, lasts, now, clock),
            Stage::Tagged(seen, tags) => match tags.read(&mut replies) {
                Ok(standing) => look.got(Sight::Value(seen), &standing, None, now, clock),
                // A table that cannot be read: what it guards is neither served nor replaced.
                Err(fault) => look.down(&fault, now),
            },
            Stage::Claimed(placeholder, notes) => look.replied_claimed(&mut replies, &placeholder, notes, now, clock),
            Stage::Taken(placeholder, notes) => look.replied_taken(&mut replies, &placeholder, notes, now),
            Stage::Elected(seen, notes) => look.replied_elected(&mut replies, seen, notes),
            Stage::Noted(seen, notes) => match notes.read(&mut replies) {
                Ok(notes) => look.begin(Hold::Seen { header: seen.header, elected: false }, notes, now),
                Err(fault) => look.down(&fault, now),
            },
        }
    }
}

impl<E: Clone> Look<E> {
    fn failed(mut self, stage: Stage, fault: &Fault, now: Moment) -> Step<E> {
        if let Stage::Elected(seen, _) = stage {
            self.lead = None;
            self.remote.noticed(fault);
            return Step::Done(seen.payload);
        }
        // What was lost may still arrive, after an invalidation: then nobody must hold the lease that it asks for.
        if matches!(stage, Stage::Claimed(..)) && *fault == Fault::Lost {
            return self.again(now);
        }
        self.down(fault, now)
    }

    fn replied_got(self, replies: &mut Replies, tags: ToRead, lasts: bool, now: Moment, clock: Moment) -> Step<E> {
        let read = |replies: &mut Replies| {
            let found = self.remote.got(&self.key, replies.take()?, now)?;
            let lasts = lasts.then(|| replies.take()?.into_int()).transpose()?;
            Ok((found, lasts, tags.read(replies)?))
        };
        match read(replies) {
            Ok((found, lasts, standing)) => self.found(found, &standing, lasts, now, clock),
            Err(fault) => self.down(&fault, now),
        }
    }

    fn found(self, found: Found, standing: &Standing, lasts: Option<i64>, now: Moment, clock: Moment) -> Step<E> {
        let sight = self.sight(found.bytes, clock).unless(found.is_swept);
        self.got(sight, standing, lasts, now, clock)
    }

    fn replied_claimed(
        self,
        replies: &mut Replies,
        placeholder: &[u8],
        notes: ToNote,
        now: Moment,
        clock: Moment,
    ) -> Step<E> {
        let mut read = || {
            let granted = replies.take()?.into_done()?;
            let there = replies.take()?.into_bytes()?;
            Ok((granted, there, notes.read(replies)?))
        };
        match read() {
            Ok((granted, there, notes)) if granted || there.as_deref() == Some(placeholder) => {
                if self.waiting.is_some() {
                    self.remote.shared.counters.takeovers.one();
                }
                self.begin(Hold::Claimed(Header::of(placeholder)), notes, now)
            }
            Ok((_, None, _)) => self.again(now),
            Ok((_, there, _)) => {
                let mut look = self;
                look.raced += 1;
                if look.raced > MOST_RACES {
                    return look.bypass(now);
                }
                let (sight, standing) = (look.sight(there, clock), Standing::default());
                look.got(sight, &standing, None, now, clock)
            }
            Err(fault) => self.down(&fault, now),
        }
    }

    fn replied_taken(self, replies: &mut Replies, placeholder: &[u8], notes: ToNote, now: Moment) -> Step<E> {
        let mut read = || Ok((replies.take()?.into_int()?, notes.read(replies)?));
        match read() {
            Ok((0, _)) => self.again(now),
            Ok((_, notes)) => {
                self.remote.shared.counters.takeovers.one();
                self.begin(Hold::Claimed(Header::of(placeholder)), notes, now)
            }
            Err(fault) => self.down(&fault, now),
        }
    }

    fn replied_elected(mut self, replies: &mut Replies, seen: Seen, notes: ToNote) -> Step<E> {
        let lead = self.lead.take();
        let mut read = || Ok((replies.take()?.into_done()?, notes.read(replies)?));
        match (read(), lead) {
            (Ok((true, notes)), Some(lead)) => {
                let hold = Hold::Seen { header: seen.header, elected: true };
                Step::Stale(seen.payload.clone(), Lease::new(self.remote, lead, self.name, hold, notes))
            }
            (Err(fault), _) => {
                self.remote.noticed(&fault);
                Step::Done(seen.payload)
            }
            _ => Step::Done(seen.payload),
        }
    }

    fn begin(mut self, hold: Hold, notes: Notes, now: Moment) -> Step<E> {
        match self.lead.take() {
            Some(lead) => self.load(lead, hold, notes),
            None => self.bypass(now),
        }
    }
}

/// The bytes of what was read, alone or with what is being swept.
fn value_in(reply: &Reply) -> Option<&[u8]> {
    if let Reply::List(found) = reply { found.first()?.as_bytes() } else { reply.as_bytes() }
}

/// How long a lease lasts unless it is renewed.
pub(crate) const LEASE: Duration = Duration::from_secs(2);

/// How long at most one process has the right to refresh a stale value.
const LONGEST_REFRESH: Duration = Duration::from_secs(30);

const FIRST_POLL: Duration = Duration::from_millis(5);
const LONGEST_POLL: Duration = Duration::from_millis(100);

/// How often somebody who waits asks whether what it waits for has an end at all.
const LASTS_EVERY: u32 = 8;

/// What PTTL says of a key that stays for ever.
const WITHOUT_END: i64 = -1;

const MOST_RACES: u32 = 8;
