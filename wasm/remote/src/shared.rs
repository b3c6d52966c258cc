//! Shared: the tier that processes share, with the host's connection to it.
//!
//! The host sends what it is told to, and says what was answered; what that means is decided in the core. What is under way is named
//! by numbers: look-ups that wait for answers, leases, values on their way.

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::task::Poll;

use bytes::Bytes;
use donjon_core::breaker::{Allowed, Breaker, BreakerConfig, Pass};
use donjon_core::envelope::Codec;
use donjon_core::fault::{Class, Fault};
use donjon_core::flight::{Ending, Joined};
use donjon_core::key::{Key, Namespace};
use donjon_core::lease::Filled;
use donjon_core::moment::Moment;
use donjon_core::outbox::{Batch, Epoch, Outbox, Target};
use donjon_core::pattern::Pattern;
use donjon_core::payload::Payload;
use donjon_core::remote::call::Call;
use donjon_core::remote::lease::{Filling, Lease, Sent};
use donjon_core::remote::look::{Look, Pending, Step, Want};
use donjon_core::remote::sight::{Header, Seen, Sight, values_removed};
use donjon_core::remote::sweeps::Record;
use donjon_core::remote::{Asking, Notes, Noting, Remote, See, Storing, Tagged, Told};
use donjon_core::version::Ticket;
use donjon_wasm_host::bridge::{Input, Kind, Output, Refused, cross, register};
use donjon_wasm_host::given::{config, key};
use donjon_wasm_host::kept::Kept;
use donjon_wasm_host::numbers::{self, moment, span, until};
use donjon_wasm_host::waits::poll;
use slab::Slab;

use crate::wire::{read_outcome, write_calls};

struct Shared {
    remote: Remote<()>,
    outbox: Outbox,
    breaker: Breaker,
    /// Under which the latest question went out that could open or close the breaker.
    pass: Pass,
    pending: Slab<Pending<()>>,
    looks: Slab<Look<()>>,
    joined: Slab<Joined<Payload, ()>>,
    leases: Slab<Lease<()>>,
    sent: Slab<Box<Sent<()>>>,
    tagged: Slab<Tagged>,
    asking: Slab<Asking>,
    /// How the tags stand that were asked about, as was told last.
    told: Told,
    noting: Slab<Noting>,
    notes: Slab<Notes>,
    seen: Slab<Seen>,
    batches: Slab<Batch>,
    records: Slab<Record>,
}

static SHARED: Kept<RefCell<Option<Shared>>> = Kept::new(RefCell::new(None));

fn with(mut call: impl FnMut(&mut Shared, &mut Input<'_>, &mut Output<'_>) -> Result<i32, Refused>) -> i32 {
    with_once(&mut call)
}

/// What all calls have in common, once in the module.
#[inline(never)]
fn with_once(call: &mut dyn FnMut(&mut Shared, &mut Input<'_>, &mut Output<'_>) -> Result<i32, Refused>) -> i32 {
    SHARED.with_borrow_mut(|shared| {
        let shared = shared.as_mut().expect("the host opens the tier first");
        cross(|input, output| call(shared, input, output))
    })
}

/// Opens the tier. The input says seed and namespace.
#[unsafe(no_mangle)]
pub extern "C" fn open_shared(jitter: f64, early: f64, load_timeout: f64, max_value_bytes: f64) -> i32 {
    cross(|input, _| {
        let (config, seed) = config(input, jitter, early, load_timeout)?;
        let namespace = Namespace::new(input.text()).map_err(Refused::of(Kind::Config))?;
        let mut breaker = Breaker::new(BreakerConfig::default());
        let (Allowed::Go(pass) | Allowed::Probe(pass)) = breaker.allow(moment(0.0)) else {
            unreachable!("a new breaker is closed")
        };
        SHARED.set(Some(Shared {
            remote: Remote::new(namespace, &config, max_value_bytes as u64, seed),
            outbox: Outbox::default(),
            breaker,
            pass,
            pending: Slab::new(),
            looks: Slab::new(),
            joined: Slab::new(),
            leases: Slab::new(),
            sent: Slab::new(),
            tagged: Slab::new(),
            asking: Slab::new(),
            told: Told::default(),
            noting: Slab::new(),
            notes: Slab::new(),
            seen: Slab::new(),
            batches: Slab::new(),
            records: Slab::new(),
        }));
        Ok(0)
    })
}

// -- look-ups

const DONE: i32 = 0;
const STALE: i32 = 1;
const LOAD: i32 = 2;
const JOIN: i32 = 3;
const SEND: i32 = 4;
const SLEEP: i32 = 5;
const FAILED: i32 = 6;
const LATER: i32 = 7;

/// What to do next, and with what:
///
/// - 0 and 1: the value in the output, its codec first; with 1 the lease in register 1, its ticket in 2;
/// - 2: load under the lease; register 3 is 1 where it has to be renewed;
/// - 3: wait for the load whose ticket is in 2, by the wait in 1, for the milliseconds in 3, and go on with the look-up in 0;
/// - 4: send the calls in the output, and go on with the pending look-up in 0; 1 in register 1 where they may be sent twice; in
///   register 2, 0 where they change something, 2 where they read the value, and 1 where they read what it depends on. A call
///   follows that gives up what they took, where nobody is left to hear what was answered;
/// - 5: let the milliseconds in 3 pass, and go on with the look-up in 0;
/// - 6: another's load failed; 7: another loads.
fn step(shared: &mut Shared, step: Step<()>, output: &mut Output<'_>) -> i32 {
    match step {
        Step::Done(payload) => {
            write_payload(&payload, output);
            DONE
        }
        Step::Stale(payload, lease) => {
            write_payload(&payload, output);
            lead(shared, lease);
            STALE
        }
        Step::Load(lease) => {
            lead(shared, lease);
            LOAD
        }
        Step::Failed(()) => FAILED,
        Step::Later => LATER,
        Step::Send(pending, calls) => {
            register(1, pending.may_be_repeated().into());
            register(2, f64::from(u8::from(pending.reads()) + u8::from(pending.begins())));
            write_calls(&calls, output);
            write_calls(pending.given_up().as_slice(), output);
            register(0, shared.pending.insert(*pending) as f64);
            SEND
        }
        Step::Join(look, joined, at_most) => {
            register(2, joined.ticket().get() as f64);
            register(3, numbers::millis(at_most));
            let wait = shared.joined.insert(joined);
            register(1, wait as f64);
            // So that it is known to the flight; it cannot have ended, as nothing runs beside us.
            let _pending = poll(&mut shared.joined[wait], wait as u32);
            register(0, shared.looks.insert(*look) as f64);
            JOIN
        }
        Step::Sleep(look, pause) => {
            register(3, numbers::millis(pause));
            register(0, shared.looks.insert(*look) as f64);
            SLEEP
        }
    }
}

fn lead(shared: &mut Shared, lease: Lease<()>) {
    register(2, lease.ticket().get() as f64);
    register(3, lease.renewal().is_some().into());
    register(1, shared.leases.insert(lease) as f64);
}

fn write_payload(payload: &Payload, output: &mut Output<'_>) {
    output.byte(codec_number(payload.codec));
    output.bytes(&payload.bytes);
}

const fn codec_number(codec: Codec) -> u8 {
    match codec {
        Codec::Json => 1,
        Codec::Bytes => 2,
    }
}

fn read_payload(input: &mut Input<'_>) -> Payload {
    let codec = input.byte();
    let bytes = Bytes::copy_from_slice(input.sized());
    if codec == 1 { Payload::json(bytes) } else { Payload::bytes(bytes) }
}

fn tag_names(input: &mut Input<'_>) -> Vec<Box<str>> {
    input.texts().into_iter().map(Into::into).collect()
}

/// The name of a key in Redis.
#[unsafe(no_mangle)]
pub extern "C" fn name_of_key() -> i32 {
    with(|shared, input, output| {
        output.bytes(&shared.remote.names().key(key(input)?));
        Ok(0)
    })
}

static START: Kept<RefCell<[u8; START_BYTES]>> = Kept::new(RefCell::new([0; START_BYTES]));

/// All that is needed to tell what an entry without tags is.
const START_BYTES: usize = 64;

/// Where the host writes the first bytes of what it was answered. It never moves.
#[unsafe(no_mangle)]
pub extern "C" fn start_at() -> *const u8 {
    START.with(|start| start.as_ptr().cast_const().cast())
}

/// Whether what is under a key is a value that can be served without another question: one more than where its payload begins, with its
/// codec in register 0, counted as a hit. 0 where it is not, counted as nothing.
#[unsafe(no_mangle)]
pub extern "C" fn hit_start(written: u32, beyond: u32, clock: f64) -> i32 {
    let found = SHARED.with_borrow(|shared| {
        let shared = shared.as_ref().expect("the host opens the tier first");
        START.with_borrow(|start| shared.remote.hit_start(&start[..written as usize], beyond as usize, moment(clock)))
    });
    found.map_or(0, |(codec, from)| {
        register(0, codec_number(codec).into());
        (from as u32 + 1).cast_signed()
    })
}

/// A ticket later than every load begun so far in this process.
#[unsafe(no_mangle)]
pub extern "C" fn shared_ticket() -> f64 {
    SHARED.with_borrow(|shared| shared.as_ref().map_or(0.0, |shared| shared.remote.ticket().get() as f64))
}

/// Looks a key up. The input says key, the tickets of loads that the caller is in the middle of, whether the tags are known, and
/// they. `since` is negative where any load will do.
#[unsafe(no_mangle)]
pub extern "C" fn look(since: f64, is_impatient: i32, is_counted: i32, now: f64) -> i32 {
    with(|shared, input, output| {
        let key = key(input)?;
        let own = (0..input.count()).map(|_| Ticket::from_number(input.number() as u64)).collect();
        let tags = (input.byte() != 0).then(|| tag_names(input).into());
        let since = (since >= 0.0).then(|| Ticket::from_number(since as u64));
        let (impatient, counted) = (is_impatient != 0, is_counted != 0);
        let want = Want { since, own, tags, impatient, counted, ..Want::default() };
        let next = shared.remote.look(key, want, moment(now));
        Ok(step(shared, next, output))
    })
}

/// The right to load a key without storing.
#[unsafe(no_mangle)]
pub extern "C" fn shared_bypass(now: f64) -> i32 {
    with(|shared, input, output| {
        let next = shared.remote.bypass(key(input)?, moment(now));
        Ok(step(shared, next, output))
    })
}

/// Goes on with what was answered to the calls of a look-up.
#[unsafe(no_mangle)]
pub extern "C" fn replied(pending: u32, now: f64, clock: f64) -> i32 {
    with(|shared, input, output| {
        let pending = shared.pending.remove(pending as usize);
        let next = pending.replied(read_outcome(input), moment(now), moment(clock));
        Ok(step(shared, next, output))
    })
}

/// Forgets a look-up that nobody waits for any more.
#[unsafe(no_mangle)]
pub extern "C" fn forget_pending(pending: u32) -> i32 {
    with(|shared, _, _| {
        drop(shared.pending.try_remove(pending as usize));
        Ok(0)
    })
}

/// Goes on after a pause.
#[unsafe(no_mangle)]
pub extern "C" fn slept(look: u32) -> i32 {
    with(|shared, _, output| {
        let next = shared.looks.remove(look as usize).slept();
        Ok(step(shared, next, output))
    })
}

/// Forgets a look-up that pauses, or waits for another's load.
#[unsafe(no_mangle)]
pub extern "C" fn forget_look(look: u32) -> i32 {
    with(|shared, _, _| {
        drop(shared.looks.try_remove(look as usize));
        Ok(0)
    })
}

/// How a load ended for a wait that was woken: 0 with the value that the host has just filled, 1 with the error that it has just
/// failed with, 2 in a way that it has to look up anew. The wait is over.
#[unsafe(no_mangle)]
pub extern "C" fn shared_ending(wait: u32) -> i32 {
    with(|shared, _, _| {
        Ok(shared.joined.try_remove(wait as usize).map_or(2, |mut joined| match poll(&mut joined, wait) {
            Poll::Ready(Ending::Value(_)) => 0,
            Poll::Ready(Ending::Failed(())) => 1,
            _ => 2,
        }))
    })
}

/// Gives a wait up.
#[unsafe(no_mangle)]
pub extern "C" fn shared_leave(wait: u32) -> i32 {
    with(|shared, _, _| {
        drop(shared.joined.try_remove(wait as usize));
        Ok(0)
    })
}

/// Goes on after waiting for another of this process: `ended` is 2 where it has to look up anew, and 3 where it took too long.
#[unsafe(no_mangle)]
pub extern "C" fn joined(look: u32, ended: i32, now: f64) -> i32 {
    with(|shared, _, output| {
        let look = shared.looks.remove(look as usize);
        let next = look.joined((ended == 2).then_some(Ending::Again), moment(now));
        Ok(step(shared, next, output))
    })
}

// -- leases

/// The call that keeps a lease from running out.
#[unsafe(no_mangle)]
pub extern "C" fn renewal(lease: u32) -> i32 {
    with(|shared, _, output| {
        let call = shared.leases.get(lease as usize).and_then(Lease::renewal);
        write_calls(call.as_slice(), output);
        Ok(0)
    })
}

/// How filling ends: 0 stored, 1 refused, 2 passed on only.
const fn filled_number(filled: Filled) -> i32 {
    match filled {
        Filled::Stored => 0,
        Filled::Refused => 1,
        Filled::Passed => 2,
    }
}

/// Fills a lease; the input says tags and payload. As [`filled_number`], or 3: send the calls, and go on with the value in register 0.
#[unsafe(no_mangle)]
pub extern "C" fn shared_fill(lease: u32, ttl: f64, grace: f64, now: f64, clock: f64) -> i32 {
    with(|shared, input, output| {
        let storing = Storing { ttl: span(ttl)?, grace: numbers::grace(grace)?, tags: tag_names(input).into() };
        let payload = read_payload(input);
        let Some(lease) = shared.leases.try_remove(lease as usize) else { return Ok(1) };
        Ok(match lease.fill(payload, &storing, moment(now), moment(clock)) {
            Filling::Done(filled) => filled_number(filled),
            Filling::Send(sent, calls) => {
                write_calls(&calls, output);
                register(0, shared.sent.insert(sent) as f64);
                3
            }
        })
    })
}

/// What memory in front has to know of a value on its way, should it be stored: until when it is fresh and usable, in registers 0 and 1,
/// on the store's clock, infinite for ever; the tables of its tags in the output. 0 where memory may not have it.
#[unsafe(no_mangle)]
pub extern "C" fn outline_of_sent(sent: u32) -> i32 {
    with(|shared, _, output| {
        let outline = shared.sent.get(sent as usize).and_then(|sent| sent.outline());
        Ok(outline
            .is_some_and(|(outline, _)| {
                let start = Moment::from_millis(0);
                register(0, until(outline.life().fresh_until(), start));
                register(1, until(outline.life().usable_until(), start));
                output.bytes(outline.tables());
                true
            })
            .into())
    })
}

/// Ends a load by what was answered to its fill.
#[unsafe(no_mangle)]
pub extern "C" fn filled(sent: u32, now: f64) -> i32 {
    with(|shared, input, _| {
        let sent = shared.sent.remove(sent as usize);
        Ok(filled_number(sent.replied(read_outcome(input), moment(now))))
    })
}

/// Ends a load by an error; the calls are to be sent, and their answers do not matter.
#[unsafe(no_mangle)]
pub extern "C" fn shared_fail(lease: u32) -> i32 {
    with(|shared, _, output| {
        let calls = shared.leases.try_remove(lease as usize).map(|lease| lease.fail(()));
        write_calls(&calls.unwrap_or_default(), output);
        Ok(0)
    })
}

/// Gives a load up; the calls are to be sent, and their answers do not matter.
#[unsafe(no_mangle)]
pub extern "C" fn shared_abandon(lease: u32) -> i32 {
    with(|shared, _, output| {
        let calls = shared.leases.try_remove(lease as usize).map(Lease::abandon);
        write_calls(&calls.unwrap_or_default(), output);
        Ok(0)
    })
}

// -- plain reads

const ABSENT: i32 = 0;
const VALUE: i32 = 1;
const ASK: i32 = 2;
const REPLACEABLE: i32 = 3;

/// Whether there is a value, whose payload goes into the output, its number into register 0, and its times into 1 to 4: fresh for,
/// usable for, load time, and 1 for a counter. 3 where there is none, but what may be replaced by its header.
fn sight(shared: &mut Shared, sight: Sight, clock: f64, output: &mut Output<'_>) -> i32 {
    let seen = match sight {
        Sight::Value(seen) => seen,
        Sight::Dead(_) | Sight::Held(_) => return REPLACEABLE,
        Sight::Absent | Sight::Closed => return ABSENT,
    };
    let clock = moment(clock);
    register(1, until(seen.life.fresh_until(), clock));
    register(2, until(seen.life.usable_until(), clock));
    register(3, numbers::millis(seen.load_time));
    register(4, seen.counter.into());
    output.count(seen.tags().count());
    seen.tags().for_each(|tag| output.text(tag));
    write_payload(&seen.payload, output);
    register(0, shared.seen.insert(seen) as f64);
    VALUE
}

/// What the bytes under a key are, or none where the host has none. 2: its tags are to be asked about, under the number in register 0.
#[unsafe(no_mangle)]
pub extern "C" fn see(is_there: i32, clock: f64) -> i32 {
    with(|shared, input, output| {
        let bytes = (is_there != 0).then(|| input.sized().to_vec());
        Ok(match shared.remote.see(bytes.into(), moment(clock)) {
            See::Plain(found) => sight(shared, found, clock, output),
            See::Tagged(tagged) => {
                register(0, shared.tagged.insert(tagged) as f64);
                ASK
            }
        })
    })
}

/// Asks about the tags of these, each table once: send the calls and say to [`tags_told`], by the number in register 0, what was answered.
#[unsafe(no_mangle)]
pub extern "C" fn ask_about() -> i32 {
    with(|shared, input, output| {
        let tagged = (0..input.count()).map(|_| &shared.tagged[input.count()]);
        let (asking, calls) = shared.remote.ask_about(tagged);
        write_calls(&calls, output);
        register(0, shared.asking.insert(asking) as f64);
        Ok(0)
    })
}

/// Reads how they stand, by which [`see_tagged`] goes until it is told the next. What kept all of it from being answered the host notices.
#[unsafe(no_mangle)]
pub extern "C" fn tags_told(asking: u32) -> i32 {
    with(|shared, input, _| {
        let asking = shared.asking.remove(asking as usize);
        shared.told = read_outcome(input).map_or_else(|_| Told::default(), |replies| asking.replied(replies));
        if let Some(fault) = shared.told.fault() {
            shared.remote.noticed(fault);
        }
        Ok(0)
    })
}

/// As [`see`], once it is known how the tags stand. Where that cannot be known there is nothing.
#[unsafe(no_mangle)]
pub extern "C" fn see_tagged(tagged: u32, clock: f64) -> i32 {
    with(|shared, _, output| {
        let tagged = shared.tagged.remove(tagged as usize);
        let found = shared.told.judge(tagged).unwrap_or(Sight::Absent);
        Ok(sight(shared, found, clock, output))
    })
}

/// Counts a plain read: of the value of this number, or of none.
#[unsafe(no_mangle)]
pub extern "C" fn count_read(seen: i32, clock: f64) -> i32 {
    with(|shared, _, _| {
        let found = usize::try_from(seen).ok().and_then(|seen| shared.seen.get(seen).cloned());
        shared.remote.count_read(&found.map_or(Sight::Absent, Sight::Value), moment(clock));
        Ok(0)
    })
}

/// Forgets a value that was seen.
#[unsafe(no_mangle)]
pub extern "C" fn forget_seen(seen: u32) -> i32 {
    with(|shared, _, _| {
        drop(shared.seen.try_remove(seen as usize));
        Ok(0)
    })
}

// -- writes

fn call_or_not(call: Option<&Call>, output: &mut Output<'_>) -> i32 {
    let call = call.map(core::slice::from_ref).unwrap_or_default();
    write_calls(call, output);
    (!call.is_empty()).into()
}

/// What to ask before values with these tags are stored by hand; the number of the question in register 0.
#[unsafe(no_mangle)]
pub extern "C" fn note() -> i32 {
    with(|shared, input, output| {
        let (noting, calls) = shared.remote.note(&tag_names(input));
        write_calls(&calls, output);
        register(0, shared.noting.insert(noting) as f64);
        Ok(0)
    })
}

/// Reads how the tables stand: 1, their number in register 0; 0 where that is not known.
#[unsafe(no_mangle)]
pub extern "C" fn noted(noting: u32) -> i32 {
    with(|shared, input, _| {
        let noting = shared.noting.remove(noting as usize);
        Ok(match read_outcome(input).and_then(|replies| noting.replied(replies)) {
            Ok(notes) => {
                register(0, shared.notes.insert(notes) as f64);
                1
            }
            Err(fault) => {
                shared.remote.noticed(&fault);
                0
            }
        })
    })
}

/// Forgets how tables stood.
#[unsafe(no_mangle)]
pub extern "C" fn forget_notes(notes: u32) -> i32 {
    with(|shared, _, _| {
        drop(shared.notes.try_remove(notes as usize));
        Ok(0)
    })
}

/// The call that stores a value, of which the input says key, tags and payload; 0 where it is too large or the cache is switched off,
/// so that its key is to be invalidated. `notes` is negative where it has no tags.
#[unsafe(no_mangle)]
pub extern "C" fn shared_set(notes: i32, ttl: f64, grace: f64, clock: f64) -> i32 {
    with(|shared, input, output| {
        let (key, storing, payload) = stored(input, ttl, grace)?;
        let none = Notes::default();
        let notes = usize::try_from(notes).ok().and_then(|notes| shared.notes.get(notes)).unwrap_or(&none);
        Ok(call_or_not(shared.remote.set(key, &payload, &storing, notes, moment(clock)).as_ref(), output))
    })
}

fn stored<'i>(input: &mut Input<'i>, ttl: f64, grace: f64) -> Result<(Key<'i>, Storing, Payload), Refused> {
    let key = key(input)?;
    let storing = Storing { ttl: span(ttl)?, grace: numbers::grace(grace)?, tags: tag_names(input).into() };
    Ok((key, storing, read_payload(input)))
}

/// The calls that store a value where there is none, and tell what is there. As [`shared_set`].
#[unsafe(no_mangle)]
pub extern "C" fn shared_add(ttl: f64, clock: f64) -> i32 {
    with(|shared, input, output| {
        let (key, storing, payload) = stored(input, ttl, 0.0)?;
        let calls = shared.remote.add(key, &payload, &storing, moment(clock));
        write_calls(calls.as_ref().map_or(&[][..], |calls| calls), output);
        Ok(calls.is_some().into())
    })
}

/// The call that puts a value into the place of what may be replaced, whose bytes come last. As [`shared_set`].
#[unsafe(no_mangle)]
pub extern "C" fn shared_swap(ttl: f64, clock: f64) -> i32 {
    with(|shared, input, output| {
        let (key, storing, payload) = stored(input, ttl, 0.0)?;
        let header = Header::of(input.sized());
        Ok(call_or_not(shared.remote.swap(key, &header, &payload, &storing, moment(clock)).as_ref(), output))
    })
}

/// Counts a value that was added, where nothing was or in the place of what may be replaced.
#[unsafe(no_mangle)]
pub extern "C" fn shared_added() -> i32 {
    with(|shared, _, _| {
        shared.remote.added();
        Ok(0)
    })
}

/// The call that gives a value that was seen another time to live.
#[unsafe(no_mangle)]
pub extern "C" fn shared_touch(seen: u32, ttl: f64, clock: f64) -> i32 {
    with(|shared, input, output| {
        let (key, ttl) = (key(input)?, span(ttl)?);
        let seen = &shared.seen[seen as usize];
        write_calls(&[shared.remote.touch(key, seen, ttl, moment(clock))], output);
        Ok(0)
    })
}

/// The call that adds to a counter. `judged` is negative, or 1 where the value that the input holds after the key is alive, 0 where it
/// is dead.
#[unsafe(no_mangle)]
pub extern "C" fn increment(by: f64, ttl: f64, judged: i32, clock: f64) -> i32 {
    with(|shared, input, output| {
        let (key, ttl) = (key(input)?, span(ttl)?);
        let header = (judged >= 0).then(|| Header::of(input.sized()));
        let judged = header.as_ref().map(|header| (header, judged == 1));
        write_calls(&[shared.remote.increment(key, by as i64, ttl, judged, moment(clock))], output);
        Ok(0)
    })
}

// -- invalidation

/// The calls that remove keys, two for each.
#[unsafe(no_mangle)]
pub extern "C" fn shared_delete() -> i32 {
    with(|shared, input, output| {
        let mut calls = Vec::new();
        for text in input.texts() {
            calls.extend(shared.remote.delete(Key::new(text).map_err(Refused::of(Kind::Key))?));
        }
        write_calls(&calls, output);
        Ok(0)
    })
}

/// Of the answers to those calls, how many values were there. Refused where one is a fault.
#[unsafe(no_mangle)]
pub extern "C" fn count_removed() -> i32 {
    with(|shared, input, _| {
        let removed = read_outcome(input).and_then(|replies| values_removed(&replies));
        removed.map(|count| count as i32).map_err(|fault| unavailable(shared, &fault))
    })
}

fn unavailable(shared: &Shared, fault: &Fault) -> Refused {
    shared.remote.noticed(fault);
    Refused::new(Kind::Unavailable, &fault)
}

/// The calls that make dead what carries one of these tags.
#[unsafe(no_mangle)]
pub extern "C" fn move_tags() -> i32 {
    with(|shared, input, output| {
        write_calls(&shared.remote.move_tags(&input.texts()), output);
        Ok(0)
    })
}

/// What a sweep looks for, and 1 where it is everything.
#[unsafe(no_mangle)]
pub extern "C" fn matching() -> i32 {
    with(|shared, input, output| matching_within(shared, input, output).map(|pattern| pattern.is_everything().into()))
}

/// As [`matching`]. The loads of this process that match are sent away.
#[unsafe(no_mangle)]
pub extern "C" fn sweep() -> i32 {
    with(|shared, input, output| {
        let pattern = matching_within(shared, input, output)?;
        shared.remote.detach_matching(&pattern);
        Ok(pattern.is_everything().into())
    })
}

fn matching_within(shared: &Shared, input: &mut Input<'_>, output: &mut Output<'_>) -> Result<Pattern, Refused> {
    let pattern = Pattern::new(input.text()).map_err(Refused::of(Kind::Pattern))?;
    output.bytes(shared.remote.names().matching(&pattern).as_bytes());
    Ok(pattern)
}

/// Sends the loads of keys away.
#[unsafe(no_mangle)]
pub extern "C" fn detach() -> i32 {
    with(|shared, input, _| {
        for text in input.texts() {
            shared.remote.detach(Key::new(text).map_err(Refused::of(Kind::Key))?);
        }
        Ok(0)
    })
}

// -- what is being swept

/// Has what is being swept read with each key: where one server has all names.
#[unsafe(no_mangle)]
pub extern "C" fn read_sweeps() -> i32 {
    with(|shared, _, _| {
        shared.remote.read_sweeps();
        Ok(0)
    })
}

/// Takes note of the list of what is being swept, as it has just been read; `is_there` is 0 where there is none. 1 where something is
/// on it, and 2 more where [`take_sweeps`] has something.
#[unsafe(no_mangle)]
pub extern "C" fn heed_sweeps(is_there: i32, now: f64) -> i32 {
    with(|shared, input, _| {
        let list = (is_there != 0).then(|| input.sized());
        Ok(i32::from(shared.remote.heed(list, moment(now))) + 2 * i32::from(shared.remote.has_news_of_sweeps()))
    })
}

/// Whether what begins like this under a key is older than something on the list, as that was last read. The input says key and bytes.
#[unsafe(no_mangle)]
pub extern "C" fn is_swept() -> i32 {
    with(|shared, input, _| Ok(shared.remote.found_before(key(input)?, input.sized().to_vec()).is_swept.into()))
}

/// What was found on the list since this was last asked: the patterns that memory has to forget, and those whose sweeps stand still,
/// each behind the number of its record.
#[unsafe(no_mangle)]
pub extern "C" fn take_sweeps() -> i32 {
    with(|shared, _, output| {
        let (fresh, stalled) = (shared.remote.fresh_sweeps(), shared.remote.stalled_sweeps());
        output.count(fresh.len());
        for pattern in fresh {
            output.text(pattern.as_str());
        }
        output.count(stalled.len());
        for record in stalled {
            output.text(record.pattern().as_str());
            output.count(shared.records.insert(record));
        }
        Ok(0)
    })
}

/// The call that writes a pattern down, the number of its record in register 0; none where nobody reads that. It answers with the list,
/// or with something else where it did not.
#[unsafe(no_mangle)]
pub extern "C" fn write_down() -> i32 {
    with(|shared, input, output| {
        let pattern = Pattern::new(input.text()).map_err(Refused::of(Kind::Pattern))?;
        let (record, call) = shared.remote.write_down(&pattern).unzip();
        write_calls(call.as_slice(), output);
        register(0, record.map_or(-1.0, |record| shared.records.insert(record) as f64));
        Ok(0)
    })
}

/// The call that says that a sweep goes on.
#[unsafe(no_mangle)]
pub extern "C" fn raise(record: u32) -> i32 {
    with(|shared, _, output| {
        let call = shared.records.get_mut(record as usize).map(|record| shared.remote.raise(record));
        write_calls(call.as_slice(), output);
        Ok(0)
    })
}

/// Forgets a record: with the call that says that its sweep has ended, unless `is_over` is 0, as it was not written down or is another's.
#[unsafe(no_mangle)]
pub extern "C" fn strike(record: u32, is_over: i32) -> i32 {
    with(|shared, _, output| {
        let record = shared.records.try_remove(record as usize).filter(|_| is_over != 0);
        let call = record.map(|record| shared.remote.strike(&record));
        write_calls(call.as_slice(), output);
        Ok(0)
    })
}

/// The call that stores a value anew that is dead already, as it was not known here what is being swept; none where it is not. The
/// input says key and the arguments of the command that stored it.
#[unsafe(no_mangle)]
pub extern "C" fn store_anew() -> i32 {
    with(|shared, input, output| {
        let key = key(input)?;
        let args = (0..input.count()).map(|_| input.sized().to_vec().into()).collect();
        let call = shared.remote.store_anew(key, &Call::Plain(args));
        write_calls(call.as_slice(), output);
        Ok(0)
    })
}

// -- what is owed

fn read_targets(input: &mut Input<'_>) -> Vec<Target> {
    let read = |input: &mut Input<'_>| match input.byte() {
        0 => Target::Key(input.text().into()),
        1 => Target::Pattern(input.text().into()),
        2 => Target::Tag(input.text().into()),
        _ => Target::Everything,
    };
    (0..input.count()).map(|_| read(input)).collect()
}

/// Whether anything is owed; in register 0 the connection that the next invalidation will be said over, by its number.
#[unsafe(no_mangle)]
pub extern "C" fn owed() -> i32 {
    with(|shared, _, _| {
        register(0, shared.outbox.epoch().number() as f64);
        Ok((!shared.outbox.is_empty()).into())
    })
}

/// Keeps what could not be said.
#[unsafe(no_mangle)]
pub extern "C" fn owe() -> i32 {
    with(|shared, input, _| {
        shared.outbox.queue(&read_targets(input));
        Ok(0)
    })
}

/// Notes what was said over the connection of this number.
#[unsafe(no_mangle)]
pub extern "C" fn paid(epoch: f64, now: f64) -> i32 {
    with(|shared, input, _| {
        shared.outbox.sent(&read_targets(input), Epoch::from_number(epoch as u64), moment(now));
        Ok(0)
    })
}

/// Tells of a new connection; the old one was last heard from at this moment.
#[unsafe(no_mangle)]
pub extern "C" fn reconnected(heard: f64) -> i32 {
    with(|shared, _, _| {
        shared.outbox.reconnected(moment(heard));
        Ok(0)
    })
}

/// What has to be said now, and the number of it.
#[unsafe(no_mangle)]
pub extern "C" fn batch() -> i32 {
    with(|shared, _, output| {
        let batch = shared.outbox.batch();
        output.count(batch.targets().len());
        for target in batch.targets() {
            let (kind, text) = match target {
                Target::Key(key) => (0, &**key),
                Target::Pattern(glob) => (1, &**glob),
                Target::Tag(tag) => (2, &**tag),
                Target::Everything => (3, ""),
            };
            output.byte(kind);
            output.text(text);
        }
        Ok((shared.batches.insert(batch) as u32).cast_signed())
    })
}

/// Notes that all of it was said, or forgets it.
#[unsafe(no_mangle)]
pub extern "C" fn replayed(batch: u32, is_said: i32, now: f64) -> i32 {
    with(|shared, _, _| {
        let batch = shared.batches.remove(batch as usize);
        if is_said != 0 {
            shared.outbox.replayed(&batch, moment(now));
        }
        Ok(0)
    })
}

// -- when to leave the store alone

/// Whether something may be asked: 0 no, 1 yes, 2 yes, alone, to find out whether the store is back.
#[unsafe(no_mangle)]
pub extern "C" fn may_ask(now: f64) -> i32 {
    with(|shared, _, _| {
        let (answer, pass) = match shared.breaker.allow(moment(now)) {
            Allowed::No { .. } => return Ok(0),
            Allowed::Go(pass) => (1, pass),
            Allowed::Probe(pass) => (2, pass),
        };
        shared.pass = pass;
        Ok(answer)
    })
}

/// Reports what became of what was asked last: a weight of 0 for an answer, and a random share for how long the store is left alone
/// if need be. 1 where it is not left alone.
#[unsafe(no_mangle)]
pub extern "C" fn asked(weight: u32, now: f64, share: f64) -> i32 {
    with(|shared, _, _| {
        shared.breaker.failed(shared.pass, weight, moment(now), share);
        Ok(shared.breaker.is_closed().into())
    })
}

/// What follows from an error that the store answered with, whose code and detail the input says: 1 it cannot serve now; 2 it is a
/// replica; 3 nothing will work before a setting is changed; 0 nothing. The output says it in words that may be shown.
#[unsafe(no_mangle)]
pub extern "C" fn refused() -> i32 {
    with(|_, input, output| {
        let fault = Fault::server(input.text(), input.text());
        output.bytes(fault.to_string().as_bytes());
        Ok(match fault.class() {
            Some(Class::Down) => 1,
            Some(Class::ReadOnly) => 2,
            Some(Class::Config) => 3,
            _ => 0,
        })
    })
}

// -- locks and messages

/// The call that takes a lock, after its token.
#[unsafe(no_mangle)]
pub extern "C" fn acquire(ttl: f64) -> i32 {
    with(|shared, input, output| {
        let (token, call) = shared.remote.acquire(key(input)?.as_str(), ttl as u64);
        output.sized(&token);
        write_calls(&[call], output);
        Ok(0)
    })
}

fn read_token(input: &mut Input<'_>) -> [u8; 16] {
    input.bytes(16).try_into().expect("so many were taken")
}

/// The call that lets a lock last for so long; the input says name and token.
#[unsafe(no_mangle)]
pub extern "C" fn extend_shared_lock(ttl: f64) -> i32 {
    with(|shared, input, output| {
        let name = input.text();
        write_calls(&[shared.remote.extend(name, &read_token(input), ttl as u64)], output);
        Ok(0)
    })
}

/// The call that gives a lock back; the input says name and token.
#[unsafe(no_mangle)]
pub extern "C" fn unlock_shared() -> i32 {
    with(|shared, input, output| {
        let name = input.text();
        write_calls(&[shared.remote.unlock(name, &read_token(input))], output);
        Ok(0)
    })
}

/// What the key of a lock is called, with `what` 1 its channel, with 2 a channel of the cache.
#[unsafe(no_mangle)]
pub extern "C" fn name_of(what: i32) -> i32 {
    with(|shared, input, output| {
        let (names, text) = (shared.remote.names(), input.text());
        output.bytes(&match what {
            0 => names.lock(text),
            1 => names.lock_channel(text),
            _ => names.channel(text),
        });
        Ok(0)
    })
}

// -- the rest

/// Notes that the store could not be asked.
#[unsafe(no_mangle)]
pub extern "C" fn noticed() -> i32 {
    with(|shared, input, _| {
        if let Err(fault) = read_outcome(input) {
            shared.remote.noticed(&fault);
        }
        Ok(0)
    })
}

/// Switches the cache on or off.
#[unsafe(no_mangle)]
pub extern "C" fn switch_shared(enabled: i32) -> i32 {
    with(|shared, _, _| {
        shared.remote.switch(enabled != 0);
        Ok(0)
    })
}

/// The counters, as [`numbers::stats`] writes them.
#[unsafe(no_mangle)]
pub extern "C" fn shared_stats() -> i32 {
    with(|shared, _, output| {
        let mut stats = shared.remote.stats();
        stats.queued = shared.outbox.batch().targets().len() as u64;
        numbers::stats(&stats, output);
        Ok(0)
    })
}

/// Sets the counters back to zero.
#[unsafe(no_mangle)]
pub extern "C" fn reset_shared_stats() -> i32 {
    with(|shared, _, _| {
        shared.remote.reset_stats();
        Ok(0)
    })
}
