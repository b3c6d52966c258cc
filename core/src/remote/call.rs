//! Call: one command for Redis and what it answers, as data: whoever has a connection puts it on the wire.

use alloc::borrow::Cow;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::{IntoIter, Vec};
use core::time::Duration;

use crate::fault::Fault;
use crate::remote::script::Script;

/// One argument of a command.
pub type Arg = Cow<'static, [u8]>;

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// A command by its name, with its arguments.
    Plain(Vec<Arg>),
    /// A script; its keys come first, its arguments follow.
    Run(&'static Script, Vec<Arg>),
}

impl Call {
    /// The key that it is about, as it is called in Redis; none where it is about none. Who calls with several asks for them one by
    /// one where they need not be together.
    pub fn name(&self) -> Option<&[u8]> {
        match self {
            Self::Plain(args) => {
                let [command, name, ..] = &args[..] else { return None };
                let of_none = matches!(&**command, b"PUBLISH" | b"SCAN" | b"CLUSTER");
                (!of_none).then_some(name)
            }
            Self::Run(_, args) => args.first().map(AsRef::as_ref),
        }
    }

    /// The keys that it reads, of which it may be about several; or else the one that it is about.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        let more = self.other_names().unwrap_or_default();
        self.name().into_iter().chain(more.iter().map(AsRef::as_ref))
    }

    /// The same in two steps, for when no node has all of its keys, since their slot is on the move: the last of them, and then each of
    /// the others on its own. None where it reads one alone.
    pub fn apart(&self) -> Option<(Self, Vec<Self>)> {
        let (last, others) = self.other_names()?.split_last()?;
        let first = self.name().into_iter().chain(others.iter().map(AsRef::as_ref));
        Some((Self::plain("MGET", last), first.map(|name| Self::plain("MGET", name)).collect()))
    }

    /// Behind the first.
    fn other_names(&self) -> Option<&[Arg]> {
        let Self::Plain(args) = self else { return None };
        args.get(2..).filter(|_| *args[0] == *b"MGET")
    }

    /// Whether it changes nothing.
    pub fn only_reads(&self) -> bool {
        matches!(self, Self::Plain(args) if matches!(args.first().map(AsRef::as_ref), Some(b"GET" | b"MGET" | b"GETRANGE" | b"HMGET" | b"PTTL")))
    }

    pub(crate) fn plain(command: &'static str, name: &[u8]) -> Self {
        Self::Plain(vec![command.as_bytes().into(), name.to_vec().into()])
    }

    pub(crate) fn run(script: &'static Script, name: &[u8]) -> Self {
        Self::Run(script, vec![name.to_vec().into()])
    }

    /// With one more argument.
    pub(crate) fn with(mut self, arg: impl Into<Arg>) -> Self {
        match &mut self {
            Self::Plain(args) | Self::Run(_, args) => args.push(arg.into()),
        }
        self
    }

    /// With a word of Redis's own.
    pub(crate) fn word(self, word: &'static str) -> Self {
        self.with(word.as_bytes())
    }

    /// With a number in digits.
    pub(crate) fn number(self, number: u64) -> Self {
        self.with(number.to_string().into_bytes())
    }

    /// With so many milliseconds.
    pub(crate) fn millis(self, span: Duration) -> Self {
        self.number(span.as_millis() as u64)
    }
}

/// What one command answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Nothing is there.
    Nil,
    /// A whole number.
    Int(i64),
    /// The bytes of a string.
    Bytes(Vec<u8>),
    /// Several answers.
    List(Vec<Reply>),
    /// The command failed; others of the same pipeline need not have.
    Error(Fault),
}

impl Reply {
    /// What a call would have answered that was sent [apart](Call::apart), the last of its keys first; or the first error.
    pub fn put_together(last: Self, others: Vec<Self>) -> Self {
        let mut found = Vec::with_capacity(others.len() + 1);
        for reply in others.into_iter().chain([last]) {
            match reply {
                Self::List(one) => found.extend(one),
                Self::Error(fault) => return Self::Error(fault),
                _ => return Self::Error(Fault::Protocol),
            }
        }
        Self::List(found)
    }

    /// The bytes of a string, or none where there is nothing.
    pub(crate) fn into_bytes(self) -> Result<Option<Vec<u8>>, Fault> {
        match self {
            Self::Nil => Ok(None),
            Self::Bytes(bytes) => Ok(Some(bytes)),
            Self::Error(fault) => Err(fault),
            Self::Int(_) | Self::List(_) => Err(Fault::Protocol),
        }
    }

    /// The bytes of a string, without taking them; none where there is nothing, or something else.
    pub(crate) fn as_bytes(&self) -> Option<&[u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    pub(crate) fn into_int(self) -> Result<i64, Fault> {
        match self {
            Self::Int(number) => Ok(number),
            Self::Error(fault) => Err(fault),
            _ => Err(Fault::Protocol),
        }
    }

    pub(crate) fn into_list(self) -> Result<Vec<Reply>, Fault> {
        match self {
            Self::List(list) => Ok(list),
            Self::Error(fault) => Err(fault),
            _ => Err(Fault::Protocol),
        }
    }

    /// Whether a `SET` with a condition was carried out.
    pub(crate) fn into_done(self) -> Result<bool, Fault> {
        match self {
            Self::Nil => Ok(false),
            Self::Error(fault) => Err(fault),
            _ => Ok(true),
        }
    }
}

/// The answers to a pipeline, taken one by one.
#[derive(Debug)]
pub(crate) struct Replies(IntoIter<Reply>);

impl Replies {
    pub(crate) fn new(replies: Vec<Reply>) -> Self {
        Self(replies.into_iter())
    }

    pub(crate) fn take(&mut self) -> Result<Reply, Fault> {
        self.0.next().ok_or(Fault::Protocol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reads_several_keys_can_be_asked_apart_the_last_first_and_put_together_again() {
        let read = |names: &[&'static str]| {
            names.iter().fold(Call::Plain(vec![b"MGET"[..].into()]), |call, name| call.word(name))
        };
        let call = read(&["a", "b", "list"]);
        assert_eq!(call.names().collect::<Vec<_>>(), [&b"a"[..], b"b", b"list"]);
        assert_eq!(call.apart(), Some((read(&["list"]), vec![read(&["a"]), read(&["b"])])));
        let one = |text: &str| Reply::List(vec![Reply::Bytes(text.into())]);
        let [a, b, list] = ["a", "b", "list"].map(|text| Reply::Bytes(text.into()));
        assert_eq!(Reply::put_together(one("list"), vec![one("a"), one("b")]), Reply::List(vec![a, b, list]));
        let failed = Reply::Error(Fault::TimedOut);
        assert_eq!(Reply::put_together(one("list"), vec![one("a"), failed.clone()]), failed);
        assert_eq!(Reply::put_together(failed.clone(), vec![one("a")]), failed);

        for call in [read(&["a"]), Call::plain("SET", b"a").word("1").word("NX"), Call::Plain(vec![b"PING"[..].into()])]
        {
            assert_eq!((call.apart(), call.names().next()), (None, call.name()));
            assert!(call.names().nth(1).is_none());
        }
    }
}
