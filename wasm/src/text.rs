//! Text: keys, patterns, tags and times that a host has as text.

use alloc::vec::Vec;
use core::cell::RefCell;
use core::time::Duration;

use donjon_core::expiry::{Grace, Ttl, TtlClasses};
use donjon_core::key::{Namespace, Part, build, build_pattern};
use donjon_core::lock::{LOOK_AGAIN, Pace};
use donjon_core::pattern::{Pattern, glob_escape};
use donjon_core::tag::check_tags;
use donjon_wasm_host::bridge::{Kind, Refused, cross, register};
use donjon_wasm_host::given::key;
use donjon_wasm_host::kept::Later;
use donjon_wasm_host::numbers::{self, span};

static CLASSES: Later<RefCell<TtlClasses>> = Later::later();

/// Refuses what is no key.
#[unsafe(no_mangle)]
pub extern "C" fn check_key() -> i32 {
    cross(|input, _| key(input).map(|_| 0))
}

/// Refuses what is no namespace.
#[unsafe(no_mangle)]
pub extern "C" fn check_namespace() -> i32 {
    cross(|input, _| Namespace::new(input.text()).map(|_| 0).map_err(Refused::of(Kind::Config)))
}

/// Refuses tags of which one is none, or which are too many.
#[unsafe(no_mangle)]
pub extern "C" fn check_tag_list() -> i32 {
    cross(|input, _| check_tags(&input.texts()).map(|()| 0).map_err(Refused::of(Kind::Tag)))
}

/// The key of these parts.
#[unsafe(no_mangle)]
pub extern "C" fn build_key() -> i32 {
    cross(|input, output| {
        output.bytes(build(input.texts()).map_err(Refused::of(Kind::Key))?.as_bytes());
        Ok(0)
    })
}

/// The pattern of these parts: of each, 1 and its text, or 0 for any.
#[unsafe(no_mangle)]
pub extern "C" fn build_key_pattern() -> i32 {
    cross(|input, output| {
        let parts: Vec<Part<'_>> =
            (0..input.count()).map(|_| if input.byte() == 0 { Part::Any } else { Part::Is(input.text()) }).collect();
        output.bytes(build_pattern(parts).map_err(Refused::of(Kind::Pattern))?.as_str().as_bytes());
        Ok(0)
    })
}

/// A text as a pattern that matches it alone.
#[unsafe(no_mangle)]
pub extern "C" fn escape_glob() -> i32 {
    cross(|input, output| {
        output.bytes(glob_escape(input.text()).as_bytes());
        Ok(0)
    })
}

/// Whether a pattern matches a text.
#[unsafe(no_mangle)]
pub extern "C" fn glob_matches() -> i32 {
    cross(|input, _| {
        let pattern = Pattern::new(input.text()).map_err(Refused::of(Kind::Pattern))?;
        Ok(pattern.matches(input.sized()).into())
    })
}

/// Names a time to live.
#[unsafe(no_mangle)]
pub extern "C" fn define_ttl(millis: f64) -> i32 {
    cross(|input, _| {
        let (name, ttl) = (input.text(), span(millis)?);
        CLASSES.made().borrow_mut().define(name, ttl).map_err(Refused::of(Kind::Ttl))?;
        Ok(0)
    })
}

/// The milliseconds that a text or a class stands for, into register 0.
#[unsafe(no_mangle)]
pub extern "C" fn resolve_ttl() -> i32 {
    resolve(false)
}

/// The same for a grace.
#[unsafe(no_mangle)]
pub extern "C" fn resolve_grace() -> i32 {
    resolve(true)
}

fn resolve(is_grace: bool) -> i32 {
    cross(|input, _| {
        let (classes, text) = (CLASSES.made().borrow(), input.text());
        let span = if is_grace {
            classes.resolve_grace(text).map(Grace::as_duration)
        } else {
            classes.resolve(text).map(Ttl::as_duration)
        }
        .map_err(Refused::of(Kind::Ttl))?;
        register(0, span.map_or(f64::INFINITY, numbers::millis));
        Ok(0)
    })
}

/// The pace of a lock of so many milliseconds: into register 0 for how long it is sure, into 1 when it is renewed, into 2 when that is
/// tried again, into 3 how often those look who wait for one.
#[unsafe(no_mangle)]
pub extern "C" fn lock_pace(ttl: f64) -> i32 {
    cross(|_, _| {
        let pace = Pace::of(span(ttl)?.as_duration().unwrap_or(Duration::MAX));
        for (number, span) in [pace.sure, pace.renew, pace.again, LOOK_AGAIN].into_iter().enumerate() {
            register(number, numbers::millis(span));
        }
        Ok(0)
    })
}

/// Refuses what is no time to live, and no grace.
#[unsafe(no_mangle)]
pub extern "C" fn check_terms(ttl: f64, grace: f64) -> i32 {
    cross(|_, _| {
        span(ttl)?;
        numbers::grace(grace)?;
        Ok(0)
    })
}
