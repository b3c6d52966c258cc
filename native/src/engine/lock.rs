//! Lock: one holder at a time among all processes, for as long as it renews what it holds.
//!
//! A lock is a key of its own with a time to live; its value is a token that only the holder knows. Whoever takes it also gets a
//! fence, a number that never goes back: what the lock guards can refuse a holder that lost it without noticing. Nothing in the
//! cache rests on a lock.

use donjon_core::fault::Fault;
use donjon_core::remote::call::Reply;

use super::Engine;
use crate::runtime::Runtime;

/// What names one holding of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Held {
    /// Known to the holder alone.
    pub token: [u8; 16],
    /// Later than that of every holder before.
    pub fence: u64,
}

impl<R: Runtime, E: Clone + Send + Sync + 'static> Engine<R, E> {
    /// Takes a lock that is free, for `millis` milliseconds; `None` where another has it.
    ///
    /// # Errors
    ///
    /// [`Fault`] where Redis could not be asked: then the lock is not held, or ends by itself.
    pub async fn acquire(&self, name: &str, millis: u64) -> Result<Option<Held>, Fault> {
        let (token, call) = self.remote().acquire(name, millis);
        // Said twice it is the same: the token tells.
        let fence = self.one(call).await?;
        Ok(u64::try_from(fence).ok().filter(|fence| *fence > 0).map(|fence| Held { token, fence }))
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

    /// Sends a message to all who listen to `channel`; how many did, of those that this server knows.
    ///
    /// # Errors
    ///
    /// [`Fault`] where Redis could not be asked. It may have been sent then; it is not sent twice.
    pub async fn publish(&self, channel: &str, message: Vec<u8>) -> Result<u64, Fault> {
        let call = self.remote().publish(channel, message);
        match self.ask_once(&[call]).await?.pop() {
            Some(Reply::Int(heard)) => Ok(u64::try_from(heard).unwrap_or_default()),
            Some(Reply::Error(fault)) => Err(fault),
            _ => Err(Fault::Protocol),
        }
    }
}
