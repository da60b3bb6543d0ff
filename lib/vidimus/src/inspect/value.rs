//! What an inspection is made of: an ordered tree that both renderers print.
//!
//! JSON is read into it field by field and nothing is dropped: unknown fields, repeated names and the digits of numbers all stay, since
//! an inspection that hid them could be lied to.

use std::borrow::Cow;

use serde::{
    Deserialize, Serialize, Serializer,
    de::{Deserializer, MapAccess, Visitor},
    ser::{SerializeMap, SerializeStruct},
};
use serde_json::value::{RawValue, to_raw_value};
use vidimus_core::{ParseError, limits};

use super::Kind;

/// Values of one tree. A referrers index at its limit has about 20 000, a trusted root under 1 000; a tree of this size is still
/// small beside the largest input that is read.
const VALUES: usize = 200_000;

/// Something that is shown.
#[derive(Debug, Clone)]
pub enum Value {
    /// Text, as it was found.
    Text(String),
    /// JSON, as it was found: a number, a truth value, or a whole document that is kept as it was signed.
    Json(Box<RawValue>),
    /// Values in order.
    List(Vec<Value>),
    /// Named values in order.
    Fields(Fields),
    /// A value and what it means, or why it could not be read any further.
    Noted {
        /// The value, as it was found.
        value: Box<Value>,
        /// What the note is: `time`, `hex`, `unreadable`.
        name: &'static str,
        /// The note.
        note: String,
    },
    /// A document inside a document.
    Document(Box<Document>),
}

/// Named values in order. A name may occur twice, as it may in JSON.
#[derive(Debug, Clone, Default)]
pub struct Fields(pub Vec<(Cow<'static, str>, Value)>);

/// One document: what it is and what it says.
#[derive(Debug, Clone)]
pub struct Document {
    /// What it is.
    pub kind: Kind,
    /// Where it was found, if the source has several places.
    pub place: Option<String>,
    /// What it says.
    pub content: Value,
}

impl Value {
    /// Text.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A number or a truth value.
    pub(super) fn plain(value: impl Serialize) -> Self {
        Self::Json(to_raw_value(&value).expect("numbers and truth values are JSON"))
    }

    /// A document inside another.
    pub(super) fn document(kind: Kind, content: Self) -> Self {
        Self::Document(Box::new(Document::new(kind, content)))
    }

    /// The value and what it means.
    pub(super) fn noted(self, name: &'static str, note: impl Into<String>) -> Self {
        Self::Noted { value: Box::new(self), name, note: note.into() }
    }

    /// The text of a string or number.
    pub(super) fn scalar(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Json(json) if json.get() != "null" => Some(json.get()),
            _ => None,
        }
    }

    /// The value under a name, if this has names.
    pub(super) fn field(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Fields(fields) => fields.find(name),
            _ => None,
        }
    }

    /// Reads JSON. The `verbatim` names of the outermost object keep their values as they were signed.
    pub(super) fn from_json(format: &'static str, json: &[u8], verbatim: &[&str]) -> Result<Self, ParseError> {
        check_depth(format, json)?;
        let raw: &RawValue = serde_json::from_slice(json).map_err(|e| ParseError::new(format, e))?;
        let mut reader = JsonReader { format, left: VALUES };
        reader.value(raw, verbatim)
    }
}

impl Document {
    /// A document.
    pub(super) fn new(kind: Kind, content: Value) -> Self {
        Self { kind, place: None, content }
    }
}

impl Fields {
    /// Adds a value.
    pub(super) fn put(&mut self, name: impl Into<Cow<'static, str>>, value: Value) {
        self.0.push((name.into(), value));
    }

    /// Adds text.
    pub(super) fn text(&mut self, name: &'static str, text: impl Into<String>) {
        self.put(name, Value::text(text));
    }

    /// The first value under a name.
    pub(super) fn find(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v)
    }
}

/// Refuses JSON that is nested deeper than any real document, before anything walks into it. Counts brackets outside of strings, so it
/// needs no stack of its own; whether the JSON is well-formed is found later.
fn check_depth(format: &'static str, json: &[u8]) -> Result<(), ParseError> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > limits::JSON_DEPTH {
            return Err(ParseError::new(format, format_args!("nested deeper than the limit of {}", limits::JSON_DEPTH)));
        }
    }
    Ok(())
}

struct JsonReader {
    format: &'static str,
    left: usize,
}

impl JsonReader {
    fn value(&mut self, raw: &RawValue, verbatim: &[&str]) -> Result<Value, ParseError> {
        self.left = self
            .left
            .checked_sub(1)
            .ok_or_else(|| ParseError::new(self.format, format_args!("it has more values than the limit of {VALUES}")))?;
        let err = |e| ParseError::new(self.format, e);
        match raw.get().as_bytes().first() {
            Some(b'{') => {
                let Pairs(pairs) = serde_json::from_str(raw.get()).map_err(err)?;
                pairs
                    .into_iter()
                    .map(|(name, raw)| self.field(name, raw, verbatim))
                    .collect::<Result<_, _>>()
                    .map(Fields)
                    .map(Value::Fields)
            }
            Some(b'[') => {
                let items: Vec<&RawValue> = serde_json::from_str(raw.get()).map_err(err)?;
                items.into_iter().map(|raw| self.value(raw, &[])).collect::<Result<_, _>>().map(Value::List)
            }
            // A string that is not Unicode (a lone surrogate) is shown as it was written.
            Some(b'"') => Ok(serde_json::from_str(raw.get()).map_or_else(|_| Value::Json(raw.to_owned()), Value::Text)),
            _ => Ok(Value::Json(raw.to_owned())),
        }
    }

    fn field(&mut self, name: String, raw: &RawValue, verbatim: &[&str]) -> Result<(Cow<'static, str>, Value), ParseError> {
        let value = match verbatim.contains(&name.as_str()) {
            true => Value::Json(raw.to_owned()),
            false => self.value(raw, &[])?,
        };
        Ok((name.into(), value))
    }
}

/// The members of an object in order, repeated names included.
struct Pairs<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Pairs<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Json(json) => json.serialize(serializer),
            Self::List(list) => list.serialize(serializer),
            Self::Fields(fields) => fields.serialize(serializer),
            Self::Document(document) => document.serialize(serializer),
            Self::Noted { value, name, note } => {
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry("value", value)?;
                map.serialize_entry(name, note)?;
                map.end()
            }
        }
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut document = serializer.serialize_struct("Document", 3)?;
        document.serialize_field("document", self.kind.name())?;
        match &self.place {
            Some(place) => document.serialize_field("place", place)?,
            None => document.skip_field("place")?,
        }
        document.serialize_field("content", &self.content)?;
        document.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Value, ParseError> {
        Value::from_json("test", json.as_bytes(), &["predicate"])
    }

    #[test]
    fn nothing_is_lost() {
        let json = r#"{"z":12345678901234567890123,"a":1.50,"a":[null,true,"\ud800","é"],"predicate":{"x": 1 }}"#;
        assert_eq!(serde_json::to_string(&read(json).unwrap()).unwrap(), json);
    }

    #[test]
    fn depth_and_number_are_limited() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(read(&nested(limits::JSON_DEPTH)).is_ok());
        assert!(read(&nested(limits::JSON_DEPTH + 1)).is_err());
        assert!(read(&format!(r#"{{"predicate":{}}}"#, nested(limits::JSON_DEPTH))).is_err());
        assert!(read(&"[".repeat(10_000_000)).is_err());
        assert!(read(&format!("[{:?}]", "[".repeat(100))).is_ok(), "brackets in strings do not nest");
        assert!(read(&format!("[{}1]", "1,".repeat(VALUES - 2))).is_ok());
        assert!(read(&format!("[{}1]", "1,".repeat(VALUES))).is_err());
    }

    #[test]
    fn refuses_what_is_not_json() {
        for bad in ["", "{", "{}{}", "[1,]", "\u{1}"] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }
}
