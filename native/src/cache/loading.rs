//! Loading: which loads the code that runs now is part of, so that no loader waits for itself.
//!
//! A loader that asks for the key that it loads would wait for its own end. What is noted here follows the loader's future
//! through every place it is polled at; a task that it spawns is another's, and its wait ends with the load's time limit.

use std::sync::Arc;

use donjon_core::version::Ticket;

tokio::task_local! {
    static LOADING: Arc<Load>;
}

/// Loads under way, and those inside which they began.
struct Load {
    /// Tells caches apart: the address of what a cache's clones share.
    cache: usize,
    tickets: Vec<Ticket>,
    outer: Option<Arc<Load>>,
}

/// Runs `load`, which is that of the leases with these tickets.
pub(super) async fn load<O>(cache: usize, tickets: Vec<Ticket>, load: impl Future<Output = O>) -> O {
    let outer = LOADING.try_with(Arc::clone).ok();
    LOADING.scope(Arc::new(Load { cache, tickets, outer }), load).await
}

/// The loads of a cache that the code which runs now is part of.
pub(super) fn own(cache: usize) -> Vec<Ticket> {
    let mut own = Vec::new();
    let _none = LOADING.try_with(|inner| {
        let mut load = Some(inner);
        while let Some(this) = load {
            if this.cache == cache {
                own.extend(&this.tickets);
            }
            load = this.outer.as_ref();
        }
    });
    own
}
