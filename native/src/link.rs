//! Link: the connection to one Redis, made when somebody needs it and anew once it is lost.
//!
//! Owns time limits, the breaker, the handshake and Redis's clock. Must not know what a cache is: it carries commands.
//! Invariants: at most one connection is open to callers, and at most one attempt under way; what fails as
//! [`Fault::Unreachable`] or [`Fault::Open`] was not sent; no text that leaves here shows a password.
//!
//! | to find out | look in |
//! |---|---|
//! | who gets the connection, who waits, who is turned away | `hub` |
//! | how a connection is made, and to whom | `connect`, `finding`, `handshake`, `tls` |
//! | how commands are asked | [`Line`], [`Script`] |
//! | when a connection is given up | `watch`, `vitals` |
//! | what is seen of the bytes | `wire`, `frames`, `ear` |

mod connect;
mod ear;
mod finding;
mod frames;
mod handshake;
mod hub;
mod line;
mod script;
mod tls;
mod vitals;
mod watch;
mod wire;

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Once};
use std::time::Duration;

use donjon_core::breaker::BreakerConfig;
use donjon_core::fault::Fault;
use donjon_core::moment::Moment;
use donjon_core::settings::{RedisAddress, RedisTarget};
use parking_lot::Mutex;
use redis::{Cmd, Pipeline, Value};

pub(crate) use self::ear::{CHANGES, Heard, Said};
pub(crate) use self::finding::Known;
pub(crate) use self::handshake::beat;
use self::hub::{Found, Hub};
pub use self::line::Line;
pub use self::script::Script;
pub use self::tls::{Authorities, InvalidAuthorities};
use crate::runtime::Runtime;

/// The connection to one Redis. Clones share it; when the last is dropped it is closed.
///
/// Nothing is connected before the first call. Calls that come while a connection is being made wait for that one.
pub struct Link<R: Runtime>(Arc<Inner<R>>);

struct Inner<R: Runtime> {
    runtime: R,
    options: Options,
    greet: Greet,
    heard: Option<Heard>,
    hub: Arc<Hub>,
    /// What was last logged, so that it is not said with every call.
    said: Mutex<Option<String>>,
}

/// What is done on every new connection before callers may use it; an error gives the connection up.
///
/// A [`Link`] kept within would never be dropped.
pub type Greet = Arc<dyn Fn(Line) -> Greeting + Send + Sync>;

/// What a [`Greet`] returns.
pub type Greeting = Pin<Box<dyn Future<Output = Result<(), Fault>> + Send>>;

/// How a link connects, and how long it waits.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Where the server is, and as whom to ask it.
    pub target: RedisTarget,
    /// Who may vouch for the server where TLS is spoken; by default those that the system trusts.
    pub ca: Option<Authorities>,
    /// How long a connection may take until it can be used, socket, TLS and login together. Default 250 ms.
    pub connect_budget: Duration,
    /// How long a command may wait while nothing moves on the connection, and a millisecond more for every 10 kB of it.
    /// Default 100 ms.
    pub command_budget: Duration,
    /// A larger reply ends the connection before it is read. Default 64 MiB.
    pub max_reply_bytes: usize,
    /// When the server is left alone after failures, and for how long.
    pub breaker: BreakerConfig,
    /// The nodes that are known, where the target is a cluster. Clones share them.
    pub(crate) known: Known,
}

impl Options {
    /// The defaults for `target`.
    pub fn new(target: RedisTarget) -> Self {
        Self {
            known: Known::of(&target),
            target,
            ca: None,
            connect_budget: Duration::from_millis(250),
            command_budget: Duration::from_millis(100),
            max_reply_bytes: 64 << 20,
            breaker: BreakerConfig::default(),
        }
    }
}

impl<R: Runtime> Link<R> {
    /// A link that has not connected yet.
    pub fn new(runtime: R, options: Options, greet: Greet) -> Self {
        Self::make(runtime, options, greet, None)
    }

    /// A link whose connections are told something of their own accord, which goes to `heard`: messages, by one `SUBSCRIBE` a channel,
    /// or what changed.
    pub(crate) fn listening(runtime: R, options: Options, heard: Heard) -> Self {
        Self::make(runtime, options, Arc::new(|_| Box::pin(async { Ok(()) })), Some(heard))
    }

    fn make(runtime: R, options: Options, greet: Greet, heard: Option<Heard>) -> Self {
        warn_of_open_password(&options.target);
        let hub = Arc::new(Hub::new(options.breaker, options.target.to_string()));
        Self(Arc::new(Inner { runtime, options, greet, heard, hub, said: Mutex::new(None) }))
    }

    /// The open connection, made now where there is none.
    ///
    /// # Errors
    ///
    /// [`Fault::Open`] at once while the server is left alone, [`Fault::Unreachable`] where no connection could be made in
    /// time, or what the server answered to the handshake. Nothing was sent for this caller.
    pub async fn line(&self) -> Result<Line, Fault> {
        match self.0.hub.line() {
            Some(line) => Ok(line),
            // Boxed: seldom needed, and on the way of every call.
            None => Box::pin(self.find_line()).await,
        }
    }

    /// Sends a command and waits for its reply: [`Link::line`], then [`Line::ask`].
    ///
    /// # Errors
    ///
    /// As these two.
    pub async fn ask(&self, command: &Cmd) -> Result<Value, Fault> {
        self.line().await?.into_ask(command).await
    }

    /// [`Link::line`], then [`Line::ask_all`].
    ///
    /// # Errors
    ///
    /// As these two.
    pub async fn ask_all(&self, commands: &Pipeline) -> Result<Vec<Value>, Fault> {
        self.line().await?.ask_all(commands).await
    }

    /// [`Link::line`], then [`Line::run`].
    ///
    /// # Errors
    ///
    /// As these two.
    pub async fn run<K: AsRef<[u8]>, A: AsRef<[u8]>>(
        &self,
        script: &Script,
        keys: &[K],
        args: &[A],
    ) -> Result<Value, Fault> {
        self.line().await?.run(script, keys, args).await
    }

    /// What Redis's clock shows when the runtime's shows `now`, in time since 1970; late by no more than Redis took to
    /// tell. `None` before the first connection, and where the user may not ask for it.
    pub fn redis_now(&self, now: Moment) -> Option<Moment> {
        self.0.hub.redis_now(now)
    }

    /// The number of the connection that is open to callers; 0 where there is none. A later one has a larger number.
    pub fn generation(&self) -> u64 {
        self.0.hub.generation()
    }

    /// Has the next caller get a connection that is made anew, where the one of this number is the open one; those who use it go on.
    pub(crate) fn leave(&self, generation: u64) {
        self.0.hub.leave(generation);
    }

    /// Whether the server is left alone for now, since it failed.
    pub fn is_left_alone(&self) -> bool {
        self.0.hub.is_left_alone()
    }

    /// Whom it leads to.
    pub(crate) fn target(&self) -> &RedisTarget {
        &self.0.options.target
    }

    /// When the server last answered; `None` where it never did.
    pub(crate) fn heard(&self) -> Option<Moment> {
        self.0.hub.last_heard()
    }

    /// Where it runs.
    pub fn runtime(&self) -> &R {
        &self.0.runtime
    }

    /// Closes the connection for good. Who still waits for a reply gets [`Fault::Lost`]; later calls are
    /// [`Fault::Unreachable`].
    pub fn close(&self) {
        self.0.hub.close();
    }

    async fn find_line(&self) -> Result<Line, Fault> {
        let inner = &self.0;
        let outcome = match inner.hub.find(inner.runtime.now()) {
            Found::Line(line) => return Ok(line),
            Found::No(fault) => return Err(fault),
            Found::Wait(outcome) => outcome,
            Found::Start(start) => {
                let Options { connect_budget, command_budget, .. } = inner.options;
                let patience = if start.is_probe { command_budget.min(connect_budget) } else { connect_budget };
                let ending = connect::Ending::of(Arc::clone(&inner.hub));
                inner.runtime.spawn(connect::attempt(Arc::clone(inner), start.generation, patience, ending));
                start.outcome
            }
        };
        // An attempt whose runtime is no more tells nobody.
        outcome.await.unwrap_or(Err(Fault::Unreachable))
    }
}

/// Says, once in a process, that a password is readable on its way.
fn warn_of_open_password(target: &RedisTarget) {
    static SAID: Once = Once::new();
    let is_open = match target.address() {
        RedisAddress::Tcp { host, tls: false, .. } => !is_this_machine(host),
        RedisAddress::Cluster { seeds: hosts, tls: false }
        | RedisAddress::Sentinel { sentinels: hosts, tls: false, .. } => {
            hosts.iter().any(|(host, _)| !is_this_machine(host))
        }
        _ => false,
    };
    if target.password().is_some() && is_open {
        SAID.call_once(|| {
            tracing::warn!(redis = %target, "the password goes over the network unencrypted; use rediss:// instead");
        });
    }
}

fn is_this_machine(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

impl<R: Runtime> Inner<R> {
    /// Logs that there is a connection again, where it was said that there is none.
    fn note_success(&self) {
        let before = self.said.lock().take();
        if before.is_some() {
            tracing::info!(redis = %self.options.target, "connected to redis again");
        }
    }

    /// Logs why there is no connection, once for each reason.
    fn note(&self, reason: &str) {
        let mut said = self.said.lock();
        if said.as_deref() != Some(reason) {
            *said = Some(reason.to_owned());
            drop(said);
            tracing::warn!(redis = %self.options.target, reason, "no connection to redis");
        }
    }
}

impl<R: Runtime> Clone for Link<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R: Runtime> Drop for Inner<R> {
    fn drop(&mut self) {
        self.hub.close();
    }
}

impl<R: Runtime> fmt::Debug for Link<R> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Link").field("options", &self.0.options).field("generation", &self.generation()).finish()
    }
}
