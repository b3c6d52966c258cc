//! Entry points for fuzzing: each takes any bytes and panics where something does not hold that must hold for all bytes.
//!
//! `core/fuzz` hands them the bytes of a fuzzer; the tests below hand them generated ones, the same each time.

mod operations;

pub use operations::operations;

use donjon_core::envelope::{Decoded, decode, header_of};
use donjon_core::moment::Moment;
use donjon_core::pattern::{Pattern, glob_escape};
use donjon_core::settings::{Backend, RedisTarget, Settings};

use crate::glob_model;

/// A pattern matches what Redis says it does, and escaped text nothing but itself.
///
/// The bytes are a pattern and a key, parted by the first line break.
///
/// # Panics
///
/// Where that does not hold.
pub fn pattern(bytes: &[u8]) {
    let at = bytes.iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len());
    let (text, key) = (&bytes[..at], bytes.get(at + 1..).unwrap_or_default());
    let Ok(text) = std::str::from_utf8(text) else { return };
    if let Ok(pattern) = Pattern::new(text) {
        assert_eq!(pattern.matches(key), glob_model::matches(text.as_bytes(), key), "{text:?} on {key:?}");
        assert_eq!(pattern.as_str(), text);
        if pattern.is_everything() {
            assert!(key.is_empty() || pattern.matches(key), "{text:?} on {key:?}");
        }
    }
    if let Ok(escaped) = Pattern::new(&glob_escape(text)) {
        assert!(escaped.matches(text.as_bytes()), "{text:?}");
        assert_eq!(escaped.matches(key), text.as_bytes() == key, "{text:?} on {key:?}");
    }
}

/// Any bytes are something; an entry is written as the bytes it was read from; only what can be taken over has a header.
///
/// # Panics
///
/// Where that does not hold.
pub fn envelope(bytes: &[u8]) {
    one_envelope(bytes);
    one_envelope(&[b"\xc1D\x01", bytes].concat());
}

fn one_envelope(bytes: &[u8]) {
    match decode(bytes) {
        Decoded::Entry(entry) => {
            assert_eq!(entry.encode().as_deref(), Ok(bytes));
            assert_eq!(header_of(bytes).map(<[u8; 20]>::as_slice), bytes.get(..20));
            for now in [Moment::default(), Moment::from_millis(1_800_000_000_000), Moment::NEVER] {
                let _ = entry.at(now);
            }
        }
        Decoded::Counter(count) => {
            let text = std::str::from_utf8(bytes).expect("a counter is digits");
            assert_eq!(text.parse(), Ok(count));
            assert_eq!(header_of(bytes), None);
        }
        Decoded::Foreign | Decoded::Newer(_) => assert_eq!(header_of(bytes), None),
        Decoded::Damaged(damage) => assert!(bytes.starts_with(b"\xc1D"), "{damage}"),
    }
}

/// Settings are read or refused, show no password either way, and name a Redis by a URL that reads as itself.
///
/// The bytes are lines of name and value as in an env file, the names without their `CACHE_`.
///
/// # Panics
///
/// Where that does not hold.
pub fn settings(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let parts = text.lines().filter_map(|line| line.split_once('='));
    let parts = parts.map(|(name, value)| (format!("CACHE_{name}"), value.to_owned()));
    some_settings(parts.chain([("CACHE_REDIS_PASSWORD".to_owned(), PASSWORD.to_owned())]));
    for line in text.lines() {
        some_settings([("CACHE_REDIS_URL".to_owned(), format!("redis://user:{PASSWORD}{line}"))]);
        some_settings([("CACHE_REDIS_URL".to_owned(), format!("unix://{line}?pass={PASSWORD}"))]);
        some_settings([("CACHE_REDIS_URL".to_owned(), line.to_owned())]);
    }
}

fn some_settings(pairs: impl IntoIterator<Item = (String, String)>) {
    let redis = ("CACHE_BACKEND".to_owned(), "redis".to_owned());
    let shown = match Settings::parse(pairs.into_iter().chain([redis])) {
        Ok(settings) => {
            let Backend::Redis(target) = &settings.backend else { panic!("redis was asked for last") };
            assert_eq!(RedisTarget::parse(target.url().expose()).as_ref(), Ok(target));
            let warnings: Vec<String> = settings.warnings.iter().map(ToString::to_string).collect();
            format!("{settings:?} {target} {warnings:?}")
        }
        Err(error) => format!("{error:?} {error}"),
    };
    assert!(!shown.contains(PASSWORD), "{shown}");
}

const PASSWORD: &str = "correct-horse";

#[cfg(test)]
mod tests {
    use super::*;

    /// The same numbers each time: splitmix64.
    struct Chance(u64);

    impl Chance {
        fn below(&mut self, end: usize) -> usize {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (mixed ^ (mixed >> 31)) as usize % end
        }

        /// Up to `most` of these pieces, one after the other.
        fn text(&mut self, pieces: &[&str], most: usize) -> Vec<u8> {
            let count = self.below(most + 1);
            (0..count).flat_map(|_| pieces[self.below(pieces.len())].bytes()).collect()
        }

        /// A few bytes changed, put in, or cut off.
        fn damage(&mut self, bytes: &mut Vec<u8>) {
            for _ in 0..=self.below(3) {
                let (at, byte) = (self.below(bytes.len() + 1), self.below(256) as u8);
                match self.below(4) {
                    0 => bytes.truncate(at),
                    1 => bytes.insert(at, byte),
                    2 if at < bytes.len() => bytes[at] = byte,
                    _ if at < bytes.len() => bytes[at] ^= 1 << (byte % 8),
                    _ => bytes.push(byte),
                }
            }
        }
    }

    const ROUNDS: usize = 30_000;

    #[test]
    fn generated_patterns_hold() {
        let pieces = ["*", "?", "[", "]", "^", "-", "\\", "a", "b", "c", "é", ":", "!", "\0"];
        let mut chance = Chance(1);
        for _ in 0..ROUNDS {
            let text = chance.text(&pieces, 12);
            let key = chance.text(&pieces, 8);
            pattern(&[&text[..], &key].join(&b'\n'));
        }
    }

    #[test]
    fn generated_envelopes_hold() {
        let cases: serde_json::Value =
            serde_json::from_str(include_str!("../cases/envelope.json")).expect("the cases are JSON");
        let hex = |case: &serde_json::Value| case["hex"].as_str().expect("a case has bytes").to_owned();
        let lists = ["entries", "others"].map(|list| cases[list].as_array().expect("it is a list"));
        let golden: Vec<Vec<u8>> = lists.into_iter().flatten().map(|case| unhex(&hex(case))).collect();
        let mut chance = Chance(2);
        for _ in 0..ROUNDS {
            let mut bytes = golden[chance.below(golden.len())].clone();
            chance.damage(&mut bytes);
            envelope(&bytes);
        }
    }

    fn unhex(hex: &str) -> Vec<u8> {
        let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
        digits.chunks_exact(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
    }

    #[test]
    fn generated_operations_hold() {
        let mut chance = Chance(4);
        for _ in 0..ROUNDS / 10 {
            let bytes: Vec<u8> = (0..chance.below(600)).map(|_| chance.below(256) as u8).collect();
            operations(&bytes);
        }
    }

    #[test]
    fn generated_settings_hold() {
        let names = [
            "REDIS_URL=",
            "REDIS_HOST=",
            "REDIS_PORT=",
            "REDIS_USERNAME=",
            "REDIS_SSL=",
            "TTL_",
            "TTL_DEFUALT=",
            "MAX_BYTES=",
        ];
        let values = [
            "redis://", "unix:///", "@", ":", "/", "?db=", "&user=", "[::1]", "%4", "%", "#", " ", "é", "1", "5m",
            "MiB", "true",
        ];
        let pieces = [&names[..], &values, &["\n", "=", "NEAR=", "X"]].concat();
        let mut chance = Chance(3);
        for _ in 0..ROUNDS {
            settings(&chance.text(&pieces, 9));
        }
    }
}
