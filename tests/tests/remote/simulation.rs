//! Processes that read, load, change and invalidate, in an order drawn at random, command by command.
//!
//! A step does one thing: a command of one look-up, fill or invalidation, a read of the source, a poll of a wait, or a fault: a
//! process that dies, an answer that is lost, a lease that runs out, a flushed server, a lost table. Nobody may be served a
//! version of the source older than one whose invalidation had returned when they asked; and who asks for something newer, none
//! older than when they asked. The clock stands still but for what moves it here.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use donjon_core::cache::Config;
use donjon_core::chance::Seed;
use donjon_core::fault::Fault;
use donjon_core::flight::Joined;
use donjon_core::key::{Key, Namespace};
use donjon_core::lease::Filled;
use donjon_core::moment::Moment;
use donjon_core::pattern::Pattern;
use donjon_core::payload::Payload;
use donjon_core::remote::Remote;
use donjon_core::remote::call::{Call, Reply};
use donjon_core::remote::lease::{Filling, Lease, Sent};
use donjon_core::remote::look::{Look, Pending, Step, Want};
use donjon_test_redis::{Client, Server};

use crate::process::storing;
use crate::wire::ask;

#[test]
fn nobody_is_served_what_was_invalidated() {
    let server = Server::start();
    let mut done = Counts::default();
    for seed in 0..WORLDS {
        World::new(seed, &server).run(STEPS, &mut done);
    }
    // A run in which little happened has shown little.
    let Counts { served, joined, refused, passed, stored, stale, taken, lost } = done;
    let enough = [served > 5_000, joined > 5_000, stored > 2_000, refused > 3_000, passed > 200, stale > 500];
    assert!(enough == [true; 6] && taken > 200 && lost > 1_000, "{done:?}");
}

/// Runs the world of `DONJON_SEED`; nothing where none is given.
#[test]
fn replay() {
    if let Some(seed) = std::env::var("DONJON_SEED").ok().and_then(|seed| seed.parse().ok()) {
        World::new(seed, &Server::start()).run(STEPS, &mut Counts::default());
    }
}

const WORLDS: u64 = 100;
const STEPS: u32 = 8_000;
const PROCESSES: usize = 3;
const TASKS: usize = 9;
const KEYS: [&str; 3] = ["plain", "a:tagged", "b:tagged"];
const TAG: &str = "jobs";
/// Of one value; larger ones are passed on and not stored.
const MAX_BYTES: u64 = 32;

/// What happened, to see that enough did.
#[derive(Debug, Default)]
struct Counts {
    served: u32,
    joined: u32,
    refused: u32,
    passed: u32,
    stored: u32,
    stale: u32,
    taken: u64,
    lost: u32,
}

struct World {
    seed: u64,
    step: u32,
    chance: fastrand::Rng,
    client: Client,
    processes: Vec<Remote<String>>,
    /// The source: the version of each key.
    source: [u64; KEYS.len()],
    /// The version of each key whose invalidation has returned.
    promised: [u64; KEYS.len()],
    tasks: Vec<Task>,
    now: Moment,
    counts: Counts,
}

struct Task {
    process: usize,
    doing: Doing,
}

enum Doing {
    Read(Read),
    Write(Write),
}

/// A caller of one process that wants one key.
struct Read {
    key: usize,
    /// No older version will do.
    at_least: u64,
    state: State,
}

enum State {
    Next(Step<String>),
    Sending(Box<Pending<String>>, Exchange),
    Joining(Box<Look<String>>, Joined<Payload, String>),
    Sleeping(Box<Look<String>>, u32),
    Loading(Lease<String>, u64, u32),
    Filling(Box<Sent<String>>, Exchange),
    Parting(Exchange),
}

/// Commands on their way, one at a time, and what was answered so far.
struct Exchange {
    calls: VecDeque<Call>,
    replies: Vec<Reply>,
}

impl Exchange {
    fn new(calls: impl IntoIterator<Item = Call>) -> Self {
        Self { calls: calls.into_iter().collect(), replies: Vec::new() }
    }
}

/// A change of the source, committed, whose invalidation is under way.
struct Write {
    versions: [u64; KEYS.len()],
    calls: VecDeque<Call>,
    sweep: bool,
}

impl World {
    fn new(seed: u64, server: &Server) -> Self {
        server.ask(&["FLUSHALL"]);
        let mut chance = fastrand::Rng::with_seed(seed);
        let processes = (0..PROCESSES).map(|_| process(chance.u128(..))).collect();
        Self {
            seed,
            step: 0,
            chance,
            client: server.client(),
            processes,
            source: [1; KEYS.len()],
            promised: [0; KEYS.len()],
            tasks: Vec::new(),
            now: Moment::from_millis(1_800_000_000_000),
            counts: Counts::default(),
        }
    }

    fn run(mut self, steps: u32, total: &mut Counts) {
        for step in 0..steps {
            self.step = step;
            self.turn();
        }
        let taken: u64 = self.processes.iter().map(|remote| remote.stats().takeovers).sum();
        total.served += self.counts.served;
        total.joined += self.counts.joined;
        total.refused += self.counts.refused;
        total.passed += self.counts.passed;
        total.stored += self.counts.stored;
        total.stale += self.counts.stale;
        total.lost += self.counts.lost;
        total.taken += taken;
    }

    fn turn(&mut self) {
        self.now = self.now.after(Duration::from_micros(100));
        match self.chance.u32(0..1_000) {
            0..3 => self.process_dies(),
            3..12 => self.lease_runs_out(),
            12..14 => drop(self.say(&["FLUSHALL"])),
            14..18 => self.tables_get_lost(),
            18..30 => self.now = self.now.after(Duration::from_secs(2)),
            30..40 => drop(self.say(&["UNLINK", "app!r:plain", "app!r:a:tagged", "app!r:b:tagged"])),
            _ if self.tasks.len() < TASKS => self.begin(),
            _ => {
                let index = self.chance.usize(0..self.tasks.len());
                let task = self.tasks.swap_remove(index);
                let task = self.go_on(task);
                self.tasks.extend(task);
            }
        }
    }

    fn begin(&mut self) {
        let process = self.chance.usize(0..PROCESSES);
        let doing = if self.chance.u32(0..100) < 12 { self.begin_write(process) } else { self.begin_read(process) };
        self.tasks.push(Task { process, doing });
    }

    fn begin_read(&mut self, process: usize) -> Doing {
        let key = self.chance.usize(0..KEYS.len());
        let forced = self.chance.u32(0..10) == 0;
        let remote = &self.processes[process];
        let tags: &[&str] = if key == 0 { &[] } else { &[TAG] };
        let tags = (self.chance.u32(0..8) != 0).then(|| tags.iter().map(|&tag| tag.into()).collect());
        let since = forced.then(|| remote.ticket());
        let want = Want { since, tags, ..Want::default() };
        let step = remote.look(key_of(key), want, self.now);
        let at_least = if forced { self.source[key] } else { self.promised[key] };
        Doing::Read(Read { key, at_least, state: State::Next(step) })
    }

    /// Commits a change and begins to invalidate what it made old.
    fn begin_write(&mut self, process: usize) -> Doing {
        let remote = self.processes[process].clone();
        let mut versions = [0; KEYS.len()];
        let mut change = |source: &mut [u64; KEYS.len()], keys: &[usize]| {
            for &key in keys {
                source[key] += 1;
                versions[key] = source[key];
            }
        };
        let (calls, sweep) = match self.chance.u32(0..10) {
            0..5 => {
                let key = self.chance.usize(0..KEYS.len());
                change(&mut self.source, &[key]);
                remote.detach(key_of(key));
                (remote.delete(key_of(key)).to_vec(), false)
            }
            5..8 => {
                change(&mut self.source, &[1, 2]);
                (remote.move_tags(&[TAG]), false)
            }
            _ => {
                change(&mut self.source, &[1, 2]);
                remote.detach_matching(&Pattern::new("*:tagged").expect("a pattern"));
                (Vec::new(), true)
            }
        };
        Doing::Write(Write { versions, calls: calls.into(), sweep })
    }

    fn go_on(&mut self, task: Task) -> Option<Task> {
        let Task { process, doing } = task;
        let doing = match doing {
            Doing::Read(read) => self.read(read).map(Doing::Read),
            Doing::Write(write) => self.write(write).map(Doing::Write),
        };
        doing.map(|doing| Task { process, doing })
    }

    fn write(&mut self, mut write: Write) -> Option<Write> {
        if std::mem::take(&mut write.sweep) {
            let found = self.say(&["KEYS", "app:*:tagged"]);
            let unlink = |name: &donjon_test_redis::Reply| {
                Call::Plain(vec![b"UNLINK".into(), name.bytes().expect("a name").to_vec().into()])
            };
            write.calls = found.list().iter().map(unlink).collect();
            return Some(write);
        }
        if let Some(call) = write.calls.pop_front() {
            let reply = ask(&mut self.client, &call);
            assert!(!matches!(reply, Reply::Error(_)), "{self}: {reply:?}");
            return Some(write);
        }
        for (promised, version) in self.promised.iter_mut().zip(write.versions) {
            *promised = (*promised).max(version);
        }
        None
    }

    fn read(&mut self, read: Read) -> Option<Read> {
        let Read { key, at_least, state } = read;
        let state = match state {
            State::Next(step) => self.next(key, at_least, step),
            State::Sending(pending, exchange) => match self.exchange(exchange) {
                Err(exchange) => Some(State::Sending(pending, exchange)),
                Ok(replies) => Some(State::Next(pending.replied(replies, self.now, self.now))),
            },
            State::Joining(look, mut joined) => match self.poll(&mut joined) {
                None => Some(State::Joining(look, joined)),
                Some(ending) => {
                    self.counts.joined += 1;
                    Some(State::Next(look.joined(ending, self.now)))
                }
            },
            State::Sleeping(look, 0) => Some(State::Next(look.slept())),
            State::Sleeping(look, turns) => Some(State::Sleeping(look, turns - 1)),
            State::Loading(lease, version, 0) => Some(self.end_load(key, lease, version)),
            State::Loading(lease, version, turns) => {
                let renewal = lease.renewal().filter(|_| self.chance.u32(0..8) == 0);
                renewal.map(|call| ask(&mut self.client, &call));
                Some(State::Loading(lease, version, turns - 1))
            }
            State::Filling(sent, exchange) => match self.exchange(exchange) {
                Err(exchange) => Some(State::Filling(sent, exchange)),
                Ok(replies) => {
                    self.filled(sent.replied(replies, self.now));
                    None
                }
            },
            State::Parting(exchange) => self.exchange(exchange).err().map(State::Parting),
        };
        state.map(|state| Read { key, at_least, state })
    }

    fn next(&mut self, key: usize, at_least: u64, step: Step<String>) -> Option<State> {
        match step {
            Step::Done(payload) => {
                self.served(key, at_least, &payload);
                None
            }
            Step::Stale(payload, lease) => {
                self.counts.stale += 1;
                self.served(key, at_least, &payload);
                Some(self.begin_load(key, lease))
            }
            Step::Load(lease) => Some(self.begin_load(key, lease)),
            Step::Failed(_) | Step::Later => None,
            Step::Send(pending, calls) => Some(State::Sending(pending, Exchange::new(calls))),
            Step::Join(look, joined, _) => Some(State::Joining(look, joined)),
            Step::Sleep(look, _) => Some(State::Sleeping(look, self.chance.u32(0..8))),
        }
    }

    fn begin_load(&mut self, key: usize, lease: Lease<String>) -> State {
        State::Loading(lease, self.source[key], self.chance.u32(0..6))
    }

    fn end_load(&mut self, key: usize, lease: Lease<String>, version: u64) -> State {
        let tags: &[&str] = if key == 0 { &[] } else { &[TAG] };
        let ttl = if self.chance.bool() { 60.0 } else { 1.0 };
        match self.chance.u32(0..20) {
            0 => State::Parting(Exchange::new(lease.fail("the source is down".to_owned()))),
            1 => State::Parting(Exchange::new(lease.abandon())),
            way => {
                let padding = if way < 4 { MAX_BYTES as usize } else { 0 };
                let payload = Payload::json(format!("{version}{}", " ".repeat(padding)));
                match lease.fill(payload, &storing(ttl, 600.0, tags), self.now, self.now) {
                    Filling::Done(filled) => {
                        self.filled(filled);
                        State::Parting(Exchange::new([]))
                    }
                    Filling::Send(sent, calls) => State::Filling(sent, Exchange::new(calls)),
                }
            }
        }
    }

    fn filled(&mut self, filled: Filled) {
        match filled {
            Filled::Stored => self.counts.stored += 1,
            Filled::Refused => self.counts.refused += 1,
            Filled::Passed => self.counts.passed += 1,
        }
    }

    fn served(&mut self, key: usize, at_least: u64, payload: &Payload) {
        self.counts.served += 1;
        let text = std::str::from_utf8(&payload.bytes).expect("versions are text");
        let version: u64 = text.trim_end().parse().expect("a version");
        assert!(version >= at_least, "{self}: served version {version} of {}, owed {at_least}", KEYS[key]);
    }

    /// Sends the next commands; gives the answers once there are no more. Now and then the connection breaks, the command
    /// having been carried out or not.
    fn exchange(&mut self, mut exchange: Exchange) -> Result<Result<Vec<Reply>, Fault>, Exchange> {
        if exchange.calls.is_empty() {
            return Ok(Ok(exchange.replies));
        }
        let breaks = self.chance.u32(0..200);
        // Of many at a time, or a look-up that notes all tables would be all that there is to see.
        let some = 1 + exchange.calls.len() / 8;
        for call in exchange.calls.drain(..if breaks == 0 { some - 1 } else { some }) {
            exchange.replies.push(ask(&mut self.client, &call));
        }
        if breaks > 1 {
            return Err(exchange);
        }
        self.counts.lost += 1;
        Ok(Err(Fault::Lost))
    }

    /// `Some(None)` where the wait took too long.
    #[expect(clippy::option_option, reason = "a wait goes on, ends, or is given up")]
    fn poll(
        &mut self,
        joined: &mut Joined<Payload, String>,
    ) -> Option<Option<donjon_core::flight::Ending<Payload, String>>> {
        match Pin::new(joined).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(ending) => Some(Some(ending)),
            Poll::Pending => (self.chance.u32(0..200) == 0).then_some(None),
        }
    }

    fn process_dies(&mut self) {
        let process = self.chance.usize(0..PROCESSES);
        // Its invalidations have not returned, so nothing was promised.
        self.tasks.retain(|task| task.process != process);
        self.processes[process] = self::process(self.chance.u128(..));
    }

    fn lease_runs_out(&mut self) {
        let name = format!("app:{}", KEYS[self.chance.usize(0..KEYS.len())]);
        let placeholder = self.say(&["GETRANGE", &name, "3", "3"]).bytes() == Some(b"L");
        if placeholder {
            self.say(&["UNLINK", &name]);
        }
    }

    fn tables_get_lost(&mut self) {
        let tables = self.say(&["KEYS", "app!t*"]);
        for table in tables.list() {
            self.say(&["DEL", table.text()]);
        }
    }

    fn say(&mut self, words: &[&str]) -> donjon_test_redis::Reply {
        self.client.call(words).expect("the server does as it is told")
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "replay with DONJON_SEED={}, step {}", self.seed, self.step)
    }
}

fn process(seed: u128) -> Remote<String> {
    let namespace = Namespace::new("app").expect("the namespace is one");
    Remote::new(namespace, &Config::default(), MAX_BYTES, Seed(seed))
}

fn key_of(key: usize) -> Key<'static> {
    Key::new(KEYS[key]).expect("the key is one")
}
