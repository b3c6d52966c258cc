//! Wire: the bytes of one connection on their way, where signs of life are noted and what no Redis would send is stopped.
//!
//! Must not know what the bytes ask or answer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::Frames;
use super::vitals::{End, Vitals};

/// A stream whose connection has `vitals`.
pub(super) struct Wire<S> {
    stream: S,
    vitals: Arc<Vitals>,
    frames: Frames,
    was_full: bool,
}

impl<S> Wire<S> {
    pub(super) fn new(stream: S, vitals: Arc<Vitals>, max_reply_bytes: usize) -> Self {
        Self { stream, vitals, frames: Frames::new(max_reply_bytes as u64), was_full: false }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = into.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, into))?;
        let come = &into.filled()[before..];
        if !come.is_empty() {
            this.vitals.heard();
            if !this.frames.accept(come) {
                this.vitals.finish(End::Protocol);
                // redis-rs gives a connection up at once for this kind of error, and not for others.
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
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
        this.vitals.said(taken, this.was_full);
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
