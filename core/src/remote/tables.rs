//! Tables: the versions of tags, as Redis keeps them.
//!
//! Each tag is a field of one of 64 hashes, together with three that no tag can be called: `\0epoch`, a random number drawn when
//! the hash is made; `\0seq`, its highest version; `\0floor`, the highest version that was forgotten. A load notes epoch and
//! highest version of the tables of its tags before it starts, and the entry keeps them. It is dead once the epoch is another
//! or the version of one of its tags, or the floor, is higher. So invalidating a tag costs the same for one entry as for a
//! million, a lost hash makes dead what was tagged by it, and no clock of any client is asked.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::{IntoIter, Vec};

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

/// Which tables to note: a bit for each.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ToNote(u64);

const _: () = assert!(TABLES as u32 == u64::BITS, "a bit for each table");

impl ToNote {
    /// Those of these tags.
    pub(crate) fn of<N: AsRef<str>>(tags: &[N]) -> Self {
        Self(tags.iter().fold(0, |tables, tag| tables | 1 << table_of(tag.as_ref())))
    }

    /// All of them: for tags that are known only when the load has ended.
    pub(crate) fn all() -> Self {
        Self(u64::MAX)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn tables(self) -> impl Iterator<Item = u8> {
        (0..TABLES).filter(move |table| self.0 >> table & 1 == 1)
    }

    /// Adds two calls a table. `epoch` is for those that have none yet.
    pub(crate) fn ask(self, names: &Names, epoch: u64, calls: &mut Vec<Call>) {
        for table in self.tables() {
            let name = names.table(table);
            calls.push(Call::plain("HSETNX", &name).with(EPOCH).number(epoch.max(1)));
            calls.push(Call::plain("HMGET", &name).with(EPOCH).with(SEQ));
        }
    }

    pub(crate) fn read(self, replies: &mut Replies) -> Result<Notes, Fault> {
        let mut notes = Vec::new();
        for table in self.tables() {
            replies.take()?.into_int()?;
            let mut fields = Fields::of(replies.take()?)?;
            notes.push(Note { table, epoch: fields.next()?, version: fields.next()? });
        }
        Ok(Notes(notes))
    }
}

impl Notes {
    /// The tags as an entry carries them; `None` where one was not noted.
    pub(crate) fn marks<'t>(&self, tags: &'t [Box<str>]) -> Option<Vec<TagMark<'t>>> {
        let mut marks = Vec::with_capacity(tags.len());
        for name in tags {
            let table = table_of(name);
            let note = self.0.iter().find(|note| note.table == table)?;
            marks.push(TagMark { name, epoch: note.epoch, version: note.version });
        }
        Some(marks)
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
        let mut read = Self::default();
        tags.into_iter().for_each(|tag| read.add(tag));
        read
    }

    fn add(&mut self, tag: &str) {
        let table = table_of(tag);
        match self.0.iter_mut().find(|(there, _)| *there == table) {
            Some((_, tags)) if tags.iter().any(|there| **there == *tag) => {}
            Some((_, tags)) => tags.push(tag.into()),
            None => self.0.push((table, vec![tag.into()])),
        }
    }

    /// Adds a call a table.
    pub(crate) fn ask(&self, names: &Names, calls: &mut Vec<Call>) {
        for (table, tags) in &self.0 {
            let call = Call::plain("HMGET", &names.table(*table)).with(EPOCH).with(FLOOR);
            calls.push(tags.iter().fold(call, |call, tag| call.with(tag.as_bytes().to_vec())));
        }
    }

    pub(crate) fn read(self, replies: &mut Replies) -> Result<Standing, Fault> {
        let (standing, fault) = self.read_each(replies);
        fault.map_or(Ok(standing), Err)
    }

    /// As [`ToRead::read`], of tables that need not all have been read: why the first of the rest was not.
    pub(crate) fn read_each(self, replies: &mut Replies) -> (Standing, Option<Fault>) {
        let (mut tables, mut first) = (Vec::new(), None);
        for (number, tags) in self.0 {
            match replies.take().and_then(|reply| Table::read(number, tags, reply)) {
                Ok(table) => tables.push(table),
                Err(fault) => {
                    first.get_or_insert(fault);
                }
            }
        }
        (Standing(tables), first)
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

impl Table {
    fn read(number: u8, tags: Vec<Box<str>>, reply: Reply) -> Result<Self, Fault> {
        let mut fields = Fields::of(reply)?;
        let mut table = Self { number, epoch: fields.next()?, floor: fields.next()?, versions: Vec::new() };
        for tag in tags {
            table.versions.push((tag, fields.next()?));
        }
        Ok(table)
    }
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
struct Fields(IntoIter<Reply>);

impl Fields {
    fn of(reply: Reply) -> Result<Self, Fault> {
        Ok(Self(reply.into_list()?.into_iter()))
    }

    fn next(&mut self) -> Result<u64, Fault> {
        match self.0.next().ok_or(Fault::Protocol)?.into_bytes()? {
            None => Ok(0),
            Some(digits) => {
                core::str::from_utf8(&digits).ok().and_then(|digits| digits.parse().ok()).ok_or(Fault::Protocol)
            }
        }
    }
}

const EPOCH: &[u8] = b"\0epoch";
const SEQ: &[u8] = b"\0seq";
const FLOOR: &[u8] = b"\0floor";

/// How many tags a table remembers before it forgets the older half.
const MOST_TAGS: u64 = 2_048;

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
        let mut calls = Vec::new();
        read.ask(&names, &mut calls);
        assert_eq!(calls.len(), read.0.len());
        assert_eq!(read.0.iter().map(|(_, tags)| tags.len()).sum::<usize>(), 200);
        assert_eq!(moves(&tags, &names, 1).len(), ToNote::of(&tags).tables().count());
    }
}
