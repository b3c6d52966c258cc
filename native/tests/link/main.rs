//! The link to a real Redis, and to servers that are none.

mod asking;
mod connecting;
mod failing;
#[path = "../common/log.rs"]
mod log;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use donjon::link::{Greet, Link, Options};
use donjon::runtime::Tokio;
use donjon_core::fault::Fault;
use donjon_core::settings::RedisTarget;
use redis::{Value, cmd};
use tokio::runtime::Handle;

type TokioLink = Link<Tokio>;

/// Patient: a machine that runs many tests at once is slow.
fn options(url: &str) -> Options {
    let mut options = Options::new(RedisTarget::parse(url).expect("the test's URL can be read"));
    options.connect_budget = Duration::from_secs(10);
    options.command_budget = Duration::from_secs(10);
    options
}

/// With [`BUDGET`] for a command and [`CONNECT`] for a connection.
fn impatient(url: &str, greet: Greet) -> TokioLink {
    let mut options = options(url);
    options.connect_budget = CONNECT;
    options.command_budget = BUDGET;
    Link::new(Tokio::new(Handle::current()), options, greet)
}

const BUDGET: Duration = Duration::from_millis(200);
const CONNECT: Duration = Duration::from_secs(1);

/// More than a budget takes on a busy machine, and less than a connection takes that is not made.
const SOON: Duration = Duration::from_millis(700);

fn no_greeting() -> Greet {
    Arc::new(|_| Box::pin(async { Ok(()) }))
}

fn link(url: &str) -> TokioLink {
    Link::new(Tokio::new(Handle::current()), options(url), no_greeting())
}

async fn set(link: &TokioLink, key: &str, value: &str) -> Result<Value, Fault> {
    link.ask(cmd("SET").arg(key).arg(value)).await
}

async fn get(link: &TokioLink, key: &str) -> Result<Value, Fault> {
    link.ask(cmd("GET").arg(key)).await
}

fn text(text: &str) -> Value {
    Value::BulkString(text.as_bytes().to_vec())
}

async fn ping(link: &TokioLink) -> Result<Value, Fault> {
    link.ask(&cmd("PING")).await
}

fn pong() -> Value {
    Value::SimpleString("PONG".to_owned())
}

/// Asks until it works; everything else has to be a fault of the connection.
async fn until_it_answers(link: &TokioLink) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match ping(link).await {
            Ok(_) => return,
            Err(fault) => assert!(fault == Fault::Open || fault.weight() > 0, "{fault}"),
        }
        assert!(Instant::now() < deadline, "the server is back, and the link is not");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until something holds, for as long as a test can spare.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "in vain waited until {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let start = Instant::now();
    (work.await, start.elapsed())
}
