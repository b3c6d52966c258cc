//! Source: the rows that every process loads from, a file a key, whose length is its version.
//!
//! A write appends one byte, so any process may write without a lock, and one that is killed leaves nothing half done.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// The rows of some keys.
#[derive(Debug)]
pub struct Source(HashMap<String, File>);

impl Source {
    /// Opens the folder that all processes share.
    pub fn open<'a>(folder: &Path, keys: impl Iterator<Item = &'a String>) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let row = |key: &String| File::options().append(true).create(true).open(folder.join(key));
        keys.map(|key| Ok((key.clone(), row(key)?))).collect::<io::Result<_>>().map(Self)
    }

    /// What a query sees now.
    pub fn version(&self, key: &str) -> io::Result<u64> {
        Ok(self.0[key].metadata()?.len())
    }

    /// Commits a new version.
    pub fn write(&self, key: &str) -> io::Result<()> {
        (&self.0[key]).write_all(b".")
    }
}
