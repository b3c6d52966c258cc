//! Row: all that is kept of one slot, what a hit reads side by side.
//!
//! Must not know what the queues and the wheel do with their links, nor what the caller keeps.

use core::sync::atomic::AtomicU8;

use super::queue::{Link, NONE, Queued};
use super::wheel::{Node, Timed};
use crate::entry::Life;
use crate::moment::Moment;

/// What a hit reads comes first, the first of what the caller keeps behind it: in one cache line, where a pointer takes 8 bytes.
#[derive(Debug)]
#[repr(C)]
#[cfg_attr(target_pointer_width = "64", repr(align(64)))]
pub(super) struct Row<T> {
    fresh_until: Moment,
    pub(super) hash: u32,
    pub(super) place: Place,
    pub(super) uses: AtomicU8,
    bucket: u16,
    pub(super) kept: T,
    usable_until: Moment,
    pub(super) weight: u64,
    link: Link,
    neighbours: [u32; 2],
}

impl<T> Row<T> {
    /// Of a slot that was opened just now.
    pub(super) const fn open(hash: u32, kept: T) -> Self {
        let Node { prev, next, bucket } = Node::OUT;
        Self {
            fresh_until: Moment::NEVER,
            hash,
            place: Place::Empty,
            uses: AtomicU8::new(0),
            bucket,
            kept,
            usable_until: Moment::NEVER,
            weight: 0,
            link: Link::before(NONE),
            neighbours: [prev, next],
        }
    }

    /// Of a slot that was closed and is opened once more. What else it says of a value is said anew where one comes.
    pub(super) const fn reopen(&mut self, hash: u32) {
        self.hash = hash;
        self.place = Place::Empty;
    }

    /// Until when its value lives.
    #[inline]
    pub(super) fn life(&self) -> Life {
        Life::new(self.fresh_until, self.usable_until)
    }

    /// Whether its value is fresh at `now`, without a look at when it is over.
    #[inline(always)]
    pub(super) fn is_fresh(&self, now: Moment) -> bool {
        Life::new(self.fresh_until, self.fresh_until).is_fresh(now)
    }

    pub(super) fn set_life(&mut self, life: Life) {
        self.fresh_until = life.fresh_until();
        self.usable_until = life.usable_until();
    }
}

impl<T> Queued for Row<T> {
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

impl<T> Timed for Row<T> {
    fn node(&self) -> Node {
        let [prev, next] = self.neighbours;
        Node { prev, next, bucket: self.bucket }
    }

    fn set_node(&mut self, node: Node) {
        self.neighbours = [node.prev, node.next];
        self.bucket = node.bucket;
    }

    fn deadline(&self) -> Moment {
        self.usable_until
    }
}

/// Where a slot stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Given back; its link names another closed one.
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
