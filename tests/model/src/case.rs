//! Case: a model in one of its worlds, whole or without a rule, ready to be searched.
//!
//! Owns the list of all that is searched, by name. Must not know what happens in a model.

use std::fmt::{self, Debug, Display};

use crate::lease::{self, Lease};
use crate::near::{self, Near};
use crate::search::{Report, explore};
use crate::sweeps::{self, Sweeps};
use crate::tags::{self, Tags};

/// One search.
pub struct Case {
    /// The name of the model.
    pub model: &'static str,
    /// The name of the world.
    pub world: &'static str,
    /// The rule that is taken out.
    pub rule: Option<String>,
    search: Box<dyn Fn() -> Report>,
}

impl Case {
    fn new(
        model: &'static str,
        world: &'static str,
        rule: Option<&dyn Debug>,
        search: impl Fn() -> Report + 'static,
    ) -> Self {
        Self { model, world, rule: rule.map(|rule| format!("{rule:?}")), search: Box::new(search) }
    }

    /// Visits all of its states, or those up to the first that is bad.
    pub fn search(&self) -> Report {
        (self.search)()
    }
}

impl Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.model, self.world)?;
        self.rule.iter().try_for_each(|rule| write!(f, ", without {rule}"))
    }
}

/// Every model as it is, in each of its worlds: these hold.
pub fn whole() -> Vec<Case> {
    let without = None;
    let lease =
        lease::WORLDS.map(|world| Case::new("lease", world.name, None, move || explore(&Lease { world, without })));
    let without = None;
    let tags = tags::WORLDS.map(|world| Case::new("tags", world.name, None, move || explore(&Tags { world, without })));
    let without = None;
    let near = near::WORLDS.map(|world| Case::new("near", world.name, None, move || explore(&Near { world, without })));
    let without = None;
    let sweeps =
        sweeps::WORLDS.map(|world| Case::new("sweeps", world.name, None, move || explore(&Sweeps { world, without })));
    lease.into_iter().chain(tags).chain(near).chain(sweeps).collect()
}

/// Every model without each of its rules, in a world that needs it: these fall.
pub fn without_a_rule() -> Vec<Case> {
    let lease = lease::RULES.map(|(rule, name)| {
        let world = named(&lease::WORLDS, name, |world| world.name);
        Case::new("lease", name, Some(&rule), move || explore(&Lease { world, without: Some(rule) }))
    });
    let tags = tags::RULES.map(|(rule, name)| {
        let world = named(&tags::WORLDS, name, |world| world.name);
        Case::new("tags", name, Some(&rule), move || explore(&Tags { world, without: Some(rule) }))
    });
    let near = near::RULES.map(|(rule, name)| {
        let world = named(&near::WORLDS, name, |world| world.name);
        Case::new("near", name, Some(&rule), move || explore(&Near { world, without: Some(rule) }))
    });
    let sweeps = sweeps::RULES.map(|(rule, name)| {
        let world = named(&sweeps::WORLDS, name, |world| world.name);
        Case::new("sweeps", name, Some(&rule), move || explore(&Sweeps { world, without: Some(rule) }))
    });
    lease.into_iter().chain(tags).chain(near).chain(sweeps).collect()
}

fn named<W: Copy>(worlds: &[W], name: &str, name_of: fn(&W) -> &'static str) -> W {
    *worlds.iter().find(|world| name_of(world) == name).expect("a rule names a world of its model")
}
