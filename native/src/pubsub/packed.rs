//! Packed: how a value travels as a message.
//!
//! JSON travels as it is, so that others can publish and listen too. Bytes have a zero before them, with which no JSON begins.

use bytes::Bytes;
use donjon_core::envelope::Codec;
use donjon_core::payload::Payload;

/// The message that says `payload`.
pub fn pack(payload: &Payload) -> Vec<u8> {
    match payload.codec {
        Codec::Json => payload.bytes.to_vec(),
        Codec::Bytes => [&[RAW], &*payload.bytes].concat(),
    }
}

/// What a message says. Anybody may have sent it: whether it is JSON remains to be seen.
pub fn unpack(message: Vec<u8>) -> Payload {
    let bytes = Bytes::from(message);
    if bytes.first() == Some(&RAW) { Payload::bytes(bytes.slice(1..)) } else { Payload::json(bytes) }
}

const RAW: u8 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked_as_it_was() {
        let values = [
            Payload::json("{\"id\":5}"),
            Payload::bytes(&b""[..]),
            Payload::bytes(&b"\0\xff"[..]),
            Payload::bytes(&b"5"[..]),
        ];
        for value in values {
            assert_eq!(unpack(pack(&value)), value);
        }
        assert_eq!(pack(&Payload::json("5")), b"5", "others can read it");
        assert_eq!(unpack(Vec::new()), Payload::json(""));
    }
}
