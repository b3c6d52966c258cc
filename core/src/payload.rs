//! Payload: the bytes of a value, or of how a load failed, and how to read them.

use bytes::Bytes;

use crate::envelope::{Codec, Content};

/// A value as bytes. Cloning it shares them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// How the bytes are to be read.
    pub codec: Codec,
    /// The bytes.
    pub bytes: Bytes,
    /// Of the type that the value was made from, where whoever stored it said: a reader of that very type need not check it.
    pub fingerprint: Option<u64>,
    /// Whether it says how a load failed, and is no value.
    pub is_failure: bool,
}

impl Payload {
    /// JSON text.
    pub fn json(text: impl Into<Bytes>) -> Self {
        Self { codec: Codec::Json, bytes: text.into(), fingerprint: None, is_failure: false }
    }

    /// Bytes that are the value.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self { codec: Codec::Bytes, bytes: bytes.into(), fingerprint: None, is_failure: false }
    }

    /// The same, made from the type of this fingerprint.
    pub fn of_type(self, fingerprint: Option<u64>) -> Self {
        Self { fingerprint, ..self }
    }

    /// The same, saying how a load failed.
    pub fn of_failure(self) -> Self {
        Self { is_failure: true, ..self }
    }

    /// What an entry holds that has it.
    pub(crate) fn content(&self) -> Content<'_> {
        let (codec, payload) = (self.codec, &*self.bytes);
        if self.is_failure { Content::Failure { codec, payload } } else { Content::Value { codec, payload } }
    }
}
