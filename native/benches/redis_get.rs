//! What does a get over Redis cost a Rust program, beside redis-rs alone?
//!
//! On a server of its own, 100 tasks and then one read 1,000 keys of 92 bytes in rotation: by donjon, and by a bare `GET` on one
//! multiplexed connection of redis-rs that has the same time limit. On tokio's default runtime and on one of a single thread. Slices
//! alternate; a figure is the median over rounds, the ratio the median of the ratios within rounds.
//! `cargo bench -p donjon --bench redis_get [ROUNDS]`

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use donjon::{Cache, Raw};
use donjon_test_redis::Server;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisResult};
use tokio::runtime::Builder;

const KEYS: usize = 1_000;
const VALUE: &[u8] = &[b'v'; 92];
const SLICE: Duration = Duration::from_millis(100);
const LIMIT: Duration = Duration::from_millis(100);

fn main() {
    let rounds = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(15);
    let server = Server::start();
    for (kind, mut builder) in
        [("many threads", Builder::new_multi_thread()), ("one thread", Builder::new_current_thread())]
    {
        let runtime = builder.enable_all().build().expect("a runtime starts");
        runtime.block_on(measure(kind, &server.url(), rounds));
    }
}

async fn measure(kind: &str, url: &str, rounds: usize) {
    let keys: Arc<[String]> = (0..KEYS).map(|n| format!("user:profile:{n}")).collect();
    let bare = bare(url, &keys).await;
    let cache = donjon(url, &keys).await;
    for tasks in [100, 10, 1] {
        let (mut ours, mut theirs, mut failed) = (Vec::new(), Vec::new(), 0);
        for _ in 0..rounds {
            let bare = bare.clone();
            let (gets, lost) = slice(tasks, &keys, move |key| {
                let mut bare = bare.clone();
                async move {
                    let found: RedisResult<Option<Vec<u8>>> = redis::cmd("GET").arg(&key).query_async(&mut bare).await;
                    matches!(found, Ok(Some(_)))
                }
            })
            .await;
            theirs.push(gets);
            failed += lost;
            let cache = cache.clone();
            let (gets, lost) = slice(tasks, &keys, move |key| {
                let cache = cache.clone();
                async move { matches!(cache.get::<Raw>(&key).await, Ok(Some(_))) }
            })
            .await;
            ours.push(gets);
            failed += lost;
        }
        let ratio = median(ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs).collect());
        println!(
            "{kind:>12}, {tasks:>3} tasks: donjon {:>8.0} a second, redis-rs {:>8.0}, share {ratio:.2}; {failed} failed",
            median(ours),
            median(theirs)
        );
    }
}

async fn bare(url: &str, keys: &[String]) -> MultiplexedConnection {
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(LIMIT));
    let client = Client::open(url).expect("the address is one");
    let mut bare = client.get_multiplexed_async_connection_with_config(&config).await.expect("redis is there");
    for key in keys {
        let () = redis::cmd("SET").arg(key).arg(VALUE).query_async(&mut bare).await.expect("redis answers");
    }
    bare
}

async fn donjon(url: &str, keys: &[String]) -> Cache {
    let cache = Cache::redis(url).namespace("bench").build().expect("the address is one");
    for key in keys {
        cache.set(key, &Raw::from(VALUE.to_vec())).await.expect("the cache stores");
    }
    cache
}

/// Gets a second, by so many tasks that each read one key after the other, and how many failed.
async fn slice<G, F>(tasks: usize, keys: &Arc<[String]>, get: G) -> (f64, u64)
where
    G: Fn(String) -> F + Clone + Send + 'static,
    F: Future<Output = bool> + Send,
{
    let start = Instant::now();
    let running: Vec<_> = (0..tasks)
        .map(|task| {
            let (keys, get) = (Arc::clone(keys), get.clone());
            tokio::spawn(async move {
                let (mut at, mut found, mut failed) = (task * KEYS / tasks, 0_u64, 0_u64);
                while start.elapsed() < SLICE {
                    if get(keys[at % KEYS].clone()).await {
                        found += 1;
                    } else {
                        failed += 1;
                    }
                    at += 1;
                }
                (found, failed)
            })
        })
        .collect();
    let (mut found, mut failed) = (0, 0);
    for task in running {
        let (of_one, lost) = task.await.expect("no task fails");
        found += of_one;
        failed += lost;
    }
    (found as f64 / start.elapsed().as_secs_f64(), failed)
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}
