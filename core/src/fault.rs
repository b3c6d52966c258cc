//! Fault: what can go wrong between a command and its reply, and what follows from it.
//!
//! Owns the kinds of faults, the classes of error replies, and the texts shown for both. Must not know how a connection is
//! made or what a command was for.
//! Invariants: a fault can be shown to anybody. What a server wrote is cut to [`MAX_DETAIL_BYTES`] on one line; what it
//! repeats of a command's arguments, or says of a login, is left out, as a password may be among it.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

use crate::shown::Plain;

/// As many bytes of a server's own words as a fault keeps.
pub const MAX_DETAIL_BYTES: usize = 200;

/// Why a command has no result.
///
/// # Examples
///
/// ```
/// use donjon_core::fault::{Class, Fault};
///
/// let fault = Fault::server("NOPERM", "User app has no permissions to run the 'unlink' command");
/// assert!(matches!(fault, Fault::Server { class: Class::Config, .. }));
/// assert!(!fault.may_have_been_done());
/// assert_eq!(
///     fault.to_string(),
///     "redis answered NOPERM: User app has no permissions to run the 'unlink' command; \
///      give this user the rights listed in docs/redis.md"
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// No connection could be made; nothing was sent.
    #[error("no connection to redis; check that it runs and that the URL names its host and port")]
    Unreachable,
    /// The certificate that the server showed is not one to be believed; nothing was sent.
    #[error(
        "the certificate of redis is not trusted; give the authority that signed it, and the name it was signed for"
    )]
    Untrusted,
    /// There was no progress within the time allowed.
    #[error("redis did not answer in time; if it is merely far away or busy, allow it more time")]
    TimedOut,
    /// The connection broke before the reply came.
    #[error("the connection to redis broke before it answered; the next call makes a new one")]
    Lost,
    /// Nothing was tried, because the last attempts failed.
    #[error("redis failed too often just now, so it is left alone for a moment; see what the calls before said")]
    Open,
    /// The server answered with an error. Made by [`Fault::server`] alone.
    #[error("redis answered {}{}; {}", Plain(code), Shown(detail), Plain(remedy(code, *class, detail)))]
    #[non_exhaustive]
    Server {
        /// The first word of the reply, such as `NOPERM`.
        code: Box<str>,
        /// What follows from it.
        class: Class,
        /// The rest of the reply, safe to show; may be empty.
        detail: Box<str>,
    },
    /// What came was no reply to what had been asked. The connection is given up.
    #[error("what came from redis is no reply to what was asked; check that the URL leads to redis and nothing else")]
    Protocol,
}

impl Fault {
    /// An error reply: its first word, without the `-`, and what follows.
    pub fn server(code: &str, detail: &str) -> Self {
        let is_word =
            !code.is_empty() && code.len() <= MAX_CODE_BYTES && code.bytes().all(|b| b.is_ascii_alphanumeric());
        Self::Server {
            code: if is_word { code } else { "ERR" }.into(),
            class: Class::of(code, detail),
            detail: shown_of(code, detail),
        }
    }

    /// Whether the command may have taken effect all the same. Then only what does no harm twice may be sent again.
    ///
    /// An error reply to one command means that it did nothing. A script that wrote before it failed has written.
    pub const fn may_have_been_done(&self) -> bool {
        matches!(self, Self::TimedOut | Self::Lost | Self::Protocol)
    }

    /// How heavily this speaks against the server: 0 where it could answer, 1 where it could not, 2 where it also took
    /// the caller's time.
    pub const fn weight(&self) -> u32 {
        match self {
            Self::TimedOut => 2,
            Self::Unreachable
            | Self::Untrusted
            | Self::Lost
            | Self::Protocol
            | Self::Server { class: Class::Down, .. } => 1,
            Self::Open | Self::Server { .. } => 0,
        }
    }

    /// What follows from an error reply; `None` where there was no reply.
    pub const fn class(&self) -> Option<Class> {
        match self {
            Self::Server { class, .. } => Some(*class),
            _ => None,
        }
    }
}

/// What follows from an error reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Class {
    /// The same command may work in a moment (`TRYAGAIN`).
    Retry,
    /// Another server is to be asked (`MOVED`, `ASK`, `REDIRECT`).
    Reroute,
    /// The server cannot serve now (`LOADING`, `CLUSTERDOWN`, `MASTERDOWN`, `BUSY`), or refuses every write, deletions too
    /// (`MISCONF`, `NOREPLICAS`).
    Down,
    /// The server is a replica, perhaps since a moment ago (`READONLY`): look for the primary by a new connection.
    ReadOnly,
    /// The memory is full (`OOM`): a `SET` is refused, `UNLINK` works.
    Full,
    /// Nothing will work before somebody changes a setting: credentials, rights, a command that is not there.
    Config,
    /// The script has to be sent in full (`NOSCRIPT`).
    NoScript,
    /// The key holds a list, a hash or the like, made by somebody else (`WRONGTYPE`).
    WrongType,
    /// Anything else.
    Other,
}

impl Class {
    /// The class of an error reply with `code` as its first word, and `detail` behind it.
    pub fn of(code: &str, detail: &str) -> Self {
        if code != "ERR" {
            return Self::of_code(code).unwrap_or(Self::Other);
        }
        let lower = detail.to_ascii_lowercase();
        if lower.starts_with("error running script") {
            // Before version 7 the code of what went wrong within a script stood somewhere behind.
            let words = detail.split_ascii_whitespace().map(|word| word.trim_start_matches('-'));
            return words.skip(1).find_map(Self::of_code).unwrap_or(Self::Other);
        }
        let has = |parts: &[&str]| parts.iter().any(|part| find(&lower, part).is_some());
        if has(&["max number of clients"]) {
            Self::Down
        } else if has(CONFIG_TEXTS) || about_login(&lower) {
            Self::Config
        } else {
            Self::Other
        }
    }

    fn of_code(code: &str) -> Option<Self> {
        Some(match code {
            "TRYAGAIN" => Self::Retry,
            "MOVED" | "ASK" | "REDIRECT" => Self::Reroute,
            "LOADING" | "CLUSTERDOWN" | "MASTERDOWN" | "BUSY" | "MISCONF" | "NOREPLICAS" => Self::Down,
            "READONLY" => Self::ReadOnly,
            "OOM" => Self::Full,
            "NOAUTH" | "WRONGPASS" | "NOPERM" | "DENIED" | "NOPROTO" => Self::Config,
            "NOSCRIPT" => Self::NoScript,
            "WRONGTYPE" => Self::WrongType,
            _ => return None,
        })
    }
}

/// What stands in lower case in an `ERR` that only a change of settings can cure.
const CONFIG_TEXTS: &[&str] = &[
    "unknown command",
    "unknown subcommand",
    "user executing the script can't run",
    "db index",
    "select is not allowed",
    "not allowed for your account",
    "cluster support disabled",
    "no such master",
];

/// A code is one word; a longer one is somebody's joke.
const MAX_CODE_BYTES: usize = 32;

/// Whether `lower` speaks of a login, so that it may repeat a user's name and password.
fn about_login(lower: &str) -> bool {
    let mut words = lower.split(|letter: char| !letter.is_ascii_alphanumeric());
    words.any(|word| matches!(word, "auth" | "hello" | "password" | "passwords"))
}

/// Where `part` begins in `text`. The standard library's search is quick in long texts, and as long itself as all else here.
fn find(text: &str, part: &str) -> Option<usize> {
    text.as_bytes().windows(part.len()).position(|window| window == part.as_bytes())
}

/// What may be shown of a reply.
fn shown_of(code: &str, detail: &str) -> Box<str> {
    let lower = detail.to_ascii_lowercase();
    if find(&lower, "without any password").or_else(|| find(&lower, "no password is set")).is_some() {
        return "there is no password set on this server".into();
    }
    if matches!(code, "NOAUTH" | "WRONGPASS") || about_login(&lower) {
        return "".into();
    }
    // An unknown command is repeated with its arguments. Lower case in ASCII has the same length.
    let told = find(&lower, "with args").map_or(detail, |end| &detail[..end]).trim_end_matches([' ', ',']);
    let mut shown = String::new();
    for letter in told.chars().map(|letter| if letter.is_control() { ' ' } else { letter }) {
        if shown.len() + letter.len_utf8() > MAX_DETAIL_BYTES {
            break;
        }
        shown.push(letter);
    }
    shown.into()
}

/// What the reader can do about it.
fn remedy(code: &str, class: Class, detail: &str) -> &'static str {
    match (code, class) {
        ("NOAUTH" | "WRONGPASS", _) => "check the user and the password in the URL",
        ("NOPERM", _) => "give this user the rights listed in docs/redis.md",
        ("DENIED", _) => "the server lets nobody in from outside: give it a password, or bind it to an address",
        ("MISCONF", _) => "it cannot save to its disk and refuses writes: see the server's log",
        ("ERR", Class::Config) if find(detail, "cluster support disabled").is_some() => {
            "this server is in no cluster: a URL that begins with `redis://` is for one server"
        }
        ("ERR", Class::Config) if find(detail, "No such master").is_some() => {
            "the sentinels know no primary of this name: see what stands behind the host in the URL"
        }
        ("NOREPLICAS", _) => "it refuses writes until enough replicas are there",
        (_, Class::Config) => "check the URL, the user's rights and the server's version against docs/redis.md",
        (_, Class::Retry) => "slots are on the move: try again",
        ("REDIRECT", _) => "this server is no primary any more: let the URL lead to the one that is",
        ("CROSSSLOT", _) | (_, Class::Reroute) => {
            "this is a cluster: say so by a URL that begins with `redis+cluster://`"
        }
        (_, Class::Down) => "it cannot serve now: try again in a while",
        (_, Class::ReadOnly) => "this is a replica: let the URL lead to the primary",
        (_, Class::Full) => "its memory is full: raise maxmemory, or set maxmemory-policy to allkeys-lru",
        (_, Class::NoScript) => "send the script in full",
        (_, Class::WrongType) => {
            "something else than this cache has written the key: give the cache a namespace of its own"
        }
        (_, Class::Other) => "see the server's log",
    }
}

struct Shown<'a>(&'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(out, ": {}", Plain(self.0)) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_reply_that_servers_give_has_its_class() {
        let replies = [
            (Class::Retry, "TRYAGAIN Multiple keys request during rehashing of slot"),
            (Class::Reroute, "MOVED 3999 127.0.0.1:6381"),
            (Class::Reroute, "ASK 3999 127.0.0.1:6381"),
            (Class::Down, "LOADING Redis is loading the dataset in memory"),
            (Class::Down, "CLUSTERDOWN Hash slot not served"),
            (Class::Down, "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."),
            (Class::Down, "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."),
            (Class::Down, "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist"),
            (Class::Down, "NOREPLICAS Not enough good replicas to write."),
            (Class::Down, "ERR max number of clients reached"),
            (Class::ReadOnly, "READONLY You can't write against a read only replica."),
            (Class::ReadOnly, "ERR Error running script (call to f_1): @user_script:1: -READONLY You can't write"),
            (Class::Full, "OOM command not allowed when used memory > 'maxmemory'."),
            (Class::Full, "ERR Error running script (call to f_1): @user_script:2: -OOM command not allowed"),
            (Class::Config, "NOAUTH Authentication required."),
            (Class::Config, "WRONGPASS invalid username-password pair or user is disabled."),
            (Class::Config, "NOPERM User app has no permissions to access the 'ns:a' key"),
            (Class::Config, "NOPERM this user has no permissions to run the 'set' command or its subcommand"),
            (Class::Config, "DENIED Redis is running in protected mode because protected mode is enabled"),
            (Class::Config, "ERR unknown command 'UNLINK', with args beginning with: 'ns:a' "),
            (Class::Config, "ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `app`, `pass`, "),
            (Class::Config, "ERR AUTH <password> called without any password configured for the default user."),
            (Class::Config, "ERR Client sent AUTH, but no password is set"),
            (Class::Config, "ERR invalid password"),
            (Class::Config, "ERR This instance has cluster support disabled"),
            (Class::Config, "ERR No such master with that name"),
            (Class::Config, "ERR DB index is out of range"),
            (Class::Config, "ERR The user executing the script can't run this command or subcommand"),
            (Class::NoScript, "NOSCRIPT No matching script. Please use EVAL."),
            (Class::WrongType, "WRONGTYPE Operation against a key holding the wrong kind of value"),
            (Class::WrongType, "ERR Error running script (call to f_1): @user_script:1: WRONGTYPE Operation against"),
            (Class::Other, "ERR syntax error"),
            (Class::Other, "ERR value is not an integer or out of range"),
            (Class::Other, "ERR Error running script (call to f_1): @user_script:1: attempt to index a nil value"),
            (Class::Other, "CROSSSLOT Keys in request don't hash to the same slot"),
        ];
        for (class, reply) in replies {
            let (code, detail) = reply.split_once(' ').expect("each has a code");
            assert_eq!(Fault::server(code, detail).class(), Some(class), "{reply}");
        }
    }

    #[test]
    fn a_command_that_may_have_been_done_is_told_from_one_that_was_not() {
        for fault in [Fault::TimedOut, Fault::Lost, Fault::Protocol] {
            assert!(fault.may_have_been_done(), "{fault}");
        }
        for fault in [Fault::Unreachable, Fault::Open, Fault::server("OOM", "command not allowed")] {
            assert!(!fault.may_have_been_done(), "{fault}");
        }
    }

    #[test]
    fn only_a_server_that_cannot_serve_is_counted_against_and_one_that_takes_time_twice() {
        let weights = |faults: &[Fault]| faults.iter().map(Fault::weight).collect::<Vec<_>>();
        assert_eq!(weights(&[Fault::Unreachable, Fault::Lost, Fault::Protocol, Fault::server("LOADING", "")]), [1; 4]);
        assert_eq!(Fault::TimedOut.weight(), 2);
        assert_eq!(weights(&[Fault::Open, Fault::server("NOPERM", ""), Fault::server("OOM", "")]), [0; 3]);
    }

    #[test]
    fn what_a_login_said_is_not_shown_in_any_wording() {
        for (code, detail) in [
            ("ERR", "unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `app`, `hunter2`, "),
            ("ERR", "unknown command 'auth' hunter2"),
            ("ERR", "unknown command 'SETNAME', With Args beginning with: 'hunter2'"),
            ("ERR", "Syntax error in HELLO option 'hunter2'"),
            ("ERR", "AUTH <hunter2> called without any password configured for the default user."),
            ("WRONGPASS", "hunter2 is wrong"),
            ("NOAUTH", "hunter2"),
            ("hunter2 is no code", "so what"),
        ] {
            let fault = Fault::server(code, detail);
            assert!(!format!("{fault} {fault:?}").contains("hunter2"), "{fault:?}");
        }
    }

    #[test]
    fn a_text_says_what_to_do() {
        for (code, detail, text) in [
            ("WRONGPASS", "invalid", "redis answered WRONGPASS; check the user and the password in the URL"),
            (
                "READONLY",
                "You can't",
                "redis answered READONLY: You can't; this is a replica: let the URL lead to the primary",
            ),
            ("ERR", "forged\r\nline", "redis answered ERR: forged  line; see the server's log"),
        ] {
            assert_eq!(Fault::server(code, detail).to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn whatever_a_server_says_is_kept_short_and_on_one_line(
            code in ".{0,40}|[A-Z]{1,40}", said in any::<String>(), times in 0..200_usize, args in any::<bool>(),
        ) {
            let detail = format!("{}{}", said.repeat(times), if args { "WITH ARGS x" } else { "" });
            let Fault::Server { code, detail, .. } = Fault::server(&code, &detail) else { unreachable!() };
            prop_assert!(detail.len() <= MAX_DETAIL_BYTES && code.len() <= MAX_CODE_BYTES);
            prop_assert!(!detail.contains(char::is_control));
        }
    }
}
