//! Collisions: what a hit takes among keys that were chosen so that their hashes are the same.
//!
//! They are the same in all bits for one seed of donjon's, and the first row is of a cache with that very seed. A host draws one, as the
//! other caches do: there these are keys like any other.

use std::hint::black_box;

use crate::speed::{processor_time, sorted_median};
use crate::stores::{ALL, Donjon, Made, Make, Store, Value};

const ROUNDS: usize = 5;
const KEYS: usize = 2_000;
const CALLS: usize = 200_000;
/// Of eight bytes that the hash multiplies by those that follow, a part of the seed is taken away: of these, nothing remains.
const STEM: &str = "ihjguvej";
const SEED: u128 = 63_303_083;

/// Times them beside ordinary keys.
pub fn run() {
    println!(
        "a hit among {KEYS} keys that collide for one seed of donjon's, one thread: ns, median of {ROUNDS}; and divided by that of \
         ordinary keys\n\n| cache | ns | x ordinary |\n|---|--:|--:|"
    );
    let known: (&str, Make) = ("donjon, with that seed", |entries| -> Made { Box::new(Donjon::new(entries, SEED)) });
    let [ordinary, colliding] = ["user:pro", STEM].map(|stem| (0..KEYS).map(|n| format!("{stem}{n:08}")).collect());
    for (name, make) in std::iter::once(known).chain(ALL) {
        let rounds = (0..ROUNDS).map(|_| {
            let colliding = hit(&*make(2 * KEYS), &colliding);
            (colliding, colliding / hit(&*make(2 * KEYS), &ordinary))
        });
        let (colliding, ratios): (Vec<f64>, Vec<f64>) = rounds.unzip();
        println!("| {name} | {:.1} | {:.2} |", sorted_median(colliding), sorted_median(ratios));
    }
    println!();
}

fn hit(store: &dyn Store, keys: &Vec<String>) -> f64 {
    let value: Value = vec![b'v'; 120].into();
    keys.iter().for_each(|key| store.insert(key, value.clone()));
    store.settle();
    let from = processor_time();
    for key in keys.iter().cycle().take(CALLS) {
        black_box(store.get(key));
    }
    (processor_time() - from).as_nanos() as f64 / CALLS as f64
}
