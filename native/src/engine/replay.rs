//! Replay: says what is owed to Redis, and how a sweep goes over all keys.

use donjon_core::fault::Fault;
use donjon_core::key::Key;
use donjon_core::outbox::Target;
use donjon_core::pattern::Pattern;
use donjon_core::remote::Remote;
use donjon_core::remote::call::{Call, Reply};

use super::{Tier, wire};
use crate::link::Line;
use crate::runtime::Runtime;

/// Says what is owed over this line.
pub(super) async fn replay<E: Clone>(tier: &Tier<E>, line: &Line, runtime: &impl Runtime) -> Result<(), Fault> {
    let batch = tier.outbox.batch();
    let (mut names, mut tags, mut count) = (Vec::new(), Vec::new(), 0);
    for target in batch.targets() {
        match target {
            Target::Everything => sweep(&tier.remote, line, &everything(), &mut count).await?,
            Target::Pattern(glob) => {
                if let Ok(pattern) = Pattern::new(glob) {
                    sweep(&tier.remote, line, &pattern, &mut count).await?;
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
        confirmed(wire::ask(line, &tier.remote.move_tags(&tags)).await?)?;
    }
    tier.outbox.replayed(&batch, runtime.now());
    Ok(())
}

/// Removes all keys of the namespace that match, and adds to `count` how many. A key that is there during all of the sweep is
/// removed by it, a lease no less than a value: `SCAN` promises to give each.
pub(super) async fn sweep<E: Clone>(
    remote: &Remote<E>,
    line: &Line,
    pattern: &Pattern,
    count: &mut u64,
) -> Result<(), Fault> {
    let glob = remote.names().matching(pattern).into_bytes();
    let mut cursor = b"0".to_vec();
    let mut found: Vec<Vec<u8>> = Vec::new();
    loop {
        let scan = Call::Plain(vec![
            b"SCAN"[..].into(),
            cursor.into(),
            b"MATCH"[..].into(),
            glob.clone().into(),
            b"COUNT"[..].into(),
            STRIDE.into(),
        ]);
        let mut calls: Vec<Call> = found.chunks(AT_ONCE).map(|some| unlink(some.iter().cloned())).collect();
        calls.push(scan);
        let mut replies = wire::ask(line, &calls).await?;
        let page = replies.pop().ok_or(Fault::Protocol)?;
        *count += confirmed(replies)?;
        (cursor, found) = read_page(page)?;
        if cursor == b"0" {
            break;
        }
    }
    let calls: Vec<Call> = found.chunks(AT_ONCE).map(|some| unlink(some.iter().cloned())).collect();
    if !calls.is_empty() {
        *count += confirmed(wire::ask(line, &calls).await?)?;
    }
    Ok(())
}

/// The pattern of all keys.
pub(super) fn everything() -> Pattern {
    Pattern::new("*").expect("a star is a pattern")
}

fn unlink(names: impl Iterator<Item = Vec<u8>>) -> Call {
    Call::Plain(std::iter::once(b"UNLINK"[..].into()).chain(names.map(Into::into)).collect())
}

/// The sum of the answers, none of which is an error.
fn confirmed(replies: Vec<Reply>) -> Result<u64, Fault> {
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

fn read_page(page: Reply) -> Result<(Vec<u8>, Vec<Vec<u8>>), Fault> {
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
