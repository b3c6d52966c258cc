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

/// How many bytes of an entry are compared.
const HEADER: usize = 20;

const EPOCH: &[u8] = b"\0epoch";
const SEQ: &[u8] = b"\0seq";
const FLOOR: &[u8] = b"\0floor";
