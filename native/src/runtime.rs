//! Runtime: the place that connects, waits, keeps time and runs what goes on beside a call.
//!
//! Everything that talks to Redis is written once, over this trait, and run by tokio, by an asyncio event loop or by whatever
//! else implements it. Must not know what is said on a connection.

#[cfg(feature = "tokio")]
mod tokio;

use std::future::Future;
use std::io;
use std::time::Duration;

use ::tokio::io::{AsyncRead, AsyncWrite};
use donjon_core::moment::Moment;

#[cfg(feature = "tokio")]
pub use self::tokio::Tokio;

/// Where a server listens, as a socket is opened to it: names are resolved by the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address<'a> {
    /// A name or an address, and a port.
    Tcp(&'a str, u16),
    /// The path of a socket in the file system.
    Unix(&'a str),
}

/// A place where futures run. Clones are the same place.
pub trait Runtime: Clone + Send + Sync + 'static {
    /// An open socket.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Opens a socket, without delay of small writes. Has no time limit of its own: dropping the future gives the attempt up.
    fn connect(&self, address: Address<'_>) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Runs a task beside the caller, to its end or until the runtime is no more.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static);

    /// Is done when `span` has passed.
    fn sleep(&self, span: Duration) -> impl Future<Output = ()> + Send;

    /// The time by [`now`]: one clock for all runtimes of a process.
    fn now(&self) -> Moment {
        now()
    }
}

/// The time on a clock that never goes back, and that counts on while the machine is suspended where the system has one. 25 ns.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn now() -> Moment {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Moment::from_nanos(time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned())
}

/// The time on a clock that never goes back.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn now() -> Moment {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    Moment::from_nanos(START.get_or_init(std::time::Instant::now).elapsed().as_nanos() as u64)
}
