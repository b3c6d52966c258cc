//! Given: a key, and how loads and time are treated, as the host says them.

use core::time::Duration;

use donjon_core::cache::Config;
use donjon_core::chance::Seed;
use donjon_core::expiry::{Early, Jitter};
use donjon_core::key::Key;
use donjon_core::shown::Number;

use crate::bridge::{Input, Kind, Refused};

/// Reads a key.
///
/// # Errors
///
/// [`Refused`] where the text is none.
pub fn key<'i>(input: &mut Input<'i>) -> Result<Key<'i>, Refused> {
    Key::new(input.text()).map_err(Refused::of(Kind::Key))
}

/// How loads and time are treated. The input begins with a seed.
///
/// # Errors
///
/// [`Refused`] where a number is out of its range.
///
/// # Panics
///
/// Where the input holds no seed.
pub fn config(input: &mut Input<'_>, jitter: f64, early: f64, load_timeout: f64) -> Result<(Config, Seed), Refused> {
    let seed = u128::from_le_bytes(input.bytes(16).try_into().expect("so many were taken"));
    let timeout = Some(load_timeout).filter(|millis| millis.is_finite() && (1.0..=1e12).contains(millis));
    let config = Config {
        jitter: Jitter::new(jitter).map_err(Refused::of(Kind::Config))?,
        early: Early::new(early).map_err(Refused::of(Kind::Config))?,
        load_timeout: timeout.map(|millis| Duration::from_micros((millis * 1e3) as u64)).ok_or_else(|| {
            Refused::new(
                Kind::Config,
                &format_args!("a load timeout is a positive time; got {} ms", Number(load_timeout)),
            )
        })?,
        ..Config::default()
    };
    Ok((config, Seed(seed)))
}
