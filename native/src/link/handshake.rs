//! Handshake: what is said first on every connection: which protocol, who asks, which database, what time it is.
//!
//! Must not know how the bytes travel. Not left to redis-rs, which does not fall back to the older protocol.

use donjon_core::fault::{Class, Fault};
use donjon_core::moment::Moment;
use donjon_core::settings::{RedisTarget, Secret};
use redis::{Pipeline, ServerError, Value};

use super::line::Line;

/// Introduces this side on a new connection.
pub(super) async fn shake(line: &Line, target: &RedisTarget) -> Result<(), Fault> {
    let (username, password) = (target.username(), target.password().map(Secret::expose));
    // A user without a password has to be named too, or another would be asking.
    let login = (username.is_some() || password.is_some()).then(|| (username, password.unwrap_or_default()));
    let mut met = introduce(line, target, Protocol::Three, login).await?;
    if let Met::No(refusal) = &met
        && is_about_protocol(refusal)
    {
        met = introduce(line, target, Protocol::Two, login).await?;
    }
    if let (Met::No(refusal), Some((Some(_), password))) = (&met, login)
        && is_about_users(refusal)
    {
        // Before version 6 there are no users, and many URLs name one all the same.
        met = introduce(line, target, Protocol::Two, Some((None, password))).await?;
    }
    match met {
        Met::Yes => Ok(()),
        Met::No(refusal) => Err(Fault::server(refusal.code(), refusal.details().unwrap_or_default())),
    }
}

/// Asks Redis for its time. What comes back was true between question and answer: it is taken to be the time of the
/// question, so that nothing seems younger than it is.
pub(super) async fn read_clock(line: &Line) -> Result<(), Fault> {
    let asked = line.vitals().now();
    let reply = line.ask(&redis::cmd("TIME")).await?;
    note_clock(line, &reply, asked);
    Ok(())
}

/// Asks for a sign of life, and for Redis's time by the way: a refusal is a sign of life, too.
pub(crate) async fn beat(line: &Line) -> Result<(), Fault> {
    match read_clock(line).await {
        Ok(()) | Err(Fault::Server { .. }) => Ok(()),
        Err(fault) => Err(fault),
    }
}

enum Protocol {
    Two,
    Three,
}

enum Met {
    Yes,
    No(ServerError),
}

/// A user, where one is named, and a password.
type Login<'a> = Option<(Option<&'a str>, &'a str)>;

async fn introduce(line: &Line, target: &RedisTarget, protocol: Protocol, login: Login<'_>) -> Result<Met, Fault> {
    let mut said = Pipeline::new();
    match (protocol, login) {
        (Protocol::Three, None) => {
            said.cmd("HELLO").arg(3);
        }
        (Protocol::Three, Some((username, password))) => {
            said.cmd("HELLO").arg(3).arg("AUTH").arg(username.unwrap_or("default")).arg(password);
        }
        (Protocol::Two, Some((username, password))) => {
            said.cmd("AUTH").arg(username).arg(password);
        }
        (Protocol::Two, None) => {}
    }
    if target.db() != 0 {
        said.cmd("SELECT").arg(target.db());
    }
    said.cmd("TIME");
    let asked = line.vitals().now();
    let mut replies = line.ask_all(&said).await?;
    // A user may be allowed no TIME: Redis's clock is unknown then.
    if let Some(time) = replies.pop() {
        note_clock(line, &time, asked);
    }
    let refusal = replies.into_iter().find_map(|reply| match reply {
        Value::ServerError(error) => Some(error),
        _ => None,
    });
    Ok(refusal.map_or(Met::Yes, Met::No))
}

fn note_clock(line: &Line, reply: &Value, asked: Moment) {
    let Value::Array(parts) = reply else { return };
    let [Value::BulkString(seconds), Value::BulkString(micros)] = &parts[..] else { return };
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<u64>().ok();
    if let (Some(seconds), Some(micros)) = (number(seconds), number(micros)) {
        let nanos = seconds.saturating_mul(1_000_000_000).saturating_add(micros.saturating_mul(1_000));
        line.hub().set_clock(Moment::from_nanos(nanos), asked);
    }
}

/// Whether `HELLO` is what was not understood: before version 6, and by some proxies.
fn is_about_protocol(refusal: &ServerError) -> bool {
    let detail = refusal.details().unwrap_or_default();
    refusal.code() == "NOPROTO" || refusal.code() == "ERR" && Class::of("ERR", detail) != Class::Down
}

fn is_about_users(refusal: &ServerError) -> bool {
    refusal.details().is_some_and(|detail| detail.to_ascii_lowercase().contains("wrong number of arguments"))
}
