//! Three threads that do many things, in orders that are drawn, as is what they do.
//!
//! Half of the schedules let any thread go on at each step. In the others one goes on until it cannot, or until one of a few steps that
//! were drawn (S. Burckhardt and others, "A randomized scheduler with probabilistic guarantees of finding bugs", ASPLOS 2010).

use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler};

use crate::scene::*;

/// Plays in so many schedules, the same each time.
fn in_many_orders(schedules: usize, scene: impl Fn() + Send + Sync + Clone + 'static) {
    play(RandomScheduler::new_from_seed(SEED, schedules / 2), scene.clone());
    play(PctScheduler::new_from_seed(SEED, INTERRUPTIONS, schedules / 2), scene);
}

const SEED: u64 = 0x5eed;
/// How often a thread is interrupted that could go on, in the second half.
const INTERRUPTIONS: usize = 3;

/// Does `act` so often.
fn thread(times: usize, act: fn(&Scene)) -> Thread {
    Box::new(move |scene| {
        (0..times).for_each(|_| act(scene));
        None
    })
}

fn key() -> usize {
    thread_rng().gen_range(0..NAMES.len())
}

fn read(scene: &Scene) {
    match thread_rng().gen_range(0..12) {
        0 => scene.get(key()),
        1 => scene.hit(key()),
        2 => _ = scene.follow(scene.ask(key()), End::Fail),
        3 => _ = scene.follow(scene.ask(key()), End::Abandon),
        4 => drop(scene.ask(key())),
        _ => _ = scene.follow(scene.ask(key()), End::Fill),
    }
}

fn write(scene: &Scene) {
    match thread_rng().gen_range(0..8) {
        0 => scene.pass(TTL),
        1 => _ = scene.cache.expire(1, scene.now()),
        2 => scene.get(key()),
        _ => scene.change(key(), CHANGES[thread_rng().gen_range(0..CHANGES.len())]),
    }
}

#[test]
fn readers_beside_a_writer_are_never_served_what_was_invalidated() {
    in_many_orders(40_000, || {
        let scene = Scene::new([None, Some(1)][thread_rng().gen_range(0..2)]);
        together(&scene, vec![thread(3, read), thread(3, read), thread(3, write)]);
        scene.adds_up();
    });
}

#[test]
fn a_tag_that_two_invalidate_at_once_is_as_new_as_the_later_one_says() {
    in_many_orders(20_000, || {
        let scene = Scene::new(None);
        let invalidate = |scene: &Scene| scene.change(0, Change::Tag);
        let fetch = |scene: &Scene| _ = scene.follow(scene.ask(0), End::Fill);
        together(&scene, vec![thread(1, invalidate), thread(2, invalidate), thread(2, fetch)]);
        scene.adds_up();
    });
}

#[test]
fn a_tag_that_is_forgotten_meanwhile_still_refuses_what_was_loaded_before() {
    in_many_orders(1_000, || {
        let scene = Scene::new(None);
        // As many as are remembered before those are forgotten that nothing carries.
        let others: Vec<String> = (0..1_024).map(|number| format!("other {number}")).collect();
        others[1..].chunks(64).for_each(|names| drop(scene.cache.tags(names)));
        let lead = scene.ask(0);
        let other = others[0].clone();
        together(
            &scene,
            vec![
                Box::new(|scene| {
                    scene.follow(lead, End::Fill);
                    None
                }),
                thread(1, |scene| scene.change(0, Change::Tag)),
                Box::new(move |scene| {
                    drop(scene.cache.tags(&[other]));
                    None
                }),
            ],
        );
        scene.adds_up();
    });
}

#[test]
fn a_sweep_that_gives_way_leaves_nothing_old_behind() {
    in_many_orders(400, || {
        let scene = Scene::new(None);
        // The two keys lie where one hold of the lock ends and the next begins.
        (0..511).for_each(|number| scene.put_other(number));
        (0..NAMES.len()).for_each(|key| _ = scene.follow(scene.ask(key), End::Fill));
        let sweep = |scene: &Scene| scene.change(key(), [Change::Pattern, Change::Clear][thread_rng().gen_range(0..2)]);
        together(&scene, vec![thread(2, read), thread(2, read), thread(1, sweep)]);
        scene.adds_up();
    });
}
