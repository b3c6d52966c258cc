//! Sweeps: a thousand of a million keys are invalidated by their beginning, while another thread reads.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::speed::{KEYS, Work, processor_time, sorted_median};
use crate::stores::ALL;

const ROUNDS: usize = 3;

/// Prints the table.
pub fn run() {
    let work = Work::new();
    let any = work.asked(KEYS);
    println!(
        "1,000 of 1,000,000 by the beginning of their keys: processor time; and the longest that another thread waited for a read, by the \
         clock on the wall: median of {ROUNDS}\n"
    );
    println!("| cache | ms | longest read, ms |\n|---|--:|--:|");
    for (name, make) in ALL {
        let (mut took, mut longest) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let store = make(KEYS * 11 / 10);
            work.keys[..KEYS].iter().for_each(|key| store.insert(key, work.value.clone()));
            store.settle();
            let done = AtomicBool::new(false);
            let store = &*store;
            let read = || {
                let mut longest = Duration::ZERO;
                for &key in any.iter().cycle().take_while(|_| !done.load(Ordering::Relaxed)) {
                    let from = Instant::now();
                    black_box(store.get(&work.keys[key as usize]));
                    longest = longest.max(from.elapsed());
                }
                longest
            };
            std::thread::scope(|threads| {
                let reader = threads.spawn(read);
                let from = processor_time();
                // Numbers of seven digits: a thousand have the same first four.
                if store.invalidate(&format!("user:profile:{:04}", 100 + round)) {
                    took.push((processor_time() - from).as_secs_f64() * 1_000.0);
                }
                done.store(true, Ordering::Relaxed);
                longest.push(reader.join().expect("a reader does not panic").as_secs_f64() * 1_000.0);
            });
        }
        if took.is_empty() {
            println!("| {name} | cannot | |");
        } else {
            println!("| {name} | {:.1} | {:.2} |", sorted_median(took), sorted_median(longest));
        }
    }
    println!();
}
