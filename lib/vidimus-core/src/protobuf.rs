//! Protobuf's JSON mapping ("ProtoJSON"), for messages that are modelled as structs: what its readers accept beyond what a derived
//! reader does, and what they refuse that a derived reader accepts.
//!
//! A message is an object, never a list of its members' values. `null` is a member that is not there. Bytes are base64, standard or
//! URL-safe, with padding or without. 32-bit integers may be strings ([`Int64`](crate::bundle::Int64) knows that of itself). Both forms
//! of a member's name are listed where the message is modelled. Enumerations are read by name only: no Sigstore client writes numbers.
//!
//! The reader stands between `serde_json` and the derived code and hands on what it is given, so that what is written in the usual way
//! is not read any slower.

use std::fmt;

use serde::{
    de::{self, DeserializeOwned, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor},
    forward_to_deserialize_any,
};

use crate::{ParseError, encoding};

/// What to do with members that the message does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// Skip them: the document is from an authority, and a newer one may say more than we know.
    Ignored,
    /// Refuse the document, as ProtoJSON has it: nothing may look as if it had been verified.
    Refused,
}

/// Reads a message of a format.
pub(crate) fn read<T: DeserializeOwned>(format: &'static str, json: &[u8], unknown: Unknown) -> Result<T, ParseError> {
    // Whether it is Unicode is told once, not for each of its strings.
    let text = std::str::from_utf8(json).map_err(|e| ParseError::new(format, e))?;
    let mut inner = serde_json::Deserializer::from_str(text);
    let message = T::deserialize(Value { inner: &mut inner, unknown });
    message.and_then(|message| inner.end().map(|()| message)).map_err(|e| ParseError::new(format, e))
}

/// A value of a message, at any depth.
struct Value<D> {
    inner: D,
    unknown: Unknown,
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Value<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_any(visitor)
    }

    /// `deserialize_struct` of `serde_json` takes lists as well.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _members: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_map(Nested { inner: visitor, unknown: self.unknown })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_option(List(Nested { inner: visitor, unknown: self.unknown }))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_option(Nested { inner: visitor, unknown: self.unknown })
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_any(Text(visitor))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_any(Number(visitor))
    }

    /// The bytes, not their text: see [`encoding::Base64`].
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_option(Bytes(visitor))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_enum(name, variants, visitor)
    }

    /// What the derived code does with a member that it does not know.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        match self.unknown {
            Unknown::Ignored => self.inner.deserialize_ignored_any(visitor),
            Unknown::Refused => Err(D::Error::custom("the member before is not known")),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u64 u128 f32 f64 char bytes unit unit_struct newtype_struct tuple tuple_struct map identifier
    }
}

/// Reads the values inside with [`Value`] again.
struct Nested<T> {
    inner: T,
    unknown: Unknown,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Nested<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<V::Value, A::Error> {
        self.inner.visit_map(Nested { inner: members, unknown: self.unknown })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<V::Value, A::Error> {
        self.inner.visit_seq(Nested { inner: elements, unknown: self.unknown })
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.inner.visit_some(Value { inner, unknown: self.unknown })
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Nested<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        self.inner.next_key_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.next_value_seed(Nested { inner: seed, unknown: self.unknown })
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Nested<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.inner.next_element_seed(Nested { inner: seed, unknown: self.unknown })
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Nested<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(Value { inner, unknown: self.unknown })
    }
}

/// A list; `null` is an empty one.
struct List<V>(Nested<V>);

impl<'de, V: Visitor<'de>> Visitor<'de> for List<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.0.inner.visit_seq(de::value::SeqDeserializer::new(std::iter::empty::<()>()))
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        inner.deserialize_seq(self.0)
    }
}

/// A text; `null` is an empty one.
struct Text<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for Text<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_borrowed_str("")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<V::Value, E> {
        self.0.visit_str(text)
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<V::Value, E> {
        self.0.visit_borrowed_str(text)
    }
}

/// A number, also as a string; `null` is 0.
struct Number<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for Number<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_u64(0)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<V::Value, E> {
        self.0.visit_u64(number)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<V::Value, E> {
        self.0.visit_u64(text.parse().map_err(E::custom)?)
    }
}

/// Bytes; `null` is none.
struct Bytes<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for Bytes<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.0.visit_byte_buf(Vec::new())
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        inner.deserialize_bytes(self)
    }

    fn visit_bytes<E: Error>(self, text: &[u8]) -> Result<V::Value, E> {
        self.0.visit_byte_buf(encoding::decode_any(text).map_err(E::custom)?)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{bundle::Int64, encoding::Base64};

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(default)]
    struct Message {
        text: String,
        bytes: Base64,
        long: Int64,
        short: u32,
        list: Vec<Message>,
        optional: Option<Box<Message>>,
    }

    fn read(json: &str) -> Result<Message, String> {
        super::read("message", json.as_bytes(), Unknown::Refused).map_err(|e| e.why)
    }

    #[test]
    fn all_forms_of_a_value() {
        let bytes = |bytes: &[u8]| Message { bytes: bytes.into(), ..Message::default() };
        for json in [r#"{"bytes":"+/+/AA=="}"#, r#"{"bytes":"-_-_AA=="}"#, r#"{"bytes":"+/+/AA"}"#, r#"{"bytes":"-_-_AA"}"#] {
            assert_eq!(read(json), Ok(bytes(b"\xfb\xff\xbf\0")), "{json}");
        }
        for json in [r#"{"long":7,"short":8}"#, r#"{"long":"7","short":"8"}"#] {
            assert_eq!(read(json), Ok(Message { long: Int64(7), short: 8, ..Message::default() }), "{json}");
        }
    }

    #[test]
    fn null_is_not_there_at_any_depth() {
        let nothing = r#"{"text":null,"bytes":null,"long":null,"short":null,"list":null,"optional":null}"#;
        assert_eq!(read(nothing), Ok(Message::default()));
        let inside = Message { list: vec![Message::default()], ..Message::default() };
        let outside = Message { optional: Some(Box::new(inside)), ..Message::default() };
        assert_eq!(read(&format!(r#"{{"optional":{{"list":[{nothing}]}}}}"#)), Ok(outside));
    }

    #[test]
    fn refuses_what_is_no_message() {
        for json in [
            "[]",
            r#"["x"]"#,
            r#"{"optional":["x"]}"#,
            r#"{"list":[["x"]]}"#,
            r#"{"list":[null]}"#,
            r#"{"list":{}}"#,
            r#"{"text":1}"#,
            r#"{"text":["x"]}"#,
            r#"{"bytes":"a+-_"}"#,
            r#"{"bytes":"AA="}"#,
            r#"{"bytes":"AB=="}"#,
            r#"{"bytes":[65]}"#,
            r#"{"bytes":65}"#,
            r#"{"long":"x"}"#,
            r#"{"short":-1}"#,
            r#"{"short":"-1"}"#,
            r#"{"text":"a","text":"b"}"#,
            "{} {}",
            "null",
        ] {
            assert!(read(json).is_err(), "{json}");
        }
    }

    #[test]
    fn unknown_members() {
        for json in
            [r#"{"more":{"a":[1]},"text":"x"}"#, r#"{"optional":{"more":1},"text":"x"}"#, r#"{"list":[{"more":1}],"text":"x"}"#]
        {
            assert!(read(json).unwrap_err().contains("not known"), "{json}");
            assert_eq!(super::read::<Message>("message", json.as_bytes(), Unknown::Ignored).unwrap().text, "x", "{json}");
        }
    }

    #[test]
    fn depth_is_limited() {
        let deep = format!("{}{}", r#"{"optional":"#.repeat(200), "}".repeat(200));
        assert!(read(&deep).unwrap_err().contains("recursion limit"));
    }

    #[test]
    fn other_json_stays_as_it_is() {
        let plain = |json: &str| serde_json::from_str::<BTreeMap<String, Base64>>(json);
        assert_eq!(plain(r#"{"a":"AA=="}"#).unwrap()["a"], Base64(vec![0]));
        assert!(plain(r#"{"a":"AA"}"#).is_err() && plain(r#"{"a":null}"#).is_err());
        let buffered = serde_json::json!("AA==");
        assert_eq!(serde_json::from_value::<Base64>(buffered).unwrap(), Base64(vec![0]));
    }
}
