//! Bridge: how texts, lists and numbers cross between the host and the core.
//!
//! Numbers cross as arguments and in registers that the host reads from memory. All else is written into one buffer by the host
//! before a call, and into another by the call: the host copies what it wants to keep. Nothing here is called back by the core.

use alloc::string::String;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::fmt::{Display, Write};

use crate::kept::Kept;

use crate::trap;

/// What a call was refused for. The text is kept until the call ends, so that what most calls give fits into a register.
#[derive(Clone, Copy, Debug)]
pub struct Refused(Kind);

/// Which of the host's errors it becomes. The host knows them by these numbers, negated.
#[derive(Clone, Copy, Debug)]
#[repr(i32)]
pub enum Kind {
    /// No key.
    Key = 1,
    /// No pattern.
    Pattern = 2,
    /// No time to live, or no grace.
    Ttl = 3,
    /// No tag, or too many.
    Tag = 4,
    /// No rule.
    Rule = 5,
    /// No setting.
    Config = 6,
    /// The store could not be asked.
    Unavailable = 7,
}

impl Refused {
    /// For this reason.
    #[cold]
    #[inline(never)]
    pub fn new(kind: Kind, why: &dyn Display) -> Self {
        REASON.with_borrow_mut(|reason| {
            reason.clear();
            // A text takes whatever is written.
            let _always_written = write!(reason, "{why}");
        });
        Self(kind)
    }

    /// For `map_err`.
    pub fn of<W: Display>(kind: Kind) -> impl Fn(W) -> Self {
        move |why| Self::new(kind, &why)
    }
}

static REASON: Kept<RefCell<String>> = Kept::new(RefCell::new(String::new()));
static INPUT: Kept<RefCell<Vec<u8>>> = Kept::new(RefCell::new(Vec::new()));
static OUTPUT: Kept<RefCell<Vec<u8>>> = Kept::new(RefCell::new(Vec::new()));
static REGISTERS: Kept<[Cell<f64>; REGISTER_COUNT]> = Kept::new([const { Cell::new(0.0) }; REGISTER_COUNT]);

const REGISTER_COUNT: usize = 8;

/// The register that says how many waits were woken.
pub const WOKEN: usize = 6;

/// The register that says how many values left.
pub const LEFT: usize = 7;

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

/// Sets a register, of which there are eight.
///
/// # Panics
///
/// Where there is none of this number.
pub fn register(number: usize, value: f64) {
    REGISTERS.with(|registers| registers[number].set(value));
}

/// What the host wrote, read from the front. It writes as much as is read, or the module gives up.
pub struct Input<'i>(&'i [u8]);

impl<'i> Input<'i> {
    /// The next so many bytes.
    ///
    /// # Panics
    ///
    /// Where the host wrote less, as all that follow.
    pub fn bytes(&mut self, count: usize) -> &'i [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    /// A whole number.
    ///
    /// # Panics
    ///
    /// See [`Input::bytes`].
    pub fn count(&mut self) -> usize {
        let (taken, rest) = self.0.split_first_chunk().expect("the host wrote a count");
        self.0 = rest;
        u32::from_le_bytes(*taken) as usize
    }

    /// A number.
    ///
    /// # Panics
    ///
    /// See [`Input::bytes`].
    pub fn number(&mut self) -> f64 {
        let (taken, rest) = self.0.split_first_chunk().expect("the host wrote a number");
        self.0 = rest;
        f64::from_le_bytes(*taken)
    }

    /// One byte.
    pub fn byte(&mut self) -> u8 {
        self.bytes(1)[0]
    }

    /// Bytes after their number.
    pub fn sized(&mut self) -> &'i [u8] {
        let count = self.count();
        self.bytes(count)
    }

    /// A text after its length.
    ///
    /// # Panics
    ///
    /// See [`Input::bytes`].
    pub fn text(&mut self) -> &'i str {
        core::str::from_utf8(self.sized()).expect("the host writes UTF-8")
    }

    /// Texts after their number.
    pub fn texts(&mut self) -> Vec<&'i str> {
        (0..self.count()).map(|_| self.text()).collect()
    }
}

/// What a call writes for the host.
pub struct Output<'o>(&'o mut Vec<u8>);

impl Output<'_> {
    /// One byte.
    pub fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    /// A whole number.
    pub fn count(&mut self, count: usize) {
        self.0.extend((count as u32).to_le_bytes());
    }

    /// A number.
    pub fn number(&mut self, number: f64) {
        self.0.extend(number.to_le_bytes());
    }

    /// Bytes alone.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }

    /// Bytes after their number.
    pub fn sized(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.bytes(bytes);
    }

    /// A text after its length.
    pub fn text(&mut self, text: &str) {
        self.sized(text.as_bytes());
    }
}

/// Runs a call between the buffers. What it gives is not negative; a refusal is, and its text is the output.
pub fn cross(mut call: impl FnMut(&mut Input<'_>, &mut Output<'_>) -> Result<i32, Refused>) -> i32 {
    cross_once(&mut call)
}

/// What all calls have in common, once in the module.
#[inline(never)]
fn cross_once(call: &mut dyn FnMut(&mut Input<'_>, &mut Output<'_>) -> Result<i32, Refused>) -> i32 {
    INPUT.with_borrow(|input| {
        OUTPUT.with_borrow_mut(|output| {
            trap::spring();
            output.clear();
            call(&mut Input(input), &mut Output(output)).unwrap_or_else(|Refused(kind)| {
                *output = REASON.take().into_bytes();
                -(kind as i32)
            })
        })
    })
}
