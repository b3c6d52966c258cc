//! Process: the core's tier, its outbox and its memory, and the little around them that asks, waits and says again.
//!
//! Owns two connections: the usual one, and the one that is told of changes. What is decided is decided by the core; the order in
//! which things are said is that of `docs/redis.md`. Must not know what is asked for, nor why.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use donjon_core::cache::Config;
use donjon_core::chance::Seed;
use donjon_core::expiry::{Early, Ttl};
use donjon_core::fault::Fault;
use donjon_core::key::{Key, Namespace};
use donjon_core::lease::Filled;
use donjon_core::moment::Moment;
use donjon_core::near::{self, Answer, BEAT, Guard, Near, Told, Track};
use donjon_core::outbox::{Outbox, Target};
use donjon_core::pattern::Pattern;
use donjon_core::payload::Payload;
use donjon_core::remote::call::{Arg, Call, Reply};
use donjon_core::remote::lease::{Filling, Lease};
use donjon_core::remote::look::{Step, Want};
use donjon_core::remote::sight::Outline;
use donjon_core::remote::{Remote, Storing};

use crate::machine::{Machine, Owner, Turn, unless};
use crate::network::{Connection, Message, Network};
use crate::redis::Push;

/// A process.
pub struct Process {
    /// Whose tasks are its own.
    pub owner: Owner,
    /// Its view of what is shared.
    pub remote: Remote<String>,
    /// What is in front of that.
    pub near: Near<Payload>,
    machine: Rc<Machine>,
    network: Rc<Network>,
    outbox: Outbox,
    line: RefCell<Option<Rc<Connection>>>,
    told: RefCell<Option<(Rc<Connection>, Rc<Track>)>>,
    connecting: Turn,
    replaying: Turn,
    collecting: Turn,
    heard: Cell<Moment>,
    /// By how much it takes the server's clock for later than it is.
    ahead: Duration,
}

/// What a look-up came to.
pub enum Got {
    /// A value that was there, or that another loaded.
    Found(Payload),
    /// What was loaded for this caller.
    Loaded(Payload, Filled),
    /// Nothing: the load failed.
    Nothing,
}

/// What a loader gave.
pub enum Loaded {
    /// A value, and how to store it.
    Value(Payload, Storing),
    /// An error.
    Failed,
    /// Nothing, as it was given up.
    GivenUp,
}

/// Where a read goes: over the connection that is told of changes, under a guard, or over the usual one.
type Via = Option<(Rc<Connection>, Guard)>;

impl Process {
    /// A process that has just started.
    pub fn start(owner: Owner, machine: &Rc<Machine>, network: &Rc<Network>) -> Rc<Self> {
        let namespace = Namespace::new("app").expect("it is one");
        let config = Config { early: Early::OFF, load_timeout: Duration::from_secs(3), ..Config::default() };
        let remote = Remote::new(namespace, &config, MAX_BYTES, Seed(machine.bits()));
        remote.read_sweeps();
        let ttl = Ttl::from_secs(60.0).expect("it is one");
        let config = near::Config { ttl, ..near::Config::default() };
        let process = Rc::new(Self {
            owner,
            near: Near::new(remote.names().clone(), &config, Seed(machine.bits())),
            remote,
            machine: Rc::clone(machine),
            network: Rc::clone(network),
            outbox: Outbox::default(),
            line: RefCell::default(),
            told: RefCell::default(),
            connecting: Turn::default(),
            replaying: Turn::default(),
            collecting: Turn::default(),
            heard: Cell::new(machine.now()),
            ahead: machine.micros(0, MOST_AHEAD.as_micros() as u64),
        });
        machine.spawn(owner, Rc::clone(&process).follow());
        process
    }

    fn now(&self) -> Moment {
        self.machine.now()
    }

    fn clock(&self) -> Moment {
        self.network.clock().after(self.ahead)
    }

    // -- reads

    /// A value from what is shared, or the one that `load` gives, which is stored if it may be.
    pub async fn get_or_set(self: &Rc<Self>, key: Key<'static>, want: Want, load: impl AsyncFnOnce() -> Loaded) -> Got {
        let mut step = self.remote.look(key, want, self.now());
        let mut via: Via = None;
        loop {
            step = match step {
                Step::Done(payload) => return Got::Found(payload),
                Step::Stale(payload, lease) => return self.load(key, lease, Some(payload), load).await,
                Step::Load(lease) => return self.load(key, lease, None, load).await,
                Step::Failed(_) => return Got::Nothing,
                Step::Later => unreachable!("nobody is impatient"),
                Step::Send(pending, calls) if pending.reads() => {
                    if pending.begins() {
                        via = self.via();
                    }
                    let replies = self.read_via(&mut via, &calls).await;
                    let clock = self.clock();
                    let outline = replies.as_ref().ok().and_then(|replies| pending.outline(replies, clock));
                    let step = pending.replied(replies, self.now(), clock);
                    self.heed();
                    if let (Step::Done(payload), Some(outline)) = (&step, outline) {
                        self.admit(&via, key, &outline, payload);
                    }
                    step
                }
                Step::Send(pending, calls) => {
                    let replies =
                        if pending.may_be_repeated() { self.read(&calls).await } else { self.read_once(&calls).await };
                    pending.replied(replies, self.now(), self.clock())
                }
                Step::Join(look, joined, at_most) => {
                    let ending = unless(joined, self.machine.sleep(at_most)).await;
                    look.joined(ending, self.now())
                }
                Step::Sleep(look, pause) => {
                    self.machine.sleep(pause).await;
                    look.slept()
                }
            }
        }
    }

    async fn load(
        self: &Rc<Self>,
        key: Key<'static>,
        lease: Lease<String>,
        stale: Option<Payload>,
        load: impl AsyncFnOnce() -> Loaded,
    ) -> Got {
        let loads = Rc::new(Cell::new(true));
        if let Some(renewal) = lease.renewal() {
            self.machine.spawn(self.owner, Rc::clone(self).renew(renewal, Rc::clone(&loads)));
        }
        let loaded = load().await;
        loads.set(false);
        let (payload, storing) = match loaded {
            Loaded::Value(payload, storing) => (payload, storing),
            Loaded::Failed => {
                self.aside(lease.fail("the source is down".to_owned()));
                return stale.map_or(Got::Nothing, Got::Found);
            }
            Loaded::GivenUp => {
                self.aside(lease.abandon());
                return Got::Nothing;
            }
        };
        let filled = match lease.fill(payload.clone(), &storing, self.now(), self.clock()) {
            Filling::Done(filled) => filled,
            Filling::Send(sent, calls) => {
                let mut via = self.via();
                let kept = sent.outline();
                let replies = self.store_via(&mut via, &calls).await;
                let filled = sent.replied(replies, self.now());
                if let (Filled::Stored, Some((outline, payload))) = (filled, kept) {
                    self.admit(&via, key, &outline, &payload);
                }
                filled
            }
        };
        Got::Loaded(payload, filled)
    }

    async fn renew(self: Rc<Self>, renewal: Call, loads: Rc<Cell<bool>>) {
        loop {
            self.machine.sleep(RENEW_EVERY).await;
            if !loads.get() {
                return;
            }
            let _void_or_not = self.ask(std::slice::from_ref(&renewal)).await;
        }
    }

    fn via(&self) -> Via {
        let told = self.told.borrow();
        let (connection, track) = told.as_ref().filter(|(connection, _)| connection.is_open())?;
        // On a server that took over, nothing is read before what was said of late was said again.
        let is_settled = self.outbox.is_empty() && self.line.borrow().as_ref().is_some_and(|line| line.is_open());
        is_settled.then(|| (Rc::clone(connection), track.guard()))
    }

    async fn read_via(self: &Rc<Self>, via: &mut Via, calls: &[Call]) -> Result<Vec<Reply>, Fault> {
        if let Some((connection, _)) = via
            && let Ok(replies) = connection.ask(calls).await
        {
            return Ok(replies);
        }
        *via = None;
        self.read(calls).await
    }

    async fn store_via(self: &Rc<Self>, via: &mut Via, calls: &[Call]) -> Result<Vec<Reply>, Fault> {
        if let Some((connection, _)) = via
            && let Ok(replies) = connection.ask(calls).await
        {
            return Ok(replies);
        }
        *via = None;
        self.ask(calls).await
    }

    fn admit(&self, via: &Via, key: Key<'_>, outline: &Outline, payload: &Payload) {
        if let Some((_, guard)) = via {
            let answer = Answer { value: payload.clone(), bytes: payload.bytes.len() as u64, outline };
            self.near.admit(guard, key, answer, self.now(), self.clock());
        }
    }

    // -- invalidations: true where Redis has it, false where it is owed

    /// Invalidates keys.
    pub async fn delete(self: &Rc<Self>, key: Key<'static>) -> bool {
        self.forget(key);
        let targets = [Target::Key(key.as_str().into())];
        let epoch = self.epoch().await;
        let said = self.ask(&self.remote.delete(key)).await.is_ok();
        self.end(&targets, epoch, said);
        self.forget(key);
        said
    }

    /// Invalidates what matches; `holds` hears of it once it holds for everyone, though the sweep is still to come.
    pub async fn invalidate_pattern(self: &Rc<Self>, pattern: &Pattern, holds: impl Fn()) -> bool {
        let targets = [Target::Pattern(pattern.as_str().into())];
        let epoch = self.epoch().await;
        self.forget_matching(pattern);
        let mut swept = self.sweep(pattern, &holds).await;
        if swept == Err(Fault::Lost) {
            swept = self.sweep(pattern, &holds).await;
        }
        self.end(&targets, epoch, swept.is_ok());
        self.forget_matching(pattern);
        swept.is_ok()
    }

    /// Invalidates what carries a tag.
    pub async fn invalidate_tag(self: &Rc<Self>, tag: &str) -> bool {
        let targets = [Target::Tag(tag.into())];
        let epoch = self.epoch().await;
        self.near.forget_tags(&[tag]);
        let said = self.ask(&self.remote.move_tags(&[tag])).await.is_ok();
        self.end(&targets, epoch, said);
        self.near.forget_tags(&[tag]);
        said
    }

    /// Stores a value by hand.
    pub async fn set(self: &Rc<Self>, key: Key<'static>, payload: &Payload, storing: &Storing) -> bool {
        self.forget(key);
        let epoch = self.epoch().await;
        let stored = self.store(key, payload, storing).await.is_some();
        if !stored {
            self.end(&[Target::Key(key.as_str().into())], epoch, false);
        }
        self.forget(key);
        stored
    }

    async fn store(self: &Rc<Self>, key: Key<'static>, payload: &Payload, storing: &Storing) -> Option<()> {
        let (noting, calls) = self.remote.note(&storing.tags);
        let replies = if calls.is_empty() { Vec::new() } else { self.ask(&calls).await.ok()? };
        let notes = noting.replied(replies).ok()?;
        let mut calls = vec![self.remote.set(key, payload, storing, &notes, self.clock())?];
        calls.extend(self.remote.ask_sweeps());
        let replies = self.ask_once(&calls).await.ok()?;
        self.remote.told_of_sweeps(&replies[1], self.now());
        self.heed();
        let Some(anew) = self.remote.store_anew(key, &calls[0]) else { return Some(()) };
        self.ask_once(&[anew]).await.ok().map(drop)
    }

    fn forget(&self, key: Key<'_>) {
        self.remote.detach(key);
        self.near.forget(key, self.now());
    }

    fn forget_matching(&self, pattern: &Pattern) {
        self.remote.detach_matching(pattern);
        self.near.forget_matching(pattern, self.now());
    }

    async fn epoch(self: &Rc<Self>) -> donjon_core::outbox::Epoch {
        let _there_or_not = self.line().await;
        self.outbox.epoch()
    }

    fn end(self: &Rc<Self>, targets: &[Target], epoch: donjon_core::outbox::Epoch, said: bool) {
        if said {
            self.outbox.sent(targets, epoch, self.now());
        } else {
            self.outbox.queue(targets);
        }
        if !self.outbox.is_empty() {
            self.machine.spawn(self.owner, Rc::clone(self).collect());
        }
    }

    async fn collect(self: Rc<Self>) {
        let Some(_turn) = self.collecting.take() else { return };
        while !self.outbox.is_empty() {
            self.machine.sleep(COLLECT_EVERY).await;
            let _there_or_not = self.settled_line().await;
        }
    }

    async fn sweep(self: &Rc<Self>, pattern: &Pattern, holds: &impl Fn()) -> Result<(), Fault> {
        let line = self.line().await?;
        self.sweep_on(&line, pattern, holds).await
    }

    /// Acts upon what others sweep. Their sweeps are not taken over: what nobody sweeps must not be served either.
    fn heed(&self) {
        for pattern in self.remote.fresh_sweeps() {
            self.near.forget_matching(&pattern, self.now());
        }
    }

    async fn sweep_on(&self, line: &Rc<Connection>, pattern: &Pattern, holds: impl Fn()) -> Result<(), Fault> {
        let (record, call) = self.remote.write_down(pattern).expect("there is a list");
        let written = line.ask(&[call]).await?;
        let is_written = self.remote.wrote_down(&written[0], self.now());
        self.heed();
        if is_written {
            holds();
        }
        self.remove_matching(line, pattern).await?;
        let left = line.ask(&[self.remote.strike(&record)]).await?;
        self.remote.struck(&left[0], self.now());
        Ok(())
    }

    async fn remove_matching(&self, line: &Rc<Connection>, pattern: &Pattern) -> Result<(), Fault> {
        let glob = self.remote.names().matching(pattern).into_bytes();
        let mut cursor = b"0".to_vec();
        loop {
            let scan = [&b"SCAN"[..], &cursor, b"MATCH", &glob, b"COUNT", b"2"];
            let replies = line.ask(&[plain(scan.map(<[u8]>::to_vec))]).await?;
            let [Reply::List(page)] = &replies[..] else { return Err(Fault::Protocol) };
            let [Reply::Bytes(next), Reply::List(names)] = &page[..] else { return Err(Fault::Protocol) };
            let name = |name: &Reply| if let Reply::Bytes(name) = name { name.clone() } else { Vec::new() };
            if !names.is_empty() {
                let words = std::iter::once(b"UNLINK".to_vec()).chain(names.iter().map(name));
                line.ask(&[plain(words)]).await?;
            }
            if next == b"0" {
                return Ok(());
            }
            cursor.clone_from(next);
        }
    }

    // -- the usual connection

    /// The connection, made now where there is none.
    async fn line(self: &Rc<Self>) -> Result<Rc<Connection>, Fault> {
        loop {
            if let Some(line) = self.line.borrow().as_ref().filter(|line| line.is_open()) {
                return Ok(Rc::clone(line));
            }
            let Some(_turn) = self.connecting.take() else {
                self.connecting.ended().await;
                continue;
            };
            let line = self.network.connect(self.owner).await?;
            self.outbox.reconnected(self.heard.get());
            self.heard.set(self.now());
            self.machine.spawn(self.owner, Rc::clone(self).serve(Rc::clone(&line)));
            *self.line.borrow_mut() = Some(Rc::clone(&line));
            return Ok(line);
        }
    }

    /// The connection, with nothing owed any more.
    async fn settled_line(self: &Rc<Self>) -> Result<Rc<Connection>, Fault> {
        let line = self.line().await?;
        let late = self.machine.sleep(SETTLE);
        while !self.outbox.is_empty() {
            if let Some(_turn) = self.replaying.take() {
                self.replay(&line).await?;
            } else if unless(self.replaying.ended(), late.clone()).await.is_none() {
                return Err(Fault::Open);
            }
            if !line.is_open() {
                return Err(Fault::Lost);
            }
        }
        Ok(line)
    }

    async fn replay(&self, line: &Rc<Connection>) -> Result<(), Fault> {
        let batch = self.outbox.batch();
        for target in batch.targets() {
            match target {
                Target::Everything => self.sweep_on(line, &Pattern::new("*").expect("it is one"), || {}).await?,
                Target::Pattern(glob) => self.sweep_on(line, &Pattern::new(glob).expect("it was one"), || {}).await?,
                Target::Key(key) => {
                    let name = self.remote.names().key(Key::new(key).expect("it was one"));
                    line.ask(&[plain([b"UNLINK".to_vec(), name])]).await?;
                }
                Target::Tag(tag) => drop(line.ask(&self.remote.move_tags(&[tag])).await?),
            }
        }
        self.outbox.replayed(&batch, self.now());
        Ok(())
    }

    async fn ask_once(self: &Rc<Self>, calls: &[Call]) -> Result<Vec<Reply>, Fault> {
        self.line().await?.ask(calls).await
    }

    async fn ask(self: &Rc<Self>, calls: &[Call]) -> Result<Vec<Reply>, Fault> {
        match self.ask_once(calls).await {
            Err(Fault::Lost) => self.ask_once(calls).await,
            asked => asked,
        }
    }

    async fn read_once(self: &Rc<Self>, calls: &[Call]) -> Result<Vec<Reply>, Fault> {
        self.settled_line().await?.ask(calls).await
    }

    async fn read(self: &Rc<Self>, calls: &[Call]) -> Result<Vec<Reply>, Fault> {
        match self.read_once(calls).await {
            Err(Fault::Lost) => self.read_once(calls).await,
            asked => asked,
        }
    }

    fn aside(self: &Rc<Self>, calls: Vec<Call>) {
        if !calls.is_empty() {
            let process = Rc::clone(self);
            self.machine.spawn(self.owner, async move { drop(process.ask(&calls).await) });
        }
    }

    async fn serve(self: Rc<Self>, line: Rc<Connection>) {
        while let Some(message) = line.next().await {
            if let Message::Replies(replies) = message {
                self.heard.set(self.now());
                line.answer(replies);
            }
        }
    }

    // -- the connection that is told of changes

    async fn follow(self: Rc<Self>) {
        loop {
            if let Ok(connection) = self.network.connect(self.owner).await {
                self.machine.spawn(self.owner, Rc::clone(&self).hear(Rc::clone(&connection)));
                let _ended = self.tend(&connection).await;
                let gone = self.told.borrow_mut().take();
                drop(gone);
                connection.close();
                self.give_line_up();
            }
            self.machine.sleep(CONNECT_AGAIN).await;
        }
    }

    /// The next connection that is told may be to a server that took over. Then the usual one, which may not have noticed, must be too:
    /// it says again there what was said of late, before anything is read.
    fn give_line_up(&self) {
        let line = self.line.borrow_mut().take();
        if let Some(line) = line {
            line.close();
        }
    }

    async fn tend(&self, connection: &Rc<Connection>) -> Result<(), Fault> {
        let asked = self.now();
        connection.ask(&[plain(["CLIENT", "TRACKING", "ON", "NOLOOP"].map(|word| word.as_bytes().to_vec()))]).await?;
        let track = Rc::new(self.near.track(Told::Itself));
        track.answered(asked);
        *self.told.borrow_mut() = Some((Rc::clone(connection), Rc::clone(&track)));
        loop {
            if unless(self.machine.sleep(BEAT), connection.ended()).await.is_none() {
                return Err(Fault::Lost);
            }
            let asked = self.now();
            connection.ask(&[plain([b"PING".to_vec()])]).await?;
            track.answered(asked);
        }
    }

    /// Reads what is being swept, since that has changed.
    async fn settle(self: Rc<Self>, connection: Rc<Connection>, track: Rc<Track>) {
        let Some(doubt) = track.doubted() else { return };
        let asked = self.remote.ask_sweeps().expect("there is a list");
        if let Ok(replies) = connection.ask(&[asked]).await {
            self.remote.told_of_sweeps(&replies[0], self.now());
            self.heed();
            track.settled(doubt);
        }
    }

    /// What is told is heard in the order in which it came, before any answer behind it.
    async fn hear(self: Rc<Self>, connection: Rc<Connection>) {
        while let Some(message) = connection.next().await {
            match message {
                Message::Replies(replies) => connection.answer(replies),
                Message::Push(Push::Changed(name)) => {
                    let told = self.told.borrow().clone();
                    if self.near.pushed(&name, self.now())
                        && let Some((_, track)) = told
                    {
                        track.doubt();
                        self.machine.spawn(self.owner, Rc::clone(&self).settle(Rc::clone(&connection), track));
                    }
                }
                Message::Push(Push::AllChanged) => {
                    if let Some((_, track)) = &*self.told.borrow() {
                        track.flushed(self.now());
                    }
                }
            }
        }
        // It is lost: what came over it is believed no more, whoever notices first.
        let is_current = self.told.borrow().as_ref().is_some_and(|(told, _)| Rc::ptr_eq(told, &connection));
        if is_current {
            drop(self.told.borrow_mut().take());
        }
    }
}

fn plain(words: impl IntoIterator<Item = Vec<u8>>) -> Call {
    Call::Plain(words.into_iter().map(Arg::from).collect())
}

/// Of one value; larger ones are passed on and not stored.
pub const MAX_BYTES: u64 = 32;

/// By how much a process may take the server's clock for later than it is: as long as asking for it took.
pub const MOST_AHEAD: Duration = Duration::from_millis(3);

const RENEW_EVERY: Duration = Duration::from_millis(660);
const COLLECT_EVERY: Duration = Duration::from_millis(50);
const CONNECT_AGAIN: Duration = Duration::from_millis(20);
const SETTLE: Duration = Duration::from_millis(100);
