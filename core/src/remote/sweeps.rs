//! Sweeps: the patterns that are being swept, which Redis keeps in a list: what they make dead before their sweep gets to it, and whose
//! sweep has come to a stand.
//!
//! A record is written before its sweep begins, in one step that holds at once for whoever reads the list with a value, and struck
//! once the sweep has ended. Its sweeper raises its beat meanwhile; where nobody has for [`STANDS_STILL`], whoever notices does, and
//! sweeps in its place. A load notes the last record that covers its key, in the first half of the token of what it stores: records
//! are in the order of their writing, so neither that one nor any before it is about that value.
//!
//! Invariants: a pattern is in the list once, by its latest record; what cannot be read is no record, and but for one whose pattern is no
//! text is gone with the next one that is written; what somebody here judges by was acted upon in this process before.
//!
//! Who cannot read the list and what is under a key in one step reads the list first: what was struck off by then is swept, and what is
//! written down later was not when this reader began.
//!
//! A record is its id (8 bytes), its beat (4), the length of the pattern (2, the higher byte first), and the pattern.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use crate::key::Key;
use crate::moment::Moment;
use crate::pattern::Pattern;
use crate::remote::Remote;
use crate::remote::call::{Call, Reply};
use crate::remote::script::{FILL, RAISE, STRIKE, WRITE_DOWN};
use crate::remote::sight::Header;
use crate::sync::{AtomicBool, Mutex, Ordering};

/// As many patterns are written down; one more is swept like that.
pub const MOST_SWEEPS: usize = 64;

/// How often a sweeper raises the beat of its record.
pub const RAISE_EVERY: Duration = Duration::from_secs(3);

/// After how long a record that nobody raised is another's to sweep.
pub const STANDS_STILL: Duration = Duration::from_secs(10);

/// What a record is known by: random.
pub(crate) type Id = [u8; 8];

/// One pattern that is being swept, as its sweeper knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    id: Id,
    beat: u32,
    pattern: Pattern,
}

impl Record {
    pub(crate) fn new(id: Id, pattern: Pattern) -> Self {
        Self { id, beat: 0, pattern }
    }

    /// What is swept.
    pub fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    pub(crate) fn id(&self) -> &Id {
        &self.id
    }

    pub(crate) fn beat(&self) -> [u8; 4] {
        self.beat.to_be_bytes()
    }

    pub(crate) fn raise(&mut self) {
        self.beat = self.beat.wrapping_add(1);
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let text = self.pattern.as_str().as_bytes();
        let mut bytes = Vec::with_capacity(HEAD + text.len());
        bytes.extend(self.id);
        bytes.extend(self.beat());
        bytes.extend((text.len() as u16).to_be_bytes());
        bytes.extend(text);
        bytes
    }

    fn covers(&self, key: &str) -> bool {
        self.pattern.is_everything() || self.pattern.matches(key.as_bytes())
    }
}

/// The list as one process knows it.
#[derive(Debug, Default)]
pub(crate) struct Sweeps {
    state: Mutex<State>,
    is_read: AtomicBool,
    /// Whether there was a record when the list was last read.
    is_any: AtomicBool,
    has_news: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    list: Arc<List>,
    /// What was not in it before.
    fresh: Vec<Pattern>,
    stalled: Vec<Record>,
    foreign: Foreign,
}

/// Whether what is under the name of the list was ever found to be no list, or not all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Foreign {
    #[default]
    Never,
    Found,
    Told,
}

/// The list as it was read once.
#[derive(Debug, Default)]
pub(crate) struct List {
    bytes: Vec<u8>,
    records: Vec<(Record, Moment)>,
    /// Whether all of it are records.
    is_whole: bool,
}

impl Sweeps {
    /// Whether the list is read with what it may be about.
    pub(crate) fn is_read(&self) -> bool {
        self.is_read.load(Ordering::Relaxed)
    }

    pub(crate) fn read(&self) {
        self.is_read.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_any(&self) -> bool {
        self.is_any.load(Ordering::Acquire)
    }

    /// The list as it has just been read; none where nothing is in it. `detach` is told of each pattern that was not in it before.
    pub(crate) fn heed(&self, bytes: Option<&[u8]>, now: Moment, detach: impl Fn(&Pattern)) -> Option<Arc<List>> {
        let bytes = bytes.unwrap_or_default();
        if bytes.is_empty() && !self.is_any() {
            return None;
        }
        let known = self.known();
        let list = if known.bytes == bytes && !known.has_stalled(now) {
            known
        } else {
            self.learn(&known, bytes, now, detach)
        };
        (!list.records.is_empty()).then_some(list)
    }

    #[cold]
    fn learn(&self, known: &List, bytes: &[u8], now: Moment, detach: impl Fn(&Pattern)) -> Arc<List> {
        let mut list = List::read(bytes);
        let (mut fresh, mut stalled) = (Vec::new(), Vec::new());
        for (record, since) in &mut list.records {
            *since = now;
            match known.records.iter().find(|(before, _)| before.id == record.id) {
                Some((before, then)) if before.beat == record.beat => {
                    if now - *then >= STANDS_STILL {
                        stalled.push(record.clone());
                    } else {
                        *since = *then;
                    }
                }
                Some(_) => {}
                None => {
                    // Before anybody finds it known: then no load of this process is joined that began before.
                    detach(&record.pattern);
                    fresh.push(record.pattern.clone());
                }
            }
        }
        let list = Arc::new(list);
        let mut state = self.state.lock();
        state.list = Arc::clone(&list);
        state.fresh.append(&mut fresh);
        state.stalled.append(&mut stalled);
        if !list.is_whole && state.foreign == Foreign::Never {
            state.foreign = Foreign::Found;
        }
        self.is_any.store(!list.records.is_empty(), Ordering::Release);
        self.note_news(&state);
        list
    }

    /// Whether there is something to take.
    pub(crate) fn has_news(&self) -> bool {
        self.has_news.load(Ordering::Acquire)
    }

    /// What was found to be swept since this was last taken.
    pub(crate) fn take_fresh(&self) -> Vec<Pattern> {
        let mut state = self.state.lock();
        let fresh = core::mem::take(&mut state.fresh);
        self.note_news(&state);
        fresh
    }

    /// The same, of what stands still.
    pub(crate) fn take_stalled(&self) -> Vec<Record> {
        let mut state = self.state.lock();
        let stalled = core::mem::take(&mut state.stalled);
        self.note_news(&state);
        stalled
    }

    /// Whether something was found there that is no record; says so once.
    pub(crate) fn take_foreign(&self) -> bool {
        let mut state = self.state.lock();
        let is_found = state.foreign == Foreign::Found;
        if is_found {
            state.foreign = Foreign::Told;
        }
        self.note_news(&state);
        is_found
    }

    fn note_news(&self, state: &State) {
        let is_quiet = state.fresh.is_empty() && state.stalled.is_empty() && state.foreign != Foreign::Found;
        self.has_news.store(!is_quiet, Ordering::Release);
    }

    /// Whether what has this header is older than a record that covers its key, as far as this process knows.
    pub(crate) fn covers(&self, key: &str, header: &Header) -> bool {
        self.is_any() && self.known().covers(key, header)
    }

    /// The last record that covers a key, as far as this process knows.
    pub(crate) fn last_of(&self, key: &str) -> Option<Id> {
        if !self.is_any() {
            return None;
        }
        let list = self.known();
        list.records.iter().rev().find(|(record, _)| record.covers(key)).map(|(record, _)| record.id)
    }

    fn known(&self) -> Arc<List> {
        Arc::clone(&self.state.lock().list)
    }
}

impl List {
    fn read(bytes: &[u8]) -> Self {
        let (mut records, mut rest, mut is_whole) = (Vec::new(), bytes, true);
        while let Some((head, behind)) = rest.split_at_checked(HEAD)
            && let Some((text, behind)) = behind.split_at_checked(usize::from(head[12]) << 8 | usize::from(head[13]))
            && records.len() < MOST_SWEEPS
        {
            rest = behind;
            let Some(pattern) = core::str::from_utf8(text).ok().and_then(|text| Pattern::new(text).ok()) else {
                is_whole = false;
                continue;
            };
            let (mut id, mut beat) = ([0; 8], [0; 4]);
            id.copy_from_slice(&head[..8]);
            beat.copy_from_slice(&head[8..12]);
            records.push((Record { id, beat: u32::from_be_bytes(beat), pattern }, Moment::default()));
        }
        Self { bytes: bytes.to_vec(), records, is_whole: is_whole && rest.is_empty() }
    }

    /// Whether what is under a key is older than a record that covers it.
    pub(crate) fn covers(&self, key: &str, header: &Header) -> bool {
        let token = header.token();
        let later = self.records.iter().rposition(|(record, _)| token.starts_with(&record.id)).map_or(0, |at| at + 1);
        self.records[later..].iter().any(|(record, _)| record.covers(key))
    }

    fn has_stalled(&self, now: Moment) -> bool {
        self.records.iter().any(|(_, since)| now - *since >= STANDS_STILL)
    }
}

impl<E: Clone> Remote<E> {
    /// Has whoever reads a key read with it what is being swept: where one command can, see
    /// [`RedisAddress::has_together`](crate::settings::RedisAddress::has_together).
    pub fn read_sweeps(&self) {
        self.shared.sweeps.read();
    }

    /// Whether that is read with each key.
    pub fn reads_sweeps(&self) -> bool {
        self.shared.sweeps.is_read()
    }

    /// What tells, behind values that are stored by hand, what is being swept: to [`Remote::store_anew`]; nothing where nobody can.
    pub fn ask_sweeps(&self) -> Option<Call> {
        self.reads_sweeps().then(|| Call::plain("MGET", &self.shared.names.sweeps()))
    }

    /// Takes note of what that answered.
    pub fn told_of_sweeps(&self, reply: &Reply, now: Moment) {
        if let Reply::List(list) = reply {
            self.heed(list.first().and_then(Reply::as_bytes), now);
        }
    }

    /// Stores a value anew that is already thought dead: this process did not know of all that is being swept when it stored it, by
    /// `call`. Answers with a number, 0 where it is there no longer.
    pub fn store_anew(&self, key: Key<'_>, call: &Call) -> Option<Call> {
        let Call::Plain(args) = call else { return None };
        let [_, name, entry, rest @ ..] = &args[..] else { return None };
        let header = Header::of(entry);
        let id = self.shared.sweeps.last_of(key.as_str()).filter(|id| !header.token().starts_with(id))?;
        let mut entry = entry.to_vec();
        entry.get_mut(FIRST_OF_TOKEN)?.copy_from_slice(&id);
        let span = rest.iter().skip_while(|word| ***word != *b"PX").nth(1).cloned();
        Some(Call::run(&FILL, name).with(header.as_bytes().to_vec()).with(entry).with(span.unwrap_or(b"0"[..].into())))
    }

    /// Writes down that a pattern is about to be swept, as of when it holds everywhere; nothing where nobody reads that. To be said
    /// again as it is, where it is not known whether it arrived. [`Remote::wrote_down`] reads what it answers.
    pub fn write_down(&self, pattern: &Pattern) -> Option<(Record, Call)> {
        let record = Record::new(self.bits().to_be_bytes(), pattern.clone());
        let call =
            Call::run(&WRITE_DOWN, &self.shared.names.sweeps()).with(record.to_bytes()).number(MOST_SWEEPS as u64);
        self.reads_sweeps().then_some((record, call))
    }

    /// Whether it was written down.
    pub fn wrote_down(&self, reply: &Reply, now: Moment) -> bool {
        reply.as_bytes().inspect(|list| _ = self.heed(Some(list), now)).is_some()
    }

    /// Says that a sweep goes on, or that this process goes on with it; answers with 1, or else another does. To be said every
    /// [`RAISE_EVERY`].
    pub fn raise(&self, record: &mut Record) -> Call {
        let was = record.beat();
        record.raise();
        Call::run(&RAISE, &self.shared.names.sweeps())
            .with(record.id().to_vec())
            .with(was.to_vec())
            .with(record.beat().to_vec())
    }

    /// Says that a sweep has ended. [`Remote::struck`] reads what it answers.
    pub fn strike(&self, record: &Record) -> Call {
        Call::run(&STRIKE, &self.shared.names.sweeps()).with(record.id().to_vec())
    }

    /// Takes note of what is left on the list.
    pub fn struck(&self, reply: &Reply, now: Moment) {
        if let Some(list) = reply.as_bytes() {
            self.heed(Some(list), now);
        }
    }

    /// Takes note of what was read on its own; whether something is being swept.
    pub fn heed(&self, list: Option<&[u8]>, now: Moment) -> bool {
        self.sweeps_in(list, now).is_some()
    }

    /// Whether [`Remote::fresh_sweeps`], [`Remote::stalled_sweeps`] or [`Remote::found_foreign`] has something. One atomic read.
    pub fn has_news_of_sweeps(&self) -> bool {
        self.shared.sweeps.has_news()
    }

    /// What was found to be swept since this was last asked: memory must not have it any more.
    pub fn fresh_sweeps(&self) -> Vec<Pattern> {
        self.shared.sweeps.take_fresh()
    }

    /// Whether something was found in the list that is no record. True once: for the log.
    pub fn found_foreign(&self) -> bool {
        self.shared.sweeps.take_foreign()
    }

    /// Whose sweeps were found to stand still since this was last asked: whoever [raises](Remote::raise) one sweeps in its place.
    pub fn stalled_sweeps(&self) -> Vec<Record> {
        self.shared.sweeps.take_stalled()
    }

    /// What is being swept, as it has just been read: loads of this process that began before are sent away.
    pub(super) fn sweeps_in(&self, list: Option<&[u8]>, now: Moment) -> Option<Arc<List>> {
        self.shared.sweeps.heed(list, now, |pattern| self.detach_matching(pattern))
    }
}

/// Where the token of an entry has what its load noted.
const FIRST_OF_TOKEN: core::ops::Range<usize> = 4..12;

/// What stands before the pattern.
const HEAD: usize = 14;

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: u8, beat: u32, pattern: &str) -> Record {
        Record { id: [id; 8], beat, pattern: Pattern::new(pattern).unwrap() }
    }

    fn list(records: &[Record]) -> Vec<u8> {
        records.iter().flat_map(Record::to_bytes).collect()
    }

    fn value(first: [u8; 8]) -> Header {
        Header::of(&[&[0xC1, b'D', 1, b'V'][..], &first, &[9; 8], b"and so on"].concat())
    }

    fn at(seconds: u64) -> Moment {
        Moment::from_millis(seconds * 1_000)
    }

    fn heed(sweeps: &Sweeps, records: &[Record], now: Moment) -> Option<Arc<List>> {
        sweeps.heed(Some(&list(records)), now, |_| {})
    }

    #[test]
    fn a_record_covers_what_was_loaded_before_it_and_nothing_later() {
        let sweeps = Sweeps::default();
        let list = heed(&sweeps, &[record(1, 0, "a*"), record(2, 0, "b*"), record(3, 0, "*")], at(0)).unwrap();
        assert!(list.covers("a", &value([7; 8])), "nobody noted anything");
        assert!(list.covers("a", &value([1; 8])) && list.covers("a", &value([2; 8])), "the last one came later");
        assert!(!list.covers("a", &value([3; 8])));
        assert!(list.covers("a", &Header::of(b"12")), "of a counter it is not known when it was made");
        let list = heed(&sweeps, &[record(1, 0, "a*"), record(2, 0, "b*")], at(0)).unwrap();
        assert!(!list.covers("a", &value([1; 8])) && !list.covers("a", &value([2; 8])));
        assert!(list.covers("b", &value([1; 8])) && !list.covers("c", &value([7; 8])));
        assert!(list.covers("a", &value([3; 8])), "that record is no more, so nobody knows what came before it");
    }

    #[test]
    fn a_load_notes_the_last_record_that_covers_its_key() {
        let sweeps = Sweeps::default();
        assert_eq!(sweeps.last_of("a"), None);
        let _known = heed(&sweeps, &[record(1, 0, "a*"), record(2, 0, "*"), record(3, 0, "b*")], at(0));
        assert_eq!([sweeps.last_of("a"), sweeps.last_of("b")], [Some([2; 8]), Some([3; 8])]);
        assert!(sweeps.heed(None, at(0), |_| {}).is_none());
        assert_eq!(sweeps.last_of("a"), None);
    }

    #[test]
    fn what_is_new_is_told_once_and_before_it_is_known() {
        let sweeps = Sweeps::default();
        let detached = core::cell::RefCell::new(Vec::new());
        let heed = |records: &[Record]| {
            let _list = sweeps.heed(Some(&list(records)), at(0), |pattern| {
                assert_eq!(sweeps.last_of("a"), None);
                detached.borrow_mut().push(pattern.as_str().to_owned());
            });
        };
        heed(&[record(1, 0, "a*")]);
        assert_eq!(*detached.borrow(), ["a*"]);
        heed(&[record(1, 1, "a*")]);
        heed(&[record(1, 1, "a*")]);
        assert_eq!(detached.borrow().len(), 1);
        assert!(sweeps.has_news());
        assert_eq!((sweeps.take_fresh().len(), sweeps.take_stalled().len()), (1, 0));
        assert!(!sweeps.has_news());
    }

    #[test]
    fn a_record_that_nobody_raised_for_ten_seconds_stands_still() {
        let sweeps = Sweeps::default();
        let stalled = |now: u64, beat: u32| {
            let _list = heed(&sweeps, &[record(1, beat, "a*"), record(2, u32::try_from(now).unwrap(), "b*")], at(now));
            sweeps.take_stalled().len()
        };
        assert_eq!([stalled(0, 0), stalled(9, 0), stalled(9, 1), stalled(18, 1), stalled(19, 1)], [0, 0, 0, 0, 1]);
        assert_eq!(
            [stalled(20, 1), stalled(28, 1), stalled(29, 1)],
            [0, 0, 1],
            "and once more where nobody took it over"
        );
    }

    #[test]
    fn what_cannot_be_read_is_no_record() {
        let good = list(&[record(1, 0, "a*")]);
        let bad = [&good[..], &[2; 12], &[0, 2, 0xFF, 0xFE], &list(&[record(3, 0, "b*")])].concat();
        let read = List::read(&bad);
        assert_eq!(read.records.iter().map(|(record, _)| record.id[0]).collect::<Vec<_>>(), [1, 3]);
        for cut in 0..good.len() {
            assert!(List::read(&good[..cut]).records.is_empty());
        }
        let many: Vec<_> = (0..=MOST_SWEEPS as u8).map(|id| record(id, 0, "a*")).collect();
        assert_eq!(List::read(&list(&many)).records.len(), MOST_SWEEPS);
        assert!(List::read(&[0xFF; 1 << 12]).records.is_empty());
    }

    #[test]
    fn that_something_else_is_there_is_told_once() {
        let sweeps = Sweeps::default();
        heed(&sweeps, &[record(1, 0, "a*")], at(0));
        sweeps.take_fresh();
        assert!(!sweeps.has_news() && !sweeps.take_foreign());
        for odd in [&b"?"[..], &list(&[record(1, 0, "a*")])[1..]] {
            sweeps.heed(Some(odd), at(0), |_| {});
            let is_first = odd == b"?";
            assert_eq!((sweeps.has_news(), sweeps.take_foreign()), (is_first, is_first));
        }
        assert!(!sweeps.has_news() && !sweeps.take_foreign());
    }
}
