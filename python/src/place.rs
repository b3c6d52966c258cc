//! Place: where the code over Redis runs: on the event loop that waits for it, or beside a thread that does.
//!
//! One type for both, so that what runs there is compiled once, and a lease may be taken in one place and filled in the other.

use std::future::Future;
use std::io;
use std::time::Duration;

use donjon::runtime::{Address, Runtime, Tokio};
use tokio_util::either::Either;

use crate::aio::Asyncio;

/// Where futures run.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// An asyncio event loop, in its own thread.
    Loop(Asyncio),
    /// The background thread, for threads that block.
    Background(Tokio),
}

impl Runtime for Place {
    type Stream = Either<<Asyncio as Runtime>::Stream, <Tokio as Runtime>::Stream>;

    async fn connect(&self, address: Address<'_>) -> io::Result<Self::Stream> {
        Ok(match self {
            Self::Loop(runtime) => Either::Left(runtime.connect(address).await?),
            Self::Background(runtime) => Either::Right(runtime.connect(address).await?),
        })
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        match self {
            Self::Loop(runtime) => runtime.spawn(task),
            Self::Background(runtime) => runtime.spawn(task),
        }
    }

    async fn sleep(&self, span: Duration) {
        match self {
            Self::Loop(runtime) => runtime.sleep(span).await,
            Self::Background(runtime) => runtime.sleep(span).await,
        }
    }
}
