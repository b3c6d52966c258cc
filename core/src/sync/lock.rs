//! Lock: many read or one writes, and who reads may be counted as it leaves.
//!
//! A hit writes to memory that all threads share to come in, to go out, and to be counted. Each of these waits for all that was read before
//! it, and, where another thread was here last, for a line of memory to come over: that is what a hit costs most. Here the count stands
//! in the word that says who reads, so that one addition lets a reader out and counts it.
//!
//! The word is all there is as long as nobody has to wait. Who waits looks at it for a while, then sleeps; a writer that waits lets no
//! more readers in, so that their number falls.
//!
//! Invariant: with [`WRITER`] set the one who set it has the value alone; while readers are counted nobody changes it.

use core::cell::UnsafeCell;
use core::fmt::{self, Debug, Formatter};
use core::hint::spin_loop;
use core::mem::forget;
use core::ops::{Deref, DerefMut};

use super::bell::Bell;
use super::{AtomicU64, Ordering};

/// Somebody writes.
const WRITER: u64 = 1;
/// Somebody waits to write.
const WANTED: u64 = 1 << 1;
/// Somebody sleeps.
const ASLEEP: u64 = 1 << 2;
/// One who reads, and the room for their number.
const READER: u64 = 1 << 3;
const READERS: u64 = COUNTED - READER;
/// One who was counted.
const COUNTED: u64 = 1 << 20;
/// The count is close to the end of its room.
const FULL: u64 = 1 << 63;

/// How often somebody looks who waits, before sleeping: some microseconds.
const LOOKS: u32 = if cfg!(shuttle) { 1 } else { 100 };

/// The word first: what is read first of the value can then stand in one cache line with it.
#[repr(C)]
pub(crate) struct RwLock<T> {
    word: AtomicU64,
    value: UnsafeCell<T>,
    /// What was counted before the room in the word ended.
    counted_before: AtomicU64,
    bell: Bell,
}

// SAFETY: the word lets in many who get `&T`, which is why that has to be `Sync`, or one who gets `&mut T`, which is why it has to be `Send`.
#[expect(unsafe_code, reason = "it is a lock")]
unsafe impl<T: Send + Sync> Sync for RwLock<T> {}

/// Reads, as long as it lives.
pub(crate) struct Reading<'l, T>(&'l RwLock<T>);

/// Writes, as long as it lives.
pub(crate) struct Writing<'l, T>(&'l RwLock<T>);

impl<T> RwLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            word: AtomicU64::new(0),
            value: UnsafeCell::new(value),
            counted_before: AtomicU64::new(0),
            bell: Bell::default(),
        }
    }

    #[inline(always)]
    pub(crate) fn read(&self) -> Reading<'_, T> {
        if !self.enter() {
            self.enter_later();
        }
        Reading(self)
    }

    #[inline]
    pub(crate) fn write(&self) -> Writing<'_, T> {
        let word = self.word.load(Ordering::Relaxed);
        if word & (WRITER | WANTED | READERS) != 0 || !self.take(word) {
            self.take_later();
        }
        if word & FULL != 0 {
            self.make_room();
        }
        Writing(self)
    }

    /// How many were counted.
    pub(crate) fn counted(&self) -> u64 {
        self.counted_before.load(Ordering::Relaxed) + self.word.load(Ordering::Relaxed) / COUNTED
    }

    /// Counts from zero on. Who is counted meanwhile counts before or after.
    pub(crate) fn reset_counted(&self) {
        self.counted_before.store(0, Ordering::Relaxed);
        self.word.fetch_and(COUNTED - 1, Ordering::Relaxed);
    }

    /// Reads from now on, unless somebody writes or waits to.
    #[inline(always)]
    fn enter(&self) -> bool {
        if self.word.fetch_add(READER, Ordering::Acquire) & (WRITER | WANTED) == 0 {
            return true;
        }
        self.leave(0);
        false
    }

    #[cold]
    fn enter_later(&self) {
        loop {
            self.wait(WRITER | WANTED, 0);
            if self.enter() {
                return;
            }
        }
    }

    /// Reads no longer; `counted` is added to the word, too.
    #[inline(always)]
    fn leave(&self, counted: u64) {
        let before = self.word.fetch_add(counted.wrapping_sub(READER), Ordering::Release);
        if before & ASLEEP != 0 && before & READERS == READER {
            self.wake();
        }
    }

    /// Writes from now on, if the word is still this one.
    #[inline(always)]
    fn take(&self, word: u64) -> bool {
        let taken = word & !WANTED | WRITER;
        self.word.compare_exchange(word, taken, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    #[cold]
    fn take_later(&self) {
        loop {
            let word = self.word.load(Ordering::Relaxed);
            if word & (WRITER | READERS) == 0 {
                if self.take(word) {
                    return;
                }
            } else {
                self.wait(WRITER | READERS, WANTED);
            }
        }
    }

    /// Returns when none of the bits in `blocks` was set a moment ago, or sooner; meanwhile those of `says` are.
    fn wait(&self, blocks: u64, says: u64) {
        for _ in 0..LOOKS {
            let word = self.word.load(Ordering::Relaxed);
            if word & blocks == 0 {
                return;
            }
            // Said anew where who got in between took it back, and only then: it takes the line of memory from those who are inside.
            if word & says != says {
                self.word.fetch_or(says, Ordering::Relaxed);
            }
            spin_loop();
        }
        // Whoever leaves after this sees that somebody sleeps, and rings once that is so.
        self.bell.sleep_if(|| self.word.fetch_or(says | ASLEEP, Ordering::Relaxed) & blocks != 0);
    }

    #[cold]
    fn wake(&self) {
        self.bell.ring(|| {
            self.word.fetch_and(!ASLEEP, Ordering::Relaxed);
        });
    }

    /// Keeps elsewhere what was counted, with nobody else inside.
    #[cold]
    fn make_room(&self) {
        let counted = self.word.fetch_and(COUNTED - 1, Ordering::Relaxed) / COUNTED;
        self.counted_before.fetch_add(counted, Ordering::Relaxed);
    }
}

impl<T> Reading<'_, T> {
    /// Reads no longer, and is counted.
    #[inline(always)]
    pub(crate) fn counted(self) {
        self.0.leave(COUNTED);
        forget(self);
    }
}

impl<T> Drop for Reading<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.leave(0);
    }
}

impl<T> Drop for Writing<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        // One addition; to take a bit out and see the others takes as many tries as readers look in meanwhile.
        if self.0.word.fetch_sub(WRITER, Ordering::Release) & ASLEEP != 0 {
            self.0.wake();
        }
    }
}

impl<T> Deref for Reading<'_, T> {
    type Target = T;

    #[inline(always)]
    #[expect(unsafe_code, reason = "it is a lock")]
    fn deref(&self) -> &T {
        // SAFETY: it is counted among those who read, and nobody writes before it leaves.
        unsafe { &*self.0.value.get() }
    }
}

impl<T> Deref for Writing<'_, T> {
    type Target = T;

    #[inline(always)]
    #[expect(unsafe_code, reason = "it is a lock")]
    fn deref(&self) -> &T {
        // SAFETY: it has the value alone before it leaves.
        unsafe { &*self.0.value.get() }
    }
}

impl<T> DerefMut for Writing<'_, T> {
    #[inline(always)]
    #[expect(unsafe_code, reason = "it is a lock")]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: it has the value alone before it leaves.
        unsafe { &mut *self.0.value.get() }
    }
}

impl<T> Debug for RwLock<T> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.debug_struct("RwLock").field("counted", &self.counted()).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    use super::*;

    /// Miri takes a thousand times as long for each of them.
    const TIMES: usize = if cfg!(miri) { 20 } else { 20_000 };

    #[test]
    fn what_one_changes_nobody_sees_half_changed_and_nothing_gets_lost() {
        let lock = RwLock::new([0_usize; 4]);
        let read = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| (0..TIMES).for_each(|_| lock.write().iter_mut().for_each(|part| *part += 1)));
            }
            for _ in 0..3 {
                scope.spawn(|| {
                    for turn in 0..TIMES {
                        let parts = lock.read();
                        assert!(parts.iter().all(|part| *part == parts[0]), "{:?}", *parts);
                        read.fetch_add(1, Ordering::Relaxed);
                        if turn % 2 == 0 {
                            parts.counted();
                        }
                    }
                });
            }
        });
        assert_eq!((*lock.read(), read.into_inner()), ([3 * TIMES; 4], 3 * TIMES));
        assert_eq!(lock.counted(), (3 * TIMES / 2) as u64);
        assert_eq!(lock.word.into_inner() % COUNTED, 0, "nobody is left inside, nor asleep");
    }

    #[test]
    fn many_read_at_once() {
        let lock = RwLock::new(7);
        let inside = Barrier::new(3);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let value = lock.read();
                    inside.wait();
                    assert_eq!(*value, 7);
                });
            }
        });
    }

    #[test]
    #[cfg_attr(miri, ignore = "it says that parking_lot asks the kernel for something that it does not know")]
    fn who_waits_for_long_sleeps_and_is_woken() {
        let lock = RwLock::new(0);
        let until = |word: u64| {
            while lock.word.load(Ordering::Relaxed) != word {
                thread::yield_now();
            }
        };
        thread::scope(|scope| {
            let reading = lock.read();
            let writer = scope.spawn(|| *lock.write() = 1);
            until(READER | WANTED | ASLEEP);
            let reader = scope.spawn(|| *lock.read());
            assert_eq!(*reading, 0);
            drop(reading);
            writer.join().unwrap();
            assert_eq!(reader.join().unwrap(), 1, "a writer that waits lets no more readers in");

            let mut writing = lock.write();
            let reader = scope.spawn(|| *lock.read());
            until(WRITER | ASLEEP);
            *writing = 7;
            drop(writing);
            assert_eq!(reader.join().unwrap(), 7);
        });
        assert_eq!(lock.word.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_count_goes_on_where_its_room_ends_and_from_zero_where_it_is_set_back() {
        let lock = RwLock::new(());
        lock.word.store(FULL - COUNTED, Ordering::Relaxed);
        lock.read().counted();
        assert_eq!(lock.word.load(Ordering::Relaxed), FULL);
        let full = FULL / COUNTED;
        assert_eq!(lock.counted(), full);
        drop(lock.write());
        assert_eq!((lock.word.load(Ordering::Relaxed), lock.counted()), (0, full));
        lock.read().counted();
        assert_eq!(lock.counted(), full + 1);
        let reading = lock.read();
        lock.reset_counted();
        assert_eq!(lock.counted(), 0);
        reading.counted();
        assert_eq!((lock.word.load(Ordering::Relaxed), lock.counted()), (COUNTED, 1));
    }

    #[test]
    fn who_panics_inside_leaves() {
        let lock = RwLock::new(0);
        let panicked = thread::scope(|scope| {
            let panics = scope.spawn(|| {
                let mut value = lock.write();
                *value = 1;
                panic!("inside");
            });
            panics.join().is_err()
        });
        assert!(panicked);
        assert_eq!(*lock.read(), 1);
    }
}
