//! Invalidate: keys, patterns, tags, or everything; said to Redis now, or owed until it can be.
//!
//! Invariant: from its first step an invalidation is owed; it is paid when Redis has confirmed all of it. Whatever cuts it short,
//! an error or a caller that goes away, leaves it owed, and it is said before this process reads again.

use donjon_core::fault::Fault;
use donjon_core::key::Key;
use donjon_core::moment::Moment;
use donjon_core::outbox::{Epoch, Target};
use donjon_core::pattern::Pattern;
use donjon_core::remote::call::{Call, Reply};
use donjon_core::remote::sight;
use donjon_core::remote::sweeps::Record;
use donjon_core::rules::Plan;
use donjon_core::tag::{InvalidTag, check_tags};

use super::{Engine, Way, replay};
use crate::runtime::Runtime;

/// What an invalidation came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// How many values are known to have left.
    pub count: u64,
    /// Whether some of it could not be said yet: other processes may be served what was meant until Redis can be reached.
    pub queued: bool,
}

impl Removed {
    fn and(self, other: Self) -> Self {
        Self { count: self.count + other.count, queued: self.queued || other.queued }
    }
}

impl<R: Runtime, E: Clone + Send + Sync + 'static> Engine<R, E> {
    /// Invalidates a key. One round trip.
    pub async fn delete(&self, key: Key<'_>) -> Removed {
        self.delete_many(&[key]).await
    }

    /// Invalidates keys, a thousand in a round trip.
    pub async fn delete_many(&self, keys: &[Key<'_>]) -> Removed {
        let owed = self.owe_keys(keys).await;
        let mut count = 0;
        for some in keys.chunks(replay::AT_ONCE) {
            let calls: Vec<Call> = some.iter().flat_map(|key| self.remote().delete(*key)).collect();
            match self.ask(&calls).await.and_then(|replies| sight::values_removed(&replies)) {
                Ok(removed) => count += removed,
                Err(fault) => {
                    self.remote().noticed(&fault);
                    return owed.queued(count);
                }
            }
        }
        owed.paid(self.now());
        self.detach(keys);
        Removed { count, queued: false }
    }

    /// Invalidates every key of the namespace that matches, leases included; all of them for an all-star pattern. It holds when
    /// this returns; where what is being swept is read with each key, after the first round trip. One for each thousand keys of the
    /// whole database, and two.
    pub async fn invalidate_pattern(&self, pattern: &Pattern) -> Removed {
        let target =
            if pattern.is_everything() { Target::Everything } else { Target::Pattern(pattern.as_str().into()) };
        let mut owed = self.owe([target]).await;
        self.remote().detach_matching(pattern);
        self.forget_matching(pattern);
        let mut count = 0;
        let mut swept = self.sweep(pattern, &mut count).await;
        if matches!(swept, Err(Fault::Lost)) {
            // The server's cursor is of no use on another connection, or on another server.
            swept = self.sweep(pattern, &mut count).await;
        }
        match swept {
            Ok(epoch) => {
                owed.epoch = epoch;
                owed.paid(self.now());
                self.remote().detach_matching(pattern);
                self.forget_matching(pattern);
                Removed { count, queued: false }
            }
            Err(fault) => {
                self.remote().noticed(&fault);
                owed.queued(count)
            }
        }
    }

    /// Invalidates everything in the namespace, and nothing else in the database.
    pub async fn clear(&self) -> Removed {
        self.invalidate_pattern(&replay::everything()).await
    }

    /// Makes dead what carries one of these tags. One round trip; counts the tags.
    ///
    /// # Errors
    ///
    /// [`InvalidTag`] where a name is no tag or there are too many.
    pub async fn invalidate_tags<N: AsRef<str>>(&self, tags: &[N]) -> Result<Removed, InvalidTag> {
        check_tags(tags)?;
        let owed = self.owe(tags.iter().map(|tag| Target::Tag(tag.as_ref().into())).collect::<Vec<_>>()).await;
        self.forget_tags(tags);
        let calls = self.remote().move_tags(tags);
        let moved = self.ask(&calls).await.and_then(|replies| {
            let failed =
                replies.into_iter().find_map(|reply| if let Reply::Error(fault) = reply { Some(fault) } else { None });
            failed.map_or(Ok(()), Err)
        });
        Ok(match moved {
            Ok(()) => {
                owed.paid(self.now());
                self.forget_tags(tags);
                Removed { count: tags.len() as u64, queued: false }
            }
            Err(fault) => {
                self.remote().noticed(&fault);
                owed.queued(0)
            }
        })
    }

    /// Invalidates what the rules of an event came to. The count leaves tags out.
    pub async fn carry_out(&self, plan: &Plan) -> Removed {
        // What is no key, or no tag, has no entries.
        let keys: Vec<Key<'_>> = plan.keys.iter().filter_map(|key| Key::new(key).ok()).collect();
        let mut removed = if keys.is_empty() { Removed::default() } else { self.delete_many(&keys).await };
        for pattern in &plan.patterns {
            removed = removed.and(self.invalidate_pattern(pattern).await);
        }
        if !plan.tags.is_empty()
            && let Ok(tagged) = self.invalidate_tags(&plan.tags).await
        {
            removed.queued |= tagged.queued;
        }
        removed
    }

    pub(super) async fn owe_keys(&self, keys: &[Key<'_>]) -> Owed<R, E> {
        self.detach(keys);
        self.owe(keys.iter().map(|key| Target::Key(key.as_str().into()))).await
    }

    async fn owe(&self, targets: impl IntoIterator<Item = Target>) -> Owed<R, E> {
        let targets = targets.into_iter().collect();
        let mut owed = Owed { epoch: self.tier().outbox.epoch(), engine: self.clone(), targets };
        // What is said over a connection that is not there yet belongs to that one.
        self.connect(&owed.targets).await;
        owed.epoch = self.tier().outbox.epoch();
        owed
    }

    pub(super) fn detach(&self, keys: &[Key<'_>]) {
        for key in keys {
            self.remote().detach(*key);
        }
        self.forget(keys);
    }

    /// Acts upon what was found to be swept by others, before what was read with it is handed out.
    #[inline]
    pub(super) fn heed(&self) {
        if self.remote().has_news_of_sweeps() {
            self.act_on_sweeps();
        }
    }

    #[cold]
    fn act_on_sweeps(&self) {
        self.tier().forget_swept(self.now());
        if self.remote().found_foreign() {
            let name = String::from_utf8_lossy(&self.remote().names().sweeps_parts().concat()).into_owned();
            tracing::warn!(
                name,
                "what is under this name is not the list of what is being swept, or not all of it: that is left out"
            );
        }
        for record in self.remote().stalled_sweeps() {
            let engine = self.clone();
            self.inner.runtime.spawn(async move {
                if let Err(fault) = engine.go_on_with(record).await {
                    engine.remote().noticed(&fault);
                }
            });
        }
    }

    /// Sweeps in the place of one who does not, unless another does by now.
    async fn go_on_with(&self, mut record: Record) -> Result<(), Fault> {
        if self.ask_once(&[self.remote().raise(&mut record)]).await? != [Reply::Int(1)] {
            return Ok(());
        }
        let (pattern, runtime) = (record.pattern().clone(), &self.inner.runtime);
        match &self.inner.way {
            Way::One(link, _) => {
                let open = link.line().await?;
                replay::sweep_as(self.tier(), &open, &pattern, Some(record), &mut 0, runtime).await
            }
            Way::Many(nodes) => self.sweep_all_as(nodes, &pattern, Some(record), &mut 0).await.map(drop),
        }
    }

    /// Gives the connections that it went over.
    async fn sweep(&self, pattern: &Pattern, count: &mut u64) -> Result<Epoch, Fault> {
        match &self.inner.way {
            Way::One(link, _) => {
                let open = link.line().await?;
                let epoch = self.tier().outbox.epoch();
                replay::sweep(self.tier(), &open, pattern, count, &self.inner.runtime).await?;
                Ok(epoch)
            }
            Way::Many(nodes) => self.sweep_all(nodes, pattern, count).await,
        }
    }
}

/// An invalidation that Redis has not confirmed: dropped like that, it stays owed.
pub(super) struct Owed<R: Runtime, E: Clone + Send + Sync + 'static> {
    engine: Engine<R, E>,
    targets: Vec<Target>,
    epoch: Epoch,
}

impl<R: Runtime, E: Clone + Send + Sync + 'static> Owed<R, E> {
    /// Redis has confirmed it; it is said again only on a new connection, if one comes soon.
    pub(super) fn paid(mut self, now: Moment) {
        let (targets, outbox) = (std::mem::take(&mut self.targets), &self.engine.tier().outbox);
        match &self.engine.inner.way {
            Way::One(..) => outbox.sent(&targets, self.epoch, now),
            Way::Many(nodes) => {
                let ears = nodes.ears();
                outbox.sent_to(&targets, self.epoch, now, |target| ears.of(target));
            }
        }
    }

    /// Nothing is owed: what was to be written arrived, or did not and was refused. It is not said again on a new connection, as that
    /// would remove what is newer.
    pub(super) fn settled(mut self) {
        self.targets.clear();
    }

    fn queued(self, count: u64) -> Removed {
        drop(self);
        Removed { count, queued: true }
    }
}

impl<R: Runtime, E: Clone + Send + Sync + 'static> Drop for Owed<R, E> {
    fn drop(&mut self) {
        if !self.targets.is_empty() {
            self.engine.tier().outbox.queue(&self.targets);
            // From here on it is said before anything is read; what was read meanwhile is as old as what is owed.
            self.engine.forget_targets(&self.targets);
            self.engine.collect();
        }
    }
}
