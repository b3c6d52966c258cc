//! Proxy: a way to a server on which things go wrong when a test says so.
//!
//! Owns its connections and what happens to their bytes. Must not know what the bytes say: what it forwards may be TLS.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    Requests,
    /// From the server to the client.
    Replies,
}

/// Forwards connections on a loopback port of its own to a server. Ends them all when dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

impl Proxy {
    /// A proxy before the server on the loopback port `port`.
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port can be listened on");
        let own = listener.local_addr().expect("a listener has an address").port();
        let shared = Arc::new(Shared::default());
        let accepting = thread::spawn({
            let shared = shared.clone();
            move || accept(&listener, port, &shared)
        });
        Self { port: own, shared, accepting: Some(accepting) }
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where clients of a server without TLS and password connect.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// How many connections were made so far.
    pub fn connections(&self) -> usize {
        self.shared.state().made
    }

    /// Cuts every connection there is. New ones are welcome.
    pub fn cut(&self) {
        self.shared.state().cut_all();
    }

    /// Lets `bytes` more pass in a direction, all connections counted together, and cuts the connection on which the next
    /// one comes. With 0 bytes of replies, the server has done what the client never hears of.
    pub fn cut_after(&self, direction: Direction, bytes: usize) {
        self.shared.state().rules[direction as usize].cut_after = Some(bytes);
    }

    /// Delivers nothing more in a direction, while connections stay open and can be made: a hole in the network.
    pub fn hold(&self, direction: Direction) {
        self.shared.state().rules[direction as usize].held = true;
    }

    /// Delivers what is held, and goes on as usual.
    pub fn release(&self, direction: Direction) {
        self.shared.state().rules[direction as usize].held = false;
        self.shared.changed.notify_all();
    }

    /// Delivers what comes in a direction later by `span`, in order. Zero ends it.
    pub fn delay(&self, direction: Direction, span: Duration) {
        self.shared.state().rules[direction as usize].delay = span;
    }

    /// Swallows the next reply, and all that follow on its connection, which stays open.
    pub fn swallow(&self) {
        self.shared.state().rules[Direction::Replies as usize].swallow = true;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.closed = true;
        state.cut_all();
        drop(state);
        self.shared.changed.notify_all();
        // The thread waits for a connection: give it one.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what becomes of `bytes` that came in a direction. Waits as long as they are held.
    fn judge(&self, direction: Direction, bytes: usize) -> Fate {
        let state = self.state();
        let late = state.rules[direction as usize].delay;
        drop(state);
        thread::sleep(late);
        let held = |state: &mut State| state.rules[direction as usize].held && !state.closed;
        let mut state = self.changed.wait_while(self.state(), held).unwrap_or_else(PoisonError::into_inner);
        let rule = &mut state.rules[direction as usize];
        if std::mem::take(&mut rule.swallow) {
            return Fate::Swallowed;
        }
        match &mut rule.cut_after {
            Some(left) if bytes > *left => {
                let left = *left;
                rule.cut_after = None;
                Fate::CutAfter(left)
            }
            Some(left) => {
                *left -= bytes;
                Fate::Passes
            }
            None => Fate::Passes,
        }
    }
}

#[derive(Debug, Default)]
struct State {
    made: usize,
    closed: bool,
    rules: [Rule; 2],
    connections: Vec<Weak<Connection>>,
}

impl State {
    fn cut_all(&mut self) {
        self.connections
            .drain(..)
            .filter_map(|connection| connection.upgrade())
            .for_each(|connection| connection.cut());
    }
}

#[derive(Debug, Default)]
struct Rule {
    held: bool,
    swallow: bool,
    cut_after: Option<usize>,
    delay: Duration,
}

enum Fate {
    Passes,
    CutAfter(usize),
    Swallowed,
}

/// Open as long as one of the two threads that forward holds it.
#[derive(Debug)]
struct Connection {
    client: TcpStream,
    server: TcpStream,
}

impl Connection {
    fn cut(&self) {
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }

    /// Moves bytes until there are no more, or nobody who takes them.
    fn forward(&self, direction: Direction, shared: &Shared) {
        let (mut from, mut to) = match direction {
            Direction::Requests => (&self.client, &self.server),
            Direction::Replies => (&self.server, &self.client),
        };
        let mut bytes = vec![0; 64 << 10];
        let mut mute = false;
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            if mute {
                continue;
            }
            match shared.judge(direction, count) {
                Fate::Passes if to.write_all(&bytes[..count]).is_ok() => {}
                Fate::Passes => break,
                Fate::CutAfter(left) => {
                    let _ = to.write_all(&bytes[..left]);
                    return self.cut();
                }
                Fate::Swallowed => mute = true,
            }
        }
        let _ = to.shutdown(Shutdown::Write);
        let _ = from.shutdown(Shutdown::Read);
    }
}

fn accept(listener: &TcpListener, port: u16, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        let server = TcpStream::connect(("127.0.0.1", port));
        let mut state = shared.state();
        if state.closed {
            return;
        }
        // A server that is not there: the client's connection ends as soon as it was made.
        let (Ok(client), Ok(server)) = (client, server) else { continue };
        for stream in [&client, &server] {
            let _ = stream.set_nodelay(true);
        }
        let connection = Arc::new(Connection { client, server });
        state.made += 1;
        state.connections.retain(|other| other.strong_count() > 0);
        state.connections.push(Arc::downgrade(&connection));
        for direction in [Direction::Requests, Direction::Replies] {
            let (connection, shared) = (connection.clone(), shared.clone());
            thread::spawn(move || connection.forward(direction, &shared));
        }
    }
}
