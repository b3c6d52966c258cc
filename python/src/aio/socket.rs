//! Socket: a connection over a socket that the event loop watches.
//!
//! Owns reading and writing without waiting, and how a connection is opened. Must not call the loop: it leaves errands.
//! Invariant: a system call is made only where the last one, or the loop, gave reason to think that it moves bytes; redis-rs
//! asks whether there is something to read before each command it writes.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use donjon::runtime::Address;
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Type};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use super::inbox::{Errand, Inbox};
use super::source::Source;

/// An open socket of an asyncio event loop.
#[derive(Debug)]
pub(crate) struct Socket {
    source: Arc<Source>,
    inbox: Arc<Inbox>,
}

impl Socket {
    /// Opens a socket; the addresses of a name are tried one after the other.
    pub(super) async fn connect(inbox: &Arc<Inbox>, address: Address<'_>) -> io::Result<Self> {
        match address {
            Address::Unix(path) => Self::open(inbox, &SockAddr::unix(path)?).await,
            Address::Tcp(host, port) => {
                let mut failed = None;
                for address in resolve(inbox, host, port).await? {
                    match Self::open(inbox, &address.into()).await {
                        Ok(socket) => return Ok(socket),
                        Err(error) => failed = Some(error),
                    }
                }
                Err(failed.unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address")))
            }
        }
    }

    async fn open(inbox: &Arc<Inbox>, address: &SockAddr) -> io::Result<Self> {
        let socket = socket2::Socket::new(address.domain(), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        if address.domain() != Domain::UNIX {
            socket.set_tcp_nodelay(true)?;
        }
        let connecting = match socket.connect(address) {
            Ok(()) => false,
            Err(error) if is_under_way(&error) => true,
            Err(error) => return Err(error),
        };
        let opened = Self { source: Arc::new(Source::new(socket.into())), inbox: Arc::clone(inbox) };
        if connecting {
            opened.source.write.exhausted();
            opened.watch_write();
            std::future::poll_fn(|context| opened.poll_writable(context)).await?;
            if let Some(error) = opened.source.stream.take_error()? {
                return Err(error);
            }
        }
        opened.watch_read();
        Ok(opened)
    }

    fn poll_writable(&self, context: &Context<'_>) -> Poll<io::Result<()>> {
        match self.source.write.ready(context) {
            Ok(true) => Poll::Ready(Ok(())),
            Ok(false) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn poll_readable(&self, context: &Context<'_>) -> Poll<io::Result<()>> {
        match self.source.read.ready(context) {
            Ok(true) => Poll::Ready(Ok(())),
            Ok(false) => {
                self.watch_read();
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn watch_read(&self) {
        if self.source.read.watch(true) {
            self.inbox.send(Errand::WatchRead(Arc::clone(&self.source)));
        }
    }

    fn watch_write(&self) {
        if self.source.write.watch(true) {
            self.inbox.send(Errand::WatchWrite(Arc::clone(&self.source)));
        }
    }

    /// At its end, a socket would be found readable for ever.
    fn leave_read(&self) {
        if self.source.read.watch(false) {
            self.inbox.send(Errand::LeaveRead(Arc::clone(&self.source)));
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_readable(context))?;
            let room = into.remaining().min(AT_ONCE);
            match (&self.source.stream).read(into.initialize_unfilled_to(room)) {
                Ok(0) if room > 0 => {
                    self.leave_read();
                    return Poll::Ready(Ok(()));
                }
                Ok(read) => {
                    if read < room {
                        // There was no more, and a loop says so again when there is.
                        self.source.read.exhausted();
                    }
                    into.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.source.read.exhausted(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.leave_read();
                    return Poll::Ready(Err(error));
                }
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_writable(context))?;
            match (&self.source.stream).write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.source.write.exhausted();
                    self.watch_write();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.source.stream.shutdown(Shutdown::Write) {
            Err(error) if error.kind() != io::ErrorKind::NotConnected => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // The loop may be watching it, and is to be told before the descriptor is closed.
        self.inbox.send(Errand::Close(Arc::clone(&self.source)));
    }
}

async fn resolve(inbox: &Inbox, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let (found, answer) = oneshot::channel();
    inbox.send(Errand::Resolve(host.to_owned(), port, found));
    answer.await.unwrap_or_else(|_| Err(io::Error::other("the event loop was closed while it looked the name up")))
}

fn is_under_way(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::INPROGRESS)
}

/// How much is read at once, at most: the room for it is zeroed first.
const AT_ONCE: usize = 64 * 1024;
