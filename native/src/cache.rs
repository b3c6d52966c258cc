//! Cache: the front door for Rust programs.
//!
//! Says what each call is and means, checks keys, and hands over. What is done is in the files below; what is decided is in
//! `donjon-core`.
//!
//! | to find out | look in |
//! |---|---|
//! | what a cache can be told when it is made | [`builder`] |
//! | how a value is had, once for everyone | [`load`], [`many`], [`lookup`], [`warm`] |
//! | how a value is stored by hand, and for how long | [`write`], [`terms`] |
//! | locks and messages | [`lock`], [`messages`] |
//! | what is known of it | [`stats`], [`explained`] |
//! | what it asks of a place where values are kept | [`backend`], [`memory`] |

mod backend;
mod builder;
mod call;
mod explained;
mod load;
mod loading;
mod lock;
mod lookup;
mod many;
mod memory;
mod messages;
mod redis;
mod removed;
mod rules;
mod shared;
mod stats;
mod terms;
mod warm;
mod write;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use donjon_core::key::Key;
use donjon_core::pattern::Pattern;

use crate::error::Error;
use crate::value::{Decode, Encode, Uncodable};
use shared::Shared;

pub use builder::Builder;
pub use call::Call;
pub use explained::{Explained, Remaining};
pub use load::{GetOrSet, Getting};
pub use lock::{Lock, LockGuard};
pub use lookup::{Fill, Found, Miss};
pub use many::GetOrSetMany;
pub use messages::{Message, Publish, Subscribe, Subscription};
pub use removed::Removed;
pub use rules::Rules;
pub use stats::Stats;
pub use terms::{FOREVER, Span};
pub use warm::{Warm, WarmReport};
pub use write::{Add, Incr, Set, SetMany};

/// A cache. Clones are cheap and share everything; any thread or task may use them.
///
/// Values are JSON, from whatever serde serializes, or [`Raw`](crate::Raw) bytes; each reader gets one of its own. What is stored
/// lives for 5 minutes where nothing else is said. Keys are used literally, 1 byte to 1 KiB of UTF-8; [`key`](crate::key) builds
/// them from parts. Calls with options are builders that are awaited.
///
/// A fault of the cache never fails a read whose loader works. Keys, tags and times that can be none are errors.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use donjon::Cache;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct User {
///     name: String,
/// }
/// # async fn query(id: u64) -> Result<User, std::io::Error> { Ok(User { name: format!("Ada {id}") }) }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cache = Cache::memory().namespace("app").build()?;
/// let user = cache.get_or_set("user:5", || query(5)).ttl(Duration::from_secs(300)).tags(["users"]).await?;
/// assert_eq!(user.name, "Ada 5");
/// cache.delete("user:5").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Cache {
    shared: Arc<Shared>,
    mode: Mode,
}

/// How fresh an answer has to be. It makes a difference where there is [memory in front of Redis](Builder::near).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Memory may answer: usually under a millisecond behind what other processes change, and never more than two seconds.
    #[default]
    Local,
    /// Redis answers: nothing that was invalidated before the call.
    Strong,
}

/// Making one, and its end.
impl Cache {
    /// Begins a cache in the memory of this process.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use donjon::Cache;
    ///
    /// let cache = Cache::memory().namespace("shop").max_bytes(64 << 20).default_ttl(Duration::from_secs(60)).build()?;
    /// assert_eq!((cache.namespace(), cache.backend()), ("shop", "memory"));
    /// assert!(Cache::memory().max_bytes(0).build().is_err());
    /// # Ok::<(), donjon::Error>(())
    /// ```
    pub fn memory() -> Builder {
        Builder::memory()
    }

    /// Begins a cache in the Redis, or Valkey, that `url` names: processes that name the same one and the same namespace share it,
    /// whatever language they are written in.
    ///
    /// `redis://[user][:password]@host[:port][/db]`, `rediss://…` for TLS, `unix:///path[?db=…]` for a socket,
    /// `redis+cluster://host[:port][,host…]` or `redis+sentinel://host[:port][,host…]/name[/db]`. Nothing is connected
    /// before the first call; while Redis is away, reads find nothing, loaders run, and invalidations are kept until it is back.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use donjon::Cache;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let cache = Cache::redis("redis://localhost:1/0").command_timeout(Duration::from_millis(50)).build()?;
    /// // There is no Redis: what the loader gives is served, and the invalidation is owed.
    /// assert_eq!(cache.get_or_set("k", || async { Ok::<_, std::io::Error>(5) }).await?, 5);
    /// assert!(cache.delete("k").await?.queued);
    /// assert!(Cache::redis("http://localhost").build().is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn redis(url: &str) -> Builder {
        Builder::redis(url)
    }

    /// A cache as the `CACHE_` variables of this process say; see [`donjon_core::settings`].
    ///
    /// # Errors
    ///
    /// [`Error::InvalidSetting`] for a variable with a value that it cannot have.
    pub fn from_env() -> Result<Self, Error> {
        Builder::from_env()?.build()
    }

    /// Ends the cache and frees what it holds. What is asked of it afterwards, by whichever clone, is [`Error::Closed`].
    ///
    /// Loads that are under way come to their end and store nothing; subscriptions end, and who waits for a lock is told.
    pub async fn close(&self) {
        if self.shared.shut() {
            self.shared.backend().close().await;
        }
    }

    /// Whether the backend answers.
    ///
    /// # Errors
    ///
    /// [`Error`], which says why it does not.
    pub async fn ping(&self) -> Result<(), Error> {
        self.shared.open()?.ping().await
    }

    /// The prefix that keeps these keys apart from those of other applications.
    pub fn namespace(&self) -> &str {
        self.shared.namespace.as_str()
    }

    /// Where values are kept, in the word that `CACHE_BACKEND` has for it.
    pub fn backend(&self) -> &'static str {
        self.shared.backend().name()
    }

    /// Whether the cache is switched on.
    pub fn is_enabled(&self) -> bool {
        self.shared.backend().is_enabled()
    }

    /// The same cache, whose reads are answered so. Default: as [`Builder::mode`] says.
    ///
    /// # Examples
    ///
    /// ```
    /// use donjon::{Cache, Mode};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), donjon::Error> {
    /// let cache = Cache::redis("redis://localhost:1/0").near().build()?;
    /// let shown = cache.get::<u64>("balance:5").await?; // from memory, where it is there
    /// let booked = cache.in_mode(Mode::Strong).get::<u64>("balance:5").await?; // asks Redis
    /// # assert_eq!((shown, booked), (None, None));
    /// # Ok(())
    /// # }
    /// ```
    pub fn in_mode(&self, mode: Mode) -> Self {
        Self { shared: Arc::clone(&self.shared), mode }
    }

    /// The kill switch. Off, reads miss, stores are dropped and every caller loads for itself; invalidations still take effect, so
    /// that nothing stale is there when it is switched on again.
    pub fn set_enabled(&self, enabled: bool) {
        // A closed cache stays off.
        if let Ok(backend) = self.shared.open() {
            backend.switch(enabled);
        }
    }
}

/// Reading.
impl Cache {
    /// The value of a key, a stale one included; none where there is none. Never waits for a load.
    ///
    /// A value that is no `T` counts as none, and in [`Stats::undecodable`]. A stored null is a value: it is read as an [`Option`].
    ///
    /// Code that reads, queries and then calls [`set`](Self::set) can store what was read before an invalidation, after it. Use
    /// [`get_or_set`](Self::get_or_set) or [`lookup`](Self::lookup), which cannot.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] where the key is empty or over 1 KiB.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), donjon::Error> {
    /// # let cache = donjon::Cache::memory().build()?;
    /// cache.set("nickname:5", &None::<String>).await?;
    /// assert_eq!(cache.get::<Option<String>>("nickname:5").await?, Some(None));
    /// assert_eq!(cache.get::<Option<String>>("nickname:6").await?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get<T: Decode>(&self, key: &str) -> Result<Option<T>, Error> {
        let backend = self.shared.open()?;
        let key = Key::new(key)?;
        let Some(payload) = backend.get(key, self.mode).await else { return Ok(None) };
        Ok(T::decode(&payload).map_err(|why| self.undecodable::<T>(key, &why)).ok())
    }

    /// The values of those keys that have one, as [`get`](Self::get). One round trip.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`], with the place of the bad one.
    pub async fn get_many<T: Decode>(
        &self,
        keys: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<HashMap<String, T>, Error> {
        let backend = self.shared.open()?;
        let names: Vec<String> = keys.into_iter().map(Into::into).collect();
        let keys = write::keys(&names)?;
        let mut found = HashMap::with_capacity(keys.len());
        for (key, payload) in keys.iter().zip(backend.get_many(&keys, self.mode).await) {
            let Some(payload) = payload else { continue };
            match T::decode(&payload) {
                Ok(value) => drop(found.insert(key.as_str().to_owned(), value)),
                Err(why) => self.undecodable::<T>(*key, &why),
            }
        }
        Ok(found)
    }

    /// Whether the key has a value that may be served.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] as for [`get`](Self::get).
    pub async fn exists(&self, key: &str) -> Result<bool, Error> {
        Ok(self.ttl(key).await?.is_some())
    }

    /// For how much longer the value is fresh; none where there is none.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] as for [`get`](Self::get).
    ///
    /// # Examples
    ///
    /// ```
    /// use donjon::Remaining;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), donjon::Error> {
    /// # let cache = donjon::Cache::memory().build()?;
    /// cache.set("a", &1).ttl(donjon::FOREVER).await?;
    /// assert_eq!(cache.ttl("a").await?, Some(Remaining::Forever));
    /// assert_eq!(cache.ttl("b").await?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn ttl(&self, key: &str) -> Result<Option<Remaining>, Error> {
        Ok(self.shared.open()?.ttl(Key::new(key)?).await)
    }

    /// What the cache knows of a key: where it is, its age, until when it is fresh, its tags, why its last value left.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] as for [`get`](Self::get).
    pub async fn explain(&self, key: &str) -> Result<Explained, Error> {
        Ok(self.shared.open()?.explain(Key::new(key)?).await)
    }

    fn undecodable<T>(&self, key: Key<'_>, why: &Uncodable) {
        self.shared.notes.undecodable::<T>(key, why);
    }
}

/// Loading.
impl Cache {
    /// The value of a key, loaded by one caller for everyone who asks meanwhile. Await it, with options or without.
    ///
    /// The loader runs in the task of its caller, once at most. What it gives is stored, unless the key, a pattern, a tag or
    /// the namespace was invalidated since it began: then its own caller gets the value all the same, and those who asked after
    /// the invalidation load anew. What it fails with reaches everyone who waited, and is not cached. If its caller is dropped,
    /// another who waits loads; who waits longer than `load_timeout` loads for himself. Within its grace a stale value is served
    /// while one caller loads, and to that one too, should the load fail.
    ///
    /// A loader that cannot fail says so: `|| async { Ok::<_, std::convert::Infallible>(5) }`.
    ///
    /// # Errors
    ///
    /// When awaited: [`LoadError::Loader`](crate::LoadError::Loader) with what the loader failed with, and
    /// [`LoadError::Cache`](crate::LoadError::Cache) as for [`set`](Self::set).
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cache = donjon::Cache::memory().build()?;
    /// # async fn query(id: u64) -> Result<String, std::io::Error> { Ok(format!("Ada {id}")) }
    /// let name = cache.get_or_set("name:5", || query(5)).ttl("5m").grace("1m").tags(["users"]).await?;
    /// let again = cache.get_or_set("name:5", || async { Err::<String, _>(std::io::Error::other("not asked")) }).await?;
    /// assert_eq!(name, again);
    /// let anew = cache.get_or_set("name:5", || query(6)).force_refresh().await?;
    /// assert_eq!(anew, "Ada 6");
    /// # Ok(())
    /// # }
    /// ```
    pub fn get_or_set<'a, F>(&'a self, key: &'a str, loader: F) -> GetOrSet<'a, F> {
        GetOrSet::new(&self.shared, self.mode, key, loader)
    }

    /// The values of many keys; those that are missing, and that nobody else loads, come from one call of the loader.
    ///
    /// The loader gets the keys to load and gives a map; a key that it leaves out has no value, and is left out of the answer.
    ///
    /// # Errors
    ///
    /// As [`get_or_set`](Self::get_or_set).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::collections::HashMap;
    /// use std::convert::Infallible;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let cache = donjon::Cache::memory().build()?;
    /// cache.set("square:2", &4).await?;
    /// let squares = cache
    ///     .get_or_set_many(["square:2", "square:3"], |missing| async move {
    ///         assert_eq!(missing, ["square:3"]);
    ///         Ok::<_, Infallible>(HashMap::from([("square:3".to_owned(), 9)]))
    ///     })
    ///     .await?;
    /// assert_eq!(squares, HashMap::from([("square:2".to_owned(), 4), ("square:3".to_owned(), 9)]));
    /// # Ok(())
    /// # }
    /// ```
    pub fn get_or_set_many<F>(
        &self,
        keys: impl IntoIterator<Item = impl Into<String>>,
        loader: F,
    ) -> GetOrSetMany<'_, F> {
        GetOrSetMany::new(&self.shared, self.mode, keys, loader)
    }

    /// A hit, or a miss that holds the right to load: for loads that do not fit into a closure.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] as for [`get`](Self::get).
    ///
    /// # Examples
    ///
    /// ```
    /// use donjon::Found;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), donjon::Error> {
    /// # let cache = donjon::Cache::memory().build()?;
    /// let report = match cache.lookup("report").await? {
    ///     Found::Hit(report) => report,
    ///     Found::Miss(miss) => {
    ///         let report = "made slowly".to_owned();
    ///         miss.fill(&report).ttl("1m").await?;
    ///         report
    ///     }
    /// };
    /// # assert_eq!(cache.get("report").await?, Some(report));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn lookup<T: Decode>(&self, key: &str) -> Result<Found<T>, Error> {
        lookup::lookup(&self.shared, self.mode, key).await
    }

    /// Loads those keys that have no fresh value, before anybody asks. An error is noted in the report and stops nothing.
    ///
    /// # Errors
    ///
    /// When awaited: [`Error`] for a time to live or a tag that is none.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::convert::Infallible;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), donjon::Error> {
    /// # let cache = donjon::Cache::memory().build()?;
    /// let keys = ["page:1", "page:2"];
    /// let report = cache.warm(keys, |key| async move { Ok::<_, Infallible>(format!("text of {key}")) }).ttl("1h").await?;
    /// assert_eq!((report.loaded, report.skipped, report.errors.len()), (2, 0, 0));
    /// # Ok(())
    /// # }
    /// ```
    pub fn warm<F>(&self, keys: impl IntoIterator<Item = impl Into<String>>, loader: F) -> Warm<'_, F> {
        Warm::new(&self.shared, keys, loader)
    }
}

/// Writing.
impl Cache {
    /// Stores a value, whatever is there or is being loaded. Await it, with options or without.
    ///
    /// # Errors
    ///
    /// When awaited: [`Error::InvalidKey`], [`Error::InvalidTtl`], [`Error::InvalidTag`] and [`Error::UnsupportedValue`], with
    /// nothing changed; [`Error::ValueTooLarge`], with what was there invalidated.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), donjon::Error> {
    /// # let cache = donjon::Cache::memory().build()?;
    /// cache.set("user:5", "Ada").ttl(Duration::from_secs(60)).grace("10s").tags(["users", "user:5"]).await?;
    /// assert_eq!(cache.get::<String>("user:5").await?.as_deref(), Some("Ada"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn set<'a>(&'a self, key: &'a str, value: &(impl Encode + ?Sized)) -> Set<'a> {
        Set::new(&self.shared, key, value)
    }

    /// As [`set`](Self::set) for each item; where one is refused, none is stored.
    ///
    /// # Errors
    ///
    /// When awaited: as [`set`](Self::set); of those that are too large, the first.
    pub fn set_many<K: Into<String>>(&self, items: impl IntoIterator<Item = (K, impl Encode)>) -> SetMany<'_> {
        SetMany::new(&self.shared, items)
    }

    /// Stores a value where there is none; gives whether it did.
    ///
    /// # Errors
    ///
    /// When awaited: as [`set`](Self::set).
    pub fn add<'a>(&'a self, key: &'a str, value: &(impl Encode + ?Sized)) -> Add<'a> {
        Add::new(&self.shared, key, value)
    }

    /// Adds to an integer, which counts as 0 where there is none, and gives the sum. Its time to live is that of the first call.
    ///
    /// # Errors
    ///
    /// When awaited: [`Error::NotACounter`] where the value is no integer, or the sum would not fit into 64 bits.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), donjon::Error> {
    /// # let cache = donjon::Cache::memory().build()?;
    /// assert_eq!(cache.incr("visits", 1).ttl("1h").await?, 1);
    /// assert_eq!(cache.incr("visits", 5).await?, 6);
    /// # Ok(())
    /// # }
    /// ```
    pub fn incr<'a>(&'a self, key: &'a str, by: i64) -> Incr<'a> {
        Incr::new(&self.shared, key, by)
    }

    /// Starts the time to live of a value anew; false where there is none.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] and [`Error::InvalidTtl`] as for [`set`](Self::set).
    pub async fn touch(&self, key: &str, ttl: impl Into<Span>) -> Result<bool, Error> {
        let ttl = ttl.into().ttl(&self.shared.classes)?;
        self.shared.open()?.touch(Key::new(key)?, ttl).await
    }
}

/// Invalidating. It holds when the call returns, unless [`Removed::queued`] says otherwise.
impl Cache {
    /// Invalidates a key, used literally; counts 1 where a value was there.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`] as for [`get`](Self::get).
    pub async fn delete(&self, key: &str) -> Result<Removed, Error> {
        Ok(self.shared.open()?.delete(&[Key::new(key)?]).await)
    }

    /// Invalidates keys; counts the values that were there.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidKey`], with the place of the bad one and nothing invalidated.
    pub async fn delete_many(&self, keys: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Removed, Error> {
        let names: Vec<_> = keys.into_iter().collect();
        Ok(self.shared.open()?.delete(&write::keys(&names)?).await)
    }

    /// Invalidates every key that matches, and every load of one that is under way; counts the values.
    ///
    /// As Redis has it: `*` any text, `?` one byte, `[a-c]` a class, `\` before what is meant literally. [`pattern`](crate::pattern)
    /// builds one from parts. Every key is looked at, which takes about 40 ms for a million in memory. Over one Redis it holds for
    /// every process after the first round trip, before the keys are gone; over a cluster when this returns.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidPattern`] where it is empty, over 1 KiB, or has too many stars.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), donjon::Error> {
    /// # let cache = donjon::Cache::memory().build()?;
    /// cache.set_many([("user:5:profile", 1), ("user:6:profile", 2), ("user:5:jobs", 3)]).await?;
    /// assert_eq!(cache.invalidate_pattern("user:*:profile").await?.count, 2);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn invalidate_pattern(&self, pattern: &str) -> Result<Removed, Error> {
        Ok(self.shared.open()?.invalidate_pattern(&Pattern::new(pattern)?).await)
    }

    /// Invalidates everything stored with one of the tags, at a cost that does not depend on how much that is; counts the tags.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidTag`] where one is empty or reserved, or there are too many.
    pub async fn invalidate_tags(&self, tags: impl IntoIterator<Item = impl Into<String>>) -> Result<Removed, Error> {
        let tags: Vec<String> = tags.into_iter().map(Into::into).collect();
        self.shared.open()?.invalidate_tags(&tags).await
    }

    /// Invalidates everything in this namespace, and nothing else; counts the values.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`].
    pub async fn clear(&self) -> Result<Removed, Error> {
        Ok(self.shared.open()?.clear().await)
    }

    /// The invalidation rules, which [`emit`](Self::emit) runs.
    pub fn rules(&self) -> Rules<'_> {
        Rules::new(&self.shared)
    }

    /// Runs the invalidation rules for an event; counts the values that left.
    ///
    /// What the event says, by name, is put into the rules' templates, escaped.
    ///
    /// # Errors
    ///
    /// [`Error::Rule`] where the event has no name that one can have, or a rule lacks what it asks for; nothing is invalidated then.
    ///
    /// # Examples
    ///
    /// ```
    /// use donjon::Targets;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), donjon::Error> {
    /// # let cache = donjon::Cache::memory().build()?;
    /// let targets = Targets { keys: &["document:{id}"], patterns: &["documents:*summary*"], ..Targets::default() };
    /// cache.rules().on("document.updated", targets)?;
    /// cache.set("document:123", "text").await?;
    /// assert_eq!(cache.emit("document.updated", [("id", 123)]).await?.count, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn emit<N: AsRef<str>>(
        &self,
        event: &str,
        values: impl IntoIterator<Item = (N, impl ToString)>,
    ) -> Result<Removed, Error> {
        let backend = self.shared.open()?;
        let plan = self.rules().plan(event, values)?;
        Ok(backend.carry_out(&plan).await)
    }
}

/// Locks and messages.
impl Cache {
    /// A lock, among all who share the cache: one holder a name. Await it to get a [`LockGuard`], which holds it.
    ///
    /// It is held for `ttl` should its holder vanish; while the guard lives and its runtime runs, it is renewed. Needs tokio.
    ///
    /// # Errors
    ///
    /// When awaited: [`Error::LockTimeout`] where it was not free in time, [`Error::InvalidTtl`] and [`Error::LockWithoutEnd`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), donjon::Error> {
    /// # let cache = donjon::Cache::memory().build()?;
    /// let guard = cache.lock("ingestion:file:123", Duration::from_secs(300)).wait(Duration::from_secs(10)).await?;
    /// assert!(cache.lock("ingestion:file:123", "5m").wait(Duration::ZERO).await.is_err());
    /// let fence = guard.fence(); // for what the lock protects, to refuse a lower one
    /// guard.release().await?;
    /// assert!(cache.lock("ingestion:file:123", "5m").await?.fence() > fence);
    /// # Ok(())
    /// # }
    /// ```
    pub fn lock<'a>(&'a self, name: &'a str, ttl: impl Into<Span>) -> Lock<'a> {
        Lock::new(&self.shared, name, ttl.into())
    }

    /// Sends a message to those who subscribe now. Await it to hear to how many, and over Redis to how many processes.
    ///
    /// # Errors
    ///
    /// When awaited: [`Error::InvalidKey`] where no channel can have that name, [`Error::UnsupportedValue`] as for [`set`](Self::set),
    /// [`Error::Redis`] where Redis does not say that it was sent: it may have been, and is not sent twice.
    pub fn publish<'a>(&'a self, channel: &'a str, message: &(impl Encode + ?Sized)) -> Publish<'a> {
        Publish::new(&self.shared, channel, load::encode(channel, message))
    }

    /// The messages of some channels from now on. Await it to get a [`Subscription`].
    ///
    /// # Errors
    ///
    /// When awaited: [`Error::InvalidKey`], [`Error::InvalidOption`] where no channel was named, [`Error::Redis`] where Redis does not
    /// confirm it. From then on it goes on by itself when the connection is lost; see [`Subscription::gaps`].
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), donjon::Error> {
    /// # let cache = donjon::Cache::memory().build()?;
    /// let mut messages = cache.subscribe(["notifications:user:123"]).await?;
    /// assert_eq!(cache.publish("notifications:user:123", "hello").await?, 1);
    /// let message = messages.next().await.expect("the cache is open");
    /// assert_eq!(message.decode::<String>()?, "hello");
    /// # Ok(())
    /// # }
    /// ```
    pub fn subscribe(&self, channels: impl IntoIterator<Item = impl Into<String>>) -> Subscribe<'_> {
        Subscribe::new(&self.shared, channels)
    }
}

/// What it did so far.
impl Cache {
    /// A reading of the counters of this process.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Sets the counters to zero; what counts the present, as `entries` does, stays.
    pub fn reset_stats(&self) {
        self.shared.notes.reset();
        self.shared.backend().reset_stats();
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Cache")
            .field("backend", &self.backend())
            .field("namespace", &self.namespace())
            .finish_non_exhaustive()
    }
}
