//! Ear: takes what others publish out of the bytes that come, and leaves the replies.
//!
//! The client library knows messages by the newer protocol only, and hands them on only where it led the handshake itself. A
//! message is told by its first word, whichever protocol it comes in. What confirms a `SUBSCRIBE` is left as a reply of the older protocol,
//! so that every command has one reply. Must not know who listens.

use std::sync::Arc;

use redis::{PushKind, Value, parse_redis_value};
use tokio::io::ReadBuf;

use super::frames::Frames;

/// Told of each message: the name of its channel in Redis, and what was published. Called where bytes are moved: it does not
/// wait.
pub(crate) type Heard = Arc<dyn Fn(&[u8], Vec<u8>) + Send + Sync>;

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
            if let Some((channel, message)) = message_in(&self.begun) {
                (self.heard)(&channel, message);
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

/// The channel and the message, where this is one.
fn message_in(frame: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    if !matches!(frame.first(), Some(b'*' | b'>')) {
        return None;
    }
    let (parts, has_kind) = match parse_redis_value(frame) {
        Ok(Value::Push { kind: PushKind::Message, data }) => (data, true),
        Ok(Value::Array(parts)) => (parts, false),
        _ => return None,
    };
    let mut parts = parts.into_iter();
    if !has_kind && parts.next() != Some(Value::BulkString(b"message".to_vec())) {
        return None;
    }
    match (parts.next(), parts.next(), parts.next()) {
        (Some(Value::BulkString(channel)), Some(Value::BulkString(message)), None) => Some((channel, message)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    #[test]
    fn messages_are_heard_and_replies_left_in_either_protocol_wherever_they_are_cut() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let telling = Arc::clone(&told);
        let heard: Heard = Arc::new(move |channel, message| telling.lock().push((channel.to_vec(), message)));
        let subscribed: &[u8] = b">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n";
        let come = [
            subscribed,
            b">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\n\r\n\r\n",
            b"+PONG\r\n",
            b"*3\r\n$7\r\nmessage\r\n$1\r\nb\r\n$0\r\n\r\n",
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
            assert_eq!(messages, [(b"a".to_vec(), b"\r\n".to_vec()), (b"b".to_vec(), b"".to_vec())]);
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
