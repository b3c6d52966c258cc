//! Bell: threads sleep at it until another one rings.
//!
//! A mutex and a condition, under `shuttle` those that it has.

#[cfg(not(shuttle))]
use parking_lot::{Condvar, Mutex};
#[cfg(shuttle)]
use shuttle::sync::{Condvar, Mutex};

#[derive(Default)]
pub(super) struct Bell {
    asleep: Mutex<()>,
    rung: Condvar,
}

impl Bell {
    /// Sleeps until it rings, if `does` says so: nobody rings between that and the sleep.
    pub(super) fn sleep_if(&self, does: impl FnOnce() -> bool) {
        #[cfg(not(shuttle))]
        {
            let mut asleep = self.asleep.lock();
            if does() {
                self.rung.wait(&mut asleep);
            }
        }
        #[cfg(shuttle)]
        {
            let asleep = self.asleep.lock().expect("nobody panics with it");
            if does() {
                drop(self.rung.wait(asleep));
            }
        }
    }

    /// Wakes all who sleep; `first` is done before anybody else can go to sleep.
    pub(super) fn ring(&self, first: impl FnOnce()) {
        let asleep = self.asleep.lock();
        first();
        self.rung.notify_all();
        drop(asleep);
    }
}
