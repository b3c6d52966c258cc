//! Map: which node has which slot, as the cluster itself tells.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use crate::fault::Fault;
use crate::remote::call::Reply;
use crate::remote::name::Names;

use super::{SLOTS, Slot};

/// Where a node listens. What it is called by: a node that comes back elsewhere is another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// A name or an address.
    pub host: Arc<str>,
    /// The port.
    pub port: u16,
}

impl Place {
    /// The place of this host and port.
    pub fn new(host: &str, port: u16) -> Self {
        Self { host: host.into(), port }
    }

    /// Reads `host:port`; the host of `asked` where there is none, as a node that does not know its own name says it.
    pub(super) fn read(text: &str, asked: &Self) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|&port| port > 0)?;
        Some(Self::told(host, port, asked))
    }

    fn told(host: &str, port: u16, asked: &Self) -> Self {
        if matches!(host, "" | "?") { Self { host: Arc::clone(&asked.host), port } } else { Self::new(host, port) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.host, self.port)
    }
}

/// Which primary has which slot. A slot may have none: then the cluster is not whole.
#[derive(Clone, PartialEq, Eq)]
pub struct SlotMap {
    /// For each slot its place in `primaries`, or [`NOBODY`].
    owners: Box<[u16]>,
    primaries: Vec<Place>,
    replicas: Vec<Place>,
}

impl SlotMap {
    /// Reads what the node at `asked` answered to `CLUSTER SLOTS`.
    ///
    /// # Errors
    ///
    /// The [`Fault`] that was answered, such as that it is in no cluster, or [`Fault::Protocol`].
    pub fn read(reply: Reply, asked: &Place) -> Result<Self, Fault> {
        let mut map = Self::default();
        for range in list(reply)? {
            let mut parts = list(range)?.into_iter();
            let (first, last) = (slot(parts.next().as_ref())?, slot(parts.next().as_ref())?);
            let owner = place(parts.next().ok_or(Fault::Protocol)?, asked)?;
            let number = map.number(owner);
            map.owners.get_mut(usize::from(first)..=usize::from(last)).ok_or(Fault::Protocol)?.fill(number);
            for replica in parts {
                let replica = place(replica, asked)?;
                if !map.replicas.contains(&replica) {
                    map.replicas.push(replica);
                }
            }
        }
        Ok(map)
    }

    /// The primary that has a slot.
    pub fn owner(&self, slot: Slot) -> Option<&Place> {
        self.primaries.get(usize::from(self.owners[usize::from(slot.number())]))
    }

    /// The primaries, in no order.
    pub fn primaries(&self) -> &[Place] {
        &self.primaries
    }

    /// All nodes, replicas included.
    pub fn nodes(&self) -> impl Iterator<Item = &Place> {
        self.primaries.iter().chain(&self.replicas)
    }

    /// Notes that a slot is somewhere else, as a redirection says.
    pub fn moved(&mut self, slot: Slot, to: &Place) {
        let number = self.number(to.clone());
        self.owners[usize::from(slot.number())] = number;
    }

    /// Whether another has the slot now.
    pub fn differs(&self, now: &Self, slot: Slot) -> bool {
        self.owner(slot) != now.owner(slot)
    }

    /// Whether a primary of this map is none any more in `now`: then another may have taken over from it, without the last that it
    /// was told.
    pub fn has_lost(&self, now: &Self) -> bool {
        let is_one = |place: &Place| now.primaries.iter().any(|there| there == place);
        self.primaries.iter().any(|place| !is_one(place))
    }

    /// The primaries of this map of which another has a slot in `now`.
    pub fn losers(&self, now: &Self) -> Vec<&Place> {
        let lost = (0..SLOTS).map(Slot).filter(|slot| self.differs(now, *slot)).filter_map(|slot| self.owner(slot));
        let mut losers: Vec<&Place> = lost.collect();
        losers.sort_unstable();
        losers.dedup();
        losers
    }

    /// A name that this node answers for, and under which nothing is kept: as the only one to do so, it says by its answer that it
    /// still is a primary. None where it has no slot, or not that of a namespace in braces.
    pub fn sign_of(&self, place: &Place, names: &Names) -> Option<Vec<u8>> {
        // With as many names as that even one slot has one.
        let most = if names.namespace().is_in_braces() { 1 } else { SIGNS };
        (0..most).map(|number| names.sign(number)).find(|name| self.owner(Slot::of(name)) == Some(place))
    }

    /// The answer that most nodes gave; of as many, the one that came first.
    pub fn agreed(answers: &[Self]) -> Option<Self> {
        let votes = |map: &Self| answers.iter().filter(|other| map.is_like(other)).count();
        answers.iter().rev().max_by_key(|map| votes(map)).cloned()
    }

    fn is_like(&self, other: &Self) -> bool {
        (0..SLOTS).all(|slot| self.owner(Slot(slot)) == other.owner(Slot(slot)))
    }

    fn number(&mut self, place: Place) -> u16 {
        let number = self.primaries.iter().position(|there| *there == place).unwrap_or_else(|| {
            self.primaries.push(place);
            self.primaries.len() - 1
        });
        // There are no more nodes than slots.
        number as u16
    }
}

impl Default for SlotMap {
    /// The map of a cluster in which nobody has anything.
    fn default() -> Self {
        Self { owners: vec![NOBODY; usize::from(SLOTS)].into(), primaries: Vec::new(), replicas: Vec::new() }
    }
}

impl fmt::Debug for SlotMap {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SlotMap").field("primaries", &self.primaries).finish_non_exhaustive()
    }
}

fn list(reply: Reply) -> Result<Vec<Reply>, Fault> {
    match reply {
        Reply::List(list) => Ok(list),
        Reply::Error(fault) => Err(fault),
        _ => Err(Fault::Protocol),
    }
}

fn slot(reply: Option<&Reply>) -> Result<u16, Fault> {
    let Some(Reply::Int(number)) = reply else { return Err(Fault::Protocol) };
    u16::try_from(*number).ok().filter(|&number| number < SLOTS).ok_or(Fault::Protocol)
}

/// A node: host, port, and more that does not matter.
fn place(reply: Reply, asked: &Place) -> Result<Place, Fault> {
    let mut parts = list(reply)?.into_iter();
    let host = match parts.next() {
        Some(Reply::Bytes(host)) => host,
        Some(Reply::Nil) => Vec::new(),
        _ => return Err(Fault::Protocol),
    };
    let host = core::str::from_utf8(&host).map_err(|_| Fault::Protocol)?;
    let Some(Reply::Int(port)) = parts.next() else { return Err(Fault::Protocol) };
    let port = u16::try_from(port).ok().filter(|&port| port > 0).ok_or(Fault::Protocol)?;
    Ok(Place::told(host, port, asked))
}

const NOBODY: u16 = u16::MAX;

/// Sixteen for a slot.
const SIGNS: u32 = 16 * SLOTS as u32;

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Place {
        Place::new("seed", 1)
    }

    fn node(host: &str, port: i64) -> Reply {
        Reply::List(vec![Reply::Bytes(host.into()), Reply::Int(port), Reply::Bytes(b"id".to_vec())])
    }

    fn range(first: i64, last: i64, nodes: &[Reply]) -> Reply {
        Reply::List([&[Reply::Int(first), Reply::Int(last)], nodes].concat())
    }

    fn map(ranges: &[(i64, i64, &str)]) -> SlotMap {
        let ranges = ranges.iter().map(|(first, last, host)| range(*first, *last, &[node(host, 1)]));
        SlotMap::read(Reply::List(ranges.collect()), &asked()).unwrap()
    }

    fn owner(map: &SlotMap, slot: u16) -> Option<&str> {
        map.owner(Slot(slot)).map(|place| &*place.host)
    }

    #[test]
    fn a_map_knows_the_owner_of_each_slot_and_all_nodes() {
        let unnamed = Reply::List(vec![Reply::Nil, Reply::Int(7)]);
        let told = Reply::List(vec![
            range(0, 99, &[node("a", 1), node("b", 2)]),
            range(100, 100, &[unnamed]),
            range(200, 16_383, &[node("a", 1), node("b", 2)]),
        ]);
        let map = SlotMap::read(told, &asked()).unwrap();
        assert_eq!(
            [0, 99, 100, 101, 199, 16_383].map(|slot| owner(&map, slot)),
            [Some("a"), Some("a"), Some("seed"), None, None, Some("a"),]
        );
        assert_eq!(map.primaries(), [Place::new("a", 1), Place::new("seed", 7)]);
        assert_eq!(map.nodes().count(), 3);
    }

    #[test]
    fn what_no_cluster_says_is_an_error() {
        let disabled = Fault::server("ERR", "This instance has cluster support disabled");
        assert_eq!(SlotMap::read(Reply::Error(disabled.clone()), &asked()), Err(disabled));
        for told in [
            Reply::Nil,
            Reply::List(vec![Reply::Int(1)]),
            Reply::List(vec![range(0, 16_384, &[node("a", 1)])]),
            Reply::List(vec![range(-1, 5, &[node("a", 1)])]),
            Reply::List(vec![range(0, 5, &[])]),
            Reply::List(vec![range(0, 5, &[node("a", 70_000)])]),
        ] {
            assert_eq!(SlotMap::read(told.clone(), &asked()), Err(Fault::Protocol), "{told:?}");
        }
    }

    #[test]
    fn a_slot_that_moved_is_somewhere_else_and_the_others_stay() {
        let before = map(&[(0, 99, "a"), (100, 16_383, "b")]);
        let mut now = before.clone();
        now.moved(Slot(7), &Place::new("c", 1));
        assert_eq!([6, 7, 8].map(|slot| owner(&now, slot)), [Some("a"), Some("c"), Some("a")]);
        assert!(before.differs(&now, Slot(7)) && !before.differs(&now, Slot(8)));
        assert!(!before.has_lost(&now), "who gave a slot away is still there");
        assert!(before.has_lost(&map(&[(0, 99, "c"), (100, 16_383, "b")])));
    }

    #[test]
    fn who_lost_a_slot_to_another_is_known() {
        let before = map(&[(0, 99, "a"), (100, 199, "b"), (200, 16_383, "c")]);
        let now = map(&[(0, 50, "b"), (51, 99, "a"), (100, 16_383, "b")]);
        assert_eq!(before.losers(&now), [&Place::new("a", 1), &Place::new("c", 1)]);
        assert_eq!(before.losers(&before), [] as [&Place; 0]);
    }

    #[test]
    fn a_node_has_a_name_to_answer_for_be_it_of_one_slot() {
        let names = Names::new(crate::key::Namespace::new("app").unwrap());
        let map = map(&[(0, 7_776, "a"), (7_777, 7_777, "b"), (7_778, 16_383, "a")]);
        for place in map.primaries() {
            let name = map.sign_of(place, &names).unwrap();
            assert!(name.starts_with(b"app!") && map.owner(Slot::of(&name)) == Some(place));
        }
        assert_eq!(map.sign_of(&Place::new("c", 1), &names), None);
    }

    #[test]
    fn of_a_namespace_in_braces_one_node_answers_for_all() {
        let names = Names::new(crate::key::Namespace::new("{app}").unwrap());
        let slot = Slot::of(b"{app}:k");
        let at = i64::from(slot.0);
        let map = map(&[(0, at - 1, "a"), (at, at, "b"), (at + 1, 16_383, "a")]);
        let signs = map.primaries().iter().map(|place| map.sign_of(place, &names).is_some());
        assert_eq!(
            signs.collect::<Vec<_>>(),
            map.primaries().iter().map(|place| place == &Place::new("b", 1)).collect::<Vec<_>>()
        );
        assert!([names.table_of("jobs"), names.lock("l"), names.fence("l")].iter().all(|name| Slot::of(name) == slot));
    }

    #[test]
    fn most_nodes_are_believed() {
        let (new, old) = (map(&[(0, 16_383, "a")]), map(&[(0, 16_383, "b")]));
        assert_eq!(SlotMap::agreed(&[old.clone(), new.clone(), new.clone()]), Some(new.clone()));
        assert_eq!(SlotMap::agreed(&[old.clone(), new]), Some(old));
        assert_eq!(SlotMap::agreed(&[]), None);
    }
}
