//! Topology: which servers there are and which of them has a key, for whoever keeps connections of its own to them.

use std::sync::Arc;

use donjon_core::cluster::{Slot, SlotMap};
use donjon_core::settings::RedisTarget;

/// The servers that are primaries at one time.
#[derive(Clone, Debug)]
pub struct Topology {
    nodes: Vec<RedisTarget>,
    map: Option<Arc<SlotMap>>,
}

impl Topology {
    /// Of one server, or of a cluster before it is known: then it has no nodes.
    pub(super) fn of(target: &RedisTarget, map: Option<&Arc<SlotMap>>, is_cluster: bool) -> Self {
        let nodes = match map {
            Some(map) => map.primaries().iter().map(|place| target.server(&place.host, place.port)).collect(),
            None if is_cluster => Vec::new(),
            None => vec![target.clone()],
        };
        Self { nodes, map: map.cloned() }
    }

    /// The servers: one, where there is no cluster. A URL of sentinels stands for the server that they name.
    pub fn nodes(&self) -> &[RedisTarget] {
        &self.nodes
    }

    /// Which of the [`nodes`](Self::nodes) has a name as it is called in Redis; none where none is known to.
    pub fn node_of(&self, name: &[u8]) -> Option<usize> {
        let Some(map) = &self.map else { return (self.nodes.len() == 1).then_some(0) };
        let owner = map.owner(Slot::of(name))?;
        map.primaries().iter().position(|place| place == owner)
    }
}
