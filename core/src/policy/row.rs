//! Row: all that is kept of one slot but the hash of its key, in less than a cache line.
//!
//! Must not know what the queues and the wheel do with their links.

use core::sync::atomic::AtomicU8;

use super::queue::{Link, NONE, Queued};
use super::wheel::{Node, Timed};
use crate::entry::Life;
use crate::moment::Moment;

/// What a hit reads comes first.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Row {
    pub(super) life: Life,
    pub(super) place: Place,
    pub(super) uses: AtomicU8,
    pub(super) is_loading: bool,
    pub(super) node: Node,
    pub(super) link: Link,
    pub(super) weight: u64,
}

const _: () = assert!(size_of::<Row>() == 48);

impl Row {
    /// Of a slot that was opened just now.
    pub(super) const fn open() -> Self {
        Self {
            life: Life::FOREVER,
            place: Place::Empty,
            uses: AtomicU8::new(0),
            is_loading: false,
            node: Node::OUT,
            link: Link::before(NONE),
            weight: 0,
        }
    }
}

impl Queued for Row {
    fn link(&self) -> Link {
        self.link
    }

    fn set_link(&mut self, link: Link) {
        self.link = link;
    }

    fn queued_weight(&self) -> u64 {
        self.weight
    }
}

impl Timed for Row {
    fn node(&self) -> Node {
        self.node
    }

    fn set_node(&mut self, node: Node) {
        self.node = node;
    }

    fn deadline(&self) -> Moment {
        self.life.usable_until()
    }
}

/// Where a slot stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Given back; its link names the slot closed before it.
    Closed,
    /// Open, without a value.
    Empty,
    /// Its value came lately.
    Window,
    /// Its value was admitted.
    Main,
}

impl Place {
    pub(super) const fn is_held(self) -> bool {
        matches!(self, Self::Window | Self::Main)
    }
}
