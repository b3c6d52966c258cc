//! The server in memory answers and tells what a real one does.
//!
//! Both are told the same by three connections, drawn from a seed: the core's commands and scripts, and what else befalls a server.
//! One connection tracks nothing; what the others are told is compared after each command, and so is every reply.

use std::time::{Duration, Instant};

use donjon_core::cache::Config;
use donjon_core::chance::Seed;
use donjon_core::fault::Fault;
use donjon_core::key::Namespace;
use donjon_core::moment::Moment;
use donjon_core::remote::Remote;
use donjon_core::remote::call::{Arg, Call, Reply};
use donjon_core::remote::script::{FILL, MOVE_TAGS, RAISE, RELEASE, RENEW, STRIKE, WRITE_DOWN};
use donjon_simulation::redis::{Client, Push, Redis};
use donjon_test_redis::{Client as RealClient, Reply as Said, Server};

#[test]
fn a_server_in_memory_answers_and_tells_what_a_real_one_does() {
    let server = Server::start();
    for seed in 0..SEEDS {
        let mut both = Both::new(seed, &server);
        for _ in 0..STEPS {
            both.step();
        }
        assert!(both.pushes > STEPS / 20, "little was told with seed {seed}: {}", both.pushes);
    }
}

const SEEDS: u64 = 40;
const STEPS: u32 = 600;
const KEYS: [&str; 4] = ["app:a", "app:b", "app:c", "other:a"];
const TABLES: [&str; 2] = ["app!t1", "app!t2"];
const LIST: &str = "app!p";
/// Later than any clock says, so that the versions of tags are counted on and do not come from two clocks.
const FAR: &str = "4000000000000000";
/// Of what ends, so long that none ends by itself.
const LONG: u64 = 1_000_000;

struct Both {
    chance: fastrand::Rng,
    real: Vec<RealClient>,
    redis: Redis,
    clients: Vec<Client>,
    /// Entries that were, or will be, somewhere.
    entries: Vec<Vec<u8>>,
    pushes: u32,
    told: String,
}

impl Both {
    fn new(seed: u64, server: &Server) -> Self {
        server.ask(&["FLUSHALL"]);
        let mut chance = fastrand::Rng::with_seed(seed);
        let mut redis = Redis::new(Moment::from_millis(1_000));
        let real = (0..3).map(|_| server.client()).collect();
        let clients = (0..3).map(|_| redis.connect()).collect();
        let entries = (0..5).map(|number| entry(number, chance.u128(..))).collect();
        let mut both = Self { chance, real, redis, clients, entries, pushes: 0, told: format!("seed {seed}") };
        for client in 1..3 {
            both.real[client].track().expect("the server tracks");
            both.redis.call(both.clients[client], &plain(&["CLIENT", "TRACKING", "ON", "NOLOOP"]));
        }
        both.begin_tables();
        both
    }

    fn begin_tables(&mut self) {
        for table in TABLES {
            self.both(0, &plain(&["HSET", table, "\0seq", FAR]));
        }
    }

    fn step(&mut self) {
        let client = self.chance.usize(0..3);
        let key = KEYS[self.chance.usize(0..KEYS.len())];
        let table = TABLES[self.chance.usize(0..TABLES.len())];
        let call = match self.chance.u32(0..110) {
            0..14 => plain(&["GET", key]),
            14..20 => plain(&["MGET", key, LIST]),
            20..25 => plain(&["GETRANGE", key, "0", "3"]),
            25..28 => plain(&["EXISTS", key]),
            28..31 => plain(&["PTTL", key]),
            31..38 => plain(&["UNLINK", key, KEYS[self.chance.usize(0..KEYS.len())]]),
            38..46 => self.set(key),
            46..58 => {
                let (header, entry) = (self.entry()[..20].to_vec(), self.entry());
                let millis = if self.chance.bool() { LONG } else { 0 };
                run(&FILL, key, &[header, entry, millis.to_string().into_bytes()])
            }
            58..62 => {
                let header = self.entry()[..20].to_vec();
                run(&RENEW, key, &[header, LONG.to_string().into_bytes()])
            }
            62..66 => {
                let header = self.entry()[..20].to_vec();
                run(&RELEASE, key, &[header])
            }
            66..76 => plain(&["HMGET", table, "\0epoch", "\0floor", "x", "y"]),
            76..80 => plain(&["HSETNX", table, "\0epoch", "7"]),
            80..87 => {
                let most = if self.chance.u32(0..3) == 0 { "4" } else { "100" };
                let tag = ["x", "y", "z"][self.chance.usize(0..3)];
                run(&MOVE_TAGS, table, &[b"9".to_vec(), most.into(), tag.into()])
            }
            87..89 => return self.run_out(client, key),
            89..92 => return self.sweep(client),
            92..94 => plain(&["HMGET", key, "x"]),
            94..95 => plain(&["HSET", key, "x", "1"]),
            95..97 => plain(&["GET", table]),
            97 => plain(&["FLUSHALL"]),
            100..105 => {
                let pattern = [&b"a*"[..], b"b*", b"", b"**c"][self.chance.usize(0..4)];
                let head = [&self.record_id()[..], &self.beat(), &[0, pattern.len() as u8]].concat();
                let most = if self.chance.bool() { "2" } else { "64" };
                run(&WRITE_DOWN, LIST, &[[&head, pattern].concat(), most.into()])
            }
            105..108 => {
                let (id, was, is) = (self.record_id(), self.beat(), self.beat());
                run(&RAISE, LIST, &[id, was, is])
            }
            108..110 => {
                let id = self.record_id();
                run(&STRIKE, LIST, &[id])
            }
            _ => plain(&["PING"]),
        };
        self.both(client, &call);
        if call == plain(&["FLUSHALL"]) {
            self.begin_tables();
        }
    }

    /// One of a few.
    fn record_id(&mut self) -> Vec<u8> {
        vec![self.chance.u8(0..4); 8]
    }

    fn beat(&mut self) -> Vec<u8> {
        vec![0, 0, 0, self.chance.u8(0..2)]
    }

    fn set(&mut self, key: &str) -> Call {
        let entry = self.entry();
        let mut words: Vec<Vec<u8>> = vec![b"SET".to_vec(), key.into(), entry];
        if self.chance.bool() {
            words.push(b"NX".to_vec());
        }
        if self.chance.bool() {
            words.extend([b"PX".to_vec(), LONG.to_string().into_bytes()]);
        }
        Call::Plain(words.into_iter().map(Arg::from).collect())
    }

    /// A key's time ends, after somebody read it once more; one who is told nothing finds out. In a script it ends no earlier than
    /// behind it.
    fn run_out(&mut self, client: usize, key: &str) {
        let text = "redis.call('PEXPIRE', KEYS[1], 1) return redis.call('EXISTS', KEYS[1])";
        let is_there =
            self.real[client].call(&["EVAL", text, "1", key]).expect("the server runs scripts").number() == 1;
        // A server that stood still in the midst of it finds that the end has passed already, and removes the key itself.
        let ends = if is_there { plain(&["PEXPIRE", key, "1"]) } else { plain(&["UNLINK", key]) };
        self.redis.call(self.clients[client], &ends);
        self.redis.call(self.clients[client], &plain(&["EXISTS", key]));
        self.redis.move_on(self.redis.clock().after(Duration::from_millis(2)));
        let asked = Instant::now();
        while self.real[0].call(&["EXISTS", key]) != Ok(Said::Number(0)) {
            assert!(asked.elapsed() < Duration::from_secs(10), "{}: {key} does not end", self.told);
        }
        self.redis.call(self.clients[0], &plain(&["EXISTS", key]));
        self.compare_pushes(&format!("{key} ran out, which {client} had read"));
    }

    fn sweep(&mut self, client: usize) {
        let glob = ["app:*", "*:a", "app:[ab]", "*"][self.chance.usize(0..4)];
        let mut real: Vec<Vec<u8>> = Vec::new();
        let mut cursor = "0".to_owned();
        loop {
            let page =
                self.real[client].call(&["SCAN", &cursor, "MATCH", glob, "COUNT", "2"]).expect("the server scans");
            page.list()[0].text().clone_into(&mut cursor);
            real.extend(page.list()[1].list().iter().filter_map(|name| name.bytes().map(<[u8]>::to_vec)));
            if cursor == "0" {
                break;
            }
        }
        let mut ours: Vec<Vec<u8>> = Vec::new();
        loop {
            let call = plain(&["SCAN", &cursor, "MATCH", glob, "COUNT", "2"]);
            let Reply::List(page) = self.redis.call(self.clients[client], &call) else { panic!("a page is a list") };
            let [Reply::Bytes(next), Reply::List(names)] = &page[..] else { panic!("a page has two parts") };
            ours.extend(names.iter().map(|name| if let Reply::Bytes(name) = name { name.clone() } else { panic!() }));
            cursor = String::from_utf8(next.clone()).expect("a cursor is a number");
            if cursor == "0" {
                break;
            }
        }
        real.sort_unstable();
        real.dedup();
        ours.sort_unstable();
        assert_eq!(ours, real, "{}: SCAN {glob}", self.told);
        self.compare_pushes("a scan");
    }

    fn entry(&mut self) -> Vec<u8> {
        let which = self.chance.usize(0..self.entries.len());
        self.entries[which].clone()
    }

    fn both(&mut self, client: usize, call: &Call) {
        let real = ask(&mut self.real[client], call);
        let ours = self.redis.call(self.clients[client], call);
        let what = format!("{client} says {}", shown(call));
        match (&real, &ours) {
            // Of times only whether there is one: the clocks differ.
            (Reply::Int(real), Reply::Int(ours)) if what.contains("PTTL") => {
                assert_eq!(real.signum(), ours.signum(), "{what}");
            }
            _ => assert_eq!(ours, real, "{}: {what}", self.told),
        }
        self.compare_pushes(&what);
    }

    fn compare_pushes(&mut self, what: &str) {
        let mut ours = self.redis.pushed();
        for client in 1..3 {
            self.real[client].call(&["PING"]).expect("the server lives");
            let told: Vec<Push> = self.real[client].pushed().iter().flat_map(pushes).collect();
            let (here, rest): (Vec<_>, Vec<_>) = ours.into_iter().partition(|(to, _)| *to == self.clients[client]);
            ours = rest;
            let here: Vec<Push> = here.into_iter().map(|(_, push)| push).collect();
            assert_eq!(here, told, "{}: what {client} is told after {what}", self.told);
            self.pushes += here.len() as u32;
        }
        assert!(ours.is_empty(), "{}: who does not track is told {ours:?} after {what}", self.told);
    }
}

#[test]
fn a_tag_moves_to_the_time_of_the_server() {
    let server = Server::start();
    let mut client = server.client();
    let mut redis = Redis::new(Moment::from_nanos(1_700_000_000_000_000_000));
    let us = redis.connect();
    let namespace = Namespace::new("app").expect("it is one");
    let remote: Remote<String> = Remote::new(namespace, &Config::default(), 1 << 20, Seed(1));
    let read = plain(&["HMGET", "app!t3", "jobs", "\0seq"]);
    for call in remote.move_tags(&["jobs"]) {
        let before = micros(&mut client);
        assert_eq!(ask(&mut client, &call), Reply::Int(1));
        let after = micros(&mut client);
        let version = text(&ask(&mut client, &read));
        assert!((before..=after).contains(&version), "{version} is not within {before} and {after}");

        assert_eq!(redis.call(us, &call), Reply::Int(1));
        assert_eq!(text(&redis.call(us, &read)), 1_700_000_000_000_000);
        redis.call(us, &call);
        assert_eq!(text(&redis.call(us, &read)), 1_700_000_000_000_001, "within a microsecond it is counted on");
    }
}

fn micros(client: &mut RealClient) -> u64 {
    let time = client.call(&["TIME"]).expect("the server has a clock");
    let part = |part: usize| time.list()[part].text().parse::<u64>().expect("a time is a number");
    part(0) * 1_000_000 + part(1)
}

fn text(fields: &Reply) -> u64 {
    let Reply::List(fields) = fields else { panic!("no list: {fields:?}") };
    let [Reply::Bytes(tag), Reply::Bytes(seq)] = &fields[..] else { panic!("not two: {fields:?}") };
    assert_eq!(tag, seq);
    std::str::from_utf8(tag).expect("text").parse().expect("a number")
}

/// An entry as far as a script looks at it.
fn entry(number: u8, token: u128) -> Vec<u8> {
    [&b"\xc1D\x01V"[..], &token.to_be_bytes(), &[number; 20]].concat()
}

fn plain(words: &[&str]) -> Call {
    Call::Plain(words.iter().map(|word| Arg::from(word.as_bytes().to_vec())).collect())
}

fn run(script: &'static donjon_core::remote::script::Script, key: &str, args: &[Vec<u8>]) -> Call {
    let args = std::iter::once(key.as_bytes().to_vec()).chain(args.iter().cloned());
    Call::Run(script, args.map(Arg::from).collect())
}

fn ask(client: &mut RealClient, call: &Call) -> Reply {
    let words: Vec<Vec<u8>> = match call {
        Call::Plain(words) => words.iter().map(|word| word.to_vec()).collect(),
        Call::Run(script, args) => {
            let head = ["EVAL", script.text, &script.keys.to_string()].map(|word| word.as_bytes().to_vec());
            head.into_iter().chain(args.iter().map(|arg| arg.to_vec())).collect()
        }
    };
    match client.call(&words) {
        Ok(said) => reply(said),
        Err(error) => Reply::Error(Fault::server(error.split(' ').next().unwrap_or_default(), "")),
    }
}

fn reply(said: Said) -> Reply {
    match said {
        Said::Nil => Reply::Nil,
        Said::Number(number) => Reply::Int(number),
        Said::Text(bytes) => Reply::Bytes(bytes),
        Said::List(list) => Reply::List(list.into_iter().map(reply).collect()),
    }
}

fn pushes(said: &Said) -> Vec<Push> {
    let [word, keys] = said.list() else { panic!("a push has two parts: {said:?}") };
    assert_eq!(word.text(), "invalidate");
    match keys {
        Said::Nil => vec![Push::AllChanged],
        keys => keys.list().iter().map(|key| Push::Changed(key.bytes().expect("a name").to_vec())).collect(),
    }
}

fn shown(call: &Call) -> String {
    let (head, args) = match call {
        Call::Plain(words) => ("", words),
        Call::Run(script, args) => (script.name, args),
    };
    let args: Vec<_> = args.iter().map(|arg| arg.escape_ascii().to_string()).collect();
    format!("{head} {}", args.join(" "))
}
