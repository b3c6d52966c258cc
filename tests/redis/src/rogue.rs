//! Rogue: a server that answers what it should not.
//!
//! It stands before a real one and answers by a rule of the test's; what the rule lets through, the real one answers. So a
//! connection is made and greeted as ever, and goes wrong at the command that the test is about.
//! Knows no subscriptions: what a server pushes waits for the next reply.

use std::io::{BufRead, BufReader, Result, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};

use crate::Server;

/// What a rogue server does with a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Has the real server answer.
    Honest,
    /// Has the real server answer, and says this first.
    HonestAfter(Vec<u8>),
    /// Says this, and the real server never hears of it.
    Instead(Vec<u8>),
    /// Says this and closes the connection.
    Last(Vec<u8>),
    /// Says nothing, and goes on with the next command.
    Silence,
    /// Has the real server carry it out, and closes the connection without a word.
    Lost,
}

impl Answer {
    /// An error reply, such as `LOADING Redis is loading the dataset in memory`.
    pub fn error(text: &str) -> Self {
        Self::Instead(format!("-{text}\r\n").into_bytes())
    }

    /// A reply of lists in lists, `depth` deep.
    pub fn nested(depth: usize) -> Self {
        Self::Instead(["*1\r\n".repeat(depth).as_bytes(), b":1\r\n"].concat())
    }
}

/// A rogue server on a loopback port of its own. Ends its connections when dropped.
#[derive(Debug)]
pub struct Rogue {
    port: u16,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

impl Rogue {
    /// Before `server`, which speaks no TLS and asks for no password. `rule` hears each command as its words.
    pub fn before(server: &Server, rule: impl Fn(&[Vec<u8>]) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port can be listened on");
        let own = listener.local_addr().expect("a listener has an address").port();
        let shared = Arc::new(Shared::default());
        let accepting = thread::spawn({
            let (shared, rule, port) = (shared.clone(), Arc::new(rule), server.port());
            move || accept(&listener, port, &shared, &rule)
        });
        Self { port: own, shared, accepting: Some(accepting) }
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where clients connect.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// How many connections were made so far.
    pub fn connections(&self) -> usize {
        self.shared.made.load(Ordering::SeqCst)
    }
}

impl Drop for Rogue {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        for client in self.shared.clients.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = client.upgrade().map(|client| client.shutdown(std::net::Shutdown::Both));
        }
        // The thread waits for a connection: give it one.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

#[derive(Debug, Default)]
struct Shared {
    made: AtomicUsize,
    closed: AtomicBool,
    clients: Mutex<Vec<Weak<TcpStream>>>,
}

fn accept<F>(listener: &TcpListener, port: u16, shared: &Shared, rule: &Arc<F>)
where
    F: Fn(&[Vec<u8>]) -> Answer + Send + Sync + 'static,
{
    for client in listener.incoming() {
        let server = TcpStream::connect(("127.0.0.1", port));
        let mut clients = shared.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.closed.load(Ordering::SeqCst) {
            return;
        }
        let (Ok(client), Ok(server)) = (client, server) else { continue };
        let client = Arc::new(client);
        clients.retain(|other| other.strong_count() > 0);
        clients.push(Arc::downgrade(&client));
        shared.made.fetch_add(1, Ordering::SeqCst);
        let rule = rule.clone();
        thread::spawn(move || {
            let _ = serve(&client, &server, &*rule);
            let _ = client.shutdown(std::net::Shutdown::Both);
        });
    }
}

/// Answers one command after the other, until the client is gone or is sent away.
fn serve(client: &TcpStream, server: &TcpStream, rule: &impl Fn(&[Vec<u8>]) -> Answer) -> Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut commands, mut replies) = (BufReader::new(client), BufReader::new(server));
    let (mut client, mut server) = (client, server);
    loop {
        let (command, words) = command(&mut commands)?;
        let answer = rule(&words);
        let is_lost = answer == Answer::Lost;
        let first = match answer {
            Answer::Honest | Answer::Lost => Vec::new(),
            Answer::HonestAfter(bytes) => bytes,
            Answer::Instead(bytes) => {
                client.write_all(&bytes)?;
                continue;
            }
            Answer::Last(bytes) => return client.write_all(&bytes),
            Answer::Silence => continue,
        };
        server.write_all(&command)?;
        let mut reply = first;
        // What the server pushes unasked comes before the reply.
        while frame(&mut replies, &mut reply)? == b'>' {}
        if is_lost {
            return Ok(());
        }
        client.write_all(&reply)?;
    }
}

/// A command as it came, and its words.
fn command(from: &mut impl BufRead) -> Result<(Vec<u8>, Vec<Vec<u8>>)> {
    let mut bytes = Vec::new();
    let count = number(line(from, &mut bytes)?)?;
    let words = (0..count).map(|_| {
        let at = bytes.len();
        frame(from, &mut bytes)?;
        let body = bytes[at..].iter().position(|&byte| byte == b'\n').map_or(at, |end| at + end + 1);
        Ok(bytes[body..bytes.len() - 2].to_vec())
    });
    let words = words.collect::<Result<_>>()?;
    Ok((bytes, words))
}

/// Copies one value with all that is in it, and says of what kind it is.
fn frame(from: &mut impl BufRead, into: &mut Vec<u8>) -> Result<u8> {
    let start = line(from, into)?;
    let kind = start[0];
    match kind {
        b'$' | b'=' | b'!' if number(start.clone())? >= 0 => {
            let at = into.len();
            into.resize(at + number(start)? as usize + 2, 0);
            from.read_exact(&mut into[at..])?;
        }
        b'*' | b'~' | b'>' | b'%' | b'|' => {
            let pairs = if matches!(kind, b'%' | b'|') { 2 } else { 1 };
            for _ in 0..number(start)? * pairs {
                frame(from, into)?;
            }
        }
        _ => {}
    }
    Ok(kind)
}

/// The next line, copied; without its end, and never empty.
fn line(from: &mut impl BufRead, into: &mut Vec<u8>) -> Result<Vec<u8>> {
    let mut line = Vec::new();
    from.read_until(b'\n', &mut line)?;
    into.extend_from_slice(&line);
    match line.strip_suffix(b"\r\n") {
        Some(line) if !line.is_empty() => Ok(line.to_vec()),
        _ => Err(std::io::ErrorKind::UnexpectedEof.into()),
    }
}

fn number(line: Vec<u8>) -> Result<i64> {
    let text = String::from_utf8(line).unwrap_or_default();
    text.get(1..).and_then(|digits| digits.parse().ok()).ok_or_else(|| std::io::ErrorKind::InvalidData.into())
}
