//! World: processes that read, load, change and invalidate, a server, and all that may befall them, drawn from a seed.
//!
//! Owns the source, what is done when, and what is checked. Nobody may be served a version of the source older than one whose
//! invalidation had returned when they asked; memory may be late by no more than [`TRUST`], and in what its own process invalidated
//! not at all; and when all is quiet, nothing old is anywhere.

use std::cell::{Cell, RefCell};
use std::fmt::Write;
use std::rc::Rc;
use std::time::Duration;

use donjon_core::expiry::{Grace, Ttl};
use donjon_core::key::Key;
use donjon_core::lease::Filled;
use donjon_core::near::TRUST;
use donjon_core::pattern::Pattern;
use donjon_core::payload::Payload;
use donjon_core::remote::Storing;
use donjon_core::remote::look::Want;

use crate::machine::{Machine, Owner, unless};
use crate::network::Network;
use crate::process::{Got, Loaded, MAX_BYTES, MOST_AHEAD, Process};
use crate::promises::{KEYS, Promises, Versions};
use crate::redis::Redis;

/// What a run came to.
#[derive(Debug)]
pub struct Run {
    /// What was wrong, if anything was.
    pub wrong: Option<String>,
    /// What happened, if that was to be noted.
    pub history: String,
    /// How much of it.
    pub counts: Counts,
}

/// How often what happened, to see that enough did.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Commands that the server carried out.
    pub calls: u64,
    /// Values served from what is shared.
    pub shared: u64,
    /// Values served from memory.
    pub memory: u64,
    /// Values of memory that were late, and by how long at most.
    pub late: u64,
    /// The longest that one was late.
    pub latest: Duration,
    /// Loads, by what became of them.
    pub stored: u64,
    /// Not stored, as something was invalidated or not known.
    pub refused: u64,
    /// Not stored, as they were too large.
    pub passed: u64,
    /// Invalidations that Redis had done when they returned.
    pub done: u64,
    /// … and those that were owed.
    pub owed: u64,
    /// Things that befell.
    pub faults: u64,
}

impl Counts {
    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.shared += other.shared;
        self.memory += other.memory;
        self.late += other.late;
        self.latest = self.latest.max(other.latest);
        self.stored += other.stored;
        self.refused += other.refused;
        self.passed += other.passed;
        self.done += other.done;
        self.owed += other.owed;
        self.faults += other.faults;
    }
}

struct World {
    machine: Rc<Machine>,
    network: Rc<Network>,
    processes: RefCell<Vec<Rc<Process>>>,
    source: RefCell<Versions>,
    promises: RefCell<Promises>,
    /// Who is about to set a key by hand. Until then nobody else changes it, since a set is never refused, however old it is.
    setting: RefCell<[Option<Owner>; KEYS]>,
    /// How often a server took over that had not got the latest.
    failovers: Cell<u32>,
    started: Cell<u32>,
    is_quiet: Cell<bool>,
    history: RefCell<Option<String>>,
    wrong: RefCell<Option<String>>,
    counts: RefCell<Counts>,
}

/// Plays the world of a seed, and notes what happens where asked to.
pub fn play(seed: u64, notes: bool) -> Run {
    let machine = Machine::new(seed);
    let network = Network::new(&machine);
    let world = Rc::new(World {
        network,
        processes: RefCell::default(),
        source: RefCell::new([1; KEYS]),
        promises: RefCell::default(),
        setting: RefCell::default(),
        failovers: Cell::new(0),
        started: Cell::new(0),
        is_quiet: Cell::new(false),
        history: RefCell::new(notes.then(String::new)),
        wrong: RefCell::default(),
        counts: RefCell::default(),
        machine,
    });
    world.run();
    let mut counts = world.counts.take();
    counts.calls = world.network.calls();
    let run = Run { wrong: world.wrong.take(), history: world.history.take().unwrap_or_default(), counts };
    // They have the world, and it has them.
    for owner in 0..=world.started.get() {
        world.machine.kill(Owner(owner));
    }
    world.processes.borrow_mut().clear();
    run
}

impl World {
    fn run(self: &Rc<Self>) {
        for _ in 0..PROCESSES {
            let process = self.start();
            self.processes.borrow_mut().push(process);
        }
        self.machine.spawn(OUTSIDE, Rc::clone(self).befall());
        let end = self.machine.now().after(STORMY);
        while self.machine.now() < end && self.wrong.borrow().is_none() {
            self.machine.run_until(self.machine.now().after(Duration::from_millis(50)));
        }
        self.is_quiet.set(true);
        self.note(|| "all is quiet from here on".to_owned());
        let end = self.machine.now().after(QUIET);
        while self.machine.now() < end && self.wrong.borrow().is_none() {
            self.machine.run_until(self.machine.now().after(Duration::from_millis(50)));
        }
        for process in &*self.processes.borrow() {
            for key in 0..KEYS {
                self.look_at_rest(process, key);
            }
        }
    }

    /// A process with callers, of whom one changes what the others read.
    fn start(self: &Rc<Self>) -> Rc<Process> {
        self.started.set(self.started.get() + 1);
        let process = Process::start(Owner(self.started.get()), &self.machine, &self.network);
        for _ in 0..CALLERS {
            self.machine.spawn(process.owner, Rc::clone(self).call(Rc::clone(&process)));
        }
        self.machine.spawn(process.owner, Rc::clone(self).change(Rc::clone(&process)));
        process
    }

    // -- what processes do

    async fn call(self: Rc<Self>, process: Rc<Process>) {
        loop {
            self.machine.sleep(self.pause()).await;
            let key = self.machine.below(KEYS as u64) as usize;
            let is_local = !self.machine.once_in(3);
            if is_local && self.look_in_memory(&process, key) {
                continue;
            }
            let asked = self.asked(&process, key);
            let since = self.machine.once_in(10).then(|| process.remote.ticket());
            let least = if since.is_some() { self.source.borrow()[key] } else { asked.least };
            let asked = Asked { least, forced: since.is_some(), ..asked };
            let tags = (!self.machine.once_in(16)).then(|| tags_of(key).iter().map(|&tag| tag.into()).collect());
            let want = Want { since, tags, ..Want::default() };
            let get = Box::pin(process.get_or_set(key_of(key), want, || self.load(key)));
            let got = if self.machine.once_in(20) {
                // Whoever asked is gone before there is an answer.
                unless(get, self.machine.sleep(self.machine.micros(10, 5_000))).await
            } else {
                Some(get.await)
            };
            match got {
                Some(Got::Found(payload)) => self.served(&process, key, &asked, version_of(&payload), "is served"),
                Some(Got::Loaded(payload, filled)) => {
                    self.loaded(filled);
                    self.served(&process, key, &asked, version_of(&payload), "has loaded");
                }
                Some(Got::Nothing) | None => {}
            }
        }
    }

    fn asked(&self, process: &Process, key: usize) -> Asked {
        let (least, lasting) = self.promises.borrow().to(process.owner, key);
        Asked { least, lasting, failovers: self.failovers.get(), forced: false }
    }

    async fn load(&self, key: usize) -> Loaded {
        self.machine.sleep(self.machine.micros(0, 2_000)).await;
        let version = self.source.borrow()[key];
        let slow = if self.machine.once_in(40) { 3_000_000 } else { 4_000 };
        self.machine.sleep(self.machine.micros(0, slow)).await;
        match self.machine.below(40) {
            0 => Loaded::Failed,
            1 => Loaded::GivenUp,
            way => {
                let (storing, ends) = self.storing(key);
                let padding = if way < 4 { MAX_BYTES as usize } else { 0 };
                let payload = Payload::json(format!("{version} {ends}{}", " ".repeat(padding)));
                Loaded::Value(payload, storing)
            }
        }
    }

    /// How to store a value that is stored now, and when it is not fresh any more, in microseconds of the server's clock.
    fn storing(&self, key: usize) -> (Storing, u64) {
        let seconds = [0.03, 0.3, 30.0][self.machine.below(3) as usize];
        let ends = self.network.clock().after(Duration::from_secs_f64(seconds) + MOST_AHEAD).as_nanos() / 1_000;
        let grace = if self.machine.once_in(2) { Grace::NONE } else { Grace::from_secs(20.0).expect("it is one") };
        let tags = tags_of(key).iter().map(|&tag| tag.into()).collect();
        (Storing { ttl: Ttl::from_secs(seconds).expect("it is one"), grace, tags }, ends)
    }

    async fn change(self: Rc<Self>, process: Rc<Process>) {
        loop {
            self.machine.sleep(self.pause() * 3).await;
            if self.is_quiet.get() {
                return;
            }
            let key = self.machine.below(KEYS as u64) as usize;
            let way = self.machine.below(12);
            let keys: &[usize] = if way < 7 { &[key] } else { &[1, 2] };
            if keys.iter().any(|&key| self.setting.borrow()[key].is_some()) {
                continue;
            }
            let versions = self.commit(keys);
            let failovers = self.failovers.get();
            let (what, done) = match way {
                0..5 => ("deletes it", process.delete(key_of(key)).await),
                5..7 => {
                    let (storing, _) = self.storing(key);
                    // It is not known when it will be stored.
                    let payload = Payload::json(format!("{} {}", versions[key], u64::MAX));
                    self.setting.borrow_mut()[key] = Some(process.owner);
                    let done = process.set(key_of(key), &payload, &storing).await;
                    if done {
                        self.setting.borrow_mut()[key] = None;
                    } else {
                        self.settle_later(key);
                    }
                    ("sets it", done)
                }
                7..10 => ("invalidates the tag", process.invalidate_tag(TAG).await),
                _ => {
                    let pattern = ["*:tagged", "?:*"][self.machine.below(2) as usize];
                    let pattern = Pattern::new(pattern).expect("it is one");
                    let holds = || self.promise(process.owner, versions, "writes down", true, failovers, false);
                    ("invalidates the pattern", process.invalidate_pattern(&pattern, holds).await)
                }
            };
            let is_set = what == "sets it" && done;
            self.promise(process.owner, versions, what, done, failovers, !is_set);
        }
    }

    /// What was to be set may still arrive, for as long as anything may be on its way.
    fn settle_later(self: &Rc<Self>, key: usize) {
        let world = Rc::clone(self);
        self.machine.at(self.machine.now().after(LONGEST), move || world.setting.borrow_mut()[key] = None);
    }

    fn commit(&self, keys: &[usize]) -> Versions {
        let mut source = self.source.borrow_mut();
        let mut versions = [0; KEYS];
        for &key in keys {
            source[key] += 1;
            versions[key] = source[key];
        }
        drop(source);
        self.note(|| format!("the source has {versions:?}"));
        versions
    }

    fn promise(&self, owner: Owner, versions: Versions, what: &str, done: bool, failovers: u32, lasting: bool) {
        let mut promises = self.promises.borrow_mut();
        // What the old server did the new one may not know.
        let holds = done && failovers == self.failovers.get();
        if holds {
            promises.make(versions, self.machine.now());
        }
        if lasting || holds {
            promises.make_own(owner, versions, lasting);
        }
        let mut counts = self.counts.borrow_mut();
        counts.done += u64::from(done);
        counts.owed += u64::from(!done);
        self.note(|| format!("{owner:?} {what}, {versions:?}{}", if done { "" } else { ", which is owed" }));
    }

    // -- what befalls them

    async fn befall(self: Rc<Self>) {
        let fierce = 1 + self.machine.below(4);
        loop {
            self.machine.sleep(self.machine.micros(1_000, 200_000) / fierce as u32).await;
            if self.is_quiet.get() {
                return;
            }
            self.counts.borrow_mut().faults += 1;
            let place = self.machine.below(PROCESSES) as usize;
            let process = Rc::clone(&self.processes.borrow()[place]);
            match self.machine.below(40) {
                0..8 => self.note_of(&process, "loses a connection", || self.network.cut(process.owner)),
                8..14 => {
                    let span = self.machine.micros(10_000, 600_000);
                    self.note_of(&process, "is cut off for a while", || self.network.hold(process.owner, span));
                }
                14..17 => {
                    let span = self.machine.micros(100_000, 5_000_000);
                    self.note_of(&process, "is cut off for long", || self.network.hold(process.owner, span));
                }
                17..22 => self.freeze(&process),
                22..25 => self.crash(place),
                25 | 26 => self.replace("the server is restarted, empty", Redis::new(self.network.clock())),
                27 => self.replace("the server is restarted", self.network.copy()),
                28..31 => self.fail_over(),
                31..33 => self.from_outside("tables are evicted", &["UNLINK", "app!t3"]),
                33..35 => self.from_outside("a key is evicted", &["UNLINK", ["app:plain", "app:a:tagged"][place % 2]]),
                35..37 => self.change_from_outside(place),
                37 => self.flush(),
                _ => {
                    self.note(|| "the server removes what has ended".to_owned());
                    self.network.expire();
                }
            }
        }
    }

    fn freeze(self: &Rc<Self>, process: &Process) {
        let long = if self.machine.once_in(3) { 5_000_000 } else { 500_000 };
        let (owner, span) = (process.owner, self.machine.micros(1_000, long));
        self.note_of(process, "is frozen", || self.machine.freeze(owner));
        let world = Rc::clone(self);
        self.machine.at(self.machine.now().after(span), move || {
            world.note(|| format!("{owner:?} goes on"));
            world.machine.thaw(owner);
        });
    }

    fn crash(self: &Rc<Self>, place: usize) {
        let dead = Rc::clone(&self.processes.borrow()[place]);
        self.note_of(&dead, "crashes", || self.machine.kill(dead.owner));
        self.promises.borrow_mut().forget(dead.owner);
        for key in (0..KEYS).filter(|key| self.setting.borrow()[*key] == Some(dead.owner)) {
            self.settle_later(key);
        }
        for _ in 0..2 {
            self.network.cut(dead.owner);
        }
        let process = self.start();
        self.processes.borrow_mut()[place] = process;
    }

    fn replace(self: &Rc<Self>, what: &'static str, redis: Redis) {
        self.note(|| what.to_owned());
        self.network.replace(redis, self.machine.micros(0, 300_000));
    }

    /// A replica has what was there now, and takes over some time later.
    fn fail_over(self: &Rc<Self>) {
        self.note(|| "the replica has got all up to now".to_owned());
        let (copy, promises, failovers) = (self.network.copy(), self.promises.borrow().clone(), self.failovers.get());
        let world = Rc::clone(self);
        let span = self.machine.micros(1_000, 300_000);
        self.machine.at(self.machine.now().after(span), move || {
            if world.failovers.get() == failovers && !world.is_quiet.get() {
                world.failovers.set(failovers + 1);
                world.promises.borrow_mut().fail_over(&promises);
                world.replace("the replica takes over", copy);
            }
        });
    }

    fn from_outside(self: &Rc<Self>, what: &'static str, words: &[&str]) {
        self.note(|| what.to_owned());
        self.network.command(words);
    }

    /// A program that knows nothing of donjon changes the source, and unlinks the key.
    fn change_from_outside(self: &Rc<Self>, key: usize) {
        if self.setting.borrow()[key].is_some() {
            return;
        }
        let versions = self.commit(&[key]);
        self.network.command(&["UNLINK", &format!("app:{}", NAMES[key])]);
        self.promise(OUTSIDE, versions, "unlinks the key", true, self.failovers.get(), true);
    }

    fn flush(self: &Rc<Self>) {
        if self.setting.borrow().iter().any(Option::is_some) {
            return;
        }
        let versions = self.commit(&[0, 1, 2]);
        self.network.command(&["FLUSHALL"]);
        self.promise(OUTSIDE, versions, "flushes all", true, self.failovers.get(), true);
    }

    // -- what is checked

    /// Whether memory has the key. It may be late, but not by more than it is believed.
    fn look_in_memory(&self, process: &Process, key: usize) -> bool {
        let now = self.machine.now();
        let Some(payload) = process.near.hit(key_of(key), now) else { return false };
        let version = version_of(&payload);
        let promises = self.promises.borrow();
        let least = promises.to_memory(process.owner, key, now.before(TRUST));
        let mut counts = self.counts.borrow_mut();
        counts.memory += 1;
        if let Some(since) = promises.late_since(key, version) {
            counts.late += 1;
            counts.latest = counts.latest.max(now - since);
        }
        drop((counts, promises));
        self.check(process, key, least, version, "has in memory");
        if self.network.clock().as_nanos() / 1_000 >= end_of(&payload) {
            self.fails(&format!("{:?} has version {version} of {} past its end", process.owner, NAMES[key]));
        }
        true
    }

    fn look_at_rest(&self, process: &Process, key: usize) {
        if let Some(payload) = process.near.hit(key_of(key), self.machine.now()) {
            let least = self.promises.borrow().to(process.owner, key).0;
            self.check(process, key, least, version_of(&payload), "has in memory for good");
        }
    }

    fn served(&self, process: &Process, key: usize, asked: &Asked, version: u64, how: &str) {
        self.counts.borrow_mut().shared += 1;
        let is_same_server = asked.failovers == self.failovers.get();
        let least = if asked.forced || is_same_server { asked.least } else { asked.lasting };
        self.check(process, key, least, version, how);
    }

    fn check(&self, process: &Process, key: usize, least: u64, version: u64, how: &str) {
        let owner = process.owner;
        self.note(|| format!("{owner:?} {how} version {version} of {}", NAMES[key]));
        if version < least {
            self.fails(&format!("{owner:?} {how} version {version} of {}, though {least} was promised", NAMES[key]));
        }
    }

    fn fails(&self, how: &str) {
        self.note(|| format!("WRONG: {how}"));
        self.wrong.borrow_mut().get_or_insert_with(|| how.to_owned());
    }

    fn loaded(&self, filled: Filled) {
        let mut counts = self.counts.borrow_mut();
        match filled {
            Filled::Stored => counts.stored += 1,
            Filled::Refused => counts.refused += 1,
            Filled::Passed => counts.passed += 1,
        }
    }

    /// Mostly short, so that much happens at once; now and then long.
    fn pause(&self) -> Duration {
        match self.machine.below(50) {
            0 => self.machine.micros(0, 1_000_000),
            1..10 => self.machine.micros(0, 60_000),
            _ => self.machine.micros(0, 1_500),
        }
    }

    fn note_of(&self, process: &Process, what: &str, run: impl FnOnce()) {
        self.note(|| format!("{:?} {what}", process.owner));
        run();
    }

    fn note(&self, what: impl FnOnce() -> String) {
        if let Some(history) = &mut *self.history.borrow_mut() {
            let at = self.machine.now().as_nanos() / 1_000;
            writeln!(history, "{:>4}.{:06} {}", at / 1_000_000, at % 1_000_000, what()).expect("a text grows");
        }
    }
}

/// What a caller may not be served any less than.
#[derive(Clone, Copy, Debug)]
struct Asked {
    least: u64,
    /// … should a server take over meanwhile that has not got the latest.
    lasting: u64,
    failovers: u32,
    forced: bool,
}

fn key_of(key: usize) -> Key<'static> {
    Key::new(NAMES[key]).expect("it is one")
}

fn tags_of(key: usize) -> &'static [&'static str] {
    if key == 0 { &[] } else { &[TAG] }
}

fn version_of(payload: &Payload) -> u64 {
    word_of(payload, 0)
}

fn end_of(payload: &Payload) -> u64 {
    word_of(payload, 1)
}

fn word_of(payload: &Payload, place: usize) -> u64 {
    let text = std::str::from_utf8(&payload.bytes).expect("a value is text");
    text.split(' ').nth(place).and_then(|word| word.parse().ok()).expect("a value is made of numbers")
}

const OUTSIDE: Owner = Owner(0);
const PROCESSES: u64 = 3;
const CALLERS: usize = 3;
const NAMES: [&str; KEYS] = ["plain", "a:tagged", "b:tagged"];
/// Nothing is longer on its way.
const LONGEST: Duration = Duration::from_secs(6);
/// In the table with number 3.
const TAG: &str = "jobs";
/// For how long all kinds of things happen, and for how long nothing does then.
const STORMY: Duration = Duration::from_millis(1_500);
const QUIET: Duration = Duration::from_millis(2_600);
