//! Payload: the bytes of a value, and how to read them.

use bytes::Bytes;

use crate::envelope::Codec;

/// A value as bytes. Cloning it shares them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// How the bytes are to be read.
    pub codec: Codec,
    /// The bytes.
    pub bytes: Bytes,
}

impl Payload {
    /// JSON text.
    pub fn json(text: impl Into<Bytes>) -> Self {
        Self { codec: Codec::Json, bytes: text.into() }
    }

    /// Bytes that are the value.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self { codec: Codec::Bytes, bytes: bytes.into() }
    }
}
