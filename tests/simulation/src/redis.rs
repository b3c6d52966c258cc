//! Redis: as much of a server as the core speaks to, in memory, with a clock that others move.
//!
//! Owns keys, their times, and who is to be told of what. Knows no network: who calls has the replies at once, and fetches what was
//! pushed by [`Redis::pushed`]. A real server is held beside it in `tests/differential.rs`.
//!
//! | to find out | look in |
//! |---|---|
//! | what a command does | `command` |
//! | what a script does | `script` |
//! | who is told of a change | `tracking` |

mod command;
mod script;
mod tracking;

use std::collections::BTreeMap;

use donjon_core::fault::Fault;
use donjon_core::moment::Moment;
use donjon_core::remote::call::{Call, Reply};

use tracking::Tracking;

pub use tracking::Push;

/// A server.
#[derive(Clone, Debug)]
pub struct Redis {
    clock: Moment,
    keys: BTreeMap<Vec<u8>, Slot>,
    tracking: Tracking,
    clients: u32,
}

/// A connection to a server, as that one knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Client(u32);

#[derive(Clone, Debug)]
struct Slot {
    value: Value,
    ends: Option<Moment>,
}

type Hash = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Clone, Debug)]
enum Value {
    Text(Vec<u8>),
    Hash(Hash),
}

impl Redis {
    /// An empty server whose clock says this.
    pub fn new(clock: Moment) -> Self {
        Self { clock, keys: BTreeMap::new(), tracking: Tracking::default(), clients: 0 }
    }

    /// A server that has what this one has, and nobody connected.
    pub fn replica(&self) -> Self {
        Self { tracking: Tracking::default(), ..self.clone() }
    }

    /// What its clock says.
    pub fn clock(&self) -> Moment {
        self.clock
    }

    /// Moves its clock on, never back. What ends by that is found out when somebody asks, or by [`Redis::expire`].
    pub fn move_on(&mut self, clock: Moment) {
        self.clock = self.clock.max(clock);
    }

    /// A new connection.
    pub fn connect(&mut self) -> Client {
        self.clients += 1;
        Client(self.clients)
    }

    /// Forgets a connection, and what it was to be told.
    pub fn disconnect(&mut self, client: Client) {
        self.tracking.forget(client);
    }

    /// Carries out what the core has to say.
    pub fn call(&mut self, client: Client, call: &Call) -> Reply {
        self.tracking.begin(client);
        let reply = match call {
            Call::Plain(words) => self.command(&words.iter().map(|word| &**word).collect::<Vec<_>>()),
            Call::Run(script, args) => self.script(script.name, &args.iter().map(|arg| &**arg).collect::<Vec<_>>()),
        };
        self.tracking.end();
        reply.unwrap_or_else(Reply::Error)
    }

    /// What was pushed to connections since this was last asked, in order.
    pub fn pushed(&mut self) -> Vec<(Client, Push)> {
        self.tracking.take()
    }

    /// Removes what has ended, as a server does now and then.
    pub fn expire(&mut self) {
        let ended: Vec<_> =
            self.keys.iter().filter(|(_, slot)| slot.has_ended(self.clock)).map(|(key, _)| key.clone()).collect();
        for key in ended {
            self.remove(&key);
        }
    }

    // -- what commands and scripts are made of

    /// What is under a key; what has ended is gone.
    fn find(&mut self, key: &[u8]) -> Option<&mut Slot> {
        if self.keys.get(key)?.has_ended(self.clock) {
            self.remove_ended(key);
        }
        self.keys.get_mut(key)
    }

    fn text(&mut self, key: &[u8]) -> Result<Option<&mut Vec<u8>>, Fault> {
        match self.find(key) {
            None => Ok(None),
            Some(Slot { value: Value::Text(text), .. }) => Ok(Some(text)),
            Some(_) => Err(wrong_type()),
        }
    }

    fn hash(&mut self, key: &[u8]) -> Result<Option<&mut Hash>, Fault> {
        match self.find(key) {
            None => Ok(None),
            Some(Slot { value: Value::Hash(hash), .. }) => Ok(Some(hash)),
            Some(_) => Err(wrong_type()),
        }
    }

    /// The hash under a key, made where there is none.
    fn hash_to_write(&mut self, key: &[u8]) -> Result<&mut Hash, Fault> {
        if self.find(key).is_none() {
            self.keys.insert(key.to_vec(), Slot { value: Value::Hash(BTreeMap::new()), ends: None });
        }
        Ok(self.hash(key)?.expect("there is one by now"))
    }

    fn put(&mut self, key: &[u8], text: Vec<u8>, millis: Option<u64>) {
        self.find(key);
        let ends = millis.map(|millis| self.in_millis(millis));
        self.keys.insert(key.to_vec(), Slot { value: Value::Text(text), ends });
        self.tracking.changed(key);
    }

    fn remove(&mut self, key: &[u8]) -> bool {
        let was_there = self.find(key).is_some();
        if was_there {
            self.keys.remove(key);
            self.tracking.changed(key);
        }
        was_there
    }

    fn remove_ended(&mut self, key: &[u8]) {
        self.keys.remove(key);
        self.tracking.changed(key);
    }

    fn in_millis(&self, millis: u64) -> Moment {
        self.clock.after(std::time::Duration::from_millis(millis))
    }
}

impl Slot {
    fn has_ended(&self, clock: Moment) -> bool {
        self.ends.is_some_and(|ends| ends <= clock)
    }
}

fn wrong_type() -> Fault {
    Fault::server("WRONGTYPE", "")
}

fn number(word: &[u8]) -> u64 {
    std::str::from_utf8(word).ok().and_then(|word| word.parse().ok()).expect("a number is said in digits")
}
