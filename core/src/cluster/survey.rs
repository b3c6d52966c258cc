//! Survey: whether a sweep over all primaries has seen each key, or has to go round again as keys were on the move.
//!
//! A key that goes from a node that is swept late to one that was swept early is met on neither. So the nodes say before and after
//! each round which slots they have, under which epoch, and which of them are open, that is, give or take keys one by one. A slot that
//! stood still is done with. The epoch is all of a node's: it tells of slots that went and came back within a round, but also of every
//! other that came, so that it counts for the first rounds only, or no sweep would end while slots are being dealt out. One that is open in the same way before and after two rounds is, too: a key goes from one node to
//! another once at most meanwhile, so that one of the rounds met it. All others want another round.

use alloc::vec;
use alloc::vec::Vec;

use crate::fault::Fault;

use super::{SLOTS, Slot, SlotMap};

/// Who had which slots at one moment, by the words of the nodes themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View(Vec<Claim>);

/// Who has one slot, hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Claim {
    /// The node. [`NOBODY`] has it, or [`UNKNOWN`].
    node: u64,
    epoch: u64,
    /// From where or to where keys go; 0 where none do.
    open: u64,
}

impl View {
    /// A view in which no node has said anything yet: of what is on the map it is not known who has it.
    pub fn new(map: &SlotMap) -> Self {
        let claim = |slot| Claim { node: map.owner(Slot(slot)).map_or(NOBODY, |_| UNKNOWN), epoch: 0, open: 0 };
        Self((0..SLOTS).map(claim).collect())
    }

    /// Notes what one node answered to `CLUSTER NODES`. What it says of others does not count.
    ///
    /// # Errors
    ///
    /// [`Fault::Protocol`] where it says nothing of itself.
    pub fn hear(&mut self, nodes: &[u8]) -> Result<(), Fault> {
        let text = core::str::from_utf8(nodes).map_err(|_| Fault::Protocol)?;
        let mine = text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let mut mine =
            mine.filter(|parts| parts.get(2).is_some_and(|flags| flags.split(',').any(|flag| flag == "myself")));
        let parts = mine.next().ok_or(Fault::Protocol)?;
        let (Some(id), Some(epoch)) = (parts.first(), parts.get(6)) else { return Err(Fault::Protocol) };
        let (node, epoch) = (hash(BASIS, id).max(UNKNOWN + 1), hash(BASIS, epoch));
        for part in parts.iter().skip(8).filter(|part| !part.is_empty()) {
            if let Some(mark) = part.strip_prefix('[') {
                let slot = mark.split('-').next().and_then(|slot| slot.parse().ok());
                let claim = slot.and_then(|slot: usize| self.0.get_mut(slot)).ok_or(Fault::Protocol)?;
                // Both ends may say it, in any order.
                claim.open ^= hash(BASIS, part) | 1;
            } else {
                let (first, last) = part.split_once('-').unwrap_or((part, part));
                let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) else {
                    return Err(Fault::Protocol);
                };
                let range = self.0.get_mut(first..=last).ok_or(Fault::Protocol)?;
                for claim in range {
                    (claim.node, claim.epoch) = (node, epoch);
                }
            }
        }
        Ok(())
    }
}

/// The rounds of one sweep.
#[derive(Clone, Debug)]
pub struct Survey {
    last: View,
    /// For each slot in how many rounds on end it was open in the same way; [`DONE`] where it is done with.
    rounds: Vec<u8>,
    left: u32,
}

/// What is to follow a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// Nothing: each key that was there from the beginning was met.
    Done,
    /// Another.
    Again,
    /// Slots move without end: it has to be tried again later.
    GiveUp,
}

impl Survey {
    /// Before the first round.
    pub fn new(before: View) -> Self {
        Self { last: before, rounds: vec![0; usize::from(SLOTS)], left: MOST_ROUNDS }
    }

    /// After a round over all primaries that the map had when it began. `after` is a view of them once it was over.
    pub fn went_round(&mut self, after: View) -> Round {
        let mut is_done = true;
        let is_strict = MOST_ROUNDS - self.left < STRICT_ROUNDS;
        for ((rounds, before), after) in self.rounds.iter_mut().zip(&self.last.0).zip(&after.0) {
            if *rounds == DONE {
                continue;
            }
            let same = before.node == after.node && before.open == after.open && after.node != UNKNOWN;
            *rounds = match same && (!is_strict || before.epoch == after.epoch) {
                true if after.open == 0 || *rounds == 1 => DONE,
                true => 1,
                false => 0,
            };
            is_done &= *rounds == DONE;
        }
        self.last = after;
        self.left -= 1;
        match (is_done, self.left) {
            (true, _) => Round::Done,
            (false, 0) => Round::GiveUp,
            (false, _) => Round::Again,
        }
    }
}

/// FNV-1a, and no number twice for different parts.
fn hash(basis: u64, text: &str) -> u64 {
    let bytes = text.bytes().chain([0xFF]);
    bytes.fold(basis, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const NOBODY: u64 = 0;
const UNKNOWN: u64 = 1;
const DONE: u8 = 2;

/// A slot that moves wants two more rounds; while slots move one after the other, each round has others.
const MOST_ROUNDS: u32 = 32;

/// In so many of them a node that has a new epoch is another.
const STRICT_ROUNDS: u32 = 6;

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use proptest::prelude::*;

    use super::*;
    use crate::cluster::Place;
    use crate::remote::call::Reply;

    fn map() -> SlotMap {
        let node = |port| Reply::List(vec![Reply::Bytes(b"h".to_vec()), Reply::Int(port)]);
        let told = Reply::List(vec![
            Reply::List(vec![Reply::Int(0), Reply::Int(9_999), node(1)]),
            Reply::List(vec![Reply::Int(10_000), Reply::Int(16_383), node(2)]),
        ]);
        SlotMap::read(told, &Place::new("h", 1)).unwrap()
    }

    fn line(id: &str, flags: &str, epoch: u32, slots: &str) -> String {
        format!("{id} 127.0.0.1:1@2,name {flags} - 0 1 {epoch} connected {slots}\n")
    }

    fn view(told: &[String]) -> View {
        let mut view = View::new(&map());
        for text in told {
            view.hear(text.as_bytes()).unwrap();
        }
        view
    }

    fn a(slots: &str) -> String {
        line("b", "master", 9, "0-16383") + &line("a", "myself,master", 1, slots)
    }

    fn b(slots: &str) -> String {
        line("b", "myself,master", 2, slots)
    }

    #[test]
    fn one_round_is_enough_while_nothing_moves() {
        let still = view(&[a("0-9999"), b("10000-16383")]);
        assert_eq!(Survey::new(still.clone()).went_round(still), Round::Done);
    }

    #[test]
    fn a_slot_that_moved_during_a_round_wants_one_during_which_it_stood_still() {
        let before = view(&[a("0-9999"), b("10000-16383")]);
        let after = view(&[a("0-41 43-9999"), b("42 10000-16383")]);
        let mut survey = Survey::new(before);
        assert_eq!(survey.went_round(after.clone()), Round::Again);
        let others = view(&[a("0-41 44-9999"), b("42-43 10000-16383")]);
        assert_eq!(survey.went_round(others.clone()), Round::Done, "slot 43 was met in the first round");
    }

    #[test]
    fn an_open_slot_wants_two_rounds_and_a_third_where_it_was_closed_meanwhile() {
        let open = view(&[a("0-9999 [42->-b]"), b("10000-16383 [42-<-a]")]);
        let mut survey = Survey::new(open.clone());
        assert_eq!([(); 2].map(|()| survey.went_round(open.clone())), [Round::Again, Round::Done]);
        let moved = view(&[a("0-41 43-9999"), b("42 10000-16383")]);
        let mut survey = Survey::new(open.clone());
        assert_eq!(survey.went_round(open), Round::Again);
        assert_eq!([(); 2].map(|()| survey.went_round(moved.clone())), [Round::Again, Round::Done]);
    }

    #[test]
    fn who_took_over_is_another_and_who_said_nothing_is_not_known() {
        let before = view(&[a("0-9999"), b("10000-16383")]);
        let taken_over = view(&[a("0-9999"), line("c", "myself,master", 3, "10000-16383")]);
        assert_eq!(Survey::new(before.clone()).went_round(taken_over), Round::Again);
        let back = view(&[a("0-9999"), line("b", "myself,master", 7, "10000-16383")]);
        assert_eq!(Survey::new(before.clone()).went_round(back), Round::Again, "and so is one that has a new epoch");
        let mut survey = Survey::new(before.clone());
        let at = |epoch| view(&[a("0-9999"), line("b", "myself,master", epoch, "10000-16383")]);
        assert_eq!((3..3 + STRICT_ROUNDS).map(|epoch| survey.went_round(at(epoch))).last(), Some(Round::Again));
        assert_eq!(survey.went_round(at(99)), Round::Done, "while slots are dealt out that has to do");
        let silent = view(&[a("0-9999")]);
        let mut survey = Survey::new(silent.clone());
        assert_eq!(survey.went_round(silent.clone()), Round::Again);
        assert_eq!((1..MOST_ROUNDS).map(|_| survey.went_round(silent.clone())).last(), Some(Round::GiveUp));
        let demoted = view(&[a("0-9999"), line("b", "myself,slave", 2, "")]);
        assert_eq!(Survey::new(demoted.clone()).went_round(demoted), Round::Again);
    }

    #[test]
    fn what_is_no_list_of_nodes_is_an_error() {
        for text in [
            "",
            "x",
            &line("a", "master", 1, "0-5"),
            &line("a", "myself", 1, "0-16384"),
            &line("a", "myself", 1, "x"),
            &line("a", "myself", 1, "[x"),
        ] {
            assert_eq!(View::new(&map()).hear(text.as_bytes()), Err(Fault::Protocol), "{text}");
        }
    }

    /// Two nodes and one slot, whose keys go from the one to the other, and perhaps back.
    #[derive(Clone, Debug)]
    enum Step {
        Open,
        MoveKey,
        Close,
        SweepNode(bool),
    }

    proptest! {
        #[test]
        fn no_key_is_missed_however_its_slot_moves(steps in prop::collection::vec(prop_oneof![
            2 => Just(Step::Open), 3 => Just(Step::MoveKey), 2 => Just(Step::Close),
            6 => any::<bool>().prop_map(Step::SweepNode),
        ], 1..80)) {
            // Who has the slot, where the key is, whether the slot is open, the epoch, and whether the key was met.
            let (mut owner, mut key, mut open, mut epoch, mut met) = (false, false, false, 0_u32, false);
            let mut closed = 0;
            let look = |owner: bool, open: bool, epoch: u32| {
                let marks = if open { ["[0->-x]", "[0-<-x]"] } else { ["", ""] };
                let told = |it: bool| {
                    let slots = format!("{} {}", if owner == it { "0-16383" } else { "" }, marks[usize::from(owner != it)]);
                    line(if it { "b" } else { "a" }, "myself,master", epoch, slots.trim())
                };
                view(&[told(false), told(true)])
            };
            let mut survey = Survey::new(look(owner, open, epoch));
            let mut swept = [false; 2];
            for step in steps {
                match step {
                    Step::Open => open = true,
                    Step::MoveKey => key = if open { !owner } else { key },
                    // All keys have gone before a slot is given away.
                    Step::Close if open && closed == 0 => {
                        (owner, key, open, epoch) = (!owner, !owner, false, epoch + 1);
                        closed = usize::from(epoch >= STRICT_ROUNDS);
                    }
                    Step::Close => {}
                    Step::SweepNode(which) => {
                        swept[usize::from(which)] = true;
                        met |= key == which;
                        if swept == [true; 2] {
                            (swept, closed) = ([false; 2], 0);
                            if survey.went_round(look(owner, open, epoch)) != Round::Again {
                                prop_assert!(met);
                                break;
                            }
                        }
                    }
                }
            }
        }
    }
}
