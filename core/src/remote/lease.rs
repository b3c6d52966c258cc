//! Lease: the right to load a key for all processes, and to store what was loaded unless something was invalidated since.
//!
//! Invariant: the flight is closed before a value is sent to Redis, and its value goes to those who joined only once Redis has
//! said that it took it: the answer may arrive after a later invalidation has returned.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use crate::entry::Life;
use crate::envelope::Entry;
use crate::fault::Fault;
use crate::flights::Lead;
use crate::lease::Filled;
use crate::moment::Moment;
use crate::payload::Payload;
use crate::remote::call::{Call, Replies, Reply};
use crate::remote::look::LEASE;
use crate::remote::script::{FILL, RELEASE, RENEW};
use crate::remote::sight::{Header, Outline};
use crate::remote::sweeps::Id;
use crate::remote::tables::{Mark, Notes, ToRead};
use crate::remote::{Remote, Shared, Storing, lasting};
use crate::version::Ticket;

/// The right to load one key. Given up by [`Lease::fill`], [`Lease::fail`] or [`Lease::abandon`]; where it is dropped, those of
/// this process who wait look up anew, and other processes once it has run out.
#[derive(Debug)]
pub struct Lease<E: Clone> {
    remote: Remote<E>,
    lead: Lead<Payload, E>,
    name: Vec<u8>,
    hold: Hold,
    notes: Notes,
    /// The last that was being swept when the load began, of what covers its key.
    after: Option<Id>,
}

/// What stands for the lease in Redis.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Hold {
    /// Nothing: what is loaded is not stored.
    Alone,
    /// A placeholder.
    Claimed(Header),
    /// The value that is to be replaced, and perhaps the right to refresh it.
    Seen {
        /// Of the value.
        header: Header,
        /// Whether others stay away meanwhile.
        elected: bool,
    },
}

/// What filling a lease comes to.
#[derive(Debug)]
pub enum Filling<E: Clone> {
    /// It is done.
    Done(Filled),
    /// Send these in one go and say by [`Sent::replied`] what was answered.
    Send(Box<Sent<E>>, Vec<Call>),
}

/// A loaded value on its way to Redis.
#[derive(Debug)]
pub struct Sent<E: Clone> {
    remote: Remote<E>,
    lead: Lead<Payload, E>,
    payload: Payload,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Stored {
        header: Header,
        life: Life,
        marks: Vec<Mark>,
        tags: ToRead,
        elected: bool,
    },
    /// Too large, switched off, or not to be kept: what is there was removed, if it was still what it was. Marks where all tags were noted.
    Passed {
        marks: Option<Vec<Mark>>,
        tags: ToRead,
    },
}

impl<E: Clone> Lease<E> {
    pub(crate) fn new(remote: Remote<E>, lead: Lead<Payload, E>, name: Vec<u8>, hold: Hold, notes: Notes) -> Self {
        let after = remote.shared.sweeps.last_of(lead.key());
        Self { remote, lead, name, hold, notes, after }
    }

    /// The key to load.
    pub fn key(&self) -> &str {
        self.lead.key()
    }

    /// The ticket under which this load runs.
    pub fn ticket(&self) -> Ticket {
        self.lead.ticket()
    }

    /// What keeps it from running out, to be sent every third of a lease while the load runs.
    pub fn renewal(&self) -> Option<Call> {
        let Hold::Claimed(header) = self.hold else { return None };
        Some(Call::run(&RENEW, &self.name).with(header.as_bytes().to_vec()).millis(LEASE))
    }

    /// Stores what was loaded, a failure to be remembered too, unless something was invalidated since the load began. `clock` is
    /// Redis's.
    pub fn fill(self, payload: Payload, storing: &Storing, now: Moment, clock: Moment) -> Filling<E> {
        self.finish(payload, storing, true, now, clock)
    }

    /// Gives what was loaded to those who wait, unless something was invalidated since the load began, and stores nothing. `storing`
    /// says by which tags it might have been.
    pub fn pass(self, payload: Payload, storing: &Storing, now: Moment, clock: Moment) -> Filling<E> {
        self.finish(payload, storing, false, now, clock)
    }

    fn finish(self, payload: Payload, storing: &Storing, keep: bool, now: Moment, clock: Moment) -> Filling<E> {
        let Self { remote, lead, name, hold, notes, after } = self;
        let (header, elected) = match hold {
            Hold::Alone => {
                lead.hand_on(Some(payload), now);
                return Filling::Done(Filled::Refused);
            }
            Hold::Claimed(header) => (header, false),
            Hold::Seen { header, elected } => (header, elected),
        };
        let life = remote.life(storing.ttl, storing.grace, clock);
        let load_time = now - lead.begun();
        let fits = keep && remote.is_enabled() && remote.fits(&payload);
        let entry = fits.then(|| remote.entry(after, &payload, life, load_time, &storing.tags, &notes)).flatten();
        lead.close();
        let Some((entry, marks)) = entry else {
            remote.shared.flights.counters().too_large.add(u64::from(keep && !remote.fits(&payload)));
            let marks = notes.marks(&storing.tags).map(|marks| marks.iter().map(Mark::from).collect());
            let tags = ToRead::of(storing.tags.iter().map(|tag| &**tag));
            let mut calls = vec![Call::run(&RELEASE, &name).with(header.as_bytes().to_vec())];
            remote.ask_tags(&tags, &mut calls);
            return Filling::Send(Box::new(Sent { remote, lead, payload, kind: Kind::Passed { marks, tags } }), calls);
        };
        let tags = ToRead::of(marks.iter().map(|mark| &*mark.name));
        let stored = Header::of(&entry);
        let fill = Call::run(&FILL, &name).with(header.as_bytes().to_vec()).with(entry).number(lasting(life, clock));
        let mut calls = vec![fill];
        calls.extend(elected.then(|| Call::plain("UNLINK", &remote.shared.names.refresh(lead.key()))));
        remote.ask_tags(&tags, &mut calls);
        let kind = Kind::Stored { header: stored, life, marks, tags, elected };
        Filling::Send(Box::new(Sent { remote, lead, payload, kind }), calls)
    }

    /// Passes the loader's error to those who wait. What it gives is to be sent; the answers do not matter.
    pub fn fail(self, error: E) -> Vec<Call> {
        let calls = match self.hold {
            Hold::Claimed(_) => self.release(),
            // The election runs out by itself: until then nobody tries again.
            Hold::Alone | Hold::Seen { .. } => Vec::new(),
        };
        self.lead.fail(error);
        calls
    }

    /// Gives the load up: those who wait look up anew. What it gives is to be sent; the answers do not matter.
    pub fn abandon(self) -> Vec<Call> {
        self.release()
    }

    fn release(&self) -> Vec<Call> {
        match self.hold {
            Hold::Claimed(header) => vec![Call::run(&RELEASE, &self.name).with(header.as_bytes().to_vec())],
            Hold::Seen { elected: true, .. } => {
                vec![Call::plain("UNLINK", &self.remote.shared.names.refresh(self.key()))]
            }
            Hold::Alone | Hold::Seen { .. } => Vec::new(),
        }
    }
}

impl<E: Clone> Sent<E> {
    /// What memory has to know of the value, should it be stored: then it may have it, with its payload.
    pub fn outline(&self) -> Option<(Outline, Payload)> {
        let Kind::Stored { life, marks, .. } = &self.kind else { return None };
        if self.payload.is_failure {
            return None;
        }
        Some((Outline::new(*life, marks), self.payload.clone()))
    }

    /// Ends the load by what Redis answered. Where it is not known whether the value was stored, it goes to its own caller only.
    pub fn replied(self, replies: Result<Vec<Reply>, Fault>, now: Moment) -> Filled {
        let Shared { flights, sweeps, .. } = &*self.remote.shared;
        let counters = flights.counters();
        // What was written down since the load began, its value does not outlive.
        let is_swept = matches!(&self.kind, Kind::Stored { header, .. } if sweeps.covers(self.lead.key(), header));
        let filled = match replies.and_then(|replies| self.kind.read(&mut Replies::new(replies))) {
            Ok(_) if is_swept => Filled::Refused,
            Ok(filled) => filled,
            Err(fault) => {
                self.remote.noticed(&fault);
                Filled::Refused
            }
        };
        match filled {
            Filled::Refused => {
                counters.loads_refused.one();
                self.lead.hand_on(None, now);
            }
            Filled::Stored | Filled::Passed => {
                counters.stores.add(u64::from(filled == Filled::Stored));
                self.lead.hand_on(Some(self.payload), now);
            }
        }
        filled
    }
}

impl Kind {
    fn read(self, replies: &mut Replies) -> Result<Filled, Fault> {
        let done = replies.take()?.into_int()? != 0;
        match self {
            Self::Passed { marks, tags } => {
                let standing = tags.read(replies)?;
                let keeps = marks.is_some_and(|marks| standing.keeps(&marks) == Some(true));
                Ok(if done && keeps { Filled::Passed } else { Filled::Refused })
            }
            Self::Stored { marks, tags, elected, .. } => {
                if elected {
                    let _gone_or_not = replies.take()?;
                }
                let standing = tags.read(replies)?;
                Ok(if done && standing.keeps(&marks) == Some(true) { Filled::Stored } else { Filled::Refused })
            }
        }
    }
}

impl<E: Clone> Remote<E> {
    /// The bytes of an entry with its tags as they were noted; `None` where one was not, or the value has no place in one.
    pub(crate) fn entry(
        &self,
        after: Option<Id>,
        payload: &Payload,
        life: Life,
        load_time: core::time::Duration,
        tags: &[Box<str>],
        notes: &Notes,
    ) -> Option<(Vec<u8>, Vec<Mark>)> {
        let entry = Entry {
            token: self.token(after),
            life,
            load_time,
            fingerprint: payload.fingerprint,
            tags: notes.marks(tags)?,
            content: payload.content(),
        };
        let marks = entry.tags.iter().map(Mark::from).collect();
        Some((entry.encode().ok()?, marks))
    }
}
