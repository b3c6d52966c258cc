//! Lock: one holder at a time among all processes, for as long as it renews what it holds.
//!
//! A lock is a key of its own with a time to live; its value is a token that only the holder knows. Whoever takes it also gets a
//! fence, a number that never goes back: what the lock guards can refuse a holder that lost it without noticing. Nothing in the
//! cache rests on a lock.
//!
//! A lock is sure for its time from when Redis was asked for it, less a margin; what Redis knows is later. Whoever waits for one
//! is told when it is given back, and looks again from time to time: not all who hold a lock live to give it back.

use std::time::Duration;

use donjon_core::fault::Fault;
use donjon_core::key::Key;
use donjon_core::lock::{LOOK_AGAIN, Pace};
use donjon_core::moment::Moment;
use donjon_core::payload::Payload;
use donjon_core::remote::call::{Call, Reply};

use super::Engine;
use crate::pubsub::{self, Either, Naming, jittered, race};
use crate::runtime::Runtime;

/// What names one holding of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Held {
    /// Known to the holder alone.
    pub token: [u8; 16],
    /// Later than that of every holder before.
    pub fence: u64,
    /// When it was asked for, on the runtime's clock: it lasts for its time from then at least.
    pub since: Moment,
}

impl<R: Runtime, E: Clone + Send + Sync + 'static> Engine<R, E> {
    /// Takes a lock that is free, for `millis` milliseconds; `None` where another has it.
    ///
    /// # Errors
    ///
    /// [`Fault`] where Redis could not be asked: then the lock is not held, or ends by itself. So it is where the future is dropped
    /// early, though then it is given back.
    pub async fn acquire(&self, name: &str, millis: u64) -> Result<Option<Held>, Fault> {
        let (token, call) = self.remote().acquire(name, millis);
        let since = self.now();
        let undo = Undo { engine: self, name, token, is_due: true };
        // Said twice it is the same: the token tells.
        let fence = self.one(call).await;
        undo.settle();
        let fence = fence?;
        Ok(u64::try_from(fence).ok().filter(|fence| *fence > 0).map(|fence| Held { token, fence, since }))
    }

    /// Lets a lock last for `millis` milliseconds from now on; false where it is lost.
    ///
    /// # Errors
    ///
    /// [`Fault`] where Redis could not be asked.
    pub async fn extend(&self, name: &str, token: &[u8; 16], millis: u64) -> Result<bool, Fault> {
        Ok(self.one(self.remote().extend(name, token, millis)).await? != 0)
    }

    /// Gives a lock back; false where it was lost. Another's is left alone.
    ///
    /// # Errors
    ///
    /// [`Fault`] where Redis could not be asked: then the lock ends by itself.
    pub async fn unlock(&self, name: &str, token: &[u8; 16]) -> Result<bool, Fault> {
        Ok(self.one(self.remote().unlock(name, token)).await? != 0)
    }

    /// Renews a lock at its [`Pace`], and ends when it is lost: another has it, or Redis could not confirm in time that none
    /// does. Dropping the future ends the renewals.
    ///
    /// It was last asked for, or extended, at `since`.
    pub async fn keep(&self, name: &str, token: &[u8; 16], millis: u64, since: Moment) {
        let Pace { sure, renew, again } = Pace::of(Duration::from_millis(millis));
        let (mut end, mut due) = (since.after(sure), since.after(renew));
        loop {
            let runtime = &self.inner.runtime;
            runtime.sleep(due.min(end) - runtime.now()).await;
            let asked = runtime.now();
            if asked >= end {
                return;
            }
            match race(self.extend(name, token, millis), runtime.sleep(end - asked)).await {
                Either::First(Ok(true)) => (end, due) = (asked.after(sure), asked.after(renew)),
                Either::First(Err(_)) => due = runtime.now().after(jittered(again)),
                Either::First(Ok(false)) | Either::Second(()) => return,
            }
        }
    }

    /// Waits until a lock may be free: it was given back, or its holder's time is over. Ends early where Redis cannot be asked.
    /// Whoever waited takes it by [`Engine::acquire`], and may be too late. Dropping the future leaves nothing.
    pub async fn lock_may_be_free(&self, name: Key<'_>) {
        let runtime = &self.inner.runtime;
        let freed = self.inner.subscriber.listen_to_lock(name);
        // Where it cannot be listened to, looking again has to do.
        let _ = freed.ready().await;
        loop {
            let call = Call::Plain(vec![b"PTTL"[..].into(), self.remote().names().lock(name.as_str()).into()]);
            let left = match self.one(call).await {
                Ok(NO_KEY) => return,
                // One that never ends is none of ours, and may be removed all the same.
                Ok(left) => u64::try_from(left).map_or(LOOK_AGAIN, |left| Duration::from_millis(left + 1)),
                Err(_) => return runtime.sleep(jittered(LOOK_AGAIN)).await,
            };
            match race(freed.next(), runtime.sleep(left.min(jittered(LOOK_AGAIN)))).await {
                Either::First(Some(_)) => return,
                Either::First(None) => return runtime.sleep(jittered(LOOK_AGAIN)).await,
                Either::Second(()) => {}
            }
        }
    }

    /// Sends a message to all who listen to `channel`; how many did, of those that this server knows. A process counts once.
    ///
    /// Whoever began to listen here before, by this engine, hears it, though Redis may not have confirmed that yet.
    ///
    /// # Errors
    ///
    /// [`Fault`] where Redis could not be asked. It may have been sent then; it is not sent twice.
    pub async fn publish(&self, channel: Key<'_>, naming: Naming, payload: &Payload) -> Result<u64, Fault> {
        self.inner.subscriber.settled(channel, naming).await;
        let message = pubsub::pack(payload);
        let call = match naming {
            Naming::Own => self.remote().publish(channel.as_str(), message),
            Naming::Literal => {
                Call::Plain(vec![b"PUBLISH"[..].into(), channel.as_str().as_bytes().to_vec().into(), message.into()])
            }
        };
        match self.ask_once(&[call]).await?.pop() {
            Some(Reply::Int(heard)) => Ok(u64::try_from(heard).unwrap_or_default()),
            Some(Reply::Error(fault)) => Err(fault),
            _ => Err(Fault::Protocol),
        }
    }
}

/// Gives a lock back whose taker went away before it was known whether he has it.
struct Undo<'a, R: Runtime, E: Clone + Send + Sync + 'static> {
    engine: &'a Engine<R, E>,
    name: &'a str,
    token: [u8; 16],
    is_due: bool,
}

impl<R: Runtime, E: Clone + Send + Sync + 'static> Undo<'_, R, E> {
    fn settle(mut self) {
        self.is_due = false;
    }
}

impl<R: Runtime, E: Clone + Send + Sync + 'static> Drop for Undo<'_, R, E> {
    fn drop(&mut self) {
        if self.is_due {
            let call = self.engine.remote().unlock(self.name, &self.token);
            self.engine.ask_aside(vec![call]);
        }
    }
}

/// What PTTL says of a key that is not there.
const NO_KEY: i64 = -2;
