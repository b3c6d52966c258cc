//! Wire: commands and their answers as they cross to the host, which has the connection.

use alloc::vec::Vec;

use donjon_core::fault::Fault;
use donjon_core::remote::call::{Call, Reply};
use donjon_core::remote::script::ALL;
use donjon_wasm_host::bridge::{Input, Output, cross};

/// Of each script how many of its arguments are keys, and its text.
#[unsafe(no_mangle)]
pub extern "C" fn scripts() -> i32 {
    cross(|_, output| {
        output.count(ALL.len());
        for script in ALL {
            output.count(script.keys);
            output.text(script.text);
        }
        Ok(0)
    })
}

/// Writes calls: how many; of each the number of its script and one, or zero, and its arguments.
pub(crate) fn write_calls(calls: &[Call], output: &mut Output<'_>) {
    output.count(calls.len());
    for call in calls {
        let (script, args) = match call {
            Call::Plain(args) => (0, args),
            Call::Run(script, args) => {
                let number = ALL.iter().position(|known| known.name == script.name);
                (number.expect("every script is in the list") + 1, args)
            }
        };
        output.byte(script as u8);
        output.count(args.len());
        for arg in args {
            output.sized(arg);
        }
    }
}

/// Reads answers: how many, and then each.
pub(crate) fn read_replies(input: &mut Input<'_>) -> Vec<Reply> {
    (0..input.count()).map(|_| read_reply(input)).collect()
}

fn read_reply(input: &mut Input<'_>) -> Reply {
    match input.byte() {
        0 => Reply::Nil,
        1 => Reply::Int(input.number() as i64),
        2 => Reply::Bytes(input.sized().to_vec()),
        3 => Reply::List(read_replies(input)),
        _ => Reply::Error(Fault::server(input.text(), input.text())),
    }
}

/// What kept commands from being answered, by its number: 0 stands for answers, which follow.
pub(crate) fn read_outcome(input: &mut Input<'_>) -> Result<Vec<Reply>, Fault> {
    match input.byte() {
        0 => Ok(read_replies(input)),
        1 => Err(Fault::Unreachable),
        2 => Err(Fault::TimedOut),
        3 => Err(Fault::Lost),
        4 => Err(Fault::Open),
        _ => Err(Fault::Protocol),
    }
}
