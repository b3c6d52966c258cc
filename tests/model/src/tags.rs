//! Tags: callers who read one tagged key through Redis, while the tag is invalidated and its table of versions suffers.
//!
//! Owns the model of versions, epochs and floors: an invalidated tag touches no key, so leases alone prove nothing. How leases
//! are lost and shared otherwise is the model in [`crate::lease`].
//!
//! Held to: nobody is served a version of the source older than one whose invalidation had returned when they asked; an
//! invalidation that a failover lost counts as never made, those that come after it count.

use std::fmt::{self, Display};

use crate::search::{Model, Step};

/// A rule of the protocol. Each can be taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Who reads a tagged value looks at the version of its tag.
    TagIsRead,
    /// A load notes how the table stands before it starts.
    NotedBefore,
    /// Those who joined get the value only if its tag still stands behind the command that stored it.
    CheckedBehindFill,
    /// A value is dead once the table has another epoch than it noted.
    EpochCompared,
    /// A table that was lost while it was noted has no epoch that could be the same again.
    EpochNamed,
    /// A table that forgets a tag raises its floor to the tag's version.
    FloorRaised,
    /// A version is no lower than the time, so none comes twice, whatever a failover loses.
    VersionsByTime,
}

/// All of them, each with the name of a world that falls without it.
pub const RULES: [(Rule, &str); 7] = [
    (Rule::TagIsRead, "a table that forgets"),
    (Rule::NotedBefore, "a table that forgets"),
    (Rule::CheckedBehindFill, "three callers"),
    (Rule::EpochCompared, "a table that is lost"),
    (Rule::EpochNamed, "a table that is lost"),
    (Rule::FloorRaised, "a table that forgets"),
    (Rule::VersionsByTime, "failover"),
];

/// A world: who is in it and what may befall it.
#[derive(Clone, Copy, Debug)]
pub struct World {
    /// What it is there to show.
    pub name: &'static str,
    /// The process of each caller.
    pub callers: &'static [u8],
    /// How often the source changes and the tag is invalidated.
    pub rounds: u8,
    /// How often a caller tries to get a lease before it leaves.
    pub tries: u8,
    /// Whether the key may run out.
    pub runs_out: bool,
    /// How often the table may be lost.
    pub losses: u8,
    /// How often it may forget a tag.
    pub prunes: u8,
    /// Whether a replica may take over that did not get the latest.
    pub failover: bool,
}

/// The worlds that are searched.
pub const WORLDS: [World; 4] = [
    World { name: "three callers", callers: &[0, 0, 1], tries: 2, runs_out: true, ..PLAIN },
    World { name: "a table that forgets", rounds: 2, tries: 2, runs_out: true, prunes: 1, ..PLAIN },
    World { name: "a table that is lost", rounds: 2, losses: 2, ..PLAIN },
    World { name: "failover", rounds: 2, failover: true, ..PLAIN },
];

const PLAIN: World =
    World { name: "", callers: &[0, 1], rounds: 1, tries: 1, runs_out: false, losses: 0, prunes: 0, failover: false };

/// The protocol in a world, perhaps without one of its rules.
#[derive(Clone, Copy, Debug)]
pub struct Tags {
    /// Where it is played.
    pub world: World,
    /// The rule that is taken out.
    pub without: Option<Rule>,
}

const CALLERS: usize = 3;

/// The whole world between two steps.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct State {
    source: u8,
    promised: u8,
    /// What the clock of any server says: it moves on whenever a tag is invalidated.
    time: u8,
    redis: Redis,
    /// What a replica has, and what was promised by then.
    replica: Option<(Redis, u8)>,
    failed_over: bool,
    writer: Writing,
    callers: [Caller; CALLERS],
    epochs: u8,
    losses: u8,
    prunes: u8,
    wrong: Option<(u8, u8)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Redis {
    key: Key,
    table: Table,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Key {
    Absent,
    Placeholder(Token),
    Value(Value),
}

/// The caller, and which try of theirs.
type Token = (u8, u8);

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Value {
    token: Token,
    version: u8,
    note: Note,
}

/// How the table stood.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Note {
    epoch: u8,
    seq: u8,
}

/// Zero is what is not there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Table {
    epoch: u8,
    seq: u8,
    floor: u8,
    version: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Writing {
    Idle,
    Sending,
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Caller {
    at: At,
    /// No older version will do.
    owed: u8,
    tries: u8,
    leads: bool,
    closed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
enum At {
    #[default]
    Idle,
    Again,
    Asking,
    /// GET is carried out, HMGET not yet.
    Got(Key),
    Judged(Key, bool),
    Joined {
        late: bool,
    },
    Claiming,
    Taking(Token),
    /// The lease is there, the table not noted.
    Claimed,
    /// The table has an epoch, for now.
    Made,
    Loading(Option<Note>),
    Loaded(Option<Note>, u8),
    Filling(Note, u8),
    /// Stored or not; the tag is not looked at again yet.
    Filled(Note, u8, bool),
    Checked(u8, bool),
    Done,
}

impl Table {
    fn keeps(self, note: Note, without: Option<Rule>) -> bool {
        let named = note.epoch != 0 || without == Some(Rule::EpochNamed);
        let same = self.epoch == note.epoch || without == Some(Rule::EpochCompared);
        named && same && self.version.max(self.floor) <= note.seq
    }
}

impl Model for Tags {
    type State = State;

    fn start(&self) -> State {
        let mut callers = [Caller { at: At::Done, ..Caller::default() }; CALLERS];
        for caller in &mut callers[..self.world.callers.len()] {
            caller.at = At::Idle;
        }
        State {
            source: 0,
            promised: 0,
            time: 0,
            redis: Redis { key: Key::Absent, table: Table::default() },
            replica: None,
            failed_over: false,
            writer: Writing::Idle,
            callers,
            epochs: 0,
            losses: self.world.losses,
            prunes: self.world.prunes,
            wrong: None,
        }
    }

    fn steps(&self, state: &State, next: &mut dyn FnMut(Step, State)) {
        if state.wrong.is_some() {
            return;
        }
        self.writer_steps(state, next);
        for index in 0..self.world.callers.len() {
            self.caller_steps(state, index, next);
        }
        self.redis_steps(state, next);
    }

    fn broken(&self, state: &State) -> Option<String> {
        state.wrong.map(|(caller, version)| {
            let owed = state.callers[usize::from(caller)].owed;
            format!(
                "{} is served version {version}, though {owed} was promised when they asked",
                NAMES[usize::from(caller)]
            )
        })
    }
}

const NAMES: [&str; CALLERS] = ["Ada", "Ben", "Cleo"];

impl State {
    fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut state = self.clone();
        change(&mut state);
        state
    }

    fn serve(&mut self, index: usize, version: u8) {
        if version < self.callers[index].owed {
            self.wrong = Some((index as u8, version));
            return;
        }
        self.callers[index] = Caller { at: At::Done, ..Caller::default() };
    }

    /// Gives the table an epoch, where it has none.
    fn name_table(&mut self) {
        if self.redis.table.epoch == 0 {
            self.epochs += 1;
            self.redis.table.epoch = self.epochs;
        }
    }

    fn note(&self) -> Note {
        Note { epoch: self.redis.table.epoch, seq: self.redis.table.seq }
    }

    fn token(&self, index: usize) -> Token {
        (index as u8, self.callers[index].tries)
    }
}

impl Tags {
    fn keeps(&self, rule: Rule) -> bool {
        self.without != Some(rule)
    }

    fn writer_steps(&self, state: &State, next: &mut dyn FnMut(Step, State)) {
        let mut step = |what, change: &dyn Fn(&mut State)| next(Step { who: "the writer", what }, state.with(change));
        match state.writer {
            Writing::Idle if state.source < self.world.rounds => step("changes the source and commits", &|state| {
                state.source += 1;
                state.writer = Writing::Sending;
            }),
            Writing::Idle => {}
            Writing::Sending => step("the script that moves the tag is carried out", &|state| {
                state.name_table();
                state.time += 1;
                let table = &mut state.redis.table;
                let counted = table.seq + 1;
                table.seq = if self.keeps(Rule::VersionsByTime) { counted.max(state.time) } else { counted };
                table.version = table.seq;
                state.writer = Writing::Done;
            }),
            Writing::Done => step("the invalidation returns", &|state| {
                state.promised = state.source;
                state.writer = Writing::Idle;
            }),
        }
    }

    fn redis_steps(&self, state: &State, next: &mut dyn FnMut(Step, State)) {
        let mut step = |what, change: &dyn Fn(&mut State)| next(Step { who: "Redis", what }, state.with(change));
        if self.world.runs_out && state.redis.key != Key::Absent {
            step("the key runs out", &|state| state.redis.key = Key::Absent);
        }
        if state.losses > 0 && state.redis.table != Table::default() {
            step("the table is evicted", &|state| {
                state.losses -= 1;
                state.redis.table = Table::default();
            });
        }
        if state.prunes > 0 && state.redis.table.version > 0 {
            step("the table forgets the tag", &|state| {
                state.prunes -= 1;
                let table = &mut state.redis.table;
                if self.keeps(Rule::FloorRaised) {
                    table.floor = table.floor.max(table.version);
                }
                table.version = 0;
            });
        }
        if !self.world.failover {
            return;
        }
        let mut step = |what, change: &dyn Fn(&mut State)| next(Step { who: "the replica", what }, state.with(change));
        if state.replica.is_none() && !state.failed_over {
            step("has got all up to now", &|state| state.replica = Some((state.redis, state.promised)));
        }
        if let Some((redis, promised)) = state.replica {
            step("takes over", &|state| {
                state.redis = redis;
                state.replica = None;
                state.failed_over = true;
                state.promised = promised;
                if state.writer == Writing::Done {
                    state.writer = Writing::Sending;
                }
                for caller in &mut state.callers {
                    caller.owed = caller.owed.min(promised);
                    // What was half answered is asked again, unless it may not be said twice.
                    caller.at = match caller.at {
                        At::Got(_) | At::Claiming | At::Claimed | At::Made => At::Again,
                        At::Filled(note, version, _) => At::Filling(note, version),
                        at => at,
                    };
                }
            });
        }
    }

    fn caller_steps(&self, state: &State, index: usize, next: &mut dyn FnMut(Step, State)) {
        let mut step = |what, change: &dyn Fn(&mut State)| next(Step { who: NAMES[index], what }, state.with(change));
        let set = |at: At| move |state: &mut State| state.callers[index].at = at;
        match state.callers[index].at {
            At::Idle => step("wants the key", &|state| {
                state.callers[index].owed = state.promised;
                state.callers[index].at = At::Asking;
            }),
            At::Again => step("asks again", &set(At::Asking)),
            At::Asking => step("GET is carried out", &set(At::Got(state.redis.key))),
            At::Got(key) => step("HMGET of the tag is carried out", &|state| {
                let alive = match key {
                    Key::Value(value) => {
                        !self.keeps(Rule::TagIsRead) || state.redis.table.keeps(value.note, self.without)
                    }
                    _ => true,
                };
                state.callers[index].at = At::Judged(key, alive);
            }),
            At::Judged(Key::Value(value), true) => step("finds the value alive", &|state| {
                self.end_flight(state, index, None);
                state.serve(index, value.version);
            }),
            At::Judged(Key::Value(value), false) => step("finds the value dead", &|state| {
                self.lead(state, index, At::Taking(value.token));
            }),
            At::Judged(Key::Absent, _) => step("finds nothing", &|state| self.lead(state, index, At::Claiming)),
            At::Judged(Key::Placeholder(_), _) => {
                step("finds another's lease", &|state| self.lead(state, index, At::Again));
            }
            At::Claiming => step("SET NX of a placeholder is carried out", &|state| {
                let token = state.token(index);
                let granted = state.redis.key == Key::Absent;
                if granted {
                    state.redis.key = Key::Placeholder(token);
                }
                self.claimed(state, index, granted);
            }),
            At::Taking(seen) => step("takes over in the place of what is dead", &|state| {
                let token = state.token(index);
                let granted = matches!(state.redis.key, Key::Value(value) if value.token == seen);
                if granted {
                    state.redis.key = Key::Placeholder(token);
                }
                self.claimed(state, index, granted);
            }),
            At::Claimed => step("HSETNX of an epoch is carried out", &|state| {
                state.name_table();
                state.callers[index].at = At::Made;
            }),
            At::Made => step("HMGET of the table is carried out: it is noted", &set(At::Loading(Some(state.note())))),
            At::Loading(note) => {
                step("the loader reads the source", &set(At::Loaded(note, state.source)));
            }
            At::Loaded(None, version) => step("notes the table, after the load", &|state| {
                state.name_table();
                state.callers[index].at = At::Loaded(Some(state.note()), version);
            }),
            At::Loaded(Some(note), version) => step("sends what was loaded", &|state| {
                state.callers[index].closed = true;
                state.callers[index].at = At::Filling(note, version);
            }),
            At::Filling(note, version) => step("the script that stores is carried out", &|state| {
                let token = state.token(index);
                let value = Key::Value(Value { token, version, note });
                let stored = state.redis.key == Key::Placeholder(token) || state.redis.key == value;
                if stored {
                    state.redis.key = value;
                }
                state.callers[index].at = At::Filled(note, version, stored);
            }),
            At::Filled(note, version, stored) => {
                step("HMGET behind it is carried out", &|state| {
                    let keeps = !self.keeps(Rule::CheckedBehindFill) || state.redis.table.keeps(note, self.without);
                    state.callers[index].at = At::Checked(version, stored && keeps);
                });
            }
            At::Checked(version, stands) => {
                let what = if stands { "hears that it is stored and stands" } else { "hears that it does not stand" };
                step(what, &|state| {
                    self.end_flight(state, index, stands.then_some(version));
                    state.serve(index, version);
                });
            }
            At::Joined { .. } | At::Done => {}
        }
    }

    fn claimed(&self, state: &mut State, index: usize, granted: bool) {
        let caller = &mut state.callers[index];
        caller.at = match granted {
            true if self.keeps(Rule::NotedBefore) => At::Claimed,
            true => At::Loading(None),
            false => At::Again,
        };
    }

    fn others(&self, index: usize) -> impl Iterator<Item = usize> + '_ {
        let process = self.world.callers[index];
        (0..self.world.callers.len()).filter(move |other| *other != index && self.world.callers[*other] == process)
    }

    /// Becomes the one of its process who loads and goes on so, or joins who does. Who has tried too often leaves.
    fn lead(&self, state: &mut State, index: usize, on: At) {
        let leader = self.others(index).find(|other| state.callers[*other].leads);
        match leader {
            Some(leader) if !state.callers[index].leads => {
                state.callers[index].at = At::Joined { late: state.callers[leader].closed };
            }
            _ if state.callers[index].tries == self.world.tries => {
                self.end_flight(state, index, None);
                state.callers[index] = Caller { at: At::Done, ..Caller::default() };
            }
            _ => {
                let caller = &mut state.callers[index];
                caller.leads = true;
                caller.tries += u8::from(on != At::Again);
                caller.at = on;
            }
        }
    }

    /// Ends the load that others of the process may have joined, with its value or without.
    fn end_flight(&self, state: &mut State, index: usize, version: Option<u8>) {
        if !std::mem::take(&mut state.callers[index].leads) {
            return;
        }
        state.callers[index].closed = false;
        for other in self.others(index) {
            let At::Joined { late } = state.callers[other].at else { continue };
            match version.filter(|_| !late) {
                Some(version) if state.wrong.is_none() => state.serve(other, version),
                _ => state.callers[other].at = At::Again,
            }
        }
    }
}

impl Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Redis { key, table } = self.redis;
        write!(f, "source v{}, promised v{}", self.source, self.promised)?;
        match key {
            Key::Absent => write!(f, ", no key")?,
            Key::Placeholder(_) => write!(f, ", placeholder")?,
            Key::Value(Value { version, note, .. }) => {
                write!(f, ", v{version} noted at {} of epoch {}", note.seq, note.epoch)?;
            }
        }
        if table == Table::default() {
            return write!(f, ", no table");
        }
        write!(f, ", tag at {}, floor {}, seq {}, epoch {}", table.version, table.floor, table.seq, table.epoch)
    }
}
