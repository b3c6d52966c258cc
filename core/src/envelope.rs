//! Envelope: how a value, or what stands in its place, looks as the bytes of one Redis string.
//!
//! Owns the layout, which `docs/envelope.md` spells out for other readers, and what is believed of bytes that anyone may have
//! written. Must not know what a payload means, what a key is called, or how to talk to Redis.
//! Invariants: what is encoded decodes to itself, and what decodes to an entry encodes to the same bytes; no bytes make
//! [`decode`] panic or allocate more than they are long; a cut-off entry is never taken for a whole one.

use alloc::vec::Vec;
use core::time::Duration;

use crate::entry::{Freshness, Life};
use crate::expiry::Ttl;
use crate::moment::Moment;
use crate::tag::{self, InvalidTag, MAX_TAGS};

/// The format that this release writes.
///
/// A release reads one format more than it writes, once there is one, so that two neighbouring releases can share a Redis;
/// a new kind, codec or flag is a new format.
pub const FORMAT: u8 = 1;

/// Whether this release can read what is written in `format`.
pub const fn reads(format: u8) -> bool {
    format == FORMAT
}

/// What one Redis string holds, unless it holds a counter.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use donjon_core::entry::Life;
/// use donjon_core::envelope::{Codec, Content, Decoded, Entry, Token, decode};
/// use donjon_core::moment::Moment;
///
/// let entry = Entry {
///     token: Token(*b"0123456789abcdef"),
///     life: Life::new(Moment::from_millis(1_800_000_000_000), Moment::from_millis(1_800_000_060_000)),
///     load_time: Duration::from_millis(12),
///     fingerprint: None,
///     tags: Vec::new(),
///     content: Content::Value { codec: Codec::Json, payload: b"{\"id\":5}" },
/// };
/// let bytes = entry.encode()?;
/// assert_eq!(bytes.len(), 44 + 8);
/// assert_eq!(decode(&bytes), Decoded::Entry(entry));
/// assert_eq!(decode(b"42"), Decoded::Counter(42));
/// # Ok::<(), donjon_core::envelope::InvalidEntry>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Drawn anew for each grant and each stored value; what a conditional write compares.
    pub token: Token,
    /// Until when it is fresh and usable, on the clock of Redis: milliseconds since 1970, anything finer being cut off.
    pub life: Life,
    /// How long the load took: whole milliseconds, begun ones counting, at most 65,535.
    pub load_time: Duration,
    /// Of the type that the value was made from; another reader's type with another fingerprint does not fit.
    pub fingerprint: Option<u64>,
    /// The tags it carries, and how they stood when the load began. At most 64.
    pub tags: Vec<TagMark<'a>>,
    /// The value, or what stands in its place.
    pub content: Content<'a>,
}

impl Entry<'_> {
    /// The bytes to store. Costs one allocation and one copy of the payload.
    ///
    /// # Errors
    ///
    /// [`InvalidEntry`] for tags that no entry may carry and a payload of 4 GiB or more.
    pub fn encode(&self) -> Result<Vec<u8>, InvalidEntry> {
        if self.tags.len() > MAX_TAGS {
            return Err(InvalidTag::TooMany { tags: self.tags.len() }.into());
        }
        self.tags.iter().try_for_each(|mark| tag::check_tag(mark.name))?;
        let (codec, payload) = match self.content {
            Content::Value { codec, payload } | Content::Failure { codec, payload } => (codec.id(), payload),
            _ => (NO_CODEC, &[][..]),
        };
        let length = u32::try_from(payload.len()).map_err(|_| InvalidEntry::TooLarge)?;
        let names: usize = self.tags.iter().map(|mark| MARK_BYTES + mark.name.len()).sum();
        let flags = if self.tags.is_empty() { 0 } else { HAS_TAGS }
            | if self.fingerprint.is_some() { HAS_FINGERPRINT } else { 0 };

        let mut out = Vec::with_capacity(HEADER_BYTES + LONGEST_META + 1 + names + payload.len());
        out.extend(MAGIC);
        out.extend([FORMAT, self.content.kind()]);
        out.extend(self.token.0);
        out.extend(Self::times(self.life).as_flattened());
        out.extend([flags, codec]);
        let load_time = self.load_time.as_nanos().div_ceil(1_000_000);
        out.extend(u16::try_from(load_time).unwrap_or(u16::MAX).to_be_bytes());
        out.extend(length.to_be_bytes());
        out.extend(self.fingerprint.iter().flat_map(|fingerprint| fingerprint.to_be_bytes()));
        if !self.tags.is_empty() {
            out.push(self.tags.len() as u8);
        }
        for mark in &self.tags {
            out.extend(mark.epoch.to_be_bytes());
            out.extend(mark.version.to_be_bytes());
            out.extend((mark.name.len() as u16).to_be_bytes());
            out.extend(mark.name.as_bytes());
        }
        out.extend(payload);
        Ok(out)
    }

    /// The bytes that say until when an entry is fresh and usable: those at 20 and at 28.
    pub fn times(life: Life) -> [[u8; 8]; 2] {
        [life.fresh_until(), life.usable_until()].map(|until| to_millis(until).to_be_bytes())
    }

    /// How it stands at `now`, a moment of Redis's own clock in milliseconds since 1970.
    ///
    /// What claims to be fresh for longer than any time to live is over: the clock or the bytes are wrong.
    pub fn at(&self, now: Moment) -> Freshness {
        let fresh_until = self.life.fresh_until();
        if fresh_until != Moment::NEVER && fresh_until - now > Ttl::LONGEST {
            return Freshness::Over;
        }
        self.life.at(now)
    }
}

/// 128 random bits from the operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(pub [u8; 16]);

/// How a tag stood when the load of an entry began: the entry is stale once the tag's epoch is another, or its version later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagMark<'a> {
    /// What the tag is called; see [`tag::check_tag`].
    pub name: &'a str,
    /// The random number of the table that the tag's version is in, drawn when the table is made.
    pub epoch: u64,
    /// The highest version of that table when the load began.
    pub version: u64,
}

/// A value, or what stands in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// A value (`V`).
    Value {
        /// How to read the payload.
        codec: Codec,
        /// The value's bytes.
        payload: &'a [u8],
    },
    /// Somebody holds the lease to load it (`L`).
    Lease,
    /// Loading it failed, in a way that whoever loaded remembers (`N`): a value to them, nothing to all others.
    Failure {
        /// How to read the payload.
        codec: Codec,
        /// How it failed, in the words of whoever loaded.
        payload: &'a [u8],
    },
    /// Not to be cached for now: every caller loads for itself (`M`).
    Uncacheable,
    /// Invalidated a moment ago: what is loaded now may still be old and is not to be stored (`T`).
    HoldDown,
}

impl Content<'_> {
    fn kind(self) -> u8 {
        match self {
            Self::Value { .. } => b'V',
            Self::Lease => b'L',
            Self::Failure { .. } => b'N',
            Self::Uncacheable => b'M',
            Self::HoldDown => b'T',
        }
    }
}

/// How to read a payload: from this list, and from nothing else that the bytes may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// JSON text (1).
    Json,
    /// The bytes are the value (2).
    Bytes,
}

impl Codec {
    const fn id(self) -> u8 {
        match self {
            Self::Json => 1,
            Self::Bytes => 2,
        }
    }

    const fn of(id: u8) -> Option<Self> {
        match id {
            1 => Some(Self::Json),
            2 => Some(Self::Bytes),
            _ => None,
        }
    }
}

/// What the bytes of a Redis string turn out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// An entry of this cache.
    Entry(Entry<'a>),
    /// A bare integer: a value without tags or grace, which Redis itself counts up.
    Counter(i64),
    /// Somebody else's: a miss, or the value itself to who asks for plain JSON.
    Foreign,
    /// An entry in a format that only a later release reads: a miss, and not to be overwritten but by an explicit write.
    Newer(u8),
    /// An entry of this cache, once: to be loaded anew and taken over.
    Damaged(Damage),
}

/// What is wrong with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// It ends too early, or goes on too long.
    #[error("the entry is not as long as it says")]
    Length,
    /// Its format is zero, which none is.
    #[error("the entry has no format")]
    Format,
    /// Its kind is not on the list.
    #[error("the entry is of no known kind")]
    Kind,
    /// A value's codec is not on the list, or what is no value has one.
    #[error("the entry has a codec that is not known")]
    Codec,
    /// It has flags that this format does not know.
    #[error("the entry has flags that are not known")]
    Flags,
    /// It would be usable for less long than fresh, or until after the year 2500.
    #[error("the entry ends at no possible time")]
    Life,
    /// It has no tags where it says so, too many, or one with an impossible name.
    #[error("the entry has impossible tags")]
    Tags,
}

/// Why an entry cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidEntry {
    /// Its tags are not such as an entry may carry.
    #[error(transparent)]
    Tag(#[from] InvalidTag),
    /// Its payload is too long for any Redis.
    #[error("a value has less than 4 GiB")]
    TooLarge,
}

/// Says what the bytes of a Redis string are. Allocates for tags alone; the payload stays where it is.
pub fn decode(bytes: &[u8]) -> Decoded<'_> {
    decode_start(bytes, 0)
}

/// As [`decode`], where so many more bytes of the string are elsewhere: of the payload, there is only the start.
pub fn decode_start(bytes: &[u8], beyond: usize) -> Decoded<'_> {
    let Some(rest) = bytes.strip_prefix(&MAGIC) else {
        return counter(bytes).filter(|_| beyond == 0).map_or(Decoded::Foreign, Decoded::Counter);
    };
    match rest.split_first() {
        None => Decoded::Damaged(Damage::Length),
        Some((0, _)) => Decoded::Damaged(Damage::Format),
        Some((&format, _)) if !reads(format) => Decoded::Newer(format),
        Some((_, rest)) => decode_entry(rest, beyond).map_or_else(Decoded::Damaged, Decoded::Entry),
    }
}

/// The part of an entry that a conditional write compares: magic, format, kind and token.
///
/// `None` where there is none to compare: what is foreign, a counter, or shorter than this, and a newer format, so that nobody
/// can overwrite what only a later release understands.
pub fn header_of(bytes: &[u8]) -> Option<&[u8; COMPARED_BYTES]> {
    let header = bytes.first_chunk()?;
    (bytes.starts_with(&MAGIC) && reads(bytes[MAGIC.len()])).then_some(header)
}

fn decode_entry(bytes: &[u8], beyond: usize) -> Result<Entry<'_>, Damage> {
    let mut rest = Rest(bytes);
    let [kind] = rest.take()?;
    let token = Token(rest.take()?);
    let fresh_until = from_millis(u64::from_be_bytes(rest.take()?))?;
    let usable_until = from_millis(u64::from_be_bytes(rest.take()?))?;
    if usable_until < fresh_until {
        return Err(Damage::Life);
    }
    let [flags, codec] = rest.take()?;
    if flags & !(HAS_TAGS | HAS_FINGERPRINT) != 0 {
        return Err(Damage::Flags);
    }
    let load_time = Duration::from_millis(u16::from_be_bytes(rest.take()?).into());
    let length = u32::from_be_bytes(rest.take()?);
    let fingerprint = if flags & HAS_FINGERPRINT == 0 { None } else { Some(u64::from_be_bytes(rest.take()?)) };
    let tags = if flags & HAS_TAGS == 0 { Vec::new() } else { decode_tags(&mut rest)? };
    let payload = rest.0;
    if u32::try_from(payload.len() + beyond) != Ok(length) {
        return Err(Damage::Length);
    }
    let content = match kind {
        b'V' => Content::Value { codec: Codec::of(codec).ok_or(Damage::Codec)?, payload },
        b'L' => Content::Lease,
        b'N' => Content::Failure { codec: Codec::of(codec).ok_or(Damage::Codec)?, payload },
        b'M' => Content::Uncacheable,
        b'T' => Content::HoldDown,
        _ => return Err(Damage::Kind),
    };
    if !matches!(kind, b'V' | b'N') {
        match (codec, length) {
            (NO_CODEC, 0) => {}
            (NO_CODEC, _) => return Err(Damage::Length),
            _ => return Err(Damage::Codec),
        }
    }
    Ok(Entry { token, life: Life::new(fresh_until, usable_until), load_time, fingerprint, tags, content })
}

fn decode_tags<'a>(rest: &mut Rest<'a>) -> Result<Vec<TagMark<'a>>, Damage> {
    let [count] = rest.take()?;
    let count = usize::from(count);
    if count == 0 || count > MAX_TAGS {
        return Err(Damage::Tags);
    }
    // An entry that says 64 and ends there is not worth the room for 64.
    let mut tags = Vec::with_capacity(count.min(rest.0.len() / MARK_BYTES));
    for _ in 0..count {
        let epoch = u64::from_be_bytes(rest.take()?);
        let version = u64::from_be_bytes(rest.take()?);
        let length = u16::from_be_bytes(rest.take()?);
        let name = rest.slice(length.into())?;
        let name = core::str::from_utf8(name).map_err(|_| Damage::Tags)?;
        tag::check_tag(name).map_err(|_| Damage::Tags)?;
        tags.push(TagMark { name, epoch, version });
    }
    Ok(tags)
}

/// What is not yet read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Damage::Length)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn slice(&mut self, length: usize) -> Result<&'a [u8], Damage> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Damage::Length)?;
        self.0 = rest;
        Ok(taken)
    }
}

/// `-?[0-9]{1,19}` within 64 bits: what Redis can count up, or might have.
fn counter(bytes: &[u8]) -> Option<i64> {
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let plain = (1..=19).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    core::str::from_utf8(bytes).ok().filter(|_| plain)?.parse().ok()
}

fn to_millis(moment: Moment) -> u64 {
    if moment == Moment::NEVER { NEVER } else { moment.as_nanos() / 1_000_000 }
}

fn from_millis(millis: u64) -> Result<Moment, Damage> {
    match millis {
        NEVER => Ok(Moment::NEVER),
        0..=LAST_MILLI => Ok(Moment::from_millis(millis)),
        _ => Err(Damage::Life),
    }
}

/// How many bytes a conditional write compares.
pub const COMPARED_BYTES: usize = 20;

/// Begins no UTF-8 text, no `MessagePack`, no pickle, no gzip and no zstd.
const MAGIC: [u8; 2] = [0xC1, b'D'];

const HEADER_BYTES: usize = 36;
const LONGEST_META: usize = 16;
const MARK_BYTES: usize = 18;
const HAS_TAGS: u8 = 1;
const HAS_FINGERPRINT: u8 = 2;
const NO_CODEC: u8 = 0;
const NEVER: u64 = u64::MAX;

/// The last millisecond that a [`Moment`] can count to.
const LAST_MILLI: u64 = u64::MAX / 1_000_000;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::settings::Settings;

    #[test]
    fn an_entry_is_fresh_then_stale_then_over_on_the_clock_of_redis() {
        let at = |fresh: u64, usable: u64, now: u64| {
            let life = Life::new(Moment::from_millis(fresh), Moment::from_millis(usable));
            entry(life).at(Moment::from_millis(now))
        };
        let now = 1_800_000_000_000;
        assert_eq!(at(now + 1, now + 2, now), Freshness::Fresh);
        assert_eq!(at(now, now + 1, now), Freshness::Stale);
        assert_eq!(at(now - 1, now, now), Freshness::Over);
        assert_eq!(entry(Life::FOREVER).at(Moment::from_millis(now)), Freshness::Fresh);
        let ten_years = 3_650 * 86_400_000;
        assert_eq!(at(now + ten_years, now + ten_years, now), Freshness::Fresh);
        assert_eq!(at(now + ten_years + 1, now + ten_years + 1, now), Freshness::Over, "no ttl is that long");
    }

    fn entry<'a>(life: Life) -> Entry<'a> {
        let (token, content) = (Token([7; 16]), Content::Uncacheable);
        Entry { token, life, load_time: Duration::ZERO, fingerprint: None, tags: Vec::new(), content }
    }

    #[test]
    fn what_is_finer_or_larger_than_a_field_is_rounded_and_never_wraps() {
        let life = Life::new(Moment::from_nanos(1_999_999), Moment::from_nanos(u64::MAX - 1));
        for (load_time, kept) in [
            (Duration::from_nanos(1), 1),
            (Duration::from_micros(1_500), 2),
            (Duration::from_secs(65), 65_000),
            (Duration::from_secs(66), 65_535),
            (Duration::MAX, 65_535),
        ] {
            let bytes = Entry { load_time, ..entry(life) }.encode().unwrap();
            let Decoded::Entry(read) = decode(&bytes) else { panic!("{load_time:?}") };
            assert_eq!(read.load_time, Duration::from_millis(kept));
            assert_eq!(read.life.fresh_until(), Moment::from_millis(1), "cut off, never longer than asked for");
            assert_eq!(read.life.usable_until(), Moment::from_millis(LAST_MILLI));
        }
    }

    #[test]
    fn of_a_string_whose_end_is_elsewhere_all_is_read_but_that() {
        let content = Content::Value { codec: Codec::Json, payload: b"\"abcdef\"" };
        let bytes = Entry { content, ..entry(Life::FOREVER) }.encode().unwrap();
        let Decoded::Entry(read) = decode_start(&bytes[..bytes.len() - 6], 6) else { panic!("it is an entry") };
        assert_eq!(read.content, Content::Value { codec: Codec::Json, payload: b"\"a" });
        for beyond in [0, 5, 7] {
            let read = decode_start(&bytes[..bytes.len() - 6], beyond);
            assert!(matches!(read, Decoded::Damaged(Damage::Length)), "{beyond} bytes more make another length");
        }
    }

    #[test]
    fn tags_that_no_entry_may_carry_are_not_written() {
        let mark = |name| TagMark { name, epoch: 1, version: 2 };
        let with = |tags| Entry { tags, ..entry(Life::FOREVER) }.encode();
        assert_eq!(with(vec![mark("\0seq")]), Err(InvalidEntry::Tag(InvalidTag::Reserved)));
        assert_eq!(with(vec![mark("a"); 65]), Err(InvalidEntry::Tag(InvalidTag::TooMany { tags: 65 })));
        assert!(with(vec![mark("a"); 64]).is_ok());
    }

    #[test]
    fn what_is_written_unless_told_otherwise_can_be_read() {
        assert_eq!(Settings::default().format, FORMAT);
        assert!(reads(FORMAT) && !reads(0) && !reads(FORMAT + 1));
    }

    fn any_moment() -> impl Strategy<Value = Moment> {
        prop_oneof![(0..=LAST_MILLI).prop_map(Moment::from_millis), Just(Moment::NEVER)]
    }

    proptest! {
        #[test]
        fn an_entry_survives_its_bytes(
            token: [u8; 16], fresh in any_moment(), usable in any_moment(), load_ms: u16, fingerprint: Option<u64>,
            tags in vec(("[^\0*]{1,64}", any::<u64>(), any::<u64>()), 0..9), kind in 0..6, payload in vec(any::<u8>(), 0..99),
        ) {
            let content = match kind {
                0 => Content::Value { codec: Codec::Json, payload: &payload },
                1 => Content::Value { codec: Codec::Bytes, payload: &payload },
                2 => Content::Lease,
                3 => Content::Failure { codec: Codec::Json, payload: &payload },
                4 => Content::Uncacheable,
                _ => Content::HoldDown,
            };
            let tags = tags.iter().map(|&(ref name, epoch, version)| TagMark { name, epoch, version }).collect();
            let (life, load_time) = (Life::new(fresh, usable), Duration::from_millis(load_ms.into()));
            let entry = Entry { token: Token(token), life, load_time, fingerprint, tags, content };
            let bytes = entry.encode().unwrap();
            prop_assert_eq!(&header_of(&bytes).unwrap()[4..], &token);
            let least = if entry.tags.is_empty() { HEADER_BYTES + LONGEST_META + payload.len() } else { usize::MAX };
            prop_assert!(bytes.len() <= least, "at most 16 bytes of meta where there are no tags");
            prop_assert_eq!(decode(&bytes), Decoded::Entry(entry));
        }

        #[test]
        fn any_bytes_are_something_and_an_entry_is_its_own_bytes(
            mut bytes in vec(any::<u8>(), 0..99), kind in proptest::sample::select(b"VLNMTX".to_vec()), flags in 0_u8..4, codec in 0_u8..4,
        ) {
            decode(&bytes);
            let framed = [&MAGIC[..], &[FORMAT, kind]].concat();
            bytes.splice(..framed.len().min(bytes.len()), framed);
            if let Some(meta) = bytes.get_mut(HEADER_BYTES..HEADER_BYTES + 2) {
                meta.copy_from_slice(&[flags, codec]);
            }
            if let Decoded::Entry(entry) = decode(&bytes) {
                prop_assert_eq!(entry.encode(), Ok(bytes.clone()));
            }
        }

        #[test]
        fn a_counter_is_an_integer_of_64_bits(count: i64, text in "[-0-9 +]{0,21}") {
            let written = count.to_string();
            prop_assert_eq!(decode(written.as_bytes()), Decoded::Counter(count));
            let digits = text.strip_prefix('-').unwrap_or(&text);
            let whole = !digits.is_empty() && digits.len() < 20 && digits.chars().all(|one| one.is_ascii_digit());
            let expected = text.parse().ok().filter(|_| whole).map_or(Decoded::Foreign, Decoded::Counter);
            prop_assert_eq!(decode(text.as_bytes()), expected);
        }
    }
}
