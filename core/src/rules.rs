//! Rules: which event invalidates what.
//!
//! Owns the list of rules, and what they say of an event. Must not know how anything is invalidated, or when.
//! Invariant: a plan is whole or an error; no rule that matches is left out because its values are missing.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use crate::pattern::{InvalidPattern, Pattern};
use crate::shown::{Count, Quoted};
use crate::template::{InvalidTemplate, PatternTemplate, RenderError, Template};

/// An event's name is at most this many bytes.
pub const MAX_EVENT_BYTES: usize = 128;

/// Rules, in the order they were made.
///
/// An event is named by 1 to 128 of `A-Z a-z 0-9 . _ : / -`, and a rule by a glob over such names, which reads as a
/// [`Pattern`]: `job.*` is for `job.done` and `job.step.done`, but not for `job`.
///
/// # Examples
///
/// ```
/// use donjon_core::rules::{Rules, Targets};
///
/// let mut rules = Rules::default();
/// let updated = Targets { keys: &["document:{id}"], patterns: &["documents:*summary*"], ..Targets::default() };
/// rules.on("document.updated", updated)?;
/// rules.on("document.*", Targets { tags: &["documents"], ..Targets::default() })?;
///
/// let plan = rules.plan("document.updated", |name| (name == "id").then(|| "5".into()))?;
/// assert_eq!(plan.matched, 2);
/// assert_eq!(plan.keys, ["document:5"]);
/// assert_eq!(plan.patterns[0].as_str(), "documents:*summary*");
/// assert_eq!(plan.tags, ["documents"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Rules {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    event: Pattern,
    keys: Vec<Template>,
    patterns: Vec<PatternTemplate>,
    tags: Vec<Template>,
}

/// What a rule invalidates: templates, filled in from the event's values.
#[derive(Clone, Copy, Debug, Default)]
pub struct Targets<'a> {
    /// Templates of keys.
    pub keys: &'a [&'a str],
    /// Templates of patterns, in which the text around the names is the pattern's own. `*` means every key.
    pub patterns: &'a [&'a str],
    /// Templates of tags.
    pub tags: &'a [&'a str],
}

/// What is to be invalidated, each once, in the order of the rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Keys.
    pub keys: Vec<String>,
    /// Patterns.
    pub patterns: Vec<Pattern>,
    /// Tags.
    pub tags: Vec<String>,
    /// How many rules matched. None is no error: an application may tell of more than its caches care for.
    pub matched: usize,
}

/// Why a rule was not added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRule {
    /// No event can have such a name.
    #[error(
        "no event is called {}; a name is 1 to {} of A-Z a-z 0-9 . _ : / -, \
         and a rule may have `*`, `?` and `[…]` in it",
        Quoted(.event),
        Count(MAX_EVENT_BYTES)
    )]
    Event {
        /// The glob as it was given.
        event: Box<str>,
    },
    /// What names the events is no pattern.
    #[error("the rule on {}: {fault}", Quoted(.event))]
    EventPattern {
        /// The glob as it was given.
        event: Box<str>,
        /// What is wrong with it.
        fault: InvalidPattern,
    },
    /// One of its targets is no template.
    #[error("the rule on {}: {fault}", Quoted(.event))]
    Target {
        /// The glob that names its events.
        event: Box<str>,
        /// What is wrong with the target.
        fault: InvalidTemplate,
    },
    /// It has no target.
    #[error("the rule on {} invalidates nothing; give it keys, patterns or tags", Quoted(.event))]
    NoTargets {
        /// The glob that names its events.
        event: Box<str>,
    },
}

/// Why no plan could be made of an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// What was given as its name can be none.
    #[error("{} is no event; a name is 1 to {} of A-Z a-z 0-9 . _ : / -", Quoted(.event), Count(MAX_EVENT_BYTES))]
    Event {
        /// The name as it was given.
        event: Box<str>,
    },
    /// A rule that matches has a target that cannot be filled in.
    #[error(
        "event {} meets the rule on {}, whose {} cannot be filled in: {fault}",
        Quoted(.event),
        Quoted(.rule),
        Quoted(.target)
    )]
    Target {
        /// The event's name.
        event: Box<str>,
        /// The glob of the rule.
        rule: Box<str>,
        /// The template.
        target: Box<str>,
        /// What is wrong: a value that is missing, most of the time.
        fault: RenderError,
    },
}

impl Rule {
    fn read(event: Pattern, targets: Targets<'_>) -> Result<Self, InvalidTemplate> {
        let keys = read_all(targets.keys, Template::new)?;
        let patterns = read_all(targets.patterns, PatternTemplate::new)?;
        let tags = read_all(targets.tags, Template::new)?;
        Ok(Self { event, keys, patterns, tags })
    }

    /// A target that cannot be filled in.
    #[cold]
    #[inline(never)]
    fn unfilled(&self, event: &str, target: &str, fault: RenderError) -> RuleError {
        let rule = self.event.as_str().into();
        RuleError::Target { event: event.into(), rule, target: target.into(), fault }
    }
}

impl Rules {
    /// Adds a rule: each event that `event` covers invalidates `targets`.
    ///
    /// # Errors
    ///
    /// [`InvalidRule`] where `event` or a target cannot be read, or there is no target. The rules are as before then.
    pub fn on(&mut self, event: &str, targets: Targets<'_>) -> Result<(), InvalidRule> {
        let is_legal = |byte| is_event_byte(byte) || matches!(byte, b'*' | b'?' | b'[' | b']' | b'^' | b'\\');
        if event.is_empty() || event.len() > MAX_EVENT_BYTES || !event.bytes().all(is_legal) {
            return Err(InvalidRule::Event { event: event.into() });
        }
        if targets.keys.is_empty() && targets.patterns.is_empty() && targets.tags.is_empty() {
            return Err(InvalidRule::NoTargets { event: event.into() });
        }
        let pattern = Pattern::new(event).map_err(|fault| InvalidRule::EventPattern { event: event.into(), fault })?;
        let rule = Rule::read(pattern, targets).map_err(|fault| InvalidRule::Target { event: event.into(), fault })?;
        self.rules.push(rule);
        Ok(())
    }

    /// What `event` invalidates, its values taken from `value`. Values that no rule asks for are not looked at.
    ///
    /// Costs one match per rule, and what is to be filled in.
    ///
    /// # Errors
    ///
    /// [`RuleError`] where `event` is no name, or a rule that matches lacks a value or makes too much of it.
    pub fn plan<'v>(
        &self,
        event: &str,
        mut value: impl FnMut(&str) -> Option<Cow<'v, str>>,
    ) -> Result<Plan, RuleError> {
        if event.is_empty() || event.len() > MAX_EVENT_BYTES || !event.bytes().all(is_event_byte) {
            return Err(RuleError::Event { event: event.into() });
        }
        let mut plan = Plan::default();
        for rule in self.rules.iter().filter(|rule| rule.event.matches(event.as_bytes())) {
            plan.matched += 1;
            let error = |target, fault| rule.unfilled(event, target, fault);
            for template in &rule.keys {
                let key = template.render(&mut value).map_err(|fault| error(template.as_str(), fault))?;
                push_once(&mut plan.keys, key);
            }
            for template in &rule.patterns {
                let pattern = template.render(&mut value).map_err(|fault| error(template.as_str(), fault))?;
                push_once(&mut plan.patterns, pattern);
            }
            for template in &rule.tags {
                let tag = template.tag(&mut value).map_err(|fault| error(template.as_str(), fault))?;
                push_once(&mut plan.tags, tag);
            }
        }
        Ok(plan)
    }
}

fn read_all<T>(texts: &[&str], read: fn(&str) -> Result<T, InvalidTemplate>) -> Result<Vec<T>, InvalidTemplate> {
    texts.iter().map(|text| read(text)).collect()
}

fn push_once<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}

fn is_event_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'/' | b'-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::key::InvalidKey;
    use crate::tag::InvalidTag;

    fn none(_: &str) -> Option<Cow<'static, str>> {
        None
    }

    fn patterns(plan: &Plan) -> Vec<&str> {
        plan.patterns.iter().map(Pattern::as_str).collect()
    }

    /// The rules that users are shown first.
    fn shown() -> Rules {
        let mut rules = Rules::default();
        let mut on = |event, targets| rules.on(event, targets).expect("it is a rule");
        on("document.created", Targets { patterns: &["documents:list*"], ..Targets::default() });
        on(
            "document.updated",
            Targets { keys: &["document:{id}"], patterns: &["documents:*summary*"], ..Targets::default() },
        );
        on("job.*", Targets { patterns: &["jobs:*"], ..Targets::default() });
        rules
    }

    #[test]
    fn an_event_meets_the_rules_that_name_it() {
        let plan = shown().plan("document.updated", |name| (name == "id").then(|| "5".into())).expect("id is given");
        assert_eq!(
            (plan.keys.as_slice(), patterns(&plan)),
            (&["document:5".to_owned()][..], vec!["documents:*summary*"])
        );
        assert_eq!(plan.matched, 1);
        for event in ["job.done", "job.step.done", "job."] {
            assert_eq!(patterns(&shown().plan(event, none).expect("nothing is needed")), ["jobs:*"], "{event}");
        }
    }

    #[test]
    fn an_event_that_no_rule_names_invalidates_nothing_and_is_no_error() {
        for event in ["job", "jobs.done", "Document.created", "document.created.twice"] {
            assert_eq!(shown().plan(event, none), Ok(Plan::default()), "{event}");
        }
    }

    #[test]
    fn what_several_rules_name_is_invalidated_once_in_the_order_of_the_rules() {
        let mut rules = Rules::default();
        let first = Targets { keys: &["b", "{x}"], patterns: &["q:*", "p:*"], tags: &["t2", "t1"] };
        let second = Targets { keys: &["a", "b", "c"], patterns: &["p:*", "r:*"], tags: &["t1", "t3"] };
        rules.on("e", first).expect("it is a rule");
        rules.on("*", second).expect("it is a rule");
        let plan = rules.plan("e", |_| Some("a".into())).expect("x is given");
        assert_eq!(plan.keys, ["b", "a", "c"]);
        assert_eq!(patterns(&plan), ["q:*", "p:*", "r:*"]);
        assert_eq!(plan.tags, ["t2", "t1", "t3"]);
        assert_eq!(plan.matched, 2);
    }

    #[test]
    fn values_reach_no_further_than_their_place() {
        let mut rules = Rules::default();
        let all = Targets { keys: &["user:{id}"], patterns: &["user:{id}:*"], tags: &["user:{id}"] };
        rules.on("e", all).expect("it is a rule");
        let plan = rules.plan("e", |_| Some("*:[5]".into())).expect("id is given");
        assert_eq!(plan.keys, ["user:*%3A[5]"]);
        assert_eq!(patterns(&plan), [r"user:\*%3A\[5\]:*"]);
        assert_eq!(plan.tags, ["user:*%3A[5]"]);
        assert!(!plan.patterns[0].matches(b"user:7:profile"));
    }

    #[test]
    fn a_missing_value_is_an_error_that_names_event_rule_and_value() {
        for (targets, target) in [
            (Targets { keys: &["k:{id}"], ..Targets::default() }, "k:{id}"),
            (Targets { patterns: &["p:{id}:*"], ..Targets::default() }, "p:{id}:*"),
            (Targets { tags: &["t:{id}"], ..Targets::default() }, "t:{id}"),
        ] {
            let mut rules = shown();
            rules.on("job.*", targets).expect("it is a rule");
            assert_eq!(
                rules
                    .plan("job.done", |name| (name == "other").then(|| "5".into()))
                    .expect_err("id is missing")
                    .to_string(),
                format!(
                    "event \"job.done\" meets the rule on \"job.*\", whose {target:?} cannot be filled in: no value for `id`"
                )
            );
            assert!(rules.plan("document.created", none).is_ok(), "another event needs no such value");
        }
    }

    #[test]
    fn a_value_that_makes_no_key_pattern_or_tag_is_an_error() {
        let fault = |targets| {
            let mut rules = Rules::default();
            rules.on("e", targets).expect("it is a rule");
            match rules.plan("e", |name| Some(if name == "empty" { "".into() } else { "*".into() })) {
                Err(RuleError::Target { fault, .. }) => fault,
                other => panic!("{other:?}"),
            }
        };
        let default = Targets::default();
        assert_eq!(fault(Targets { keys: &["{empty}"], ..default }), RenderError::Key(InvalidKey::Empty));
        assert_eq!(fault(Targets { patterns: &["{empty}"], ..default }), RenderError::Pattern(InvalidPattern::Empty));
        assert_eq!(fault(Targets { tags: &["{x}"], ..default }), RenderError::Tag(InvalidTag::Star));
    }

    #[test]
    fn a_rule_that_could_never_do_anything_is_refused() {
        let mut rules = Rules::default();
        let some = Targets { keys: &["k"], ..Targets::default() };
        for event in ["", "document updated", "document,updated", "é", "{id}", &"e".repeat(129)] {
            assert_eq!(rules.on(event, some), Err(InvalidRule::Event { event: event.into() }));
        }
        assert_eq!(rules.on("e", Targets::default()), Err(InvalidRule::NoTargets { event: "e".into() }));
        let stars = "*a".repeat(33);
        assert!(matches!(rules.on(&stars, some), Err(InvalidRule::EventPattern { .. })));
        for targets in [
            Targets { keys: &["k", "{id"], ..Targets::default() },
            Targets { patterns: &[""], ..Targets::default() },
            Targets { patterns: &["[{id}]"], ..Targets::default() },
            Targets { tags: &["}"], ..Targets::default() },
        ] {
            assert!(matches!(rules.on("e", targets), Err(InvalidRule::Target { .. })), "{targets:?}");
        }
        assert_eq!(rules.plan("e", none), Ok(Plan::default()), "none of them was added");
    }

    #[test]
    fn an_event_with_a_name_that_can_be_none_is_an_error() {
        for event in ["", "job.*", "job done", "é", &"e".repeat(129)] {
            assert_eq!(shown().plan(event, none), Err(RuleError::Event { event: event.into() }));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_plan_is_the_union_of_what_its_rules_say(
            made in prop::collection::vec(("[ab*?]{1,3}", prop::collection::vec("[kl]{0,1}\\{[xy]\\}", 1..4)), 0..8),
            event in "[ab]{1,3}", x in "[k:]{0,2}1", y in "[k:]{0,2}1"
        ) {
            let mut rules = Rules::default();
            let mut expected = Vec::new();
            let mut matched = 0;
            for (glob, keys) in &made {
                let keys: Vec<_> = keys.iter().map(String::as_str).collect();
                rules.on(glob, Targets { keys: &keys, ..Targets::default() }).expect("it is a rule");
                if Pattern::new(glob).expect("it is a pattern").matches(event.as_bytes()) {
                    matched += 1;
                    let filled = keys.iter().map(|key| key.replace("{x}", &x.replace(':', "%3A")).replace("{y}", &y.replace(':', "%3A")));
                    expected.extend(filled);
                }
            }
            let mut seen = std::collections::HashSet::new();
            expected.retain(|key| seen.insert(key.clone()));
            let plan = rules.plan(&event, |name| Some(if name == "x" { x.as_str().into() } else { y.as_str().into() }));
            prop_assert_eq!(plan, Ok(Plan { keys: expected, matched, ..Plan::default() }));
        }
    }
}
