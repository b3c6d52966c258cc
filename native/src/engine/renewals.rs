//! Renewals: keeps the leases of loads that run from running out, with one task for all of them and none while there are none.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use donjon_core::remote::call::Call;
use parking_lot::Mutex;

/// The leases to renew.
#[derive(Debug, Default)]
pub(super) struct Renewals {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    calls: HashMap<u64, Call>,
    last: u64,
    /// Whether a task goes round.
    tended: bool,
}

/// Renews one lease until it is dropped.
#[derive(Debug)]
pub(super) struct Renewal {
    renewals: Weak<Renewals>,
    number: u64,
}

impl Renewals {
    /// Adds a lease; true where somebody has to be set to go round.
    pub(super) fn add(self: &Arc<Self>, call: Call) -> (Renewal, bool) {
        let mut state = self.state.lock();
        state.last += 1;
        let number = state.last;
        state.calls.insert(number, call);
        let starts = !std::mem::replace(&mut state.tended, true);
        drop(state);
        (Renewal { renewals: Arc::downgrade(self), number }, starts)
    }

    /// What is to be sent in this round; none where it was the last.
    pub(super) fn round(&self) -> Vec<Call> {
        let mut state = self.state.lock();
        if state.calls.is_empty() {
            state.tended = false;
        }
        state.calls.values().cloned().collect()
    }
}

impl Drop for Renewal {
    fn drop(&mut self) {
        if let Some(renewals) = self.renewals.upgrade() {
            let call = renewals.state.lock().calls.remove(&self.number);
            drop(call);
        }
    }
}
