//! Ear: takes what the server says of its own accord out of the bytes that come, and leaves the replies.
//!
//! The client library knows messages by the newer protocol only, and hands them on only where it led the handshake itself. A
//! message is told by its first word, whichever protocol it comes in; what changed, by the newer protocol's own kind or by the
//! channel that the older one has for it. All of it is handed on before any reply that came behind it is. What confirms a `SUBSCRIBE` is left as a reply of the older protocol,
//! so that every command has one reply. Must not know who listens.

use std::sync::Arc;

use redis::{PushKind, Value, parse_redis_value};
use tokio::io::ReadBuf;

use super::frames::Frames;

/// What the server says of its own accord.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// Somebody published this.
    Message {
        /// What the channel is called in Redis.
        channel: Vec<u8>,
        /// What was published.
        message: Vec<u8>,
    },
    /// What has these names changed, or may have; everything, where there are none.
    Changed(Option<Vec<Vec<u8>>>),
}

/// Told of all that is said so. Called where bytes are moved: it does not wait.
pub(crate) type Heard = Arc<dyn Fn(Said) + Send + Sync>;

/// Where the older protocol says what changed.
pub(crate) const CHANGES: &[u8] = b"__redis__:invalidate";

/// The ear of one connection.
pub(super) struct Ear {
    heard: Heard,
    frames: Frames,
    /// What came of the reply or message under way.
    begun: Vec<u8>,
    /// Replies, and how much of them was given already.
    replies: Vec<u8>,
    given: usize,
}

impl Ear {
    /// One message may have so many bytes.
    pub(super) fn new(heard: Heard, max_bytes: usize) -> Self {
        Self { heard, frames: Frames::new(max_bytes as u64), begun: Vec::new(), replies: Vec::new(), given: 0 }
    }

    /// Takes what came, and gives the replies in it. `None` where no Redis sends this.
    pub(super) fn hear(&mut self, come: &[u8]) -> Option<Vec<u8>> {
        let (mut from, mut replies) = (0, Vec::new());
        let is_sound = self.frames.follow(come, |to| {
            self.begun.extend(&come[from..to]);
            from = to;
            if let Some(said) = said_in(&self.begun) {
                (self.heard)(said);
            } else {
                if self.begun.first() == Some(&b'>') {
                    self.begun[0] = b'*';
                }
                replies.extend(&self.begun);
            }
            self.begun.clear();
        });
        self.begun.extend(&come[from..]);
        is_sound.then_some(replies)
    }

    /// Keeps replies until they are asked for.
    pub(super) fn keep(&mut self, replies: &[u8]) {
        self.replies.extend(replies);
    }

    /// Hands out replies, as much as there is room for; false where there are none.
    pub(super) fn give(&mut self, into: &mut ReadBuf<'_>) -> bool {
        let left = &self.replies[self.given..];
        if left.is_empty() {
            return false;
        }
        let given = left.len().min(into.remaining());
        into.put_slice(&left[..given]);
        self.given += given;
        if self.given == self.replies.len() {
            self.replies.clear();
            self.given = 0;
        }
        true
    }
}

/// What is said, where this is no reply.
fn said_in(frame: &[u8]) -> Option<Said> {
    if !matches!(frame.first(), Some(b'*' | b'>')) {
        return None;
    }
    let parts = match parse_redis_value(frame) {
        Ok(Value::Push { kind: PushKind::Invalidate, data }) => return changed(data.into_iter().next()?),
        Ok(Value::Push { kind: PushKind::Message, data }) => data,
        Ok(Value::Array(mut parts)) if parts.first() == Some(&Value::BulkString(b"message".to_vec())) => {
            parts.remove(0);
            parts
        }
        _ => return None,
    };
    match <[Value; 2]>::try_from(parts) {
        Ok([Value::BulkString(channel), Value::BulkString(message)]) => Some(Said::Message { channel, message }),
        Ok([Value::BulkString(channel), names]) if channel == CHANGES => changed(names),
        _ => None,
    }
}

fn changed(names: Value) -> Option<Said> {
    let name = |name| if let Value::BulkString(name) = name { Some(name) } else { None };
    match names {
        Value::Nil => Some(Said::Changed(None)),
        Value::Array(names) => {
            names.into_iter().map(name).collect::<Option<_>>().map(|names| Said::Changed(Some(names)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    #[test]
    fn what_is_said_is_heard_and_replies_left_in_either_protocol_wherever_they_are_cut() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let telling = Arc::clone(&told);
        let heard: Heard = Arc::new(move |said| telling.lock().push(said));
        let subscribed: &[u8] = b">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n";
        let come = [
            subscribed,
            b">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\n\r\n\r\n",
            b"+PONG\r\n",
            b"*3\r\n$7\r\nmessage\r\n$1\r\nb\r\n$0\r\n\r\n",
            b">2\r\n$10\r\ninvalidate\r\n*2\r\n$1\r\nk\r\n$1\r\nl\r\n",
            b">2\r\n$10\r\ninvalidate\r\n_\r\n",
            b"*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*1\r\n$1\r\nm\r\n",
            b"*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*-1\r\n",
            b"*2\r\n$4\r\npong\r\n$0\r\n\r\n",
        ]
        .concat();
        let left = [b"*", &subscribed[1..], b"+PONG\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n"].concat();
        for cut in 0..come.len() {
            let mut ear = Ear::new(Arc::clone(&heard), 1 << 10);
            for piece in [&come[..cut], &come[cut..]] {
                let replies = ear.hear(piece).unwrap();
                ear.keep(&replies);
            }
            let messages = std::mem::take(&mut *told.lock());
            let message =
                |channel: &[u8], message: &[u8]| Said::Message { channel: channel.to_vec(), message: message.to_vec() };
            let said = [
                message(b"a", b"\r\n"),
                message(b"b", b""),
                Said::Changed(Some(vec![b"k".to_vec(), b"l".to_vec()])),
                Said::Changed(None),
                Said::Changed(Some(vec![b"m".to_vec()])),
                Said::Changed(None),
            ];
            assert_eq!(messages, said);
            let (mut bytes, mut given) = ([0; 5], Vec::<u8>::new());
            loop {
                let mut into = ReadBuf::new(&mut bytes);
                if !ear.give(&mut into) {
                    break;
                }
                given.extend(into.filled());
            }
            assert_eq!(given, left, "cut at {cut}");
        }
    }
}
