//! Speed: what a call takes, all caches in turn within each round, so that a busy machine treats them alike.
//!
//! Keys of 20 bytes, values of 120, asked for by Zipf's law of exponent 1. Time is that of the processor, not of the clock on the wall:
//! what else runs on the machine takes its caches, but not its time from what is measured. Each figure is the median of its rounds; `x`
//! is a figure divided by donjon's of the same round, as a median, too.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::stores::{ALL, Store, Value};

const KEYS: usize = 1_000_000;
const ROOM: usize = KEYS / 10;
const CALLS: usize = 1_000_000;

type Measure = fn(&dyn Store, &Work) -> f64;

/// What is asked for, made once.
struct Work {
    keys: Vec<String>,
    /// Of those that fit, and of all.
    resident: Vec<u32>,
    any: Vec<u32>,
    value: Value,
}

/// Times all and prints a table each.
pub fn run(rounds: usize) {
    let keys: Vec<String> = (0..2 * KEYS).map(|n| format!("user:profile:{n:07}")).collect();
    let work = Work { keys, resident: zipf(ROOM, CALLS), any: zipf(KEYS, CALLS), value: vec![b'v'; 120].into() };
    let tables: [(&str, &str, Measure); 5] = [
        ("a hit, one thread", "ns", |store, work| hit(store, work, 1)),
        ("a hit, two threads", "ns", |store, work| hit(store, work, 2)),
        ("95 % reads that fill what they miss, 5 % writes, two threads", "ns", mixed),
        ("a new key into a full cache, one thread", "ns", insert),
        ("the longest of a million insertions into an empty cache", "µs", growth),
    ];
    for (title, unit, measure) in tables {
        // The last is slow and of one size.
        let (room, rounds) = if title.starts_with("the longest") { (KEYS, rounds.min(3)) } else { (ROOM, rounds) };
        let mut figures = vec![Vec::new(); ALL.len()];
        for _ in 0..rounds {
            for (figures, (_, make)) in figures.iter_mut().zip(ALL) {
                figures.push(measure(&*make(room), &work));
            }
        }
        table(title, unit, &figures);
    }
    sweeps(&work, rounds.min(3));
}

fn table(title: &str, unit: &str, figures: &[Vec<f64>]) {
    println!(
        "{title}: {unit}, median of {} (least to most)\n\n| cache | {unit} | x donjon |\n|---|--:|--:|",
        figures[0].len()
    );
    for ((name, _), own) in ALL.iter().zip(figures) {
        let sorted = sorted(own);
        let times = sorted_median(own.iter().zip(&figures[0]).map(|(own, donjon)| own / donjon));
        println!(
            "| {name} | {:.1} ({:.1} to {:.1}) | {times:.2} |",
            median(&sorted),
            sorted[0],
            sorted[sorted.len() - 1]
        );
    }
    println!();
}

fn hit(store: &dyn Store, work: &Work, threads: usize) -> f64 {
    work.keys[..ROOM * 9 / 10].iter().for_each(|key| store.insert(key, work.value.clone()));
    store.settle();
    let present: Vec<u32> =
        work.resident.iter().copied().filter(|&key| store.get(&work.keys[key as usize]).is_some()).collect();
    together(threads, |thread| {
        for &key in present.iter().skip(thread * CALLS / 4).take(CALLS / 4) {
            black_box(store.get(&work.keys[key as usize]));
        }
    }) / (threads * CALLS / 4) as f64
}

fn mixed(store: &dyn Store, work: &Work) -> f64 {
    let call = |at: usize| {
        let key = &work.keys[work.any[at] as usize];
        if at % 20 == 0 || store.get(key).is_none() {
            store.insert(key, work.value.clone());
        }
    };
    (0..CALLS / 2).for_each(call);
    together(2, |thread| {
        let from = CALLS / 2 + thread * CALLS / 4;
        (from..from + CALLS / 4).for_each(call);
    }) / (CALLS / 2) as f64
}

fn insert(store: &dyn Store, work: &Work) -> f64 {
    work.keys[..ROOM].iter().for_each(|key| store.insert(key, work.value.clone()));
    store.settle();
    let new = &work.keys[KEYS..KEYS + CALLS / 4];
    together(1, |_| {
        new.iter().for_each(|key| store.insert(key, work.value.clone()));
        store.settle();
    }) / new.len() as f64
}

fn growth(store: &dyn Store, work: &Work) -> f64 {
    let mut longest = Duration::ZERO;
    for key in &work.keys[..KEYS] {
        let value = work.value.clone();
        let from = processor_time();
        store.insert(key, value);
        longest = longest.max(processor_time() - from);
    }
    longest.as_nanos() as f64 / 1_000.0
}

/// A thousand of a million keys are invalidated by their beginning, while another thread reads.
fn sweeps(work: &Work, rounds: usize) {
    println!(
        "1,000 of 1,000,000 by the beginning of their keys: processor time; and the longest that another thread waited for a read, by the \
         clock on the wall: median of {rounds}\n"
    );
    println!("| cache | ms | longest read, ms |\n|---|--:|--:|");
    for (name, make) in ALL {
        let (mut took, mut longest) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            let store = make(KEYS * 11 / 10);
            work.keys[..KEYS].iter().for_each(|key| store.insert(key, work.value.clone()));
            store.settle();
            let done = AtomicBool::new(false);
            let store = &*store;
            let read = || {
                let mut longest = Duration::ZERO;
                for &key in work.any.iter().cycle().take_while(|_| !done.load(Ordering::Relaxed)) {
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

/// Nanoseconds of processor time that the threads took for their work, together.
fn together(threads: usize, work: impl Fn(usize) + Sync) -> f64 {
    let start = std::sync::Barrier::new(threads);
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads)
            .map(|thread| {
                let (start, work) = (&start, &work);
                scope.spawn(move || {
                    start.wait();
                    let from = processor_time();
                    work(thread);
                    processor_time() - from
                })
            })
            .collect();
        all.into_iter().map(|thread| thread.join().expect("it does not panic")).sum::<Duration>().as_nanos() as f64
    })
}

/// What this thread has had of a processor so far.
pub fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Numbers below `keys` by Zipf's law of exponent 1, the same each time.
fn zipf(keys: usize, calls: usize) -> Vec<u32> {
    let mut sum = 0.0;
    let shares: Vec<f64> = (1..=keys)
        .map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        })
        .collect();
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    (0..calls)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let at = (state >> 11) as f64 / (1_u64 << 53) as f64 * sum;
            // Popular keys lie anywhere, not side by side as they were made.
            (shares.partition_point(|&share| share < at) * 7_919 % keys) as u32
        })
        .collect()
}

fn sorted(figures: &[f64]) -> Vec<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

fn median(sorted: &[f64]) -> f64 {
    sorted[sorted.len() / 2]
}

pub fn sorted_median(figures: impl IntoIterator<Item = f64>) -> f64 {
    median(&sorted(&figures.into_iter().collect::<Vec<_>>()))
}
