//! Memory: what a million entries of each cache ask of the allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering};

use crate::stores::ALL;

/// Counts what is asked for and not given back, once it is switched on: what is timed pays nothing for it.
pub struct Counting;

static IS_COUNTING: AtomicBool = AtomicBool::new(false);
static HELD: AtomicIsize = AtomicIsize::new(0);

#[expect(unsafe_code, reason = "an allocator is told of by unsafe calls alone; these pass on what they are given")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if IS_COUNTING.load(Ordering::Relaxed) {
            HELD.fetch_add(layout.size() as isize, Ordering::Relaxed);
        }
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        if IS_COUNTING.load(Ordering::Relaxed) {
            HELD.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        }
        unsafe { System.dealloc(at, layout) }
    }
}

const ENTRIES: usize = 1_000_000;
const KEY: usize = 20;
const VALUE: usize = 120;

/// Prints the table.
pub fn run() {
    IS_COUNTING.store(true, Ordering::Relaxed);
    println!("{ENTRIES} entries, keys of {KEY} bytes, values of {VALUE}: bytes asked of the allocator for each\n");
    println!("| cache | kept | bytes | over key and value |\n|---|--:|--:|--:|");
    for (name, make) in ALL {
        let before = HELD.load(Ordering::Relaxed);
        let store = make(ENTRIES);
        let key = |n: usize| format!("user:profile:{n:07}");
        (0..ENTRIES).for_each(|n| store.insert(&key(n), vec![b'v'; VALUE].into()));
        store.settle();
        let held = (HELD.load(Ordering::Relaxed) - before) as f64;
        let kept = (0..ENTRIES).filter(|&n| store.get(&key(n)).is_some()).count();
        let each = held / kept as f64;
        println!("| {name} | {kept} | {each:.0} | {:.0} |", each - (KEY + VALUE) as f64);
    }
}
