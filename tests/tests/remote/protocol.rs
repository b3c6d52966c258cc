//! The protocol of the shared tier on a real server, step by step: what happens between two commands is what the test does
//! there, so each interleaving is met every time.

use std::thread::sleep;
use std::time::Duration;

use donjon_core::expiry::Ttl;
use donjon_core::key::Key;
use donjon_core::lease::Filled;
use donjon_core::moment::Moment;
use donjon_core::payload::Payload;
use donjon_core::remote::call::Reply;
use donjon_core::remote::lease::Filling;
use donjon_core::remote::look::Want;
use donjon_test_redis::Server;

use crate::process::{Found, Process, storing};

fn two() -> (Server, Process, Process) {
    let server = Server::start();
    let (one, other) = (Process::new(1, &server), Process::new(2, &server));
    (server, one, other)
}

#[test]
fn one_of_two_processes_loads_and_the_other_gets_its_value() {
    let (server, mut one, mut other) = two();
    let lease = one.look("key").lease();
    let waited = other.look("key");
    assert!(waited.waits());
    let waited = other.wake(waited);
    assert!(waited.waits());

    assert_eq!(one.fill(lease, "\"v1\""), Filled::Stored);
    assert_eq!(other.wake(waited).value(), "\"v1\"");
    assert!((1..=60_000).contains(&server.ask(&["PTTL", "app:key"]).number()));
    assert_eq!(server.ask(&["DBSIZE"]).number(), 1, "an untagged key costs no other");
}

#[test]
fn whatever_removes_or_replaces_a_key_voids_the_load_under_way() {
    let ways: [&[&str]; 8] = [
        &["DEL", "app:key"],
        &["UNLINK", "app:key"],
        &["GETDEL", "app:key"],
        &["RENAME", "app:key", "app:other"],
        &["FLUSHDB"],
        &["FLUSHALL", "ASYNC"],
        &["SET", "app:key", "foreign"],
        &["PEXPIREAT", "app:key", "1"],
    ];
    for way in ways {
        let (server, mut one, mut other) = two();
        let lease = one.look("key").lease();
        server.ask(way);

        assert_eq!(one.fill(lease, "\"old\""), Filled::Refused, "{way:?}");
        assert!(!matches!(other.look("key"), Found::Value(_)), "{way:?}");
        assert_eq!(one.remote.stats().loads_refused, 1, "{way:?}");
    }
}

#[test]
fn a_delete_or_set_by_another_process_voids_the_load_under_way() {
    let (_server, mut one, mut other) = two();
    let lease = one.look("key").lease();
    other.delete("key");
    assert_eq!(one.fill(lease, "\"old\""), Filled::Refused);

    let lease = one.look("key").lease();
    other.set("key", "\"set\"", &storing(60.0, 0.0, &[]));
    assert_eq!(one.fill(lease, "\"old\""), Filled::Refused);
    assert_eq!(one.look("key").value(), "\"set\"");
}

#[test]
fn a_lease_given_anew_to_the_same_process_does_not_let_its_older_load_in() {
    let (_server, mut one, mut other) = two();
    let older = one.look("key").lease();
    other.delete("key");
    one.detach("key");
    let newer = one.look("key").lease();

    assert_eq!(one.fill(older, "\"old\""), Filled::Refused);
    assert_eq!(one.fill(newer, "\"new\""), Filled::Stored);
    assert_eq!(other.look("key").value(), "\"new\"");
}

#[test]
fn a_dead_holder_blocks_nobody_longer_than_its_lease() {
    let (server, mut one, mut other) = two();
    let late = one.look("key").lease();
    let waited = other.look("key");
    assert!((1..=2_000).contains(&server.ask(&["PTTL", "app:key"]).number()));
    server.ask(&["PEXPIRE", "app:key", "1"]);
    sleep(Duration::from_millis(5));

    let lease = other.wake(waited).lease();
    assert!(!one.renew(&late));
    assert_eq!(one.fill(late, "\"late\""), Filled::Refused);
    assert_eq!(other.fill(lease, "\"v1\""), Filled::Stored);
    assert_eq!(other.remote.stats().takeovers, 1);
}

#[test]
fn a_renewed_lease_lasts_and_a_void_one_is_not_renewed() {
    let (server, mut one, mut other) = two();
    let lease = one.look("key").lease();
    server.ask(&["PEXPIRE", "app:key", "500"]);
    assert!(one.renew(&lease));
    assert!(server.ask(&["PTTL", "app:key"]).number() > 1_000);
    other.delete("key");
    assert!(!one.renew(&lease));
    assert_eq!(server.ask(&["EXISTS", "app:key"]).number(), 0);
}

#[test]
fn a_load_that_failed_frees_the_key_and_nothing_else() {
    let (server, mut one, mut other) = two();
    let lease = one.look("key").lease();
    let calls = lease.fail("the source is down".to_owned());
    one.send(&calls);
    assert_eq!(server.ask(&["EXISTS", "app:key"]).number(), 0);

    let lease = one.look("key").lease();
    other.set("key", "\"set\"", &storing(60.0, 0.0, &[]));
    let calls = lease.abandon();
    one.send(&calls);
    assert_eq!(other.look("key").value(), "\"set\"");
}

#[test]
fn a_fill_whose_answer_was_lost_succeeds_when_it_is_sent_again() {
    let (_server, mut one, mut other) = two();
    let lease = one.look("key").lease();
    let clock = one.clock();
    let now = Moment::from_millis(1_000);
    let payload = Payload::json("\"v1\"");
    let Filling::Send(sent, calls) = lease.fill(payload, &storing(60.0, 0.0, &[]), now, clock) else {
        panic!("a claimed lease has something to send")
    };
    one.send(&calls);
    let again = one.send(&calls);

    assert_eq!(sent.replied(Ok(again), now), Filled::Stored);
    assert_eq!(other.look("key").value(), "\"v1\"");
}

#[test]
fn a_stale_value_is_refreshed_by_one_process_and_served_by_all() {
    let (_server, mut one, mut other) = two();
    one.set("key", "\"v1\"", &storing(0.001, 60.0, &[]));
    sleep(Duration::from_millis(5));

    let Found::Stale(old, lease) = one.look("key") else { panic!("the first to come is elected") };
    assert_eq!(old, "\"v1\"");
    assert_eq!(other.look("key").value(), "\"v1\"");
    assert_eq!(one.fill(lease, "\"v2\""), Filled::Stored);
    assert_eq!(other.look("key").value(), "\"v2\"");
}

#[test]
fn a_refresh_is_refused_once_its_value_was_deleted() {
    let (server, mut one, mut other) = two();
    one.set("key", "\"v1\"", &storing(0.001, 60.0, &[]));
    sleep(Duration::from_millis(5));
    let Found::Stale(_, lease) = one.look("key") else { panic!("the first to come is elected") };
    other.delete("key");

    assert_eq!(one.fill(lease, "\"old\""), Filled::Refused);
    assert_eq!(server.ask(&["EXISTS", "app:key"]).number(), 0);
}

#[test]
fn a_forced_load_replaces_the_value_it_saw_and_no_later_one() {
    let (_server, mut one, mut other) = two();
    one.load("key", "\"v1\"");
    let forced =
        |process: &Process| Want { since: Some(process.remote.ticket()), tags: Some([].into()), ..Want::default() };
    let want = forced(&one);
    let lease = one.look_for("key", want).lease();
    assert_eq!(other.look("key").value(), "\"v1\"");
    assert_eq!(one.fill(lease, "\"v2\""), Filled::Stored);
    assert_eq!(other.look("key").value(), "\"v2\"");

    let want = forced(&one);
    let lease = one.look_for("key", want).lease();
    other.set("key", "\"set\"", &storing(60.0, 0.0, &[]));
    assert_eq!(one.fill(lease, "\"old\""), Filled::Refused);
    assert_eq!(other.look("key").value(), "\"set\"");
}

#[test]
fn a_tag_invalidated_before_during_and_after_a_load() {
    let (_server, mut one, mut other) = two();
    let tagged = storing(60.0, 0.0, &["jobs"]);
    other.invalidate_tag("jobs");
    let lease = one.look_tagged("key", &["jobs"]).lease();
    assert_eq!(one.fill_as(lease, "\"v1\"", &tagged), Filled::Stored, "what was invalidated before does not matter");
    assert_eq!(other.look("key").value(), "\"v1\"");

    other.invalidate_tag("jobs");
    let lease = other.look_tagged("key", &["jobs"]).lease();
    one.invalidate_tag("jobs");
    assert_eq!(other.fill_as(lease, "\"old\"", &tagged), Filled::Refused, "moved while it was loaded");
    assert!(matches!(one.look("key"), Found::Load(_)), "and what it left is dead");
}

#[test]
fn a_lost_table_of_tags_makes_dead_what_was_tagged_by_it() {
    let (server, mut one, mut other) = two();
    let lease = one.look_tagged("key", &["jobs"]).lease();
    assert_eq!(one.fill_as(lease, "\"v1\"", &storing(60.0, 0.0, &["jobs"])), Filled::Stored);
    let tables = server.ask(&["KEYS", "app!t*"]);
    assert_eq!(tables.list().len(), 1);
    server.ask(&["DEL", tables.list()[0].text()]);

    let lease = other.look_tagged("key", &["jobs"]).lease();
    assert_eq!(other.fill_as(lease, "\"v2\"", &storing(60.0, 0.0, &["jobs"])), Filled::Stored);
    assert_eq!(one.look("key").value(), "\"v2\"");
}

#[test]
fn a_table_that_is_none_keeps_nobody_waiting() {
    let (server, mut one, mut other) = two();
    for table in 0..64 {
        server.ask(&["RPUSH", &format!("app!t{table}"), "foreign"]);
    }
    let lease = one.look_tagged("key", &["jobs"]).lease();
    assert!(matches!(other.look_tagged("key", &["jobs"]), Found::Load(_)));
    assert_eq!(one.fill_as(lease, "\"v1\"", &storing(60.0, 0.0, &["jobs"])), Filled::Refused);
    assert_eq!(server.ask(&["EXISTS", "app:key"]).number(), 0, "a value whose tags nobody can judge is not stored");
}

#[test]
fn what_others_keep_under_a_key_is_neither_served_nor_stored_over() {
    let others: [&[&[u8]]; 5] = [
        &[b"RPUSH", b"app:key", b"a"],
        &[b"HSET", b"app:key", b"a", b"b"],
        &[b"SET", b"app:key", b"{\"id\": 5}"],
        &[b"SET", b"app:key", b"\x80\x05\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x05admin\x94."],
        &[b"SET", b"app:key", b"\xc1D\x02V of a later release"],
    ];
    for other in others {
        let server = Server::start();
        let mut one = Process::new(1, &server);
        server.ask(other);
        let before = server.ask(&["DUMP", "app:key"]);
        let lease = one.look("key").lease();

        assert_eq!(one.fill(lease, "\"v1\""), Filled::Refused, "{other:?}");
        assert_eq!(server.ask(&["DUMP", "app:key"]), before, "{other:?}");
        assert_eq!(server.ask(&["PTTL", "app:key"]).number(), -1, "{other:?}");
        let stats = one.remote.stats();
        assert_eq!(stats.foreign + stats.faults, 1, "{other:?}");
    }
}

#[test]
fn an_entry_cut_off_anywhere_is_loaded_anew() {
    let (server, mut one, mut other) = two();
    let tagged = storing(60.0, 0.0, &["jobs"]);
    one.set("key", "{\"name\":\"value\"}", &tagged);
    let whole = server.ask(&["GET", "app:key"]).bytes().expect("it was set").to_vec();
    for length in 2..whole.len() {
        server.ask(&[b"SET".as_slice(), b"app:key", &whole[..length]]);
        let lease = other.look_tagged("key", &["jobs"]).lease();
        assert_eq!(other.fill_as(lease, "\"anew\"", &tagged), Filled::Stored, "of {length} bytes");
        assert_eq!(one.look("key").value(), "\"anew\"", "of {length} bytes");
    }
    assert_eq!(other.remote.stats().takeovers, whole.len() as u64 - 2);
}

#[test]
fn no_flipped_bit_makes_a_look_up_fail() {
    let (server, mut one, _) = two();
    one.set("key", "\"value\"", &storing(60.0, 0.0, &["jobs"]));
    let whole = server.ask(&["GET", "app:key"]).bytes().expect("it was set").to_vec();
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        server.ask(&[b"SET".as_slice(), b"app:key", &bytes]);
        match one.look_tagged("key", &["jobs"]) {
            Found::Load(lease) | Found::Stale(_, lease) => one.send(&lease.abandon()),
            Found::Value(_) | Found::Later(..) => Vec::new(),
        };
    }
}

#[test]
fn a_placeholder_without_an_end_is_taken_over() {
    let (server, mut one, mut other) = two();
    drop(one.look("key"));
    server.ask(&["PERSIST", "app:key"]);
    let mut found = other.look("key");
    let mut waits = 0;
    while found.waits() {
        waits += 1;
        assert!(waits < 20, "nobody will ever end it");
        found = other.wake(found);
    }

    assert_eq!(other.fill(found.lease(), "\"v1\""), Filled::Stored);
    assert!(server.ask(&["PTTL", "app:key"]).number() > 0);
}

#[test]
fn a_server_that_takes_no_writes_still_answers_and_lets_load() {
    let (primary, mut one, _) = two();
    one.load("key", "\"v1\"");
    let replica = Server::start();
    replica.replica_of(&primary);
    let mut reader = Process::new(3, &replica);

    assert_eq!(reader.look("key").value(), "\"v1\"");
    let lease = reader.look("missing").lease();
    assert_eq!(reader.fill(lease, "\"alone\""), Filled::Refused);
    assert_eq!(reader.remote.stats().faults, 1);
}

#[test]
fn a_full_server_lets_load_and_still_deletes() {
    let server = Server::builder().memory(3 << 20, "noeviction").start();
    let (mut one, mut other) = (Process::new(1, &server), Process::new(2, &server));
    one.load("key", "\"v1\"");
    let mut foreign = server.client();
    while foreign.call(&["APPEND".to_owned(), "bulk".to_owned(), "x".repeat(50_000)]).is_ok() {}

    let lease = one.look("missing").lease();
    assert_eq!(one.fill(lease, "\"alone\""), Filled::Refused);
    assert_eq!(one.look("key").value(), "\"v1\"");
    other.delete("key");
    assert_eq!(server.ask(&["EXISTS", "app:key"]).number(), 0);
}

#[test]
fn a_counter_is_counted_by_redis_in_all_its_digits() {
    let (server, mut one, mut other) = two();
    let ttl = Ttl::from_secs(60.0).unwrap();
    let key = Key::new("key").unwrap();
    let add = |process: &mut Process, by: i64| {
        let clock = process.clock();
        let call = process.remote.increment(key, by, ttl, None, clock);
        process.send(&[call]).remove(0)
    };
    let sum = |text: &str| Reply::Bytes(text.into());
    drop(one.look("key"));

    assert_eq!(add(&mut one, 9_007_199_254_740_993), sum("9007199254740993"), "a placeholder counts as nothing");
    assert_eq!(add(&mut other, 1), sum("9007199254740994"));
    assert!(server.ask(&["PTTL", "app:key"]).number() > 0);
    assert_eq!(other.look("key").value(), "9007199254740994");
    one.set("key", "41", &storing(60.0, 0.0, &[]));
    assert_eq!(add(&mut one, 1), sum("42"), "a stored number is one, too");
    one.set("key", "\"text\"", &storing(60.0, 0.0, &[]));
    assert!(matches!(add(&mut one, 1), Reply::Error(_)));
    assert_eq!(one.look("key").value(), "\"text\"");
}
