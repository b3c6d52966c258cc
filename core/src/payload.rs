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
    /// Of the type that the value was made from, where whoever stored it said: a reader of that very type need not check it.
    pub fingerprint: Option<u64>,
}

impl Payload {
    /// JSON text.
    pub fn json(text: impl Into<Bytes>) -> Self {
        Self { codec: Codec::Json, bytes: text.into(), fingerprint: None }
    }

    /// Bytes that are the value.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self { codec: Codec::Bytes, bytes: bytes.into(), fingerprint: None }
    }

    /// The same, made from the type of this fingerprint.
    pub fn of_type(self, fingerprint: Option<u64>) -> Self {
        Self { fingerprint, ..self }
    }
}
