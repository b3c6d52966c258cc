//! Tracker: the task that keeps the connection which Redis tells of changes, and on which is read what memory may have.
//!
//! Owns that connection: it is made for the first read, made anew when it is lost, and used for nothing but such reads and the fills
//! that memory may have too. What it is told is applied where its bytes are moved, before any reply behind it is handed out. It is
//! asked for a sign of life every [`BEAT`]. Must not know what is kept.
//!
//! Servers that do not speak the newer protocol tell another connection, which is made beside the first and asked as often.
//!
//! Invariants: whatever becomes of the task, the belief in what came over its connection ends with it. This connection and the usual
//! one are made anew together: each is open when the other begins to be used beside it, and where one is lost the other is left. Else, once
//! a server has taken over, one could read at the new one what the other still has to say there, or say at the new one what is read
//! at the old.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use donjon_core::fault::{Class, Fault};
use donjon_core::moment::Moment;
use donjon_core::near::{BEAT, Guard, Told, Track};
use donjon_core::remote::call::Reply;
use donjon_core::remote::name::Names;
use parking_lot::Mutex;
use redis::Value;
use tokio::sync::Notify;

use super::memory::Memory;
use super::{Front, wire};
use crate::link::{CHANGES, Greet, Heard, Line, Link, Options, Said, beat};
use crate::pubsub::{Either, jittered, race};
use crate::runtime::Runtime;

/// What Redis is to tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Watches {
    /// Changes of what was read: it remembers what that was. The default.
    #[default]
    Reads,
    /// Every change in the namespace, read or not: it has to remember nothing.
    Everything,
}

/// What is done with what is being swept, once that was read.
pub(super) type Heed = Arc<dyn Fn(&Reply, Moment) + Send + Sync>;

/// Keeps the connection for one engine.
pub(super) struct Tracker<R: Runtime>(Arc<Shared<R>>);

struct Shared<R: Runtime> {
    runtime: R,
    options: Options,
    memory: Arc<dyn Memory>,
    watches: Watches,
    names: Names,
    link: Link<R>,
    /// What is invalidated is said there.
    usual: Link<R>,
    /// Asks besides for a sign of life whether this is still whom to believe.
    vouch: Greet,
    /// None where it is never known what is being swept.
    heed: Option<Heed>,
    current: Current,
    doubted: Arc<Notify>,
    is_started: AtomicBool,
    is_closed: AtomicBool,
    over: Notify,
}

type Current = Arc<Mutex<Option<Tracked>>>;

#[derive(Clone)]
struct Tracked {
    line: Line,
    track: Arc<Track>,
    /// The usual connection beside which it is used, by its number.
    beside: u64,
}

impl<R: Runtime> Tracker<R> {
    /// One whose connection is used beside the `usual` one. Whoever answers is believed once `vouch` has asked, too.
    pub(super) fn new(
        usual: Link<R>,
        options: Options,
        names: Names,
        front: Front,
        vouch: Greet,
        heed: Option<Heed>,
    ) -> Self {
        let Front { memory, watches } = front;
        let runtime = usual.runtime().clone();
        let (current, doubted) = (Current::default(), Arc::new(Notify::new()));
        let heard = hearing(runtime.clone(), Arc::clone(&memory), Arc::clone(&current), Arc::clone(&doubted));
        let link = Link::listening(runtime.clone(), options.clone(), heard);
        Self(Arc::new(Shared {
            runtime,
            options,
            memory,
            watches,
            names,
            link,
            usual,
            vouch,
            heed,
            current,
            doubted,
            is_started: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            over: Notify::new(),
        }))
    }

    /// Sees to it that there will be a connection.
    pub(super) fn start(&self) {
        if !self.0.is_started.load(Ordering::Relaxed) && !self.0.is_started.swap(true, Ordering::AcqRel) {
            self.0.runtime.spawn(keep(Arc::clone(&self.0)));
        }
    }

    /// The connection, if there is one by now, and what whatever is asked on it from here on is asked under.
    pub(super) fn line(&self) -> Option<(Line, Guard)> {
        self.start();
        let current = self.0.current.lock();
        let tracked = current.as_ref().filter(|tracked| tracked.line.is_open())?;
        if tracked.beside != self.0.usual.generation() {
            return None;
        }
        Some((tracked.line.clone(), tracked.track.guard()))
    }

    /// What was read here is somebody else's now, or some of it is: none of it is believed any more.
    pub(super) fn forget(&self) {
        let tracked = self.0.current.lock().clone();
        if let Some(tracked) = tracked {
            tracked.track.begin_anew();
        }
    }

    /// Redis's clock as this connection was told of it; `None` where there is no connection.
    pub(super) fn redis_now(&self, now: Moment) -> Option<Moment> {
        let is_open = self.0.current.lock().as_ref().is_some_and(|tracked| tracked.line.is_open());
        self.0.link.redis_now(now).filter(|_| is_open)
    }

    /// Ends it for good.
    pub(super) fn close(&self) {
        self.0.is_closed.store(true, Ordering::Release);
        drop(self.0.current.lock().take());
        self.0.link.close();
        self.0.over.notify_one();
    }
}

impl<R: Runtime> Drop for Tracker<R> {
    fn drop(&mut self) {
        self.close();
    }
}

/// What is done with what is told.
fn hearing<R: Runtime>(runtime: R, memory: Arc<dyn Memory>, current: Current, doubted: Arc<Notify>) -> Heard {
    Arc::new(move |said| match said {
        Said::Changed(Some(names)) => {
            let now = runtime.now();
            for name in names {
                if memory.pushed(&name, now)
                    && let Some(tracked) = current.lock().clone()
                {
                    tracked.track.doubt();
                    doubted.notify_one();
                }
            }
        }
        Said::Changed(None) => {
            let tracked = current.lock().clone();
            if let Some(tracked) = tracked {
                tracked.track.flushed(runtime.now());
            }
        }
        Said::Message { .. } => {}
    })
}

async fn keep<R: Runtime>(shared: Arc<Shared<R>>) {
    let mut pause = FIRST_PAUSE;
    let mut was_refused = false;
    while !shared.is_closed.load(Ordering::Acquire) {
        let outcome = shared.follow().await;
        match outcome {
            Outcome::Lost => pause = FIRST_PAUSE,
            Outcome::Unreachable => pause = (pause * 2).min(LONGEST_PAUSE),
            Outcome::Refused(fault) => {
                shared.memory.give_up();
                if !std::mem::replace(&mut was_refused, true) {
                    tracing::warn!(%fault, "redis tells nobody here of changes: no memory in front of it");
                }
                pause = REFUSED_PAUSE;
            }
        }
        race(shared.over.notified(), shared.runtime.sleep(jittered(pause))).await;
    }
}

enum Outcome {
    /// It was there, and is no more.
    Lost,
    /// There was none.
    Unreachable,
    /// There was one, which is told nothing.
    Refused(Fault),
}

impl From<Fault> for Outcome {
    fn from(fault: Fault) -> Self {
        match fault.class() {
            Some(Class::Config | Class::Other) => Self::Refused(fault),
            _ => Self::Unreachable,
        }
    }
}

impl<R: Runtime> Shared<R> {
    /// Makes the connection and keeps it until it ends.
    async fn follow(&self) -> Outcome {
        let line = match self.link.line().await {
            Ok(line) => line,
            Err(fault) => return fault.into(),
        };
        let outcome = self.follow_on(&line).await;
        self.link.leave(line.generation());
        outcome
    }

    async fn follow_on(&self, line: &Line) -> Outcome {
        let (track, aside) = match self.begin(line).await {
            Ok(begun) => begun,
            Err(fault) => return fault.into(),
        };
        let usual = match self.usual().await {
            Ok(usual) => usual,
            Err(fault) => return fault.into(),
        };
        let beside = usual.generation();
        let tracked = Tracked { line: line.clone(), track: Arc::clone(&track), beside };
        let _here = Presence::of(&self.current, tracked);
        if !self.is_closed.load(Ordering::Acquire) {
            let tended = race(self.tend(line, aside.as_ref().map(|(_, line)| line), &track), self.settle(line, &track));
            race(tended, usual.ended()).await;
        }
        self.usual.leave(beside);
        Outcome::Lost
    }

    /// The usual connection, which has answered since.
    async fn usual(&self) -> Result<Line, Fault> {
        let usual = self.usual.line().await?;
        usual.ask(&redis::cmd("PING")).await?;
        Ok(usual)
    }

    /// Has Redis tell what changes: on this connection, or on one aside.
    async fn begin(&self, line: &Line) -> Result<(Arc<Track>, Option<(Link<R>, Line)>), Fault> {
        let aside = if speaks_the_newer(line).await? { None } else { Some(self.aside().await?) };
        let mut command = redis::cmd("CLIENT");
        command.arg("TRACKING").arg("ON");
        if let Some((_, _, id)) = &aside {
            command.arg("REDIRECT").arg(*id);
        }
        if self.watches == Watches::Everything {
            command.arg("BCAST");
            for prefix in self.names.prefixes() {
                command.arg("PREFIX").arg(prefix);
            }
        }
        command.arg("NOLOOP");
        let asked = self.runtime.now();
        line.ask(&command).await?;
        (self.vouch)(line.clone()).await?;
        let track = self.memory.track(if aside.is_some() { Told::Aside } else { Told::Itself });
        track.answered(asked);
        Ok((Arc::new(track), aside.map(|(connections, line, _)| (connections, line))))
    }

    /// A connection that hears of changes for another, and its number.
    async fn aside(&self) -> Result<(Link<R>, Line, i64), Fault> {
        let (memory, current) = (Arc::clone(&self.memory), Arc::clone(&self.current));
        let heard = hearing(self.runtime.clone(), memory, current, Arc::clone(&self.doubted));
        let connections = Link::listening(self.runtime.clone(), self.options.clone(), heard);
        let line = connections.line().await?;
        let mut command = redis::cmd("CLIENT");
        let Value::Int(id) = line.ask(command.arg("ID")).await? else { return Err(Fault::Protocol) };
        line.ask(redis::cmd("SUBSCRIBE").arg(CHANGES)).await?;
        Ok((connections, line, id))
    }

    /// Reads what is being swept whenever that has changed: until then nothing is believed.
    async fn settle(&self, line: &Line, track: &Track) {
        loop {
            self.doubted.notified().await;
            while let Some(doubt) = track.doubted() {
                if let Some(heed) = &self.heed {
                    let list = self.names.sweeps_parts().concat();
                    let Ok(value) = line.ask(redis::cmd("MGET").arg(list)).await else { return };
                    heed(&wire::reply(value), self.runtime.now());
                }
                track.settled(doubt);
            }
        }
    }

    async fn tend(&self, line: &Line, aside: Option<&Line>, track: &Track) {
        loop {
            let mut more = self.memory.tidy(SLICE, self.runtime.now());
            while more {
                self.runtime.sleep(BETWEEN).await;
                more = self.memory.tidy(SLICE, self.runtime.now());
            }
            if let Either::First(()) = race(line.ended(), self.runtime.sleep(BEAT)).await {
                return;
            }
            let asked = self.runtime.now();
            let both = async {
                beat(line).await?;
                (self.vouch)(line.clone()).await?;
                // What that one was told before this answer was told before the first one's, or its key was guarded.
                if let Some(aside) = aside { aside.ask(&redis::cmd("PING")).await.map(drop) } else { Ok(()) }
            };
            if both.await.is_err() {
                return;
            }
            track.answered(asked);
        }
    }
}

/// Whether what changes can be told on the connection itself.
async fn speaks_the_newer(line: &Line) -> Result<bool, Fault> {
    match line.ask(&redis::cmd("HELLO")).await {
        Ok(hello) => Ok(proto(&hello) == Some(3)),
        Err(Fault::Server { .. }) => Ok(false),
        Err(fault) => Err(fault),
    }
}

fn proto(hello: &Value) -> Option<i64> {
    let is_proto = |name: &Value| match name {
        Value::BulkString(text) => text == b"proto",
        Value::SimpleString(text) => text == "proto",
        _ => false,
    };
    let value = match hello {
        Value::Map(pairs) => pairs.iter().find(|(name, _)| is_proto(name)).map(|(_, value)| value),
        Value::Array(flat) => flat.chunks_exact(2).find(|pair| is_proto(&pair[0])).map(|pair| &pair[1]),
        _ => None,
    };
    if let Some(Value::Int(proto)) = value { Some(*proto) } else { None }
}

/// The connection, as long as this is there.
struct Presence<'s>(&'s Current);

impl<'s> Presence<'s> {
    fn of(current: &'s Current, tracked: Tracked) -> Self {
        let before = current.lock().replace(tracked);
        drop(before);
        Self(current)
    }
}

impl Drop for Presence<'_> {
    fn drop(&mut self) {
        let gone = self.0.lock().take();
        drop(gone);
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Rights are given seldom.
const REFUSED_PAUSE: Duration = Duration::from_secs(30);

/// Values freed, or let leave, in one go: some hundred microseconds; and how long others have their turn then.
const SLICE: usize = 500;
const BETWEEN: Duration = Duration::from_millis(1);
