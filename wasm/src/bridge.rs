//! Bridge: how texts, lists and numbers cross between the host and the core.
//!
//! Numbers cross as arguments and in registers that the host reads from memory. All else is written into one buffer by the host
//! before a call, and into another by the call: the host copies what it wants to keep. Nothing here is called back by the core.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt::Display;

use crate::kept::Kept;

use crate::trap;

/// What a call was refused for. Its text goes to the host.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) kind: Kind,
    pub(crate) text: String,
}

/// Which of the host's errors it becomes. The host knows them by these numbers, negated.
#[derive(Clone, Copy, Debug)]
#[repr(i32)]
pub(crate) enum Kind {
    Key = 1,
    Pattern = 2,
    Ttl = 3,
    Tag = 4,
    Rule = 5,
    Config = 6,
    Unavailable = 7,
}

impl Refused {
    pub(crate) fn new(kind: Kind, why: &dyn Display) -> Self {
        Self { kind, text: why.to_string() }
    }

    /// For `map_err`.
    pub(crate) fn of<W: Display>(kind: Kind) -> impl Fn(W) -> Self {
        move |why| Self::new(kind, &why)
    }
}

static INPUT: Kept<RefCell<Vec<u8>>> = Kept::new(RefCell::new(Vec::new()));
static OUTPUT: Kept<RefCell<Vec<u8>>> = Kept::new(RefCell::new(Vec::new()));
static REGISTERS: Kept<[Cell<f64>; REGISTER_COUNT]> = Kept::new([const { Cell::new(0.0) }; REGISTER_COUNT]);

const REGISTER_COUNT: usize = 8;

/// The register that says how many waits were woken.
pub(crate) const WOKEN: usize = 6;

/// The register that says how many values left.
pub(crate) const LEFT: usize = 7;

/// Makes room for what the host is about to write; gives where.
#[unsafe(no_mangle)]
pub extern "C" fn room(bytes: usize) -> *const u8 {
    INPUT.with_borrow_mut(|input| {
        input.clear();
        input.resize(bytes, 0);
        input.as_ptr()
    })
}

/// Where the last call has left what it wrote.
#[unsafe(no_mangle)]
pub extern "C" fn output() -> *const u8 {
    OUTPUT.with_borrow(Vec::as_ptr)
}

/// How many bytes it has written.
#[unsafe(no_mangle)]
pub extern "C" fn output_bytes() -> usize {
    OUTPUT.with_borrow(Vec::len)
}

/// Where the registers are. They never move.
#[unsafe(no_mangle)]
pub extern "C" fn registers() -> *const f64 {
    REGISTERS.with(|registers| registers.as_ptr().cast())
}

/// Sets a register.
pub(crate) fn register(number: usize, value: f64) {
    REGISTERS.with(|registers| registers[number].set(value));
}

/// What the host wrote, read from the front.
pub(crate) struct Input<'i>(&'i [u8]);

impl<'i> Input<'i> {
    /// The next so many bytes. The host writes as much as is read.
    pub(crate) fn bytes(&mut self, count: usize) -> &'i [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    pub(crate) fn count(&mut self) -> usize {
        let (taken, rest) = self.0.split_first_chunk().expect("the host wrote a count");
        self.0 = rest;
        u32::from_le_bytes(*taken) as usize
    }

    pub(crate) fn number(&mut self) -> f64 {
        let (taken, rest) = self.0.split_first_chunk().expect("the host wrote a number");
        self.0 = rest;
        f64::from_le_bytes(*taken)
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.bytes(1)[0]
    }

    pub(crate) fn sized(&mut self) -> &'i [u8] {
        let count = self.count();
        self.bytes(count)
    }

    pub(crate) fn text(&mut self) -> &'i str {
        core::str::from_utf8(self.sized()).expect("the host writes UTF-8")
    }

    pub(crate) fn texts(&mut self) -> Vec<&'i str> {
        (0..self.count()).map(|_| self.text()).collect()
    }
}

/// What a call writes for the host.
pub(crate) struct Output<'o>(&'o mut Vec<u8>);

impl Output<'_> {
    pub(crate) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub(crate) fn count(&mut self, count: usize) {
        self.0.extend((count as u32).to_le_bytes());
    }

    pub(crate) fn number(&mut self, number: f64) {
        self.0.extend(number.to_le_bytes());
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }

    pub(crate) fn sized(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.bytes(bytes);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.sized(text.as_bytes());
    }
}

/// Runs a call between the buffers. What it gives is not negative; a refusal is, and its text is the output.
pub(crate) fn cross(call: impl FnOnce(&mut Input<'_>, &mut Output<'_>) -> Result<i32, Refused>) -> i32 {
    let mut call = Some(call);
    cross_once(&mut |input, output| call.take().map_or(Ok(0), |call| call(input, output)))
}

/// What all calls have in common, once in the module.
#[inline(never)]
fn cross_once(call: &mut dyn FnMut(&mut Input<'_>, &mut Output<'_>) -> Result<i32, Refused>) -> i32 {
    INPUT.with_borrow(|input| {
        OUTPUT.with_borrow_mut(|output| {
            trap::spring();
            output.clear();
            let outcome = call(&mut Input(input), &mut Output(output));
            outcome.unwrap_or_else(|refused| {
                output.clear();
                output.extend(refused.text.as_bytes());
                -(refused.kind as i32)
            })
        })
    })
}
