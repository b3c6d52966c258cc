//! Events: the rules that say which event invalidates what.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::cell::{LazyCell, RefCell};

use donjon_core::key::Key;
use donjon_core::rules::{Plan, Rules, Targets};
use donjon_wasm_host::bridge::{Input, Kind, Refused, cross};
use donjon_wasm_host::kept::Later;

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

/// What the rules make of an event: keys, patterns and tags. For who invalidates elsewhere.
#[unsafe(no_mangle)]
pub extern "C" fn plan() -> i32 {
    cross(|input, output| {
        let plan = planned(input)?;
        // What is no key, or no tag, has no entries.
        let keys: Vec<&str> = plan.keys.iter().map(|key| &**key).filter(|key| Key::new(key).is_ok()).collect();
        output.count(keys.len());
        for key in keys {
            output.text(key);
        }
        output.count(plan.patterns.len());
        for pattern in &plan.patterns {
            output.text(pattern.as_str());
        }
        output.count(plan.tags.len());
        for tag in &plan.tags {
            output.text(tag);
        }
        Ok(0)
    })
}

/// What an event, with the names and texts of what it is about, invalidates.
pub(crate) fn planned(input: &mut Input<'_>) -> Result<Plan, Refused> {
    let event = input.text();
    let named: Vec<(&str, &str)> = (0..input.count()).map(|_| (input.text(), input.text())).collect();
    let value = |name: &str| named.iter().find(|(other, _)| *other == name).map(|(_, value)| Cow::Borrowed(*value));
    RULES.with_borrow(|rules| rules.plan(event, value)).map_err(Refused::of(Kind::Rule))
}
