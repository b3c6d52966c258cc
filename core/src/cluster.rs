//! Cluster: what is different where many servers share the keys: who has which, and what to make of it when that changes.
//!
//! Owns slots, the map of them, what a redirection means, and when a sweep has seen every key. Must not know how a node is
//! asked: it is given [`Reply`](crate::remote::call::Reply)s and says what to do.
//!
//! | to find out | look in |
//! |---|---|
//! | which node has a name, and which nodes there are | [`Slot`], [`SlotMap`] |
//! | what is to be said again, and where | [`Redirect`], [`to_repeat`] |
//! | whether a sweep has to go round again, as keys were on the move | [`Survey`], [`View`] |

mod map;
mod redirect;
mod survey;

pub use map::{Place, SlotMap};
pub use redirect::{Redirect, to_repeat};
pub use survey::{Round, Survey, View};

use crate::key::Key;
use crate::outbox::{Outbox, Target};
use crate::remote::call::Call;
use crate::remote::name::Names;

/// How many slots there are.
pub const SLOTS: u16 = 16_384;

/// One of the parts that the keys of a cluster are dealt out in: a node has a part as a whole, save while it is on the move.
///
/// # Examples
///
/// ```
/// use donjon_core::cluster::Slot;
///
/// assert_eq!(Slot::of(b"123456789").number(), 12_739);
/// assert_eq!(Slot::of(b"app:{user:1}:name"), Slot::of(b"user:1"), "only what is in the first braces counts");
/// assert_ne!(Slot::of(b"app:{}:name"), Slot::of(b""), "unless nothing is in them");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

impl Slot {
    /// The slot of a name as it is called in Redis.
    pub fn of(name: &[u8]) -> Self {
        Self(crc16(tag_of(name)) % SLOTS)
    }

    /// The slot of this number; none where there is no such slot.
    pub fn new(number: u16) -> Option<Self> {
        (number < SLOTS).then_some(Self(number))
    }

    /// The slot that decides about a call; none where any node can answer it.
    pub fn of_call(call: &Call) -> Option<Self> {
        call.name().map(Self::of)
    }

    /// The slot that is meant by an invalidation; none where it means all of them.
    pub fn of_target(target: &Target, names: &Names) -> Option<Self> {
        match target {
            Target::Key(key) => Key::new(key).ok().map(|key| Self::of(&names.key(key))),
            Target::Tag(tag) => Some(Self::of(&names.table_of(tag))),
            Target::Pattern(_) | Target::Everything => None,
        }
    }

    /// Its number, from 0.
    pub fn number(self) -> u16 {
        self.0
    }
}

/// Whether something is owed that has to be said before this call is: what it asks about may be older than was promised. What is
/// owed to a node that is away does not keep others from being read.
pub fn is_held_back(call: &Call, outbox: &Outbox, names: &Names) -> bool {
    call.names().any(|name| outbox.owes(names.key_of(name), |tag| names.table_of(tag) == name))
}

/// What counts of a name: the part in its first braces, if there is one.
fn tag_of(name: &[u8]) -> &[u8] {
    let Some(open) = name.iter().position(|&byte| byte == b'{') else { return name };
    let rest = &name[open + 1..];
    match rest.iter().position(|&byte| byte == b'}') {
        None | Some(0) => name,
        Some(close) => &rest[..close],
    }
}

/// CRC-16 as XMODEM has it: by a table, since every call takes it.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| (crc << 8) ^ TABLE[usize::from((crc >> 8) as u8 ^ byte)])
}

const TABLE: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Namespace;
    use crate::moment::Moment;

    fn names() -> Names {
        Names::new(Namespace::new("app").unwrap())
    }

    #[test]
    fn a_name_has_the_slot_that_redis_gives_it() {
        // As `CLUSTER KEYSLOT` says.
        for (name, slot) in [
            ("", 0),
            ("foo", 12_182),
            ("{foo}bar", 12_182),
            ("bar{foo}baz", 12_182),
            ("foo{}{bar}", 8_363),
            ("foo{{bar}}zap", 4_015),
            ("foo{bar}{zap}", 5_061),
            ("foo{bar", 15_278),
            ("bar", 5_061),
        ] {
            assert_eq!(Slot::of(name.as_bytes()).number(), slot, "{name}");
        }
    }

    #[test]
    fn what_belongs_together_has_one_slot() {
        let names = names();
        let of = |name: &[u8]| Slot::of(name);
        assert_eq!(of(&names.lock("l{x}")), of(&names.fence("l{x}")));
        assert_eq!(Slot::of_target(&Target::Key("k".into()), &names), Some(of(b"app:k")));
        assert_eq!(Slot::of_target(&Target::Tag("jobs".into()), &names), Some(of(b"app!t3")));
        assert_eq!(Slot::of_target(&Target::Pattern("k".into()), &names), None);
    }

    #[test]
    fn only_what_is_owed_itself_is_held_back() {
        let (names, outbox) = (names(), Outbox::default());
        let get = |name: &str| Call::plain("GET", name.as_bytes());
        outbox.queue(&[Target::Key("a".into()), Target::Tag("jobs".into())]);
        let held = |name: &str| is_held_back(&get(name), &outbox, &names);
        assert!(held("app:a") && held("app!t3"));
        assert!(!held("app:b") && !held("app!t4") && !held("app!r:a"));
        let many = |name: &str| Call::plain("MGET", b"app:b").with(name.as_bytes().to_vec()).with(&b"app!p"[..]);
        assert!(is_held_back(&many("app:a"), &outbox, &names) && !is_held_back(&many("app:c"), &outbox, &names));
        assert!(!is_held_back(&Call::Plain([b"PING"[..].into()].into()), &outbox, &names));
        outbox.queue(&[Target::Pattern("z*".into())]);
        assert!(held("app:b"), "a pattern may mean any");
        outbox.replayed(&outbox.batch(), Moment::from_millis(0));
        assert!(!held("app:a"));
        outbox.queue(&[Target::Everything]);
        assert!(held("app:b"));
    }
}
