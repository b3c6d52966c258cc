//! What only memory does: it forgets by itself, keeps within its bounds, and holds no more of a caller's bytes than it was given.

mod common;

use common::eventually;
use donjon::{Cache, Raw};

#[tokio::test]
async fn what_expired_leaves_without_being_read() {
    let cache = Cache::memory().build().expect("the options are good");
    cache.set_many((0..1_000).map(|number| (number.to_string(), number))).ttl("1ms").await.expect("they are good");
    cache.set("stays", &1).await.expect("it is good");
    eventually("all but one have left", async || cache.stats().entries == 1).await;
    assert_eq!(cache.stats().expirations, 1_000);
}

#[test]
fn a_cache_outlives_the_runtime_it_was_used_in() {
    let cache = Cache::memory().build().expect("it needs no runtime");
    for round in 0..2 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("there are resources").block_on(async {
            cache.set("k", &round).ttl("1ms").await.expect("it is good");
            eventually("somebody tends in each of them", async || cache.stats().entries == 0).await;
        });
    }
}

#[tokio::test]
async fn the_bounds_hold_whatever_is_stored() {
    let cache = Cache::memory().max_bytes(1 << 20).build().expect("the options are good");
    for number in 0..1_000 {
        cache.set(&number.to_string(), &"x".repeat(10_000)).await.expect("it is small");
        assert!(cache.stats().bytes <= 1 << 20);
    }
    assert!(cache.stats().evictions > 0);
    let few = Cache::memory().max_entries(10).build().expect("the options are good");
    few.set_many((0..100).map(|number| (number.to_string(), number))).await.expect("they are good");
    assert_eq!(few.stats().entries, 10);
}

#[tokio::test]
async fn a_slice_of_a_large_buffer_does_not_keep_the_buffer() {
    let cache = Cache::memory().build().expect("the options are good");
    let buffer = bytes::Bytes::from(vec![7; 1 << 20]);
    cache.set("k", &Raw(buffer.slice(..16))).await.expect("it is good");
    assert!(buffer.is_unique(), "the cache has its own");
    assert_eq!(cache.get::<Raw>("k").await.expect("it is a key").as_deref(), Some(&[7; 16][..]));
}
