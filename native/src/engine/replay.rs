//! Replay: says what is owed to Redis, and how a sweep goes over all keys.

use donjon_core::cluster::Place;
use donjon_core::fault::{Class, Fault};
use donjon_core::key::Key;
use donjon_core::moment::Moment;
use donjon_core::outbox::Target;
use donjon_core::pattern::Pattern;
use donjon_core::remote::Remote;
use donjon_core::remote::call::{Call, Reply};
use donjon_core::remote::sweeps::{RAISE_EVERY, Record};
use tokio::sync::Mutex;

use super::nodes::Nodes;
use super::{Tier, watch, wire};
use crate::link::Line;
use crate::runtime::Runtime;

/// Says what is owed over this line.
pub(super) async fn replay<E: Clone>(tier: &Tier<E>, line: &Line, runtime: &impl Runtime) -> Result<(), Fault> {
    let batch = tier.outbox.batch();
    let (mut names, mut tags, mut count) = (Vec::new(), Vec::new(), 0);
    for target in batch.targets() {
        match target {
            Target::Everything => sweep(tier, line, &everything(), &mut count, runtime).await?,
            Target::Pattern(glob) => {
                if let Ok(pattern) = Pattern::new(glob) {
                    sweep(tier, line, &pattern, &mut count, runtime).await?;
                }
            }
            Target::Key(key) => names.extend(Key::new(key).map(|key| tier.remote.names().key(key))),
            Target::Tag(tag) => tags.push(tag),
        }
    }
    for some in names.chunks(AT_ONCE) {
        confirmed(wire::ask(line, &[unlink(some.iter().cloned())]).await?)?;
    }
    if !tags.is_empty() {
        confirmed(said(line, &tier.remote.move_tags(&tags)).await?)?;
    }
    tier.outbox.replayed(&batch, runtime.now());
    tier.tell();
    Ok(())
}

/// Says what is owed of keys and tags to one node, over this line.
pub(super) async fn replay_at<R: Runtime, E: Clone + Send + Sync + 'static>(
    tier: &Tier<E>,
    nodes: &Nodes<R, E>,
    place: &Place,
    line: &Line,
    runtime: &R,
) -> Result<(), Fault> {
    // Before there is a map nothing was said.
    let Some(map) = nodes.known_map() else { return Ok(()) };
    let batch = tier.outbox.batch_of(|target| Nodes::<R, E>::is_at(&map, tier.remote.names(), place, target));
    for some in calls_of(&tier.remote, batch.targets()).chunks(AT_ONCE) {
        match confirmed(said(line, some).await?) {
            Ok(_) => {}
            // It went somewhere else meanwhile, where it will be said.
            Err(Fault::Server { class: Class::Reroute | Class::Retry, .. }) => return Ok(()),
            Err(fault) => return Err(fault),
        }
    }
    let ears = nodes.ears();
    tier.outbox.replayed_to(&batch, runtime.now(), |target| ears.of(target));
    tier.tell();
    Ok(())
}

/// Says what may be said twice, by scripts or, where these are forbidden, without.
async fn said(line: &Line, calls: &[Call]) -> Result<Vec<Reply>, Fault> {
    let replies = wire::ask(line, calls).await?;
    // None of it is watched, so that nobody else is in the way.
    if watch::is_forbidden(calls, &replies) { watch::ask(line, calls, &Mutex::default()).await } else { Ok(replies) }
}

/// What says these keys and tags, one by one: no two need be on the same node.
pub(super) fn calls_of<E: Clone>(remote: &Remote<E>, targets: &[Target]) -> Vec<Call> {
    let (mut calls, mut tags) = (Vec::new(), Vec::new());
    for target in targets {
        match target {
            Target::Key(key) => calls.extend(Key::new(key).map(|key| unlink([remote.names().key(key)].into_iter()))),
            Target::Tag(tag) => tags.push(tag),
            Target::Pattern(_) | Target::Everything => {}
        }
    }
    calls.extend(remote.move_tags(&tags));
    calls
}

/// Removes all keys of the namespace that match, and adds to `count` how many. It is written down first that they are gone, which
/// holds at once for who reads that. Where it cannot be, as there are too many or Redis refuses, it holds when this has ended.
pub(super) async fn sweep<E: Clone>(
    tier: &Tier<E>,
    line: &Line,
    pattern: &Pattern,
    count: &mut u64,
    runtime: &impl Runtime,
) -> Result<(), Fault> {
    let mut record = None;
    if let Some((written, call)) = tier.remote.write_down(pattern) {
        record = is_written(tier, &wire::ask(line, &[call]).await?, runtime.now()).then_some(written);
    }
    sweep_as(tier, line, pattern, record, count, runtime).await
}

/// Whether it was written down what is about to be swept, as was answered.
pub(super) fn is_written<E: Clone>(tier: &Tier<E>, replies: &[Reply], now: Moment) -> bool {
    let is_written = replies.first().is_some_and(|reply| tier.remote.wrote_down(reply, now));
    tier.forget_swept(now);
    is_written
}

/// As [`sweep`], of what is written down already. A key that is there during all of this is removed by it, a lease no less than a
/// value: `SCAN` promises to give each.
pub(super) async fn sweep_as<E: Clone>(
    tier: &Tier<E>,
    line: &Line,
    pattern: &Pattern,
    mut record: Option<Record>,
    count: &mut u64,
    runtime: &impl Runtime,
) -> Result<(), Fault> {
    let glob = tier.remote.names().matching(pattern).into_bytes();
    let mut raised = runtime.now();
    let mut cursor = b"0".to_vec();
    let mut found: Vec<Vec<u8>> = Vec::new();
    loop {
        let scan = scan(cursor, &glob);
        let mut calls: Vec<Call> = found.chunks(AT_ONCE).map(|some| unlink(some.iter().cloned())).collect();
        calls.push(scan);
        let mut replies = wire::ask(line, &calls).await?;
        let page = replies.pop().ok_or(Fault::Protocol)?;
        *count += confirmed(replies)?;
        (cursor, found) = read_page(page)?;
        if cursor == b"0" {
            break;
        }
        let now = runtime.now();
        if let Some(record) = record.as_mut().filter(|_| now - raised >= RAISE_EVERY) {
            raised = now;
            // Where another has raised it, who thought that this sweep stood still, both sweep, which does no harm.
            wire::ask(line, &[tier.remote.raise(record)]).await?;
        }
    }
    let calls: Vec<Call> = found.chunks(AT_ONCE).map(|some| unlink(some.iter().cloned())).collect();
    if !calls.is_empty() {
        *count += confirmed(wire::ask(line, &calls).await?)?;
    }
    if let Some(record) = record {
        // Where the server refuses, another finds this standing still, and sweeps once more.
        let replies = wire::ask(line, &[tier.remote.strike(&record)]).await?;
        for reply in &replies {
            tier.remote.struck(reply, runtime.now());
        }
    }
    Ok(())
}

/// The pattern of all keys.
pub(super) fn everything() -> Pattern {
    Pattern::new("*").expect("a star is a pattern")
}

/// Asks for the next keys that match.
pub(super) fn scan(cursor: Vec<u8>, glob: &[u8]) -> Call {
    let (pattern, count) = (glob.to_vec(), STRIDE);
    Call::Plain(vec![
        b"SCAN"[..].into(),
        cursor.into(),
        b"MATCH"[..].into(),
        pattern.into(),
        b"COUNT"[..].into(),
        count.into(),
    ])
}

pub(super) fn unlink(names: impl Iterator<Item = Vec<u8>>) -> Call {
    Call::Plain(std::iter::once(b"UNLINK"[..].into()).chain(names.map(Into::into)).collect())
}

/// The sum of the answers, none of which is an error.
pub(super) fn confirmed(replies: Vec<Reply>) -> Result<u64, Fault> {
    let mut sum = 0;
    for reply in replies {
        match reply {
            Reply::Int(number) => sum += u64::try_from(number).unwrap_or_default(),
            Reply::Error(fault) => return Err(fault),
            _ => return Err(Fault::Protocol),
        }
    }
    Ok(sum)
}

pub(super) fn read_page(page: Reply) -> Result<(Vec<u8>, Vec<Vec<u8>>), Fault> {
    let Reply::List(parts) = page else {
        return Err(if let Reply::Error(fault) = page { fault } else { Fault::Protocol });
    };
    let Ok([Reply::Bytes(cursor), Reply::List(names)]) = <[Reply; 2]>::try_from(parts) else {
        return Err(Fault::Protocol);
    };
    let name = |reply| if let Reply::Bytes(name) = reply { Ok(name) } else { Err(Fault::Protocol) };
    Ok((cursor, names.into_iter().map(name).collect::<Result<_, _>>()?))
}

/// Keys in one command.
pub(super) const AT_ONCE: usize = 1_000;

/// How many keys the server looks at in one step: some hundred microseconds.
const STRIDE: &[u8] = b"1000";
