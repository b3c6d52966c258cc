//! Lease: callers of two processes who read one key through Redis, while its source changes and is invalidated.
//!
//! Owns the model of leases between processes, of the one load that callers of a process share, of refreshes, of sweeps, and of
//! what is owed after an outage or a failover. Knows neither tags nor memory in front of Redis: those have models of their own.
//!
//! A command is carried out in one step; its answer is on its way until a later one, so whatever can be decided on old news is.
//! Held to: nobody is served a version of the source older than one whose invalidation had returned when they asked, be it for
//! everyone or, where it is only owed, for its own process.

mod state;
mod world;

use crate::search::{Model, Step};
use state::{Age, At, CALLERS, Caller, FIRST, Key, Late, NAMES, SHARED, State, Token, Writer, Writing};

pub use world::{How, RULES, Rule, WORLDS, World};

/// The protocol in a world, perhaps without one of its rules.
#[derive(Clone, Copy, Debug)]
pub struct Lease {
    /// Where it is played.
    pub world: World,
    /// The rule that is taken out.
    pub without: Option<Rule>,
}

impl Model for Lease {
    type State = State;

    fn start(&self) -> State {
        let mut callers = [Caller { at: At::Done, ..Caller::default() }; CALLERS];
        for caller in &mut callers[..self.world.callers.len()] {
            caller.at = At::Idle;
        }
        State {
            source: 0,
            promised: 0,
            own: 0,
            key: if self.world.full { FIRST } else { Key::Absent },
            replica: None,
            failed_over: false,
            writer: Writer { round: 0, at: Writing::Idle },
            owed: false,
            said: false,
            callers,
            late: None,
            losses: self.world.losses,
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

    fn is_end(&self, state: &State) -> bool {
        let all_served = state.callers.iter().all(|caller| matches!(caller.at, At::Done | At::Hangs(_)));
        let is_free = !matches!(state.key, Key::Placeholder(token) if !state.renews(token));
        all_served && is_free
    }

    fn must_end(&self) -> bool {
        self.world.hangs
    }
}

impl Lease {
    fn keeps(&self, rule: Rule) -> bool {
        self.without != Some(rule)
    }

    fn process(&self, index: usize) -> u8 {
        self.world.callers[index]
    }

    fn token(&self, state: &State, index: usize) -> Token {
        if self.keeps(Rule::TokenOfItsOwn) { state.fresh_token() } else { SHARED + self.process(index) }
    }

    fn writer_steps(&self, state: &State, next: &mut dyn FnMut(Step, State)) {
        let mut step = |what, change: &dyn Fn(&mut State)| next(Step { who: "the writer", what }, state.with(change));
        let Some(&how) = self.world.rounds.get(usize::from(state.writer.round)) else { return };
        let queue = |state: &mut State| {
            state.own = state.source;
            state.owed = true;
            state.losses -= 1;
            state.writer = Writer { round: state.writer.round + 1, at: Writing::Idle };
        };
        match state.writer.at {
            Writing::Idle => step("changes the source and commits", &|state| {
                state.source += 1;
                state.writer.at = Writing::Committed;
            }),
            Writing::Committed => step("begins to invalidate", &|state| {
                if self.keeps(Rule::Detached) {
                    (0..self.world.callers.len())
                        .filter(|index| self.process(*index) == 0)
                        .for_each(|index| self.end_flight(state, index, None));
                }
                state.writer.at = Writing::Sending;
            }),
            Writing::Sending => {
                match how {
                    How::Delete => step("UNLINK is carried out", &|state| {
                        self.unlink(state);
                        state.writer.at = Writing::Done;
                    }),
                    How::Set => step("SET is carried out", &|state| {
                        state.key = Key::Value { token: state.fresh_token(), version: state.source, age: Age::Fresh };
                        state.writer.at = Writing::Done;
                    }),
                    How::Sweep => step("SCAN passes the key", &|state| {
                        let found = match state.key {
                            Key::Absent => false,
                            Key::Placeholder(_) => self.keeps(Rule::LeasesAreVoided),
                            Key::Value { .. } => true,
                        };
                        state.writer.at = Writing::Scanned(found);
                    }),
                }
                if state.losses > 0 {
                    step("cannot reach Redis; the invalidation is owed, and returns", &queue);
                }
            }
            Writing::Scanned(found) => {
                step("UNLINK of what SCAN found is carried out", &|state| {
                    if found {
                        self.unlink(state);
                    }
                    state.writer.at = Writing::Done;
                });
            }
            Writing::Done => step("the invalidation returns", &|state| {
                state.promised = state.source;
                state.own = state.source;
                state.said = true;
                state.writer = Writer { round: state.writer.round + 1, at: Writing::Idle };
            }),
        }
    }

    fn unlink(&self, state: &mut State) {
        if self.keeps(Rule::LeasesAreVoided) || !matches!(state.key, Key::Placeholder(_)) {
            state.key = Key::Absent;
        }
    }

    fn redis_steps(&self, state: &State, next: &mut dyn FnMut(Step, State)) {
        let mut step = |what, change: &dyn Fn(&mut State)| next(Step { who: "Redis", what }, state.with(change));
        match state.key {
            Key::Absent => {}
            Key::Placeholder(token) => {
                let may_end = !self.world.hangs || (self.keeps(Rule::LeaseEnds) && !state.renews(token));
                if may_end {
                    step("the placeholder runs out", &|state| state.key = Key::Absent);
                }
            }
            Key::Value { age, .. } => {
                step("the value is evicted", &|state| state.key = Key::Absent);
                let mut grow = |what, older| {
                    step(what, &|state| {
                        if let Key::Value { age, .. } = &mut state.key {
                            *age = older;
                        }
                    });
                };
                match age {
                    Age::Fresh if self.world.ages => grow("the value grows stale", Age::Stale),
                    Age::Stale => grow("the value is past its grace", Age::Dead),
                    _ => {}
                }
            }
        }
        if state.owed {
            next(
                Step { who: "process 0", what: "says what it owes" },
                state.with(|state| {
                    self.unlink(state);
                    state.owed = false;
                    state.said = true;
                }),
            );
        }
        if let Some(late) = state.late {
            next(
                Step { who: "the network", what: "brings a command that was given up" },
                state.with(|state| {
                    state.late = None;
                    match late {
                        Late::Claim(token) if state.key == Key::Absent => state.key = Key::Placeholder(token),
                        Late::Claim(_) => {}
                        Late::Take { seen, token } => self.take(state, seen, token),
                        Late::Fill { hold, new, version } => {
                            state.compare_and_set(hold, Key::Value { token: new, version, age: Age::Fresh });
                        }
                    }
                }),
            );
        }
        if !self.world.failover {
            return;
        }
        let mut step = |what, change: &dyn Fn(&mut State)| next(Step { who: "the replica", what }, state.with(change));
        if state.replica.is_none() && !state.failed_over {
            step("has got all up to now", &|state| state.replica = Some((state.key, state.promised)));
        }
        if let Some((key, promised)) = state.replica {
            step("takes over", &|state| self.fail_over(state, key, promised));
        }
    }

    /// A server takes over that has what the other had a while ago. All connections are new: what was on its way is lost, and said
    /// again where it may be. What others than process 0 were promised since is lost, which nobody promised them.
    fn fail_over(&self, state: &mut State, key: Key, promised: u8) {
        state.key = key;
        state.replica = None;
        state.failed_over = true;
        state.promised = promised;
        state.owed |= state.said && self.keeps(Rule::SaidAgain);
        if matches!(state.writer.at, Writing::Scanned(_)) && self.keeps(Rule::SweepBeginsAnew) {
            state.writer.at = Writing::Sending;
        }
        if matches!(state.writer.at, Writing::Done) {
            state.writer.at = Writing::Sending;
        }
        for (index, caller) in state.callers.iter_mut().enumerate() {
            if index < self.world.callers.len() && self.process(index) != 0 {
                caller.owed = caller.owed.min(promised);
            }
            caller.at = match caller.at {
                At::Asking | At::Claiming(_) => At::Again,
                at => at,
            };
        }
    }

    /// The process of this caller may not read yet: something is owed to Redis.
    fn must_wait(&self, state: &State, index: usize) -> bool {
        self.keeps(Rule::OwedFirst) && state.owed && self.process(index) == 0
    }

    #[expect(clippy::too_many_lines, reason = "one row for each place a caller may be at")]
    fn caller_steps(&self, state: &State, index: usize, next: &mut dyn FnMut(Step, State)) {
        let mut step = |what, change: &dyn Fn(&mut State)| next(Step { who: NAMES[index], what }, state.with(change));
        let set = |at: At| move |state: &mut State| state.callers[index].at = at;
        let held_up = self.must_wait(state, index);
        match state.callers[index].at {
            At::Idle => {
                let begin = |at: At| {
                    move |state: &mut State| {
                        let forced = self.world.forced.contains(&index);
                        let known = if self.process(index) == 0 { state.own } else { state.promised };
                        let older =
                            (0..CALLERS).filter(|other| state.callers[*other].leads).map(|other| 1 << other).sum();
                        let caller = &mut state.callers[index];
                        caller.owed = if forced { state.source } else { known };
                        caller.older = if forced { older } else { 0 };
                        caller.at = at;
                    }
                };
                step("wants the key", &begin(At::Again));
                if !self.keeps(Rule::AnswerOfOnesOwn) {
                    for other in self.others(index) {
                        if matches!(state.callers[other].at, At::Asking | At::Told(_)) {
                            step("wants the key, and waits for another's answer", &begin(At::Peeking(other as u8)));
                        }
                    }
                }
            }
            At::Again if !held_up => step("sends GET", &set(At::Asking)),
            At::Asking => {
                step("GET is carried out", &|state| {
                    state.callers[index].at = At::Told(state.key.as_read(self.world.forced.contains(&index)));
                });
                if state.losses > 0 {
                    step("the answer to GET is lost; it goes on without Redis", &|state| {
                        state.losses -= 1;
                        self.end_flight(state, index, None);
                        if self.lead(state, index, true) {
                            state.callers[index].closed = self.keeps(Rule::AloneIsClosed);
                            state.callers[index].at = At::Loading(None);
                        }
                    });
                }
            }
            At::Told(key) => {
                if let Key::Value { version, age: Age::Stale, .. } = key
                    && !self.world.forced.contains(&index)
                {
                    step("serves the stale value, which another refreshes", &|state| {
                        self.answer_peekers(state, index, Some(version));
                        self.end_flight(state, index, None);
                        state.serve(index, version);
                    });
                }
                if !held_up || matches!(key, Key::Value { age: Age::Fresh, .. }) {
                    step("has the answer", &|state| self.told(state, index, key));
                }
            }
            At::Claiming(token) => {
                step("SET NX of a placeholder is carried out", &|state| {
                    if state.key == Key::Absent {
                        state.key = Key::Placeholder(token);
                    }
                    let granted = state.key == Key::Placeholder(token);
                    let there = if granted { state.key } else { state.key.as_read(self.world.forced.contains(&index)) };
                    state.callers[index].at = At::Claimed(token, there);
                });
                if state.losses > 0 {
                    step("SET NX is late; it is given up, to ask anew", &|state| {
                        state.losses -= 1;
                        state.late = Some(Late::Claim(token));
                        let anew = if self.keeps(Rule::ClaimOnce) { At::Again } else { At::Claiming(token) };
                        state.callers[index].at = anew;
                    });
                }
            }
            At::Claimed(token, Key::Placeholder(there)) if there == token => {
                step("has the lease", &set(At::Loading(Some(token))));
            }
            At::Claimed(_, key) if !held_up => step("has no lease", &|state| self.told(state, index, key)),
            At::Taking { seen, token } => {
                step("takes over in the place of what is dead", &|state| {
                    self.take(state, seen, token);
                    state.callers[index].at = At::Took((state.key == Key::Placeholder(token)).then_some(token));
                });
                if state.losses > 0 {
                    step("taking over is late; it is said again", &|state| {
                        state.losses -= 1;
                        state.late = Some(Late::Take { seen, token });
                    });
                }
            }
            At::Took(Some(token)) => step("has the lease", &set(At::Loading(Some(token)))),
            At::Took(None) => step("was not the first to take over", &set(At::Again)),
            At::Waiting => {
                step("has waited a while", &set(At::Again));
                if self.keeps(Rule::WaitEnds) {
                    step("has waited too long, and loads for itself", &|state| {
                        self.end_flight(state, index, None);
                        state.callers[index].at = At::Loading(None);
                    });
                }
            }
            At::Loading(hold) => {
                step("the loader reads the source", &|state| state.callers[index].at = At::Loaded(hold, state.source));
                if self.world.hangs {
                    step("the loader hangs", &set(At::Hangs(hold)));
                    step("its process dies", &|state| {
                        let gone = self.process(index);
                        (0..self.world.callers.len())
                            .filter(|other| self.process(*other) == gone)
                            .for_each(|other| state.callers[other] = Caller { at: At::Done, ..Caller::default() });
                    });
                }
            }
            At::Loaded(None, version) => step("has loaded, and stores nothing", &|state| {
                self.end_flight(state, index, Some(version));
                state.serve(index, version);
            }),
            At::Loaded(Some(hold), version) => step("sends what was loaded", &|state| {
                let new = self.token(state, index);
                state.callers[index].closed |= self.keeps(Rule::ClosedBeforeSent);
                state.callers[index].at = At::Filling { hold, new, version };
            }),
            At::Filling { hold, new, version } => {
                step("the script that stores is carried out", &|state| {
                    let value = Key::Value { token: new, version, age: Age::Fresh };
                    let caller = state.callers[index];
                    let compares =
                        self.keeps(if caller.refreshes { Rule::RefreshCompares } else { Rule::FillCompares });
                    let is_there = matches!(state.key, Key::Value { token, .. } if token == new);
                    let stored = is_there || state.compare_and_set(hold, value) || !compares;
                    if !compares {
                        state.key = value;
                    }
                    state.callers[index].at = At::Filled { version, stored };
                });
                if state.losses > 0 {
                    let unknown = !self.keeps(Rule::UnknownIsRefused);
                    step("storing is late, and its outcome unknown", &|state| {
                        state.losses -= 1;
                        state.late = Some(Late::Fill { hold, new, version });
                        state.callers[index].at = At::Filled { version, stored: unknown };
                    });
                    step("storing is late; it is said again", &|state| {
                        state.losses -= 1;
                        state.late = Some(Late::Fill { hold, new, version });
                    });
                }
            }
            At::Filled { version, stored } => {
                let what = if stored { "hears that it is stored" } else { "hears that it is refused" };
                step(what, &|state| {
                    let hands_on = stored || !self.keeps(Rule::JoinersNeedStored);
                    self.end_flight(state, index, hands_on.then_some(version));
                    state.serve(index, version);
                });
            }
            At::Joined { .. } if self.keeps(Rule::WaitEnds) && self.world.hangs => {
                step("has waited too long, and loads for itself", &set(At::Loading(None)));
            }
            _ => {}
        }
    }

    /// What a caller does who sees this under the key.
    fn told(&self, state: &mut State, index: usize, key: Key) {
        let caller = state.callers[index];
        self.answer_peekers(
            state,
            index,
            match key {
                Key::Value { version, age: Age::Fresh, .. } => Some(version),
                _ => None,
            },
        );
        match key {
            Key::Absent => {
                if self.lead(state, index, false) {
                    state.callers[index].at = At::Claiming(self.token(state, index));
                }
            }
            Key::Placeholder(_) => {
                if self.lead(state, index, false) {
                    state.callers[index].at = At::Waiting;
                }
            }
            Key::Value { token, .. } if self.world.forced.contains(&index) => {
                if self.lead(state, index, false) {
                    state.callers[index].refreshes = true;
                    state.callers[index].at = At::Loading(Some(token));
                }
            }
            Key::Value { version, age: Age::Fresh, .. } => {
                self.end_flight(state, index, None);
                state.serve(index, version);
            }
            Key::Value { token, version, age: Age::Stale } => {
                self.end_flight(state, index, None);
                if version < caller.owed || self.others(index).any(|other| state.callers[other].leads) {
                    state.serve(index, version);
                } else {
                    state.callers[index].leads = true;
                    state.callers[index].refreshes = true;
                    state.callers[index].at = At::Loading(Some(token));
                }
            }
            Key::Value { token, age: Age::Dead, .. } => {
                if self.lead(state, index, false) {
                    state.callers[index].at = At::Taking { seen: token, token: self.token(state, index) };
                }
            }
        }
    }

    fn take(&self, state: &mut State, seen: Token, token: Token) {
        if !self.keeps(Rule::TakeoverCompares) {
            state.key = Key::Placeholder(token);
        }
        state.compare_and_set(seen, Key::Placeholder(token));
    }

    fn others(&self, index: usize) -> impl Iterator<Item = usize> + '_ {
        let process = self.process(index);
        (0..self.world.callers.len()).filter(move |other| *other != index && self.process(*other) == process)
    }

    /// Becomes the one of its process who loads, or joins who does.
    fn lead(&self, state: &mut State, index: usize, alone: bool) -> bool {
        if state.callers[index].leads {
            return true;
        }
        let leader = self.others(index).find(|other| state.callers[*other].leads);
        let Some(leader) = leader else {
            state.callers[index].leads = true;
            state.callers[index].closed = false;
            return true;
        };
        let is_older = state.callers[index].older & (1 << leader) != 0;
        let late = state.callers[leader].closed || alone || (is_older && self.keeps(Rule::ForcedJoinsNoOlder));
        state.callers[index].at = At::Joined { late };
        false
    }

    /// Ends the load that others of the process may have joined, with its value or without.
    fn end_flight(&self, state: &mut State, index: usize, version: Option<u8>) {
        if !std::mem::take(&mut state.callers[index].leads) {
            return;
        }
        state.callers[index].closed = false;
        for other in self.others(index) {
            state.callers[other].older &= !(1 << index);
            let At::Joined { late } = state.callers[other].at else { continue };
            match version.filter(|_| !late) {
                Some(version) if state.wrong.is_none() => state.serve(other, version),
                _ => state.callers[other].at = At::Again,
            }
        }
    }

    fn answer_peekers(&self, state: &mut State, index: usize, version: Option<u8>) {
        for other in self.others(index) {
            if state.callers[other].at != At::Peeking(index as u8) {
                continue;
            }
            match version {
                Some(version) => state.serve(other, version),
                None => state.callers[other].at = At::Again,
            }
        }
    }
}
