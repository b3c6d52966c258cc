//! Bell: turns being woken, once, into something to wait for.

use std::sync::Arc;
use std::task::{Wake, Waker};

use tokio::sync::Notify;

/// Rings when its waker is woken.
#[derive(Debug, Default)]
pub(super) struct Bell(Arc<Ring>);

#[derive(Debug, Default)]
struct Ring(Notify);

impl Bell {
    pub(super) fn waker(&self) -> Waker {
        Arc::clone(&self.0).into()
    }

    /// Waits for it to ring, or not at all where it did already.
    pub(super) async fn rung(&self) {
        self.0.0.notified().await;
    }
}

impl Wake for Ring {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}
