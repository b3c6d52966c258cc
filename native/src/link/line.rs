//! Line: one open connection, which many ask at once and which is asked no more once it has ended.
//!
//! Every command has one reply: what is answered otherwise, as `SUBSCRIBE` is, is only for the lines of a link that listens. Must not
//! know how a connection is made. Invariant: what fails as [`Fault::Unreachable`] was not sent.

use std::fmt;
use std::sync::Arc;

use donjon_core::fault::{Class, Fault};
use donjon_core::moment::Moment;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, Pipeline, RedisError, ServerError, Value};

use super::hub::Hub;
use super::script::Script;
use super::vitals::{End, Vitals};

/// One open connection. Clones are the same connection; it ends when it fails or when its [`super::Link`] is dropped.
#[derive(Clone)]
pub struct Line {
    connection: MultiplexedConnection,
    shared: Arc<Shared>,
}

struct Shared {
    vitals: Arc<Vitals>,
    hub: Arc<Hub>,
    generation: u64,
}

impl Line {
    pub(super) fn new(connection: MultiplexedConnection, vitals: Arc<Vitals>, hub: Arc<Hub>, generation: u64) -> Self {
        Self { connection, shared: Arc::new(Shared { vitals, hub, generation }) }
    }

    /// Sends a command and waits for its reply.
    ///
    /// # Errors
    ///
    /// An error reply as [`Fault::Server`], and whatever befell the connection.
    pub async fn ask(&self, command: &Cmd) -> Result<Value, Fault> {
        self.clone().into_ask(command).await
    }

    /// [`Line::ask`], without the cost of a clone.
    pub(crate) async fn into_ask(mut self, command: &Cmd) -> Result<Value, Fault> {
        if !self.is_open() {
            return Err(Fault::Unreachable);
        }
        match self.connection.send_packed_command(command).await {
            Ok(Value::ServerError(error)) => Err(self.shared.refused(&error)),
            Ok(value) => {
                self.shared.hub.answered(&self.shared.vitals);
                Ok(value)
            }
            Err(error) => Err(self.shared.broken(&error)),
        }
    }

    /// Sends many commands at once and waits for all replies, in their order. Error replies stay in their places, as
    /// [`Value::ServerError`]. A pipeline made atomic is not understood: write `MULTI` and `EXEC` into it.
    ///
    /// # Errors
    ///
    /// Whatever befell the connection; some of the commands may have been executed then.
    pub async fn ask_all(&self, commands: &Pipeline) -> Result<Vec<Value>, Fault> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        if !self.is_open() {
            return Err(Fault::Unreachable);
        }
        let replies = self.connection.clone().send_packed_commands(commands, 0, commands.len()).await;
        let replies = replies.map_err(|error| self.shared.broken(&error))?;
        let classes = replies.iter().filter_map(|reply| match reply {
            Value::ServerError(error) => Some(Class::of(error.code(), error.details().unwrap_or_default())),
            _ => None,
        });
        // What speaks against the server does so once, however often it was said.
        match classes
            .filter(|class| matches!(class, Class::Down | Class::ReadOnly))
            .min_by_key(|class| *class != Class::Down)
        {
            Some(class) => self.shared.note(class),
            None => self.shared.hub.answered(&self.shared.vitals),
        }
        Ok(replies)
    }

    /// Runs a script, sending it in full where the server does not know it.
    ///
    /// # Errors
    ///
    /// As [`Line::ask`].
    pub async fn run<K: AsRef<[u8]>, A: AsRef<[u8]>>(
        &self,
        script: &Script,
        keys: &[K],
        args: &[A],
    ) -> Result<Value, Fault> {
        match self.ask(&script.by_sha(keys, args)).await {
            Err(Fault::Server { class: Class::NoScript, .. }) => self.ask(&script.in_full(keys, args)).await,
            reply => reply,
        }
    }

    /// Which of its link's connections this is; later ones have larger numbers.
    pub fn generation(&self) -> u64 {
        self.shared.generation
    }

    /// When the connection before this one was last of use; `None` where there was none.
    pub fn heard_before(&self) -> Option<Moment> {
        self.shared.hub.heard()
    }

    /// Whether it can still be asked.
    pub fn is_open(&self) -> bool {
        self.shared.vitals.end().is_none()
    }

    /// Waits until it can be asked no more.
    pub async fn ended(&self) {
        self.shared.vitals.ended().await;
    }

    pub(super) fn vitals(&self) -> &Arc<Vitals> {
        &self.shared.vitals
    }

    pub(super) fn hub(&self) -> &Hub {
        &self.shared.hub
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Line").field("generation", &self.generation()).field("is_open", &self.is_open()).finish()
    }
}

impl Shared {
    #[cold]
    fn refused(&self, error: &ServerError) -> Fault {
        let fault = Fault::server(error.code(), error.details().unwrap_or_default());
        self.note(fault.class().unwrap_or(Class::Other));
        fault
    }

    /// Draws the consequences of an error reply.
    fn note(&self, class: Class) {
        match class {
            Class::Down => self.hub.failed(self.vitals.now(), 1),
            Class::ReadOnly => self.hub.retire(self.generation, self.vitals.now()),
            _ => self.hub.answered(&self.vitals),
        }
    }

    #[cold]
    fn broken(&self, error: &RedisError) -> Fault {
        self.vitals.finish(if error.kind() == ErrorKind::Io { End::Lost } else { End::Protocol });
        self.vitals.end().map_or(Fault::Lost, End::fault)
    }
}
