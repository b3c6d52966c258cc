//! The asyncio runtime: what the code over Redis asks of the place it runs in, on an event loop.
//!
//! Must not call Python, so that it can be asked from any thread and under the executor's lock: what the loop must do is left in
//! its inbox.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use donjon::runtime::{Address, Runtime};
use donjon_core::moment::Moment;

use super::inbox::Inbox;
use super::job::Task;
use super::socket::Socket;
use super::timers::Sleeper;

/// An asyncio event loop, as a place where futures run. Once the loop is closed, what runs there is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Asyncio(pub(super) Arc<Inbox>);

impl Runtime for Asyncio {
    type Stream = Socket;

    fn connect(&self, address: Address<'_>) -> impl Future<Output = io::Result<Socket>> + Send {
        Socket::connect(&self.0, address)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.start(Box::pin(Task { future: task }));
    }

    fn sleep(&self, span: Duration) -> impl Future<Output = ()> + Send {
        Sleep { runtime: self.clone(), end: self.now().after(span), sleeper: None }
    }
}

struct Sleep {
    runtime: Asyncio,
    end: Moment,
    sleeper: Option<Sleeper>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.end <= self.runtime.now() {
            return Poll::Ready(());
        }
        let inbox = &self.runtime.0;
        match self.sleeper {
            Some(sleeper) => inbox.sleep_on(sleeper, context.waker().clone()),
            None => self.sleeper = Some(inbox.sleep(self.end, context.waker().clone())),
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(sleeper) = self.sleeper {
            self.runtime.0.rise(sleeper);
        }
    }
}
