//! A seeded simulation: callers and writers of one cache take turns at random, a million times, and each step is judged.
//!
//! `docs/simulation.md` says what is judged, how a seed is replayed, and which rules were taken out to see it fail.

mod caller;
mod chance;
mod threads;
mod truth;
mod world;
mod writer;

use world::{Validate, World};

/// Steps of one world; worlds differ in their bounds and times.
const STEPS: u64 = 50_000;
const WORLDS: u64 = 40;

#[test]
fn no_reader_gets_what_was_invalidated_before_it_asked() {
    for seed in 0..WORLDS {
        World::new(seed).run(STEPS, Validate::Sometimes);
    }
}

#[test]
fn every_count_and_link_holds_after_each_step() {
    for seed in 0..WORLDS {
        World::new(1_000 + seed).run(2_000, Validate::EachStep);
    }
}

#[test]
fn a_seed_gives_the_same_world_twice() {
    let run = |seed| {
        let mut world = World::new(seed);
        world.run(5_000, Validate::Sometimes);
        world.stats()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

/// Runs the world of `DONJON_SEED`, for `DONJON_STEPS` steps or as many as above; nothing where none is given.
#[test]
#[allow(clippy::disallowed_methods, reason = "the seed comes from whoever replays it")]
fn replay() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    if let Some(seed) = number("DONJON_SEED") {
        World::new(seed).run(number("DONJON_STEPS").unwrap_or(STEPS), Validate::EachStep);
    }
}
