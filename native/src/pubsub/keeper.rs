//! Keeper: the task that keeps the connection for those who listen, from the first to the last of them.
//!
//! Owns the link. It asks for channels one command each, as a command has one answer; a sign of life is one more such command, which
//! both protocols allow where one listens, so that a connection that is open on this side alone is noticed. Must not know who
//! listens. Invariant: whatever becomes of the task, the desk hears of it.

use std::sync::Arc;
use std::time::Duration;

use donjon_core::fault::Fault;
use redis::{Pipeline, Value};

use super::desk::{Desk, Errands};
use super::{Either, jittered, race};
use crate::link::{Line, Link, Options, Said};
use crate::runtime::Runtime;

/// The duty to keep a desk; dropped with the task, even where that never ran.
pub(super) struct Duty {
    desk: Arc<Desk>,
    is_done: bool,
}

impl Duty {
    pub(super) fn new(desk: &Arc<Desk>) -> Self {
        Self { desk: Arc::clone(desk), is_done: false }
    }
}

impl Drop for Duty {
    fn drop(&mut self) {
        if !self.is_done {
            self.desk.abandoned();
        }
    }
}

pub(super) async fn keep<R: Runtime>(mut duty: Duty, runtime: R, options: Options) {
    let desk = Arc::clone(&duty.desk);
    let listening = Arc::clone(&desk);
    let heard = Arc::new(move |said| {
        if let Said::Message { channel, message } = said {
            listening.deliver(&channel, message);
        }
    });
    let connections = Link::listening(runtime.clone(), options, heard);
    let mut pause = FIRST_PAUSE;
    loop {
        match connections.line().await {
            Ok(line) => {
                desk.connected();
                match serve(&desk, &line, &runtime).await {
                    Served::Enough => {}
                    Served::Lost { was_useful } => {
                        desk.disconnected();
                        pause = if was_useful { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
                    }
                }
            }
            Err(fault) => {
                desk.failed(fault);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
        if desk.dismiss() {
            duty.is_done = true;
            connections.close();
            return;
        }
        runtime.sleep(jittered(pause)).await;
    }
}

/// Why a connection is not served any more.
enum Served {
    /// Nobody listens.
    Enough,
    /// It is no more; whether Redis had confirmed anything on it.
    Lost { was_useful: bool },
}

async fn serve<R: Runtime>(desk: &Desk, line: &Line, runtime: &R) -> Served {
    let mut was_useful = false;
    loop {
        let errands = desk.errands();
        if errands != Errands::default() {
            match run(desk, line, errands).await {
                Ok(()) => was_useful = true,
                Err(_) => return Served::Lost { was_useful },
            }
            continue;
        }
        if desk.is_closed() {
            return Served::Enough;
        }
        match race(line.ended(), race(desk.errand(), runtime.sleep(IDLE))).await {
            Either::First(()) => return Served::Lost { was_useful },
            Either::Second(Either::First(())) => {}
            Either::Second(Either::Second(())) => {
                let Some(name) = desk.any() else { return Served::Enough };
                if line.ask(redis::cmd("SUBSCRIBE").arg(&*name)).await.is_err() {
                    return Served::Lost { was_useful };
                }
            }
        }
    }
}

async fn run(desk: &Desk, line: &Line, errands: Errands) -> Result<(), Fault> {
    let mut said = Pipeline::with_capacity(errands.subscribe.len() + errands.unsubscribe.len());
    for name in &errands.subscribe {
        said.cmd("SUBSCRIBE").arg(&**name);
    }
    for name in &errands.unsubscribe {
        said.cmd("UNSUBSCRIBE").arg(&**name);
    }
    let mut replies = line.ask_all(&said).await?.into_iter();
    for (name, reply) in errands.subscribe.iter().zip(&mut replies) {
        let outcome = match reply {
            Value::ServerError(error) => Err(Fault::server(error.code(), error.details().unwrap_or_default())),
            _ => Ok(()),
        };
        if let Err(fault) = &outcome {
            tracing::warn!(channel = %String::from_utf8_lossy(name), %fault, "redis lets nobody listen to this channel");
        }
        desk.subscribed(name, outcome);
    }
    for name in &errands.unsubscribe {
        desk.unsubscribed(name);
    }
    Ok(())
}

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// After so long a connection is asked for a sign of life, or closed where nobody listens.
const IDLE: Duration = Duration::from_secs(3);
