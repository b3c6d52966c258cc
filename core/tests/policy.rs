//! The policy beside a naive model of it: a list of what each slot holds, with exact deadlines.

use std::time::Duration;

use donjon_core::entry::{Freshness, Life, Weight};
use donjon_core::moment::Moment;
use donjon_core::policy::{Bounds, Policy, Slot};
use proptest::prelude::*;

/// The wheel's tick: how late a value may leave.
const TICK: Duration = Duration::from_nanos(1 << 20);

#[derive(Clone, Copy, Debug)]
enum Op {
    Open(u32),
    Close(usize),
    Put { slot: usize, weight: u64, life: [Duration; 2], for_ever: bool },
    Remove(usize),
    Touch(usize),
    Retime(usize, [Duration; 2]),
    Evict,
    Expire,
    Forward(Duration),
    Back(Duration),
}

/// From nothing to ten years, each order of magnitude as likely.
fn spans() -> impl Strategy<Value = Duration> {
    (0..59_u32, any::<u64>()).prop_map(|(bits, any)| Duration::from_nanos(any & ((1 << bits) - 1)))
}

fn ops() -> impl Strategy<Value = Op> {
    let slot = || 0..64_usize;
    let life = || [spans(), spans()];
    prop_oneof![
        6 => (0..40_u32).prop_map(Op::Open),
        1 => slot().prop_map(Op::Close),
        12 => (slot(), 0..130_u64, life(), prop::bool::weighted(0.2))
            .prop_map(|(slot, weight, life, for_ever)| Op::Put { slot, weight, life, for_ever }),
        2 => slot().prop_map(Op::Remove),
        8 => slot().prop_map(Op::Touch),
        3 => (slot(), life()).prop_map(|(slot, life)| Op::Retime(slot, life)),
        4 => Just(Op::Evict),
        4 => Just(Op::Expire),
        6 => spans().prop_map(Op::Forward),
        1 => spans().prop_map(Op::Back),
    ]
}

#[derive(Clone, Copy, Debug, Default)]
struct Held {
    open: bool,
    hash: u32,
    value: Option<(Weight, Life)>,
}

struct Model {
    policy: Policy,
    bounds: Bounds,
    slots: Vec<Held>,
    now: Moment,
    latest: Moment,
}

impl Model {
    fn new(bounds: Bounds) -> Self {
        let now = Moment::from_millis(1_000);
        Self { policy: Policy::new(bounds), bounds, slots: Vec::new(), now, latest: now }
    }

    fn life(&self, [fresh, grace]: [Duration; 2]) -> Life {
        let fresh_until = self.now.after(fresh);
        Life::new(fresh_until, fresh_until.after(grace))
    }

    fn weight(&self) -> u64 {
        self.slots.iter().filter_map(|held| held.value).map(|(weight, _)| weight.get()).sum()
    }

    fn entries(&self) -> u64 {
        self.slots.iter().filter(|held| held.value.is_some()).count() as u64
    }

    fn is_over(&self) -> bool {
        let idle = (self.policy.slots() as u64 - self.entries()) * self.bounds.idle_weight;
        self.weight().saturating_add(idle) > self.bounds.max_weight
            || self.bounds.max_entries.is_some_and(|most| self.entries() > most)
    }

    fn leave(&mut self, slot: Slot) -> (Weight, Life) {
        self.slots[slot.index()].value.take().expect("only what holds a value is named")
    }

    fn evict(&mut self) {
        while let Some((slot, _)) = self.policy.evict(self.now) {
            assert!(self.is_over(), "a value was evicted although the bounds hold");
            let is_over_for_a_tick =
                |held: &Held| held.value.is_some_and(|(_, life)| life.usable_until().after(TICK) <= self.now);
            let one_is_over = self.now == self.latest && self.slots.iter().any(is_over_for_a_tick);
            let (_, life) = self.leave(slot);
            assert!(
                !one_is_over || life.at(self.now) == Freshness::Over,
                "one that could be served left for one that could not"
            );
        }
        assert!(!self.is_over() || self.entries() == 0, "the bounds do not hold after eviction");
    }

    fn expire(&mut self) {
        loop {
            while let Some(slot) = self.policy.expire(self.now) {
                let (_, life) = self.leave(slot);
                assert!(life.usable_until() <= self.now, "a value left before its time");
            }
            if self.policy.next_deadline().is_none_or(|next| next > self.now) {
                break;
            }
        }
        for (slot, held) in self.slots.iter().enumerate() {
            let Some((_, life)) = held.value else { continue };
            let due = life.usable_until();
            let is_late = due.after(TICK) <= self.now && self.now == self.latest;
            assert!(!is_late, "slot {slot} is over and was not named");
            if due != Moment::NEVER {
                let next = self.policy.next_deadline().expect("what has a deadline is waited for");
                assert!(next <= due.max(self.latest).after(TICK), "the next deadline comes too late for slot {slot}");
            }
        }
    }

    fn step(&mut self, op: Op) {
        // What names a slot that is not there names the one it would be, counted round.
        let open = |slots: &[Held], slot: usize| {
            let open: Vec<_> = (0..slots.len()).filter(|&slot| slots[slot].open).collect();
            (!open.is_empty()).then(|| open[slot % open.len()])
        };
        let at = |index: usize| Slot::from_index(u32::try_from(index).expect("few slots"));
        match op {
            Op::Open(hash) => {
                if self.slots.len() >= 64 && self.slots.iter().all(|held| held.open) {
                    return;
                }
                let slot = self.policy.open(hash);
                let closed = self.slots.iter().any(|held| !held.open);
                assert_eq!(closed, slot.index() < self.slots.len(), "closed slots are used first");
                if !closed {
                    assert_eq!(slot.index(), self.slots.len(), "slots are dense");
                    self.slots.push(Held::default());
                }
                assert!(!self.slots[slot.index()].open, "an open slot was opened again");
                self.slots[slot.index()] = Held { open: true, hash, ..Held::default() };
            }
            Op::Forward(by) => {
                // Never so far that a life of ten years and its grace could not be counted.
                self.now = self.now.after(by).min(Moment::from_nanos(1 << 62));
                self.latest = self.latest.max(self.now);
            }
            Op::Back(by) => self.now = self.now.before(by),
            Op::Evict => self.evict(),
            Op::Expire => self.expire(),
            Op::Close(slot) => {
                let Some(slot) = open(&self.slots, slot) else { return };
                if self.slots[slot].value.is_none() {
                    self.policy.close(at(slot));
                    self.slots[slot].open = false;
                }
            }
            Op::Put { slot, weight, life, for_ever } => {
                let Some(slot) = open(&self.slots, slot) else { return };
                let weight = Weight::new(weight);
                let fits = weight.get() <= self.bounds.max_weight && self.bounds.max_entries != Some(0);
                assert_eq!(self.policy.admits(weight), fits);
                if fits {
                    let life = if for_ever { Life::FOREVER } else { self.life(life) };
                    self.policy.put(at(slot), weight, life);
                    self.slots[slot].value = Some((weight, life));
                }
            }
            Op::Remove(slot) => {
                let Some(slot) = open(&self.slots, slot) else { return };
                self.policy.remove(at(slot));
                self.slots[slot].value = None;
            }
            Op::Touch(slot) => {
                let Some(slot) = open(&self.slots, slot) else { return };
                self.policy.line(at(slot)).touch();
            }
            Op::Retime(slot, life) => {
                let Some(slot) = open(&self.slots, slot) else { return };
                let life = self.life(life);
                self.policy.retime(at(slot), life);
                if let Some(value) = &mut self.slots[slot].value {
                    value.1 = life;
                }
            }
        }
    }

    fn check(&self) {
        self.policy.validate();
        assert_eq!(self.policy.slots(), self.slots.len());
        assert_eq!(self.policy.entries(), self.entries());
        assert_eq!(self.policy.weight(), self.weight());
        for (index, held) in self.slots.iter().enumerate() {
            let slot = Slot::from_index(u32::try_from(index).expect("few slots"));
            assert_eq!(self.policy.holds(slot), held.value.is_some());
            assert_eq!(self.policy.weight_of(slot), held.value.map(|(weight, _)| weight));
            assert_eq!(self.policy.life(slot), held.value.map(|(_, life)| life));
            assert_eq!(self.policy.freshness(slot, self.now), held.value.map(|(_, life)| life.at(self.now)));
            assert!(!held.open || self.policy.hash(slot) == held.hash);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn the_policy_agrees_with_the_model_after_each_step(
        max_weight in prop_oneof![0..1_000_u64, Just(u64::MAX)],
        max_entries in prop::option::of(0..40_u64),
        idle_weight in 0..20_u64,
        schedule in prop::collection::vec(ops(), 1..300),
    ) {
        let mut model = Model::new(Bounds { max_weight, max_entries, idle_weight });
        for op in schedule {
            model.step(op);
            model.check();
        }
        model.evict();
        model.now = model.latest;
        model.expire();
        model.now = Moment::from_nanos(u64::MAX - 1);
        model.latest = model.now;
        model.expire();
        model.check();
    }

    /// The wheel alone, without eviction: a value is named between its deadline and a tick later, whatever the steps.
    #[test]
    fn each_value_leaves_within_a_tick_of_its_deadline(
        lives in prop::collection::vec(spans(), 1..400),
        steps in prop::collection::vec(spans(), 1..60),
    ) {
        let mut model = Model::new(Bounds { max_weight: u64::MAX, max_entries: None, idle_weight: 0 });
        for (hash, life) in lives.into_iter().enumerate() {
            let slot = model.policy.open(hash as u32);
            let life = model.life([life, Duration::ZERO]);
            model.policy.put(slot, Weight::new(1), life);
            model.slots.push(Held { open: true, hash: hash as u32, value: Some((Weight::new(1), life)) });
        }
        for step in steps {
            model.step(Op::Forward(step));
            model.expire();
            model.check();
            // As a host does that sleeps until it is told to look again.
            if let Some(next) = model.policy.next_deadline() {
                prop_assert!(next > model.now);
                model.step(Op::Forward(next - model.now));
                model.expire();
            }
        }
    }
}
