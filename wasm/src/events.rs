//! Events: the rules that say which event invalidates what.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::cell::{LazyCell, RefCell};

use donjon_core::rules::{Plan, Rules, Targets};

use crate::bridge::{Input, Kind, Refused, cross};
use crate::kept::Later;

static RULES: Later<RefCell<Rules>> = Later::new(LazyCell::new(|| RefCell::new(Rules::default())));

/// Adds a rule: an event, and the keys, patterns and tags that it invalidates.
#[unsafe(no_mangle)]
pub extern "C" fn on() -> i32 {
    cross(|input, _| {
        let event = input.text();
        let (keys, patterns, tags) = (input.texts(), input.texts(), input.texts());
        let targets = Targets { keys: &keys, patterns: &patterns, tags: &tags };
        RULES.with_borrow_mut(|rules| rules.on(event, targets)).map_err(Refused::of(Kind::Rule))?;
        Ok(0)
    })
}

/// What an event, with the names and texts of what it is about, invalidates.
pub(crate) fn plan(input: &mut Input<'_>) -> Result<Plan, Refused> {
    let event = input.text();
    let named: Vec<(&str, &str)> = (0..input.count()).map(|_| (input.text(), input.text())).collect();
    let value = |name: &str| named.iter().find(|(other, _)| *other == name).map(|(_, value)| Cow::Borrowed(*value));
    RULES.with_borrow(|rules| rules.plan(event, value)).map_err(Refused::of(Kind::Rule))
}
