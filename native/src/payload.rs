//! Payload: the bytes of a value, and how to read them.
//!
//! What every backend keeps and hands out. Must not know what type a value has, or where it is kept.

use bytes::Bytes;
use donjon_core::envelope::Codec;

/// The bytes of a value, and how to read them. Clones share the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// How to read the bytes.
    pub codec: Codec,
    /// The bytes, without anything around them.
    pub bytes: Bytes,
}
