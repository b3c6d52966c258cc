//! Wire: calls as commands of the client library, and its values as replies.

use std::collections::HashMap;
use std::io::Write;
use std::sync::LazyLock;

use donjon_core::fault::{Class, Fault};
use donjon_core::remote::call::{Arg, Call, Reply};
use donjon_core::remote::script;
use redis::{Cmd, Pipeline, RedisWrite, Value};

use crate::link::{Line, Script};

/// Sends calls in one go and gives their answers in order. Scripts that the server does not know are sent in full.
pub(super) async fn ask(line: &Line, calls: &[Call]) -> Result<Vec<Reply>, Fault> {
    if let [call] = calls {
        return ask_one(line, call).await.map(|reply| vec![reply]);
    }
    let replies = pipeline(line, calls, Form::BySha).await?;
    let unknown = |reply: &Reply| matches!(reply, Reply::Error(fault) if fault.class() == Some(Class::NoScript));
    // From the start: what follows a script may ask for what the script changes.
    if replies.iter().any(unknown) { pipeline(line, calls, Form::InFull).await } else { Ok(replies) }
}

async fn ask_one(line: &Line, call: &Call) -> Result<Reply, Fault> {
    let asked = match line.ask(&command(call, Form::BySha)).await {
        Err(fault) if fault.class() == Some(Class::NoScript) => line.ask(&command(call, Form::InFull)).await,
        asked => asked,
    };
    match asked {
        Ok(value) => Ok(reply(value)),
        Err(fault @ Fault::Server { .. }) => Ok(Reply::Error(fault)),
        Err(fault) => Err(fault),
    }
}

/// As [`ask`], of a node that only begins to have these keys.
pub(super) async fn ask_asking(line: &Line, calls: &[Call]) -> Result<Vec<Reply>, Fault> {
    let mut pipeline = Pipeline::with_capacity(calls.len() * 2);
    for call in calls {
        // In full: it may know none of the scripts either.
        pipeline.cmd("ASKING").add_command(command(call, Form::InFull));
    }
    let replies = line.ask_all(&pipeline).await?;
    Ok(replies.into_iter().skip(1).step_by(2).map(reply).collect())
}

async fn pipeline(line: &Line, calls: &[Call], form: Form) -> Result<Vec<Reply>, Fault> {
    let mut pipeline = Pipeline::with_capacity(calls.len());
    for call in calls {
        pipeline.add_command(command(call, form));
    }
    Ok(line.ask_all(&pipeline).await?.into_iter().map(reply).collect())
}

/// Asks for what is under a name: every read does this.
pub(super) fn get(name: [&[u8]; 3]) -> Cmd {
    let mut command = Cmd::with_capacity(2, 3 + length(&name));
    command.arg("GET");
    put(&mut command, &name);
    command
}

/// The same, and for what is under a second name at that moment.
pub(super) fn get_with(name: [&[u8]; 3], other: [&[u8]; 2]) -> Cmd {
    let mut command = Cmd::with_capacity(3, 4 + length(&name) + length(&other));
    command.arg("MGET");
    put(&mut command, &name);
    put(&mut command, &other);
    command
}

/// Puts a name together in the command itself.
fn put(command: &mut Cmd, name: &[&[u8]]) {
    let mut argument = command.writer_for_next_arg();
    for part in name {
        argument.write_all(part).expect("memory takes all of it");
    }
}

fn length(name: &[&[u8]]) -> usize {
    name.iter().map(|part| part.len()).sum()
}

#[derive(Clone, Copy)]
enum Form {
    BySha,
    InFull,
}

fn command(call: &Call, form: Form) -> Cmd {
    match call {
        Call::Plain(args) => {
            let mut command = Cmd::with_capacity(args.len(), args.iter().map(|arg| arg.len()).sum());
            for arg in args {
                command.arg(arg.as_ref());
            }
            command
        }
        Call::Run(text, args) => {
            let script = &SCRIPTS[text.name];
            let (keys, args): (&[Arg], &[Arg]) = args.split_at(text.keys.min(args.len()));
            match form {
                Form::BySha => script.by_sha(keys, args),
                Form::InFull => script.in_full(keys, args),
            }
        }
    }
}

pub(super) fn reply(value: Value) -> Reply {
    match value {
        Value::Nil => Reply::Nil,
        Value::Int(number) => Reply::Int(number),
        Value::BulkString(bytes) => Reply::Bytes(bytes),
        Value::Okay => Reply::Bytes(b"OK".to_vec()),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Reply::Bytes(text.into_bytes()),
        Value::Array(values) | Value::Set(values) => Reply::List(values.into_iter().map(reply).collect()),
        Value::ServerError(error) => Reply::Error(Fault::server(error.code(), error.details().unwrap_or_default())),
        _ => Reply::Error(Fault::Protocol),
    }
}

static SCRIPTS: LazyLock<HashMap<&'static str, Script>> =
    LazyLock::new(|| script::ALL.into_iter().map(|script| (script.name, Script::new(script.text))).collect());
