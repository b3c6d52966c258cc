//! Threads at the lock that a hit reads under, in every order of two of them, and in many that are drawn.
//!
//! The core's own text, on the atomics and the mutex of `shuttle`, which ends a schedule in which all wait for ever by a panic.

use std::sync::Arc;

use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{DfsScheduler, RandomScheduler, Scheduler};
use shuttle::sync::atomic::{AtomicUsize, Ordering};
use shuttle::{Runner, thread};

use sync::lock::RwLock;

#[path = "../../../../core/src/sync"]
mod sync {
    pub use shuttle::sync::atomic::{AtomicU64, Ordering};

    pub mod bell;
    pub mod lock;
}

/// What a thread does at the lock.
#[derive(Clone, Copy, Debug)]
enum Act {
    Read,
    Count,
    Write,
}

use Act::{Count, Read, Write};

/// What is locked, and who is inside.
#[derive(Default)]
struct Inside {
    readers: AtomicUsize,
    writers: AtomicUsize,
}

impl Act {
    fn at(self, lock: &RwLock<u64>, inside: &Inside) {
        if let Write = self {
            let mut value = lock.write();
            assert_eq!(inside.writers.fetch_add(1, Ordering::SeqCst), 0, "one writes");
            assert_eq!(inside.readers.load(Ordering::SeqCst), 0, "nobody reads meanwhile");
            *value += 1;
            inside.writers.fetch_sub(1, Ordering::SeqCst);
            return;
        }
        let value = lock.read();
        inside.readers.fetch_add(1, Ordering::SeqCst);
        let seen = *value;
        assert_eq!(inside.writers.load(Ordering::SeqCst), 0, "nobody writes meanwhile");
        assert_eq!(*value, seen);
        inside.readers.fetch_sub(1, Ordering::SeqCst);
        if let Count = self { value.counted() } else { drop(value) }
    }
}

/// Each thread does what its list says; in the end all was done, nobody is inside, and all was counted.
fn play(scheduler: impl Scheduler + 'static, threads: impl Fn() -> Vec<Vec<Act>> + Send + Sync + 'static) {
    let scene = move || {
        let (lock, inside) = (Arc::new(RwLock::new(0)), Arc::new(Inside::default()));
        let acts = threads();
        let times = |which: fn(&Act) -> bool| acts.iter().flatten().filter(|act| which(act)).count() as u64;
        let (writes, counts) = (times(|act| matches!(act, Write)), times(|act| matches!(act, Count)));
        let running: Vec<_> = acts
            .into_iter()
            .map(|acts| {
                let (lock, inside) = (Arc::clone(&lock), Arc::clone(&inside));
                thread::spawn(move || acts.into_iter().for_each(|act| act.at(&lock, &inside)))
            })
            .collect();
        for thread in running {
            thread.join().expect("it does not panic");
        }
        assert_eq!(*lock.write(), writes);
        assert_eq!(lock.counted(), counts);
        lock.reset_counted();
        assert_eq!(lock.counted(), 0);
    };
    Runner::new(scheduler, shuttle::Config::new()).run(scene);
}

/// Two threads, in every order there is, or the first so many.
fn in_every_order(acts: [&'static [Act]; 2]) {
    play(DfsScheduler::new(Some(200_000), false), move || acts.map(<[Act]>::to_vec).to_vec());
}

#[test]
fn a_writer_meets_a_reader() {
    in_every_order([&[Write], &[Count]]);
}

#[test]
fn two_writers_meet() {
    in_every_order([&[Write], &[Write]]);
}

#[test]
fn a_writer_meets_one_who_reads_and_writes() {
    in_every_order([&[Write], &[Read, Write]]);
}

#[test]
fn three_threads_meet_in_orders_that_are_drawn() {
    play(RandomScheduler::new_from_seed(0x5eed, 20_000), || {
        let act = || [Read, Count, Write][thread_rng().gen_range(0..3)];
        (0..3).map(|_| (0..3).map(|_| act()).collect()).collect()
    });
}
