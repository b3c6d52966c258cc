//! Client: a foreign program's words to a server, over the socket in the server's own folder.
//!
//! Speaks RESP2, or RESP3 once it is told of changes; knows no cache, and may do everything whatever the server's users may.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// The user that the kit adds to each server, so that passwords and ACLs under test never lock it out.
pub(crate) const USER: &str = "donjon-test-kit";
/// Not a secret: the server listens on the loopback for the length of a test.
pub(crate) const PASSWORD: &str = "kit";

const PATIENCE: Duration = Duration::from_secs(20);

/// One connection to a [`Server`](crate::Server).
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    pushed: Vec<Reply>,
}

impl Client {
    /// Connects and signs in, or says why not.
    pub(crate) fn connect(socket: &Path) -> Result<Self, String> {
        let stream = UnixStream::connect(socket).map_err(|error| error.to_string())?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
        let mut client = Self { stream: BufReader::new(stream), pushed: Vec::new() };
        client.call(&["AUTH", USER, PASSWORD])?;
        Ok(client)
    }

    /// Sends a command and waits for its reply.
    ///
    /// # Errors
    ///
    /// The server's error reply, or how the connection failed.
    pub fn call<A: AsRef<[u8]>>(&mut self, words: &[A]) -> Result<Reply, String> {
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            let word = word.as_ref();
            bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            bytes.extend_from_slice(word);
            bytes.extend_from_slice(b"\r\n");
        }
        self.stream.get_mut().write_all(&bytes).map_err(|error| error.to_string())?;
        self.reply()
    }

    /// Asks to be told when a key changes that was read here, unless it is changed from here.
    ///
    /// # Errors
    ///
    /// What the server has against it.
    pub fn track(&mut self) -> Result<(), String> {
        self.call(&["HELLO", "3"])?;
        self.call(&["CLIENT", "TRACKING", "ON", "NOLOOP"]).map(drop)
    }

    /// What the server has told so far, without being asked: lists, each of a word and what it is about. All that it knew when
    /// `PING` was carried out is there once that is answered.
    pub fn pushed(&mut self) -> Vec<Reply> {
        std::mem::take(&mut self.pushed)
    }

    fn reply(&mut self) -> Result<Reply, String> {
        let mut line = String::new();
        self.stream.read_line(&mut line).map_err(|error| error.to_string())?;
        let Some(line) = line.strip_suffix("\r\n") else { return Err("the server closed the connection".to_owned()) };
        let (kind, rest) = line.split_at(1);
        let number = || rest.parse::<i64>().map_err(|_| format!("no reply begins with {line:?}"));
        match kind {
            "+" => Ok(Reply::Text(rest.as_bytes().to_vec())),
            "-" => Err(rest.to_owned()),
            ":" => Ok(Reply::Number(number()?)),
            "_" => Ok(Reply::Nil),
            "$" | "*" if number()? < 0 => Ok(Reply::Nil),
            "$" => {
                let mut text = vec![0; number()? as usize + 2];
                self.stream.read_exact(&mut text).map_err(|error| error.to_string())?;
                text.truncate(text.len() - 2);
                Ok(Reply::Text(text))
            }
            "*" => self.replies(number()?).map(Reply::List),
            "%" => self.replies(2 * number()?).map(Reply::List),
            ">" => {
                let push = self.replies(number()?)?;
                self.pushed.push(Reply::List(push));
                self.reply()
            }
            _ => Err(format!("no reply begins with {line:?}")),
        }
    }

    fn replies(&mut self, count: i64) -> Result<Vec<Reply>, String> {
        (0..count).map(|_| self.reply()).collect()
    }
}

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Nothing there.
    Nil,
    /// A number.
    Number(i64),
    /// A status or a string of bytes.
    Text(Vec<u8>),
    /// Replies.
    List(Vec<Reply>),
}

impl Reply {
    /// The number that this is.
    pub fn number(&self) -> i64 {
        if let Self::Number(number) = self { *number } else { panic!("no number: {self:?}") }
    }

    /// The bytes that this is; none for a key that is not there.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Nil => None,
            Self::Text(bytes) => Some(bytes),
            _ => panic!("no bytes: {self:?}"),
        }
    }

    /// The text that this is.
    pub fn text(&self) -> &str {
        let bytes = self.bytes().expect("an answer that is there");
        std::str::from_utf8(bytes).unwrap_or_else(|_| panic!("no text: {bytes:?}"))
    }

    /// The replies that this is made of.
    pub fn list(&self) -> &[Reply] {
        if let Self::List(replies) = self { replies } else { panic!("no list: {self:?}") }
    }
}
