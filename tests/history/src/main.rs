//! One process of the history test: tasks that read, write and invalidate at random, and write down what they did.
//!
//! `history-worker PLAN LOG SEED` runs until its standard input ends, as it does when the harness dies. The worker in Python
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
    let [plan, log, seed] = arguments.as_slice() else {
        return Err("usage: history-worker PLAN LOG SEED".into());
    };
    let plan = Plan::read(Path::new(plan))?;
    let cache = donjon::Cache::redis(&plan.url).namespace(&plan.namespace).build()?;
    Worker::new(plan, cache, Log::open(Path::new(log))?, seed)?.run().await
}
