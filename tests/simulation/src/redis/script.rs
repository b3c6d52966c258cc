//! Script: what each script of the core's that is needed here does, known by its name.
//!
//! A script reads and writes as commands do, so what it read its connection is told of, and what it wrote no more.

use donjon_core::fault::Fault;
use donjon_core::remote::call::Reply;

use super::{Redis, number};

impl Redis {
    pub(super) fn script(&mut self, name: &str, args: &[&[u8]]) -> Result<Reply, Fault> {
        let done = match (name, args) {
            ("fill", [key, header, entry, millis]) => self.fill(key, header, entry, number(millis))?,
            ("renew", [key, header, millis]) => {
                i64::from(self.starts_with(key, header)? && self.end_in(key, number(millis)))
            }
            ("release", [key, header]) => i64::from(self.starts_with(key, header)? && self.remove(key)),
            ("move-tags", [key, epoch, most, tags @ ..]) => self.move_tags(key, epoch, number(most), tags)?,
            ("write-down", [key, record, most]) => return self.write_down(key, record, number(most) as usize),
            ("raise", [key, id, was, is]) => self.raise(key, id, was, is)?,
            ("strike", [key, id]) => return self.strike(key, id),
            _ => unreachable!("nobody runs {name} with {} words", args.len()),
        };
        Ok(Reply::Int(done))
    }

    fn fill(&mut self, key: &[u8], header: &[u8], entry: &[u8], millis: u64) -> Result<i64, Fault> {
        let have = self.start(key)?;
        if have.is_empty() || have != header {
            return Ok(if !have.is_empty() && have == entry[..entry.len().min(HEADER)] { 2 } else { 0 });
        }
        self.put(key, entry.to_vec(), (millis != 0).then_some(millis));
        self.tracking.read(key);
        Ok(1)
    }

    fn starts_with(&mut self, key: &[u8], header: &[u8]) -> Result<bool, Fault> {
        Ok(self.start(key)? == header)
    }

    fn start(&mut self, key: &[u8]) -> Result<Vec<u8>, Fault> {
        let start = self.range(key, 0, HEADER as u64 - 1);
        self.tracking.read(key);
        start
    }

    fn write_down(&mut self, key: &[u8], record: &[u8], most: usize) -> Result<Reply, Fault> {
        let list = self.list(key)?;
        let mut records = records(&list);
        if records.iter().any(|known| known[..ID] == record[..ID]) {
            return Ok(Reply::Bytes(list));
        }
        records.retain(|known| known[HEAD..] != record[HEAD..]);
        if records.len() >= most {
            return Ok(Reply::Nil);
        }
        records.push(record.to_vec());
        self.put(key, records.concat(), None);
        Ok(Reply::Bytes(records.concat()))
    }

    fn raise(&mut self, key: &[u8], id: &[u8], was: &[u8], is: &[u8]) -> Result<i64, Fault> {
        let list = self.list(key)?;
        let mut records = records(&list);
        let Some(record) = records.iter_mut().find(|record| record[..ID] == *id && record[BEAT] == *was) else {
            return Ok(0);
        };
        record[BEAT].copy_from_slice(is);
        self.put(key, records.concat(), None);
        Ok(1)
    }

    fn strike(&mut self, key: &[u8], id: &[u8]) -> Result<Reply, Fault> {
        let list = self.list(key)?;
        let mut records = records(&list);
        let before = records.len();
        records.retain(|record| record[..ID] != *id);
        match records.len() {
            left if left == before => {}
            0 => drop(self.remove(key)),
            _ => self.put(key, records.concat(), None),
        }
        Ok(Reply::Bytes(records.concat()))
    }

    /// The list of what is being swept, for a script.
    fn list(&mut self, key: &[u8]) -> Result<Vec<u8>, Fault> {
        let list = self.text(key)?.cloned().unwrap_or_default();
        self.tracking.read(key);
        Ok(list)
    }

    fn move_tags(&mut self, key: &[u8], epoch: &[u8], most: u64, tags: &[&[u8]]) -> Result<i64, Fault> {
        self.add_field(key, EPOCH, epoch)?;
        let micros = self.clock.as_nanos() / 1_000;
        let table = self.hash_to_write(key)?;
        let seq = table.get(SEQ).map_or(0, |seq| number(seq));
        let version = (seq + 1).max(micros).to_string().into_bytes();
        table.insert(SEQ.to_vec(), version.clone());
        table.extend(tags.iter().map(|tag| (tag.to_vec(), version.clone())));
        let forgets = table.len() as u64 > most;
        if forgets {
            let of_tag = |(field, _): &(&Vec<u8>, &Vec<u8>)| field.first() != Some(&0);
            let mut versions: Vec<u64> = table.iter().filter(of_tag).map(|(_, version)| number(version)).collect();
            versions.sort_unstable();
            let floor = versions[versions.len() / 2 - 1];
            table.retain(|field, version| field.first() == Some(&0) || number(version) > floor);
            table.insert(FLOOR.to_vec(), floor.to_string().into_bytes());
        }
        self.tracking.changed(key);
        if !forgets {
            // Its last command counted the fields.
            self.tracking.read(key);
        }
        Ok(1)
    }
}

/// The records of a list, which is whole.
fn records(list: &[u8]) -> Vec<Vec<u8>> {
    let (mut rest, mut records) = (list, Vec::new());
    while rest.len() >= HEAD {
        let (record, others) = rest.split_at(HEAD + (usize::from(rest[12]) << 8 | usize::from(rest[13])));
        records.push(record.to_vec());
        rest = others;
    }
    records
}

/// Of a record: how long its id is, where its beat stands, and where its pattern begins.
const ID: usize = 8;
const BEAT: std::ops::Range<usize> = 8..12;
const HEAD: usize = 14;

/// How many bytes of an entry are compared.
const HEADER: usize = 20;

const EPOCH: &[u8] = b"\0epoch";
const SEQ: &[u8] = b"\0seq";
const FLOOR: &[u8] = b"\0floor";
