//! A world for the outbox to live in: a server that loses what it confirmed, connections that break, replies that come late.

use std::slice::from_ref;
use std::time::Duration;

use proptest::prelude::*;

use super::targets::kind;
use super::{Batch, Epoch, Outbox, REPEAT_WITHIN, Target};
use crate::moment::Moment;

/// A server with six keys, two of a pattern and three of a tag, which may lose what it confirmed of late.
struct World {
    outbox: Outbox,
    now: Moment,
    /// How often each key was written at the source.
    source: [u64; KEYS],
    /// Of which writing the server may hold something older: it holds nothing older than this.
    server: [u64; KEYS],
    /// As much was promised to those whose invalidation returned.
    promised: [u64; KEYS],
    /// What the server did and when, with what it had been before.
    done: Vec<(Moment, [u64; KEYS])>,
    /// Invalidations that the server did, whose callers do not know it yet.
    unreported: Vec<(Target, Epoch, [u64; KEYS])>,
    /// Each with how many of its targets were said.
    batches: Vec<(Batch, usize)>,
}

const KEYS: usize = 6;

#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    /// What is asked, and how it goes.
    Invalidate(Target, Outcome),
    Report(usize),
    Take,
    /// Says so many more targets of a batch.
    Say(usize, usize),
    /// Reports a batch, or gives it up where it was not said in full.
    End(usize),
    Reconnect,
    /// Another server comes up, without what was done in the last ten seconds; the outage lasts so long.
    FailOver(u64),
}

#[derive(Clone, Copy, Debug)]
enum Outcome {
    Confirmed,
    ConfirmedLate,
    DoneButLost,
    NotDone,
}

fn covers(target: &Target, number: usize) -> bool {
    match target {
        Target::Key(name) => **name == *number.to_string(),
        Target::Pattern(text) => text.contains(&number.to_string()),
        Target::Tag(name) => **name == *["even", "odd"][number % 2],
        Target::Everything => true,
    }
}

impl World {
    fn new() -> Self {
        let outbox = Outbox::default();
        let mut kept = outbox.kept.lock();
        (kept.waiting.bounds, kept.said.bounds) = ([3, 1, 1], [3, 1, 1]);
        drop(kept);
        Self {
            outbox,
            now: Moment::from_millis(60_000),
            source: [0; KEYS],
            server: [0; KEYS],
            promised: [0; KEYS],
            done: Vec::new(),
            unreported: Vec::new(),
            batches: Vec::new(),
        }
    }

    fn serve(&mut self, target: &Target) {
        self.done.push((self.now, self.server));
        for number in (0..KEYS).filter(|number| covers(target, *number)) {
            self.server[number] = self.source[number];
        }
    }

    fn promise(&mut self, target: &Target, source: &[u64; KEYS]) {
        for number in (0..KEYS).filter(|number| covers(target, *number)) {
            self.promised[number] = self.promised[number].max(source[number]);
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Pass(millis) => self.now = self.now.after(Duration::from_millis(millis)),
            Step::Invalidate(target, outcome) => {
                (0..KEYS).filter(|number| covers(&target, *number)).for_each(|number| self.source[number] += 1);
                let (epoch, source) = (self.outbox.epoch(), self.source);
                if !matches!(outcome, Outcome::NotDone) {
                    self.serve(&target);
                }
                match outcome {
                    Outcome::Confirmed => self.outbox.sent(from_ref(&target), epoch, self.now),
                    Outcome::ConfirmedLate => return self.unreported.push((target, epoch, source)),
                    Outcome::DoneButLost | Outcome::NotDone => self.outbox.queue(from_ref(&target)),
                }
                self.promise(&target, &source);
            }
            Step::Report(which) if !self.unreported.is_empty() => {
                let (target, epoch, source) = self.unreported.swap_remove(which % self.unreported.len());
                self.outbox.sent(from_ref(&target), epoch, self.now);
                self.promise(&target, &source);
            }
            Step::Take => self.batches.push((self.outbox.batch(), 0)),
            Step::Say(which, many) if !self.batches.is_empty() => {
                let which = which % self.batches.len();
                let (batch, said) = &mut self.batches[which];
                let next: Vec<Target> = batch.targets().iter().skip(*said).take(many).cloned().collect();
                *said += next.len();
                // What a connection is told after its end, nobody does.
                if batch.epoch == self.outbox.epoch() {
                    for target in &next {
                        self.serve(target);
                    }
                }
            }
            Step::End(which) if !self.batches.is_empty() => {
                let (batch, said) = self.batches.swap_remove(which % self.batches.len());
                if said == batch.targets().len() {
                    self.outbox.replayed(&batch, self.now);
                }
            }
            Step::Reconnect => self.outbox.reconnected(self.now),
            Step::FailOver(outage) => {
                let heard = self.now;
                while let Some((_, before)) = self.done.pop_if(|(when, _)| heard - *when <= REPEAT_WITHIN) {
                    self.server = before;
                }
                self.now = self.now.after(Duration::from_millis(outage));
                self.outbox.reconnected(heard);
            }
            Step::Report(_) | Step::Say(..) | Step::End(_) => {}
        }
    }

    /// What was promised is so, or will be before the next read.
    fn check(&self) {
        let kept = self.outbox.kept.lock();
        let waits = kept.waiting.list();
        assert_eq!(self.outbox.is_empty(), waits.is_empty());
        for number in 0..KEYS {
            assert!(
                self.server[number] >= self.promised[number] || waits.iter().any(|target| covers(target, number)),
                "key {number} is older than promised, and only {waits:?} wait"
            );
        }
        for targets in [&kept.waiting.others.keys().collect::<Vec<_>>(), &kept.said.others.keys().collect()] {
            let many = |kind_of: usize| targets.iter().filter(|target| kind(target) == Some(kind_of)).count();
            assert!(many(0) <= 3 && many(1) <= 1 && many(2) <= 1, "too many: {targets:?}");
        }
        assert_eq!(kept.waiting.counts.iter().sum::<usize>(), kept.waiting.others.len());
        assert_eq!(kept.said.counts.iter().sum::<usize>(), kept.said.others.len());
    }
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![
        6 => (0..KEYS).prop_map(|number| Target::Key(number.to_string().into())),
        2 => prop_oneof![Just("[01]"), Just("[234]")].prop_map(|text| Target::Pattern(text.into())),
        2 => prop_oneof![Just("even"), Just("odd")].prop_map(|name| Target::Tag(name.into())),
        1 => Just(Target::Everything),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![
        Just(Outcome::Confirmed),
        Just(Outcome::ConfirmedLate),
        Just(Outcome::DoneButLost),
        Just(Outcome::NotDone)
    ];
    prop_oneof![
        2 => (0..9_000_u64).prop_map(Step::Pass),
        6 => (target(), outcome).prop_map(|(target, outcome)| Step::Invalidate(target, outcome)),
        2 => any::<usize>().prop_map(Step::Report),
        3 => Just(Step::Take),
        4 => (any::<usize>(), prop_oneof![0..3_usize, Just(usize::MAX)]).prop_map(|(which, many)| Step::Say(which, many)),
        1 => Just(Step::Reconnect),
        3 => any::<usize>().prop_map(Step::End),
        2 => (0..60_000_u64).prop_map(Step::FailOver),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn what_was_promised_holds_or_waits_whatever_is_lost_and_in_whatever_order(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
            world.check();
        }
    }
}
