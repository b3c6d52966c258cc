//! Wire: the bytes of one connection on their way, where signs of life are noted and what no Redis would send is stopped.
//!
//! Must not know what the bytes ask or answer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::ear::Ear;
use super::frames::Frames;
use super::vitals::{End, Vitals};

/// A stream whose connection has `vitals`.
pub(super) struct Wire<S> {
    stream: S,
    vitals: Arc<Vitals>,
    commands: Frames,
    replies: Frames,
    ear: Option<Ear>,
    was_full: bool,
}

impl<S> Wire<S> {
    /// Where there is an `ear`, what others publish goes there, and only the rest to whoever reads from here.
    pub(super) fn new(stream: S, vitals: Arc<Vitals>, max_reply_bytes: usize, ear: Option<Ear>) -> Self {
        let (commands, replies) = (Frames::new(u64::MAX), Frames::new(max_reply_bytes as u64));
        Self { stream, vitals, commands, replies, ear, was_full: false }
    }

    /// Notes what came. `false` where it is no reply.
    fn hear(&mut self, come: &[u8]) -> bool {
        if self.replies.complete() == 0 && !self.replies.is_within() && come[0] == b'-' {
            self.vitals.set_farewell(come);
        }
        let makes_sense = self.replies.accept(come) && self.replies.complete() <= self.commands.complete();
        self.vitals.heard(self.owed());
        makes_sense
    }

    /// How many replies are still to come, the one to a command under way included.
    fn owed(&self) -> u64 {
        self.commands.complete().saturating_sub(self.replies.complete()) + u64::from(self.commands.is_within())
    }
}

impl<S: AsyncRead + Unpin> Wire<S> {
    fn poll_listen(&mut self, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        for _ in 0..PIECES {
            let Some(ear) = &mut self.ear else { break };
            if ear.give(into) {
                return Poll::Ready(Ok(()));
            }
            let mut piece = [0; PIECE_BYTES];
            let mut piece = ReadBuf::new(&mut piece);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut piece))?;
            if piece.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            let makes_sense = match ear.hear(piece.filled()) {
                Some(replies) if replies.is_empty() => {
                    self.vitals.heard(self.owed());
                    true
                }
                Some(replies) => {
                    ear.keep(&replies);
                    self.hear(&replies)
                }
                None => false,
            };
            if !makes_sense {
                self.vitals.finish(End::Protocol);
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
        }
        // Others are to have their turn too.
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ear.is_some() {
            return this.poll_listen(context, into);
        }
        let before = into.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, into))?;
        let come = &into.filled()[before..];
        if !come.is_empty() && !this.hear(come) {
            this.vitals.finish(End::Protocol);
            // redis-rs gives a connection up at once for this kind of error, and not for others.
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let Poll::Ready(taken) = Pin::new(&mut this.stream).poll_write(context, bytes) else {
            this.was_full = true;
            return Poll::Pending;
        };
        let taken = taken?;
        // What this side writes is well formed.
        let _ = this.commands.accept(&bytes[..taken]);
        this.vitals.said(taken, this.owed(), this.was_full);
        this.was_full = false;
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

const PIECE_BYTES: usize = 8 << 10;

/// So many pieces of what others publish are read in one go.
const PIECES: usize = 32;
