//! The bytes of entries: the golden vectors of `tests/cases/envelope.json`, read and written by Rust through Redis.

mod common;

use std::collections::HashMap;
use std::convert::Infallible;

use common::PATIENCE;
use donjon::{Builder, Cache, Decode, FOREVER, Payload, Raw, Uncodable};
use donjon_core::envelope::{Content, Decoded, decode};
use donjon_test_redis::Server;
use serde_json::{Value, json};

const HOUR: u64 = 3_600_000;

fn cases(list: &str) -> Vec<Value> {
    let cases: Value = serde_json::from_str(include_str!("../../tests/cases/envelope.json")).expect("it is JSON");
    cases[list].as_array().expect("a list of cases").clone()
}

fn places(server: &Server) -> [Builder; 2] {
    let builder = Cache::redis(&server.url()).early(0.0).connect_timeout(PATIENCE).command_timeout(PATIENCE);
    [builder.clone().namespace("alone"), builder.namespace("near").near()]
}

fn put(server: &Server, cache: &Cache, key: &str, entry: &[u8]) {
    server.ask(&[b"SET", format!("{}:{key}", cache.namespace()).as_bytes(), entry]);
}

fn bytes_of(server: &Server, cache: &Cache, key: &str) -> Option<Vec<u8>> {
    server.ask(&["GET", &format!("{}:{key}", cache.namespace())]).bytes().map(<[u8]>::to_vec)
}

fn unhex(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().unwrap_or_default().as_bytes();
    let digits = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hex digits");
    hex.chunks(2).map(digits).collect()
}

fn ends_in_our_days(case: &Value) -> bool {
    case["fresh_until_ms"].as_u64().is_some_and(|ms| (1_700_000_000_000..4_000_000_000_000).contains(&ms))
}

/// The entry; one that ends on a day of this century is given another hour to live.
fn current(server: &Server, case: &Value) -> Vec<u8> {
    let mut entry = unhex(&case["hex"]);
    if ends_in_our_days(case) {
        let now = server.ask(&["TIME"]).list()[0].text().parse::<u64>().expect("seconds") * 1_000;
        let usable = if case["usable_until_ms"].is_null() { u64::MAX } else { now + 2 * HOUR };
        entry[20..28].copy_from_slice(&(now + HOUR).to_be_bytes());
        entry[28..36].copy_from_slice(&usable.to_be_bytes());
    }
    entry
}

/// Whether a reader is given its value while its time lasts, with no table that knows its tags.
fn is_served(case: &Value) -> bool {
    case["kind"] == "V" && case["tags"] == json!([])
}

/// A payload as it is, whatever its codec.
#[derive(Debug, PartialEq)]
struct Whole(Vec<u8>);

impl Decode for Whole {
    fn decode(payload: &Payload) -> Result<Self, Uncodable> {
        Ok(Self(payload.bytes.to_vec()))
    }
}

#[tokio::test]
async fn the_golden_entries_are_read_as_everywhere() {
    let server = Server::start();
    for builder in places(&server) {
        let cache = builder.build().expect("the options are good");
        for (number, case) in cases("entries").iter().enumerate() {
            let (key, entry, payload) = (&*number.to_string(), current(&server, case), unhex(&case["payload"]));
            put(&server, &cache, key, &entry);
            let lasts = ends_in_our_days(case) || case["fresh_until_ms"].is_null();
            let kept = (is_served(case) && lasts).then_some(payload);
            let expected = kept.as_deref().and_then(|payload| serde_json::from_slice::<Value>(payload).ok());
            assert_eq!(cache.get::<Whole>(key).await.unwrap(), kept.map(Whole), "{}", case["name"]);
            if case["codec"] == "bytes" {
                continue;
            }
            assert_eq!(cache.get::<Value>(key).await.unwrap(), expected, "{}", case["name"]);
            if case["kind"] != "L" {
                let given = cache.get_or_set(key, async || Ok::<_, Infallible>(json!("loaded"))).await.unwrap();
                assert_eq!(given, expected.clone().unwrap_or(json!("loaded")), "{}", case["name"]);
                let is_left_alone = expected.is_some() || case["kind"] == "M" || case["kind"] == "T";
                assert_eq!(bytes_of(&server, &cache, key) == Some(entry), is_left_alone, "{}", case["name"]);
            }
        }
    }
}

#[tokio::test]
async fn what_is_no_entry_is_told_apart_as_everywhere() {
    let server = Server::start();
    for builder in places(&server) {
        let cache = builder.build().expect("the options are good");
        for (number, case) in cases("others").iter().enumerate() {
            let (key, there) = (&*number.to_string(), unhex(&case["hex"]));
            put(&server, &cache, key, &there);
            let (kind, counted) = case["is"].as_str().expect("a text").split_once(' ').unwrap_or(("foreign", ""));
            // A counter is read as JSON, which has no leading zeros; nobody of ours writes them.
            let counted = counted.parse::<i64>().ok().filter(|_| kind == "counter" && there != b"007");
            let before = cache.stats().foreign;
            let number = |value: Value| value.as_i64().or(value.as_f64().map(|zero| zero as i64));
            assert_eq!(cache.get::<Value>(key).await.unwrap().and_then(number), counted, "{}", case["name"]);
            let given = cache.get_or_set(key, async || Ok::<_, Infallible>(json!(-1))).await.unwrap();
            assert_eq!(number(given), counted.or(Some(-1)), "{}", case["name"]);
            let is_replaced = kind == "damaged" || there == b"007";
            assert_eq!(bytes_of(&server, &cache, key) != Some(there), is_replaced, "{}", case["name"]);
            assert_eq!(cache.stats().foreign > before, kind == "foreign" || kind == "newer", "{}", case["name"]);
        }
    }
}

#[tokio::test]
async fn an_entry_that_is_harmed_is_a_miss_or_says_what_is_left_of_it() {
    let server = Server::start();
    for builder in places(&server) {
        let cache = builder.build().expect("the options are good");
        // The tags of the one that has all there may be would take long to look up; the core's own tests harm it, too.
        let is_quick = |case: &Value| case["tags"].as_array().is_some_and(|tags| tags.len() < 64);
        for case in cases("entries").into_iter().filter(is_quick) {
            let entry = current(&server, &case);
            let payload = entry.len() - unhex(&case["payload"]).len();
            let cuts =
                (0..entry.len()).map(|end| (format!("{}: cut to {end}", case["name"]), entry[..end].to_vec(), None));
            let flips = (0..entry.len() * 8).map(|bit| {
                let mut flipped = entry.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let left = is_served(&case).then(|| Whole(flipped[payload..].to_vec()));
                (format!("{}: bit {bit}", case["name"]), flipped, left)
            });
            let (mut words, mut left) = (vec![b"MSET".to_vec()], HashMap::new());
            for (key, bytes, value) in cuts.chain(flips) {
                words.extend([format!("{}:{key}", cache.namespace()).into_bytes(), bytes]);
                left.insert(key, value);
            }
            server.ask(&words);
            for (key, found) in cache.get_many::<Whole>(left.keys()).await.unwrap() {
                assert_eq!(Some(&found), left[&key].as_ref(), "{key}");
            }
        }
    }
}

#[tokio::test]
async fn an_entry_is_written_to_the_byte_as_its_fields_say() {
    let server = Server::start();
    let cache = places(&server)[0].clone().build().expect("the options are good");
    cache.set("json", &json!({ "id": 5, "name": "Zoë" })).ttl("1h").grace("1m").tags(["user:5"]).await.unwrap();
    cache.set("for ever", &json!(null)).ttl(FOREVER).await.unwrap();
    cache.set("bytes", &Raw::from(&b"\0\xff"[..])).ttl("1h").await.unwrap();
    let loader = async || Ok::<_, Infallible>(json!([1]));
    cache.get_or_set("loaded", loader).ttl("1h").await.unwrap();
    for (key, payload) in [
        ("json", &b"{\"id\":5,\"name\":\"Zo\xc3\xab\"}"[..]),
        ("for ever", b"null"),
        ("bytes", b"\0\xff"),
        ("loaded", b"[1]"),
    ] {
        let bytes = bytes_of(&server, &cache, key).expect("it was stored");
        let Decoded::Entry(entry) = decode(&bytes) else { panic!("{key} is no entry") };
        let Content::Value { payload: written, .. } = entry.content else { panic!("{key} is no value") };
        assert_eq!((written, entry.tags.len()), (payload, usize::from(key == "json")), "{key}");
        assert_eq!(entry.encode().as_ref(), Ok(&bytes), "{key}");
    }
}
