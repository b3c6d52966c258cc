//! Frames: where one command or reply ends and the next begins, so that they can be counted and none can take more memory
//! than it may.
//!
//! Reads the lengths that a reply announces before what they announce is there; redis-rs would gather 4 GiB if a server said
//! so. Must not know what a reply means; of its form it sees no more than it needs, the rest is found out by redis-rs.
//! Invariant: bytes within a string are skipped, not looked at.

/// Follows one direction of a connection.
pub(super) struct Frames {
    max_reply_bytes: u64,
    at: At,
    /// Bytes of the reply under way, announced ones included.
    bytes: u64,
    /// How many were complete.
    complete: u64,
    /// Whether this one answers nothing: the server sent it by itself.
    is_push: bool,
    /// How many more parts each array, from the outermost, is to have.
    open: Vec<u64>,
}

enum At {
    /// Before the byte that says what comes.
    Kind,
    /// In the length of a string or of an array.
    Length(Length),
    /// In a line that says all by itself.
    Line,
    /// In a string that has so many bytes left.
    String(u64),
}

#[derive(Clone, Copy)]
struct Length {
    of: Of,
    digits: u64,
    is_negative: bool,
}

#[derive(Clone, Copy)]
enum Of {
    String,
    /// An array has so many parts for each that is counted, and so many besides.
    Array(u64, u64),
}

impl Frames {
    pub(super) fn new(max_reply_bytes: u64) -> Self {
        Self { max_reply_bytes, at: At::Kind, bytes: 0, complete: 0, is_push: false, open: Vec::new() }
    }

    /// How many are complete, of those that ask or answer.
    pub(super) fn complete(&self) -> u64 {
        self.complete
    }

    /// Whether one is under way.
    pub(super) fn is_within(&self) -> bool {
        self.bytes > 0
    }

    /// Takes what came. `false` where the reply under way is larger or deeper than a reply may be, or is none.
    #[must_use]
    pub(super) fn accept(&mut self, come: &[u8]) -> bool {
        self.follow(come, |_| ())
    }

    /// [`Frames::accept`], which also says before which of these bytes replies end.
    #[must_use]
    pub(super) fn follow(&mut self, all: &[u8], mut ends: impl FnMut(usize)) -> bool {
        let mut come = all;
        while let Some((&first, rest)) = come.split_first() {
            match &mut self.at {
                At::Kind => {
                    if self.open.is_empty() {
                        self.is_push = first == b'>';
                    }
                    self.at = match first {
                        b'$' | b'=' | b'!' => At::length(Of::String),
                        b'*' | b'~' | b'>' => At::length(Of::Array(1, 0)),
                        b'%' => At::length(Of::Array(2, 0)),
                        b'|' => At::length(Of::Array(2, 1)),
                        b'+' | b'-' | b':' | b',' | b'#' | b'_' | b'(' => At::Line,
                        _ => return false,
                    };
                    self.bytes += 1;
                    come = rest;
                }
                At::Line => {
                    let end = come.iter().position(|&byte| byte == b'\n');
                    let used = end.map_or(come.len(), |at| at + 1);
                    self.bytes += used as u64;
                    come = &come[used..];
                    if end.is_some() {
                        self.close();
                    }
                }
                At::Length(length) => {
                    match first {
                        b'0'..=b'9' => {
                            length.digits = length.digits.saturating_mul(10).saturating_add(u64::from(first - b'0'));
                        }
                        b'-' => length.is_negative = true,
                        b'\r' | b'\n' => {}
                        _ => return false,
                    }
                    self.bytes += 1;
                    come = rest;
                    if first == b'\n' {
                        let length = *length;
                        if !self.enter(length) {
                            return false;
                        }
                    }
                }
                At::String(left) => {
                    let used = (*left).min(come.len() as u64);
                    *left -= used;
                    let is_over = *left == 0;
                    come = &come[used as usize..];
                    if is_over {
                        self.close();
                    }
                }
            }
            if self.bytes > self.max_reply_bytes {
                return false;
            }
            if self.bytes == 0 {
                ends(all.len() - come.len());
            }
        }
        true
    }

    fn enter(&mut self, length: Length) -> bool {
        if length.is_negative {
            self.close();
            return true;
        }
        match length.of {
            Of::String => {
                let bytes = length.digits.saturating_add(2);
                self.bytes = self.bytes.saturating_add(bytes);
                self.at = At::String(bytes);
            }
            Of::Array(each, besides) => {
                let parts = length.digits.saturating_mul(each).saturating_add(besides);
                self.at = At::Kind;
                if parts == 0 {
                    self.close();
                } else {
                    self.open.push(parts);
                }
                // A part takes more memory than it may take on the wire.
                self.bytes = self.bytes.saturating_add(parts.saturating_mul(PART_BYTES));
                if self.open.len() > MAX_DEPTH {
                    return false;
                }
            }
        }
        self.bytes <= self.max_reply_bytes
    }

    /// One part is complete, and with it all that it was the last part of.
    fn close(&mut self) {
        self.at = At::Kind;
        while let Some(left) = self.open.last_mut() {
            *left -= 1;
            if *left > 0 {
                return;
            }
            self.open.pop();
        }
        self.bytes = 0;
        self.complete += u64::from(!self.is_push);
    }
}

impl At {
    fn length(of: Of) -> Self {
        Self::Length(Length { of, digits: 0, is_negative: false })
    }
}

/// What one part of an array takes besides its text, about.
const PART_BYTES: u64 = 32;

/// As deep as redis-rs goes.
const MAX_DEPTH: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    const REPLIES: &[&[u8]] = &[
        b"+OK\r\n",
        b"$5\r\n*9\r\n$\r\n",
        b"$-1\r\n",
        b"*-1\r\n",
        b"*0\r\n",
        b"*2\r\n*1\r\n:1\r\n%1\r\n+a\r\n$0\r\n\r\n",
        b"|1\r\n+a\r\n+b\r\n*2\r\n+c\r\n_\r\n",
        b"=7\r\ntxt:abc\r\n",
    ];

    #[test]
    fn the_end_of_each_reply_is_found_wherever_it_is_cut() {
        for reply in REPLIES {
            for cut in 0..reply.len() {
                let mut frames = Frames::new(512);
                assert!(frames.accept(&reply[..cut]));
                assert!(cut == 0 || frames.bytes > 0, "{:?} ended at {cut}", reply.escape_ascii());
                assert!(frames.accept(&reply[cut..]));
                assert!(matches!(frames.at, At::Kind) && !frames.is_within() && frames.open.is_empty());
                assert_eq!(frames.complete(), 1);
            }
        }
    }

    #[test]
    fn replies_one_after_another_are_not_added_up() {
        let mut frames = Frames::new(512);
        assert!((0..1_000).all(|_| frames.accept(&REPLIES.concat())));
        assert_eq!(frames.complete(), 1_000 * REPLIES.len() as u64);
    }

    #[test]
    fn what_a_server_sends_by_itself_is_no_reply() {
        let mut frames = Frames::new(512);
        assert!(frames.accept(b">2\r\n$1\r\na\r\n*1\r\n+b\r\n:1\r\n>1\r\n+c\r\n"));
        assert_eq!(frames.complete(), 1);
    }

    #[test]
    fn what_is_too_large_is_refused_when_it_is_announced() {
        let refused = |bytes: &[u8]| !Frames::new(1 << 20).accept(bytes);
        assert!(refused(b"$4294967296\r\n"));
        assert!(refused(b"*2\r\n+a\r\n$99999999999999999999999999\r\n"));
        assert!(refused(b"*4294967296\r\n"));
        assert!(refused(b"%18446744073709551615\r\n"));
        assert!(refused(&vec![b'+'; (1 << 20) + 1]));
        assert!(refused(b"HTTP/1.1 400 Bad Request\r\n") && refused(b"$x\r\n"));
        assert!(refused(b"*40000\r\n"));
        assert!(!refused(b"*30000\r\n"));
        assert!(refused(&b"*1\r\n".repeat(10_000)));
        assert!(!refused(&b"*1\r\n".repeat(100)));
    }
}
