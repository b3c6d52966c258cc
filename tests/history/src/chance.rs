//! Chance: one stream of draws a process, which its seed repeats.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;
use std::time::Duration;

/// Draws of all tasks of this process.
#[derive(Debug)]
pub struct Chance(Mutex<fastrand::Rng>);

impl Chance {
    /// The stream that belongs to a seed.
    pub fn of(seed: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        seed.hash(&mut hasher);
        Self(Mutex::new(fastrand::Rng::with_seed(hasher.finish())))
    }

    /// From 0 to 1, without 1.
    pub fn share(&self) -> f64 {
        self.draw(fastrand::Rng::f64)
    }

    /// Whether something of this probability happens.
    pub fn happens(&self, share: f64) -> bool {
        self.share() < share
    }

    /// A time up to a longest one.
    pub fn up_to(&self, longest: f64) -> Duration {
        Duration::from_secs_f64(self.share() * longest)
    }

    /// A delay of a load: often none, mostly short, seldom long.
    pub fn delay(&self) -> Duration {
        let drawn = self.share();
        let longest = match drawn {
            ..0.3 => 0.0,
            ..0.98 => 0.02,
            _ => 0.15,
        };
        Duration::from_secs_f64(drawn * longest)
    }

    /// One of some things, by their weights.
    pub fn weighed<T: Copy>(&self, among: &[(T, u32)]) -> T {
        let mut drawn = self.draw(|rng| rng.u32(..among.iter().map(|(_, weight)| *weight).sum::<u32>()));
        for &(one, weight) in among {
            if drawn < weight {
                return one;
            }
            drawn -= weight;
        }
        unreachable!("a draw is below the sum of the weights")
    }

    /// Some of a list, in any order: as many as asked for, or all.
    pub fn some<'a>(&self, among: &'a [String], many: usize) -> Vec<&'a str> {
        self.draw(|rng| rng.choose_multiple(among, many)).into_iter().map(String::as_str).collect()
    }

    /// One of a list that is not empty.
    pub fn one<'a>(&self, among: &'a [String]) -> &'a str {
        let index = self.draw(|rng| rng.usize(..among.len()));
        &among[index]
    }

    /// A number from 1 to the highest.
    pub fn one_to(&self, highest: usize) -> usize {
        self.draw(|rng| rng.usize(1..=highest))
    }

    fn draw<T>(&self, draw: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        draw(&mut self.0.lock().expect("no draw panics"))
    }
}
