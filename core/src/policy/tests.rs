use std::time::Duration;

use super::*;
use crate::blocks::BLOCK;

const START: Moment = Moment::from_millis(1_000);

fn bounded(max_weight: u64) -> Policy {
    Policy::new(Bounds { max_weight, max_entries: None, idle_weight: 0 })
}

fn hash(key: u64) -> u32 {
    (key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u32
}

fn put(policy: &mut Policy, key: u64, weight: u64) -> Slot {
    let slot = policy.open(hash(key));
    policy.put(slot, Weight::new(weight), Life::FOREVER);
    slot
}

fn evict_all(policy: &mut Policy) -> Vec<Slot> {
    let gone: Vec<_> = std::iter::from_fn(|| policy.evict(START)).map(|(slot, _)| slot).collect();
    policy.validate();
    gone
}

fn close_evicted(policy: &mut Policy) {
    for slot in evict_all(policy) {
        policy.close(slot);
    }
}

fn sure<T: Copy + Default, U: Default>(policy: &Policy<T, U>, slot: Slot, now: Moment) -> Option<T> {
    let line = policy.line(slot);
    line.is_sure(now).then_some(*line.kept())
}

fn touch_all(policy: &Policy, slots: &[Slot]) {
    for &slot in slots {
        policy.line(slot).touch();
    }
}

#[test]
fn nothing_leaves_while_the_bounds_hold_and_then_no_more_than_must() {
    let mut policy = Policy::new(Bounds { max_weight: u64::MAX, max_entries: Some(100), idle_weight: 0 });
    for key in 0..1_000 {
        put(&mut policy, key, 1);
        close_evicted(&mut policy);
        assert_eq!(policy.entries(), (key + 1).min(100));
    }
    assert_eq!(policy.slots(), 101, "closed slots are used again");
}

#[test]
fn what_was_used_outlives_a_scan() {
    let mut policy = bounded(100);
    let used: Vec<_> = (0..50).map(|key| put(&mut policy, key, 1)).collect();
    for key in 50..5_000 {
        // Once for every hundred keys that the scan brings.
        if key % 100 == 0 {
            touch_all(&policy, &used);
        }
        put(&mut policy, key, 1);
        close_evicted(&mut policy);
    }
    let kept = used.iter().filter(|slot| policy.hash(**slot) == hash(slot.0.into()));
    assert_eq!(kept.count(), 50);
}

#[test]
fn a_heavy_value_does_not_push_out_many_light_ones() {
    let mut policy = bounded(1_000);
    for key in 0..1_000 {
        put(&mut policy, key, 1);
    }
    let heavy = put(&mut policy, 1_000, 900);
    policy.line(heavy).touch();
    let gone = evict_all(&mut policy);
    assert!(gone.contains(&heavy));
    assert!(policy.entries() > 970, "only {} of 1000 light values are left", policy.entries());
}

#[test]
fn a_heavy_value_enters_where_it_is_asked_for_more_than_all_it_pushes_out() {
    let mut policy = bounded(1_000);
    for key in 0..10 {
        put(&mut policy, key, 100);
    }
    for _ in 0..15 {
        let slot = put(&mut policy, 10, 300);
        evict_all(&mut policy);
        policy.line(slot).touch();
        if policy.holds(slot) {
            assert!(policy.entries() <= 8);
            return;
        }
        policy.close(slot);
    }
    panic!("a value asked for fifteen times was never admitted");
}

#[test]
fn slots_of_the_lowest_block_are_opened_first_and_blocks_at_the_end_go_once_all_of_theirs_are_closed() {
    let mut policy = bounded(1);
    let slots: Vec<_> = (0..5 * BLOCK as u64).map(|key| policy.open(hash(key))).collect();
    let close = |policy: &mut Policy, slots: &[Slot]| {
        for &slot in slots {
            policy.close(slot);
        }
        policy.validate();
    };
    close(&mut policy, &slots[4 * BLOCK + 1..]);
    close(&mut policy, &slots[2 * BLOCK..4 * BLOCK]);
    assert_eq!(policy.slots(), 5 * BLOCK, "one is open in the last block");
    close(&mut policy, &slots[BLOCK + 5..][..1]);
    assert_eq!(policy.open(0), slots[BLOCK + 5]);
    close(&mut policy, &slots[4 * BLOCK..][..1]);
    assert_eq!(policy.slots(), 2 * BLOCK);
    close(&mut policy, &slots[..2 * BLOCK]);
    assert_eq!(policy.slots(), BLOCK, "the first block stays");
    assert_eq!(policy.open(0).index() / BLOCK, 0);
}

#[test]
fn idle_slots_weigh_and_values_that_keep_many_of_them_leave() {
    let light = 10 * BLOCK as u64;
    let mut policy = Policy::new(Bounds { max_weight: 20 * light, max_entries: None, idle_weight: 10 });
    let slots: Vec<_> = (0..light).map(|key| put(&mut policy, key, 20)).collect();
    // One of fifty stays, wherever it stands.
    for &slot in slots.iter().filter(|slot| slot.index() % 50 > 0) {
        policy.remove(slot);
        policy.close(slot);
    }
    assert_eq!(policy.slots(), 10 * BLOCK);
    for key in light..light + 100 {
        put(&mut policy, key, 2_000);
        close_evicted(&mut policy);
        let idle = policy.slots() as u64 - policy.entries();
        assert!(policy.weight() + 10 * idle <= 20 * light);
    }
    assert!(policy.slots() <= 3 * BLOCK, "{} slots for {} values", policy.slots(), policy.entries());
}

#[test]
fn a_value_whose_time_is_over_leaves_before_the_others_wherever_it_stands() {
    let mut policy = bounded(100);
    let slots: Vec<_> = (0..101).map(|key| put(&mut policy, key, 1)).collect();
    (0..3).for_each(|_| touch_all(&policy, &slots));
    // Farther back than one call looks.
    policy.retime(slots[70], Life::new(START, START));
    let now = START.after(Duration::from_millis(2));
    assert_eq!(policy.evict(now), Some((slots[70], Removal::Expired)));
    assert_eq!(policy.evict(now), None);
}

#[test]
fn a_value_over_for_less_than_a_tick_is_seen_as_such_where_it_stands_first() {
    let mut policy = bounded(10);
    let slots: Vec<_> = (0..11).map(|key| put(&mut policy, key, 1)).collect();
    touch_all(&policy, &slots);
    policy.retime(slots[0], Life::new(START, START));
    assert_eq!(policy.expire(START), None, "the tick is not over");
    assert_eq!(policy.evict(START), Some((slots[0], Removal::Expired)));
}

#[test]
fn a_read_writes_nothing_once_a_value_is_much_used() {
    let mut policy = bounded(10);
    let slot = put(&mut policy, 0, 1);
    for uses in [1, 2, 3, 3, 3] {
        policy.line(slot).touch();
        assert_eq!(policy.rows.hot[slot.index()].uses.load(Ordering::Relaxed), uses);
    }
}

#[test]
fn a_new_value_in_place_of_an_old_one_changes_weight_and_life_and_counts_as_a_use() {
    let mut policy = bounded(100);
    let slot = put(&mut policy, 0, 10);
    let life = Life::new(START, START);
    policy.put(slot, Weight::new(30), life);
    policy.validate();
    assert_eq!((policy.weight(), policy.entries(), policy.life(slot)), (30, 1, Some(life)));
    assert_eq!(policy.rows.hot[slot.index()].uses.load(Ordering::Relaxed), 1);
}

#[test]
fn what_is_known_of_a_slot_is_what_was_put_until_it_leaves() {
    let mut policy: Policy<u8> = Policy::new(Bounds { max_weight: 100, max_entries: None, idle_weight: 0 });
    let (fresh_until, usable_until) = (START.after(Duration::from_secs(1)), START.after(Duration::from_secs(2)));
    let slots: Vec<_> = (0..3).map(|key| policy.open(hash(key))).collect();
    let slot = slots[2];
    assert_eq!(Slot::from_index(slot.number()), slot);
    assert_eq!((policy.freshness(slot, START), sure(&policy, slot, START), policy.next_deadline()), (None, None, None));
    policy[slot] = 7;
    policy.put(slot, Weight::new(30), Life::new(fresh_until, usable_until));
    assert_eq!(
        (policy.get(slot), policy.get(Slot(3)), policy.weight_of(slot)),
        (Some(&7), None, Some(Weight::new(30)))
    );
    let known = |policy: &Policy<u8>, now| (policy.freshness(slot, now), sure(policy, slot, now));
    assert_eq!(known(&policy, START), (Some(Freshness::Fresh), Some(7)));
    assert_eq!(known(&policy, fresh_until), (Some(Freshness::Stale), None));
    assert_eq!(known(&policy, usable_until), (Some(Freshness::Over), None));
    assert!(policy.next_deadline().is_some_and(|at| at > START && at <= usable_until));
    assert_eq!(policy.expire(usable_until.before(Duration::from_nanos(1))), None);
    assert_eq!(policy.expire(usable_until.after(Duration::from_millis(2))), Some(slot));
    assert_eq!((known(&policy, START), policy.weight_of(slot), policy.entries()), ((None, None), None, 0));
}

#[test]
fn a_value_in_doubt_is_fresh_and_not_sure() {
    let mut policy: Policy<u8, u8> = Policy::new(Bounds { max_weight: 100, max_entries: None, idle_weight: 0 });
    let end = START.after(Duration::from_secs(100));
    let slot = policy.open(7);
    policy[slot] = 1;
    *policy.parts(slot).rest = 2;
    policy.put(slot, Weight::new(1), Life::new(end, end));
    let known = |policy: &Policy<u8, u8>, now| (policy.freshness(slot, now), sure(policy, slot, now));
    let nanosecond = Duration::from_nanos(1);
    assert_eq!(known(&policy, end.before(nanosecond)), (Some(Freshness::Fresh), Some(1)), "nobody has doubts");
    for nanos in [1, 2, 3, 1_000, 1_023, 1_024, 5_000_000_000] {
        let doubt = Duration::from_nanos(nanos);
        policy.doubt(slot, doubt);
        for (before, expected) in [(doubt, None), (doubt * 2, Some(1))] {
            assert_eq!(known(&policy, end.before(before)), (Some(Freshness::Fresh), expected), "{before:?} before");
        }
    }
    policy.doubt(slot, Duration::MAX);
    assert_eq!(known(&policy, Moment::default()), (Some(Freshness::Fresh), None));
    policy.retime(slot, Life::FOREVER);
    assert_eq!(known(&policy, Moment::NEVER), (Some(Freshness::Fresh), Some(1)), "what has no end is beyond doubt");
    policy.remove(slot);
    policy.validate();
    assert_eq!((known(&policy, Moment::default()), *policy.rest(slot)), ((None, None), 2), "what is kept stays");
}

#[test]
#[should_panic(expected = "slot 0 has no value, yet is sure of it")]
fn a_slot_that_is_sure_of_no_value_is_found() {
    let mut policy = bounded(100);
    policy.open(hash(0));
    policy.rows.set_life(0, Life::FOREVER);
    policy.validate();
}

#[test]
#[should_panic(expected = "a slot holds a value that no queue knows")]
fn what_is_not_as_it_must_be_is_found() {
    let mut policy = bounded(100);
    let slot = put(&mut policy, 0, 1);
    policy.order.leave(&mut policy.rows, slot.0);
    policy.rows.hot[slot.index()].place = Place::Window;
    policy.validate();
}

#[test]
fn what_can_never_fit_is_not_admitted() {
    assert!(bounded(100).admits(Weight::new(100)));
    assert!(!bounded(100).admits(Weight::new(101)));
    let none: Policy = Policy::new(Bounds { max_weight: 100, max_entries: Some(0), idle_weight: 0 });
    assert!(!none.admits(Weight::new(1)));
}

#[test]
#[should_panic(expected = "only an empty slot can be closed")]
fn a_slot_with_a_value_cannot_be_closed() {
    let mut policy = bounded(1);
    let slot = put(&mut policy, 0, 1);
    policy.close(slot);
}
