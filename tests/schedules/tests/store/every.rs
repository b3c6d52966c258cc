//! Two threads that meet at a load, in every order there is.

use std::pin::Pin;
use std::task::{Context, Waker};

use donjon_schedules::cache::Step;
use shuttle::scheduler::DfsScheduler;

use crate::scene::*;
use Meanwhile::{Asks, Changes, Leaves, TakesOver, Waits};

/// What the other thread does while a load is under way.
#[derive(Clone, Copy, Debug)]
enum Meanwhile {
    /// Changes the key, and reads.
    Changes(Change),
    /// Waits for the load.
    Waits,
    /// Waits no longer.
    Leaves,
    /// Asks.
    Asks,
    /// Asks, and has waited long enough to take over.
    TakesOver,
}

/// A load is under way for which one waits. It ends in one thread; the other does something meanwhile.
fn meet(end: End, meanwhile: Meanwhile) {
    play(DfsScheduler::new(None, false), move || {
        let scene = Scene::new(None);
        let (leads, waits) = (scene.ask(0), scene.ask(0));
        if let TakesOver = meanwhile {
            scene.pass(TIMEOUT);
        }
        let leader = move |scene: &Scene| {
            scene.follow(leads, end);
            None
        };
        let other = move |scene: &Scene| {
            match meanwhile {
                Changes(change) => {
                    scene.change(0, change);
                    scene.hit(0);
                }
                Waits => _ = scene.follow(waits, End::Fill),
                Leaves => {
                    let Step::Join(mut joined, _) = waits.step else { panic!("another loads") };
                    let _ended = Pin::new(&mut joined).poll(&mut Context::from_waker(Waker::noop()));
                }
                Asks | TakesOver => return Some(scene.ask(0)),
            }
            None
        };
        for asked in together(&scene, vec![Box::new(leader), Box::new(other)]) {
            scene.follow(asked, End::Fill);
        }
        scene.adds_up();
    });
}

macro_rules! meetings {
    ($($sentence:ident: $end:ident, $meanwhile:expr;)*) => { $(#[test] fn $sentence() { meet(End::$end, $meanwhile); })* };
}

// A test each, so that the schedule of one that fails can be replayed.
meetings! {
    a_fill_that_meets_a_delete_leaves_nothing_old_behind: Fill, Changes(Change::Delete);
    a_fill_that_meets_a_pattern_leaves_nothing_old_behind: Fill, Changes(Change::Pattern);
    a_fill_that_meets_a_tag_leaves_nothing_old_behind: Fill, Changes(Change::Tag);
    a_fill_that_meets_a_set_leaves_nothing_old_behind: Fill, Changes(Change::Set);
    who_waits_is_woken_by_a_fill: Fill, Waits;
    who_waits_is_woken_by_a_failure: Fail, Waits;
    who_waits_is_woken_by_who_gives_up: Abandon, Waits;
    who_leaves_as_a_load_is_filled_leaves_nothing_behind: Fill, Leaves;
    who_leaves_as_a_load_fails_leaves_nothing_behind: Fail, Leaves;
    who_leaves_as_a_load_is_given_up_leaves_nothing_behind: Abandon, Leaves;
    who_asks_as_a_load_is_filled_is_served: Fill, Asks;
    who_asks_as_a_load_fails_is_told_or_loads: Fail, Asks;
    who_asks_as_a_load_is_given_up_loads: Abandon, Asks;
    who_takes_over_as_a_load_is_filled_is_served_or_loads: Fill, TakesOver;
    who_takes_over_as_a_load_fails_is_told_or_loads: Fail, TakesOver;
    who_takes_over_as_a_load_is_given_up_loads: Abandon, TakesOver;
}

#[test]
fn of_two_who_ask_one_leads() {
    play(DfsScheduler::new(None, false), || {
        let scene = Scene::new(None);
        let ask = |scene: &Scene| Some(scene.ask(0));
        let asked = together(&scene, vec![Box::new(ask), Box::new(ask)]);
        let (lead, join): (Vec<_>, Vec<_>) = asked.into_iter().partition(|asked| matches!(asked.step, Step::Load(_)));
        assert_eq!((lead.len(), join.len()), (1, 1));
        let seen = lead.into_iter().chain(join).map(|asked| scene.follow(asked, End::Fill));
        assert!(seen.collect::<Vec<_>>().iter().all(Option::is_some));
        assert_eq!(scene.loads(), 1);
        scene.adds_up();
    });
}
