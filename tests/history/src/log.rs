//! Log: what this process writes down, in the form that `history.py` describes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

/// A file of records, each out by one write.
#[derive(Debug)]
pub struct Log(File);

/// How an invalidation came out.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Ok,
    Queued,
    Failed,
}

/// Nanoseconds by the clock that all processes of this machine share.
pub fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

impl Log {
    pub fn open(path: &Path) -> io::Result<Self> {
        File::options().append(true).create(true).open(path).map(Self)
    }

    /// A read that yielded a version.
    pub fn read(&self, begun: u64, ended: u64, key: &str, version: u64, way: &str) -> io::Result<()> {
        self.say(&("r", begun, ended, key, version, way))
    }

    /// An invalidation that came to an end.
    pub fn invalidation(
        &self,
        (begun, ended): (u64, u64),
        target: &str,
        outcome: Outcome,
        versions: &BTreeMap<&str, u64>,
    ) -> io::Result<()> {
        self.say(&("i", begun, ended, target, outcome, versions))
    }

    /// The counters of the cache as they are now.
    pub fn counters(&self, counters: &BTreeMap<&str, u64>) -> io::Result<()> {
        self.say(&("s", now(), counters))
    }

    /// A call that failed though it may not.
    pub fn fault(&self, way: &str, error: &dyn std::error::Error) -> io::Result<()> {
        self.say(&("f", now(), way, error.to_string()))
    }

    fn say(&self, record: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        (&self.0).write_all(&line)
    }
}
