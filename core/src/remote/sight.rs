//! Sight: what the bytes under a key mean to who wants its value.

use alloc::vec::Vec;
use core::time::Duration;

use bytes::{Buf, Bytes};

use crate::entry::{Freshness, Life};
use crate::envelope::{COMPARED_BYTES, Content, Decoded, decode, decode_start, header_of};
use crate::fault::{Class, Fault};
use crate::moment::Moment;
use crate::payload::Payload;
use crate::remote::call::Reply;
use crate::remote::name::{Names, table_of};
use crate::remote::tables::Mark;

/// The first bytes of what is under a key: what a conditional write compares. All of it, where it is shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    bytes: [u8; COMPARED_BYTES],
    length: u8,
}

impl Header {
    /// That of what has these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let length = bytes.len().min(COMPARED_BYTES);
        let mut header = Self { bytes: [0; COMPARED_BYTES], length: length as u8 };
        header.bytes[..length].copy_from_slice(&bytes[..length]);
        header
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// The token, which no other entry has; nothing where this is of no entry.
    pub(crate) fn token(&self) -> &[u8] {
        header_of(self.as_bytes()).map_or(&[], |_| &self.bytes[COMPARED_BYTES - 16..])
    }
}

/// What is under a key.
#[derive(Debug)]
pub enum Sight {
    /// Nothing.
    Absent,
    /// Somebody's lease.
    Held(Header),
    /// A value, dead only if one of its tags says so.
    Value(Seen),
    /// What was an entry of this cache: to be loaded anew, in its place.
    Dead(Header),
    /// What this release must not replace, or has been told not to: it stays, and nothing is stored.
    Closed,
}

/// A value under a key.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The value.
    pub payload: Payload,
    /// What a conditional write compares.
    pub header: Header,
    /// Until when it is fresh and usable, on Redis's clock.
    pub life: Life,
    /// How long its load took.
    pub load_time: Duration,
    pub(crate) marks: Vec<Mark>,
    /// Whether it is a bare integer, whose time to live Redis alone knows.
    pub counter: bool,
}

impl Seen {
    /// The tags it carries.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.marks.iter().map(|mark| &*mark.name)
    }
}

/// What a value that Redis has depends on: how long memory in front of it may have it, and whose changes end it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// Until when it is fresh and usable, on Redis's clock.
    pub(crate) life: Life,
    /// The tables that have its tags.
    pub(crate) tables: Vec<u8>,
}

impl Outline {
    /// Of a counter, by what `PTTL` answered right behind its value: milliseconds, or -1 for ever. `None` of one that is gone.
    pub fn of_counter(millis: i64, clock: Moment) -> Option<Self> {
        let end = match millis {
            -1 => Moment::NEVER,
            millis => clock.after(Duration::from_millis(u64::try_from(millis).ok()?)),
        };
        Some(Self { life: Life::new(end, end), tables: Vec::new() })
    }

    /// One that was handed over in its parts.
    pub fn of_parts(life: Life, tables: Vec<u8>) -> Self {
        Self { life, tables }
    }

    /// Until when it is fresh and usable, on Redis's clock.
    pub fn life(&self) -> Life {
        self.life
    }

    /// The numbers of the tables that have its tags.
    pub fn tables(&self) -> &[u8] {
        &self.tables
    }

    pub(crate) fn new(life: Life, marks: &[Mark]) -> Self {
        let mut tables = Vec::new();
        for mark in marks {
            let table = table_of(&mark.name);
            // They are few, and sorting takes more room than all else here.
            if !tables.contains(&table) {
                tables.push(table);
            }
        }
        Self { life, tables }
    }

    /// What the tables are called in Redis that have its tags.
    pub fn names_of_tables(&self, names: &Names) -> impl Iterator<Item = Vec<u8>> {
        self.tables.iter().map(|table| names.table(*table))
    }

    /// Of the bytes of a value that is fresh; `None` of all else.
    pub(crate) fn of(bytes: &[u8], clock: Moment) -> Option<Self> {
        Self::of_start(bytes, 0, clock)
    }

    /// Of the first bytes of a value that is fresh, `beyond` more of which there are; `None` of all else, and where its tags are among
    /// those.
    pub fn of_start(start: &[u8], beyond: usize, clock: Moment) -> Option<Self> {
        let Decoded::Entry(entry) = decode_start(start, beyond) else { return None };
        let keeps = matches!(entry.content, Content::Value { .. }) && entry.at(clock) == Freshness::Fresh;
        keeps.then(|| Self::new(entry.life, &entry.tags.iter().map(Mark::from).collect::<Vec<_>>()))
    }
}

impl Seen {
    /// What memory has to know of it; `None` of what is not fresh or no value, and of a counter: see [`Outline::of_counter`].
    pub fn outline(&self, clock: Moment) -> Option<Outline> {
        let keeps = !self.counter && !self.payload.is_failure && self.life.at(clock) == Freshness::Fresh;
        keeps.then(|| Outline::new(self.life, &self.marks))
    }
}

impl Sight {
    /// Judges by Redis's clock, for who takes no failure for an answer. Copies nothing but tags.
    pub(crate) fn of(bytes: Option<Vec<u8>>, clock: Moment) -> Self {
        match Self::with_failures(bytes, clock) {
            Self::Value(seen) if seen.payload.is_failure => Self::Dead(seen.header),
            sight => sight,
        }
    }

    /// The same, unless it is older than something that is being swept: then a lease is on a load that began before, and is void.
    pub(crate) fn unless(self, is_swept: bool) -> Self {
        match self {
            Self::Value(Seen { header, .. }) | Self::Held(header) if is_swept => Self::Dead(header),
            sight => sight,
        }
    }

    /// The same, a remembered failure being as good as a value.
    pub(crate) fn with_failures(bytes: Option<Vec<u8>>, clock: Moment) -> Self {
        let Some(bytes) = bytes else { return Self::Absent };
        let header = Header::of(&bytes);
        let (life, load_time, marks, payload) = match decode(&bytes) {
            Decoded::Counter(_) => {
                let payload = Payload::json(bytes);
                let (life, load_time, marks) = (Life::FOREVER, Duration::ZERO, Vec::new());
                return Self::Value(Seen { payload, header, life, load_time, marks, counter: true });
            }
            Decoded::Foreign | Decoded::Newer(_) => return Self::Closed,
            Decoded::Damaged(_) => return Self::Dead(header),
            Decoded::Entry(entry) => match entry.content {
                Content::Lease => return Self::Held(header),
                Content::Uncacheable | Content::HoldDown => return Self::Closed,
                _ if entry.at(clock) == Freshness::Over => return Self::Dead(header),
                Content::Value { codec, payload } | Content::Failure { codec, payload } => {
                    let marks = entry.tags.iter().map(Mark::from).collect();
                    let is_failure = matches!(entry.content, Content::Failure { .. });
                    let from = bytes.len() - payload.len();
                    (entry.life, entry.load_time, marks, (codec, from, entry.fingerprint, is_failure))
                }
            },
        };
        let (codec, from, fingerprint, is_failure) = payload;
        let mut bytes = Bytes::from(bytes);
        bytes.advance(from);
        Self::Value(Seen {
            payload: Payload { codec, bytes, fingerprint, is_failure },
            header,
            life,
            load_time,
            marks,
            counter: false,
        })
    }
}

/// Whether these are the bytes of a counter.
pub fn is_counter(bytes: &[u8]) -> bool {
    matches!(decode(bytes), Decoded::Counter(_))
}

/// Of the answers to [`delete`](super::Remote::delete), a pair for each key: how many values left. What is of another type, a list or a
/// hash under our name, is gone all the same.
///
/// # Errors
///
/// The first [`Fault`] among the answers.
pub fn values_removed(replies: &[Reply]) -> Result<u64, Fault> {
    let mut removed = 0;
    for pair in replies.chunks(2) {
        match pair {
            [Reply::Error(fault), _] | [_, Reply::Error(fault)] if fault.class() != Some(Class::WrongType) => {
                return Err(fault.clone());
            }
            [Reply::Bytes(start), Reply::Int(unlinked)] => removed += u64::from(*unlinked > 0 && is_value(start)),
            _ => {}
        }
    }
    Ok(removed)
}

/// Whether the bytes are a value to who deletes them: by their first four.
fn is_value(start: &[u8]) -> bool {
    match start {
        [] => false,
        [0xC1, b'D', _, kind] => matches!(kind, b'V' | b'N'),
        _ => header_of(start).is_none(),
    }
}
