//! All single changes of a JSON document, made one at a time: a hundred thousand copies of a document do not fit into memory.

use serde_json::{Value, json};
use vidimus_core::encoding;

/// What is done to a text that means the same after it in protobuf's JSON mapping and in DSSE envelopes.
pub(crate) const OTHER_BASE64: [&str; 2] = ["in URL-safe base64", "without padding"];

/// A change.
pub(crate) struct Change {
    /// Where, as a JSON pointer.
    pub(crate) at: String,
    /// What is done there.
    pub(crate) what: String,
    edit: Edit,
}

enum Edit {
    Remove,
    Replace(Value),
    /// The member appears twice: first as it is, then with this value.
    Twice(Value),
    /// A member that nobody knows.
    Add,
}

/// All changes of a document.
pub(crate) fn all(document: &Value) -> Vec<Change> {
    let mut out = Vec::new();
    walk(document, String::new(), &mut out);
    out
}

impl Change {
    /// The document after the change.
    pub(crate) fn apply(&self, document: &Value) -> Vec<u8> {
        let mut changed = document.clone();
        match &self.edit {
            Edit::Remove => remove(&mut changed, &self.at),
            Edit::Replace(new) => *changed.pointer_mut(&self.at).unwrap() = new.clone(),
            Edit::Add => {
                drop(changed.pointer_mut(&self.at).unwrap().as_object_mut().unwrap().insert("unheardOf".into(), json!(1)))
            }
            Edit::Twice(second) => return twice(changed, &self.at, second),
        }
        serde_json::to_vec(&changed).unwrap()
    }
}

fn walk(value: &Value, at: String, out: &mut Vec<Change>) {
    let mut push = |what: String, edit: Edit| out.push(Change { at: at.clone(), what, edit });
    if !at.is_empty() {
        push("removed".into(), Edit::Remove);
        for other in [Value::Null, json!(true), json!(0), json!("x"), json!([]), json!({})] {
            if std::mem::discriminant(&other) != std::mem::discriminant(value) {
                push(format!("is {other}"), Edit::Replace(other));
            }
        }
        if !at.rsplit('/').next().unwrap().starts_with(|c: char| c.is_ascii_digit()) {
            push("twice, the same".into(), Edit::Twice(value.clone()));
            push("twice, then null".into(), Edit::Twice(Value::Null));
        }
    }
    match value {
        Value::Object(map) => {
            push("an unknown member".into(), Edit::Add);
            if !map.is_empty() {
                push("as a list".into(), Edit::Replace(map.values().cloned().collect()));
            }
            for (key, child) in map {
                walk(child, format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), out);
            }
        }
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                let longer = [items.as_slice(), std::slice::from_ref(item)].concat();
                push(format!("element {i} twice"), Edit::Replace(Value::Array(longer)));
            }
            if items.len() > 1 {
                push("reversed".into(), Edit::Replace(items.iter().rev().cloned().collect()));
            }
            for (i, item) in items.iter().enumerate() {
                walk(item, format!("{at}/{i}"), out);
            }
        }
        Value::String(text) => texts(text).into_iter().for_each(|(what, new)| push(what, Edit::Replace(new))),
        other => push("another number".into(), Edit::Replace(json!(other.as_i64().unwrap_or(0) + 1))),
    }
}

fn texts(text: &str) -> Vec<(String, Value)> {
    let mut out = vec![("empty".to_owned(), json!("")), ("doubled".to_owned(), json!(format!("{text}{text}")))];
    if let Ok(number) = text.parse::<i64>() {
        out.extend([number + 1, number - 1, 0, -1, i64::MAX].map(|n| (format!("{n}"), json!(n.to_string()))));
        return out.into_iter().filter(|(_, v)| v != text).collect();
    }
    match encoding::decode(text) {
        Ok(bytes) if text.len() > 8 => {
            let (safe, bare) = (text.replace('+', "-").replace('/', "_"), text.trim_end_matches('='));
            for (what, new) in [(OTHER_BASE64[0], safe.as_str()), (OTHER_BASE64[1], bare)] {
                if new != text {
                    out.push((what.to_owned(), json!(new)));
                }
            }
            for i in 0..bytes.len() {
                let mut changed = bytes.clone();
                changed[i] ^= 1 << (i % 8);
                out.push((format!("byte {i}"), json!(encoding::encode(changed))));
            }
            out.push(("one byte less".to_owned(), json!(encoding::encode(&bytes[..bytes.len() - 1]))));
            out.push(("one byte more".to_owned(), json!(encoding::encode([&bytes[..], &[0]].concat()))));
        }
        _ => {
            for (i, c) in text.char_indices() {
                let other = if c == 'b' { 'c' } else { 'b' };
                let changed = format!("{}{other}{}", &text[..i], &text[i + c.len_utf8()..]);
                out.push((format!("character {i}"), json!(changed)));
            }
        }
    }
    out
}

fn remove(document: &mut Value, at: &str) {
    let (parent, key) = at.rsplit_once('/').unwrap();
    match document.pointer_mut(parent).unwrap() {
        Value::Object(map) => drop(map.remove(&key.replace("~1", "/").replace("~0", "~"))),
        Value::Array(items) => drop(items.remove(key.parse().unwrap())),
        _ => unreachable!("only objects and arrays have children"),
    }
}

/// The text with one member twice, which no `Value` can hold.
fn twice(mut document: Value, at: &str, second: &Value) -> Vec<u8> {
    let mark = json!("\u{1f}here");
    let first = std::mem::replace(document.pointer_mut(at).unwrap(), mark.clone());
    let key = json!(at.rsplit_once('/').unwrap().1.replace("~1", "/").replace("~0", "~"));
    let text = document.to_string();
    let place = format!("{key}:{mark}");
    assert_eq!(text.matches(&place).count(), 1);
    text.replace(&place, &format!("{key}:{first},{key}:{second}")).into_bytes()
}
