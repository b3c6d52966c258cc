//! World: which rules the model of memory in front of Redis has, and where it is played with them.
//!
//! Owns the lists of both. Must not know what a step does.

/// A rule of the protocol. Each can be taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// An answer enters only if nothing was told since its guard was taken.
    GuardAsked,
    /// The guard is taken before the command is sent, not when its answer is there.
    GuardTakenBefore,
    /// A change of the key that is told removes it.
    PushRemoves,
    /// … and keeps out what was sent for before.
    PushKeepsOut,
    /// A change of a table of tags removes what carries its tags, and keeps it out.
    TablePushCounts,
    /// When everything is told to have changed, all is removed.
    FlushRemoves,
    /// … and what was sent for before is kept out.
    FlushKeepsOut,
    /// Only what was read on the connection that is told of changes enters.
    ReadWhereTold,
    /// The tables of its tags are read there, too.
    TablesReadWhereTold,
    /// A script that stores reads the key again, as its own write ends what it would have been told.
    ReadBehindWrite,
    /// What came over a connection goes with it.
    LossRemoves,
    /// … and what was sent for over it is kept out.
    LossKeepsOut,
    /// The process forgets what it invalidates once that has returned, not only before.
    OwnForgottenAfter,
    /// That holds no less where the invalidation is only owed.
    OwedForgottenAfter,
    /// It keeps out what was sent for before, too.
    OwnKeptOut,
    /// What is owed to Redis is said before the process reads from it.
    OwedFirst,
    /// When the connection that is told is made anew, the usual one is too: what was said of late over that is said again, should
    /// another server have taken over, before anything is read there.
    BothMadeAnew,
    /// Memory is believed only for a while after a sign of life.
    BeliefEnds,
    /// That while is counted from when the sign was asked for, not from when it came.
    BeliefFromAsking,
    /// Memory has nothing for longer than Redis.
    EndsWithRedis,
}

/// All of them, each with the name of a world that falls without it.
pub const RULES: [(Rule, &str); 20] = [
    (Rule::GuardAsked, "deletes by others"),
    (Rule::GuardTakenBefore, "deletes of its own"),
    (Rule::PushRemoves, "deletes by others"),
    (Rule::PushKeepsOut, "deletes by others"),
    (Rule::TablePushCounts, "tags moved by others"),
    (Rule::FlushRemoves, "a flush"),
    (Rule::FlushKeepsOut, "a flush"),
    (Rule::ReadWhereTold, "deletes by others"),
    (Rule::TablesReadWhereTold, "tags moved by others"),
    (Rule::ReadBehindWrite, "deletes by others"),
    (Rule::LossRemoves, "lost connections"),
    (Rule::LossKeepsOut, "lost connections"),
    (Rule::OwnForgottenAfter, "deletes of its own"),
    (Rule::OwedForgottenAfter, "deletes of its own"),
    (Rule::OwnKeptOut, "deletes of its own"),
    (Rule::OwedFirst, "deletes of its own"),
    (Rule::BothMadeAnew, "failover"),
    (Rule::BeliefEnds, "signs of life"),
    (Rule::BeliefFromAsking, "signs of life"),
    (Rule::EndsWithRedis, "values that end"),
];

/// A world: what happens in it and what may befall it.
#[derive(Clone, Copy, Debug)]
pub struct World {
    /// What it is there to show.
    pub name: &'static str,
    /// How the source's changes are invalidated, one after the other.
    pub rounds: &'static [How],
    /// How often the process looks for what it has not in memory.
    pub reads: u8,
    /// How often the connection may be lost.
    pub losses: u8,
    /// How often an own invalidation may fail to reach Redis.
    pub failures: u8,
    /// For how long time moves on.
    pub time: u8,
    /// After what time a value ends in Redis.
    pub ttl: u8,
    /// Whether a replica may take over that did not get the latest.
    pub failover: bool,
    /// Whether changes are told by way of another connection than that of the answers.
    pub aside: bool,
}

/// Who invalidates a change, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Another process or program unlinks the key.
    Delete,
    /// Another moves the tag.
    MoveTag,
    /// Another empties the server.
    Flush,
    /// This process unlinks the key, by its name or as one that matches.
    OwnDelete,
    /// This process moves the tag.
    OwnMoveTag,
}

/// The worlds that are searched.
pub const WORLDS: [World; 9] = [
    World { name: "deletes by others", rounds: &[How::Delete, How::Delete], ..PLAIN },
    World { name: "tags moved by others", rounds: &[How::MoveTag, How::Delete], ..PLAIN },
    World { name: "a flush", rounds: &[How::Flush], ..PLAIN },
    World { name: "deletes of its own", rounds: &[How::OwnDelete, How::OwnMoveTag], failures: 1, ..PLAIN },
    World { name: "lost connections", rounds: &[How::Delete], losses: 2, ..PLAIN },
    World { name: "failover", rounds: &[How::OwnDelete], failover: true, ..PLAIN },
    World { name: "signs of life", rounds: &[How::Delete], reads: 1, losses: 1, time: 3, ..PLAIN },
    World { name: "values that end", reads: 2, time: 3, ttl: 1, ..PLAIN },
    World { name: "told aside", rounds: &[How::Delete, How::MoveTag], aside: true, ..PLAIN },
];

const PLAIN: World = World {
    name: "",
    rounds: &[],
    reads: 3,
    losses: 0,
    failures: 0,
    time: 0,
    ttl: u8::MAX,
    failover: false,
    aside: false,
};

/// For how long memory is believed after a sign of life.
pub const TRUST: u8 = 2;
