//! Search: visits every state that a model can come to, and tells the shortest way to a bad one.
//!
//! Owns the states seen and the order of the visits. Must not know what a state means.

use std::collections::VecDeque;
use std::fmt::{self, Display};
use std::hash::Hash;

use ahash::RandomState;
use hashbrown::HashTable;

/// What can happen, in small enough a world that all of it can be visited.
pub trait Model {
    /// A world at rest between two steps. Two that behave alike should be equal, or the search visits both.
    type State: Clone + Eq + Hash + Display;

    /// Where it begins.
    fn start(&self) -> Self::State;

    /// Hands out each step that may come next, and what it leads to.
    fn steps(&self, state: &Self::State, next: &mut dyn FnMut(Step, Self::State));

    /// What is wrong with a state, if anything is.
    fn broken(&self, state: &Self::State) -> Option<String>;

    /// Where everyone got what they came for. Where [`Model::must_end`], it must be possible to come here from every state.
    fn is_end(&self, _state: &Self::State) -> bool {
        true
    }

    /// Whether it is looked for states in which somebody is stuck. This takes memory for every step.
    fn must_end(&self) -> bool {
        false
    }
}

/// One step: who takes it, and what it is.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// A process, a caller, Redis …
    pub who: &'static str,
    /// In the words of a story.
    pub what: &'static str,
}

/// What a search came to.
#[derive(Debug)]
pub struct Report {
    /// How many states were visited.
    pub states: usize,
    /// The shortest way to something bad.
    pub fall: Option<Trace>,
}

/// A way through a model, to be read by people.
#[derive(Debug)]
pub struct Trace {
    /// What is wrong at its end.
    pub wrong: String,
    start: String,
    steps: Vec<(Step, String)>,
}

impl Trace {
    /// How many steps it takes.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether it was wrong from the start.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

impl Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "   0. {:<72} {}", "the start", self.start)?;
        for (number, (step, state)) in self.steps.iter().enumerate() {
            writeln!(f, "{:>4}. {:<72} {state}", number + 1, format!("{}: {}", step.who, step.what))?;
        }
        write!(f, "      {}", self.wrong)
    }
}

/// Visits all states, the nearest first, until one is bad. Takes memory for each state.
///
/// # Panics
///
/// Where there are more than [`MOST_STATES`].
pub fn explore<M: Model>(model: &M) -> Report {
    let mut seen = Seen::default();
    seen.add(model.start(), 0);
    let mut queue = VecDeque::from([0]);
    let mut edges: Vec<(u32, u32)> = Vec::new();
    while let Some(at) = queue.pop_front() {
        let state = seen.states[at as usize].clone();
        if let Some(wrong) = model.broken(&state) {
            return Report { states: seen.states.len(), fall: Some(trace(model, &seen, at, wrong)) };
        }
        model.steps(&state, &mut |_, next| {
            let (index, is_new) = seen.add(next, at);
            if is_new {
                queue.push_back(index);
            }
            if model.must_end() {
                edges.push((at, index));
            }
        });
        assert!(seen.states.len() <= MOST_STATES, "the model has too many states to visit");
    }
    let stuck = if model.must_end() { first_stuck(model, &seen, edges) } else { None };
    let fall = stuck.map(|at| trace(model, &seen, at, "from here on somebody waits for ever".to_owned()));
    Report { states: seen.states.len(), fall }
}

/// The nearest state from which no way leads to an end.
fn first_stuck<M: Model>(model: &M, seen: &Seen<M::State>, mut edges: Vec<(u32, u32)>) -> Option<u32> {
    edges.sort_unstable_by_key(|(_, to)| *to);
    let ends = seen.states.iter().map(|state| model.is_end(state));
    let mut can_end: Vec<bool> = ends.collect();
    let mut open: Vec<u32> = (0..).zip(&can_end).filter(|(_, ends)| **ends).map(|(index, _)| index).collect();
    while let Some(at) = open.pop() {
        let first = edges.partition_point(|(_, to)| *to < at);
        for (from, _) in edges[first..].iter().take_while(|(_, to)| *to == at) {
            if !std::mem::replace(&mut can_end[*from as usize], true) {
                open.push(*from);
            }
        }
    }
    can_end.iter().position(|ends| !ends).map(|index| index as u32)
}

fn trace<M: Model>(model: &M, seen: &Seen<M::State>, mut at: u32, wrong: String) -> Trace {
    let mut way = vec![at];
    while at != 0 {
        at = seen.parents[at as usize];
        way.push(at);
    }
    way.reverse();
    let state = |index: u32| &seen.states[index as usize];
    let step = |pair: &[u32]| {
        let mut taken = None;
        model.steps(state(pair[0]), &mut |step, next| {
            if taken.is_none() && next == *state(pair[1]) {
                taken = Some(step);
            }
        });
        (taken.expect("a state has a step that leads to it"), state(pair[1]).to_string())
    };
    Trace { wrong, start: state(0).to_string(), steps: way.windows(2).map(step).collect() }
}

/// The states in the order of their discovery, each with the one that it was found from.
struct Seen<S> {
    states: Vec<S>,
    parents: Vec<u32>,
    index: HashTable<u32>,
    hasher: RandomState,
}

impl<S> Default for Seen<S> {
    fn default() -> Self {
        let hasher = RandomState::with_seeds(1, 2, 3, 4);
        Self { states: Vec::new(), parents: Vec::new(), index: HashTable::new(), hasher }
    }
}

impl<S: Eq + Hash> Seen<S> {
    /// The number of a state, and whether it is a new one.
    fn add(&mut self, state: S, parent: u32) -> (u32, bool) {
        let Self { states, parents, index, hasher } = self;
        let hash = hasher.hash_one(&state);
        if let Some(found) = index.find(hash, |known| states[*known as usize] == state) {
            return (*found, false);
        }
        let new = states.len() as u32;
        states.push(state);
        parents.push(parent);
        index.insert_unique(hash, new, |known| hasher.hash_one(&states[*known as usize]));
        (new, true)
    }
}

/// Beyond this a model is too large for a test.
pub const MOST_STATES: usize = 6_000_000;
