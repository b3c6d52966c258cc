//! Value: how a Rust value becomes a payload, and a payload a value.
//!
//! Owns the choice of the codec: JSON for whatever serde serializes, the bytes themselves for [`Raw`]. Must not know where a
//! payload is kept. Invariant: no error shows any part of a value.

mod exact;

use std::fmt;
use std::ops::Deref;

use bytes::Bytes;
use donjon_core::envelope::Codec;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::payload::Payload;
use exact::Exact;

/// What can be stored: everything that serde serializes, as JSON, and [`Raw`] bytes. What JSON cannot say, such as NaN, is
/// refused.
///
/// Implement it for a type that has bytes of its own, such as a message of protobuf, with [`Codec::Bytes`].
pub trait Encode {
    /// The bytes to store.
    ///
    /// # Errors
    ///
    /// [`Uncodable`] where there are none.
    fn encode(&self) -> Result<Payload, Uncodable>;
}

/// What can be read: everything that serde deserializes, from JSON, and [`Raw`] bytes.
pub trait Decode: Sized {
    /// The value that was stored.
    ///
    /// # Errors
    ///
    /// [`Uncodable`] where the bytes are those of another type. To the cache that is a miss.
    fn decode(payload: &Payload) -> Result<Self, Uncodable>;
}

/// Why a value has no bytes, or bytes are no value. Shows nothing of either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uncodable(Box<str>);

impl Uncodable {
    /// For this reason.
    pub fn new(why: impl Into<Box<str>>) -> Self {
        Self(why.into())
    }
}

impl fmt::Display for Uncodable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Uncodable {}

/// Bytes to be kept as they are, without JSON around them. Clones share them.
///
/// # Examples
///
/// ```
/// use donjon::{Cache, Raw};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), donjon::Error> {
/// let cache = Cache::memory().build()?;
/// cache.set("thumbnail:5", &Raw::from(&b"\x89PNG"[..])).await?;
/// let thumbnail: Option<Raw> = cache.get("thumbnail:5").await?;
/// assert_eq!(thumbnail.as_deref(), Some(&b"\x89PNG"[..]));
/// assert_eq!(cache.get::<String>("thumbnail:5").await?, None, "bytes are no JSON");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Raw(pub Bytes);

impl Deref for Raw {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Bytes> for Raw {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl From<Vec<u8>> for Raw {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<&[u8]> for Raw {
    fn from(bytes: &[u8]) -> Self {
        Self(Bytes::copy_from_slice(bytes))
    }
}

impl Encode for Raw {
    fn encode(&self) -> Result<Payload, Uncodable> {
        Ok(Payload::bytes(self.0.clone()))
    }
}

impl Decode for Raw {
    fn decode(payload: &Payload) -> Result<Self, Uncodable> {
        match payload.codec {
            Codec::Bytes => Ok(Self(payload.bytes.clone())),
            Codec::Json => Err(Uncodable::new("it is JSON, not raw bytes")),
        }
    }
}

impl<T: Serialize + ?Sized> Encode for T {
    fn encode(&self) -> Result<Payload, Uncodable> {
        let json = serde_json::to_vec(&Exact(self)).map_err(|error| Uncodable::new(error.to_string()))?;
        // To the byte: what is kept may be kept for long.
        Ok(Payload::json(json.into_boxed_slice()))
    }
}

impl<T: DeserializeOwned> Decode for T {
    fn decode(payload: &Payload) -> Result<Self, Uncodable> {
        match payload.codec {
            Codec::Json => serde_json::from_slice(&payload.bytes).map_err(|error| {
                // What serde says of data shows the data.
                let what = if error.is_data() { "JSON of another shape" } else { "no JSON" };
                Uncodable::new(format!("{what}, at line {} column {}", error.line(), error.column()))
            }),
            Codec::Bytes => Err(Uncodable::new("it is raw bytes, not JSON")),
        }
    }
}
