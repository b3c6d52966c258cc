//! Numbers: times and counts as the host has them, in milliseconds and as floats.

use core::time::Duration;

use donjon_core::cache::Explained;
use donjon_core::expiry::{Grace, Ttl};
use donjon_core::moment::Moment;
use donjon_core::stats::Stats;

use crate::bridge::{Kind, Output, Refused};

/// A moment of the host's clock.
#[inline]
pub fn moment(millis: f64) -> Moment {
    Moment::from_nanos((millis * 1e6) as u64)
}

/// Milliseconds.
#[inline(never)]
pub fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

/// Milliseconds from `now`, infinite where the moment does not come.
pub fn until(moment: Moment, now: Moment) -> f64 {
    if moment == Moment::NEVER { f64::INFINITY } else { millis(moment - now) }
}

/// A time to live; infinite for ever.
///
/// # Errors
///
/// [`Refused`] where it is none.
pub fn span(millis: f64) -> Result<Ttl, Refused> {
    if millis == f64::INFINITY { Ok(Ttl::FOREVER) } else { Ttl::from_millis(millis).map_err(Refused::of(Kind::Ttl)) }
}

/// A grace, which may be nothing; infinite for ever.
///
/// # Errors
///
/// [`Refused`] where it is none.
pub fn grace(millis: f64) -> Result<Grace, Refused> {
    if millis == f64::INFINITY {
        Ok(Grace::FOREVER)
    } else {
        Grace::from_millis(millis).map_err(Refused::of(Kind::Ttl))
    }
}

/// Writes what is known of a key, in the order in which the host reads it.
pub fn explained(explained: &Explained, now: Moment, output: &mut Output<'_>) {
    let millis = |span: Option<Duration>| span.map_or(f64::NAN, millis);
    output.text(explained.state());
    output.text(explained.why_absent().unwrap_or_default());
    output.number(millis(explained.age));
    output.number(explained.life.map_or(f64::NAN, |life| until(life.fresh_until(), now)));
    output.number(explained.life.map_or(f64::NAN, |life| until(life.usable_until(), now)));
    output.number(millis(explained.load_time));
    output.number(explained.weight.map_or(f64::NAN, |weight| weight.get() as f64));
    output.number(millis(explained.loading));
    output.number(millis(explained.last_removal.map(|(_, ago)| ago)));
    output.count(explained.tags.len());
    explained.tags.iter().for_each(|tag| output.text(tag));
}

/// Writes the counters, in the order in which the host reads them.
pub fn stats(stats: &Stats, output: &mut Output<'_>) {
    let counts = [
        stats.hits,
        stats.stale,
        stats.misses,
        stats.loads,
        stats.load_failures,
        stats.loads_refused,
        stats.stores,
        stats.evictions,
        stats.expirations,
        stats.invalidations,
        stats.replacements,
        stats.too_large,
        stats.takeovers,
        stats.foreign,
        stats.faults,
        stats.queued,
        stats.entries,
        stats.bytes,
        stats.flights,
    ];
    for count in counts {
        output.number(count as f64);
    }
    output.number(millis(stats.load_time));
    output.number(stats.hit_rate());
    output.number(stats.miss_rate());
}
