//! Thousands of worlds, each drawn from a seed. One that falls is told with its history, and played again by its seed alone.

use std::sync::Mutex;
use std::thread;

use donjon_simulation::world::{Counts, play};

#[test]
fn nobody_is_served_what_was_invalidated() {
    let total = Mutex::new((Counts::default(), None::<u64>));
    let threads = thread::available_parallelism().map_or(2, usize::from) as u64;
    let play_some = |first: u64| {
        for seed in (first..SEEDS).step_by(threads as usize) {
            if total.lock().expect("nobody panics with it").1.is_some_and(|fallen| fallen < seed) {
                return;
            }
            let run = play(seed, false);
            let mut total = total.lock().expect("nobody panics with it");
            total.0.add(&run.counts);
            if run.wrong.is_some() {
                total.1 = Some(total.1.map_or(seed, |fallen| fallen.min(seed)));
            }
        }
    };
    thread::scope(|scope| (0..threads).for_each(|first| drop(scope.spawn(move || play_some(first)))));
    let (counts, fallen) = total.into_inner().expect("nobody panics with it");
    if let Some(seed) = fallen {
        panic!("{}", told(seed));
    }
    println!("{counts:?}");
    // A run in which little happened has shown little.
    let each = [counts.shared / 200, counts.memory / 200, counts.stored / 40, counts.refused / 40, counts.done / 15];
    assert!(each.iter().all(|count| *count > SEEDS), "{counts:?}");
    let some = [counts.passed, counts.owed, counts.faults / 10, counts.late * 5];
    assert!(some.iter().all(|count| *count > SEEDS), "{counts:?}");
}

#[test]
fn a_seed_plays_the_same_world_again() {
    let [one, other] = [play(3, true), play(3, true)];
    assert!(one.history.len() > 10_000);
    assert!(one.history == other.history, "the same seed came to another history");
}

/// Tells the world of `DONJON_SEED`; nothing where none is given.
#[test]
fn replay() {
    if let Some(seed) = std::env::var("DONJON_SEED").ok().and_then(|seed| seed.parse().ok()) {
        let run = play(seed, true);
        println!("{}", run.history);
        assert!(run.wrong.is_none(), "{}", run.wrong.unwrap_or_default());
    }
}

/// The end of a history that fell, and how to have all of it.
fn told(seed: u64) -> String {
    let run = play(seed, true);
    let lines: Vec<&str> = run.history.lines().collect();
    let wrong = lines.iter().position(|line| line.contains("WRONG")).map_or(lines.len(), |line| line + 1);
    let end = lines[wrong.saturating_sub(LINES)..wrong].join("\n");
    let command = format!("DONJON_SEED={seed} cargo nextest run -p donjon-simulation replay --no-capture");
    format!("{end}\n{}\nthe whole of it: {command}", run.wrong.unwrap_or_default())
}

const SEEDS: u64 = 4_000;
const LINES: usize = 40;
