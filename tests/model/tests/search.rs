//! The search finds what is bad by the shortest way, and who is stuck.

use std::fmt::{self, Display};

use donjon_model::search::{Model, Step, explore};

/// A number that grows by one or doubles, up to a limit, until it is one that is bad, or where it ends.
struct Growing {
    bad: u32,
    limit: u32,
    end: Option<u32>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Number(u32);

impl Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Model for Growing {
    type State = Number;

    fn start(&self) -> Number {
        Number(1)
    }

    fn steps(&self, state: &Number, next: &mut dyn FnMut(Step, Number)) {
        for (what, number) in [("grows", state.0 + 1), ("doubles", state.0 * 2)] {
            if number <= self.limit {
                next(Step { who: "the number", what }, Number(number));
            }
        }
    }

    fn broken(&self, state: &Number) -> Option<String> {
        (state.0 == self.bad).then(|| "it is bad".to_owned())
    }

    fn is_end(&self, state: &Number) -> bool {
        self.end.is_none_or(|end| state.0 == end)
    }

    fn must_end(&self) -> bool {
        self.end.is_some()
    }
}

#[test]
fn every_state_is_visited_once() {
    let report = explore(&Growing { bad: 0, limit: 100, end: None });
    assert_eq!((report.states, report.fall.is_none()), (100, true));
}

#[test]
fn the_shortest_way_to_what_is_bad_is_told_step_by_step() {
    let fall = explore(&Growing { bad: 9, limit: 100, end: None }).fall.expect("nine can be reached");
    let lines: Vec<String> =
        fall.to_string().lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let told = [
        "0. the start 1",
        "1. the number: grows 2",
        "2. the number: doubles 4",
        "3. the number: doubles 8",
        "4. the number: grows 9",
        "it is bad",
    ];
    assert_eq!(lines, told);
    assert_eq!(fall.len(), 4);
}

#[test]
fn a_state_from_which_the_end_cannot_be_reached_is_found() {
    let fall =
        explore(&Growing { bad: 0, limit: 100, end: Some(9) }).fall.expect("from ten on there is no way to nine");
    assert!(fall.to_string().contains("for ever"), "{fall}");
    assert_eq!(fall.len(), 4, "ten is five doubled, and five takes three steps:\n{fall}");
}

#[test]
fn nobody_is_stuck_where_the_end_can_always_be_reached() {
    assert!(explore(&Growing { bad: 0, limit: 100, end: Some(100) }).fall.is_none());
}
