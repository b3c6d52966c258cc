//! Tables: the versions of tags, as Redis keeps them.
//!
//! Each tag is a field of one of 64 hashes, together with three that no tag can be called: `\0epoch`, a random number drawn when
//! the hash is made; `\0seq`, its highest version; `\0floor`, the highest version that was forgotten. A load notes epoch and
//! highest version of the tables of its tags before it starts, and the entry keeps them. It is dead once the epoch is another
//! or the version of one of its tags, or the floor, is higher. So invalidating a tag costs the same for one entry as for a
//! million, a lost hash makes dead what was tagged by it, and no clock of any client is asked.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use crate::envelope::TagMark;
use crate::fault::Fault;
use crate::remote::call::{Call, Replies, Reply};
use crate::remote::name::{Names, TABLES, table_of};
use crate::remote::script::MOVE_TAGS;

/// How the tables stood when a load began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes(Vec<Note>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Note {
    table: u8,
    epoch: u64,
    version: u64,
}

/// Which tables to note.
#[derive(Clone, Debug, Default)]
pub(crate) struct ToNote(Vec<u8>);

impl ToNote {
    /// Those of these tags.
    pub(crate) fn of<N: AsRef<str>>(tags: &[N]) -> Self {
        let mut tables: Vec<u8> = tags.iter().map(|tag| table_of(tag.as_ref())).collect();
        tables.sort_unstable();
        tables.dedup();
        Self(tables)
    }

    /// All of them: for tags that are known only when the load has ended.
    pub(crate) fn all() -> Self {
        Self((0..TABLES).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Two calls a table. `epoch` is for those that have none yet.
    pub(crate) fn calls(&self, names: &Names, epoch: u64) -> impl Iterator<Item = Call> {
        self.0.iter().flat_map(move |table| {
            let name = names.table(*table);
            let made = Call::plain("HSETNX", &name).with(EPOCH).number(epoch.max(1));
            [made, Call::plain("HMGET", &name).with(EPOCH).with(SEQ)]
        })
    }

    pub(crate) fn read(&self, replies: &mut Replies) -> Result<Notes, Fault> {
        let note = |&table: &u8| {
            replies.take()?.into_int()?;
            let mut fields = fields(replies.take()?)?;
            let (epoch, version) = (fields.next().ok_or(Fault::Protocol)??, fields.next().ok_or(Fault::Protocol)??);
            Ok(Note { table, epoch, version })
        };
        self.0.iter().map(note).collect::<Result<_, _>>().map(Notes)
    }
}

impl Notes {
    /// The tags as an entry carries them; `None` where one was not noted.
    pub(crate) fn marks<'t>(&self, tags: &'t [Box<str>]) -> Option<Vec<TagMark<'t>>> {
        let mark = |name: &'t str| {
            let table = table_of(name);
            let note = self.0.iter().find(|note| note.table == table)?;
            Some(TagMark { name, epoch: note.epoch, version: note.version })
        };
        tags.iter().map(|name| mark(name)).collect()
    }
}

/// A tag that an entry carries, on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) name: Box<str>,
    pub(crate) epoch: u64,
    pub(crate) version: u64,
}

impl From<&TagMark<'_>> for Mark {
    fn from(mark: &TagMark<'_>) -> Self {
        Self { name: mark.name.into(), epoch: mark.epoch, version: mark.version }
    }
}

/// Asks how tags stand now. One call a table.
#[derive(Clone, Debug, Default)]
pub(crate) struct ToRead(Vec<(u8, Vec<Box<str>>)>);

impl ToRead {
    pub(crate) fn of<'t>(tags: impl IntoIterator<Item = &'t str>) -> Self {
        let mut tables: Vec<(u8, Vec<Box<str>>)> = Vec::new();
        for tag in tags {
            let table = table_of(tag);
            match tables.iter_mut().find(|(there, _)| *there == table) {
                Some((_, tags)) if tags.iter().any(|there| **there == *tag) => {}
                Some((_, tags)) => tags.push(tag.into()),
                None => tables.push((table, vec![tag.into()])),
            }
        }
        Self(tables)
    }

    pub(crate) fn calls(&self, names: &Names) -> impl Iterator<Item = Call> {
        self.0.iter().map(move |(table, tags)| {
            let call = Call::plain("HMGET", &names.table(*table)).with(EPOCH).with(FLOOR);
            tags.iter().fold(call, |call, tag| call.with(tag.as_bytes().to_vec()))
        })
    }

    pub(crate) fn read(self, replies: &mut Replies) -> Result<Standing, Fault> {
        let table = |(number, tags): (u8, Vec<Box<str>>)| {
            let mut fields = fields(replies.take()?)?;
            let mut next = || fields.next().ok_or(Fault::Protocol)?;
            let (epoch, floor) = (next()?, next()?);
            let versions = tags.into_iter().map(|tag| Ok((tag, next()?))).collect::<Result<_, Fault>>()?;
            Ok(Table { number, epoch, floor, versions })
        };
        self.0.into_iter().map(table).collect::<Result<_, _>>().map(Standing)
    }
}

/// How tags stood when they were read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing(Vec<Table>);

#[derive(Clone, Debug)]
struct Table {
    number: u8,
    epoch: u64,
    floor: u64,
    versions: Vec<(Box<str>, u64)>,
}

impl Standing {
    /// Whether an entry with these marks is alive; `None` where a tag of it was not read.
    pub(crate) fn keeps(&self, marks: &[Mark]) -> Option<bool> {
        let mut alive = true;
        for mark in marks {
            let number = table_of(&mark.name);
            let table = self.0.iter().find(|table| table.number == number)?;
            let (_, version) = table.versions.iter().find(|(tag, _)| *tag == mark.name)?;
            // Zero is a table that was lost just then: it is no name for any.
            alive &= mark.epoch != 0 && table.epoch == mark.epoch && *version.max(&table.floor) <= mark.version;
        }
        Some(alive)
    }
}

/// The calls that make dead whatever carries one of these tags: one a table.
pub(crate) fn moves<N: AsRef<str>>(tags: &[N], names: &Names, epoch: u64) -> Vec<Call> {
    let mut calls: Vec<(u8, Call)> = Vec::new();
    for tag in tags {
        let table = table_of(tag.as_ref());
        let tag = tag.as_ref().as_bytes().to_vec();
        if let Some((_, call)) = calls.iter_mut().find(|(there, _)| *there == table) {
            *call = call.clone().with(tag);
        } else {
            let call = Call::run(&MOVE_TAGS, &names.table(table)).number(epoch.max(1)).number(MOST_TAGS).with(tag);
            calls.push((table, call));
        }
    }
    calls.into_iter().map(|(_, call)| call).collect()
}

/// The numbers of a list, nothing counting as zero.
fn fields(reply: Reply) -> Result<impl Iterator<Item = Result<u64, Fault>>, Fault> {
    Ok(reply.into_list()?.into_iter().map(|field| match field.into_bytes()? {
        None => Ok(0),
        Some(digits) => {
            core::str::from_utf8(&digits).ok().and_then(|digits| digits.parse().ok()).ok_or(Fault::Protocol)
        }
    }))
}

const EPOCH: &[u8] = b"\0epoch";
const SEQ: &[u8] = b"\0seq";
const FLOOR: &[u8] = b"\0floor";

/// How many tags a table remembers before it forgets the older half.
const MOST_TAGS: usize = 2_048;

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(epoch: u64, floor: u64, version: u64) -> Standing {
        let versions = vec![("jobs".into(), version)];
        Standing(vec![Table { number: table_of("jobs"), epoch, floor, versions }])
    }

    #[test]
    fn an_entry_dies_by_a_later_version_a_higher_floor_or_another_epoch() {
        let marks = [Mark { name: "jobs".into(), epoch: 7, version: 100 }];
        assert_eq!(standing(7, 0, 100).keeps(&marks), Some(true));
        assert_eq!(standing(7, 0, 101).keeps(&marks), Some(false));
        assert_eq!(standing(7, 101, 0).keeps(&marks), Some(false));
        assert_eq!(standing(8, 0, 0).keeps(&marks), Some(false));
        assert_eq!(standing(0, 0, 0).keeps(&marks), Some(false), "a lost table");
        let noted_of_none = [Mark { name: "jobs".into(), epoch: 0, version: 0 }];
        assert_eq!(standing(0, 0, 0).keeps(&noted_of_none), Some(false), "a table lost before and again");
        assert_eq!(Standing::default().keeps(&marks), None);
        assert_eq!(Standing::default().keeps(&[]), Some(true));
    }

    #[test]
    fn tags_of_one_table_share_a_call() {
        let names = Names::new(crate::key::Namespace::new("app").unwrap());
        let tags: Vec<String> = (0..200).map(|tag| format!("t{tag}")).collect();
        let read = ToRead::of(tags.iter().map(String::as_str));
        assert_eq!(read.calls(&names).count(), read.0.len());
        assert_eq!(read.0.iter().map(|(_, tags)| tags.len()).sum::<usize>(), 200);
        assert_eq!(moves(&tags, &names, 1).len(), ToNote::of(&tags).0.len());
    }
}
