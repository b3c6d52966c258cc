//! Inline: the bytes of a key, in the row itself where they are few.
//!
//! Most keys are short. Kept in the row they are compared without another look at memory, which is what a look-up waits for, and they
//! need no allocation. A longer key has one.

use alloc::boxed::Box;
use core::ops::Deref;

/// Bytes that are kept in place up to [`INLINE`] of them.
#[derive(Debug)]
pub(crate) enum Inline {
    Short(u8, [u8; INLINE]),
    Long(Box<[u8]>),
}

/// So many that it takes 24 bytes where a pointer takes 8.
const INLINE: usize = 22;

const _: () = assert!(size_of::<Inline>() == 24);

impl Inline {
    /// None: of a row that is no longer in use.
    pub(crate) const NONE: Self = Self::Short(0, [0; INLINE]);

    pub(crate) fn new(bytes: &[u8]) -> Self {
        let mut short = [0; INLINE];
        match short.get_mut(..bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                Self::Short(bytes.len() as u8, short)
            }
            None => Self::Long(bytes.into()),
        }
    }

    /// Whether it is these bytes. Short ones are compared in place, which takes less than to call what compares any number of them; not
    /// where code is to be small.
    #[inline(always)]
    pub(crate) fn is(&self, bytes: &[u8]) -> bool {
        let own = &**self;
        if own.len() != bytes.len() {
            return false;
        }
        // The first and the last so many are all of them: some of them twice.
        match own.len() {
            16..=24 if cfg!(not(target_family = "wasm")) => {
                own.first_chunk::<16>() == bytes.first_chunk() && own.last_chunk::<8>() == bytes.last_chunk()
            }
            8..16 if cfg!(not(target_family = "wasm")) => {
                own.first_chunk::<8>() == bytes.first_chunk() && own.last_chunk::<8>() == bytes.last_chunk()
            }
            _ => own == bytes,
        }
    }

    /// What bytes of this length take besides their place.
    pub(crate) const fn weight(len: usize) -> u64 {
        if len > INLINE { len as u64 + ALLOCATION } else { 0 }
    }
}

impl Deref for Inline {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Short(len, bytes) => &bytes[..usize::from(*len)],
            Self::Long(bytes) => bytes,
        }
    }
}

/// What an allocation costs besides what is asked for, about.
const ALLOCATION: u64 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_any_length_come_back_and_short_ones_weigh_nothing() {
        let all: Vec<u8> = (0..=255).collect();
        for len in 0..all.len() {
            let kept = Inline::new(&all[..len]);
            assert_eq!(&*kept, &all[..len]);
            assert!(kept.is(&all[..len]));
            for other in 0..len {
                let mut differs = all[..len].to_vec();
                differs[other] ^= 1;
                assert!(!kept.is(&differs), "of {len} bytes the one at {other} differs");
                assert!(!kept.is(&all[..other]), "{other} are not {len}");
            }
            assert_eq!(
                Inline::weight(len),
                if matches!(kept, Inline::Short(..)) { 0 } else { len as u64 + ALLOCATION }
            );
        }
    }
}
