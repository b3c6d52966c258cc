//! Redirect: what a node answers that does not have a key, or not all of it yet.
//!
//! Invariant: whatever is redirected was not carried out, so that it may be sent again, be it what must not be done twice.

use alloc::vec::Vec;

use crate::fault::{Class, Fault};
use crate::remote::call::{Call, Reply};

use super::{Place, Slot};

/// Where a call is to be sent instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redirect {
    /// There, and all that is of this slot from now on.
    Moved(Slot, Place),
    /// There, this once, with `ASKING` before it: the slot is on its way, and this key has gone already.
    Ask(Place),
    /// To the same node, in a moment: a part of the keys is here and a part is there.
    Later,
}

impl Redirect {
    /// What an error of the node at `asked` means; none where it is no redirection.
    pub fn of(fault: &Fault, asked: &Place) -> Option<Self> {
        let Fault::Server { code, class: Class::Reroute | Class::Retry, detail, .. } = fault else { return None };
        let (slot, place) = detail.split_once(' ').unwrap_or_default();
        match &**code {
            "TRYAGAIN" => Some(Self::Later),
            "MOVED" => {
                let slot = slot.parse().ok().and_then(Slot::new)?;
                Some(Self::Moved(slot, Place::read(place, asked)?))
            }
            "ASK" => Some(Self::Ask(Place::read(place, asked)?)),
            _ => None,
        }
    }
}

/// Which calls are to be sent again, and where: those that were redirected, and what was read of the same name behind them, as it
/// was read before they were carried out.
pub fn to_repeat(calls: &[Call], replies: &[Reply], asked: &Place) -> Vec<(usize, Redirect)> {
    let mut again: Vec<(usize, Redirect)> = Vec::new();
    for (at, (call, reply)) in calls.iter().zip(replies).enumerate() {
        let redirect = match reply {
            Reply::Error(fault) => Redirect::of(fault, asked),
            _ => None,
        };
        let follows = || {
            let before = again.iter().find(|(before, _)| calls[*before].name() == call.name());
            before.filter(|_| call.only_reads()).map(|(_, redirect)| redirect.clone())
        };
        if let Some(redirect) = redirect.or_else(follows) {
            again.push((at, redirect));
        }
    }
    again
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Place {
        Place::new("h", 1)
    }

    fn error(code: &str, detail: &str) -> Reply {
        Reply::Error(Fault::server(code, detail))
    }

    #[test]
    fn a_redirection_says_where_to_go() {
        let moved = |detail| Redirect::of(&Fault::server("MOVED", detail), &asked());
        let to = |host, port| Some(Redirect::Moved(Slot(3_999), Place::new(host, port)));
        assert_eq!(moved("3999 127.0.0.1:6381"), to("127.0.0.1", 6_381));
        assert_eq!(moved("3999 ::1:6381"), to("::1", 6_381));
        assert_eq!(moved("3999 :6381"), to("h", 6_381));
        assert_eq!(moved("3999 ?:6381"), to("h", 6_381));
        for odd in ["", "3999", "16384 a:1", "x a:1", "1 a", "1 a:0", "1 a:99999"] {
            assert_eq!(moved(odd), None, "{odd}");
        }
        let of = |code, detail| Redirect::of(&Fault::server(code, detail), &asked());
        assert_eq!(of("ASK", "1 b:2"), Some(Redirect::Ask(Place::new("b", 2))));
        assert_eq!(of("TRYAGAIN", "Multiple keys request during rehashing of slot"), Some(Redirect::Later));
        assert_eq!(of("CLUSTERDOWN", "Hash slot not served"), None);
        assert_eq!(Redirect::of(&Fault::Lost, &asked()), None);
    }

    #[test]
    fn what_was_read_behind_a_call_that_has_to_go_elsewhere_is_read_again() {
        let calls = [
            Call::plain("SET", b"k").word("NX"),
            Call::plain("GET", b"k"),
            Call::plain("GET", b"other"),
            Call::plain("UNLINK", b"k"),
        ];
        let ask = error("ASK", "1 b:2");
        let again = to_repeat(&calls, &[ask, Reply::Nil, Reply::Nil, Reply::Int(0)], &asked());
        assert_eq!(again.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 1], "and what writes is not done twice");
        assert!(to_repeat(&calls, &[Reply::Nil, Reply::Nil, error("OOM", ""), Reply::Nil], &asked()).is_empty());
    }
}
