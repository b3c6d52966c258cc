//! State: a world of the model of memory in front of Redis between two steps.
//!
//! Owns what can be told apart. Must not know who does what when.

use std::fmt::{self, Display};

use super::World;

pub(super) const VERSIONS: usize = 3;
pub(super) const NEVER: u8 = u8::MAX;

/// The whole world between two steps.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "a state is made of facts")]
pub struct State {
    pub(super) now: u8,
    pub(super) source: u8,
    /// The latest version whose invalidation returned, and when each did.
    pub(super) promised: u8,
    pub(super) promised_at: [u8; VERSIONS],
    /// The latest that this process invalidated, what is only owed included.
    pub(super) own: u8,
    pub(super) owed: bool,
    /// Whether it said something of late.
    pub(super) said: bool,
    /// Of the usual connection of the process: whether it is to a server that is no more, which the process does not know.
    pub(super) usual_is_old: bool,
    /// What a replica has, and what was promised by then.
    pub(super) replica: Option<(Key, u8, u8)>,
    pub(super) took_over: bool,
    pub(super) key: Key,
    /// The version of the tag.
    pub(super) table: u8,
    pub(super) tells_key: bool,
    pub(super) tells_table: bool,
    pub(super) writer: Writer,
    pub(super) line: Line,
    /// From Redis to the process: answers, and changes unless they are told aside.
    pub(super) answers: Queue,
    pub(super) aside: Queue,
    pub(super) task: Task,
    /// Whether nothing was told since the guard of the task was taken.
    pub(super) guard: bool,
    pub(super) memory: Option<Value>,
    pub(super) believed_until: u8,
    pub(super) ping: Option<u8>,
    pub(super) reads: u8,
    pub(super) losses: u8,
    pub(super) failures: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Key {
    Absent,
    /// Of this process.
    Placeholder,
    Value(Value),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Value {
    pub(super) version: u8,
    /// How the tag stood when its load began.
    pub(super) noted: u8,
    pub(super) until: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Writer {
    pub(super) round: u8,
    pub(super) at: Writing,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Writing {
    Idle,
    Sending,
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Line {
    Up,
    /// Broken, which the process does not know yet.
    Broken,
}

/// The one look-up of the process that is under way.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Task {
    Idle,
    Asking,
    /// GET is carried out, HMGET not yet.
    Got(Key),
    /// The answer is on its way.
    Answered,
    Claiming,
    Loading {
        noted: u8,
    },
    Filling(Value),
    Filled(Value, bool),
    /// Its answer is there; the task has not run yet.
    Handed(Value),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) enum Message {
    #[default]
    Nothing,
    /// What GET found, if that is alive, or what was stored.
    Answer(Option<Value>),
    /// To what was to be stored: it was refused.
    Refused,
    KeyChanged,
    TableChanged,
    AllChanged,
    /// A sign of life, and when it was asked for.
    Pong(u8),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Queue {
    pub(super) messages: [Message; ROOM],
    pub(super) length: u8,
}

pub(super) const ROOM: usize = 8;

impl Queue {
    pub(super) fn push(&mut self, message: Message) {
        self.messages[usize::from(self.length)] = message;
        self.length += 1;
    }

    pub(super) fn pop(&mut self) -> Option<Message> {
        self.length = self.length.checked_sub(1)?;
        let first = self.messages[0];
        self.messages.rotate_left(1);
        self.messages[ROOM - 1] = Message::Nothing;
        Some(first)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }
}

impl State {
    pub(super) fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut state = self.clone();
        change(&mut state);
        state
    }

    pub(super) fn tell(&mut self, world: World, message: Message) {
        if self.line == Line::Up {
            if world.aside { self.aside.push(message) } else { self.answers.push(message) }
        }
    }

    pub(super) fn end_task(&mut self) {
        self.task = Task::Idle;
        self.guard = false;
    }
}

pub(super) const fn named(message: Message) -> &'static str {
    match message {
        Message::Nothing => "brings nothing",
        Message::Answer(Some(_)) => "brings a value, for the caller to take",
        Message::Answer(None) => "brings the answer that nothing is there",
        Message::Refused => "brings the answer that nothing was stored",
        Message::KeyChanged => "brings word that the key changed",
        Message::TableChanged => "brings word that the table changed",
        Message::AllChanged => "brings word that everything changed",
        Message::Pong(_) => "brings a sign of life",
    }
}

impl Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { now, source, promised, believed_until, .. } = self;
        write!(f, "at {now}: source v{source}, promised v{promised}")?;
        match self.key {
            Key::Absent => write!(f, ", no key")?,
            Key::Placeholder => write!(f, ", placeholder")?,
            Key::Value(value) => write!(f, ", v{}", value.version)?,
        }
        write!(f, ", tag at {}, memory ", self.table)?;
        match self.memory {
            Some(value) => write!(f, "v{} believed until {believed_until}", value.version),
            None => write!(f, "empty"),
        }
    }
}
