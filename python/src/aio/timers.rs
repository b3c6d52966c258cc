//! Timers: who sleeps until when.
//!
//! Owns the sleepers, in the order of their ends. Must not know what wakes at the time: that is one alarm of the event loop, set
//! for the earliest. Invariant: the alarm is never later than the earliest end.

use std::collections::BTreeMap;
use std::task::Waker;

use donjon_core::moment::Moment;

/// A sleeper: its end, and a number where two have the same.
pub(super) type Sleeper = (Moment, u64);

#[derive(Debug)]
pub(super) struct Timers {
    sleepers: BTreeMap<Sleeper, Waker>,
    next: u64,
    alarm: Moment,
}

impl Default for Timers {
    fn default() -> Self {
        Self { sleepers: BTreeMap::new(), next: 0, alarm: Moment::NEVER }
    }
}

impl Timers {
    /// Notes who is to be woken at `end`; true where the alarm must now be set for an earlier time.
    pub(super) fn add(&mut self, end: Moment, waker: Waker) -> (Sleeper, bool) {
        let sleeper = (end, self.next);
        self.next += 1;
        self.sleepers.insert(sleeper, waker);
        let earlier = end < self.alarm;
        self.alarm = self.alarm.min(end);
        (sleeper, earlier)
    }

    /// Wakes another from now on; the former waker is the caller's to drop.
    pub(super) fn replace(&mut self, sleeper: Sleeper, waker: Waker) -> Option<Waker> {
        self.sleepers.insert(sleeper, waker)
    }

    /// Forgets a sleeper; its waker is the caller's to drop. The alarm stays: to set it anew costs more than to hear it in vain.
    pub(super) fn remove(&mut self, sleeper: Sleeper) -> Option<Waker> {
        self.sleepers.remove(&sleeper)
    }

    /// The alarm rang: takes who has slept enough, and says for when it is to be set next.
    pub(super) fn ring(&mut self, now: Moment) -> (Vec<Waker>, Option<Moment>) {
        let mut over = Vec::new();
        while let Some(first) = self.sleepers.first_entry() {
            if first.key().0 > now {
                break;
            }
            over.push(first.remove());
        }
        let next = self.sleepers.first_key_value().map(|(sleeper, _)| sleeper.0);
        self.alarm = next.unwrap_or(Moment::NEVER);
        (over, next)
    }

    /// For when the alarm is to be set.
    pub(super) fn alarm(&self) -> Moment {
        self.alarm
    }
}
