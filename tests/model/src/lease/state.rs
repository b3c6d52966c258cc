//! State: a world of the model of leases between two steps.
//!
//! Owns what can be told apart, and which token is like which. Must not know who does what when.

use std::fmt::{self, Display};

pub(super) const CALLERS: usize = 3;
pub(super) const FIRST: Key = Key::Value { token: 0, version: 0, age: Age::Fresh };

/// The whole world between two steps.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct State {
    /// The version of the source.
    pub(super) source: u8,
    /// The latest version whose invalidation returned.
    pub(super) promised: u8,
    /// The same, as process 0 knows it: what is only owed included.
    pub(super) own: u8,
    pub(super) key: Key,
    /// What a replica has, and what was promised by then.
    pub(super) replica: Option<(Key, u8)>,
    pub(super) failed_over: bool,
    pub(super) writer: Writer,
    /// Whether process 0 has something to say to Redis before it reads.
    pub(super) owed: bool,
    /// Whether it said something of late.
    pub(super) said: bool,
    pub(super) callers: [Caller; CALLERS],
    /// A command that was given up and may still arrive.
    pub(super) late: Option<Late>,
    pub(super) losses: u8,
    /// Who was served what, against the promise.
    pub(super) wrong: Option<(u8, u8)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Key {
    Absent,
    Placeholder(Token),
    Value { token: Token, version: u8, age: Age },
}

pub(super) type Token = u8;

/// Where a token is of no use.
pub(super) const ANY: Token = 63;
/// From here on they are those of processes that have one each, against the rule.
pub(super) const SHARED: Token = 40;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Age {
    Fresh,
    Stale,
    Dead,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Writer {
    pub(super) round: u8,
    pub(super) at: Writing,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Writing {
    Idle,
    Committed,
    Sending,
    /// A sweep that has passed the key, and whether it saw something there.
    Scanned(bool),
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Caller {
    pub(super) at: At,
    /// No older version will do.
    pub(super) owed: u8,
    /// Others of the process join its load.
    pub(super) leads: bool,
    /// … but from now on only to look up anew at its end.
    pub(super) closed: bool,
    /// It is to replace a value, not a placeholder.
    pub(super) refreshes: bool,
    /// Who led already when this one asked for something newer.
    pub(super) older: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) enum At {
    #[default]
    Idle,
    /// About to ask again, without a new promise.
    Again,
    /// A GET is on its way.
    Asking,
    /// Its answer is.
    Told(Key),
    /// Waits for the answer to another's GET.
    Peeking(u8),
    /// Waits for another's load.
    Joined {
        late: bool,
    },
    Claiming(Token),
    Claimed(Token, Key),
    Taking {
        seen: Token,
        token: Token,
    },
    Took(Option<Token>),
    /// Waits for another process's load.
    Waiting,
    Loading(Option<Token>),
    Loaded(Option<Token>, u8),
    Filling {
        hold: Token,
        new: Token,
        version: u8,
    },
    Filled {
        version: u8,
        stored: bool,
    },
    Hangs(Option<Token>),
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Late {
    Claim(Token),
    Take { seen: Token, token: Token },
    Fill { hold: Token, new: Token, version: u8 },
}

pub(super) const NAMES: [&str; CALLERS] = ["Ada", "Ben", "Cleo"];

impl State {
    pub(super) fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut state = self.clone();
        change(&mut state);
        state.canonical()
    }

    /// A token that nobody and nothing has.
    pub(super) fn fresh_token(&self) -> Token {
        let mut used = 1_u64 << ANY;
        self.clone().visit_tokens(&mut |token| used |= 1 << *token);
        used.trailing_ones() as Token
    }

    /// Numbers the tokens by where they are: which number one has says nothing but which others are the same.
    pub(super) fn canonical(mut self) -> Self {
        let mut names = [None; ANY as usize];
        let mut count = 0;
        self.visit_tokens(&mut |token| {
            if let Some(name) = names.get_mut(usize::from(*token)).filter(|_| *token < SHARED) {
                *token = *name.get_or_insert_with(|| {
                    count += 1;
                    count - 1
                });
            }
        });
        self
    }

    pub(super) fn visit_tokens(&mut self, visit: &mut impl FnMut(&mut Token)) {
        self.key.visit_token(visit);
        if let Some((replica, _)) = &mut self.replica {
            replica.visit_token(visit);
        }
        for caller in &mut self.callers {
            match &mut caller.at {
                At::Told(there) => there.visit_token(visit),
                At::Claimed(token, there) => {
                    visit(token);
                    there.visit_token(visit);
                }
                At::Taking { seen: one, token: other } | At::Filling { hold: one, new: other, .. } => {
                    visit(one);
                    visit(other);
                }
                At::Claiming(token)
                | At::Took(Some(token))
                | At::Loading(Some(token))
                | At::Loaded(Some(token), _)
                | At::Hangs(Some(token)) => visit(token),
                _ => {}
            }
        }
        match &mut self.late {
            Some(Late::Claim(token)) => visit(token),
            Some(Late::Take { seen: one, token: other } | Late::Fill { hold: one, new: other, .. }) => {
                visit(one);
                visit(other);
            }
            None => {}
        }
    }

    /// Whether somebody lives who keeps this lease from running out.
    pub(super) fn renews(&self, lease: Token) -> bool {
        self.callers.iter().any(|caller| match caller.at {
            At::Loading(hold) | At::Loaded(hold, _) | At::Hangs(hold) => hold == Some(lease),
            At::Claiming(token)
            | At::Claimed(token, _)
            | At::Filling { hold: token, .. }
            | At::Taking { token, .. } => token == lease,
            At::Took(token) => token == Some(lease),
            _ => false,
        })
    }

    /// Serves a caller, who has no part in anything afterwards.
    pub(super) fn serve(&mut self, index: usize, version: u8) {
        if version < self.callers[index].owed {
            self.wrong = Some((index as u8, version));
            return;
        }
        self.callers[index] = Caller { at: At::Done, ..Caller::default() };
    }

    pub(super) fn compare_and_set(&mut self, hold: Token, new: Key) -> bool {
        let there = match self.key {
            Key::Absent => None,
            Key::Placeholder(token) | Key::Value { token, .. } => Some(token),
        };
        if there == Some(hold) {
            self.key = new;
        }
        there == Some(hold)
    }
}

impl Key {
    pub(super) fn visit_token(&mut self, visit: &mut impl FnMut(&mut Token)) {
        if let Self::Placeholder(token) | Self::Value { token, .. } = self {
            visit(token);
        }
    }

    /// What a caller needs to know of it: the token of a value that it just serves is of no use, nor is that of another's lease.
    pub(super) fn as_read(self, forced: bool) -> Self {
        match self {
            Self::Placeholder(_) => Self::Placeholder(ANY),
            Self::Value { version, age: Age::Fresh, .. } if !forced => {
                Self::Value { token: ANY, version, age: Age::Fresh }
            }
            other => other,
        }
    }
}

impl Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, promised, own, key, .. } = self;
        write!(f, "source v{source}, promised v{promised}")?;
        if own != promised {
            write!(f, " (v{own} in process 0)")?;
        }
        match key {
            Key::Absent => write!(f, ", nothing in Redis"),
            Key::Placeholder(token) => write!(f, ", placeholder #{token}"),
            Key::Value { token, version, age } => write!(f, ", v{version} #{token} {age:?}"),
        }
    }
}
