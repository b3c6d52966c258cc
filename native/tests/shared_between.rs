//! Locks and messages: what callers share besides values, on every backend.

mod common;

use std::num::NonZeroUsize;
use std::time::Duration;

use common::{Place, eventually};
use donjon::Error;

const LONG: Duration = Duration::from_secs(60);

async fn a_lock_has_one_holder_at_a_time_and_a_fence_that_rises(place: Place) {
    let cache = place.cache();
    let guard = cache.lock("l", LONG).await.expect("it is free");
    let refused = cache.lock("l", LONG).wait(Duration::ZERO).await.expect_err("it is held");
    assert!(matches!(refused, Error::LockTimeout { .. }));
    assert!(cache.lock("other", LONG).wait(Duration::ZERO).await.is_ok(), "another name is another lock");
    let waiting = tokio::spawn({
        let cache = cache.clone();
        async move { cache.lock("l", LONG).await }
    });
    let fence = guard.fence();
    guard.release().await.expect("it was held");
    let next = waiting.await.expect("it ends").expect("it was released");
    assert!(next.fence() > fence);
}

async fn a_lock_is_given_up_when_its_guard_is_dropped(place: Place) {
    let cache = place.cache();
    drop(cache.lock("l", LONG).await.expect("it is free"));
    assert!(cache.lock("l", LONG).wait(Duration::from_secs(5)).await.is_ok());
}

async fn a_lock_is_renewed_while_its_guard_lives(place: Place) {
    let cache = place.cache();
    let guard = cache.lock("l", Duration::from_secs(1)).await.expect("it is free");
    let refused = cache.lock("l", LONG).wait(Duration::from_millis(2_500)).await;
    assert!(matches!(refused, Err(Error::LockTimeout { .. })));
    assert!(!guard.is_lost());
    guard.extend("1m").await.expect("it is held");
    assert!(matches!(guard.extend(donjon::FOREVER).await, Err(Error::LockWithoutEnd { .. })));
    guard.release().await.expect("it was held");
}

async fn what_can_be_no_lock_is_an_error(place: Place) {
    let cache = place.cache();
    assert!(matches!(cache.lock("", LONG).await, Err(Error::InvalidKey { .. })));
    assert!(matches!(cache.lock("l", Duration::ZERO).await, Err(Error::InvalidTtl(_))));
    assert!(matches!(cache.lock("l", donjon::FOREVER).await, Err(Error::LockWithoutEnd { .. })));
}

async fn a_closed_cache_ends_the_wait_for_a_lock(place: Place) {
    let cache = place.cache();
    let guard = cache.lock("l", LONG).await.expect("it is free");
    let waiting = tokio::spawn({
        let cache = cache.clone();
        async move { cache.lock("l", LONG).wait_forever().await }
    });
    cache.close().await;
    assert!(matches!(waiting.await.expect("it ends"), Err(Error::Closed)));
    drop(guard);
}

async fn a_message_reaches_those_who_subscribe_at_that_moment(place: Place) {
    let cache = place.cache();
    let is_counted = place.knows_all_who_listen();
    assert_eq!(cache.publish("n", "nobody hears").await.expect("it is a channel"), 0);
    let mut one = cache.subscribe(["c", "d"]).await.expect("they are channels");
    let mut other = cache.subscribe(["c"]).await.expect("it is a channel");
    assert!(cache.publish("c", &1).await.expect("it is a channel") > 0 || !is_counted);
    assert!(cache.publish("d", "text").await.expect("it is a channel") == 1 || !is_counted);
    let message = one.next().await.expect("it is open");
    assert_eq!((&*message.channel, message.decode::<u8>().expect("it is one")), ("c", 1));
    let message = one.next().await.expect("it is open");
    assert_eq!((&*message.channel, message.decode::<String>().expect("it is one").as_str()), ("d", "text"));
    assert!(matches!(message.decode::<u8>(), Err(Error::UndecodableMessage { .. })));
    assert_eq!(other.next().await.expect("it is open").decode::<u8>().expect("it is one"), 1);
    drop(other);
    let reached = async || cache.publish("c", &2).await.expect("it is a channel");
    eventually("one listens", async || reached().await == 1 || !is_counted).await;
}

async fn a_raw_channel_is_none_of_the_caches_own_of_that_name(place: Place) {
    let cache = place.cache();
    let mut own = cache.subscribe(["c"]).await.expect("it is a channel");
    let mut raw = cache.subscribe(["c"]).raw().await.expect("it is a channel");
    let reached = [cache.publish("c", "raw").raw().await, cache.publish("c", "own").await];
    let reached = reached.map(|reached| reached.expect("it is a channel"));
    assert!(reached == [1, 1] || !place.knows_all_who_listen());
    for (listener, wanted) in [(&mut raw, "raw"), (&mut own, "own")] {
        let message = listener.next().await.expect("it is open");
        assert_eq!((&*message.channel, message.decode::<String>().expect("it is one").as_str()), ("c", wanted));
    }
    assert!(matches!(cache.publish("", "x").raw().await, Err(Error::InvalidKey { .. })));
    assert!(matches!(cache.subscribe([""]).raw().await, Err(Error::InvalidKey { .. })));
}

async fn a_slow_subscriber_loses_the_oldest_messages_and_can_count_them(place: Place) {
    let cache = place.cache();
    let mut slow =
        cache.subscribe(["c"]).limit(NonZeroUsize::new(3).expect("it is not zero")).await.expect("it is a channel");
    for number in 0..10 {
        cache.publish("c", &number).await.expect("it is a channel");
    }
    eventually("seven are lost", async || slow.dropped() == 7).await;
    for number in 7..10 {
        assert_eq!(slow.next().await.expect("it is open").decode::<u8>().expect("it is one"), number);
    }
}

async fn a_wait_that_is_given_up_loses_no_message(place: Place) {
    let cache = place.cache();
    let mut messages = cache.subscribe(["c"]).await.expect("it is a channel");
    for number in 0..20 {
        let waited = tokio::time::timeout(Duration::from_millis(1), messages.next()).await;
        assert!(waited.is_err());
        cache.publish("c", &number).await.expect("it is a channel");
        assert_eq!(messages.next().await.expect("it is open").decode::<u8>().expect("it is one"), number);
    }
    let waiting = tokio::spawn(async move { messages.next().await.is_none() });
    cache.close().await;
    assert!(waiting.await.expect("it ends"));
}

on_every_backend! {
    a_lock_has_one_holder_at_a_time_and_a_fence_that_rises
    a_lock_is_given_up_when_its_guard_is_dropped
    a_lock_is_renewed_while_its_guard_lives
    what_can_be_no_lock_is_an_error
    a_closed_cache_ends_the_wait_for_a_lock
    a_message_reaches_those_who_subscribe_at_that_moment
    a_raw_channel_is_none_of_the_caches_own_of_that_name
    a_slow_subscriber_loses_the_oldest_messages_and_can_count_them
    a_wait_that_is_given_up_loses_no_message
}
