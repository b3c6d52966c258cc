use std::collections::{BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::key::Namespace;

const START: Moment = Moment::from_millis(1_000_000);
/// Redis's clock shows something else altogether.
const AHEAD: Duration = Duration::from_secs(7_000_000);

fn after(millis: u64) -> Moment {
    START.after(Duration::from_millis(millis))
}

fn near(config: &Config) -> Near<u32> {
    Near::new(Names::new(Namespace::new("app").unwrap()), config, Seed(7))
}

/// With a connection that has just given a sign of life.
fn told(config: &Config) -> (Near<u32>, Track) {
    let near = near(config);
    let track = near.track(Told::Itself);
    track.answered(START);
    (near, track)
}

fn key(text: &str) -> Key<'_> {
    Key::new(text).unwrap()
}

fn lives(from: Moment, fresh: u64, usable: u64) -> Life {
    let end = |millis| from.after(AHEAD).after(Duration::from_millis(millis));
    Life::new(end(fresh), end(usable))
}

fn admit(near: &Near<u32>, guard: &Guard, name: &str, value: u32, outline: &Outline, now: Moment) -> bool {
    near.admit(guard, key(name), Answer { value, bytes: 4, outline }, now, now.after(AHEAD))
}

fn plain() -> Outline {
    Outline { life: lives(START, 600_000, 600_000), tables: Vec::new() }
}

fn tagged(table: u8) -> Outline {
    Outline { tables: vec![table], ..plain() }
}

#[test]
fn what_was_answered_is_served_and_counted_apart() {
    let (near, track) = told(&Config::default());
    assert_eq!(near.hit(key("k"), START), None);
    assert!(admit(&near, &track.guard(), "k", 1, &plain(), START));
    assert_eq!(near.hit(key("k"), after(1)), Some(1));
    let mut stats = Stats { hits: 10, misses: 3, ..Stats::default() };
    near.add_to(&mut stats);
    assert_eq!((stats.hits, stats.memory_hits, stats.misses, stats.entries), (11, 1, 3, 1));
    near.validate();
}

#[test]
fn an_answer_that_was_asked_for_before_a_change_was_told_does_not_enter() {
    let (near, track) = told(&Config::default());
    let guard = track.guard();
    near.pushed(b"app:k", START);
    assert!(!admit(&near, &guard, "k", 1, &plain(), START));
    assert!(admit(&near, &track.guard(), "k", 2, &plain(), START), "asked for anew it does");
    let guard = track.guard();
    near.forget(key("k"), START);
    assert!(!admit(&near, &guard, "k", 2, &plain(), START), "its own process is about to change it");
    assert_eq!(near.hit(key("k"), START), None);
}

#[test]
fn what_is_told_to_have_changed_leaves_and_nothing_else() {
    let (near, track) = told(&Config::default());
    for name in ["k", "other"] {
        assert!(admit(&near, &track.guard(), name, 1, &plain(), START));
    }
    for other in [&b"app:K"[..], b"ap:k", b"app!r:k", b"app:k\xff", b""] {
        near.pushed(other, START);
        assert_eq!(near.hit(key("k"), START), Some(1));
    }
    near.pushed(b"app:k", after(5));
    assert_eq!((near.hit(key("k"), after(5)), near.hit(key("other"), after(5))), (None, Some(1)));
    assert_eq!(near.last_push(after(8)), Some(Duration::from_millis(3)));
}

#[test]
fn a_table_of_tags_takes_what_is_tagged_by_it_along() {
    let (near, track) = told(&Config::default());
    let guard = track.guard();
    assert!(admit(&near, &guard, "a", 1, &tagged(3), START));
    assert!(admit(&near, &guard, "b", 2, &tagged(4), START));
    assert!(admit(&near, &guard, "c", 3, &plain(), START));
    near.pushed(b"app!t3", START);
    let served = ["a", "b", "c"].map(|name| near.hit(key(name), START));
    assert_eq!(served, [None, Some(2), Some(3)]);
    assert!(!admit(&near, &guard, "a", 1, &tagged(3), START), "read before the table changed");
    assert!(admit(&near, &guard, "d", 1, &tagged(5), START));
    assert!(admit(&near, &track.guard(), "a", 4, &tagged(3), START));
    near.forget_tags(&["jobs"]);
    assert!(!admit(&near, &guard, "e", 1, &tagged(table_of("jobs")), START));
}

#[test]
fn a_pattern_takes_along_what_matches_and_what_was_asked_for_before() {
    let (near, track) = told(&Config::default());
    let guard = track.guard();
    for name in ["user:1", "user:2", "job:1"] {
        assert!(admit(&near, &guard, name, 1, &plain(), START));
    }
    near.forget_matching(&Pattern::new("user:*").unwrap(), START);
    let served = ["user:1", "user:2", "job:1"].map(|name| near.hit(key(name), START));
    assert_eq!(served, [None, None, Some(1)]);
    assert!(!admit(&near, &guard, "user:1", 1, &plain(), START));
    assert!(near.tidy(1, START) && !near.tidy(1, START), "what it removed is freed in slices");
}

#[test]
fn a_change_of_what_is_being_swept_is_waited_for_and_what_it_does_not_cover_is_believed_again() {
    let (near, track) = told(&Config::default());
    for name in ["user:1", "job:1"] {
        assert!(admit(&near, &track.guard(), name, 1, &plain(), START));
    }
    let served = |now| ["user:1", "job:1"].map(|name| near.hit(key(name), now));
    assert!(!near.pushed(b"app!t3", START) && near.pushed(b"app!p", START));
    track.doubt();
    let first = track.doubted().unwrap();
    track.answered(after(1_000));
    assert_eq!(served(after(1_000)), [None, None], "a sign of life says nothing of what changed");
    track.doubt();
    track.settled(first);
    assert_eq!(served(after(1_000)), [None, None], "it changed once more since that was asked for");
    near.forget_matching(&Pattern::new("user:*").unwrap(), after(1_000));
    track.settled(track.doubted().unwrap());
    assert_eq!((served(after(2_999)), track.doubted()), ([None, Some(1)], None));
    assert_eq!(served(after(3_000)), [None, None], "for as long as the sign of life is good for");
    track.doubt();
    track.flushed(after(2_500));
    track.settled(track.doubted().unwrap());
    assert_eq!(served(after(2_500)), [None, None], "what was flushed meanwhile does not come back");
    assert!(admit(&near, &track.guard(), "job:1", 2, &plain(), after(2_500)));
    assert_eq!(near.hit(key("job:1"), after(2_500)), Some(2));
}

#[test]
fn nothing_is_believed_for_longer_than_after_the_last_sign_of_life_was_asked_for() {
    let (near, track) = told(&Config::default());
    assert!(admit(&near, &track.guard(), "k", 1, &plain(), START));
    assert_eq!(near.hit(key("k"), after(1_999)), Some(1));
    assert_eq!((near.hit(key("k"), after(2_000)), near.state(after(2_000))), (None, State::Suspect));
    // It was asked for long ago, however late it comes.
    track.answered(after(100));
    assert_eq!(near.hit(key("k"), after(2_100)), None);
    track.answered(after(5_000));
    track.answered(after(4_000));
    assert_eq!((near.hit(key("k"), after(6_999)), near.state(after(6_999))), (Some(1), State::Tracking));
}

#[test]
fn a_connection_that_ends_takes_along_what_came_over_it() {
    let (near, track) = told(&Config::default());
    let other = near.track(Told::Aside);
    other.answered(START);
    let guard = track.guard();
    assert!(admit(&near, &guard, "k", 1, &plain(), START));
    assert!(admit(&near, &other.guard(), "other", 2, &plain(), START));
    drop(track);
    assert_eq!((near.hit(key("k"), START), near.hit(key("other"), START)), (None, Some(2)));
    assert!(!admit(&near, &guard, "late", 1, &plain(), START), "its last answers come too late");
    assert_eq!(near.state(START), State::Fallback);
    drop(other);
    near.give_up();
    assert_eq!((near.hit(key("other"), START), near.state(START)), (None, State::Off));
    let _again = near.track(Told::Itself);
    assert_eq!((near.hit(key("k"), START), near.state(START)), (None, State::Suspect));
}

#[test]
fn a_server_that_forgot_everything_is_believed_in_nothing_that_it_said_before() {
    let (near, track) = told(&Config::default());
    let guard = track.guard();
    assert!(admit(&near, &guard, "k", 1, &plain(), START));
    track.flushed(START);
    assert_eq!(near.hit(key("k"), START), None);
    assert!(!admit(&near, &guard, "k", 1, &plain(), START));
    track.answered(after(1));
    assert_eq!(near.hit(key("k"), after(1)), None, "and no sign of life brings it back");
    assert!(admit(&near, &track.guard(), "k", 2, &plain(), after(1)));
    assert_eq!(near.hit(key("k"), after(1)), Some(2), "though the connection is as good as before");
}

#[test]
fn what_two_servers_answered_together_is_believed_as_long_as_both_are() {
    for ending in 0..5 {
        let (near, one) = told(&Config::default());
        let other = near.track(Told::Itself);
        other.answered(after(1_000));
        let (first, second) = (one.guard(), other.guard());
        let both = first.clone().and(&second).and(&first);
        assert!(admit(&near, &both, "both", 1, &tagged(3), START));
        assert!(admit(&near, &first, "one", 2, &plain(), START));
        assert!(admit(&near, &second, "other", 3, &plain(), START));
        let served = |now| ["both", "one", "other"].map(|name| near.hit(key(name), now).is_some());
        assert_eq!(served(START), [true; 3]);
        let (left, now) = match ending {
            0 => {
                drop(one);
                ([false, false, true], START)
            }
            1 => {
                drop(other);
                ([false, true, false], START)
            }
            2 => {
                other.flushed(START);
                ([false, true, false], START)
            }
            3 => ([false, false, true], after(2_500)),
            _ => {
                near.pushed(b"app!t3", START);
                ([false, true, true], START)
            }
        };
        assert_eq!(served(now), left, "{ending}");
        let stands = admit(&near, &both, "late", 1, &plain(), now);
        assert_eq!(stands, ending > 2, "{ending}: an answer to both enters while both are told");
    }
}

#[test]
fn what_a_server_said_before_it_lost_some_of_it_to_another_is_not_believed() {
    let (near, track) = told(&Config::default());
    let before = track.guard();
    assert!(admit(&near, &before, "k", 1, &plain(), START));
    track.begin_anew();
    assert_eq!(near.hit(key("k"), START), None);
    assert!(!admit(&near, &before, "late", 1, &plain(), START));
    assert!(admit(&near, &track.guard(), "k", 2, &plain(), START));
    assert_eq!((near.hit(key("k"), START), near.last_push(START)), (Some(2), None), "nobody told of a change");
}

#[test]
fn an_answer_of_two_servers_is_as_old_as_the_first_of_them() {
    let (near, one) = told(&Config::default());
    let other = near.track(Told::Itself);
    other.answered(START);
    let first = one.guard();
    near.pushed(b"app:k", START);
    let both = other.guard().and(&first);
    assert!(!admit(&near, &both, "k", 1, &plain(), START));
}

#[test]
fn memory_never_has_a_value_for_longer_than_redis_by_its_own_clock() {
    let (near, track) = told(&Config::default());
    let outline = Outline { life: lives(START, 200, 5_000), tables: Vec::new() };
    assert!(admit(&near, &track.guard(), "k", 1, &outline, after(50)));
    assert_eq!((near.hit(key("k"), after(199)), near.hit(key("k"), after(200))), (Some(1), None));
    assert!(!admit(&near, &track.guard(), "k", 1, &outline, after(200)), "what is stale does not enter");
    let forever = Outline { life: Life::FOREVER, tables: Vec::new() };
    assert!(admit(&near, &track.guard(), "f", 1, &forever, START));
    track.answered(after(60_000));
    assert_eq!(near.hit(key("f"), after(60_000)), None, "nor for longer than is good for memory");
}

#[test]
fn without_a_connection_values_are_stale_for_as_long_as_was_allowed() {
    let (near, track) = told(&Config { max_stale: Duration::from_secs(10), ..Config::default() });
    assert!(admit(&near, &track.guard(), "k", 1, &plain(), START));
    assert!(admit(&near, &track.guard(), "changed", 1, &plain(), START));
    assert!(admit(&near, &track.guard(), "short", 1, &Outline { life: lives(START, 500, 500), ..plain() }, START));
    assert_eq!(near.hit(key("k"), after(3_000)), None, "there is a connection to ask");
    drop(track);
    near.forget(key("changed"), after(3_000));
    let served = ["k", "changed", "short"].map(|name| near.hit(key(name), after(3_000)));
    assert_eq!(served, [Some(1), None, None]);
    let mut stats = Stats::default();
    near.add_to(&mut stats);
    assert_eq!((stats.hits, stats.stale, stats.memory_hits), (0, 1, 1));
    // Ten seconds after it was last believed, which was until two after the last sign of life.
    assert_eq!((near.hit(key("k"), after(11_999)), near.hit(key("k"), after(12_000))), (Some(1), None));
}

#[test]
fn what_a_flush_ended_is_not_even_stale() {
    let (near, track) = told(&Config { max_stale: Duration::from_secs(10), ..Config::default() });
    assert!(admit(&near, &track.guard(), "k", 1, &plain(), START));
    track.flushed(START);
    drop(track);
    assert_eq!(near.hit(key("k"), START), None);
}

#[test]
fn where_nobody_tells_a_value_is_served_for_its_time_from_when_it_was_asked_for() {
    let near = near(&Config { ttl: Ttl::from_secs(2.0).unwrap(), ..Config::default() });
    let track = near.track(Told::Nobody);
    assert_eq!(near.state(START), State::Ttl);
    let guard = track.guard();
    assert!(admit(&near, &guard, "k", 1, &plain(), START), "though its answer took until later");
    assert_eq!(near.hit(key("k"), after(1_700)), Some(1));
    assert_eq!(near.hit(key("k"), after(2_000)), None);
    assert!(admit(&near, &guard, "long", 1, &plain(), START));
    assert!(admit(&near, &guard, "short", 1, &Outline { life: lives(START, 500, 600_000), ..plain() }, START));
    assert_eq!(near.hit(key("short"), after(500)), None, "never for longer than the shared tier has it");
    drop(track);
    assert_eq!(near.hit(key("long"), START), None);
    assert_eq!(near.state(after(86_400_000)), State::Suspect);
}

#[test]
fn where_nobody_tells_what_this_process_changes_is_not_served_nor_kept() {
    let near = near(&Config::default());
    let track = near.track(Told::Nobody);
    let guard = track.guard();
    for (name, outline) in
        [("k", plain()), ("user:1", plain()), ("tagged", tagged(table_of("jobs"))), ("left", plain())]
    {
        assert!(admit(&near, &guard, name, 1, &outline, START));
    }
    near.forget(key("k"), START);
    near.forget_matching(&Pattern::new("user:*").unwrap(), START);
    near.forget_tags(&["jobs"]);
    for name in ["k", "user:1", "tagged"] {
        assert_eq!(near.hit(key(name), START), None);
        assert!(!admit(&near, &guard, name, 1, &tagged(table_of("jobs")), START), "asked for before it changed");
    }
    assert_eq!(near.hit(key("left"), START), Some(1));
    assert!(admit(&near, &track.guard(), "k", 2, &plain(), START));
    assert_eq!(near.hit(key("k"), START), Some(2));
    near.validate();
}

#[test]
fn a_value_takes_the_room_that_it_is_found_to_take() {
    let (near, track) = told(&Config::default());
    assert!(admit(&near, &track.guard(), "k", 1, &plain(), START));
    let bytes = |near: &Near<u32>| {
        let mut stats = Stats::default();
        near.add_to(&mut stats);
        stats.bytes
    };
    let before = bytes(&near);
    near.reweigh(key("k"), 1_004, START, |value| *value == 1);
    near.reweigh(key("k"), 9_999, START, |value| *value == 2);
    assert_eq!(bytes(&near), before + 1_000);
    near.validate();
}

/// What happens next between one process and the servers of a cluster.
#[derive(Clone, Debug)]
enum Event {
    /// The process sends a read.
    Ask(usize),
    /// A server takes the next command.
    Serve(usize),
    /// The process is handed the next thing that came from a server.
    Hear(usize),
    /// A task that asked gets round to its answer: it asks on, or keeps it.
    Keep,
    /// Somebody else changes a key.
    Change(usize),
    /// Somebody else invalidates a tag.
    Move,
    /// This process changes a key: on another connection, whose answer comes at once.
    Own(usize),
    /// All that a server has is flushed.
    Flush(usize),
    /// The connection to a server is lost, and made anew.
    Lose(usize),
    /// A sign of life is asked for.
    Beat(usize),
    /// So many milliseconds pass.
    Pass(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..KEYS).prop_map(Event::Ask),
        12 => (0..SERVERS).prop_map(Event::Serve),
        12 => (0..SERVERS).prop_map(Event::Hear),
        8 => Just(Event::Keep),
        3 => (0..KEYS).prop_map(Event::Change),
        1 => Just(Event::Move),
        1 => (0..KEYS).prop_map(Event::Own),
        1 => (0..SERVERS).prop_map(Event::Flush),
        1 => (0..SERVERS).prop_map(Event::Lose),
        4 => (0..SERVERS).prop_map(Event::Beat),
        2 => (1_u64..900).prop_map(Event::Pass),
    ]
}

const KEYS: usize = 3;
const TABLE: u8 = 9;
const TAG: usize = KEYS;

/// The keys are on the one, and the table of the tag on the other.
const SERVERS: usize = 2;

/// Of the parts that a key depends on: the last of the keys has a tag.
fn depends(key: usize) -> &'static [usize] {
    [&[0][..], &[1], &[2, TAG]][key]
}

fn server_of(part: usize) -> usize {
    usize::from(part == TAG)
}

/// What is being read: under which guards, and how often each part had changed that was read so far.
struct Reading {
    key: usize,
    counts: Vec<usize>,
    guard: Guard,
}

enum Said {
    Read(Reading),
    Changed(usize),
    Everything,
    Pong(Moment),
}

enum Command {
    Read(Reading),
    Ping(Moment),
}

/// A server, and the connection that it tells of changes.
#[derive(Default)]
struct Wire {
    track: Option<Track>,
    commands: VecDeque<Command>,
    said: VecDeque<Said>,
    /// What the server has to tell the connection of.
    tracked: BTreeSet<usize>,
}

impl Wire {
    fn guard(&self) -> Guard {
        self.track.as_ref().expect("there is always one").guard()
    }
}

struct World {
    near: Near<u32>,
    now: Moment,
    /// When each key and the tag were changed. A value is made of how often what it depends on was.
    changes: [Vec<Moment>; KEYS + 1],
    wires: [Wire; SERVERS],
    /// What was heard and nobody has got round to yet.
    answered: VecDeque<Reading>,
    served: u32,
}

impl World {
    fn new() -> Self {
        let near = near(&Config::default());
        let (changes, wires) = (Default::default(), Default::default());
        let mut world = Self { near, now: START, changes, wires, answered: VecDeque::new(), served: 0 };
        for server in 0..SERVERS {
            world.connect(server);
        }
        world
    }

    fn connect(&mut self, server: usize) {
        let track = self.near.track(Told::Itself);
        track.answered(self.now);
        self.wires[server] = Wire { track: Some(track), ..Wire::default() };
    }

    fn change(&mut self, part: usize) {
        self.changes[part].push(self.now);
        let wire = &mut self.wires[server_of(part)];
        if wire.tracked.remove(&part) {
            wire.said.push_back(Said::Changed(part));
        }
    }

    fn step(&mut self, event: &Event) {
        match event {
            Event::Ask(key) => {
                let wire = &mut self.wires[server_of(*key)];
                let guard = wire.guard();
                wire.commands.push_back(Command::Read(Reading { key: *key, counts: Vec::new(), guard }));
            }
            Event::Beat(server) => self.wires[*server].commands.push_back(Command::Ping(self.now)),
            Event::Serve(server) => {
                let wire = &mut self.wires[*server];
                match wire.commands.pop_front() {
                    Some(Command::Read(mut reading)) => {
                        let part = depends(reading.key)[reading.counts.len()];
                        wire.tracked.insert(part);
                        reading.counts.push(self.changes[part].len());
                        wire.said.push_back(Said::Read(reading));
                    }
                    Some(Command::Ping(sent)) => wire.said.push_back(Said::Pong(sent)),
                    None => {}
                }
            }
            Event::Hear(server) => self.hear(*server),
            Event::Keep => {
                if let Some(reading) = self.answered.pop_front() {
                    self.go_on(reading);
                }
            }
            Event::Change(key) => self.change(*key),
            Event::Move => self.change(TAG),
            Event::Own(key) => {
                self.near.forget(of(*key), self.now);
                self.change(*key);
                self.near.forget(of(*key), self.now);
                assert_eq!(self.near.hit(of(*key), self.now), None, "its own change is seen at once");
            }
            Event::Flush(server) => {
                for part in (0..=TAG).filter(|part| server_of(*part) == *server) {
                    self.changes[part].push(self.now);
                }
                self.wires[*server].tracked.clear();
                self.wires[*server].said.push_back(Said::Everything);
            }
            Event::Lose(server) => {
                self.wires[*server].track = None;
                self.connect(*server);
            }
            Event::Pass(millis) => self.now = self.now.after(Duration::from_millis(*millis)),
        }
        for key in 0..KEYS {
            self.check(key);
        }
        self.near.validate();
    }

    /// Asks how the tag stands, of whoever knows; or keeps what is complete.
    fn go_on(&mut self, reading: Reading) {
        if let Some(part) = depends(reading.key).get(reading.counts.len()) {
            let wire = &mut self.wires[server_of(*part)];
            let guard = reading.guard.and(&wire.guard());
            wire.commands.push_back(Command::Read(Reading { guard, ..reading }));
            return;
        }
        let Reading { key, counts, guard } = reading;
        let outline = if key == KEYS - 1 { tagged(TABLE) } else { plain() };
        let value = counts.iter().fold(0, |value, count| value * BASE + *count as u32);
        admit(&self.near, &guard, NAMES[key], value, &outline, self.now);
    }

    fn hear(&mut self, server: usize) {
        let heard = self.wires[server].said.pop_front();
        let track = self.wires[server].track.as_ref().expect("there is always one");
        match heard {
            Some(Said::Read(reading)) => self.answered.push_back(reading),
            Some(Said::Changed(TAG)) => drop(self.near.pushed(format!("app!t{TABLE}").as_bytes(), self.now)),
            Some(Said::Changed(part)) => drop(self.near.pushed(format!("app:{}", NAMES[part]).as_bytes(), self.now)),
            Some(Said::Everything) => track.flushed(self.now),
            Some(Said::Pong(sent)) => track.answered(sent),
            None => {}
        }
    }

    /// Whatever memory serves was right less than the bound ago, and is right now if all that was said has been heard.
    fn check(&mut self, key: usize) {
        let Some(mut value) = self.near.hit(of(key), self.now) else { return };
        self.served += 1;
        for part in depends(key).iter().rev() {
            let count = value % BASE;
            value /= BASE;
            let Some(missed) = self.changes[*part].get(count as usize) else { continue };
            let is_at_rest = self.wires.iter().all(|wire| wire.said.is_empty());
            assert!(!is_at_rest, "{} is served as it was before change {count} of {part}, at rest", NAMES[key]);
            let late = self.now - *missed;
            assert!(late < TRUST, "{} is served {late:?} after change {count} of {part}", NAMES[key]);
        }
    }
}

/// No part changes as often in one world.
const BASE: u32 = 1_000;

const NAMES: [&str; KEYS] = ["a", "b", "c"];

fn of(part: usize) -> Key<'static> {
    key(NAMES[part])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn memory_is_never_wrong_at_rest_and_never_late_by_more_than_its_bound(
        events in prop::collection::vec(event(), 1..150),
    ) {
        let mut world = World::new();
        for event in &events {
            world.step(event);
        }
    }
}

#[test]
fn the_random_worlds_are_served_from_memory_in() {
    let served = std::cell::Cell::new(0);
    let worlds = prop::collection::vec(event(), 150);
    let run = |events: Vec<Event>| {
        let mut world = World::new();
        for event in &events {
            world.step(event);
        }
        served.set(served.get() + world.served);
        Ok(())
    };
    proptest::test_runner::TestRunner::deterministic().run(&worlds, run).unwrap();
    assert!(served.get() > 1_000, "only {} times", served.get());
}
