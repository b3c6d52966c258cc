//! Each model holds as it is, and falls without any one of its rules.

use donjon_model::case::{Case, whole, without_a_rule};

#[test]
fn leases_hold() {
    all_hold("lease");
}

#[test]
fn tags_hold() {
    all_hold("tags");
}

#[test]
fn memory_in_front_of_redis_holds() {
    all_hold("near");
}

#[test]
fn patterns_that_are_written_down_hold() {
    all_hold("sweeps");
}

#[test]
fn no_rule_of_the_lease_can_be_left_out() {
    all_fall("lease");
}

#[test]
fn no_rule_of_tags_can_be_left_out() {
    all_fall("tags");
}

#[test]
fn no_rule_of_memory_in_front_of_redis_can_be_left_out() {
    all_fall("near");
}

#[test]
fn no_rule_of_patterns_can_be_left_out() {
    all_fall("sweeps");
}

fn all_hold(model: &str) {
    for case in of(model, whole()) {
        let report = case.search();
        assert!(report.states > 1_000, "{case}: little can happen there");
        if let Some(fall) = report.fall {
            panic!("{case}:\n{fall}");
        }
    }
}

fn all_fall(model: &str) {
    let held: Vec<String> =
        of(model, without_a_rule()).filter(|case| case.search().fall.is_none()).map(|case| case.to_string()).collect();
    assert!(held.is_empty(), "these hold, though a rule is missing: {held:#?}");
}

fn of(model: &str, cases: Vec<Case>) -> impl Iterator<Item = Case> {
    cases.into_iter().filter(move |case| case.model == model)
}
