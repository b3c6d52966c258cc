//! Notices: what the code over Redis has to say to people, on its way to Python's `logging`.
//!
//! It speaks where no Python may be called, so what it says waits here until some call hands it on. Must not know what is said,
//! nor how often that is worth a line. Invariant: no more waits than a few lines; the rest of them is lost.

use std::fmt::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use pyo3::prelude::*;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Listens from now on.
pub(crate) fn listen() {
    // Where somebody listens already, which only a second module in one process could, that one hears it.
    let _ = tracing::subscriber::set_global_default(Listener);
}

/// Hands on what was said; nearly always nothing, which costs a load.
#[inline]
pub(crate) fn hand_on(py: Python<'_>) {
    if WAITING.load(Ordering::Relaxed) {
        hand_on_all(py);
    }
}

#[cold]
fn hand_on_all(py: Python<'_>) {
    WAITING.store(false, Ordering::Relaxed);
    let said = std::mem::take(&mut *SAID.lock());
    for (kind, text) in said {
        let noted = py.import("donjon._notices").and_then(|notices| notices.call_method1("notice", (kind, text)));
        if let Err(error) = noted {
            error.write_unraisable(py, None);
        }
    }
}

struct Listener;

impl Subscriber for Listener {
    fn enabled(&self, about: &Metadata<'_>) -> bool {
        *about.level() <= Level::WARN && about.target().starts_with("donjon")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let mut said = SAID.lock();
        if said.len() < MOST {
            said.push((event.metadata().name(), line.text + &line.fields));
            WAITING.store(true, Ordering::Relaxed);
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Line {
    text: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.text, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

static SAID: Mutex<Vec<(&'static str, String)>> = Mutex::new(Vec::new());
static WAITING: AtomicBool = AtomicBool::new(false);

const MOST: usize = 32;
