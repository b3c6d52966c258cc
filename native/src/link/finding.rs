//! Finding: which server a connection is made to, where the URL names a cluster or sentinels instead of one.
//!
//! Sentinels are asked anew for each connection, all of them at once, as one that is away would take all the time; who they name has
//! to say of itself that it is a primary, since the news of a failover reaches them one by one.

use std::fmt;
use std::sync::Arc;

use donjon_core::breaker::BreakerConfig;
use donjon_core::fault::{Class, Fault};
use donjon_core::settings::{RedisAddress, RedisTarget};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use redis::Value;

use super::Inner;
use super::connect::{Failure, reach};
use super::hub::Hub;
use super::line::Line;
use super::vitals::{End, Vitals};
use crate::runtime::Runtime;

/// The nodes of a cluster that are known, by host and port.
#[derive(Clone, Default)]
pub(crate) struct Known(Arc<Mutex<Vec<(String, u16)>>>);

impl Known {
    /// Those that the target names.
    pub(super) fn of(target: &RedisTarget) -> Self {
        let seeds = if let RedisAddress::Cluster { seeds, .. } = target.address() { seeds.clone() } else { Vec::new() };
        Self(Arc::new(Mutex::new(seeds)))
    }

    pub(crate) fn set(&self, nodes: Vec<(String, u16)>) {
        *self.0.lock() = nodes;
    }

    pub(crate) fn list(&self) -> Vec<(String, u16)> {
        self.0.lock().clone()
    }
}

impl fmt::Debug for Known {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_list().entries(self.list()).finish()
    }
}

/// The server to connect to, and whether it has to be a primary.
pub(super) async fn target<R: Runtime>(inner: &Inner<R>, generation: u64) -> Result<(RedisTarget, bool), Failure> {
    let target = &inner.options.target;
    match target.address() {
        RedisAddress::Tcp { .. } | RedisAddress::Unix { .. } => Ok((target.clone(), false)),
        RedisAddress::Cluster { .. } => {
            // Any will do, the next one at the next try.
            let known = inner.options.known.list();
            let (host, port) = known.get(generation as usize % known.len().max(1)).ok_or(Fault::Unreachable)?;
            Ok((target.server(host, *port), false))
        }
        RedisAddress::Sentinel { sentinels, primary, .. } => {
            let mut asked: FuturesUnordered<_> = sentinels
                .iter()
                .map(|(host, port)| async move { ask(inner, &target.sentinel(host, *port), primary).await })
                .collect();
            let mut worst: Option<Failure> = None;
            while let Some(answer) = asked.next().await {
                match answer {
                    Ok((host, port)) => return Ok((target.server(&host, port), true)),
                    // What one of them says weighs more than that another does not answer.
                    Err(failure) if worst.is_none() || matches!(failure.fault, Fault::Server { .. }) => {
                        worst = Some(failure);
                    }
                    Err(_) => {}
                }
            }
            Err(worst.unwrap_or_else(|| Fault::Unreachable.into()))
        }
    }
}

/// Sees to it that the server is a primary. One that does not let us ask is believed to be.
pub(super) async fn check_role(line: &Line) -> Result<(), Failure> {
    match line.ask(&redis::cmd("ROLE")).await {
        Ok(Value::Array(parts)) if parts.first() != Some(&Value::BulkString(b"master".to_vec())) => {
            let reason = "the sentinels name a server that is no primary".to_owned();
            Err(Failure { fault: Fault::Unreachable, reason, weight: 1 })
        }
        Ok(_) | Err(Fault::Server { class: Class::Config, .. }) => Ok(()),
        Err(fault) => Err(fault.into()),
    }
}

/// Asks one sentinel, over a connection that is not kept.
async fn ask<R: Runtime>(inner: &Inner<R>, sentinel: &RedisTarget, primary: &str) -> Result<(String, u16), Failure> {
    let clock = inner.runtime.clone();
    let passing = Passing(Arc::new(Vitals::new(Box::new(move || clock.now()))));
    // What a sentinel does says nothing of the server.
    let apart = Arc::new(Hub::new(BreakerConfig::default(), sentinel.to_string()));
    let line = reach(inner, sentinel, &apart, 0, Arc::clone(&passing.0), None).await?;
    let named = line.ask(redis::cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(primary)).await?;
    let Value::Array(parts) = named else {
        let unknown = Fault::server("ERR", "No such master with that name");
        return Err(if named == Value::Nil { unknown } else { Fault::Protocol }.into());
    };
    let text = |part: Option<&Value>| match part {
        Some(Value::BulkString(text)) => String::from_utf8(text.clone()).map_err(|_| Fault::Protocol),
        _ => Err(Fault::Protocol),
    };
    let (host, port) = (text(parts.first())?, text(parts.get(1))?);
    Ok((host, port.parse().map_err(|_| Fault::Protocol)?))
}

/// A connection that ends with whoever asks on it.
struct Passing(Arc<Vitals>);

impl Drop for Passing {
    fn drop(&mut self) {
        self.0.finish(End::Closed);
    }
}
