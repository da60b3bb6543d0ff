//! Rules that say which places of a JSON document hold something readable: base64 of a certificate, seconds since 1970, a document
//! inside a string.
//!
//! A place that holds something else than the rule expects keeps its value and gets a note that says why it was not read: one broken
//! certificate must not hide the rest of a bundle.

use jiff::Timestamp;
use vidimus_core::{ParseError, encoding};

use super::value::Value;

/// A rule: a path and how to show what is there.
pub(super) struct Rule(pub(super) &'static [&'static str], pub(super) Show);

/// How to show a place.
pub(super) enum Show {
    /// The text or number there, as something else.
    As(fn(&str) -> Result<Value, ParseError>),
    /// The object there, by rules of its own.
    By(&'static [Rule]),
    /// Instead of the object there what one of its members says, of which the others are copies.
    Member(&'static str, fn(&str) -> Result<Value, ParseError>),
}

/// Path step: every element of a list.
pub(super) const EACH: &str = "[]";
/// Path step: every member of an object.
pub(super) const ANY: &str = "*";

/// Applies rules.
pub(super) fn expand(value: &mut Value, rules: &[Rule]) {
    for Rule(path, show) in rules {
        at(value, path, show);
    }
}

fn at(value: &mut Value, path: &[&str], show: &Show) {
    let Some((step, rest)) = path.split_first() else { return shown(value, show) };
    match value {
        Value::List(items) if *step == EACH => items.iter_mut().for_each(|item| at(item, rest, show)),
        Value::Fields(fields) => {
            let found = fields.0.iter_mut().filter(|(name, _)| *step == ANY || same_name(name, step));
            found.for_each(|(_, member)| at(member, rest, show));
        }
        _ => {}
    }
}

fn shown(value: &mut Value, show: &Show) {
    match show {
        Show::By(rules) => expand(value, rules),
        Show::As(read) => {
            let Some(text) = value.scalar().filter(|text| !text.is_empty()) else { return };
            *value = match read(text) {
                Ok(shown) => shown,
                Err(e) => value.clone().noted("unreadable", e.to_string()),
            };
        }
        Show::Member(name, read) => {
            let shown = value.field(name).and_then(Value::scalar).and_then(|text| read(text).ok());
            *value = shown.unwrap_or_else(|| value.clone());
        }
    }
}

/// Protobuf's JSON readers accept both `rawBytes` and `raw_bytes`.
fn same_name(found: &str, wanted: &str) -> bool {
    found == wanted || found.contains('_') && found.chars().filter(|c| *c != '_').eq_ignore_case(wanted)
}

trait EqIgnoreCase {
    fn eq_ignore_case(self, other: &str) -> bool;
}

impl<I: Iterator<Item = char>> EqIgnoreCase for I {
    fn eq_ignore_case(self, other: &str) -> bool {
        self.map(|c| c.to_ascii_lowercase()).eq(other.chars().map(|c| c.to_ascii_lowercase()))
    }
}

/// Seconds since 1970, beside the time in words.
pub(super) fn seconds(text: &str) -> Result<Value, ParseError> {
    let seconds: i64 = number(text)?;
    // Rekor v2 writes 0 for "no time".
    if seconds == 0 {
        return Ok(Value::plain(0));
    }
    time(Timestamp::from_second(seconds), text)
}

/// Milliseconds since 1970, as Certificate Transparency counts.
pub(super) fn milliseconds(text: &str) -> Result<Value, ParseError> {
    time(Timestamp::from_millisecond(number(text)?), text)
}

fn number(text: &str) -> Result<i64, ParseError> {
    text.parse().map_err(|e| ParseError::new("time", e))
}

fn time(time: Result<Timestamp, jiff::Error>, text: &str) -> Result<Value, ParseError> {
    let time = time.map_err(|e| ParseError::new("time", e))?;
    Ok(Value::text(text).noted("time", time.to_string()))
}

/// Base64 of a digest, beside the hex that other tools print.
pub(super) fn hex(text: &str) -> Result<Value, ParseError> {
    let bytes = encoding::decode(text)?;
    Ok(Value::text(text).noted("hex", ::hex::encode(bytes)))
}

/// Text under base64.
pub(super) fn base64_text(text: &str) -> Result<String, ParseError> {
    String::from_utf8(encoding::decode(text)?).map_err(|e| ParseError::new("text", e))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &[Rule] = &[
        Rule(&["list", EACH, "integratedTime"], Show::As(seconds)),
        Rule(&["map", ANY], Show::By(&[Rule(&["keyId"], Show::As(hex))])),
    ];

    fn expanded(json: &str) -> serde_json::Value {
        let mut value = Value::from_json("test", json.as_bytes(), &[]).unwrap();
        expand(&mut value, RULES);
        serde_json::to_value(&value).unwrap()
    }

    #[test]
    fn places_are_found_by_either_spelling() {
        let value = expanded(r#"{"list":[{"integrated_time":"1"},{"integratedTime":2,"x":3}],"map":{"a":{"keyId":"AP8="}}}"#);
        assert_eq!(value["list"][0]["integrated_time"]["time"], "1970-01-01T00:00:01Z");
        assert_eq!(value["list"][1]["integratedTime"]["time"], "1970-01-01T00:00:02Z");
        assert_eq!(value["map"]["a"]["keyId"]["hex"], "00ff");
    }

    #[test]
    fn what_cannot_be_read_stays_and_says_why() {
        let value = expanded(r#"{"list":[{"integratedTime":"soon"},{"integratedTime":null}],"map":{"a":{"keyId":"*"}}}"#);
        assert_eq!(value["list"][0]["integratedTime"]["value"], "soon");
        assert!(value["list"][0]["integratedTime"]["unreadable"].as_str().unwrap().contains("not a valid time"));
        assert!(value["list"][1]["integratedTime"].is_null());
        assert_eq!(value["map"]["a"]["keyId"]["value"], "*");
        assert!(
            expanded(r#"{"list":[{"integratedTime":"99999999999999"}]}"#)["list"][0]["integratedTime"]["unreadable"].is_string()
        );
    }
}
