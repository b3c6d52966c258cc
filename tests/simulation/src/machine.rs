//! Machine: one thread that runs the tasks of all processes, in an order drawn from a seed, and a clock that jumps to what comes next.
//!
//! Owns time, tasks, and which process stands still. Must not know what a task does. The same seed runs the same tasks in the same
//! order.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use donjon_core::moment::Moment;

/// Whose tasks they are: a process, or the world outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner(pub u32);

/// The machine. Everything in a world shares one.
pub struct Machine {
    now: Cell<Moment>,
    counted: Cell<u64>,
    timers: RefCell<BinaryHeap<Reverse<Timer>>>,
    tasks: RefCell<BTreeMap<u64, Task>>,
    ready: Arc<Mutex<Vec<u64>>>,
    still: RefCell<BTreeSet<Owner>>,
    chance: RefCell<fastrand::Rng>,
}

struct Task {
    owner: Owner,
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    waker: Waker,
}

struct Timer {
    at: Moment,
    number: u64,
    run: Box<dyn FnOnce()>,
}

struct Bell {
    task: u64,
    ready: Arc<Mutex<Vec<u64>>>,
}

impl Machine {
    /// A machine with nothing to do.
    pub fn new(seed: u64) -> Rc<Self> {
        Rc::new(Self {
            now: Cell::new(Moment::from_millis(1_000)),
            counted: Cell::new(0),
            timers: RefCell::default(),
            tasks: RefCell::default(),
            ready: Arc::default(),
            still: RefCell::default(),
            chance: RefCell::new(fastrand::Rng::with_seed(seed)),
        })
    }

    /// What time it is.
    pub fn now(&self) -> Moment {
        self.now.get()
    }

    /// A number below this one.
    pub fn below(&self, limit: u64) -> u64 {
        self.chance.borrow_mut().u64(0..limit)
    }

    /// True once in so many times.
    pub fn once_in(&self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// A span between these two, in microseconds.
    pub fn micros(&self, from: u64, to: u64) -> Duration {
        Duration::from_micros(from + self.below(to - from))
    }

    /// 128 random bits.
    pub fn bits(&self) -> u128 {
        self.chance.borrow_mut().u128(..)
    }

    /// Runs a task, from the next turn on.
    pub fn spawn(&self, owner: Owner, future: impl Future<Output = ()> + 'static) {
        let number = self.count();
        let waker = Waker::from(Arc::new(Bell { task: number, ready: Arc::clone(&self.ready) }));
        self.tasks.borrow_mut().insert(number, Task { owner, future: Some(Box::pin(future)), waker: waker.clone() });
        waker.wake();
    }

    /// Runs something at a moment, whoever stands still.
    pub fn at(&self, at: Moment, run: impl FnOnce() + 'static) {
        let number = self.count();
        self.timers.borrow_mut().push(Reverse(Timer { at, number, run: Box::new(run) }));
    }

    /// Lets time pass.
    pub fn sleep(&self, span: Duration) -> Slot<()> {
        let slot = Slot::default();
        let told = slot.clone();
        self.at(self.now().after(span), move || told.put(()));
        slot
    }

    /// Stops the tasks of a process, as they are.
    pub fn freeze(&self, owner: Owner) {
        self.still.borrow_mut().insert(owner);
    }

    /// Lets them go on.
    pub fn thaw(&self, owner: Owner) {
        self.still.borrow_mut().remove(&owner);
    }

    /// Ends the tasks of a process in the midst of what they do.
    pub fn kill(&self, owner: Owner) {
        self.thaw(owner);
        let mut tasks = self.tasks.borrow_mut();
        let numbers: Vec<u64> =
            tasks.iter().filter(|(_, task)| task.owner == owner).map(|(number, _)| *number).collect();
        let dead: Vec<_> = numbers.iter().filter_map(|number| tasks.remove(number)).collect();
        drop(tasks);
        drop(dead);
    }

    /// Runs until this moment.
    pub fn run_until(&self, end: Moment) {
        loop {
            while let Some(number) = self.next_ready() {
                self.poll(number);
            }
            let due = self.timers.borrow().peek().is_some_and(|Reverse(timer)| timer.at <= end);
            let Some(Reverse(timer)) = due.then(|| self.timers.borrow_mut().pop()).flatten() else { break };
            self.now.set(timer.at.max(self.now.get()));
            (timer.run)();
        }
        self.now.set(end);
    }

    /// One of the tasks that could go on, drawn at random.
    fn next_ready(&self) -> Option<u64> {
        let mut ready = self.ready.lock().expect("nothing panics with the list locked");
        let (tasks, still) = (self.tasks.borrow(), self.still.borrow());
        ready.retain(|number| tasks.contains_key(number));
        if still.is_empty() {
            let count = ready.len() as u64;
            return (count > 0).then(|| ready.swap_remove(self.below(count) as usize));
        }
        let can: Vec<usize> = (0..ready.len()).filter(|&place| !still.contains(&tasks[&ready[place]].owner)).collect();
        (!can.is_empty()).then(|| ready.swap_remove(can[self.below(can.len() as u64) as usize]))
    }

    fn poll(&self, number: u64) {
        let taken =
            self.tasks.borrow_mut().get_mut(&number).and_then(|task| Some((task.future.take()?, task.waker.clone())));
        let Some((mut future, waker)) = taken else { return };
        let is_done = future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        let mut tasks = self.tasks.borrow_mut();
        if is_done {
            tasks.remove(&number);
        } else if let Some(task) = tasks.get_mut(&number) {
            task.future = Some(future);
            return;
        }
        // Of a process that was killed by its own task, or at its end: dropped with nothing borrowed.
        drop(tasks);
        drop(future);
    }

    fn count(&self) -> u64 {
        self.counted.set(self.counted.get() + 1);
        self.counted.get()
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        let mut ready = self.ready.lock().expect("nothing panics with the list locked");
        if !ready.contains(&self.task) {
            ready.push(self.task);
        }
    }
}

impl PartialEq for Timer {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Timer {}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timer {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// A place for one thing that is waited for. Clones share it; the first thing that is put there stays.
pub struct Slot<T>(Rc<RefCell<(Option<T>, Option<Waker>)>>);

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self(Rc::default())
    }
}

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T> Slot<T> {
    /// Puts something there and wakes who waits for it.
    pub fn put(&self, thing: T) {
        let mut slot = self.0.borrow_mut();
        if slot.0.is_none() {
            slot.0 = Some(thing);
        }
        if let Some(waker) = slot.1.take() {
            waker.wake();
        }
    }

    /// Whether there is something.
    pub fn is_full(&self) -> bool {
        self.0.borrow().0.is_some()
    }
}

impl<T> Future for Slot<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut slot = self.0.borrow_mut();
        let Some(thing) = slot.0.take() else {
            slot.1 = Some(context.waker().clone());
            return Poll::Pending;
        };
        Poll::Ready(thing)
    }
}

/// What `future` gives, unless `end` comes first.
pub async fn unless<F: Future + Unpin>(mut future: F, mut end: Slot<()>) -> Option<F::Output> {
    std::future::poll_fn(|context| match Pin::new(&mut future).poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Pin::new(&mut end).poll(context).map(|()| None),
    })
    .await
}

/// What one task at a time may do. Given back when the guard is dropped, by whatever way.
#[derive(Default)]
pub struct Turn {
    is_taken: Cell<bool>,
    waiting: RefCell<Vec<Slot<()>>>,
}

/// A turn that was taken.
pub struct Taken<'t>(&'t Turn);

impl Turn {
    /// Takes it, if nobody has it.
    pub fn take(&self) -> Option<Taken<'_>> {
        (!self.is_taken.replace(true)).then_some(Taken(self))
    }

    /// Comes once it is given back.
    pub fn ended(&self) -> Slot<()> {
        let slot = Slot::default();
        self.waiting.borrow_mut().push(slot.clone());
        slot
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.is_taken.set(false);
        self.0.waiting.borrow_mut().drain(..).for_each(|slot| slot.put(()));
    }
}
