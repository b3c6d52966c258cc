//! Command: what each command that the core says does, and answers.

use donjon_core::fault::Fault;
use donjon_core::pattern::Pattern;
use donjon_core::remote::call::Reply;

use super::{Redis, number};

impl Redis {
    pub(super) fn command(&mut self, words: &[&[u8]]) -> Result<Reply, Fault> {
        let (name, args) = words.split_first().expect("a command has a name");
        let name = std::str::from_utf8(name).expect("a command's name is text");
        let reply = match (name, args) {
            ("PING", []) => Reply::Bytes(b"PONG".to_vec()),
            ("TIME", []) => {
                let micros = self.clock.as_nanos() / 1_000;
                let part = |part: u64| Reply::Bytes(part.to_string().into_bytes());
                Reply::List(vec![part(micros / 1_000_000), part(micros % 1_000_000)])
            }
            ("CLIENT", [b"TRACKING", b"ON", b"NOLOOP"]) => {
                self.tracking.start();
                ok()
            }
            ("FLUSHALL", []) => {
                self.keys.clear();
                self.tracking.all_changed();
                ok()
            }
            ("GET", [key]) => self.reading(key, |redis| Ok(string(redis.text(key)?.cloned())))?,
            ("MGET", keys) => {
                let found = keys.iter().map(|key| {
                    // What is no text is as if it were not there.
                    self.reading(key, |redis| Ok(string(redis.text(key).unwrap_or_default().cloned())))
                });
                Reply::List(found.collect::<Result<_, _>>()?)
            }
            ("GETRANGE", [key, from, to]) => {
                self.reading(key, |redis| Ok(Reply::Bytes(redis.range(key, number(from), number(to))?)))?
            }
            ("EXISTS", [key]) => self.reading(key, |redis| Ok(Reply::Int(i64::from(redis.find(key).is_some()))))?,
            ("PTTL", [key]) => self.reading(key, |redis| Ok(Reply::Int(redis.left(key))))?,
            ("HMGET", [key, fields @ ..]) => self.reading(key, |redis| redis.fields(key, fields))?,
            ("SET", [key, text, options @ ..]) => self.set(key, text, options),
            ("UNLINK" | "DEL", keys) => Reply::Int(keys.iter().map(|key| i64::from(self.remove(key))).sum()),
            ("PEXPIRE", [key, millis]) => Reply::Int(i64::from(self.end_in(key, number(millis)))),
            ("HSETNX", [key, field, text]) => Reply::Int(i64::from(self.add_field(key, field, text)?)),
            ("HSET", [key, field, text]) => {
                let was_there = self.hash_to_write(key)?.insert(field.to_vec(), text.to_vec()).is_some();
                self.tracking.changed(key);
                Reply::Int(i64::from(!was_there))
            }
            ("SCAN", [cursor, b"MATCH", glob, b"COUNT", count]) => self.scan(cursor, glob, number(count) as usize),
            _ => unreachable!("nobody says {name} with {} words", args.len()),
        };
        Ok(reply)
    }

    /// Runs what reads a key; the connection is told when that changes.
    pub(super) fn reading(
        &mut self,
        key: &[u8],
        run: impl FnOnce(&mut Self) -> Result<Reply, Fault>,
    ) -> Result<Reply, Fault> {
        let reply = run(self);
        self.tracking.read(key);
        reply
    }

    pub(super) fn range(&mut self, key: &[u8], from: u64, to: u64) -> Result<Vec<u8>, Fault> {
        let text = self.text(key)?.map_or(&[][..], |text| text);
        let end = text.len().min(to as usize + 1);
        Ok(text.get(from as usize..end).unwrap_or_default().to_vec())
    }

    pub(super) fn end_in(&mut self, key: &[u8], millis: u64) -> bool {
        let ends = self.in_millis(millis);
        let Some(slot) = self.find(key) else { return false };
        slot.ends = Some(ends);
        self.tracking.changed(key);
        true
    }

    pub(super) fn add_field(&mut self, key: &[u8], field: &[u8], text: &[u8]) -> Result<bool, Fault> {
        let hash = self.hash_to_write(key)?;
        let adds = !hash.contains_key(field);
        if adds {
            hash.insert(field.to_vec(), text.to_vec());
            self.tracking.changed(key);
        }
        Ok(adds)
    }

    fn set(&mut self, key: &[u8], text: &[u8], options: &[&[u8]]) -> Reply {
        let (only_new, millis) = match options {
            [] => (false, None),
            [b"NX"] => (true, None),
            [b"PX", millis] => (false, Some(number(millis))),
            [b"NX", b"PX", millis] => (true, Some(number(millis))),
            _ => unreachable!("nobody says SET with other words"),
        };
        if only_new && self.find(key).is_some() {
            return Reply::Nil;
        }
        self.put(key, text.to_vec(), millis);
        ok()
    }

    fn left(&mut self, key: &[u8]) -> i64 {
        let clock = self.clock;
        match self.find(key) {
            None => -2,
            Some(slot) => slot.ends.map_or(-1, |ends| (ends - clock).as_millis() as i64),
        }
    }

    fn fields(&mut self, key: &[u8], fields: &[&[u8]]) -> Result<Reply, Fault> {
        let hash = self.hash(key)?;
        let field = |field: &&[u8]| string(hash.as_ref().and_then(|hash| hash.get(*field).cloned()));
        Ok(Reply::List(fields.iter().map(field).collect()))
    }

    /// Gives a page of names, in the order of a scattering of them, so that what is added during a scan may or may not be seen.
    fn scan(&mut self, cursor: &[u8], glob: &[u8], count: usize) -> Reply {
        let from = number(cursor);
        let glob = Pattern::new(std::str::from_utf8(glob).expect("a pattern is text")).expect("a pattern is one");
        let mut scattered: Vec<(u64, &Vec<u8>)> = self.keys.keys().map(|key| (scatter(key), key)).collect();
        scattered.sort_unstable();
        let mut rest = scattered.into_iter().filter(|(place, _)| *place > from);
        let page: Vec<_> = rest.by_ref().take(count).collect();
        let last = page.last().map_or(0, |(place, _)| *place);
        let cursor = if rest.next().is_some() { last } else { 0 };
        let found: Vec<Vec<u8>> =
            page.into_iter().filter(|(_, key)| glob.matches(key)).map(|(_, key)| key.clone()).collect();
        let names = found.into_iter().filter(|key| self.find(key).is_some()).map(Reply::Bytes).collect();
        Reply::List(vec![Reply::Bytes(cursor.to_string().into_bytes()), Reply::List(names)])
    }
}

/// Where a name is met by a scan: never at zero.
fn scatter(key: &[u8]) -> u64 {
    let hash = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    key.iter().fold(0xcbf2_9ce4_8422_2325, hash).max(1)
}

fn ok() -> Reply {
    Reply::Bytes(b"OK".to_vec())
}

fn string(text: Option<Vec<u8>>) -> Reply {
    text.map_or(Reply::Nil, Reply::Bytes)
}
