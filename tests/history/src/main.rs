//! One process of the history test: tasks that read, write and invalidate at random, and write down what they did.
//!
//! `history-worker PLAN LOG SEED [near]` runs until its standard input ends, as it does when the harness dies; with `near`, memory in
//! front of Redis answers most of its reads. The worker in Python
//! beside it does the same; `README.md` says what is made of it.

mod chance;
mod log;
mod plan;
mod source;
mod worker;

use std::error::Error;
use std::path::Path;

use crate::log::Log;
use crate::plan::Plan;
use crate::worker::Worker;

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [plan, log, seed, near @ ..] = arguments.as_slice() else {
        return Err("usage: history-worker PLAN LOG SEED [near]".into());
    };
    let is_near = near.first().is_some_and(|word| word == "near");
    let plan = Plan::read(Path::new(plan))?;
    let cache = donjon::Cache::redis(&plan.url).namespace(&plan.namespace);
    let cache = if is_near { cache.near() } else { cache }.build()?;
    Worker::new(plan, cache, Log::open(Path::new(log))?, seed, is_near)?.run().await
}
