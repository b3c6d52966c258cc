//! The golden bytes of the envelope, which every language reads and writes alike.

use std::time::Duration;

use donjon_core::entry::Life;
use donjon_core::envelope::{Codec, Content, Damage, Decoded, Entry, TagMark, Token, decode, header_of};
use donjon_core::moment::Moment;
use serde::Deserialize;

/// The fields of `tests/cases/envelope.json`, which `docs/envelope.md` explains.
#[derive(Deserialize)]
struct Cases {
    entries: Vec<EntryCase>,
    others: Vec<OtherCase>,
}

#[derive(Deserialize)]
struct EntryCase {
    name: String,
    hex: String,
    kind: String,
    token: String,
    fresh_until_ms: Option<u64>,
    usable_until_ms: Option<u64>,
    load_ms: u64,
    codec: Option<String>,
    fingerprint: Option<String>,
    tags: Vec<TagCase>,
    payload: Option<String>,
}

#[derive(Deserialize)]
struct TagCase {
    name: String,
    epoch: String,
    version: String,
}

#[derive(Deserialize)]
struct OtherCase {
    name: String,
    hex: String,
    is: String,
}

fn cases() -> Cases {
    serde_json::from_str(include_str!("../../tests/cases/envelope.json")).expect("the cases are JSON of this shape")
}

fn unhex(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).expect("pairs of hex digits"))
        .collect()
}

fn moment(millis: Option<u64>) -> Moment {
    millis.map_or(Moment::NEVER, Moment::from_millis)
}

/// Hands the entry that the fields describe to `then`, since it borrows from them.
fn described<R>(case: &EntryCase, then: impl FnOnce(Entry<'_>) -> R) -> R {
    let payload = case.payload.as_deref().map(unhex).unwrap_or_default();
    let content = match (case.kind.as_str(), case.codec.as_deref()) {
        ("V", Some("json")) => Content::Value { codec: Codec::Json, payload: &payload },
        ("V", Some("bytes")) => Content::Value { codec: Codec::Bytes, payload: &payload },
        ("L", None) => Content::Lease,
        ("N", Some("json")) => Content::Failure { codec: Codec::Json, payload: &payload },
        ("M", None) => Content::Uncacheable,
        ("T", None) => Content::HoldDown,
        other => panic!("{}: {other:?}", case.name),
    };
    let mark = |tag: &'_ TagCase| (u64::from_str_radix(&tag.epoch, 16).unwrap(), tag.version.parse().unwrap());
    let marks: Vec<(u64, u64)> = case.tags.iter().map(mark).collect();
    let tags = case.tags.iter().zip(marks);
    then(Entry {
        token: Token(unhex(&case.token).try_into().unwrap()),
        life: Life::new(moment(case.fresh_until_ms), moment(case.usable_until_ms)),
        load_time: Duration::from_millis(case.load_ms),
        fingerprint: case.fingerprint.as_deref().map(|hex| u64::from_str_radix(hex, 16).unwrap()),
        tags: tags.map(|(tag, (epoch, version))| TagMark { name: &tag.name, epoch, version }).collect(),
        content,
    })
}

#[test]
fn the_golden_entries_are_read_and_written_to_the_byte() {
    for case in cases().entries {
        let bytes = unhex(&case.hex);
        described(&case, |entry| {
            assert_eq!(decode(&bytes), Decoded::Entry(entry.clone()), "{}", case.name);
            assert_eq!(entry.encode().as_ref(), Ok(&bytes), "{}", case.name);
        });
        assert_eq!(header_of(&bytes).unwrap(), &bytes[..20], "{}", case.name);
    }
}

#[test]
fn what_is_no_golden_entry_is_told_apart() {
    for case in cases().others {
        let bytes = unhex(&case.hex);
        let is = match decode(&bytes) {
            Decoded::Entry(_) => "entry".to_owned(),
            Decoded::Counter(count) => format!("counter {count}"),
            Decoded::Foreign => "foreign".to_owned(),
            Decoded::Newer(format) => format!("newer {format}"),
            Decoded::Damaged(damage) => format!("damaged {damage:?}").to_ascii_lowercase(),
        };
        assert_eq!(is, case.is, "{}", case.name);
        if !case.is.starts_with("damaged") {
            assert_eq!(header_of(&bytes), None, "{}", case.name);
        }
    }
}

#[test]
fn a_golden_entry_cut_off_anywhere_is_no_entry() {
    for case in cases().entries {
        let bytes = unhex(&case.hex);
        for end in 0..bytes.len() {
            match (end, decode(&bytes[..end])) {
                (0..=1, Decoded::Foreign) | (2.., Decoded::Damaged(Damage::Length)) => {}
                (_, other) => panic!("{} cut to {end}: {other:?}", case.name),
            }
        }
        let longer = [bytes.as_slice(), b"x"].concat();
        assert_eq!(decode(&longer), Decoded::Damaged(Damage::Length), "{}", case.name);
    }
}

#[test]
fn a_golden_entry_with_a_bit_flipped_is_another_one_or_none() {
    for case in cases().entries {
        let bytes = unhex(&case.hex);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Decoded::Entry(entry) = decode(&flipped) {
                assert_eq!(entry.encode(), Ok(flipped.clone()), "{}, bit {bit}", case.name);
            }
        }
    }
}

#[test]
fn the_example_of_the_page_that_explains_the_bytes_is_a_golden_entry() {
    let page = include_str!("../../docs/envelope.md");
    let (_, example) = page.split_once("```text\n").expect("the page has an example");
    let lines = example.lines().take_while(|line| *line != "```");
    let hex: String = lines.map(|line| line.split("  ").next().unwrap_or_default().replace(' ', "")).collect();
    let golden = cases().entries.into_iter().find(|case| case.name == "with a tag").expect("the case is there");
    assert_eq!(hex, golden.hex);
}
