//! What a caller has: a clock it moves by hand, a way to wait, and words for what it expects to be told.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use donjon_core::cache::lease::Lease;
use donjon_core::cache::{self, Config, Fill, Lookup, Step, Tags};
use donjon_core::chance::Seed;
use donjon_core::expiry::{Early, Grace, Ttl};
use donjon_core::flight::{Ending, Joined};
use donjon_core::key::Key;

use donjon_core::moment::Moment;
use donjon_core::pattern::Pattern;

pub type Text = Arc<str>;
pub type Cache = cache::Cache<Text, Text>;

/// What nobody could guess, but a test may know.
pub const SEED: Seed = Seed(0x00c0_ffee_0000_5eed);

/// Fresh for so long when stored by [`ten_seconds`], and then usable for half of it again.
pub const TTL: u64 = 10_000;
pub const GRACE: u64 = 5_000;

pub fn at(millis: u64) -> Moment {
    Moment::from_millis(millis)
}

pub fn key(text: &str) -> Key<'_> {
    Key::new(text).expect("tests use valid keys")
}

pub fn text(text: &str) -> Text {
    text.into()
}

/// A cache without early refreshes, which are a matter of chance.
pub fn cache() -> Cache {
    cache_of(&config())
}

pub fn cache_of(config: &Config) -> Cache {
    Cache::new(config, SEED)
}

pub fn config() -> Config {
    Config { early: Early::OFF, ..Config::default() }
}

/// How to store what is fresh for ten seconds and stale for five more.
pub fn ten_seconds(cache: &Cache, now: Moment) -> Fill {
    lasting(cache, TTL, GRACE, now)
}

pub fn lasting(cache: &Cache, ttl: u64, grace: u64, now: Moment) -> Fill {
    let life = cache.life(millis(ttl), Grace::from_millis(grace as f64).expect("a grace"), now);
    Fill { life, bytes: 1, tags: Tags::default() }
}

pub fn tagged(cache: &Cache, tags: &[&str], now: Moment) -> Fill {
    Fill { tags: cache.tags(tags).expect("valid tags"), ..ten_seconds(cache, now) }
}

pub fn millis(ttl: u64) -> Ttl {
    Ttl::from_millis(ttl as f64).expect("a ttl")
}

/// Sets `value` under `key`, for ten seconds and a grace of five.
pub fn set(cache: &Cache, name: &str, value: &str, now: Moment) -> bool {
    cache.set(key(name), text(value), ten_seconds(cache, now), now)
}

pub fn get(cache: &Cache, name: &str, now: Moment) -> Lookup<Text> {
    cache.get(key(name), now)
}

pub fn hit(value: &str) -> Lookup<Text> {
    Lookup::Hit(value.into())
}

/// Something done to the key `k`, and its name.
type Overtaker = (&'static str, fn(&Cache, Moment));

/// All that makes a load of `k` that began before too old. The last is a set by hand.
pub fn overtakers() -> [Overtaker; 5] {
    [
        ("delete", |cache, now| _ = cache.delete(key("k"), now)),
        ("pattern", |cache, now| drop(cache.invalidate_pattern(&Pattern::new("k*").expect("a pattern"), now))),
        ("all-star pattern", |cache, now| drop(cache.invalidate_pattern(&Pattern::new("*").expect("a pattern"), now))),
        ("clear", |cache, now| drop(cache.clear(now))),
        ("set", |cache, now| assert!(set(cache, "k", "by hand", now))),
    ]
}

/// The lease of a caller that is told to load.
#[track_caller]
pub fn loads<V: Clone + Debug, E: Clone + Debug>(step: Step<V, E>) -> Lease<V, E> {
    match step {
        Step::Load(lease) => lease,
        other => panic!("told to load is what was expected, not {other:?}"),
    }
}

/// The lease and the value of a caller that is told to refresh.
#[track_caller]
pub fn refreshes(step: Step<Text, Text>) -> (Text, Lease<Text, Text>) {
    match step {
        Step::Stale(value, lease) => (value, lease),
        other => panic!("a value to refresh is what was expected, not {other:?}"),
    }
}

/// The value of a caller that is served.
#[track_caller]
pub fn served(step: Step<Text, Text>) -> Text {
    match step {
        Step::Done(value) => value,
        other => panic!("a value is what was expected, not {other:?}"),
    }
}

/// A caller that was told to wait, and does.
#[track_caller]
pub fn waits<V: Clone + Debug, E: Clone + Debug>(step: Step<V, E>) -> Waiting<V, E> {
    match step {
        Step::Join(joined, at_most) => Waiting::new(joined, at_most),
        other => panic!("told to wait is what was expected, not {other:?}"),
    }
}

/// One who waits, and counts how often it is woken.
pub struct Waiting<V: Clone, E: Clone> {
    pub joined: Joined<V, E>,
    pub at_most: Duration,
    bell: Arc<Bell>,
}

#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl<V: Clone + Debug, E: Clone + Debug> Waiting<V, E> {
    #[track_caller]
    fn new(joined: Joined<V, E>, at_most: Duration) -> Self {
        let mut waiting = Self { joined, at_most, bell: Arc::default() };
        assert!(waiting.poll().is_pending(), "nothing has ended yet");
        waiting
    }

    pub fn poll(&mut self) -> Poll<Ending<V, E>> {
        let waker = Waker::from(Arc::clone(&self.bell));
        Pin::new(&mut self.joined).poll(&mut Context::from_waker(&waker))
    }

    pub fn woken(&self) -> usize {
        self.bell.0.load(Ordering::Relaxed)
    }

    /// How the flight ended, of which this one was told once.
    #[track_caller]
    pub fn end(mut self) -> Ending<V, E> {
        assert_eq!(self.woken(), 1, "who waits is woken once");
        match self.poll() {
            Poll::Ready(ending) => ending,
            Poll::Pending => panic!("woken for nothing"),
        }
    }

    /// How many hold the waker: the flight, while it is kept there.
    pub fn bell_holders(&self) -> usize {
        Arc::strong_count(&self.bell) - 1
    }

    pub fn bell(&self) -> Arc<impl Sized + use<V, E>> {
        Arc::clone(&self.bell)
    }
}

/// Runs `work` beside this thread and fails where it does not come to an end, as it does in a deadlock.
#[track_caller]
pub fn must_end(work: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::channel();
    let worker = std::thread::Builder::new()
        .spawn(move || {
            work();
            done.send(()).expect("the test waits");
        })
        .expect("a thread can be started");
    let timed_out = ended.recv_timeout(DEADLOCK) == Err(mpsc::RecvTimeoutError::Timeout);
    assert!(!timed_out, "did not end: a deadlock");
    if let Err(panic) = worker.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Far longer than anything here takes.
const DEADLOCK: Duration = Duration::from_secs(60);
