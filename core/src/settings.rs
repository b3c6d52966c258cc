//! Settings: what the `CACHE_` variables say.
//!
//! Owns their names, defaults, spellings and what is accepted. Must not know where they come from (a host hands over pairs
//! of name and value) or what is built from them.
//! Invariant: neither an error, nor a warning, nor `Debug` shows a password.
//!
//! | variable | default | meaning |
//! |---|---|---|
//! | `CACHE_BACKEND` | `memory` | `memory` or `redis` |
//! | `CACHE_ENABLED` | `true` | `false`: reads miss and stores are dropped; invalidations still go out |
//! | `CACHE_REDIS_URL` | | wins over the parts that follow |
//! | `CACHE_REDIS_HOST` `_PORT` `_DB` `_USERNAME` `_PASSWORD` `_SSL` | `localhost` `6379` `0` | parts of a URL |
//! | `CACHE_TTL_DEFAULT` `_STATS` `_CONFIG` `_USER_DATA` | `300` `60` `3600` `300` | seconds, or text such as `5m` |
//! | `CACHE_TTL_<NAME>` | | a class of one's own, `<name>` in small letters |
//! | `CACHE_NAMESPACE` | `app` | what every key in Redis begins with |
//! | `CACHE_MAX_BYTES` | `256MiB` | bound of the memory tier: bytes, or `64MiB`, `64MB` |
//! | `CACHE_MAX_ENTRIES` | none | bound of the memory tier, in entries |
//! | `CACHE_NEAR` | `false` | whether to keep a memory tier in front of Redis |
//! | `CACHE_FORMAT` | `1` | the envelope to write, while an older release still reads what is written |

mod problem;
mod redis;

pub use problem::{InvalidSetting, Warning};
pub use redis::{InvalidRedisUrl, RedisAddress, RedisTarget, Secret};

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::expiry::{Ttl, TtlClasses};
use crate::key::Namespace;
use crate::spelling;
use problem::LONGEST_SHOWN;
use redis::{parse_host, parse_number, parse_port};

/// What a cache is to be, as the variables say; [`Settings::default`] where they say nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where values are kept.
    pub backend: Backend,
    /// Whether reads may hit and stores may store. Invalidations go out in any case.
    pub enabled: bool,
    /// The times to live that have names.
    pub ttl_classes: TtlClasses,
    /// What every key in Redis begins with.
    pub namespace: Namespace,
    /// How many bytes the memory tier may take; 256 MiB by default.
    pub max_bytes: u64,
    /// How many entries the memory tier may hold; by default as many as fit.
    pub max_entries: Option<u64>,
    /// Whether to keep a memory tier in front of Redis.
    pub near: bool,
    /// The number of the envelope to write.
    pub format: u8,
    /// What looks like a mistake and was not taken for an error: to be logged once.
    pub warnings: Vec<Warning>,
}

impl Settings {
    /// Reads what `pairs` of name and value say. Names that do not begin with `CACHE_` are not looked at.
    ///
    /// Values are trimmed; an empty one counts as not given, and ` # comment` at the end is no part of it, as env files with
    /// comments reach a process that way. Where a name comes twice, the later value counts.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`], for the first bad value in the order of the names.
    ///
    /// # Examples
    ///
    /// ```
    /// use donjon_core::settings::{Backend, Settings};
    ///
    /// let settings = Settings::parse([
    ///     ("CACHE_BACKEND", "redis"),
    ///     ("CACHE_REDIS_PASSWORD", "p@ss"),
    ///     ("CACHE_TTL_STATS", "60          # 1 minute for stats"),
    ///     ("CACHE_MAX_BYTE", "64MiB"),
    ///     ("HOME", "/root"),
    /// ])?;
    /// let Backend::Redis(target) = &settings.backend else { panic!("redis was asked for") };
    /// assert_eq!(target.url().expose(), "redis://:p%40ss@localhost:6379/0");
    /// assert_eq!(target.to_string(), "redis://:***@localhost:6379/0");
    /// assert_eq!(settings.warnings[0].to_string(), "`CACHE_MAX_BYTE` is not read; did you mean `CACHE_MAX_BYTES`?");
    ///
    /// let error = Settings::parse([("CACHE_BACKEND", "reddis")]).unwrap_err();
    /// assert_eq!(error.to_string(), "`CACHE_BACKEND` must be `memory` or `redis`, got \"reddis\"");
    /// # Ok::<(), donjon_core::settings::InvalidSetting>(())
    /// ```
    pub fn parse<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Result<Self, InvalidSetting>
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        let mut given = BTreeMap::new();
        for (name, value) in pairs {
            let (name, value) = (name.as_ref(), without_comment(value.as_ref()));
            if name.starts_with(PREFIX) {
                given.insert(name.to_owned(), value.to_owned());
            }
        }
        given.retain(|_, value| !value.is_empty());

        let mut settings = Self::default();
        let mut parts = Parts::default();
        let mut redis = false;
        for (name, value) in &given {
            settings.read(&mut parts, &mut redis, name, value)?;
        }
        if redis {
            let target = match parts.url.take() {
                Some(url) => settings.weigh(url, &parts),
                None => parts.into_target(),
            };
            settings.backend = Backend::Redis(target);
        } else {
            settings.warn_of_what_memory_ignores(&given);
        }
        Ok(settings)
    }

    fn read(&mut self, parts: &mut Parts, redis: &mut bool, name: &str, value: &str) -> Result<(), InvalidSetting> {
        let bad = |accepted: &str| InvalidSetting::new(name, value, accepted);
        match name {
            "CACHE_BACKEND" => match value.to_ascii_lowercase().as_str() {
                "memory" => *redis = false,
                "redis" => *redis = true,
                _ => return Err(bad("`memory` or `redis`")),
            },
            "CACHE_ENABLED" => self.enabled = parse_bool(value).ok_or_else(|| bad(BOOLS))?,
            "CACHE_NEAR" => self.near = parse_bool(value).ok_or_else(|| bad(BOOLS))?,
            "CACHE_NAMESPACE" => {
                self.namespace = Namespace::new(value)
                    .map_err(|_| bad("1 to 64 of the characters `A-Z a-z 0-9 . _ -`, alone or in braces"))?;
            }
            "CACHE_MAX_BYTES" => self.max_bytes = parse_bytes(value).ok_or_else(|| bad(BYTES))?,
            "CACHE_MAX_ENTRIES" => {
                let entries = parse_number(value).filter(|&entries| entries > 0);
                self.max_entries = Some(entries.ok_or_else(|| bad("a whole number of 1 or more, or left empty"))?);
            }
            "CACHE_FORMAT" => {
                let format = parse_number(value).filter(|format| FORMATS.contains(format));
                self.format = format.ok_or_else(|| bad("an envelope that this release writes, which is `1`"))?;
            }
            "CACHE_REDIS_URL" => {
                parts.url = Some(RedisTarget::parse(value).map_err(|why| InvalidSetting::url(name, why))?);
            }
            "CACHE_REDIS_HOST" => {
                parts.host = Some(parse_host(value).ok_or_else(|| bad("the name or address of a host"))?);
            }
            "CACHE_REDIS_PORT" => parts.port = Some(parse_port(value).ok_or_else(|| bad("a port from 1 to 65535"))?),
            "CACHE_REDIS_DB" => {
                parts.db = Some(parse_number(value).ok_or_else(|| bad("the number of a database, such as `0`"))?);
            }
            "CACHE_REDIS_USERNAME" => parts.username = Some(value.to_owned()),
            "CACHE_REDIS_PASSWORD" => parts.password = Some(Secret::from(value.to_owned())),
            "CACHE_REDIS_SSL" => parts.tls = Some(parse_bool(value).ok_or_else(|| bad(BOOLS))?),
            _ => match name
                .strip_prefix(TTL_PREFIX)
                .filter(|class| !class.contains(|one: char| one.is_ascii_lowercase()))
            {
                Some(class) => self.read_class(name, &class.to_ascii_lowercase(), value)?,
                None => self.warn_of_unknown(name),
            },
        }
        Ok(())
    }

    fn read_class(&mut self, name: &str, class: &str, value: &str) -> Result<(), InvalidSetting> {
        let ttl = Ttl::parse(value).map_err(|_| {
            InvalidSetting::new(
                name,
                value,
                "seconds such as `300`, or text such as `5m`; more than zero, at most ten years",
            )
        })?;
        if self.ttl_classes.define(class, ttl) == Ok(()) {
            let near = |built_in: &&str| (1..=2).contains(&spelling::distance(class, built_in));
            if let Some(built_in) = TtlClasses::BUILT_IN.into_iter().find(near) {
                self.warnings.push(Warning::NearBuiltIn { name: name.to_owned(), built_in });
            }
        } else {
            self.warn_of_unknown(name);
        }
        Ok(())
    }

    fn warn_of_unknown(&mut self, name: &str) {
        let begins = NAMES.into_iter().find(|known| known.starts_with(name));
        let nearest = begins.or_else(|| spelling::nearest(&name.to_ascii_uppercase(), NAMES)).unwrap_or(PREFIX);
        self.warnings.push(Warning::Unknown { name: name.chars().take(LONGEST_SHOWN).collect(), nearest });
    }

    /// The URL wins; a part that says the same is no mistake, one that says something else is worth a word.
    fn weigh(&mut self, url: RedisTarget, parts: &Parts) -> RedisTarget {
        let (host, port, tls) = match url.address() {
            RedisAddress::Tcp { host, port, tls } => (Some(host), Some(*port), *tls),
            _ => (None, None, url.is_tls()),
        };
        let others = [
            ("CACHE_REDIS_HOST", parts.host.is_some() && parts.host.as_ref() != host),
            ("CACHE_REDIS_PORT", parts.port.is_some() && parts.port != port),
            ("CACHE_REDIS_DB", parts.db.is_some_and(|db| db != url.db())),
            ("CACHE_REDIS_USERNAME", parts.username.is_some() && parts.username.as_deref() != url.username()),
            ("CACHE_REDIS_PASSWORD", parts.password.is_some() && parts.password.as_ref() != url.password()),
            ("CACHE_REDIS_SSL", parts.tls.is_some_and(|wanted| wanted != tls)),
        ];
        let ignored = others.into_iter().filter(|(_, differs)| *differs);
        self.warnings.extend(ignored.map(|(name, _)| Warning::UrlWins { name }));
        url
    }

    fn warn_of_what_memory_ignores(&mut self, given: &BTreeMap<String, String>) {
        // Who says `memory` has chosen it; who says nothing, but where Redis is, may have forgotten to.
        if given.contains_key("CACHE_REDIS_URL") && !given.contains_key("CACHE_BACKEND") {
            self.warnings.push(Warning::MemoryIgnores { name: "CACHE_REDIS_URL" });
        }
        if self.near {
            self.warnings.push(Warning::MemoryIgnores { name: "CACHE_NEAR" });
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            backend: Backend::Memory,
            enabled: true,
            ttl_classes: TtlClasses::default(),
            namespace: Namespace::new("app").expect("three letters make a namespace"),
            max_bytes: 256 << 20,
            max_entries: None,
            near: false,
            format: FORMATS[0],
            warnings: Vec::new(),
        }
    }
}

/// Where values are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backend {
    /// In this process.
    Memory,
    /// In a Redis that others share.
    Redis(RedisTarget),
}

/// The parts of the Redis connection that were given.
#[derive(Default)]
struct Parts {
    url: Option<RedisTarget>,
    host: Option<String>,
    port: Option<u16>,
    db: Option<u32>,
    username: Option<String>,
    password: Option<Secret>,
    tls: Option<bool>,
}

impl Parts {
    fn into_target(self) -> RedisTarget {
        let mut target = RedisTarget { username: self.username, password: self.password, ..RedisTarget::default() };
        if let RedisAddress::Tcp { host, port, tls } = &mut target.address {
            *host = self.host.unwrap_or_else(|| core::mem::take(host));
            *port = self.port.unwrap_or(*port);
            *tls = self.tls.unwrap_or(*tls);
        }
        target.db = self.db.unwrap_or(target.db);
        target
    }
}

/// The value without white space around it, and without a ` # comment`; a `#` inside a word is part of the word.
fn without_comment(value: &str) -> &str {
    let comment = value.match_indices('#').find(|&(at, _)| {
        let (before, after) = (&value[..at], &value[at + 1..]);
        (before.is_empty() || before.ends_with(char::is_whitespace))
            && (after.is_empty() || after.starts_with(char::is_whitespace))
    });
    value[..comment.map_or(value.len(), |(at, _)| at)].trim()
}

fn parse_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

fn parse_bytes(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|one: char| !one.is_ascii_digit()).unwrap_or(text.len()));
    let unit = unit.trim_start().to_ascii_lowercase();
    let (_, factor) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
    parse_number::<u64>(number)?.checked_mul(factor).filter(|&bytes| bytes > 0)
}

const PREFIX: &str = "CACHE_";
const TTL_PREFIX: &str = "CACHE_TTL_";
const BOOLS: &str = "`true` or `false` (also `1 0 yes no on off`)";
const BYTES: &str = "a number of bytes of 1 or more, such as `268435456`, `256MiB` or `64MB`";

/// The envelopes that this release can write, the usual one first.
const FORMATS: [u8; 1] = [1];

const UNITS: [(&str, u64); 10] = [
    ("", 1),
    ("b", 1),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];

/// Every variable with a name of its own.
const NAMES: [&str; 18] = [
    "CACHE_BACKEND",
    "CACHE_ENABLED",
    "CACHE_REDIS_URL",
    "CACHE_REDIS_HOST",
    "CACHE_REDIS_PORT",
    "CACHE_REDIS_DB",
    "CACHE_REDIS_USERNAME",
    "CACHE_REDIS_PASSWORD",
    "CACHE_REDIS_SSL",
    "CACHE_TTL_DEFAULT",
    "CACHE_TTL_STATS",
    "CACHE_TTL_CONFIG",
    "CACHE_TTL_USER_DATA",
    "CACHE_NAMESPACE",
    "CACHE_MAX_BYTES",
    "CACHE_MAX_ENTRIES",
    "CACHE_NEAR",
    "CACHE_FORMAT",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse<const N: usize>(pairs: [(&str, &str); N]) -> Settings {
        Settings::parse(pairs).unwrap()
    }

    #[test]
    fn nothing_said_is_the_default_and_so_is_an_empty_value() {
        assert_eq!(Settings::parse::<&str, &str>([]).unwrap(), Settings::default());
        assert_eq!(Settings::parse(NAMES.map(|name| (name, ""))).unwrap(), Settings::default());
        assert_eq!(Settings::parse(NAMES.map(|name| (name, "  # Optional"))).unwrap(), Settings::default());
        assert_eq!(
            parse([("CACHE_NONSENSE", ""), ("XCACHE_BACKEND", "?"), ("cache_backend", "?")]),
            Settings::default()
        );
    }

    #[test]
    fn a_hash_inside_a_word_is_part_of_it() {
        for (value, kept) in [
            ("a#b", "a#b"),
            ("#b", "#b"),
            ("a#", "a#"),
            ("a #b", "a #b"),
            ("a# b", "a# b"),
            ("a # b # c", "a"),
            ("a #", "a"),
            ("#", ""),
            ("# b", ""),
            (" a\t#\tb", "a"),
        ] {
            assert_eq!(without_comment(value), kept, "{value:?}");
        }
    }

    #[test]
    fn no_error_shows_a_password_even_where_none_belongs() {
        for (name, value) in [
            ("CACHE_REDIS_URL", "redis://:hunter2/@h"),
            ("CACHE_REDIS_URL", "hunter2"),
            ("CACHE_REDIS_HOST", "redis://:hunter2@h"),
            ("CACHE_REDIS_HOST", "user:hunter2@h"),
            ("CACHE_BACKEND", "redis://:hunter2@h"),
        ] {
            let error = Settings::parse([(name, value)]).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
            assert!(error.to_string().starts_with(&format!("`{name}` must be ")), "{error}");
        }
        let settings = parse([
            ("CACHE_BACKEND", "redis"),
            ("CACHE_REDIS_PASSWORD", "hunter2"),
            ("CACHE_REDIS_PASWORD", "hunter2"),
        ]);
        assert!(!format!("{settings:?}").contains("hunter2"));
        assert!(!settings.warnings[0].to_string().contains("hunter2"));
    }

    proptest! {
        #[test]
        fn sizes_are_what_they_say(number in 1_u64..1_000_000, unit in 0_usize..UNITS.len(), upper: bool) {
            let (name, factor) = UNITS[unit];
            let name = if upper { name.to_ascii_uppercase() } else { name.to_owned() };
            prop_assert_eq!(parse_bytes(&format!("{number}{name}")), Some(number * factor));
        }

        #[test]
        fn any_pairs_are_read_or_refused_without_showing_a_password(
            name in prop_oneof![proptest::sample::select(NAMES.to_vec()).prop_map(str::to_owned), "CACHE_\\PC{0,20}"],
            value in "\\PC{0,40}",
        ) {
            let pairs = [(name.as_str(), value.as_str()), ("CACHE_BACKEND", "redis"), ("CACHE_REDIS_PASSWORD", "hunter2")];
            let shown = match Settings::parse(pairs) {
                Ok(settings) => format!("{settings:?}"),
                Err(error) => format!("{error} {error:?}"),
            };
            prop_assert!(!shown.contains("hunter2"));
        }
    }
}
