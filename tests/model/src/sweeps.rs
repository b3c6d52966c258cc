//! Sweeps: callers who read one key through Redis, while patterns that cover it are written down, swept, and struck off the list.
//!
//! Owns the model of the list, of what a load notes of it, and of sweeps whose process dies. How leases are lost and shared otherwise
//! is the model in [`crate::lease`].
//!
//! Held to: nobody is served a version of the source older than one whose invalidation had been written down when they asked.

use std::fmt::{self, Display};

use crate::search::{Model, Step};

/// A rule of the protocol. Each can be taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The list is read in one step with the value, not behind it: what covers an old value may have been struck by then.
    ReadTogether,
    /// A load notes what was on the list before it starts.
    NotedBefore,
    /// What a load noted frees it of that record and those before, not of later ones.
    LaterOnesCover,
    /// Who finds a record that their process did not know sends its loads away.
    SentAway,
    /// A record is struck once what its sweep found is unlinked.
    StruckLast,
    /// Who takes over the record of a dead process sweeps before it strikes it.
    TakenOverWhole,
}

/// All of them, each with the name of a world that falls without it.
pub const RULES: [(Rule, &str); 6] = [
    (Rule::ReadTogether, "one sweep, three callers"),
    (Rule::NotedBefore, "one sweep, three callers"),
    (Rule::LaterOnesCover, "two sweeps"),
    (Rule::SentAway, "one sweep, three callers"),
    (Rule::StruckLast, "one sweep, three callers"),
    (Rule::TakenOverWhole, "a sweeper that dies"),
];

/// A world: who is in it and what may befall it.
#[derive(Clone, Copy, Debug)]
pub struct World {
    /// What it is there to show.
    pub name: &'static str,
    /// The process, 0 or 1, of each caller.
    pub callers: &'static [u8],
    /// How many sweep, each once.
    pub sweepers: usize,
    /// Whether there is a value from the beginning.
    pub full: bool,
    /// Whether one may die after it has written its pattern down.
    pub dies: bool,
}

/// The worlds that are searched.
pub const WORLDS: [World; 3] = [
    World { name: "one sweep, three callers", callers: &[0, 0, 1], sweepers: 1, full: false, dies: false },
    World { name: "two sweeps", callers: &[0, 1], sweepers: 2, full: false, dies: false },
    World { name: "a sweeper that dies", callers: &[0, 1], sweepers: 1, full: true, dies: true },
];

/// The protocol in a world, perhaps without one of its rules.
#[derive(Clone, Copy, Debug)]
pub struct Sweeps {
    /// Where it is played.
    pub world: World,
    /// The rule that is taken out.
    pub without: Option<Rule>,
}

/// Where things stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    source: u8,
    promised: u8,
    key: Key,
    list: List,
    written: u8,
    sweepers: [Sweeper; SWEEPERS],
    /// What each process last saw of the list.
    known: [List; 2],
    callers: [Caller; CALLERS],
    wrong: Option<(u8, u8)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Absent,
    Placeholder(u8),
    Value { token: u8, note: u8, version: u8 },
}

/// Records by their numbers, which rise: a bit for each, from 1 on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct List(u8);

impl List {
    fn has(self, number: u8) -> bool {
        self.0 >> number & 1 == 1
    }

    fn last(self) -> u8 {
        (1..8).rev().find(|number| self.has(*number)).unwrap_or(0)
    }

    /// Whether what was loaded under this note is older than a record.
    fn covers(self, note: u8, without: Option<Rule>) -> bool {
        if without == Some(Rule::LaterOnesCover) {
            return self.0 != 0 && !self.has(note);
        }
        self.last() > if self.has(note) { note } else { 0 }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Sweeper {
    #[default]
    Idle,
    Committed(u8),
    Written(u8),
    Scanned(u8, bool),
    Unlinked(u8),
    /// Gone, and its record is there.
    Dead(u8),
    Done,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Caller {
    at: At,
    owed: u8,
    tries: u8,
    leads: bool,
    closed: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum At {
    #[default]
    Idle,
    Again,
    /// The key was read, the list was not.
    Seen(Key),
    Told(Key, List),
    Claiming,
    Taking(u8),
    /// With what it noted; nothing where that is to come.
    Loading(Option<u8>),
    Loaded(Option<u8>, u8),
    Filling(u8, u8),
    Filled(u8, bool),
    Joined {
        late: bool,
    },
    Done,
}

const CALLERS: usize = 3;
const SWEEPERS: usize = 2;
const NAMES: [&str; CALLERS] = ["caller 0", "caller 1", "caller 2"];
const SWEEPER_NAMES: [&str; SWEEPERS] = ["a sweeper", "another sweeper"];
/// How often a caller tries to get a lease before it leaves.
const TRIES: u8 = 2;
/// Of the value that is there from the beginning.
const FIRST: u8 = 0xFF;

impl State {
    fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut next = *self;
        change(&mut next);
        next
    }

    fn token(&self, index: usize) -> u8 {
        index as u8 * (TRIES + 1) + self.callers[index].tries
    }

    fn serve(&mut self, index: usize, version: u8) {
        if version < self.callers[index].owed {
            self.wrong = Some((index as u8, version));
        }
        self.callers[index] = Caller { at: At::Done, owed: self.callers[index].owed, ..Caller::default() };
    }

    fn compare_and_set(&mut self, token: u8, key: Key) -> bool {
        let is_it = match self.key {
            Key::Absent => false,
            Key::Placeholder(there) | Key::Value { token: there, .. } => there == token,
        };
        if is_it {
            self.key = key;
        }
        is_it
    }
}

impl Model for Sweeps {
    type State = State;

    fn start(&self) -> State {
        let mut callers = [Caller { at: At::Done, ..Caller::default() }; CALLERS];
        callers[..self.world.callers.len()].fill(Caller::default());
        let mut sweepers = [Sweeper::Done; SWEEPERS];
        sweepers[..self.world.sweepers].fill(Sweeper::Idle);
        State {
            source: 0,
            promised: 0,
            key: if self.world.full { Key::Value { token: FIRST, note: 0, version: 0 } } else { Key::Absent },
            list: List::default(),
            written: 0,
            sweepers,
            known: [List::default(); 2],
            callers,
            wrong: None,
        }
    }

    fn steps(&self, state: &State, next: &mut dyn FnMut(Step, State)) {
        if state.wrong.is_some() {
            return;
        }
        for index in 0..self.world.sweepers {
            self.sweeper_steps(state, index, next);
        }
        for index in 0..self.world.callers.len() {
            self.caller_steps(state, index, next);
        }
    }

    fn broken(&self, state: &State) -> Option<String> {
        state.wrong.map(|(caller, version)| {
            let owed = state.callers[usize::from(caller)].owed;
            format!(
                "{} is served version {version}, though {owed} was written down when they asked",
                NAMES[usize::from(caller)]
            )
        })
    }
}

impl Sweeps {
    fn keeps(&self, rule: Rule) -> bool {
        self.without != Some(rule)
    }

    fn sweeper_steps(&self, state: &State, index: usize, next: &mut dyn FnMut(Step, State)) {
        let who = SWEEPER_NAMES[index];
        let mut step = |what, change: &dyn Fn(&mut State)| next(Step { who, what }, state.with(change));
        let strike = |state: &mut State, number: u8| state.list.0 &= !(1 << number);
        match state.sweepers[index] {
            Sweeper::Idle => step("changes the source and commits", &|state| {
                state.source += 1;
                state.sweepers[index] = Sweeper::Committed(state.source);
            }),
            Sweeper::Committed(version) => step("writes its pattern down", &|state| {
                state.written += 1;
                state.list.0 |= 1 << state.written;
                state.promised = state.promised.max(version);
                state.sweepers[index] = Sweeper::Written(state.written);
            }),
            Sweeper::Written(number) => {
                step("SCAN passes the key", &|state| {
                    if !self.keeps(Rule::StruckLast) {
                        strike(state, number);
                    }
                    state.sweepers[index] = Sweeper::Scanned(number, state.key != Key::Absent);
                });
                if self.world.dies {
                    step("dies", &|state| state.sweepers[index] = Sweeper::Dead(number));
                }
            }
            Sweeper::Scanned(number, found) => {
                step("UNLINK of what SCAN found is carried out", &|state| {
                    if found {
                        state.key = Key::Absent;
                    }
                    state.sweepers[index] = Sweeper::Unlinked(number);
                });
                if self.world.dies {
                    step("dies", &|state| state.sweepers[index] = Sweeper::Dead(number));
                }
            }
            Sweeper::Unlinked(number) => step("strikes its record", &|state| {
                strike(state, number);
                state.sweepers[index] = Sweeper::Done;
            }),
            Sweeper::Dead(number) => step("has its record taken over by another", &|state| {
                let is_whole = self.keeps(Rule::TakenOverWhole);
                state.sweepers[index] = if is_whole { Sweeper::Written(number) } else { Sweeper::Unlinked(number) };
            }),
            Sweeper::Done => {}
        }
    }

    fn caller_steps(&self, state: &State, index: usize, next: &mut dyn FnMut(Step, State)) {
        let mut step = |what, change: &dyn Fn(&mut State)| next(Step { who: NAMES[index], what }, state.with(change));
        let set = |at: At| move |state: &mut State| state.callers[index].at = at;
        match state.callers[index].at {
            At::Idle => step("wants the key", &|state| {
                state.callers[index].owed = state.promised;
                state.callers[index].at = At::Again;
            }),
            At::Again if self.keeps(Rule::ReadTogether) => {
                step("MGET of key and list is carried out", &set(At::Told(state.key, state.list)));
            }
            At::Again => step("GET of the key is carried out", &set(At::Seen(state.key))),
            At::Seen(key) => step("GET of the list is carried out", &set(At::Told(key, state.list))),
            At::Told(key, list) => step("hears what is there", &|state| self.told(state, index, key, list)),
            At::Claiming => step("SET NX of a placeholder is carried out", &|state| {
                let granted = state.key == Key::Absent;
                if granted {
                    state.key = Key::Placeholder(state.token(index));
                }
                self.claimed(state, index, granted);
            }),
            At::Taking(seen) => step("takes over in the place of what is dead", &|state| {
                let placeholder = Key::Placeholder(state.token(index));
                let granted = state.compare_and_set(seen, placeholder);
                self.claimed(state, index, granted);
            }),
            At::Loading(note) => step("the loader reads the source", &set(At::Loaded(note, state.source))),
            At::Loaded(note, version) => step("sends what was loaded", &|state| {
                state.callers[index].closed = true;
                let note = note.unwrap_or(state.known[self.process(index)].last());
                state.callers[index].at = At::Filling(note, version);
            }),
            At::Filling(note, version) => step("the script that stores is carried out", &|state| {
                let token = state.token(index);
                let stored = state.compare_and_set(token, Key::Value { token, note, version });
                state.callers[index].at = At::Filled(version, stored);
            }),
            At::Filled(version, stored) => step("hears what became of it", &|state| {
                self.end_flight(state, index, stored.then_some(version));
                state.serve(index, version);
            }),
            At::Joined { .. } | At::Done => {}
        }
    }

    fn told(&self, state: &mut State, index: usize, key: Key, list: List) {
        let process = self.process(index);
        let is_news = list.0 & !state.known[process].0 != 0;
        state.known[process] = list;
        if is_news && self.keeps(Rule::SentAway) {
            for other in 0..self.world.callers.len() {
                if self.process(other) == process {
                    self.end_flight(state, other, None);
                }
            }
        }
        match key {
            Key::Absent => self.lead(state, index, At::Claiming),
            // Of a lease it is not told here what its load noted: it is waited for, which is the harder case.
            Key::Placeholder(_) => self.lead(state, index, At::Again),
            Key::Value { token, note, .. } if list.covers(note, self.without) => {
                self.lead(state, index, At::Taking(token));
            }
            Key::Value { version, .. } => {
                self.end_flight(state, index, None);
                state.serve(index, version);
            }
        }
    }

    fn claimed(&self, state: &mut State, index: usize, granted: bool) {
        let note = self.keeps(Rule::NotedBefore).then(|| state.known[self.process(index)].last());
        state.callers[index].at = if granted { At::Loading(note) } else { At::Again };
    }

    fn process(&self, index: usize) -> usize {
        usize::from(self.world.callers[index])
    }

    fn others(&self, index: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.world.callers.len())
            .filter(move |other| *other != index && self.process(*other) == self.process(index))
    }

    /// Becomes the one of its process who loads and goes on so, or joins who does. Who has tried too often leaves.
    fn lead(&self, state: &mut State, index: usize, on: At) {
        let leader = self.others(index).find(|other| state.callers[*other].leads);
        match leader {
            Some(leader) if !state.callers[index].leads => {
                state.callers[index].at = At::Joined { late: state.callers[leader].closed };
            }
            _ if state.callers[index].tries == TRIES => {
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
        write!(f, "source v{}, written down v{}", self.source, self.promised)?;
        match self.key {
            Key::Absent => write!(f, ", no key")?,
            Key::Placeholder(_) => write!(f, ", placeholder")?,
            Key::Value { note: 0, version, .. } => write!(f, ", v{version}")?,
            Key::Value { note, version, .. } => write!(f, ", v{version} after record {note}")?,
        }
        let records: Vec<String> =
            (1..8).filter(|number| self.list.has(*number)).map(|number| number.to_string()).collect();
        if records.is_empty() { Ok(()) } else { write!(f, ", records {}", records.join(" ")) }
    }
}
