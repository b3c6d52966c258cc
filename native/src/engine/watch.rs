//! Watch: conditional writes for a user who may not run scripts: the header is compared by us, and `WATCH` makes Redis refuse the
//! write if the key was touched since. Tags are invalidated by the table that they are in.
//!
//! Invariant: one at a time on a connection, as a second `EXEC` would end what the first one watches.

use donjon_core::fault::{Class, Fault};
use donjon_core::remote::call::{Call, Reply};
use donjon_core::remote::script::{FILL, MOVE_TAGS, RELEASE, RENEW};
use redis::{Cmd, Pipeline, Value};
use tokio::sync::Mutex;

use super::wire;
use crate::link::Line;

/// Whether the server forbids what these answers are to.
pub(super) fn is_forbidden(calls: &[Call], replies: &[Reply]) -> bool {
    calls.iter().zip(replies).any(|(call, reply)| {
        let config = matches!(reply, Reply::Error(fault) if fault.class() == Some(Class::Config));
        config && is_guarded(call)
    })
}

/// Sends calls one after the other, conditional writes by way of `WATCH`; other scripts stay forbidden.
pub(super) async fn ask(line: &Line, calls: &[Call], watching: &Mutex<()>) -> Result<Vec<Reply>, Fault> {
    let mut replies = Vec::with_capacity(calls.len());
    for call in calls {
        let reply = if let Some(guarded) = guarded(call) {
            let _alone = watching.lock().await;
            guarded.run(line).await?
        } else if let Some(table) = moved_table(call) {
            // What carries a tag of a lost table is dead: more than was asked for, and nothing less.
            let lost = line.ask_all(Pipeline::with_capacity(1).cmd("UNLINK").arg(table)).await?;
            lost.into_iter().map(wire::reply).next().ok_or(Fault::Protocol)?
        } else {
            wire::ask(line, std::slice::from_ref(call)).await?.pop().ok_or(Fault::Protocol)?
        };
        replies.push(reply);
    }
    Ok(replies)
}

/// Whether this is a script that there is another way for.
pub(super) fn is_guarded(call: &Call) -> bool {
    guarded(call).is_some() || moved_table(call).is_some()
}

fn moved_table(call: &Call) -> Option<&[u8]> {
    match call {
        Call::Run(script, args) if *script == &MOVE_TAGS => args.first().map(AsRef::as_ref),
        _ => None,
    }
}

/// A write that is done only to what has this header.
struct Guarded<'c> {
    name: &'c [u8],
    header: &'c [u8],
    write: Cmd,
}

fn guarded(call: &Call) -> Option<Guarded<'_>> {
    let Call::Run(script, args) = call else { return None };
    let [name, header, rest @ ..] = &args[..] else { return None };
    let mut write;
    if *script == &FILL {
        let [entry, millis] = rest else { return None };
        write = redis::cmd("SET");
        write.arg(&**name).arg(&**entry);
        if **millis != *b"0" {
            write.arg("PX").arg(&**millis);
        }
    } else if *script == &RENEW {
        write = redis::cmd("PEXPIRE");
        write.arg(&**name).arg(&**rest.first()?);
    } else if *script == &RELEASE {
        write = redis::cmd("UNLINK");
        write.arg(&**name);
    } else {
        return None;
    }
    Some(Guarded { name, header, write })
}

impl Guarded<'_> {
    async fn run(self, line: &Line) -> Result<Reply, Fault> {
        let mut look = Pipeline::with_capacity(2);
        look.cmd("WATCH").arg(self.name).cmd("GETRANGE").arg(self.name).arg(0).arg(19);
        let seen = line.ask_all(&look).await?;
        match seen.into_iter().map(wire::reply).collect::<Vec<_>>().as_slice() {
            [Reply::Bytes(_), Reply::Bytes(there)] if !there.is_empty() && there == self.header => {}
            [Reply::Error(fault), _] | [_, Reply::Error(fault)] => {
                // What cannot be watched, or is no string, is not written; and nothing stays watched.
                let refused = Reply::Error(fault.clone());
                line.ask(&redis::cmd("UNWATCH")).await?;
                return Ok(refused);
            }
            _ => {
                line.ask(&redis::cmd("UNWATCH")).await?;
                return Ok(Reply::Int(0));
            }
        }
        let mut write = Pipeline::with_capacity(3);
        write.cmd("MULTI").add_command(self.write).cmd("EXEC");
        let answers = line.ask_all(&write).await?;
        Ok(match answers.into_iter().next_back() {
            Some(Value::Array(_)) => Reply::Int(1),
            Some(Value::Nil) => Reply::Int(0),
            Some(Value::ServerError(error)) => {
                Reply::Error(Fault::server(error.code(), error.details().unwrap_or_default()))
            }
            _ => Reply::Error(Fault::Protocol),
        })
    }
}
