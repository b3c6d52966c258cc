//! Searches all models, or tells the shortest way to a fall without the rule that is named.
//!
//! `cargo run --profile test -p donjon-model` lists all searches; with `-- FillCompares` behind it, it tells one.

use donjon_model::case::{Case, whole, without_a_rule};

fn main() {
    match std::env::args().nth(1) {
        None => whole().iter().chain(&without_a_rule()).for_each(list),
        Some(rule) => {
            without_a_rule().iter().filter(|case| case.rule.as_ref() == Some(&rule)).for_each(tell);
        }
    }
}

fn list(case: &Case) {
    let report = case.search();
    let outcome = report.fall.map_or("holds".to_owned(), |fall| format!("falls in {} steps", fall.len()));
    println!("{case}: {outcome}, {} states", report.states);
}

fn tell(case: &Case) {
    println!("{case}");
    if let Some(fall) = case.search().fall {
        println!("{fall}\n");
    }
}
