//! Memory: what is in front of the shared tier, whatever it keeps values as.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use donjon_core::cache::Explained;
use donjon_core::key::Key;
use donjon_core::moment::Moment;
use donjon_core::near::{Answer, Guard, Near, State, Told, Track};
use donjon_core::pattern::Pattern;
use donjon_core::payload::Payload;
use donjon_core::remote::sight::Outline;
use donjon_core::stats::Stats;

/// A value as memory keeps it. Clones are cheap, and call no foreign code.
pub trait Keep: Clone + fmt::Debug + Send + Sync + 'static {
    /// A value that came, and about how many bytes it will take.
    fn keep(payload: &Payload) -> (Self, u64);
}

impl Keep for Payload {
    fn keep(payload: &Payload) -> (Self, u64) {
        // Of its own: what came has the header of the entry before it.
        let own = Self { bytes: Bytes::copy_from_slice(&payload.bytes), ..payload.clone() };
        (own, payload.bytes.len() as u64)
    }
}

/// A [`Near`], of whatever it keeps: see there.
pub trait Memory: fmt::Debug + Send + Sync {
    /// As [`Near::admit`].
    fn admit(&self, guard: &Guard, key: Key<'_>, came: (&Outline, &Payload), now: Moment, clock: Moment);
    /// As [`Near::track`].
    fn track(&self, told: Told) -> Track;
    /// As [`Near::pushed`].
    fn pushed(&self, name: &[u8], now: Moment) -> bool;
    /// As [`Near::forget`].
    fn forget(&self, key: Key<'_>, now: Moment);
    /// As [`Near::forget_tags`].
    fn forget_tags(&self, tags: &[&str]);
    /// As [`Near::forget_matching`].
    fn forget_matching(&self, pattern: &Pattern, now: Moment);
    /// As [`Near::tidy`].
    fn tidy(&self, limit: usize, now: Moment) -> bool;
    /// As [`Near::give_up`].
    fn give_up(&self);
    /// As [`Near::state`].
    fn state(&self, now: Moment) -> State;
    /// As [`Near::last_push`].
    fn last_push(&self, now: Moment) -> Option<Duration>;
    /// As [`Near::explain`].
    fn explain(&self, key: Key<'_>, now: Moment) -> Option<Explained>;
    /// As [`Near::switch`].
    fn switch(&self, enabled: bool);
    /// As [`Near::add_to`].
    fn add_to(&self, stats: &mut Stats);
    /// As [`Near::reset_stats`].
    fn reset_stats(&self);
}

impl<V: Keep> Memory for Near<V> {
    fn admit(&self, guard: &Guard, key: Key<'_>, came: (&Outline, &Payload), now: Moment, clock: Moment) {
        let (outline, payload) = came;
        let (value, bytes) = V::keep(payload);
        self.admit(guard, key, Answer { value, bytes, outline }, now, clock);
    }

    fn track(&self, told: Told) -> Track {
        self.track(told)
    }

    fn pushed(&self, name: &[u8], now: Moment) -> bool {
        self.pushed(name, now)
    }

    fn forget(&self, key: Key<'_>, now: Moment) {
        self.forget(key, now);
    }

    fn forget_tags(&self, tags: &[&str]) {
        self.forget_tags(tags);
    }

    fn forget_matching(&self, pattern: &Pattern, now: Moment) {
        self.forget_matching(pattern, now);
    }

    fn tidy(&self, limit: usize, now: Moment) -> bool {
        self.tidy(limit, now)
    }

    fn give_up(&self) {
        self.give_up();
    }

    fn state(&self, now: Moment) -> State {
        self.state(now)
    }

    fn last_push(&self, now: Moment) -> Option<Duration> {
        self.last_push(now)
    }

    fn explain(&self, key: Key<'_>, now: Moment) -> Option<Explained> {
        self.explain(key, now)
    }

    fn switch(&self, enabled: bool) {
        self.switch(enabled);
    }

    fn add_to(&self, stats: &mut Stats) {
        self.add_to(stats);
    }

    fn reset_stats(&self) {
        self.reset_stats();
    }
}
