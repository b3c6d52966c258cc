//! Says a call of the core's to a real server, and its answer to the core.

use donjon_core::fault::Fault;
use donjon_core::remote::call::{Call, Reply};
use donjon_test_redis::{Client, Reply as Said};

pub fn ask(client: &mut Client, call: &Call) -> Reply {
    let words = match call {
        Call::Plain(words) => words.iter().map(|word| word.to_vec()).collect(),
        Call::Run(script, args) => {
            let head = ["EVAL", script.text, &script.keys.to_string()].map(|word| word.as_bytes().to_vec());
            head.into_iter().chain(args.iter().map(|arg| arg.to_vec())).collect::<Vec<_>>()
        }
    };
    client.call(&words).map_or_else(|error| refused(&error), reply)
}

fn reply(said: Said) -> Reply {
    match said {
        Said::Nil => Reply::Nil,
        Said::Number(number) => Reply::Int(number),
        Said::Text(bytes) => Reply::Bytes(bytes),
        Said::List(list) => Reply::List(list.into_iter().map(reply).collect()),
    }
}

fn refused(error: &str) -> Reply {
    let (code, detail) = error.split_once(' ').unwrap_or((error, ""));
    Reply::Error(Fault::server(code, detail))
}
