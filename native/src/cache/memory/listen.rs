//! Listen: waiting for the next message on channels of this process.

use std::sync::Arc;

use donjon_core::pubsub::Subscription;
use donjon_core::waiters::WaiterId;

use super::bell::Bell;
use crate::payload::Payload;

/// One listener to some channels. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Listener(Subscription<Payload>);

impl Listener {
    pub(super) fn new(subscription: Subscription<Payload>) -> Self {
        Self(subscription)
    }

    /// The next message. Takes it only when it is given, so nothing is lost by not waiting to the end.
    pub(crate) async fn next(&self) -> (Arc<str>, Payload) {
        loop {
            if let Some(heard) = self.0.take() {
                return (heard.channel, Payload::clone(&heard.message));
            }
            let bell = Bell::default();
            if let Some(id) = self.0.wait(bell.waker()) {
                let place = Place { subscription: &self.0, id };
                bell.rung().await;
                drop(place);
            }
        }
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.0.dropped()
    }
}

/// A place among those who wait for a message, given back however the wait ends.
struct Place<'a> {
    subscription: &'a Subscription<Payload>,
    id: WaiterId,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.subscription.leave(self.id);
    }
}
