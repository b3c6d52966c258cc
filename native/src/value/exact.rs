//! Exact: JSON that says what was meant, or none.
//!
//! `serde_json` writes null for NaN and the infinities, which would come back as another value, or as none. Everything else it
//! writes so that it is read back as it was. This stands between a value and it, and refuses those three wherever they are.

use serde::ser::{
    Error, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

/// A value, or a serializer for one, in which every number is to be finite.
pub(super) struct Exact<T>(pub(super) T);

impl<T: Serialize + ?Sized> Serialize for Exact<&T> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(Exact(serializer))
    }
}

macro_rules! as_it_is {
    ($($call:ident($($name:ident: $type:ty),*);)*) => {
        $(#[inline]
        fn $call(self, $($name: $type),*) -> Result<S::Ok, S::Error> {
            self.0.$call($($name),*)
        })*
    };
}

macro_rules! begun {
    ($($call:ident($($name:ident: $type:ty),*) -> $compound:ident;)*) => {
        $(#[inline]
        fn $call(self, $($name: $type),*) -> Result<Self::$compound, S::Error> {
            self.0.$call($($name),*).map(Exact)
        })*
    };
}

impl<S: Serializer> Serializer for Exact<S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Exact<S::SerializeSeq>;
    type SerializeTuple = Exact<S::SerializeTuple>;
    type SerializeTupleStruct = Exact<S::SerializeTupleStruct>;
    type SerializeTupleVariant = Exact<S::SerializeTupleVariant>;
    type SerializeMap = Exact<S::SerializeMap>;
    type SerializeStruct = Exact<S::SerializeStruct>;
    type SerializeStructVariant = Exact<S::SerializeStructVariant>;

    #[inline]
    fn serialize_f32(self, number: f32) -> Result<S::Ok, S::Error> {
        if number.is_finite() { self.0.serialize_f32(number) } else { Err(S::Error::custom(NOT_FINITE)) }
    }

    #[inline]
    fn serialize_f64(self, number: f64) -> Result<S::Ok, S::Error> {
        if number.is_finite() { self.0.serialize_f64(number) } else { Err(S::Error::custom(NOT_FINITE)) }
    }

    as_it_is! {
        serialize_bool(value: bool);
        serialize_i8(value: i8);
        serialize_i16(value: i16);
        serialize_i32(value: i32);
        serialize_i64(value: i64);
        serialize_i128(value: i128);
        serialize_u8(value: u8);
        serialize_u16(value: u16);
        serialize_u32(value: u32);
        serialize_u64(value: u64);
        serialize_u128(value: u128);
        serialize_char(value: char);
        serialize_str(value: &str);
        serialize_bytes(value: &[u8]);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(name: &'static str);
        serialize_unit_variant(name: &'static str, index: u32, variant: &'static str);
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.0.serialize_some(&Exact(value))
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<S::Ok, S::Error> {
        self.0.serialize_newtype_struct(name, &Exact(value))
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.0.serialize_newtype_variant(name, index, variant, &Exact(value))
    }

    begun! {
        serialize_seq(length: Option<usize>) -> SerializeSeq;
        serialize_tuple(length: usize) -> SerializeTuple;
        serialize_tuple_struct(name: &'static str, length: usize) -> SerializeTupleStruct;
        serialize_tuple_variant(name: &'static str, index: u32, variant: &'static str, length: usize)
            -> SerializeTupleVariant;
        serialize_map(length: Option<usize>) -> SerializeMap;
        serialize_struct(name: &'static str, length: usize) -> SerializeStruct;
        serialize_struct_variant(name: &'static str, index: u32, variant: &'static str, length: usize)
            -> SerializeStructVariant;
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

macro_rules! parts {
    ($($part:ident: $($call:ident($($name:ident: $type:ty),*)),*;)*) => {
        $(impl<S: $part> $part for Exact<S> {
            type Ok = S::Ok;
            type Error = S::Error;

            $(#[inline]
            fn $call<T: Serialize + ?Sized>(&mut self, $($name: $type,)* value: &T) -> Result<(), S::Error> {
                self.0.$call($($name,)* &Exact(value))
            })*

            #[inline]
            fn end(self) -> Result<S::Ok, S::Error> {
                self.0.end()
            }
        })*
    };
}

parts! {
    SerializeSeq: serialize_element();
    SerializeTuple: serialize_element();
    SerializeTupleStruct: serialize_field();
    SerializeTupleVariant: serialize_field();
    SerializeMap: serialize_key(), serialize_value();
    SerializeStruct: serialize_field(name: &'static str);
    SerializeStructVariant: serialize_field(name: &'static str);
}

const NOT_FINITE: &str = "a number in it is not finite";

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Serialize};

    use super::Exact;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Everything {
        unit: (),
        truth: bool,
        letter: char,
        least: i128,
        most: u128,
        zero: f64,
        single: f32,
        some: Option<f64>,
        none: Option<u8>,
        list: Vec<Variant>,
        pair: (u8, Newtype),
        map: BTreeMap<String, Vec<f64>>,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Newtype(f64);

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Pair(f64, u64);

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Variant {
        Unit,
        Newtype(f64),
        Tuple(f64, Pair),
        Struct { field: f64 },
    }

    fn everything(number: f64) -> Everything {
        Everything {
            unit: (),
            truth: true,
            letter: '🦀',
            least: i128::MIN,
            most: u128::MAX,
            zero: -0.0,
            single: f32::MIN_POSITIVE,
            some: Some(1e308),
            none: None,
            list: vec![
                Variant::Unit,
                Variant::Newtype(0.1),
                Variant::Tuple(0.5, Pair(0.25, u64::MAX)),
                Variant::Struct { field: number },
            ],
            pair: (1, Newtype(2.5)),
            map: BTreeMap::from([("k".to_owned(), vec![1.0, number])]),
        }
    }

    #[test]
    fn whatever_is_finite_is_written_as_ever_and_read_back_as_it_was() {
        let value = everything(3.5);
        let written = serde_json::to_string(&Exact(&value)).expect("it is finite");
        assert_eq!(written, serde_json::to_string(&value).expect("it is finite"));
        assert_eq!(serde_json::from_str::<Everything>(&written).expect("it is JSON"), value);
    }

    #[test]
    fn what_is_not_finite_is_refused_wherever_it_is() {
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(serde_json::to_string(&Exact(&everything(number))).is_err());
            assert!(serde_json::to_string(&Exact(&number)).is_err());
            assert!(serde_json::to_string(&Exact(&(number as f32))).is_err());
            assert!(serde_json::to_string(&Exact(&Some(number))).is_err());
            assert!(serde_json::to_string(&Exact(&[number])).is_err());
            assert!(serde_json::to_string(&Exact(&(1, number))).is_err());
            assert!(serde_json::to_string(&Exact(&Newtype(number))).is_err());
            assert!(serde_json::to_string(&Exact(&Pair(number, 1))).is_err());
            assert!(serde_json::to_string(&Exact(&Variant::Newtype(number))).is_err());
            assert!(serde_json::to_string(&Exact(&Variant::Tuple(number, Pair(0.0, 1)))).is_err());
            assert!(serde_json::to_string(&Exact(&Variant::Struct { field: number })).is_err());
            assert!(serde_json::to_string(&Exact(&BTreeMap::from([("k", number)]))).is_err());
        }
    }
}
