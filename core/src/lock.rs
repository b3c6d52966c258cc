//! Lock: who in this process holds which named lock, and until when.
//!
//! Owns holders, their time, fence numbers, and those who wait. Must not know what a lock guards; reads no clock: `now`
//! is passed in. Wakers are foreign code: they are woken and dropped after unlocking.
//! Invariants: a name has one holder at most. Fences rise with every grant, over all names and for the life of the table,
//! so a name that was forgotten in between never gets a lower one. Only who waits for a holder waits; a lock that is free
//! takes no memory.
//!
//! A lock that ends by time is safe only while its holder ends in time too: one that was paused may come back after
//! another took over. What must be exclusive checks the fence: it refuses a number lower than one it has seen.

mod pace;

use alloc::collections::BinaryHeap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::task::Waker;

use crate::expiry::Ttl;
use crate::key::Key;
use crate::moment::Moment;
use crate::sorted::Sorted;
use crate::sync::Mutex;
use crate::waiters::{WaiterId, Waiters};

pub use pace::{LOOK_AGAIN, Pace};

/// The locks of one process. A name is limited as a key is.
///
/// A lock is never re-entrant: who holds it and asks again is told that it is held. To find a lock costs
/// O(log n) of those held, to take or free it a microsecond for each thousand of them, and no call waits.
///
/// # Examples
///
/// ```
/// use donjon_core::expiry::Ttl;
/// use donjon_core::key::Key;
/// use donjon_core::lock::{Held, Locks};
/// use donjon_core::moment::Moment;
///
/// let locks = Locks::default();
/// let (name, ttl, now) = (Key::new("ingestion:file:123")?, Ttl::from_secs(300.0)?, Moment::from_millis(0));
/// let mine = locks.acquire(name, ttl, now)?;
/// assert_eq!(locks.acquire(name, ttl, now), Err(Held { until: Moment::from_millis(300_000) }));
/// assert!(locks.release(name, mine.token, now));
/// assert!(locks.acquire(name, ttl, now)?.fence > mine.fence);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Locks {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    held: Sorted<Arc<str>, Lock>,
    /// The first end first. Each lock that has an end is listed by it; and there may be others, of locks that were given back or
    /// renewed since, but not more than there are locks.
    ends: BinaryHeap<Reverse<(Moment, Arc<str>)>>,
    /// How many grants there were.
    grants: u64,
}

#[derive(Debug)]
struct Lock {
    name: Arc<str>,
    token: Token,
    until: Moment,
    /// Who waits for this grant to end.
    waiters: Waiters,
}

/// What shows that one holds a lock. No two grants of a table have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(u64);

impl Token {
    /// The token that [`as_u64`](Self::as_u64) was taken from: for a host that keeps it as a number.
    pub const fn from_u64(number: u64) -> Self {
        Self(number)
    }

    /// The token as a number.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

/// A lock that was got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Needed to renew and to release it.
    pub token: Token,
    /// Higher than any fence granted before, of this name or another.
    pub fence: u64,
}

/// Why a lock was not got: another holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the lock is held by another; wait for it, or do without")]
pub struct Held {
    /// When the holder's time is over, unless it renews or releases the lock before.
    pub until: Moment,
}

/// A place among those who wait for a lock. To be given back by [`Locks::leave`], or woken.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// When the holder's time is over: nobody wakes the waiter then, it looks again itself.
    pub until: Moment,
    name: Arc<str>,
    holder: Token,
    id: WaiterId,
}

impl Locks {
    /// Takes the lock for `ttl`, if it is free or its holder's time is over.
    ///
    /// # Errors
    ///
    /// [`Held`] where another holds it, or the caller itself.
    pub fn acquire(&self, name: Key<'_>, ttl: Ttl, now: Moment) -> Result<Granted, Held> {
        let mut table = self.table.lock();
        let wakers = table.forget_ended(name.as_str(), now);
        let granted = table.grant(name.as_str(), end(ttl, now));
        drop(table);
        wakers.into_iter().for_each(Waker::wake);
        granted
    }

    /// Holds the lock for `ttl` from `now`, whatever was left of it. False where it was lost: its time was over, or another
    /// holds it.
    pub fn renew(&self, name: Key<'_>, token: Token, ttl: Ttl, now: Moment) -> bool {
        let table = &mut *self.table.lock();
        match table.held.get_mut(name.as_str()) {
            Some(lock) if lock.token == token && !is_over(lock.until, now) => {
                lock.until = end(ttl, now);
                let (until, name) = (lock.until, Arc::clone(&lock.name));
                table.list(until, name);
                true
            }
            _ => false,
        }
    }

    /// Frees the lock and wakes those who wait for it. False where it was lost: its time was over, or another holds it,
    /// whose lock stays as it is.
    pub fn release(&self, name: Key<'_>, token: Token, now: Moment) -> bool {
        let mut table = self.table.lock();
        if table.held.get(name.as_str()).is_none_or(|lock| lock.token != token) {
            return false;
        }
        let freed = table.held.remove(name.as_str());
        table.tidy();
        drop(table);
        freed.is_some_and(|mut lock| {
            lock.waiters.take().into_iter().for_each(Waker::wake);
            !is_over(lock.until, now)
        })
    }

    /// Has `waker` woken when the holder releases the lock. None, and nothing is woken, where the lock is free now.
    ///
    /// All who wait are woken together, and the first to ask gets the lock. Who is woken, or finds `until` past, asks anew.
    pub fn wait(&self, name: Key<'_>, waker: Waker, now: Moment) -> Option<Waiting> {
        // Where this ends early the table is unlocked first, then the waker dropped: locals go before arguments.
        let mut table = self.table.lock();
        let lock = table.held.get_mut(name.as_str()).filter(|lock| !is_over(lock.until, now))?;
        let id = lock.waiters.add(waker);
        Some(Waiting { until: lock.until, name: Arc::clone(&lock.name), holder: lock.token, id })
    }

    /// Gives the place up: its waker is not woken any more. Harmless where it was woken already.
    pub fn leave(&self, waiting: &Waiting) {
        let left = match self.table.lock().held.get_mut(&*waiting.name) {
            Some(lock) if lock.token == waiting.holder => lock.waiters.remove(waiting.id),
            _ => None,
        };
        drop(left);
    }

    /// Recounts everything, for tests.
    ///
    /// # Panics
    ///
    /// Where an invariant does not hold.
    pub fn validate(&self) {
        let table = self.table.lock();
        for lock in table.held.values().filter(|lock| lock.until != Moment::NEVER) {
            let listed = table.ends.iter().any(|Reverse((until, name))| (*until, name) == (lock.until, &lock.name));
            assert!(listed, "{} is listed by its end", lock.name);
        }
        assert!(table.ends.len() <= 2 * table.held.len() + SPARE, "what is listed in vain is forgotten");
        let mut tokens: Vec<_> = table.held.values().map(|lock| lock.token).collect();
        tokens.sort_unstable();
        tokens.dedup();
        assert_eq!(tokens.len(), table.held.len(), "no two grants have the same token");
        assert!(tokens.last().is_none_or(|token| token.0 <= table.grants), "grants are counted");
    }
}

impl Table {
    fn grant(&mut self, name: &str, until: Moment) -> Result<Granted, Held> {
        if let Some(lock) = self.held.get(name) {
            return Err(Held { until: lock.until });
        }
        self.grants += 1;
        let (name, token) = (Arc::<str>::from(name), Token(self.grants));
        let lock = Lock { name: Arc::clone(&name), token, until, waiters: Waiters::default() };
        self.held.insert(Arc::clone(&name), lock);
        self.list(until, name);
        Ok(Granted { token, fence: self.grants })
    }

    /// Forgets `name` if its time is over, and up to two others, and gives the wakers of those who waited.
    ///
    /// Holders that never came back would be kept for ever. With two a call, they leave faster than calls can bring new
    /// ones, and no call has much to do.
    fn forget_ended(&mut self, name: &str, now: Moment) -> Vec<Waker> {
        let mut wakers = Vec::new();
        let mut others = 0;
        while others < 2 && self.ends.peek().is_some_and(|Reverse((until, _))| is_over(*until, now)) {
            let Some(Reverse((_, name))) = self.ends.pop() else { break };
            others += u32::from(self.forget_over(&name, now, &mut wakers));
        }
        self.forget_over(name, now, &mut wakers);
        self.tidy();
        wakers
    }

    fn forget_over(&mut self, name: &str, now: Moment, wakers: &mut Vec<Waker>) -> bool {
        let over = self.held.get(name).is_some_and(|lock| is_over(lock.until, now));
        if let Some(mut lock) = over.then(|| self.held.remove(name)).flatten() {
            wakers.extend(lock.waiters.take());
        }
        over
    }

    /// Lists the lock `name` by its end.
    fn list(&mut self, until: Moment, name: Arc<str>) {
        if until != Moment::NEVER {
            self.ends.push(Reverse((until, name)));
        }
        self.tidy();
    }

    /// Forgets what is listed in vain once that is more than half.
    fn tidy(&mut self) {
        if self.ends.len() > 2 * self.held.len() + SPARE {
            let ends = self.held.values().filter(|lock| lock.until != Moment::NEVER);
            self.ends = ends.map(|lock| Reverse((lock.until, Arc::clone(&lock.name)))).collect();
        }
    }
}

/// So many may be listed in vain, however few there are.
const SPARE: usize = 8;

fn end(ttl: Ttl, now: Moment) -> Moment {
    ttl.as_duration().map_or(Moment::NEVER, |ttl| now.after(ttl))
}

fn is_over(until: Moment, now: Moment) -> bool {
    until <= now && until != Moment::NEVER
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use proptest::prelude::*;

    use super::*;

    /// Counts, and looks into the table each time it is woken or dropped: which hangs under the table's lock.
    #[derive(Default)]
    struct Bell {
        rung: AtomicUsize,
        locks: Arc<Locks>,
    }

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.locks.validate();
            self.rung.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Drop for Bell {
        fn drop(&mut self) {
            self.locks.validate();
        }
    }

    fn bell(locks: &Arc<Locks>) -> (Arc<Bell>, Waker) {
        let bell = Arc::new(Bell { rung: AtomicUsize::new(0), locks: Arc::clone(locks) });
        (Arc::clone(&bell), bell.into())
    }

    fn rung(bell: &Bell) -> usize {
        bell.rung.load(Ordering::Relaxed)
    }

    fn key(name: &str) -> Key<'_> {
        Key::new(name).expect("it is short")
    }

    fn at(millis: u64) -> Moment {
        Moment::from_millis(millis)
    }

    fn ttl(millis: u64) -> Ttl {
        Ttl::from_millis(millis as f64).expect("it is in range")
    }

    const A: &str = "a";

    #[test]
    fn a_lock_that_is_held_is_refused_even_to_its_holder() {
        let locks = Locks::default();
        locks.acquire(key(A), ttl(10), at(0)).expect("it is free");
        assert_eq!(locks.acquire(key(A), ttl(10), at(9)), Err(Held { until: at(10) }));
        assert!(locks.acquire(key("b"), ttl(10), at(9)).is_ok(), "another name is another lock");
    }

    #[test]
    fn a_lock_is_taken_over_once_its_time_is_over() {
        let locks = Locks::default();
        let first = locks.acquire(key(A), ttl(10), at(0)).expect("it is free");
        let second = locks.acquire(key(A), ttl(10), at(10)).expect("its time is over");
        assert!(second.fence > first.fence);
        assert!(!locks.renew(key(A), first.token, ttl(10), at(11)));
        assert!(!locks.release(key(A), first.token, at(11)));
        assert_eq!(
            locks.acquire(key(A), ttl(10), at(11)),
            Err(Held { until: at(20) }),
            "the new holder's is untouched"
        );
    }

    #[test]
    fn a_holder_whose_time_is_over_has_lost_the_lock_though_nobody_took_it() {
        let locks = Locks::default();
        let lost = locks.acquire(key(A), ttl(10), at(0)).expect("it is free");
        assert!(!locks.renew(key(A), lost.token, ttl(10), at(10)));
        assert!(!locks.release(key(A), lost.token, at(10)));
    }

    #[test]
    fn locks_renewed_and_given_back_many_times_leave_no_list_of_ends_behind() {
        let locks = Locks::default();
        let mine = locks.acquire(key(A), ttl(1_000), at(0)).expect("it is free");
        for now in 0..1_000 {
            assert!(locks.renew(key(A), mine.token, ttl(1_000 + now % 2), at(now / 2)));
            locks.validate();
            let other = locks.acquire(key("b"), ttl(1_000), at(now)).expect("it is free");
            assert!(locks.release(key("b"), other.token, at(now)));
            locks.validate();
        }
        assert!(locks.table.lock().ends.len() <= 2 + SPARE);
    }

    #[test]
    fn a_lock_is_released_once_and_by_its_holder_alone() {
        let locks = Locks::default();
        let mine = locks.acquire(key(A), ttl(10), at(0)).expect("it is free");
        let other = locks.acquire(key("b"), ttl(10), at(0)).expect("it is free");
        assert!(!locks.release(key(A), other.token, at(1)));
        assert!(locks.release(key(A), mine.token, at(1)));
        assert!(!locks.release(key(A), mine.token, at(1)));
        let again = locks.acquire(key(A), ttl(10), at(1)).expect("it is free");
        assert!(!locks.release(key(A), mine.token, at(1)));
        assert!(locks.renew(key(A), again.token, ttl(10), at(1)));
    }

    #[test]
    fn a_renewal_counts_from_now_and_may_also_shorten() {
        let locks = Locks::default();
        let mine = locks.acquire(key(A), ttl(10), at(0)).expect("it is free");
        for (millis, now, until) in [(10, 9, 19), (100, 10, 110), (5, 11, 16)] {
            assert!(locks.renew(key(A), mine.token, ttl(millis), at(now)));
            assert_eq!(locks.acquire(key(A), ttl(10), at(now)), Err(Held { until: at(until) }));
            locks.validate();
        }
        assert!(locks.acquire(key(A), ttl(10), at(16)).is_ok());
    }

    #[test]
    fn a_lock_without_end_is_held_until_it_is_released() {
        let locks = Locks::default();
        let mine = locks.acquire(key(A), Ttl::FOREVER, at(0)).expect("it is free");
        assert_eq!(locks.acquire(key(A), ttl(1), Moment::NEVER), Err(Held { until: Moment::NEVER }));
        assert!(locks.release(key(A), mine.token, at(u64::MAX)));
    }

    #[test]
    fn all_who_wait_are_woken_when_the_lock_is_released() {
        let locks = Arc::new(Locks::default());
        let mine = locks.acquire(key(A), ttl(10), at(0)).expect("it is free");
        let bells = [bell(&locks), bell(&locks)];
        for (_, waker) in &bells {
            let waiting = locks.wait(key(A), waker.clone(), at(1)).expect("it is held");
            assert_eq!(waiting.until, at(10));
        }
        assert!(!locks.release(key(A), Token::from_u64(99), at(2)));
        assert_eq!(bells.each_ref().map(|(bell, _)| rung(bell)), [0, 0], "somebody else's release frees nothing");
        assert!(locks.release(key(A), mine.token, at(2)));
        assert_eq!(bells.each_ref().map(|(bell, _)| rung(bell)), [1, 1]);
    }

    #[test]
    fn nobody_waits_for_a_lock_that_is_free() {
        let locks = Arc::new(Locks::default());
        let (alarm, waker) = bell(&locks);
        drop(alarm);
        assert!(locks.wait(key(A), waker, at(0)).is_none(), "and the waker is dropped with the table unlocked");
        locks.acquire(key(A), ttl(10), at(0)).expect("it is free");
        assert!(locks.wait(key(A), Waker::noop().clone(), at(10)).is_none(), "its time is over");
    }

    #[test]
    fn who_left_is_not_woken_and_takes_nobody_with_him() {
        let locks = Arc::new(Locks::default());
        let mine = locks.acquire(key(A), ttl(10), at(0)).expect("it is free");
        let ((gone, gone_waker), (stays, stays_waker)) = (bell(&locks), bell(&locks));
        let place = locks.wait(key(A), gone_waker, at(1)).expect("it is held");
        locks.leave(&place);
        assert_eq!(Arc::strong_count(&gone), 1, "his waker is gone too");
        assert!(locks.release(key(A), mine.token, at(2)));
        let mine = locks.acquire(key(A), ttl(10), at(3)).expect("it is free");
        locks.wait(key(A), stays_waker, at(3)).expect("it is held");
        locks.leave(&place);
        assert!(locks.release(key(A), mine.token, at(4)));
        assert_eq!((rung(&gone), rung(&stays)), (0, 1));
    }

    #[test]
    fn those_who_wait_for_a_holder_that_never_came_back_are_woken_when_it_is_forgotten() {
        let locks = Arc::new(Locks::default());
        locks.acquire(key(A), ttl(10), at(0)).expect("it is free");
        let (bell, waker) = bell(&locks);
        locks.wait(key(A), waker, at(1)).expect("it is held");
        locks.acquire(key("b"), ttl(10), at(10)).expect("it is free");
        assert_eq!(rung(&bell), 1);
    }

    #[test]
    fn holders_that_never_came_back_are_forgotten_and_fences_still_rise() {
        let locks = Locks::default();
        let mut last = 0;
        for number in 0..10_000 {
            let granted = locks.acquire(key(&format!("lock {number}")), ttl(5), at(number)).expect("it is free");
            assert!(granted.fence > last);
            last = granted.fence;
            assert!(locks.table.lock().held.len() <= 10);
        }
        locks.validate();
        let again = locks.acquire(key("lock 0"), ttl(5), at(20_000)).expect("it is free");
        assert!(again.fence > last, "a name that was forgotten does not begin anew");
    }

    #[derive(Clone, Debug)]
    enum Step {
        Acquire(usize, u64),
        Renew(usize, usize, u64),
        Release(usize, usize),
        Pass(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let (name, grant, millis) = (0usize..3, 0usize..40, 1u64..20);
        prop_oneof![
            (name.clone(), millis.clone()).prop_map(|(name, millis)| Step::Acquire(name, millis)),
            (name.clone(), grant.clone(), millis).prop_map(|(name, grant, millis)| Step::Renew(name, grant, millis)),
            (name, grant).prop_map(|(name, grant)| Step::Release(name, grant)),
            (1u64..15).prop_map(Step::Pass),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn locks_do_what_a_map_of_holders_does(steps in prop::collection::vec(step(), 0..80)) {
            let locks = Arc::new(Locks::default());
            let names = ["a", "b", "c"];
            let mut holders: HashMap<usize, (Token, Moment)> = HashMap::new();
            let mut granted = vec![Granted { token: Token(0), fence: 0 }];
            let mut now = at(0);
            for step in steps {
                match step {
                    Step::Pass(millis) => now = at(now.as_nanos() / 1_000_000 + millis),
                    Step::Acquire(name, millis) => {
                        let until = at(now.as_nanos() / 1_000_000 + millis);
                        match locks.acquire(key(names[name]), ttl(millis), now) {
                            Ok(grant) => {
                                prop_assert!(holders.get(&name).is_none_or(|(_, until)| *until <= now));
                                prop_assert!(granted.iter().all(|old| old.fence < grant.fence && old.token != grant.token));
                                granted.push(grant);
                                holders.insert(name, (grant.token, until));
                            }
                            Err(held) => prop_assert!(holders[&name].1 == held.until && held.until > now),
                        }
                    }
                    Step::Renew(name, grant, millis) => {
                        let token = granted[grant % granted.len()].token;
                        let until = at(now.as_nanos() / 1_000_000 + millis);
                        let held = holders.get(&name).is_some_and(|holder| holder.0 == token && holder.1 > now);
                        prop_assert_eq!(locks.renew(key(names[name]), token, ttl(millis), now), held);
                        if held {
                            holders.insert(name, (token, until));
                        }
                    }
                    Step::Release(name, grant) => {
                        let token = granted[grant % granted.len()].token;
                        let held = holders.get(&name).is_some_and(|holder| holder.0 == token && holder.1 > now);
                        let (bell, waker) = bell(&locks);
                        let waits = locks.wait(key(names[name]), waker, now).is_some();
                        prop_assert_eq!(locks.release(key(names[name]), token, now), held);
                        prop_assert_eq!(rung(&bell), usize::from(held && waits));
                        if held {
                            holders.remove(&name);
                        }
                    }
                }
                locks.validate();
            }
        }
    }
}
