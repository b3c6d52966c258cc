//! Plan: what the processes of a run have in common, as the harness wrote it.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

/// A run, as its workers have to know it; `plan.py` says what each field means.
#[derive(Debug, Deserialize)]
pub struct Plan {
    pub url: String,
    pub namespace: String,
    pub source: PathBuf,
    pub tasks: usize,
    pub rest: f64,
    pub writes: f64,
    pub passing: f64,
    pub failing: f64,
    pub leaving: f64,
    pub keys: BTreeMap<String, Stored>,
    pub patterns: BTreeMap<String, Vec<String>>,
    pub tags: BTreeMap<String, Vec<String>>,
}

/// How one key is stored, by every process alike.
#[derive(Debug, Deserialize, PartialEq)]
pub struct Stored {
    pub ttl: f64,
    pub grace: f64,
    pub tags: Vec<String>,
}

impl Stored {
    pub fn ttl(&self) -> Duration {
        Duration::from_secs_f64(self.ttl)
    }

    pub fn grace(&self) -> Duration {
        Duration::from_secs_f64(self.grace)
    }
}

impl Plan {
    /// The plan that the harness wrote.
    pub fn read(path: &Path) -> Result<Self, Box<dyn Error>> {
        Ok(serde_json::from_slice(&std::fs::read(path)?)?)
    }
}
