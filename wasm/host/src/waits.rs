//! Waits: who in the host waits for something to end.
//!
//! The host has a promise for each, by a number. When the core wakes one, its number is kept until the host asks which were woken:
//! a register says how many they are, and the host looks at it after every call that can end something.

use alloc::sync::Arc;
use alloc::task::Wake;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use donjon_core::flight::{Ending, Joined};

use crate::bridge::{WOKEN, cross, register};
use crate::kept::Kept;

static LIST: Kept<RefCell<Vec<u32>>> = Kept::new(RefCell::new(Vec::new()));

struct Bell(u32);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        LIST.with_borrow_mut(|list| {
            list.push(self.0);
            register(WOKEN, list.len() as f64);
        });
    }
}

/// What wakes the host's wait of this number.
pub fn bell(wait: u32) -> Waker {
    Arc::new(Bell(wait)).into()
}

/// Whether what the host's wait of this number waits for has ended; if not, it is woken then.
pub fn poll<V: Clone, E: Clone>(joined: &mut Joined<V, E>, wait: u32) -> Poll<Ending<V, E>> {
    Pin::new(joined).poll(&mut Context::from_waker(&bell(wait)))
}

/// The waits that were woken since this was last called, into the output.
#[unsafe(no_mangle)]
pub extern "C" fn take_woken() -> i32 {
    cross(|_, output| {
        LIST.take().into_iter().for_each(|wait| output.count(wait as usize));
        register(WOKEN, 0.0);
        Ok(0)
    })
}
