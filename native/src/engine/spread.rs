//! Spread: calls dealt out to the nodes that have their keys, and followed where these have gone.
//!
//! What goes to one node goes in one write, in the order of the calls; nodes are asked at the same time. Nothing in the core's protocol
//! rests on the order of calls about different names. Invariant: what must not be said twice is sent again only where a node refused
//! it, or where it was not sent.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use donjon_core::cluster::{Place, Redirect, Round, Slot, SlotMap, Survey, View, is_held_back, to_repeat};
use donjon_core::fault::Fault;
use donjon_core::outbox::{Epoch, Target};
use donjon_core::pattern::Pattern;
use donjon_core::remote::call::{Call, Reply};
use donjon_core::remote::sweeps::{RAISE_EVERY, Record};
use futures_util::future::{join, join_all, try_join_all};

use super::nodes::Nodes;
use super::{Engine, replay, wire};
use crate::pubsub::{Either, race};
use crate::runtime::Runtime;

/// Whether calls may be sent again where it is not known if they arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    Once,
    Twice,
}

/// Where a call goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Aim {
    /// To whoever has its key.
    Owner,
    /// There, be it against the map.
    At(Place),
    /// There, though the slot is only on its way to it.
    Asking(Place),
}

/// One call on its way.
struct Sent {
    at: usize,
    aim: Aim,
    /// Whether it was sent again after a connection broke.
    again: bool,
}

impl<R: Runtime, E: Clone + Send + Sync + 'static> Engine<R, E> {
    /// Asks, and gives the answers in the order of the calls. Where some nodes cannot be asked, the faults stand in the places of
    /// their answers.
    ///
    /// # Errors
    ///
    /// The [`Fault`] where none of the calls was answered.
    pub(super) async fn spread(
        &self,
        nodes: &Arc<Nodes<R, E>>,
        calls: &[Call],
        manner: Manner,
    ) -> Result<Vec<Reply>, Fault> {
        let mut replies: Vec<Reply> = calls.iter().map(|_| Reply::Error(Fault::Unreachable)).collect();
        let mut left: Vec<Sent> = (0..calls.len()).map(|at| Sent { at, aim: Aim::Owner, again: false }).collect();
        let mut gone: Vec<Place> = Vec::new();
        for round in 0..MOST_ROUNDS {
            let map = nodes.map().await?;
            let mut groups: BTreeMap<(Place, bool), Vec<Sent>> = BTreeMap::new();
            let mut is_whole = true;
            for sent in left.drain(..) {
                if let Some(place) = place_of(&calls[sent.at], &sent.aim, &map, &gone) {
                    let asking = matches!(sent.aim, Aim::Asking(_));
                    groups.entry((place, asking)).or_default().push(sent);
                } else {
                    replies[sent.at] = Reply::Error(Fault::server("CLUSTERDOWN", "Hash slot not served"));
                    is_whole = false;
                }
            }
            let asked = join_all(groups.into_iter().map(|((place, asking), group)| async move {
                let outcome = self.ask_group(nodes, &place, asking, calls, &group).await;
                (place, group, outcome)
            }));
            let (mut is_later, mut apart) = (round > 1, Vec::new());
            for (place, group, outcome) in asked.await {
                match outcome {
                    Ok(got) => {
                        let again = if got.iter().any(|reply| matches!(reply, Reply::Error(_))) {
                            let own: Vec<Call> = group.iter().map(|sent| calls[sent.at].clone()).collect();
                            to_repeat(&own, &got, &place)
                        } else {
                            Vec::new()
                        };
                        let mut again = again.into_iter().peekable();
                        for (number, (sent, reply)) in group.into_iter().zip(got).enumerate() {
                            replies[sent.at] = reply;
                            if let Some((_, redirect)) = again.next_if(|(at, _)| *at == number) {
                                let aim = match redirect {
                                    Redirect::Moved(slot, to) => {
                                        nodes.moved(slot, &to);
                                        Aim::At(to)
                                    }
                                    Redirect::Ask(to) => Aim::Asking(to),
                                    Redirect::Later => {
                                        if let Some(parts) = calls[sent.at].apart() {
                                            apart.push((sent.at, parts));
                                            continue;
                                        }
                                        is_later = true;
                                        sent.aim
                                    }
                                };
                                left.push(Sent { aim, ..sent });
                            }
                        }
                    }
                    Err(fault) => {
                        let may_go = !fault.may_have_been_done() || manner == Manner::Twice && fault == Fault::Lost;
                        for sent in group {
                            replies[sent.at] = Reply::Error(fault.clone());
                            if may_go && !sent.again {
                                left.push(Sent { at: sent.at, aim: Aim::Owner, again: true });
                            }
                        }
                        gone.push(place);
                    }
                }
            }
            for (at, (last, others)) in apart {
                // Boxed: hardly ever needed.
                replies[at] = Box::pin(self.spread_apart(nodes, last, others, manner)).await;
            }
            if !is_whole {
                // For the next who ask.
                nodes.look_around().await;
            }
            if !gone.is_empty() {
                nodes.look_around().await;
                let map = nodes.map().await?;
                // On a connection that broke it is tried anew; where there is none, only if there is somebody else to ask.
                left.retain(|sent| {
                    let fault = if let Reply::Error(fault) = &replies[sent.at] { Some(fault) } else { None };
                    let was_lost = fault == Some(&Fault::Lost);
                    let now = place_of(&calls[sent.at], &sent.aim, &map, &gone);
                    !sent.again || was_lost || now.is_some_and(|place| !gone.contains(&place))
                });
            }
            if left.is_empty() {
                break;
            }
            // In the order of the calls, as what is asked of one key may build on one another.
            left.sort_by_key(|sent| sent.at);
            if is_later {
                self.runtime().sleep((FIRST_PAUSE * (1 << round.min(5))).min(LONGEST_PAUSE)).await;
            }
        }
        if !self.inner.tier.outbox.is_empty() {
            // A new connection or another map may have put something there, which nobody need come across soon.
            self.collect();
        }
        answered(replies)
    }

    /// Asks key by key, the last of them first, where their slot is on the move.
    async fn spread_apart(&self, nodes: &Arc<Nodes<R, E>>, last: Call, others: Vec<Call>, manner: Manner) -> Reply {
        let both = async {
            let last = self.spread(nodes, &[last], manner).await?.pop().ok_or(Fault::Protocol)?;
            Ok(Reply::put_together(last, self.spread(nodes, &others, manner).await?))
        };
        both.await.unwrap_or_else(Reply::Error)
    }

    async fn ask_group(
        &self,
        nodes: &Arc<Nodes<R, E>>,
        place: &Place,
        asking: bool,
        calls: &[Call],
        group: &[Sent],
    ) -> Result<Vec<Reply>, Fault> {
        let line = nodes.link(place).line().await?;
        if group.len() == calls.len() && !asking {
            return self.ask_on(line, calls).await;
        }
        let own: Vec<Call> = group.iter().map(|sent| calls[sent.at].clone()).collect();
        if asking { wire::ask_asking(&line, &own).await } else { self.ask_on(line, &own).await }
    }

    /// As [`spread`](Self::spread), once nothing is owed any more that the calls would meet; for that it waits no longer than for a
    /// command. Those that would meet it still are not sent.
    pub(super) async fn spread_settled(
        &self,
        nodes: &Arc<Nodes<R, E>>,
        calls: &[Call],
        manner: Manner,
    ) -> Result<Vec<Reply>, Fault> {
        let (outbox, names) = (&self.inner.tier.outbox, self.remote().names());
        let is_free = |call: &Call| !is_held_back(call, outbox, names);
        if !calls.iter().all(is_free) {
            let _in_time_or_not = self.within(self.inner.patience, self.say_what_is_owed(nodes)).await;
        }
        if calls.iter().all(is_free) {
            return self.spread(nodes, calls, manner).await;
        }
        let free: Vec<Call> = calls.iter().filter(|call| is_free(call)).cloned().collect();
        if free.is_empty() {
            return Err(Fault::Open);
        }
        // One that was free and is not any more is sent all the same: what it would meet was queued after this was asked.
        let mut asked = free.iter().zip(self.spread(nodes, &free, manner).await?).peekable();
        let reply = |call: &Call| match asked.next_if(|(sent, _)| *sent == call) {
            Some((_, reply)) => reply,
            None => Reply::Error(Fault::Open),
        };
        Ok(calls.iter().map(reply).collect())
    }

    /// Says what is owed, or waits for whoever does.
    pub(super) async fn say_what_is_owed(&self, nodes: &Arc<Nodes<R, E>>) {
        if let Ok(begun) = Arc::clone(&self.inner.replaying).try_lock_owned() {
            let (engine, nodes) = (self.clone(), Arc::clone(nodes));
            self.runtime().spawn(async move {
                if let Err(fault) = engine.replay_everywhere(&nodes).await {
                    engine.remote().noticed(&fault);
                }
                drop(begun);
            });
        }
        drop(self.inner.replaying.lock().await);
    }

    async fn replay_everywhere(&self, nodes: &Arc<Nodes<R, E>>) -> Result<(), Fault> {
        let mut outcome = self.replay_once(nodes).await;
        // Where a node is gone, another may have taken its place.
        while outcome.is_err() && nodes.look_around().await {
            outcome = self.replay_once(nodes).await;
        }
        outcome
    }

    async fn replay_once(&self, nodes: &Arc<Nodes<R, E>>) -> Result<(), Fault> {
        let (outbox, names) = (&self.inner.tier.outbox, self.remote().names());
        let map = nodes.map().await?;
        let told = map.primaries().iter().map(|place| async {
            // Connected first: what is owed of old to a new connection is said by that itself.
            nodes.link(place).line().await?;
            let batch = outbox.batch_of(|target| Nodes::<R, E>::is_at(&map, names, place, target));
            let calls = replay::calls_of(self.remote(), batch.targets());
            replay::confirmed(self.spread(nodes, &calls, Manner::Twice).await?)?;
            let ears = nodes.ears();
            outbox.replayed_to(&batch, self.now(), |target| ears.of(target));
            self.tier().tell();
            Ok(())
        });
        // Each that can be told is told, whatever befalls the others.
        join_all(told).await.into_iter().collect::<Result<(), Fault>>()?;
        let batch = outbox.batch_of(|target| matches!(target, Target::Pattern(_) | Target::Everything));
        for target in batch.targets() {
            let pattern = match target {
                Target::Pattern(glob) => Pattern::new(glob).ok(),
                _ => Some(replay::everything()),
            };
            if let Some(pattern) = pattern {
                self.sweep_all(nodes, &pattern, &mut 0).await?;
            }
        }
        let ears = nodes.ears();
        outbox.replayed_to(&batch, self.now(), |target| ears.of(target));
        self.tier().tell();
        Ok(())
    }

    /// Removes what matches on every primary, in as many rounds as it takes while slots are on the move. It is written down first,
    /// where that is read. Gives the connections that the last round went over.
    pub(super) async fn sweep_all(
        &self,
        nodes: &Arc<Nodes<R, E>>,
        pattern: &Pattern,
        count: &mut u64,
    ) -> Result<Epoch, Fault> {
        let mut record = None;
        if let Some((written, call)) = self.remote().write_down(pattern) {
            record = replay::is_written(self.tier(), &self.ask(&[call]).await?, self.now()).then_some(written);
        }
        self.sweep_all_as(nodes, pattern, record, count).await
    }

    /// As [`sweep_all`](Self::sweep_all), of what is written down already.
    pub(super) async fn sweep_all_as(
        &self,
        nodes: &Arc<Nodes<R, E>>,
        pattern: &Pattern,
        record: Option<Record>,
        count: &mut u64,
    ) -> Result<Epoch, Fault> {
        let rounds = self.sweep_in_rounds(nodes, pattern, count);
        let Some(mut record) = record else { return rounds.await };
        let swept = match race(rounds, self.keep_raising(&mut record)).await {
            Either::First(swept) => swept?,
            Either::Second(never) => match never {},
        };
        // Where the server refuses, another finds this standing still, and sweeps once more.
        for reply in &self.ask(&[self.remote().strike(&record)]).await? {
            self.remote().struck(reply, self.now());
        }
        Ok(swept)
    }

    /// Says again and again that a sweep goes on. A node that does not answer ends it, so that it never goes on by word alone.
    async fn keep_raising(&self, record: &mut Record) -> Infallible {
        loop {
            self.runtime().sleep(RAISE_EVERY).await;
            // Where another has raised it, who thought that this sweep stood still, both sweep, which does no harm.
            let _raised_or_not = self.ask_once(&[self.remote().raise(record)]).await;
        }
    }

    async fn sweep_in_rounds(
        &self,
        nodes: &Arc<Nodes<R, E>>,
        pattern: &Pattern,
        count: &mut u64,
    ) -> Result<Epoch, Fault> {
        let mut map = nodes.ask_for_map().await?;
        let mut survey = Survey::new(view(nodes, &map).await?);
        loop {
            let epoch = self.inner.tier.outbox.epoch();
            let swept = map.primaries().iter().map(|place| self.sweep_node(nodes, place, pattern));
            *count += try_join_all(swept).await?.into_iter().sum::<u64>();
            map = nodes.ask_for_map().await?;
            match survey.went_round(view(nodes, &map).await?) {
                Round::Done => return Ok(epoch),
                Round::Again => {}
                Round::GiveUp => return Err(Fault::server("TRYAGAIN", "slots move without end")),
            }
        }
    }

    async fn sweep_node(&self, nodes: &Arc<Nodes<R, E>>, place: &Place, pattern: &Pattern) -> Result<u64, Fault> {
        let line = nodes.link(place).line().await?;
        let glob = self.remote().names().matching(pattern).into_bytes();
        let (mut cursor, mut found, mut count) = (b"0".to_vec(), Vec::new(), 0);
        loop {
            let scan = replay::scan(cursor, &glob);
            // By the map and not on this node, which may have given away meanwhile what it found.
            let unlinks: Vec<Call> = found.drain(..).map(|name| replay::unlink([name].into_iter())).collect();
            let (page, removed) =
                join(wire::ask(&line, std::slice::from_ref(&scan)), self.spread(nodes, &unlinks, Manner::Twice)).await;
            count += replay::confirmed(removed?)?;
            (cursor, found) = replay::read_page(page?.pop().ok_or(Fault::Protocol)?)?;
            if cursor == b"0" {
                break;
            }
        }
        let unlinks: Vec<Call> = found.drain(..).map(|name| replay::unlink([name].into_iter())).collect();
        Ok(count + replay::confirmed(self.spread(nodes, &unlinks, Manner::Twice).await?)?)
    }
}

/// Where a call goes by the map; none where nobody has its slot. What is about no key goes to the first who has not failed.
fn place_of(call: &Call, aim: &Aim, map: &SlotMap, gone: &[Place]) -> Option<Place> {
    match (aim, Slot::of_call(call)) {
        (Aim::At(place) | Aim::Asking(place), _) => Some(place.clone()),
        (Aim::Owner, Some(slot)) => map.owner(slot).cloned(),
        (Aim::Owner, None) => {
            let primaries = map.primaries();
            primaries.iter().find(|place| !gone.contains(place)).or(primaries.first()).cloned()
        }
    }
}

/// The answers, or the fault where there are none.
fn answered(replies: Vec<Reply>) -> Result<Vec<Reply>, Fault> {
    let is_fault = |reply: &Reply| matches!(reply, Reply::Error(fault) if fault.class().is_none());
    match replies.first() {
        Some(Reply::Error(fault)) if replies.iter().all(is_fault) => Err(fault.clone()),
        _ => Ok(replies),
    }
}

/// What the primaries say of themselves.
async fn view<R: Runtime, E: Clone + Send + Sync + 'static>(nodes: &Nodes<R, E>, map: &SlotMap) -> Result<View, Fault> {
    let mut view = View::new(map);
    for told in nodes.each(map, redis::cmd("CLUSTER").arg("NODES")).await? {
        match wire::reply(told) {
            Reply::Bytes(text) => view.hear(&text)?,
            Reply::Error(fault) => return Err(fault),
            _ => return Err(Fault::Protocol),
        }
    }
    Ok(view)
}

/// So often a call is sent on before it is given up.
const MOST_ROUNDS: u32 = 12;

const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
