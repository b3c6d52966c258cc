//! Near: one process that keeps a value in memory in front of Redis, while it, others and time change what is there.
//!
//! Owns the model of what may enter memory and what of it may be served: the connection that is told of changes, in order and late
//! as any; guards; signs of life; what the process invalidates itself. Time is a small number. Loads of other processes are one
//! step here, since the model in [`crate::lease`] has their leases.
//!
//! Held to, at every moment at which memory would answer: nothing older than what this process itself invalidated; nothing older
//! than what was invalidated [`TRUST`] ago; nothing past its end; and once all that was told has been heard, nothing old at all.

mod state;
mod world;

use crate::search::{Model, Step};
use state::{Key, Line, Message, NEVER, Queue, State, Task, Value, Writer, Writing, named};

pub use world::{How, RULES, Rule, TRUST, WORLDS, World};

/// The protocol in a world, perhaps without one of its rules.
#[derive(Clone, Copy, Debug)]
pub struct Near {
    /// Where it is played.
    pub world: World,
    /// The rule that is taken out.
    pub without: Option<Rule>,
}

impl Model for Near {
    type State = State;

    fn start(&self) -> State {
        State {
            now: 0,
            source: 0,
            promised: 0,
            promised_at: [0, NEVER, NEVER],
            own: 0,
            owed: false,
            said: false,
            usual_is_old: false,
            replica: None,
            took_over: false,
            key: Key::Absent,
            table: 0,
            tells_key: false,
            tells_table: false,
            writer: Writer { round: 0, at: Writing::Idle },
            line: Line::Up,
            answers: Queue::default(),
            aside: Queue::default(),
            task: Task::Idle,
            guard: false,
            memory: None,
            // Where time stands still there is no need to ask for signs of life.
            believed_until: if self.world.time == 0 { TRUST } else { 0 },
            ping: None,
            reads: self.world.reads,
            losses: self.world.losses,
            failures: self.world.failures,
        }
    }

    fn steps(&self, state: &State, next: &mut dyn FnMut(Step, State)) {
        self.writer_steps(state, next);
        self.task_steps(state, next);
        self.line_steps(state, next);
        self.redis_steps(state, next);
    }

    fn broken(&self, state: &State) -> Option<String> {
        let value = self.served(state)?;
        let version = value.version;
        let late = (0..).zip(state.promised_at).filter(|(_, at)| *at != NEVER && at + TRUST <= state.now).last();
        let is_at_rest = state.line == Line::Up && state.answers.is_empty() && state.aside.is_empty();
        if version < state.own {
            Some(format!("memory serves version {version}, though its own process invalidated it before {}", state.own))
        } else if late.is_some_and(|(promised, _)| version < promised) {
            Some(format!("memory serves version {version} longer than it may"))
        } else if value.until <= state.now {
            Some(format!("memory serves version {version} past its end"))
        } else if is_at_rest && version < state.promised {
            Some(format!("memory has version {version} for good, though {} was promised", state.promised))
        } else {
            None
        }
    }
}

impl Near {
    fn keeps(&self, rule: Rule) -> bool {
        self.without != Some(rule)
    }

    /// What memory would answer now.
    fn served(&self, state: &State) -> Option<Value> {
        let is_believed = state.now < state.believed_until || !self.keeps(Rule::BeliefEnds);
        state.memory.filter(|value| is_believed && (state.now < value.until || !self.keeps(Rule::EndsWithRedis)))
    }

    fn key_changes(&self, state: &mut State, key: Key) {
        state.key = key;
        if std::mem::take(&mut state.tells_key) {
            state.tell(self.world, Message::KeyChanged);
        }
    }

    fn tag_moves(&self, state: &mut State) {
        state.table += 1;
        if std::mem::take(&mut state.tells_table) {
            state.tell(self.world, Message::TableChanged);
        }
    }

    /// The process itself is about to invalidate, or just has.
    fn forget(&self, state: &mut State) {
        state.memory = None;
        if self.keeps(Rule::OwnKeptOut) {
            state.guard = false;
        }
    }

    fn writer_steps(&self, state: &State, next: &mut dyn FnMut(Step, State)) {
        let Some(&how) = self.world.rounds.get(usize::from(state.writer.round)) else { return };
        let own = matches!(how, How::OwnDelete | How::OwnMoveTag);
        let who = if own { "the process itself" } else { "another process" };
        let mut step = |what, change: &dyn Fn(&mut State)| next(Step { who, what }, state.with(change));
        match state.writer.at {
            Writing::Idle => step("changes the source, commits, and begins to invalidate", &|state| {
                state.source += 1;
                state.writer.at = Writing::Sending;
                if own {
                    self.forget(state);
                }
            }),
            Writing::Sending if own && state.usual_is_old => {}
            Writing::Sending => {
                match how {
                    How::Delete | How::OwnDelete => step("UNLINK is carried out", &|state| {
                        self.key_changes(state, Key::Absent);
                        state.writer.at = Writing::Done;
                    }),
                    How::MoveTag | How::OwnMoveTag => step("the script that moves the tag is carried out", &|state| {
                        self.tag_moves(state);
                        state.writer.at = Writing::Done;
                    }),
                    How::Flush => step("FLUSHALL is carried out", &|state| {
                        state.key = Key::Absent;
                        (state.tells_key, state.tells_table) = (false, false);
                        state.tell(self.world, Message::AllChanged);
                        state.writer.at = Writing::Done;
                    }),
                }
                if own && state.failures > 0 {
                    step("cannot reach Redis; the invalidation is owed, and returns", &|state| {
                        state.failures -= 1;
                        state.owed = true;
                        self.own_returns(state, Rule::OwedForgottenAfter);
                    });
                }
            }
            Writing::Done => step("the invalidation returns", &|state| {
                state.promised = state.source;
                state.promised_at[usize::from(state.promised)] = state.now;
                if own {
                    state.said = true;
                    self.own_returns(state, Rule::OwnForgottenAfter);
                } else {
                    state.writer = Writer { round: state.writer.round + 1, at: Writing::Idle };
                }
            }),
        }
    }

    fn own_returns(&self, state: &mut State, forgotten: Rule) {
        state.own = state.source;
        if self.keeps(forgotten) {
            self.forget(state);
        }
        state.writer = Writer { round: state.writer.round + 1, at: Writing::Idle };
    }

    fn task_steps(&self, state: &State, next: &mut dyn FnMut(Step, State)) {
        let mut step = |what, change: &dyn Fn(&mut State)| next(Step { who: "the caller", what }, state.with(change));
        let is_up = state.line == Line::Up;
        match state.task {
            Task::Idle => {
                let may_read = !state.owed || !self.keeps(Rule::OwedFirst);
                if is_up && state.reads > 0 && may_read && self.served(state).is_none() {
                    step("finds nothing in memory; GET and HMGET are sent", &|state| {
                        state.reads -= 1;
                        state.guard = true;
                        state.task = Task::Asking;
                    });
                }
            }
            Task::Asking if is_up => step("GET is carried out", &|state| {
                state.tells_key = self.keeps(Rule::ReadWhereTold);
                state.task = Task::Got(state.key);
            }),
            Task::Got(key) if is_up => step("HMGET is carried out", &|state| {
                state.tells_table = self.keeps(Rule::ReadWhereTold) && self.keeps(Rule::TablesReadWhereTold);
                let found = match key {
                    Key::Value(value) if state.table <= value.noted && state.now < value.until => Some(value),
                    _ => None,
                };
                state.answers.push(Message::Answer(found));
                state.task = Task::Answered;
            }),
            Task::Claiming if is_up => step("a placeholder is put there, and the table noted", &|state| {
                let is_dead = match state.key {
                    Key::Value(value) => state.table > value.noted || state.now >= value.until,
                    Key::Absent => true,
                    Key::Placeholder => false,
                };
                if !is_dead {
                    return state.end_task();
                }
                state.key = Key::Placeholder;
                // A connection is not told what it wrote itself, nor what comes after.
                state.tells_key = false;
                state.task = Task::Loading { noted: state.table };
            }),
            Task::Loading { noted } if is_up => step("the loader reads the source; what it loads is sent", &|state| {
                let until = state.now.saturating_add(self.world.ttl);
                state.guard = true;
                state.task = Task::Filling(Value { version: state.source, noted, until });
            }),
            Task::Filling(value) if is_up => step("the script that stores is carried out", &|state| {
                let stored = state.key == Key::Placeholder;
                if stored {
                    state.key = Key::Value(value);
                }
                state.tells_key = !stored || self.keeps(Rule::ReadBehindWrite);
                state.task = Task::Filled(value, stored);
            }),
            Task::Filled(value, stored) if is_up => step("HMGET behind it is carried out", &|state| {
                state.tells_table = self.keeps(Rule::TablesReadWhereTold);
                let stands = stored && state.table <= value.noted;
                state.answers.push(if stands { Message::Answer(Some(value)) } else { Message::Refused });
                state.task = Task::Answered;
            }),
            Task::Handed(value) => step("runs, and hands the value to memory", &|state| {
                if state.guard || !self.keeps(Rule::GuardAsked) {
                    state.memory = Some(value);
                }
                state.end_task();
            }),
            _ => {}
        }
    }

    fn heard(&self, state: &mut State, message: Message) {
        let told = |state: &mut State, removes: Rule, keeps_out: Rule| {
            if self.keeps(removes) {
                state.memory = None;
            }
            if self.keeps(keeps_out) {
                state.guard = false;
            }
        };
        match message {
            Message::Nothing => {}
            Message::Answer(Some(value)) => {
                state.guard |= !self.keeps(Rule::GuardTakenBefore);
                state.task = Task::Handed(value);
            }
            Message::Answer(None) => state.task = Task::Claiming,
            Message::Refused => state.end_task(),
            Message::KeyChanged => told(state, Rule::PushRemoves, Rule::PushKeepsOut),
            Message::TableChanged => told(state, Rule::TablePushCounts, Rule::TablePushCounts),
            Message::AllChanged => told(state, Rule::FlushRemoves, Rule::FlushKeepsOut),
            Message::Pong(asked) => {
                let from = if self.keeps(Rule::BeliefFromAsking) { asked } else { state.now };
                state.believed_until = from + TRUST;
                state.ping = None;
            }
        }
    }

    fn line_steps(&self, state: &State, next: &mut dyn FnMut(Step, State)) {
        let mut step =
            |what, change: &dyn Fn(&mut State)| next(Step { who: "the connection", what }, state.with(change));
        if let Some(first) = state.clone().answers.pop() {
            step(named(first), &|state| {
                let message = state.answers.pop();
                self.heard(state, message.unwrap_or_default());
            });
        }
        if let Some(first) = state.clone().aside.pop() {
            step(named(first), &|state| {
                let message = state.aside.pop();
                self.heard(state, message.unwrap_or_default());
            });
        }
        match state.line {
            Line::Up => {
                if state.ping.is_none() && self.world.time > 0 {
                    step("is asked for a sign of life", &|state| state.ping = Some(state.now));
                }
                if state.losses > 0 {
                    step("breaks, unnoticed; Redis forgets what it was to tell", &|state| {
                        state.losses -= 1;
                        state.line = Line::Broken;
                        (state.tells_key, state.tells_table) = (false, false);
                        (state.answers, state.aside) = (Queue::default(), Queue::default());
                    });
                }
            }
            Line::Broken => step("is found broken, and made anew", &|state| {
                state.line = Line::Up;
                if self.keeps(Rule::BothMadeAnew) {
                    usual_made_anew(state);
                }
                state.ping = None;
                state.believed_until = if self.world.time == 0 { TRUST } else { 0 };
                if self.keeps(Rule::LossRemoves) {
                    state.memory = None;
                }
                if self.keeps(Rule::LossKeepsOut) {
                    state.guard = false;
                }
                if !matches!(state.task, Task::Handed(_)) {
                    state.end_task();
                }
            }),
        }
    }

    fn redis_steps(&self, state: &State, next: &mut dyn FnMut(Step, State)) {
        let mut step = |who, what, change: &dyn Fn(&mut State)| next(Step { who, what }, state.with(change));
        if let Some(asked) = state.ping
            && state.line == Line::Up
            && !state.answers.messages.contains(&Message::Pong(asked))
            && !state.aside.messages.contains(&Message::Pong(asked))
        {
            step("Redis", "gives a sign of life", &|state| state.tell(self.world, Message::Pong(asked)));
        }
        match state.key {
            Key::Absent => step("another process", "loads the key, and it is stored", &|state| {
                let until = state.now.saturating_add(self.world.ttl);
                self.key_changes(state, Key::Value(Value { version: state.source, noted: state.table, until }));
            }),
            Key::Placeholder => {
                step("Redis", "the placeholder runs out", &|state| self.key_changes(state, Key::Absent));
            }
            Key::Value(value) if value.until <= state.now => {
                step("Redis", "removes the value, whose time is over", &|state| self.key_changes(state, Key::Absent));
            }
            Key::Value(_) => {}
        }
        if state.owed {
            step("the process itself", "says what it owes", &|state| {
                self.key_changes(state, Key::Absent);
                self.tag_moves(state);
                state.owed = false;
            });
        }
        if state.usual_is_old {
            step("the usual connection", "is found broken, and made anew", &usual_made_anew);
        }
        if self.world.failover && !state.took_over {
            failover_steps(state, next);
        }
        let mut step = |who, what, change: &dyn Fn(&mut State)| next(Step { who, what }, state.with(change));
        if state.now < self.world.time {
            step("time", "moves on", &|state| state.now += 1);
        }
    }
}

fn failover_steps(state: &State, next: &mut dyn FnMut(Step, State)) {
    let mut step = |what, change: &dyn Fn(&mut State)| next(Step { who: "the replica", what }, state.with(change));
    let Some((key, table, promised)) = state.replica else {
        return step("has got all up to now", &|state| {
            state.replica = Some((state.key, state.table, state.promised));
        });
    };
    step("takes over", &|state| {
        state.took_over = true;
        state.replica = None;
        (state.key, state.table) = (key, table);
        state.line = Line::Broken;
        state.usual_is_old = true;
        (state.tells_key, state.tells_table) = (false, false);
        (state.answers, state.aside) = (Queue::default(), Queue::default());
        // What others were promised since is lost, which nobody promised them.
        state.promised = promised;
        state.promised_at[usize::from(promised) + 1..].fill(NEVER);
        if state.writer.at == Writing::Done {
            state.writer.at = Writing::Sending;
        }
    });
}

/// Before anything is read over it, what was said of late is said again.
fn usual_made_anew(state: &mut State) {
    state.owed |= state.usual_is_old && state.said;
    state.usual_is_old = false;
}
