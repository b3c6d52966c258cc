//! Expiry: how long a value lives, and when it is worth loading anew before that.
//!
//! Owns time to live, grace and the named classes of time to live; `spread` has what is random about them. Must not know
//! whose value it is, where it is kept, or what time it is: `now` is passed in.
//! Invariant: a [`Ttl`] is at least a millisecond, and at most ten years or for ever. Nobody gets "for ever" by accident.

mod spread;

pub use spread::{Early, EarlyError, Jitter, JitterError};

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::num::NonZeroU64;
use core::time::Duration;

use crate::entry::Life;
use crate::moment::Moment;
use crate::shown::{Count, Number, Plain, Quoted};
use crate::spelling;

/// How long a value stays fresh: 1 ms to ten years (3,650 days), or [`Ttl::FOREVER`].
///
/// Whole milliseconds, as Redis counts them; what is given more finely goes to the nearest, and to 1 ms rather than to none.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use donjon_core::expiry::Ttl;
///
/// let ttl = Ttl::parse("1h30m")?;
/// assert_eq!(ttl, Ttl::from_secs(5_400.0)?);
/// assert_eq!(ttl.as_duration(), Some(Duration::from_secs(5_400)));
/// assert_eq!(Ttl::FOREVER.as_duration(), None);
/// assert_eq!(Ttl::from_secs(0.0).unwrap_err().to_string(), "a ttl is more than zero and at most ten years, or `FOREVER`; got 0 s");
/// # Ok::<(), donjon_core::expiry::InvalidTtl>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ttl(NonZeroU64);

impl Ttl {
    /// Fresh until evicted or invalidated.
    pub const FOREVER: Self = Self(NonZeroU64::MAX);

    /// The longest there is, short of for ever.
    pub(crate) const LONGEST: Duration = Duration::from_secs(3_650 * 86_400);

    /// A time to live of `seconds`.
    ///
    /// # Errors
    ///
    /// [`InvalidTtl::Ttl`] for zero, negative, not a number, infinite, and over ten years. For ever is [`Ttl::FOREVER`].
    pub fn from_secs(seconds: f64) -> Result<Self, InvalidTtl> {
        Self::rounded(seconds * 1e3).ok_or_else(|| InvalidTtl::Ttl { given: format!("{} s", Number(seconds)) })
    }

    /// A time to live of `millis` milliseconds.
    ///
    /// # Errors
    ///
    /// As [`Ttl::from_secs`].
    pub fn from_millis(millis: f64) -> Result<Self, InvalidTtl> {
        Self::rounded(millis).ok_or_else(|| InvalidTtl::Ttl { given: format!("{} ms", Number(millis)) })
    }

    /// A time to live of `duration`.
    ///
    /// # Errors
    ///
    /// [`InvalidTtl::Ttl`] for zero and over ten years, [`Duration::MAX`] included.
    pub fn from_duration(duration: Duration) -> Result<Self, InvalidTtl> {
        Self::rounded(duration.as_secs_f64() * 1e3).ok_or_else(|| InvalidTtl::Ttl { given: format!("{duration:?}") })
    }

    /// Reads `300` (seconds), or numbers with units from the largest to the smallest: `5m`, `1.5h`, `1h30m`, `250ms`.
    ///
    /// The units are `d`, `h`, `m`, `s` and `ms`, each at most once. No spaces, no sign, no exponent; the same in every
    /// language, also where plain numbers are milliseconds.
    ///
    /// # Errors
    ///
    /// [`InvalidTtl::Unreadable`] for anything else, and [`InvalidTtl::Ttl`] for what is out of range.
    pub fn parse(text: &str) -> Result<Self, InvalidTtl> {
        let millis = parse_millis(text)?;
        Self::rounded(millis).ok_or_else(|| InvalidTtl::Ttl { given: quoted(text) })
    }

    /// How long, or `None` for ever.
    pub const fn as_duration(self) -> Option<Duration> {
        if self.0.get() == FOREVER { None } else { Some(Duration::from_millis(self.0.get())) }
    }

    /// The life of a value stored at `now`: fresh for this long, then stale but usable for `grace`.
    ///
    /// # Examples
    ///
    /// ```
    /// use donjon_core::expiry::{Grace, Ttl};
    /// use donjon_core::moment::Moment;
    ///
    /// let life = Ttl::from_secs(10.0)?.life(Grace::from_secs(5.0)?, Moment::from_millis(1_000));
    /// assert_eq!(life.fresh_until(), Moment::from_millis(11_000));
    /// assert_eq!(life.usable_until(), Moment::from_millis(16_000));
    /// # Ok::<(), donjon_core::expiry::InvalidTtl>(())
    /// ```
    pub fn life(self, grace: Grace, now: Moment) -> Life {
        let fresh_until = self.as_duration().map_or(Moment::NEVER, |ttl| now.after(ttl));
        Life::new(fresh_until, grace.as_duration().map_or(Moment::NEVER, |grace| fresh_until.after(grace)))
    }

    fn rounded(millis: f64) -> Option<Self> {
        if millis > 0.0 { round(millis).and_then(|whole| NonZeroU64::new(whole.max(1))).map(Self) } else { None }
    }
}

/// How long a value may still be served after it is stale: nothing, up to ten years, or [`Grace::FOREVER`].
///
/// What an invalidation covers is never served, in its grace or out of it. Rounded as [`Ttl`] is.
///
/// # Examples
///
/// ```
/// use donjon_core::expiry::Grace;
///
/// assert_eq!(Grace::from_secs(0.0), Ok(Grace::NONE));
/// assert_eq!(Grace::parse("30s"), Grace::from_millis(30_000.0));
/// assert!(Grace::from_secs(-1.0).is_err());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Grace(u64);

impl Grace {
    /// Not served once stale.
    pub const NONE: Self = Self(0);

    /// Served, however stale, until evicted or invalidated.
    pub const FOREVER: Self = Self(FOREVER);

    /// A grace of `seconds`.
    ///
    /// # Errors
    ///
    /// [`InvalidTtl::Grace`] for negative, not a number, infinite, and over ten years. For ever is [`Grace::FOREVER`].
    pub fn from_secs(seconds: f64) -> Result<Self, InvalidTtl> {
        Self::rounded(seconds * 1e3).ok_or_else(|| InvalidTtl::Grace { given: format!("{} s", Number(seconds)) })
    }

    /// A grace of `millis` milliseconds.
    ///
    /// # Errors
    ///
    /// As [`Grace::from_secs`].
    pub fn from_millis(millis: f64) -> Result<Self, InvalidTtl> {
        Self::rounded(millis).ok_or_else(|| InvalidTtl::Grace { given: format!("{} ms", Number(millis)) })
    }

    /// A grace of `duration`.
    ///
    /// # Errors
    ///
    /// [`InvalidTtl::Grace`] over ten years, [`Duration::MAX`] included.
    pub fn from_duration(duration: Duration) -> Result<Self, InvalidTtl> {
        Self::rounded(duration.as_secs_f64() * 1e3).ok_or_else(|| InvalidTtl::Grace { given: format!("{duration:?}") })
    }

    /// Reads what [`Ttl::parse`] reads, and `0`.
    ///
    /// # Errors
    ///
    /// [`InvalidTtl::Unreadable`] for anything else, and [`InvalidTtl::Grace`] over ten years.
    pub fn parse(text: &str) -> Result<Self, InvalidTtl> {
        let millis = parse_millis(text)?;
        Self::rounded(millis).ok_or_else(|| InvalidTtl::Grace { given: quoted(text) })
    }

    /// How long, or `None` for ever.
    pub const fn as_duration(self) -> Option<Duration> {
        if self.0 == FOREVER { None } else { Some(Duration::from_millis(self.0)) }
    }

    fn rounded(millis: f64) -> Option<Self> {
        if millis > 0.0 { round(millis).map(|whole| Self(whole.max(1))) } else { (millis == 0.0).then_some(Self::NONE) }
    }
}

/// Named times to live, so that one setting moves everything of a kind: `stats` is a minute until someone says otherwise.
///
/// There are always `default` (300 s), `stats` (60 s), `config` (3,600 s) and `user_data` (300 s).
///
/// # Examples
///
/// ```
/// use donjon_core::expiry::{Ttl, TtlClasses};
///
/// let mut classes = TtlClasses::default();
/// classes.define("search", Ttl::parse("2m")?)?;
/// assert_eq!(classes.resolve("search"), Ttl::from_secs(120.0));
/// assert_eq!(classes.resolve("5m"), Ttl::from_secs(300.0));
/// assert_eq!(
///     classes.resolve("stat").unwrap_err().to_string(),
///     "there is no ttl class `stat`; the nearest is `stats`, and a new one is defined where the cache is made"
/// );
/// # Ok::<(), donjon_core::expiry::InvalidTtl>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TtlClasses(Vec<(String, Ttl)>);

impl TtlClasses {
    /// The classes that are always there.
    pub const BUILT_IN: [&'static str; 4] = ["default", "stats", "config", "user_data"];

    /// Gives `name` the time to live `ttl`, whether or not it had one.
    ///
    /// # Errors
    ///
    /// [`InvalidTtl::ClassName`] unless the name is `[a-z][a-z0-9_]*` and at most 64 letters long.
    pub fn define(&mut self, name: &str, ttl: Ttl) -> Result<(), InvalidTtl> {
        if !is_class_name(name) {
            return Err(InvalidTtl::ClassName { given: quoted(name) });
        }
        match self.place(name) {
            Ok(place) => self.0[place].1 = ttl,
            Err(place) => self.0.insert(place, (name.to_owned(), ttl)),
        }
        Ok(())
    }

    /// The time to live of what names none.
    pub fn default_ttl(&self) -> Ttl {
        // It is built in, and nothing takes it away.
        let (Ok(place) | Err(place)) = self.place("default");
        self.0[place].1
    }

    /// The time to live of the class `name`, if there is one.
    pub fn get(&self, name: &str) -> Option<Ttl> {
        self.place(name).ok().map(|place| self.0[place].1)
    }

    /// The classes and their times, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Ttl)> {
        self.0.iter().map(|(name, ttl)| (name.as_str(), *ttl))
    }

    /// What `text` stands for: a class by its name, or a length of time as [`Ttl::parse`] reads it.
    ///
    /// The two cannot be confused: a class begins with a letter, a length of time with a digit.
    ///
    /// # Errors
    ///
    /// [`InvalidTtl::UnknownClass`], which names the nearest class, or what [`Ttl::parse`] finds wrong.
    pub fn resolve(&self, text: &str) -> Result<Ttl, InvalidTtl> {
        if !text.starts_with(|first: char| first.is_ascii_alphabetic()) {
            return Ttl::parse(text);
        }
        self.get(text).ok_or_else(|| InvalidTtl::UnknownClass {
            given: shortened(text),
            nearest: spelling::nearest(&text.to_ascii_lowercase(), self.iter().map(|(name, _)| name))
                .unwrap_or("default")
                .to_owned(),
        })
    }

    /// The grace that `text` stands for: as long as a class by its name, or a length of time as [`Grace::parse`] reads it.
    ///
    /// # Errors
    ///
    /// As [`resolve`](Self::resolve), but for a length of zero, which a grace may have.
    pub fn resolve_grace(&self, text: &str) -> Result<Grace, InvalidTtl> {
        match Grace::parse(text) {
            Err(InvalidTtl::Unreadable { .. }) => self.resolve(text).map(|ttl| Grace(ttl.0.get())),
            read => read,
        }
    }

    /// Where the class `name` is, or would have to be.
    fn place(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| (**other).cmp(name))
    }
}

impl Default for TtlClasses {
    fn default() -> Self {
        let millis = |seconds: u64| Ttl(NonZeroU64::new(seconds * 1_000).unwrap_or(NonZeroU64::MIN));
        let seconds = [("config", 3_600), ("default", 300), ("stats", 60), ("user_data", 300)];
        Self(seconds.map(|(name, seconds)| (name.to_owned(), millis(seconds))).into())
    }
}

/// Why a time to live, a grace or a class is refused. Nothing was stored or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTtl {
    /// A time to live out of range.
    #[error("a ttl is more than zero and at most ten years, or `FOREVER`; got {}", Plain(.given))]
    Ttl {
        /// What was given.
        given: String,
    },
    /// A grace out of range.
    #[error("a grace is zero or more and at most ten years, or `FOREVER`; got {}", Plain(.given))]
    Grace {
        /// What was given.
        given: String,
    },
    /// Text that is no length of time.
    #[error(
        "a length of time is seconds such as `300`, or numbers with units (d h m s ms) such as `5m` or `1h30m`; got {}",
        Plain(.given)
    )]
    Unreadable {
        /// What was given, in quotes.
        given: String,
    },
    /// A class that nobody defined.
    #[error(
        "there is no ttl class `{}`; the nearest is `{}`, and a new one is defined where the cache is made",
        Plain(.given),
        Plain(.nearest)
    )]
    UnknownClass {
        /// What was given.
        given: String,
        /// The class with the most similar name.
        nearest: String,
    },
    /// A name that no class may have.
    #[error(
        "a ttl class is named by lower-case letters, digits and `_`, a letter first, at most {}; got {}",
        Count(LONGEST_CLASS_NAME),
        Plain(.given)
    )]
    ClassName {
        /// What was given, in quotes.
        given: String,
    },
}

/// Whether a class of times to live may have this name.
pub(crate) fn is_class_name(name: &str) -> bool {
    name.len() <= LONGEST_CLASS_NAME
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

fn parse_millis(text: &str) -> Result<f64, InvalidTtl> {
    parse_units(text.as_bytes()).ok_or_else(|| InvalidTtl::Unreadable { given: quoted(text) })
}

fn parse_units(text: &[u8]) -> Option<f64> {
    if is_number(text) {
        return Some(number(text) * 1e3);
    }
    let (mut rest, mut units, mut millis) = (text, UNITS.as_slice(), 0.0);
    while !rest.is_empty() {
        let (count, tail) = rest.split_at(rest.iter().position(u8::is_ascii_alphabetic)?);
        let end = tail.iter().position(|letter| !letter.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let at = units.iter().position(|(name, _)| name.as_bytes() == unit)?;
        if !is_number(count) {
            return None;
        }
        millis += number(count) * units[at].1;
        (rest, units) = (tail, &units[at + 1..]);
    }
    (!text.is_empty()).then_some(millis)
}

/// Digits, and digits after a point if there is one: less than what `f64` reads, which knows `inf` and `1e9` too.
fn is_number(text: &[u8]) -> bool {
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    parts.all(|part| !part.is_empty() && part.iter().all(u8::is_ascii_digit))
}

/// The number that a text is which [`is_number`] found to be one. As exact as `parse`, up to fifteen digits: further ones are less than a
/// millisecond, or more than ten years.
fn number(text: &[u8]) -> f64 {
    let (mut number, mut scale, mut behind) = (0.0, 1.0, None);
    for byte in text {
        if *byte == b'.' {
            behind = Some(15);
            continue;
        }
        if let Some(left) = &mut behind {
            if *left == 0 {
                break;
            }
            (*left, scale) = (*left - 1, scale * 10.0);
        }
        number = number * 10.0 + f64::from(*byte - b'0');
    }
    number / scale
}

fn round(millis: f64) -> Option<u64> {
    (millis <= TEN_YEARS).then_some((millis + 0.5) as u64)
}

fn quoted(text: &str) -> String {
    Quoted(&shortened(text)).to_string()
}

fn shortened(text: &str) -> String {
    let mut letters = text.chars();
    let mut short: String = letters.by_ref().take(LONGEST_CLASS_NAME).collect();
    if letters.next().is_some() {
        short.push('…');
    }
    short
}

const FOREVER: u64 = u64::MAX;
const TEN_YEARS: f64 = 3_650.0 * 86_400_000.0;
const LONGEST_CLASS_NAME: usize = 64;
const UNITS: [(&str, f64); 5] = [("d", 86_400_000.0), ("h", 3_600_000.0), ("m", 60_000.0), ("s", 1_000.0), ("ms", 1.0)];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::entry::Freshness;

    #[test]
    fn a_duration_is_as_long_as_its_seconds() {
        let (duration, seconds) = (Duration::from_millis(2_500), 2.5);
        assert_eq!(Ttl::from_duration(duration), Ttl::from_secs(seconds));
        assert_eq!(Grace::from_duration(duration), Grace::from_secs(seconds));
    }

    #[test]
    fn what_is_no_time_to_live_is_an_error_and_never_for_ever() {
        let ten_years = 3_650.0 * 86_400.0;
        for seconds in [0.0, -0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e18, ten_years + 1.0, f64::MAX] {
            assert!(matches!(Ttl::from_secs(seconds), Err(InvalidTtl::Ttl { .. })), "{seconds}");
            assert!(matches!(Ttl::from_millis(seconds * 1e3), Err(InvalidTtl::Ttl { .. })), "{seconds}");
        }
        assert!(Ttl::from_secs(ten_years).is_ok());
        assert!(Ttl::from_duration(Duration::ZERO).is_err());
        assert!(Ttl::from_duration(Duration::MAX).is_err());
    }

    #[test]
    fn less_than_a_millisecond_is_a_millisecond() {
        let shortest = Ttl::from_millis(1.0);
        assert_eq!(Ttl::from_secs(0.0004), shortest);
        assert_eq!(Ttl::from_secs(f64::MIN_POSITIVE), shortest);
        assert_eq!(Ttl::from_duration(Duration::from_nanos(1)), shortest);
        assert_eq!(Grace::from_secs(0.0004), Grace::from_millis(1.0));
    }

    #[test]
    fn a_sum_of_decimal_fractions_is_the_milliseconds_that_were_meant() {
        assert_eq!(Ttl::from_secs(0.1 + 0.2), Ttl::from_millis(300.0));
        assert_eq!(Ttl::from_secs(1.001), Ttl::from_millis(1_001.0));
    }

    #[test]
    fn a_grace_may_be_nothing_but_not_less() {
        assert_eq!(Grace::from_millis(-0.0), Ok(Grace::NONE));
        assert_eq!(Grace::parse("0"), Ok(Grace::NONE));
        assert_eq!(Grace::from_duration(Duration::ZERO), Ok(Grace::NONE));
        for seconds in [-1.0, f64::NAN, f64::INFINITY, 1e18] {
            assert!(matches!(Grace::from_secs(seconds), Err(InvalidTtl::Grace { .. })), "{seconds}");
        }
    }

    #[test]
    fn a_length_of_time_is_the_nearest_millisecond_up_to_the_longest() {
        for (given, millis) in [(300.0, 300), (1.4, 1), (1.6, 2)] {
            assert_eq!(Ttl::from_millis(given).unwrap().as_duration(), Some(Duration::from_millis(millis)), "{given}");
        }
        assert_eq!(Ttl::from_duration(Ttl::LONGEST).unwrap().as_duration(), Some(Ttl::LONGEST));
        assert!(Ttl::from_duration(Ttl::LONGEST + Duration::from_millis(1)).is_err());
        let digits = format!("1.{}", "5".repeat(400));
        assert_eq!(Ttl::parse(&digits), Ttl::from_millis(1_556.0), "however many digits there are");
    }

    #[test]
    fn a_grace_is_read_as_a_time_to_live_is_or_is_nothing_or_as_long_as_a_class() {
        let classes = TtlClasses::default();
        assert_eq!(classes.get("stats"), Ttl::from_secs(60.0).ok());
        for (text, millis) in [("5m", 300_000.0), ("0", 0.0), ("stats", 60_000.0)] {
            assert_eq!(classes.resolve_grace(text), Grace::from_millis(millis), "{text}");
        }
        assert_eq!(Grace::parse("1.5h"), Grace::from_millis(5_400_000.0));
        assert_eq!(Grace::parse("3651d").unwrap_err(), InvalidTtl::Grace { given: "\"3651d\"".to_owned() });
        assert!(matches!(classes.resolve_grace("nothing"), Err(InvalidTtl::UnknownClass { .. })));
    }

    #[test]
    fn durations_are_read_from_the_largest_unit_to_the_smallest() {
        for (text, millis) in [
            ("300", 300_000.0),
            ("0.5", 500.0),
            ("5m", 300_000.0),
            ("1h30m", 5_400_000.0),
            ("1.5h", 5_400_000.0),
            ("1d2h3m4s5ms", 93_784_005.0),
            ("250ms", 250.0),
            ("3650d", 315_360_000_000.0),
            ("0h5m", 300_000.0),
        ] {
            assert_eq!(Ttl::parse(text), Ttl::from_millis(millis), "{text}");
        }
        for text in [
            "", " ", "5 m", " 5m", "-5m", "+5", "m", "5x", "5M", "30m1h", "5m5m", "5m30", "1e3", "inf", "nan", ".5",
            "5.", "1.2.3", "0x10", "٣", "5µs", "1_000", "5m ", "5,5",
        ] {
            assert!(matches!(Ttl::parse(text), Err(InvalidTtl::Unreadable { .. })), "{text:?}");
        }
        for text in ["0", "0s", "3651d", "999999999999999999999999", &"9".repeat(400)] {
            assert!(matches!(Ttl::parse(text), Err(InvalidTtl::Ttl { .. })), "{text:?}");
        }
    }

    #[test]
    fn for_ever_has_no_end_whatever_the_grace() {
        let late = Moment::from_nanos(u64::MAX - 1);
        assert_eq!(Ttl::FOREVER.life(Grace::NONE, late), Life::FOREVER);
        assert_eq!(Ttl::FOREVER.life(Grace::FOREVER, Moment::default()), Life::FOREVER);
        let stale_for_ever = Ttl::from_secs(1.0).unwrap().life(Grace::FOREVER, Moment::default());
        assert_eq!(stale_for_ever.at(late), Freshness::Stale);
    }

    #[test]
    fn an_unknown_class_names_the_nearest_and_a_long_one_is_cut_short() {
        let classes = TtlClasses::default();
        let nearest = |text: &str| match classes.resolve(text) {
            Err(InvalidTtl::UnknownClass { nearest, .. }) => nearest,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(nearest("userdata"), "user_data");
        assert_eq!(nearest("DEFAULTS"), "default");
        assert_eq!(nearest("defualt"), "default");
        let given = "x".repeat(LONGEST_CLASS_NAME) + "…";
        let error = InvalidTtl::UnknownClass { given, nearest: "config".to_owned() };
        assert_eq!(classes.resolve(&"x".repeat(100_000)), Err(error));
    }

    #[test]
    fn classes_have_plain_names_and_keep_their_built_in_ones() {
        let mut classes = TtlClasses::default();
        for name in ["", "9lives", "_a", "A", "a-b", "a b", "ä", &"a".repeat(65)] {
            assert!(matches!(classes.define(name, Ttl::FOREVER), Err(InvalidTtl::ClassName { .. })), "{name:?}");
        }
        assert_eq!(classes.define("default", Ttl::FOREVER), Ok(()));
        assert_eq!(classes.default_ttl(), Ttl::FOREVER);
        let all: Vec<_> =
            classes.iter().map(|(name, ttl)| (name, ttl.as_duration().map(|ttl| ttl.as_secs()))).collect();
        assert_eq!(all, [("config", Some(3_600)), ("default", None), ("stats", Some(60)), ("user_data", Some(300))]);
    }

    proptest! {
        #[test]
        fn a_life_is_fresh_then_stale_then_over(
            ttl in 1_u64..10_000, grace in 0_u64..10_000, start in 0_u64..1_000, later in 0_u64..30_000,
        ) {
            let life = Ttl::from_millis(ttl as f64).unwrap()
                .life(Grace::from_millis(grace as f64).unwrap(), Moment::from_millis(start));
            let expected = if later < ttl {
                Freshness::Fresh
            } else if later < ttl + grace {
                Freshness::Stale
            } else {
                Freshness::Over
            };
            prop_assert_eq!(life.at(Moment::from_millis(start + later)), expected);
        }

        #[test]
        fn what_a_duration_says_in_units_it_says_in_milliseconds(d in 0_u32..30, h in 0_u32..99, m in 0_u32..99, ms in 1_u32..9_999) {
            let millis = u64::from(d) * 86_400_000 + u64::from(h) * 3_600_000 + u64::from(m) * 60_000 + u64::from(ms);
            prop_assert_eq!(Ttl::parse(&format!("{d}d{h}h{m}m{ms}ms")), Ttl::from_millis(millis as f64));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".*") {
            let _ = TtlClasses::default().resolve(&text);
            let _ = Grace::parse(&text);
        }
    }
}
