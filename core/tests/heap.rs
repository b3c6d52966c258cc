//! The bound of bytes beside what is asked of the allocator, whatever was there before.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::time::Duration;

use donjon_core::cache::{Cache, Config, Fill, Tags};
use donjon_core::chance::Seed;
use donjon_core::entry::Life;
use donjon_core::key::Key;
use donjon_core::moment::Moment;
use donjon_core::pattern::Pattern;

/// Counts what is asked for and not given back.
struct Counting;

static HELD: AtomicIsize = AtomicIsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[expect(unsafe_code, reason = "an allocator is told of by unsafe calls alone; these pass on what they are given")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size().cast_signed(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size().cast_signed(), Ordering::Relaxed);
        unsafe { System.dealloc(at, layout) }
    }
}

const START: Moment = Moment::from_millis(1_000);
/// The counts that each `Arc` has before its bytes.
const COUNTS: usize = 16;

struct Store {
    cache: Cache<Arc<[u8]>, ()>,
    max_bytes: u64,
    before: isize,
    next: usize,
    now: Moment,
}

impl Store {
    fn of(max_bytes: u64) -> Self {
        let before = HELD.load(Ordering::Relaxed);
        let cache = Cache::new(&Config { max_bytes, ..Config::default() }, Seed(0x5eed));
        Self { cache, max_bytes, before, next: 0, now: START }
    }

    /// What is held, in percent of the bound.
    fn held(&self) -> f64 {
        (HELD.load(Ordering::Relaxed) - self.before) as f64 * 100.0 / self.max_bytes as f64
    }

    /// Stores new values until as many bytes have come as the bound has, so many times.
    fn fill(&mut self, bytes: usize, times: u64, tags: &[&str]) {
        let steps = times * self.max_bytes / (bytes as u64 + 150);
        let life = Life::new(self.now.after(Duration::from_secs(60)), self.now.after(Duration::from_secs(60)));
        for step in 0..steps {
            self.next += 1;
            let key = format!("{}:{}", ["user", "a-name-that-is-too-long-for-a-row"][self.next % 2], self.next);
            let tags = if tags.is_empty() { Tags::default() } else { self.cache.tags(tags).expect("they are tags") };
            let fill = Fill { life, bytes: (bytes + COUNTS) as u64, tags };
            self.cache.set(Key::new(&key).expect("it is a key"), vec![7; bytes].into(), fill, self.now);
            // Some are used.
            let used = format!("user:{}", self.next / 7 * 6);
            let _any = self.cache.get(Key::new(&used).expect("it is a key"), self.now);
            if step % 1_000 == 0 || bytes > 10_000 {
                assert!(self.held() < 110.0, "{:.1} % of the bound, in values of {bytes}", self.held());
            }
        }
        self.cache.validate();
        assert!(self.held() > 80.0, "only {:.1} % of the bound, full of values of {bytes}", self.held());
    }
}

#[test]
fn what_is_held_is_within_a_tenth_of_the_bound_whatever_comes_after_what() {
    for max_bytes in [4 << 20, 16 << 20] {
        let mut store = Store::of(max_bytes);
        for bytes in [10, 30_000, 10, 300, 30_000, 3_000, 100_000, 1] {
            store.fill(bytes, 2, &[]);
        }
        store.fill(20, 2, &["one", "another"]);

        let half = Pattern::new("user:*").expect("it is a pattern");
        drop(store.cache.invalidate_pattern(&half, store.now));
        store.fill(20_000, 2, &[]);
        store.fill(50, 2, &[]);

        store.now = store.now.after(Duration::from_secs(61));
        while store.cache.expire(1_000, store.now) {}
        assert!(store.held() < 10.0, "{:.1} % after all expired", store.held());
        store.fill(500, 2, &[]);
        drop(store.cache.clear(store.now));
        assert!(store.held() < 10.0, "{:.1} % after all was cleared", store.held());
    }
}
