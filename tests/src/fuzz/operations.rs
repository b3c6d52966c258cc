//! Any bytes are a list of operations on a cache, which has to answer each as a naive model does.

use donjon_core::cache::Config;
use donjon_core::expiry::Early;

use crate::cache_model::{COLLIDING, COLLIDING_SEED, How, NAMES, Op, PATTERNS, Pair, SEED, TIMEOUT, TOO_LARGE};

/// A cache with room does to any list of operations what a map would do.
///
/// The first byte says whether all keys collide. Then a byte says which operation comes, those behind it what it is about; what is cut
/// off counts as zeros.
///
/// # Panics
///
/// Where the cache answers otherwise than the model, or its counts and links do not add up.
pub fn operations(bytes: &[u8]) {
    let config = Config { max_bytes: TOO_LARGE, early: Early::OFF, load_timeout: TIMEOUT, ..Config::default() };
    let mut bytes = Bytes(bytes.iter());
    let (seed, names) = if bytes.byte() % 2 == 0 { (SEED, NAMES) } else { (COLLIDING_SEED, COLLIDING) };
    let mut pair = Pair::new(&config, seed, names);
    for _ in 0..MOST {
        let Some(op) = bytes.op() else { return };
        pair.apply(op);
        pair.check();
    }
}

struct Bytes<'a>(std::slice::Iter<'a, u8>);

impl Bytes<'_> {
    fn op(&mut self) -> Option<Op> {
        let kind = *self.0.next()?;
        Some(match kind % 28 {
            0 | 1 => Op::Get(self.key()),
            2 => Op::Hit(self.key()),
            3..8 => Op::Begin(self.key()),
            8 | 9 => Op::Force(self.key()),
            10..14 => Op::Fill(self.number(), self.how()),
            14 => Op::Fail(self.number()),
            15 => Op::Abandon(self.number()),
            16 => Op::Leave(self.number()),
            17 | 18 => Op::Set(self.key(), self.how()),
            19 => Op::Swap(self.key(), self.how(), kind < 128),
            20 => Op::Retime(self.key(), self.ttl()),
            21 => Op::Delete(self.key()),
            22 => Op::Pattern(self.number() % PATTERNS.len()),
            23 => Op::Clear,
            24 => Op::Tags(1 + self.byte() % 7),
            25 => Op::Pass(self.byte().into()),
            26 => Op::Expire,
            _ => Op::Switch(kind < 200),
        })
    }

    fn byte(&mut self) -> u8 {
        self.0.next().copied().unwrap_or_default()
    }

    fn number(&mut self) -> usize {
        self.byte().into()
    }

    fn key(&mut self) -> usize {
        self.number() % NAMES.len()
    }

    fn ttl(&mut self) -> Option<u64> {
        Some(self.byte().into()).filter(|&millis| millis > 0)
    }

    fn how(&mut self) -> How {
        let (tags, size) = (self.byte(), self.byte());
        let bytes = if size > 250 { TOO_LARGE } else { u64::from(size) };
        How { tags: tags % 8, ttl: self.ttl(), grace: (tags >> 3).into(), bytes }
    }
}

/// Bounds the time of one input.
const MOST: usize = 2_000;
