//! World: which rules the model of leases has, and where it is played with them.
//!
//! Owns the lists of both. Must not know what a step does.

/// A rule of the protocol. Each can be taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Each lease and each value has a token that no other ever had.
    TokenOfItsOwn,
    /// A loaded value is stored only in the place of what its load began with.
    FillCompares,
    /// A refreshed value is stored only in the place of the very value that it refreshes.
    RefreshCompares,
    /// An invalidation removes a placeholder no less than a value.
    LeasesAreVoided,
    /// A command that asks for a lease on nothing is never said twice.
    ClaimOnce,
    /// A lease in the place of something dead is taken only while that is still there.
    TakeoverCompares,
    /// Nobody takes the answer to what was asked before they came.
    AnswerOfOnesOwn,
    /// Those who joined a load get its value only if Redis took it.
    JoinersNeedStored,
    /// A value of which it is not known whether Redis took it goes to nobody else.
    UnknownIsRefused,
    /// A load closes to those who come later before its value is sent.
    ClosedBeforeSent,
    /// An invalidation sends away the load of its own process.
    Detached,
    /// A load without Redis is closed from its beginning.
    AloneIsClosed,
    /// Who asks for something newer does not take what was loading when they asked.
    ForcedJoinsNoOlder,
    /// What is owed to Redis is said before the process reads from it.
    OwedFirst,
    /// What was said of late is said again over a new connection.
    SaidAgain,
    /// A sweep whose connection was lost begins anew.
    SweepBeginsAnew,
    /// Waiting for another process has an end: then one loads for oneself.
    WaitEnds,
    /// A lease has an end unless it is renewed.
    LeaseEnds,
}

/// All of them, each with the name of a world that falls without it.
pub const RULES: [(Rule, &str); 18] = [
    (Rule::TokenOfItsOwn, "lost commands"),
    (Rule::FillCompares, "two callers, two changes"),
    (Rule::RefreshCompares, "refreshes"),
    (Rule::LeasesAreVoided, "sweeps and sets"),
    (Rule::ClaimOnce, "lost commands"),
    (Rule::TakeoverCompares, "lost commands"),
    (Rule::AnswerOfOnesOwn, "three callers, one change"),
    (Rule::JoinersNeedStored, "lost commands"),
    (Rule::UnknownIsRefused, "lost commands"),
    (Rule::ClosedBeforeSent, "lost commands"),
    (Rule::Detached, "failover"),
    (Rule::AloneIsClosed, "lost commands"),
    (Rule::ForcedJoinsNoOlder, "forced reads"),
    (Rule::OwedFirst, "failover"),
    (Rule::SaidAgain, "failover"),
    (Rule::SweepBeginsAnew, "failover"),
    (Rule::WaitEnds, "loaders that hang"),
    (Rule::LeaseEnds, "loaders that hang"),
];

/// A world: who is in it and what may befall it.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a thing that may befall it")]
pub struct World {
    /// What it is there to show.
    pub name: &'static str,
    /// The process, 0 or 1, of each caller. The one who changes and invalidates is in process 0.
    pub callers: &'static [u8],
    /// Those that ask for something newer than what there is.
    pub forced: &'static [usize],
    /// How the source's changes are invalidated, one after the other.
    pub rounds: &'static [How],
    /// Whether there is a value from the beginning.
    pub full: bool,
    /// How many commands or answers may get lost.
    pub losses: u8,
    /// Whether a replica may take over that did not get the latest.
    pub failover: bool,
    /// Whether values grow stale, to be refreshed, and die, to be taken over.
    pub ages: bool,
    /// Whether loaders may hang and processes die; then nobody may wait for ever.
    pub hangs: bool,
}

/// How a change is invalidated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The key is unlinked.
    Delete,
    /// All keys are looked through, and those that match unlinked.
    Sweep,
    /// The new version is set by hand.
    Set,
}

/// The worlds that are searched.
pub const WORLDS: [World; 8] = [
    World { name: "three callers, one change", rounds: &[How::Delete], ..PLAIN },
    World { name: "two callers, two changes", callers: &[0, 0], ..PLAIN },
    World { name: "sweeps and sets", callers: &[0, 1], rounds: &[How::Sweep, How::Set], ..PLAIN },
    World { name: "refreshes", callers: &[0, 1], rounds: &[How::Delete], full: true, ages: true, ..PLAIN },
    World { name: "forced reads", callers: &[0, 0], forced: &[1], rounds: &[How::Delete], ages: true, ..PLAIN },
    World {
        name: "lost commands",
        callers: &[1, 1],
        rounds: &[How::Delete],
        losses: 2,
        full: true,
        ages: true,
        ..PLAIN
    },
    World { name: "failover", callers: &[0, 0], rounds: &[How::Sweep], losses: 1, failover: true, ..PLAIN },
    World { name: "loaders that hang", callers: &[0, 1, 1], rounds: &[], hangs: true, ..PLAIN },
];

const PLAIN: World = World {
    name: "",
    callers: &[0, 0, 1],
    forced: &[],
    rounds: &[How::Delete, How::Delete],
    full: false,
    losses: 0,
    failover: false,
    ages: false,
    hangs: false,
};
