//! Read: what asks for keys, and what was found of them: alive or dead, with tags that are known or to be asked about.

use alloc::vec::Vec;

use bytes::{Buf, Bytes};

use crate::entry::Freshness;
use crate::envelope::{Codec, Content, Decoded, decode_start};
use crate::fault::Fault;
use crate::key::Key;
use crate::moment::Moment;
use crate::payload::Payload;
use crate::remote::Remote;
use crate::remote::call::{Call, Replies, Reply};
use crate::remote::sight::{Header, Seen, Sight};
use crate::remote::sweeps::List;
use crate::remote::tables::{Standing, ToRead};

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

impl<E: Clone> Remote<E> {
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
    pub(super) fn get(&self, name: &[u8]) -> Call {
        let call = Call::plain(if self.reads_sweeps() { "MGET" } else { "GET" }, name);
        if self.reads_sweeps() { call.with(self.shared.names.sweeps()) } else { call }
    }

    /// What was answered to that.
    pub(super) fn got(&self, key: &str, reply: Reply, now: Moment) -> Result<Found, Fault> {
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

    /// Asks for how long a counter lives, right behind its value: see [`Outline::of_counter`](crate::remote::sight::Outline::of_counter).
    pub fn lasts(&self, key: Key<'_>) -> Call {
        Call::plain("PTTL", &self.shared.names.key(key))
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

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::cache::Config;
    use crate::chance::Seed;
    use crate::entry::Life;
    use crate::key::Namespace;
    use crate::remote::name::{TABLES, table_of};
    use crate::remote::tables::Mark;

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
        assert!(calls.len() <= usize::from(TABLES), "{} calls", calls.len());
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
