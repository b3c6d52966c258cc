//! Tracking: which connection read which key, and what it is told when that changes.
//!
//! Owns the table and the pushes on their way out. A connection that tracks does so in default mode with `NOLOOP`: each key that it read
//! is told once, unless it is changed by the connection itself; then the table forgets it all the same.

use std::collections::{BTreeMap, BTreeSet};

use super::Client;

/// What a connection is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Push {
    /// This key changed, or may have.
    Changed(Vec<u8>),
    /// Everything did.
    AllChanged,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Tracking {
    told: BTreeSet<Client>,
    readers: BTreeMap<Vec<u8>, BTreeSet<Client>>,
    /// Who a command is carried out for.
    current: Option<Client>,
    pushes: Vec<(Client, Push)>,
    /// To the current client itself: behind its reply.
    pending: Vec<Push>,
}

impl Tracking {
    pub(super) fn start(&mut self) {
        self.told.extend(self.current);
    }

    pub(super) fn begin(&mut self, client: Client) {
        self.current = Some(client);
    }

    pub(super) fn end(&mut self) {
        if let Some(client) = self.current.take() {
            self.pushes.extend(self.pending.drain(..).map(|push| (client, push)));
        }
    }

    pub(super) fn forget(&mut self, client: Client) {
        self.told.remove(&client);
        self.pushes.retain(|(told, _)| *told != client);
        for readers in self.readers.values_mut() {
            readers.remove(&client);
        }
    }

    pub(super) fn take(&mut self) -> Vec<(Client, Push)> {
        std::mem::take(&mut self.pushes)
    }

    /// The current client has read a key.
    pub(super) fn read(&mut self, key: &[u8]) {
        if let Some(client) = self.current.filter(|client| self.told.contains(client)) {
            self.readers.entry(key.to_vec()).or_default().insert(client);
        }
    }

    /// A key changed.
    pub(super) fn changed(&mut self, key: &[u8]) {
        for client in self.readers.remove(key).unwrap_or_default() {
            if self.current != Some(client) {
                self.pushes.push((client, Push::Changed(key.to_vec())));
            }
        }
    }

    /// Everything is gone.
    pub(super) fn all_changed(&mut self) {
        self.readers.clear();
        for &client in &self.told {
            if self.current == Some(client) {
                self.pending.push(Push::AllChanged);
            } else {
                self.pushes.push((client, Push::AllChanged));
            }
        }
    }
}
