//! Speed: what a call takes.
//!
//! Keys of 20 bytes, values of 120, asked for by Zipf's law of exponent 1. One thread is timed by the processor time it takes: what else
//! runs on the machine takes its caches, but not its time. Two are timed on the wall, as one that sleeps until the other lets go of a lock
//! takes no processor time and gets no further, and each is bound to a processor: left alone they often run in turn on one, where neither
//! gets in the other's way.
//!
//! Each figure is of a process of its own, in turn within each round: so a busy machine treats all alike, and none gets the memory as
//! another left it. Where functions lie in memory changes what the same code takes by a quarter and more, which no number of rounds of one
//! program shows (C. Curtsinger, E. Berger, "STABILIZER: Statistically Sound Performance Evaluation", ASPLOS 2013); so figures of several
//! programs, in which they lie elsewhere, make one table. Each is the median of all; `x` is a figure divided by donjon's of the same round,
//! as a median, too.

use std::collections::HashMap;
use std::hint::black_box;
use std::io::BufRead;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::stores::{ALL, Store, Value};

pub const KEYS: usize = 1_000_000;
const ROOM: usize = KEYS / 10;
const CALLS: usize = 1_000_000;

/// A call that is timed.
struct Timed {
    name: &'static str,
    title: &'static str,
    /// How many values the caches have room for.
    room: usize,
    measure: fn(&dyn Store, &Work) -> f64,
}

const TIMED: [Timed; 5] = [
    Timed { name: "hit", title: "a hit, one thread", room: ROOM, measure: |store, work| hit(store, work, 1) },
    Timed { name: "hits", title: "a hit, two threads", room: ROOM, measure: |store, work| hit(store, work, 2) },
    Timed {
        name: "mix",
        title: "95 % reads that fill what they miss, 5 % writes, two threads",
        room: ROOM,
        measure: mixed,
    },
    Timed { name: "insertion", title: "a new key into a full cache, one thread", room: ROOM, measure: insert },
    Timed {
        name: "growth",
        title: "the longest of a million insertions into an empty cache",
        room: KEYS,
        measure: growth,
    },
];

/// What calls are made with.
pub struct Work {
    pub keys: Vec<String>,
    pub value: Value,
}

impl Work {
    pub fn new() -> Self {
        let keys = (0..2 * KEYS).map(|n| format!("user:profile:{n:07}")).collect();
        Self { keys, value: vec![b'v'; 120].into() }
    }

    /// Which keys are asked for, of the first so many.
    pub fn asked(&self, keys: usize) -> Vec<u32> {
        zipf(keys, CALLS)
    }
}

/// Measures all in turn and prints a line for each figure, for [`tables`].
pub fn figures(rounds: usize) -> Result<(), String> {
    let own = std::env::current_exe().map_err(|error| format!("cannot tell which program this is: {error}"))?;
    for timed in &TIMED {
        for round in 0..rounds {
            for nth in 0..ALL.len() {
                let (cache, _) = ALL[(round + nth) % ALL.len()];
                let mut command = Command::new(&own);
                command.args(["figure", timed.name, cache]).stderr(Stdio::inherit());
                let output = command.output().map_err(|error| format!("cannot begin a process: {error}"))?;
                if !output.status.success() {
                    return Err(format!("{} of {cache} was not measured: {}", timed.name, output.status));
                }
                print!("{}\t{cache}\t{}", timed.name, String::from_utf8_lossy(&output.stdout));
            }
        }
    }
    Ok(())
}

/// Measures one call of one cache and prints nanoseconds.
pub fn figure(name: &str, cache: &str) -> Result<(), String> {
    let timed = TIMED.iter().find(|timed| timed.name == name).ok_or_else(|| format!("no call is {name}"))?;
    let (_, make) = ALL.iter().find(|(name, _)| *name == cache).ok_or_else(|| format!("no cache is {cache}"))?;
    println!("{:.1}", (timed.measure)(&*make(timed.room), &Work::new()));
    Ok(())
}

/// Makes tables of the lines that [`figures`] printed, of one program or of several.
pub fn tables(lines: impl BufRead) -> Result<(), String> {
    let mut figures: HashMap<(String, String), Vec<f64>> = HashMap::new();
    for line in lines.lines() {
        let line = line.map_err(|error| format!("cannot read: {error}"))?;
        let unlike = || format!("{line:?} is no call, cache and figure with tabs between");
        let [call, cache, figure] = *line.split('\t').collect::<Vec<_>>() else { return Err(unlike()) };
        let figure = figure.parse().map_err(|_| unlike())?;
        figures.entry((call.into(), cache.into())).or_default().push(figure);
    }
    let of = |call: &str, cache: &str| {
        figures
            .get(&(call.into(), cache.into()))
            .ok_or_else(|| format!("no figure is of {call} and {cache}: `figures` prints them all"))
    };
    for timed in &TIMED {
        let donjon = of(timed.name, ALL[0].0)?;
        println!(
            "{}: ns, median of {} (least to most)\n\n| cache | ns | x donjon |\n|---|--:|--:|",
            timed.title,
            donjon.len()
        );
        for (cache, _) in ALL {
            let own = of(timed.name, cache)?;
            let times = sorted_median(own.iter().zip(donjon).map(|(own, donjon)| own / donjon));
            let own = sorted(own);
            println!("| {cache} | {:.1} ({:.1} to {:.1}) | {times:.2} |", median(&own), own[0], own[own.len() - 1]);
        }
        println!();
    }
    Ok(())
}

fn hit(store: &dyn Store, work: &Work, threads: usize) -> f64 {
    work.keys[..ROOM * 9 / 10].iter().for_each(|key| store.insert(key, work.value.clone()));
    store.settle();
    let present: Vec<u32> =
        work.asked(ROOM).into_iter().filter(|&key| store.get(&work.keys[key as usize]).is_some()).collect();
    together(threads, |thread| {
        for &key in present.iter().skip(thread * CALLS / 4).take(CALLS / 4) {
            black_box(store.get(&work.keys[key as usize]));
        }
    }) / (threads * CALLS / 4) as f64
}

fn mixed(store: &dyn Store, work: &Work) -> f64 {
    let any = work.asked(KEYS);
    let call = |at: usize| {
        let key = &work.keys[any[at] as usize];
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
    longest.as_nanos() as f64
}

/// Nanoseconds that the threads took for their work, all added up.
fn together(threads: usize, work: impl Fn(usize) + Sync) -> f64 {
    let start = std::sync::Barrier::new(threads);
    let wall = Instant::now();
    let clock = || if threads == 1 { processor_time() } else { wall.elapsed() };
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads)
            .map(|thread| {
                let (start, work) = (&start, &work);
                scope.spawn(move || {
                    stay_on_one_processor(thread);
                    start.wait();
                    let from = clock();
                    work(thread);
                    clock() - from
                })
            })
            .collect();
        all.into_iter().map(|thread| thread.join().expect("it does not panic")).sum::<Duration>().as_nanos() as f64
    })
}

/// Binds this thread to the `nth` of the processors that it may run on, from the first again where there are fewer.
fn stay_on_one_processor(nth: usize) {
    let allowed = sched_getaffinity(None).expect("a thread may ask where it runs");
    let mut processors = (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).cycle();
    let mut one = CpuSet::new();
    one.set(processors.nth(nth).expect("it runs on one"));
    sched_setaffinity(None, &one).expect("a thread may choose among its processors");
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
