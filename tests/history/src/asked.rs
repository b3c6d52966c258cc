//! A process of the tests between languages: it does with its cache what it is asked, one thing after the other.
//!
//! `history-asked URL NAMESPACE` has memory in front of Redis. Each line of its standard input is a call, as JSON; a line of its output
//! is what came of it. It ends with its input.

use std::error::Error;
use std::time::Duration;

use donjon::{Cache, Mode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

#[derive(Debug, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case", deny_unknown_fields)]
enum Call {
    /// What memory may answer.
    Get {
        key: String,
    },
    /// What Redis has.
    StrongGet {
        key: String,
    },
    Set {
        key: String,
        value: Value,
        ttl: f64,
        tags: Vec<String>,
    },
    /// What is there, or else this value as what was loaded.
    Load {
        key: String,
        value: Value,
        tags: Vec<String>,
    },
    Delete {
        key: String,
    },
    InvalidateTags {
        tags: Vec<String>,
    },
    /// How much was answered from memory so far.
    MemoryHits,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, namespace] = arguments.as_slice() else { return Err("usage: history-asked URL NAMESPACE".into()) };
    let patient = Duration::from_secs(5);
    let cache = Cache::redis(url).namespace(namespace).near().connect_timeout(patient).command_timeout(patient);
    let cache = cache.build()?;
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let said = match answer(&cache, serde_json::from_str(&line)?).await {
            Ok(value) => json!({ "value": value }),
            Err(error) => json!({ "error": error.to_string() }),
        };
        println!("{said}");
    }
    cache.close().await;
    Ok(())
}

async fn answer(cache: &Cache, call: Call) -> Result<Value, Box<dyn Error>> {
    Ok(match call {
        Call::Get { key } => cache.get(&key).await?.unwrap_or_default(),
        Call::StrongGet { key } => cache.in_mode(Mode::Strong).get(&key).await?.unwrap_or_default(),
        Call::Set { key, value, ttl, tags } => {
            cache.set(&key, &value).ttl(Duration::from_secs_f64(ttl)).tags(tags).await?;
            Value::Null
        }
        Call::Load { key, value, tags } => {
            cache.get_or_set(&key, || async { Ok::<_, std::convert::Infallible>(value) }).tags(tags).await?
        }
        Call::Delete { key } => cache.delete(&key).await?.count.into(),
        Call::InvalidateTags { tags } => cache.invalidate_tags(&tags).await?.count.into(),
        Call::MemoryHits => cache.stats().memory_hits.into(),
    })
}
